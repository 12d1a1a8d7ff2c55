"""Methods that move elements: reshape, permute, slice, concatenate and what is built of them.

What PyTorch calls a view is made by `shared`: a Tensor then shares its elements with the result (`tensor/view.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from operator import index as as_int
from typing import Any, Self

import numpy as np

from ..errors import DTypeError, IndexOutOfRange, ShapeError, TraceError, message
from ..graph.graph import DType, Shape
from ..ops.movement import BROADCAST, CAT, PAD, PERMUTE, RESHAPE, SLICE, StridedSlice
from ..support.memory import check_shape_fits
from ..support.settings import Device, check_device, is_whole, shown, typed
from .arrays import MOST_AXES, array_of
from .core import Core, check_dtype, constant, stretch
from .elementwise import Elementwise
from .operators import Operand
from .promotion import result_type

Ints = int | Sequence[int]
_INT = frozenset((int,))  # what needs no look; bool is another type


def whole(name: str, what: str, value: Any) -> int:
    """One integer: Python's, NumPy's or a tensor of one element; raises DTypeError for bools and all else."""
    if type(value) is int:
        return value
    try:
        if not isinstance(value, (bool, np.bool_)):
            return as_int(value)
    except TraceError:
        raise
    except Exception:  # what a foreign __index__ raises is no better
        pass
    raise DTypeError(message(name, f"{what} {shown(value)}", "an integer"))


def several(name: str, what: str, value: Any) -> tuple[int, ...]:
    """One integer or a sequence of them as a tuple; raises DTypeError for all else."""
    if type(value) is tuple and _INT.issuperset(map(type, value)):
        return value
    if isinstance(value, (list, tuple, range)) or (isinstance(value, (np.ndarray, Core)) and value.ndim == 1):
        listed: Any = value
        if isinstance(value, range) and value[2**20 :]:
            raise ShapeError(message(name, f"{what} {value}", "fewer numbers"))
        return tuple([whole(name, what, one) for one in listed])
    return (whole(name, what, value),)


def normal_axis(name: str, axis: int | None, ndim: int) -> int:
    """A non-negative axis; raises IndexOutOfRange. A 0-d tensor accepts 0 and -1, as in PyTorch."""
    axis = whole(name, "axis", axis)
    if not -max(ndim, 1) <= axis < max(ndim, 1):
        expected = f"{-max(ndim, 1)} <= axis < {max(ndim, 1)}"
        raise IndexOutOfRange(message(name, f"axis {axis} for a tensor of {ndim} axes", expected))
    return axis % max(ndim, 1)


def normal_axes(name: str, axes: Ints | None, ndim: int) -> tuple[int, ...]:
    """A sorted tuple of distinct non-negative axes; None and () mean all."""
    return _normal_axes(name, axes if axes is None or type(axes) is int else several(name, "axis", axes), ndim)


@lru_cache(maxsize=1024)
def _normal_axes(name: str, axes: int | tuple[int, ...] | None, ndim: int) -> tuple[int, ...]:
    if axes is None or axes == ():
        return tuple(range(ndim))
    given = (axes,) if isinstance(axes, int) else axes
    normal = tuple(sorted(normal_axis(name, a, ndim) for a in given))
    if len(set(normal)) != len(normal):
        raise ShapeError(message(name, f"axes {given}", "each axis once"))
    return normal if ndim else ()


def as_ints(name: str, sizes: tuple[Any, ...], what: str = "size") -> tuple[int, ...]:
    """`f(2, 3)` and `f((2, 3))` alike."""
    return several(name, what, sizes[0] if len(sizes) == 1 else sizes)


def as_shape(name: str, sizes: tuple[Any, ...]) -> Shape:
    """The same for the lengths of a new tensor: raises ShapeError for negative ones, and for more than can be."""
    shape = as_ints(name, sizes)
    if shape and min(shape) < 0:
        raise ShapeError(message(name, f"size {shape}", "lengths that are not negative"))
    if len(shape) > MOST_AXES:
        raise ShapeError(message(name, f"{len(shape)} lengths", f"at most {MOST_AXES} axes"))
    check_shape_fits(name, shape if math.prod(shape) else (max(shape, default=0),))
    return shape


def filled(name: str, shape: Shape, value: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """A new array; raises ShapeError with what it needs where there is no memory, DTypeError for what is no number."""
    if not isinstance(value, (bool, int, float, np.number, np.bool_)):
        raise DTypeError(message(name, f"value {shown(value)}", "a number"))
    try:
        return np.zeros(shape, dtype) if value.__class__ is int and value == 0 else np.full(shape, value, dtype)
    except MemoryError:
        needed = math.prod(shape) * np.dtype(dtype).itemsize
        raise ShapeError(message(name, f"size {shape}, which needs {needed:.3g} bytes", "what memory holds")) from None
    except OverflowError:
        raise DTypeError(message(name, f"value {value}", f"a number that {np.dtype(dtype).name} can hold")) from None


class Size(tuple[int, ...]):
    """A shape, as `x.size()` gives it; `x.shape` is a plain tuple, which is equal to it."""

    __slots__ = ()

    def numel(self) -> int:
        """Number of elements of such a tensor."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"


