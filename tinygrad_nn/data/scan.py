"""Parquet and CSV files as data in chunks: `fit` reads the next chunk while the step runs on this one.

Every fault names file and row; rows count from 0 in each file, the header line not among them. A file that changes, or
is taken away, is an error: its rows would be others than those that were counted.
"""

from __future__ import annotations

import glob
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import ConfigError, DataError, FileError, message
from ..support import extras
from ..support.files import as_path, check_regular
from ..support.settings import integer, is_iterable, shown
from .chunks import Chunk, Chunks, Part, Type
from .kept import Kept
from .readers import Argument, Csv, File, Parquet, numbers_of
from .table import StrPath

CHUNK_ROWS: Final = 2**18  # as many as polars writes into a row group of a Parquet file
_SAMPLES: Final = 64  # places of a file that its fingerprint looks at, of so many bytes:
_SAMPLE: Final = 2**14
_KINDS: Final = {float: "f", int: "i"}


class Scan(Chunks):
    """Files as data in chunks; see `scan`."""

    def __init__(
        self, files: Sequence[File], arguments: Sequence[Argument], chunk_rows: int, cache: Path | bool
    ) -> None:
        self.files, self.arguments, self.chunk_rows = tuple(files), tuple(arguments), chunk_rows
        self.starts = [0, *accumulate(file.rows for file in files)]
        places = [(k, low) for k, file in enumerate(files) for low in range(0, file.rows, chunk_rows)]
        self.chunks = [(k, low, min(chunk_rows, files[k].rows - low)) for k, low in places]
        self.count, self.samples = len(self.chunks), self.starts[-1]
        self.largest = max(rows for _, _, rows in self.chunks)
        self.cache, self._kept = cache, dict[Any, Kept]()
        self._seen = [_status(file.path) for file in files]

    def __repr__(self) -> str:
        names = " -> ".join(f"{len(one.names)} column{'s' * (len(one.names) > 1)}" for one in self.arguments)
        files = f"{len(self.files):,} files" if len(self.files) > 1 else str(self.files[0].path)
        return f"scan({files}): {self.starts[-1]:,} rows in {len(self.chunks):,} chunks, {names}"

    def types(self, dtype: Any) -> tuple[Type, ...]:
        """Whole numbers are int64, truth values bool."""
        return tuple(one.type_in(dtype) for one in self.arguments)

    def each(self, dtype: Any, order: Sequence[int] | None = None) -> Iterator[Chunk]:
        """Those of the files, one after the other; chunks end where a file does."""
        for number in range(len(self.chunks)) if order is None else order:
            file, low, rows = self.chunks[number]
            self._check_unchanged(file)
            yield Chunk(self.starts[file] + low, rows, self._parts(file, low, rows, np.dtype(dtype)), number)

    def kept(self, dtype: Any) -> Kept | None:
        """As long as this object is there."""
        if self.cache is False:
            return None
        folder = None if self.cache is True else self.cache
        return self._kept.setdefault(np.dtype(dtype), Kept(folder, self.types(dtype), [one[2] for one in self.chunks]))

    def place(self, row: int) -> tuple[int, str]:
        """The row in its file."""
        file = bisect_right(self.starts, row) - 1
        return row - self.starts[file], str(self.files[file].path)

    def fingerprint(self) -> str:
        """Of the names of the columns, and of the size and some places of every file."""
        digest = blake2b(repr([(one.names, one.kind) for one in self.arguments]).encode(), digest_size=16)
        for file in self.files:
            with file.path.open("rb") as opened:
                size = os.fstat(opened.fileno()).st_size
                digest.update(f"{size}".encode())
                for k in range(_SAMPLES + 1):  # the last one is the end, where Parquet has its table of contents
                    opened.seek(max(0, size - _SAMPLE) * k // _SAMPLES)
                    digest.update(opened.read(_SAMPLE))
        return digest.hexdigest()

    def _parts(self, number: int, low: int, rows: int, dtype: np.dtype[Any]) -> Iterator[Part]:
        """The parts of a chunk, unless the file is not what it was."""
        pl = extras.require("polars", "data")
        file = self.files[number]
        try:
            for before, frame, places in file.frames(self.arguments, low, rows):
                for argument, columns in places:
                    one = self.arguments[argument]
                    names = one.names[columns] if one.is_matrix else one.names
                    values = numbers_of(frame.select(names), one.type_in(dtype)[1], file.path, low + before)
                    rows_of_it = slice(before, before + frame.height)
                    if not one.is_matrix:
                        columns, values = slice(None), values[:, 0]
                    yield Part(argument, rows_of_it, columns, values)
                    del values
                del frame  # while the next one is decoded
        except (pl.exceptions.PolarsError, OSError) as error:
            self._check_unchanged(number)
            raise _unreadable(file.path, error) from error
        self._check_unchanged(number)

    def _check_unchanged(self, number: int) -> None:
        path, (size, written) = self.files[number].path, self._seen[number]
        now = _status(path)
        if now != (size, written):
            got = f"{path}, which changed since it was opened ({size:,} bytes then, {now[0]:,} now)"
            raise DataError(message("scan", got, "files that stay as they are", "call scan again"))


def scan(
    files: StrPath | Sequence[StrPath],
    *,
    features: str | Sequence[str],
    target: str | Sequence[str] | None = None,
    weight: str | None = None,
    chunk_rows: int = CHUNK_ROWS,
    dtype: type | Mapping[str, type] | None = None,
    separator: str = ",",
    cache: bool | StrPath = True,
) -> Scan:
    """Parquet and CSV files as data for `fit` that need not fit into memory (extra `data`).

    `files` is a path, a pattern such as `"part-*.parquet"`, or a list of those. The step gets the columns `features` as
    a matrix, `target` (if it is given) and `weight` likewise; one name that is not in a list makes a vector. As in a
    data frame, columns of whole numbers alone stay int64; `dtype` (float or int, for all columns or by name) says
    otherwise. What the columns of a CSV file are is seen from its beginning.

    At most three chunks of `chunk_rows` rows are in memory. Chunks end where a file ends, batches do not. With
    `shuffle` both the chunks and the rows in each come in another order in every epoch, so larger chunks mix better;
    rows that the file has sorted should be mixed before. Of a Parquet file whole row groups are read fastest.

    From its second epoch on a fit reads numbers that it decoded before: it keeps them in a temporary file, as long as
    there is twice the room on the disk. `cache` is the folder for that file, or False for none.

    Raises DataError, naming file, row and column: for no files, empty ones, missing columns, text, missing values, NaN
    and inf, and for a file that changes while it is in use.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "points.csv"
    >>> _ = path.write_text("a,b,y\\n1,2.5,0\\n3,4.5,1\\n5,6.5,1\\n")
    >>> data = scan(path, features=["a", "b"], target="y", chunk_rows=2)
    >>> [(x.tolist(), y.tolist()) for x, y in data]
    [([[1.0, 2.5], [3.0, 4.5]], [0, 1]), ([[5.0, 6.5]], [1])]
    """
    chunk_rows = integer("scan", "chunk_rows", chunk_rows, least=1)
    if not isinstance(separator, str) or len(separator) != 1 or not separator.isascii() or separator in '"\r\n\0':
        raise ConfigError(message("scan", f"separator {shown(separator)}", "one character", "as in separator=';'"))
    if weight is not None and not isinstance(weight, str):
        raise ConfigError(message("scan", f"weight {shown(weight)}", "the name of a column"))
    folder = cache if isinstance(cache, bool) else as_path("scan", cache)
    if isinstance(folder, Path) and not folder.is_dir():
        raise ConfigError(message("scan", f"cache {str(folder)!r}", "a folder that exists, True or False"))
    given = [_names(what, one) for what, one in (("features", features), ("target", target), ("weight", weight))]
    wanted = [one for one in given if one is not None]
    columns = tuple(dict.fromkeys(name for names, _ in wanted for name in names))
    own = _own_kinds(dtype, columns)
    opened = [_opened(path, columns, own, chunk_rows, separator) for path in _found(files)]
    kinds = {name: {file.kinds[name] for file in opened} for name in columns}
    arguments = []
    for names, is_matrix in wanted:
        found = set().union(*(kinds[name] for name in names))
        arguments.append(Argument(names, is_matrix, found.pop() if len(found) == 1 else "f"))
    return Scan(opened, arguments, chunk_rows, folder)


def _names(what: str, given: Any) -> tuple[tuple[str, ...], bool] | None:
    """The columns of an argument, and whether they make a matrix."""
    if given is None and what != "features":
        return None
    if isinstance(given, str):
        return (given,), False
    if not is_iterable(given) or isinstance(given, Mapping):
        raise ConfigError(message("scan", f"{what} {shown(given)}", "the name of a column, or a list of names"))
    names = tuple(given)
    if not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(message("scan", f"{what} {shown(given)}", "the name of a column, or a list of names"))
    if len(set(names)) < len(names):
        raise ConfigError(message("scan", f"{what} {shown(given)}", "each column once"))
    return names, True


def _own_kinds(dtype: Any, columns: Sequence[str]) -> dict[str, str]:
    """The kinds of the columns that the user says."""
    dtypes = dict(dtype) if isinstance(dtype, Mapping) else {} if dtype is None else dict.fromkeys(columns, dtype)
    for name, kind in dtypes.items():
        if name not in columns:
            got = f"a dtype for {shown(name)}, which is none of the columns"
            raise ConfigError(message("scan", got, f"some of {', '.join(map(repr, columns))}"))
        if not isinstance(kind, type) or kind not in _KINDS:
            raise ConfigError(message("scan", f"dtype {shown(kind)} for column {name!r}", "float or int"))
    return {name: _KINDS[kind] for name, kind in dtypes.items()}


def _found(files: Any) -> list[Path]:
    """The files of paths and patterns, each once."""
    several = is_iterable(files) and not isinstance(files, (os.PathLike, Mapping))
    found: dict[Path, None] = {}
    for one in files if several else [files]:
        path = as_path("scan", one)
        text = str(path)
        some = sorted(glob.glob(text, recursive=True)) if glob.has_magic(text) and not path.exists() else [text]
        if not some:
            raise DataError(message("scan", f"no file that matches {text!r}", "a pattern of some files",
                                    f"it is looked for from {os.getcwd()}"))  # fmt: skip
        found |= dict.fromkeys(map(Path, some))
    if not found:
        raise DataError(message("scan", "an empty list of files", "at least one file"))
    return list(found)


def _opened(path: Path, columns: Sequence[str], own: Mapping[str, str], chunk_rows: int, separator: str) -> File:
    """A file, whose columns are there and hold numbers."""
    pl = extras.require("polars", "data")
    if path.is_dir():
        raise DataError(message("scan", f"the folder {path}", "files", f"a pattern, as in {str(path / '*.parquet')!r}"))
    _status(path)
    suffix = path.suffix.lower()
    try:
        if suffix in (".parquet", ".pq"):
            file: File = Parquet(path, columns)
        elif suffix in (".csv", ".tsv", ".txt"):
            file = Csv(path, columns, chunk_rows, "\t" if suffix == ".tsv" and separator == "," else separator)
        else:
            raise DataError(message("scan", f"{path}", "a file that ends in .parquet or .csv"))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from error
    if not file.rows:
        raise DataError(message("scan", f"{path} without rows", "at least one", "leave it out"))
    file.kinds = {name: own.get(name, kind) if kind != "t" else kind for name, kind in file.kinds.items()}
    for name, kind in file.kinds.items():
        if kind == "t":
            hint = "encode categories as numbers (data.OneHotEncoder) and write them to a file"
            raise DataError(message("scan", f"text in column {name!r} of {path}", "a column of numbers", hint))
    return file


def _status(path: Path) -> tuple[int, int]:
    """What tells whether a file was written to: its size, and when it was."""
    try:
        status = os.stat(path)
        check_regular(status)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FileError(message("scan", f"{path}: {reason}", "a file that can be read", "check the path")) from None
    return status.st_size, status.st_mtime_ns


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(message("scan", f"{path}, which cannot be read: {reason}", f"a whole {path.suffix} file"))
