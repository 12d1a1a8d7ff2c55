"""Threads: which kernels several of them run together, each a range of the rounds of one loop, and where they wait.

A loop is split if no iteration touches what another one writes, so nothing that is added up is ever taken apart: the
numbers are those of one thread, to the bit. What is not worth it is left to the first thread, as is every check, so
that the same one fails first. A phase ends where the next kernel would touch what another thread writes in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Final

from ...graph.scalar import param, walk
from ..loopir.ir import (
    BLOCK,
    Access,
    Affine,
    Assign,
    Buffer,
    Check,
    Gemm,
    Kernel,
    Let,
    Loop,
    Statement,
    Store,
    Var,
    affine,
    expressions,
)
from ..loopir.program import Crew, Phase, Program, Region, Span, spans
from ..loopir.substitute import Substitution
from .axes import iterations, profile
from .memory import ALIGNMENT, Layout, conditions

WORTH: Final = 100_000.0  # vector operations of a kernel from which it is split: some 20 to 50 us, and a wait takes 1
MOST: Final = 0.9  # of its work that stands in the loop: the rest is done by every thread
EVEN: Final = 1.1  # how much more than its share a thread may have where an outer loop is split
UNROLLED: Final = 12  # iterations up to which a loop may be unrolled, and cannot be split then


MayShare = Callable[[Gemm, int], bool]


@dataclass(frozen=True, slots=True)
class Placed:
    """A program, and where its buffers lie in an arena of so many bytes."""

    program: Program
    layouts: Mapping[Buffer, Layout]
    offsets: Mapping[Buffer, int]
    size: int

    def bytes(self, buffer: Buffer) -> tuple[int, int]:
        """The first byte of a buffer, and the end of the last one."""
        start = self.offsets[buffer]
        return start, start + self.layouts[buffer].size * buffer.dtype.itemsize


def split(placed: Placed, width: int, threads: int, may_share: MayShare) -> Placed | None:
    """The program for several threads, with loops split and in phases; None where no kernel is worth it. `may_share`
    says whether a product by a BLAS has the same bits in parts.
    """
    program, crew = placed.program, Var("thread", threads)
    known = scratch_of(program)
    inner = {buffer: laid.inner for buffer, laid in placed.layouts.items()}
    kernels: list[Kernel] = []
    for kernel in program.kernels:
        scratch = known.get(kernel, [])
        product = product_of(kernel)
        if product is None:
            var = chosen(kernel, placed, scratch, inner, width, threads)
        else:
            blocks = ceil(product.target.shape[product.shared] / BLOCK)
            var = Var("part", blocks) if blocks > 1 and may_share(product, threads) else None
        if var is not None:
            scratch = [one for one in scratch if not _in_shares(kernel, one, var, placed)]
        if var is not None and scratch:
            placed, kernel = _with_own(placed, kernel, scratch, crew)
        kernels.append(replace(kernel, split=var))
    if not any(kernel.split for kernel in kernels):
        return None
    placed = replace(placed, program=replace(placed.program, kernels=tuple(kernels)))
    body = tuple(_phases(placed, program.regions))
    return replace(placed, program=replace(placed.program, regions=(Crew(crew, body),)))


# ---- which loop ------------------------------------------------------------------------------------------------------


def chosen(
    kernel: Kernel, placed: Placed, scratch: Collection[Buffer], inner: Mapping[Buffer, int], width: int, threads: int
) -> Var | None:
    """The loop of a kernel to split: the outermost one whose shares are about equal, else that with the most equal."""
    if any(isinstance(one, (Check, Gemm)) for one, _ in kernel.statements):
        return None
    known = profile(kernel, width)
    if known.costs[kernel.vector if kernel.vector in known.costs else None].total(inner) < WORTH:
        return None
    lanes = kernel.wide * max(1, width // kernel.itemsize)
    options: dict[Var, float] = {}
    for loop in _loops(kernel.body):
        rounds = _rounds(kernel, loop.var, lanes)
        is_loop = rounds > 1 and _stays(kernel, loop, lanes)
        if is_loop and may_split(kernel, loop.var, placed, scratch) and _share(kernel, loop.var, lanes) >= MOST:
            options[loop.var] = ceil(rounds / threads) * threads / rounds
    even = (var for var, most in options.items() if most <= EVEN)
    return next(even, min(options, key=options.__getitem__, default=None))


def may_split(kernel: Kernel, var: Var, placed: Placed, scratch: Collection[Buffer] = ()) -> bool:
    """Whether iterations of a loop may run at the same time: all that the kernel writes is written in them, and what
    one of them writes no other one touches; nor do they share a register. Of `scratch` each thread has its own.
    """
    if product_of(kernel) is not None:
        return True  # in parts, with no loop of ours
    began: dict[object, tuple[Var, ...]] = {}
    for one, around in kernel.statements:
        if isinstance(one, Let):
            began[one.register] = around
        if isinstance(one, (Check, Gemm)):
            return False
        if isinstance(one, Store) and var not in around and one.target.buffer not in scratch:
            return False
        if isinstance(one, Assign) and var in around and var not in began[one.register]:
            return False
    return all(
        _in_shares(kernel, target, var, placed) or (target in scratch and _is_own(kernel, target, var))
        for target in {access.buffer for access, writes, _ in kernel.accesses if writes}
    )


def _in_shares(kernel: Kernel, target: Buffer, var: Var, placed: Placed) -> bool:
    """Whether no iteration of a loop touches what another one writes to a buffer."""
    within = {one for _, around in kernel.statements for one in around}
    touching = [one for one, _, _ in kernel.accesses if _overlap(placed.bytes(one.buffer), placed.bytes(target))]
    alike = {(placed.offsets[one.buffer], placed.layouts[one.buffer].strides) for one in touching}
    return len(alike) == 1 and any(_apart(touching, axis, var, within) for axis in range(len(target.shape)))


def product_of(kernel: Kernel) -> Gemm | None:
    """The product by a BLAS that a kernel is."""
    one = kernel.body[0] if len(kernel.body) == 1 else None
    return one if isinstance(one, Gemm) else None


def scratch_of(program: Program) -> dict[Kernel, list[Buffer]]:
    """For each kernel the buffers that nobody else touches, and that it reads where it has just written them: what is
    packed for it.
    """
    users: dict[Buffer, set[Kernel]] = {}
    for kernel in program.kernels:
        for access, _, _ in kernel.accesses:
            users.setdefault(access.buffer, set()).add(kernel)
    faults = (fault.buffer for fault in program.faults)
    kept = {*program.outputs, *faults, *(buffer.base for buffer in program.buffers)}
    kept |= {buffer for pair in program.updates for buffer in pair}
    found: dict[Kernel, list[Buffer]] = {}
    for buffer, kernels in users.items():
        if buffer.role == "temporary" and buffer.base is None and buffer not in kept and len(kernels) == 1:
            (kernel,) = kernels
            if _is_written_first(kernel, buffer):
                found.setdefault(kernel, []).append(buffer)
    return found


def own_of(kernel: Kernel, crew: Var) -> set[Buffer]:
    """The buffers of which each thread has a part of its own."""
    first = affine(crew)
    accesses = [access for access, _, _ in kernel.accesses]
    return {one.buffer for one in accesses} - {one.buffer for one in accesses if one.index[:1] != (first,)}


def _is_written_first(kernel: Kernel, buffer: Buffer) -> bool:
    here = [(access, written) for access, written, _ in kernel.accesses if access.buffer is buffer]
    (first, written), *rest = here
    reads = not any(written or access.index != first.index or access.guards for access, written in rest)
    adds = any(isinstance(one, Store) and one.add and one.target.buffer is buffer for one, _ in kernel.statements)
    return written and reads and not adds and all(isinstance(index, Affine) for index in first.index)


def _is_own(kernel: Kernel, buffer: Buffer, var: Var) -> bool:
    """Whether what a thread reads of its scratch it wrote itself, whichever iterations of a loop it has."""
    here = [(access, around) for access, _, around in kernel.accesses if access.buffer is buffer]
    used = any(index.coefficient(var) for access, _ in here for index in access.index if isinstance(index, Affine))
    written_in = var in here[0][1]
    return not used and (not written_in or all(var in around for _, around in here))


def _with_own(placed: Placed, kernel: Kernel, scratch: Sequence[Buffer], crew: Var) -> tuple[Placed, Kernel]:
    """A kernel whose scratch is another one for each thread, behind what was in the arena."""
    layouts, offsets, size = dict(placed.layouts), dict(placed.offsets), placed.size
    copies: dict[Buffer, Buffer] = {}
    for buffer in scratch:
        many = copies[buffer] = Buffer(f"{buffer.name}n", (crew.extent, *buffer.shape), buffer.dtype)
        laid = layouts[buffer]
        layouts[many] = Layout((laid.size, *laid.strides), crew.extent * laid.size, laid.inner + 1, laid.pitch)
        offsets[many] = size
        size += ceil(layouts[many].size * many.dtype.itemsize / ALIGNMENT) * ALIGNMENT

    def own(access: Access) -> Access:
        many = copies.get(access.buffer)
        return access if many is None else Access(many, (affine(crew), *access.index))

    nodes = {node for one, _ in kernel.statements for root in expressions(one) for node in walk(root)}
    given = {node: param(own(node.value), node.dtype) for node in nodes if isinstance(node.value, Access)}
    renamed = Substitution(expressions={node: new for node, new in given.items() if new.value is not node.value})

    def renewed(one: Statement) -> Statement:
        if isinstance(one, Loop):
            return Loop(one.var, tuple(map(renewed, one.body)))
        one = renamed.statement(one)
        return replace(one, target=own(one.target)) if isinstance(one, Store) else one

    buffers = (*(one for one in placed.program.buffers if one not in copies), *copies.values())
    program = replace(placed.program, buffers=buffers)
    return Placed(program, layouts, offsets, size), replace(kernel, body=tuple(map(renewed, kernel.body)))
def _apart(accesses: Sequence[Access], axis: int, var: Var, within: set[Var]) -> bool:
    """Whether accesses in different iterations are at different places of an axis: by one iteration they move further
    than all else in the kernel moves them.
    """
    low, high = [], []
    steps, around = set(), set()
    for access in accesses:
        index = access.index[axis]
        if not isinstance(index, Affine):
            return False
        steps.add(index.coefficient(var))
        around.add(frozenset(term for term in index.terms if term[0] not in within))
        rest = Affine(index.offset, tuple(term for term in index.terms if term[0] is not var and term[0] in within))
        least, most = rest.bounds()
        low.append(least)
        high.append(most)
    return len(steps) == len(around) == 1 and max(high) - min(low) < abs(next(iter(steps)))


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _loops(body: Sequence[Statement]) -> Iterator[Loop]:
    """All loops, outer ones before those in them."""
    for one in body:
        if isinstance(one, Loop):
            yield one
            yield from _loops(one.body)


def _rounds(kernel: Kernel, var: Var, lanes: int) -> int:
    return ceil(var.extent / (lanes if var is kernel.vector else kernel.jam.get(var, 1)))


def _stays(kernel: Kernel, loop: Loop, lanes: int) -> bool:
    """Whether there will be a loop: one that is short, with nothing long in it, is unrolled."""
    least = 1 if loop.var is kernel.vector or loop.var in kernel.jam else UNROLLED
    inside = (one for one in loop.body if isinstance(one, Loop))
    return _rounds(kernel, loop.var, lanes) > least or any(_stays(kernel, one, lanes) for one in inside)


def _share(kernel: Kernel, var: Var, lanes: int) -> float:
    """The part of a kernel's work that stands in a loop."""
    total = inside = 0.0
    for one, around in kernel.statements:
        operations = sum(part.op != "const" for root in expressions(one) for part in walk(root))
        work = operations * iterations(around, kernel.vector, lanes)
        total += work
        inside += work if var in around else 0.0
    return inside / total if total else 0.0


