"""LLVM, through llvmlite: IR text to object code for a target, and to machine code in this process.

The code of `llvm` needs no optimiser: instructions already are where they belong, so LLVM only selects them and
allocates registers. Object code for this machine goes through the cache; that for another is made by a child process,
since an assertion of LLVM that does not hold ends the process. This file and `emit.py` alone touch llvmlite.
"""

from __future__ import annotations

import ctypes
import os
import platform
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from ...config import config
from ...errors import ConfigError, GraphError, message
from ...support.extras import require
from ...support.fork import new_lock
from ...support.interrupt import beside
from ..target import Target
from . import cache as disk
from . import emit

SIGNATURE: Final = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)


@dataclass(frozen=True, slots=True, eq=False)
class Object:
    """Object code, the key of the cache it goes by, and whether it came from there."""

    code: bytes
    key: str
    cached: bool

    def verify(self) -> Object:
        """Check that it is some; every format begins with a magic number. Raises GraphError."""
        if not self.code.startswith((b"\x7fELF", b"\0asm", b"\xcf\xfa\xed\xfe")) and sys.platform != "win32":
            raise GraphError(message("llvm", f"object code that begins with {self.code[:4]!r}", "ELF, wasm or Mach-O"))
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """Machine code in memory. The engine lives as long as anything that points into it."""

    engine: Any
    function: Any
    address: int
    cached: bool

    def verify(self) -> Code:
        """Check that there is a function. Raises GraphError."""
        if not self.address:
            raise GraphError(message("llvm", "no function of that name in the object code"))
        return self


_lock: Final = new_lock(patient=True)  # no child could enter LLVM again that a fork found inside
_OLDER: Final = {  # a model that LLVM knows, the features that it does not have yet, and one that it has
    "avx2": ("haswell", ("avx512", "avx10", "amx"), "avx2"),
    "sse": ("nehalem", ("avx", "amx", "fma", "f16c", "xop", "vaes", "vpclmulqdq"), "sse4.2"),
}


@cache
def host() -> Target:
    """This machine, or the older one of its family that TGNN_CPU asks for. Raises ConfigError where it is none."""
    binding = require("llvmlite.binding")
    with _lock:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
    features, cpu = binding.get_host_cpu_features(), config().cpu
    if cpu != "native":
        model, without, needed = _OLDER[cpu]
        if not features.get(needed):
            raise ConfigError(message("TGNN_CPU", f"{cpu} on a processor without {needed}", "native"))
        for name in features:
            features[name] = features[name] and not name.startswith(without)
    width = 64 if features.get("avx512f") else 32 if features.get("avx") else 16
    triple = binding.get_default_triple()
    fma = bool(features.get("fma") or features.get("fma4")) or not triple.startswith(("x86", "i"))
    name = binding.get_host_cpu_name() if cpu == "native" else model
    return Target(triple, name, features.flatten(), width, fma, blas=True)


@cache
def version() -> str:
    """What else object code depends on: LLVM's version, and how the machine calls itself."""
    parts = require("llvmlite.binding").llvm_version_info
    return f"{'.'.join(map(str, parts))} {platform.machine()} {emit.LEVEL} {emit.OFF}"


def object_code(text: str, target: Target, announce: Callable[[], None] = lambda: None) -> Object:
    """The object code of LLVM IR; `announce` is called before LLVM has to make it.

    Raises GraphError with LLVM's own words where the IR is wrong.
    """
    key = disk.key(text, repr(target), version())
    code = disk.load(key)
    if code is not None:
        return Object(code, key, True)
    announce()
    return Object(beside(_object_code, text, target, key), key, False)


def _object_code(text: str, target: Target, key: str) -> bytes:
    """LLVM's part, which Ctrl-C does not end: what it makes is kept for the next time, whoever waits for it."""
    code = _emitted(text, target) if target.triple == host().triple else _emitted_by_a_child(text, target)
    disk.save(key, code)
    return code


def _machine(target: Target) -> Any:
    return emit.machine(require("llvmlite.binding"), target.triple, target.cpu, target.features)


def _emitted(text: str, target: Target) -> bytes:
    binding = require("llvmlite.binding")
    with _lock:
        try:
            return emit.emitted(binding, text, _machine(target))
        except RuntimeError as error:
            raise GraphError(message("llvm", f"IR that LLVM refuses: {error}")) from error


def _emitted_by_a_child(text: str, target: Target) -> bytes:
    require("llvmlite.binding")
    command = [sys.executable, "-P", str(Path(emit.__file__)), target.triple, target.cpu, target.features]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
        raise GraphError(message("llvm", f"IR that LLVM refuses for {target.triple} ({ended}): {said}"))
    return done.stdout


def load(made: Object, name: str, target: Target) -> Code:
    """The function of this name in this process. Raises GraphError where the code is for another machine."""
    if target.triple != host().triple:
        raise GraphError(message("llvm", f"code for {target.triple} to run here", f"code for {host().triple}"))
    binding = require("llvmlite.binding")
    with _lock:
        try:
            engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _machine(target))
            engine.add_object_file(binding.object_file.ObjectFileRef.from_data(made.code))
            engine.finalize_object()
            address = engine.get_function_address(name)
        except RuntimeError as error:
            raise GraphError(message("llvm", f"object code that LLVM refuses: {error}")) from error
    if config().perf:
        _map(name, made.key, address, made.code)
    return Code(engine, SIGNATURE(address), address, made.cached)


def verify(text: str) -> str:
    """The text, if LLVM finds nothing wrong with it; else GraphError."""
    binding = require("llvmlite.binding")
    with _lock:
        try:
            binding.parse_assembly(text).verify()
        except RuntimeError as error:
            raise GraphError(message("llvm", f"IR that LLVM refuses: {error}")) from error
    return text


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


def assembly(text: str, target: Target) -> str:
    """The machine code of IR as text."""
    binding = require("llvmlite.binding")
    with _lock, emit.without_search(binding, target.triple):
        return str(_machine(target).emit_assembly(binding.parse_assembly(text)))
