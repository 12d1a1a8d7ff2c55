"""Generated data: the promised shape, the promised statistics, the same rows for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_nn.data.synthetic import SURVIVAL, fraud, payments, temperature, titanic
from tinygrad_nn.errors import DataError


def test_titanic_survival_follows_its_table() -> None:
    pl = pytest.importorskip("polars")
    frame = titanic(40_000, seed=5)
    for (sex, pclass), chance in SURVIVAL.items():
        group = frame.filter((pl.col("Sex") == sex) & (pl.col("Pclass") == pclass))["Survived"]
        assert abs(group.mean() - chance) < 5 * np.sqrt(chance * (1 - chance) / len(group))  # five standard errors
    assert set(frame["Pclass"].unique()) == {1, 2, 3}
    assert frame["Age"].drop_nulls().is_between(0.5, 80).all()
    assert (frame["Fare"].drop_nulls() > 0).all()
    assert frame["Age"].null_count() / frame.height == pytest.approx(0.2, abs=0.02)
    assert frame["Fare"].null_count() / frame.height == pytest.approx(0.01, abs=0.005)


def test_titanic_is_deterministic() -> None:
    pytest.importorskip("polars")
    assert titanic(seed=1).equals(titanic(seed=1))
    assert not titanic(seed=1).equals(titanic(seed=2))
    assert titanic().height == 891


def test_temperature_is_a_yearly_wave_above_zero() -> None:
    for seed in range(20):
        series = temperature(seed=seed)
        assert series.shape == (1461,)
        assert series.min() > 0
        assert series.max() < 40
        noise = series - 20 - 8 * np.sin(2 * np.pi * (np.arange(1461) - 110) / 365.25)
        assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1] - 0.8) < 0.06
        assert series[365 + 172:365 + 232].mean() > series[365:365 + 30].mean() + 8
    np.testing.assert_array_equal(temperature(seed=3), temperature(seed=3))
    assert not np.array_equal(temperature(seed=3), temperature(seed=4))


@pytest.mark.parametrize("seed", range(10))
def test_fraud_has_both_classes_and_the_shape_of_the_3_5_1_model(seed: int) -> None:
    s = fraud(seed=seed)
    assert len(s) == 15
    assert all(x.shape == (5, 3) and y.shape == (5, 1) for x, y in zip(s.x, s.y, strict=True))
    stolen = [y for y in s.y if y.any()]
    assert len(stolen) == 5
    assert all(np.all(np.diff(y[:, 0]) >= 0) for y in stolen)
    x, y = s.stacked()
    assert np.all(x[y[:, 0] == 1, 1] >= 300)
    assert set(np.unique(y)) == {0.0, 1.0}
    np.testing.assert_array_equal(fraud(seed=seed).stacked()[0], x)


def test_payments_are_half_fraud_and_a_linear_rule_finds_most() -> None:
    s = payments(2000, seed=2)
    x, y = s.stacked()
    assert (len(s), x.shape, y.shape) == (2000, (20_000, 29), (20_000, 1))
    assert abs(y.mean() - 0.5) < 5 * 0.5 / np.sqrt(20_000)
    columns = np.column_stack([x, np.ones(len(x))])
    guessed = columns @ np.linalg.lstsq(columns, y, rcond=None)[0] > 0.5
    assert 0.85 < (guessed == (y > 0.5)).mean() < 0.99
    assert np.array_equal(x, x.round(6))
    assert np.array_equal(payments(2000, seed=2).stacked()[0], x)
    assert not np.array_equal(payments(2000, seed=3).stacked()[0], x)


@pytest.mark.parametrize(("call", "expected"), [
    (lambda: titanic(0), r"\[titanic\] got n=0; expected n >= 1"),
    (lambda: temperature(0), r"\[temperature\] got days=0"),
    (lambda: fraud(cards=0), r"\[fraud\] got cards=0"),
    (lambda: payments(features=0), r"\[payments\] got features=0"),
    (lambda: fraud(steps=-1), r"\[fraud\] got steps=-1"),
])
def test_refusals(call: Any, expected: str) -> None:
    pytest.importorskip("polars")
    with pytest.raises(DataError, match=expected):
        call()
