"""Gradients through the call of a compiled function: its results are nodes whose gradient is compiled as well.

The gradient of a result is a graph of its own, made at the first backward from the graph of the trace: it computes the
function again and walks back. Operands of the node are all inputs as they were before the call, so what is random, or
has changed since, is computed from the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...errors import GraphError, message
from ...graph.graph import NO_ATTRS, Graph, Node, Op
from ...graph.reverse import reverse
from ...ops.source import INPUT
from ...tensor import Tensor
from ...tensor.core import constant, mode, tracing
from ...tensor.symbolic import Symbolic
from ..trace import Traced
from .runtime import Compiled


class Differentiable:
    """The results of the calls of one kind that have a gradient."""

    def __init__(self, traced: Traced, outputs: Sequence[int], owner: str) -> None:
        self.traced, self.owner = traced, owner
        self.ops = {what: _op(self, what) for what in outputs}
        self.compiled: dict[int, Compiled] = {}

    def operands(self, leaves: Sequence[Any], is_array: Sequence[bool]) -> tuple[Node, ...]:
        """The inputs of a call, before it: arguments, then what it reaches from outside."""
        given = [leaf for leaf, array in zip(leaves, is_array, strict=True) if array]
        nodes = [leaf.node if isinstance(leaf, Tensor) else constant(np.array(leaf)) for leaf in given]
        nodes += [capture.handle.node for capture in self.traced.captures]
        for node in nodes:
            node.value  # noqa: B018  kept, whatever becomes of the memory it is in
        return tuple(nodes)

    def results(self, values: list[Any], operands: tuple[Node, ...]) -> None:
        """Give those of the returned tensors that have a gradient their history."""
        for position, (kind, what) in enumerate(self.traced.results):
            if kind == "output" and what in self.ops and isinstance(values[position], Tensor):
                node = values[position].node
                made = Node(self.ops[what], operands, NO_ATTRS, node.shape, node.dtype, node.value, True)
                values[position] = Tensor.handle(made)

    def gradient(self, what: int) -> Compiled:
        """The compiled gradient of an output: of the inputs and its cotangent, with respect to what requires grad."""
        if what not in self.compiled:
            self.compiled[what] = Compiled(_backward(self.traced, what), owner=f"{self.owner}, backward")
        return self.compiled[what]


def wanted_of(traced: Traced) -> list[int]:
    """The inputs that require grad, by position."""
    return [k for k, node in enumerate(traced.graph.inputs) if node.needs_grad]


def _backward(traced: Traced, what: int) -> Graph:
    root, inputs = traced.tails[traced.dependent.index(what)], traced.graph.inputs
    cotangent = Node(INPUT, (), NO_ATTRS, root.shape, root.dtype, None)
    wanted = [inputs[k] for k in wanted_of(traced)]
    for node in wanted:
        node.slot = None  # hooks are called where the gradient arrives
    before, mode.grad = mode.grad, False
    try:
        with tracing(Symbolic()):
            found = reverse([root], [Tensor.handle(cotangent)], Tensor.handle, wanted, retain=True)
            gradients = [found[node].node if node in found else _zeros(node) for node in wanted]
    finally:
        mode.grad = before
    return Graph.of(gradients, [*inputs, cotangent])


def _zeros(node: Node) -> Node:
    return constant(np.zeros(node.shape, node.dtype))


def _op(owner: Differentiable, what: int) -> Op:
    places = {k: place for place, k in enumerate(wanted_of(owner.traced))}

    def vjp(g: Any, out: Any, *inputs: Any, wanted: Sequence[int]) -> dict[int, Any]:
        if mode.grad:
            hint = "compile the function that takes the gradient, tg.jit(tg.grad(f)), or differentiate the eager one"
            got = "a gradient through the call of a compiled function that is to be differentiated again"
            raise GraphError(message("jit", got, "one taken inside", hint))
        values = [x.node.value for x in inputs]
        found, _ = owner.gradient(what).run([*values, g.node.value])
        return {k: type(g).handle(constant(found[places[k]])) for k in wanted}

    same: Callable[..., Any] = lambda *operands: operands[0]  # noqa: E731
    return Op("compiled", "control", shape=same, dtype=same, numpy=same, vjp=vjp, relays=True)
