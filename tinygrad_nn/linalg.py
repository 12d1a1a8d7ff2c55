"""`tg.linalg`: systems, factors and norms of matrices, with PyTorch's names. Batches lie in the leading axes.

Eager code computes them by NumPy's LAPACK and has their gradients to every order. Compiled functions take Cholesky
factors, triangular systems, powers and norms that are sums; the others are refused there, by name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .errors import ConfigError, ShapeError, message
from .errors import LinAlgError as LinAlgError
from .support.settings import choice, integer, typed
from .tensor.assembling import multiplied
from .tensor.composed.factoring import SlogdetResult
from .tensor.door import takes_operands
from .tensor.factors import (
    cholesky_factor,
    determinant,
    eigen,
    eliminated,
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
    solved,
    solved_by_lu,
    solved_triangle,
    stepwise_cholesky,
)
from .tensor.joining import tensors_of
from .tensor.operators import Operand
from .tensor.shape import Ints, normal_axes, normal_axis
from .tensor.tensor import Tensor


class Eigh(NamedTuple):
    """What `eigh` gives.

    >>> import tinygrad_nn as tg
    >>> eigh(tg.tensor([[2.0, 0.0], [0.0, 4.0]])).eigenvalues
    tensor([2., 4.])
    """

    eigenvalues: Tensor
    eigenvectors: Tensor


class SVD(NamedTuple):
    """What `svd` gives.

    >>> import tinygrad_nn as tg
    >>> svd(tg.tensor([[2.0, 0.0], [0.0, 4.0]])).S
    tensor([4., 2.])
    """

    U: Tensor
    S: Tensor
    Vh: Tensor


class QR(NamedTuple):
    """What `qr` gives.

    >>> import tinygrad_nn as tg
    >>> A = tg.tensor([[4.0, 2.0], [2.0, 5.0]])
    >>> Q, R = qr(A)
    >>> tg.allclose(Q @ R, A, atol=1e-5)
    True
    """

    Q: Tensor
    R: Tensor


# ---- systems --------------------------------------------------------------------------------------------------------


@takes_operands
def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices; raises LinAlgError for a singular one.

    >>> inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return inverted("inv", A)


@takes_operands
@typed
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A @ X = B, or X @ A = B; B may be a vector, or a batch of them where its shape is A's without an axis.

    Raises LinAlgError for a singular matrix.

    >>> import tinygrad_nn as tg
    >>> solve(tg.tensor([[2.0, 0.0], [0.0, 4.0]]), [2.0, 4.0])
    tensor([1., 1.])
    """
    if B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1]):
        if not left:
            raise ShapeError(message("solve", f"vectors {B.shape} and left=False", "matrices", "solve with A.mT"))
        return solved("solve", A, B.unsqueeze(-1)).squeeze(-1)
    return solved("solve", A, B) if left else solved("solve", A.mT, B.mT).mT


