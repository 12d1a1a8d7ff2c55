"""`model.summary(x)`: a table of layers with output shapes and parameter counts."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..graph import Shape
from ..tensor import Tensor, no_grad

if TYPE_CHECKING:
    from .module import Module


@dataclass(frozen=True, slots=True)
class Row:
    """One layer: its path, type, output shape (None if it did not run) and number of own parameters."""

    path: str
    type: str
    shape: Shape | None
    parameters: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The table; `str` is text, a notebook shows it as HTML."""

    rows: tuple[Row, ...]
    trainable: int
    total: int

    def __str__(self) -> str:
        header = ("layer", "output shape", "parameters")
        body = [
            (_name(row), "" if row.shape is None else str(list(row.shape)), f"{row.parameters:,}") for row in self.rows
        ]
        widths = [max(len(line[k]) for line in (header, *body)) for k in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in (header, *body)]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:], rule, f"{self.total:,} parameters, {self.trainable:,} trained"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(_name(row))}</td><td>{'' if row.shape is None else list(row.shape)}</td>"
            f"<td>{row.parameters:,}</td></tr>"
            for row in self.rows
        )
        head = "<tr><th>layer</th><th>output shape</th><th>parameters</th></tr>"
        return f"<table>{head}{rows}</table><p>{self.total:,} parameters, {self.trainable:,} trained</p>"


def _name(row: Row) -> str:
    depth = row.path.count(".") + 1 if row.path else 0
    return "  " * depth + (f"{row.path.rpartition('.')[2]}: {row.type}" if row.path else row.type)


def summarize(module: Module, inputs: tuple[Any, ...]) -> Summary:
    """Run the module once on `inputs` (if there are any), in evaluation mode and without gradients, and note the
    shapes.
    """
    shapes: dict[int, Shape] = {}
    removers = []
    modes = [(part, part.training) for part in module.modules()]

    def note(part: Module, args: Any, result: Any) -> None:
        first = result[0] if isinstance(result, tuple) else result
        if isinstance(first, Tensor):
            shapes[id(part)] = first.shape

    if inputs:
        try:
            removers = [part.register_forward_hook(note) for part, _ in modes]
            module.eval()
            with no_grad():
                module(*inputs)
        finally:
            for remove in removers:
                remove()
            for part, training in modes:
                part.training = training
    rows = tuple(
        Row(path, type(part).__name__, shapes.get(id(part)), _own(part)) for path, part in module.named_modules()
    )
    parameters = list(module.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    return Summary(rows, trained, sum(p.numel() for p in parameters))


def _own(part: Module) -> int:
    """Number of elements in the parameters that are attributes of this module itself."""
    return sum(value.numel() for value in vars(part).values() if isinstance(value, Tensor) and value.requires_grad)
