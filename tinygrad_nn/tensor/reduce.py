"""Reductions over axes, with PyTorch's names: `dim` may be an axis, several or None for all; `keepdim` keeps length 1."""

from __future__ import annotations

import math
from typing import Any, Self

from ..graph import Op
from ..ops.control import CUMPROD, CUMSUM
from ..ops.reduce import ARGMAX, MAX, MIN, PROD, SUM
from .core import check_dtype
from .shape import Ints, Shaped, normal_axes, normal_axis


class Reduced(Shaped):
    """Sums, extremes, moments, running sums."""

    __slots__ = ()

    def _reduce(self, op: Op, dim: Ints | None, keepdim: bool) -> Self:
        return self.apply(op, axis=normal_axes(op.name, dim, self.ndim), keepdims=keepdim)

    def sum(self, dim: Ints | None = None, keepdim: bool = False, dtype: Any = None) -> Self:
        """Sum; of integers and bools in int64."""
        operand = self if dtype is None else self.cast(check_dtype("sum", dtype))
        return operand._reduce(SUM, dim, keepdim)

    def prod(self, dim: Ints | None = None, keepdim: bool = False, dtype: Any = None) -> Self:
        """Product; of integers and bools in int64."""
        operand = self if dtype is None else self.cast(check_dtype("prod", dtype))
        return operand._reduce(PROD, dim, keepdim)

    def mean(self, dim: Ints | None = None, keepdim: bool = False) -> Self:
        """Arithmetic mean; NaN of nothing."""
        axes = normal_axes("mean", dim, self.ndim)
        count = math.prod(self.shape[a] for a in axes)
        return self._reduce(SUM, axes, keepdim) / float(count) if axes else self * 1

    def amax(self, dim: Ints | None = None, keepdim: bool = False) -> Self:
        """Largest element; equal ones share the gradient."""
        return self._reduce(MAX, dim, keepdim)

    def amin(self, dim: Ints | None = None, keepdim: bool = False) -> Self:
        """Smallest element; equal ones share the gradient."""
        return self._reduce(MIN, dim, keepdim)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Self:
        """Index of the (first) largest element, along one axis or of the flattened tensor."""
        if dim is None:
            flat = self.reshape(-1).apply(ARGMAX, axis=(0,), keepdims=False)
            return flat.reshape((1,) * self.ndim) if keepdim else flat
        return self.apply(ARGMAX, axis=(normal_axis("argmax", dim, self.ndim),), keepdims=keepdim)

    def cumsum(self, dim: int) -> Self:
        """Running sum along one axis."""
        return self.apply(CUMSUM, axis=normal_axis("cumsum", dim, self.ndim), reverse=False)

    def cumprod(self, dim: int) -> Self:
        """Running product along one axis."""
        return self.apply(CUMPROD, axis=normal_axis("cumprod", dim, self.ndim))
