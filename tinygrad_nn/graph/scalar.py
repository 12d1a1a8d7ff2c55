"""Scalar expressions: the arithmetic one lane of a loop performs, as an immutable graph.

The `emit` rule of an op builds one from its operands; `libm` builds the elementary functions from nothing else.
`OPERATIONS` is the whole language, and its NumPy meaning the reference for every executor.

Invariants
- Operands of an operation have one dtype (`where` has a bool first); nothing is converted silently except Python and
  NumPy numbers, which take the dtype of the other operand.
- Every operation has a result for every input, so no lane can trap: see `OPERATIONS`.
- Each floating-point operation is rounded once, to its own dtype. `fma` is explicit and rounded once; `muladd` is so
  where the machine has such a step, and there alone. Nothing else may be fused.
- Equality and hash are identity; a comparison makes an expression. Walks are loops, never recursion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, SupportsFloat

import numpy as np

from ..errors import DTypeError, message
from .fused import fma

DType = np.dtype[Any]
Number = SupportsFloat
BOOL: Final[DType] = np.dtype(np.bool_)
INT32: Final[DType] = np.dtype(np.int32)
INT64: Final[DType] = np.dtype(np.int64)
FLOAT32: Final[DType] = np.dtype(np.float32)
FLOAT64: Final[DType] = np.dtype(np.float64)
DTYPES: Final = (BOOL, INT32, INT64, FLOAT32, FLOAT64)

_SAME_BITS: Final = {FLOAT32: INT32, FLOAT64: INT64, INT32: FLOAT32, INT64: FLOAT64}


# Dtype rules: (*operand dtypes) -> result dtype, or None where the operands do not fit.


def _same(kinds: str) -> Callable[..., DType | None]:
    return lambda *dtypes: dtypes[0] if len(set(dtypes)) == 1 and dtypes[0].kind in kinds else None


def _compare(first: DType, second: DType) -> DType | None:
    return BOOL if first == second else None


def _select(condition: DType, yes: DType, no: DType) -> DType | None:
    return yes if condition == BOOL and yes == no else None


def _to(dtype: DType) -> Callable[[DType], DType | None]:
    return lambda source: dtype


def _reinterpret(kind: str) -> Callable[[DType], DType | None]:
    return lambda source: _SAME_BITS[source] if source.kind == kind else None


# Meanings, where NumPy's own function is not defined everywhere.


def _shift(numpy: Callable[..., Any], past: Callable[[Any], Any]) -> Callable[..., Any]:
    def meaning(x: Any, count: Any) -> Any:
        inside = (count >= 0) & (count < 8 * x.dtype.itemsize)
        return np.where(inside, numpy(x, np.where(inside, count, 0)), past(x)).astype(x.dtype)

    return meaning


def _quotient(x: Any, y: Any) -> Any:
    divisor = np.where((y == 0) | (y == -1), 1, y).astype(y.dtype)
    quotient = (x - np.fmod(x, divisor)) // divisor
    return np.where(y == 0, 0, np.where(y == -1, np.negative(x), quotient)).astype(x.dtype)


def _rem(x: Any, y: Any) -> Any:
    if x.dtype.kind == "f":
        return np.fmod(x, y)
    return np.fmod(x, np.where((y == 0) | (y == -1), 1, y).astype(y.dtype))


def _cast(dtype: DType) -> Callable[[Any], Any]:
    def meaning(x: Any) -> Any:
        if x.dtype.kind != "f" or dtype.kind != "i":
            return x.astype(dtype)
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        inside = (x >= float(low)) & (x < -float(low))
        return np.select([inside, x < 0, x > 0], [np.where(inside, x, 0).astype(dtype), low, high], 0).astype(dtype)

    return meaning


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: number of operands, dtype rule and NumPy meaning."""

    arity: int
    dtype: Callable[..., DType | None]
    numpy: Callable[..., Any]


OPERATIONS: Final[Mapping[str, Operation]] = {
    # Integers wrap around; float division follows IEEE 754.
    "add": Operation(2, _same("fi"), np.add),
    "sub": Operation(2, _same("fi"), np.subtract),
    "mul": Operation(2, _same("fi"), np.multiply),
    "div": Operation(2, _same("f"), np.divide),
    "neg": Operation(1, _same("fi"), np.negative),
    "abs": Operation(1, _same("fi"), np.abs),
    # Integer division truncates; by zero, quotient and remainder are 0; of the smallest by -1, the smallest and 0.
    # The remainder of floats is exact (C's fmod).
    "quotient": Operation(2, _same("i"), _quotient),
    "rem": Operation(2, _same("fi"), _rem),
    "fma": Operation(3, _same("f"), fma),
    "muladd": Operation(3, _same("f"), fma),  # without such a step, the product is rounded too: a sum of a product
    "sqrt": Operation(1, _same("f"), np.sqrt),
    "copysign": Operation(2, _same("f"), np.copysign),
    "floor": Operation(1, _same("f"), np.floor),
    "ceil": Operation(1, _same("f"), np.ceil),
    "trunc": Operation(1, _same("f"), np.trunc),
    "round": Operation(1, _same("f"), np.rint),  # half to even
    "lt": Operation(2, _compare, np.less),
    "le": Operation(2, _compare, np.less_equal),
    "eq": Operation(2, _compare, np.equal),
    "ne": Operation(2, _compare, np.not_equal),
    "where": Operation(3, _select, np.where),
    "and": Operation(2, _same("ib"), np.bitwise_and),
    "or": Operation(2, _same("ib"), np.bitwise_or),
    "xor": Operation(2, _same("ib"), np.bitwise_xor),
    "not": Operation(1, _same("ib"), np.invert),
    # A negative count, or one past the width, shifts everything out: 0 to the left, copies of the sign to the right.
    "shl": Operation(2, _same("i"), _shift(np.left_shift, np.zeros_like)),
    "shr": Operation(2, _same("i"), _shift(np.right_shift, lambda x: np.where(x < 0, -1, 0))),
    # The bit pattern of a float as the integer of its width, and back.
    "bits": Operation(1, _reinterpret("f"), lambda x: x.view(_SAME_BITS[x.dtype])),
    "from_bits": Operation(1, _reinterpret("i"), lambda x: x.view(_SAME_BITS[x.dtype])),
    # Conversions are named after their result. Float to integer truncates and saturates, NaN gives 0; int64 to int32
    # wraps around; anything but zero is True.
    **{dtype.name: Operation(1, _to(dtype), _cast(dtype)) for dtype in DTYPES},
}


