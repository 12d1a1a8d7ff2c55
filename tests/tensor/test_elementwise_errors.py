"""Elementwise methods: wrong input is named, and what other libraries leave undefined has a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import ConfigError, DTypeError, GraphError, ShapeError, TinygradError

MASK = np.array([True, False, True])
INTS = np.array([1, -2, 3])
FLOATS = np.array([1.0, -2.0, 0.5])

WRONG: dict[str, tuple[Callable[[Any, Any, Any], Any], type[TinygradError], str]] = {
    "shapes": (
        lambda b, i, f: f + tg.tensor([1.0, 2.0]),
        ShapeError,
        r"\[add\] got shapes \(3,\) and \(2,\); expected shapes that",
    ),
    "shapes of three": (
        lambda b, i, f: f.where(b, tg.tensor([1.0, 2.0])),
        ShapeError,
        r"\[where\] got shapes \(3,\) and",
    ),
    "sub of masks": (
        lambda b, i, f: b - b,
        DTypeError,
        r"\[sub\] got dtype bool and bool; expected a float or an integer",
    ),
    "mask // mask": (lambda b, i, f: b // b, DTypeError, r"\[floor_divide\] got dtype bool"),
    "mask // True": (lambda b, i, f: b // True, DTypeError, r"\[floor_divide\] got dtype bool"),
    "mask % mask": (lambda b, i, f: b % b, DTypeError, r"\[remainder\] got dtype bool"),
    "mask ** mask": (lambda b, i, f: b**b, DTypeError, r"\[pow\] got dtype bool"),
    "fmod of masks": (lambda b, i, f: b.fmod(b), DTypeError, r"\[fmod\] got dtype bool"),
    "mask << mask": (lambda b, i, f: b << b, DTypeError, r"\[shift_left\] got dtype bool"),
    "-mask": (lambda b, i, f: -b, DTypeError, r"\[neg\] got dtype bool; expected a number; hint: use ~x"),
    "abs of a mask": (lambda b, i, f: abs(b), DTypeError, r"\[abs\] got dtype bool"),
    "relu of a mask": (lambda b, i, f: b.relu(), DTypeError, r"\[relu\] got dtype bool"),
    "floor of a mask": (lambda b, i, f: b.floor(), DTypeError, r"\[floor\] got dtype bool"),
    "round of integers": (
        lambda b, i, f: i.round(decimals=-1),
        DTypeError,
        r"\[round\] got dtype int64; expected a float",
    ),
    "~float": (lambda b, i, f: ~f, DTypeError, r"\[bitwise_not\] got dtype float64; expected an integer or bool"),
    "float & float": (lambda b, i, f: f & f, DTypeError, r"\[bitwise_and\] got dtype float64 and float64"),
    "float << 1": (lambda b, i, f: f << 1, DTypeError, r"\[shift_left\] got dtype float64"),
    "int ** -1": (
        lambda b, i, f: i**-1,
        DTypeError,
        r"\[pow\] got dtype int64 and exponent -1; .*hint: convert it with \.float",
    ),
    "where of no mask": (
        lambda b, i, f: f.where(i, 0),
        DTypeError,
        r"\[where\] got a mask of dtype int64; expected bool; hint: compare",
    ),
    "masked_fill of no mask": (
        lambda b, i, f: f.masked_fill(f, 0),
        DTypeError,
        r"\[masked_fill\] got a mask of dtype float64",
    ),
    "text": (
        lambda b, i, f: f.maximum("a"),
        DTypeError,
        r"\[maximum\] got data of dtype <U1; expected bool, int32",
    ),
    "a list of text": (lambda b, i, f: f.eq(["a"]), DTypeError, r"\[eq\] got data of dtype <U1"),
    "a dict": (lambda b, i, f: f.eq({}), DTypeError, r"\[eq\] got data of type dict"),
    "an array of objects": (
        lambda b, i, f: f + np.array([None] * 3),
        DTypeError,
        r"\[add\] got data of dtype object; expected bool, int32",
    ),
    "a complex array": (lambda b, i, f: f * np.array([1j] * 3), DTypeError, r"\[mul\] got data of dtype complex128"),
    "too large": (
        lambda b, i, f: i.to(tg.int32) + 2**40,
        DTypeError,
        r"got 1099511627776; expected a number that int32 can hold",
    ),
    "no bound": (lambda b, i, f: f.clamp(), ConfigError, r"\[clamp\] got neither min nor max"),
    "rounding_mode": (
        lambda b, i, f: f.div(f, rounding_mode="up"),
        ConfigError,
        r"rounding_mode='up'; expected None, 'trunc' or 'floor'",
    ),
    "a dtype": (lambda b, i, f: f.to("complex64"), DTypeError, r"\[to\] got dtype complex64; expected bool"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_named(name: str) -> None:
    call, error, text = WRONG[name]
    with pytest.raises(error, match=text):
        call(tg.tensor(MASK), tg.tensor(INTS), tg.tensor(FLOATS))


def test_foreign_operands_are_named() -> None:
    x = tg.tensor(FLOATS)
    for operate in (lambda: x + "a", lambda: x * {1.0}, lambda: x < None, lambda: x ** "2"):
        with pytest.raises(TypeError, match=r"^\[\w+\] got .* as an operand; expected a tensor, a number"):
            operate()
    assert (x == "a") is False
    assert (x != None) is True  # noqa: E711


def test_extreme_integers_wrap_around() -> None:
    low = np.iinfo(np.int64).min
    x = tg.tensor([low])
    assert (-x).item() == low
    assert abs(x).item() == low
    assert (x // -1).item() == low
    assert (x % -1).item() == 0
    assert (x - 1).item() == np.iinfo(np.int64).max


def test_integers_to_negative_powers() -> None:
    base, power = tg.tensor([2, 1, -1, -1, 0, 3]), tg.tensor([-1, -5, -2, -3, -1, 2])
    assert (base**power).tolist() == [0, 1, 1, -1, 0, 9]
    assert (2 ** tg.tensor([-1, 3])).tolist() == [0, 8]


def test_floats_become_integers_defined() -> None:
    x = tg.tensor([np.nan, np.inf, -np.inf, 1e30, -1e30, 2.9, -2.9], dtype=tg.float64)
    assert x.to(tg.int32).tolist() == [0, 2**31 - 1, -(2**31), 2**31 - 1, -(2**31), 2, -2]
    assert x.to(tg.int64).tolist() == [0, 2**63 - 1, -(2**63), 2**63 - 1, -(2**63), 2, -2]
    assert x.bool().all()


def test_integers_and_bools_carry_no_gradient() -> None:
    x = tg.tensor([1.5, 2.5], requires_grad=True)
    for y in (x.long(), x.bool(), x > 2, x.isnan(), x.argmax()):
        assert not y.requires_grad
    x.float().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == x.dtype


def test_arrays_are_tensors_and_numpys_scalars_are_numbers() -> None:
    x = tg.tensor([1.0, 2.0], dtype=tg.float32)
    for out in (x * np.ones(2), np.ones(2) * x, np.ones(2) - x, x.maximum(np.ones(2))):
        assert isinstance(out, tg.Tensor)
        assert out.dtype == tg.float64
    for out in (x * np.float64(2), np.float64(2) * x, x + np.int64(1), np.float32(1) - x, x ** np.float64(2)):
        assert isinstance(out, tg.Tensor)
        assert out.dtype == tg.float32
    assert (np.ones(2) == x).tolist() == [True, False]
    assert (np.float64(1.5) < x).tolist() == [False, True]


def test_an_array_written_to_afterwards_does_not_change_the_record() -> None:
    array = np.array([2.0, 3.0])
    x = tg.tensor([1.0, 1.0], dtype=tg.float64, requires_grad=True)
    y = (x * array).sum()
    array[:] = 0
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 3.0]


def test_logaddexp_is_smooth_where_its_operands_are_equal() -> None:
    """softplus starts from it, and a model that starts at 0 needs a curvature of 1/4 there."""
    x = tg.tensor([0.0, -1.5], dtype=tg.float64, requires_grad=True)
    (slope,) = tg.autograd.grad(x.logaddexp(x.detach()).sum(), x, create_graph=True)
    (curvature,) = tg.autograd.grad(slope.sum(), x)
    assert slope.tolist() == [0.5, 0.5]
    assert curvature.tolist() == [0.25, 0.25]


def test_equal_bounds_of_clamp_get_the_gradient_once() -> None:
    x, bound = tg.tensor([0.0, 1.0, 2.0]), tg.tensor([1.0, 1.0, 1.0], requires_grad=True)
    x.requires_grad_()
    low = bound * 1
    x.clamp(low, bound).sum().backward()
    assert x.grad is not None
    assert bound.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 0.0]
    assert bound.grad.tolist() == [1.0, 0.0, 1.0]


def test_lerp_ends_exactly_where_it_should() -> None:
    x, y = tg.tensor([0.1, -3.3, 1e20]), tg.tensor([0.7, 5.1, 1.0])
    for weight in (0, 1, tg.tensor(0.0), tg.tensor(1.0)):
        assert x.lerp(y, weight).equal(y if float(weight) else x)


def test_nan_never_hides() -> None:
    nan = tg.tensor([np.nan])
    for out in (
        nan.relu(),
        nan.clamp(0, 1),
        nan.maximum(nan * 0 + 1),
        nan.sigmoid(),
        nan.logaddexp(0.0),
        nan.amax(),
        nan.sum(),
    ):
        assert out.isnan().all()
    assert not (nan == nan).any()
    assert nan.sign().item() == 0  # as in PyTorch


def test_nothing_is_written_over_a_leaf_by_reading_it() -> None:
    x = tg.tensor([1.0], requires_grad=True)
    with pytest.raises(GraphError, match=r"\[\+=\] got a leaf that requires grad.*hint: write under tg.no_grad"):
        x += 1
    assert x.tolist() == [1.0]
