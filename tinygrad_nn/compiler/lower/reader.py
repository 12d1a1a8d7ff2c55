"""The element of a node, as an expression: loaded where the node is in memory, computed in place where it is not.

That is demand-driven inlining: a kernel asks for the element of its node at the index of its loops, and each op says,
by the rule of its kind, which elements of its operands that takes. Movement is arithmetic on indices and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add, mul
from typing import Any, Final

from ...graph.graph import Node
from ...graph.scalar import Expr, const, param
from ...ops.contract import parts
from ...ops.elementwise import ADD, no_quotient
from ...ops.lookup import Called
from ...ops.movement import BROADCAST, RESHAPE, is_squeeze
from ...ops.reduce import SUM
from ...ops.rules import INT64, Concatenation, Monoid, Part, Scatter
from ..loopir.buffer_view import BufferView
from ..loopir.ir import (
    TAIL,
    Access,
    Affine,
    Assign,
    Buffer,
    Check,
    Guard,
    Index,
    Let,
    Register,
    Statement,
    Store,
    Var,
    affine,
    nest,
)
from ..loopir.program import Fault
from ..passes.algebra import filled, triangle
from .builder import KernelBuilder
from .fusion import is_split

Guards = tuple[Guard, ...]
Place = tuple[Index, ...]


def element(b: KernelBuilder, node: Node, index: Place, guards: Guards = ()) -> Expr:
    """The element of a node; where a guard does not hold, anything, but nothing outside of a buffer is read."""
    key = (node, index, guards)
    for values in reversed(b.values):
        found: Expr | None = values.get(key)
        if found is not None:
            return found
    view = b.where(node)
    if view is not None:
        result = param(view.access(index, guards), node.dtype)
    elif node.op.kind == "source":
        result = _constant(node, index)
    else:
        b.sources.append(node)
        result = _RULES[node.op.kind](b, node, index, guards)
    b.values[-1][key] = result
    return result


def store(b: KernelBuilder, name: str, target: BufferView, node: Node) -> None:
    """A kernel that stores a node, element by element."""
    loops, index = b.loops(node.shape)
    b.kernel(name, node.shape, loops, lambda: [Store(target.access(index), element(b, node, index))])


def move(b: KernelBuilder, name: str, target: Buffer, source: BufferView) -> None:
    """A kernel that fills a buffer from somewhere."""
    loops, index = b.loops(target.shape)
    value = param(source.access(index), target.dtype)
    b.kernel(name, target.shape, loops, lambda: [Store(Access(target, index), value)])


class Reader:
    """What an op's `emit` reads its operands with."""

    zero: Final = Affine()

    def __init__(self, builder: KernelBuilder, node: Node, guards: Guards) -> None:
        self.builder, self.node, self.guards = builder, node, guards

    def __call__(self, operand: int, index: tuple[Any, ...], guards: tuple[tuple[Affine, int, int], ...] = ()) -> Expr:
        """The element of an operand, 0 where a guard does not hold."""
        node = self.node.inputs[operand]
        place = tuple(Affine(i) if isinstance(i, int) else i for i in index)
        own = tuple(Guard(affine, low, high) for affine, low, high in guards if not _always(affine, low, high))
        value = element(self.builder, node, place, (*self.guards, *own))
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

    def position(self, operand: int, index: tuple[Any, ...], size: int | None = None, low: int = 0) -> Expr:
        """An element of an operand that is an index: checked against the axis it is for (or against low and size)."""
        node = self.node
        value = element(self.builder, node.inputs[operand], tuple(index), self.guards)
        if size is None:
            size = (node.shape if isinstance(node.op.emit, Scatter) else node.inputs[0].shape)[node.attrs["axis"]]
        return checked(self.builder, node, value.value.buffer, value, size, low)


def _always(index: Affine, low: int, high: int) -> bool:
    smallest, largest = index.bounds()
    return low <= smallest and largest < high


# ---- what is checked before ---------------------------------------------------------------------------------------


def checked(b: KernelBuilder, node: Node, buffer: Buffer, position: Expr, size: int, low: int = 0) -> Expr:
    """An index that comes from data, with the kernel that checks all of its buffer before."""
    if (buffer, size, low) not in b.faults:
        called = node.attrs.get("called") or Called(node.op.name)
        if called.axis is not None and len(buffer.shape) != len(node.inputs[1].shape):
            called = replace(called, axis=None)  # the user's array as it was, before it got that axis
        code = b.fault((buffer, size, low), Fault(called, buffer, size, low))
        loops, index = b.loops(buffer.shape, "c")
        value = param(Access(buffer, index), buffer.dtype)
        test = Check((value >= low) & (value < size), code)
        b.check(f"{node.op.name} index", lambda: test, loops, empty=0 in buffer.shape)
    return position.to(INT64)


