"""About how many cycles a program takes: what chooses between two programs that do the same, without a clock.

A kernel takes as long as its operations need to be begun, two at a time, or its loads and stores, or its longest chain
of steps that wait for each other, whatever is most: in a small model it is the chain. What has no room in the first
cache has to come from the next ones. The numbers are those of today's processors, and rough; two programs for one
machine are all they compare.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Final

from ..loopir.ir import Buffer, Kernel
from ..loopir.program import Region, Repeat, Span
from ..schedule.schedule import Schedule
from ..target import FIRST, SECOND, THIRD
from .code import Block, Call, Check, Expanded, Gemm, Loop, Part, Statement, Store, Value, When

PORTS: Final = 2.0  # operations that begin in a cycle, and as many loads
WINDOW: Final = 300  # steps that a processor looks ahead
SCALAR: Final = 0.1  # operations that one on scalars counts: there are other units for those
LANE: Final = 1.5  # of a scattered load or store, for each lane
STEPS: Final[Mapping[str, float]] = {  # of other operations than 1
    "div": 12.0, "sqrt": 16.0, "address": 0.0, "start": 0.0, "const": 0.0, "steps": 0.0, "given": 0.0, "quotient": 25.0,
    "remainder": 25.0,
}  # fmt: skip
LATENCY: Final[Mapping[str, float]] = {
    "load": 6.0, "div": 14.0, "sqrt": 18.0, "splat": 3.0, "half": 3.0, "first": 2.0, "any": 4.0, "where": 2.0,
    "quotient": 25.0, "remainder": 25.0,
}  # fmt: skip
STORED: Final = 5.0  # cycles from a store to a load of the same place
BYTES: Final = ((FIRST, 0.0), (SECOND, 1 / 256), (SECOND + THIRD, 1 / 24))  # cycles a byte where all fits so many,
FAR: Final = 1 / 8  # and where it does not


@dataclass(frozen=True, slots=True)
class Time:
    """The operations of a body, its loads and stores, and the cycles of its longest chain of steps."""

    operations: float
    moves: float
    chain: float

    @property
    def begun(self) -> float:
        """Cycles till all have begun."""
        return max(self.operations, self.moves) / PORTS

    @property
    def cycles(self) -> float:
        """Of the whole."""
        return max(self.begun, self.chain)


def cycles(expanded: Expanded) -> float:
    """The cycles of one epoch of a run that is evaluated, or of a call."""
    return _Clock(expanded.schedule.width).sequence(expanded.body) + _moved(expanded.schedule)


class _Clock:
    """Looks through steps for vectors of so many bytes."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.functions: dict[int, float] = {}

    def sequence(self, body: Sequence[Statement]) -> float:
        """Kernels one after the other, each of which waits for the one before."""
        total = 0.0
        for one in body:
            if isinstance(one, Loop):
                total += _rounds(one) * self.sequence(one.body)
            elif isinstance(one, Block):
                total += self.body(one.body).cycles
            elif isinstance(one, Call):
                if id(one.function) not in self.functions:
                    self.functions[id(one.function)] = self.body(one.function.body).cycles
                total += self.functions[id(one.function)]
            elif isinstance(one, (Part, When)):
                total += self.sequence(one.body)
        return total

    def body(self, body: Sequence[Statement], inside: Sequence[Value] = ()) -> Time:
        """The steps of a kernel or of a round of one of its loops; with values `inside` the chain is the longest of
        those that begin with one of them.
        """
        done: dict[Value, float] = dict.fromkeys(inside, 0.0)
        stored: dict[Buffer, float] = {}
        operations = moves = chain = 0.0
        for one in body:
            if isinstance(one, Loop):
                time = self.loop(one)
                ready = max((done[c.before] for c in one.carried if c.before in done), default=0.0)
                if not inside:
                    done.update((c.result, ready + time.chain) for c in one.carried)
                    chain = max(chain, ready + time.chain)
                operations, moves = operations + time.operations, moves + time.moves
                continue
            operations, moves = operations + self.operations(one), moves + self.moves(one)
            if isinstance(one, Value):
                known = [done[x] for x in one.args if x in done]
                if one.op == "load" and not inside:
                    known.append(stored.get(one.args[0].buffer, 0.0))
                if known or not inside:
                    done[one] = max(known, default=0.0) + _latency(one)
                    chain = max(chain, done[one])
            elif isinstance(one, Store) and not inside:
                stored[one.address.buffer] = done.get(one.value, 0.0) + STORED
        return Time(operations, moves, chain)

    def loop(self, loop: Loop) -> Time:
        """All rounds of a loop. Where they are too many to be looked ahead of, what they carry is waited for."""
        rounds, once = _rounds(loop), self.body(loop.body)
        chain, carried = once.chain, [c.inside for c in loop.carried if c.inside.dtype.kind == "f"]
        if carried:
            again = self.body(loop.body, carried).chain
            chain += (rounds - 1) * again
        operations, moves = rounds * once.operations, rounds * once.moves
        waits = PORTS * chain if operations + moves > WINDOW else 0.0
        return Time(max(operations, waits), moves, chain)

    def operations(self, one: Statement) -> float:
        """The operations that a statement counts."""
        if isinstance(one, Check):
            return SCALAR
        if isinstance(one, Gemm):
            return prod(one.sizes) / self.lanes(one.target)
        if not isinstance(one, Value) or one.op == "load" or (one.op == "splat" and one.args[0].op == "load"):
            return 0.0
        return STEPS.get(one.op, 1.0) * (self.vectors(one) if one.lanes else SCALAR)

    def moves(self, one: Statement) -> float:
        """Loads and stores."""
        if isinstance(one, Store):
            value, address = one.value, one.address
        elif isinstance(one, Value) and one.op == "load":
            value, address = one, one.args[0]
        else:
            return 0.0
        if address.lanes:
            return LANE * address.lanes
        return float(self.vectors(value)) if value.lanes else 1.0

    def lanes(self, value: Value) -> float:
        """Of one vector."""
        return max(1.0, self.width / value.dtype.itemsize)

    def vectors(self, value: Value) -> int:
        """How many vectors a value is."""
        return ceil(max(value.lanes, *(x.lanes for x in value.args), 0) / self.lanes(value))


