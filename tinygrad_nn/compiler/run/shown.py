"""How a compiled function shows itself: where it comes from, and what it was compiled for."""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING, Any

from ...errors import printable
from ...tables import html_table, html_text, text_table

if TYPE_CHECKING:
    from .jit import Jitted, Kind


def text(jitted: Jitted) -> str:
    """For a terminal."""
    table = [text_table(kinds(jitted))] if jitted.entries else []
    return "\n".join([head(jitted), *table, *trainings(jitted)])


def page(jitted: Jitted) -> str:
    """For a notebook."""
    table = html_table(kinds(jitted)) if jitted.entries else ""
    return html_text(head(jitted)) + table + "".join(map(html_text, trainings(jitted)))


def trainings(jitted: Jitted) -> list[str]:
    """The native run that is kept for the next fit."""
    return [f"fit: {training!r}" for _, training, *_ in jitted.runs]


def head(jitted: Jitted) -> str:
    """Name, signature and place of the function, and how often it was traced."""
    code = getattr(jitted.function, "__code__", None)
    try:
        signature = str(_signature(jitted.function))
        place = "" if code is None else f" at {_near(code.co_filename)}:{code.co_firstlineno}"
    except (TypeError, ValueError):  # a builtin; a file on another drive
        signature, place = "(...)", ""
    traced = {0: "not called yet", 1: "traced once"}.get(jitted.traces, f"traced {jitted.traces} times")
    if jitted.runs and not jitted.traces:
        traced = "called by fit alone"
    return printable(f"tg.jit: {jitted.name}{signature}{place}, {traced}")


def _signature(function: Any) -> inspect.Signature:
    """That of a function as it was written; of a module the names of what `forward` takes."""
    forward = getattr(function, "forward", None)
    if forward is None:
        return inspect.signature(function)
    found = inspect.signature(forward)
    names = [one.replace(annotation=inspect.Parameter.empty) for one in found.parameters.values()]
    return found.replace(parameters=names, return_annotation=inspect.Signature.empty)


def _near(path: str) -> str:
    """A path below the working directory as it stands there."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def kinds(jitted: Jitted) -> list[tuple[str, ...]]:
    """A line for each kind of call: what it was compiled for, how large it is and how long that took."""
    rows: list[tuple[str, ...]] = [("arguments", "nodes", "kernels", "arena", "trace", "compile")]
    for kind, entry in list(jitted.entries.items()):
        times, planned = entry.compiled.timings, entry.compiled.stages.schedule
        size = (f"{len(entry.traced.graph.nodes):,}", f"{len(planned.program.kernels):,}", f"{planned.size:,} B")
        compiled = f"{1e3 * (times.lower + times.generate + times.machine):,.0f} ms" + " (cached)" * times.cached
        rows.append((arguments(kind), *size, f"{1e3 * entry.seconds:,.0f} ms", compiled))
    return rows


def arguments(kind: Kind) -> str:
    """As in `float32[32, 4], int64[32], True`, and what else is special."""
    shown = []
    for leaf in kind.leaves:
        first, second, *rest = leaf if isinstance(leaf, tuple) else (type(leaf), leaf)
        is_array = bool(rest)  # shape, dtype, whether it requires grad; of anything else type and value
        shown.append(f"{second}{list(first)}" * bool(first) or str(second) if is_array else repr(second))
    return (", ".join(shown) or "none") + "; no_grad" * (not kind.grad)
