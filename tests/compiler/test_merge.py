"""Merged traces: dynamic lengths are the ints they are, and are not taken for other lengths of the same size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.compiler.passes.algebra import BEFORE_MERGING, rewrite
from tinygrad_nn.compiler.passes.merge import merged
from tinygrad_nn.compiler.run.traces import training_job
from tinygrad_nn.compiler.trace import trace
from tinygrad_nn.graph.graph import Graph, Length, exact, is_dynamic, is_fixed, tail_of
from tinygrad_nn.support.pytree import flatten

SIZE = 6  # of batches, layers, sequences


def test_a_dynamic_length_is_its_int() -> None:
    n = Length(8, 5)
    assert n == 8 == n
    assert hash(n) == hash(8)
    assert {(n, 3): "found"}[8, 3] == "found"
    assert (tail_of(n), tail_of(8)) == (5, None)
    assert (is_dynamic(n), is_dynamic(8)) == (True, False)
    assert (is_fixed((8, 3)), is_fixed((3,), (n,))) == (True, False)
    assert str((n, 3)) == "(8|5, 3)"


def test_exact_tells_dynamic_lengths_apart() -> None:
    shapes = [(8, 8), (Length(8, 5), 8), (8, Length(8, 5)), (Length(8, 4), 8)]
    assert len(set(shapes)) == 1
    assert len({exact(shape) for shape in shapes}) == len(shapes)
    assert exact((("bounds", ((0, 1, Length(8, 5)),)),)) != exact((("bounds", ((0, 1, 8),)),))


def both(function: Callable[..., Any]) -> Graph | None:
    """The common graph of a function of a batch of SIZE rows and one of fewer, or None."""
    graphs = []
    for rows in (SIZE, SIZE - 2):
        leaves, tree = flatten(((tg.tensor(np.ones((rows, SIZE))),), {}))
        graphs.append(rewrite(trace(function, tree, leaves, [True]).graph, BEFORE_MERGING))
    return merged(*graphs)


def test_two_lengths_of_one_size_are_not_unified() -> None:
    """A sum as often as the batch has rows, and as often as it has columns."""
    graph = both(lambda x: x.sum().expand(x.shape[0]).exp().sum() - x.sum().expand(SIZE).exp().sum())
    assert graph is not None
    shapes = {exact(node.shape) for node in rewrite(graph).nodes if node.op.name == "exp"}
    assert shapes == {exact((Length(SIZE, SIZE - 2),)), (SIZE,)}


REFUSED: dict[str, Callable[[Any], Any]] = {
    "rows for columns": lambda x: x.reshape(SIZE, 1, x.shape[0]).exp().sum(0).sum(),
    "a slice of the batch": lambda x: x[: SIZE - 2].sum() + x.sum(),
    "a reversed batch": lambda x: x.flip(0).sum(0).exp().sum(),
    "joined along the batch": lambda x: tg.cat([x, x], 0).sum(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arithmetic_with_a_dynamic_length_is_refused(name: str) -> None:
    assert both(REFUSED[name]) is None


def mlp() -> tuple[nn.Module, Callable[[Any, Any], Any]]:
    model = nn.Sequential(nn.Linear(SIZE, SIZE), nn.LayerNorm(SIZE), nn.Tanh(), nn.Linear(SIZE, SIZE))
    return model, lambda x, y: F.cross_entropy(model(x), y)


def gram() -> tuple[nn.Module, Callable[[Any, Any], Any]]:
    """Products of the batch with itself, both ways round, beside those of weights."""
    model = nn.Linear(SIZE, SIZE)

    def loss(x: Any, y: Any) -> Any:
        h = model(x)
        rows, columns = (h @ h.T).tanh(), h.T @ h
        return (rows.sum(0) + h.sum(1)).square().mean() + (columns.softmax(1) * model.weight).sum() + h.T.amax(1).sum()

    return model, loss


def spread() -> tuple[nn.Module, Callable[[Any, Any], Any]]:
    """A parameter as often as the batch has rows, and as often as it has columns."""
    model = nn.Linear(1, 1)

    def loss(x: Any, y: Any) -> Any:
        one = model.weight.reshape(())
        rows, columns = one.expand(x.shape[0]), one.expand(SIZE)
        return rows.exp().sum() - 0.9 * columns.exp().sum() + (rows * x.sum(1)).tanh().sum() + columns.cos().mean()

    return model, loss


def attention() -> tuple[nn.Module, Callable[[Any, Any], Any]]:
    model = nn.Linear(1, SIZE)

    def loss(x: Any, y: Any) -> Any:
        h = model(x.unsqueeze(2))  # batch, time, width: all of one size
        weights = (h @ h.transpose(1, 2)).softmax(2)
        return (weights @ h).permute(1, 0, 2).square().mean() + h.transpose(0, 1).sum(1).tanh().sum()

    return model, loss


def recurrent() -> tuple[nn.Module, Callable[[Any, Any], Any]]:
    layer = nn.RNN(1, SIZE, batch_first=True)
    return layer, lambda x, y: layer(x.unsqueeze(2))[0].square().mean()


@pytest.mark.parametrize("make", [mlp, gram, spread, attention, recurrent])
def test_a_run_in_which_all_lengths_are_one_size_is_the_eager_run(make: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3 * SIZE - 2, SIZE)), rng.integers(0, SIZE, 3 * SIZE - 2)
    losses = []
    for compiled in (True, False):
        tg.manual_seed(0)
        model, loss_of = make()
        model.to("float64")
        opt = optim.SGD(model.parameters(), lr=0.01)

        def step(x: Any, y: Any, opt: Any = opt, loss_of: Any = loss_of) -> Any:
            opt.zero_grad()
            loss = loss_of(x, y)
            loss.backward()
            opt.step()
            return loss

        if compiled:
            job = training_job(tg.jit(step), [(x, y)], SIZE, None, False, None)
            assert job.parts[0].last is not None
            both = (rewrite(one.graph, BEFORE_MERGING) for one in (job.parts[0], job.parts[0].last))
            assert merged(*both) is not None
        history = tg.fit(tg.jit(step) if compiled else step, (x, y), 4, batch_size=SIZE, shuffle=False, progress=False)
        losses.append(history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-10)
