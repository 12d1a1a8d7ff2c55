"""What `fit` calls after every epoch: early stopping, learning-rate schedules, logs. A plain function will do as
well.

A callback is any function `(run, logs) -> None`; `run` is the running fit (its `history`, `epoch`, `stop(reason)`),
`logs` the newest entry of every column. One that also has `begin(run)` or `end(run)` is told when training starts and
ends. One with `only_logs = True` looks at nothing but `run.epoch` and `logs`: a native run then calls it later, for
many epochs in a row.

What a callback counts is part of a checkpoint if it has `state_dict()` and `load_state_dict(state)`, which is called
after `begin`.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from .errors import ConfigError, DataError, FileError, message, printable
from .history import History
from .optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from .serialize import checkpoint_path, packed
from .support.files import read, remove_leftovers, write_atomic
from .support.settings import check_kinds, choice, integer, is_iterable, number
from .support.settings import shown as named
from .tensor import Tensor

logger = logging.getLogger("tinygrad_nn.fit")
Logs = Mapping[str, float]


class Run(Protocol):
    """What a callback may use of the running fit.

    >>> import tinygrad_nn as tg
    >>> w = tg.zeros(1, requires_grad=True)
    >>> opt = tg.optim.SGD([w], lr=0.1)
    >>> def step(x, y):
    ...     opt.zero_grad()
    ...     loss = ((x * w - y) ** 2).mean()
    ...     loss.backward()
    ...     opt.step()
    ...     return loss
    >>> data = (tg.ones(6), 3 * tg.ones(6))
    >>> def show(run, logs):
    ...     print(run.epoch, sorted(logs))
    >>> _ = tg.fit(step, data, 2, progress=False, callbacks=[show])
    1 ['loss']
    2 ['loss']
    """

    history: History
    epoch: int

    epochs: int
    evaluates: bool
    irregular: bool
    source: Path | None

    def stop(self, reason: str) -> None:
        """End training after this epoch."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds now."""


def shown(callback: object, *names: str) -> str:
    """A callback with some of its settings."""
    return printable(f"{type(callback).__name__}({', '.join(f'{name}={getattr(callback, name)!r}' for name in names)})")


def monitored(name: str, run: Run, logs: Logs, owner: str) -> float | None:
    """The value of a column in this epoch, None where the epoch was not evaluated; DataError naming the columns there
    are.
    """
    history = run.history
    if name in logs:
        return logs[name] if history.has(name, run.epoch) else None
    if run.evaluates and not (history.evaluated and history.evaluated[0] <= run.epoch):
        return None  # a score, as far as anybody knows: the first evaluation is to come
    raise DataError(message(owner, f"the column {name!r} to watch", "one of " + ", ".join(map(repr, logs))))


def _column(owner: str, name: Any) -> str:
    if not isinstance(name, str):
        raise ConfigError(message(owner, f"monitor {named(name)}", "the name of a column of the history"))
    return name


class EarlyStopping:
    """Stop when `monitor` has not improved by `min_delta` for `patience` epochs, and restore the best parameters.

    A score is looked at in the epochs that are evaluated, with `eval_every=5` in every fifth.
    `parameters` are those to restore (`model.parameters()`, or the model itself); without them nothing is restored.
    The reason, with the best epoch, is in `history.stopped`.

    >>> import tinygrad_nn as tg
    >>> w = tg.zeros(1, requires_grad=True)
    >>> opt = tg.optim.SGD([w], lr=0.1)
    >>> def step(x, y):
    ...     opt.zero_grad()
    ...     loss = ((x * w - y) ** 2).mean()
    ...     loss.backward()
    ...     opt.step()
    ...     return loss
    >>> data = (tg.ones(6), 3 * tg.ones(6))
    >>> stop = tg.callbacks.EarlyStopping([w], monitor="loss", patience=2, min_delta=0.5)
    >>> history = tg.fit(step, data, 100, progress=False, callbacks=[stop])
    >>> len(history["loss"]) < 100
    True
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
        self.best, self.best_epoch = math.inf, 0
        self.kept: list[Any] = []

    def __repr__(self) -> str:
        return shown(self, "monitor", "patience", "min_delta")

    def begin(self, run: Run) -> None:
        """Forget an earlier run."""
        self.best, self.best_epoch, self.kept = math.inf, 0, []

    def __call__(self, run: Run, logs: Logs) -> None:
        """Look at the newest value."""
        measured = monitored(self.monitor, run, logs, "EarlyStopping")
        if measured is None:
            return
        value = self.sign * measured
        if value < self.best - self.min_delta:
            self.best, self.best_epoch = value, run.epoch
            self.kept = [tensor.detach().clone() for tensor in self.tensors]
        elif run.epoch - self.best_epoch >= self.patience:
            best = f"{self.monitor} {self.sign * self.best:.6g} of epoch {self.best_epoch}"
            run.stop(f"no better than {best} for {self.patience} epochs")

    def end(self, run: Run) -> None:
        """Put the best parameters back."""
        for tensor, value in zip(self.tensors, self.kept, strict=False):
            tensor.assign(value)

    def state_dict(self) -> dict[str, Any]:
        """The best value so far, its epoch, and the parameters of that epoch."""
        return {"best": self.best, "best_epoch": self.best_epoch, "kept": list(self.kept)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state_dict."""
        check_kinds("EarlyStopping", state_dict, {**self.state_dict(), "kept": []})
        kept = list(state_dict["kept"])
        shapes = [tuple(one.shape) if isinstance(one, Tensor) else None for one in kept]
        if kept and shapes != [tensor.shape for tensor in self.tensors]:
            got = f"kept parameters of shapes {named(shapes)}"
            raise ConfigError(message("EarlyStopping", got, "those of the parameters to restore"))
        self.best, self.best_epoch, self.kept = state_dict["best"], state_dict["best_epoch"], kept


