"""Operators that compute each element from elements at its place: arithmetic, comparisons, activations, casts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Final

import numpy as np

from ... import functional as F
from ...ops.rules import BOOL, FLOAT64
from ...tensor import Tensor
from ..elements import ELEMENTS, Element
from .form import Fixed, Value, bad, given, typed


def one(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """An operator of one operand. Old files say which operands it may overwrite."""

    def operator(x: Tensor, *, consumed_inputs: Any = None) -> Tensor:
        return function(x)

    return operator


def two(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """An operator of two operands, which broadcast. Before opset 7 the second did, from an axis of the first on."""

    def operator(
        a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0, consumed_inputs: Any = None
    ) -> Tensor:
        if broadcast and axis is not None:
            b = b.reshape(*b.shape, *(1,) * (a.ndim - b.ndim - axis % max(a.ndim, 1)))
        return function(a, b)

    return operator


def many(function: Callable[[Tensor, Tensor], Tensor], mean: bool = False) -> Callable[..., Tensor]:
    """An operator of any number of operands."""

    def operator(x: Tensor, *others: Tensor, consumed_inputs: Any = None) -> Tensor:
        for other in others:
            x = function(x, other)
        return x / (1 + len(others)) if mean else x

    return operator


def divided(a: Tensor, b: Tensor) -> Tensor:
    """A quotient; of integers it is rounded to zero."""
    return a / b if a.dtype.kind == "f" else a.div(b, rounding_mode="trunc")


def power(a: Tensor, b: Tensor) -> Tensor:
    """A power, of the type of the base."""
    if a.dtype.kind == "f" and b.dtype.kind == "f" and not b.ndim and b.node.value is not None:
        return a ** float(b.node.value)  # of a known exponent, with its gradient
    if a.dtype.kind == "f" or b.dtype.kind == "f":
        wide = a.dtype if a.dtype.kind == "f" and b.dtype.kind != "f" else FLOAT64
        return (a.to(wide) ** b.to(wide)).to(a.dtype)
    return a ** b.to(a.dtype)


def modulo(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    """A remainder with the sign of the divisor, with `fmod` of the dividend."""
    return a.fmod(b) if fmod else a.remainder(b)


def shifted(x: Value, by: Tensor, *, direction: str) -> Value:
    """Bits moved to the LEFT or the RIGHT, where zeros come in: the sign of a wider dtype is none."""
    bits = x.tensor
    if direction == "LEFT":
        return typed(bits.bitwise_left_shift(by), (x,))
    moved = bits.bitwise_right_shift(by)
    if x.element is not None and x.element.bits == 64:
        moved = moved.bitwise_and(bits.new_tensor(-1).bitwise_left_shift(64 - by).bitwise_not()).where(by != 0, bits)
    return Value(moved, x.element)


def clip(
    x: Tensor,
    low: Fixed | None = None,
    high: Fixed | None = None,
    *,
    min: Any = None,
    max: Any = None,
    consumed_inputs: Any = None,
) -> Tensor:
    """Bounded; where the bounds cross, by the upper one."""
    low, high = (low if min is None else x.new_tensor(min)), (high if max is None else x.new_tensor(max))
    x = x if low is None else x.maximum(low)
    return x if high is None else x.minimum(high)


def cast(x: Value, *, to: Any, saturate: int = 1, round_mode: str = "up") -> Value:
    """The same numbers in another element type."""
    if isinstance(to, str):  # of opset 1
        names = {one.name: one.number for one in ELEMENTS.values()}
        to = names.get(to.lower(), 0)
    return as_element(x.tensor, element_of(to), bool(saturate), round_mode)


def cast_like(x: Value, like: Value, *, saturate: int = 1, round_mode: str = "up") -> Value:
    """The same numbers in the element type of another tensor."""
    if like.element is None:
        raise bad("no tensor", "one whose type to take")
    return as_element(x.tensor, like.element, bool(saturate), round_mode)


def element_of(number: Any) -> Element:
    """An element type by its number."""
    if number not in ELEMENTS:
        raise bad(f"element type {number}", "a type that tensors have here")
    return ELEMENTS[number]


def as_element(x: Tensor, element: Element, saturate: bool = True, mode: str = "up") -> Value:
    """Numbers as those of an element type; whole ones wrap around. The `mode` of rounding is for powers of two."""
    if element.codes:
        return Value(element.rounded(x.to(FLOAT64), saturate, mode if element.name == "float8e8m0" else ""), element)
    if element.bits and x.dtype.kind == "f":
        x = x.long()  # of a type with more bits than the integers, some numbers would be anything
    return Value(element.wrapped(x.to(element.dtype)) if x.dtype != BOOL else x.to(element.dtype), element)


def bit_cast(x: Value, *, to: int) -> Value:
    """The bits of a tensor of which nothing is traced, as those of another type of that size."""
    element = element_of(to)
    if x.element is None or not x.element.stored or not element.stored:
        raise bad("a value without bytes", "a tensor")
    if x.element == element:
        return x
    data = np.asarray(x.tensor.numpy())
    if x.element.name == "bfloat16" or element.name == "bfloat16":
        raise bad("bits of bfloat16, which are not kept", "another type")
    source = data.astype(x.element.stored)
    if source.dtype.itemsize != np.dtype(element.stored).itemsize:
        raise bad(f"{x.element.name} as {element.name}", "a type with as many bits")
    return Value(given(source.view(element.stored).astype(element.dtype)), element)


def leaky_relu(x: Tensor, *, alpha: float = 0.01, consumed_inputs: Any = None) -> Tensor:
    """x, or a part of it where it is negative."""
    return F.leaky_relu(x, alpha)


def prelu(x: Tensor, slope: Tensor, *, consumed_inputs: Any = None) -> Tensor:
    """x, or slope * x where it is negative. Before opset 7 a slope for each channel stood alone."""
    if slope.ndim == 1 and x.ndim > 2 and slope.shape[0] == x.shape[1] != x.shape[-1]:
        slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
    return x.where(x >= 0, slope * x)


def elu(x: Tensor, *, alpha: float = 1.0, consumed_inputs: Any = None) -> Tensor:
    """Clevert et al. 2016."""
    return F.elu(x, alpha)


def selu(
    x: Tensor,
    *,
    alpha: float = 1.67326319217681884765625,
    gamma: float = 1.05070102214813232421875,
    consumed_inputs: Any = None,
) -> Tensor:
    """Klambauer et al. 2017, with the constants of the file."""
    return gamma * F.elu(x, alpha)


def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Barron 2017."""
    return F.celu(x, alpha)


