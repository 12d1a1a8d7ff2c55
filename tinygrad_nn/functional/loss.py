"""Losses, with PyTorch's arguments. Composites of Tensor methods; logits of any size give finite results.

`reduction` is "mean", "sum" or "none". Class labels are integers (N,) or (N, d1, ...), scores (N, C) or (N, C, d1,
...).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np

from ..errors import ConfigError, DTypeError, IndexOutOfRange, ShapeError, message
from ..ops.composite import LABEL_ENTROPY, PROBABILITY_ENTROPY
from ..ops.index import GATHER, TAKE
from ..ops.lookup import Called
from ..ops.movement import RESHAPE
from ..support.settings import number
from ..tensor import Tensor
from ..tensor.contract import check_floats
from ..tensor.core import broadcast_shape, mode
from ..tensor.creation import tensor
from ..tensor.door import takes_data
from ..tensor.shape import Ints
from .layers import linear

DEFAULT_IGNORE: Final = -100  # torch's; compiled code checks such labels instead of masking every one of them


def by_flags(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """The reduction that PyTorch's older flags ask for, where they are given."""
    if size_average is None and reduce is None:
        return reduction
    return "none" if reduce is False else "sum" if size_average is False else "mean"


def _reduced(
    name: str, values: Tensor, reduction: str, size_average: bool | None = None, reduce: bool | None = None
) -> Tensor:
    reduction = by_flags(reduction, size_average, reduce)
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    if reduction == "none":
        return values
    raise ConfigError(message(name, f"reduction {reduction!r}", "'mean', 'sum' or 'none'"))


def _weighted(
    name: str, values: Tensor, weight: Tensor, reduction: str, size_average: bool | None, reduce: bool | None
) -> Tensor:
    """The same with a weight for each value; a mean is one of weighted values."""
    _check_weight(name, values, weight)
    weighted = values * weight
    reduction = by_flags(reduction, size_average, reduce)
    return weighted.sum() / weight.sum() if reduction == "mean" else _reduced(name, weighted, reduction)


def _check_weight(name: str, values: Tensor, weight: Tensor) -> None:
    if weight.shape != values.shape:
        raise ShapeError(message(name, f"a weight of shape {weight.shape} for shape {values.shape}", "equal shapes"))


def _same(name: str, x: Tensor, y: Tensor) -> None:
    if x.shape != y.shape:
        hint = "a target of another shape would be broadcast, which is seldom meant: reshape it"
        raise ShapeError(message(name, f"shapes {x.shape} and {y.shape}", "equal shapes", hint))


@takes_data
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(x - target) ** 2.

    >>> import tinygrad_nn as tg
    >>> mse_loss(tg.tensor([1.0, 3.0]), tg.tensor([1.0, 1.0])).item()
    2.0
    """
    _same("mse_loss", input, target)
    d = input - target
    if weight is not None:
        return _weighted("mse_loss", d * d, weight, reduction, size_average, reduce)
    return _reduced("mse_loss", d * d, reduction, size_average, reduce)


@takes_data
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|x - target|: the mean absolute error.

    >>> l1_loss([1.0, 3.0], [1.0, 1.0])
    tensor(1.)
    """
    _same("l1_loss", input, target)
    size = (input - target).abs()
    if weight is not None:
        return _weighted("l1_loss", size, weight, reduction, size_average, reduce)
    return _reduced("l1_loss", size, reduction, size_average, reduce)


@takes_data
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d**2 / (2 beta) where |d| < beta, else |d| - beta / 2: Girshick, ICCV 2015.

    >>> smooth_l1_loss([0.0, 0.0], [0.5, 3.0], reduction="none")
    tensor([0.125, 2.500])
    """
    if beta < 0:
        raise ConfigError(message("smooth_l1_loss", f"beta {beta}", "a number that is not negative"))
    if beta == 0:
        return l1_loss(input, target, size_average, reduce, reduction)
    return huber_loss(input, target, by_flags(reduction, size_average, reduce), beta) / beta


@takes_data
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d**2 / 2 where |d| <= delta, else delta * (|d| - delta / 2): Huber 1964.

    >>> huber_loss([0.0, 0.0], [0.5, 3.0], reduction="none")
    tensor([0.125, 2.500])
    """
    if delta <= 0:
        raise ConfigError(message("huber_loss", f"delta {delta}", "a positive number"))
    _same("huber_loss", input, target)
    d = input - target
    size = d.abs()
    near = d.masked_fill(size >= delta, 0.0)  # elsewhere the square would overflow, and its slope be NaN
    values = (0.5 * near * near).where(size < delta, delta * (size - 0.5 * delta))
    if weight is not None:
        _check_weight("huber_loss", values, weight)
        values = values * weight
    return _reduced("huber_loss", values, reduction)


