"""Object code on disk, keyed by what it was made from. Nothing that is read from here is executed unless it is ours.

The folder is ours alone (0700, no link, owned by this user); every entry begins with its own SHA-256. A file that is
damaged, foreign or not readable is ignored and made again. Several processes may write at once: each entry is written
to a temporary file and renamed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from ..config import config
from ..files import write_atomic

LIMIT: Final = 64 * 2**20  # bytes in all
DIGEST: Final = 32


def key(*parts: str) -> str:
    """The name of an entry: a hash of everything it depends on."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()


def load(name: str) -> bytes | None:
    """An entry, or None where there is none that can be trusted."""
    folder = config().cache
    if folder is None or not _is_ours(folder):
        return None
    path = folder / f"{name}.o"
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
                return None
            content = file.read(LIMIT)
        if path.is_symlink() or hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
            return None
        os.utime(path)
    except OSError:
        return None
    return content[DIGEST:]


def save(name: str, code: bytes) -> None:
    """Keep an entry; a cache that cannot be written is no error."""
    folder = config().cache
    if folder is None:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_ours(folder):
            return
        write_atomic(folder / f"{name}.o", hashlib.sha256(code).digest() + code)
        _shrink(folder)
    except OSError:
        return


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can put files there."""
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        return False
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


def _shrink(folder: Path) -> None:
    """Remove the entries used longest ago where there are too many."""
    entries = []
    for path in folder.glob("*.o"):
        try:
            status = path.stat()
        except OSError:
            continue
        entries.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= LIMIT:
            break
        path.unlink(missing_ok=True)
        total -= size
