"""Elementwise functions that a net seldom needs: signs, angles, and the special functions of statistics."""

from __future__ import annotations

import math
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from ...errors import DTypeError, ShapeError, message
from ...ops.rules import FLOAT64, INT32
from ...support.settings import typed
from ..contract import T, check_floats
from ..core import Number, is_plainly
from ..operators import Operand

_S = TypeVar("_S")


class Parts(NamedTuple, Generic[_S]):
    """What `frexp` gives."""

    mantissa: _S
    exponent: _S


def signbit(self: T) -> T:
    """Whether each element is negative or the zero with a sign; False for NaN.

    >>> import tinygrad_nn as tg
    >>> tg.signbit([-1.0, 0.0, 2.0])
    tensor([ True, False, False])
    """
    x = self._stopped()
    return (x < 0) | (x.eq(0) & (1.0 / x < 0)) if x.dtype.kind == "f" else x < 0


def _floats(name: str, x: T, other: Operand) -> tuple[T, T]:
    """Two operands in their common dtype, which is a float dtype."""
    x, y = x._promoted(other, name)
    return x.as_float(), y.as_float()


# ---- signs and choices ----------------------------------------------------------------------------------------------


def copysign(self: T, other: Operand) -> T:
    """|x| with the sign of `other`, that of a zero too; the gradient is 0 where x is 0.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([1.0, -2.0, 3.0]).copysign(tg.tensor([-0.0, 4.0, -5.0])).tolist()
    [-1.0, 2.0, -3.0]
    """
    x, y = _floats("copysign", self, other)
    size = x.abs()
    return (-size).where(signbit(y), size)._flat_in(y)


def sgn(self: T) -> T:
    """-1, 0 or 1, as `sign`.

    >>> import tinygrad_nn as tg
    >>> tg.sgn([-3.0, 0.0, 2.0])
    tensor([-1.,  0.,  1.])
    """
    return self.sign()


def positive(self: T) -> T:
    """+x, which is x. Raises DTypeError for bools.

    >>> import tinygrad_nn as tg
    >>> tg.positive([-1.0, 2.0])
    tensor([-1.,  2.])
    """
    if self.dtype.kind == "b":
        raise DTypeError(message("positive", "dtype bool", "a number"))
    return self


def angle(self: T) -> T:
    """0, and pi where x is negative; NaN for NaN. The gradient is 0.

    >>> import tinygrad_nn as tg
    >>> tg.angle([-2.0, 2.0])
    tensor([3.1416, 0.0000])
    """
    x = self.as_float()
    return (x._stopped() * 0).masked_fill(x < 0, math.pi).masked_fill(x.isinf() & (x > 0), 0)._flat_in(x)


def isneginf(self: T) -> T:
    """Whether each element is -infinity.

    >>> import tinygrad_nn as tg
    >>> tg.isneginf([float("-inf"), 1.0])
    tensor([ True, False])
    """
    return self.eq(-math.inf) if self.dtype.kind == "f" else self.ne(self)


def isposinf(self: T) -> T:
    """Whether each element is +infinity.

    >>> import tinygrad_nn as tg
    >>> tg.isposinf([float("inf"), 1.0])
    tensor([ True, False])
    """
    return self.eq(math.inf) if self.dtype.kind == "f" else self.ne(self)


def isreal(self: T) -> T:
    """Whether each element is a real number: all are.

    >>> import tinygrad_nn as tg
    >>> tg.isreal([1.0, 2.0])
    tensor([ True,  True])
    """
    return self.eq(self) | self.ne(self)


def heaviside(self: T, values: Operand) -> T:
    """0 below 0, 1 above, and `values` at 0. Without a gradient, as in PyTorch; of one dtype.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([-1.5, 0.0, 2.0]).heaviside(tg.tensor(0.5)).tolist()
    [0.0, 0.5, 1.0]
    """
    x, y = self._stopped(), self._operand(values, "heaviside")._stopped()
    if x.dtype != y.dtype:
        raise DTypeError(message("heaviside", f"dtypes {x.dtype.name} and {y.dtype.name}", "one dtype"))
    return y.where(x.eq(0), (x > 0).cast(x.dtype))


