"""`python -m tests.benchmarks`: the contestants side by side; docs/benchmarks.md says how to read the figures.

`--eager` prints those of the eager framework alone instead. Best on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import report
from .contestants import CONTESTANTS
from .runner import NARROWER, QUICK, Effort, Measured, build_limit, measure
from .workloads import WORKLOADS


def names(known: Sequence[str], given: str) -> list[str]:
    """The names of a comma-separated list, in the order of the table."""
    wanted = [name.strip() for name in given.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"got {unknown[0]!r}; expected some of {', '.join(known)}")
    return [name for name in known if name in wanted]


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    known, peers = list(WORKLOADS), list(CONTESTANTS)
    p.add_argument("--only", type=lambda text: names(known, text), default=known, help="workloads: " + ",".join(known))
    p.add_argument("--contestants", type=lambda text: names(peers, text), default=peers, help=",".join(peers))
    p.add_argument("--quick", action="store_true", help="few rounds and short samples")
    p.add_argument("--target", choices=list(NARROWER), default="native", help="all as on a processor with less")
    p.add_argument("--out", type=Path, help="folder for Markdown, JSON and the chart (default: a temporary one)")
    p.add_argument("--eager", action="store_true", help="the figures of the eager framework instead")
    p.add_argument("--steps", type=int, default=100_000, help="with --eager: training steps of the memory figure")
    return p.parse_args(argv)


def main() -> None:
    """Measure and report."""
    options = parse()
    if options.eager:
        os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        from . import eager  # NumPy counts its threads when it is loaded

        eager.iris_step()
        eager.scalar_graph()
        eager.import_time()
        eager.memory(options.steps)
        return
    os.environ.update(NARROWER[options.target])
    effort = QUICK if options.quick else Effort()
    workloads = [WORKLOADS[name] for name in options.only]
    results: dict[str, list[Measured]] = {}
    with tempfile.TemporaryDirectory(prefix="tgnn-bench-") as folder:
        scratch = Path(folder)
        absent = {name: why for name in options.contestants if (why := CONTESTANTS[name].missing())}
        if "limit" in options.contestants and (why := build_limit(scratch)):
            absent["limit"] = why
        print(report.heading(), *([f"as {options.target}"] if options.target != "native" else []), flush=True)
        tables = []
        for workload in workloads:
            found = results[workload.name] = measure(workload, options.contestants, effort, scratch, absent)
            report.compare(workload, found)
            tables.append(report.table(workload, found))
            print("\n" + report.text(tables[-1:]), end="", flush=True)
    out = options.out or Path(tempfile.mkdtemp(prefix="tgnn-benchmarks-"))
    for line in report.write(workloads, results, tables, out):
        print(f"written: {line}" if Path(line).is_file() else line)
    if any(one.wrong for found in results.values() for one in found):
        sys.exit("contestants disagree: see MISMATCH above")


if __name__ == "__main__":
    main()
