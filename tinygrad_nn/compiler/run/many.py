"""Many models that are trained by the machine code of one run.

What differs between them is state or data: values that `Training` would take from tensors, columns of its sets, the
order of samples. A runner takes some of them at a time, one for each of its `lanes`, to memory of its own, so that
several may work at once, each in a thread; no tensor of the user's is touched.

`Arena` runs the code of the single run, so its bits are those of as many calls of `fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...errors import TinygradError
from ...graph.graph import Array
from ..lower.training_loop import STOPPED
from .memory import NEVER, RunMemory
from .training import Training

Arrange = Callable[[int, int], Iterator[tuple[Array, Array]]]  # of a first epoch, from 1, and so many: `Batches.table`


@dataclass(frozen=True, slots=True, eq=False)
class Varying:
    """What models may differ in. All that the run changes is among the `state`, as each begins with values of its own.

    state    numbers of tensors in `Training.state`, in rising order
    columns  (set, column) of the data
    """

    state: tuple[int, ...]
    columns: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, training: Training, state: Sequence[int] = (), columns: Sequence[tuple[int, int]] = ()) -> Varying:
        """What the run changes, and what else is to differ."""
        changing = {k for k, one in enumerate(training.state) if one.changes}
        return cls(tuple(sorted(changing.union(state))), tuple(columns))


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What a model begins with: a value for each tensor and column that varies, in their order. `arrange` says which
    samples the batches are made of, where Python does.
    """

    state: Sequence[Array]
    columns: Sequence[Array] = ()
    arrange: Arrange | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """What a call left of a model: the values of the tensors that vary, and of each epoch the means and the scores."""

    state: list[Array]
    history: Array
    scores: Array


@dataclass(slots=True, eq=False)
class Broken(Exception):
    """A check of a model's data did not hold, in the epoch of this call and the batch, unless it was the evaluation.

    The runner cannot go on with what it holds: it has to be brought anew.
    """

    lane: int
    epoch: int
    batch: int | None
    error: TinygradError
    order: Array | None = field(default=None)  # the samples of that epoch, where the run makes it itself


class Runner(Protocol):
    """Trains as many models at once as it has lanes, for `capacity` epochs of a call at most.

    `bring` each lane, `run` for some epochs, `take` what is wanted, and run on or bring the next models. A lane that
    nothing was brought to does whatever it does.
    """

    lanes: int
    capacity: int

    def bring(self, lane: int, model: Model) -> None:
        """Let a lane begin with a model."""

    def run(self, epochs: int, first: int, evaluated: Array | Sequence[bool]) -> int:
        """Train for some epochs, of which the first has this number, from 1; how many were completed, which are fewer
        where somebody called `stop`. Raises Broken. Python's lock is not held meanwhile.
        """

    def take(self, lane: int, epochs: int) -> Taken:
        """What the last call left of a lane, of its first so many epochs: copies."""

    def stop(self) -> None:
        """Let the call that runs end before its next batch. Another thread may say so."""


class Arena:
    """One model at a time, by the code of the single run, in memory of its own."""

    lanes = 1

    def __init__(
        self,
        training: Training,
        varying: Varying,
        shared: Mapping[int, Array],
        sets: Sequence[Sequence[Array]],
        memory: RunMemory | None = None,
    ) -> None:
        """`shared` are the values of the tensors that do not vary, by their numbers, `sets` the data. Without `memory`
        there is new memory.
        """
        self.varying, self.capacity = varying, training.capacity
        self.memory = memory or RunMemory(training.image, training.epochs, training.memory.shuffled)
        self.code = training.code  # machine code lives as long as somebody holds this
        self.function, self.address = training.function, self.memory.address
        self.memory.stop[...] = NEVER
        self.memory.bring(sets)
        for k, value in shared.items():
            self.memory.state[k][...] = value
        self.state = [self.memory.state[k] for k in varying.state]
        sources = training.made.sources
        self.columns = [
            self.memory.view(sources[number][column])[: len(sets[number][column])] for number, column in varying.columns
        ]
        self.arrange: Arrange | None = None

    def bring(self, lane: int, model: Model) -> None:
        """Let a lane begin with a model."""
        for view, value in zip(self.state, model.state, strict=True):
            view[...] = value
        for view, value in zip(self.columns, model.columns, strict=True):
            view[...] = value
        self.arrange = model.arrange

    def run(self, epochs: int, first: int, evaluated: Array | Sequence[bool]) -> int:
        """Train for some epochs; how many were completed. Raises Broken."""
        memory = self.memory
        if self.arrange is not None:
            memory.arrange(self.arrange(first, epochs))
        memory.prepare(epochs, evaluated)
        code = self.function(self.address)
        if code == 0:
            return epochs
        if code != STOPPED:
            try:
                memory.fail(code, first)
            except TinygradError as error:
                order = None if memory.own_order is None else memory.own_order[0].copy()
                raise Broken(0, *memory.place, error, order) from None
        return int(memory.now[0])

    def take(self, lane: int, epochs: int) -> Taken:
        """What the last call left, of its first so many epochs."""
        memory = self.memory
        return Taken(
            [view.copy() for view in self.state], memory.history[:epochs].copy(), memory.scores[:epochs].copy()
        )

    def stop(self) -> None:
        """Let the call that runs end before its next batch."""
        self.memory.stop[...] = 0

    def go_on(self) -> None:
        """Take `stop` back."""
        self.memory.stop[...] = NEVER


def arenas(
    training: Training,
    varying: Varying,
    shared: Mapping[int, Array],
    sets: Sequence[Sequence[Array]],
    count: int,
) -> list[Runner]:
    """So many runners for as many threads. The first one works in the memory of the run itself."""
    memories: list[Any] = [training.memory, *[None] * (count - 1)]
    return [Arena(training, varying, shared, sets, memory) for memory in memories]
