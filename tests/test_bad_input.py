"""Wrong arguments of everything public, generated from the signatures: each is refused in the project's own words.

For every function, class and method there is one good call. Then each parameter in turn gets values of a wrong type,
size or range: the result is a `TinygradError`, or the value was legal. What Python or NumPy would say is a fault, and
so is silence about a value of a kind that the annotation rules out.
"""

from __future__ import annotations

import functools
import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import callbacks, cli, data, metrics, nn, optim, testing
from tinygrad_nn import functional as F
from tinygrad_nn.errors import TinygradError
from tinygrad_nn.optim import lr_scheduler

Case = tuple[str, Callable[..., Any], dict[str, Any]]


def matrix() -> Any:
    return tg.tensor([[0.1, 0.9, 0.4], [0.8, 0.2, 0.6], [0.3, 0.5, 0.7]])


def leaf() -> Any:
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    (w * w).sum().backward()
    return w


def sgd() -> Any:
    return optim.SGD([leaf()], lr=0.1)


def labels() -> Any:
    return tg.tensor([0, 1, 1])


def vector() -> Any:
    return tg.tensor([0.2, 0.7, 0.6])


def step(x: Any) -> Any:
    return (x * x).sum()


GOOD: dict[str, Callable[[], Any]] = {  # a good value for a parameter of this name
    **dict.fromkeys(
        (
            "x",
            "other",
            "input",
            "target",
            "data",
            "source",
            "end",
            "tensor1",
            "tensor2",
            "mat1",
            "mat2",
            "value",
            "exponent",
            "src",
            "x1",
            "x2",
            "anchor",
            "positive",
            "negative",
            "t",
            "test",
            "array",
        ),
        matrix,
    ),
    **dict.fromkeys(
        ("dim", "dim0", "axis0", "k", "offset", "diagonal", "start_dim", "start", "index0", "decimals"), lambda: 0
    ),
    **dict.fromkeys(
        (
            "dim1",
            "dim2",
            "axis1",
            "end_dim",
            "destination",
            "length",
            "chunks",
            "split_size",
            "shifts",
            "stride",
            "step_size",
            "dilation",
            "groups",
            "num_layers",
            "every",
            "horizon",
            "num_parameters",
            "epochs",
            "bins",
            "degree",
            "keep",
            "T_mult",
            "eval_every",
            "batch_size",
            "step",
            "count",
        ),
        lambda: 1,
    ),
    **dict.fromkeys(
        (
            "n",
            "m",
            "in_features",
            "out_features",
            "in1_features",
            "in2_features",
            "input_size",
            "hidden_size",
            "num_features",
            "num_embeddings",
            "embedding_dim",
            "in_channels",
            "out_channels",
            "kernel_size",
            "T_max",
            "T_0",
            "total_iters",
            "size",
            "steps",
            "high",
            "num_classes",
            "patience",
            "cooldown",
            "total_steps",
            "steps_per_epoch",
        ),
        lambda: 3,
    ),
    **dict.fromkeys(("padding", "low", "seed", "last_epoch", "limit", "depth", "argnums"), lambda: 0),
    **dict.fromkeys(
        (
            "alpha",
            "beta",
            "eps",
            "rtol",
            "atol",
            "p",
            "weight",
            "negative_slope",
            "lambd",
            "margin",
            "delta",
            "lr",
            "momentum",
            "gamma",
            "factor",
            "max_lr",
            "std",
            "fill_value",
            "val",
            "threshold",
            "fraction",
            "max_norm",
            "clip_value",
            "gain",
        ),
        lambda: 0.5,
    ),
    **dict.fromkeys(("index", "indices"), lambda: tg.tensor([[0], [1], [0]])),
    **dict.fromkeys(("tensors",), lambda: [matrix(), matrix()]),
    **dict.fromkeys(("params", "parameters"), lambda: [leaf()]),
    "condition": lambda: matrix() > 0.5,
    "mask": lambda: matrix() > 0.5,
    "shape": lambda: (3, 3),
    "sizes": lambda: (1, 3),
    "optimizer": sgd,
    "predictions": vector,
    "targets": labels,
    "milestones": lambda: [1, 2],
    "function": lambda: step,
    "fn": lambda: lambda c, x: (c + x, c),
    "normalized_shape": lambda: (3,),
    "pad": lambda: (1, 1),
    "vec": vector,
    "dtype": lambda: tg.float32,
    "equation": lambda: "ij->ji",
    "min": lambda: 0.2,
    "max": lambda: 0.5,
    "train": lambda: np.eye(3),
    "names": lambda: ("a", "b", "c"),
}


def cube() -> tg.Tensor:
    return tg.ones(2, 3, 3)


