"""erf and erfc. All coefficients minimise the largest relative error of the result (Remez exchange in 50 digits).

erf(x) = x + x P(x * x) below 1, and from there on 1 - e ** G(x) with G(x) ~ log(erfc(x)), a polynomial: what it lacks
is small beside 1.

erfc must keep its accuracy where it is tiny. For x >= 0

    erfc(x) = e ** (-x * x) (1 + v R(v - 1)) / (1 + 2 x),  v = 2 x / (x + a),

where the middle factor stays between 1 and 1.3, so one polynomial does for all x (M. M. Shepherd, J. G. Laframboise,
"Chebyshev approximation of (1 + 2 x) exp(x**2) erfc x in 0 <= x < infinity", Math. Comp. 36, 1981). The square, the
middle factor, 1 + 2 x and the quotient are carried with what they lose to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ...graph.scalar import FLOAT32, FLOAT64, DType, Expr, const
from .exponential import exp_parts, expm1, scaled
from .polynomial import at_most, fast_two_sum, polynomial, two_product


@dataclass(frozen=True, slots=True)
class _Table:
    """What depends on the dtype."""

    small: tuple[float, ...]  # P
    one: float  # erf is 1 from here on
    log_erfc: tuple[float, ...]  # G
    zero: float  # erfc is 0 from here on
    middle: float  # a
    tail: tuple[float, ...]  # R


TABLES: Final[Mapping[DType, _Table]] = {
    FLOAT32: _Table(
        small=(
            0.12837917, -0.37612626, 0.112835854, -0.026853813, 0.0051883277, -0.00080101955, 7.853865e-05,
        ),
        one=4.0,
        log_erfc=(
            0.00018846463, -1.1295803, -0.63321644, -0.10842207, 0.02521032, -0.004205277, 0.00044147117,
            -2.169749e-05,
        ),
        zero=10.5,
        middle=3.0,
        tail=(
            0.25300807, -0.38862917, 0.34106678, -0.21142137, 0.09214995, -0.023843724, 5.5024524e-05, 0.002472887,
            -0.00052180275, -0.00021622142, 3.5727797e-05,
        ),
    ),
    FLOAT64: _Table(
        small=(
            0.12837916709551256, -0.3761263890318352, 0.11283791670944184, -0.026866170643111257,
            0.005223977606116762, -0.0008548325929232601, 0.00012055293574457186, -1.4924712255289854e-05,
            1.6447130999199484e-06, -1.6206309422850975e-07, 1.371096188493192e-08, -7.779434442828468e-10,
        ),
        one=6.0,
        log_erfc=(
            -5.028455777464708e-07, -1.1283740895270138, -0.636643627815679, -0.10270344038520887,
            0.018990180699808887, 0.00041062512259244744, -0.0019159402846828388, 0.000770640710391445,
            -0.00013504881735150427, -2.026740428938708e-05, 2.282278079740077e-05, -8.667245085347406e-06,
            2.135695304301985e-06, -3.733057443227919e-07, 4.642320420904512e-08, -3.934282826688414e-09,
            2.04497275047051e-10, -4.928642162348057e-12,
        ),
        zero=28.0,
        middle=3.5,
        tail=(
            0.24234924487115436, -0.38235842500877365, 0.3718028286765583, -0.27428373352331786, 0.15919413536295124,
            -0.0712109815374493, 0.022387655713699356, -0.0032883247813308863, -0.000926695178105005,
            0.0006244273865315143, -6.0042587267342597e-05, -6.147027078344945e-05, 1.868625703994308e-05,
            5.576057673781693e-06, -3.2423475266433784e-06, -5.747902777378675e-07, 5.199725109737704e-07,
            8.354119354739756e-08, -7.854818178573891e-08, -1.6759989893800825e-08, 8.385255701734299e-09,
            2.6817574546863604e-09,
        ),
    ),
}  # fmt: skip


def erf(x: Expr) -> Expr:
    """The error function. Largest error seen: 1.5 ULP in float64, 1.2 in float32."""
    t = TABLES[x.dtype]
    magnitude = x.abs()
    large = expm1(polynomial(at_most(t.one, magnitude), t.log_erfc)).copysign(x)
    return (magnitude < 1).where(x.muladd(polynomial(x * x, t.small), x), large)


def erfc(x: Expr) -> Expr:
    """1 - erf(x), accurate where it is tiny. Largest error seen: 1.8 ULP in float64, 1.9 in float32."""
    t = TABLES[x.dtype]
    m = at_most(t.zero, x.abs())
    v = (m + m) / (m + t.middle)
    top, top_low = fast_two_sum(const(1, x.dtype), v * polynomial(v - 1, t.tail))
    bottom = m.muladd(2, 1)
    bottom_low = m.muladd(2, 1 - bottom)
    inverse = 1 / bottom
    ratio = top * inverse
    ratio_low = (ratio.fma(-bottom, top) + (top_low - ratio * bottom_low)) * inverse
    square, square_low = two_product(m, m)
    k, e = exp_parts(-square, -square_low)
    value = scaled(ratio + ratio.muladd(e, ratio_low.muladd(e, ratio_low)), k)
    return (x < 0).where(2 - value, value)
