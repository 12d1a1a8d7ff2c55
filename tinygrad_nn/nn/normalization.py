"""Normalisation layers: over the last axes, over the batch, over each sample, over groups of channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .. import functional as F
from ..errors import ConfigError, ShapeError, message
from ..support.settings import Device, flags, integer, number
from ..tensor import Tensor, no_grad
from ..tensor.arrays import MOST_AXES
from ..tensor.creation import ones, zeros
from ..tensor.door import taken
from .module import Module, drawn
from .parameter import Buffer, Parameter


def _reset(*pairs: tuple[Tensor | None, float]) -> None:
    """Tensors, as far as they are there, hold one value each."""
    with no_grad():
        for one, value in pairs:
            if one is not None:
                one.fill_(value)


def _sizes(owner: str, normalized_shape: Any) -> tuple[int, ...]:
    vector = isinstance(normalized_shape, (np.ndarray, Tensor)) and normalized_shape.ndim == 1
    if isinstance(normalized_shape, range):
        normalized_shape = normalized_shape[: MOST_AXES + 1]
    sizes = normalized_shape if vector or isinstance(normalized_shape, (list, tuple, range)) else (normalized_shape,)
    return tuple(integer(owner, "normalized_shape", size, least=0) for size in sizes)


class LayerNorm(Module):
    """Mean 0 and variance 1 over the last axes, then scale and shift: Ba, Kiros and Hinton, arXiv:1607.06450.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LayerNorm(2)(tg.tensor([[1.0, 3.0]])).detach()
    tensor([[-1.,  1.]])
    """

    weight: Parameter | None
    bias: Parameter | None

    @flags
    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Device = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes("LayerNorm", normalized_shape)
        self.eps, self.elementwise_affine = number("LayerNorm", "eps", eps, least=0), elementwise_affine
        self.weight = Parameter(ones(self.normalized_shape, dtype=dtype)) if elementwise_affine else None
        self.bias = Parameter(zeros(self.normalized_shape, dtype=dtype)) if elementwise_affine and bias else None

    @drawn
    def reset_parameters(self) -> None:
        """First values again."""
        _reset((self.weight, 1), (self.bias, 0))

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Module):
    """x / rms(x) over the last axes, then scale: Zhang and Sennrich, NeurIPS 2019.

    >>> import tinygrad_nn as tg
    >>> tg.nn.RMSNorm(2)(tg.tensor([[3.0, 4.0]])).detach()
    tensor([[0.8485, 1.1314]])
    """

    weight: Parameter | None

    @flags
    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Device = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes("RMSNorm", normalized_shape)
        self.eps = None if eps is None else number("RMSNorm", "eps", eps, least=0)
        self.elementwise_affine = elementwise_affine
        self.weight = Parameter(ones(self.normalized_shape, dtype=dtype)) if elementwise_affine else None

    @drawn
    def reset_parameters(self) -> None:
        """First values again."""
        _reset((self.weight, 1))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class _Running(Module):
    """What BatchNorm and InstanceNorm share: a scale and a shift for each channel, and running statistics."""

    ranks: ClassVar[tuple[int, ...]]
    shapes: ClassVar[str]
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Buffer | None
    running_var: Buffer | None
    num_batches_tracked: Buffer | None

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        dtype: Any,
        bias: bool,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_features = num_features = integer(name, "num_features", num_features, least=0)
        self.eps = number(name, "eps", eps, least=0)
        self.momentum = None if momentum is None else number(name, "momentum", momentum, least=0, most=1)
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(ones(num_features, dtype=dtype)) if affine else None
        self.bias = Parameter(zeros(num_features, dtype=dtype)) if affine and bias else None
        self.running_mean = Buffer(zeros(num_features, dtype=dtype)) if track_running_stats else None
        self.running_var = Buffer(ones(num_features, dtype=dtype)) if track_running_stats else None
        self.num_batches_tracked = Buffer(np.array(0, np.int64)) if track_running_stats else None

    def reset_running_stats(self) -> None:
        """Forget what was seen."""
        _reset((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0))

    @drawn
    def reset_parameters(self) -> None:
        """First values again."""
        self.reset_running_stats()
        _reset((self.weight, 1), (self.bias, 0))

    def _checked(self, input: Tensor) -> Tensor:
        x = taken(type(self).__name__, input, self.weight, self.running_mean)
        if x.ndim not in self.ranks or x.shape[1 - (x.ndim < max(self.ranks) and self.unbatched)] != self.num_features:
            expected = self.shapes.replace("C", str(self.num_features))
            raise ShapeError(message(type(self).__name__, f"shape {x.shape}", expected))
        return x

    unbatched: ClassVar[bool] = False

    def extra_repr(self) -> str:
        """As torch's."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Running):
    """Statistics over the batch."""

    @flags
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Device = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        x = self._checked(input)
        momentum: float | Tensor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.assign(self.num_batches_tracked + 1)
            if self.momentum is None:  # a plain mean over all batches
                momentum = 1.0 / self.num_batches_tracked.double()
        use_batch = self.training or self.running_mean is None
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, use_batch, momentum, self.eps
        )