def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """Hendrycks and Gimpel 2016."""
    return F.gelu(x, approximate)


def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5, consumed_inputs: Any = None) -> Tensor:
    """A line between 0 and 1."""
    return (alpha * x + beta).clamp(0, 1)


def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """x * sigmoid(alpha * x)."""
    return x * (x if alpha == 1 else alpha * x).sigmoid()


def swi_glu(gate: Tensor, value: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Shazeer 2020: numbers, by the swish of others."""
    return swish(gate, alpha=alpha) * value


def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """Zero near zero, else moved towards it."""
    return (x + bias).where(x < -lambd, (x - bias).where(x > lambd, x.new_zeros(x.shape)))


def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """x where it is above alpha."""
    return x.where(x > alpha, x.new_zeros(x.shape))


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x))."""
    return x.logaddexp(x.new_zeros(()))


def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """Where an infinity stands, of either sign."""
    low, high = x == -np.inf, x == np.inf
    return low & bool(detect_negative) | high & bool(detect_positive)


def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Along one axis."""
    return x.softmax(axis)


def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Along one axis."""
    return x.log_softmax(axis)


def hardmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """One at the first of the largest along an axis, else 0."""
    return F.one_hot(x.argmax(axis), x.shape[axis]).to(x.dtype).movedim(-1, axis)


def flat(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """As before opset 13: along all axes from this one on."""

    def operator(x: Tensor, *, axis: int = 1) -> Tensor:
        rows = prod(x.shape[: axis % max(x.ndim, 1)])
        return function(x.reshape(rows, -1) if x.numel() else x, axis=-1).reshape(x.shape)

    return operator


def where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """One or the other."""
    return x.where(condition, y)


ONE: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "Abs": Tensor.abs,
    "Acos": Tensor.acos,
    "Acosh": Tensor.acosh,
    "Asin": Tensor.asin,
    "Asinh": Tensor.asinh,
    "Atan": Tensor.atan,
    "Atanh": Tensor.atanh,
    "BitwiseNot": Tensor.bitwise_not,
    "Ceil": Tensor.ceil,
    "Cos": Tensor.cos,
    "Cosh": Tensor.cosh,
    "Erf": Tensor.erf,
    "Exp": Tensor.exp,
    "Floor": Tensor.floor,
    "HardSwish": F.hardswish,
    "IsNaN": Tensor.isnan,
    "Log": Tensor.log,
    "Mish": F.mish,
    "Neg": Tensor.neg,
    "Not": Tensor.logical_not,
    "Reciprocal": Tensor.reciprocal,
    "Relu": Tensor.relu,
    "Round": Tensor.round,
    "Sigmoid": Tensor.sigmoid,
    "Sign": Tensor.sign,
    "Sin": Tensor.sin,
    "Sinh": Tensor.sinh,
    "Softplus": softplus,
    "Softsign": F.softsign,
    "Sqrt": Tensor.sqrt,
    "Tan": Tensor.tan,
    "Tanh": Tensor.tanh,
}
TWO: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "Add": Tensor.add,
    "And": Tensor.logical_and,
    "BitwiseAnd": Tensor.bitwise_and,
    "BitwiseOr": Tensor.bitwise_or,
    "BitwiseXor": Tensor.bitwise_xor,
    "Div": divided,
    "Equal": Tensor.eq,
    "Greater": Tensor.gt,
    "GreaterOrEqual": Tensor.ge,
    "Less": Tensor.lt,
    "LessOrEqual": Tensor.le,
    "Mul": Tensor.mul,
    "Or": Tensor.logical_or,
    "Pow": power,
    "Sub": Tensor.sub,
    "Xor": Tensor.logical_xor,
}
OPERATORS: Final[Mapping[str, Any]] = {
    **{name: one(function) for name, function in ONE.items()},
    **{name: two(function) for name, function in TWO.items()},
    "BitCast": bit_cast,
    "BitShift": shifted,
    "Cast": cast,
    "CastLike": cast_like,
    "Celu": celu,
    "Clip": clip,
    "Elu": elu,
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "Hardmax": {1: flat(hardmax), 13: hardmax},
    "IsInf": is_inf,
    "LeakyRelu": leaky_relu,
    "LogSoftmax": {1: flat(log_softmax), 13: log_softmax},
    "Max": many(Tensor.maximum),
    "Mean": many(Tensor.add, mean=True),
    "Min": many(Tensor.minimum),
    "Mod": modulo,
    "PRelu": prelu,
    "Selu": selu,
    "Shrink": shrink,
    "Softmax": {1: flat(softmax), 13: softmax},
    "Sum": many(Tensor.add),
    "SwiGLU": swi_glu,
    "Swish": swish,
    "ThresholdedRelu": thresholded_relu,
    "Where": where,
}
