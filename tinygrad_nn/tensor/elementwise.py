"""Elementwise methods by name: one per primitive, then composites of a line or a few.

Integers become the default float where a function is only defined on floats. Bools are refused where PyTorch refuses
them.
"""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np

from ..errors import ConfigError, DTypeError, message
from ..graph.graph import DType, Op
from ..ops import elementwise as e
from ..ops import transcendental as t
from ..ops.movement import RESHAPE
from ..ops.rules import BOOL, INT64
from ..support.settings import shown, typed
from .core import Core, Number, is_plainly, scalar
from .logic import Logical
from .operators import Operand as Operand


class Elementwise(Logical):
    """Arithmetic and elementary functions."""

    __slots__ = ()

    def _unary(self, op: Op) -> Self:
        return self.apply(op) if self.node.dtype.kind == "f" else self.as_float().apply(op)

    def _flat_in(self, *operands: Self) -> Self:
        """A result with slope 0 in operands on which it depends in steps."""
        result = self
        for operand in operands:
            if operand.requires_grad:
                result = operand.where(operand.handle(scalar(False, BOOL)), result)
        return result

    # ---- arithmetic -----------------------------------------------------------------------------------------------

    def _times(self, name: str, other: Operand, alpha: Number) -> Operand:
        """alpha * other; a bool as alpha is for bools alone."""
        if isinstance(alpha, bool) and self.node.dtype.kind != "b":
            raise DTypeError(message(name, f"alpha {alpha} for dtype {self.node.dtype.name}", "a number"))
        return other if is_plainly(alpha, 1) else self._operand(other, name) * alpha

    @typed
    def add(self, other: Operand, *, alpha: Number | bool = 1) -> Self:
        """x + alpha * other.

        >>> import tinygrad_nn as tg
        >>> tg.add([1.0, 2.0], [10.0, 20.0], alpha=2)
        tensor([21., 42.])
        """
        return self._answer("add", other, self.__add__(self._times("add", other, alpha)))

    @typed
    def sub(self, other: Operand, *, alpha: Number | bool = 1) -> Self:
        """x - alpha * other.

        >>> import tinygrad_nn as tg
        >>> tg.sub([5.0, 7.0], [1.0, 2.0])
        tensor([4., 5.])
        """
        return self._answer("sub", other, self.__sub__(self._times("sub", other, alpha)))

    def mul(self, other: Operand) -> Self:
        """x * other.

        >>> import tinygrad_nn as tg
        >>> tg.mul([1.0, 2.0], 3.0)
        tensor([3., 6.])
        """
        return self._answer("mul", other, self.__mul__(other))

    def div(self, other: Operand, *, rounding_mode: Literal["trunc", "floor"] | None = None) -> Self:
        """x / other, of integers in the default float; rounded toward 0 ("trunc") or down ("floor"), keeping integers.

        Raises DivisionByZero for an integer divided by 0 with rounding, ConfigError for another rounding mode.

        >>> import tinygrad_nn as tg
        >>> x = tg.tensor([7, -7])
        >>> x.div(2).tolist(), x.div(2, rounding_mode="trunc").tolist(), x.div(2, rounding_mode="floor").tolist()
        ([3.5, -3.5], [3, -3], [3, -4])
        """
        if rounding_mode is not None and not isinstance(rounding_mode, str):
            raise ConfigError(message("div", f"rounding_mode={shown(rounding_mode)}", "None, 'trunc' or 'floor'"))
        if rounding_mode is None:
            return self._answer("div", other, self.__truediv__(other))
        if rounding_mode == "floor":
            return self._answer("div", other, self.__floordiv__(other))
        if rounding_mode != "trunc":
            raise ConfigError(message("div", f"rounding_mode={rounding_mode!r}", "None, 'trunc' or 'floor'"))
        x, y = self._promoted(other, "div")
        if x.node.dtype.kind != "f":
            return (x - x.fmod(y)) // y
        return (x.detach() / y.detach()).trunc()._flat_in(x, y)  # also where the slope of x / y is infinite

    true_divide = div

    def floor_divide(self, other: Operand) -> Self:
        """x / other rounded down. Raises DivisionByZero for integers divided by 0.

        >>> import tinygrad_nn as tg
        >>> tg.floor_divide([7, -7], 2)
        tensor([ 3, -4])
        """
        return self._answer("floor_divide", other, self.__floordiv__(other))

    def remainder(self, other: Operand) -> Self:
        """What `floor_divide` leaves: it has the sign of the divisor. Raises DivisionByZero for integers.

        >>> import tinygrad_nn as tg
        >>> tg.remainder([7, -7], 3)
        tensor([1, 2])
        """
        return self._answer("remainder", other, self.__mod__(other))

    def fmod(self, other: Operand) -> Self:
        """What division rounded toward 0 leaves: it has the sign of the dividend. Raises as `remainder`.

        >>> import tinygrad_nn as tg
        >>> tg.fmod([7, -7], 3)
        tensor([ 1, -1])
        """
        return self._number_binary(e.FMOD, self._operand(other, "fmod"))

    def pow(self, exponent: Operand) -> Self:
        """x ** exponent.

        Integers stay integers: 1 / x ** n is then truncated, and a negative number as exponent an error.

        >>> import tinygrad_nn as tg
        >>> tg.pow([2.0, 3.0], 2)
        tensor([4., 9.])
        """
        return self._answer("pow", exponent, self.__pow__(exponent))

    def neg(self) -> Self:
        """-x.

        >>> import tinygrad_nn as tg
        >>> tg.neg([1.0, -2.0])
        tensor([-1.,  2.])
        """
        return -self

    def abs(self) -> Self:
        """|x|, with gradient 0 at 0.

        >>> import tinygrad_nn as tg
        >>> tg.abs([-3.0, 2.0])
        tensor([3., 2.])
        """
        return self._number_unary(e.ABS)

    absolute = abs

    def sign(self) -> Self:
        """-1, 0 or 1; 0 for NaN.

        >>> import tinygrad_nn as tg
        >>> tg.sign([-3.0, 0.0, 2.0])
        tensor([-1.,  0.,  1.])
        """
        return self.apply(RESHAPE, shape=self.node.shape) if self.node.dtype.kind == "b" else self.apply(e.SIGN)

    def square(self) -> Self:
        """x * x; of bools as int64.

        >>> import tinygrad_nn as tg
        >>> tg.square([-3.0, 2.0])
        tensor([9., 4.])
        """
        return self * self if self.node.dtype.kind != "b" else (self & self).cast(INT64)

    def sqrt(self) -> Self:
        """Square root; NaN below 0.

        >>> import tinygrad_nn as tg
        >>> tg.sqrt([4.0, 9.0])
        tensor([2., 3.])
        """
        return self._unary(t.SQRT)

    def rsqrt(self) -> Self:
        """1 / sqrt(x).

        >>> import tinygrad_nn as tg
        >>> tg.rsqrt([4.0, 16.0])
        tensor([0.50, 0.25])
        """
        return 1.0 / self.sqrt()

    def reciprocal(self) -> Self:
        """1 / x.

        >>> import tinygrad_nn as tg
        >>> tg.reciprocal([2.0, 4.0])
        tensor([0.50, 0.25])
        """
        return 1.0 / self

    def lerp(self, end: Operand, weight: Operand) -> Self:
        """x + weight * (end - x): x at weight 0 and `end` at weight 1, both exactly.

        >>> import tinygrad_nn as tg
        >>> tg.lerp([0.0, 10.0], [10.0, 20.0], 0.25)
        tensor([ 2.5, 12.5])
        """
        x, y = self._promoted(end, "lerp")
        step = y - x
        if isinstance(weight, (int, float)):
            return x + step * weight if weight < 0.5 else y - step * (1 - weight)
        w = x._operand(weight, "lerp")
        near = x.handle(w.node) < 0.5  # a hyperparameter would be asked for its value, and that be frozen
        return (x + step * w).where(near, y - step * (1 - w))

    @typed
    def addcmul(self, tensor1: Core, tensor2: Operand, *, value: Number = 1) -> Self:
        """x + value * tensor1 * tensor2.

        >>> import tinygrad_nn as tg
        >>> tg.addcmul(tg.ones(2), tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0]), value=10.0)
        tensor([31., 81.])
        """
        factor = self._operand(tensor1, "addcmul")
        scaled = factor if is_plainly(value, 1) else factor * value
        return self + self._answer("addcmul", tensor2, scaled.__mul__(tensor2))

    @typed
    def addcdiv(self, tensor1: Core, tensor2: Operand, *, value: Number = 1) -> Self:
        """x + value * tensor1 / tensor2; integers are divided as floats.

        >>> import tinygrad_nn as tg
        >>> tg.addcdiv(tg.ones(2), tg.tensor([1.0, 2.0]), tg.tensor([2.0, 4.0]), value=10.0)
        tensor([6., 6.])
        """
        above = self._operand(tensor1, "addcdiv")
        scaled = above if is_plainly(value, 1) else above * value
        return self + self._answer("addcdiv", tensor2, scaled.__truediv__(tensor2))

    # ---- exponentials and logarithms ------------------------------------------------------------------------------

    def exp(self) -> Self:
        """e ** x.

        >>> import tinygrad_nn as tg
        >>> tg.exp([0.0, 1.0])
        tensor([1.0000, 2.7183])
        """
        return self._unary(t.EXP)

    def exp2(self) -> Self:
        """2 ** x.

        >>> import tinygrad_nn as tg
        >>> tg.exp2([0.0, 3.0])
        tensor([1., 8.])
        """
        return self._unary(t.EXP2)

    def expm1(self) -> Self:
        """e ** x - 1, accurate near 0.

        >>> import tinygrad_nn as tg
        >>> tg.expm1([0.0, 1.0])
        tensor([0.0000, 1.7183])
        """
        return self._unary(t.EXPM1)

    def log(self) -> Self:
        """Natural logarithm; -inf at 0, NaN below.

        >>> import tinygrad_nn as tg
        >>> tg.log([1.0, 10.0])
        tensor([0.0000, 2.3026])
        """
        return self._unary(t.LOG)

    def log2(self) -> Self:
        """Logarithm to base 2; -inf at 0, NaN below.

        >>> import tinygrad_nn as tg
        >>> tg.log2([1.0, 8.0])
        tensor([0., 3.])
        """
        return self._unary(t.LOG2)

    def log10(self) -> Self:
        """Logarithm to base 10; -inf at 0, NaN below.

        >>> import tinygrad_nn as tg
        >>> tg.log10([1.0, 100.0])
        tensor([0., 2.])
        """
        return self._unary(t.LOG10)

    def log1p(self) -> Self:
        """log(1 + x), accurate near 0; -inf at -1, NaN below.

        >>> import tinygrad_nn as tg
        >>> tg.log1p([0.0, 1.0])
        tensor([0.0000, 0.6931])
        """
        return self._unary(t.LOG1P)

    def logaddexp(self, other: Operand) -> Self:
        """log(exp(x) + exp(other)) without overflow; with other = 0 it is softplus.

        >>> import tinygrad_nn as tg
        >>> tg.tensor([-1000.0, 1000.0]).logaddexp(0).tolist()
        [0.0, 1000.0]
        """
        return self._float_binary(t.LOGADDEXP, self._operand(other, "logaddexp"))

    def sigmoid(self) -> Self:
        """1 / (1 + exp(-x)).

        >>> import tinygrad_nn as tg
        >>> tg.sigmoid([0.0, 1.0])
        tensor([0.5000, 0.7311])
        """
        return self._unary(t.SIGMOID)

    @typed
    def logit(self, eps: float | None = None) -> Self:
        """log(x / (1 - x)), the inverse of sigmoid; NaN outside of [0, 1].

        With `eps`, x is clamped to [eps, 1 - eps] first.

        >>> import tinygrad_nn as tg
        >>> tg.logit([0.5, 0.9])
        tensor([0.0000, 2.1972])
        """
        x = self.as_float() if eps is None else self.as_float().clamp(eps, 1 - eps)
        if x.requires_grad and eps is None:  # the slope of log is a number where log is none
            x = x * x.handle(scalar(1.0, x.node.dtype)).where((x >= 0) & (x <= 1), math.nan)
        return x.log() - (-x).log1p()

    def erf(self) -> Self:
        """Error function, 2 / sqrt(pi) times the integral of exp(-u * u) from 0 to x.

        >>> import tinygrad_nn as tg
        >>> tg.erf([0.0, 1.0])
        tensor([0.0000, 0.8427])
        """
        return self._unary(t.ERF)

    def erfc(self) -> Self:
        """1 - erf(x), accurate where erf is close to 1.

        >>> import tinygrad_nn as tg
        >>> tg.erfc([0.0, 1.0])
        tensor([1.0000, 0.1573])
        """
        return self._unary(t.ERFC)

    # ---- trigonometry ---------------------------------------------------------------------------------------------

    def sin(self) -> Self:
        """Sine of an angle in radians.

        >>> import tinygrad_nn as tg
        >>> tg.sin([0.0, 1.0])
        tensor([0.0000, 0.8415])
        """
        return self._unary(t.SIN)

    def cos(self) -> Self:
        """Cosine of an angle in radians.

        >>> import tinygrad_nn as tg
        >>> tg.cos([0.0, 1.0])
        tensor([1.0000, 0.5403])
        """
        return self._unary(t.COS)

    def tan(self) -> Self:
        """Tangent of an angle in radians.

        >>> import tinygrad_nn as tg
        >>> tg.tan([0.0, 1.0])
        tensor([0.0000, 1.5574])
        """
        return self._unary(t.TAN)

    def asin(self) -> Self:
        """Arc sine, in radians; NaN outside of [-1, 1].

        >>> import tinygrad_nn as tg
        >>> tg.arcsin([0.0, 1.0])
        tensor([0.0000, 1.5708])
        """
        return self._unary(t.ASIN)

    def acos(self) -> Self:
        """Arc cosine, in radians; NaN outside of [-1, 1].

        >>> import tinygrad_nn as tg
        >>> tg.acos([1.0, 0.0])
        tensor([0.0000, 1.5708])
        """
        return self._unary(t.ACOS)

    def atan(self) -> Self:
        """Arc tangent, in radians.

        >>> import tinygrad_nn as tg
        >>> tg.arctan([0.0, 1.0])
        tensor([0.0000, 0.7854])
        """
        return self._unary(t.ATAN)

    def atan2(self, other: Operand) -> Self:
        """Angle in radians of the point (other, x), between -pi and pi.

        >>> import tinygrad_nn as tg
        >>> tg.arctan2([1.0, -1.0], [0.0, 1.0])
        tensor([ 1.5708, -0.7854])
        """
        return self._float_binary(t.ATAN2, self._operand(other, "atan2"))

    def sinh(self) -> Self:
        """Hyperbolic sine.

        >>> import tinygrad_nn as tg
        >>> tg.sinh([0.0, 1.0])
        tensor([0.0000, 1.1752])
        """
        return self._unary(t.SINH)

    def cosh(self) -> Self:
        """Hyperbolic cosine.

        >>> import tinygrad_nn as tg
        >>> tg.cosh([0.0, 1.0])
        tensor([1.0000, 1.5431])
        """
        return self._unary(t.COSH)

    def tanh(self) -> Self:
        """Hyperbolic tangent.

        >>> import tinygrad_nn as tg
        >>> tg.tanh([0.0, 1.0])
        tensor([0.0000, 0.7616])
        """
        return self._unary(t.TANH)

    def asinh(self) -> Self:
        """Inverse hyperbolic sine.

        >>> import tinygrad_nn as tg
        >>> tg.arcsinh([0.0, 1.0])
        tensor([0.0000, 0.8814])
        """
        return self._unary(t.ASINH)

    def acosh(self) -> Self:
        """Inverse hyperbolic cosine; NaN below 1.

        >>> import tinygrad_nn as tg
        >>> tg.acosh([1.0, 2.0])
        tensor([0.000, 1.317])
        """
        return self._unary(t.ACOSH)

    def atanh(self) -> Self:
        """Inverse hyperbolic tangent; infinite at -1 and 1, NaN outside.

        >>> import tinygrad_nn as tg
        >>> tg.arctanh([0.0, 0.5])
        tensor([0.0000, 0.5493])
        """
        return self._unary(t.ATANH)

    # ---- rounding and limits --------------------------------------------------------------------------------------

    def _rounded(self, op: Op) -> Self:
        return self.apply(RESHAPE, shape=self.node.shape) if self.node.dtype.kind == "i" else self._number_unary(op)

    def floor(self) -> Self:
        """Largest integer not above x; gradient 0.

        >>> import tinygrad_nn as tg
        >>> tg.floor([-1.5, 1.5])
        tensor([-2.,  1.])
        """
        return self._rounded(e.FLOOR)

    def ceil(self) -> Self:
        """Smallest integer not below x; gradient 0.

        >>> import tinygrad_nn as tg
        >>> tg.ceil([-1.5, 1.5])
        tensor([-1.,  2.])
        """
        return self._rounded(e.CEIL)

    def trunc(self) -> Self:
        """The integer part, toward 0; gradient 0.

        >>> import tinygrad_nn as tg
        >>> tg.fix([-1.5, 1.5])
        tensor([-1.,  1.])
        """
        return self._rounded(e.TRUNC)

    @typed
    def round(self, *, decimals: int = 0) -> Self:
        """The nearest integer, halves to the even one, or the nearest multiple of 10 ** -decimals; gradient 0.

        Raises DTypeError for integers with decimals.

        >>> import tinygrad_nn as tg
        >>> tg.round([0.5, 1.5, 2.4])
        tensor([0., 2., 2.])
        """
        if decimals == 0:
            return self._rounded(e.ROUND)
        e.ROUND.dtype(self.node.dtype)
        if abs(decimals) > 300:
            raise ConfigError(message("round", f"decimals {decimals}", "-300 <= decimals <= 300"))
        scale = 10.0 ** abs(decimals)
        return (self * scale).round() / scale if decimals > 0 else (self / scale).round() * scale

    def frac(self) -> Self:
        """x - trunc(x).

        >>> import tinygrad_nn as tg
        >>> tg.frac([-1.5, 1.75])
        tensor([-0.50,  0.75])
        """
        return self - self.trunc()

    def relu(self) -> Self:
        """max(x, 0), with gradient 0 at 0.

        >>> import tinygrad_nn as tg
        >>> tg.relu([-1.0, 2.0])
        tensor([0., 2.])
        """
        return self._number_unary(e.RELU)

    def clamp(self, min: Operand | None = None, max: Operand | None = None) -> Self:
        """x limited to [min, max], which may be numbers or tensors; `max` where they cross.

        The gradient passes where min <= x <= max, is 0 outside and for NaN; a bound in force gets it instead.
        Raises ConfigError without any bound.

        >>> import tinygrad_nn as tg
        >>> tg.tensor([-2.0, 0.5, 9.0]).clamp(-1, tg.tensor([1.0, 1.0, 3.0])).tolist()
        [-1.0, 0.5, 3.0]
        """
        if min is None and max is None:
            raise ConfigError(message("clamp", "neither min nor max", "at least one of them"))
        x = self
        for bound in (min, max):
            if bound is not None and not (x.node.dtype.kind == "f" and isinstance(bound, (int, float))):
                x = x._promoted(bound, "clamp")[0]
        dtype = x.node.dtype
        low, high = _limits(dtype)
        lower = x._operand(low if min is None else min, "clamp").cast(dtype)
        upper = x._operand(high if max is None else max, "clamp").cast(dtype)
        return x.apply(e.CLAMP, lower, upper)

    clip = clamp

    def maximum(self, other: Operand) -> Self:
        """The larger of x and other, NaN if either is; a tie shares the gradient.

        >>> import tinygrad_nn as tg
        >>> tg.maximum([1.0, 5.0], [3.0, 2.0])
        tensor([3., 5.])
        """
        return self._binary(e.MAXIMUM, self._operand(other, "maximum"))

    def minimum(self, other: Operand) -> Self:
        """The smaller of x and other, NaN if either is; a tie shares the gradient.

        >>> import tinygrad_nn as tg
        >>> tg.minimum([1.0, 5.0], [3.0, 2.0])
        tensor([1., 2.])
        """
        return self._binary(e.MINIMUM, self._operand(other, "minimum"))

    @typed
    def nan_to_num(self, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Self:
        """NaN and infinities replaced, the latter by default by the largest and smallest number; gradient 0 there.

        >>> import tinygrad_nn as tg
        >>> tg.nan_to_num([float("nan"), 1.0], nan=0.5)
        tensor([0.5, 1.0])
        """
        if self.node.dtype.kind != "f":
            return self * 1 if self.node.dtype.kind == "i" else self | self
        low, high = float(np.finfo(self.node.dtype).min), float(np.finfo(self.node.dtype).max)
        finite = self.masked_fill(self.eq(math.inf), high if posinf is None else posinf)
        finite = finite.masked_fill(self.eq(-math.inf), low if neginf is None else neginf)
        return finite.masked_fill(self.isnan(), nan)


def _limits(dtype: DType) -> tuple[Number, Number]:
    """Numbers below and above every number of a dtype."""
    if dtype.kind == "f":
        return -math.inf, math.inf
    if dtype.kind == "b":
        return False, True
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
