"""Where the time of a compiled function goes, kernel by kernel: what `tg.explain` shows.

Each kernel is compiled again by itself, inside a loop, and timed on the arena as the kernels before it leave that: an
index must never be read where other values lie by now. So shares are those of warm caches.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Any, Final

from ...graph.scalar import FLOAT64, const, param, walk
from ...support.tables import html_table, text_table
from ..codegen.native import Code
from ..driver import build_schedule
from ..loopir.ir import (
    Access,
    Affine,
    Assign,
    Buffer,
    Kernel,
    Let,
    Loop,
    Register,
    Store,
    Var,
    expressions,
    leaves,
)
from ..loopir.ir import statements as all_statements
from ..loopir.program import Program, Region, Repeat, Span
from ..schedule.arena import Arena
from ..schedule.axes import times
from ..schedule.schedule import Schedule, schedule
from ..target import Target

ROUNDS: Final = 200
HEADER: Final = ("kernel", "ops", "loops", "vector", "flops", "bytes", "ns", "share", "of peak")
FREE: Final = frozenset(("param", "const", "bits", "from_bits"))


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one kernel, which runs so many `times` in a call of the function; all figures are per call."""

    name: str
    times: int
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    vector: str
    flops: int
    bytes: int
    seconds: float
    itemsize: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """The rows of all kernels and this machine's peak in operations per second in float64; prints as a table."""

    rows: tuple[Row, ...]
    peak: float

    def _lines(self) -> list[tuple[str, ...]]:
        total = sum(row.seconds for row in self.rows) or 1.0
        lines: list[tuple[str, ...]] = [HEADER]
        for row in self.rows:
            rate = row.flops / row.seconds / (self.peak * 8 / row.itemsize) if row.seconds else 0.0
            lines.append(
                (
                    row.name,
                    ",".join(row.sources[:4]) + ("..." if len(row.sources) > 4 else ""),
                    (f"{row.times} * " if row.times > 1 else "") + ("x".join(map(str, row.shape)) or "-"),
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

    def __str__(self) -> str:
        return text_table(self._lines(), range(4))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(self._lines())


def explain_schedule(planned: Schedule, arena: Arena, target: Target) -> Explanation:
    """Time the kernels of a schedule on its arena, up to a check that does not hold. The arena is left as it was."""
    start = arena.memory.copy()
    rows = []
    rounds = times(planned.program)
    for position, kernel in enumerate(planned.program.kernels):
        before = arena.memory.copy()
        rows.append(_row(kernel, int(rounds[position]), _seconds(planned, position, arena, target), planned.width))
        arena.memory[...] = before
        once = _repeated(planned, position, 1, target)  # in a variable: it lives as long as its owner
        if once.function(arena.address):
            break
    arena.memory[...] = start
    return Explanation(tuple(rows), peak(target))


def _seconds(planned: Schedule, position: int, arena: Arena, target: Target) -> float:
    turns = prod(var.extent for var in _variables(planned.program.kernels[position]))
    rounds = max(2, ROUNDS // turns)
    code = _repeated(planned, position, rounds, target)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        code.function(arena.address)
        times.append(time.perf_counter() - started)
    return min(times) / (rounds * turns)


def _repeated(planned: Schedule, position: int, rounds: int, target: Target) -> Code:
    """The code of one kernel, so many times."""
    program = planned.program
    region: Region = Span(position, position + 1)
    for var in _variables(program.kernels[position]):
        region = Repeat(var, (region,))
    regions = (Repeat(Var("round", rounds), (region,), None, True),)
    return build_schedule(replace(planned, program=replace(program, regions=regions), meeting=None), target)


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
    flops = 0
    for one, around in all_statements(kernel.body):
        work = sum(2 if part.op == "fma" else part.op not in FREE for root in expressions(one) for part in walk(root))
        flops += int(work * prod(var.extent for var in around))
    touched = {access.buffer: access.buffer for access, _, _ in kernel.accesses}
    variables = dict.fromkeys(var for _, around in all_statements(kernel.body) for var in around)
    itemsize = max((b.dtype.itemsize for b in touched if b.dtype.kind == "f"), default=8)
    lanes = width // itemsize
    return Row(
        kernel.name,
        rounds,
        kernel.sources,
        tuple(var.extent for var in variables),
        f"{kernel.vector} x{lanes}" if kernel.vector else "",
        flops * rounds,
        rounds * sum(prod(b.shape) * b.dtype.itemsize for b in touched),
        seconds * rounds,
        itemsize,
    )


@cache
def peak(target: Target) -> float:
    """Floating-point operations per second of a loop of independent multiply-adds in float64, measured once."""
    lanes = max(1, target.width // 8)
    rounds, chains = 20000, 8
    data = Buffer("x", (lanes * chains,), FLOAT64, "input")
    lane, chain, turn = Var("i", lanes), Var("c", chains), Var("t", rounds)
    total = Register("r", FLOAT64)
    index = (Affine(0, ((chain, lanes), (lane, 1))),)
    x = param(Access(data, index), FLOAT64)
    step = Assign(total, param(total, FLOAT64).fma(x, const(1.0, FLOAT64)))
    body = (Let(total, x), Loop(turn, (step,)), Store(Access(data, index), param(total, FLOAT64)))
    kernel = Kernel("peak", (Loop(chain, (Loop(lane, body),)),))
    planned = schedule(Program((kernel,), (data,), (data,), (), (), (), (Span(0, 1),)), target.width)
    shaped = replace(planned.program.kernels[0], vector=lane, jam={chain: chains})
    planned = replace(planned, program=replace(planned.program, kernels=(shaped,)))
    code = build_schedule(planned, target)
    arena = planned.arena()
    times = []
    for _ in range(5):
        started = time.perf_counter()
        code.function(arena.address)
        times.append(time.perf_counter() - started)
    return 2.0 * rounds * chains * lanes / min(times)
