"""Operators that normalize, drop, or measure how far a prediction is off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ... import functional as F
from ... import random
from ...ops.rules import BOOL
from ...tensor import Tensor
from ...tensor.creation import ones
from .form import Call, Fixed, Known, axis_of, bad


def along(x: Tensor, rank: int) -> Tensor:
    """Numbers of channels beside axes behind them."""
    return x.reshape(-1, *(1,) * (rank - 2))


def batch_norm(
    call: Call,
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Fixed,
    var: Fixed,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    is_test: int = 0,
    spatial: int = 1,
    consumed_inputs: Any = None,
) -> Any:
    """Ioffe and Szegedy 2015: by the statistics that are given, or in training mode by those of the batch, which then
    run.
    """
    training = training_mode if call.version >= 14 else call.version < 7 and not is_test and len(call.outputs) > 1
    if not spatial:
        raise bad("spatial 0", "statistics of channels")
    if not training:
        return F.batch_norm(x, mean, var, scale, bias, False, 0.0, epsilon)
    axes = [k for k in range(x.ndim) if k != 1]
    own, spread = x.mean(axes), x.var(axes, correction=0)
    y = F.batch_norm(x, None, None, scale, bias, True, 0.0, epsilon)
    return y, mean * momentum + own * (1 - momentum), var * momentum + spread * (1 - momentum)


def instance_norm(
    x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5, consumed_inputs: Any = None
) -> Tensor:
    """Each channel of each entry by itself."""
    return F.instance_norm(x, None, None, scale, bias, True, 0.1, epsilon)


def group_norm(
    call: Call, x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """Wu and He 2018. Before opset 21 scales are those of groups."""
    if call.version < 21:
        each = x.shape[1] // num_groups
        scale, bias = (one.repeat_interleave(each, 0) for one in (scale, bias))
    return F.group_norm(x, num_groups, scale, bias, epsilon)


def layer_norm(
    call: Call,
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Any:
    """Ba et al. 2016: over all axes from one on; and the mean and 1 / deviation."""
    first = axis_of(axis, x.ndim)
    inner = x.shape[first:]
    if len(call.outputs) < 2 and scale.shape == inner and (bias is None or bias.shape == inner):
        return F.layer_norm(x, inner, scale, bias, epsilon)
    axes = list(range(first, x.ndim))
    mean = x.mean(axes, keepdim=True)
    inverse = (x.var(axes, correction=0, keepdim=True) + epsilon).rsqrt()
    y = (x - mean) * inverse * scale
    return (y if bias is None else y + bias), mean, inverse


def rms_norm(x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Tensor:
    """Zhang and Sennrich 2019."""
    axes = list(range(axis_of(axis, x.ndim), x.ndim))
    return x * ((x * x).mean(axes, keepdim=True) + epsilon).rsqrt() * scale


def lrn(x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    """Krizhevsky et al. 2012: by the squares of channels beside."""
    squares = (x * x).movedim(1, -1)
    before = (size - 1) // 2
    wide = F.pad(squares, (before, size - 1 - before)).unfold(-1, size, 1).sum(-1).movedim(-1, 1)
    return x / (bias + alpha / size * wide) ** beta


def lp_norm(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """By the 1-norm or the 2-norm of each line; a line of zeros stays."""
    size = x.abs().sum(axis, keepdim=True) if p == 1 else (x * x).sum(axis, keepdim=True)
    empty = size == 0
    size = size.where(~empty, x.new_ones(()))
    return (x / (size if p == 1 else size.sqrt())).where(~empty, x.new_zeros(()))


def mean_variance(x: Tensor, *, axes: Any = (0, 2, 3)) -> Tensor:
    """Mean 0 and variance 1 over some axes."""
    mean = x.mean(list(axes), keepdim=True)
    deviation = ((x * x).mean(list(axes), keepdim=True) - mean * mean).sqrt()
    return (x - mean) / (deviation + 1e-9)


def dropout(
    call: Call,
    x: Tensor,
    rate: Fixed | None = None,
    training: Known | None = None,
    *,
    seed: int | None = None,
    ratio: float = 0.5,
    is_test: int = 0,
    consumed_inputs: Any = None,
) -> Any:
    """Srivastava et al. 2014, where it trains; and which elements were kept."""
    trains = call.version >= 12 and training is not None and bool(training.reshape(-1)[0])
    part = ratio if rate is None else float(rate.node.value) if rate.node.value is not None else ratio
    if not trains or part == 0:
        return x, ones(x.shape, dtype=BOOL)
    kept = random.rand(x.shape) >= part
    return x * kept.to(x.dtype) / (1 - part), kept


def nll_loss(
    x: Tensor, target: Tensor, weight: Fixed | None = None, *, ignore_index: int | None = None, reduction: str = "mean"
) -> Tensor:
    """The negative log likelihood of classes."""
    classes = x.shape[1]
    label = target.long()
    live = label == label if ignore_index is None else label != ignore_index
    safe = label.where(live, label.new_zeros(()))
    picked = -x.gather(1, safe.unsqueeze(1)).squeeze(1)
    mass = (
        x.new_ones((classes,)).index_select(0, safe.reshape(-1)).reshape(safe.shape)
        if weight is None
        else (weight.index_select(0, safe.reshape(-1)).reshape(safe.shape))
    )
    mass = mass * live.to(x.dtype)
    loss = (picked * mass).where(live, x.new_zeros(()))
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / mass.sum()


def cross_entropy(
    x: Tensor,
    target: Tensor,
    weight: Fixed | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Any:
    """The same of softmax, and the log probabilities."""
    log = x.log_softmax(1)
    return nll_loss(log, target, weight, ignore_index=ignore_index, reduction=reduction), log


OPERATORS: Final[Mapping[str, Any]] = {
    "BatchNormalization": batch_norm,
    "Dropout": dropout,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LRN": lrn,
    "LayerNormalization": layer_norm,
    "LpNormalization": lp_norm,
    "MeanVarianceNormalization": mean_variance,
    "NegativeLogLikelihoodLoss": nll_loss,
    "RMSNormalization": rms_norm,
    "SoftmaxCrossEntropyLoss": cross_entropy,
}
