"""`tg.fit`: the one training loop. Epochs, batches, shuffle, evaluation, history, progress, callbacks, Ctrl-C.

A step under `tg.jit` is trained by one native function that is called for many epochs at a time; any other is called
for every batch. Order of samples, history, callbacks and the state in between are the same.

The order of samples is a pure function of the seed and the epoch (counter-based generator). A first Ctrl-C ends
training after the running step, so parameters are whole, and `fit` returns the history so far; a step that takes long
is taken back. A second one interrupts at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .callbacks import Checkpoint, TerminateOnNaN
from .compiler.run.jit import Jitted, usable, written_by_machine_code
from .compiler.run.training import NEVER, Spent, Training
from .config import tell
from .data.batching import Batches, as_columns, gather
from .data.weighting import sample_weights
from .errors import (
    ConfigError,
    DataError,
    DivisionByZero,
    IndexOutOfRange,
    MissingExtra,
    ShapeError,
    message,
    printable,
)
from .extras import require
from .graph import DType
from .history import History, run_metadata
from .interrupt import Deferred, Overdue, deferred
from .random import Generator, default_generator, order_generator, randperm
from .reach import Reached
from .resume import Progress, fingerprint, located, read, understood, without_callbacks
from .serialize import StrPath
from .settings import flags, shown
from .tables import html_text
from .tensor import Tensor, no_grad
from .tensor.arrays import array_of
from .tensor.core import constant, mode
from .trouble import Gradients, Health, Journal, Place, Reaction, Unsound, first_unsound, locate, written

SHOWN = 4  # values beside the progress bar: more would leave it no room
Scores = Callable[[], Any]

FROM_DATA = IndexOutOfRange, DivisionByZero  # errors of numbers that come from data


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
                self.progress.restore(self.saved if begun else without_callbacks(self.saved), self.source)
        if self.progress is not None and begun and self.irregular and self.epoch == self.epochs - 1:
            self.state()

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {value:.5g}" for name, value in self.history.last().items())
        ended = f"; ended: {self.history.stopped}" if self.history.stopped else ""
        return printable(f"Fit: epoch {self.epoch:,} of {self.epochs:,}" + f", {values}" * bool(values) + ended)

    def _repr_html_(self) -> str:
        return html_text(repr(self))


Native = tuple[Any, Training, Generator | None]  # what it was made for, the run, and the generator of its order


@flags
def fit(
    step: Callable[..., Any],
    data: Any,
    epochs: int = 1,
    batch_size: int | None = None,
    shuffle: bool = True,
    evaluate: Scores | None = None,
    eval_every: int = 1,
    seed: int | None = None,
    progress: bool = True,
    callbacks: Sequence[Any] = (),
    *,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | str | None = None,
    resume: StrPath | bool | None = None,
    on_nonfinite: Reaction = "warn",
) -> History:
    """Call `step(*batch)` for every batch of every epoch and return the History.

    `data` is a tuple with one item per argument of step (arrays, tensors, data frames, lists of sequences), or a
    single item; samples lie along the first axis. `step` trains and returns its loss, or a dict of values; the
    history holds their mean over samples, per epoch. `batch_size=None` is the whole set; the last batch may be
    shorter. Sequences of a list may differ in length: a batch begins with the first sample that is not taken yet and
    goes on with the next ones of its length, until it is full or there are no more. `evaluate()` returns a dict of
    scores and runs, without gradients, after every `eval_every` epochs.
    Fractional numbers in arrays (NumPy's are float64), frames and lists get the dtype of the parameters that step names
    (of models, optimizers, tensors), or the default where there are none, or of both dtypes. Tensors keep theirs.
    `seed` fixes the order. With `sample_weight` (one per sample) or `class_weight` (label -> weight, or "balanced";
    the labels are the last item of data) step gets one more argument, the weights of the batch.

    A mean or a score that is NaN or infinite is warned of once (NonFiniteWarning); `history.nonfinite` says where it
    began. With `on_nonfinite="raise"` it ends the run, and so does a parameter, a buffer or optimizer state that became
    so: NonFiniteError names epoch, batch, row of the data, operation and line, and everything is as before that batch.

    `resume` is the path of a file that `callbacks.Checkpoint` wrote: the fit goes on after its epoch, up to `epochs` in
    all, with the same bits as one that was never stopped. Where there is no such file yet it starts at the beginning if
    a Checkpoint among the callbacks is going to write it; `resume=True` means the file of that one.

    Raises DataError for bad data, ConfigError for settings out of range and for a checkpoint of another run,
    IndexOutOfRange naming row, epoch and batch of a label or index out of range; the state is that before the batch.

    >>> import tinygrad_nn as tg
    >>> w = tg.zeros(1, requires_grad=True)
    >>> opt = tg.optim.SGD([w], lr=0.5)
    >>> def step(x, y):
    ...     opt.zero_grad()
    ...     loss = ((x * w - y) ** 2).mean()
    ...     loss.backward()
    ...     opt.step()
    ...     return loss
    >>> history = tg.fit(step, ([1.0, 1.0], [2.0, 2.0]), epochs=2, progress=False)
    >>> history["loss"].tolist(), w.tolist()
    ([4.0, 0.0], [2.0])
    """
    weights: Any = class_weight
    if weights is not None and not isinstance(weights, (str, Mapping)):
        got = f"class_weight of type {type(weights).__name__}"
        raise ConfigError(message("fit", got, "a mapping of classes to weights, or 'balanced'"))
    for name, value in (("epochs", epochs), ("eval_every", eval_every)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ConfigError(message("fit", f"{name}={shown(value)}", "an integer of at least 1"))
    callbacks = _checked_callbacks(step, evaluate, callbacks)
    dtype = _trained_dtype(step)
    columns = tuple(map(_of_known_dtype, as_columns(data, dtype=dtype, arrays=True)))
    weights = sample_weights(columns, sample_weight, class_weight, dtype)
    if weights is not None:
        columns = (*columns, weights)
    count = len(columns[0])
    plan = Batches(columns, batch_size)
    history = History(run_metadata(seed, epochs=epochs, batch_size=batch_size, samples=count, shuffle=shuffle))
    evaluates = evaluate is not None
    run = Fit(history, epochs, evaluates, irregular=evaluates and epochs % eval_every != 0)
    health = Health(history, on_nonfinite)
    generator = order_generator(seed) if shuffle and seed is not None else None
    callbacks = sorted(callbacks, key=lambda callback: getattr(callback, "after_others", False))
    keepers = [callback for callback in callbacks if isinstance(callback, Checkpoint)]
    if keepers or not (resume is None or resume is False):
        given: dict[str, Any] = {"seed": seed, "batch_size": plan.size, "shuffle": shuffle, "eval_every": eval_every}
        given["data"] = fingerprint(columns)
        named = {name: value for keeper in keepers for name, value in keeper.state.items()}
        run.progress = Progress(_roots(step, evaluate, callbacks), named, given, generator)
        run.go_on_from(located(resume, [keeper.path for keeper in keepers]))
    run.restore()
    native = None if run.over else _native(step, columns, plan, evaluate, shuffle, generator, progress)
    if native is not None and run.progress is not None:
        run.progress.order = native[2]
        run.progress.check_reaches([one.handle for one in native[1].state if one.changes])
    _every_hook(callbacks, "begin", run)
    run.restore(begun=True)
    if native is not None and isinstance(step, Jitted):
        order = native[2]

        def prepared() -> Native:
            made = _native(step, columns, plan, evaluate, shuffle, order, progress)
            if made is None:
                raise ConfigError(message("fit", "a callback that is traced", "callbacks that are called"))
            return made

        def watched(training: Training) -> _NativeWatch:
            return _NativeWatch(training, step, columns, plan, health, evaluate, callbacks)

        native = _run_native(native, prepared, watched, columns, plan, run, evaluate, eval_every, progress, callbacks)
        step.runs[:] = [] if native[1].lost else [native]  # one: data may be large
    elif not run.over:
        feed = _Feed(columns, plan, generator, shuffle, fixed=not (shuffle or _curious(callbacks)))
        _run_eager(_Watched(step, health), feed, run, evaluate, eval_every, progress, callbacks)
    _every_hook(callbacks, "end", run)
    history.metadata["seconds"] = run.seconds
    if native is not None:
        history.metadata["compile"] = asdict(native[1].spent)
        if progress:
            tell(_times(native[1], run.seconds - run.before))
    return history


def _trained_dtype(step: Callable[..., Any]) -> DType:
    """The float dtype of all parameters that a step reaches, else the default: what data must have to meet them."""
    dtypes = {leaf.dtype for leaf in Reached({"": step}, {}).leaves.values() if leaf.requires_grad}
    return dtypes.pop() if len(dtypes) == 1 else mode.dtype


def _of_known_dtype(column: Any) -> Any:
    """A column (or a list of sequences) in one of the five dtypes: small integers become int32."""
    if isinstance(column, list):
        return [array_of("fit", sequence) for sequence in column]
    return array_of("fit", column)


def _roots(step: Any, evaluate: Any, callbacks: Sequence[Any]) -> dict[str, Any]:
    """Where the search for the state of a fit begins, by name."""
    roots = {"": step, "evaluate": evaluate}
    for callback in callbacks:
        if not isinstance(callback, Checkpoint):
            name = "callbacks." + getattr(callback, "__name__", type(callback).__name__)
            while name in roots:
                name += "'"
            roots[name] = callback
    return roots


def _checked_callbacks(step: Any, evaluate: Any, callbacks: Any) -> Sequence[Any]:
    """The callbacks; ConfigError for what could not be called later, in the middle of training."""
    if not isinstance(callbacks, Iterable) or isinstance(callbacks, (str, Mapping)):
        raise ConfigError(message("fit", f"callbacks={shown(callbacks)}", "a list of functions", "put it in a list"))
    listed = tuple(callbacks)
    for what, function in (("step", step), ("evaluate", evaluate), *(("a callback", one) for one in listed)):
        if isinstance(function, type):
            raise ConfigError(message("fit", f"the class {function.__name__} as {what}", f"{function.__name__}(...)"))
        if not callable(function) and not (what == "evaluate" and function is None):
            raise ConfigError(message("fit", f"{shown(function)} as {what}", "a function"))
    return listed


def _native(
    step: Callable[..., Any],
    columns: tuple[Any, ...],
    plan: Batches,
    evaluate: Scores | None,
    shuffle: bool,
    generator: Generator | None,
    progress: bool,
) -> Native | None:
    """What a native run is made for, the run, and the generator of its order; None where each batch has to be a call.
    It is kept with the step from its end to the next one.
    """
    if not isinstance(step, Jitted) or mode.recorder is not None or not usable():
        return None
    sets = _sets(columns, plan)
    types = tuple((column.shape, column.dtype) for data in sets for column in data)
    key = (types, len(sets), plan.size, evaluate, shuffle, generator is None, mode.grad, mode.dtype)
    try:
        made_for, training, own = step.runs.pop()
    except IndexError:
        made_for = None
    if made_for != key or not training.fits():
        made = Training(
            step, sets, plan.size, evaluate, shuffle, lambda: randperm(plan.samples, generator=generator), not progress
        )
        if not shuffle:
            made.arrange([plan.table(np.arange(plan.samples))])
        return key, made, generator
    training.bring(sets)
    if not shuffle:
        training.arrange([plan.table(np.arange(plan.samples))])
    training.spent = Spent(0.0, 0.0, 0.0, True)
    if own is not None and generator is not None:
        own.set_state(generator.get_state())
    return key, training, own


def _sets(columns: tuple[Any, ...], plan: Batches) -> list[list[Any]]:
    """The samples of each length, as the arguments of the step."""
    return [[gather(column, members) for column in columns] for members in plan.sets]


def _times(training: Training, seconds: float) -> str:
    spent = training.spent
    compiled = spent.trace + spent.lower + spent.machine
    return (
        f"fit: trace {1e3 * spent.trace:.0f} ms, compile {1e3 * (spent.lower + spent.machine):.0f} ms"
        f"{' (from the cache)' if spent.cached else ''}, run {seconds - compiled:.3g} s"
    )


def _run_native(
    native: Native,
    prepared: Callable[[], Native],
    watched: Callable[[Training], _NativeWatch],
    columns: tuple[Any, ...],
    plan: Batches,
    run: Fit,
    evaluate: Scores | None,
    eval_every: int,
    progress: bool,
    callbacks: Sequence[Any],
) -> Native:
    """Call the native function for as many epochs as take a tenth of a second, or one at a time for a callback. That
    may have changed data, or what the function was made for, which is then `prepared` again; returns the last one.
    """
    _, training, generator = native
    watch = watched(training)
    history, epochs = run.history, run.epochs
    curious, begun = _curious(callbacks), False
    pauses = [callback for callback in callbacks if hasattr(callback, "pause")]
    patient = all(getattr(callback, "only_logs", callback in pauses) for callback in callbacks)
    if training.shuffled and generator is None and training.changes(default_generator.counter):
        patient = False  # the order of an epoch is drawn after what the step drew in the one before
    pace = training.pace
    chunk = _chunk(pace)
    with deferred() as interrupted, _bar(epochs, progress, run.epoch) as advance, _ended(run):
        watch.interrupted = interrupted
        while not run.over:
            if begun and curious:
                if training.fits():
                    training.bring(_sets(columns, plan))
                else:
                    with interrupted.limited():
                        native = prepared()
                    training = native[1]
                    watch = watched(training)
                    watch.interrupted = interrupted
            begun = True
            first = run.epoch + 1
            size = min(chunk, epochs - run.epoch, training.capacity) if patient else 1
            size = min([size, *(callback.pause(run) - run.epoch for callback in pauses)])
            if evaluate is not None and not training.evaluates:
                size = min(size, eval_every - run.epoch % eval_every)
            numbers = np.arange(first, first + size)
            due = (numbers % eval_every == 0) | (numbers == epochs) if evaluate is not None else np.zeros(size, bool)
            watch.begin(first, due)
            if training.shuffled:
                training.arrange(plan.table(watch.drawn(_order(plan, generator))) for _ in range(size))
            started = time.perf_counter()
            done = watch.run(pace)
            pace = (time.perf_counter() - started) / max(done, 1)
            chunk = _chunk(pace)
            logged = _Columns(training, history, due[:done], first)
            if done and due[done - 1] and not training.evaluates and evaluate is not None:
                run.epoch = first + done - 1
                with interrupted.limited():
                    scores = watch.judge(first + done - 1, evaluate)
                history.log_evaluation(scores)
            for position in range(done) if callbacks else ():
                run.epoch = first + position
                logs = logged.last(position) if position < done - 1 else history.last()
                for callback in callbacks:
                    if position == size - 1 or callback not in pauses:
                        callback(run, logs)
            run.epoch = first + done - 1
            watch.end()
            if done:
                advance(history.last(), done)
            if interrupted() and not history.stopped:
                run.stop(f"interrupted in epoch {run.epoch + 1}")
    training.pace = pace
    return native


def _chunk(pace: float) -> int:
    """The epochs of one native call, of which each takes so many seconds."""
    return max(1, int(0.1 / max(pace, 1e-7)))


@contextmanager
def _ended(run: Fit) -> Iterator[None]:
    """What Ctrl-C did not wait for ends the run."""
    try:
        yield
    except Overdue:
        if not run.history.stopped:
            run.stop(f"interrupted in epoch {run.epoch + 1}")


def _curious(callbacks: Sequence[Any]) -> bool:
    """Whether a callback may change something, data or what the step is made of."""
    return not all(getattr(callback, "only_logs", False) for callback in callbacks)


def _order(plan: Batches, generator: Generator | None) -> Any:
    """The samples in the order of the next epoch."""
    return randperm(plan.samples, generator=generator).numpy()


class _Columns:
    """The columns a native call left, entered in the history."""

    def __init__(self, training: Training, history: History, due: np.ndarray[Any, Any], first: int) -> None:
        count = len(due)
        self.before = history.last()
        epochs = training.history[:count].T.tolist()
        self.values = dict(zip(training.names, epochs, strict=False))
        history.log_epochs(self.values)
        self.scores: dict[str, list[float]] = {}
        if training.evaluates and due.any():
            rows = training.scores[:count][due].T.tolist()
            self.scores = dict(zip(training.score_names, rows, strict=False))
            history.log_evaluations((first + np.flatnonzero(due)).tolist(), self.scores)
        self.places = np.cumsum(due) - 1

    def last(self, position: int) -> dict[str, float]:
        """The newest entry of every column after one of the epochs."""
        logs = dict(self.before)
        logs |= {name: column[position] for name, column in self.values.items()}
        place = int(self.places[position])
        return logs | {name: column[place] for name, column in self.scores.items() if place >= 0}


class _NativeWatch:
    """Looks at what native calls left, and finds the batch in which something went wrong."""

    def __init__(
        self,
        training: Training,
        step: Jitted,
        columns: tuple[Any, ...],
        plan: Batches,
        health: Health,
        evaluate: Scores | None,
        callbacks: Sequence[Any],
    ) -> None:
        self.enders = [callback for callback in callbacks if isinstance(callback, TerminateOnNaN)]
        self.training, self.step, self.columns, self.plan = training, step, columns, plan
        self.health, self.evaluate = health, evaluate
        self.draws = not training.changes(default_generator.counter)  # what is drawn ahead is drawn by Python alone
        self.state = [one.handle for one in training.state if one.changes]
        self.interrupted = Deferred()

    def begin(self, first: int, due: Any) -> None:
        """A call for some epochs comes: orders are drawn for it, and the state may have to be taken back."""
        self.first, self.due = first, due
        self.orders: list[Any] = []
        self.marks: list[Any] = []
        self.found: Unsound | None = None

    def drawn(self, order: Any) -> Any:
        """An order of the samples, and the generator after it."""
        self.orders.append(order)
        self.marks.append(default_generator.counter.node)
        return order

    def run(self, pace: float) -> int:
        """Train; the number of whole epochs before the end, the interruption, or the batch that went wrong. Each takes
        some `pace` seconds.
        """
        self.before, self.pace = Journal(self.state if self.health.raises or self.enders else ()), pace
        try:
            done = self._native(len(self.due), NEVER)
        except FROM_DATA as error:
            epoch, batch = self.training.place
            self._rewind(epoch)
            locate(error, self._place(epoch, batch))
            raise
        self._rewind(done)
        self.found = self._unsound(done)
        try:
            if not self.health.raises:
                if self.found is not None:
                    self.health.note(self.found)
                    done = self._ended(done)
                return done
            return done if self.found is None and not self.before.gone_bad() else self._traced_back(done)
        except KeyboardInterrupt:  # in the search for the batch that went wrong
            self.before.undo()
            raise

    def end(self) -> None:
        """The epochs before are in the history; raise what there is to raise."""
        if self.found is None or not self.health.raises:
            return
        gradients = Gradients(one.handle for one in self.training.state)
        gradients.keep()
        again: Callable[..., Any] = self.step.function
        if self.found.place.batch is None and self.evaluate is not None:
            again = partial(_scores, self.evaluate)
        try:
            with self.interrupted.limited():
                self.health.fail(self.found, again, _numbers)
        finally:
            gradients.undo()

    def judge(self, epoch: int, evaluate: Scores) -> dict[str, float]:
        """The scores of an evaluation that Python runs."""
        scores = _judged(evaluate, epoch)
        self.found = self.found or first_unsound(scores, Place(epoch))
        if self.found is not None and not self.health.raises:
            self.health.note(self.found)
        return scores

    def _native(self, epochs: int, stop: int) -> int:
        return self.training.run(epochs, self.first, self.due[:epochs], epochs * self.pace, self.interrupted, stop)

    def _rewind(self, epoch: int) -> None:
        """Let the default generator be where it is in this epoch of the call: orders are drawn ahead."""
        if self.draws and 0 <= epoch < len(self.marks):
            default_generator.counter._point_at(self.marks[epoch])

    def _place(self, epoch: int, batch: int | None) -> Place:
        """Where this batch of the call is, with its data."""
        if batch is None:
            return Place(self.first + epoch)
        order = np.arange(self.plan.samples)
        if self.training.own_order is not None:
            order = self.training.own_order[0, : self.plan.samples]
        elif self.orders:
            order = self.orders[epoch]
        rows = self.plan.rows(order)[batch]
        return Place(self.first + epoch, batch, rows, tuple(gather(column, rows) for column in self.columns))

    def _unsound(self, done: int) -> Unsound | None:
        """The first mean or score of these epochs that is not finite."""
        training = self.training
        means, scores = training.history[:done], training.scores[:done]
        if _all_finite(means) and (not training.evaluates or _all_finite(scores)):
            return None
        bad = np.flatnonzero(~np.isfinite(means).all(1))
        judged = np.flatnonzero(~np.isfinite(scores).all(1) & self.due[:done]) if training.evaluates else bad[:0]
        if judged.size and (not bad.size or judged[0] < bad[0]):
            epoch = int(judged[0])
            named = dict(zip(training.score_names, scores[epoch].tolist(), strict=False))
            return first_unsound(named, Place(self.first + epoch))
        if not bad.size:
            return None
        epoch = int(bad[0])
        sound = np.where(np.isfinite(means[epoch]), training.rounds, training.sound[epoch])
        column = int(sound.argmin())
        place = Place(self.first + epoch, int(sound[column]))
        return Unsound(training.names[column], float(means[epoch, column]), place)

    def _ended(self, done: int) -> int:
        """Go to the end of the first epoch that a TerminateOnNaN ends, if there is one; the whole epochs so far."""
        training = self.training
        for epoch in range(done):
            logs = dict(zip(training.names, training.history[epoch].tolist(), strict=False))
            if training.evaluates and self.due[epoch]:
                logs |= dict(zip(training.score_names, training.scores[epoch].tolist(), strict=False))
            if any(ender.found(logs) for ender in self.enders):
                return self._whole(epoch + 1) if epoch + 1 < done else done
        return done

    def _traced_back(self, done: int) -> int:
        """Go to where the state is that before the batch that went wrong; the whole epochs before it."""
        rounds, last = self.training.rounds, done * self.training.rounds
        found = self.found
        if found is not None:
            epoch = found.place.epoch - self.first
            last = (epoch + 1) * rounds if found.place.batch is None else epoch * rounds + found.place.batch
        if not self._bad_after(last):
            if found is None or found.place.batch is None:  # it was the evaluation
                return self._whole(last // rounds)
            batch = last
        else:
            good, batch = 0, last  # the first batch to leave a bad state, plus 1
            while batch - good > 1:
                middle = (good + batch) // 2
                good, batch = (good, middle) if self._bad_after(middle) else (middle, batch)
            batch -= 1
            found = None
        count = 0 if found is not None else len(self._gone(batch + 1))
        epoch = self._again(batch)
        place = self._place(epoch, batch % rounds)
        self.found = replace(found, place=place) if found is not None else written(place, count)
        return epoch

    def _bad_after(self, batches: int) -> bool:
        return bool(self._gone(batches))

    def _gone(self, batches: int) -> list[Any]:
        self._again(batches)
        return self.before.gone_bad()

    def _again(self, batches: int) -> int:
        """Run so many batches from the beginning of the call, up to the next one; the whole epochs among them."""
        epochs = batches // self.training.rounds
        if epochs == len(self.due):
            return self._whole(epochs)
        self._anew()
        self._native(epochs + 1, batches)
        self._rewind(epochs)
        return epochs

    def _anew(self) -> None:
        """Go to the beginning of the call, to run some of it again."""
        if self.interrupted():
            raise Overdue
        self.before.undo()

    def _whole(self, epochs: int) -> int:
        """Run so many epochs from the beginning of the call."""
        self._anew()
        self._native(epochs, NEVER)
        self._rewind(epochs - 1)
        return epochs


def _run_eager(
    step: _Watched,
    feed: _Feed,
    run: Fit,
    evaluate: Scores | None,
    eval_every: int,
    progress: bool,
    callbacks: Sequence[Any],
) -> None:
    """Call the step for every batch."""
    history, epochs = run.history, run.epochs
    with deferred() as interrupted, _bar(epochs, progress, run.epoch) as advance, _ended(run):
        step.interrupted = interrupted
        for epoch in range(run.epoch + 1, epochs + 1):
            totals = _Means()
            for number, (rows, batch) in enumerate(feed.epoch()):
                totals.add(step(epoch, number, rows, batch), len(rows))
                if interrupted():
                    run.stop(f"interrupted in epoch {epoch}")
                    break
            else:
                run.epoch = epoch
                history.log_epoch(totals.values())
                if evaluate is not None and (epoch % eval_every == 0 or epoch == epochs):
                    history.log_evaluation(step.judge(epoch, evaluate))
                logs = history.last()
                for callback in callbacks:
                    callback(run, logs)
                advance(logs, 1)
            if history.stopped:
                break


def _all_finite(numbers: Any) -> bool:
    """Whether an array holds neither NaN nor infinity; quick also for the few numbers of one epoch."""
    return all(map(math.isfinite, numbers.ravel().tolist())) if numbers.size < 64 else bool(np.isfinite(numbers).all())


class _Watched:
    """A step that is called batch by batch, with an eye on what goes wrong in it."""

    def __init__(self, step: Callable[..., Any], health: Health) -> None:
        self.step, self.health, self.gradients = step, health, Gradients()
        self.interrupted = Deferred()

    def __call__(self, epoch: int, batch: int, rows: Any, arguments: tuple[Tensor, ...]) -> dict[str, float]:
        """The numbers it returns."""
        raises = self.health.raises
        journal = Journal(written_by_machine_code() if raises else ())
        if raises:
            self.gradients.keep()
        outer, mode.journal = mode.journal, journal
        try:
            with self.interrupted.limited():
                numbers = _numbers(self.step(*arguments))
        except FROM_DATA as error:
            journal.undo()
            locate(error, _place(epoch, batch, rows, arguments))
            raise
        except KeyboardInterrupt:
            journal.undo()
            raise
        finally:
            mode.journal = outer
        if not all(map(math.isfinite, numbers.values())) or (raises and journal.gone_bad()):
            place = _place(epoch, batch, rows, arguments)
            found = first_unsound(numbers, place)
            if raises:
                found = found or written(place, len(journal.gone_bad()))
                journal.undo()
                try:
                    with self.interrupted.limited():
                        self.health.fail(found, self.step, _numbers)
                finally:
                    self.gradients.undo()
            elif found is not None:
                self.health.note(found)
        if raises:
            self.gradients.learn(journal)
        return numbers

    def judge(self, epoch: int, evaluate: Scores) -> dict[str, float]:
        """The scores after an epoch."""
        with self.interrupted.limited():
            scores = _judged(evaluate, epoch)
        found = first_unsound(scores, Place(epoch))
        if found is not None and self.health.raises:
            self.health.fail(found, partial(_scores, evaluate), _numbers)
        if found is not None:
            self.health.note(found)
        return scores


def _place(epoch: int, batch: int, rows: Any, arguments: tuple[Tensor, ...]) -> Place:
    return Place(epoch, batch, rows, tuple(argument.numpy() for argument in arguments))


class _Feed:
    """The batches of an epoch as tensors. Those that are `fixed`, in order and changed by nobody, are made once."""

    def __init__(
        self, columns: tuple[Any, ...], plan: Batches, generator: Generator | None, shuffle: bool, fixed: bool
    ) -> None:
        self.columns, self.plan, self.generator, self.shuffle = columns, plan, generator, shuffle
        self.fixed = [self._batch(rows) for rows in plan.rows(np.arange(plan.samples))] if fixed else None

    def epoch(self) -> Iterator[tuple[Any, tuple[Tensor, ...]]]:
        """(rows of the data, batch) in the order of this epoch."""
        if self.fixed is not None:
            yield from self.fixed
            return
        order = _order(self.plan, self.generator) if self.shuffle else np.arange(self.plan.samples)
        for rows in self.plan.rows(order):
            yield self._batch(rows)

    def _batch(self, rows: Any) -> tuple[Any, tuple[Tensor, ...]]:
        return rows, tuple(Tensor.handle(constant(gather(column, rows))) for column in self.columns)


class _Means:
    """Means over the samples of an epoch, of whatever the step returns."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.samples = 0

    def add(self, numbers: Mapping[str, float], size: int) -> None:
        for name, value in numbers.items():
            self.sums[name] = self.sums.get(name, 0.0) + size * value
        self.samples += size

    def values(self) -> dict[str, float]:
        return {name: total / self.samples for name, total in self.sums.items()}


def _numbers(returned: Any) -> dict[str, float]:
    """What a step returned, by name."""
    named = returned if isinstance(returned, Mapping) else {"loss": returned}
    return {name: _number("step", name, value) for name, value in named.items()}


def _number(owner: str, name: str, value: Any) -> float:
    if isinstance(value, (int, float, np.generic)):
        return float(value)
    if not isinstance(value, (Tensor, np.ndarray)) or value.shape not in ((), (1,)):
        got = f"{type(value).__name__} {getattr(value, 'shape', '')}".strip() + f" as {name!r} from {owner}"
        raise ShapeError(message("fit", got, "a number or a 0-d tensor", "return the mean loss"))
    return float(value.item())


def _judged(evaluate: Scores, epoch: int) -> dict[str, float]:
    """The scores after an epoch."""
    try:
        return _scores(evaluate)
    except FROM_DATA as error:
        locate(error, Place(epoch))
        raise


def _scores(evaluate: Scores) -> dict[str, float]:
    with no_grad():
        scores = evaluate()
    if not isinstance(scores, Mapping):
        got = f"{type(scores).__name__} from evaluate"
        raise DataError(message("fit", got, 'a dict of scores such as {"test_acc": ...}'))
    return {name: _number("evaluate", name, value) for name, value in scores.items()}


@contextmanager
def _bar(epochs: int, wanted: bool, done: int) -> Iterator[Callable[[Mapping[str, float], int], None]]:
    """A progress bar where tqdm (extra `ui`) is installed, else nothing."""
    try:
        tqdm = require("tqdm", "ui").tqdm if wanted else None
    except MissingExtra:
        tqdm = None
    if tqdm is None:
        yield lambda logs, count: None
        return
    with tqdm(total=epochs, initial=done, unit="epoch", mininterval=0.1, leave=False) as bar:

        def advance(logs: Mapping[str, float], count: int) -> None:
            bar.update(count)
            if bar.n == bar.last_print_n:  # the text is made only when it is shown
                shown = list(logs.items())[:SHOWN]
                text = ", ".join(f"{name} {value:.4g}" for name, value in shown)
                bar.set_postfix_str(printable(text, keep=""), refresh=False)

        yield advance


def _every_hook(callbacks: Sequence[Any], name: str, run: Fit) -> None:
    """Call `begin` or `end` on the callbacks that have it."""
    for callback in callbacks:
        hook = getattr(callback, name, None)
        if hook is not None:
            hook(run)
