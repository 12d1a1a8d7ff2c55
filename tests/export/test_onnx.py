"""ONNX: files that the reference checker accepts and onnxruntime computes the same with, or none."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.export.runtime import DISTANCE, apart, compare, not_implemented, session
from tinygrad_nn import functional as F
from tinygrad_nn import nn
from tinygrad_nn.errors import DivisionByZero, ExportError, FileError, IndexOutOfRange, MissingExtra
from tinygrad_nn.executor import run
from tinygrad_nn.export.model import Exported
from tinygrad_nn.export.onnx import serialized, text_of
from tinygrad_nn.graph.graph import Graph
from tinygrad_nn.support.extras import require
from tinygrad_nn.testing.programs import generate

RNG = np.random.default_rng(0)


def numbers(*shape: int) -> Any:
    """Normal ones."""
    return RNG.normal(size=shape).astype(np.float32)


def recurrent(kind: Any, **how: Any) -> Callable[[Any], Any]:
    """The outputs of a recurrent layer, and its last state."""
    layer = kind(3, 5, **how)

    def outputs(x: Any) -> Any:
        every, last = layer(x)
        return (every, *last) if isinstance(last, tuple) else (every, last)

    return outputs


def scaled() -> Any:
    """A net behind a scaler that was fitted."""
    scaler = nn.StandardScaler().fit(numbers(40, 4) * 3 + 2)
    return nn.Sequential(scaler, nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(-1)), (5, 4)),
    "scaler": (scaled, (3, 4)),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1),
            nn.Conv2d(4, 6, 3, stride=2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(6, 3),
        ),
        (2, 1, 12, 12),
    ),
    "groups, dilated": (lambda: nn.Conv1d(4, 8, 3, padding=2, dilation=2, groups=2), (2, 4, 9)),
    "depthwise": (lambda: nn.Conv2d(3, 3, (2, 3), groups=3, stride=(1, 2)), (2, 3, 6, 7)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), (2, 3, 5, 4)),
    "transposed, dilated": (lambda: nn.ConvTranspose1d(2, 4, 3, stride=3, dilation=2, groups=2), (2, 2, 5)),
    "bilinear": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), (2, 3, 4, 5)),
    "across channels": (lambda: nn.LocalResponseNorm(2), (2, 4, 3)),
    "rnn": (lambda: recurrent(nn.RNN, batch_first=True), (4, 30, 3)),
    "lstm": (lambda: recurrent(nn.LSTM, batch_first=True), (4, 30, 3)),
    "gru, two ways": (lambda: recurrent(nn.GRU, num_layers=2, bidirectional=True), (30, 2, 3)),
    "transformer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (3, 5, 8)),
    "functions": (
        lambda: lambda x: (
            x.sort(descending=True).values, x.cumsum(1), x.argmax(1), x.var(1), F.softplus(x * 30), F.elu(x),
            (x * 1e-4).expm1() * 1e4, (x.abs() * 1e-4).log1p() * 1e4, x.trunc(), x % 0.7, x // 0.7, x.fmod(0.3),
            x.flip(1)[:, ::2], x > x.mean(1, keepdim=True), x.sign() * (x / 0).sign(), (x * x).mean(),
            x.to(tg.int64), F.gelu(x),
        ),
        (4, 6),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_computes_the_same(name: str, tmp_path: Path) -> None:
    make, shape = MODELS[name]
    tg.manual_seed(0)
    f = make()
    f = f.eval() if isinstance(f, nn.Module) else f
    x = numbers(*shape)
    file = tg.export.onnx(f, x, path=tmp_path / "m.onnx")
    ready = compare(file, f, (x,), *((numbers(n, *shape[1:]),) for n in (1, shape[0] + 4)))
    assert ready.get_inputs()[0].shape == ["batch", *shape[1:]]


def test_the_file_is_alone_and_says_what_the_model_says(tmp_path: Path) -> None:
    package = require("onnx", "export")
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    file = tg.export.onnx(net, numbers(2, 4), path=tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["model.onnx"]
    made = package.load(file)
    package.checker.check_model(made, full_check=True)
    assert [(one.domain, one.version) for one in made.opset_import] == [("", 18)]
    weights = {one.name: package.numpy_helper.to_array(one) for one in made.graph.initializer}
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(weights[key], value.numpy())
    assert file.read_bytes() == tg.export.onnx(net, numbers(2, 4), path=tmp_path / "again.onnx").read_bytes()


def test_what_is_another_program_for_another_size_has_the_size_of_the_example(tmp_path: Path) -> None:
    def squares(x: Any) -> Any:
        return x.repeat_interleave(x.shape[0], 0)  # n * n rows: two sizes lie on a line, three do not

    def picky(x: Any) -> Any:
        if x.shape[0] != 2:
            raise ValueError("two rows")
        return x + 1

    for f in (squares, picky, lambda x: x + 1 if x.shape[0] > 2 else x, lambda x: x / (x.shape[0] * x.shape[0])):
        ready = compare(tg.export.onnx(f, numbers(2, 4), path=tmp_path / "m.onnx"), f, (numbers(2, 4),))
        assert ready.get_inputs()[0].shape == [2, 4]
    ready = session(tg.export.onnx(lambda x: x + 1, numbers(2, 4), path=tmp_path / "m.onnx", batch=None))
    assert ready.get_inputs()[0].shape == [2, 4]
    ready = session(tg.export.onnx(lambda x: x + 1, numbers(2, 4), path=tmp_path / "m.onnx", batch=1))
    assert ready.get_inputs()[0].shape == [2, "batch"]


def test_several_inputs_and_results_have_their_names(tmp_path: Path) -> None:
    table = nn.Embedding(10, 4)

    def scores(rows: Any, labels: Any) -> Any:
        low = table(rows).sum(1)
        return {"loss": F.cross_entropy(low, labels, reduction="none"), "scores": low}

    rows, labels = RNG.integers(0, 10, (3, 5)), RNG.integers(0, 4, 3)
    ready = session(tg.export.onnx(scores, rows, labels, path=tmp_path / "m.onnx"))
    assert [one.name for one in ready.get_inputs()] == ["rows", "labels"]
    assert [one.name for one in ready.get_outputs()] == ["loss", "scores"]
    expected = scores(tg.tensor(rows), tg.tensor(labels))
    for got, one in zip(ready.run(None, {"rows": rows, "labels": labels}), expected.values(), strict=True):
        assert apart(got, one.detach().numpy()) <= DISTANCE


def test_names_of_weights_and_arguments_do_not_meet(tmp_path: Path) -> None:
    net = nn.Module()
    net.register_parameter("x", nn.Parameter(tg.ones(3)))
    net.register_parameter("out", nn.Parameter(tg.ones(3)))
    net.register_parameter("/Mul3", nn.Parameter(tg.ones(3)))
    values = dict(net.named_parameters())

    def f(x: Any) -> Any:
        assert isinstance(net, nn.Module)
        return x * values["x"] * values["out"] * values["/Mul3"]

    compare(tg.export.onnx(f, numbers(2, 3), path=tmp_path / "m.onnx"), f, (numbers(2, 3),))


def test_random_programs() -> None:
    """As far as their ops have a form here, and onnxruntime has one for their dtypes."""
    seen: Counter[str] = Counter()
    absent = not_implemented()
    for seed in range(60):
        graph, values = generate((7, seed))
        names = tuple(f"x{k}" for k in range(len(values)))
        graph = Graph.of(graph.outputs, graph.inputs)
        made = Exported(graph, names, tuple(f"y{k}" for k in range(len(graph.outputs))), (), tuple(values))
        try:
            file = serialized(text_of(made))
        except ExportError:
            seen["no form"] += 1
            continue
        try:
            ready = session(file)
        except absent:
            seen["not in onnxruntime"] += 1
            continue
        try:
            with np.errstate(all="ignore"):
                expected = run(graph, values)[0]
        except (IndexOutOfRange, DivisionByZero):
            seen["an error in Python"] += 1
            continue
        got = ready.run(None, dict(zip(names, values, strict=True)))
        assert len(got) == len(expected)
        same = all(apart(*map(np.asarray, pair)) <= DISTANCE for pair in zip(got, expected, strict=True))
        seen["the same" if same else f"other in {seed}"] += 1
    assert seen["the same"] >= 30, seen


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (nn.Dropout(0.5), "a Dropout in training mode, which changes state (random.counter)"),
        (nn.BatchNorm1d(3), "running_mean"),
        (lambda x: tg.linalg.inv(x[:, :2]), "inv"),
        (lambda x: x.tolist(), ""),
        (lambda x: 3, "no tensor"),
        (3, "got 3"),
    ],
)
def test_what_cannot_be_written_leaves_no_file(f: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(tg.errors.TinygradError) as caught:
        tg.export.onnx(f, numbers(2, 3), path=tmp_path / "m.onnx")
    assert words in str(caught.value)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("batch", [-1, 0.5, "x"])
def test_the_axis_is_a_number(batch: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="batch="):
        tg.export.onnx(nn.ReLU(), numbers(2), path=tmp_path / "m.onnx", batch=batch)


def test_a_folder_that_is_not_there_and_a_package_that_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError):
        tg.export.onnx(nn.ReLU(), numbers(2), path=tmp_path / "none" / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"tinygrad_nn\[export\]"):
        tg.export.onnx(nn.ReLU(), numbers(2), path=tmp_path / "m.onnx")
    assert not [*tmp_path.iterdir()]