class Expr:
    """One scalar value: an operation on other expressions, a constant (`op` "const") or a parameter ("param").

    `value` is the number of a constant, as a NumPy scalar of its dtype, and the name or index of a parameter.

    >>> x = param("x", FLOAT64)
    >>> print((x < 0).where(0, x.fma(2, 1)))
    where(x < 0.0, 0.0, fma(x, 2.0, 1.0))
    """

    __slots__ = ("args", "dtype", "op", "value")

    def __init__(self, op: str, args: tuple[Expr, ...], dtype: DType, value: Any = None) -> None:
        self.op: Final = op
        self.args: Final = args
        self.dtype: Final = dtype
        self.value: Final = value

    def __add__(self, other: Expr | Number) -> Expr:
        return _apply("add", self, other)

    def __radd__(self, other: Number) -> Expr:
        return _apply("add", other, self)

    def __sub__(self, other: Expr | Number) -> Expr:
        return _apply("sub", self, other)

    def __rsub__(self, other: Number) -> Expr:
        return _apply("sub", other, self)

    def __mul__(self, other: Expr | Number) -> Expr:
        return _apply("mul", self, other)

    def __rmul__(self, other: Number) -> Expr:
        return _apply("mul", other, self)

    def __truediv__(self, other: Expr | Number) -> Expr:
        return _apply("div", self, other)

    def __rtruediv__(self, other: Number) -> Expr:
        return _apply("div", other, self)

    def __neg__(self) -> Expr:
        return _apply("neg", self)

    def abs(self) -> Expr:
        """The magnitude."""
        return _apply("abs", self)

    __abs__ = abs

    def quotient(self, other: Expr | Number) -> Expr:
        """Integer division towards zero; 0 where `other` is 0."""
        return _apply("quotient", self, other)

    def rem(self, other: Expr | Number) -> Expr:
        """What `quotient` leaves, with the sign of `self`; where `other` is 0, an integer gives 0 and a float NaN."""
        return _apply("rem", self, other)

    def fma(self, factor: Expr | Number, term: Expr | Number) -> Expr:
        """`self * factor + term`, rounded once."""
        return _apply("fma", self, factor, term)

    def muladd(self, factor: Expr | Number, term: Expr | Number) -> Expr:
        """`self * factor + term`, rounded once where that costs nothing: whoever asks is content with two roundings."""
        return _apply("muladd", self, factor, term)

    def sqrt(self) -> Expr:
        """Square root."""
        return _apply("sqrt", self)

    def copysign(self, sign: Expr | Number) -> Expr:
        """The magnitude of `self` with the sign of `sign`."""
        return _apply("copysign", self, sign)

    def floor(self) -> Expr:
        """The largest whole number not above."""
        return _apply("floor", self)

    def ceil(self) -> Expr:
        """The smallest whole number not below."""
        return _apply("ceil", self)

    def trunc(self) -> Expr:
        """The whole number toward zero."""
        return _apply("trunc", self)

    def round(self) -> Expr:
        """The nearest whole number; halves go to the even one."""
        return _apply("round", self)

    def __lt__(self, other: Expr | Number) -> Expr:
        return _apply("lt", self, other)

    def __le__(self, other: Expr | Number) -> Expr:
        return _apply("le", self, other)

    def __gt__(self, other: Expr | Number) -> Expr:
        return _apply("lt", other, self)

    def __ge__(self, other: Expr | Number) -> Expr:
        return _apply("le", other, self)

    def eq(self, other: Expr | Number) -> Expr:
        """Whether both are equal."""
        return _apply("eq", self, other)

    def ne(self, other: Expr | Number) -> Expr:
        """Whether the two differ. `x.ne(x)` asks whether x is NaN."""
        return _apply("ne", self, other)

    def where(self, yes: Expr | Number, no: Expr | Number) -> Expr:
        """`yes` where this condition holds, else `no`; both are computed."""
        return _apply("where", self, yes, no)

    def __and__(self, other: Expr | Number) -> Expr:
        return _apply("and", self, other)

    def __or__(self, other: Expr | Number) -> Expr:
        return _apply("or", self, other)

    def __xor__(self, other: Expr | Number) -> Expr:
        return _apply("xor", self, other)

    def __invert__(self) -> Expr:
        return _apply("not", self)

    def __lshift__(self, count: Expr | Number) -> Expr:
        return _apply("shl", self, count)

    def __rshift__(self, count: Expr | Number) -> Expr:
        return _apply("shr", self, count)

    def bits(self) -> Expr:
        """The bit pattern of a float, as the integer of the same width."""
        return _apply("bits", self)

    def from_bits(self) -> Expr:
        """The float whose bit pattern this integer is."""
        return _apply("from_bits", self)

    def to(self, dtype: DType) -> Expr:
        """The value in another dtype: float to integer truncates and saturates, NaN becomes 0."""
        return self if dtype == self.dtype else _apply(np.dtype(dtype).name, self)

    def __bool__(self) -> bool:
        got = "a scalar expression as a Python condition"
        raise DTypeError(message(self.op, got, "a value known now", "use condition.where(yes, no)"))

    def __repr__(self) -> str:
        return f"Expr({self.op}, {self.dtype.name})"

    def __str__(self) -> str:
        return text(self)


def param(name: Any, dtype: DType) -> Expr:
    """A value given when the expression is evaluated, by name, position or anything else that can be hashed."""
    return Expr("param", (), np.dtype(dtype), name)


