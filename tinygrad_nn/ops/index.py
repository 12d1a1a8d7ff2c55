"""Primitives whose reading or writing place comes from data. Indices are checked against the axis: negative or too
large is an error, in the name of the function that was `called` (`lookup.py`).

take / index_add work with whole slices along one axis and are each other's adjoint; gather / scatter_add do so element
by element; scatter overwrites (where an element is written more than once the last write counts).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np

from ..errors import ShapeError, message
from ..graph.graph import Arg, Case, DType, Op, Shape
from ..graph.scalar import Expr
from .lookup import Called, check_range
from .rules import (
    ANY,
    BOOL,
    INT64,
    LENGTHS,
    SELECT_LIMIT,
    CountingSort,
    Rule,
    Scatter,
    chance,
    check_index,
    check_kinds,
    of_sum,
    pick,
    picked,
    vary_axis,
)

TAKEN, INDEX_ADDED, GATHERED, SCATTER_ADDED, SCATTERED, PLACED = map(
    Called, ("take", "index_add", "gather", "scatter_add", "scatter", "place")
)


def _needs_axis(name: str, shape: Shape, axis: int) -> None:
    if not 0 <= axis < len(shape):
        raise ShapeError(message(name, f"axis {axis} for shape {shape}", "an axis of the operand"))


def _index_dtype(name: str) -> Rule:
    """dtype rule of (values, index, *further values), in the name of whoever looks something up."""

    def rule(x: DType, index: DType, *others: DType, **attrs: Any) -> DType:
        called = str(attrs.get("called", name))
        check_index(called, index)
        check_kinds(called, (x, *others), ANY)
        return x

    return rule


def _take(x: Any, index: Any, axis: int, called: Called = TAKEN) -> Any:
    check_range(called, index, x.shape[axis])
    return x.take(index, axis)


def _take_shape(x: Shape, index: Shape, axis: int, called: Called = TAKEN) -> Shape:
    _needs_axis("take", x, axis)
    return x[:axis] + index + x[axis + 1 :]


def _index_add(values: Any, index: Any, axis: int, size: int, called: Called = INDEX_ADDED) -> Any:
    check_range(called, index, size)
    after = values.shape[axis + index.ndim :]
    result = np.zeros((*values.shape[:axis], size, *after), values.dtype)
    np.add.at(result, (slice(None),) * axis + (index,), values)
    return result


def index_add_onnx(to: Any, values: Any, index: Any, axis: int, size: int, called: Called = INDEX_ADDED) -> Any:
    """The axes of the index are moved to the front, and what they become moved back."""
    after = axis + len(index.shape)
    rest = (*range(axis), *range(after, len(values.shape)))
    numbers = values.name if values.dtype != BOOL else to("Cast", values, to=INT64)
    moved = to("Transpose", numbers, perm=(*range(axis, after), *rest))
    dtype = INT64 if values.dtype == BOOL else values.dtype
    zeros = to.filled(0, (size, *(values.shape[a] for a in rest)), dtype)
    places = to("Unsqueeze", to("Cast", index, to=INT64), [-1])
    made = to("ScatterND", zeros, places, moved, reduction="add")
    found = to("Transpose", made, perm=(*range(1, axis + 1), 0, *range(axis + 1, len(rest) + 1)))
    return found if dtype == values.dtype else to("Cast", found, to=BOOL)


def _index_add_shape(values: Shape, index: Shape, axis: int, size: int, called: Called = INDEX_ADDED) -> Shape:
    if values[axis : axis + len(index)] != index:
        raise ShapeError(
            message("index_add", f"values {values} for an index {index}", f"the index's shape from axis {axis} on")
        )
    return (*values[:axis], size, *values[axis + len(index) :])


def _read_at(read: Any, place: tuple[Any, ...], position: Any, axis: int, length: int) -> Any:
    """The element of operand 0 at `place`, where `position` stands for the index on the axis."""
    if length <= SELECT_LIMIT:
        return picked(read, 0, position, place, axis, length)
    return read(0, (*place[:axis], position, *place[axis + 1 :]))


def _take_emit(read: Any, at: Any, x: Shape, index: Shape, axis: int, called: Called = TAKEN) -> Any:
    after = axis + len(index)
    position = read.position(1, at[axis:after])
    return _read_at(read, (*at[:axis], read.zero, *at[after:]), position, axis, x[axis])


def _gather_emit(read: Any, at: Any, x: Shape, index: Shape, axis: int, called: Called = GATHERED) -> Any:
    return _read_at(read, at, read.position(1, at), axis, x[axis])


def _positions(shape: Shape, size: int) -> Arg:
    return Arg(0, size, dtype="int", shape=shape)


def _vary_take(rng: np.random.Generator, x: Shape) -> Case | None:
    if not x:
        return None
    axis, index = int(rng.integers(len(x))), tuple(pick(rng, LENGTHS) for _ in range(int(rng.integers(0, 3))))
    return Case((Arg(shape=x), _positions(index, x[axis])), {"axis": axis})


def _vary_index_add(rng: np.random.Generator, x: Shape) -> Case | None:
    if not x:
        return None
    axis, size = int(rng.integers(len(x))), int(rng.integers(1, 20))
    index = x[axis : int(rng.integers(axis, len(x) + 1))]
    return Case((Arg(shape=x), _positions(index, size)), {"axis": axis, "size": size})


def _vary_gather(rng: np.random.Generator, x: Shape) -> Case | None:
    if not x:
        return None
    axis = int(rng.integers(len(x)))
    lines = tuple(max(0, n - chance(rng, 0.2)) for n in x)
    lines = (*lines[:axis], pick(rng, LENGTHS), *lines[axis + 1 :])
    return Case((Arg(shape=x), _positions(lines, x[axis])), {"axis": axis})


def _vary_scatter_add(rng: np.random.Generator, x: Shape) -> Case | None:
    if not x:
        return None
    axis, size = int(rng.integers(len(x))), int(rng.integers(1, 20))
    return Case((Arg(shape=x), _positions(x, size)), {"axis": axis, "shape": (*x[:axis], size, *x[axis + 1 :])})


def _vary_scatter(rng: np.random.Generator, x: Shape) -> Case | None:
    case = _vary_gather(rng, x)
    return case and Case((*case.args, Arg(shape=case.args[1].shape)), case.attrs)


def _error_of(numpy: Rule) -> Rule:
    """Of values that are added up where they meet."""
    return of_sum(numpy, lambda values, index, **attrs: numpy(np.ones_like(values), index, **attrs))


ROWS = Arg(0, 3, dtype="int", shape=(2, 2))

# x[..., index, ...] along one axis: the index's shape replaces that axis.
TAKE: Op = Op(
    "take",
    "index",
    shape=_take_shape,
    dtype=_index_dtype("take"),
    numpy=_take,
    vjp=(
        lambda g, out, x, index, axis, called=TAKEN: g.apply(
            INDEX_ADD, index, axis=axis, size=x.shape[axis], called=called
        ),
        None,
    ),
    emit=_take_emit,
    domain=(
        Case((Arg(shape=(3, 4)), ROWS), {"axis": 0}),
        Case((Arg(shape=(2, 3)), Arg(0, 3, dtype="int", shape=(5,))), {"axis": 1}),
        Case((Arg(shape=(3,)), Arg(0, 3, dtype="int", shape=())), {"axis": 0}),
        Case((Arg(shape=(3, 2)), Arg(0, 3, dtype="int", shape=(0,))), {"axis": 0}),
    ),
    linear=True,
    vary=_vary_take,
    onnx=lambda to, x, index, axis, called=TAKEN: to("Gather", x, index, axis=axis),
)

# Zeros with `size` slices along the axis, to which the values are added at their index: the adjoint of take.
INDEX_ADD: Op = Op(
    "index_add",
    "index",
    shape=_index_add_shape,
    dtype=_index_dtype("index_add"),
    numpy=_index_add,
    vjp=(
        lambda g, out, values, index, axis, size, called=INDEX_ADDED: g.apply(TAKE, index, axis=axis, called=called),
        None,
    ),
    emit=Scatter(
        values=0,
        start=None,
        add=True,
        target=lambda read, at, values, index, axis, size, called=INDEX_ADDED: (
            *at[:axis],
            read.position(1, at[axis : axis + len(index)]),
            *at[axis + len(index) :],
        ),
    ),
    domain=(
        Case((Arg(shape=(2, 2, 4)), ROWS), {"axis": 0, "size": 3}),
        Case((Arg(shape=(2, 5)), Arg(0, 3, dtype="int", shape=(5,))), {"axis": 1, "size": 3}),
    ),
    linear=True,
    vary=_vary_index_add,
    error=_error_of(_index_add),
    onnx=index_add_onnx,
)


@lru_cache(maxsize=256)
def _grid(shape: Shape, axis: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Open index grids for the axes before one, and for those after it."""
    grids = list(np.ix_(*(np.arange(n) for n in shape)))
    for grid in grids:
        grid.flags.writeable = False
    return tuple(grids[:axis]), tuple(grids[axis + 1 :])


