"""Fused multiply-add on NumPy arrays, `a * b + c` rounded once: the reference for the machine's instruction.

float32 goes through float64, where the product is exact, and float64 through the error-free transformations of Dekker
and Knuth; both sums are rounded to odd, which makes the second rounding harmless (S. Boldo, G. Melquiond, "Emulation
of FMA and correctly rounded sums: proved algorithms using rounding to odd", IEEE Trans. Computers 57, 2008). Where a
partial result could overflow or underflow, and where there are few elements, exact arithmetic of whole numbers takes
over, one element at a time.
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

import numpy as np

_SPLIT: Final = 134217729.0  # 2**27 + 1, halves a float64
FEW: Final = 16  # elements that are sooner done one by one


def fma(a: Any, b: Any, c: Any) -> Any:
    """`a * b + c` rounded once, for three float32 or three float64 arrays that broadcast."""
    if isinstance(a, float) and isinstance(b, float) and isinstance(c, float):
        return np.float64(_one(float(a), float(b), float(c)))
    with np.errstate(all="ignore"):
        if np.asarray(a).dtype == np.float32:
            product = np.multiply(a, b, dtype=np.float64)
            return _add_to_odd(product, np.asarray(c, np.float64)).astype(np.float32)
        return _fma64(*np.broadcast_arrays(*np.atleast_1d(a, b, c))).reshape(
            np.broadcast_shapes(*map(np.shape, (a, b, c)))
        )


def _one(a: float, b: float, c: float) -> float:
    """The same for one element."""
    if not (isfinite(a) and isfinite(b)):
        return a * b + c
    if not isfinite(c):
        return c
    return _exact(a, b, c) if a and b else a * b + c


def _fma64(a: Any, b: Any, c: Any) -> Any:
    if a.size <= FEW:
        found = map(_one, *(x.ravel().tolist() for x in (a, b, c)))
        return np.array([*found], np.float64)
    high, low = _two_product(a, b)
    top, rest = _two_sum(c, low)
    main, error = _two_sum(high, top)
    fused = main + _add_to_odd(rest, error)
    factors = np.isfinite(a) & np.isfinite(b)
    plain = ~(factors & np.isfinite(c)) | (a == 0) | (b == 0)
    safe = _within(a, 2.0**-400, 2.0**400) & _within(b, 2.0**-400, 2.0**400) & (np.abs(c) < 2.0**900)
    result = np.where(plain, np.where(factors & ~np.isfinite(c), c, a * b + c), fused)
    for k in zip(*np.nonzero(~plain & ~safe), strict=True):
        result[k] = _exact(float(a[k]), float(b[k]), float(c[k]))
    return result


def _within(x: Any, low: float, high: float) -> Any:
    return (np.abs(x) > low) & (np.abs(x) < high)


def _two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """The rounded sum and its error, exactly."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def _two_product(a: Any, b: Any) -> tuple[Any, Any]:
    """The rounded product and its error, exactly while nothing overflows or underflows."""
    product = a * b
    a_high, b_high = a * _SPLIT - (a * _SPLIT - a), b * _SPLIT - (b * _SPLIT - b)
    a_low, b_low = a - a_high, b - b_high
    return product, a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


def _add_to_odd(a: Any, b: Any) -> Any:
    """`a + b` in float64, rounded to the neighbour with an odd last bit when it is not exact."""
    total, error = _two_sum(a, b)
    even = (np.asarray(total).view(np.int64) & 1) == 0
    inexact = (error != 0) & np.isfinite(error)
    return np.where(inexact & even, np.nextafter(total, np.where(error > 0, np.inf, -np.inf)), total)


def _exact(a: float, b: float, c: float) -> float:
    """The ratio of two whole numbers is rounded once. A zero is positive unless it is too small a number below 0."""
    (x, over_x), (y, over_y), (z, over_z) = a.as_integer_ratio(), b.as_integer_ratio(), c.as_integer_ratio()
    over = over_x * over_y
    numerator = x * y * over_z + z * over
    try:
        return numerator / (over * over_z)
    except OverflowError:
        return np.inf if numerator > 0 else -np.inf
