"""Pooling layers over lines, pictures and volumes: the largest element, the mean or a norm of every window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from .. import functional as F
from ..errors import ConfigError, message
from ..functional.pooling import output_sizes, window_settings
from ..support.settings import flags, integer, number
from ..tensor import Tensor
from ..tensor.shape import Ints
from .module import Module


class _MaxPool(Module):
    """The largest of every window, by a function over `rank` axes."""

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Any]]

    @flags
    def __init__(
        self,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        dilation: Ints = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        window_settings(type(self).__name__, self.rank, kernel_size, stride, padding, dilation)
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        """One element for each window; with `return_indices` also where it is."""
        call = type(self).function
        return call(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        """As torch's."""
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{sizes}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class MaxPool1d(_MaxPool):
    """The largest of every window: (N, C, L) to (N, C, L').

    >>> import tinygrad_nn as tg
    >>> tg.nn.MaxPool1d(2)(tg.tensor([[[1.0, 3.0, 5.0, 7.0]]]))
    tensor([[[3., 7.]]])
    """

    rank = 1
    function = F.max_pool1d


class MaxPool2d(_MaxPool):
    """The largest of every window: (N, C, H, W) to (N, C, H', W').

    >>> import tinygrad_nn as tg
    >>> tg.nn.MaxPool2d(2)(tg.ones(4, 16, 8, 8)).shape
    (4, 16, 4, 4)
    """

    rank = 2
    function = F.max_pool2d


class MaxPool3d(_MaxPool):
    """The largest of every window: (N, C, D, H, W) to (N, C, D', H', W').

    >>> import tinygrad_nn as tg
    >>> tg.nn.MaxPool3d(2)(tg.ones(1, 8, 4, 6, 8)).shape
    (1, 8, 2, 3, 4)
    """

    rank = 3
    function = F.max_pool3d


class _MaxUnpool(Module):
    """The inverse of max pooling by a function over `rank` axes."""

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0) -> None:
        super().__init__()
        taps, sides, steps, _ = window_settings(type(self).__name__, self.rank, kernel_size, stride, padding, 1)
        self.kernel_size, self.stride, self.padding = taps, steps, sides

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """Elements at their places, zeros elsewhere."""
        call = type(self).function
        return call(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """`functional.max_unpool1d` as a layer.

    >>> import tinygrad_nn as tg
    >>> values, places = tg.nn.MaxPool1d(2, return_indices=True)(tg.tensor([[[1.0, 5.0, 7.0, 3.0]]]))
    >>> tg.nn.MaxUnpool1d(2)(values, places)
    tensor([[[0., 5., 7., 0.]]])
    """

    rank = 1
    function = F.max_unpool1d


class MaxUnpool2d(_MaxUnpool):
    """`functional.max_unpool2d` as a layer.

    >>> import tinygrad_nn as tg
    >>> values, places = tg.nn.MaxPool2d(2, return_indices=True)(tg.ones(1, 1, 4, 6))
    >>> tg.nn.MaxUnpool2d(2)(values, places).shape
    (1, 1, 4, 6)
    """

    rank = 2
    function = F.max_unpool2d


class MaxUnpool3d(_MaxUnpool):
    """`functional.max_unpool3d` as a layer.

    >>> import tinygrad_nn as tg
    >>> values, places = tg.nn.MaxPool3d(2, return_indices=True)(tg.ones(1, 1, 4, 6, 8))
    >>> tg.nn.MaxUnpool3d(2)(values, places).shape
    (1, 1, 4, 6, 8)
    """

    rank = 3
    function = F.max_unpool3d


class _LPPool(Module):
    """A norm of every window, by a function over so many axes."""

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Tensor]]

    @flags
    def __init__(
        self, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type = number(type(self).__name__, "norm_type", norm_type)
        window_settings(type(self).__name__, self.rank, kernel_size, stride, 0, 1)
        self.kernel_size, self.stride, self.ceil_mode = kernel_size, stride, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        """One number for each window."""
        return type(self).function(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        """As torch's."""
        sizes = f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}"
        return f"{sizes}, ceil_mode={self.ceil_mode}"


class LPPool1d(_LPPool):
    """`functional.lp_pool1d` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LPPool1d(2, 2)(tg.tensor([[[3.0, 4.0, 6.0, 8.0]]]))
    tensor([[[ 5., 10.]]])
    """

    rank, function = 1, F.lp_pool1d


class LPPool2d(_LPPool):
    """`functional.lp_pool2d` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LPPool2d(2, 2)(tg.ones(1, 8, 4, 6)).shape
    (1, 8, 2, 3)
    """

    rank, function = 2, F.lp_pool2d


class LPPool3d(_LPPool):
    """`functional.lp_pool3d` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LPPool3d(2, 2)(tg.ones(1, 8, 4, 6, 8)).shape
    (1, 8, 2, 3, 4)
    """

    rank, function = 3, F.lp_pool3d


class AvgPool1d(Module):
    """The mean of every window: (N, C, L) to (N, C, L').

    >>> import tinygrad_nn as tg
    >>> tg.nn.AvgPool1d(2)(tg.tensor([[[1.0, 3.0, 5.0, 7.0]]]))
    tensor([[[2., 6.]]])
    """

    @flags
    def __init__(
        self,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        taps, sides, steps, _ = window_settings("AvgPool1d", 1, kernel_size, stride, padding, 1)
        self.kernel_size, self.stride, self.padding = taps, steps, sides
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """One mean for each window."""
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(Module):
    """The mean of every window, by a function over `rank` axes."""

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Tensor]]

    @flags
    def __init__(
        self,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        window_settings(name, self.rank, kernel_size, stride, padding, 1)
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad
        if divisor_override is not None and integer(name, "divisor_override", divisor_override) == 0:
            raise ConfigError(message(name, "divisor_override 0", "a number that is not 0"))
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """One mean for each window."""
        windows = (self.kernel_size, self.stride, self.padding, self.ceil_mode)
        return type(self).function(input, *windows, self.count_include_pad, self.divisor_override)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """The mean of every window: (N, C, H, W) to (N, C, H', W').

    >>> import tinygrad_nn as tg
    >>> tg.nn.AvgPool2d(2)(tg.arange(16.0).reshape(1, 1, 4, 4))
    tensor([[[[ 2.5,  4.5],
              [10.5, 12.5]]]])
    """

    rank = 2
    function = F.avg_pool2d


class AvgPool3d(_AvgPool):
    """The mean of every window: (N, C, D, H, W) to (N, C, D', H', W').

    >>> import tinygrad_nn as tg
    >>> tg.nn.AvgPool3d(2)(tg.ones(1, 8, 4, 6, 8)).shape
    (1, 8, 2, 3, 4)
    """

    rank = 3
    function = F.avg_pool3d


class _Adaptive(Module):
    """So many windows that cover an axis, by a function over `rank` axes."""

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Any]]

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        output_sizes(type(self).__name__, self.rank, output_size)
        self.output_size = output_size

    def forward(self, input: Tensor) -> Any:
        """One number for each window."""
        return type(self).function(input, self.output_size)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """The mean of each of so many windows: (N, C, L) to (N, C, output_size).

    >>> import tinygrad_nn as tg
    >>> tg.nn.AdaptiveAvgPool1d(2)(tg.tensor([[[1.0, 3.0, 5.0, 7.0]]]))
    tensor([[[2., 6.]]])
    """

    rank = 1
    function = F.adaptive_avg_pool1d


