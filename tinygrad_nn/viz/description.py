"""What a drawing shows, as data: boxes, arrows, frames. Collected from a recorded graph; text and DOT are made from it.

A loop is a frame with its step drawn once: boxes for its state and for the entries a step reads, and an arrow back from
the next state, "t-1". `loops.py` fills frames, `folding.py` makes large drawings small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np

from ..graph.graph import DType, Node

Role = Literal["op", "parameter", "input", "constant", "output", "state", "entry", "folded"]


class Frame(NamedTuple):
    """What is drawn around boxes: a call of a module, or a loop. Two frames of one label differ by their key."""

    label: str
    key: int
    kind: Literal["module", "loop"] = "module"
    owner: int = -1  # calls of one module have one owner
    weighted: bool = False  # whether the module has parameters
    call: int = 0  # which call it is, where several are drawn

    @property
    def text(self) -> str:
        """The label, with the number of the call."""
        return f"{self.label}, call {self.call}" if self.call else self.label


class Arrow(NamedTuple):
    """From a box to a box that reads it. A `back` arrow closes a loop and is no operand."""

    tail: int
    head: int
    label: str = ""
    back: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """One node of the drawing, or what is drawn as one: key, role, texts, the frames around it.

    `title` and `shape` say what it is, `operands` which numbers it reads, `details` what else is to be seen. A box may
    stand for the same `times` over; it stands for `count` nodes, `weights` of them parameters inside of a module.
    """

    key: int
    role: Role
    title: str
    shape: str = ""
    operands: str = ""
    details: tuple[str, ...] = ()
    group: tuple[Frame, ...] = ()
    times: int = 1
    count: int = 1
    weights: int = 0

    @property
    def lines(self) -> tuple[str, ...]:
        """The text in the box."""
        times = f"  x {self.times}" if self.times > 1 else ""
        return (self.title + self.operands + times, *self.details, *((self.shape,) if self.shape else ()))


@dataclass(frozen=True, slots=True)
class Description:
    """A drawing: boxes in an order in which operands come first, arrows between their keys, the keys of the results.

    `notes` say what is not drawn as it is.
    """

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    results: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def noting(self, note: str) -> Description:
        """The same drawing that says something more."""
        return replace(self, notes=(*self.notes, note))


@dataclass(frozen=True)
class Names:
    """What is known of nodes besides the graph: names of leaves and of results, the modules that were running, and of
    leaves that were made of a value at hand (detach) the node it is of.
    """

    leaves: Mapping[Node, tuple[Role, str]] = field(default_factory=dict)
    results: Mapping[Node, tuple[str, ...]] = field(default_factory=dict)
    scopes: Mapping[Node, tuple[Frame, ...]] = field(default_factory=dict)
    copies: Mapping[Node, Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Options:
    """How much to show."""

    values: bool = False
    grads: bool = False
    depth: int | None = None
    every_op: bool = False
    unroll: bool = False
    limit: int = 400


@lru_cache(maxsize=4096)
def _shape_text(shape: tuple[int, ...], dtype: DType) -> str:
    return f"{list(shape)} {dtype.name}"


def shape_text(node: Node) -> str:
    """Shape and dtype."""
    return _shape_text(node.shape, node.dtype)


def common(first: tuple[Frame, ...], second: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """The frames around both."""
    same = 0
    while same < min(len(first), len(second)) and first[same] == second[same]:
        same += 1
    return first[:same]


def with_numbers(whole: Description, nodes: Mapping[int, Node], options: Options) -> Description:
    """Values and gradients where they were asked for, in the boxes that stand for one node."""
    if not (options.values or options.grads):
        return whole

    def numbered(box: Box) -> Box:
        node = nodes.get(box.key) if box.count == 1 and box.role != "folded" else None
        numbers = () if node is None else _numbers(node, options, box.role in ("parameter", "input"))
        return replace(box, details=(*box.details, *numbers)) if numbers else box

    return replace(whole, boxes=tuple(map(numbered, whole.boxes)))


def _numbers(node: Node, options: Options, leaf: bool) -> tuple[str, ...]:
    found = []
    if options.values and node.value is not None:
        text = np.array2string(np.asarray(node.value), precision=3, threshold=6, edgeitems=2)
        found.append(" ".join(text.split()))
    if options.grads and node.needs_grad:
        grad: Any = None if node.slot is None else node.slot.grad
        if grad is not None:
            found.append(f"|grad| {float(np.linalg.norm(np.ravel(grad.node.value))):.3g}")
        elif leaf:
            found.append("no gradient yet")
    return tuple(found)
