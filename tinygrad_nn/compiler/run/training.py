"""A whole training run as one native function: epochs, batches, the step, the evaluation, and the history arrays.

The step and the evaluation are traced and lowered into one program whose kernels are repeated. The data lies in the
arena; a batch is copied from it into the inputs of the step, in order or through a permutation. Samples of several
lengths are several sets of data, each with a step of its own, all of them on one state. Python calls the function for a
number of epochs at a time and finds in between what it knows from the eager loop: handles with their values, and the
columns of the history.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ...errors import GraphError, message
from ...graph.graph import Array, tail_of
from ...support.denormals import flushing
from ...support.fork import new_lock
from ...support.interrupt import PATIENCE, Deferred, beside
from ...tensor.context import HANDLES
from ..driver import build
from ..loopir.faults import raise_fault
from ..lower.training_loop import STOPPED
from ..trace import forget
from .crossover import machine
from .jit import Jitted, State, built_as_traced, upload, write_back
from .threads import callable_from, for_threads
from .traces import named, training_job

NEVER: Final = 2**62  # a batch that does not come


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds that it took to trace, to lower and generate, and to compile, and whether that came from the cache."""

    trace: float
    lower: float
    machine: float
    cached: bool


class Training:
    """A training run, ready to be called for some epochs.

    `sets` are the samples of each length, as the arguments of the step. With several of them, and when it is `shuffled`
    by Python, `arrange` has to say which samples the batches are made of.
    """

    def __init__(
        self,
        step: Jitted,
        sets: Sequence[Sequence[Array]],
        batch: int,
        evaluate: Callable[[], Any] | None,
        shuffle: bool,
        permute: Callable[[], Any] | None = None,
        quiet: bool = False,
    ) -> None:
        started = time.perf_counter()
        job = training_job(step, sets, batch, evaluate, shuffle, permute)
        traced = time.perf_counter() - started
        target = for_threads(machine(part.graph for part in job.parts))
        self.stages = build(job, target, "" if quiet else f"fit: {step.name}")
        self.image, self.code, made = self.stages.image, self.stages.code, self.stages.image.run
        if made is None or job.epochs is None:
            raise GraphError(message("fit", "a compilation of a call", "one of a run"))
        times, self.made, self.epochs = self.stages.timings, made, job.epochs
        self.spent = Spent(traced, times.lower + times.generate, times.machine, times.cached)
        self.function = callable_from(self.code, self.image.threads)
        if step.flushes and self.image.threads == 1:  # helpers are everybody's
            self.function = flushing(self.function)
        self.arena = self.image.arena()
        self.lock = new_lock()
        self.view = self.arena.view
        self.bring(sets)
        parts = [job.traces[k].traced for k, _ in made.parts]
        traces = [traced for traced in parts if traced is not None]
        steps = traces[: len(made.steps)]
        self.evaluates = job.epochs.evaluated
        self.traces = traces[: len(steps) + self.evaluates]  # nothing changes the permutation
        self.names = named("step", steps[0])[0]
        self.score_names = named("evaluate", self.traces[-1])[0] if self.evaluates else ()
        handles = job.handles
        self.state = [State(handles[k], self.view(at), changes) for k, at, changes in made.state]
        self.cleared = [one.captures[k].handle for one in steps for k, _ in one.gradients]
        self.capacity, self.rounds = made.capacity, made.rounds
        control = {name: self.view(at) for name, at in made.control}
        self.history, self.scores = control["history"], control["scores"]
        self.flags, self.count = control["evaluated"], control["epochs"]
        self.now, self.stop, self.sound = control["now"], control["stop"], control["sound"]
        self.stop[...] = NEVER
        permuted = job.epochs.permuted
        self.shuffled = shuffle and not permuted
        self.pace = math.inf  # seconds of an epoch, when that was last measured
        self.lost = False  # whether Ctrl-C ended a call in the middle of a batch
        self.used = False  # whether there was a batch that came to its end
        orders = control.get("order")
        self.own_order = orders if permuted else None  # made natively
        self.orders = None if permuted else orders
        self.variants = control.get("variants")
        self.place: tuple[int, int | None] = (0, None)  # of the last error: epoch of the call, and batch if it was one
        last = [(k, one.rounds - 1 - n, one.short) for k, one in enumerate(made.steps) for n in range(one.rounds)]
        # of every batch, set by set: the step that is for it, and whether it is a short one
        self.cases = np.array([(k, not left and short is not None) for k, left, short in last], np.int64)

    def __repr__(self) -> str:
        spent = self.spent
        rows = ", ".join(str(batches.rows) for batches in self.made.steps)
        seconds = spent.lower + spent.machine
        compiled = f"{1e3 * seconds:,.0f} ms" + " (cached)" * spent.cached if seconds else "ready"
        return (
            f"{self.epochs.samples:,} samples in batches of {rows}, {self.image.kernels:,} kernels, "
            f"{self.image.size:,} B, compile {compiled}"
        )

    def bring(self, sets: Sequence[Sequence[Array]]) -> None:
        """Put data in the arena, of the shapes the run was made for."""
        for places, columns in zip(self.made.sources, sets, strict=True):
            for at, column in zip(places, columns, strict=True):
                self.view(at)[: len(column)] = column

    def arrange(self, epochs: Iterable[tuple[Array, Array]]) -> None:
        """The batches of the coming epochs: for each the samples by their place in their set, short ones filled up, and
        the number that each batch has when they are counted set by set.
        """
        for k, (rows, numbers) in enumerate(epochs):
            if self.orders is not None:
                self.orders[k] = rows.reshape(-1)
            if self.variants is not None:
                self.variants[k] = self.cases[numbers]

    def changes(self, handle: Any) -> bool:
        """Whether the run gives this tensor new values."""
        return any(one.changes for one in self.state if one.handle is handle)

    def fits(self) -> bool:
        """Whether what the step reached from outside still has the type, and its modules the mode, they had."""
        with HANDLES:
            return not self.lost and all(one.fits() for one in self.state) and all(map(built_as_traced, self.traces))

    def run(
        self,
        epochs: int,
        first: int,
        evaluated: Array | Sequence[bool],
        seconds: float,
        interrupted: Deferred,
        stop: int = NEVER,
    ) -> int:
        """Train for some epochs; returns how many were completed. `first` is the number of the first, from 1.

        A call that is expected to take longer than `PATIENCE` seconds, as the first may, runs beside Python, which may
        stop it between two batches when it is `interrupted`. Where that batch takes too long, Overdue is raised: the
        state is that before the call then, and the memory is lost.

        It ends before the batch numbered `stop`, counted from the first of this call. Columns are then in `history` and
        `scores`, and in `sound` how many batches of an epoch came before the first whose result was not finite. Raises
        IndexOutOfRange for a label that is out of range; `place` says where, and the state is that before the batch.
        """
        code = 0
        try:
            with ExitStack() as running:
                with HANDLES:
                    running.enter_context(self.lock)
                    for one in self.state if seconds >= PATIENCE else ():
                        if one.changes:
                            one.handle.node.value  # noqa: B018  kept, whatever becomes of the memory
                    upload(self.state)
                self.count[...] = epochs
                self.flags[:epochs] = evaluated
                self.now[...] = 0
                code = self._call(seconds, interrupted, stop)
        finally:
            with HANDLES, self.lock:
                if not self.lost:
                    write_back(self.state, self.lock)
                for handle in self.cleared:
                    if handle.node.slot is not None:
                        handle.node.slot.grad = None
                self.used = self.used or not (self.lost or (code and not self.now.any()))
                for traced in () if self.used else self.traces:
                    forget(traced.beginning)
        if 0 < code != STOPPED:
            self._fail(code, first)
        return epochs if code == 0 else int(self.now[0])

    def _call(self, seconds: float, interrupted: Deferred, stop: int) -> int:
        """Run the native function; its code, 0 for the whole run."""
        self.stop[...] = stop
        if seconds < PATIENCE:
            return self._directly()

        def watching() -> None:
            if interrupted():
                self.stop[...] = 0

        try:
            with interrupted.limited():
                return beside(self._directly, watching=watching)
        except KeyboardInterrupt:
            self.lost, self.stop[...] = True, 0
            raise

    def _directly(self) -> int:
        return int(self.function(self.arena.address))

    def _fail(self, code: int, first: int) -> None:
        fault, at = self.image.faults[code - 1]
        epoch, batch = self.now.tolist()
        evaluating = code in range(*self.made.evaluating)
        self.place = epoch, None if evaluating else batch
        where = {"epoch": epoch + first} | ({} if evaluating else {"batch": batch})
        if at is None:
            raise_fault(fault, None, where)
            return
        lengths = at.shape
        if not evaluating and self._is_short(epoch, batch):  # behind its rows stands what was left from before
            lengths = tuple(tail_of(n) or n for n in lengths)
        raise_fault(fault, self.view(at)[tuple(map(slice, lengths))], where)

    def _is_short(self, epoch: int, batch: int) -> bool:
        """Whether a batch is the short one of a body that serves both."""
        if self.variants is not None:
            return bool(self.variants[epoch % len(self.variants), batch, 1])
        return batch == self.rounds - 1 and bool(self.cases[-1, 1])
