"""What each operation of expanded code is in LLVM: an instruction or a few. Nothing here may trap.

A rule gets the value and the names of its operands, prints instructions, and gives the name of the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ....graph.graph import DType
from ....graph.scalar import BOOL, FLOAT32, INT32
from ...expand.code import Value
from .text import SUFFIX, TYPES, Text, literal, vector

Rule = Callable[[Text, Value, Sequence[str]], str]


def splat(number: str, kind: str, lanes: int) -> str:
    """A literal in every lane."""
    return f"splat ({kind} {number})" if lanes else number


def mangled(kind: str, lanes: int) -> str:
    """A type as it stands in an intrinsic's name."""
    return (f"v{lanes}" if lanes else "") + SUFFIX[kind]


def _arithmetic(integer: str, floating: str) -> Rule:
    def rule(t: Text, v: Value, a: Sequence[str]) -> str:
        return t.emit(f"{floating if v.dtype.kind == 'f' else integer} {t.type(v)} {a[0]}, {a[1]}")

    return rule


def _compare(signed: str, unsigned: str, floating: str) -> Rule:
    instructions = {"f": f"fcmp {floating}", "i": f"icmp {signed}", "b": f"icmp {unsigned}"}

    def rule(t: Text, v: Value, a: Sequence[str]) -> str:
        x = v.args[0]
        return t.emit(f"{instructions[x.dtype.kind]} {t.type(x)} {a[0]}, {a[1]}")

    return rule


def _intrinsic(name: str) -> Rule:
    def rule(t: Text, v: Value, a: Sequence[str]) -> str:
        kind = t.type(v)
        return t.call(f"llvm.{name}.{mangled(TYPES[v.dtype], v.lanes)}", kind, *((kind, one) for one in a))

    return rule


def _negate(t: Text, v: Value, a: Sequence[str]) -> str:
    if v.dtype.kind == "f":
        return t.emit(f"fneg {t.type(v)} {a[0]}")
    return t.emit(f"sub {t.type(v)} {splat('0', TYPES[v.dtype], v.lanes)}, {a[0]}")


def _absolute(t: Text, v: Value, a: Sequence[str]) -> str:
    if v.dtype.kind == "f":
        return _intrinsic("fabs")(t, v, a)
    below = t.emit(f"icmp slt {t.type(v)} {a[0]}, {splat('0', TYPES[v.dtype], v.lanes)}")
    return _choose(t, v, below, _negate(t, v, a), a[0])


def _choose(t: Text, v: Value, condition: str, yes: str, no: str) -> str:
    kind = t.type(v)
    return t.emit(f"select {vector('i1', v.lanes)} {condition}, {kind} {yes}, {kind} {no}")


def _where(t: Text, v: Value, a: Sequence[str]) -> str:
    kind = t.type(v)
    return t.emit(f"select {t.type(v.args[0])} {a[0]}, {kind} {a[1]}, {kind} {a[2]}")


def _divide(instruction: str) -> Rule:
    """Integer division: by 0 gives 0, by -1 the negative (quotient) or 0 (rest), as nothing may trap."""

    def rule(t: Text, v: Value, a: Sequence[str]) -> str:
        x, y = a
        kind = t.type(v)
        if v.dtype.kind == "f":
            return t.emit(f"frem {kind} {x}, {y}")
        zero, one, minus = (splat(number, TYPES[v.dtype], v.lanes) for number in ("0", "1", "-1"))
        by_zero, by_minus = t.emit(f"icmp eq {kind} {y}, {zero}"), t.emit(f"icmp eq {kind} {y}, {minus}")
        either = t.emit(f"or {vector('i1', v.lanes)} {by_zero}, {by_minus}")
        result = t.emit(f"{instruction} {kind} {x}, {_choose(t, v, either, one, y)}")
        special = t.emit(f"sub {kind} {zero}, {x}") if instruction == "sdiv" else zero
        return _choose(t, v, by_zero, zero, _choose(t, v, by_minus, special, result))

    return rule


def _shift(instruction: str) -> Rule:
    def rule(t: Text, v: Value, a: Sequence[str]) -> str:
        x, count = a
        kind, width = t.type(v), 8 * v.dtype.itemsize
        if v.args[1].op == "const" and 0 <= int(v.args[1].data) < width:
            return t.emit(f"{instruction} {kind} {x}, {count}")
        zero, last, all_ = (splat(number, TYPES[v.dtype], v.lanes) for number in ("0", str(width - 1), str(width)))
        inside = t.emit(f"icmp ult {kind} {count}, {all_}")
        past = zero if instruction == "shl" else t.emit(f"ashr {kind} {x}, {last}")
        shifted = t.emit(f"{instruction} {kind} {x}, {_choose(t, v, inside, count, zero)}")
        return _choose(t, v, inside, shifted, past)

    return rule


