"""The example of many customers: each model is the one that it would be by itself, and most beat last week."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinygrad_nn as tg

from .loading import load

customers = load("customers")
FLAGS = ["--customers", "12", "--epochs", "60"]


def test_each_model_is_that_of_a_single_run() -> None:
    options = customers.parse(FLAGS)
    windows = customers.prepare(customers.orders(12, 26 * 7, options.seed))
    assert (windows.x.shape, windows.y.shape, windows.training) == ((12, 154, 28), (12, 154, 1), 126)
    recipe, found = customers.each_his_own(windows, options)
    assert found["error"].shape == (12, 1)
    assert (found.epochs == 60).all()
    for customer in (0, 7):
        own = customers.Recipe.of(options)
        tg.manual_seed(options.seed)
        own.model.reset_parameters()
        x, y = windows.x[customer], windows.y[customer]
        history = tg.fit(own.step, (x[:126], y[:126]), 60, seed=options.seed, progress=False)
        np.testing.assert_allclose(found["loss"][customer], history["loss"], rtol=1e-3)
        error = np.abs(own.model(x[126:]).detach().numpy() - y[126:]).mean()
        np.testing.assert_allclose(found["error"][customer, -1], error, rtol=1e-3)
        found.load(customer)
        assert np.abs(recipe.model(x).detach().numpy() - own.model(x).detach().numpy()).max() < 1e-2


def test_models_beat_last_week_and_the_judging_days_teach_nothing() -> None:
    options = customers.parse(["--customers", "60", "--epochs", "150"])
    series = customers.orders(60, 26 * 7, options.seed)
    windows = customers.prepare(series)
    _, found = customers.each_his_own(windows, options)
    own, naive = found.last("error"), customers.as_a_week_ago(windows)
    assert own.mean() < 0.85 * naive.mean()
    assert np.mean(own < naive) > 0.7
    week_ago = np.abs(series[:, -28:] - series[:, -35:-7]).mean(axis=1) / windows.mean
    np.testing.assert_allclose(naive, week_ago, rtol=1e-4)
    series[:, -28:] *= 3.0
    changed = customers.prepare(series)
    np.testing.assert_array_equal(changed.mean, windows.mean)
    np.testing.assert_array_equal(changed.x[:, :126], windows.x[:, :126])


def test_what_is_printed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*FLAGS, "--show", "2", "--store", str(tmp_path / "models"), "--workers", "2"]
    customers.main(flags)
    first = capsys.readouterr().out.splitlines()
    assert first[0] == "mean absolute error of 28 days, as a share of the customer's mean; over 12 customers"
    assert [line.strip().split("  ")[0] for line in first[1:4]] == [
        "as a week ago",
        "one model for all",
        "one model each",
    ]
    assert first[5].startswith("better than 'as a week ago' for ")
    assert first[7].startswith("time: 12 models in ")
    assert [line for line in first if line.startswith("customer ")] == ["customer 0", "customer 1"]
    assert list((tmp_path / "models").iterdir())
    customers.main(flags)  # nothing is trained again
    again = capsys.readouterr().out.splitlines()
    assert [line for line in again if not line.startswith("time")] == [
        line for line in first if not line.startswith("time")
    ]


def test_wrong_flags(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--customers", "0"], ["--weeks", "3"], ["--lr", "-1"]):
        with pytest.raises(SystemExit):
            customers.parse(flags)
    assert "expected a whole number, at least 12" in capsys.readouterr().err
