"""`describe`: statistics against NumPy, categories, and what is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.data import describe, read_csv
from tinygrad_nn.errors import DataError

pl = pytest.importorskip("polars")


def test_numbers_equal_numpys() -> None:
    values = np.random.default_rng(0).normal(size=103) * 3 + 1
    found = describe(pl.DataFrame({"x": [*values.tolist(), None, float("nan")]}))["x"]
    assert (found.type, found.count, found.nulls) == ("Float64", 103, 2)
    expected = [values.mean(), values.std(ddof=1), values.min(), *np.quantile(values, [0.25, 0.5, 0.75]), values.max()]
    mine = [found.mean, found.std, found.min, found.q25, found.median, found.q75, found.max]
    np.testing.assert_allclose(mine, expected, rtol=1e-12)


def test_categories_are_counted() -> None:
    found = describe(pl.DataFrame({"port": ["S", "C", "S", None, "Q"], "ok": [True, False, True, True, None]}))
    assert found["port"].counts == (("S", 2), ("C", 1), ("Q", 1))
    assert (found["port"].count, found["port"].nulls, found["port"].distinct) == (4, 1, 3)
    assert found["ok"].counts == (("True", 3), ("False", 1))


def test_the_real_passengers(shared_data: Path) -> None:
    found = describe(read_csv(shared_data / "titanic.csv"))
    assert found.rows == 891
    assert (found["Age"].count, found["Age"].nulls, found["Age"].median) == (714, 177, 28.0)
    assert found["Sex"].counts == (("male", 577), ("female", 314))
    text = repr(found)
    assert "all different: Abbing, Mr. Anthony, ..." in text
    assert "S 644, C 168, Q 77" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("data", [
    np.arange(6.0).reshape(3, 2), np.arange(3), tg.ones(3, 2), tg.ones(3), pl.Series("a", [1, 2, 3]),
], ids=["matrix", "vector", "tensor", "tensor vector", "series"])
def test_whatever_is_a_table(data: Any) -> None:
    found = describe(data)
    assert found.rows == 3
    assert all(column.count == 3 for column in found.columns)


def test_as_a_frame() -> None:
    frame = describe(pl.DataFrame({"x": [1.0, 3.0, None], "y": ["a", "b", "a"]})).to_frame()
    assert frame["name"].to_list() == ["x", "y"]
    assert frame["count"].to_list() == [2, 3]
    assert frame["mean"].to_list() == [2.0, None]
    assert frame["distinct"].to_list() == [None, 2]
    assert describe(pl.DataFrame({"x": [1.0]})).to_frame()["std"].null_count() == 1


def test_columns_are_chosen_and_ordered() -> None:
    frame = pl.DataFrame({"a": [1], "b": [2], "c": ["x"]})
    assert [column.name for column in describe(frame, ["c", "a"]).columns] == ["c", "a"]
    with pytest.raises(DataError, match=r"\[describe\] .*'d'"):
        describe(frame, ["d"])
    with pytest.raises(KeyError, match="the column 'd'; expected one of 'a', 'b', 'c'"):
        describe(frame)["d"]


def test_nothing_to_describe() -> None:
    found = describe(pl.DataFrame({"x": [None, None], "y": pl.Series([None, None], dtype=pl.Float64)}))
    assert (found["x"].count, found["x"].nulls, found["x"].counts) == (0, 2, ())
    assert np.isnan(found["y"].mean)
    assert repr(found).splitlines()[4].split()[4:] == ["-"] * 7
    assert describe(pl.DataFrame({"x": pl.Series([], dtype=pl.Int64)})).rows == 0
    assert np.isnan(describe(pl.DataFrame({"x": [1.0]}))["x"].std)


def test_text_stays_on_its_line_and_is_escaped() -> None:
    found = describe(pl.DataFrame({"<b>": ["two\nlines", "x" * 100]}))
    assert "two lines 1" in repr(found)
    assert "x" * 21 + "... 1" in repr(found)
    assert "<b>" not in found._repr_html_()
    assert found._repr_html_().count("<tr>") == 2


@pytest.mark.parametrize("data", [object(), np.zeros((2, 2, 2)), "table.csv"])
def test_what_is_no_table(data: Any) -> None:
    with pytest.raises(DataError, match=r"^\[describe\]"):
        describe(data)
