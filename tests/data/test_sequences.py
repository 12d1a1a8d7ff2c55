"""Sequences: grouped from CSV, cut from tables, slid along series; splits keep them whole."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_nn.data import MinMaxScaler, Sequences, cut, read_csv, sliding_windows, to_matrix
from tinygrad_nn.data.sequences import from_csv
from tinygrad_nn.errors import DataError

STEPS = "name,t,x1,x2,y1\nb,2,5,6,1\na,0,9,9,0\nb,-1,1,2,0\nb,1.5,3,4,0\n"


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(content: str) -> Path:
        path = tmp_path / "steps.csv"
        path.write_text(content)
        return path
    return write


def make(lengths: list[int], features: int = 2) -> Sequences:
    x = [np.full((length, features), i + 0.1) for i, length in enumerate(lengths)]
    return Sequences([f"s{i}" for i in range(len(lengths))], x, [steps[:, :1] for steps in x])


# ---- CSV

def test_rows_are_grouped_and_ordered_by_time(write: Any) -> None:
    pytest.importorskip("polars")
    s = from_csv(write(STEPS))
    assert s.names == ["b", "a"]
    assert [x.tolist() for x in s.x] == [[[1, 2], [3, 4], [5, 6]], [[9, 9]]]
    assert [y.tolist() for y in s.y] == [[[0], [0], [1]], [[0]]]
    assert all(x.flags.c_contiguous and x.dtype == np.float64 for x in s.x)


def test_columns_by_name_and_in_numeric_order(write: Any) -> None:
    pytest.importorskip("polars")
    path = write("card,hour,x10,x2,amount,y1,fraud\n7,1,10,2,3,0,1\n")
    s = from_csv(path, group="card", time="hour", features=["amount", "hour"], targets=["fraud"])
    assert s.names == ["7"]
    assert s.x[0].tolist() == [[3, 1]]
    assert s.y[0].tolist() == [[1]]
    assert from_csv(path, group="card", time="hour").x[0].tolist() == [[2, 10]]


def test_round_trip_through_csv(tmp_path: Path) -> None:
    pytest.importorskip("polars")
    written = Sequences(['a "quoted", name', "b"], [np.array([[0.1, 1e-300]]), np.array([[2 / 3, -0.0], [1, 2]])],
                        [np.array([[1.0]]), np.array([[0.0], [1.0]])])
    written.to_csv(tmp_path / "steps.csv")
    read = from_csv(tmp_path / "steps.csv")
    assert read.names == written.names
    for a, b in zip([*read.x, *read.y], [*written.x, *written.y], strict=True):
        np.testing.assert_array_equal(a, b)
    assert [path.name for path in tmp_path.iterdir()] == ["steps.csv"]  # no temporary file is left


@pytest.mark.parametrize(("content", "arguments", "expected"), [
    (STEPS.replace("name", "id"), {}, r"\[read_csv\] got .*without column 'name'"),
    (STEPS.replace("x1,x2", "u,v"), {}, r"\[from_csv\] got .* without columns x1, x2, .*it has \['name', 't', 'u'"),
    (STEPS.replace("y1", "label"), {}, r"without columns y1, y2.*pass features=\[\.\.\.\] and targets=\[\.\.\.\]"),
    (STEPS, {"features": ["speed"]}, r"without column 'speed'"),
    (STEPS.replace("9,9", "9,oops"), {}, r"got 'oops' in .*steps\.csv, line 3, column 'x2'; expected a number"),
    (STEPS.replace("9,9", "9,"), {}, r"\[from_csv\] got a missing value in column 'x2', row 1"),
    (STEPS.replace("9,9", "9,nan"), {}, r"\[from_csv\] got a missing value in column 'x2', row 1"),
    (STEPS.replace("b,-1", ",-1"), {}, r"\[from_csv\] got a missing value in column 'name' of .*steps\.csv, row 2"),
    (STEPS.replace("b,-1", "b,2"), {}, r"\[from_csv\] got t=2 twice in sequence 'b' of .*steps\.csv"),
    (STEPS.replace("b,-1", "b,monday"), {}, r"got 'monday' in .*, line 4, column 't'"),
])
def test_refused_files(write: Any, content: str, arguments: dict[str, Any], expected: str) -> None:
    pytest.importorskip("polars")
    with pytest.raises(DataError, match=expected):
        from_csv(write(content), **arguments)


@pytest.mark.parametrize("change", [
    lambda text: text.encode("utf-8-sig"),
    lambda text: text.replace("\n", "\r\n").encode(),
    lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
    lambda text: "\n".join(f'"{line}"'.replace(",", '","') for line in text.splitlines()).encode(),
    lambda text: text.rstrip("\n").encode(),
    lambda text: (text + "\n\n").encode(),
], ids=["mark", "crlf", "mark and crlf", "quotes", "no last line end", "blank lines"])
def test_the_same_table_written_otherwise(tmp_path: Path, change: Any) -> None:
    pytest.importorskip("polars")
    path = tmp_path / "steps.csv"
    path.write_bytes(change(STEPS))
    s = from_csv(path)
    assert s.names == ["b", "a"]
    assert [x.tolist() for x in s.x] == [[[1, 2], [3, 4], [5, 6]], [[9, 9]]]
    assert [y.tolist() for y in s.y] == [[[0], [0], [1]], [[0]]]


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_any_order_of_rows_gives_the_same_sequences(seed: int, rows: int) -> None:
    pytest.importorskip("polars")
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 5, rows)
    table = [(f"g{g}", t, float(rng.normal()), float(rng.normal())) for t, g in enumerate(groups)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steps.csv"
        shuffled = [table[i] for i in rng.permutation(rows)]
        path.write_text("name,t,x1,y1\n" + "".join(f"{n},{t},{x},{y}\n" for n, t, x, y in shuffled))
        s = from_csv(path)
    assert s.names == list(dict.fromkeys(row[0] for row in shuffled))
    for name, x, y in zip(s.names, s.x, s.y, strict=True):
        assert [(a, b) for (a,), (b,) in zip(x.tolist(), y.tolist(), strict=True)] == [
            row[2:] for row in table if row[0] == name]


def test_a_missing_file_and_a_twice_named_column(tmp_path: Path, write: Any) -> None:
    pytest.importorskip("polars")
    with pytest.raises(DataError, match=r"nowhere\.csv: No such file"):
        from_csv(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="duplicate column 'x1'"):
        from_csv(write(STEPS.replace("x2", "x1")))
    with pytest.raises(DataError, match=r"4 cells on line 3 of .*steps\.csv; expected 5"):
        from_csv(write(STEPS.replace("a,0,9,9,0", "a,0,9,9")))


# ---- Sequences

def test_split_keeps_sequences_whole() -> None:
    s = make([3, 1, 4, 1, 5, 9, 2, 6, 5, 3])
    train, test = s.split((0.8, 0.2), seed=42)
    assert (len(train), len(test)) == (8, 2)
    assert sorted(train.names + test.names) == sorted(s.names)
    for part in (train, test):
        for name, x, y in zip(part.names, part.x, part.y, strict=True):
            assert np.all(x == int(name[1:]) + 0.1)
            assert len(x) == len(y) == len(s.x[int(name[1:])])
    assert s.split(seed=42)[0].names == train.names != s.split(seed=43)[0].names
    assert s.split(shuffle=False)[1].names == ["s8", "s9"]


def test_a_split_gives_both_parts_their_share_of_labels() -> None:
    s = make([2] * 15)
    for seed in range(10):
        train, test = s.split(seed=seed, stratify=[k < 5 for k in range(15)])
        rare = set(s.names[:5])
        assert (len(rare & set(train.names)), len(rare & set(test.names))) == (4, 1)
    with pytest.raises(DataError, match="stratify of shape"):
        s.split(stratify=[True])


def test_shuffle_is_a_function_of_its_seed() -> None:
    s = make([3, 1, 4, 1, 5, 9, 2, 6])
    once = s.shuffle(3)
    assert once.names == s.shuffle(3).names != s.shuffle(4).names
    assert sorted(once.names) == s.names
    assert all(len(x) == len(s.x[int(name[1:])]) for name, x in zip(once.names, once.x, strict=True))


def test_scaling_by_the_training_part_and_back() -> None:
    train, test = make([3, 1, 4, 1, 5]).split((0.6, 0.4), seed=1)
    scaler = MinMaxScaler.fit(train.stacked()[0])
    scaled = train.map(x=scaler.transform)
    assert (scaled.stacked()[0].min(), scaled.stacked()[0].max()) == (0.0, 1.0)
    back = test.map(x=scaler.transform).map(x=scaler.denormalize)
    np.testing.assert_allclose(back.stacked()[0], test.stacked()[0], rtol=1e-14)


def test_map_and_stacked() -> None:
    s = make([2, 1])
    assert s.map(x=lambda x: x * 10).x[1].tolist() == [[11, 11]]
    assert s.map(y=lambda y: y > 1).y[1].tolist() == [[True]]
    x, y = s.stacked()
    assert x.shape == (3, 2)
    assert y.tolist() == [[0.1], [0.1], [1.1]]


@pytest.mark.parametrize(("names", "x", "y", "expected"), [
    ([], [], [], "got 0 names, 0 x and 0 y; expected as many of each, at least one"),
    (["a"], [np.zeros((2, 1))] * 2, [np.zeros((2, 1))] * 2, "got 1 names, 2 x and 2 y"),
    (["a"], [np.zeros((2, 1))], [np.zeros((3, 1))], r"got x of shape \(2, 1\) and y of shape \(3, 1\) in 'a'"),
    (["a"], [np.zeros(2)], [np.zeros((2, 1))], r"got x of shape \(2,\) and y of shape \(2, 1\) in 'a'"),
    (["a", "b"], [np.zeros((2, 1)), np.zeros((2, 3))], [np.zeros((2, 1))] * 2, r"got x of shape \(2, 3\) .* in 'b'"),
])
def test_refused_sequences(names: Any, x: Any, y: Any, expected: str) -> None:
    with pytest.raises(DataError, match=rf"\[Sequences\] {expected}"):
        Sequences(names, x, y)


# ---- cut and windows

@given(n=st.integers(1, 60), data=st.data())
def test_cut_keeps_every_row_in_order(n: int, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, n))
    x, y = np.arange(2 * n).reshape(n, 2), np.arange(n)
    s = cut(x, y, length)
    np.testing.assert_array_equal(s.stacked()[0], x)
    np.testing.assert_array_equal(s.stacked()[1][:, 0], y)
    assert all(len(steps) == length for steps in s.x[:-1])
    assert 1 <= len(s.x[-1]) <= length
    assert [len(steps) for steps in cut(x, y, length, drop_last=True).x] == [length] * (n // length)


def test_cut_a_real_file(shared_data: Path) -> None:
    pytest.importorskip("polars")
    table = to_matrix(read_csv(shared_data / "creditcard_2023_7121.csv", dtype=float))
    s = cut(table[:, :-1], table[:, -1], 10)
    assert len(s) == 713
    assert s.x[0].shape == (10, 29)
    assert s.x[-1].shape == (1, 29)
    assert s.stacked()[1].sum() == 3751


@given(n=st.integers(2, 40), data=st.data())
def test_windows_are_followed_by_their_horizon(n: int, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, n - 1))
    horizon = data.draw(st.integers(1, n - length))
    x, y = sliding_windows(np.arange(n), length, horizon)
    assert x.shape == (n - length - horizon + 1, length)
    assert y.shape == (len(x), horizon)
    np.testing.assert_array_equal(np.hstack([x, y]), np.arange(len(x))[:, None] + np.arange(length + horizon))


def test_windows_of_several_features() -> None:
    x, y = sliding_windows(np.arange(10).reshape(5, 2), 2)
    assert x.shape == (3, 2, 2)
    assert y.shape == (3, 1, 2)
    assert x[1].tolist() == [[2, 3], [4, 5]]
    assert y[1].tolist() == [[6, 7]]
    assert x.flags.c_contiguous


@pytest.mark.parametrize(("call", "expected"), [
    (lambda: cut(np.zeros((5, 2)), np.zeros(4), 2), r"\[cut\] got shapes \(5, 2\) and \(4, 1\); expected \(n, F\)"),
    (lambda: cut(np.zeros(5), np.zeros(5), 2), r"\[cut\] got shapes \(5,\) and \(5, 1\)"),
    (lambda: cut(np.zeros((5, 2)), np.zeros(5), 0), r"\[cut\] got length=0 for 5 steps; expected 1 <= length <= 5"),
    (lambda: cut(np.zeros((5, 2)), np.zeros(5), 6), r"\[cut\] got length=6 for 5 steps"),
    (lambda: cut([["x"]], [0], 1), r"\[cut\] got 'x' \(str\) at \[0, 0\] of x"),
    (lambda: sliding_windows([1, 2, 3], 4), r"\[sliding_windows\] got length=4 for 3 steps"),
    (lambda: sliding_windows([1, 2, 3], 2, 2), r"\[sliding_windows\] got horizon=2 for 1 steps; expected 1 <= horizon"),
    (lambda: sliding_windows([1, 2, 3], 3), r"\[sliding_windows\] got horizon=1 for 0 steps"),
    (lambda: sliding_windows([1, 2, 3], 1, stride=0), r"\[sliding_windows\] got stride=0; expected a whole number"),
    (lambda: sliding_windows([1, 2, 3], 1.5), r"\[sliding_windows\] got length 1.5"),
    (lambda: sliding_windows([1, 2, 3], 1, stride=1.5), r"got stride 1.5"),
    (lambda: sliding_windows(np.zeros((2, 2, 2)), 1), r"\[sliding_windows\] got shape \(2, 2, 2\)"),
])
def test_refusals(call: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        call()


@given(n=st.integers(2, 30), length=st.integers(1, 6), horizon=st.integers(1, 4), stride=st.integers(1, 7))
def test_windows_are_where_they_should_be(n: int, length: int, horizon: int, stride: int) -> None:
    if length + horizon > n:
        return
    x, y = sliding_windows(np.arange(n), length, horizon, stride)
    starts = [i for i in range(0, n, stride) if i + length + horizon <= n]
    assert x.tolist() == [list(range(i, i + length)) for i in starts]
    assert y.tolist() == [list(range(i + length, i + length + horizon)) for i in starts]
