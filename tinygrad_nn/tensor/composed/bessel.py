"""Modified Bessel functions of the first kind, computed in float64 whatever the dtype.

Near 0 by their power series, far away by the asymptotic one (Abramowitz and Stegun 9.6.10, 9.7.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from ..contract import T
from ._series import polynomial, wide

_FAR: Final = 18.0  # from here on the asymptotic series is exact to the last digit, up to here the other one
_TERMS: Final = 48
_TERMS_FAR: Final = 26


def i0(self: T) -> T:
    """The modified Bessel function of order 0.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([0.0, 1.0]).i0()
    tensor([1.0000, 1.2661])
    """
    return wide(self, lambda x: _bessel(0, x, lambda size: size.exp()))


def i0e(self: T) -> T:
    """exp(-|x|) * i0(x).

    >>> import tinygrad_nn as tg
    >>> tg.i0e([0.0, 100.0])
    tensor([1.0000, 0.0399])
    """
    return wide(self, lambda x: _bessel(0, x, None))


def i1(self: T) -> T:
    """The modified Bessel function of order 1.

    >>> import tinygrad_nn as tg
    >>> tg.i1([0.0, 1.0])
    tensor([0.0000, 0.5652])
    """
    return wide(self, lambda x: _bessel(1, x, lambda size: size.exp()))


def i1e(self: T) -> T:
    """exp(-|x|) * i1(x).

    >>> import tinygrad_nn as tg
    >>> tg.i1e([0.0, 100.0])
    tensor([0.0000, 0.0397])
    """
    return wide(self, lambda x: _bessel(1, x, None))


def _bessel(order: int, x: T, scale: Callable[[T], T] | None) -> T:
    """The function of |x| times exp(-|x|), times `scale`; that of order 1 has the sign of x."""
    size = x.abs()
    far = size > _FAR
    low, high = x.masked_fill(far, 0.0), size.masked_fill(~far, _FAR)
    near = polynomial(low * low * 0.25, [1 / math.factorial(k) / math.factorial(k + order) for k in range(_TERMS)])
    near = near if order == 0 else near * low * 0.5
    factors = [1.0]
    for k in range(1, _TERMS_FAR):
        factors.append(factors[-1] * ((2 * k - 1) ** 2 - 4 * order * order) / (8 * k))
    beyond = polynomial(1 / high, factors) / (high * (2 * math.pi)).sqrt()
    beyond = beyond if order == 0 else beyond * x.sign()
    if scale is None:
        near = near * (-low.abs()).exp()
    else:
        beyond = beyond * scale(high)
    return beyond.where(far, near)
