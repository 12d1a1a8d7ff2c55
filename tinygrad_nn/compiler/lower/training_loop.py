"""The program of a training run: the step, the evaluation and what stands around them, with the repetitions.

    repeat epoch:
        a permutation of the samples
        repeat batch:  stop where told to; copy the batch in, the step, add what it returned to the history
        divide the sums by the number of samples
        when this epoch is evaluated:  the evaluation, its scores to the history

The short last batch is served by the step's own kernels where `batches.overlaid` finds a common graph, else by kernels
of its own after the loop. Samples of several lengths come as several sets of data, each with the kernels of a step of
its own; then every batch runs those it is for, and Python says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...graph import Array, Graph, Node
from ...ops.lookup import Called
from ...ops.rules import FLOAT64, INT64
from ...scalar import Expr, const, param
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
from ..passes.algebra import rewrite
from ..trace import Traced
from .fusion import Plan, plan
from .lower import lower

STOPPED: Final = 10**6  # the code of a run that was stopped
CAPACITY: Final = 4096  # epochs of one call at most
ORDERS: Final = 2**20  # permuted indices kept for one call at most
Results = list[int | float]  # of each value returned: the number of the output, or the value itself


@dataclass(frozen=True, slots=True)
class Body:
    """A step for batches of some size: its trace, the graph to compile, what it returns, and the batches it is for."""

    data: int  # the set of data it works on
    traced: Traced
    graph: Graph
    results: Results
    rows: int
    tail: int | None  # rows of the last batch, where this body serves a short one too
    rounds: int


class Epochs:
    """Puts the program of a run together, and knows its buffers."""

    def __init__(
        self,
        bodies: Sequence[Body],
        scored: Traced | None,
        scores: Results,
        sets: Sequence[Sequence[Array]],
        shuffle: bool,
        permutation: Traced | None,
    ) -> None:
        self.bodies = bodies
        self.samples = sum(len(columns[0]) for columns in sets)
        self.owners: dict[int, Buffer] = {}
        self.faults: list[Fault] = []
        self.handles: dict[int, Any] = {}
        others = [traced for traced in (scored, permutation) if traced is not None]
        graphs = [rewrite(body.graph) for body in bodies] + [rewrite(traced.graph) for traced in others]
        traces = [body.traced for body in bodies] + others
        plans = plain_together([plan(graph) for graph in graphs], traces)
        self.plans = dict(zip(plans, graphs, strict=True))
        parts = [
            self._lowered(graph, one, traced, "" if k == 0 else f"p{k}")
            for k, (graph, one, traced) in enumerate(zip(graphs, plans, traces, strict=True))
        ]
        steps = parts[: len(bodies)]
        first = 1 + sum(len(step.faults) for step in steps)
        self.judging = range(first, first + (len(parts[len(bodies)].faults) if scored is not None else 0))  # codes
        changing = {id(traced.captures[k].handle) for traced in traces for k in traced.updated}
        self.state = [(handle, self.owners[key], key in changing) for key, handle in self.handles.items()]
        self.batches = [step.inputs[: len(body.traced.arguments)] for step, body in zip(steps, bodies, strict=True)]
        ragged = len(sets) > 1
        self.width = max(body.rows for body in bodies)
        self.rounds = rounds = sum(body.rounds for body in bodies)
        whole = rounds * self.width
        per_epoch = shuffle and permutation is None
        self.capacity = max(1, min(CAPACITY, ORDERS // whole)) if per_epoch else CAPACITY
        self.epoch = Var("epoch", self.capacity)
        self.row = affine(self.epoch) if per_epoch else Affine()  # of the orders, for this epoch
        rows = self.capacity if per_epoch else 1
        self.orders = Buffer("order", (rows, whole), INT64, "input") if ragged or shuffle else None
        self.turns = Buffer("turns", (rows, rounds, 2), INT64, "input", True) if ragged else None
        # A whole set in order is the input of the step itself.
        resident = len(bodies) == 1 and bodies[0].rounds == 1 and not shuffle
        self.sources = [list(self.batches[0])] if resident else [self._sources(columns, whole) for columns in sets]
        self.data = [] if resident else self.sources
        self.history = Buffer("history", (self.capacity, max(1, len(bodies[0].results))), FLOAT64, "input", True)
        self.sound = Buffer("sound", self.history.shape, INT64, "input", True)
        self.scores = Buffer("scores", (self.capacity, max(1, len(scores))), FLOAT64, "input", True)
        self.flags = Buffer("evaluated", (self.capacity,), INT64, "input", True)
        self.count, self.now = Buffer("epochs", (), INT64, "input"), Buffer("now", (2,), INT64, "input", True)
        self.stop = Buffer("stop", (), INT64, "input")
        if self.orders is not None:
            sizes = {data[0].shape[0] for data in self.data}
            self.faults += [Fault(Called("order"), self.orders, size) for size in sizes]
        self.kernels: list[Kernel] = []
        regions: list[Region] = []
        if permutation is not None and self.orders is not None:
            self._embed(regions, parts[-1])
            self._then(regions, [self._ordered(parts[-1].outputs[0], self.orders)])
        cases: list[Region] = []
        any_turn, before = Var("batch", rounds), 0
        for case, (step, body, inputs) in enumerate(zip(steps, bodies, self.batches, strict=True)):
            turn = any_turn if ragged else Var("batch", body.rounds)
            inner: list[Region] = []
            self._then(inner, [*self._marks(turn, before), *self._copies(body, turn, before, inputs)])
            self._embed(inner, step)
            self._then(inner, self._totals(body, turn, before, step.outputs))
            if self.turns is None:
                regions.append(Repeat(turn, tuple(inner), None, body.tail is not None))
                before += body.rounds
            else:
                which, short = (Access(self.turns, (self.row, affine(turn), Affine(k))) for k in (0, 1))
                cases.append(When(which, case, tuple(inner), short))
        if ragged:
            regions.append(Repeat(any_turn, tuple(cases)))
        self._then(regions, self._means(len(bodies[0].results)))
        if scored is not None:
            judged: list[Region] = []
            judge = parts[len(bodies)]
            self._embed(judged, judge)
            self._then(judged, self._scored(scores, judge.outputs))
            regions.append(When(Access(self.flags, (affine(self.epoch),)), 1, tuple(judged)))
        own = [buffer for data in self.data for buffer in data]
        own += [self.history, self.sound, self.scores, self.flags, self.count, self.now, self.stop]
        own += [buffer for buffer in (self.orders, self.turns) if buffer is not None]
        arguments = [buffer for inputs in self.batches for buffer in inputs]
        known = dict.fromkeys([*own, *arguments, *self.owners.values()])
        made = [buffer for part in parts for buffer in part.buffers if buffer not in known]
        self.program = Program(
            tuple(self.kernels),
            (*known, *made),
            tuple(known),
            (),
            tuple(update for part in parts for update in part.updates),
            tuple(self.faults),
            (Repeat(self.epoch, tuple(regions), Access(self.count, ())),),
        )

    def _sources(self, columns: Sequence[Array], whole: int) -> list[Buffer]:
        """Buffers for data; what is taken in order is taken up to the end of a whole batch."""
        rows = whole if self.orders is None else len(columns[0])
        return [Buffer(f"x{k}", (rows, *c.shape[1:]), c.dtype, "input") for k, c in enumerate(columns)]

    def _lowered(self, graph: Graph, planned: Plan, traced: Traced, prefix: str) -> Program:
        """The program of one part; a tensor that another part reached before has its buffer already."""
        known: dict[Node, Buffer] = {}
        for capture in traced.captures:
            buffer = self.owners.get(id(capture.handle))
            if buffer is not None:
                known[capture.node] = buffer
        program = lower(graph, planned, known, prefix, len(self.faults))
        self.faults += program.faults
        count = len(traced.arguments)
        for capture, buffer in zip(traced.captures, program.inputs[count:], strict=True):
            self.owners[id(capture.handle)] = buffer
            self.handles[id(capture.handle)] = capture.handle
        return program

    def _then(self, regions: list[Region], more: list[Kernel], updates: tuple[tuple[Buffer, Buffer], ...] = ()) -> None:
        if more or updates:
            regions.append(Span(len(self.kernels), len(self.kernels) + len(more), updates))
            self.kernels += more

    def _embed(self, regions: list[Region], part: Program) -> None:
        """The kernels of a part, repeated as it says."""
        if part.kernels or part.updates:
            regions += shifted(part.regions, len(self.kernels))
            self.kernels += part.kernels

    def _marks(self, turn: Var, before: int) -> list[Kernel]:
        """Where the run is, for messages and for the number of whole epochs; then whether it is to stop here."""
        number = affine(self.epoch) * self.rounds + affine(turn) + before
        stores = (
            Store(Access(self.now, (Affine(0),)), param(affine(self.epoch), INT64)),
            Store(Access(self.now, (Affine(1),)), param(affine(turn) + before, INT64)),
            Check(param(number, INT64) < param(Access(self.stop, ()), INT64), STOPPED),
        )
        return [Kernel("now", stores, ("batch",))]

    def _copies(self, body: Body, turn: Var, before: int, inputs: Sequence[Buffer]) -> list[Kernel]:
        """A batch, from the data to the inputs of the step."""
        kernels = []
        for source, target in zip(self.data[body.data] if self.data else (), inputs, strict=bool(self.data)):
            loops = [Var(f"d{axis}", int(n), getattr(n, "tail", None)) for axis, n in enumerate(target.shape)]
            index = tuple(affine(var) for var in loops)
            row = index[0] + (affine(turn) + before) * self.width
            place: Any = row
            if self.orders is not None:
                place = param(Access(self.orders, (self.row, row)), INT64)
            value = param(Access(source, (place, *index[1:])), source.dtype)
            copied = nest(loops, (Store(Access(target, index), value),))
            kernels.append(Kernel(f"batch_{target.name}", copied, ("batch",)))
        return kernels

    def _ordered(self, source: Buffer, orders: Buffer) -> Kernel:
        """A permutation made here, as the order of this epoch."""
        var = Var("s", self.samples)
        target = Access(orders, (Affine(), affine(var)))
        value = param(Access(source, (affine(var),)), INT64)
        return Kernel("order", (Loop(var, (Store(target, value),)),), ("shuffle",))

    def _totals(self, body: Body, turn: Var, before: int, outputs: Sequence[Buffer]) -> list[Kernel]:
        """Add what the step returned, times the samples of the batch, to the epoch's row of the history. A sum that is
        not finite stays so: the number of those that are is that of the first batch that was not sound.
        """
        size: Expr = const(body.rows, FLOAT64)
        if body.tail is not None:
            size = param(TAIL, TAIL.dtype).where(const(body.tail, FLOAT64), size)
        statements: list[Statement] = []
        for column, result in enumerate(body.results):
            place = Access(self.history, (affine(self.epoch), Affine(column)))
            first = param(affine(turn) + before, INT64).eq(0)
            count = Access(self.sound, place.index)
            before_it = first.where(const(0, INT64), param(count, INT64))
            sofar = first.where(const(0.0, FLOAT64), param(place, FLOAT64))
            total = Register(f"total{column}", FLOAT64)
            value = param(total, FLOAT64)
            statements += [
                Let(total, sofar + size * _number(result, outputs)),
                Store(place, value),
                Store(count, before_it + (value - value).eq(0).to(INT64)),
            ]
        return [Kernel("totals", tuple(statements), ("history",))] if statements else []

    def _means(self, count: int) -> list[Kernel]:
        stores = []
        for column in range(count):
            place = Access(self.history, (affine(self.epoch), Affine(column)))
            stores.append(Store(place, param(place, FLOAT64) / float(self.samples)))
        return [Kernel("means", tuple(stores), ("history",))] if stores else []

    def _scored(self, scores: Results, outputs: Sequence[Buffer]) -> list[Kernel]:
        stores = [
            Store(Access(self.scores, (affine(self.epoch), Affine(column))), _number(score, outputs))
            for column, score in enumerate(scores)
        ]
        return [Kernel("scores", tuple(stores), ("history",))] if stores else []


def plain_together(plans: Sequence[Plan], traces: Sequence[Traced]) -> list[Plan]:
    """The plans, with each tensor of the state plain in all of them where one needs it so."""
    handles: set[int] = set()
    for one, traced in zip(plans, traces, strict=True):
        handles |= {id(capture.handle) for capture in traced.captures if capture.node in one.plain}
    result = []
    for one, traced in zip(plans, traces, strict=True):
        shared = {capture.node for capture in traced.captures if id(capture.handle) in handles}
        result.append(Plan(one.stored, one.plain | shared))
    return result


def _number(result: int | float, outputs: Sequence[Buffer]) -> Expr:
    """An output, or a number, as float64."""
    if isinstance(result, float):
        return const(result, FLOAT64)
    buffer = outputs[result]
    return param(Access(buffer, tuple(Affine() for _ in buffer.shape)), buffer.dtype).to(FLOAT64)
