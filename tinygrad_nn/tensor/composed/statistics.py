"""What is said of many numbers: moments, covariances, histograms."""

from __future__ import annotations

from ...support.settings import typed
from ..contract import T
from ..shape import Ints


@typed
def std_mean(
    self: T,
    dim: Ints | bool | None = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[T, T]:
    """(`std`, `mean`) over the same axes."""
    axes = None if isinstance(dim, bool) else dim
    return self.std(dim, unbiased, keepdim, correction=correction), self.mean(axes, keepdim)


@typed
def var_mean(
    self: T,
    dim: Ints | bool | None = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[T, T]:
    """(`var`, `mean`) over the same axes."""
    axes = None if isinstance(dim, bool) else dim
    return self.var(dim, unbiased, keepdim, correction=correction), self.mean(axes, keepdim)
