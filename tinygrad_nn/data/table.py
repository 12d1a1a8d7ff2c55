"""CSV files to data frames to matrices, with every fault named by file, line and column.

An ordinary file is parsed by polars at once (`lines.layout` says whether it is). Any other, and one with null values or
decimal commas of its own, is read in three steps: decode the bytes; check the structure (the same number of cells on
every line) with the standard library's reader, which knows line numbers; let polars parse the columns. So a file that
polars would repair silently (short lines filled up with nulls, repeated names changed) is an error here instead.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import DataError, FileError, message
from ..support import extras
from ..support.arrays import IMPUTE, Array, check_finite, check_names
from ..support.files import as_path, read
from ..support.settings import is_iterable, shown, typed_as
from .lines import layout

if TYPE_CHECKING:
    import polars

Frame: TypeAlias = "polars.DataFrame"
StrPath: TypeAlias = "str | PathLike[str]"


Nulls: TypeAlias = "str | Sequence[str] | Mapping[str, str | Sequence[str]]"

USUAL: Final = ("NA", "N/A", "n/a", "#N/A", "NaN", "nan", "null", "NULL", "?")
"""What stands for a missing number besides the empty cell, where nothing else is said."""


@typed_as(DataError, "separator")
def read_csv(path: StrPath, columns: Sequence[str] | None = None, *, dtype: type | Mapping[str, type] | None = None,
             exact: bool = False, separator: str = ",", encoding: str = "utf-8", null_values: Nulls | None = None,
             decimal_comma: bool = False) -> Frame:
    """Read a CSV file with a header line into a polars DataFrame (extra `data`).

    `columns` selects and orders columns (default: all); with `exact=True` any other column in the file is an error.
    `dtype` is float, int or str, for all columns or by name; columns without one are inferred from the whole file.
    Byte order marks, CRLF, quoted separators and line breaks, blank lines, and spaces around a number are handled.

    An empty cell is missing (null). So are the usual signs (`USUAL`: NA, NaN, null, ?, ...) among numbers; in a column
    of text they are text. `null_values` says instead what is missing, a word or several, for every column, text too, or
    by name: `null_values={"age": ["-1", "unknown"]}`. With `decimal_comma` numbers are written 3,14 (and not 3.14).

    Raises DataError, naming file, line and column, for an unreadable or empty file, a wrong encoding, missing, extra
    or duplicate columns, lines of uneven length, broken quotes, and cells that do not fit their dtype.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "people.csv"
    >>> _ = path.write_text('name,age\\n"Braund, Mr. Owen",22\\nAllen,\\n')
    >>> read_csv(path, dtype={"age": float}).rows()
    [('Braund, Mr. Owen', 22.0), ('Allen', None)]
    """
    pl = extras.require("polars", "data")
    if not isinstance(separator, str) or len(separator) != 1 or not separator.isascii() or separator in '"\r\n\0':
        got = f"separator {shown(separator)}"
        raise DataError(message("read_csv", got, "one character of ASCII", "as in separator=';'"))
    if decimal_comma and separator == ",":
        raise DataError(message("read_csv", "decimal_comma=True and separator ','", "another separator",
                                "such files have separator=';'"))
    path, own = as_path("read_csv", path), null_values is not None or decimal_comma
    if encoding.lower() in ("utf-8", "utf8") and not own:
        frame = _quick(path, columns, dtype, exact, separator)
        if frame is not None:
            return frame
    text = _decode(path, encoding)
    header, body, height, blank = _structure(path, text, separator)
    columns, dtypes = _chosen(path, header, columns, dtype, exact)
    nulls = _nulls(null_values, header)
    number = {name: str(j) for j, name in enumerate(header)}  # stands for the name: polars keeps quotes in a header
    try:
        frame = pl.read_csv(
            f"{separator.join(number.values())}\n{body}".encode(), columns=[number[name] for name in columns],
            schema_overrides={number[name]: pl.String for name in (columns if own else dtypes)}, separator=separator,
            infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        at = _unquoted(path, text, separator)
        raise _broken(path, str(error).splitlines()[0] if at is None else f"an unquoted quote on line {at}") from error
    if frame.height != height:
        raise _broken(path, f"{frame.height} rows on {height} lines")
    frame = frame.select(pl.col(number[name]).alias(name) for name in columns)
    frame = frame.with_columns(pl.col(pl.String).replace("", None))
    if blank:
        keep = np.ones(height, np.bool_)
        keep[blank] = False
        frame = frame.filter(pl.Series(keep))
    parsed = []
    for name in columns:
        cells, kind = frame[name], dtypes.get(name)
        if cells.dtype == pl.String:
            given = nulls.get(name)
            cells = cells if given is None else _without(cells, given)
            if kind is None:
                cells = _inferred(cells, USUAL if given is None else (), decimal_comma, own)
            elif kind is not str:
                cells = _parse(path, text, separator, cells, kind, USUAL if given is None else (), decimal_comma)
        elif kind is None:
            cells = _inferred(cells, USUAL, False, False)
        parsed.append(cells)
    whole: Frame = pl.DataFrame(parsed)
    return whole


def csv_header(path: StrPath) -> list[str]:
    """The names of the columns of a CSV file in UTF-8, reading no more than that; errors as in `read_csv`."""
    if not isfile(path):  # read_csv says what it is; to open a pipe is to wait
        return read_csv(path, dtype=str).columns
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as lines:
            header = next(csv.reader(lines, strict=True), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        header = []
    return header or read_csv(path, dtype=str).columns


def _quick(path: Path, columns: Sequence[str] | None, dtype: type | Mapping[str, type] | None, exact: bool,
           separator: str) -> Frame | None:
    """The frame of an ordinary file, parsed by polars at once; None where something needs a closer look."""
    pl = extras.require("polars", "data")
    raw = _content(path)
    found = layout(raw, separator)
    if found is None:
        return None
    columns, dtypes = _chosen(path, found.header, columns, dtype, exact)
    number = {name: f"column_{j}" for j, name in enumerate(found.header)}  # as polars wants it without a header
    parsed = {float: pl.Float64, int: pl.Int64, str: pl.String}
    kinds = {number[name]: parsed[kind] for name, kind in dtypes.items()}
    options: dict[str, Any] = {"columns": [number[name] for name in columns], "separator": separator}
    try:
        if dtypes.keys() >= set(columns):  # nothing to infer
            schema = {name: kinds.get(name, pl.String) for name in number.values()}
            frame: Frame = pl.read_csv(raw, has_header=False, skip_rows=1, schema=schema, **options)
        else:
            renamed = f"{separator.join(number.values())}\n".encode() + raw[found.start:]
            frame = pl.read_csv(renamed, schema_overrides=kinds, infer_schema_length=None, **options)
    except pl.exceptions.PolarsError:
        return None
    if frame.height != found.height:
        return None
    frame = frame.select(pl.col(number[name]).alias(name) for name in columns).with_columns(
        pl.col(pl.String).replace("", None))
    return frame.with_columns([_inferred(frame[name], USUAL, False, False) for name in columns
                               if dtypes.get(name) is not str])


def _chosen(path: Path, header: Sequence[str], columns: Sequence[str] | None,
            dtype: type | Mapping[str, type] | None, exact: bool) -> tuple[Sequence[str], dict[str, type]]:
    """The columns to read, and the dtypes of those that have one."""
    columns = header if columns is None else columns
    check_names("read_csv", columns, header, str(path))
    extra = [name for name in header if name not in columns]
    if exact and extra:
        raise DataError(message("read_csv", f"{path} with extra column {', '.join(map(repr, extra))}",
                                f"only the columns {', '.join(map(repr, columns))}",
                                "remove it from the file; exact=False leaves it out when reading"))
    return columns, _dtypes(dtype, columns)


@typed_as(DataError)
def to_matrix(frame: Any, columns: Sequence[str] | None = None, dtype: npt.DTypeLike = np.float64, *,
              missing: Literal["error", "nan"] = "error", op: str = "to_matrix") -> Array:
    """Numeric columns of a data frame as a C-contiguous array of shape (rows, columns).

    `frame` is a polars DataFrame or anything that exports the Arrow stream protocol. With `missing="nan"` nulls and
    NaN become NaN (for MeanImputer); otherwise they are errors, as infinities always are. Raises DataError, naming
    row and column, for those, for unknown columns, for text, and for fractions where `dtype` is an integer.

    >>> import polars
    >>> to_matrix(polars.DataFrame({"age": [22, 38], "fare": [7.25, 71.5]}), ["fare", "age"])
    array([[ 7.25, 22.  ],
           [71.5 , 38.  ]])
    """
    try:
        np.dtype(dtype)
    except Exception as error:  # NumPy's, and those of a foreign object
        raise DataError(message(op, f"dtype {shown(dtype)}", "a dtype of numbers")) from error
    if np.dtype(dtype).kind not in "biuf":
        raise DataError(message(op, f"dtype {shown(dtype)}", "a dtype of numbers"))
    if columns is not None and not all(isinstance(name, str) for name in columns):
        raise DataError(message(op, f"columns {shown(columns)}", "names of columns"))
    frame = as_frame(frame, op)
    columns = frame.columns if columns is None else columns
    check_names(op, columns, frame.columns, "the frame")
    matrix = np.empty((frame.height, len(columns)), dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # what `dtype` cannot hold is found below
        for j, name in enumerate(columns):
            values = _numbers(frame[name], missing == "nan", op)
            matrix[:, j] = values
            if matrix.dtype.kind != "f" and (changed := np.flatnonzero(matrix[:, j] != values)).size:
                raise DataError(message(op, f"{values[changed[0]]} in column {name!r}, row {changed[0]}",
                                        f"values that dtype {matrix.dtype} can hold", "ask for a floating dtype"))
    check_finite(op, matrix, "the frame", columns, allow_nan=missing == "nan")
    return matrix


def as_frame(value: Any, op: str = "as_frame") -> Frame:
    """A polars DataFrame from any data frame that exports the Arrow stream protocol (polars, pandas, pyarrow, ...).

    A series (what has no columns) becomes a frame of one column. Raises DataError when the export fails, as that of
    pandas does for text columns where pyarrow is not installed.

    >>> import polars
    >>> as_frame(polars.DataFrame({"age": [22]})).columns
    ['age']
    """
    pl = extras.require("polars", "data")
    if not hasattr(value, "__arrow_c_stream__"):  # polars ends the process for a list that holds itself
        raise DataError(message(op, f"{shown(value)}, that is not readable as a data frame",
                                "a data frame with the Arrow stream protocol", "pass arrays, or polars.DataFrame(...)"))
    try:
        if is_table(value):
            frame: Frame = value if isinstance(value, pl.DataFrame) else pl.DataFrame(value)
        else:
            series = pl.Series(values=value)
            frame = series.struct.unnest() if series.dtype == pl.Struct else series.to_frame()
    except (pl.exceptions.PolarsError, ImportError, TypeError, ValueError) as error:
        raise DataError(message(op, f"{type(value).__name__} that is not readable as a data frame: {error}",
                                "a data frame with the Arrow stream protocol", "pass frame.to_numpy() instead")
                        ) from error
    return frame


def is_table(value: Any) -> bool:
    """True for data frames of any library, by their column names; False for a series.

    >>> import polars
    >>> is_table(polars.DataFrame({"age": [22]})), is_table(polars.Series([22]))
    (True, False)
    """
    return hasattr(value, "columns") or hasattr(value, "column_names")


def _content(path: Path) -> bytes:
    try:
        return read(path, "read_csv", "a readable CSV file")
    except FileError as error:
        raise FileError(message("read_csv", f"{path}: {error.strerror}", "a readable CSV file", "check the path")
                        ) from None


def _decode(path: Path, encoding: str) -> str:
    raw = _content(path)
    try:
        text = raw.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except UnicodeDecodeError as error:
        position = len(raw) - len(error.object) + error.start  # the codec has taken the byte order mark off
        line = raw.count(b"\n", 0, position) + 1
        likely = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
        raise DataError(message("read_csv", f"byte 0x{raw[position]:02x} at position {position}, line {line} of {path}",
                                f"text in {encoding}", f"pass encoding={likely!r}, or save the file as UTF-8")
                        ) from error
    except (LookupError, ValueError) as error:  # an unknown one, or a name that is none
        raise DataError(message("read_csv", f"encoding {shown(encoding)}", "an encoding that Python knows",
                                "the usual ones are 'utf-8', 'latin-1', 'utf-16'")) from error
    if "\r" in text and "\n" not in text:  # old Macintosh line ends, which polars does not know
        text = text.replace("\r", "\n")
    return text


def _records(path: Path, lines: io.StringIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line where it begins, cells) of each record; a blank line is a record without cells."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise _broken(path, f"{error} in the record that begins on line {line}") from error


def _structure(path: Path, text: str, separator: str) -> tuple[list[str], str, int, list[int]]:
    """Header, the text below it, the number of rows there, and which of them are blank lines."""
    lines = io.StringIO(text, newline="")
    records = _records(path, lines, separator)
    _, header = next(records, (1, []))
    body = text[lines.tell():]
    if not header:
        raise DataError(message("read_csv", f"{'an empty first line' if text.strip() else 'an empty file'} in {path}",
                                "a header line", "check that the file was written completely"))
    blank, height = [], 0
    for height, (line, cells) in enumerate(records, 1):
        if not cells:
            blank.append(height - 1)
        elif len(cells) != len(header):
            raise DataError(message("read_csv", f"{len(cells)} cells on line {line} of {path}",
                                    f"{len(header)}, as in the header",
                                    "put a cell that contains the separator in double quotes"))
    if height == len(blank):
        raise DataError(message("read_csv", f"no rows below the header in {path}", "at least one row",
                                "check that the file was written completely"))
    return header, body, height, blank


def _dtypes(dtype: type | Mapping[str, type] | None, columns: Sequence[str]) -> dict[str, type]:
    if dtype is None:
        return {}
    dtypes = dict(dtype) if isinstance(dtype, Mapping) else dict.fromkeys(columns, dtype)
    check_names("read_csv", list(dtypes), columns, "the columns to read")
    for name, kind in dtypes.items():
        if not isinstance(kind, type) or kind not in (float, int, str):
            raise DataError(message("read_csv", f"dtype {shown(kind)} for column {name!r}", "float, int or str",
                                    "convert to other types with to_matrix(frame, dtype=...)"))
    return dtypes


def _nulls(null_values: Nulls | None, header: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The words for a missing value that were given, by column."""
    if null_values is None:
        return {}
    named = null_values if isinstance(null_values, Mapping) else dict.fromkeys(header, null_values)
    check_names("read_csv", list(named), header, "null_values")
    for words in named.values():
        if not is_iterable(words) and not isinstance(words, str):
            raise DataError(message("read_csv", f"null_values {shown(words)}", "texts, as they stand in the file",
                                    'as in null_values=["-", "unknown"]'))
        for word in words:
            if not isinstance(word, str) or word.encode(errors="replace").decode() != word:  # a lone surrogate
                raise DataError(message("read_csv", f"the null value {shown(word)}", "text, as it stands in the file",
                                        'as in null_values="-1"'))
    return {name: (words,) if isinstance(words, str) else tuple(words) for name, words in named.items()}


