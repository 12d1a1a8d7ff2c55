"""Relayout: copies in another order of matrices that are read along their rows here and along their columns there.

A recurrent weight is such a matrix. In the forward pass the lanes of a vector lie along its rows, in the backward pass
along its columns, and one of the two would have to gather its elements. A copy is made where that costs less, outside
of all repetitions that do not change the matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Final

from ..loopir.ir import Buffer, Gemm, Kernel
from ..loopir.program import Program, Region, Repeat, Span, paths, spans
from ..loopir.substitute import Substitution
from .axes import GATHER, NO_COPIES, Profile, best, times
from .memory import copy

TRANSPOSE: Final = "transpose_"  # how the names of its kernels begin
OVERHEAD: Final = 8.0  # of one more kernel, in loads
CLEARLY: Final = 3.0  # times as much must be saved: the costs are rough
COUNTED: Final = 2.0  # times as much as a copy costs must be saved where the choice of axes counts on it
FROM: Final = 2**14  # elements of a matrix from which axes are chosen as if each kernel might have a copy


def prices(program: Program, width: int) -> dict[Buffer, float]:
    """What a copy in another order costs, of large matrices from outside: weights, data."""
    based = {buffer.base for buffer in program.buffers}
    return {
        buffer: COUNTED * _cost(buffer, width)
        for buffer in program.inputs
        if len(buffer.shape) == 2 and prod(buffer.shape) >= FROM and buffer not in based
    }


def relayout(
    program: Program,
    profiles: Sequence[Profile],
    inner: Mapping[Buffer, int],
    width: int,
    loose: Mapping[Buffer, float] = NO_COPIES,
) -> tuple[Program, dict[Buffer, int]]:
    """The program with the copies that pay, and their innermost axes, given those without them; the same one if none
    does. Those of `loose` buffers cost next to nothing, and come first.
    """
    based = {buffer.base for buffer in program.buffers}
    writers: dict[Buffer, list[int]] = {}
    for position, one in enumerate(profiles):
        for buffer in one.written:
            writers.setdefault(buffer, []).append(position)
    gains: dict[tuple[Buffer, int, Region], dict[int, float]] = {}
    rounds: dict[Region, float] = {}
    often = times(program)
    changed = {span: {old for old, _ in span.updates} for span, _ in spans(program.regions)}
    for span, around in paths(program.regions):
        for position in range(span.start, span.stop):
            for buffer, axis, gain in _wishes(program.kernels[position], profiles[position], inner, loose):
                region = _unchanged(writers, changed, span, around, buffer, position)
                if region is None or buffer.base is not None or buffer in based:
                    continue
                outside = around[: around.index(region)] if region in around else around
                rounds[region] = prod(float(one.var.extent) for one in outside if isinstance(one, Repeat))
                gains.setdefault((buffer, axis, region), {})[position] = gain * often[position]
    insertion = _Insertion(program, writers)
    found: dict[int, dict[Buffer, int]] = {}  # the other orders that kernels find
    for (buffer, axis, region), wishes in sorted(gains.items(), key=lambda item: -sum(item[1].values())):
        readers = {k: _gain(profiles[k], {**inner, **found.get(k, {})}, buffer, axis) * often[k] for k in wishes}
        if sum(readers.values()) > CLEARLY * rounds[region] * _cost(buffer, width):
            insertion.add(buffer, axis, region, readers)
            for k in readers:
                found.setdefault(k, {})[buffer] = axis
    return (insertion.program() if insertion.copies else program), insertion.copies


def _wishes(
    kernel: Kernel, one: Profile, inner: Mapping[Buffer, int], loose: Mapping[Buffer, float]
) -> Iterator[tuple[Buffer, int, float]]:
    """The buffers that a kernel would like to find in another order: the axis, and what that would save."""
    if any(isinstance(one, Gemm) for one, _ in kernel.statements):
        return
    now, _ = best(one, inner)
    least, vector = best(one, inner, loose)
    if least < now:
        wrong = (place for place in one.costs[vector].along if place[0] in loose and inner[place[0]] != place[1])
        yield from ((buffer, axis, now - least) for buffer, axis in wrong)
        return
    own = {buffer: inner[buffer] for buffer in one.buffers}
    for buffer in one.buffers:
        axes = [axis for axis, n in enumerate(buffer.shape) if n > 1 and axis != inner[buffer]]
        if buffer in one.written or not axes:
            continue
        cost, axis = min((best(one, {**own, buffer: axis})[0], axis) for axis in axes)
        if cost < now:
            yield buffer, axis, now - cost


def _gain(one: Profile, inner: Mapping[Buffer, int], buffer: Buffer, axis: int) -> float:
    """What a kernel saves where a buffer has another innermost axis, given those of all others."""
    return best(one, inner)[0] - best(one, {**inner, buffer: axis})[0]


def _cost(buffer: Buffer, width: int) -> float:
    lanes = width // buffer.dtype.itemsize
    return prod(buffer.shape) / lanes * (1 + lanes * GATHER) + OVERHEAD


def _unchanged(
    writers: Mapping[Buffer, list[int]],
    changed: Mapping[Span, set[Buffer]],
    span: Span,
    around: Sequence[Region],
    buffer: Buffer,
    position: int,
) -> Region | None:
    """The outermost region around a kernel in which a buffer does not change; or the kernel's span, where it has its
    value before the kernel and changes at the end at most.
    """
    where = writers.get(buffer, [])
    for region in (*around, span):
        inside = [span for span, _ in spans((region,))]
        changes = any(buffer in changed[span] for span in inside)
        if not changes and not any(inside[0].start <= k < inside[-1].stop for k in where):
            return region
    return None if any(position <= k < span.stop for k in where) else span


@dataclass(slots=True)
class _Insertion:
    """Copies to be made before regions, or before a kernel, and the kernels that are to read them."""

    old: Program
    writers: Mapping[Buffer, list[int]]
    copies: dict[Buffer, int] = field(default_factory=dict)
    before: dict[Region | int, list[Kernel]] = field(default_factory=dict)
    renamed: dict[int, dict[Buffer, Buffer]] = field(default_factory=dict)
    kernels: list[Kernel] = field(default_factory=list)

    def add(self, buffer: Buffer, axis: int, region: Region, readers: Mapping[int, float]) -> None:
        """A copy for some kernels, with another innermost axis."""
        made = Buffer(f"{buffer.name}t{len(self.copies)}", buffer.shape, buffer.dtype)
        self.copies[made] = axis
        spot: Region | int = region
        if isinstance(region, Span):  # as early as may be: what is stored here is not at once there to be loaded
            earlier = [k + 1 for k in self.writers.get(buffer, ()) if region.start <= k < min(readers)]
            spot = max(earlier, default=region.start)
        moved = copy(made, buffer, *(self.old.kernels[position] for position in readers))
        self.before.setdefault(spot, []).append(replace(moved, name=f"{TRANSPOSE}{buffer.name}"))
        for position in readers:
            self.renamed.setdefault(position, {})[buffer] = made

    def program(self) -> Program:
        """The program with all of them."""
        regions = self._regions(self.old.regions)
        buffers = (*self.old.buffers, *self.copies)
        return replace(self.old, kernels=tuple(self.kernels), buffers=buffers, regions=regions)

    def _regions(self, regions: Sequence[Region]) -> tuple[Region, ...]:
        result: list[Region] = []
        for region in regions:
            start = len(self.kernels)
            self.kernels += self.before.get(region, ())
            if len(self.kernels) > start:
                result.append(Span(start, len(self.kernels)))
            if isinstance(region, Span):
                start = len(self.kernels)
                for position in range(region.start, region.stop):
                    self.kernels += self.before.get(position, ())
                    self.kernels.append(self._kernel(position))
                result.append(Span(start, len(self.kernels), region.updates))
            else:
                result.append(replace(region, body=self._regions(region.body)))
        return tuple(result)

    def _kernel(self, position: int) -> Kernel:
        kernel = self.old.kernels[position]
        if position not in self.renamed:
            return kernel
        rename = Substitution(buffers=self.renamed[position])
        return replace(kernel, body=tuple(rename.statement(one) for one in kernel.body))
