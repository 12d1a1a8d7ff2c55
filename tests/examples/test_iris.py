"""The Iris example on the real file and on scikit-learn's copy."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg

from .loading import EXAMPLES, load

iris = load("iris")


@pytest.fixture(scope="module")
def csv(shared_data: Path) -> str:
    return str(shared_data / "iris.csv")


def runs(*flags: str) -> list[Any]:
    options = iris.parse(list(flags))
    x, y = iris.read(options.data)
    return iris.common.repeat(options, lambda seed: iris.run(x, y, iris.common.with_seed(options, seed)))


def test_the_default_runs_reach_the_promised_accuracy(csv: str) -> None:
    found = runs("--data", csv)
    assert len(found) == 5
    assert np.mean([iris.accuracy(run.model, run.iris) for run in found]) >= 0.95
    assert found[0].history["test_accuracy"][-1] >= 0.966
    for run in found:
        assert (len(run.iris.y), len(run.iris.test_y)) == (120, 30)
        assert len(run.history["train_accuracy"]) == len(run.history["loss"]) == 1000
        assert run.history["loss"][-1] < 0.15
        assert iris.accuracy(run.model, run.iris) == pytest.approx(run.history["test_accuracy"][-1])


def test_lengths_are_standardised_by_the_training_part(csv: str) -> None:
    x, y = iris.read(csv)
    parts = iris.split(x, y, seed=3)
    np.testing.assert_allclose(parts.x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(parts.x.std(axis=0), 1, atol=1e-5)
    assert np.abs(parts.test_x.mean(axis=0)).max() > 1e-3
    back = parts.scaler.inverse(np.concatenate([parts.x, parts.test_x]))
    np.testing.assert_allclose(np.sort(back, axis=0), np.sort(x, axis=0), atol=1e-5)
    assert np.bincount(parts.test_y).tolist() == [10, 10, 10]


def test_the_report_shows_both_ways_and_the_spread(capsys: pytest.CaptureFixture[str]) -> None:
    iris.main(["--epochs", "20", "--runs", "3"])
    text = capsys.readouterr().out
    assert "mean ± standard deviation over 3 runs; every one of 20 epochs is recorded" in text
    assert re.search(r"test accuracy 0\.\d{3} ± 0\.\d{3} over 3 seeds", text)
    assert re.search(r"time: one run natively +\d+\.\d{4} s.*\ntime: one run eagerly +\d+\.\d{4} s", text)
    (apart,) = re.findall(r"two in 20 epochs: loss (\S+), train_accuracy 0, test_accuracy 0", text)
    assert float(apart) < 1e-5
    rows = [line.split()[1:] for line in text.splitlines() if line.strip().startswith(iris.SPECIES)]
    assert np.sum([list(map(int, row)) for row in rows[1:]]) == 90


def test_pictures(csv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    iris.main(["--data", csv, "--epochs", "12", "--runs", "2", "--plot", "--out", str(tmp_path / "new" / "folder")])
    assert "iris_history.png" in capsys.readouterr().out
    assert (tmp_path / "new" / "folder" / "iris_history.png").stat().st_size > 10_000


def test_flowers_are_named(csv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = str(tmp_path / "iris.npz")
    iris.main(["--data", csv, "--runs", "2", "--save", saved, "--predict", csv])
    before = [line for line in capsys.readouterr().out.splitlines() if line.endswith("%")]
    assert len(before) == 150
    named = [line.split()[1] for line in before]
    assert sum(named[k] == iris.SPECIES[k // 50] for k in range(150)) >= 143
    shares = np.array([[float(share.strip("%")) for share in line.split()[2:]] for line in before])
    np.testing.assert_allclose(shares.sum(axis=1), 100, atol=0.11)
    assert [iris.SPECIES[k] for k in shares.argmax(axis=1)] == named
    iris.main(["--data", csv, "--load", saved, "--predict", csv])
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if line.endswith("%")] == before
    assert "accuracy 0.967 on the test part of its run" in text
    iris.main(["--load", saved, "--predict", "5.1", "3.5", "1.4", "0.2"])
    text = capsys.readouterr().out
    assert "on all of this data, which is not what it was trained with" in text  # scikit-learn's copy differs
    assert "    1  setosa" in text


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--predict", "1", "2", "3"], r"got 3 values; expected a CSV file, or 4: SepalLengthCm, SepalWidthCm"),
        (["--predict", "1", "2", "3", "long"], r"\[--predict\] got 'long' for PetalWidthCm; expected a number"),
        (["--predict", "1", "2", "?", "4"], r"got nan in data, row 0, column 'PetalLengthCm'"),
        (["--predict", "none.csv"], r"none\.csv"),
        (["--data", "other.csv"], r"got unknown category 'tulip' in 'Species', row 1; expected one of 'setosa'"),
        (["--data", "few.csv"], r"\[split\] got"),
    ],
)
def test_what_is_wrong_is_said(
    flags: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    head = ",".join([*iris.COLUMNS, "Species"])
    Path("other.csv").write_text(f"{head}\n1,2,3,4,Iris-setosa\n1,2,3,4,tulip\n")
    Path("few.csv").write_text(f"{head}\n1,2,3,4,Iris-setosa\n1,2,3,4,virginica\n")
    with pytest.raises((tg.errors.TinygradError, OSError), match=expected):
        iris.main(["--runs", "1", "--epochs", "1", *flags])


def test_a_bad_file_is_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("SepalLengthCm,Species\n1,setosa\n")
    command = [sys.executable, str(EXAMPLES / "iris.py"), "--data", str(bad)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: [read_csv]")
    assert "SepalWidthCm" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("cc") is None, reason="no program `cc` (apt install gcc)")
def test_the_model_is_written_as_c_compiled_and_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--epochs", "2", "--runs", "1", "--no-jit", "--export", "c", "--cc", "--out", str(tmp_path)]
    iris.main(flags)
    assert "whose results are those of Python" in capsys.readouterr().out
    assert "int iris_run(const float *" in (tmp_path / "iris.h").read_text()
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(tg.errors.ConfigError, match="no C compiler"):
        iris.main(flags)
    with pytest.raises(SystemExit):
        iris.parse(["--cc"])
