"""exp and its relatives: exp2, expm1, sigmoid, tanh, sinh, cosh.

Range reduction: x = k ln 2 + r with k whole and |r| <= ln 2 / 2, so exp(x) = 2**k exp(r). Adding 1.5 * 2**(mantissa
bits) to x / ln 2 rounds it to a whole number and leaves k in the low bits, from where a shift puts it into an
exponent field: no conversion, no rounding instruction. ln 2 is subtracted in two parts, of which the first has so few
bits that k times it is exact.

exp(r) = 1 + r + r**2 Q(r), where Q minimises the largest relative error of r + r**2 Q(r) (Remez exchange in 60
digits).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ...graph.scalar import FLOAT32, FLOAT64, DType, Expr
from .polynomial import at_least, at_most, polynomial

LOG2_E: Final = 1.4426950408889634


@dataclass(frozen=True, slots=True)
class _Table:
    """What depends on the dtype."""

    mantissa: int  # bits stored of the significand
    bias: int  # of the exponent field
    exponent_field: int  # as a bit mask
    ln2_high: float
    ln2_low: float
    terms: tuple[float, ...]  # of Q
    terms2: tuple[float, ...]  # of (2**r - 1) / r
    extreme: float  # exp is 0 or infinite well before
    overflow: float  # expm1 is infinite here
    one: float  # sigmoid is 1 from here on; exp(-one) is lost beside 1


_TABLES: Final[Mapping[DType, _Table]] = {
    FLOAT32: _Table(
        mantissa=23,
        bias=127,
        exponent_field=0x7F800000,
        ln2_high=0.693145751953125,
        ln2_low=1.4286068203094173e-06,
        terms=(0.49999997, 0.16666543, 0.0416672, 0.008366548, 0.0013882462),
        terms2=(0.6931472, 0.24022648, 0.055503324, 0.009618437, 0.0013398903, 0.0001535341),
        extreme=150.0,
        overflow=88.8,
        one=20.0,
    ),
    FLOAT64: _Table(
        mantissa=52,
        bias=1023,
        exponent_field=0x7FF0000000000000,
        ln2_high=0.6931471805598903,
        ln2_low=5.497923018708371e-14,
        terms=(
            0.5000000000000006, 0.16666666666666588, 0.04166666666657643, 0.008333333333389729, 0.0013888888931676978,
            0.00019841269718729194, 2.4801505132551752e-05, 2.7557407663079723e-06, 2.7626096393300305e-07,
            2.505378493351353e-08,
        ),
        terms2=(
            0.6931471805599453, 0.2402265069591013, 0.05550410866482008, 0.009618129107594067, 0.0013333558146775254,
            0.000154035304571878, 1.5252733492688144e-05, 1.3215435241167674e-06, 1.0178199684251858e-07,
            7.073790829317195e-09, 4.4347646484250447e-10,
        ),
        extreme=1000.0,
        overflow=709.9,
        one=40.0,
    ),
}  # fmt: skip


def _reduce(x: Expr, t: _Table, offset: int, low: Expr | None = None) -> tuple[Expr, Expr]:
    """The whole number k + offset, in the low bits of an integer, and expm1(r); `low` is a small part of x."""
    shift = 1.5 * 2.0**t.mantissa + offset
    shifted = x.muladd(LOG2_E, shift)
    k = shifted - shift
    near = k.muladd(-t.ln2_high, x)
    r = k.muladd(-t.ln2_low, near) if low is None else near + k.muladd(-t.ln2_low, low)
    return shifted.bits(), (r * r).muladd(polynomial(r, t.terms), r)


def _scale(x: Expr, k: Expr, t: _Table) -> Expr:
    """`x * 2**(k - 2 bias)`, rounded once: two factors, so that the product may overflow or become denormal."""
    half = (k << (t.mantissa - 1)) & t.exponent_field
    return x * half.from_bits() * ((k << t.mantissa) - half).from_bits()


def _exp(x: Expr, t: _Table) -> Expr:
    k, expm1_r = _reduce(x, t, 2 * t.bias)
    return _scale(expm1_r + 1, k, t)


def _quarter_expm1(x: Expr, t: _Table) -> Expr:
    """`expm1(x) / 4`: a quarter, so that the power of two does not overflow before the result of sinh does."""
    k, expm1_r = _reduce(x, t, t.bias - 2)
    power = (k << t.mantissa).from_bits()
    return power.muladd(expm1_r, power - 0.25)


def exp_parts(x: Expr, low: Expr) -> tuple[Expr, Expr]:
    """(k, e) with e ** (x + low) = `scaled(1 + e, k)`; `low` is below the last bits of x, which `bounded` bounds."""
    t = _TABLES[x.dtype]
    return _reduce(x, t, 2 * t.bias, low)


def scaled(x: Expr, k: Expr) -> Expr:
    """x times the power of two that `exp_parts` split off, rounded once."""
    return _scale(x, k, _TABLES[x.dtype])


def bounded(x: Expr) -> Expr:
    """x, or an exponent of its sign whose exponential is already 0 or infinite."""
    t = _TABLES[x.dtype]
    return at_least(-t.extreme, at_most(t.extreme, x))


def exp(x: Expr) -> Expr:
    """e ** x."""
    t = _TABLES[x.dtype]
    return _exp(bounded(x), t)


def exp2(x: Expr) -> Expr:
    """2 ** x; exact where x is whole."""
    t = _TABLES[x.dtype]
    x = at_least(-1.5 * t.extreme, at_most(1.5 * t.extreme, x))
    shift = 1.5 * 2.0**t.mantissa + 2 * t.bias
    shifted = x + shift
    r = x - (shifted - shift)
    return _scale(polynomial(r, t.terms2).muladd(r, 1), shifted.bits(), t)


def expm1(x: Expr) -> Expr:
    """e ** x - 1, accurate near 0."""
    t = _TABLES[x.dtype]
    inside = at_least(-t.one, at_most(t.overflow, x))
    return (_quarter_expm1(inside, t) * 4).copysign(x)


def sigmoid(x: Expr) -> Expr:
    """1 / (1 + e ** -x), as e ** x / (1 + e ** x), which keeps its accuracy where it is tiny."""
    t = _TABLES[x.dtype]
    e = _exp(at_least(-t.extreme, at_most(t.one, x)), t)
    return e / (e + 1)


def tanh(x: Expr) -> Expr:
    """Hyperbolic tangent, as q / (q + 1/2) with q = expm1(2 |x|) / 4. Within 2.2 ULP."""
    t = _TABLES[x.dtype]
    magnitude = at_most(t.one, abs(x))
    q = _quarter_expm1(magnitude + magnitude, t)
    return (q / (q + 0.5)).copysign(x)


def sinh(x: Expr) -> Expr:
    """Hyperbolic sine, as (E + E / (E + 1)) / 2 with E = expm1(|x|)."""
    t = _TABLES[x.dtype]
    half = _quarter_expm1(at_most(t.overflow + 0.7, abs(x)), t) * 2
    ratio = half / half.muladd(2, 1)
    return (half + half.eq(math.inf).where(0.5, ratio)).copysign(x)


def cosh(x: Expr) -> Expr:
    """Hyperbolic cosine, as 2 u + 1 / (8 u) with u = e ** |x| / 4."""
    t = _TABLES[x.dtype]
    k, expm1_r = _reduce(at_most(t.overflow + 1, abs(x)), t, t.bias - 2)
    u = (expm1_r + 1) * (k << t.mantissa).from_bits()
    return u.muladd(2, 0.125 / u)
