"""Pooling: the largest element, the mean or a norm of every window along the last one, two or three axes."""

from __future__ import annotations

import math
from functools import lru_cache, reduce
from typing import Any

import numpy as np

from ..errors import ConfigError, ShapeError, message
from ..ops.conv import CONV, WINDOWS, Window
from ..ops.index import TAKE
from ..ops.movement import PERMUTE
from ..ops.reduce import PEAK, PEAK_AT, SUM
from ..support.memory import check_shape_fits
from ..support.settings import integer, is_iterable, is_number, number
from ..tensor import Tensor
from ..tensor.creation import tensor
from ..tensor.door import takes_data
from ..tensor.shape import Ints, several
from .convolution import AXES, Sizes, per_axis

NAMES = "abcd"  # of the axes in front of those that are pooled


def windows_of(
    name: str, x: Tensor, rank: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Sizes, Sizes, tuple[Window, ...]]:
    """The taps, the padding and the windows of a pooling. Raises ConfigError and ShapeError."""
    if x.ndim not in (rank + 1, rank + 2):
        raise ShapeError(message(name, f"shape {x.shape}", f"(N, C, {AXES[rank]}) or (C, {AXES[rank]})"))
    taps, sides, steps, apart = window_settings(name, rank, kernel_size, stride, padding, dilation)
    return taps, sides, _windows(name, x.shape[-rank:], taps, steps, sides, apart, ceil_mode)


