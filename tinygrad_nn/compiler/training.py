"""A whole training run as one native function: epochs, batches, the step, the evaluation, and the history arrays.

The step and the evaluation are traced and lowered into one program whose kernels are repeated. The data lies in the
arena; a batch is copied from it into the inputs of the step, in order or through a permutation. Python calls the
function for a number of epochs at a time and finds in between what it knows from the eager loop: handles with their
values, and the columns of the history.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from ..config import config, say
from ..errors import TraceError, message
from ..graph import Graph, Node
from ..ops.rules import FLOAT64, INT64
from ..pytree import flatten
from ..scalar import Expr, const, param
from ..tensor import no_grad
from . import native
from .batches import unify
from .fusion import plan
from .jit import Jitted, State, describe
from .llvm import write_function
from .loopir import TAIL, Access, Affine, Buffer, Check, Kernel, Loop, Statement, Store, Var, affine
from .lower import lower
from .program import Fault, Program, Region, Repeat, Span, When
from .rewrite import rewrite
from .runtime import Arena, Resident, raise_fault
from .schedule import schedule
from .trace import Traced, trace

PATIENCE: Final = 0.15  # seconds that Ctrl-C may wait for a call
STOPPED: Final = 10**6  # the code of a run that was stopped
CAPACITY: Final = 4096  # epochs of one call at most
ORDERS: Final = 2**20  # permuted indices kept for one call at most
Array = np.ndarray[Any, Any]


class NoCommonGraph(Exception):
    """The step does something else with the short last batch than with a whole one."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds that it took to trace, to lower and generate, and to compile, and whether that came from the cache."""

    trace: float
    lower: float
    machine: float
    cached: bool