@takes_data
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(t log x + (1 - t) log(1 - x)) of probabilities x; logarithms are limited to -100, as in PyTorch.

    >>> binary_cross_entropy([0.5, 0.9], [0.0, 1.0])
    tensor(0.3993)
    """
    _same("binary_cross_entropy", input, target)
    if input.dtype != target.dtype:
        check_floats("binary_cross_entropy", input, target)
    if not input.is_traced and bool(((input.node.value < 0) | (input.node.value > 1)).any()):
        hint = "use binary_cross_entropy_with_logits"
        raise ConfigError(message("binary_cross_entropy", "values outside of [0, 1]", "probabilities", hint))
    x, t = input._floating("binary_cross_entropy")._promoted(target, "binary_cross_entropy")
    values = x.apply(PROBABILITY_ENTROPY, t)
    return _reduced(
        "binary_cross_entropy", values if weight is None else values * weight, reduction, size_average, reduce
    )


@takes_data
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of sigmoid(x): t log(1 + e^-x) + (1 - t) log(1 + e^x); `pos_weight` is for the first term.

    Without it that is log(1 + e^x) - t x, with the gradient sigmoid(x) - t.

    >>> binary_cross_entropy_with_logits([0.0, 100.0], [1.0, 1.0])
    tensor(0.3466)
    """
    _same("binary_cross_entropy_with_logits", input, target)
    if pos_weight is None:
        values = input.logaddexp(0) - target * input
    else:
        values = target * pos_weight * (-input).logaddexp(0) + (1 - target) * input.logaddexp(0)
    return _reduced(
        "binary_cross_entropy_with_logits",
        values if weight is None else values * weight,
        reduction,
        size_average,
        reduce,
    )


def _labels(name: str, x: Tensor, target: Tensor) -> None:
    if target.dtype.kind != "i":
        raise DTypeError(
            message(name, f"labels of dtype {target.dtype.name}", "int32 or int64", "convert with y.long()")
        )
    if x.ndim == 0 or (x.shape[:1] + x.shape[2:] != target.shape and not (x.ndim == 1 and target.shape == ())):
        got = f"scores {x.shape} and labels {target.shape}"
        raise ShapeError(message(name, got, "(N, C, ...) and (N, ...)", "labels are class numbers, not one-hot rows"))


def _one_per_class(name: str, weight: Tensor | None, classes: int) -> None:
    if weight is not None and weight.shape != (classes,):
        raise ShapeError(message(name, f"weight of shape {weight.shape} for {classes} classes", f"shape ({classes},)"))
    if weight is not None and not weight.is_traced and not bool(weight.detach().isfinite().all()):
        raise ConfigError(message(name, "class weights that are NaN or infinite", "finite numbers"))


@cache
def _called(name: str, axis: int | None = None) -> Called:
    """Labels that a loss looks up; `axis` is the one it gave them."""
    return Called(name, "label", axis)


