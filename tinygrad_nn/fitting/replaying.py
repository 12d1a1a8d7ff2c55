"""`tg.replay`: the state of a training run before one of its batches, and on from there step by step.

From the last snapshot before, the run is repeated by what trained it, so the state has the bits of the run: natively up
to the very batch, or by a call for every batch. From there every batch is a call of the plain function, in which
`print`, a debugger and `tg.draw` see all values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np

from ..callbacks import Checkpoint
from ..compiler.run.jit import Jitted
from ..data.batching import Batches, gather
from ..data.chunks import Chunks
from ..data.feed import Feed
from ..errors import ConfigError, DataError, message
from ..history import History
from ..random import order_generator
from ..snapshots import Snapshot
from ..support.bundle import bundle
from ..support.interrupt import deferred
from ..support.settings import is_whole, shown
from ..support.tables import html_text
from ..tensor import Tensor
from ..tensor.core import constant
from . import checked_callbacks, columns_of, trained_dtype
from .eager import Watched, run_eager
from .keeping import apart, put_back
from .native import NativeWatch, prepared, run_native
from .pieces import batches_from, prepared_pieces, run_pieces
from .request import Request, Rerun
from .results import FROM_DATA, Means, Scores, evaluated, numbers_of
from .resume import data_print
from .running import Fit
from .trouble import Health, Place, locate

Batch = tuple[int, Any, tuple[Tensor, ...]]  # its number, the numbers of its rows, and the arguments of the step
_SHOWN = 5  # rows that are named


def replay(
    history: History,
    epoch: int,
    batch: int = 0,
    *,
    step: Callable[..., Any] | None = None,
    data: Any = None,
    evaluate: Scores | None = None,
    callbacks: Sequence[Any] = (),
) -> Replay:
    """Put everything in the state that it had before `batch` (from 0) of `epoch` (from 1), and go on from there.

    Parameters, buffers, optimizers, schedules, generators and the order of the rows are those of then, with all their
    bits: the run is repeated from the last of `history.snapshots` before, by native code where that trained.
    What comes back is a `Replay`: `run()` calls the step for the batch that it stands before, eagerly, and returns its
    numbers; a `for` loop does so up to the end of the run. In a `with` block everything is afterwards what it was.

    Of a history from a file the `step` and the `data` have to be given, and `evaluate` and those `callbacks` that
    change something, such as a Schedule. Callbacks with `only_logs`, and Checkpoints, are not called again.

    The numbers of an eager step differ from those of a compiled one by rounding at most: elements have the same bits,
    sums and products of matrices about 1e-6 of their size in float32, 1e-15 in float64.

    Raises ConfigError for a history without snapshots, an epoch or batch that the run did not reach, and a step that is
    not that of the run any more; DataError for data that changed.

    >>> import tinygrad_nn as tg
    >>> __name__ = "__main__"  # what belongs to a package is not looked into
    >>> w = tg.zeros(1, requires_grad=True)
    >>> opt = tg.optim.SGD([w], lr=0.25)
    >>> def step(x, y):
    ...     opt.zero_grad()
    ...     loss = ((x * w - y) ** 2).mean()
    ...     loss.backward()
    ...     opt.step()
    ...     return loss
    >>> history = tg.fit(step, ([1.0, 1.0], [2.0, 2.0]), 9, batch_size=1, shuffle=False, progress=False, snapshots=5)
    >>> with tg.replay(history, epoch=2, batch=1) as at:
    ...     print(at)
    ...     print(w.tolist(), at.run(), w.tolist())
    Replay before batch 1 of epoch 2, row 1 of the data
    [1.75] {'loss': 0.0625} [1.875]
    """
    if not isinstance(history, History):
        raise ConfigError(message("replay", f"a {type(history).__name__}", "the History of a fit"))
    for name, value, least in (("epoch", epoch, 1), ("batch", batch, 0)):
        if not is_whole(value) or value < least:
            expected = f"an integer of at least {least}"
            raise ConfigError(
                message("replay", f"{name} {shown(value)}", expected, "epochs count from 1, batches from 0")
            )
    snapshots = history.snapshots
    if not snapshots:
        hint = "fit(..., snapshots=10) keeps the state of every tenth epoch"
        raise ConfigError(message("replay", "a history without snapshots", "one with them", hint))
    rerun = snapshots.run if step is None and data is None else _given(history, step, data, evaluate, callbacks)
    if rerun is None:
        got, hint = "a history from a file, or a copy of one", "tg.replay(history, epoch, step=step, data=(x, y))"
        raise ConfigError(message("replay", got, "its step and its data too", hint))
    last, first = min(history.epochs + 1, rerun.asked.epochs), min(snapshots) + 1
    if not first <= epoch <= last:
        got = f"epoch {epoch:,} of a run of {history.epochs:,}"
        raise ConfigError(message("replay", got, f"one from {first:,} to {last:,}"))
    if data_print(rerun.asked.columns, rerun.asked.feed) != snapshots.data:
        hint = "the batches would not be those of the run"
        raise DataError(message("replay", "data that is not what it was in the run", "the same data", hint))
    return Replay(history, rerun, int(epoch), int(batch), last)


def _given(history: History, step: Any, data: Any, evaluate: Any, callbacks: Any) -> Rerun:
    """A run that is known by its history, and by what the user gives."""
    if step is None or data is None:
        missing, there = ("data", "a step") if data is None else ("step", "data")
        raise ConfigError(message("replay", f"{there} and no {missing}", "both"))
    callbacks = checked_callbacks(step, evaluate, callbacks)
    known = history.metadata
    if any(name not in known for name in ("seed", "epochs", "batch_size", "samples", "shuffle")):
        raise ConfigError(message("replay", "a history that no fit made", "one of a fit"))
    columns: tuple[Any, ...] = ()
    if isinstance(data, Chunks):
        plan: Any = Feed(data, known["batch_size"], trained_dtype(step))
    else:
        columns, _ = columns_of(step, data)
        plan = Batches(columns, known["batch_size"], op="replay")
    generator = order_generator(known["seed"]) if known["shuffle"] and known["seed"] is not None else None
    each = history.evaluated[0] if history.evaluated else 1
    health = Health(History(), "ignore")
    by_hand = (evaluate, each, known["shuffle"], generator, health, False, callbacks)
    return Rerun(Request(step, columns, plan, known["epochs"], *by_hand), known["seed"])


class Replay:
    """A training run that stands before one of its batches, `epoch` from 1 and `batch` from 0.

    `rows` are the numbers of its rows in the data, `arguments` what the step is called with, and `step` the plain
    function that `run` calls.
    """

    def __init__(self, history: History, rerun: Rerun, epoch: int, batch: int, last: int) -> None:
        asked = rerun.asked
        order = order_generator(rerun.seed) if asked.shuffle and rerun.seed is not None else None
        self.step: Callable[..., Any] = asked.step.function if isinstance(asked.step, Jitted) else asked.step
        self.epoch, self.last = epoch, last
        self._history, self._totals, self._returned = history, Means(), 0
        scratch = _up_to(history, history.snapshots.before(epoch - 1).epoch)
        self._changing = [one for one in asked.callbacks if not _only_looks(one)]
        self._asked = replace(asked, generator=order, health=Health(scratch, "ignore"), progress=False, keeper=None)
        self._progress = asked.state()
        self._progress.order = order
        evaluates = asked.evaluate is not None
        self._run = Fit(scratch, asked.epochs, evaluates, evaluates and asked.epochs % asked.eval_every != 0)
        self._run.epoch = scratch.epochs
        taken = apart(self._progress.state(self._progress.reached()), (), {})
        self._before = Snapshot(0, taken.arrays, taken.rest)
        self._batches: Iterator[Batch] = iter(())
        self._partial = batch > 0  # whether some batches of this epoch do not run here
        try:
            self._batches = self._from(history.snapshots.before(epoch - 1), batch)
            self._advance()
        except BaseException:
            self.close()
            raise

    # ---- going there ----------------------------------------------------------------------------------------------

    def _from(self, snapshot: Snapshot, batch: int) -> Iterator[Batch]:
        """The batches of the epoch from this one on; the state is that before it."""
        self._put(snapshot)
        asked, run, feed = (
            replace(self._asked, callbacks=[*self._changing, _Until(self.epoch - 1)]),
            self._run,
            self._asked.feed,
        )
        native = None if feed is not None else prepared(asked)
        pair = None if feed is None else prepared_pieces(asked, feed)
        order = self._asked.generator
        if native is not None:
            order = self._progress.order = native[2]
        asked.every_hook("begin", run)
        self._put(snapshot)
        if run.epoch < self.epoch - 1:
            if feed is not None:
                run_pieces(pair, asked, feed, run)
            elif native is not None:
                native = run_native(native, asked, run)
            else:
                run_eager(asked, run)
            if run.epoch < self.epoch - 1:
                raise KeyboardInterrupt
            run.history.stopped = None
        self._asked = replace(self._asked, generator=order)
        if feed is not None:
            return batches_from(pair, self._asked, feed, self.epoch, batch)
        self._check(batch, len(self._asked.plan.sizes))
        if native is None:
            return self._called(batch)
        drawn = self._natively(native[1], batch)
        self._asked.step.runs[:] = [] if native[1].lost else [native]
        return self._gathered(drawn, batch)

    def _put(self, snapshot: Snapshot) -> None:
        put_back(self._progress, snapshot)

    def _check(self, batch: int, count: int) -> None:
        if batch >= count:
            got = f"batch {batch:,} of an epoch of {count:,}"
            raise ConfigError(message("replay", got, f"one from 0 to {count - 1:,}"))

    def _natively(self, training: Any, batch: int) -> Any:
        """Let the native run go up to a batch; the order of the samples in this epoch."""
        watch, asked = NativeWatch(training, self._asked), self._asked
        watch.begin(self.epoch, np.zeros(1, bool))
        if training.shuffled:
            training.arrange(asked.plan.table(watch.drawn(order)) for order in asked.orders(asked.generator, 1))
        training.memory.keep(range(0), 0)
        with deferred() as interrupted:
            training.run(1, self.epoch, watch.due, inf, interrupted, batch)
        if interrupted():
            raise KeyboardInterrupt
        return watch.order(0)

    def _gathered(self, order: Any, batch: int) -> Iterator[Batch]:
        for number, rows in enumerate(self._asked.plan.rows(order)):
            if number >= batch:
                columns = (gather(column, rows) for column in self._asked.columns)
                yield number, rows, tuple(Tensor.handle(constant(column)) for column in columns)

    def _called(self, batch: int) -> Iterator[Batch]:
        """The same of an epoch whose batches before are trained by calls."""
        asked, watched = self._asked, Watched(self._asked)
        order = asked.order(asked.generator) if asked.shuffle else np.arange(asked.plan.samples)
        for number, rows, arguments in self._gathered(order, 0):
            if number < batch:
                watched(self.epoch, number, rows, arguments)
            else:
                yield number, rows, arguments

    # ---- going on -------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """To the next batch, over the end of the epoch if need be."""
        found = next(self._batches, None)
        if found is None and self._returned:
            self._end_epoch()
            self._returned, self._totals = 0, Means()
            self.epoch += 1
            if self.epoch <= self.last:
                feed = self._asked.feed
                again = self._called(0) if feed is None else batches_from(None, self._asked, feed, self.epoch, 0)
                self._batches, found = again, next(again)
        self._now = found

    def _end_epoch(self) -> None:
        """What a fit does there."""
        asked, run, known = self._asked, self._run, self._history
        run.epoch = self.epoch
        own = {name: known[name][self.epoch - 1] for name in known if known.has(name, self.epoch)}
        means = self._totals.values()
        run.history.log_epoch({name: own.get(name, value) if self._partial else value for name, value in means.items()})
        self._partial = False
        if asked.evaluate is not None and (self.epoch % asked.eval_every == 0 or self.epoch == asked.epochs):
            run.history.log_evaluation(evaluated(asked.evaluate, self.epoch))
        for callback in self._changing:
            callback(run, run.history.last())

    @property
    def batch(self) -> int:
        """The number of the batch, from 0."""
        return self._moment[0]

    @property
    def rows(self) -> Any:
        """The numbers of its rows in the data."""
        found = self._moment[1]
        return found()[0] if callable(found) else found

    @property
    def arguments(self) -> tuple[Tensor, ...]:
        """What the step is called with."""
        return self._moment[2]

    @property
    def _moment(self) -> Batch:
        if self._now is None:
            raise ConfigError(
                message("replay", "a run that is over", "a batch", "tg.replay(history, epoch, batch) goes back")
            )
        return self._now

    def run(self) -> dict[str, float]:
        """Call the step for this batch and go on to the next one; the numbers that it returned."""
        number, rows, arguments = self._moment
        try:
            numbers = numbers_of(self.step(*arguments))
        except FROM_DATA as error:
            which, *called = rows() if callable(rows) else (rows,)
            columns = tuple(argument.numpy() for argument in arguments)
            locate(error, Place(self.epoch, number, which, columns, *called))
            raise
        self._totals.add(numbers, len(arguments[0]))
        self._returned += 1
        self._advance()
        return numbers

    def __iter__(self) -> Iterator[dict[str, float]]:
        while self._now is not None:
            yield self.run()

    def close(self) -> None:
        """Let everything be as it was before the replay."""
        close: Callable[[], None] | None = getattr(self._batches, "close", None)
        if close is not None:  # a thread may be reading
            close()
        self._put(self._before)

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._now is None:
            return f"Replay at the end of the run, after epoch {self.last:,}"
        rows = self.rows.tolist()
        listed = ", ".join(map(str, rows[:_SHOWN])) + f" and {len(rows) - _SHOWN:,} more" * (len(rows) > _SHOWN)
        plural = "s" * (len(rows) > 1)
        return f"Replay before batch {self.batch:,} of epoch {self.epoch:,}, row{plural} {listed} of the data"

    def _repr_html_(self) -> str:
        return html_text(repr(self))

    _repr_mimebundle_ = bundle


class _Until:
    """A callback that ends a run after an epoch."""

    only_logs = True

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def pause(self, run: Fit) -> int:
        """The epoch whose end it has to see."""
        return self.epoch

    def __call__(self, run: Fit, logs: Mapping[str, float]) -> None:
        if run.epoch == self.epoch:
            run.stop("replay")


def _only_looks(callback: Any) -> bool:
    return isinstance(callback, Checkpoint) or bool(getattr(callback, "only_logs", False))


def _up_to(history: History, epoch: int) -> History:
    """What was recorded up to an epoch."""
    found = History(dict(history.metadata))
    scores = [name for name in history if history.is_score(name)]
    found.log_epochs({name: history[name][:epoch].tolist() for name in history if name not in scores}, epoch)
    count = sum(one <= epoch for one in history.evaluated)
    found.log_evaluations(history.evaluated[:count], {name: history[name][:count].tolist() for name in scores})
    return found
