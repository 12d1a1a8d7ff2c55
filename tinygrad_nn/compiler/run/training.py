"""A whole training run as one native function: epochs, batches, the step, the evaluation, and the history arrays.

The step and the evaluation are traced and lowered into one program whose kernels are repeated. The data lies in the
arena; a batch is copied from it into the inputs of the step, in order or through a permutation. Samples of several
lengths are several sets of data, each with a step of its own, all of them on one state. Python calls the function for a
number of epochs at a time and finds in between what it knows from the eager loop: handles with their values, and the
columns of the history.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ...config import config, say
from ...errors import TraceError, message
from ...graph import Array, Graph
from ...pytree import flatten
from ...tensor import Tensor, no_grad
from ...tensor.context import HANDLES
from ...tensor.core import constant
from ..codegen import native
from ..codegen.llvm import write_function
from ..loopir.program import Fault
from ..lower.training_loop import STOPPED, Body, Epochs, Results
from ..passes.merge import Dim, overlaid
from ..passes.movement import with_axes
from ..schedule.schedule import schedule
from ..trace import Traced, trace
from .jit import Jitted, State, bring_in, built_as_traced, describe, give_back
from .notice import announcement
from .runtime import Arena, raise_fault, show_stages

RANKED: Final = 2048  # samples whose permutation is made natively: by ranks, which costs their square
PATIENCE: Final = 0.15  # seconds that Ctrl-C may wait for a call
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
        bodies: list[Body] = []
        for number, columns in enumerate(sets):
            bodies += self._bodies(step, number, columns, min(batch, len(columns[0])))
        self.names, *others = dict.fromkeys(named("step", body.traced)[0] for body in bodies)
        if others:
            got = f"{list(self.names)} from step, and {list(others[0])} for a batch of another shape"
            raise TraceError(message("fit", got, "the same names for every batch"))
        scored = self._traced_evaluation(evaluate) if evaluate is not None else None
        self.evaluates = scored is not None
        self.score_names, scores = named("evaluate", scored) if scored is not None else ((), [])
        samples = sum(len(columns[0]) for columns in sets)
        native_order = permute if shuffle and len(sets) == 1 and samples <= RANKED else None
        permutation = self._nullary(native_order) if native_order is not None else None
        traced_at = time.perf_counter()
        builder = Epochs(bodies, scored, scores, sets, shuffle, permutation)
        self.schedule = schedule(builder.program, native.machine().width)
        planned_at = time.perf_counter()
        text = write_function(self.schedule)
        lowered_at = time.perf_counter()
        show_stages(bodies[0].traced.graph, builder.plans, self.schedule, text)
        nodes = sum(len(graph.nodes) for graph in builder.plans.values())
        times = planned_at - traced_at, lowered_at - planned_at
        announce = announcement("" if quiet else f"fit: {step.name}", nodes, text.count("\n"), *times)
        self.code = native.build(text, "run", native.SIGNATURE, announce)
        self.spent = Spent(
            traced_at - started, lowered_at - traced_at, time.perf_counter() - lowered_at, self.code.cached
        )
        self.arena = Arena(self.schedule)
        self.lock = threading.RLock()
        self.view = self.arena.view
        self.builder = builder
        self.bring(sets)
        self.traces = [body.traced for body in bodies] + ([scored] if scored is not None else [])
        self.state = [
            State(handle, self.view(buffer), handle_changes) for handle, buffer, handle_changes in builder.state
        ]
        self.cleared = [body.traced.captures[k].handle for body in bodies for k, _ in body.traced.gradients]
        self.capacity = builder.capacity
        self.history, self.scores = self.view(builder.history), self.view(builder.scores)
        self.flags, self.count, self.now = self.view(builder.flags), self.view(builder.count), self.view(builder.now)
        self.stop, self.sound, self.rounds = self.view(builder.stop), self.view(builder.sound), builder.rounds
        self.stop[...] = NEVER
        self.shuffled = shuffle and permutation is None
        self.own_order = self.view(builder.orders) if builder.orders is not None and permutation is not None else None
        self.place: tuple[int, int | None] = (0, None)  # of the last error: epoch of the call, and batch if it was one
        self.orders = self.view(builder.orders) if builder.orders is not None and permutation is None else None
        self.turns = self.view(builder.turns) if builder.turns is not None else None
        last = [(k, body.rounds - 1 - n) for k, body in enumerate(bodies) for n in range(body.rounds)]
        # of every batch, set by set: the body that is for it, and whether it is a short one
        self.cases = np.array([(k, not left and bodies[k].tail is not None) for k, left in last], np.int64)

    def __repr__(self) -> str:
        kernels, spent = len(self.schedule.program.kernels), self.spent
        rows = ", ".join(str(body.rows) for body in self.builder.bodies)
        compiled = "ready" if not spent.machine else f"{1e3 * (spent.lower + spent.machine):,.0f} ms"
        cached = " (cached)" * (spent.cached and bool(spent.machine))
        return (
            f"{self.builder.samples:,} samples in batches of {rows}, {kernels:,} kernels, "
            f"{self.schedule.size:,} B, compile {compiled}{cached}"
        )

    def bring(self, sets: Sequence[Sequence[Array]]) -> None:
        """Put data in the arena, of the shapes the run was made for."""
        for buffers, columns in zip(self.builder.sources, sets, strict=True):
            for buffer, column in zip(buffers, columns, strict=True):
                self.view(buffer)[: len(column)] = column

    def arrange(self, epochs: Iterable[tuple[Array, Array]]) -> None:
        """The batches of the coming epochs: for each the samples by their place in their set, short ones filled up, and
        the number that each batch has when they are counted set by set.
        """
        for k, (rows, numbers) in enumerate(epochs):
            if self.orders is not None:
                self.orders[k] = rows.reshape(-1)
            if self.turns is not None:
                self.turns[k] = self.cases[numbers]

    def changes(self, handle: Any) -> bool:
        """Whether the run gives this tensor new values."""
        return any(one.changes for one in self.state if one.handle is handle)

    def fits(self) -> bool:
        """Whether what the step reached from outside still has the type, and its modules the mode, they had."""
        with HANDLES:
            return all(one.fits() for one in self.state) and all(map(built_as_traced, self.traces))

    def _bodies(self, step: Jitted, number: int, columns: Sequence[Array], batch: int) -> list[Body]:
        """The step for a whole batch, for the short last one too if one graph serves both, else that by itself."""
        rounds, rest = divmod(len(columns[0]), batch)
        traced = self._trace(step, [column[:batch] for column in columns])
        graph, (_, results) = without_gradients(traced), named("step", traced)
        if not rest:
            return [Body(number, traced, graph, results, batch, None, rounds)]
        last = self._trace(step, [column[:rest] for column in columns])
        common = overlaid(with_axes(graph), with_axes(without_gradients(last)))
        if common is not None:
            return [Body(number, traced, common, results, batch, rest, rounds + 1)]
        (_, others) = named("step", last)
        return [
            Body(number, traced, graph, results, batch, None, rounds),
            Body(number, last, without_gradients(last), others, rest, None, 1),
        ]

    def _traced_evaluation(self, evaluate: Callable[[], Any]) -> Traced | None:
        """The trace of the evaluation; None where it reads values, so that Python has to run it."""
        try:
            traced = self._nullary(evaluate)
            named("evaluate", traced)
        except TraceError as error:
            if config().debug:
                say(f"fit: evaluate() is run by Python: {error}")
            return None
        return None if traced.updated else traced

    def _nullary(self, function: Callable[[], Any]) -> Traced:
        """The trace of a function without arguments, without gradients."""
        _, tree = flatten(((), {}))
        with no_grad():
            return trace(function, tree, (), ())

    def _trace(self, step: Jitted, batch: Sequence[Array]) -> Traced:
        kind, _, leaves, is_array = describe(tuple(Tensor.handle(constant(column)) for column in batch), {})
        traced = trace(step.function, kind.tree, leaves, is_array)
        if traced.written:
            got = "a step that writes its arguments in place"
            raise TraceError(message("fit", got, "a step that only reads its batch", "compute new tensors from it"))
        missing = [position for position, gradient in traced.found_gradients if gradient is None]
        if not missing:
            return traced
        for position in missing:  # gradients that are not forgotten add up from batch to batch
            tensor: Any = traced.captures[position].handle
            tensor.grad = tensor.new_zeros(tensor.shape)
        return trace(step.function, kind.tree, leaves, is_array)

    def run(
        self,
        epochs: int,
        first: int,
        evaluated: Array | Sequence[bool],
        seconds: float,
        interrupted: Callable[[], bool],
        stop: int = NEVER,
    ) -> int:
        """Train for some epochs; returns how many were completed. `first` is the number of the first, from 1.

        A call that is expected to take longer than `PATIENCE` seconds, as the first may, runs beside Python, which may
        stop it between two batches when it is `interrupted`.

        It ends before the batch numbered `stop`, counted from the first of this call. Columns are then in `history` and
        `scores`, and in `sound` how many batches of an epoch came before the first whose result was not finite. Raises
        IndexOutOfRange for a label that is out of range; `place` says where, and the state is that before the batch.
        """
        try:
            with ExitStack() as running:
                with HANDLES:
                    running.enter_context(self.lock)
                    bring_in(self.state)
                self.count[...] = epochs
                self.flags[:epochs] = evaluated
                self.now[...] = 0
                code = self._call(seconds, interrupted, stop)
        finally:
            with HANDLES, self.lock:
                give_back(self.state, self.lock)
                for handle in self.cleared:
                    if handle.node.slot is not None:
                        handle.node.slot.grad = None
        if 0 < code != STOPPED:
            self._fail(code, first)
        return epochs if code == 0 else int(self.now[0])

    def _call(self, seconds: float, interrupted: Callable[[], bool], stop: int) -> int:
        """Run the native function; its code, 0 for the whole run."""
        self.stop[...] = stop
        if seconds < PATIENCE:
            return int(self.code.function(self.arena.address))
        codes: list[int] = []
        thread = threading.Thread(target=lambda: codes.append(self.code.function(self.arena.address)))
        thread.start()
        try:
            running = True
            while running:  # asked once at least, also where the run is over before anybody looks
                thread.join(0.02)
                running = thread.is_alive()
                if interrupted():
                    self.stop[...] = 0
        finally:  # a second Ctrl-C must not leave it running: the state is in there
            self.stop[...] = 0
            thread.join()
        return int(codes[0])

    def _fail(self, code: int, first: int) -> None:
        fault: Fault = self.schedule.program.faults[code - 1]
        epoch, batch = self.now.tolist()
        judging = code in self.builder.judging
        self.place = epoch, None if judging else batch
        where = {"epoch": epoch + first} | ({} if judging else {"batch": batch})
        if fault.buffer is None:
            raise_fault(fault, None, where)
            return
        lengths = fault.buffer.shape
        if not judging and self._is_short(epoch, batch):  # behind its rows stands what was left from before
            lengths = tuple(n.tail if isinstance(n, Dim) else n for n in lengths)
        raise_fault(fault, self.view(fault.buffer)[tuple(map(slice, lengths))], where)

    def _is_short(self, epoch: int, batch: int) -> bool:
        """Whether a batch is the short one of a body that serves both."""
        if self.turns is not None:
            return bool(self.turns[epoch % len(self.turns), batch, 1])
        return batch == self.rounds - 1 and bool(self.cases[-1, 1])


def without_gradients(traced: Traced) -> Graph:
    """The graph without the gradients the step leaves: nobody can look at them in the middle of the run."""
    count = sum(kind == "output" for kind, _ in traced.results)
    return Graph.of(traced.graph.outputs[:count], traced.graph.inputs, traced.graph.updates)


def named(owner: str, traced: Traced) -> tuple[tuple[str, ...], Results]:
    """Names of what a function returns, and for each the output (an int) or the number (a float)."""
    tree = traced.tree
    if tree.type is None and owner == "step":
        names: tuple[Any, ...] = ("loss",)
    elif tree.type is not None and issubclass(tree.type, dict) and all(part.type is None for part in tree.parts):
        names = tree.names
    else:
        kind = "one value" if tree.type is None else tree.type.__name__
        raise TraceError(message("fit", f"{kind} from {owner}", "a dict of 0-d tensors"))
    results: Results = []
    for name, (kind, what) in zip(names, traced.results, strict=True):
        if kind == "output" and traced.graph.outputs[what].shape in ((), (1,)):
            results.append(int(what))
        elif kind == "value" and isinstance(what, (int, float)):
            results.append(float(what))
        else:
            got = f"{name!r} from {owner} of shape {traced.graph.outputs[what].shape if kind == 'output' else what}"
            raise TraceError(message("fit", got, "a number or a 0-d tensor", "return the mean"))
    return tuple(map(str, names)), results
