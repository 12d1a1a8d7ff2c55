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
    judge, parts, history, found = fraud.run(options)
    assert (len(parts.train), len(parts.test)) == (569, 143)
    assert parts.train.x[0].shape == (10, 29)
    assert found["accuracy"] >= 0.92
    assert found["tp"] + found["fp"] + found["tn"] + found["fn"] == 1430
    assert history["loss"][-1] < history["loss"][0]
    stacked = np.concatenate(parts.train.x)
    assert (stacked.min(), stacked.max()) == (0.0, 1.0)
    assert judge.model.state_dict()["rnn.weight_ih_l0"].shape == (10, 29)


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
    judge, parts, _, found = fraud.run(fraud.parse(["--model", "temperature", "--epochs", "1"]))
    assert 0.5 < found["mae"] < 20
    np.testing.assert_allclose(judge.truth.numpy(), parts.targets.inverse(np.concatenate(parts.test.y))[:, 0], 1e-6)
    assert np.concatenate(parts.train.y).max() == 1.0


@pytest.mark.parametrize("model", ["small", "temperature"])
def test_pictures(tmp_path: Path, model: str) -> None:
    pytest.importorskip("matplotlib")
    fraud.main(["--model", model, "--epochs", "2", "--plot", "--out", str(tmp_path)])
    assert (tmp_path / "fraud_history.png").stat().st_size > 10_000


def test_generated_payments_are_judged_every_tenth_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    fraud.main(["--synthetic", "100", "--epochs", "12", "--lr", "0.01"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "80 training and 20 test sequences"
    assert [line.split(":")[0] for line in lines[1:3]] == ["epoch   10", "epoch   12"]
    assert all("loss 0." in line and "accuracy 0." in line and "f1 0." in line for line in lines[1:3])
    names = [line.split(":")[0].strip() for line in lines[4:]]
    assert names == [
        "accuracy", "precision", "recall", "f1", "positive_accuracy", "negative_accuracy", "tp", "fp", "tn", "fn"
    ]  # fmt: skip
    shares = {line.split(":")[0].strip(): float(line.split(":")[1]) for line in lines[4:]}
    assert shares["accuracy"] > 0.75
    assert sum(shares[name] for name in ("tp", "fp", "tn", "fn")) == 200
    assert fraud.parse(["--synthetic"]).synthetic == 56_389


@pytest.mark.parametrize("arguments", [["--synthetic", "40"], ["--model", "temperature"]])
def test_the_test_part_is_judged_natively(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    scores = fraud.Judge.scores
    monkeypatch.setattr(fraud.Judge, "scores", lambda judge: calls.append(1) or scores(judge))
    counts = []
    for epochs in ("10", "40"):
        judge, _, history, found = fraud.run(fraud.parse([*arguments, "--epochs", epochs]))
        counts.append(len(calls))
        calls.clear()
    assert history.evaluated == [10, 20, 30, 40]
    assert counts[0] == counts[1]  # traced, not run
    for name, value in scores(judge).items():
        assert found[name] == pytest.approx(value.item(), rel=1e-5)


def test_a_long_run_prints_a_hundred_lines(capsys: pytest.CaptureFixture[str]) -> None:
    fraud.run(fraud.parse(["--model", "small", "--epochs", "20_000"]))
    epochs = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert epochs == [f"epoch {epoch:4d}" for epoch in range(200, 20_001, 200)]


def test_a_run_stopped_before_it_was_judged_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = tg.fit
    stop = [lambda run, logs: run.stop("enough")]
    monkeypatch.setattr(tg, "fit", lambda *args, **settings: fit(*args, **{**settings, "callbacks": stop}))
    with pytest.raises(SystemExit, match="enough: there is nothing to report"):
        fraud.main(["--model", "small", "--epochs", "20"])


def test_sequences_of_any_length_are_predicted_as_one_by_one() -> None:
    model = fraud.Recurrent(fraud.SETTINGS["small"])
    x = [np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32) for n in (3, 1, 7)]
    y = [np.arange(n, dtype=np.float32).reshape(-1, 1) for n in (3, 1, 7)]
    judge = fraud.Judge(model, data.Sequences(["a", "b", "c"], x, y), None)
    alone = [model(tg.tensor(steps).unsqueeze(0)).detach().numpy().ravel() for steps in x]
    np.testing.assert_allclose(judge.predict().detach().numpy(), np.concatenate(alone), rtol=1e-5, atol=1e-6)
    assert judge.truth.tolist() == [0, 1, 2, 0, 0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("arguments", [["--data", "x.csv"], ["--model", "small"]])
def test_generated_payments_are_for_the_large_model_alone(arguments: list[str]) -> None:
    with pytest.raises(tg.errors.ConfigError, match=r"\[fraud\] got --synthetic and .*(x.csv|small)"):
        fraud.run(fraud.parse(["--synthetic", *arguments]))


def test_without_a_file_it_says_what_is_missing() -> None:
    with pytest.raises(tg.errors.DataError, match=r"\[fraud\] got no file; expected --data"):
        fraud.run(fraud.parse([]))


def test_same_seed_same_bits() -> None:
    runs = [fraud.run(fraud.parse(["--model", "small", "--epochs", "2"])) for _ in range(2)]
    assert runs[0][2]["loss"].tolist() == runs[1][2]["loss"].tolist()
