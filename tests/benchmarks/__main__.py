"""`python -m tests.benchmarks [--steps N]` prints the figures: run on one thread of a quiet machine."""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from . import eager


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000, help="training steps of the memory figure")
    options = parser.parse_args()
    eager.iris_step()
    eager.scalar_graph()
    eager.import_time()
    eager.memory(options.steps)


main()