class Training:
    """A training run, ready to be called for some epochs."""

    def __init__(
        self,
        step: Jitted,
        columns: Sequence[Array],
        batch: int,
        evaluate: Callable[[], Any] | None,
        shuffle: bool,
    ) -> None:
        started = time.perf_counter()
        self.samples, self.batch = len(columns[0]), batch
        self.columns = columns
        traced, graph = self._traced(step, columns)
        self.names, results = named("step", traced)
        scored = self._traced_evaluation(evaluate) if evaluate is not None else None
        self.evaluates = scored is not None
        self.score_names, scores = named("evaluate", scored) if scored is not None else ((), [])
        traced_at = time.perf_counter()
        builder = Builder(traced, graph, results, scored, scores, columns, batch, shuffle)
        self.schedule = schedule(builder.program, native.machine().width)
        text = write_function(self.schedule)
        lowered_at = time.perf_counter()
        self.code = native.build(text, "run", native.SIGNATURE)
        self.spent = Spent(
            traced_at - started, lowered_at - traced_at, time.perf_counter() - lowered_at, self.code.cached
        )
        self.arena = Arena(self.schedule)
        self.lock = threading.RLock()
        self.view = self.arena.view
        self.builder, self.text = builder, text
        for buffer, column in zip(builder.sources, columns, strict=True):
            self.view(buffer)[: self.samples] = column
        self.state = [
            State(handle, self.view(buffer), handle_changes) for handle, buffer, handle_changes in builder.state
        ]
        self.cleared = [traced.captures[position].handle for position, _ in traced.gradients]
        self.capacity = builder.capacity
        self.history, self.scores = self.view(builder.history), self.view(builder.scores)
        self.flags, self.count, self.now = self.view(builder.flags), self.view(builder.count), self.view(builder.now)
        self.stop = self.view(builder.stop)
        self.orders = self.view(builder.orders) if builder.orders is not None else None

    def _traced(self, step: Jitted, columns: Sequence[Array]) -> tuple[Traced, Graph]:
        """The trace of a whole batch, and the graph that serves the short last one too."""
        rest = self.samples % self.batch
        graph: Graph | None
        traced = self._trace(step, [column[: self.batch] for column in columns])
        graph = without_gradients(traced)
        if rest:
            graph = unify(graph, without_gradients(self._trace(step, [column[:rest] for column in columns])))
            if graph is None:
                raise NoCommonGraph
        return traced, graph

    def _traced_evaluation(self, evaluate: Callable[[], Any]) -> Traced | None:
        """The trace of the evaluation; None where it reads values, so that Python has to run it."""
        try:
            with no_grad():
                _, tree = flatten(((), {}))
                traced = trace(evaluate, tree, (), ())
            named("evaluate", traced)
        except TraceError as error:
            if config().debug:
                say(f"fit: evaluate() is run by Python: {error}")
            return None
        return None if traced.updated else traced

    def _trace(self, step: Jitted, batch: Sequence[Array]) -> Traced:
        kind, _, leaves, is_array = describe(tuple(batch), {})
        return trace(step.function, kind.tree, leaves, is_array)

    def run(
        self,
        epochs: int,
        first: int,
        evaluated: Sequence[bool],
        orders: Array | None,
        seconds: float,
        interrupted: Callable[[], bool],
    ) -> int:
        """Train for some epochs; returns how many were completed. `first` is the number of the first, from 1.

        A call that is expected to take longer than `PATIENCE` seconds runs beside Python, which may stop it between two
        batches when it is `interrupted`.

        Columns are then in `history` and `scores`. Raises IndexOutOfRange for a label that is out of range, naming
        epoch, batch, row and value; the state is that before the batch.
        """
        with self.lock:
            for one in self.state:
                if one.handle.node is not one.node:
                    one.bring_in()
                elif one.changes and one.node.was_read:
                    one.node = None
            self.count[...] = epochs
            self.flags[:epochs] = evaluated
            self.now[...] = 0
            if self.orders is not None and orders is not None:
                self.orders[:epochs] = orders
            code = self._call(seconds, interrupted)
        for one in self.state:
            if one.changes and one.node is None:
                one.node = one.handle.node = Resident(one.view, self.lock, one.handle.node)
        for handle in self.cleared:
            if handle.node.slot is not None:
                handle.node.slot.grad = None
        if 0 < code != STOPPED:
            self._fail(code, first)
        return epochs if code == 0 else int(self.now[0])

    def _call(self, seconds: float, interrupted: Callable[[], bool]) -> int:
        """Run the native function; its code, 0 for the whole run."""
        self.stop[...] = 0
        if seconds < PATIENCE:
            return int(self.code.function(self.arena.address))
        codes: list[int] = []
        thread = threading.Thread(target=lambda: codes.append(self.code.function(self.arena.address)))
        thread.start()
        while thread.is_alive():
            thread.join(0.02)
            if interrupted():
                self.stop[...] = 1
        return int(codes[0])

    def _fail(self, code: int, first: int) -> None:
        fault: Fault = self.schedule.program.faults[code - 1]
        epoch, batch = int(self.now[0]) + first, int(self.now[1])
        values = self.view(fault.buffer)
        if fault.buffer in self.builder.batches:
            rows = min(self.batch, self.samples - batch * self.batch)
            raise_fault(fault, values[:rows], {"epoch": epoch, "batch": batch})
        raise_fault(fault, values, {"epoch": epoch})


def without_gradients(traced: Traced) -> Graph:
    """The graph without the gradients the step leaves: nobody can look at them in the middle of the run."""
    count = sum(kind == "output" for kind, _ in traced.results)
    return Graph.of(traced.graph.outputs[:count], traced.graph.inputs, traced.graph.updates)


def named(owner: str, traced: Traced) -> tuple[tuple[str, ...], list[int | float]]:
    """Names of what a function returns, and for each the output (an int) or the number (a float)."""
    tree = traced.tree
    if tree.type is None:
        names: tuple[Any, ...] = ("loss",)
    elif issubclass(tree.type, dict) and all(part.type is None for part in tree.parts):
        names = tree.names
    else:
        raise TraceError(message("fit", f"{tree.type.__name__} from {owner}", "a 0-d tensor or a dict of them"))
    results: list[int | float] = []
    for name, (kind, what) in zip(names, traced.results, strict=True):
        if kind == "output" and traced.graph.outputs[what].shape in ((), (1,)):
            results.append(int(what))
        elif kind == "value" and isinstance(what, (int, float)):
            results.append(float(what))
        else:
            got = f"{name!r} from {owner} of shape {traced.graph.outputs[what].shape if kind == 'output' else what}"
            raise TraceError(message("fit", got, "a number or a 0-d tensor", "return the mean"))
    return tuple(map(str, names)), results


