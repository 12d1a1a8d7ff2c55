"""The limit: training loops in C++ with vectors written by hand, for random data of its own."""

from __future__ import annotations

import os
import subprocess

from . import Run, Sample, Setting, Table

ENOUGH = {"iris": 200_000, "titanic": 200_000}
"""Epochs that take long enough for the four decimals that limit.cpp prints."""


def timed(name: str) -> Run:
    """A run of one of its loops, scaled to the epochs asked for."""

    def run(iterations: int) -> Sample:
        epochs = max(iterations, ENOUGH[name])
        command = [os.environ["BENCH_LIMIT"], name, str(epochs)]
        line = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        fields = dict(part.split("=") for part in line.split()[1:])
        return Sample(float(fields["seconds"]) / epochs * iterations, [])

    return run


def iris(setting: Setting) -> Run:
    """Epochs."""
    return timed("iris")


def titanic(setting: Setting) -> Run:
    """Epochs."""
    return timed("titanic")


WORKLOADS: Table = {"iris": iris, "titanic": titanic}
