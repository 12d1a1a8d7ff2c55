"""Pooling into windows whose places are drawn: Benjamin Graham, Fractional max-pooling, arXiv:1412.6071."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ConfigError, DTypeError, ShapeError, message
from ..random import uniform
from ..support.settings import integer, is_iterable, number
from ..tensor import Tensor
from ..tensor.contract import check_floats
from ..tensor.door import takes_data
from .convolution import AXES, Sizes, per_axis


def _pooled(
    name: str, rank: int, x: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, drawn: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The largest of every window, and where in the picture it is."""
    taps = per_axis(name, "kernel_size", kernel_size, rank, 1)
    if x.ndim not in (rank + 1, rank + 2):
        raise ShapeError(message(name, f"shape {x.shape}", f"(N, C, {AXES[rank]}) or (C, {AXES[rank]})"))
    whole = x if x.ndim == rank + 2 else x.unsqueeze(0)
    lead, lines = whole.shape[:2], whole.shape[2:]
    sizes = output_sizes(name, rank, lines, output_size, output_ratio)
    if any(n + k - 1 > line for n, k, line in zip(sizes, taps, lines, strict=True)):
        got = f"{lines} places for {sizes} windows of {taps}"
        raise ShapeError(message(name, got, "at least as many as windows and the rest of one"))
    samples = uniform((*lead, rank), x.dtype, None) if drawn is None else drawn
    check_floats(name, x, samples)
    if samples.ndim != 3 or samples.shape[0] < lead[0] or samples.shape[1:] != (lead[1], rank):
        got = f"_random_samples of shape {samples.shape}"
        raise ShapeError(message(name, got, f"{(*lead, rank)}, or more of them along the first axis"))
    if samples.dtype != x.dtype:
        raise DTypeError(message(name, f"_random_samples of dtype {samples.dtype.name}", x.dtype.name))
    samples = samples.narrow(0, 0, lead[0])
    order = range(rank - 1, -1, -1) if rank == 2 else range(rank)  # in pictures the first one is for rows' own places
    index: Any = 0
    for axis, (n, count, k) in enumerate(zip(lines, sizes, taps, strict=True)):
        at = _places(samples.select(-1, order[axis]), n, count, k).unsqueeze(-1) + whole.new_arange(k)
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = count, k
        index = index * n + at.reshape((*lead, *shape))
    window = math.prod(taps)
    flat = index.reshape((*lead, math.prod(sizes) * window))
    values, best = whole.flatten(2).gather(2, flat).reshape((*lead, *sizes, window)).max(-1)
    where = flat.reshape((*lead, *sizes, window)).gather(-1, best.unsqueeze(-1)).squeeze(-1)
    return (values, where) if whole is x else (values.squeeze(0), where.squeeze(0))


def _places(sample: Tensor, n: int, count: int, k: int) -> Tensor:
    """Where windows of k begin on an axis of n: (N, C, count), the last one at its end."""
    last = sample.new_full((*sample.shape, 1), n - k).long()
    if count == 1:
        return last
    step = (n - k) / (count - 1)
    u = sample.unsqueeze(-1)
    first = ((u + sample.new_arange(count - 1).to(sample.dtype)) * step).floor() - (u * step).floor()
    return first.long().cat_with(last, dim=-1)


def output_sizes(name: str, rank: int, lines: Sizes, output_size: Any, output_ratio: Any) -> Sizes:
    """How many windows there are on each axis. Raises ConfigError unless one of the two is given."""
    if (output_size is None) == (output_ratio is None):
        raise ConfigError(message(name, f"output_size {output_size} and output_ratio {output_ratio}", "one of them"))
    if output_ratio is None:
        return per_axis(name, "output_size", output_size, rank, 1)
    ratios = tuple(output_ratio) if is_iterable(output_ratio) else (output_ratio,) * rank
    if len(ratios) != rank:
        raise ConfigError(message(name, f"{len(ratios)} ratios for {rank} axes", "one for each, or one"))
    checked = [number(name, "output_ratio", ratio, above=0, below=1) for ratio in ratios]
    found = tuple(math.floor(n * ratio) for n, ratio in zip(lines, checked, strict=True))
    return tuple(integer(name, "output_ratio * size", n, least=1) for n in found)


@takes_data
def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The largest of windows that begin at drawn places: (N, C, H, W) or (C, H, W) to so many windows, or to a part of
    each axis; with `return_indices` also where it is, counted along rows.

    >>> import tinygrad_nn as tg
    >>> fractional_max_pool2d(tg.ones(1, 1, 5, 5), 2, output_size=3).shape
    (1, 1, 3, 3)
    """
    found = _pooled("fractional_max_pool2d", 2, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


@takes_data
def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The same over volumes: (N, C, D, H, W) or (C, D, H, W).

    >>> import tinygrad_nn as tg
    >>> fractional_max_pool3d(tg.ones(1, 1, 5, 5, 5), 2, output_size=3).shape
    (1, 1, 3, 3, 3)
    """
    found = _pooled("fractional_max_pool3d", 3, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]
