"""Packing: what the rows of a tiled kernel share is copied panel by panel to where its vectors lie one after the other.

    for panel:                                 as many columns as a tile has
        for k, lanes: packed[k, lanes] = y[k, panel, lanes]
        for rows, lanes: fold x[rows, k] * packed[k, lanes] over k

A large matrix has its rows so far apart that the lines of a panel lie in few sets of a cache and each in another page.
All rows of the result read a panel, so a copy costs little.
Any expression of a fold that depends on its lanes and on no row is packed as a whole and computed once. Columns that
fill no tile are a kernel of their own. What depends on rows and not on lanes is read along the fold: where that steps
from page to page, it is transposed before; where so much of it is read for each panel that it leaves the cache, it goes
in blocks of rows over panels that are packed before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Final

from ...graph.graph import DType, Shape
from ...graph.scalar import Expr, param, walk
from ..loopir.ir import (
    Access,
    Affine,
    Assign,
    Buffer,
    Kernel,
    Loop,
    Register,
    Statement,
    Store,
    Var,
    affine,
    expressions,
    nest,
)
from ..loopir.program import Program, Span, spans, with_spans
from ..loopir.substitute import Substitution
from .memory import copy
from .relayout import TRANSPOSE
from .tiles import independent, variables

FROM: Final = 2**18  # bytes that rows share from which they are packed
BLOCK: Final = 2**18  # bytes of rows that stay in the second cache
COLUMNS: Final = 16  # vectors of them from which it pays to transpose rows
ROWS: Final = 64  # that share them at least


@dataclass(slots=True)
class _Packing:
    """The buffers so far, their innermost axes, and those of a span that are others in another order."""

    width: int
    inner: dict[Buffer, int]
    buffers: list[Buffer]
    copies: dict[Buffer, Buffer] = field(default_factory=dict)

    def kernels(self, kernel: Kernel, whole: set[Buffer]) -> list[Kernel]:
        """One for the columns in tiles and one for those left over; the kernel itself where nothing is packed."""
        chain, body = _chain(kernel.body)
        vector = kernel.vector
        if vector is None or vector not in chain or not independent(kernel, chain):
            return [kernel]
        rows = chain[chain.index(vector) + 1 :]
        shared = dict(_shared(body, vector, rows))
        sizes = [prod(var.extent for var in (vector, *loops)) * part.dtype.itemsize for part, loops in shared.items()]
        if max(sizes, default=0) < FROM or prod(var.extent for var in rows) < ROWS:
            return [kernel]
        lanes = self.width // max(part.dtype.itemsize for part in shared)
        size = kernel.wide * lanes
        left = vector.extent % size
        replaces = not whole.isdisjoint(access.buffer for access, written, _ in kernel.accesses if written)
        if vector.extent <= size or (left and replaces):
            return [kernel]
        made, transposed = self.transposed(kernel, vector, rows) if vector.extent >= COLUMNS * lanes else ([], None)
        if transposed is not None:
            kernel = replace(kernel, body=tuple(transposed.statement(one) for one in kernel.body))
        inside = _blocked(kernel, vector, size)
        before, kernel = inside is not None, inside or kernel
        made += self.panels(kernel, vector, 0, size, lanes, before)
        if left:
            rest = replace(kernel, name=f"{kernel.name}_rest")
            made += self.panels(rest, vector, vector.extent - left, left, lanes, before)
        return made

    def panels(self, kernel: Kernel, vector: Var, first: int, count: int, lanes: int, before: bool) -> Iterator[Kernel]:
        """The kernel for the panels of so many columns from the first one on, each of which it packs when it comes to
        it; or kernels that do so `before`, for all of them.
        """
        chain, body = _chain(kernel.body)
        at = chain.index(vector)
        shared = dict(_shared(body, vector, chain[at + 1 :]))
        wide = 1 << (-(-count // lanes) - 1).bit_length()
        panel, lane = Var(f"{vector}p", (vector.extent - first) // count), Var(f"{vector}l", count)
        alone = panel.extent == 1
        place = affine(lane) + first if alone else affine(lane) + affine(panel) * count + first
        source = Substitution({vector: place}, self.copies)
        copies: list[Statement] = []
        reads: dict[Expr, Expr] = {}
        for part, loops in shared.items():
            places = [panel, *loops, lane] if before else [*loops, lane]
            shape = (*(var.extent for var in places[:-1]), wide * lanes)
            target = self.buffer(f"{kernel.name}p{len(self.buffers)}", shape, part.dtype, len(shape) - 1)
            element = Access(target, tuple(map(affine, places)))
            packs = nest(places, (Store(element, source.expression(part)),))
            reads[part] = param(element, part.dtype)
            if before:
                yield replace(kernel, name=f"{kernel.name}_pack", body=packs, vector=lane, wide=wide, jam={})
            else:
                copies += packs
        there = Substitution({vector: place}, expressions=reads)
        inside = nest([lane, *chain[at + 1 :]], tuple(there.statement(one) for one in body))
        outside = chain[:at] if alone and not before else [*chain[:at], panel]
        yield replace(kernel, body=nest(outside, (*copies, *inside)), vector=lane, wide=wide)

    def transposed(self, kernel: Kernel, vector: Var, rows: Sequence[Var]) -> tuple[list[Kernel], Substitution | None]:
        """Kernels that transpose what a fold reads from page to page in each row, and what is read instead."""
        made: list[Kernel] = []
        renamed: dict[Buffer, Buffer] = {}
        written = {access.buffer for access, is_written, _ in kernel.accesses if is_written}
        for access, _, around in kernel.accesses:
            buffer = access.buffer
            used = set(variables(access))
            axes = [k for k, index in enumerate(access.index) if index == affine(around[-1])] if around else []
            if vector in used or not axes or used.isdisjoint(rows) or buffer in renamed or buffer in written:
                continue
            axis, now = axes[0], self.inner[buffer]
            size = buffer.shape[now] * buffer.shape[axis] * buffer.dtype.itemsize
            if axis == now or around[-1] in rows or size < FROM:
                continue
            renamed[buffer] = self.buffer(f"{buffer.name}p{len(self.buffers)}", buffer.shape, buffer.dtype, axis)
            copying = copy(renamed[buffer], buffer, kernel)
            loops, store = _chain(copying.body)
            loops.insert(0, loops.pop(axis))
            made.append(replace(copying, name=f"{TRANSPOSE}{buffer.name}", body=nest(loops, store), vector=loops[0]))
        return made, Substitution(buffers=renamed) if renamed else None

    def buffer(self, name: str, shape: Shape, dtype: DType, inner: int) -> Buffer:
        """A new buffer."""
        self.buffers.append(Buffer(name, shape, dtype))
        self.inner[self.buffers[-1]] = inner
        return self.buffers[-1]


def pack(program: Program, inner: Mapping[Buffer, int], width: int) -> tuple[Program, Mapping[Buffer, int]]:
    """The program with the large operands of its tiled kernels packed, and the innermost axes of its buffers."""
    packing = _Packing(width, dict(inner), list(program.buffers))
    kernels: list[Kernel] = []
    moved: dict[Span, Span] = {}
    whole = {new for span, _ in spans(program.regions) for _, new in span.updates}  # where one kernel writes all of it
    for span, _ in spans(program.regions):
        start = len(kernels)
        here = program.kernels[span.start : span.stop]
        needed = _read(here)
        packing.copies = {a: b for kernel in here for a, b in _copied(kernel) if a in needed}
        made = [
            one
            for kernel in here
            for one in (packing.kernels(kernel, whole) if kernel.jam or kernel.wide > 1 else [kernel])
        ]
        unread = packing.copies.keys() - _read(made)
        kernels += [kernel for kernel in made if unread.isdisjoint(target for target, _ in _copied(kernel))]
        packing.buffers = [buffer for buffer in packing.buffers if buffer not in unread]
        moved[span] = Span(start, len(kernels), span.updates)
    if packing.buffers == list(program.buffers):
        return program, inner
    regions = with_spans(program.regions, moved)
    return replace(program, kernels=tuple(kernels), buffers=tuple(packing.buffers), regions=regions), packing.inner


def _blocked(kernel: Kernel, vector: Var, size: int) -> Kernel | None:
    """The kernel for block after block of its rows, where these are read once for every panel of `size` columns, are
    too many for the second cache, and of those that fit more are in a block than columns in a panel.
    """
    chain, body = _chain(kernel.body)
    if chain[0] is not vector or len(chain) == 1:
        return None
    row = max(chain[1:], key=lambda var: var.extent)
    each = 1  # bytes of a row
    for access, written, around in kernel.accesses:
        used = set(variables(access))
        if not written and row in used and vector not in used:
            others = prod(var.extent for var in around[1:] if var in used and var is not row)
            each = max(each, others * access.buffer.dtype.itemsize)
    most = BLOCK // each
    count = next((n for n in range(most, most // 2, -1) if row.extent % n == 0), 0)
    if each * row.extent <= 2 * BLOCK or count < 2 * size or row.tail is not None:
        return None
    block, inside = Var(f"{row}b", row.extent // count), Var(f"{row}i", count)
    place = Substitution({row: affine(block) * count + affine(inside)})
    loops = [block, *(inside if var is row else var for var in chain)]
    jam = {inside if var is row else var: n for var, n in kernel.jam.items()}
    return replace(kernel, body=nest(loops, tuple(place.statement(one) for one in body)), jam=jam)


def _read(kernels: Sequence[Kernel]) -> set[Buffer]:
    return {access.buffer for kernel in kernels for access, written, _ in kernel.accesses if not written}


def _copied(kernel: Kernel) -> Iterator[tuple[Buffer, Buffer]]:
    """The buffer that a kernel of `relayout` fills, and its source, which is the same as long as it is read."""
    if kernel.name.startswith(TRANSPOSE):
        ((one, _),) = kernel.statements
        if isinstance(one, Store) and isinstance(one.value.value, Access):
            yield one.target.buffer, one.value.value.buffer


def _chain(body: Sequence[Statement]) -> tuple[list[Var], tuple[Statement, ...]]:
    """Loops that hold nothing but the next one, and what the last one holds."""
    chain: list[Var] = []
    while len(body) == 1 and isinstance(body[0], Loop):
        chain.append(body[0].var)
        body = body[0].body
    return chain, tuple(body)


def _shared(body: Sequence[Statement], vector: Var, rows: Sequence[Var]) -> Iterator[tuple[Expr, tuple[Var, ...]]]:
    """The largest expressions of folds that depend on the lanes and no row, with the loops of a fold they depend on."""
    for fold in body:
        loops, statements = _chain((fold,))
        if loops and all(isinstance(one, Assign) for one in statements):
            roots = [root for one in statements for root in expressions(one)]
            for node, used in _largest(roots, vector, rows):
                yield node, tuple(var for var in loops if var in used)


def _largest(roots: Sequence[Expr], vector: Var, rows: Sequence[Var]) -> Iterator[tuple[Expr, frozenset[Var]]]:
    """The largest parts of expressions that depend on the lanes, no row and no register, with what they depend on."""
    uses: dict[Expr, frozenset[Var]] = {}
    bound: set[Expr] = set()  # to a register
    for node in dict.fromkeys(node for root in roots for node in walk(root)):
        leaf = node.value if node.op == "param" else None
        own = variables(leaf) if isinstance(leaf, (Access, Affine)) else ()
        uses[node] = frozenset(own).union(*(uses[arg] for arg in node.args))
        if isinstance(leaf, Register) or not bound.isdisjoint(node.args):
            bound.add(node)
    free = [node for node in uses if node not in bound and vector in uses[node] and uses[node].isdisjoint(rows)]
    inner = {arg for node in free for arg in node.args}
    for node in free:
        if node not in inner and any(isinstance(part.value, Access) for part in walk(node) if part.op == "param"):
            yield node, uses[node]
