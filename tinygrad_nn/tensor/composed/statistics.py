"""What is said of many numbers: moments, covariances, counts and histograms, distances.

What has as many elements as the data says (`bincount`) reads its values, so it does not compile.
"""

from __future__ import annotations

import math
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from ...errors import ConfigError, DTypeError, IndexOutOfRange, ShapeError, message
from ...ops.index import SCATTER_ADD
from ...support.settings import integer, is_iterable, is_whole, number, shown, typed
from ..contract import T
from ..core import Core, constant
from ..operators import Operand
from ..shape import Ints, normal_axis
from .ordering import searchsorted

_S = TypeVar("_S")


# ---- moments ---------------------------------------------------------------------------------------------------------


@typed
def std_mean(
    self: T,
    dim: Ints | bool | None = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[T, T]:
    """(`std`, `mean`) over the same axes.

    >>> import tinygrad_nn as tg
    >>> tg.std_mean([1.0, 2.0, 3.0])
    (tensor(1.), tensor(2.))
    """
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
    """(`var`, `mean`) over the same axes.

    >>> import tinygrad_nn as tg
    >>> tg.var_mean([1.0, 2.0, 3.0])
    (tensor(1.), tensor(2.))
    """
    axes = None if isinstance(dim, bool) else dim
    return self.var(dim, unbiased, keepdim, correction=correction), self.mean(axes, keepdim)


@typed
def cov(self: T, *, correction: int = 1, fweights: Operand | None = None, aweights: Operand | None = None) -> T:
    """Covariances of variables, which are rows, over observations, which are columns.

    `fweights` says how often each observation was made, `aweights` how much it counts.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]).cov().tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    if self.ndim > 2:
        raise ShapeError(message("cov", f"shape {self.shape}", "at most two axes"))
    rows = self.as_float()
    rows = rows if self.ndim == 2 else rows.reshape((1, -1))
    count = rows.shape[1]
    weights = [None if w is None else self._operand(w, "cov") for w in (fweights, aweights)]
    for w, kind, words in zip(weights, "if", ("integers", "floats"), strict=True):
        if w is not None and (w.dtype.kind != kind or w.shape != (count,)):
            got = f"weights {w.shape}:{w.dtype.name} for {count} observations"
            raise ShapeError(message("cov", got, f"{words}, one for each observation"))
    given: list[T] = [w for w in weights if w is not None]
    if not given:
        centred = rows - rows.mean(1, keepdim=True)
        return _squeezed(centred @ centred.T / float(max(count - correction, 0)))
    weight = given[0] * given[1] if len(given) == 2 else given[0]
    total = weight.sum()
    freedom = total - correction
    if weights[1] is not None and correction:
        freedom = total - (weight * given[-1]).sum() / total * correction
    centred = rows - (rows * weight).sum(1, keepdim=True) / total
    return _squeezed(centred @ (centred * weight).T / freedom.clamp(0))


def _squeezed(matrix: T) -> T:
    """The covariance of one variable is a number."""
    return matrix if matrix.numel() != 1 else matrix.reshape(())


def corrcoef(self: T) -> T:
    """Correlation coefficients of variables, which are rows, over observations, which are columns.

    >>> import tinygrad_nn as tg
    >>> tg.corrcoef([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    if self.ndim > 2:
        raise ShapeError(message("corrcoef", f"shape {self.shape}", "at most two axes"))
    matrix = cov(self)
    if not matrix.ndim:
        return matrix / matrix
    scale = matrix.diagonal().sqrt()
    return (matrix / scale.unsqueeze(1) / scale).clamp(-1, 1)


# ---- distances -------------------------------------------------------------------------------------------------------


@typed
def dist(self: T, other: Operand, p: float = 2) -> T:
    """The p-norm of x - other, which broadcast.

    >>> import tinygrad_nn as tg
    >>> tg.dist([0.0, 0.0], [3.0, 4.0])
    tensor(5.)
    """
    return (self - self._operand(other, "dist")).norm(p)


@typed
def renorm(self: T, p: float, dim: int, maxnorm: float) -> T:
    """The slices along one axis, those whose p-norm is larger than `maxnorm` shortened to it.

    >>> import tinygrad_nn as tg
    >>> tg.renorm([[3.0, 4.0], [0.3, 0.4]], p=2, dim=0, maxnorm=1.0)
    tensor([[0.6, 0.8],
            [0.3, 0.4]])
    """
    x = self._floating("renorm")
    if x.ndim < 2:
        raise ShapeError(message("renorm", f"shape {x.shape}", "at least two axes"))
    if p <= 0 or maxnorm < 0:
        raise ConfigError(message("renorm", f"p {p} and maxnorm {maxnorm}", "p > 0 and maxnorm >= 0"))
    axis = normal_axis("renorm", dim, x.ndim)
    size = x.norm(p, tuple(a for a in range(x.ndim) if a != axis), keepdim=True)
    return x * (maxnorm / (size + 1e-7)).where(size > maxnorm, size._stopped() * 0 + 1)


@typed
def cross(self: T, other: Operand, dim: int | None = None) -> T:
    """Vector products along an axis of length 3, by default the first such one; the operands broadcast.

    >>> import tinygrad_nn as tg
    >>> tg.cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], dim=0)
    tensor([0., 0., 1.])
    """
    x, y = self._promoted(other, "cross")
    if x.ndim != y.ndim:
        raise ShapeError(message("cross", f"shapes {x.shape} and {y.shape}", "as many axes"))
    axis = dim if dim is not None else next((a for a, n in enumerate(x.shape) if n == 3), 0)
    axis = normal_axis("cross", axis, x.ndim)
    if not x.ndim or x.shape[axis] != 3 or y.shape[axis] != 3:
        raise ShapeError(message("cross", f"shapes {x.shape} and {y.shape}", f"length 3 of axis {axis}"))
    return x.roll(-1, axis) * y.roll(-2, axis) - x.roll(-2, axis) * y.roll(-1, axis)


# ---- counts ----------------------------------------------------------------------------------------------------------


class HistogramDD(NamedTuple, Generic[_S]):
    """What `histogramdd` gives."""

    hist: _S
    bin_edges: tuple[_S, ...]


class Histogram(NamedTuple, Generic[_S]):
    """What `histogram` gives."""

    hist: _S
    bin_edges: _S


@typed
def bincount(self: T, weights: Operand | None = None, minlength: int = 0) -> T:
    """How often 0, 1, ... up to the largest integer are there, or the sums of their `weights`. Without a gradient.

    >>> import tinygrad_nn as tg
    >>> tg.bincount(tg.tensor([0, 2, 2]), minlength=5).tolist()
    [1, 0, 2, 0, 0]
    """
    if self.ndim != 1 or self.dtype.kind != "i":
        raise DTypeError(message("bincount", f"shape {self.shape} of {self.dtype.name}", "integers along one axis"))
    integer("bincount", "minlength", minlength, least=0)
    array = self._value("bincount")
    if array.size and array.min() < 0:
        raise IndexOutOfRange(message("bincount", f"the number {array.min()}", "no negative numbers"))
    if weights is None:
        return self.handle(constant(np.bincount(array, minlength=minlength).astype(np.int64)))  # type: ignore[no-any-return]
    given = self._operand(weights, "bincount")
    if given.shape != self.shape:
        raise ShapeError(message("bincount", f"weights of shape {given.shape} for {self.shape}", "equal shapes"))
    dtype = given.dtype if given.dtype == np.float32 else np.dtype(np.float64)
    sums = np.bincount(array, given._value("bincount"), minlength).astype(dtype)
    return self.handle(constant(sums))  # type: ignore[no-any-return]


@typed
def histc(self: T, bins: int = 100, min: float = 0, max: float = 0) -> T:
    """How many elements are in each of `bins` equal parts of [min, max], by default from the least to the largest;
    those outside do not count. Without a gradient.

    >>> import tinygrad_nn as tg
    >>> tg.histc([1.0, 2.0, 2.0, 4.0], bins=3, min=1, max=4)
    tensor([1., 2., 1.])
    """
    x = self._floating("histc")._stopped().reshape(-1)
    integer("histc", "bins", bins, least=1)
    low, high = x._operand(float(min), "histc"), x._operand(float(max), "histc")
    if min == max and x.numel():
        low, high = x.amin(), x.amax()
    elif min > max:
        raise ConfigError(message("histc", f"min {min} and max {max}", "min <= max"))
    same = low.eq(high)
    low, high = (low - 1).where(same, low), (high + 1).where(same, high)
    if not low.is_traced and not bool((low.isfinite() & high.isfinite()).all()):
        raise ConfigError(message("histc", f"a range from {low} to {high}", "finite numbers"))
    inside = (x >= low) & (x <= high)
    place = ((x - low) / (high - low) * bins).masked_fill(~inside, 0).floor().long().clamp(0, bins - 1)
    return inside.cast(x.dtype).apply(SCATTER_ADD, place, axis=0, shape=(bins,))


def _ends(name: str, given: Any) -> tuple[float, float]:
    """The two numbers of a range."""
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise ConfigError(message(name, f"range {shown(given)}", "two numbers"))
    return number(name, "range", given[0]), number(name, "range", given[1])


@typed
def histogram(
    self: T, bins: Any, *, range: Any = None, weight: Operand | None = None, density: bool = False
) -> Histogram[T]:
    """(hist, bin_edges): how many elements, or what sum of weights, is in each bin, without a gradient.

    `bins` is a number of equal parts of `range` (by default from the least to the largest), or the edges. Each bin has
    its left edge, the last one both. With `density` the integral is 1.

    >>> import tinygrad_nn as tg
    >>> tg.histogram([1.0, 2.0, 2.0, 4.0], 3).hist
    tensor([1., 2., 1.])
    """
    x = self._floating("histogram")._stopped().reshape(-1)
    if isinstance(bins, (Core, np.ndarray)):
        edges = x._operand(bins, "histogram")._stopped()
        if edges.ndim != 1 or edges.dtype != x.dtype:
            got = f"edges {edges.shape}:{edges.dtype.name} for {x.dtype.name}"
            raise ShapeError(message("histogram", got, "a line of numbers of one dtype"))
    else:
        count = integer("histogram", "bins", bins, least=1)
        array = np.asarray(x._value("histogram")) if range is None and x.numel() else np.arange(2.0)
        low, high = (array.min(), array.max()) if range is None else _ends("histogram", range)
        if not (math.isfinite(low) and math.isfinite(high)) or low > high:
            raise ConfigError(message("histogram", f"a range from {low} to {high}", "finite numbers, in order"))
        low, high = (low - 0.5, high + 0.5) if low == high else (low, high)
        edges = x.handle(constant(np.linspace(low, high, count + 1).astype(x.dtype)))
    count = edges.shape[0] - 1
    inside = (x >= edges[0]) & (x <= edges[count])
    place = (searchsorted(edges, x, right=True) - 1).clamp(0, count - 1)
    weights = inside.cast(x.dtype)
    if weight is not None:
        given = x._operand(weight, "histogram")
        if given.shape != self.shape or given.dtype != x.dtype:
            raise ShapeError(message("histogram", f"weights of shape {given.shape} for {self.shape}", "equal ones"))
        weights = weights * given._stopped().reshape(-1)
    hist = weights.apply(SCATTER_ADD, place, axis=0, shape=(count,))
    if density:
        hist = hist / hist.sum() / (edges[1:] - edges[:-1])
    return Histogram(hist, edges)


@typed
def histogramdd(
    self: T, bins: Any, *, range: Any = None, weight: Operand | None = None, density: bool = False
) -> HistogramDD[T]:
    """(hist, bin_edges) of points (..., D): how many, or what sum of weights, is in each box, without a gradient.

    `bins` is a number of equal parts of each axis, one number for each, or edges for each; `range` has the two ends of
    each axis, one after another. With `density` the integral is 1.

    >>> import tinygrad_nn as tg
    >>> tg.histogramdd(tg.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]]), [2, 2]).hist.tolist()
    [[0.0, 1.0], [1.0, 1.0]]
    """
    name = "histogramdd"
    if self.ndim < 2:
        raise ShapeError(message(name, f"shape {self.shape}", "points (..., D)"))
    points = self._floating(name)._stopped().reshape((-1, self.shape[-1]))
    rank = points.shape[1]
    given = [bins] * rank if is_whole(bins) else list(bins) if is_iterable(bins) else []
    flat = list(range) if isinstance(range, (tuple, list)) else []
    ends = [None] * rank if range is None else list(zip(flat[::2], flat[1::2], strict=False))
    if len(given) != rank or len(ends) != rank or not rank:
        raise ShapeError(message(name, f"{shown(bins)} and range {shown(range)} for {rank} axes", "one for each"))
    lines = points.unbind(1)
    edges = [histogram(x, b, range=r).bin_edges for x, b, r in zip(lines, given, ends, strict=True)]
    counts = [e.shape[0] - 1 for e in edges]
    weights, place = points.new_ones(points.shape[0]), points.new_zeros(points.shape[0]).long()
    for x, e, n in zip(lines, edges, counts, strict=True):
        weights = weights.masked_fill((x < e[0]) | (x > e[n]), 0)
        place = place * n + (searchsorted(e, x, right=True) - 1).clamp(0, n - 1)
    if weight is not None:
        own = points._operand(weight, name)
        if own.numel() != points.shape[0] or own.dtype != points.dtype:
            raise ShapeError(message(name, f"weights of shape {own.shape} for {self.shape}", "one for each point"))
        weights = weights * own._stopped().reshape(-1)
    hist = weights.apply(SCATTER_ADD, place, axis=0, shape=(math.prod(counts),)).reshape(tuple(counts))
    if density:
        hist = hist / hist.sum()
        for axis, e in enumerate(edges):
            hist = hist / (e[1:] - e[:-1]).reshape((-1, *(1,) * (rank - 1 - axis)))
    return HistogramDD(hist, tuple(edges))