OWN: dict[str, dict[str, Callable[[], Any]]] = {  # where a name means something else
    "F.cross_entropy": {"target": labels, "weight": vector},
    "F.nll_loss": {"target": labels, "weight": vector},
    "F.multi_margin_loss": {"target": labels, "weight": vector, "p": lambda: 1},
    "F.linear": {"weight": matrix, "bias": vector},
    "F.bilinear": {"weight": lambda: tg.ones(2, 3, 3), "bias": lambda: tg.ones(2)},
    "F.conv1d": {"weight": lambda: tg.ones(2, 3, 2), "bias": lambda: tg.ones(2), "input": lambda: tg.ones(1, 3, 4)},
    "F.conv2d": {"weight": lambda: tg.ones(2, 3, 2, 2), "bias": lambda: tg.ones(2),
                 "input": lambda: tg.ones(1, 3, 4, 4)},
    "F.conv3d": {"weight": lambda: tg.ones(2, 3, 2, 2, 2), "bias": None, "input": lambda: tg.ones(3, 4, 4, 4)},
    "F.conv_transpose1d": {"weight": lambda: tg.ones(3, 2, 2), "bias": lambda: tg.ones(2),
                           "input": lambda: tg.ones(3, 4)},
    "F.conv_transpose2d": {"weight": lambda: tg.ones(3, 2, 2, 2), "bias": None, "input": lambda: tg.ones(3, 4, 4)},
    **{f"nn.{name}": {"output_size": lambda: 2} for name in dir(nn) if name.startswith("Adaptive")},
    "nn.Fold": {"output_size": lambda: (5, 4)},
    "F.conv_tbc": {"input": lambda: tg.ones(4, 2, 3), "weight": lambda: tg.ones(2, 3, 2), "bias": lambda: tg.ones(2)},
    "F.multi_head_attention_forward": {
        **dict.fromkeys(("query", "key", "value"), lambda: tg.ones(2, 3, 4)), "embed_dim_to_check": lambda: 4,
        "num_heads": lambda: 2, "in_proj_weight": lambda: tg.ones(12, 4), "in_proj_bias": lambda: tg.ones(12),
        "bias_k": lambda: None, "bias_v": lambda: None, "add_zero_attn": lambda: False, "dropout_p": lambda: 0.0,
        "out_proj_weight": lambda: tg.ones(4, 4), "out_proj_bias": lambda: tg.ones(4),
    },
    **{
        f"F.fractional_max_pool{rank}d": {
            "input": lambda rank=rank: tg.ones(1, 2, *[6] * rank), "kernel_size": lambda: 2, "output_size": lambda: 2,
        }
        for rank in (2, 3)
    },
    **{f"nn.FractionalMaxPool{rank}d": {"output_size": lambda: 2, "kernel_size": lambda: 2} for rank in (2, 3)},
    "nn.AdaptiveLogSoftmaxWithLoss": {"n_classes": lambda: 9, "cutoffs": lambda: [2, 5], "in_features": lambda: 8},
    "tg.linearize": {"function": lambda: step},
    "F.unfold": {"input": lambda: tg.ones(3, 4, 4), "kernel_size": lambda: 2},
    "F.fold": {"input": lambda: tg.ones(8, 12), "output_size": lambda: (5, 4), "kernel_size": lambda: 2},
    "F.embedding": {"input": labels, "weight": matrix},
    "F.prelu": {"weight": lambda: tg.tensor([0.2])},
    "F.layer_norm": {"weight": vector, "bias": vector},
    "F.rms_norm": {"weight": vector},
    "F.batch_norm": {"running_mean": vector, "running_var": vector, "weight": vector, "bias": vector},
    "F.one_hot": {"tensor": labels},
    "F.binary_cross_entropy": {"weight": matrix},
    "F.binary_cross_entropy_with_logits": {"weight": matrix, "pos_weight": vector},
    "F.gaussian_nll_loss": {"var": matrix},
    "F.glu": {"input": lambda: tg.ones(2, 4), "dim": lambda: 1},
    **{
        f"F.{kind}_pool{rank}d": {"input": lambda rank=rank: tg.ones(1, 2, *[6] * rank), name: lambda: 2}
        for rank in (1, 2, 3)
        for name in ("kernel_size", "output_size")
        for kind in (("max", "avg") if name == "kernel_size" else ("adaptive_max", "adaptive_avg"))
    },
    "F.hinge_embedding_loss": {"target": lambda: matrix().sign()},
    **{key: {"mat": matrix, "vec": vector, "self": vector} for key in ("Tensor.addmv", "Tensor.addmv_")},
    "Tensor.mv": {"vec": vector},
    "Tensor.bmm": {"self": lambda: tg.ones(2, 3, 3), "mat2": lambda: tg.ones(2, 3, 3)},
    "Tensor.dot": {"self": vector, "tensor": vector},
    "Tensor.lu_solve": {"LU_data": matrix, "LU_pivots": lambda: tg.tensor([1, 2, 3])},
    "tg.lu_unpack": {"self": matrix, "LU_pivots": lambda: tg.tensor([1, 2, 3])},
    "tg.unravel_index": {"self": labels, "shape": lambda: (2, 3)},
    "Tensor.prelu": {"weight": lambda: tg.tensor([0.2])},
    "tg.result_type": {"tensor1": matrix, "tensor2": matrix},
    "tg.promote_types": {"type1": lambda: tg.float32, "type2": lambda: tg.int64},
    "tg.can_cast": {"from_": lambda: tg.float32, "to": lambda: tg.int64},
    "tg.asarray": {"obj": matrix},
    "Tensor.outer": {"self": vector, "vec2": vector},
    "Tensor.unflatten": {"dim": lambda: 1, "sizes": lambda: (1, 3)},
    "Tensor.movedim": {"source": lambda: 0},
    **{
        key: {"index": labels, "source": matrix}
        for key in ("Tensor.index_add", "Tensor.index_add_", "Tensor.index_copy", "Tensor.index_copy_")
    },
    **{key: {"index": labels, "value": lambda: 1.0} for key in ("Tensor.index_fill", "Tensor.index_fill_")},
    **{key: {"indices": lambda: (labels(),), "values": matrix} for key in ("Tensor.index_put", "Tensor.index_put_")},
    **{
        key: {"index": labels, "source": matrix, "reduce": lambda: "mean"}
        for key in ("Tensor.index_reduce", "Tensor.index_reduce_")
    },
    **{key: {"index": labels, "source": vector} for key in ("Tensor.put", "Tensor.put_")},
    **{
        key: {"src": lambda: 1.0, "reduce": lambda: "mean"}
        for key in ("Tensor.scatter_reduce", "Tensor.scatter_reduce_")
    },
    "Tensor.scatter_": {"src": lambda: 1.0},
    "Tensor.diagonal_scatter": {"src": vector},
    "Tensor.select_scatter": {"src": vector, "index": lambda: 0},
    **{key: {"batch1": cube, "batch2": cube} for key in ("Tensor.addbmm", "Tensor.addbmm_", "Tensor.baddbmm")},
    "Tensor.baddbmm_": {"self": cube, "batch1": cube, "batch2": cube},
    **{key: {"vec1": vector, "vec2": vector} for key in ("Tensor.addr", "Tensor.addr_")},
    "Tensor.ger": {"self": vector, "vec2": vector},
    "Tensor.vdot": {"self": vector, "other": vector},
    "Tensor.dsplit": {"self": lambda: tg.ones(2, 3, 3), "indices_or_sections": lambda: 3},
    **{key: {"indices_or_sections": lambda: 3} for key in ("Tensor.hsplit", "Tensor.vsplit")},
    "Tensor.tensor_split": {"indices_or_sections": lambda: 2},
    "Tensor.split_with_sizes": {"split_sizes": lambda: (1, 2)},
    "Tensor.repeat_interleave": {"repeats": lambda: 2},
    "Tensor.moveaxis": {"source": lambda: 0, "destination": lambda: 1},
    "tg.broadcast_shapes": {"shapes": lambda: (2, 3)},
    "tg.chain_matmul": {"matrices": matrix},
    "tg.combinations": {"input": vector},
    "tg.vander": {"x": vector},
    "tg.logspace": {"start": lambda: 0.0, "end": lambda: 1.0, "steps": lambda: 3},
    **{key: {"row": lambda: 3, "col": lambda: 3} for key in ("tg.tril_indices", "tg.triu_indices")},
    "Tensor.index_select": {"index": labels},
    "Tensor.take": {"index": labels},
    "Tensor.tensordot": {"dims": lambda: 1},
    "Tensor.type_as": {"other": matrix},
    "Tensor.lerp": {"weight": lambda: 0.5},
    "Tensor.lerp_": {"weight": lambda: 0.5},
    "Tensor.scatter": {"src": lambda: 1.0},
    "Tensor.scatter_add": {"src": lambda: 1.0},
    "Tensor.unfold": {"dimension": lambda: 0, "size": lambda: 2},
    "Tensor.backward": {"self": lambda: (leaf() * 2).sum(), "gradient": lambda: tg.tensor(1.0)},
    "Tensor.register_hook": {"self": leaf, "hook": lambda: lambda g: None},
    "Tensor.requires_grad_": {"self": vector},
    "Tensor.retain_grad": {"self": lambda: leaf() * 2},
    "Tensor.item": {"self": lambda: tg.tensor(1.0)},
    "Tensor.diagonal": {"dim1": lambda: 0},
    "Tensor.transpose": {"dim1": lambda: 1},
    "Tensor.max": {"dim": lambda: 0},
    "Tensor.min": {"dim": lambda: 0},
    "Tensor.roll": {"dims": lambda: 0},
    "Tensor.norm": {"p": lambda: 2},
    "Tensor.broadcast_to": {"size": lambda: (2, 3, 3)},
    "Tensor.new_full": {"fill_value": lambda: 1.0},
    "Tensor.fill_": {"value": lambda: 1.0},
    "tg.arange": {"end": lambda: 3.0},
    "tg.linspace": {"end": lambda: 3.0},
    "tg.bernoulli": {"p": matrix},
    "tg.from_numpy": {"ndarray": lambda: np.eye(2)},
    "tg.from_dlpack": {"ext_tensor": lambda: np.eye(2)},
    "tg.vjp": {"function": lambda: step},
    "tg.hvp": {"primals": lambda: vector(), "tangents": lambda: vector()},
    "tg.jvp": {"primals": lambda: (vector(),), "tangents": lambda: (vector(),)},
    "tg.scan": {"init": lambda: tg.zeros(3), "xs": matrix, "length": lambda: 3},
    "tg.fit": {"step": lambda: step, "data": vector, "progress": lambda: False},
    "tg.cat": {"dim": lambda: 0},
    "tg.full": {"size": lambda: (2,)},
    "nn.Unflatten": {"unflattened_size": lambda: (1, 3)},
    "nn.Threshold": {"value": lambda: 0.0},
    "nn.NLLLoss": {"weight": vector},
    "nn.CrossEntropyLoss": {"weight": vector},
    "nn.MultiMarginLoss": {"weight": vector, "p": lambda: 1},
    "nn.BCELoss": {"weight": vector},
    "nn.BCEWithLogitsLoss": {"weight": vector, "pos_weight": vector},
    "F.threshold": {"value": lambda: 0.0},
    "init.calculate_gain": {"nonlinearity": lambda: "relu"},
    "init.trunc_normal_": {},
    "init.recurrent_orthogonal_": {"module": lambda: nn.RNN(2, 2)},
    "utils.vector_to_parameters": {"vec": lambda: tg.ones(2)},
    "init.dirac_": {"tensor": lambda: tg.ones(2, 2, 3)},
    "init.sparse_": {"sparsity": lambda: 0.5},
    "lr_scheduler.SWALR": {"swa_lr": lambda: 0.1},
    "Tensor.cholesky": {"self": lambda: tg.eye(3)},
    "Tensor.is_nonzero": {"self": lambda: tg.tensor(1.0)},
    "Tensor.unsqueeze_": {"dim": lambda: 0},
    "optim.minimize": {"fun": None},
    "lr_scheduler.LambdaLR": {"lr_lambda": lambda: lambda t: 1.0},
    "lr_scheduler.SequentialLR": {"schedulers": None},
    "callbacks.Schedule": {"scheduler": lambda: lr_scheduler.StepLR(sgd(), 2)},
    "data.cut": {"x": lambda: np.ones((6, 2)), "y": lambda: np.ones(6), "length": lambda: 2},
    "data.kfold": {"n": lambda: 10, "k": lambda: 3},
    "data.split_indices": {"n": lambda: 10, "sizes": lambda: (0.5, 0.5)},
    "data.polynomial_features": {"x": lambda: np.eye(3)},
    "data.sliding_windows": {"series": lambda: np.arange(9.0), "length": lambda: 2},
    "data.batches": {"n": lambda: 10},
    "data.to_matrix": {"frame": lambda: __import__("polars").DataFrame({"a": [1.0]})},
    "metrics.threshold_for": {"precision": lambda: 0.5},
    "metrics.calibration_table": {},
    "Generator.bits": {"shape": lambda: (2,)},
    "Generator.set_state": {"new_state": lambda: tg.Generator(1).get_state()},
    "Generator.load_state_dict": {"state_dict": lambda: tg.Generator(1).state_dict()},
    "History.log_epoch": {"values": lambda: {"a": 1.0}},
    "History.log_evaluation": {"values": lambda: {"b": 1.0}},
    "History.log_epochs": {"columns": lambda: {"a": [1.0]}},
    "History.log_evaluations": {"epochs": lambda: [1], "columns": lambda: {"b": [1.0]}},
    "History.load_state_dict": {"state_dict": lambda: tg.History().state_dict()},
    "Linear.load_state_dict": {"state_dict": lambda: nn.Linear(3, 3).state_dict()},
    "Linear.add_module": {"name": lambda: "a", "module": lambda: nn.ReLU()},
    "Linear.register_buffer": {"name": lambda: "a", "tensor": vector},
    "Linear.register_parameter": {"name": lambda: "a", "param": lambda: nn.Parameter(vector())},
    **{
        f"Linear.register_{kind}_hook": {"hook": lambda: lambda *a: None}
        for kind in ("forward", "state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post")
    },
    "Linear.register_forward_pre_hook": {"hook": lambda: lambda *a: None},
    "Linear.apply": {"fn": lambda: lambda m: None},
    "Sequential.append": {"module": lambda: nn.ReLU()},
    "Sequential.extend": {"modules": lambda: [nn.ReLU()]},
    "ModuleList.append": {"module": lambda: nn.ReLU()},
    "ModuleList.extend": {"modules": lambda: [nn.ReLU()]},
    "Adam.add_param_group": {"param_group": lambda: {"params": [leaf()]}},
    "Adam.load_state_dict": {"state_dict": lambda: optim.Adam([leaf()]).state_dict()},
    "StepLR.load_state_dict": {"state_dict": lambda: lr_scheduler.StepLR(sgd(), 2).state_dict()},
    "ReduceLROnPlateau.load_state_dict": {"state_dict": lambda: lr_scheduler.ReduceLROnPlateau(sgd()).state_dict()},
    "ReduceLROnPlateau.step": {"metrics": lambda: 0.5},
    "EarlyStopping.load_state_dict": {"state_dict": lambda: {"best": 1.0, "best_epoch": 1, "kept": []}},
    "tg.draw": {"target": lambda: nn.Linear(3, 2), "args": matrix, "limit": lambda: 10},
    "tg.replay": {"history": lambda: kept_history(), "epoch": lambda: 1},
    "tg.import_onnx": {"path": lambda: str(tg.export.onnx(nn.Linear(3, 2), matrix(), path="own.onnx"))},
    "tg.report": {"function": lambda: nn.Linear(3, 2), "batch": matrix, "path": lambda: "report.html"},
    "tg.randint": {"low": lambda: 0, "high": lambda: 3},
    "lr_scheduler.OneCycleLR": {"total_steps": lambda: 5},
    "callbacks.JsonLines": {"path": lambda: "nowhere.jsonl"},
    "data.describe": {"data": lambda: __import__("polars").DataFrame({"a": [1.0]})},
    "Tensor.clamp": {"min": lambda: 0.2},
    "Tensor.clamp_": {"min": lambda: 0.2},
    "Tensor.clip": {"min": lambda: 0.2},
    "Tensor.select": {"index": lambda: 0},
    **{
        f"Tensor.bitwise_{name}": {"self": labels, "other": labels}
        for name in ("and", "or", "xor", "not", "left_shift", "right_shift")
    },
    "tg.explain": {"function": lambda: step, "args": vector},
    # ---- the rest of what PyTorch has
    "tg.bucketize": {"boundaries": vector},
    "Tensor.bucketize": {"boundaries": vector},
    "tg.randint_like": {"low": lambda: 0, "high": lambda: 3},
    "tg.normal": {"size": lambda: (3,)},
    "tg.set_rng_state": {"new_state": lambda: tg.Generator(1).get_state()},
    **{key: {"min": lambda: 0.2} for key in ("Tensor.clip_", "Tensor.clamp_")},
    "Tensor.bincount": {"self": labels},
    **{key: {"k": lambda: 1} for key in ("Tensor.kthvalue",)},
    "Tensor.multinomial": {"num_samples": lambda: 2},
    **{f"Tensor.{name}": {"p": lambda: 2, "self": lambda: matrix() + 1} for name in ("mvlgamma", "mvlgamma_")},
    **{f"Tensor.{name}": {"q": lambda: 0.5} for name in ("quantile", "nanquantile")},
    **{f"Tensor.{name}": {"p": lambda: 2, "maxnorm": lambda: 1.0} for name in ("renorm", "renorm_")},
    **{f"Tensor.{name}": {"self": labels, "other": labels} for name in ("gcd", "gcd_", "lcm", "lcm_")},
    **{f"Tensor.bitwise_{name}_": {"self": labels, "other": labels}
       for name in ("and", "or", "xor", "not", "left_shift", "right_shift")},
    **{f"Tensor.{name}": {"dim": lambda: 0} for name in ("unsqueeze", "softmax", "log_softmax")},
    "F.affine_grid": {"theta": lambda: tg.ones(1, 2, 3), "size": lambda: (1, 1, 2, 2)},
    **{f"F.{kind}_pool{rank}d": {
        "input": lambda rank=rank: tg.ones(1, 2, *[6] * rank), "kernel_size": lambda: 2, "norm_type": lambda: 2.0}
       for kind in ("lp",) for rank in (1, 2, 3)},
    **{f"F.max_unpool{rank}d": {
        "input": lambda rank=rank: tg.ones(1, 2, *[2] * rank), "kernel_size": lambda: 2,
        "indices": lambda rank=rank: tg.zeros(1, 2, *[2] * rank, dtype="int64")} for rank in (1, 2, 3)},
    "F.conv_transpose3d": {
        "weight": lambda: tg.ones(3, 2, 2, 2, 2), "bias": None, "input": lambda: tg.ones(3, 4, 4, 4)},
    "F.channel_shuffle": {"input": lambda: tg.ones(1, 2, 4), "groups": lambda: 2},
    "F.cosine_embedding_loss": {"target": lambda: tg.tensor([1.0, -1.0, 1.0])},
    "F.ctc_loss": {
        "log_probs": lambda: tg.ones(4, 1, 3).log_softmax(2), "targets": lambda: tg.tensor([[1, 2]]),
        "input_lengths": lambda: tg.tensor([4]), "target_lengths": lambda: tg.tensor([2])},
    "F.dropout1d": {"input": lambda: tg.ones(1, 2, 4)},
    "F.dropout2d": {"input": lambda: tg.ones(1, 2, 4, 4)},
    "F.dropout3d": {"input": lambda: tg.ones(1, 2, 4, 4, 4)},
    "F.feature_alpha_dropout": {"input": lambda: tg.ones(1, 2, 4)},
    "F.embedding_bag": {"input": lambda: tg.tensor([[0, 1]]), "weight": matrix},
    "F.grid_sample": {"input": lambda: tg.ones(1, 1, 3, 3), "grid": lambda: tg.zeros(1, 2, 2, 2)},
    "F.group_norm": {
        "input": lambda: tg.ones(2, 4, 3), "num_groups": lambda: 2, "weight": lambda: tg.ones(4),
        "bias": lambda: tg.ones(4)},
    "F.instance_norm": {"input": lambda: tg.ones(2, 3, 4), "weight": vector, "bias": vector},
    "F.interpolate": {"input": lambda: tg.ones(1, 1, 4), "size": lambda: 2},
    "F.upsample": {"input": lambda: tg.ones(1, 1, 4), "size": lambda: 2},
    **{f"F.upsample_{name}": {"input": lambda: tg.ones(1, 1, 4, 4), "size": lambda: 2}
       for name in ("nearest", "bilinear")},
    "F.linear_cross_entropy": {"linear_weight": matrix, "target": labels},
    "F.local_response_norm": {"input": lambda: tg.ones(1, 3, 4), "size": lambda: 2},
    "F.multilabel_margin_loss": {"target": lambda: tg.tensor([[0, -1, -1]] * 3)},
    "F.pixel_shuffle": {"input": lambda: tg.ones(1, 4, 2, 2), "upscale_factor": lambda: 2},
    "F.pixel_unshuffle": {"input": lambda: tg.ones(1, 1, 4, 4), "downscale_factor": lambda: 2},
    **{f"nn.ConstantPad{rank}d": {"padding": lambda: 1, "value": lambda: 0.5} for rank in (1, 2, 3)},
    **{f"nn.LPPool{rank}d": {"norm_type": lambda: 2.0} for rank in (1, 2, 3)},
    "nn.PixelShuffle": {"upscale_factor": lambda: 2},
    "nn.PixelUnshuffle": {"downscale_factor": lambda: 2},
    "nn.GroupNorm": {"num_groups": lambda: 2, "num_channels": lambda: 4},
    "nn.MultiheadAttention": {"embed_dim": lambda: 4, "num_heads": lambda: 2},
    "nn.Transformer": {"d_model": lambda: 4, "nhead": lambda: 2, "num_encoder_layers": lambda: 1,
                       "num_decoder_layers": lambda: 1, "dim_feedforward": lambda: 4},
    **{f"nn.Transformer{name}Layer": {"d_model": lambda: 4, "nhead": lambda: 2, "dim_feedforward": lambda: 4}
       for name in ("Encoder", "Decoder")},
    "nn.TransformerEncoder": {"encoder_layer": lambda: nn.TransformerEncoderLayer(4, 2, 4)},
    "nn.TransformerDecoder": {"decoder_layer": lambda: nn.TransformerDecoderLayer(4, 2, 4)},
    **{f"nn.{name}": {"size": lambda: 2} for name in ("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d")},
    **{f"utils.{name}": {"module": lambda: nn.Linear(3, 3)} for name in ("weight_norm", "spectral_norm")},
    "utils.remove_weight_norm": {"module": lambda: nn.utils.weight_norm(nn.Linear(3, 3))},
    "utils.remove_spectral_norm": {"module": lambda: nn.utils.spectral_norm(nn.Linear(3, 3))},
    "utils.skip_init": {"module_cls": lambda: nn.ReLU, "args": lambda: False},
    "utils.clip_grads_with_norm_": {"total_norm": lambda: tg.tensor(1.0)},
    "tg.ensemble": {"models": lambda: [nn.Linear(3, 3)]},
    "tg.sweep": {"step": lambda: step, "data": matrix, "progress": lambda: False},
    "tg.cross_validate": {"step": lambda: step, "data": matrix, "folds": lambda: 2},
    "optim.Muon": {"params": lambda: [nn.Parameter(matrix())]},
    "lr_scheduler.CyclicLR": {"base_lr": lambda: 0.1, "cycle_momentum": lambda: False},
    "lr_scheduler.ChainedScheduler": {"schedulers": lambda: [lr_scheduler.StepLR(sgd(), 2)]},
    "lr_scheduler.MultiplicativeLR": {"lr_lambda": lambda: lambda t: 1.0},
    "data.random_split": {"dataset": lambda: range(4), "lengths": lambda: [1, 3]},
    "data.WeightedRandomSampler": {"weights": lambda: [1.0, 2.0], "num_samples": lambda: 2},
    "data.BatchSampler": {"sampler": lambda: range(3), "drop_last": lambda: False},
    "data.Subset": {"dataset": lambda: range(3), "indices": lambda: [0, 2]},
    "data.SubsetRandomSampler": {"indices": lambda: [0, 2]},
    "data.chunks": {"function": lambda: lambda: [[1.0]]},
    "data.DataLoader": {"dataset": lambda: range(3)},
    "data.default_collate": {"batch": lambda: [1.0, 2.0]},
    **{f"Linear.{name}": {"target": lambda: ""} for name in ("get_submodule",)},
    "Linear.get_parameter": {"target": lambda: "weight"},
    "Linear.get_buffer": {"self": lambda: nn.BatchNorm1d(3), "target": lambda: "running_mean"},
    "Linear.set_submodule": {
        "self": lambda: nn.Sequential(nn.ReLU()), "target": lambda: "0", "module": lambda: nn.ReLU()},
    "Linear.register_module": {"name": lambda: "a", "module": lambda: nn.ReLU()},
    **{f"{kind}.insert": {"index": lambda: 0, "module": lambda: nn.ReLU()} for kind in ("Sequential", "ModuleList")},
    **{f"Linear.register_{name}": {"hook": lambda: lambda *a: None}
       for name in ("full_backward_hook", "full_backward_pre_hook")},
    **{f"Adam.register_{name}_hook": {"hook": lambda: lambda *a: None}
       for name in ("load_state_dict_post", "load_state_dict_pre", "state_dict_pre", "state_dict_post", "step_pre",
                    "step_post")},
}  # fmt: skip
HOLDERS: dict[str, Callable[[], Any]] = {  # objects whose methods are called
    "Tensor": matrix,
    "History": tg.History,
    "Generator": tg.Generator,
    "Linear": lambda: nn.Linear(3, 3),
    "Sequential": lambda: nn.Sequential(nn.ReLU()),
    "ModuleList": lambda: nn.ModuleList([nn.ReLU()]),
    "Adam": lambda: optim.Adam([leaf()]),
    "StepLR": lambda: lr_scheduler.StepLR(sgd(), 2),
    "ReduceLROnPlateau": lambda: lr_scheduler.ReduceLROnPlateau(sgd()),
    "StandardScaler": lambda: data.StandardScaler.fit(np.eye(3)),
    "MeanImputer": lambda: data.MeanImputer.fit(np.eye(3)),
    "MinMaxScaler": lambda: data.MinMaxScaler.fit(np.eye(3)),
    "EarlyStopping": callbacks.EarlyStopping,
}
# For those who write ops and layers of the framework itself: their arguments are made, not written.
INSIDE = {
    *(f"Tensor.{name}" for name in ("apply", "cast", "expand_to", "handle", "cat_with")),
    *(f"data.{name}" for name in ("Batches", "MaxAbsScaler", "MeanImputer", "MinMaxScaler",
        "StandardScaler", "Sequences",
                                  "as_columns", "gather", "batches")),
    *(f"metrics.{name}" for name in ("CalibrationTable", "OperatingPoint", "PrecisionRecallCurve", "RocCurve")),
    "Adam.check", "Adam.initial_state", "Adam.update", "StepLR.rate", "callbacks.Run", "EarlyStopping.begin",
    "EarlyStopping.end", "optim.ParamGroup", "optim.Optimizer", "lr_scheduler.LRScheduler", "tg.Function", "tg.Tensor",
    "tg.History", "tg.Sweep", "tg.NonFiniteWarning", "nn.Identity", "tg.load", "tg.save", "History.plot", "History.get",
    "History.is_score",
    "tg.set_default_dtype", "tg.set_grad_enabled", "tg.checkpoint", "optim.minimize",
    "lr_scheduler.SequentialLR", "History.to_csv", "data.read_csv", "data.scan", "callbacks.Checkpoint", "tg.explain",
    "callbacks.monitored", "callbacks.shown",
    "nn.RNNBase", "nn.RNNCellBase",  # bases: their subclasses say which cell it is
    "Linear.compute",  # what nn.utils makes of a parametrized attribute
    "data.Chunks", "data.Dataset", "data.IterableDataset", "data.Sampler",  # users derive from them
    "Linear.get_extra_state", "Linear.set_extra_state",  # which users define
    "nn.Module", "Linear.forward", "Sequential.forward", "History.has", "Tensor.cuda", "Linear.cuda",
}  # fmt: skip


