"""The canonical form of a kernel: what it computes, whatever its buffers, variables and numbers are called or worth.

Names are numbers in the order of appearance, so two kernels with equal keys are the same function of the buffers, of
the variables of the repetitions around them, and of the floating-point constants that their forms list.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from ...graph.scalar import Expr, walk
from .ir import TAIL, Access, Affine, Assign, Buffer, Check, Gemm, Kernel, Let, Loop, Statement, Store, Var


@dataclass(frozen=True, slots=True)
class Form:
    """A kernel's `key`, and what it leaves open, in the order of appearance.

    `variables` are those of the repetitions around the kernel, `numbers` its constants, and `tail` says whether it
    asks if the batch is the short last one.
    """

    key: tuple[Hashable, ...]
    buffers: tuple[Buffer, ...]
    variables: tuple[Var, ...]
    numbers: tuple[Expr, ...]
    tail: bool


def canonical(kernel: Kernel) -> Form | None:
    """The form of a kernel; None where it has a check or a call of a BLAS, which are no matter of addresses alone."""
    reader = _Reader()
    if not reader.body(kernel.body):
        return None
    tokens = reader.tokens
    tokens += [reader.numbered(kernel.vector) if kernel.vector else None, kernel.wide]
    tokens += [(reader.numbered(var), count) for var, count in kernel.jam.items()]
    tokens += [reader.numbered(kernel.split)] if kernel.split else []
    return Form(tuple(tokens), tuple(reader.buffers), tuple(reader.free), tuple(reader.numbers), reader.tail)


class _Reader:
    """What was read of a kernel so far."""

    def __init__(self) -> None:
        self.tokens: list[Any] = []
        self.names: dict[Any, int] = {}  # variables and registers
        self.buffers: dict[Buffer, int] = {}
        self.numbers: dict[Expr, int] = {}
        self.free: dict[Var, None] = {}
        self.tail = False

    def numbered(self, name: Any) -> int:
        """The number of a variable or register; a variable that was not seen in a loop yet is one from outside."""
        number = self.names.get(name)
        if number is None:
            number = self.names[name] = len(self.names)
            if isinstance(name, Var):
                self.free[name] = None
                self.tokens.append(("free", name.extent, name.tail))
            self.tail |= name is TAIL
        return number

    def body(self, statements: Sequence[Statement]) -> bool:
        """Read statements; False where there is one that no form has."""
        tokens = self.tokens
        for one in statements:
            if isinstance(one, Loop):
                self.names.setdefault(one.var, len(self.names))
                self.tail |= one.var.tail is not None
                tokens.append(("loop", self.names[one.var], one.var.extent, one.var.tail))
                if not self.body(one.body):
                    return False
                tokens.append("end")
            elif isinstance(one, (Let, Assign)):
                register = one.register
                tokens.append((type(one), self.numbered(register), register.dtype, register.identity, register.combine))
                self.expression(one.value)
            elif isinstance(one, Store):
                tokens.append((Store, one.add))
                self.access(one.target)
                self.expression(one.value)
            elif isinstance(one, (Check, Gemm)):
                return False
        return True

    def expression(self, root: Expr) -> None:
        """Read an expression, operands before what is made of them."""
        tokens, places = self.tokens, dict[Expr, int]()
        for place, part in enumerate(walk(root)):
            places[part] = place
            if part.args:
                tokens.append((part.op, part.dtype.char, *[places[arg] for arg in part.args]))
            elif part.op == "param":
                self.leaf(part.value)
            elif part.dtype.kind == "f":
                tokens.append((part.dtype.char, self.numbers.setdefault(part, len(self.numbers))))
            else:
                tokens.append((part.dtype.char, "exactly", int(part.value)))
        tokens.append(("value", len(places)))

    def leaf(self, leaf: Any) -> None:
        """Read what an expression begins with."""
        if isinstance(leaf, Access):
            self.access(leaf)
        elif isinstance(leaf, Affine):
            self.affine(leaf)
        else:
            self.tokens.append(self.numbered(leaf))

    def access(self, access: Access) -> None:
        """Read an element's buffer and its index."""
        buffer = access.buffer
        if buffer not in self.buffers:
            self.buffers[buffer] = len(self.buffers)
            self.tokens.append(("buffer", buffer.shape, buffer.dtype))
        self.tokens.append(("at", self.buffers[buffer]))
        for part in access.index:
            if isinstance(part, Affine):
                self.affine(part)
            else:
                self.expression(part)
        for guard in access.guards:
            self.tokens.append(("guard", guard.low, guard.high))
            self.affine(guard.index)

    def affine(self, index: Affine) -> None:
        """Read an index."""
        terms = [(self.numbered(var), factor) for var, factor in index.terms]
        self.tokens.append((index.offset, *terms))
