"""Inverses, systems and factors of (batches of) matrices: the meaning is LAPACK's, by NumPy; gradients are tensor code.

These ops are outside of the table: `tensor/factors.py` applies them, to float matrices whose shapes it has checked.
An op has one result, so the parts of a factorization lie flat beside one another in it; `parts` says where. What is
composed of others compiles, for matrices that are not too large; the rest is for eager code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import LinAlgError, message
from ..graph.graph import Op, Shape
from .movement import CAT
from .rules import same_dtype


def transposed(x: Any) -> Any:
    """The matrices with their axes exchanged."""
    return x.transpose(-1, -2)


def joined(tensors: Sequence[Any], axis: int) -> Any:
    """Tensors along one of the last axes."""
    return tensors[0].apply(CAT, *tensors[1:], axis=tensors[0].ndim + axis)


def _refused(name: str, compute: Callable[..., Any], got: str, expected: str) -> Callable[..., Any]:
    """The NumPy meaning, whose refusal names the first matrix that it refuses."""

    def call(x: Any, *others: Any, **attrs: Any) -> Any:
        try:
            return compute(x, *others, **attrs)
        except np.linalg.LinAlgError:
            place = ""
            for index in np.ndindex(x.shape[:-2]):
                try:
                    compute(x[index], *[other[index] for other in others], **attrs)
                except np.linalg.LinAlgError:
                    place = f" at {list(map(int, index))} of the batch" if index else ""
                    break
            raise LinAlgError(message(attrs.get("called", name), f"{got}{place}", expected)) from None

    return call


# ---- inverses and systems -------------------------------------------------------------------------------------------

_SINGULAR = "a singular matrix", "one that has an inverse"

# `called` is the name that the user called, for errors.
INVERSE = Op(
    "inverse",
    "composite",
    shape=lambda x, called: x,
    dtype=same_dtype("inverse", "f"),
    numpy=_refused("inverse", lambda x, called: np.linalg.inv(x), *_SINGULAR),
    vjp=(lambda g, out, x, called: -(transposed(out) @ g @ transposed(out)),),
)


def _solve_vjp(g: Any, out: Any, a: Any, b: Any, called: str, wanted: Collection[int]) -> Mapping[int, Any]:
    right = transposed(a).apply(SOLVE, g, called=called)
    return {k: right if k else -(right @ transposed(out)) for k in wanted}


# a @ out = b
SOLVE = Op(
    "solve",
    "composite",
    shape=lambda a, b, called: b,
    dtype=same_dtype("solve", "f"),
    numpy=_refused("solve", lambda a, b, called: np.linalg.solve(a, b), *_SINGULAR),
    vjp=_solve_vjp,
)


def _triangular(a: Any, b: Any, upper: bool, unit: bool, called: str) -> Any:
    """Of a lower triangle read from its end, which is an upper one: elimination finds nothing to do there."""
    triangle = np.triu(a) if upper else np.tril(a)[..., ::-1, ::-1]
    if unit:
        places = np.arange(a.shape[-1])
        triangle[..., places, places] = 1
    return np.linalg.solve(triangle, b) if upper else np.linalg.solve(triangle, b[..., ::-1, :])[..., ::-1, :]


def _triangular_vjp(
    g: Any, out: Any, a: Any, b: Any, upper: bool, unit: bool, called: str, wanted: Collection[int]
) -> Mapping[int, Any]:
    right = transposed(a).apply(TRIANGULAR, g, upper=not upper, unit=unit, called=called)
    found = {1: right} if 1 in wanted else {}
    if 0 in wanted:
        whole = -(right @ transposed(out))
        found[0] = whole.triu(int(unit)) if upper else whole.tril(-int(unit))
    return found


def _row_by_row(a: Any, b: Any, upper: bool, unit: bool, called: str) -> Any:
    """Substitution; every row is found from those before."""
    n = a.shape[-1]
    order = range(n - 1, -1, -1) if upper else range(n)
    found: dict[int, Any] = {}
    for i in order:
        rest = b.narrow(-2, i, 1)
        for j, row in found.items():
            rest = rest - a.narrow(-2, i, 1).narrow(-1, j, 1) * row
        found[i] = rest if unit else rest / a.narrow(-2, i, 1).narrow(-1, i, 1)
    return joined([found[i] for i in range(n)], -2) if n else b


# a @ out = b, of the upper or lower triangle of a, with ones on its diagonal if `unit`
TRIANGULAR = Op(
    "solve_triangular",
    "composite",
    shape=lambda a, b, upper, unit, called: b,
    dtype=same_dtype("solve_triangular", "f"),
    numpy=_refused("solve_triangular", _triangular, *_SINGULAR),
    composed=_row_by_row,
    vjp=_triangular_vjp,
)


def _pinv_vjp(g: Any, out: Any, x: Any, rtol: Any, atol: float, hermitian: bool) -> Any:
    p, pt, gt = out, transposed(out), transposed(g)
    left, right = gt @ p @ pt, pt @ p @ gt
    return left - x @ (p @ left) + right - (right @ p) @ x - pt @ g @ pt


def _pinv(x: Any, rtol: float | None, atol: float, hermitian: bool) -> Any:
    """By the singular values that are larger than max(atol, rtol * the largest)."""
    u, s, v = np.linalg.svd(x, full_matrices=False, hermitian=hermitian)
    small = s <= bound(x, s, rtol, atol)[..., None]
    inverse = np.divide(1, s, out=np.zeros_like(s), where=~small)
    return np.swapaxes(v, -1, -2) @ (inverse[..., None] * np.swapaxes(u, -1, -2))


def bound(x: Any, s: Any, rtol: float | None, atol: float) -> Any:
    """What singular values are not larger than counts as 0. PyTorch's default is eps * the longer side."""
    if rtol is None:
        rtol = 0.0 if atol > 0 else max(x.shape[-2:]) * float(np.finfo(x.dtype).eps)
    return np.maximum(atol, rtol * s.max(-1, initial=0.0)).astype(x.dtype)