@takes_operands
@typed
def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A @ X = B, or X @ A = B, of a triangle of A, whose diagonal counts as 1 if `unitriangular`.

    >>> import tinygrad_nn as tg
    >>> solve_triangular(tg.tensor([[2.0, 0.0], [1.0, 4.0]]), tg.tensor([[2.0], [5.0]]), upper=False)
    tensor([[1.],
            [1.]])
    """
    if left:
        return solved_triangle("solve_triangular", A, B, upper, unitriangular)
    return solved_triangle("solve_triangular", A.mT, B.mT, not upper, unitriangular).mT


@takes_operands
def det(A: Tensor) -> Tensor:
    """The determinant of square matrices.

    >>> det([[2.0, 0.0], [1.0, 3.0]])
    tensor(6.)
    """
    return determinant("det", A)


@takes_operands
def slogdet(A: Tensor) -> SlogdetResult[Tensor]:
    """(sign, logarithm of the absolute value) of the determinant: 0 and -inf of a singular matrix.

    >>> slogdet([[-2.0, 0.0], [0.0, 4.0]]).logabsdet
    tensor(2.0794)
    """
    return SlogdetResult(*log_determinant("slogdet", A))


@takes_operands
@typed
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower (or upper) factor of positive definite matrices; raises LinAlgError for others.

    >>> import tinygrad_nn as tg
    >>> cholesky(tg.tensor([[4.0, 2.0], [2.0, 5.0]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    return cholesky_factor("cholesky", A, upper)


@takes_operands
@typed
def matrix_power(A: Tensor, n: int) -> Tensor:
    """The nth power of square matrices; a negative one is that of the inverse.

    >>> matrix_power([[1.0, 1.0], [0.0, 1.0]], 3)
    tensor([[1., 3.],
            [0., 1.]])
    """
    return power("matrix_power", A, n)


@takes_operands
def matrix_exp(A: Tensor) -> Tensor:
    """The exponential of square matrices.

    >>> matrix_exp([[0.0, 1.0], [0.0, 0.0]])
    tensor([[1., 1.],
            [0., 1.]])
    """
    return exponential("matrix_exp", A)


def multi_dot(tensors: Sequence[Any]) -> Tensor:
    """The product of two matrices or more, in the cheapest order; the first and the last may be vectors.

    >>> import tinygrad_nn as tg
    >>> multi_dot([tg.ones(2, 3), tg.ones(3, 4), tg.ones(4, 5)]).shape
    (2, 5)
    """
    given = tensors_of("multi_dot", tensors)
    if len(given) < 2:
        raise ShapeError(message("multi_dot", f"{len(given)} tensor", "two or more"))
    row, column = given[0].ndim == 1, given[-1].ndim == 1
    listed = [
        given[0].unsqueeze(0) if row else given[0], *given[1:-1], given[-1].unsqueeze(1) if column else given[-1]
    ]  # fmt: skip
    for x, following in zip(listed, [*listed[1:], None], strict=True):
        if x.ndim != 2 or (following is not None and x.shape[-1] != following.shape[0]):
            got = " and ".join(str(x.shape) for x in given)
            raise ShapeError(message("multi_dot", f"shapes {got}", "matrices that can be multiplied"))
    product = multiplied("multi_dot", listed)
    product = product.squeeze(0) if row else product
    return product.squeeze(-1) if column else product


# ---- factors --------------------------------------------------------------------------------------------------------


@takes_operands
def eigh(A: Tensor, UPLO: str = "L") -> Eigh:
    """(eigenvalues in rising order, eigenvectors) of symmetric matrices, of which the lower or upper triangle is read.

    The gradient of eigenvectors is inf or NaN where eigenvalues are equal.

    >>> import tinygrad_nn as tg
    >>> values, vectors = eigh(tg.tensor([[2.0, 0.0], [0.0, 4.0]]))
    >>> values
    tensor([2., 4.])
    """
    return Eigh(*eigen("eigh", A, choice("eigh", "UPLO", UPLO, ("L", "U")) == "L"))


@takes_operands
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices, in rising order.

    >>> import tinygrad_nn as tg
    >>> eigvalsh(tg.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([2., 4.])
    """
    return eigen("eigvalsh", A, choice("eigvalsh", "UPLO", UPLO, ("L", "U")) == "L")[0]


@takes_operands
@typed
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> SVD:
    """(U, S, Vh) with A = U @ diag(S) @ Vh, S falling; U and Vh are square unless `full_matrices` is False.

    The gradient of U and Vh is inf or NaN where singular values are equal; columns beyond those have none.
    `driver` says nothing here.

    >>> import tinygrad_nn as tg
    >>> U, S, Vh = svd(tg.tensor([[2.0, 0.0], [0.0, 4.0]]))
    >>> S
    tensor([4., 2.])
    """
    return SVD(*singular("svd", A, full_matrices))


