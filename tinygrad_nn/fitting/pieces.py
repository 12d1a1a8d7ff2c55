"""Training on data in chunks: piece after piece of an epoch, each read while the step runs on the one before.

The batches are those of all rows in one array, and so is everything else: the sums of an epoch go on from piece to
piece, the evaluation stands behind the last one. A native run has one program and two memories, into which the thread
reads; they take turns. Any other step is called for every batch.

The order of an epoch comes from one key, drawn from the generator when the epoch begins; the next one is looked at
ahead where nobody else draws from it, so that reading does not wait for the end of an epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from ..compiler.run.jit import Jitted, usable
from ..compiler.run.training import Training
from ..data.feed import Buffers, Feed, Piece, Reader
from ..errors import ConfigError, message
from ..random import Generator, fresh_seed
from ..support.interrupt import Deferred, deferred
from ..tensor import Tensor
from ..tensor.core import constant, mode
from .eager import Watched
from .native import NativeWatch
from .request import Request
from .results import Means, Scores
from .running import Fit, ended, watched


def run_pieces(native: Pair | None, asked: Request, feed: Feed, run: Fit) -> None:
    """Train on the pieces of every epoch."""
    with deferred() as interrupted, watched(run, asked.progress) as advance, ended(run):
        while not run.over:
            trainer = _Native(native, asked, feed) if native is not None else _Eager(asked, feed)
            with reading(feed, trainer.buffers) as reader:
                _train(trainer, reader, asked, run, interrupted, advance)
            if native is not None and not run.over:  # a callback changed what it was made of
                with interrupted.limited():
                    native = prepared_pieces(asked, feed)
                if native is None:
                    raise ConfigError(message("fit", "a callback that is traced", "callbacks that are called"))


def _train(
    trainer: _Native | _Eager,
    reader: Reader,
    asked: Request,
    run: Fit,
    interrupted: Deferred,
    advance: Callable[[Mapping[str, float], int], None],
) -> None:
    """Epoch after epoch, until the last one, or until the trainer has to be made anew."""
    history, evaluate = run.history, asked.evaluate
    keys = _Keys(asked, reader)
    trainer.interrupted = interrupted
    while not run.over and trainer.fits():
        epoch = run.epoch + 1
        due = evaluate is not None and (epoch % asked.eval_every == 0 or epoch == run.epochs)
        keys.begin(epoch, run.epochs)
        trainer.begin(epoch, due)
        while (piece := reader.next(interrupted)) is not None and trainer.work(piece):
            reader.done(piece)
            if piece.last:
                break
        if piece is None or not piece.last or not trainer.whole:
            trainer.end()
            run.stop(f"interrupted in epoch {epoch}")
            return
        run.epoch = epoch
        history.log_epoch(trainer.means())
        if due and evaluate is not None:
            history.log_evaluation(trainer.scores(evaluate))
        logs = history.last()
        for callback in asked.callbacks:
            callback(run, logs)
        trainer.end()
        advance(logs, 1)
        if interrupted() and not history.stopped:
            run.stop(f"interrupted in epoch {epoch + 1}")


@contextmanager
def reading(feed: Feed, buffers: Buffers) -> Iterator[Reader]:
    """A thread that reads, until the end of the block."""
    reader = Reader(feed, buffers)
    try:
        yield reader
    finally:
        reader.close()


class _Keys:
    """The keys of the orders of epochs, given to the reader: that of the next one too, where it is certain."""

    def __init__(self, asked: Request, reader: Reader) -> None:
        self.asked, self.reader = asked, reader
        self.known = 0  # the last epoch that the reader was asked for

    def begin(self, epoch: int, epochs: int) -> None:
        """This epoch begins."""
        key = fresh_seed(self.asked.generator) if self.asked.shuffle else None
        if self.known < epoch:
            self.reader.ask(key, epoch < epochs)
        self.known = epoch
        certain = not self.asked.shuffle or self.asked.generator is not None
        if epoch < epochs and certain:
            key = _following(self.asked.generator) if self.asked.shuffle else None
            self.reader.ask(key, epoch + 1 < epochs)
            self.known = epoch + 1


def _following(generator: Any) -> int:
    """The key that will be drawn next."""
    other = Generator()
    other.set_state(generator.get_state())
    return fresh_seed(other)


def _numbers(feed: Feed, piece: Piece, low: int, high: int) -> tuple[Any, Callable[[int], tuple[int, str]]]:
    return piece.numbers(low, high), feed.chunks.place


Batch = tuple[int, Callable[[], tuple[Any, ...]], tuple[Tensor, ...]]  # its number, its rows, the arguments of the step


def _batches(feed: Feed, buffers: Buffers, piece: Piece) -> Iterator[Batch]:
    """The batches of a piece."""
    for number, low in enumerate(range(0, piece.rows, feed.batch), piece.first):
        high = min(low + feed.batch, piece.rows)
        columns = (column[low:high].copy() for column in buffers[piece.buffer])
        batch = tuple(Tensor.handle(constant(column)) for column in columns)
        yield number, partial(_numbers, feed, piece, low, high), batch


def batches_from(native: Pair | None, asked: Request, feed: Feed, epoch: int, first: int) -> Iterator[Batch]:
    """The batches of an epoch from the first one on that is asked for; those before are trained on."""
    trainer = _Native(native, asked, feed) if native is not None else _Eager(asked, feed)
    with reading(feed, trainer.buffers) as reader:
        reader.ask(fresh_seed(asked.generator) if asked.shuffle else None)
        trainer.begin(epoch, False)
        while (piece := reader.next()) is not None:
            count = -(-piece.rows // feed.batch)
            before = min(max(first - piece.first, 0), count)
            if before:
                trainer.some(piece, before)
            yield from islice(_batches(feed, trainer.buffers, piece), before, None)
            reader.done(piece)
            if piece.last:
                break


# ---- by a native function -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """One program in two memories, which take turns."""

    trainings: tuple[Training, Training]

    @property
    def training(self) -> Training:
        """One of the two, for what is the same in both."""
        return self.trainings[0]

    @property
    def changing(self) -> list[Any]:
        """The tensors that it gives new values."""
        return [one.handle for one in self.training.state if one.changes]


def prepared_pieces(asked: Request, feed: Feed) -> Pair | None:
    """A native run for pieces; None where each batch has to be a call."""
    if not isinstance(asked.step, Jitted) or mode.recorder is not None or not usable():
        return None
    room = [np.zeros((feed.capacity, *shape), kind) for shape, kind in feed.types]  # never written to: not in memory
    quiet = not asked.progress
    one = Training(asked.step, [room], feed.batch, asked.evaluate, False, None, quiet, feed.short)
    return Pair((one, one.twin()))


class _Native:
    """Works on a piece by one call of a native function."""

    def __init__(self, pair: Pair, asked: Request, feed: Feed) -> None:
        self.asked, self.feed, self.trainings = asked, feed, list(pair.trainings)
        self.buffers: Buffers = [one.memory.room for one in self.trainings]
        self.watches = [NativeWatch(one, asked) for one in self.trainings]
        self.interrupted = Deferred()
        self.pace = float("inf")  # seconds of a row
        self.watch = self.watches[0]
        self.sofar: tuple[Any, Any] = 0.0, 0  # sums of the epoch, and how many batches were sound

    def fits(self) -> bool:
        """Whether it is what the step would be compiled to now."""
        return not self.asked.curious or all(one.fits() for one in self.trainings)

    def begin(self, epoch: int, due: bool) -> None:
        """An epoch begins, which is evaluated if that is due."""
        self.epoch, self.due, self.whole, self.sofar = epoch, due, True, (0.0, 0)

    def work(self, piece: Piece) -> bool:
        """Train on a piece; whether it came to its end."""
        watch = self._take_up(piece)
        started = time.perf_counter()
        self.whole = bool(watch.run(self.pace * piece.rows))
        if self.whole:
            self.pace = (time.perf_counter() - started) / piece.rows
            self.sofar = np.array(watch.training.history[0]), np.array(watch.training.sound[0])
        return self.whole

    def some(self, piece: Piece, count: int) -> None:
        """Train on so many batches of a piece."""
        watch = self._take_up(piece)
        watch.training.run(1, self.epoch, watch.due, math.inf, self.interrupted, count)
        self.sofar = np.array(watch.training.history[0]), np.array(watch.training.sound[0])

    def _take_up(self, piece: Piece) -> NativeWatch:
        """Get ready for a piece."""
        watch, size = self.watches[piece.buffer], self.feed.batch
        training, batches = watch.training, -(-piece.rows // size)
        self.watch, watch.interrupted = watch, self.interrupted
        training.memory.take_up(batches, piece.rows % size > 0, self.sofar)
        evaluated = np.array([piece.last and self.due])
        watch.begin(self.epoch, evaluated, batches, piece.first, partial(self._rows, piece))
        return watch

    def _rows(self, piece: Piece, batch: int) -> tuple[Any, ...]:
        """The rows of a batch of the piece, their arrays, and what they are called."""
        low = batch * self.feed.batch
        high = min(low + self.feed.batch, piece.rows)
        numbers, called = _numbers(self.feed, piece, low, high)
        return numbers, tuple(np.array(column[low:high]) for column in self.buffers[piece.buffer]), called

    def means(self) -> dict[str, float]:
        """Of the epoch."""
        sums = self.sofar[0].tolist()
        return {name: total / self.feed.samples for name, total in zip(self.watch.training.names, sums, strict=False)}

    def scores(self, evaluate: Scores) -> dict[str, float]:
        """After the epoch."""
        training = self.watch.training
        if training.evaluates:
            return dict(zip(training.score_names, training.scores[0].tolist(), strict=False))
        with self.interrupted.limited():
            return self.watch.evaluate(self.epoch, evaluate)

    def end(self) -> None:
        """Raise what there is to raise."""
        self.watch.end()


# ---- by a call for every batch --------------------------------------------------------------------------------------


class _Eager:
    """Works on a piece by a call of the step for every batch."""

    def __init__(self, asked: Request, feed: Feed) -> None:
        self.feed, self.step = feed, Watched(asked)
        self.buffers = feed.buffers()
        self.interrupted = Deferred()

    def fits(self) -> bool:
        """Always."""
        return True

    def begin(self, epoch: int, due: bool) -> None:
        """An epoch begins."""
        self.epoch, self.totals, self.whole = epoch, Means(), True
        self.step.interrupted = self.interrupted

    def work(self, piece: Piece) -> bool:
        """Train on a piece; whether it came to its end."""
        for number, rows, batch in _batches(self.feed, self.buffers, piece):
            self.totals.add(self.step(self.epoch, number, rows, batch), len(batch[0]))
            if self.interrupted():
                self.whole = False
                return False
        return True

    def some(self, piece: Piece, count: int) -> None:
        """Train on so many batches of a piece."""
        for number, rows, batch in islice(_batches(self.feed, self.buffers, piece), count):
            self.step(self.epoch, number, rows, batch)

    def means(self) -> dict[str, float]:
        """Of the epoch."""
        return self.totals.values()

    def scores(self, evaluate: Scores) -> dict[str, float]:
        """After the epoch."""
        return self.step.evaluate(self.epoch, evaluate)

    def end(self) -> None:
        """Nothing is left to raise: it was raised in the batch."""