@takes_data
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = DEFAULT_IGNORE,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-x[target]: x are log-probabilities. Mean is weighted; labels equal to `ignore_index` do not count.

    Raises IndexOutOfRange naming row and label of one outside of 0..C-1.

    >>> import tinygrad_nn as tg
    >>> nll_loss(tg.tensor([[0.5, 0.5]]).log(), [0])
    tensor(0.6931)
    """
    _labels("nll_loss", input, target)
    check_floats("nll_loss", input, weight)
    reduction = by_flags(reduction, size_average, reduce)
    return _picked("nll_loss", -input, target, weight, ignore_index, reduction)


def _searches() -> bool:
    """Whether a function is traced for labels that are known to have the usual ignored one among them."""
    return bool(getattr(mode.recorder, "searches", False))


def _picked(
    name: str, costs: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str
) -> Tensor:
    """The cost of each label, weighted and reduced."""
    axis = 0 if costs.ndim == 1 else 1
    _one_per_class(name, weight, costs.shape[axis])
    ignored = target == ignore_index
    some = ignore_index != DEFAULT_IGNORE or _searches() if target.is_traced else bool(ignored.any())
    safe = target.masked_fill(ignored, 0) if some else target
    values = costs.apply(GATHER, safe.unsqueeze(axis), axis=axis, called=_called(name, axis)).squeeze(axis)
    if weight is None and not some:
        return _reduced(name, values, reduction)
    shares = costs.new_ones(target.shape) if weight is None else weight.apply(TAKE, safe, axis=0, called=_called(name))
    if some:
        shares = shares.masked_fill(ignored, 0)
    values = values.masked_fill(ignored, 0) * shares if some else values * shares
    return values.sum() / shares.sum() if reduction == "mean" else _reduced(name, values, reduction)


@takes_data
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = DEFAULT_IGNORE,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(x)[target], for labels or for probabilities of x's shape.

    With label smoothing s the target is (1 - s) of the label and s of the uniform distribution (Szegedy et al., CVPR
    2016). Raises DTypeError for labels that are no integers, IndexOutOfRange naming row and label of one outside of
    0..C-1.

    >>> import tinygrad_nn as tg
    >>> round(cross_entropy(tg.zeros(2, 4), tg.tensor([0, 3])).item(), 4)
    1.3863
    """
    if not 0 <= label_smoothing <= 1:
        raise ConfigError(message("cross_entropy", f"label_smoothing {label_smoothing}", "0 <= label_smoothing <= 1"))
    reduction = by_flags(reduction, size_average, reduce)
    axis = 0 if input.ndim == 1 else 1
    if target.shape == input.shape and target.dtype.kind == "f":
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing, axis)
    _labels("cross_entropy", input, target)
    if weight is not None:
        check_floats("cross_entropy", input, weight)
    if (
        weight is None
        and label_smoothing == 0
        and (ignore_index == DEFAULT_IGNORE and not _searches() if target.is_traced else ignore_index < 0)
        and reduction == "mean"
        and len(input.shape) == 2
        and input.dtype.kind == "f"
    ):
        # The plain case in the fewest nodes. Labels need no search for the ignored one, which like all negative numbers
        # is no class.
        try:
            column = target.apply(RESHAPE, shape=(*target.shape, 1))
            return input.apply(LABEL_ENTROPY, column, called=_called("cross_entropy", 1)).mean()
        except IndexOutOfRange:
            if not bool((target == ignore_index).any()):
                raise
    logs = input.as_float().log_softmax(axis)
    loss = _picked("cross_entropy", -logs, target, weight, ignore_index, reduction)
    if label_smoothing == 0:
        return loss
    classes = input.shape[axis]
    per_class = -logs if weight is None else -logs * weight.reshape((-1, *(1,) * (input.ndim - 1 - axis)))
    ignored = target == ignore_index
    smooth = per_class.sum(axis).masked_fill(ignored, 0)
    if reduction == "mean":
        safe = target.masked_fill(ignored, 0)
        called = _called("cross_entropy")
        shares = input.new_ones(target.shape) if weight is None else weight.apply(TAKE, safe, axis=0, called=called)
        smooth = smooth.sum() / shares.masked_fill(ignored, 0).sum()
    else:
        smooth = _reduced("cross_entropy", smooth, reduction)
    return (1 - label_smoothing) * loss + (label_smoothing / classes) * smooth


def _soft_cross_entropy(
    x: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float, axis: int
) -> Tensor:
    logs = x.log_softmax(axis)
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / x.shape[axis]
    _one_per_class("cross_entropy", weight, x.shape[axis])
    costs = -(logs * target)
    if weight is not None:
        costs = costs * weight.reshape((-1, *(1,) * (x.ndim - 1 - axis)))
    values = costs.sum(axis)
    if reduction == "mean" and x.ndim > 1:
        return values.sum() / float(max(values.numel(), 1)) if values.numel() else values.mean()
    return _reduced("cross_entropy", values, reduction)


