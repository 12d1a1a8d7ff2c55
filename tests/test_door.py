"""What stands for a tensor: every public function takes lists, numbers and arrays, or says by its name what it got.

The calls are made from the signatures: each parameter that is annotated as a tensor is given as a tensor, as an array
of float64, as a list, as what is no data at all. `CALLS` holds the arguments of functions for which those by the name
of the parameter do not fit; a new function is tested without a line here, or fails until it has one.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import metrics, nn
from tinygrad_nn.errors import DataError, DTypeError, GraphError, TinygradError
from tinygrad_nn.nn.utils.rnn import masked_mean, pad_sequence, unpad_sequence
from tinygrad_nn.tensor import functions

RNG = np.random.default_rng(4)


def part(*shape: int) -> Any:
    """Numbers in (0, 1) that float32 holds, so that every dtype has the same."""
    return RNG.integers(1, 16, shape) / 16


INTS = np.array([0, 2, 1, 1])
X = part(4, 3)
BY_NAME: dict[str, Any] = {
    "self": X, "x": X, "input": X, "input1": X, "input2": part(4, 3), "x1": X, "x2": part(4, 3),
    "target": part(4, 3), "other": part(4, 3), "end": part(4, 3),
    "weight": part(3), "anchor": X, "positive": part(4, 3), "negative": part(4, 3), "tensor1": part(4, 3),
    "tensor2": part(4, 3), "exponent": part(4, 3), "mask": X > 0.5, "value": 0.5, "dim": 0, "index": INTS,
    "threshold": 0.5, "min": part(4, 3), "max": part(4, 3), "predictions": part(6),
    "targets": np.array([0, 1, 1, 0, 1, 1]),
    "fraction": 0.1, "fill_value": 2.0,
}  # fmt: skip
POOLS = ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg")
SQUARE, BITS = part(4, 4), np.array([3, 5, 6])
CALLS: dict[str, tuple[Any, ...]] = {
    "prelu": (X, part(3)),
    "glu": (part(4, 4),),
    "linear": (X, part(2, 3), part(2)),
    "bilinear": (X, part(4, 2), part(5, 3, 2), part(5)),
    "conv1d": (part(2, 3, 7), part(4, 3, 3), part(4)),
    "conv_tbc": (part(7, 2, 3), part(3, 3, 4), part(4)),
    "fractional_max_pool2d": (part(2, 3, 7, 6), 2, 3, None, False, part(2, 3, 2)),
    "fractional_max_pool3d": (part(2, 3, 7, 6, 5), 2, 3, None, False, part(2, 3, 3)),
    "multi_head_attention_forward": (
        part(3, 2, 4), part(5, 2, 4), part(5, 2, 4), 4, 2, part(12, 4), part(12), part(1, 1, 4), part(1, 1, 4), False,
        0, part(4, 4), part(4),
    ),
    "conv2d": (part(2, 3, 5, 4), part(4, 3, 3, 2), part(4)),
    "conv3d": (part(3, 3, 4, 3), part(4, 3, 2, 2, 2), part(4)),
    "conv_transpose1d": (part(2, 3, 7), part(3, 4, 3), part(4)),
    "conv_transpose2d": (part(2, 3, 5, 4), part(3, 4, 3, 2), part(4)),
    "unfold": (part(3, 5, 4), 2),
    "fold": (part(8, 12), (5, 4), 2),
    "scaled_dot_product_attention": (part(2, 4, 3), part(2, 5, 3), part(2, 5, 2), part(4, 5)),
    "embedding": (INTS, part(3, 2)),
    "one_hot": (INTS, 3),
    **dict.fromkeys(("max_pool1d", "avg_pool1d", "adaptive_max_pool1d", "adaptive_avg_pool1d"), (part(2, 3, 7), 2)),
    **dict.fromkeys(("max_pool2d", "avg_pool2d", "adaptive_max_pool2d", "adaptive_avg_pool2d"), (part(3, 7, 5), 2)),
    "conv_transpose3d": (part(2, 3, 4, 3), part(2, 4, 2, 2, 2), part(4)),
    **dict.fromkeys(("max_pool3d", "avg_pool3d", "adaptive_max_pool3d", "adaptive_avg_pool3d"), (part(3, 5, 4, 3), 2)),
    **{f"lp_pool{rank}d": (part(*(2, 3, 5, 4, 2)[: rank + 2]), 2.0, 2) for rank in (1, 2, 3)},
    **{
        f"max_unpool{rank}d": (part(2, *(2,) * rank), np.arange(2**rank)[None].repeat(2, 0).reshape(2, *(2,) * rank), 2)
        for rank in (1, 2, 3)
    },
    "interpolate": (part(1, 2, 5), 3),
    **dict.fromkeys(("upsample", "upsample_nearest"), (part(1, 2, 5), 3)),
    "upsample_bilinear": (part(1, 2, 5, 4), 3),
    "grid_sample": (part(1, 2, 5, 4), part(1, 3, 2, 2)),
    "affine_grid": (part(2, 2, 3), (2, 1, 4, 3)),
    "ctc_loss": (part(4, 1, 3), np.array([[1, 2]]), [4], [2]),
    "embedding_bag": (INTS, part(3, 2), np.array([0, 2])),
    "layer_norm": (X, (3,), part(3), part(3)),
    "group_norm": (part(2, 6, 4), 3, part(6), part(6)),
    "instance_norm": (part(2, 3, 4), part(3), part(3), part(3), part(3)),
    "local_response_norm": (part(2, 6, 4), 2),
    "channel_shuffle": (part(2, 6, 4), 3),
    "pixel_shuffle": (part(4, 2, 3), 2),
    "pixel_unshuffle": (part(3, 4, 2), 2),
    "rms_norm": (X, (3,), part(3)),
    "batch_norm": (X, part(3), part(3), part(3), part(3)),
    "binary_cross_entropy": (X, part(4, 3), part(4, 3)),
    "binary_cross_entropy_with_logits": (X, part(4, 3), part(4, 3), None, None, "mean", part(3)),
    "cross_entropy": (X, INTS, part(3)),
    "nll_loss": (X, INTS, part(3)),
    **dict.fromkeys(("mse_loss", "l1_loss"), (X, part(4, 3), None, None, "mean", part(4, 3))),
    "huber_loss": (X, part(4, 3)),
    "cosine_embedding_loss": (X, part(4, 3), np.array([1, -1, 1, 1])),
    "multilabel_margin_loss": (X, np.array([[0, -1, 1], [2, 0, -1], [-1, 0, 0], [1, 2, 0]])),
    "linear_cross_entropy": (X, part(5, 3), INTS),
    "multi_margin_loss": (X, INTS, 1, 1.0, part(3)),
    "gaussian_nll_loss": (X, part(4, 3), part(4, 3)),
    "threshold": (X, 0.5, 0.25),
    "pad": (X, (1, 1)),
    "where": (X > 0.5, X, part(4, 3)),
    "lerp": (X, part(4, 3), part(4, 3)),
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor", "gcd", "lcm"), (BITS, BITS + 1)),
    **dict.fromkeys(("bitwise_left_shift", "bitwise_right_shift"), (BITS, BITS - 2)),
    "bitwise_not": (BITS,),
    "logsumexp": (X, 0),
    "topk": (X, 2),
    "reshape": (X, 3, 4),
    "unflatten": (X, 0, (2, 2)),
    "transpose": (X, 0, 1),
    "swapaxes": (X, 0, 1),
    "movedim": (X, 0, 1),
    "permute": (X, 1, 0),
    "broadcast_to": (X, (2, 4, 3)),
    "tile": (X, 2),
    "split": (X, 2),
    "chunk": (X, 2),
    "roll": (X, 1),
    "narrow": (X, 0, 1, 2),
    "select": (X, 0, 1),
    "gather": (X, 1, INTS.reshape(4, 1)),
    "scatter": (X, 1, INTS.reshape(4, 1), part(4, 1)),
    "scatter_add": (X, 1, INTS.reshape(4, 1), part(4, 1)),
    "index_select": (X, 0, INTS),
    "index_add": (X, 0, INTS, part(4, 3)),
    "take_along_dim": (X, INTS.reshape(4, 1), 1),
    "addbmm": (part(4, 2), part(2, 4, 3), part(2, 3, 2)),
    "baddbmm": (part(2, 4, 2), part(2, 4, 3), part(2, 3, 2)),
    "addr": (X, part(4), part(3)),
    "cdist": (X, part(2, 3)),
    "cross": (X, part(4, 3), 1),
    "ger": (part(3), part(2)),
    **dict.fromkeys(("moveaxis", "swapdims"), (X, 0, 1)),
    "bucketize": (X, np.array([0.2, 0.5, 0.9])),
    "searchsorted": (np.array([0.2, 0.5, 0.9]), X),
    "isin": (INTS, np.array([0, 1])),
    "heaviside": (X, part(3)),
    "histogram": (X, 4),
    "kthvalue": (X, 2),
    "histogramdd": (X, 2),
    "is_nonzero": (part(1),),
    "lu_solve": (part(4, 2), SQUARE + 1, np.array([1, 2, 3, 4])),
    "lu_unpack": (SQUARE, np.array([1, 2, 3, 4])),
    "unravel_index": (INTS, (2, 3)),
    "cholesky_solve": (X, np.eye(4) + 1),
    **dict.fromkeys(
        ("cholesky", "cholesky_inverse", "det", "inverse", "logdet", "matrix_exp", "slogdet"), (np.eye(4) + 1,)
    ),
    "matrix_power": (SQUARE, 2),
    "resize_as": (X, part(2, 2)),
    "bincount": (INTS,),
    "diff": (X, 1, -1, X, X),
    **dict.fromkeys(("softmax", "log_softmax", "unsqueeze"), (X, 1)),
    **dict.fromkeys(("quantile", "nanquantile"), (X, 0.5)),
    "renorm": (X, 2, 0, 1.5),
    "mvlgamma": (X + 1, 2),
    "polygamma": (1, X),
    "vdot": (part(3), part(3)),
    "dsplit": (part(2, 3, 4), 2),
    "hsplit": (X, 3),
    **dict.fromkeys(("tensor_split", "repeat_interleave", "vsplit", "unsafe_split", "unsafe_chunk"), (X, 2)),
    "kron": (X, part(2, 2)),
    "narrow_copy": (X, 0, 1, 2),
    "reshape_as": (X, part(3, 4)),
    "split_with_sizes": (X, (1, 3)),
    "diagonal_scatter": (X, part(3)),
    "index_copy": (X, 0, INTS, part(4, 3)),
    "index_fill": (X, 0, INTS, 0.5),
    "index_put": (X, (INTS,), part(4, 3)),
    "index_reduce": (X, 0, INTS, part(4, 3), "mean"),
    "masked_scatter": (X, X > 0.5, part(12)),
    "put": (X, INTS, part(4)),
    "scatter_reduce": (X, 1, INTS.reshape(4, 1), part(4, 1), "mean"),
    "select_scatter": (X, part(3), 0, 1),
    "slice_scatter": (X, part(4, 3)),
    "matmul": (X, part(3, 2)),
    "mm": (X, part(3, 2)),
    "bmm": (part(2, 4, 3), part(2, 3, 2)),
    "mv": (X, part(3)),
    "dot": (part(3), part(3)),
    "outer": (part(3), part(2)),
    "addmm": (part(4, 2), X, part(3, 2)),
    "addmv": (part(4), X, part(3)),
    "tensordot": (X, part(3, 2), 1),
    "copy": (X, part(4, 3)),
    "expand_as": (part(1, 3), X),
    "view_as": (X, part(3, 4)),
    "masked_mean": (X, np.array([True, False, True, True])),
    "unpad_sequence": (part(5, 2, 3), [5, 2]),
    "rand_like": (X,),
    "bernoulli": (X,),
}
PRODUCTS = frozenset(
    ("matmul", "mm", "bmm", "mv", "dot", "inner", "outer", "addmm", "addmv", "tensordot", "addbmm", "baddbmm", "addr",
     "cdist", "ger", "vdot")
)  # fmt: skip
NO_DATA: dict[str, tuple[Any, str]] = {
    "text": ("text", "<U4"),
    "a dict": ({"a": 1}, "dict"),
    "an object": (object(), "object"),
    "a masked array": (np.ma.masked_array([1.0, 2.0], [True, False]), "masked array"),
    "complex numbers": (np.array([1j]), "complex128"),
    "a list of text": (["a", "b"], "<U1"),
}


def is_tensor(parameter: inspect.Parameter) -> bool:
    beginning = str(parameter.annotation).partition(" ")[0]
    is_operand = beginning in ("Tensor", "Core", "Operand", "Index") and parameter.kind is not parameter.KEYWORD_ONLY
    return parameter.name == "self" or is_operand


class Call:
    """A function with arguments that fit, arrays where it wants tensors."""

    def __init__(self, name: str, function: Callable[..., Any], skip: int = 0) -> None:
        self.name, self.function = name, function
        parameters = list(inspect.signature(function).parameters.values())[skip:]
        arguments = CALLS.get(name.rstrip("_"))
        if arguments is None:
            wanted = [one for one in parameters if one.default is one.empty or (is_tensor(one) and one.name in BY_NAME)]
            arguments = tuple(BY_NAME[one.name] for one in wanted if one.kind in (0, 1))
            self.first = X
        else:
            if name == "where" and skip:  # x.where(condition, y), but tg.where(condition, x, y)
                arguments = (arguments[1], arguments[0], arguments[2])
            self.first, arguments = arguments[0], arguments[skip:]
        self.arguments = arguments
        self.parameters = parameters
        self.places = [k for k, one in enumerate(parameters[: len(self.arguments)]) if is_tensor(one)]

    def optional(self, place: int) -> bool:
        return "None" in str(self.parameters[place].annotation)

    def given(self, float_dtype: Any = tg.float32) -> list[Any]:
        """All arguments, tensors where they are wanted."""
        found = list(self.arguments)
        for place in self.places:
            found[place] = tensor(found[place], float_dtype)
        return found


def tensor(value: Any, float_dtype: Any = tg.float32) -> Any:
    array = np.asarray(value)
    return tg.tensor(array, dtype=float_dtype if array.dtype.kind == "f" else None)


def flat(result: Any) -> Iterator[Any]:
    if isinstance(result, (tuple, list)):
        for one in result:
            yield from flat(one)
    else:
        yield np.asarray(result.detach().numpy()) if isinstance(result, tg.Tensor) else result


def same(found: Any, wanted: Any, dtype: bool = True) -> None:
    for one, other in zip(flat(found), flat(wanted), strict=True):
        if isinstance(other, np.ndarray):
            assert not dtype or one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
        else:
            assert one == other


def public(module: Any) -> dict[str, Callable[..., Any]]:
    named = ((name, getattr(module, name)) for name in dir(module) if not name.startswith("_"))
    found = {name: one for name, one in named if inspect.isfunction(one)}
    return {name: one for name, one in found.items() if one.__module__.startswith("tinygrad_nn")}


DRAWN = ("tinygrad_nn.functional.dropout", "tinygrad_nn.tensor.composed.drawing")  # random: no two calls agree
FUNCTIONAL = {
    name: Call(name, one) for name, one in public(F).items() if one.__module__ not in DRAWN and name[-1] != "_"
}
LIKE = {
    one.__name__: Call(one.__name__, one)
    for one in (tg.zeros_like, tg.ones_like, tg.full_like, masked_mean, unpad_sequence)
}
TOP = {
    name: Call(name, one)
    for name, one in public(functions).items()
    if getattr(tg, name, None) is one and name not in ("max", "min", "nonzero_static") and one.__module__ not in DRAWN
}
OWN = ("apply", "assign", "type_as", "cat_with", "backward", "seed", "product", "factor", "promoted", "point_at")
METHODS = {
    name: Call(name, one, skip=1)
    for name, one in inspect.getmembers(tg.Tensor, inspect.isfunction)
    if not name.startswith("_")
    and name not in (*OWN, "bincount")  # whose weights may be of any dtype
    and one.__module__ not in DRAWN
    and any(is_tensor(p) for p in list(inspect.signature(one).parameters.values())[1:])
}


def test_every_function_is_called() -> None:
    assert len(FUNCTIONAL) > 50
    assert len(TOP) > 100
    for call in (*FUNCTIONAL.values(), *LIKE.values(), *TOP.values()):
        assert call.places, call.name
    assert not [name for name in METHODS if not METHODS[name].places]


@pytest.mark.parametrize("name", [*FUNCTIONAL, *LIKE])
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
def test_layers_and_losses_take_arrays_and_lists(name: str, dtype: Any) -> None:
    """Beside a tensor of floats they get its dtype, else the default."""
    call = FUNCTIONAL.get(name) or LIKE[name]
    for place in call.places:
        floats = [k for k in call.places if k != place and np.asarray(call.arguments[k]).dtype.kind == "f"]
        given = call.given(dtype if floats else tg.float32)
        wanted = call.function(*given)
        names = [one.name for one in call.parameters]
        for data in (call.arguments[place], np.asarray(call.arguments[place]).tolist()):
            keeps = floats or isinstance(data, list) or name not in LIKE
            arguments = [*given[:place], data, *given[place + 1 :]]
            same(call.function(*arguments), wanted, dtype=bool(keeps))
            by_name = dict(zip(names[place:], arguments[place:], strict=False))
            same(call.function(*arguments[:place], **by_name), wanted, dtype=bool(keeps))
    lists = [np.asarray(one).tolist() if k in call.places else one for k, one in enumerate(call.arguments)]
    same(call.function(*lists), call.function(*call.given()))


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_compiled_layers_do_with_arrays_what_eager_ones_do(name: str) -> None:
    call = FUNCTIONAL[name]
    for place in call.places:
        arguments = call.given()
        arguments[place] = call.arguments[place]
        same(tg.jit(call.function)(*arguments), call.function(*arguments))


# Which no array of another dtype joins.
OF_ONE_DTYPE = {"heaviside", "quantile", "nanquantile", "cholesky_solve", "lu_solve", "prelu"}


@pytest.mark.parametrize("name", [name for name in TOP if name not in OF_ONE_DTYPE])
def test_functions_take_arrays_as_tensors_and_lists_as_numbers(name: str) -> None:
    call = TOP[name]
    for place in call.places:
        own = np.asarray(call.arguments[place])
        beside = [k for k in call.places if k != place and np.asarray(call.arguments[k]).dtype.kind == "f"]
        arguments = call.given()
        arguments[place] = tensor(own, tg.float32 if name in PRODUCTS and beside else tg.float64)
        wanted = call.function(*arguments)
        arguments[place] = own
        same(call.function(*arguments), wanted)
        for dtype in (tg.float32, tg.float64):
            arguments = call.given(dtype)
            wanted = call.function(*arguments)
            arguments[place] = own.tolist()
            same(call.function(*arguments), wanted, dtype=bool(beside))


@pytest.mark.parametrize("name", METHODS)
def test_second_operands_of_methods(name: str) -> None:
    call = METHODS[name]
    for place in call.places:
        arguments = call.given(tg.float64)
        wanted = getattr(tensor(call.first, tg.float64), name)(*arguments)
        for data in (call.arguments[place], np.asarray(call.arguments[place]).tolist()):
            arguments[place] = data
            same(getattr(tensor(call.first, tg.float64), name)(*arguments), wanted)


@pytest.mark.parametrize("kind", NO_DATA)
@pytest.mark.parametrize("name", [*FUNCTIONAL, *LIKE, *TOP])
def test_what_is_no_data_is_named(name: str, kind: str) -> None:
    call = FUNCTIONAL.get(name) or LIKE.get(name) or TOP[name]
    bad, got = NO_DATA[kind]
    for place in call.places:
        arguments = call.given()
        arguments[place] = bad
        own = call.function.__name__
        with pytest.raises(TinygradError, match=rf"^\[{own}\] got .*{got}"):
            call.function(*arguments)


@pytest.mark.parametrize("name", [*FUNCTIONAL, *LIKE, *TOP])
def test_none_is_refused_where_a_tensor_is_needed(name: str) -> None:
    call = FUNCTIONAL.get(name) or LIKE.get(name) or TOP[name]
    for place in call.places:
        if not call.optional(place):
            arguments = call.given()
            arguments[place] = None
            with pytest.raises(DTypeError, match=rf"^\[{call.function.__name__}\] got None as "):
                call.function(*arguments)


@pytest.mark.parametrize("kind", NO_DATA)
@pytest.mark.parametrize("name", METHODS)
def test_what_is_no_second_operand(name: str, kind: str) -> None:
    """Ours by the name of the method; Python's own TypeError where an operator found nobody who knows the type."""
    call = METHODS[name]
    bad, _ = NO_DATA[kind]
    for place in call.places:
        arguments = call.given()
        arguments[place] = bad
        with pytest.raises((TinygradError, TypeError)) as found:
            getattr(tensor(call.first), name)(*arguments)
        if not isinstance(found.value, TinygradError):
            assert "'Tensor'" in str(found.value)