# Global state, which is put back; and what stands elsewhere than in the modules above.


def set_default_dtype(dtype: Any) -> None:
    before = tg.get_default_dtype()
    try:
        tg.set_default_dtype(dtype)
    finally:
        tg.set_default_dtype(before)


def set_grad_enabled(enabled: bool) -> None:
    with tg.set_grad_enabled(enabled):
        pass


def drawing() -> Any:
    return tg.draw(lambda x: x * 2, tg.ones(2))


def csv_file() -> str:
    Path("table.csv").write_text("a,b\n1,2\n3,4\n", encoding="utf-8")
    return "table.csv"


def saved_file() -> str:
    tg.save({"a": tg.ones(2)}, "saved.tgnn")
    return "saved.tgnn"


def sequences() -> Any:
    return data.Sequences(["a", "b"], [np.ones((2, 1))] * 2, [np.ones((2, 1))] * 2)


def history() -> Any:
    found = tg.History()
    found.log_epoch({"loss": 1.0})
    return found


def kept_history() -> Any:
    net = nn.Linear(3, 1)
    opt = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        opt.step()
        return loss

    return tg.fit(step, np.ones((4, 3)), epochs=2, progress=False, snapshots=1)


def double() -> Any:
    return tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)


def of(make: Callable[[], Any], name: str) -> Callable[..., Any]:
    """A method of something that is made anew for each call."""

    @functools.wraps(getattr(make(), name))
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(make(), name)(*args, **kwargs)

    return call


