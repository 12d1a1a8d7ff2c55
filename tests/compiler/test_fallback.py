"""`compiled()`, which is `torch.compile`: what cannot be compiled runs as it is, with one warning that says why, and
everything is as if it had always done so: results, parameters, optimizers, random numbers, and Python's own state.
"""

from __future__ import annotations

import copy
import itertools
import pickle
import random
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.compiler import compiled
from tinygrad_nn.errors import GraphError, IndexOutOfRange, TraceError


def data(*shape: int, seed: int) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


class Trainer:
    """A model with all that a script keeps beside it."""

    def __init__(self) -> None:
        tg.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        self.model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.2), nn.Linear(6, 3))
        self.opt = optim.Adam(self.model.parameters(), lr=0.01)
        self.schedule = optim.lr_scheduler.ExponentialLR(self.opt, 0.9)
        self.losses: list[float] = []
        self.totals = {"loss": 0.0, "calls": 0}
        self.count, self.best, self.last = 0, None, None
        self.hidden: Any = tg.zeros(3)
        self.batches = iter(data(8, 4, seed=k) for k in itertools.count())

    def loss(self, x: tg.Tensor) -> tg.Tensor:
        return (self.model(x) ** 2).mean()

    def train(self, x: tg.Tensor) -> tg.Tensor:
        self.opt.zero_grad()
        loss = self.loss(x)
        loss.backward()
        self.opt.step()
        return loss

    def state(self) -> list[Any]:
        own = [*self.model.state_dict().values(), *(p.grad for p in self.model.parameters())]
        own += [value for state in self.opt.state_dict()["state"].values() for value in state.values()]
        numbers = [v.detach().numpy() if isinstance(v, tg.Tensor) else v for v in [*own, self.hidden, self.last]]
        rest = [self.losses, self.totals, self.count, self.best, self.opt.param_groups[0]["lr"]]
        return [*numbers, *rest, self.model.training, tg.rand(1).item(), random.random(), np.random.rand()]


def append(t: Trainer, x: tg.Tensor) -> None:
    t.losses.append(t.train(x).item())


def total(t: Trainer, x: tg.Tensor) -> Any:
    loss = t.train(x)
    t.totals["loss"] += loss.item()
    t.totals["calls"] += 1
    return t.totals["loss"] / t.totals["calls"]


def count(t: Trainer, x: tg.Tensor) -> Any:
    t.count += 1
    if t.count % 2 == 0:
        t.model.eval()
    else:
        t.model.train()
    return t.train(x) * t.count


def decide(t: Trainer, x: tg.Tensor) -> Any:
    t.opt.zero_grad()
    loss = t.loss(x)
    loss.backward()
    if loss > 0.2:
        t.opt.step()
    return loss.item()


def best(t: Trainer, x: tg.Tensor) -> Any:
    loss = t.train(x)
    if t.best is None or loss.item() < t.best:
        t.best = loss.item()
    return loss


def carry(t: Trainer, x: tg.Tensor) -> Any:
    t.hidden = (t.hidden * 0.5 + t.model(x).mean(0)).detach()
    return t.hidden.sum()


def fetch(t: Trainer, x: tg.Tensor) -> Any:
    return t.train(next(t.batches) + x)


def foreign(t: Trainer, x: tg.Tensor) -> Any:
    return t.train(x * random.random() + float(np.random.rand()))


def mask(t: Trainer, x: tg.Tensor) -> Any:
    chosen = x[x > 0]
    return t.train(x) * len(chosen)


def convert(t: Trainer, x: tg.Tensor) -> Any:
    return [round(number, 3) for number in t.train(x).reshape(1).tolist()]


def late(t: Trainer, x: tg.Tensor) -> Any:
    loss = t.train(x)
    t.schedule.step()
    return loss.item(), t.schedule.get_last_lr()[0]


def halfway(t: Trainer, x: tg.Tensor) -> Any:
    t.model.eval()
    t.losses.append(1.0)
    t.opt.param_groups[0]["lr"] = 0.5
    loss = t.train(x)
    t.model.train()
    return float(loss)


