"""Operators that sum products: matrix products, convolutions, and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from ... import functional as F
from ... import linalg
from ...ops.rules import INT32
from ...support.arrays import Array
from ...tensor import Tensor
from ...tensor.joining import cat
from ...tensor.joining import einsum as summed
from ..elements import INTEGER32
from .form import Fixed, Known, Value, bad, given, ints
from .images import sampled
from .shaping import padded

CONVOLUTIONS: Final = (F.conv1d, F.conv2d, F.conv3d)
TRANSPOSED: Final = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """A product of matrices, of stacks of them, or of vectors."""
    return a @ b


def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    broadcast: int = 0,
) -> Tensor:
    """alpha * A @ B + beta * C."""
    if a.ndim != 2 or b.ndim != 2:
        raise bad(f"shapes {a.shape} and {b.shape}", "two matrices")
    found = (a.T if transA else a) @ (b.T if transB else b)
    found = found if alpha == 1 else _scaled(found, alpha)
    return found if c is None else found + (c if beta == 1 else _scaled(c, beta))


def _scaled(x: Tensor, by: float) -> Tensor:
    return x * (by if x.dtype.kind == "f" else int(by))


def einsum(*operands: Tensor, equation: str) -> Tensor:
    """Sums of products by letters."""
    return summed(equation.replace(" ", ""), *operands)


def window(
    lengths: Sequence[int],
    kernel: Sequence[int],
    auto_pad: str,
    pads: Any,
    strides: Any,
    dilations: Any,
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Padding on both sides, steps and gaps of a window that moves over axes of these lengths."""
    rank = len(lengths)
    steps, gaps = list(strides or [1] * rank), list(dilations or [1] * rank)
    wide = list(pads or [0] * (2 * rank))
    if not len(steps) == len(gaps) == len(kernel) == rank or len(wide) != 2 * rank or min(steps + gaps, default=1) < 1:
        raise bad(f"strides {steps}, dilations {gaps}, pads {wide}, kernel {list(kernel)}", f"those of {rank} axes")
    sides = list(zip(wide[:rank], wide[rank:], strict=True))
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        sides = []
        for n, k, step, gap in zip(lengths, kernel, steps, gaps, strict=True):
            more = max((-(-n // step) - 1) * step + (k - 1) * gap + 1 - n, 0)
            sides.append((more // 2, more - more // 2) if auto_pad == "SAME_UPPER" else (more - more // 2, more // 2))
    elif auto_pad == "VALID":
        sides = [(0, 0)] * rank
    return sides, steps, gaps


def _axes(x: Tensor, w: Tensor) -> int:
    """How many axes a window moves over."""
    rank = x.ndim - 2
    if not 1 <= rank <= 3 or w.ndim != x.ndim:
        raise bad(f"shapes {x.shape} and {w.shape}", "one to three axes behind those of the batch and the channels")
    return rank


def conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Tensor:
    """A convolution over one to three axes."""
    rank = _axes(x, w)
    if kernel_shape is not None and tuple(kernel_shape) != w.shape[2:]:
        raise bad(f"kernel_shape {tuple(kernel_shape)} for weights {w.shape}", "their last axes")
    sides, steps, gaps = window(x.shape[2:], w.shape[2:], auto_pad, pads, strides, dilations)
    even = all(low == high and low >= 0 for low, high in sides)
    if not even:
        x = padded(x, {k + 2: side for k, side in enumerate(sides)})
    padding = [low for low, _ in sides] if even else [0] * rank
    return CONVOLUTIONS[rank - 1](x, w, b, steps, padding, gaps, group)


def conv_transpose(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    output_padding: Any = None,
    output_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Tensor:
    """The gradient of a convolution by its input. Padding takes from the result, output_padding adds at its end."""
    rank = _axes(x, w)
    sides, steps, gaps = window(x.shape[2:], w.shape[2:], "NOTSET", pads, strides, dilations)
    more = list(output_padding or [0] * rank)
    spans = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(x.shape[2:], steps, w.shape[2:], gaps, strict=True)]
    if output_shape is not None or auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = list(output_shape or [n * s for n, s in zip(x.shape[2:], steps, strict=True)])[-rank:]
        sides = []
        for span, extra, length in zip(spans, more, wanted, strict=True):
            gone = span + extra - length
            half = gone - gone // 2 if auto_pad != "SAME_UPPER" else gone // 2
            sides.append((half, gone - half))
    if all(low == high and low >= 0 for low, high in sides) and all(
        e < max(s, d) for e, s, d in zip(more, steps, gaps, strict=True)
    ):
        return TRANSPOSED[rank - 1](x, w, b, steps, [low for low, _ in sides], more, group, gaps)
    found = TRANSPOSED[rank - 1](x, w, None, steps, 0, 0, group, gaps)
    ends = [(-low, extra - high) for (low, high), extra in zip(sides, more, strict=True)]
    found = padded(found, {k + 2: side for k, side in enumerate(ends)})
    return found if b is None else found + b.reshape(-1, *(1,) * rank)


def deform_conv(
    x: Tensor,
    w: Tensor,
    offset: Tensor,
    b: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    offset_group: int = 1,
    pads: Any = None,
    strides: Any = None,
) -> Tensor:
    """Zhu et al. 2019: a convolution whose window is moved, place by place, in an image."""
    n, channels, height, width = x.shape
    kernel = w.shape[2:]
    sides, steps, gaps = window(x.shape[2:], kernel, "NOTSET", pads, strides, dilations)
    rows, columns = offset.shape[2:]
    count = prod(kernel)
    moved = offset.reshape(n, offset_group, count, 2, rows, columns)
    base = []
    for axis, (out, along) in enumerate(zip((rows, columns), kernel, strict=True)):
        taps = np.arange(along) * gaps[axis]
        tap = np.repeat(taps, kernel[1]) if axis == 0 else np.tile(taps, kernel[0])
        place = np.arange(out) * steps[axis] - sides[axis][0]
        place = place[:, None] if axis == 0 else place[None, :]
        base.append(given((tap[:, None, None] + place).astype(x.dtype)))
    points = [(moved[:, :, :, k] + base[k]).reshape(n * offset_group, -1) for k in range(2)]
    found = sampled(x.reshape(n * offset_group, channels // offset_group, height, width), points)
    found = found.reshape(n, offset_group, channels // offset_group, count, rows, columns)
    if mask is not None:
        found = found * mask.reshape(n, offset_group, 1, count, rows, columns)
    found = found.reshape(n, group, channels // group * count, rows * columns)
    weights = w.reshape(group, w.shape[0] // group, -1)
    result = (weights @ found).reshape(n, w.shape[0], rows, columns)
    return result if b is None else result + b.reshape(-1, 1, 1)


def causal_conv(
    x: Tensor, w: Tensor, b: Tensor | None = None, past: Tensor | None = None, *, activation: str = "none"
) -> tuple[Tensor, Tensor]:
    """A convolution of each channel by itself that reads the past alone; the last entries are the state."""
    width = w.shape[-1] - 1
    begin = x.new_zeros((*x.shape[:2], width)) if past is None else past
    whole = cat([begin, x], -1)
    found = F.conv1d(whole, w, b, groups=x.shape[1])
    if activation in ("silu", "swish"):
        found = F.silu(found)
    elif activation != "none":
        raise bad(f"activation {activation}", "none, silu or swish")
    return found, whole.narrow(-1, whole.shape[-1] - width, width)


def det(x: Tensor) -> Tensor:
    """The determinant of matrices."""
    return linalg.det(x)


def col2im(
    x: Tensor, image_shape: Known, block_shape: Known, *, dilations: Any = None, pads: Any = None, strides: Any = None
) -> Tensor:
    """Blocks summed where they lie in an image of any number of axes."""
    image, block = ints(image_shape), ints(block_shape)
    sides, steps, gaps = window(image, block, "NOTSET", pads, strides, dilations)
    n, channels = x.shape[0], x.shape[1] // prod(block)
    wide = [length + low + high for length, (low, high) in zip(image, sides, strict=True)]
    at: Array = np.zeros((), np.int64)
    for length, k, step, gap in zip(wide, block, steps, gaps, strict=True):
        places = np.arange(k)[:, None] * gap + np.arange(0, length - gap * (k - 1), step)[None, :]
        at = at[..., None, None] * length + places
    rank = len(image)
    at = at.transpose(*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)).reshape(-1)
    flat = x.reshape(n, channels, -1)
    index = given(at).broadcast_to(flat.shape)
    found = flat.new_zeros((n, channels, prod(wide))).scatter_add(2, index, flat).reshape(n, channels, *wide)
    return padded(found, {k + 2: (-low, -high) for k, (low, high) in enumerate(sides)})


def conv_integer(
    x: Tensor,
    w: Tensor,
    x_zero: Fixed | None = None,
    w_zero: Fixed | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Value:
    """A convolution of integers, without rounding."""
    x = x if x_zero is None else x - x_zero
    if w_zero is not None:
        w = w - w_zero.reshape(-1, *(1,) * (w.ndim - 1)) if w_zero.ndim else w - w_zero
    found = conv(
        x.double(),
        w.double(),
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    return Value(found.to(INT32), INTEGER32)


def matmul_integer(a: Tensor, b: Tensor, a_zero: Fixed | None = None, b_zero: Fixed | None = None) -> Value:
    """A product of matrices of integers, without rounding."""
    a = a if a_zero is None else a - (a_zero.unsqueeze(-1) if a_zero.ndim == 1 and a_zero.shape[0] > 1 else a_zero)
    b = b if b_zero is None else b - b_zero
    return Value((a.double() @ b.double()).to(INT32), INTEGER32)


OPERATORS: Final[Mapping[str, Any]] = {
    "CausalConvWithState": causal_conv,
    "Col2Im": col2im,
    "Conv": conv,
    "ConvInteger": conv_integer,
    "ConvTranspose": conv_transpose,
    "DeformConv": deform_conv,
    "Det": det,
    "Einsum": einsum,
    "Gemm": gemm,
    "MatMul": matmul,
    "MatMulInteger": matmul_integer,
}
