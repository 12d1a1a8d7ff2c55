"""Writing files whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def write_atomic(path: Path, content: bytes, family: Path | None = None) -> None:
    """Write a temporary file in the same folder, flush it to disk, and rename it to `path`.

    A reader sees the old content or the new, never a part; after an error (OSError) the old file is still there.
    `remove_leftovers(family)` finds what is left of it after a kill; by default it has a family of its own.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "note.txt"
    >>> write_atomic(path, b"hello")
    >>> path.read_text()
    'hello'
    """
    temporary = path.with_name(f"{_mark(family or path)}{os.urandom(8).hex()}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself reaches the disk with the folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_leftovers(path: Path) -> None:
    """Remove what a process that was killed while it wrote `path` left behind. Nobody may be writing it now."""
    for temporary in path.parent.glob(f"{_mark(path)}*.tmp"):
        temporary.unlink(missing_ok=True)


def _mark(path: Path) -> str:
    """How the names of a file's temporary ones begin: of one length, for the longest name too."""
    return f".{hashlib.blake2b(path.name.encode('utf-8', 'surrogateescape'), digest_size=8).hexdigest()}."
