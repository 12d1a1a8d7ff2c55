"""Distributions of real numbers; the formulas are those of Johnson, Kotz, Balakrishnan, "Continuous univariate
distributions".
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from ..errors import ShapeError, message
from ..tensor import Tensor
from ..tensor.composed.drawing import standard_gamma
from ..tensor.generator import exponential, normal, uniform
from ..tensor.joining import stack
from . import constraints
from .distribution import HALF_LOG_TWO_PI, Distribution, broadcast_all

EULER = 0.57721566490153286060


class LocationScale(Distribution):
    """What is a standard variable times `scale` plus `loc`."""

    arg_constraints: ClassVar = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    _event_axes: ClassVar = {"loc": 0, "scale": 0}

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(type(self).__name__, loc=loc, scale=scale)
        super().__init__(self.loc.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """loc, where there is a mean."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """loc."""
        return self.loc

    def _standard(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return (value - self.loc) / self.scale


class Normal(LocationScale):
    """The normal distribution.

    >>> import tinygrad_nn as tg
    >>> Normal(tg.tensor(0.0), 1.0).log_prob(tg.tensor(1.0))
    tensor(-1.4189)
    """

    @property
    def stddev(self) -> Tensor:
        """scale."""
        return self.scale

    @property
    def variance(self) -> Tensor:
        """scale ** 2."""
        return self.scale * self.scale

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """loc + scale * a standard normal number."""
        drawn = normal(self._extended_shape(sample_shape), self.loc.dtype, None)
        return self.loc + drawn * self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the density."""
        z = self._standard(value)
        return z * z * -0.5 - self.scale.log() - HALF_LOG_TWO_PI

    def cdf(self, value: Tensor) -> Tensor:
        """By the error function."""
        return ((self._standard(value) * math.sqrt(0.5)).erf() + 1) * 0.5

    def icdf(self, value: Tensor) -> Tensor:
        """By its inverse."""
        return self.loc + self.scale * (value * 2 - 1).erfinv() * math.sqrt(2)

    def entropy(self) -> Tensor:
        """1 / 2 + log(scale root(2 pi))."""
        return self.scale.log() + (0.5 + HALF_LOG_TWO_PI)


class Laplace(LocationScale):
    """exp(-|x - loc| / scale) / (2 scale).

    >>> import tinygrad_nn as tg
    >>> d = Laplace(tg.tensor(0.0), tg.tensor(1.0))
    >>> d.log_prob(tg.tensor(0.5)), d.sample((5,)).shape
    (tensor(-1.1931), (5,))
    """

    @property
    def variance(self) -> Tensor:
        """2 scale ** 2."""
        return self.scale * self.scale * 2

    @property
    def stddev(self) -> Tensor:
        """root(2) scale."""
        return self.scale * math.sqrt(2)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """The difference of two exponential numbers."""
        shape = self._extended_shape(sample_shape)
        pair = exponential((2, *shape), self.loc.dtype, None)
        return self.loc + self.scale * (pair.select(0, 0) - pair.select(0, 1))

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the density."""
        return -self._standard(value).abs() - (self.scale * 2).log()

    def cdf(self, value: Tensor) -> Tensor:
        """1 / 2 at loc."""
        z = self._standard(value)
        return 0.5 - z.sign() * (-z.abs()).expm1() * 0.5

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of cdf."""
        term = value - 0.5
        return self.loc - self.scale * term.sign() * (term.abs() * -2).log1p()

    def entropy(self) -> Tensor:
        """1 + log(2 scale)."""
        return (self.scale * 2).log() + 1


