"""Contestants in processes of their own, on one core and one thread, in turn.

All processes of a workload are alive at once and wait for their turn on standard input, so a machine that drifts slows
them alike. A workload that is `fresh` gets a new process for every sample.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import inputs
from .contestants import CONTESTANTS, Contestant
from .workloads import Workload

ROOT = Path(__file__).resolve().parents[2]
LIMIT = ROOT.parent / "shared" / "bench" / "limit.cpp"
FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=512", "-w")
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
    "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "TGNN_CACHE": "off",
}
NARROWER: dict[str, dict[str, str]] = {  # what makes every contestant leave instructions unused
    "native": {},
    "avx2": {
        "TGNN_CPU": "avx2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4,AVX512_ICL,AVX512_SPR",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
        "BENCH_FLAGS": "-march=haswell",
    },
    "sse": {
        "TGNN_CPU": "sse",
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3,X86_V4,AVX512_ICL,AVX512_SPR",
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2",
        "BENCH_FLAGS": "-march=nehalem",
    },
}
PATIENCE = 300.0  # seconds until a silent contestant is given up


@dataclass(frozen=True)
class Effort:
    """How much to measure: rounds, seconds of one sample, seconds of all samples of a contestant."""

    rounds: int = 7
    sample: float = 0.4
    total: float = 20.0


QUICK = Effort(rounds=3, sample=0.05, total=2.0)


@dataclass
class Measured:
    """What came of one contestant: `amounts` is one number per round, in the workload's unit; `left_out` says why
    there is none. `values` maps a number of iterations to the loss (and scores) after them.
    """

    contestant: str
    iterations: int = 0
    amounts: list[float] = field(default_factory=list)
    values: dict[int, list[float]] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)
    left_out: str | None = None
    wrong: str | None = None

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.amounts)


class Absent(Exception):
    """The contestant does not do this workload."""


class Failed(Exception):
    """The contestant's process ended or said nothing."""


class Worker:
    """The process of a contestant."""

    def __init__(self, contestant: Contestant, function: str, scratch: Path, core: int) -> None:
        extra = {key: value.format(scratch=scratch) for key, value in contestant.env.items()}
        file = str(inputs.write(function, scratch))
        flags = " ".join(filter(None, (ONE_THREAD["XLA_FLAGS"], os.environ.get("XLA_FLAGS"))))
        env = {**os.environ, **ONE_THREAD, "XLA_FLAGS": flags, "BENCH_LIMIT": str(scratch / "limit"), **extra}
        self.errors = tempfile.TemporaryFile("w+", dir=scratch, encoding="utf-8")  # noqa: SIM115  closed in stop
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker", contestant.name, function, file, str(core)],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        try:
            ready = self._answer()
        except Failed:
            self.stop()
            raise
        if "absent" in ready:
            self.stop()
            raise Absent
        self.notes: dict[str, float] = ready["notes"]

    def run(self, mode: str, iterations: int) -> tuple[float, list[float]]:
        """One sample: amount and values."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{mode} {iterations}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failed(self._reason()) from None
        found = self._answer()
        return found["amount"], found["values"]

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        silent = threading.Timer(PATIENCE, self.process.kill)
        silent.start()
        line = self.process.stdout.readline()
        silent.cancel()
        if not line:
            raise Failed(self._reason())
        return json.loads(line)

    def _reason(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors.read().splitlines() if line.strip()]
        return lines[-1][:200] if lines else f"ended with code {code}"


def build_limit(scratch: Path, source: Path = LIMIT) -> str | None:
    """Compile limit.cpp to `scratch/limit`; why not, in words."""
    compiler = next(filter(None, map(shutil.which, ("g++", "clang++", "c++"))), None)
    if not source.is_file():
        return f"no file {os.path.relpath(source, ROOT)}"
    if compiler is None:
        return "no C++ compiler: apt-get install g++"
    command = [compiler, *FLAGS, *os.environ.get("BENCH_FLAGS", "").split(), str(source), "-o", str(scratch / "limit")]
    if compiler.endswith("clang++"):
        command.remove("-mprefer-vector-width=512")
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"does not compile: {found.stderr.strip().splitlines()[-1:]}" if found.returncode else None


def one_core() -> int:
    """The core all contestants run on, or -1 where processes cannot be bound to one."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else -1


