"""How the functions of `tensor/composed/` are called in tests: a table for each file, at least one case for each name.

`case(operands..., smooth)` calls the function of that name; `Case(call, ...)` anything else. A smooth case is
differentiated twice, so its operands lie away from kinks and ties.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tests.tensor.parity import SPECIAL, pairs, values


class Case(NamedTuple):
    """A call of a library with tensors; what can be asked of it beside PyTorch's values and gradients."""

    call: Callable[..., Any]  # (lib, *tensors)
    operands: tuple[Any, ...]
    smooth: bool  # gradients are right to the second order
    grad: bool  # PyTorch's gradients are ours
    compiles: bool
    ulps: float


def case(
    name: str,
    *operands: Any,
    smooth: bool = False,
    grad: bool = True,
    compiles: bool = True,
    ulps: float = 32,
    **more: Any,
) -> Case:
    """A call of the function of that name; arrays become tensors."""
    return Case(lambda lib, *tensors: getattr(lib, name)(*tensors, **more), operands, smooth, grad, compiles, ulps)


ANGLES = values(3, 4, low=-400, high=400)
X, Y, ROW = values(3, 4), values(3, 4, seed=1), values(4, seed=2)
POSITIVE = values(3, 4, low=0.2, high=3)
NUMBERS = np.array([3, -2, 0, 7])

CASES: dict[str, dict[str, tuple[Case, ...]]] = {
    "special": {
        "copysign": (
            case("copysign", X, Y, smooth=True), case("copysign", X, -2.0, smooth=True),
            case("copysign", *pairs(SPECIAL), grad=False), case("copysign", NUMBERS, -NUMBERS),
        ),
        "deg2rad": (case("deg2rad", ANGLES, smooth=True), case("deg2rad", NUMBERS)),
        "rad2deg": (case("rad2deg", X, smooth=True), case("rad2deg", NUMBERS)),
        "signbit": (case("signbit", SPECIAL), case("signbit", NUMBERS), case("signbit", NUMBERS > 0)),
        "sinc": (case("sinc", X, smooth=True), case("sinc", np.array([0.0, 0.5, -1.25])), case("sinc", NUMBERS)),
        "xlogy": (
            case("xlogy", X, POSITIVE, smooth=True), case("xlogy", X, ROW**2, smooth=True), case("xlogy", X, 2.5),
            case("xlogy", *pairs(SPECIAL), grad=False), case("xlogy", NUMBERS, NUMBERS),
        ),
    },
    "statistics": {
        name: (
            case(name, X, smooth=True), case(name, X, 1, smooth=True), case(name, X, False),
            case(name, X, dim=(0, 1), correction=0, keepdim=True), case(name, X, 0, False, True),
        )
        for name in ("std_mean", "var_mean")
    },
}  # fmt: skip
