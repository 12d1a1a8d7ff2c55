"""Functions of several tensors, or of none: against PyTorch, wrong input included, and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.tensor.parity import check, values
from tinygrad_nn.errors import TinygradError

X, Y, ROW, ONE = values(3, 4), values(2, 4, seed=1), values(4, seed=2), np.array(2.0)
CUBE = values(2, 3, 4, seed=3)
EMPTY = np.zeros(0)
CASES: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    *((lambda lib, *xs, name=name: getattr(lib, name)(*xs), xs)
      for name in ("atleast_1d", "atleast_2d", "atleast_3d")
      for xs in ((ONE,), (ROW,), (X,), (CUBE,), (ONE, X), (ROW, np.array(3)))),
    (lambda lib, *xs: lib.atleast_2d(xs), (ONE, ROW)),
    *((lambda lib, *xs, name=name: getattr(lib, name)(xs), xs)
      for name in ("column_stack", "dstack", "row_stack", "hstack", "vstack")
      for xs in ((ROW, ROW), (X, X), (ONE, ONE), (CUBE, CUBE), (X, Y), (ROW, X))),
    (lambda lib, *xs: lib.block_diag(*xs), (X, ROW, ONE)),
    (lambda lib, *xs: lib.block_diag(*xs), (np.array([[1, 2]]), X)),
    (lambda lib, *xs: lib.block_diag(*xs), (CUBE,)),
    (lambda lib, *xs: lib.broadcast_tensors(*xs), (X, ROW, ONE)),
    (lambda lib, *xs: lib.broadcast_tensors(*xs), (X, values(3))),
    (lambda lib, *xs: lib.cartesian_prod(*xs), (ROW, values(2), values(3))),
    (lambda lib, *xs: lib.cartesian_prod(*xs), (ROW,)),
    (lambda lib, *xs: lib.cartesian_prod(*xs), (X,)),
    *((lambda lib, x, r=r, again=again: lib.combinations(x, r, again), (ROW,))
      for r in (0, 1, 2, 3, 5, -1) for again in (False, True)),
    (lambda lib, x: lib.combinations(x), (X,)),
    (lambda lib, *xs: lib.chain_matmul(*xs), (X, values(4, 5), values(5, 2), values(2, 7), values(7, 3))),
    (lambda lib, *xs: lib.chain_matmul(*xs), (X, values(4, 5))),
    (lambda lib, *xs: lib.chain_matmul(*xs), (X, ROW)),
    (lambda lib, *xs: lib.einsum("ij,kj->ik", xs), (X, Y)),
    (lambda lib, x: lib.einsum("ij->j", [x]), (X,)),
    (lambda lib, x, y: lib.einsum(x, [0, 1], y, [2, 1], [0, 2]), (X, Y)),
    (lambda lib, x, y: lib.einsum(x, [..., 0], y, [..., 0]), (X, ROW)),
    (lambda lib, x, y: lib.cat([x, y], dim=1), (EMPTY, X)),
    (lambda lib, x, y: lib.cat([x, y], dim=-1), (X, EMPTY)),
    (lambda lib, x, y: lib.cat([x, y]), (EMPTY, EMPTY)),
    (lambda lib, x, y: lib.cat([x, y], 1), (EMPTY, ROW)),
    (lambda lib, x, y: lib.tensordot(x, y, ([0, 1], [2, 0])), (values(1, 5, 2), values(5, 3, 4))),
    (lambda lib, x, y: lib.tensordot(x, y, ([0, 1], [0, 1])), (values(1, 4, 2), values(3, 1, 5))),
    (lambda lib, x: lib.movedim(x, (0, 1), (-1, 0)), (CUBE,)),
    (lambda lib, x: lib.movedim(x, (0, 1), (1, 1)), (CUBE,)),
    (lambda lib, x: x.squeeze(()), (CUBE[:1],)),
]  # fmt: skip


@pytest.mark.parametrize(("call", "arrays"), CASES)
def test_as_in_pytorch(call: Callable[..., Any], arrays: tuple[Any, ...]) -> None:
    check(call, *arrays)


@pytest.mark.parametrize(("call", "arrays"), CASES)
def test_compiled_as_eager(call: Callable[..., Any], arrays: tuple[Any, ...]) -> None:
    given = [tg.tensor(x) for x in arrays]
    try:
        wanted = call(tg, *given)
    except TinygradError as error:
        with pytest.raises(type(error)):
            tg.jit(lambda *xs: call(tg, *xs))(*given)
        return
    found = tg.jit(lambda *xs: call(tg, *xs))(*given)
    pairs = zip(found, wanted, strict=True) if isinstance(wanted, tuple) else [(found, wanted)]
    for one, other in pairs:
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-13)


def test_positions_powers_and_shapes() -> None:
    for rows, columns, offset in ((3, 4, 0), (3, 4, 2), (4, 2, -1), (0, 3, 0), (2, 2, 9)):
        check(lambda lib, r=rows, c=columns, k=offset: lib.tril_indices(r, c, k))
        check(lambda lib, r=rows, c=columns, k=offset: lib.triu_indices(r, c, offset=k))
    check(lambda lib: lib.logspace(-1, 2, 7, dtype=lib.float64), ulps=64)
    check(lambda lib: lib.logspace(0, 3, 4, base=2.0))
    check(lambda lib: lib.logspace(0, 3, 0))
    for n in (None, 0, 1, 3):
        check(lambda lib, x, n=n: lib.vander(x, n), ROW, grad=False)
        check(lambda lib, x, n=n: lib.vander(x, n, increasing=True), np.array([2, 3, 0]))
    check(lambda lib: lib.broadcast_shapes((2, 1), (3,), 1))
    check(lambda lib: lib.broadcast_shapes((2, 1), (3, 2)))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: tg.block_diag(CUBE), r"\[block_diag\] got shape \(2, 3, 4\); expected at most two axes"),
        (lambda: tg.combinations(ROW, r=1.5), r"\[combinations\] got r 1.5"),
        (lambda: tg.column_stack([]), r"\[column_stack\] got no tensors"),
        (lambda: tg.tril_indices(-1, 2), r"\[tril_indices\] got size"),
        (lambda: tg.triu_indices(2, 2, dtype=tg.float32), r"\[triu_indices\] got dtype float32"),
        (lambda: tg.logspace(0, 1, -3), r"\[logspace\] got size"),
        (lambda: tg.einsum(3.0, X), r"\[einsum\] got equation"),
        (lambda: tg.einsum("ij->i", 3.0), r"\[einsum\] got the term"),
        (lambda: tg.vander(X), r"\[vander\] got shape"),
        (lambda: tg.chain_matmul(X, X), r"\[(chain_)?matmul\] got shapes"),
    ],
)
def test_wrong_input_is_named(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(TinygradError, match=text):
        call()
