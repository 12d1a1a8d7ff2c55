"""The checks behind every reader: numbers in, or the place where they are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_nn.errors import DataError
from tinygrad_nn.support.arrays import as_array, check_finite, check_names, is_sequence


@pytest.mark.parametrize("dtype", [np.bool_, np.int32, np.uint8, np.float32, np.float64])
def test_numeric_arrays_pass_untouched(dtype: Any) -> None:
    array = np.ones((2, 3), dtype)
    assert as_array("op", array) is array


@pytest.mark.parametrize(("value", "expected"), [
    ([[1, 2], [3]], r"rows with|with 2 entries at \[0\] but 1 entries at \[1\]"),
    ([[1, 2], 3], r"with 2 entries at \[0\] but a single value at \[1\]"),
    ([1, [2]], r"with a single value at \[0\] but 1 entries at \[1\]"),
    ([[[1], [2]], [[3], [4, 5]]], r"with 1 entries at \[0\]\[0\] but 2 entries at \[1\]\[1\]"),
    ([np.zeros(2), np.zeros(3)], r"with 2 entries at \[0\] but 3 entries at \[1\]"),
    ([[1, 2], [3, "x"]], r"'3' \(str\)|'x' \(str\) at \[1, 1\] of data; expected numbers"),
    ([1.0, None], r"None \(NoneType\) at \[1\] of data; expected numbers"),
    (["a", "b"], r"'a' \(str\) at \[0\]"),
    (np.array([1, "b"], dtype=object), r"'b' \(str\) at \[1\]"),
    (np.array([1, 2.5], dtype=object), r"data with dtype object; expected a bool, integer or floating dtype"),
    (np.array([1j]), r"1j\) \(complex128\)|1j \(complex\) at \[0\]"),
    (np.array(["2020-01-01"], dtype="datetime64[D]"), r"datetime\.date\(2020, 1, 1\) \(date\) at \[0\]"),
    (object(), r"<object object at .*> \(object\) at \[\] of data"),
])
def test_refused_values(value: Any, expected: str) -> None:
    with pytest.raises(DataError, match=r"^\[op\] got ") as caught:
        as_array("op", value)
    assert caught.match(expected)


@pytest.mark.parametrize(("array", "names", "expected"), [
    (np.array(np.nan), None, "got nan in data, its only value"),
    (np.array([0, np.inf]), None, r"got inf in data, row 1 \(1 such values\)"),
    (np.array([[0, 1], [np.nan, -np.inf]]), None, r"got nan in data, row 1, column 0 \(2 such values\)"),
    (np.array([[0, 1], [0, -np.inf]]), ("a", "b"), "got -inf in data, row 1, column 'b'"),
    (np.full((2, 2, 2), np.nan, np.float32), None, r"got nan in data, row 0, index \[0, 0, 0\] \(8 such values\)"),
])
def test_not_finite(array: Any, names: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        check_finite("op", array, names=names)


def test_finite() -> None:
    check_finite("op", np.array([1, 2]))
    check_finite("op", np.zeros((0, 3)))
    check_finite("op", np.array([np.nan]), allow_nan=True)
    with pytest.raises(DataError, match="got inf in data, row 1"):
        check_finite("op", np.array([np.nan, np.inf]), allow_nan=True)


def test_long_lists_of_names_are_abridged() -> None:
    with pytest.raises(DataError, match=r"'c11' and 18 more; expected columns 'x'"):
        check_names("op", ["x"], [f"c{i}" for i in range(30)], "table")


def test_is_sequence() -> None:
    assert is_sequence((1,))
    assert is_sequence(np.zeros(1))
    assert is_sequence([])
    assert not is_sequence(1)
    assert not is_sequence("ab")
    assert not is_sequence(b"ab")
    assert not is_sequence(np.float64(1))
