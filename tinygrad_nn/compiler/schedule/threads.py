"""Threads: which kernels several of them run together, each a range of the rounds of one loop, and where they wait.

A loop is split if no iteration touches what another one writes, so nothing that is added up is ever taken apart: the
numbers are those of one thread, to the bit. What is not worth it is left to the first thread, as is every check, so
that the same one fails first. A phase ends where the next kernel would touch what another thread writes in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Final

from ...graph.scalar import walk
from ..loopir.ir import (
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
    expressions,
)
from ..loopir.program import Phase, Program, Region, Span, spans
from .axes import iterations, profile
from .loop_fusion import itemsize
from .memory import Layout, conditions

WORTH: Final = 100_000.0  # vector operations of a kernel from which it is split: some 20 to 50 us, and a wait takes 1
MOST: Final = 0.9  # of its work that stands in the loop: the rest is done by every thread
ROUNDS: Final = 8  # of a loop that make shares about equal
UNROLLED: Final = 12  # iterations up to which a loop may be unrolled, and cannot be split then


def split(
    program: Program, layouts: Mapping[Buffer, Layout], offsets: Mapping[Buffer, int], width: int
) -> Program | None:
    """The program with loops split and in phases; None where no kernel is worth it."""
    places = Places(layouts, offsets)
    inner = {buffer: laid.inner for buffer, laid in layouts.items()}
    kernels = tuple(replace(one, split=chosen(one, places, inner, width)) for one in program.kernels)
    if not any(kernel.split for kernel in kernels):
        return None
    program = replace(program, kernels=kernels)
    return replace(program, regions=tuple(_phases(program, program.regions, places)))


@dataclass(frozen=True, slots=True)
class Places:
    """Where buffers lie in the arena."""

    layouts: Mapping[Buffer, Layout]
    offsets: Mapping[Buffer, int]

    def bytes(self, buffer: Buffer) -> tuple[int, int]:
        """The first byte of a buffer, and the end of the last one."""
        start = self.offsets[buffer]
        return start, start + self.layouts[buffer].size * buffer.dtype.itemsize


def chosen(kernel: Kernel, places: Places, inner: Mapping[Buffer, int], width: int) -> Var | None:
    """The loop of a kernel to split: the outermost one with rounds enough, else the one with most."""
    if any(isinstance(one, (Check, Gemm)) for one, _ in kernel.statements):
        return None
    known = profile(kernel, width)
    if known.costs[kernel.vector if kernel.vector in known.costs else None].total(inner) < WORTH:
        return None
    lanes = kernel.wide * max(1, width // itemsize(kernel))
    options: dict[Var, int] = {}
    for loop in _loops(kernel.body):
        rounds = _rounds(kernel, loop.var, lanes)
        is_loop = rounds > 1 and _stays(kernel, loop, lanes)
        if is_loop and may_split(kernel, loop.var, places) and _share(kernel, loop.var, lanes) >= MOST:
            options[loop.var] = rounds
    many = (var for var, rounds in options.items() if rounds >= ROUNDS)
    return next(many, max(options, key=options.__getitem__, default=None))


def may_split(kernel: Kernel, var: Var, places: Places) -> bool:
    """Whether iterations of a loop may run at the same time: all that the kernel writes is written in them, and what
    one of them writes no other one touches; nor do they share a register.
    """
    began: dict[object, tuple[Var, ...]] = {}
    for one, around in kernel.statements:
        if isinstance(one, Let):
            began[one.register] = around
        if isinstance(one, (Check, Gemm)) or (isinstance(one, Store) and var not in around):
            return False
        if isinstance(one, Assign) and var in around and var not in began[one.register]:
            return False
    within = {one for _, around in kernel.statements for one in around}
    written = {access.buffer for access, writes, _ in kernel.accesses if writes}
    for target in written:
        touching = [one for one, _, _ in kernel.accesses if _overlap(places.bytes(one.buffer), places.bytes(target))]
        alike = {(places.offsets[one.buffer], places.layouts[one.buffer].strides) for one in touching}
        if len(alike) > 1 or not any(_apart(touching, axis, var, within) for axis in range(len(target.shape))):
            return False
    return True


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

    def add(self, kernel: Kernel, places: Places) -> None:
        """Those of one more."""
        for access, writes, _ in kernel.accesses:
            (self.written if writes else self.read).append(places.bytes(access.buffer))

    def meets(self, other: _Touched) -> bool:
        """Whether one writes what the other touches."""
        pairs = [(self.written, other.read), (self.written, other.written), (self.read, other.written)]
        return any(_overlap(one, another) for ours, theirs in pairs for one in ours for another in theirs)


class _Phase:
    """The phase that is being put together: its regions, and what the first thread touches alone, and all together."""

    def __init__(self) -> None:
        self.body: list[Region] = []
        self.alone, self.together = _Touched(), _Touched()

    def add(self, region: Region, kernels: Sequence[Kernel], places: Places) -> bool:
        """Add kernels that all are split, or none; False, having done nothing, where they have to wait."""
        touched = _Touched()
        for kernel in kernels:
            touched.add(kernel, places)
        is_split = bool(kernels and kernels[0].split)
        if touched.meets(self.together) or (is_split and touched.meets(self.alone)):
            return False
        mine = self.together if is_split else self.alone
        mine.read += touched.read
        mine.written += touched.written
        self.body.append(region)
        return True


def _phases(program: Program, regions: Sequence[Region], places: Places) -> Iterator[Region]:
    """Regions as phases, one after the other; repetitions and conditions with split kernels in them have their own."""
    phase = _Phase()
    for region in regions:
        kernels = [program.kernels[k] for span, _ in spans((region,)) for k in range(span.start, span.stop)]
        if any(kernel.split for kernel in kernels) and not isinstance(region, Span):
            if phase.body:
                yield Phase(tuple(phase.body))
                phase = _Phase()
            body = tuple(_phases(program, region.body, places))
            if any(access.buffer.role == "temporary" for access, _ in conditions((region,))):
                yield replace(region, body=(Phase(()), *body))  # nobody writes what another one has to ask for yet
                yield Phase(())
            else:
                yield replace(region, body=body)
            continue
        for piece in _pieces(program, region) if isinstance(region, Span) else (region,):
            inside = [program.kernels[k] for span, _ in spans((piece,)) for k in range(span.start, span.stop)]
            if not phase.add(piece, inside, places):
                yield Phase(tuple(phase.body))
                phase = _Phase()
                phase.add(piece, inside, places)
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