# ---- layers ---------------------------------------------------------------------------------------------------------

SETTINGS: dict[str, tuple[Any, ...]] = {
    "Linear": (3, 2),
    "AdaptiveLogSoftmaxWithLoss": (8, 20, (4, 10)),
    **{
        f"FractionalMaxPool{rank}d": (2, 3, None, False, tg.tensor(part(2, 3, rank), dtype=tg.float32))
        for rank in (2, 3)
    },
    "Bilinear": (3, 2, 5),
    **dict.fromkeys(("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d"), (3, 4, 2)),
    "ConvTranspose3d": (3, 4, 2),
    **{f"Lazy{kind}{rank}d": (4, 2) for kind in ("Conv", "ConvTranspose") for rank in (1, 2, 3)},
    "LazyLinear": (2,),
    **{f"{kind}Pad{rank}d": (1,) for kind in ("Circular", "Reflection", "Replication", "Zero") for rank in (1, 2, 3)},
    **{f"ConstantPad{rank}d": (1, 0.5) for rank in (1, 2, 3)},
    **dict.fromkeys(("PixelShuffle", "PixelUnshuffle"), (2,)),
    "ChannelShuffle": (3,),
    "EmbeddingBag": (3, 2),
    "LinearCrossEntropyLoss": (3, 5),
    **dict.fromkeys(("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"), (3,)),
    **{f"{kind}Pool3d": (2,) for kind in POOLS},
    **{f"MaxUnpool{rank}d": (2,) for rank in (1, 2, 3)},
    **{f"LPPool{rank}d": (2.0, 2) for rank in (1, 2, 3)},
    "Unfold": (2,),
    "Fold": ((5, 4), 2),
    "Embedding": (3, 2),
    "LayerNorm": (3,),
    "RMSNorm": (3,),
    **dict.fromkeys([f"{kind}Norm{rank}d" for kind in ("Batch", "Instance") for rank in (1, 2, 3)], (3,)),
    "GroupNorm": (3, 6),
    "LocalResponseNorm": (2,),
    "MultiheadAttention": (4, 2),
    **dict.fromkeys(("TransformerEncoderLayer", "TransformerDecoderLayer"), (4, 2, 8)),
    "TransformerEncoder": (nn.TransformerEncoderLayer(4, 2, 8), 1),
    "TransformerDecoder": (nn.TransformerDecoderLayer(4, 2, 8), 1),
    "Transformer": (4, 2, 1, 1, 8),
    **dict.fromkeys([f"{kind}Pool{rank}d" for kind in POOLS for rank in (1, 2)], (2,)),
    "Threshold": (0.5, 0.25),
    "Unflatten": (0, (2, 2)),
    "Lambda": (lambda x: x,),
    **dict.fromkeys(("MaxAbsScaler", "MinMaxScaler", "StandardScaler"), ((0.5, 0.0, 1.0), (1.0, 2.0, 0.5))),
    "MeanImputer": ((0.5, 0.0, 1.0),),
    "OneHotEncoder": ((0, 1, 2), "class", "zeros"),
    **dict.fromkeys(("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"), (3, 2)),
}
INPUTS: dict[str, tuple[Any, ...]] = {
    "AdaptiveLogSoftmaxWithLoss": (part(4, 8), INTS),
    "FractionalMaxPool2d": (part(2, 3, 7, 6),),
    "FractionalMaxPool3d": (part(2, 3, 7, 6, 5),),
    "Bilinear": (X, part(4, 2)),
    **dict.fromkeys(("Conv1d", "ConvTranspose1d"), (part(2, 3, 7),)),
    **dict.fromkeys(("Conv2d", "ConvTranspose2d", "Unfold"), (part(3, 5, 4),)),
    "Conv3d": (part(3, 4, 3, 3),),
    "Fold": (part(8, 12),),
    **{
        f"{lazy}{kind}{rank}d": (part(*(2, 3, 5, 4, 2)[: rank + 2]),)
        for kind in ("BatchNorm", "InstanceNorm", "Conv", "ConvTranspose") for rank in (1, 2, 3)
        for lazy in ("", "Lazy")
    },
    **{
        f"{kind}Pad{rank}d": (part(*(2, 3, 5, 4, 2)[: rank + 2]),)
        for kind in ("Circular", "Constant", "Reflection", "Replication", "Zero") for rank in (1, 2, 3)
    },
    **{f"{kind}Pool3d": (part(3, 5, 4, 3),) for kind in (*POOLS, "LP")},
    **{f"LPPool{rank}d": (part(*(2, 3, 5, 4)[: rank + 2]),) for rank in (1, 2)},
    **{
        f"MaxUnpool{rank}d": (part(2, *(2,) * rank), np.arange(2**rank)[None].repeat(2, 0).reshape(2, *(2,) * rank))
        for rank in (1, 2, 3)
    },
    "PixelShuffle": (part(4, 3, 2),),
    "PixelUnshuffle": (part(3, 4, 2),),
    "ChannelShuffle": (part(2, 6, 4),),
    "EmbeddingBag": (np.array([[0, 2], [1, 1]]),),
    **dict.fromkeys(("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"), (part(1, 2, 5, 4),)),
    "CTCLoss": (part(4, 1, 3), np.array([[1, 2]]), np.array([4]), np.array([2])),
    "Dropout1d": (part(2, 3, 4),),
    "Dropout2d": (part(2, 3, 4),),
    "Dropout3d": (part(2, 3, 4, 2),),
    **dict.fromkeys(("GroupNorm", "LocalResponseNorm"), (part(2, 6, 4),)),
    "MultiheadAttention": (part(3, 2, 4), part(3, 2, 4), part(3, 2, 4)),
    **dict.fromkeys(("TransformerEncoderLayer", "TransformerEncoder"), (part(3, 2, 4),)),
    **dict.fromkeys(("TransformerDecoderLayer", "TransformerDecoder", "Transformer"), (part(3, 2, 4), part(5, 2, 4))),
    **dict.fromkeys([f"{kind}Pool1d" for kind in POOLS], (part(2, 3, 7),)),
    **dict.fromkeys([f"{kind}Pool2d" for kind in POOLS], (part(3, 7, 5),)),
    "Embedding": (INTS,),
    "GLU": (part(4, 4),),
    "OneHotEncoder": (part(4, 1),),
    **dict.fromkeys(("RNN", "GRU"), (part(5, 4, 3), part(1, 4, 2))),
    "LSTM": (part(5, 4, 3), (part(1, 4, 2), part(1, 4, 2))),
    **dict.fromkeys(("RNNCell", "GRUCell"), (X, part(4, 2))),
    "LSTMCell": (X, (part(4, 2), part(4, 2))),
    **dict.fromkeys(("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss", "LinearCrossEntropyLoss"), (X, INTS)),
    **{name: CALLS[function][:3] for name, function in (
        ("CosineEmbeddingLoss", "cosine_embedding_loss"), ("MultiLabelMarginLoss", "multilabel_margin_loss"),
    )},
    "Softmax2d": (part(3, 5, 4),),
}
CONTAINERS = ("Module", "Sequential", "ModuleList", "ModuleDict", "Identity", "Activation", "Loss")
LAYERS = [
    name
    for name, one in inspect.getmembers(nn, inspect.isclass)
    if issubclass(one, nn.Module) and name not in CONTAINERS and "forward" in dir(one)
]


