"""Each scalar operation as an instruction or a few. Nothing here may trap, whatever the operands are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ....graph import DType
from ....scalar import FLOAT32, INT32, Expr
from .writer import TYPES, Val, Writer, literal, mangled

Rule = Callable[[Writer, Expr, Sequence[Val]], Val]


def _arithmetic(integer: str, floating: str) -> Rule:
    return lambda w, e, a: w.binary(floating if e.dtype.kind == "f" else integer, a[0], a[1])


def _compare(signed: str, unsigned: str, floating: str) -> Rule:
    def rule(w: Writer, e: Expr, a: Sequence[Val]) -> Val:
        kind = e.args[0].dtype.kind
        instruction = f"fcmp {floating}" if kind == "f" else f"icmp {signed if kind == 'i' else unsigned}"
        return w.binary(instruction, a[0], a[1], "i1")

    return rule


def _intrinsic(name: str) -> Rule:
    return lambda w, e, a: w.intrinsic(name, *a)


def _negate(w: Writer, e: Expr, a: Sequence[Val]) -> Val:
    return w.unary("fneg", a[0]) if e.dtype.kind == "f" else w.binary("sub", Val("0", a[0].type), a[0])


def _absolute(w: Writer, e: Expr, a: Sequence[Val]) -> Val:
    if e.dtype.kind == "f":
        return w.intrinsic("fabs", a[0])
    return w.select(w.binary("icmp slt", a[0], Val("0", a[0].type), "i1"), _negate(w, e, a), a[0])


def _divide(instruction: str) -> Rule:
    """Integer division: by 0 gives 0, by -1 the negative (quotient) or 0 (rest), as nothing may trap."""

    def rule(w: Writer, e: Expr, a: Sequence[Val]) -> Val:
        x, y = a
        if e.dtype.kind == "f":
            return w.binary("frem", x, y)
        zero, minus = Val("0", x.type), Val("-1", x.type)
        by_zero, by_minus = w.binary("icmp eq", y, zero, "i1"), w.binary("icmp eq", y, minus, "i1")
        safe = w.select(w.binary("or", by_zero, by_minus), Val("1", x.type), y)
        result = w.binary(instruction, x, safe)
        special = w.binary("sub", zero, x) if instruction == "sdiv" else zero
        return w.select(by_zero, zero, w.select(by_minus, special, result))

    return rule


def _shift(instruction: str) -> Rule:
    def rule(w: Writer, e: Expr, a: Sequence[Val]) -> Val:
        x, count = a
        width = 8 * e.dtype.itemsize
        if e.args[1].op == "const" and 0 <= int(e.args[1].value) < width:
            return w.binary(instruction, x, count)
        inside = w.binary("icmp ult", count, Val(str(width), count.type), "i1")
        safe = w.select(inside, count, Val("0", count.type))
        past = Val("0", x.type) if instruction == "shl" else w.binary("ashr", x, Val(str(width - 1), x.type))
        return w.select(inside, w.binary(instruction, x, safe), past)

    return rule


def _not(w: Writer, e: Expr, a: Sequence[Val]) -> Val:
    return w.binary("xor", a[0], Val("true" if a[0].type == "i1" else "-1", a[0].type))


def _convert(dtype: DType) -> Rule:
    to = TYPES[dtype]

    def rule(w: Writer, e: Expr, a: Sequence[Val]) -> Val:
        (x,) = a
        source = e.args[0].dtype
        if source == dtype:
            return x
        if dtype.kind == "b":
            zero = literal(0, source)
            return w.binary("fcmp une" if source.kind == "f" else "icmp ne", x, zero, "i1")
        if source.kind == "f":
            if dtype.kind == "f":
                return w.convert("fptrunc" if dtype == FLOAT32 else "fpext", x, to)
            result = Val("", to, x.lanes)
            return w.call(f"llvm.fptosi.sat.{mangled(result)}.{mangled(x)}", result, x)
        if dtype.kind == "f":
            return w.convert("uitofp" if source.kind == "b" else "sitofp", x, to)
        if source.kind == "b":
            return w.convert("zext", x, to)
        return w.convert("trunc" if dtype == INT32 else "sext", x, to)

    return rule


OPERATIONS: Final[dict[str, Rule]] = {
    "add": _arithmetic("add", "fadd"),
    "sub": _arithmetic("sub", "fsub"),
    "mul": _arithmetic("mul", "fmul"),
    "div": _arithmetic("", "fdiv"),
    "neg": _negate,
    "abs": _absolute,
    "quotient": _divide("sdiv"),
    "rem": _divide("srem"),
    "fma": _intrinsic("fma"),
    "sqrt": _intrinsic("sqrt"),
    "copysign": _intrinsic("copysign"),
    "floor": _intrinsic("floor"),
    "ceil": _intrinsic("ceil"),
    "trunc": _intrinsic("trunc"),
    "round": _intrinsic("roundeven"),
    "lt": _compare("slt", "ult", "olt"),
    "le": _compare("sle", "ule", "ole"),
    "eq": _compare("eq", "eq", "oeq"),
    "ne": _compare("ne", "ne", "une"),
    "where": lambda w, e, a: w.select(*a),
    "and": lambda w, e, a: w.binary("and", a[0], a[1]),
    "or": lambda w, e, a: w.binary("or", a[0], a[1]),
    "xor": lambda w, e, a: w.binary("xor", a[0], a[1]),
    "not": _not,
    "shl": _shift("shl"),
    "shr": _shift("ashr"),
    "bits": lambda w, e, a: w.convert("bitcast", a[0], TYPES[e.dtype]),
    "from_bits": lambda w, e, a: w.convert("bitcast", a[0], TYPES[e.dtype]),
    **{dtype.name: _convert(dtype) for dtype in TYPES},
}
