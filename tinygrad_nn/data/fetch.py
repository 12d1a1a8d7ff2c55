"""A small data file from the network, once: checked, cached, and never trusted. The work is pooch's (extra `data`).

The cache is the folder `tinygrad_nn` among those that the platform keeps for caches, of mode 0700. A file in it is used
only when its SHA-256 is the expected one; otherwise it is fetched again and replaced, whole or not at all.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256 as digest
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread, get_ident
from typing import Any, Final, NamedTuple
from urllib.request import urlopen

from ..errors import DataError, message
from ..support.extras import require
from ..support.folders import cache_place, make_private
from ..support.settings import number, typed_as


class Source(NamedTuple):
    """A public file: address, SHA-256 of its content in hex, and its name in the cache."""

    url: str
    sha256: str
    name: str


TITANIC: Final = Source("https://raw.githubusercontent.com/datasciencedojo/datasets/master/titanic.csv",
                        "4a437fde05fe5264e1701a7387ac6fb75393772ba38bb2c9c566405af5af4bd7", "titanic.csv")
WRITABLE: Final = "a cache that can be written, with room for the file"


@typed_as(DataError)
def cached_download(url: str, sha256: str, name: str, *, timeout: float = 5.0, progress: bool = False) -> Path:
    """Path of the file at `url`, downloaded when the cache does not hold it yet.

    `name` is a plain file name; `timeout` is in seconds, for the whole download; `progress` shows a bar (extra `ui`).
    Raises DataError when there is no connection, the address or the cache fails, or the content does not have the
    expected SHA-256.

        path = cached_download(*TITANIC)
    """
    op = "cached_download"
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
        raise DataError(message(op, f"name {name!r}", "a plain file name", "use letters, digits, '.', '_' and '-'"))
    if not url.startswith(("https://", "http://", "file://")):
        raise DataError(message(op, f"address {url!r}", "an https, http or file address", "give the full address"))
    pooch, folder = require("pooch", "data"), cache_folder()
    download = _Download(pooch, number(op, "timeout", timeout, above=0), require("tqdm", "ui") if progress else None)
    try:
        if (folder / name).is_symlink():  # what it leads to may be another's
            (folder / name).unlink()
        with _silent(pooch.get_logger()):
            return Path(pooch.retrieve(url, f"sha256:{sha256}", name, folder, downloader=download))
    except DataError:
        raise
    except OSError as error:
        got = f"{folder / name}: {error.strerror or error}"
        raise DataError(message(op, got, WRITABLE, "set XDG_CACHE_HOME to a folder of yours")) from error
    except ValueError:
        got = f"{len(download.content)} bytes with SHA-256 {digest(download.content).hexdigest()} from {url}"
        raise DataError(message(op, got, sha256, "the file there has changed; check it before you trust it")) from None


def cache_folder() -> Path:
    """The cache folder, created when it does not exist; DataError when it is a link or belongs to someone else."""
    folder = cache_place()
    if folder is None:
        raise DataError(message("cache_folder", "no folder for caches", "a user with a home", "set XDG_CACHE_HOME"))
    try:
        make_private(folder)
    except OSError as error:
        if folder.is_symlink() or folder.is_dir():
            raise DataError(message("cache_folder", f"{folder}, a link or the folder of another user",
                                    "a folder of this user", "remove it, or set XDG_CACHE_HOME")) from error
        raise DataError(message("cache_folder", f"{folder}: {error.strerror}", "a folder that can be written",
                                "set XDG_CACHE_HOME to a folder of yours")) from error
    return folder


class _Download:
    """What pooch calls for the content at an address. It keeps it, so that an error can say what came."""

    def __init__(self, pooch: Any, timeout: float, tqdm: Any) -> None:
        self.pooch, self.timeout, self.tqdm = pooch, timeout, tqdm
        self.content = b""

    def __call__(self, url: str, file: Any, pooch: Any) -> None:
        """Write the content; a thread gets it, so that the time covers name lookup and slow servers."""
        answer: SimpleQueue[bytes | Exception] = SimpleQueue()
        Thread(target=self._get, args=(url, answer), daemon=True).start()
        try:
            content = answer.get(timeout=self.timeout)
        except Empty:
            content = TimeoutError(f"no complete answer in {self.timeout:g} s")
        if isinstance(content, Exception):
            raise DataError(message("cached_download", f"no answer from {url}: {content}",
                                    "a connection to the network",
                                    "download the file by hand and pass its path")) from content
        self.content = content
        Path(file).write_bytes(content)

    def _get(self, url: str, answer: SimpleQueue[bytes | Exception]) -> None:
        try:
            if url.startswith("file://"):  # which pooch does not know
                with urlopen(url) as file:
                    answer.put(file.read())
                return
            received = io.BytesIO()
            self.pooch.HTTPDownloader(self.tqdm is not None, timeout=self.timeout)(url, received, None)
            answer.put(received.getvalue())
        except Exception as error:  # that of whatever lies below; the caller raises its own
            answer.put(error)


@contextmanager
def _silent(logger: Any) -> Iterator[None]:
    """Nothing that nobody asked for: pooch would log each download. What other threads log is theirs."""
    thread = get_ident()

    def other(record: Any) -> bool:
        return bool(record.thread != thread)

    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)