RUN_AS_THEY_ARE = {
    append: "kept in Python state.*losses.append",
    total: "kept in Python state",
    count: r"changes self\.count",
    decide: r"\[bool\] got a read of the traced value .* at test_fallback.py:\d+: if loss > 0.2:",
    best: "kept in Python state",
    carry: r"changes self\.hidden",
    fetch: r"uses the iterator self\.batches.*take the next item outside",
    foreign: r"draws numbers from random",
    mask: r"x\[mask\], whose length depends on values .*tg.where\(mask, x, 0\)",
    convert: r"\[tolist\] got a read",
    late: "a use of 'lr' after a schedule's step.*step the schedule last",
    halfway: r"\[float\] got a read",
}


def same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            same(one, other)
    elif isinstance(a, dict):
        same(list(a.items()), list(b.items()))
    elif isinstance(a, (float, np.ndarray)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    else:
        assert a == b


@pytest.mark.parametrize("step", RUN_AS_THEY_ARE)
def test_what_cannot_be_compiled_runs_as_it_is(step: Callable[[Trainer, tg.Tensor], Any]) -> None:
    found = []
    for wrap in (compiled, lambda f: f):
        trainer = Trainer()
        trainer.step = step.__get__(trainer)  # type: ignore[attr-defined]
        call = wrap(trainer.step)  # type: ignore[attr-defined]
        del trainer.step  # type: ignore[attr-defined]
        results = []
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for k in range(4):
                result = call(data(8, 4, seed=k))
                results.append(result.detach().numpy() if isinstance(result, tg.Tensor) else result)
        found.append((results, trainer.state()))
        if wrap is compiled:
            assert len(told) == 1
            assert told[0].category is RuntimeWarning
            assert told[0].filename == __file__
            assert re.search(RUN_AS_THEY_ARE[step], str(told[0].message)), str(told[0].message)
    same(*found)


# ---- variables around a function ---------------------------------------------------------------------------------


def test_another_value_of_a_variable_is_another_program() -> None:
    scale, table, settings = 2.0, [1.0], {"on": True}

    @compiled
    def f(x: tg.Tensor) -> tg.Tensor:
        return x * scale * table[0] if settings["on"] else x

    x = tg.tensor([1.0, 2.0])
    for scale, table[0], settings["on"] in ((2.0, 1.0, True), (3.0, 1.0, True), (3.0, 5.0, True), (2.0, 1.0, False)):
        assert f(x).tolist() == (x * scale * table[0] if settings["on"] else x).tolist()
    assert f.traces == 4
    scale, table[0], settings["on"] = 2.0, 1.0, True
    assert f(x).tolist() == [2.0, 4.0]
    assert f.traces == 4
    w = tg.ones(2)
    g = compiled(lambda x: x * w)
    g(x)
    w = tg.zeros(2)
    assert g(x).tolist() == [0.0, 0.0]


def test_a_variable_that_changes_all_the_time() -> None:
    k = 0
    f = compiled(lambda x: x * k)
    x = tg.tensor([1.0])

    def results() -> Any:
        nonlocal k
        for number in range(20):
            k = number
            yield f(x).item()

    with pytest.warns(RuntimeWarning, match=r"another value of k at every call: 7, then 8.*pass it as an argument"):
        found = list(results())
    assert found == list(range(20))
    assert f.traces == 8


def test_an_argument_with_many_values() -> None:
    f = compiled(lambda x, k: x * k)
    with pytest.warns(RuntimeWarning, match="yet another value of an argument that is no tensor, after 8"):
        found = [f(tg.ones(1), k).item() for k in range(20)]
    assert found == list(range(20))
    assert f.traces == 8
    assert f(tg.ones(1), 3).item() == 3


def test_what_is_made_once_is_compiled_afterwards() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table: Any = None

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            if self.table is None:
                self.table = tg.arange(3.0)
            return x + self.table

    model = Lazy()
    f = compiled(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [f(tg.ones(3)).tolist() for _ in range(3)] == [[1, 2, 3]] * 3


def test_attributes_that_hold_what_a_call_computed() -> None:
    class Layer(nn.Linear):
        def forward(self, x: tg.Tensor) -> tg.Tensor:
            self.out = super().forward(x)
            return self.out.tanh()

    class Remembers(nn.Linear):
        before: Any = None

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            self.out = super().forward(x if self.before is None else x + self.before)
            self.before = self.out.detach()
            return self.out

    for kind, told in ((Layer, 0), (Remembers, 1)):
        found = []
        for wrap in (compiled, lambda f: f):
            tg.manual_seed(0)
            layer = kind(3, 3)
            f = wrap(layer)
            with warnings.catch_warnings(record=True) as notes:
                warnings.simplefilter("always")
                found.append([(f(data(2, 3, seed=k)).tolist(), layer.out.tolist()) for k in range(4)])
            assert len(notes) == (told if wrap is compiled else 0), [str(note.message) for note in notes]
        np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_prints_are_seen(capsys: Any) -> None:
    f = compiled(lambda x: (print("here"), x + 1)[1])
    with pytest.warns(RuntimeWarning, match="a function that prints"):
        [f(tg.ones(1)) for _ in range(3)]
    assert capsys.readouterr().out == "here\n" * 3


# ---- what is compiled --------------------------------------------------------------------------------------------


def test_gradients_flow_through_a_compiled_module() -> None:
    found = []
    for wrap in (compiled, lambda f: f):
        t = Trainer()
        t.opt = optim.SGD(t.model.parameters(), lr=0.1)
        model = wrap(t.model)
        for k in range(4):
            x = data(8, 4, seed=k).requires_grad_()
            t.opt.zero_grad()
            out = model(x)
            assert out.requires_grad
            (out**2).mean().backward()
            t.opt.step()
            t.losses += [x.grad.sum().item()]  # type: ignore[union-attr]
        found.append(t.state())
    same(*found)


def test_labels_that_are_ignored() -> None:
    scores = data(4, 3, seed=0).requires_grad_()
    f = compiled(lambda x, y: F.cross_entropy(x, y) + F.nll_loss(x, y, reduction="sum"))
    for labels in ([0, 1, 2, 0], [0, -100, 2, 0], [1, 1, -100, -100]):
        y = tg.tensor(labels)
        expected = F.cross_entropy(scores, y) + F.nll_loss(scores, y, reduction="sum")
        assert f(scores, y).item() == pytest.approx(expected.item(), rel=1e-6)
    with pytest.raises(IndexOutOfRange, match="label 3"):
        f(scores, tg.tensor([0, 3, 0, 0]))


def test_errors_of_the_function_are_its_own() -> None:
    def wrong(x: tg.Tensor) -> tg.Tensor:
        raise KeyError("mine")

    with pytest.warns(RuntimeWarning, match="KeyError: 'mine' at .*test_fallback.py"), pytest.raises(KeyError):
        compiled(wrong)(tg.ones(1))
    with pytest.raises(TraceError, match="a function"):
        compiled(3)  # type: ignore[arg-type]
    with pytest.warns(RuntimeWarning), pytest.raises(GraphError):
        compiled(lambda x: x.backward())(tg.ones(1))


def test_methods_copies_and_nesting() -> None:
    class Scaled:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        @compiled
        def times(self, x: tg.Tensor) -> tg.Tensor:
            return x * self.factor

    one, two = Scaled(2.0), Scaled(3.0)
    x = tg.tensor([1.0, 2.0])
    assert (one.times(x).tolist(), two.times(x).tolist()) == ([2, 4], [3, 6])
    one.factor = 5.0
    assert one.times(x).tolist() == [5, 10]
    outer = tg.jit(lambda x: two.times(x) + 1)
    assert outer(x).tolist() == [4, 7]
    assert copy.deepcopy(compiled(abs))(x).tolist() == [1, 2]
    assert pickle.loads(pickle.dumps(compiled(abs)))(-x).tolist() == [1, 2]
