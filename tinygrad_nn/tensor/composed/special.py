"""Elementwise functions that a net seldom needs: signs, angles, and the special functions of statistics."""

from __future__ import annotations

import math

from ...ops.rules import BOOL
from ..contract import T
from ..core import scalar
from ..operators import Operand


def _flat(result: T, *operands: T) -> T:
    """A result with slope 0 in operands on which it depends in steps."""
    for operand in operands:
        if operand.requires_grad:
            result = operand.where(operand.handle(scalar(False, BOOL)), result)
    return result


def signbit(self: T) -> T:
    """Whether each element is negative or the zero with a sign; False for NaN."""
    x = self._stopped()
    return (x < 0) | (x.eq(0) & (1.0 / x < 0)) if x.dtype.kind == "f" else x < 0


def copysign(self: T, other: Operand) -> T:
    """|x| with the sign of `other`, that of a zero too; the gradient is 0 where x is 0.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([1.0, -2.0, 3.0]).copysign(tg.tensor([-0.0, 4.0, -5.0])).tolist()
    [-1.0, 2.0, -3.0]
    """
    x, y = self._promoted(other, "copysign")
    x, y = x.as_float(), y.as_float()
    size = x.abs()
    return _flat((-size).where(signbit(y), size), y)


def deg2rad(self: T) -> T:
    """An angle in degrees as one in radians."""
    return self.as_float() * (math.pi / 180)


def rad2deg(self: T) -> T:
    """An angle in radians as one in degrees."""
    return self.as_float() * (180 / math.pi)


def sinc(self: T) -> T:
    """sin(pi * x) / (pi * x), and 1 at 0."""
    x = self.as_float() * math.pi
    zero = x.eq(0)
    safe = x.masked_fill(zero, 1)
    return (safe.sin() / safe).masked_fill(zero, 1)


def xlogy(self: T, other: Operand) -> T:
    """x * log(other), and 0 where x is 0 and `other` is not NaN."""
    x, y = self._promoted(other, "xlogy")
    x, y = x.as_float(), y.as_float()
    return (x * y.log()).masked_fill(x.eq(0) & ~y.isnan(), 0)