def _tensors(parameters: Any) -> list[Tensor]:
    state = getattr(parameters, "state_dict", None)
    if state is not None:  # buffers (running statistics) belong to the best epoch too
        return [*parameters.parameters(), *parameters.buffers()]
    tensors = []
    for tensor in parameters if is_iterable(parameters) and not isinstance(parameters, Tensor) else [None]:
        if not isinstance(tensor, Tensor):
            got = f"parameters of type {type(parameters).__name__}"
            raise ConfigError(message("EarlyStopping", got, "a module, or an iterable of tensors"))
        tensors.append(tensor)
    return tensors


class TerminateOnNaN:
    """Stop after an epoch that left a NaN or an infinity: in the column `monitor`, or without one in any column.

    `history.stopped` says which. A native run goes on for many epochs in a row, and back to the end of that one.

    >>> import tinygrad_nn as tg
    >>> history = tg.fit(
    ...     lambda x: x.sum() / 0, [1.0, 2.0], 5, progress=False, on_nonfinite="ignore", callbacks=[TerminateOnNaN()]
    ... )
    >>> history.stopped
    'loss is inf in epoch 1'
    """

    only_logs = True

    def __init__(self, monitor: str | None = None) -> None:
        self.monitor = None if monitor is None else _column("TerminateOnNaN", monitor)

    def found(self, logs: Logs) -> str | None:
        """The first of the columns it looks at that is not finite."""
        names = logs if self.monitor is None else (self.monitor,)
        return next((name for name in names if not math.isfinite(logs.get(name, 0.0))), None)

    def __call__(self, run: Run, logs: Logs) -> None:
        """Look at the newest values."""
        if self.monitor is not None:
            monitored(self.monitor, run, logs, "TerminateOnNaN")
        name = self.found(logs)
        if name is not None and run.history.stopped is None:
            run.stop(f"{name} is {logs[name]} in epoch {run.epoch}")


