"""Recording without values: every application becomes a symbolic node. What a compiled function and the body of a scan
have in common.
"""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np

from ..graph.graph import Attrs, Node, Op, Shape
from ..ops.movement import BROADCAST
from .core import Core, broadcast_attrs, broadcast_shape, constant, mode

FOLDED_LIMIT: Final = 65536  # elements of a constant that is worked out while recording


class Symbolic:
    """A recorder that gives every application a symbolic node; what a handle stands for is its own node."""

    expands = True  # composites are what they are made of
    symbolic = True  # what is done to Python state happens once, see context.forbid_tracing

    def lift(self, handle: Core) -> Node:
        """The node of an operand."""
        return handle.node

    def assign(self, handle: Core, node: Node) -> None:
        """The handle holds another value from here on."""
        handle.node = node

    def bind(self, op: Op, nodes: tuple[Node, ...], attrs: Attrs) -> Node:
        """A symbolic application; operands are broadcast by nodes, and constants are worked out at once."""
        shapes = [node.shape for node in nodes]
        if op.kind == "elementwise" and shapes.count(shapes[0]) != len(shapes):
            common = broadcast_shape(op.name, *shapes)
            nodes = tuple([node if node.shape == common else self._broadcast(node, common) for node in nodes])
            shapes = [common] * len(nodes)
        shape = op.shape(*shapes, **attrs)
        dtype = op.dtype(*[node.dtype for node in nodes], **attrs)
        needs, known = False, op.kind != "random"
        for node in nodes:
            needs = needs or node.needs_grad
            known = known and node.value is not None
        if known and not needs and prod(shape) <= FOLDED_LIMIT:
            with np.errstate(all="ignore"):
                return constant(np.asarray(op.numpy(*[node.value for node in nodes], **attrs)))
        return Node(op, nodes, attrs, shape, dtype, None, needs and op.differentiable and mode.grad)

    def _broadcast(self, node: Node, shape: Shape) -> Node:
        return self.bind(BROADCAST, (node,), broadcast_attrs(len(node.shape), shape))
