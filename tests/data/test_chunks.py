"""Data in chunks: files and functions as sources, and the thread that makes whole batches of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_nn as tg
from tinygrad_nn.data.feed import Feed, Reader
from tinygrad_nn.data.lines import line_starts
from tinygrad_nn.errors import ConfigError, DataError, FileError


def counted(sizes: list[int]) -> Any:
    """Chunks of these sizes whose only column are the numbers of the rows."""
    starts = np.cumsum([0, *sizes])

    def function() -> Iterator[Any]:
        for start, size in zip(starts, sizes, strict=False):
            yield np.arange(start, start + size, dtype=np.float64)

    return tg.data.chunks(function)


def epochs(feed: Feed, keys: list[int | None]) -> list[list[list[float]]]:
    """The batches of epochs, in the order of these keys."""
    buffers = feed.buffers()
    reader = Reader(feed, buffers)
    for key in keys:
        reader.ask(key)
    found = []
    for _ in keys:
        batches: list[list[float]] = []
        while True:
            piece = reader.next()
            assert piece is not None
            assert piece.first == len(batches)
            rows = buffers[piece.buffer][0][: piece.rows].tolist()
            assert rows == piece.numbers(0, piece.rows).tolist()
            batches += [rows[low : low + feed.batch] for low in range(0, len(rows), feed.batch)]
            reader.done(piece)
            if piece.last:
                break
        found.append(batches)
    reader.close()
    return found


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 40), st.integers(0, 5))
def test_batches_are_those_of_all_rows(sizes: list[int], batch: int, key: int) -> None:
    total = sum(sizes)
    feed = Feed(counted(sizes), min(batch, total), np.float32)
    ordered, shuffled, again, other = epochs(feed, [None, key, key, key + 1])
    assert [row for one in ordered for row in one] == list(range(total))
    assert sorted(row for one in shuffled for row in one) == list(range(total))
    assert shuffled == again
    for found in (ordered, shuffled, other):
        assert {len(one) for one in found[:-1]} <= {feed.batch}
    if max(sizes) > 8:
        assert shuffled != other


def test_chunks_of_files_come_in_another_order_and_so_do_their_rows(tmp_path: Path) -> None:
    pl.DataFrame({"x": np.arange(60.0)}).write_parquet(tmp_path / "a.parquet")
    data = tg.data.scan(tmp_path / "a.parquet", features="x", chunk_rows=10)
    (rows,) = ([row for one in found for row in one] for found in epochs(Feed(data, 7, np.float32), [1]))
    chunks = [{int(row) // 10 for row in rows[low : low + 10]} for low in range(0, 60, 10)]
    assert all(len(one) == 1 for one in chunks)
    assert [min(one) for one in chunks] != list(range(6))
    assert rows[:10] != sorted(rows[:10])


def test_a_function_is_read_anew_for_every_epoch_and_its_rows_are_counted() -> None:
    calls = []

    def function() -> Iterator[Any]:
        calls.append(1)
        yield from ([1.0, 2.0], [3.0])

    data = tg.data.chunks(function)
    assert (data.samples, data.largest, len(calls)) == (3, 2, 1)
    assert [x.tolist() for (x,) in data] == [[1.0, 2.0], [3.0]]
    assert len(calls) == 2
    known = tg.data.chunks(function, rows=3)
    assert [x.tolist() for (x,) in known] == [x.tolist() for (x,) in known]
    assert len(calls) == 4
    assert repr(data) == "chunks(function): 3 rows, at most 2 at a time"


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        ([], "no chunk from the function of the chunks; expected at least one"),
        ([[1.0, np.nan]], "nan in argument 0 of chunk 0, row 1"),
        ([[1.0], [2.0, "a"]], r"'a' \(str\) at \[1\] of argument 0 of chunk 1"),
        ([([1.0], [1])], None),
        ([([1.0], [1]), ([1.0],)], "1 arrays in chunk 1; expected 2"),
        ([([1.0], [1]), ([1.0], [1, 2])], "columns of different lengths"),
        ([[1], [2.5]], r"samples of shape \(\) and dtype float32 as argument 0 of chunk 1; expected shape \(\) and"),
        ([[[1.0, 2.0]], [[1.0]]], r"samples of shape \(1,\) and dtype float32 as argument 0 of chunk 1"),
        ([([[1.0], [1.0, 2.0]],)], "sequences of different lengths as argument 0 of chunk 0"),
        ([np.zeros((0, 2))], "an empty dataset"),
    ],
)
def test_chunks_that_do_not_fit_are_refused(chunks: list[Any], text: str | None) -> None:
    if text is None:
        assert tg.data.chunks(lambda: chunks).samples == 1
        return
    with pytest.raises(DataError, match=rf"^\[chunks\] got {text}"):
        tg.data.chunks(lambda: chunks)


def test_what_is_no_function_of_chunks_is_refused() -> None:
    with pytest.raises(DataError, match=r"^\[chunks\] got \[1\]; expected a function that returns chunks"):
        tg.data.chunks([1])  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^\[chunks\] got 3 from the function of the chunks"):
        tg.data.chunks(lambda: 3)  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match=r"^\[chunks\] got rows 0"):
        tg.data.chunks(lambda: [[1.0]], rows=0)
    with pytest.raises(DataError, match=r"^\[chunks\] got 1 rows in an epoch; expected 2"):
        list(tg.data.chunks(lambda: [[1.0]], rows=2))


# ---- files --------------------------------------------------------------------------------------------------------


def table(rows: int, start: int = 0) -> pl.DataFrame:
    """Numbers of several kinds."""
    k = np.arange(start, start + rows)
    return pl.DataFrame({"a": k / 8, "n": k, "m": k * 2, "yes": k % 3 == 0, "y": k % 4, "word": ["w"] * rows})


def write(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_parquet(path, row_group_size=16) if path.suffix == ".parquet" else frame.write_csv(path)
    return path


def whole(data: Any) -> list[np.ndarray[Any, Any]]:
    return [np.concatenate(columns) for columns in zip(*data, strict=True)]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@given(rows=st.lists(st.integers(1, 40), min_size=1, max_size=3), chunk_rows=st.integers(1, 50))
def test_files_are_what_their_frames_are(
    suffix: str, rows: list[int], chunk_rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("files")
    frames = [table(count, 100 * k) for k, count in enumerate(rows)]
    for k, frame in enumerate(frames):
        write(frame, folder / f"part-{k}{suffix}")
    data = tg.data.scan(
        folder / f"*{suffix}", features=["n", "a", "yes"], target="y", weight="a", chunk_rows=chunk_rows
    )
    both = pl.concat(frames)
    x, y, w = whole(data)
    assert np.array_equal(x, tg.data.to_matrix(both, ["n", "a", "yes"], np.float32))
    assert (x.dtype, y.dtype, w.dtype) == (np.float32, np.int64, np.float32)
    assert np.array_equal(y, both["y"].to_numpy())
    assert np.array_equal(w, both["a"].to_numpy())
    assert data.samples == sum(rows)
    assert data.count == sum(-(-count // chunk_rows) for count in rows)
    last = sum(rows) - 1
    assert data.place(last) == (rows[-1] - 1, str(folder / f"part-{len(rows) - 1}{suffix}"))
    ints, truth = whole(tg.data.scan(folder / f"*{suffix}", features=["n", "m"], target="yes", chunk_rows=chunk_rows))
    assert (ints.dtype, truth.dtype) == (np.int64, np.bool_)
    assert np.array_equal(ints, both.select("n", "m").to_numpy())
    assert np.array_equal(truth, both["yes"].to_numpy())


@given(
    cells=st.lists(st.sampled_from(['"a\nb"', '"a,b"', '"say ""so"""', "plain"]), min_size=1, max_size=30),
    every=st.integers(1, 7),
    end=st.sampled_from(["", "\n", "\r\n\n"]),
)
def test_lines_of_a_csv_file_are_found(
    cells: list[str], every: int, end: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.csv"
    path.write_text("word,n\r\n" + "\r\n".join(f"{cell},{k}" for k, cell in enumerate(cells)) + end, newline="")
    found = line_starts(path, 8, every)
    assert found.rows == len(cells)
    assert len(found.starts) == -(-len(cells) // every)
    (numbers,) = whole(tg.data.scan(path, features="n", chunk_rows=every))
    assert numbers.tolist() == list(range(len(cells)))


def test_csv_in_blocks_of_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_nn.data.readers._LEAST", 256)
    monkeypatch.setattr("tinygrad_nn.data.lines.BLOCK", 100)
    frame = table(5000)
    write(frame, tmp_path / "a.csv")
    x, y = whole(tg.data.scan(tmp_path / "a.csv", features=["a", "n"], target="y", chunk_rows=700))
    assert np.array_equal(x, frame.select("a", "n").to_numpy().astype(np.float32))
    assert np.array_equal(y, frame["y"].to_numpy())


def test_columns_stand_anywhere_and_kinds_of_several_files_meet(tmp_path: Path) -> None:
    write(pl.DataFrame({"x": [1, 2], "y": [0, 1]}), tmp_path / "a.parquet")
    write(pl.DataFrame({"y": [1], "more": ["text"], "x": [2.5]}), tmp_path / "b.parquet")
    write(pl.DataFrame({"y": [0], "x": [7]}), tmp_path / "c.csv")
    x, y = whole(tg.data.scan([tmp_path / "*.parquet", tmp_path / "c.csv"], features="x", target=["y"]))
    assert x.tolist() == [1.0, 2.0, 2.5, 7.0]
    assert y.tolist() == [[0], [1], [1], [0]]
    (x,) = whole(tg.data.scan(tmp_path / "c.csv", features=["x"], dtype={"x": float}))
    assert x.dtype == np.float32
    (x,) = whole(tg.data.scan(tmp_path / "a.parquet", features="x", dtype=float))
    assert x.dtype == np.float32


def test_spaces_around_numbers_and_other_separators(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeffx; y\n 1 ; 2\n3;4 \n", encoding="utf-8")
    x, y = whole(tg.data.scan(tmp_path / "a.csv", features="x", target=" y", separator=";"))
    assert x.tolist() == [1, 3]
    assert y.tolist() == [2, 4]
    (tmp_path / "b.tsv").write_text("x\ty\n1\t2\n")
    x, y = whole(tg.data.scan(tmp_path / "b.tsv", features="x", target="y"))
    assert x.tolist() == [1]
    assert y.tolist() == [2]


GOOD = {"x": [1.0, 2.0, 3.0], "y": [0, 1, 0]}


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.parquet", {**GOOD, "x": [1.0, None, 3.0]}, r"a missing value in {path}, row 1, column 'x'"),
        ("a.parquet", {**GOOD, "x": [1.0, 2.0, np.nan]}, r"nan in {path}, row 2, column 'x'"),
        ("a.parquet", {**GOOD, "x": [-np.inf, 2.0, 1.0]}, r"-inf in {path}, row 0, column 'x'"),
        ("a.parquet", {**GOOD, "x": [1.0, 1e300, 1.0]}, r"1e\+300 in {path}, row 1, column 'x'"),
        ("a.parquet", {**GOOD, "y": [0, 1, None]}, r"a missing value in {path}, row 2, column 'y'"),
        ("a.parquet", {**GOOD, "x": ["1", "2", "3"]}, r"text in column 'x' of {path}; expected a column of numbers"),
        ("a.parquet", {"x": [1.0]}, r"{path} without column 'y'; it has 'x'"),
        ("a.parquet", {"x": [], "y": []}, r"{path} without rows"),
        ("a.parquet", b"", r"the empty file {path}"),
        ("a.parquet", b"PAR1 and no more", r"{path}, which cannot be read: "),
        ("a.csv", b"", r"the empty file {path}; expected a header line"),
        ("a.csv", b"x,y\n\n", r"{path} without rows"),
        ("a.csv", b"x,z\n1,2\n", r"{path} without column 'y'; it has 'x', 'z'; expected columns 'x', 'y'"),
        ("a.csv", b"x,y\n1,2\n,4\n", r"a missing value in {path}, row 1, column 'x'"),
        ("a.csv", b"x,y\n1,2\nNA,4\n", r"'NA' in {path}, row 1, column 'x'; expected a number"),
        ("a.csv", b"x,y\n1,2\nnan,4\n", r"nan in {path}, row 1, column 'x'"),
        ("a.csv", b"x,y\none,2\ntwo,3\n", r"text in column 'x' of {path}"),
        ("a.csv", b"x,y\n1,2\n3\n", r"a missing value in {path}, row 1, column 'y'"),
        ("a.csv", b"x,y\n1,2\n3,4,5\n", r"3 cells in row 1 of {path}; expected 2"),
        ("a.csv", b'x,y\n1,2\n"3,4\n', r"{path}, with a quote that is never closed"),
        ("a.csv", b"x,x,y\n1,2,3\n", r"duplicate column 'x' in {path}"),
        ("a.csv", b"\xff\xfex,y\n1,2\n", r"{path}: 'utf-8' codec .* in its first line"),
        ("a.txt.gz", b"", r"{path}; expected a file that ends in .parquet or .csv"),
    ],
)
def test_faults_of_files_name_file_and_row(name: str, content: Any, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pl.DataFrame(content).write_parquet(path)
    with pytest.raises(DataError, match=r"^\[scan\] got " + text.replace("{path}", str(path).replace(".", r"\."))):
        list(tg.data.scan(path, features=["x"], target="y"))


def test_whole_numbers_that_become_fractions_far_down(tmp_path: Path) -> None:
    lines = ["1"] * 200_000 + ["2.5"]
    (tmp_path / "a.csv").write_text("x\n" + "\n".join(lines))
    text = r"'2.5' in .*a\.csv, row 200000, column 'x'; expected a whole number, .*hint: dtype=\{'x': float\}"
    with pytest.raises(DataError, match=text):
        list(tg.data.scan(tmp_path / "a.csv", features="x"))
    (x,) = whole(tg.data.scan(tmp_path / "a.csv", features="x", dtype=float))
    assert x[-1] == 2.5


def test_whole_numbers_are_asked_of_fractions(tmp_path: Path) -> None:
    write(pl.DataFrame({"y": [0.0, 1.0], "z": [0.0, 0.5]}), tmp_path / "a.parquet")
    (y,) = whole(tg.data.scan(tmp_path / "a.parquet", features="y", dtype=int))
    assert y.dtype == np.int64
    assert y.tolist() == [0, 1]
    with pytest.raises(DataError, match=r"0.5 in .*, row 1, column 'z'"):
        list(tg.data.scan(tmp_path / "a.parquet", features="z", dtype=int))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^\[scan\] got no file that matches '.*\*\.parquet'"):
        tg.data.scan(tmp_path / "*.parquet", features="x")
    with pytest.raises(FileError, match=r"^\[scan\] got .*a\.csv: No such file or directory"):
        tg.data.scan(tmp_path / "a.csv", features="x")
    with pytest.raises(DataError, match=r"^\[scan\] got the folder .*; hint: a pattern, as in '.*\*\.parquet'"):
        tg.data.scan(tmp_path, features="x")
    with pytest.raises(DataError, match=r"^\[scan\] got an empty list of files"):
        tg.data.scan([], features="x")
    with pytest.raises(FileError, match=r"^\[scan\] got a int as the path"):
        tg.data.scan(3, features="x")  # type: ignore[arg-type]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.csv")
        with pytest.raises(FileError, match=r"pipe\.csv"):
            tg.data.scan(tmp_path / "pipe.csv", features="x")


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_file_that_changes_or_vanishes(suffix: str, tmp_path: Path) -> None:
    path = write(table(40), tmp_path / f"a{suffix}")
    data = tg.data.scan(path, features="a", chunk_rows=8)
    chunks = iter(data)
    next(chunks)
    write(table(30), path)
    with pytest.raises(DataError, match=rf"^\[scan\] got .*a\{suffix}, which changed since it was opened \(.* bytes"):
        list(chunks)
    path.unlink()
    with pytest.raises(FileError, match=rf"^\[scan\] got .*a\{suffix}: No such file"):
        list(data)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"features": 3}, "features 3"),
        ({"features": []}, r"features \[\]"),
        ({"features": ["a", 1]}, r"features \['a', 1\]"),
        ({"features": ["a", "a"]}, r"features \['a', 'a'\]; expected each column once"),
        ({"features": {"a": 1}}, "features {'a': 1}"),
        ({"target": 2}, "target 2"),
        ({"weight": ["a"]}, r"weight \['a'\]; expected the name of a column"),
        ({"chunk_rows": 0}, "chunk_rows 0"),
        ({"chunk_rows": 2.5}, "chunk_rows 2.5"),
        ({"separator": ";;"}, "separator ';;'"),
        ({"dtype": str}, "dtype <class 'str'> for column 'a'"),
        ({"dtype": {"z": float}}, "a dtype for 'z', which is none of the columns"),
    ],
)
def test_settings_of_scan_are_checked(settings: dict[str, Any], text: str, tmp_path: Path) -> None:
    write(table(4), tmp_path / "a.csv")
    with pytest.raises(ConfigError, match=rf"^\[scan\] got {text}"):
        tg.data.scan(**{"files": tmp_path / "a.csv", "features": "a", **settings})


