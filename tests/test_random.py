"""The generator: known answers, reproducible streams, and numbers that look as they should."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.ops.random import PHILOX
from tinygrad_nn.random import order_generator


def words(key: list[int], counter: int) -> list[str]:
    bits = PHILOX.numpy(np.array(key), np.array(counter), (4,))
    return [f"{int(word) & 0xFFFFFFFF:08x}" for word in bits]


def test_known_answer() -> None:
    """Random123's test vector for Philox4x32-10 with key and counter 0."""
    assert words([0, 0], 0) == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]


def test_streams() -> None:
    tg.manual_seed(7)
    first = tg.rand(10).tolist()
    assert tg.rand(10).tolist() != first
    tg.manual_seed(7)
    assert tg.rand(10).tolist() == first
    g = tg.Generator(7)
    assert tg.rand(10, generator=g).tolist() == first
    state = g.get_state()
    after = tg.randn(5, generator=g).tolist()
    g.set_state(state)
    assert tg.randn(5, generator=g).tolist() == after


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments(dtype: str) -> None:
    g = tg.Generator(1)
    u = tg.rand(20_000, dtype=dtype, generator=g).numpy()
    assert u.dtype == dtype
    assert (u.min() >= 0) & (u.max() < 1)
    assert abs(u.mean() - 0.5) < 0.01
    n = tg.randn(20_000, dtype=dtype, generator=g).numpy()
    assert abs(n.mean()) < 0.03
    assert abs(n.std() - 1) < 0.02
    assert np.isfinite(n).all()


def test_integers_and_permutations() -> None:
    g = tg.Generator(2)
    k = tg.randint(-3, 4, (5000,), generator=g)
    assert k.dtype == tg.int64
    assert set(k.tolist()) == set(range(-3, 4))
    p = tg.randperm(50, generator=g).tolist()
    assert sorted(p) == list(range(50))
    assert p != list(range(50))
    assert tg.bernoulli(tg.full((2000,), 0.2), generator=g).mean().item() == pytest.approx(0.2, abs=0.04)


def test_empty_and_single() -> None:
    assert tg.rand(0, 3).shape == (0, 3)
    assert tg.rand().shape == ()
    assert tg.randperm(0).tolist() == []


def test_the_order_of_samples_has_nothing_of_the_seeds_own_stream() -> None:
    """`manual_seed(s)` and `fit(seed=s)` draw from different halves of the counters, compiled too."""
    own, order = tg.Generator(7), order_generator(7)
    assert not set(own.bits((2048,)).tolist()) & set(order.bits((2048,)).tolist())
    state = order.get_state()
    eager = tg.randperm(50, generator=order).tolist()
    order.set_state(state)
    assert tg.jit(lambda: tg.randperm(50, generator=order))().tolist() == eager
    assert eager != tg.randperm(50, generator=own).tolist()


@pytest.mark.parametrize("jitted", [False, True])
def test_fit_does_not_draw_what_manual_seed_draws(jitted: bool) -> None:
    seen = tg.zeros(16)
    step = lambda x: seen.assign(x).sum()  # noqa: E731
    tg.fit(tg.jit(step) if jitted else step, np.arange(16, dtype=np.float32), seed=7, progress=False)
    orders = [tg.randperm(16, generator=make(7)).tolist() for make in (order_generator, tg.Generator)]
    assert seen.tolist() == orders[0] != orders[1]


def test_small_draws_are_parts_of_a_large_one() -> None:
    """Small ones are cut from words made ahead; wherever they begin, and where the counter begins anew."""
    key = np.array([3, 2**32 - 1])
    for first in (0, 120, 2**32 - 40, 2**63 - 4):
        whole = PHILOX.numpy(key, np.int64(first), (4096,))
        for block in (0, 1, 7, 8, 127, 128, 300):
            for count in (1, 5, 32, 512):
                part = PHILOX.numpy(key, np.array(first + block, np.uint64).astype(np.int64), (count,))
                np.testing.assert_array_equal(part, whole[4 * block : 4 * block + count])
    drawn = PHILOX.numpy(key, np.int64(0), (4,))
    again = drawn.copy()
    drawn[:] = 0
    np.testing.assert_array_equal(PHILOX.numpy(key, np.int64(0), (4,)), again)
