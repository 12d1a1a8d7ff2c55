"""The rows of an epoch, from chunks, in an order and in pieces for training: one piece is read while the step runs on
the one before.

Two buffers for the arguments of the step take turns. A thread fills one with whole batches, as many as there is room
for; what is left of a chunk begins the next piece, so that only the last batch of an epoch may be shorter. So the
batches are those of all rows in one array.

The order of an epoch is a pure function of its key: that of the chunks, and in each of them that of its rows. The
thread therefore draws nothing from anybody's generator.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias

import numpy as np

from ..errors import DataError, message
from ..support.arrays import Array
from ..support.memory import check_fits
from ..support.settings import shown
from .chunks import Chunk, Chunks, into
from .streams import stream

Buffers: TypeAlias = Sequence[Sequence[Array]]
_TICK: Final = 0.05  # seconds between two looks at whether somebody is still waiting


class _Closed(Exception):
    """Nobody wants the rest."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows of a chunk that lie one after the other in a buffer from `at` on: those that its order has from `low` on."""

    at: int
    rows: int
    chunk: int  # the number of its first row
    size: int
    low: int
    key: int | None


@dataclass(frozen=True, slots=True)
class Piece:
    """So many rows in a buffer: whole batches, of which the first has the number `first` in its epoch; in the `last`
    piece of the epoch the last batch may be shorter.
    """

    buffer: int
    rows: int
    first: int
    last: bool
    stretches: tuple[Stretch, ...]

    def numbers(self, low: int, high: int) -> Array:
        """The numbers of the rows that lie there in the buffer."""
        found = np.empty(high - low, np.int64)
        for one in self.stretches:
            start, stop = max(low, one.at), min(high, one.at + one.rows)
            if start < stop:
                begin = one.low + start - one.at
                order = np.argsort(_places(one.key, one.chunk, one.size))[begin : begin + stop - start]
                found[start - low : stop - low] = one.chunk + order
        return found


