"""Reductions: wrong input is named; results that have a form of their own; gradients that must stay exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import ConfigError, DTypeError, IndexOutOfRange, ShapeError, TinygradError

WRONG: dict[str, tuple[Callable[[Any], Any], type[TinygradError], str]] = {
    "axis": (
        lambda x: x.sum(2),
        IndexOutOfRange,
        r"\[sum\] got axis 2 for a tensor of 2 axes; expected -2 <= axis < 2",
    ),
    "one of the axes": (lambda x: x.mean((0, -3)), IndexOutOfRange, r"\[mean\] got axis -3"),
    "axis twice": (lambda x: x.amax((0, -2)), ShapeError, r"\[max\] got axes \(0, -2\); expected each axis once"),
    "axis of argmax": (lambda x: x.argmax(5), IndexOutOfRange, r"\[argmax\] got axis 5"),
    "axis of cumsum": (lambda x: x.cumsum(2), IndexOutOfRange, r"\[cumsum\] got axis 2"),
    "axis of sort": (lambda x: x.sort(-3), IndexOutOfRange, r"\[sort\] got axis -3"),
    "axis of softmax": (lambda x: x.softmax(2), IndexOutOfRange, r"\[softmax\] got axis 2"),
    "axis of a 0-d tensor": (lambda x: x.sum().sum(1), IndexOutOfRange, r"\[sum\] got axis 1 for a tensor of 0 axes"),
    "max of nothing": (lambda x: x[:0].max(), ShapeError, r"\[max\] got shape \(0, 3\).*expected at least one element"),
    "max of nothing along 0": (
        lambda x: x[:0].max(0),
        ShapeError,
        r"\[argmax\] got shape \(0, 3\) to reduce over axis",
    ),
    "amin of nothing": (lambda x: x[:, :0].amin(1), ShapeError, r"\[min\] got shape \(2, 0\); hint|\[min\] got shape"),
    "argmin of nothing": (lambda x: x[:0].argmin(), ShapeError, r"\[argmin\] got shape \(0,\)"),
    "norm inf of nothing": (lambda x: x[:0].norm(np.inf), ShapeError, r"\[max\] got shape \(0, 3\)"),
    "mean of integers": (
        lambda x: x.long().mean(),
        DTypeError,
        r"\[mean\] got dtype int64; expected a float.*\.float\(\)",
    ),
    "mean as integers": (lambda x: x.mean(dtype=tg.int64), DTypeError, r"\[mean\] got dtype int64"),
    "var of integers": (lambda x: x.int().var(), DTypeError, r"\[var\] got dtype int32"),
    "std of masks": (lambda x: x.bool().std(0), DTypeError, r"\[var\] got dtype bool"),
    "norm of integers": (lambda x: x.long().norm(), DTypeError, r"\[norm\] got dtype int64"),
    "softmax of integers": (lambda x: x.long().softmax(0), DTypeError, r"\[softmax\] got dtype int64"),
    "log_softmax of masks": (lambda x: x.bool().log_softmax(0), DTypeError, r"\[log_softmax\] got dtype bool"),
    "argmax of masks": (lambda x: x.bool().argmax(), DTypeError, r"\[argmax\] got dtype bool; expected a number"),
    "a dtype": (lambda x: x.sum(dtype="float16"), DTypeError, r"\[sum\] got dtype float16; expected bool, int32"),
    "norm p": (lambda x: x.norm("max"), ConfigError, r"\[norm\] got p='max'; expected a number, 'fro', 'nuc' or None"),
    "topk": (lambda x: x.topk(4), IndexOutOfRange, r"\[topk\] got k=4 for an axis of 3; expected 0 <= k <= its length"),
    "topk below 0": (lambda x: x.topk(-1), IndexOutOfRange, r"\[topk\] got k=-1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_named(name: str) -> None:
    call, error, text = WRONG[name]
    with pytest.raises(error, match=text):
        call(tg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))


def test_three_forms_of_max() -> None:
    x = tg.tensor([[3.0, 1.0, 3.0], [0.0, 5.0, 2.0]], requires_grad=True)
    assert x.max().item() == 5
    found = x.max(1)
    assert (found.values.tolist(), found.indices.tolist()) == ([3.0, 5.0], [0, 1])
    values, indices = x.min(dim=0, keepdim=True)
    assert (values.tolist(), indices.tolist()) == ([[0.0, 1.0, 2.0]], [[1, 0, 1]])
    assert x.max(tg.tensor(2.5)).tolist() == [[3.0, 2.5, 3.0], [2.5, 5.0, 2.5]]
    found.values.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]  # the first of two equal ones alone


def test_amax_shares_the_gradient_of_a_tie() -> None:
    x = tg.tensor([[3.0, 1.0, 3.0], [2.0, 2.0, 2.0]], dtype=tg.float64, requires_grad=True)
    x.amax(1).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.5, 0.0, 0.5], [1 / 3, 1 / 3, 1 / 3]]


def test_any_and_all_of_nothing() -> None:
    nothing = tg.zeros(0, 3)
    assert nothing.any().item() is False
    assert nothing.all().item() is True
    assert nothing.all(0).tolist() == [True, True, True]
    assert nothing.any(1).shape == (0,)
    assert tg.tensor([np.nan]).any().item() is True


def test_sort_keeps_the_order_of_equal_elements_in_both_directions() -> None:
    x = tg.tensor([2.0, 1.0, 2.0, np.nan, 1.0])
    assert x.argsort().tolist() == [1, 4, 0, 2, 3]
    assert x.argsort(descending=True).tolist() == [3, 0, 2, 1, 4]
    assert x.topk(3, largest=False).indices.tolist() == [1, 4, 0]


def test_softmax_survives_large_and_small_numbers() -> None:
    x = tg.tensor([1e4, 0.0, -1e4], requires_grad=True)
    assert x.softmax(0).tolist() == [1.0, 0.0, 0.0]
    assert x.log_softmax(0).tolist() == [0.0, -1e4, -2e4]
    assert x.logsumexp(0).item() == 1e4
    x.log_softmax(0)[1].backward()
    assert x.grad is not None
    assert x.grad.tolist() == [-1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.softmax(0)[0],
        lambda x: x.log_softmax(0)[0],
        lambda x: x.logsumexp(0),
        lambda x: x.var(),
        lambda x: x.cumprod(0).sum(),
        lambda x: x.prod(),
    ],
    ids=["softmax", "log_softmax", "logsumexp", "var", "cumprod", "prod"],
)
def test_second_derivatives_where_a_part_is_held_constant_or_zero(function: Callable[[Any], Any]) -> None:
    """The maximum that softmax subtracts is a constant for autodiff, and zeros leave no division to products."""
    start = np.array([0.5, 0.0, -1.0, 0.25])
    step = 1e-5

    def gradient(point: Any) -> Any:
        x = tg.tensor(point, requires_grad=True)
        (g,) = tg.autograd.grad(function(x), x)
        return g.numpy()

    x = tg.tensor(start, requires_grad=True)
    (g,) = tg.autograd.grad(function(x), x, create_graph=True)
    rows = [tg.autograd.grad(g[k], x, retain_graph=True)[0].numpy() for k in range(4)]
    numeric = [(gradient(start + step * e) - gradient(start - step * e)) / (2 * step) for e in np.eye(4)]
    np.testing.assert_allclose(np.array(rows), np.array(numeric), atol=1e-8)


def test_gradient_of_cumprod_needs_no_table() -> None:
    """Ten thousand elements with zeros among them: a table of their products would take 800 MB."""
    numbers = np.ones(10_000)
    numbers[[5_000, 7_000]] = 0.0
    x = tg.tensor(numbers, requires_grad=True)
    x.cumprod(0).sum().backward()
    assert x.grad is not None
    assert x.grad.numpy()[4_999:5_002].tolist() == [1.0, 2_000.0, 0.0]


def test_results_of_reductions_of_integers_are_int64() -> None:
    for dtype in (tg.bool, tg.int32, tg.int64):
        x = tg.tensor([1, 0, 1], dtype=dtype)
        for out in (x.sum(), x.prod(), x.cumsum(0), x.cumprod(0), x.count_nonzero(), x.nansum()):
            assert out.dtype == tg.int64
    big = tg.tensor([2**31 - 1, 2**31 - 1], dtype=tg.int32)
    assert big.sum().item() == 2**32 - 2
