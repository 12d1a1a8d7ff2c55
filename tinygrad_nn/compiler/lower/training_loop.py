"""The program of a training run: the step, the evaluation and what stands around them, with the repetitions.

    repeat epoch:
        a permutation of the samples
        repeat batch:  stop where told to; copy the batch in, the step, add what it returned to the history
        divide the sums by the number of samples
        when this epoch is evaluated:  the evaluation, its scores to the history

An epoch `alone` has the batches, the sums and the division, after a check of the order.

The short last batch is served by the step's own kernels where its batches say so, else by those of a step after it.
Samples of several lengths come as several sets of data, each with the kernels of a step of its own; then every batch
runs those it is for, and Python says which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np

from ...errors import GraphError, message
from ...graph.graph import DType, Shape, tail_of
from ...graph.scalar import Expr, const, param
from ...ops.lookup import Called
from ...ops.rules import FLOAT32, FLOAT64, INT32, INT64
from ..job import Batches, Epochs, Job, Part, Results
from ..loopir.ir import (
    TAIL,
    Access,
    Affine,
    Buffer,
    Check,
    Kernel,
    Let,
    Loop,
    Register,
    Statement,
    Store,
    Var,
    affine,
    nest,
)
from ..loopir.program import Fault, Program, Region, Repeat, Span, When, shifted
from .parts import Lowered

STOPPED: Final = 10**6  # the code of a run that was stopped
CAPACITY: Final = 4096  # epochs of one call at most
ORDERS: Final = 2**20  # permuted indices kept for one call at most


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """What Python fills in and reads: of a call, of each of its epochs, of each batch of an epoch.

    epochs   how many there are in this call; `stop` is the number of the batch before which it ends
    now      where the run is: epoch and batch
    history  of an epoch and each number the step returns its mean; `sound` is how many batches were before the first
             whose number was not finite
    scores   what the evaluation returned after an epoch, where `evaluated` is 1
    order    the samples of an epoch, one batch after the other
    variants the step of each batch, and whether it is short
    batches  how many there are of this piece of an epoch
    taken    1 for an epoch after which the state is kept, and in which `slot` of the room for it
    """

    epochs: Buffer
    stop: Buffer
    now: Buffer
    history: Buffer
    sound: Buffer
    scores: Buffer
    evaluated: Buffer
    order: Buffer | None
    variants: Buffer | None
    batches: Buffer | None
    taken: Buffer | None = None
    slot: Buffer | None = None

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """All that there are."""
        found = (self.history, self.sound, self.scores, self.evaluated, self.epochs, self.now, self.stop)
        others = (self.order, self.variants, self.batches, self.taken, self.slot)
        return (*found, *(buffer for buffer in others if buffer is not None))


@dataclass(frozen=True, slots=True, eq=False)
class TrainingProgram:
    """The program of a run, and what is where in it.

    state    the tensors that the parts reach, with their buffers, and whether the run changes them
    sources  the columns of each set of data
    evaluating  the codes of the faults of the evaluation
    apart    the buffers in which each model has a part of its own, along the last axis
    kept     of each tensor that the run changes, in the order of `state`, the values that are kept
    """

    job: Job
    program: Program
    control: Control
    state: tuple[tuple[Any, Buffer, bool], ...]
    sources: tuple[tuple[Buffer, ...], ...]
    capacity: int
    evaluating: range
    apart: frozenset[Buffer] = frozenset()
    kept: tuple[Buffer, ...] = ()

    @property
    def rounds(self) -> int:
        """Batches of an epoch."""
        return count_rounds(self.job.steps)

    @property
    def filled_in(self) -> tuple[Buffer, ...]:
        """What callers fill in and read."""
        return filled_in(self.job, self.control)

    def verify(self) -> TrainingProgram:
        """Check the program, and that whatever is named is one of its inputs. Raises GraphError."""
        self.program.verify()
        inputs = set(self.program.inputs)
        named = [*self.filled_in, *(buffer for _, buffer, _ in self.state)]
        named += [*self.kept, *(buffer for columns in self.sources for buffer in columns)]
        strangers = [buffer for buffer in named if buffer not in inputs]
        if strangers:
            raise GraphError(message("training", f"{', '.join(map(str, strangers))}, no inputs of the program"))
        return self


def filled_in(job: Job, control: Control) -> tuple[Buffer, ...]:
    """Of what is there to control a run what is used: of an epoch alone the order and the means."""
    if job.epochs is None or not job.epochs.alone:
        return control.buffers
    return (control.history,) if control.order is None else (control.order, control.history)


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where the kernels of a run find things: data and control, in the round of an epoch."""

    epochs: Epochs
    control: Control
    epoch: Var
    now: Affine  # the number of this epoch
    row: Affine  # of the orders, for this epoch
    width: int  # samples of a batch
    rounds: int
    data: tuple[tuple[Buffer, ...], ...]  # none where the data is the input of the step itself


