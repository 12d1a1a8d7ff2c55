"""The Titanic example end to end, on the real list and on generated passengers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F

from .loading import EXAMPLES, load

titanic = load("titanic")


@pytest.fixture(scope="module")
def csv(shared_data: Path) -> str:
    return str(shared_data / "titanic.csv")


def trained(csv: str, *flags: str) -> tuple[tg.nn.Module, object, tg.History]:
    options = titanic.parse(["--data", csv, *flags])
    parts = titanic.prepare(titanic.read(csv), options)
    tg.manual_seed(options.seed)
    model = titanic.build(len(parts.names), options.hidden)
    return model, parts, titanic.train(model, parts, options)


def test_the_real_list_reaches_the_promised_accuracy(csv: str) -> None:
    model, parts, history = trained(csv)
    assert (len(parts.train.y), len(parts.validation.y), len(parts.test.y)) == (534, 178, 179)
    assert parts.names == ("Age", "LogFare", "Sex=female", "Sex=male", "Pclass=1", "Pclass=2", "Pclass=3")
    assert titanic.accuracy(model, parts.test) >= 0.79
    assert len(history["mae"]) == 100
    assert history["mae"][-1] < history["mae"][0]


def test_same_seed_same_weights(csv: str) -> None:
    (first, *_), (second, *_) = trained(csv, "--batch-size", "32"), trained(csv, "--batch-size", "32")
    assert first[0].weight.tolist() == second[0].weight.tolist()


def test_statistics_come_from_the_training_part(csv: str) -> None:
    honest, paper = (titanic.prepare(titanic.read(csv), titanic.parse(flags)) for flags in ([], ["--paper"]))
    assert not np.array_equal(honest.test.x, paper.test.x)
    assert honest.train.x.max() == 1.0


@pytest.mark.parametrize(
    "flags",
    [
        ["--hidden", "8", "8", "--optimizer", "adam", "--lr", "0.01"],
        ["--optimizer", "rmsprop", "--lr", "0.01", "--batch-size", "64"],
        ["--interactions"],
        ["--polynomial", "2", "--l2", "0.001"],
        ["--l1", "0.001"],
    ],
    ids=lambda flags: " ".join(flags),
)
def test_next_steps_learn_too(csv: str, flags: list[str]) -> None:
    model, parts, _ = trained(csv, *flags)
    assert titanic.accuracy(model, parts.test) >= 0.76


def test_l1_makes_weights_smaller(csv: str) -> None:
    (plain, *_), (sparse, *_) = trained(csv), trained(csv, "--l1", "0.1")
    assert sparse[0].weight.abs().sum().item() < plain[0].weight.abs().sum().item()


def test_report_and_pictures(csv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    titanic.main(["--data", csv, "--plot", "boundary", "--report", "--out", str(tmp_path)])
    text = capsys.readouterr().out
    assert "891 passengers: 534 train, 178 validation, 179 test; 7 features" in text
    assert text.count("truth:") == 5
    assert "Sex=female +" in text
    assert "precision" in text
    assert (tmp_path / "titanic_boundary.png").stat().st_size > 10_000


def test_cross_validation_and_grid(csv: str, capsys: pytest.CaptureFixture[str]) -> None:
    titanic.main(["--data", csv, "--kfold", "4", "--epochs", "50"])
    titanic.main(["--data", csv, "--grid", "--epochs", "20"])
    text = capsys.readouterr().out
    assert "4-fold accuracy: 0.7" in text
    assert text.count("validation accuracy") == 12


def test_offline_it_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*args: object) -> None:
        raise tg.errors.DataError("no network")

    monkeypatch.setattr(titanic, "cached_download", fail)
    titanic.main(["--epochs", "20"])
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "synthetic passengers" in captured.err
    assert "accuracy: train" in captured.out


def test_a_bad_file_is_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("Survived,Pclass,Sex,Age,Fare\n1,1,male,old,7\n")
    command = [sys.executable, str(EXAMPLES / "titanic.py"), "--data", str(bad)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: [read_csv]")
    assert "line 2" in done.stderr
    assert "Age" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_step_is_that_of_cross_entropy_not_of_the_mae_it_prints(csv: str) -> None:
    """What docs/tutorials/titanic.md shows: (p - y) x / n is the gradient of cross-entropy, and not that of the MAE."""
    parts = titanic.prepare(titanic.read(csv), titanic.parse([]))
    x, y = tg.tensor(parts.train.x[:50]).double(), tg.tensor(parts.train.y[:50]).double()
    w = tg.randn(7, 1, dtype=tg.float64, generator=tg.Generator(0)).requires_grad_()
    step = x.T @ ((x @ w).sigmoid() - y).detach() / 50.0

    def cross_entropy(w: tg.Tensor) -> tg.Tensor:
        return F.binary_cross_entropy_with_logits(x @ w, y)

    def mae(w: tg.Tensor) -> tg.Tensor:
        return ((x @ w).sigmoid() - y).abs().mean()

    assert tg.testing.gradcheck(cross_entropy, (w,))
    assert tg.testing.gradcheck(mae, (w,))
    np.testing.assert_allclose(
        tg.grad(cross_entropy)(w).detach().numpy(), step.detach().numpy(), rtol=1e-12, atol=1e-14
    )
    assert not np.allclose(tg.grad(mae)(w).detach().numpy(), step.detach().numpy(), rtol=0.1)