PINV = Op(
    "pinv",
    "composite",
    shape=lambda x, **attrs: (*x[:-2], x[-1], x[-2]),
    dtype=same_dtype("pinv", "f"),
    numpy=_refused("pinv", _pinv, "a matrix whose singular values do not converge", "finite elements"),
    vjp=(_pinv_vjp,),
)

# ---- determinants ---------------------------------------------------------------------------------------------------


def _det_vjp(g: Any, out: Any, x: Any) -> Any:
    """g * the cofactors, which a singular matrix has as well; of second order where there is an inverse."""
    g = g.unsqueeze(-1).unsqueeze(-1)
    if x.is_traced or (out._value() != 0).all():
        return g * out.unsqueeze(-1).unsqueeze(-1) * transposed(x.apply(INVERSE, called="det"))
    return g * x._stopped().apply(COFACTORS)


DET = Op(
    "det",
    "composite",
    shape=lambda x: x[:-2],
    dtype=same_dtype("det", "f"),
    numpy=lambda x: np.asarray(np.linalg.det(x)),
    vjp=(_det_vjp,),
)


def _cofactors(x: Any) -> Any:
    u, s, v = np.linalg.svd(x)
    others = np.where(np.eye(s.shape[-1], dtype=bool), 1, s[..., None, :]).prod(-1)
    sign = np.round(np.linalg.det(u) * np.linalg.det(v))[..., None, None]
    return (sign * (u * others[..., None, :]) @ v).astype(x.dtype)


COFACTORS = Op(
    "cofactors",
    "composite",
    shape=lambda x: x,
    dtype=same_dtype("cofactors", "f"),
    numpy=_cofactors,
    vjp=(None,),
)

LOGABSDET = Op(
    "logabsdet",
    "composite",
    shape=lambda x: x[:-2],
    dtype=same_dtype("logabsdet", "f"),
    numpy=lambda x: np.asarray(np.linalg.slogdet(x)[1]),
    vjp=(lambda g, out, x: g.unsqueeze(-1).unsqueeze(-1) * transposed(x.apply(INVERSE, called="slogdet")),),
)
DET_SIGN = Op(
    "det_sign",
    "composite",
    shape=lambda x: x[:-2],
    dtype=same_dtype("det_sign", "f"),
    numpy=lambda x: np.asarray(np.linalg.slogdet(x)[0]),
    vjp=(None,),
)

# ---- factors --------------------------------------------------------------------------------------------------------


def parts(flat: Any, *shapes: Shape) -> list[Any]:
    """What lies flat beside one another in the last axis."""
    found, start, batch = [], 0, flat.shape[:-1]
    for shape in shapes:
        found.append(flat.narrow(-1, start, math.prod(shape)).reshape((*batch, *shape)))
        start += math.prod(shape)
    return found


def _flat(batch: Shape, arrays: Any) -> Any:
    """The inverse of `parts`, of arrays."""
    return np.concatenate([np.reshape(x, (*batch, math.prod(x.shape[len(batch) :]))) for x in arrays], -1)


def _size(shapes: tuple[Shape, ...]) -> int:
    """The elements of all parts."""
    return sum(math.prod(shape) for shape in shapes)


