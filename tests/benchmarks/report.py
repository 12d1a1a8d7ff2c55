"""From measurements to tables: losses compared, ratios, text, Markdown, JSON, a bar chart."""

from __future__ import annotations

import json
import math
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .contestants import BENCH, CONTESTANTS
from .runner import Measured
from .workloads import Target, Workload

Results = Mapping[str, Sequence[Measured]]
"""Workload -> its contestants."""

HEADER = ("contestant", "median", "spread", "/ limit", "/ compiled", "iterations", "loss", "")


def compare(workload: Workload, found: Sequence[Measured]) -> None:
    """Mark those whose losses (or scores) are not those of the first contestant that trained as long."""
    marks = sorted({mark for one in found for mark in one.values})
    for mark in marks:
        having = [one for one in found if one.left_out is None and one.values.get(mark)]
        for one in having[1:]:
            expected, got = having[0].values[mark], one.values[mark]
            pairs = list(zip(expected, got, strict=False))
            if len(expected) != len(got) or not all(close(a, b, workload.tolerance) for a, b in pairs):
                a, b = next(((a, b) for a, b in pairs if not close(a, b, workload.tolerance)), (math.nan, math.nan))
                reference = CONTESTANTS[having[0].contestant].label
                one.wrong = f"MISMATCH: {b:.9g} after {mark} iterations where {reference} has {a:.9g}"


def close(a: float, b: float, tolerance: float) -> bool:
    """Relative to the first; NaN is close to nothing."""
    return abs(a - b) <= tolerance * max(abs(a), 1e-6)  # a loss next to nothing is all rounding


def ratio(found: Sequence[Measured], of: str, over: str) -> float | None:
    """Median over the rounds of one contestant's figure over another's."""
    by_name = {one.contestant: one.amounts for one in found if not one.left_out}
    pairs = zip(by_name.get(of, ()), by_name.get(over, ()), strict=False)
    quotients = [a / b for a, b in pairs if b > 0]
    return statistics.median(quotients) if quotients else None


@dataclass(frozen=True)
class Table:
    """One workload, ready to be printed."""

    title: str
    unit: str
    rows: tuple[tuple[str, ...], ...]
    left_out: tuple[str, ...]
    targets: tuple[str, ...]


def number(value: float | None) -> str:
    """Three digits, or nothing."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}" if digits <= 4 else f"{value:.1e}"


def table(workload: Workload, found: Sequence[Measured]) -> Table:
    """The rows of a workload."""
    rows = []
    for one in found:
        if one.left_out:
            continue
        low, high = min(one.amounts), max(one.amounts)
        over = () if workload.mode == "memory" else ("limit", "compiled")
        ratios = [ratio(found, one.contestant, name) for name in over] or [None, None]
        loss = one.values.get(workload.check, [])
        timed = workload.fresh and workload.mode == "time"  # in a new process: what was imported tells something
        remarks = [f"{name} {value:.0f}" for name, value in one.notes.items()] if timed else []
        if one.contestant == "limit":
            remarks.append("data of its own")
        elif one.iterations < workload.iterations:
            remarks.append(f"scaled to {workload.iterations:,}")
        if one.wrong:
            remarks.append(one.wrong)
        rows.append(
            (
                CONTESTANTS[one.contestant].label,
                number(one.median),
                f"{number(low)}..{number(high)} ({len(one.amounts)})",
                *(number(value) for value in ratios),
                "" if one.contestant == "limit" else f"{one.iterations:,}",
                "" if not loss else "labels" if workload.labels else f"{loss[0]:.8g}",
                "; ".join(remarks),
            )
        )
    left_out = [f"{CONTESTANTS[one.contestant].label}: {one.left_out}" for one in found if one.left_out]
    targets = tuple(verdict(workload, found, target) for target in workload.targets)
    return Table(f"{workload.name} [{workload.unit}] {workload.title}", workload.unit, (*rows,), (*left_out,), targets)


def verdict(workload: Workload, found: Sequence[Measured], target: Target) -> str:
    """A target and whether it is met, in words."""
    label = CONTESTANTS[target.of].label
    if target.over is None:
        medians = [one.median for one in found if one.contestant == target.of and one.amounts]
        value, goal = (medians[0] if medians else None), f"{target.bound:g} {workload.unit}"
    else:
        value = ratio(found, target.of, target.over)
        goal = f"{target.bound:g} x {CONTESTANTS[target.over].label}"
    state = "not measured" if value is None else "met" if value <= target.bound else "not met"
    return f"target: {label} at most {goal}: {number(value)} {state}".replace("  ", " ")


def text(tables: Sequence[Table]) -> str:
    """For a terminal."""
    lines: list[str] = []
    for one in tables:
        columns = list(zip(HEADER, *one.rows, strict=True))
        widths = [max(map(len, column)) for column in columns]
        lines += [one.title]
        for row in zip(*columns, strict=True):
            cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
            cells[0], cells[-1] = row[0].ljust(widths[0]), row[-1]
            lines.append("  " + "  ".join(cells).rstrip())
        lines += [f"  left out: {reason}" for reason in one.left_out] + [f"  {line}" for line in one.targets] + [""]
    return "\n".join(lines)


def markdown(tables: Sequence[Table], heading: str) -> str:
    """For docs/benchmarks.md."""
    lines = [heading, ""]
    for one in tables:
        name, _, title = one.title.partition(" ")
        lines += [f"### {name}", "", title, "", "| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in one.rows]
        remarks = [*(f"- left out: {reason}" for reason in one.left_out), *(f"- {line}" for line in one.targets)]
        lines += ["", *remarks, ""] if remarks else [""]
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """What was measured on, and when."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0] if names else cpu
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {"date": date, "cpu": cpu, "system": platform.platform(), "python": platform.python_version()}


