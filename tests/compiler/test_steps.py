"""Loops over the same steps run as one, where each step reads its own results only, and the values stay the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.compiler.driver import build
from tinygrad_nn.compiler.job import Job, Part
from tinygrad_nn.compiler.loopir.program import Repeat
from tinygrad_nn.compiler.lower import fusion
from tinygrad_nn.compiler.schedule import steps
from tinygrad_nn.compiler.trace import trace
from tinygrad_nn.config import config
from tinygrad_nn.graph.graph import Graph
from tinygrad_nn.support.pytree import flatten
from tinygrad_nn.testing.agreement import ANYWHERE, check

RNG = np.random.default_rng(0)
VALUES = [RNG.normal(size=shape) * 0.4 for shape in ((90, 3, 2), (2, 4), (4, 4))]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over steps are loops, and joined, at any size."""
    monkeypatch.setattr(fusion, "SECOND", 0)
    monkeypatch.setattr(fusion, "DEEP", 0)
    monkeypatch.setattr(steps, "FROM", 0)


def states(x: Any, u: Any, w: Any, reverse: bool = False) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = (x @ u + h @ w).tanh()
        return h, h

    return tg.scan(step, x.new_zeros((3, 4)), x, reverse=reverse)[1]


def gradients(reverse: bool) -> Callable[..., Any]:
    """Of the weights, which are sums over the steps of the scan that goes the other way."""
    return tg.grad(lambda x, u, w: (states(x, u, w, reverse) ** 2).sum(), argnums=(1, 2))


def same(x: Any, u: Any, w: Any) -> Any:
    """A product of each state and the entry of its step."""
    return (states(x, u, w).transpose(1, 2) @ x).sum(0)


def backwards(x: Any, u: Any, w: Any) -> Any:
    """The states from the last one on: the sum goes the way of the steps."""
    return (states(x, u, w).flip(0).transpose(1, 2) @ x).sum(0)


def others(x: Any, u: Any, w: Any) -> Any:
    """Each step of the sum needs two of the steps."""
    h = states(x, u, w)
    return (h.transpose(1, 2) @ h.flip(0)).sum(0)


def two(x: Any, u: Any, w: Any) -> Any:
    """What the second loop reads is made between the two, of what the first one made."""
    h = states(x, u, w)
    return ((h / (h * h).sum((0, 1))).transpose(1, 2) @ x).sum(0)


def rows(x: Any, u: Any, w: Any) -> Any:
    """What each step leaves is summed over its rows too, as the gradient of a bias is."""
    return states(x, u, w).sum((0, 1))


def first_axis(x: Any, u: Any, w: Any) -> Any:
    """A sum over the steps alone stores no more often than it has to."""
    return states(x, u, w).sum(0)


def traced(function: Callable[..., Any]) -> Graph:
    leaves, tree = flatten((tuple(VALUES), {}))
    return trace(function, tree, leaves, [True] * len(leaves)).graph


def repeats(graph: Graph) -> int:
    program = build(Job((Part(graph),)), ANYWHERE, last="rows").program
    return sum(isinstance(region, Repeat) for region in program.regions)


@pytest.mark.parametrize(
    ("function", "joined", "apart"),
    [
        *((gradients(False), 2, 4), (gradients(True), 2, 4), (same, 1, 2), (backwards, 1, 2), (rows, 1, 2)),
        *((others, 2, 2), (two, 2, 2), (first_axis, 1, 1)),
    ],
)
def test_loops_over_the_same_steps(
    function: Callable[..., Any], joined: int, apart: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = traced(function)
    assert repeats(graph) == joined
    outcome = check(graph, VALUES, interpreted=True)
    assert not outcome.problems, outcome.problems
    monkeypatch.setattr(steps, "FROM", 10**9)
    assert repeats(graph) == apart


def test_the_loops_that_were_joined_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TGNN_DEBUG", "4")
    config.cache_clear()
    made = build(Job((Part(traced(same)),)), ANYWHERE, last="rows")
    monkeypatch.undo()
    config.cache_clear()
    before, after = made.made["legalize"], made.program
    ((early, others),) = steps.joined(before, after).items()
    ((late, names),) = others.items()
    assert early in [one.var for one in after.regions if isinstance(one, Repeat)]
    assert late in [one.var for one in before.regions if isinstance(one, Repeat)]
    assert [name for name in names if "sum" in name or "matmul" in name]
    assert f"steps of {late} among those of {early}: {', '.join(names)}" in capsys.readouterr().err
    assert not steps.joined(before, before)
