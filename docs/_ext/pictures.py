"""`{numbers}`: the tables of docs/benchmarks.md as pictures, made while the site is built.

Every figure is a time divided by that of tinygrad_nn compiled in the same run, because only ratios carry over to
another machine. The axis is logarithmic, says so, and has 1 in it; what is left of 1 is faster than tinygrad_nn. Thin
lines reach from the shortest to the longest measured time. A table with the same figures stands below.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

OURS: Final = "tinygrad_nn compiled"
MARKS: Final = {  # a class of site.css, and a form, so that nobody has to tell colours apart
    "limit.cpp": ("cpp", "M-6,0L0,-6L6,0L0,6Z"),
    "PyTorch eager": ("pytorch", "M-5,-5H5V5H-5Z"),
    "JAX jit": ("jax", "M0,-6L6,5H-6Z"),
    "tinygrad_nn compiled, cached": ("ours", "M-5,0A5,5 0 1 0 5,0A5,5 0 1 0 -5,0Z"),
}
LEFT, WIDTH, RIGHT, ROW, TOP = 122, 330, 20, 26, 34  # pixels


@dataclass(frozen=True)
class Time:
    """A row of a table: the median and the spread, as ratios to OURS."""

    who: str
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Workload:
    """A table: what is measured, and who took part."""

    name: str
    work: str
    times: tuple[Time, ...]


def workloads(text: str) -> dict[str, Workload]:
    """The tables of the last run, by name.

    >>> page = '''### iris
    ... [us/epoch] Iris: 4-8-3
    ...
    ... | contestant | median | spread | / limit |
    ... |---|---|---|---|
    ... | JAX jit | 20.0 | 19.0..22.0 (7) | |
    ... | tinygrad_nn compiled | 2.00 | 1.90..2.10 (7) | |
    ... '''
    >>> workloads(page)["iris"].times
    (Time(who='JAX jit', ratio=10.0, low=9.5, high=11.0),)
    """
    found = {}
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        name, _, rest = part.partition("\n")
        work = re.search(r"^\[.*?\] (.*)$", rest, re.MULTILINE)
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in rest.splitlines() if line.startswith("| ")]
        measured = {row[0]: (_number(row[1]), *map(_number, row[2].split(" ")[0].split(".."))) for row in rows[1:]}
        if work is not None and OURS in measured:
            unit = measured[OURS][0]
            times = (Time(who, *(value / unit for value in values)) for who, values in measured.items() if who != OURS)
            found[name.strip()] = Workload(name.strip(), work[1], tuple(times))
    return found


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def picture(chosen: list[Workload]) -> str:
    """An SVG of one row for each workload."""
    ratios = [value for one in chosen for time in one.times for value in (time.low, time.high)]
    low, high = (
        10 ** bound(math.log10(value)) for bound, value in ((math.floor, min(ratios)), (math.ceil, max(ratios)))
    )
    low = min(low, 0.1)
    height = TOP + ROW * len(chosen) + 40

    def at(ratio: float) -> float:
        return LEFT + WIDTH * (math.log(ratio / low) / math.log(high / low))

    parts = list(_axis(low, high, height, at))
    for row, one in enumerate(chosen):
        y = TOP + ROW * row + ROW / 2
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" class="name">{html.escape(one.name)}</text>')
        for time in one.times:
            style, form = MARKS[time.who]
            said = f"{one.name}: {time.who} takes {time.ratio:.3g} times as long"
            parts.append(
                f'<g class="{style}"><title>{said}</title>'
                f'<line x1="{at(time.low):.1f}" x2="{at(time.high):.1f}" y1="{y}" y2="{y}"/>'
                f'<path transform="translate({at(time.ratio):.1f},{y})" d="{form}"/></g>'
            )
    told = "; ".join(f"{time.who} {time.ratio:.3g} in {one.name}" for one in chosen for time in one.times)
    label = f"Times divided by that of tinygrad_nn compiled: {told}"
    box, said = f"0 0 {LEFT + WIDTH + RIGHT} {height}", html.escape(label)
    return f'<svg class="numbers" viewBox="{box}" role="img" aria-label="{said}">{"".join(parts)}</svg>'


def _axis(low: float, high: float, height: int, at: Any) -> Iterator[str]:
    """A line for each power of ten, and the one where both take the same time."""
    bottom = height - 40
    power = low
    while power <= high * 1.001:
        style = "one" if abs(power - 1) < 1e-9 else "grid"
        text = "1" if style == "one" else f"{power:g}"
        yield f'<line class="{style}" x1="{at(power):.1f}" x2="{at(power):.1f}" y1="{TOP - 6}" y2="{bottom}"/>'
        yield f'<text class="tick" x="{at(power):.1f}" y="{bottom + 16}">{text}</text>'
        power *= 10
    axis = "time / time of tinygrad_nn compiled, logarithmic"
    yield f'<text class="tick" x="{LEFT + WIDTH / 2}" y="{bottom + 34}">{axis}</text>'
    yield f'<text class="side" x="{at(1) + 8:.1f}" y="{TOP - 14}">slower than tinygrad_nn</text>'
    yield f'<text class="side end" x="{at(1) - 8:.1f}" y="{TOP - 14}">faster</text>'


def legend(chosen: list[Workload]) -> str:
    """Who the forms stand for."""
    there = {time.who for one in chosen for time in one.times}
    mark = '<svg viewBox="-8 -8 16 16" aria-hidden="true"><path d="{}"/></svg>'
    items = (
        f'<span class="{style}">{mark.format(form)}{html.escape(who)}</span>'
        for who, (style, form) in MARKS.items()
        if who in there
    )
    return f'<p class="legend">{"".join(items)}</p>'


def table(chosen: list[Workload]) -> str:
    """The same figures as text."""
    who = [name for name in MARKS if any(time.who == name for one in chosen for time in one.times)]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in who)
    rows = []
    for one in chosen:
        by = {time.who: f"{time.ratio:.3g}" for time in one.times}
        cells = "".join(f"<td>{by.get(name, '')}</td>" for name in who)
        rows.append(f"<tr><td><code>{html.escape(one.name)}</code> {html.escape(one.work)}</td>{cells}</tr>")
    return (
        '<details class="figures"><summary>The same figures as a table</summary><div class="table-wrapper">'
        f'<table class="docutils"><thead><tr><th>workload</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
        "</div></details>"
    )


class Numbers(SphinxDirective):
    """`{numbers} iris titanic`: these workloads of docs/benchmarks.md, in this order."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = {"title": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """The picture, its legend and its table."""
        source = Path(self.env.srcdir) / "benchmarks.md"
        self.env.note_dependency(str(source))
        known = workloads(source.read_text(encoding="utf-8"))
        names = self.arguments[0].split()
        if missing := [name for name in names if name not in known]:
            raise self.error(f"no table of {missing} in {source.name}; there are {sorted(known)}")
        chosen = [known[name] for name in names]
        inner = legend(chosen) + f'<div class="scroll">{picture(chosen)}</div>' + table(chosen)
        return [nodes.raw("", f'<figure class="measured">{inner}</figure>', format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """For Sphinx."""
    app.add_directive("numbers", Numbers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