def inputs(name: str) -> tuple[Any, ...]:
    if name in INPUTS:
        return INPUTS[name]
    function = getattr(nn, name).forward
    count = len([p for p in inspect.signature(function).parameters.values() if p.default is p.empty]) - 1
    return (X, part(4, 3), part(4, 3))[:count]


def converted(value: Any, how: Callable[[Any], Any]) -> Any:
    return tuple(map(how, value)) if isinstance(value, tuple) else how(value)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
def test_layers_take_arrays_and_lists_in_their_own_dtype(name: str, dtype: Any) -> None:
    layer = getattr(nn, name)(*SETTINGS.get(name, ())).eval()
    layer = layer.double() if dtype == tg.float64 else layer
    given = inputs(name)
    wanted = layer(*(converted(one, lambda x: tensor(x, dtype)) for one in given))
    has_floats = any(one.dtype.kind == "f" for one in layer.state_dict().values())
    for how in (np.asarray, lambda x: np.asarray(x).tolist()):
        found = layer(*(converted(one, how) for one in given))
        for one, other in zip(_all(found), _all(wanted), strict=True):
            if has_floats and not one._from_array:  # what stays data gets its dtype from the layer that reads it
                assert one.dtype == other.dtype
            np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-5, atol=1e-6)


def _all(result: Any) -> Iterator[Any]:
    for one in result if isinstance(result, tuple) else (result,):
        if isinstance(one, tuple):
            yield from _all(one)
        else:
            yield one


