"""A back end for a test: expanded code of one lane as C, with all that C needs to be told.

Everything is a scalar, so the 25 operations that programs of the tests have are a line each. A value is a variable of
its function, declared where it is computed; what a loop carries and gives is declared before the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tinygrad_nn.compiler.expand.code import Block, Check, Expanded, Loop, Part, Statement, Store, Value
from tinygrad_nn.graph.scalar import BOOL, FLOAT32, FLOAT64, INT32, INT64

TYPES: Final = {BOOL: "uint8_t", INT32: "int32_t", INT64: "int64_t", FLOAT32: "float", FLOAT64: "double"}
SIGNS: Final = {"add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "eq": "==", "ne": "!=",
                "and": "&", "or": "|", "xor": "^"}  # fmt: skip
CALLS: Final = {name: name for name in ("sqrt", "fma", "floor", "ceil", "trunc", "copysign")} | {"muladd": "fma"}


def print_c(expanded: Expanded) -> str:
    """`int run(char *arena)`: 0, or the number of the check that failed."""
    printer = Printer(expanded)
    printer.body(expanded.body)
    head = ["#include <math.h>", "#include <stdint.h>", "#include <string.h>", "int run(char *arena) {"]
    return "\n".join([*head, *printer.lines, "return 0;", "}", ""])


class Printer:
    """The lines so far, and what values are called."""

    def __init__(self, expanded: Expanded) -> None:
        self.offsets = expanded.schedule.offsets
        self.lines: list[str] = []
        self.names: dict[Value, str] = {}

    def name(self, value: Value) -> str:
        if value.op == "const":
            return f"(({TYPES[value.dtype]}){_number(value.data)})"
        return self.names.setdefault(value, f"v{len(self.names)}")

    def declared(self, value: Value) -> str:
        star = "*" if value.op in ("start", "address") else ""
        return f"{TYPES[value.dtype]} {star}{self.name(value)}"

    def body(self, body: Sequence[Statement]) -> None:
        for one in body:
            if isinstance(one, Value):
                self.lines.append(f"{self.declared(one)} = {self.computed(one, *map(self.name, one.args))};")
            elif isinstance(one, Store):
                self.lines.append(f"*{self.name(one.address)} = {self.name(one.value)};")
            elif isinstance(one, Check):
                self.lines.append(f"if ({self.name(one.wrong)}) return {one.code};")
            elif isinstance(one, Block | Part):
                self.lines.append("{  // " + one.name)
                self.body(one.body)
                self.lines.append("}")
            elif isinstance(one, Loop):
                self.loop(one)
            else:
                raise NotImplementedError(type(one).__name__)

    def loop(self, one: Loop) -> None:
        counter = self.name(one.counter)
        self.lines += [
            f"{self.declared(c.result)}; {self.declared(c.inside)} = {self.name(c.before)};" for c in one.carried
        ]
        self.lines.append(f"for (int64_t {counter} = 0; {counter} < {self.name(one.stop)}; {counter} += {one.step}) {{")
        self.body(one.body)
        self.lines += [f"{self.name(c.result)} = {self.name(c.after)};" for c in one.carried]
        self.lines += [f"{self.name(c.inside)} = {self.name(c.result)};" for c in one.carried]
        self.lines.append("}")

    def computed(self, one: Value, *args: str) -> str:
        kind = TYPES[one.dtype]
        if one.op in SIGNS:
            return f"{args[0]} {SIGNS[one.op]} {args[1]}"
        if one.op in CALLS:
            return f"{CALLS[one.op]}{'f' * (one.dtype == FLOAT32)}({', '.join(args)})"
        if one.op in ("bits", "from_bits"):
            return f"(union {{ {TYPES[one.args[0].dtype]} a; {kind} b; }}){{ {args[0]} }}.b"
        texts: dict[str, Any] = {
            "start": lambda: f"({kind} *)(arena + {self.offsets[one.data]})",
            "address": lambda: f"{args[0]} + {args[1]}",
            "load": lambda: f"*{args[0]}",
            "where": lambda: f"{args[0]} ? {args[1]} : {args[2]}",
            "not": lambda: f"!{args[0]}" if one.dtype == BOOL else f"~{args[0]}",
            "neg": lambda: f"-{args[0]}",
            "abs": lambda: f"fabs({args[0]})" if one.dtype.kind == "f" else f"{args[0]} < 0 ? -{args[0]} : {args[0]}",
            "shl": lambda: f"({kind})((uint64_t){args[0]} << {args[1]})",
            "shr": lambda: f"{args[0]} >> {args[1]}",
            "round": lambda: f"rint({args[0]})",
            **{dtype.name: lambda: f"({kind}){args[0]}" for dtype in TYPES},
        }
        return str(texts[one.op]())


def _number(data: Any) -> str:
    if data.dtype.kind != "f":
        return f"{int(data)}LL" if int(data) != -(2**63) else "INT64_MIN"
    return {"inf": "INFINITY", "-inf": "-INFINITY", "nan": "NAN"}.get(str(data), float(data).hex())