@takes_data
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """t (log t - x), x and (with `log_target`) t are logarithms; "batchmean" divides the sum by the batch: the
    divergence.

    >>> import tinygrad_nn as tg
    >>> kl_div(tg.tensor([[0.5, 0.5]]).log(), tg.tensor([[0.25, 0.75]]), reduction="batchmean")
    tensor(0.1308)
    """
    _same("kl_div", input, target)
    reduction = by_flags(reduction, size_average, reduce)
    if log_target:
        values = target.exp() * (target - input)
    else:
        empty = target == 0
        values = target * target.masked_fill(empty, 1.0).log() - target * input  # 0 log 0 is 0; 0 * NaN is NaN
    if reduction == "batchmean":
        return values.sum() / float(input.shape[0] if input.ndim else 1)
    return _reduced("kl_div", values, reduction)


@takes_data
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """e^x - t x, or x - t log(x + eps); `full` adds Stirling's approximation of log t! where t > 1.

    >>> poisson_nll_loss([0.0], [2.0])
    tensor(1.)
    """
    _same("poisson_nll_loss", input, target)
    values = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        safe = target.where(target > 1, 2.0)
        stirling = safe * safe.log() - safe + 0.5 * (2 * math.pi * safe).log()
        values = values + stirling.masked_fill(target <= 1, 0.0)
    return _reduced("poisson_nll_loss", values, reduction, size_average, reduce)


@takes_data
def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """(log v + (x - t)**2 / v) / 2 with v = max(var, eps), whose gradient ignores the limit; `full` adds log(2 pi) /
    2. Targets and variances may broadcast to the input's shape.

    >>> import tinygrad_nn as tg
    >>> gaussian_nll_loss([1.0], [3.0], tg.tensor([4.0]))
    tensor(1.1931)
    """
    shape = input.shape
    if broadcast_shape("gaussian_nll_loss", shape, target.shape) != shape:
        _same("gaussian_nll_loss", input, target)
    if var.shape != shape and var.shape == shape[:-1]:
        var = var.unsqueeze(-1)
    elif var.ndim not in (0, len(shape)) or any(n not in (1, m) for n, m in zip(var.shape, shape, strict=False)):
        expected = f"{shape}, one with 1 in place of an axis, or {shape[:-1]}"
        raise ShapeError(message("gaussian_nll_loss", f"a variance of shape {var.shape}", expected))
    if not var.is_traced and bool((var.detach() < 0).any()):
        raise ConfigError(message("gaussian_nll_loss", "a negative variance", "variances that are not negative"))
    limited = var + (eps - var.detach()).clamp(min=0)
    d = input - target
    values = 0.5 * (limited.log() + d * d / limited)
    return _reduced("gaussian_nll_loss", values + 0.5 * math.log(2 * math.pi) if full else values, reduction)


@takes_data
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1.

    >>> import tinygrad_nn as tg
    >>> hinge_embedding_loss([0.5, 0.25], tg.tensor([1.0, -1.0]))
    tensor(0.625)
    """
    _same("hinge_embedding_loss", input, target)
    near = input.masked_fill(target == -1, 0.0)
    far = (margin - input).clamp(min=0).masked_fill(target == 1, 0.0)
    return _reduced("hinge_embedding_loss", near + far, reduction, size_average, reduce)


@takes_data
def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """log(1 + e^(-t x)), for targets 1 and -1; without overflow.

    >>> soft_margin_loss([0.0, 10.0], [1.0, 1.0])
    tensor(0.3466)
    """
    _same("soft_margin_loss", input, target)
    return _reduced("soft_margin_loss", (-target * input).logaddexp(0), reduction, size_average, reduce)


@takes_data
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over the other classes of max(0, margin - x[y] + x[j]) ** p, over C.

    >>> multi_margin_loss([[0.25, 1.0]], [0])
    tensor(0.875)
    """
    if p not in (1, 2):
        raise ConfigError(message("multi_margin_loss", f"p {p}", "1 or 2"))
    single = input.ndim < 2
    if single and target.numel() == 1:
        input, target = input.reshape((1, -1)), target.reshape(1)
    _labels("multi_margin_loss", input, target)
    check_floats("multi_margin_loss", input, weight)
    _one_per_class("multi_margin_loss", weight, input.shape[1])
    own = input.apply(GATHER, target.unsqueeze(1), axis=1, called=_called("multi_margin_loss", 1))
    gap = (margin - own + input).clamp(min=0)
    if p == 2:
        gap = gap * gap
    if weight is not None:
        gap = gap * weight.apply(TAKE, target, axis=0, called=_called("multi_margin_loss")).unsqueeze(1)
    others = input.new_arange(input.shape[1]) != target.unsqueeze(1)
    values = gap.masked_fill(~others, 0.0).sum(1) / float(input.shape[1])
    return _reduced("multi_margin_loss", values.squeeze(0) if single else values, reduction, size_average, reduce)