@takes_operands
@typed
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values, falling.

    >>> import tinygrad_nn as tg
    >>> svdvals(tg.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([4., 2.])
    """
    return singular("svdvals", A, False)[1]


@takes_operands
def qr(A: Tensor, mode: str = "reduced") -> QR:
    """(Q, R) with A = Q @ R; Q is square if `mode` is "complete", empty if it is "r".

    >>> import tinygrad_nn as tg
    >>> A = tg.tensor([[4.0, 2.0], [2.0, 5.0]])
    >>> Q, R = qr(A)
    >>> tg.allclose(Q @ R, A, atol=1e-5)
    True
    """
    chosen = choice("qr", "mode", mode, ("reduced", "complete", "r"))
    q, r = orthogonal("qr", A, chosen == "complete")
    return QR(q.new_zeros(0) if chosen == "r" else q, r)


@takes_operands
@typed
def pinv(A: Tensor, rcond: float | None = None, hermitian: bool = False, *, atol: float | None = None,
         rtol: float | None = None) -> Tensor:  # fmt: skip
    """The pseudo-inverse; singular values up to max(atol, rtol * the largest) count as 0.

    >>> import tinygrad_nn as tg
    >>> pinv(tg.tensor([[2.0, 0.0], [0.0, 4.0], [0.0, 0.0]]))
    tensor([[0.50, 0.00, 0.00],
            [0.00, 0.25, 0.00]])
    """
    return pseudoinverse("pinv", A, rcond if rtol is None else rtol, atol or 0.0, hermitian)


@takes_operands
@typed
def matrix_rank(A: Tensor, tol: Operand | None = None, hermitian: bool = False, *, atol: Operand | None = None,
                rtol: Operand | None = None) -> Tensor:  # fmt: skip
    """How many singular values are larger than max(atol, rtol * the largest), by default eps * the longer side. Bounds
    may be tensors, one for each matrix.

    >>> import tinygrad_nn as tg
    >>> matrix_rank(tg.tensor([[1.0, 2.0], [2.0, 4.0]]))
    tensor(1)
    """
    values = singular("matrix_rank", A.detach(), False)[1]
    least = values.new_tensor(0.0 if atol is None and tol is None else atol if tol is None else tol)
    share = values.new_tensor(0.0 if rtol is None else rtol)
    if tol is None and rtol is None:
        share = share.where(least > 0, max(A.shape[-2:]) * float(np.finfo(A.dtype).eps))
    largest = values.narrow(-1, 0, min(1, values.shape[-1]))
    bound = (largest * share.unsqueeze(-1)).maximum(least.unsqueeze(-1))
    return (values > bound).sum(-1)


@takes_operands
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix products, as `tg.matmul`.

    >>> matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    tensor([3., 7.])
    """
    return input.matmul(other)


@takes_operands
@typed
def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers 0, 1, ..., N - 1 of each element in a row of its own; N is the length of x by default.

    >>> vander([2, 3], N=3).tolist()
    [[1, 2, 4], [1, 3, 9]]
    """
    x = x if x.ndim else x.reshape(1)
    count = integer("vander", "N", x.shape[-1] if N is None else N, least=2)
    powers = x.unsqueeze(-1).expand_to((*x.shape, count - 1)).cumprod(-1)
    return powers.new_ones((*x.shape, 1)).cat_with(powers, dim=-1)


class LUFactor(NamedTuple):
    """What `lu_factor` gives: both factors in one matrix, and with which row, from 1, each was exchanged.

    >>> import tinygrad_nn as tg
    >>> lu_factor(tg.tensor([[2.0, 0.0], [0.0, 4.0]])).pivots
    tensor([1, 2], dtype=int32)
    """

    LU: Tensor
    pivots: Tensor


class LUFactorEx(NamedTuple):
    """What `lu_factor_ex` gives.

    >>> import tinygrad_nn as tg
    >>> lu_factor_ex(tg.tensor([[2.0, 0.0], [0.0, 4.0]])).info
    tensor(0, dtype=int32)
    """

    LU: Tensor
    pivots: Tensor
    info: Tensor


class LU(NamedTuple):
    """What `lu` gives.

    >>> import tinygrad_nn as tg
    >>> A = tg.tensor([[4.0, 2.0], [2.0, 5.0]])
    >>> P, L, U = lu(A)
    >>> tg.allclose(P @ L @ U, A)
    True
    """

    P: Tensor
    L: Tensor
    U: Tensor


class CholeskyEx(NamedTuple):
    """What `cholesky_ex` gives.

    >>> import tinygrad_nn as tg
    >>> cholesky_ex(tg.tensor([[4.0, 2.0], [2.0, 5.0]])).info
    tensor(0, dtype=int32)
    """

    L: Tensor
    info: Tensor


class InvEx(NamedTuple):
    """What `inv_ex` gives.

    >>> import tinygrad_nn as tg
    >>> inv_ex(tg.tensor([[2.0, 0.0], [0.0, 4.0]])).inverse
    tensor([[0.50, 0.00],
            [0.00, 0.25]])
    """

    inverse: Tensor
    info: Tensor


class SolveEx(NamedTuple):
    """What `solve_ex` gives.

    >>> import tinygrad_nn as tg
    >>> solve_ex(tg.tensor([[2.0, 0.0], [0.0, 4.0]]), tg.tensor([2.0, 4.0])).result
    tensor([1., 1.])
    """

    result: Tensor
    info: Tensor


class Lstsq(NamedTuple):
    """What `lstsq` gives.

    >>> import tinygrad_nn as tg
    >>> lstsq(tg.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), tg.tensor([[1.0], [3.0], [5.0]])).rank
    tensor(2)
    """

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


@takes_operands
@typed
def lu_factor(A: Tensor, *, pivot: bool = True) -> LUFactor:
    """L and U in one matrix, and with which row each was exchanged, of A = P @ L @ U. Compiles.

    >>> lu_factor([[0.0, 2.0], [4.0, 2.0]])
    LUFactor(LU=tensor([[4., 2.],
            [0., 2.]]), pivots=tensor([2, 2], dtype=int32))
    """
    return LUFactor(*eliminated("lu_factor", A, pivot))


@takes_operands
@typed
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> LUFactorEx:
    """`lu_factor`, and the number, from 1, of the first 0 on U's diagonal, or 0.

    >>> import tinygrad_nn as tg
    >>> lu_factor_ex(tg.tensor([[2.0, 0.0], [0.0, 4.0]])).info
    tensor(0, dtype=int32)
    """
    data, pivots = eliminated("lu_factor_ex", A, pivot)
    return LUFactorEx(data, pivots, _checked("lu_factor_ex", _first_zero(data), check_errors, "a factor U without 0"))


@takes_operands
@typed
def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X with A @ X = B, or X @ A = B, of what `lu_factor` gave of A; with `adjoint` of A's transpose.

    >>> import tinygrad_nn as tg
    >>> factors, pivots = lu_factor(tg.tensor([[2.0, 0.0], [0.0, 4.0]]))
    >>> lu_solve(factors, pivots, tg.tensor([[2.0], [4.0]]))
    tensor([[1.],
            [1.]])
    """
    if left:
        return solved_by_lu("lu_solve", LU, pivots, B, adjoint)
    return solved_by_lu("lu_solve", LU, pivots, B.mT, not adjoint).mT


