"""Values and gradients at NaN, infinities, both zeros, huge and tiny numbers, against PyTorch.

Where PyTorch's own value is an accident of its formula (`hardswish(-inf)` is NaN there), ours is left out by name.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn.errors import ConfigError, DataError, ShapeError, TinygradError

POINTS = np.array([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e38, -1e38, 1e-40, -1e-40, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0,
                   -3.0, 6.0, 20.0, -20.0, 100.0, -100.0, 0.25])  # fmt: skip
PAIRS = tuple(grid.ravel() for grid in np.meshgrid(POINTS, POINTS))
METHODS = [
    "abs",
    "sign",
    "square",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sigmoid",
    "logit",
    "erf",
    "erfc",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "floor",
    "ceil",
    "trunc",
    "round",
    "frac",
    "relu",
    "nan_to_num",
    "neg",
]
ACTIVATIONS = [
    "relu",
    "leaky_relu",
    "elu",
    "celu",
    "selu",
    "gelu",
    "sigmoid",
    "tanh",
    "silu",
    "mish",
    "softplus",
    "logsigmoid",
    "softsign",
    "hardtanh",
    "relu6",
    "hardswish",
    "tanhshrink",
    "softshrink",
]
BINARY = ["add", "sub", "mul", "div", "pow", "fmod", "remainder", "maximum", "minimum", "atan2", "logaddexp"]
LOSSES = ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss"]


def agree(ours: Any, theirs: Any, *arrays: Any, skip: Any = None) -> None:
    a = [tg.tensor(array, dtype=tg.float64, requires_grad=True) for array in arrays]
    b = [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in arrays]
    x, y = ours(*a), theirs(*b)
    x.sum().backward()
    y.sum().backward()
    same_value = np.isclose(x.detach().numpy(), y.detach().numpy(), rtol=1e-9, atol=1e-12, equal_nan=True)
    if skip is not None:
        same_value |= skip
    assert same_value.all(), [tuple(array[k] for array in arrays) for k in np.flatnonzero(~same_value)[:5]]
    for p, q in zip(a, b, strict=True):
        same = np.isclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-9, atol=1e-12, equal_nan=True)
        assert same.all(), [tuple(array[k] for array in arrays) for k in np.flatnonzero(~same)[:5]]


@pytest.mark.parametrize("name", METHODS)
def test_functions_of_one_number(name: str) -> None:
    agree(lambda x: getattr(x, name)(), getattr(torch, name), POINTS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    agree(getattr(F, name), getattr(TF, name), POINTS, skip=(-math.inf == POINTS) & (name == "hardswish"))


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_numbers(name: str) -> None:
    agree(lambda x, y: getattr(x, name)(y), getattr(torch, name), *PAIRS)


@pytest.mark.parametrize("mode", ["trunc", "floor"])
def test_rounded_division(mode: str) -> None:
    agree(lambda x, y: x.div(y, rounding_mode=mode), lambda x, y: torch.div(x, y, rounding_mode=mode), *PAIRS)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    agree(lambda x, y: getattr(F, name)(x, y, reduction="none"),
          lambda x, y: getattr(TF, name)(x, y, reduction="none"), *PAIRS)  # fmt: skip


def test_nan_is_no_probability_of_1() -> None:
    assert math.isnan(F.binary_cross_entropy(tg.tensor([math.nan]), tg.tensor([1.0])).item())
    assert F.binary_cross_entropy(tg.tensor([0.0]), tg.tensor([1.0])).item() == 100.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: tg.bernoulli(tg.tensor([0.5, 1.5])),
        lambda: tg.bernoulli(tg.tensor([math.nan])),
        lambda: tg.ones(2, 3).gather(1, [0, 1]),
        lambda: tg.ones(2, 3).scatter(1, [0, 1], 1.0),
        lambda: tg.ones(2, 2).reshape(-2),
        lambda: tg.data.kfold(5, 2.5),
        lambda: F.pad(tg.ones(2), (1, 1), value=None),
        lambda: F.cross_entropy(tg.ones(2, 3), [0, 1], weight=[1.0, math.nan, 1.0]),
        lambda: F.cross_entropy(tg.ones(2, 3), [0, 1], weight=[1.0, 1.0, 1.0, 1.0]),
        lambda: tg.optim.Adam([tg.zeros(1)], betas=(0.9,)),
        *[lambda lr=lr: tg.optim.SGD([tg.zeros(1)], lr=lr) for lr in ("0.1", None, math.nan)],
        lambda: tg.ones(3)[::0],
        lambda: tg.tensor(1.0).unbind(),
        lambda: tg.nn.Sequential().add_module("__class__", tg.nn.ReLU()),
        lambda: (m := tg.nn.Sequential(tg.nn.ReLU())).add_module("own", m),
        lambda: tg.nn.Linear(1, 1).load_state_dict(None),
        lambda: tg.optim.Adam([tg.zeros(1)]).load_state_dict({}),
        lambda: tg.optim.Adam([{"lr": 0.1}]),
    ],
)
def test_nonsense_is_not_silent(call: Any) -> None:
    with pytest.raises(TinygradError, match=r"^\[\w+\] got"):
        call()


def test_flip_of_no_axis_flips_none() -> None:
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.flip([]).tolist() == torch.tensor(x.tolist()).flip([]).tolist() == x.tolist()


def test_a_history_whose_names_change_keeps_its_rows() -> None:
    history = tg.History()
    history.log_epoch({"a": 1.0})
    history.log_epoch({"b": 2.0})
    rows = history.rows()
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[0]["a"] == 1.0
    assert rows[1]["b"] == 2.0
    assert math.isnan(rows[0]["b"])
    assert math.isnan(rows[1]["a"])
    assert history.to_frame().shape == (2, 3)
    with pytest.raises(DataError, match="numbers by name"):
        history.log_epoch({"a": "1"})


def test_errors_keep_their_kinds() -> None:
    with pytest.raises(ShapeError, match="gather"):
        tg.ones(2, 3).gather(0, [0])
    with pytest.raises(ConfigError, match="bernoulli"):
        tg.bernoulli([2.0])


def test_kl_div_at_targets_that_are_none() -> None:
    targets = [math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 0.5, 1e30]
    x, t = (grid.ravel() for grid in np.meshgrid([-2.0, 0.0, 1.0, math.nan, math.inf, -math.inf], targets))
    ours, theirs = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    value = F.kl_div(ours, tg.tensor(t), reduction="none")
    expected = TF.kl_div(theirs, torch.tensor(t), reduction="none")
    np.testing.assert_allclose(value.detach().numpy(), expected.detach().numpy(), rtol=1e-12)
    value.sum().backward()
    expected.sum().backward()
    np.testing.assert_array_equal(ours.grad.numpy(), theirs.grad.numpy())


def test_an_infinite_variance_is_an_infinite_loss() -> None:
    agree(lambda x, v: F.gaussian_nll_loss(x, x * 0, v, reduction="none"),
          lambda x, v: TF.gaussian_nll_loss(x, x * 0, v, reduction="none"),
          np.array([0.0, 1.0, -20.0, 0.5]), np.array([math.inf, math.inf, 0.0, 2.0]))  # fmt: skip


def test_hardshrink_has_no_slope_at_nan() -> None:
    x = tg.tensor([math.nan, math.inf, 0.1, -0.2, 2.0], requires_grad=True)
    value = F.hardshrink(x)
    np.testing.assert_array_equal(value.detach().numpy(), np.float32([math.nan, math.inf, 0, 0, 2]))
    assert not np.signbit(value.detach().numpy()[3])
    value.sum().backward()
    assert x.grad.tolist() == [0, 1, 0, 0, 1]
