"""Composites that cost one node in eager code: what is in nearly every net, computed and differentiated in one piece.

Each is defined by other primitives, in `composed`; whoever records (the compiler, drawings, checks) sees those. The
NumPy meaning computes the same in the same order, so that the values are equal to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np

from ..errors import ShapeError, message
from ..graph.graph import Arg, Case, DType, Op, Shape
from .contract import MATMUL
from .index import GATHER, GATHERED, SCATTER_ADD
from .lookup import Called
from .reduce import MAX, SUM
from .rules import FLOAT32, FLOAT64, check_index, check_kinds, of_sum, roundoff, same_dtype, same_shape, ulps

WIDE = Arg(-4.0, 4.0, shape=(3, 4))
LINES = (
    Case((WIDE,), {"axis": 1}),
    Case((WIDE,), {"axis": 0}),
    Case((Arg(shape=()),), {"axis": 0}),
    Case((Arg(shape=(3, 0)),), {"axis": 1}),
)


def _linear_shape(x: Shape, weight: Shape, bias: Shape) -> Shape:
    if len(x) != 2 or len(weight) != 2 or x[1] != weight[1] or bias != weight[:1]:
        raise ShapeError(message("linear", f"shapes {x}, {weight} and {bias}", "(n, in), (out, in) and (out,)"))
    return (x[0], weight[0])


def _linear(x: Any, weight: Any, bias: Any) -> Any:
    product = x.dot(weight.T)
    return np.add(product, bias, out=product)


def _linear_vjp(g: Any, out: Any, x: Any, weight: Any, bias: Any, wanted: Collection[int]) -> Mapping[int, Any]:
    """The cotangents are products again."""
    found = {}
    if 0 in wanted:
        found[0] = g.apply(MATMUL, weight, tx=False, ty=False)
    if 1 in wanted:
        found[1] = g.apply(MATMUL, x, tx=True, ty=False)
    if 2 in wanted:
        found[2] = g.apply(SUM, axis=(0,), keepdims=False)
    return found


# x @ weight.T + bias, for matrices.
LINEAR = Op(
    "linear",
    "composite",
    shape=_linear_shape,
    dtype=same_dtype("linear", "f"),
    numpy=_linear,
    vjp=_linear_vjp,
    composed=lambda x, weight, bias: x.apply(MATMUL, weight, tx=False, ty=True) + bias,
    domain=(
        Case((Arg(shape=(2, 3)), Arg(shape=(4, 3)), Arg(shape=(4,)))),
        Case((Arg(shape=(0, 3)), Arg(shape=(4, 3)), Arg(shape=(4,)))),
    ),
    error=of_sum(_linear, lambda x, weight, bias: x.shape[1] + 1),
    open_zero=True,
)


def _line(x: Any, axis: int) -> tuple[int, ...]:
    """The axis as an attribute of a reduction; a scalar is a line of its own."""
    return (axis,) if x.ndim else ()


def _below_top(x: Any, axis: int) -> Any:
    return x - MAX.numpy(x, axis=_line(x, axis), keepdims=True) if x.size else x.copy()


def _softmax(x: Any, axis: int) -> Any:
    powers = np.exp(_below_top(x, axis))
    return powers / SUM.numpy(powers, axis=_line(x, axis), keepdims=True)


def _composed_below_top(x: Any, axis: int) -> Any:
    return x - x._stopped().amax(axis, keepdim=True) if x.numel() else x


def _softmax_composed(x: Any, axis: int) -> Any:
    powers = _composed_below_top(x, axis).exp()
    return powers / powers.sum(axis, keepdim=True)


def _softmax_vjp(g: Any, out: Any, x: Any, axis: int) -> Any:
    inner = g * out
    return inner - out * inner.sum(axis, keepdim=True)


# exp(x) / sum(exp(x)) along one axis, without overflow: the largest element is taken off before.
SOFTMAX = Op(
    "softmax",
    "composite",
    shape=same_shape("softmax"),
    dtype=same_dtype("softmax", "f"),
    numpy=_softmax,
    vjp=(_softmax_vjp,),
    composed=_softmax_composed,
    domain=LINES,
    error=ulps(16),
)


def _log_softmax(x: Any, axis: int) -> Any:
    low = _below_top(x, axis)
    return low - np.log(SUM.numpy(np.exp(low), axis=_line(x, axis), keepdims=True))


def _log_softmax_composed(x: Any, axis: int) -> Any:
    low = _composed_below_top(x, axis)
    return low - low.exp().sum(axis, keepdim=True).log()


# log(softmax(x)), exact where softmax underflows.
LOG_SOFTMAX = Op(
    "log_softmax",
    "composite",
    shape=same_shape("log_softmax"),
    dtype=same_dtype("log_softmax", "f"),
    numpy=_log_softmax,
    vjp=(lambda g, out, x, axis: g - out.exp() * g.sum(axis, keepdim=True),),
    composed=_log_softmax_composed,
    domain=LINES,
    error=ulps(16),
)


def _entropy_shape(x: Shape, labels: Shape, called: Called = GATHERED) -> Shape:
    if len(x) != 2 or not x[1] or labels != (x[0], 1):
        raise ShapeError(message("label_entropy", f"scores {x} and labels {labels}", "(n, classes) and (n, 1)"))
    return labels


def _entropy_dtype(x: DType, labels: DType, called: Called = GATHERED) -> DType:
    check_kinds("label_entropy", (x,), ("f",))
    check_index("label_entropy", labels)
    return x


def _entropy(x: Any, labels: Any, called: Called = GATHERED) -> Any:
    low = _below_top(x, 1)
    picked = GATHER.numpy(low, labels, axis=1, called=called)
    return np.log(SUM.numpy(np.exp(low), axis=(1,), keepdims=True)) - picked


def _entropy_vjp(g: Any, out: Any, x: Any, labels: Any, called: Called = GATHERED) -> Any:
    """softmax(x) where no label is, one less where one is."""
    shares = g.apply(SCATTER_ADD, labels, axis=1, shape=x.shape, called=called)
    return x.apply(SOFTMAX, axis=1) * g - shares


def _entropy_composed(x: Any, labels: Any, called: Called = GATHERED) -> Any:
    low = _composed_below_top(x, 1)
    picked = low.apply(GATHER, labels, axis=1, called=called)
    return low.exp().sum(1, keepdim=True).log() - picked


# -log softmax(x)[label] of each row, as a column.
LABEL_ENTROPY = Op(
    "label_entropy",
    "composite",
    shape=_entropy_shape,
    dtype=_entropy_dtype,
    numpy=_entropy,
    vjp=(_entropy_vjp, None),
    composed=_entropy_composed,
    domain=(Case((WIDE, Arg(0, 4, dtype="int", shape=(3, 1)))),),
    error=ulps(16),
)


def _mean(x: Any, axis: tuple[int, ...]) -> Any:
    return SUM.numpy(x, axis=axis, keepdims=True) / float(_length(x.shape, axis))


def _length(shape: Shape, axis: tuple[int, ...]) -> int:
    return math.prod(shape[one] for one in axis)


def _standardized(x: Any, axis: tuple[int, ...], eps: float) -> Any:
    d = x - _mean(x, axis)
    return d / np.sqrt(_mean(d * d, axis) + eps)


def _deviation(x: Any, axis: tuple[int, ...], eps: float) -> tuple[Any, Any]:
    """The distance from the mean, and the root of its mean square."""
    d = x - x.mean(axis, keepdim=True)
    return d, ((d * d).mean(axis, keepdim=True) + eps).sqrt()


def _standardized_composed(x: Any, axis: tuple[int, ...], eps: float) -> Any:
    d, root = _deviation(x, axis, eps)
    return d / root


def _standardized_vjp(g: Any, out: Any, x: Any, axis: tuple[int, ...], eps: float) -> Any:
    along = out * (g * out).mean(axis, keepdim=True)
    return (g - g.mean(axis, keepdim=True) - along) / _deviation(x, axis, eps)[1]


def _standardized_error(out: Any, x: Any, axis: tuple[int, ...], eps: float) -> Any:
    """What sums in another order change of the mean, beside the deviation."""
    scale = np.abs(x).max(axis, keepdims=True, initial=0) / np.sqrt(_mean((x - _mean(x, axis)) ** 2, axis) + eps)
    return 2 * (_length(x.shape, axis) + 8) * roundoff(out) * (np.abs(out) + scale)


# (x - mean) / sqrt(variance + eps) over some axes: what layers, batches and groups are normalized by.
STANDARDIZED = Op(
    "standardized",
    "composite",
    shape=same_shape("standardized"),
    dtype=same_dtype("standardized", "f"),
    numpy=_standardized,
    vjp=(_standardized_vjp,),
    composed=_standardized_composed,
    domain=(
        Case((WIDE,), {"axis": (1,), "eps": 1e-5}),
        Case((WIDE,), {"axis": (0, 1), "eps": 1e-3}),
        Case((Arg(shape=(2, 3, 4)),), {"axis": (0, 2), "eps": 1e-5}),
    ),
    error=_standardized_error,
)


def _leaky_relu(x: Any, slope: float) -> Any:
    low = x * slope
    return np.maximum(x, low) if 0 < slope <= 1 else np.where(x > 0, x, low)


# x where it is positive, else slope * x.
LEAKY_RELU = Op(
    "leaky_relu",
    "composite",
    shape=same_shape("leaky_relu"),
    dtype=same_dtype("leaky_relu", "f"),
    numpy=_leaky_relu,
    vjp=(lambda g, out, x, slope: g.where(x > 0, g * slope),),
    composed=lambda x, slope: x.where(x > 0, x * slope),
    domain=tuple(Case((Arg(kinks=(0.0,)),), {"slope": slope}) for slope in (0.2, 0.0, -0.5)),
)


def _limited_log(x: Any) -> Any:
    return np.maximum(np.log(np.maximum(x, 0)), -100)


def _limited_log_composed(x: Any) -> Any:
    """max(log x, -100), with slope 0 at 0; NaN stays NaN."""
    zero = x <= 0
    return x.masked_fill(zero, 1.0).log().clamp(min=-100).masked_fill(zero, -100.0)


def _slope_of_log(x: Any) -> Any:
    """1 / x, and 0 where the logarithm is limited."""
    return x.masked_fill(x < _LEAST, math.inf).reciprocal()


_LEAST: Final = math.exp(-100)


def _probability_entropy_vjp(g: Any, out: Any, x: Any, target: Any, wanted: Collection[int]) -> Mapping[int, Any]:
    found = {}
    if 0 in wanted:
        found[0] = g * ((1 - target) * _slope_of_log(1 - x) - target * _slope_of_log(x))
    if 1 in wanted:
        found[1] = g * (_limited_log_composed(1 - x) - _limited_log_composed(x))
    return found


# -(t log x + (1 - t) log(1 - x)) of a probability x and its target t, with logarithms from -100 on.
PROBABILITY_ENTROPY = Op(
    "probability_entropy",
    "composite",
    shape=same_shape("probability_entropy"),
    dtype=same_dtype("probability_entropy", "f"),
    numpy=lambda x, target: -(target * _limited_log(x) + (1 - target) * _limited_log(1 - x)),
    vjp=_probability_entropy_vjp,
    composed=lambda x, t: -(t * _limited_log_composed(x) + (1 - t) * _limited_log_composed(1 - x)),
    domain=(Case((Arg(0.1, 0.9, shape=(3, 4)), Arg(0.1, 0.9, shape=(3, 4)))),),
    error=ulps(16),
)

def _fractions_shape(words: Shape, dtype: DType) -> Shape:
    if dtype == FLOAT64 and words[:1] != (2,):
        raise ShapeError(message("fractions", f"words of shape {words}", "two for each number, along axis 0"))
    return words if dtype == FLOAT32 else words[1:]


def _fractions_dtype(words: DType, dtype: DType) -> DType:
    check_kinds("fractions", (words,), ("i",))
    return dtype


def _fractions(words: Any, dtype: DType) -> Any:
    if dtype == FLOAT32:
        return ((words >> 8) & 0xFFFFFF).astype(FLOAT32) * 2.0**-24
    high, low = ((words[0] >> 5) & 0x7FFFFFF).astype(FLOAT64), ((words[1] >> 6) & 0x3FFFFFF).astype(FLOAT64)
    return (high * 2.0**26 + low) * 2.0**-53


def _fractions_composed(words: Any, dtype: DType) -> Any:
    if dtype == FLOAT32:
        return ((words >> 8) & 0xFFFFFF).to(FLOAT32) * 2.0**-24
    shape = words.shape[1:]
    high = ((words.narrow(0, 0, 1).reshape(shape) >> 5) & 0x7FFFFFF).to(FLOAT64)
    low = ((words.narrow(0, 1, 1).reshape(shape) >> 6) & 0x3FFFFFF).to(FLOAT64)
    return (high * 2.0**26 + low) * 2.0**-53


WORDS = Arg(-(2**31), 2**31, dtype="int", shape=(2, 3))

# Random words as numbers in [0, 1): multiples of 2 ** -24, or of 2 ** -53, which take two words each.
FRACTIONS = Op(
    "fractions",
    "composite",
    shape=_fractions_shape,
    dtype=_fractions_dtype,
    numpy=_fractions,
    vjp=(None,),
    composed=_fractions_composed,
    domain=(Case((WORDS,), {"dtype": FLOAT32}), Case((WORDS,), {"dtype": FLOAT64})),
)


def _gaussian_composed(pair: Any) -> Any:
    shape = pair.shape[1:]
    u, v = pair.narrow(0, 0, 1).reshape(shape), pair.narrow(0, 1, 1).reshape(shape)
    return ((1.0 - u).log() * -2.0).sqrt() * (v * (2.0 * math.pi)).cos()


def _gaussian(pair: Any) -> Any:
    return np.sqrt(np.log(1.0 - pair[0]) * -2.0) * np.cos(pair[1] * (2.0 * math.pi))


def _gaussian_shape(pair: Shape) -> Shape:
    if pair[:1] != (2,):
        raise ShapeError(message("gaussian", f"shape {pair}", "two numbers for each, along axis 0"))
    return pair[1:]


def _gaussian_error(out: Any, pair: Any) -> Any:
    """Of an angle, which is up to 2 pi, beside that of the result."""
    return 16 * roundoff(out) * (np.abs(out) + 2 * math.pi * np.sqrt(-2 * np.log(1 - pair[0])))


# Two numbers in [0, 1) as a normal one: Box and Muller (1958).
GAUSSIAN = Op(
    "gaussian",
    "composite",
    shape=_gaussian_shape,
    dtype=same_dtype("gaussian", "f"),
    numpy=_gaussian,
    vjp=(None,),
    composed=_gaussian_composed,
    domain=(Case((Arg(0.01, 0.99, shape=(2, 3)),)),),
    error=_gaussian_error,
)

OPS = (
    LINEAR,
    SOFTMAX,
    LOG_SOFTMAX,
    LABEL_ENTROPY,
    STANDARDIZED,
    LEAKY_RELU,
    PROBABILITY_ENTROPY,
    FRACTIONS,
    GAUSSIAN,
)
