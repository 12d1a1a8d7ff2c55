"""Random fills and draws: their statistics, what they write to, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

import tinygrad_nn as tg
from tinygrad_nn.errors import ConfigError, DTypeError, GraphError, ShapeError, TinygradError
from tinygrad_nn.random import fork_rng

N = 4000
FILLS: dict[str, tuple[tuple[Any, ...], Any]] = {  # arguments, and the distribution
    "normal_": ((2.0, 0.5), scipy.stats.norm(2, 0.5)),
    "uniform_": ((-1.0, 3.0), scipy.stats.uniform(-1, 4)),
    "exponential_": ((2.0,), scipy.stats.expon(scale=0.5)),
    "log_normal_": ((0.5, 0.25), scipy.stats.lognorm(0.25, scale=math.exp(0.5))),
    "cauchy_": ((1.0, 2.0), scipy.stats.cauchy(1, 2)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FILLS)
def test_fills_have_their_distribution(name: str, dtype: str) -> None:
    arguments, distribution = FILLS[name]
    x = tg.zeros(N, dtype=dtype)
    assert getattr(x, name)(*arguments, generator=tg.Generator(1)) is x
    assert x.dtype == dtype
    assert scipy.stats.kstest(x.numpy(), distribution.cdf).pvalue > 1e-3
    default = tg.zeros(N, dtype="float64")
    getattr(default, name)(generator=tg.Generator(2))
    theirs = getattr(torch.zeros(N, dtype=torch.float64), name)(generator=torch.Generator().manual_seed(0))
    assert scipy.stats.ks_2samp(default.numpy(), theirs.numpy()).pvalue > 1e-3


def test_whole_numbers() -> None:
    g = tg.Generator(3)
    x = tg.zeros(N)
    assert set(x.random_(3, generator=g).tolist()) == {0, 1, 2}
    assert set(x.random_(-2, 1, generator=g).tolist()) == {-2, -1, 0}
    assert set(tg.zeros(100, dtype=tg.bool).random_(generator=g).tolist()) == {False, True}
    wide = tg.zeros(N, dtype=tg.int64).random_(generator=g)
    assert wide.min().item() >= 0
    assert wide.max().item() > 2**62
    assert 2**23 < x.random_(generator=g).max().item() <= 2**24
    trials = x.geometric_(0.25, generator=g).numpy()
    assert trials.min() == 1
    assert trials.mean() == pytest.approx(4, rel=0.06)
    counts = tg.zeros(N, dtype=tg.int64).geometric_(0.9, generator=g)
    assert (counts == 1).double().mean().item() == pytest.approx(0.9, abs=0.02)
    assert x.bernoulli_(0.2, generator=g).mean().item() == pytest.approx(0.2, abs=0.03)
    chances = tg.tensor([0.0, 1.0, 0.0])
    assert tg.zeros(3, dtype=tg.int64).bernoulli_(chances).tolist() == [0, 1, 0]
    assert chances.bernoulli().tolist() == tg.bernoulli(chances).tolist() == [0.0, 1.0, 0.0]
    assert tg.bernoulli(tg.zeros(3), 1.0).tolist() == [1.0, 1.0, 1.0]


def test_exponential_numbers_are_never_zero() -> None:
    assert tg.zeros(200_000).exponential_(generator=tg.Generator(0)).min().item() > 0


def test_fills_write_through_views_and_data() -> None:
    x = tg.zeros(4, 3)
    x[1:3].normal_()
    assert (x == 0).all(1).tolist() == [True, False, False, True]
    w = tg.zeros(3, requires_grad=True)
    w.data.uniform_(1, 2)
    with tg.no_grad():
        w[:1].fill_(5)
        w[1:].exponential_()
    assert w.is_leaf
    assert w[0].item() == 5
    y = tg.ones(3, requires_grad=True) * 2
    assert not y.normal_().requires_grad  # nothing flows through what was written over


def test_fills_compile() -> None:
    def step(x: tg.Tensor) -> Any:
        filled = x.clone().normal_().exponential_() + x.clone().uniform_(2, 3)
        return (
            filled,
            tg.multinomial(x.abs(), 3, replacement=True),
            tg.multinomial(x.abs(), 2),
            x.clone().geometric_(0.3),
        )

    x = tg.tensor([[1.0, 0.0, 2.0, 3.0], [1.0, 1.0, 0.0, 9.0]])
    compiled = tg.jit(step)
    tg.manual_seed(4)
    first = [value.tolist() for _ in range(2) for value in step(x)]
    tg.manual_seed(4)
    second = [value.tolist() for _ in range(2) for value in compiled(x)]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial_follows_its_weights(replacement: bool) -> None:
    weights = tg.tensor([[0.0, 1.0, 3.0, 0.0], [2.0, 1.0, 1.0, 4.0]], dtype=tg.float64)
    g = tg.Generator(5)
    for row in weights:
        if replacement:
            drawn = tg.multinomial(row, 3000, True, generator=g).numpy()
        else:  # the first of two, in many rows
            drawn = tg.multinomial(row.expand(3000, 4), 2, generator=g).numpy()[:, 0]
        own = row.numpy() / row.sum().item()
        np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 3000, own, atol=0.035)
    assert weights[0].multinomial(5, True).shape == (5,)
    assert tg.multinomial([1.0, 2.0], 2).dtype == tg.int64
    assert sorted(tg.multinomial(tg.ones(6), 6).tolist()) == list(range(6))


def test_normal_in_all_forms() -> None:
    g = tg.Generator(6)
    means = tg.arange(3.0)
    assert abs(tg.normal(5.0, 2.0, (N,), generator=g).mean().item() - 5) < 0.15
    both = tg.normal(means, tg.tensor([[0.0], [1e-3]]), generator=g)
    assert both.shape == (2, 3)
    assert both[0].tolist() == [0.0, 1.0, 2.0]
    np.testing.assert_allclose(both[1].numpy(), [0, 1, 2], atol=0.01)
    assert tg.normal(means.double(), 0.0).dtype == tg.float64
    assert tg.normal(2.0, tg.zeros(2)).tolist() == [2.0, 2.0]
    assert tg.normal(means).shape == (3,)
    assert tg.normal(mean=0, std=1, size=(2,), dtype=tg.float64, requires_grad=True).requires_grad


def test_arguments_of_random_tensors() -> None:
    assert tg.randint(10, (3,)).shape == tg.randint(0, 10, (3,)).shape == tg.randint(high=10, size=(3,)).shape == (3,)
    assert tg.randint(0, 10, [2, 3], dtype=tg.float32).dtype == tg.float32
    assert tg.rand(size=(2, 3)).shape == tg.rand((2, 3)).shape == tg.randn([2, 3], device="cpu").shape == (2, 3)
    like = tg.zeros(2, 3, dtype=tg.float64)
    assert tg.randint_like(like, 5).dtype == tg.rand_like(like).dtype == tg.float64
    assert tg.randn_like(like, dtype=tg.float32, requires_grad=True).requires_grad
    assert set(tg.randint_like(tg.zeros(50), 2, 4).tolist()) == {2.0, 3.0}
    assert tg.randperm(5, dtype=tg.int32, device="cpu").dtype == tg.int32


def test_states_of_generators() -> None:
    g = tg.Generator("cpu")
    assert g.manual_seed(11) is g
    assert g.initial_seed() == 11 == tg.Generator(device="cpu").manual_seed(11).initial_seed()
    drawn = g.seed()
    assert g.initial_seed() == drawn != tg.Generator().seed()
    tg.manual_seed(12)
    assert tg.initial_seed() == 12
    state = tg.get_rng_state()
    numbers = tg.rand(3).tolist()
    tg.set_rng_state(state)
    with fork_rng():
        tg.manual_seed(1)
        tg.rand(10)
    assert tg.rand(3).tolist() == numbers
    assert tg.seed() == tg.initial_seed()


WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: tg.zeros(2, dtype=tg.int64).normal_(), DTypeError, "int64"),
    (lambda: tg.zeros(2, dtype=tg.int64).uniform_(), DTypeError, "int64"),
    (lambda: tg.zeros(2).normal_(0, -1), ConfigError, "std -1"),
    (lambda: tg.zeros(2).uniform_(1, 0), ConfigError, "to 0"),
    (lambda: tg.zeros(2).exponential_(0), ConfigError, "lambd 0"),
    (lambda: tg.zeros(2).cauchy_(0, 0), ConfigError, "sigma 0"),
    (lambda: tg.zeros(2).log_normal_(0, -1), ConfigError, "std -1"),
    (lambda: tg.zeros(2).geometric_(1.5), ConfigError, "p 1.5"),
    (lambda: tg.zeros(2).random_(3, 3), ConfigError, "from 3 and to 3"),
    (lambda: tg.zeros(2).random_(-1), ConfigError, "from 0 and to -1"),
    (lambda: tg.zeros(2).bernoulli_(1.5), ConfigError, "outside of"),
    (lambda: tg.zeros(2, dtype=tg.int64).bernoulli(), DTypeError, "int64"),
    (lambda: tg.zeros(2, requires_grad=True).normal_(), GraphError, "leaf"),
    (lambda: tg.zeros(1).expand(3).normal_(), GraphError, "clone"),
    (lambda: tg.multinomial(tg.ones(2, 2, 2), 1), ShapeError, r"\(2, 2, 2\)"),
    (lambda: tg.multinomial(tg.ones(0), 1), ShapeError, r"\(0,\)"),
    (lambda: tg.multinomial(tg.ones(2), 3), ConfigError, "2 weights above 0"),
    (lambda: tg.multinomial(tg.tensor([[1.0, 1.0], [1.0, 0.0]]), 2), ConfigError, "in row 1"),
    (lambda: tg.multinomial(tg.zeros(2), 1, True), ConfigError, "at least 1"),
    (lambda: tg.multinomial(tg.tensor([1.0, math.nan]), 1), ConfigError, "NaN"),
    (lambda: tg.multinomial(tg.tensor([1.0, -1.0]), 1), ConfigError, "negative"),
    (lambda: tg.multinomial(tg.tensor([1, 1]), 1), DTypeError, "int64"),
    (lambda: tg.multinomial(tg.ones(2), 0), ConfigError, "num_samples 0"),
    (lambda: tg.normal(0.0, 1.0), ShapeError, "no size"),
    (lambda: tg.normal(tg.zeros(2), 1.0, (2,)), ShapeError, "beside a tensor"),
    (lambda: tg.normal(0.0, -1.0, (2,)), ConfigError, "std -1"),
    (lambda: tg.normal(tg.zeros(2), tg.tensor([1.0, -1.0])), ConfigError, "below 0"),
    (lambda: tg.normal(tg.zeros(2), tg.ones(3)), ShapeError, r"\(2,\) and \(3,\)"),
    (lambda: tg.rand(2, device="cuda"), ConfigError, "cuda"),
    (lambda: tg.randperm(2, device="cuda:0"), ConfigError, "cuda:0"),
    (lambda: tg.Generator("cuda"), ConfigError, "cuda"),
    (lambda: tg.Generator().set_state(tg.zeros(3)), ShapeError, "float32"),
    (lambda: tg.set_rng_state([1, 2, 3]), DTypeError, "list"),
    (lambda: tg.rand(2, generator=3), TinygradError, "generator 3"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_refused(number: int) -> None:
    call, kind, words = WRONG[number]
    with pytest.raises(kind, match=words):
        call()