class Cauchy(LocationScale):
    """1 / (pi scale (1 + z ** 2)); it has neither mean nor variance.

    >>> import tinygrad_nn as tg
    >>> d = Cauchy(tg.tensor(0.0), tg.tensor(1.0))
    >>> d.log_prob(tg.tensor(0.0)), d.sample((5,)).shape
    (tensor(-1.1447), (5,))
    """

    @property
    def mean(self) -> Tensor:
        """NaN."""
        return self.loc.detach() * math.nan

    @property
    def variance(self) -> Tensor:
        """inf."""
        return (self.loc.detach() * 0).masked_fill(self.loc == self.loc, math.inf)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """By the inverse of cdf."""
        u = uniform(self._extended_shape(sample_shape), self.loc.dtype, None)
        return self.loc + ((u - 0.5) * math.pi).tan() * self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the density."""
        z = self._standard(value)
        return -math.log(math.pi) - self.scale.log() - (z * z).log1p()

    def cdf(self, value: Tensor) -> Tensor:
        """By the arc tangent."""
        return self._standard(value).atan() * (1 / math.pi) + 0.5

    def icdf(self, value: Tensor) -> Tensor:
        """By the tangent."""
        return ((value - 0.5) * math.pi).tan() * self.scale + self.loc

    def entropy(self) -> Tensor:
        """log(4 pi scale)."""
        return self.scale.log() + math.log(4 * math.pi)


class Gumbel(LocationScale):
    """The limit of the largest of many: cdf exp(-exp(-z)).

    >>> import tinygrad_nn as tg
    >>> d = Gumbel(tg.tensor(0.0), tg.tensor(1.0))
    >>> d.log_prob(tg.tensor(0.0)), d.sample((5,)).shape
    (tensor(-1.), (5,))
    """

    @property
    def mean(self) -> Tensor:
        """loc + scale * Euler's constant."""
        return self.loc + self.scale * EULER

    @property
    def variance(self) -> Tensor:
        """pi ** 2 / 6 scale ** 2."""
        return self.scale * self.scale * (math.pi**2 / 6)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """-log of an exponential number."""
        drawn = exponential(self._extended_shape(sample_shape), self.loc.dtype, None)
        return self.loc - self.scale * drawn.log()

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the density."""
        y = -self._standard(value)
        return y - y.exp() - self.scale.log()

    def cdf(self, value: Tensor) -> Tensor:
        """exp(-exp(-z))."""
        return (-(-self._standard(value)).exp()).exp()

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of cdf."""
        return self.loc - self.scale * (-value.log()).log()

    def entropy(self) -> Tensor:
        """log(scale) + 1 + Euler's constant."""
        return self.scale.log() + (1 + EULER)


