"""Which lines of LLVM IR, and of assembly, belong to which kernel.

In IR the printer says where a kernel begins and ends. Of assembly a debugger would know: `located` gives each
instruction a line, the number of its kernel, as if kernels were lines of a source, and `in_assembly` reads what LLVM
made of that. The instructions are the same with and without.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

BEGIN: Final = "  ; "
END: Final = "  ; end"
SHARED: Final = "shared"  # begins the names of functions that several kernels call

_CALL: Final = re.compile(rf"  call void @({SHARED}\d+)\(")
_DEFINE: Final = re.compile(r"define .*\{$")
_LOCATION: Final = re.compile(r"\s*\.loc\s+\d+\s+(\d+)")
_DEBUG: Final = re.compile(r"\s*\.section\s+\S*debug")
_FOR_DEBUGGERS: Final = re.compile(r"\s*\.file\s|\.?L?(tmp|func_begin|func_end)\d+:|\s*\.cfi_")
_UNIT: Final = """!llvm.dbg.cu = !{!0}
!llvm.module.flags = !{!1}
!0 = distinct !DICompileUnit(language: DW_LANG_C, file: !2, emissionKind: LineTablesOnly)
!1 = !{i32 2, !"Debug Info Version", i32 3}
!2 = !DIFile(filename: "kernels", directory: "")
!3 = !DISubroutineType(types: !4)
!4 = !{}"""
_FIRST: Final = 5  # number of what comes behind that


@dataclass(frozen=True, slots=True)
class Ranges:
    """A text, and the lines of each kernel in it, from 0 on."""

    text: str
    kernels: Mapping[str, tuple[range, ...]]


def in_ir(text: str) -> Ranges:
    """The lines of kernels in IR; those of a function belong to all that call it."""
    lines = text.split("\n")
    return Ranges(text, _ranges(list(_owners(lines)), _calls(lines)))


def located(text: str) -> str:
    """IR with the number of its kernel, from 1 on, as the line of each instruction; all else is in line 0."""
    lines = text.split("\n")
    numbers = {name: k for k, name in enumerate(_names(lines))}
    made: list[str] = []
    functions: list[int] = []
    places: dict[tuple[int, int], int] = {}
    for line, name in zip(lines, _owners(lines), strict=True):
        if _DEFINE.match(line):
            functions.append(_FIRST + len(functions) + len(places))
            line = f"{line[:-1]}!dbg !{functions[-1]} {{"
        elif line.startswith("  ") and not line.startswith(BEGIN):
            place = places.setdefault((functions[-1], numbers[name]), _FIRST + len(functions) + len(places))
            line = f"{line}, !dbg !{place}"
        made.append(line)
    of = "file: !2, type: !3, unit: !0, spFlags: DISPFlagDefinition"
    made += [_UNIT, *(f'!{one} = distinct !DISubprogram(name: "f{one}", {of})' for one in functions)]
    made += [f"!{one} = !DILocation(line: {number}, scope: !{scope})" for (scope, number), one in places.items()]
    return "\n".join([*made, ""])


def in_assembly(text: str, ir: str) -> Ranges:
    """The lines of kernels in what LLVM makes of `located(ir)`, without all that is there for a debugger."""
    source = ir.split("\n")
    names, kept, own, now = _names(source), list[str](), list[str](), ""
    for line in text.split("\n"):
        location = _LOCATION.match(line)
        if location:
            now = names[int(location[1])]
        elif _DEBUG.match(line):  # such sections come last
            break
        elif not _FOR_DEBUGGERS.match(line):
            kept.append(line)
            own.append(now)
    return Ranges("\n".join(kept), _ranges(own, _calls(source)))


def _owners(lines: Sequence[str]) -> Iterator[str]:
    """Of each line the kernel or shared function that it belongs to, "" where there is none."""
    now = ""
    for line in lines:
        if line.startswith(BEGIN):
            now = "" if line == END else line.removeprefix(BEGIN)
        yield now


def _names(lines: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(["", *_owners(lines)]))


def _calls(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Kernels, and the functions that they call."""
    for line, name in zip(lines, _owners(lines), strict=True):
        call = _CALL.match(line)
        if call:
            yield name, call[1]


def _ranges(own: Sequence[str], calls: Iterator[tuple[str, str]]) -> Mapping[str, tuple[range, ...]]:
    found: dict[str, tuple[range, ...]] = {}
    start = 0
    for name, lines in groupby(own):
        stop = start + sum(1 for _ in lines)
        found[name] = (*found.get(name, ()), range(start, stop))
        start = stop
    for name, function in calls:
        found[name] = (*found.get(name, ()), *found.get(function, ()))
    return {name: ranges for name, ranges in found.items() if name and not name.startswith(SHARED)}