class AdaptiveAvgPool2d(_Adaptive):
    """The mean of each of so many windows: (N, C, H, W) to (N, C, *output_size), where None keeps an axis.

    >>> import tinygrad_nn as tg
    >>> tg.nn.AdaptiveAvgPool2d((2, 3))(tg.ones(1, 8, 7, 5)).shape
    (1, 8, 2, 3)
    """

    rank = 2
    function = F.adaptive_avg_pool2d


class AdaptiveAvgPool3d(_Adaptive):
    """The mean of each of so many windows: (N, C, D, H, W) to (N, C, *output_size), where None keeps an axis.

    >>> import tinygrad_nn as tg
    >>> tg.nn.AdaptiveAvgPool3d(2)(tg.ones(1, 8, 7, 5, 6)).shape
    (1, 8, 2, 2, 2)
    """

    rank = 3
    function = F.adaptive_avg_pool3d


class _AdaptiveMax(_Adaptive):
    """The same with places."""

    @flags
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        """One element for each window; with `return_indices` also where it is."""
        return type(self).function(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMax):
    """The largest of each of so many windows: (N, C, L) to (N, C, output_size).

    >>> import tinygrad_nn as tg
    >>> tg.nn.AdaptiveMaxPool1d(2)(tg.tensor([[[1.0, 3.0, 5.0, 7.0]]]))
    tensor([[[3., 7.]]])
    """

    rank = 1
    function = F.adaptive_max_pool1d


class AdaptiveMaxPool2d(_AdaptiveMax):
    """The largest of each of so many windows: (N, C, H, W) to (N, C, *output_size), where None keeps an axis.

    >>> import tinygrad_nn as tg
    >>> tg.nn.AdaptiveMaxPool2d((2, 3))(tg.ones(1, 8, 7, 5)).shape
    (1, 8, 2, 3)
    """

    rank = 2
    function = F.adaptive_max_pool2d


class AdaptiveMaxPool3d(_AdaptiveMax):
    """The largest of each of so many windows: (N, C, D, H, W) to (N, C, *output_size), where None keeps an axis.

    >>> import tinygrad_nn as tg
    >>> tg.nn.AdaptiveMaxPool3d(2)(tg.ones(1, 8, 7, 5, 6)).shape
    (1, 8, 2, 2, 2)
    """

    rank = 3
    function = F.adaptive_max_pool3d