SCALERS = (nn.MaxAbsScaler, nn.MeanImputer, nn.MinMaxScaler, nn.StandardScaler)
ELSEWHERE: list[tuple[str, Callable[..., Any], dict[str, Callable[[], Any]]]] = [
    ("set_default_dtype", set_default_dtype, {"dtype": lambda: tg.float64}),
    ("set_grad_enabled", set_grad_enabled, {"enabled": lambda: True}),
    ("save", tg.save, {"value": lambda: {"a": tg.ones(2)}, "path": lambda: "own.tgnn"}),
    ("load", tg.load, {"path": saved_file}),
    ("read_csv", data.read_csv, {"path": csv_file}),
    ("scan", data.scan, {"files": csv_file, "features": lambda: ["a"]}),
    ("Checkpoint", callbacks.Checkpoint, {"path": lambda: "own.npz"}),
    ("to_csv", of(history, "to_csv"), {"path": lambda: "own.csv"}),
    ("is_score", of(history, "is_score"), {"name": lambda: "loss"}),
    ("Sequences.to_csv", of(sequences, "to_csv"), {"path": lambda: "own.csv"}),
    ("Sequences.take", of(sequences, "take"), {"rows": lambda: [0]}),
    ("Drawing.save", of(drawing, "save"), {"path": lambda: "own.dot"}),
    ("Drawing.render", of(drawing, "render"), {"path": lambda: "own.dot", "format": lambda: "dot"}),
    ("Drawing.picture", of(drawing, "picture"), {"kind": lambda: "dot"}),
    ("gradcheck", testing.gradcheck, {"fn": lambda: step, "inputs": lambda: (double(),), "order": lambda: 1}),
    *[(f"{kind.__name__}.fit", of(kind, "fit"), {"train": lambda: np.eye(3)}) for kind in SCALERS],
    *[(f"{kind.__name__}.call", of(lambda k=kind: k().fit(np.eye(3)), "transform"), {"x": lambda: np.eye(3)})
      for kind in SCALERS],
    ("OneHotEncoder.fit", of(nn.OneHotEncoder, "fit"), {"train": lambda: ["a", "b"]}),
    ("OneHotEncoder.transform", of(lambda: nn.OneHotEncoder().fit(["a", "b"]), "transform"), {"values": lambda: ["a"]}),
]  # fmt: skip
OWN_MEANING = {("gradcheck", "fn"), ("gradcheck", "inputs")}  # what the user's own function says to them


