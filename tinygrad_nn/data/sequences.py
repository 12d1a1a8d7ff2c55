"""Sequences for recurrent models: read from CSV, cut from tables, slid along a series.

A sequence is a pair of matrices with one row per step: features (T, F) and targets (T, L). T may differ from one
sequence to the next. Sequences are divided as wholes: a split never puts steps of one sequence on both sides.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np

from ..errors import DataError, message
from ..support.arrays import Array, as_array
from ..support.files import as_path, write_atomic
from ..support.settings import is_iterable, is_whole, shown, typed_as
from .split import split_indices, take
from .streams import stream
from .table import StrPath, csv_header, read_csv, to_matrix


@dataclass(frozen=True, eq=False)
class Sequences:
    """Named sequences: `x[i]` of shape (T_i, F) and `y[i]` of shape (T_i, L) belong to `names[i]`.

    `(s.x, s.y)` is data for `fit`. Raises DataError when names, x and y do not match in number, or x[i] and y[i] in
    steps.

    >>> s = Sequences(["a", "b"], [np.ones((2, 3)), np.ones((4, 3))], [np.zeros((2, 1)), np.zeros((4, 1))])
    >>> len(s), [len(x) for x in s.x]
    (2, [2, 4])
    """

    names: list[str]
    x: list[Array]
    y: list[Array]

    def __post_init__(self) -> None:
        parts: list[Any] = [self.names, self.x, self.y]
        for part in parts:
            if not isinstance(part, (list, tuple)) and getattr(part, "ndim", 0) == 0:
                raise DataError(message("Sequences", shown(part), "a list with one entry per sequence"))
        entries: list[Any] = [*self.x, *self.y]
        for entry in entries:
            if not isinstance(entry, np.ndarray):
                raise DataError(message("Sequences", f"{shown(entry)} in x or y", "arrays (T, F) and (T, L)"))
        if not len(self.names) == len(self.x) == len(self.y) > 0:
            raise DataError(message("Sequences", f"{len(self.names)} names, {len(self.x)} x and {len(self.y)} y",
                                    "as many of each, at least one", "give one name, one x and one y per sequence"))
        widths = self.x[0].shape[1:], self.y[0].shape[1:]
        for name, x, y in zip(self.names, self.x, self.y, strict=True):
            if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or (x.shape[1:], y.shape[1:]) != widths:
                raise DataError(message("Sequences", f"x of shape {x.shape} and y of shape {y.shape} in {name!r}",
                                        "(T, F) and (T, L), with the same F and L in every sequence",
                                        "a single feature or label is x.reshape(-1, 1)"))

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        steps = [len(x) for x in self.x]
        span = f"{min(steps):,}" if min(steps) == max(steps) else f"{min(steps):,} to {max(steps):,}"
        x, y = self.x[0], self.y[0]
        kinds = f"x (T, {x.shape[1]}) {x.dtype}, y (T, {y.shape[1]}) {y.dtype}"
        return f"Sequences: {len(self):,} of {span} steps, {sum(steps):,} in all; {kinds}"

    def take(self, rows: Iterable[int]) -> Self:
        """The sequences with these numbers, in this order."""
        if not is_iterable(rows):
            raise DataError(message("take", f"rows {shown(rows)}", "numbers of sequences"))
        listed = []
        for row in rows:
            if not is_whole(row) or not -len(self) <= row < len(self):
                raise DataError(message("take", f"row {shown(row)}", f"the number of one of {len(self)} sequences"))
            listed.append(int(row))
        return type(self)(take(self.names, listed), take(self.x, listed), take(self.y, listed))

    def split(self, sizes: Sequence[float] = (0.8, 0.2), *, seed: int = 0, shuffle: bool = True,
              stratify: Any = None) -> tuple[Self, ...]:
        """Parts that share no sequence; `stratify` is a label per sequence; sizes and errors as in `split_indices`."""
        parts = split_indices(len(self), sizes, seed=seed, shuffle=shuffle, stratify=stratify)
        return tuple(self.take(part) for part in parts)

    def shuffle(self, seed: int = 0) -> Self:
        """All sequences in random order; the same seed gives the same order."""
        return self.take(stream("shuffle", seed).permutation(len(self)).tolist())

    @typed_as(DataError)
    def map(self, x: Callable[[Array], Array] = np.asarray, y: Callable[[Array], Array] = np.asarray) -> Self:
        """Each x[i] and y[i] put through a function, as in `s.map(x=x_scaler.transform)`."""
        return type(self)(self.names, [x(steps) for steps in self.x], [y(steps) for steps in self.y])

    def stacked(self) -> tuple[Array, Array]:
        """All steps below one another, (sum of T, F) and (sum of T, L): what a scaler is fitted on."""
        return np.concatenate(self.x), np.concatenate(self.y)

    def to_csv(self, path: StrPath) -> None:
        """Write the file that `from_csv(path)` reads: columns name, t (0, 1, ...), x1..xF, y1..yL."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", "t", *_numbered("x", self.x[0].shape[1]), *_numbered("y", self.y[0].shape[1])])
        parts = [text.getvalue().encode()]
        for name, x, y in zip(self.names, self.x, self.y, strict=True):
            text.seek(0)
            text.truncate()
            rows = np.hstack([x, y]).tolist()
            writer.writerows([name, t, *row] for t, row in enumerate(rows))
            parts.append(text.getvalue().encode())
        write_atomic(as_path("to_csv", path), b"".join(parts), "to_csv")


