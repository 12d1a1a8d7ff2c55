"""What follows from order: medians and quantiles, positions in sorted rows, sets.

Sets have as many elements as there are in the data: `unique` and `unique_consecutive` read their values, so they do not
compile.
"""

from __future__ import annotations

import math
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from ...errors import ConfigError, DTypeError, IndexOutOfRange, ShapeError, message
from ...ops.index import GATHER
from ...ops.rules import INT32
from ...support.settings import choice, integer, typed
from ..contract import T
from ..core import Core, constant
from ..operators import Operand
from ..reduce import ValuesIndices
from ..shape import Ints, as_ints, normal_axis
from .scanning import cummax

_S = TypeVar("_S")


class Extremes(NamedTuple, Generic[_S]):
    """What `aminmax` gives."""

    min: _S
    max: _S


@typed
def aminmax(self: T, *, dim: int | None = None, keepdim: bool = False) -> Extremes[T]:
    """(min, max) along one axis or of all elements; equal ones share the gradient.

    >>> import tinygrad_nn as tg
    >>> tg.aminmax([3.0, 1.0, 2.0]).max
    tensor(3.)
    """
    return Extremes(self.amin(dim, keepdim), self.amax(dim, keepdim))


@typed
def argwhere(self: T) -> T:
    """The positions of what is not 0, one row for each: (count, axes).

    >>> import tinygrad_nn as tg
    >>> tg.argwhere([[0, 1], [2, 0]])
    tensor([[0, 1],
            [1, 0]])
    """
    return self.nonzero()


@typed
def nonzero_static(self: T, *, size: int, fill_value: int = -1) -> T:
    """The first `size` positions of what is not 0, one row for each; `fill_value` where there are not so many. Its
    shape does not depend on values, so it compiles.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([0, 3, 4]).nonzero_static(size=3).tolist()
    [[1], [2], [-1]]
    """
    count = integer("nonzero_static", "size", size, least=0)
    flags = self.bool().reshape(-1)
    places = self.new_arange(max(count, flags.shape[0]))
    order = places.narrow(0, flags.shape[0], places.shape[0] - flags.shape[0])
    order = (~flags).cast(INT32).argsort(0).cat_with(order, dim=0).narrow(0, 0, count)
    rows = unravel_index(order.clamp(max=max(flags.shape[0] - 1, 0)), self.shape) if self.ndim and self.numel() else ()
    there = (places.narrow(0, 0, count) < flags.cast(INT32).sum()).unsqueeze(-1)
    if not rows:
        return order.reshape((count, 1)).expand_to((count, self.ndim)).masked_fill(~there | there, fill_value)
    return rows[0].unsqueeze(-1).cat_with(*[row.unsqueeze(-1) for row in rows[1:]], dim=-1).where(there, fill_value)


def unravel_index(self: T, shape: Ints) -> tuple[T, ...]:
    """The position along each axis of a tensor of that shape, of indices into its elements in a row.

    >>> import tinygrad_nn as tg
    >>> tg.unravel_index(tg.tensor([5, 2]), (2, 3))
    (tensor([1, 0]), tensor([2, 2]))
    """
    sizes = as_ints("unravel_index", (shape,))
    if self.dtype.kind != "i":
        raise DTypeError(message("unravel_index", f"dtype {self.dtype.name}", "integers"))
    rest, found = self.long(), list[T]()
    for n in reversed(sizes):
        found.append(rest % n)
        rest = rest // n
    if not self.is_traced and self.numel() and not bool(rest.eq(0).all()):
        raise IndexOutOfRange(message("unravel_index", f"an index outside of shape {sizes}", "one inside"))
    return tuple(reversed(found))


@typed
def msort(self: T, *, descending: bool = False, stable: bool = True) -> T:
    """Sorted along the first axis.

    >>> import tinygrad_nn as tg
    >>> tg.msort([[3.0, 1.0], [1.0, 2.0]])
    tensor([[1., 1.],
            [3., 2.]])
    """
    return self.sort(0, descending).values


# ---- elements of sorted rows ----------------------------------------------------------------------------------------


def _chosen(self: T, x: T, axis: int, index: T, keepdim: bool) -> ValuesIndices[T]:
    """(values, indices) of one element for each line, whose place has length 1 along the axis."""
    values = x.apply(GATHER, index, axis=axis)
    shape = self._without(axis, keepdim)
    return ValuesIndices(values.reshape(shape), index.reshape(shape))