@takes_data
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -t (x1 - x2) + margin): t = 1 asks for x1 above x2.

    >>> import tinygrad_nn as tg
    >>> margin_ranking_loss([1.0, 2.0], [3.0, 1.0], tg.tensor([1.0, 1.0]))
    tensor(1.)
    """
    _same("margin_ranking_loss", input1, input2)
    return _reduced(
        "margin_ranking_loss", (-target * (input1 - input2) + margin).clamp(min=0), reduction, size_average, reduce
    )


@takes_data
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(a, p) - d(a, n) + margin); `swap` takes the nearer of d(a, n) and d(p, n): Balntas et al., BMVC 2016.

    >>> triplet_margin_loss([[0.0, 0.0]], [[0.0, 1.0]], [[3.0, 4.0]], margin=5.0)
    tensor(1.)
    """
    _same("triplet_margin_loss", anchor, positive)
    _same("triplet_margin_loss", anchor, negative)
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return _reduced("triplet_margin_loss", (near - far + margin).clamp(min=0), reduction, size_average, reduce)


@takes_data
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """The same with a distance of one's own, of two tensors (N, D); `pairwise_distance` by default.

    >>> import tinygrad_nn as tg
    >>> triplet_margin_with_distance_loss(tg.zeros(1, 2), tg.ones(1, 2), tg.ones(1, 2) * 2)
    tensor(0.)
    """
    if margin <= 0:
        raise ConfigError(message("triplet_margin_with_distance_loss", f"margin {margin}", "a positive number"))
    _same("triplet_margin_with_distance_loss", anchor, positive)
    _same("triplet_margin_with_distance_loss", anchor, negative)
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return _reduced("triplet_margin_with_distance_loss", (near - far + margin).clamp(min=0), reduction)


@takes_data
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1: (N, D) and (N,), or (D,) and ().

    >>> import tinygrad_nn as tg
    >>> cosine_embedding_loss([[1.0, 0.0]], [[0.0, 1.0]], tg.tensor([1]))
    tensor(1.)
    """
    if input1.shape != input2.shape or target.shape != input1.shape[:-1] or input1.ndim not in (1, 2):
        got = f"shapes {input1.shape}, {input2.shape} and {target.shape}"
        raise ShapeError(message("cosine_embedding_loss", got, "(N, D), (N, D) and (N,), or (D,), (D,) and ()"))
    small = 1e-12  # PyTorch's
    squares = [(x * x).sum(-1) + small for x in (input1, input2)]
    cosine = (input1 * input2).sum(-1) / (squares[0] * squares[1]).sqrt()
    near, far = (1 - cosine).masked_fill(target != 1, 0), (cosine - margin).clamp(min=0).masked_fill(target != -1, 0)
    return _reduced("cosine_embedding_loss", near + far, reduction, size_average, reduce)


@takes_data
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The sum over labels y and over classes j that are no label of max(0, 1 - x[y] + x[j]), over C. Labels (N, C) or
    (C,) are class numbers up to the first negative one.

    >>> import tinygrad_nn as tg
    >>> multilabel_margin_loss([[0.0, 1.0, 0.5]], tg.tensor([[1, -1, 0]]))
    tensor(0.1667)
    """
    name = "multilabel_margin_loss"
    if target.dtype.kind != "i":
        raise DTypeError(message(name, f"labels of dtype {target.dtype.name}", "int64", "convert with y.long()"))
    if input.ndim == 0 and target.numel() == 1:
        input, target = input.reshape(1), target.reshape(1)
    _same(name, input, target)
    if input.ndim not in (1, 2):
        raise ShapeError(message(name, f"shape {input.shape}", "(N, C) or (C,)"))
    classes = input.shape[-1]
    counts = (target < 0).long().cumsum(-1) == 0  # the labels in front of the first negative one
    safe = target.masked_fill(~counts, 0)
    axis = input.ndim - 1
    chosen = (safe.unsqueeze(-1) == input.new_arange(classes)) & counts.unsqueeze(-1)
    others = ~chosen.any(-2)
    own = input.apply(GATHER, safe, axis=axis, called=_called(name, axis)).unsqueeze(-1)
    gaps = (1 - own + input.unsqueeze(-2)).clamp(min=0)
    values = gaps.masked_fill(~(counts.unsqueeze(-1) & others.unsqueeze(-2)), 0).sum((-1, -2)) / float(classes)
    return _reduced(name, values, reduction, size_average, reduce)


