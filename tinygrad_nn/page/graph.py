"""The graph: boxes for what is computed, frames for modules and loops, and what is known of each box.

A view is a drawing with columns: what the function computes, its gradient, the optimizer's part; another view has the
second derivative. The boxes of a view are those of `tg.draw`; the page lays them out and folds frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from ..adjoint import SCAN
from ..graph.graph import NO_ATTRS, Array, Graph, Node
from ..graph.places import Place
from ..nn import Module
from ..ops.source import INPUT
from ..viz.collect import collect
from ..viz.description import Box, Description, Frame, Names, Options
from ..viz.folding import calls, siblings, to_fit
from .derivatives import Derivatives, derivatives
from .formulas import formulas
from .numbers import numbers
from .subject import Missing, Subject, numbered, short

BOXES: Final = 2500  # of a view; what has more is folded here
FLAT: Final = 150  # boxes and outermost frames that are laid out at once
DEEP: Final = 600  # nodes of a function whose second derivative is shown
NEAR: Final = 10_000  # nodes that are drawn, and differentiated; of more the nearest to the results
COLUMNS: Final = ("forward", "gradient", "optimizer", "second derivative")
_SINGLE: Final = -1  # the key of a frame's number, where it has no parent


@dataclass(frozen=True, slots=True)
class View:
    """A drawing of some nodes: which ones, what is known of them, and in which column each stands. The `graph` is what
    is run for their `values`, given those of its inputs.
    """

    title: str
    roots: Sequence[Node]
    names: Names
    column: Callable[[Node], int]
    ids: Mapping[Node, int]
    places: Callable[[Node], Place | None]
    values: Mapping[Node, Array]
    graph: Graph
    own: Mapping[Node, Node] = field(default_factory=dict)  # what stands for another node, which has the value


@dataclass(slots=True)
class _Tables:
    """Texts and frames that boxes point into, each once."""

    texts: dict[str, int] = field(default_factory=dict)

    def text(self, value: str) -> int:
        """The number of a text."""
        return self.texts.setdefault(short(value), len(self.texts))


def part(subject: Subject) -> Mapping[str, Any] | Missing:
    """The views, what is known of the nodes in them, and what could not be shown."""
    found = derivatives(subject, DEEP, NEAR)
    first, notes = _views(subject, found)
    tables = _Tables()
    shown: dict[int, Node] = {}
    views, facts = [], {}
    for view in first:
        made, nodes = _view(view, tables)
        views.append(made)
        new = {view.ids[node]: node for node in nodes if view.ids.get(node, -1) not in facts}
        shown |= new
        wanted = {view.own.get(node, node) for node in new.values()}
        held, why = numbers(view.graph, view.values, wanted)
        notes += [why] if why else []
        for key, node in new.items():
            facts[key] = [*_facts(node, view, tables), held.get(view.own.get(node, node), 0), 0]
    if isinstance(found, Derivatives):
        slopes = {subject.ids[found.own[copy]]: one for copy, one in found.cotangents.items()}
        wanted = {slopes[key] for key in shown if key in slopes}
        values = _values(subject, found)
        held, _ = numbers(Graph.of(tuple(wanted), tuple(values)), values, wanted)
        for key in shown:
            if key in slopes:
                facts[key][-1] = held.get(slopes[key], 0)
    return {
        "views": views,
        "texts": list(tables.texts),
        "facts": facts,
        "columns": COLUMNS,
        "boxed": _boxed(first[0]),
        "notes": [short(note, 400) for note in notes],
    }


def smaller(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The same without the second derivative; None where there is none."""
    first, *rest = data["views"]
    if not rest:
        return None
    shown = {box[0] for box in first["boxes"]}
    facts = {key: known for key, known in data["facts"].items() if key in shown}
    notes = [*data["notes"], "Second derivative: left out, because the page would be too large."]
    return {**data, "views": [first], "facts": facts, "notes": notes}