@typed
def kthvalue(self: T, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices[T]:
    """(values, indices) of the k-th smallest element along one axis, counted from 1; NaN is largest.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([3.0, 1.0, 2.0]).kthvalue(2)
    ValuesIndices(values=tensor(2.), indices=tensor(2))
    """
    x, axis = self._line("kthvalue", dim)
    if not 1 <= k <= x.shape[axis]:
        raise IndexOutOfRange(message("kthvalue", f"k={k} for an axis of {x.shape[axis]}", "1 <= k <= its length"))
    return _chosen(self, x, axis, x.argsort(axis).narrow(axis, int(k) - 1, 1), keepdim)


@typed
def median(self: T, dim: int | None = None, keepdim: bool = False) -> Any:
    """The element in the middle, of an even number the lower one; NaN where there is one.

    Of all elements, or (values, indices) along one axis.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([4.0, 1.0, 3.0, 2.0]).median().item()
    2.0
    """
    return _median("median", self, dim, keepdim, skip=False)


@typed
def nanmedian(self: T, dim: int | None = None, keepdim: bool = False) -> Any:
    """As `median` of the elements that are not NaN; NaN where there is none.

    >>> import tinygrad_nn as tg
    >>> tg.nanmedian([1.0, float("nan"), 3.0, 2.0])
    tensor(2.)
    """
    return _median("nanmedian", self, dim, keepdim, skip=True)


def _median(name: str, self: T, dim: int | None, keepdim: bool, skip: bool) -> Any:
    if dim is None:
        if not self.numel():
            if self.dtype.kind != "f":
                raise ShapeError(message(name, f"shape {self.shape}", "at least one element"))
            return self.sum() * math.nan
        return _median(name, self.reshape(-1), 0, False, skip).values
    x, axis = self._line(name, dim)
    if not x.shape[axis]:
        raise IndexOutOfRange(message(name, f"an axis of length 0 in {x.shape}", "at least one element"))
    order = x.argsort(axis)
    nans = x.isnan()
    count = (~nans).sum(axis, keepdim=True)
    middle = (count - 1).clamp(0) // 2
    if not skip:  # the first NaN, which comes behind the numbers
        middle = count.where(nans.any(axis, keepdim=True), middle)
    return _chosen(self, x, axis, order.apply(GATHER, middle, axis=axis), keepdim)


@typed
def mode(self: T, dim: int = -1, keepdim: bool = False) -> ValuesIndices[T]:
    """(values, indices) of what is most frequent along one axis, the smallest where several are; the last of them.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([3, 1, 3, 2, 1]).mode()
    ValuesIndices(values=tensor(1), indices=tensor(4))
    """
    x, axis = self._line("mode", dim)
    length = x.shape[axis]
    if not length:
        raise IndexOutOfRange(message("mode", f"an axis of length 0 in {x.shape}", "at least one element"))
    order = x.argsort(axis)
    line = x._stopped().apply(GATHER, order, axis=axis)
    same = line.narrow(axis, 1, length - 1).eq(line.narrow(axis, 0, length - 1)).cast(order.dtype)
    place = x.new_arange(length).reshape((-1, *(1,) * (x.ndim - axis - 1))).expand_to(x.shape)
    first = place.narrow(axis, 0, 1).cat_with(place.narrow(axis, 1, length - 1) * (1 - same), dim=axis)
    first = cummax(first, axis).values  # where the run of equal ones begins
    best = (place - first).argmax(axis, keepdim=True)
    return _chosen(self, x, axis, order.apply(GATHER, best, axis=axis), keepdim)


@typed
def quantile(self: T, q: Operand, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear") -> T:
    """The q-quantiles of all elements or along one axis, NaN where there is one; several q stand along a first axis.

    Between two elements: `interpolation` is 'linear', 'lower', 'higher', 'midpoint' or 'nearest'. Raises ConfigError
    for a q outside of [0, 1], DTypeError for integers.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([0.0, 1.0, 2.0, 3.0]).quantile(tg.tensor([0.25, 0.5])).tolist()
    [0.75, 1.5]
    """
    return _quantile("quantile", self, q, dim, keepdim, interpolation, skip=False)


@typed
def nanquantile(
    self: T, q: Operand, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> T:
    """As `quantile` of the elements that are not NaN; NaN where there is none.

    >>> import tinygrad_nn as tg
    >>> tg.nanquantile([1.0, float("nan"), 3.0], 0.5)
    tensor(2.)
    """
    return _quantile("nanquantile", self, q, dim, keepdim, interpolation, skip=True)


_BETWEEN = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(name: str, self: T, q: Operand, dim: int | None, keepdim: bool, interpolation: str, skip: bool) -> T:
    choice(name, "interpolation", interpolation, _BETWEEN)
    x = self._floating(name)
    levels = x._operand(q, name)
    if levels.dtype != x.dtype or levels.ndim > 1:
        got = f"q of dtype {levels.dtype.name} and shape {levels.shape} for {x.dtype.name}"
        raise DTypeError(message(name, got, "a number, or numbers of the tensor's dtype along one axis"))
    if not levels.is_traced and not bool(((levels >= 0) & (levels <= 1)).all()):
        raise ConfigError(message(name, f"q {levels._stopped()}", "0 <= q <= 1"))
    if not x.numel():
        raise ShapeError(message(name, f"shape {x.shape}", "at least one element"))
    rows, axis = (x.reshape(-1), 0) if dim is None else x._line(name, dim)
    line = rows.movedim(axis, -1)
    line = line.apply(GATHER, line.argsort(-1), axis=line.ndim - 1)
    nans = line.isnan()
    numbers = (~nans).sum(-1, keepdim=True)
    last = line.shape[-1] - 1
    place = levels.reshape(-1).expand_to((*line.shape[:-1], levels.numel()))
    if skip:
        place = place * (numbers - 1).clamp(0).cast(x.dtype)
    else:  # a NaN stands at the end of its line
        place = (place * last).masked_fill(nans.any(-1, keepdim=True), float(last))
    if interpolation in ("lower", "higher", "nearest"):
        place = {"lower": place.floor, "higher": place.ceil, "nearest": place.round}[interpolation]()
    low = place._stopped().floor()
    found = line.apply(GATHER, low.long(), axis=line.ndim - 1)
    if interpolation in ("linear", "midpoint"):
        above = line.apply(GATHER, place._stopped().ceil().long(), axis=line.ndim - 1)
        found = found.lerp(above, place - low if interpolation == "linear" else found._stopped() * 0 + 0.5)
    shape = (1,) * x.ndim if dim is None and keepdim else () if dim is None else self._without(axis, keepdim)
    return found.movedim(-1, 0).reshape((*levels.shape, *shape))


# ---- places in sorted rows -------------------------------------------------------------------------------------------


@typed
def searchsorted(
    self: T,
    values: Operand,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Core | None = None,
) -> T:
    """Where `values` would be inserted into sorted rows: before the first element that is not less, with `right` (or
    side='right') before the first that is greater.

    One row for all values, or as many rows as values have. `sorter` are the indices that sort the rows. By bisection.

    >>> import tinygrad_nn as tg
    >>> tg.searchsorted(tg.tensor([1.0, 3.0, 5.0]), tg.tensor([3.0, 6.0, 0.0])).tolist()
    [1, 3, 0]
    """
    if side is not None:
        choice("searchsorted", "side", side, ("left", "right"))
        if right and side == "left":
            raise ConfigError(message("searchsorted", "right=True and side='left'", "one of them"))
    return _found("searchsorted", self, values, right or side == "right", out_int32, sorter)


@typed
def bucketize(self: T, boundaries: Operand, *, out_int32: bool = False, right: bool = False) -> T:
    """The number of the bucket of each element: how many of the sorted `boundaries` are less, with `right` not greater.

    >>> import tinygrad_nn as tg
    >>> tg.bucketize(tg.tensor([3, 6, 9]), tg.tensor([1, 3, 5, 7, 9])).tolist()
    [1, 3, 4]
    """
    edges = self._operand(boundaries, "bucketize")
    if edges.ndim != 1:
        raise ShapeError(message("bucketize", f"boundaries of shape {edges.shape}", "one axis"))
    return _found("bucketize", edges, self, right, out_int32, None)


def _found(name: str, rows: T, values: Operand, right: bool, small: bool, sorter: Core | None) -> T:
    if not rows.ndim:
        raise ShapeError(message(name, "a 0-d tensor", "at least one axis"))
    if sorter is not None:
        if sorter.shape != rows.shape or sorter.dtype.kind != "i":
            got = f"a sorter {sorter.shape}:{sorter.dtype.name} for rows of shape {rows.shape}"
            raise ShapeError(message(name, got, "an index for each element"))
        rows = rows.take_along_dim(sorter, -1)
    rows, wanted = rows._stopped(), rows._operand(values, name)._stopped()
    shape, length = wanted.shape, rows.shape[-1]
    if rows.ndim == 1:
        wanted = wanted.reshape(-1)
    elif wanted.shape[:-1] != rows.shape[:-1] or not wanted.ndim:
        raise ShapeError(message(name, f"rows of shape {rows.shape} and values of shape {shape}", "as many rows"))
    place = wanted.new_zeros(wanted.shape).cast(wanted.new_arange(0).dtype)
    step = 1 << max(length.bit_length() - 1, 0)
    while step and length:  # `place` elements are before; are there `step` more?
        probe = rows.apply(GATHER, (place + (step - 1)).clamp(max=length - 1), axis=rows.ndim - 1)
        beyond = probe > wanted if right else probe >= wanted
        place = (place + step).where(~beyond & (place + step <= length), place)
        step //= 2
    return (place.cast(INT32) if small else place).reshape(shape)


# ---- sets ------------------------------------------------------------------------------------------------------------


@typed
def isin(self: T, test_elements: Operand, *, assume_unique: bool = False, invert: bool = False) -> T:
    """Whether each element is among others (with `invert`, is not); NaN never is.

    >>> import tinygrad_nn as tg
    >>> tg.isin(tg.tensor([1, 2, 3]), [3, 1]).tolist()
    [True, False, True]
    """
    x, others = self._promoted(test_elements, "isin")
    others = others._stopped().reshape(-1)
    if others.shape[0] <= 16:
        found = x.unsqueeze(-1).eq(others).any(-1)
    else:
        others = others.sort().values
        place = _found("isin", others, x, False, False, None).clamp(max=others.shape[0] - 1)
        found = others.apply(GATHER, place.reshape(-1), axis=0).reshape(x.shape).eq(x)
    return ~found if invert else found


@typed
def unique(
    self: T,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """What different elements there are (or slices along one axis), in order.

    With them, if asked for: for each element its place among them, and how often each is there.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([3, 1, 3]).unique(return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    array = np.asarray(self._value("unique"))
    axis = None if dim is None else normal_axis("unique", dim, self.ndim)
    found, inverse, counts = np.unique(array, return_inverse=True, return_counts=True, axis=axis, equal_nan=False)
    inverse = inverse.reshape(array.shape if axis is None else -1)
    return _asked(self, found, (return_inverse, inverse), (return_counts, counts))


@typed
def unique_consecutive(
    self: T, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements (or slices along one axis) that differ from the one before.

    With them, if asked for: for each element its place among them, and how many follow each other.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([1, 1, 2, 1]).unique_consecutive().tolist()
    [1, 2, 1]
    """
    array = np.asarray(self._value("unique_consecutive"))
    axis = 0 if dim is None else normal_axis("unique_consecutive", dim, self.ndim)
    rows = array.reshape(-1) if dim is None else array
    count = rows.shape[axis]
    lines = np.moveaxis(rows, axis, 0).reshape(count, rows.size // max(count, 1))
    starts = np.ones(count, np.bool_)
    starts[1:] = (lines[1:] != lines[:-1]).any(1)
    places = np.flatnonzero(starts)
    inverse = (np.cumsum(starts) - 1).reshape(array.shape if dim is None else -1)
    counts = np.diff(places, append=count)
    return _asked(self, rows.take(places, axis), (return_inverse, inverse), (return_counts, counts))


def _asked(self: T, found: Any, *more: tuple[bool, Any]) -> Any:
    """The result alone, or with what else was asked for."""
    parts = [found, *[array for asked, array in more if asked]]
    tensors = tuple([self.handle(constant(np.array(part))) for part in parts])
    return tensors if len(tensors) > 1 else tensors[0]
