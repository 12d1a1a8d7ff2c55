"""LLVM, through llvmlite: IR text to machine code in this process. The only file that touches llvmlite.

The code of `llvm` needs no optimiser: instructions already are where they belong, so LLVM only selects them and
allocates registers. Object code goes through the cache.
"""

from __future__ import annotations

import ctypes
import os
import platform
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from ...config import config
from ...errors import GraphError, message
from ...extras import require
from ...interrupt import beside
from . import cache as disk

LEVEL: Final = 2  # of code generation: 3 takes as long again and gives the same code


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine, as LLVM knows it; `width` is that of its vectors, in bytes."""

    triple: str
    cpu: str
    features: str
    width: int
    version: str


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """Machine code in memory. The engine lives as long as anything that points into it."""

    engine: Any
    function: Any
    address: int
    cached: bool


_lock: Final = threading.Lock()


@cache
def machine() -> Machine:
    """What to compile for."""
    binding = require("llvmlite.binding")
    with _lock:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features()
    width = 64 if features.get("avx512f") else 32 if features.get("avx") else 16
    version = ".".join(map(str, binding.llvm_version_info))
    return Machine(
        binding.get_default_triple(),
        binding.get_host_cpu_name(),
        features.flatten(),
        width,
        f"{version} {platform.machine()}",
    )


def target_machine() -> Any:
    """A fresh target machine: an engine takes ownership of the one it is given."""
    binding = require("llvmlite.binding")
    host = machine()
    return binding.Target.from_triple(host.triple).create_target_machine(
        cpu=host.cpu, features=host.features, opt=LEVEL, reloc="pic", codemodel="jitdefault"
    )


def build(text: str, name: str, signature: Any, announce: Callable[[], None] | None = None) -> Code:
    """The machine code of a function in LLVM IR; `announce` is called before LLVM has to make it.

    Raises GraphError with LLVM's own words where the IR is wrong.
    """
    binding = require("llvmlite.binding")
    host = machine()
    entry = disk.key(text, host.triple, host.cpu, host.features, host.version, str(LEVEL))
    stored = disk.load(entry)
    hit = stored is not None
    if not hit and announce is not None:
        announce()
    try:
        if stored is None:
            stored = beside(_object_code, text, entry)
        with _lock:
            engine = binding.create_mcjit_compiler(binding.parse_assembly(""), target_machine())
            engine.add_object_file(binding.object_file.ObjectFileRef.from_data(stored))
            engine.finalize_object()
            address = engine.get_function_address(name)
    except RuntimeError as error:
        raise GraphError(message("llvm", f"IR that LLVM refuses: {error}")) from error
    if config().perf:
        _map(name, entry, address, stored)
    return Code(engine, signature(address), address, hit)


def _object_code(text: str, entry: str) -> bytes:
    """LLVM's part, which Ctrl-C does not end: what it makes is kept for the next time, whoever waits for it."""
    binding = require("llvmlite.binding")
    with _lock:
        code: bytes = target_machine().emit_object(binding.parse_assembly(text))
    disk.save(entry, code)
    return code


def _map(name: str, entry: str, address: int, code: bytes) -> None:
    """Tell Linux perf (and samply) what lies at an address: a line in /tmp/perf-<pid>.map."""
    binding = require("llvmlite.binding")
    sections = binding.object_file.ObjectFileRef.from_data(code).sections()
    size = next((section.size() for section in sections if section.is_text()), 0)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK  # anybody may write to /tmp
    try:
        descriptor = os.open(f"/tmp/perf-{os.getpid()}.map", flags, 0o600)
    except OSError:
        return
    with os.fdopen(descriptor, "a", encoding="ascii") as file:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid():
            file.write(f"{address:x} {size:x} tinygrad_nn_{name}_{entry[:8]}\n")


def assembly(text: str) -> str:
    """The machine code of IR as text."""
    binding = require("llvmlite.binding")
    machine()
    return str(target_machine().emit_assembly(binding.parse_assembly(text)))


SIGNATURE: Final = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)