def _views(subject: Subject, found: Derivatives | Missing) -> tuple[list[View], list[str]]:
    """The function as it was traced; with its gradient, if it does not compute one itself; the second derivative."""
    notes = [found.reason] if isinstance(found, Missing) else []
    graph, known = subject.graph, subject.graph.places

    def place(node: Node) -> Place | None:
        return None if known is None else known.place(node)

    inside = _loops(graph)

    def column(node: Node) -> int:
        own = place(inside.get(node, node))
        return 0 if own is None else COLUMNS.index(own.role)

    names = Names(subject.leaves, subject.results, _scopes(subject, place), subject.copies)
    outputs = tuple(dict.fromkeys((*graph.outputs, *(new for _, new in graph.updates))))
    own = View("Function", outputs, names, column, subject.ids, place, subject.values, graph)
    if len(graph.nodes) > NEAR:
        notes.append(f"Of {len(graph.nodes):,} nodes the {NEAR:,} nearest to the results are drawn.")
        own = _nearest(own)
    views = [own]
    has_gradient = any(column(node) for node in graph.nodes)
    if isinstance(found, Derivatives):
        derived = _derived_view(subject, found, outputs, "With its gradient", {})
        views = [own if has_gradient else derived]
        if isinstance(found.second, Missing):
            notes.append(f"Second derivative: {found.second.reason}.")
        else:
            views.append(_derived_view(subject, found, outputs, "Second derivative", found.second))
    return views, notes


def _derived_view(
    subject: Subject, found: Derivatives, outputs: Sequence[Node], title: str, second: Mapping[Node, Node]
) -> View:
    """The function's differentiable part with derivatives. Copies stand for the nodes that they are copies of."""
    names = {node: subject.leaves[own][1] for node, own in found.own.items() if own in subject.leaves}
    forward = set(found.own)
    first = set(Graph.of(tuple(found.gradients.values())).nodes) - forward
    results = {node: subject.results.get(own, ()) for node, own in found.own.items()}
    for order, made in (("gradient", found.gradients), ("second derivative", second)):
        for node, one in made.items():
            results[one] = (*results.get(one, ()), f"{order} of {names.get(node, 'a leaf')}")
    roots = tuple(dict.fromkeys((*found.roots, *found.gradients.values(), *second.values())))
    graph = Graph.of(roots)
    ids = {node: subject.ids[own] for node, own in found.own.items()}
    start = len(subject.ids)
    ids |= {node: start + k for node, k in numbered(graph).items() if node not in ids}

    inside = _loops(graph)

    def column(node: Node) -> int:
        node = inside.get(node, node)
        return 0 if node in forward else 1 if node in first else 3

    def place(node: Node) -> Place | None:
        return found.places.get(node)

    leaves = {node: subject.leaves[own] for node, own in found.own.items() if own in subject.leaves}
    leaves |= dict.fromkeys(found.seeds, ("input", "gradient of the result"))
    values = _values(subject, found)
    scopes = _frames(subject, {node: place(node) for node in graph.nodes}, {})
    whole = Graph.of(roots, tuple(values))
    return View(title, roots, Names(leaves, results, scopes), column, ids, place, values, whole)


def _nearest(view: View) -> View:
    """The part of a view that is nearest to its results, in copies; what that reads is an input without a name."""
    near, waiting = set(view.roots), list(view.roots)
    for node in waiting:  # which grows
        if len(near) < NEAR and node not in view.names.leaves:
            waiting += [one for one in dict.fromkeys(node.inputs) if one not in near]
            near.update(node.inputs)
    made: dict[Node, Node] = {}
    cut: dict[Node, Node] = {}
    for node in view.graph.nodes:
        if node in near:
            for operand in node.inputs:
                if operand not in made:
                    made[operand] = cut[operand] = Node(INPUT, (), NO_ATTRS, operand.shape, operand.dtype, None)
            operands = tuple(made[operand] for operand in node.inputs)
            made[node] = Node(node.op, operands, node.attrs, node.shape, node.dtype, node.value, node.needs_grad)
    own = {copy: node for node, copy in made.items()}
    leaves: dict[Node, Any] = dict.fromkeys(cut.values(), ("constant", "…"))
    leaves |= {made[node]: named for node, named in view.names.leaves.items() if node in made}
    results = {made[node]: names for node, names in view.names.results.items() if node in made}
    scopes = {made[node]: frames for node, frames in view.names.scopes.items() if node in made}
    return replace(
        view,
        roots=tuple(made[root] for root in view.roots),
        names=Names(leaves, results, scopes),
        column=lambda node: view.column(own.get(node, node)),
        places=lambda node: view.places(own.get(node, node)),
        ids={copy: view.ids[node] for copy, node in own.items()},
        own=own,
    )


