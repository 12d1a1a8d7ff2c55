"""The stages: the function as text after each rewrite that changed it, as loops, as LLVM IR and as machine code.

A stage is lines of text, and for ranges of lines the nodes of the trace that they compute: so what is chosen in one
stage is marked in all others. The user's own lines are the first stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any, Final

from ..adjoint import SCAN
from ..compiler.driver import Compilation
from ..compiler.loopir.program import Program
from ..compiler.passes.algebra import PASSES
from ..errors import TinygradError, printable
from ..graph.graph import Graph, Node
from ..graph.places import Places
from .subject import Missing, Subject, short

SIZE: Final = 120_000  # letters of a text; the lines behind them are counted
LEAST: Final = 6_000  # letters that are left of a text where a page is too large
LETTERS: Final = 400  # of a line

Marked = tuple[list[str], list[tuple[int, int, frozenset[int]]]]  # lines, and (first, behind the last, ids of nodes)


@dataclass(slots=True)
class _Groups:
    """Sets of nodes, each once, by their numbers."""

    known: dict[frozenset[int], int] = field(default_factory=dict)

    def number(self, ids: frozenset[int]) -> int:
        """The number of a set."""
        return self.known.setdefault(ids, len(self.known))


def part(subject: Subject) -> Mapping[str, Any] | Missing:
    """All stages, each with a title, what it is, its lines, and which nodes they are for."""
    made = subject.compilation
    if isinstance(made, Missing):
        return made
    groups = _Groups()
    stages, notes = [], []
    for title, about, file, make in _stages(subject, made):
        try:
            lines, marks = make()
        except TinygradError as error:  # a machine for which LLVM writes no text, say
            notes.append(f"{title}: {error}")
            continue
        text, left = _cut([short(line, LETTERS) for line in lines], SIZE)
        ranges = [(first, last, groups.number(ids)) for first, last, ids in marks if ids]
        stage = {"title": title, "about": about, "file": file, "text": text, "left": left}
        stages.append({**stage, "marks": _differences(ranges)})
    return {"stages": stages, "groups": [sorted(ids) for ids in groups.known], "notes": notes}


def smaller(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The same with half of the longest texts; None where they are short."""
    longest = max(len(stage["text"]) for stage in data["stages"])
    if longest < 2 * LEAST:
        return None
    stages = []
    for stage in data["stages"]:
        text, left = _cut(stage["text"].split("\n"), longest // 2)
        stages.append({**stage, "text": text, "left": stage["left"] + left})
    return {**data, "stages": stages}


def _cut(lines: list[str], size: int) -> tuple[str, int]:
    """The lines that have so many letters together, and how many more there are."""
    kept = sum(1 for end in accumulate(len(line) + 1 for line in lines) if end <= size)
    return "\n".join(lines[:kept]), len(lines) - kept


def _differences(ranges: list[tuple[int, int, int]]) -> list[int]:
    """Ranges of lines as small numbers: how many lines are between, and in it, and by how much the group is another."""
    found: list[int] = []
    line = group = 0
    for first, last, own in sorted(ranges):
        found += [first - line, last - first, own - group]
        line, group = last, own
    return found


def _stages(subject: Subject, made: Compilation) -> Iterator[tuple[str, str, str, Callable[[], Marked]]]:
    """Title, explanation, name of a file, and what makes the text of each stage."""
    graph = subject.graph
    places = graph.places or Places()

    def ids(nodes: Iterable[Node]) -> frozenset[int]:
        return frozenset(subject.ids[one] for node in nodes for one in places.origins(node) if one in subject.ids)

    kernels: dict[str, frozenset[int]] = {}
    for program in (made.program, made.schedule.program):
        kernels |= {
            kernel.name: kernels.get(kernel.name, frozenset()) | ids(kernel.origins) for kernel in program.kernels
        }
    yield "Your code", "The lines that the operations come from.", "code.txt", lambda: _code(graph, places, ids)
    yield (
        "As traced",
        "What one call of the function did, node by node.",
        "traced.txt",
        lambda: _named(subject, *_graph(graph, ids)),
    )
    for step, after in _rewrites(graph):
        about = (step.__doc__ or "").strip().split("\n")[0]
        name = step.__name__
        yield f"After {name.replace('_', ' ')}", about, f"{name}.txt", partial(_graph, after, ids)
    lowered, scheduled = made.program, made.schedule.program
    yield (
        "Loops",
        "Kernels, each a nest of loops; what is in none of them has no memory.",
        "loops.txt",
        (lambda: _program(lowered, kernels)),
    )
    yield (
        "Schedule",
        "Kernels joined and in order, with the loop whose steps are lanes of a vector.",
        "schedule.txt",
        (lambda: _program(scheduled, kernels)),
    )
    yield (
        "LLVM IR",
        "Vectors and unrolled loops are written out; LLVM selects instructions.",
        "code.ll",
        (lambda: _ranges(made.llvm_ranges(), kernels)),
    )
    yield "Assembly", f"For {made.target.triple}.", "code.s", lambda: _ranges(made.assembly_ranges(), kernels)


def _rewrites(graph: Graph) -> Iterator[tuple[Callable[[Graph], Graph], Graph]]:
    """Each pass that changed something, and what it left."""
    before = str(graph)
    for step in PASSES:
        graph = step(graph)
        after = str(graph)
        if after != before:
            yield step, graph
        before = after


def _code(graph: Graph, places: Places, ids: Callable[[Iterable[Node]], frozenset[int]]) -> Marked:
    """The user's lines, by file and number."""
    found: dict[tuple[str, int, str], list[Node]] = {}
    for node in graph.nodes:
        place = places.place(node)
        if place is not None and place.where:
            found.setdefault((place.where.rpartition(":")[0], place.line, place.text), []).append(node)
    keys = sorted(found)
    wide = max((len(f"{file}:{line}") for file, line, _ in keys), default=0)
    lines = [f"{f'{file}:{line}':<{wide}}  {text}" for file, line, text in keys]
    return lines, [(k, k + 1, ids(found[key])) for k, key in enumerate(keys)]


def _graph(graph: Graph, ids: Callable[[Iterable[Node]], frozenset[int]]) -> Marked:
    """A line per node; the step of a loop has lines of its own."""
    lines: list[str] = []
    marks: list[tuple[int, int, frozenset[int]]] = []
    rest = str(graph).splitlines()
    for node, line in zip(graph.nodes, rest, strict=False):
        start = len(lines)
        if node.op is SCAN:
            inner = str(node.attrs["body"]).splitlines()
            head, tail = line.split("{" + "; ".join(inner) + "}")
            lines.append(f"{head}{{")
            for one, text in zip(node.attrs["body"].nodes, inner, strict=False):
                marks.append((len(lines), len(lines) + 1, ids((one,))))
                lines.append(f"    {text}")
            lines += [f"    {text}" for text in inner[len(node.attrs["body"].nodes) :]]
            lines.append(f"}}{tail}")
            marks.append((start, start + 1, ids((node,))))
        else:
            lines.append(line)
            marks.append((start, start + 1, ids((node,))))
    return [*lines, *rest[len(graph.nodes) :]], marks


def _named(subject: Subject, lines: list[str], marks: list[tuple[int, int, frozenset[int]]]) -> Marked:
    """The lines of the inputs with their names, which come first."""
    names = [short(subject.leaves[node][1]) if node in subject.leaves else "" for node in subject.graph.inputs]
    known = [f"{line}  # {printable(name, '')}" for line, name in zip(lines, names, strict=False)]
    return [*known, *lines[len(known) :]], marks


def _program(program: Program, kernels: Mapping[str, frozenset[int]]) -> Marked:
    """The text of a program. A kernel begins with its name, and goes on as long as lines are further in."""
    lines = str(program).splitlines()
    marks = []
    start, margin, name = 0, 0, ""
    for k, line in enumerate([*lines, ""]):
        indent = len(line) - len(line.lstrip())
        if name and indent <= margin:
            marks.append((start, k, kernels.get(name, frozenset())))
            name = ""
        if line.lstrip().startswith("kernel "):
            start, margin, name = k, indent, line.split()[1].rstrip(":")
    return lines, marks


def _ranges(found: Any, kernels: Mapping[str, frozenset[int]]) -> Marked:
    """A text of which it is known where each kernel is."""
    marks = [
        (one.start, one.stop, kernels.get(name, frozenset()))
        for name, ranges in found.kernels.items()
        for one in ranges
    ]
    return found.text.splitlines(), marks
