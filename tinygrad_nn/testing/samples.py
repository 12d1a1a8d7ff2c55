"""Operands for the ops of the table, drawn from their domains."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import DTypeError
from ..graph.graph import Arg, Case, DType, Op, Shape
from ..ops.rules import BOOL, INT64

KINKS: dict[str, tuple[float, float]] = {"integers": (0.15, 0.85), "halves": (-0.35, 0.35)}


def draw(arg: Arg, shape: Shape, rng: np.random.Generator, dtype: Any = np.float64, offset: float = 0.0) -> Any:
    """An array for one operand: in its interval, away from its kinks, pairwise apart where it asks for that."""
    if arg.dtype == "bool":
        return rng.random(shape) < 0.5
    if arg.dtype == "int":
        return rng.integers(int(arg.low), int(arg.high), shape, dtype=np.int64)
    count = math.prod(shape)
    if arg.apart:
        grid = arg.low + (arg.high - arg.low) * (rng.permutation(count) + 0.3 + offset) / max(count, 1)
        return grid.reshape(shape).astype(dtype)
    values = rng.uniform(arg.low, arg.high, shape)
    if isinstance(arg.kinks, str):
        low, high = KINKS[arg.kinks]
        return np.asarray(np.floor(values) + rng.uniform(low, high, shape), dtype)
    for kink in arg.kinks:
        near = np.abs(values - kink) < 0.1
        values = np.where(near, kink + np.where(values < kink, -0.1, 0.1) * rng.uniform(1, 2, shape), values)
    return np.asarray(values, dtype)


def operands(
    case: Case, rng: np.random.Generator, shapes: tuple[Shape, ...] | None = None, dtype: Any = np.float64
) -> list[Any]:
    """Arrays for all operands of a case; `shapes` for those that take any shape (default (2, 3))."""
    own = shapes or ((2, 3),) * len(case.args)
    return [
        draw(arg, own[k] if arg.shape is None else arg.shape, rng, dtype, offset=0.37 * k)
        for k, arg in enumerate(case.args)
    ]


def dtypes_of(op: Op, case: Case, dtype: DType, index: DType = INT64) -> list[DType] | None:
    """The dtypes of all operands if that of the numbers the op works on is `dtype`; None where it takes none such."""
    places = op.kind in ("index", "random", "composite")  # whose integers are no numbers to work on
    found = [BOOL if arg.dtype == "bool" else index if arg.dtype == "int" and places else dtype for arg in case.args]
    try:
        op.dtype(*found, **case.attrs)
    except DTypeError:
        return None
    return found