def _cholesky_vjp(g: Any, out: Any, x: Any, called: str) -> Any:
    """Symmetric, though one triangle is read: the other is the same."""
    product = transposed(out) @ g
    half = (product.tril() + product.tril(-1)) * 0.5
    rows = transposed(out).apply(TRIANGULAR, half, upper=True, unit=False, called=called)
    found = transposed(out).apply(TRIANGULAR, transposed(rows), upper=True, unit=False, called=called)
    return (found + transposed(found)) * 0.5


def stepwise(x: Any, called: str) -> Any:
    """NaN where there is no factor. The gradient is symmetric, as that of the rule."""
    x, n, columns = (x + transposed(x)) * 0.5, x.shape[-1], list[Any]()
    for j in range(n):
        column = x.narrow(-2, j, n - j).narrow(-1, j, 1)
        if columns:
            left = joined([done.narrow(-2, j, n - j) for done in columns], -1)  # (..., n - j, j)
            column = column - left @ transposed(left.narrow(-2, 0, 1))
        column = column / column.narrow(-2, 0, 1).sqrt()
        zeros = column.new_zeros((*column.shape[:-2], j, 1))
        columns.append(joined([zeros, column], -2) if j else column)
    return joined(columns, -1) if n else x


# The lower factor; the lower triangle is read.
CHOLESKY = Op(
    "cholesky",
    "composite",
    shape=lambda x, called: x,
    dtype=same_dtype("cholesky", "f"),
    numpy=_refused(
        "cholesky", lambda x, called: np.linalg.cholesky(x), "a matrix without the factor", "a positive definite one"
    ),
    vjp=(_cholesky_vjp,),
    composed=stepwise,
)


def _eigh(x: Any, lower: bool) -> Any:
    values, vectors = np.linalg.eigh(x, "L" if lower else "U")
    return _flat(x.shape[:-2], (values, vectors))


def _eigh_vjp(g: Any, out: Any, x: Any, lower: bool) -> Any:
    """Symmetric, though one triangle is read. Vectors of equal eigenvalues have no derivative; where none is asked for,
    it is 0.
    """
    n = x.shape[-1]
    (gw, gv), (w, v) = parts(g, (n,), (n, n)), parts(out, (n,), (n, n))
    inner = transposed(v) @ gv
    apart = w.unsqueeze(-2) - w.unsqueeze(-1)
    inner = (inner / apart.masked_fill((inner.eq(0) & apart.eq(0)) | unit(x), 1)).masked_fill(unit(x), 0)
    inner = (inner + transposed(inner)) * 0.5 + gw.unsqueeze(-1) * unit(x).to(x.dtype)
    return v @ inner @ transposed(v)


def unit(x: Any) -> Any:
    """Where the diagonal is, of matrices with so many columns."""
    places = x.new_arange(x.shape[-1])
    return places.unsqueeze(-1).eq(places)


# Eigenvalues in rising order and eigenvectors of symmetric matrices, of which one triangle is read.
EIGH = Op(
    "eigh",
    "composite",
    shape=lambda x, lower: (*x[:-2], x[-1] + x[-1] * x[-1]),
    dtype=same_dtype("eigh", "f"),
    numpy=_refused("eigh", _eigh, "a matrix whose eigenvalues do not converge", "finite elements"),
    vjp=(_eigh_vjp,),
)


def svd_shapes(m: int, n: int, full: bool) -> tuple[Shape, Shape, Shape]:
    """Those of u, s and the transposed v."""
    k = min(m, n)
    return ((m, m), (k,), (n, n)) if full else ((m, k), (k,), (k, n))


def _svd_vjp(g: Any, out: Any, x: Any, full: bool) -> Any:
    """The columns beyond the singular values are any basis of what is left, so they count for nothing."""
    m, n = x.shape[-2:]
    k = min(m, n)
    (u, s, v), (gu, gs, gv) = (parts(flat, *svd_shapes(m, n, full)) for flat in (out, g))
    u, gu, v, gv = u.narrow(-1, 0, k), gu.narrow(-1, 0, k), v.narrow(-2, 0, k), gv.narrow(-2, 0, k)
    vt, gvt, ut = transposed(v), transposed(gv), transposed(u)
    squares, diagonal = s * s, unit(s)
    apart = squares.unsqueeze(-2) - squares.unsqueeze(-1)

    def turned(skew: Any) -> Any:
        skew = skew - transposed(skew)
        return skew / apart.masked_fill((skew.eq(0) & apart.eq(0)) | diagonal, 1)

    inner = turned(ut @ gu) * s.unsqueeze(-2) + s.unsqueeze(-1) * turned(v @ gvt)
    found = u @ (inner + gs.unsqueeze(-1) * diagonal.to(x.dtype)) @ v
    if m > k and gu._value().any():
        beyond = gu / s.unsqueeze(-2)
        found = found + (beyond - u @ (ut @ beyond)) @ v
    if n > k and gv._value().any():
        beyond = gv / s.unsqueeze(-1)
        found = found + u @ (beyond - (beyond @ vt) @ v)
    return found


