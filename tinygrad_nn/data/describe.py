"""What is in a table: `describe(frame)` counts, averages and ranks each column, and prints as a table.

Statistics are polars' (extra `data`): standard deviation with n - 1, quartiles interpolated as by NumPy. Null and NaN
are missing and count in `nulls` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from ..errors import DataError, message
from ..support.arrays import check_names
from ..support.bundle import bundle
from ..support.extras import require
from ..support.settings import shown, typed_as
from ..support.tables import html_table, text_table
from .table import as_frame

if TYPE_CHECKING:
    import polars

Frame: TypeAlias = "polars.DataFrame"
SHOWN: Final = 5  # values of a column of text that are shown
WIDTH: Final = 24  # characters of each


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers; what a column without values lacks is NaN."""

    name: str
    type: str
    count: int
    nulls: int
    mean: float
    std: float
    min: float
    q25: float
    median: float
    q75: float
    max: float

    def cells(self) -> tuple[str, ...]:
        """As a line of the table."""
        statistics = (self.mean, self.std, self.min, self.q25, self.median, self.q75, self.max)
        shown = ("-" if np.isnan(value) else f"{value:.5g}" for value in statistics)
        return (self.name, self.type, f"{self.count:,}", f"{self.nulls:,}", *shown)


@dataclass(frozen=True, slots=True)
class Categories:
    """A column of anything else (text, bools, dates): how many `distinct` values it has, and each with its count, the
    most frequent first, equally frequent ones in order.
    """

    name: str
    type: str
    count: int
    nulls: int
    distinct: int
    counts: tuple[tuple[str, int], ...]

    def cells(self) -> tuple[str, ...]:
        """As a line of the table."""
        if self.count and self.distinct == self.count > SHOWN:
            shown = f"all different: {_short(self.counts[0][0])}, ..."
        else:
            shown = ", ".join(f"{_short(value)} {count:,}" for value, count in self.counts[:SHOWN]) or "-"
            shown += ", ..." * (self.distinct > SHOWN)
        return (self.name, self.type, f"{self.count:,}", f"{self.nulls:,}", f"{self.distinct:,}", shown)


@dataclass(frozen=True, slots=True)
class Description:
    """The columns of a table by name; prints as text, and as HTML in a notebook."""

    rows: int
    columns: tuple[Numbers | Categories, ...]

    def __getitem__(self, name: str) -> Numbers | Categories:
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(repr(column.name) for column in self.columns)
        raise KeyError(message("describe", f"the column {name!r}", f"one of {known}"))

    def tables(self) -> list[list[tuple[str, ...]]]:
        """The numbers and the rest, each with its header, where there are any."""
        found = []
        for kind, header in HEADERS.items():
            body = [column.cells() for column in self.columns if isinstance(column, kind)]
            if body:
                found.append([header, *body])
        return found

    def to_frame(self) -> Frame:
        """A polars data frame with one row per column of the table; null where a figure does not apply."""
        names = list(dict.fromkeys(field.name for kind in HEADERS for field in fields(kind) if field.name != "counts"))
        rows = [[getattr(column, name, None) for name in names] for column in self.columns]
        pl = require("polars", "data")
        made: Frame = pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col(pl.Float64).fill_nan(None))
        return made

    def __repr__(self) -> str:
        blocks = [f"{self.rows:,} rows, {len(self.columns)} columns"]
        for table in self.tables():
            left = (0, 1) if table[0] is HEADERS[Numbers] else (0, 1, 5)
            blocks.append(text_table(table, left))
        return "\n\n".join(blocks)

    def _repr_html_(self) -> str:
        return f"<p>{self.rows:,} rows, {len(self.columns)} columns</p>" + "".join(map(html_table, self.tables()))

    _repr_mimebundle_ = bundle


HEADERS: Final[dict[Any, tuple[str, ...]]] = {
    Numbers: ("column", "type", "count", "nulls", "mean", "std", "min", "25%", "50%", "75%", "max"),
    Categories: ("column", "type", "count", "nulls", "distinct", "most frequent"),
}


@typed_as(DataError)
def describe(data: Any, columns: Sequence[str] | None = None) -> Description:
    """Count, nulls, mean, standard deviation, smallest, quartiles and largest of every numeric column; the number of
    distinct values of any other, and the most frequent ones.

    `data` is a data frame of any library (Arrow stream protocol), a series, or an array (rows, columns); `columns`
    selects and orders. Raises DataError for columns that are not there and for what is no table.

    >>> import polars
    >>> describe(polars.DataFrame({"age": [22, 38, None], "port": ["S", "S", "C"]}))
    3 rows, 2 columns
    <BLANKLINE>
    column  type   count  nulls  mean     std  min  25%  50%  75%  max
    ------------------------------------------------------------------
    age     Int64      2      1    30  11.314   22   26   30   34   38
    <BLANKLINE>
    column  type    count  nulls  distinct  most frequent
    -----------------------------------------------------
    port    String      3      0         2  S 2, C 1
    """
    if columns is not None and not all(isinstance(name, str) for name in columns):
        raise DataError(message("describe", f"columns {shown(columns)}", "names of columns"))
    pl = require("polars", "data")
    if isinstance(data, (str, bytes, PathLike)):
        hint = "describe(data.read_csv(path))"
        raise DataError(message("describe", f"a {type(data).__name__}", "a data frame or an array", hint))
    detach = getattr(data, "detach", None)
    data = detach().numpy() if detach is not None else data
    if isinstance(data, np.ndarray):
        if data.ndim not in (1, 2):
            raise DataError(message("describe", f"an array of shape {data.shape}", "(rows,) or (rows, columns)"))
        data = pl.DataFrame(data.reshape(len(data), -1))
    frame = as_frame(data, "describe")
    names = frame.columns if columns is None else list(columns)
    check_names("describe", names, frame.columns, "the frame")
    return Description(frame.height, tuple(_column(frame[name]) for name in names))


def _column(series: Any) -> Numbers | Categories:
    pl = require("polars", "data")
    name, kind, height = series.name, str(series.dtype), len(series)
    if series.dtype.is_numeric():
        present = series.cast(pl.Float64).fill_nan(None).drop_nulls()
        quartiles = (present.quantile(q, "linear") for q in (0.25, 0.5, 0.75))
        found = (present.mean(), present.std(), present.min(), *quartiles, present.max())
        statistics = (np.nan if value is None else float(value) for value in found)
        return Numbers(name, kind, len(present), height - len(present), *statistics)
    present = series.drop_nulls()
    counts = _counted(map(str, present.to_list()))
    return Categories(name, kind, len(present), height - len(present), len(counts), counts)


def _counted(values: Iterable[str]) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _short(text: str) -> str:
    """On one line, and not too long."""
    words = " ".join(text.split())
    return words if len(words) <= WIDTH else words[: WIDTH - 3] + "..."
