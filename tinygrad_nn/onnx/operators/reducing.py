"""Operators that fold axes: sums, extremes, positions of extremes, running sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from ...ops.rules import BOOL
from ...tensor import Tensor
from ...tensor.joining import cat
from .form import Known, axes_of, ints


def fold(function: Callable[[Tensor, list[int]], Tensor]) -> Callable[..., Tensor]:
    """A fold over some axes, which stay with length 1. The rule gets axes and keeps them."""

    def operator(
        x: Tensor, which: Known | None = None, *, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Tensor:
        wanted = ints(axes if which is None else which) if axes is not None or which is not None else []
        along = axes_of(wanted, x.ndim)
        if not along:
            if noop_with_empty_axes:
                return function(x.unsqueeze(-1), [x.ndim]).reshape(x.shape)
            along = list(range(x.ndim))
        found = function(x, along) if along else function(x.reshape(1), [0]).reshape(())
        return found if keepdims else found.reshape([n for k, n in enumerate(x.shape) if k not in along])

    return operator


def total(x: Tensor, axes: list[int]) -> Tensor:
    """The sum, of integers in their own dtype."""
    return x.sum(axes, keepdim=True).to(x.dtype)


def product(x: Tensor, axes: list[int]) -> Tensor:
    """The product."""
    return x.prod(axes, keepdim=True).to(x.dtype)


def mean(x: Tensor, axes: list[int]) -> Tensor:
    """The mean; of integers rounded to zero."""
    if x.dtype.kind == "f":
        return x.mean(axes, keepdim=True)
    return total(x, axes).div(int(np.prod([x.shape[k] for k in axes])), rounding_mode="trunc")


def largest(x: Tensor, axes: list[int]) -> Tensor:
    """The largest; of nothing the least there is."""
    return _extreme(x, axes, Tensor.amax, True)


def least(x: Tensor, axes: list[int]) -> Tensor:
    """The least; of nothing the largest there is."""
    return _extreme(x, axes, Tensor.amin, False)


def _extreme(x: Tensor, axes: list[int], function: Callable[..., Tensor], most: bool) -> Tensor:
    if x.dtype == BOOL:
        return (Tensor.any if most else Tensor.all)(x, axes, True)
    if x.numel():
        return function(x, axes, keepdim=True)
    lengths = [1 if k in axes else n for k, n in enumerate(x.shape)]
    limits = np.iinfo(x.dtype) if x.dtype.kind == "i" else None
    empty = (-np.inf if most else np.inf) if limits is None else (limits.min if most else limits.max)
    return x.new_tensor(empty).broadcast_to(lengths)


def norm2(x: Tensor, axes: list[int]) -> Tensor:
    """The Euclidean norm."""
    wide = x if x.dtype.kind == "f" else x.double()
    return (wide * wide).sum(axes, keepdim=True).sqrt().to(x.dtype)


def log_sum_exp(x: Tensor, axes: list[int]) -> Tensor:
    """log(sum(exp(x)))."""
    wide = x if x.dtype.kind == "f" else x.double()
    if not x.numel():
        return wide.exp().sum(axes, keepdim=True).log().to(x.dtype)
    return wide.logsumexp(axes, keepdim=True).to(x.dtype)


def log_sum(x: Tensor, axes: list[int]) -> Tensor:
    """log(sum(x))."""
    wide = x if x.dtype.kind == "f" else x.double()
    return wide.sum(axes, keepdim=True).log().to(x.dtype)


def position(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Where an extreme stands along an axis: its first place, or its last."""

    def operator(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
        if select_last_index:
            return x.shape[axis] - 1 - function(x.flip(axis), axis, bool(keepdims))
        return function(x, axis, bool(keepdims))

    return operator


def running(function: Callable[..., Tensor], first: int) -> Callable[..., Tensor]:
    """A fold of all up to each place, from either end; `exclusive`: without the place itself."""

    def operator(x: Tensor, axis: Known, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
        along = axes_of(axis, x.ndim)[0]
        x = x.flip(along) if reverse else x
        found = function(x, along).to(x.dtype)
        if exclusive:
            begin = x.new_tensor(first).broadcast_to([1 if k == along else n for k, n in enumerate(x.shape)])
            found = cat([begin, found.narrow(along, 0, x.shape[along] - 1)], along)
        return found.flip(along) if reverse else found

    return operator


OPERATORS: Final[Mapping[str, Any]] = {
    "ArgMax": position(Tensor.argmax),
    "ArgMin": position(Tensor.argmin),
    "CumProd": running(Tensor.cumprod, 1),
    "CumSum": running(Tensor.cumsum, 0),
    "ReduceL1": fold(lambda x, axes: total(x.abs(), axes)),
    "ReduceL2": fold(norm2),
    "ReduceLogSum": fold(log_sum),
    "ReduceLogSumExp": fold(log_sum_exp),
    "ReduceMax": fold(largest),
    "ReduceMean": fold(mean),
    "ReduceMin": fold(least),
    "ReduceProd": fold(product),
    "ReduceSum": fold(total),
    "ReduceSumSquare": fold(lambda x, axes: total(x * x, axes)),
}
