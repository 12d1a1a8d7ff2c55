"""`tg.draw`: the graph of a tensor, of a module on an example input, or of a function, as a picture or a text tree."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import GraphError, MissingExtra, message
from ..extras import require
from ..files import write_atomic
from ..graph import Attrs, Node, Op
from ..nn import Module
from ..pytree import flatten
from ..tensor import Tensor
from ..tensor.core import Core, bind, tracing
from .description import Description, Names, Options, Role, describe
from .dot import to_dot, to_tree

_FORMATS = ("svg", "png", "pdf", "dot")


class Drawing:
    """A drawing that shows itself in a notebook; `print` gives a text tree, `source` the DOT text."""

    def __init__(self, description: Description) -> None:
        self.description = description

    @property
    def source(self) -> str:
        """The DOT text."""
        return to_dot(self.description)

    def __str__(self) -> str:
        return to_tree(self.description)

    def __repr__(self) -> str:
        return f"Drawing of {len(self.description.boxes)} boxes; print it for a text tree, .render(path) for a picture"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the DOT text to a file."""
        target = Path(path)
        write_atomic(target, self.source.encode())
        return target

    def render(self, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """Write a picture: svg, png, pdf or dot, by `format` or by the ending of the path. Returns the path written.

        Raises MissingExtra where neither the `dot` program nor pygraphviz is installed.
        """
        target = Path(path)
        kind = format or target.suffix.lstrip(".") or "svg"
        if kind not in _FORMATS:
            raise GraphError(message("render", f"format {kind!r}", "one of " + ", ".join(_FORMATS)))
        if target.suffix.lstrip(".") != kind:
            target = target.with_name(f"{target.name}.{kind}")
        write_atomic(target, self.source.encode() if kind == "dot" else self.picture(kind))
        return target

    def picture(self, kind: str = "svg") -> bytes:
        """The picture's bytes."""
        graphviz = require("graphviz")
        try:
            return graphviz.Source(self.source).pipe(format=kind)  # type: ignore[no-any-return]
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
            return {"image/svg+xml": self.picture("svg").decode()}
        except MissingExtra as error:
            return {"text/plain": f"{self}\n\n{error}"}


class Recording:
    """A recorder that computes as usual, keeps the operands of every node and notes which modules were running."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.roots: list[Module] = []
        self.scopes: dict[Node, tuple[str, ...]] = {}
        self.running: list[str] = []

    def lift(self, handle: Core) -> Node:
        """The handle's own node."""
        return handle.node

    def assign(self, handle: Core, node: Node) -> None:
        """As without a recorder."""
        handle.point_at(node)

    def bind(self, op: Op, nodes: tuple[Node, ...], attrs: Attrs) -> Node:
        """Compute, and keep the operands also where no gradient is wanted."""
        node = bind(op, nodes, attrs)
        if not node.inputs:
            node = Node(op, nodes, attrs, node.shape, node.dtype, node.value)
        here = tuple(self.running)
        self.scopes[node] = here
        for operand in nodes:
            if operand.op.kind == "source" and operand.needs_grad:  # a parameter stands where it is first used
                self.scopes.setdefault(operand, here)
        return node

    @contextmanager
    def scope(self, module: Module) -> Iterator[None]:
        """A module runs within the block."""
        if id(module) not in self.names:
            self.roots.append(module)
            self.names |= {id(part): name for name, part in module.named_modules()}
        path = self.names[id(module)]
        own = path.rpartition(".")[2]
        self.running.append(f"{own}: {type(module).__name__}" if own else type(module).__name__)
        try:
            yield
        finally:
            self.running.pop()


def draw(
    target: Tensor | Module | Callable[..., Any],
    *args: Any,
    values: bool = False,
    grads: bool = False,
    depth: int | None = None,
    every_op: bool = False,
    limit: int = 400,
) -> Drawing:
    """The graph of a tensor; of a module or function, called with `args`.

    `values` and `grads` add numbers (before backward: "no gradient yet"). `depth` folds modules at that depth into one
    box each. `every_op` also shows broadcasts, reshapes and casts. Of graphs beyond `limit` boxes only a part is shown.
    Raises GraphError for what cannot be drawn.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> print(tg.draw(x * x))
    mul  [] float32
    ├─ leaf  [] float32
    └─ leaf  [] float32
    """
    options = Options(values, grads, depth, every_op, limit)
    if isinstance(target, Tensor):
        return Drawing(describe([target.node], Names(), options))
    if not callable(target):
        raise GraphError(message("draw", f"a {type(target).__name__}", "a tensor, a module or a function"))
    if isinstance(target, Module) and not args:
        raise GraphError(message("draw", "a module without an input", "an example", "tg.draw(model, x)"))
    recording = Recording()
    with tracing(recording):
        result = target(*args)
    roots = [leaf.node for leaf in flatten(result)[0] if isinstance(leaf, Tensor)]
    if not roots:
        raise GraphError(message("draw", "a function that returns no tensor", "one that does"))
    leaves: dict[Node, tuple[Role, str]] = {}
    for module in recording.roots:
        leaves |= {p.node: ("parameter", name) for name, p in module.named_parameters()}
        leaves |= {b.node: ("constant", name) for name, b in module.named_buffers()}
    tensors = [leaf for leaf in flatten(args)[0] if isinstance(leaf, Tensor)]
    leaves |= {x.node: ("input", f"input {k}" if len(tensors) > 1 else "input") for k, x in enumerate(tensors)}
    return Drawing(describe(roots, Names(leaves, recording.scopes), options))