def from_csv(path: StrPath, group: str = "name", time: str = "t", features: Sequence[str] | None = None,
             targets: Sequence[str] | None = None) -> Sequences:
    """Sequences from a CSV file with one row per step: rows of one `group` value, ordered by `time`.

    `features` and `targets` name columns; by default they are x1, x2, ... and y1, y2, ... of the header. Sequences come
    in order of first appearance; the rows of a sequence need not be adjacent. Arrays are float64. Raises DataError for
    what `read_csv` refuses, missing cells, NaN and inf, rows without a group, and a time that occurs twice in a group.

    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "steps.csv"
    >>> _ = path.write_text("name,t,x1,x2,y1\\nb,1,3,4,0\\na,0,5,6,1\\nb,0,1,2,1\\n")
    >>> s = from_csv(path)
    >>> s.names, s.x[0].tolist(), s.y[0].tolist()
    (['b', 'a'], [[1.0, 2.0], [3.0, 4.0]], [[1.0], [0.0]])
    """
    if features is None or targets is None:
        header = csv_header(path)
        features = _matching("x", header, path) if features is None else features
        targets = _matching("y", header, path) if targets is None else targets
    columns = dict.fromkeys([group, time, *features, *targets])  # the time may be a feature too
    frame = read_csv(path, list(columns), dtype={**dict.fromkeys(columns, float), group: str})
    t = to_matrix(frame, [time], op="from_csv")[:, 0]
    x, y = (to_matrix(frame, names, op="from_csv") for names in (features, targets))
    runs = frame[group].rle_id().to_numpy()  # rows of one sequence are usually adjacent
    number: dict[str | None, int] = {}
    heads = frame[group].gather(np.flatnonzero(np.diff(runs, prepend=np.uint32(2**32 - 1)))).to_list()
    codes = np.array([number.setdefault(name, len(number)) for name in heads])[runs]
    del frame  # as large as x
    if None in number:
        raise DataError(message("from_csv", f"a missing value in column {group!r} of {path}, row "
                                f"{np.flatnonzero(codes == number[None])[0]}", "the name of a sequence in each row",
                                "fill in the name, or drop the row"))
    names = [name for name in number if name is not None]
    order = np.lexsort((t, codes))
    if (np.diff(order) != 1).any():
        codes, t = codes[order], t[order]
        for matrix in (x, y):
            for column in matrix.T:  # one after another: there is no second copy of x
                column[:] = column[order]
    begins = np.diff(codes) != 0
    same = ~begins & (np.diff(t) == 0)
    if same.any():
        row = int(np.argmax(same))
        raise DataError(message("from_csv", f"{time}={t[row]:g} twice in sequence {names[codes[row]]!r} of {path}",
                                "one row per time in a sequence", "number the steps, or drop the repeated row"))
    bounds = [0, *(np.flatnonzero(begins) + 1).tolist(), len(t)]
    return Sequences(names, [x[i:j] for i, j in pairwise(bounds)], [y[i:j] for i, j in pairwise(bounds)])


