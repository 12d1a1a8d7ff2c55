"""Kernels of the ops whose elements cannot be computed one by one, because they have loops of their own: values carried
along an axis, scatters, sorts, concatenations, and large products, which are a BLAS's.
"""

from __future__ import annotations

from functools import partial
from operator import add

import numpy as np

from ...graph.graph import Node
from ...graph.scalar import const, param
from ...ops.contract import parts
from ...ops.rules import INT64, Part
from ..blas import gemm_address
from ..loopir.buffer_view import BufferView
from ..loopir.ir import (
    Access,
    Affine,
    Assign,
    Buffer,
    Gemm,
    Let,
    Loop,
    Register,
    Statement,
    Store,
    Var,
    affine,
)
from ..loopir.program import Repeat, Span
from .builder import KernelBuilder
from .fusion import behind
from .reader import Place, Reader, checked, element, sum_of_part


def carried(b: KernelBuilder, node: Node, target: BufferView) -> None:
    """A value carried along an axis, such as a running sum."""
    axis, reverse = node.attrs["axis"], node.attrs.get("reverse", False)
    others, place = b.loops(tuple(1 if a == axis else n for a, n in enumerate(node.shape)))
    step = Var(f"t{len(b.made)}", node.shape[axis])
    at = affine(step) * -1 + (step.extent - 1) if reverse else affine(step)
    index = (*place[:axis], at, *place[axis + 1 :])
    carry = Register("carry", node.dtype)

    def inner() -> list[Statement]:
        first, *rest = [element(b, operand, index).to(node.dtype) for operand in node.inputs]
        following = node.op.emit(param(carry, node.dtype), first, *rest)
        value = param(affine(step), INT64).eq(0).where(first, following)
        return [Assign(carry, value), Store(target.access(index), param(carry, node.dtype))]

    def outer() -> list[Statement]:
        return [Let(carry, const(0, node.dtype)), Loop(step, b.block(inner))]

    b.kernel(node.op.name, node.shape, others, outer)


def gemm(b: KernelBuilder, node: Node, target: BufferView) -> None:
    """A large product, by a BLAS. Its address is a constant of the process, not of the code."""
    address = np.array(gemm_address(node.dtype), np.int64)
    function = b.add(Buffer(f"{target.buffer.name}f", (), INT64, "constant", True, address))
    x, y = (b.buffers[operand] for operand in node.inputs)
    body = (Gemm(target.buffer, x, y, node.attrs["tx"], node.attrs["ty"], function),)
    b.add_kernel("gemm", body, (node,))


def concatenation(b: KernelBuilder, node: Node, target: BufferView) -> None:
    """Operand by operand, but for those that are there already."""
    axis, start = node.op.emit.axis(**node.attrs), 0
    for operand in node.inputs:
        loops, index = b.loops(operand.shape)
        place = target.access((*index[:axis], index[axis] + start, *index[axis + 1 :]))
        there = BufferView(target.buffer, (affine(start),))
        start += operand.shape[axis]
        if 0 not in operand.shape and b.views.get(behind(operand)) != there:
            b.kernel(node.op.name, node.shape, loops, partial(_copied, b, place, operand, index))


def _copied(b: KernelBuilder, place: Access, operand: Node, index: Place) -> list[Statement]:
    return [Store(place, element(b, operand, index))]


def scatter(b: KernelBuilder, node: Node, target: BufferView) -> None:
    """Begin with zeros or an operand, then write element by element."""
    emit = node.op.emit
    loops, index = b.loops(node.shape)

    def begin() -> list[Statement]:
        zero = const(0, node.dtype)
        return [Store(target.access(index), zero if emit.start is None else element(b, node.inputs[emit.start], index))]

    b.kernel(f"{node.op.name}_begin", node.shape, loops, begin)
    values = node.inputs[emit.values]
    if 0 in values.shape:
        return
    loops, at = b.loops(values.shape)

    def write() -> list[Statement]:
        shapes = [x.shape for x in node.inputs]
        place = emit.target(Reader(b, node, ()), at, *shapes, **node.attrs)
        adds = emit.add and not emit.alone(*shapes, **node.attrs)
        return [Store(target.access(place), element(b, values, at), adds)]

    b.kernel(node.op.name, node.shape, loops, write)


