"""Training by one native function, called for many epochs at a time; and the search for the batch that went wrong.

Between two calls Python moves the progress bar and calls callbacks; what a call left is entered in the history.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..callbacks import TerminateOnNaN
from ..compiler.run.jit import Jitted, usable
from ..compiler.run.memory import NEVER
from ..compiler.run.threads import get_num_threads
from ..compiler.run.training import Spent, Training
from ..data.batching import gather
from ..errors import ConfigError, message
from ..history import History
from ..random import Generator, default_generator, randperm
from ..support.interrupt import Deferred, Overdue, deferred
from ..tensor.core import mode
from .keeping import Keeper
from .request import Request
from .results import FROM_DATA, Scores, evaluated, numbers_of, scores_of
from .running import Fit, ended, watched
from .trouble import Gradients, Journal, Place, Unsound, first_unsound, locate, written

Rows = Callable[[int], tuple[Any, ...]]  # of a batch the numbers of its rows, their arrays, and what they are called
Native = tuple[Any, Training, Generator | None]  # what it was made for, the run, and the generator of its order


def prepared(asked: Request) -> Native | None:
    """What a native run is made for, the run, and the generator of its order; None where each batch has to be a call.
    It is kept with the step from its end to the next one.
    """
    step, plan, generator = asked.step, asked.plan, asked.generator
    if not isinstance(step, Jitted) or mode.recorder is not None or not usable():
        return None
    sets = asked.sets()
    types = tuple((column.shape, column.dtype) for data in sets for column in data)
    order = asked.shuffle, generator is None
    key = (types, len(sets), plan.size, asked.evaluate, order, mode.grad, mode.dtype, get_num_threads(), asked.kept)
    try:
        made_for, training, own = step.runs.pop()
    except IndexError:
        made_for = None
    if made_for != key or not training.fits():

        def permute() -> Any:
            return randperm(plan.samples, generator=generator)

        quiet = not asked.progress
        training = Training(step, sets, plan.size, asked.evaluate, asked.shuffle, permute, quiet, kept=asked.kept)
        own = generator
    else:
        training.bring(sets)
        training.spent = Spent(0.0, 0.0, 0.0, True)
        if own is not None and generator is not None:
            own.set_state(generator.get_state())
    if not asked.shuffle:
        training.arrange([plan.table(np.arange(plan.samples))])
    return key, training, own


def prepared_again(asked: Request, order: Generator | None) -> Native:
    """The same for a callback's step, after it changed what that is made of."""
    made = prepared(replace(asked, generator=order))
    if made is None:
        raise ConfigError(message("fit", "a callback that is traced", "callbacks that are called"))
    return made


def times(training: Training, seconds: float) -> str:
    """What took how long, for who watches the progress."""
    spent = training.spent
    compiled = spent.trace + spent.lower + spent.machine
    return (
        f"fit: trace {1e3 * spent.trace:.0f} ms, compile {1e3 * (spent.lower + spent.machine):.0f} ms"
        f"{' (from the cache)' if spent.cached else ''}, run {seconds - compiled:.3g} s"
    )


def run_native(native: Native, asked: Request, run: Fit) -> Native:
    """Call the native function for as many epochs as take a tenth of a second, or one at a time for a callback. That
    may have changed data, or what the function was made for, which is then prepared again; returns the last one.
    """
    _, training, generator = native
    watch = NativeWatch(training, asked)
    callbacks, evaluate, eval_every = asked.callbacks, asked.evaluate, asked.eval_every
    history, epochs = run.history, run.epochs
    curious, begun = asked.curious, False
    keeper = watch.keeper(run, generator)
    pauses = [callback for callback in callbacks if hasattr(callback, "pause")]
    others = len(pauses) < len(callbacks)
    patient = all(getattr(callback, "only_logs", callback in pauses) for callback in callbacks)
    if training.shuffled and generator is None and training.changes(default_generator.counter):
        patient = False  # the order of an epoch is drawn after what the step drew in the one before
    pace = training.pace
    chunk = _chunk(pace)
    with deferred() as interrupted, watched(run, asked.progress) as advance, ended(run):
        watch.interrupted = interrupted
        while not run.over:
            if begun and curious:
                if training.fits():
                    training.bring(asked.sets())
                else:
                    with interrupted.limited():
                        native = prepared_again(asked, generator)
                    training = native[1]
                    watch = NativeWatch(training, asked)
                    watch.interrupted = interrupted
                    keeper = watch.keeper(run, generator)
            begun = True
            first = run.epoch + 1
            size = min(chunk, epochs - run.epoch, training.capacity) if patient else 1
            size = min([size, *(callback.pause(run) - run.epoch for callback in pauses)])
            if evaluate is not None and not training.evaluates:
                size = min(size, eval_every - run.epoch % eval_every)
            numbers = np.arange(first, first + size)
            due = (numbers % eval_every == 0) | (numbers == epochs) if evaluate is not None else np.zeros(size, bool)
            watch.begin(first, due)
            before = 0 if generator is None or keeper is None else int(generator.counter.item())
            if training.shuffled:
                training.arrange(asked.plan.table(watch.drawn(order)) for order in asked.orders(generator, size))
            started = time.perf_counter()
            if keeper is not None:
                training.memory.keep(history.snapshots.due(range(first, first + size)), first)
            done = watch.run(pace)
            pace = (time.perf_counter() - started) / max(done, 1)
            chunk = _chunk(pace)
            if keeper is not None:
                kept = history.snapshots.due(range(first, first + done))
                keeper.collect(run, kept, training.memory.kept, watch.moved(generator, before, kept))
            logged = _Columns(training, history, due[:done], first)
            if done and due[done - 1] and not training.evaluates and evaluate is not None:
                run.epoch = first + done - 1
                with interrupted.limited():
                    found = watch.evaluate(first + done - 1, evaluate)
                history.log_evaluation(found)
            for position in range(0 if others else size - 1, done) if callbacks else ():
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