def count_rounds(steps: Sequence[Part]) -> int:
    """Batches of an epoch."""
    return sum(batches_of(step).rounds for step in steps)


def batches_of(step: Part) -> Batches:
    """Those that a step is for. Raises GraphError for what is no step."""
    if step.batches is None:
        raise GraphError(message("training", "a step without batches"))
    return step.batches


def training_program(lowered: Lowered) -> TrainingProgram:
    """The parts of a run as one program, with its loops."""
    job, programs = lowered.job, lowered.programs
    if job.epochs is None:
        raise GraphError(message("training", "a job without epochs"))
    count = len(job.steps)
    places = make_places(job, job.epochs)
    inputs = [lowered.arguments(k) for k in range(count)]
    line = Line()
    regions: list[Region] = []
    if job.epochs.permuted and places.control.order is not None:
        regions += line.part(programs[-1])
        regions += line.span([_ordered(job.epochs.samples, programs[-1].outputs[0], places.control.order)])
    sizes = dict.fromkeys(columns[0].shape[0] for columns in places.data)
    if job.epochs.alone and places.control.order is not None:
        regions += line.span([_order_checked(places.control.order, job.epochs.samples, 1 + len(lowered.faults))])
    regions += _batches(line, job.steps, programs[:count], inputs, places)
    if not job.epochs.in_pieces:
        regions += line.span(_means(places, len(job.steps[0].results)))
    if job.epochs.evaluated:
        inner = [*line.part(programs[count])]
        inner += line.span(_scored(places, job.parts[count].results, programs[count].outputs))
        regions.append(When(Access(places.control.evaluated, (affine(places.epoch),)), 1, tuple(inner)))
    control = places.control
    changing = {id(part.captures[k].handle) for part in job.parts if part.traced for k in part.traced.updated}
    state = tuple((handle, buffer, id(handle) in changing) for handle, buffer in lowered.state)
    rooms = {buffer: _room(buffer, job.epochs.kept) for _, buffer, changes in state if changes and control.taken}
    if control.taken is not None:
        regions.append(When(Access(control.taken, (affine(places.epoch),)), 1, tuple(line.span(_kept(places, rooms)))))
    data = [buffer for columns in places.data for buffer in columns]
    arguments = [buffer for columns in inputs for buffer in columns]
    own = [buffer for _, buffer, _ in state]
    known = dict.fromkeys([*data, *filled_in(job, control), *arguments, *rooms.values(), *own])
    made = [buffer for program in programs for buffer in program.buffers if buffer not in known]
    program = Program(
        tuple(line.kernels),
        (*known, *made),
        tuple(known),
        (),
        tuple(update for program in programs for update in program.updates),
        lowered.faults
        + tuple(Fault(Called("order"), control.order, size) for size in sizes if control.order)
        + ((Fault(Called("slot"), control.slot, job.epochs.kept),) if control.slot else ()),
        tuple(regions) if job.epochs.alone else (Repeat(places.epoch, tuple(regions), Access(control.epochs, ())),),
    )
    first = 1 + sum(len(program.faults) for program in programs[:count])
    evaluating = range(first, first + (len(programs[count].faults) if job.epochs.evaluated else 0))
    sources = places.data or (inputs[0],)
    made_of = (job, program, control, state, sources, places.epoch.extent, evaluating)
    kept = tuple(rooms[buffer] for _, buffer, changes in state if changes and rooms)
    return TrainingProgram(*made_of, kept=kept)


