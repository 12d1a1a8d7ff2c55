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


def method(name: str, *operands: Any) -> Case:
    """A call of what is a method alone."""
    return Case(lambda lib, x, *more: getattr(x, name)(*more), operands, True, True, True, 4)


ANGLES = values(3, 4, low=-400, high=400)
X, Y, ROW = values(3, 4), values(3, 4, seed=1), values(4, seed=2)
POSITIVE = values(3, 4, low=0.2, high=3)
NUMBERS = np.array([3, -2, 0, 7])

PLACES = np.array([[2, 0, 1, 2], [0, 0, 2, 1]])
ROWS = np.array([2, 0])
TWO = values(2, 4, seed=3)
MM, BATCH, BATCH2 = values(3, 2), values(2, 3, 4, seed=5), values(2, 4, 2, seed=6)


def placed(name: str, *args: Any, how: tuple[str, ...], **more: Any) -> tuple[Case, ...]:
    """Calls with each way to put together what meets."""
    products = tuple(case(name, POSITIVE, *args, one, smooth=True, **more) for one in how)
    whole = tuple(case(name, POSITIVE, *args, one, include_self=False, **more) for one in how)
    ties = tuple(case(name, np.round(POSITIVE), *args[:-1], np.round(args[-1]), one, **more) for one in how)
    return (*products, *whole, *ties)


CASES: dict[str, dict[str, tuple[Case, ...]]] = {
    "matrices": {
        "addbmm": (
            case("addbmm", MM, BATCH, BATCH2, smooth=True), case("addbmm", MM, BATCH, BATCH2, beta=0.5, alpha=-2.0),
            case("addbmm", np.array([[1, 2]]), np.ones((2, 3, 4), int), np.ones((2, 4, 2), int), beta=2),
        ),
        "addr": (case("addr", X, values(3), ROW, smooth=True), case("addr", ROW, values(3), ROW, beta=0.5, alpha=3)),
        "baddbmm": (
            case("baddbmm", MM, BATCH, BATCH2, smooth=True),
            case("baddbmm", MM, BATCH, BATCH2, beta=0, alpha=3.0, grad=False),
            case("baddbmm", np.full((2, 3, 2), np.nan), BATCH, BATCH2, beta=0, grad=False),
        ),
        "cdist": (
            case("cdist", X, TWO, smooth=True, ulps=256), case("cdist", BATCH, X, p=1.0),
            case("cdist", X, X, p=3.0, grad=False, ulps=256), case("cdist", X, TWO, p=float("inf")),
            case("cdist", X, np.round(X), p=0.0, grad=False), case("cdist", X, X[:, :0]),
        ),
        "cross": (
            case("cross", X, Y, 0, smooth=True), case("cross", X, Y), case("cross", X, values(3, 1), dim=0),
            case("cross", X, Y, dim=1),
        ),
        "ger": (case("ger", ROW, values(3), smooth=True),),
        "vdot": (case("vdot", ROW, values(4), smooth=True), case("vdot", NUMBERS, NUMBERS), case("vdot", ROW, X)),
    },
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
    "rearranging": {
        "diag": (
            case("diag", ROW, smooth=True), case("diag", ROW, 2), case("diag", ROW, -1), case("diag", X),
            case("diag", X, -1), case("diag", NUMBERS > 0), case("diag", BATCH),
        ),
        "diag_embed": (
            case("diag_embed", X, smooth=True), case("diag_embed", X, 1), case("diag_embed", X, -2, 0, 2),
            case("diag_embed", X, dim1=1, dim2=0), case("diag_embed", X[:, :0]), case("diag_embed", X, 0, 1, 1),
        ),
        "diagflat": (case("diagflat", TWO, smooth=True), case("diagflat", np.array(2.0)), case("diagflat", ROW, -1)),
        "dsplit": (case("dsplit", BATCH, 2, smooth=True), case("dsplit", BATCH, [1, 3]), case("dsplit", BATCH, 3)),
        "fliplr": (case("fliplr", X, smooth=True), case("fliplr", ROW)),
        "flipud": (case("flipud", X, smooth=True), case("flipud", NUMBERS)),
        "hsplit": (case("hsplit", X, 2, smooth=True), case("hsplit", ROW, 4), case("hsplit", X, (1, 9))),
        "kron": (
            case("kron", X, TWO, smooth=True), case("kron", ROW, BATCH), case("kron", np.array(2.0), X),
            case("kron", NUMBERS, NUMBERS > 0),
        ),
        "moveaxis": (case("moveaxis", BATCH, 0, 2, smooth=True), case("moveaxis", BATCH, (0, 1), (-1, 0))),
        "narrow_copy": (case("narrow_copy", X, 1, 1, 2, smooth=True),),
        "repeat_interleave": (
            case("repeat_interleave", X, 2, smooth=True), case("repeat_interleave", X, 3, 1),
            case("repeat_interleave", X, np.array([1, 0, 2]), 0, compiles=False), case("repeat_interleave", X, -1),
            case("repeat_interleave", X, np.array([1, 0, 2]), 0, output_size=3),
            case("repeat_interleave", np.array([2, 0, 3]), compiles=False), case("repeat_interleave", X, ROWS, 0),
            case("repeat_interleave", np.array(2.0), 2),
        ),
        "rot90": (
            *(case("rot90", X, k, smooth=k == 1) for k in range(-1, 5)),
            case("rot90", BATCH, 1, (2, 0)), case("rot90", X, 1, (0, 0)),
        ),
        "split_with_sizes": (case("split_with_sizes", X, [1, 3], 1, smooth=True),),
        "swapdims": (case("swapdims", BATCH, 0, -1, smooth=True),),
        "tensor_split": (
            case("tensor_split", X, 2, smooth=True), case("tensor_split", X, (1, 2), dim=1),
            case("tensor_split", ROW, (3, 1)), case("tensor_split", X, 5), case("tensor_split", X, 0),
            case("tensor_split", ROW, sections=3), case("tensor_split", ROW, indices=(1, -1)),
        ),
        "trace": (case("trace", X, smooth=True), case("trace", NUMBERS[None]), case("trace", ROW)),
        "unsafe_chunk": (case("unsafe_chunk", X, 2, 1, smooth=True),),
        "unsafe_split": (case("unsafe_split", X, 3, 1, smooth=True),),
        "vsplit": (case("vsplit", X, 3, smooth=True), case("vsplit", X, 2), case("vsplit", ROW, 2)),
        "adjoint": (method("adjoint", BATCH),),
        "reshape_as": (method("reshape_as", X, np.ones((1, 4, 3), int)),),
        "sum_to_size": (method("sum_to_size", BATCH, 1, 4), method("sum_to_size", X, 3, 4)),
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
