"""Where a function has a kink: the first operation whose slopes to the left and to the right differ, and its line.

The function is run at the point and at two steps to either side of it, every result is kept in the order in which it
was made, and the results are compared one by one. What made a kink comes before everything that inherits it. Loops over
time are run step by step, so that an operation in them can be named.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..anomaly import Watcher, caller_line
from ..graph import Attrs, Node, Op
from ..tensor.core import Core, bind, mode, tracing
from .numeric import Vector
from .problem import Checkable

_HERE, _PACKAGE = str(Path(__file__).parent), str(Path(__file__).parents[1])
_STEP = 1e-6


@dataclass(frozen=True, slots=True)
class Made:
    """One result: the operation, the words for where it was applied, and its value."""

    op: Op
    place: str
    value: Any


class Tape(Watcher):
    """A recorder that computes as usual and keeps every result with its place."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[Made] = []
        self.modules: list[str] = []
        self.backward: list[int] = []  # results of the gradient rule that runs

    def bind(self, op: Op, nodes: tuple[Node, ...], attrs: Attrs) -> Node:
        """Compute, and keep the result."""
        node = bind(op, nodes, attrs)
        name, line = _public_name(op.name), self.place + caller_line()
        inside = f" in {self.modules[-1]}" if self.modules else ""
        self.lines[node] = f"{name}{inside}, at {line}"
        if self.walking:
            self.backward.append(len(self.made))
        self.made.append(Made(op, self.lines[node], node.value))
        return node

    def begin(self) -> None:
        """A backward walk starts."""
        self.walking = True

    def see(self, node: Node, g: Core, argnum: int, cotangent: Core) -> None:
        """A gradient rule has run: its results belong to the line of the forward call."""
        for k in self.backward:
            made = self.made[k]
            place = self.lines.get(node, node.op.name)
            self.made[k] = Made(made.op, f"{made.op.name} in the gradient of {place}", made.value)
        self.backward.clear()

    @contextmanager
    def scope(self, module: Any) -> Iterator[None]:
        """Within the block a module runs."""
        self.modules.append(type(module).__name__)
        try:
            yield
        finally:
            self.modules.pop()


def _public_name(op: str) -> str:
    """The op, with the function of the package that the user called where that has another name: `clamp (min)`."""
    frame, called = sys._getframe(2), ""
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        called = frame.f_code.co_name
        if frame.f_code.co_filename.startswith(_HERE):  # the check itself called this
            return op
        frame = frame.f_back
    return op if called.startswith(("_", "<")) or called in (op, "apply", "forward") else f"{called} ({op})"


def recorded(problem: Checkable, x: Vector) -> list[Made]:
    """All results of the function at x, in the order in which they were made."""
    tape = Tape()
    before, mode.watch = mode.watch, tape
    try:
        with tracing(tape):
            problem.run_eagerly(x)
    finally:
        mode.watch = before
    return tape.made


def find_kink(problem: Checkable, x: Vector, direction: Vector) -> str | None:
    """`relu in ReLU, at model.py:12: h = self.act(x)`: the first operation with a kink along a direction; None where
    all are smooth.
    """
    h = _STEP * max(1.0, float(np.abs(x[direction != 0]).max(initial=0.0)))
    here = recorded(problem, x)
    sides = [recorded(problem, x + t * direction) for t in (h, -h, h / 4, -h / 4)]
    for k, middle in enumerate(here):
        if any(k >= len(side) or side[k].op is not middle.op for side in sides):
            return f"a branch in Python: another operation than {middle.place}"
        if middle.value.dtype.kind != "f":
            continue
        up, down, near_up, near_down = (side[k].value for side in sides)
        if any(np.shape(value) != np.shape(middle.value) for value in (up, down, near_up, near_down)):
            return f"a shape that depends on values: {middle.place}"
        with np.errstate(all="ignore"):
            wide = np.abs((up - middle.value) - (middle.value - down)) / h
            right, left = (near_up - middle.value) / (h / 4), (middle.value - near_down) / (h / 4)
            gap = np.abs(right - left)
            noise = 1e3 * 2.0**-53 * np.abs(middle.value) / h
            bent = (gap > 0.5 * wide) & (gap > 1e-3 * (np.abs(right) + np.abs(left)) + noise)
            broken = ~np.isfinite(gap)
        if (np.isfinite(middle.value) & (bent | broken)).any():
            return middle.place
    return None
