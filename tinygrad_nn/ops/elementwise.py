"""Elementwise primitives of plain arithmetic: one block each, shapes equal, nothing broadcast here.

Gradient rules are Tensor operations, so they can be recorded and differentiated again. Kinks follow PyTorch:
relu'(0) = 0, abs'(0) = 0, maximum and minimum split a tie evenly, rounding has gradient zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import DivisionByZero, DTypeError, message
from ..graph.graph import NO_ATTRS, Arg, Case, DType, Op
from .lookup import Divisor
from .rules import (
    ANY,
    BOOL,
    DTYPES,
    FLOAT64,
    NUMBER,
    REAL,
    Rule,
    binary,
    check_kinds,
    pick,
    predicate,
    same_dtype,
    same_shape,
    unary,
)

AWAY_FROM_ZERO = Arg(0.3, 2.0)
SMALL_INT = Arg(-9, 9, dtype="int")
BITS = ("i", "b")
ZEROS = {dtype: np.zeros((), dtype) for dtype in DTYPES}  # an array costs NumPy half of what a Python number does


def zero(g: Any, *_: Any, **attrs: Any) -> Any:
    """The gradient of a piecewise constant function."""
    return g.new_zeros(g.shape)


# On bools + is or and * is and, as in NumPy and PyTorch.
ADD = binary(
    "add",
    numpy=np.add,
    vjp=(lambda g, out, x, y: g, lambda g, out, x, y: g),
    emit=lambda x, y: x | y if x.dtype == BOOL else x + y,
    kinds=ANY,
    linear=True,
    onnx=lambda to, x, y: to("Or" if x.dtype == BOOL else "Add", x, y),
    written="{} + {}",
)

SUB = binary(
    "sub",
    numpy=np.subtract,
    vjp=(lambda g, out, x, y: g, lambda g, out, x, y: -g),
    emit=lambda x, y: x - y,
    linear=True,
    onnx="Sub",
    written="{} - {}",
)

MUL = binary(
    "mul",
    numpy=np.multiply,
    vjp=(lambda g, out, x, y: g * y, lambda g, out, x, y: g * x),
    emit=lambda x, y: x & y if x.dtype == BOOL else x * y,
    kinds=ANY,
    onnx=lambda to, x, y: to("And" if x.dtype == BOOL else "Mul", x, y),
    written="{} · {}",
)

DIV = binary(
    "div",
    numpy=np.divide,
    vjp=(lambda g, out, x, y: g / y, lambda g, out, x, y: -g * out / y),
    emit=lambda x, y: x / y,
    args=(REAL, AWAY_FROM_ZERO),
    kinds=("f",),
    hint="the divisor reached 0: add a small eps",
    onnx="Div",
    written="{} / {}",
)

NEG = unary(
    "neg", np.negative, lambda g, out, x: -g, lambda x: -x, kinds=NUMBER, linear=True, onnx="Neg", written="-{}"
)

ABS = unary(
    "abs",
    np.abs,
    lambda g, out, x: g * x.sign(),
    lambda x: x.abs(),
    Arg(kinks=(0.0,)),
    kinds=NUMBER,
    onnx="Abs",
    written="|{}|",
)

# sign(NaN) is 0, as in PyTorch: a difference of two comparisons.
SIGN = unary(
    "sign",
    numpy=lambda x: np.subtract(np.greater(x, 0), np.less(x, 0), dtype=x.dtype),
    vjp=zero,
    emit=lambda x: (x > 0).to(x.dtype) - (x < 0).to(x.dtype),
    arg=Arg(kinks=(0.0,)),
    kinds=NUMBER,
    onnx=lambda to, x: to("Sub", *(to("Cast", to(sign, x, 0), to=x.dtype) for sign in ("Greater", "Less"))),
)

FLOOR = unary("floor", np.floor, zero, lambda x: x.floor(), Arg(kinks="integers"), onnx="Floor")
CEIL = unary("ceil", np.ceil, zero, lambda x: x.ceil(), Arg(kinks="integers"), onnx="Ceil")
TRUNC = unary(
    "trunc",
    np.trunc,
    zero,
    lambda x: x.trunc(),
    Arg(kinks="integers"),
    onnx=lambda to, x: to("Mul", to("Sign", x), to("Floor", to("Abs", x))),
)
ROUND = unary("round", np.rint, zero, lambda x: x.round(), Arg(kinks="halves"), onnx="Round")

# The gradient passes where out > 0 and, as in PyTorch, where the input is NaN.
RELU = unary(
    "relu",
    numpy=lambda x: np.maximum(x, ZEROS[x.dtype]),
    vjp=lambda g, out, x: g.masked_fill(out <= 0, 0),
    emit=lambda x: (x <= 0).where(0, x),  # 0 for -0.0, as NumPy's
    arg=Arg(kinks=(0.0,)),
    kinds=NUMBER,
    open_zero=True,
    onnx=lambda to, x: to("Relu", x) if x.dtype.kind == "f" else to("Max", x, 0),
    written="max({}, 0)",
)


def _larger(first: bool) -> Rule:
    """The share of maximum's gradient that one operand gets: all where it is larger, half in a tie."""

    def rule(g: Any, out: Any, x: Any, y: Any) -> Any:
        loses = x < y if first else y < x
        return (g * 0.5).where(x == y, g).masked_fill(loses, 0)

    return rule