@takes_operands
@typed
def lu(A: Tensor, *, pivot: bool = True) -> LU:
    """(P, L, U) with A = P @ L @ U: a permutation, which is empty without `pivot`, and triangular matrices.

    >>> import tinygrad_nn as tg
    >>> A = tg.tensor([[4.0, 2.0], [2.0, 5.0]])
    >>> P, L, U = lu(A)
    >>> tg.allclose(P @ L @ U, A)
    True
    """
    data, pivots = eliminated("lu", A, pivot)
    return LU(permutation("lu", pivots, data) if pivot else data.new_zeros(0), *lower_and_upper(data))


@takes_operands
@typed
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> CholeskyEx:
    """`cholesky`, and the number, from 1, of the first leading minor that is not positive, or 0: from there on the
    factor is NaN.

    >>> import tinygrad_nn as tg
    >>> L, info = cholesky_ex(tg.tensor([[4.0, 2.0], [2.0, 5.0]]))
    >>> info
    tensor(0, dtype=int32)
    """
    name = "cholesky_ex"
    factor = stepwise_cholesky(name, A, upper)
    wrong = ~(factor.detach().diagonal(0, -2, -1) > 0)
    return CholeskyEx(factor, _checked(name, _first_true(wrong), check_errors, "positive definite matrices"))


