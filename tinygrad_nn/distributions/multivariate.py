"""The normal distribution of vectors, and batches of distributions taken as one (`Independent`).

Factors and triangular systems are those of `tensor/factors.py`; compiled they go column by column, which is for some
dozens of dimensions, not for thousands.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from ..errors import ConfigError, DTypeError, ShapeError, message
from ..support.settings import integer
from ..tensor import Tensor
from ..tensor.factors import cholesky_factor, identity, solved_triangle
from ..tensor.generator import normal
from . import constraints
from .distribution import HALF_LOG_TWO_PI, Distribution, sum_rightmost


class MultivariateNormal(Distribution):
    """The normal distribution of vectors, by its covariance, its inverse (`precision_matrix`) or its factor
    (`scale_tril`, a lower triangle).

    >>> import tinygrad_nn as tg
    >>> MultivariateNormal(tg.zeros(2), tg.eye(2)).log_prob(tg.zeros(2))
    tensor(-1.8379)
    """

    support = constraints.real_vector
    has_rsample = True
    arg_constraints: ClassVar = {
        "loc": constraints.real_vector,
        "_unbroadcasted_scale_tril": constraints.lower_cholesky,
    }

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        given = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}
        named = {name: value for name, value in given.items() if value is not None}
        if len(named) != 1:
            got = " and ".join(named) or "no matrix"
            raise ConfigError(
                message("MultivariateNormal", got, "one of covariance_matrix, precision_matrix, scale_tril")
            )
        ((name, matrix),) = named.items()
        for what, value, axes in (("loc", loc, 1), (name, matrix, 2)):
            if not isinstance(value, Tensor):
                raise DTypeError(message("MultivariateNormal", f"{what} of type {type(value).__name__}", "a tensor"))
            if value.ndim < axes:
                got = f"{what} of shape {value.shape}"
                raise ShapeError(message("MultivariateNormal", got, f"{axes} axes or more"))
        n = loc.shape[-1]
        if matrix.shape[-2:] != (n, n):
            got = f"loc of shape {loc.shape} and {name} of shape {matrix.shape}"
            raise ShapeError(message("MultivariateNormal", got, "one length in the last axes"))
        self._given = name
        check = self._validate_args if validate_args is None else validate_args
        if check and name != "scale_tril":
            self._check(name, constraints.positive_definite, matrix)
        if name == "scale_tril":
            factor = matrix
        else:
            covariance = name == "covariance_matrix"
            factor = cholesky_factor("MultivariateNormal", matrix) if covariance else _of_precision(matrix)
        batch = np.broadcast_shapes(loc.shape[:-1], matrix.shape[:-2])
        self.loc, self._unbroadcasted_scale_tril = loc.expand((*batch, n)), factor
        super().__init__(batch, (n,), validate_args)

    def expand(self, batch_shape: Any) -> Self:
        """The same with another batch shape."""
        new = super().expand(batch_shape)
        new.loc = self.loc.expand((*new._batch_shape, *self._event_shape))
        return new

    def _matrix(self, value: Tensor) -> Tensor:
        return value.expand((*self._batch_shape, *self._event_shape, *self._event_shape))

    @property
    def scale_tril(self) -> Tensor:
        """The lower factor of the covariance."""
        return self._matrix(self._unbroadcasted_scale_tril)

    @property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        factor = self._unbroadcasted_scale_tril
        return self._matrix(factor @ factor.transpose(-1, -2))

    @property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        inverse = _inverse(self._unbroadcasted_scale_tril)
        return self._matrix(inverse.transpose(-1, -2) @ inverse)

    @property
    def mean(self) -> Tensor:
        """loc."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """loc."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The diagonal of the covariance."""
        factor = self._unbroadcasted_scale_tril
        return (factor * factor).sum(-1).expand((*self._batch_shape, *self._event_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """loc + scale_tril @ a standard normal vector."""
        drawn = normal(self._extended_shape(sample_shape), self.loc.dtype, None)
        return self.loc + (self._unbroadcasted_scale_tril @ drawn.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the density."""
        self._validate_sample(value)
        factor = self._unbroadcasted_scale_tril
        z = solve_lower(factor, value - self.loc)
        half_log_det = factor.diagonal(0, -2, -1).log().sum(-1)
        return (z * z).sum(-1) * -0.5 - half_log_det - self._event_shape[0] * HALF_LOG_TWO_PI

    def entropy(self) -> Tensor:
        """n / 2 (1 + log(2 pi)) + log(det) / 2."""
        half_log_det = self._unbroadcasted_scale_tril.diagonal(0, -2, -1).log().sum(-1)
        found = half_log_det + self._event_shape[0] * (0.5 + HALF_LOG_TWO_PI)
        return found.expand(self._batch_shape)

    def __repr__(self) -> str:
        shape = (*self._batch_shape, *self._event_shape, *self._event_shape)
        return f"MultivariateNormal(loc: {self.loc.shape}, {self._given}: {shape})"


def solve_lower(factor: Tensor, right: Tensor) -> Tensor:
    """x with factor @ x = right, of a lower triangle (..., n, n) and vectors (..., n); of one triangle all at once."""
    if factor.ndim > 2:
        return solved_triangle("MultivariateNormal", factor, right.unsqueeze(-1), False).squeeze(-1)
    columns = right.reshape((-1, factor.shape[-1])).mT
    return solved_triangle("MultivariateNormal", factor, columns, False).mT.reshape(right.shape)


def _inverse(factor: Tensor) -> Tensor:
    """The inverse of a lower triangle."""
    return solved_triangle("MultivariateNormal", factor, identity(factor), False)


def _of_precision(precision: Tensor) -> Tensor:
    """The lower factor of the inverse: that of the matrix read backwards, inverted."""
    flipped = cholesky_factor("MultivariateNormal", precision.flip((-2, -1)))
    return _inverse(flipped.flip((-2, -1)).mT)


class Independent(Distribution):
    """The last axes of a batch as axes of the event: probabilities multiply over them.

    >>> import tinygrad_nn as tg
    >>> from tinygrad_nn.distributions import Normal
    >>> Independent(Normal(tg.zeros(3, 2), tg.ones(2)), 1).log_prob(tg.zeros(2)).shape
    (3,)
    """

    def __init__(
        self, base_distribution: Distribution, reinterpreted_batch_ndims: int, validate_args: bool | None = None
    ) -> None:
        if not isinstance(base_distribution, Distribution):
            raise DTypeError(message("Independent", f"a {type(base_distribution).__name__}", "a distribution"))
        axes = integer("Independent", "reinterpreted_batch_ndims", reinterpreted_batch_ndims, least=0)
        batch = base_distribution.batch_shape
        if axes > len(batch):
            got = f"reinterpreted_batch_ndims {axes} for batches of shape {batch}"
            raise ConfigError(message("Independent", got, f"at most {len(batch)}"))
        self.base_dist, self.reinterpreted_batch_ndims = base_distribution, axes
        cut = len(batch) - axes
        super().__init__(batch[:cut], (*batch[cut:], *base_distribution.event_shape), validate_args)

    def expand(self, batch_shape: Any) -> Self:
        """The same with another batch shape."""
        new = super().expand(batch_shape)
        new.base_dist = self.base_dist.expand((*new._batch_shape, *self._event_shape[: self.reinterpreted_batch_ndims]))
        return new

    @property
    def has_rsample(self) -> bool:
        """As its base."""
        return bool(self.base_dist.has_rsample)

    @property
    def support(self) -> constraints.Constraint | None:
        """That of its base, for all axes of the event."""
        base = self.base_dist.support
        return None if base is None else constraints.independent(base, self.reinterpreted_batch_ndims)

    @property
    def mean(self) -> Tensor:
        """That of its base."""
        return self.base_dist.mean

    @property
    def mode(self) -> Tensor:
        """That of its base."""
        return self.base_dist.mode

    @property
    def variance(self) -> Tensor:
        """That of its base."""
        return self.base_dist.variance

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Of its base."""
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Of its base."""
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """The sum over the axes that were taken over."""
        return sum_rightmost(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self) -> Tensor:
        """The sum over the axes that were taken over."""
        return sum_rightmost(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    def __repr__(self) -> str:
        return f"Independent({self.base_dist!r}, {self.reinterpreted_batch_ndims})"
