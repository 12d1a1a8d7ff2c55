"""A description as a graph of the graphviz package, which writes DOT, or as a text tree. Every string that came from a
user is made fit to be shown here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..errors import printable
from ..support.extras import require
from .description import Arrow, Box, Description, Frame, common
from .folding import cost

_FILLED: Final = {"shape": "box", "style": "rounded,filled"}
_BOXES: Final[Mapping[str, Mapping[str, str]]] = {
    "op": {**_FILLED, "fillcolor": "#f4f6f8", "color": "#9aa5b1"},
    "parameter": {**_FILLED, "style": "filled", "fillcolor": "#dbe9f6", "color": "#3b6ea5"},
    "input": {**_FILLED, "style": "filled", "fillcolor": "#e3f1df", "color": "#5a8f4a"},
    "constant": {"shape": "plaintext", "fontcolor": "#66707a"},
    "output": {**_FILLED, "style": "rounded,filled,bold", "fillcolor": "#fbe9d7", "color": "#b9722e"},
    "state": {**_FILLED, "fillcolor": "#f3e3f5", "color": "#8e4a97"},
    "entry": {**_FILLED, "fillcolor": "#eef7eb", "color": "#5a8f4a"},
    "folded": {"shape": "box3d", "style": "filled", "fillcolor": "#ece7f3", "color": "#75609c"},
}
_FRAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "module": {"color": "#c3ccd5", "fontcolor": "#55606b", "style": "rounded"},
    "loop": {"color": "#8e4a97", "fontcolor": "#8e4a97", "bgcolor": "#fdf9fe", "style": "rounded,bold"},
}
_BACK: Final = {"color": "#8e4a97", "fontcolor": "#8e4a97", "style": "bold", "dir": "back"}
_FONT: Final = {"fontname": "Helvetica"}
_GRAPH: Final = {**_FONT, "rankdir": "TB", "fontsize": "11", "nodesep": "0.25", "ranksep": "0.35", "labelloc": "b"}
_NODE: Final = {**_FONT, "fontsize": "10", "margin": "0.12,0.05", "height": "0.3"}
_EDGE: Final = {**_FONT, "fontsize": "9", "color": "#7b8794", "fontcolor": "#55606b", "arrowsize": "0.6"}
# `dot` works on a large graph for minutes to straighten an arrow, so the rounds it may take are bounded: for a small
# drawing where more would not be seen, for a large one much earlier.
_PATIENT: Final = {"nslimit": "100", "nslimit1": "100"}
_HURRIED: Final = {"nslimit": "1", "nslimit1": "1", "mclimit": "0.1"}
_LARGE: Final = 1500  # of `cost`
_LONGEST: Final = 80


def _shown(line: str) -> str:
    """A line that can be printed: control characters by their code, cut where it is too long."""
    short = line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
    return printable(short, keep="")


def _label(graphviz: Any, *lines: str) -> str:
    """A label of several lines, each as it is: nothing in it is an escape of DOT, HTML, or the name of a character."""
    escaped = (graphviz.escape(_shown(line)).replace("&", "&amp;") for line in lines)
    return graphviz.nohtml("\\n".join(escaped))  # type: ignore[no-any-return]


def to_dot(description: Description) -> Any:
    """The drawing as a Digraph, from top to bottom; modules and loops are clusters."""
    graphviz = require("graphviz")
    patient = cost(description) <= _LARGE
    looks = {**_GRAPH, **(_PATIENT if patient else _HURRIED)}
    if description.notes:
        looks["label"] = _label(graphviz, *description.notes)
    drawn = graphviz.Digraph(graph_attr=looks, node_attr=_NODE, edge_attr=_EDGE)
    _add_boxes(graphviz, drawn, description.boxes)
    leaves = {box.key for box in description.boxes if box.role in ("parameter", "constant")}
    for arrow in description.arrows:
        _add_arrow(graphviz, drawn, arrow, arrow.tail in leaves)
    for first, second in _entered(description) if patient else ():
        drawn.edge(f"n{first}", f"n{second}", style="invis")
    return drawn


def _entered(description: Description) -> Iterator[tuple[int, int]]:
    """What flows into a module and its weights, which are to stand below: else modules one after the other would have
    ranks in common, and `dot` puts such clusters side by side.
    """
    boxes = {box.key: box for box in description.boxes}
    read: dict[int, list[int]] = {}
    first: dict[int, int] = {}
    for arrow in description.arrows:
        if not arrow.back:
            read.setdefault(arrow.head, []).append(arrow.tail)
            first.setdefault(arrow.tail, arrow.head)
    for key, head in first.items():
        around = boxes[key].group
        if boxes[key].role == "parameter" and around:
            for tail in read[head]:
                if boxes[tail].role not in ("parameter", "constant") and common(boxes[tail].group, around) != around:
                    yield tail, key


def _add_arrow(graphviz: Any, drawn: Any, arrow: Arrow, from_leaf: bool) -> None:
    """An arrow. What flows is to go straight down, weights come in from the side.

    An arrow that goes back is given to `dot` as one that goes on, drawn from its end: else the loop it closes might be
    cut open elsewhere.
    """
    label = _label(graphviz, f" {arrow.label} ") if arrow.label else None
    looks = _BACK if arrow.back else {} if from_leaf else {"weight": "4"}
    first, second = (arrow.head, arrow.tail) if arrow.back else (arrow.tail, arrow.head)
    drawn.edge(f"n{first}", f"n{second}", label, **looks)


def _add_boxes(graphviz: Any, drawn: Any, boxes: tuple[Box, ...]) -> None:
    """Boxes inside nested subgraphs, one per frame; each frame is opened and closed once."""
    first: dict[object, int] = {}
    for place, box in enumerate(boxes):
        for depth in range(len(box.group)):
            first.setdefault(box.group[: depth + 1], place)
    around = [tuple(first[box.group[: depth + 1]] for depth in range(len(box.group))) for box in boxes]
    frames: tuple[Frame, ...] = ()
    graphs, count = [drawn], 0  # the drawing, and the clusters that are open in it

    def close(kept: int) -> None:
        while len(graphs) > kept + 1:
            inner = graphs.pop()
            graphs[-1].subgraph(inner)

    for place in sorted(range(len(boxes)), key=lambda place: (around[place], place)):
        box = boxes[place]
        shared = len(common(frames, box.group))
        close(shared)
        for frame in box.group[shared:]:
            count += 1
            graphs.append(graphviz.Digraph(f"cluster_{count}"))
            graphs[-1].attr(label=_label(graphviz, frame.text), labeljust="l", labelloc="t")
            graphs[-1].attr(**_FRAMES[frame.kind])
        frames = box.group
        graphs[-1].node(f"n{box.key}", _label(graphviz, *box.lines), **_BOXES[box.role])
    close(0)


def to_tree(description: Description) -> str:
    """The drawing as a text tree, results at the top; what was shown before is named `(above)`, an arrow back `(t-1:
    ...)`.
    """
    operands: dict[int, list[int]] = {}
    loops: dict[int, list[Arrow]] = {}
    for arrow in description.arrows:
        if arrow.back:
            loops.setdefault(arrow.head, []).append(arrow)
        else:
            operands.setdefault(arrow.head, []).append(arrow.tail)
    boxes = {box.key: box for box in description.boxes}
    lines: list[str] = []
    seen: set[int] = set()
    stack = [(key, "", "") for key in reversed(description.results)]
    while stack:
        key, first, rest = stack.pop()
        text = "  ".join(_shown(line) for line in boxes[key].lines)
        text += "".join(f"  ({arrow.label}: {_shown(boxes[arrow.tail].title)})" for arrow in loops.get(key, ()))
        where = f"  in {'.'.join(_shown(frame.text) for frame in boxes[key].group)}" if boxes[key].group else ""
        if key in seen and operands.get(key):
            lines.append(f"{first}{text}  (above)")
            continue
        seen.add(key)
        lines.append(f"{first}{text}{where}")
        below = operands.get(key, [])
        for position, operand in reversed(list(enumerate(below))):
            last = position == len(below) - 1
            branch, trunk = ("\u2514\u2500 ", "   ") if last else ("\u251c\u2500 ", "\u2502  ")
            stack.append((operand, rest + branch, rest + trunk))
    return "\n".join([*lines, *(f"({note})" for note in description.notes)])