def _without(cells: Any, words: Sequence[str]) -> Any:
    """A text column with null in place of words; spaces around them do not count."""
    return cells.set(cells.str.strip_chars().is_in(list(words)).fill_null(False), None) if words else cells


def _inferred(cells: Any, usual: Sequence[str], decimal_comma: bool, always: bool) -> Any:
    """A column whose type nobody gave: numbers, where nothing but numbers and signs for missing ones is in it.

    A text column with no such sign is text, since polars has looked at it, unless it has to be looked at `always`.
    """
    pl = extras.require("polars", "data")
    if cells.dtype == pl.Float64:
        return cells.fill_nan(None)
    if cells.dtype != pl.String:
        return cells
    words = cells.str.strip_chars()
    if not (always or words.is_in(list(usual)).any()):
        return cells
    words = _without(words, usual).replace("", None)
    if words.null_count() == len(words):
        return cells
    for kind in (pl.Int64, pl.Float64):
        numbers = _cast(words, kind, decimal_comma)
        if numbers.null_count() == words.null_count():
            return numbers
    return words == "true" if words.is_in(["true", "false"]).all() else cells


def _cast(words: Any, kind: Any, decimal_comma: bool) -> Any:
    """Text as numbers, null where it is none."""
    if decimal_comma:
        words = words.set(words.str.contains(".", literal=True).fill_null(False), "no number")
        words = words.str.replace(",", ".", literal=True)
    return words.cast(kind, strict=False)


