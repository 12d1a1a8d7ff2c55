"""Convolution and pooling over one axis: (N, C, L) or (C, L)."""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from ..errors import ConfigError, message
from ..support.settings import choice, flags, integer
from ..tensor import Tensor
from ..tensor.creation import zeros
from . import init
from .module import Module
from .parameter import Parameter


class Conv1d(Module):
    """Cross-correlation with kernels (out, in / groups, size). Uniform in +-1/sqrt(fan_in) at first."""

    bias: Parameter | None

    @flags
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels = integer("Conv1d", "in_channels", in_channels, least=0)
        self.out_channels = out_channels = integer("Conv1d", "out_channels", out_channels, least=0)
        self.kernel_size = kernel_size = integer("Conv1d", "kernel_size", kernel_size, least=1)
        self.stride = integer("Conv1d", "stride", stride, least=1)
        self.padding, self.dilation = _padding(padding, stride), integer("Conv1d", "dilation", dilation, least=1)
        self.groups = groups = integer("Conv1d", "groups", groups, least=1)
        if in_channels % groups or out_channels % groups:
            got = f"{in_channels} and {out_channels} channels in {groups} groups"
            raise ConfigError(message("Conv1d", got, "channels that the groups divide"))
        bound = 1 / math.sqrt(max(in_channels // groups, 1) * kernel_size)
        shape = (out_channels, in_channels // groups, kernel_size)
        self.weight = init.uniform_(Parameter(zeros(shape, dtype=dtype)), -bound, bound)
        self.bias = Parameter(zeros(out_channels, dtype=dtype)) if bias else None
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, L) to (N, out, L')."""
        return F.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """As torch's."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size=({self.kernel_size},), stride=({self.stride},)"
        if self.padding:
            text += f", padding={self.padding}" if isinstance(self.padding, str) else f", padding=({self.padding},)"
        text += f", dilation=({self.dilation},)" if self.dilation != 1 else ""
        text += f", groups={self.groups}" if self.groups != 1 else ""
        return text + ("" if self.bias is not None else ", bias=False")


def _padding(padding: int | str, stride: int) -> int | str:
    if not isinstance(padding, str):
        return integer("Conv1d", "padding", padding, least=0)
    if padding == "same" and stride != 1:
        raise ConfigError(message("Conv1d", f"padding 'same' with stride {stride}", "stride 1"))
    return choice("Conv1d", "padding", padding, ("valid", "same"))


class _Pool(Module):
    """The window of a pooling layer."""

    def __init__(self, kernel_size: int, stride: int | None, padding: int) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = integer(name, "kernel_size", kernel_size, least=1)
        self.stride = self.kernel_size if stride is None else integer(name, "stride", stride, least=1)
        self.padding = integer(name, "padding", padding, least=0)
        if self.padding > self.kernel_size // 2:
            got = f"padding {padding} for a window of {kernel_size}"
            raise ConfigError(message(name, got, f"at most half of the window, {self.kernel_size // 2}"))


class MaxPool1d(_Pool):
    """The largest of every window."""

    @flags
    def __init__(
        self, kernel_size: int, stride: int | None = None, padding: int = 0, dilation: int = 1, ceil_mode: bool = False
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.dilation, self.ceil_mode = integer("MaxPool1d", "dilation", dilation, least=1), ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, L) to (N, C, L')."""
        return F.max_pool1d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def extra_repr(self) -> str:
        """As torch's."""
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{sizes}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class AvgPool1d(_Pool):
    """The mean of every window."""

    @flags
    def __init__(
        self,
        kernel_size: int,
        stride: int | None = None,
        padding: int = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, L) to (N, C, L')."""
        return F.avg_pool1d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"kernel_size=({self.kernel_size},), stride=({self.stride},), padding=({self.padding},)"
