"""Many models at a time, each in a lane of the vectors: whether that pays, and the runner.

What one model leaves half empty, short rows and small layers, many fill: each instruction works for all of them. What
models share, data and the order of the batches, is loaded once. But their memory adds up, so a model that fills vectors
and caches by itself is better trained alone. Both programs are made, and their cycles counted, never timed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Final

import numpy as np

from ...errors import TinygradError
from ...graph.graph import Array, DType
from ...support.denormals import flushing
from ..codegen import cache as disk
from ..codegen import native
from ..driver import Compilation, build
from ..expand.cost import cycles
from ..job import Job
from ..job import Lanes as Apart
from ..loopir.faults import holds
from ..lower.training_loop import STOPPED
from ..recall import entry_of, key_of
from ..target import SECOND, THIRD, Target
from .many import Arrange, Broken, Model, Runner, Taken, Varying
from .memory import NEVER, RunMemory
from .training import Training

CLEARLY: Final = 1.1  # times as fast models must be in lanes: the count is rough
ROOM: Final = 2 * (SECOND + THIRD)  # bytes that all models together may have: one that needs more is no small model
WORTH: Final = 3e8  # cycles that must be saved to be worth the compilation of another program,
LOOK: Final = 1e8  # and that a run must take at the least to be worth a look
NODE: Final = 20.0  # cycles that an operation takes at the least, and one for each of its elements that a vector holds


@dataclass(frozen=True, slots=True)
class Choice:
    """How many models train at a time, in lanes of the vectors if these are several, and why: a sentence. An epoch of
    one model alone takes about so many `cycles`, and of one in lanes that `share` of them; 0 where nobody counted.
    """

    lanes: int
    why: str
    cycles: float = 0.0
    share: float = 0.0


def impossible(training: Training) -> str | None:
    """Why the models of a run cannot lie in lanes; None if they can."""
    if len(training.epochs.sets) > 1 and training.epochs.shuffle:
        return "samples of several lengths are shuffled, so models are in different steps at one time"
    return None


def chosen(training: Training, varying: Varying, models: int, epochs: int, target: Target | None = None) -> Choice:
    """One after the other or in lanes, whichever takes fewer cycles for so many models of a run."""
    target = target or native.host()
    alone, count = "one model after the other", natural(training, varying, target)
    reason = impossible(training)
    if reason is None and count == 1:
        reason = "a vector holds one number"
    if reason is None and models == 1:
        reason = "there is but one"
    made = training.made
    places = [*(at for columns in made.sources for at in columns), *(at for _, at in made.control)]
    around = sum(prod(at.shape) * at.dtype.itemsize for at in places)
    size = (training.image.size - around) * count
    if reason is None and size > ROOM:
        reason = f"{count} of them take {size / 2**20:.0f} MB, more than the caches hold"
    if reason is None and _least(training, count) * models * epochs < LOOK:
        reason = "the run is so short that another program does not pay"
    if reason is not None:
        return Choice(1, f"{alone}: {reason}")
    one, share = _counted(training, varying, count, target)
    kind = _dtype(training, varying).name
    much = f"{count} models in the {kind} lanes of a vector take {share * count:.1f} times the cycles of one alone"
    used = share * count * ceil(models / count) / models  # the last group may not be full
    if used * CLEARLY >= 1.0:
        idle = f", and there are {models}" if models < count else ""
        return Choice(1, f"{alone}: {much}{idle}", one, share)
    if (1.0 - used) * one * models * epochs < WORTH:
        return Choice(1, f"{alone}: the run is so short that another program does not pay", one, share)
    return Choice(count, f"{count} models at a time: {much}", one, share)


def natural(training: Training, varying: Varying, target: Target) -> int:
    """As many models as a vector has lanes. More would only share more of what all load, and take caches for it."""
    return max(1, target.width // _dtype(training, varying).itemsize)


def _dtype(training: Training, varying: Varying) -> DType:
    """That of most floats in which models differ."""
    sizes: dict[DType, int] = {np.dtype(np.float64): 0}
    for k in varying.state:
        view = training.state[k].view
        if view.dtype.kind == "f":
            sizes[view.dtype] = sizes.get(view.dtype, 0) + view.size
    return max(sizes, key=sizes.__getitem__)


def _least(training: Training, lanes: int) -> float:
    """About the cycles that an epoch takes at the least."""
    parts = ((part, 1 if part.batches is None else part.batches.rounds) for part in training.job.parts)
    return sum(rounds * sum(NODE + prod(node.shape) / lanes for node in part.graph.nodes) for part, rounds in parts)


def _counted(training: Training, varying: Varying, count: int, target: Target) -> tuple[float, float]:
    """The cycles of an epoch of one model alone, and those of one in lanes as a part of them; kept on disk beside the
    program, since to count takes as long as to compile.
    """
    job = job_of(training, varying, count)
    key = key_of(job, target)
    name = None if key is None else entry_of(key)
    known = None if name is None else disk.load(name, "measured")
    if known is None:
        pairs = (training.job, replace(training.target, threads=1)), (job, target)
        one, many = (cycles(build(each, machine, last="expand").made["expand"]) for each, machine in pairs)
        known = f"{one} {many / (count * max(one, 1.0))}".encode()
        if name is not None:
            disk.save(name, known, "measured")
    one, share = map(float, known.split())
    return one, share


def job_of(training: Training, varying: Varying, count: int) -> Job:
    """The job of a run with so many models in lanes."""
    handles = tuple(training.state[k].handle for k in varying.state)
    columns = tuple(
        tuple((number, column) in varying.columns for column in range(len(places)))
        for number, places in enumerate(training.made.sources)
    )
    return replace(
        training.job, lanes=Apart(count, handles, columns, training.shuffled and impossible(training) is None)
    )


class InLanes:
    """Some models at a time, in memory of its own."""

    def __init__(
        self,
        made: Compilation,
        training: Training,
        varying: Varying,
        shared: Mapping[int, Array],
        sets: Sequence[Sequence[Array]],
        lanes: int,
    ) -> None:
        """As `Arena`: `shared` are the values of the tensors that do not vary, by their numbers, `sets` the data."""
        self.lanes = lanes
        self.memory = memory = RunMemory(made.image, training.epochs, training.memory.shuffled)
        self.code = made.code  # machine code lives as long as somebody holds this
        self.function, self.capacity, self.address = made.code.function, memory.made.capacity, memory.address
        if training.flushes:
            self.function = flushing(self.function)
        apart = set(varying.columns)
        self.columns: list[Array] = []
        for number, (places, columns) in enumerate(zip(memory.made.sources, sets, strict=True)):
            for k, (at, column) in enumerate(zip(places, columns, strict=True)):
                memory.view(at)[: len(column)] = column[..., None] if (number, k) in apart else column
        for number, k in varying.columns:
            self.columns.append(memory.view(memory.made.sources[number][k])[: len(sets[number][k])])
        for k, value in shared.items():
            memory.state[k][...] = value
        self.state = [memory.state[k] for k in varying.state]
        self.arranges: list[Arrange | None] = [None] * lanes
        self.begun = False

    def bring(self, lane: int, model: Model) -> None:
        """Let a lane begin with a model; with the first one all of them, as none may do what nobody asked for."""
        at = lane if self.begun else slice(None)
        for views, values in ((self.state, model.state), (self.columns, model.columns)):
            for view, value in zip(views, values, strict=True):
                view[..., at] = value if self.begun else np.asarray(value)[..., None]
        if not self.begun:
            self.arranges = [model.arrange] * self.lanes
        self.arranges[lane] = model.arrange
        self.begun = True

    def run(self, epochs: int, first: int, evaluated: Array | Sequence[bool]) -> int:
        """Train for some epochs; how many were completed. Raises Broken."""
        memory = self.memory
        self.arrange(first, epochs)
        memory.prepare(epochs, evaluated)
        code = int(self.function(self.address))
        if code == 0:
            return epochs
        if code != STOPPED:
            self.fail(code, first)
        return int(memory.now[0])

    def arrange(self, first: int, epochs: int) -> None:
        """The samples of the batches, where Python says which: for each model, or for all of them the same."""
        memory, given = self.memory, self.arranges
        if memory.orders is None or memory.orders.ndim < 3:
            if given[0] is not None:
                memory.arrange(given[0](first, epochs))
            return
        for lane, arrange in enumerate(given):
            for k, (rows, _) in enumerate(() if arrange is None else arrange(first, epochs)):
                memory.orders[k, :, lane] = rows.reshape(-1)

    def fail(self, code: int, first: int) -> None:
        """Say which model's numbers were wrong; where models share them, it is the first one's."""
        memory, lane = self.memory, 0
        values, own = memory.checked(code), code in memory.made.apart
        if own and values is not None:
            fault, _ = memory.image.faults[code - 1]
            lane = next(k for k in range(self.lanes) if not holds(fault, values[..., k]))
        try:
            memory.fail(code, first, lane if own else None)
        except TinygradError as error:
            order = memory.own_order
            if order is not None:
                order = (order[..., lane] if order.ndim == 3 else order)[0].copy()
            raise Broken(lane, *memory.place, error, order) from None

    def take(self, lane: int, epochs: int) -> Taken:
        """What the last call left of a lane, of its first so many epochs."""
        memory = self.memory
        return Taken(
            [view[..., lane].copy() for view in self.state],
            memory.history[:epochs, :, lane].copy(),
            memory.scores[:epochs, :, lane].copy(),
        )

    def stop(self) -> None:
        """Let the call that runs end before its next batch."""
        self.memory.stop[...] = 0

    def go_on(self) -> None:
        """Take `stop` back."""
        self.memory.stop[...] = NEVER


def in_lanes(
    training: Training,
    varying: Varying,
    shared: Mapping[int, Array],
    sets: Sequence[Sequence[Array]],
    count: int,
    lanes: int,
    owner: str = "",
) -> list[Runner]:
    """So many runners for as many threads, each for so many models in `lanes`; `owner` says so if it takes long."""
    made = build(job_of(training, varying, lanes), native.host(), owner)
    return [InLanes(made, training, varying, shared, sets, lanes) for _ in range(count)]
