"""The logarithm of the gamma function and its derivatives, computed in float64 whatever the dtype.

Stirling's series holds from y = 8 on with 9 terms to the last digit; below, y = x + 8 and the recurrence leads back.
Left of 1/2 the reflection x -> 1 - x comes before (Abramowitz and Stegun 6.1.17, 6.1.41, 6.3.7, 6.3.18).
"""

from __future__ import annotations

import math
from typing import Final

from ...errors import ConfigError, message
from ...support.settings import integer
from ..contract import T
from ._series import polynomial, wide

_SHIFT: Final = 8
_BERNOULLI: Final = (  # B2, B4, ...
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798,
)  # fmt: skip


def lgamma(self: T) -> T:
    """log(|gamma(x)|); inf where gamma has a pole.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([5.0, 0.0]).lgamma().exp()
    tensor([24., inf])
    """
    return wide(self, _lgamma)


def _lgamma(x: T) -> T:
    left, right = x < 0.5, _right(x)
    y, low = _shifted(right)
    product = right
    for i in range(1, _SHIFT):
        product = product * (right + i)
    inverse = 1 / (y * y)
    series = polynomial(inverse, [b / (2 * k * (2 * k - 1)) for k, b in enumerate(_BERNOULLI, 1)]) / y
    value = (y - 0.5) * (y.log() - 1) + (series + (0.5 * math.log(2 * math.pi) - 0.5))
    value = value - product.masked_fill(~low, 1.0).log()
    inside = x.masked_fill(~left, 0.25)
    mirrored = math.log(math.pi) - _sin_pi(inside).abs().log() - value
    return mirrored.where(left, value).masked_fill(x.isinf(), math.inf)


def gammaln(self: T) -> T:
    """As `lgamma`.

    >>> import tinygrad_nn as tg
    >>> tg.gammaln([1.0, 5.0])
    tensor([0.0000, 3.1781])
    """
    return lgamma(self)


def digamma(self: T) -> T:
    """The derivative of lgamma: NaN at the poles below 0, -inf at 0, inf at -0.

    >>> import tinygrad_nn as tg
    >>> tg.digamma([1.0, 2.0])
    tensor([-0.5772,  0.4228])
    """
    return wide(self, _digamma)


def _digamma(x: T) -> T:
    left, right = x < 0.5, _right(x)
    y, low = _shifted(right)
    terms = 1 / right
    for i in range(1, _SHIFT):
        terms = terms + 1 / (right + i)
    inverse = 1 / (y * y)
    series = polynomial(inverse, [b / (2 * k) for k, b in enumerate(_BERNOULLI, 1)]) * inverse
    value = y.log() - 0.5 / y - series - terms.masked_fill(~low, 0.0)
    inside = x.masked_fill(~left, 0.25)
    nearest = inside - inside.round()
    mirrored = value - math.pi / (nearest * math.pi).tan()
    pole = nearest.eq(0) & (inside < 0)
    mirrored = mirrored.masked_fill(pole | x.eq(-math.inf), math.nan)
    return mirrored.where(left, value).where(x.ne(0), -1 / x)


def psi(self: T) -> T:
    """As `digamma`.

    >>> import tinygrad_nn as tg
    >>> tg.psi([1.0, 2.0])
    tensor([-0.5772,  0.4228])
    """
    return digamma(self)


def polygamma(self: T, n: int) -> T:
    """The nth derivative of digamma; infinite at 0, -1, -2, ...

    >>> import tinygrad_nn as tg
    >>> tg.tensor([1.0]).polygamma(1)
    tensor([1.6449])
    """
    order = integer("polygamma", "n", n, least=0)
    if order == 0:
        return digamma(self)
    return wide(self, lambda x: _mirrored(order, x))


def _mirrored(order: int, x: T) -> T:
    """Left of 1/2 by reflection, to which the derivatives of pi * cot(pi * x) belong: polynomials in the cotangent."""
    left = x < 0.5
    value = _polygamma(order, _right(x))
    inside = x.masked_fill(~left, 0.25)
    nearest = inside - inside.round()
    pole = nearest.eq(0)
    cotangent = 1 / (nearest.masked_fill(pole, 0.25) * math.pi).tan()
    slope = [0.0, 1.0]  # of the powers of the cotangent, whose own derivative is -pi * (1 + cot ** 2)
    for _ in range(order):
        rising = [k * factor for k, factor in enumerate(slope)][1:]
        slope = [-(a + b) for a, b in zip([*rising, 0.0, 0.0], [0.0, 0.0, *rising], strict=True)]
    sign = (-1.0) ** order
    mirrored = value * sign - polynomial(cotangent, slope) * math.pi ** (order + 1)
    return mirrored.masked_fill(pole, -sign * math.inf).where(left, value)


def _polygamma(order: int, x: T) -> T:
    """(-1) ** (n + 1) n! zeta(n + 1, x), the sum of (x + i) ** -s by Euler and Maclaurin's formula."""
    s, y = order + 1, x + _SHIFT
    total = x**-s
    for i in range(1, _SHIFT):
        total = total + (x + i) ** -s
    factors, rising = [], float(s)
    for k, b in enumerate(_BERNOULLI, 1):
        factors.append(b / math.factorial(2 * k) * rising)
        rising *= (s + 2 * k - 1) * (s + 2 * k)
    inverse = 1 / (y * y)
    power = y**-s
    total = total + y ** (1 - s) / (s - 1) + power * (0.5 + polynomial(inverse, factors) / y)
    return total * ((-1.0) ** (order + 1) * math.factorial(order))


def mvlgamma(self: T, p: int) -> T:
    """log of the gamma function of p dimensions: p (p - 1) / 4 log(pi) + the sum of lgamma(x - i / 2), i below p.

    >>> import tinygrad_nn as tg
    >>> tg.mvlgamma([2.0, 3.0], 2)
    tensor([0.4516, 1.5502])
    """
    dimensions = integer("mvlgamma", "p", p, least=1)
    if not self.is_traced and not bool((self.detach() > (dimensions - 1) / 2).all()):
        expected = f"numbers above (p - 1) / 2 = {(dimensions - 1) / 2}"
        raise ConfigError(message("mvlgamma", f"numbers that are too small for p {dimensions}", expected))
    x = self.as_float()
    terms = lgamma(x)
    for i in range(1, dimensions):
        terms = terms + lgamma(x - i / 2)
    return terms + dimensions * (dimensions - 1) / 4 * math.log(math.pi)


def _right(x: T) -> T:
    """x, reflected at 1/2 where it lies left of it."""
    return (1 - x).where(x < 0.5, x)


def _shifted(right: T) -> tuple[T, T]:
    """An argument of at least 8, and whether it was shifted for that."""
    low = right < _SHIFT
    return (right + _SHIFT).where(low, right), low


def _sin_pi(x: T) -> T:
    """sin(pi x) up to its sign, 0 at every integer."""
    return ((x - x.round()) * math.pi).sin()