def _divides(b: KernelBuilder, node: Node) -> None:
    """The kernel that checks the divisors of an integer division before."""
    divisors = node.inputs[1]
    while divisors.op is BROADCAST and divisors not in b.buffers:
        divisors = divisors.inputs[0]
    only = None if divisors.attrs else filled(divisors)
    if 0 in node.shape or (divisors, None, 0) in b.faults or (only is not None and only != 0):
        return
    if only is not None:
        raise no_quotient(node.op.name)
    code = b.fault((divisors, None, 0), Fault(Called(node.op.name), b.buffers.get(divisors), None))
    loops, index = b.loops(divisors.shape, "c")
    b.check(f"{node.op.name} divisor", lambda: Check(element(b, divisors, index).ne(0), code), loops, empty=False)


# ---- the rules of each kind of op ---------------------------------------------------------------------------------


def _constant(node: Node, index: Place) -> Expr:
    """A constant with one value everywhere, or with another one in the short last batch; or a triangle of bools."""
    found = triangle(node)
    if found is not None:
        sign, least = found
        row, column = (i if isinstance(i, Expr) else param(i, INT64) for i in index)
        return row >= column + least if sign > 0 else column >= row + least
    value: Expr = const(filled(node), node.dtype)
    if "tail" not in node.attrs:
        return value
    return param(TAIL, TAIL.dtype).where(const(node.attrs["tail"], node.dtype), value)


def _elementwise(b: KernelBuilder, node: Node, index: Place, guards: Guards) -> Expr:
    if node.op is ADD and node.dtype.kind == "f":
        for product, other in (node.inputs, node.inputs[::-1]):
            if product.op.kind == "contract" and not _is_there(b, product, index, guards):
                return _products(b, product, index, guards, [], element(b, other, index, guards))
    if node.op.divides and node.dtype.kind == "i":
        _divides(b, node)
    operands = [element(b, operand, index, guards) for operand in node.inputs]
    value: Expr = node.op.emit(*operands, **node.attrs)
    return value


def _is_there(b: KernelBuilder, node: Node, index: Place, guards: Guards) -> bool:
    """Whether an element is in memory, or computed already."""
    return b.where(node) is not None or any((node, index, guards) in values for values in b.values)


def _indexed(b: KernelBuilder, node: Node, index: Place, guards: Guards) -> Expr:
    if node.op is RESHAPE:
        return _reshaped(b, node, index, guards)
    emit = node.op.emit
    if isinstance(emit, Concatenation):
        emit = emit.element
    elif isinstance(emit, Scatter):
        emit = emit.inline
    value: Expr = emit(Reader(b, node, guards), index, *(x.shape for x in node.inputs), **node.attrs)
    return value


def _reshaped(b: KernelBuilder, node: Node, index: Place, guards: Guards) -> Expr:
    """Axes of length 1 come and go, split axes are counted together; any other reshape reads a row-major buffer."""
    operand = node.inputs[0]
    squeezes = is_squeeze(operand.shape, node.shape)
    if not squeezes and is_split(operand.shape, node.shape):
        return element(b, operand, _merged(index, node.shape, operand.shape), guards)
    if not squeezes:
        b.buffers[node] = b.alias(node)
        return element(b, node, index, guards)
    rest = iter([i for i, n in zip(index, node.shape, strict=True) if n != 1])
    return element(b, operand, tuple(Affine() if n == 1 else next(rest) for n in operand.shape), guards)


def _merged(index: Place, shape: tuple[int, ...], own: tuple[int, ...]) -> Place:
    """The index of an operand whose axes a reshape splits."""
    parts = list(zip(index, shape, strict=True))
    result: list[Index] = []
    for n in own:
        place, size = Affine(), 1
        while size < n:
            part, m = parts.pop(0)
            place, size = place * m + part, size * m  # type: ignore[operator]
        result.append(place)
    return tuple(result)