class Feed:
    """How chunks become batches: `types` are those of the arguments of the step, `capacity` the rows of a buffer.

    Raises DataError for a batch size that does not fit, as for rows in memory.
    """

    def __init__(self, chunks: Chunks, batch_size: Any, dtype: Any) -> None:
        self.chunks, self.dtype = chunks, np.dtype(dtype)
        self.types, self.samples = chunks.types(dtype), chunks.samples
        whole = isinstance(batch_size, (int, np.integer)) and not isinstance(batch_size, bool)
        if not whole or not 1 <= batch_size <= self.samples:
            got = f"batch_size={shown(batch_size)} for {self.samples:,} samples in chunks"
            expected = f"an integer from 1 to {self.samples:,}"
            hint = "all rows as one batch have to be in memory: pass them as arrays" if batch_size is None else ""
            raise DataError(message("fit", got, expected, hint))
        self.batch, self.kept = int(batch_size), chunks.kept(dtype)
        most = min(chunks.largest + self.batch - 1, self.samples)
        self.capacity = self.batch * -(-most // self.batch)
        self.short = self.samples % self.batch
        row = sum(int(np.prod(shape)) * kind.itemsize for shape, kind in self.types)
        check_fits("fit", f"two pieces of {self.capacity:,} rows", 2 * self.capacity * row)

    def __repr__(self) -> str:
        return f"Feed: batches of {self.batch:,}, pieces of at most {self.capacity:,} rows"

    def buffers(self) -> Buffers:
        """New memory for two pieces."""
        return [[np.empty((self.capacity, *shape), kind) for shape, kind in self.types] for _ in range(2)]


class Reader:
    """The thread that fills buffers with the rows of the epochs that it is asked for, in turn."""

    def __init__(self, feed: Feed, buffers: Buffers) -> None:
        self.feed, self.buffers = feed, buffers
        self.asked: SimpleQueue[tuple[int | None, bool] | None] = SimpleQueue()
        self.ready: SimpleQueue[Piece | BaseException] = SimpleQueue()
        self.free: SimpleQueue[int] = SimpleQueue()
        self.closed = False
        for number in range(len(buffers)):
            self.free.put(number)
        self.thread = threading.Thread(target=self._work, name="tinygrad_nn reader", daemon=True)
        self.thread.start()

    def ask(self, key: int | None, again: bool = False) -> None:
        """For another epoch: in the order of this key, or in that of the data. It may not be the last one: `again`."""
        self.asked.put((key, again))

    def next(self, interrupted: Callable[[], bool] = bool) -> Piece | None:
        """The next piece, or the error that was met; None where somebody interrupted."""
        while True:
            try:
                found = self.ready.get(timeout=_TICK)
            except Empty:
                if interrupted():
                    return None
                continue
            if isinstance(found, BaseException):
                raise found
            return found

    def done(self, piece: Piece) -> None:
        """Its buffer may be filled again."""
        self.free.put(piece.buffer)

    def close(self) -> None:
        """Leave the rest; what is being read now is read to its end."""
        self.closed = True
        self.asked.put(None)

    def _work(self) -> None:
        try:
            while not self.closed and (asked := self.asked.get()) is not None:
                _Filling(self, *asked).run()
        except _Closed:
            pass
        except BaseException as error:  # raised where somebody waits
            self.ready.put(error)

    def free_buffer(self) -> int:
        """One that nobody works on."""
        while not self.closed:
            try:
                return self.free.get(timeout=_TICK)
            except Empty:
                pass
        raise _Closed


class _Filling:
    """An epoch, on its way into the buffers."""

    def __init__(self, reader: Reader, key: int | None, again: bool) -> None:
        self.reader, self.feed, self.key, self.again = reader, reader.feed, key, again
        self.buffer: int | None = None
        self.filled, self.first = 0, 0  # rows in the buffer, and the number of the first batch in it
        self.stretches: list[Stretch] = []
        self.left: list[Array] = []  # rows that begin the next piece

    def run(self) -> None:
        """All chunks, into one piece after the other."""
        feed = self.feed
        order = None
        if self.key is not None and feed.chunks.count is not None:
            order = stream("order of chunks", self.key).permutation(feed.chunks.count).tolist()
        for chunk in feed.chunks.each(feed.dtype, order):
            if self.filled + chunk.rows > feed.capacity:
                self.hand_over(last=False)
            self.append(chunk)
        self.hand_over(last=True)

    def append(self, chunk: Chunk) -> None:
        """Put the rows of a chunk behind those that are there."""
        columns, kept = self.open(), self.feed.kept
        places: Array | slice = slice(self.filled, self.filled + chunk.rows)
        if self.key is not None:
            places = self.filled + _places(self.key, chunk.start, chunk.rows)
        if kept is not None and chunk.number is not None and kept.has(chunk.number):
            kept.read(chunk.number, columns, places)
        else:
            for part in chunk.parts:
                if self.reader.closed:
                    raise _Closed
                target = into(columns[part.argument], part.columns)
                if isinstance(places, slice):
                    target[self.filled + part.rows.start : self.filled + part.rows.stop] = part.values
                else:
                    target[places[part.rows]] = part.values
                del part  # while the next one is decoded
            if kept is not None and chunk.number is not None and kept.wants(chunk.number, self.again):
                kept.write(chunk.number, columns, places)
        self.stretches.append(Stretch(self.filled, chunk.rows, chunk.start, chunk.rows, 0, self.key))
        self.filled += chunk.rows

    def open(self) -> Sequence[Array]:
        """A buffer with what was left."""
        if self.buffer is None:
            self.buffer = self.reader.free_buffer()
            for column, left in zip(self.reader.buffers[self.buffer], self.left, strict=False):
                column[: len(left)] = left
            self.left = []
        return self.reader.buffers[self.buffer]

    def hand_over(self, last: bool) -> None:
        """Let the step have the whole batches, and keep what is left; at the end let it have everything."""
        columns, buffer, batch = self.open(), self.buffer, self.feed.batch
        rows = self.filled if last else self.filled // batch * batch
        self.left = [column[rows : self.filled].copy() for column in columns]
        stretches, self.stretches = self.stretches, [_behind(one, rows) for one in self.stretches if _ends(one) > rows]
        self.reader.ready.put(Piece(buffer or 0, rows, self.first, last, tuple(stretches)))
        self.filled, self.first, self.buffer = self.filled - rows, self.first + rows // batch, None


def _ends(one: Stretch) -> int:
    return one.at + one.rows


def _behind(one: Stretch, rows: int) -> Stretch:
    """What is left of a stretch when so many rows of the buffer are taken away."""
    gone = max(0, rows - one.at)
    return Stretch(max(0, one.at - rows), one.rows - gone, one.chunk, one.size, one.low + gone, one.key)


def _places(key: int | None, start: int, rows: int) -> Array:
    """Where the rows of a chunk go, in the order of a key."""
    if key is None:
        return np.arange(rows)
    return stream(f"order of rows from {start}", key).permutation(rows)
