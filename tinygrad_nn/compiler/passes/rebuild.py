"""Making graphs from graphs: what every pass is written with."""

from __future__ import annotations

from collections.abc import Callable

from ...graph import Attrs, Graph, Node, Op, with_operands

Rule = Callable[[Node, tuple[Node, ...]], Node | None]


def apply(op: Op, operands: tuple[Node, ...], attrs: Attrs) -> Node:
    """A new symbolic node, its shape and dtype by the rules of its op."""
    shape = op.shape(*(x.shape for x in operands), **attrs)
    return Node(op, operands, attrs, shape, op.dtype(*(x.dtype for x in operands), **attrs), None)


def rebuild(graph: Graph, rule: Rule) -> Graph:
    """The graph with each node replaced by what `rule(node, new operands)` gives, None meaning the same op on them."""
    new: dict[Node, Node] = {node: node for node in graph.inputs}
    for node in graph.nodes:
        if node in new:
            continue
        operands = tuple(new[x] for x in node.inputs)
        replaced = rule(node, operands)
        new[node] = with_operands(node, operands) if replaced is None else replaced
    updates = [(old, new[value]) for old, value in graph.updates]
    return Graph.of([new[node] for node in graph.outputs], graph.inputs, updates)


def count_users(graph: Graph) -> dict[Node, int]:
    """How often each node is read, being an output or a new value of the state included."""
    users = dict.fromkeys(graph.nodes, 0)
    for node in graph.nodes:
        for operand in node.inputs:
            users[operand] += 1
    for node in (*graph.outputs, *(new for _, new in graph.updates)):
        users[node] += 1
    return users
