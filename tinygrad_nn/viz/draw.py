"""`tg.draw`: the graph of a tensor, of a module on an example input, or of a function, as a picture or a text tree.

A recording (`record.py`) gives nodes and names, `collect.py` a description of them, `folding.py` a smaller one,
`dot.py` its text.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError, GraphError, MissingExtra, message
from ..graph.graph import Graph, Node
from ..nn import Module
from ..support.extras import require
from ..support.files import as_path, write_atomic
from ..support.pytree import flatten
from ..support.settings import shown
from ..tensor import Tensor
from ..tensor.core import forbid_tracing
from .collect import collect
from .description import Description, Names, Options, Role, with_numbers
from .dot import to_dot, to_tree
from .folding import calls, modules, siblings, to_fit
from .record import Reached, record

_FORMATS = ("svg", "png", "pdf", "dot")


class Drawing:
    """A drawing that shows itself in a notebook; `print` gives a text tree, `source` the DOT text."""

    def __init__(self, description: Description) -> None:
        self.description = description

    @property
    def source(self) -> str:
        """The DOT text."""
        return str(self.graphviz.source.expandtabs(2))

    @property
    def graphviz(self) -> Any:
        """The drawing as a Digraph of the graphviz package, for its `view` and `unflatten`."""
        return to_dot(self.description)

    def __str__(self) -> str:
        return to_tree(self.description)

    def __repr__(self) -> str:
        return f"Drawing of {len(self.description.boxes)} boxes; print it for a text tree, .render(path) for a picture"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the DOT text to a file."""
        target = as_path("save", path)
        write_atomic(target, self.source.encode(), "save")
        return target

    def render(self, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """Write a picture: svg, png, pdf or dot, by `format` or by the ending of the path. Returns the path written.

        Raises MissingExtra where neither the `dot` program nor pygraphviz is installed.
        """
        target = as_path("render", path)
        kind = _format("render", format if format is not None else target.suffix.lstrip(".") or "svg")
        if target.name and target.suffix.lstrip(".") != kind:
            target = target.with_name(f"{target.name}.{kind}")
        write_atomic(target, self.picture(kind), "render")
        return target

    def picture(self, kind: str = "svg") -> bytes:
        """The picture's bytes: an svg, png or pdf."""
        if _format("picture", kind) == "dot":
            return self.source.encode()
        graphviz = require("graphviz")
        try:
            return self.graphviz.pipe(format=kind)  # type: ignore[no-any-return]
        except graphviz.ExecutableNotFound:
            pass
        try:
            pygraphviz = require("pygraphviz", "draw")
        except MissingExtra as error:
            hint = 'apt install graphviz, or pip install "tinygrad_nn[draw]"; print(drawing) works without'
            raise MissingExtra(message("render", "no program `dot` and no pygraphviz", "one of them", hint)) from error
        return pygraphviz.AGraph(self.source).draw(format=kind, prog="dot")  # type: ignore[no-any-return]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """SVG where it can be rendered, else the text tree with the way to get pictures."""
        try:
            return {"image/svg+xml": self.picture("svg").decode(), "text/plain": repr(self)}
        except MissingExtra as error:
            return {"text/plain": f"{self}\n\n{error}"}


def _format(op: str, kind: Any) -> str:
    """A format of pictures; raises GraphError for what is none."""
    if not isinstance(kind, str) or kind not in _FORMATS:
        raise GraphError(message(op, f"format {shown(kind)}", "one of " + ", ".join(_FORMATS)))
    return kind


def draw(
    target: Tensor | Module | Graph | Callable[..., Any] | Sequence[Tensor],
    *args: Any,
    values: bool = False,
    grads: bool = False,
    depth: int | None = None,
    every_op: bool = False,
    unroll: bool = False,
    limit: int = 400,
) -> Drawing:
    """The graph of a module or function called with `args`, of a tensor or several, or of a recorded `Graph`.

    A loop over time (RNN, LSTM, GRU, tg.scan) is a frame with its step drawn once and an arrow "t-1" from the next
    state to the state; `unroll` draws every step. Calls of one module, and many equal operations, are one box "x n".
    A function is run once, and what it writes is shown and taken back. Beside a tensor, `args` are modules whose
    parameters get their names.

    `values` and `grads` add numbers (before backward: "no gradient yet"). `depth` folds modules at that depth into one
    box each. `every_op` also shows broadcasts, reshapes, casts and numbers. What has more than `limit` boxes, or would
    take Graphviz long, is folded until it fits, and the drawing says so. docs/drawings.md shows how to read drawings.
    Raises GraphError for what cannot be drawn, ConfigError for settings out of range.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> print(tg.draw(x * x))
    mul  [] float32
    ├─ leaf  [] float32
    └─ leaf  [] float32
    """
    _check(depth, limit, values=values, grads=grads, every_op=every_op, unroll=unroll)
    forbid_tracing("draw", "a drawing", "draw the function from outside")
    options = Options(values, grads, depth, every_op, unroll, limit)
    roots, names = _roots(target, args)
    whole, nodes = collect(roots, names, options)
    if not (every_op or unroll):
        whole = siblings(calls(whole))
    if depth is not None:
        whole = modules(whole, depth)
    whole = with_numbers(to_fit(whole, limit), nodes, options)
    if isinstance(target, Tensor) and not target.node.inputs:
        whole = whole.noting("nothing was recorded: no operand requires grad; tg.draw(function, x) draws a function")
    return Drawing(whole)


def _check(depth: Any, limit: Any, **switches: Any) -> None:
    """Raise ConfigError for settings out of range."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ConfigError(message("draw", f"limit {shown(limit)}", "a number of boxes, 1 or more"))
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
        raise ConfigError(message("draw", f"depth {shown(depth)}", "None or a number of modules within each other"))
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise ConfigError(message("draw", f"{name} {shown(value)}", "True or False"))


def _roots(target: Any, args: tuple[Any, ...]) -> tuple[list[Node], Names]:
    """The nodes that are drawn, with everything they were computed from, and the names that are known."""
    if isinstance(target, Graph):
        named: list[tuple[Node, tuple[Role, str]]] = [(x, ("input", f"input {k}")) for k, x in enumerate(target.inputs)]
        updates = {new: (f"new input {target.inputs.index(old)}",) for old, new in target.updates}
        return list(dict.fromkeys((*target.outputs, *updates))), Names(dict(named), updates)
    if callable(target):
        if isinstance(target, Module) and not args:
            raise GraphError(message("draw", "a module without an input", "an example", "tg.draw(model, x)"))
        roots, names = record(target, args)
        if not roots:
            raise GraphError(message("draw", "a function that returns no tensor", "one that does"))
        return roots, names
    leaves = flatten(target)[0]
    if not leaves or not all(isinstance(leaf, Tensor) for leaf in leaves):
        raise GraphError(message("draw", f"a {type(target).__name__}", "a tensor, a module or a function"))
    if not all(isinstance(arg, Module) for arg in args):
        got = "a tensor and arguments that are no modules"
        raise GraphError(message("draw", got, "modules, whose names are shown", "tg.draw(loss, model)"))
    known = Reached.of({f"model {k}": arg for k, arg in enumerate(args)}).named().values()
    roots = list(dict.fromkeys(leaf.node for leaf in leaves))
    return roots, Names({handle.node: (role, name) for handle, role, name in known})
