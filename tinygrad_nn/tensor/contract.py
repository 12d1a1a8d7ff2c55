"""Contractions: matrix products and what is built of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self, TypeVar

from ..errors import DTypeError, ShapeError, message
from ..graph.graph import DType
from ..ops.contract import MATMUL
from ..ops.movement import RESHAPE
from ..support.settings import shown, typed
from .arrays import beside
from .core import Core, broadcast_shape, constant, is_plainly
from .index import Indexed
from .operators import Operand
from .shape import normal_axis, several, whole


def check_floats(name: str, *tensors: Core | None) -> None:
    """Raise DTypeError for floats of two sizes, where PyTorch does: in layers, products and weighted losses. Computing
    in the larger one would take twice the time, unsaid.
    """
    found: DType | None = None
    for x in tensors:
        if x is not None and (dtype := x.node.dtype) is not found and dtype.kind == "f":
            if found is not None and dtype != found:
                hint = "x.float() or x.double() for data, model.float() or model.double() for a model"
                raise DTypeError(message(name, f"dtypes {found.name} and {dtype.name}", "one float dtype", hint))
            found = dtype


class Contracted(Indexed):
    """Matrix products."""

    __slots__ = ()

    def __matmul__(self, other: Operand) -> Self:
        return self._product("matmul", other)

    def __rmatmul__(self, other: Operand) -> Self:
        return self._factor("matmul", other)._product("matmul", self)

    @typed
    def matmul(self, other: Operand, transpose: bool = False) -> Self:
        """Matrix product over the last two axes, batch axes broadcast; vectors as in NumPy.

        `transpose` reads the second operand, which then is a matrix, with its last two axes exchanged, at no cost.
        Raises ShapeError, and DTypeError for float32 by float64: as all matrix products.

        >>> import tinygrad_nn as tg
        >>> tg.matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
        tensor([3., 7.])
        >>> tg.matmul(tg.ones(5, 2, 3), tg.ones(3, 4)).shape
        (5, 2, 4)
        """
        return self._product("matmul", other, transpose)

    def _factor(self, name: str, other: Operand) -> Self:
        """Another operand of a product, or of anything whose operands have one float dtype: data without a tensor of
        its own takes this one's.
        """
        if isinstance(other, Core):
            return other  # type: ignore[return-value]
        return self.handle(constant(beside(name, other, self.node.dtype)))  # type: ignore[no-any-return]

    def _met(self, other: Core) -> Self:
        """This tensor beside another: an array that a compiled function is given takes its dtype, as arrays do."""
        data = self._from_array and not other._from_array and self.dtype.kind == other.dtype.kind == "f"
        return self.cast(other.dtype) if data else self

    def _product(self, name: str, other: Operand, transpose: bool = False) -> Self:
        """`matmul`, under the name of what the user called."""
        x, y = self, self._factor(name, other)
        a, b = x.node, y.node
        if a.dtype is not b.dtype:
            x, y = x._met(y), y._met(x)
            check_floats(name, x, y)
            x, y = x._promoted(y)
        m, n = len(a.shape), len(b.shape)
        if m == 0 or n == 0:
            raise ShapeError(
                message(name, f"shapes {x.shape} and {y.shape}", "at least one axis each", "use * for numbers")
            )
        if m == 2 and n == 2:
            return x.apply(MATMUL, y, tx=False, ty=transpose)
        if m == 1:
            x = x.unsqueeze(0)
        if n == 1:
            y = y.unsqueeze(1)
        if y.ndim == 2 and x.ndim > 2:  # one matrix for every row of the batch: fold the batch into rows
            rows = x.reshape((math.prod(x.shape[:-1]), x.shape[-1]))
            product = rows.apply(MATMUL, y, tx=False, ty=transpose)
            product = product.reshape((*x.shape[:-1], product.shape[-1]))
        else:
            batch = broadcast_shape(name, x.shape[:-2], y.shape[:-2])
            x, y = x.expand_to((*batch, *x.shape[-2:])), y.expand_to((*batch, *y.shape[-2:]))
            product = x.apply(MATMUL, y, tx=False, ty=transpose)
        if m == 1:
            product = product.squeeze(-2)
        return product.squeeze(-1) if n == 1 else product

    def mm(self, mat2: Operand) -> Self:
        """Product of two matrices.

        >>> import tinygrad_nn as tg
        >>> tg.mm([[1.0, 2.0]], [[3.0], [4.0]])
        tensor([[11.]])
        """
        return self._product("mm", self._ranked("mm", mat2, 2, 2))

    def bmm(self, mat2: Operand) -> Self:
        """Products of two batches of matrices.

        >>> import tinygrad_nn as tg
        >>> tg.bmm(tg.ones(5, 2, 3), tg.ones(5, 3, 4)).shape
        (5, 2, 4)
        """
        return self._product("bmm", self._ranked("bmm", mat2, 3, 3))

    def mv(self, vec: Operand) -> Self:
        """Matrix times vector.

        >>> import tinygrad_nn as tg
        >>> tg.mv([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
        tensor([3., 7.])
        """
        return self._product("mv", self._ranked("mv", vec, 2, 1))

    def dot(self, tensor: Operand) -> Self:
        """Sum of products of two vectors.

        >>> import tinygrad_nn as tg
        >>> tg.dot([1.0, 2.0], [3.0, 4.0])
        tensor(11.)
        """
        return self._product("dot", self._ranked("dot", tensor, 1, 1))

    def _ranked(self, name: str, other: Operand, first: int, second: int) -> Self:
        """The other operand, if both have so many axes."""
        right = self._factor(name, other)
        if (self.ndim, right.ndim) != (first, second):
            raise ShapeError(
                message(name, f"shapes {self.shape} and {right.shape}", f"{first} and {second} axes", "use matmul")
            )
        return right

    def inner(self, other: Operand) -> Self:
        """Sums of products over the last axis of both.

        >>> import tinygrad_nn as tg
        >>> tg.inner([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
        tensor([3., 7.])
        """
        right = self._factor("inner", other)
        if self.ndim == 0 or right.ndim == 0:
            return self * right
        if self.shape[-1] != right.shape[-1]:
            raise ShapeError(message("inner", f"shapes {self.shape} and {right.shape}", "equal last axes"))
        return self._summed("inner", right, ([self.ndim - 1], [right.ndim - 1]))

    def outer(self, vec2: Operand) -> Self:
        """Products of all pairs of two vectors; dtypes are promoted, as by `*`.

        >>> import tinygrad_nn as tg
        >>> tg.ger([1.0, 2.0], [3.0, 4.0])
        tensor([[3., 4.],
                [6., 8.]])
        """
        right = self._ranked("outer", vec2, 1, 1)
        return self.unsqueeze(1) * right.apply(RESHAPE, shape=(1, *right.shape))

    @typed
    def addmm(self, mat1: Operand, mat2: Operand, *, beta: float = 1, alpha: float = 1) -> Self:
        """beta * self + alpha * mat1 @ mat2.

        >>> import tinygrad_nn as tg
        >>> tg.addmm(tg.ones(2, 2), tg.ones(2, 3), tg.ones(3, 2))
        tensor([[4., 4.],
                [4., 4.]])
        """
        return self._added("addmm", self._factor("addmm", mat1), mat2, (2, 2), beta, alpha)

    @typed
    def addmv(self, mat: Operand, vec: Operand, *, beta: float = 1, alpha: float = 1) -> Self:
        """beta * self + alpha * mat @ vec.

        >>> import tinygrad_nn as tg
        >>> tg.addmv(tg.ones(2), tg.ones(2, 3), tg.tensor([1.0, 2.0, 3.0]))
        tensor([7., 7.])
        """
        return self._added("addmv", self._factor("addmv", mat), vec, (2, 1), beta, alpha)

    def _added(self, name: str, x: Self, y: Operand, ranks: tuple[int, int], beta: float, alpha: float) -> Self:
        return blended(name, self, x._product(name, x._ranked(name, y, *ranks)), beta, alpha)

    def tensordot(self, other: Operand, dims: int | Sequence[Sequence[int]] = 2) -> Self:
        """Sums of products over the last `dims` axes of this and the first of the other, or over pairs of axes.

        >>> import tinygrad_nn as tg
        >>> tg.tensordot(tg.ones(2, 3, 4), tg.ones(4, 3, 5), dims=([1, 2], [1, 0])).shape
        (2, 5)
        """
        return self._summed("tensordot", self._factor("tensordot", other), dims)

    def _summed(self, name: str, right: Self, dims: int | Sequence[Sequence[int]]) -> Self:
        if isinstance(dims, (list, tuple)):
            if len(dims) != 2:
                raise ShapeError(message(name, f"axes {shown(dims)}", "a number, or axes of both operands"))
            left_axes = [normal_axis(name, a, self.ndim) for a in several(name, "axis", dims[0])]
            right_axes = [normal_axis(name, a, right.ndim) for a in several(name, "axis", dims[1])]
        else:
            count = whole(name, "dims", dims)
            if not 0 <= count <= min(self.ndim, right.ndim):
                got = f"dims={count} for shapes {self.shape} and {right.shape}"
                raise ShapeError(message(name, got, "as many axes as both have, or fewer"))
            left_axes, right_axes = list(range(self.ndim - count, self.ndim)), list(range(count))
        if len({*left_axes}) != len(left_axes) or len({*right_axes}) != len(right_axes):
            raise ShapeError(message(name, f"axes {left_axes} and {right_axes}", "each axis once"))
        pairs = [(self.shape[a], right.shape[b]) for a, b in zip(left_axes, right_axes, strict=False)]
        if len(left_axes) != len(right_axes) or any(n != m and 1 not in (n, m) for n, m in pairs):
            got = f"shapes {self.shape} and {right.shape} over axes {left_axes} and {right_axes}"
            raise ShapeError(message(name, got, "equal lengths on the axes that are summed"))
        if any(n != m for n, m in pairs):  # one slice meets all of the other's
            left_lone = [a for a, (n, m) in zip(left_axes, pairs, strict=True) if m == 1 != n]
            right_lone = [b for b, (n, m) in zip(right_axes, pairs, strict=True) if n == 1 != m]
            left = self.sum(left_lone, True, self.dtype) if left_lone else self
            right = right.sum(right_lone, True, right.dtype) if right_lone else right
            return left._summed(name, right, [left_axes, right_axes])
        keep_left = [a for a in range(self.ndim) if a not in left_axes]
        keep_right = [a for a in range(right.ndim) if a not in right_axes]
        inner = math.prod(self.shape[a] for a in left_axes)
        rows, columns = (math.prod(x.shape[a] for a in kept) for x, kept in ((self, keep_left), (right, keep_right)))
        x = self.permute((*keep_left, *left_axes)).reshape((rows, inner))
        y = right.permute((*right_axes, *keep_right)).reshape((inner, columns))
        shape = (*(self.shape[a] for a in keep_left), *(right.shape[a] for a in keep_right))
        return x._product(name, y).reshape(shape)


T = TypeVar("T", bound=Contracted)  # what the functions of `composed/` take and give


def blended(name: str, own: T, product: T, beta: float, alpha: float) -> T:
    """beta * own + alpha * product, where 0 * own is 0 whatever it is. Of integers the factors are, too."""
    own = own._met(product)
    check_floats(name, own, product)
    if own.dtype.kind == product.dtype.kind == "i":
        beta, alpha = int(beta), int(alpha)
    if own.dtype.kind == product.dtype.kind == "b":
        beta, alpha = bool(beta), bool(alpha)
    if broadcast_shape(name, own.shape, product.shape) != product.shape:
        got = f"shape {own.shape} beside a product of shape {product.shape}"
        raise ShapeError(message(name, got, "what broadcasts to the product"))
    scaled = product if is_plainly(alpha, 1) else product * alpha
    return scaled if is_plainly(beta, 0) else (own if is_plainly(beta, 1) else own * beta) + scaled
