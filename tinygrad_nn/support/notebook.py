"""What a notebook shows: curves as SVG, and what changes in a cell while something runs.

Colours are those that colour-blind people tell apart (Okabe and Ito) and that can be seen on white and on black; all
else has the colour of the text around it. Whatever a user named is escaped.
"""

from __future__ import annotations

import html
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..errors import printable

COLOURS: Final = ("#2a8fd0", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#8a7fd1")
POINTS: Final = 160  # of a curve: more would not be seen
_WIDTH, _HEIGHT = 320, 120  # of the room for a curve
_MOST: Final = 4  # curves in one picture
_EVERY: Final = 0.4  # seconds between two pictures in a cell

Curve = tuple[str, Sequence[float], Sequence[float]]  # its name, and x and y of each point


def pictures(groups: Sequence[Sequence[Curve]]) -> str:
    """Curves side by side, those of a group on one scale.

    >>> pictures([[("a < b", [1, 2], [0.5, 0.25])]]).count("<svg")
    1
    """
    drawn = [_picture(group[k : k + _MOST]) for group in groups for k in range(0, len(group), _MOST)]
    return f'<div style="display:flex;flex-wrap:wrap;gap:1em">{"".join(drawn)}</div>' if any(drawn) else ""


def _picture(curves: Sequence[Curve]) -> str:
    """One picture; nothing where no number is finite."""
    finite = [(x, y) for _, xs, ys in curves for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
    if not finite:
        return ""
    left, right = min(x for x, _ in finite), max(x for x, _ in finite)
    low, high = min(y for _, y in finite), max(y for _, y in finite)
    above = 0 if high > low else 0.5  # a level line lies in the middle
    wide, tall = (right - left) or 1, (high - low) or 1
    lines, names = [], []
    for k, (name, xs, ys) in enumerate(curves):
        colour, called = COLOURS[k], html.escape(printable(name, keep=""))
        names.append(f'<span style="color:{colour}">&#9644;</span> {called}')
        places = [
            f"{_WIDTH * (x - left) / wide:.1f},{_HEIGHT * (above + (high - y) / tall):.1f}" if math.isfinite(y) else ""
            for x, y in _thinned(xs, ys)
        ]
        for run in " ".join(place or "|" for place in places).split("|"):
            if run.strip():
                both = run.strip() if " " in run.strip() else f"{run.strip()} {run.strip()}"
                shape = f'<polyline points="{both}" fill="none" stroke="{colour}" stroke-width="1.6"'
                lines.append(f'{shape} stroke-linecap="round" stroke-linejoin="round"/>')
    said = html.escape(printable(", ".join(name for name, _, _ in curves), keep=""))
    axis = f'<path d="M0 0V{_HEIGHT}H{_WIDTH}" fill="none" stroke="currentColor" stroke-opacity=".35"/>'
    text = "".join(
        f'<text x="{x}" y="{y}" text-anchor="{side}" fill="currentColor" font-size="11">{value}</text>'
        for x, y, side, value in (
            (-4, 9 + above * _HEIGHT, "end", f"{high:.3g}"),
            *([(-4, _HEIGHT, "end", f"{low:.3g}")] if high > low else []),
            (0, _HEIGHT + 13, "start", f"{left:,.0f}"),
            (_WIDTH, _HEIGHT + 13, "end", f"{right:,.0f}"),
        )
    )
    size = f'width="{_WIDTH + 62}" height="{_HEIGHT + 22}" viewBox="-56 -4 {_WIDTH + 62} {_HEIGHT + 22}"'
    svg = f'<svg {size} role="img" style="max-width:100%"><title>{said}</title>{axis}{"".join(lines)}{text}</svg>'
    return f'<div><div style="font-size:90%">{" &nbsp; ".join(names)}</div>{svg}</div>'


def _thinned(xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    """As many points as can be seen: of each stretch the lowest and the highest one."""
    points = list(zip(xs, ys, strict=True))
    if len(points) <= POINTS:
        return points
    found: list[tuple[float, float]] = []
    step = 2 * len(points) / POINTS
    for k in range(POINTS // 2):
        part = points[int(k * step) : int((k + 1) * step)]
        sound = [point for point in part if math.isfinite(point[1])]
        if sound:
            ends = {min(sound, key=lambda point: point[1]), max(sound, key=lambda point: point[1])}
            found += sorted(ends)
        else:
            found.append(part[0])
    return [points[0], *found, points[-1]]


def live(shown: Any) -> Callable[[bool], None] | None:
    """What is shown in the cell that runs, and how it is shown again: not too often, unless it is the last time. None
    outside of a notebook.
    """
    found = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = found() if found is not None else None
    if getattr(shell, "kernel", None) is None:
        return None
    display = sys.modules["IPython.display"].display
    handle: list[Any] = []
    last = time.monotonic()

    def again(now: bool) -> None:
        nonlocal last
        if not now and time.monotonic() - last < _EVERY:
            return
        if handle:
            handle[0].update(shown)
        else:
            handle.append(display(shown, display_id=True))
        last = time.monotonic()

    return again