def _first_zero(data: Tensor) -> Tensor:
    return _first_true(data.detach().diagonal(0, -2, -1).eq(0))


def _first_true(flags: Tensor) -> Tensor:
    """The number, from 1, of the first that holds along the last axis, or 0."""
    if not flags.shape[-1]:
        return flags.sum(-1).int()
    return (flags.int().argmax(-1) + 1).masked_fill(~flags.any(-1), 0).int()


def _checked(name: str, info: Tensor, check_errors: bool, expected: str) -> Tensor:
    if check_errors and not info.is_traced and bool(info.any()):
        raise LinAlgError(message(name, f"info {info.tolist()}", expected))
    return info


def _regular(name: str, A: Tensor, check_errors: bool) -> tuple[Tensor, Tensor]:
    """A, with NaN in the place of singular matrices, and the numbers of their first pivots that are 0."""
    info = _first_zero(eliminated(name, A.detach())[0])
    one = identity(A).expand_to(A.shape)
    return A.where(info.eq(0).unsqueeze(-1).unsqueeze(-1), one), _checked(name, info, check_errors, "an inverse")


@takes_operands
@typed
def inv_ex(A: Tensor, *, check_errors: bool = False) -> InvEx:
    """`inv`, and the number, from 1, of the first pivot that is 0, or 0: the inverse of a singular matrix is NaN.

    >>> import tinygrad_nn as tg
    >>> inverse, info = inv_ex(tg.tensor([[2.0, 0.0], [0.0, 4.0]]))
    >>> inverse
    tensor([[0.50, 0.00],
            [0.00, 0.25]])
    """
    regular, info = _regular("inv_ex", A, check_errors)
    found = inverted("inv_ex", regular)
    return InvEx(found.masked_fill(info.ne(0).unsqueeze(-1).unsqueeze(-1), math.nan), info)


@takes_operands
@typed
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> SolveEx:
    """`solve`, and the number, from 1, of the first pivot that is 0, or 0: solutions by a singular matrix are NaN.

    >>> import tinygrad_nn as tg
    >>> result, info = solve_ex(tg.tensor([[2.0, 0.0], [0.0, 4.0]]), tg.tensor([2.0, 4.0]))
    >>> result
    tensor([1., 1.])
    """
    regular, info = _regular("solve_ex", A, check_errors)
    found = solve(regular, B, left=left)
    wrong = info.ne(0)
    return SolveEx(found.masked_fill(wrong.reshape((*wrong.shape, *(1,) * (found.ndim - wrong.ndim))), math.nan), info)