@pytest.mark.parametrize("name", LAYERS)
def test_layers_say_what_is_no_data(name: str) -> None:
    layer, given = getattr(nn, name)(*SETTINGS.get(name, ())), inputs(name)
    for bad, got in NO_DATA.values():
        with pytest.raises(TinygradError, match=rf"got .*{got}"):
            layer(bad, *given[1:])


def test_a_model_of_layers_takes_a_list() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 1))
    model.eval()
    rows = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    same(model(rows), model(tg.tensor(rows)))
    same(model(np.array(rows)), model(tg.tensor(rows)))


# ---- what is left ---------------------------------------------------------------------------------------------------


def test_lists_beside_tensors_are_rounded_once() -> None:
    x = tg.tensor([0.0], dtype=tg.float64)
    sums = (operator.add(x, [0.1]), operator.add([0.1], x), x.add([0.1]), tg.add([0.1], x), tg.add(x, [0.1]))
    for found in (*sums, F.mse_loss(x, [0.1]) * 10):
        assert found.dtype == tg.float64
        assert found.sum().item() == pytest.approx(0.1, rel=1e-15)
    x32 = tg.tensor([1.0, 2.0])
    for found in (x32 * [3.0, 4.0], [3.0, 4.0] * x32, x32 * (3, 4), (3, 4) * x32):
        assert (found.tolist(), found.dtype) == ([3.0, 8.0], tg.float32)
    n = tg.tensor([1, 2], dtype=tg.int32)
    assert (n.add([1, 2]).dtype, n.add([1, 2**40]).dtype, n.add([0.5, 1]).dtype) == (tg.int32, tg.int64, tg.float32)
    n += [1, 1]
    assert n.tolist() == [2, 3]


