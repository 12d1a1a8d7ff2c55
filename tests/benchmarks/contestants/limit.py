"""The limit: training loops in C++ with vectors written by hand, for random data of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

from . import Run, Sample, Setting, Table

ENOUGH = {"iris": 200_000, "titanic": 200_000, "fraud-small": 200_000, "fraud-kaggle": 5}
"""Epochs that take long enough for the four decimals that limit.cpp prints."""


def timed(name: str, per_epoch: int = 1) -> Callable[[Setting], Run]:
    """A run of one of its loops, scaled to the iterations asked for, of which an epoch has `per_epoch`."""

    def run(iterations: int) -> Sample:
        epochs = max(iterations // per_epoch, ENOUGH[name])
        command = [os.environ["BENCH_LIMIT"], name, str(epochs)]
        line = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        fields = dict(part.split("=") for part in line.split()[1:])
        return Sample(float(fields["seconds"]) / (epochs * per_epoch) * iterations, [])

    return lambda setting: run


WORKLOADS: Table = {
    "iris": timed("iris"),
    "titanic": timed("titanic"),
    "fraud-small": timed("fraud-small"),
    "fraud-kaggle": timed("fraud-kaggle", 45_111),
}
