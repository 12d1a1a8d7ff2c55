"""Operators between numbers and their integers on a scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...ops.rules import FLOAT64
from ...tensor import Tensor
from ..elements import UINT8, Element
from .elementwise import as_element, element_of
from .form import Fixed, Value, axis_of, bad
from .linear import conv_integer, matmul_integer


def spread(scale: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """A scale beside the elements it is for: of all, of each entry of an axis, or of blocks along it."""
    if block:
        wide = scale.repeat_interleave(block, axis_of(axis, x.ndim))
        return wide.narrow(axis_of(axis, x.ndim), 0, x.shape[axis])
    if scale.ndim == 0 or scale.numel() == 1:
        return scale.reshape(())
    along = axis_of(axis, x.ndim)
    return scale.reshape([-1 if k == along else 1 for k in range(x.ndim)])


def bounded(x: Tensor, element: Element) -> Value:
    """Whole numbers within the range of an integer type."""
    low, high = element.range
    return Value(x.clamp(low, high).to(element.dtype), element)


def quantize(
    x: Tensor,
    scale: Fixed,
    zero: Value | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Value:
    """x / scale + zero, rounded (halves to the even number) and bounded."""
    element = zero.element if zero is not None and zero.element is not None else UINT8
    element = element_of(output_dtype) if output_dtype else element
    if element.codes:
        return as_element(x.to(scale.dtype) / spread(scale, x, axis, block_size), element, bool(saturate))
    if element.dtype.kind != "i":
        raise bad(f"quantization to {element.name}", "an integer or a small float")
    found = (x.to(scale.dtype) / spread(scale, x, axis, block_size)).round()
    if zero is not None:
        found = found + spread(zero.tensor, x, axis, block_size).to(found.dtype)
    return bounded(found, element)


def dequantize(
    x: Tensor, scale: Fixed, zero: Fixed | None = None, *, axis: int = 1, block_size: int = 0, output_dtype: int = 0
) -> Tensor:
    """(x - zero) * scale."""
    whole = x if zero is None else x - spread(zero, x, axis, block_size)
    found = whole.to(scale.dtype) * spread(scale, x, axis, block_size)
    return found.to(element_of(output_dtype).dtype) if output_dtype else found


def dynamic(x: Tensor) -> tuple[Any, ...]:
    """As uint8, on a scale that holds all elements and 0; with that scale and its zero."""
    zero = x.new_zeros(())
    high, low = x.amax().maximum(zero), x.amin().minimum(zero)
    scale = (high - low) / 255
    scale = scale.where(scale != 0, x.new_ones(()))
    point = bounded((-low / scale).round(), UINT8)
    return quantize(x, scale, point), scale, point


def requantized(found: Tensor, scale: Tensor, zero: Value, rank: int, axis: int) -> Value:
    """Sums of products as integers on another scale."""
    element = zero.element
    if element is None:
        raise bad("no zero point", "one with the type of the result")
    return bounded((found.to(FLOAT64) * scale).round() + zero.tensor.to(FLOAT64), element)


def qlinear_matmul(
    a: Tensor, a_scale: Fixed, a_zero: Fixed, b: Tensor, b_scale: Fixed, b_zero: Fixed, y_scale: Fixed, y_zero: Value
) -> Value:
    """A product of matrices on scales."""
    a_scale, a_zero = (one.unsqueeze(-1) if one.ndim == 1 and one.numel() > 1 else one for one in (a_scale, a_zero))
    found = matmul_integer(a, b, a_zero, b_zero).tensor
    return requantized(found, a_scale.double() * b_scale.double() / y_scale.double(), y_zero, a.ndim, -1)


def qlinear_conv(
    x: Tensor,
    x_scale: Fixed,
    x_zero: Fixed,
    w: Tensor,
    w_scale: Fixed,
    w_zero: Fixed,
    y_scale: Fixed,
    y_zero: Value,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Value:
    """A convolution on scales; weights may have one for each channel."""
    found = conv_integer(
        x,
        w,
        x_zero,
        w_zero,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    ).tensor
    shape = (-1, *(1,) * (x.ndim - 2))
    found = found if b is None else found + b.reshape(shape)
    w_scale = w_scale.reshape(shape) if w_scale.ndim else w_scale
    return requantized(found, x_scale.double() * w_scale.double() / y_scale.double(), y_zero, x.ndim, 1)


OPERATORS: Final[Mapping[str, Any]] = {
    "DequantizeLinear": dequantize,
    "DynamicQuantizeLinear": dynamic,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "QuantizeLinear": quantize,
}