def _loops(graph: Graph) -> dict[Node, Node]:
    """The loop, one of the graph itself, that a node is in: the first of several."""
    found: dict[Node, Node] = {}
    for scan in graph.nodes:
        bodies = [scan.attrs["body"]] if scan.op is SCAN else []
        for body in bodies:  # which grows
            for node in body.nodes:
                found.setdefault(node, scan)
                bodies += [node.attrs["body"]] if node.op is SCAN else []
    return found


def _values(subject: Subject, found: Derivatives) -> dict[Node, Array]:
    """What the inputs of a derivative hold."""
    values = {node: subject.values[own] for node, own in found.own.items() if own in subject.values}
    return values | {seed: np.ones(seed.shape, seed.dtype) for seed in found.seeds}


# ---- modules as frames -----------------------------------------------------------------------------------------------


def _scopes(subject: Subject, place: Callable[[Node], Place | None]) -> Mapping[Node, tuple[Frame, ...]]:
    """The modules around each node, outermost first."""
    if subject.graph.places is None:
        return subject.scopes
    return _frames(subject, {node: place(node) for node in subject.graph.nodes}, _updated(subject))


def _frames(
    subject: Subject, places: Mapping[Node, Place | None], updated: Mapping[Node, str]
) -> dict[Node, tuple[Frame, ...]]:
    """The frames of nodes by their places; an optimizer's nodes are in one for the parameter that they update."""
    kinds = {name: part for _, root in subject.modules for name, part in root.named_modules()}
    numbers: dict[tuple[str, ...], int] = {}
    frames: dict[Any, tuple[Frame, ...]] = {}
    found: dict[Node, tuple[Frame, ...]] = {}
    for node, place in places.items():
        if place is None:
            continue
        owner = updated.get(node, "") if place.role == "optimizer" else ""
        key = (place.role, place.module, place.kind, owner)
        if key not in frames:
            chain = [("owner", owner, owner)] if owner else _chain(place, kinds)
            own = [(label, numbers.setdefault((place.role, *ident), len(numbers) + 1)) for *ident, label in chain]
            frames[key] = tuple(Frame(label, number, "module", number) for label, number in own)
        found[node] = frames[key]
    _around_leaves(subject, found)
    return found


def _chain(place: Place, kinds: Mapping[str, Module]) -> list[tuple[str, str, str]]:
    """The modules around what runs in one, each with its label; containers that do nothing themselves are left out."""
    if not place.kind:
        return []
    steps = place.module.split(".") if place.module else []
    found = []
    for depth in range(len(steps) + 1):
        path = ".".join(steps[:depth])
        part = kinds.get(path)
        kind = place.kind if depth == len(steps) else "" if part is None else type(part).__name__
        if depth < len(steps) and not hasattr(type(part), "forward"):
            continue
        found.append(("module", path, f"{steps[depth - 1]}: {kind}" if depth else kind))
    return found


def _around_leaves(subject: Subject, found: dict[Node, tuple[Frame, ...]]) -> None:
    """A parameter stands in the frames around all that reads it in the forward pass."""
    around: dict[Node, tuple[Frame, ...]] = {}
    for node, frames in list(found.items()):
        for operand in node.inputs:
            if not operand.inputs and operand not in found:
                same = around.get(operand)
                around[operand] = frames if same is None else _common(same, frames)
    found.update(around)


