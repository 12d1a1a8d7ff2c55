"""Lazy layers: they learn from their first call how many features come in, and are plain layers from then on.

Until then their parameters have no elements, and are loaded with any.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..errors import ShapeError, TraceError, message
from ..support.settings import Device
from ..tensor.core import mode
from ..tensor.door import taken
from ..tensor.shape import Ints
from .convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .linear import Linear
from .module import Module
from .normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter


class _Lazy(Module):
    """A layer of the class `becomes`, whose first setting is the length of axis `feature` of its first input."""

    becomes: ClassVar[Any]
    feature: ClassVar[int]

    def _begin(self, least: int, *settings: Any, **more: Any) -> None:
        """Be such a layer without features; one for `least` of them could be made."""
        self._rest = settings, more
        for name, value in vars(self.becomes(least, *settings, **more)).items():
            if isinstance(value, Parameter):
                value = UninitializedParameter(value.requires_grad, dtype=value.dtype)
            elif isinstance(value, Buffer) and value.ndim:
                value = UninitializedBuffer(dtype=value.dtype)
            setattr(self, name, value)

    def reset_parameters(self) -> None:
        """Nothing, as long as there are no parameters to draw."""

    def has_uninitialized_params(self) -> bool:
        """Whether parameters have no elements yet."""
        return any(isinstance(one, UninitializedParameter) and not one.numel() for one in self.parameters())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Become a plain layer, and run."""
        name = type(self).__name__
        if mode.recorder is not None:
            got, hint = "its first call in a function that is compiled", "call the model once before it is compiled"
            raise TraceError(message(name, got, "one with data before it", hint))
        x = taken(name, args[0] if args else kwargs.get("input"))
        if not -x.ndim <= self.feature < x.ndim:
            raise ShapeError(message(name, f"shape {x.shape}", f"what {self.becomes.__name__} takes"))
        training = self.training
        settings, more = self._rest
        made = self.becomes(x.shape[self.feature], *settings, **more)
        for key, value in vars(made).items():
            own = vars(self).get(key)
            if not isinstance(own, (UninitializedParameter, UninitializedBuffer)):
                setattr(self, key, value)
            elif not own.numel():
                needed = own.requires_grad
                own.node = value.to(own.dtype).detach().node
                own.requires_grad_(needed)
        del self._rest
        self.__class__ = self.becomes
        self.training = training
        return self(*args, **kwargs)


class LazyLinear(_Lazy, Linear):
    """Linear that takes `in_features` from its first input.

    >>> import tinygrad_nn as tg
    >>> layer = tg.nn.LazyLinear(8)
    >>> layer(tg.ones(32, 4)).shape, layer
    ((32, 8), Linear(in_features=4, out_features=8, bias=True))
    """

    becomes, feature = Linear, -1

    def __init__(self, out_features: int, bias: bool = True, device: Device = None, dtype: Any = None) -> None:
        self._begin(1, out_features, bias, device, dtype)


class _LazyConv(_Lazy):
    """A convolution that takes `in_channels` from its first input."""

    def __init__(
        self,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: Ints | str = 0,
        dilation: Ints = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Device = None,
        dtype: Any = None,
    ) -> None:
        settings = (stride, padding, dilation, groups, bias, padding_mode, device, dtype)
        self._begin(groups, out_channels, kernel_size, *settings)


class _LazyConvTranspose(_Lazy):
    """A transposed convolution that takes `in_channels` from its first input."""

    def __init__(
        self,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: Ints = 0,
        output_padding: Ints = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Ints = 1,
        padding_mode: str = "zeros",
        device: Device = None,
        dtype: Any = None,
    ) -> None:
        settings = (stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype)
        self._begin(groups, out_channels, kernel_size, *settings)


class _LazyNorm(_Lazy):
    """A normalisation that takes `num_features` from its first input."""

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Device = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        self._begin(1, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)


class LazyConv1d(_LazyConv, Conv1d):
    """Conv1d that takes `in_channels` from its first input.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LazyConv1d(8, 3)(tg.ones(4, 3, 10)).shape
    (4, 8, 8)
    """

    becomes, feature = Conv1d, -2


class LazyConv2d(_LazyConv, Conv2d):
    """Conv2d that takes `in_channels` from its first input.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LazyConv2d(8, 3)(tg.ones(4, 3, 10, 10)).shape
    (4, 8, 8, 8)
    """

    becomes, feature = Conv2d, -3


class LazyConv3d(_LazyConv, Conv3d):
    """Conv3d that takes `in_channels` from its first input.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LazyConv3d(8, 3)(tg.ones(4, 3, 5, 5, 5)).shape
    (4, 8, 3, 3, 3)
    """

    becomes, feature = Conv3d, -4


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """ConvTranspose1d that takes `in_channels` from its first input.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LazyConvTranspose1d(8, 3)(tg.ones(4, 3, 10)).shape
    (4, 8, 12)
    """

    becomes, feature = ConvTranspose1d, -2


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """ConvTranspose2d that takes `in_channels` from its first input.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LazyConvTranspose2d(8, 3)(tg.ones(4, 3, 10, 10)).shape
    (4, 8, 12, 12)
    """

    becomes, feature = ConvTranspose2d, -3


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):
    """ConvTranspose3d that takes `in_channels` from its first input.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LazyConvTranspose3d(8, 3)(tg.ones(4, 3, 5, 5, 5)).shape
    (4, 8, 7, 7, 7)
    """

    becomes, feature = ConvTranspose3d, -4


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """BatchNorm1d that takes `num_features` from its first input.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LazyBatchNorm1d()(tg.ones(4, 8)).shape
    (4, 8)
    """

    becomes, feature = BatchNorm1d, 1


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """BatchNorm2d that takes `num_features` from its first input.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LazyBatchNorm2d()(tg.ones(4, 8, 5, 5)).shape
    (4, 8, 5, 5)
    """

    becomes, feature = BatchNorm2d, 1


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """BatchNorm3d that takes `num_features` from its first input.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LazyBatchNorm3d()(tg.ones(4, 8, 5, 5, 5)).shape
    (4, 8, 5, 5, 5)
    """

    becomes, feature = BatchNorm3d, 1


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """InstanceNorm1d that takes `num_features` from its first input.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LazyInstanceNorm1d()(tg.ones(4, 8, 5)).shape
    (4, 8, 5)
    """

    becomes, feature = InstanceNorm1d, -2


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """InstanceNorm2d that takes `num_features` from its first input.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LazyInstanceNorm2d()(tg.ones(4, 8, 5, 5)).shape
    (4, 8, 5, 5)
    """

    becomes, feature = InstanceNorm2d, -3


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """InstanceNorm3d that takes `num_features` from its first input.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LazyInstanceNorm3d()(tg.ones(4, 8, 5, 5, 5)).shape
    (4, 8, 5, 5, 5)
    """

    becomes, feature = InstanceNorm3d, -4
