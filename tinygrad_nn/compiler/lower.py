"""From a Graph to loops: one kernel for each node that has a buffer, everything else computed inside of them.

Lowering pulls: a kernel asks for the element of its node at the index of its loops, and each op says, by the rule of
its kind, which elements of its operands that takes. Movement is arithmetic on indices and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..graph import Graph, Node, Shape
from ..ops.movement import RESHAPE
from ..ops.rules import INT64, Fold, Pieces, Rank, Spread
from ..scalar import Expr, const, param
from .fusion import Plan, is_squeeze
from .loopir import (
    TAIL,
    Access,
    Affine,
    Assign,
    Buffer,
    Check,
    Index,
    Kernel,
    Let,
    Loop,
    Register,
    Statement,
    Store,
    Var,
    affine,
)
from .program import Fault, Program
from .ranks import write_ranks
from .reader import Guards, Probe, Reader
from .rewrite import filled

NOTHING: Final[Mapping[Node, Buffer]] = {}


def lower(
    graph: Graph, plan: Plan, buffers: Mapping[Node, Buffer] = NOTHING, prefix: str = "", faults: int = 0
) -> Program:
    """The program of a graph. `buffers` are there already, and so many `faults`, of another program."""
    return Lowering(graph, plan, buffers, prefix, faults).run()


class Lowering:
    """The state of one lowering: buffers by node, kernels so far, and the block that statements go to."""

    def __init__(
        self, graph: Graph, plan: Plan, buffers: Mapping[Node, Buffer] = NOTHING, prefix: str = "", faults: int = 0
    ) -> None:
        self.graph, self.plan, self.prefix, self.known = graph, plan, prefix, faults
        self.buffers: dict[Node, Buffer] = dict(buffers)
        self.order: list[Buffer] = []
        self.kernels: list[Kernel] = []
        self.checks: list[Kernel] = []
        self.faults: dict[tuple[Buffer, int], Fault] = {}
        self.inputs = frozenset(graph.inputs)
        self.blocks: list[list[Statement]] = []
        self.memo: list[dict[Any, Expr]] = []
        self.sources: list[str] = []
        self.count = 0
        self.nothing = False

    def run(self) -> Program:
        """Every node with a buffer, in order."""
        names = {node: f"{self.prefix}b{position}" for position, node in enumerate(self.graph.nodes)}
        for node in self.plan.stored:
            if node in self.buffers:
                continue
            role = "input" if node in self.inputs else "constant" if node.op.kind == "source" else "temporary"
            base = None
            if node.op is RESHAPE and node not in self.inputs and not is_squeeze(node.inputs[0].shape, node.shape):
                base = self._alias(node)
            buffer = base or self._buffer(names[node], node, role)
            if role == "temporary" and base is None:
                self._kernels(node, buffer)
            self.buffers[node] = buffer
        state = {self.buffers[old] for old, new in self.graph.updates if old is not new}
        outputs = tuple(self._kept(self._buffer_of(node), state) for node in self.graph.outputs)
        updates = tuple(
            (self.buffers[old], new if new.base is None else self._kept(new, state))
            for old, new in ((old, self._buffer_of(node)) for old, node in self.graph.updates)
        )
        return Program(
            tuple(self.kernels),
            tuple(self.order),
            tuple(self.buffers[node] for node in self.graph.inputs),
            outputs,
            updates,
            tuple(self.faults.values()),
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
        loops, index = self.loops(buffer.shape)
        load = param(Access(buffer, index), buffer.dtype)
        self.nothing = 0 in buffer.shape
        self.kernel("copy", loops, lambda: [Store(Access(own, index), load)])
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

    def _kernels(self, node: Node, buffer: Buffer) -> None:
        self.nothing = 0 in node.shape
        emit = node.op.emit
        if isinstance(emit, Rank):
            write_ranks(self, node, buffer, emit)
        elif isinstance(emit, Spread) and self._inline(node, None) is None:
            self._spread(node, buffer, emit)
        elif node.op.kind == "control":
            self._scan(node, buffer)
        elif isinstance(emit, Pieces):
            self._pieces(node, buffer, emit)
        else:
            loops, index = self.loops(node.shape)
            self.kernel(node.op.name, loops, lambda: [Store(Access(buffer, index), self._element(node, index, ()))])

    def loops(self, shape: Shape, prefix: str = "i") -> tuple[list[Var], tuple[Affine, ...]]:
        """A variable per axis (none for length 1) and the index they make."""
        loops, index = [], []
        for n in shape:
            if n == 1:
                index.append(Affine())
            else:
                self.count += 1
                loops.append(Var(f"{prefix}{self.count}", int(n), getattr(n, "tail", None)))
                index.append(affine(loops[-1]))
        return loops, tuple(index)

    def kernel(self, name: str, loops: list[Var], last: Callable[[], list[Statement]]) -> None:
        """A kernel whose innermost block is what pulling left, then `last()`."""
        self.sources = []
        body = self.block(last)
        for var in reversed(loops):
            body = (Loop(var, body),)
        self.kernels += self.checks
        self.checks = []
        if self.nothing:  # there is nothing to compute, but indices may be wrong all the same
            return
        self.kernels.append(
            Kernel(f"{self.prefix}k{len(self.kernels)}_{name}", body, tuple(dict.fromkeys(self.sources)) or (name,))
        )

    def block(self, last: Callable[[], list[Statement]]) -> tuple[Statement, ...]:
        """What pulling leaves to be done before, then `last()`."""
        self.blocks.append([])
        self.memo.append({})
        ending = last()
        self.memo.pop()
        return (*self.blocks.pop(), *ending)

    def _emit(self, *statements: Statement) -> None:
        self.blocks[-1].extend(statements)

    def _scan(self, node: Node, buffer: Buffer) -> None:
        """A value carried along an axis."""
        axis, reverse = node.attrs["axis"], node.attrs.get("reverse", False)
        others, place = self.loops(tuple(1 if a == axis else n for a, n in enumerate(node.shape)))
        step = Var(f"t{len(self.order)}", node.shape[axis])
        at = affine(step) * -1 + (step.extent - 1) if reverse else affine(step)
        index = (*place[:axis], at, *place[axis + 1 :])
        carry = Register("carry", node.dtype)

        def inner() -> list[Statement]:
            first, *rest = [self.pull(operand, index, ()).to(node.dtype) for operand in node.inputs]
            following = node.op.emit(param(carry, node.dtype), first, *rest)
            value = param(affine(step), INT64).eq(0).where(first, following)
            return [Assign(carry, value), Store(Access(buffer, index), param(carry, node.dtype))]

        def outer() -> list[Statement]:
            return [Let(carry, const(0, node.dtype)), Loop(step, self.block(inner))]

        self.kernel(node.op.name, others, outer)

    def _pieces(self, node: Node, buffer: Buffer, emit: Pieces) -> None:
        """Operand by operand."""
        axis, start = emit.axis(**node.attrs), 0
        for operand in node.inputs:
            loops, index = self.loops(operand.shape)
            place = (*index[:axis], index[axis] + start, *index[axis + 1 :])
            start += operand.shape[axis]
            if 0 not in operand.shape:
                self.kernel(node.op.name, loops, self._copied(buffer, place, operand, index))

    def _copied(
        self, buffer: Buffer, place: tuple[Affine, ...], operand: Node, index: tuple[Affine, ...]
    ) -> Callable[[], list[Statement]]:
        return lambda: [Store(Access(buffer, place), self.pull(operand, index, ()))]

    def _spread(self, node: Node, buffer: Buffer, emit: Spread) -> None:
        """Begin with zeros or an operand, then write element by element."""
        loops, index = self.loops(node.shape)

        def begin() -> list[Statement]:
            zero = const(0, node.dtype)
            value = zero if emit.start is None else self.pull(node.inputs[emit.start], index, ())
            return [Store(Access(buffer, index), value)]

        self.kernel(f"{node.op.name}_begin", loops, begin)
        values = node.inputs[emit.values]
        if 0 in values.shape:
            return
        loops, at = self.loops(values.shape)

        def write() -> list[Statement]:
            shapes = [x.shape for x in node.inputs]
            target = emit.target(Reader(self, node, ()), at, *shapes, **node.attrs)
            add = emit.add and not emit.alone(*shapes, **node.attrs)
            return [Store(Access(buffer, target), self.pull(values, at, ()), add)]

        self.kernel(node.op.name, loops, write)

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
        elif node.op.kind == "source":
            result = self._constant(node)
        else:
            result = self._element(node, index, guards)
        self.memo[-1][key] = result
        return result

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
        operands = [self.pull(operand, index, guards) for operand in node.inputs]
        value: Expr = node.op.emit(*operands, **node.attrs)
        return value

    def _indexed(self, node: Node, index: tuple[Index, ...], guards: Guards) -> Expr:
        if node.op is RESHAPE:
            return self._squeezed(node, index, guards)
        if isinstance(node.op.emit, Spread):
            inline: Expr = self._inline(node, index, guards)
            return inline
        reader = Reader(self, node, guards)
        emit = node.op.emit.element if isinstance(node.op.emit, Pieces) else node.op.emit
        value: Expr = emit(reader, index, *(x.shape for x in node.inputs), **node.attrs)
        return value

    def _inline(self, node: Node, index: tuple[Index, ...] | None, guards: Guards = ()) -> Any:
        """A Spread as an expression; None where it is none. Without an index, whether it is one."""
        emit = node.op.emit
        shapes = [x.shape for x in node.inputs]
        if index is None:
            return emit.inline(Probe(), tuple(Affine() for _ in node.shape), *shapes, **node.attrs)
        return emit.inline(Reader(self, node, guards), index, *shapes, **node.attrs)

    def _squeezed(self, node: Node, index: tuple[Index, ...], guards: Guards) -> Expr:
        """Axes of length 1 come and go; any other reshape reads a plain buffer under its new shape."""
        operand = node.inputs[0]
        if not is_squeeze(operand.shape, node.shape):
            self.buffers[node] = self._alias(node)
            return self.pull(node, index, guards)
        rest = iter([i for i, n in zip(index, node.shape, strict=True) if n != 1])
        return self.pull(operand, tuple(Affine() if n == 1 else next(rest) for n in operand.shape), guards)

    def _reduce(self, node: Node, index: tuple[Index, ...], guards: Guards) -> Expr:
        operand, axis = node.inputs[0], node.attrs["axis"]
        loops, inside = self.loops(tuple(n if a in axis else 1 for a, n in enumerate(operand.shape)), "r")
        outer = iter([i for a, i in enumerate(index) if not node.attrs["keepdims"] or a not in axis])
        place = tuple(i if a in axis else next(outer) for a, i in enumerate(inside))
        emit = node.op.emit
        if not isinstance(emit, Fold):
            return self._extreme(node, loops, place, guards)
        dtype = node.dtype
        identity = 0 if node.op.name == "sum" else emit.identity(dtype)  # NumPy adds to 0.0, so never -0.0
        total = Register(f"{node.op.name}{self.count}", dtype, emit.identity(dtype), emit.combine)

        def inner() -> list[Statement]:
            x = self.pull(operand, place, guards).to(dtype)
            if node.op.name == "sum" and x.op == "mul" and dtype.kind == "f":
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
        body = self.block(inner)
        for var in reversed(loops):
            body = (Loop(var, body),)
        self._emit(*(Let(register, value) for register, value in zip(registers, values, strict=True)), *body)

    def _matmul(self, node: Node, index: tuple[Index, ...], guards: Guards) -> Expr:
        x, y = node.inputs
        tx, ty = node.attrs["tx"], node.attrs["ty"]
        loops, (k,) = self.loops((x.shape[-2 if tx else -1],), "r")
        *batch, row, column = index
        left = (*batch, k, row) if tx else (*batch, row, k)
        right = (*batch, column, k) if ty else (*batch, k, column)
        total = Register(f"sum{self.count}", node.dtype, 0, lambda a, x: a + x)

        def inner() -> list[Statement]:
            a, b, sofar = self.pull(x, left, guards), self.pull(y, right, guards), param(total, node.dtype)
            return [Assign(total, a.fma(b, sofar) if node.dtype.kind == "f" else sofar + a * b)]

        self._fold([total], [const(0, node.dtype)], loops, inner)
        return param(total, node.dtype)

    def checked(self, node: Node, buffer: Buffer, position: Expr, size: int) -> Expr:
        """An index that comes from data, with the kernel that checks all of its buffer before."""
        if (buffer, size) not in self.faults:
            self.faults[buffer, size] = Fault(node.op.name, buffer, size)
            loops, index = self.loops(buffer.shape, "c")
            value = param(Access(buffer, index), buffer.dtype)
            body: tuple[Statement, ...] = (Check((value >= 0) & (value < size), self.known + len(self.faults)),)
            for var in reversed(loops):
                body = (Loop(var, body),)
            if 0 not in buffer.shape:
                self.checks.append(Kernel(f"check{len(self.faults)}", body, (f"{node.op.name} index",)))
        return position.to(INT64)


_RULES: Final[dict[str, Callable[[Lowering, Node, tuple[Index, ...], Guards], Expr]]] = {
    "elementwise": Lowering._elementwise,
    "movement": Lowering._indexed,
    "index": Lowering._indexed,
    "random": Lowering._indexed,
    "reduce": Lowering._reduce,
    "contract": Lowering._matmul,
}
