"""Distributions of transformed variables: `TransformedDistribution`, and those that are named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from ..errors import ConfigError, DTypeError, ShapeError, message
from ..tensor import Tensor, no_grad
from . import constraints
from .continuous import Normal
from .distribution import Distribution, sum_rightmost
from .multivariate import Independent
from .transforms import ComposeTransform, ExpTransform, Transform


class TransformedDistribution(Distribution):
    """What comes out of transforms of a random variable: the base of flows.

    >>> import tinygrad_nn as tg
    >>> from tinygrad_nn.distributions import Uniform
    >>> from tinygrad_nn.distributions.transforms import AffineTransform
    >>> TransformedDistribution(Uniform(0.0, 1.0), [AffineTransform(3.0, 2.0)]).log_prob(tg.tensor(4.0))
    tensor(-0.6931)
    """

    def __init__(
        self,
        base_distribution: Distribution | Any,
        transforms: Transform | Sequence[Transform],
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(base_distribution, Distribution):
            got = f"a {type(base_distribution).__name__}"
            raise DTypeError(message("TransformedDistribution", got, "a distribution"))
        self.transforms: Any = [transforms] if isinstance(transforms, Transform) else transforms
        if not isinstance(self.transforms, list) or not all(isinstance(t, Transform) for t in self.transforms):
            got = f"transforms of type {type(transforms).__name__}"
            raise ConfigError(message("TransformedDistribution", got, "a transform or a list of them"))
        whole = ComposeTransform(self.transforms)
        axes, shape = len(base_distribution.event_shape), base_distribution._extended_shape()
        if len(shape) < whole.domain.event_dim:
            got = f"a distribution of shape {shape}"
            raise ShapeError(message("TransformedDistribution", got, f"{whole.domain.event_dim} axes or more"))
        result = whole.forward_shape(shape)
        expanded = whole.inverse_shape(result)
        if expanded != shape:
            base_distribution = base_distribution.expand(expanded[: len(expanded) - axes])
        if whole.domain.event_dim > axes:
            base_distribution = Independent(base_distribution, whole.domain.event_dim - axes)
        self.base_dist = base_distribution
        event = max(whole.codomain.event_dim, axes + whole.codomain.event_dim - whole.domain.event_dim)
        cut = len(result) - event
        super().__init__(result[:cut], result[cut:], validate_args)

    def expand(self, batch_shape: Any) -> Self:
        """The same with another batch shape."""
        new = super().expand(batch_shape)
        shape = ComposeTransform(self.transforms).inverse_shape((*new._batch_shape, *self._event_shape))
        new.base_dist = self.base_dist.expand(shape[: len(shape) - len(self.base_dist.event_shape)])
        return new

    @property
    def has_rsample(self) -> bool:
        """As its base."""
        return bool(self.base_dist.has_rsample)

    @property
    def support(self) -> constraints.Constraint | None:
        """Where the last transform leads."""
        if not self.transforms:
            return self.base_dist.support
        last = self.transforms[-1].codomain
        return constraints.independent(last, max(0, len(self._event_shape) - last.event_dim))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Transformed samples of the base."""
        with no_grad():
            return self._forward(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Transformed samples of the base."""
        return self._forward(self.base_dist.rsample(sample_shape))

    def _forward(self, x: Tensor) -> Tensor:
        for transform in self.transforms:
            x = transform(x)
        return x

    def log_prob(self, value: Tensor) -> Tensor:
        """That of the base at what was transformed, less the logarithms of the determinants."""
        self._validate_sample(value)
        axes, y = len(self._event_shape), value
        total: Tensor | float = 0.0
        for transform in reversed(self.transforms):
            x = transform.inv(y)
            axes += transform.domain.event_dim - transform.codomain.event_dim
            total = total - sum_rightmost(transform.log_abs_det_jacobian(x, y), axes - transform.domain.event_dim)
            y = x
        return sum_rightmost(self.base_dist.log_prob(y), axes - len(self.base_dist.event_shape)) + total

    def _monotone(self, value: Tensor) -> Tensor:
        sign = ComposeTransform(self.transforms).sign
        flipped: Tensor = (value - 0.5) * sign + 0.5
        return value if isinstance(sign, int) and sign == 1 else flipped

    def cdf(self, value: Tensor) -> Tensor:
        """By the inverses."""
        self._validate_sample(value)
        for transform in reversed(self.transforms):
            value = transform.inv(value)
        return self._monotone(self.base_dist.cdf(value))

    def icdf(self, value: Tensor) -> Tensor:
        """By the transforms."""
        return self._forward(self.base_dist.icdf(self._monotone(value)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_dist!r}, {self.transforms!r})"


class LogNormal(TransformedDistribution):
    """What has a normal logarithm.

    >>> import tinygrad_nn as tg
    >>> d = LogNormal(tg.tensor(0.0), tg.tensor(1.0))
    >>> d.log_prob(tg.tensor(1.0)), d.sample((5,)).shape
    (tensor(-0.9189), (5,))
    """

    arg_constraints: ClassVar = {"loc": constraints.real, "scale": constraints.positive}

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Normal(loc, scale, validate_args), ExpTransform(), validate_args)

    @property
    def loc(self) -> Tensor:
        """The mean of the logarithm."""
        return self.base_dist.loc  # type: ignore[attr-defined, no-any-return]

    @property
    def scale(self) -> Tensor:
        """The standard deviation of the logarithm."""
        return self.base_dist.scale  # type: ignore[attr-defined, no-any-return]

    @property
    def mean(self) -> Tensor:
        """exp(loc + scale ** 2 / 2)."""
        return (self.loc + self.scale * self.scale / 2).exp()

    @property
    def mode(self) -> Tensor:
        """exp(loc - scale ** 2)."""
        return (self.loc - self.scale * self.scale).exp()

    @property
    def variance(self) -> Tensor:
        """(exp(scale ** 2) - 1) mean ** 2."""
        square = self.scale * self.scale
        return square.expm1() * (self.loc * 2 + square).exp()

    def entropy(self) -> Tensor:
        """That of the logarithm + loc."""
        return self.base_dist.entropy() + self.loc

    def __repr__(self) -> str:
        return f"LogNormal(loc: {self.loc.shape}, scale: {self.scale.shape})"