class NativeWatch:
    """Looks at what native calls left, and finds the batch in which something went wrong."""

    def __init__(self, training: Training, asked: Request) -> None:
        self.enders = [callback for callback in asked.callbacks if isinstance(callback, TerminateOnNaN)]
        self.training, self.asked, self.plan, self.health = training, asked, asked.plan, asked.health
        self.draws = not training.changes(default_generator.counter)  # what is drawn ahead is drawn by Python alone
        self.state = [one.handle for one in training.state if one.changes]
        self.interrupted = Deferred()

    def begin(self, first: int, due: Any, rounds: int = 0, before: int = 0, rows: Rows | None = None) -> None:
        """A call for some epochs comes: orders are drawn for it, and the state may have to be taken back. Or it is for
        a piece of an epoch, of `rounds` batches after those `before`, whose rows and their arrays `rows` knows.
        """
        self.first, self.due, self.rounds, self.offset = first, due, rounds or self.training.rounds, before
        self.rows = rows
        self.orders: list[Any] = []
        self.marks: list[Any] = []
        self.found: Unsound | None = None

    def keeper(self, run: Fit, order: Generator | None) -> Keeper | None:
        """Who collects the snapshots that the run leaves; None where the run is to be left for each."""
        keeper, training = self.asked.keeper, self.training
        by_python = self.asked.evaluate is not None and not training.evaluates
        if keeper is None or by_python or not training.memory.kept:
            if keeper is not None:
                keeper.start(run, order, self.state)
            return None
        keeper.follow(run, training.state, len(training.memory.kept[0]), order)
        return keeper

    def moved(self, generator: Generator | None, before: int, epochs: range) -> dict[Any, Any]:
        """After each of these epochs the counter of what Python draws orders from: for a whole call ahead."""
        if not self.training.shuffled:
            return {}
        if generator is None:
            counter = default_generator.counter
            return {counter: np.array([self.marks[k - self.first].value for k in epochs])} if self.draws else {}
        drawn = (int(generator.counter.item()) - before) // len(self.due)
        return {generator.counter: before + drawn * (np.array(epochs, np.int64) - self.first + 1)}

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
        again: Callable[..., Any] = self.asked.step.function
        if self.found.place.batch is None and self.asked.evaluate is not None:
            again = partial(scores_of, self.asked.evaluate)
        try:
            with self.interrupted.limited():
                self.health.fail(self.found, again, numbers_of)
        finally:
            gradients.undo()

    def evaluate(self, epoch: int, evaluate: Scores) -> dict[str, float]:
        """The scores of an evaluation that Python runs."""
        scores = evaluated(evaluate, epoch)
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
        if self.rows is not None:
            return Place(self.first + epoch, batch + self.offset, *self.rows(batch))
        rows = self.plan.rows(self.order(epoch))[batch]
        return Place(self.first + epoch, batch, rows, tuple(gather(column, rows) for column in self.asked.columns))

    def order(self, epoch: int) -> Any:
        """The samples in the order of this epoch of the call, or of the one where the run is, if it draws orders."""
        if self.training.own_order is not None:
            return self.training.own_order[0, : self.plan.samples]
        return self.orders[epoch] if self.orders else np.arange(self.plan.samples)

    def _unsound(self, done: int) -> Unsound | None:
        """The first mean or score of these epochs that is not finite."""
        training = self.training
        means, scores = training.history[:done], training.scores[:done]
        if _all_finite(means) and (not training.evaluates or _all_finite(scores)):
            return None
        bad = np.flatnonzero(~np.isfinite(means).all(1))
        unsound = np.flatnonzero(~np.isfinite(scores).all(1) & self.due[:done]) if training.evaluates else bad[:0]
        if unsound.size and (not bad.size or unsound[0] < bad[0]):
            epoch = int(unsound[0])
            named = dict(zip(training.score_names, scores[epoch].tolist(), strict=False))
            return first_unsound(named, Place(self.first + epoch))
        if not bad.size:
            return None
        epoch = int(bad[0])
        sound = np.where(np.isfinite(means[epoch]), self.offset + self.rounds, training.sound[epoch])
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
        rounds, last = self.rounds, done * self.rounds
        found = self.found
        if found is not None:
            epoch = found.place.epoch - self.first
            at = found.place.batch
            last = (epoch + 1) * rounds if at is None else epoch * rounds + at - self.offset
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
        epochs = batches // self.rounds
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


def _all_finite(numbers: Any) -> bool:
    """Whether an array holds neither NaN nor infinity; quick also for the few numbers of one epoch."""
    return all(map(math.isfinite, numbers.ravel().tolist())) if numbers.size < 64 else bool(np.isfinite(numbers).all())
