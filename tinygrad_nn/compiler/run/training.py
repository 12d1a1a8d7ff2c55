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
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass
from typing import Any, Final

from ...errors import GraphError, message
from ...graph.graph import Array
from ...support.denormals import flushing
from ...support.fork import new_lock
from ...support.interrupt import PATIENCE, Deferred, beside
from ...tensor.context import HANDLES
from ..driver import build
from ..lower.training_loop import STOPPED
from ..trace import forget
from .crossover import machine
from .jit import Jitted, State, built_as_traced, upload, write_back
from .memory import NEVER, RunMemory
from .threads import callable_from, for_threads
from .traces import named, training_job

SMALL: Final = 2**20  # bytes of a state that is kept from the beginning of a run


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
    by Python, `arrange` has to say which samples the batches are made of. With `short` the one set is the room for a
    piece of an epoch, whose last batch may have so many samples; `memory.take_up` then says what there is of it. With
    `kept` there may be room for the state after so many epochs of a call: after those that `memory.keep` says.
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
        short: int | None = None,
        kept: int = 0,
    ) -> None:
        started = time.perf_counter()
        job = training_job(step, sets, batch, evaluate, shuffle, permute, short, kept)
        traced = time.perf_counter() - started
        target = for_threads(machine(part.graph for part in job.parts))
        self.job, self.target = job, target
        self.stages = build(job, target, "" if quiet else f"fit: {step.name}")
        self.image, self.code, made = self.stages.image, self.stages.code, self.stages.image.run
        if made is None or job.epochs is None:
            raise GraphError(message("fit", "a compilation of a call", "one of a run"))
        times, self.made, self.epochs = self.stages.timings, made, job.epochs
        self.spent = Spent(traced, times.lower + times.generate, times.machine, times.cached)
        self.function = callable_from(self.code, self.image.threads)
        self.flushes = step.flushes and self.image.threads == 1  # helpers are everybody's
        if self.flushes:
            self.function = flushing(self.function)
        self.handles = [job.handles[k] for k, _, _ in made.state]
        self._work_in(RunMemory(self.image, job.epochs, shuffle))
        if short is None:
            self.bring(sets)
        parts = [job.traces[k].traced for k, _ in made.parts]
        traces = [traced for traced in parts if traced is not None]
        steps = traces[: len(made.steps)]
        self.evaluates = job.epochs.evaluated
        self.traces = traces[: len(steps) + self.evaluates]  # nothing changes the permutation
        self.names = named("step", steps[0])[0]
        self.score_names = named("evaluate", self.traces[-1])[0] if self.evaluates else ()
        self.cleared = [one.captures[k].handle for one in steps for k, _ in one.gradients]
        self.capacity, self.rounds = made.capacity, made.rounds
        self.pace = math.inf  # seconds of an epoch, when that was last measured
        self.lost = False  # whether Ctrl-C ended a call in the middle of a batch
        self.used = False  # whether there was a batch that came to its end
        self.began: list[Array] = []  # the state before the first epoch, if it was kept,
        self.coming = 1  # and the epoch that comes next

    def _work_in(self, memory: RunMemory) -> None:
        """Let this be the memory of the run."""
        self.memory, self.lock = memory, new_lock()
        self.arena, self.view, self.bring, self.arrange = memory.arena, memory.view, memory.bring, memory.arrange
        changing = (changes for _, _, changes in self.made.state)
        self.state = list(map(State, self.handles, memory.state, changing))
        self.history, self.scores, self.sound = memory.history, memory.scores, memory.sound
        self.now, self.stop, self.cases = memory.now, memory.stop, memory.cases
        self.shuffled, self.own_order = memory.shuffled, memory.own_order

    def twin(self) -> Training:
        """The same run, in memory of its own: while it works, the data of the next call can be brought to the other."""
        other = copy(self)
        other._work_in(RunMemory(self.image, self.epochs, self.memory.shuffled))
        return other

    def __repr__(self) -> str:
        spent = self.spent
        rows = ", ".join(str(batches.rows) for batches in self.made.steps)
        seconds = spent.lower + spent.machine
        compiled = f"{1e3 * seconds:,.0f} ms" + " (cached)" * spent.cached if seconds else "ready"
        return (
            f"{self.epochs.samples:,} samples in batches of {rows}, {self.image.kernels:,} kernels, "
            f"{self.image.size:,} B, compile {compiled}"
        )

    @property
    def place(self) -> tuple[int, int | None]:
        """Of the last error: the epoch of the call, and the batch if it was one."""
        return self.memory.place

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
                    self._note_beginning(first)
                self.memory.prepare(epochs, evaluated)
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
            self.memory.fail(code, first)
        done = epochs if code == 0 else int(self.now[0])
        self.coming = first + done
        return done

    def _note_beginning(self, first: int) -> None:
        """Keep the state before the first epoch, if it is small: a report may train again from there."""
        if first == 1:
            small = sum(one.view.nbytes for one in self.state) <= SMALL
            self.began = [one.view.copy() for one in self.state] if small else []
        elif first != self.coming:
            self.began = []

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
