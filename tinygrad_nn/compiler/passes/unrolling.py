"""Short scans unrolled, step by step: a pass from Graph to Graph.

What a scan leaves becomes a cat of its steps. A carry before and after the steps is cut out of one cat of T + 1 states,
so that each state lies in memory once. Of the scans that stay, only stacked outputs are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Final

from ...adjoint import SCAN
from ...graph.graph import Graph, Node, next_serial, with_operands
from ...ops.contract import count_products
from ...ops.movement import CAT, RESHAPE, SLICE
from ...ops.scan import STACKED, start_of
from .rebuild import apply

LIMIT: Final = 160  # nodes of all steps together
WORK: Final = 4096  # scalar operations of a step


def is_short(scan: Node, limit: int = LIMIT, work: float = WORK) -> bool:
    """Whether a scan is to be unrolled: it has few nodes in all, and a step so little work that a loop would cost
    a good part of it.
    """
    nodes = [node for node in scan.attrs["body"].nodes if node.inputs]
    few = scan.attrs["length"] * len(nodes) <= limit
    return bool(scan.attrs["length"]) and few and sum(map(_work, nodes)) <= work


def _work(node: Node) -> int:
    return count_products(node) if node.op.kind == "contract" else prod(node.shape)


def unroll(graph: Graph, limit: int = LIMIT, work: float = WORK) -> Graph:
    """The graph without the scans that are short by these measures."""
    if not any(node.op is SCAN for node in graph.nodes):
        return graph
    new: dict[Node, Node] = {node: node for node in graph.inputs}
    stacked: dict[Node, list[Node]] = {}
    places, since = graph.places, next_serial()
    for node in graph.nodes:
        if node in new:
            continue
        operands = tuple(new[x] for x in node.inputs)
        if node.op is STACKED and node.inputs[0] in stacked:
            new[node] = stacked[node.inputs[0]][node.attrs["k"]]
        elif node.op is SCAN:
            stays = not is_short(node, limit, work)
            stacked[node] = _stacked(with_operands(node, operands)) if stays else _written(node, operands, limit, work)
            flat = tuple(apply(RESHAPE, (x,), {"shape": (prod(x.shape),)}) for x in stacked[node])
            new[node] = apply(CAT, flat, {"axis": 0})  # wanted as a whole only by the scan around it
        else:
            new[node] = with_operands(node, operands)
        if places is not None:
            for one in (*stacked.get(node, ()), new[node]):
                places.follow(one, node, since)
    updates = [(old, new[x]) for old, x in graph.updates]
    return Graph.of([new[x] for x in graph.outputs], graph.inputs, updates, places)


def _stacked(scan: Node) -> list[Node]:
    body, length = scan.attrs["body"], scan.attrs["length"]
    starts = [start_of(body, length, k) for k in range(len(body.outputs))]
    shapes = [(length, *x.shape) for x in body.outputs]
    return [
        apply(STACKED, (scan,), {"k": k, "start": start, "shape": shape})
        for k, (start, shape) in enumerate(zip(starts, shapes, strict=True))
    ]


def _written(scan: Node, operands: tuple[Node, ...], limit: int, work: float) -> list[Node]:
    """What a scan leaves, output by output, without the scan."""
    attrs = scan.attrs
    body = unroll(attrs["body"], limit, work)
    places, since = body.places, next_serial()
    length, carries, xs = attrs["length"], attrs["carries"], attrs["xs"]
    states = [[x] for x in operands[:carries]]
    left: list[list[Node]] = [[] for _ in body.outputs]
    for t in reversed(range(length)) if attrs["reverse"] else range(length):
        entries = [_entry(x, t) for x in operands[carries : carries + xs]]
        done = dict(zip(body.inputs, (*(s[-1] for s in states), *entries, *operands[carries + xs :]), strict=True))
        for node in body.nodes:
            if node not in done:
                done[node] = with_operands(node, tuple(done[x] for x in node.inputs))
                if places is not None:
                    places.follow(done[node], node, since)
        for row, output in zip(left, body.outputs, strict=True):
            row.append(done[output])
        for state, output in zip(states, body.outputs, strict=False):
            state.append(done[output])
    order = slice(None, None, -1 if attrs["reverse"] else 1)
    stacked = [_cat(row[order]) for row in left]
    for k, symbol in enumerate(body.inputs[:carries]):
        if symbol in body.outputs:
            both = _cat(states[k][order])
            stacked[body.outputs.index(symbol)] = _entries(both, 1 if attrs["reverse"] else 0, length)
            stacked[k] = _entries(both, 0 if attrs["reverse"] else 1, length)
    return stacked


def _cat(rows: Sequence[Node]) -> Node:
    return apply(CAT, tuple(apply(RESHAPE, (x,), {"shape": (1, *x.shape)}) for x in rows), {"axis": 0})


def _entries(x: Node, start: int, length: int) -> Node:
    bounds = ((start, 1, length), *((0, 1, n) for n in x.shape[1:]))
    return apply(SLICE, (x,), {"bounds": bounds})


def _entry(x: Node, t: int) -> Node:
    return apply(RESHAPE, (_entries(x, t, 1),), {"shape": x.shape[1:]})
