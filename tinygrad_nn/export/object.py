"""Object code for a fixed list of machines, with a C header; for this one a shared library and a loader in Python.

The code is that of the compiler, in an arena of the caller's: `NAME_init` puts constants, weights and state there,
`NAME_run` copies its arguments in, calls it, and copies the results out. It calls nothing but, where a processor has no
float arithmetic, what every C compiler brings for it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..compiler.codegen import native
from ..compiler.codegen.c.operations import TYPES
from ..compiler.schedule.arena import Strided
from ..compiler.target import TARGETS
from ..errors import ExportError, GraphError, message
from ..support.files import write_together
from ..support.settings import shown
from .model import c_names, compiled, exported, prefix_of, refused_by_llvm, target_of
from .wasm import checks, data_segments

HOST: Final = "host"
BYTES: Final = """
define internal void @{name}(ptr %to, {given}i64 %count) #0 {{
entry:
  br label %again
again:
  %k = phi i64 [0, %entry], [%next, %more]
  %done = icmp uge i64 %k, %count
  br i1 %done, label %end, label %more
more:
  %b = getelementptr i8, ptr %to, i64 %k
  {one}
  store i8 {value}, ptr %b
  %next = add i64 %k, 1
  br label %again
end:
  ret void
}}
"""  # a loop over bytes
READ: Final = "%a = getelementptr i8, ptr %from, i64 %k\n  %one = load i8, ptr %a"
COPY: Final = BYTES.format(name="copied", given="ptr %from, ", one=READ, value="%one")
CLEAR: Final = BYTES.format(name="cleared", given="", one="", value="0")
LOADER: Final = '''"""Made by tinygrad_nn; needs NumPy alone."""
import ctypes
import pathlib

import numpy as np

library = ctypes.PyDLL(str(pathlib.Path(__file__).resolve().with_name(@FILE)))  # one call at a time: they share a state
arguments, results, checks = @ARGUMENTS, @RESULTS, @CHECKS
state = np.zeros(@BYTES // 8 + 1, np.float64)
library.@NAME_init(state.ctypes.data_as(ctypes.c_void_p))


def taken(value, name, shape, dtype):
    """A value as C wants it."""
    given = np.asarray(value)
    fits = given.shape == shape and np.can_cast(given.dtype, dtype, "same_kind")
    own = given.astype(dtype, order="C") if fits else given
    if not fits or (own.dtype.kind == "i" and (own != given).any()):
        raise ValueError(f"{name} has shape {given.shape} and dtype {given.dtype}; expected {shape} and {dtype}")
    return own


def run(*values):
    """The results for one array for each of the arguments."""
    if len(values) != len(arguments):
        raise TypeError(f"{len(values)} arrays; expected {', '.join(name for name, *_ in arguments)}")
    given = [taken(value, *one) for value, one in zip(values, arguments)]
    found = [np.empty(shape, dtype) for _, shape, dtype in results]
    code = library.@NAME_run(*[one.ctypes.data_as(ctypes.c_void_p) for one in (*given, *found, state)])
    if code:
        raise IndexError(checks[code - 1])
    return found[0] if len(found) == 1 else found
'''


def object(f: Any, *example: Any, path: Any, target: str = HOST, name: str = "model") -> Path:
    """Write a module, a function or a jitted step as object code for a `target`, and its header beside it.

    Targets are those of `tinygrad_nn.compiler.target.TARGETS`. For `"host"`, this machine, the file is a shared
    library, which takes a C compiler to link, with a loader in Python: `net.h` and `net.py` beside `libnet.so`. (Python
    takes `net.so` itself for a module.) Returns the path. Raises ExportError, and FileError where it cannot be written.

    >>> import tempfile
    >>> from tinygrad_nn import nn
    >>> folder = Path(tempfile.mkdtemp())
    >>> object(nn.Linear(2, 1), np.zeros((3, 2)), path=folder / "line.o", target="cortex-m4").read_bytes()[1:4]
    b'ELF'
    """
    own = prefix_of("export.object", name)
    file = target_of("export.object", path, f"lib{own}.so" if target == HOST else f"{own}.o")
    if target not in (HOST, *TARGETS):
        raise ExportError(message("export.object", f"target={shown(target)}", f"one of {', '.join((HOST, *TARGETS))}"))
    machine = native.host() if target == HOST else TARGETS[target]
    part = exported("export.object", f, example)
    made, image = compiled("export.object", part.job, replace(machine, plain=True), "print")  # as C has arrays
    count = len(part.arguments)
    names = c_names(own, (*part.arguments, *part.results))
    inputs, outputs = image.inputs[:count], image.outputs
    wrapped = wrappers(own, part.memory(image), inputs, outputs)
    text = made.llvm.replace("define i32 @run(", "define internal i32 @run(", 1)
    try:
        code = native.object_code(text + wrapped, machine).code
    except GraphError as error:
        raise refused_by_llvm("export.object", machine, error) from error
    arguments, results = list(zip(names, inputs, strict=False)), list(zip(names[count:], outputs, strict=True))
    beside = file.with_name(file.name.removeprefix("lib")) if target == HOST else file
    files = [(beside.with_suffix(".h"), header(own, image.size, arguments, results).encode())]
    if target == HOST:
        code = shared(code)
        said = [f"{one['name']} expects {one['expected']}" for one in checks(image)]
        script = loader(own, file.name, image.size, arguments, results, said)
        files.append((beside.with_suffix(".py"), script))
    write_together([*files, (file, code)], "export.object")
    return file


def wrappers(name: str, memory: bytes, inputs: Sequence[Strided], outputs: Sequence[Strided]) -> str:
    """The functions that callers see, in LLVM's words, and what lies in memory at the beginning."""
    lines, constants = [f"define void @{name}_init(ptr %s) #0 {{"], list[str]()
    lines.append(f"  call void @cleared(ptr %s, i64 {len(memory)})")
    for k, (at, content) in enumerate(data_segments(memory)):
        letters = "".join(f"\\{byte:02X}" for byte in content)
        constants.append(f'@begin{k} = private constant [{len(content)} x i8] c"{letters}"')
        lines.append(f"  %a{k} = getelementptr i8, ptr %s, i64 {at}")
        lines.append(f"  call void @copied(ptr %a{k}, ptr @begin{k}, i64 {len(content)})")
    lines += ["  ret void", "}", ""]
    parameters = [f"ptr %x{k}" for k in range(len(inputs))] + [f"ptr %y{k}" for k in range(len(outputs))]
    lines.append(f"define i32 @{name}_run({', '.join([*parameters, 'ptr %s'])}) #0 {{")
    for k, one in enumerate(inputs):
        lines.append(f"  %i{k} = getelementptr i8, ptr %s, i64 {one.start}")
        lines.append(f"  call void @copied(ptr %i{k}, ptr %x{k}, i64 {size(one)})")
    lines.append("  %code = call i32 @run(ptr %s)")
    for k, one in enumerate(outputs):
        lines.append(f"  %o{k} = getelementptr i8, ptr %s, i64 {one.start}")
        lines.append(f"  call void @copied(ptr %y{k}, ptr %o{k}, i64 {size(one)})")
    return "\n".join([*constants, COPY, CLEAR, *lines, "  ret i32 %code", "}", ""])


