"""From a Graph to loops: one kernel for each node that has a buffer, everything else computed inside of them.

Lowering pulls: a kernel asks for the element of its node at the index of its loops, and each op says, by the rule of
its kind, which elements of its operands that takes. Movement is arithmetic on indices and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ...adjoint import SCAN
from ...graph import Graph, Node
from ...ops.contract import MATMUL, inner_length
from ...ops.elementwise import ADD
from ...ops.movement import RESHAPE, is_squeeze
from ...ops.reduce import SUM
from ...ops.rules import INT64, Fold, Pieces, Rank, Spread
from ...scalar import Expr, const, param
from ..blas import is_large
from ..loopir.buffer_view import Window
from ..loopir.ir import (
    TAIL,
    Access,
    Affine,
    Assign,
    Buffer,
    Index,
    Kernel,
    Let,
    Register,
    Statement,
    Store,
    Var,
    affine,
    nest,
)
from ..loopir.program import Fault, Program, Region, Span
from ..passes.algebra import filled
from .fusion import Plan, inlines, is_split, is_view, pieces, streams
from .reader import Guards, Reader
from .scan import Scans

NOTHING: Final[Mapping[Node, Buffer]] = {}


def lower(
    graph: Graph, plan: Plan, buffers: Mapping[Node, Buffer] = NOTHING, prefix: str = "", faults: int = 0
) -> Program:
    """The program of a graph. `buffers` are there already, and so many `faults`, of another program."""
    return Lowering(graph, plan, buffers, prefix, faults).run()


class Lowering(Scans):
    """The state of one lowering: buffers by node, kernels so far, and the block that statements go to."""

    def __init__(
        self, graph: Graph, plan: Plan, buffers: Mapping[Node, Buffer] = NOTHING, prefix: str = "", faults: int = 0
    ) -> None:
        self.graph, self.plan, self.prefix, self.known = graph, plan, prefix, faults
        self.buffers: dict[Node, Buffer] = dict(buffers)
        self.order: list[Buffer] = []
        self.kernels: list[Kernel] = []
        self.checks: list[Kernel] = []
        self.faults: dict[tuple[Any, int | None], Fault] = {}
        self.inputs = frozenset(graph.inputs)
        self.blocks: list[list[Statement]] = []
        self.memo: list[dict[Any, Expr]] = []
        self.sources: list[str] = []
        self.count = 0
        self.nothing = False
        self.windows: dict[Node, Window] = {}  # nodes that are a part of a buffer
        self.places: dict[Node, Window] = {}  # those that will be, once their kernels are there
        self.regions: list[Region] = []
        self.mark = 0

    def inner(self, node: Node, known: Mapping[Node, Buffer], windows: dict[Node, Window]) -> Scans:
        """A lowering of the graph of a step."""
        names = f"{self.prefix}s{len(self.order)}_"
        made = Lowering(node.attrs["body"], self.plan, known, names, self.known + len(self.faults))
        made.windows, made.count = windows, self.count
        return made

    def lower_nodes(self) -> None:
        """Every node with a buffer, in order."""
        self.inputs = frozenset(self.graph.inputs)
        names = {node: f"{self.prefix}b{position}" for position, node in enumerate(self.graph.nodes)}
        wholes: dict[Node, Buffer] = {}
        for piece, (cat, start) in pieces(self.graph, self.plan).items():
            if piece not in self.places and piece not in self.windows and cat not in self.places:
                wholes[cat] = wholes[cat] if cat in wholes else self._buffer(names[cat], cat, "temporary")
                self.places[piece] = Window(wholes[cat], (affine(start),))
        for node in self.plan.stored:
            if node in self.buffers or node in self.windows:
                continue
            if node.op is SCAN:
                self._scan_body(node, names[node])
            elif node in self.places:
                self._kernels(node, self.places[node])
                self.windows[node] = self.places[node]
            elif node.op is RESHAPE and node not in self.inputs and not is_view(node):
                self.buffers[node] = self._alias(node)
            else:
                role = "input" if node in self.inputs else "constant" if node.op.kind == "source" else "temporary"
                buffer = wholes[node] if node in wholes else self._buffer(names[node], node, role)
                if role == "temporary":
                    self._kernels(node, Window(buffer))
                self.buffers[node] = buffer

    def run(self) -> Program:
        """The program."""
        self.lower_nodes()
        state = {self.buffers[old] for old, new in self.graph.updates if old is not new}
        outputs = tuple(self._kept(self._buffer_of(node), state) for node in self.graph.outputs)
        updates = tuple(
            (self.buffers[old], new if new.base is None else self._kept(new, state))
            for old, new in ((old, self._buffer_of(node)) for old, node in self.graph.updates)
        )
        order: tuple[Region, ...] = ()
        if self.regions:
            order = (*self.regions, Span(self.mark, len(self.kernels), updates))
        return Program(
            tuple(self.kernels),
            tuple(self.order),
            tuple(self.buffers[node] for node in self.graph.inputs),
            outputs,
            updates,
            tuple(self.faults.values()),
            order,
        )

    def _buffer_of(self, node: Node) -> Buffer:
        """The buffer of an output; a 0-d constant gets one here."""
        if node not in self.buffers:
            self.buffers[node] = self._buffer(f"{self.prefix}c{len(self.order)}", node, "constant")
        return self.buffers[node]

    def _kept(self, buffer: Buffer, state: set[Buffer]) -> Buffer:
        """A result that lies in memory where the state changes is copied before it does."""
        if (buffer.base or buffer) not in state:
            return buffer
        own = Buffer(f"{buffer.name}k{len(self.order)}", buffer.shape, buffer.dtype)
        self.order.append(own)
        loops, index = self._loops(buffer.shape)
        load = param(Access(buffer, index), buffer.dtype)
        self.nothing = 0 in buffer.shape
        self._kernel("copy", loops, lambda: [Store(Access(own, index), load)])
        return own

    def _buffer(self, name: str, node: Node, role: Any) -> Buffer:
        value = node.value if role == "constant" else None
        buffer = Buffer(name, node.shape, node.dtype, role, node in self.plan.plain, value)
        self.order.append(buffer)
        return buffer

    def _alias(self, node: Node) -> Buffer:
        """The memory of a reshape's operand under another shape."""
        base = self.buffers[node.inputs[0]]
        buffer = Buffer(
            f"{base.name}r{len(self.order)}", node.shape, node.dtype, base.role, True, None, base.base or base
        )
        self.order.append(buffer)
        return buffer

    # ---- kernels --------------------------------------------------------------------------------------------------

    def _kernels(self, node: Node, target: Window) -> None:
        """What computes a node into a buffer, or where it may be (`is_placeable`) into a part of one."""
        buffer = target.buffer
        self.nothing = 0 in node.shape
        emit = node.op.emit
        if isinstance(emit, Rank):
            self._rank(node, buffer, emit)
        elif isinstance(emit, Spread) and not inlines(node):
            self._spread(node, buffer, emit)
        elif node.op.kind == "control":
            self._scan(node, buffer)
        elif isinstance(emit, Pieces):
            self._pieces(node, target, emit)
        elif is_large(node):
            self._gemm(node, buffer)
        elif streams(node, self.plan) and not target.place:
            self._step_by_step(node, buffer)
        else:
            loops, index = self._loops(node.shape)
            place = target.access(index)
            self._kernel(node.op.name, loops, lambda: [Store(place, self._element(node, index, ()))])

    # ---- elements -------------------------------------------------------------------------------------------------

    def pull(self, node: Node, index: tuple[Index, ...], guards: Guards) -> Expr:
        """The element of a node; where a guard does not hold, anything, but nothing outside of a buffer is read."""
        key = (node, index, guards)
        for memo in reversed(self.memo):
            found: Expr | None = memo.get(key)
            if found is not None:
                return found
        if node in self.buffers:
            result = param(Access(self.buffers[node], index, guards), node.dtype)
        elif node in self.windows:
            result = param(self.windows[node].access(index, guards), node.dtype)
        elif node.op.kind == "source":
            result = self._constant(node)
        else:
            result = self._element(node, index, guards)
        self.memo[-1][key] = result
        return result

    def _there(self, node: Node, index: tuple[Index, ...], guards: Guards) -> bool:
        """Whether an element is in memory, or computed already."""
        known = any((node, index, guards) in memo for memo in self.memo)
        return known or node in self.buffers or node in self.windows

    def _constant(self, node: Node) -> Expr:
        """A constant with one value everywhere, or with another one in the short last batch."""
        value: Expr = const(filled(node), node.dtype)
        if "tail" not in node.attrs:
            return value
        return param(TAIL, TAIL.dtype).where(const(node.attrs["tail"], node.dtype), value)

    def _element(self, node: Node, index: tuple[Index, ...], guards: Guards) -> Expr:
        self.sources.append(node.op.name)
        return _RULES[node.op.kind](self, node, index, guards)

    def _elementwise(self, node: Node, index: tuple[Index, ...], guards: Guards) -> Expr:
        if node.op is ADD and node.dtype.kind == "f":
            for product, other in (node.inputs, node.inputs[::-1]):
                if product.op is MATMUL and not self._there(product, index, guards):
                    return self._products(product, index, guards, [], self.pull(other, index, guards))
        if node.op.divides and node.dtype.kind == "i":
            self.divides(node)
        operands = [self.pull(operand, index, guards) for operand in node.inputs]
        value: Expr = node.op.emit(*operands, **node.attrs)
        return value

    def _indexed(self, node: Node, index: tuple[Index, ...], guards: Guards) -> Expr:
        if node.op is RESHAPE:
            return self._squeezed(node, index, guards)
        emit = node.op.emit
        if isinstance(emit, Pieces):
            emit = emit.element
        elif isinstance(emit, Spread):
            emit = emit.inline
        value: Expr = emit(Reader(self, node, guards), index, *(x.shape for x in node.inputs), **node.attrs)
        return value

    def _squeezed(self, node: Node, index: tuple[Index, ...], guards: Guards) -> Expr:
        """Axes of length 1 come and go; any other reshape reads a plain buffer under its new shape."""
        operand = node.inputs[0]
        squeezes = is_squeeze(operand.shape, node.shape)
        if not squeezes and is_split(operand.shape, node.shape):
            return self.pull(operand, merged(index, node.shape, operand.shape), guards)
        if not squeezes:
            self.buffers[node] = self._alias(node)
            return self.pull(node, index, guards)
        rest = iter([i for i, n in zip(index, node.shape, strict=True) if n != 1])
        return self.pull(operand, tuple(Affine() if n == 1 else next(rest) for n in operand.shape), guards)

    def _reduce(self, node: Node, index: tuple[Index, ...], guards: Guards) -> Expr:
        operand, axis = node.inputs[0], node.attrs["axis"]
        loops, inside = self._loops(tuple(n if a in axis else 1 for a, n in enumerate(operand.shape)), "r")
        outer = iter([i for a, i in enumerate(index) if not node.attrs["keepdims"] or a not in axis])
        place = tuple(i if a in axis else next(outer) for a, i in enumerate(inside))
        emit = node.op.emit
        if not isinstance(emit, Fold):
            return self._extreme(node, loops, place, guards)
        dtype, is_sum = node.dtype, node.op is SUM
        if is_sum and dtype.kind == "f" and operand.op is MATMUL and not self._there(operand, place, guards):
            return self._products(operand, place, guards, loops)  # of integers, each product wraps around for itself
        identity = 0 if is_sum else emit.identity(dtype)  # NumPy adds to 0.0, so never -0.0
        total = Register(f"{node.op.name}{self.count}", dtype, emit.identity(dtype), emit.combine)

        def inner() -> list[Statement]:
            x = emit.element(self.pull(operand, place, guards).to(dtype))
            if is_sum and x.op == "mul" and dtype.kind == "f":
                return [Assign(total, x.args[0].fma(x.args[1], param(total, dtype)))]
            return [Assign(total, emit.combine(param(total, dtype), x))]

        self._fold([total], [const(identity, dtype)], loops, inner)
        return param(total, dtype)

    def _extreme(self, node: Node, loops: list[Var], place: tuple[Index, ...], guards: Guards) -> Expr:
        """The index of an extreme."""
        operand = node.inputs[0]
        best, at = Register(f"best{self.count}", operand.dtype), Register(f"at{self.count}", INT64)
        zero = tuple(Affine() if any(index == affine(var) for var in loops) else index for index in place)
        start = self.pull(operand, zero, guards)

        def inner() -> list[Statement]:
            x, old = self.pull(operand, place, guards), param(best, operand.dtype)
            better = node.op.emit(x, old)
            number = param(affine(loops[0]), INT64)
            return [Assign(at, better.where(number, param(at, INT64))), Assign(best, better.where(x, old))]

        if not loops:
            return const(0, INT64)
        self._fold([best, at], [start, const(0, INT64)], loops, inner)
        return param(at, INT64)

    def _fold(
        self, registers: list[Register], values: list[Expr], loops: list[Var], inner: Callable[[], list[Statement]]
    ) -> None:
        body = nest(loops, self._block(inner))
        self._emit(*(Let(register, value) for register, value in zip(registers, values, strict=True)), *body)

    def _matmul(self, node: Node, index: tuple[Index, ...], guards: Guards) -> Expr:
        return self._products(node, index, guards, [])

    def _products(
        self, node: Node, index: tuple[Index, ...], guards: Guards, outer: list[Var], start: Expr | None = None
    ) -> Expr:
        """An element of a matrix product, or the sum of such over some of its axes: one sum of products, from `start`
        on.
        """
        self.sources.append(node.op.name)
        x, y = node.inputs
        tx, ty = node.attrs["tx"], node.attrs["ty"]
        loops, (k,) = self._loops((inner_length(node),), "r")
        *batch, row, column = index
        left = (*batch, k, row) if tx else (*batch, row, k)
        right = (*batch, column, k) if ty else (*batch, k, column)
        total = Register(f"sum{self.count}", node.dtype, 0, lambda a, x: a + x)

        def inner() -> list[Statement]:
            a, b, sofar = self.pull(x, left, guards), self.pull(y, right, guards), param(total, node.dtype)
            return [Assign(total, a.fma(b, sofar) if node.dtype.kind == "f" else sofar + a * b)]

        self._fold([total], [const(0, node.dtype) if start is None else start], [*outer, *loops], inner)
        return param(total, node.dtype)


def merged(index: tuple[Index, ...], shape: tuple[int, ...], own: tuple[int, ...]) -> tuple[Index, ...]:
    """The index of an operand whose axes a reshape splits."""
    parts = list(zip(index, shape, strict=True))
    result: list[Index] = []
    for n in own:
        place, size = Affine(), 1
        while size < n:
            part, m = parts.pop(0)
            place, size = place * m + part, size * m  # type: ignore[operator]
        result.append(place)
    return tuple(result)


_RULES: Final[dict[str, Callable[[Lowering, Node, tuple[Index, ...], Guards], Expr]]] = {
    "elementwise": Lowering._elementwise,
    "movement": Lowering._indexed,
    "index": Lowering._indexed,
    "random": Lowering._indexed,
    "reduce": Lowering._reduce,
    "contract": Lowering._matmul,
}
