"""Programs that were compiled before, by the description of their job: in this process, and on disk.

What is kept is the image and the machine code, so a compilation that is recognised costs its description and, from the
disk, the loading of the code. Nothing that somebody gave is kept: no tensor, no module, no graph.

An entry on disk is the key of the object code in the cache, and the image as JSON, signed like that. It is good for one
state of the package: a file that changed, another NumPy or LLVM, and its name is another.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from ..errors import GraphError, MissingExtra
from ..support.fork import new_lock
from .blas import gemm_address
from .codegen import cache as disk
from .codegen import native
from .codegen.native import Code, Object
from .description import described
from .image import Image, read, written
from .job import Job
from .target import Target

KEPT: Final = 256  # programs in this process, those used last
ROOM: Final = 2**26  # bytes of their machine code and constants; one that would take an eighth of it is not kept
_PACKAGE: Final = Path(__file__).parents[1]
_IMPORTED: Final = time.time()


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A program that can be run: its image and its machine code, and the bytes that they take where they are kept."""

    image: Image
    code: Code
    size: int = 0


_lock: Final = new_lock()
_known: Final[OrderedDict[str, Known]] = OrderedDict()


def key_of(job: Job, target: Target) -> str | None:
    """The name of the program that a job becomes on a target; None of one that cannot be recognised."""
    description = described(job)
    return None if description is None else disk.key(description, repr(target))


def recall(key: str, target: Target, on_disk: bool = True) -> Known | None:
    """The program of this name, if there is one."""
    with _lock:
        known = _known.get(key)
        if known is not None:
            _known.move_to_end(key)
            return known
    known = _from_disk(key, target) if on_disk else None
    if known is not None:
        _keep(key, known)
    return known


def remember(key: str, image: Image, made: Object, code: Code, on_disk: bool = True) -> None:
    """Keep a program under its name, but for one that is very large."""
    size = len(made.code) + sum(one.nbytes for _, one in image.constants if not isinstance(one, np.dtype))
    if size > ROOM // 8:
        return
    constants = tuple((at, one if isinstance(one, np.dtype) else np.array(one)) for at, one in image.constants)
    own = replace(image, constants=constants)
    _keep(key, Known(own, code, size))
    name = entry_of(key) if on_disk else None
    if name is not None:
        disk.save(name, f"{made.key}\n{written(own)}".encode(), "image")


def forget() -> None:
    """Keep nothing but what is on disk."""
    with _lock:
        _known.clear()


def _keep(key: str, known: Known) -> None:
    """One more, in place of those used longest ago."""
    with _lock:
        _known[key] = known
        while len(_known) > KEPT or sum(one.size for one in _known.values()) > ROOM:
            _known.popitem(last=False)


def _from_disk(key: str, target: Target) -> Known | None:
    name = entry_of(key)
    content = None if name is None else disk.load(name, "image")
    if content is None:
        return None
    entry, _, text = content.decode(errors="replace").partition("\n")
    code = disk.load(entry)
    if code is None:
        return None
    try:
        image = read(text)
        for _, one in image.constants:
            if isinstance(one, np.dtype):
                gemm_address(one)
        return Known(image, native.load(Object(code, entry, True), "run", target), len(code) + len(text))
    except (ValueError, GraphError, MissingExtra):
        return None


def entry_of(key: str) -> str | None:
    """The name on disk: of a program as this state of the package makes it."""
    state = _state()
    return None if state is None else disk.key(key, state, native.version(), np.__version__)


@cache
def _state() -> str | None:
    """The files of the package, by size and time of the last change; None where one has changed since it was read."""
    found, folders = [], [""]
    with suppress(OSError):  # of a package that is no folder
        for folder in folders:
            with os.scandir(_PACKAGE / folder) as entries:
                for entry in entries:
                    if entry.is_dir():
                        folders += [f"{folder}{entry.name}/"] if entry.name != "__pycache__" else []
                    elif entry.name.endswith(".py"):
                        status = entry.stat()
                        found.append((folder, entry.name, status.st_size, status.st_mtime_ns))
    changed = any(time >= 1e9 * _IMPORTED for *_, time in found)
    return None if changed or not found else repr((sorted(found), find_spec("scipy") is not None))
