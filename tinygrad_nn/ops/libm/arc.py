"""atan, atan2, asin, acos.

|x| is reduced to v with |v| <= tan(pi / 8): by 1 / x above 1, and by (u - 1) / (u + 1), which subtracts pi / 4, above
tan(pi / 8). There the series of atan(v) - v converges fast. Multiples of pi / 4 are added in two parts.
"""

from __future__ import annotations

import math
from typing import Final

from ...graph.scalar import FLOAT32, FLOAT64, Expr, const
from .polynomial import polynomial

_TERMS: Final = {FLOAT32: 10, FLOAT64: 23}
_HALF_PI: Final = {
    FLOAT32: (1.57079637050628662109375, -4.37113900018624283e-08),
    FLOAT64: (1.5707963267948966, 6.123233995736766e-17),
}


def _positive(t: Expr) -> Expr:
    """atan of t >= 0, infinity included."""
    high, low = _HALF_PI[t.dtype]
    far = t > 1
    u = far.where(1 / t, t)
    middle = u > math.sqrt(2) - 1
    v = middle.where((u - 1) / (u + 1), u)
    z = v * v
    p = polynomial(z, [(-1.0) ** (n + 1) / (2 * n + 3) for n in range(_TERMS[t.dtype])]) * z * v
    near = middle.where(high / 2 + (v + (p + low / 2)), v + p)
    rest = middle.where((high / 2 - v) - (p - low / 2), (high - v) - (p - low))
    return far.where(rest, near)


def atan(x: Expr) -> Expr:
    """Inverse of tan."""
    return _positive(x.abs()).copysign(x)


def atan2(y: Expr, x: Expr) -> Expr:
    """The angle of the point (x, y); signs of zeros and infinities as C has them. Within 2.3 ULP."""
    high, low = _HALF_PI[x.dtype]
    ratio = y.abs() / x.abs()
    ratio = (y.eq(0) & x.eq(0)).where(0, ratio)
    ratio = (y.abs().eq(math.inf) & x.abs().eq(math.inf)).where(1, ratio)
    angle = _positive(ratio)
    left = const(1, x.dtype).copysign(x) < 0
    return left.where(2 * high - (angle - 2 * low), angle).copysign(y)


def asin(x: Expr) -> Expr:
    """Inverse of sin, NaN outside of [-1, 1]: atan(x / sqrt((1 - x) (1 + x))). Within 2.2 ULP."""
    return _positive(x.abs() / ((1 - x) * (1 + x)).sqrt()).copysign(x)


def acos(x: Expr) -> Expr:
    """Inverse of cos, NaN outside of [-1, 1]: 2 atan(sqrt((1 - x) / (1 + x))). Within 2.2 ULP."""
    return _positive(((1 - x) / (1 + x)).sqrt()) * 2