def _common(first: tuple[Frame, ...], second: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """The frames that both are in; of what is read in two columns, those of the first, which is the forward one."""
    if first and second and first[0].key != second[0].key:
        return first
    depth = next((k for k, (a, b) in enumerate(zip(first, second, strict=False)) if a.key != b.key), None)
    return first[: min(len(first), len(second)) if depth is None else depth]


def _updated(subject: Subject) -> dict[Node, str]:
    """The parameter that a node helps to update, for those that help with one alone."""
    users: dict[Node, set[str]] = {}
    for old, new in subject.graph.updates:
        if old in subject.owners:
            users.setdefault(new, set()).add(subject.owners[old])
    for node in reversed(subject.graph.nodes):
        names = users.get(node, set())
        if len(names) <= 1:
            for operand in node.inputs:
                users.setdefault(operand, set()).update(names)
        else:
            for operand in node.inputs:
                users.setdefault(operand, set()).update(("", "several"))
    return {node: next(iter(names)) for node, names in users.items() if len(names) == 1}


# ---- from a view to data ---------------------------------------------------------------------------------------------


def _view(view: View, tables: _Tables) -> tuple[dict[str, Any], list[Node]]:
    """The boxes, arrows and frames of a view, and the nodes behind them."""
    whole, nodes = collect(view.roots, view.names, Options(limit=BOXES))
    whole = _small(whole)
    frames: dict[tuple[int, int], int] = {}
    rows: list[list[Any]] = []

    def frame(box: Box, column: int) -> int:
        parent = _SINGLE
        for one in box.group:
            key = (one.key, column)
            if key not in frames:
                frames[key] = len(rows)
                rows.append([tables.text(one.label), parent, int(one.kind == "loop"), column])
            parent = frames[key]
        return parent

    boxes = []
    place = {box.key: k for k, box in enumerate(whole.boxes)}
    columns = _columns(whole, nodes, view)
    for box in whole.boxes:
        column = columns[box.key]
        boxes.append(
            [
                view.ids.get(nodes[box.key], -1) if box.key in nodes else -1,
                box.role,
                tables.text(box.title + box.operands),
                box.shape,
                tables.text(" ".join(box.details)),
                frame(box, column),
                column,
                box.times,
                box.count,
            ]
        )
    arrows = [[place[one.tail], place[one.head], one.label, int(one.back)] for one in whole.arrows]
    made = {"title": view.title, "boxes": boxes, "arrows": arrows, "frames": rows, "notes": list(whole.notes)}
    return made, [nodes[box.key] for box in whole.boxes if box.key in nodes]


def _columns(whole: Description, nodes: Mapping[int, Node], view: View) -> dict[int, int]:
    """The column of each box. What nothing is computed for, as a weight, stands where it is first read."""
    found = {box.key: view.column(nodes[box.key]) if box.key in nodes else 0 for box in whole.boxes}
    first: dict[int, int] = {}
    tails = {arrow.head for arrow in whole.arrows if not arrow.back}
    for arrow in whole.arrows:
        if arrow.tail not in tails and not arrow.back:
            first[arrow.tail] = min(first.get(arrow.tail, len(COLUMNS)), found[arrow.head])
    inside = {box.key for box in whole.boxes if box.role in ("state", "entry")}
    return found | {key: column for key, column in first.items() if key not in inside}


def _small(whole: Description) -> Description:
    """A drawing that the page can lay out: folded here, if its frames alone do not make it small enough."""
    outermost = {box.group[0].key if box.group else -1 - box.key for box in whole.boxes}
    if len(whole.boxes) <= BOXES and len(outermost) <= FLAT:
        return whole
    folded = siblings(calls(whole))
    outermost = {box.group[0].key if box.group else -1 - box.key for box in folded.boxes}
    if len(folded.boxes) <= BOXES and len(outermost) <= FLAT:
        return replace(folded, notes=(*whole.notes, "Equal boxes are drawn once."))
    return to_fit(whole, FLAT)


def _facts(node: Node, view: View, tables: _Tables) -> list[Any]:
    """What is known of a node: op, shape, dtype, module, line, its text, role, formula, those of its gradient."""
    place = view.places(node)
    value, slopes = formulas(node)
    return [
        node.op.name,
        list(node.shape),
        node.dtype.name,
        tables.text("" if place is None else place.owner),
        tables.text("" if place is None else place.where),
        tables.text("" if place is None else place.text),
        tables.text(value),
        [tables.text(one) for one in slopes],
        [view.ids.get(_through(one, view), -1) for one in node.inputs],
        tables.text(", ".join(view.names.results.get(node, ())) or view.names.leaves.get(node, ("", ""))[1]),
    ]


def _boxed(view: View) -> dict[int, int]:
    """For nodes without a box the node whose box stands for them."""
    found = {node: _through(node, view) for node in view.ids if node.op.quiet}
    return {view.ids[node]: view.ids[one] for node, one in found.items() if one is not node and one in view.ids}


def _through(node: Node, view: View) -> Node:
    """The node that has a box: what only reshapes or casts has none."""
    while node.op.quiet and node.inputs and node not in view.names.leaves and node not in view.names.results:
        node = node.inputs[0]
    return node
