"""Functions built on log(1 + e^x) have no kink at 0, where a model with zero weights starts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F

ONE = tg.tensor(1.0, dtype=tg.float64)
SMOOTH: dict[str, tuple[Callable[[tg.Tensor], tg.Tensor], float, float]] = {
    "softplus": (F.softplus, 0.5, 0.25),
    "logsigmoid": (F.logsigmoid, 0.5, -0.25),
    "soft_margin_loss": (lambda x: F.soft_margin_loss(x, ONE), -0.5, 0.25),
    "bce, target 1": (lambda x: F.binary_cross_entropy_with_logits(x, ONE), -0.5, 0.25),
    "bce, target 0": (lambda x: F.binary_cross_entropy_with_logits(x, ONE * 0), 0.5, 0.25),
    "bce, pos_weight 3": (lambda x: F.binary_cross_entropy_with_logits(x, ONE, pos_weight=ONE * 3), -1.5, 0.75),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_slope_and_curvature_at_zero(name: str) -> None:
    function, slope, curvature = SMOOTH[name]
    x = tg.tensor(0.0, dtype=tg.float64, requires_grad=True)
    (first,) = tg.autograd.grad(function(x), x, create_graph=True)
    assert first is not None
    assert first.item() == pytest.approx(slope, abs=1e-15)
    (second,) = tg.autograd.grad(first, x)
    assert second is not None
    assert second.item() == pytest.approx(curvature, abs=1e-15)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_far_from_zero_nothing_is_lost(sign: float) -> None:
    x = tg.tensor([sign * 30.0, sign * 800.0], dtype=tg.float64)
    target = tg.tensor([float(sign > 0)] * 2, dtype=tg.float64)
    right = F.binary_cross_entropy_with_logits(x, target, reduction="none").tolist()
    wrong = F.binary_cross_entropy_with_logits(x, 1 - target, reduction="none").tolist()
    assert right == pytest.approx([9.357622968840175e-14, 0.0], rel=1e-12)
    assert wrong == [30.000000000000094, 800.0]
