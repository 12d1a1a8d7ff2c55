"""What a drawing shows, as data: boxes, arrows, groups. Collected from a recorded graph; text and DOT are made from it.

A large graph is abridged, never drawn whole; runs of equal steps and modules below a depth are folded into one box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..graph import Node, reachable

Role = Literal["op", "parameter", "input", "constant", "output", "folded"]
QUIET = frozenset(("broadcast", "reshape", "cast"))  # shown only on request: they say nothing a shape does not


@dataclass(frozen=True, slots=True)
class Box:
    """One node of the drawing: key, role, lines of text, the group (module path) it belongs to."""

    key: int
    role: Role
    lines: tuple[str, ...]
    group: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    """A drawing: boxes in an order in which operands come first, arrows between their keys, the keys of the results."""

    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int], ...]
    results: tuple[int, ...]
    note: str = ""


@dataclass(frozen=True)
class Names:
    """What is known of nodes besides the graph: names of leaves, and the modules that were running."""

    leaves: Mapping[Node, tuple[Role, str]] = field(default_factory=dict)
    scopes: Mapping[Node, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Options:
    """How much to show."""

    values: bool = False
    grads: bool = False
    depth: int | None = None
    every_op: bool = False
    limit: int = 400


def describe(roots: Sequence[Node], names: Names, options: Options) -> Description:
    """The drawing of everything `roots` were computed from."""
    nodes = reachable(roots)
    loud = {*names.leaves, *roots}
    shown = [n for n in nodes if options.every_op or n.op.name not in QUIET or n in loud]
    stands_for = _skipping(nodes, set(shown))
    note = ""
    if len(shown) > options.limit:
        kept = _abridged(shown, roots, names, options.limit)
        note = f"{len(shown) - len(kept)} of {len(shown)} nodes are left out"
        dropped = set(shown) - set(kept)
        shown = kept
        stands_for = {node: target for node, target in stands_for.items() if target not in dropped}
    key = {node: index for index, node in enumerate(shown)}
    boxes = tuple(
        Box(key[node], _role(node, roots, names), _lines(node, names, options), names.scopes.get(node, ()))
        for node in shown
    )
    arrows = tuple(
        (key[stands_for[operand]], key[node]) for node in shown for operand in node.inputs if operand in stands_for
    )
    whole = Description(boxes, arrows, tuple(key[root] for root in roots), note)
    return whole if options.depth is None else folded(whole, options.depth)


def _skipping(nodes: Sequence[Node], shown: set[Node]) -> dict[Node, Node]:
    """For each node the shown one that stands for it: itself, or the operand of a quiet op."""
    stands: dict[Node, Node] = {}
    for node in nodes:
        if node in shown:
            stands[node] = node
        elif node.inputs[0] in stands:
            stands[node] = stands[node.inputs[0]]
    return stands


def _abridged(nodes: Sequence[Node], roots: Sequence[Node], names: Names, limit: int) -> list[Node]:
    """The leaves with names and the nodes nearest to the roots."""
    own = set(nodes)
    chosen = {node for node in names.leaves if node in own} if len(names.leaves) < limit // 2 else set()
    frontier = [root for root in roots if root in own]
    while frontier and len(chosen) < limit:
        following = []
        for node in frontier:
            if len(chosen) < limit:
                chosen.add(node)
                following += [operand for operand in node.inputs if operand in own and operand not in chosen]
        frontier = following
    return [node for node in nodes if node in chosen]


def _role(node: Node, roots: Sequence[Node], names: Names) -> Role:
    if node in names.leaves:
        return names.leaves[node][0]
    if not node.inputs:
        return "parameter" if node.needs_grad else "constant"
    return "output" if node in roots else "op"


def _lines(node: Node, names: Names, options: Options) -> tuple[str, ...]:
    named = names.leaves[node][1] if node in names.leaves else ""
    title = named or ("leaf" if node.needs_grad and not node.inputs else node.op.name)
    lines = [title, f"{list(node.shape)} {node.dtype.name}"]
    if (
        node.op.kind == "source"
        and not node.needs_grad
        and node.value is not None
        and node.value.size == 1
        and not named
    ):
        lines[0] = f"{np.asarray(node.value).item():.6g}"
    if options.values and node.value is not None:
        lines.append(np.array2string(np.asarray(node.value), precision=3, threshold=6, edgeitems=2).replace("\n", " "))
    if options.grads and node.needs_grad:
        lines += _gradient(node)
    return tuple(lines)


def _gradient(node: Node) -> list[str]:
    """The norm of the gradient, of leaves and of what keeps its gradient; never 0 for one that is not there."""
    grad: Any = None if node.slot is None else node.slot.grad
    if grad is not None:
        return [f"|grad| {float(np.linalg.norm(np.ravel(grad.node.value))):.3g}"]
    return [] if node.inputs else ["no gradient yet"]


def folded(whole: Description, depth: int) -> Description:
    """Modules at `depth` become one box each, and a run of equal siblings (`0`, `1`, ... of one kind) one box "x n"."""
    level = max(depth, 1)
    home = {box.key: box.group[:level] for box in whole.boxes if len(box.group) >= level}
    members: dict[tuple[str, ...], list[Box]] = {}
    for box in whole.boxes:
        if box.key in home and box.role in ("op", "output", "parameter"):
            members.setdefault(home[box.key], []).append(box)
    stands = {box.key: boxes[-1].key for boxes in members.values() for box in boxes}
    boxes = []
    for box in whole.boxes:
        if box.key not in stands:
            boxes.append(box)
        elif stands[box.key] == box.key:
            group = home[box.key]
            inside = members[group]
            weights = sum(member.role == "parameter" for member in inside)
            text = (group[-1], f"{len(inside) - weights} operations, {weights} parameters", *box.lines[1:2])
            boxes.append(Box(box.key, "folded", text, group[:-1]))
    arrows = dict.fromkeys((stands.get(a, a), stands.get(b, b)) for a, b in whole.arrows)
    results = tuple(stands.get(key, key) for key in whole.results)
    return Description(tuple(boxes), tuple((a, b) for a, b in arrows if a != b), results, whole.note)
