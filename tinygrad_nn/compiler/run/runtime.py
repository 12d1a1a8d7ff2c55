"""A compiled graph in memory: its arena, the views that bring values in and out, and the call.

The arena holds the state between calls, so a call copies its arguments in and its results out and nothing else. One
arena serves all threads, under a lock. A tensor of the state holds a `Resident` node meanwhile, which copies its value
out of the arena when somebody looks; after that the node keeps that value, as every node does, and the handle gets a
new one.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...graph.graph import NO_ATTRS, Array, Graph, Node
from ...ops.source import CONSTANT
from ...support.fork import new_lock
from ..driver import build
from ..job import Job, Part
from ..loopir.faults import raise_fault
from ..target import Target
from .crossover import machine
from .threads import callable_from, for_threads


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


class Compiled:
    """A graph as machine code, with an arena of its own."""

    def __init__(self, graph: Graph, arguments: int = 0, owner: str = "", target: Target | None = None) -> None:
        """Of the inputs, the first are arguments. `owner` is who says so if it takes long."""
        own = target or for_threads(machine((graph,)))
        self.stages = build(Job((Part(graph),), arguments), own, owner)
        self.timings, self.code, self.image = self.stages.timings, self.stages.code, self.stages.image
        self.arena = self.image.arena()
        self.lock = new_lock()
        self.inputs = list(map(self.arena.view, self.image.inputs))
        self.outputs = list(map(self.arena.view, self.image.outputs))
        self.updates = list(map(self.arena.view, self.image.updates))
        self.function = callable_from(self.code, self.image.threads)
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
        fault, at = self.image.faults[code - 1]
        raise_fault(fault, None if at is None else self.arena.view(at))
