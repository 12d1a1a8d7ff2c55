"""Methods that move elements: reshape, permute, slice, concatenate and what is built of them. Views in NumPy, never in meaning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from operator import index as as_int
from typing import Any, Self

import numpy as np

from ..errors import IndexOutOfRange, ShapeError, message
from ..graph import Shape
from ..ops.movement import BROADCAST, CAT, EMBED, PERMUTE, RESHAPE, SLICE
from .core import Core, constant
from .elementwise import Elementwise

Ints = int | Sequence[int]


def normal_axis(name: str, axis: int, ndim: int) -> int:
    """A non-negative axis; raises IndexOutOfRange. A 0-d tensor accepts 0 and -1, as in PyTorch."""
    axis = as_int(axis)
    if not -max(ndim, 1) <= axis < max(ndim, 1):
        expected = f"{-max(ndim, 1)} <= axis < {max(ndim, 1)}"
        raise IndexOutOfRange(message(name, f"axis {axis} for a tensor of {ndim} axes", expected))
    return axis % max(ndim, 1)


def normal_axes(name: str, axes: Ints | None, ndim: int) -> tuple[int, ...]:
    """A sorted tuple of distinct non-negative axes; None and () mean all."""
    return _normal_axes(name, axes if axes is None or isinstance(axes, int) else tuple(axes), ndim)


@lru_cache(maxsize=1024)
def _normal_axes(name: str, axes: int | tuple[int, ...] | None, ndim: int) -> tuple[int, ...]:
    if axes is None or axes == ():
        return tuple(range(ndim))
    listed = (axes,) if isinstance(axes, int) else tuple(axes)
    normal = tuple(sorted(normal_axis(name, a, ndim) for a in listed))
    if len(set(normal)) != len(normal):
        raise ShapeError(message(name, f"axes {listed}", "each axis once"))
    return normal if ndim else ()


def as_ints(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """`f(2, 3)` and `f((2, 3))` alike."""
    if len(sizes) == 1 and not isinstance(sizes[0], (int, np.integer)):
        return tuple(as_int(n) for n in sizes[0])
    return tuple(as_int(n) for n in sizes)


class Shaped(Elementwise):
    """Movement of elements."""

    __slots__ = ()

    # ---- new tensors like this one (no gradient flows to them) ---------------------------------------------------------

    def new_full(self, size: Shape, value: float | bool) -> Self:
        """A tensor of this dtype filled with one value."""
        return self.handle(constant(np.full(size, value, self.node.dtype)))  # type: ignore[no-any-return]

    def new_zeros(self, *size: Any) -> Self:
        """A tensor of this dtype filled with 0."""
        return self.new_full(as_ints(size), 0)

    def new_ones(self, *size: Any) -> Self:
        """A tensor of this dtype filled with 1."""
        return self.new_full(as_ints(size), 1)

    def new_arange(self, count: int) -> Self:
        """0, 1, ... as int64."""
        return self.handle(constant(np.arange(count, dtype=np.int64)))  # type: ignore[no-any-return]

    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.node.shape)

    # ---- shape ---------------------------------------------------------------------------------------------------------

    def reshape(self, *shape: Any) -> Self:
        """The same elements in row-major order under another shape; one length may be -1."""
        wanted = as_ints(shape)
        if -1 in wanted:
            known = math.prod(n for n in wanted if n != -1)
            count = self.numel()
            if wanted.count(-1) > 1 or known == 0 or count % known:
                raise ShapeError(message("reshape", f"shape {self.shape} ({count} elements) for {wanted}", "as many elements, at most one -1"))
            wanted = tuple(count // known if n == -1 else n for n in wanted)
        return self if wanted == self.node.shape else self.apply(RESHAPE, shape=wanted)

    def permute(self, *order: Any) -> Self:
        """Axes in another order."""
        listed = as_ints(order)
        normal = tuple(normal_axis("permute", a, self.ndim) for a in listed)
        return self.apply(PERMUTE, order=normal)

    def transpose(self, dim0: int, dim1: int) -> Self:
        """Two axes exchanged."""
        order = list(range(self.ndim))
        if not order:
            return self
        a, b = normal_axis("transpose", dim0, self.ndim), normal_axis("transpose", dim1, self.ndim)
        order[a], order[b] = order[b], order[a]
        return self.permute(tuple(order))

    @property
    def T(self) -> Self:  # noqa: N802
        """Axes in reverse order."""
        return self.permute(tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> Self:  # noqa: N802
        """The last two axes exchanged."""
        return self.transpose(-2, -1)

    def movedim(self, source: int, destination: int) -> Self:
        """One axis moved to another place."""
        a = normal_axis("movedim", source, self.ndim)
        b = normal_axis("movedim", destination, self.ndim)
        order = [k for k in range(self.ndim) if k != a]
        order.insert(b, a)
        return self.permute(tuple(order))

    def unsqueeze(self, dim: int) -> Self:
        """A new axis of length 1."""
        a = normal_axis("unsqueeze", dim, self.ndim + 1)
        return self.reshape((*self.shape[:a], 1, *self.shape[a:]))

    def squeeze(self, dim: Ints | None = None) -> Self:
        """Without the axes of length 1 (or those of them that are named)."""
        named = normal_axes("squeeze", dim, self.ndim) if dim is not None else tuple(range(self.ndim))
        return self.reshape(tuple(n for a, n in enumerate(self.shape) if n != 1 or a not in named))

    def expand(self, *sizes: Any) -> Self:
        """Axes of length 1 repeated; -1 keeps a length; new axes come in front."""
        wanted = as_ints(sizes)
        offset = len(wanted) - self.ndim
        shape = tuple(self.shape[a - offset] if n == -1 and a >= offset else n for a, n in enumerate(wanted))
        return self.expand_to(shape)

    def spread(self, shape: Shape, axes: tuple[int, ...]) -> Self:
        """Repeated along new axes: the result has `shape`, of which `axes` are new. The adjoint of a sum."""
        return self.apply(BROADCAST, shape=shape, axes=axes) if axes else self.expand_to(shape)

    def narrow(self, dim: int, start: int, length: int) -> Self:
        """`length` slices from `start` along one axis."""
        a = normal_axis("narrow", dim, self.ndim)
        size = self.shape[a]
        first = start + size if start < 0 else start
        if not (0 <= first <= size and 0 <= length <= size - first):
            raise IndexOutOfRange(message("narrow", f"start {start} and length {length} on an axis of {size}", "slices inside the axis"))
        return self.cut({a: (first, 1, length)})

    def cut(self, bounds: dict[int, tuple[int, int, int]]) -> Self:
        """(start, step, length) on the axes named, everything on the others."""
        return self.apply(SLICE, bounds=tuple(bounds.get(a, (0, 1, n)) for a, n in enumerate(self.shape)))

    def embed(self, shape: Shape, offset: tuple[int, ...]) -> Self:
        """Zeros of `shape` with this tensor written from `offset` on."""
        return self.apply(EMBED, shape=shape, bounds=tuple((o, 1, n) for o, n in zip(offset, self.shape, strict=True)))

    def flip(self, *dims: Any) -> Self:
        """The order of elements reversed along axes."""
        axes = normal_axes("flip", as_ints(dims), self.ndim) if dims else ()
        return self.cut({a: (max(self.shape[a] - 1, 0), -1, self.shape[a]) for a in axes}) if axes else self

    def cat_with(self, *others: Core, dim: int = 0) -> Self:
        """This tensor and others joined along one axis, in their common dtype."""
        a = normal_axis("cat", dim, self.ndim)
        return self.apply(CAT, *others, axis=a)
