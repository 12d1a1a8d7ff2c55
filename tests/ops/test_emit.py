"""The scalar form of each arithmetic op is its NumPy meaning, bit by bit, on special numbers and extreme integers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tinygrad_nn.graph.graph import Op
from tinygrad_nn.graph.scalar import evaluate, param
from tinygrad_nn.ops import TABLE, elementwise
from tinygrad_nn.ops.rules import DTYPES
from tinygrad_nn.ops.transcendental import LOGADDEXP, POW
from tinygrad_nn.testing.samples import dtypes_of

REALS = [
    np.nan,
    np.inf,
    -np.inf,
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    0.1,
    0.3,
    -7.3,
    1e-30,
    -1e30,
    1e9,
    -3e9,
    5e18,
    1e19,
]
EXACT = [op for op in TABLE.values() if op.kind == "elementwise" and op.error is None]
NEAR = [op for op in TABLE.values() if op.kind == "elementwise" and op.error is not None]


def numbers(dtype: Any) -> Any:
    if dtype.kind == "f":
        return np.array(REALS, dtype)
    if dtype.kind == "b":
        return np.array([False, True])
    limits = np.iinfo(dtype)
    return np.array([0, 1, -1, 2, -2, 3, -3, 7, -7, 31, 32, 63, 64, limits.max, limits.min, limits.min + 1], dtype)


def tuples(dtypes: list[Any]) -> list[Any]:
    """Every combination of numbers, one array per operand."""
    grid = list(itertools.product(*(numbers(dtype) for dtype in dtypes)))
    return [np.array([row[k] for row in grid], dtype) for k, dtype in enumerate(dtypes)]


def accepted(op: Op) -> list[tuple[list[Any], Any]]:
    """The dtypes an op takes, with the attributes of each case."""
    pairs = [(dtypes_of(op, case, dtype), case.attrs) for case in op.domain for dtype in DTYPES]
    return [(dtypes, attrs) for dtypes, attrs in pairs if dtypes]


def check(op: Op, dtypes: list[Any], operands: list[Any] | None = None, **attrs: Any) -> None:
    operands = operands or tuples(dtypes)
    if op.divides and dtypes[0].kind == "i":
        operands = [x[operands[1] != 0] for x in operands]
    with np.errstate(all="ignore"):
        expected = op.numpy(*operands, **attrs)
    assert op.emit is not None
    expr = op.emit(*(param(k, dtype) for k, dtype in enumerate(dtypes)), **attrs)
    assert expr.dtype == expected.dtype == op.dtype(*dtypes, **attrs)
    found = evaluate(expr, operands)
    np.testing.assert_array_equal(found, expected, err_msg=op.name)
    if expected.dtype.kind == "f" and not op.open_zero:
        # NumPy leaves open which of two zeros is the larger
        np.testing.assert_array_equal(np.signbit(found)[found == 0], np.signbit(expected)[found == 0], err_msg=op.name)


@pytest.mark.parametrize("op", EXACT, ids=lambda op: op.name)
def test_scalar_form_is_the_numpy_meaning(op: Op) -> None:
    found = accepted(op)
    assert found
    for dtypes, attrs in found:
        check(op, dtypes, **attrs)


@pytest.mark.parametrize("op", [op for op in EXACT if op.divides], ids=lambda op: op.name)
def test_quotients_next_to_whole_numbers(op: Op) -> None:
    """Decimal fractions, as in 0.6 // 0.2: the rounded quotient and the exact remainder must tell the same story."""
    rng = np.random.default_rng(0)
    for dtype in DTYPES[3:]:
        x, y = rng.integers(-(10**6), 10**6, (2, 20_000)) / rng.choice([1, 10, 1000], (2, 20_000))
        check(op, [dtype, dtype], [x.astype(dtype), y.astype(dtype)])


def test_conversions() -> None:
    for source, target in itertools.product(DTYPES, DTYPES):
        check(elementwise.CAST, [source], dtype=target)


def test_powers_of_integers() -> None:
    for dtype in DTYPES[1:3]:
        check(POW, [dtype, dtype])


def test_logaddexp() -> None:
    """Composed of the library's exp and log1p, so within their error and not bit by bit."""
    for dtype in DTYPES[3:]:
        x, y = tuples([dtype, dtype])
        assert LOGADDEXP.emit is not None
        found = evaluate(LOGADDEXP.emit(param(0, dtype), param(1, dtype)), [x, y])
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(found, np.logaddexp(x, y), rtol=4 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("op", NEAR, ids=lambda op: op.name)
def test_scalar_form_is_the_numpy_meaning_to_rounding(op: Op) -> None:
    """`tests/libm` knows how near; here the special numbers, and that no block has the form of another."""
    assert op.emit is not None
    for dtypes, attrs in accepted(op):
        operands = tuples(dtypes)
        if op.limit < np.inf:
            operands = [x[~(np.abs(x) >= op.limit)] for x in operands]
        with np.errstate(all="ignore"):
            expected = op.numpy(*operands, **attrs)
        found = evaluate(op.emit(*(param(k, dtype) for k, dtype in enumerate(dtypes)), **attrs), operands)
        assert found.dtype == expected.dtype
        rtol = 8 * float(np.finfo(found.dtype).eps) if found.dtype.kind == "f" else 0
        np.testing.assert_allclose(found, expected, rtol=rtol)
        if not op.open_zero:
            np.testing.assert_array_equal(np.signbit(found)[found == 0], np.signbit(expected)[found == 0])


def test_every_block_has_a_scalar_form() -> None:
    assert all(op.emit is not None for op in EXACT + NEAR)