@dataclass(slots=True)
class _Touched:
    """The bytes that some kernels read and write."""

    read: list[tuple[int, int]] = field(default_factory=list)
    written: list[tuple[int, int]] = field(default_factory=list)

    def add(self, kernel: Kernel, placed: Placed) -> None:
        """Those of one more."""
        for access, writes, _ in kernel.accesses:
            (self.written if writes else self.read).append(placed.bytes(access.buffer))

    def meets(self, other: _Touched) -> bool:
        """Whether one writes what the other touches."""
        pairs = [(self.written, other.read), (self.written, other.written), (self.read, other.written)]
        return any(_overlap(one, another) for ours, theirs in pairs for one in ours for another in theirs)


class _Phase:
    """The phase that is being put together: its regions, and what the first thread touches alone, and all together."""

    def __init__(self) -> None:
        self.body: list[Region] = []
        self.alone, self.together = _Touched(), _Touched()

    def add(self, region: Region, kernels: Sequence[Kernel], placed: Placed) -> bool:
        """Add kernels that all are split, or none; False, having done nothing, where they have to wait."""
        touched = _Touched()
        for kernel in kernels:
            touched.add(kernel, placed)
        is_split = bool(kernels and kernels[0].split)
        if touched.meets(self.together) or (is_split and touched.meets(self.alone)):
            return False
        mine = self.together if is_split else self.alone
        mine.read += touched.read
        mine.written += touched.written
        self.body.append(region)
        return True


