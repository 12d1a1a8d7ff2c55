"""Transforms of functions against closed forms, PyTorch and each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import GraphError, ShapeError
from tinygrad_nn.support.pytree import flatten, unflatten

X = np.array([0.3, -1.2, 2.0])
V = np.array([1.0, 0.5, -2.0])


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def test_against_torch_func() -> None:
    torch = pytest.importorskip("torch")
    x, tx = tg.tensor(X), torch.tensor(X)
    np.testing.assert_allclose(tg.grad(rosenbrock)(x).numpy(), torch.func.grad(rosenbrock)(tx).numpy(), rtol=1e-12)
    np.testing.assert_allclose(
        tg.hessian(rosenbrock)(x).numpy(), torch.func.hessian(rosenbrock)(tx).numpy(), rtol=1e-12, atol=1e-12
    )

    def field(x: Any) -> Any:
        return x.sin() * x[0]

    np.testing.assert_allclose(tg.jacobian(field)(x).numpy(), torch.func.jacrev(field)(tx).numpy(), rtol=1e-12)
    out, tangent = tg.jvp(field, (x,), (tg.tensor(V),))
    tout, ttangent = torch.func.jvp(field, (tx,), (torch.tensor(V),))
    np.testing.assert_allclose(out.numpy(), tout.numpy())
    np.testing.assert_allclose(tangent.numpy(), ttangent.numpy(), rtol=1e-12)
    _, pull = tg.vjp(field, x)
    np.testing.assert_allclose(
        pull(tg.tensor(V))[0].numpy(), torch.func.vjp(field, tx)[1](torch.tensor(V))[0].numpy(), rtol=1e-12
    )


def test_hvp_is_hessian_times_vector() -> None:
    value, product = tg.hvp(rosenbrock, tg.tensor(X), tg.tensor(V))
    np.testing.assert_allclose(product.numpy(), tg.hessian(rosenbrock)(tg.tensor(X)).numpy() @ V, rtol=1e-10)
    assert value.item() == pytest.approx(rosenbrock(X))


def test_grad_nests_to_any_order() -> None:
    f = tg.grad(tg.grad(tg.grad(lambda x: x**5)))
    assert f(tg.tensor(2.0)).item() == pytest.approx(240.0)


def test_grad_inside_grad_with_a_closure() -> None:
    def outer(x: tg.Tensor) -> tg.Tensor:
        return tg.grad(lambda y: x * y * y)(tg.tensor(3.0)) * x  # type: ignore[no-any-return]

    assert tg.grad(outer)(tg.tensor(2.0)).item() == pytest.approx(24.0)


def test_results_stay_connected_to_parameters_outside() -> None:
    w = tg.tensor(3.0, requires_grad=True)
    tg.grad(lambda x: w * x * x)(tg.tensor(2.0)).backward()
    assert w.grad is not None
    assert w.grad.item() == 4.0
    with tg.no_grad():
        assert not tg.grad(lambda x: w * x * x)(tg.tensor(2.0)).requires_grad


def test_results_without_outside_parameters_are_plain() -> None:
    value, g = tg.value_and_grad(lambda x: (x * x).sum())(tg.ones(2))
    assert not value.requires_grad
    assert not g.requires_grad
    assert not tg.jacobian(lambda x: x * x)(tg.ones(2)).requires_grad


def test_structures_and_aux() -> None:
    params = {"w": tg.tensor([1.0, 2.0]), "b": [tg.tensor(0.5)]}

    def loss(p: Any, x: float) -> Any:
        out = (p["w"] * x).sum() + p["b"][0]
        return out * out, {"out": out}

    (value, aux), g = tg.value_and_grad(loss, has_aux=True)(params, 2.0)
    assert value.item() == pytest.approx(42.25)
    assert aux["out"].item() == pytest.approx(6.5)
    assert g["w"].tolist() == [26.0, 26.0]
    assert g["b"][0].item() == pytest.approx(13.0)


def test_argnums() -> None:
    gx, gy = tg.grad(lambda x, y: x * x * y, argnums=(0, 1))(tg.tensor(2.0), tg.tensor(3.0))
    assert (gx.item(), gy.item()) == (12.0, 4.0)


def test_an_argument_that_does_not_matter_has_gradient_zero() -> None:
    assert tg.grad(lambda x, y: y * 1, argnums=0)(tg.tensor(2.0), tg.tensor(3.0)).item() == 0.0
    assert tg.jvp(lambda x: tg.tensor(1.0), (tg.tensor(2.0),), (tg.tensor(1.0),))[1].item() == 0.0


def test_outputs_that_are_no_floats() -> None:
    def both(x: tg.Tensor) -> Any:
        return x.argsort(), x * x, x > 0

    x, v = tg.tensor(X), tg.tensor(V)
    _, (order, square, positive) = tg.jvp(both, (x,), (v,))
    np.testing.assert_array_equal(square.numpy(), 2 * X * V)
    for tangent, dtype in ((order, tg.int64), (positive, tg.bool)):
        assert tangent.dtype == dtype
        assert not tangent.any()
    (g,) = tg.vjp(both, x)[1]((order, v, positive))
    np.testing.assert_array_equal(g.numpy(), 2 * X * V)
    assert tg.jvp(lambda x: x.argmax(), (x,), (v,))[1].item() == 0


def test_jacobian_of_nothing() -> None:
    assert tg.jacobian(lambda x: x * 2)(tg.zeros(0)).shape == (0, 0)


def test_dot_grad_is_untouched() -> None:
    x = tg.tensor(2.0, requires_grad=True)
    tg.grad(lambda x: x * x)(x)
    assert x.grad is None


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: tg.grad(lambda x: x * 2)(tg.ones(3)), GraphError, r"returned \(3,\); expected a scalar"),
        (lambda: tg.grad(lambda x: 3.0)(tg.ones(3)), GraphError, "returned float"),
        (lambda: tg.jvp(lambda x: x, (tg.ones(2),), (tg.ones(3),)), ShapeError, "do not match the primals"),
        (lambda: tg.vjp(lambda x: x, tg.ones(2))[1]((tg.ones(2), tg.ones(2))), ShapeError, "another structure"),
        (lambda: tg.jacobian(lambda x: (x, x))(tg.ones(2)), GraphError, "use vjp"),
    ],
)
def test_misuse_is_named(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


@dataclass
class Pair:
    left: Any
    right: Any


@pytest.mark.parametrize("value", [1, [1, 2], (1, [2, (3,)]), {"b": 1, "a": {"c": [2]}}, Pair(1, [2, 3]), [], {}])
def test_pytrees_come_back(value: Any) -> None:
    leaves, tree = flatten(value)
    assert unflatten(tree, leaves) == value
    assert tree.size == len(leaves)
    assert hash(tree) == hash(flatten(value)[1])
