"""`History`: what a training run recorded. Columns are NumPy arrays with one entry per epoch, or per evaluation.

`metadata` says how the run came about (seed, versions, CPU, command line), so that a figure can be traced back.
"""

from __future__ import annotations

import csv
import html
import io
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DataError, message
from .extras import require
from .files import write_atomic

StrPath = str | os.PathLike[str]


def run_metadata(seed: int | None, **run: Any) -> dict[str, Any]:
    """Where and how a run takes place."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cpu": cpu_name(),
        "command": " ".join(sys.argv),
        **run,
    }


def cpu_name() -> str:
    """The processor's name; /proc knows it where platform.processor() says only the architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@dataclass
class History(Mapping[str, Any]):
    """Columns by name: `history["loss"]` per epoch, `history["test_acc"]` per evaluation.

    `evaluated` holds the epoch numbers (from 1) of the evaluations; `stopped` says why training ended early, if it did.
    `nonfinite` says where the first NaN or infinity was, if there was one: the `name` of the column, its `value`, the
    `epoch` (from 1) and the `batch` (from 0; None for a score).

    >>> history = History()
    >>> history.log_epoch({"loss": 0.5}); history.log_evaluation({"acc": 0.9})
    >>> history["loss"], history["acc"]
    (array([0.5]), array([0.9]))
    """

    metadata: dict[str, Any] = field(default_factory=dict)
    stopped: str | None = None
    nonfinite: dict[str, Any] | None = None
    epochs: int = 0
    evaluated: list[int] = field(default_factory=list)
    _per_epoch: dict[str, list[float]] = field(default_factory=dict)
    _per_evaluation: dict[str, list[float]] = field(default_factory=dict)

    def log_epoch(self, values: Mapping[str, float]) -> None:
        """Add the entries of one epoch."""
        self.epochs += 1
        for name, value in values.items():
            self._per_epoch.setdefault(name, []).append(value)

    def log_evaluation(self, values: Mapping[str, float]) -> None:
        """Add the entries of an evaluation after the epoch logged last."""
        clash = sorted(set(values) & set(self._per_epoch))
        if clash:
            raise DataError(message("evaluate", f"the name {clash[0]!r}", "a name that the training step does not use"))
        self.evaluated.append(self.epochs)
        for name, value in values.items():
            self._per_evaluation.setdefault(name, []).append(value)

    def log_epochs(self, columns: Mapping[str, list[float]]) -> None:
        """Add the entries of several epochs: a list per column."""
        self.epochs += max(map(len, columns.values()), default=0)
        for name, values in columns.items():
            self._per_epoch.setdefault(name, []).extend(values)

    def log_evaluations(self, epochs: list[int], columns: Mapping[str, list[float]]) -> None:
        """Add the entries of evaluations after these epochs: a list per column."""
        clash = sorted(set(columns) & set(self._per_epoch))
        if clash:
            raise DataError(message("evaluate", f"the name {clash[0]!r}", "a name that the training step does not use"))
        self.evaluated += epochs
        for name, values in columns.items():
            self._per_evaluation.setdefault(name, []).extend(values)

    def __getitem__(self, name: str) -> Any:
        for columns in (self._per_epoch, self._per_evaluation):
            if name in columns:
                return np.array(columns[name])
        known = ", ".join(map(repr, self)) or "nothing yet"
        raise KeyError(message("history", f"the column {name!r}", f"one of {known}"))

    def __iter__(self) -> Iterator[str]:
        yield from self._per_epoch
        yield from self._per_evaluation

    def __len__(self) -> int:
        return len(self._per_epoch) + len(self._per_evaluation)

    def last(self) -> dict[str, float]:
        """The newest entry of every column."""
        columns = {**self._per_epoch, **self._per_evaluation}
        return {name: values[-1] for name, values in columns.items() if values}

    def rows(self) -> list[dict[str, float | int | None]]:
        """One row per epoch; None where there was no evaluation."""
        place = {epoch: k for k, epoch in enumerate(self.evaluated)}
        table: list[dict[str, float | int | None]] = []
        for k in range(self.epochs):
            row: dict[str, float | int | None] = {"epoch": k + 1}
            row |= {name: values[k] for name, values in self._per_epoch.items()}
            at = place.get(k + 1)
            row |= {name: None if at is None else values[at] for name, values in self._per_evaluation.items()}
            table.append(row)
        return table

    def to_csv(self, path: StrPath) -> None:
        """Write one line per epoch; cells without an evaluation are empty. The file is written whole or not at all."""
        text = io.StringIO()
        writer = csv.DictWriter(text, ["epoch", *self], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows())
        write_atomic(Path(path), text.getvalue().encode())

    def to_frame(self) -> Any:
        """The rows as a polars data frame (extra `data`)."""
        return require("polars", "data").DataFrame(self.rows())

    def plot(self, *names: str, path: StrPath | None = None) -> Any:
        """Draw columns over epochs (default: all; rates and losses on their own axes); returns a matplotlib figure
        (extra `ui`).
        """
        chosen = names or tuple(self)
        for name in chosen:
            self[name]
        require("matplotlib", "ui")
        figure = require("matplotlib.figure", "ui").Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        losses = [name for name in chosen if "loss" in name or name in ("mae", "mse", "rmse")]
        others = [name for name in chosen if name not in losses]
        right = axes.twinx() if losses and others else axes
        for k, name in enumerate(chosen):
            side = axes if name in losses else right
            x = self.evaluated if name in self._per_evaluation else range(1, self.epochs + 1)
            side.plot(x, self[name], label=name, color=f"C{k}", marker="." if len(self[name]) < 30 else "")
        axes.set_xlabel("epoch")
        axes.set_ylabel(", ".join(losses or others))
        if right is not axes:
            right.set_ylabel(", ".join(others))
        figure.legend(loc="outside upper center", ncols=min(4, len(chosen)))
        axes.grid(alpha=0.3)
        if path is not None:
            figure.savefig(path)
        return figure

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {value:.4g}" for name, value in self.last().items())
        ended = f" ({self.stopped})" if self.stopped else ""
        return f"History: {self.epochs} epochs{ended}; last: {values or 'nothing'}"

    def _repr_html_(self) -> str:
        names = ["epoch", *self]
        table = self.rows()
        shown = table if len(table) <= 10 else [*table[:5], *table[-5:]]
        cells = "".join(
            "<tr>" + "".join(f"<td>{'' if row[name] is None else f'{row[name]:.5g}'}</td>" for name in names) + "</tr>"
            for row in shown
        )
        head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        return f"<p>{html.escape(repr(self))}</p><table><tr>{head}</tr>{cells}</table>"
