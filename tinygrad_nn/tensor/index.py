"""Reading and writing places that data decides: gather, scatter, and `x[...]` in all its forms.

`x[key]` with numbers and slices is a slice; with arrays or masks it is a flat index (worked out on positions, so
every rule of NumPy holds) and one `take`. `x[key] = v` writes with `scatter` and gives the handle the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import index as as_int
from typing import Any, Literal, Self, TypeVar, overload

import numpy as np

from ..errors import ConfigError, DTypeError, IndexOutOfRange, NotIterable, ShapeError, TinygradError, message
from ..graph.graph import Shape
from ..ops.index import GATHER, INDEX_ADD, PLACE, SCATTER, SCATTER_ADD, TAKE, TAKEN
from ..ops.lookup import Called, check_range, out_of_range
from ..ops.movement import RESHAPE, SLICE, StridedSlice
from ..support.settings import shown, typed
from .arrays import array_of
from .context import uncounted
from .core import Core, Number, broadcast_shape, constant, is_plainly, mode, writing
from .inplace import InPlace
from .operators import Operand
from .positions import block_of, for_every_axis, is_traced, lines_of, mask_in, masked_write, places_of, written_out
from .shape import normal_axis

Index = Core | int | np.ndarray[Any, Any] | Sequence[Any]
T = TypeVar("T", bound=InPlace)
INDEX_SELECT, CALLED_INDEX_ADD, TAKE_ALONG_DIM, GETITEM, SETITEM = map(
    Called, ("index_select", "index_add", "take_along_dim", "getitem", "setitem")
)


class Indexed(InPlace):
    """Indexing."""

    __slots__ = ()

    def _positions(self, name: str, index: Any) -> Self:
        """An index or a mask as a tensor; lists and arrays of integers will do."""
        found: Self = index if isinstance(index, Core) else self.handle(constant(array_of(name, index)))  # type: ignore[assignment]
        return found

    def _as_line(self) -> Self:
        """This tensor; one without axes as a line of one element, which is what functions along an axis take it for."""
        return self if self.node.shape else self.apply(RESHAPE, shape=(1,))

    def _like(self, shape: Shape) -> Self:
        """This tensor as it was before `_as_line`."""
        return self if self.node.shape == shape else self.apply(RESHAPE, shape=shape)

    def _aligned(self, name: str, index: Index) -> Self:
        """Positions with as many axes as this tensor; NumPy would broadcast fewer."""
        at = self._positions(name, index)
        if max(at.ndim, 1) != max(self.ndim, 1) and 0 not in at.shape:
            raise ShapeError(message(name, f"an index of shape {at.shape} for {self.shape}", "as many axes"))
        return at

    def gather(self, dim: int, index: Index, *, sparse_grad: Any = False) -> Self:
        """out[i][j] = x[index[i][j]][j] for dim 0, and so on, as torch.gather: in the shape of the index. Gradients are
        dense, whatever `sparse_grad` says.

        >>> import tinygrad_nn as tg
        >>> tg.gather([[1, 2], [3, 4]], 1, [[0, 0], [1, 0]])
        tensor([[1, 1],
                [4, 3]])
        """
        axis = normal_axis("gather", dim, self.ndim)
        at = self._aligned("gather", index)
        if 0 in at.shape and at.ndim != self.ndim:
            return self.new_zeros(at.shape)
        return self._as_line().apply(GATHER, at._as_line(), axis=axis)._like(at.shape)

    @typed
    def scatter(
        self,
        dim: int,
        index: Index,
        src: Operand | None = None,
        *,
        value: Number | None = None,
        reduce: Literal["add", "multiply"] | None = None,
    ) -> Self:
        """A copy with out[index[i][j]][j] = src[i][j] for dim 0; the last write counts. A number as `src`, or `value`,
        is written everywhere. `reduce` adds or multiplies instead.

        >>> import tinygrad_nn as tg
        >>> tg.scatter(tg.zeros(3), 0, [2, 0], tg.tensor([5.0, 6.0]))
        tensor([6., 0., 5.])
        """
        given = value if src is None else src
        if given is None or (src is not None and value is not None):
            raise ConfigError(message("scatter", "no src" if given is None else "src and value", "one of them"))
        axis, at = normal_axis("scatter", dim, self.ndim), self._aligned("scatter", index)
        values = self._source("scatter", at, given)
        if reduce is not None:
            same: Any = self
            result: Self = same.scatter_reduce(axis, at, values, "sum" if reduce == "add" else "prod")
            return result
        if 0 in at.shape:
            return self.clone()
        return self._as_line().apply(SCATTER, at._as_line(), values._as_line(), axis=axis)._like(self.shape)

    def scatter_add(self, dim: int, index: Index, src: Operand) -> Self:
        """A copy with src[i][j] added at out[index[i][j]][j] for dim 0.

        >>> import tinygrad_nn as tg
        >>> tg.scatter_add(tg.zeros(3), 0, [0, 0, 2], tg.ones(3))
        tensor([2., 0., 1.])
        """
        axis, at = normal_axis("scatter_add", dim, self.ndim), self._aligned("scatter_add", index)
        values = self._source("scatter_add", at, src)
        if 0 in at.shape:
            return self.clone()
        whole = self._as_line()
        added = values._as_line().apply(SCATTER_ADD, at._as_line(), axis=axis, shape=whole.shape)
        return (whole + added)._like(self.shape)

    def _source(self, name: str, index: Core, src: Operand) -> Self:
        """The values for an index: as many of them as it has elements, from the beginning of each axis."""
        values = self._operand(src, name).cast(self.dtype)
        if values.shape == index.shape:
            return values
        if values.ndim == index.ndim and all(n >= m for n, m in zip(values.shape, index.shape, strict=True)):
            return values._cut({a: (0, 1, n) for a, n in enumerate(index.shape)})
        if values.ndim and values.numel() != 1:
            got = f"a source of shape {values.shape} for an index of shape {index.shape}"
            raise ShapeError(message(name, got, "a source that is no shorter"))
        return values._like(()).expand_to(index.shape)

    def index_select(self, dim: int, index: Index) -> Self:
        """The slices that `index` (int32 or int64, one axis or a number) names, along one axis.

        >>> import tinygrad_nn as tg
        >>> tg.index_select([[1, 2], [3, 4]], 0, [1, 1])
        tensor([[3, 4],
                [3, 4]])
        """
        at = self._positions("index_select", index)
        axis = normal_axis("index_select", dim, self.ndim)
        if at.ndim > 1 or not (self.ndim or at.shape in ((), (1,))):
            expected = "one axis" if self.ndim else "one number for a tensor without axes"
            raise ShapeError(message("index_select", f"an index of shape {at.shape}", expected))
        taken = self._as_line().apply(TAKE, at._as_line(), axis=axis, called=INDEX_SELECT)
        return taken if self.ndim else taken._like(())

    @typed
    def index_add(self, dim: int, index: Index, source: Operand, *, alpha: float | bool = 1) -> Self:
        """A copy with alpha times the slices of `source` added at the slices that `index` names.

        >>> import tinygrad_nn as tg
        >>> tg.index_add(tg.zeros(3), 0, [0, 0, 2], tg.ones(3))
        tensor([2., 0., 1.])
        """
        axis = normal_axis("index_add", dim, self.ndim)
        values = self._operand(source, "index_add")
        values = (values if is_plainly(alpha, 1) else values * alpha).cast(self.dtype)._as_line()
        at, whole = self._positions("index_add", index)._as_line(), self._as_line()
        expected = (*whole.shape[:axis], *at.shape, *whole.shape[axis + 1 :])
        if values.shape != expected:
            got = f"a source of shape {values.shape} and an index of shape {at.shape} for shape {self.shape}"
            raise ShapeError(message("index_add", got, f"a source of shape {expected}"))
        added = values.apply(INDEX_ADD, at, axis=axis, size=whole.shape[axis], called=CALLED_INDEX_ADD)
        return (whole + added)._like(self.shape)

    def masked_select(self, mask: Index) -> Self:
        """The elements where a mask holds, along one axis; the two broadcast. Reads the mask's values.

        >>> import tinygrad_nn as tg
        >>> tg.masked_select([1, 2, 3], [True, False, True])
        tensor([1, 3])
        """
        condition = self._condition("masked_select", mask)
        shape = broadcast_shape("masked_select", self.shape, condition.shape)
        return self.expand_to(shape)[condition.expand_to(shape)]

    def take(self, index: Index) -> Self:
        """Elements of the flattened tensor, in the shape of the index; negative numbers count from the end.

        >>> import tinygrad_nn as tg
        >>> tg.take([[1, 2], [3, 4]], [0, 3])
        tensor([1, 4])
        """
        flat = self.flatten()
        return flat.apply(TAKE, self._positions("take", index).apply(PLACE, size=flat.shape[0], called=TAKEN), axis=0)

    def take_along_dim(self, indices: Index, dim: int | None = None) -> Self:
        """As gather, with the other axes broadcast; of the flattened tensor without `dim`. Negative numbers count from
        the end.

        >>> import tinygrad_nn as tg
        >>> tg.take_along_dim([[3, 1], [2, 4]], [[1, 0], [0, 1]], dim=1)
        tensor([[1, 3],
                [2, 4]])
        """
        axis = 0 if dim is None else normal_axis("take_along_dim", dim, self.ndim)
        length = self.numel() if dim is None else self._length(axis)
        at = self._positions("take_along_dim", indices).apply(PLACE, size=length, called=TAKE_ALONG_DIM)
        if dim is None:
            flat = at.apply(RESHAPE, shape=(math.prod(at.shape),))
            return self.flatten().apply(GATHER, flat, axis=0)
        if at.ndim != self.ndim:
            got = f"shape {self.shape} and indices of shape {at.shape}"
            raise ShapeError(message("take_along_dim", got, "as many axes"))
        others = [(*shape[:axis], *shape[axis + 1 :]) for shape in (self.shape, at.shape)]
        common = broadcast_shape("take_along_dim", *others)
        own, other = ((*common[:axis], x.shape[axis], *common[axis:]) for x in (self, at))
        return self.expand_to(own).apply(GATHER, at.expand_to(other), axis=axis)

    @overload
    def nonzero(self, *, as_tuple: Literal[False] = False) -> Self: ...
    @overload
    def nonzero(self, *, as_tuple: Literal[True]) -> tuple[Self, ...]: ...
    @typed
    def nonzero(self, *, as_tuple: bool = False) -> Self | tuple[Self, ...]:
        """Positions (K, ndim) of the elements that are not 0, as int64; `as_tuple` gives a tensor for each axis, which
        together are an index. Reads the values.

        >>> import tinygrad_nn as tg
        >>> tg.nonzero([0, 5, 6])
        tensor([[1],
                [2]])
        """
        found = np.argwhere(self._value("nonzero")).astype(np.int64)
        if not as_tuple:
            return self.handle(constant(found))  # type: ignore[no-any-return]
        columns = found.T if self.shape else np.zeros((1, len(found)), np.int64)
        return tuple(self.handle(constant(np.array(column))) for column in columns)

    def __getitem__(self, key: Any) -> Self:
        parts = _written_plainly(key)
        if parts is not None:
            return self._sliced(parts)
        if mode.recorder is not None and is_traced(key):
            return self._looked_up(key)
        rows = _row_numbers(key, self.node.shape)
        if rows is not None:
            return self.apply(TAKE, self.handle(constant(rows)), axis=0, called=GETITEM)
        return self.flatten().apply(TAKE, self._places(key), axis=0)

    def _looked_up(self, key: Any) -> Self:
        """x[key] with positions that are not known yet."""
        found = mask_in(GETITEM, self, key)
        if found is not None:
            raise uncounted("getitem", "x[mask]")
        parts = written_out(GETITEM, key, self.shape)
        lines = lines_of(GETITEM, self, parts)
        if lines is not None:
            return lines  # type: ignore[no-any-return]
        block = block_of(GETITEM, self, parts)
        if block is None:
            return self.flatten().apply(TAKE, places_of(GETITEM, self, parts), axis=0, called=GETITEM)
        return block.base.apply(TAKE, block.index, axis=block.axis, called=GETITEM)  # type: ignore[no-any-return]

    def _sliced(self, parts: tuple[Any, ...]) -> Self:
        """Numbers, slices and None: at most one slice and one reshape."""
        bounds, shape = _cut_and_form(parts, self.node.shape)
        part = self if bounds is None else self._shared(SLICE, bounds=bounds)
        return part if shape is None else part._shared(RESHAPE, shape=shape)

    def _places(self, key: Any, called: Called = GETITEM) -> Self:
        """Positions in the flattened tensor of what a key names, as int64: NumPy applied to positions."""
        positions = np.arange(self.numel()).reshape(self.shape)
        try:
            places = positions[_as_numpy(key)]
        except IndexError as error:
            _check_bounds(_as_numpy(key), self.shape, called)
            raise IndexOutOfRange(
                message(called.name, f"{error} for shape {self.shape}", "an index inside of the tensor")
            ) from None
        return self.handle(constant(np.asarray(places)))  # type: ignore[no-any-return]

    def __setitem__(self, key: Any, value: Operand) -> None:
        source = self._operand(value).cast(self.dtype)
        parts = _written_plainly(key)
        if parts is not None:
            part = self._sliced(parts)
            part._write("setitem", _fitted(source, part.shape))
            return
        # Written with scatter, so gradients flow to the value and to what is not overwritten.
        if mode.recorder is not None and is_traced(key):
            self._put(key, source)
            return
        places = self._places(key, SETITEM)
        with writing():
            flat = self.flatten().scatter(0, places.flatten(), _fitted(source, places.shape).flatten())
            self._write("setitem", flat.reshape(self.shape))

    def _put(self, key: Any, source: Self) -> None:
        """x[key] = source with positions that are not known yet."""
        found = mask_in(SETITEM, self, key)
        if found is not None:
            found[0]._write("setitem", masked_write(SETITEM, *found, source))
            return
        parts = written_out(SETITEM, key, self.shape)
        block = block_of(SETITEM, self, parts)
        if block is None or block.merged:
            places = places_of(SETITEM, self, parts)
            flat = self.flatten().scatter(0, places.flatten(), _fitted(source, places.shape).flatten())
            self._write("setitem", flat.reshape(self.shape))
            return
        part, axis, index, _ = block
        before, after = part.shape[:axis], part.shape[axis + 1 :]
        values = _fitted(source, (*before, *index.shape, *after)).reshape((*before, index.numel(), *after))
        at = index.reshape((index.numel(), *(1,) * len(after))).expand_to(values.shape)
        part._write("setitem", part.apply(SCATTER, at, values, axis=axis, called=SETITEM))

    def __iter__(self) -> Iterator[Self]:
        if not self.shape:
            raise NotIterable(message("iter", "a 0-d tensor", "at least one axis"))
        return iter(self.unbind(0))

    def __contains__(self, value: Any) -> bool:
        found: Any = self == value
        return isinstance(found, Core) and bool(found._value("in").any())


def _fitted(source: T, shape: Shape) -> T:
    """The value for elements of a shape; leading axes of length 1 may go, as in PyTorch."""
    extra = source.ndim - len(shape)
    if extra > 0 and source.shape[:extra] == (1,) * extra:
        source = source.reshape(source.shape[extra:])
    try:
        return source.expand_to(shape)
    except ShapeError:
        expected = f"a value that broadcasts to {shape}"
        raise ShapeError(message("setitem", f"a value of shape {source.shape} for {shape}", expected)) from None


def _written_plainly(key: Any) -> tuple[Any, ...] | None:
    """The parts of a key of integers, slices, None and Ellipsis, slices as (start, stop, step); None for other keys."""
    if type(key) is int:
        return (key,)
    parts = list(key) if isinstance(key, tuple) else [key]
    for k, part in enumerate(parts):
        if type(part) is int or part is None or part is Ellipsis:
            continue
        if type(part) is slice:
            parts[k] = _bounds_of(part)
        elif isinstance(part, Core):
            if part.ndim or part.dtype.kind != "i" or mode.recorder is not None:
                return None
            parts[k] = int(part.node.value)
        elif isinstance(part, (bool, np.bool_, np.ndarray)) or not hasattr(part, "__index__"):
            return None
        else:
            try:
                parts[k] = as_int(part)
            except TinygradError:
                raise
            except Exception:  # of a foreign __index__: no index, which is said below
                return None
    return tuple(parts)


def _bounds_of(part: slice) -> tuple[int | None, int | None, int | None]:
    """Start, stop and step, as Python's own integers."""
    found = (part.start, part.stop, part.step)
    try:
        start, stop, step = [n if n is None or type(n) is int else as_int(n) for n in found]
    except TypeError:
        step = 0
    if step == 0:
        got, expected = ":".join(map(shown, found)), "integers (or nothing), and a step that is not 0"
        raise IndexOutOfRange(message("getitem", f"the slice {got}", expected)) from None
    return start, stop, step


