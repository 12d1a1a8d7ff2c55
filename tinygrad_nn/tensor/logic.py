"""Comparison and logic by name: questions about each element, answered with bools."""

from __future__ import annotations

import math
from typing import Self

from ..errors import ConfigError, message
from ..ops import elementwise as e
from ..support.settings import is_number, shown, typed
from .operators import Operand, Operators


class Logical(Operators):
    """Comparison, logic, bits."""

    __slots__ = ()

    def eq(self, other: Operand) -> Self:
        """x == other, element by element; False for NaN.

        >>> import tinygrad_nn as tg
        >>> tg.eq([1, 2], [1, 3])
        tensor([ True, False])
        """
        return self._binary(e.EQ, self._operand(other, "eq"))

    def ne(self, other: Operand) -> Self:
        """x != other, element by element; True for NaN.

        >>> import tinygrad_nn as tg
        >>> tg.ne([1, 2], [1, 3])
        tensor([False,  True])
        """
        return self._binary(e.NE, self._operand(other, "ne"))

    def lt(self, other: Operand) -> Self:
        """x < other, element by element; False for NaN, as every order.

        >>> import tinygrad_nn as tg
        >>> tg.less([1, 2, 3], 2)
        tensor([ True, False, False])
        """
        return self._answer("lt", other, self.__lt__(other))

    def le(self, other: Operand) -> Self:
        """x <= other, element by element.

        >>> import tinygrad_nn as tg
        >>> tg.le([1, 2, 3], 2)
        tensor([ True,  True, False])
        """
        return self._answer("le", other, self.__le__(other))

    def gt(self, other: Operand) -> Self:
        """x > other, element by element.

        >>> import tinygrad_nn as tg
        >>> tg.greater([1, 2, 3], 2)
        tensor([False, False,  True])
        """
        return self._answer("gt", other, self.__gt__(other))

    def ge(self, other: Operand) -> Self:
        """x >= other, element by element.

        >>> import tinygrad_nn as tg
        >>> tg.ge([1, 2, 3], 2)
        tensor([False,  True,  True])
        """
        return self._answer("ge", other, self.__ge__(other))

    def logical_not(self) -> Self:
        """x == 0, as bool.

        >>> import tinygrad_nn as tg
        >>> tg.logical_not([True, False])
        tensor([False,  True])
        """
        return ~self.bool()

    def logical_and(self, other: Operand) -> Self:
        """Whether both differ from 0.

        >>> import tinygrad_nn as tg
        >>> tg.logical_and([True, True], [True, False])
        tensor([ True, False])
        """
        return self.bool() & self._operand(other, "logical_and").bool()

    def logical_or(self, other: Operand) -> Self:
        """Whether at least one differs from 0.

        >>> import tinygrad_nn as tg
        >>> tg.logical_or([False, True], [False, False])
        tensor([False,  True])
        """
        return self.bool() | self._operand(other, "logical_or").bool()

    def logical_xor(self, other: Operand) -> Self:
        """Whether exactly one differs from 0.

        >>> import tinygrad_nn as tg
        >>> tg.logical_xor([True, True], [True, False])
        tensor([False,  True])
        """
        return self.bool() ^ self._operand(other, "logical_xor").bool()

    def bitwise_not(self) -> Self:
        """~x, of integers or bools.

        >>> import tinygrad_nn as tg
        >>> tg.bitwise_not([0, 5])
        tensor([-1, -6])
        """
        return ~self

    def bitwise_and(self, other: Operand) -> Self:
        """x & other, of integers or bools.

        >>> import tinygrad_nn as tg
        >>> tg.bitwise_and([6, 3], 2)
        tensor([2, 2])
        """
        return self._answer("bitwise_and", other, self.__and__(other))

    def bitwise_or(self, other: Operand) -> Self:
        """x | other, of integers or bools.

        >>> import tinygrad_nn as tg
        >>> tg.bitwise_or([4, 1], 2)
        tensor([6, 3])
        """
        return self._answer("bitwise_or", other, self.__or__(other))

    def bitwise_xor(self, other: Operand) -> Self:
        """x ^ other, of integers or bools.

        >>> import tinygrad_nn as tg
        >>> tg.bitwise_xor([6, 3], 2)
        tensor([4, 1])
        """
        return self._answer("bitwise_xor", other, self.__xor__(other))

    def bitwise_left_shift(self, other: Operand) -> Self:
        """x << other, of integers; a count outside of the width shifts everything out.

        >>> import tinygrad_nn as tg
        >>> tg.bitwise_left_shift([1, 3], 2)
        tensor([ 4, 12])
        """
        return self._answer("bitwise_left_shift", other, self.__lshift__(other))

    def bitwise_right_shift(self, other: Operand) -> Self:
        """x >> other, of integers, keeping the sign, which is all that a count outside of the width leaves.

        >>> import tinygrad_nn as tg
        >>> tg.bitwise_right_shift([8, 3], 1)
        tensor([4, 1])
        """
        return self._answer("bitwise_right_shift", other, self.__rshift__(other))

    def isnan(self) -> Self:
        """Whether each element is NaN.

        >>> import tinygrad_nn as tg
        >>> tg.isnan([1.0, float("nan")])
        tensor([False,  True])
        """
        return self != self

    def isinf(self) -> Self:
        """Whether each element is infinite.

        >>> import tinygrad_nn as tg
        >>> tg.isinf([1.0, float("inf")])
        tensor([False,  True])
        """
        return self.apply(e.ABS).eq(math.inf) if self.node.dtype.kind == "f" else self.ne(self)

    def isfinite(self) -> Self:
        """Whether each element is neither NaN nor infinite.

        >>> import tinygrad_nn as tg
        >>> tg.isfinite([1.0, float("inf")])
        tensor([ True, False])
        """
        return self.apply(e.ABS) < math.inf if self.node.dtype.kind == "f" else self.eq(self)

    @typed
    def isclose(self, other: Operand, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Self:
        """|x - other| <= atol + rtol * |other|, or equal; NaN is close to NaN if `equal_nan`. Dtypes are promoted.

        >>> import tinygrad_nn as tg
        >>> tg.isclose([1.0, 2.0], [1.0 + 1e-9, 2.1])
        tensor([ True, False])
        """
        for name, bound in (("rtol", rtol), ("atol", atol)):
            if is_number(bound) and bound < 0:
                raise ConfigError(message("isclose", f"{name} {shown(bound)}", f"{name} >= 0"))
        x, y = self._promoted(other, "isclose")
        equal = x == y
        if equal_nan:
            equal = equal | (x.isnan() & y.isnan())
        if x.node.dtype.kind == "b":
            return equal
        gap = abs(x - y)
        return equal | (gap.isfinite() & (gap <= abs(y * rtol) + atol))
