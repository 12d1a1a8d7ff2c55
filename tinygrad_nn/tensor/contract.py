"""Contractions: matrix products and what is built of them."""

from __future__ import annotations

import math
from typing import Self

from ..errors import ShapeError, message
from ..ops.contract import MATMUL
from .core import Core, broadcast_shape
from .elementwise import Operand
from .index import Indexed


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
        x, y = (self, other) if isinstance(other, Core) and other.dtype == self.dtype else self.promoted(other)
        m, n = x.ndim, y.ndim
        if m == 0 or n == 0:
            raise ShapeError(message("matmul", f"shapes {x.shape} and {y.shape}", "at least one axis each", "use * for numbers"))
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

