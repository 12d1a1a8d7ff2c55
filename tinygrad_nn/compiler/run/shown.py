"""How a compiled function shows itself: where it comes from, and what it was compiled for."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from ...errors import printable
from ...support.tables import html_table, html_text, text_table
from ..driver import Compilation


@dataclass(frozen=True, slots=True)
class Call:
    """A kind of call: what stands for each argument, whether with gradients, and what it was compiled to."""

    leaves: tuple[Hashable, ...]
    grad: bool
    nodes: int
    seconds: float  # that the trace took
    stages: Compilation


@dataclass(frozen=True, slots=True)
class Shown:
    """A compiled function: how often it was traced, for which kinds of calls, and the native run that fit keeps."""

    name: str
    function: Callable[..., Any]
    traces: int
    calls: tuple[Call, ...]
    runs: tuple[str, ...]

    def text(self) -> str:
        """For a terminal."""
        table = [text_table(self._kinds())] if self.calls else []
        return "\n".join([self._head(), *table, *self.runs])

    def page(self) -> str:
        """For a notebook."""
        table = html_table(self._kinds()) if self.calls else ""
        return html_text(self._head()) + table + "".join(map(html_text, self.runs))

    def _head(self) -> str:
        """Name, signature and place of the function, and how often it was traced."""
        code = getattr(self.function, "__code__", None)
        try:
            signature = str(_signature(self.function))
            place = "" if code is None else f" at {_near(code.co_filename)}:{code.co_firstlineno}"
        except (TypeError, ValueError):  # a builtin; a file on another drive
            signature, place = "(...)", ""
        traced = {0: "not called yet", 1: "traced once"}.get(self.traces, f"traced {self.traces} times")
        if self.runs and not self.traces:
            traced = "called by fit alone"
        return printable(f"tg.jit: {self.name}{signature}{place}, {traced}")

    def _kinds(self) -> list[tuple[str, ...]]:
        """A line for each kind of call: what it was compiled for, how large it is and how long that took."""
        rows: list[tuple[str, ...]] = [("arguments", "nodes", "kernels", "arena", "trace", "compile")]
        for call in self.calls:
            times, image = call.stages.timings, call.stages.image
            size = (f"{call.nodes:,}", f"{image.kernels:,}", f"{image.size:,} B")
            compiled = f"{1e3 * (times.lower + times.generate + times.machine):,.0f} ms" + " (cached)" * times.cached
            rows.append((arguments(call), *size, f"{1e3 * call.seconds:,.0f} ms", compiled))
        return rows


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


def arguments(call: Call) -> str:
    """As in `float32[32, 4], int64[32], True`, and what else is special."""
    shown = []
    for leaf in call.leaves:
        first, second, *rest = leaf if isinstance(leaf, tuple) else (type(leaf), leaf)
        is_array = bool(rest)  # shape, dtype, whether it requires grad; of anything else type and value
        shown.append(f"{second}{list(first)}" * bool(first) or str(second) if is_array else repr(second))
    return (", ".join(shown) or "none") + "; no_grad" * (not call.grad)
