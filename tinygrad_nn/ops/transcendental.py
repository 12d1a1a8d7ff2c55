"""Elementwise primitives of analysis: exp, log, trigonometry, error function. One block each.

A rule reads the saved output where that is cheaper than computing again (exp, sqrt, tanh, sigmoid). The scalar forms
are range reduction and polynomial in `libm`, so compiled code vectorises; NumPy's own functions are the eager meaning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.graph import Arg, Op
from ..graph.scalar import const
from . import libm
from .libm.error import TABLES
from .rules import FLOAT32, REAL, Rule, binary, ulps, unary

POSITIVE = Arg(0.3, 3.0)
INSIDE_ONE = Arg(-0.9, 0.9)
ERROR = ulps(4)  # 2 for ours, 2 for NumPy's
PERIODIC = 2.0**48  # what `libm` reduces an angle to a period from
TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)


def _elementwise(function: Rule) -> Rule:
    """A scalar function of `math` as an array function: NumPy has no error function."""
    ufunc = np.frompyfunc(function, 1, 1)

    def meaning(x: Any) -> Any:
        return np.asarray(ufunc(x), dtype=x.dtype)

    return meaning


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))  # of a magnitude, so that it cannot overflow where the result is tiny
    return np.where(x < 0, e, x.dtype.type(1)) / (e + x.dtype.type(1))


def _unary(name: str, numpy: Rule, vjp: Rule, emit: Rule, arg: Arg = REAL, **more: Any) -> Op:
    return unary(name, numpy, vjp, emit, arg, error=ERROR, **more)


def _logarithm(name: str, numpy: Rule, base: int, emit: Rule) -> Op:
    return _unary(
        name,
        numpy,
        lambda g, out, x: g / (x * math.log(base)),
        emit,
        POSITIVE,
        onnx=lambda to, x: to("Div", to("Log", x), math.log(base)),
    )


def _expm1_onnx(to: Any, x: Any) -> Any:
    """Near 0 by 2 t / (1 - t), t being tanh(x / 2), which loses no digits there."""
    t = to("Tanh", to("Mul", x, 0.5))
    near = to("Div", to("Add", t, t), to("Sub", 1, t))
    return to("Where", to("Less", to("Abs", x), 1), near, to("Sub", to("Exp", x), 1))


def _log1p_onnx(to: Any, x: Any) -> Any:
    """log(u) x / (u - 1), u being 1 + x as rounded: Kahan's. It is x where u is 1, and log(u) where x is large."""
    u = to("Add", x, 1)
    rest = to("Sub", u, 1)
    safe = to("Where", to("Equal", rest, 0), to("Add", to("Abs", x), 1), rest)
    near = to("Where", to("Equal", rest, 0), x, to("Mul", to("Log", u), to("Div", x, safe)))
    return to("Where", to("Less", x, 1), near, to("Log", u))


def _polynomial_onnx(to: Any, x: Any, coefficients: Sequence[float]) -> Any:
    found: Any = coefficients[-1]
    for one in reversed(coefficients[:-1]):
        found = to("Add", to("Mul", found, x), one)
    return found


def _erf_onnx(to: Any, x: Any) -> Any:
    """onnxruntime has no Erf of float64; `libm.error` says what this one is."""
    if x.dtype == FLOAT32:
        return to("Erf", x)
    t, m = TABLES[x.dtype], to("Abs", x)
    near = to("Add", x, to("Mul", x, _polynomial_onnx(to, to("Mul", x, x), t.small)))
    far = to("Sub", 1, to("Exp", _polynomial_onnx(to, to("Min", m, t.one), t.log_erfc)))
    return to("Where", to("Less", m, 1), near, to("Mul", to("Sign", x), far))


def _erfc_onnx(to: Any, x: Any) -> Any:
    """As `libm.error` has it: 1 - erf(x) would lose its digits where it is small."""
    t = TABLES[x.dtype]
    m = to("Min", to("Abs", x), t.zero)
    v = to("Div", to("Add", m, m), to("Add", m, t.middle))
    middle = to("Add", to("Mul", v, _polynomial_onnx(to, to("Sub", v, 1), t.tail)), 1)
    tail = to("Div", middle, to("Add", to("Add", m, m), 1))
    value = to("Mul", to("Exp", to("Neg", to("Mul", m, m))), tail)
    return to("Where", to("Less", x, 0), to("Sub", 2, value), value)


def _tan_onnx(to: Any, x: Any) -> Any:
    return to("Tan", x) if x.dtype == FLOAT32 else to("Div", to("Sin", x), to("Cos", x))


def _sinh_onnx(to: Any, x: Any) -> Any:
    if x.dtype == FLOAT32:
        return to("Sinh", x)
    below = x._replace(name=to("Neg", x))
    return to("Mul", to("Sub", _expm1_onnx(to, x), _expm1_onnx(to, below)), 0.5)