LONG = {("tg.fit", "epochs", "huge")}  # legal, and nobody waits for them
LEGAL = {("data.StackDataset", "*0", "dict")}  # a dict is a dataset, whose indices are its keys


# What a user's own function raises, or gives, on being called with what it was not written for.
OWN_CODE = {
    ("tg.vjp", "*0"),
    ("tg.linearize", "*0"),
    ("tg.linearize", "function"),
    ("tg.scan", "init"),
    ("tg.scan", "xs"),
    *((name, "function") for name in ("tg.vjp", "tg.jvp", "tg.hvp")),
    ("Linear.apply", "fn"),
    ("F.triplet_margin_with_distance_loss", "distance_function"),
    ("lr_scheduler.MultiplicativeLR", "lr_lambda"),
    ("lr_scheduler.CyclicLR", "scale_fn"),
    ("tg.draw", "target"),
    ("tg.report", "function"),
    ("tg.scan", "fn"),
    ("data.chunks", "function"),
    ("lr_scheduler.LambdaLR", "lr_lambda"),
}
OWN_KINDS = ("class", "function", "dict", "none", "empty", "ragged", "list")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any text is the name of a file."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def printed_as_before() -> Iterator[None]:
    """Wrong calls of `set_printoptions` come between right ones."""
    yield
    tg.set_printoptions(profile="default")


