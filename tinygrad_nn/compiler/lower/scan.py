"""The lowering of a scan: the kernels of its body, repeated.

    carry = init
    repeat t:  the body, on the carry and entry t of each of the xs; what it leaves goes to row t of a stacked output

A carry that is wanted step by step has a buffer of T + 1 states: a step reads one and makes the next, and nothing is
copied. One that is not has a buffer of one state. What nobody reads is not computed. Compile time and code do not grow
with the number of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...graph.graph import Graph, Node
from ...ops.movement import SLICE
from ...ops.scan import STACKED
from ..loopir.buffer_view import BufferView
from ..loopir.ir import Affine, Buffer, Var, affine
from ..loopir.program import Repeat, Span, shifted
from .builder import KernelBuilder
from .fusion import Plan, is_placeable
from .reader import move, store


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """The body of a scan on its way to kernels.

    step, at  the number of the step, and of the entry of the xs that it reads
    outputs   of the body, by their number in the scan, as far as they are read
    stacked   the nodes that are results of the scan, by the same number
    buffers, views  where the inputs of the body are
    targets   where outputs go
    moving    the carries of one state, and what they become
    copied    the entries that are copied at each step, and of which of the xs
    """

    name: str
    length: int
    reverse: bool
    step: Var
    at: Affine
    graph: Graph
    plan: Plan
    outputs: Mapping[int, Node]
    stacked: Mapping[int, Node]
    buffers: dict[Node, Buffer] = field(default_factory=dict)
    views: dict[Node, BufferView] = field(default_factory=dict)
    targets: list[tuple[int, BufferView]] = field(default_factory=list)
    moving: list[tuple[Buffer, Node]] = field(default_factory=list)
    copied: list[tuple[Buffer, Node]] = field(default_factory=list)


def begin(b: KernelBuilder, node: Node, name: str) -> Body | None:
    """Give a place to what goes into the body of a scan and to what it leaves; None where there is no step."""
    attrs = node.attrs
    carries, xs = attrs["carries"], attrs["xs"]
    stacked = {user.attrs["k"]: user for user in b.graph.nodes if user.op is STACKED and user.inputs[0] is node}
    if not attrs["length"]:
        b.buffers |= {result: b.buffer(f"{name}y{k}", result, shape=result.shape) for k, result in stacked.items()}
        return None
    body = _body(b, node, name, stacked)
    for k, (symbol, operand) in enumerate(zip(body.graph.inputs, node.inputs, strict=True)):
        if k < carries:
            _carry(b, body, k, symbol, operand)
        elif k < carries + xs:
            _entry(b, body, k, symbol, operand)
        else:
            _const(b, body, k, symbol, operand)
    for k, result in stacked.items():
        if result not in b.views:
            b.buffers[result] = b.buffer(f"{name}y{k}", result)
            body.targets.append((k, BufferView(b.buffers[result], (body.at,))))
    b.close()
    return body


def inside(b: KernelBuilder, body: Body) -> KernelBuilder:
    """The lowering of a body, which has its entries; its nodes are then to be lowered."""
    names = f"{b.prefix}s{len(b.made)}_"
    known = b.known + len(b.faults)
    inner = KernelBuilder(body.graph, body.plan, names, known, body.buffers, body.views, count=b.count, node=b.node)
    for buffer, operand in body.copied:
        move(inner, "entry", buffer, _where(b, operand).entry(body.at))
    kept = {new for _, new in body.moving}
    inner.targets = {
        body.outputs[k]: target
        for k, target in reversed(body.targets)
        if body.outputs[k] not in kept and is_placeable(body.outputs[k], body.graph, body.plan)
    }
    return inner


def end(b: KernelBuilder, body: Body, inner: KernelBuilder) -> None:
    """Take over the kernels of a body, repeated; carries of one state move on at the end of a step."""
    for k, target in body.targets:
        if inner.targets.get(body.outputs[k]) != target:
            store(inner, "carry", target, body.outputs[k])
    updates = []
    for state, output in body.moving:
        new = inner.buffers.get(output)
        if new is None:
            new = inner.buffer(f"{state.name}n", output, shape=output.shape)
            store(inner, "carry", BufferView(new), output)
        updates.append((state, new))
    inner.regions.append(Span(inner.mark, len(inner.kernels), tuple(updates)))
    repeated = Repeat(body.step, shifted(inner.regions, len(b.kernels)))
    b.kernels += inner.kernels
    b.made += inner.made
    b.faults |= inner.faults
    b.count = inner.count
    b.repeat([repeated])


def _body(b: KernelBuilder, node: Node, name: str, stacked: Mapping[int, Node]) -> Body:
    """The body as it was planned, with the outputs that are read."""
    length, reverse = node.attrs["length"], node.attrs["reverse"]
    left, graph, planned = b.plan.bodies[node]
    step = Var(f"t_{name}", length)
    at = affine(step) * -1 + (length - 1) if reverse else affine(step)
    outputs = dict(zip(left, graph.outputs, strict=True))
    return Body(name, length, reverse, step, at, graph, planned, outputs, stacked)


def _carry(b: KernelBuilder, body: Body, k: int, symbol: Node, operand: Node) -> None:
    """States in one buffer, of T + 1 where they are wanted step by step, else of one."""
    after = body.stacked.get(k)
    befores = [j for j, output in body.outputs.items() if output is symbol and j in body.stacked and j != k]
    before = body.stacked[befores[0]] if befores else None
    apart = {*b.plan.row_major, *b.graph.outputs, *(new for _, new in b.graph.updates)}
    reverse, at = body.reverse, body.at
    is_final = after is None or _is_final(b.graph, after, 0 if reverse else body.length - 1)
    if symbol not in body.plan.row_major and (before is not None or not is_final):
        states = b.buffer(f"{body.name}h{k}", operand, shape=(body.length + 1, *operand.shape))
        store(b, "carry", BufferView(states, (Affine(body.length if reverse else 0),)), operand)
        body.views[symbol] = BufferView(states, (at + 1 if reverse else at,))
        body.targets.append((k, BufferView(states, (at if reverse else at + 1,))))
        for result, shift in ((after, not reverse), (before, reverse)):
            if result is not None and result not in apart:
                b.views[result] = BufferView(states, shift=int(shift))
        return
    state = body.buffers[symbol] = _own(b, f"{body.name}h{k}", symbol, symbol in body.plan.row_major)
    store(b, "carry", BufferView(state), operand)
    body.moving.append((state, body.outputs[k]))
    if after is not None and is_final and after not in apart:
        b.views[after] = BufferView(state, final=True)


def _entry(b: KernelBuilder, body: Body, k: int, symbol: Node, operand: Node) -> None:
    """An entry is read where it lies in its xs, or as a row-major matrix copied at each step."""
    if symbol in body.plan.row_major:
        body.buffers[symbol] = _own(b, f"{body.name}x{k}", symbol, True)
        body.copied.append((body.buffers[symbol], operand))
    else:
        body.views[symbol] = _where(b, operand).entry(body.at)


def _const(b: KernelBuilder, body: Body, k: int, symbol: Node, operand: Node) -> None:
    """What every step reads is where it was."""
    if symbol in body.plan.row_major and (operand in b.views or not b.buffers[operand].row_major):
        body.buffers[symbol] = _own(b, f"{body.name}p{k}", symbol, True)
        store(b, "carry", BufferView(body.buffers[symbol]), operand)
    elif operand in b.views:
        body.views[symbol] = b.views[operand]
    else:
        body.buffers[symbol] = b.buffers[operand]


def _is_final(graph: Graph, result: Node, end: int) -> bool:
    """Whether of a carry only the last state is read."""
    users = [user for user in graph.nodes if result in user.inputs]
    cut = all(user.op is SLICE and user.attrs["bounds"][0][::2] == (end, 1) for user in users)
    return cut and result not in (*graph.outputs, *(new for _, new in graph.updates))


def _where(b: KernelBuilder, node: Node) -> BufferView:
    """Where an operand of a scan is, all of which are in memory."""
    return b.views[node] if node in b.views else BufferView(b.buffers[node])


def _own(b: KernelBuilder, name: str, symbol: Node, row_major: bool) -> Buffer:
    """A buffer of the body, outside of it."""
    return b.add(Buffer(name, symbol.shape, symbol.dtype, row_major=row_major))
