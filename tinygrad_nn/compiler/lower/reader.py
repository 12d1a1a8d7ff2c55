"""What an op's `emit` reads its operands with, while a kernel is lowered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...graph import Node
from ...ops.rules import INT64, Spread
from ...scalar import Expr, const, param
from ..loopir.ir import Access, Affine, Guard

if TYPE_CHECKING:
    from .opaque import OwnLoops

Guards = tuple[Guard, ...]


class Reader:
    """What an op's `emit` reads its operands with."""

    zero: Final = Affine()

    def __init__(self, lowering: OwnLoops, node: Node, guards: Guards) -> None:
        self.lowering, self.node, self.guards = lowering, node, guards

    def __call__(self, operand: int, index: tuple[Any, ...], guards: tuple[tuple[Affine, int, int], ...] = ()) -> Expr:
        """The element of an operand, 0 where a guard does not hold."""
        node = self.node.inputs[operand]
        place = tuple(Affine(i) if isinstance(i, int) else i for i in index)
        own = tuple(Guard(affine, low, high) for affine, low, high in guards if not _always(affine, low, high))
        value = self.lowering.pull(node, place, (*self.guards, *own))
        if not own or (value.op == "param" and isinstance(value.value, Access)):
            return value
        inside = None
        for guard in own:
            number = self.number(guard.index)
            holds = (number >= guard.low) & (number < guard.high)
            inside = holds if inside is None else inside & holds
        return value if inside is None else inside.where(value, 0)

    def number(self, index: Affine | int) -> Expr:
        """An index as an expression."""
        if isinstance(index, int) or not index.terms:
            return const(index if isinstance(index, int) else index.offset, INT64)
        return param(index, INT64)

    def position(self, operand: int, index: tuple[Any, ...]) -> Expr:
        """An element of an operand that is an index: checked against the axis it is for."""
        value = self.lowering.pull(self.node.inputs[operand], tuple(index), self.guards)
        node = self.node
        shape = node.shape if isinstance(node.op.emit, Spread) else node.inputs[0].shape
        return self.lowering.checked(node, value.value.buffer, value, shape[node.attrs["axis"]])


def _always(index: Affine, low: int, high: int) -> bool:
    smallest, largest = index.bounds()
    return low <= smallest and largest < high