def _smaller(first: bool) -> Rule:
    def rule(g: Any, out: Any, x: Any, y: Any) -> Any:
        loses = y < x if first else x < y
        return (g * 0.5).where(x == y, g).masked_fill(loses, 0)

    return rule


MAXIMUM = binary(
    "maximum",
    numpy=np.maximum,
    vjp=(_larger(True), _larger(False)),
    emit=lambda x, y: x.ne(x).where(x, (x > y).where(x, y)),
    args=(Arg(apart=True), Arg(apart=True)),
    kinds=ANY,
    open_zero=True,
    onnx=lambda to, x, y: to("Or" if x.dtype == BOOL else "Max", x, y),
    written="max({}, {})",
)

MINIMUM = binary(
    "minimum",
    numpy=np.minimum,
    vjp=(_smaller(True), _smaller(False)),
    emit=lambda x, y: x.ne(x).where(x, (x < y).where(x, y)),
    args=(Arg(apart=True), Arg(apart=True)),
    kinds=ANY,
    open_zero=True,
    onnx=lambda to, x, y: to("And" if x.dtype == BOOL else "Min", x, y),
    written="min({}, {})",
)

# x limited to [low, high], `high` where they cross. As in PyTorch the gradient passes at a bound, and a bound in force
# gets it; unlike there also where the bounds are equal.
CLAMP = Op(
    "clamp",
    "elementwise",
    shape=same_shape("clamp"),
    dtype=same_dtype("clamp", *ANY),
    numpy=lambda x, low, high: np.minimum(np.maximum(x, low), high),
    vjp=(
        lambda g, out, x, low, high: g.masked_fill(~((low <= x) & (x <= high)), 0),
        lambda g, out, x, low, high: g.masked_fill(~((x < low) & (low <= high)), 0),
        lambda g, out, x, low, high: g.masked_fill(~((high < x) | (high < low)), 0),
    ),
    emit=lambda x, low, high: MINIMUM.emit(MAXIMUM.emit(x, low), high),
    domain=(Case((Arg(apart=True), Arg(apart=True), Arg(apart=True))),),
    open_zero=True,
    onnx=lambda to, x, low, high: (
        to("And", to("Or", x, low), high) if x.dtype == BOOL else to("Min", to("Max", x, low), high)
    ),
)


def no_quotient(name: str, divisors: Any = None, where: Mapping[str, Any] = NO_ATTRS) -> DivisionByZero:
    """The error of an integer division, with the first 0 among its divisors."""
    values = np.array(0 if divisors is None else divisors)
    divisor = Divisor(name, values, tuple(np.argwhere(values == 0)[0].tolist()))
    places = [f"{what} {number}" for what, number in where.items()]
    places += [f"position {list(divisor.place)}"] if divisor.place else []
    error = DivisionByZero(divisor.text(f" at {', '.join(places)}" if places else ""))
    error.lookup = divisor
    return error


def _of_numbers(name: str, numpy: Rule) -> Rule:
    """A division as NumPy does it, but for integers by 0, which it answers with 0."""

    def divide(x: Any, y: Any) -> Any:
        value = numpy(x, y)
        if y.dtype.kind == "i" and value.size and not y.all():
            raise no_quotient(name, y)
        return value

    return divide


def _remainder(x: Any, y: Any) -> Any:
    """`fmod`, moved to the side of the divisor; a zero has its sign, too."""
    rest = x.rem(y)
    moved = ((rest < 0) ^ (y < 0)).where(rest + y, rest)
    if x.dtype.kind == "f":
        return rest.eq(0).where(rest.copysign(y), moved)
    return rest.eq(0).where(rest, moved)


def _floor_divide(x: Any, y: Any) -> Any:
    """The quotient rounded down; of floats from the exact remainder, as NumPy does, to agree with `_remainder`."""
    rest = x.rem(y)
    crosses = rest.ne(0) & ((rest < 0) ^ (y < 0))
    if x.dtype.kind == "i":
        quotient = x.quotient(y)
        return crosses.where(quotient - 1, quotient)
    quotient = (x - rest) / y
    quotient = crosses.where(quotient - 1, quotient)
    whole = quotient.floor()
    whole = (quotient - whole > 0.5).where(whole + 1, whole)
    return y.eq(0).where(x / y, quotient.eq(0).where(quotient.copysign(x / y), whole))