def test_functions_of_several_tensors() -> None:
    x = tg.tensor([0.0], dtype=tg.float64)
    for found in (tg.cat([x, [0.1]]), tg.stack([x, [0.1]]), tg.hstack([[0.1], x]), tg.vstack([x, [0.1]])):
        assert (found.dtype, found.sum().item()) == (tg.float64, 0.1)
    array = np.ones((2, 2))
    assert tg.cat([tg.ones(1, 2), array]).dtype == tg.float64
    assert tg.einsum("ij,jk->ik", tg.ones(2, 2), array).dtype == tg.float32
    assert tg.einsum("ij,jk->ik", array, array).dtype == tg.float64
    for name, call in {"cat": tg.cat, "stack": tg.stack, "einsum": lambda xs: tg.einsum("i,i", *xs)}.items():
        for bad, got in NO_DATA.values():
            with pytest.raises(DTypeError, match=rf"^\[{name}\] got .*{got}"):
                call([x, bad])


def test_a_list_is_another_object_than_a_tensor() -> None:
    x = tg.tensor([1, 2])
    assert (x == [1, 2]) is False
    assert x.eq([1, 2]).tolist() == [True, True]


def test_a_list_of_tensors_that_require_grad_is_refused() -> None:
    """Their gradients would be lost."""
    x = tg.tensor(1.0, requires_grad=True)
    for call in (lambda: F.relu([x, x]), lambda: tg.exp([x]), lambda: tg.ones(2) * [x, x]):
        with pytest.raises(
            GraphError, match=r"tensors that require grad; expected a tensor; hint: join"
        ):
            call()
    with tg.no_grad():
        assert F.relu([x, x]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "call",
    [
        lambda masked: tg.tensor(masked),
        lambda masked: tg.as_tensor(masked),
        lambda masked: tg.from_numpy(masked),
        lambda masked: tg.ones(2) + masked,
        lambda masked: tg.ones(2) @ masked,
        lambda masked: tg.jit(lambda x: x)(masked),
        lambda masked: metrics.mae(masked, [1.0, 2.0]),
        lambda masked: tg.fit(lambda x: x.sum(), masked, progress=False),
    ],
)
def test_a_mask_is_never_lost(call: Callable[[Any], Any]) -> None:
    with pytest.raises((DTypeError, DataError), match=r"(?i)masked ?array"):
        call(np.ma.masked_array([1.0, 2.0], [True, False]))


