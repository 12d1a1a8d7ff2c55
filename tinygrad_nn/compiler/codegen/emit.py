"""From LLVM IR to object code. Also a program by itself, which imports nothing of the project:

python -P emit.py TRIPLE CPU FEATURES < IR > OBJECT
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

OFF: Final = "-disable-lsr"  # a pass that takes a fifth of the time, to find addresses that x86 has: these are such
LEVEL: Final = 2  # of code generation: 3 takes as long again and gives the same code


def machine(binding: Any, triple: str, cpu: str, features: str, model: str = "jitdefault") -> Any:
    """A fresh target machine: an engine takes ownership of the one it is given."""
    return binding.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=LEVEL, reloc="pic", codemodel=model
    )


def emitted(binding: Any, text: str, machine: Any) -> bytes:
    """The object code. Raises RuntimeError with LLVM's own words where the IR is wrong."""
    module = binding.parse_assembly(text)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)  # the size of a pointer is its own
    with without_search(binding, machine.triple):
        code: bytes = machine.emit_object(module)
    return code


@contextmanager
def without_search(binding: Any, triple: str) -> Iterator[None]:
    """LLVM without a pass that our code has no use for. The options are the whole process's, so only for so long."""
    if triple.startswith("x86"):
        binding.set_option(__name__, OFF)
    try:
        yield
    finally:
        if triple.startswith("x86"):
            binding.set_option(__name__, f"{OFF}=false")


def main(triple: str, cpu: str, features: str) -> None:
    """From standard input to standard output."""
    binding = import_module("llvmlite.binding")
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        code = emitted(binding, sys.stdin.read(), machine(binding, triple, cpu, features, "default"))
    except RuntimeError as error:
        sys.exit(str(error))
    sys.stdout.buffer.write(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
