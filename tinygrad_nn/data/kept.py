"""Decoded chunks on the disk: what a file holds is decoded once, and read back as fast as memory is copied.

The file has no name: it is gone with the object, and with the process, however that ends. Chunks lie in it in their own
order of rows, so an epoch in any order finds the same numbers here as in the files they are from. Where there is no
room, or writing fails, nothing is kept and nothing is lost.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, Final
from weakref import finalize

import numpy as np

from ..support.arrays import Array
from ..support.fork import new_lock
from .chunks import Type

_BLOCK: Final = 2**20  # bytes that are put in order in one go
_ROOM: Final = 2.0  # so many times what is kept has to be free
_IN_MEMORY: Final = frozenset(("tmpfs", "ramfs"))


class Kept:
    """Room on a disk for chunks of these rows, each with arguments of these types."""

    def __init__(self, folder: Path | None, types: Sequence[Type], rows: Sequence[int]) -> None:
        self.rows, self.widths = rows, [int(np.prod(shape)) * kind.itemsize for shape, kind in types]
        self.offsets = [0, *accumulate(count * sum(self.widths) for count in rows)]
        self.folder, self.lock = folder, new_lock()
        self.file: IO[bytes] | None = None
        self.there: set[int] = set()
        self.seen: set[int] = set()  # chunks that were decoded at least once
        self.given_up = False

    def has(self, number: int) -> bool:
        """Whether a chunk can be read from here."""
        return number in self.there

    def wants(self, number: int, again: bool) -> bool:
        """Whether it pays to keep a chunk that was decoded just now: if it is needed `again`, or was before."""
        known = number in self.seen
        self.seen.add(number)
        return (again or known) and not self.given_up

    def write(self, number: int, columns: Sequence[Array], places: Array | slice) -> None:
        """Keep a chunk, whose rows are at these places of the columns."""
        try:
            with self.lock:
                file = self._begun(number)
                for column, width in zip(columns, self.widths, strict=True):
                    for some in self._blocks(number, width, places):
                        _write(file, column[some])
                self.there.add(number)
        except OSError:
            self.given_up = True

    def read(self, number: int, columns: Sequence[Array], places: Array | slice) -> None:
        """Put the rows of a chunk at these places of the columns."""
        with self.lock:
            file = self._begun(number)
            for column, width in zip(columns, self.widths, strict=True):
                for some in self._blocks(number, width, places):
                    in_place = isinstance(some, slice) and column.flags.c_contiguous
                    count = some.stop - some.start if isinstance(some, slice) else len(some)
                    block = column[some] if in_place else np.empty((count, *column.shape[1:]), column.dtype)
                    _fill(file, block)
                    if not in_place:
                        column[some] = block

    def _blocks(self, number: int, width: int, places: Array | slice) -> Iterator[Array | slice]:
        """The places of some rows after the other."""
        step, count = max(1, _BLOCK // max(1, width)), self.rows[number]
        for low in range(0, count, step):
            high = min(low + step, count)
            start = places.start if isinstance(places, slice) else 0
            yield slice(start + low, start + high) if isinstance(places, slice) else places[low:high]

    def _begun(self, number: int) -> IO[bytes]:
        """The file, where a chunk begins."""
        file = self._opened()
        file.seek(self.offsets[number])
        return file

    def _opened(self) -> IO[bytes]:
        """The file. Raises OSError where there is no room."""
        if self.file is None:
            size = self.offsets[-1]
            folder = next((one for one in self._folders() if shutil.disk_usage(one).free >= _ROOM * size), None)
            if folder is None:
                raise OSError(f"no room for {size:,} bytes")
            self.file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
            finalize(self, self.file.close)
        return self.file

    def _folders(self) -> list[Path]:
        """Where it may lie: in the folder that was given, else where temporary files do, if that is on a disk."""
        if self.folder is not None:
            return [self.folder]
        usual = (Path(tempfile.gettempdir()), Path("/var/tmp"))
        return [one for one in usual if one.is_dir() and _kind_of_file_system(one) not in _IN_MEMORY]


def _write(file: Any, block: Any) -> None:
    rows: Any = np.ascontiguousarray(block)
    view = memoryview(rows).cast("B")
    while view:
        view = view[file.write(view) :]


def _fill(file: Any, room: Any) -> None:
    """Read an array whole."""
    view = memoryview(room).cast("B")
    while view:
        count = file.readinto(view)
        if not count:
            raise OSError("a file that ends too early")
        view = view[count:]


def _kind_of_file_system(folder: Path) -> str:
    """Its name, as in /proc/mounts; empty where that is not known."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    path = os.path.realpath(folder)
    found = [(len(at), kind) for at, kind in mounts if path == at or path.startswith(at.rstrip("/") + "/")]
    return max(found, default=(0, ""))[1]
