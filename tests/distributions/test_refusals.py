"""What distributions refuse, and what they say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import tinygrad_nn as tg
from tinygrad_nn import distributions as d
from tinygrad_nn.errors import ConfigError, DTypeError, ShapeError

WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: d.Normal(0.0, -1.0), ConfigError, r"\[Normal\] got scale -1"),
    (lambda: d.Normal(tg.tensor([0.0, math.nan]), 1.0), ConfigError, "loc"),
    (lambda: d.Normal("0", 1.0), DTypeError, "loc of type str"),
    (lambda: d.Normal(tg.zeros(2), tg.ones(3)), ShapeError, r"\(2,\) and \(3,\)"),
    (lambda: d.Normal(0.0, 1.0).log_prob(0.5), DTypeError, "type float"),
    (lambda: d.Normal(tg.zeros(2), 1.0).log_prob(tg.zeros(3)), ShapeError, r"\(3,\)"),
    (lambda: d.Normal(0.0, 1.0).log_prob(tg.tensor(math.nan)), ConfigError, "real"),
    (lambda: d.Uniform(1.0, 1.0), ConfigError, "high - low"),
    (lambda: d.Uniform(0.0, 1.0).log_prob(tg.tensor(2.0)), ConfigError, "value 2"),
    (lambda: d.Exponential(0.0), ConfigError, "rate 0"),
    (lambda: d.Exponential(1.0).log_prob(tg.tensor(-1.0)), ConfigError, "value -1"),
    (lambda: d.Bernoulli(), ConfigError, "neither"),
    (lambda: d.Bernoulli(0.5, 0.0), ConfigError, "probs and logits"),
    (lambda: d.Bernoulli(1.5), ConfigError, "1.5"),
    (lambda: d.Bernoulli(0.5).log_prob(tg.tensor(0.5)), ConfigError, "0 or 1"),
    (lambda: d.Geometric(0.0), ConfigError, "probs 0"),
    (lambda: d.Geometric(0.5).log_prob(tg.tensor(1.5)), ConfigError, "whole"),
    (lambda: d.Binomial(2, 0.5).log_prob(tg.tensor(3.0)), ConfigError, "value 3"),
    (lambda: d.Binomial(tg.tensor([1, 2]), 0.5).enumerate_support(), NotImplementedError, "one for all"),
    (lambda: d.Categorical(tg.tensor(0.5)), ShapeError, "no axis"),
    (lambda: d.Categorical(tg.tensor([-1.0, 2.0])), ConfigError, "below 0"),
    (lambda: d.Categorical(tg.ones(3)).log_prob(tg.tensor(3)), ConfigError, "from 0 to 2"),
    (lambda: d.OneHotCategorical(tg.ones(3)).log_prob(tg.ones(3)), ConfigError, "one 1"),
    (lambda: d.Multinomial(2, tg.ones(2)).log_prob(tg.tensor([2.0, 1.0])), ConfigError, "sum to 2"),
    (lambda: d.Multinomial(-1, tg.ones(2)), ConfigError, "total_count -1"),
    (lambda: d.Poisson(-1.0), ConfigError, "rate -1"),
    (lambda: d.Gamma(0.0, 1.0), ConfigError, "concentration 0"),
    (lambda: d.Chi2(-1.0), ConfigError, "df -1"),
    (lambda: d.Dirichlet(tg.tensor(1.0)), ShapeError, "no axis"),
    (lambda: d.Beta(1.0, 1.0).log_prob(tg.tensor(1.5)), ConfigError, "value 1.5"),
    (lambda: d.MultivariateNormal(tg.zeros(2)), ConfigError, "no matrix"),
    (lambda: d.MultivariateNormal(tg.zeros(2), tg.eye(2), tg.eye(2)), ConfigError, "covariance_matrix and precision"),
    (lambda: d.MultivariateNormal(tg.zeros(2), tg.eye(3)), ShapeError, r"\(3, 3\)"),
    (lambda: d.MultivariateNormal(tg.zeros(2), -tg.eye(2)), ConfigError, "positive definite"),
    (lambda: d.MultivariateNormal(tg.zeros(2), tg.tensor([[1.0, 0.5], [0.0, 1.0]])), ConfigError, "symmetric"),
    (lambda: d.MultivariateNormal(tg.zeros(2), scale_tril=tg.ones(2, 2)), ConfigError, "lower triangles"),
    (lambda: d.MultivariateNormal(0.0, tg.eye(2)), DTypeError, "loc of type float"),
    (lambda: d.MultivariateNormal(tg.zeros(2), tg.eye(2)).log_prob(tg.zeros(3)), ShapeError, r"\(3,\)"),
    (lambda: d.Independent(d.Normal(tg.zeros(2), 1.0), 2), ConfigError, "at most 1"),
    (lambda: d.Independent(tg.zeros(2), 1), DTypeError, "Tensor"),
    (lambda: d.MixtureSameFamily(d.Normal(0.0, 1.0), d.Normal(tg.zeros(2), 1.0)), DTypeError, "mixture.*Normal"),
    (lambda: d.MixtureSameFamily(d.Categorical(tg.ones(2)), tg.zeros(2)), DTypeError, "component.*Tensor"),
    (lambda: d.MixtureSameFamily(d.Categorical(tg.ones(2)), d.Normal(tg.zeros(3), 1.0)), ShapeError, r"\(3,\)"),
    (lambda: d.MixtureSameFamily(d.Categorical(tg.ones(2)), d.Normal(0.0, 1.0)), ShapeError, r"\(\)"),
    (lambda: d.TransformedDistribution(d.Normal(0.0, 1.0), [3]), ConfigError, "transforms"),
    (lambda: d.TransformedDistribution(3, []), DTypeError, "int"),
    (lambda: d.ExpTransform(cache_size=2), ConfigError, "cache_size 2"),
    (lambda: d.ComposeTransform([3]), ConfigError, "int"),
    (lambda: d.Transform()(tg.zeros(1)), NotImplementedError, "_call"),
    (lambda: d.AbsTransform().sign, NotImplementedError, "sign"),
    (lambda: d.kl_divergence(d.Normal(0.0, 1.0), d.Bernoulli(0.5)), NotImplementedError, "Normal and a Bernoulli"),
    (lambda: d.kl_divergence(d.Normal(0.0, 1.0), 3), DTypeError, "int"),
    (lambda: d.register_kl(int, d.Normal), DTypeError, "int"),
    (lambda: d.Distribution().mean, NotImplementedError, "mean"),
    (lambda: d.Poisson(1.0).rsample(), NotImplementedError, "rsample"),
    (lambda: d.Distribution.set_default_validate_args(3), ConfigError, "value 3"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_refused(number: int) -> None:
    call, kind, words = WRONG[number]
    with pytest.raises(kind, match=words):
        call()


def test_without_checks() -> None:
    assert math.isnan(d.Normal(0.0, -1.0, validate_args=False).log_prob(tg.tensor(1.0)).item())
    assert d.Exponential(1.0, validate_args=False).log_prob(tg.tensor(-1.0)).item() == 1.0
    d.Distribution.set_default_validate_args(False)
    try:
        d.Normal(0.0, -1.0)
    finally:
        d.Distribution.set_default_validate_args(True)
    with pytest.raises(ConfigError):
        d.Normal(0.0, -1.0)


def test_a_rule_of_ones_own() -> None:
    class Odd(d.Normal):
        pass

    @d.register_kl(Odd, Odd)
    def rule(p: Odd, q: Odd) -> tg.Tensor:
        return tg.tensor(7.0)

    try:
        assert d.kl_divergence(Odd(0.0, 1.0), Odd(0.0, 1.0)).item() == 7.0
        assert d.kl_divergence(Odd(0.0, 1.0), d.Normal(0.0, 1.0)).item() == 0.0
    finally:
        del d.kl.RULES[Odd, Odd]


def test_what_they_look_like() -> None:
    assert repr(d.Normal(0.0, 1.0)) == "Normal(loc: tensor(0.), scale: tensor(1.))"
    assert repr(d.Categorical(tg.ones(2, 3))) == "Categorical(probs: (2, 3))"
    assert "Independent(Normal(" in repr(d.Independent(d.Normal(tg.zeros(2), 1.0), 1))
