"""A description as DOT text. Every string that came from a user is quoted and escaped here, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

from .description import Box, Description

_STYLE = {
    "op": 'shape=box style="rounded,filled" fillcolor="#f4f6f8" color="#9aa5b1"',
    "parameter": 'shape=box style="filled" fillcolor="#dbe9f6" color="#3b6ea5"',
    "input": 'shape=box style="filled" fillcolor="#e3f1df" color="#5a8f4a"',
    "constant": 'shape=plaintext fontcolor="#66707a"',
    "output": 'shape=box style="rounded,filled,bold" fillcolor="#fbe9d7" color="#b9722e"',
    "folded": 'shape=box3d style="filled" fillcolor="#ece7f3" color="#75609c"',
}
_LONGEST = 80


def quoted(*lines: str) -> str:
    """A DOT string of several lines. Backslashes and quotes are escaped, control characters shown, long lines cut.

    >>> print(quoted('say "hi"', "<b>"))
    "say \\"hi\\"\\n<b>"
    """
    return '"' + "\\n".join(_escaped(line) for line in lines) + '"'


def _escaped(line: str) -> str:
    short = line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
    visible = "".join(c if c.isprintable() else repr(c)[1:-1] for c in short)
    return visible.replace("\\", "\\\\").replace('"', '\\"')


def to_dot(description: Description) -> str:
    """The drawing as a DOT program, from top to bottom, modules as clusters."""
    lines = [
        "digraph {",
        '  graph [rankdir=TB fontname="Helvetica" fontsize=11 nodesep=0.25 ranksep=0.3]',
        '  node [fontname="Helvetica" fontsize=10 margin="0.12,0.05" height=0.3]',
        '  edge [color="#7b8794" arrowsize=0.6]',
    ]
    if description.note:
        lines.append(f"  label={quoted(description.note)}")
    lines += _clustered(description.boxes)
    lines += [f"  n{a} -> n{b}" for a, b in description.arrows]
    return "\n".join([*lines, "}"]) + "\n"


def _clustered(boxes: tuple[Box, ...]) -> Iterator[str]:
    """Boxes inside nested subgraphs, one per module; each module is opened and closed once."""
    ordered = sorted(enumerate(boxes), key=lambda pair: (pair[1].group, pair[0]))
    open_groups: tuple[str, ...] = ()
    count = 0
    for _, box in ordered:
        common = 0
        while common < min(len(open_groups), len(box.group)) and open_groups[common] == box.group[common]:
            common += 1
        for depth in range(len(open_groups), common, -1):
            yield "  " * depth + "}"
        for depth in range(common, len(box.group)):
            count += 1
            indent = "  " * (depth + 1)
            yield f"{indent}subgraph cluster_{count} {{"
            yield f'{indent}  label={quoted(box.group[depth])} labeljust=l color="#c3ccd5" style=rounded'
        open_groups = box.group
        yield "  " * (len(box.group) + 1) + f"n{box.key} [label={quoted(*box.lines)} {_STYLE[box.role]}]"
    for depth in range(len(open_groups), 0, -1):
        yield "  " * depth + "}"


def to_tree(description: Description) -> str:
    """The drawing as a text tree, results at the top; what was shown before is named `(above)`."""
    operands: dict[int, list[int]] = {}
    for a, b in description.arrows:
        operands.setdefault(b, []).append(a)
    boxes = {box.key: box for box in description.boxes}
    lines: list[str] = []
    seen: set[int] = set()
    stack = [(key, "", "") for key in reversed(description.results)]
    while stack:
        key, first, rest = stack.pop()
        text = "  ".join(_escaped(line) for line in boxes[key].lines)
        where = f"  in {'.'.join(boxes[key].group)}" if boxes[key].group else ""
        if key in seen and operands.get(key):
            lines.append(f"{first}{text}  (above)")
            continue
        seen.add(key)
        lines.append(f"{first}{text}{where}")
        below = operands.get(key, [])
        for position, operand in reversed(list(enumerate(below))):
            last = position == len(below) - 1
            stack.append((operand, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  ")))
    return "\n".join([*lines, *([f"({description.note})"] if description.note else [])])