def _parse(path: Path, text: str, separator: str, cells: Any, kind: type, usual: Sequence[str], decimal_comma: bool
           ) -> Any:
    """A text column as numbers; the first cell that is neither a number nor missing is an error."""
    pl = extras.require("polars", "data")
    cells = _without(cells.str.strip_chars(), usual).replace("", None)
    numbers = _cast(cells, pl.Int64 if kind is int else pl.Float64, decimal_comma)
    bad = (numbers.is_null() & cells.is_not_null()).arg_true()
    if bad.is_empty():
        return numbers
    rows = (line for line, row in _records(path, io.StringIO(text, newline=""), separator) if row)
    line = list(rows)[bad[0] + 1]
    wrong = cells[bad[0]]
    hint = f"correct the cell, or leave it empty where the value is missing (null_values={wrong!r})"
    if not decimal_comma and _cast(cells[bad[0]:bad[0] + 1], pl.Float64, True)[0] is not None:
        hint = "read it with decimal_comma=True"
    raise DataError(message("read_csv", f"{wrong!r} in {path}, line {line}, column {cells.name!r}",
                            ("an integer" if kind is int else "a number") + " with a decimal comma" * decimal_comma,
                            hint))


def _numbers(series: Any, allow_missing: bool, op: str) -> Array:
    """One column as a NumPy array; nulls become NaN."""
    pl = extras.require("polars", "data")
    what = f"column {series.name!r}"
    if not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
        raise DataError(message(op, f"{what} of type {series.dtype}, beginning with {series.head(2).to_list()}",
                                "a numeric column",
                                "encode categories (data.OneHotEncoder); read_csv(..., dtype=float) finds a cell that "
                                "is no number"))
    nulls = series.is_null().arg_true()
    if not (nulls.is_empty() or allow_missing):
        raise DataError(message(op, f"a missing value in {what}, row {nulls[0]} ({len(nulls)} such values)",
                                "a value in each row", IMPUTE))
    exact = nulls.is_empty() and series.dtype in (pl.Int64, pl.Int32, pl.Boolean)
    return np.asarray((series if exact else series.cast(pl.Float64)).to_numpy())


def _unquoted(path: Path, text: str, separator: str) -> int | None:
    """The line of the first record with a quote in a cell that does not begin with one."""
    lines = text.splitlines()
    records = _records(path, io.StringIO(text, newline=""), separator)
    return next((line for line, cells in records if line <= len(lines) and '"' in "".join(cells)
                 and '"' in lines[line - 1] and any(part.lstrip()[:1] not in ("", '"') and '"' in part
                                                    for part in lines[line - 1].split(separator))), None)


def _broken(path: Path, what: str) -> DataError:
    return DataError(message("read_csv", f"{path}: {what}", "a well-formed CSV file",
                             "put cells that contain quotes in double quotes, and double each quote inside"))
