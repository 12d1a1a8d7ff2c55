"""In-place methods (`add_`, `x += y`, `fill_`, ...): compute, then let the handle hold the result.

Legal where PyTorch allows it: on computed tensors and on constants at any time, on leaves that require grad and their
views only under no_grad. Recorded graphs keep the value they saw, so nothing that backward needs is lost. Shape and
dtype stay. A write to a view reaches its base and all its other views; NumPy arrays made before keep their values.
Threads may write to different parts of a tensor at once.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ..errors import DTypeError, GraphError, ShapeError, message
from .core import Core, Number, constant, is_literal, mode, writing
from .operators import Operand
from .reduce import Reduced

_ORDER = "bif"  # kinds of dtype, each able to hold those before


class InPlace(Reduced):
    """Methods that give this handle another value.

    >>> import tinygrad_nn as tg
    >>> w = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> with tg.no_grad():
    ...     w -= 0.5
    >>> w.tolist(), w.requires_grad
    ([0.5, 1.5], True)
    """

    __slots__ = ()

    def _write(self, name: str, result: Core) -> Self:
        """Hold `result`, in the dtype this tensor has.

        Raises GraphError for a leaf that requires grad, ShapeError and DTypeError where the result does not fit.
        """
        old, new = self.node, result.node
        if mode.grad and old.needs_grad and not old.inputs:
            hint = "write under tg.no_grad(), or make a new tensor: x = x + y"
            raise GraphError(message(name, "a leaf that requires grad, to be written in place", hint=hint))
        if new.shape != old.shape:
            got = f"a result of shape {new.shape} for a tensor of shape {old.shape}"
            raise ShapeError(message(name, got, "operands that broadcast to the tensor's shape"))
        if _ORDER.index(new.dtype.kind) > _ORDER.index(old.dtype.kind):
            got = f"a result of dtype {new.dtype.name} for a tensor of dtype {old.dtype.name}"
            raise DTypeError(message(name, got, "a dtype that can hold it", "make a new tensor: x = x + y"))
        return self.assign(result.cast(old.dtype))

    # ---- arithmetic -----------------------------------------------------------------------------------------------

    def add_(self, other: Operand, *, alpha: Number = 1) -> Self:
        """x + alpha * other, in place."""
        return self._write("add_", self.add(other, alpha=alpha))

    def sub_(self, other: Operand, *, alpha: Number = 1) -> Self:
        """x - alpha * other, in place."""
        return self._write("sub_", self.sub(other, alpha=alpha))

    def mul_(self, other: Operand) -> Self:
        """x * other, in place."""
        return self._write("mul_", self.mul(other))

    def div_(self, other: Operand, *, rounding_mode: Any = None) -> Self:
        """x / other, in place."""
        return self._write("div_", self.div(other, rounding_mode=rounding_mode))

    def pow_(self, exponent: Operand) -> Self:
        """x ** exponent, in place."""
        return self._write("pow_", self.pow(exponent))

    def neg_(self) -> Self:
        """-x, in place."""
        return self._write("neg_", -self)

    def sqrt_(self) -> Self:
        """Square root, in place."""
        return self._write("sqrt_", self.sqrt())

    def exp_(self) -> Self:
        """e ** x, in place."""
        return self._write("exp_", self.exp())

    def relu_(self) -> Self:
        """max(x, 0), in place."""
        return self._write("relu_", self.relu())

    def clamp_(self, min: Operand | None = None, max: Operand | None = None) -> Self:
        """x limited to [min, max], in place."""
        return self._write("clamp_", self.clamp(min, max))

    def lerp_(self, end: Operand, weight: Operand) -> Self:
        """x + weight * (end - x), in place."""
        return self._write("lerp_", self.lerp(end, weight))

    def addcmul_(self, tensor1: Core, tensor2: Operand, *, value: Number = 1) -> Self:
        """x + value * tensor1 * tensor2, in place."""
        return self._write("addcmul_", self.addcmul(tensor1, tensor2, value=value))

    def addcdiv_(self, tensor1: Core, tensor2: Operand, *, value: Number = 1) -> Self:
        """x + value * tensor1 / tensor2, in place."""
        return self._write("addcdiv_", self.addcdiv(tensor1, tensor2, value=value))

    # ---- values ---------------------------------------------------------------------------------------------------

    def copy_(self, src: Operand, non_blocking: Any = False) -> Self:
        """The values of another tensor, broadcast and converted to this dtype."""
        values = self._operand(src, "copy_").cast(self.node.dtype).expand_to(self.node.shape)
        if is_literal(values.node):  # which stands for a number in the code, and this tensor may change
            values = self.handle(constant(values.node.value))
        return self._write("copy_", self._level(values) if mode.grad else values)

    def fill_(self, value: Operand) -> Self:
        """One value, converted to this dtype, everywhere."""
        filling = self._operand(value, "fill_")
        if filling.shape:
            raise ShapeError(message("fill_", f"a value of shape {filling.shape}", "one number", "copy_ takes several"))
        return self.copy_(filling)

    def zero_(self) -> Self:
        """0 everywhere."""
        return self.copy_(0)

    def masked_fill_(self, mask: Core | np.ndarray[Any, Any], value: Operand) -> Self:
        """`value` where `mask` holds."""
        with writing():
            return self._write("masked_fill_", self.masked_fill(mask, value))

    # ---- operators ------------------------------------------------------------------------------------------------

    def __iadd__(self, other: Operand) -> Self:
        return self._write("+=", self + other)

    def __isub__(self, other: Operand) -> Self:
        return self._write("-=", self - other)

    def __imul__(self, other: Operand) -> Self:
        return self._write("*=", self * other)

    def __itruediv__(self, other: Operand) -> Self:
        return self._write("/=", self / other)

    def __ifloordiv__(self, other: Operand) -> Self:
        return self._write("//=", self // other)

    def __imod__(self, other: Operand) -> Self:
        return self._write("%=", self % other)

    def __ipow__(self, other: Operand) -> Self:
        return self._write("**=", self**other)

    def __iand__(self, other: Operand) -> Self:
        return self._write("&=", self & other)

    def __ior__(self, other: Operand) -> Self:
        return self._write("|=", self | other)

    def __ixor__(self, other: Operand) -> Self:
        return self._write("^=", self ^ other)