@pytest.mark.parametrize(
    "name", [name for name, one in public(nn.init).items() if name.endswith("_") and name[0] != "r"]
)
def test_what_is_filled_has_to_be_a_tensor(name: str) -> None:
    for target in (np.ones((2, 2)), [[1.0, 2.0]], None):
        with pytest.raises(DTypeError, match=rf"\[{name}\] got {type(target).__name__} to fill; expected a tensor"):
            getattr(nn.init, name)(target, *((0.5,) if name == "constant_" else ()))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("clip_grad_norm_", lambda params: nn.utils.clip_grad_norm_(params, 1.0)),
        ("clip_grad_value_", lambda params: nn.utils.clip_grad_value_(params, 1.0)),
        ("parameters_to_vector", nn.utils.parameters_to_vector),
        ("vector_to_parameters", lambda params: nn.utils.vector_to_parameters(np.ones(4), params)),
        ("SGD", lambda params: tg.optim.SGD(params, lr=0.1)),
    ],
)
def test_parameters_have_to_be_tensors(name: str, call: Callable[[Any], Any]) -> None:
    with pytest.raises(TinygradError, match=rf"\[{name}\] got .*(ndarray|list)"):
        call([np.ones((2, 2))])
    with pytest.raises(TinygradError, match=rf"\[{name}\] got .*(ndarray|list)"):
        call([[1.0, 2.0]])


