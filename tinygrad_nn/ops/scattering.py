"""Scattering by the largest or the smallest of what meets at a place, composed of other ops."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..graph.graph import Arg, Case, DType, Op, Shape
from .index import GATHER, SCATTER, SCATTER_ADD, places
from .lookup import Called, check_range

FOLDED = Called("scatter_reduce")


def _extreme_shape(x: Shape, index: Shape, values: Shape, axis: int, how: str) -> Shape:
    return SCATTER.shape(x, index, values, axis=axis)


def _extreme_dtype(x: DType, index: DType, values: DType, axis: int, how: str) -> DType:
    return SCATTER.dtype(x, index, values)


def _extreme(x: Any, index: Any, values: Any, axis: int, how: str) -> Any:
    check_range(FOLDED, index, x.shape[axis])
    result = x.copy()
    (np.maximum if how == "amax" else np.minimum).at(result, places(index, axis), values)
    return result


def lowest(dtype: DType, how: str) -> Any:
    """The number that changes nothing in a maximum or a minimum."""
    if dtype.kind == "f":
        return -math.inf if how == "amax" else math.inf
    if dtype.kind == "b":
        return how == "amin"
    return int(np.iinfo(dtype).min if how == "amax" else np.iinfo(dtype).max)


def meetings(x: Any, index: Any, values: Any, axis: int, stand_in: float) -> Any:
    """Each element of x, along a new last axis, and beside it the values of its line that have its position; for the
    others a number stands in.
    """
    lines = (*x.shape[:axis], index.shape[axis], *x.shape[axis + 1 :])
    inside = index.eq(index)
    inside, at, given = (
        one._pad(lines, (0,) * len(lines)).movedim(axis, -1).unsqueeze(-2) for one in (inside, index, values)
    )
    meets = at.eq(index.new_arange(x.shape[axis]).unsqueeze(-1)) & inside
    other = given.new_full((), stand_in)
    return x.movedim(axis, -1).unsqueeze(-1).cat_with(given.where(meets, other), dim=-1)


def _extreme_composed(x: Any, index: Any, values: Any, axis: int, how: str) -> Any:
    low = lowest(x.dtype, how)
    met = meetings(x, index, values, axis, low)
    folded = met.amax(-1) if how == "amax" else met.amin(-1)
    if x.dtype.kind == "f":  # where all are that number, those that stand in get no share of the gradient
        number = meetings(x.new_ones(x.shape), index, values.new_ones(values.shape), axis, 0).sum(-1)
        folded = (meetings(x, index, values, axis, 0).sum(-1) / number).where(folded.eq(low), folded)
    return folded.movedim(-1, axis)


def _extreme_vjp(
    g: Any, out: Any, x: Any, index: Any, values: Any, axis: int, how: str, wanted: Collection[int]
) -> Mapping[int, Any]:
    """Equal shares for those that are the extreme."""
    taken = values.eq(out.apply(GATHER, index, axis=axis, called=FOLDED))
    number = taken.cast(x.dtype).apply(SCATTER_ADD, index, axis=axis, shape=x.shape, called=FOLDED)
    share = g / (number + x.eq(out).cast(x.dtype))
    found = {}
    if 0 in wanted:
        found[0] = share.masked_fill(x.ne(out), 0)
    if 2 in wanted:
        found[2] = share.apply(GATHER, index, axis=axis, called=FOLDED).masked_fill(~taken, 0)
    return found


# x in which the largest (or smallest) stays of each element and the values for its place.
SCATTER_EXTREME: Op = Op(
    "scatter_extreme",
    "composite",
    shape=_extreme_shape,
    dtype=_extreme_dtype,
    numpy=_extreme,
    vjp=_extreme_vjp,
    composed=_extreme_composed,
    domain=tuple(
        Case(
            (Arg(shape=(3, 4), apart=True), Arg(0, 3, dtype="int", shape=(5, 2)), Arg(shape=(5, 2), apart=True)),
            {"axis": 0, "how": how},
        )
        for how in ("amax", "amin")
    ),
)

OPS = (SCATTER_EXTREME,)
