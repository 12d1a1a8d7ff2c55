"""`History`: what a training run recorded. Columns are NumPy arrays with one entry per epoch, or per evaluation.

`metadata` says how the run came about (seed, versions, CPU, command line), so that a figure can be traced back.
"""

from __future__ import annotations

import csv
import io
import math
import os
import platform
import sys
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from .errors import ConfigError, DataError, UnknownName, message, printable
from .snapshots import Snapshots
from .support.bundle import bundle
from .support.extras import require
from .support.files import as_path, write_atomic, write_figure
from .support.notebook import Curve, pictures
from .support.settings import check_kinds, is_number, is_whole, mapping, shown, typed
from .support.tables import html_table, html_text, text_table

StrPath = str | os.PathLike[str]
_INT: Final = frozenset((int,))
_COLUMNS = ("_per_epoch", "_per_evaluation")
_ENDS: Final = 4  # epochs shown at either end of a long history
_WIDTH: Final = 100  # characters of a line of it in a terminal
_SMALLER: Final = frozenset(("loss", "mae", "mse", "rmse", "mape", "error", "nll", "brier", "ece", "perplexity"))
_LARGER: Final = frozenset(("acc", "accuracy", "precision", "recall", "f1", "auc", "r2", "within", "score"))


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


@cache
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
    `epoch` (from 1) and the `batch` (from 0; None for a score). `snapshots` has the state by epoch, where `fit`
    was to keep it.

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
    snapshots: Snapshots = field(default_factory=Snapshots, compare=False, repr=False)

    def log_epoch(self, values: Mapping[str, float]) -> None:
        """Add the entries of one epoch. A name that is new has NaN in the epochs before, one that is missing in this.
        """
        _check_values(values)
        self.log_epochs({name: [value] for name, value in values.items()}, 1)

    def log_evaluation(self, values: Mapping[str, float]) -> None:
        """Add the entries of an evaluation after the epoch logged last."""
        _check_values(values)
        self.log_evaluations([self.epochs], {name: [value] for name, value in values.items()})

    @typed
    def log_epochs(self, columns: Mapping[str, list[float]], count: int | None = None) -> None:
        """Add the entries of several epochs: a list per column, `count` or all of one length."""
        added = _height(columns)
        if count is not None and columns and count != added:
            raise DataError(message("history", f"{added} entries for {count} epochs", "as many of each"))
        _extend(self._per_epoch, columns, self.epochs, added)
        self.epochs += added

    @typed
    def log_evaluations(self, epochs: list[int], columns: Mapping[str, list[float]]) -> None:
        """Add the entries of evaluations after these epochs: a list per column."""
        clash = sorted(set(columns) & set(self._per_epoch))
        if clash:
            raise DataError(message("evaluate", f"the name {clash[0]!r}", "a name that the training step does not use"))
        if not isinstance(epochs, list) or not (_INT.issuperset(map(type, epochs)) or all(map(is_whole, epochs))):
            raise DataError(message("history", f"epochs {shown(epochs)}", "a list of epoch numbers"))
        if columns and _height(columns) != len(epochs):
            got = f"{_height(columns)} entries for {len(epochs)} evaluations"
            raise DataError(message("history", got, "as many of each"))
        _extend(self._per_evaluation, columns, len(self.evaluated), len(epochs))
        self.evaluated += epochs

    def __getitem__(self, name: str) -> Any:
        for columns in (self._per_epoch, self._per_evaluation):
            if isinstance(name, str) and name in columns:
                return np.array(columns[name])
        raise self._unknown(name)

    def _unknown(self, name: Any) -> UnknownName:
        """The error of a name that no column has."""
        known = ", ".join(map(repr, self)) or "nothing yet"
        return UnknownName(message("history", f"the column {shown(name)}", f"one of {known}"))

    def __iter__(self) -> Iterator[str]:
        yield from self._per_epoch
        yield from self._per_evaluation

    def __len__(self) -> int:
        return len(self._per_epoch) + len(self._per_evaluation)

    def last(self) -> dict[str, float]:
        """The newest entry of every column."""
        columns = {**self._per_epoch, **self._per_evaluation}
        return {name: values[-1] for name, values in columns.items() if values}

    def state_dict(self) -> dict[str, Any]:
        """Everything recorded, for `tg.save`: columns as arrays."""
        own = {part.name: copy(getattr(self, part.name)) for part in fields(self) if part.name != "snapshots"}
        columns = {
            kind: {name: np.array(values, np.float64) for name, values in own[kind].items()} for kind in _COLUMNS
        }
        kept = {"snapshots": self.snapshots.state_dict()} if self.snapshots else {}
        return {**own, **columns, "evaluated": np.array(self.evaluated, np.int64), **kept}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state_dict."""
        own = [part.name for part in fields(self) if part.name != "snapshots"]
        state_dict = dict(mapping("History", state_dict))
        kept, snapshots = state_dict.pop("snapshots", None), Snapshots()
        check_kinds("History", state_dict, {name: value for name, value in self.state_dict().items() if name in own})
        if kept is not None:
            snapshots.load_state_dict(kept)
        if not isinstance(state_dict["stopped"], str | None):
            raise ConfigError(message("History", f"a state whose stopped is {shown(state_dict['stopped'])}", "a text"))
        evaluated = _numbers("evaluated", state_dict["evaluated"], "iu")
        given = {kind: state_dict[kind].items() for kind in _COLUMNS}
        columns = {kind: {name: _numbers(name, values) for name, values in given[kind]} for kind in _COLUMNS}
        for kind, height in zip(_COLUMNS, (state_dict["epochs"], len(evaluated)), strict=True):
            _check_values(dict.fromkeys(columns[kind], 0.0))
            for name, values in columns[kind].items():
                if len(values) != height:
                    got = f"{len(values)} entries of {shown(name)} for {height} of its kind"
                    raise ConfigError(message("History", got, "as many of each"))
        for name in own:
            setattr(self, name, copy(state_dict[name]))
        self.evaluated, self.snapshots = evaluated, snapshots
        for kind in _COLUMNS:
            setattr(self, kind, columns[kind])

    @typed
    def has(self, name: str, epoch: int) -> bool:
        """Whether a column has an entry of this epoch: that of a score has those of the evaluated epochs alone."""
        if name in self._per_evaluation:
            place = bisect_left(self.evaluated, epoch)
            return place < len(self.evaluated) and self.evaluated[place] == epoch
        return name in self._per_epoch and 1 <= epoch <= self.epochs

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
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *map(printable, self)])
        writer.writerows([row["epoch"], *(row[name] for name in self)] for row in self.rows())
        write_atomic(as_path("to_csv", path), text.getvalue().encode(), "to_csv")

    def to_frame(self) -> Any:
        """The rows as a polars data frame (extra `data`)."""
        rows = [{printable(name): value for name, value in row.items()} for row in self.rows()]
        return require("polars", "data").DataFrame(rows)

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
            write_figure(figure, path, "plot")
        return figure

    def best(self) -> dict[str, tuple[float, int]]:
        """The best entry of every column whose name says what is better, and its epoch: the smallest loss or error, the
        largest accuracy, F1, R2, ... Entries that are NaN do not count.

        >>> history = History()
        >>> history.log_epochs({"loss": [0.5, 0.2, 0.3], "lr": [0.1, 0.1, 0.1]})
        >>> history.best()
        {'loss': (0.2, 2)}
        """
        found = {}
        for name in self:
            sign = direction(name)
            values = sign * self[name]
            if sign and not np.isnan(values).all():
                place = int(np.nanargmin(values))
                found[name] = (float(self[name][place]), self.evaluated[place] if self.is_score(name) else place + 1)
        return found

    def is_score(self, name: str) -> bool:
        """Whether a column has an entry per evaluation, not per epoch. Raises UnknownName."""
        if not isinstance(name, str) or name not in self:
            raise self._unknown(name)
        return name in self._per_evaluation

    def _head(self) -> str:
        """What can be said in a line: epochs, seconds, why it ended."""
        parts = [f"History: {self.epochs:,} epoch{'s' * (self.epochs != 1)}"]
        if "seconds" in self.metadata:
            spent = self.metadata.get("compile", {})
            compiled = sum(seconds for seconds in spent.values() if isinstance(seconds, float))
            share = f", {compiled:.3g} s of it compiling" if compiled else ""
            parts.append(f" in {self.metadata['seconds']:.3g} s{share}")
        return printable("".join(parts) + (f"; ended: {self.stopped}" if self.stopped else ""))

    def _table(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """The first epochs and the last ones, and the best values."""
        place = {epoch: k for k, epoch in enumerate(self.evaluated)}
        shown = list(range(1, self.epochs + 1))
        if self.epochs > 2 * _ENDS + 1:
            shown = [*shown[:_ENDS], 0, *shown[-_ENDS:]]
        rows: list[tuple[str, ...]] = [("epoch", *names)]
        for epoch in shown:
            cells = []
            for name in names:
                at = place.get(epoch, -1) if self.is_score(name) else epoch - 1
                column = self._per_evaluation if self.is_score(name) else self._per_epoch
                cells.append("..." if not epoch else f"{column[name][at]:.5g}" if 0 <= at < len(column[name]) else "")
            rows.append((f"{epoch:,}" if epoch else "...", *cells))
        best = {name: value for name, value in self.best().items() if name in names} if self.epochs > 1 else {}
        if best:
            rows.append(("best", *(f"{best[name][0]:.5g}" if name in best else "" for name in names)))
            rows.append(("in epoch", *(f"{best[name][1]:,}" if name in best else "" for name in names)))
        return rows

    def __repr__(self) -> str:
        fitting = _fitting(list(self))
        lines = [self._head()]
        if fitting and self.epochs:
            lines.append(text_table(self._table(fitting)))
        if len(fitting) < len(self):
            lines.append(printable("and " + ", ".join(list(self)[len(fitting) :]), keep=""))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return html_text(self._head()) + self.picture() + (html_table(self._table(list(self))) if self.epochs else "")

    def picture(self) -> str:
        """The columns over the epochs as SVG, for a notebook: what falls, what rises and all else each on a scale."""
        groups: dict[int, list[Curve]] = {1: [], -1: [], 0: []}
        for name, values in ({**self._per_epoch, **self._per_evaluation} if self.epochs > 1 else {}).items():
            epochs = self.evaluated if self.is_score(name) else range(1, self.epochs + 1)
            groups[direction(name)].append((name, epochs, values))
        return pictures([*(group for group in (groups[1], groups[-1])), *([one] for one in groups[0])])

    _repr_mimebundle_ = bundle


def direction(name: str) -> int:
    """1 where the name of a column says that less is better, -1 where more is, 0 where it does not say."""
    words = set(name.lower().split("_"))
    return 1 if words & _SMALLER else -1 if words & _LARGER else 0


def _numbers(name: str, values: Any, kinds: str = "iuf") -> list[Any]:
    """A column of a state; raises ConfigError for what is no row of numbers."""
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in kinds:
        raise ConfigError(message("History", f"a state whose {shown(name)} is {shown(values)}", "an array of numbers"))
    found: list[Any] = values.tolist()
    return found


def _check_values(values: Any) -> None:
    """Raise DataError unless these are numbers by name."""
    for name, value in values.items() if isinstance(values, Mapping) else [(None, values)]:
        if not isinstance(name, str) or not is_number(value) or not _is_float(value):
            got = f"{shown(name)}: {shown(value)}" if name is not None else shown(value)
            raise DataError(message("history", got, "numbers by name"))


def _is_float(value: Any) -> bool:
    """Whether a float can hold a number."""
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _height(columns: Mapping[str, Sequence[float]]) -> int:
    """How many entries every column has; raises DataError where they differ."""
    for name, values in columns.items():
        if not isinstance(name, str) or not isinstance(values, (list, tuple, np.ndarray)):
            raise DataError(message("history", f"{shown(name)}: {shown(values)}", "lists of numbers by name"))
    heights = {len(values) for values in columns.values()}
    if len(heights) > 1:
        raise DataError(message("history", f"columns of {sorted(heights)} entries", "one length"))
    return max(heights, default=0)


def _extend(table: dict[str, list[float]], columns: Mapping[str, Sequence[float]], before: int, added: int) -> None:
    """Columns grow together: NaN stands where a name was not among those logged."""
    for name in dict.fromkeys((*table, *columns)):
        if name not in table:
            table[name] = [math.nan] * before
        table[name].extend(columns[name] if name in columns else [math.nan] * added)


def _fitting(names: list[str]) -> list[str]:
    """As many columns as a terminal has room for."""
    width = 10
    fitting: list[str] = []
    for name in names:
        width += 2 + max(len(name), 10)
        if width > _WIDTH and fitting:
            break
        fitting.append(name)
    return fitting
