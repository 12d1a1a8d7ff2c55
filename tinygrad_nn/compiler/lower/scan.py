"""The lowering of a scan: the kernels of its body, repeated.

    carry = init
    repeat t:  the body, on the carry and entry t of each series; what it leaves goes to row t of a buffer of its own

A carry that is wanted step by step has a buffer of T + 1 states: a step reads one and makes the next, and nothing is
copied. One that is not has a buffer of one state. What nobody reads is not computed. Compile time and code do not grow
with the number of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...graph import Graph, Node, Shape
from ...ops.movement import SLICE
from ...ops.scan import COLUMN
from ...scalar import const, param
from ..loopir.buffer_view import BufferView
from ..loopir.ir import Access, Affine, Buffer, Store, Var, affine
from ..loopir.program import Region, Repeat, Span, shifted
from ..passes.algebra import rewrite
from .fusion import Plan, is_placeable, plan
from .opaque import OwnLoops


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """The body of a scan on its way to kernels.

    outputs  of the body, by their number in the scan, as far as they are read
    columns  the nodes that are results of the scan, by the same number
    known, windows   where the inputs of the body are
    targets  where outputs go
    moving   the carries of one state, and what they become
    copied   the entries that are copied at each step, and of which series
    """

    name: str
    length: int
    reverse: bool
    body: Graph
    plan: Plan
    outputs: Mapping[int, Node]
    columns: Mapping[int, Node]
    turn: Var = field(init=False)
    at: Affine = field(init=False)
    known: dict[Node, Buffer] = field(default_factory=dict)
    windows: dict[Node, BufferView] = field(default_factory=dict)
    targets: list[tuple[int, BufferView]] = field(default_factory=list)
    moving: list[tuple[Buffer, Node]] = field(default_factory=list)
    copied: list[tuple[Buffer, Node]] = field(default_factory=list)

    def __post_init__(self) -> None:
        turn = Var(f"t_{self.name}", self.length)
        object.__setattr__(self, "turn", turn)
        object.__setattr__(self, "at", affine(turn) * -1 + (self.length - 1) if self.reverse else affine(turn))


class Scans(OwnLoops):
    """What lowers a node whose attributes hold the graph of a step."""

    regions: list[Region]
    mark: int
    plan: Plan
    places: dict[Node, BufferView]

    def inner(self, node: Node, known: Mapping[Node, Buffer], windows: dict[Node, BufferView]) -> Scans:
        """A lowering of the graph of a step, on buffers that are there and on windows of others."""
        raise NotImplementedError

    def _scan_body(self, node: Node, name: str) -> None:
        """The kernels of a scan. Its columns get buffers or windows here."""
        attrs = node.attrs
        carries, series, length, reverse = attrs["carries"], attrs["series"], attrs["length"], attrs["reverse"]
        columns = {user.attrs["k"]: user for user in self.graph.nodes if user.op is COLUMN and user.inputs[0] is node}
        if not length:
            self.buffers |= {column: self._own(f"{name}y{k}", column.shape, column) for k, column in columns.items()}
            return
        left = [k for k in range(len(attrs["body"].outputs)) if k < carries or k in columns]
        body = rewrite(Graph.of([attrs["body"].outputs[k] for k in left], attrs["body"].inputs))
        outputs = dict(zip(left, body.outputs, strict=True))
        step = _Step(name, length, reverse, body, plan(body, self.plan.blas), outputs, columns)
        for k, (symbol, operand) in enumerate(zip(body.inputs, node.inputs, strict=True)):
            if k < carries:
                self._carry(step, k, symbol, operand)
            elif k < carries + series:
                self._entry(step, k, symbol, operand)
            else:
                self._the_same(step, k, symbol, operand)
        for k, column in columns.items():
            if column not in self.windows:
                self.buffers[column] = self._own(f"{name}y{k}", column.shape, column, column in self.plan.plain)
                step.targets.append((k, BufferView(self.buffers[column], (step.at,))))
        self._close()
        self._repeat(step, node)

    def _carry(self, step: _Step, k: int, symbol: Node, operand: Node) -> None:
        """States in one buffer, of T + 1 where they are wanted step by step, else of one."""
        after = step.columns.get(k)
        befores = [j for j, output in step.outputs.items() if output is symbol and j in step.columns and j != k]
        before = step.columns[befores[0]] if befores else None
        apart = {*self.plan.plain, *self.graph.outputs, *(new for _, new in self.graph.updates)}
        reverse, at = step.reverse, step.at
        is_final = after is None or self._is_final(after, 0 if reverse else step.length - 1)
        if symbol not in step.plan.plain and (before is not None or not is_final):
            states = self._own(f"{step.name}h{k}", (step.length + 1, *operand.shape), operand)
            self._fill(BufferView(states, (Affine(step.length if reverse else 0),)), operand)
            step.windows[symbol] = BufferView(states, (at + 1 if reverse else at,))
            step.targets.append((k, BufferView(states, (at if reverse else at + 1,))))
            for column, shift in ((after, not reverse), (before, reverse)):
                if column is not None and column not in apart:
                    self.windows[column] = BufferView(states, shift=int(shift))
            return
        state = step.known[symbol] = self._own(f"{step.name}h{k}", symbol.shape, symbol, symbol in step.plan.plain)
        self._fill(BufferView(state), operand)
        step.moving.append((state, step.outputs[k]))
        if after is not None and is_final and after not in apart:
            self.windows[after] = BufferView(state, final=True)

    def _entry(self, step: _Step, k: int, symbol: Node, operand: Node) -> None:
        """An entry is read where it lies in its series, or as a plain matrix copied at each step."""
        if symbol in step.plan.plain:
            step.known[symbol] = self._own(f"{step.name}x{k}", symbol.shape, symbol, True)
            step.copied.append((step.known[symbol], operand))
        else:
            step.windows[symbol] = self._window(operand).entry(step.at)

    def _the_same(self, step: _Step, k: int, symbol: Node, operand: Node) -> None:
        """What every step reads is where it was."""
        if symbol in step.plan.plain and (operand in self.windows or not self.buffers[operand].plain):
            step.known[symbol] = self._own(f"{step.name}p{k}", symbol.shape, symbol, True)
            self._fill(BufferView(step.known[symbol]), operand)
        elif operand in self.windows:
            step.windows[symbol] = self.windows[operand]
        else:
            step.known[symbol] = self.buffers[operand]

    def _repeat(self, step: _Step, node: Node) -> None:
        """The body lowered, and taken over; carries of one state move on at the end of a step."""
        inner = self.inner(node, step.known, step.windows)
        inner.graph, inner.plan = step.body, step.plan
        for buffer, operand in step.copied:
            inner.move(buffer, self._window(operand).entry(step.at))
        kept = {new for _, new in step.moving}
        inner.places = {
            step.outputs[k]: target
            for k, target in reversed(step.targets)
            if step.outputs[k] not in kept and is_placeable(step.outputs[k], step.body, step.plan)
        }
        inner.lower_nodes()
        for k, target in step.targets:
            if inner.places.get(step.outputs[k]) != target:
                inner._fill(target, step.outputs[k])
        updates = []
        for state, output in step.moving:
            new = inner.buffers.get(output)
            if new is None:
                new = inner._own(f"{state.name}n", output.shape, output)
                inner._fill(BufferView(new), output)
            updates.append((state, new))
        inner.regions.append(Span(inner.mark, len(inner.kernels), tuple(updates)))
        base = len(self.kernels)
        self.kernels += inner.kernels
        self.order += inner.order
        self.faults |= inner.faults
        self.count = inner.count
        self.regions.append(Repeat(step.turn, shifted(inner.regions, base)))
        self.mark = len(self.kernels)

    def _step_by_step(self, node: Node, buffer: Buffer) -> None:
        """A sum of products over steps that together are too large for the caches: a product is added at each."""
        product, zero = node.inputs[0], const(0, node.dtype)
        loops, index = self._loops(node.shape)
        self._kernel("sum_begin", loops, lambda: [Store(Access(buffer, index), zero)])
        self._close()
        turn = Var(f"t_{buffer.name}", product.shape[0])
        loops, at = self._loops(node.shape)
        place = Access(buffer, at)
        self._kernel("sum", loops, lambda: [Store(place, self.pull(product, (affine(turn), *at), ()), add=True)])
        self.regions.append(Repeat(turn, (Span(self.mark, len(self.kernels)),)))
        self.mark = len(self.kernels)

    def _is_final(self, column: Node, end: int) -> bool:
        """Whether of a carry only the last state is read."""
        users = [user for user in self.graph.nodes if column in user.inputs]
        cut = all(user.op is SLICE and user.attrs["bounds"][0][::2] == (end, 1) for user in users)
        return cut and column not in (*self.graph.outputs, *(new for _, new in self.graph.updates))

    def _window(self, node: Node) -> BufferView:
        return self.windows[node] if node in self.windows else BufferView(self.buffers[node])

    def _own(self, name: str, shape: Shape, like: Node, plain: bool = False) -> Buffer:
        """A new buffer."""
        buffer = Buffer(name, shape, like.dtype, "temporary", plain)
        self.order.append(buffer)
        return buffer

    def _fill(self, target: BufferView, node: Node) -> None:
        """A kernel that stores a node somewhere."""
        loops, index = self._loops(node.shape)
        self.nothing = 0 in node.shape
        self._kernel("carry", loops, lambda: [Store(target.access(index), self.pull(node, index, ()))])

    def move(self, target: Buffer, source: BufferView) -> None:
        """A kernel that fills a buffer from somewhere."""
        loops, index = self._loops(target.shape)
        self.nothing = 0 in target.shape
        value = param(source.access(index), target.dtype)
        self._kernel("entry", loops, lambda: [Store(BufferView(target).access(index), value)])

    def lower_nodes(self) -> None:
        """Kernels for every node that has a buffer."""
        raise NotImplementedError

    def _close(self) -> None:
        """End the span of kernels that run once here."""
        if len(self.kernels) > self.mark:
            self.regions.append(Span(self.mark, len(self.kernels)))
        self.mark = len(self.kernels)
