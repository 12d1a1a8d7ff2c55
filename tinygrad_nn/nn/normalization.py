"""Normalisation layers: LayerNorm, RMSNorm, BatchNorm1d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import functional as F
from ..errors import ShapeError, message
from ..support.settings import flags, integer, number
from ..tensor import Tensor
from ..tensor.arrays import MOST_AXES
from ..tensor.creation import ones, zeros
from ..tensor.door import taken
from .module import Module
from .parameter import Buffer, Parameter


def _sizes(owner: str, normalized_shape: Any) -> tuple[int, ...]:
    vector = isinstance(normalized_shape, (np.ndarray, Tensor)) and normalized_shape.ndim == 1
    if isinstance(normalized_shape, range):
        normalized_shape = normalized_shape[: MOST_AXES + 1]
    sizes = normalized_shape if vector or isinstance(normalized_shape, (list, tuple, range)) else (normalized_shape,)
    return tuple(integer(owner, "normalized_shape", size, least=0) for size in sizes)


class LayerNorm(Module):
    """Mean 0 and variance 1 over the last axes, then scale and shift: Ba, Kiros and Hinton, arXiv:1607.06450."""

    weight: Parameter | None
    bias: Parameter | None

    @flags
    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes("LayerNorm", normalized_shape)
        self.eps, self.elementwise_affine = number("LayerNorm", "eps", eps, least=0), elementwise_affine
        self.weight = Parameter(ones(self.normalized_shape, dtype=dtype)) if elementwise_affine else None
        self.bias = Parameter(zeros(self.normalized_shape, dtype=dtype)) if elementwise_affine and bias else None

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Module):
    """x / rms(x) over the last axes, then scale: Zhang and Sennrich, NeurIPS 2019."""

    weight: Parameter | None

    @flags
    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes("RMSNorm", normalized_shape)
        self.eps = None if eps is None else number("RMSNorm", "eps", eps, least=0)
        self.elementwise_affine = elementwise_affine
        self.weight = Parameter(ones(self.normalized_shape, dtype=dtype)) if elementwise_affine else None

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class BatchNorm1d(Module):
    """Mean 0 and variance 1 per feature over the batch, then scale and shift: Ioffe and Szegedy, ICML 2015.

    In evaluation mode the running statistics take the batch's place.
    """

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Buffer | None
    running_var: Buffer | None
    num_batches_tracked: Buffer | None

    @flags
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_features = num_features = integer("BatchNorm1d", "num_features", num_features, least=0)
        self.eps = number("BatchNorm1d", "eps", eps, least=0)
        self.momentum = None if momentum is None else number("BatchNorm1d", "momentum", momentum, least=0, most=1)
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(ones(num_features, dtype=dtype)) if affine else None
        self.bias = Parameter(zeros(num_features, dtype=dtype)) if affine else None
        self.running_mean = Buffer(zeros(num_features, dtype=dtype)) if track_running_stats else None
        self.running_var = Buffer(ones(num_features, dtype=dtype)) if track_running_stats else None
        self.num_batches_tracked = Buffer(np.array(0, np.int64)) if track_running_stats else None

    def forward(self, input: Tensor) -> Tensor:
        """(N, C) or (N, C, L), the same shape."""
        input = taken("BatchNorm1d", input, self.weight, self.running_mean)
        if input.ndim not in (2, 3) or input.shape[1] != self.num_features:
            raise ShapeError(
                message(
                    "BatchNorm1d", f"shape {input.shape}", f"(N, {self.num_features}) or (N, {self.num_features}, L)"
                )
            )
        momentum: float | Tensor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.assign(self.num_batches_tracked + 1)
            if self.momentum is None:  # a plain mean over all batches
                momentum = 1.0 / self.num_batches_tracked.double()
        use_batch = self.training or self.running_mean is None
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, use_batch, momentum, self.eps
        )

    def extra_repr(self) -> str:
        """As torch's."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )
