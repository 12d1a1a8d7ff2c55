"""One graph for two batch sizes: the trace of a whole batch and that of the short last one, laid over each other.

Both traces are of the same function, so they have the same nodes and differ in lengths and in constants made from
lengths (the 1 / n of a mean). A length that differs becomes a `Dim`, which is the longer one and knows the shorter; a
constant that differs keeps the other value as its attribute `tail`. Where the two differ in any other way, or an op
would do arithmetic with such a length, there is no common graph.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ...adjoint import SCAN
from ...graph import Graph, Node
from ...ops.source import CONSTANT, INPUT


class Dim(int):
    """A length that is shorter in the last batch. It is equal to itself only, not to the same number elsewhere."""

    tail: int

    def __new__(cls, main: int, tail: int) -> Self:
        """`main` in whole batches."""
        self = super().__new__(cls, main)
        self.tail = tail
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and int(self) == int(other) and self.tail == other.tail

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((int(self), self.tail))


class _Differs(Exception):
    """The two graphs have no common one."""


def overlaid(main: Graph, tail: Graph) -> Graph | None:
    """The common graph of a function's traces for two batch sizes, inputs in the same order; None if there is none."""
    counts = [(len(graph.nodes), len(graph.inputs), len(graph.outputs), len(graph.updates)) for graph in (main, tail)]
    if counts[0] != counts[1]:
        return None
    partner = dict(zip(tail.nodes, main.nodes, strict=True))
    new: dict[Node, Node] = {}
    inputs = set(main.inputs)
    try:
        for a, b in zip(main.nodes, tail.nodes, strict=True):
            if [partner[x] for x in b.inputs] != list(a.inputs) or a.dtype != b.dtype:
                return None
            new[a] = _node(a, b, tuple(new[x] for x in a.inputs), a in inputs)
    except _Differs:
        return None
    pairs = [
        *zip(main.inputs, tail.inputs, strict=True),
        *zip(main.outputs, tail.outputs, strict=True),
        *((x, y) for p, q in zip(main.updates, tail.updates, strict=True) for x, y in zip(p, q, strict=True)),
    ]
    if any(partner[b] is not a for a, b in pairs):
        return None
    updates = [(new[old], new[value]) for old, value in main.updates]
    return Graph.of([new[node] for node in main.outputs], [new[node] for node in main.inputs], updates)


def _node(a: Node, b: Node, operands: tuple[Node, ...], is_input: bool) -> Node:
    if is_input:
        shape = _merged(a.shape, b.shape)
        return Node(INPUT, (), a.attrs, shape, a.dtype, None) if shape != a.shape else a
    if a.op is CONSTANT:
        return _constant(a, b)
    if a.op is not b.op:
        raise _Differs
    attrs = _merged(dict(a.attrs), dict(b.attrs))
    shape = a.shape if a.op is SCAN else _merged(a.shape, b.shape)  # a scan is read by columns, which know their shapes
    if shape == a.shape and all(x is y for x, y in zip(operands, a.inputs, strict=True)):
        if attrs != dict(a.attrs):
            raise _Differs
        return a
    node = Node(a.op, operands, attrs, shape, a.dtype, None)
    if not _follows(node):
        raise _Differs
    return node


def _constant(a: Node, b: Node) -> Node:
    """A constant with one value everywhere may differ; any other must be the same."""
    x, y = np.asarray(a.value), np.asarray(b.value)
    shape = _merged(a.shape, b.shape)
    if x.shape == y.shape and x.tobytes() == y.tobytes():
        return a
    first, second = x.reshape(-1)[:1], y.reshape(-1)[:1]
    if not x.size or not y.size or (x != first).any() or (y != second).any():
        raise _Differs
    if first.tobytes() == second.tobytes():
        return Node(CONSTANT, (), {}, shape, a.dtype, a.value)
    return Node(CONSTANT, (), {"tail": second[0]}, shape, a.dtype, a.value)


def _merged(a: Any, b: Any) -> Any:
    """Two attributes or shapes as one, lengths that differ as Dims."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return tuple(_merged(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return {key: _merged(a[key], b[key]) for key in a}
    if isinstance(a, Graph) and isinstance(b, Graph):
        common = overlaid(a, b)
        if common is None:
            raise _Differs
        return common
    if type(a) is type(b) and a == b:
        return a
    if type(a) is int and type(b) is int and a > b > 0:
        return Dim(a, b)
    raise _Differs


def _varies(n: Any) -> bool:
    return isinstance(n, Dim)


def _follows(node: Node) -> bool:
    """Whether an op treats its Dims as lengths only, so that the first `tail` elements mean the same as in the tail."""
    shapes = [operand.shape for operand in node.inputs]
    if node.op.follows is not None:
        return node.op.follows(_varies, node.shape, *shapes, **node.attrs)
    if node.op.kind in ("elementwise", "reduce", "contract"):
        return True
    axes = {axis for shape in (node.shape, *shapes) for axis, n in enumerate(shape) if _varies(n)}
    if node.op.kind == "random":
        return axes <= {0}
    return "axis" in node.attrs and node.attrs["axis"] not in axes and not any(map(_varies, node.attrs.values()))
