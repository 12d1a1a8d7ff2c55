"""Order along an axis, as loops: count for each element how many come before it, then write it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..graph import Node
from ..ops.rules import INT64, Rank
from ..scalar import const, param
from .loopir import Access, Assign, Buffer, Let, Loop, Register, Statement, Store, Var, affine

if TYPE_CHECKING:
    from .lower import Lowering


def write_ranks(lowering: Lowering, node: Node, buffer: Buffer, emit: Rank) -> None:
    """Each element goes to the place that the number of those before it is."""
    axis, operand = node.attrs["axis"], node.inputs[0]
    ranks = Buffer(f"{buffer.name}r", node.shape, INT64)
    lowering.order.append(ranks)
    loops, index = lowering.loops(node.shape)
    other = Var(f"o{len(lowering.order)}", node.shape[axis])
    count = Register("rank", INT64, 0, lambda a, x: a + x)

    def inner() -> list[Statement]:
        x = lowering.pull(operand, (*index[:axis], affine(other), *index[axis + 1 :]), ())
        tie = param(affine(other), INT64) < param(index[axis], INT64)
        before = emit.before(x, lowering.pull(operand, index, ()), tie, **node.attrs)
        return [Assign(count, param(count, INT64) + before.to(INT64))]

    def outer() -> list[Statement]:
        return [
            Let(count, const(0, INT64)),
            Loop(other, lowering.block(inner)),
            Store(Access(ranks, index), param(count, INT64)),
        ]

    lowering.kernel(f"{node.op.name}_ranks", loops, outer)
    loops, at = lowering.loops(node.shape)

    def write() -> list[Statement]:
        position = lowering.checked(node, ranks, param(Access(ranks, at), INT64), node.shape[axis])
        return [Store(Access(buffer, (*at[:axis], position, *at[axis + 1 :])), param(at[axis], INT64))]

    lowering.kernel(node.op.name, loops, write)
