"""tg.checkpoint: the same bits as without it, to second order, holding no values in between."""

from __future__ import annotations

import weakref

import numpy as np

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
