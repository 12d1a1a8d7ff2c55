"""A contestant in a process of its own: `python -m tests.benchmarks.worker CONTESTANT FUNCTION FILE CORE`.

Each line read is "MODE ITERATIONS"; each is answered with a line of JSON. Mode "time" trains from the first weights on;
"memory" does so too, and measures by how many MB the process grew. Whatever libraries print goes to the standard error.
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

    start = time.perf_counter()
    module = importlib.import_module(f"{__package__}.contestants.{CONTESTANTS[contestant].module}")
    notes = {"import, ms": 1e3 * (time.perf_counter() - start)}
    if function not in module.WORKLOADS:
        answer(absent=True)
        return
    with np.load(file) as arrays:
        run = module.WORKLOADS[function](Setting(contestant, dict(arrays), notes))
    answer(notes=notes)
    for line in sys.stdin:
        mode, count = line.split()
        before = resident() if mode == "memory" else 0.0
        sample = run(int(count))
        amount = resident() - before if mode == "memory" else sample.seconds
        answer(amount=amount, values=sample.values)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