def window_settings(
    name: str, rank: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any
) -> tuple[Sizes, Sizes, Sizes, Sizes]:
    """Kernel, padding, stride and dilation for each axis; no stride is that of windows side by side."""
    taps = per_axis(name, "kernel_size", kernel_size, rank, 1)
    beside = stride is None or (is_iterable(stride) and not len(stride))
    steps = taps if beside else per_axis(name, "stride", stride, rank, 1)
    sides, apart = per_axis(name, "padding", padding, rank, 0), per_axis(name, "dilation", dilation, rank, 1)
    if any(side > k // 2 for side, k in zip(sides, taps, strict=True)):
        half, got = tuple(k // 2 for k in taps), f"padding {padding} for a window of {kernel_size}"
        raise ConfigError(message(name, got, f"at most half of it, {half}"))
    return taps, sides, steps, apart


@lru_cache(maxsize=512)
def _windows(
    name: str, lines: Sizes, taps: Sizes, steps: Sizes, sides: Sizes, apart: Sizes, ceil_mode: bool
) -> tuple[Window, ...]:
    """How windows slide over padded lines. With `ceil_mode` a last one may reach beyond, if it begins before."""
    found = []
    for n, k, step, side, d in zip(lines, taps, steps, sides, apart, strict=True):
        free = n + 2 * side - d * (k - 1) - 1
        count = (free + (step - 1 if ceil_mode else 0)) // step + 1
        if ceil_mode and (count - 1) * step >= n + side:
            count -= 1
        if count < 1 or free < -(step - 1 if ceil_mode else 0) or n == 0:
            got = f"{lines} places with padding {sides} for a window of {taps} dilated by {apart}"
            raise ShapeError(message(name, got, "at least one window on each axis"))
        found.append(Window(count, step, d, -side))
    return tuple(found)


def _seen(x: Tensor, windows: tuple[Window, ...], taps: Sizes) -> Tensor:
    """The elements of each window: (..., windows, taps). In place of padding stands the nearest one, which is in the
    window too: it changes neither what is largest nor which of equal ones is the first.
    """
    lead = x.ndim - len(windows)
    inside = tuple(w._replace(start=0) for w in windows)
    for axis, (w, k) in enumerate(zip(windows, taps, strict=True), lead):
        n = x.shape[axis]
        before, after = -w.start, w.stride * (w.length - 1) + w.dilation * (k - 1) + w.start - n + 1
        edges = ((0, before), (n - 1, max(after, 0)))
        ends = [x.narrow(axis, at, 1).expand_to((*x.shape[:axis], m, *x.shape[axis + 1 :])) for at, m in edges]
        x = ends[0].cat_with(x, ends[1], dim=axis) if before or after > 0 else x
    return x.apply(WINDOWS, windows=inside, taps=taps)


def _places(windows: tuple[Window, ...], taps: Sizes, lines: Sizes) -> list[Any]:
    """Where each tap of each window is on its axis; beside the line, the nearest place of the same window."""
    found = []
    for w, k, n in zip(windows, taps, lines, strict=True):
        start, d = np.arange(w.length)[:, None] * w.stride + w.start, w.dilation
        first, last = np.maximum(0, -(start // d)), np.minimum(k - 1, (n - 1 - start) // d)
        found.append(start + d * np.clip(np.arange(k), first, last))
    return found


def _largest(x: Tensor, seen: Tensor, places: list[Any], return_indices: bool) -> Any:
    """The largest of every window, and where in the picture it is."""
    axis = tuple(range(x.ndim, seen.ndim))
    largest = seen.apply(PEAK, axis=axis, keepdims=False)
    if not return_indices:
        return largest
    rest = seen.detach().apply(PEAK_AT, axis=axis, keepdims=False).long()
    index: Any = 0
    rank = len(places)
    for a, (at, n) in enumerate(zip(places, x.shape[-rank:], strict=True)):
        tap = rest // math.prod(one.shape[1] for one in places[a + 1 :]) % at.shape[1]
        row = x.new_arange(at.shape[0]).reshape((at.shape[0], *(1,) * (rank - 1 - a))) * at.shape[1]
        index = index * n + tensor(at.reshape(-1)).apply(TAKE, row + tap, axis=0)
    return largest, index


def _max_pool(
    name: str, rank: int, x: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    return_indices: bool,
) -> Any:  # fmt: skip
    taps, _, windows = windows_of(name, x, rank, kernel_size, stride, padding, dilation, ceil_mode)
    apart = any(w.dilation > 1 and (w.start or ceil_mode) for w in windows)  # then the nearest one may be in no window
    places = _places(windows, taps, x.shape[-rank:]) if apart or return_indices else []
    return _largest(x, _at(x, places) if apart else _seen(x, windows, taps), places, return_indices)


@takes_data
def max_pool1d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest of every window: (N, C, L) or (C, L) to (N, C, L'); the first of equal ones gets the gradient. With
    `return_indices` also their places in the line, int64.

    >>> import tinygrad_nn as tg
    >>> max_pool1d(tg.tensor([[1.0, 3.0, 2.0, 2.0]]), 2).tolist()
    [[3.0, 2.0]]
    """
    return _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@takes_data
def max_pool2d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The same over pictures: (N, C, H, W) or (C, H, W) to (N, C, H', W'). Indices count along rows.

    >>> import tinygrad_nn as tg
    >>> max_pool2d(tg.arange(16.0).reshape(1, 1, 4, 4), 2)
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    >>> max_pool2d(tg.arange(16.0).reshape(1, 1, 4, 4), 2, return_indices=True)[1]
    tensor([[[[ 5,  7],
              [13, 15]]]])
    """
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@takes_data
def max_pool3d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The same over volumes: (N, C, D, H, W) or (C, D, H, W) to (N, C, D', H', W').

    >>> import tinygrad_nn as tg
    >>> max_pool3d(tg.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
    tensor([[[[[7.]]]]])
    """
    return _max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _means(
    name: str,
    rank: int,
    x: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None = None,
) -> Tensor:
    if x.node.dtype.kind != "f":  # as in PyTorch: a quotient of integers, cut off
        means = _means(name, rank, x.double(), kernel_size, stride, padding, ceil_mode, count_include_pad, divisor)
        return means.trunc().cast(x.node.dtype)
    taps, sides, windows = windows_of(name, x, rank, kernel_size, stride, padding, 1, ceil_mode)
    others = NAMES[: x.ndim - rank]
    sums = x.apply(CONV, x.new_ones(taps), roles=f"{others},->{others}", windows=windows)
    if divisor is not None:
        if integer(name, "divisor_override", divisor) == 0:
            raise ConfigError(message(name, "divisor_override 0", "a number that is not 0"))
        return sums / divisor
    counts = _counts(x.shape[-rank:], taps, sides, windows, bool(count_include_pad))
    return sums / (counts if isinstance(counts, int) else tensor(counts, dtype=x.dtype))


@lru_cache(maxsize=512)
def _counts(lines: Sizes, taps: Sizes, sides: Sizes, windows: tuple[Window, ...], padded: bool) -> Any:
    """How many elements each window has; what lies beyond the padding never counts."""
    per = []
    for n, k, side, w in zip(lines, taps, sides, windows, strict=True):
        start = np.arange(w.length) * w.stride + w.start
        low, high = (-side, n + side) if padded else (0, n)
        per.append(np.minimum(start + k, high) - np.maximum(start, low))
    counts = reduce(np.multiply.outer, per)
    return int(counts.flat[0]) if (counts == counts.flat[0]).all() else counts


@takes_data
def avg_pool1d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of every window: (N, C, L) or (C, L) to (N, C, L'); padding counts unless told otherwise.

    >>> import tinygrad_nn as tg
    >>> avg_pool1d(tg.tensor([[1.0, 3.0, 2.0, 2.0]]), 2).tolist()
    [[2.0, 2.0]]
    """
    return _means("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


@takes_data
def avg_pool2d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The same over pictures: (N, C, H, W) or (C, H, W) to (N, C, H', W'). `divisor_override` divides instead of the
    number of elements.

    >>> import tinygrad_nn as tg
    >>> avg_pool2d(tg.arange(16.0).reshape(1, 1, 4, 4), 2)
    tensor([[[[ 2.5,  4.5],
              [10.5, 12.5]]]])
    """
    return _means("avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@takes_data
def avg_pool3d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The same over volumes: (N, C, D, H, W) or (C, D, H, W) to (N, C, D', H', W').

    >>> import tinygrad_nn as tg
    >>> avg_pool3d(tg.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
    tensor([[[[[3.5]]]]])
    """
    return _means("avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _norms(name: str, rank: int, x: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Tensor:
    """PyTorch's steps, so that signs and slopes at 0 are its own too."""
    if is_number(norm_type):
        number(name, "norm_type", norm_type, above=0)
    taps = per_axis(name, "kernel_size", kernel_size, rank, 1)
    means = _means(name, rank, x**norm_type, kernel_size, stride, 0, ceil_mode, True)
    return (means.sign() * means.abs().relu() * math.prod(taps)) ** (1 / norm_type)


@takes_data
def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False
) -> Tensor:
    """(sum of x ** p) ** (1 / p) of every window: (N, C, L) or (C, L) to (N, C, L').

    >>> import tinygrad_nn as tg
    >>> lp_pool1d(tg.tensor([[[3.0, 4.0, 6.0, 8.0]]]), 2, 2)
    tensor([[[ 5., 10.]]])
    """
    return _norms("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


@takes_data
def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False
) -> Tensor:
    """The same over pictures: (N, C, H, W) or (C, H, W) to (N, C, H', W').

    >>> import tinygrad_nn as tg
    >>> lp_pool2d(tg.ones(1, 1, 4, 4), 2, 2)
    tensor([[[[2., 2.],
              [2., 2.]]]])
    """
    return _norms("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


@takes_data
def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False
) -> Tensor:
    """The same over volumes: (N, C, D, H, W) or (C, D, H, W) to (N, C, D', H', W').

    >>> import tinygrad_nn as tg
    >>> lp_pool3d(tg.ones(1, 1, 2, 2, 2), 3, 2)
    tensor([[[[[2.]]]]])
    """
    return _norms("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


def _unpooled(
    name: str, rank: int, x: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Tensor:
    """The inverse of max pooling, as far as there is one: each element at its place, zeros elsewhere."""
    if x.ndim not in (rank + 1, rank + 2) or indices.shape != x.shape or indices.dtype.kind != "i":
        got = f"shapes {x.shape} and {indices.shape} of {indices.dtype.name}"
        raise ShapeError(message(name, got, f"(N, C, {AXES[rank]}) and equally many integers, as max pooling gives"))
    taps, sides, steps, _ = window_settings(name, rank, kernel_size, stride, padding, 1)
    usual = tuple(
        (n - 1) * step - 2 * side + k for n, step, side, k in zip(x.shape[-rank:], steps, sides, taps, strict=True)
    )
    size = usual if output_size is None else several(name, "output_size", output_size)[-rank:]
    if len(size) != rank or any(abs(n - m) >= step for n, m, step in zip(size, usual, steps, strict=True)):
        raise ShapeError(message(name, f"output_size {output_size}", f"about {usual}"))
    lead = x.shape[:-rank]
    flat = x.new_zeros((*lead, math.prod(size)))
    count = (*lead, math.prod(x.shape[-rank:]))
    placed = flat.scatter(len(lead), indices.reshape(count), x.reshape(count))
    return placed.reshape((*lead, *size))


@takes_data
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    output_size: Any = None,
) -> Tensor:
    """Elements at the places that `max_pool1d` found them, zeros elsewhere: (N, C, L) or (C, L) to (N, C, L').

    >>> import tinygrad_nn as tg
    >>> values, places = max_pool1d(tg.tensor([[[1.0, 5.0, 7.0, 3.0]]]), 2, return_indices=True)
    >>> max_unpool1d(values, places, 2)
    tensor([[[0., 5., 7., 0.]]])
    """
    return _unpooled("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


@takes_data
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    output_size: Any = None,
) -> Tensor:
    """The same over pictures: (N, C, H, W) or (C, H, W) to (N, C, H', W').

    >>> import tinygrad_nn as tg
    >>> values, places = max_pool2d(tg.ones(1, 1, 4, 4), 2, return_indices=True)
    >>> max_unpool2d(values, places, 2).shape
    (1, 1, 4, 4)
    """
    return _unpooled("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


@takes_data
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    output_size: Any = None,
) -> Tensor:
    """The same over volumes: (N, C, D, H, W) or (C, D, H, W) to (N, C, D', H', W').

    >>> import tinygrad_nn as tg
    >>> values, places = max_pool3d(tg.ones(1, 1, 4, 4, 4), 2, return_indices=True)
    >>> max_unpool3d(values, places, 2).shape
    (1, 1, 4, 4, 4)
    """
    return _unpooled("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)


# ---- windows of a number that is asked for ------------------------------------------------------------------------


def output_sizes(name: str, rank: int, output_size: Any) -> tuple[int | None, ...]:
    """The number of windows on each axis; None means one for each element. Raises ConfigError."""
    parts = tuple(output_size) if is_iterable(output_size) else (output_size,) * rank
    if len(parts) not in (1, rank):
        raise ConfigError(message(name, f"output_size {output_size}", f"an integer, or {rank} of them"))
    parts = parts * (rank // len(parts))
    return tuple(None if n is None else integer(name, "output_size", n, least=0) for n in parts)


def _divided(name: str, rank: int, x: Tensor, output_size: Any) -> list[tuple[Any, Any]]:
    """The first and the last-but-one place of each window, for every axis."""
    if x.ndim not in (rank + 1, rank + 2) or 0 in x.shape[-rank:]:
        expected = f"(N, C, {AXES[rank]}) or (C, {AXES[rank]}), with places"
        raise ShapeError(message(name, f"shape {x.shape}", expected))
    found = []
    for wanted, n in zip(output_sizes(name, rank, output_size), x.shape[-rank:], strict=True):
        count = n if wanted is None else wanted
        check_shape_fits(name, (*x.shape[:-rank], count), 8)
        number = np.arange(count)
        found.append((number * n // max(count, 1), -((number + 1) * n // -max(count, 1))))
    return found


def _even(bounds: list[tuple[Any, Any]]) -> tuple[tuple[Window, ...], Sizes] | None:
    """The windows, if they all have one length and one distance that is not 0; None if not."""
    windows, taps = [], []
    for start, stop in bounds:
        steps = {*np.diff(start).tolist()} or {1}
        if not len(start) or len({*(stop - start).tolist()}) > 1 or len(steps) > 1 or 0 in steps:
            return None
        windows.append(Window(len(start), steps.pop(), 1, 0))
        taps.append(int(stop[0] - start[0]))
    return tuple(windows), tuple(taps)


def _covering(bounds: list[tuple[Any, Any]]) -> list[Any]:
    """Where each tap of windows of several lengths is; the last element is repeated where the longest has more."""
    return [
        np.minimum(start[:, None] + np.arange(int((stop - start).max(initial=1))), stop[:, None] - 1)
        for start, stop in bounds
    ]


def _at(x: Tensor, places: list[Any]) -> Tensor:
    """The elements at places of the last axes: (..., windows, taps)."""
    lead = x.ndim - len(places)
    for axis, at in reversed(list(enumerate(places, lead))):
        x = x.apply(TAKE, tensor(at), axis=axis)
    order = (*range(lead), *range(lead, x.ndim, 2), *range(lead + 1, x.ndim, 2))
    return x.apply(PERMUTE, order=order)


def _adaptive_max(name: str, rank: int, x: Tensor, output_size: Any, return_indices: bool) -> Any:
    bounds = _divided(name, rank, x, output_size)
    even = _even(bounds)
    places = _covering(bounds)
    return _largest(x, _at(x, places) if even is None else _seen(x, *even), places, return_indices)


def _adaptive_means(name: str, rank: int, x: Tensor, output_size: Any) -> Tensor:
    bounds = _divided(name, rank, x, output_size)
    x = x if x.node.dtype.kind == "f" else x.float()
    even, others = _even(bounds), NAMES[: x.ndim - rank]
    if even is not None:
        windows, taps = even
        sums = x.apply(CONV, x.new_ones(taps), roles=f"{others},->{others}", windows=windows)
        return sums / math.prod(taps)
    places = _covering(bounds)
    seen = _at(x, places)
    for k, ((start, stop), at) in enumerate(zip(bounds, places, strict=True)):
        inside = start[:, None] + np.arange(at.shape[1]) < stop[:, None]
        mask = np.expand_dims(inside, [a for a in range(2 * rank) if a not in (k, rank + k)])
        seen = seen.where(tensor(mask), 0)
    counts = reduce(np.multiply.outer, [stop - start for start, stop in bounds])
    sums = seen.apply(SUM, axis=tuple(range(x.ndim, x.ndim + rank)), keepdims=False)
    return sums / tensor(counts, dtype=x.dtype)


@takes_data
def adaptive_max_pool1d(input: Tensor, output_size: Ints, return_indices: bool = False) -> Any:
    """The largest of each of `output_size` windows, which cover the line: (N, C, L) or (C, L) to (N, C, output_size).

    >>> import tinygrad_nn as tg
    >>> adaptive_max_pool1d(tg.tensor([[1.0, 3.0, 2.0]]), 2).tolist()
    [[3.0, 3.0]]
    """
    return _adaptive_max("adaptive_max_pool1d", 1, input, output_size, return_indices)


@takes_data
def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The same over pictures: (N, C, H, W) or (C, H, W) to (N, C, *output_size), where None keeps an axis.

    >>> import tinygrad_nn as tg
    >>> adaptive_max_pool2d(tg.arange(16.0).reshape(1, 1, 4, 4), 2)
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    """
    return _adaptive_max("adaptive_max_pool2d", 2, input, output_size, return_indices)


@takes_data
def adaptive_avg_pool1d(input: Tensor, output_size: Ints) -> Tensor:
    """The mean of each of `output_size` windows, which cover the line: (N, C, L) or (C, L) to (N, C, output_size).

    >>> import tinygrad_nn as tg
    >>> adaptive_avg_pool1d(tg.tensor([[1.0, 3.0, 2.0]]), 2).tolist()
    [[2.0, 2.5]]
    """
    return _adaptive_means("adaptive_avg_pool1d", 1, input, output_size)


@takes_data
def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The same over pictures: (N, C, H, W) or (C, H, W) to (N, C, *output_size), where None keeps an axis.

    >>> import tinygrad_nn as tg
    >>> adaptive_avg_pool2d(tg.arange(16.0).reshape(1, 1, 4, 4), 2)
    tensor([[[[ 2.5,  4.5],
              [10.5, 12.5]]]])
    """
    return _adaptive_means("adaptive_avg_pool2d", 2, input, output_size)


@takes_data
def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The same over volumes: (N, C, D, H, W) or (C, D, H, W) to (N, C, *output_size), where None keeps an axis.

    >>> import tinygrad_nn as tg
    >>> adaptive_max_pool3d(tg.arange(8.0).reshape(1, 1, 2, 2, 2), 1)
    tensor([[[[[7.]]]]])
    """
    return _adaptive_max("adaptive_max_pool3d", 3, input, output_size, return_indices)


@takes_data
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """The same over volumes: (N, C, D, H, W) or (C, D, H, W) to (N, C, *output_size), where None keeps an axis.

    >>> import tinygrad_nn as tg
    >>> adaptive_avg_pool3d(tg.arange(8.0).reshape(1, 1, 2, 2, 2), 1)
    tensor([[[[[3.5]]]]])
    """
    return _adaptive_means("adaptive_avg_pool3d", 3, input, output_size)
