"""What layers compute: linear maps, embeddings, convolution, pooling, normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Final

from ..errors import ConfigError, ShapeError, message
from ..ops.composite import LINEAR
from ..ops.index import GATHER, SCATTER_ADD, TAKE
from ..ops.lookup import Called
from ..ops.movement import PERMUTE, RESHAPE
from ..support.settings import integer, number
from ..tensor import Tensor, no_grad
from ..tensor.contract import check_floats
from ..tensor.door import takes_data
from ..tensor.shape import several

_EMBEDDING: Final = Called("embedding")


@takes_data
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias: (..., in) and (out, in) to (..., out).

    >>> import tinygrad_nn as tg
    >>> linear(tg.ones(2, 3), tg.ones(4, 3)).tolist()[0]
    [3.0, 3.0, 3.0, 3.0]
    """
    own, stored = x.node.shape, weight.node.shape
    if not own or len(stored) != 2 or own[-1] != stored[1]:
        width = stored[-1] if stored else "in"
        expected = f"(..., {width}) and (out, {width})"
        raise ShapeError(
            message("linear", f"shapes {x.shape} and {weight.shape}", expected, "the last axis holds the features")
        )
    if bias is not None and len(own) == 2 and x.dtype is weight.dtype is bias.dtype and bias.shape == stored[:1]:
        return x.apply(LINEAR, weight, bias)
    product = x._product("linear", weight, True)
    if bias is None:
        return product
    if bias.node.dtype is not product.node.dtype:
        check_floats("linear", product, bias)
    return product + bias


