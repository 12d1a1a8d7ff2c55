"""Reading files that are files, and writing them whole or not at all.

Whatever goes wrong is a FileError under the name of the user's function, with the path that the user gave. A pipe or a
device is not a file: one waits for ever where it is read, the other never ends.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import FileError, message

Content = bytes | Sequence[bytes | memoryview]


def as_path(op: str, path: Any) -> Path:
    """A path as users give it; raises FileError for what is none."""
    try:
        return Path(path)
    except Exception:  # bytes, numbers, and what a foreign __fspath__ raises
        raise FileError(message(op, f"a {type(path).__name__} as the path", "a string or a Path")) from None


def read(path: str | os.PathLike[str], op: str, expected: str) -> bytes:
    """The content of a file. Raises FileError, for `op` that `expected` something."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            check_regular(os.fstat(descriptor))
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        fault = FileError(message(op, f"no file {os.fspath(path) or repr('')}", expected))
        fault.strerror = "No such file or directory"
        raise fault from None
    except (OSError, ValueError, MemoryError, OverflowError) as error:
        raise _fault(op, path, "read", error, expected) from None


def write_atomic(path: Path, content: Content, op: str = "write", family: Path | None = None) -> None:
    """Write a temporary file in the same folder, flush it to disk, and rename it to `path`. Content may be in parts.

    A reader sees the old content or the new, never a part; after an error (FileError) the old file is still there.
    `remove_leftovers(family)` finds what is left of it after a kill; by default it has a family of its own.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "note.txt"
    >>> write_atomic(path, b"hello")
    >>> path.read_text()
    'hello'
    """
    try:
        _write_atomic(path, content, family or path)
    except (OSError, ValueError) as error:
        raise _fault(op, path, "written", error, "room on the disk and a folder that exists") from None


def write_together(files: Sequence[tuple[Path, bytes]], op: str) -> None:
    """Write files that belong together: none where one of them has no place, or that of another."""
    for k, (path, _) in enumerate(files):
        try:
            if path.exists():
                check_regular(path.stat())
            if path in [other for other, _ in files[:k]]:
                raise ValueError("the file that comes beside it has that name")
        except (OSError, ValueError) as error:
            raise _fault(op, path, "written", error, "a path with an ending of its own") from None
    for path, content in files:
        write_atomic(path, content, op)


def write_figure(figure: Any, path: Any, op: str) -> None:
    """Write a matplotlib figure whole or not at all; the ending of the path, without one png, is its format.

    Raises FileError for what is no path, for an ending that matplotlib does not know, and where it cannot be written.
    """
    target, picture = as_path(op, path), io.BytesIO()
    target = target if target.suffix or not target.name else target.with_name(f"{target.name}.png")
    try:
        figure.savefig(picture, format=target.suffix[1:] or "png")
    except ValueError as error:
        raise _fault(op, target, "written", error, "an ending such as .png, .svg or .pdf") from None
    write_atomic(target, picture.getvalue(), op)


def check_regular(status: os.stat_result) -> None:
    """Raise OSError for what is no file."""
    for test, kind in _OTHERS:
        if test(status.st_mode):
            raise OSError(kind)


_OTHERS = (
    (stat.S_ISDIR, "Is a directory"),
    (stat.S_ISFIFO, "a pipe, and not a file"),
    (stat.S_ISSOCK, "a socket, and not a file"),
    (stat.S_ISCHR, "a device, and not a file"),
    (stat.S_ISBLK, "a device, and not a file"),
)


def _write_atomic(path: Path, content: Content, family: Path) -> None:
    if path.exists():
        check_regular(path.stat())
    temporary = path.with_name(f"{_mark(family)}{os.urandom(8).hex()}.tmp")
    try:
        with temporary.open("xb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
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


def _fault(op: str, path: str | os.PathLike[str], done: str, error: Exception, expected: str) -> FileError:
    reason = str(getattr(error, "strerror", None) or error or "no memory for it")
    fault = FileError(message(op, f"{os.fspath(path) or repr('')}, which cannot be {done} ({reason})", expected))
    fault.strerror = reason
    return fault


def remove_leftovers(path: Path) -> None:
    """Remove what a process that was killed while it wrote `path` left behind. Nobody may be writing it now."""
    for temporary in path.parent.glob(f"{_mark(path)}*.tmp"):
        temporary.unlink(missing_ok=True)


def _mark(path: Path) -> str:
    """How the names of a file's temporary ones begin: of one length, for the longest name too."""
    return f".{hashlib.blake2b(path.name.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}."
