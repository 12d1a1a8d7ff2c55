"""Each identity holds for right gradients, and fails for a Function that is wrong in just that way."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import tinygrad_nn as tg
from tinygrad_nn.errors import GradcheckError
from tinygrad_nn.ops import TABLE
from tinygrad_nn.testing import gradcheck, strategies
from tinygrad_nn.testing.identities import (
    GRADIENT,
    RECORDED,
    Identity,
    adjoint,
    like_the_input,
    linear,
    same_bits,
    symmetric_hessian,
    zero_for_zero,
)
from tinygrad_nn.testing.subjects import function_problem

FIRST = (like_the_input, *GRADIENT)
ALL = (*FIRST, *RECORDED)


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


def hold(identity: Identity, function: Callable[..., Any], *inputs: Any) -> None:
    for seed in range(3):
        problem, _ = function_problem(function, inputs, None, seed)
        identity(problem, np.random.default_rng(seed))


class Product(tg.Function):
    """x * y with the right gradient; the classes below spoil it."""

    calls = 0

    @staticmethod
    def forward(ctx: Any, x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g * y, g * x


class Narrow(Product):
    """Gradients of another dtype."""

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> Any:
        return tuple(found.float() for found in Product.backward(ctx, g))


class Restless(Product):
    """Each call differs by a rounding."""

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> Any:
        Product.calls += 1
        return tuple(found * (1 + Product.calls * 2.0**-50) for found in Product.backward(ctx, g))


class Clipped(Product):
    """Zero for zero, but not linear."""

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> Any:
        return Product.backward(ctx, g.clamp(-0.5, 0.5))


class Shifted(Product):
    """Linear up to far less than the tolerance, and never 0."""

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> Any:
        return tuple(found + 1e-12 for found in Product.backward(ctx, g))


class Unrecorded(Product):
    """Right at first order; the cotangent is lost to a second walk."""

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> Any:
        return Product.backward(ctx, g.detach())


class HalfRecorded(Product):
    """Right at first order; a second walk finds only a half of the derivative by the cotangent."""

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> Any:
        return Product.backward(ctx, (g + g.detach()) * 0.5)


class Bent(Product):
    """The gradient of no function: d/dy of the first is 1, d/dx of the second 2 x."""

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g * y, g * x * x


class Frozen(Product):
    """Right at first order; a second walk finds that the first gradient does not depend on y."""

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g * y.detach(), g * x


WRONG = [
    (like_the_input, Narrow, r"a gradient \(2,\):float32 for an input \(2,\):float64; expected the input's shape"),
    (same_bits, Restless, "other bits when the same tape is differentiated again"),
    (linear, Clipped, "a vector-Jacobian product that is not linear in the cotangent"),
    (zero_for_zero, Shifted, "a gradient that is not 0 for the cotangent 0; expected exact zeros"),
    (adjoint, Unrecorded, r"<v, J u> = 0 and <J\^T v, u> = .*; expected equal numbers; hint: the backward is not"),
    (adjoint, HalfRecorded, r"<v, J u> = "),
    (symmetric_hessian, Bent, "<a, H b> = .* and <b, H a> = .*; expected a symmetric Hessian"),
    (symmetric_hessian, Frozen, ".*a symmetric Hessian"),
]


@pytest.mark.parametrize(("identity", "function", "text"), WRONG, ids=lambda v: getattr(v, "__name__", ""))
def test_each_identity_can_fail(identity: Identity, function: type[tg.Function], text: str) -> None:
    with pytest.raises(GradcheckError, match=r"\[gradcheck\] got " + text):
        hold(identity, function.apply, leaf(0.3, -1.2), leaf(1.5, 0.7))


ELSEWHERE_RIGHT: dict[type[tg.Function], tuple[Identity, ...]] = {
    Narrow: (same_bits, zero_for_zero),
    Restless: (like_the_input, linear, zero_for_zero, adjoint, symmetric_hessian),
    Clipped: (like_the_input, same_bits, zero_for_zero),
    Shifted: (like_the_input, same_bits, linear, adjoint, symmetric_hessian),
    Unrecorded: FIRST,
    HalfRecorded: FIRST,
    Bent: (*FIRST, adjoint),
    Frozen: (*FIRST, adjoint),
}


@pytest.mark.parametrize("function", ELSEWHERE_RIGHT, ids=lambda function: function.__name__)
def test_a_failure_names_its_cause(function: type[tg.Function]) -> None:
    for identity in ELSEWHERE_RIGHT[function]:
        hold(identity, function.apply, leaf(0.3, -1.2), leaf(1.5, 0.7))


def test_a_gradient_of_another_shape() -> None:
    broken = dataclasses.replace(TABLE["neg"], vjp=(lambda g, out, x: -g.sum(),))
    with pytest.raises(GradcheckError, match=r"a gradient \(\):float64 for an input \(2,\):float64"):
        hold(like_the_input, lambda x: x.apply(broken), leaf(1.0, 2.0))


RIGHT: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "custom": (Product.apply, (leaf(0.3, -1.2), leaf(1.5, 0.7))),
    "several outputs": (lambda x, y: (x.sin() * y, x.sum() * y, (x * x).argsort()), (leaf(0.3, 2.0), leaf(1.0, -1.0))),
    "an input of no use": (lambda x, y: x.exp(), (leaf(0.3), leaf(2.0))),
    "an output of no input": (lambda x: (x * x, tg.ones(2, dtype=tg.float64)), (leaf(0.3, 1.0),)),
    "no output of any input": (lambda x: tg.ones(2, dtype=tg.float64), (leaf(0.3),)),
    "other arguments": (lambda x, k, n: x[k] ** n, (leaf(0.3, 2.0, 1.5), tg.tensor([2, 0]), 3)),
    "nothing": (lambda x: x * x, (leaf(),)),
    "noise that cancels": (lambda x: (2 * x).sin() - 2 * x.sin() * x.cos(), (leaf(0.3, 1.1),)),
    "large": (lambda x: (x * 20).exp(), (leaf(0.9, 1.1),)),
    "not finite": (lambda x: x.sqrt(), (leaf(0.0, 1.0),)),
    "kinks": (lambda x: x.relu() * x.abs(), (leaf(0.0, 1.0, -1.0),)),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("identity", ALL, ids=lambda identity: identity.__name__)
def test_right_gradients_hold(identity: Identity, name: str) -> None:
    function, inputs = RIGHT[name]
    hold(identity, function, *inputs)


@given(strategies.modules(in_features=2))
def test_whole_modules_hold(model: tg.nn.Module) -> None:
    x = tg.tensor(np.random.default_rng(1).normal(size=(3, 2))).requires_grad_()
    problem, _ = function_problem(model, (x,), None, 0)
    for identity in ALL:
        identity(problem, np.random.default_rng(0))


def test_gradcheck_asks_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for function, text in ((Narrow, "float32 for an input"), (Restless, "other bits"), (Shifted, "cotangent 0")):
        with pytest.raises(GradcheckError, match=text):
            gradcheck(function.apply, (leaf(0.3), leaf(1.5)), order=1)
    asked: list[tuple[str, int]] = []

    def spies(identities: tuple[Identity, ...]) -> Any:
        return tuple(lambda problem, rng, name=i.__name__: asked.append((name, problem.order)) for i in identities)

    module = importlib.import_module("tinygrad_nn.testing.gradcheck")  # the package has the function of that name
    monkeypatch.setattr(module, "GRADIENT", spies(GRADIENT))
    monkeypatch.setattr(module, "RECORDED", spies(RECORDED))
    first = [(identity.__name__, 1) for identity in GRADIENT]
    gradcheck(Product.apply, (leaf(0.3), leaf(1.5)), order=1)
    assert asked == first
    asked.clear()
    gradcheck(Product.apply, (leaf(0.3), leaf(1.5)))
    second = [(identity.__name__, 2) for identity in GRADIENT]
    assert asked == [*first, *((identity.__name__, 1) for identity in RECORDED), *second]


def test_a_backward_that_cannot_be_recorded_passes_to_first_order() -> None:
    assert gradcheck(Unrecorded.apply, (leaf(0.3), leaf(1.5)), order=1)
    with pytest.raises(GradcheckError):
        gradcheck(Unrecorded.apply, (leaf(0.3), leaf(1.5)))