class Uniform(Distribution):
    """The same density everywhere from `low` to `high`.

    >>> import tinygrad_nn as tg
    >>> d = Uniform(tg.tensor(0.0), tg.tensor(4.0))
    >>> d.log_prob(tg.tensor(1.0)), d.sample((5,)).shape
    (tensor(-1.3863), (5,))
    """

    arg_constraints: ClassVar = {"low": constraints.real, "high": constraints.real}
    has_rsample = True
    _event_axes: ClassVar = {"low": 0, "high": 0}

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = broadcast_all("Uniform", low=low, high=high)
        super().__init__(self.low.shape, (), validate_args)
        if self._validate_args:
            self._check("high - low", constraints.positive, self.high - self.low)

    @property
    def support(self) -> constraints.Constraint:
        """From low to high."""
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        """The middle."""
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Tensor:
        """NaN: there is none."""
        return self.high.detach() * math.nan

    @property
    def stddev(self) -> Tensor:
        """The width / root(12)."""
        return (self.high - self.low) / math.sqrt(12)

    @property
    def variance(self) -> Tensor:
        """The width ** 2 / 12."""
        width = self.high - self.low
        return width * width / 12

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """low + (high - low) * a number of [0, 1)."""
        drawn = uniform(self._extended_shape(sample_shape), self.low.dtype, None)
        return self.low + drawn * (self.high - self.low)

    def log_prob(self, value: Tensor) -> Tensor:
        """-log(high - low) inside, -inf outside."""
        self._validate_sample(value)
        inside = (self.low <= value) & (self.high > value)
        return inside.to(self.low.dtype).log() - (self.high - self.low).log()

    def cdf(self, value: Tensor) -> Tensor:
        """The part of the interval below."""
        self._validate_sample(value)
        return ((value - self.low) / (self.high - self.low)).clamp(0, 1)

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of cdf."""
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Tensor:
        """log(high - low)."""
        return (self.high - self.low).log()


class Exponential(Distribution):
    """rate * exp(-rate * x).

    >>> import tinygrad_nn as tg
    >>> d = Exponential(tg.tensor(2.0))
    >>> d.log_prob(tg.tensor(1.0)), d.sample((5,)).shape
    (tensor(-1.3069), (5,))
    """

    arg_constraints: ClassVar = {"rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _event_axes: ClassVar = {"rate": 0}

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all("Exponential", rate=rate)
        super().__init__(self.rate.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """1 / rate."""
        return 1 / self.rate

    @property
    def mode(self) -> Tensor:
        """0."""
        return self.rate.detach() * 0

    @property
    def stddev(self) -> Tensor:
        """1 / rate."""
        return 1 / self.rate

    @property
    def variance(self) -> Tensor:
        """1 / rate ** 2."""
        return 1 / (self.rate * self.rate)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """A standard exponential number / rate."""
        return exponential(self._extended_shape(sample_shape), self.rate.dtype, None) / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the density."""
        self._validate_sample(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: Tensor) -> Tensor:
        """1 - exp(-rate x)."""
        self._validate_sample(value)
        return 1 - (-self.rate * value).exp()

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of cdf."""
        return -(-value).log1p() / self.rate

    def entropy(self) -> Tensor:
        """1 - log(rate)."""
        return 1 - self.rate.log()


class HalfNormal(Distribution):
    """The magnitude of a normal variable of mean 0.

    >>> import tinygrad_nn as tg
    >>> d = HalfNormal(tg.tensor(1.0))
    >>> d.log_prob(tg.tensor(0.5)), d.sample((5,)).shape
    (tensor(-0.3508), (5,))
    """

    arg_constraints: ClassVar = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _event_axes: ClassVar = {"scale": 0}

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        (self.scale,) = broadcast_all("HalfNormal", scale=scale)
        super().__init__(self.scale.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """scale root(2 / pi)."""
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def mode(self) -> Tensor:
        """0."""
        return self.scale.detach() * 0

    @property
    def variance(self) -> Tensor:
        """scale ** 2 (1 - 2 / pi)."""
        return self.scale * self.scale * (1 - 2 / math.pi)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """|scale * a standard normal number|."""
        return (normal(self._extended_shape(sample_shape), self.scale.dtype, None) * self.scale).abs()

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the density; -inf below 0."""
        self._validate_sample(value)
        z = value / self.scale
        found = z * z * -0.5 - self.scale.log() + (math.log(2) - HALF_LOG_TWO_PI)
        return found.masked_fill(value < 0, -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        """By the error function."""
        self._validate_sample(value)
        return (value / self.scale * math.sqrt(0.5)).erf()

    def icdf(self, value: Tensor) -> Tensor:
        """By its inverse."""
        return self.scale * value.erfinv() * math.sqrt(2)

    def entropy(self) -> Tensor:
        """That of the normal distribution less log(2)."""
        return self.scale.log() + (0.5 + HALF_LOG_TWO_PI - math.log(2))


class Gamma(Distribution):
    """x ** (concentration - 1) exp(-rate x), normalised.

    >>> import tinygrad_nn as tg
    >>> d = Gamma(tg.tensor(2.0), tg.tensor(1.0))
    >>> d.log_prob(tg.tensor(1.0)), d.sample((5,)).shape
    (tensor(-1.), (5,))
    """

    arg_constraints: ClassVar = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _event_axes: ClassVar = {"concentration": 0, "rate": 0}

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(type(self).__name__, concentration=concentration, rate=rate)
        super().__init__(self.concentration.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """concentration / rate."""
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        """(concentration - 1) / rate, at least 0."""
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        """concentration / rate ** 2."""
        return self.concentration / (self.rate * self.rate)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """A standard gamma number / rate."""
        return standard_gamma(self.concentration.expand(self._extended_shape(sample_shape))) / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the density."""
        self._validate_sample(value)
        a, b = self.concentration, self.rate
        return a.xlogy(b) + (a - 1).xlogy(value) - b * value - a.lgamma()

    def cdf(self, value: Tensor) -> Tensor:
        """By the incomplete gamma function."""
        self._validate_sample(value)
        return self.concentration.igamma(self.rate * value)

    def entropy(self) -> Tensor:
        """By lgamma and digamma."""
        a = self.concentration
        return a - self.rate.log() + a.lgamma() + (1 - a) * a.digamma()


class Chi2(Gamma):
    """The sum of the squares of df standard normal variables.

    >>> import tinygrad_nn as tg
    >>> d = Chi2(tg.tensor(3.0))
    >>> d.log_prob(tg.tensor(2.0)), d.sample((5,)).shape
    (tensor(-1.5724), (5,))
    """

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        (degrees,) = broadcast_all("Chi2", df=df)
        if self._validate_args if validate_args is None else validate_args:
            self._check("df", constraints.positive, degrees)
        super().__init__(degrees * 0.5, 0.5, validate_args)

    @property
    def df(self) -> Tensor:
        """The degrees of freedom."""
        return self.concentration * 2


class Dirichlet(Distribution):
    """Numbers that sum to 1, the product of x ** (concentration - 1).

    >>> import tinygrad_nn as tg
    >>> d = Dirichlet(tg.tensor([1.0, 2.0, 3.0]))
    >>> d.mean, d.sample((5,)).sum(1).round(decimals=4)
    (tensor([0.1667, 0.3333, 0.5000]), tensor([1., 1., 1., 1., 1.]))
    """

    arg_constraints: ClassVar = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True
    _event_axes: ClassVar = {"concentration": 1}

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        (self.concentration,) = broadcast_all("Dirichlet", concentration=concentration)
        _check_axis("Dirichlet", "concentration", self.concentration)
        shape = self.concentration.shape
        super().__init__(shape[:-1], shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        """The share of the concentrations."""
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @property
    def mode(self) -> Tensor:
        """The share of concentration - 1 where that is above 0; the largest alone where all are below 1."""
        a = self.concentration
        above = (a - 1).clamp(min=0)
        largest = (a.argmax(-1, keepdim=True) == a.new_arange(a.shape[-1])).to(a.dtype)
        return largest.where((a < 1).all(-1, keepdim=True), above / above.sum(-1, keepdim=True))

    @property
    def variance(self) -> Tensor:
        """mean (1 - mean) / (total + 1)."""
        total = self.concentration.sum(-1, keepdim=True)
        return self.concentration * (total - self.concentration) / (total * total * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Gamma numbers, divided by their sum."""
        drawn = standard_gamma(self.concentration.expand(self._extended_shape(sample_shape)))
        return drawn / drawn.sum(-1, keepdim=True)

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the density."""
        self._validate_sample(value)
        a = self.concentration
        return (a - 1).xlogy(value).sum(-1) + a.sum(-1).lgamma() - a.lgamma().sum(-1)

    def entropy(self) -> Tensor:
        """By lgamma and digamma."""
        a = self.concentration
        k, total = a.shape[-1], a.sum(-1)
        return a.lgamma().sum(-1) - total.lgamma() - (k - total) * total.digamma() - ((a - 1) * a.digamma()).sum(-1)


class Beta(Distribution):
    """x ** (concentration1 - 1) (1 - x) ** (concentration0 - 1), normalised.

    >>> import tinygrad_nn as tg
    >>> d = Beta(tg.tensor(2.0), tg.tensor(3.0))
    >>> d.log_prob(tg.tensor(0.5)), d.sample((5,)).shape
    (tensor(0.4055), (5,))
    """

    arg_constraints: ClassVar = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True
    _event_axes: ClassVar = {"concentration1": 0, "concentration0": 0}

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        self.concentration1, self.concentration0 = broadcast_all(
            "Beta", concentration1=concentration1, concentration0=concentration0
        )
        super().__init__(self.concentration1.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """The share of concentration1."""
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        """(concentration1 - 1) / (total - 2) where both are above 1; as of a Dirichlet distribution elsewhere."""
        both = stack([self.concentration1, self.concentration0], -1)
        return Dirichlet(both, validate_args=False).mode.select(-1, 0)

    @property
    def variance(self) -> Tensor:
        """mean (1 - mean) / (total + 1)."""
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total * total * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """The share of the first of two gamma numbers."""
        shape = self._extended_shape(sample_shape)
        first = standard_gamma(self.concentration1.expand(shape))
        return first / (first + standard_gamma(self.concentration0.expand(shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the density."""
        self._validate_sample(value)
        a, b = self.concentration1, self.concentration0
        powers = (a - 1).xlogy(value) + (b - 1).xlogy(1 - value)
        return powers + (a + b).lgamma() - a.lgamma() - b.lgamma()

    def entropy(self) -> Tensor:
        """By lgamma and digamma."""
        a, b = self.concentration1, self.concentration0
        total = a + b
        norm = a.lgamma() + b.lgamma() - total.lgamma()
        return norm - (a - 1) * a.digamma() - (b - 1) * b.digamma() + (total - 2) * total.digamma()


class StudentT(Distribution):
    """Student's distribution of df degrees of freedom, moved and scaled.

    >>> import tinygrad_nn as tg
    >>> d = StudentT(tg.tensor(3.0))
    >>> d.log_prob(tg.tensor(0.5)), d.sample((5,)).shape
    (tensor(-1.161), (5,))
    """

    arg_constraints: ClassVar = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    _event_axes: ClassVar = {"df": 0, "loc": 0, "scale": 0}

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None) -> None:
        self.df, self.loc, self.scale = broadcast_all("StudentT", df=df, loc=loc, scale=scale)
        super().__init__(self.df.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """loc, NaN for df up to 1."""
        return self.loc.masked_fill(self.df <= 1, math.nan)

    @property
    def mode(self) -> Tensor:
        """loc."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """scale ** 2 df / (df - 2); inf for df up to 2, NaN up to 1."""
        found = self.scale * self.scale * self.df / (self.df - 2)
        return found.masked_fill(self.df <= 2, math.inf).masked_fill(self.df <= 1, math.nan)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """A normal number / the root of a chi2 one / df."""
        shape = self._extended_shape(sample_shape)
        chi2 = standard_gamma((self.df * 0.5).expand(shape)) * 2
        return self.loc + self.scale * normal(shape, self.df.dtype, None) * (self.df / chi2).sqrt()

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the density."""
        self._validate_sample(value)
        y = (value - self.loc) / self.scale
        half = (self.df + 1) * 0.5
        norm = self.scale.log() + self.df.log() * 0.5 + 0.5 * math.log(math.pi)
        norm = norm + (self.df * 0.5).lgamma() - half.lgamma()
        return -half * (y * y / self.df).log1p() - norm

    def entropy(self) -> Tensor:
        """By lgamma and digamma."""
        half, whole = self.df * 0.5, (self.df + 1) * 0.5
        beta = half.lgamma() + math.lgamma(0.5) - whole.lgamma()
        return self.scale.log() + whole * (whole.digamma() - half.digamma()) + self.df.log() * 0.5 + beta


def _check_axis(owner: str, name: str, value: Tensor) -> None:
    if value.ndim < 1:
        raise ShapeError(message(owner, f"{name} of no axis", "one axis or more"))