def make_places(job: Job, epochs: Epochs) -> Places:
    """The buffers around the parts. A whole set in order is the input of the step itself."""
    steps, rounds = job.steps, count_rounds(job.steps)
    ragged, width = len(epochs.sets) > 1, max(batches_of(step).rows for step in steps)
    whole = rounds * width
    per_epoch = epochs.shuffle and not epochs.permuted
    permutations = whole * (job.lanes.count if job.lanes is not None and job.lanes.order else 1)
    capacity = max(1, min(CAPACITY, ORDERS // permutations)) if per_epoch else CAPACITY
    epoch = Var("epoch", capacity)
    told = ragged or (epochs.in_pieces and (len(steps) > 1 or batches_of(steps[0]).short is not None))
    scores = job.parts[len(steps)].results if epochs.evaluated else ()
    shape = (capacity, max(1, len(steps[0].results)))
    rows = capacity if per_epoch else 1
    order = Buffer("order", (rows, whole), INT64, "input") if ragged or epochs.shuffle else None
    kind = np.result_type(FLOAT32, *_dtypes(steps[0])) if epochs.alone else FLOAT64
    order = Buffer("order", (1, whole), INT32, "input") if epochs.alone and order is not None else order
    control = Control(
        epochs=Buffer("epochs", (), INT64, "input"),
        stop=Buffer("stop", (), INT64, "input"),
        now=Buffer("now", (2,), INT64, "input", True),
        history=Buffer("history", shape[1:] if epochs.alone else shape, kind, "input", True),
        sound=Buffer("sound", shape, INT64, "input", True),
        scores=Buffer("scores", (capacity, max(1, len(scores))), FLOAT64, "input", True),
        evaluated=Buffer("evaluated", (capacity,), INT64, "input", True),
        order=order,
        variants=Buffer("variants", (rows, rounds, 2), INT64, "input", True) if told else None,
        batches=Buffer("batches", (), INT64, "input") if epochs.in_pieces else None,
        taken=Buffer("taken", (capacity,), INT64, "input") if epochs.kept else None,
        slot=Buffer("slot", (capacity,), INT64, "input") if epochs.kept else None,
    )
    is_input = len(steps) == 1 and rounds == 1 and not epochs.shuffle
    data = () if is_input else tuple(_columns(columns, whole if order is None else None) for columns in epochs.sets)
    now = Affine() if epochs.alone else affine(epoch)
    return Places(epochs, control, epoch, now, now if per_epoch else Affine(), width, rounds, data)


def _dtypes(step: Part) -> list[DType]:
    """Those of what a step returns."""
    return [step.graph.outputs[result].dtype for result in step.results if isinstance(result, int)]


def _columns(columns: Sequence[tuple[Shape, DType]], rows: int | None) -> tuple[Buffer, ...]:
    """Buffers for data; what is taken in order is taken up to the end of a whole batch, so many rows."""
    return tuple(
        Buffer(f"x{k}", (shape[0] if rows is None else rows, *shape[1:]), dtype, "input")
        for k, (shape, dtype) in enumerate(columns)
    )


class Line:
    """Kernels one after the other, while the regions of a run are put together."""

    def __init__(self) -> None:
        self.kernels: list[Kernel] = []

    def span(self, more: Sequence[Kernel]) -> list[Region]:
        """More kernels, which run once."""
        start = len(self.kernels)
        self.kernels += more
        return [Span(start, len(self.kernels), ())] if more else []

    def part(self, part: Program) -> Sequence[Region]:
        """The kernels of a part, repeated as it says."""
        start = len(self.kernels)
        self.kernels += part.kernels
        return shifted(part.regions, start) if part.kernels or part.updates else ()


def _batches(
    line: Line, steps: Sequence[Part], programs: Sequence[Program], inputs: Sequence[Sequence[Buffer]], places: Places
) -> list[Region]:
    """Every batch of an epoch, or of a piece of it: step after step, each for its own; or in one loop, where each says
    which it is for.
    """
    regions: list[Region] = []
    variants, any_batch, before = places.control.variants, Var("batch", places.rounds), 0
    batches = None if places.control.batches is None else Access(places.control.batches, ())
    for case, (step, program, given) in enumerate(zip(steps, programs, inputs, strict=True)):
        own = batches_of(step)
        batch_index = any_batch if variants is not None else Var("batch", own.rounds)
        number = affine(batch_index) + before
        inner = [
            *line.span([*_mark(places, number), *_copies(places, own, number, given)]),
            *line.part(program),
            *line.span(_totals(places, step, number, program.outputs)),
        ]
        if variants is None:
            regions.append(Repeat(batch_index, tuple(inner), batches, own.short is not None))
            before += own.rounds
        else:
            which, short = (Access(variants, (places.row, affine(batch_index), Affine(k))) for k in (0, 1))
            regions.append(When(which, case, tuple(inner), short))
    return regions if variants is None else [Repeat(any_batch, tuple(regions), batches)]


def _order_checked(order: Buffer, samples: int, code: int) -> Kernel:
    """A check that the order has samples that there are."""
    var = Var("s", samples)
    place = param(Access(order, (Affine(), affine(var))), order.dtype)
    return Kernel("check_order", (Loop(var, (Check((place >= 0) & (place < samples), code),)),), ("shuffle",))


def _mark(places: Places, number: Affine) -> list[Kernel]:
    """Where the run is, for messages and for the number of whole epochs; then whether it is to stop here."""
    control, epoch = places.control, places.now
    if places.epochs.alone:
        return []
    stores = (
        Store(Access(control.now, (Affine(0),)), param(epoch, INT64)),
        Store(Access(control.now, (Affine(1),)), param(number, INT64)),
        Check(param(epoch * places.rounds + number, INT64) < param(Access(control.stop, ()), INT64), STOPPED),
    )
    return [Kernel("now", stores, ("batch",))]


def _copies(places: Places, batches: Batches, number: Affine, inputs: Sequence[Buffer]) -> list[Kernel]:
    """A batch, from the data to the inputs of the step."""
    kernels, order = [], places.control.order
    for source, target in zip(places.data[batches.data] if places.data else (), inputs, strict=bool(places.data)):
        loops = [Var(f"d{axis}", int(n), tail_of(n)) for axis, n in enumerate(target.shape)]
        index = tuple(affine(var) for var in loops)
        row = index[0] + number * places.width
        place: Any = row if order is None else param(Access(order, (places.row, row)), order.dtype).to(INT64)
        value = param(Access(source, (place, *index[1:])), source.dtype)
        kernels.append(Kernel(f"batch_{target.name}", nest(loops, (Store(Access(target, index), value),)), ("batch",)))
    return kernels


def _ordered(samples: int, source: Buffer, order: Buffer) -> Kernel:
    """A permutation made here, as the order of this epoch."""
    var = Var("s", samples)
    value = param(Access(source, (affine(var),)), INT64)
    return Kernel("order", (Loop(var, (Store(Access(order, (Affine(), affine(var))), value),)),), ("shuffle",))


def _totals(places: Places, step: Part, number: Affine, outputs: Sequence[Buffer]) -> list[Kernel]:
    """Add what the step returned, times the samples of the batch, to the epoch's row of the history. A sum that is
    not finite stays so: the number of those that are is that of the first batch that was not sound.
    """
    own, control, kind = batches_of(step), places.control, places.control.history.dtype
    size: Expr = const(own.rows, kind)
    if own.short is not None:
        size = param(TAIL, TAIL.dtype).where(const(own.short, kind), size)
    statements: list[Statement] = []
    for column, result in enumerate(step.results):
        place = Access(control.history, _means_at(places, column))
        count = Access(control.sound, place.index)
        sofar, before_it = param(place, kind), param(count, INT64)
        if control.batches is None:  # else Python says what the sums are at the beginning of a piece
            first = param(number, INT64).eq(0)
            sofar, before_it = first.where(const(0.0, kind), sofar), first.where(const(0, INT64), before_it)
        total = Register(f"total{column}", kind)
        value = param(total, kind)
        statements += [Let(total, sofar + size * _number(result, outputs, kind)), Store(place, value)]
        if not places.epochs.alone:
            statements.append(Store(count, before_it + (value - value).eq(0).to(INT64)))
    return [Kernel("totals", tuple(statements), ("history",))] if statements else []


def _means(places: Places, count: int) -> list[Kernel]:
    """The sums of an epoch, each divided by the number of samples."""
    history = places.control.history
    accesses = [Access(history, _means_at(places, column)) for column in range(count)]
    stores = [Store(place, param(place, history.dtype) / float(places.epochs.samples)) for place in accesses]
    return [Kernel("means", tuple(stores), ("history",))] if stores else []


def _means_at(places: Places, column: int) -> tuple[Affine, ...]:
    """Where in the history the mean of a number stands."""
    return (Affine(column),) if places.epochs.alone else (places.now, Affine(column))


def _scored(places: Places, scores: Results, outputs: Sequence[Buffer]) -> list[Kernel]:
    """What the evaluation returned, to the epoch's row."""
    stores = [
        Store(Access(places.control.scores, (places.now, Affine(column))), _number(score, outputs, FLOAT64))
        for column, score in enumerate(scores)
    ]
    return [Kernel("scores", tuple(stores), ("history",))] if stores else []


def _room(buffer: Buffer, count: int) -> Buffer:
    """For so many values of a tensor."""
    return Buffer(f"kept_{buffer.name}", (count, *buffer.shape), buffer.dtype, "input", True)


def _kept(places: Places, rooms: Mapping[Buffer, Buffer]) -> list[Kernel]:
    """Copies of the state, to the slot of this epoch."""
    kernels = []
    for buffer, room in rooms.items():
        loops = [Var(f"d{axis}", int(n)) for axis, n in enumerate(buffer.shape)]
        index = tuple(affine(var) for var in loops)
        slot = param(Access(cast(Buffer, places.control.slot), (affine(places.epoch),)), INT64)
        store = Store(Access(room, (slot, *index)), param(Access(buffer, index), buffer.dtype))
        kernels.append(Kernel(f"keep_{buffer.name}", nest(loops, (store,)), ("keep",)))
    return kernels


def _number(result: int | float, outputs: Sequence[Buffer], dtype: DType) -> Expr:
    """An output, or a number, of a dtype."""
    if isinstance(result, float):
        return const(result, dtype)
    buffer = outputs[result]
    return param(Access(buffer, tuple(Affine() for _ in buffer.shape)), buffer.dtype).to(dtype)
