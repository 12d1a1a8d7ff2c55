"""What `fit` calls after every epoch: early stopping, learning-rate schedules, logs. A plain function will do as
well.

A callback is any function `(run, logs) -> None`; `run` is the running fit (its `history`, `epoch`, `stop(reason)`),
`logs` the newest entry of every column. One that also has `begin(run)` or `end(run)` is told when training starts and
ends. One with `only_logs = True` looks at nothing but `run.epoch` and `logs`: a native run then calls it later, for
many epochs in a row.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from .errors import ConfigError, DataError, message
from .history import History
from .optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from .tensor import Tensor

logger = logging.getLogger("tinygrad_nn.fit")
Logs = Mapping[str, float]


class Run(Protocol):
    """What a callback may use of the running fit."""

    history: History
    epoch: int

    def stop(self, reason: str) -> None:
        """End training after this epoch."""


def monitored(name: str, logs: Logs, owner: str) -> float:
    """The value of a column; DataError naming the columns there are."""
    if name not in logs:
        raise DataError(message(owner, f"the column {name!r} to watch", "one of " + ", ".join(map(repr, logs))))
    return logs[name]


class EarlyStopping:
    """Stop when `monitor` has not improved by `min_delta` for `patience` epochs, and restore the best parameters.

    `parameters` are those to restore (`model.parameters()`, or the model itself); without them nothing is restored.
    The reason, with the best epoch, is in `history.stopped`.
    """

    def __init__(
        self,
        parameters: Any = (),
        monitor: str = "loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: Literal["min", "max"] = "min",
    ) -> None:
        if mode not in ("min", "max"):
            raise ConfigError(message("EarlyStopping", f"mode {mode!r}", "'min' or 'max'"))
        self.tensors: list[Tensor] = _tensors(parameters)
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.sign = 1.0 if mode == "min" else -1.0

    def begin(self, run: Run) -> None:
        """Forget an earlier run."""
        self.best, self.best_epoch = math.inf, 0
        self.kept: list[Any] = []

    def __call__(self, run: Run, logs: Logs) -> None:
        """Look at the newest value."""
        value = self.sign * monitored(self.monitor, logs, "EarlyStopping")
        if value < self.best - self.min_delta:
            self.best, self.best_epoch = value, run.epoch
            self.kept = [tensor.detach() for tensor in self.tensors]
        elif run.epoch - self.best_epoch >= self.patience:
            best = f"{self.monitor} {self.sign * self.best:.6g} of epoch {self.best_epoch}"
            run.stop(f"no better than {best} for {self.patience} epochs")

    def end(self, run: Run) -> None:
        """Put the best parameters back."""
        for tensor, value in zip(self.tensors, self.kept, strict=False):
            tensor.assign(value)


def _tensors(parameters: Any) -> list[Tensor]:
    state = getattr(parameters, "state_dict", None)
    if state is not None:  # buffers (running statistics) belong to the best epoch too
        return [*parameters.parameters(), *parameters.buffers()]
    return list(parameters)


class TerminateOnNaN:
    """Stop after an epoch that left a NaN or an infinity: in the column `monitor`, or without one in any column.

    `history.stopped` says which. A native run goes on for many epochs in a row, and back to the end of that one.

    >>> import tinygrad_nn as tg
    >>> history = tg.fit(
    ...     lambda x: x.sum() / 0, [1.0, 2.0], 5, progress=False, on_nonfinite="ignore", callbacks=[TerminateOnNaN()]
    ... )
    >>> history
    History: 1 epochs (loss is inf in epoch 1); last: loss inf
    """

    only_logs = True

    def __init__(self, monitor: str | None = None) -> None:
        self.monitor = monitor

    def found(self, logs: Logs) -> str | None:
        """The first of the columns it looks at that is not finite."""
        names = logs if self.monitor is None else (self.monitor,)
        return next((name for name in names if not math.isfinite(logs.get(name, 0.0))), None)

    def __call__(self, run: Run, logs: Logs) -> None:
        """Look at the newest values."""
        if self.monitor is not None:
            monitored(self.monitor, logs, "TerminateOnNaN")
        name = self.found(logs)
        if name is not None and run.history.stopped is None:
            run.stop(f"{name} is {logs[name]} in epoch {run.epoch}")


class Schedule:
    """Step a learning-rate schedule after every epoch; ReduceLROnPlateau gets the value of `monitor`."""

    def __init__(self, scheduler: LRScheduler | ReduceLROnPlateau, monitor: str = "loss") -> None:
        self.scheduler, self.monitor = scheduler, monitor

    def __call__(self, run: Run, logs: Logs) -> None:
        """One step."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(monitored(self.monitor, logs, "Schedule"))
        else:
            self.scheduler.step()


class LogLines:
    """One line per `every` epochs through `logging` (logger "tinygrad_nn.fit")."""

    only_logs = True

    def __init__(self, every: int = 1, level: int = logging.INFO) -> None:
        self.every, self.level = every, level

    def __call__(self, run: Run, logs: Logs) -> None:
        """Log the newest values."""
        if run.epoch % self.every == 0:
            logger.log(self.level, "epoch %d: %s", run.epoch, ", ".join(f"{k} {v:.6g}" for k, v in logs.items()))


class JsonLines:
    """One JSON object per epoch, appended to a file as it happens; the first line is the run's metadata."""

    only_logs = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def begin(self, run: Run) -> None:
        """Write the metadata."""
        self._append({"run": run.history.metadata})

    def __call__(self, run: Run, logs: Logs) -> None:
        """Write the newest values; NaN and inf, which JSON lacks, as null."""
        self._append({"epoch": run.epoch, **{k: v if math.isfinite(v) else None for k, v in logs.items()}})

    def _append(self, record: Mapping[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, default=str) + "\n")
        except OSError as error:
            raise DataError(
                message("JsonLines", f"{self.path}: {error.strerror}", "a file that can be written")
            ) from error
