"""Convolutional layers over 1, 2 and 3 axes, transposed ones, and patches of pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from .. import functional as F
from ..errors import ShapeError, message
from ..functional.convolution import Sizes, check_groups, padding_of, pads, per_axis
from ..support.settings import Device, choice, flags, integer
from ..tensor import Tensor
from ..tensor.creation import zeros
from ..tensor.shape import Ints
from . import init
from .module import Module, drawn
from .parameter import Parameter

MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Module):
    """Settings and parameters of a convolution over `rank` axes."""

    rank: ClassVar[int]
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints,
        padding: Ints | str,
        dilation: Ints,
        groups: int,
        bias: bool,
        padding_mode: str,
        dtype: Any,
        transposed: bool,
    ) -> None:
        super().__init__()
        name, rank = type(self).__name__, self.rank
        self.in_channels = integer(name, "in_channels", in_channels, least=0)
        self.out_channels = integer(name, "out_channels", out_channels, least=0)
        self.kernel_size = per_axis(name, "kernel_size", kernel_size, rank, 1)
        self.stride = per_axis(name, "stride", stride, rank, 1)
        self.dilation = per_axis(name, "dilation", dilation, rank, 1)
        self.padding = padding_of(name, padding, self.stride)
        self.groups = check_groups(name, groups, self.in_channels, self.out_channels)
        self.padding_mode = choice(name, "padding_mode", padding_mode, MODES)
        channels = (self.in_channels, self.out_channels) if transposed else (self.out_channels, self.in_channels)
        shape = (channels[0], channels[1] // self.groups, *self.kernel_size)
        self.weight = Parameter(zeros(shape, dtype=dtype))
        self.bias = Parameter(zeros(self.out_channels, dtype=dtype)) if bias else None
        self.reset_parameters()

    @drawn
    def reset_parameters(self) -> None:
        """First values: uniform in +-1/sqrt of the elements of a kernel."""
        bound = 1 / math.sqrt(max(math.prod(self.weight.shape[1:]), 1))
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def _settings(self, output_padding: Sizes = ()) -> str:
        """As torch's."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if isinstance(self.padding, str) or any(self.padding):
            text += f", padding={self.padding}"
        text += f", dilation={self.dilation}" if set(self.dilation) != {1} else ""
        text += f", output_padding={output_padding}" if any(output_padding) else ""
        text += f", groups={self.groups}" if self.groups != 1 else ""
        text += ", bias=False" if self.bias is None else ""
        return text + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")