def places(index: Any, axis: int) -> tuple[Any, ...]:
    """What indexes an array at the positions that `index` names along one axis."""
    before, after = _grid(index.shape, axis)
    return (*before, index, *after)


def _gather(x: Any, index: Any, axis: int, called: Called = GATHERED) -> Any:
    check_range(called, index, x.shape[axis])
    return x[places(index, axis)]


def _gather_shape(x: Shape, index: Shape, axis: int, called: Called = GATHERED) -> Shape:
    _needs_axis("gather", x, axis)
    if len(index) != len(x) or any(m > n for a, (m, n) in enumerate(zip(index, x, strict=True)) if a != axis):
        raise ShapeError(
            message("gather", f"an index {index} for shape {x}", f"no longer than the operand except on axis {axis}")
        )
    return index


def _scatter_add(values: Any, index: Any, axis: int, shape: Shape, called: Called = SCATTER_ADDED) -> Any:
    check_range(called, index, shape[axis])
    result = np.zeros(shape, values.dtype)
    if index.shape[axis] == 1:  # one element per line cannot meet another
        result[places(index, axis)] = values
    else:
        np.add.at(result, places(index, axis), values)
    return result


def _scatter_add_shape(values: Shape, index: Shape, axis: int, shape: Shape, called: Called = SCATTER_ADDED) -> Shape:
    _gather_shape(shape, index, axis)
    if values != index:
        raise ShapeError(message("scatter_add", f"values {values} for an index {index}", "equal shapes"))
    return shape


