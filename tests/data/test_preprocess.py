"""Transformers: values, inverses, statistics from the training rows only, and refusals."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinygrad_nn.data import (
    MaxAbsScaler,
    MeanImputer,
    MinMaxScaler,
    OneHotEncoder,
    StandardScaler,
    polynomial_features,
)
from tinygrad_nn.errors import DataError

SCALERS = [MaxAbsScaler, MinMaxScaler, StandardScaler]
TABLE = np.array([[1.0, -4.0, 7.0], [3.0, 2.0, 7.0], [2.0, 0.0, 7.0]])  # the last column is constant


# ---- imputation

def test_imputer_uses_the_training_means() -> None:
    imputer = MeanImputer.fit([[1.0, np.nan], [3.0, 5.0]])
    np.testing.assert_array_equal(imputer.mean, [2.0, 5.0])
    np.testing.assert_array_equal(imputer.transform([[np.nan, 9.0], [8.0, np.nan]]), [[2.0, 9.0], [8.0, 5.0]])


def test_imputer_refuses_a_column_without_values_and_infinity() -> None:
    with pytest.raises(DataError, match=r"\[MeanImputer.fit\] got column 'Age' without any value"):
        MeanImputer.fit([[np.nan, 1.0]], names=["Age", "Fare"])
    with pytest.raises(DataError, match=r"got column 1 without any value"):
        MeanImputer.fit([[1.0, np.nan]])
    with pytest.raises(DataError, match=r"\[MeanImputer.fit\] got inf in data, row 0, column 'Fare'"):
        MeanImputer.fit([[1.0, np.inf]], names=["Age", "Fare"])
    with pytest.raises(DataError, match=r"\[MeanImputer.transform\] got inf in data, row 0, column 0"):
        MeanImputer.fit([[1.0]]).transform([[np.inf]])


# ---- scaling

def test_max_abs() -> None:
    np.testing.assert_array_equal(MaxAbsScaler.fit(TABLE).transform(TABLE),
                                  [[1 / 3, -1, 1], [1, 0.5, 1], [2 / 3, 0, 1]])
    np.testing.assert_array_equal(MaxAbsScaler.fit([[0.0]]).transform([[0.0], [5.0]]), [[0.0], [5.0]])


def test_min_max() -> None:
    np.testing.assert_allclose(MinMaxScaler.fit(TABLE).transform(TABLE), [[0, 0, 0], [1, 1, 0], [0.5, 2 / 3, 0]])
    scaled = MinMaxScaler.fit(TABLE, low=-1, high=3).transform(TABLE)
    np.testing.assert_allclose(scaled, [[-1, -1, -1], [3, 3, -1], [1, 5 / 3, -1]])
    with pytest.raises(DataError, match=r"\[MinMaxScaler.fit\] got low=1.0 and high=1.0; expected low < high"):
        MinMaxScaler.fit(TABLE, low=1.0, high=1.0)


def test_standard() -> None:
    scaled = StandardScaler.fit(TABLE).transform(TABLE)
    np.testing.assert_allclose(scaled[:, :2].mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(scaled[:, :2].std(axis=0), 1)
    np.testing.assert_array_equal(scaled[:, 2], 0)
    constant = np.full((49, 1), 0.1)  # its computed deviation is 1e-17, not 0
    np.testing.assert_array_equal(StandardScaler.fit(constant).transform(constant), 0)


@pytest.mark.parametrize("kind", SCALERS)
@given(train=arrays(np.float64, (4, 3), elements=st.floats(-1e6, 1e6, allow_subnormal=False)))
def test_inverse_undoes_transform(kind: Any, train: Any) -> None:
    scaler = kind.fit(train)
    np.testing.assert_allclose(scaler.inverse(scaler.transform(train)), train, rtol=1e-9,
                               atol=1e-9 * max(1.0, float(np.abs(train).max())))


@pytest.mark.parametrize("kind", SCALERS)
def test_statistics_come_from_the_training_rows(kind: Any) -> None:
    scaler = kind.fit(TABLE[:2])
    np.testing.assert_array_equal(scaler.transform(TABLE)[:2], scaler.transform(TABLE[:2]))
    assert not np.array_equal(scaler.scale, kind.fit(TABLE * 2).scale)


def test_a_column_without_values_has_its_fallback() -> None:
    nothing = [[np.nan, 1.0], [np.nan, 3.0]]
    imputer = MeanImputer.fit(nothing, ["Age", "Fare"], fallback={"Age": 29.7, "Fare": 32.2})
    assert imputer.mean.tolist() == [29.7, 2.0]
    assert imputer.transform([[np.nan, np.nan]]).tolist() == [[29.7, 2.0]]
    with pytest.raises(DataError, match=r"column 'Age' without any value.*or give fallback"):
        MeanImputer.fit(nothing, ["Age", "Fare"], fallback={"Fare": 1.0})
    with pytest.raises(DataError, match="column 0 without any value"):
        MeanImputer.fit(nothing, fallback={})
    with pytest.raises(DataError, match="Deck"):
        MeanImputer.fit(nothing, ["Age", "Fare"], fallback={"Deck": 1.0})


def test_an_unknown_category_gives_zeros_where_that_is_wanted() -> None:
    encoder = OneHotEncoder.fit(["S", None, "C", float("nan")], "Port", unknown="zeros")
    assert encoder.categories == ("C", "S")
    assert encoder.transform(["S", "Q", None, float("nan"), "C"]).tolist() == [[0, 1], [0, 0], [0, 0], [0, 0], [1, 0]]
    assert encoder.transform([]).shape == (0, 2)
    with pytest.raises(DataError, match="no values of 'Port'"):
        OneHotEncoder.fit([None], "Port", unknown="zeros")
    with pytest.raises(DataError, match="got unknown='ones'"):
        OneHotEncoder.fit(["S"], unknown="ones")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [*SCALERS, MeanImputer])
def test_transformers_are_frozen_and_keep_float32(kind: Any) -> None:
    fitted = kind.fit(TABLE, names=("a", "b", "c"))
    with pytest.raises(FrozenInstanceError):
        fitted.names = None
    assert fitted.transform(TABLE.astype(np.float32)).dtype == np.float32
    assert fitted.transform(TABLE.astype(np.int32)).dtype == np.float64
    before = TABLE.copy()
    fitted.transform(TABLE)[:] = 0
    np.testing.assert_array_equal(TABLE, before)


@pytest.mark.parametrize("kind", [*SCALERS, MeanImputer])
@pytest.mark.parametrize(("x", "expected"), [
    (np.zeros((0, 2)), r"\.fit\] got no rows; expected at least one training row"),
    (np.zeros(3), r"\.fit\] got shape \(3,\); expected \(rows, columns\).*x\.reshape\(-1, 1\)"),
    ([[1.0], [1.0, 2.0]], r"\.fit\] got data with 1 entries at \[0\] but 2 entries at \[1\]"),
    ([["x"]], r"\.fit\] got 'x' \(str\) at \[0, 0\]"),
    (np.zeros((2, 3)), r"\.fit\] got shape \(2, 3\); expected \(rows, columns\) with 2 columns \(a, b\)"),
])
def test_fit_refuses(kind: Any, x: Any, expected: str) -> None:
    with pytest.raises(DataError, match=rf"^\[{kind.__name__}{expected}"):
        kind.fit(x, names=("a", "b"))


@pytest.mark.parametrize("kind", SCALERS)
def test_scalers_refuse_nan_and_another_width(kind: Any) -> None:
    with pytest.raises(DataError, match=rf"\[{kind.__name__}.fit\] got nan in data, row 1, column 'b'"):
        kind.fit([[1.0, 2.0], [3.0, np.nan]], names=("a", "b"))
    scaler = kind.fit([[1.0, 2.0], [3.0, 4.0]], names=("a", "b"))
    with pytest.raises(DataError, match=r"transform\] got nan in data, row 0, column 'a'"):
        scaler.transform([[np.nan, 1.0]])
    with pytest.raises(DataError, match=r"inverse\] got shape \(1, 3\); expected .* with 2 columns \(a, b\)"):
        scaler.inverse([[1.0, 2.0, 3.0]])


# ---- one-hot

@pytest.mark.parametrize("values", [["b", "a", "b"], np.array(["b", "a", "b"]), ("b", "a", "b")])
def test_one_hot(values: Any) -> None:
    encoder = OneHotEncoder.fit(values, name="Port")
    assert encoder.categories == ("a", "b")
    assert encoder.names == ("Port=a", "Port=b")
    np.testing.assert_array_equal(encoder.transform(values), [[0, 1], [1, 0], [0, 1]])
    assert encoder.inverse(encoder.transform(values)) == ["b", "a", "b"]
    assert encoder.transform([]).shape == (0, 2)


def test_one_hot_of_integers_and_series() -> None:
    assert OneHotEncoder.fit(np.array([3, 1, 2]), "Pclass").names == ("Pclass=1", "Pclass=2", "Pclass=3")
    pl = pytest.importorskip("polars")
    assert OneHotEncoder.fit(pl.Series(["x", "y"])).categories == ("x", "y")


@pytest.mark.parametrize(("call", "expected"), [
    (lambda: OneHotEncoder.fit(["S", "C"], "Port").transform(["S", "Q"]),
     r"\[OneHotEncoder.transform\] got unknown category 'Q' in 'Port', row 1; expected one of 'C', 'S'"),
    (lambda: OneHotEncoder.fit([], "Port"), r"\[OneHotEncoder.fit\] got no values of 'Port'"),
    (lambda: OneHotEncoder.fit(["S", None], "Port"), r"\.fit\] got a missing value in 'Port', row 1"),
    (lambda: OneHotEncoder.fit([1.0, float("nan")], "Class"), r"\.fit\] got a missing value in 'Class', row 1"),
    (lambda: OneHotEncoder.fit(["S"], "Port").transform([None]), r"\.transform\] got a missing value in 'Port', row 0"),
    (lambda: OneHotEncoder.fit([[1], [2]], "Port"), r"\.fit\] got several columns for 'Port'; expected one value"),
    (lambda: OneHotEncoder.fit(["S", "C"]).inverse([[1.0]]), r"\.inverse\] got shape \(1, 1\); .* with 2 columns"),
])
def test_one_hot_refuses(call: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        call()


# ---- polynomial features

def test_polynomial_features_match_their_names() -> None:
    x = np.array([[2.0, 3.0, 5.0], [1.0, -1.0, 0.5]])
    features, names = polynomial_features(x, ("a", "b", "c"), degree=3)
    assert names[:9] == ("a", "b", "c", "a^2", "a*b", "a*c", "b^2", "b*c", "c^2")
    assert len(names) == 19
    assert "a^2*b" in names
    assert "a*b*c" in names
    for column, name in zip(features.T, names, strict=True):
        value = eval(name.replace("^", "**"), dict(zip("abc", x.T, strict=True)))
        np.testing.assert_allclose(column, value)


def test_interactions_only_and_default_names() -> None:
    features, names = polynomial_features([[2.0, 3.0, 5.0]], degree=3, interaction_only=True)
    assert names == ("x1", "x2", "x3", "x1*x2", "x1*x3", "x2*x3", "x1*x2*x3")
    np.testing.assert_array_equal(features, [[2, 3, 5, 6, 10, 15, 30]])


def test_polynomial_features_refuse() -> None:
    with pytest.raises(DataError, match=r"\[polynomial_features\] got degree=0; expected degree >= 1"):
        polynomial_features([[1.0]], degree=0)
    with pytest.raises(DataError, match=r"got shape \(1, 2\); expected \(rows, columns\) with 1 columns \(a\)"):
        polynomial_features([[1.0, 2.0]], ("a",))