def _cosh_onnx(to: Any, x: Any) -> Any:
    return to("Cosh", x) if x.dtype == FLOAT32 else to("Mul", to("Add", to("Exp", x), to("Exp", to("Neg", x))), 0.5)


SQRT = unary(
    "sqrt",
    np.sqrt,
    lambda g, out, x: g / (out * 2),
    lambda x: x.sqrt(),
    POSITIVE,
    hint="the operand is negative, or 0 where the slope is infinite: add a small eps inside",
    onnx="Sqrt",
    written="√{}",
)
EXP = _unary(
    "exp",
    np.exp,
    lambda g, out, x: g * out,
    libm.exp,
    hint="the operand is too large: subtract the maximum first, as logsumexp does",
    onnx="Exp",
)
EXP2 = _unary("exp2", np.exp2, lambda g, out, x: g * (out * math.log(2)), libm.exp2, onnx=lambda to, x: to("Pow", 2, x))
EXPM1 = _unary("expm1", np.expm1, lambda g, out, x: g * (out + 1), libm.expm1, onnx=_expm1_onnx)
LOG = _unary(
    "log",
    np.log,
    lambda g, out, x: g / x,
    libm.log,
    POSITIVE,
    hint="the operand reached 0 or below: clamp it, or work with log_softmax / logsigmoid",
    onnx="Log",
)
LOG2 = _logarithm("log2", np.log2, 2, libm.log2)
LOG10 = _logarithm("log10", np.log10, 10, libm.log10)
LOG1P = _unary("log1p", np.log1p, lambda g, out, x: g / (x + 1), libm.log1p, Arg(-0.7, 3.0), onnx=_log1p_onnx)
SIN = _unary("sin", np.sin, lambda g, out, x: g * x.cos(), libm.sin, limit=PERIODIC, onnx="Sin")
COS = _unary("cos", np.cos, lambda g, out, x: -g * x.sin(), libm.cos, limit=PERIODIC, onnx="Cos")
TAN = _unary(
    "tan", np.tan, lambda g, out, x: g * (out * out + 1), libm.tan, Arg(-1.2, 1.2), limit=PERIODIC, onnx=_tan_onnx
)
ASIN = _unary("asin", np.arcsin, lambda g, out, x: g * (1 - x * x).rsqrt(), libm.asin, INSIDE_ONE, onnx="Asin")
ACOS = _unary("acos", np.arccos, lambda g, out, x: -g * (1 - x * x).rsqrt(), libm.acos, INSIDE_ONE, onnx="Acos")
ATAN = _unary("atan", np.arctan, lambda g, out, x: g / (x * x + 1), libm.atan, onnx="Atan")
SINH = _unary("sinh", np.sinh, lambda g, out, x: g * x.cosh(), libm.sinh, onnx=_sinh_onnx)
COSH = _unary("cosh", np.cosh, lambda g, out, x: g * x.sinh(), libm.cosh, onnx=_cosh_onnx)
TANH = _unary("tanh", np.tanh, lambda g, out, x: g * (1 - out * out), libm.tanh, onnx="Tanh")
ASINH = _unary("asinh", np.arcsinh, lambda g, out, x: g * (x * x + 1).rsqrt(), libm.asinh, onnx="Asinh")
ACOSH = _unary("acosh", np.arccosh, lambda g, out, x: g * (x * x - 1).rsqrt(), libm.acosh, Arg(1.3, 3.0), onnx="Acosh")
ATANH = _unary("atanh", np.arctanh, lambda g, out, x: g / (1 - x * x), libm.atanh, INSIDE_ONE, onnx="Atanh")
SIGMOID = _unary("sigmoid", _sigmoid, lambda g, out, x: g * (out * (1 - out)), libm.sigmoid, onnx="Sigmoid")
ERF = _unary(
    "erf", _elementwise(math.erf), lambda g, out, x: g * ((-x * x).exp() * TWO_OVER_SQRT_PI), libm.erf, onnx=_erf_onnx
)
ERFC = _unary(
    "erfc",
    _elementwise(math.erfc),
    lambda g, out, x: g * ((-x * x).exp() * -TWO_OVER_SQRT_PI),
    libm.erfc,
    onnx=_erfc_onnx,
)


def _pow(x: Any, y: Any) -> Any:
    """Integers to a negative power: 1 / x ** n without its fraction, as in PyTorch; 0 for x = 0."""
    if x.dtype.kind == "f":
        return np.power(x, y)
    negative = y < 0
    inverse = np.where(x == 1, 1, np.where(x == -1, 1 - 2 * (y & 1), 0))
    return np.where(negative, inverse, np.power(x, np.where(negative, 0, y))).astype(x.dtype)


def _pow_expr(x: Any, y: Any) -> Any:
    """Integers by repeated squaring over the bits of the exponent."""
    if x.dtype.kind == "f":
        return libm.pow(x, y)
    square, power = x, const(1, x.dtype)
    for bit in range(8 * x.dtype.itemsize - 1):
        power = ((y >> bit) & 1).eq(1).where(power * square, power)
        square = square * square
    inverse = x.eq(1).where(1, x.eq(-1).where(1 - (y & 1) * 2, 0))
    return (y < 0).where(inverse, power)


