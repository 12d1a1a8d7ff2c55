"""Where something went wrong: the operation that has a kink, or whose gradient rule is not right, with the user's line.

`find_kink` runs the function at the point and at two steps to either side of it, keeps every result in the order in
which it was made, and compares the results one by one: what made a kink comes before everything that inherits it.
`find_rule` looks on at a backward walk and compares each cotangent with differences of the one operation it is for.
Loops over time are run step by step, so that an operation in them can be named.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..anomaly import Watcher
from ..graph.graph import Attrs, Node, Op
from ..tensor.core import Core, bind, mode, tracing, user_line
from .numeric import Vector, flat, settled_slope
from .problem import Checkable

_HERE, _PACKAGE = str(Path(__file__).parent), str(Path(__file__).parents[1])
_STEP = 1e-6
_RULES = 2000  # gradient rules that are looked at


@dataclass(frozen=True, slots=True)
class Made:
    """One result: the operation, in words what it is and where, its value, and the results it was made from."""

    op: Op
    name: str
    line: str
    value: Any
    operands: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}, at {self.line}"


class Tape(Watcher):
    """A recorder that computes as usual and keeps every result with its place."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[Made] = []
        self.number: dict[Node, int] = {}
        self.modules: list[str] = []
        self.backward: list[int] = []  # results of the gradient rule that runs

    def bind(self, op: Op, nodes: tuple[Node, ...], attrs: Attrs) -> Node:
        """Compute, and keep the result."""
        node = bind(op, nodes, attrs)
        inside = f" in {self.modules[-1]}" if self.modules else ""
        operands = tuple(self.number[operand] for operand in nodes if operand in self.number)
        if self.walking:
            self.backward.append(len(self.made))
        self.number[node] = len(self.made)
        name, line = _public_name(op.name) + inside, self.place + user_line()
        self.made.append(Made(op, name, line, node.value, operands))
        return node

    def begin(self) -> None:
        """A backward walk starts."""
        self.walking = True

    def see(self, node: Node, g: Core, argnum: int, cotangent: Core) -> None:
        """A gradient rule has run: its results belong to the line of the forward call."""
        for k in self.backward:
            forward = self.made[self.number[node]] if node in self.number else None
            name = f"{self.made[k].op.name} in the gradient of {forward.name if forward else node.op.name}"
            self.made[k] = replace(self.made[k], name=name, line=forward.line if forward else self.made[k].line)
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
    """The op, with the function of the package that the user called where that has another name: `sort (gather)`."""
    frame, called = sys._getframe(2), ""
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        called = frame.f_code.co_name
        if frame.f_code.co_filename.startswith(_HERE):  # the check itself called this
            return op
        frame = frame.f_back
    return op if called.startswith(("_", "<")) or called in (op, "apply", "forward", "call") else f"{called} ({op})"


@contextmanager
def _looking_on(tape: Tape) -> Iterator[None]:
    before, mode.watch = mode.watch, tape
    try:
        with tracing(tape):
            yield
    finally:
        mode.watch = before


def _recorded(problem: Checkable, x: Vector) -> list[Made]:
    """All results of the function at x, in the order in which they were made."""
    tape = Tape()
    with _looking_on(tape):
        problem.run_eagerly(x)
    return tape.made


def find_kink(problem: Checkable, x: Vector, direction: Vector) -> str | None:
    """`relu in ReLU, at model.py:12: h = self.act(x)`: the first operation with a kink or a jump along a direction;
    None where all are smooth.
    """
    h = _STEP * max(1.0, float(np.abs(x[direction != 0]).max(initial=0.0)))
    here = _recorded(problem, x)
    sides = [_recorded(problem, x + t * direction) for t in (h, -h, h / 4, -h / 4)]
    for k, middle in enumerate(here):
        if any(k >= len(side) or side[k].op is not middle.op for side in sides):
            return f"another branch of the Python code from here on: {middle}"
        values = [side[k].value for side in sides]
        if any(np.shape(value) != np.shape(middle.value) for value in values):
            return f"a shape that depends on values: {middle}"
        if middle.value.dtype.kind == "f" and _is_bent(h, middle.value, *values):
            chosen = (here[j] for j in middle.operands if _changed(here[j], *(side[j] for side in sides)))
            return f"{middle}" + "".join(f"; it follows {other}" for other in chosen if other.line != middle.line)
    return None


