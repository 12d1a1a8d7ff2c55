"""In-place methods: the values PyTorch gives, where they are legal, and that recorded graphs keep what they saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.tensor.parity import FLOATS, check, values
from tinygrad_nn.errors import DTypeError, GraphError, ShapeError, TinygradError


def _augment(x: Any, symbol: str, y: Any) -> Any:
    names = {"x": x, "y": y}
    exec(f"x {symbol} y", names)
    assert names["x"] is x
    return x


IN_PLACE: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add_": lambda x, y, z: x.add_(y),
    "add_ alpha": lambda x, y, z: x.add_(y, alpha=2),
    "sub_": lambda x, y, z: x.sub_(y, alpha=3),
    "mul_": lambda x, y, z: x.mul_(y),
    "div_": lambda x, y, z: x.div_(y),
    "div_ floor": lambda x, y, z: x.div_(y, rounding_mode="floor"),
    "pow_": lambda x, y, z: x.pow_(2),
    "neg_": lambda x, y, z: x.neg_(),
    "sqrt_": lambda x, y, z: x.sqrt_(),
    "exp_": lambda x, y, z: x.exp_(),
    "relu_": lambda x, y, z: x.relu_(),
    "clamp_": lambda x, y, z: x.clamp_(-1, 1),
    "lerp_": lambda x, y, z: x.lerp_(y, 0.1),
    "addcmul_": lambda x, y, z: x.addcmul_(y, z, value=0.5),
    "addcdiv_": lambda x, y, z: x.addcdiv_(y, z),
    "copy_": lambda x, y, z: x.copy_(y),
    "copy_ broadcast": lambda x, y, z: x.copy_(y[0]),
    "fill_": lambda x, y, z: x.fill_(2.5),
    "zero_": lambda x, y, z: x.zero_(),
    "masked_fill_": lambda x, y, z: x.masked_fill_(y > 0, -1),
    **{f"x {s} y": lambda x, y, z, s=s: _augment(x, s, y) for s in ("+=", "-=", "*=", "/=", "//=", "%=")},
    "x **= 2": lambda x, y, z: _augment(x, "**=", 2),
}
NO_GRADIENT = {"x //= y"}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", IN_PLACE)
def test_values_and_gradients(name: str, dtype: Any) -> None:
    """The tensor written to is computed, so gradients flow through the write, as in PyTorch."""
    operands = [values(3, 4, low=0.5, seed=k).astype(dtype) for k in range(3)]

    def call(lib: Any, x: Any, y: Any, z: Any) -> Any:
        target = x * 2
        out = IN_PLACE[name](target, y, z)
        assert out is target
        return out + 3 * x

    check(call, *operands, grad=name not in NO_GRADIENT)


def test_bits_in_place() -> None:
    for symbol in ("&=", "|=", "^="):
        check(
            lambda lib, x, y, s=symbol: _augment(x, s, y), np.array([True, True, False]), np.array([True, False, False])
        )
        check(lambda lib, x, y, s=symbol: _augment(x, s, y), np.arange(5), np.arange(5) % 3)


def test_a_leaf_may_be_written_under_no_grad_and_stays_a_leaf() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    with tg.no_grad():
        x -= 0.5 * x.grad
        x.mul_(3)
    assert x.tolist() == [0.0, 0.0]
    assert x.is_leaf
    assert x.requires_grad
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 4.0]


WRONG: dict[str, tuple[Callable[[Any], Any], type[TinygradError], str]] = {
    "shape": (
        lambda x: x.add_(tg.ones(2, 3)),
        ShapeError,
        r"\[add_\] got a result of shape \(2, 3\) for a tensor of shape \(3,\)",
    ),
    "copy of a longer one": (lambda x: x.copy_(tg.ones(4)), ShapeError, r"\[expand\] got shapes \(4,\) and \(3,\)"),
    "float into int": (
        lambda x: x.long().add_(1.5),
        DTypeError,
        r"\[add_\] got a result of dtype float32 for a tensor of dtype int64",
    ),
    "int / int": (lambda x: x.long().div_(2), DTypeError, r"\[div_\] got a result of dtype float32 .*x = x \+ y"),
    "int into mask": (
        lambda x: x.bool().add_(1),
        DTypeError,
        r"\[add_\] got a result of dtype int64 for a tensor of dtype bool",
    ),
    "text": (lambda x: x.copy_("a"), DTypeError, r"\[copy_\] got data of dtype <U1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_named_and_changes_nothing(name: str) -> None:
    call, error, text = WRONG[name]
    x = tg.tensor([1.0, 2.0, 3.0])
    with pytest.raises(error, match=text):
        call(x)
    assert x.tolist() == [1.0, 2.0, 3.0]


def test_what_fits_is_converted() -> None:
    x = tg.tensor([1.0, 2.0], dtype=tg.float32)
    x += tg.tensor([0.5, 0.5], dtype=tg.float64)
    assert x.dtype == tg.float32
    n = tg.tensor([1, 2])
    assert n.fill_(2.9).tolist() == [2, 2]
    assert n.copy_(tg.tensor([7.5, np.nan])).tolist() == [7, 0]
    with pytest.raises(TypeError, match=r"\[add\] got 'a' as an operand"):
        x += "a"


def test_every_method_refuses_a_leaf_that_requires_grad() -> None:
    y, z = tg.ones(2), tg.ones(2)
    for write in IN_PLACE.values():
        x = tg.tensor([1.0, 2.0], requires_grad=True)
        with pytest.raises(
            GraphError, match=r"got a leaf that requires grad, to be written in place; hint: write under"
        ):
            write(x, y, z)
        assert x.tolist() == [1.0, 2.0]


def test_recorded_graphs_keep_the_values_they_saw() -> None:
    x = tg.tensor([2.0, 3.0], requires_grad=True)
    y = x * 1
    out = (y * y).sum()
    y.zero_()
    out.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [4.0, 6.0]


def test_copies_and_arrays_keep_their_values() -> None:
    x = tg.tensor([1.0, 2.0])
    copy, array = x.clone(), x.numpy()
    x += 10
    assert (copy.tolist(), array.tolist()) == ([1.0, 2.0], [1.0, 2.0])


def test_a_leaf_that_backward_needs_and_that_was_written_is_an_error() -> None:
    w = tg.tensor([2.0], requires_grad=True)
    loss = (w * w).sum()
    with tg.no_grad():
        w += 1
    with pytest.raises(GraphError, match=r"was since written in place"):
        loss.backward()
