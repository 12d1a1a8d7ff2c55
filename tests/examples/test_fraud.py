"""The fraud example: the real payments, grouped files, the small model, and temperatures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import data

from .loading import load

fraud = load("fraud")


def test_real_payments_reach_the_promised_accuracy(shared_data: Path) -> None:
    options = fraud.parse(["--data", str(shared_data / "creditcard_2023_7121.csv"), "--epochs", "15"])
    model, parts, history, found = fraud.run(options)
    assert (len(parts.train), len(parts.test)) == (569, 143)
    assert parts.train.x[0].shape == (10, 29)
    assert found["accuracy"] >= 0.92
    assert found["tp"] + found["fp"] + found["tn"] + found["fn"] == 1430
    assert history["loss"][-1] < history["loss"][0]
    stacked = np.concatenate(parts.train.x)
    assert (stacked.min(), stacked.max()) == (0.0, 1.0)
    assert model.state_dict()["rnn.weight_ih_l0"].shape == (10, 29)


def test_the_small_model_reads_grouped_files(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    data.synthetic.fraud(seed=1).to_csv(path)
    options = fraud.parse(["--model", "small", "--data", str(path), "--epochs", "3"])
    _, parts, history, _ = fraud.run(options)
    assert len(parts.train) + len(parts.test) == 15
    assert len(history["loss"]) == 3
    assert history["loss"][-1] < history["loss"][0]


def test_temperatures_are_judged_in_degrees(capsys: pytest.CaptureFixture[str]) -> None:
    fraud.main(["--model", "temperature", "--epochs", "2"])
    text = capsys.readouterr().out
    assert all(f"{name}:" in text for name in ("mae", "rmse", "mape", "r2", "within_5", "within_10"))
    _, parts, _, found = fraud.run(fraud.parse(["--model", "temperature", "--epochs", "1"]))
    assert 0.5 < found["mae"] < 20
    assert np.concatenate(parts.train.y).max() == 1.0


def test_pictures(tmp_path: Path, shared_data: Path) -> None:
    fraud.main(["--model", "small", "--epochs", "2", "--plot", "--out", str(tmp_path)])
    assert (tmp_path / "fraud_history.png").stat().st_size > 10_000


def test_without_a_file_it_says_what_is_missing() -> None:
    with pytest.raises(tg.errors.DataError, match=r"\[fraud\] got no file; expected --data"):
        fraud.run(fraud.parse([]))


def test_same_seed_same_bits() -> None:
    runs = [fraud.run(fraud.parse(["--model", "small", "--epochs", "2"])) for _ in range(2)]
    assert runs[0][2]["loss"].tolist() == runs[1][2]["loss"].tolist()
