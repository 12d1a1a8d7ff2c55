"""The lowering of a scan: the kernels of its body, repeated.

    carry = init
    repeat t:  the body, on the carry and entry t of each series; what it leaves goes to row t of a buffer of its own

A carry that is wanted step by step has a buffer of T + 1 states: a step reads one and makes the next, and nothing is
copied. One that is not has a buffer of one state. What nobody reads is not computed. Compile time and code do not grow
with the number of steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..graph import Graph, Node
from ..ops.movement import SLICE
from ..ops.scan import COLUMN
from ..scalar import const, param
from .fusion import Plan, is_placeable, plan
from .loopir import Access, Affine, Buffer, Store, Var, affine
from .own_loops import OwnLoops
from .program import Region, Repeat, Span, shifted
from .rewrite import rewrite
from .windows import Window


class Scans(OwnLoops):
    """What lowers a node whose attributes hold the graph of a step."""

    regions: list[Region]
    mark: int
    plan: Plan
    places: dict[Node, Window]

    def inner(self, node: Node, known: Mapping[Node, Buffer], windows: dict[Node, Window]) -> Scans:
        """A lowering of the graph of a step, on buffers that are there and on windows of others."""
        raise NotImplementedError

    def _scan_body(self, node: Node, name: str) -> None:
        attrs = node.attrs
        carries, series, length, reverse = attrs["carries"], attrs["series"], attrs["length"], attrs["reverse"]
        columns = {user.attrs["k"]: user for user in self.graph.nodes if user.op is COLUMN and user.inputs[0] is node}
        if not length:
            self.buffers |= {column: self._own(f"{name}y{k}", column) for k, column in columns.items()}
            return
        apart = {*self.plan.plain, *self.graph.outputs, *(new for _, new in self.graph.updates)}
        whole = {k for k, column in columns.items() if not self._is_final(column, 0 if reverse else length - 1)}
        left = [k for k in range(len(attrs["body"].outputs)) if k < carries or k in columns]
        body = rewrite(Graph.of([attrs["body"].outputs[k] for k in left], attrs["body"].inputs))
        planned = plan(body)
        turn = Var(f"t_{name}", length)
        at = affine(turn) * -1 + (length - 1) if reverse else affine(turn)
        known: dict[Node, Buffer] = {}
        windows: dict[Node, Window] = {}
        targets: list[tuple[int, Window]] = []  # where the outputs go
        moving: list[tuple[Buffer, Node]] = []  # the carries of one state, and what they become
        copied: list[tuple[Buffer, Node]] = []  # entries that are read as plain matrices
        for k, (symbol, operand) in enumerate(zip(body.inputs, node.inputs, strict=True)):
            plain = symbol in planned.plain
            if k < carries:
                before = next((j for j in left if j >= carries and body.outputs[left.index(j)] is symbol), None)
                if (k in whole or before is not None) and not plain:
                    states = self._states(f"{name}h{k}", operand, length)
                    first = length if reverse else 0
                    self._fill(Window(states, (Affine(first),)), operand)
                    windows[symbol] = Window(states, (at + 1 if reverse else at,))
                    targets.append((k, Window(states, (at if reverse else at + 1,))))
                    for column, shift in ((columns.get(k), not reverse), (columns.get(before or -1), reverse)):
                        if column is not None and column not in apart:
                            self.windows[column] = Window(states, shift=int(shift))
                    continue
                state = known[symbol] = self._own(f"{name}h{k}", symbol, plain)
                self._fill(Window(state), operand)
                moving.append((state, body.outputs[k]))
                if k in columns and k not in whole and columns[k] not in apart:
                    self.windows[columns[k]] = Window(state, final=True)
            elif k < carries + series and plain:
                known[symbol] = self._own(f"{name}x{k}", symbol, True)
                copied.append((known[symbol], operand))
            elif k < carries + series:
                windows[symbol] = self._window(operand).entry(at)
            elif plain and (operand in self.windows or not self.buffers[operand].plain):
                known[symbol] = self._own(f"{name}p{k}", symbol, True)
                self._fill(Window(known[symbol]), operand)
            elif operand in self.windows:
                windows[symbol] = self.windows[operand]
            else:
                known[symbol] = self.buffers[operand]
        for k, column in columns.items():
            if column not in self.windows:
                self.buffers[column] = self._own(f"{name}y{k}", column, column in self.plan.plain)
                targets.append((k, Window(self.buffers[column], (at,))))
        self._close()
        step = self.inner(node, known, windows)
        step.graph, step.plan = body, planned
        for buffer, operand in copied:
            step.move(buffer, self._window(operand).entry(at))
        outputs = {k: body.outputs[position] for position, k in enumerate(left)}
        step.places = {
            outputs[k]: target
            for k, target in reversed(targets)
            if is_placeable(outputs[k], body, planned) and not any(outputs[k] is new for _, new in moving)
        }
        step.lower_nodes()
        for k, target in targets:
            if step.places.get(outputs[k]) != target:
                step._fill(target, outputs[k])
        self._take(step, turn, moving)

    def _take(self, step: Scans, turn: Var, moving: Sequence[tuple[Buffer, Node]]) -> None:
        """Take over the kernels of a step, to be repeated; carries of one state move on at its end."""
        updates = []
        for state, output in moving:
            if output in step.buffers:
                updates.append((state, step.buffers[output]))
            else:
                new = step._own(f"{state.name}n", output)
                step._fill(Window(new), output)
                updates.append((state, new))
        step.regions.append(Span(step.mark, len(step.kernels), tuple(updates)))
        base = len(self.kernels)
        self.kernels += step.kernels
        self.order += step.order
        self.faults |= step.faults
        self.count = step.count
        self.regions.append(Repeat(turn, shifted(step.regions, base)))
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

    def _window(self, node: Node) -> Window:
        return self.windows[node] if node in self.windows else Window(self.buffers[node])

    def _own(self, name: str, like: Node, plain: bool = False) -> Buffer:
        """A new buffer."""
        buffer = Buffer(name, like.shape, like.dtype, "temporary", plain)
        self.order.append(buffer)
        return buffer

    def _states(self, name: str, like: Node, length: int) -> Buffer:
        buffer = Buffer(name, (length + 1, *like.shape), like.dtype)
        self.order.append(buffer)
        return buffer

    def _fill(self, target: Window, node: Node) -> None:
        """A kernel that stores a node somewhere."""
        loops, index = self._loops(node.shape)
        self.nothing = 0 in node.shape
        self._kernel("carry", loops, lambda: [Store(target.access(index), self.pull(node, index, ()))])

    def move(self, target: Buffer, source: Window) -> None:
        """A kernel that fills a buffer from somewhere."""
        loops, index = self._loops(target.shape)
        self.nothing = 0 in target.shape
        value = param(source.access(index), target.dtype)
        self._kernel("entry", loops, lambda: [Store(Window(target).access(index), value)])

    def lower_nodes(self) -> None:
        """Kernels for every node that has a buffer."""
        raise NotImplementedError

    def _close(self) -> None:
        """End the span of kernels that run once here."""
        if len(self.kernels) > self.mark:
            self.regions.append(Span(self.mark, len(self.kernels)))
        self.mark = len(self.kernels)
