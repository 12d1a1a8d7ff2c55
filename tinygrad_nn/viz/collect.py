"""From a recorded graph to its description: one box per op that says something, one frame per loop.

What a box or an arrow can say needs no box: reshapes, casts and broadcasts are passed over, numbers stand in the op
that reads them, the transposition of a weight is a letter on its arrow. `every_op` shows them all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from ..adjoint import SCAN, Label
from ..graph.graph import Graph, Node, by_serial, reachable
from ..ops.movement import PERMUTE, SLICE
from ..ops.scan import STACKED
from . import words
from .description import Arrow, Box, Description, Frame, Names, Options, Role, shape_text

TRANSPOSED: Final = "T"
DETACHED: Final = "detached"
_HOLE: Final = "\u00b7"
_LAYER: Final = re.compile(r"(.*_l)(\d+)(_reverse)?$")


class Place(NamedTuple):
    """The box that stands for a node, and what an arrow from there says."""

    key: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop that is drawn: for each output the places of its steps as they are run (one, where it is a frame)."""

    ends: Mapping[int, Sequence[Place]]
    label: Label


def collect(roots: Sequence[Node], names: Names, options: Options) -> tuple[Description, Mapping[int, Node]]:
    """The drawing of everything `roots` were computed from, nothing folded; the nodes by the keys of their boxes."""
    collector = _Collector(roots, names, options)
    places: dict[Node, Place] = {}
    nodes = _everything(roots, names)
    collector.fixed = set() if options.every_op else words.fixed(nodes, names, collector.loud)
    collector.level(nodes, places, collector.loud, None)
    results = tuple(dict.fromkeys(places[root].key for root in roots))
    whole = Description(tuple(collector.boxes), tuple(collector.arrows), results, tuple(collector.notes))
    return _numbered(_pruned(whole)), collector.nodes


def _everything(roots: Sequence[Node], names: Names) -> list[Node]:
    """What the roots depend on, also through leaves that are copies, oldest first."""
    found: set[Node] = set()
    more = set(roots)
    while more:
        found.update(reachable(more, lambda node: node not in found))
        more = {names.copies[node] for node in found if node in names.copies} - found
    return sorted(found, key=by_serial)


def _pruned(whole: Description) -> Description:
    """Without what no result depends on: a loop may be given more than the part of it that matters reads."""
    tails: dict[int, list[int]] = {}
    for arrow in whole.arrows:
        tails.setdefault(arrow.head, []).append(arrow.tail)
    needed, stack = set(whole.results), list(whole.results)
    while stack:
        for tail in tails.get(stack.pop(), ()):
            if tail not in needed:
                needed.add(tail)
                stack.append(tail)
    boxes = tuple(box for box in whole.boxes if box.key in needed)
    return replace(whole, boxes=boxes, arrows=tuple(arrow for arrow in whole.arrows if arrow.head in needed))


def _numbered(whole: Description) -> Description:
    """With a number on each call of a module that is drawn several times."""
    calls: dict[int, dict[int, int]] = {}
    for box in whole.boxes:
        for frame in box.group:
            if frame.kind == "module":
                known = calls.setdefault(frame.owner, {})
                known.setdefault(frame.key, len(known) + 1)

    several = {owner for owner, known in calls.items() if len(known) > 1}

    def numbered(frame: Frame) -> Frame:
        return frame._replace(call=calls[frame.owner][frame.key]) if frame.owner in several else frame

    def renamed(box: Box) -> Box:
        return replace(box, group=tuple(map(numbered, box.group))) if box.group else box

    return replace(whole, boxes=tuple(map(renamed, whole.boxes))) if several else whole


class _Drawn(NamedTuple):
    """A loop that is drawn: places outside of it, which results are wanted, and the nodes of a step they need."""

    scan: Node
    label: Label
    places: Mapping[Node, Place]
    needed: Sequence[int]
    live: Sequence[Node]


