"""`functional.interpolate` as layers."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..errors import ConfigError, message
from ..functional.resampling import RANKS
from ..support.settings import choice, flags
from ..tensor import Tensor
from .module import Module


class Upsample(Module):
    """`functional.interpolate` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Upsample(scale_factor=2, mode="bilinear")(tg.ones(4, 3, 8, 8)).shape
    (4, 3, 16, 16)
    """

    @flags
    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        if (size is None) == (scale_factor is None):
            got = f"size {size} and scale_factor {scale_factor}"
            raise ConfigError(message(type(self).__name__, got, "one of them"))
        self.size, self.scale_factor = size, scale_factor
        self.mode = choice(type(self).__name__, "mode", mode, RANKS)
        self.align_corners, self.recompute_scale_factor = align_corners, recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...) with other lengths."""
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        """As torch's."""
        text = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{text}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Upsample by the nearest element.

    >>> import tinygrad_nn as tg
    >>> tg.nn.UpsamplingNearest2d(size=(8, 10))(tg.ones(1, 3, 4, 5)).shape
    (1, 3, 8, 10)
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """Upsample by bilinear weights, corners upon corners.

    >>> import tinygrad_nn as tg
    >>> tg.nn.UpsamplingBilinear2d(scale_factor=2)(tg.ones(1, 3, 4, 5)).shape
    (1, 3, 8, 10)
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)