def _latency(value: Value) -> float:
    """Cycles from the operands of a step to its result."""
    if value.op in LATENCY:
        return LATENCY[value.op]
    if STEPS.get(value.op) == 0.0:
        return 0.0
    return 4.0 if value.dtype.kind == "f" else 1.0


def _rounds(loop: Loop) -> float:
    """How often a loop runs; one whose rounds are known only when it runs counts once."""
    stop = loop.stop
    if stop.op == "where":  # of whole batches
        stop = stop.args[2]
    if stop.op != "const" or loop.start is not None:
        return 1.0
    return float(ceil(int(stop.data) / loop.step))


def _moved(schedule: Schedule) -> float:
    """The cycles that it takes to bring what kernels touch to the first cache, and to write it back."""
    total = 0.0
    for often, kernels in _runs(schedule, schedule.program.regions):
        touched = [_touched(kernel) for kernel in kernels]
        whole = sum({buffer: size for one in touched for buffer, size in one.items()}.values())
        each = next((cost for room, cost in BYTES if whole <= room), FAR)
        total += often * each * sum(sum(one.values()) for one in touched)
    return total


def _runs(schedule: Schedule, regions: Sequence[Region], often: float = 1.0) -> Iterator[tuple[float, list[Kernel]]]:
    """Kernels that run one after the other, so often: those of an innermost repetition or of what stands beside one."""
    beside: list[Kernel] = []
    for region in regions:
        if isinstance(region, Span):
            beside += schedule.program.kernels[region.start : region.stop]
        else:
            rounds = region.var.extent if isinstance(region, Repeat) and region.count is None else 1
            yield from _runs(schedule, region.body, often * rounds)
    if beside:
        yield often, beside


def _touched(kernel: Kernel) -> dict[Buffer, int]:
    """The bytes of each buffer that a kernel touches at most."""
    found: dict[Buffer, int] = {}
    for access, _, around in kernel.accesses:
        reached = prod(var.extent for var in around)
        size = min(reached, prod(access.buffer.shape)) * access.buffer.dtype.itemsize
        buffer = access.buffer.base or access.buffer
        found[buffer] = max(found.get(buffer, 0), size)
    return found
