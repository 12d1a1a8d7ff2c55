"""LLVM instructions as text: equal ones are one, and each goes to the outermost loop that knows its operands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ....graph import DType
from ....scalar import BOOL, FLOAT32, FLOAT64, INT32, INT64

TYPES: Final = {BOOL: "i1", INT32: "i32", INT64: "i64", FLOAT32: "float", FLOAT64: "double"}
MEMORY: Final = {**TYPES, BOOL: "i8"}
SUFFIX: Final = {"i1": "i1", "i8": "i8", "i32": "i32", "i64": "i64", "float": "f32", "double": "f64", "ptr": "p0"}


@dataclass(frozen=True, slots=True)
class Val:
    """An SSA value or a literal: its text, element type, lanes (0: scalar), and the loop depth it is made at."""

    text: str
    type: str
    lanes: int = 0
    level: int = 0

    @property
    def full(self) -> str:
        """The type as LLVM writes it."""
        return f"<{self.lanes} x {self.type}>" if self.lanes else self.type


@dataclass(slots=True)
class Level:
    """The code of one loop body (or of the kernel), and the values made there, by their text."""

    lines: list[str]
    block: str
    known: dict[str, Val] = field(default_factory=dict)
    stored: dict[str, tuple[int, Val]] = field(default_factory=dict)  # by the load that would give it: where, and what


class Writer:
    """Writes the instructions of one function."""

    def __init__(self) -> None:
        self.count = 0
        self.levels: list[Level] = []
        self.declared: dict[str, str] = {}

    def name(self, prefix: str = "v") -> str:
        """A fresh name."""
        self.count += 1
        return f"{prefix}{self.count}"

    def pure(self, text: str, type_: str, lanes: int, level: int) -> Val:
        """The value of an instruction without effects, made once, at the given depth."""
        at = self.levels[level]
        found = at.known.get(text)
        if found is None:
            name = f"%{self.name()}"
            at.lines.append(f"  {name} = {text}")
            found = at.known[text] = Val(name, type_, lanes, level)
        return found

    def here(self, text: str, type_: str, lanes: int) -> Val:
        """The value of an instruction that stays where it is."""
        name = f"%{self.name()}"
        self.levels[-1].lines.append(f"  {name} = {text}")
        return Val(name, type_, lanes, len(self.levels) - 1)

    def do(self, text: str) -> None:
        """An instruction without a value."""
        self.levels[-1].lines.append(f"  {text}")

    def label(self, name: str) -> None:
        """Begin a block at the current depth."""
        self.levels[-1].lines.append(f"{name}:")
        self.levels[-1].block = name

    def call(self, function: str, result: Val, *arguments: Val | str, pure: bool = True) -> Val:
        """A call of an intrinsic; `result` gives the type."""
        values = [a for a in arguments if isinstance(a, Val)]
        written = ", ".join(f"{a.full} {a.text}" if isinstance(a, Val) else a for a in arguments)
        types = ", ".join(a.full if isinstance(a, Val) else a.split()[0] for a in arguments)
        self.declared[function] = f"declare {result.full} @{function}({types})"
        level = max((a.level for a in values), default=0)
        text = f"call {result.full} @{function}({written})"
        return self.pure(text, result.type, result.lanes, level) if pure else self.here(text, result.type, result.lanes)

    def splat(self, value: Val, lanes: int) -> Val:
        """The value in every lane."""
        if value.lanes or not lanes:
            return value
        if not value.text.startswith("%"):
            return Val(f"splat ({value.type} {value.text})", value.type, lanes, 0)
        kind = f"<{lanes} x {value.type}>"
        one = self.pure(
            f"insertelement {kind} poison, {value.type} {value.text}, i64 0", value.type, lanes, value.level
        )
        zero = f"<{lanes} x i32> zeroinitializer"
        return self.pure(f"shufflevector {kind} {one.text}, {kind} poison, {zero}", value.type, lanes, value.level)

    def binary(self, instruction: str, x: Val, y: Val, type_: str | None = None) -> Val:
        """An instruction of two operands of one type."""
        lanes = max(x.lanes, y.lanes)
        x, y = self.splat(x, lanes), self.splat(y, lanes)
        return self.pure(f"{instruction} {x.full} {x.text}, {y.text}", type_ or x.type, lanes, max(x.level, y.level))

    def unary(self, instruction: str, x: Val) -> Val:
        """An instruction of one operand that keeps the type."""
        return self.pure(f"{instruction} {x.full} {x.text}", x.type, x.lanes, x.level)

    def convert(self, instruction: str, x: Val, type_: str) -> Val:
        """A conversion."""
        if x.type == type_:
            return x
        to = f"<{x.lanes} x {type_}>" if x.lanes else type_
        return self.pure(f"{instruction} {x.full} {x.text} to {to}", type_, x.lanes, x.level)

    def select(self, condition: Val, yes: Val, no: Val) -> Val:
        """`yes` where the condition holds."""
        lanes = max(condition.lanes, yes.lanes, no.lanes)
        yes, no = self.splat(yes, lanes), self.splat(no, lanes)
        if condition.lanes:
            condition = self.splat(condition, lanes)
        level = max(condition.level, yes.level, no.level)
        text = f"select {condition.full} {condition.text}, {yes.full} {yes.text}, {no.full} {no.text}"
        return self.pure(text, yes.type, lanes, level)

    def intrinsic(self, name: str, *arguments: Val) -> Val:
        """An overloaded intrinsic whose operands and result have one type."""
        lanes = max(a.lanes for a in arguments)
        operands = [self.splat(a, lanes) for a in arguments]
        return self.call(f"llvm.{name}.{mangled(operands[0])}", operands[0], *operands)


def mangled(value: Val) -> str:
    """The type as it stands in an intrinsic's name."""
    return (f"v{value.lanes}" if value.lanes else "") + SUFFIX[value.type]


def literal(value: Any, dtype: DType) -> Val:
    """A number; floats are written as the bits of the double they are, which is exact."""
    if dtype.kind == "b":
        return Val("true" if value else "false", "i1")
    if dtype.kind == "i":
        return Val(str(int(value)), TYPES[dtype])
    with np.errstate(all="ignore"):
        bits = np.float64(value).view(np.uint64)
    return Val(f"0x{int(bits):016X}", TYPES[dtype])
