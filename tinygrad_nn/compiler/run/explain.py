"""Where the time of a compiled function goes, kernel by kernel, and why a value is stored or computed again: what
`tg.explain` shows.

The kernels are compiled again, each inside a loop of its own, and timed on the arena as the kernels before them leave
that: an index must never be read where other values lie by now. So shares are those of warm caches.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Any, Final

from ...graph.scalar import FLOAT64, INT64, const, param, walk
from ...support.bundle import bundle
from ...support.tables import html_table, text_table
from ..driver import Compilation, build_schedule
from ..loopir.ir import (
    Access,
    Affine,
    Assign,
    Buffer,
    Gemm,
    Kernel,
    Let,
    Loop,
    Register,
    Store,
    Var,
    affine,
    expressions,
    leaves,
)
from ..loopir.ir import statements as all_statements
from ..loopir.program import Program, Region, Repeat, Span
from ..schedule.arena import Arena
from ..schedule.axes import times
from ..schedule.memory import ALIGNMENT, layout
from ..schedule.schedule import Schedule, schedule
from ..target import Target

WORK: Final = 2**22  # operations and bytes of all rounds that a kernel is timed for,
ROUNDS: Final = 5000  # which are so many at most
GIVEN: Final = frozenset(("input", "output", "update", "constant"))  # reasons that leave nothing to decide
VALUES: Final = ("values", "op", "shape", "is", "because")
HEADER: Final = ("kernel", "ops", "loops", "vector", "flops", "bytes", "ns", "share", "of peak")
FREE: Final = frozenset(("param", "const", "bits", "from_bits"))


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one kernel, which runs so many `times` in a call of the function; all figures are per call.
    `lines` are the modules and lines it comes from, where these are known.
    """

    name: str
    times: int
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    vector: str
    flops: int
    bytes: int
    seconds: float
    itemsize: int
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Value:
    """Results of an op with one shape, so many, which are stored, or computed again where they are read, and why."""

    count: int
    op: str
    shape: tuple[int, ...]
    stored: bool
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The rows of all kernels, this machine's peak in operations per second in float64, and the values between what
    comes in and what goes out of which it was decided whether they are stored; prints as tables of these and, where
    that is known, of the modules and lines that each kernel comes from.
    """

    rows: tuple[Row, ...]
    peak: float
    values: tuple[Value, ...]

    def _lines(self) -> list[tuple[str, ...]]:
        total = sum(row.seconds for row in self.rows) or 1.0
        lines: list[tuple[str, ...]] = [HEADER]
        for row in self.rows:
            rate = row.flops / row.seconds / (self.peak * 8 / row.itemsize) if row.seconds else 0.0
            lines.append(
                (
                    row.name,
                    ",".join(row.sources[:4]) + ("..." if len(row.sources) > 4 else ""),
                    (f"{row.times} * " if row.times > 1 else "") + _by(row.shape),
                    row.vector or "-",
                    str(row.flops),
                    str(row.bytes),
                    f"{1e9 * row.seconds:.0f}",
                    f"{100 * row.seconds / total:.0f}%",
                    f"{100 * rate:.0f}%",
                )
            )
        lines.append(("total", "", "", "", str(sum(r.flops for r in self.rows)), "", f"{1e9 * total:.0f}", "100%", ""))
        return lines

    def _places(self) -> list[tuple[str, ...]]:
        return [("kernel", "comes from"), *((row.name, "; ".join(row.lines)) for row in self.rows if row.lines)]

    def _decided(self) -> list[tuple[str, ...]]:
        lines = [
            (str(one.count), one.op, _by(one.shape), "stored" if one.stored else "computed again", one.why)
            for one in self.values
        ]
        return [VALUES, *lines]

    def __str__(self) -> str:
        decided = "\n\n" + text_table(self._decided(), range(1, 5)) if self.values else ""
        places = "\n\n" + text_table(self._places(), range(2)) if len(self._places()) > 1 else ""
        return text_table(self._lines(), range(4)) + decided + places

    __repr__ = __str__

    def _repr_html_(self) -> str:
        places = html_table(self._places()) if len(self._places()) > 1 else ""
        return html_table(self._lines()) + (html_table(self._decided()) if self.values else "") + places

    _repr_mimebundle_ = bundle


def _by(lengths: Sequence[int]) -> str:
    return "x".join(map(str, lengths)) or "-"


def explain_stages(made: Compilation, arena: Arena, placed: Compilation | None = None) -> Explanation:
    """Time the kernels of what was compiled on a copy of its arena, up to a check that does not hold, and list what was
    decided. `placed` is a compilation of the same that knows where kernels come from.
    """
    planned, target = made.schedule, made.target
    origins = {kernel.name: kernel.origins for kernel in (placed or made).schedule.program.kernels}
    timed = _Timed(planned, arena, target)
    rounds = times(planned.program)
    rows = []
    for position, kernel in enumerate(planned.program.kernels):
        row = _row(kernel, int(rounds[position]), timed.seconds(position), planned.width)
        rows.append(replace(row, lines=tuple(dict.fromkeys(map(str, origins.get(kernel.name, {}).values())))))
        if timed.run(position, 1):
            break
    return Explanation(tuple(rows), peak(target), _values(made))


class _Timed:
    """One function with every kernel in a loop, and numbers in memory that say how often each of them runs."""

    def __init__(self, planned: Schedule, arena: Arena, target: Target) -> None:
        self.kernels = planned.program.kernels
        program = planned.program
        counts = Buffer("rounds", (len(self.kernels),), INT64, "input")
        regions: list[Region] = []
        for position, kernel in enumerate(self.kernels):
            region: Region = Span(position, position + 1)
            for var in _variables(kernel):
                region = Repeat(var, (region,))
            regions.append(Repeat(Var("round", ROUNDS), (region,), Access(counts, (Affine(position),)), True))
        program = replace(program, buffers=(*program.buffers, counts), regions=tuple(regions))
        at = -(-planned.size // ALIGNMENT) * ALIGNMENT
        whole = replace(
            planned,
            program=program,
            layouts={**planned.layouts, counts: layout(counts, 0, 1)},
            offsets={**planned.offsets, counts: at},
            size=at + len(self.kernels) * INT64.itemsize,
            meeting=None,
        )
        self.code = build_schedule(whole, target)
        self.arena = Arena(whole.size, ())
        self.arena.memory[: planned.size] = arena.memory[: planned.size]
        self.counts = self.arena.view(whole.at(counts))

    def run(self, position: int, rounds: int) -> int:
        """One kernel so many times; what its check says."""
        self.counts[position] = rounds
        said = self.code.function(self.arena.address)
        self.counts[position] = 0
        return int(said)

    def seconds(self, position: int) -> float:
        """What a kernel takes, once. The memory is left as it was."""
        kernel, before = self.kernels[position], self.arena.memory.copy()
        turns = prod(var.extent for var in _variables(kernel))
        rounds = max(2, min(ROUNDS, WORK // max(1, _flops(kernel) + _bytes(kernel))) // turns)
        found = []
        for _ in range(5):
            started = time.perf_counter()
            self.run(position, rounds)
            found.append(time.perf_counter() - started)
        self.arena.memory[...] = before
        return min(found) / (rounds * turns)


def _values(made: Compilation) -> tuple[Value, ...]:
    """What was decided, equal ones counted: a deep model consists of equal layers."""
    every = (one for one in made.decisions if one.why not in GIVEN)
    counts = Counter((one.op, one.shape, one.stored, one.why) for one in every)
    return tuple(Value(count, *one) for one, count in counts.items())


def _variables(kernel: Kernel) -> list[Var]:
    """The variables of repetitions that a kernel uses."""
    found: dict[Var, None] = {}
    for one, around in all_statements(kernel.body):
        parts: list[Any] = leaves(*expressions(one)) + ([one.target] if isinstance(one, Store) else [])
        for leaf in parts:
            indices = leaf.index if isinstance(leaf, Access) else (leaf,)
            for index in indices:
                if isinstance(index, Affine):
                    found |= {var: None for var, _ in index.terms if var not in around}
    return list(found)


def _row(kernel: Kernel, rounds: int, seconds: float, width: int) -> Row:
    variables = dict.fromkeys(var for _, around in all_statements(kernel.body) for var in around)
    floats = (access.buffer.dtype.itemsize for access, _, _ in kernel.accesses if access.buffer.dtype.kind == "f")
    itemsize = max(floats, default=8)
    vector = f"{kernel.vector} x{width // itemsize}" if kernel.vector else ""
    tile = f" x{kernel.wide}" * (kernel.wide > 1) + "".join(f", {var} by {n}" for var, n in kernel.jam.items())
    sizes = [size for one, _ in kernel.statements if isinstance(one, Gemm) for size in _sizes(one)]
    return Row(
        kernel.name,
        rounds,
        kernel.sources,
        tuple(var.extent for var in variables) or tuple(sizes),
        vector + tile,
        _flops(kernel) * rounds,
        _bytes(kernel) * rounds,
        seconds * rounds,
        itemsize,
    )


def _flops(kernel: Kernel) -> int:
    flops = 0
    for one, around in kernel.statements:
        parts = [part.op for root in expressions(one) for part in walk(root)]
        work = sum(2 if op in ("fma", "muladd") else op not in FREE for op in parts)
        work += 2 * prod(_sizes(one)) if isinstance(one, Gemm) else 0
        flops += int(work * prod(var.extent for var in around))
    return flops


def _sizes(one: Gemm) -> tuple[int, ...]:
    return (*one.target.shape, one.x.shape[0 if one.tx else 1])


def _bytes(kernel: Kernel) -> int:
    touched = dict.fromkeys(access.buffer for access, _, _ in kernel.accesses)
    return sum(prod(b.shape) * b.dtype.itemsize for b in touched)


@cache
def peak(target: Target) -> float:
    """Floating-point operations per second of independent multiply-adds of registers in float64, measured once."""
    lanes = max(1, target.width // 8)
    rounds, chains = 4000, 12
    data = Buffer("x", (lanes * chains,), FLOAT64, "input")
    lane, chain, turn = Var("i", lanes), Var("c", chains), Var("t", rounds)
    total = Register("r", FLOAT64)
    own = Access(data, (Affine(0, ((chain, lanes), (lane, 1))),))
    factor = param(Access(data, (affine(lane),)), FLOAT64)
    value, one = param(total, FLOAT64), const(1.0, FLOAT64)
    step = Assign(total, value.fma(factor, one) if target.fuses(FLOAT64) else value * factor + one)
    body = (Let(total, param(own, FLOAT64)), Loop(turn, (step,)), Store(own, param(total, FLOAT64)))
    kernel = Kernel("peak", (Loop(chain, (Loop(lane, body),)),))
    program = Program((kernel,), (data,), (data,), (), (), (), (Span(0, 1),))
    planned = schedule(program, target.width, target.registers)
    shaped = replace(kernel, vector=lane, jam={chain: chains}, wide=1)
    planned = replace(planned, program=replace(planned.program, kernels=(shaped,)))
    code = build_schedule(planned, target)
    arena = planned.arena()
    times = []
    for _ in range(100):
        started = time.perf_counter()
        code.function(arena.address)
        times.append(time.perf_counter() - started)
    return 2.0 * rounds * chains * lanes / min(times)