def test_fingerprints_tell_data_apart(tmp_path: Path) -> None:
    path = write(table(40), tmp_path / "a.csv")
    first = tg.data.scan(path, features="a").fingerprint()
    assert tg.data.scan(path, features="a", chunk_rows=3).fingerprint() == first
    assert tg.data.scan(path, features="n").fingerprint() != first
    path.write_text(path.read_text().replace("0.125", "0.126"))
    assert tg.data.scan(path, features="a").fingerprint() != first
    assert counted([3, 4]).fingerprint() == counted([3, 4]).fingerprint() != counted([4, 3]).fingerprint()


def test_the_thread_ends_when_nobody_wants_the_rest() -> None:
    feed = Feed(counted([3] * 50), 3, np.float32)
    reader = Reader(feed, feed.buffers())
    reader.ask(None)
    reader.next()
    reader.close()
    reader.thread.join(10)
    assert not reader.thread.is_alive()
    assert threading.active_count() >= 1


# ---- what is kept decoded -----------------------------------------------------------------------------------------


def batches_of(data: Any, keys: list[int | None]) -> Any:
    """The batches of epochs after which others come."""
    feed = Feed(data, 7, np.float32)
    reader = Reader(feed, buffers := feed.buffers())
    found = []
    for key in keys:
        reader.ask(key, again=True)
    for _ in keys:
        while True:
            piece = reader.next()
            assert piece is not None
            found.append([column[: piece.rows].copy() for column in buffers[piece.buffer]])
            reader.done(piece)
            if piece.last:
                break
    reader.close()
    return found


