"""The quick way into a CSV file takes what is ordinary, agrees with the careful way, and leaves the rest to it."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_nn.data import lines, read_csv, table
from tinygrad_nn.data.lines import Layout, layout
from tinygrad_nn.errors import DataError

HEADER = ["a", "b"]


@pytest.mark.parametrize(
    ("raw", "start", "height"),
    [
        (b"a,b\n1,2\n", 4, 1),
        (b"a,b\n1,2", 4, 1),
        (b"a,b\r\n1,2\r\n3,4\r\n", 5, 2),
        (b"\xef\xbb\xbfa,b\n1,2\n", 7, 1),
        (b'"a",b\n"1,\n5",2\n3,"4"', 6, 2),
        (b'\xef\xbb\xbf"a",b\n1,"2"\r\n', 9, 1),
        ("a,b\né,ü\n".encode(), 4, 1),
        (b"a,b\n,\n,\n", 4, 2),
    ],
)
def test_ordinary_files(raw: bytes, start: int, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in (1 << 20, 1, 2, 3, 5):
        monkeypatch.setattr(lines, "BLOCK", block)
        assert layout(raw, ",") == Layout(HEADER, start, height), block


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"a,b",
        b"a,b\n",
        b"\na,b\n1,2\n",
        b"a\n1\n\n2\n",  # one column: a blank line would look like any other
        b"a,b\n1,2\n\n3,4\n",
        b"a,b\n1\n2,3,4\n",  # as many cells as if each line had two
        b"a,b\n1,2,3\n4\n",
        b"a,b\n1\n2\n",
        b'a,b\n1,2"3"\n',
        b"a,b\n1,2\n3\n",
        b"a,b\n1,2\r3,4\n",
        b"a,b\r1,2\r",
        b'a,b\n1,"2\n',
        b'a,b\n1,2"\n3,"4\n',
        b'a,b\n1,"2"x\n',
        b'a,b\n1,"2""3"\n',
        b'"a\n",b\n1,2\n',
        b"a,b\n\xff,2\n",
        "a,b\né,2".encode()[:-3],
        "a,b\n1,2\n".encode("utf-16"),
    ],
)
def test_what_is_not_ordinary(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in (1 << 20, 1, 2, 3, 5):
        monkeypatch.setattr(lines, "BLOCK", block)
        assert layout(raw, ",") is None, block


CELLS = st.sampled_from(
    ["", " ", "1", " 1", "1 ", "+1", "-0.0", ".5", "1e3", "1e400", "nan", "inf", "1_0", "0x1", "abc", "é", '"1"', '"']
)


def read(path: Path, **options: Any) -> Any:
    """(columns, dtypes, rows), or the text of the error."""
    try:
        frame = read_csv(path, **options)
    except DataError as error:
        return str(error)
    return frame.columns, frame.dtypes, repr(frame.rows())


@given(
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=3), min_size=1, max_size=4),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    dtype=st.sampled_from([None, str, float, int, {"a": float}]),
    quoted=st.booleans(),
)
def test_both_ways_say_the_same(rows: list[list[str]], end: str, dtype: Any, quoted: bool) -> None:
    pytest.importorskip("polars")
    if quoted:
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([HEADER, *rows])
        text = out.getvalue()
    else:
        text = end.join(map(",".join, [HEADER, *rows]))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "table.csv"
        path.write_bytes(text.encode())
        both = read(path, dtype=dtype)
        patch.setattr(table, "layout", lambda raw, separator: None)
        assert both == read(path, dtype=dtype)


def test_the_quick_way_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("polars")
    monkeypatch.setattr(table, "_decode", None)  # the careful way would fail
    path = tmp_path / "table.csv"
    path.write_bytes('\ufeff"name",x,y\r\nä,1.5,\r\n,2,"3"\r\n'.encode())
    assert read_csv(path, dtype={"name": str, "x": float, "y": int}).rows() == [("ä", 1.5, None), (None, 2.0, 3)]
    assert read_csv(path, ["y", "x"], dtype=float).rows() == [(None, 1.5), (3.0, 2.0)]
    assert read_csv(path).rows() == [("ä", 1.5, None), (None, 2.0, 3)]
    np.testing.assert_array_equal(table.to_matrix(read_csv(path, ["x"], dtype=float))[:, 0], [1.5, 2.0])
    assert table.csv_header(path) == ["name", "x", "y"]
