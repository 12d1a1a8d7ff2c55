"""Kernels that are one function of addresses: what is shared, that it computes the same, and where nothing is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.compiler.expand.expand import expand
from tinygrad_nn.compiler.expand.verify import verify
from tinygrad_nn.compiler.loopir.canonical import canonical
from tinygrad_nn.compiler.schedule import sharing
from tinygrad_nn.compiler.schedule.schedule import Schedule
from tinygrad_nn.compiler.simulate import simulate

RNG = np.random.default_rng(0)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever can be shared is."""
    monkeypatch.setattr(sharing, "SMALL", 0)
    monkeypatch.setattr(sharing, "PART", 1e9)


def mlp(layers: int, width: int = 16) -> tuple[nn.Module, Any, Any, Any]:
    """Equal layers, their optimizer, and data whose last batch is short."""
    tg.manual_seed(0)
    model = nn.Sequential(*(one for _ in range(layers) for one in (nn.Linear(width, width), nn.Tanh())))
    model.to("float64")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(44, width)), rng.integers(0, width, 44)
    return model, optim.AdamW(model.parameters(), lr=0.01), x, y


def step_of(model: Any, opt: Any) -> Any:
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return step


def scheduled(function: Any, *args: Any) -> tuple[Schedule, str]:
    """The schedule of a call, and the text of its code."""
    stages = tg.jit(function).entry(args, {}).compiled.stages
    return stages.schedule, stages.llvm


def different(schedule: Schedule) -> int:
    """How many kernels are written out, functions of several kernels counting once."""
    return len(schedule.program.kernels) - sum(len(one.calls) - 1 for one in schedule.shared)


def scaled(x: tg.Tensor) -> tg.Tensor:
    """Kernels that are equal but for one number."""
    for k in range(4):
        x = (x * (1 + k / 7)).sin().reshape(-1, 4).T.reshape(-1)  # a reshape wants its operand in memory
    return x


def test_what_is_written_does_not_grow_with_the_number_of_layers() -> None:
    counts, lengths = [], []
    for layers in (15, 45):
        model, opt, x, y = mlp(layers)
        schedule, text = scheduled(step_of(model, opt), tg.tensor(x[:16]), tg.tensor(y[:16]))
        counts.append(different(schedule))
        called = text.count("call void @shared")
        assert called == sum(len(one.calls) for one in schedule.shared) > 4 * layers
        lengths.append(text.count("\n") - called)
    assert counts[1] <= counts[0] + 2
    assert lengths[1] < 1.2 * lengths[0]


def test_a_small_model_is_one_body() -> None:
    model, opt, x, y = mlp(3, 4)
    schedule, text = scheduled(step_of(model, opt), tg.tensor(x[:16]), tg.tensor(y[:16]))
    assert not schedule.shared
    assert "@shared" not in text


def test_steps_are_those_of_the_eager_model() -> None:
    losses = []
    for wrap in (tg.jit, lambda function: function):
        model, opt, x, y = mlp(12)
        step = wrap(step_of(model, opt))
        losses.append([float(step(tg.tensor(x), tg.tensor(y))) for _ in range(4)])
    np.testing.assert_allclose(*losses, rtol=1e-12)


def test_a_run_with_a_short_batch_is_that_of_the_eager_model() -> None:
    """Shared functions are given the number of the batch, and whether it is the short one."""
    losses, scores = [], []
    for wrap in (tg.jit, lambda function: function):
        model, opt, x, y = mlp(12)
        held, truth = tg.tensor(x), tg.tensor(y)
        history = tg.fit(
            wrap(step_of(model, opt)),
            (x, y),
            3,
            batch_size=16,
            seed=3,
            evaluate=lambda model=model, held=held, truth=truth: {"loss_now": F.cross_entropy(model(held), truth)},
            progress=False,
        )
        losses.append(history["loss"])
        scores.append(history["loss_now"])
    np.testing.assert_allclose(*losses, rtol=1e-12)
    np.testing.assert_allclose(*scores, rtol=1e-12)


@pytest.mark.parametrize("what", ["layers", "numbers"])
def test_a_call_computes_what_its_kernel_does(what: str, always: None) -> None:
    """The steps with functions against the steps without."""
    if what == "layers":
        model, opt, x, y = mlp(3, 4)
        jitted, args = tg.jit(step_of(model, opt)), (tg.tensor(x[:3]), tg.tensor(y[:3]))
    else:
        jitted, args = tg.jit(scaled), (tg.tensor(RNG.normal(size=16)),)
    compiled = jitted.entry(args, {}).compiled
    schedule = compiled.stages.schedule
    assert schedule.shared
    for one in schedule.shared:
        assert len(one.calls) > 1
        for kernel in one.calls:
            own, given = canonical(kernel), canonical(one.instance(kernel))
            assert own is not None
            assert given is not None
            assert (own.key, own.buffers) == (given.key, given.buffers)
    if what == "numbers":
        assert any(one.numbers for one in schedule.shared)
    values = [np.array(view) for view in compiled.inputs]
    apart = replace(schedule, shared=())
    for lanes in (1, 4, 8):
        own, called = (simulate(verify(expand(one, lanes)), values) for one in (apart, schedule))
        assert all(np.array_equal(a, b) for a, b in zip(own[0] + own[1], called[0] + called[1], strict=True))


def test_numbers_in_which_calls_differ_are_given(always: None) -> None:
    x = tg.tensor(RNG.normal(size=16))
    schedule, _ = scheduled(scaled, x)
    assert any(one.numbers for one in schedule.shared)
    np.testing.assert_allclose(tg.jit(scaled)(x).numpy(), scaled(x).numpy(), rtol=1e-12)
