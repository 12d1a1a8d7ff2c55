"""Padding as layers: each calls `functional.pad` with the mode of its name."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import ClassVar

from .. import functional as F
from ..errors import ConfigError, message
from ..support.settings import integer, is_iterable, number, shown
from ..tensor import Tensor
from ..tensor.shape import Ints
from .module import Module


class _Pad(Module):
    """So many elements before and behind each of the last `rank` axes, the last axis first; one number is for all."""

    rank: ClassVar[int]
    mode: ClassVar[str] = "constant"
    value: float = 0.0

    def __init__(self, padding: Ints) -> None:
        super().__init__()
        name, count = type(self).__name__, 2 * self.rank
        several = tuple(padding) if is_iterable(padding) else (padding,) * count  # type: ignore[arg-type]
        if len(several) != count or isinstance(padding, (Set, Mapping)):  # these have no order
            raise ConfigError(message(name, f"padding {shown(padding)}", f"an integer, or {count} of them"))
        self.padding = tuple(integer(name, "padding", n) for n in several)

    def forward(self, input: Tensor) -> Tensor:
        """With longer axes."""
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"{self.padding}"


class _ConstantPad(_Pad):
    """One value, which has to be said."""

    def __init__(self, padding: Ints, value: float) -> None:
        super().__init__(padding)
        self.value = number(type(self).__name__, "value", value, finite=False)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """One value on both sides of lines: (..., L).

    >>> import tinygrad_nn as tg
    >>> tg.nn.ConstantPad1d(1, 7.0)(tg.tensor([[[1.0, 2.0, 3.0]]]))
    tensor([[[7., 1., 2., 3., 7.]]])
    """

    rank = 1


class ConstantPad2d(_ConstantPad):
    """One value on both sides of pictures: (..., H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.ConstantPad2d((1, 1, 2, 2), 7.0)(tg.ones(1, 2, 3, 4)).shape
    (1, 2, 7, 6)
    """

    rank = 2


class ConstantPad3d(_ConstantPad):
    """One value on both sides of volumes: (..., D, H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.ConstantPad3d(1, 7.0)(tg.ones(1, 2, 3, 4, 5)).shape
    (1, 2, 5, 6, 7)
    """

    rank = 3


class ZeroPad1d(_Pad):
    """Zeros on both sides of lines: (..., L).

    >>> import tinygrad_nn as tg
    >>> tg.nn.ZeroPad1d(1)(tg.tensor([[[1.0, 2.0, 3.0]]]))
    tensor([[[0., 1., 2., 3., 0.]]])
    """

    rank = 1


class ZeroPad2d(_Pad):
    """Zeros on both sides of pictures: (..., H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.ZeroPad2d((1, 1, 2, 2))(tg.ones(1, 2, 3, 4)).shape
    (1, 2, 7, 6)
    """

    rank = 2


class ZeroPad3d(_Pad):
    """Zeros on both sides of volumes: (..., D, H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.ZeroPad3d(1)(tg.ones(1, 2, 3, 4, 5)).shape
    (1, 2, 5, 6, 7)
    """

    rank = 3


class ReflectionPad1d(_Pad):
    """The elements next to the edge, mirrored, on both sides of lines: (..., L).

    >>> import tinygrad_nn as tg
    >>> tg.nn.ReflectionPad1d(1)(tg.tensor([[[1.0, 2.0, 3.0]]]))
    tensor([[[2., 1., 2., 3., 2.]]])
    """

    rank, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """The elements next to the edge, mirrored, on both sides of pictures: (..., H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.ReflectionPad2d((1, 1, 2, 2))(tg.ones(1, 2, 3, 4)).shape
    (1, 2, 7, 6)
    """

    rank, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """The elements next to the edge, mirrored, on both sides of volumes: (..., D, H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.ReflectionPad3d(1)(tg.ones(1, 2, 3, 4, 5)).shape
    (1, 2, 5, 6, 7)
    """

    rank, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """The element at the edge again and again, on both sides of lines: (..., L).

    >>> import tinygrad_nn as tg
    >>> tg.nn.ReplicationPad1d(1)(tg.tensor([[[1.0, 2.0, 3.0]]]))
    tensor([[[1., 1., 2., 3., 3.]]])
    """

    rank, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """The element at the edge again and again, on both sides of pictures: (..., H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.ReplicationPad2d((1, 1, 2, 2))(tg.ones(1, 2, 3, 4)).shape
    (1, 2, 7, 6)
    """

    rank, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """The element at the edge again and again, on both sides of volumes: (..., D, H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.ReplicationPad3d(1)(tg.ones(1, 2, 3, 4, 5)).shape
    (1, 2, 5, 6, 7)
    """

    rank, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """On both sides the elements from the other end of lines: (..., L).

    >>> import tinygrad_nn as tg
    >>> tg.nn.CircularPad1d(1)(tg.tensor([[[1.0, 2.0, 3.0]]]))
    tensor([[[3., 1., 2., 3., 1.]]])
    """

    rank, mode = 1, "circular"


class CircularPad2d(_Pad):
    """On both sides the elements from the other end of pictures: (..., H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.CircularPad2d((1, 1, 2, 2))(tg.ones(1, 2, 3, 4)).shape
    (1, 2, 7, 6)
    """

    rank, mode = 2, "circular"


class CircularPad3d(_Pad):
    """On both sides the elements from the other end of volumes: (..., D, H, W).

    >>> import tinygrad_nn as tg
    >>> tg.nn.CircularPad3d(1)(tg.ones(1, 2, 3, 4, 5)).shape
    (1, 2, 5, 6, 7)
    """

    rank, mode = 3, "circular"
