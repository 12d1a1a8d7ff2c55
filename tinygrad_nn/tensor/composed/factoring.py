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
    """The inverse of square matrices (..., n, n); raises LinAlgError for a singular one."""
    return inverted("inverse", self)


def det(self: T) -> T:
    """The determinant of square matrices (..., n, n). The second derivative is for those with an inverse."""
    return determinant("det", self)


def slogdet(self: T) -> SlogdetResult[T]:
    """(sign, logarithm of the absolute value) of the determinant: 0 and -inf of a singular matrix."""
    return SlogdetResult(*log_determinant("slogdet", self))


def logdet(self: T) -> T:
    """The logarithm of the determinant: NaN of a negative one, -inf of 0."""
    sign, found = log_determinant("logdet", self)
    return found.masked_fill(sign < 0, float("nan"))


@typed
def cholesky(self: T, upper: bool = False) -> T:
    """The lower (or upper) factor of symmetric positive definite matrices, of which that triangle is read.

    Raises LinAlgError for others; compiled, their factor is NaN.
    """
    return cholesky_factor("cholesky", self, upper)


@typed
def cholesky_inverse(self: T, upper: bool = False) -> T:
    """The inverse of the matrices of which these are the Cholesky factors."""
    return solved_by_factor("cholesky_inverse", self, identity(self), upper)


@typed
def cholesky_solve(self: T, input2: Operand, upper: bool = False) -> T:
    """x with a @ x = self, by the Cholesky factor of a."""
    return solved_by_factor("cholesky_solve", self._factor("cholesky_solve", input2), self, upper)


@typed
def matrix_power(self: T, n: int) -> T:
    """The nth power of square matrices, by squaring; a negative one is that of the inverse."""
    return power("matrix_power", self, n)


def matrix_exp(self: T) -> T:
    """The exponential of square matrices (..., n, n)."""
    return exponential("matrix_exp", self)


@typed
def nuclear_norm(self: T, dim: Ints | None = None, keepdim: bool = False) -> T:
    """The sum of the singular values of matrices (of two axes), or of the matrices in two axes of a tensor."""
    return self._nuclear("nuclear_norm", dim, keepdim)


@typed
def pinverse(self: T, rcond: float = 1e-15) -> T:
    """The pseudo-inverse; singular values up to rcond * the largest count as 0."""
    return pseudoinverse("pinverse", self, rcond)


@typed
def svd(self: T, some: bool = True, compute_uv: bool = True) -> SVDResult[T]:
    """(U, S, V) with x = U @ diag(S) @ V.mT; U and V are square unless `some`, zeros without `compute_uv`."""
    u, s, v = singular("svd", self, not some)
    if not compute_uv:
        m, n = self.shape[-2:]
        u, v = self.new_zeros((*self.shape[:-2], m, m)), self.new_zeros((*self.shape[:-2], n, n))
    return SVDResult(u, s, v.mT)


@typed
def qr(self: T, some: bool = True) -> QRResult[T]:
    """(Q, R) with x = Q @ R; Q is square unless `some`."""
    return QRResult(*orthogonal("qr", self, not some))


@typed
def lu_solve(self: T, LU_data: Operand, LU_pivots: Operand) -> T:
    """x with a @ x = self, by what `linalg.lu_factor` gives of a."""
    return solved_by_lu("lu_solve", self._factor("lu_solve", LU_data), self._operand(LU_pivots, "lu_solve"), self)


@typed
def lu_unpack(
    self: T, LU_pivots: Operand, unpack_data: bool = True, unpack_pivots: bool = True
) -> LUUnpacked[T]:
    """(P, L, U) with a = P @ L @ U, of what `linalg.lu_factor` gives of a; nothing in place of what is not wanted."""
    matrices("lu_unpack", self, square=False)
    empty = self.new_zeros(0)
    lower, upper = lower_and_upper(self) if unpack_data else (empty, empty)
    if not unpack_pivots:
        return LUUnpacked(empty, lower, upper)
    return LUUnpacked(permutation("lu_unpack", self._operand(LU_pivots, "lu_unpack"), self), lower, upper)
