"""Writing where data says: copies of a tensor with other elements at some places.

What writes to a part that numbers and slices name is a write to a view of a copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Literal

from ...errors import ConfigError, ShapeError, message
from ...ops.index import INDEX_ADD, PLACE, SCATTER, SCATTER_ADD
from ...ops.lookup import Called
from ...ops.movement import RESHAPE
from ...ops.scattering import SCATTER_EXTREME, lowest, meetings
from ...support.settings import shown, typed
from ..contract import T
from ..core import broadcast_shape
from ..index import Index
from ..operators import Operand
from ..shape import normal_axis, whole

Fold = Literal["sum", "prod", "mean", "amax", "amin"]
_NOTHING: Final = {"sum": 0, "mean": 0, "prod": 1}
INDEX_COPY, INDEX_FILL, INDEX_REDUCE, PUT, SCATTER_REDUCE = map(
    Called, ("index_copy", "index_fill", "index_reduce", "put", "scatter_reduce")
)


@typed
def scatter_reduce(self: T, dim: int, index: Index, src: Operand, reduce: Fold, *, include_self: bool = True) -> T:
    """A copy where each place has the sum, product, mean, largest or smallest of what `src` has for it, and of what was
    there unless `include_self` is False. Places that no number of `index` names stay.

    The gradient of an extreme is shared by those that are it; the mean of integers is rounded down.

    >>> import tinygrad_nn as tg
    >>> tg.zeros(3).scatter_reduce(0, tg.tensor([0, 2, 2]), tg.tensor([5.0, 1.0, 4.0]), "amax").tolist()
    [5.0, 0.0, 4.0]
    """
    axis, at = normal_axis("scatter_reduce", dim, self.ndim), self._aligned("scatter_reduce", index)
    return _folded(self, axis, at, self._source("scatter_reduce", at, src), reduce, include_self, SCATTER_REDUCE)


def _folded(x: T, axis: int, index: T, values: T, how: str, include: bool, called: Called) -> T:
    """What `scatter_reduce` gives."""
    if not isinstance(how, str) or how not in ("sum", "prod", "mean", "amax", "amin"):
        expected = "'sum', 'prod', 'mean', 'amax' or 'amin'"
        raise ConfigError(message(called.name, f"reduce {shown(how)}", expected))
    if 0 in index.shape:
        return x.clone()
    shape, at = x.shape, index._as_line()
    base, given = x._as_line(), values._as_line()
    ones = at.new_ones(at.shape).apply(SCATTER_ADD, at, axis=axis, shape=base.shape, called=called)
    if not include:
        base = base.masked_fill(ones > 0, _NOTHING[how] if how in _NOTHING else lowest(x.dtype, how))
    if how == "prod":
        factors: T = meetings(base, at, given, axis, 1)
        return factors.prod(-1, dtype=x.dtype).movedim(-1, axis)._like(shape)
    if how in ("amax", "amin"):
        return base.apply(SCATTER_EXTREME, at, given, axis=axis, how=how)._like(shape)
    total = base + given.apply(SCATTER_ADD, at, axis=axis, shape=base.shape, called=called)
    if how == "mean":
        count = ones + 1 if include else ones.clamp(1)
        total = total / count if x.dtype.kind == "f" else (total // count).cast(x.dtype)
    return total._like(shape)


def _slices(self: T, called: Called, dim: int, index: Index, source: T) -> tuple[int, T, T]:
    """The axis, and for each element of `source` its position along it."""
    axis, whole = normal_axis(called.name, dim, self.ndim), self._as_line()
    at, values = self._positions(called.name, index)._as_line(), source.cast(self.dtype)._as_line()
    expected = (*whole.shape[:axis], *at.shape, *whole.shape[axis + 1 :])
    if at.ndim > 1 or values.shape != expected:
        got = f"a source of shape {source.shape} and an index of shape {at.shape} for shape {self.shape}"
        raise ShapeError(message(called.name, got, "one axis of positions, and a slice of the tensor for each"))
    shape = (1,) * axis + at.shape + (1,) * (whole.ndim - axis - 1)
    return axis, at.apply(RESHAPE, shape=shape).expand_to(expected), values


def index_copy(self: T, dim: int, index: Index, source: Operand) -> T:
    """A copy with the slices of `source` at the positions that `index` names along one axis.

    >>> import tinygrad_nn as tg
    >>> tg.index_copy(tg.zeros(3), 0, tg.tensor([0, 2]), tg.tensor([5.0, 6.0]))
    tensor([5., 0., 6.])
    """
    axis, at, values = _slices(self, INDEX_COPY, dim, index, self._operand(source, "index_copy"))
    return self._as_line().apply(SCATTER, at, values, axis=axis, called=INDEX_COPY)._like(self.shape)


def index_fill(self: T, dim: int, index: Index, value: Operand) -> T:
    """A copy with one value in the slices that `index` names along one axis.

    >>> import tinygrad_nn as tg
    >>> tg.index_fill(tg.zeros(3), 0, tg.tensor([0, 2]), 7.0)
    tensor([7., 0., 7.])
    """
    filling, whole = self._operand(value, "index_fill").cast(self.dtype), self._as_line()
    if filling.shape:
        raise ShapeError(message("index_fill", f"a value of shape {filling.shape}", "one number"))
    axis = normal_axis("index_fill", dim, self.ndim)
    at = self._positions("index_fill", index)._as_line()
    if at.ndim > 1:
        raise ShapeError(message("index_fill", f"an index of shape {at.shape}", "one axis"))
    at = at.apply(PLACE, size=whole.shape[axis], called=INDEX_FILL)
    ones = at.new_ones(at.shape).apply(INDEX_ADD, at, axis=0, size=whole.shape[axis], called=INDEX_FILL)
    named = (ones > 0).apply(RESHAPE, shape=(*ones.shape, *(1,) * (whole.ndim - axis - 1)))
    return filling.where(named, whole)._like(self.shape)


@typed
def index_reduce(
    self: T,
    dim: int,
    index: Index,
    source: Operand,
    reduce: Literal["prod", "mean", "amax", "amin"],
    *,
    include_self: bool = True,
) -> T:
    """As `scatter_reduce`, with whole slices of `source` at the positions that `index` names along one axis.

    >>> import tinygrad_nn as tg
    >>> tg.index_reduce(tg.ones(2), 0, tg.tensor([0, 0, 1]), tg.tensor([2.0, 3.0, 4.0]), "prod")
    tensor([6., 4.])
    """
    axis, at, values = _slices(self, INDEX_REDUCE, dim, index, self._operand(source, "index_reduce"))
    return _folded(self._as_line(), axis, at, values, reduce, include_self, INDEX_REDUCE)._like(self.shape)


@typed
def index_put(self: T, indices: Sequence[Any], values: Operand, accumulate: bool = False) -> T:
    """A copy with x[indices] = values, or with `accumulate` the values added there, each as often as it is named.

    >>> import tinygrad_nn as tg
    >>> tg.index_put(tg.zeros(3), (tg.tensor([0, 2]),), tg.tensor([5.0, 6.0]))
    tensor([5., 0., 6.])
    """
    key = tuple(slice(None) if one is None else one for one in indices)
    if accumulate:
        picked = self.new_arange(math.prod(self.shape)).apply(RESHAPE, shape=self.shape)[key]
        added = self._operand(values, "index_put").cast(self.dtype).expand_to(picked.shape)
        return _put_flat(self, picked, added, accumulate=True)
    result = self.clone()
    result[key] = values
    return result


@typed
def put(self: T, index: Index, source: Operand, accumulate: bool = False) -> T:
    """A copy with elements of the flattened tensor replaced, or with `accumulate` added to; negative positions count
    from the end.

    >>> import tinygrad_nn as tg
    >>> tg.put(tg.zeros(2, 2), tg.tensor([0, 3]), tg.tensor([5.0, 6.0]))
    tensor([[5., 0.],
            [0., 6.]])
    """
    at, values = self._positions("put", index), self._operand(source, "put").cast(self.dtype)
    if math.prod(values.shape) != math.prod(at.shape):
        got = f"a source of shape {values.shape} for an index of shape {at.shape}"
        raise ShapeError(message("put", got, "as many elements"))
    return _put_flat(self, at.apply(PLACE, size=math.prod(self.shape), called=PUT), values, accumulate)


def _put_flat(x: T, places: T, values: T, accumulate: bool) -> T:
    flat, at, given = x.flatten(), places.flatten(), values.flatten()
    if accumulate:
        added = given.apply(SCATTER_ADD, at, axis=0, shape=flat.shape, called=PUT)
        return (flat + added).apply(RESHAPE, shape=x.shape)
    return flat.apply(SCATTER, at, given, axis=0, called=PUT).apply(RESHAPE, shape=x.shape)


def masked_scatter(self: T, mask: Index, source: Operand) -> T:
    """A copy with the elements of `source`, in order, where a mask (bool, broadcast) holds.

    Raises ShapeError where the source has too few.

    >>> import tinygrad_nn as tg
    >>> tg.masked_scatter(tg.zeros(3), tg.tensor([True, False, True]), tg.tensor([5.0, 6.0]))
    tensor([5., 0., 6.])
    """
    values = self._operand(source, "masked_scatter").cast(self.dtype).flatten()
    condition = self._condition("masked_scatter", mask)
    shape = broadcast_shape("masked_scatter", self.shape, condition.shape)
    condition = condition.expand_to(shape)
    rank = condition.flatten().cumsum(0) - 1
    if not condition.is_traced and 0 not in shape and int(rank._value()[-1]) >= values.shape[0]:
        got = f"{values.shape[0]} elements for {int(rank._value()[-1]) + 1} places"
        raise ShapeError(message("masked_scatter", got, "an element for each place where the mask holds"))
    if not values.shape[0]:
        return self.expand_to(shape).clone()
    picked = values.take(rank.clamp(0, values.shape[0] - 1)).apply(RESHAPE, shape=shape)
    return picked.where(condition, self.expand_to(shape))


def select_scatter(self: T, src: Operand, dim: int, index: int) -> T:
    """A copy with one slice along one axis replaced: what `select` gives of it is `src`.

    >>> import tinygrad_nn as tg
    >>> tg.select_scatter(tg.zeros(2, 2), tg.ones(2), 0, 1)
    tensor([[0., 0.],
            [1., 1.]])
    """
    return _replaced(self, "select_scatter", self._operand(src), lambda x: x.select(dim, index))


def slice_scatter(
    self: T, src: Operand, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> T:
    """A copy with the elements start:end:step along one axis replaced by those of `src`.

    >>> import tinygrad_nn as tg
    >>> tg.slice_scatter(tg.zeros(4), tg.ones(2), start=1, end=3)
    tensor([0., 1., 1., 0.])
    """
    axis = normal_axis("slice_scatter", dim, self.ndim)
    bounds = [None if one is None else whole("slice_scatter", "a bound", one) for one in (start, end, step)]
    key = (*(slice(None),) * axis, slice(*bounds))
    return _replaced(self, "slice_scatter", self._operand(src), lambda x: x[key])


def diagonal_scatter(self: T, src: Operand, offset: int = 0, dim1: int = 0, dim2: int = 1) -> T:
    """A copy with a diagonal replaced: what `diagonal` gives of it is `src`.

    >>> import tinygrad_nn as tg
    >>> tg.diagonal_scatter(tg.zeros(2, 2), tg.ones(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    return _replaced(self, "diagonal_scatter", self._operand(src), lambda x: x.diagonal(offset, dim1, dim2))


def _replaced(x: T, name: str, values: T, part: Any) -> T:
    """A copy whose part is written."""
    result = x.clone()
    view = part(result)
    if values.shape != view.shape:
        raise ShapeError(message(name, f"a source of shape {values.shape}", f"the part's shape, {view.shape}"))
    view._write(name, values.cast(x.dtype))
    return result
