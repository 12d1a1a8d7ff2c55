"""Losses, with PyTorch's arguments. Composites of Tensor methods; logits of any size give finite results.

`reduction` is "mean", "sum" or "none". Class labels are integers (N,) or (N, d1, ...), scores (N, C) or (N, C, d1,
...).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

from ..errors import ConfigError, DTypeError, IndexOutOfRange, ShapeError, message
from ..ops.composite import LABEL_ENTROPY
from ..ops.index import GATHER, TAKE
from ..ops.lookup import Called
from ..ops.movement import RESHAPE
from ..tensor import Tensor
from ..tensor.contract import check_floats
from ..tensor.door import takes_data

DEFAULT_IGNORE: Final = -100  # torch's; compiled code checks such labels instead of masking every one of them


def _reduced(name: str, values: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    if reduction == "none":
        return values
    raise ConfigError(message(name, f"reduction {reduction!r}", "'mean', 'sum' or 'none'"))


def _same(name: str, x: Tensor, y: Tensor) -> None:
    if x.shape != y.shape:
        hint = "a target of another shape would be broadcast, which is seldom meant: reshape it"
        raise ShapeError(message(name, f"shapes {x.shape} and {y.shape}", "equal shapes", hint))


@takes_data
def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(x - target) ** 2.

    >>> import tinygrad_nn as tg
    >>> mse_loss(tg.tensor([1.0, 3.0]), tg.tensor([1.0, 1.0])).item()
    2.0
    """
    _same("mse_loss", input, target)
    d = input - target
    return _reduced("mse_loss", d * d, reduction)


@takes_data
def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """|x - target|: the mean absolute error."""
    _same("l1_loss", input, target)
    return _reduced("l1_loss", (input - target).abs(), reduction)


@takes_data
def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d**2 / (2 beta) where |d| < beta, else |d| - beta / 2: Girshick, ICCV 2015."""
    if beta < 0:
        raise ConfigError(message("smooth_l1_loss", f"beta {beta}", "a number that is not negative"))
    if beta == 0:
        return l1_loss(input, target, reduction)
    return huber_loss(input, target, reduction, beta) / beta


@takes_data
def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d**2 / 2 where |d| <= delta, else delta * (|d| - delta / 2): Huber 1964."""
    if delta <= 0:
        raise ConfigError(message("huber_loss", f"delta {delta}", "a positive number"))
    _same("huber_loss", input, target)
    d = input - target
    size = d.abs()
    near = d.masked_fill(size >= delta, 0.0)  # elsewhere the square would overflow, and its slope be NaN
    return _reduced("huber_loss", (0.5 * near * near).where(size < delta, delta * (size - 0.5 * delta)), reduction)


@takes_data
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """-(t log x + (1 - t) log(1 - x)) of probabilities x; logarithms are limited to -100, as in PyTorch."""
    _same("binary_cross_entropy", input, target)
    if input.dtype != target.dtype:
        check_floats("binary_cross_entropy", input, target)
    if not input.is_traced and bool(((input.detach() < 0) | (input.detach() > 1)).any()):
        raise ConfigError(
            message(
                "binary_cross_entropy",
                "values outside of [0, 1]",
                "probabilities",
                "use binary_cross_entropy_with_logits",
            )
        )
    values = -(target * _limited_log(input) + (1 - target) * _limited_log(1 - input))
    return _reduced("binary_cross_entropy", values if weight is None else values * weight, reduction)


def _limited_log(x: Tensor) -> Tensor:
    """max(log x, -100), with slope 0 at 0; NaN stays NaN."""
    zero = x <= 0
    return x.masked_fill(zero, 1.0).log().clamp(min=-100).masked_fill(zero, -100.0)


