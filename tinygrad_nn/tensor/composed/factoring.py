"""Inverses, determinants, powers and factors of matrices that are methods; `tinygrad_nn.linalg` has the others."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from ...support.settings import typed
from ..contract import T
from ..factors import (
    cholesky_factor,
    determinant,
    exponential,
    identity,
    inverted,
    log_determinant,
    lower_and_upper,
    matrices,
    orthogonal,
    permutation,
    power,
    pseudoinverse,
    singular,
    solved_by_factor,
    solved_by_lu,
)
from ..operators import Operand
from ..shape import Ints

_S = TypeVar("_S")


class SlogdetResult(NamedTuple, Generic[_S]):
    """What `slogdet` gives."""

    sign: _S
    logabsdet: _S


class SVDResult(NamedTuple, Generic[_S]):
    """What `svd` gives."""

    U: _S
    S: _S
    V: _S


class QRResult(NamedTuple, Generic[_S]):
    """What `qr` gives."""

    Q: _S
    R: _S


class LUUnpacked(NamedTuple, Generic[_S]):
    """What `lu_unpack` gives."""

    P: _S
    L: _S
    U: _S


def inverse(self: T) -> T:
    """The inverse of square matrices (..., n, n); raises LinAlgError for a singular one.

    >>> import tinygrad_nn as tg
    >>> tg.inverse([[2.0, 0.0], [0.0, 4.0]])
    tensor([[0.50, 0.00],
            [0.00, 0.25]])
    """
    return inverted("inverse", self)


def det(self: T) -> T:
    """The determinant of square matrices (..., n, n). The second derivative is for those with an inverse.

    >>> import tinygrad_nn as tg
    >>> tg.det([[2.0, 0.0], [1.0, 3.0]])
    tensor(6.)
    """
    return determinant("det", self)


def slogdet(self: T) -> SlogdetResult[T]:
    """(sign, logarithm of the absolute value) of the determinant: 0 and -inf of a singular matrix.

    >>> import tinygrad_nn as tg
    >>> tg.slogdet([[-2.0, 0.0], [0.0, 4.0]]).sign
    tensor(-1.)
    """
    return SlogdetResult(*log_determinant("slogdet", self))


def logdet(self: T) -> T:
    """The logarithm of the determinant: NaN of a negative one, -inf of 0.

    >>> import tinygrad_nn as tg
    >>> tg.logdet([[2.0, 0.0], [0.0, 4.0]])
    tensor(2.0794)
    """
    sign, found = log_determinant("logdet", self)
    return found.masked_fill(sign < 0, float("nan"))


@typed
def cholesky(self: T, upper: bool = False) -> T:
    """The lower (or upper) factor of symmetric positive definite matrices, of which that triangle is read.

    Raises LinAlgError for others; compiled, their factor is NaN.

    >>> import tinygrad_nn as tg
    >>> tg.cholesky([[4.0, 2.0], [2.0, 5.0]])
    tensor([[2., 0.],
            [1., 2.]])
    """
    return cholesky_factor("cholesky", self, upper)


@typed
def cholesky_inverse(self: T, upper: bool = False) -> T:
    """The inverse of the matrices of which these are the Cholesky factors.

    >>> import tinygrad_nn as tg
    >>> tg.cholesky_inverse(tg.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([[0.25, 0.00],
            [0.00, 1.00]])
    """
    return solved_by_factor("cholesky_inverse", self, identity(self), upper)


@typed
def cholesky_solve(self: T, input2: Operand, upper: bool = False) -> T:
    """x with a @ x = self, by the Cholesky factor of a.

    >>> import tinygrad_nn as tg
    >>> tg.cholesky_solve(tg.tensor([[8.0], [3.0]]), tg.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([[2.],
            [3.]])
    """
    return solved_by_factor("cholesky_solve", self._factor("cholesky_solve", input2), self, upper)


@typed
def matrix_power(self: T, n: int) -> T:
    """The nth power of square matrices, by squaring; a negative one is that of the inverse.

    >>> import tinygrad_nn as tg
    >>> tg.matrix_power([[1.0, 1.0], [0.0, 1.0]], 3)
    tensor([[1., 3.],
            [0., 1.]])
    """
    return power("matrix_power", self, n)


def matrix_exp(self: T) -> T:
    """The exponential of square matrices (..., n, n).

    >>> import tinygrad_nn as tg
    >>> tg.matrix_exp([[0.0, 1.0], [0.0, 0.0]])
    tensor([[1., 1.],
            [0., 1.]])
    """
    return exponential("matrix_exp", self)


@typed
def nuclear_norm(self: T, dim: Ints | None = None, keepdim: bool = False) -> T:
    """The sum of the singular values of matrices (of two axes), or of the matrices in two axes of a tensor.

    >>> import tinygrad_nn as tg
    >>> tg.nuclear_norm(tg.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor(7.)
    """
    return self._nuclear("nuclear_norm", dim, keepdim)


@typed
def pinverse(self: T, rcond: float = 1e-15) -> T:
    """The pseudo-inverse; singular values up to rcond * the largest count as 0.

    >>> import tinygrad_nn as tg
    >>> tg.pinverse(tg.tensor([[2.0, 0.0], [0.0, 4.0], [0.0, 0.0]]))
    tensor([[0.50, 0.00, 0.00],
            [0.00, 0.25, 0.00]])
    """
    return pseudoinverse("pinverse", self, rcond)


@typed
def svd(self: T, some: bool = True, compute_uv: bool = True) -> SVDResult[T]:
    """(U, S, V) with x = U @ diag(S) @ V.mT; U and V are square unless `some`, zeros without `compute_uv`.

    >>> import tinygrad_nn as tg
    >>> u, s, v = tg.svd(tg.tensor([[3.0, 0.0], [0.0, 4.0]]))
    >>> s
    tensor([4., 3.])
    """
    u, s, v = singular("svd", self, not some)
    if not compute_uv:
        m, n = self.shape[-2:]
        u, v = self.new_zeros((*self.shape[:-2], m, m)), self.new_zeros((*self.shape[:-2], n, n))
    return SVDResult(u, s, v.mT)


@typed
def qr(self: T, some: bool = True) -> QRResult[T]:
    """(Q, R) with x = Q @ R; Q is square unless `some`.

    >>> import tinygrad_nn as tg
    >>> q, r = tg.qr(tg.tensor([[3.0, 1.0], [4.0, 2.0]]))
    >>> tg.allclose(q @ r, [[3.0, 1.0], [4.0, 2.0]], atol=1e-6)
    True
    """
    return QRResult(*orthogonal("qr", self, not some))


@typed
def lu_solve(self: T, LU_data: Operand, LU_pivots: Operand) -> T:
    """x with a @ x = self, by what `linalg.lu_factor` gives of a.

    >>> import tinygrad_nn as tg
    >>> factors, pivots = tg.linalg.lu_factor(tg.tensor([[2.0, 0.0], [0.0, 4.0]]))
    >>> tg.lu_solve(tg.tensor([[2.0], [4.0]]), factors, pivots)
    tensor([[1.],
            [1.]])
    """
    return solved_by_lu("lu_solve", self._factor("lu_solve", LU_data), self._operand(LU_pivots, "lu_solve"), self)


@typed
def lu_unpack(
    self: T, LU_pivots: Operand, unpack_data: bool = True, unpack_pivots: bool = True
) -> LUUnpacked[T]:
    """(P, L, U) with a = P @ L @ U, of what `linalg.lu_factor` gives of a; nothing in place of what is not wanted.

    >>> import tinygrad_nn as tg
    >>> factors, pivots = tg.linalg.lu_factor(tg.tensor([[2.0, 0.0], [1.0, 4.0]]))
    >>> p, l, u = tg.lu_unpack(factors, pivots)
    >>> p @ l @ u
    tensor([[2., 0.],
            [1., 4.]])
    """
    matrices("lu_unpack", self, square=False)
    empty = self.new_zeros(0)
    lower, upper = lower_and_upper(self) if unpack_data else (empty, empty)
    if not unpack_pivots:
        return LUUnpacked(empty, lower, upper)
    return LUUnpacked(permutation("lu_unpack", self._operand(LU_pivots, "lu_unpack"), self), lower, upper)
