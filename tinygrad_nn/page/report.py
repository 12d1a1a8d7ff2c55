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
from .document import as_json, document, packed
from .subject import Missing, Subject, short, subject

_HEIGHT: Final = 720  # pixels of the frame in a notebook
SMALL: Final = 248_000  # bytes of a page about a graph of so many
NODES: Final = 600  # nodes; about a larger one it may have
LARGE: Final = 990_000


class Piece(NamedTuple):
    """A part of the page: its name, which is that of its script, its title, and what makes its data; what else of
    `assets/` it needs: scripts, then styles. Where a page is too large, `smaller` gives data that say less, None if
    they cannot, and a part that may be left out has the reason that is then given as its `spare`.
    """

    name: str
    title: str
    make: Callable[[Subject], Mapping[str, Any] | Missing]
    scripts: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    smaller: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] | None = None
    spare: str = ""

    def shown(self, made: Mapping[str, Any] | Missing) -> dict[str, Any]:
        """What a document is given of it."""
        if isinstance(made, Missing):
            return {"title": self.title, "missing": made.reason}
        assets = [*self.styles, *self.scripts, f"{self.name}.js"]
        return {"title": self.title, "assets": assets, "data": packed(as_json(made))}


_TOO_LARGE: Final = (
    "With the run's program and data the page would be too large. tg.export.wasm writes files of any size."
)
PARTS: Final = (
    Piece("graph", "Graph", graph.part, ("vendor/dagre.min.js",), ("graph.css",), graph.smaller),
    Piece("stages", "Stages", stages.part, (), ("stages.css",), stages.smaller),
    Piece("times", "Time", times.part, (), ("times.css",)),
    Piece("run", "Run", run.part, ("vendor/uPlot.iife.min.js",), ("vendor/uPlot.min.css", "run.css")),
    Piece(
        "train", "Train here", train.part, ("vendor/uPlot.iife.min.js",), ("vendor/uPlot.min.css", "train.css"),
        spare=_TOO_LARGE,
    ),
)  # fmt: skip


_Made = dict[Piece, Mapping[str, Any] | Missing]


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
    given = [f"{short(name)} {shape_text(node)}" for node, (role, name) in about.leaves.items() if role == "input"]
    facts = [
        ("parameters", f"{about.parameters:,}"),
        ("nodes", f"{len(about.graph.nodes):,}"),
        ("batch", short(", ".join(given))),
    ]
    made = {piece: _made(piece, about) for piece in PARTS}
    room = SMALL if len(about.graph.nodes) <= NODES else LARGE
    text, missing = _fitted({"name": about.name, "facts": facts}, made, room)
    if target is not None:
        write_atomic(target, text.encode(), "report")
    return Report(target, text, missing)


def _made(piece: Piece, about: Subject) -> Mapping[str, Any] | Missing:
    """The data of a part, or why there is none."""
    try:
        return piece.make(about)
    except TinygradError as error:
        return Missing(str(error))


def _fitted(about: Mapping[str, Any], made: _Made, room: int) -> tuple[str, dict[str, str]]:
    """A page of at most so many bytes, if that can be: with parts that say less, or without those that can be spared.
    Gives its text, and why parts are missing.
    """
    spared: _Made = {piece: Missing(piece.spare) for piece, one in made.items() if piece.spare and _is_there(one)}
    whole = {piece: piece.shown(one) for piece, one in made.items()}
    for left in ({}, spared):
        parts = {**made, **left}
        shown = {**whole, **{piece: piece.shown(one) for piece, one in left.items()}}
        while True:
            text = document(about, {piece.name: one for piece, one in shown.items()})
            less = {} if len(text) <= room else _less(parts)
            if not less:
                break
            parts |= less
            shown |= {piece: piece.shown(one) for piece, one in less.items()}
        if len(text) <= room:
            break
    return text, {piece.name: one.reason for piece, one in parts.items() if isinstance(one, Missing)}


def _is_there(made: Mapping[str, Any] | Missing) -> bool:
    return not isinstance(made, Missing)


def _less(parts: _Made) -> _Made:
    """Data that say less, for the last part that has such."""
    for piece, one in reversed(parts.items()):
        made = None if piece.smaller is None or isinstance(one, Missing) else piece.smaller(one)
        if made is not None:
            return {piece: made}
    return {}