class Odd:
    """No number, no size, nothing."""


WRONG: dict[str, Callable[[], Any]] = {
    "text": lambda: "nonsense",
    "digit": lambda: "1",
    "none": lambda: None,
    "fraction": lambda: 1.5,
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "negative": lambda: -7,
    "zero": lambda: 0,
    "huge": lambda: 2**70,
    "minus huge": lambda: -(2**70),
    "bool": lambda: True,
    "complex": lambda: 1j,
    "empty": list,
    "list": lambda: [1.5, "a"],
    "ragged": lambda: [[1.0], [1.0, 2.0]],
    "dict": lambda: {"a": 1},
    "set": lambda: {1, 2},
    "bytes": lambda: b"1",
    "object": Odd,
    "function": lambda: lambda *a, **k: None,
    "text array": lambda: np.array(["a", "b"]),
    "object array": lambda: np.array([None, 1], object),
    "date": lambda: np.datetime64("2020-01-01"),
    "vector": lambda: tg.tensor([1.0, 2.0, 3.0, 4.0]),
    "float scalar": lambda: tg.tensor(0.5),
    "other rank": lambda: tg.ones(2, 1, 1, 2, 1),
    "class": lambda: Odd,
}
FOREIGN = ("text", "digit", "complex", "dict", "set", "bytes", "object", "function", "text array", "date", "class")
RULED_OUT = {  # by the beginning of an annotation: what must not pass in silence
    "int": (*FOREIGN, "fraction", "nan", "inf", "list", "ragged", "bool"),
    "Ints": (*FOREIGN, "fraction", "nan", "inf", "list", "ragged"),
    "float": (*FOREIGN, "list", "ragged"),
    "bool": (*FOREIGN, "list", "nan", "fraction"),
    "str": tuple(name for name in FOREIGN if name not in ("text", "digit")),
    "Tensor": tuple(name for name in FOREIGN),
    "Operand": tuple(name for name in FOREIGN),
    "Sequence[int]": (*FOREIGN, "fraction", "nan", "inf", "list", "ragged"),
}