def _scatters_one(values: Shape, index: Shape, axis: int, shape: Shape, called: Called = SCATTER_ADDED) -> bool:
    """Whether every line gets one element and is short."""
    whole = all(n == m for a, (n, m) in enumerate(zip(index, shape, strict=True)) if a != axis)
    return bool(whole and index[axis] == 1 and shape[axis] <= SELECT_LIMIT)


def _scatter_one(
    read: Any, at: Any, values: Shape, index: Shape, axis: int, shape: Shape, called: Called = SCATTER_ADDED
) -> Any:
    """One element per line, on a short axis: each place of the line compares."""
    line = (*at[:axis], read.zero, *at[axis + 1 :])
    return read.position(1, line).eq(read.number(at[axis])).where(read(0, line), 0)


def _scatter_add_onnx(to: Any, values: Any, index: Any, axis: int, shape: Shape, called: Called = SCATTER_ADDED) -> Any:
    """Bools that meet are counted."""
    if values.dtype != BOOL:
        return to("ScatterElements", to.filled(0, shape, values.dtype), index, values, axis=axis, reduction="add")
    numbers, zeros = to("Cast", values, to=INT64), to.filled(0, shape, INT64)
    return to("Cast", to("ScatterElements", zeros, index, numbers, axis=axis, reduction="add"), to=BOOL)


PICKS = Arg(0, 3, dtype="int", shape=(2, 4))

