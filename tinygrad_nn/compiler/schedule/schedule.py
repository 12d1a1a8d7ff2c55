"""How a program runs on a machine: order of kernels, vector axes, layouts, places in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from ...errors import GraphError, message
from ..loopir.ir import Buffer, Gemm, Kernel
from ..loopir.program import Crew, Program, Span, spans, with_spans
from .arena import Arena, Strided
from .axes import choose, jams, outermost, profile, times, together
from .loop_fusion import fuse
from .memory import ALIGNMENT, Layout, layout, place
from .packing import pack
from .relayout import prices, relayout
from .rows import operands
from .sharing import Shared, shared
from .threads import MayShare, Placed, may_split, own_of, split
from .tiles import tile, tiled

MEETING: Final = 3 * ALIGNMENT  # bytes


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """A program with its layouts, offsets (bytes) and the size of its arena, and the kernels that are one function.

    Where several threads run it, they meet at the place `meeting`: three words, each in a line of memory of its own.
    `compact` code writes few iterations out.
    """

    program: Program
    layouts: Mapping[Buffer, Layout]
    offsets: Mapping[Buffer, int]
    size: int
    width: int
    shared: tuple[Shared, ...] = ()
    meeting: int | None = None
    compact: bool = False

    @property
    def constants(self) -> list[Buffer]:
        """What is in the arena from the beginning."""
        return [one for one in self.program.buffers if one.role == "constant" and one.base is None]

    def arena(self) -> Arena:
        """New memory."""
        return Arena(self.size, ((self.at(one), one.value) for one in self.constants))

    def at(self, buffer: Buffer) -> Strided:
        """Where a buffer is in the arena."""
        strides = tuple(step * buffer.dtype.itemsize for step in self.layouts[buffer].strides)
        return Strided(self.offsets[buffer], buffer.shape, buffer.dtype, strides)

    def verify(self) -> Schedule:
        """Check the program, and that every buffer lies in the arena, values from outside apart from each other, and
        another shape of a buffer where that is. Raises GraphError.
        """
        self.program.verify()
        ends = {b: at + self.layouts[b].size * b.dtype.itemsize for b, at in self.offsets.items()}
        end = 0
        for buffer in sorted(self.program.buffers, key=self.offsets.__getitem__):
            at, base = self.offsets[buffer], buffer.base or buffer
            lost = at < 0 or at % ALIGNMENT or ends[buffer] > self.size or at != self.offsets[base]
            if lost or (base is buffer and buffer.role != "temporary" and at < end):
                got = f"{buffer} at {at} to {ends[buffer]}, where {end} of {self.size} bytes are in use"
                raise GraphError(message("schedule", got))
            if base is buffer and buffer.role != "temporary":
                end = ends[buffer]
        crew = next((one.var for one in self.program.regions if isinstance(one, Crew)), None)
        placed = Placed(self.program, self.layouts, self.offsets, self.size)
        for kernel in self.program.kernels:
            own = own_of(kernel, crew) if crew else ()
            if kernel.split and not may_split(kernel, kernel.split, placed, own):
                raise GraphError(message("schedule", f"iterations of {kernel.split} in {kernel.name} that meet"))
        return self


def _never(one: Gemm, threads: int) -> bool:
    return False


def schedule(
    program: Program,
    width: int,
    registers: int = 16,
    threads: int = 1,
    may_share: MayShare = _never,
    padded: bool = True,
    compact: bool = False,
) -> Schedule:
    """Choose for so many registers of `width` bytes, and for so many threads at most. Lines of memory are `padded` to
    whole vectors. Where code has to be `compact`, iterations run together in large kernels alone.
    """
    program = replace(program, kernels=late_updates(program))
    profiles = {kernel: profile(kernel, width) for kernel in program.kernels}
    loose = dict.fromkeys(operands(program), 0.0)
    inner, vectors = choose(program, list(profiles.values()), loose, prices(program, width))
    program, copies = relayout(program, list(profiles.values()), inner, width, loose)
    if copies:
        known = [profiles[one] if one in profiles else profile(one, width) for one in program.kernels]
        inner, vectors = choose(program, known, dict.fromkeys(operands(program), 0.0), begun={**inner, **copies})
    kernels = []
    blocks = times(program, rows=True)
    for position, (kernel, vector) in enumerate(zip(program.kernels, vectors, strict=True)):
        body = outermost(kernel.body, vector) if vector else kernel.body
        shaped = replace(kernel, body=body, vector=vector)
        found = tile(shaped, width, registers, inner, blocks[position], compact)
        if found is not None:
            kernels.append(tiled(shaped, found))
            continue
        jam = {} if compact else jams(shaped)
        wide = 1 if jam or compact else together(shaped, width)
        kernels.append(replace(shaped, jam=jam, wide=wide))
    program, axes = pack(replace(program, kernels=tuple(kernels)), inner, width)
    program = fuse_loops(program)
    layouts = {buffer: layout(buffer, axes[buffer], width if padded else 1) for buffer in program.buffers}
    program, offsets, size = place(program, layouts)
    meeting, placed = None, Placed(program, layouts, offsets, size)
    divided = split(placed, width, threads, may_share) if threads > 1 else None
    if divided is not None:
        placed, meeting = replace(divided, size=divided.size + MEETING), divided.size
    functions = shared(placed.program, placed.layouts, placed.offsets, width)
    return Schedule(placed.program, placed.layouts, placed.offsets, placed.size, width, functions, meeting, compact)


def fuse_loops(program: Program) -> Program:
    """The program with neighbouring kernels of a span fused."""
    kernels: list[Kernel] = []
    moved: dict[Span, Span] = {}
    for span, _ in spans(program.regions):
        start = len(kernels)
        kernels += fuse(program.kernels[span.start : span.stop], dict(span.updates))
        moved[span] = Span(start, len(kernels), span.updates)
    return replace(program, kernels=tuple(kernels), regions=with_spans(program.regions, moved))


def late_updates(program: Program) -> tuple[Kernel, ...]:
    """The kernels, checks first in each span and last those that only make new values of the state, so that these may
    replace the old ones and an index out of range is found before anything is changed.
    """
    outputs = set(program.outputs)
    kernels: list[Kernel] = []
    for span, _ in spans(program.regions):
        here = program.kernels[span.start : span.stop]
        targets = {new for _, new in span.updates} - outputs
        readers: dict[Buffer, set[Kernel]] = {}
        writes: dict[Kernel, set[Buffer]] = {}
        for kernel in here:
            for access, written, _ in kernel.accesses:
                base = access.buffer.base or access.buffer
                if written:
                    writes.setdefault(kernel, set()).add(base)
                else:
                    readers.setdefault(base, set()).add(kernel)
        first = {kernel for kernel in here if kernel not in writes and _reads_inputs(kernel)}
        late = {
            kernel
            for kernel, written in writes.items()
            if all(b in targets and readers.get(b, set()) <= {kernel} for b in written)
        }
        kernels += [kernel for kernel in here if kernel in first]
        kernels += [kernel for kernel in here if kernel not in first and kernel not in late]
        kernels += [kernel for kernel in here if kernel in late]
    return tuple(kernels)


def _reads_inputs(kernel: Kernel) -> bool:
    return all(access.buffer.role != "temporary" for access, _, _ in kernel.accesses)
