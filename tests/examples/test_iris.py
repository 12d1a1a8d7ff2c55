"""The Iris example on the real file and on scikit-learn's copy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_nn as tg

from .loading import EXAMPLES, load

iris = load("iris")


@pytest.fixture(scope="module")
def csv(shared_data: Path) -> str:
    return str(shared_data / "iris.csv")


def test_the_real_file_reaches_the_promised_accuracy(csv: str) -> None:
    parts = iris.split(*iris.read(csv), seed=42)
    assert (len(parts.x), len(parts.test_x)) == (120, 30)
    tg.manual_seed(42)
    model = iris.build()
    assert all(bool((p.abs() <= 0.5).all()) for p in model.parameters())
    history = iris.train(model, parts, epochs=1000, seed=42)
    assert history["test_acc"][-1] >= 0.966
    assert len(history["train_acc"]) == len(history["loss"]) == 1000
    assert history["loss"][-1] < 0.15
    assert "confusion" in iris.report(model, parts, history)


def test_scikit_learns_copy_is_the_same_flowers(csv: str) -> None:
    pytest.importorskip("sklearn")
    (x, y), (own_x, own_y) = iris.read(None), iris.read(csv)
    assert x.shape == own_x.shape == (150, 4)
    np.testing.assert_array_equal(y, own_y)
    assert (x == own_x).all(axis=1).sum() >= 147  # UCI's file differs in two flowers


def test_pictures_and_text(csv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    iris.main(["--data", csv, "--epochs", "12", "--plot", "--out", str(tmp_path)])
    assert "versicolor" in capsys.readouterr().out
    assert (tmp_path / "iris_history.png").stat().st_size > 10_000


def test_a_bad_file_is_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("SepalLengthCm,Species\n1,setosa\n")
    command = [sys.executable, str(EXAMPLES / "iris.py"), "--data", str(bad)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: [read_csv]")
    assert "SepalWidthCm" in done.stderr
    assert "Traceback" not in done.stderr
