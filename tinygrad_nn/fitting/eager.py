"""Training by a call of the step for every batch, with an eye on what goes wrong in it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ..compiler.run.jit import written_by_machine_code
from ..data.batching import gather
from ..support.interrupt import Deferred, deferred
from ..tensor import Tensor
from ..tensor.core import constant, mode
from .request import Request
from .results import FROM_DATA, Means, Scores, evaluated, numbers_of, scores_of
from .running import Fit, ended, watched
from .trouble import Gradients, Journal, Place, first_unsound, locate, written


def run_eager(asked: Request, run: Fit) -> None:
    """Call the step for every batch."""
    history, epochs, evaluate = run.history, run.epochs, asked.evaluate
    step, feed = Watched(asked), _Feed(asked)
    with deferred() as interrupted, watched(run, asked.progress) as advance, ended(run):
        step.interrupted = interrupted
        for epoch in range(run.epoch + 1, epochs + 1):
            totals = Means()
            for number, (rows, batch) in enumerate(feed.epoch()):
                totals.add(step(epoch, number, rows, batch), len(rows))
                if interrupted():
                    run.stop(f"interrupted in epoch {epoch}")
                    break
            else:
                run.epoch = epoch
                history.log_epoch(totals.values())
                if evaluate is not None and (epoch % asked.eval_every == 0 or epoch == epochs):
                    history.log_evaluation(step.evaluate(epoch, evaluate))
                logs = history.last()
                for callback in asked.callbacks:
                    callback(run, logs)
                advance(logs, 1)
            if history.stopped:
                break


class Watched:
    """A step that is called batch by batch, with an eye on what goes wrong in it."""

    def __init__(self, asked: Request) -> None:
        self.step, self.health, self.gradients = asked.step, asked.health, Gradients()
        self.interrupted = Deferred()

    def __call__(self, epoch: int, batch: int, rows: Any, arguments: tuple[Tensor, ...]) -> dict[str, float]:
        """The numbers it returns. `rows` are the numbers of the samples, or a function that gives them and what they
        are called.
        """
        raises = self.health.raises
        journal = Journal(written_by_machine_code() if raises else ())
        if raises:
            self.gradients.keep()
        outer, mode.journal = mode.journal, journal
        try:
            with self.interrupted.limited():
                numbers = numbers_of(self.step(*arguments))
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
                        self.health.fail(found, self.step, numbers_of)
                finally:
                    self.gradients.undo()
            elif found is not None:
                self.health.note(found)
        if raises:
            self.gradients.learn(journal)
        return numbers

    def evaluate(self, epoch: int, evaluate: Scores) -> dict[str, float]:
        """The scores after an epoch."""
        with self.interrupted.limited():
            scores = evaluated(evaluate, epoch)
        found = first_unsound(scores, Place(epoch))
        if found is not None and self.health.raises:
            self.health.fail(found, partial(scores_of, evaluate), numbers_of)
        if found is not None:
            self.health.note(found)
        return scores


def _place(epoch: int, batch: int, rows: Any, arguments: tuple[Tensor, ...]) -> Place:
    numbers, *called = rows() if callable(rows) else (rows,)
    return Place(epoch, batch, numbers, tuple(argument.numpy() for argument in arguments), *called)


class _Feed:
    """The batches of an epoch as tensors. Those that are `fixed`, in order and changed by nobody, are made once."""

    def __init__(self, asked: Request) -> None:
        self.asked, self.plan = asked, asked.plan
        fixed = not (asked.shuffle or asked.curious)
        self.fixed = [self._batch(rows) for rows in self.plan.rows(np.arange(self.plan.samples))] if fixed else None

    def epoch(self) -> Iterator[tuple[Any, tuple[Tensor, ...]]]:
        """(rows of the data, batch) in the order of this epoch."""
        if self.fixed is not None:
            yield from self.fixed
            return
        asked = self.asked
        order = asked.order(asked.generator) if asked.shuffle else np.arange(self.plan.samples)
        for rows in self.plan.rows(order):
            yield self._batch(rows)

    def _batch(self, rows: Any) -> tuple[Any, tuple[Tensor, ...]]:
        return rows, tuple(Tensor.handle(constant(gather(column, rows))) for column in self.asked.columns)