def fmax(self: T, other: Operand) -> T:
    """The larger of x and other, where a number beats NaN; of equal ones x gets the gradient.

    >>> import tinygrad_nn as tg
    >>> tg.fmax([1.0, float("nan")], [3.0, 2.0])
    tensor([3., 2.])
    """
    x, y = self._promoted(other, "fmax")
    return x.where((x >= y) | y.isnan(), y)


def fmin(self: T, other: Operand) -> T:
    """The smaller of x and other, where a number beats NaN; of equal ones x gets the gradient.

    >>> import tinygrad_nn as tg
    >>> tg.fmin([1.0, float("nan")], [3.0, 2.0])
    tensor([1., 2.])
    """
    x, y = self._promoted(other, "fmin")
    return x.where((x <= y) | y.isnan(), y)


def clamp_min(self: T, min: Operand) -> T:
    """x, but not less than `min`.

    >>> import tinygrad_nn as tg
    >>> tg.clamp_min([1.0, 5.0], 3.0)
    tensor([3., 5.])
    """
    return self.clamp(min=min)


def clamp_max(self: T, max: Operand) -> T:
    """x, but not more than `max`.

    >>> import tinygrad_nn as tg
    >>> tg.clamp_max([1.0, 5.0], 3.0)
    tensor([1., 3.])
    """
    return self.clamp(max=max)


# ---- arithmetic ------------------------------------------------------------------------------------------------------


@typed
def rsub(self: T, other: Operand, *, alpha: Number = 1) -> T:
    """other - alpha * x.

    >>> import tinygrad_nn as tg
    >>> tg.rsub([1.0, 2.0], 10.0)
    tensor([9., 8.])
    """
    scaled = self if is_plainly(alpha, 1) else self * alpha
    return self._answer("rsub", other, scaled.__rsub__(other))


def float_power(self: T, exponent: Operand) -> T:
    """x ** exponent in float64.

    >>> import tinygrad_nn as tg
    >>> tg.float_power([2, 3], 2).dtype
    dtype('float64')
    """
    return self.cast(FLOAT64) ** self._operand(exponent, "float_power").cast(FLOAT64)


def ldexp(self: T, other: Operand) -> T:
    """x * 2 ** other.

    >>> import tinygrad_nn as tg
    >>> tg.ldexp([1.0, 3.0], [2, 3])
    tensor([ 4., 24.])
    """
    return self * self._operand(other, "ldexp").exp2()


def hypot(self: T, other: Operand) -> T:
    """sqrt(x * x + other * other) without overflow.

    >>> import tinygrad_nn as tg
    >>> tg.hypot([3.0, 5.0], [4.0, 12.0])
    tensor([ 5., 13.])
    """
    x, y = self._promoted(other, "hypot")
    top = x._stopped().abs().maximum(y._stopped().abs())
    infinite = x.isinf() | y.isinf()
    top = top.masked_fill(top.eq(0) | infinite, 1)
    a, b = x / top, y / top
    return ((a * a + b * b).sqrt() * top).masked_fill(infinite, math.inf)


def nextafter(self: T, other: Operand) -> T:
    """The next number of the dtype from x towards `other`; the gradient goes to x where they differ.

    Siegfried M. Rump et al., Computing predecessor and successor in rounding to nearest, BIT 49 (2009).

    >>> import tinygrad_nn as tg
    >>> tg.nextafter([1.0], [2.0]).item() > 1.0
    True
    """
    a, b = self._promoted(other, "nextafter")
    x, y = a._floating("nextafter")._stopped(), b._stopped()
    up = x < y
    size = x.where(up, -x)  # towards +infinity from here
    limits = np.finfo(x.dtype)
    unit, least = float(limits.eps) / 2, float(limits.smallest_subnormal)
    large = size + (size.abs() * (unit * (1 + 2 * unit)) + least)
    scaled = size / unit  # where the step is more than the least number, and its product with `unit` less than that
    middle = (scaled + scaled.abs() * (unit * (1 + 2 * unit))) * unit
    small = size.abs() < least / unit
    step = large.where(size.abs() >= least / (2 * unit * unit), (size + least).where(small, middle))
    step = step.masked_fill(size.eq(-math.inf), -float(limits.max))
    moved = step.where(up, -step)
    found = y.where(x.eq(y), moved).masked_fill(x.isnan() | y.isnan(), math.nan)
    if a.requires_grad:
        found = found + (a - x).masked_fill(x.eq(y) | ~x.isfinite(), 0)
    return found._flat_in(b)