@lru_cache(maxsize=4096)
def _cut_and_form(parts: tuple[Any, ...], shape: Shape) -> tuple[StridedSlice | None, Shape | None]:
    """What a plain key takes of a shape: (start, step, length) for each axis, and the shape of that with an axis for
    each None and none for a number. None stands for nothing to be done; never both, since what comes out is a view.
    """
    bounds: list[tuple[int, int, int]] = []
    form: list[int] = []
    for part in for_every_axis("getitem", list(parts), shape):
        if part is None:
            form.append(1)
            continue
        length = shape[len(bounds)]
        if isinstance(part, int):
            if not -length <= part < length:
                got = f"index {part} on axis {len(bounds)} of shape {shape}"
                raise IndexOutOfRange(message("getitem", got, f"{-length} <= index < {length}"))
            bounds.append((part % length, 1, 1))
        else:
            start, stop, step = (part if isinstance(part, slice) else slice(*part)).indices(length)
            count = len(range(start, stop, step))
            bounds.append((start if count else 0, step, count))
            form.append(count)
    if all(n == count and step == 1 for n, (_, step, count) in zip(shape, bounds, strict=True)):
        return None, tuple(form)
    return tuple(bounds), None if form == [count for _, _, count in bounds] else tuple(form)


def _check_bounds(parts: Sequence[Any], shape: Shape, called: Called) -> None:
    """Raise IndexOutOfRange for the first array of a key that has a number outside of its axis."""
    taken = [
        0 if part is None or part is Ellipsis or isinstance(part, bool) else part.ndim if _is_mask(part) else 1
        for part in parts
    ]
    axis, rest = 0, len(shape) - sum(taken)
    for part, count in zip(parts, taken, strict=True):
        axis += rest if part is Ellipsis else 0
        if isinstance(part, np.ndarray) and not _is_mask(part) and axis < len(shape):
            size = shape[axis]
            if ((part < -size) | (part >= size)).any():
                raise out_of_range(called, part, size, -size) from None
        axis += count


