"""From a Graph to loops: one kernel for each node that has a buffer, everything else computed inside of them.

This file says what gets which kind of kernel; `reader` what is read in it, `opaque` and `scan` are the kinds that have
loops of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ...adjoint import SCAN
from ...graph.graph import Graph, Node
from ...ops.contract import parts
from ...ops.movement import RESHAPE
from ...ops.rules import Concatenation, CountingSort, Scatter
from ..loopir.buffer_view import BufferView
from ..loopir.ir import Buffer, Role, affine
from ..loopir.program import Program, Region, Span
from . import opaque, scan
from .builder import KernelBuilder
from .fusion import Plan, inlines, is_view, pieces, streams
from .reader import move, store

NOTHING: Final[Mapping[Node, Buffer]] = {}


def lower(
    graph: Graph, plan: Plan, buffers: Mapping[Node, Buffer] = NOTHING, prefix: str = "", faults: int = 0
) -> Program:
    """The program of a graph. `buffers` are there already, and so many `faults`, of another program."""
    b = KernelBuilder(graph, plan, prefix, faults, dict(buffers))
    lower_nodes(b)
    state = {b.buffers[old] for old, new in graph.updates if old is not new}
    outputs = tuple(_kept(b, node, _buffer_of(b, node), state) for node in graph.outputs)
    updates = tuple(
        (b.buffers[old], new if new.base is None else _kept(b, node, new, state))
        for old, node, new in ((old, node, _buffer_of(b, node)) for old, node in graph.updates)
    )
    inputs = tuple(b.buffers[node] for node in graph.inputs)
    regions: tuple[Region, ...] = (*b.regions, Span(b.mark, len(b.kernels), updates))
    return Program(tuple(b.kernels), tuple(b.made), inputs, outputs, updates, tuple(b.faults.values()), regions)


def lower_nodes(b: KernelBuilder) -> None:
    """Kernels for every node with a buffer, in order."""
    inputs = frozenset(b.graph.inputs)
    names = {node: f"{b.prefix}b{position}" for position, node in enumerate(b.graph.nodes)}
    wholes: dict[Node, Buffer] = {}  # concatenations that have a buffer before they are lowered
    for piece, (cat, start) in pieces(b.graph, b.plan).items():
        if piece not in b.targets and piece not in b.views and cat not in b.targets:
            wholes[cat] = wholes[cat] if cat in wholes else b.buffer(names[cat], cat)
            b.targets[piece] = BufferView(wholes[cat], (affine(start),))
    for node in b.plan.stored:
        if node in b.buffers or node in b.views:
            continue
        b.node = node
        if node.op is SCAN:
            _scan(b, node, names[node])
        elif node in b.targets:
            _kernels(b, node, b.targets[node])
            b.views[node] = b.targets[node]
        elif node.op is RESHAPE and node not in inputs and not is_view(node):
            b.buffers[node] = b.alias(node)
        else:
            role: Role = "input" if node in inputs else "constant" if node.op.kind == "source" else "temporary"
            buffer = wholes[node] if node in wholes else b.buffer(names[node], node, role)
            if role == "temporary":
                _kernels(b, node, BufferView(buffer))
            b.buffers[node] = buffer


def _scan(b: KernelBuilder, node: Node, name: str) -> None:
    """The kernels of a scan: those of its body, repeated."""
    body = scan.begin(b, node, name)
    if body is not None:
        inner = scan.inside(b, body)
        lower_nodes(inner)
        scan.end(b, body, inner)


def _buffer_of(b: KernelBuilder, node: Node) -> Buffer:
    """The buffer of an output; a 0-d constant gets one here."""
    if node not in b.buffers:
        b.buffers[node] = b.buffer(f"{b.prefix}c{len(b.made)}", node, "constant")
    return b.buffers[node]


def _kept(b: KernelBuilder, node: Node, buffer: Buffer, state: set[Buffer]) -> Buffer:
    """A result that lies in memory where the state changes is copied before it does."""
    if (buffer.base or buffer) not in state:
        return buffer
    own = b.add(Buffer(f"{buffer.name}k{len(b.made)}", buffer.shape, buffer.dtype))
    b.node = node
    move(b, "copy", own, BufferView(buffer))
    return own


# ---- what computes a node into a buffer, or into a part of one ----------------------------------------------------

Kernels = Callable[[KernelBuilder, Node, BufferView], None]


def _kernels(b: KernelBuilder, node: Node, target: BufferView) -> None:
    """By the first rule that holds, else element by element."""
    for holds, kernels in _RULES:
        if holds(node, b.plan, target):
            kernels(b, node, target)
            return
    store(b, node.op.name, target, node)


_RULES: Final[tuple[tuple[Callable[[Node, Plan, BufferView], bool], Kernels], ...]] = (
    (lambda node, plan, target: isinstance(node.op.emit, CountingSort), opaque.sort),
    (lambda node, plan, target: isinstance(node.op.emit, Scatter) and not inlines(node), opaque.scatter),
    (lambda node, plan, target: node.op.kind == "control", opaque.carried),
    (lambda node, plan, target: isinstance(node.op.emit, Concatenation), opaque.concatenation),
    (lambda node, plan, target: plan.multiplies(node), opaque.gemm),
    (lambda node, plan, target: node.op.kind == "contract" and len(parts(node)) > 1, opaque.in_parts),
    (lambda node, plan, target: streams(node, plan) and not target.place, opaque.sum_over_steps),
)