@takes_operands
@typed
def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Lstsq:
    """The X of least |A @ X - B|, and of these the least X: (solution, residuals, rank, singular_values).

    Residuals are sums of squares, where A has more rows than columns, all of them independent. `driver` chooses what
    else is given, as in PyTorch: singular values with "gelsd" and "gelss", no rank with "gels", no residuals with
    "gelsy", the default.

    >>> import tinygrad_nn as tg
    >>> points, values = tg.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), tg.tensor([[1.0], [3.0], [5.0]])
    >>> lstsq(points, values).solution.round(decimals=3)
    tensor([[1.],
            [2.]])
    """
    name = "lstsq"
    used = choice(name, "driver", "gelsy" if driver is None else driver, ("gelsy", "gels", "gelsd", "gelss"))
    m, n = matrices(name, A, square=False).shape[-2:]
    vectors = B.ndim == A.ndim - 1 and B.shape == A.shape[:-1]
    right = B.unsqueeze(-1) if vectors else B
    found = pseudoinverse(name, A, rcond) @ right
    values = singular(name, A.detach(), False)[1]
    rank = matrix_rank(A) if rcond is None else matrix_rank(A, rtol=rcond)
    empty = A.new_zeros(0)
    residuals = found.reshape(-1).narrow(0, 0, 0)
    if m > n and used != "gelsy" and (used == "gels" or (not rank.is_traced and bool(rank.eq(n).all()))):
        gaps = A @ found - right
        residuals = (gaps * gaps).sum(-2)
    return Lstsq(
        found.squeeze(-1) if vectors else found,
        residuals,
        empty.long() if used == "gels" else rank,
        values if used in ("gelsd", "gelss") else empty,
    )


@takes_operands
@typed
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of the map that `tensordot` over the axes from `ind` on is.

    >>> tensorinv(Tensor.reshape(inv([[2.0, 0.0], [0.0, 4.0]]), (2, 1, 2)), 1).shape
    (1, 2, 2)
    """
    first = integer("tensorinv", "ind", ind, least=1)
    rows, columns = A.shape[:first], A.shape[first:]
    if math.prod(rows) != math.prod(columns):
        raise ShapeError(message("tensorinv", f"shape {A.shape} and ind {ind}", "as many elements before it as behind"))
    return inverted("tensorinv", A.reshape((math.prod(rows), -1))).reshape((*columns, *rows))


@takes_operands
@typed
def tensorsolve(A: Tensor, other: Tensor, dims: Ints | None = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = other; the axes `dims` of A are moved behind the others first.

    >>> import tinygrad_nn as tg
    >>> tensorsolve(tg.eye(6).reshape(2, 3, 2, 3), tg.ones(2, 3)).shape
    (2, 3)
    """
    moved = normal_axes("tensorsolve", dims, A.ndim) if dims is not None else ()
    A = A.movedim(moved, range(A.ndim - len(moved), A.ndim)) if moved else A
    shape = A.shape[other.ndim :]
    if math.prod(shape) != other.numel() or A.numel() != other.numel() ** 2:
        expected = "a square map to the shape of other"
        raise ShapeError(message("tensorsolve", f"shapes {A.shape} and {other.shape}", expected))
    return solved("tensorsolve", A.reshape((other.numel(), -1)), other.reshape((-1, 1))).reshape(shape)


@takes_operands
@typed
def householder_product(input: Tensor, tau: Tensor) -> Tensor:
    """The first columns of the product of reflections 1 - tau * v @ v.T, whose v lie below the diagonal, with a 1 on
    it.

    >>> import tinygrad_nn as tg
    >>> householder_product(tg.eye(3, 2), tg.zeros(2))
    tensor([[1., 0.],
            [0., 1.],
            [0., 0.]])
    """
    m, n = matrices("householder_product", input, square=False).shape[-2:]
    k = tau.shape[-1] if tau.ndim else 0
    if not k <= n <= m or tau.shape[:-1] != input.shape[:-2]:
        got = f"shapes {input.shape} and {tau.shape}"
        raise ShapeError(message("householder_product", got, "(..., m, n) and (..., k) with k <= n <= m"))
    place = input.new_arange(m).unsqueeze(-1)
    found = input._level(place.eq(input.new_arange(n)).to(input.dtype).expand_to(input.shape))
    for i in range(k - 1, -1, -1):
        v = input.narrow(-1, i, 1).masked_fill(place < i, 0).masked_fill(place.eq(i), 1)
        found = found - tau.narrow(-1, i, 1).unsqueeze(-1) * (v @ (v.mT @ found))
    return found


# ---- norms and products ---------------------------------------------------------------------------------------------