@takes_data
def bilinear(x1: Tensor, x2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1 @ weight[k] @ x2 for every k: (..., in1), (..., in2) and (out, in1, in2) to (..., out)."""
    if weight.ndim != 3 or x1.shape[:-1] != x2.shape[:-1] or (x1.shape[-1], x2.shape[-1]) != weight.shape[1:]:
        got = f"shapes {x1.shape}, {x2.shape} and {weight.shape}"
        raise ShapeError(message("bilinear", got, "(..., in1), (..., in2) and (out, in1, in2)"))
    check_floats("bilinear", x1, x2, weight, bias)
    out, in1, in2 = weight.shape
    rows1, rows2 = x1.reshape((-1, in1)), x2.reshape((-1, in2))
    half = rows1.matmul(weight.permute(1, 0, 2).reshape((in1, out * in2))).reshape((-1, out, in2))
    values = (half * rows2.unsqueeze(1)).sum(-1).reshape((*x1.shape[:-1], out))
    return values if bias is None else values + bias


@takes_data
def embedding(index: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of weight (V, E) by integer index (...): (..., E). The row `padding_idx` gets no gradient.

    Raises IndexOutOfRange naming row and number of an index outside of 0..V-1.
    """
    if weight.ndim != 2:
        raise ShapeError(message("embedding", f"weight of shape {weight.shape}", "(V, E)"))
    if padding_idx is not None:
        if not -weight.shape[0] <= padding_idx < weight.shape[0]:
            got = f"padding_idx {padding_idx}"
            raise ConfigError(message("embedding", got, f"one of {weight.shape[0]} rows"))
        rows = weight.new_arange(weight.shape[0]).unsqueeze(1) == padding_idx % weight.shape[0]
        weight = weight.detach().where(rows, weight)
    return weight.apply(TAKE, index, axis=0, called=_EMBEDDING)


@takes_data
def one_hot(index: Tensor, num_classes: int = -1) -> Tensor:
    """(..., C) int64, 1 at the index; `num_classes` -1 means the largest + 1 (which reads the values).

    Raises IndexOutOfRange naming row and number of a label outside of 0..C-1.
    """
    if index.dtype.kind != "i":
        raise ConfigError(message("one_hot", f"dtype {index.dtype.name}", "integers"))
    if num_classes < -1:
        raise ConfigError(message("one_hot", f"num_classes {num_classes}", "the number of classes, or -1"))
    count = num_classes
    if num_classes == -1:
        count = max(0, 1 + int(index.amax().item())) if index.numel() else 0
    ones, place = index.long().new_ones((*index.shape, 1)), index.unsqueeze(-1)
    axis = index.ndim
    return ones.apply(SCATTER_ADD, place, axis=axis, shape=(*index.shape, count), called=_ones_at(axis))


@cache
def _ones_at(axis: int) -> Called:
    return Called("one_hot", "label", axis)


def _windows(name: str, x: Tensor, size: int, stride: int, dilation: int) -> Tensor:
    """(..., L) to (..., L', size): every window of a line."""
    span = dilation * (size - 1) + 1
    if size < 1 or stride < 1 or dilation < 1:
        raise ConfigError(message(name, f"kernel {size}, stride {stride}, dilation {dilation}", "positive numbers"))
    if x.shape[-1] < span:
        raise ShapeError(
            message(name, f"a line of {x.shape[-1]} for a window of {span}", "a line at least as long", "pad it")
        )
    count = (x.shape[-1] - span) // stride + 1
    places = _inside(x.new_arange(count), (count, 1)) * stride + x.new_arange(size) * dilation
    lines = x.apply(TAKE, _inside(places, (count * size,)), axis=x.ndim - 1)
    return _inside(lines, (*x.shape[:-1], count, size))


def _inside(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The elements under another shape, for the function itself: no view, which somebody could write to."""
    return x.apply(RESHAPE, shape=shape)


@takes_data
def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    padding: int | str = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation: (N, in, L) or (in, L) with (out, in / groups, K) to (N, out, L'). Padding: a number,
    "valid", "same".
    """
    single = x.ndim == 2
    lines = x.unsqueeze(0) if single else x
    if lines.ndim != 3 or weight.ndim != 3 or lines.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        got = f"shapes {x.shape} and {weight.shape} in {groups} groups"
        raise ShapeError(message("conv1d", got, "(N, in, L) and (out, in / groups, K)"))
    check_floats("conv1d", x, weight, bias)
    out, inner, size = weight.shape
    left = right = 0 if isinstance(padding, str) else integer("conv1d", "padding", padding, least=0)
    if padding == "same":
        if stride != 1:
            raise ConfigError(message("conv1d", f"padding 'same' with stride {stride}", "stride 1"))
        left = dilation * (size - 1) // 2
        right = dilation * (size - 1) - left
    elif isinstance(padding, str) and padding != "valid":
        raise ConfigError(message("conv1d", f"padding {padding!r}", "a number, 'valid' or 'same'"))
    batch = lines.shape[0]
    padded = _padded(lines, left, right, 0.0)
    windows = _windows("conv1d", padded, size, stride, dilation)  # (N, in, L', K)
    count = windows.shape[2]
    columns = _inside(windows, (batch, groups, inner, count, size)).apply(PERMUTE, order=(1, 0, 3, 2, 4))
    rows = _inside(columns, (groups, batch * count, inner * size))
    kernels = _inside(weight, (groups, out // groups, inner * size))
    values = _inside(rows._product("conv1d", kernels, True), (groups, batch, count, out // groups))
    result = _inside(values.apply(PERMUTE, order=(1, 0, 3, 2)), (batch, out, count))
    if bias is not None:
        result = result + _inside(bias, (*bias.shape, 1))
    return _inside(result, (out, count)) if single else result


def _padded(x: Tensor, left: int, right: int, value: float) -> Tensor:
    """The last axis made longer with one value."""
    if left < 0 or right < 0:
        raise ConfigError(message("pad", f"padding ({left}, {right})", "numbers that are not negative"))
    if not (left or right):
        return x
    ends = [x.new_full((*x.shape[:-1], n), value) for n in (left, right)]
    return ends[0].cat_with(x, ends[1], dim=-1)


def _pool(
    name: str, x: Tensor, size: int, stride: int | None, padding: int, dilation: int, ceil_mode: bool, value: float
) -> Tensor:
    step = size if stride is None else stride
    if x.ndim == 0 or step < 1:
        raise ShapeError(message(name, f"shape {x.shape} and stride {step}", "at least one axis, and stride >= 1"))
    if padding > size // 2:
        raise ConfigError(message(name, f"padding {padding}", f"at most half of the window, {size // 2}"))
    length, span = x.shape[-1] + 2 * padding, dilation * (size - 1) + 1
    extra = 0
    if ceil_mode and length >= span and (length - span) % step:
        extra = step - (length - span) % step
        if length + extra - span >= x.shape[-1] + padding:  # no window starts in the right padding
            extra = 0
    return _windows(name, _padded(x, padding, padding + extra, value), size, step, dilation)


@takes_data
def max_pool1d(
    x: Tensor, kernel_size: int, stride: int | None = None, padding: int = 0, dilation: int = 1, ceil_mode: bool = False
) -> Tensor:
    """The largest of every window along the last axis; the first of equal ones gets the gradient."""
    windows = _pool("max_pool1d", x, kernel_size, stride, padding, dilation, ceil_mode, -math.inf)
    largest = windows.argmax(-1, keepdim=True)
    return _inside(windows.apply(GATHER, largest, axis=windows.ndim - 1), windows.shape[:-1])


@takes_data
def avg_pool1d(
    x: Tensor,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of every window along the last axis; padding counts unless told otherwise."""
    windows = _pool("avg_pool1d", x, kernel_size, stride, padding, 1, ceil_mode, 0.0)
    ones = x.new_ones((x.shape[-1],))
    if count_include_pad:
        ones = _padded(ones, padding, padding, 1.0)
        counts = _pool("avg_pool1d", ones, kernel_size, stride, 0, 1, ceil_mode, 0.0).sum(-1)
    else:
        counts = _pool("avg_pool1d", ones, kernel_size, stride, padding, 1, ceil_mode, 0.0).sum(-1)
    return windows.sum(-1) / counts


def _last_axes(name: str, x: Tensor, shape: Sequence[int]) -> tuple[int, ...]:
    own = several(name, "normalized_shape", shape)
    if x.shape[x.ndim - len(own) :] != own:
        raise ShapeError(message(name, f"shape {x.shape}", f"(..., {', '.join(map(str, own))})"))
    return tuple(range(x.ndim - len(own), x.ndim))


@takes_data
def layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) over the last axes, times weight, plus bias."""
    axes = _last_axes("layer_norm", x, normalized_shape)
    check_floats("layer_norm", x, weight, bias)
    d = x - x.mean(axes, keepdim=True)
    out = d / ((d * d).mean(axes, keepdim=True) + eps).sqrt()
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


@takes_data
def rms_norm(
    x: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(mean of squares + eps) over the last axes, times weight; eps is the dtype's by default."""
    axes = _last_axes("rms_norm", x, normalized_shape)
    check_floats("rms_norm", x, weight)
    small = eps if eps is not None else (2.0**-23 if x.dtype.itemsize == 4 else 2.0**-52)
    out = x / ((x * x).mean(axes, keepdim=True) + small).sqrt()
    return out if weight is None else out * weight


@takes_data
def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) per channel (axis 1). In training the batch's statistics, and the running ones
    move by momentum.
    """
    if not isinstance(momentum, Tensor):
        number("batch_norm", "momentum", momentum)
    check_floats("batch_norm", x, running_mean, running_var, weight, bias)
    axes = (0, *range(2, x.ndim))
    if training:
        count = x.numel() // max(x.shape[1], 1)
        if count <= 1:
            raise ShapeError(message("batch_norm", f"shape {x.shape} in training", "more than one value per channel"))
        mean = x.mean(axes, keepdim=True)
        d = x - mean
        var = (d * d).mean(axes, keepdim=True)
        if running_mean is not None and running_var is not None:
            with no_grad():
                unbiased = var.detach().reshape(-1) * (count / (count - 1))
                running_mean.assign(running_mean * (1 - momentum) + mean.detach().reshape(-1) * momentum)
                running_var.assign(running_var * (1 - momentum) + unbiased * momentum)
    else:
        if running_mean is None or running_var is None:
            raise ConfigError(
                message("batch_norm", "no running statistics outside of training", "running_mean and running_var")
            )
        d, var = x - _channels(running_mean, x), _channels(running_var, x)
    out = d / (var + eps).sqrt()
    out = out if weight is None else out * _channels(weight, x)
    return out if bias is None else out + _channels(bias, x)


def _channels(values: Tensor, x: Tensor) -> Tensor:
    """One value for each channel of x (axis 1)."""
    return _inside(values, (1, values.numel(), *(1,) * (x.ndim - 2)))
