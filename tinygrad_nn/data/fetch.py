"""A small data file from the network, once: checked, cached, and never trusted.

The cache is $XDG_CACHE_HOME/tinygrad_nn or ~/.cache/tinygrad_nn, a real folder of mode 0700 that belongs to the user. A
file in it is used only when its SHA-256 is the expected one; otherwise it is fetched again and replaced.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from http.client import HTTPException
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, NamedTuple
from urllib.request import urlopen

from ..errors import DataError, message
from ..files import write_atomic


class Source(NamedTuple):
    """A public file: address, SHA-256 of its content in hex, and its name in the cache."""

    url: str
    sha256: str
    name: str


TITANIC: Final = Source("https://raw.githubusercontent.com/datasciencedojo/datasets/master/titanic.csv",
                        "4a437fde05fe5264e1701a7387ac6fb75393772ba38bb2c9c566405af5af4bd7", "titanic.csv")


def cached_download(url: str, sha256: str, name: str, *, timeout: float = 5.0) -> Path:
    """Path of the file at `url`, downloaded when the cache does not hold it yet.

    `name` is a plain file name; `timeout` is in seconds, for the whole download. Raises DataError when there is no
    connection, the address or the cache fails, or the content does not have the expected SHA-256.

        path = cached_download(*TITANIC)
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
        raise DataError(message("cached_download", f"name {name!r}", "a plain file name",
                                "use letters, digits, '.', '_' and '-'"))
    path = cache_folder() / name
    if path.is_file() and not path.is_symlink() and _digest(path.read_bytes()) == sha256:
        return path
    content = _download(url, timeout)
    if _digest(content) != sha256:
        raise DataError(message("cached_download", f"{len(content)} bytes with SHA-256 {_digest(content)} from {url}",
                                sha256, "the file there has changed; check it before you trust it"))
    try:
        write_atomic(path, content)
    except OSError as error:
        raise DataError(message("cached_download", f"{path}: {error.strerror}", "a cache that can be written",
                                "set XDG_CACHE_HOME to a folder of yours")) from error
    return path


def cache_folder() -> Path:
    """The cache folder, created when it does not exist; DataError when it is a link or belongs to someone else."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = (Path(base) if os.path.isabs(base) else Path("~/.cache").expanduser()) / "tinygrad_nn"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
            raise DataError(message("cache_folder", f"{folder}, a link or the folder of another user",
                                    "a folder of this user", "remove it, or set XDG_CACHE_HOME"))
        folder.chmod(0o700)
    except OSError as error:
        raise DataError(message("cache_folder", f"{folder}: {error.strerror}", "a folder that can be written",
                                "set XDG_CACHE_HOME to a folder of yours")) from error
    return folder


def _download(url: str, timeout: float) -> bytes:
    """Content at `url`; a thread, so that `timeout` covers name lookup and slow servers, as a socket's does not."""
    if not url.startswith(("https://", "http://", "file://")):
        raise DataError(message("cached_download", f"address {url!r}", "an https, http or file address",
                                "give the full address"))
    answer: SimpleQueue[bytes | Exception] = SimpleQueue()
    Thread(target=_fetch, args=(url, timeout, answer), daemon=True).start()
    try:
        content = answer.get(timeout=timeout)
    except Empty:
        content = TimeoutError(f"no complete answer in {timeout:g} s")
    if isinstance(content, Exception):
        raise DataError(message("cached_download", f"no answer from {url}: {content}", "a connection to the network",
                                "download the file by hand and pass its path")) from content
    return content


def _fetch(url: str, timeout: float, answer: SimpleQueue[bytes | Exception]) -> None:
    try:
        with urlopen(url, timeout=timeout) as response:
            answer.put(response.read())
    except (OSError, HTTPException, ValueError) as error:
        answer.put(error)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
