"""Distributions of positive numbers with long tails; the formulas are those of Johnson, Kotz, Balakrishnan,
"Continuous univariate distributions".
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from ..tensor import Tensor
from ..tensor.composed.drawing import standard_gamma
from ..tensor.generator import exponential, uniform
from . import constraints
from .continuous import EULER, Cauchy
from .distribution import Distribution, broadcast_all


class HalfCauchy(Distribution):
    """The magnitude of a Cauchy variable around 0; it has neither a finite mean nor a variance.

    >>> import tinygrad_nn as tg
    >>> d = HalfCauchy(tg.tensor(1.0))
    >>> d.log_prob(tg.tensor(0.5)), d.sample((5,)).shape
    (tensor(-0.6747), (5,))
    """

    arg_constraints: ClassVar = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _event_axes: ClassVar = {"scale": 0}

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        (self.scale,) = broadcast_all("HalfCauchy", scale=scale)
        super().__init__(self.scale.shape, (), validate_args)

    @property
    def _whole(self) -> Cauchy:
        return Cauchy(self.scale.detach() * 0, self.scale, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """inf."""
        return self.scale.detach() * 0 + math.inf

    @property
    def mode(self) -> Tensor:
        """0."""
        return self.scale.detach() * 0

    @property
    def variance(self) -> Tensor:
        """inf."""
        return self.scale.detach() * 0 + math.inf

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """By the inverse of cdf."""
        return self.icdf(uniform(self._extended_shape(sample_shape), self.scale.dtype, None))

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the density; -inf below 0."""
        self._validate_sample(value)
        return (self._whole.log_prob(value) + math.log(2)).masked_fill(value < 0, -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        """By the arc tangent."""
        self._validate_sample(value)
        return self._whole.cdf(value) * 2 - 1

    def icdf(self, value: Tensor) -> Tensor:
        """By the tangent."""
        return self._whole.icdf((value + 1) / 2)

    def entropy(self) -> Tensor:
        """log(2 pi scale)."""
        return self.scale.log() + math.log(2 * math.pi)


class Weibull(Distribution):
    """scale * an exponential variable ** (1 / concentration).

    >>> import tinygrad_nn as tg
    >>> d = Weibull(tg.tensor(1.0), tg.tensor(2.0))
    >>> d.log_prob(tg.tensor(0.5)), d.sample((5,)).shape
    (tensor(-0.25), (5,))
    """

    arg_constraints: ClassVar = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive
    has_rsample = True
    _event_axes: ClassVar = {"scale": 0, "concentration": 0}

    def __init__(self, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.scale, self.concentration = broadcast_all("Weibull", scale=scale, concentration=concentration)
        super().__init__(self.scale.shape, (), validate_args)

    def _moment(self, k: int) -> Tensor:
        return (1 + k / self.concentration).lgamma().exp()

    @property
    def mean(self) -> Tensor:
        """scale gamma(1 + 1 / concentration)."""
        return self.scale * self._moment(1)

    @property
    def mode(self) -> Tensor:
        """scale (1 - 1 / concentration) ** (1 / concentration)."""
        return self.scale * ((self.concentration - 1) / self.concentration) ** (1 / self.concentration)

    @property
    def variance(self) -> Tensor:
        """By the first two moments."""
        mean = self._moment(1)
        return self.scale * self.scale * (self._moment(2) - mean * mean)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Of an exponential number."""
        drawn = exponential(self._extended_shape(sample_shape), self.scale.dtype, None)
        return self.scale * drawn ** (1 / self.concentration)

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the density."""
        self._validate_sample(value)
        z, k = value / self.scale, self.concentration
        return k.log() - self.scale.log() + (k - 1) * z.log() - z**k

    def cdf(self, value: Tensor) -> Tensor:
        """1 - exp(-(x / scale) ** concentration)."""
        self._validate_sample(value)
        return -(-((value / self.scale) ** self.concentration)).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of cdf."""
        return self.scale * (-(-value).log1p()) ** (1 / self.concentration)

    def entropy(self) -> Tensor:
        """Euler's constant (1 - 1 / concentration) + log(scale / concentration) + 1."""
        return EULER * (1 - 1 / self.concentration) + (self.scale / self.concentration).log() + 1


class Pareto(Distribution):
    """scale / a uniform variable ** (1 / alpha): at least scale.

    >>> import tinygrad_nn as tg
    >>> d = Pareto(tg.tensor(1.0), tg.tensor(3.0))
    >>> d.log_prob(tg.tensor(2.0)), d.sample((5,)).shape
    (tensor(-1.674), (5,))
    """

    arg_constraints: ClassVar = {"scale": constraints.positive, "alpha": constraints.positive}
    has_rsample = True
    _event_axes: ClassVar = {"scale": 0, "alpha": 0}

    def __init__(self, scale: Any, alpha: Any, validate_args: bool | None = None) -> None:
        self.scale, self.alpha = broadcast_all("Pareto", scale=scale, alpha=alpha)
        super().__init__(self.scale.shape, (), validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """From scale on."""
        return constraints.greater_than_eq(self.scale)

    @property
    def mean(self) -> Tensor:
        """alpha scale / (alpha - 1); inf for alpha up to 1."""
        a = self.alpha.clamp(min=1)
        return a * self.scale / (a - 1)

    @property
    def mode(self) -> Tensor:
        """scale."""
        return self.scale

    @property
    def variance(self) -> Tensor:
        """scale ** 2 alpha / ((alpha - 1) ** 2 (alpha - 2)); inf for alpha up to 2."""
        a = self.alpha.clamp(min=2)
        return self.scale * self.scale * a / ((a - 1) * (a - 1) * (a - 2))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Of an exponential number."""
        drawn = exponential(self._extended_shape(sample_shape), self.scale.dtype, None)
        return self.scale * (drawn / self.alpha).exp()

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the density."""
        self._validate_sample(value)
        return self.alpha.log() + self.alpha * self.scale.log() - (self.alpha + 1) * value.log()

    def cdf(self, value: Tensor) -> Tensor:
        """1 - (scale / x) ** alpha."""
        self._validate_sample(value)
        return 1 - (self.scale / value) ** self.alpha

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of cdf."""
        return self.scale * (1 - value) ** (-1 / self.alpha)

    def entropy(self) -> Tensor:
        """log(scale / alpha) + 1 / alpha + 1."""
        return (self.scale / self.alpha).log() + (1 / self.alpha + 1)


class InverseGamma(Distribution):
    """1 / a gamma variable of this concentration and rate.

    >>> import tinygrad_nn as tg
    >>> d = InverseGamma(tg.tensor(3.0), tg.tensor(1.0))
    >>> d.log_prob(tg.tensor(0.5)), d.sample((5,)).shape
    (tensor(0.0794), (5,))
    """

    arg_constraints: ClassVar = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.positive
    has_rsample = True
    _event_axes: ClassVar = {"concentration": 0, "rate": 0}

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all("InverseGamma", concentration=concentration, rate=rate)
        super().__init__(self.rate.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """rate / (concentration - 1); inf for concentrations up to 1."""
        found = self.rate / (self.concentration - 1)
        return found.masked_fill(self.concentration <= 1, math.inf)

    @property
    def mode(self) -> Tensor:
        """rate / (concentration + 1)."""
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> Tensor:
        """mean ** 2 / (concentration - 2); inf for concentrations up to 2."""
        below, mean = self.concentration - 2, self.rate / (self.concentration - 1)
        return (mean * mean / below).masked_fill(self.concentration <= 2, math.inf)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """rate / a standard gamma number."""
        return self.rate / standard_gamma(self.concentration.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the density."""
        self._validate_sample(value)
        a, b = self.concentration, self.rate
        return a * b.log() - (a + 1) * value.log() - b / value - a.lgamma()

    def cdf(self, value: Tensor) -> Tensor:
        """By the incomplete gamma function."""
        self._validate_sample(value)
        return self.concentration.igammac(self.rate / value)

    def entropy(self) -> Tensor:
        """By lgamma and digamma."""
        a = self.concentration
        return a + self.rate.log() + a.lgamma() - (1 + a) * a.digamma()
