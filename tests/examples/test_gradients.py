"""The gradients of what is trained, on rows of the real data, eager and compiled, to second order: the three models,
the temperature RNN, an LSTM, a GRU, a convolution and attention.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.errors import GradcheckError
from tinygrad_nn.testing import gradcheck, gradcheck_step

from .loading import load

Loss = Callable[[], tg.Tensor]
titanic, iris, fraud, forecast = map(load, ("titanic", "iris", "fraud", "forecast"))
SCRIPTS = {"titanic": titanic, "iris": iris, "fraud": fraud, "forecast": forecast}
MODELS = ("titanic", "titanic, hidden", "iris", "fraud", "small", "temperature", "lstm", "gru", "conv", "attention")


class Last(nn.Module):
    """The outputs of a recurrent layer at the last step, through a linear layer."""

    def __init__(self, layer: nn.Module, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layer, self.out = layer, nn.Linear(hidden, outputs)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        outputs, _ = self.layer(x)
        return self.out(outputs[:, -1])


class Attention(nn.Module):
    """Two heads that attend to earlier steps, a residual, a LayerNorm: softmax(q k^T / sqrt(d)) v."""

    def __init__(self, features: int, heads: int = 2, width: int = 3) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.embed = nn.Linear(features, heads * width)
        self.qkv = nn.Linear(heads * width, 3 * heads * width)
        self.norm, self.out = nn.LayerNorm(heads * width), nn.Linear(heads * width, 1)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        n, steps, _ = x.shape
        h = self.embed(x)
        parts = self.qkv(h).reshape(n, steps, 3, self.heads, self.width).permute(2, 0, 3, 1, 4)
        q, k, v = parts[0], parts[1], parts[2]
        later = tg.from_numpy(np.triu(np.ones((steps, steps), bool), 1))
        scores = (q @ k.transpose(-2, -1) / math.sqrt(self.width)).masked_fill(later, -math.inf)
        mixed = (scores.softmax(-1) @ v).permute(0, 2, 1, 3).reshape(n, steps, self.heads * self.width)
        return self.out(self.norm(h + mixed))


def tensors(*arrays: Any) -> list[tg.Tensor]:
    return [tg.tensor(a.astype(np.float64) if a.dtype.kind == "f" else a) for a in map(np.asarray, arrays)]


def payments(data: Path, count: int = 2) -> list[tg.Tensor]:
    """The first sequences of ten payments: (count, 10, 29) and (count, 10, 1)."""
    part = fraud.prepare(fraud.read("kaggle", str(data / "creditcard_5000.csv"), 0), 0, scale_targets=False).train
    return tensors(np.stack(part.x[:count]), np.stack(part.y[:count]))


def case(name: str, data: Path) -> tuple[nn.Module, Loss]:
    """A model in float64 and its loss on some rows of the real data."""
    tg.manual_seed(7)
    kind, _, hidden = name.partition(", ")
    if kind == "titanic":
        options = titanic.parse(["--data", str(data / "titanic.csv")])
        parts = titanic.prepare(titanic.read(options.data), options)
        x, y = tensors(parts.train.x[:60], parts.train.y[:60])
        model = titanic.build(x.shape[1], (6, 4) if hidden else ()).double()
        return model, lambda: F.binary_cross_entropy_with_logits(model(x), y)
    if kind in ("iris", "conv"):
        flowers = iris.split(*iris.read(str(data / "iris.csv")), 0)
        x, y = tensors(flowers.x[:24], flowers.y[:24])
        if kind == "iris":
            model = iris.build().double()
            return model, lambda: F.cross_entropy(model(x), y)
        stack = (nn.Conv1d(1, 3, 2), nn.SiLU(), nn.Conv1d(3, 4, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(8, 3))
        model = nn.Sequential(*stack).double()
        return model, lambda: F.cross_entropy(model(x.unsqueeze(1)), y)
    if kind in ("small", "temperature"):
        part = fraud.prepare(fraud.read(kind, None, 0), 0, scale_targets=kind == "temperature").train
        x, y = tensors(np.asarray(part.x[0])[None], np.asarray(part.y[0])[None])
    else:
        x, y = payments(data)
    if kind in fraud.SETTINGS or kind == "fraud":
        model = fraud.Recurrent(fraud.SETTINGS[{"fraud": "kaggle"}.get(kind, kind)]).double()
    elif kind == "lstm":
        model, y = Last(nn.LSTM(29, 4, batch_first=True), 4, 1).double(), y[:, -1]
    elif kind == "gru":
        model, y = Last(nn.GRU(29, 3, num_layers=2, bidirectional=True, batch_first=True), 6, 1).double(), y[:, -1]
    else:
        model = Attention(29).double()
    return model, lambda: F.mse_loss(model(x), y)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", MODELS)
def test_all_weights_to_second_order(name: str, compiled: bool, shared_data: Path) -> None:
    model, loss = case(name, shared_data)
    small = sum(p.numel() for p in model.parameters()) <= 100
    report = gradcheck(tg.jit(loss) if compiled else loss, mode="auto" if small else "fast")
    assert [name.removeprefix("model.") for name in report.leaves] == [name for name, _ in model.named_parameters()]
    assert report.refused == 0
    assert report.worst < 0.5
    assert len(report.how) == 2


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", ["iris", "lstm", "attention"])
def test_their_steps(name: str, compiled: bool, shared_data: Path) -> None:
    model, loss = case(name, shared_data)
    opt = optim.Adam(model.parameters(), lr=0.01)

    def step() -> tg.Tensor:
        opt.zero_grad()
        found = loss()
        found.backward()
        opt.step()
        return found

    report = gradcheck_step(tg.jit(step) if compiled else step, (), model, mode="fast")
    assert report.leaves == tuple(name for name, _ in model.named_parameters())


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_gradient_wrong_by_1e_5_in_one_weight_is_found(compiled: bool, shared_data: Path) -> None:
    model, loss = case("lstm", shared_data)
    names = [name for name, _ in model.named_parameters() if "weight" in name]
    for name in names[:2]:
        weight = dict(model.named_parameters())[name]
        remove = weight.register_hook(lambda g: g * (1 + 1e-5))
        with pytest.raises(GradcheckError, match=rf"{name}\["):
            gradcheck(tg.jit(loss) if compiled else loss, order=1, mode="fast")
        remove()


RUNS = {
    "titanic": ["titanic", "--data", "titanic.csv"],
    "iris": ["iris", "--data", "iris.csv"],
    "fraud": ["fraud", "--data", "creditcard_5000.csv"],
    "small": ["fraud", "--model", "small"],
    "temperature": ["fraud", "--model", "temperature"],
    "forecast": ["forecast"],
}


@pytest.mark.parametrize("name", RUNS)
def test_the_flag(name: str, shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module, *arguments = RUNS[name]
    given = [str(shared_data / part) if part.endswith(".csv") else part for part in arguments]
    SCRIPTS[module].main([*given, "--gradcheck"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["eager", "compiled"]
    assert all("entries agree of model." in line and "refused" not in line for line in lines)
    assert all("order 1" in line and "order 2" in line for line in lines)
