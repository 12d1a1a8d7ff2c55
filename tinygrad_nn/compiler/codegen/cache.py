"""Object code on disk, keyed by what it was made from, and what else is known of a compilation. Nothing that is read
from here is executed, or believed, unless it is ours.

The library makes a folder of its own, of mode 0700, inside of whatever TGNN_CACHE names; entries and the key they are
signed with are files of mode 0600 in it. Everything is opened below the descriptor of that folder, never through a
link, and judged by the open descriptor: a folder or a file with another owner or mode, a pipe, a device, content that
the key has not signed under this name. What fails is ignored and made again: a cache is never a reason for an error.
Several processes may write at once: each file is written under another name, then renamed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Literal

from ...config import config
from ...support.folders import NO_LINK, POSIX, is_private, opened

LIMIT: Final = 64 * 2**20  # bytes in all
SIGNATURE: Final = 32  # bytes before the code
KEY: Final = "key"
Kind = Literal["o", "image", "measured"]  # object code, what is known of it, and of this machine
KINDS: Final = (".o", ".image", ".measured")
STALE: Final = 3600  # seconds after which a file that nobody has renamed was left behind


def key(*parts: str) -> str:
    """The name of an entry: a hash of everything it depends on."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()


def load(name: str, kind: Kind = "o") -> bytes | None:
    """An entry, or None where there is none that can be trusted."""
    file = f"{name}.{kind}"
    with suppress(OSError), _opened(make=False) as folder:
        secret = _read(folder, KEY)
        content = _read(folder, file, used=True)
        if secret is None or len(secret) != SIGNATURE or content is None:
            return None
        signature, code = content[:SIGNATURE], content[SIGNATURE:]
        return code if hmac.compare_digest(signature, _signed(secret, file, code)) else None
    return None


def save(name: str, code: bytes, kind: Kind = "o") -> None:
    """Keep an entry, where that is possible."""
    file = f"{name}.{kind}"
    with suppress(OSError), _opened(make=True) as folder:
        _write(folder, file, _signed(_secret(folder), file, code) + code)
        _shrink(folder)


def own_folder() -> str:
    """The name of this user's folder in the one that users may share."""
    return f"code-{os.getuid()}" if POSIX else "code"


def _signed(secret: bytes, file: str, code: bytes) -> bytes:
    """What only who has the key can say of this content under this name."""
    return hashlib.blake2b(file.encode() + code, digest_size=SIGNATURE, key=secret).digest()


def _secret(folder: int) -> bytes:
    """The key of a folder. The first process makes it; a spoilt one is replaced, and with it goes what it signed."""
    found = _read(folder, KEY)
    if found is not None and len(found) == SIGNATURE:
        return found
    made = os.urandom(SIGNATURE)
    _write(folder, KEY, made, replace=not _is_free(folder, KEY))
    found = _read(folder, KEY)  # that of another process, if it was faster
    if found is None or len(found) != SIGNATURE:
        raise OSError("a key that nobody can write")
    return found


@contextmanager
def _opened(make: bool) -> Iterator[int]:
    """The descriptor of our folder. OSError where there is none that is ours alone."""
    outer = config().cache
    if outer is None:
        raise OSError("no cache")
    with opened(outer, make) as above, opened(own_folder(), make, above) as folder:
        if not is_private(os.fstat(folder)):
            raise OSError("a folder that others may use")
        yield folder


def _is_free(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return True
    return False


def _read(folder: int, name: str, used: bool = False) -> bytes | None:
    """The content of a file of ours, None for any other. With `used` it counts as used now."""
    try:
        descriptor = os.open(name, os.O_RDONLY | NO_LINK, dir_fd=folder)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not (stat.S_ISREG(status.st_mode) and is_private(status) and status.st_size <= LIMIT):
            return None
        if used:
            with suppress(OSError):  # of a disk that is only read
                os.utime(descriptor)
        return file.read(LIMIT)


def _write(folder: int, name: str, content: bytes, replace: bool = True) -> None:
    """Make a file of mode 0600 at once, in place of another; with `replace=False` only where there is none yet."""
    temporary = f"{os.urandom(8).hex()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask takes away
            file.write(content)
        if replace:
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            try:
                os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except FileExistsError:
                pass
            except OSError:  # a file system without hard links: the last one stays, and signs
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)


def _shrink(folder: int) -> None:
    """Remove the entries used longest ago where there are too many, and what killed processes left."""
    entries = []
    with os.scandir(folder) as found:
        for entry in found:
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if entry.name.endswith(KINDS):
                    entries.append((status.st_mtime, status.st_size, entry.name))
                elif entry.name.endswith(".tmp") and status.st_mtime < time.time() - STALE:
                    os.unlink(entry.name, dir_fd=folder)
    total = sum(size for _, size, _ in entries)
    for _, size, name in sorted(entries):
        if total <= LIMIT:
            break
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        total -= size
