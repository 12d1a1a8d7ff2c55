"""The runner that every model goes through: the bits of as many calls of `fit`, whatever the run is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.compiler.run.many import Arena, Broken, Model, Varying, arenas
from tinygrad_nn.compiler.run.training import Training
from tinygrad_nn.errors import IndexOutOfRange
from tinygrad_nn.random import order_generator, randperm

rng = np.random.default_rng(0)
X = rng.normal(size=(23, 3)).astype(np.float32)
Y = rng.integers(0, 3, 23)


@dataclass
class Recipe:
    """A model with what trains it."""

    model: nn.Module
    opt: Any
    step: Callable[..., Any]
    scores: Callable[[], Any]


def recipe(optimizer: str, dropout: float, dtype: str) -> Recipe:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4, 3)).to(dtype)
    opt = getattr(optim, optimizer)(model.parameters(), lr=0.05)
    held, truth = tg.tensor(X[:9].astype(dtype)), tg.tensor(Y[:9])

    @tg.jit
    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    def scores() -> Any:
        model.eval()
        found = tg.metrics.accuracy(model(held), truth)
        model.train()
        return {"acc": found}

    return Recipe(model, opt, step, scores)


SETTINGS = [
    {"optimizer": "SGD", "dropout": 0.0, "batch": 5, "shuffle": True, "dtype": "float32"},
    {"optimizer": "Adam", "dropout": 0.3, "batch": 5, "shuffle": True, "dtype": "float32"},
    {"optimizer": "Adam", "dropout": 0.3, "batch": 8, "shuffle": False, "dtype": "float64"},
    {"optimizer": "SGD", "dropout": 0.2, "batch": 23, "shuffle": True, "dtype": "float64"},
]


@pytest.mark.parametrize("given", SETTINGS, ids=lambda given: "-".join(map(str, given.values())))
def test_the_bits_are_those_of_fit(given: Any) -> None:
    """Whichever arena a model goes through, and whatever was trained there before."""
    data, dtype = (X.astype(given["dtype"]), Y), given["dtype"]
    wanted = []
    for seed in range(4):
        tg.manual_seed(seed)
        one = recipe(given["optimizer"], given["dropout"], dtype)
        options = {"batch_size": given["batch"], "shuffle": given["shuffle"], "progress": False}
        history = tg.fit(one.step, data, 6, evaluate=one.scores, seed=seed, **options)
        wanted.append((history["loss"], history["acc"], [value.numpy() for value in one.model.state_dict().values()]))

    tg.manual_seed(0)
    one = recipe(given["optimizer"], given["dropout"], dtype)
    order = order_generator(0)
    permute = (lambda: randperm(23, generator=order)) if given["shuffle"] else None
    training = Training(one.step, [data], given["batch"], one.scores, given["shuffle"], permute, True)
    generators = [k for k, held in enumerate(training.state) if id(held.handle) in _generators(order)]
    varying = Varying.of(training, generators)
    shared = {k: held.handle.node.value for k, held in enumerate(training.state) if k not in varying.state}
    models = []
    for seed in range(4):
        tg.manual_seed(seed)
        order.set_state(order_generator(seed).get_state())
        fresh = recipe(given["optimizer"], given["dropout"], dtype)
        values = {id(p): q.detach().numpy() for p, q in zip(_held(one.model), _held(fresh.model), strict=True)}
        state = [values.get(id(h), h.node.value) for h in (training.state[k].handle for k in varying.state)]
        models.append(Model([np.array(value) for value in state]))
    assert training.evaluates
    runners = arenas(training, varying, shared, [data], 2)
    for k in (0, 1, 3, 2):
        runner = runners[k % 2]
        runner.bring(0, models[k])
        assert runner.run(6, 1, [True] * 6) == 6
        taken = runner.take(0, 6)
        np.testing.assert_array_equal(taken.history[:, 0], wanted[k][0])
        np.testing.assert_array_equal(taken.scores[:, 0], wanted[k][1])
        named = {id(training.state[at].handle): value for at, value in zip(varying.state, taken.state, strict=True)}
        for handle, value in zip(_held(one.model), wanted[k][2], strict=True):
            np.testing.assert_array_equal(named[id(handle)], value)


def _held(model: nn.Module) -> list[Any]:
    return list(model.state_dict(keep_vars=True).values())


def _generators(order: Any) -> set[int]:
    default = tg.random.default_generator
    return {id(tensor) for one in (order, default) for tensor in (one.key, one.counter)}


def test_a_bad_label_says_where_and_leaves_the_runner_good_for_the_next() -> None:
    one = recipe("SGD", 0.0, "float32")
    training = Training(one.step, [(X, Y)], 5, one.scores, False, None, True)
    varying = Varying.of(training, (), [(0, 1)])
    begin = [np.array(training.state[k].handle.node.value) for k in varying.state]
    shared = {k: held.handle.node.value for k, held in enumerate(training.state) if k not in varying.state}
    runner = Arena(training, varying, shared, [(X, Y)])
    runner.bring(0, Model(begin, [Y]))
    runner.run(2, 1, [False, True])
    good = runner.take(0, 2)
    bad = Y.copy()
    bad[12] = 7
    runner.bring(0, Model(begin, [bad]))
    with pytest.raises(Broken) as found:
        runner.run(2, 1, [False, True])
    assert (found.value.lane, found.value.epoch, found.value.batch) == (0, 0, 2)
    assert isinstance(found.value.error, IndexOutOfRange)
    runner.bring(0, Model(begin, [Y]))
    runner.run(2, 1, [False, True])
    np.testing.assert_array_equal(runner.take(0, 2).history, good.history)


def test_a_stopped_run_counts_its_epochs_and_goes_on() -> None:
    one = recipe("SGD", 0.0, "float32")
    training = Training(one.step, [(X, Y)], 5, one.scores, False, None, True)
    varying = Varying.of(training)
    begin = Model([np.array(training.state[k].handle.node.value) for k in varying.state])
    shared = {k: held.handle.node.value for k, held in enumerate(training.state) if k not in varying.state}
    runner = Arena(training, varying, shared, [(X, Y)])
    runner.bring(0, begin)
    runner.stop()
    assert runner.run(3, 1, [False] * 3) == 0
    runner.go_on()
    assert runner.run(3, 1, [False] * 3) == 3