def constructed(name: str, data: tuple[Any, ...], dtype: DType) -> Any:
    """The array of a class of tensors that is called: `Tensor([1, 2])` has these numbers, `Tensor(1, 2)` this shape."""
    if len(data) == 1 and isinstance(data[0], Size):
        data = data[0]
    if len(data) != 1 or is_whole(data[0]):
        return filled(name, as_shape(name, data or (0,)), 0, dtype)
    if isinstance(data[0], float):
        hint = "use tensor(number)"
        raise DTypeError(message(name, f"the number {data[0]}", "sizes, or a list or an array of numbers", hint))
    return array_of(name, data[0], dtype, copy=True)


class Shaped(Elementwise):
    """Movement of elements."""

    __slots__ = ()

    # ---- new tensors like this one (no gradient flows to them) ------------------------------------------------------

    def new_full(
        self,
        size: Ints,
        fill_value: float | bool,
        *,
        dtype: Any = None,
        device: Device = None,
        requires_grad: bool = False,
    ) -> Self:
        """A tensor filled with one value, of this dtype unless another is given."""
        return self._filled("new_full", (size,), fill_value, dtype, device, requires_grad)

    def new_zeros(self, *size: Any, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Self:
        """A tensor filled with 0, of this dtype unless another is given."""
        return self._filled("new_zeros", size, 0, dtype, device, requires_grad)

    def new_ones(self, *size: Any, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Self:
        """A tensor filled with 1, of this dtype unless another is given."""
        return self._filled("new_ones", size, 1, dtype, device, requires_grad)

    def new_empty(self, *size: Any, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Self:
        """A tensor to be written to, of this dtype unless another is given: zeros."""
        return self._filled("new_empty", size, 0, dtype, device, requires_grad)

    def _filled(
        self,
        name: str,
        size: tuple[Any, ...],
        value: float | bool,
        dtype: Any = None,
        device: Device = None,
        requires_grad: bool = False,
    ) -> Self:
        kind = self.node.dtype if dtype is None else check_dtype(name, dtype)
        return self._new(name, filled(name, as_shape(name, size), value, kind), device, requires_grad)

    def new_tensor(self, data: Any, *, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Self:
        """A tensor with a copy of `data`, of this dtype unless another is given."""
        kind = self.node.dtype if dtype is None else dtype
        return self._new("new_tensor", array_of("new_tensor", data, kind, copy=True), device, requires_grad)

    def _new(self, name: str, array: Any, device: Device, requires_grad: bool) -> Self:
        result: Self = self.handle(constant(array))
        if device is not None:
            check_device(name, device)
        if requires_grad is not False:
            result.requires_grad_(requires_grad)  # type: ignore[attr-defined]
        return result

    def new_arange(self, count: int) -> Self:
        """0, 1, ... as int64."""
        (length,) = as_shape("new_arange", (whole("new_arange", "count", count),))
        return self.handle(constant(np.arange(length, dtype=np.int64)))  # type: ignore[no-any-return]

    def _length(self, axis: int, name: str = "narrow") -> int:
        """Length of a (normal) axis; raises ShapeError for a 0-d tensor, which has none."""
        if not self.node.shape:
            raise ShapeError(message(name, "a 0-d tensor", "at least one axis"))
        return self.node.shape[axis]

    def numel(self) -> int:
        """Number of elements.

        >>> import tinygrad_nn as tg
        >>> tg.numel(tg.ones(2, 3))
        6
        """
        return math.prod(self.node.shape)

    # ---- shape ------------------------------------------------------------------------------------------------------

    def reshape(self, *shape: Any) -> Self:
        """The same elements in row-major order under another shape; one length may be -1.

        >>> import tinygrad_nn as tg
        >>> tg.reshape(tg.arange(6), (2, -1))
        tensor([[0, 1, 2],
                [3, 4, 5]])
        """
        wanted = as_ints("reshape", shape)
        if wanted and min(wanted) < 0:
            known = math.prod(n for n in wanted if n != -1)
            count = self.numel()
            if min(wanted) < -1 or wanted.count(-1) > 1 or known == 0 or count % known:
                raise ShapeError(
                    message(
                        "reshape",
                        f"shape {self.shape} ({count} elements) for {wanted}",
                        "as many elements, at most one -1",
                    )
                )
            wanted = tuple(count // known if n == -1 else n for n in wanted)
        return self if wanted == self.node.shape else self._reshaped(wanted)

    def _reshaped(self, shape: Shape) -> Self:
        """Under another shape of as many elements, as a view where the elements lie so that it can be one."""
        return self._shared(RESHAPE, shape=shape)

    def permute(self, *order: Any, dims: Any = None) -> Self:
        """Axes in another order.

        >>> import tinygrad_nn as tg
        >>> tg.permute(tg.ones(2, 3, 4), (2, 0, 1)).shape
        (4, 2, 3)
        """
        listed = as_ints("permute", order if dims is None else (dims,), "axis")
        normal = tuple(normal_axis("permute", a, self.ndim) for a in listed)
        return self._shared(PERMUTE, order=normal)

    def transpose(self, dim0: int, dim1: int) -> Self:
        """Two axes exchanged.

        >>> import tinygrad_nn as tg
        >>> tg.swapdims(tg.ones(2, 3, 4), 0, 2).shape
        (4, 3, 2)
        """
        order = list(range(self.ndim))
        if not order:
            return self
        a, b = normal_axis("transpose", dim0, len(order)), normal_axis("transpose", dim1, len(order))
        order[a], order[b] = order[b], order[a]
        return self._shared(PERMUTE, order=tuple(order))

    @property
    def T(self) -> Self:
        """Axes in reverse order."""
        return self._shared(PERMUTE, order=tuple(range(self.ndim)[::-1]))

    @property
    def mT(self) -> Self:
        """The last two axes exchanged."""
        return self.transpose(-2, -1)

    @property
    def H(self) -> Self:
        """A matrix transposed."""
        if self.ndim not in (0, 2):
            raise ShapeError(message("H", f"shape {self.shape}", "a matrix", "use mH for the last two axes"))
        return self.T

    @property
    def mH(self) -> Self:
        """The last two axes exchanged."""
        return self.mT

    def movedim(self, source: Ints, destination: Ints) -> Self:
        """Axes moved to other places; the others keep their order.

        >>> import tinygrad_nn as tg
        >>> tg.moveaxis(tg.ones(2, 3, 4), 0, 2).shape
        (3, 4, 2)
        """
        moved, places = (
            [normal_axis("movedim", a, self.ndim) for a in several("movedim", "axis", axes)]
            for axes in (source, destination)
        )
        if len(moved) != len(places) or len({*moved}) != len(moved) or len({*places}) != len(places):
            got = f"axes {shown(source)} for the places {shown(destination)}"
            raise ShapeError(message("movedim", got, "each axis once, and a place of its own for each"))
        order = [k for k in range(self.ndim) if k not in moved]
        for place, axis in sorted(zip(places, moved, strict=True)):
            order.insert(place, axis)
        return self.permute(tuple(order)) if self.ndim else self.view_as(self)

    def unsqueeze(self, dim: int | None = None, *, axis: int | None = None) -> Self:
        """A new axis of length 1.

        >>> import tinygrad_nn as tg
        >>> tg.unsqueeze([1, 2], 0).shape
        (1, 2)
        """
        shape = self.node.shape
        a = normal_axis("unsqueeze", dim if axis is None else axis, len(shape) + 1)
        return self._shared(RESHAPE, shape=(*shape[:a], 1, *shape[a:]))

    def squeeze(self, dim: Ints | None = None, *, axis: Ints | None = None) -> Self:
        """Without the axes of length 1 (or those of them that are named).

        >>> import tinygrad_nn as tg
        >>> tg.squeeze(tg.ones(1, 3, 1)).shape
        (3,)
        """
        dim = dim if axis is None else axis
        named = () if isinstance(dim, (tuple, list)) and not dim else normal_axes("squeeze", dim, self.ndim)
        return self._shared(RESHAPE, shape=tuple(n for a, n in enumerate(self.shape) if n != 1 or a not in named))

    def expand(self, *sizes: Any, size: Any = None) -> Self:
        """Axes of length 1 repeated; -1 keeps a length; new axes come in front."""
        wanted = as_ints("expand", sizes if size is None else (size,))
        offset = len(wanted) - self.ndim
        shape = tuple(self.shape[a - offset] if n == -1 and a >= offset else n for a, n in enumerate(wanted))
        return self.broadcast_to(shape)

    def _spread(self, shape: Shape, axes: tuple[int, ...]) -> Self:
        """Repeated along new axes: the result has `shape`, of which `axes` are new. The adjoint of a sum."""
        return self.apply(BROADCAST, shape=shape, axes=axes) if axes else self.expand_to(shape)

    def narrow(self, dim: int, start: int, length: int) -> Self:
        """`length` slices from `start` along one axis.

        >>> import tinygrad_nn as tg
        >>> tg.narrow(tg.arange(5), 0, 1, 3)
        tensor([1, 2, 3])
        """
        a = normal_axis("narrow", dim, self.ndim)
        size = self._length(a)
        start, length = whole("narrow", "start", start), whole("narrow", "length", length)
        first = start + size if start < 0 else start
        if not (0 <= first <= size and 0 <= length <= size - first):
            raise IndexOutOfRange(
                message("narrow", f"start {start} and length {length} on an axis of {size}", "slices inside the axis")
            )
        return self._cut({a: (first, 1, length)})

    def _cut(self, bounds: dict[int, tuple[int, int, int]]) -> Self:
        """(start, step, length) on the axes named, everything on the others."""
        return self._shared(SLICE, bounds=tuple(bounds.get(a, (0, 1, n)) for a, n in enumerate(self.shape)))

    def _pad(self, shape: Shape, offset: tuple[int, ...]) -> Self:
        """Zeros of `shape` with this tensor written from `offset` on."""
        return self.apply(PAD, shape=shape, bounds=tuple((o, 1, n) for o, n in zip(offset, self.shape, strict=True)))

    def _placed(self, shape: Shape, bounds: StridedSlice) -> Self:
        """Zeros of `shape` with this tensor written at (start, step, length) per axis. The adjoint of a cut."""
        return self.apply(PAD, shape=shape, bounds=bounds)

    @typed
    def flip(self, *dims: Any) -> Self:
        """A copy with the order of elements reversed along axes.

        >>> import tinygrad_nn as tg
        >>> tg.flip([1, 2, 3], (0,))
        tensor([3, 2, 1])
        """
        axes = normal_axes("flip", listed, self.ndim) if (listed := as_ints("flip", dims, "axis")) else ()
        turned = ((max(n - 1, 0), -1, n) if a in axes else (0, 1, n) for a, n in enumerate(self.shape))
        return self.apply(SLICE, bounds=tuple(turned))

    def cat_with(self, *others: Core, dim: int = 0) -> Self:
        """This tensor and others joined along one axis, in their common dtype. A vector without elements joins any."""
        parts: list[Core] = [self, *others]
        rank = max([len(part.node.shape) for part in parts])
        a = normal_axis("cat", dim, rank)
        if rank > 1 and any(part.node.shape == (0,) for part in parts):
            shape = next(part.node.shape for part in parts if len(part.node.shape) == rank)
            nothing = (*shape[:a], 0, *shape[a + 1 :])
            parts = [part.apply(RESHAPE, shape=nothing) if part.node.shape == (0,) else part for part in parts]
        if any(part.dtype != self.node.dtype for part in others):
            common = result_type(*(part._weight() for part in parts))
            parts = [part.cast(common) for part in parts]
        return parts[0].apply(CAT, *parts[1:], axis=a)  # type: ignore[return-value]

    # ---- composites -------------------------------------------------------------------------------------------------

    def view(self, *shape: Any) -> Self:
        """As reshape, but never a copy."""
        return self.reshape(*shape)

    def clone(self) -> Self:
        """A copy through which gradients flow.

        >>> import tinygrad_nn as tg
        >>> x = tg.ones(2)
        >>> y = tg.clone(x)
        >>> y[0] = 5.0
        >>> x
        tensor([1., 1.])
        """
        return self.apply(RESHAPE, shape=self.node.shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Self:
        """The axes from start_dim to end_dim as one.

        >>> import tinygrad_nn as tg
        >>> tg.flatten(tg.ones(2, 3, 4), 1).shape
        (2, 12)
        """
        if self.ndim == 0:
            return self.reshape((1,))
        a, b = normal_axis("flatten", start_dim, self.ndim), normal_axis("flatten", end_dim, self.ndim)
        if a > b:
            raise ShapeError(message("flatten", f"start_dim {start_dim} after end_dim {end_dim}", "start_dim first"))
        return self.reshape((*self.shape[:a], math.prod(self.shape[a : b + 1]), *self.shape[b + 1 :]))

    def ravel(self) -> Self:
        """All elements along one axis.

        >>> import tinygrad_nn as tg
        >>> tg.ravel([[1, 2], [3, 4]])
        tensor([1, 2, 3, 4])
        """
        return self.flatten()

    def unflatten(self, dim: int, sizes: Sequence[int]) -> Self:
        """One axis as several; one length may be -1.

        >>> import tinygrad_nn as tg
        >>> tg.unflatten(tg.arange(6), 0, (2, 3)).shape
        (2, 3)
        """
        a = normal_axis("unflatten", dim, self.ndim)
        lengths = given = several("unflatten", "size", sizes)
        if lengths.count(-1) == 1:
            known = -math.prod(lengths)
            lengths = tuple(self.shape[a] // known if n == -1 and known else n for n in lengths)
        if self.ndim == 0 or math.prod(lengths) != self.shape[a] or min(lengths) < 0:
            got = f"sizes {given} for an axis of {self._length(a)}"
            raise ShapeError(message("unflatten", got, "sizes with that product"))
        return self.reshape((*self.shape[:a], *lengths, *self.shape[a + 1 :]))

    def swapaxes(self, axis0: int, axis1: int) -> Self:
        """Two axes exchanged.

        >>> import tinygrad_nn as tg
        >>> tg.swapaxes(tg.ones(2, 3, 4), 0, 2).shape
        (4, 3, 2)
        """
        return self.transpose(axis0, axis1)

    def t(self) -> Self:
        """A matrix transposed; vectors as they are.

        >>> import tinygrad_nn as tg
        >>> tg.t([[1, 2], [3, 4]])
        tensor([[1, 3],
                [2, 4]])
        """
        if self.ndim > 2:
            raise ShapeError(message("t", f"shape {self.shape}", "at most two axes", "use transpose(a, b)"))
        return self.T

    def broadcast_to(self, size: Sequence[int]) -> Self:
        """Stretched to a shape by NumPy's rule; the result reads this tensor's elements and cannot be written.

        >>> import tinygrad_nn as tg
        >>> tg.broadcast_to([1, 2], (2, 2))
        tensor([[1, 2],
                [1, 2]])
        """
        wanted = as_shape("broadcast_to", (size,))
        return self if self.node.shape == wanted else self._shared(BROADCAST, **stretch("expand", self.shape, wanted))

    def expand_as(self, other: Operand) -> Self:
        """Stretched to another tensor's shape."""
        return self.broadcast_to(self._operand(other, "expand_as").shape)

    def view_as(self, other: Operand) -> Self:
        """In another tensor's shape."""
        return self.reshape(self._operand(other, "view_as").shape)

    @typed
    def repeat(self, *repeats: Any) -> Self:
        """Copies beside each other, repeats[k] times along axis k, counted from the last; new axes come in front."""
        times = as_ints("repeat", repeats)
        if len(times) < self.ndim or any(n < 0 for n in times):
            raise ShapeError(message("repeat", f"sizes {times} for shape {self.shape}", "a number for every axis"))
        own = (1,) * (len(times) - self.ndim) + self.shape
        as_shape("repeat", tuple(n * m for n, m in zip(times, own, strict=True)))
        spread = tuple(length for n, m in zip(times, own, strict=True) for length in (n, m))
        inserted = self.reshape(tuple(length for m in own for length in (1, m)))
        return inserted.expand_to(spread).apply(RESHAPE, shape=tuple(n * m for n, m in zip(times, own, strict=True)))

    @typed
    def tile(self, *dims: Any) -> Self:
        """As repeat, with missing numbers taken as 1.

        >>> import tinygrad_nn as tg
        >>> tg.tile([1, 2], (2, 2))
        tensor([[1, 2, 1, 2],
                [1, 2, 1, 2]])
        """
        times = as_ints("tile", dims)
        return self.repeat((1,) * (self.ndim - len(times)) + times)

    @typed
    def split(self, split_size: Ints, dim: int = 0) -> tuple[Self, ...]:
        """Parts of a size (the last may be shorter), or of several sizes that sum to the axis.

        >>> import tinygrad_nn as tg
        >>> tg.split(tg.arange(5), 2)
        (tensor([0, 1]), tensor([2, 3]), tensor([4]))
        """
        a = normal_axis("split", dim, self.ndim)
        length = self._length(a, "split")
        sizes = several("split", "size", split_size)
        if not isinstance(split_size, (list, tuple)):
            (size,) = sizes if len(sizes) == 1 else (0,)
            if size <= 0:
                raise ShapeError(message("split", f"a part of {shown(split_size)}", "a positive size"))
            sizes = tuple([min(size, length - start) for start in range(0, max(length, 1), size)])
        if sum(sizes) != length or any(n < 0 for n in sizes):
            got = f"sizes {list(sizes)} for an axis of {length}"
            raise ShapeError(message("split", got, f"sizes that sum to {length}"))
        return self._parts(a, sizes)

    @typed
    def chunk(self, chunks: int, dim: int = 0) -> tuple[Self, ...]:
        """At most `chunks` parts of equal size (the last may be shorter).

        >>> import tinygrad_nn as tg
        >>> tg.chunk(tg.arange(5), 2)
        (tensor([0, 1, 2]), tensor([3, 4]))
        """
        if whole("chunk", "parts", chunks) < 1:
            raise ShapeError(message("chunk", f"{chunks} parts", "at least 1"))
        a = normal_axis("chunk", dim, self.ndim)
        return self.split(max(1, -(-self._length(a, "chunk") // as_int(chunks))), a)

    @typed
    def unbind(self, dim: int = 0) -> tuple[Self, ...]:
        """The slices along one axis, without that axis.

        >>> import tinygrad_nn as tg
        >>> tg.unbind([[1, 2], [3, 4]])
        (tensor([1, 2]), tensor([3, 4]))
        """
        a = normal_axis("unbind", dim, self.ndim)
        shape = self.shape[:a] + self.shape[a + 1 :]
        slices = self._parts(a, (1,) * self._length(a, "unbind"))
        return tuple([part._shared(RESHAPE, shape=shape) for part in slices])

    def _parts(self, axis: int, sizes: tuple[int, ...]) -> tuple[Self, ...]:
        """Slices of these sizes that lie side by side."""
        whole = [(0, 1, n) for n in self.shape]
        before, behind = tuple(whole[:axis]), tuple(whole[axis + 1 :])
        ends = accumulate(sizes)
        bounds = [(*before, (end - n, 1, n), *behind) for end, n in zip(ends, sizes, strict=True)]
        return tuple([self._shared(SLICE, bounds=one) for one in bounds])

    def select(self, dim: int, index: int) -> Self:
        """One slice along one axis, without that axis.

        >>> import tinygrad_nn as tg
        >>> tg.select([[1, 2], [3, 4]], 0, 1)
        tensor([3, 4])
        """
        a, index = normal_axis("select", dim, self.ndim), whole("select", "index", index)
        if self.ndim == 0 or not -self.shape[a] <= index < self.shape[a]:
            length = self.shape[a] if self.ndim else 0
            raise IndexOutOfRange(
                message("select", f"index {index} on an axis of {length}", f"{-length} <= index < {length}")
            )
        return self.narrow(a, index % self.shape[a], 1)._shared(RESHAPE, shape=self.shape[:a] + self.shape[a + 1 :])

    @typed
    def roll(self, shifts: Ints, dims: Ints | None = None) -> Self:
        """Elements moved along axes, those that leave come in at the other end; without `dims` of the flattened
        tensor.

        >>> import tinygrad_nn as tg
        >>> tg.roll([1, 2, 3], 1)
        tensor([3, 1, 2])
        """
        if dims is None:
            return self.flatten().roll(shifts, 0).reshape(self.shape)
        if self.ndim == 0:
            raise ShapeError(message("roll", "axes for a 0-d tensor", "at least one axis"))
        moves, axes = several("roll", "shift", shifts), several("roll", "axis", dims)
        if len(moves) != len(axes):
            raise ShapeError(message("roll", f"{len(moves)} shifts for {len(axes)} axes", "one each"))
        result = self
        for move, dim in zip(moves, axes, strict=True):
            a = normal_axis("roll", dim, self.ndim)
            length = self.shape[a]
            cut = -move % length if length else 0
            if cut:
                result = result.narrow(a, cut, length - cut).cat_with(result.narrow(a, 0, cut), dim=a)
        return result.clone() if result is self else result

    def _triangle(self, name: str, diagonal: int, lower: bool) -> Self:
        far = max(self.shape, default=0)  # beyond all elements
        diagonal = max(-far, min(whole(name, "diagonal", diagonal), far))
        if self.ndim < 2:
            raise ShapeError(message(name, f"shape {self.shape}", "matrices"))
        rows, columns = self.new_arange(self.shape[-2]).unsqueeze(1), self.new_arange(self.shape[-1])
        outside = columns > rows + diagonal if lower else columns < rows + diagonal
        return self.masked_fill(outside, False if self.dtype.kind == "b" else 0)

    def tril(self, diagonal: int = 0) -> Self:
        """The lower triangle of matrices, zeros above a diagonal.

        >>> import tinygrad_nn as tg
        >>> tg.tril([[1, 2], [3, 4]])
        tensor([[1, 0],
                [3, 4]])
        """
        return self._triangle("tril", diagonal, lower=True)

    def triu(self, diagonal: int = 0) -> Self:
        """The upper triangle of matrices, zeros below a diagonal.

        >>> import tinygrad_nn as tg
        >>> tg.triu([[1, 2], [3, 4]])
        tensor([[1, 2],
                [0, 4]])
        """
        return self._triangle("triu", diagonal, lower=False)

    def diagonal(self, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Self:
        """Elements with equal index on two axes, along a new last axis.

        >>> import tinygrad_nn as tg
        >>> tg.diagonal([[1, 2], [3, 4]])
        tensor([1, 4])
        """
        if self.ndim < 2:
            raise ShapeError(message("diagonal", f"shape {self.shape}", "two axes or more"))
        a, b = normal_axis("diagonal", dim1, self.ndim), normal_axis("diagonal", dim2, self.ndim)
        offset = whole("diagonal", "offset", offset)
        if a == b:
            raise ShapeError(message("diagonal", f"axis {a} twice", "two axes"))
        rest = tuple(k for k in range(self.ndim) if k not in (a, b))
        n, m = self.shape[a], self.shape[b]
        length = max(0, min(n, m - offset) if offset >= 0 else min(n + offset, m))
        first = offset if offset >= 0 else -offset * m
        lines = self.permute((*rest, a, b))._shared(RESHAPE, shape=(*(self.shape[k] for k in rest), n * m))
        axis = lines.ndim - 1
        return lines._cut({axis: (first if length else 0, m + 1, length)})

    def unfold(self, dimension: int, size: int, step: int) -> Self:
        """Windows of `size` elements every `step` along one axis, each along a new last axis.

        Windows that lie side by side are a view; others, unlike PyTorch's, a copy.
        """
        a = normal_axis("unfold", dimension, self.ndim)
        size, step = whole("unfold", "size", size), whole("unfold", "step", step)
        length = self.shape[a] if self.ndim else 1
        if not 0 <= size <= length or step < 1:
            got = f"size {size} and step {step} on an axis of {length}"
            raise ShapeError(message("unfold", got, "windows inside of the axis and a positive step"))
        if not self.ndim:
            return self.reshape((1,))._cut({0: (0, 1, size)})
        count = (length - size) // step + 1
        if size == step:
            return self.narrow(a, 0, count * size).unflatten(a, (count, size)).movedim(a + 1, -1)
        windows = [self.narrow(a, k * step, size).movedim(a, -1).unsqueeze(a) for k in range(count)]
        return windows[0].cat_with(*windows[1:], dim=a) if len(windows) > 1 else windows[0]
