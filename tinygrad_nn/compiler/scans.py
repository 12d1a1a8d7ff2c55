"""The lowering of a scan: the kernels of its body, repeated, with the carry in buffers of its own.

    carry = init
    repeat t:  the body, on carry and entry t of each series
               row t = its outputs, flat and side by side
               carry = the first of them

Compile time and code do not grow with the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from ..graph import Node
from ..ops.scan import start_of
from ..scalar import param
from .fusion import Plan, plan
from .loopir import Access, Affine, Buffer, Statement, Store, Var, affine
from .own_loops import OwnLoops
from .program import Region, Repeat, Span, shifted
from .rewrite import rewrite

Windows = dict[Node, tuple[Buffer, tuple[Affine, ...]]]


class Scans(OwnLoops):
    """What lowers a node whose attributes hold the graph of a step."""

    regions: list[Region]
    mark: int
    plan: Plan

    def inner(self, node: Node, known: Mapping[Node, Buffer], windows: Windows) -> Scans:
        """A lowering of the graph of a step, on buffers that are there and on windows of others."""
        raise NotImplementedError

    def _scan_body(self, node: Node, rows: Buffer) -> None:
        attrs = node.attrs
        carries, series, length = attrs["carries"], attrs["series"], attrs["length"]
        if 0 in node.shape:
            return
        body = rewrite(attrs["body"])
        planned = plan(body)
        turn = Var(f"t_{rows.name}", attrs["length"])
        at = affine(turn) * -1 + (turn.extent - 1) if attrs["reverse"] else affine(turn)
        known: dict[Node, Buffer] = {}
        windows: Windows = {}
        carried: list[Buffer] = []
        for k, (symbol, operand) in enumerate(zip(body.inputs, node.inputs, strict=True)):
            plain = symbol in planned.plain
            if k < carries:
                carried.append(self._own(known, symbol, f"{rows.name}h{k}", plain))
                self._copy_in(carried[-1], operand)
            elif k < carries + series and plain:  # copied at each step
                self._own(known, symbol, f"{rows.name}x{k}", True)
            elif k < carries + series:
                source, place = self._place(operand)
                windows[symbol] = (source, (*place, at))
            elif operand in self.windows and not plain:
                windows[symbol] = self.windows[operand]
            elif plain and (operand in self.windows or not self.buffers[operand].plain):
                self._copy_in(self._own(known, symbol, f"{rows.name}p{k}", True), operand)
            else:
                known[symbol] = self.buffers[operand]
        self._close()
        step = self.inner(node, known, windows)
        step.graph, step.plan = body, planned
        for k in range(carries, carries + series):
            symbol = body.inputs[k]
            if symbol in known:  # read as a plain matrix: copied at each step
                step.move(known[symbol], self._entry(node.inputs[k], at))
        step.lower_nodes()
        for k, output in enumerate(body.outputs):
            step.leave(rows, at * prod(output.shape) + start_of(body, length, k), output)
        for k, buffer in enumerate(carried):
            step.move(buffer, self._row(rows, at * prod(buffer.shape) + start_of(body, length, k), buffer))
        step._close()
        base = len(self.kernels)
        self.kernels += step.kernels
        self.order += step.order
        self.faults |= step.faults
        self.count = step.count
        self.regions.append(Repeat(turn, shifted(step.regions, base)))
        self.mark = len(self.kernels)

    def _row(self, rows: Buffer, start: Affine, buffer: Buffer) -> Callable[[tuple[Affine, ...]], Access]:
        return lambda index: Access(rows, (flat(index, buffer.shape) + start,))

    def _place(self, node: Node) -> tuple[Buffer, tuple[Affine, ...]]:
        """The buffer of an operand, and where in it the operand begins: inside of a scan it may be an entry."""
        return self.windows[node] if node in self.windows else (self.buffers[node], ())

    def _entry(self, node: Node, at: Affine) -> Callable[[tuple[Affine, ...]], Access]:
        source, place = self._place(node)
        return lambda index: Access(source, (*place, at, *index))

    def _own(self, known: dict[Node, Buffer], symbol: Node, name: str, plain: bool) -> Buffer:
        """A buffer that keeps its place between the steps."""
        buffer = known[symbol] = Buffer(name, symbol.shape, symbol.dtype, "input", plain)
        self.order.append(buffer)
        return buffer

    def _copy_in(self, target: Buffer, operand: Node) -> None:
        loops, index = self._loops(target.shape)
        self.nothing = 0 in target.shape
        self._kernel("carry", loops, lambda: [Store(Access(target, index), self.pull(operand, index, ()))])

    def move(self, target: Buffer, source: Callable[[tuple[Affine, ...]], Access]) -> None:
        """A kernel that fills a buffer from somewhere."""
        loops, index = self._loops(target.shape)
        self.nothing = 0 in target.shape
        self._kernel("carry", loops, lambda: [Store(Access(target, index), param(source(index), target.dtype))])

    def leave(self, rows: Buffer, start: Affine, output: Node) -> None:
        """A kernel that stores an output of the body in its row."""
        loops, index = self._loops(output.shape)
        place = (flat(index, output.shape) + start,)
        self.nothing = 0 in output.shape

        def last() -> list[Statement]:
            return [Store(Access(rows, place), self.pull(output, index, ()))]

        self._kernel("row", loops, last)

    def lower_nodes(self) -> None:
        """Kernels for every node that has a buffer."""
        raise NotImplementedError

    def _close(self) -> None:
        """End the span of kernels that run once here."""
        if len(self.kernels) > self.mark:
            self.regions.append(Span(self.mark, len(self.kernels)))
        self.mark = len(self.kernels)


def flat(index: tuple[Affine, ...], shape: tuple[int, ...]) -> Affine:
    """The place of an element in row-major order."""
    total, step = Affine(), 1
    for part, n in zip(reversed(index), reversed(shape), strict=True):
        total += part * step
        step *= n
    return total
