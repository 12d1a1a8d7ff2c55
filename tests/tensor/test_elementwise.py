"""Elementwise functions against PyTorch: values, gradients and dtypes, on special numbers, 0-d and empty tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.tensor.parity import DTYPES, FLOATS, INTS, MODERATE, NAN, SPECIAL, check, pairs, values

UNARY: dict[str, Callable[[Any, Any], Any]] = {
    name: lambda lib, x, name=name: getattr(lib, name)(x)
    for name in (  # noqa: SIM905
        "abs absolute neg exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square reciprocal sin cos tan asin acos atan "
        "sinh cosh tanh asinh acosh atanh sigmoid erf erfc relu floor ceil round trunc frac sign isnan isinf isfinite "
        "nan_to_num logical_not bitwise_not"
    ).split()
} | {
    "round 2": lambda lib, x: lib.round(x, decimals=2),
    "round -1": lambda lib, x: lib.round(x, decimals=-1),
    "logit": lambda lib, x: lib.logit(x),
    "logit eps": lambda lib, x: lib.logit(x, 0.1),
    "nan_to_num 1 2 3": lambda lib, x: lib.nan_to_num(x, 1.0, 2.0, -3.0),
    "clamp min": lambda lib, x: lib.clamp(x, -1),
    "clamp max": lambda lib, x: x.clamp(max=2),
    "clamp both": lambda lib, x: lib.clip(x, min=-1, max=2),
    "clamp crossed": lambda lib, x: x.clamp(2.0, -1.0),
    "clamp nan": lambda lib, x: x.clamp(NAN, 1.0),
    "clamp of ints by floats": lambda lib, x: x.clamp(0.5),
    "-x": lambda lib, x: -x,
    "~x": lambda lib, x: ~x,
    "abs(x)": lambda lib, x: abs(x),
    "x ** 0": lambda lib, x: x**0,
    "x ** 1": lambda lib, x: x**1,
    "x ** 2": lambda lib, x: x**2,
    "x ** 3": lambda lib, x: x**3,
    "x ** 4": lambda lib, x: x**4,
    "x ** 0.5": lambda lib, x: x**0.5,
    "x ** -1": lambda lib, x: x**-1,
    "x ** -2": lambda lib, x: x**-2,
    "x ** 1.5": lambda lib, x: x**1.5,
    "2 ** x": lambda lib, x: 2**x,
    "0.0 ** x": lambda lib, x: 0.0**x,
    "x + 1": lambda lib, x: x + 1,
    "x + 1.5": lambda lib, x: x + 1.5,
    "1 - x": lambda lib, x: 1 - x,
    "x * True": lambda lib, x: x * True,
    "1 / x": lambda lib, x: 1 / x,
    "x / 3": lambda lib, x: x / 3,
    "x // 0.7": lambda lib, x: x // 0.7,
    "7.5 // x": lambda lib, x: 7.5 // x,
    "x % 0.7": lambda lib, x: x % 0.7,
    "-1.5 % x": lambda lib, x: -1.5 % x,
    "x == 0": lambda lib, x: x == 0,
    "x > 0.5": lambda lib, x: x > 0.5,
    "1 <= x": lambda lib, x: 1 <= x,  # noqa: SIM300
    "float": lambda lib, x: x.float(),
    "double": lambda lib, x: x.double(),
    "bool": lambda lib, x: x.bool(),
    "type_as": lambda lib, x: x.type_as(lib.tensor(1.0)),
    "to": lambda lib, x: x.to(lib.tensor(1.0)),
}  # fmt: skip

# Where PyTorch refuses and we do not: `1 - mask`, frac of integers.
BEYOND_TORCH = {("1 - x", np.bool_), ("frac", np.int32), ("frac", np.int64)}
# Where PyTorch has no gradient, and where its gradient is NaN because the value is.
NO_GRADIENT = {"x // 0.7", "7.5 // x", "-1.5 % x"}
NO_GRADIENT_OF_NAN = {"logit", "logit eps"}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_tensor(name: str, dtype: Any) -> None:
    call, grad, partial = UNARY[name], name not in NO_GRADIENT, name in NO_GRADIENT_OF_NAN
    check(call, values(5, low=0.1, high=0.9).astype(dtype), grad=grad)
    check(call, values(3, 4).astype(dtype), grad=grad and not partial)
    check(call, values(7, low=1.1, high=40.0).astype(dtype), grad=grad and not partial)
    check(call, SPECIAL.astype(dtype), grad=grad and not partial, ulps=64, grad_ulps=256)
    check(call, np.array([0.0, 0.5, 1.0, 1e-20]).astype(dtype), grad=grad, ulps=64, grad_ulps=256)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_tensor_in_every_dtype_and_rank(name: str, dtype: Any) -> None:
    if (name, dtype) in BEYOND_TORCH:
        return
    for shape in ((), (0, 3), (2, 1)):
        check(UNARY[name], np.ones(shape, dtype), grad=name not in NO_GRADIENT)
    if dtype in INTS:
        check(UNARY[name], np.array([1, 2, -3, 7, -1], dtype))


BINARY: dict[str, Callable[[Any, Any, Any], Any]] = {
    name: lambda lib, x, y, name=name: getattr(lib, name)(x, y)
    for name in (  # noqa: SIM905
        "add sub mul div true_divide floor_divide remainder fmod pow maximum minimum atan2 logaddexp eq ne lt le gt ge "
        "logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift "
        "isclose"
    ).split()
} | {
    "x + y": lambda lib, x, y: x + y,
    "x - y": lambda lib, x, y: x - y,
    "x * y": lambda lib, x, y: x * y,
    "x / y": lambda lib, x, y: x / y,
    "x // y": lambda lib, x, y: x // y,
    "x % y": lambda lib, x, y: x % y,
    "x ** y": lambda lib, x, y: x**y,
    "x & y": lambda lib, x, y: x & y,
    "x | y": lambda lib, x, y: x | y,
    "x ^ y": lambda lib, x, y: x ^ y,
    "x << y": lambda lib, x, y: x << y,
    "x >> y": lambda lib, x, y: x >> y,
    "x == y": lambda lib, x, y: x == y,
    "x != y": lambda lib, x, y: x != y,
    "x < y": lambda lib, x, y: x < y,
    "x <= y": lambda lib, x, y: x <= y,
    "x > y": lambda lib, x, y: x > y,
    "x >= y": lambda lib, x, y: x >= y,
    "add alpha": lambda lib, x, y: x.add(y, alpha=2),
    "sub alpha": lambda lib, x, y: lib.sub(x, y, alpha=2),
    "div trunc": lambda lib, x, y: x.div(y, rounding_mode="trunc"),
    "div floor": lambda lib, x, y: x.div(y, rounding_mode="floor"),
    "max": lambda lib, x, y: x.max(y),
    "min": lambda lib, x, y: lib.min(x, other=y),
    "where": lambda lib, x, y: lib.where(x > 0, x, y),
    "where number": lambda lib, x, y: lib.where(x > y, x, 1),
    "where number first": lambda lib, x, y: lib.where(x > y, 2.5, y),
    "where method": lambda lib, x, y: x.where(y > 0, y),
    "masked_fill": lambda lib, x, y: x.masked_fill(y > 0, 2),
    "clamp below": lambda lib, x, y: x.clamp(y),
    "clamp above": lambda lib, x, y: lib.clamp(x, max=y),
    "clamp between": lambda lib, x, y: x.clamp(y, y + 1),
    "clamp tensor and number": lambda lib, x, y: x.clamp(y, lib.tensor(1.25)),
    "lerp number": lambda lib, x, y: x.lerp(y, 0.25),
    "lerp number far": lambda lib, x, y: x.lerp(y, 0.75),
    "isclose nan": lambda lib, x, y: x.isclose(y, rtol=0.5, atol=0.1, equal_nan=True),
    "allclose": lambda lib, x, y: lib.allclose(x, y),
    "equal": lambda lib, x, y: lib.equal(x, y),
}  # fmt: skip

# PyTorch has no gradient for floor_divide (ours is 0) and does not take integers in three cases. The gradient of a
# truncated quotient, 0 times that of the quotient, is NaN here where the quotient is not finite.
NO_GRADIENT_OF_TWO = {"floor_divide", "x // y"}
NO_GRADIENT_AT_SPECIAL = NO_GRADIENT_OF_TWO | {"div trunc"}
FLOATS_ONLY = {"logaddexp", "lerp number", "lerp number far"}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_tensors(name: str, dtype: Any) -> None:
    call, grad = BINARY[name], name not in NO_GRADIENT_OF_TWO
    check(call, values(3, 4).astype(dtype), values(3, 4, seed=1).astype(dtype), grad=grad)
    check(call, values(3, 1, low=0.1).astype(dtype), values(4, seed=1).astype(dtype), grad=grad)
    check(call, values(0, 1).astype(dtype), values(4).astype(dtype), grad=grad)
    # In float32 remainders of 1e20 by 1e-20 are NaN in PyTorch.
    numbers = MODERATE if dtype == np.float32 or name == "clamp between" else SPECIAL
    if name == "clamp between":  # the gradient of equal bounds is that of one of them here, and lost in PyTorch
        numbers = numbers[~np.isinf(numbers)]
    check(call, *(a.astype(dtype) for a in pairs(numbers)), grad=name not in NO_GRADIENT_AT_SPECIAL, grad_ulps=256)


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_integers(name: str, dtype: Any) -> None:
    if name not in FLOATS_ONLY:
        check(BINARY[name], *pairs(np.array([-7, -3, -1, 1, 2, 5], dtype)))


def test_functions_of_three_tensors() -> None:
    x, y, w = values(3, 4), values(3, 4, seed=1), values(4, low=-0.5, high=1.5, seed=2)
    for dtype in FLOATS:
        operands = [a.astype(dtype) for a in (x, y, w)]
        check(lambda lib, x, y, w: x.lerp(y, w), *operands)
        check(lambda lib, x, y, w: lib.addcmul(x, y, w), *operands)
        check(lambda lib, x, y, w: x.addcmul(y, w, value=-2), *operands)
        check(lambda lib, x, y, w: lib.addcdiv(x, y, w, value=0.5), *operands)
        check(lambda lib, x, y, w: x.clamp(y, w), *operands)
        check(lambda lib, x, y, w: lib.where(w > 0, x, y), *operands)
    check(lambda lib, x, y, w: lib.addcmul(x, y, w, value=2), *(np.arange(k, k + 3) for k in range(3)))


@pytest.mark.parametrize("first", DTYPES)
@pytest.mark.parametrize("second", DTYPES)
@pytest.mark.parametrize(
    "name", ["add", "mul", "div", "pow", "floor_divide", "remainder", "lt", "maximum", "atan2", "where", "lerp"]
)
def test_promotion(name: str, first: Any, second: Any) -> None:
    """Every pair of dtypes, as tensors with axes, 0-d tensors and Python numbers, gives PyTorch's dtype."""

    def call(lib: Any, x: Any, y: Any) -> Any:
        return lib.where(lib.tensor([True, False]), x, y) if name == "where" else getattr(lib, name)(x, y)

    if name == "lerp" and not (first == second and first in FLOATS):
        return  # PyTorch wants equal float dtypes
    if name == "pow" and first == second == np.bool_:
        return  # an error for tensors, and in PyTorch no error for the number True
    numbers = [] if name in ("maximum", "atan2") else [second(1).item()]  # PyTorch wants tensors
    for x in (np.ones(2, first), np.ones((), first)):
        for y in (np.ones(2, second), np.ones((), second), *numbers):
            check(call, x, y, grad=False)
    if name == "where":
        check(call, first(1).item(), second(1).item(), grad=False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_operators_with_numbers_on_the_left(dtype: Any) -> None:
    for x in (np.ones(2, dtype), np.ones((), dtype)):
        for number in (True, 2, 2.5):
            check(lambda lib, x, n=number: n + x, x, grad=False)
            check(lambda lib, x, n=number: n * x, x, grad=False)
            check(lambda lib, x, n=number: n / x, x, grad=False)
            check(lambda lib, x, n=number: n > x, x, grad=False)
            check(lambda lib, x, n=number: n == x, x, grad=False)
            if dtype != np.bool_ and number is not True:  # PyTorch has no `-` for bools
                check(lambda lib, x, n=number: n - x, x, grad=False)
            if dtype != np.bool_:
                check(lambda lib, x, n=number: n // x, x, grad=False)
                check(lambda lib, x, n=number: n % x, x, grad=False)
                check(lambda lib, x, n=number: n**x, x, grad=False)
                check(lambda lib, x, n=number: n << x, x, grad=False)
                check(lambda lib, x, n=number: n >> x, x, grad=False)
                check(lambda lib, x, n=number: n & x, x, grad=False)
                check(lambda lib, x, n=number: n | x, x, grad=False)
                check(lambda lib, x, n=number: n ^ x, x, grad=False)