SVD = Op(
    "svd",
    "composite",
    shape=lambda x, full: (*x[:-2], _size(svd_shapes(x[-2], x[-1], full))),
    dtype=same_dtype("svd", "f"),
    numpy=_refused(
        "svd",
        lambda x, full: _flat(x.shape[:-2], np.linalg.svd(x, full)),
        "a matrix whose singular values do not converge",
        "finite elements",
    ),
    vjp=(_svd_vjp,),
)


def qr_shapes(m: int, n: int, full: bool) -> tuple[Shape, Shape]:
    """Those of q and r."""
    k = m if full else min(m, n)
    return (m, k), (k, n)


def _qr_vjp(g: Any, out: Any, x: Any, full: bool) -> Any:
    """Of the first columns, which make the square part of r, and of the others, which are q @ theirs."""
    m, n = x.shape[-2:]
    (q, r), (gq, gr) = (parts(flat, *qr_shapes(m, n, full)) for flat in (out, g))
    k = r.shape[-2]
    if n <= k:
        q, gq, r, gr = q.narrow(-1, 0, n), gq.narrow(-1, 0, n), r.narrow(-2, 0, n), gr.narrow(-2, 0, n)
        return _qr_square(q, r, gq, gr)
    square, others = r.narrow(-1, 0, k), gr.narrow(-1, k, n - k)
    given = gq + x.narrow(-1, k, n - k) @ transposed(others)  # r's other columns are q' @ x's
    return joined([_qr_square(q, square, given, gr.narrow(-1, 0, k)), q @ others], -1)


def _qr_square(q: Any, r: Any, gq: Any, gr: Any) -> Any:
    inner = (r @ transposed(gr) - transposed(gq) @ q).tril(-1)
    inner = inner + transposed(inner)
    diagonal = ((r * gr).sum(-1) - (q * gq).sum(-2)).unsqueeze(-1) * unit(r).to(r.dtype)
    right = gq + q @ (inner + diagonal)
    return transposed(r.apply(TRIANGULAR, transposed(right), upper=True, unit=False, called="qr"))


QR = Op(
    "qr",
    "composite",
    shape=lambda x, full: (*x[:-2], _size(qr_shapes(x[-2], x[-1], full))),
    dtype=same_dtype("qr", "f"),
    numpy=lambda x, full: _flat(x.shape[:-2], np.linalg.qr(x, "complete" if full else "reduced")),
    vjp=(_qr_vjp,),
)

# ---- exponentials ---------------------------------------------------------------------------------------------------

_PADE = [math.comb(13, k) * math.factorial(26 - k) for k in range(14)]


def _matrix_exp(x: Any) -> Any:
    """The Pade approximant of degree 13 of a matrix halved often enough (Higham, 2005), squared as often."""
    a = x.astype(np.float64).reshape(-1, *x.shape[-2:])
    norm = np.abs(a).sum(-2).max(-1, initial=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        halvings = np.ceil(np.log2(norm / 5.37))
    halvings = np.where(np.isfinite(halvings), np.clip(halvings, 0, 1100), 0).astype(int)
    a = np.ldexp(a, -halvings[:, None, None])
    square, power = a @ a, np.broadcast_to(np.eye(x.shape[-1]), a.shape)
    even, odd = np.zeros_like(a), np.zeros_like(a)
    for k in range(0, 14, 2):
        even, odd = even + _PADE[k] / _PADE[0] * power, odd + _PADE[k + 1] / _PADE[0] * power
        power = power @ square
    odd = a @ odd
    result = np.linalg.solve(even - odd, even + odd)
    for k in range(halvings.max(initial=0)):
        result = np.where((halvings > k)[:, None, None], result @ result, result)
    return result.reshape(x.shape).astype(x.dtype)


def _matrix_exp_vjp(g: Any, out: Any, x: Any) -> Any:
    """A corner of the exponential of a matrix of blocks."""
    n, xt = x.shape[-1], transposed(x)
    block = joined([joined([xt, g], -1), joined([xt - xt, xt], -1)], -2)
    return block.apply(MATRIX_EXP).narrow(-2, 0, n).narrow(-1, n, n)


MATRIX_EXP = Op(
    "matrix_exp",
    "composite",
    shape=lambda x: x,
    dtype=same_dtype("matrix_exp", "f"),
    numpy=_matrix_exp,
    vjp=(_matrix_exp_vjp,),
)
