"""The structure of an ordinary CSV file from its bytes: as many cells on every line, quotes around whole cells only.

What is not ordinary is not an error here; the standard library's reader, slower and with line numbers, then judges.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..errors import DataError, message

BLOCK: Final = 1 << 17  # bytes looked at in one go: they stay in the cache
_MARK: Final = codecs.BOM_UTF8
_QUOTE, _LINE, _RETURN = b'"\n\r'


@dataclass(frozen=True, slots=True)
class Layout:
    """Header cells, where the line below the header begins, and how many lines there are from there on."""

    header: list[str]
    start: int
    height: int


def layout(raw: bytes, separator: str) -> Layout | None:
    """The layout of a file in UTF-8 that is ordinary, else None.

    >>> layout(b"a,b\\n1,2\\n3,4\\n", ",")
    Layout(header=['a', 'b'], start=4, height=2)
    >>> layout(b"a,b\\n1\\n", ",") is None
    True
    """
    mark = len(_MARK) if raw.startswith(_MARK) else 0
    end = raw.find(b"\n", mark) + 1
    if not end or not separator.isascii() or (b"\r" in raw and raw.count(b"\r") != raw.count(b"\r\n")):
        return None
    if not _quotes_whole_cells(raw, separator, mark):
        return None
    try:
        header = next(csv.reader(io.StringIO(raw[mark:end].decode(), newline=""), delimiter=separator, strict=True))
        _check_utf8(raw)
    except (csv.Error, UnicodeDecodeError):
        return None
    if len(header) < 2:  # a blank line would look like any other
        return None
    lines = _lines(raw, end, separator, len(header))
    return Layout(header, end, lines) if lines else None


def _check_utf8(raw: bytes) -> None:
    if raw.isascii():
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(raw)
    for start in range(0, len(raw), BLOCK):
        decoder.decode(view[start:start + BLOCK])
    decoder.decode(b"", final=True)


def _quotes_whole_cells(raw: bytes, separator: str, mark: int) -> bool:
    """Whether quotes come in pairs, one at the beginning and one at the end of a cell."""
    if _QUOTE not in raw:
        return True
    data = np.frombuffer(raw, np.uint8)
    opening, beside = True, np.frombuffer(separator.encode() + b"\n", np.uint8)
    for start in range(0, len(data), BLOCK):
        places = start + np.flatnonzero(data[start:start + BLOCK] == _QUOTE)
        first, last = (places[::2], places[1::2]) if opening else (places[1::2], places[::2])
        before = np.isin(data[first - 1], beside) | (first == mark)
        after = last[last + 1 < len(data)] + 1
        if not before.all() or not (np.isin(data[after], beside) | (data[after] == _RETURN)).all():
            return False
        opening ^= len(places) % 2 == 1
    return opening


def _lines(raw: bytes, start: int, separator: str, cells: int) -> int:
    """The number of lines from `start` on if each has so many cells, else 0. Quotes are known to come in pairs."""
    data = np.frombuffer(raw, np.uint8)
    seen, inside, quoted = 0, np.uint8(0), _QUOTE in raw
    for begin in range(start, len(data), BLOCK):
        block = data[begin:begin + BLOCK]
        marks = (block == ord(separator)) | (block == _LINE)
        if quoted:
            parity = (np.cumsum(block == _QUOTE, dtype=np.uint8) + inside) & 1  # wraps at 256, which is even
            marks &= parity == 0
            inside = parity[-1]
        ends = block[marks] == _LINE
        due = (cells - 1 - seen) % cells
        if not ends[due::cells].all() or np.count_nonzero(ends) != len(ends[due::cells]):
            return 0
        seen += len(ends)
    if not raw.endswith(b"\n"):
        seen += 1
    return seen // cells if seen % cells == 0 else 0


@dataclass(frozen=True, slots=True)
class Lines:
    """Where in a file lines 0, `every`, 2 `every` ... begin, where the last one ends, how many `rows` there are, and
    whether there is a quote anywhere.
    """

    starts: tuple[int, ...]
    end: int
    rows: int
    quoted: bool


def line_starts(path: str | os.PathLike[str], start: int, every: int) -> Lines:
    """The lines from a place of a file on; a line break in quotes is none, and blank lines at the end are not there.
    Little of the file is in memory at a time. Raises DataError for a quote that is never closed.
    """
    with open(path, "rb") as file:
        end = _content_end(file, start)
        if end <= start:
            return Lines((), start, 0, False)
        starts, rows, inside, at, quoted = [start], 1, np.uint8(0), start, False
        file.seek(start)
        while at < end and (block := file.read(min(2 * BLOCK, end - at))):
            data = np.frombuffer(block, np.uint8)
            ends = data == _LINE
            if inside or b'"' in block:
                parity = (np.cumsum(data == _QUOTE, dtype=np.uint8) + inside) & 1
                ends &= parity == 0
                inside, quoted = parity[-1], True
            count = int(np.count_nonzero(ends))
            if rows + count > len(starts) * every:
                places = np.flatnonzero(ends)[len(starts) * every - rows :: every]
                starts += (at + 1 + places).tolist()
            rows += count
            at += len(block)
    if inside:
        raise DataError(message("scan", f"{path}, with a quote that is never closed", "quotes in pairs"))
    return Lines(tuple(starts), end, rows, quoted)


def _content_end(file: io.BufferedIOBase, start: int) -> int:
    """Where the last line that is not blank ends, without its line break."""
    end = file.seek(0, os.SEEK_END)
    while end > start:
        begin = max(start, end - BLOCK)
        file.seek(begin)
        content = file.read(end - begin).rstrip(b"\r\n")
        if content:
            return begin + len(content)
        end = begin
    return start


def last_line_end(text: bytes, quoted: bool) -> int:
    """Where the last whole line of a text ends, which begins with a line; 0 if there is none."""
    if not quoted or b'"' not in text:
        return text.rfind(b"\n") + 1
    data = np.frombuffer(text, np.uint8)
    outside = np.cumsum(data == _QUOTE, dtype=np.uint8) & 1 == 0
    ends = np.flatnonzero((data == _LINE) & outside)
    return int(ends[-1]) + 1 if len(ends) else 0
