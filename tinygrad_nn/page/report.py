"""`tg.report`: the page on a function, as a file and for a notebook."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..errors import ConfigError, TinygradError, message
from ..history import History
from ..support.files import as_path, write_atomic
from ..support.settings import shown
from ..sweeping import Sweep
from ..tensor.core import forbid_tracing
from ..viz.description import shape_text
from . import graph, run, stages, times, train
from .document import document
from .subject import Missing, Subject, short, subject

_HEIGHT: Final = 720  # pixels of the frame in a notebook


class Piece(NamedTuple):
    """A part of the page: its name, which is that of its script, its title, and what makes its data; and what else of
    `assets/` it needs: scripts, then styles.
    """

    name: str
    title: str
    make: Callable[[Subject], Mapping[str, Any] | Missing]
    scripts: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()


PARTS: Final = (
    Piece("graph", "Graph", graph.part, ("vendor/dagre.min.js",), ("graph.css",)),
    Piece("stages", "Stages", stages.part, (), ("stages.css",)),
    Piece("times", "Time", times.part, (), ("times.css",)),
    Piece("run", "Run", run.part, ("vendor/uPlot.iife.min.js",), ("vendor/uPlot.min.css", "run.css")),
    Piece("train", "Train here", train.part, ("vendor/uPlot.iife.min.js",), ("vendor/uPlot.min.css", "train.css")),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """A page that was written: where, its text, and why parts of it are missing. In a notebook it shows itself."""

    path: Path | None
    html: str = field(repr=False)
    missing: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        where = "not written" if self.path is None else str(self.path)
        lacks = f"; missing: {', '.join(self.missing)}" if self.missing else ""
        return f"report: {where}, {len(self.html) / 1000:.0f} kB{lacks}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """The page in a frame of its own, which reaches nothing of the notebook."""
        looks = f'width="100%" height="{_HEIGHT}" style="border:0"'
        frame = f'<iframe sandbox="allow-scripts" title="report" {looks} srcdoc="{html.escape(self.html)}"></iframe>'
        return {"text/html": frame, "text/plain": str(self)}


def report(
    function: Callable[..., Any],
    *batch: Any,
    history: History | None = None,
    sweep: Sweep | None = None,
    path: str | os.PathLike[str] | None = "report.html",
) -> Report:
    """One HTML file that shows a module, a function or a (jitted) step: its graph, what the compiler makes of it, where
    its time goes, and, with the `history` of a run or a `sweep`, how it learned. It opens from disk, without a network.

    `batch` are the arguments of one call, from which all numbers on the page are. The call is traced and computed
    aside: nothing changes by it. `path=None` writes no file: what is returned shows itself in a notebook.

    Where a part cannot be made, as that of the compiler for a step that cannot be compiled, the page says why.
    Raises GraphError for what is no function of tensors, ConfigError for what is no history or sweep, FileError where
    the file cannot be written, and what the function itself raises.

    >>> import tempfile
    >>> import tinygrad_nn as tg
    >>> folder = tempfile.mkdtemp()
    >>> page = tg.report(lambda x: (x * x).sum(), tg.ones(3), path=f"{folder}/square.html")
    >>> page.path.name
    'square.html'
    """
    forbid_tracing("report", "a report", "report on the function from outside")
    for name, value, kind in (("history", history, History), ("sweep", sweep, Sweep)):
        if value is not None and not isinstance(value, kind):
            hint = "a batch stands before it, without a name"
            raise ConfigError(message("report", f"{name} {shown(value)}", f"a {kind.__name__} or None", hint))
    target = None if path is None else as_path("report", path)
    about = subject(function, batch, history, sweep)
    made = {piece: _made(piece, about) for piece in PARTS}
    missing = {piece.name: one.reason for piece, one in made.items() if isinstance(one, Missing)}
    parts = {
        piece.name: {"title": piece.title, **({"missing": one.reason} if isinstance(one, Missing) else {"data": one})}
        for piece, one in made.items()
    }
    scripts = {piece.name: (*piece.scripts, f"{piece.name}.js") for piece in PARTS}
    styles = dict.fromkeys(name for piece in PARTS if piece.name not in missing for name in piece.styles)
    given = [f"{short(name)} {shape_text(node)}" for node, (role, name) in about.leaves.items() if role == "input"]
    facts = [
        ("parameters", f"{about.parameters:,}"),
        ("nodes", f"{len(about.graph.nodes):,}"),
        ("batch", short(", ".join(given))),
    ]
    text = document({"name": about.name, "facts": facts}, parts, scripts, list(styles))
    if target is not None:
        write_atomic(target, text.encode(), "report")
    return Report(target, text, missing)


def _made(piece: Piece, about: Subject) -> Mapping[str, Any] | Missing:
    """The data of a part, or why there is none."""
    try:
        return piece.make(about)
    except TinygradError as error:
        return Missing(str(error))