def _is_bent(h: float, middle: Any, up: Any, down: Any, near_up: Any, near_down: Any) -> bool:
    """Whether slopes to the left and to the right differ, or do not settle, where the value is finite."""
    with np.errstate(all="ignore"):
        right, left = (near_up - middle) / (h / 4), (middle - near_down) / (h / 4)
        gap, wide = np.abs(right - left), np.abs((up - middle) - (middle - down)) / h
        noise = 1e3 * 2.0**-53 * np.abs(middle) / h
        kink = (gap > 0.5 * wide) & (gap > 1e-3 * (np.abs(right) + np.abs(left)) + noise)
        jump = (np.abs(near_up - middle) > 0.4 * np.abs(up - middle)) & (np.abs(right) > noise)
        jump |= (np.abs(near_down - middle) > 0.4 * np.abs(down - middle)) & (np.abs(left) > noise)
        return bool((np.isfinite(middle) & (kink | jump | ~np.isfinite(gap))).any())


def _changed(middle: Made, *sides: Made) -> bool:
    """Whether a truth value or an index is another one nearby."""
    return middle.value.dtype.kind != "f" and any(not np.array_equal(side.value, middle.value) for side in sides)


class _Rules(Tape):
    """Compares every cotangent with differences of the operation that it belongs to."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.looked = 0

    def see(self, node: Node, g: Core, argnum: int, cotangent: Core) -> None:
        """One operand's cotangent was made."""
        super().see(node, g, argnum, cotangent)
        operand, value = node.inputs[argnum], getattr(cotangent, "node", None)
        if self.wrong or self.looked >= _RULES or not isinstance(value, Node) or value.shape != operand.shape:
            return
        self.looked += 1
        if not _rule_holds(node, g.node.value, argnum, value.value):
            name = node.op.name if len(node.inputs) == 1 else f"{node.op.name} by operand {argnum}"
            line = self.line(node)
            self.wrong.append(f"{name}, at {line}" if line else name)

    def line(self, node: Node) -> str | None:
        """Where a node was made; of a Function with its own backward, where its forward made the result."""
        if node in self.number:
            return self.made[self.number[node]].line
        return next((made.line for made in self.made if made.value is node.value), None)


def _rule_holds(node: Node, g: Any, argnum: int, cotangent: Any) -> bool:
    """Whether <cotangent, u> is the slope of <g, op(..., x + t u, ...)> for a random u, as far as one can tell."""
    values = [operand.value for operand in node.inputs]
    if values[argnum].size == 0 or values[argnum].dtype != np.float64 or np.shape(g) != node.shape:
        return True
    if not np.isfinite(g).all():
        return True  # what is NaN or infinite was so before this rule
    u = np.random.default_rng(0).uniform(0.5, 1.0, values[argnum].shape) * np.maximum(1.0, np.abs(values[argnum]))

    def along(t: Vector) -> Vector:
        moved = [*values[:argnum], values[argnum] + t[0] * u, *values[argnum + 1 :]]
        return flat([mode.quietly(node.op.numpy, *moved, **node.attrs)])

    origin, unit = np.zeros(1), np.ones(1)
    here = along(origin)
    scale = float(max(np.abs(here).max(initial=0.0), np.abs(cotangent).max(initial=0.0)))
    found = settled_slope(along, origin, unit, 6e-4, here, 1e-9 * scale)
    weights = flat([g])
    if (found.kink & (weights != 0)).any() or not np.isfinite(found.value).all():
        return True
    numeric, analytic = float(weights @ found.value), float(np.sum(cotangent * u))
    return abs(numeric - analytic) <= 10 * float(np.abs(weights) @ found.error) + 1e-9 * max(
        abs(numeric), abs(analytic)
    )


def find_rule(problem: Checkable) -> str | None:
    """`Softcap, at model.py:12: h = Softcap.apply(x)`: the operation whose gradient rule gives what its differences do
    not; None where each rule by itself is right.
    """
    tape = _Rules()
    with _looking_on(tape):
        problem.replay()
    return tape.wrong[0] if tape.wrong else None
