"""Pictures, lines and volumes at other places than their own: `interpolate`, `grid_sample`, `affine_grid`.

An axis is interpolated by a sum of a few elements, each times a weight; which ones and how much follows from shapes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache, reduce
from itertools import product
from operator import mul
from typing import Any, Final

import numpy as np

from ..errors import ConfigError, ShapeError, message
from ..support.settings import choice, integer, is_iterable, number
from ..tensor import Tensor
from ..tensor.contract import check_floats
from ..tensor.creation import tensor
from ..tensor.door import takes_data
from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

Scales = float | Sequence[float]
RANKS: Final = {
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3), "linear": (1,), "bilinear": (2,),
    "bicubic": (2,), "trilinear": (3,),
}  # fmt: skip
AREAS: Final = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}


def _near(x: Any, a: float) -> Any:
    """Keys' kernel at distances up to 1: IEEE Trans. ASSP 1981."""
    return ((a + 2) * x - (a + 3)) * x * x + 1


def _far(x: Any, a: float) -> Any:
    """The same from 1 to 2."""
    return ((x - 5) * x + 8) * x * a - 4 * a


def _cubic(x: Any, a: float) -> Any:
    x = np.abs(x)
    return np.where(x <= 1, _near(x, a), np.where(x < 2, _far(x, a), 0.0))


def _triangle(x: Any) -> Any:
    return np.maximum(1 - np.abs(x), 0.0)


@lru_cache(maxsize=256)
def _taps(mode: str, n: int, count: int, step: float | None, align_corners: bool, antialias: bool) -> tuple[Any, Any]:
    """Which elements of an axis of n make one of `count`, and their weights: (count, taps) each."""
    place = np.arange(count)
    if mode.startswith("nearest"):
        apart = np.float32(n / count if step is None else step)  # PyTorch's precision, whatever the dtype
        shift = np.float32(0.5 if mode == "nearest-exact" else 0)
        at = np.floor((place.astype(np.float32) + shift) * apart).astype(np.int64)
        return np.minimum(at, n - 1)[:, None], np.ones((count, 1))
    if align_corners:
        ratio = (n - 1) / (count - 1) if count > 1 else 0.0
        center = ratio * place
    else:
        ratio = n / count if step is None else step
        center = ratio * (place + 0.5) - 0.5
    if antialias:
        wide = max(float(ratio), 1.0)
        reach = (2 if mode == "bicubic" else 1) * wide
        middle = center + 0.5
        first = np.maximum((middle - reach + 0.5).astype(np.int64), 0)
        behind = np.minimum((middle + reach + 0.5).astype(np.int64), n)
        at = first[:, None] + np.arange(int((behind - first).max()))
        distance = (at - middle[:, None] + 0.5) / wide
        weights = _cubic(distance, -0.5) if mode == "bicubic" else _triangle(distance)
        weights = np.where(at < behind[:, None], weights, 0.0)
        return np.minimum(at, n - 1), weights / weights.sum(1, keepdims=True)
    if mode == "bicubic":
        first = np.floor(center).astype(np.int64)
        at = first[:, None] + np.arange(-1, 3)
        return np.clip(at, 0, n - 1), _cubic(center[:, None] - at, -0.75)
    center = np.maximum(center, 0)
    first = np.minimum(center.astype(np.int64), n - 1)
    after = center - first
    return np.stack([first, np.minimum(first + 1, n - 1)], 1), np.stack([1 - after, after], 1)


def _along(x: Tensor, axis: int, at: Any, weights: Any) -> Tensor:
    """An axis made of weighted elements."""
    total: Tensor | None = None
    shape = (-1, *(1,) * (x.ndim - 1 - axis))
    for k in range(at.shape[1]):
        part = x.index_select(axis, tensor(np.ascontiguousarray(at[:, k])))
        if not (weights[:, k] == 1).all():
            part = part * tensor(weights[:, k], dtype=x.dtype).reshape(shape)
        total = part if total is None else total + part
    return x if total is None else total


