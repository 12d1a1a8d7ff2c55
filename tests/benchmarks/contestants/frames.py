"""polars by hand: a CSV file into arrays, and those cut where the name changes."""

from __future__ import annotations

import time

import numpy as np
import polars as pl

from . import Run, Sample, Setting, Table, fingerprint


def csv(setting: Setting) -> Run:
    """Reads. Neither order nor missing values are looked at."""

    def run(iterations: int) -> Sample:
        start = time.perf_counter()
        for _ in range(iterations):
            frame = pl.read_csv(setting.file)
            x = frame.select(pl.col("^x[0-9]+$")).to_numpy()
            y = frame.select(pl.col("^y[0-9]+$")).cast(pl.Float64).to_numpy()
            begins = np.flatnonzero(np.diff(frame["name"].rle_id().to_numpy())) + 1
            del frame
            sequences = np.split(x, begins), np.split(y, begins)
        return Sample(time.perf_counter() - start, fingerprint(*sequences))

    return run


WORKLOADS: Table = {"csv": csv}
