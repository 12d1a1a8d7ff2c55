"""Inverses, systems and factors of matrices on tensors: what `tinygrad_nn.linalg`, methods and distributions share.

Every function takes the name that the user called, checks dtypes and shapes by it, and broadcasts batches; then the
ops of `ops/linalg.py` have nothing left to refuse but values.
"""

from __future__ import annotations

from typing import Any

from ..errors import DTypeError, ShapeError, TraceError, message
from ..graph.graph import Op
from ..ops import linalg
from ..ops.rules import INT32
from .context import user_line
from .contract import T, check_floats
from .core import Core, broadcast_shape


def matrices(name: str, x: T, *, square: bool = True) -> T:
    """x, if it is a float matrix or a batch of them."""
    if not isinstance(x, Core):
        raise DTypeError(message(name, f"a {type(x).__name__}", "a tensor"))
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise ShapeError(message(name, f"shape {x.shape}", f"{'(..., n, n)' if square else '(..., m, n)'}"))
    if x.dtype.kind != "f":
        raise DTypeError(message(name, f"dtype {x.dtype.name}", "a float dtype", "convert it with .float() first"))
    return x


def computed(name: str, op: Op, x: T, *others: T, **attrs: Any) -> T:
    """The op, which is for eager code alone unless it is composed of others."""
    if op.composed is None and any(one.is_traced for one in (x, *others)):
        hint = "compute it outside of the function, or take off @tg.jit"
        raise TraceError(message(name, f"a traced matrix at {user_line()}", "one that is computed", hint))
    return x.apply(op, *others, **attrs)


def inverted(name: str, x: T) -> T:
    """The inverse of square matrices; raises LinAlgError for a singular one."""
    return computed(name, linalg.INVERSE, matrices(name, x), called=name)


def together(name: str, a: T, b: T, *, left: bool = True) -> tuple[T, T]:
    """A square matrix and the matrix beside it, with one batch shape and dtype."""
    a, b = matrices(name, a), matrices(name, b, square=False)
    check_floats(name, a, b)
    if a.shape[-1] != b.shape[-2 if left else -1]:
        expected = "(..., n, n) and (..., n, k)" if left else "(..., n, n) and (..., k, n)"
        raise ShapeError(message(name, f"shapes {a.shape} and {b.shape}", expected))
    batch = broadcast_shape(name, a.shape[:-2], b.shape[:-2])
    return a.expand_to((*batch, *a.shape[-2:])), b.expand_to((*batch, *b.shape[-2:]))


def solved(name: str, a: T, b: T) -> T:
    """x with a @ x = b, of matrices; raises LinAlgError for a singular one."""
    a, b = together(name, a, b)
    return computed(name, linalg.SOLVE, a, b, called=name)


def solved_triangle(name: str, a: T, b: T, upper: bool, unit: bool = False) -> T:
    """x with a @ x = b, of the upper or lower triangle of a; raises LinAlgError for a 0 on its diagonal."""
    a, b = together(name, a, b)
    return computed(name, linalg.TRIANGULAR, a, b, upper=upper, unit=unit, called=name)


def cholesky_factor(name: str, x: T, upper: bool = False) -> T:
    """The triangular factor of positive definite matrices, of which that triangle is read.

    Raises LinAlgError for others; compiled, the factor is NaN.
    """
    x = matrices(name, x)
    factor = computed(name, linalg.CHOLESKY, x.mT if upper else x, called=name)
    return factor.mT if upper else factor


def stepwise_cholesky(name: str, x: T, upper: bool = False) -> T:
    """The same with NaN from where there is no factor, instead of an error."""
    x = matrices(name, x)
    factor: T = linalg.stepwise(x.mT if upper else x, name)
    return factor.mT if upper else factor


def solved_by_factor(name: str, factor: T, b: T, upper: bool) -> T:
    """x with a @ x = b, by the Cholesky factor of a."""
    lower = matrices(name, factor).mT if upper else matrices(name, factor)
    return solved_triangle(name, lower.mT, solved_triangle(name, lower, b, False), True)


def identity(x: T) -> T:
    """The unit matrix for square matrices like x."""
    ones: T = linalg.unit(x)
    return ones.to(x.dtype)


def determinant(name: str, x: T) -> T:
    """The determinant of square matrices."""
    return computed(name, linalg.DET, matrices(name, x))


def log_determinant(name: str, x: T) -> tuple[T, T]:
    """Sign and logarithm of the absolute value of the determinant: 0 and -inf of a singular matrix."""
    x = matrices(name, x)
    size = computed(name, linalg.LOGABSDET, x)
    return size._level(computed(name, linalg.DET_SIGN, x)), size


