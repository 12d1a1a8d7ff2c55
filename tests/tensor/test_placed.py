"""Cotangents of slices are summed as pieces: same numbers as one after another, no list is shared wrongly."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn.ops.movement import PAD
from tinygrad_nn.tensor.untaped import Placed, Untaped

RNG = np.random.default_rng(3)


def untaped(array: Any) -> Untaped:
    made = Untaped()
    made.value = np.asarray(array)
    return made


def piece(start: int, length: int) -> tuple[Untaped, np.ndarray[Any, Any]]:
    """A piece of a line of 6 as the walk makes it, and the array it stands for."""
    own, bounds = RNG.normal(size=length), ((start, 1, length),)
    return untaped(own)._placed((6,), bounds), PAD.numpy(own, (6,), bounds)


def test_sums_have_the_bits_of_sums_one_after_another() -> None:
    made = [piece(0, 4), piece(2, 4), piece(1, 1), piece(0, 6)]
    total, expected = made[0][0], made[0][1]
    for one, array in made[1:]:
        total, expected = total + one, expected + array
    assert isinstance(total, Placed)
    assert total.value.tobytes() == expected.tobytes()
    assert (total.shape, total.dtype) == ((6,), np.dtype(np.float64))


def test_negative_zero_is_as_before() -> None:
    zero = untaped([-0.0])
    one, other = zero._placed((2,), ((0, 1, 1),)), untaped([1.0])._placed((2,), ((1, 1, 1),))
    assert np.signbit(one.value).tolist() == [True, False]
    assert np.signbit((one + other).value).tolist() == [False, False]


def test_two_sums_from_one_beginning_do_not_meet() -> None:
    (a, x), (b, y), (c, z) = piece(0, 2), piece(2, 2), piece(4, 2)
    first = a + b
    left, right = first + c, first + b
    np.testing.assert_array_equal(left.value, x + y + z)
    np.testing.assert_array_equal(right.value, x + y + y)
    np.testing.assert_array_equal(first.value, x + y)
    np.testing.assert_array_equal((left + right).value, (x + y + z) + (x + y + y))
    np.testing.assert_array_equal((a + untaped(x)).value, x + x)
    np.testing.assert_array_equal((untaped(x) + a).value, x + x)
    np.testing.assert_array_equal((a * 2.0).value, x * 2.0)


def test_a_loop_over_slices_gives_the_gradient_of_the_whole() -> None:
    x = tg.tensor(RNG.normal(size=(50, 3))).requires_grad_()
    weights = RNG.normal(size=(50, 3))
    sum((x[t] * tg.tensor(weights[t])).sum() for t in range(50)).backward()  # type: ignore[union-attr]
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), weights)
    x.grad = None
    (x[1:] * x[:-1]).sum().backward()
    own = x.detach().numpy()
    expected = np.zeros_like(own)
    expected[1:] += own[:-1]
    expected[:-1] += own[1:]
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), expected)  # type: ignore[unreachable]


def test_infinities_are_added_without_a_warning() -> None:
    x = tg.tensor([0.0, 0.0]).requires_grad_()
    (x[:1] * float("inf") + x[:1] * float("-inf") + x[:1]).sum().backward()
    assert x.grad is not None
    assert np.isnan(x.grad.numpy()[0])


def test_hooks_see_the_sum() -> None:
    seen = []
    x = tg.tensor([1.0, 2.0]).requires_grad_()
    y = x * 1.0
    y.register_hook(lambda g: seen.append(g.tolist()))
    (y[:1] * 3.0 + y[1:] * 4.0).sum().backward()
    assert seen == [[3.0, 4.0]]
