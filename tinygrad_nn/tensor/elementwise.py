"""Elementwise methods and operators: one per primitive, then composites of a line or a few.

Operands are promoted as in PyTorch and broadcast; integers become the default float where the function asks for a float.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np

from ..errors import DTypeError, message
from ..graph import NO_ATTRS, Node, Op
from ..ops import elementwise as e
from ..ops import transcendental as t
from ..ops.rules import DTYPES, INT32
from .core import Core, Number, bind, constant, mode, number_dtype, result_type, scalar

Operand = Core | Number | np.ndarray[Any, Any] | np.generic


class Elementwise(Core):
    """Arithmetic, comparison, logic and elementary functions."""

    __slots__ = ()

    # ---- operands -------------------------------------------------------------------------------------------------

    def _operand(self, other: Operand) -> Self:
        """Another operand as a tensor of its own dtype (a Python number takes one that fits this tensor)."""
        if isinstance(other, Core):
            return other  # type: ignore[return-value]
        if isinstance(other, (bool, int, float)):
            dtype = result_type((self.node.dtype, self.rank()), (number_dtype(other), 0))
            return self.handle(scalar(other, dtype))  # type: ignore[no-any-return]
        array = np.asarray(other)
        if array.dtype not in DTYPES:
            raise DTypeError(message("tensor", f"an operand of dtype {array.dtype}", "bool, int32, int64, float32 or float64"))
        return self.handle(constant(array))  # type: ignore[no-any-return]

    def promoted(self, other: Operand) -> tuple[Self, Self]:
        """This tensor and another operand in their common dtype."""
        right = self._operand(other)
        if self.node.dtype == right.node.dtype:
            return self, right
        common = result_type((self.node.dtype, self.rank()), (right.node.dtype, right.rank() if isinstance(other, Core) else 0))
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
        elif not isinstance(other, (bool, np.ndarray, np.generic)):
            return NotImplemented  # type: ignore[no-any-return]
        if b is not None and mode.recorder is None:
            return self.handle(bind(op, (b, a) if swap else (a, b), NO_ATTRS))  # type: ignore[no-any-return]
        left, right = self.promoted(other)
        return right.apply(op, left) if swap else left.apply(op, right)

    def _float_binary(self, op: Op, other: Operand, swap: bool = False) -> Self:
        """As `_binary` for ops that are only defined on floats."""
        if self.node.dtype.kind != "f":
            left, right = self.promoted(other)
            return left.as_float()._binary(op, right.as_float(), swap)
        return self._binary(op, other, swap)

    def _unary(self, op: Op) -> Self:
        return self.as_float().apply(op)

    # ---- operators ------------------------------------------------------------------------------------------------

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
        return self._binary(e.FLOOR_DIVIDE, other)

    def __rfloordiv__(self, other: Operand) -> Self:
        return self._binary(e.FLOOR_DIVIDE, other, swap=True)

    def __mod__(self, other: Operand) -> Self:
        return self._binary(e.REMAINDER, other)

    def __rmod__(self, other: Operand) -> Self:
        return self._binary(e.REMAINDER, other, swap=True)

    def __pow__(self, other: Operand) -> Self:
        if isinstance(other, (int, float)) and not isinstance(other, bool) and self.node.dtype.kind == "f":
            short = _POWERS.get(other)
            if short is not None:
                return short(self)  # type: ignore[no-any-return]
        return self._binary(t.POW, other)

    def __rpow__(self, other: Operand) -> Self:
        return self._binary(t.POW, other, swap=True)

    def __neg__(self) -> Self:
        if self.node.dtype.kind == "b":
            raise DTypeError(message("neg", "dtype bool", "a number", "use ~x to invert a mask"))
        return self.apply(e.NEG)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Self:
        return self.apply(e.ABS)

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
        return self._binary(e.SHIFT_LEFT, other)

    def __rshift__(self, other: Operand) -> Self:
        return self._binary(e.SHIFT_RIGHT, other)

    def __eq__(self, other: object) -> Self:  # type: ignore[override]
        return self._binary(e.EQ, other)  # type: ignore[arg-type]

    def __ne__(self, other: object) -> Self:  # type: ignore[override]
        return self._binary(e.NE, other)  # type: ignore[arg-type]

    def __lt__(self, other: Operand) -> Self:
        return self._ordered(e.LT, other)

    def __le__(self, other: Operand) -> Self:
        return self._ordered(e.LE, other)

    def __gt__(self, other: Operand) -> Self:
        return self._ordered(e.LT, other, swap=True)

    def __ge__(self, other: Operand) -> Self:
        return self._ordered(e.LE, other, swap=True)

    __hash__ = object.__hash__

    def _ordered(self, op: Op, other: Operand, swap: bool = False) -> Self:
        """Order of bools is that of 0 and 1."""
        if self._both_bool(other):
            return self.cast(INT32)._binary(op, self._operand(other).cast(INT32), swap)
        return self._binary(op, other, swap)

    def _both_bool(self, other: object) -> bool:
        if self.node.dtype.kind != "b":
            return False
        return other.node.dtype.kind == "b" if isinstance(other, Core) else isinstance(other, (bool, np.bool_))

    # ---- choice -----------------------------------------------------------------------------------------------------

    def where(self, condition: Core, other: Operand) -> Self:
        """This tensor where `condition` holds, else `other`."""
        left, right = self.promoted(other)
        return condition.apply(e.WHERE, left, right)  # type: ignore[return-value]

    def masked_fill(self, mask: Core, value: Operand) -> Self:
        """A copy with `value` where `mask` holds; the dtype stays."""
        if type(value) is int or type(value) is float:
            fill = self.handle(scalar(value, self.node.dtype))
        else:
            fill = self._operand(value).cast(self.node.dtype)
        return mask.apply(e.WHERE, fill, self)  # type: ignore[return-value]

    # ---- elementary functions ---------------------------------------------------------------------------------------

    def neg(self) -> Self:
        """-x."""
        return -self

    def abs(self) -> Self:
        """|x|, with gradient 0 at 0."""
        return self.apply(e.ABS)

    def sign(self) -> Self:
        """-1, 0 or 1; 0 for NaN."""
        return self.apply(e.SIGN)

    def sqrt(self) -> Self:
        """Square root; NaN below 0."""
        return self._unary(t.SQRT)

    def rsqrt(self) -> Self:
        """1 / sqrt(x)."""
        return 1.0 / self.sqrt()

    def square(self) -> Self:
        """x * x."""
        return self * self

    def reciprocal(self) -> Self:
        """1 / x."""
        return 1.0 / self

    def exp(self) -> Self:
        """e ** x."""
        return self._unary(t.EXP)

    def log(self) -> Self:
        """Natural logarithm; -inf at 0, NaN below."""
        return self._unary(t.LOG)

    def sin(self) -> Self:
        """Sine of an angle in radians."""
        return self._unary(t.SIN)

    def cos(self) -> Self:
        """Cosine of an angle in radians."""
        return self._unary(t.COS)

    def sinh(self) -> Self:
        """Hyperbolic sine."""
        return self._unary(t.SINH)

    def cosh(self) -> Self:
        """Hyperbolic cosine."""
        return self._unary(t.COSH)

    def tanh(self) -> Self:
        """Hyperbolic tangent."""
        return self._unary(t.TANH)

    def sigmoid(self) -> Self:
        """1 / (1 + exp(-x))."""
        return self._unary(t.SIGMOID)

    def relu(self) -> Self:
        """max(x, 0), with gradient 0 at 0."""
        return self.apply(e.RELU)

    def floor(self) -> Self:
        """Largest integer not above x."""
        return self.apply(e.FLOOR) if self.node.dtype.kind == "f" else self

    def trunc(self) -> Self:
        """The integer part, toward 0."""
        return self.apply(e.TRUNC) if self.node.dtype.kind == "f" else self


# x ** 2 and its like as plain arithmetic: cheaper than pow, and with the gradient 0 ** 1 that pow would compute.
_POWERS: dict[float, Callable[[Any], Any]] = {
    1: lambda x: x * 1,
    2: lambda x: x * x,
    3: lambda x: x * x * x,
    0.5: lambda x: x.sqrt(),
    -1: lambda x: x.reciprocal(),
}
