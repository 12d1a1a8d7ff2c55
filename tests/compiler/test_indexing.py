"""`x[key]` with positions and masks that are traced: read, differentiated, written and added to, as eager code does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import DTypeError, IndexOutOfRange, ShapeError, TraceError

X = np.random.default_rng(0).standard_normal((4, 5, 6)).astype(np.float32)
INDICES = tg.tensor([2, -1, 0]), tg.tensor([1, 4, -5]), tg.tensor([[0, 3], [1, 2]]), tg.tensor(2)
ALL, SOME = slice(None), slice(1, 3)
KEYS: list[Callable[..., Any]] = [
    lambda i, j, k, s: i,
    lambda i, j, k, s: k,
    lambda i, j, k, s: s,
    lambda i, j, k, s: (ALL, i),
    lambda i, j, k, s: (..., s),
    lambda i, j, k, s: (i, j),
    lambda i, j, k, s: (i, j, i),
    lambda i, j, k, s: (..., i, j),
    lambda i, j, k, s: (i, ALL, j),
    lambda i, j, k, s: (s, ALL, s),
    lambda i, j, k, s: (s, i),
    lambda i, j, k, s: (k, 0),
    lambda i, j, k, s: (k, ALL, s),
    lambda i, j, k, s: (i, 0, j),
    lambda i, j, k, s: (0, i),
    lambda i, j, k, s: (SOME, i, slice(None, None, 2)),
    lambda i, j, k, s: (slice(None, None, -1), i),
    lambda i, j, k, s: (None, i, None, ...),
    lambda i, j, k, s: (i, None, j),
    lambda i, j, k, s: (i, np.array([0, 1, -2])),
    lambda i, j, k, s: (i, [0, 1, 2]),
    lambda i, j, k, s: (i[:, None], j),
    lambda i, j, k, s: (tg.arange(4)[:, None], tg.arange(5), s.expand(4, 5)),
]


def read(x: tg.Tensor, key: Any) -> tg.Tensor:
    """x[key]."""
    return x[key]


def gradient(x: tg.Tensor, key: Any) -> Any:
    """Of a sum of squares."""
    return tg.grad(lambda x: (x[key] ** 2).sum())(x)


def put(x: tg.Tensor, key: Any) -> tg.Tensor:
    """Other elements; of elements that are named twice, the last one counts."""
    x = x.clone()
    x[key] = x[key] * 2 + 1
    return x


def added(x: tg.Tensor, key: Any) -> tg.Tensor:
    """x[key] += v."""
    x = x.clone()
    x[key] += 3.0
    return x


@pytest.mark.parametrize("keys", [KEYS[:8], KEYS[8:16], KEYS[16:]])
def test_positions(keys: Any) -> None:
    def all_of_it(x: tg.Tensor, *index: tg.Tensor) -> Any:
        return [[function(x, key(*index)) for function in (read, gradient, put, added)] for key in keys]

    x = tg.tensor(X)
    for row in zip(all_of_it(x, *INDICES), tg.jit(all_of_it)(x, *INDICES), strict=True):
        for expected, found in zip(*row, strict=True):
            assert expected.shape == found.shape
            np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("key", [lambda i: i, lambda i: (ALL, i), lambda i: (i, i), lambda i: (i, ALL, i)])
@pytest.mark.parametrize("wrong", [[0, 9, 1], [-1, -7, 0]])
def test_out_of_range(key: Any, wrong: list[int]) -> None:
    messages = []
    for jit in (tg.jit, lambda f: f):
        for function in (read, put):
            with pytest.raises(IndexOutOfRange) as caught:
                jit(lambda x, i, function=function: function(x, key(i)))(tg.tensor(X), tg.tensor(wrong))
            messages.append(str(caught.value))
    assert len({messages[0], messages[2]}) == 1
    assert all(f"index {wrong[1]} in row 1; expected -" in text for text in messages)


def test_wrong_keys() -> None:
    x = tg.tensor(X)
    for key, error, text in (
        (lambda i: (i, i, i, i), IndexOutOfRange, r"4 indices for shape \(4, 5, 6\)"),
        (lambda i: (i, i[:2]), ShapeError, r"shapes \(3,\) and \(2,\)"),
        (lambda i: (i, ALL, i[:2]), IndexOutOfRange, "could not be broadcast"),
        (lambda i: i.float(), DTypeError, r"an index of dtype float32.*\.long\(\)"),
        (lambda i: (i, [0, 1, 7]), IndexOutOfRange, "index 7 in row 2; expected -5 <= index < 5"),
    ):
        with pytest.raises(error, match=text):
            tg.jit(lambda x, i, key=key: x[key(i)])(x, INDICES[0])


MASKED: list[Callable[[tg.Tensor, tg.Tensor], Any]] = [
    lambda x, m: x.__setitem__(m, 0.0),
    lambda x, m: x.__setitem__(m, tg.arange(6.0)),
    lambda x, m: x.__setitem__(m, tg.arange(6.0).reshape(1, 6)),
    lambda x, m: x.__setitem__((m, 1), 5),
    lambda x, m: x.__setitem__((m, slice(2)), tg.tensor([[1.0, 2.0]])),
    lambda x, m: x.__setitem__((ALL, m[0]), x[:, :1]),
    lambda x, m: x.__setitem__((..., m[0], ALL), 2.0),
    lambda x, m: x[:, :, 0].__setitem__(m, 5.0),
    lambda x, m: x.transpose(0, 1).__setitem__(m.T, x.sum()),
]


@pytest.mark.parametrize("write", MASKED)
def test_masked_writes(write: Any) -> None:
    def function(x: tg.Tensor, mask: tg.Tensor) -> tg.Tensor:
        x = x.clone()
        write(x, mask)
        return x

    x, mask = tg.tensor(X), tg.tensor(X[:, :, 0] > 0)
    expected = function(x, mask)
    assert expected.tolist() != x.tolist()
    np.testing.assert_allclose(tg.jit(function)(x, mask).numpy(), expected.numpy(), rtol=1e-6)


def test_wrong_masks() -> None:
    x, mask = tg.tensor(X), tg.tensor(X[:, :, 0] > 0)
    for write, error, text in (
        (lambda x, m: x.__setitem__(m.T, 0.0), ShapeError, r"a mask of shape \(5, 4\) for axes of lengths \(4, 5\)"),
        (lambda x, m: x.__setitem__(m, tg.zeros(3, 6)), TraceError, r"values of shape \(3, 6\).*tg.where\(mask"),
        (lambda x, m: x.__setitem__((m, [0]), 0.0), TraceError, "beside other indices, at test_indexing.py"),
    ):
        with pytest.raises(error, match=text):
            tg.jit(lambda x, m, write=write: write(x, m))(x, mask)


FLOATS = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-45, 3.5)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "bool"])
def test_orders_of_equal_and_of_extreme_numbers_are_those_of_numpy(dtype: str, descending: bool) -> None:
    """Sorts compare integers in the place of floats, where equal ones, zeros of both signs and NaN have to be one."""
    draw, kind = np.random.default_rng(0), np.dtype(dtype)
    choices: Any = FLOATS if kind.kind == "f" else (False, True)
    if kind.kind == "i":
        ends = np.iinfo(kind)
        choices = (ends.min, ends.min + 1, -1, 0, 1, ends.max - 1, ends.max)
    for shape, axis in (((9,), 0), ((4, 7), 1), ((7, 3), 0), ((1,), 0)):
        order = tg.jit(lambda x, axis=axis: x.argsort(axis, descending=descending))
        for _ in range(4):
            x = draw.choice(np.array(choices, kind), shape)
            np.testing.assert_array_equal(order(x).numpy(), tg.tensor(x).argsort(axis, descending=descending).numpy())
