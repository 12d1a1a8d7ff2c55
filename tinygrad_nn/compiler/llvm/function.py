"""The LLVM function of a schedule."""

from __future__ import annotations

from ..schedule import Schedule
from .kernel import KernelWriter
from .place import Env
from .writer import Level, Writer


def write_function(schedule: Schedule, name: str = "run") -> str:
    """The LLVM IR of a schedule: `i32 name(ptr arena)`, 0 or the code of the check that failed."""
    writer = Writer()
    lines = [f"define i32 @{name}(ptr noalias %arena) #0 {{", "entry:"]
    block = "entry"
    failures: list[int] = []

    def exits(code: int) -> str:
        failures.append(code)
        return f"fail{code}"

    for kernel in schedule.program.kernels:
        level = Level([], block)
        writer.levels = [level]
        KernelWriter(writer, schedule, kernel, exits).body(kernel.body, [Env({}, {})])
        lines += [f"  ; {kernel.name}", *level.lines]
        block = level.block
    lines.append("  ret i32 0")
    for code in dict.fromkeys(failures):
        lines += [f"fail{code}:", f"  ret i32 {code}"]
    lines.append("}")
    bits = 8 * schedule.width
    attributes = f'attributes #0 = {{ nounwind "prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}" }}'
    return "\n".join([*lines, "", *writer.declared.values(), "", attributes, ""])
