"""Operators that fold windows, or all of space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from ... import functional as F
from ...tensor import Tensor
from .form import Call, Known, bad, given, ints
from .linear import window
from .shaping import padded

MAXIMA: Final = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
MEANS: Final = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


class Windows:
    """The windows of a pooling: what each covers of the padded axes."""

    def __init__(
        self, x: Tensor, kernel: Sequence[int], auto_pad: str, pads: Any, strides: Any, dilations: Any, ceil_mode: int
    ) -> None:
        self.lengths = x.shape[2:]
        self.kernel = list(kernel)
        self.sides, self.steps, self.gaps = window(self.lengths, kernel, auto_pad, pads, strides, dilations)
        self.counts = []
        for n, k, (low, high), step, gap in zip(self.lengths, kernel, self.sides, self.steps, self.gaps, strict=True):
            room = n + low + high - (k - 1) * gap - 1
            if room < 0:
                raise bad(f"a window of {k} on an axis of {n}", "a smaller one")
            count = room // step + 1
            if ceil_mode and -(-room // step) + 1 > count and (count * step) < n + low:
                count += 1
            self.counts.append(count)
        self.plain = (
            all(a == b for a, b in self.sides)
            and all(gap == 1 for gap in self.gaps)
            and all(
                (count - 1) * step + k <= n + a + b and 2 * a <= k
                for count, step, k, n, (a, b) in zip(
                    self.counts, self.steps, self.kernel, self.lengths, self.sides, strict=True
                )
            )
        )

    def places(self, axis: int) -> Any:
        """What the windows along an axis cover, (windows, kernel), counted in the axis without padding."""
        count, step, k, gap = self.counts[axis], self.steps[axis], self.kernel[axis], self.gaps[axis]
        return np.arange(count)[:, None] * step + np.arange(k) * gap - self.sides[axis][0]

    def taken(self, x: Tensor, filled: Any) -> Tensor:
        """The elements of the windows: (N, C, windows along each axis, elements of one)."""
        rank = len(self.counts)
        widths = {}
        for axis in range(rank):
            last = int(self.places(axis).max())
            widths[axis + 2] = (self.sides[axis][0], max(last + 1 - self.lengths[axis], 0))
        x = padded(x, widths, "constant", filled)
        for axis in range(rank):
            places = self.places(axis) + self.sides[axis][0]
            x = x.index_select(axis + 2, given(places.reshape(-1)))
            x = x.reshape(*x.shape[: axis + 2], *places.shape, *x.shape[axis + 3 :]).movedim(axis + 3, -1)
        return x.flatten(2 + rank)

    def counted(self, padding: bool) -> Any:
        """How many elements each window has, with those of the padding or without."""
        found = np.ones((), np.int64)
        for axis, n in enumerate(self.lengths):
            places = self.places(axis)
            low, high = (-self.sides[axis][0], n + self.sides[axis][1]) if padding else (0, n)
            found = found[..., None] * ((places >= low) & (places < high)).sum(1)
        return found


def average_pool(
    x: Tensor,
    *,
    kernel_shape: Any,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Tensor:
    """The mean of each window, of what lies in it of the operand or with the padding."""
    over = Windows(x, kernel_shape, auto_pad, pads, strides, dilations, ceil_mode)
    rank = len(over.counts)
    if over.plain and rank <= 3:
        padding = [low for low, _ in over.sides]
        return MEANS[rank - 1](x, over.kernel, over.steps, padding, count_include_pad=bool(count_include_pad))
    return over.taken(x, 0).sum(-1) / given(over.counted(bool(count_include_pad)).astype(x.dtype))


def lp_pool(
    x: Tensor,
    *,
    kernel_shape: Any,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Any = None,
    p: float = 2,
    pads: Any = None,
    strides: Any = None,
) -> Tensor:
    """The p-norm of each window."""
    over = Windows(x, kernel_shape, auto_pad, pads, strides, dilations, ceil_mode)
    return (over.taken(x, 0).abs() ** p).sum(-1) ** (1 / p)


def max_pool(
    call: Call,
    x: Tensor,
    *,
    kernel_shape: Any,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Any = None,
    pads: Any = None,
    storage_order: int = 0,
    strides: Any = None,
) -> Any:
    """The largest of each window, and where it stands among all elements."""
    over = Windows(x, kernel_shape, auto_pad, pads, strides, dilations, ceil_mode)
    rank = len(over.counts)
    if len(call.outputs) < 2 and over.plain and rank <= 3 and x.dtype.kind == "f":
        return MAXIMA[rank - 1](x, over.kernel, over.steps, [low for low, _ in over.sides])
    least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    taken = over.taken(x, least)
    values = taken.amax(-1)
    if len(call.outputs) < 2:
        return values
    at = np.zeros((), np.int64)
    order = list(range(rank)) if not storage_order else [*range(rank - 2), rank - 1, rank - 2][:rank]
    weights = np.ones(rank, np.int64)
    for before, axis in zip(order[::-1], order[::-1][1:], strict=False):
        weights[axis] = weights[before] * over.lengths[before]
    for axis in range(rank):
        at = at[..., None, None] + over.places(axis) * weights[axis]
    at = at.transpose(*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)).reshape(*over.counts, -1)
    best = taken.argmax(-1).unsqueeze(-1)
    inside = given(at).broadcast_to(taken.shape).gather(-1, best).squeeze(-1)
    images = given(np.arange(prod(x.shape[:2])).reshape(*x.shape[:2], *(1,) * rank) * prod(over.lengths))
    return values, inside + images


def max_unpool(
    x: Tensor, index: Tensor, shape: Known | None = None, *, kernel_shape: Any, pads: Any = None, strides: Any = None
) -> Tensor:
    """Elements back where indices say, zeros elsewhere."""
    rank = len(kernel_shape)
    steps, wide = list(strides or [1] * rank), list(pads or [0] * (2 * rank))
    natural = [
        (n - 1) * step + k - wide[axis] - wide[axis + rank]
        for axis, (n, step, k) in enumerate(zip(x.shape[2:], steps, kernel_shape, strict=True))
    ]
    inner = [*x.shape[:2], *natural]
    flat = x.new_zeros((prod(inner),)).scatter(0, index.long().reshape(-1), x.reshape(-1)).reshape(inner)
    if shape is None:
        return flat
    return padded(flat, {axis: (0, n - inner[axis]) for axis, n in enumerate(ints(shape))})


def global_average(x: Tensor) -> Tensor:
    """The mean of each channel."""
    return x.mean(list(range(2, x.ndim)), keepdim=True)


def global_max(x: Tensor) -> Tensor:
    """The largest of each channel."""
    return x.amax(list(range(2, x.ndim)), keepdim=True)


def global_lp(x: Tensor, *, p: float = 2) -> Tensor:
    """The p-norm of each channel."""
    return (x.abs() ** p).sum(list(range(2, x.ndim)), keepdim=True) ** (1 / p)


OPERATORS: Final[Mapping[str, Any]] = {
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average,
    "GlobalLpPool": global_lp,
    "GlobalMaxPool": global_max,
    "LpPool": lp_pool,
    "MaxPool": max_pool,
    "MaxUnpool": max_unpool,
}
