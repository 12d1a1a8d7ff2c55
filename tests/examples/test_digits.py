"""The digits example on scikit-learn's copy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .loading import load

digits = load("digits")


def runs(*flags: str) -> list[Any]:
    options = digits.parse(list(flags))
    x, y = digits.read()
    return digits.common.repeat(options, lambda seed: digits.run(x, y, digits.common.with_seed(options, seed)))


def test_the_default_runs_reach_the_promised_accuracy() -> None:
    found = runs()
    assert len(found) == 5
    assert np.mean([digits.accuracy(run.model, run.digits) for run in found]) >= 0.985
    for run in found:
        assert (len(run.digits.y), len(run.digits.test_y)) == (1437, 360)
        assert not run.model.training
        assert run.history["loss"][-1] < 0.7
    mistakes = digits.wrong(found)
    assert len(mistakes) == round(sum(360 * (1 - digits.accuracy(run.model, run.digits)) for run in found))
    assert all(picture.shape == (8, 8) and truth != guess for picture, truth, guess in mistakes)


def test_the_report_and_a_saved_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = str(tmp_path / "digits.npz")
    digits.main(["--epochs", "2", "--runs", "2", "--save", saved])
    text = capsys.readouterr().out
    assert re.search(r"test accuracy 0\.\d{4} ± 0\.\d{4} over 2 seeds", text)
    assert re.search(r"\d+ of 720 named wrong: \d taken for \d \(\d+\)", text)
    digits.main(["--load", saved])
    assert "on the test part of its run" in capsys.readouterr().out


def test_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    digits.main(["--epochs", "1", "--runs", "1", "--plot", "--out", str(tmp_path / "new")])
    written = capsys.readouterr().out
    for name in ("digits_wrong.png", "digits_filters.png"):
        assert name in written
        assert (tmp_path / "new" / name).stat().st_size > 5_000


def test_compiled_and_eager_training_end_alike() -> None:
    compiled, eager = runs("--epochs", "1", "--runs", "1")[0], runs("--epochs", "1", "--runs", "1", "--no-jit")[0]
    np.testing.assert_allclose(compiled.history["loss"], eager.history["loss"], rtol=1e-4)
