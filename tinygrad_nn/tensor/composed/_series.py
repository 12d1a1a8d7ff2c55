"""What functions that are computed by series share."""

from __future__ import annotations

from collections.abc import Callable

from ...ops.rules import FLOAT64
from ..contract import T


def wide(x: T, function: Callable[[T], T]) -> T:
    """The function in float64, its value in the dtype of the operand."""
    own = x.as_float()
    return function(own.to(FLOAT64)).to(own.dtype)


def polynomial(x: T, factors: list[float]) -> T:
    """The factors times rising powers of x."""
    total = x * factors[-1]
    for factor in factors[-2:0:-1]:
        total = (total + factor) * x
    return total + factors[0]
