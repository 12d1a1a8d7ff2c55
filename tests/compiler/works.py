"""What is trained in the tests of native fit: the three models on their real data, and two small ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_nn as tg
from tests.examples.loading import load
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim


@dataclass
class Work:
    """A model with its data, step and evaluation, ready to train."""

    model: nn.Module
    opt: Any
    data: tuple[Any, ...]
    step: Callable[..., Any]
    scores: Callable[[], Any] | None

    def fit(self, compiled: bool, epochs: int, **options: Any) -> tg.History:
        step = tg.jit(self.step) if compiled else self.step
        return tg.fit(step, self.data, epochs, evaluate=self.scores, progress=False, **{"seed": 3, **options})


def titanic(folder: Path, dtype: str) -> Work:
    example = load("titanic")
    options = example.parse([])
    parts = example.prepare(example.read(str(folder / "titanic.csv")), options)
    tg.manual_seed(0)
    model = example.build(len(parts.names)).to(dtype)
    x, y, vx, vy = (a.astype(dtype) for a in (parts.train.x, parts.train.y, parts.validation.x, parts.validation.y))
    opt = optim.SGD(model.parameters(), lr=0.1)

    def step(x: tg.Tensor, y: tg.Tensor) -> dict[str, tg.Tensor]:
        opt.zero_grad()
        logits = model(x)
        loss = F.binary_cross_entropy_with_logits(logits, y)
        loss.backward()
        opt.step()
        return {"mae": (logits.sigmoid() - y).abs().mean(), "train_loss": loss}

    held, truth = tg.tensor(vx), tg.tensor(vy)
    return Work(
        model,
        opt,
        (x, y),
        step,
        lambda: {"validation_loss": F.binary_cross_entropy_with_logits(model(held), truth)},
    )


def iris(folder: Path, dtype: str) -> Work:
    example = load("iris")
    parts = example.split(*example.read(str(folder / "iris.csv")), seed=42)
    tg.manual_seed(42)
    model = example.build().to(dtype)
    opt = optim.Adam(model.parameters(), lr=0.01)
    x, y, test_x, test_y = map(tg.tensor, (parts.x.astype(dtype), parts.y, parts.test_x.astype(dtype), parts.test_y))

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    def scores() -> dict[str, tg.Tensor]:
        return {"train_acc": tg.metrics.accuracy(model(x), y), "test_acc": tg.metrics.accuracy(model(test_x), test_y)}

    return Work(model, opt, (parts.x.astype(dtype), parts.y), step, scores)


def fraud(folder: Path, dtype: str) -> Work:
    example = load("fraud")
    path = str(folder / "creditcard_3335.csv")
    parts = example.prepare(example.read("kaggle", path, 42), 42, scale_targets=False)
    tg.manual_seed(42)
    model = example.Recurrent(example.SETTINGS["kaggle"]).to(dtype)
    opt = optim.SGD(model.parameters(), lr=1e-3)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss

    x, y = (np.stack(part)[:45].astype(dtype) for part in (parts.train.x, parts.train.y))
    return Work(model, opt, (x, y), step, None)


def state(work: Work) -> list[Any]:
    """Parameters, buffers and what the optimizer keeps."""
    own = [tensor for _, tensor in sorted(work.model.state_dict().items())]
    kept = [value for p in work.model.parameters() for _, value in sorted(work.opt.state.get(p, {}).items())]
    return [tensor.detach().numpy() for tensor in [*own, *kept]]


X = np.random.default_rng(0).normal(size=(22, 3))
Y = (X @ np.array([1.0, -2.0, 0.5])).reshape(-1, 1)


def small(dropout: float = 0.0, lr: float = 0.05) -> Work:
    tg.manual_seed(5)
    model = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Dropout(dropout), nn.Linear(6, 1)).double()
    opt = optim.SGD(model.parameters(), lr=lr, momentum=0.5)

    def step(x: tg.Tensor, y: tg.Tensor, *weights: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        losses = (model(x) - y) ** 2
        loss = (losses.squeeze(1) * weights[0]).mean() if weights else losses.mean()
        loss.backward()
        opt.step()
        return loss

    return Work(model, opt, (X, Y), step, None)


def equal(a: Work, b: Work, rtol: float = 1e-10) -> None:
    for x, y in zip(state(a), state(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-12)


def bits(work: Work) -> list[bytes]:
    return [array.tobytes() for array in state(work)]


def classifier() -> Work:
    tg.manual_seed(5)
    model = nn.Linear(3, 4).double()
    opt = optim.SGD(model.parameters(), lr=0.05)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return Work(model, opt, (X, np.arange(22) % 4), step, None)
