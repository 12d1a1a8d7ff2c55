"""What layers compute: linear maps, embeddings, normalisation, channels in another order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, reduce
from math import prod
from operator import add
from typing import Final

from ..errors import ConfigError, ShapeError, message
from ..ops.composite import LINEAR, STANDARDIZED
from ..ops.index import SCATTER_ADD, TAKE
from ..ops.lookup import Called
from ..ops.movement import PERMUTE, RESHAPE
from ..support.settings import choice, integer, number
from ..tensor import Tensor, no_grad
from ..tensor.contract import check_floats
from ..tensor.door import takes_data
from ..tensor.shape import several
from .padding import pad

_EMBEDDING: Final = Called("embedding")


@takes_data
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias: (..., in) and (out, in) to (..., out).

    >>> import tinygrad_nn as tg
    >>> linear(tg.ones(2, 3), tg.ones(4, 3)).tolist()[0]
    [3.0, 3.0, 3.0, 3.0]
    """
    own, stored = input.node.shape, weight.node.shape
    if not own or len(stored) != 2 or own[-1] != stored[1]:
        width = stored[-1] if stored else "in"
        expected = f"(..., {width}) and (out, {width})"
        raise ShapeError(
            message("linear", f"shapes {input.shape} and {weight.shape}", expected, "the last axis holds the features")
        )
    if bias is not None and len(own) == 2 and input.dtype is weight.dtype is bias.dtype and bias.shape == stored[:1]:
        return input.apply(LINEAR, weight, bias)
    product = input._product("linear", weight, True)
    if bias is None:
        return product
    if bias.node.dtype is not product.node.dtype:
        check_floats("linear", product, bias)
    return product + bias


@takes_data
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1 @ weight[k] @ x2 for every k: (..., in1), (..., in2) and (out, in1, in2) to (..., out).

    >>> import tinygrad_nn as tg
    >>> bilinear(tg.ones(5, 2), tg.ones(5, 3), tg.ones(4, 2, 3)).shape
    (5, 4)
    """
    if (
        weight.ndim != 3
        or input1.shape[:-1] != input2.shape[:-1]
        or (input1.shape[-1], input2.shape[-1]) != weight.shape[1:]
    ):
        got = f"shapes {input1.shape}, {input2.shape} and {weight.shape}"
        raise ShapeError(message("bilinear", got, "(..., in1), (..., in2) and (out, in1, in2)"))
    check_floats("bilinear", input1, input2, weight, bias)
    out, in1, in2 = weight.shape
    rows1, rows2 = input1.reshape((-1, in1)), input2.reshape((-1, in2))
    half = rows1.matmul(weight.permute(1, 0, 2).reshape((in1, out * in2))).reshape((-1, out, in2))
    values = (half * rows2.unsqueeze(1)).sum(-1, dtype=half.dtype).reshape((*input1.shape[:-1], out))
    return values if bias is None else values + bias


@takes_data
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of weight (V, E) by integer index (...): (..., E). The row `padding_idx` gets no gradient. With `max_norm`
    longer rows that are looked up are made so short, in place; with `scale_grad_by_freq` the gradient of a row is
    divided by how often it is looked up. `sparse` changes nothing: gradients are dense.

    Raises IndexOutOfRange naming row and number of an index outside of 0..V-1.

    >>> import tinygrad_nn as tg
    >>> embedding([2, 0], tg.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    tensor([[4., 5.],
            [0., 1.]])
    """
    if weight.ndim != 2:
        raise ShapeError(message("embedding", f"weight of shape {weight.shape}", "(V, E)"))
    if max_norm is not None:
        _shorten(input, weight, max_norm, norm_type)
    table = _without_row("embedding", weight, padding_idx)
    rows = table.apply(TAKE, input, axis=0, called=_EMBEDDING)
    if not scale_grad_by_freq:
        return rows
    shares = (1 / _frequency(input, weight)).apply(TAKE, input, axis=0, called=_EMBEDDING).unsqueeze(-1)
    still = rows.detach()
    return still + (rows - still) * shares


def padding_row(name: str, padding_idx: int, count: int) -> int:
    """The row of a table that stands for padding, one of so many. Raises ConfigError."""
    row = integer(name, "padding_idx", padding_idx)
    if not -count <= row < count:
        raise ConfigError(message(name, f"padding_idx {row}", f"one of {count} rows"))
    return row % count


def _without_row(name: str, weight: Tensor, padding_idx: int | None) -> Tensor:
    """The table, with no gradient for one row."""
    if padding_idx is None:
        return weight
    rows = weight.new_arange(weight.shape[0]).unsqueeze(1) == padding_row(name, padding_idx, weight.shape[0])
    return weight.detach().where(rows, weight)