def subjects() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Everything public that takes arguments."""
    modules: dict[str, ModuleType] = {
        "tg": tg, "F": F, "nn": nn, "init": nn.init, "utils": nn.utils, "optim": optim, "lr_scheduler": lr_scheduler,
        "callbacks": callbacks, "data": data, "metrics": metrics,
    }  # fmt: skip
    for prefix, module in modules.items():
        home = module.__name__ if prefix in ("init", "lr_scheduler", "callbacks", "metrics") else "tinygrad_nn"
        for name in sorted(n for n in dir(module) if not n.startswith("_")):
            thing = getattr(module, name)
            ours = callable(thing) and getattr(thing, "__module__", "").startswith(home)
            if ours and not (prefix == "tg" and hasattr(tg.Tensor, name)) and f"{prefix}.{name}" not in INSIDE:
                yield f"{prefix}.{name}", thing
    for holder, make in HOLDERS.items():
        made = type(make())
        for name in sorted(n for n in dir(made) if not n.startswith("_") and f"{holder}.{n}" not in INSIDE):
            base = getattr(nn.Module, name, None)
            known = holder != "Linear" and getattr(made, name) is base
            if inspect.isfunction(getattr(made, name)) and not known:
                yield f"{holder}.{name}", getattr(made, name)


def good_call(
    label: str, function: Callable[..., Any]
) -> tuple[dict[str, Any], list[Callable[[], Any]], dict[str, str]]:
    """Makers of the arguments of a good call (required ones, and those that `OWN` gives), by name and starred; and the
    annotation of every parameter that can be given.
    """
    own, holder = OWN.get(label, {}), HOLDERS.get(label.partition(".")[0])
    makers: dict[str, Callable[[], Any]] = {}
    starred: list[Callable[[], Any]] = []
    kinds: dict[str, str] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            make = own.get(
                name,
                {
                    "size": lambda: 3,
                    "sizes": lambda: 3,
                    "shape": lambda: 9,
                    "order": lambda: None,
                    "dims": lambda: 0,
                }.get(name, vector),
            )
            starred = [lambda: 1, lambda: 0] if name == "order" else [make]
            if name == "sizes" or label == "Tensor.repeat":
                starred = [lambda: 3, lambda: 3]
            if name == "modules":
                starred = [nn.ReLU]
            if name == "operands":
                starred = [matrix]
            continue
        kinds[name] = str(parameter.annotation)
        if name == "self" and name not in own:
            makers[name] = holder or matrix
        elif name in own:
            if own[name] is not None:
                makers[name] = own[name]
        elif parameter.default is parameter.empty:
            makers[name] = GOOD.get(name, matrix)
    return makers, starred, kinds


def outcome(call: Callable[[], Any], silence_is_wrong: bool) -> str:
    """What a wrong call comes to; empty where that is as it should be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except TinygradError as error:
            text = str(error.args[0] if error.args else error)
            return "" if text.startswith("[") else f"a message without a name: {text}"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return "silence" if silence_is_wrong else ""


def run(
    function: Callable[..., Any], label: str, makers: dict[str, Any], starred: list[Any], changed: dict[str, Any]
) -> Any:
    given = {**{name: make() for name, make in makers.items()}, **changed}
    positional = []
    if starred or "self" in given:
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is parameter.KEYWORD_ONLY or name not in given:
                break
            positional.append(given.pop(name))
        positional += [make() for make in starred]
    result = function(*positional, **given)
    return list(result) if inspect.isgenerator(result) else result


def faults(label: str, function: Callable[..., Any]) -> Iterator[tuple[str, str, str]]:
    """(parameter, wrong value, what happened) of all that goes wrong."""
    makers, starred, kinds = good_call(label, function)
    run(function, label, makers, starred, {})
    for name, annotation in kinds.items():
        if name == "self":
            continue
        required = annotation.strip("'\"").partition(" ")[0]
        out = RULED_OUT.get(annotation if annotation == "Sequence[int]" else required, ())
        for kind, make in WRONG.items():
            if (label, name, kind) in LONG or ((label, name) in OWN_CODE and kind in OWN_KINDS):
                continue
            ruled = kind in out and not (kind in ("text", "digit") and "str" in annotation) and "Any" not in annotation
            ruled = ruled and not (kind == "bool" and "bool" in annotation)
            call = partial(run, function, label, makers, starred, {name: make()})
            found = outcome(call, ruled)
            if found:
                yield name, kind, found
    for k in range(len(starred)):
        for kind, make in WRONG.items():
            if ((label, f"*{k}") in OWN_CODE and kind in OWN_KINDS) or (label, f"*{k}", kind) in LEGAL:
                continue
            call = partial(run, function, label, makers, [*starred[:k], make, *starred[k + 1 :]], {})
            found = outcome(call, kind in ("object", "complex", "dict"))
            if found:
                yield f"*{k}", kind, found


@pytest.mark.parametrize(("label", "function", "good"), ELSEWHERE, ids=lambda v: v if isinstance(v, str) else "")
def test_wrong_arguments_of_what_stands_elsewhere(
    label: str, function: Callable[..., Any], good: dict[str, Callable[[], Any]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    function(**{name: make() for name, make in good.items()})
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        annotation = str(parameter.annotation).strip("'\"")
        out = RULED_OUT.get(annotation.partition(" ")[0], ())
        for kind, make in WRONG.items():
            ruled = kind in out and "|" not in annotation
            call = partial(function, **{**{key: one() for key, one in good.items()}, name: make()})
            fault = outcome(call, ruled)
            if fault and (label, name) not in OWN_MEANING:
                found.append((name, kind, fault))
    assert found == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: data.split_indices(10, range(10**12)),  # type: ignore[arg-type]
        lambda: data.split_indices(10, ""),  # type: ignore[arg-type]
        lambda: data.split_indices(10**400, (0.5, 0.5)),
        lambda: testing.gradcheck(step, (double(),), unused=range(10**12)),  # type: ignore[arg-type]
        lambda: testing.gradcheck(step, (double(),), parameters=range(10**12)),
        lambda: nn.StandardScaler(names=range(10**12)),  # type: ignore[arg-type]
        lambda: nn.OneHotEncoder(range(10**12)),
        lambda: callbacks.EarlyStopping(range(10**12)),
        lambda: tg.fit(step, [1.0], epochs=10**15, progress=False),
        lambda: tg.fit(step, [1.0], epochs=1, progress=False, callbacks=np.array(1.5)),  # type: ignore[arg-type]
        lambda: tg.fit(lambda x: np.datetime64("2020-01-01"), [1.0], epochs=1, progress=False),
        lambda: tg.History().log_epoch({"a": 10**400}),
        lambda: tg.zeros(2, dtype=tg.ones(2)),
        lambda: tg.ones(2).fill_(np.ones(2)),
        lambda: tg.ones(2).masked_select([1, 0]),
        lambda: tg.ones(2).isclose(tg.ones(2), rtol=-1.0),
        lambda: nn.Linear(1, 1).register_forward_hook("hook"),  # type: ignore[arg-type]
        lambda: history().plot(path="own.nonsense"),
        lambda: drawing().render(""),
        lambda: cli.main([1]),  # type: ignore[list-item]
        lambda: cli.main("--version"),
        lambda: callbacks.JsonLines("\0")._append({}),
    ],
)
def test_what_waits_eats_memory_or_says_nothing_is_refused(call: Callable[[], Any]) -> None:
    assert outcome(call, silence_is_wrong=True) == ""


@pytest.mark.parametrize("weights", [{0: 1.0, 1: math.nan}, {0: 1.0, 1: 1.0, 2: 1.0}, {0: 1.0, 1: "a"}, {0: 1.0}])
def test_class_weights_are_those_of_the_labels(weights: Any) -> None:
    def run() -> None:
        tg.fit(lambda x, y, w: (x * w).sum(), ([1.0, 2.0], [0, 1]), 1, class_weight=weights, progress=False)

    assert outcome(run, silence_is_wrong=True) == ""


@pytest.mark.parametrize("milestones", [{"a": 1}, {2: "b"}, {2: object()}, {-1: 1}, {2: 0}])
def test_milestones_of_a_state_are_steps(milestones: Any) -> None:
    schedule = lr_scheduler.MultiStepLR(sgd(), [2])
    before = schedule.state_dict()
    assert outcome(lambda: schedule.load_state_dict({**before, "milestones": milestones}), True) == ""
    assert schedule.state_dict() == before


@pytest.mark.parametrize(("label", "function"), list(subjects()), ids=lambda v: v if isinstance(v, str) else "")
def test_wrong_arguments_are_refused_in_our_words(
    label: str, function: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where files go whose path is legal
    assert list(faults(label, function)) == []
