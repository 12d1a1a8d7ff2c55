"""The tables of gradient coverage and of mutations, as lines of text."""

from __future__ import annotations

import linecache
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from .found import ANY_TEST, Check, RuleUse, Use
from .mutants import Verdict
from .mutation import Rule

PRAGMA: Final = "pragma: no gradient"
SHAPES: Final = ("array", "scalar", "broadcast", "empty")


@dataclass(slots=True)
class Line:
    """A line of code: uses that were checked, and those that only ran."""

    file: str
    number: int
    checks: set[Check] = field(default_factory=set)
    ran: set[Use] = field(default_factory=set)

    @property
    def source(self) -> str:
        """The text of the line."""
        return linecache.getline(self.file, self.number).strip()

    @property
    def order(self) -> int:
        """The highest order to which the line was checked; 0: never."""
        return max((check.order for check in self.checks), default=0)

    @property
    def modes(self) -> tuple[str, ...]:
        """How it was checked: eager, compiled, or both, with the order where that is a lower one."""
        found: list[str] = []
        for name, compiled in (("eager", False), ("compiled", True)):
            order = max((check.order for check in self.checks if check.compiled == compiled), default=0)
            found += [name if order == self.order else f"{name} to {order}"] * bool(order)
        return tuple(found)

    @property
    def shapes(self) -> str:
        """Classes of shapes that were checked, and in brackets those that only ran."""
        return _listed({check.use.shapes for check in self.checks}, {use.shapes for use in self.ran}, SHAPES)

    @property
    def operations(self) -> str:
        """As the shapes. What is inserted to broadcast is left out where it is not the only one."""
        checked, ran = {check.use.op for check in self.checks}, {use.op for use in self.ran}
        if len(checked | ran) > 1:
            checked, ran = checked - {"broadcast"}, ran - {"broadcast"}
        return _listed(checked, ran, sorted(checked | ran))


def _listed(checked: Collection[str], ran: Collection[str], order: Sequence[str]) -> str:
    """What was checked, then in brackets what only ran; without brackets where nothing was checked."""
    first = [name for name in order if name in checked]
    rest = [name for name in order if name in ran and name not in checked]
    if not first:
        return ", ".join(rest)
    return ", ".join(first) + (f" ({', '.join(rest)})" if rest else "")


def lines_of(ran: Collection[Use], checked: Collection[Check]) -> list[Line]:
    """The lines, by file and number, without those that a comment takes out."""
    lines: dict[tuple[str, int], Line] = {}

    def at(use: Use) -> Line:
        return lines.setdefault((use.file, use.line), Line(use.file, use.line))

    for use in ran:
        at(use).ran.add(use)
    for check in checked:
        at(check.use).checks.add(check)
    return [line for _, line in sorted(lines.items()) if PRAGMA not in line.source]


def percent(part: int, whole: int) -> str:
    """A share in percent, never rounded up."""
    return f"{math.floor(1000 * part / whole) / 10:g} %"


def shown(file: str, root: str) -> str:
    """A file from the root of the project, or in full."""
    inside = file.startswith(os.path.join(root, ""))
    return os.path.relpath(file, root) if inside else file


def coverage_table(lines: Sequence[Line], root: str, width: int) -> list[tuple[str, bool]]:
    """The lines of the table, file by file, each with whether it is one that was never checked."""
    table: list[tuple[str, bool]] = []
    cells = {(line.file, line.number): _cells(line) for line in lines}
    names = ("line", "checked", "run as", "shapes", "operations")
    narrow = 24 if width < 120 else 36
    cells = {key: (*row[:4], _cut(row[4], narrow)) for key, row in cells.items()}
    widths = [max(len(name), *(len(row[k]) for row in cells.values())) for k, name in enumerate(names)]
    table.append((_row(names, widths, "code", width), False))
    for file in dict.fromkeys(line.file for line in lines):
        own = [line for line in lines if line.file == file]
        done = sum(line.order > 0 for line in own)
        head = f"{shown(file, root)}: {done} of {len(own)} lines checked, {percent(done, len(own))}"
        rows = [_row(cells[line.file, line.number], widths, line.source, width) for line in own]
        table += [(head, False), *((row, not line.order) for row, line in zip(rows, own, strict=True))]
    return table


def _row(cells: Sequence[str], widths: Sequence[int], code: str, width: int) -> str:
    text = "  ".join(cell.ljust(wide) for cell, wide in zip(cells, widths, strict=True))
    return f"  {text}  {_cut(code, max(width - len(text) - 4, 20))}".rstrip()


def _cells(line: Line) -> tuple[str, str, str, str, str]:
    status = f"order {line.order}" if line.order else "never"
    return f"{line.number:>4}", status, ", ".join(line.modes), line.shapes, line.operations


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def coverage_summary(lines: Sequence[Line]) -> str:
    """The last line of the table."""
    count = len(lines)
    done = [line for line in lines if line.order]
    second = sum(line.order > 1 for line in done)
    compiled = sum(any(check.compiled for check in line.checks) for line in done)
    return (
        f"gradient coverage: {len(done)} of {count} lines, {percent(len(done), count)} "
        f"(to order 2: {percent(second, count)}, compiled: {percent(compiled, count)})"
    )


def mutation_table(
    verdicts: Sequence[Verdict], rules: Mapping[Rule, RuleUse], root: str, ours: Collection[str]
) -> list[str]:
    """A line for each change that no test noticed, and for each that could not be tried."""
    table = []
    words = {"survived": "SURVIVED", "not run": "NOT RUN"}
    left = [verdict for verdict in verdicts if verdict.outcome in words]
    width = max((len(str(verdict.mutation)) for verdict in left), default=0)
    for verdict in sorted(left, key=lambda verdict: (not verdict.mutation.rule.own, verdict.mutation)):
        use = rules[verdict.mutation.rule]
        tests = len(use.tests - {ANY_TEST})
        by = f"by {tests} test{'s' * (tests != 1)}" if tests else "outside of tests"
        table.append(
            f"{words[verdict.outcome]}  {verdict.mutation!s:<{width}}  used {_where(use, root, ours)}, {by}"
        )
    return table


def _where(use: RuleUse, root: str, tests: Collection[str]) -> str:
    """A line where the rule was used, the user's own before a test's."""
    places = sorted(use.places, key=lambda place: (place[0] in tests, place))
    if not places:
        return "in derivatives of other rules"
    file, number = places[0]
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"at {shown(file, root)}:{number}: {_cut(linecache.getline(file, number).strip(), 60)}{more}"


def mutation_summary(verdicts: Sequence[Verdict]) -> str:
    """The last line: how many were noticed."""
    noticed = sum(verdict.outcome == "noticed" for verdict in verdicts)
    survived = sum(verdict.outcome == "survived" for verdict in verdicts)
    tried = noticed + survived
    score = f", {percent(noticed, tried)}" if tried else ""
    return f"gradient mutation: {noticed} of {tried} changes noticed{score}"
