"""How LLVM writes types, literals and lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from ....graph.graph import DType
from ....graph.scalar import BOOL, FLOAT32, FLOAT64, INT32, INT64
from ...expand.code import Value
from ...loopir.ir import Buffer

TYPES: Final = {BOOL: "i1", INT32: "i32", INT64: "i64", FLOAT32: "float", FLOAT64: "double"}
SUFFIX: Final = {"i1": "i1", "i8": "i8", "i32": "i32", "i64": "i64", "float": "f32", "double": "f64"}


def scalar(value: Value) -> str:
    """The type of one lane."""
    return "ptr" if value.op in ("start", "address") else TYPES[value.dtype]


def vector(scalar: str, lanes: int) -> str:
    """The type of so many lanes."""
    return f"<{lanes} x {scalar}>" if lanes else scalar


def literal(value: Any, dtype: DType) -> str:
    """A number; floats are written as the bits of the double they are, which is exact."""
    if dtype.kind == "b":
        return "true" if value else "false"
    if dtype.kind == "i":
        return str(int(value))
    with np.errstate(all="ignore"):
        bits = np.float64(value).view(np.uint64)
    return f"0x{int(bits):016X}"


class Names(dict[Value, str]):
    """What values are called; literals are called what they are."""

    def __missing__(self, value: Value) -> str:
        if value.op == "steps":
            text = f"<{', '.join(f'i64 {number}' for number in value.data)}>"
        else:
            text = literal(value.data, value.dtype)
            text = f"splat ({TYPES[value.dtype]} {text})" if value.lanes else text
        self[value] = text
        return text


class Text:
    """The lines of the function that is being printed, and what the module declares and calls things."""

    def __init__(self, offsets: Mapping[Buffer, int]) -> None:
        self.offsets = offsets
        self.names = Names()
        self.declared: dict[str, str] = {}
        self.lines: list[str] = []
        self.block = "entry"  # where the lines stand
        self.failures: dict[int, str] = {}  # the label to leave by when a check fails, by its number
        self.slots: list[str] = []  # memory of the function, which is begun with it
        self.count = 0

    def fresh(self, prefix: str = "v") -> str:
        """A name that is not taken."""
        self.count += 1
        return f"{prefix}{self.count}"

    def type(self, value: Value) -> str:
        """The type of a value."""
        return vector(scalar(value), value.lanes)

    def typed(self, value: Value) -> tuple[str, str]:
        """The type of a value, and its name."""
        return self.type(value), self.names[value]

    def operand(self, value: Value) -> str:
        """The same as text."""
        return f"{self.type(value)} {self.names[value]}"

    def emit(self, instruction: str) -> str:
        """An instruction that gives a value; its name."""
        self.count += 1
        name = f"%v{self.count}"
        self.lines.append(f"  {name} = {instruction}")
        return name

    def line(self, instruction: str) -> None:
        """An instruction that gives none."""
        self.lines.append(f"  {instruction}")

    def label(self, name: str) -> None:
        """A block begins."""
        self.lines.append(f"{name}:")
        self.block = name

    def call(self, function: str, result: str, *arguments: tuple[str, str]) -> str:
        """A call of an intrinsic with types and operands; the name of the result, or nothing."""
        if function not in self.declared:
            self.declared[function] = f"declare {result} @{function}({', '.join(kind for kind, _ in arguments)})"
        instruction = f"call {result} @{function}({', '.join(f'{kind} {text}' for kind, text in arguments)})"
        if result != "void":
            return self.emit(instruction)
        self.line(instruction)
        return ""