@takes_data
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Longer or shorter axes: (N, C, L), (N, C, H, W) or (N, C, D, H, W) of another `size`, or `scale_factor` as long.

    Modes are "nearest", "nearest-exact", "area", and "linear", "bilinear", "bicubic" and "trilinear" for so many axes;
    `align_corners` puts the first and last elements upon each other, `antialias` lets more of them count where axes get
    shorter. Raises ConfigError and ShapeError.

    >>> import tinygrad_nn as tg
    >>> interpolate(tg.tensor([[[0.0, 1.0]]]), scale_factor=2, mode="linear").tolist()
    [[[0.0, 0.25, 0.75, 1.0]]]
    """
    name, rank = "interpolate", input.ndim - 2
    choice(name, "mode", mode, RANKS)
    if rank not in RANKS[mode]:
        raise ShapeError(message(name, f"shape {input.shape} with mode {mode!r}", f"{RANKS[mode]} axes behind N and C"))
    if align_corners is not None and not mode.endswith(("linear", "cubic")):
        raise ConfigError(message(name, f"align_corners with mode {mode!r}", "a linear or cubic mode"))
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ConfigError(message(name, f"antialias=True with mode {mode!r}", "'bilinear' or 'bicubic'"))
    if (size is None) == (scale_factor is None):
        raise ConfigError(message(name, f"size {size} and scale_factor {scale_factor}", "one of them"))
    given = size if scale_factor is None else scale_factor
    several = tuple(given) if is_iterable(given) else (given,) * rank
    if len(several) != rank:
        raise ConfigError(message(name, f"{len(several)} numbers for {rank} axes", "one for each, or one"))
    lines = input.shape[2:]
    steps: tuple[float | None, ...] = (None,) * rank
    if scale_factor is None:
        sizes = tuple(integer(name, "size", n, least=1) for n in several)
    else:
        factors = [number(name, "scale_factor", factor, above=0) for factor in several]
        sizes = tuple(math.floor(n * factor) for n, factor in zip(lines, factors, strict=True))
        if not recompute_scale_factor:
            steps = tuple(1 / factor for factor in factors)
    if min((*sizes, *lines)) < 1:
        raise ShapeError(message(name, f"shape {input.shape} to {sizes}", "at least one place on each axis"))
    if mode == "area":
        return AREAS[rank](input, sizes)
    result = input
    for axis, (n, count, step) in enumerate(zip(lines, sizes, steps, strict=True), 2):
        result = _along(result, axis, *_taps(mode, n, count, step, bool(align_corners), antialias))
    return result.clone() if result is input else result


@takes_data
def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """The older name of `interpolate`.

    >>> import tinygrad_nn as tg
    >>> upsample(tg.tensor([[[1.0, 2.0]]]), scale_factor=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    return interpolate(input, size, scale_factor, mode, align_corners)


@takes_data
def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` by the nearest element.

    >>> import tinygrad_nn as tg
    >>> upsample_nearest(tg.tensor([[[1.0, 2.0]]]), size=4)
    tensor([[[1., 1., 2., 2.]]])
    """
    return interpolate(input, size, scale_factor, "nearest")


@takes_data
def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` by bilinear weights, corners upon corners.

    >>> import tinygrad_nn as tg
    >>> upsample_bilinear(tg.ones(1, 1, 2, 2), scale_factor=2).shape
    (1, 1, 4, 4)
    """
    return interpolate(input, size, scale_factor, "bilinear", True)


@takes_data
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Places for `grid_sample` by affine maps: theta (N, 2, 3) and size (N, C, H, W) to (N, H, W, 2), or (N, 3, 4) and
    (N, C, D, H, W) to (N, D, H, W, 3).

    >>> import tinygrad_nn as tg
    >>> affine_grid(tg.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 1, 2, 2), align_corners=True)[0, 0]
    tensor([[-1., -1.],
            [ 1., -1.]])
    """
    rank = len(size) - 2
    if rank not in (2, 3) or theta.shape != (size[0], rank, rank + 1):
        got = f"theta of shape {theta.shape} and size {tuple(size)}"
        raise ShapeError(message("affine_grid", got, "(N, 2, 3) and (N, C, H, W), or (N, 3, 4) and (N, C, D, H, W)"))
    lines = []
    for n in size[2:]:
        line = np.linspace(-1, 1, n) if n > 1 else np.zeros(n)
        lines.append(line if align_corners else line * (n - 1) / n)
    axes = np.meshgrid(*lines, indexing="ij")[::-1]
    places = np.stack([*axes, np.ones_like(axes[0])], -1).reshape(1, -1, rank + 1)
    return tensor(places, dtype=theta.dtype).matmul(theta.mT).reshape((size[0], *size[2:], rank))


def _unnormalized(x: Tensor, n: int, align_corners: bool) -> Tensor:
    """A place from -1 to 1 as one from 0 to n - 1."""
    return (x + 1) * ((n - 1) / 2) if align_corners else ((x + 1) * n - 1) / 2


def _reflected(x: Tensor, low: float, high: float) -> Tensor:
    """Places beyond the ends, mirrored."""
    if high <= low:
        return x * 0
    span, shifted = high - low, (x - low).abs()
    flips = (shifted.detach() / span).floor()
    extra = shifted - flips * span
    return (extra + low).where(flips % 2 == 0, span - extra + low)


def _bounded(x: Tensor, n: int, padding_mode: str, aligned: bool) -> Tensor:
    """Places beside an axis of n, led back to it unless zeros are there."""
    if padding_mode == "reflection":
        x = _reflected(x, 0, n - 1) if aligned else _reflected(x, -0.5, n - 0.5)
    return x if padding_mode == "zeros" else x.clamp(0, n - 1)


# How far the elements that count are from the one in front of a place, and their weights by how far that is behind it.
_GRID: Final[dict[str, dict[int, Any]]] = {
    "nearest": {0: None},
    "bilinear": {0: lambda t: 1 - t, 1: lambda t: t},
    "bicubic": {
        -1: lambda t: _far(t + 1, -0.75), 0: lambda t: _near(t, -0.75),
        1: lambda t: _near(1 - t, -0.75), 2: lambda t: _far(2 - t, -0.75),
    },
}  # fmt: skip


@takes_data
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Pictures at the places of a grid: (N, C, H, W) and (N, H', W', 2), each (x, y) from -1 to 1, to (N, C, H', W');
    the same for volumes. Modes are "bilinear", "nearest" and, for pictures, "bicubic"; beside the picture are "zeros",
    its "border", or its "reflection". Jaderberg et al., NeurIPS 2015.

    >>> import tinygrad_nn as tg
    >>> grid = affine_grid(tg.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 1, 2, 2), align_corners=True)
    >>> grid_sample(tg.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), grid, align_corners=True)
    tensor([[[[2., 1.],
              [4., 3.]]]])
    """
    name, rank = "grid_sample", input.ndim - 2
    check_floats(name, input, grid)
    choice(name, "mode", mode, _GRID)
    choice(name, "padding_mode", padding_mode, ("zeros", "border", "reflection"))
    if rank not in (2, 3) or grid.ndim != input.ndim or grid.shape[-1] != rank or grid.shape[0] != input.shape[0]:
        got = f"shapes {input.shape} and {grid.shape}"
        raise ShapeError(
            message(name, got, "(N, C, H, W) and (N, H', W', 2), or (N, C, D, H, W) and (N, D', H', W', 3)")
        )
    if rank == 3 and mode == "bicubic":
        raise ConfigError(message(name, f"mode 'bicubic' for shape {input.shape}", "pictures (N, C, H, W)"))
    lines, lead, aligned = input.shape[2:], input.shape[:2], bool(align_corners)
    flat = input.reshape((*lead, math.prod(lines)))
    wanted = grid.shape[1:-1]
    places = [_unnormalized(grid.select(-1, rank - 1 - k), n, aligned) for k, n in enumerate(lines)]
    if mode != "bicubic":  # which sees each of its elements beyond the ends in another place
        places = [_bounded(x, n, padding_mode, aligned) for x, n in zip(places, lines, strict=True)]
    firsts = [x.detach().round() if mode == "nearest" else x.detach().floor() for x in places]
    result: Tensor | None = None
    for steps in product(_GRID[mode], repeat=rank):
        index: Any = 0
        inside: Any = True
        weights = []
        for x, first, n, step in zip(places, firsts, lines, steps, strict=True):
            at = first + step
            at = _bounded(at, n, padding_mode, aligned) if mode == "bicubic" else at
            inside = (at >= 0) & (at <= n - 1) & inside
            index = index * n + at.clamp(0, n - 1).nan_to_num().long()
            if mode != "nearest":
                weights.append(_GRID[mode][step](x - first))
        rows = index.reshape((lead[0], 1, math.prod(wanted))).expand_to((*lead, math.prod(wanted)))
        part = flat.gather(2, rows).reshape((*lead, *wanted)).where(inside.unsqueeze(1), 0)
        part = part * reduce(mul, weights).unsqueeze(1) if weights else part
        result = part if result is None else result + part
    return input if result is None else result
