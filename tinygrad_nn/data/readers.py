"""Files of tables, read some rows and columns at a time: what `scan` is made of. polars (extra `data`) decodes.

What is decoded at a time is a fraction of a chunk. Of a Parquet file it is a few columns of all rows of the chunk:
pages hold one column each, so nothing is decoded twice. Of a CSV file it is some lines; where lines begin is found
once, when the file is opened.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

from ..errors import DataError, message
from ..support import extras
from ..support.arrays import IMPUTE, Array, check_names
from .chunks import Type
from .lines import last_line_end, line_starts
from .table import Frame

_SHARE: Final = 8  # the part of a chunk that is decoded at a time is one of so many
_LEAST: Final = 2**20  # bytes that are decoded at a time at least
_MOST: Final = 2**22  # and of text at most
_HEAD: Final = 2**18  # bytes at the beginning of a CSV file that say what its columns are
_ROWS: Final = 2**14  # rows that are looked at in one go for what is not finite


Places: TypeAlias = "list[tuple[int, slice]]"  # of some columns: for which argument, and which columns of it


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of the step: the columns it is made of, whether they are those of a matrix, and of what kind their
    numbers are: "f" for fractional, "i" for whole numbers, "b" for truth values.
    """

    names: tuple[str, ...]
    is_matrix: bool
    kind: str

    def type_in(self, dtype: Any) -> Type:
        """Shape of a sample, and dtype."""
        kinds = {"f": np.dtype(dtype), "i": np.dtype(np.int64), "b": np.dtype(np.bool_)}
        return (len(self.names),) if self.is_matrix else (), kinds[self.kind]


class File(Protocol):
    """An open file: its rows, and of its columns which kind their numbers are of ("t" is text)."""

    path: Path
    rows: int
    kinds: dict[str, str]

    def frames(self, arguments: Sequence[Argument], low: int, rows: int) -> Iterator[tuple[int, Frame, Places]]:
        """Rows from `low` on, in parts: how many rows are before, the columns, and for which arguments they are."""