@pytest.mark.parametrize("keys", [[None] * 3, [3, 3, None, 4], [None, 4, 4]])
def test_what_is_kept_has_the_same_bits(keys: list[int | None], tmp_path: Path) -> None:
    path = write(table(100), tmp_path / "a.parquet")
    given: dict[str, Any] = {"features": ["a", "n"], "target": "y", "chunk_rows": 16}
    kept, decoded = (tg.data.scan(path, **given, cache=cache) for cache in (tmp_path, False))
    for one, other in zip(batches_of(kept, keys), batches_of(decoded, keys), strict=True):
        assert all(map(np.array_equal, one, other))
    room = kept.kept(np.float32)
    assert room is not None
    assert room.there == set(range(7))
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    path.unlink()
    with pytest.raises(FileError, match=r"a\.parquet: No such file"):
        batches_of(kept, [None])


def test_nothing_is_kept_where_there_is_no_room_or_no_second_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(table(100), tmp_path / "a.parquet")
    data = tg.data.scan(path, features="a", chunk_rows=16)
    list(data)
    room = data.kept(np.float32)
    assert room is not None
    assert room.file is None
    for name in ("_write", "finalize"):  # a full disk, and no room for the file

        def full(*given: Any) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(f"tinygrad_nn.data.kept.{name}", full)
            data = tg.data.scan(path, features="a", chunk_rows=16, cache=tmp_path)
            rows = [column for piece in batches_of(data, [None, None]) for column in piece]
        assert np.concatenate(rows).tolist() == table(100)["a"].to_list() * 2
        room = data.kept(np.float32)
        assert room is not None
        assert room.given_up
        assert not room.there
        if room.file is not None:
            room.file.close()
    monkeypatch.setattr("tinygrad_nn.data.kept._ROOM", 1e18)
    data = tg.data.scan(path, features="a", chunk_rows=16, cache=tmp_path)
    assert len(batches_of(data, [None, None])) > 2
    monkeypatch.setattr("tinygrad_nn.data.kept._IN_MEMORY", {"tmpfs", "ext4", "xfs", "overlay", "btrfs", ""})
    assert len(batches_of(tg.data.scan(path, features="a", chunk_rows=16), [None, None])) > 2


def test_the_folder_of_the_cache_exists(tmp_path: Path) -> None:
    path = write(table(10), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"^\[scan\] got cache '.*nowhere'; expected a folder that exists"):
        tg.data.scan(path, features="a", cache=tmp_path / "nowhere")