# out[i, j] = x[index[i, j], j] (for axis 0), as torch.gather.
GATHER: Op = Op(
    "gather",
    "index",
    shape=_gather_shape,
    dtype=_index_dtype("gather"),
    numpy=_gather,
    vjp=(
        lambda g, out, x, index, axis, called=GATHERED: g.apply(
            SCATTER_ADD, index, axis=axis, shape=x.shape, called=called
        ),
        None,
    ),
    emit=_gather_emit,
    domain=(
        Case((Arg(shape=(3, 4)), PICKS), {"axis": 0}),
        Case((Arg(shape=(2, 3)), Arg(0, 3, dtype="int", shape=(2, 1))), {"axis": 1}),
        Case((Arg(shape=(3,)), Arg(0, 3, dtype="int", shape=(0,))), {"axis": 0}),
    ),
    linear=True,
    vary=_vary_gather,
    onnx=lambda to, x, index, axis, called=GATHERED: to("GatherElements", x, index, axis=axis),
)

# Zeros of `shape` to which values are added at their index: the adjoint of gather.
SCATTER_ADD: Op = Op(
    "scatter_add",
    "index",
    shape=_scatter_add_shape,
    dtype=_index_dtype("scatter_add"),
    numpy=_scatter_add,
    vjp=(
        lambda g, out, values, index, axis, shape, called=SCATTER_ADDED: g.apply(
            GATHER, index, axis=axis, called=called
        ),
        None,
    ),
    emit=Scatter(
        values=0,
        start=None,
        add=True,
        target=lambda read, at, values, index, axis, shape, called=SCATTER_ADDED: (
            *at[:axis],
            read.position(1, at),
            *at[axis + 1 :],
        ),
        inlines=_scatters_one,
        inline=_scatter_one,
        alone=lambda values, index, axis, shape, called=SCATTER_ADDED: bool(index[axis] == 1),
    ),
    domain=(
        Case((Arg(shape=(2, 4)), PICKS), {"axis": 0, "shape": (3, 4)}),
        Case((Arg(shape=(2, 1)), Arg(0, 3, dtype="int", shape=(2, 1))), {"axis": 1, "shape": (2, 3)}),
    ),
    linear=True,
    vary=_vary_scatter_add,
    error=_error_of(_scatter_add),
    onnx=_scatter_add_onnx,
)


def _scatter(x: Any, index: Any, values: Any, axis: int, called: Called = SCATTERED) -> Any:
    check_range(called, index, x.shape[axis])
    result = x.copy()
    result[places(index, axis)] = values
    return result


def _scatter_shape(x: Shape, index: Shape, values: Shape, axis: int, called: Called = SCATTERED) -> Shape:
    _gather_shape(x, index, axis)
    if values != index:
        raise ShapeError(message("scatter", f"values {values} for an index {index}", "equal shapes"))
    return x


# x with values written at their index, as torch.scatter. With repeated indices the gradient of the overwritten values
# is not defined.
SCATTER: Op = Op(
    "scatter",
    "index",
    shape=_scatter_shape,
    dtype=_index_dtype("scatter"),
    numpy=_scatter,
    vjp=(
        lambda g, out, x, index, values, axis, called=SCATTERED: g.apply(
            SCATTER, index, values.new_zeros(values.shape), axis=axis, called=called
        ),
        None,
        lambda g, out, x, index, values, axis, called=SCATTERED: g.apply(GATHER, index, axis=axis, called=called),
    ),
    emit=Scatter(
        values=2,
        start=0,
        add=False,
        target=lambda read, at, x, index, values, axis, called=SCATTERED: (
            *at[:axis],
            read.position(1, at),
            *at[axis + 1 :],
        ),
    ),
    domain=(Case((Arg(shape=(3, 2)), Arg(0, 3, dtype="int", shape=(1, 2)), Arg(shape=(1, 2))), {"axis": 0}),),
    linear=True,
    vary=_vary_scatter,
    onnx=lambda to, x, index, values, axis, called=SCATTERED: to("ScatterElements", x, index, values, axis=axis),
)


def _argsort_dtype(x: DType, **attrs: Any) -> DType:
    check_kinds("argsort", (x,), ANY)
    return INT64


MANY: Final = 1024  # elements of a line from which looking for equal ones costs less than keeping their order


def _stable(x: Any, axis: int) -> Any:
    """The order in which equal elements stay. Where none are equal any order is, and a faster one is made."""
    if x.dtype.kind == "f" and x.shape[axis] >= MANY:
        order = np.argsort(x, axis=axis)
        ordered = np.moveaxis(np.take_along_axis(x, order, axis), axis, 0)
        if (ordered[:-1] < ordered[1:]).all():  # not where there is a NaN
            return order
    return np.argsort(x, axis=axis, kind="stable")


