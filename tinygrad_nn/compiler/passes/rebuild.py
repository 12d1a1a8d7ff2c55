"""Making graphs from graphs: what every pass is written with."""

from __future__ import annotations

from collections.abc import Callable, Container

from ...graph.graph import Attrs, Graph, Node, Op, next_serial, with_operands

Rule = Callable[[Node, tuple[Node, ...]], Node | None]


def apply(op: Op, operands: tuple[Node, ...], attrs: Attrs) -> Node:
    """A new symbolic node, its shape and dtype by the rules of its op."""
    shape = op.shape(*(x.shape for x in operands), **attrs)
    return Node(op, operands, attrs, shape, op.dtype(*(x.dtype for x in operands), **attrs), None)


def rebuild(graph: Graph, rule: Rule, ops: Container[Op] | None = None) -> Graph:
    """The graph with each node replaced by what `rule(node, new operands)` gives, None meaning the same op on them. The
    rule is only asked about nodes of `ops`, if they are given. Where nothing changes, the graph itself.
    """
    inputs, places, since = frozenset(graph.inputs), graph.places, next_serial()
    new: dict[Node, Node] = {}  # of those that have another in their place
    for node in graph.nodes:
        operands = node.inputs
        if new and any(x in new for x in operands):
            operands = tuple([new.get(x, x) for x in operands])
        replaced = None
        if (ops is None or node.op in ops) and node not in inputs:
            replaced = rule(node, operands)
        if replaced is None and operands is not node.inputs and node not in inputs:
            replaced = with_operands(node, operands)
        if replaced is not None and replaced is not node:
            new[node] = replaced
            if places is not None:
                places.follow(replaced, node, since)
    if not new:
        return graph
    updates = [(old, new.get(value, value)) for old, value in graph.updates]
    return Graph.of([new.get(node, node) for node in graph.outputs], graph.inputs, updates, places)


def count_users(graph: Graph) -> dict[Node, int]:
    """How often each node is read, being an output or a new value of the state included."""
    users = dict.fromkeys(graph.nodes, 0)
    for node in graph.nodes:
        for operand in node.inputs:
            users[operand] += 1
    for node in (*graph.outputs, *(new for _, new in graph.updates)):
        users[node] += 1
    return users