class _Collector:
    """The boxes and arrows so far."""

    def __init__(self, roots: Sequence[Node], names: Names, options: Options) -> None:
        self.names, self.options = names, options
        self.roots = set(roots)
        self.loud = {*names.leaves, *roots}
        self.boxes: list[Box] = []
        self.arrows: list[Arrow] = []
        self.notes: list[str] = []
        self.nodes: dict[int, Node] = {}
        self.loops: dict[Node, Loop] = {}
        self.stacks: dict[tuple[Node, int], Place] = {}
        self.flat: set[Node] = set()  # what several outputs of a loop lie in, one after the other: no tensor of anybody
        self.fixed: set[Node] = set()  # what is made of constants alone, and is one
        self.meant: dict[Node, Node] = {}  # products of rows, by whose shape they are shown
        self.frames = 0
        self.parts: tuple[str, ...] = ()  # what the loop that is being drawn calls what it cuts its numbers into
        layers = [_LAYER.match(name) for _, name in names.leaves.values()]
        self.layers = {(found[1], found[2]) for found in layers if found}

    def level(
        self, nodes: Sequence[Node], places: dict[Node, Place], kept: set[Node], group: tuple[Frame, ...] | None
    ) -> None:
        """Boxes for nodes. `kept` are read from outside of them; `group` is what is around them, None at the top,
        where modules are.

        Calls itself for the loops among them: as deep as loops are nested in the code.
        """
        nodes = [node for node in nodes if node not in places]
        numbers = {} if self.options.every_op else words.numbers(nodes, kept, self.names.copies)
        outputs = _outputs(nodes)
        self.meant |= {} if self.options.every_op else words.whole_products(nodes, kept)
        read = self.stacked(nodes, kept)
        for node in nodes:
            around = self.names.scopes.get(node, ()) if group is None else group
            if node in numbers or (node.op is STACKED and node not in read):
                continue
            place = self.passed_over(node, places)
            if node.op is SCAN:
                places[node] = self.loop(node, places, around, outputs.get(node, set()))
            elif node.op is STACKED and node.inputs[0] in self.loops:
                places[node] = self.output(node, around)
            elif place is not None:
                places[node] = self.result(place, node, around) if node in self.loud else place
            else:
                places[node] = self.op(node, places, numbers, around)

    def box(self, role: Role, title: str, node: Node, group: tuple[Frame, ...], **texts: Any) -> int:
        """A new box. Lengths of what is flat are nobody's shape."""
        key = len(self.boxes)
        shape = "" if node in self.flat else shape_text(self.meant.get(node, node))
        self.boxes.append(Box(key, role, title, shape, group=group, **texts))
        self.nodes[key] = node
        return key

    def arrow(self, place: Place, head: int, label: str = "", back: bool = False) -> None:
        """An arrow from a place; what is known of the place is said where nothing else is."""
        self.arrows.append(Arrow(place.key, head, label or place.label, back))

    def op(
        self, node: Node, places: Mapping[Node, Place], numbers: Mapping[Node, str], group: tuple[Frame, ...]
    ) -> Place:
        """The box of one op or leaf, and the arrows to it."""
        read = () if self.is_closed(node) else node.inputs
        text = ", ".join(numbers.get(operand, _HOLE) for operand in read)
        operands = "" if numbers.keys().isdisjoint(read) else f"({text})"
        key = self.box(self.role(node), self.title(node), node, group, operands=operands, details=self.details(node))
        transposed = (node.attrs.get("tx"), node.attrs.get("ty"))  # as a product reads them
        for k, operand in enumerate(read):
            if operand in places:
                self.arrow(places[operand], key, TRANSPOSED if k < 2 and transposed[k] else "")
        return Place(key)

    def result(self, place: Place, node: Node, group: tuple[Frame, ...]) -> Place:
        """A box for what would be passed over, were it not asked for; it is called what the arrow to it would be."""
        title = place.label if place.label not in ("", TRANSPOSED, DETACHED) else self.title(node)
        key = self.box(self.role(node), title, node, group, details=self.details(node, title))
        self.arrow(Place(place.key), key)
        return Place(key)

    def role(self, node: Node) -> Role:
        """What kind of box it is."""
        if node in self.names.leaves:
            return self.names.leaves[node][0]
        if not node.inputs or node in self.fixed:
            return "parameter" if node.needs_grad else "constant"
        return "output" if node in self.roots else "op"

    def title(self, node: Node) -> str:
        """The name of a leaf, the number a constant is made of, or the op and what it does it along."""
        if node in self.names.leaves:
            return self.names.leaves[node][1]
        if not node.inputs or node in self.fixed:
            return "leaf" if node.needs_grad else words.uniform(node) or "constant"
        return words.part(node, self.parts) or words.said(node)

    def is_closed(self, node: Node) -> bool:
        """Whether nothing is told of what a node is made of: constants, random bits."""
        return not self.options.every_op and (node in self.fixed or node.op.kind == "random")

    def details(self, node: Node, title: str = "") -> tuple[str, ...]:
        """What a result is called, where the title does not say it."""
        return tuple(f"\u2192 {name}" for name in self.names.results.get(node, ()) if name != title)

    def passed_over(self, node: Node, places: Mapping[Node, Place]) -> Place | None:
        """The place that stands for a node without a box of its own; None for one that gets a box."""
        if node in self.names.copies and node not in self.names.leaves:
            origin = self.names.copies[node]
            cut = DETACHED if origin.needs_grad and not node.needs_grad else node.op.name if node.inputs else ""
            return places[origin]._replace(label=cut) if cut else places[origin]
        if self.options.every_op or not node.inputs:
            return None
        first = node.inputs[0]
        if self.is_last(node):
            loop = self.loops[first.inputs[0]]
            k = first.attrs["k"]
            return loop.ends[k][-1]._replace(label=words.after(loop.label, k))
        if first not in places:
            return None
        if first in self.flat and node.op is SLICE:
            self.flat.add(node)
            return places[first]
        if node.op.quiet or (node.op is SLICE and words.is_whole(node)):
            return places[first]
        if node.op is PERMUTE and not first.inputs and len(node.shape) == 2 and not places[first].label:
            return Place(places[first].key, TRANSPOSED)
        return None

    # ---- loops -----------------------------------------------------------------------------------------------------

    def is_last(self, node: Node) -> bool:
        """Whether a node is a state after the loop, which is cut out of those after all steps."""
        output = node.inputs[0]
        if node.op is not SLICE or output.op is not STACKED or output.inputs[0].op is not SCAN:
            return False
        attrs, scan = output.attrs, output.inputs[0].attrs
        final = 0 if scan["reverse"] else scan["length"] - 1
        whole = tuple((0, 1, n) for n in output.shape[1:])
        return bool(attrs["k"] < scan["carries"] and node.attrs["bounds"] == ((final, 1, 1), *whole))

    def stacked(self, nodes: Sequence[Node], kept: Collection[Node]) -> set[Node]:
        """The results of loops that are read with all their steps."""
        outputs = {node for node in nodes if node.op is STACKED}
        read = outputs.intersection(kept)
        for node in nodes:
            if not outputs.isdisjoint(node.inputs) and (self.options.every_op or not self.is_last(node)):
                read.update(outputs.intersection(node.inputs))
        return read

    def loop(self, scan: Node, places: Mapping[Node, Place], group: tuple[Frame, ...], asked: set[int]) -> Place:
        """A frame with the step in it, once, or as often as it runs where that was asked for."""
        body, length = scan.attrs["body"], scan.attrs["length"]
        label: Label = getattr(body, "label", Label())
        needed, live = _live(body, scan.attrs["carries"], asked)
        title = f"{label.title}, {length} step{'' if length == 1 else 's'}{self.layer(scan)}"
        title += ", backwards in time" if scan.attrs["reverse"] else ""
        written_out = self.options.unroll and length > 0 and self.fits(title, len(live) * length)
        draw = self.unrolled if written_out else self.rolled
        inner = (*group, self.frame(title + (", unrolled" if written_out else "")))
        outer, self.parts = self.parts, label.parts
        self.loops[scan] = Loop(draw(_Drawn(scan, label, places, needed, live), inner), label)
        self.parts = outer
        self.flat.add(scan)
        return self.loops[scan].ends[needed[0]][-1]

    def frame(self, title: str) -> Frame:
        """A new frame of a loop. Those of modules have numbers from 0 on."""
        self.frames += 1
        return Frame(title, -self.frames, "loop")

    def layer(self, scan: Node) -> str:
        """Which layer of a module a loop is, where there are several: by the names of the weights it reads."""
        for operand in scan.inputs[scan.attrs["carries"] + scan.attrs["xs"] :]:
            leaf = operand
            while leaf.inputs and (leaf.op.quiet or leaf.op is PERMUTE):
                leaf = leaf.inputs[0]
            found = _LAYER.match(self.names.leaves.get(leaf, ("", ""))[1])
            if found and len([prefix for prefix, _ in self.layers if prefix == found[1]]) > 1:
                return f", layer {found[2]}"
        return ""

    def fits(self, title: str, count: int) -> bool:
        """Whether there is room for so many boxes; if not, the drawing says so."""
        if len(self.boxes) + count <= self.options.limit:
            return True
        self.notes.append(f"{title}: not unrolled, its {count:,} boxes are more than limit={self.options.limit}")
        return False

    def rolled(self, loop: _Drawn, group: tuple[Frame, ...]) -> dict[int, list[Place]]:
        """The step once. Where the next state is made, an arrow leads back to the state."""
        body, carries = loop.scan.attrs["body"], loop.scan.attrs["carries"]
        inside = self.step(loop, group, "t", {})
        for k in loop.needed:
            if k < carries and body.inputs[k] in inside:
                back = "t+1" if loop.scan.attrs["reverse"] else "t-1"
                self.arrow(inside[body.outputs[k]], inside[body.inputs[k]].key, back, back=True)
        return {k: [inside[body.outputs[k]]] for k in loop.needed}

    def unrolled(self, loop: _Drawn, group: tuple[Frame, ...]) -> dict[int, list[Place]]:
        """The step as often as it runs, one frame each."""
        body, carries, steps = loop.scan.attrs["body"], loop.scan.attrs["carries"], range(loop.scan.attrs["length"])
        states = {
            k: Place(loop.places[operand].key, words.before(loop.label, k))
            for k, operand in enumerate(loop.scan.inputs[:carries])
            if body.inputs[k] in loop.live
        }
        ends: dict[int, list[Place]] = {k: [] for k in loop.needed}
        for t in reversed(steps) if loop.scan.attrs["reverse"] else steps:
            inside = self.step(loop, (*group, self.frame(f"step {t}")), str(t), states)
            for k in loop.needed:
                ends[k].append(inside[body.outputs[k]])
            states = {k: inside[body.outputs[k]] for k in states}
        return ends

    def step(self, loop: _Drawn, group: tuple[Frame, ...], t: str, states: Mapping[int, Place]) -> dict[Node, Place]:
        """One step. States that have no place get a box, as an entry of the xs does."""
        body, carries, xs = (loop.scan.attrs[key] for key in ("body", "carries", "xs"))
        inside: dict[Node, Place] = {}
        alive = set(loop.live)
        for k, (symbol, operand) in enumerate(zip(body.inputs, loop.scan.inputs, strict=True)):
            if symbol not in alive:
                continue
            if k in states or k >= carries + xs:
                inside[symbol] = states[k] if k in states else loop.places[operand]
                continue
            if operand in self.flat:
                self.flat.add(symbol)
            name, state = loop.label.mover(k) or f"entry {k}", k < carries
            key = self.box("state" if state else "entry", name if state else f"{name}[{t}]", symbol, group)
            self.arrow(loop.places[operand], key, words.before(loop.label, k) if state else "")
            inside[symbol] = Place(key)
        self.level(loop.live, inside, {body.outputs[k] for k in loop.needed}, group)
        return inside

    def output(self, node: Node, group: tuple[Frame, ...]) -> Place:
        """The box of what a loop leaves of all steps."""
        scan, k = node.inputs[0], node.attrs["k"]
        if (scan, k) in self.stacks and node not in self.roots:  # the gradient asks for it again
            return self.stacks[scan, k]
        if scan.attrs["body"].outputs[k].op is SCAN:
            self.flat.add(node)
        loop = self.loops[scan]
        name = loop.label.leaver(k) or f"output {k}"
        key = self.box(self.role(node), f"{name}, every t", node, group, details=self.details(node, name))
        for place in dict.fromkeys(loop.ends[k]):
            self.arrow(Place(place.key), key)
        self.stacks[scan, k] = Place(key)
        return Place(key)


def _outputs(nodes: Sequence[Node]) -> dict[Node, set[int]]:
    """Which outputs of each loop are asked for."""
    found: dict[Node, set[int]] = {}
    for node in nodes:
        if node.op is STACKED:
            found.setdefault(node.inputs[0], set()).add(node.attrs["k"])
    return found


def _live(body: Graph, carries: int, asked: set[int]) -> tuple[list[int], list[Node]]:
    """The states and the outputs that are asked for (all, where none is), and the nodes of a step they are made of."""
    needed = sorted(asked.union(range(carries)) if asked else range(len(body.outputs)))
    nodes = set(reachable([body.outputs[k] for k in needed]))
    return needed, [node for node in body.nodes if node in nodes]
