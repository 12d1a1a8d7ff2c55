"""Distributions of counts and classes. Those of chances take `probs` or `logits`, one of the two."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import numpy as np

from ..errors import ConfigError, ShapeError, message
from ..ops.rules import INT64
from ..support.settings import integer
from ..tensor import Tensor, no_grad
from ..tensor.composed import drawing
from ..tensor.generator import exponential
from . import constraints
from .distribution import Distribution, broadcast_all, clamp_probs


class _Chances(Distribution):
    """Probabilities or log odds, as they were given; each as a function of the other."""

    arg_constraints: ClassVar = {"_probs": constraints.unit_interval, "_logits": constraints.real}
    _probs: Tensor | None
    _logits: Tensor | None

    def _take(self, probs: Any, logits: Any) -> None:
        if (probs is None) == (logits is None):
            got = "neither probs nor logits" if probs is None else "probs and logits"
            raise ConfigError(message(type(self).__name__, got, "one of the two"))
        self._probs = None if probs is None else broadcast_all(type(self).__name__, probs=probs)[0]
        self._logits = None if logits is None else broadcast_all(type(self).__name__, logits=logits)[0]

    @property
    def _param(self) -> Tensor:
        return self._logits if self._probs is None else self._probs  # type: ignore[return-value]

    @property
    def param_shape(self) -> tuple[int, ...]:
        """The shape of the parameter."""
        return self._param.shape

    @property
    def probs(self) -> Tensor:
        """Probabilities."""
        return self._logits.sigmoid() if self._probs is None else self._probs  # type: ignore[union-attr]

    @property
    def logits(self) -> Tensor:
        """Log odds; of probabilities 0 and 1 finite ones."""
        if self._probs is None:
            return self._logits  # type: ignore[return-value]
        clamped = clamp_probs(self._probs)
        return clamped.log() - (-clamped).log1p()

    def _expanded(self, batch_shape: Any, axes: tuple[int, ...] = ()) -> Self:
        new = super().expand(batch_shape)
        shape = (*new._batch_shape, *axes)
        new._probs = None if self._probs is None else self._probs.expand(shape)
        new._logits = None if self._logits is None else self._logits.expand(shape)
        return new

    def expand(self, batch_shape: Any) -> Self:
        """The same with another batch shape."""
        return self._expanded(batch_shape)

    def __repr__(self) -> str:
        name = "logits" if self._probs is None else "probs"
        value = self._param if self._param.numel() == 1 else self._param.shape
        return f"{type(self).__name__}({name}: {value})"


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """-target log(p) - (1 - target) log(1 - p), of log odds."""
    return logits.logaddexp(logits * 0) - logits * target


class Bernoulli(_Chances):
    """1 with a probability, else 0.

    >>> import tinygrad_nn as tg
    >>> Bernoulli(tg.tensor([0.25])).log_prob(tg.tensor([1.0])).exp()
    tensor([0.25])
    """

    support = constraints.boolean
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._take(probs, logits)
        super().__init__(self._param.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """probs."""
        return self.probs

    @property
    def mode(self) -> Tensor:
        """1 where that is the likelier, NaN where both are alike."""
        p = self.probs.detach()
        return (p >= 0.5).to(p.dtype).masked_fill(p == 0.5, math.nan)

    @property
    def variance(self) -> Tensor:
        """probs (1 - probs)."""
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Zeros and ones."""
        with no_grad():
            return drawing.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the probability."""
        self._validate_sample(value)
        return -_cross_entropy(self.logits, value)

    def entropy(self) -> Tensor:
        """Of the two."""
        return _cross_entropy(self.logits, self.probs)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """0 and 1."""
        return _counted(self, 2, expand).to(self._param.dtype)


class Geometric(_Chances):
    """The failures before the first success: (1 - probs) ** k probs.

    >>> import tinygrad_nn as tg
    >>> d = Geometric(probs=tg.tensor(0.25))
    >>> d.log_prob(tg.tensor(2.0)), d.sample((5,)).shape
    (tensor(-1.9617), (5,))
    """

    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._take(probs, logits)
        super().__init__(self._param.shape, (), validate_args)
        if self._validate_args and self._probs is not None:
            self._check("probs", constraints.positive, self._probs)

    @property
    def mean(self) -> Tensor:
        """1 / probs - 1."""
        return 1 / self.probs - 1

    @property
    def mode(self) -> Tensor:
        """0."""
        return self.probs.detach() * 0

    @property
    def variance(self) -> Tensor:
        """(1 / probs - 1) / probs."""
        return (1 / self.probs - 1) / self.probs

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """The whole part of an exponential number."""
        with no_grad():
            p = clamp_probs(self.probs)
            return (exponential(self._extended_shape(sample_shape), p.dtype, None) / -(-p).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the probability."""
        self._validate_sample(value)
        p = self.probs
        failure = (-p).masked_fill((p == 1) & (value == 0), 0)
        return value * failure.log1p() + p.log()

    def entropy(self) -> Tensor:
        """That of a trial times the trials."""
        return _cross_entropy(self.logits, self.probs) / self.probs


