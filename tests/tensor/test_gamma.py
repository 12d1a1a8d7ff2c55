"""lgamma and its derivatives, against PyTorch and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import torch

import tinygrad_nn as tg
from tinygrad_nn.errors import ConfigError

X = np.concatenate([
    np.linspace(-6.3, 12, 501), np.logspace(-12, 12, 101), [0.0, -0.0, -1, -2, 1, 2, 1e200, np.inf, -np.inf, np.nan]
])  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["lgamma", "digamma"])
def test_values(name: str, dtype: str) -> None:
    with np.errstate(over="ignore"):
        x = X.astype(dtype)
    found, expected = getattr(tg.tensor(x), name)(), getattr(torch, name)(torch.tensor(x))
    assert found.dtype == dtype
    rtol = 1e-12 if dtype == "float64" else 2e-6
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=rtol, atol=rtol)
    compiled = tg.jit(getattr(tg.Tensor, name))(tg.tensor(x))
    np.testing.assert_allclose(compiled.numpy(), found.numpy(), rtol=rtol, atol=rtol)
    assert getattr(tg, name)([3]).dtype == tg.float32


@pytest.mark.parametrize("n", range(5))
def test_polygamma(n: int) -> None:
    x = np.linspace(0.1, 30, 300)
    found = tg.tensor(x).polygamma(n).numpy()
    np.testing.assert_allclose(found, scipy.special.polygamma(n, x), rtol=1e-12, atol=1e-12)
    left = np.linspace(-5.7, -0.3, 20)
    expected = torch.polygamma(n, torch.tensor(left)).numpy()
    np.testing.assert_allclose(tg.tensor(left).polygamma(n).numpy(), expected, rtol=1e-8)


def test_derivatives_are_one_another() -> None:
    x = tg.tensor(np.linspace(-3.3, 9, 40), requires_grad=True)
    (first,) = tg.autograd.grad(x.lgamma().sum(), [x], create_graph=True)
    np.testing.assert_allclose(first.detach().numpy(), x.detach().digamma().numpy(), rtol=1e-11)
    (second,) = tg.autograd.grad(first.sum(), [x])
    np.testing.assert_allclose(second.numpy(), x.detach().polygamma(1).numpy(), rtol=1e-10)


def test_mvlgamma_and_in_place() -> None:
    x = np.array([2.5, 7.0])
    expected = torch.mvlgamma(torch.tensor(x), 3).numpy()
    np.testing.assert_allclose(tg.mvlgamma(tg.tensor(x), 3).numpy(), expected, rtol=1e-12)
    y = tg.tensor(x)
    assert y.lgamma_() is y
    np.testing.assert_allclose(y.numpy(), [math.lgamma(2.5), math.lgamma(7.0)], rtol=1e-13)
    z = tg.tensor(x)
    assert z.polygamma_(1) is z
    np.testing.assert_array_equal(z.numpy(), tg.tensor(x).polygamma(1).numpy())


def test_incomplete_gamma_functions() -> None:
    rng = np.random.default_rng(0)
    a = 10 ** rng.uniform(-3, 4, 1000)
    x = a * np.exp(rng.normal(size=1000) * np.minimum(3, 3 / np.sqrt(a)))
    for name in ("gammainc", "gammaincc"):
        found = getattr(tg, name)(tg.tensor(a), tg.tensor(x)).numpy()
        np.testing.assert_allclose(found, getattr(scipy.special, name)(a, x), rtol=1e-8, atol=1e-10)


def test_bessel_functions() -> None:
    x = np.concatenate([np.linspace(-60, 60, 241), [700.0, -650.0, 1e-9]])
    for name in ("i0", "i0e", "i1", "i1e"):
        np.testing.assert_allclose(getattr(tg, name)(tg.tensor(x)).numpy(), getattr(scipy.special, name)(x), rtol=2e-15)


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="too small for p 3"):
        tg.mvlgamma(tg.tensor([1.0]), 3)
    with pytest.raises(ConfigError, match="p 0"):
        tg.mvlgamma(tg.tensor([1.0]), 0)
    with pytest.raises(ConfigError, match="n -1"):
        tg.tensor([1.0]).polygamma(-1)
