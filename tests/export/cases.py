"""What several tests of exports are about."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import nn


def batch(*shape: int) -> Any:
    """Numbers of one seed."""
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


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
