"""Primitives that carry a value along an axis: running sums and products."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError, message
from ..graph import Arg, Case, DType, Op, Shape
from .rules import ANY, INT64, Rule, check_kinds


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


LINES = Arg(shape=(3, 4))
EMPTY = Arg(shape=(3, 0, 2))

# The running sum, from the end when `reverse`, which is its own adjoint the other way round.
CUMSUM = Op(
    "cumsum",
    "control",
    shape=_shape("cumsum"),
    dtype=_dtype("cumsum"),
    numpy=_cumsum,
    vjp=(lambda g, out, x, axis, reverse: g.apply(CUMSUM, axis=axis, reverse=not reverse),),
    domain=(
        Case((LINES,), {"axis": 0, "reverse": False}),
        Case((LINES,), {"axis": 1, "reverse": True}),
        Case((EMPTY,), {"axis": 1, "reverse": False}),
    ),
    linear=True,
)


def _cumprod_vjp(g: Any, out: Any, x: Any, axis: int) -> Any:
    """d out_j / d x_i = product of x_k over k <= j, k != i (0 for j < i), formed directly so that zeros need no special case.

    For a line of n elements that is an n x n table; `x_i` is replaced by 1 on the diagonal and the running product is taken.
    """
    n = x.shape[axis]
    line = x.movedim(axis, -1)
    index = line.new_arange(n)
    others = line.unsqueeze(-2).masked_fill(index.unsqueeze(-1) == index, 1)
    partial = others.cumprod(-1).masked_fill(index.unsqueeze(-1) > index, 0)
    return (partial * g.movedim(axis, -1).unsqueeze(-2)).sum(-1).movedim(-1, axis)


CUMPROD = Op(
    "cumprod",
    "control",
    shape=_shape("cumprod"),
    dtype=_dtype("cumprod"),
    numpy=lambda x, axis: np.cumprod(x, axis, x.dtype if x.dtype.kind == "f" else INT64),
    vjp=(_cumprod_vjp,),
    domain=(Case((LINES,), {"axis": 0}), Case((LINES,), {"axis": 1}), Case((EMPTY,), {"axis": 1})),
)

OPS = (CUMSUM, CUMPROD)