def _pow_onnx(to: Any, x: Any, y: Any) -> Any:
    """Integers by repeated squaring, from the highest bit of the exponent down: ONNX's may go by floats."""
    if x.dtype.kind == "f":
        return to("Pow", x, y)
    two = 2 ** np.arange(8 * x.dtype.itemsize - 2, -1, -1, dtype=x.dtype)
    bits = x._replace(name=to("Identity", two), shape=two.shape)

    def step(to: Any, power: Any, bit: Any) -> Any:
        square = to("Mul", power, power)
        is_set = to("Equal", to("Mod", to("Div", y, bit), 2), 1)
        return to("Where", is_set, to("Mul", square, x), square)

    power = to.scan(step, to.filled(1, x.shape, x.dtype), bits)[0]
    odd = to("Sub", 1, to("Mul", to("Mod", y, 2), 2))
    inverse = to("Where", to("Equal", x, 1), 1, to("Where", to("Equal", x, -1), odd, 0))
    return to("Where", to("Less", y, 0), inverse, power)


# x ** 0 is constant in x, and 0 ** y in y >= 0: without the two masks 0 * inf would make NaN of a gradient that is 0.
POW = binary(
    "pow",
    numpy=_pow,
    vjp=(
        lambda g, out, x, y: (g * (y * x ** (y - 1))).masked_fill(y == 0, 0),
        lambda g, out, x, y: (g * (out * x.log())).masked_fill((x == 0) & (y >= 0), 0),
    ),
    emit=_pow_expr,
    args=(POSITIVE, REAL),
    error=ERROR,
    hint="a base of 0 or below, or a result too large",
    onnx=_pow_onnx,
    written="{} ^ {}",
)


def _over_square(g: Any, y: Any, x: Any) -> Any:
    """g / (x * x + y * y), and 0 at the origin, which has no angle."""
    return (g / (x * x + y * y)).masked_fill((x == 0) & (y == 0), 0)


def _atan2_onnx(to: Any, y: Any, x: Any) -> Any:
    """The angle within an eighth of the circle, turned to where the point is. 1 / z tells -0.0 from the other zero."""

    def below(z: Any) -> Any:
        return to("Or", to("Less", z, 0), to("And", to("Equal", z, 0), to("Less", to("Div", 1, z), 0)))

    across, along = to("Abs", x), to("Abs", y)
    steep = to("Greater", along, across)
    short, long = to("Min", across, along), to("Max", across, along)
    share = to("Where", to("Equal", short, long), to("Where", to("Equal", long, 0), 0, 1), to("Div", short, long))
    angle = to("Atan", share)
    angle = to("Where", steep, to("Sub", math.pi / 2, angle), angle)
    angle = to("Where", below(x), to("Sub", math.pi, angle), angle)
    return to("Where", below(y), to("Neg", angle), angle)


ATAN2 = binary(
    "atan2",
    numpy=np.arctan2,
    vjp=(lambda g, out, y, x: _over_square(g * x, y, x), lambda g, out, y, x: _over_square(-g * y, y, x)),
    emit=libm.atan2,
    args=(POSITIVE, POSITIVE),
    kinds=("f",),
    error=ERROR,
    onnx=_atan2_onnx,
)


def _logaddexp(x: Any, y: Any) -> Any:
    """The larger plus log1p(exp(-distance)), the distance of equal infinities being 0."""
    distance = x.eq(y).where(0, (x - y).abs())
    return (x > y).where(x, y) + libm.log1p(libm.exp(-distance))


def _logaddexp_onnx(to: Any, x: Any, y: Any) -> Any:
    distance = to("Where", to("Equal", x, y), 0, to("Abs", to("Sub", x, y)))
    return to("Add", to("Max", x, y), _log1p_onnx(to, to("Exp", to("Neg", distance))))


# A primitive because its composite has a kink where x = y: softplus and logsigmoid are built on it, and a model that
# starts at 0 needs their second derivative there.
LOGADDEXP = binary(
    "logaddexp",
    numpy=np.logaddexp,
    vjp=(lambda g, out, x, y: g * (x - y).sigmoid(), lambda g, out, x, y: g * (y - x).sigmoid()),
    emit=_logaddexp,
    kinds=("f",),
    error=lambda out, x, y: np.maximum(ERROR(out), ERROR(np.minimum(np.maximum(np.abs(x), np.abs(y)), 1))),
    onnx=_logaddexp_onnx,
)

OPS = (
    SQRT, EXP, EXP2, EXPM1, LOG, LOG2, LOG10, LOG1P, SIN, COS, TAN, ASIN, ACOS, ATAN, SINH, COSH, TANH, ASINH, ACOSH,
    ATANH, SIGMOID, ERF, ERFC, POW, ATAN2, LOGADDEXP,
)  # fmt: skip
