"""Layers that pool into windows whose places are drawn."""

from __future__ import annotations

from typing import Any, ClassVar

from ..functional.convolution import per_axis
from ..functional.fractional import fractional_max_pool2d, fractional_max_pool3d, output_sizes
from ..support.settings import flags
from ..tensor import Tensor
from ..tensor.door import taken
from .module import Module


class _FractionalMaxPool(Module):
    rank: ClassVar[int]
    function: ClassVar[Any]

    @flags
    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        per_axis(name, "kernel_size", kernel_size, self.rank, 1)
        output_sizes(name, self.rank, (1 << 30,) * self.rank, output_size, output_ratio)
        self.kernel_size, self.output_size, self.output_ratio = kernel_size, output_size, output_ratio
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)

    def forward(self, input: Tensor) -> Any:
        """One element for each window; with `return_indices` also where it is."""
        samples = () if self._random_samples is None else (self._random_samples,)
        return type(self).function(
            taken(type(self).__name__, input, *samples),
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    """The largest of windows that begin at drawn places: (N, C, H, W) or (C, H, W) to `output_size` windows, or to the
    part `output_ratio` of each axis: Graham, arXiv:1412.6071.

    >>> import tinygrad_nn as tg
    >>> tg.nn.FractionalMaxPool2d(2, output_ratio=0.5)(tg.ones(1, 3, 8, 6)).shape
    (1, 3, 4, 3)
    """

    rank = 2
    function = staticmethod(fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPool):
    """The same over volumes: (N, C, D, H, W) or (C, D, H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.FractionalMaxPool3d(2, output_size=3)(tg.ones(1, 1, 5, 5, 5)).shape
    (1, 1, 3, 3, 3)
    """

    rank = 3
    function = staticmethod(fractional_max_pool3d)
