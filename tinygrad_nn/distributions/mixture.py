"""Mixtures: one of several distributions, drawn by a Categorical."""

from __future__ import annotations

from typing import Any, Self

from ..errors import ConfigError, DTypeError, ShapeError, message
from ..tensor import Tensor
from . import constraints
from .discrete import Categorical
from .distribution import Distribution


class MixtureSameFamily(Distribution):
    """A mixture of distributions that are one batch, along the last axis of the batch.

    >>> import tinygrad_nn as tg
    >>> from tinygrad_nn.distributions import Normal
    >>> halves = MixtureSameFamily(Categorical(tg.ones(2)), Normal(tg.tensor([-1.0, 3.0]), tg.ones(2)))
    >>> halves.mean, halves.variance
    (tensor(1.), tensor(5.))
    """

    def __init__(
        self,
        mixture_distribution: Any,
        component_distribution: Any,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(mixture_distribution, Categorical):
            got = f"a mixture_distribution that is a {type(mixture_distribution).__name__}"
            raise DTypeError(message("MixtureSameFamily", got, "a Categorical"))
        if not isinstance(component_distribution, Distribution):
            got = f"a component_distribution that is a {type(component_distribution).__name__}"
            raise DTypeError(message("MixtureSameFamily", got, "a distribution"))
        weights, batch = mixture_distribution.probs.shape, component_distribution.batch_shape
        if batch[-1:] != weights[-1:] or (len(weights) > 1 and weights[:-1] != batch[:-1]):
            got = f"weights of shape {weights} for components of shape {tuple(batch)}"
            raise ShapeError(message("MixtureSameFamily", got, "a weight for each component"))
        self._mixture_distribution, self._component_distribution = mixture_distribution, component_distribution
        super().__init__(batch[:-1], component_distribution.event_shape, validate_args)

    @property
    def mixture_distribution(self) -> Categorical:
        """Which one is drawn."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """All of them."""
        return self._component_distribution

    def expand(self, batch_shape: Any) -> Self:
        """The same with another batch shape."""
        new = super().expand(batch_shape)
        count = self._component_distribution.batch_shape[-1]
        new._component_distribution = self._component_distribution.expand((*new._batch_shape, count))
        new._mixture_distribution = self._mixture_distribution.expand(new._batch_shape)
        return new

    @property
    def support(self) -> constraints.Constraint | None:
        """That of the components."""
        return self._component_distribution.support

    def _axis(self) -> int:
        """Where the components are."""
        return -1 - len(self._event_shape)

    def _weights(self) -> Tensor:
        """Their probabilities, for means of events."""
        probs = self._mixture_distribution.probs
        return probs.reshape((*probs.shape, *(1,) * len(self._event_shape)))

    @property
    def mean(self) -> Tensor:
        """The mean of the means."""
        return (self._weights() * self._component_distribution.mean).sum(self._axis())

    @property
    def variance(self) -> Tensor:
        """The mean of the variances, and the variance of the means."""
        own, means = self._component_distribution.variance, self._component_distribution.mean
        apart = (means - self.mean.unsqueeze(self._axis())) ** 2
        return (self._weights() * (own + apart)).sum(self._axis())

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """A component for each element, and an element of that one."""
        chosen = self._mixture_distribution.sample(sample_shape)
        drawn = self._component_distribution.sample(sample_shape)
        axis = drawn.ndim + self._axis()
        lead, event = drawn.shape[:axis], self._event_shape
        index = chosen.reshape((*chosen.shape, 1, *(1,) * len(event))).expand((*lead, 1, *event))
        return drawn.gather(axis, index).squeeze(axis)

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the sum of the probabilities."""
        own = self._component_distribution.log_prob(value.unsqueeze(self._axis()))
        return (own + self._mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)

    def cdf(self, value: Tensor) -> Tensor:
        """The mean of those of the components."""
        if self._event_shape:
            raise ConfigError(message("cdf", f"events of shape {tuple(self._event_shape)}", "numbers"))
        return (self._component_distribution.cdf(value.unsqueeze(-1)) * self._mixture_distribution.probs).sum(-1)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self._mixture_distribution!r},\n  {self._component_distribution!r})"
