"""Whole models as ONNX: those of the examples, of random layers, recurrent ones, and what stands before a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.examples.loading import load
from tests.export.cases import batch
from tests.export.random_models import model
from tests.export.runtime import compare
from tinygrad_nn import nn


def of_iris() -> Any:
    """As the example exports it: raw rows in, probabilities out."""
    scaler = nn.StandardScaler().fit(batch(30, 4) * 2 + 5)
    return nn.Sequential(scaler, load("iris").build(), nn.Softmax(1))


def of_fraud(kind: str) -> Any:
    fraud = load("fraud")
    return fraud.Recurrent(fraud.SETTINGS[kind])


def of_letters() -> Any:
    example = load("char_gpt")
    return example.Gpt(20)


LETTERS = np.random.default_rng(0).integers(0, 20, (3, 12))
EXAMPLES: dict[str, tuple[Callable[[], Any], Any]] = {
    "iris": (of_iris, batch(30, 4) * 2 + 5),
    "titanic": (lambda: load("titanic").build(9, (16, 8)), batch(20, 9)),
    "digits": (lambda: load("digits").build(), abs(batch(4, 1, 8, 8))),
    "forecast": (lambda: load("forecast").Forecaster(4), batch(5, 24, 1)),
    "fraud kaggle": (lambda: of_fraud("kaggle"), batch(3, 50, 29)),
    "fraud small": (lambda: of_fraud("small"), batch(3, 20, 3)),
    "fraud temperature": (lambda: of_fraud("temperature"), batch(3, 20, 6)),
    "customers": (lambda: load("customers").Forecaster(), batch(5, load("customers").WINDOW)),
    "char_gpt": (of_letters, LETTERS),
    "second_derivative": (lambda: load("second_derivative").rosenbrock, batch(2)),
}


def sizes(x: Any) -> list[tuple[Any]]:
    """The data, one row of it, and more rows."""
    return [(x,), (x[:1],), (np.concatenate([x, x]),)]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str, tmp_path: Path) -> None:
    make, x = EXAMPLES[name]
    tg.manual_seed(0)
    f = make()
    f = f.eval() if isinstance(f, nn.Module) else f
    file = tg.export.onnx(f, x, path=tmp_path / "m.onnx")
    ready = compare(file, f, *(sizes(x) if x.ndim > 1 else [(x,)]))
    assert x.ndim == 1 or ready.get_inputs()[0].shape[0] == "batch"
    assert [one.name for one in tmp_path.iterdir()] == ["m.onnx"]
    assert file.read_bytes() == tg.export.onnx(f, x, path=tmp_path / "again.onnx").read_bytes()


@pytest.mark.parametrize("seed", range(2000, 2020))
def test_random_models(seed: int, tmp_path: Path) -> None:
    own, x = model(seed)
    ready = compare(tg.export.onnx(own, tg.tensor(x, dtype=x.dtype), path=tmp_path / "m.onnx"), own, *sizes(x))
    assert ready.get_inputs()[0].shape == ["batch", *x.shape[1:]]


class Whole(nn.Module):
    """All that a recurrent layer gives, from a first state or with lengths of its sequences."""

    def __init__(self, layer: Any, how: str) -> None:
        super().__init__()
        self.layer, self.how = layer, how

    def forward(self, x: tg.Tensor) -> Any:
        rows = x.shape[0]
        if self.how == "state":
            first = x.new_ones((self.layer.num_layers * (1 + self.layer.bidirectional), rows, self.layer.hidden_size))
            every, last = self.layer(x, (first, first * 2) if isinstance(self.layer, nn.LSTM) else first)
        elif self.how == "lengths":
            every, last = self.layer(x, lengths=(x[:, :, 0] > -9).sum(1).clamp(max=4))
        else:
            every, last = self.layer(x)
        return (every, *last) if isinstance(last, tuple) else (every, last)


@pytest.mark.parametrize("steps", [1, 7, 40])
@pytest.mark.parametrize("how", ["", "state", "lengths"])
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_layers(kind: Any, how: str, steps: int, tmp_path: Path) -> None:
    tg.manual_seed(1)
    whole = Whole(kind(3, 4, num_layers=2, bidirectional=True, batch_first=True), how)
    x = batch(3, steps, 3)
    ready = compare(tg.export.onnx(whole.eval(), x, path=tmp_path / "m.onnx"), whole, *sizes(x))
    assert ready.get_inputs()[0].shape == ["batch", steps, 3]


def encoder() -> Any:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True, activation="gelu")
    return nn.TransformerEncoder(layer, 2)


def prepared() -> Any:
    """Missing values are filled in, scaled, and made powers of."""
    table = batch(30, 3)
    table[::7, 1] = np.nan
    filled = nn.MeanImputer().fit(table)
    return nn.Sequential(filled, nn.MinMaxScaler().fit(batch(30, 3)), nn.Linear(3, 2), nn.Dropout(0.5))


def normalized() -> Any:
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 2))
    for _ in range(3):
        net(tg.tensor(batch(8, 4) * 2 + 1))
    return net


MODELS: dict[str, tuple[Callable[[], Any], Any]] = {
    "encoder": (encoder, batch(3, 6, 8)),
    "missing values": (prepared, np.where(batch(6, 3) > 1, np.nan, batch(6, 3)).astype(np.float32)),
    "batch norm and dropout": (normalized, batch(5, 4)),
    "one-hot": (lambda: nn.OneHotEncoder().fit(range(20)), LETTERS[:, :1]),
    "one-hot or zeros": (lambda: nn.OneHotEncoder(unknown="zeros").fit([3, 7]), LETTERS[:, :1]),
    "largest values": (lambda: nn.MaxAbsScaler().fit(batch(30, 4)), batch(5, 4)),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, tmp_path: Path) -> None:
    tg.manual_seed(0)
    make, x = MODELS[name]
    f = make().eval()
    ready = compare(tg.export.onnx(f, x, path=tmp_path / "m.onnx"), f, *sizes(x))
    assert ready.get_inputs()[0].shape == ["batch", *x.shape[1:]]


def test_several_inputs_and_outputs_of_any_batch(tmp_path: Path) -> None:
    left, right = nn.Linear(3, 4), nn.Linear(2, 4)

    def both(people: Any, places: Any) -> Any:
        whole = left(people) + right(places)
        return {"sum": whole, "largest": whole.argmax(1), "each": whole.softmax(1)}

    pairs = [(batch(n, 3), batch(n, 2)) for n in (4, 1, 9)]
    file = tg.export.onnx(both, *pairs[0], path=tmp_path / "m.onnx")
    ready = compare(file, lambda *x: tuple(both(*x).values()), *pairs)
    assert [(one.name, one.shape) for one in ready.get_inputs()] == [("people", ["batch", 3]), ("places", ["batch", 2])]
    assert [(one.name, one.shape) for one in ready.get_outputs()] == [
        ("sum", ["batch", 4]), ("largest", ["batch"]), ("each", ["batch", 4]),
    ]  # fmt: skip


def test_names_that_meet_are_numbered(tmp_path: Path) -> None:
    net = nn.Module()
    for name in ("x", "out", "x_2"):
        net.register_parameter(name, nn.Parameter(tg.ones(3)))
    values = dict(net.named_parameters())

    def f(x: Any) -> Any:
        assert isinstance(net, nn.Module)
        return x * values["x"] * values["out"] * values["x_2"]

    ready = compare(tg.export.onnx(f, batch(2, 3), path=tmp_path / "m.onnx"), f, (batch(2, 3),))
    assert [one.name for one in (*ready.get_inputs(), *ready.get_outputs())] == ["x", "out"]
