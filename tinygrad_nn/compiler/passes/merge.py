"""Merged traces: one graph for two batch sizes, from the trace of a whole batch and that of the short last one.

Both traces are of the same function, so they have the same nodes and differ in lengths and in constants made from
lengths (the 1 / n of a mean). A length that differs becomes a `Length`, which is the longer one and knows the shorter;
a constant that differs keeps the other value as its attribute `tail`. Where the two differ in any other way, or an op
would do arithmetic with such a length, there is no common graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_
from typing import Any

import numpy as np

from ...adjoint import SCAN
from ...graph.graph import Graph, Length, Node, is_dynamic, next_serial
from ...ops.source import CONSTANT, INPUT


class _Differs(Exception):
    """The two graphs have no common one."""


def merged(main: Graph, tail: Graph) -> Graph | None:
    """The common graph of a function's traces for two batch sizes, inputs in the same order; None if there is none."""
    counts = [(len(graph.nodes), len(graph.inputs), len(graph.outputs), len(graph.updates)) for graph in (main, tail)]
    if counts[0] != counts[1]:
        return None
    partner = dict(zip(tail.nodes, main.nodes, strict=True))
    new: dict[Node, Node] = {}
    inputs, places, since = set(main.inputs), main.places, next_serial()
    try:
        for a, b in zip(main.nodes, tail.nodes, strict=True):
            if [partner[x] for x in b.inputs] != list(a.inputs) or a.dtype != b.dtype:
                return None
            new[a] = _node(a, b, tuple(new[x] for x in a.inputs), a in inputs)
            if places is not None:
                places.follow(new[a], a, since)
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
    return Graph.of([new[node] for node in main.outputs], [new[node] for node in main.inputs], updates, places)


def _node(a: Node, b: Node, operands: tuple[Node, ...], is_input: bool) -> Node:
    if is_input:
        shape = _both(a.shape, b.shape)
        return a if shape is a.shape else Node(INPUT, (), a.attrs, shape, a.dtype, None)
    if a.op is CONSTANT:
        return _constant(a, b)
    if a.op is not b.op:
        raise _Differs
    attrs = _both(a.attrs, b.attrs)
    shape = a.shape if a.op is SCAN else _both(a.shape, b.shape)  # a scan is read by columns, which know their shapes
    if shape is a.shape and all(x is y for x, y in zip(operands, a.inputs, strict=True)):
        if attrs is not a.attrs:
            raise _Differs
        return a
    node = Node(a.op, operands, attrs, shape, a.dtype, None)
    if not _follows(node):
        raise _Differs
    return node


def _constant(a: Node, b: Node) -> Node:
    """A constant with one value everywhere may differ; any other must be the same."""
    x, y = np.asarray(a.value), np.asarray(b.value)
    shape = _both(a.shape, b.shape)
    if x.shape == y.shape and x.tobytes() == y.tobytes():
        return a
    first, second = x.reshape(-1)[:1], y.reshape(-1)[:1]
    if not x.size or not y.size or (x != first).any() or (y != second).any():
        raise _Differs
    if first.tobytes() == second.tobytes():
        return Node(CONSTANT, (), {}, shape, a.dtype, a.value)
    return Node(CONSTANT, (), {"tail": second[0]}, shape, a.dtype, a.value)


def _both(a: Any, b: Any) -> Any:
    """Two attributes or shapes as one, lengths that differ being dynamic; the first itself where nothing differs."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        parts = tuple(map(_both, a, b))
        return a if all(map(is_, parts, a)) else parts
    if isinstance(a, Mapping) and isinstance(b, Mapping) and a.keys() == b.keys():
        values = {key: _both(a[key], b[key]) for key in a}
        return a if all(values[key] is a[key] for key in a) else values
    if isinstance(a, Graph) and isinstance(b, Graph):
        common = merged(a, b)
        if common is None:
            raise _Differs
        return a if common.nodes == a.nodes else common
    if type(a) is type(b) and a == b:
        return a
    if type(a) is int and type(b) is int and a > b > 0:
        return Length(a, b)
    raise _Differs


def _follows(node: Node) -> bool:
    """Whether an op treats dynamic lengths as lengths only: the first `tail` elements mean what they do in the tail."""
    shapes = [operand.shape for operand in node.inputs]
    if node.op.follows is not None:
        return node.op.follows(is_dynamic, node.shape, *shapes, **node.attrs)
    if node.op.kind in ("elementwise", "reduce", "contract"):
        return True
    axes = {axis for shape in (node.shape, *shapes) for axis, n in enumerate(shape) if is_dynamic(n)}
    if node.op.kind == "random":
        return axes <= {0}
    return "axis" in node.attrs and node.attrs["axis"] not in axes and not any(map(is_dynamic, node.attrs.values()))
