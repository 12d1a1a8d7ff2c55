"""Kernels of the ops whose elements cannot be computed one by one: scans, spreads, ranks, pieces, large products.

`OwnLoops` is the lower half of the lowering: it makes loops, blocks and kernels; `pull` comes from the upper half.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import add
from typing import Any

import numpy as np

from ...graph import Graph, Node, Shape
from ...ops.elementwise import no_quotient
from ...ops.lookup import Called
from ...ops.movement import BROADCAST
from ...ops.rules import INT64, Pieces, Rank, Spread
from ...scalar import Expr, const, param
from ..blas import gemm_address
from ..loopir.buffer_view import BufferView
from ..loopir.ir import (
    Access,
    Affine,
    Assign,
    Buffer,
    Check,
    Gemm,
    Index,
    Kernel,
    Let,
    Loop,
    Register,
    Statement,
    Store,
    Var,
    affine,
    nest,
)
from ..loopir.program import Fault
from ..passes.algebra import filled
from .fusion import behind
from .reader import Guards, Reader


class OwnLoops:
    """What kernels are made with."""

    graph: Graph
    prefix: str
    known: int
    buffers: dict[Node, Buffer]
    windows: dict[Node, BufferView]
    order: list[Buffer]
    kernels: list[Kernel]
    checks: list[Kernel]
    faults: dict[tuple[Any, int | None], Fault]
    blocks: list[list[Statement]]
    memo: list[dict[Any, Expr]]
    sources: list[str]
    count: int
    nothing: bool

    def pull(self, node: Node, index: tuple[Index, ...], guards: Guards) -> Expr:
        """The element of a node."""
        raise NotImplementedError

    def _loops(self, shape: Shape, prefix: str = "i") -> tuple[list[Var], tuple[Affine, ...]]:
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

    def _kernel(self, name: str, loops: list[Var], last: Callable[[], list[Statement]]) -> None:
        """A kernel whose innermost block is what pulling left, then `last()`."""
        self.sources = []
        body = nest(loops, self._block(last))
        self.kernels += self.checks
        self.checks = []
        if self.nothing:  # there is nothing to compute, but indices may be wrong all the same
            return
        self.kernels.append(
            Kernel(f"{self.prefix}k{len(self.kernels)}_{name}", body, tuple(dict.fromkeys(self.sources)) or (name,))
        )

    def _block(self, last: Callable[[], list[Statement]]) -> tuple[Statement, ...]:
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
        others, place = self._loops(tuple(1 if a == axis else n for a, n in enumerate(node.shape)))
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
            return [Let(carry, const(0, node.dtype)), Loop(step, self._block(inner))]

        self._kernel(node.op.name, others, outer)

    def _gemm(self, node: Node, buffer: Buffer) -> None:
        """A large product, by a BLAS. Its address is a constant of the process, not of the code."""
        address = np.array(gemm_address(node.dtype), np.int64)
        function = Buffer(f"{buffer.name}f", (), INT64, "constant", True, address)
        self.order.append(function)
        x, y = (self.buffers[operand] for operand in node.inputs)
        body = (Gemm(buffer, x, y, node.attrs["tx"], node.attrs["ty"], function),)
        self.kernels.append(Kernel(f"{self.prefix}k{len(self.kernels)}_gemm", body, ("matmul",)))

    def _pieces(self, node: Node, target: BufferView, emit: Pieces) -> None:
        """Operand by operand, but for those that are there already."""
        axis, start = emit.axis(**node.attrs), 0
        for operand in node.inputs:
            loops, index = self._loops(operand.shape)
            place = target.access((*index[:axis], index[axis] + start, *index[axis + 1 :]))
            there = BufferView(target.buffer, (affine(start),))
            start += operand.shape[axis]
            if 0 not in operand.shape and self.windows.get(behind(operand)) != there:
                self._kernel(node.op.name, loops, self._copied(place, operand, index))

    def _copied(self, place: Access, operand: Node, index: tuple[Affine, ...]) -> Callable[[], list[Statement]]:
        return lambda: [Store(place, self.pull(operand, index, ()))]

    def _spread(self, node: Node, buffer: Buffer, emit: Spread) -> None:
        """Begin with zeros or an operand, then write element by element."""
        loops, index = self._loops(node.shape)

        def begin() -> list[Statement]:
            zero = const(0, node.dtype)
            value = zero if emit.start is None else self.pull(node.inputs[emit.start], index, ())
            return [Store(Access(buffer, index), value)]

        self._kernel(f"{node.op.name}_begin", loops, begin)
        values = node.inputs[emit.values]
        if 0 in values.shape:
            return
        loops, at = self._loops(values.shape)

        def write() -> list[Statement]:
            shapes = [x.shape for x in node.inputs]
            target = emit.target(Reader(self, node, ()), at, *shapes, **node.attrs)
            add = emit.add and not emit.alone(*shapes, **node.attrs)
            return [Store(Access(buffer, target), self.pull(values, at, ()), add)]

        self._kernel(node.op.name, loops, write)

    def _rank(self, node: Node, buffer: Buffer, emit: Rank) -> None:
        """Each element goes to the place that the number of those before it is."""
        axis, operand = node.attrs["axis"], node.inputs[0]
        ranks = Buffer(f"{buffer.name}r", node.shape, INT64)
        self.order.append(ranks)
        loops, index = self._loops(node.shape)
        other = Var(f"o{len(self.order)}", node.shape[axis])
        count = Register("rank", INT64, 0, add)

        def inner() -> list[Statement]:
            x = self.pull(operand, (*index[:axis], affine(other), *index[axis + 1 :]), ())
            tie = param(affine(other), INT64) < param(index[axis], INT64)
            before = emit.before(x, self.pull(operand, index, ()), tie, **node.attrs)
            return [Assign(count, param(count, INT64) + before.to(INT64))]

        def outer() -> list[Statement]:
            return [
                Let(count, const(0, INT64)),
                Loop(other, self._block(inner)),
                Store(Access(ranks, index), param(count, INT64)),
            ]

        self._kernel(f"{node.op.name}_ranks", loops, outer)
        loops, at = self._loops(node.shape)

        def write() -> list[Statement]:
            position = self.checked(node, ranks, param(Access(ranks, at), INT64), node.shape[axis])
            return [Store(Access(buffer, (*at[:axis], position, *at[axis + 1 :])), param(at[axis], INT64))]

        self._kernel(node.op.name, loops, write)

    def checked(self, node: Node, buffer: Buffer, position: Expr, size: int) -> Expr:
        """An index that comes from data, with the kernel that checks all of its buffer before."""
        if (buffer, size) not in self.faults:
            called = node.attrs.get("called") or Called(node.op.name)
            if called.axis is not None and len(buffer.shape) != len(node.inputs[1].shape):
                called = replace(called, axis=None)  # the user's array as it was, before it got that axis
            self.faults[buffer, size] = Fault(called, buffer, size)
            loops, index = self._loops(buffer.shape, "c")
            value = param(Access(buffer, index), buffer.dtype)
            body = nest(loops, (Check((value >= 0) & (value < size), self.known + len(self.faults)),))
            if 0 not in buffer.shape:
                self.checks.append(Kernel(f"check{len(self.faults)}", body, (f"{node.op.name} index",)))
        return position.to(INT64)

    def divides(self, node: Node) -> None:
        """The kernel that checks the divisors of an integer division before."""
        divisors = node.inputs[1]
        while divisors.op is BROADCAST and divisors not in self.buffers:
            divisors = divisors.inputs[0]
        only = None if divisors.attrs else filled(divisors)
        if 0 in node.shape or (divisors, None) in self.faults or (only is not None and only != 0):
            return
        if only is not None:
            raise no_quotient(node.op.name)
        fault = Fault(Called(node.op.name), self.buffers.get(divisors), None)
        self.faults[divisors, None] = fault
        code = self.known + len(self.faults)
        outside = self.blocks, self.memo, self.sources  # what is known there is not known in a kernel before it
        self.blocks, self.memo, self.sources = [], [], []
        loops, index = self._loops(divisors.shape, "c")
        body = nest(loops, self._block(lambda: [Check(self.pull(divisors, index, ()).ne(0), code)]))
        self.blocks, self.memo, self.sources = outside
        self.checks.append(Kernel(f"check{len(self.faults)}", body, (f"{node.op.name} divisor",)))
