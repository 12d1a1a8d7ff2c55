"""A softmax and attention pass over their scores as few times as may be: what is fused, and that it stays right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn.compiler.loopir.ir import Kernel
from tinygrad_nn.compiler.run.runtime import Compiled
from tinygrad_nn.compiler.trace import trace
from tinygrad_nn.graph.graph import Graph
from tinygrad_nn.support.pytree import flatten
from tinygrad_nn.testing.agreement import check

RNG = np.random.default_rng(3)


def traced(function: Any, *values: Any) -> Graph:
    leaves, tree = flatten((values, {}))
    return trace(function, tree, leaves, [True] * len(leaves)).graph


def kernels(graph: Graph) -> tuple[Kernel, ...]:
    return Compiled(graph).stages.schedule.program.kernels


def attend(query: Any, key: Any, value: Any) -> Any:
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


def test_attention_reads_its_scores_in_one_kernel_between_two_products() -> None:
    q, k, v = (RNG.normal(size=(4, 3, 32, 16)).astype(np.float32) for _ in range(3))
    found = kernels(traced(attend, q, k, v))
    sources = [kernel.sources for kernel in found if {"max", "exp", "sum", "matmul"} & {*kernel.sources}]
    assert len(sources) == 3
    assert "matmul" in sources[0]
    assert {"max", "exp", "sum"} <= {*sources[1]}
    assert "matmul" in sources[2]
    first, _, last = (kernel for kernel in found if kernel.sources in sources)
    assert first.wide * max(first.jam.values(), default=1) > 4  # both keep their tiles
    assert last.wide * max(last.jam.values(), default=1) > 4


SHAPES = [(2, 3, 4, 5), (1, 2, 9, 3), (3, 5, 6, 2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_machines_agree_on_attention(shape: tuple[int, ...], dtype: Any) -> None:
    """Lengths that leave vectors, and heads that leave jammed rounds, part empty; with the gradients."""

    def both(q: Any, k: Any, v: Any) -> Any:
        leaves = [x.detach().requires_grad_() for x in (q, k, v)]
        out = attend(*leaves)
        return out, *tg.autograd.grad((out * out).sum(), leaves)

    values = [RNG.normal(size=shape).astype(dtype) for _ in range(3)]
    assert check(traced(both, *values), values).problems == ()


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_all_machines_agree_on_a_softmax_along_any_axis(axis: int) -> None:
    x = RNG.normal(size=(2, 5, 3, 9)).astype(np.float32)
    assert check(traced(lambda x: x.softmax(axis) * 2.0, x), [x]).problems == ()


def test_what_an_iteration_takes_from_another_one_keeps_kernels_apart() -> None:
    x = RNG.normal(size=(4, 6, 32)).astype(np.float32)

    def turned(x: Any) -> Any:
        powers = x.exp()
        return powers, powers.flip(1).sum(2, keepdim=True) * powers

    graph = traced(turned, x)
    assert not any({"exp", "flip"} <= {*kernel.sources} for kernel in kernels(graph))
    assert check(graph, [x]).problems == ()


def test_parts_that_lie_side_by_side_are_stored_by_one_kernel() -> None:
    x, y = (RNG.normal(size=(6, 32)).astype(np.float32) for _ in range(2))
    parts = lambda x, y: tg.cat([x * y, x - y, (x * y).exp()], 1)  # noqa: E731
    graph = traced(parts, x, y)
    assert len(kernels(graph)) == 1
    assert check(graph, [x, y]).problems == ()


def test_parts_that_overlap_keep_kernels_apart() -> None:
    """A part is read beyond its end: those iterations would come too early."""
    x = RNG.normal(size=(6, 32)).astype(np.float32)

    def shifted(x: Any) -> Any:
        both = tg.cat([x.exp(), x * 2.0], 1)
        return both, both[:, 16:48] + x

    graph = traced(shifted, x)
    assert len(kernels(graph)) == 2
    assert check(graph, [x]).problems == ()
