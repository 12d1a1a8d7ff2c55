"""What lowering hands from function to function: the kernels of a graph so far, and the one that is being made.

A kernel is made from the inside out. Asking for an element (`reader.element`) may put statements into the innermost
block, such as the loop of a sum; what a block computed once is known in it and in the blocks inside of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...graph.graph import Graph, Node, Shape, tail_of
from ...graph.places import Place
from ...graph.scalar import Expr
from ..loopir.buffer_view import BufferView
from ..loopir.ir import Affine, Buffer, Kernel, Role, Statement, Var, affine, nest
from ..loopir.program import Fault, Region, Span
from .fusion import Plan


@dataclass(slots=True, eq=False)
class KernelBuilder:
    """The lowering of one graph.

    prefix, known   of names, and how many faults another program has: what is made here stands beside it
    buffers, views  where values are: in a buffer, or in a part of one
    targets         the parts of buffers where nodes will be, once their kernels are there
    made, faults    what the program gets besides kernels
    kernels, regions, mark  those kernels from `mark` on are in no region yet
    checks          kernels that are to come before the one that is being made
    blocks, values, sources  of that kernel: its open blocks, what is known in each, the nodes computed in it
    node            the one that kernels are for
    count           of the variables, for their names
    """

    graph: Graph
    plan: Plan
    prefix: str = ""
    known: int = 0
    buffers: dict[Node, Buffer] = field(default_factory=dict)
    views: dict[Node, BufferView] = field(default_factory=dict)
    targets: dict[Node, BufferView] = field(default_factory=dict)
    made: list[Buffer] = field(default_factory=list)
    faults: dict[tuple[Any, int | None, int], Fault] = field(default_factory=dict)
    kernels: list[Kernel] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    mark: int = 0
    checks: list[Kernel] = field(default_factory=list)
    blocks: list[list[Statement]] = field(default_factory=list)
    values: list[dict[Any, Expr]] = field(default_factory=list)
    sources: list[Node] = field(default_factory=list)
    node: Node | None = None
    count: int = 0

    def where(self, node: Node) -> BufferView | None:
        """Where a node is in memory."""
        return BufferView(self.buffers[node]) if node in self.buffers else self.views.get(node)

    def buffer(self, name: str, like: Node, role: Role = "temporary", shape: Shape | None = None) -> Buffer:
        """A new buffer for a node, or of another shape for what belongs to one."""
        value = like.value if role == "constant" else None
        row_major = shape is None and like in self.plan.row_major
        return self.add(Buffer(name, like.shape if shape is None else shape, like.dtype, role, row_major, value))

    def add(self, buffer: Buffer) -> Buffer:
        """The same buffer, which the program now has."""
        self.made.append(buffer)
        return buffer

    def alias(self, node: Node) -> Buffer:
        """The memory of a reshape's operand under another shape."""
        base = self.buffers[node.inputs[0]]
        name = f"{base.name}r{len(self.made)}"
        return self.add(Buffer(name, node.shape, node.dtype, base.role, True, None, base.base or base))

    def loops(self, shape: Shape, prefix: str = "i") -> tuple[list[Var], tuple[Affine, ...]]:
        """A variable per axis (none for length 1) and the index they make."""
        variables, index = [], []
        for n in shape:
            if n == 1:
                index.append(Affine())
            else:
                self.count += 1
                variables.append(Var(f"{prefix}{self.count}", int(n), tail_of(n)))
                index.append(affine(variables[-1]))
        return variables, tuple(index)

    def kernel(self, name: str, stored: Shape, loops: Sequence[Var], last: Callable[[], list[Statement]]) -> None:
        """A kernel whose innermost block ends with `last()`. Where it would store nothing, only its checks are made:
        indices may be wrong all the same.
        """
        self.sources = []
        body = nest(loops, self.block(last))
        self.kernels += self.checks
        self.checks = []
        if 0 not in stored:
            self.add_kernel(name, body, self.sources)

    def add_kernel(self, name: str, body: tuple[Statement, ...], nodes: Sequence[Node] = ()) -> None:
        """A kernel that computes these nodes, or only moves what the `node` is."""
        sources = tuple(dict.fromkeys(node.op.name for node in nodes)) or (name,)
        name = f"{self.prefix}k{len(self.kernels)}_{name}"
        self.kernels.append(Kernel(name, body, sources, origins=self.origins(nodes)))

    def origins(self, nodes: Sequence[Node]) -> Mapping[Node, Place]:
        """Where nodes, and the one that kernels are for, come from, if that is known."""
        if self.graph.places is None:
            return {}
        return self.graph.places.of((*nodes, *(() if self.node is None else (self.node,))))

    def block(self, last: Callable[[], list[Statement]]) -> tuple[Statement, ...]:
        """What is emitted while `last()` is worked out, and then that."""
        self.blocks.append([])
        self.values.append({})
        ending = last()
        self.values.pop()
        return (*self.blocks.pop(), *ending)

    def emit(self, *statements: Statement) -> None:
        """Put statements into the innermost block."""
        self.blocks[-1].extend(statements)

    def check(self, sources: str, condition: Callable[[], Statement], loops: Sequence[Var], empty: bool) -> None:
        """A kernel of its own before the one that is being made: what is known there is not known in it."""
        outside = self.blocks, self.values, self.sources
        self.blocks, self.values, self.sources = [], [], []
        body = nest(loops, self.block(lambda: [condition()]))
        self.blocks, self.values, self.sources = outside
        if not empty:
            kernel = Kernel(f"check{len(self.faults)}", body, (sources,), origins=self.origins(()))
            self.checks.append(kernel)

    def fault(self, key: tuple[Any, int | None, int], fault: Fault) -> int:
        """Register what a check finds wrong; its number."""
        self.faults[key] = fault
        return self.known + len(self.faults)

    def close(self) -> None:
        """End the span of kernels that run once here."""
        if len(self.kernels) > self.mark:
            self.regions.append(Span(self.mark, len(self.kernels)))
        self.mark = len(self.kernels)

    def repeat(self, regions: Sequence[Region]) -> None:
        """Add regions that hold all kernels so far that are in none."""
        self.regions += regions
        self.mark = len(self.kernels)
