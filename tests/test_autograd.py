"""tg.autograd.grad and tg.Function: values, higher orders, and every way to misuse them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import GraphError, ShapeError


class Cube(tg.Function):
    calls = 0

    @staticmethod
    def forward(ctx: Any, x: tg.Tensor) -> tg.Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> tg.Tensor:
        Cube.calls += 1
        (x,) = ctx.saved_tensors
        return 3 * x * x * g


class Exp(tg.Function):
    """Saves its output."""

    @staticmethod
    def forward(ctx: Any, x: tg.Tensor) -> tg.Tensor:
        out = x.exp()
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> tg.Tensor:
        (out,) = ctx.saved_tensors
        return g * out


class SumAndDifference(tg.Function):
    """Two outputs, two tensors and a number."""

    @staticmethod
    def forward(ctx: Any, x: tg.Tensor, factor: float, y: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        ctx.factor = factor
        return x + factor * y, x - factor * y

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor, h: tg.Tensor) -> tuple[tg.Tensor, None, tg.Tensor]:
        return g + h, None, ctx.factor * (g - h)


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


def test_grad_leaves_dot_grad_alone() -> None:
    x = leaf(2.0)
    (g,) = tg.autograd.grad((x * x).sum(), x)
    assert g is not None
    assert g.tolist() == [4.0]
    assert x.grad is None


def test_grad_of_several_outputs_with_cotangents() -> None:
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    gx, gy = tg.autograd.grad((x * y, x + y), (x, y), (tg.tensor([1.0, 0.0]).double(), tg.tensor([0.0, 10.0]).double()))
    assert gx is not None
    assert gy is not None
    assert (gx.tolist(), gy.tolist()) == ([3.0, 10.0], [1.0, 10.0])


def lists(gradients: tuple[tg.Tensor | None, ...]) -> list[Any]:
    return [None if one is None else one.tolist() for one in gradients]


def test_several_cotangents_at_once() -> None:
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = tg.tensor([4.0, 5.0, 6.0], requires_grad=True)
    of_one = tg.autograd.grad(x**2, [x, y], tg.eye(3), is_grads_batched=True, allow_unused=True, only_inputs=True)
    assert lists(of_one) == [[[2, 0, 0], [0, 4, 0], [0, 0, 6]], None]
    of_two = tg.autograd.grad([x * y, x + y], [x, y], [tg.eye(3), tg.ones(3, 3)], is_grads_batched=True)
    assert lists(of_two) == [[[5, 1, 1], [1, 6, 1], [1, 1, 7]], [[2, 1, 1], [1, 3, 1], [1, 1, 4]]]


def test_zeros_instead_of_none() -> None:
    x, y = tg.ones(2, requires_grad=True), tg.ones(3, requires_grad=True)
    assert lists(tg.autograd.grad(x.sum(), [x, y], materialize_grads=True)) == [[1, 1], [0, 0, 0]]
    with pytest.raises(GraphError, match="one of them"):
        tg.autograd.grad(x.sum(), [x, y], materialize_grads=True, allow_unused=False)
    with pytest.raises(GraphError, match="only_inputs"):
        tg.autograd.grad(x.sum(), x, only_inputs=False)


def test_grad_of_an_intermediate() -> None:
    x = leaf(3.0)
    y = x * 2
    (g,) = tg.autograd.grad((y * y).sum(), y)
    assert g is not None
    assert g.tolist() == [12.0]


def test_third_derivative() -> None:
    x = leaf(2.0)
    first = (x**4).sum()
    for expected in (32.0, 48.0, 48.0):
        (first,) = tg.autograd.grad(first.sum(), x, create_graph=True)  # type: ignore[assignment]
        assert first.tolist() == [expected]


def test_unused_input() -> None:
    x, y = leaf(1.0), leaf(1.0)
    with pytest.raises(
        GraphError, match=r"\[grad\] got input 1, which the outputs do not depend on; hint: pass allow_unused"
    ):
        tg.autograd.grad(x.sum(), (x, y), retain_graph=True)
    assert tg.autograd.grad(x.sum(), (x, y), allow_unused=True)[1] is None


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: tg.autograd.grad(x.sum(), tg.ones(1)), GraphError, "input 0, which does not require grad"),
        (lambda x: tg.autograd.grad(tg.ones(1), x), GraphError, "nothing that requires grad"),
        (lambda x: tg.autograd.grad(x * 2, x), GraphError, "one element"),
        (lambda x: tg.autograd.grad(x * 2, x, tg.ones(3)), ShapeError, r"gradient of shape \(3,\)"),
        (lambda x: tg.autograd.grad((x, x), x, (tg.ones(2),)), ShapeError, "1 grad_outputs for 2 outputs"),
    ],
)
def test_misuse_is_named(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(leaf(1.0, 2.0))


@pytest.mark.parametrize("function", [Cube, Exp], ids=["saved input", "saved output"])
def test_custom_functions_differentiate_twice(function: type[tg.Function]) -> None:
    x = leaf(0.3, -1.2)
    assert tg.testing.gradcheck(function.apply, (x,), order=2)


def test_custom_function_with_two_outputs() -> None:
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    total, difference = SumAndDifference.apply(x, 2.0, y)
    assert (total.tolist(), difference.tolist()) == ([7.0, 10.0], [-5.0, -6.0])
    (total * 3 + difference).sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad.tolist(), y.grad.tolist()) == ([4.0, 4.0], [4.0, 4.0])


def test_outputs_that_get_the_same_cotangent() -> None:
    x, y = leaf(1.0), leaf(3.0)
    total, difference = SumAndDifference.apply(x, 2.0, y)
    (total + difference).sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad.tolist(), y.grad.tolist()) == ([2.0], [0.0])


def test_backward_runs_once_per_walk() -> None:
    Cube.calls = 0
    x = leaf(1.0)
    Cube.apply(x * x).sum().backward()
    assert Cube.calls == 1


def test_a_recorded_walk_from_the_cotangent_of_a_plain_one() -> None:
    x, seed = leaf(2.0), tg.tensor([1.0], dtype=tg.float64)
    out = Cube.apply(x)
    for create_graph in (False, True, False, True):
        (g,) = tg.autograd.grad(out, x, seed, retain_graph=True, create_graph=create_graph)
        assert g is not None
        assert g.tolist() == [12.0]
        assert g.requires_grad == create_graph
        if create_graph:
            assert tg.autograd.grad(g, x)[0].tolist() == [12.0]  # type: ignore[union-attr]


def test_without_gradients_nothing_is_recorded() -> None:
    assert not Cube.apply(tg.ones(2)).requires_grad
    with tg.no_grad():
        assert not Cube.apply(leaf(1.0)).requires_grad


def test_wrong_backward_is_named() -> None:
    class TooMany(Cube):
        @staticmethod
        def backward(ctx: Any, g: tg.Tensor) -> Any:
            return g, g

    class WrongShape(Cube):
        @staticmethod
        def backward(ctx: Any, g: tg.Tensor) -> Any:
            return g.sum().reshape(1)

    x = leaf(1.0, 2.0)
    with pytest.raises(GraphError, match=r"\[TooMany\] got 2 gradients from backward; expected 1"):
        TooMany.apply(x).sum().backward()
    with pytest.raises(
        ShapeError, match=r"\[WrongShape\] got a gradient of shape \(1,\) for argument 0 of shape \(2,\)"
    ):
        WrongShape.apply(x).sum().backward()


def test_a_gradient_that_is_none_is_zero() -> None:
    class Ignores(Cube):
        @staticmethod
        def backward(ctx: Any, g: tg.Tensor) -> Any:
            return None

    x = leaf(1.0, 2.0)
    Ignores.apply(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0]


def test_saved_values_survive_a_write_to_the_handle() -> None:
    x = leaf(2.0)
    y = Cube.apply(x * 1).sum()
    with tg.no_grad():
        x.assign(tg.tensor([5.0], dtype=tg.float64))
    np.testing.assert_array_equal(y.tolist(), 8.0)