def sort(b: KernelBuilder, node: Node, target: BufferView) -> None:
    """A sort by counting: each element goes to the place that the number of those before it is."""
    axis, operand, emit = node.attrs["axis"], node.inputs[0], node.op.emit
    ranks = b.add(Buffer(f"{target.buffer.name}r", node.shape, INT64))
    loops, index = b.loops(node.shape)
    length = node.shape[axis]
    keyed = emit.key(param(0, operand.dtype), **node.attrs) is not None and length > 1
    other = Var(f"o{len(b.made)}", length - 1 if keyed else length)
    count = Register("rank", INT64, 0, add)
    if keyed:
        keys = b.add(Buffer(f"{target.buffer.name}k", (*node.shape[:axis], 2 * length, *node.shape[axis + 1 :]), INT64))
        b.kernel(f"{node.op.name}_keys", node.shape, loops, lambda: _keys(b, node, keys, index))

    def smaller() -> list[Statement]:
        """Behind an element are those that stand behind it, then those before it."""
        following = param(Access(keys, (*index[:axis], index[axis] + affine(other) + 1, *index[axis + 1 :])), INT64)
        before = following < param(Access(keys, index), INT64)
        return [Assign(count, before.where(param(count, INT64) + 1, param(count, INT64)))]

    def inner() -> list[Statement]:
        x = element(b, operand, (*index[:axis], affine(other), *index[axis + 1 :]))
        tie = param(affine(other), INT64) < param(index[axis], INT64)
        before = emit.before(x, element(b, operand, index), tie, **node.attrs)
        return [Assign(count, before.where(param(count, INT64) + 1, param(count, INT64)))]

    def outer() -> list[Statement]:
        counted = Loop(other, b.block(smaller if keyed else inner))
        return [Let(count, const(0, INT64)), counted, Store(Access(ranks, index), param(count, INT64))]

    b.kernel(f"{node.op.name}_ranks", node.shape, loops, outer)
    loops, at = b.loops(node.shape)

    def write() -> list[Statement]:
        position = checked(b, node, ranks, param(Access(ranks, at), INT64), node.shape[axis])
        return [Store(target.access((*at[:axis], position, *at[axis + 1 :])), param(at[axis], INT64))]

    b.kernel(node.op.name, node.shape, loops, write)


def _keys(b: KernelBuilder, node: Node, keys: Buffer, index: Place) -> list[Statement]:
    """The keys of a line twice, one less the second time: an element of equal key that stands before comes first."""
    axis, operand = node.attrs["axis"], node.inputs[0]
    key = node.op.emit.key(element(b, operand, index), **node.attrs)
    again = (*index[:axis], index[axis] + node.shape[axis], *index[axis + 1 :])
    return [Store(Access(keys, index), key), Store(Access(keys, again), key - 1)]


def in_parts(b: KernelBuilder, node: Node, target: BufferView) -> None:
    """A contraction whose elements are not computed alike: a kernel for each part."""
    for part in parts(node):
        loops, index = b.loops(part.shape)
        scaled = zip(index, part.step, part.first, strict=True)
        place = target.access(tuple(i * step + first for i, step, first in scaled))
        b.kernel(node.op.name, part.shape, loops, partial(_part_stored, b, place, node, part, index))


def _part_stored(b: KernelBuilder, place: Access, node: Node, part: Part, index: tuple[Affine, ...]) -> list[Statement]:
    return [Store(place, sum_of_part(b, node, part, index))]


def sum_over_steps(b: KernelBuilder, node: Node, target: BufferView) -> None:
    """A sum over steps that together are too large for the caches: what it sums of a step is added at each."""
    (summed,), (_, *others), zero = node.inputs, node.attrs["axis"], const(0, node.dtype)
    if others:
        attrs = {"axis": tuple(others), "keepdims": False}
        summed = Node(node.op, (summed,), attrs, (summed.shape[0], *node.shape), node.dtype, None)
    loops, index = b.loops(node.shape)
    b.kernel("sum_begin", node.shape, loops, lambda: [Store(target.access(index), zero)])
    b.close()
    turn = Var(f"t_{target.buffer.name}", summed.shape[0])
    loops, at = b.loops(node.shape)
    place = (affine(turn), *at)
    b.kernel("sum", node.shape, loops, lambda: [Store(target.access(at), element(b, summed, place), add=True)])
    b.repeat([Repeat(turn, (Span(b.mark, len(b.kernels)),))])
