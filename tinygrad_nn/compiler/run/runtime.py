"""A compiled graph in memory: its arena, the views that bring values in and out, and the call.

The arena holds the state between calls, so a call copies its arguments in and its results out and nothing else. One
arena serves all threads, under a lock. A tensor of the state holds a `Resident` node meanwhile, which copies its value
out of the arena when somebody looks; after that the node keeps that value, as every node does, and the handle gets a
new one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final

import numpy as np

from ...config import config, say
from ...graph import NO_ATTRS, Array, Attrs, Graph, Node
from ...ops.elementwise import no_quotient
from ...ops.lookup import out_of_range
from ...ops.source import CONSTANT
from ..codegen import native
from ..codegen.llvm import write_function
from ..loopir.ir import Buffer
from ..loopir.program import Fault, Program
from ..lower.fusion import Plan, plan
from ..lower.lower import lower
from ..passes.algebra import rewrite
from ..schedule.schedule import Schedule, schedule
from .notice import announcement


class Resident(Node):
    """A node whose value is in an arena until somebody asks for it."""

    __slots__ = ("_array", "_lock", "_view")

    def __init__(self, view: Array, lock: threading.RLock, like: Node) -> None:
        self._array: Array | None = None
        self._view, self._lock = view, lock
        super().__init__(CONSTANT, (), NO_ATTRS, view.shape, view.dtype, None, like.needs_grad)
        self.slot = like.slot
        if self.slot is not None and self.slot.owner >= 0:
            self.slot.owner = self.serial

    @property
    def value(self) -> Any:
        """The value, from now on this one."""
        if self._array is None:
            with self._lock:
                if self._array is None:
                    self._array = np.array(self._view)
        return self._array

    @value.setter
    def value(self, value: Any) -> None:
        pass

    @property
    def was_read(self) -> bool:
        """Whether somebody has looked, so that this node must keep its value."""
        return self._array is not None


LARGE: Final = 2**14  # elements of an argument from which NumPy takes longer to change their order than our loops


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds spent on each stage, and whether the machine code came from the cache."""

    lower: float
    generate: float
    machine: float
    cached: bool


class Stages:
    """What a graph becomes, stage by stage."""

    def __init__(self, graph: Graph, arguments: int = 0) -> None:
        """Of the inputs, the first are arguments, which are copied in at every call: large ones as they lie."""
        started = time.perf_counter()
        self.graph = rewrite(graph)
        large = (node for node in self.graph.inputs[:arguments] if prod(node.shape) >= LARGE)
        found = plan(self.graph)
        self.plan: Plan = replace(found, plain=found.plain.union(large))
        self.program: Program = lower(self.graph, self.plan)
        self.schedule: Schedule = schedule(self.program, native.machine().width)
        lowered = time.perf_counter()
        self.llvm = write_function(self.schedule)
        generated = time.perf_counter()
        self.seconds: Final = (lowered - started, generated - lowered)
        show_stages(graph, {self.plan: self.graph}, self.schedule, self.llvm)

    def assembly(self) -> str:
        """The machine code as text."""
        return native.assembly(self.llvm)


def show_stages(traced: Graph, plans: Mapping[Plan, Graph], planned: Schedule, llvm: str) -> None:
    """Print what TGNN_DEBUG asks for: 1 counts, 2 graph, 4 loops and reasons for buffers, 5 LLVM, 6 assembly."""
    flags = config()
    if flags.verify:
        planned.program.verify()
    if flags.debug >= 1:
        kernels, buffers = len(planned.program.kernels), len(planned.program.buffers)
        lines = llvm.count("\n")
        room = f"{buffers} buffers in {planned.size} bytes"
        say(f"compiled: {len(traced.nodes)} nodes, {kernels} kernels, {room}, {lines} lines of IR")
    if flags.debug >= 2:
        say(f"-- graph\n{traced}")
    if flags.debug >= 4:
        for plan_, graph in plans.items():
            position = {node: k for k, node in enumerate(graph.nodes)}
            reasons = "\n".join(f"b{position[node]} {node.op.name}: {why}" for node, why in plan_.stored.items())
            say(f"-- why a node has a buffer\n{reasons}")
        say(f"-- loops\n{planned.program}")
    if flags.debug >= 5:
        say(f"-- LLVM\n{llvm}")
    if flags.debug >= 6:
        say(f"-- assembly\n{native.assembly(llvm)}")


def aligned(size: int) -> Array:
    """Zeroed bytes whose address is a multiple of 64."""
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


class Arena:
    """The memory of a schedule, with a view of every buffer in its own shape."""

    def __init__(self, planned: Schedule) -> None:
        self.schedule = planned
        self.memory = aligned(max(planned.size, 64))
        self.address: int = self.memory.ctypes.data
        for buffer in planned.program.buffers:
            if buffer.role == "constant" and buffer.base is None:
                self.view(buffer)[...] = buffer.value

    def view(self, buffer: Buffer) -> Array:
        """The elements of a buffer."""
        laid = self.schedule.layouts[buffer]
        size = buffer.dtype.itemsize
        strides = tuple(step * size for step in laid.strides)
        start = self.schedule.offsets[buffer]
        if 0 in buffer.shape:
            return np.zeros(buffer.shape, buffer.dtype)
        return np.ndarray(buffer.shape, buffer.dtype, self.memory.data, start, strides)


class Compiled:
    """A graph as machine code, with an arena of its own."""

    def __init__(self, graph: Graph, arguments: int = 0, owner: str = "") -> None:
        """`owner` is who says so if it takes long."""
        self.stages = Stages(graph, arguments)
        planned, text = self.stages.schedule, self.stages.llvm
        announce = announcement(owner, len(graph.nodes), text.count("\n"), *self.stages.seconds)
        started = time.perf_counter()
        self.code = native.build(text, "run", native.SIGNATURE, announce)
        self.timings = Timings(*self.stages.seconds, time.perf_counter() - started, self.code.cached)
        self.arena = Arena(planned)
        self.lock = threading.RLock()
        program = planned.program
        self.inputs = [self.arena.view(buffer) for buffer in program.inputs]
        self.outputs = [self.arena.view(buffer) for buffer in program.outputs]
        self.updates = [self.arena.view(old) for old, _ in program.updates]
        self.function = self.code.function
        self.address = self.arena.address

    def run(self, values: Sequence[Any]) -> tuple[list[Array], list[Array]]:
        """Outputs and new values of the state for given inputs, as `executor.run`."""
        with self.lock:
            for view, value in zip(self.inputs, values, strict=True):
                np.copyto(view, value)
            self.call()
            return [np.array(view) for view in self.outputs], [np.array(view) for view in self.updates]

    def call(self) -> None:
        """Run the machine code on what is in the arena. The caller holds the lock."""
        code = self.function(self.address)
        if code:
            self.fail(code)

    def fail(self, code: int) -> None:
        """Raise the error of a check that did not hold."""
        fault: Fault = self.stages.schedule.program.faults[code - 1]
        raise_fault(fault, None if fault.buffer is None else self.arena.view(fault.buffer))


_HINTS: Final = dict.fromkeys(
    (("cross_entropy", -100), ("nll_loss", -100)),
    "compiled code ignores labels only if ignore_index is another number: ignore_index=-1, and -1 among the labels",
)


def raise_fault(fault: Fault, values: Any, where: Attrs = NO_ATTRS) -> None:
    """Name the first number that is out of range, or divisor that is 0, and where it was."""
    if fault.size is None:
        raise no_quotient(fault.called.name, values, where)
    raise out_of_range(fault.called, np.array(values), fault.size, hints=_HINTS)
