"""Counters of an optimizer that stand at one number are one input of the compiled step, as long as they are counted
together; and whatever else happens to them, the step computes what the eager one does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import Tensor, nn, optim

OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "Adam": lambda ps: optim.Adam(ps, lr=0.01),
    "AdamW, amsgrad": lambda ps: optim.AdamW(ps, lr=0.01, amsgrad=True),
    "NAdam": lambda ps: optim.NAdam(ps, lr=0.01),
    "RAdam": lambda ps: optim.RAdam(ps, lr=0.01),
    "Adagrad": lambda ps: optim.Adagrad(ps, lr=0.01, lr_decay=0.1),
    "SGD, dampened": lambda ps: optim.SGD(ps, lr=0.01, momentum=0.9, dampening=0.5),
}
X, Y = np.random.default_rng(0).normal(size=(2, 8, 4))


class Run:
    """Three layers and their optimizer; `step` trains all of them, `half` the last one alone."""

    def __init__(self, jit: Callable[[Any], Any], name: str = "Adam") -> None:
        tg.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)).double()
        self.opt = OPTIMIZERS[name](self.model.parameters())

        def step(x: Tensor, y: Tensor) -> Tensor:
            self.opt.zero_grad()
            loss = ((self.model(x) - y) ** 2).mean()
            loss.backward()
            self.opt.step()
            return loss

        def half(x: Tensor, y: Tensor) -> Tensor:
            self.opt.zero_grad()
            loss = ((self.model[4](self.model[:4](x).detach()) - y) ** 2).mean()
            loss.backward()
            self.opt.step()
            return loss

        self.step, self.half = jit(step), jit(half)

    def counters(self) -> list[Tensor]:
        """Those that there are, parameter by parameter."""
        return [value for own in self.opt.state.values() for value in own.values() if not value.shape]

    def numbers(self) -> list[Any]:
        """Everything it consists of."""
        state = [value for own in self.opt.state.values() for value in own.values()]
        return [one.detach().numpy() for one in (*self.model.parameters(), *state)]


def both(acts: Callable[[Run], Any], name: str = "Adam") -> Run:
    """Let the same happen to a compiled run and to an eager one: they hold the same numbers. The compiled one."""
    compiled, eager = Run(tg.jit, name), Run(lambda function: function, name)
    for run in (compiled, eager):
        acts(run)
    for one, other in zip(compiled.numbers(), eager.numbers(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)
    return compiled


def train(run: Run, count: int = 3, how: str = "step") -> None:
    for _ in range(count):
        getattr(run, how)(tg.tensor(X), tg.tensor(Y))


def inputs(run: Run) -> int:
    """How many 0-d tensors the compiled step reaches, the learning rate among them."""
    traced = run.step.entry((tg.tensor(X), tg.tensor(Y)), {}).traced
    return sum(capture.node.shape == () for capture in traced.captures)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equal_counters_are_one(name: str) -> None:
    run = both(train, name)
    kinds = len(run.counters()) // 6
    assert inputs(run) == kinds + 1
    assert run.step.traces == 1
    assert {one.item() for one in run.counters()[::kinds]} == {3.0}


def test_a_step_of_some_parameters_sets_their_counters_apart() -> None:
    def acts(run: Run) -> None:
        train(run)
        train(run, 2, "half")
        train(run)

    run = both(acts)
    assert [one.item() for one in run.counters()] == [6.0] * 4 + [8.0] * 2
    assert run.step.traces == 2
    assert inputs(run) == 3  # the counters of four, of two, and the rate


def test_a_counter_that_is_written_is_apart() -> None:
    def acts(run: Run) -> None:
        train(run)
        run.counters()[4].assign(tg.tensor(10.0, dtype=tg.float64))
        train(run)
        run.counters()[0].fill_(1.0)
        train(run)

    run = both(acts)
    assert [one.item() for one in run.counters()] == [4.0, 9.0, 9.0, 9.0, 16.0, 9.0]


@pytest.mark.parametrize("which", [0, 3])
def test_a_counter_that_is_written_with_its_own_number_changes_nothing(which: int) -> None:
    def acts(run: Run) -> None:
        train(run)
        run.counters()[which].assign(tg.tensor(3.0, dtype=tg.float64))
        train(run)

    assert both(acts).step.traces == 1


def test_loaded_state() -> None:
    def acts(run: Run) -> None:
        train(run)
        early = run.opt.state_dict()
        train(run, 4)
        run.opt.load_state_dict(early)
        train(run)
        if hasattr(run.step, "traces"):
            assert run.step.traces == 1
        early["state"][1]["step"] += 2
        run.opt.load_state_dict(early)
        train(run)

    run = both(acts)
    assert [one.item() for one in run.counters()] == [6.0, 8.0] + [6.0] * 4
    assert run.step.traces == 2


def test_counters_that_are_apart_from_the_beginning() -> None:
    def acts(run: Run) -> None:
        train(run, 2, "half")
        train(run)
        assert len({id(one) for one in run.counters()}) == 6

    assert sorted(one.item() for one in both(acts).counters()) == [3.0] * 4 + [5.0] * 2


def test_a_function_that_counts_some_twice() -> None:
    compiled, eager = Run(tg.jit), Run(lambda function: function)

    def twice(run: Run) -> Callable[[Tensor, Tensor], Any]:
        def function(x: Tensor, y: Tensor) -> Tensor:
            (run.step.function if run is compiled else run.step)(x, y)
            (run.half.function if run is compiled else run.half)(x, y)
            return x

        return function

    jitted = tg.jit(twice(compiled))
    for _ in range(3):
        jitted(tg.tensor(X), tg.tensor(Y))
        twice(eager)(tg.tensor(X), tg.tensor(Y))
    assert [one.item() for one in compiled.counters()] == [3.0] * 4 + [6.0] * 2
    for one, other in zip(compiled.numbers(), eager.numbers(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


def test_a_counter_among_the_arguments() -> None:
    def acts(run: Run) -> None:
        train(run, 1)

        def step(x: Tensor, y: Tensor, count: Tensor) -> Tensor:
            getattr(run.step, "function", run.step)(x, y)
            return count * 1

        if hasattr(run.step, "function"):
            step = tg.jit(step)
        for counter in (run.counters()[0], run.counters()[5]):
            assert step(tg.tensor(X), tg.tensor(Y), counter).item() in (2.0, 3.0)

    both(acts)


def test_what_was_read_of_a_counter_stays() -> None:
    run = Run(tg.jit)
    train(run)
    read = [np.asarray(one.numpy()) for one in run.counters()]
    train(run)
    assert [float(one) for one in read] == [3.0] * 6
    assert [one.item() for one in run.counters()] == [6.0] * 6


def test_parameters_that_are_numbers() -> None:
    results = []
    for jit in (tg.jit, lambda function: function):
        a, b = (tg.tensor(value, dtype=tg.float64, requires_grad=True) for value in (1.0, 2.0))
        opt = optim.Adam([a, b], lr=0.1)

        def step(x: Tensor, a: Tensor = a, b: Tensor = b, opt: Any = opt) -> Tensor:
            opt.zero_grad()
            loss = (a * x - b) ** 2
            loss.backward()
            opt.step()
            return loss

        compiled = jit(step)
        for _ in range(4):
            compiled(tg.tensor(3.0, dtype=tg.float64))
        results.append((a.item(), b.item()))
    np.testing.assert_allclose(*results, rtol=1e-12)
