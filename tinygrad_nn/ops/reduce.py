"""Reductions over a set of axes. `axis` is a sorted tuple of non-negative axes; methods normalise what users write.

`keepdims` is an attribute so that the common x - x.max(keepdims) costs no reshape. Sums of integers and bools are
int64, as in PyTorch. Ties: max and min share the gradient evenly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeError, message
from ..graph.graph import Arg, Case, DType, Op, Shape
from ..graph.scalar import Expr
from .rules import (
    ANY,
    BOOL,
    FLOAT32,
    FLOAT64,
    INT32,
    INT64,
    Monoid,
    Rule,
    chance,
    check_kinds,
    of_sum,
    roundoff,
    same_dtype,
)

APART = Arg(apart=True, shape=(2, 3, 4))
PLAIN = Arg(shape=(2, 3, 4))
NOTHING = Arg(shape=(3, 0, 2))
VARIANTS = (
    {"axis": (0, 1, 2), "keepdims": False},
    {"axis": (1,), "keepdims": False},
    {"axis": (0, 2), "keepdims": True},
    {"axis": (), "keepdims": False},
)


def _reduced(name: str, empty_allowed: bool) -> Rule:
    def rule(shape: Shape, axis: tuple[int, ...], keepdims: bool) -> Shape:
        if any(not 0 <= a < len(shape) for a in axis) or len(set(axis)) != len(axis):
            raise ShapeError(message(name, f"axis {axis} for shape {shape}", "distinct axes of the operand"))
        if not empty_allowed and any(shape[a] == 0 for a in axis):
            hint = "only sum, prod, all and any are defined on nothing"
            raise ShapeError(message(name, f"shape {shape} to reduce over axis {axis}", "at least one element", hint))
        if keepdims:
            return tuple(1 if a in axis else n for a, n in enumerate(shape))
        return tuple(n for a, n in enumerate(shape) if a not in axis)

    return rule


def _vary(rng: np.random.Generator, x: Shape) -> Case:
    axes = tuple(a for a in range(len(x)) if chance(rng, 0.5))
    return Case((Arg(shape=x),), {"axis": axes, "keepdims": chance(rng, 0.5)})


def _count(x: Any, axis: tuple[int, ...], keepdims: bool) -> int:
    """How many elements each result is made of."""
    return math.prod(x.shape[a] for a in axis)


def spread(g: Any, shape: Shape, axis: tuple[int, ...], keepdims: bool) -> Any:
    """A cotangent of the reduced shape, repeated along the axes that were reduced."""
    return g.expand_to(shape) if keepdims else g._spread(shape, axis)


def _accumulated(name: str) -> Rule:
    def rule(dtype: DType, **attrs: Any) -> DType:
        check_kinds(name, (dtype,), ANY)
        return INT64 if dtype.kind != "f" else dtype

    return rule


def _accumulate(ufunc: np.ufunc) -> Rule:
    def meaning(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
        return ufunc.reduce(x, axis=axis, dtype=None if x.dtype.kind == "f" else INT64, keepdims=keepdims)

    return meaning


def _share(g: Any, out: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """The gradient of max and min: each of the k elements equal to the result gets 1/k of it."""
    result = spread(out, x.shape, axis, keepdims)
    winners = (x == result).cast(g.dtype)
    count = winners.apply(SUM, axis=axis, keepdims=True)
    return spread(g, x.shape, axis, keepdims) * winners / count


def _extreme(dtype: DType, largest: bool) -> float:
    """The value that every other one beats."""
    if dtype.kind == "f":
        return math.inf if largest else -math.inf
    if dtype == BOOL:
        return largest
    return int(np.iinfo(dtype).max if largest else np.iinfo(dtype).min)


def _above(x: Expr, y: Expr) -> Expr:
    return x & ~y if x.dtype == BOOL else x > y


def _reduced_onnx(kind: str) -> Rule:
    """A reduction of ONNX's; truth is counted or compared as integers."""

    def rule(to: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
        own = INT32 if to.dtype == BOOL else to.dtype
        numbers = x if x.dtype == own else to("Cast", x, to=own)
        if not axis:
            return to("Cast", numbers, to=to.dtype)
        found = to(kind, numbers, axis, keepdims=int(keepdims))
        return found if own == to.dtype else to("Cast", found, to=to.dtype)

    return rule


SUM = Op(
    "sum",
    "reduce",
    shape=_reduced("sum", empty_allowed=True),
    dtype=_accumulated("sum"),
    numpy=_accumulate(np.add),
    vjp=(lambda g, out, x, axis, keepdims: spread(g, x.shape, axis, keepdims),),
    emit=Monoid(lambda dtype: -0.0 if dtype.kind == "f" else 0, lambda a, x: a + x),  # -0.0 + x is x, 0.0 + -0.0 is not
    domain=(*(Case((PLAIN,), attrs) for attrs in VARIANTS), Case((NOTHING,), {"axis": (1,), "keepdims": False})),
    linear=True,
    vary=_vary,
    error=of_sum(_accumulate(np.add), _count),
    onnx=_reduced_onnx("ReduceSum"),
)


def _prod_error(out: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """A rounding for each factor."""
    least = float(np.finfo(out.dtype).smallest_subnormal)
    return np.where(out == 0, 0, (_count(x, axis, keepdims) + 1) * np.maximum(roundoff(out) * np.abs(out), least))


def _prod_vjp(g: Any, out: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """The product of the others, from those on the left and those on the right, so that zeros need no special case."""
    if not axis or x.numel() == 0:
        return spread(g, x.shape, axis, keepdims)
    rest = tuple(a for a in range(x.ndim) if a not in axis)
    order = rest + axis
    size = math.prod(x.shape[a] for a in axis)
    flat = x.permute(order).reshape((*(x.shape[a] for a in rest), size))
    one = flat.new_ones((*flat.shape[:-1], 1))
    left = one.cat_with(flat.narrow(-1, 0, size - 1), dim=-1).cumprod(-1)
    right = one.cat_with(flat.flip(-1).narrow(-1, 0, size - 1), dim=-1).cumprod(-1).flip(-1)
    others = (left * right).reshape(tuple(x.shape[a] for a in order))
    return spread(g, x.shape, axis, keepdims) * others.permute(tuple(order.index(a) for a in range(x.ndim)))


PROD = Op(
    "prod",
    "reduce",
    shape=_reduced("prod", empty_allowed=True),
    dtype=_accumulated("prod"),
    numpy=_accumulate(np.multiply),
    vjp=(_prod_vjp,),
    emit=Monoid(lambda dtype: 1, lambda a, x: a * x),
    domain=tuple(Case((PLAIN,), attrs) for attrs in VARIANTS),
    vary=_vary,
    error=_prod_error,
    onnx=_reduced_onnx("ReduceProd"),
)

_ZEROS = {dtype: np.zeros((), dtype) for dtype in (FLOAT32, FLOAT64)}  # NumPy adds arrays quicker than numbers


def _extremes(ufunc: Any) -> Callable[..., Any]:
    """Largest or smallest elements, and 0 for -0.0: which of two zeros is met first depends on how many are compared
    at once.
    """

    def numpy(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
        found = ufunc.reduce(x, axis=axis, keepdims=keepdims)
        zero = _ZEROS.get(found.dtype)
        return found if zero is None else found + zero

    return numpy


def _first(better: Expr, a: Expr, x: Expr) -> Expr:
    """The next extreme: x if it is `better` than the one so far, or NaN."""
    return x.ne(x).where(x, better.where(x + 0 if x.dtype.kind == "f" else x, a))


_largest = _extremes(np.maximum)

MAX = Op(
    "max",
    "reduce",
    shape=_reduced("max", empty_allowed=False),
    dtype=same_dtype("max", *ANY),
    numpy=_largest,
    vjp=(_share,),
    emit=Monoid(lambda dtype: _extreme(dtype, False), lambda a, x: _first(_above(x, a), a, x)),
    domain=tuple(Case((APART,), attrs) for attrs in VARIANTS),
    vary=_vary,
    open_zero=True,
    onnx=_reduced_onnx("ReduceMax"),
)

MIN = Op(
    "min",
    "reduce",
    shape=_reduced("min", empty_allowed=False),
    dtype=same_dtype("min", *ANY),
    numpy=_extremes(np.minimum),
    vjp=(_share,),
    emit=Monoid(lambda dtype: _extreme(dtype, True), lambda a, x: _first(_above(a, x), a, x)),
    domain=tuple(Case((APART,), attrs) for attrs in VARIANTS),
    vary=_vary,
    open_zero=True,
    onnx=_reduced_onnx("ReduceMin"),
)


def _vary_line(rng: np.random.Generator, x: Shape) -> Case | None:
    if not x:
        return None
    return Case((Arg(shape=x),), {"axis": (int(rng.integers(len(x))),), "keepdims": chance(rng, 0.5)})


def _arg_onnx(kind: str) -> Rule:
    """The place of an extreme along one axis, of the first of several."""

    def rule(to: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
        numbers = x if x.dtype != BOOL else to("Cast", x, to=INT32)
        return to(kind, numbers, axis=axis[0], keepdims=int(keepdims))

    return rule


def _arg(name: str, numpy: Rule, better: Callable[[Expr, Expr], Expr], onnx: str) -> Op:
    """Index of the first extreme along one axis; NaN counts as the extreme."""
    return Op(
        name,
        "reduce",
        shape=_reduced(name, empty_allowed=False),
        dtype=lambda x, **attrs: INT64,
        numpy=lambda x, axis, keepdims: numpy(x, axis=axis[0], keepdims=keepdims),
        vjp=(None,),
        emit=lambda x, best: better(x, best) | (x.ne(x) & best.eq(best)),
        domain=(Case((APART,), {"axis": (1,), "keepdims": False}), Case((APART,), {"axis": (2,), "keepdims": True})),
        vary=_vary_line,
        onnx=_arg_onnx(onnx),
    )


ARGMAX = _arg("argmax", np.argmax, lambda x, best: _above(x, best), "ArgMax")
ARGMIN = _arg("argmin", np.argmin, lambda x, best: _above(best, x), "ArgMin")


# ---- the largest of a window --------------------------------------------------------------------------------------

TAPS = 64  # elements of a window up to which NumPy is quicker one by one, for all windows at once


def _taps(x: Any, axis: tuple[int, ...]) -> Any:
    """x with the reduced axes first, as one: a view for each position in a window."""
    moved = x.transpose((*axis, *(a for a in range(x.ndim) if a not in axis)))
    return [moved[(*at, ...)] for at in np.ndindex(moved.shape[: len(axis)])]


def _peak(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    if not axis or _count(x, axis, keepdims) > TAPS:
        return _largest(x, axis=axis, keepdims=keepdims)
    first, *others = _taps(x, axis)
    best = np.array(first)
    for other in others:
        np.maximum(best, other, out=best)
    np.add(best, 0, out=best)  # of two zeros the positive one
    return np.expand_dims(best, axis) if keepdims else best


def _peak_at(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    first, *others = _taps(x, axis)
    best, at = np.array(first), np.zeros(first.shape, INT32)
    for number, other in enumerate(others, 1):
        better = (other > best) | (other != other)
        np.copyto(best, other, where=better)
        np.copyto(at, number, where=better)
    return np.expand_dims(at, axis) if keepdims else at


def _peak_vjp(g: Any, out: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """All of the gradient for one element."""
    place = spread(x.apply(PEAK_AT, axis=axis, keepdims=keepdims), x.shape, axis, keepdims)
    window = tuple(n if a in axis else 1 for a, n in enumerate(x.shape))
    numbers = x.new_arange(math.prod(window)).cast(INT32).reshape(window)
    return spread(g, x.shape, axis, keepdims).where(place == numbers, 0)


# As max, but of equal elements the first gets the gradient: what pooling does.
PEAK = Op(
    "peak",
    "reduce",
    shape=_reduced("peak", empty_allowed=False),
    dtype=same_dtype("peak", "f", "i"),
    numpy=_peak,
    vjp=(_peak_vjp,),
    emit=MAX.emit,
    domain=MAX.domain,
    vary=_vary,
    open_zero=True,
    onnx=_reduced_onnx("ReduceMax"),
)


def _peak_at_onnx(to: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """The place in what is reduced as one last axis."""
    if 0 in to.shape:
        return to.filled(0, to.shape, INT32).name
    rest = tuple(a for a in range(len(x.shape)) if a not in axis)
    moved = to("Transpose", x, perm=(*rest, *axis)) if x.shape else x
    flat = to("Reshape", moved, (*(x.shape[a] for a in rest), math.prod(x.shape[a] for a in axis)), allowzero=1)
    place = to("ArgMax", to("Cast", flat, to=INT32) if x.dtype == BOOL else flat, axis=-1, keepdims=0)
    if x.dtype.kind == "f":
        broken = to("Cast", to("IsNaN", flat), to=INT32)
        last = to("ArgMax", broken, axis=-1, keepdims=0, select_last_index=1)
        any_broken = to("Cast", to("ReduceMax", broken, [-1], keepdims=0), to=BOOL)
        place = to("Where", any_broken, last, place)
    place = to("Cast", place, to=INT32)
    return to("Unsqueeze", place, axis) if keepdims and axis else place


# Where that is, counted along all axes together. Of several NaN it is the last one, as in PyTorch.
PEAK_AT = Op(
    "peak_at",
    "reduce",
    shape=_reduced("peak_at", empty_allowed=False),
    dtype=lambda x, **attrs: INT32,
    numpy=_peak_at,
    vjp=(None,),
    emit=lambda x, best: (x > best) | x.ne(x),
    domain=MAX.domain,
    vary=_vary,
    follows=lambda varies, out, x, axis, keepdims: not any(varies(x[a]) for a in axis),
    onnx=_peak_at_onnx,
)

OPS = (SUM, PROD, MAX, MIN, ARGMAX, ARGMIN, PEAK, PEAK_AT)
