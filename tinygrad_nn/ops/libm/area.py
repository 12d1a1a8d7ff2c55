"""asinh, acosh, atanh through log1p, in forms in which nothing cancels.

Beyond `_large` the square root of x * x + 1 is x to rounding, and x * x might overflow: there the result is log(2 |x|).
"""

from __future__ import annotations

import math
from typing import Final

from ...graph.scalar import FLOAT32, FLOAT64, Expr
from .logarithm import log, log1p

_LARGE: Final = {FLOAT32: 2.0**12, FLOAT64: 2.0**28}


def asinh(x: Expr) -> Expr:
    """Inverse of sinh: log1p(t + t**2 / (1 + sqrt(1 + t**2))) with t = |x|."""
    t = x.abs()
    large = t > _LARGE[x.dtype]
    s = large.where(1, t)
    value = log1p(s + s * s / ((s * s + 1).sqrt() + 1))
    return large.where(log(t) + math.log(2), value).copysign(x)


def acosh(x: Expr) -> Expr:
    """Inverse of cosh, NaN below 1: log1p(t + sqrt(2 t + t**2)) with t = x - 1."""
    large = x > _LARGE[x.dtype]
    t = large.where(2, x) - 1
    value = large.where(log(x) + math.log(2), log1p(t + (t + t + t * t).sqrt()))
    return (x >= 1).where(value, math.nan)


def atanh(x: Expr) -> Expr:
    """Inverse of tanh, NaN outside of [-1, 1]: log1p(2 t / (1 - t)) / 2 with t = |x|."""
    t = x.abs()
    return (log1p((t + t) / (1 - t)) * 0.5).copysign(x)
