"""Dropout, and the layers that only change shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from .. import functional as F
from ..errors import ConfigError, message
from ..support.settings import flags, integer, number, shown
from ..tensor import Tensor
from ..tensor.door import taken
from .module import Module


class _Dropout(Module):
    """In training, a function that draws what is dropped."""

    function: ClassVar[Callable[..., Tensor]]

    @flags
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p, self.inplace = number(type(self).__name__, "p", p, least=0, most=1), inplace

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return type(self).function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training, elements become 0 with probability p and the rest grow by 1 / (1 - p): Srivastava et al., JMLR
    2014.

    >>> import tinygrad_nn as tg
    >>> drop = tg.nn.Dropout(0.5)
    >>> drop(tg.ones(1000)).unique()
    tensor([0., 2.])
    >>> drop.eval()(tg.ones(2))
    tensor([1., 1.])
    """

    function = F.dropout


class Dropout1d(_Dropout):
    """The same with whole channels: (N, C, L) or (C, L).

    >>> import tinygrad_nn as tg
    >>> bool((tg.nn.Dropout1d(0.5)(tg.ones(4, 8, 5)).std(dim=2) == 0).all())
    True
    """

    function = F.dropout1d


class Dropout2d(_Dropout):
    """The same with whole channels: (N, C, H, W), or (N, C, L).

    >>> import tinygrad_nn as tg
    >>> tg.nn.Dropout2d(0.5)(tg.ones(4, 8, 5, 5)).shape
    (4, 8, 5, 5)
    """

    function = F.dropout2d


class Dropout3d(_Dropout):
    """The same with whole channels: (N, C, D, H, W) or (C, D, H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.Dropout3d(0.5)(tg.ones(4, 8, 5, 5, 5)).shape
    (4, 8, 5, 5, 5)
    """

    function = F.dropout3d


class AlphaDropout(_Dropout):
    """In training, elements become selu's lowest value; mean and variance stay: Klambauer et al., NeurIPS 2017.

    >>> import tinygrad_nn as tg
    >>> tg.nn.AlphaDropout(0.5).eval()(tg.ones(2))
    tensor([1., 1.])
    """

    function = F.alpha_dropout


class FeatureAlphaDropout(_Dropout):
    """The same with whole channels: (N, C, ...).

    >>> import tinygrad_nn as tg
    >>> tg.nn.FeatureAlphaDropout(0.5)(tg.ones(4, 8, 5)).shape
    (4, 8, 5)
    """

    function = F.feature_alpha_dropout


class _Shuffle(Module):
    """A function with one factor."""

    function: ClassVar[Callable[..., Tensor]]
    setting: ClassVar[str]

    def forward(self, input: Tensor) -> Tensor:
        """The same elements."""
        return type(self).function(input, getattr(self, self.setting))

    def extra_repr(self) -> str:
        """As torch's."""
        return f"{self.setting}={getattr(self, self.setting)}"


class PixelShuffle(_Shuffle):
    """`functional.pixel_shuffle` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.PixelShuffle(2)(tg.ones(1, 8, 3, 3)).shape
    (1, 2, 6, 6)
    """

    function, setting = F.pixel_shuffle, "upscale_factor"

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = integer("PixelShuffle", "upscale_factor", upscale_factor, least=1)


class PixelUnshuffle(_Shuffle):
    """`functional.pixel_unshuffle` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.PixelUnshuffle(2)(tg.ones(1, 2, 6, 6)).shape
    (1, 8, 3, 3)
    """

    function, setting = F.pixel_unshuffle, "downscale_factor"

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = integer("PixelUnshuffle", "downscale_factor", downscale_factor, least=1)


class ChannelShuffle(_Shuffle):
    """`functional.channel_shuffle` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.ChannelShuffle(2)(tg.arange(4.0).reshape(1, 4, 1, 1)).flatten()
    tensor([0., 2., 1., 3.])
    """

    function, setting = F.channel_shuffle, "groups"

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = integer("ChannelShuffle", "groups", groups, least=1)


class Flatten(Module):
    """Axes from `start_dim` to `end_dim` become one.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Flatten()(tg.ones(32, 8, 4, 4)).shape
    (32, 128)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = integer("Flatten", "start_dim", start_dim)
        self.end_dim = integer("Flatten", "end_dim", end_dim)

    def forward(self, input: Tensor) -> Tensor:
        """The same elements."""
        return taken("Flatten", input).flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis becomes several.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Unflatten(1, (8, 4, 4))(tg.ones(32, 128)).shape
    (32, 8, 4, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = integer("Unflatten", "dim", dim)
        if not isinstance(unflattened_size, (list, tuple)):
            raise ConfigError(message("Unflatten", f"unflattened_size {shown(unflattened_size)}", "a list of sizes"))
        self.unflattened_size = tuple(integer("Unflatten", "unflattened_size", n, least=-1) for n in unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        """The same elements."""
        return taken("Unflatten", input).unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
