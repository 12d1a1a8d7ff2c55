"""Primitives that carry a value along an axis: running sums, running products, linear recurrences."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError, message
from ..graph.graph import Arg, Case, DType, Op, Shape
from .rules import ANY, INT64, Rule, check_kinds, same_dtype, same_shape, vary_axis


def _shape(name: str) -> Rule:
    def rule(x: Shape, axis: int, reverse: bool = False) -> Shape:
        if not 0 <= axis < len(x):
            raise ShapeError(message(name, f"axis {axis} for shape {x}", "an axis of the operand"))
        return x

    return rule


def _dtype(name: str) -> Rule:
    def rule(x: DType, **attrs: Any) -> DType:
        check_kinds(name, (x,), ANY)
        return x if x.kind == "f" else INT64

    return rule


def _cumsum(x: Any, axis: int, reverse: bool) -> Any:
    dtype = x.dtype if x.dtype.kind == "f" else INT64
    if reverse:
        return np.flip(np.cumsum(np.flip(x, axis), axis, dtype), axis)
    return np.cumsum(x, axis, dtype)


def _cumsum_onnx(to: Any, x: Any, axis: int, reverse: bool) -> Any:
    numbers = x if x.dtype == to.dtype else to("Cast", x, to=to.dtype)
    return to("CumSum", numbers, np.array(axis), reverse=int(reverse))


def _carried(to: Any, step: Rule, first: float, x: Any, *others: Any, axis: int, reverse: bool = False) -> Any:
    """All carries of a loop along the axis, from a number on."""
    numbers = x if x.dtype == to.dtype else x._replace(name=to("Cast", x, to=to.dtype), dtype=to.dtype)
    if 0 in x.shape:
        return numbers.name
    carry = to.filled(first, (*x.shape[:axis], *x.shape[axis + 1 :]), to.dtype)
    return to.scan(step, carry, numbers, *others, axis=axis, reverse=reverse)[1]


LINES = Arg(shape=(3, 4))
EMPTY = Arg(shape=(3, 0, 2))

# The running sum, from the end when `reverse`, which is its own adjoint the other way round.
CUMSUM: Op = Op(
    "cumsum",
    "control",
    shape=_shape("cumsum"),
    dtype=_dtype("cumsum"),
    numpy=_cumsum,
    vjp=(lambda g, out, x, axis, reverse: g.apply(CUMSUM, axis=axis, reverse=not reverse),),
    emit=lambda carry, x: carry + x,
    domain=(
        Case((LINES,), {"axis": 0, "reverse": False}),
        Case((LINES,), {"axis": 1, "reverse": True}),
        Case((EMPTY,), {"axis": 1, "reverse": False}),
    ),
    linear=True,
    vary=vary_axis("reverse"),
    onnx=_cumsum_onnx,
)


def _neighbour(x: Any, axis: int, before: bool, edge: float) -> Any:
    """The element before (or after) each one along an axis; `edge` where there is none."""
    n = x.shape[axis]
    if n == 0:
        return x
    outside = x.new_full((*x.shape[:axis], 1, *x.shape[axis + 1 :]), edge)
    if before:
        return outside.cat_with(x.narrow(axis, 0, n - 1), dim=axis)
    return x.narrow(axis, 1, n - 1).cat_with(outside, dim=axis)


def _recurrence(x: Any, factor: Any, axis: int, reverse: bool) -> Any:
    result = np.array(x)
    y, factors = np.moveaxis(result, axis, 0), np.moveaxis(factor, axis, 0)
    n = len(y)
    for j in range(1, n) if not reverse else range(n - 2, -1, -1):
        y[j] += factors[j] * y[j + 1 if reverse else j - 1]
    return result


def _recurrence_vjp(g: Any, out: Any, x: Any, factor: Any, axis: int, reverse: bool) -> Any:
    """Each cotangent passes on to the operand of its own step and, times the factor, to the step before."""
    return g.apply(RECURRENCE, _neighbour(factor, axis, reverse, 0), axis=axis, reverse=not reverse)


# y_j = x_j + factor_j y_(j-1) along an axis (y_(j+1) when `reverse`), y being 0 outside. The gradient of cumprod.
RECURRENCE: Op = Op(
    "recurrence",
    "control",
    shape=lambda x, factor, axis, reverse: same_shape("recurrence")(_shape("recurrence")(x, axis), factor),
    dtype=same_dtype("recurrence", "f"),
    numpy=_recurrence,
    vjp=(
        _recurrence_vjp,
        lambda g, out, x, factor, axis, reverse: (
            _recurrence_vjp(g, out, x, factor, axis, reverse) * _neighbour(out, axis, not reverse, 0)
        ),
    ),
    emit=lambda carry, x, factor: x + factor * carry,
    domain=(
        Case((LINES, LINES), {"axis": 0, "reverse": False}),
        Case((LINES, LINES), {"axis": 1, "reverse": True}),
        Case((EMPTY, EMPTY), {"axis": 1, "reverse": False}),
    ),
    vary=vary_axis("reverse", operands=2),
    onnx=lambda to, x, factor, axis, reverse: _carried(
        to, lambda to, y, x, factor: to("Add", x, to("Mul", factor, y)), 0, x, factor, axis=axis, reverse=reverse
    ),
)


def _cumprod_vjp(g: Any, out: Any, x: Any, axis: int) -> Any:
    """out_j = out_(j-1) x_j: no division, so zeros need no special case."""
    total = g.apply(RECURRENCE, _neighbour(x, axis, False, 0), axis=axis, reverse=True)
    return total * _neighbour(out, axis, True, 1)


CUMPROD = Op(
    "cumprod",
    "control",
    shape=_shape("cumprod"),
    dtype=_dtype("cumprod"),
    numpy=lambda x, axis: np.cumprod(x, axis, x.dtype if x.dtype.kind == "f" else INT64),
    vjp=(_cumprod_vjp,),
    emit=lambda carry, x: carry * x,
    domain=(Case((LINES,), {"axis": 0}), Case((LINES,), {"axis": 1}), Case((EMPTY,), {"axis": 1})),
    vary=vary_axis(),
    onnx=lambda to, x, axis: _carried(to, lambda to, y, x: to("Mul", y, x), 1, x, axis=axis),
)

OPS = (CUMSUM, CUMPROD, RECURRENCE)