def deg2rad(self: T) -> T:
    """An angle in degrees as one in radians.

    >>> import tinygrad_nn as tg
    >>> tg.deg2rad([180.0, 90.0])
    tensor([3.1416, 1.5708])
    """
    return self.as_float() * (math.pi / 180)


def rad2deg(self: T) -> T:
    """An angle in radians as one in degrees.

    >>> import tinygrad_nn as tg
    >>> tg.rad2deg([0.0, 3.14159265])
    tensor([  0., 180.])
    """
    return self.as_float() * (180 / math.pi)


def gcd(self: T, other: Operand) -> T:
    """Greatest common divisor of integers, by Euclid's algorithm in as many steps as the longest can take.

    >>> import tinygrad_nn as tg
    >>> tg.gcd([12, 18], 8)
    tensor([4, 2])
    """
    x, y = _integers("gcd", self, other)
    x, y = x.abs(), y.abs()
    for _ in range(46 if x.dtype.itemsize == 4 else 92):  # numbers of Fibonacci take the most
        zero = y.eq(0)
        x, y = x.where(zero, y), (x % y.masked_fill(zero, 1)).masked_fill(zero, 0)
        if not (y.is_traced or y.any()):
            break
    return x


def lcm(self: T, other: Operand) -> T:
    """Least common multiple of integers.

    >>> import tinygrad_nn as tg
    >>> tg.lcm([4, 6], 10)
    tensor([20, 30])
    """
    x, y = _integers("lcm", self, other)
    divisor = gcd(x, y)
    return (x // divisor.masked_fill(divisor.eq(0), 1) * y).abs()


def _integers(name: str, x: T, other: Operand) -> tuple[T, T]:
    x, y = x._promoted(other, name)
    if x.dtype.kind != "i":
        raise DTypeError(message(name, f"dtype {x.dtype.name}", "integers"))
    return x, y


def frexp(self: T) -> Parts[T]:
    """(mantissa, exponent) with x = mantissa * 2 ** exponent and 0.5 <= |mantissa| < 1; 0, infinities and NaN as they
    are, with exponent 0.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([8.0, -0.75]).frexp()
    Parts(mantissa=tensor([ 0.50, -0.75]), exponent=tensor([4, 0], dtype=int32))
    """
    x = self._floating("frexp")
    size = x._stopped().abs()
    plain = size.isfinite() & size.ne(0)
    size = size.masked_fill(~plain, 0.5)
    exponent = size.log2().floor() + 1  # one off where the logarithm is rounded to a whole number
    scaled = _scaled(size, -exponent)
    exponent = exponent + (scaled >= 1).cast(x.dtype) - (scaled < 0.5).cast(x.dtype)
    exponent = exponent.masked_fill(~plain, 0)
    return Parts(_scaled(x, -exponent), exponent.cast(INT32))


def _scaled(x: T, exponent: T) -> T:
    """x * 2 ** exponent in two steps, neither of which overflows where the result does not."""
    half = (exponent * 0.5).trunc()
    return x * half.exp2() * (exponent - half).exp2()


# ---- functions of analysis and statistics ----------------------------------------------------------------------------


def sinc(self: T) -> T:
    """sin(pi * x) / (pi * x), and 1 at 0.

    >>> import tinygrad_nn as tg
    >>> tg.sinc([0.0, 0.5])
    tensor([1.0000, 0.6366])
    """
    x = self.as_float() * math.pi
    zero = x.eq(0)
    safe = x.masked_fill(zero, 1)
    ratio = (safe.sin() / safe).masked_fill(zero, 1)
    return ratio - (x * x / 6).masked_fill(~zero, 0)  # at 0 a parabola, whose curvature is that of sinc


def logaddexp2(self: T, other: Operand) -> T:
    """log2(2 ** x + 2 ** other) without overflow.

    >>> import tinygrad_nn as tg
    >>> tg.logaddexp2([0.0, 3.0], [0.0, 3.0])
    tensor([1., 4.])
    """
    x, y = _floats("logaddexp2", self, other)
    return (x * math.log(2)).logaddexp(y * math.log(2)) / math.log(2)


def xlogy(self: T, other: Operand) -> T:
    """x * log(other), and 0 where x is 0 and `other` is not NaN.

    >>> import tinygrad_nn as tg
    >>> tg.xlogy([0.0, 2.0], [0.0, 1.0])
    tensor([0., 0.])
    """
    x, y = _floats("xlogy", self, other)
    return (x * y.log()).masked_fill(x.eq(0) & ~y.isnan(), 0)


def xlog1py(self: T, other: Operand) -> T:
    """x * log1p(other), and 0 where x is 0 and `other` is not NaN.

    >>> import tinygrad_nn as tg
    >>> tg.xlog1py([0.0, 2.0], [-1.0, 1.0])
    tensor([0.0000, 1.3863])
    """
    x, y = _floats("xlog1py", self, other)
    return (x * y.log1p()).masked_fill(x.eq(0) & ~y.isnan(), 0)


def entr(self: T) -> T:
    """-x * log(x), the summand of an entropy; 0 at 0 and -inf below.

    >>> import tinygrad_nn as tg
    >>> tg.entr([0.0, 0.5])
    tensor([0.0000, 0.3466])
    """
    x = self.as_float()
    inside = -x * x.masked_fill(x <= 0, 1).log()
    return inside.masked_fill(x.eq(0), 0).masked_fill(x < 0, -math.inf)


def ndtr(self: T) -> T:
    """Distribution function of the standard normal distribution.

    >>> import tinygrad_nn as tg
    >>> tg.ndtr([0.0, 1.96])
    tensor([0.500, 0.975])
    """
    return (self.as_float() * -math.sqrt(0.5)).erfc() * 0.5


def log_ndtr(self: T) -> T:
    """log(ndtr(x)), exact where ndtr underflows.

    >>> import tinygrad_nn as tg
    >>> tg.log_ndtr([0.0, -10.0])
    tensor([ -0.6931, -53.2313])
    """
    x = self.as_float()
    low, high = x < -1, x > 0
    tail = erfcx((x * -math.sqrt(0.5)).masked_fill(~low, 1))
    above = (x * math.sqrt(0.5)).masked_fill(~high, 0).erfc() * -0.5
    near = ndtr(x.masked_fill(low | high, 0)).log().where(~high, above.log1p())
    return ((tail * 0.5).log() - x * x * 0.5).where(low, near)


def erfcx(self: T) -> T:
    """exp(x * x) * erfc(x), exact where the one overflows and the other underflows.

    Beyond 8.5 the asymptotic series, F. W. J. Olver et al., NIST Handbook of Mathematical Functions, 7.12.1.

    >>> import tinygrad_nn as tg
    >>> tg.erfcx([0.0, 10.0])
    tensor([1.0000, 0.0561])
    """
    x = self.as_float()
    far = x > 8.5
    near = x.masked_fill(far, 0)
    z = x.masked_fill(~far, 9)
    v = (1.0 / z) ** 2 * -0.5
    series = v * 0 + 1
    for k in range(11, 0, -1):
        series = series * v * (2 * k - 1) + 1
    return (series / (z * math.sqrt(math.pi))).where(far, (near * near).exp() * near.erfc())


def erfinv(self: T) -> T:
    """The inverse of erf; infinite at -1 and 1, NaN outside.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([0.0, 0.5, -1.0]).erfinv()
    tensor([0.0000, 0.4769,   -inf])
    """
    y = self.as_float()
    right = y >= 0
    size = y.where(right, -y)  # and not abs, whose slope at 0 is 0
    inside = size < 1
    a = size.masked_fill(~inside, 0)
    x = _inverse_erf(a, 1 - a).masked_fill(size.eq(1), math.inf).masked_fill((size > 1) | size.isnan(), math.nan)
    return x.where(right, -x)


def ndtri(self: T) -> T:
    """The inverse of ndtr: quantiles of the standard normal distribution.

    >>> import tinygrad_nn as tg
    >>> tg.ndtri([0.5, 0.975])
    tensor([0.00, 1.96])
    """
    p = self.as_float()
    right = p >= 0.5
    tail = (1 - p).where(right, p) * 2
    inside = (tail > 0) & (tail <= 1)
    tail = tail.masked_fill(~inside, 1)
    x = (_inverse_erf(1 - tail, tail) * math.sqrt(2)).masked_fill(p.eq(0) | p.eq(1), math.inf)
    x = x.masked_fill((p < 0) | (p > 1) | p.isnan(), math.nan)
    return x.where(right, -x)


def _inverse_erf(a: T, tail: T) -> T:
    """x with erf(x) = a and erfc(x) = tail, both from 0 to 1.

    A first value within some thousandths (S. Winitzki, A handy approximation for the error function and its inverse,
    2008; for small tails erfc(x) ~ exp(-x * x) / (x * sqrt(pi))), then Halley's method twice, which makes of an error e
    one of the order of e ** 9; so gradients may go through these two steps alone.
    """
    near, far = a._stopped(), tail._stopped()
    low = near < 0.5
    log = (-near * near).masked_fill(~low, 0).log1p().where(low, (far * (2 - far)).masked_fill(low, 1).log())
    b, c = log * 0.5 + 2 / (math.pi * 0.147), log / 0.147
    x = (-c / ((b * b - c).sqrt() + b)).sqrt()
    deep = x > 4
    x = (-(far * x * math.sqrt(math.pi)).masked_fill(~deep, 0.5).log()).sqrt().where(deep, x)
    for _ in range(2):
        gap = (x.erf() - a).where(low, tail - x.erfc())
        step = gap * (x * x).exp() * (math.sqrt(math.pi) / 2)
        x = x - step / (x * step + 1)
    return x


def expit(self: T) -> T:
    """1 / (1 + exp(-x)), as `sigmoid`.

    >>> import tinygrad_nn as tg
    >>> tg.expit([0.0, 2.0])
    tensor([0.5000, 0.8808])
    """
    return self.sigmoid()


# ---- activations that are methods ------------------------------------------------------------------------------------


@typed
def hardshrink(self: T, lambd: float = 0.5) -> T:
    """x, and 0 within [-lambd, lambd].

    >>> import tinygrad_nn as tg
    >>> tg.hardshrink([-2.0, 0.3, 1.0])
    tensor([-2.,  0.,  1.])
    """
    within = (self >= -lambd) & (self <= lambd)
    outside = (self < -lambd) | (self > lambd)
    return self.where(outside, (self * 0.0).masked_fill(within, 0.0))  # the slope at NaN is 0


def prelu(self: T, weight: Operand) -> T:
    """`leaky_relu` with a learned slope: one, or one per channel (axis 1).

    >>> import tinygrad_nn as tg
    >>> tg.prelu(tg.tensor([[-4.0, 4.0]]), tg.tensor([0.25]))
    tensor([[-1.,  4.]])
    """
    slopes = self._factor("prelu", weight)
    check_floats("prelu", self, slopes)
    if slopes.numel() == 1 and slopes.ndim < 2:
        slopes = slopes.reshape(())
    elif slopes.ndim == 1 and self.ndim > 1 and slopes.numel() == self.shape[1]:
        slopes = slopes.reshape((-1, *(1,) * (self.ndim - 2)))
    else:
        got = f"slopes of shape {slopes.shape} for shape {self.shape}"
        raise ShapeError(message("prelu", got, "1, or one per channel (axis 1)"))
    return self.where(self > 0, self * slopes)