def _remainder_onnx(to: Any, x: Any, y: Any) -> Any:
    """ONNX has that of Python for integers, that of C for floats."""
    if x.dtype.kind == "i":
        return to("Mod", x, y)
    rest = to("Mod", x, y, fmod=1)
    moves = to("And", to("Xor", to("Less", rest, 0), to("Less", y, 0)), to("Not", to("Equal", rest, 0)))
    return to("Where", moves, to("Add", rest, y), rest)


def _floor_divide_onnx(to: Any, x: Any, y: Any) -> Any:
    if x.dtype.kind == "f":
        exact = to("Div", to("Sub", x, _remainder_onnx(to, x, y)), y)
        return to("Where", to("Equal", y, 0), to("Div", x, y), to("Round", exact))
    quotient = to("Div", x, y)  # without its fraction, which is one too much below 0
    rest = to("Not", to("Equal", to("Mul", quotient, y), x))
    return to("Sub", quotient, to("Cast", to("And", rest, to("Xor", to("Less", x, 0), to("Less", y, 0))), to=x.dtype))


# Remainder with the sign of the divisor (Python, `%`) and of the dividend (C, fmod).
REMAINDER = binary(
    "remainder",
    numpy=_of_numbers("remainder", np.remainder),
    vjp=(lambda g, out, x, y: g, lambda g, out, x, y: -g * (x // y)),
    emit=_remainder,
    args=(Arg(2.1, 2.9), Arg(0.8, 1.0)),
    divides=True,
    onnx=_remainder_onnx,
)

FMOD = binary(
    "fmod",
    numpy=_of_numbers("fmod", np.fmod),
    vjp=(lambda g, out, x, y: g, lambda g, out, x, y: -g * (x / y).trunc()),
    emit=lambda x, y: x.rem(y),
    args=(Arg(-2.9, -2.1), Arg(0.8, 1.0)),
    divides=True,
    onnx=lambda to, x, y: to("Mod", x, y, fmod=1),
)

FLOOR_DIVIDE = binary(
    "floor_divide",
    numpy=_of_numbers("floor_divide", np.floor_divide),
    vjp=(zero, zero),
    emit=_floor_divide,
    args=(Arg(2.1, 2.9), Arg(0.8, 1.0)),
    divides=True,
    onnx=_floor_divide_onnx,
)

EQ = predicate("eq", np.equal, lambda x, y: x.eq(y), onnx="Equal", written="{} = {}")
NE = predicate(
    "ne",
    np.not_equal,
    lambda x, y: x.ne(y),
    onnx=lambda to, x, y: to("Not", to("Equal", x, y)),
    written="{} ≠ {}",
)
LT = predicate(
    "lt",
    np.less,
    lambda x, y: ~x & y if x.dtype == BOOL else x < y,
    onnx=lambda to, x, y: to("And", to("Not", x), y) if x.dtype == BOOL else to("Less", x, y),
    written="{} < {}",
)
LE = predicate(
    "le",
    np.less_equal,
    lambda x, y: ~x | y if x.dtype == BOOL else x <= y,
    onnx=lambda to, x, y: to("Or", to("Not", x), y) if x.dtype == BOOL else to("LessOrEqual", x, y),
    written="{} ≤ {}",
)


def _bits(name: str, numpy: Rule, emit: Rule, arity: int = 2, kinds: tuple[str, ...] = BITS, **more: Any) -> Op:
    shape, dtype, case = same_shape(name), same_dtype(name, *kinds), Case((SMALL_INT,) * arity)
    return Op(name, "elementwise", shape, dtype, numpy, (None,) * arity, emit, (case,), **more)


def _of_bits(logical: str) -> Rule:
    """The operator of ONNX, which has one for truth and one for integers."""
    return lambda to, *xs: to(logical if xs[0].dtype == BOOL else f"Bitwise{logical}", *xs)


def _shift(numpy: Rule) -> Rule:
    """Shifts by a negative count or past the width are shifts by the whole width: zeros, or the sign for >>."""

    def meaning(x: Any, count: Any) -> Any:
        width = 8 * x.dtype.itemsize
        inside = (count >= 0) & (count < width)
        past = np.where(x < 0, -1, 0) if numpy is np.right_shift else 0
        return np.where(inside, numpy(x, np.where(inside, count, 0)), past).astype(x.dtype)

    return meaning


def _shift_onnx(direction: str) -> Rule:
    """ONNX shifts numbers without a sign: one that is below 0 is turned over before and after it goes right."""

    def rule(to: Any, x: Any, count: Any) -> Any:
        unsigned = np.dtype(f"uint{8 * x.dtype.itemsize}")
        width = 8 * x.dtype.itemsize
        inside = to("And", to("GreaterOrEqual", count, 0), to("Less", count, width))
        steps = to("Cast", to("Where", inside, count, 0), to=unsigned)
        past = to("Where", to("Less", x, 0), -1, 0) if direction == "RIGHT" else to("Sub", x, x)
        bits = to("Cast", to("BitwiseXor", x, past), to=unsigned)
        moved = to("Cast", to("BitShift", bits, steps, direction=direction), to=x.dtype)
        return to("Where", inside, to("BitwiseXor", moved, past), past)

    return rule


BITWISE_AND = _bits("bitwise_and", np.bitwise_and, lambda x, y: x & y, onnx=_of_bits("And"), written="{} ∧ {}")
BITWISE_OR = _bits("bitwise_or", np.bitwise_or, lambda x, y: x | y, onnx=_of_bits("Or"), written="{} ∨ {}")
BITWISE_XOR = _bits("bitwise_xor", np.bitwise_xor, lambda x, y: x ^ y, onnx=_of_bits("Xor"))
BITWISE_NOT = _bits("bitwise_not", np.invert, lambda x: ~x, arity=1, onnx=_of_bits("Not"), written="¬{}")
SHIFT_LEFT = _bits("shift_left", _shift(np.left_shift), lambda x, y: x << y, kinds=("i",), onnx=_shift_onnx("LEFT"))
SHIFT_RIGHT = _bits("shift_right", _shift(np.right_shift), lambda x, y: x >> y, kinds=("i",), onnx=_shift_onnx("RIGHT"))


def _where_onnx(to: Any, condition: Any, x: Any, y: Any) -> Any:
    if x.dtype != BOOL:
        return to("Where", condition, x, y)
    return to("Or", to("And", condition, x), to("And", to("Not", condition), y))


def _where_dtype(*dtypes: DType, **attrs: Any) -> DType:
    condition, *branches = dtypes
    if condition != BOOL:
        raise DTypeError(message("where", f"a condition of dtype {condition.name}", "bool", "compare first: x != 0"))
    check_kinds("where", tuple(branches), ANY)
    return branches[0]


WHERE = Op(
    "where",
    "elementwise",
    shape=same_shape("where"),
    dtype=_where_dtype,
    numpy=np.where,
    vjp=(
        None,
        lambda g, out, condition, x, y: g.masked_fill(~condition, 0),
        lambda g, out, condition, x, y: g.masked_fill(condition, 0),
    ),
    emit=lambda condition, x, y: condition.where(x, y),
    domain=(Case((Arg(dtype="bool"), REAL, REAL)),),
    onnx=_where_onnx,
)


def _cast(x: Any, dtype: DType) -> Any:
    """Float to integer truncates; NaN becomes 0 and what does not fit the nearest bound, on every machine alike."""
    if x.dtype.kind != "f" or dtype.kind != "i":
        return x.astype(dtype)
    bounds = np.iinfo(dtype)
    whole = np.nan_to_num(np.trunc(x), nan=0.0, posinf=np.inf, neginf=-np.inf)
    high, low = whole >= float(bounds.max), whole <= float(bounds.min)
    inside = np.where(high | low, 0, whole).astype(dtype)
    return np.where(high, bounds.max, np.where(low, bounds.min, inside)).astype(dtype)


def _cast_dtype(x: DType, dtype: DType) -> DType:
    if dtype not in DTYPES:
        raise DTypeError(message("cast", f"dtype {dtype}", "bool, int32, int64, float32 or float64"))
    return dtype


CAST = Op(
    "cast",
    "elementwise",
    shape=same_shape("cast"),
    dtype=_cast_dtype,
    numpy=_cast,
    vjp=(lambda g, out, x, dtype: g.to(x.dtype),),
    emit=lambda x, dtype: x.to(dtype),
    domain=(Case((REAL,), {"dtype": FLOAT64}),),
    linear=True,
    vary=lambda rng, x: Case((REAL,), {"dtype": pick(rng, DTYPES)}),
    quiet=True,
    onnx=lambda to, x, dtype: to("Cast", x, to=dtype),
)

OPS = (
    ADD, SUB, MUL, DIV, NEG, ABS, SIGN, FLOOR, CEIL, TRUNC, ROUND, RELU, MAXIMUM, MINIMUM, CLAMP, REMAINDER, FMOD,
    FLOOR_DIVIDE, EQ, NE, LT, LE, BITWISE_AND, BITWISE_OR, BITWISE_XOR, BITWISE_NOT, SHIFT_LEFT, SHIFT_RIGHT, WHERE,
    CAST, )  # fmt: skip
