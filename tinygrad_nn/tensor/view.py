"""What a view is made of: where its elements lie in its base, and how a write finds the way back.

A view is one movement (reshape, permute, slice, broadcast) of another tensor. Pure functions on shapes, strides and
handles; the handle itself is `tensor.View`. Strides count elements of the base, which lies in row-major order.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

import numpy as np

from ..errors import GraphError, message
from ..graph.graph import Array, Attrs, Op, Shape
from ..ops.elementwise import WHERE
from ..ops.index import SCATTER
from ..ops.movement import BROADCAST, PAD, PERMUTE, RESHAPE, SLICE, StridedSlice, as_slices, inverse
from ..ops.rules import BOOL
from .core import Core, broadcast_attrs, constant, mode, scalar

Strides = tuple[int, ...]
T = TypeVar("T", bound=Core)
FEW: Final = 8  # a part smaller than one in so many is written element by element, a larger one by a choice everywhere

# Two ways to share all elements, which no graph ever sees: without the history, and with it.
DETACHED: Final = Op("detach", "movement", lambda x: x, lambda x: x, numpy=lambda x: x)
ALIAS: Final = Op("alias", "movement", lambda x: x, lambda x: x, numpy=lambda x: x)

MOVED: Final[dict[int, tuple[weakref.ref[Core], int]]] = {}  # tensors that got another shape in place, and since when


def has_moved(tensor: Core, serial: int) -> None:
    """From this serial on, the tensor has another shape."""
    key = id(tensor)
    MOVED[key] = weakref.ref(tensor, lambda _: MOVED.pop(key, None)), serial


def check_place(parent: Core, born: int) -> None:
    """Raises GraphError if a tensor has got another shape since a view of it was made."""
    if id(parent) in MOVED and MOVED[id(parent)][1] > born:
        got = f"a view of a tensor that has got the shape {parent.node.shape} in place since"
        raise GraphError(message("view", got, hint="make the view after resize_, unsqueeze_ and their like"))


@lru_cache(maxsize=4096)
def row_major(shape: Shape) -> Strides:
    """Strides of elements that lie one after another."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def is_row_major(shape: Shape, strides: Strides | None) -> bool:
    """Whether elements with these strides lie one after another; None stands for strides that do not exist."""
    if strides is None:
        return False
    return 0 in shape or all(n == 1 or a == b for n, a, b in zip(shape, strides, row_major(shape), strict=True))


def strides_after(op: Op, attrs: Attrs, shape: Shape, strides: Strides | None) -> Strides | None:
    """Strides of a movement of a tensor with this shape and these strides; None where no strides describe it."""
    return None if strides is None else _STRIDES[op](shape, strides, **attrs)


@lru_cache(maxsize=4096)
def regrouped(own: Shape, strides: Strides, shape: Shape) -> Strides | None:
    """Strides of the same elements, in the same order, under another shape; None where they lie otherwise."""
    if 0 in own:
        return row_major(shape)
    runs: list[tuple[int, int]] = []  # (elements, step): neighbouring axes that one step goes through
    for n, step in zip(own, strides, strict=True):
        if n == 1:
            continue
        if runs and runs[-1][1] == n * step:
            runs[-1] = (runs[-1][0] * n, step)
        else:
            runs.append((n, step))
    result, following, left, step = [], iter(runs), 1, 1
    for n in shape:
        if n != 1 and left == 1:
            left, step = next(following)
        if left % n:
            return None
        left //= n
        result.append(left * step)
    return tuple(result)


@lru_cache(maxsize=4096)
def _sliced(own: Shape, strides: Strides, bounds: StridedSlice) -> Strides:
    return tuple(stride * step for stride, (_, step, _) in zip(strides, bounds, strict=True))


@lru_cache(maxsize=4096)
def _permuted(own: Shape, strides: Strides, order: tuple[int, ...]) -> Strides:
    return tuple(strides[a] for a in order)


@lru_cache(maxsize=4096)
def _repeated(own: Shape, strides: Strides, shape: Shape, axes: tuple[int, ...]) -> Strides:
    kept = iter(zip(own, strides, strict=True))
    pairs = [(1, 0) if a in axes else next(kept) for a in range(len(shape))]
    return tuple(0 if length != n else stride for n, (length, stride) in zip(shape, pairs, strict=True))


_STRIDES: Final[dict[Op, Callable[..., Strides | None]]] = {
    RESHAPE: regrouped,
    PERMUTE: _permuted,
    SLICE: _sliced,
    BROADCAST: _repeated,
    DETACHED: lambda shape, strides: strides,
    ALIAS: lambda shape, strides: strides,
}


def written(op: Op, attrs: Attrs, base: T, value: Core) -> T:
    """What a tensor is when its movement, no broadcast, holds another value."""
    return _WRITTEN[op](base, value, **attrs)  # type: ignore[no-any-return]


def scattered(steps: Sequence[tuple[Op, Attrs]], root: T, value: Core) -> T:
    """What a tensor is when a chain of movements of it, broadcasts among them, holds another value.

    Raises GraphError where two elements of the value are one element of the tensor.
    """
    places = np.arange(math.prod(root.shape)).reshape(root.shape)
    for op, attrs in steps:
        places = op.numpy(places, **attrs)
    if len(np.unique(places)) != places.size:
        got = f"a tensor expanded from {root.shape} to {places.shape}, to be written in place"
        hint = "several of its elements are one element of its base: write to a clone()"
        raise GraphError(message("expand", got, "elements of their own", hint))
    return _at(places, root, value)


def _at(places: Array, base: T, value: Core) -> T:
    """A copy with the elements at these places of the flattened tensor replaced."""
    flat = base.apply(RESHAPE, shape=(math.prod(base.shape),))
    index = base.handle(constant(np.array(places.reshape(-1))))
    new = flat.apply(SCATTER, index, value.apply(RESHAPE, shape=(places.size,)), axis=0)
    return new.apply(RESHAPE, shape=base.shape)


def _put(base: T, value: Core, bounds: StridedSlice) -> T:
    """A copy with the elements in bounds replaced."""
    if mode.recorder is None and not (mode.grad and (base.requires_grad or value.requires_grad)):
        array = base.node.value.copy()
        array[as_slices(bounds)] = value.node.value
        return base.handle(constant(array))  # type: ignore[no-any-return]
    if math.prod(value.shape) < math.prod(base.shape) / FEW:
        return _at(np.arange(math.prod(base.shape)).reshape(base.shape)[as_slices(bounds)], base, value)
    everywhere: T = base.handle(scalar(True, BOOL)).apply(BROADCAST, **broadcast_attrs(0, value.shape))
    inside = everywhere.apply(PAD, shape=base.shape, bounds=bounds)
    return inside.apply(WHERE, value.apply(PAD, shape=base.shape, bounds=bounds), base)


_WRITTEN: Final[dict[Op, Callable[..., Any]]] = {
    RESHAPE: lambda base, value, shape: value.apply(RESHAPE, shape=base.shape),
    PERMUTE: lambda base, value, order: value.apply(PERMUTE, order=inverse(order)),
    SLICE: _put,
    DETACHED: lambda base, value: value,
    ALIAS: lambda base, value: value,
}