def _row_numbers(key: Any, shape: Shape) -> np.ndarray[Any, Any] | None:
    """A copy of a key that is one array of integers, counted from the start; None for any other key."""
    if not shape or not isinstance(key, (Core, np.ndarray, list)):
        return None
    (array,) = _as_numpy(key)
    if array.dtype.kind != "i":
        return None
    rows: np.ndarray[Any, Any] = np.where(array < 0, array + shape[0], array).astype(np.int64)
    check_range(GETITEM, rows, shape[0], array)
    return rows


def _is_mask(part: Any) -> bool:
    return isinstance(part, np.ndarray) and part.dtype == bool


def _as_numpy(key: Any) -> Any:
    """A key with its tensors and lists as arrays; raises DTypeError for what cannot index."""
    parts = key if isinstance(key, tuple) else (key,)
    converted: list[Any] = []
    for part in parts:
        if isinstance(part, (Core, list, range, np.ndarray)):
            try:
                array = np.asarray(part._value("getitem") if isinstance(part, Core) else part)
            except (TypeError, ValueError):
                hint = "tensors join with tg.stack"
                raise DTypeError(message("getitem", f"the index {shown(part)}", "rows of one length", hint)) from None
            array = array.astype(np.int64) if array.size == 0 and not isinstance(part, (Core, np.ndarray)) else array
            if array.dtype.kind not in "iub":
                hint = "convert it with .long()"
                raise DTypeError(message("getitem", f"an index of dtype {array.dtype}", "integers or bools", hint))
            converted.append(array)
        elif part is None or part is Ellipsis or isinstance(part, (slice, bool, int, np.integer, np.bool_)):
            converted.append(part)
        else:
            got = f"an index of type {type(part).__name__}"
            raise DTypeError(message("getitem", got, "integers, slices, None, ..., masks or integer arrays"))
    return tuple(converted)
