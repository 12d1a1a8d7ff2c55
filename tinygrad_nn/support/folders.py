"""The folder for what can be made or fetched again: where it is, and how it is opened so that it is this user's alone.

Compiled code and downloads both ask here. A folder is opened by its descriptor and never through a link, and judged by
the open descriptor, so that nothing can be put in its place between the look and the use.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ..errors import MissingExtra
from .extras import require

POSIX: Final = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


def cache_place() -> Path | None:
    """Where the platform keeps a user's caches, in a folder of our name; None for a user without a home."""
    try:
        return Path(require("platformdirs").user_cache_dir("tinygrad_nn", appauthor=False))
    except (RuntimeError, MissingExtra):  # a cache is never a reason for an error
        return None


@contextmanager
def opened(path: str | Path, make: bool, below: int | None = None) -> Iterator[int]:
    """The descriptor of a folder that is no link; with `make` it is there afterwards, of mode 0700 if it is new.

    `below` is the descriptor of the folder that a relative path starts at. Raises OSError where there is none.
    """
    if not POSIX:
        raise OSError("a platform without descriptors of folders")
    if make and below is None:
        os.makedirs(path, 0o700, exist_ok=True)
    elif make:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700, dir_fd=below)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | NO_LINK, dir_fd=below)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_private(path: Path) -> None:
    """Make a folder where there is none, and let nobody else in. Raises OSError for a link and for another's folder."""
    if not POSIX:
        path.mkdir(parents=True, exist_ok=True)
        return
    with opened(path, make=True) as folder:
        if os.fstat(folder).st_uid != os.getuid():
            raise PermissionError(0, "the folder of another user")
        os.fchmod(folder, stat.S_IRWXU)


def is_private(status: os.stat_result) -> bool:
    """Whether nobody else can read or change what this is the status of."""
    return status.st_uid == os.getuid() and not status.st_mode & 0o077