@takes_operands
def vector_norm(x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """(sum |x| ** ord) ** (1 / ord) over the axes, of all elements where no axis is given.

    >>> vector_norm([3.0, 4.0]), vector_norm([3.0, 4.0], ord=1)
    (tensor(5.), tensor(7.))
    """
    return x.norm(float(ord), dim, keepdim, dtype)


@takes_operands
def matrix_norm(
    A: Tensor, ord: float | str = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Norms of matrices: "fro", "nuc", inf, -inf (sums of rows), 1, -1 (of columns), 2, -2 (singular values).

    >>> matrix_norm([[3.0, 0.0], [0.0, 4.0]])
    tensor(5.)
    """
    if A.ndim < 2 or not isinstance(dim, (tuple, list)) or len(dim) != 2:
        raise ShapeError(message("matrix_norm", f"shape {A.shape} and dim {dim}", "two axes of a matrix or a batch"))
    rows, columns = (normal_axis("matrix_norm", one, A.ndim) for one in dim)
    if rows == columns:
        raise ShapeError(message("matrix_norm", f"axis {rows} twice", "two axes"))
    x = A._floating("matrix_norm", dtype)
    if ord == "fro":
        return x.norm(2.0, (rows, columns), keepdim)
    if ord not in ("nuc", math.inf, -math.inf, 1, -1, 2, -2):
        expected = "'fro', 'nuc', inf, -inf, 1, -1, 2 or -2"
        raise ConfigError(message("matrix_norm", f"ord {ord!r}", expected))
    x = x.movedim((rows, columns), (-2, -1))
    if ord == "nuc" or abs(float(ord)) == 2:
        values = singular("matrix_norm", x, False)[1]
        found = values.sum(-1) if ord == "nuc" else values.amax(-1) if ord == 2 else values.amin(-1)
    else:
        sums = x.abs().sum(-1 if abs(float(ord)) == math.inf else -2)
        found = sums.amax(-1) if float(ord) > 0 else sums.amin(-1)
    if not keepdim:
        return found
    first, second = sorted((rows, columns))
    return found.unsqueeze(first).unsqueeze(second)


@takes_operands
def norm(
    A: Tensor, ord: float | str | None = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """`vector_norm` of all elements or along one axis, `matrix_norm` for two axes, or for an `ord` of a matrix.

    >>> norm([3.0, 4.0])
    tensor(5.)
    """
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if isinstance(dim, (tuple, list)) and len(dim) == 2:
        return matrix_norm(A, ord, dim, keepdim, dtype=dtype)
    if dim is None and (A.ndim == 2 or isinstance(ord, str)):
        return matrix_norm(A, ord, (0, 1) if A.ndim == 2 else None, keepdim, dtype=dtype)
    if isinstance(ord, str):
        raise ConfigError(message("norm", f"ord {ord!r} over one axis", "a number"))
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)


@takes_operands
def cond(A: Tensor, p: float | str | None = None) -> Tensor:
    """The condition number: the largest singular value over the smallest, or norm(A) * norm(inv(A)).

    >>> import tinygrad_nn as tg
    >>> cond(tg.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor(2.)
    """
    if p is None or p in (2, -2):
        values = singular("cond", A, False)[1]
        return values.amin(-1) / values.amax(-1) if p == -2 else values.amax(-1) / values.amin(-1)
    return matrix_norm(matrices("cond", A), p) * matrix_norm(inverted("cond", A), p)


@takes_operands
@typed
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Vector products along an axis of length 3; the operands broadcast.

    >>> cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    tensor([0., 0., 1.])
    """
    return input.cross(other, dim)


@takes_operands
@typed
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Sums of products along an axis; the operands broadcast.

    >>> vecdot([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    tensor([3., 7.])
    """
    return (x * y).sum(dim)


@takes_operands
@typed
def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, by default of the last two axes.

    >>> diagonal([[1, 2], [3, 4]])
    tensor([1, 4])
    """
    return A.diagonal(offset, dim1, dim2)