@takes_data
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over classes (the last axis) of the cross-entropies of sigmoid(x).

    >>> multilabel_soft_margin_loss([[0.0, 0.0]], [[1.0, 0.0]])
    tensor(0.6931)
    """
    _same("multilabel_soft_margin_loss", input, target)
    values = input.logaddexp(0) - target * input
    values = (values if weight is None else values * weight).mean(-1)
    return _reduced("multilabel_soft_margin_loss", values, reduction, size_average, reduce)


@takes_data
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """`cross_entropy` of `linear`: (N, in) or (in,) with weights (C, ..., in) and a bias (C, ...). PyTorch's `options`
    say how it computes that in parts; they change nothing here.

    >>> import tinygrad_nn as tg
    >>> linear_cross_entropy(tg.ones(2, 4), tg.zeros(3, 4), tg.tensor([0, 2]))
    tensor(1.0986)
    """
    name = "linear_cross_entropy"
    check_floats(name, input, linear_weight, linear_bias)
    if input.ndim not in (1, 2) or linear_weight.ndim < 2 or input.shape[-1] != linear_weight.shape[-1]:
        got = f"shapes {input.shape} and {linear_weight.shape}"
        raise ShapeError(message(name, got, "(N, in) or (in,), and (C, ..., in)"))
    outer = linear_weight.shape[:-1]
    if len(outer) > 1 and input.ndim == 1:
        raise ShapeError(message(name, f"weights {linear_weight.shape} for one sample", "a batch (N, in)"))
    if linear_bias is not None and linear_bias.shape != outer:
        raise ShapeError(message(name, f"a bias of shape {linear_bias.shape}", f"{outer}"))
    scores = linear(
        input,
        linear_weight.reshape((-1, linear_weight.shape[-1])),
        None if linear_bias is None else linear_bias.reshape(-1),
    ).reshape((*input.shape[:-1], *outer))
    if ignore_index is not None and target.shape == scores.shape:
        raise ConfigError(message(name, f"ignore_index {ignore_index} beside probabilities", "None"))
    ignored = DEFAULT_IGNORE if ignore_index is None else ignore_index
    return cross_entropy(
        scores, target, weight, ignore_index=ignored, reduction=reduction, label_smoothing=label_smoothing
    )


@takes_data
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis.

    >>> pairwise_distance([[0.0, 0.0]], [[3.0, 4.0]])
    tensor([5.])
    """
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)


@takes_data
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm of the difference of every pair of rows: (N, D) to (N * (N - 1) / 2,), the pairs (0, 1), (0, 2), ...

    >>> import tinygrad_nn as tg
    >>> pdist(tg.tensor([[0.0], [1.0], [3.0]])).tolist()
    [1.0, 3.0, 2.0]
    """
    if input.ndim != 2:
        raise ShapeError(message("pdist", f"shape {input.shape}", "(N, D)"))
    first, second = np.triu_indices(input.shape[0], 1)
    rows = [input.apply(TAKE, tensor(at), axis=0) for at in (first, second)]
    return (rows[0] - rows[1]).norm(number("pdist", "p", p, least=0, finite=False), -1)


@takes_data
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (|x1| |x2|), each norm at least eps; the two broadcast.

    >>> cosine_similarity([[1.0, 0.0]], [[1.0, 1.0]])
    tensor([0.7071])
    """
    if x1.shape != x2.shape:
        shape = broadcast_shape("cosine_similarity", x1.shape, x2.shape)
        x1, x2 = x1.expand_to(shape), x2.expand_to(shape)
    n1, n2 = ((x * x).sum(dim, keepdim=True).clamp(min=eps * eps).sqrt() for x in (x1, x2))
    return ((x1 / n1) * (x2 / n2)).sum(dim)


@takes_data
def normalize(input: Tensor, p: float = 2.0, dim: Ints = 1, eps: float = 1e-12) -> Tensor:
    """x over its p-norm along one axis or several, which is at least eps.

    >>> normalize([[3.0, 4.0]])
    tensor([[0.6, 0.8]])
    """
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)