class _Conv(_Convolution):
    """A convolution by a function over so many axes."""

    function: ClassVar[Callable[..., Tensor]]

    @flags
    def __init__(
        self,
        in_channels: int,
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
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, dtype, False
        )

    def forward(self, input: Tensor) -> Tensor:
        """(N, in, ...) to (N, out, ...), or without N."""
        padding = self.padding
        if self.padding_mode != "zeros":
            sides = pads(padding, self.kernel_size, self.dilation)
            input = F.pad(input, [n for side in reversed(sides) for n in side], self.padding_mode)
            padding = (0,) * self.rank
        call = type(self).function
        return call(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """As torch's."""
        return self._settings()


class Conv1d(_Conv):
    """Cross-correlation with kernels (out, in / groups, K). Uniform in +-1/sqrt(in / groups * K) at first.

    Padding is zeros, or with `padding_mode` the line's own elements: "reflect", "replicate", "circular".

    >>> import tinygrad_nn as tg
    >>> tg.nn.Conv1d(3, 8, 5)(tg.ones(4, 3, 20)).shape
    (4, 8, 16)
    """

    rank = 1
    function = F.conv1d


class Conv2d(_Conv):
    """The same over pictures, with kernels (out, in / groups, K, K); settings are a number, or one for each axis.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Conv2d(1, 16, 3, padding=1)(tg.ones(4, 1, 8, 8)).shape
    (4, 16, 8, 8)
    """

    rank = 2
    function = F.conv2d


class Conv3d(_Conv):
    """The same over volumes, with kernels (out, in / groups, K, K, K).

    >>> import tinygrad_nn as tg
    >>> tg.nn.Conv3d(3, 8, 3, padding=1)(tg.ones(4, 3, 5, 6, 7)).shape
    (4, 8, 5, 6, 7)
    """

    rank = 3
    function = F.conv3d


class _ConvTranspose(_Convolution):
    """A transposed convolution by a function over so many axes."""

    function: ClassVar[Callable[..., Tensor]]

    @flags
    def __init__(
        self,
        in_channels: int,
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
        name = type(self).__name__
        choice(name, "padding_mode", padding_mode, ("zeros",))
        sides = per_axis(name, "padding", padding, self.rank, 0)
        super().__init__(
            in_channels, out_channels, kernel_size, stride, sides, dilation, groups, bias, padding_mode, dtype, True
        )
        self.output_padding = per_axis(name, "output_padding", output_padding, self.rank, 0)

    def forward(self, input: Tensor, output_size: Ints | None = None) -> Tensor:
        """(N, in, ...) to (N, out, ...), or without N. `output_size` chooses among the lengths that a convolution would
        make into that of x.
        """
        more = self.output_padding if output_size is None else self._more(input, output_size)
        call = type(self).function
        return call(input, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation)

    def _more(self, x: Tensor, output_size: Ints) -> Sizes:
        """The output padding that gives a size. Raises ShapeError."""
        rank, name = self.rank, type(self).__name__
        parts = output_size if isinstance(output_size, int) else tuple(output_size)[-rank:]
        wanted = per_axis(name, "output_size", parts, rank, 1)
        sides = per_axis(name, "padding", self.padding, rank, 0)
        least = tuple(
            (n - 1) * step - 2 * side + d * (k - 1) + 1
            for n, step, side, d, k in zip(
                x.shape[-rank:], self.stride, sides, self.dilation, self.kernel_size, strict=True
            )
        )
        more = tuple(n - low for n, low in zip(wanted, least, strict=True))
        if any(not 0 <= n < step for n, step in zip(more, self.stride, strict=True)):
            most = tuple(low + step - 1 for low, step in zip(least, self.stride, strict=True))
            raise ShapeError(message(name, f"output_size {wanted}", f"sizes from {least} to {most}"))
        return more

    def extra_repr(self) -> str:
        """As torch's."""
        return self._settings(self.output_padding)


class ConvTranspose1d(_ConvTranspose):
    """The adjoint of a convolution, with kernels (in, out / groups, K): lines become longer by the stride. Uniform in
    +-1/sqrt(out / groups * K) at first.

    >>> import tinygrad_nn as tg
    >>> tg.nn.ConvTranspose1d(3, 8, 2, stride=2)(tg.ones(4, 3, 10)).shape
    (4, 8, 20)
    """

    rank = 1
    function = F.conv_transpose1d


class ConvTranspose2d(_ConvTranspose):
    """The same over pictures, with kernels (in, out / groups, K, K).

    >>> import tinygrad_nn as tg
    >>> tg.nn.ConvTranspose2d(16, 1, 2, stride=2)(tg.ones(4, 16, 4, 4)).shape
    (4, 1, 8, 8)
    """

    rank = 2
    function = F.conv_transpose2d


class ConvTranspose3d(_ConvTranspose):
    """The same over volumes, with kernels (in, out / groups, K, K, K).

    >>> import tinygrad_nn as tg
    >>> tg.nn.ConvTranspose3d(3, 8, 2, stride=2)(tg.ones(4, 3, 2, 3, 4)).shape
    (4, 8, 4, 6, 8)
    """

    rank = 3
    function = F.conv_transpose3d


class Unfold(Module):
    """Patches of pictures: (N, C, H, W) to (N, C * K * K, patches).

    >>> import tinygrad_nn as tg
    >>> tg.nn.Unfold(2)(tg.ones(1, 2, 4, 5)).shape
    (1, 8, 12)
    """

    def __init__(self, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1) -> None:
        super().__init__()
        for setting, value, least in (
            ("kernel_size", kernel_size, 1), ("dilation", dilation, 1), ("padding", padding, 0), ("stride", stride, 1),
        ):  # fmt: skip
            per_axis("Unfold", setting, value, 2, least)
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Tensor) -> Tensor:
        """The patches."""
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """As torch's."""
        sizes = f"kernel_size={self.kernel_size}, dilation={self.dilation}"
        return f"{sizes}, padding={self.padding}, stride={self.stride}"


class Fold(Unfold):
    """Patches added up to pictures: (N, C * K * K, patches) to (N, C, H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.Fold((4, 5), 2)(tg.ones(1, 8, 12)).shape
    (1, 2, 4, 5)
    """

    def __init__(
        self, output_size: Ints, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        per_axis("Fold", "output_size", output_size, 2, 1)
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """The pictures."""
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"output_size={self.output_size}, {super().extra_repr()}"