class Builder:
    """Puts the program of a run together."""

    def __init__(
        self,
        traced: Traced,
        graph: Graph,
        results: list[int | float],
        scored: Traced | None,
        scores: list[int | float],
        columns: Sequence[Array],
        batch: int,
        shuffle: bool,
    ) -> None:
        self.samples, self.batch = len(columns[0]), batch
        self.rounds = -(-self.samples // batch)
        self.rest = self.samples % batch or None
        rewritten = rewrite(graph)
        step = lower(rewritten, plan(rewritten))
        count = len(traced.arguments)
        self.batches = step.inputs[:count]
        owners = {id(c.handle): buffer for c, buffer in zip(traced.captures, step.inputs[count:], strict=True)}
        changing = {id(traced.captures[position].handle) for position in traced.updated}
        evaluation, extra = self._evaluation(scored, owners, len(step.faults))
        self.state = [
            *((c.handle, owners[id(c.handle)], id(c.handle) in changing) for c in traced.captures),
            *((handle, buffer, False) for handle, buffer in extra),
        ]
        self.capacity = max(1, min(CAPACITY, ORDERS // self.samples)) if shuffle else CAPACITY
        self.epoch, self.round = Var("epoch", self.capacity), Var("batch", self.rounds)
        whole = self.rounds * batch
        # A whole set in order is the input of the step itself.
        resident = self.rounds == 1 and not shuffle
        self.sources: list[Buffer] = list(self.batches) if resident else []
        self.data = (
            []
            if resident
            else [Buffer(f"x{k}", (whole, *c.shape[1:]), c.dtype, "input") for k, c in enumerate(columns)]
        )
        self.sources = self.sources or self.data
        self.orders = Buffer("order", (self.capacity, whole), INT64, "input") if shuffle else None
        self.history = Buffer("history", (self.capacity, max(1, len(results))), FLOAT64, "input", True)
        self.scores = Buffer("scores", (self.capacity, max(1, len(scores))), FLOAT64, "input", True)
        self.flags = Buffer("evaluated", (self.capacity,), INT64, "input", True)
        self.count, self.now = Buffer("epochs", (), INT64, "input"), Buffer("now", (2,), INT64, "input", True)
        self.stop = Buffer("stop", (), INT64, "input")
        kernels: list[Kernel] = []
        faults = [*step.faults, *(evaluation.faults if evaluation else ())]
        begin = [*self._marks(), *self._copies(faults)]
        ending = self._totals(results, step.outputs)
        kernels += [*begin, *step.kernels, *ending]
        rounds = (
            Span(0, len(begin)),
            Span(len(begin), len(begin) + len(step.kernels), step.updates),
            Span(len(begin) + len(step.kernels), len(kernels)),
        )
        regions: list[Region] = [Repeat(self.round, rounds, None, self.rest is not None)]
        self._then(regions, kernels, self._means(len(results)))
        if evaluation is not None:
            inner: list[Region] = []
            self._then(inner, kernels, list(evaluation.kernels))
            self._then(inner, kernels, self._scored(scores, evaluation.outputs))
            regions.append(When(Access(self.flags, (affine(self.epoch),)), tuple(inner)))
        own = [*self.data, self.history, self.scores, self.flags, self.count, self.now, self.stop]
        own += [self.orders] if self.orders is not None else []
        self.program = Program(
            tuple(kernels),
            (*own, *step.buffers, *(evaluation.buffers if evaluation else ())),
            (*own, *step.inputs, *(buffer for _, buffer in extra)),
            (),
            step.updates,
            tuple(faults),
            (Repeat(self.epoch, tuple(regions), Access(self.count, ())),),
        )

    def _evaluation(
        self, scored: Traced | None, owners: Mapping[int, Buffer], faults: int
    ) -> tuple[Program | None, list[tuple[Any, Buffer]]]:
        """The program of the evaluation on the state of the step, and the tensors that only it reaches."""
        if scored is None:
            return None, []
        known: dict[Node, Buffer] = {}
        extra: list[tuple[Any, Buffer]] = []
        for capture in scored.captures:
            buffer = owners.get(id(capture.handle))
            if buffer is None:
                node = capture.node
                buffer = Buffer(f"e{len(extra)}", node.shape, node.dtype, "input")
                extra.append((capture.handle, buffer))
            known[capture.node] = buffer
        rewritten = rewrite(scored.graph)
        planned = plan(rewritten)
        plain = {node for node in planned.plain if node in known and not known[node].plain}
        if plain:
            raise TraceError(message("fit", "an evaluate() that reshapes the state", "the state in its own shape"))
        program = lower(rewritten, planned, known, "e", faults)
        return replace(program, buffers=(*(buffer for _, buffer in extra), *program.buffers)), extra

    def _then(self, regions: list[Region], kernels: list[Kernel], more: list[Kernel]) -> None:
        if more:
            regions.append(Span(len(kernels), len(kernels) + len(more)))
            kernels += more

    def _marks(self) -> list[Kernel]:
        """Where the run is, for messages."""
        stores = (
            Check(param(Access(self.stop, ()), INT64).eq(0), STOPPED),
            Store(Access(self.now, (Affine(0),)), param(affine(self.epoch), INT64)),
            Store(Access(self.now, (Affine(1),)), param(affine(self.round), INT64)),
        )
        return [Kernel("now", stores, ("batch",))]

    def _copies(self, faults: list[Fault]) -> list[Kernel]:
        """A batch, from the data to the inputs of the step."""
        kernels: list[Kernel] = []
        if not self.data:
            return kernels
        if self.orders is not None:
            faults.append(Fault("order", self.orders, self.data[0].shape[0]))
        for source, target in zip(self.data, self.batches, strict=True):
            loops = [Var(f"d{axis}", int(n), getattr(n, "tail", None)) for axis, n in enumerate(target.shape)]
            index = tuple(affine(var) for var in loops)
            row = index[0] + affine(self.round) * self.batch
            place: Any = row
            if self.orders is not None:
                place = param(Access(self.orders, (affine(self.epoch), row)), INT64)
            value = param(Access(source, (place, *index[1:])), source.dtype)
            body: tuple[Statement, ...] = (Store(Access(target, index), value),)
            for var in reversed(loops):
                body = (Loop(var, body),)
            kernels.append(Kernel(f"batch_{target.name}", body, ("batch",)))
        return kernels

    def _totals(self, results: list[int | float], outputs: Sequence[Buffer]) -> list[Kernel]:
        """Add what the step returned, times the samples of the batch, to the epoch's row of the history."""
        size: Expr = const(self.batch, FLOAT64)
        if self.rest is not None:
            size = param(TAIL, TAIL.dtype).where(const(self.rest, FLOAT64), size)
        stores = []
        for column, result in enumerate(results):
            place = Access(self.history, (affine(self.epoch), Affine(column)))
            first = param(affine(self.round), INT64).eq(0)
            before = first.where(const(0.0, FLOAT64), param(place, FLOAT64))
            stores.append(Store(place, before + size * _number(result, outputs)))
        return [Kernel("totals", tuple(stores), ("history",))] if stores else []

    def _means(self, count: int) -> list[Kernel]:
        stores = []
        for column in range(count):
            place = Access(self.history, (affine(self.epoch), Affine(column)))
            stores.append(Store(place, param(place, FLOAT64) / float(self.samples)))
        return [Kernel("means", tuple(stores), ("history",))] if stores else []

    def _scored(self, scores: list[int | float], outputs: Sequence[Buffer]) -> list[Kernel]:
        stores = [
            Store(Access(self.scores, (affine(self.epoch), Affine(column))), _number(score, outputs))
            for column, score in enumerate(scores)
        ]
        return [Kernel("scores", tuple(stores), ("history",))] if stores else []


def _number(result: int | float, outputs: Sequence[Buffer]) -> Expr:
    """An output, or a number, as float64."""
    if isinstance(result, float):
        return const(result, FLOAT64)
    buffer = outputs[result]
    return param(Access(buffer, tuple(Affine() for _ in buffer.shape)), buffer.dtype).to(FLOAT64)
