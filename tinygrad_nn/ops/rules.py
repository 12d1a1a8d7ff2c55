"""Shape rules, dtype rules and constructors that blocks of the op table share. Imports only the graph's data types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from ..errors import DTypeError, ShapeError, message
from ..graph.graph import Arg, Case, DType, Node, Op, Shape
from ..graph.scalar import BOOL as BOOL
from ..graph.scalar import FLOAT32 as FLOAT32
from ..graph.scalar import FLOAT64 as FLOAT64
from ..graph.scalar import INT32 as INT32
from ..graph.scalar import INT64 as INT64
from ..graph.scalar import Expr, param, walk

DTYPES = (BOOL, INT32, INT64, FLOAT32, FLOAT64)

Rule = Callable[..., Any]


def same_shape(name: str) -> Callable[..., Shape]:
    """All operands have one shape, which is the result's: broadcasting is a node of its own."""

    def rule(*shapes: Shape, **attrs: Any) -> Shape:
        for shape in shapes[1:]:
            if shape != shapes[0]:
                got = " and ".join(map(str, shapes))
                raise ShapeError(message(name, f"shapes {got}", "equal shapes", "broadcast the operands first"))
        return shapes[0]

    return rule


def same_dtype(name: str, *kinds: str) -> Callable[..., DType]:
    """All operands have one dtype, of the NumPy kinds given ("f" float, "i" int, "b" bool), which is the result's."""

    def rule(*dtypes: DType, **attrs: Any) -> DType:
        check_kinds(name, dtypes, kinds)
        return dtypes[0]

    return rule


def gives_bool(name: str, *kinds: str) -> Callable[..., DType]:
    """Operands of one dtype; the result is bool."""

    def rule(*dtypes: DType, **attrs: Any) -> DType:
        check_kinds(name, dtypes, kinds)
        return BOOL

    return rule


def check_kinds(name: str, dtypes: tuple[DType, ...], kinds: tuple[str, ...]) -> None:
    """Raise DTypeError unless all dtypes are equal and of one of the kinds."""
    first = dtypes[0]
    if first.kind in kinds and dtypes.count(first) == len(dtypes):
        return
    got = " and ".join(dtype.name for dtype in dtypes)
    if any(dtype != first for dtype in dtypes):
        raise DTypeError(message(name, f"dtypes {got}", "equal dtypes", "convert one with .to(dtype)"))
    words = {"f": "a float", "i": "an integer", "b": "bool"}
    expected = " or ".join(words[kind] for kind in kinds)
    raise DTypeError(message(name, f"dtype {got}", f"{expected} dtype", "convert it with .to(dtype)"))


def check_index(name: str, dtype: DType) -> None:
    """Raise DTypeError unless the dtype can index."""
    if dtype.kind != "i":
        raise DTypeError(
            message(name, f"an index of dtype {dtype.name}", "int32 or int64", "convert it with .to(tg.int64)")
        )


@dataclass(frozen=True, slots=True)
class Monoid:
    """How a reduction folds: `combine` of two results, associative and commutative, from `identity(dtype)` on. Partial
    results are combined too, so what is done to each element first is `element`.
    """

    identity: Callable[[DType], float]
    combine: Callable[[Expr, Expr], Expr]
    element: Callable[[Expr], Expr] = lambda x: x


SELECT_LIMIT: Final = 8  # along axes up to this long, compiled code picks an element by comparing with each position


@dataclass(frozen=True, slots=True)
class Scatter:
    """How an op writes the elements of one operand to places that another one names.

    The result begins as operand `start`, or as zeros. `target(read, at, *shapes, **attrs)` is the place of element `at`
    of operand `values`; elements are written in order, or with `add` added up, but for those that are `alone(*shapes,
    **attrs)`, which keep the sign of a zero. Where `inlines(*shapes, **attrs)`, an element of the result is cheaper as
    an expression, which `inline(read, index, *shapes, **attrs)` gives.
    """

    values: int
    start: int | None
    add: bool
    target: Callable[..., tuple[Any, ...]]
    inlines: Callable[..., bool] = lambda *shapes, **attrs: False
    inline: Callable[..., Expr] | None = None
    alone: Callable[..., bool] = lambda *shapes, **attrs: False


@dataclass(frozen=True, slots=True)
class Concatenation:
    """An op whose operands lie side by side in its result.

    `element(read, index, *shapes, **attrs)` is one element; `axis(**attrs)` the axis along which operand follows
    operand, so that a result in memory is written operand by operand.
    """

    element: Callable[..., Expr]
    axis: Callable[..., int]


@dataclass(frozen=True, slots=True)
class CountingSort:
    """How an op orders a line: `before(x, y, tie, **attrs)`, `tie` being whether x stands before y in the operand.

    `key(x, **attrs)` is an int64 above the smallest one that rises in that order, and is equal where only `tie` counts;
    None of a dtype that has no such.
    """

    before: Callable[..., Expr]
    key: Callable[..., Expr | None]


