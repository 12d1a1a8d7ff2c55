"""A contestant in a process of its own: `python -m tests.benchmarks.worker CONTESTANT FUNCTION FILE CORE`.

Each line read is "MODE ITERATIONS"; each is answered with a line of JSON. Mode "time" trains from the first weights on;
"memory" does so too, and measures by how many MB the process grew, and "peak" by how many it had grown at most.
Whatever libraries print goes to the standard error.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def resident() -> float:
    """Memory of this process, in MB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak() -> float:
    """The most memory of this process since `forget_peak`, in MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**10


def forget_peak() -> None:
    """Let `peak` begin anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main(contestant: str, function: str, file: str, core: int) -> None:
    """Serve until the input ends."""
    if core >= 0:
        os.sched_setaffinity(0, {core})
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**fields: Any) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    import numpy as np

    from .contestants import CONTESTANTS, Setting

    began = time.perf_counter()
    module = importlib.import_module(f"{__package__}.contestants.{CONTESTANTS[contestant].module}")
    notes = {"import, ms": 1e3 * (time.perf_counter() - began)}
    start = module.WORKLOADS.get(function)
    if start is None:
        answer(absent=True)
        return
    arrays = {}
    if file.endswith(".npz"):
        with np.load(file) as stored:
            arrays = dict(stored)
    run = start(Setting(contestant, arrays, notes, file))
    if run is None:
        answer(absent=True)
        return
    answer(notes=notes)
    for line in sys.stdin:
        mode, count = line.split()
        before = resident() if mode != "time" else 0.0
        if mode == "peak":
            forget_peak()
        sample = run(int(count))
        amount = {"memory": resident, "peak": peak}[mode]() - before if mode != "time" else sample.seconds
        answer(amount=amount, values=sample.values)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