class _Counted(_Chances):
    """Chances of trials beside a count."""

    total_count: Tensor

    def _begin(
        self, total_count: Any, probs: Any, logits: Any, counts: constraints.Constraint, validate_args: bool | None
    ) -> None:
        """Take what was given, in one shape; each count is one of `counts`."""
        self._take(probs, logits)
        count, param = broadcast_all(type(self).__name__, total_count=total_count, parameter=self._param)
        self.total_count = count.to(param.dtype)
        if self._probs is None:
            self._logits = param
        else:
            self._probs = param
        super().__init__(param.shape, (), validate_args)
        if self._validate_args:
            self._check("total_count", counts, self.total_count)

    def expand(self, batch_shape: Any) -> Self:
        """The same with another batch shape."""
        new = super().expand(batch_shape)
        new.total_count = self.total_count.expand(new._batch_shape)
        return new


class Binomial(_Counted):
    """The successes among total_count trials.

    >>> import tinygrad_nn as tg
    >>> d = Binomial(10, probs=tg.tensor(0.5))
    >>> d.log_prob(tg.tensor(5.0)), d.sample((5,)).shape
    (tensor(-1.402), (5,))
    """

    has_enumerate_support = True

    def __init__(
        self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self._begin(total_count, probs, logits, constraints.nonnegative_integer, validate_args)
        self.total_count = self.total_count.detach()

    @property
    def support(self) -> constraints.Constraint:
        """From 0 to total_count."""
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        """total_count probs."""
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        """The whole part of (total_count + 1) probs, at most total_count."""
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self) -> Tensor:
        """total_count probs (1 - probs)."""
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Trials, counted."""
        with no_grad():
            most = int(self.total_count.max()) if self.total_count.numel() else 0
            shape = self._extended_shape(sample_shape)
            trials = drawing.bernoulli(self.probs.unsqueeze(-1).expand((*shape, most)))
            wanted = trials.new_arange(most).to(trials.dtype) < self.total_count.unsqueeze(-1)
            return (trials * wanted.to(trials.dtype)).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the probability."""
        self._validate_sample(value)
        n, x = self.total_count, self.logits
        ways = (n + 1).lgamma() - (value + 1).lgamma() - (n - value + 1).lgamma()
        return ways + value * x - n * x.logaddexp(x * 0)

    def entropy(self) -> Tensor:
        """Summed over the support; raises NotImplementedError for several total_counts."""
        values = self.enumerate_support(expand=False)
        found = self.log_prob(values)
        return -(found.exp() * found).sum(0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """0 to total_count, where there is one for all."""
        counts = np.unique(self.total_count.numpy())
        if len(counts) != 1:
            raise NotImplementedError(message("Binomial", f"total_counts {counts[:6]}", "one for all"))
        return _counted(self, int(counts[0]) + 1, expand).to(self._param.dtype)


class NegativeBinomial(_Counted):
    """The successes before total_count failures.

    >>> import tinygrad_nn as tg
    >>> d = NegativeBinomial(tg.tensor(3.0), probs=tg.tensor(0.5))
    >>> d.log_prob(tg.tensor(2.0)), d.sample((5,)).shape
    (tensor(-1.674), (5,))
    """

    support = constraints.nonnegative_integer

    def __init__(
        self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self._begin(total_count, probs, logits, constraints.nonnegative, validate_args)

    @property
    def mean(self) -> Tensor:
        """total_count times the odds."""
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Tensor:
        """The whole part of (total_count - 1) times the odds, at least 0."""
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0)

    @property
    def variance(self) -> Tensor:
        """mean / (1 - probs)."""
        return self.mean / (-self.logits).sigmoid()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """A Poisson number of a gamma number."""
        with no_grad():
            rate = drawing.standard_gamma(self.total_count.expand(self._extended_shape(sample_shape)))
            return drawing.poisson(rate * self.logits.exp())

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the probability."""
        self._validate_sample(value)
        n, x = self.total_count, self.logits
        found = -n * x.logaddexp(x * 0) - value * (-x).logaddexp(x * 0)
        ways = (n + value).lgamma() - (value + 1).lgamma() - n.lgamma()
        return found + ways.masked_fill((n + value).eq(0), 0)


class Poisson(Distribution):
    """Counts of mean `rate`.

    >>> import tinygrad_nn as tg
    >>> d = Poisson(tg.tensor(2.0))
    >>> d.log_prob(tg.tensor(3.0)), d.sample((5,)).shape
    (tensor(-1.7123), (5,))
    """

    arg_constraints: ClassVar = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer
    _event_axes: ClassVar = {"rate": 0}

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all("Poisson", rate=rate)
        super().__init__(self.rate.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """rate."""
        return self.rate

    @property
    def mode(self) -> Tensor:
        """The whole part of rate."""
        return self.rate.floor()

    @property
    def variance(self) -> Tensor:
        """rate."""
        return self.rate

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Counts."""
        with no_grad():
            return drawing.poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the probability."""
        self._validate_sample(value)
        return value.xlogy(self.rate) - self.rate - (value + 1).lgamma()


class _Classes(_Chances):
    """Probabilities or logits along the last axis, normalised."""

    arg_constraints: ClassVar = {"_probs": constraints.simplex, "_logits": constraints.real_vector}

    def _take(self, probs: Any, logits: Any) -> None:
        name = type(self).__name__
        super()._take(probs, logits)
        if self._param.ndim < 1:
            raise ShapeError(message(name, "chances of no axis", "one axis or more"))
        if self._probs is not None:
            if not self._probs.is_traced and not bool((self._probs >= 0).all()):
                raise ConfigError(message(name, "probs below 0 or NaN", constraints.simplex.words))
            self._probs = self._probs / self._probs.sum(-1, keepdim=True)
        else:
            self._logits = self._param - self._param.logsumexp(-1, keepdim=True)

    def expand(self, batch_shape: Any) -> Self:
        """The same with another batch shape."""
        return self._expanded(batch_shape, self._param.shape[-1:])

    @property
    def probs(self) -> Tensor:
        """Probabilities."""
        return self._logits.softmax(-1) if self._probs is None else self._probs  # type: ignore[union-attr]

    @property
    def logits(self) -> Tensor:
        """Their logarithms; of a probability of 0 a finite one."""
        return self._logits if self._probs is None else clamp_probs(self._probs).log()  # type: ignore[return-value]

    def _drawn(self, sample_shape: Any, count: int = 1) -> Tensor:
        """Classes, `count` of them along a last axis."""
        with no_grad():
            sizes = (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
            rows = self.probs.reshape((-1, self._param.shape[-1]))
            samples = math.prod(sizes) * count
            if samples == 0 or rows.shape[0] == 0:
                return rows.new_zeros((*sizes, *self._batch_shape, count)).to(INT64)
            drawn = drawing.multinomial(rows, samples, True).reshape((rows.shape[0], math.prod(sizes), count))
            return drawn.permute((1, 0, 2)).reshape((*sizes, *self._batch_shape, count))

    def entropy(self) -> Tensor:
        """-sum p log(p)."""
        logits = self.logits.clamp(min=float(np.finfo(self._param.dtype).min))
        return -(logits * self.probs).sum(-1)


class Categorical(_Classes):
    """One of several classes, as its number.

    >>> import tinygrad_nn as tg
    >>> tails = Categorical(probs=tg.tensor([1.0, 3.0]))
    >>> tails.log_prob(tg.tensor(1)).exp()
    tensor(0.75)
    """

    has_enumerate_support = True

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        self._take(probs, logits)
        super().__init__(self._param.shape[:-1], (), validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """The numbers of the classes."""
        return constraints.integer_interval(0, self._param.shape[-1] - 1)

    @property
    def mean(self) -> Tensor:
        """NaN."""
        return self._param.detach().sum(-1) * math.nan

    @property
    def mode(self) -> Tensor:
        """The likeliest class."""
        return self.probs.argmax(-1)

    @property
    def variance(self) -> Tensor:
        """NaN."""
        return self._param.detach().sum(-1) * math.nan

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Numbers of classes."""
        return self._drawn(sample_shape).squeeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the probability."""
        self._validate_sample(value)
        logits = self.logits
        shape = np.broadcast_shapes(value.shape, logits.shape[:-1])
        index = value.to(INT64).expand(shape).unsqueeze(-1)
        return logits.expand((*shape, logits.shape[-1])).gather(-1, index).squeeze(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """0, 1, ..."""
        return _counted(self, self._param.shape[-1], expand)


class OneHotCategorical(_Classes):
    """One of several classes, as a vector with a 1 in its place.

    >>> import tinygrad_nn as tg
    >>> d = OneHotCategorical(probs=tg.tensor([0.5, 0.5]))
    >>> d.log_prob(tg.tensor([1.0, 0.0])), d.sample().sum()
    (tensor(-0.6931), tensor(1.))
    """

    support = constraints.one_hot
    has_enumerate_support = True

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        self._take(probs, logits)
        super().__init__(self._param.shape[:-1], self._param.shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        """probs."""
        return self.probs

    @property
    def mode(self) -> Tensor:
        """The likeliest class."""
        return _one_hot(self.probs.argmax(-1), self._param)

    @property
    def variance(self) -> Tensor:
        """probs (1 - probs)."""
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Vectors with a single 1."""
        return _one_hot(self._drawn(sample_shape).squeeze(-1), self._param)

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the probability."""
        self._validate_sample(value)
        logits = self.logits
        shape = np.broadcast_shapes(value.shape, logits.shape)
        index = value.expand(shape).argmax(-1, keepdim=True)
        return logits.expand(shape).gather(-1, index).squeeze(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """The rows of the unit matrix."""
        classes = self._param.shape[-1]
        places = self._param.new_arange(classes).reshape((classes, *([1] * len(self._batch_shape))))
        return _one_hot(places.expand((classes, *self._batch_shape)) if expand else places, self._param)


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """The same, whose samples have the gradient of the probabilities: Bengio et al., arXiv:1308.3432.

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([0.5, 0.5], requires_grad=True)
    >>> OneHotCategoricalStraightThrough(probs=p).rsample().requires_grad
    True
    """

    has_rsample = True

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Vectors with a single 1."""
        chances = self.probs
        return self.sample(sample_shape) + (chances - chances.detach())


class Multinomial(_Classes):
    """How often each class comes among total_count draws.

    >>> import tinygrad_nn as tg
    >>> d = Multinomial(10, probs=tg.tensor([0.5, 0.3, 0.2]))
    >>> d.mean, d.sample().sum()
    (tensor([5., 3., 2.]), tensor(10.))
    """

    def __init__(
        self,
        total_count: int = 1,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.total_count = integer("Multinomial", "total_count", total_count, least=0)
        self._take(probs, logits)
        super().__init__(self._param.shape[:-1], self._param.shape[-1:], validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """Counts that sum to total_count."""
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Tensor:
        """total_count probs."""
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        """total_count probs (1 - probs)."""
        return self.probs * (1 - self.probs) * self.total_count

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws, counted."""
        return _one_hot(self._drawn(sample_shape, self.total_count), self._param).sum(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the probability."""
        self._validate_sample(value)
        logits = self.logits.masked_fill((value == 0) & (self.logits == -math.inf), 0)
        ways = (value.sum(-1) + 1).lgamma() - (value + 1).lgamma().sum(-1)
        return ways + (logits * value).sum(-1)

    def entropy(self) -> Tensor:
        """From the counts of one class by itself, which are binomial."""
        counts = self._param.new_arange(self.total_count + 1).to(self._param.dtype)[1:]
        own = Binomial(self.total_count, self.probs.unsqueeze(-1), validate_args=False)
        spread = own.log_prob(counts).exp() * (counts + 1).lgamma()
        return super().entropy() * self.total_count - math.lgamma(self.total_count + 1) + spread.sum(-1).sum(-1)


def _one_hot(places: Tensor, like: Tensor) -> Tensor:
    return (places.unsqueeze(-1) == like.new_arange(like.shape[-1])).to(like.dtype)


def _counted(distribution: _Chances, count: int, expand: bool) -> Tensor:
    """0, 1, ... along a first axis before those of the batch."""
    batch = distribution.batch_shape
    values = distribution._param.new_arange(count).reshape((count, *([1] * len(batch))))
    return values.expand((count, *batch)) if expand else values