@takes_data
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of sigmoid(x): t log(1 + e^-x) + (1 - t) log(1 + e^x); `pos_weight` is for the first term.

    Without it that is log(1 + e^x) - t x, with the gradient sigmoid(x) - t.
    """
    _same("binary_cross_entropy_with_logits", input, target)
    if pos_weight is None:
        values = input.logaddexp(0) - target * input
    else:
        values = target * pos_weight * (-input).logaddexp(0) + (1 - target) * input.logaddexp(0)
    return _reduced("binary_cross_entropy_with_logits", values if weight is None else values * weight, reduction)


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
    ignore_index: int = DEFAULT_IGNORE,
    reduction: str = "mean",
) -> Tensor:
    """-x[target]: x are log-probabilities. Mean is weighted; labels equal to `ignore_index` do not count.

    Raises IndexOutOfRange naming row and label of one outside of 0..C-1.
    """
    _labels("nll_loss", input, target)
    check_floats("nll_loss", input, weight)
    return _picked("nll_loss", -input, target, weight, ignore_index, reduction)


def _picked(
    name: str, costs: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str
) -> Tensor:
    """The cost of each label, weighted and reduced."""
    axis = 0 if costs.ndim == 1 else 1
    _one_per_class(name, weight, costs.shape[axis])
    ignored = target == ignore_index
    some = ignore_index != DEFAULT_IGNORE if target.is_traced else bool(ignored.any())
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
    ignore_index: int = DEFAULT_IGNORE,
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
    axis = 0 if input.ndim == 1 else 1
    if target.shape == input.shape and target.dtype.kind == "f":
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing, axis)
    _labels("cross_entropy", input, target)
    if weight is not None:
        check_floats("cross_entropy", input, weight)
    if (
        weight is None
        and label_smoothing == 0
        and (ignore_index == DEFAULT_IGNORE if target.is_traced else ignore_index < 0)
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
def kl_div(input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """t (log t - x), x and (with `log_target`) t are logarithms; "batchmean" divides the sum by the batch: the
    divergence.
    """
    _same("kl_div", input, target)
    if log_target:
        values = target.exp() * (target - input)
    else:
        empty = target == 0
        values = target * target.masked_fill(empty, 1.0).log() - target * input  # 0 log 0 is 0; 0 * NaN is NaN
    if reduction == "batchmean":
        return values.sum() / float(input.shape[0])
    return _reduced("kl_div", values, reduction)


@takes_data
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """e^x - t x, or x - t log(x + eps); `full` adds Stirling's approximation of log t! where t > 1."""
    _same("poisson_nll_loss", input, target)
    values = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        safe = target.where(target > 1, 2.0)
        stirling = safe * safe.log() - safe + 0.5 * (2 * math.pi * safe).log()
        values = values + stirling.masked_fill(target <= 1, 0.0)
    return _reduced("poisson_nll_loss", values, reduction)


@takes_data
def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """(log v + (x - t)**2 / v) / 2 with v = max(var, eps), whose gradient ignores the limit; `full` adds log(2 pi) /
    2.
    """
    _same("gaussian_nll_loss", input, target)
    if not var.is_traced and bool((var.detach() < 0).any()):
        raise ConfigError(message("gaussian_nll_loss", "a negative variance", "variances that are not negative"))
    limited = var + (eps - var.detach()).clamp(min=0)
    d = input - target
    values = 0.5 * (limited.log() + d * d / limited)
    return _reduced("gaussian_nll_loss", values + 0.5 * math.log(2 * math.pi) if full else values, reduction)


@takes_data
def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1."""
    _same("hinge_embedding_loss", input, target)
    near = input.masked_fill(target == -1, 0.0)
    far = (margin - input).clamp(min=0).masked_fill(target == 1, 0.0)
    return _reduced("hinge_embedding_loss", near + far, reduction)


@takes_data
def soft_margin_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """log(1 + e^(-t x)), for targets 1 and -1; without overflow."""
    _same("soft_margin_loss", input, target)
    return _reduced("soft_margin_loss", (-target * input).logaddexp(0), reduction)


@takes_data
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over the other classes of max(0, margin - x[y] + x[j]) ** p, over C."""
    if p not in (1, 2):
        raise ConfigError(message("multi_margin_loss", f"p {p}", "1 or 2"))
    single = input.ndim == 1
    input, target = (input.unsqueeze(0), target.reshape(1)) if single else (input, target)
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
    return _reduced("multi_margin_loss", values.squeeze(0) if single else values, reduction)


@takes_data
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """max(0, -t (x1 - x2) + margin): t = 1 asks for x1 above x2."""
    _same("margin_ranking_loss", input1, input2)
    return _reduced("margin_ranking_loss", (-target * (input1 - input2) + margin).clamp(min=0), reduction)


@takes_data
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(a, p) - d(a, n) + margin); `swap` takes the nearer of d(a, n) and d(p, n): Balntas et al., BMVC 2016."""
    _same("triplet_margin_loss", anchor, positive)
    _same("triplet_margin_loss", anchor, negative)
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return _reduced("triplet_margin_loss", (near - far + margin).clamp(min=0), reduction)


@takes_data
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis."""
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)


@takes_data
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (|x1| |x2|), each norm at least eps."""
    n1, n2 = ((x * x).sum(dim, keepdim=True).clamp(min=eps * eps).sqrt() for x in (x1, x2))
    return ((x1 / n1) * (x2 / n2)).sum(dim)


@takes_data
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x over its p-norm along one axis, which is at least eps."""
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)
