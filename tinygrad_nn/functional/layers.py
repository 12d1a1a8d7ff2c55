"""What layers compute: linear maps, embeddings, normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from ..errors import ConfigError, ShapeError, message
from ..ops.composite import LINEAR
from ..ops.index import SCATTER_ADD, TAKE
from ..ops.lookup import Called
from ..ops.movement import RESHAPE
from ..support.settings import number
from ..tensor import Tensor, no_grad
from ..tensor.contract import check_floats
from ..tensor.door import takes_data
from ..tensor.shape import several

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
    """x1 @ weight[k] @ x2 for every k: (..., in1), (..., in2) and (out, in1, in2) to (..., out)."""
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
    values = (half * rows2.unsqueeze(1)).sum(-1).reshape((*input1.shape[:-1], out))
    return values if bias is None else values + bias


@takes_data
def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
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
    return weight.apply(TAKE, input, axis=0, called=_EMBEDDING)


@takes_data
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """(..., C) int64, 1 at the index; `num_classes` -1 means the largest + 1 (which reads the values).

    Raises IndexOutOfRange naming row and number of a label outside of 0..C-1.
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
    """(x - mean) / sqrt(var + eps) over the last axes, times weight, plus bias."""
    axes = _last_axes("layer_norm", input, normalized_shape)
    check_floats("layer_norm", input, weight, bias)
    d = input - input.mean(axes, keepdim=True)
    out = d / ((d * d).mean(axes, keepdim=True) + eps).sqrt()
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


@takes_data
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(mean of squares + eps) over the last axes, times weight; eps is the dtype's by default."""
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
    """
    if not isinstance(momentum, Tensor):
        number("batch_norm", "momentum", momentum)
    check_floats("batch_norm", input, running_mean, running_var, weight, bias)
    axes = (0, *range(2, input.ndim))
    if training:
        count = input.numel() // max(input.shape[1], 1)
        if count <= 1:
            raise ShapeError(
                message("batch_norm", f"shape {input.shape} in training", "more than one value per channel")
            )
        mean = input.mean(axes, keepdim=True)
        d = input - mean
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
        d, var = input - _channels(running_mean, input), _channels(running_var, input)
    out = d / (var + eps).sqrt()
    out = out if weight is None else out * _channels(weight, input)
    return out if bias is None else out + _channels(bias, input)


def _channels(values: Tensor, x: Tensor) -> Tensor:
    """One value for each channel of x (axis 1)."""
    return _inside(values, (1, values.numel(), *(1,) * (x.ndim - 2)))
