"""Mixtures of distributions of one kind, as mixture density networks have them."""

from __future__ import annotations

from typing import Any, Self

from ..errors import DTypeError, ShapeError, message
from ..tensor import Tensor, no_grad
from . import constraints
from .discrete import Categorical
from .distribution import Distribution


class MixtureSameFamily(Distribution):
    """One of the distributions along the last axis of a batch, chosen by a `Categorical`.

    >>> import tinygrad_nn as tg
    >>> from tinygrad_nn.distributions import Normal
    >>> both = MixtureSameFamily(Categorical(tg.ones(2)), Normal(tg.tensor([-1.0, 1.0]), 1.0))
    >>> both.mean, both.variance
    (tensor(0.), tensor(2.))
    """

    def __init__(
        self,
        mixture_distribution: Categorical | Any,
        component_distribution: Distribution | Any,
        validate_args: bool | None = None,
    ) -> None:
        name = "MixtureSameFamily"
        if not isinstance(mixture_distribution, Categorical) or not isinstance(component_distribution, Distribution):
            got = f"a {type(mixture_distribution).__name__} and a {type(component_distribution).__name__}"
            raise DTypeError(message(name, got, "a Categorical and a distribution"))
        own, batch = mixture_distribution.batch_shape, component_distribution.batch_shape
        count = mixture_distribution._param.shape[-1]
        if not batch or batch[-1] != count or (own and own != batch[:-1]):
            got = f"{count} parts in batches {own} of components in batches {batch}"
            raise ShapeError(message(name, got, "one component for each part, in equal batches"))
        self.mixture_distribution, self.component_distribution = mixture_distribution, component_distribution
        super().__init__(batch[:-1], component_distribution.event_shape, validate_args)

    def expand(self, batch_shape: Any) -> Self:
        """The same with another batch shape."""
        new = super().expand(batch_shape)
        count = self.component_distribution.batch_shape[-1]
        new.component_distribution = self.component_distribution.expand((*new._batch_shape, count))
        new.mixture_distribution = self.mixture_distribution.expand(new._batch_shape)
        return new

    @property
    def support(self) -> constraints.Constraint | None:
        """Not checked where the components' have bounds of their own."""
        return None

    def _weights(self, axes: int) -> Tensor:
        """The probabilities of the parts, beside so many axes of an event."""
        chances = self.mixture_distribution.probs
        return chances.reshape((*chances.shape, *(1,) * axes))

    def _averaged(self, values: Tensor) -> Tensor:
        axes = len(self._event_shape)
        return (self._weights(axes) * values).sum(-1 - axes)

    @property
    def mean(self) -> Tensor:
        """The mean of the components' means."""
        return self._averaged(self.component_distribution.mean)

    @property
    def variance(self) -> Tensor:
        """The mean of the components' variances and the variance of their means."""
        means = self.component_distribution.mean
        apart = means - self.mean.unsqueeze(-1 - len(self._event_shape))
        return self._averaged(self.component_distribution.variance) + self._averaged(apart * apart)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples of the components that were chosen."""
        with no_grad():
            drawn = self.component_distribution.sample(sample_shape)
            axes = len(self._event_shape)
            chosen = self.mixture_distribution.expand(self._batch_shape).sample(sample_shape)
            index = chosen.reshape((*chosen.shape, *(1,) * (axes + 1)))
            wide = index.expand((*chosen.shape, 1, *self._event_shape))
            return drawn.gather(drawn.ndim - 1 - axes, wide).squeeze(-1 - axes)

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the mean of the components' densities."""
        if self._validate_args:
            self._validate_sample(value)
        parts = self.component_distribution.log_prob(value.unsqueeze(-1 - len(self._event_shape)))
        return (parts + self.mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)

    def cdf(self, value: Tensor) -> Tensor:
        """The mean of the components'."""
        return (self.component_distribution.cdf(value.unsqueeze(-1)) * self.mixture_distribution.probs).sum(-1)
