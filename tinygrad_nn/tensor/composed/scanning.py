"""What runs along one axis: running extremes and logarithms of sums, differences, integrals by trapezoids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import ConfigError, ShapeError, message
from ...ops.index import GATHER
from ...support.settings import shown, typed
from ..contract import T
from ..core import Core
from ..operators import Operand
from ..reduce import ValuesIndices
from ..shape import Ints, normal_axes, normal_axis, several

# ---- running results, in log2(n) steps over all elements at once -----------------------------------------------------


@typed
def cummax(self: T, dim: int) -> ValuesIndices[T]:
    """(values, indices) of the largest element so far along one axis; of equal ones the last, of NaN too.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([1.0, 3.0, 2.0, 3.0]).cummax(0).indices.tolist()
    [0, 1, 1, 3]
    """
    return _running("cummax", self, dim, lambda a, b: b >= a)


@typed
def cummin(self: T, dim: int) -> ValuesIndices[T]:
    """(values, indices) of the smallest element so far along one axis; of equal ones the last, of NaN too.

    >>> import tinygrad_nn as tg
    >>> tg.cummin([3.0, 1.0, 2.0], dim=0).values
    tensor([3., 1., 1.])
    """
    return _running("cummin", self, dim, lambda a, b: b <= a)


def _running(name: str, self: T, dim: int, later: Callable[[T, T], T]) -> ValuesIndices[T]:
    """(values, indices) of a running choice; `later(a, b)` says whether it falls on b, which comes after a."""
    x, axis = self._line(name, dim)
    shape, length = x.shape, x.shape[axis]
    index = x.new_arange(length).reshape((-1, *(1,) * (x.ndim - axis - 1))).expand_to(shape)
    best, step = x._stopped(), 1
    while step < length:
        before, here = best.narrow(axis, 0, length - step), best.narrow(axis, step, length - step)
        take = later(before, here) & before.eq(before) | here.ne(here)
        index_before, index_here = index.narrow(axis, 0, length - step), index.narrow(axis, step, length - step)
        best = best.narrow(axis, 0, step).cat_with(here.where(take, before), dim=axis)
        index = index.narrow(axis, 0, step).cat_with(index_here.where(take, index_before), dim=axis)
        step *= 2
    values = x.apply(GATHER, index, axis=axis) if x.numel() else x.clone()
    return ValuesIndices(values.reshape(self.shape), index.reshape(self.shape))


@typed
def logcumsumexp(self: T, dim: int) -> T:
    """log(cumsum(exp(x))) along one axis without overflow.

    >>> import tinygrad_nn as tg
    >>> tg.logcumsumexp([0.0, 0.0, 0.0], dim=0)
    tensor([0.0000, 0.6931, 1.0986])
    """
    x, axis = self._floating("logcumsumexp")._line("logcumsumexp", dim)
    length, step = x.shape[axis], 1
    total = x
    while step < length:
        before, here = total.narrow(axis, 0, length - step), total.narrow(axis, step, length - step)
        total = total.narrow(axis, 0, step).cat_with(here.logaddexp(before), dim=axis)
        step *= 2
    return total.reshape(self.shape) if total is not x else self.clone()


# ---- differences and integrals ---------------------------------------------------------------------------------------


@typed
def diff(self: T, n: int = 1, dim: int = -1, prepend: Operand | None = None, append: Operand | None = None) -> T:
    """Differences of neighbours along one axis, `n` times; of bools whether they differ. `prepend` and `append` are
    joined before and behind first, if n is not 0.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([1, 4, 9, 16]).diff(2).tolist()
    [2, 2]
    """
    if not self.shape:
        raise ShapeError(message("diff", "a 0-d tensor", "at least one axis"))
    axis = normal_axis("diff", dim, self.ndim)
    if n < 0:
        raise ConfigError(message("diff", f"n {n}", "n >= 0"))
    if n == 0:
        return self.clone()
    parts = [x if x is self else self._operand(x, "diff") for x in (prepend, self, append) if x is not None]
    x = parts[0].cat_with(*parts[1:], dim=axis) if len(parts) > 1 else self
    for _ in range(min(n, x.shape[axis])):
        rest = max(x.shape[axis] - 1, 0)
        later, earlier = x.narrow(axis, x.shape[axis] - rest, rest), x.narrow(axis, 0, rest)
        x = later ^ earlier if x.dtype.kind == "b" else later - earlier
    return x


@typed
def trapezoid(self: T, x: Operand | None = None, *, dx: float | None = None, dim: int = -1) -> T:
    """Integral along one axis by trapezoids, with points `x` or at distances of `dx`, which is 1.

    >>> import tinygrad_nn as tg
    >>> tg.trapezoid([1.0, 2.0, 3.0])
    tensor(4.)
    """
    return _trapezoids("trapezoid", self, x, dx, dim).sum(dim)


@typed
def trapz(self: T, x: Operand | None = None, *, dx: float | None = None, dim: int = -1) -> T:
    """As `trapezoid`.

    >>> import tinygrad_nn as tg
    >>> tg.trapz([1.0, 2.0, 3.0], dx=0.5)
    tensor(2.)
    """
    return _trapezoids("trapz", self, x, dx, dim).sum(dim)


@typed
def cumulative_trapezoid(self: T, x: Operand | None = None, *, dx: float | None = None, dim: int = -1) -> T:
    """Running integral along one axis by trapezoids: one element less than there are points.

    >>> import tinygrad_nn as tg
    >>> tg.cumulative_trapezoid([1.0, 2.0, 3.0])
    tensor([1.5, 4.0])
    """
    return _trapezoids("cumulative_trapezoid", self, x, dx, dim).cumsum(dim)


def _trapezoids(name: str, y: T, x: Operand | None, dx: float | None, dim: int) -> T:
    """The area under each piece."""
    if not y.shape:
        raise ShapeError(message(name, "a 0-d tensor", "at least one axis"))
    if x is not None and dx is not None:
        raise ConfigError(message(name, "both x and dx", "one of them"))
    axis = normal_axis(name, dim, y.ndim)
    pieces = max(y.shape[axis] - 1, 0)
    both = y.narrow(axis, y.shape[axis] - pieces, pieces) + y.narrow(axis, 0, pieces)
    if x is None:
        return both * (0.5 * (1.0 if dx is None else dx))
    points = y._operand(x, name)
    if points.ndim == 1 and y.ndim != 1:  # along the axis; others are aligned at the last axis
        if points.shape[0] != y.shape[axis]:
            got = f"{points.shape[0]} points for an axis of {y.shape[axis]}"
            raise ShapeError(message(name, got, "a point for each element"))
        points = points.reshape((-1, *(1,) * (y.ndim - axis - 1)))
        return diff(points, dim=0) * both * 0.5
    return diff(points, dim=dim if dim < 0 else axis - y.ndim) * both * 0.5


@typed
def gradient(self: T, *, spacing: Any = None, dim: Ints | None = None, edge_order: int = 1) -> tuple[T, ...]:
    """The slope along each axis (or along those of `dim`) by central differences, at the edges by those of
    `edge_order` 1 or 2. `spacing` is a distance for all axes (1), one for each, or a tensor of points for each.

    >>> import tinygrad_nn as tg
    >>> tg.gradient(tg.tensor([1.0, 4.0, 9.0, 16.0]))[0].tolist()
    [3.0, 4.0, 6.0, 7.0]
    """
    axes = (
        normal_axes("gradient", None, self.ndim)
        if dim is None
        else tuple(normal_axis("gradient", a, self.ndim) for a in several("gradient", "dim", dim))
    )
    if edge_order not in (1, 2):
        raise ConfigError(message("gradient", f"edge_order {edge_order}", "1 or 2"))
    spacing = 1 if spacing is None else spacing
    listed = isinstance(spacing, (list, tuple)) or (isinstance(spacing, Core) and spacing.ndim == 1 and len(axes) > 1)
    given = list(spacing) if listed else [spacing] * len(axes)
    if len(given) != len(axes):
        raise ConfigError(message("gradient", f"{len(given)} spacings for {len(axes)} axes", "one for each, or one"))
    x = self if self.dtype.kind == "f" else self.as_float()
    return tuple(_slope(x, axis, one, edge_order) for axis, one in zip(axes, given, strict=True))


def _slope(x: T, axis: int, spacing: Any, order: int) -> T:
    length = x._length(axis, "gradient")
    if length <= order:
        raise ShapeError(message("gradient", f"an axis of {length}", f"more than {order} elements"))

    def at(first: int, count: int, of: T = x) -> T:
        return of.narrow(axis, first, count)

    if isinstance(spacing, Core) and spacing.ndim == 1:
        if spacing.shape[0] != length:
            raise ShapeError(message("gradient", f"{spacing.shape[0]} points for an axis of {length}", "as many"))
        points: T = x._operand(spacing, "gradient")
        steps = diff(points, dim=0).reshape((-1, *(1,) * (x.ndim - axis - 1)))
    elif isinstance(spacing, (int, float)) or (isinstance(spacing, Core) and not spacing.shape):
        distance = x._operand(spacing, "gradient").cast(x.dtype)
        steps = distance.expand_to((length - 1, *(1,) * (x.ndim - axis - 1)))
    else:
        raise ConfigError(message("gradient", f"spacing {shown(spacing)}", "a number or a tensor of points"))
    count = length - 2
    a, b = steps.narrow(0, 0, count), steps.narrow(0, 1, count)
    middle = (
        at(0, count) * (-b / (a * (a + b))) + at(1, count) * ((b - a) / (a * b)) + at(2, count) * (a / (b * (a + b)))
    )
    first, last = steps.narrow(0, 0, 1), steps.narrow(0, length - 2, 1)
    if order == 1:
        start, end = (at(1, 1) - at(0, 1)) / first, (at(length - 1, 1) - at(length - 2, 1)) / last
    else:
        second, before = steps.narrow(0, 1, 1), steps.narrow(0, length - 3, 1)
        start = _edge(at(0, 1), at(1, 1), at(2, 1), first, second)
        end = _edge(at(length - 1, 1), at(length - 2, 1), at(length - 3, 1), -last, -before)
    return start.cat_with(middle, end, dim=axis)


def _edge(a: T, b: T, c: T, h: T, k: T) -> T:
    """The slope at a of the parabola through a, b at distance h, and c at distance k from b."""
    return a * (-(2 * h + k) / (h * (h + k))) + b * ((h + k) / (h * k)) - c * (h / (k * (h + k)))
