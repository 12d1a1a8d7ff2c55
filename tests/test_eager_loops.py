"""Loops over time in eager code: NumPy and a compiled step agree, for every layer, direction and order of gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import adjoint, nn
from tinygrad_nn.adjoint import SCAN
from tinygrad_nn.compiler.run import loop
from tinygrad_nn.ops.scan import run_steps

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _no_kernels() -> Iterator[None]:
    loop._kernels.clear()
    yield
    loop._kernels.clear()


def both(monkeypatch: pytest.MonkeyPatch, compute: Callable[[], list[Any]]) -> None:
    """The same values, to the bounds of the functions in a step, whoever runs it."""
    found: list[list[Any]] = []
    for calls in (0, math.inf):
        monkeypatch.setattr(adjoint, "CALLS", calls)
        found.append(compute())
        assert loop._kernels
        assert all(loop._kernels.values())
    for compiled, numpy in zip(*found, strict=True):
        np.testing.assert_allclose(compiled, numpy, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_layers(kind: str, bidirectional: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = getattr(nn, kind)(3, 5, 2, batch_first=True, bidirectional=bidirectional).double()
    x = tg.tensor(RNG.standard_normal((4, 7, 3)), requires_grad=True)

    def compute() -> list[Any]:
        layer.zero_grad()
        x.grad = None
        out, _ = layer(x, lengths=[7, 2, 5, 1])
        (out * out).sum().backward()
        return [out.detach().numpy(), x.grad.numpy(), *(p.grad.numpy() for p in layer.parameters())]  # type: ignore[attr-defined]

    both(monkeypatch, compute)


def test_second_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    w, xs = (tg.tensor(RNG.standard_normal(shape), requires_grad=True) for shape in ((4, 4), (6, 4)))

    def compute() -> list[Any]:
        last, ys = tg.scan(lambda h, x: ((h @ w + x).tanh(), h.sum()), tg.zeros(4, dtype="float64"), xs)
        first = tg.autograd.grad((last * last).sum() + ys.sum(), (w, xs), create_graph=True)
        second = tg.autograd.grad(sum((g * g).sum() for g in first), (w, xs))
        return [g.detach().numpy() for g in (*first, *second)]

    both(monkeypatch, compute)


def test_carries_that_exchange_places_and_one_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = tuple(tg.tensor(RNG.standard_normal(3)) for _ in range(3))

    def compute() -> list[Any]:
        last, ys = tg.scan(lambda c, x: ((c[1], c[0], c[2]), c[0] + x * c[2]), starts, tg.ones(5, 3, dtype="float64"))
        return [x.numpy() for x in (*last, ys)]

    both(monkeypatch, compute)


def test_lengths_share_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adjoint, "CALLS", 0)
    layer = nn.GRU(3, 5)
    for length in (1, 4, 9):
        layer(tg.zeros(length, 2, 3))
    assert len(loop._kernels) == 1


def test_short_loops_stay_in_numpy() -> None:
    nn.LSTM(3, 5)(tg.zeros(2, 1, 3))
    assert not loop._kernels
    nn.LSTM(3, 5)(tg.zeros(20, 1, 3))
    assert loop._kernels


def test_what_a_step_checks_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adjoint, "CALLS", 0)
    table, places = tg.randn(4, 3), tg.tensor([0, 1, 7])
    with pytest.raises(tg.errors.IndexOutOfRange, match="7"):
        tg.scan(lambda h, i: (h + table.index_select(0, i.unsqueeze(0))[0], None), tg.zeros(3), places)


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adjoint, "CALLS", 0)
    monkeypatch.setattr(loop, "config", lambda: type("Off", (), {"jit": False}))
    out, _ = nn.RNN(3, 5)(tg.ones(6, 2, 3))
    assert out.shape == (6, 2, 5)
    assert set(loop._kernels.values()) == {None}


def test_threads_share_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adjoint, "CALLS", 0)
    layer = nn.GRU(3, 5)
    xs = [tg.tensor(RNG.standard_normal((30, 2, 3)).astype(np.float32)) for _ in range(8)]
    wanted = [layer(x)[0].detach().numpy() for x in xs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for one, found in zip(wanted, pool.map(lambda x: layer(x)[0].detach().numpy(), xs), strict=True):
                np.testing.assert_array_equal(one, found)


def test_numpy_is_what_a_scan_means() -> None:
    assert SCAN.numpy is run_steps
    assert SCAN.eager is adjoint.eager_steps