class Schedule:
    """Step a learning-rate schedule after every epoch; ReduceLROnPlateau gets the value of `monitor`, after every epoch
    that has one.

    >>> import tinygrad_nn as tg
    >>> w = tg.zeros(1, requires_grad=True)
    >>> opt = tg.optim.SGD([w], lr=0.1)
    >>> def step(x, y):
    ...     opt.zero_grad()
    ...     loss = ((x * w - y) ** 2).mean()
    ...     loss.backward()
    ...     opt.step()
    ...     return loss
    >>> data = (tg.ones(6), 3 * tg.ones(6))
    >>> schedule = tg.optim.lr_scheduler.ExponentialLR(opt, gamma=0.5)
    >>> _ = tg.fit(step, data, 2, progress=False, callbacks=[tg.callbacks.Schedule(schedule)])
    >>> opt.param_groups[0]["lr"]
    0.025
    """

    def __init__(self, scheduler: LRScheduler | ReduceLROnPlateau, monitor: str = "loss") -> None:
        if not isinstance(scheduler, (LRScheduler, ReduceLROnPlateau)):
            raise ConfigError(message("Schedule", f"a {type(scheduler).__name__}", "a learning-rate schedule"))
        self.scheduler, self.monitor = scheduler, _column("Schedule", monitor)

    def __repr__(self) -> str:
        return shown(self, "scheduler", "monitor")

    def __call__(self, run: Run, logs: Logs) -> None:
        """One step."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            measured = monitored(self.monitor, run, logs, "Schedule")
            if measured is not None:
                self.scheduler.step(measured)
        else:
            self.scheduler.step()


class LogLines:
    """One line per `every` epochs through `logging` (logger "tinygrad_nn.fit").

    >>> import tinygrad_nn as tg
    >>> w = tg.zeros(1, requires_grad=True)
    >>> opt = tg.optim.SGD([w], lr=0.1)
    >>> def step(x, y):
    ...     opt.zero_grad()
    ...     loss = ((x * w - y) ** 2).mean()
    ...     loss.backward()
    ...     opt.step()
    ...     return loss
    >>> data = (tg.ones(6), 3 * tg.ones(6))
    >>> _ = tg.fit(step, data, 2, progress=False, callbacks=[tg.callbacks.LogLines(every=1)])
    """

    only_logs = True

    def __init__(self, every: int = 1, level: int = logging.INFO) -> None:
        self.every = integer("LogLines", "every", every, least=1)
        self.level = integer("LogLines", "level", level)

    def __repr__(self) -> str:
        return shown(self, "every", "level")

    def __call__(self, run: Run, logs: Logs) -> None:
        """Log the newest values."""
        if run.epoch % self.every == 0:
            text = printable(", ".join(f"{k} {v:.6g}" for k, v in logs.items()), keep="")
            logger.log(self.level, "epoch %d: %s", run.epoch, text)


class JsonLines:
    """One JSON object per epoch, appended to a file as it happens; the first line is the run's metadata.

    >>> import tinygrad_nn as tg
    >>> import json, tempfile
    >>> w = tg.zeros(1, requires_grad=True)
    >>> opt = tg.optim.SGD([w], lr=0.1)
    >>> def step(x, y):
    ...     opt.zero_grad()
    ...     loss = ((x * w - y) ** 2).mean()
    ...     loss.backward()
    ...     opt.step()
    ...     return loss
    >>> data = (tg.ones(6), 3 * tg.ones(6))
    >>> path = tempfile.mkdtemp() + "/run.jsonl"
    >>> _ = tg.fit(step, data, 2, progress=False, callbacks=[tg.callbacks.JsonLines(path)])
    >>> json.loads(Path(path).read_text().splitlines()[-1])["epoch"]
    2
    """

    only_logs = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigError(message("JsonLines", f"path {path!r}", "the path of a file"))
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"JsonLines({str(self.path)!r})"

    def begin(self, run: Run) -> None:
        """Write the metadata. A fit that goes on from a checkpoint takes away the later epochs of the one before; any
        takes away a line that was cut off.
        """
        remove_leftovers(self.path)
        if self.path.exists():
            text = read(self.path, "JsonLines", "a file of JsonLines").decode(errors="replace")
            lines = text.splitlines(keepends=True)
            count = len(lines)
            if lines and lines[-1].startswith("{") and not lines[-1].endswith("\n"):
                lines.pop()
            while run.epoch and lines and _is_later(lines[-1], run.epoch):
                lines.pop()
            if len(lines) < count:
                write_atomic(self.path, "".join(lines).encode(), "JsonLines")
        self._append({"run": run.history.metadata})

    def __call__(self, run: Run, logs: Logs) -> None:
        """Write the newest values; NaN and inf, which JSON lacks, as null."""
        self._append({"epoch": run.epoch, **{k: v if math.isfinite(v) else None for k, v in logs.items()}})

    def _append(self, record: Mapping[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, default=str) + "\n")
        except (OSError, ValueError) as error:  # a path that none can be
            reason = getattr(error, "strerror", None) or error
            raise DataError(message("JsonLines", f"{self.path}: {reason}", "a file that can be written")) from error


def _is_later(line: str, epoch: int) -> bool:
    """Whether a line is of a later epoch, or was cut off while it was written."""
    try:
        return bool(json.loads(line).get("epoch", 0) > epoch)
    except ValueError:
        return True


class Checkpoint:
    """Write all that a fit needs to go on to a file: after every `every` epochs, and at the end.

    `fit(..., resume=path)` then gives the same bits as the run that was never stopped: parameters, optimizers,
    schedules, generators, the order of samples, callbacks, history. All tensors, generators and objects with a
    `state_dict()` that the step, the evaluation and the other callbacks reach by their variables are found. `state`
    names what else to keep, {"name": object, tensor, or dict or list of numbers}.

    The newest checkpoint is in `path`, and of `keep` checkpoints the others beside it as `run-000040.npz`, with their
    epoch; a path that is a folder means `checkpoint.npz` in it. A file is written whole or not at all: after a crash,
    or a kill at any moment, the one before is there. `tg.load(path)["state"]["model"]` is the state_dict of `model`.

    Raises ConfigError for settings out of range, DataError for a path of another format or in a folder that is
    missing, FileError where the disk is full.

    >>> import tempfile, tinygrad_nn as tg
    >>> path = tempfile.mkdtemp() + "/run.npz"
    >>> w = tg.zeros(1, requires_grad=True)
    >>> opt = tg.optim.Adam([w], lr=0.5)
    >>> def step(x):
    ...     opt.zero_grad()
    ...     loss = ((x - w) ** 2).mean()
    ...     loss.backward()
    ...     opt.step()
    ...     return loss
    >>> keep = tg.callbacks.Checkpoint(path, every=2)
    >>> _ = tg.fit(step, [1.0, 3.0], epochs=4, seed=0, progress=False, callbacks=[keep])
    >>> tg.fit(step, [1.0, 3.0], epochs=6, seed=0, progress=False, callbacks=[keep], resume=path).epochs
    6
    """

    after_others = True  # their counts of this epoch belong to the checkpoint

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int = 1,
        keep: int = 1,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        for name, value in (("every", every), ("keep", keep)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ConfigError(message("Checkpoint", f"{name}={named(value)}", "an integer of at least 1"))
        if not isinstance(state, Mapping | None):
            raise ConfigError(message("Checkpoint", f"state {named(state)}", "names with what to keep"))
        for name, value in (state or {}).items():
            if isinstance(value, (int, float, str, tuple, np.generic, type(None))):
                got = f"state with {name!r}, a {type(value).__name__}"
                raise ConfigError(message("Checkpoint", got, "something that can be given another value", "a dict"))
        self.path = checkpoint_path("Checkpoint", path)
        self.every, self.keep = int(every), int(keep)
        self.state = dict(state or {})
        self.older: list[Path] = []
        self.newest = 0

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.path)!r}, every={self.every}, keep={self.keep})"

    def begin(self, run: Run) -> None:
        """Clean up after a process that was killed."""
        if not self.path.parent.is_dir():
            raise DataError(message("Checkpoint", f"{self.path} in a folder that is missing", "a folder that exists"))
        remove_leftovers(self.path)
        found = self.path.parent.glob(f"{self.path.stem}-*{self.path.suffix}") if run.epoch else ()
        self.older = sorted(path for path in found if 0 < _epoch(path, self.path) < run.epoch)
        self.newest = run.epoch if run.source == self.path else 0

    def pause(self, run: Run) -> int:
        """The next epoch whose end it has to see."""
        due = min(run.epoch - run.epoch % self.every + self.every, run.epochs)
        return run.epochs - 1 if run.irregular and run.epoch < run.epochs - 1 < due else due

    def __call__(self, run: Run, logs: Logs) -> None:
        """Write, if it is time."""
        if run.epoch % self.every == 0 or run.epoch == run.epochs or run.history.stopped:
            self.write(run)
        elif run.irregular and run.epoch == run.epochs - 1:
            run.state()  # from which a longer run will go on

    def write(self, run: Run) -> None:
        """Write a checkpoint now."""
        content = packed(run.state())
        try:
            if self.keep > 1 and self.newest and self.path.exists():
                older = self.path.with_name(f"{self.path.stem}-{self.newest:06d}{self.path.suffix}")
                write_atomic(older, read(self.path, "Checkpoint", "a checkpoint"), family=self.path)
                self.older = [*(path for path in self.older if path != older), older]
            write_atomic(self.path, content)
            while len(self.older) >= self.keep:
                self.older.pop(0).unlink(missing_ok=True)
        except OSError as error:
            got = f"{self.path}, which cannot be written after epoch {run.epoch} ({error.strerror or error})"
            hint = f"the checkpoint of epoch {self.newest} is whole" if self.newest else ""
            raise FileError(message("Checkpoint", got, "room on the disk", hint)) from None
        self.newest = run.epoch


def _epoch(path: Path, newest: Path) -> int:
    """The epoch in the name of an older checkpoint; 0 for another file."""
    number = path.name.removeprefix(newest.stem + "-").removesuffix(newest.suffix)
    return int(number) if number.isdecimal() else 0