def _argsort(x: Any, axis: int, descending: bool) -> Any:
    """Stable order; NaN counts as largest. Descending is the reverse of the stable ascending order of the reversed
    line.
    """
    if not descending:
        return _stable(x, axis)
    reversed_order = _stable(np.flip(x, axis), axis)
    return x.shape[axis] - 1 - np.flip(reversed_order, axis)


def _argsort_shape(x: Shape, axis: int, descending: bool) -> Shape:
    _needs_axis("argsort", x, axis)
    return x


def _before(x: Expr, y: Expr, tie: Expr, axis: int, descending: bool) -> Expr:
    """Whether x comes before y; NaN is the largest number."""
    first, second = (y, x) if descending else (x, y)
    less = ~first & second if x.dtype == BOOL else first < second
    ordered = less | (second.ne(second) & first.eq(first))
    equal = x.eq(y) | (x.ne(x) & y.ne(y))
    return ordered | (equal & tie)


def _key(x: Expr, axis: int, descending: bool) -> Expr | None:
    """An integer in the place of a number: the bits of a float rise with it, and fall where it is negative."""
    if x.dtype == INT64:
        return None
    if x.dtype.kind != "f":
        return ~x.to(INT64) if descending else x.to(INT64)
    bits = x.eq(0).where(0, x).bits()
    most = np.iinfo(bits.dtype).max
    rising = bits ^ ((bits >> (8 * x.dtype.itemsize - 1)) & most)
    key = x.eq(x).where(rising, most - 1).to(INT64)
    return ~key if descending else key


def _argsort_onnx(to: Any, x: Any, axis: int, descending: bool) -> Any:
    """All elements as the largest, or smallest; of equal ones the first stands first."""
    numbers = to("Cast", x, to=INT64) if x.dtype == BOOL else x
    return to("TopK", numbers, [x.shape[axis]], axis=axis, largest=int(descending), count=2)[1]


ARGSORT = Op(
    "argsort",
    "index",
    shape=_argsort_shape,
    dtype=_argsort_dtype,
    numpy=_argsort,
    vjp=(None,),
    emit=CountingSort(_before, _key),
    domain=tuple(
        Case((Arg(shape=(2, 5), apart=True),), {"axis": axis, "descending": down})
        for axis, down in ((0, False), (1, True))
    ),
    vary=vary_axis("descending"),
    onnx=_argsort_onnx,
)


def _place(index: Any, size: int, called: Called = PLACED) -> Any:
    check_range(called, np.where(index < 0, index + size, index), size, index)
    return np.where(index < 0, index + np.int64(size), index)


def _place_dtype(index: DType, size: int, called: Called = PLACED) -> DType:
    check_index(called.name, index)
    return INT64


def _place_emit(read: Any, at: Any, index: Shape, size: int, called: Called = PLACED) -> Any:
    position = read.position(0, at, size, -size)
    return (position < 0).where(position + size, position)


def _vary_place(rng: np.random.Generator, x: Shape) -> Case:
    size = int(rng.integers(1, 20))
    return Case((Arg(-size, size, dtype="int", shape=x),), {"size": size})


def _place_onnx(to: Any, index: Any, size: int, called: Called = PLACED) -> Any:
    wide = to("Cast", index, to=INT64)
    return to("Where", to("Less", index, 0), to("Add", wide, to("Squeeze", [size], [0])), wide)


# Positions on an axis of `size`, those that are negative counted from its end, as positions counted from its beginning.
PLACE: Op = Op(
    "place",
    "index",
    shape=lambda index, size, called=PLACED: index,
    dtype=_place_dtype,
    numpy=_place,
    vjp=(None,),
    emit=_place_emit,
    domain=(Case((Arg(-3, 3, dtype="int", shape=(2, 4)),), {"size": 3}),),
    vary=_vary_place,
    follows=lambda varies, out, index, size, called=PLACED: not varies(size),
    onnx=_place_onnx,
)

OPS = (TAKE, INDEX_ADD, GATHER, SCATTER_ADD, SCATTER, ARGSORT, PLACE)