def _frequency(index: Tensor, weight: Tensor) -> Tensor:
    """How often each row is looked up: (V,)."""
    places = index.reshape(-1)
    ones = weight.detach().new_ones(places.shape)
    return ones.apply(SCATTER_ADD, places, axis=0, shape=weight.shape[:1], called=_EMBEDDING)


def _shorten(index: Tensor, weight: Tensor, max_norm: float, norm_type: float) -> None:
    """Make the rows that are looked up no longer than `max_norm`."""
    with no_grad():
        norms = weight.norm(norm_type, 1, keepdim=True)
        long = (norms > max_norm) & (_frequency(index, weight) > 0).unsqueeze(1)
        weight.assign((weight * (max_norm / (norms + 1e-7))).where(long, weight))


@takes_data
def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or maximum of the rows of each bag: indices (N, L), or (L,) in bags that begin at `offsets` (N,),
    with weight (V, E) to (N, E). With `include_last_offset` the last offset is where the last bag ends. Rows
    `padding_idx` do not count; a bag without rows gives zeros. `per_sample_weights`, one for each index, are for sums.

    >>> import tinygrad_nn as tg
    >>> embedding_bag([[0, 1], [1, 1]], tg.tensor([[1.0, 2.0], [3.0, 4.0]]), mode="sum")
    tensor([[4., 6.],
            [6., 8.]])
    """
    name = "embedding_bag"
    choice(name, "mode", mode, ("sum", "mean", "max"))
    if weight.ndim != 2 or input.ndim not in (1, 2) or (input.ndim == 2) != (offsets is None):
        got = f"indices of shape {input.shape} {'without' if offsets is None else 'with'} offsets"
        raise ShapeError(message(name, got, "(N, L), or (L,) with offsets (N,), and weights (V, E)"))
    if per_sample_weights is not None and (mode != "sum" or per_sample_weights.shape != input.shape):
        got = f"per_sample_weights of shape {per_sample_weights.shape} for {input.shape} with mode {mode!r}"
        raise ShapeError(message(name, got, "one for each index, and mode 'sum'"))
    padding = None if padding_idx is None else padding_row(name, padding_idx, weight.shape[0])
    rows = embedding(input, weight, None, max_norm, norm_type, scale_grad_by_freq)
    live = None if padding is None else (input != padding).unsqueeze(-1)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(-1)
    if offsets is not None:  # (L, E) becomes (N, L, E), each bag with its own rows
        begins = offsets.narrow(0, 0, offsets.shape[0] - 1) if include_last_offset else offsets
        bag = (input.new_arange(input.shape[0]).unsqueeze(1) >= begins).sum(1) - 1
        own = (begins.new_arange(begins.shape[0]).unsqueeze(1) == bag).unsqueeze(-1)
        live = own if live is None else own & live.unsqueeze(0)
        rows = rows.unsqueeze(0).expand_to((begins.shape[0], *rows.shape))
    counts = None if live is None else live.sum(1).to(rows.dtype)
    if mode == "max":
        if live is None:
            return rows.amax(1) if rows.shape[1] == 0 else rows.max(1).values
        top = rows.masked_fill(~live, -math.inf).max(1).values
        return top if counts is None else top.masked_fill(counts == 0, 0)
    total = rows.sum(1) if live is None else rows.masked_fill(~live, 0).sum(1)
    if mode == "sum":
        return total
    return total / (float(max(rows.shape[1], 1)) if counts is None else counts.clamp(min=1))


@takes_data
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """(..., C) int64, 1 at the index; `num_classes` -1 means the largest + 1 (which reads the values).

    Raises IndexOutOfRange naming row and number of a label outside of 0..C-1.

    >>> import tinygrad_nn as tg
    >>> one_hot(tg.tensor([0, 2]), 3)
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if tensor.dtype.kind != "i":
        raise ConfigError(message("one_hot", f"dtype {tensor.dtype.name}", "integers"))
    if num_classes < -1:
        raise ConfigError(message("one_hot", f"num_classes {num_classes}", "the number of classes, or -1"))
    count = num_classes
    if num_classes == -1:
        count = max(0, 1 + int(tensor.amax().item())) if tensor.numel() else 0
    ones, place = tensor.long().new_ones((*tensor.shape, 1)), tensor.unsqueeze(-1)
    axis = tensor.ndim
    return ones.apply(SCATTER_ADD, place, axis=axis, shape=(*tensor.shape, count), called=_ones_at(axis))


@cache
def _ones_at(axis: int) -> Called:
    return Called("one_hot", "label", axis)


