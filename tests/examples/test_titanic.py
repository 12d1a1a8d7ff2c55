"""The Titanic example end to end, on the real list and on generated passengers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F

from .loading import EXAMPLES, load

titanic = load("titanic")


@pytest.fixture(scope="module")
def csv(shared_data: Path) -> str:
    return str(shared_data / "titanic.csv")


def trained(csv: str, *flags: str) -> tuple[tg.nn.Module, Any, tg.History]:
    found = titanic.run(titanic.read(csv), titanic.parse(["--data", csv, *flags]))
    return found.model, found.parts, found.history


def every_run(csv: str, *flags: str) -> list[Any]:
    options, table = titanic.parse(["--data", csv, *flags]), titanic.read(csv)
    return titanic.common.repeat(options, lambda seed: titanic.run(table, titanic.common.with_seed(options, seed)))


def test_the_real_list_reaches_the_promised_accuracy(csv: str) -> None:
    runs = every_run(csv)
    assert np.mean([titanic.accuracy(run.model, run.parts.test) for run in runs]) >= 0.79
    assert len(runs) == 5
    for run in runs:
        parts, history = run.parts, run.history
        assert (len(parts.train.y), len(parts.validation.y), len(parts.test.y)) == (534, 178, 179)
        assert parts.names == ("Age", "LogFare", "Sex=female", "Sex=male", "Pclass=1", "Pclass=2", "Pclass=3")
        shares = [part.y.mean() for part in (parts.train, parts.validation, parts.test)]
        np.testing.assert_allclose(shares, 342 / 891, atol=0.01)
        assert len(history["train_mae"]) == len(history["validation_mae"]) == 1000
        assert history["train_mae"][-1] < history["train_mae"][0]
        assert history["validation_mae"][-1] < history["validation_mae"][0]
        error = np.abs(titanic.probabilities(run.model, parts.validation.x) - parts.validation.y[:, 0]).mean()
        assert history["validation_mae"][-1] == pytest.approx(error, rel=1e-5)


def test_the_split_of_the_article(csv: str) -> None:
    model, parts, _ = trained(csv, "--paper")
    truth = titanic.read(csv)["Survived"].to_numpy()
    np.testing.assert_array_equal(parts.test.y[:, 0], truth[712:])
    assert titanic.accuracy(model, parts.test) >= 0.79


def test_same_seed_same_weights(csv: str) -> None:
    flags = ["--batch-size", "32", "--epochs", "20"]
    first, second, other = (trained(csv, *flags, "--seed", seed)[0][0].weight.tolist() for seed in "447")
    assert first == second != other


def test_statistics_come_from_the_training_part(csv: str) -> None:
    table = titanic.read(csv)
    honest, paper = (titanic.prepare(table, titanic.parse(flags)) for flags in ([], ["--paper"]))
    assert honest.train.x.max() == 1.0
    rows = titanic.split(table["Survived"].to_numpy()[:, None], titanic.parse([]))[0]
    ages = table["Age"].to_numpy()
    assert honest.features.imputer.mean[0] == pytest.approx(np.nanmean(ages[rows]))
    assert paper.features.imputer.mean[0] == pytest.approx(np.nanmean(ages)) == pytest.approx(29.699, abs=1e-3)


def test_what_nobody_knows_has_the_mean_of_the_article(csv: str) -> None:
    pl = pytest.importorskip("polars")
    table = titanic.read(csv).with_columns(Age=pl.lit(None, pl.Float64), Fare=pl.lit(None, pl.Float64))
    features = titanic.prepare(table, titanic.parse([])).features
    assert features.imputer.mean.tolist() == [29.7, 32.2]


def test_an_unknown_category_is_zeros(csv: str) -> None:
    features = titanic.prepare(titanic.read(csv), titanic.parse([])).features
    x = features.transform({"Age": [20.0], "Fare": [10.0], "Sex": ["child"], "Pclass": [9]})
    assert x[0, 2:].tolist() == [0, 0, 0, 0, 0]
    missing = features.transform({"Age": [None], "Fare": [None], "Sex": [None], "Pclass": [3]})
    assert missing[0, 2:].tolist() == [0, 0, 0, 0, 1]
    mean = features.transform({"Age": [features.imputer.mean[0]], "Fare": [features.imputer.mean[1]],
                               "Sex": ["?"], "Pclass": [3]})  # fmt: skip
    np.testing.assert_allclose(missing, mean, rtol=1e-6)


@pytest.mark.parametrize(
    "flags",
    [
        ["--hidden", "8", "8", "--optimizer", "adam", "--epochs", "100"],
        ["--optimizer", "rmsprop", "--batch-size", "64", "--epochs", "100"],
        ["--interactions"],
        ["--polynomial", "2", "--l2", "0.001"],
        ["--l1", "0.001"],
    ],
    ids=lambda flags: " ".join(flags),
)
def test_next_steps_learn_too(csv: str, flags: list[str]) -> None:
    scores = [titanic.accuracy(run.model, run.parts.test) for run in every_run(csv, "--runs", "3", *flags)]
    assert np.mean(scores) >= 0.76


def test_l1_makes_weights_smaller(csv: str) -> None:
    (plain, *_), (sparse, *_) = trained(csv), trained(csv, "--l1", "0.1")
    assert sparse[0].weight.abs().sum().item() < plain[0].weight.abs().sum().item()


def test_report_and_pictures(csv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    titanic.main(["--data", csv, "--plot", "boundary", "--classes", "--out", str(tmp_path), "--runs", "3"])
    text = capsys.readouterr().out
    assert "891 passengers: 534 train, 178 validation, 179 test; 7 features" in text
    assert re.search(r"\n +Age +177 +19\.9%  \d\d\.\d, the mean of the training part\n", text)
    assert re.search(r"\n +Cabin +687 +77\.1%  it is not used\n", text)
    assert re.search(r"\n +Sex +0 +0\.0%  -\n", text)
    assert text.count("truth:") == 5
    assert re.search(r"Sex=female +1\.\d\d ± 0\.\d\d\n", text)
    assert re.search(r"survived: recall +0\.\d{3} ± 0\.\d{3} +0\.\d{3} +0\.\d{3}", text)
    assert re.search(r"test accuracy 0\.\d{3} ± 0\.\d{3} over 3 seeds", text)
    assert (tmp_path / "titanic_boundary.png").stat().st_size > 10_000
    titanic.main(["--data", csv, "--plot", "loss", "--epochs", "9", "--out", str(tmp_path)])
    assert (tmp_path / "titanic_loss.png").stat().st_size > 10_000


def test_cross_validation(csv: str, capsys: pytest.CaptureFixture[str]) -> None:
    titanic.main(["--data", csv, "--kfold", "4", "--epochs", "300"])
    text = capsys.readouterr().out
    (mean,) = re.findall(r"^4-fold accuracy: (0\.\d{3}) ± 0\.0\d\d$", text, re.MULTILINE)
    assert 0.77 < float(mean) < 0.81


def test_each_fold_has_its_share_of_survivors(csv: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    run = titanic.run
    monkeypatch.setattr(titanic, "run", lambda *args: seen.append(run(*args)) or seen[-1])
    titanic.cross_validate(titanic.read(csv), titanic.parse(["--kfold", "10", "--epochs", "1"]))
    assert len(seen) == 10
    for found in seen:
        parts = found.parts
        for part in (parts.train, parts.validation, parts.test):
            assert abs(part.y.sum() - 342 / 891 * len(part.y)) <= 2
        assert sum(len(part.y) for part in (parts.train, parts.validation, parts.test)) == 891


def test_the_grid_has_epochs_a_criterion_without_ties_and_a_tested_winner(
    csv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    titanic.main(["--data", csv, "--grid", "--epochs", "20", "--runs", "2"])
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines[2:38]]
    assert {row[2] for row in rows} == {"5", "20", "80"}
    assert len({tuple(row[:3]) for row in rows}) == 36
    losses = [float(row[3]) for row in rows]
    assert losses == sorted(losses)
    assert len(set(losses)) > 30
    assert lines[-2] == f"best by validation loss: lr {rows[0][0]}, l2 {rows[0][1]}, {rows[0][2]} epochs"
    assert re.fullmatch(r"its test accuracy 0\.\d{3} ± 0\.\d{3} over 2 seeds", lines[-1])


def test_a_sweep_is_as_many_runs(csv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its numbers are those of runs with these seeds, which begin with the first weights of the first one."""
    pytest.importorskip("matplotlib")
    flags = ["--data", csv, "--epochs", "40", "--hidden", "3"]
    titanic.main([*flags, "--sweep", "3", "--plot", "loss", "--out", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert (tmp_path / "titanic_sweep.png").stat().st_size > 10_000
    assert lines[1] == "12 models: 3 splits at each learning rate"
    assert lines[4].split() == ["epoch", "lr", "0.01", "lr", "0.1", "lr", "0.3", "lr", "1"]
    last = next(line for line in lines if line.startswith("   40"))
    table, rates, found = titanic.read(csv), titanic.RATES, []
    for lr in rates:
        options = titanic.parse([*flags, "--lr", str(lr)])
        ends, scores = [], []
        for seed in (42, 43, 44):
            parts = titanic.prepare(table, titanic.common.with_seed(options, seed))
            tg.manual_seed(42)
            model = titanic.build(len(parts.names), [3])
            ends.append(titanic.train(model, parts, options)["validation_loss"][-1])
            scores.append(titanic.accuracy(model, parts.test))
        found.append((np.mean(ends), titanic.common.spread(ends, 4), titanic.common.spread(scores)))
    assert re.findall(r"0\.\d{4} ± 0\.\d{4}", last) == [text for _, text, _ in found]
    best = min(range(4), key=lambda k: found[k][0])
    assert lines[-2] == f"test accuracy with lr {rates[best]:g}: {found[best][2]} over 3 splits"
    assert lines[-4].startswith(f"lr {rates[best]:g} against lr ")


def test_a_sweep_wants_the_same_features_in_every_split(csv: str, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("".join(Path(csv).read_text(encoding="utf-8").splitlines(keepends=True)[:20]), encoding="utf-8")
    with pytest.raises(tg.errors.ConfigError, match=r"\[--sweep\] got features that differ from split to split"):
        titanic.main(["--data", str(few), "--epochs", "2", "--sweep", "20"])


def test_a_saved_model_is_the_trained_one(csv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved, flags = str(tmp_path / "model.npz"), ["--data", csv, "--predict", csv]
    titanic.main([*flags, "--save", saved, "--hidden", "4", "--polynomial", "2", "--epochs", "30", "--runs", "2"])
    before = [line for line in capsys.readouterr().out.splitlines() if line.endswith(("survived", "died"))]
    titanic.main([*flags, "--load", saved])
    text = capsys.readouterr().out
    after = [line for line in text.splitlines() if line.endswith(("survived", "died"))]
    assert len(after) == 891
    assert before[-891:] == after
    options = titanic.parse(["--data", csv, "--hidden", "4", "--polynomial", "2", "--epochs", "30"])
    own = titanic.run(titanic.read(csv), options)
    assert f"accuracy {titanic.accuracy(own.model, own.parts.test):.3f} on the test part of its run" in text
    assert "over 2 seeds)" in text
    truth = titanic.read(csv)["Survived"].to_list()
    right = [line.endswith("survived") == bool(y) for line, y in zip(after, truth, strict=True)]
    assert np.mean(right) > 0.75
    titanic.main(["--data", csv, "--load", saved, "--predict", "1", "female", "?", "80"])
    assert "survived" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--predict", "3", "male"], r"got 2 values; expected a CSV file, or 4: Pclass, Sex, Age, Fare"),
        (["--predict", "third", "male", "3", "8"], r"got 'third' for Pclass; expected a whole number"),
        (["--plot", "boundary", "--features", "Age", "Deck"], r"got the feature 'Deck'; expected two of Age"),
        (["--kfold", "900"], r"\[kfold\] got k=900 for 891 rows"),
        (["--kfold", "3", "--save", "model.npz"], r"\[--save\] got it with --kfold, --grid or --sweep, which"),
        (["--grid", "--epochs", "0"], r"\[--grid\] got it with --epochs 0, which tries nothing"),
        (["--plot", "loss", "--epochs", "0"], r"\[--plot\] got it with --epochs 0, which records nothing"),
        (["--sweep", "--epochs", "0"], r"\[--sweep\] got it with --epochs 0, which tries nothing"),
        (["--sweep", "3", "--save", "model.npz"], r"\[--save\] got it with --kfold, --grid or --sweep"),
        (["--sweep", "3", "--paper"], r"\[--paper\] got it with"),
        (["--sweep", "3", "--plot", "boundary"], r"\[--plot\] got it with"),
        (["--sweep", "3", "--kfold", "3"], r"\[--sweep\] got it with"),
        (["--kfold", "3", "--grid"], r"\[--grid\] got it with --kfold"),
        (["--grid", "--predict", "3", "male", "?", "8"], r"\[--predict\] got it with --kfold, --grid or --sweep"),
        (["--load", "model.npz", "--plot", "loss"], r"\[--plot\] got it with --load, which trains nothing"),
    ],
)
def test_what_is_wrong_is_said(csv: str, flags: list[str], expected: str, tmp_path: Path) -> None:
    with pytest.raises(tg.errors.TinygradError, match=expected):
        titanic.main(["--data", csv, "--runs", "1", "--epochs", "1", "--out", str(tmp_path), *flags])


def test_offline_it_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*args: object) -> None:
        raise tg.errors.DataError("no network")

    monkeypatch.setattr(titanic, "cached_download", fail)
    titanic.main(["--epochs", "20", "--runs", "2"])
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "synthetic passengers" in captured.err
    assert "test accuracy 0." in captured.out


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
