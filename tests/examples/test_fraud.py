"""The fraud example: the real payments, grouped files, the small model, and temperatures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import data

from .loading import load

fraud = load("fraud")


def runs(*flags: str) -> list[Any]:
    options = fraud.parse(list(flags))
    generated = options.data is None
    sequences = None if generated else fraud.read(options.model, options.data, options.seed, options.synthetic)
    return fraud.common.repeat(options, lambda seed: fraud.run(sequences, fraud.common.with_seed(options, seed)))


def figures(found: list[Any], name: str) -> list[float]:
    return [run.judge.figures()[name] for run in found]


@pytest.mark.parametrize(
    ("file", "epochs"), [("creditcard_3335.csv", []), ("creditcard_2023_7121.csv", ["--epochs", "20"])]
)
def test_real_payments_reach_the_promised_f1(shared_data: Path, file: str, epochs: list[str]) -> None:
    found = runs("--data", str(shared_data / file), "--runs", "2", *epochs)
    assert min(figures(found, "f1")) >= 0.85
    for run in found:
        stacked = np.concatenate(run.parts.train.x)
        assert run.parts.train.x[0].shape == (10, 29)
        assert (stacked.min(), stacked.max()) == (0.0, 1.0)
        scores = run.judge.figures()
        assert sum(scores[name] for name in ("tp", "fp", "tn", "fn")) == 10 * len(run.parts.test)
        assert run.history["loss"][-1] < 0.2 * run.history["loss"][0]


@pytest.mark.parametrize("model", ["small", "temperature"])
def test_the_generated_ones_are_learnt_with_the_settings_they_have(model: str) -> None:
    found = runs("--model", model, "--runs", "5")
    if model == "small":
        assert min(figures(found, "f1")) >= 0.85
        return
    assert min(figures(found, "r2")) >= 0.8
    naive = [fraud.naive(run)["rmse"] for run in found]
    assert np.mean(figures(found, "rmse")) < np.mean(naive)


@pytest.mark.parametrize("seed", range(21))
def test_a_test_part_of_the_small_model_has_its_frauds(seed: int) -> None:
    sequences = fraud.read("small", None, seed)
    parts = fraud.prepare(sequences, seed, scale_targets=False)
    stolen = [sum(bool(y.any()) for y in part.y) for part in (parts.train, parts.test)]
    assert stolen == [4, 1]
    assert len(parts.test) == 3


def test_generator_and_split_know_nothing_of_each_other() -> None:
    shares = [np.mean([bool(y.any()) for y in data.synthetic.fraud(seed=seed).split(seed=seed)[1].y])
              for seed in range(200)]  # fmt: skip
    assert abs(np.mean(shares) - 1 / 3) < 0.06  # as drawn: a third of the cards is stolen; it was 0
    assert np.std(shares) > 0.1


def test_the_small_model_reads_grouped_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, saved = tmp_path / "steps.csv", str(tmp_path / "small.npz")
    sequences = data.synthetic.fraud(seed=1)
    sequences.to_csv(path)
    flags = ["--model", "small", "--data", str(path), "--predict", str(path)]
    fraud.main([*flags, "--epochs", "1000", "--save", saved, "--runs", "2"])
    before = capsys.readouterr().out
    assert "12 training and 3 test sequences" in before
    fraud.main([*flags, "--load", saved])
    after = capsys.readouterr().out
    lines = [line for line in after.splitlines() if ", step " in line]
    assert [line for line in before.splitlines() if ", step " in line] == lines
    guessed = [line.endswith("fraud") for line in lines]
    truth = np.concatenate(sequences.y)[:, 0] == 1
    assert np.mean(guessed == truth) > 0.95
    assert lines[5].split(",")[0].strip() == "card2"


def test_temperatures_are_judged_in_degrees(capsys: pytest.CaptureFixture[str]) -> None:
    fraud.main(["--model", "temperature", "--epochs", "2", "--runs", "2"])
    text = capsys.readouterr().out
    assert all(f"{name} " in text for name in ("mae", "rmse", "mape", "r2", "within_5", "within_10"))
    assert "without a model: tomorrow is as today" in text
    (found,) = runs("--model", "temperature", "--epochs", "1", "--runs", "1")
    parts, judge = found.parts, found.judge
    assert 0.5 < judge.figures()["mae"] < 20
    np.testing.assert_allclose(judge.truth.numpy(), parts.targets.inverse(np.concatenate(parts.test.y))[:, 0], 1e-6)
    targets = np.concatenate(parts.train.y)
    assert (targets.min(), targets.max()) == pytest.approx((0.2, 0.8))
    series = data.synthetic.temperature(seed=42)
    np.testing.assert_allclose(judge.truth.numpy(), series[6:][1160:1450], atol=1e-4)  # in time, the last fifth
    naive = fraud.naive(found)["rmse"]
    assert naive == pytest.approx(np.sqrt(np.mean(np.diff(series)[5:][1160:1450] ** 2)), rel=1e-4)


def test_temperatures_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("polars")
    path = tmp_path / "days.csv"
    series = data.synthetic.temperature(400, seed=3)
    path.write_text("temperature\n" + "".join(f"{value}\n" for value in series))
    flags = ["--model", "temperature", "--data", str(path), "--predict", str(path)]
    fraud.main([*flags, "--epochs", "300", "--runs", "1"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.endswith(" degrees") and ":" in line]
    assert lines[0].startswith("  day 7:")
    assert lines[-1].startswith("day 401:")  # the first that is not known
    guessed = [float(line.split()[2]) for line in lines]
    assert np.sqrt(np.mean((guessed[:-1] - series[6:]) ** 2)) < 2.5


@pytest.mark.parametrize("model", ["small", "temperature"])
def test_pictures(tmp_path: Path, model: str) -> None:
    pytest.importorskip("matplotlib")
    fraud.main(["--model", model, "--epochs", "2", "--plot", "--out", str(tmp_path), "--runs", "2"])
    assert (tmp_path / "fraud_history.png").stat().st_size > 10_000


def test_generated_payments(capsys: pytest.CaptureFixture[str]) -> None:
    fraud.main(["--synthetic", "100", "--epochs", "12", "--runs", "2"])
    text = capsys.readouterr().out
    assert text.startswith("80 training and 20 test sequences\n")
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if "±" in line}
    assert {"accuracy", "precision", "recall", "f1", "tp", "fp", "tn", "fn", "12"} <= rows.keys()
    assert float(rows["accuracy"][0]) > 0.75
    assert sum(float(rows[name][0]) for name in ("tp", "fp", "tn", "fn")) == pytest.approx(200, abs=0.1)
    assert fraud.parse(["--synthetic"]).synthetic == 56_389
    assert fraud.parse(["--synthetic"]).epochs < fraud.parse(["--synthetic", "100"]).epochs == 100


@pytest.mark.parametrize("arguments", [["--synthetic", "40"], ["--model", "temperature"]])
def test_the_test_part_is_judged_natively(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    scores = fraud.Judge.scores
    monkeypatch.setattr(fraud.Judge, "scores", lambda judge: calls.append(1) or scores(judge))
    counts = []
    for epochs in ("10", "1000"):
        (found,) = runs(*arguments, "--epochs", epochs, "--runs", "1")
        counts.append(len(calls))
        calls.clear()
    assert found.history.evaluated == list(range(10, 1001, 10))
    assert counts[0] == counts[1]  # traced, not run
    for name, value in found.judge.figures().items():
        assert found.history.last()[name] == pytest.approx(value, rel=1e-5)


def test_sequences_of_any_length_are_predicted_as_one_by_one() -> None:
    model = fraud.Recurrent(fraud.SETTINGS["small"])
    x = [np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32) for n in (3, 1, 7)]
    y = [np.arange(n, dtype=np.float32).reshape(-1, 1) for n in (3, 1, 7)]
    judge = fraud.Judge(model, data.Sequences(["a", "b", "c"], x, y), None)
    alone = [model(tg.tensor(steps).unsqueeze(0)).detach().numpy().ravel() for steps in x]
    np.testing.assert_allclose(judge.predict().detach().numpy(), np.concatenate(alone), rtol=1e-5, atol=1e-6)
    assert judge.truth.tolist() == [0, 1, 2, 0, 0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], r"\[fraud\] got no data; expected --data"),
        (["--synthetic", "--data", "x.csv"], r"\[fraud\] got --synthetic and x.csv"),
        (["--synthetic", "--model", "small"], r"\[fraud\] got --synthetic and --model small"),
        (["--model", "small", "--data", "wide.csv"], r"\[fraud\] got 4 features in wide.csv; expected 3"),
        (["--model", "small", "--data", "labels.csv"], r"\[fraud\] got 1 labels per step, 0 to 2, in labels.csv"),
        (["--model", "small", "--data", "calm.csv"], r"\[fraud\] got 0 sequences with a fraud; expected three or more"),
        (["--data", "wide.csv"], r"without column 'V1'"),
        (["--model", "small", "--predict", "1", "2"], r"got 2 values; expected a CSV file, or 3: amount, distance"),
        (["--model", "temperature", "--predict", "1", "2"], r"\[--predict\] got 2 days; expected 6 or more"),
        (["--model", "temperature", "--predict", "hot"], r"\[--predict\] got 'hot' for value 1"),
        (["--synthetic", "20", "--predict", "1", "2"], r"\[--predict\] got 2 values; expected a CSV file"),
    ],
)
def test_what_is_wrong_is_said(
    flags: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, columns, label in (("wide", 4, 1), ("labels", 3, 2), ("calm", 3, 0)):
        head = ",".join(f"x{k + 1}" for k in range(columns))
        rows = [f"c{k},{t}{',1.5' * columns},{label * (k % 2)}" for k in range(9) for t in range(2)]
        Path(f"{name}.csv").write_text("\n".join([f"name,t,{head},y1", *rows]))
    with pytest.raises(tg.errors.TinygradError, match=expected):
        fraud.main(["--epochs", "1", "--runs", "1", *flags])


def test_a_saved_model_says_which_it_is(tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved, table = str(tmp_path / "model.npz"), str(shared_data / "creditcard_3335.csv")
    fraud.main(["--data", table, "--epochs", "5", "--runs", "2", "--save", saved, "--predict", table])
    before = capsys.readouterr().out
    fraud.main(["--data", table, "--load", saved, "--predict", table])
    after = capsys.readouterr().out
    verdicts = [[line for line in text.splitlines() if line.endswith(("genuine", "fraud"))] for text in (before, after)]
    assert len(verdicts[1]) == 3335
    assert verdicts[0][-3335:] == verdicts[1]
    assert "on the test part of its run" in after
    fraud.main(["--data", str(shared_data / "creditcard_2023_7121.csv"), "--load", saved])
    assert "on all of this data, which is not what it was trained with" in capsys.readouterr().out
    with pytest.raises(tg.errors.ConfigError, match=r"got --model small with .*, a model of the kind kaggle"):
        fraud.main(["--model", "small", "--load", saved])


def test_same_seed_same_bits() -> None:
    first, second, other = (runs("--model", "small", "--epochs", "2", "--runs", "1", "--seed", seed)[0].history["loss"]
                            for seed in ("3", "3", "4"))  # fmt: skip
    assert first.tolist() == second.tolist() != other.tolist()
