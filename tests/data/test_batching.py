"""What `fit` is given: arrays, tensors, frames, sequences; batches; and what it must refuse, with the place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_nn.data import Batches, as_columns, batches, gather
from tinygrad_nn.errors import DataError


class FakeTensor:
    """Anything with `.numpy()`."""

    def __init__(self, array: Any) -> None:
        self._array = np.asarray(array)
        self.ndim = self._array.ndim

    def __len__(self) -> int:
        return len(self._array)

    def numpy(self) -> Any:
        return self._array


# ---- columns

@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.bool_])
def test_arrays_and_tensors_keep_their_dtype_and_memory(dtype: Any) -> None:
    array = np.ones((3, 2), dtype)
    for column in as_columns((array, FakeTensor(array))):
        assert column is array


def test_lists_get_the_default_dtype() -> None:
    x, y = as_columns(([[0.5, 1], [2, 3]], [0, 1]))
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    assert as_columns([[0.5]], dtype=np.float64)[0].dtype == np.float64


def test_a_single_argument_needs_no_tuple() -> None:
    assert [column.shape for column in as_columns(np.zeros((3, 2)))] == [(3, 2)]
    assert [column.shape for column in as_columns([[1, 2], [3, 4]])] == [(2, 2)]


def test_sequences_of_different_lengths_stay_a_list() -> None:
    x = [np.ones((2, 3)), np.ones((4, 3))]
    y = ([[0], [1]], [[0], [1], [1], [0]])
    columns = as_columns((x, y))
    assert [sequence.shape for sequence in columns[0]] == [(2, 3), (4, 3)]
    assert [sequence.shape for sequence in columns[1]] == [(2, 1), (4, 1)]
    tensors = as_columns([FakeTensor(sequence) for sequence in x])[0]
    assert all(a is b for a, b in zip(tensors, x, strict=True))


def test_sequences_share_one_dtype() -> None:
    (column,) = as_columns([[1, 2], [0.5]])
    assert {sequence.dtype for sequence in column} == {np.dtype(np.float64)}
    (column,) = as_columns([[0.25, 2.0], [0.5]])
    assert {sequence.dtype for sequence in column} == {np.dtype(np.float32)}


@pytest.mark.parametrize("foreign", [False, True])
def test_data_frames(foreign: bool) -> None:
    pl = pytest.importorskip("polars")

    class Exported:
        def __init__(self, frame: Any) -> None:
            self.columns, self.__arrow_c_stream__ = frame.columns, frame.__arrow_c_stream__

    wrap = Exported if foreign else lambda frame: frame
    x, y = as_columns((wrap(pl.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})), wrap(pl.DataFrame({"y": [0, 1]}))))
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    np.testing.assert_array_equal(x, [[1.0, 0.5], [2.0, 1.5]])
    assert y.dtype == np.int64
    assert y.shape == (2, 1)
    assert as_columns(wrap(pl.DataFrame({"y": [True, False]})))[0].dtype == np.bool_


def test_a_bare_stream_loses_no_column() -> None:
    pl = pytest.importorskip("polars")

    class Bare:
        def __init__(self, frame: Any) -> None:
            self.__arrow_c_stream__ = frame.__arrow_c_stream__

    x, y = as_columns((Bare(pl.DataFrame({"a": [1, 2], "b": [3, 4]})), Bare(pl.Series([5, 6]))))
    assert x.tolist() == [[1, 3], [2, 4]]
    assert y.tolist() == [5, 6]


def test_a_series_is_a_vector() -> None:
    pl = pytest.importorskip("polars")
    (column,) = as_columns(pl.Series("y", [0, 1, 1]))
    assert column.tolist() == [0, 1, 1]


@pytest.mark.parametrize(("data", "expected"), [
    ((), "got an empty tuple"),
    (np.zeros((0, 3)), r"got an empty dataset \(lengths \[0\]\)"),
    ([], "got an empty dataset"),
    ((np.zeros(3), np.zeros(4)), r"got columns of different lengths \[3, 4\]"),
    ((np.zeros(3), 1.0), r"got argument 1 of the data = 1\.0; expected an array"),
    (np.array([[1.0, 2.0], [3.0, np.nan]]), "got nan in argument 0 of the data, row 1, column 1"),
    ((np.zeros(2), np.array([np.inf, 0])), r"got inf in argument 1 of the data, row 0"),
    ([1e39, 0.0], "got inf in argument 0 of the data, row 0"),
    (np.array([1, "x"], dtype=object), r"got 'x' \(str\) at \[1\] of argument 0 of the data"),
    (["a", "bc"], r"got 'a' \(str\) at \[0\] of argument 0"),
    ([[1, 2], 3], r"got argument 0 of the data with 2 entries at \[0\] but a single value at \[1\]"),
    ([[[1, 2], [3]], [[1, 2]]], r"got argument 0 of the data, sequence 0 with 2 entries at \[0\] but 1 entries"),
    ([np.zeros((2, 3)), np.full((4, 3), np.nan)], "got nan in argument 0 of the data, sequence 1, row 0, column 0"),
    ([np.zeros((2, 3)), np.zeros((0, 3))], "got an empty sequence 1 in argument 0"),
    ([np.zeros((8, 3)), np.zeros(9)], r"got shapes \(8, 3\) and \(9,\) of sequences 0 and 1.*fit\(step, \(x, y\)\)"),
])
def test_refused_data(data: Any, expected: str) -> None:
    with pytest.raises(DataError, match=rf"^\[fit\] {expected}"):
        as_columns(data)


def test_refused_frames_name_column_and_row() -> None:
    pl = pytest.importorskip("polars")
    with pytest.raises(DataError, match=r"\[fit\] got nan in the frame, row 1, column 'Age'"):
        as_columns(pl.DataFrame({"Age": [1.0, float("nan")]}))
    with pytest.raises(DataError, match=r"\[fit\] got a missing value in column 'Age', row 1"):
        as_columns(pl.DataFrame({"Age": [1, None]}))
    with pytest.raises(DataError, match=r"\[fit\] got column 'Sex' of type String"):
        as_columns(pl.DataFrame({"Sex": ["male"]}))
    with pytest.raises(DataError, match=r"\[fit\] got an empty dataset"):
        as_columns(pl.DataFrame({"Age": []}, schema={"Age": pl.Float64}))


# ---- batches

@given(n=st.integers(1, 200), data=st.data())
def test_batches_cover_every_sample_in_order(n: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, n))
    parts = [np.arange(n)[batch] for batch in batches(n, size)]
    assert np.concatenate(parts).tolist() == list(range(n))
    assert all(len(part) == size for part in parts[:-1])
    assert 1 <= len(parts[-1]) <= size


def test_no_batch_size_is_one_batch() -> None:
    assert batches(7) == [slice(0, 7)]
    assert batches(7, np.int64(4)) == [slice(0, 4), slice(4, 7)]


@pytest.mark.parametrize(("n", "size", "expected"), [
    (0, 1, "got an empty dataset"),
    (10, 32, r"got batch_size=32 for 10 samples; expected an integer from 1 to 10"),
    (10, 0, "got batch_size=0"),
    (10, -1, "got batch_size=-1"),
    (10, 2.0, r"got batch_size=2\.0"),
    (10, True, "got batch_size=True"),
])
def test_refused_batches(n: int, size: Any, expected: str) -> None:
    with pytest.raises(DataError, match=rf"^\[fit\] {expected}"):
        batches(n, size)


def test_gather() -> None:
    x = np.arange(6).reshape(3, 2)
    assert gather(x, slice(1, 3)).tolist() == [[2, 3], [4, 5]]
    assert gather(x, np.array([2, 0])).tolist() == [[4, 5], [0, 1]]
    ragged = [np.full((2, 1), 0.0), np.full((3, 1), 1.0), np.full((2, 1), 2.0)]
    assert gather(ragged, slice(1, 2)).tolist() == [[[1], [1], [1]]]
    assert gather(ragged, np.array([2, 0]))[:, 0, 0].tolist() == [2, 0]
    with pytest.raises(DataError, match=r"\[fit\] got sequences of lengths \[2, 3\] in one batch.*rows from Batches"):
        gather(ragged, slice(0, 2))


def one_by_one(lengths: list[int], order: list[int], size: int) -> list[list[int]]:
    """The rule of Batches, sample after sample."""
    left, result = list(order), []
    while left:
        batch = [row for row in left if lengths[row] == lengths[left[0]]][:size]
        result.append(batch)
        left = [row for row in left if row not in batch]
    return result


@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=20), data=st.data())
def test_batches_by_length(lengths: list[int], data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(lengths)))
    order = data.draw(st.permutations(range(len(lengths))))
    column = as_columns([np.full((n, 1), float(n)) for n in lengths])
    plan = Batches(column, size)
    wanted = one_by_one(lengths, order, size)
    assert [rows.tolist() for rows in plan.rows(np.array(order))] == wanted
    table, numbers = plan.table(np.array(order))
    members = [np.arange(len(lengths))[rows] for rows in plan.sets]
    owners = [k for k, rows in enumerate(members) for _ in batches(len(rows), min(size, len(rows)))]
    assert sorted(numbers.tolist()) == list(range(len(wanted)))
    for batch, row, number in zip(wanted, table, numbers, strict=True):
        assert members[owners[number]][row[: len(batch)]].tolist() == batch
        assert not row[len(batch) :].any()


def test_batches_of_one_length_are_the_plain_ones() -> None:
    plan = Batches((np.zeros((5, 2)), np.zeros(5)), 2)
    assert [rows.tolist() for rows in plan.rows(np.array([4, 2, 0, 1, 3]))] == [[4, 2], [0, 1], [3]]
    with pytest.raises(DataError, match=r"^\[fit\] got batch_size=6 for 5 samples"):
        Batches((np.zeros(5),), 6)
