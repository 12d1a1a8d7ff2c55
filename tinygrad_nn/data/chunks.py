"""Data that comes in chunks, of which only a few are in memory: what `fit` trains on beside whole columns.

A chunk is some rows of every argument of the step. It arrives in parts, so that whoever has the room for it (compiled
code has it in its own memory) can put each part where it belongs, and nothing is held twice. Rows have numbers over
all chunks, from 0; `place` says what the user calls one of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, message
from ..support.arrays import Array
from ..support.settings import integer, shown
from ..tensor.arrays import array_of
from .batching import as_columns

Type = tuple[tuple[int, ...], np.dtype[Any]]  # of an argument: the shape of a sample, and the dtype


class Part(NamedTuple):
    """Some rows of a chunk, and of a matrix some columns, of one argument of the step. The values are valid until the
    next part is asked for.
    """

    argument: int
    rows: slice
    columns: slice
    values: Array


class Chunk(NamedTuple):
    """So many rows, the first of which has the number `start`, in parts that come in any order. A chunk with a `number`
    is the same whenever it comes.
    """

    start: int
    rows: int
    parts: Iterator[Part]
    number: int | None = None


class Chunks(ABC):
    """Data in chunks, of at most `largest` rows, `samples` in all. With `count`, the number of chunks, they can be had
    in any order; without, they come one after the other.

    >>> import tinygrad_nn as tg
    >>> source = tg.data.chunks(lambda: iter([(tg.ones(4, 2), tg.zeros(4))]))
    >>> isinstance(source, Chunks)
    True
    """

    largest: int
    samples: int
    count: int | None = None

    @abstractmethod
    def types(self, dtype: Any) -> tuple[Type, ...]:
        """What the arguments of the step are, with fractional numbers in `dtype`."""

    @abstractmethod
    def each(self, dtype: Any, order: Sequence[int] | None = None) -> Iterator[Chunk]:
        """The chunks, in this order."""

    def kept(self, dtype: Any) -> Any:
        """Where decoded chunks are kept for the next epoch (`kept.Kept`), if they are."""
        return None

    @abstractmethod
    def place(self, row: int) -> tuple[int, str]:
        """What the user calls a row: its number in something, and what that is."""

    @abstractmethod
    def fingerprint(self) -> str:
        """What tells other data from this, without reading all of it."""

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        """The arguments of the step, chunk by chunk: for an evaluation, say."""
        types = self.types(np.float32)
        for chunk in self.each(np.float32):
            columns = tuple(np.empty((chunk.rows, *shape), dtype) for shape, dtype in types)
            for part in chunk.parts:
                into(columns[part.argument], part.columns)[part.rows] = part.values
            yield columns


def into(column: Array, chosen: slice) -> Array:
    """The columns of a matrix that a part is for; of anything else all of it."""
    return column[:, chosen] if column.ndim == 2 and chosen != slice(None) else column


class Generated(Chunks):
    """Chunks that a function makes, one after the other; see `chunks`."""

    def __init__(self, function: Any, rows: int | None = None) -> None:
        if not callable(function):
            got = f"{shown(function)}"
            hint = "it is called for every epoch: pass a generator function, and not what it returns"
            raise DataError(message("chunks", got, "a function that returns chunks of data", hint))
        self.function, self.samples = function, 0
        self.starts: list[int] = []  # of the chunks that have been read
        self._begun: tuple[Iterator[Any], Iterator[Any]] | None = None
        first, others = self._next_epoch()
        columns = self._columns(first, 0, np.float32)
        self.first: list[Type] = [(one.shape[1:], one.dtype) for one in columns]
        self.largest, self._print = len(columns[0]), _digest(columns)
        if rows is not None:
            self.samples = integer("chunks", "rows", rows, least=1)
            self._begun = iter([first]), others
            return
        self.samples = len(columns[0])
        for number, given in enumerate(others, 1):
            count = len(self._columns(given, number, np.float32)[0])
            self.samples, self.largest = self.samples + count, max(self.largest, count)

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"chunks({name}): {self.samples:,} rows, at most {self.largest:,} at a time"

    def types(self, dtype: Any) -> tuple[Type, ...]:
        """What the first chunk says."""
        return tuple((shape, np.dtype(dtype) if kind.kind == "f" else kind) for shape, kind in self.first)

    def each(self, dtype: Any, order: Sequence[int] | None = None) -> Iterator[Chunk]:
        """Those of a new call of the function, in parts where one is larger than was known."""
        if self._begun is None:
            first, others = self._next_epoch()
            self._begun = iter([first]), others
            del first
        coming, self._begun = chain(*self._begun), None
        start, starts = 0, list[int]()
        for given in coming:
            columns = self._columns(given, len(starts), dtype)
            del given  # the function may make the next one in its place
            starts.append(start)
            if len(starts) > len(self.starts):
                self.starts = starts
            count = len(columns[0])
            for low in range(0, count, self.largest):
                some = [column[low : low + self.largest] for column in columns]
                everything = slice(0, len(some[0])), slice(None)
                yield Chunk(start + low, len(some[0]), iter([Part(k, *everything, one) for k, one in enumerate(some)]))
                del some
            start += count
            del columns
        if start != self.samples:
            hint = "it has to give the same rows whenever it is called"
            raise DataError(message("chunks", f"{start:,} rows in an epoch", f"{self.samples:,}", hint))

    def place(self, row: int) -> tuple[int, str]:
        """The row in its chunk."""
        number = bisect_right(self.starts, row) - 1
        return row - self.starts[number], f"chunk {number}"

    def fingerprint(self) -> str:
        """Of the first chunk."""
        return self._print

    def _next_epoch(self) -> tuple[Any, Iterator[Any]]:
        """The first chunk, and the iterator of the others."""
        made = self.function()
        try:
            others = iter(made)
        except TypeError:
            got = f"{shown(made)} from the function of the chunks"
            raise DataError(message("chunks", got, "something to go through", "as a generator function")) from None
        for first in others:
            return first, others
        hint = "it has to begin anew whenever it is called"
        raise DataError(message("chunks", "no chunk from the function of the chunks", "at least one", hint))

    def _columns(self, given: Any, number: int, dtype: Any) -> tuple[Array, ...]:
        """A chunk as arrays that fit to the first one."""
        count = len(given) if isinstance(given, tuple) else 1
        names = [f"argument {k} of chunk {number}" for k in range(count)]
        columns = as_columns(given, dtype=dtype, arrays=True, op="chunks", names=names)
        arrays = []
        for name, column in zip(names, columns, strict=True):
            if not isinstance(column, np.ndarray):
                got = f"sequences of different lengths as {name}"
                raise DataError(message("chunks", got, "arrays", "pad them to one length"))
            arrays.append(array_of("chunks", column))
        if number:
            self._check_like_first(arrays, names)
        return tuple(arrays)

    def _check_like_first(self, columns: Sequence[Array], names: Sequence[str]) -> None:
        if len(columns) != len(self.first):
            got = f"{len(columns)} arrays in {names[0].partition(' of ')[2]}"
            raise DataError(message("chunks", got, f"{len(self.first)}, as in the first one"))
        for column, (shape, kind), name in zip(columns, self.first, names, strict=True):
            if column.shape[1:] != shape or not np.can_cast(column.dtype.type, kind.type, "same_kind"):
                got = f"samples of shape {column.shape[1:]} and dtype {column.dtype} as {name}"
                raise DataError(message("chunks", got, f"shape {shape} and dtype {kind}, as in chunk 0"))


def _digest(columns: Sequence[Array]) -> str:
    """A hash of shapes, dtypes and values."""
    digest = blake2b(digest_size=16)
    for column in columns:
        digest.update(f"{column.shape} {column.dtype.str}".encode())
        digest.update(np.ascontiguousarray(column).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def chunks(function: Callable[[], Iterable[Any]], rows: int | None = None) -> Chunks:
    """Data for `fit` from a function that returns chunks one after the other, as a generator function does.

    It is called for every epoch, and once before to count the rows, unless `rows` says how many there are (then no
    chunk should be larger than the first). Each chunk is what `fit` takes as data: a tuple with one item per argument
    of the step, or a single item; all have the samples' shapes and dtypes of the first one. They are read in a thread
    while the step runs on the chunk before. With `shuffle` the rows of a chunk come in another order in every epoch,
    the chunks as the function makes them. Batches go across the borders of chunks.

    Raises DataError, naming chunk and row, for chunks that do not fit together, for what `fit` refuses, and for other
    rows than were counted.

    >>> def numbers():
    ...     for start in (0, 3, 6):
    ...         yield np.arange(start, start + 3.0)
    >>> [x.tolist() for (x,) in chunks(numbers)]
    [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]
    """
    return Generated(function, rows)
