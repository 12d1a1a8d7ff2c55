"""`model.summary(x)`: a table of layers with output shapes and counts of parameters, frozen ones and buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from ..graph.graph import Shape
from ..support.bundle import bundle
from ..support.tables import html_table, html_text, text_table
from ..tensor import Tensor, no_grad
from ..tensor.structure import Handle
from .parameter import Buffer, Parameter


class Layers(Protocol):
    """What is asked of a module, which this file does not import: a module can show itself."""

    training: bool

    def modules(self) -> Iterable[Layers]:
        """Itself, and all modules in it."""

    def named_modules(self) -> Iterable[tuple[str, Layers]]:
        """The same, with their paths."""

    def eval(self) -> Any:
        """Go to evaluation mode."""

    def register_forward_hook(self, hook: Callable[..., Any]) -> Handle:
        """Have a function called with what each call took and returned."""

    def __call__(self, *inputs: Any) -> Any:
        """Run it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One layer: its path, type, output shape (None if it did not run), and the elements of its own parameters, of the
    frozen ones among them, and of its buffers. A tensor that several layers share counts in the first.
    """

    path: str
    type: str
    shape: Shape | None
    parameters: int
    frozen: int = 0
    buffers: int = 0

    def cells(self) -> tuple[str, ...]:
        """As a line of the table."""
        shape = "" if self.shape is None else str(list(self.shape))
        count = f"{self.parameters:,}"
        if self.frozen:
            count += " frozen" if self.frozen == self.parameters else f" ({self.frozen:,} frozen)"
        return (_name(self), shape, count, f"{self.buffers:,}" if self.buffers else "")


@dataclass(frozen=True, slots=True)
class Summary:
    """The table, with the elements of all parameters (`total`), of those that are `trainable` and `frozen`
    (requires_grad=False), and of all `buffers`; `str` is text, a notebook shows it as HTML.
    """

    rows: tuple[Row, ...]
    trainable: int
    total: int
    buffers: int = 0

    @property
    def frozen(self) -> int:
        """Elements of the parameters that are not trained."""
        return self.total - self.trainable

    def _lines(self) -> list[tuple[str, ...]]:
        """The table; buffers have a column where there are any."""
        lines = [("layer", "output shape", "parameters", "buffers"), *(row.cells() for row in self.rows)]
        return lines if self.buffers else [line[:3] for line in lines]

    def _totals(self) -> str:
        text = f"{self.total:,} parameters, {self.trainable:,} trained"
        text += f", {self.frozen:,} frozen" * bool(self.frozen)
        return text + f"; {self.buffers:,} in buffers" * bool(self.buffers)

    def __str__(self) -> str:
        table = text_table(self._lines(), (0, 1))
        return f"{table}\n{table.splitlines()[1]}\n{self._totals()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(self._lines()) + html_text(self._totals())

    _repr_mimebundle_ = bundle


def _name(row: Row) -> str:
    depth = row.path.count(".") + 1 if row.path else 0
    return "  " * depth + (f"{row.path.rpartition('.')[2]}: {row.type}" if row.path else row.type)


def summarize(module: Layers, inputs: tuple[Any, ...]) -> Summary:
    """Run the module once on `inputs` (if there are any), in evaluation mode and without gradients, and note the
    shapes.
    """
    shapes: dict[int, Shape] = {}
    removers = []
    modes = [(part, part.training) for part in module.modules()]

    def note(part: Layers, args: Any, result: Any) -> None:
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
    seen: set[int] = set()
    rows = []
    for path, part in module.named_modules():
        own = {id(value): value for value in vars(part).values() if isinstance(value, (Parameter, Buffer))}
        new = [value for key, value in own.items() if key not in seen]
        seen |= own.keys()
        parameters = [value for value in new if isinstance(value, Parameter)]
        frozen = sum(value.numel() for value in parameters if not value.requires_grad)
        buffers = sum(value.numel() for value in new if isinstance(value, Buffer))
        count = sum(value.numel() for value in parameters)
        rows.append(Row(path, type(part).__name__, shapes.get(id(part)), count, frozen, buffers))
    total = sum(row.parameters for row in rows)
    trained = total - sum(row.frozen for row in rows)
    return Summary(tuple(rows), trained, total, sum(row.buffers for row in rows))
