"""Loops over the same steps run as one: what a step makes is read by all of them while it is in the cache.

    repeat t:  a step, which stores y[t]             sum = 0
    sum = 0                                    ->    repeat t:  a step, which stores y[t]
    repeat t:  sum += x[t] * y[t]                               sum += x[t] * y[t]

The gradient of a recurrent layer is such a step, and the sums are those of its weights. Where it goes from the last
step to the first, so does the sum. What stands between the loops comes before both where the second one needs it, else
after them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Final

from ..loopir.ir import Access, Affine, Buffer, Check, Gemm, Kernel, Var, affine
from ..loopir.program import Crew, Phase, Program, Region, Repeat, Span, When, spans
from ..loopir.substitute import Substitution

FROM: Final = 2**18  # bytes of what is shared: less stays in the second cache anyway


Other = Repeat | When | Phase | Crew


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Kernels with the updates after them; steps of a loop where there is a variable."""

    kernels: tuple[Kernel, ...]
    updates: tuple[tuple[Buffer, Buffer], ...] = ()
    var: Var | None = None

    def touched(self, written: bool) -> set[Buffer]:
        """What the kernels and the updates read or write."""
        return set(_touched(self.kernels, written)).union(*((old, new) for old, new in self.updates))


def join_steps(program: Program) -> Program:
    """The program with such loops joined; the same one where there are none."""
    kernels: list[Kernel] = []
    regions = _regions(program, program.regions, kernels)
    if len(regions) == len(program.regions) and kernels == list(program.kernels):
        return program
    return replace(program, kernels=tuple(kernels), regions=regions)


def joined(before: Program, after: Program) -> dict[Var, dict[Var, list[str]]]:
    """The loops that others were joined with: the variable of each of those, and the names of its kernels."""
    own = {kernel.name: around[-1] for kernel, around in _loops(before) if around}
    found: dict[Var, dict[Var, list[str]]] = {}
    for kernel, around in _loops(after):
        if around and own.get(kernel.name, around[-1]) is not around[-1]:
            found.setdefault(around[-1], {}).setdefault(own[kernel.name], []).append(kernel.name)
    return found


def _loops(program: Program) -> Iterator[tuple[Kernel, tuple[Var, ...]]]:
    """The kernels with the loops around them."""
    for span, around in spans(program.regions):
        for kernel in program.kernels[span.start : span.stop]:
            yield kernel, around


def _regions(program: Program, regions: Sequence[Region], made: list[Kernel]) -> tuple[Region, ...]:
    """The regions, whose kernels are added to those that are made."""
    found: list[_Run | Other] = []
    for region in regions:
        one = _run(program, region)
        merged = _in_earlier(found, one) if isinstance(one, _Run) and one.var is not None else None
        if merged is None:
            found.append(one)
        else:
            found = merged
    result: list[Region] = []
    for one in found:
        if not isinstance(one, _Run):
            result.append(replace(one, body=_regions(program, one.body, made)))
            continue
        span = Span(len(made), len(made) + len(one.kernels), one.updates)
        made += one.kernels
        if one.var is not None:
            result.append(Repeat(one.var, (span,)))
        elif one.kernels or one.updates:
            result.append(span)
    return tuple(result)


def _run(program: Program, region: Region) -> _Run | Other:
    """A region as a run, where it is one."""
    if isinstance(region, Span):
        return _Run(program.kernels[region.start : region.stop], region.updates)
    if isinstance(region, Repeat) and region.count is None and not (region.tail or region.rows or region.var.tail):
        inside = region.body[0]
        if len(region.body) == 1 and isinstance(inside, Span):
            return _Run(program.kernels[inside.start : inside.stop], inside.updates, region.var)
    return region


def _in_earlier(found: Sequence[_Run | Other], late: _Run) -> list[_Run | Other] | None:
    """What stands before a loop, with the loop in the one before it; None where that may not be or does not pay."""
    between: list[Kernel] = []
    for at in reversed(range(len(found))):
        early = found[at]
        if not isinstance(early, _Run):
            return None
        if early.var is not None:
            kernels = _inside(early, late)
            moved = None if kernels is None else _moved(between, early, late)
            if kernels is None or moved is None:
                return None
            before, after = moved
            loop = replace(early, kernels=(*early.kernels, *kernels))
            return [*found[:at], _Run(before), loop, _Run(after)]
        if early.updates:
            return None
        between[:0] = early.kernels
    return None


def _inside(early: _Run, late: _Run) -> tuple[Kernel, ...] | None:
    """The kernels of a loop as part of the steps of an earlier one, whose results of the same step alone they read."""
    if early.var is None or late.var is None or late.updates or early.var.extent != late.var.extent:
        return None
    every = (*early.kernels, *late.kernels)
    if any(isinstance(one, (Check, Gemm)) for kernel in every for one, _ in kernel.statements):
        return None
    written = early.touched(True)
    if not late.touched(True).isdisjoint(written | early.touched(False)):
        return None
    shared = written & late.touched(False)
    if not shared or any(b in pair for b in shared for pair in early.updates):
        return None
    if sum(prod(b.shape) * b.dtype.itemsize for b in shared) < FROM:
        return None
    made = {_step(access) for access, writes, _ in _accesses(early.kernels, shared) if writes}
    for place in (affine(early.var), affine(early.var) * -1 + (early.var.extent - 1)):
        moving = Substitution({late.var: place})
        kernels = tuple(replace(one, body=tuple(map(moving.statement, one.body))) for one in late.kernels)
        read = {_step(access) for access, _, _ in _accesses(kernels, shared)}
        if len(made) == 1 and read == made and next(iter(read)).terms in (((early.var, 1),), ((early.var, -1),)):
            return kernels
    return None


def _moved(between: Sequence[Kernel], early: _Run, late: _Run) -> tuple[tuple[Kernel, ...], tuple[Kernel, ...]] | None:
    """What stands between two loops, before both and after them; None where their order does not allow it."""
    before: list[Kernel] = []
    after: list[Kernel] = []
    for kernel in between:
        if any(isinstance(one, Check) for one, _ in kernel.statements):
            return None
        own = _Run((kernel,))
        if not _meet(own, late):
            after.append(kernel)
        elif _meet(own, early) or _meet(own, _Run(tuple(after))):
            return None
        else:
            before.append(kernel)
    return tuple(before), tuple(after)


def _meet(one: _Run, other: _Run) -> bool:
    """Whether either writes what the other one touches."""
    return not (
        one.touched(True).isdisjoint(other.touched(True) | other.touched(False))
        and other.touched(True).isdisjoint(one.touched(False))
    )


def _touched(kernels: Sequence[Kernel], written: bool) -> Iterator[Buffer]:
    for kernel in kernels:
        for access, writes, _ in kernel.accesses:
            if writes == written:
                yield access.buffer.base or access.buffer


def _accesses(kernels: Sequence[Kernel], buffers: set[Buffer]) -> Iterator[tuple[Access, bool, tuple[Var, ...]]]:
    """The accesses to buffers, by whatever shape."""
    for kernel in kernels:
        yield from (one for one in kernel.accesses if (one[0].buffer.base or one[0].buffer) in buffers)


def _step(access: Access) -> Affine:
    """The place on the first axis; that of no step for another shape of a buffer."""
    first = access.index[0] if access.index and access.buffer.base is None else None
    return first if isinstance(first, Affine) else Affine()