@typed_as(DataError)
def cut(x: Any, y: Any, length: int, *, drop_last: bool = False) -> Sequences:
    """A table of n steps cut into sequences of `length` steps, in order; the last is shorter, or left out on request.

    `x` has shape (n, F), `y` (n, L) or (n,), which counts as L = 1. The names are "0", "1", ... Raises DataError when x
    and y differ in rows and when length is not in 1..n.

    >>> [steps.tolist() for steps in cut([[1], [2], [3]], [0, 0, 1], 2).x]
    [[[1], [2]], [[3]]]
    """
    x, y = as_array("cut", x, "x"), as_array("cut", y, "y")
    y = y.reshape(-1, 1) if y.ndim == 1 else y
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise DataError(message("cut", f"shapes {x.shape} and {y.shape}", "(n, F) and (n, L)",
                                "give one row of y for each row of x"))
    _check_length("cut", length, len(x))
    starts = range(0, len(x) - length + 1 if drop_last else len(x), length)
    return Sequences([str(i) for i in range(len(starts))], [x[i:i + length] for i in starts],
                     [y[i:i + length] for i in starts])


@typed_as(DataError)
def sliding_windows(series: Any, length: int, horizon: int = 1, stride: int = 1) -> tuple[Array, Array]:
    """Windows of `length` values and the `horizon` values after each, for regression on the past.

    A series (n,) gives shapes (m, length) and (m, horizon) with m = (n - length - horizon) // stride + 1; a series
    (n, F) gives (m, length, F) and (m, horizon, F). Windows begin `stride` values apart. Raises DataError when the
    series is too short for one window.

    >>> x, y = sliding_windows([1, 2, 3, 4, 5], 3)
    >>> x.tolist(), y.tolist()
    ([[1, 2, 3], [2, 3, 4]], [[4], [5]])
    >>> sliding_windows([1, 2, 3, 4, 5, 6], 2, horizon=2, stride=2)[1].tolist()
    [[3, 4], [5, 6]]
    """
    if stride > 2**40:
        raise DataError(message("sliding_windows", f"stride={stride}", "at most 2**40"))
    series = as_array("sliding_windows", series, "series")
    if series.ndim not in (1, 2):
        raise DataError(message("sliding_windows", f"shape {series.shape}", "(n,) or (n, F)", "pass one series"))
    _check_length("sliding_windows", length, len(series))
    _check_length("sliding_windows", horizon, len(series) - length, "horizon")
    if not isinstance(stride, (int, np.integer)) or stride < 1:
        raise DataError(message("sliding_windows", f"stride={stride}", "a whole number >= 1", "1 gives every window"))
    rows = np.arange(0, len(series) - length - horizon + 1, stride)[:, None]
    return series[rows + np.arange(length)], series[rows + length + np.arange(horizon)]


def _check_length(op: str, length: int, n: int, name: str = "length") -> None:
    if not isinstance(length, (int, np.integer)) or not 1 <= length <= n:
        raise DataError(message(op, f"{name}={length} for {n} steps", f"1 <= {name} <= {n}", "check the series length"))


def _matching(letter: str, header: Sequence[str], path: StrPath) -> list[str]:
    """Columns x1, x2, ... (or y1, ...) of a header, in order of their numbers."""
    numbered = sorted((int(name[1:]), name) for name in header if re.fullmatch(f"{letter}[0-9]+", name))
    if not numbered:
        raise DataError(message("from_csv", f"{path} without columns {letter}1, {letter}2, ...; it has {list(header)}",
                                "numbered columns, or names", "pass features=[...] and targets=[...]"))
    return [name for _, name in numbered]


def _numbered(letter: str, count: int) -> list[str]:
    return [f"{letter}{i + 1}" for i in range(count)]