def measure(
    workload: Workload, names: Sequence[str], effort: Effort, scratch: Path, absent: dict[str, str]
) -> list[Measured]:
    """All contestants of a workload. `absent` says who cannot take part, and why."""
    found = []
    running: list[tuple[Measured, Contestant]] = []
    for name in names:
        contestant, one = CONTESTANTS[name], Measured(name)
        if contestant.only and workload.name not in contestant.only:
            continue
        found.append(one)
        one.left_out = absent.get(name)
        if one.left_out is None:
            running.append((one, contestant))
    turns = _fresh if workload.fresh else _steady
    dropped = turns(workload, running, effort, scratch)
    return [one for one in found if one not in dropped]


def _scaled(workload: Workload, amount: float, iterations: int) -> float:
    return workload.scale * amount * (workload.iterations if workload.whole else 1) / iterations


def _steady(
    workload: Workload, running: list[tuple[Measured, Contestant]], effort: Effort, scratch: Path
) -> list[Measured]:
    workers: list[tuple[Measured, Worker]] = []
    dropped = []
    core = one_core()
    try:
        for one, contestant in running:
            try:
                worker = Worker(contestant, workload.function, scratch, core)
                workers.append((one, worker))
                one.notes = worker.notes
                _, one.values[workload.check] = worker.run("time", workload.check)
                seconds, _ = worker.run("time", workload.check)
                one.iterations = affordable(workload, seconds, effort)
                if workload.rows and one.iterations != workload.check:  # compiled anew for so many rows
                    worker.run("time", min(one.iterations, workload.rows))
            except Absent:
                dropped.append(one)
            except Failed as error:
                one.left_out = f"failed: {error}"
        spent = dict.fromkeys((one.contestant for one, _ in workers), 0.0)
        for _ in range(effort.rounds):
            for one, worker in workers:
                if one.left_out or spent[one.contestant] > effort.total:
                    continue
                try:
                    amount, one.values[one.iterations] = worker.run("time", one.iterations)
                except Failed as error:
                    one.left_out = f"failed: {error}"
                    continue
                spent[one.contestant] += amount
                one.amounts.append(_scaled(workload, amount, one.iterations))
    finally:
        for _, worker in workers:
            worker.stop()
    return dropped


def affordable(workload: Workload, seconds: float, effort: Effort) -> int:
    """Iterations of a sample: all of them, or as many as fit into the budget, a round multiple."""
    wanted = workload.longer * effort.sample / max(seconds, 1e-9) * workload.check
    rounds = [m * 10**k for k in range(8) for m in (1, 2, 5)]
    steps = [n * workload.check for n in rounds]
    if workload.rows:
        steps = [n for n in steps if n < workload.rows] + [n * workload.rows for n in rounds]
    fitting = [n for n in steps if n <= wanted]
    return workload.iterations if wanted >= workload.iterations else max([workload.check, *fitting])


def _fresh(
    workload: Workload, running: list[tuple[Measured, Contestant]], effort: Effort, scratch: Path
) -> list[Measured]:
    dropped: list[Measured] = []
    spent = dict.fromkeys((one.contestant for one, _ in running), 0.0)
    for number in range(effort.rounds):
        for one, contestant in running:
            if one in dropped or one.left_out or spent[one.contestant] > effort.total:
                continue
            try:
                if contestant.filled and number == 0:
                    _once(workload, contestant, scratch)
                amount, values, notes, seconds = _once(workload, contestant, scratch)
            except Absent:
                dropped.append(one)
                continue
            except Failed as error:
                one.left_out = f"failed: {error}"
                continue
            one.iterations, one.notes = workload.iterations, notes
            one.values[workload.iterations] = values
            spent[one.contestant] += seconds
            one.amounts.append(_scaled(workload, amount, one.iterations))
    return dropped


def _once(
    workload: Workload, contestant: Contestant, scratch: Path
) -> tuple[float, list[float], dict[str, float], float]:
    if workload.mode != "time" and contestant.name == "limit":
        raise Absent
    worker = Worker(contestant, workload.function, scratch, one_core())
    try:
        start = time.perf_counter()
        if workload.mode == "memory":
            worker.run("time", workload.check)
        amount, values = worker.run(workload.mode, workload.iterations)
        return amount, values, worker.notes, time.perf_counter() - start
    finally:
        worker.stop()