class BatchNorm1d(_BatchNorm):
    """Mean 0 and variance 1 per feature over the batch, then scale and shift: Ioffe and Szegedy, ICML 2015. (N, C) or
    (N, C, L), the same shape. In evaluation mode the running statistics take the batch's place.

    >>> import tinygrad_nn as tg
    >>> norm = tg.nn.BatchNorm1d(1)
    >>> norm(tg.tensor([[1.0], [3.0]])).detach()
    tensor([[-1.],
            [ 1.]])
    >>> norm.running_mean
    tensor([0.2])
    """

    ranks, shapes = (2, 3), "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """The same over pictures: (N, C, H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.BatchNorm2d(8)(tg.randn(4, 8, 5, 5)).shape
    (4, 8, 5, 5)
    """

    ranks, shapes = (4,), "(N, C, H, W)"


class BatchNorm3d(_BatchNorm):
    """The same over volumes: (N, C, D, H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.BatchNorm3d(8)(tg.randn(4, 8, 5, 5, 5)).shape
    (4, 8, 5, 5, 5)
    """

    ranks, shapes = (5,), "(N, C, D, H, W)"


class _InstanceNorm(_Running):
    """Statistics of each sample."""

    unbatched = True

    @flags
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Device = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        x = self._checked(input)
        single = x.ndim < max(self.ranks)
        own = self.training or self.running_mean is None
        momentum = 0.0 if self.momentum is None else self.momentum
        out = F.instance_norm(
            x.unsqueeze(0) if single else x,
            self.running_mean, self.running_var, self.weight, self.bias, own, momentum, self.eps,
        )  # fmt: skip
        return out.squeeze(0) if single else out


class InstanceNorm1d(_InstanceNorm):
    """Mean 0 and variance 1 per channel of each sample: Ulyanov et al., arXiv:1607.08022. (N, C, L) or (C, L), the same
    shape. A scale and a shift come with `affine`, running statistics with `track_running_stats`.

    >>> import tinygrad_nn as tg
    >>> tg.nn.InstanceNorm1d(1)(tg.tensor([[[1.0, 3.0]]]))
    tensor([[[-1.,  1.]]])
    """

    ranks, shapes = (2, 3), "(N, C, L) or (C, L)"


class InstanceNorm2d(_InstanceNorm):
    """The same over pictures: (N, C, H, W) or (C, H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.InstanceNorm2d(8)(tg.randn(4, 8, 5, 5)).shape
    (4, 8, 5, 5)
    """

    ranks, shapes = (3, 4), "(N, C, H, W) or (C, H, W)"


class InstanceNorm3d(_InstanceNorm):
    """The same over volumes: (N, C, D, H, W) or (C, D, H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.InstanceNorm3d(8)(tg.randn(4, 8, 5, 5, 5)).shape
    (4, 8, 5, 5, 5)
    """

    ranks, shapes = (4, 5), "(N, C, D, H, W) or (C, D, H, W)"


class GroupNorm(Module):
    """Mean 0 and variance 1 over groups of channels of each sample, then scale and shift: Wu and He, ECCV 2018.

    >>> import tinygrad_nn as tg
    >>> tg.nn.GroupNorm(2, 6)(tg.ones(4, 6, 8, 8)).shape
    (4, 6, 8, 8)
    """

    weight: Parameter | None
    bias: Parameter | None

    @flags
    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Device = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_channels = integer("GroupNorm", "num_channels", num_channels, least=0)
        self.num_groups = integer("GroupNorm", "num_groups", num_groups, least=1)
        if num_channels % num_groups:
            got = f"{num_channels} channels in {num_groups} groups"
            raise ConfigError(message("GroupNorm", got, "channels that the groups divide"))
        self.eps, self.affine = number("GroupNorm", "eps", eps, least=0), affine
        self.weight = Parameter(ones(num_channels, dtype=dtype)) if affine else None
        self.bias = Parameter(zeros(num_channels, dtype=dtype)) if affine and bias else None

    @drawn
    def reset_parameters(self) -> None:
        """First values again."""
        _reset((self.weight, 1), (self.bias, 0))

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...), the same shape."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class LocalResponseNorm(Module):
    """`functional.local_response_norm` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LocalResponseNorm(2)(tg.ones(1, 4, 5, 5)).shape
    (1, 4, 5, 5)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = integer("LocalResponseNorm", "size", size, least=1)
        self.alpha, self.beta = (number("LocalResponseNorm", *one) for one in (("alpha", alpha), ("beta", beta)))
        self.k = number("LocalResponseNorm", "k", k)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...), the same shape."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