def test_what_is_written_has_to_be_a_tensor() -> None:
    w = tg.ones(2, requires_grad=True)
    with pytest.raises(DTypeError, match=r"\[grad\] got ndarray; expected a tensor or None"):
        w.grad = np.ones(2)  # type: ignore[assignment]
    with pytest.raises(DTypeError, match=r"\[assign\] got list; expected a tensor"):
        w.assign([1.0, 2.0])  # type: ignore[arg-type]


def test_sequences_to_pad_may_be_arrays_and_lists() -> None:
    rows = [[1.0, 2.0], [3.0]]
    wanted = pad_sequence([tg.tensor(row) for row in rows])
    same(pad_sequence(rows), wanted)  # type: ignore[arg-type]
    same(pad_sequence([np.array(row, np.float32) for row in rows]), wanted)  # type: ignore[misc]
    with pytest.raises(DTypeError, match=r"\[pad_sequence\] got data of dtype"):
        pad_sequence(["a"])  # type: ignore[list-item]


INTEGERS: dict[str, Callable[[Any], Any]] = {
    "sum": lambda n: tg.ones(2, 3).sum(n(1)),
    "sum over axes": lambda n: tg.ones(2, 3).sum((n(0), n(1))),
    "softmax": lambda n: tg.ones(2, 3).softmax(n(-1)),
    "std": lambda n: tg.arange(6.0).reshape(2, 3).std(n(1)),
    "any": lambda n: (tg.ones(2, 3) > 0).any(n(0)),
    "squeeze": lambda n: tg.ones(1, 3).squeeze(n(0)),
    "split": lambda n: tg.ones(4).split(n(2))[1],
    "split in sizes": lambda n: tg.ones(4).split([n(1), n(3)], n(0))[1],
    "chunk": lambda n: tg.ones(4).chunk(n(2))[1],
    "roll": lambda n: tg.arange(4).roll(n(1), n(0)),
    "tensordot": lambda n: tg.ones(2, 3).tensordot(tg.ones(3, 2), n(1)),
    "full": lambda n: tg.full(n(2), n(3)),
    "conv1d": lambda n: F.conv1d(tg.ones(1, 2, 5), tg.ones(2, 2, 3), padding=n(1), stride=n(2), dilation=n(1)),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_of_numpy_are_integers(name: str) -> None:
    wanted = INTEGERS[name](int)
    for kind in (np.int64, np.int32, np.uint8):
        if kind is np.uint8 and name == "softmax":
            continue
        found = INTEGERS[name](kind)
        assert (found.dtype, found.tolist()) == (wanted.dtype, wanted.tolist())


def test_what_is_no_integer_is_said_by_name() -> None:
    x = tg.ones(2, 3)
    for call, text in (
        (lambda: x.sum("rows"), r"\[sum\] got axis 'rows'; expected an integer"),
        (lambda: x.mean(1.5), r"\[mean\] got axis 1.5"),
        (lambda: x.max([[1.0]]), r"\[max\] got axis \[\[1.0\]\]; expected an integer"),
        (lambda: x.softmax(None), r"\[softmax\] got axis None"),
        (lambda: x.split(1.5), r"\[split\] got split_size 1.5"),
    ):
        with pytest.raises(DTypeError, match=text):
            call()
    with pytest.raises(DTypeError, match=r"\[conv1d\] got padding 1.5; expected an integer or a sequence of them or a"):
        F.conv1d(tg.ones(1, 2, 5), tg.ones(2, 2, 3), padding=1.5)  # type: ignore[arg-type]
