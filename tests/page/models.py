"""Training steps that pages are made of, each with a batch: the models of the articles, and larger ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim

Made = tuple[Callable[..., Any], tuple[Any, ...]]


def stepping(model: nn.Module, optimizer: optim.Optimizer, loss_of: Any = F.cross_entropy) -> Callable[..., Any]:
    """A step of a model."""

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def training(model: nn.Module, optimizer: optim.Optimizer, loss_of: Callable[..., Any], *batch: Any) -> Made:
    """A step of a model, and its batch."""
    return stepping(model, optimizer, loss_of), batch


def floats(*shape: int) -> Any:
    return tg.tensor(np.random.default_rng(3).normal(size=shape).astype(np.float32))


def labels(count: int, *shape: int) -> Any:
    return tg.tensor(np.random.default_rng(4).integers(0, count, shape))


def iris() -> Made:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return training(model, optim.SGD(model.parameters(), lr=0.1), F.cross_entropy, floats(32, 4), labels(3, 32))


def titanic() -> Made:
    model = nn.Sequential(
        nn.Linear(10, 16), nn.LayerNorm(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1), nn.Flatten(0)
    )
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    loss = F.binary_cross_entropy_with_logits
    return training(model, optimizer, loss, floats(32, 10), labels(2, 32).to(tg.float32))


class Last(nn.Module):
    """A recurrent net, and a linear layer on what it leaves at the end."""

    def __init__(self, net: nn.Module, width: int, outputs: int) -> None:
        super().__init__()
        self.net, self.head = net, nn.Linear(width, outputs)

    def forward(self, x: Any) -> Any:
        return self.head(self.net(x)[0][:, -1])


def forecast() -> Made:
    model = Last(nn.RNN(1, 16, batch_first=True), 16, 1)
    return training(model, optim.Adam(model.parameters(), lr=0.01), F.mse_loss, floats(32, 14, 1), floats(32, 1))


def lstm() -> Made:
    model = Last(nn.LSTM(8, 24, num_layers=2, batch_first=True), 24, 4)
    return training(model, optim.Adam(model.parameters()), F.cross_entropy, floats(8, 50, 8), labels(4, 8))


def digits() -> Made:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    return training(model, optimizer, F.cross_entropy, floats(16, 1, 8, 8), labels(10, 16))


class Block(nn.Module):
    """Attention and a small net, each added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.together = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.net = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Any) -> Any:
        parts = self.attention(self.norm1(x)).split(x.shape[-1], -1)
        query, key, value = [one.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for one in parts]
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.together(mixed.transpose(-3, -2).flatten(-2))
        return x + self.net(self.norm2(x))


class Gpt(nn.Module):
    """The next character after each beginning."""

    def __init__(self, characters: int, context: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.characters, self.places = nn.Embedding(characters, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, characters)

    def forward(self, text: Any) -> Any:
        x = self.characters(text) + self.places.weight[: text.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def gpt() -> Made:
    model = Gpt(40, 32, 32, 4, 2)

    def loss(logits: Any, y: Any) -> Any:
        return F.cross_entropy(logits.flatten(0, 1), y.flatten())

    return training(model, optim.AdamW(model.parameters()), loss, labels(40, 4, 32), labels(40, 4, 32))


MODELS: dict[str, Callable[[], Made]] = {
    "iris": iris,
    "titanic": titanic,
    "forecast": forecast,
    "lstm": lstm,
    "digits": digits,
    "gpt": gpt,
}
