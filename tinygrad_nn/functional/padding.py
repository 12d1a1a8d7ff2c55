"""`pad`: longer (or shorter) axes, with a constant or with the tensor's own elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError, ShapeError, message
from ..tensor import Tensor
from ..tensor.creation import tensor
from ..tensor.door import takes_data
from ..tensor.shape import several

# Positions before 0 and behind n - 1 as positions inside, and the longest padding that makes sense for n.
_MODES: dict[str, tuple[Callable[[Any, int], Any], Callable[[int], int]]] = {
    "reflect": (lambda p, n: (n - 1) - np.abs((n - 1) - np.abs(p)), lambda n: n - 1),
    "replicate": (lambda p, n: np.clip(p, 0, n - 1), lambda n: 1 << 62),
    "circular": (lambda p, n: p % n, lambda n: n),
}


@takes_data
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Pad axes: `pad` holds (before, after) of the last axis, then of the one before, ..., as in PyTorch.

    Modes are "constant", "reflect" (without the edge), "replicate" and "circular"; negative numbers cut.
    Raises ConfigError for other modes, ShapeError for padding that does not fit.

    >>> import tinygrad_nn as tg
    >>> pad(tg.tensor([1, 2, 3]), (2, 1), "reflect")
    tensor([3, 2, 1, 2, 3, 2])
    """
    pad = several("pad", "padding", pad)
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ShapeError(
            message("pad", f"{len(pad)} numbers for shape {input.shape}", "a pair for each of the last axes")
        )
    if mode != "constant" and mode not in _MODES:
        raise ConfigError(message("pad", f"mode {mode!r}", "'constant', 'reflect', 'replicate' or 'circular'"))
    result = input
    for k in range(len(pad) // 2):
        axis, before, after = input.ndim - 1 - k, int(pad[2 * k]), int(pad[2 * k + 1])
        if (before or after) and mode == "constant":
            result = _constant(result, axis, before, after, value)
        elif before or after:
            if mode == "circular" and min(before, after) < 0:  # what goes round is what was not cut
                result = _constant(result, axis, min(before, 0), min(after, 0), value)
                before, after = max(before, 0), max(after, 0)
            result = _own(result, axis, before, after, mode)
    return input.clone() if result is input else result


def _constant(x: Tensor, axis: int, before: int, after: int, value: float) -> Tensor:
    n = x.shape[axis]
    start, stop = max(-before, 0), n - max(-after, 0)
    if stop < start:
        raise ShapeError(message("pad", f"padding ({before}, {after}) for an axis of {n}", "something that remains"))
    x = x.narrow(axis, start, stop - start)
    ends = [x.new_full((*x.shape[:axis], max(m, 0), *x.shape[axis + 1 :]), value) for m in (before, after)]
    return ends[0].cat_with(x, ends[1], dim=axis)


def _own(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    n = x.shape[axis]
    place, longest = _MODES[mode]
    if n == 0 or max(before, after) > longest(n) or n + before + after < 1:
        got = f"padding ({before}, {after}) for an axis of {n} in mode {mode!r}"
        raise ShapeError(message("pad", got, "not more than the axis offers, and something that remains"))
    positions = place(np.arange(-before, n + after), n)
    return x.index_select(axis, tensor(positions.astype(np.int64)))