def power(name: str, x: T, n: int) -> T:
    """The nth power of square matrices, by squaring; a negative one is that of the inverse."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(message(name, f"shape {x.shape}", "(..., n, n)"))
    if n < 0:
        return power(name, inverted(name, x), -n)
    result, square = None, x
    while n:
        if n % 2:
            result = square if result is None else result @ square
        n //= 2
        square = square @ square if n else square
    if result is None:
        return x._level(identity(x).expand_to(x.shape).clone())
    return result.clone() if result is x else result


def eigen(name: str, x: T, lower: bool) -> tuple[T, T]:
    """Eigenvalues, in rising order, and eigenvectors of symmetric matrices, of which one triangle is read."""
    n = matrices(name, x).shape[-1]
    values, vectors = linalg.parts(computed(name, linalg.EIGH, x, lower=lower), (n,), (n, n))
    return values, vectors


def singular(name: str, x: T, full: bool) -> tuple[T, T, T]:
    """u, s, v with x = u @ diag(s) @ v, s falling; u and v square if `full`."""
    m, n = matrices(name, x, square=False).shape[-2:]
    u, s, v = linalg.parts(computed(name, linalg.SVD, x, full=full), *linalg.svd_shapes(m, n, full))
    return u, s, v


def orthogonal(name: str, x: T, full: bool) -> tuple[T, T]:
    """q with orthonormal columns and the upper triangle r, x = q @ r; q square if `full`."""
    m, n = matrices(name, x, square=False).shape[-2:]
    q, r = linalg.parts(computed(name, linalg.QR, x, full=full), *linalg.qr_shapes(m, n, full))
    return q, r


def pseudoinverse(name: str, x: T, rtol: float | None, atol: float = 0.0, hermitian: bool = False) -> T:
    """The pseudo-inverse; singular values up to max(atol, rtol * the largest) count as 0."""
    x = matrices(name, x, square=hermitian)
    return computed(name, linalg.PINV, x, rtol=rtol, atol=atol, hermitian=hermitian)


def eliminated(name: str, x: T, pivot: bool = True) -> tuple[T, T]:
    """L below the diagonal (where it has ones) and U from there on, in one matrix, with P @ L @ U = x; and with which
    row, from 1, each one was exchanged in its turn. Without `pivot` no row is.
    """
    m, n = matrices(name, x, square=False).shape[-2:]
    rows = x.new_arange(m)
    pivots = []
    for j in range(min(m, n)):
        at = rows.narrow(0, j, 1).expand_to((*x.shape[:-2], 1))
        if pivot:
            column = x._stopped().narrow(-2, j, m - j).narrow(-1, j, 1).squeeze(-1)
            at = column.abs().argmax(-1, keepdim=True) + j
            order = at.where(rows.eq(j), rows.masked_fill(rows.eq(at), j))
            x = x.gather(-2, order.unsqueeze(-1).expand_to(x.shape))
        pivots.append(at + 1)
        if j + 1 < m:
            above, below = x.narrow(-2, 0, j + 1), x.narrow(-2, j + 1, m - j - 1)
            top = above.narrow(-2, j, 1)
            corner = top.narrow(-1, j, 1)
            share = below.narrow(-1, j, 1) / corner.masked_fill(corner.eq(0), 1)  # of zeros, where that is one
            parts = [below.narrow(-1, 0, j), share]
            if j + 1 < n:
                parts.append(below.narrow(-1, j + 1, n - j - 1) - share * top.narrow(-1, j + 1, n - j - 1))
            x = above.cat_with(parts[0].cat_with(*parts[1:], dim=-1), dim=-2)
    empty = rows.narrow(0, 0, 0).expand_to((*x.shape[:-2], 0))
    return x, (empty.cat_with(*pivots, dim=-1) if pivots else empty).cast(INT32)


def lower_and_upper(x: T) -> tuple[T, T]:
    """The two factors that lie in one matrix."""
    m, n = x.shape[-2:]
    k = min(m, n)
    lower, upper = x.narrow(-1, 0, k).tril(-1), x.narrow(-2, 0, k).triu()
    return lower + x.new_arange(m).unsqueeze(-1).eq(x.new_arange(k)).to(x.dtype), upper


def order_of(name: str, pivots: T, m: int) -> T:
    """The order of m rows after the exchanges of an elimination."""
    if pivots.dtype.kind != "i" or not pivots.ndim or pivots.shape[-1] > m:
        raise ShapeError(message(name, f"pivots {pivots.shape}:{pivots.dtype.name}", "integers, one for each row"))
    places = pivots.new_arange(m)
    order = places.expand_to((*pivots.shape[:-1], m))
    for j in range(pivots.shape[-1]):
        at = pivots.narrow(-1, j, 1).long() - 1
        here, there = order.narrow(-1, j, 1), order.gather(-1, at)
        order = there.where(places.eq(j), here.where(places.eq(at), order))
    return order


def permutation(name: str, pivots: T, x: T) -> T:
    """The matrix P, of x's dtype, whose product with the rows after an elimination are those of before."""
    order = order_of(name, pivots, x.shape[-2])
    return order.new_arange(x.shape[-2]).unsqueeze(-1).eq(order.unsqueeze(-2)).to(x.dtype)


def solved_by_lu(name: str, data: T, pivots: T, b: T, adjoint: bool = False) -> T:
    """x with a @ x = b, or a.mT @ x = b, by what an elimination of a gave."""
    data, b = together(name, data, b)
    n = data.shape[-1]
    order = order_of(name, pivots, n).expand_to((*b.shape[:-2], n)).unsqueeze(-1).expand_to(b.shape)
    if not adjoint:
        b = b.gather(-2, order)
        return solved_triangle(name, data, solved_triangle(name, data, b, False, True), True)
    b = solved_triangle(name, data.mT, solved_triangle(name, data.mT, b, False), True, True)
    return b.gather(-2, order.argsort(-2))


def exponential(name: str, x: T) -> T:
    """The exponential of square matrices."""
    return computed(name, linalg.MATRIX_EXP, matrices(name, x))
