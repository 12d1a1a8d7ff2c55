"""What several tests of exports are about."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim


def batch(*shape: int) -> Any:
    """Numbers of one seed."""
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def stepping(model: nn.Module, optimizer: optim.Optimizer) -> Any:
    """A compiled step of a classifier."""

    @tg.jit
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


class Outputs(nn.Module):
    """The outputs of a recurrent layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        out: tg.Tensor = self.layer(x)[0]
        return out


class Last(Outputs):
    """The last of them."""

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return super().forward(x)[:, -1]