@dataclass(frozen=True, slots=True)
class Part:
    """Some elements of a contraction, at `first + step * i` for every i inside of `shape`; each is a sum of products
    over loops of `lengths`.

    `factors(i, at)` says what is multiplied at round `at` of the loops: the index of each operand, and its `guards`
    ((number, low, high), ...), as `read` takes them.
    """

    first: tuple[int, ...]
    step: tuple[int, ...]
    shape: Shape
    lengths: Shape
    factors: Callable[[Any, Any], tuple[tuple[Any, Any], ...]]


def picked(read: Any, operand: int, position: Expr, index: tuple[Any, ...], axis: int, length: int) -> Expr:
    """The element at a position that comes from data, by comparisons: nothing is read outside of the operand."""

    def at(place: int) -> Expr:
        x: Expr = read(operand, (*index[:axis], read.zero + place, *index[axis + 1 :]))
        return x

    result = at(0)
    for place in range(1, length):
        result = position.eq(place).where(at(place), result)
    return result


REAL = Arg()
NUMBER = ("f", "i")
ANY = ("f", "i", "b")


def ulps(count: float) -> Rule:
    """An error of that many units in the last place."""

    def error(out: Any, *inputs: Any, **attrs: Any) -> Any:
        info = np.finfo(out.dtype)
        size = np.maximum(np.abs(out) * (count * float(info.eps)), float(info.smallest_subnormal) * 2)
        return np.where(out == 0, 0, size)

    return error


def of_sum(numpy: Rule, terms: Rule) -> Rule:
    """The error of a sum in an order that is free: a rounding for each of the `terms(*inputs, **attrs)`, in the sum of
    the absolute values.
    """

    def error(out: Any, *inputs: Any, **attrs: Any) -> Any:
        count = terms(*inputs, **attrs)
        positive = [np.abs(x) if x.dtype.kind == "f" else x for x in inputs]
        return np.where(count > 1, (count + 1) * roundoff(out) * numpy(*positive, **attrs), 0)

    return error


def roundoff(x: Any) -> float:
    """The largest relative error of one rounding."""
    return float(np.finfo(x.dtype).eps) / 2


# For random programs: lengths that fill vectors, or leave one over; how long an array may be is not said here.
LENGTHS: Final = (0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 33)


def pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    """One of several."""
    return options[int(rng.integers(len(options)))]


def chance(rng: np.random.Generator, part: float) -> bool:
    """True that often."""
    return bool(rng.random() < part)


def vary_axis(*also: str, operands: int = 1) -> Callable[[np.random.Generator, Shape], Case | None]:
    """Operands of one shape, along one of its axes; `also` are attributes that are True or False."""

    def vary(rng: np.random.Generator, x: Shape) -> Case | None:
        if not x:
            return None
        attrs = {"axis": int(rng.integers(len(x))), **{name: chance(rng, 0.5) for name in also}}
        return Case((Arg(shape=x),) * operands, attrs)

    return vary


SLOW = {"div": 8, "sqrt": 8, "quotient": 16, "rem": 16}  # as many others begin while one of these is worked on


def op_cost(node: Node) -> int:
    """Scalar operations of an elementwise op; a division counts as those that could be done meanwhile."""
    return _op_cost(node.op.emit, tuple(operand.dtype for operand in node.inputs), tuple(node.attrs.items()))


@lru_cache(maxsize=1024)
def _op_cost(emit: Any, dtypes: tuple[DType, ...], attrs: tuple[tuple[str, Any], ...]) -> int:
    parts = walk(emit(*(param(k, dtype) for k, dtype in enumerate(dtypes)), **dict(attrs)))
    return sum(SLOW.get(part.op, 1) for part in parts if part.op not in ("param", "const"))


def unary(
    name: str,
    numpy: Rule,
    vjp: Rule | None,
    emit: Rule | None,
    arg: Arg = REAL,
    kinds: tuple[str, ...] = ("f",),
    **more: Any,
) -> Op:
    """An elementwise op of one operand; `more` are fields of Op."""
    shape, dtype, domain = same_shape(name), same_dtype(name, *kinds), (Case((arg,)),)
    return Op(name, "elementwise", shape, dtype, numpy, (vjp,), emit, domain, **more)


def binary(
    name: str,
    numpy: Rule,
    vjp: tuple[Rule | None, Rule | None],
    emit: Rule | None,
    args: tuple[Arg, Arg] = (REAL, REAL),
    kinds: tuple[str, ...] = NUMBER,
    **more: Any,
) -> Op:
    """An elementwise op of two operands; `more` are fields of Op."""
    shape, dtype, domain = same_shape(name), same_dtype(name, *kinds), (Case(args),)
    return Op(name, "elementwise", shape, dtype, numpy, vjp, emit, domain, **more)


def predicate(
    name: str,
    numpy: Rule,
    emit: Rule,
    arity: int = 2,
    kinds: tuple[str, ...] = ANY,
    arg: Arg = REAL,
    **more: Any,
) -> Op:
    """An elementwise question: bool, no gradient; `more` are fields of Op."""
    shape, dtype, case = same_shape(name), gives_bool(name, *kinds), Case((arg,) * arity)
    return Op(name, "elementwise", shape, dtype, numpy, (None,) * arity, emit, (case,), **more)
