"""log and its relatives: log2, log10, log1p.

Range reduction: x = 2**k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), read from the bits. With s = f / (2 + f) and z =
s * s,

    log(1 + f) = f - (h - s (h + R)),  h = f * f / 2,  R = 2/3 z + 2/5 z**2 + 2/7 z**3 + ...

which adds small terms to f, so nothing cancels. The series is that of atanh; |s| <= 0.172 makes ten terms enough for
float64 and five for float32. ln 2 is added in two parts, of which k times the first is exact. For log2 and log10 the
logarithm is kept as a sum of two numbers, the first with so few bits that its product with a short constant is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ...graph.scalar import FLOAT32, FLOAT64, DType, Expr, const
from .polynomial import fast_two_sum, polynomial, two_product

_SQRT_HALF: Final = {FLOAT32: 0x3F3504F3, FLOAT64: 0x3FE6A09E667F3BCD}  # the bits of sqrt(1/2)


@dataclass(frozen=True, slots=True)
class _Table:
    """What depends on the dtype. `short` masks the low half of a significand away."""

    mantissa: int
    bias: int
    tiny: float  # below are denormals, which are scaled up first
    terms: int
    short: int
    ln2: tuple[float, float]
    log2_e: tuple[float, float]
    log10_e: tuple[float, float]
    log10_2: tuple[float, float]


_TABLES: Final[Mapping[DType, _Table]] = {
    FLOAT32: _Table(
        mantissa=23,
        bias=127,
        tiny=2.0**-126,
        terms=5,
        short=~0xFFF,
        ln2=(0.693145751953125, 1.42860677e-06),
        log2_e=(1.44287109375, -0.00017605285),
        log10_e=(0.434326171875, -3.1689971e-05),
        log10_2=(0.301025390625, 4.605039e-06),
    ),
    FLOAT64: _Table(
        mantissa=52,
        bias=1023,
        tiny=2.0**-1022,
        terms=11,
        short=~0xFFFFFFFF,
        ln2=(0.6931471805598903, 5.497923018708371e-14),
        log2_e=(1.4426950216293335, 1.9259629911266175e-08),
        log10_e=(0.4342944920063019, -1.0103050052231683e-08),
        log10_2=(0.3010299956640665, -8.532344317057107e-14),
    ),
}


def _split(x: Expr, t: _Table) -> tuple[Expr, Expr]:
    """(k, f) with x = 2**k (1 + f), as floats; x is positive and finite."""
    scale = t.mantissa + 2
    small = x < t.tiny
    bits = small.where(x * 2.0**scale, x).bits()
    moved = bits - _SQRT_HALF[x.dtype]
    k = moved >> t.mantissa
    m = (bits - (k << t.mantissa)).from_bits()
    return small.where(k - scale, k).to(x.dtype), m - 1


def _core(f: Expr, t: _Table) -> tuple[Expr, Expr]:
    """(h, s (h + R)) of f."""
    s = f / (f + 2)
    z = s * s
    r = polynomial(z, [2.0 / (2 * n + 3) for n in range(t.terms)]) * z
    h = f * f * 0.5
    return h, s * (h + r)


def _special(x: Expr, value: Expr) -> Expr:
    """-inf at 0, NaN below, infinity at infinity, NaN at NaN."""
    value = x.eq(math.inf).where(math.inf, value)
    value = x.eq(0).where(-math.inf, value)
    return (x >= 0).where(value, math.nan)


def _safe(x: Expr) -> Expr:
    """x where it is positive and finite, else 1, so that bit arithmetic stays in range."""
    return ((x > 0) & (x < math.inf)).where(x, 1)


def log(x: Expr) -> Expr:
    """Natural logarithm. Largest error seen: 0.9 ULP in float64, 0.9 in float32."""
    t = _TABLES[x.dtype]
    k, f = _split(_safe(x), t)
    h, tail = _core(f, t)
    high, low = t.ln2
    return _special(x, k * high - ((h - (tail + k * low)) - f))


def log1p(x: Expr) -> Expr:
    """log(1 + x), accurate near 0: what 1 + x loses to rounding is added back, relative to it."""
    t = _TABLES[x.dtype]
    u = x + 1
    inside = (u > 0) & (u < math.inf)
    safe = inside.where(u, 1)
    lost = (x > 1).where(1 - (u - x), x - (u - 1)) / safe
    k, f = _split(safe, t)
    h, tail = _core(f, t)
    high, low = t.ln2
    value = k * high - ((h - (tail + (k * low + inside.where(lost, 0)))) - f)
    value = x.eq(math.inf).where(math.inf, x.eq(-1).where(-math.inf, value))
    value = (x >= -1).where(value, math.nan)
    return (x.abs() < 2.0 ** -(t.mantissa + 2)).where(x, value)


def _pair(x: Expr, t: _Table) -> tuple[Expr, Expr, Expr]:
    """(k, high, low) with log(x) = k ln 2 + high + low; high has few bits."""
    k, f = _split(_safe(x), t)
    h, tail = _core(f, t)
    high = ((f - h).bits() & t.short).from_bits()
    return k, high, ((f - high) - h) + tail


def log2(x: Expr) -> Expr:
    """Logarithm to base 2; exact for powers of 2."""
    t = _TABLES[x.dtype]
    k, high, low = _pair(x, t)
    c, d = t.log2_e
    small = (low + high) * d + low * c
    large = high * c
    total = k + large
    return _special(x, (small + ((k - total) + large)) + total)


def log10(x: Expr) -> Expr:
    """Logarithm to base 10."""
    t = _TABLES[x.dtype]
    k, high, low = _pair(x, t)
    c, d = t.log10_e
    y = k * t.log10_2[0]
    small = k * t.log10_2[1] + (low + high) * d + low * c
    large = high * c
    total = y + large
    return _special(x, (small + ((y - total) + large)) + total)


# 1/3 is its float64, in `log_parts`, plus the first of these; the others minimise the largest relative error of the
# logarithm of 1 + f (Remez exchange in 50 digits: 2**-73).
_ATANH: Final = (
    1.850371707708594e-17, 0.1999999999999999, 0.14285714285722562, 0.11111111108766981, 0.0909090943531247,
    0.07692278424810135, 0.06668159124456186, 0.058374007599654575, 0.05994577872506607,
)  # fmt: skip


def log_parts(x: Expr) -> tuple[Expr, Expr]:
    """(high, low), whose sum is log(x) to 2**-63 of it; float64 only. low is below the last bit of high, and finite.

    log(1 + f) = 2 s (1 + z (1/3 + z (1/5 + ...))), where s, z, z / 3 and the product with 2 s are carried with what
    they lose to rounding; from 1/5 on a rounded sum is enough.
    """
    t = _TABLES[FLOAT64]
    k, f = _split(_safe(x), t)
    d, d_low = fast_two_sum(const(2, FLOAT64), f)
    inverse = 1 / d
    s = f * inverse
    s_low = (s.fma(-d, f) - s * d_low) * inverse
    twice, twice_low = s + s, s_low + s_low
    z, z_low = two_product(s, s)
    z_low = twice.muladd(s_low, z_low)
    third, rest = z * (1 / 3), polynomial(z, _ATANH)
    third_low = z.fma(1 / 3, -third) + z_low.muladd(rest + (rest + 1 / 3), z * rest)
    v, v_low = two_product(twice, third)
    v_low = twice_low.muladd(third, twice.muladd(third_low, v_low))
    high, low = fast_two_sum(twice, v)
    total, lost = fast_two_sum(k * t.ln2[0], high)
    total, low = fast_two_sum(total, k.muladd(t.ln2[1], lost + (low + (v_low + twice_low))))
    return _special(x, total), low
