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

PLACES = np.array([[2, 0, 1, 2], [0, 0, 2, 1]])
ROWS = np.array([2, 0])
TWO = values(2, 4, seed=3)


def placed(name: str, *args: Any, how: tuple[str, ...], **more: Any) -> tuple[Case, ...]:
    """Calls with each way to put together what meets."""
    products = tuple(case(name, POSITIVE, *args, one, smooth=True, **more) for one in how)
    whole = tuple(case(name, POSITIVE, *args, one, include_self=False, **more) for one in how)
    ties = tuple(case(name, np.round(POSITIVE), *args[:-1], np.round(args[-1]), one, **more) for one in how)
    return (*products, *whole, *ties)


CASES: dict[str, dict[str, tuple[Case, ...]]] = {
    "placing": {
        "diagonal_scatter": (
            case("diagonal_scatter", X, values(3, seed=4), smooth=True),
            case("diagonal_scatter", X, values(3, seed=4), offset=1), case("diagonal_scatter", X, values(2), -1),
        ),
        "index_copy": (case("index_copy", X, 0, ROWS, TWO, smooth=True), case("index_copy", X, -2, ROWS, TWO)),
        "index_fill": (
            case("index_fill", X, 0, ROWS, 2.5, smooth=True), case("index_fill", X, 1, np.array([-1, 0]), -1.0),
            case("index_fill", NUMBERS, 0, ROWS, 9), case("index_fill", X, 0, ROWS, np.array(3.5)),
            case("index_fill", np.array(1.0), 0, np.array([0]), 4.0),
        ),
        "index_put": (
            Case(lambda lib, x, i, v: lib.index_put(x, (i,), v), (X, ROWS, TWO), True, True, True, 4),
            Case(lambda lib, x, i, v: lib.index_put(x, (i, i), v), (X, ROWS, np.array(7.0)), True, True, True, 4),
            Case(lambda lib, x, i, v: lib.index_put(x, (i,), v, True), (X, np.array([1, 1]), TWO), True, True, True, 4),
        ),
        "index_reduce": placed("index_reduce", 0, ROWS, TWO, how=("prod", "mean", "amax", "amin")),
        "masked_scatter": (
            case("masked_scatter", X, X > 0.5, values(12, seed=4), smooth=True),
            case("masked_scatter", X, ROW > 0, values(3, 4, seed=4)),
            case("masked_scatter", NUMBERS, NUMBERS > 0, ROWS),
        ),
        "put": (
            case("put", X, PLACES[:, :3] + np.array([3, 0, -4]), values(2, 3, seed=4), True, smooth=True),
            case("put", X, np.array([5, -1]), values(2), smooth=True), case("put", NUMBERS, ROWS, np.array([8, 9])),
        ),
        "scatter_reduce": (
            *placed("scatter_reduce", 0, PLACES, TWO, how=("sum", "prod", "mean", "amax", "amin")),
            case("scatter_reduce", X, 1, PLACES[:, :2], TWO[:, :2], "amax"),
            case("scatter_reduce", NUMBERS, 0, ROWS[:1], ROWS, "mean"),
            case("scatter_reduce", np.array(2.0), 0, np.array(0), np.array(3.0), "prod"),
            case("scatter_reduce", np.array([0.0, 2, 0]), 0, np.array([0, 1, 2]), np.array([3.0, 0, 0]), "prod"),
        ),
        "select_scatter": (
            case("select_scatter", X, ROW, 0, 1, smooth=True), case("select_scatter", X, values(3), 1, -1),
        ),
        "slice_scatter": (
            case("slice_scatter", X, TWO, 0, 1, smooth=True), case("slice_scatter", X, values(3, 2), 1, 0, 4, 2),
            case("slice_scatter", X, values(3, 2), dim=1, start=-2),
        ),
    },
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

# Methods that are not in `composed/` and have a form that writes.
PLACED: dict[str, tuple[Case, ...]] = {
    "index_add": (case("index_add", X, 0, ROWS, TWO, alpha=2.0),),
    "scatter": (case("scatter", X, 0, PLACES, TWO),),
    "scatter_add": (case("scatter_add", X, 0, PLACES, TWO),),
}
