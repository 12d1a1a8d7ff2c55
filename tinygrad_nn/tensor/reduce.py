"""Reductions over axes, with PyTorch's names: `dim` may be an axis, several or None for all; `keepdim` keeps length 1.

Also what runs along one axis: running sums and products, sorting, softmax. A 0-d tensor counts as a line of one
element. NumPy's names, `axis` and `keepdims`, come with `typed`; what every step calls has them itself, because a call
through a decorator takes a tenth longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Self, TypeVar, overload

import numpy as np

from ..errors import ConfigError, DTypeError, IndexOutOfRange, ShapeError, message
from ..graph.graph import DType, Op
from ..ops.composite import LOG_SOFTMAX, SOFTMAX
from ..ops.control import CUMPROD, CUMSUM
from ..ops.index import ARGSORT, GATHER
from ..ops.reduce import ARGMAX, ARGMIN, MAX, MIN, PROD, SUM
from ..ops.rules import BOOL, INT64
from ..support.settings import shown, typed
from .core import Core, check_dtype, scalar
from .operators import Operand
from .shape import Ints, Shaped, normal_axes, normal_axis, whole

T = TypeVar("T")


class ValuesIndices(NamedTuple, Generic[T]):
    """Elements chosen along one axis, and where they stand in it."""

    values: T
    indices: T


def _flag(name: str, keepdim: Any) -> bool:
    if not isinstance(keepdim, (bool, np.bool_)):
        raise DTypeError(message(name, f"keepdim {shown(keepdim)}", "True or False"))
    return bool(keepdim)


def _sum_dtype(name: str, x: Core, dtype: Any) -> DType:
    """The dtype asked for, else that of x if it is floating, else int64."""
    if dtype is not None:
        return check_dtype(name, dtype)
    return x.dtype if x.dtype.kind == "f" else INT64


class Reduced(Shaped):
    """Sums, extremes, moments, norms, running sums, order, softmax."""

    __slots__ = ()

    def _reduce(self, op: Op, dim: Ints | None, keepdim: Any) -> Self:
        if keepdim.__class__ is not bool:
            keepdim = _flag(op.name, keepdim)
        return self.apply(op, axis=normal_axes(op.name, dim, len(self.node.shape)), keepdims=keepdim)

    def _floating(self, name: str, dtype: Any = None) -> Self:
        """This tensor (in `dtype`, if one is given), or DTypeError where it is not floating."""
        x = self if dtype is None else self.cast(check_dtype(name, dtype))
        if x.node.dtype.kind != "f":
            raise DTypeError(message(name, f"dtype {x.dtype.name}", "a float dtype", "convert it with .float() first"))
        return x

    def _off_zero(self, function: Callable[[Self], Self]) -> Self:
        """function(x), which is 0 at 0, with gradient 0 there, whatever slope the function has."""
        if not self.node.needs_grad:
            return function(self)
        zero = self.eq(0)
        return function(self.masked_fill(zero, 1)).masked_fill(zero, 0)

    # ---- sums and products ------------------------------------------------------------------------------------------

    def sum(
        self,
        dim: Ints | None = None,
        keepdim: bool = False,
        dtype: Any = None,
        *,
        axis: Ints | None = None,
        keepdims: bool = False,
    ) -> Self:
        """Sum; of integers and bools in int64, unless `dtype` says otherwise; 0 of nothing.

        >>> import tinygrad_nn as tg
        >>> tg.sum([[1.0, 2.0], [3.0, 4.0]])
        tensor(10.)
        >>> tg.sum([[1.0, 2.0], [3.0, 4.0]], dim=1)
        tensor([3., 7.])
        """
        dim, keepdim = dim if axis is None else axis, keepdims if keepdim is False else keepdim
        if dtype is None:
            return self._reduce(SUM, dim, keepdim)
        wanted = check_dtype("sum", dtype)
        return self.cast(wanted)._reduce(SUM, dim, keepdim).cast(wanted)

    def prod(
        self,
        dim: Ints | None = None,
        keepdim: bool = False,
        dtype: Any = None,
        *,
        axis: Ints | None = None,
        keepdims: bool = False,
    ) -> Self:
        """Product; of integers and bools in int64, unless `dtype` says otherwise; 1 of nothing.

        >>> import tinygrad_nn as tg
        >>> tg.prod([1.0, 2.0, 3.0])
        tensor(6.)
        """
        dim, keepdim = dim if axis is None else axis, keepdims if keepdim is False else keepdim
        if dtype is None:
            return self._reduce(PROD, dim, keepdim)
        wanted = check_dtype("prod", dtype)
        return self.cast(wanted)._reduce(PROD, dim, keepdim).cast(wanted)

    def mean(
        self,
        dim: Ints | None = None,
        keepdim: bool = False,
        dtype: Any = None,
        *,
        axis: Ints | None = None,
        keepdims: bool = False,
    ) -> Self:
        """Arithmetic mean; NaN of nothing.

        Raises DTypeError for integers and bools, unless `dtype` is a float dtype.

        >>> import tinygrad_nn as tg
        >>> tg.mean([[1.0, 2.0], [3.0, 4.0]], dim=0)
        tensor([2., 3.])
        """
        x = self._floating("mean", dtype)
        axes = normal_axes("mean", dim if axis is None else axis, x.ndim)
        total = x.apply(SUM, axis=axes, keepdims=_flag("mean", keepdims if keepdim is False else keepdim))
        return total / float(math.prod([x.node.shape[a] for a in axes]))

    @typed
    def nansum(self, dim: Ints | None = None, keepdim: bool = False, dtype: Any = None) -> Self:
        """Sum of the elements that are not NaN.

        >>> import tinygrad_nn as tg
        >>> tg.nansum([1.0, float("nan"), 3.0])
        tensor(4.)
        """
        return self.masked_fill(self.isnan(), 0).sum(dim, keepdim, dtype)

    @typed
    def nanmean(self, dim: Ints | None = None, keepdim: bool = False, dtype: Any = None) -> Self:
        """Mean of the elements that are not NaN; NaN where there is none. Raises DTypeError for integers and bools.

        >>> import tinygrad_nn as tg
        >>> tg.nanmean([1.0, float("nan"), 3.0])
        tensor(2.)
        """
        x = self._floating("nanmean", dtype)
        return x.nansum(dim, keepdim) / (x == x).sum(dim, keepdim)

    @typed
    def var(
        self,
        dim: Ints | bool | None = None,
        unbiased: bool = True,
        keepdim: bool = False,
        *,
        correction: float | None = None,
    ) -> Self:
        """Sum of squared distances from the mean, divided by n - correction, which is n - 1 by default.

        `unbiased=False` means correction 0, also as `x.var(False)`. NaN or infinite where n <= correction. Raises
        DTypeError for integers and bools.

        >>> import tinygrad_nn as tg
        >>> tg.tensor([1.0, 2.0, 6.0]).var().item(), tg.tensor([1.0, 3.0]).var(correction=0).item()
        (7.0, 1.0)
        """
        if isinstance(dim, bool):
            return self.var(None, dim, keepdim, correction=correction)
        x = self._floating("var")
        axes = normal_axes("var", dim, x.ndim)
        count = math.prod([x.node.shape[a] for a in axes])
        centred = x - x.mean(axes, keepdim=True)
        divisor = count - (float(unbiased) if correction is None else correction)
        return (centred * centred).sum(axes, keepdim) / max(divisor, 0.0)

    @typed
    def std(
        self,
        dim: Ints | bool | None = None,
        unbiased: bool = True,
        keepdim: bool = False,
        *,
        correction: float | None = None,
    ) -> Self:
        """Square root of `var`, with gradient 0 where that is 0.

        >>> import tinygrad_nn as tg
        >>> tg.std([1.0, 2.0, 3.0])
        tensor(1.)
        """
        return self.var(dim, unbiased, keepdim, correction=correction)._off_zero(lambda v: v.sqrt())

    def _level(self, result: Self) -> Self:
        """A result of this shape that depends on this tensor in steps: with the gradient 0, where there is one."""
        return self.where(self.handle(scalar(False, BOOL)), result) if self.requires_grad else result

    @typed
    def norm(
        self, p: float | str | None = "fro", dim: Ints | None = None, keepdim: bool = False, dtype: Any = None
    ) -> Self:
        """(sum |x| ** p) ** (1 / p) over the axes; the default is 2.

        inf and -inf give the largest and smallest |x|, 0 counts the x that are not 0, "nuc" adds the singular values of
        matrices. The gradient is 0 where it has no direction (norm 0, element 0). Raises DTypeError for integers and
        bools, ConfigError for another `p`, ShapeError for the infinite norms of nothing.

        >>> import tinygrad_nn as tg
        >>> tg.norm([3.0, 4.0])
        tensor(5.)
        """
        x = self._floating("norm", dtype)
        if p is None or p == "fro":
            p = 2.0
        if p == "nuc":
            return x._nuclear("norm", dim, keepdim)
        if isinstance(p, str):
            raise ConfigError(message("norm", f"p={p!r}", "a number, 'fro', 'nuc' or None"))
        if p == math.inf:
            return x.abs().amax(dim, keepdim)
        if p == -math.inf:
            return x.abs().amin(dim, keepdim)
        if p == 0:
            return x._level(x.bool().cast(x.dtype)).sum(dim, keepdim)
        if p == 1:
            return x.abs().sum(dim, keepdim)
        if p == 2:
            return (x * x).sum(dim, keepdim)._off_zero(lambda total: total.sqrt())
        if p < 0:
            zero = x.eq(0)
            total = (x.abs().masked_fill(zero, math.inf) ** p).sum(dim, keepdim)
            return (total ** (1 / p)).masked_fill(zero.any(dim, keepdim) & ~total.isnan(), 0)
        return x.abs()._off_zero(lambda size: size**p).sum(dim, keepdim)._off_zero(lambda total: total ** (1 / p))

    def _nuclear(self, name: str, dim: Ints | None, keepdim: bool) -> Self:
        """The sum of the singular values of the matrices in two axes."""
        x, axes = self._floating(name), normal_axes(name, dim, self.ndim)
        if len(axes) != 2:
            raise ShapeError(message(name, f"shape {self.shape} and dim {dim}", "two axes"))
        values: Self = x.movedim(axes, (-2, -1)).svd().S.sum(-1)  # type: ignore[attr-defined]  # in `composed/`
        return values.unsqueeze(min(axes)).unsqueeze(max(axes)) if keepdim else values

    # ---- truth ------------------------------------------------------------------------------------------------------

    @typed
    def count_nonzero(self, dim: Ints | None = None) -> Self:
        """How many elements differ from 0; NaN does.

        >>> import tinygrad_nn as tg
        >>> tg.count_nonzero([[0.0, 2.0], [3.0, 4.0]], dim=1)
        tensor([1, 2])
        """
        return self.bool().sum(dim)

    def any(
        self, dim: Ints | None = None, keepdim: bool = False, *, axis: Ints | None = None, keepdims: bool = False
    ) -> Self:
        """Whether an element differs from 0; False of nothing.

        >>> import tinygrad_nn as tg
        >>> tg.any([[True, False], [False, False]], dim=1)
        tensor([ True, False])
        """
        return self.bool().sum(dim if axis is None else axis, keepdims if keepdim is False else keepdim).bool()

    def all(
        self, dim: Ints | None = None, keepdim: bool = False, *, axis: Ints | None = None, keepdims: bool = False
    ) -> Self:
        """Whether no element is 0; True of nothing.

        >>> import tinygrad_nn as tg
        >>> tg.all([[True, False], [True, True]], dim=1)
        tensor([False,  True])
        """
        return self.eq(0).sum(dim if axis is None else axis, keepdims if keepdim is False else keepdim).eq(0)

    @typed
    def allclose(self, other: Operand, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
        """Whether `isclose` holds everywhere, as a Python bool.

        >>> import tinygrad_nn as tg
        >>> tg.allclose([1.0, 2.0], [1.0, 2.0 + 1e-9])
        True
        """
        return bool(self.isclose(other, rtol, atol, equal_nan).all())

    def equal(self, other: Operand) -> bool:
        """Whether the other tensor has the same shape and elements, as a Python bool; NaN equals nothing.

        >>> import tinygrad_nn as tg
        >>> tg.equal([1, 2], [1, 2])
        True
        """
        other = self._operand(other, "equal")
        return self.shape == other.shape and bool((self == other).all())

    # ---- extremes ---------------------------------------------------------------------------------------------------

    def amax(
        self, dim: Ints | None = None, keepdim: bool = False, *, axis: Ints | None = None, keepdims: bool = False
    ) -> Self:
        """Largest element, NaN if there is one; equal ones share the gradient. Raises ShapeError for nothing.

        >>> import tinygrad_nn as tg
        >>> tg.amax([[1.0, 5.0], [7.0, 3.0]], dim=1)
        tensor([5., 7.])
        """
        return self._reduce(MAX, dim if axis is None else axis, keepdims if keepdim is False else keepdim)

    def amin(
        self, dim: Ints | None = None, keepdim: bool = False, *, axis: Ints | None = None, keepdims: bool = False
    ) -> Self:
        """Smallest element, NaN if there is one; equal ones share the gradient. Raises ShapeError for nothing.

        >>> import tinygrad_nn as tg
        >>> tg.amin([[1.0, 5.0], [7.0, 3.0]], dim=1)
        tensor([1., 3.])
        """
        return self._reduce(MIN, dim if axis is None else axis, keepdims if keepdim is False else keepdim)

    @typed
    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Self:
        """Index of the first largest element along one axis or in the flattened tensor; NaN is largest.

        Raises ShapeError for nothing, DTypeError for bools.

        >>> import tinygrad_nn as tg
        >>> tg.argmax([[1.0, 5.0], [7.0, 3.0]], dim=1)
        tensor([1, 0])
        """
        return self._arg(ARGMAX, dim, keepdim)

    @typed
    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Self:
        """Index of the first smallest element along one axis or in the flattened tensor; NaN is smallest.

        Raises ShapeError for nothing, DTypeError for bools.

        >>> import tinygrad_nn as tg
        >>> tg.argmin([[1.0, 5.0], [7.0, 3.0]], dim=1)
        tensor([0, 1])
        """
        return self._arg(ARGMIN, dim, keepdim)

    def _arg(self, op: Op, dim: int | None, keepdim: bool) -> Self:
        if self.node.dtype.kind == "b":
            raise DTypeError(message(op.name, "dtype bool", "a number", "convert it with .int()"))
        if dim is None:
            index = self.reshape(-1).apply(op, axis=(0,), keepdims=False)
            return index.reshape((1,) * self.ndim) if keepdim else index
        x, axis = self._line(op.name, dim)
        return x.apply(op, axis=(axis,), keepdims=keepdim).reshape(self._without(axis, keepdim))

    @overload
    def max(self) -> Self: ...
    @overload
    def max(self, dim: int, keepdim: bool = False) -> ValuesIndices[Self]: ...
    @overload
    def max(self, *, axis: int, keepdims: bool = False) -> ValuesIndices[Self]: ...
    @overload
    def max(self, dim: Core) -> Self: ...
    @overload
    def max(self, *, other: Core) -> Self: ...
    def max(
        self, dim: Any = None, keepdim: bool = False, *, other: Any = None, axis: Any = None, keepdims: bool = False
    ) -> Any:
        """Three functions in one, as in PyTorch.

        `x.max()` is `amax()`; `x.max(dim)` gives (values, indices) of the first largest element along an axis, which
        alone gets the gradient; `x.max(other)` is `maximum(other)`.

        >>> import tinygrad_nn as tg
        >>> x = tg.tensor([[1.0, 5.0], [4.0, 3.0]])
        >>> x.max().item(), x.max(1).indices.tolist(), x.max(tg.tensor(3.5)).tolist()
        (5.0, [1, 0], [[3.5, 5.0], [4.0, 3.5]])
        """
        tensor = dim if isinstance(dim, (Core, np.ndarray)) else other
        if tensor is not None:
            return self.maximum(tensor)
        return self._extreme(MAX, ARGMAX, dim if axis is None else axis, keepdims if keepdim is False else keepdim)

    @overload
    def min(self) -> Self: ...
    @overload
    def min(self, dim: int, keepdim: bool = False) -> ValuesIndices[Self]: ...
    @overload
    def min(self, *, axis: int, keepdims: bool = False) -> ValuesIndices[Self]: ...
    @overload
    def min(self, dim: Core) -> Self: ...
    @overload
    def min(self, *, other: Core) -> Self: ...
    def min(
        self, dim: Any = None, keepdim: bool = False, *, other: Any = None, axis: Any = None, keepdims: bool = False
    ) -> Any:
        """As `max`, for the smallest element.

        >>> import tinygrad_nn as tg
        >>> tg.min([3.0, 1.0, 2.0])
        tensor(1.)
        >>> tg.min([[3.0, 1.0], [2.0, 4.0]], dim=1).indices
        tensor([1, 0])
        """
        tensor = dim if isinstance(dim, (Core, np.ndarray)) else other
        if tensor is not None:
            return self.minimum(tensor)
        return self._extreme(MIN, ARGMIN, dim if axis is None else axis, keepdims if keepdim is False else keepdim)

    def _extreme(self, op: Op, arg: Op, dim: int | None, keepdim: bool) -> Any:
        keepdim = _flag(op.name, keepdim)
        if dim is None:
            return self._reduce(op, None, keepdim)
        x, axis = self._line(op.name, dim)
        indices = x.apply(arg, axis=(axis,), keepdims=True)
        values = x.apply(GATHER, indices, axis=axis)
        shape = self._without(axis, keepdim)
        return ValuesIndices(values.reshape(shape), indices.reshape(shape))

    # ---- along one axis ---------------------------------------------------------------------------------------------

    def _line(self, name: str, dim: int) -> tuple[Self, int]:
        """This tensor with at least one axis, and `dim` as a non-negative one of them."""
        axis = normal_axis(name, dim, self.ndim)
        return (self if self.node.shape else self.reshape((1,))), axis

    def _without(self, axis: int, keepdim: bool) -> tuple[int, ...]:
        """The shape after a reduction of one axis."""
        shape = self.node.shape
        return shape[:axis] + (1,) * (keepdim and bool(shape)) + shape[axis + 1 :]

    @typed
    def cumsum(self, dim: int, *, dtype: Any = None) -> Self:
        """Running sum along one axis; of integers and bools in int64.

        >>> import tinygrad_nn as tg
        >>> tg.cumsum([1.0, 2.0, 3.0], dim=0)
        tensor([1., 3., 6.])
        """
        x, axis = self._line("cumsum", dim)
        wanted = _sum_dtype("cumsum", x, dtype)
        return x.cast(wanted).apply(CUMSUM, axis=axis, reverse=False).cast(wanted).reshape(self.node.shape)

    @typed
    def cumprod(self, dim: int, *, dtype: Any = None) -> Self:
        """Running product along one axis; of integers and bools in int64.

        >>> import tinygrad_nn as tg
        >>> tg.cumprod([1.0, 2.0, 3.0], dim=0)
        tensor([1., 2., 6.])
        """
        x, axis = self._line("cumprod", dim)
        wanted = _sum_dtype("cumprod", x, dtype)
        return x.cast(wanted).apply(CUMPROD, axis=axis).cast(wanted).reshape(self.node.shape)

    @typed
    def argsort(self, dim: int = -1, descending: bool = False, stable: bool = True) -> Self:
        """Indices that would sort along one axis; NaN counts as largest. The order of equal elements is always kept.

        >>> import tinygrad_nn as tg
        >>> tg.argsort([3.0, 1.0, 2.0])
        tensor([1, 2, 0])
        """
        x, axis = self._line("argsort", dim)
        return x.apply(ARGSORT, axis=axis, descending=descending).reshape(self.node.shape)

    @typed
    def sort(self, dim: int = -1, descending: bool = False, stable: bool = True) -> ValuesIndices[Self]:
        """(values, indices) in order along one axis, as `argsort`.

        >>> import tinygrad_nn as tg
        >>> values, indices = tg.tensor([3.0, 1.0, 2.0]).sort(descending=True)
        >>> values.tolist(), indices.tolist()
        ([3.0, 2.0, 1.0], [0, 2, 1])
        """
        x, axis = self._line("sort", dim)
        indices = x.argsort(axis, descending)
        values = x.apply(GATHER, indices, axis=axis)
        return ValuesIndices(values.reshape(self.node.shape), indices.reshape(self.node.shape))

    @typed
    def topk(self, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices[Self]:
        """(values, indices) of the k largest (or smallest) elements along one axis, best first; NaN counts as largest.

        Raises IndexOutOfRange where there are fewer than k.

        >>> import tinygrad_nn as tg
        >>> tg.topk([3.0, 1.0, 2.0], 2).values
        tensor([3., 2.])
        """
        x, axis = self._line("topk", dim)
        k = whole("topk", "k", k)
        if not 0 <= k <= x.shape[axis]:
            raise IndexOutOfRange(message("topk", f"k={k} for an axis of {x.shape[axis]}", "0 <= k <= its length"))
        indices = x.argsort(axis, descending=largest).narrow(axis, 0, k)
        values = x.apply(GATHER, indices, axis=axis)
        return ValuesIndices(values, indices) if x is self else ValuesIndices(values.reshape(()), indices.reshape(()))

    # ---- exponentials -----------------------------------------------------------------------------------------------

    @typed
    def logsumexp(self, dim: Ints, keepdim: bool = False) -> Self:
        """log(sum(exp(x))) over the axes without overflow; -inf of nothing.

        >>> import tinygrad_nn as tg
        >>> tg.tensor([1000.0, 0.0]).logsumexp(0).item()
        1000.0
        """
        x = self.as_float()
        axes = normal_axes("logsumexp", dim, x.ndim)
        if not x.numel():
            return x.exp().sum(axes, keepdim).log()
        top = Core.detach(x).amax(axes, keepdim=True)  # the result does not depend on it, so no gradient need flow
        top = top.masked_fill(top.isinf(), 0)
        total = (x - top).exp().sum(axes, keepdim)
        return total.log() + (top if keepdim else top.reshape(total.shape))

    def softmax(self, dim: int | None = None, dtype: Any = None, *, axis: int | None = None) -> Self:
        """exp(x) / sum(exp(x)) along one axis, without overflow.

        Raises DTypeError for integers and bools, unless `dtype` is a float dtype.

        >>> import tinygrad_nn as tg
        >>> tg.tensor([[0.0, 0.0], [1000.0, 0.0]]).softmax(1).tolist()
        [[0.5, 0.5], [1.0, 0.0]]
        """
        x, a = self._along("softmax", dim if axis is None else axis, dtype)
        return x.apply(SOFTMAX, axis=a)

    def log_softmax(self, dim: int | None = None, dtype: Any = None, *, axis: int | None = None) -> Self:
        """log(softmax(x)) along one axis, exact where softmax underflows. Raises DTypeError as softmax does.

        >>> import tinygrad_nn as tg
        >>> tg.log_softmax([0.0, 0.0], dim=0)
        tensor([-0.6931, -0.6931])
        """
        x, a = self._along("log_softmax", dim if axis is None else axis, dtype)
        return x.apply(LOG_SOFTMAX, axis=a)

    def _along(self, name: str, dim: int | None, dtype: Any) -> tuple[Self, int]:
        """This tensor as floats, and the axis."""
        x = self._floating(name, dtype)
        return x, normal_axis(name, dim, x.ndim)
