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
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from .errors import ConfigError, DataError, message
from .history import History
from .optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from .settings import choice, integer, number
from .tensor import Tensor

logger = logging.getLogger("tinygrad_nn.fit")
Logs = Mapping[str, float]


class Run(Protocol):
    """What a callback may use of the running fit."""

    history: History
    epoch: int

    def stop(self, reason: str) -> None:
        """End training after this epoch."""


def shown(callback: object, *names: str) -> str:
    """A callback with some of its settings."""
    return f"{type(callback).__name__}({', '.join(f'{name}={getattr(callback, name)!r}' for name in names)})"


def monitored(name: str, logs: Logs, owner: str) -> float:
    """The value of a column; DataError naming the columns there are."""
    if name not in logs:
        raise DataError(message(owner, f"the column {name!r} to watch", "one of " + ", ".join(map(repr, logs))))
    return logs[name]


def _column(owner: str, name: Any) -> str:
    if not isinstance(name, str):
        raise ConfigError(message(owner, f"monitor {name!r}", "the name of a column of the history"))
    return name


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
        self.tensors: list[Tensor] = _tensors(parameters)
        self.monitor = _column("EarlyStopping", monitor)
        self.patience = integer("EarlyStopping", "patience", patience, least=0)
        self.min_delta = number("EarlyStopping", "min_delta", min_delta, least=0)
        self.sign = 1.0 if choice("EarlyStopping", "mode", mode, ("min", "max")) == "min" else -1.0

    def __repr__(self) -> str:
        return shown(self, "monitor", "patience", "min_delta")

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
    several = isinstance(parameters, Iterable) and not isinstance(parameters, Tensor)
    tensors = list(parameters) if several else [parameters]
    if not several or not all(isinstance(tensor, Tensor) for tensor in tensors):
        got = f"parameters of type {type(parameters).__name__}"
        raise ConfigError(message("EarlyStopping", got, "a module, or an iterable of tensors"))
    return tensors


class Schedule:
    """Step a learning-rate schedule after every epoch; ReduceLROnPlateau gets the value of `monitor`."""

    def __init__(self, scheduler: LRScheduler | ReduceLROnPlateau, monitor: str = "loss") -> None:
        if not isinstance(scheduler, (LRScheduler, ReduceLROnPlateau)):
            raise ConfigError(message("Schedule", f"a {type(scheduler).__name__}", "a learning-rate schedule"))
        self.scheduler, self.monitor = scheduler, _column("Schedule", monitor)

    def __repr__(self) -> str:
        return shown(self, "scheduler", "monitor")

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
        self.every = integer("LogLines", "every", every, least=1)
        self.level = integer("LogLines", "level", level)

    def __repr__(self) -> str:
        return shown(self, "every", "level")

    def __call__(self, run: Run, logs: Logs) -> None:
        """Log the newest values."""
        if run.epoch % self.every == 0:
            logger.log(self.level, "epoch %d: %s", run.epoch, ", ".join(f"{k} {v:.6g}" for k, v in logs.items()))


class JsonLines:
    """One JSON object per epoch, appended to a file as it happens; the first line is the run's metadata."""

    only_logs = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigError(message("JsonLines", f"path {path!r}", "the path of a file"))
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"JsonLines({str(self.path)!r})"

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