def _inside(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The elements under another shape, for the function itself: no view, which somebody could write to."""
    return x.apply(RESHAPE, shape=shape)


def _last_axes(name: str, x: Tensor, shape: Sequence[int]) -> tuple[int, ...]:
    own = several(name, "normalized_shape", shape)
    if x.shape[x.ndim - len(own) :] != own:
        raise ShapeError(message(name, f"shape {x.shape}", f"(..., {', '.join(map(str, own))})"))
    return tuple(range(x.ndim - len(own), x.ndim))


@takes_data
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) over the last axes, times weight, plus bias.

    >>> layer_norm([1.0, 3.0], (2,))
    tensor([-1.,  1.])
    """
    axes = _last_axes("layer_norm", input, normalized_shape)
    check_floats("layer_norm", input, weight, bias)
    out = input.apply(STANDARDIZED, axis=axes, eps=eps)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


@takes_data
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(mean of squares + eps) over the last axes, times weight; eps is the dtype's by default.

    >>> rms_norm([3.0, 4.0], (2,))
    tensor([0.8485, 1.1314])
    """
    axes = _last_axes("rms_norm", input, normalized_shape)
    check_floats("rms_norm", input, weight)
    small = eps if eps is not None else (2.0**-23 if input.dtype.itemsize == 4 else 2.0**-52)
    out = input / ((input * input).mean(axes, keepdim=True) + small).sqrt()
    return out if weight is None else out * weight


@takes_data
def batch_norm(
    input: Tensor,
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

    >>> import tinygrad_nn as tg
    >>> batch_norm(tg.tensor([[1.0], [3.0]]), None, None, training=True)
    tensor([[-1.],
            [ 1.]])
    """
    if not isinstance(momentum, Tensor):
        number("batch_norm", "momentum", momentum)
    check_floats("batch_norm", input, running_mean, running_var, weight, bias)
    axes = (0, *range(2, input.ndim))
    if training:
        count = prod(input.shape[:1] + input.shape[2:])
        if count == 1 and input.numel():
            raise ShapeError(
                message("batch_norm", f"shape {input.shape} in training", "more than one value per channel")
            )
        out = input.apply(STANDARDIZED, axis=axes, eps=eps)
        if running_mean is not None and running_var is not None and count:
            with no_grad():
                mean = input.mean(axes, keepdim=True)
                d = input - mean
                unbiased = _inside((d * d).mean(axes), running_var.shape) * (count / (count - 1))
                running_mean.assign(running_mean * (1 - momentum) + _inside(mean, running_mean.shape) * momentum)
                running_var.assign(running_var * (1 - momentum) + unbiased * momentum)
    else:
        if running_mean is None or running_var is None:
            raise ConfigError(
                message("batch_norm", "no running statistics outside of training", "running_mean and running_var")
            )
        out = (input - _channels(running_mean, input)) / (_channels(running_var, input) + eps).sqrt()
    out = out if weight is None else out * _channels(weight, input)
    return out if bias is None else out + _channels(bias, input)


def _channels(values: Tensor, x: Tensor) -> Tensor:
    """One value for each channel of x (axis 1)."""
    return _inside(values, (1, values.numel(), *(1,) * (x.ndim - 2)) if x.ndim > 1 else (values.numel(),))


@takes_data
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(x - mean) / sqrt(var + eps) over each of `num_groups` groups of channels (axis 1) of each sample, then a scale
    and a shift for each channel: Wu and He, ECCV 2018.

    >>> import tinygrad_nn as tg
    >>> group_norm(tg.randn(2, 6, 5), 3).shape
    (2, 6, 5)
    """
    check_floats("group_norm", input, weight, bias)
    groups = integer("group_norm", "num_groups", num_groups, least=1)
    if input.ndim < 2 or input.shape[1] % groups:
        got = f"shape {input.shape} in {groups} groups"
        raise ShapeError(message("group_norm", got, "(N, C, ...) with channels that the groups divide"))
    if prod(input.shape[1:]) == groups and input.numel():
        raise ShapeError(
            message("group_norm", f"shape {input.shape} in {groups} groups", "more than one value in each")
        )
    rows = _inside(input, (input.shape[0], groups, prod(input.shape[1:]) // groups))
    out = _inside(rows.apply(STANDARDIZED, axis=(2,), eps=eps), input.shape)
    out = out if weight is None else out * _channels(weight, input)
    return out if bias is None else out + _channels(bias, input)


@takes_data
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) over each channel (axis 1) of each sample, whose statistics move the running ones;
    without `use_input_stats` those stand in their place. Ulyanov, Vedaldi and Lempitsky, arXiv:1607.08022.

    >>> import tinygrad_nn as tg
    >>> instance_norm(tg.tensor([[[1.0, 3.0]]]))
    tensor([[[-1.,  1.]]])
    """
    number("instance_norm", "momentum", momentum)
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    check_floats("instance_norm", input, running_mean, running_var, weight, bias)
    count = prod(input.shape[2:])
    if input.ndim < 3 or count == 1:
        raise ShapeError(message("instance_norm", f"shape {input.shape}", "(N, C, ...) with more than one place"))
    axes = tuple(range(2, input.ndim))
    if running_mean is not None and running_var is not None and input.numel():
        with no_grad():
            mean = input.mean(axes, keepdim=True)
            d = input - mean
            unbiased = (d * d).mean(axes).mean(0) * (count / (count - 1))
            running_mean.assign(running_mean * (1 - momentum) + mean.mean(0).reshape(-1) * momentum)
            running_var.assign(running_var * (1 - momentum) + unbiased * momentum)
    out = input.apply(STANDARDIZED, axis=axes, eps=eps)
    out = out if weight is None else out * _channels(weight, input)
    return out if bias is None else out + _channels(bias, input)


@takes_data
def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha * mean of squares of `size` neighbouring channels) ** beta: Krizhevsky et al., NeurIPS 2012.

    >>> import tinygrad_nn as tg
    >>> local_response_norm(tg.ones(1, 4, 2), 2, alpha=1.0, k=1.0).shape
    (1, 4, 2)
    """
    size = integer("local_response_norm", "size", size, least=1)
    if input.ndim < 3:
        raise ShapeError(message("local_response_norm", f"shape {input.shape}", "(N, C, L, ...)"))
    if not input.numel():
        return input
    ends = (0, 0) * (input.ndim - 2) + (size // 2, (size - 1) // 2)
    near = pad(input * input, ends)
    total = reduce(add, (near.narrow(1, start, input.shape[1]) for start in range(size)))
    return input / (total * (alpha / size) + k) ** beta


@takes_data
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels (axis 1) of several groups in turn: (N, groups * C, ...), the same shape. Zhang et al., CVPR 2018.

    >>> import tinygrad_nn as tg
    >>> channel_shuffle(tg.arange(4.0).reshape(1, 4, 1), 2).flatten()
    tensor([0., 2., 1., 3.])
    """
    groups = integer("channel_shuffle", "groups", groups, least=1)
    if input.ndim < 3 or input.shape[1] % groups:
        got = f"shape {input.shape} in {groups} groups"
        raise ShapeError(message("channel_shuffle", got, "(N, C, ...) with channels that the groups divide"))
    parts = _inside(input, (input.shape[0], groups, input.shape[1] // groups, *input.shape[2:]))
    order = (0, 2, 1, *range(3, parts.ndim))
    return _inside(parts.apply(PERMUTE, order=order), input.shape)


@takes_data
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels become places: (..., C * r * r, H, W) to (..., C, H * r, W * r). Shi et al., CVPR 2016.

    >>> import tinygrad_nn as tg
    >>> pixel_shuffle(tg.arange(4.0).reshape(1, 4, 1, 1), 2)
    tensor([[[[0., 1.],
              [2., 3.]]]])
    """
    r = integer("pixel_shuffle", "upscale_factor", upscale_factor, least=1)
    if input.ndim < 3 or input.shape[-3] % (r * r):
        got = f"shape {input.shape} with upscale_factor {r}"
        raise ShapeError(message("pixel_shuffle", got, "(..., C * r * r, H, W)"))
    *lead, channels, height, width = input.shape
    k = len(lead)
    parts = _inside(input, (*lead, channels // (r * r), r, r, height, width))
    order = (*range(k + 1), k + 3, k + 1, k + 4, k + 2)
    return _inside(parts.apply(PERMUTE, order=order), (*lead, channels // (r * r), height * r, width * r))


@takes_data
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Places become channels, the inverse of `pixel_shuffle`: (..., C, H * r, W * r) to (..., C * r * r, H, W).

    >>> import tinygrad_nn as tg
    >>> pixel_unshuffle(tg.ones(1, 1, 4, 4), 2).shape
    (1, 4, 2, 2)
    """
    r = integer("pixel_unshuffle", "downscale_factor", downscale_factor, least=1)
    if input.ndim < 3 or input.shape[-2] % r or input.shape[-1] % r:
        got = f"shape {input.shape} with downscale_factor {r}"
        raise ShapeError(message("pixel_unshuffle", got, "(..., C, H * r, W * r)"))
    *lead, channels, height, width = input.shape
    k = len(lead)
    parts = _inside(input, (*lead, channels, height // r, r, width // r, r))
    order = (*range(k + 1), k + 2, k + 4, k + 1, k + 3)
    return _inside(parts.apply(PERMUTE, order=order), (*lead, channels * r * r, height // r, width // r))
