"""tg.checkpoint: the same bits as without it, to second order, holding no values in between."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg


def block(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
    return ((x @ w).tanh() @ w).sin()


def data() -> tuple[tg.Tensor, tg.Tensor]:
    rng = np.random.default_rng(0)
    return tuple(tg.tensor(rng.normal(size=(4, 4))).requires_grad_() for _ in range(2))  # type: ignore[return-value]


def test_same_bits_as_without() -> None:
    x, w = data()
    plain = tg.autograd.grad(block(x, w).sum(), (x, w))
    kept = tg.autograd.grad(tg.checkpoint(block, x, w).sum(), (x, w))
    for a, b in zip(plain, kept, strict=True):
        assert a is not None
        assert b is not None
        assert a.tolist() == b.tolist()


def test_parameters_of_the_closure_get_their_gradient() -> None:
    x, w = data()
    tg.checkpoint(lambda x: block(x, w), x).sum().backward()
    assert w.grad is not None
    (expected,) = tg.autograd.grad(block(x, w).sum(), w)
    assert expected is not None
    assert w.grad.tolist() == expected.tolist()


def test_second_order() -> None:
    x, w = data()
    assert tg.testing.gradcheck(lambda x, w: tg.checkpoint(block, x, w), (x, w), order=2)


def test_one_after_another_with_a_shared_parameter() -> None:
    """What flows from one into the one before is not counted by both."""
    x, w = data()
    kept = tg.checkpoint(lambda x: block(x, w), tg.checkpoint(lambda x: block(x, w), x)).sum()
    for a, b in zip(*(tg.autograd.grad(y, (x, w)) for y in (kept, block(block(x, w), w).sum())), strict=True):
        assert a is not None
        assert b is not None
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)
    two = lambda x, w: tg.checkpoint(block, tg.checkpoint(block, x, w), w)  # noqa: E731
    assert tg.testing.gradcheck(two, (x, w), order=2)


def test_random_masks_are_the_same_the_second_time() -> None:
    x, _ = data()
    masks = []

    def masked(x: tg.Tensor) -> tg.Tensor:
        mask = (tg.rand(4, 4, dtype=tg.float64) > 0.5).double()
        masks.append(mask)
        return x * x * mask

    tg.checkpoint(masked, x).sum().backward()
    assert len(masks) == 1
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), (2 * x * masks[0]).detach().numpy())


def test_values_in_between_are_dropped() -> None:
    x, w = data()
    seen = []

    def spy(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
        middle = x @ w
        seen.append(weakref.ref(middle.node))
        return middle.tanh() @ w

    out = tg.checkpoint(spy, x, w)
    assert seen[0]() is None
    out.sum().backward()
    assert x.grad is not None


def test_several_outputs_and_no_gradient() -> None:
    x, w = data()
    a, b = tg.checkpoint(lambda x: (x * w, tg.ones(2)), x)
    assert a.requires_grad
    assert not b.requires_grad
    with tg.no_grad():
        assert not tg.checkpoint(block, x, w).requires_grad


def test_a_recorded_walk_from_the_cotangent_of_a_plain_one() -> None:
    x, y = (tg.tensor([value], dtype=tg.float64, requires_grad=True) for value in (2.0, 3.0))
    seed = tg.tensor([1.0], dtype=tg.float64)
    out = tg.checkpoint(lambda x, y: x * x * x * y, x, y)
    for create_graph in (False, True, False, True):
        (g,) = tg.autograd.grad(out, x, seed, retain_graph=True, create_graph=create_graph)  # y is not walked to
        assert g is not None
        assert g.tolist() == [36.0]
        assert g.requires_grad == create_graph
        if create_graph:
            assert tg.autograd.grad(g, x)[0].tolist() == [36.0]  # type: ignore[union-attr]


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_checkpoint_and_a_function_inside_of_a_checkpoint(create_graph: bool) -> None:
    class Cube(tg.Function):
        @staticmethod
        def forward(ctx: Any, x: tg.Tensor) -> tg.Tensor:
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx: Any, g: tg.Tensor) -> tg.Tensor:
            (x,) = ctx.saved_tensors
            return 3 * x * x * g

    def inner(x: tg.Tensor) -> tg.Tensor:
        return Cube.apply(x.sin()).exp()  # type: ignore[no-any-return]

    x = tg.tensor([0.5, -1.0], dtype=tg.float64, requires_grad=True)
    (expected,) = tg.autograd.grad((inner(x * 2) * x).sum(), x)
    out = tg.checkpoint(lambda x: tg.checkpoint(inner, x * 2) * x, x).sum()
    (found,) = tg.autograd.grad(out, x, create_graph=create_graph)
    assert expected is not None
    assert found is not None
    assert found.tolist() == expected.tolist()
