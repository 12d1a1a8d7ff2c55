"""Contractions: matrix products and what is built of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

from ..errors import ShapeError, message
from ..ops.contract import MATMUL
from ..ops.movement import RESHAPE
from .core import Core, broadcast_shape
from .index import Indexed
from .operators import Operand
from .shape import normal_axis


class Contracted(Indexed):
    """Matrix products."""

    __slots__ = ()

    def __matmul__(self, other: Operand) -> Self:
        return self.matmul(other)

    def __rmatmul__(self, other: Operand) -> Self:
        return self._operand(other).matmul(self)

    def matmul(self, other: Operand, transpose: bool = False) -> Self:
        """Matrix product over the last two axes, batch axes broadcast; vectors as in NumPy.

        `transpose` reads the second operand, which then is a matrix, with its last two axes exchanged, at no cost.
        """
        x, y = self.promoted(other)
        m, n = len(x.node.shape), len(y.node.shape)
        if m == 0 or n == 0:
            raise ShapeError(
                message("matmul", f"shapes {x.shape} and {y.shape}", "at least one axis each", "use * for numbers")
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
            batch = broadcast_shape("matmul", x.shape[:-2], y.shape[:-2])
            x, y = x.expand_to((*batch, *x.shape[-2:])), y.expand_to((*batch, *y.shape[-2:]))
            product = x.apply(MATMUL, y, tx=False, ty=transpose)
        if m == 1:
            product = product.squeeze(-2)
        return product.squeeze(-1) if n == 1 else product

    def mm(self, mat2: Core) -> Self:
        """Product of two matrices."""
        self._ranks("mm", mat2, 2, 2)
        return self.matmul(mat2)

    def bmm(self, mat2: Core) -> Self:
        """Products of two batches of matrices."""
        self._ranks("bmm", mat2, 3, 3)
        return self.matmul(mat2)

    def mv(self, vec: Core) -> Self:
        """Matrix times vector."""
        self._ranks("mv", vec, 2, 1)
        return self.matmul(vec)

    def dot(self, other: Core) -> Self:
        """Sum of products of two vectors."""
        self._ranks("dot", other, 1, 1)
        return self.matmul(other)

    def _ranks(self, name: str, other: Core, first: int, second: int) -> None:
        if (self.ndim, other.ndim) != (first, second):
            raise ShapeError(
                message(name, f"shapes {self.shape} and {other.shape}", f"{first} and {second} axes", "use matmul")
            )

    def inner(self, other: Core) -> Self:
        """Sums of products over the last axis of both."""
        right = self._operand(other)
        if self.ndim == 0 or right.ndim == 0:
            return self * right
        if self.shape[-1] != right.shape[-1]:
            raise ShapeError(message("inner", f"shapes {self.shape} and {right.shape}", "equal last axes"))
        return self.tensordot(right, ([self.ndim - 1], [right.ndim - 1]))

    def outer(self, vec2: Core) -> Self:
        """Products of all pairs of two vectors."""
        self._ranks("outer", vec2, 1, 1)
        return self.unsqueeze(1) * vec2.apply(RESHAPE, shape=(1, *vec2.shape))

    def addmm(self, mat1: Core, mat2: Core, *, beta: float = 1, alpha: float = 1) -> Self:
        """beta * self + alpha * mat1 @ mat2."""
        product = self._operand(mat1).mm(mat2)
        scaled = product if alpha == 1 else product * alpha
        return (self if beta == 1 else self * beta) + scaled

    def addmv(self, mat: Core, vec: Core, *, beta: float = 1, alpha: float = 1) -> Self:
        """beta * self + alpha * mat @ vec."""
        product = self._operand(mat).mv(vec)
        return (self if beta == 1 else self * beta) + (product if alpha == 1 else product * alpha)

    def tensordot(self, other: Core, dims: int | Sequence[Sequence[int]] = 2) -> Self:
        """Sums of products over the last `dims` axes of this and the first of the other, or over pairs of axes."""
        right = self._operand(other)
        if isinstance(dims, int):
            left_axes, right_axes = list(range(self.ndim - dims, self.ndim)), list(range(dims))
        else:
            left_axes = [normal_axis("tensordot", a, self.ndim) for a in dims[0]]
            right_axes = [normal_axis("tensordot", a, right.ndim) for a in dims[1]]
        if [self.shape[a] for a in left_axes] != [right.shape[a] for a in right_axes]:
            got = f"shapes {self.shape} and {right.shape} over axes {left_axes} and {right_axes}"
            raise ShapeError(message("tensordot", got, "equal lengths on the axes that are summed"))
        keep_left = [a for a in range(self.ndim) if a not in left_axes]
        keep_right = [a for a in range(right.ndim) if a not in right_axes]
        inner = math.prod(self.shape[a] for a in left_axes)
        rows, columns = (math.prod(x.shape[a] for a in kept) for x, kept in ((self, keep_left), (right, keep_right)))
        x = self.permute((*keep_left, *left_axes)).reshape((rows, inner))
        y = right.permute((*right_axes, *keep_right)).reshape((inner, columns))
        shape = (*(self.shape[a] for a in keep_left), *(right.shape[a] for a in keep_right))
        return x.matmul(y).reshape(shape)
