"""Operators and choice: what `x + y`, `x < y`, `~x` mean, and how operands of unlike kinds meet.

Operands are promoted as in PyTorch and broadcast. Arrays count as tensors of their dtype, NumPy's scalars and the
numbers of lists as Python numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from ..errors import DTypeError, message
from ..graph.graph import NO_ATTRS, Node, Op
from ..ops import elementwise as e
from ..ops import transcendental as t
from ..ops.rules import BOOL
from ..support.settings import shown
from .arrays import array_of, beside
from .convert import Converted
from .core import Core, Number, bind, constant, mode, number_dtype, scalar
from .promotion import result_type

Operand = Core | Number | np.ndarray[Any, Any] | np.generic | Sequence[Any]


_ASKED = (int, np.ndarray, np.generic)  # what x == y compares with; a list is another object
_TAKEN = (*_ASKED, list, tuple)
_REFLECTED = frozenset(  # what a class that knows of tensors would define
    ("__radd__", "__rsub__", "__rmul__", "__rtruediv__", "__rfloordiv__", "__rmod__", "__rdivmod__", "__rpow__",
     "__rlshift__", "__rrshift__", "__rand__", "__rxor__", "__ror__")
)  # fmt: skip
_COMPARED = frozenset(("__lt__", "__le__", "__gt__", "__ge__"))


class Operators(Converted):
    """Arithmetic, comparison, bits, and choice between two tensors."""

    __slots__ = ()

    # ---- operands -------------------------------------------------------------------------------------------------

    def _operand(self, other: object, name: str = "tensor") -> Self:
        """Another operand as a tensor of its own dtype (Python numbers, in lists too, take one that fits this
        tensor).
        """
        if isinstance(other, Core):
            return other  # type: ignore[return-value]
        if isinstance(other, (int, float)):
            dtype = self.node.dtype
            fits = dtype.kind == "f" or isinstance(other, bool) or (dtype.kind == "i" and isinstance(other, int))
            return self.handle(scalar(other, dtype if fits else number_dtype(other)))  # type: ignore[no-any-return]
        if isinstance(other, (np.ndarray, np.generic)):
            return self.handle(constant(array_of(name, other, copy=True)))  # type: ignore[no-any-return]
        return self.handle(constant(beside(name, other, self.node.dtype)))  # type: ignore[no-any-return]

    def _answer(self, name: str, other: object, result: Any) -> Self:
        """What an operator gave, under the name of a method; DTypeError where it does not know the other operand."""
        if result is NotImplemented:
            raise DTypeError(message(name, f"{shown(other)} as an operand", "a tensor, a number, a list or an array"))
        return result  # type: ignore[no-any-return]

    def _promoted(self, other: Operand, name: str = "tensor") -> tuple[Self, Self]:
        """This tensor and another operand in their common dtype."""
        right: Self = other if isinstance(other, Core) else self._operand(other, name)  # type: ignore[assignment]
        if self.node.dtype == right.node.dtype:
            return self, right
        weight = right._weight() if isinstance(other, Core) or right.shape else (right.node.dtype, 0)
        common = result_type(self._weight(), weight)
        return self.cast(common), right.cast(common)

    def as_float(self) -> Self:
        """This tensor where it is floating, else in the default dtype."""
        return self if self.node.dtype.kind == "f" else self.cast(mode.dtype)

    def _binary(self, op: Op, other: Operand, swap: bool = False) -> Self:
        """Apply an op of two operands. The hot path (two tensors of one dtype, nothing recording) is kept short."""
        a = self.node
        b: Node | None = None
        if isinstance(other, Core):
            if other.node.dtype is a.dtype:
                b = other.node
        elif isinstance(other, float):
            if a.dtype.kind == "f":
                b = scalar(other, a.dtype)
        elif isinstance(other, int) and a.dtype.kind in "fi" and type(other) is int:
            b = scalar(other, a.dtype)
        elif not isinstance(other, _ASKED if op is e.EQ or op is e.NE else _TAKEN):
            return self._unknown(op, other)
        if b is not None and mode.recorder is None:
            return self.handle(bind(op, (b, a) if swap else (a, b), NO_ATTRS))  # type: ignore[no-any-return]
        left, right = self._promoted(other, op.name)
        return right.apply(op, left) if swap else left.apply(op, right)

    def _unknown(self, op: Op, other: object) -> Self:
        """NotImplemented where the other operand may know better, or for x == y; DTypeError elsewhere."""
        kind = type(other)
        methods = _COMPARED if op is e.LT or op is e.LE else _REFLECTED
        asked = kind.__module__ != "builtins" and any(not methods.isdisjoint(vars(c)) for c in kind.__mro__[:-1])
        if asked or op is e.EQ or op is e.NE:
            return NotImplemented  # type: ignore[no-any-return]
        return self._answer(op.name, other, NotImplemented)

    def _float_binary(self, op: Op, other: Operand, swap: bool = False) -> Self:
        """As `_binary` for ops that are only defined on floats."""
        if self.node.dtype.kind != "f" and isinstance(other, (Core, float, *_TAKEN)):
            left, right = self._promoted(other, op.name)
            return left.as_float()._binary(op, right.as_float(), swap)
        return self._binary(op, other, swap)

    def _number_binary(self, op: Op, other: Operand, swap: bool = False) -> Self:
        """As `_binary` for ops that are not defined on two bools: NumPy would make int8 of them."""
        known = self.node.dtype.kind == "b" and isinstance(other, (Core, *_TAKEN))
        if known and self._operand(other, op.name).node.dtype.kind == "b":
            op.dtype(BOOL, BOOL)  # raises
        return self._binary(op, other, swap)

    def _number_unary(self, op: Op) -> Self:
        """Apply an op that is not defined on bools."""
        if self.node.dtype.kind == "b":
            op.dtype(BOOL)  # raises
        return self.apply(op)

    # ---- arithmetic -----------------------------------------------------------------------------------------------

    def __add__(self, other: Operand) -> Self:
        return self._binary(e.ADD, other)

    __radd__ = __add__

    def __sub__(self, other: Operand) -> Self:
        return self._binary(e.SUB, other)

    def __rsub__(self, other: Operand) -> Self:
        return self._binary(e.SUB, other, swap=True)

    def __mul__(self, other: Operand) -> Self:
        return self._binary(e.MUL, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> Self:
        return self._float_binary(e.DIV, other)

    def __rtruediv__(self, other: Operand) -> Self:
        return self._float_binary(e.DIV, other, swap=True)

    def __floordiv__(self, other: Operand) -> Self:
        return self._number_binary(e.FLOOR_DIVIDE, other)

    def __rfloordiv__(self, other: Operand) -> Self:
        return self._number_binary(e.FLOOR_DIVIDE, other, swap=True)

    def __mod__(self, other: Operand) -> Self:
        return self._number_binary(e.REMAINDER, other)

    def __rmod__(self, other: Operand) -> Self:
        return self._number_binary(e.REMAINDER, other, swap=True)

    def __divmod__(self, other: Operand) -> tuple[Self, Self]:
        return self // other, self % other

    def __rdivmod__(self, other: Operand) -> tuple[Self, Self]:
        return self.__rfloordiv__(other), self.__rmod__(other)

    def __pow__(self, other: Operand) -> Self:
        if isinstance(other, (int, float)) and not isinstance(other, bool):
            if self.node.dtype.kind == "f":
                short = _POWERS.get(other)
                if short is not None:
                    return short(self)  # type: ignore[no-any-return]
            elif other < 0 and isinstance(other, int):
                got = f"dtype {self.node.dtype.name} and exponent {other}"
                expected = "a float dtype or an exponent of at least 0"
                raise DTypeError(message("pow", got, expected, "convert it with .float()"))
        return self._number_binary(t.POW, other)

    def __rpow__(self, other: Operand) -> Self:
        return self._number_binary(t.POW, other, swap=True)

    def __neg__(self) -> Self:
        if self.node.dtype.kind == "b":
            raise DTypeError(message("neg", "dtype bool", "a number", "use ~x to invert a mask"))
        return self.apply(e.NEG)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Self:
        return self._number_unary(e.ABS)

    # ---- bits -----------------------------------------------------------------------------------------------------

    def __invert__(self) -> Self:
        return self.apply(e.BITWISE_NOT)

    def __and__(self, other: Operand) -> Self:
        return self._binary(e.BITWISE_AND, other)

    __rand__ = __and__

    def __or__(self, other: Operand) -> Self:
        return self._binary(e.BITWISE_OR, other)

    __ror__ = __or__

    def __xor__(self, other: Operand) -> Self:
        return self._binary(e.BITWISE_XOR, other)

    __rxor__ = __xor__

    def __lshift__(self, other: Operand) -> Self:
        return self._number_binary(e.SHIFT_LEFT, other)

    def __rlshift__(self, other: Operand) -> Self:
        return self._number_binary(e.SHIFT_LEFT, other, swap=True)

    def __rshift__(self, other: Operand) -> Self:
        return self._number_binary(e.SHIFT_RIGHT, other)

    def __rrshift__(self, other: Operand) -> Self:
        return self._number_binary(e.SHIFT_RIGHT, other, swap=True)

    # ---- comparison -----------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> Self:  # type: ignore[override]
        return self._binary(e.EQ, other)  # type: ignore[arg-type]

    def __ne__(self, other: object) -> Self:  # type: ignore[override]
        return self._binary(e.NE, other)  # type: ignore[arg-type]

    def __lt__(self, other: Operand) -> Self:
        return self._binary(e.LT, other)

    def __le__(self, other: Operand) -> Self:
        return self._binary(e.LE, other)

    def __gt__(self, other: Operand) -> Self:
        return self._binary(e.LT, other, swap=True)

    def __ge__(self, other: Operand) -> Self:
        return self._binary(e.LE, other, swap=True)

    __hash__ = object.__hash__

    # ---- choice ---------------------------------------------------------------------------------------------------

    def _condition(self, name: str, mask: Any) -> Self:
        """A bool tensor, or DTypeError: np.where would take any dtype."""
        condition = mask if isinstance(mask, Core) else self._operand(mask, name)
        if condition.node.dtype.kind != "b":
            raise DTypeError(message(name, f"a mask of dtype {condition.dtype.name}", "bool", "compare first: x != 0"))
        return condition  # type: ignore[return-value]

    def where(self, condition: Core | np.ndarray[Any, Any], other: Operand) -> Self:
        """This tensor where `condition` (bool) holds, else `other`; the three broadcast.

        The gradient of the element not taken is 0, and NaN or infinity there does no harm.
        """
        left, right = self._promoted(other, "where")
        return self._condition("where", condition).apply(e.WHERE, left, right)

    def masked_fill(self, mask: Core | np.ndarray[Any, Any], value: Operand) -> Self:
        """A copy with `value` where `mask` (bool) holds; the dtype stays.

        >>> import tinygrad_nn as tg
        >>> tg.masked_fill([1.0, 2.0], [True, False], 0.0)
        tensor([0., 2.])
        """
        fill = self._operand(value, "masked_fill").cast(self.node.dtype)
        return self._condition("masked_fill", mask).apply(e.WHERE, fill, self)


# x ** 2 and its like as plain arithmetic: cheaper than pow, and with the gradient 0 ** 1 that pow would compute.
_POWERS: dict[float, Callable[[Any], Any]] = {
    1: lambda x: x * 1,
    2: lambda x: x * x,
    3: lambda x: x * x * x,
    0.5: lambda x: x.sqrt(),
    -1: lambda x: 1.0 / x,
}