def const(value: Number, dtype: DType) -> Expr:
    """A number, rounded to a float dtype; an integer or bool dtype must hold it exactly, else DTypeError."""
    dtype = np.dtype(dtype)
    try:
        if (type(value) is float or type(value) is int) and value:  # the zeros are equal, and not the same
            number = _rounded(value, dtype)
        else:
            with np.errstate(all="ignore"):
                number = dtype.type(value)
        if dtype.kind == "f" or number == value:
            return Expr("const", (), dtype, number)
    except (OverflowError, ValueError):
        pass
    holds = f"a number that {dtype.name} holds"
    raise DTypeError(message("const", f"{value!r}", holds, "convert the other operand with .to(dtype)"))


@lru_cache(maxsize=4096, typed=True)
def _rounded(value: float, dtype: DType) -> Any:
    with np.errstate(all="ignore"):
        return dtype.type(value)


def _apply(op: str, *operands: Expr | Number) -> Expr:
    """The expression `op(*operands)`. Numbers take the dtype of the last operand that is an expression."""
    dtype = next(operand.dtype for operand in reversed(operands) if isinstance(operand, Expr))
    args = tuple(operand if isinstance(operand, Expr) else const(operand, dtype) for operand in operands)
    dtypes = [arg.dtype for arg in args]
    result = OPERATIONS[op].dtype(*dtypes)
    if result is None:
        got = " and ".join(dtype.name for dtype in dtypes)
        raise DTypeError(message(op, f"dtypes {got}", f"operands that {op} is defined for", "convert with .to(dtype)"))
    return Expr(op, args, result)


@lru_cache(maxsize=4096)
def walk(*roots: Expr) -> Sequence[Expr]:
    """Every expression the roots depend on, once, operands before their users."""
    order: dict[Expr, None] = {}
    stack = [*reversed(roots)]
    while stack:
        node = stack[-1]
        waiting = [arg for arg in reversed(node.args) if arg not in order]
        if waiting and node not in order:
            stack += waiting
        else:
            order.setdefault(stack.pop())
    return tuple(order)


def evaluate(expr: Expr, args: Mapping[Any, Any] | Sequence[Any]) -> Any:
    """The reference meaning: the value of `expr` for numbers, or elementwise for arrays that broadcast.

    `args[name]` is the value of the parameter `name`; it is converted to the parameter's dtype. No floating-point
    warnings.

    >>> x = param(0, FLOAT32)
    >>> evaluate(x * x + 1, [3])
    np.float32(10.0)
    """
    values: dict[Expr, Any] = {}
    with np.errstate(all="ignore"):
        for node in walk(expr):
            if node.op == "const":
                values[node] = node.value
            elif node.op == "param":
                values[node] = np.asarray(args[node.value]).astype(node.dtype)[()]
            else:
                result = OPERATIONS[node.op].numpy(*(values[arg] for arg in node.args))
                values[node] = result[()] if isinstance(result, np.ndarray) else result
    return values[expr]


_INFIX: Final = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "eq": "==", "ne": "!=",
    "and": "&", "or": "|", "xor": "^", "shl": "<<", "shr": ">>",
}  # fmt: skip
_LINE: Final = 80


def text(expr: Expr) -> str:
    """A readable form: one expression, preceded by a line for each part that is long or used more than once."""
    nodes = walk(expr)
    uses: dict[Expr, int] = dict.fromkeys(nodes, 0)
    for node in nodes:
        for arg in node.args:
            uses[arg] += 1
    lines: list[str] = []
    shown: dict[Expr, str] = {}
    for node in nodes:
        if node.op == "const":
            shown[node] = str(node.value)
        elif node.op == "param":
            shown[node] = f"arg{node.value}" if isinstance(node.value, int) else str(node.value)
        else:
            form = _form(node, [shown[arg] for arg in node.args])
            if node is not expr and (uses[node] > 1 or len(form) > _LINE):
                lines.append(f"t{len(lines)} = {form}")
                form = f"t{len(lines) - 1}"
            shown[node] = form
    return "\n".join([*lines, shown[expr]])


def _form(node: Expr, operands: list[str]) -> str:
    if node.op not in _INFIX:
        return f"{node.op}({', '.join(operands)})"
    pairs = zip(node.args, operands, strict=True)
    return f" {_INFIX[node.op]} ".join(f"({f})" if arg.op in _INFIX and " " in f else f for arg, f in pairs)