def _phases(placed: Placed, regions: Sequence[Region]) -> Iterator[Region]:
    """Regions as phases, one after the other; repetitions and conditions with split kernels in them have their own."""
    phase, program = _Phase(), placed.program
    for region in regions:
        kernels = [program.kernels[k] for span, _ in spans((region,)) for k in range(span.start, span.stop)]
        if any(kernel.split for kernel in kernels) and not isinstance(region, Span):
            if phase.body:
                yield Phase(tuple(phase.body))
                phase = _Phase()
            body = tuple(_phases(placed, region.body))
            if any(access.buffer.role == "temporary" for access, _ in conditions((region,))):
                yield replace(region, body=(Phase(()), *body))  # nobody writes what another one has to ask for yet
                yield Phase(())
            else:
                yield replace(region, body=body)
            continue
        for piece in _pieces(program, region) if isinstance(region, Span) else (region,):
            inside = [program.kernels[k] for span, _ in spans((piece,)) for k in range(span.start, span.stop)]
            if not phase.add(piece, inside, placed):
                yield Phase(tuple(phase.body))
                phase = _Phase()
                phase.add(piece, inside, placed)
            if any(isinstance(one, Check) for kernel in inside for one, _ in kernel.statements):
                yield Phase(tuple(phase.body))
                phase = _Phase()
    if phase.body:
        yield Phase(tuple(phase.body))


def _pieces(program: Program, span: Span) -> Iterator[Span]:
    """A span as kernels that are split, each by itself, and the runs of others between them."""
    start = span.start
    for k in range(span.start, span.stop):
        here = program.kernels[k].split
        following = k + 1 < span.stop and not (here or program.kernels[k + 1].split)
        if not following:
            yield Span(start, k + 1, span.updates if k + 1 == span.stop else ())
            start = k + 1