def _reduced(b: KernelBuilder, node: Node, index: Place, guards: Guards) -> Expr:
    operand, axis = node.inputs[0], node.attrs["axis"]
    loops, inside = b.loops(tuple(n if a in axis else 1 for a, n in enumerate(operand.shape)), "r")
    outer = iter([i for a, i in enumerate(index) if not node.attrs["keepdims"] or a not in axis])
    place = tuple(i if a in axis else next(outer) for a, i in enumerate(inside))
    emit = node.op.emit
    if not isinstance(emit, Monoid):
        return _extreme(b, node, loops, place, guards)
    dtype, is_sum = node.dtype, node.op is SUM
    if is_sum and dtype.kind == "f" and operand.op.kind == "contract" and not _is_there(b, operand, place, guards):
        return _products(b, operand, place, guards, loops)  # of integers, each product wraps around for itself
    identity = 0 if is_sum else emit.identity(dtype)  # NumPy adds to 0.0, so never -0.0
    total = Register(f"{node.op.name}{b.count}", dtype, emit.identity(dtype), emit.combine)

    def inner() -> list[Statement]:
        x = emit.element(element(b, operand, place, guards).to(dtype))
        if is_sum and x.op == "mul" and dtype.kind == "f":
            return [Assign(total, x.args[0].fma(x.args[1], param(total, dtype)))]
        return [Assign(total, emit.combine(param(total, dtype), x))]

    _fold(b, [(total, const(identity, dtype))], loops, inner)
    return param(total, dtype)


def _extreme(b: KernelBuilder, node: Node, loops: list[Var], place: Place, guards: Guards) -> Expr:
    """The index of an extreme."""
    operand = node.inputs[0]
    best, at = Register(f"best{b.count}", operand.dtype), Register(f"at{b.count}", node.dtype)
    zero = tuple(Affine() if any(index == affine(var) for var in loops) else index for index in place)
    start = element(b, operand, zero, guards)

    def inner() -> list[Statement]:
        x, old = element(b, operand, place, guards), param(best, operand.dtype)
        better = node.op.emit(x, old)
        place_in = Affine()
        for var in loops:
            place_in = place_in * var.extent + affine(var)
        number = param(place_in, INT64).to(node.dtype)
        return [Assign(at, better.where(number, param(at, node.dtype))), Assign(best, better.where(x, old))]

    if not loops:
        return const(0, node.dtype)
    _fold(b, [(best, start), (at, const(0, node.dtype))], loops, inner)
    return param(at, node.dtype)


def _product(b: KernelBuilder, node: Node, index: Place, guards: Guards) -> Expr:
    return _products(b, node, index, guards, [])


def _products(
    b: KernelBuilder, node: Node, index: Place, guards: Guards, outer: list[Var], start: Expr | None = None
) -> Expr:
    """An element of a contraction, or the sum of such over some of its axes: one sum of products, from `start` on."""
    (part,) = parts(node)
    return sum_of_part(b, node, part, index, guards, outer, start)


def sum_of_part(
    b: KernelBuilder,
    node: Node,
    part: Part,
    index: Place,
    guards: Guards = (),
    outer: Sequence[Var] = (),
    start: Expr | None = None,
) -> Expr:
    """The same of one part of a contraction, at an index within that."""
    b.sources.append(node)
    loops, at = b.loops(part.lengths, "r")
    read, places = Reader(b, node, guards), part.factors(index, at)
    total = Register(f"sum{b.count}", node.dtype, 0, add)

    def inner() -> list[Statement]:
        factors = [read(k, place, guards=sides) for k, (place, sides) in enumerate(places)]
        sofar = param(total, node.dtype)
        if len(factors) == 2 and node.dtype.kind == "f":
            return [Assign(total, factors[0].fma(factors[1], sofar))]
        return [Assign(total, sofar + reduce(mul, factors))]

    _fold(b, [(total, const(0, node.dtype) if start is None else start)], [*outer, *loops], inner)
    return param(total, node.dtype)


def _fold(
    b: KernelBuilder,
    registers: Sequence[tuple[Register, Expr]],
    loops: Sequence[Var],
    inner: Callable[[], list[Statement]],
) -> None:
    """Registers that begin with a value and change in loops."""
    body = nest(loops, b.block(inner))
    b.emit(*(Let(register, value) for register, value in registers), *body)


_RULES: Final[Mapping[str, Callable[[KernelBuilder, Node, Place, Guards], Expr]]] = {
    "elementwise": _elementwise,
    "movement": _indexed,
    "index": _indexed,
    "random": _indexed,
    "reduce": _reduced,
    "contract": _product,
}
