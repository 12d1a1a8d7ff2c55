"""`tg.linalg` against PyTorch: values, gradients to the second order, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.tensor.parity import FLOATS, check, values

SQUARES, SQUARE, TALL, WIDE = values(2, 3, 3), values(3, 3, seed=1), values(4, 2, seed=2), values(2, 3, seed=3)
TRIANGLE = values(3, 3, low=1, seed=4)
INF = float("inf")

# Of factors, whose signs are LAPACK's to choose, what does not depend on them.
CALLS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "inv": (lambda m, x: m.inv(x), (SQUARES,)),
    "solve": (lambda m, a, b: m.solve(a, b), (SQUARES, SQUARE[:, :2])),
    "solve right": (lambda m, a, b: m.solve(a, b, left=False), (SQUARES, values(2, 2, 3, seed=9))),
    "solve vector": (lambda m, a, b: m.solve(a, b), (SQUARE, SQUARE[0])),
    "solve vectors": (lambda m, a, b: m.solve(a, b), (SQUARES, SQUARES[:, 0])),
    "lower": (lambda m, a, b: m.solve_triangular(a, b, upper=False), (TRIANGLE, SQUARE[:, :2])),
    "upper": (lambda m, a, b: m.solve_triangular(a, b, upper=True, left=False), (TRIANGLE, SQUARES)),
    "unit": (lambda m, a, b: m.solve_triangular(a, b, upper=True, unitriangular=True), (TRIANGLE, SQUARE)),
    "det": (lambda m, x: m.det(x), (SQUARES,)),
    "slogdet": (lambda m, x: tuple(m.slogdet(x)), (SQUARES,)),
    "cholesky": (lambda m, x: m.cholesky(x @ x.mT + 1e-2 * x.mT @ x, upper=True), (SQUARES,)),
    "matrix_power": (lambda m, x: m.matrix_power(x, 3), (SQUARES,)),
    "matrix_exp": (lambda m, x: m.matrix_exp(x), (SQUARES,)),
    "multi_dot": (lambda m, x, y, z: m.multi_dot([x, y, z]), (values(4), TALL, WIDE)),
    "eigh": (lambda m, x: (m.eigh(x + x.mT)[0], m.eigh(x + x.mT).eigenvectors ** 2), (SQUARES,)),
    "eigvalsh": (lambda m, x: m.eigvalsh(x + x.mT, UPLO="U"), (SQUARES,)),
    "svd tall": (lambda m, x: (m.svd(x, False)[0] ** 2, m.svd(x).S, m.svd(x, False).Vh ** 2), (TALL,)),
    "svd wide": (lambda m, x: (m.svd(x, False)[0] ** 2, m.svd(x).S, m.svd(x, False).Vh ** 2), (WIDE,)),
    "svdvals": (lambda m, x: m.svdvals(x), (SQUARES,)),
    "qr tall": (lambda m, x: tuple(m.qr(x)), (TALL,)),
    "qr wide": (lambda m, x: tuple(m.qr(x, "complete")), (WIDE,)),
    "pinv": (lambda m, x: m.pinv(x), (TALL,)),
    "cond": (lambda m, x: m.cond(x), (SQUARES,)),
    "matrix_norm": (
        lambda m, x: tuple(m.matrix_norm(x, p, keepdim=True) for p in ("fro", "nuc", INF, -INF, 1, -1, 2, -2)),
        (SQUARES,),
    ),
    "vector_norm": (lambda m, x: tuple(m.vector_norm(x, p, 1) for p in (1, 2, 3.5, INF, -INF)), (SQUARES,)),
    "norm": (lambda m, x: (m.norm(x), m.norm(x, 3, 0), m.norm(x, "nuc", (0, 2)), m.norm(x[0], 1)), (SQUARES,)),
    "cross": (lambda m, x, y: m.cross(x, y), (SQUARES, values(1, 3, 3, seed=11))),
    "vecdot": (lambda m, x, y: m.vecdot(x, y, dim=0), (SQUARE, SQUARES)),
    "diagonal": (lambda m, x: m.diagonal(x, offset=1), (SQUARES,)),
    "vander": (lambda m, x: (m.vander(x, N=5), m.vander(x)), (TALL,)),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", CALLS)
def test_as_pytorch(name: str, dtype: Any) -> None:
    call, operands = CALLS[name]
    given = [x.astype(dtype) for x in operands]
    check(lambda lib, *xs: call(lib.linalg, *xs), *given, ulps=8192, grad_ulps=65536)


@pytest.mark.parametrize("name", CALLS)
def test_gradients_to_the_second_order(name: str) -> None:
    call, operands = CALLS[name]
    leaves = [tg.tensor(x, requires_grad=True) for x in operands]

    def outputs(*xs: Any) -> Any:
        found = call(tg.linalg, *xs)
        return tuple(out for out in (found if isinstance(found, tuple) else (found,)) if out.requires_grad)

    assert tg.testing.gradcheck(outputs, leaves, mode="fast")


def test_the_gradient_of_the_determinant_of_a_singular_matrix() -> None:
    x = tg.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 1.0, 5.0]], dtype=tg.float64, requires_grad=True)
    tg.linalg.det(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), [[14, -4, -2], [-7, 2, 1], [0, 0, 0]], atol=1e-13)


def test_ranks() -> None:
    x = tg.tensor(np.stack([np.outer([1.0, 2, 3], [1.0, 0, 2]), np.eye(3), np.zeros((3, 3))]))
    assert tg.linalg.matrix_rank(x).tolist() == [1, 3, 0]
    assert tg.linalg.matrix_rank(x, atol=2.0).tolist() == [1, 0, 0]
    assert tg.linalg.matrix_rank(x, atol=tg.tensor([9.0, 0.5, 0.0])).tolist() == [0, 3, 0]
    assert tg.linalg.matrix_rank(x, rtol=tg.tensor([1e-9, 1.0, 0.0])).tolist() == [1, 0, 0]


def test_nothing_in_a_batch() -> None:
    x = tg.zeros(0, 3, 2)
    assert [part.shape for part in tg.linalg.svd(x)] == [(0, 3, 3), (0, 2), (0, 2, 2)]
    assert [part.shape for part in tg.linalg.qr(x)] == [(0, 3, 2), (0, 2, 2)]
    assert tg.linalg.eigh(x[:, :2]).eigenvalues.shape == (0, 2)


def test_gradients_of_steps_are_zero() -> None:
    x = tg.tensor(SQUARE, requires_grad=True)
    (tg.linalg.slogdet(x).sign + tg.linalg.matrix_power(x, 0).sum() + x.norm(0)).backward()
    assert not x.grad.numpy().any()


SINGULAR = np.stack([np.eye(2), np.ones((2, 2))])


@pytest.mark.parametrize(
    ("name", "call", "error", "text"),
    [
        ("inv", lambda m: m.inv(SINGULAR), RuntimeError, "got a singular matrix at .1. of the batch"),
        ("inv", lambda m: m.inv(np.ones((2, 2))), tg.errors.LinAlgError, "got a singular matrix; expected"),
        ("inv", lambda m: m.inv(np.ones((2, 3))), ValueError, r"shape \(2, 3\)"),
        ("inv", lambda m: m.inv(np.ones((2, 2), int)), TypeError, "dtype int64"),
        ("solve", lambda m: m.solve(SINGULAR, SINGULAR), RuntimeError, "singular"),
        ("solve", lambda m: m.solve(np.eye(2), np.ones((3, 1))), ValueError, "shapes"),
        ("cholesky", lambda m: m.cholesky(-np.eye(2)), RuntimeError, "positive definite"),
        ("solve_triangular", lambda m: m.solve_triangular(np.zeros((2, 2)), np.eye(2), upper=True), RuntimeError, "s"),
        ("solve", lambda m: m.solve(np.eye(2), np.ones(2), left=False), ValueError, "left"),
        ("multi_dot", lambda m: m.multi_dot([np.eye(2)]), ValueError, "two or more"),
        ("multi_dot", lambda m: m.multi_dot([np.eye(2), np.eye(3)]), ValueError, "multiplied"),
        ("eigh", lambda m: m.eigh(np.eye(2), "X"), ValueError, "UPLO"),
        ("matrix_norm", lambda m: m.matrix_norm(np.eye(2), 3), ValueError, "ord 3"),
        ("matrix_norm", lambda m: m.matrix_norm(np.ones(2)), ValueError, "two axes"),
    ],
)
def test_refused(name: str, call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=rf"\[{name}\] .*{text}"):
        call(tg.linalg)


def test_compiled() -> None:
    x = tg.tensor(SQUARES[0] @ SQUARES[0].T + np.eye(3))
    whole = tg.jit(lambda a: tg.linalg.solve_triangular(tg.linalg.cholesky(a), a, upper=False))
    np.testing.assert_allclose(whole(x).numpy(), tg.linalg.cholesky(x, upper=True).numpy(), atol=1e-12)
    with pytest.raises(tg.errors.TraceError, match=r"\[inv\] got a traced matrix"):
        tg.jit(lambda a: tg.linalg.inv(a))(x)
