"""Random well-typed graphs: a random program, gradients of some of its values, updates of state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..autograd import grad
from ..compiler.trace import trace
from ..errors import DivisionByZero, GraphError, IndexOutOfRange
from ..graph.graph import Array, Graph, Op
from ..support.pytree import flatten
from ..tensor import Tensor
from ..tensor.core import constant
from .builder import Builder, Given
from .looped import add_loop


def generate(seed: Sequence[int], favourite: Op | None = None) -> tuple[Graph, list[Array]]:
    """A random graph with values for its inputs; half of its ops are the favourite, if there is one."""
    rng = np.random.default_rng(list(seed))
    builder = Builder(rng, add_loop, favourite)
    builder.build(min(40, int(rng.geometric(0.12))))
    order = int(rng.choice((0, 1, 2), p=(0.5, 0.35, 0.15)))
    pairs = zip(builder.steps, builder.values, strict=True)
    inputs = [value for step, value in pairs if isinstance(step, Given) and step.is_input]
    last = len(builder.steps) - 1
    chosen = [last, *(int(rng.integers(last + 1)) for _ in range(int(rng.integers(0, 3))))]

    def function(*arguments: Tensor) -> list[Tensor]:
        made = builder.replay(iter(arguments))
        found = [made[k] for k in chosen]
        wanted = [x for x in arguments if x.requires_grad]
        results = list(found)
        for _ in range(order):
            targets = [x for x in found if x.requires_grad]
            if not targets:
                break
            weights = [x.new_ones(x.shape) for x in targets]
            found = [g for g in grad(targets, wanted, weights, create_graph=True, allow_unused=True) if g is not None]
            results += found
        return results

    leaves = [Tensor.handle(constant(value)) for value in inputs]
    for leaf in leaves:
        if order and leaf.dtype.kind == "f":
            leaf.requires_grad_()
    flat, tree = flatten((tuple(leaves), {}))
    try:
        traced = trace(function, tree, flat, [True] * len(flat))
    except (GraphError, IndexOutOfRange, DivisionByZero):  # of a constant that is out of range, or 0
        return generate([*seed, 1], favourite)
    captured = [np.asarray(capture.handle.node.value) for capture in traced.captures]
    return with_updates(traced.graph, rng), [*inputs, *captured]


def with_updates(graph: Graph, rng: np.random.Generator) -> Graph:
    """Some inputs become state whose new value is another node of the same type."""
    updates = []
    for old in graph.inputs:
        options = [n for n in graph.nodes if (n.shape, n.dtype) == (old.shape, old.dtype) and n is not old]
        if options and rng.random() < 0.3:
            updates.append((old, options[int(rng.integers(len(options)))]))
    return Graph.of(graph.outputs, graph.inputs, updates)