class Parquet:
    """A Parquet file. Some columns at a time are read, for all rows of a chunk."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.pl = path, extras.require("polars", "data")
        if not path.stat().st_size:
            raise DataError(message("scan", f"the empty file {path}", "a Parquet file"))
        lazy = self.pl.scan_parquet(path, glob=False)
        self.schema = dict(lazy.collect_schema())
        check_names("scan", columns, list(self.schema), str(path))
        self.rows = int(lazy.select(self.pl.len()).collect().item())
        self.kinds = {name: _kind(self.schema[name]) for name in columns}

    def frames(self, arguments: Sequence[Argument], low: int, rows: int) -> Iterator[tuple[int, Frame, Places]]:
        """Column by column, or several together where they are narrow."""
        lazy = self.pl.scan_parquet(self.path, glob=False).slice(low, rows)
        width = sum(len(one.names) for one in arguments)
        budget = max(4 * width * rows // _SHARE, _LEAST)
        for number, one in enumerate(arguments):
            start = 0
            while start < len(one.names):
                stop, size = start + 1, self._bytes(one.names[start], rows)
                while stop < len(one.names) and (size := size + self._bytes(one.names[stop], rows)) <= budget:
                    stop += 1
                frame = lazy.select(one.names[start:stop]).collect(engine="in-memory")
                if frame.height != rows:
                    got = f"{frame.height:,} rows of {self.path} from row {low:,} on"
                    raise DataError(message("scan", got, f"{rows:,}, as it had when it was opened"))
                yield 0, frame, [(number, slice(start, stop))]
                del frame
                start = stop

    def _bytes(self, name: str, rows: int) -> int:
        return rows * (4 if self.schema[name] == self.pl.Float32 else 8)


class Csv:
    """A CSV file with a header line, in UTF-8. Some lines at a time are read, all columns that are asked for."""

    def __init__(self, path: Path, columns: Sequence[str], every: int, separator: str) -> None:
        self.path, self.pl, self.separator, self.every = path, extras.require("polars", "data"), separator, every
        with path.open("rb") as file:
            head = file.read(_HEAD)
        mark = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
        first, newline, below = head[mark:].partition(b"\n")
        if not first.strip():
            what = "an empty first line in" if head.strip() else "the empty file"
            raise DataError(message("scan", f"{what} {path}", "a header line"))
        try:
            text = first.decode().rstrip("\r")
            self.header = next(csv.reader([text], delimiter=separator, strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(message("scan", f"{path}: {error} in its first line", "a header line in UTF-8")) from None
        check_names("scan", columns, self.header, str(path))
        self.number = {name: f"column_{self.header.index(name) + 1}" for name in columns}  # as polars has it
        self.lines = line_starts(path, mark + len(first) + len(newline), every)
        self.rows = self.lines.rows
        self.kinds = self._inferred(below[: last_line_end(below, self.lines.quoted)] or below)

    def frames(self, arguments: Sequence[Argument], low: int, rows: int) -> Iterator[tuple[int, Frame, Places]]:
        """Block by block, each up to the end of a line."""
        kinds: dict[str, str] = {}
        for one in arguments:
            for name in one.names:
                own = self.kinds[name] if one.kind == "f" and self.kinds[name] == "b" else one.kind
                kinds[name] = own if kinds.get(name, "f") == "f" else kinds[name]
        places = [(number, slice(0, len(one.names))) for number, one in enumerate(arguments)]
        starts, number, before, left = (*self.lines.starts, self.lines.end), low // self.every, 0, b""
        size = min(max((starts[number + 1] - starts[number]) // (4 * _SHARE), _LEAST), _MOST)
        with self.path.open("rb") as file:
            file.seek(starts[number])
            todo = starts[number + 1] - starts[number]
            while todo:
                text = left + file.read(min(size, todo))
                if len(text) == len(left):
                    raise DataError(message("scan", f"{self.path}, which ends too early", "a file as it was opened"))
                todo -= len(text) - len(left)
                end = last_line_end(text, self.lines.quoted) if todo else len(text)
                text, left = text[:end], text[end:]
                if text:
                    frame = self._frame(text, kinds, low + before)
                    rows_of_it = frame.height
                    yield before, frame, places
                    before += rows_of_it
                    del frame
        if before != rows:
            got = f"{before:,} rows in {self.path} from row {low:,} on, on {rows:,} lines"
            raise DataError(message("scan", got, "a row on every line", "read_csv finds the line"))

    def _frame(self, text: bytes, kinds: Mapping[str, str], row: int) -> Frame:
        """The columns of some lines, the first of which is this row."""
        pl = self.pl
        parsed = {"f": pl.Float64, "i": pl.Int64, "b": pl.Boolean}
        types = dict.fromkeys((f"column_{k + 1}" for k in range(len(self.header))), pl.String)
        types |= {self.number[name]: parsed[kind] for name, kind in kinds.items()}
        try:
            frame = self._parsed(text, types)
        except pl.exceptions.PolarsError:
            return self._closely(text, {name: parsed[kind] for name, kind in kinds.items()}, row)
        return frame

    def _parsed(self, text: bytes, types: Mapping[str, Any]) -> Frame:
        frame = self.pl.read_csv(
            text, has_header=False, schema=types, columns=list(self.number.values()), separator=self.separator
        )
        named: Frame = frame.select(self.pl.col(number).alias(name) for name, number in self.number.items())
        return named

    def _closely(self, text: bytes, types: Mapping[str, Any], row: int) -> Frame:
        """The same where polars found a fault: spaces around a number are none, anything else is said."""
        pl = self.pl
        records = csv.reader(io.StringIO(text.decode(errors="replace")), delimiter=self.separator)
        for number, cells in enumerate(records):
            if cells and len(cells) != len(self.header):
                got = f"{len(cells)} cells in row {row + number} of {self.path}"
                raise DataError(message("scan", got, f"{len(self.header)}, as in the header line"))
        try:
            frame = self._parsed(text, dict.fromkeys((f"column_{k + 1}" for k in range(len(self.header))), pl.String))
        except pl.exceptions.PolarsError as error:
            got = f"{self.path}, from row {row} on: {str(error).splitlines()[0]}"
            raise DataError(message("scan", got, "a well-formed CSV file", "read_csv finds the line")) from error
        found = []
        for name, kind in types.items():
            words: Any = frame[name].str.strip_chars().replace("", None)
            if kind == pl.Boolean:
                parsed = words.replace_strict(["true", "false"], [True, False], default=None, return_dtype=kind)
            else:
                parsed = words.cast(kind, strict=False)
            bad = (words.is_not_null() & parsed.is_null()).arg_true()
            if len(bad):
                word, expected, hint = words[bad[0]], "a number", IMPUTE
                if kind == pl.Int64 and words.cast(pl.Float64, strict=False)[bad[0]] is not None:
                    expected, hint = "a whole number, as at the beginning of the file", f"dtype={{{name!r}: float}}"
                got = f"{word!r} in {self.path}, row {row + bad[0]}, column {name!r}"
                raise DataError(message("scan", got, expected, hint))
            found.append(parsed)
        whole: Frame = pl.DataFrame(found)
        return whole

    def _inferred(self, text: bytes) -> dict[str, str]:
        """What the columns hold in the first lines. A number among words is taken for one; what they mean is said when
        the line is read.
        """
        pl = self.pl
        if not self.rows:
            return dict.fromkeys(self.number, "f")
        try:
            frame = pl.read_csv(text, has_header=False, separator=self.separator, infer_schema_length=None)
        except pl.exceptions.PolarsError:
            return dict.fromkeys(self.number, "f")
        if frame.width != len(self.header):
            return dict.fromkeys(self.number, "f")
        kinds = {}
        for name in self.number:
            cells = frame.to_series(self.header.index(name))  # what polars calls it is another matter
            if cells.dtype == pl.String:
                cells = cells.str.strip_chars().replace("", None)
                as_numbers = cells.cast(pl.Float64, strict=False)
                cells = cells if cells.null_count() < len(cells) == as_numbers.null_count() else as_numbers
            kinds[name] = _kind(cells.dtype)
        return kinds


def _kind(dtype: Any) -> str:
    """What a column of a dtype of polars holds: fractional numbers, whole ones, truth values, or something else."""
    pl = extras.require("polars", "data")
    if dtype == pl.Boolean:
        return "b"
    if dtype.is_numeric():
        return "i" if dtype.is_integer() else "f"
    return "f" if dtype == pl.Null else "t"


def numbers_of(frame: Frame, dtype: np.dtype[Any], path: Path, row: int) -> Array:
    """Columns as a matrix; `row` is the number of the first one in its file. Raises DataError, naming row and column,
    for missing values, for NaN and inf, and for what `dtype` cannot hold.
    """
    pl = extras.require("polars", "data")
    for column in frame.iter_columns():
        if column.null_count():
            at = column.is_null().arg_true()[0]
            raise _bad("a missing value", column, at, path, row, IMPUTE)
    if dtype.kind == "f":
        direct = (pl.Float64, pl.Float32, pl.Int64, pl.Int32, pl.Boolean)
        own = pl.Float32 if dtype == np.float32 else pl.Float64
        matrix = frame.select(
            (one if one.dtype in direct else one.cast(pl.Float64)).cast(own) for one in frame.iter_columns()
        ).to_numpy(order="c")
        for low in range(0, len(matrix), _ROWS):
            finite = np.isfinite(matrix[low : low + _ROWS])
            if not finite.all():
                at, place = np.argwhere(~finite)[0].tolist()
                cells = frame.to_series(place)
                raise _bad(str(cells[low + at]), cells, low + at, path, row, IMPUTE)
    elif dtype.kind == "b":
        matrix = frame.to_numpy(order="c")
    else:
        whole = [one.cast(pl.Int64, strict=False) for one in frame.iter_columns()]
        for before, after in zip(frame.iter_columns(), whole, strict=True):
            if before.dtype != pl.Int64 and len(at := (after.is_null() | (after != before)).arg_true()):
                raise _bad(str(before[at[0]]), before, at[0], path, row, "a float dtype, as in dtype=float")
        matrix = pl.DataFrame(whole).to_numpy(order="c")
    return matrix


def _bad(what: str, column: Any, at: int, path: Path, row: int, hint: str) -> DataError:
    expected = "a value in each row" if what.startswith("a missing") else "a number that its dtype can hold"
    return DataError(message("scan", f"{what} in {path}, row {row + at}, column {column.name!r}", expected, hint))
