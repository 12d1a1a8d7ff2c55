"""The forecast example: it beats the naive forecast, leaks nothing, reads columns, and says what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import data
from tinygrad_nn.errors import DataError

from .loading import load

forecast = load("forecast")


def test_it_beats_the_naive_forecast_in_the_series_own_unit() -> None:
    options = forecast.parse(["--epochs", "8", "--runs", "3"])
    runs = forecast.common.repeat(options, lambda seed: forecast.run(None, forecast.common.with_seed(options, seed)))
    for seed, run in enumerate(runs, 42):
        parts, found = run.parts, forecast.forecasts(run.model, run.parts)
        scores = forecast.evaluate(found)
        assert scores["GRU"]["rmse"] < 0.7 * scores["naive"]["rmse"]
        assert scores["GRU"]["mae"] < 0.7 * scores["naive"]["mae"]
        assert scores["GRU"]["r2"] > scores["naive"]["r2"]
        assert len(run.history["loss"]) == len(run.history["test_loss"]) == 8
        series = forecast.sine(seed=seed)
        test = series[len(series) * 4 // 5 :]
        windows = [test[i + 24 : i + 28] for i in range(len(test) - 27)]
        np.testing.assert_allclose(found["truth"], windows, atol=1e-5)
        np.testing.assert_allclose(found["naive"], np.repeat(test[23:-4, None], 4, axis=1), atol=1e-5)
        assert scores["GRU"]["mae"] == pytest.approx(np.abs(found["GRU"] - windows).mean(), rel=1e-4)
        assert (parts.x.shape, parts.y.shape) == ((933, 24, 1), (933, 4))
    assert "the GRU's RMSE is 0." in forecast.report(runs)
    assert "over 3 seeds" in forecast.report(runs)


def test_scaling_knows_the_training_part_only() -> None:
    series = np.arange(100.0)
    parts = forecast.prepare(series, 5, 2)
    assert (parts.x.min(), parts.y.max()) == (0.0, 1.0)
    assert parts.test_x.min() > 1.0  # what comes later is larger than anything that was scaled to 1
    back = parts.scaler.denormalize(parts.test_y.astype(np.float64).reshape(-1, 1)).reshape(-1, 2)
    np.testing.assert_allclose(back[0], [85, 86], rtol=1e-6)
    changed = np.where(np.arange(100) >= 80, -5.0, series)
    np.testing.assert_array_equal(forecast.prepare(changed, 5, 2).x, parts.x)


def test_a_column_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("polars")
    path = tmp_path / "days.csv"
    rows = enumerate(data.synthetic.temperature(400).tolist())
    path.write_text("day,degrees\n" + "".join(f"{day},{value}\n" for day, value in rows))
    arguments = ["--data", str(path), "--column", "degrees", "--window", "6", "--horizon", "2", "--predict"]
    saved = str(tmp_path / "model.npz")
    forecast.main([*arguments, "--epochs", "5", "--runs", "2", "--save", saved])
    text = capsys.readouterr().out
    assert "313 training and 73 test windows" in text
    assert all(f"{name} {figure} " in text for name in ("GRU", "naive") for figure in ("mae", "rmse", "r2"))
    upcoming = [line for line in text.splitlines() if line.startswith("value ")]
    assert [line.split(":")[0] for line in upcoming] == ["value 401", "value 402"]
    series = data.synthetic.temperature(400)
    assert all(abs(float(line.split()[2]) - series[-1]) < 5 for line in upcoming)
    forecast.main(["--data", str(path), "--column", "degrees", "--load", saved, "--predict"])
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if line.startswith("value ")] == upcoming
    assert "on the test part of its run" in text
    last = [str(value) for value in series[-6:]]
    forecast.main(["--load", saved, "--predict", *last])
    text = capsys.readouterr().out
    assert "on the last fifth of this data" in text
    assert [line.split()[2] for line in text.splitlines() if line.startswith("value ")] == [
        line.split()[2] for line in upcoming
    ]


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    forecast.main(["--epochs", "2", "--runs", "2", "--window", "4", "--plot", "--out", str(tmp_path)])
    assert (tmp_path / "forecast.png").stat().st_size > 10_000


def test_same_seed_same_bits() -> None:
    options = ["--epochs", "1", "--window", "4"]
    runs = [forecast.run(None, forecast.parse([*options, "--seed", seed])).history["loss"].tolist() for seed in "779"]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--window", "240"], r"\[sliding_windows\] got horizon=4 for 0 steps"),
        (["--data", "FILE"], r"\[forecast\] got .*days.csv without --column; expected one of day, degrees"),
        (["--data", "FILE", "--column", "degree"], "without column 'degree'.*did you mean 'degrees'"),
        (["--data", "FILE", "--column", "degrees"], r"got 'warm' in .*days.csv, line 3, column 'degrees'"),
        (["--column", "degrees"], r"\[forecast\] got --column degrees without a file; expected --data"),
        (["--predict", "1", "2"], r"\[--predict\] got 2 values; expected 24 or more"),
        (["--predict", "1", "x"], r"\[--predict\] got 'x' for value 2; expected a number"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, arguments: list[str], expected: str) -> None:
    pytest.importorskip("polars")
    path = tmp_path / "days.csv"
    path.write_text("day,degrees\n1,2.5\n2,warm\n")
    flags = [str(path) if a == "FILE" else a for a in arguments]
    with pytest.raises((DataError, tg.errors.ConfigError), match=expected):
        forecast.main(["--epochs", "1", "--runs", "1", *flags])
