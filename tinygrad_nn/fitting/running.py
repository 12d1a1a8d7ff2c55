"""A fit that is running: what callbacks see of it, its progress bar, and its end by Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigError, MissingExtra, message, printable
from ..history import History
from ..support.bundle import bundle
from ..support.extras import require
from ..support.interrupt import Overdue
from ..support.notebook import live
from ..support.tables import html_text
from .resume import Progress, read, understood, without_callbacks

SHOWN: Final = 4  # values beside the progress bar: more would leave it no room


class Fit:
    """A running fit, as callbacks see it."""

    def __init__(self, history: History, epochs: int, evaluates: bool, irregular: bool) -> None:
        self.history, self.epochs, self.epoch = history, epochs, 0
        self.evaluates = evaluates  # whether there are scores, now and then
        self.irregular = irregular  # whether the last epoch is evaluated only because it is the last
        self.progress: Progress | None = None
        self.source: Path | None = None  # the checkpoint it goes on from
        self.saved: dict[str, Any] = {}
        self.started, self.before = time.perf_counter(), 0.0

    def stop(self, reason: str) -> None:
        """End training after this epoch and say why."""
        self.history.stopped = reason

    @property
    def seconds(self) -> float:
        """How long this fit has been running, with what came before the checkpoint it goes on from."""
        return self.before + time.perf_counter() - self.started

    @property
    def over(self) -> bool:
        """Whether there is nothing left to train."""
        return self.epoch >= self.epochs or bool(self.history.stopped)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds now, between two epochs."""
        if self.progress is None:
            raise ConfigError(message("fit", "a request for its state", "a Checkpoint among the callbacks"))
        self.history.metadata["seconds"] = self.seconds
        return self.progress.take(self.history, self.epoch, self.epochs if self.irregular else None)

    def go_on_from(self, path: Path | None) -> None:
        """Take over epoch and history from a checkpoint; `restore` takes over the rest."""
        if path is None or self.progress is None:
            return
        with understood(path):
            content = read(path, self.progress.settings, self.epochs)
            now, self.source, self.saved = self.history.metadata, path, content
            self.history.load_state_dict(content["history"])
            then, self.epoch = self.history.metadata, int(content["epoch"])
            self.before = float(then.get("seconds", 0.0))
            resumed = [*then.get("resumed", ()), {"epoch": self.epoch, "started": now["started"]}]
            self.history.metadata = {**then, **now, "started": then["started"], "resumed": resumed}

    def restore(self, begun: bool = False) -> None:
        """Give everything the state it had in the checkpoint, if the fit goes on from one: before the step is compiled,
        and again when the callbacks have `begun`, which may forget or change something then.
        """
        if self.progress is not None and self.source is not None:
            with understood(self.source):
                saved = self.saved if begun else without_callbacks(self.saved)
                self.progress.restore(saved, f"resume={str(self.source)!r}")
        if self.progress is not None and begun and self.irregular and self.epoch == self.epochs - 1:
            self.state()

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {value:.5g}" for name, value in self.history.last().items())
        ended = f"; ended: {self.history.stopped}" if self.history.stopped else ""
        return printable(f"Fit: epoch {self.epoch:,} of {self.epochs:,}" + f", {values}" * bool(values) + ended)

    def _repr_html_(self) -> str:
        share = 100 * self.epoch / max(1, self.epochs)
        bar = f'<progress max="100" value="{share:.0f}" style="width:100%;max-width:40em"></progress>'
        return html_text(repr(self)) + bar * (not self.over) + self.history.picture()

    _repr_mimebundle_ = bundle


@contextmanager
def ended(run: Fit) -> Iterator[None]:
    """What Ctrl-C did not wait for ends the run."""
    try:
        yield
    except Overdue:
        if not run.history.stopped:
            run.stop(f"interrupted in epoch {run.epoch + 1}")


@contextmanager
def watched(run: Fit, wanted: bool) -> Iterator[Callable[[Mapping[str, float], int], None]]:
    """The curves, which grow in the cell of a notebook; elsewhere a progress bar."""
    again = live(run) if wanted else None
    if again is None:
        with bar(run.epochs, wanted, run.epoch) as advance:
            yield advance
        return
    try:
        yield lambda logs, count: again(False)
    finally:
        again(True)


@contextmanager
def bar(
    epochs: int, wanted: bool, done: int, unit: str = "epoch"
) -> Iterator[Callable[[Mapping[str, float], int], None]]:
    """A progress bar where tqdm (extra `ui`) is installed, else nothing."""
    try:
        tqdm = require("tqdm", "ui").tqdm if wanted else None
    except MissingExtra:
        tqdm = None
    if tqdm is None:
        yield lambda logs, count: None
        return
    with tqdm(total=epochs, initial=done, unit=unit, mininterval=0.1, leave=False) as bar:

        def advance(logs: Mapping[str, float], count: int) -> None:
            bar.update(count)
            if bar.n == bar.last_print_n:  # the text is made only when it is shown
                shown = list(logs.items())[:SHOWN]
                text = ", ".join(f"{name} {value:.4g}" for name, value in shown)
                bar.set_postfix_str(printable(text, keep=""), refresh=False)

        yield advance
