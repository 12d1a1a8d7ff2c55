"""Numeric derivatives with an error bound: central differences, Richardson extrapolation, one-sided slopes for kinks.

Pure NumPy. A function takes and returns float64 vectors. The step is about 6e-4 of the argument and is halved twice;
the two extrapolations that result differ by about the error of the worse one, to which the rounding of the values is
added. A kink near the point spoils differences that reach over it: then the step is made shorter, down to 2e-8, so
that in the end only a kink *at* the point is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Function = Callable[[Vector], Vector]

STEP = 6e-4
SHORTENED = 5  # times, by 8: to about 2e-8
_ROUNDING = 8 * 2.0**-53


@dataclass(frozen=True)
class Slope:
    """Derivative of every output along one direction: estimate, error bound, and whether left and right slopes
    differ.
    """

    value: Vector
    error: Vector
    kink: npt.NDArray[np.bool_]


def slope(function: Function, x: Vector, direction: Vector, step: float, here: Vector) -> Slope:
    """The derivative of `function` at x along a direction; `here` is its value at x."""

    def pair(h: float) -> tuple[Vector, Vector]:
        return function(x + h * direction), function(x - h * direction)

    pairs = [pair(step / 2**k) for k in range(3)]
    with np.errstate(all="ignore"):
        d0, d1, d2 = ((up - down) / (2 * step / 2**k) for k, (up, down) in enumerate(pairs))
        first, second = (4 * d1 - d0) / 3, (4 * d2 - d1) / 3
        best = (16 * second - first) / 15
        up, down = pairs[2]
        size = np.maximum(np.maximum(np.abs(up), np.abs(down)), np.abs(here))
        # The differences of a smooth function settle by a factor of 4; where they do not, extrapolating gains nothing.
        slow = np.abs(d2 - d1) > 0.4 * np.abs(d1 - d0)
        error = np.where(slow, np.abs(d2 - d1), np.abs(best - second)) + _ROUNDING * size / (step / 4)
        right, left = (up - here) / (step / 4), (here - down) / (step / 4)
        # A smooth function's one-sided slopes differ by f'' * h, which shrinks with h; a kink's do not.
        wide_up, wide_down = pairs[0]
        gap, wide_gap = np.abs(right - left), np.abs((wide_up - here) / step - (here - wide_down) / step)
        kink = (gap > 0.5 * wide_gap) & (gap > 1e-4 * (np.abs(right) + np.abs(left)) + 100 * error)
    return Slope(best, np.where(np.isfinite(best), error, np.inf), kink)


def settled_slope(function: Function, x: Vector, direction: Vector, step: float, here: Vector, error: float) -> Slope:
    """The derivative with the longest step for which it is known to `error` and has no kink, output by output."""
    best = slope(function, x, direction, step, here)
    for _ in range(SHORTENED):
        open_ = best.kink | (best.error > error)
        if not open_.any():
            break
        step /= 8
        again = slope(function, x, direction, step, here)
        better = open_ & (~again.kink | best.kink) & ((again.error < best.error) | (best.kink & ~again.kink))
        best = Slope(*(np.where(better, b, a) for a, b in zip(_parts(best), _parts(again), strict=True)))
    return best


def confirmed(
    found: Slope, measure: Callable[[float], Slope], step: float, expected: Vector, allowed: Callable[[Slope], Vector]
) -> Slope:
    """What is found, measured again with shorter steps where it differs from what was expected.

    A kink nearby may spoil a difference by more than it knows, but not at every step; a wrong expectation is wrong at
    every step. So a shorter step counts where it is fine enough to see the difference there was, and sees none.
    """
    for _ in range(SHORTENED):
        gap = np.abs(expected - found.value)
        wrong = ~(gap <= allowed(found))
        if not wrong.any():
            break
        step /= 8
        again = measure(step)
        near = np.abs(expected - again.value)
        better = wrong & ~again.kink & (again.error <= gap / 4) & (near <= gap / 4) & (near <= allowed(again))
        found = Slope(*(np.where(better, b, a) for a, b in zip(_parts(found), _parts(again), strict=True)))
    return found


def _parts(found: Slope) -> tuple[Any, Any, Any]:
    return found.value, found.error, found.kink


def step_for(x: float, eps: float | None, low: float, high: float) -> float:
    """The first step at x: about 6e-4 * max(1, |x|), kept inside of (low, high)."""
    wanted = (STEP if eps is None else eps) * max(1.0, abs(x))
    return min(wanted, 0.4 * (x - low), 0.4 * (high - x))


def flat(values: Any) -> Vector:
    """Arrays as one float64 vector."""
    parts = [np.ravel(np.asarray(value, dtype=np.float64)) for value in values]
    return np.concatenate(parts) if parts else np.zeros(0)