def _not(t: Text, v: Value, a: Sequence[str]) -> str:
    ones = splat("true" if v.dtype == BOOL else "-1", TYPES[v.dtype], v.lanes)
    return t.emit(f"xor {t.type(v)} {a[0]}, {ones}")


def _cast(instruction: str) -> Rule:
    return lambda t, v, a: t.emit(f"{instruction} {t.type(v.args[0])} {a[0]} to {t.type(v)}")


def _convert(dtype: DType) -> Rule:
    def rule(t: Text, v: Value, a: Sequence[str]) -> str:
        source = v.args[0].dtype
        if dtype.kind == "b":
            zero = splat(literal(0, source), TYPES[source], v.lanes)
            compare = "fcmp une" if source.kind == "f" else "icmp ne"
            return t.emit(f"{compare} {t.type(v.args[0])} {a[0]}, {zero}")
        if source.kind == "f" and dtype.kind == "i":
            names = ".".join(mangled(TYPES[one], v.lanes) for one in (dtype, source))
            return t.call(f"llvm.fptosi.sat.{names}", t.type(v), (t.type(v.args[0]), a[0]))
        if dtype.kind == "f":
            between = "fptrunc" if dtype == FLOAT32 else "fpext"
            return _cast({"f": between, "i": "sitofp", "b": "uitofp"}[source.kind])(t, v, a)
        return _cast("zext" if source.kind == "b" else "trunc" if dtype == INT32 else "sext")(t, v, a)

    return rule


def _splat(t: Text, v: Value, a: Sequence[str]) -> str:
    kind = t.type(v)
    one = t.emit(f"insertelement {kind} poison, {t.type(v.args[0])} {a[0]}, i64 0")
    return t.emit(f"shufflevector {kind} {one}, {kind} poison, <{v.lanes} x i32> zeroinitializer")


def _half(t: Text, v: Value, a: Sequence[str]) -> str:
    order = ", ".join(f"i32 {k}" for k in range(v.data, v.data + v.lanes))
    kind = t.type(v.args[0])
    return t.emit(f"shufflevector {kind} {a[0]}, {kind} poison, <{v.lanes} x i32> <{order}>")


def _any(t: Text, v: Value, a: Sequence[str]) -> str:
    (mask,) = v.args
    return t.call(f"llvm.vector.reduce.or.{mangled('i1', mask.lanes)}", "i1", (t.type(mask), a[0]))


def _start(t: Text, v: Value, a: Sequence[str]) -> str:
    return t.emit(f"getelementptr inbounds i8, ptr %arena, i64 {t.offsets[v.data]}")


def _address(t: Text, v: Value, a: Sequence[str]) -> str:
    return t.emit(f"getelementptr inbounds {memory(v.dtype)}, ptr {a[0]}, {t.type(v.args[1])} {a[1]}")


def memory(dtype: DType) -> str:
    """The type of an element as it lies in memory."""
    return "i8" if dtype == BOOL else TYPES[dtype]


def _load(t: Text, v: Value, a: Sequence[str]) -> str:
    """A bool in memory is a byte."""
    element, address, align = memory(v.dtype), v.args[0], v.dtype.itemsize
    kind = vector(element, v.lanes)
    if len(a) == 1:
        found = t.emit(f"load {kind}, ptr {a[0]}, align {align}")
    else:
        what, places = ("gather", f"v{v.lanes}p0") if address.lanes else ("load", "p0")
        name = f"llvm.masked.{what}.{mangled(element, v.lanes)}.{places}"
        masked = (t.type(v.args[1]), a[1]), (kind, "zeroinitializer")
        found = t.call(name, kind, (t.type(address), a[0]), ("i32", str(align)), *masked)
    return found if v.dtype != BOOL else t.emit(f"icmp ne {kind} {found}, {splat('0', 'i8', v.lanes)}")


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
    "muladd": _intrinsic("fma"),  # where that is no instruction, legalize has taken it apart
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
    "where": _where,
    "and": _arithmetic("and", ""),
    "or": _arithmetic("or", ""),
    "xor": _arithmetic("xor", ""),
    "not": _not,
    "shl": _shift("shl"),
    "shr": _shift("ashr"),
    "bits": _cast("bitcast"),
    "from_bits": _cast("bitcast"),
    **{dtype.name: _convert(dtype) for dtype in TYPES},
    "splat": _splat,
    "half": _half,
    "first": lambda t, v, a: t.emit(f"extractelement {t.type(v.args[0])} {a[0]}, i64 0"),
    "any": _any,
    "start": _start,
    "address": _address,
    "load": _load,
}