def size(at: Strided) -> int:
    """Bytes of an array without gaps."""
    return int(np.prod(at.shape, dtype=np.int64)) * at.dtype.itemsize


def header(
    name: str, room: int, arguments: Sequence[tuple[str, Strided]], results: Sequence[tuple[str, Strided]]
) -> str:
    """What C callers read."""
    guard, named = f"{name.upper()}_H", [*arguments, *results]
    parameters = [
        f"{'const ' if k < len(arguments) else ''}{TYPES[at.dtype]} *{one}" for k, (one, at) in enumerate(named)
    ]
    shapes = ", ".join(f"{one} {at.dtype.name} {[int(n) for n in at.shape]}" for one, at in named)
    return "\n".join(
        [
            "/* Made by tinygrad_nn. */", f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", "",
            "#ifdef __cplusplus", 'extern "C" {', "#endif", "",
            f"#define {name.upper()}_ARENA_BYTES {8 * -(-room // 8)} /* memory that a call needs: {name}_state */",
            f"typedef struct {{ uint64_t words[{max(1, -(-room // 8))}]; }} {name}_state;", "",
            "/* Weights, constants and state as they were in Python: comes first. */",
            f"void {name}_init({name}_state *s);", "",
            f"/* {shapes}. Returns 0, or the number of a check. */",
            f"int {name}_run({', '.join([*parameters, f'{name}_state *s'])});", "",
            "#ifdef __cplusplus", "}", "#endif", "", "#endif", "",
        ]
    )  # fmt: skip


def loader(
    name: str,
    file: str,
    room: int,
    arguments: Sequence[tuple[str, Strided]],
    results: Sequence[tuple[str, Strided]],
    said: Sequence[str],
) -> bytes:
    """A Python module that calls the shared library beside it."""
    texts = {
        "@FILE": json.dumps(file),
        "@ARGUMENTS": repr([(one, tuple(map(int, at.shape)), at.dtype.name) for one, at in arguments]),
        "@RESULTS": repr([(one, tuple(map(int, at.shape)), at.dtype.name) for one, at in results]),
        "@CHECKS": ascii(said),
        "@BYTES": str(room),
        "@NAME": name,
    }
    found = LOADER
    for key, text in texts.items():
        found = found.replace(key, text)
    return found.encode()


def shared(code: bytes) -> bytes:
    """The shared library of an object, by the C compiler that is there."""
    linker = next((found for one in ("cc", "gcc", "clang") if (found := shutil.which(one))), None)
    if linker is None:
        got = "no C compiler to link a shared library with"
        raise ExportError(message("export.object", got, "one of cc, gcc and clang", "apt install gcc, or export.c"))
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "code.o", Path(folder) / "code.so"
        source.write_bytes(code)
        done = subprocess.run(
            [linker, "-shared", "-nostdlib", "-o", str(library), str(source)], capture_output=True, text=True
        )
        if done.returncode:
            raise ExportError(message("export.object", f"an object that {linker} does not link: {done.stderr[:300]}"))
        return library.read_bytes()
