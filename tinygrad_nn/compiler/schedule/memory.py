"""Memory: the layout of each buffer and its place in the arena.

Temporaries of one dtype share memory when they do not live at the same time, and a new value of the state takes the
place of the old one where nothing reads that any more.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from math import ceil, inf
from typing import Final

from ...graph.scalar import param
from ..loopir.ir import Access, Buffer, Check, Kernel, Store, Var, affine, nest
from ..loopir.program import Program, Region, Repeat, Span, When, spans, with_spans

ALIGNMENT: Final = 64  # bytes
Gap = tuple[int, float]  # free bytes: the first, and the end
SETS: Final = 1024  # bytes: of lines so far apart, or a multiple, a cache holds few
LONG: Final = 16  # vectors in a line from which it is padded to four of them


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the elements of a buffer lie: elements per step of each axis, and elements in all, padding included.

    `inner` is the axis whose elements are next to each other, `pitch` its length with padding.
    """

    strides: tuple[int, ...]
    size: int
    inner: int
    pitch: int


def layout(buffer: Buffer, inner: int, width: int) -> Layout:
    """Row-major order with one axis moved innermost and padded to whole vectors; row-major buffers have neither."""
    rank = len(buffer.shape)
    if rank == 0:
        return Layout((), 1, -1, 1)
    order = [axis for axis in range(rank) if axis != inner] + [inner]
    lanes = 1 if buffer.row_major or buffer.shape[inner] <= 1 else max(1, width // buffer.dtype.itemsize)
    if lanes > 1 and buffer.shape[inner] >= LONG * lanes:
        lanes *= 4  # so many vectors may be taken at a time
    pitch = ceil(buffer.shape[inner] / lanes) * lanes
    if lanes > 1 and rank > 1 and pitch * buffer.dtype.itemsize % SETS == 0:
        pitch += max(1, width // buffer.dtype.itemsize)
    strides, step = [0] * rank, 1
    for axis in reversed(order):
        strides[axis] = step
        step *= pitch if axis == inner else buffer.shape[axis]
    return Layout(tuple(strides), max(step, 1), inner, pitch)


def place(program: Program, layouts: dict[Buffer, Layout]) -> tuple[Program, dict[Buffer, int], int]:
    """Offsets in the arena, the program with the copies it needs at the end of its spans, and the size of the arena."""
    uses = Uses(program)
    shared: dict[Buffer, Buffer] = {}
    copies: dict[Span, list[tuple[Buffer, Buffer]]] = {}
    for span, _ in spans(program.regions):
        for old, new in span.updates:
            if old is new:
                continue
            if new not in shared and layouts[old] == layouts[new] and uses.may_replace(span, old, new):
                shared[new] = old
            else:
                copies.setdefault(span, []).append((old, new))
                own = uses.own[new]
                uses.last[own] = max(uses.last.get(own, 0), span.stop)
    offsets: dict[Buffer, int] = {}
    size = 0
    for buffer in program.buffers:
        if uses.own[buffer] is buffer and (buffer.role != "temporary" or buffer not in uses.first):
            offsets[buffer] = size
            size += _bytes(buffer, layouts)
    temporaries = [b for b in uses.first if b.role == "temporary" and b not in shared]
    for dtype in dict.fromkeys(b.dtype for b in temporaries):
        # Padding holds what was there before. Integers, read as floats, are subnormal, which is very slow: so only
        # temporaries of one dtype share memory.
        gaps: list[Gap] = [(size, inf)]  # by offset
        live: list[tuple[int, int, int]] = []  # a heap: last use, offset, end
        for buffer in sorted((b for b in temporaries if b.dtype == dtype), key=lambda b: uses.first[b]):
            while live and live[0][0] < uses.first[buffer]:
                _, start, stop = heappop(live)
                _free(gaps, start, stop)
            at = _take(gaps, _bytes(buffer, layouts))
            end = at + _bytes(buffer, layouts)
            offsets[buffer] = at
            heappush(live, (uses.last[buffer], at, end))
            size = max(size, end)
    offsets |= {new: offsets[old] for new, old in shared.items()}
    offsets |= {buffer: offsets[uses.own[buffer]] for buffer in program.buffers}
    return _with_copies(program, copies, layouts, offsets, size)


def ranges(regions: Sequence[Region]) -> Iterator[tuple[int, int]]:
    """The first and the last kernel (exclusive) of every repetition."""
    for region in regions:
        if isinstance(region, Span):
            continue
        if isinstance(region, Repeat):
            inside = [span for span, _ in spans(region.body)]
            yield min(span.start for span in inside), max(span.stop for span in inside)
        yield from ranges(region.body)


def conditions(regions: Sequence[Region]) -> Iterator[tuple[Access, int]]:
    """What regions ask for before they run, with their first kernel."""
    for region in regions:
        if not isinstance(region, (Repeat, When)):
            continue
        asked = (region.count,) if isinstance(region, Repeat) else (region.element, region.tail)
        start = min(span.start for span, _ in spans(region.body))
        yield from ((access, start) for access in asked if access is not None)
        yield from conditions(region.body)


class Uses:
    """Where each buffer is read and written, by position of the kernel; aliases count as their base."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.own: dict[Buffer, Buffer] = {b: b.base or b for b in program.buffers}
        self.first: dict[Buffer, int] = {}
        self.last: dict[Buffer, int] = {}
        self.reads: dict[Buffer, dict[int, list[tuple[int, Access]]]] = {}  # by kernel; the number is the order in it
        self.writes: dict[Buffer, dict[int, list[tuple[int, Access]]]] = {}
        self.checks: list[int] = []
        self.news = {span: {new for _, new in span.updates} for span, _ in spans(program.regions)}
        for position, kernel in enumerate(program.kernels):
            if any(isinstance(one, Check) for one, _ in kernel.statements):
                self.checks.append(position)
            for number, (access, written, _) in enumerate(kernel.accesses):
                base = self.own[access.buffer]
                self.first.setdefault(base, position)
                self.last[base] = position
                kind = self.writes if written else self.reads
                kind.setdefault(base, {}).setdefault(position, []).append((number, access))
        for access, position in conditions(program.regions):
            base = self.own[access.buffer]
            self.first.setdefault(base, position)
            self.last[base] = max(self.last.get(base, position), position)
        for buffer in program.outputs:
            self.last[self.own[buffer]] = len(program.kernels)
        for start, stop in sorted(ranges(program.regions), key=lambda pair: pair[1] - pair[0]):
            for buffer in self.first:  # what crosses the border of a repetition lives in all of its rounds
                first, last = self.first[buffer], self.last[buffer]
                if first < start <= last < stop:
                    self.last[buffer] = stop - 1
                elif start <= first < stop <= last:
                    self.first[buffer] = start

    def may_replace(self, span: Span, old: Buffer, new: Buffer) -> bool:
        """Whether a new value may be written over the old one: nothing later in the span reads that or may stop the
        program, which leaves the state as it was, and the kernel that writes reads it only where it writes, and before.
        """
        writes = self.writes.get(new, {})
        if new.role != "temporary" or new.base is not None or len(writes) != 1 or old in self.program.outputs:
            return False
        ((begin, written),) = writes.items()
        if not span.start <= begin < span.stop or old in self.news[span]:
            return False
        reads = self.reads.get(old, {})
        later = any(begin < position < span.stop for position in (*reads, *self.checks))
        number, target = written[0]
        return not later and all(k < number and access.index == target.index for k, access in reads.get(begin, []))


def _take(gaps: list[Gap], need: int) -> int:
    """The offset of so many bytes of the first gap that has them."""
    k, at, stop = next((k, start, stop) for k, (start, stop) in enumerate(gaps) if stop - start >= need)
    gaps[k : k + 1] = [(at + need, stop)] if at + need < stop else []
    return at


def _free(gaps: list[Gap], start: int, stop: float) -> None:
    """Make these bytes a gap, one with those beside them."""
    k = bisect(gaps, (start, stop))
    if k < len(gaps) and gaps[k][0] == stop:
        _, stop = gaps.pop(k)
    if k and gaps[k - 1][1] == start:
        k -= 1
        start, _ = gaps.pop(k)
    gaps.insert(k, (start, stop))


def _bytes(buffer: Buffer, layouts: Mapping[Buffer, Layout]) -> int:
    return ceil(layouts[buffer].size * buffer.dtype.itemsize / ALIGNMENT) * ALIGNMENT


def _with_copies(
    program: Program,
    copies: Mapping[Span, Sequence[tuple[Buffer, Buffer]]],
    layouts: dict[Buffer, Layout],
    offsets: dict[Buffer, int],
    size: int,
) -> tuple[Program, dict[Buffer, int], int]:
    """The program with kernels that copy new values into the state at the end of their span, by way of a third buffer
    where one state's new value is another state's old one.
    """
    if not copies:
        return program, offsets, size
    kernels: list[Kernel] = []
    buffers = list(program.buffers)
    moved: dict[Span, Span] = {}
    for span, _ in spans(program.regions):
        start = len(kernels)
        kernels += program.kernels[span.start : span.stop]
        pairs = copies.get(span, ())
        olds = {old for old, _ in pairs}
        sources: dict[Buffer, Buffer] = {}
        for _, new in pairs:
            if new in olds and new not in sources:
                between = Buffer(f"{new.name}c", new.shape, new.dtype)
                buffers.append(between)
                layouts[between] = layouts[new]
                offsets[between] = size
                size += _bytes(between, layouts)
                sources[new] = between
                kernels.append(copy(between, new, *_writers(program, new)))
        kernels += [copy(old, sources.get(new, new), *_writers(program, new)) for old, new in pairs]
        moved[span] = Span(start, len(kernels), span.updates)
    regions = with_spans(program.regions, moved)
    return replace(program, kernels=tuple(kernels), buffers=tuple(buffers), regions=regions), offsets, size


def copy(target: Buffer, source: Buffer, *others: Kernel) -> Kernel:
    """A kernel that copies a buffer, for the sake of others."""
    loops = [Var(f"u{axis}", n) for axis, n in enumerate(target.shape)]
    index = tuple(affine(var) for var in loops)
    body = nest(loops, (Store(Access(target, index), param(Access(source, index), source.dtype)),))
    origins = {node: place for kernel in others for node, place in kernel.origins.items()}
    return Kernel(f"copy_{target.name}", body, ("update",), origins=origins)


def _writers(program: Program, buffer: Buffer) -> list[Kernel]:
    """The kernels that write a buffer, where they know where they come from."""
    known = (kernel for kernel in program.kernels if kernel.origins)
    return [kernel for kernel in known if any(own and one.buffer is buffer for one, own, _ in kernel.accesses)]