def heading() -> str:
    """The machine in one line."""
    found = machine()
    return f"{found['date']}, {found['cpu']}, {found['system']}, Python {found['python']}; one core, one thread"


def write(workloads: Sequence[Workload], results: Results, tables: Sequence[Table], folder: Path) -> list[str]:
    """Markdown, JSON and the chart; what was written and what could not be, in words."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.md").write_text(markdown(tables, heading()) + "\n", encoding="utf-8")
    stored: dict[str, Any] = {"machine": machine(), "workloads": {}}
    for workload in workloads:
        found = [asdict(one) | ({"median": one.median} if one.amounts else {}) for one in results[workload.name]]
        stored["workloads"][workload.name] = {"unit": workload.unit, "contestants": found}
    (folder / "benchmarks.json").write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    written = [str(folder / "benchmarks.md"), str(folder / "benchmarks.json")]
    try:
        chart(workloads, results, folder / "benchmarks.png")
        written.append(str(folder / "benchmarks.png"))
    except ModuleNotFoundError as error:
        written.append(f"no chart: {error.name} is not installed: {BENCH}")
    return written


def chart(workloads: Sequence[Workload], results: Results, path: Path) -> None:
    """Bars of the time over that of the compiled step, on a logarithmic scale, a panel per workload."""
    from matplotlib.figure import Figure

    panels: list[tuple[Workload, list[tuple[str, float]]]] = []
    for workload in workloads:
        found = results[workload.name]
        ratios = {one.contestant: ratio(found, one.contestant, "compiled") for one in found if not one.left_out}
        shown = [(name, value) for name, value in ratios.items() if value]
        if shown and workload.mode != "memory":
            panels.append((workload, shown))
    figure = Figure(figsize=(7, 0.6 + sum(0.7 + 0.28 * len(bars) for _, bars in panels)), layout="constrained")
    heights = [0.7 + 0.28 * len(bars) for _, bars in panels]
    axes = figure.subplots(max(1, len(panels)), 1, squeeze=False, height_ratios=heights or None)[:, 0]
    for (workload, bars), ax in zip(panels, axes, strict=False):
        labels = [CONTESTANTS[name].label for name, _ in bars]
        colors = ["C1" if name.startswith("compiled") else "0.4" if name == "limit" else "C0" for name, _ in bars]
        drawn = ax.barh(labels, [value for _, value in bars], color=colors)
        ax.bar_label(drawn, [f"{number(value)}x" for _, value in bars], padding=3, fontsize=8)
        ax.set_xscale("log")
        ax.margins(x=0.25)
        ax.invert_yaxis()
        ax.axvline(1, color="black", linewidth=0.8)
        ax.set_title(workload.name, loc="left", fontsize=10)
        ax.tick_params(labelsize=8)
    figure.suptitle("time over that of tinygrad_nn compiled", fontsize=11)
    figure.savefig(path, dpi=120)
