"""`python -m tests.benchmarks.products`: matrix products alone, in percent of this machine's peak, beside a BLAS.

30 shapes, float32 and float64, operands as they are and transposed. The peak is that of multiply-adds of registers. Our
loops and the gemm that SciPy brings are called from machine code, many times in a row, one after the other in turns;
each has its fastest turn. TGNN_CPU=avx2 shows the loops for an older processor (a BLAS does not look at that).
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn.compiler import blas
from tinygrad_nn.compiler.codegen import native
from tinygrad_nn.compiler.codegen.native import Code
from tinygrad_nn.compiler.driver import build, build_schedule
from tinygrad_nn.compiler.job import Job, Part
from tinygrad_nn.compiler.loopir.ir import Var
from tinygrad_nn.compiler.loopir.program import Repeat
from tinygrad_nn.compiler.run.explain import peak
from tinygrad_nn.compiler.schedule.arena import Arena
from tinygrad_nn.compiler.target import Target
from tinygrad_nn.graph.graph import Graph

SQUARES: Final = (8, 12, 16, 24, 32, 48, 64, 96, 100, 128, 160, 200, 256, 320, 400, 512, 640, 784, 1000, 1024)
OTHERS: Final = (  # rows, products of a sum, columns
    (128, 784, 256), (784, 128, 256), (128, 256, 10), (128, 10, 256), (32, 64, 256), (256, 64, 192), (64, 29, 256),
    (2048, 25, 6), (256, 1024, 64), (1000, 64, 1000),
)  # fmt: skip
SHAPES: Final = (*((n, n, n) for n in SQUARES), *OTHERS)
TURN: Final = 3e-4  # seconds of a turn, about
SMALL: Final = 64  # side from which a product should reach 85 % of the peak


@dataclass(frozen=True, slots=True)
class Case:
    """A product (m, k) @ (k, n), and which of the operands lie transposed."""

    sizes: tuple[int, int, int]
    dtype: str
    flags: str

    @property
    def flops(self) -> int:
        """Operations."""
        return 2 * math.prod(self.sizes)

    def graph(self) -> Graph:
        """The product of two arguments."""
        (m, k, n), tx, ty = self.sizes, self.flags[0] == "t", self.flags[1] == "t"
        x, y = (tg.zeros(*shape, dtype=self.dtype) for shape in ((k, m) if tx else (m, k), (n, k) if ty else (k, n)))
        jitted = tg.jit(lambda x, y: (x.T if tx else x) @ (y.T if ty else y))
        graph: Graph = jitted.entry((x, y), {}).compiled.stages.graph
        return graph


class Contestant:
    """Machine code that computes a product, so often."""

    def __init__(self, graph: Graph, target: Target, rounds: int) -> None:
        planned = build(Job((Part(graph),), 2), target, last="schedule").schedule
        regions = (Repeat(Var("round", rounds), planned.program.regions, None, True),)
        program = replace(planned.program, regions=regions)
        self.code: Code = build_schedule(replace(planned, program=program), target)
        self.arena: Arena = planned.arena()
        rng = np.random.default_rng(0)
        for buffer in planned.program.inputs:
            self.arena.view(planned.at(buffer))[...] = rng.standard_normal(buffer.shape)
        self.rounds, self.best = rounds, math.inf

    def turn(self) -> None:
        """Run once."""
        began = time.perf_counter(), time.thread_time()
        self.code.function(self.arena.address)
        seconds = time.perf_counter() - began[0]
        if seconds > 10 * TURN:  # others had the processor meanwhile
            seconds = time.thread_time() - began[1]
        self.best = min(self.best, seconds / self.rounds)


def measured(case: Case, rate: float, budget: float) -> tuple[float, float]:
    """The shares of the peak that our loops and a BLAS reach."""
    graph, here = case.graph(), native.host()
    rounds = max(1, int(TURN * rate / case.flops))
    contestants = [Contestant(graph, replace(here, blas=use), rounds) for use in (False, True)]
    end = time.perf_counter() + budget
    turns = 0
    while turns < 5 or time.perf_counter() < end:
        turns += 1
        for one in contestants:
            one.turn()
    ours, other = (case.flops / one.best / rate for one in contestants)
    return ours, other


def main(argv: Sequence[str] | None = None) -> None:
    """Print a row for each product, and the means."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.products", description=__doc__)
    parser.add_argument("--dtype", nargs="*", default=["float32", "float64"])
    parser.add_argument("--flags", nargs="*", default=["nn", "nt", "tn", "tt"], help="which operands are transposed")
    parser.add_argument("--shapes", nargs="*", default=["x".join(map(str, shape)) for shape in SHAPES])
    parser.add_argument("--seconds", type=float, default=0.1, help="for each product")
    options = parser.parse_args(argv)
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        parser.error("set OPENBLAS_NUM_THREADS=1: this is about one thread")
    blas.FROM = 1  # type: ignore[misc]  # small ones too
    reached: list[tuple[float, float]] = []
    for dtype in options.dtype:
        rate = peak(native.host()) * 8 / np.dtype(dtype).itemsize
        print(f"{dtype}: peak {rate / 1e9:.0f} GF/s")
        for text in options.shapes:
            m, k, n = map(int, text.split("x"))
            for flags in options.flags:
                ours, other = measured(Case((m, k, n), dtype, flags), rate, options.seconds)
                low = min(m, k, n) >= SMALL and ours < 0.85
                print(
                    f"{text:>14} {flags} {ours:5.0%} of peak, {other / ours:5.2f} of a BLAS's time{' *' * low}",
                    flush=True,
                )
                reached.append((ours, other / ours))
    ratio = math.exp(sum(math.log(ratio) for _, ratio in reached) / len(reached))
    slower = sum(ratio > 1.1 for _, ratio in reached)
    print(f"{len(reached)} products, {ratio:.2f} of a BLAS's time (geometric mean), {slower} slower by more than 10 %")


if __name__ == "__main__":
    main()
