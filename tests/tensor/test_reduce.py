"""Reductions, running sums, order, softmax against PyTorch: values, gradients, dtypes, shapes, NaN, ties, nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.tensor.parity import DTYPES, FLOATS, INF, INTS, MODERATE, NAN, SPECIAL, check, torch, values

# Called with (library, tensor, dim, keepdim); dim may be None.
OVER_AXES: dict[str, Callable[..., Any]] = {
    name: lambda lib, x, d, k, name=name: getattr(lib, name)(x, dim=d, keepdim=k)
    for name in ("sum", "mean", "nansum", "nanmean", "amax", "amin", "all", "any", "var", "std", "logsumexp", "norm")
} | {
    "sum dtype": lambda lib, x, d, k: x.sum(d, k, dtype=lib.float64),
    "sum int32": lambda lib, x, d, k: x.sum(d, k, dtype=lib.int32),
    "mean dtype": lambda lib, x, d, k: x.mean(d, k, dtype=lib.float64),
    "var 0": lambda lib, x, d, k: x.var(d, correction=0, keepdim=k),
    "var 2": lambda lib, x, d, k: x.var(d, correction=2, keepdim=k),
    "var positional": lambda lib, x, d, k: x.var(d, False, k),
    "std biased": lambda lib, x, d, k: lib.std(x, d, unbiased=False, keepdim=k),
    "norm 1": lambda lib, x, d, k: x.norm(1, d, k),
    "norm 3": lambda lib, x, d, k: x.norm(3, d, k),
    "norm 1.5": lambda lib, x, d, k: x.norm(p=1.5, dim=d, keepdim=k),
    "norm 0.5": lambda lib, x, d, k: x.norm(0.5, d, k),
    "norm -1": lambda lib, x, d, k: x.norm(-1, d, k),
    "norm 0": lambda lib, x, d, k: x.norm(0, d, k),
    "norm inf": lambda lib, x, d, k: x.norm(INF, d, k),
    "norm -inf": lambda lib, x, d, k: lib.norm(x, -INF, d, k),
    "norm dtype": lambda lib, x, d, k: x.norm(2, d, k, dtype=lib.float64),
}

# Called with (library, tensor, dim).
ALONG_AXIS: dict[str, Callable[..., Any]] = {
    name: lambda lib, x, d, name=name: getattr(lib, name)(x, d)
    for name in (
        "prod",
        "max",
        "min",
        "argmax",
        "argmin",
        "cumsum",
        "cumprod",
        "softmax",
        "log_softmax",
        "count_nonzero",
    )
} | {
    "prod keepdim": lambda lib, x, d: x.prod(d, keepdim=True),
    "prod dtype": lambda lib, x, d: x.prod(d, dtype=lib.float64),
    "max keepdim": lambda lib, x, d: x.max(d, keepdim=True),
    "min keepdim": lambda lib, x, d: tuple(x.min(dim=d, keepdim=True)),
    "max.values": lambda lib, x, d: x.max(d).values,
    "argmax keepdim": lambda lib, x, d: x.argmax(d, keepdim=True),
    "argmin keepdim": lambda lib, x, d: lib.argmin(x, dim=d, keepdim=True),
    "cumsum dtype": lambda lib, x, d: x.cumsum(d, dtype=lib.float64),
    "cumprod dtype": lambda lib, x, d: x.cumprod(d, dtype=lib.int32),
    "softmax dtype": lambda lib, x, d: x.softmax(d, dtype=lib.float64),
    "log_softmax dtype": lambda lib, x, d: x.log_softmax(dim=d, dtype=lib.float64),
    "sort": lambda lib, x, d: x.sort(dim=d, stable=True),
    "sort descending": lambda lib, x, d: lib.sort(x, dim=d, descending=True, stable=True),
    "argsort": lambda lib, x, d: x.argsort(dim=d, stable=True),
    "argsort descending": lambda lib, x, d: lib.argsort(x, dim=d, descending=True, stable=True),
    "topk": lambda lib, x, d: x.topk(2, d).values,
    "topk smallest": lambda lib, x, d: lib.topk(x, 2, dim=d, largest=False).values,
    "topk of all": lambda lib, x, d: x.topk(x.shape[d] if x.ndim else 1, d).values,
}

# Called with (library, tensor).
WHOLE: dict[str, Callable[..., Any]] = {
    name: lambda lib, x, name=name: getattr(lib, name)(x)
    for name in (
        "sum",
        "mean",
        "prod",
        "var",
        "std",
        "norm",
        "max",
        "min",
        "amax",
        "amin",
        "argmax",
        "argmin",
        "all",
        "any",
    )
} | {
    "nansum": lambda lib, x: x.nansum(),
    "nanmean": lambda lib, x: x.nanmean(),
    "count_nonzero": lambda lib, x: x.count_nonzero(),
    "var biased": lambda lib, x: x.var(False),
    "std keepdim": lambda lib, x: x.std(keepdim=True),
    "sum keepdim": lambda lib, x: x.sum(dim=None, keepdim=True),
    "argmax keepdim": lambda lib, x: x.argmax(keepdim=True),
    "sort": lambda lib, x: x.sort(stable=True),
    "argsort": lambda lib, x: x.argsort(stable=True),
    "norm nuclear": lambda lib, x: x.norm("nonsense"),
}

# INTEGERS have no gradient in PyTorch. A COUNT has one of zeros here and none there, though it has a grad_fn: see its
# own test. OWN_GRADIENT_OF_NAN differ where the result is NaN or infinite: our gradient
# tells which element would change it, theirs is 0 or NaN for all. TIES_UNDEFINED leave the order of ties open.
# For ANY_AXES PyTorch, too, takes () for all axes, and more than two.
INTEGERS = {"sum int32", "cumprod dtype"}
COUNT = {"norm 0"}
OWN_GRADIENT_OF_NAN = ("nanmean", "var", "std", "norm", "prod", "cumprod")
TIES_UNDEFINED = ("topk",)
ANY_AXES = {"sum", "mean", "nansum", "amax", "amin", "norm 3"}
DIMS = [None, 0, 1, -1, (0, 2)]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", OVER_AXES)
def test_over_axes(name: str, dtype: Any) -> None:
    for shape in ((2, 3, 4), (3, 1, 2)):
        for dim in [*DIMS, (), (-1, 0, 1)] if name in ANY_AXES else DIMS:
            if (dim is None and name == "logsumexp") or (name == "var 2" and dim is not None):
                continue  # not in PyTorch; no finite value
            for keepdim in (False, True):
                x = values(*shape).astype(dtype)
                grad = name not in INTEGERS | COUNT
                check(lambda lib, x, d=dim, k=keepdim: OVER_AXES[name](lib, x, d, k), x, grad=grad)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("dim", [*DIMS, ()])
def test_a_count_has_a_gradient_of_zeros(dim: Any, dtype: Any) -> None:
    """With `backward` PyTorch leaves None; that there is a way back at all its sample inputs ask for."""
    numbers = np.array([[[0.0, 1.0], [NAN, -INF]], [[-0.0, 2.0], [3.0, 0.0]]], dtype)
    x, other = tg.tensor(numbers, requires_grad=True), torch.tensor(numbers, requires_grad=True)
    found, theirs = x.norm(0, dim), other.norm(0, dim)
    assert found.requires_grad
    assert theirs.requires_grad
    assert found.tolist() == theirs.tolist()
    (found * 3).sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros_like(numbers))
    (theirs * 3).sum().backward()
    assert other.grad is None
    compiled = tg.jit(lambda x: tg.autograd.grad(x.norm(0, dim).sum(), x))(x)[0]
    np.testing.assert_array_equal(compiled.numpy(), np.zeros_like(numbers))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ALONG_AXIS)
def test_along_an_axis(name: str, dtype: Any) -> None:
    for shape in ((2, 3, 4), (4, 2, 3)):
        for dim in (0, 1, -1):
            x = values(*shape).astype(dtype)
            grad = name not in INTEGERS
            check(lambda lib, x, d=dim: ALONG_AXIS[name](lib, x, d), x, grad=grad, ulps=64, grad_ulps=256)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", WHOLE)
def test_of_everything(name: str, dtype: Any) -> None:
    for shape in ((3, 4), (5,), (), (1,)):
        x = np.asarray(values(*shape), dtype)
        if not (name.startswith(("var", "std")) and x.size == 1):  # NaN, with a gradient of its own
            check(WHOLE[name], x, ulps=64)


def lines(numbers: Any) -> Any:
    """Short lines with every kind of special number among ordinary ones, zeros, ties."""
    ordinary = [1.0, -2.0, 3.0]
    found = [[*ordinary[:k], special, *ordinary[k:]] for special in numbers for k in (0, 2, 3)]
    found += [[0.0] * 4, [2.0] * 4, [2.0, -2.0, 2.0, 1.0], [INF, INF, 1.0, 2.0], [-INF] * 4]
    found += [[NAN] * 4, [NAN, INF, NAN, 0.0], [0.0, 0.0, 2.0, 3.0], [1.0, 0.0, 2.0, 0.0], [-0.0, 0.0, -0.0, 0.0]]
    return np.array(found)


def over_a_line(name: str) -> Callable[..., Any]:
    """The reduction called `name` for one axis."""
    if name in OVER_AXES:
        return lambda lib, x, d=0: OVER_AXES[name](lib, x, d, False)
    return lambda lib, x, d=0: ALONG_AXIS[name](lib, x, d)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [*OVER_AXES, *ALONG_AXIS])
def test_special_numbers(name: str, dtype: Any) -> None:
    if name in INTEGERS:
        return  # NaN and inf as integers are undefined in PyTorch
    for line in lines(MODERATE if dtype == np.float32 else SPECIAL):
        grad = name not in COUNT and not name.startswith(TIES_UNDEFINED)
        if name.startswith(OWN_GRADIENT_OF_NAN):
            grad = grad and bool(np.isfinite(line).all())
        check(over_a_line(name), line.astype(dtype), grad=grad, ulps=64, grad_ulps=256)


def beyond_torch(name: str, x: Any) -> bool:
    """Where PyTorch refuses and we do not (norm of integers as floats, topk of masks), or the reverse, of nothing."""
    floating = x.dtype.kind == "f"
    return (
        (name == "norm dtype" and not floating)
        or (name.startswith("topk") and x.dtype == np.bool_)
        or (x.size == 0 and name == "norm -1")
        or (x.size == 0 and name in ("softmax", "log_softmax") and not floating)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*OVER_AXES, *ALONG_AXIS])
def test_every_dtype_and_nothing(name: str, dtype: Any) -> None:
    for shape in ((2, 3), (0,), (0, 3), (2, 0, 3), ()):
        x = np.ones(shape, dtype)
        if dtype in INTS and shape:
            x = (np.arange(x.size).reshape(shape) % 4 - 1).astype(dtype)
        for dim in range(max(len(shape), 1)):
            grad = name not in INTEGERS | COUNT and not (name.startswith(("var", "std")) and x.size < 6)
            if not beyond_torch(name, x):
                check(lambda lib, x, d=dim: over_a_line(name)(lib, x, d), x, grad=grad, ulps=64)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("what", ["none equal", "some equal", "NaN", "zeros of both signs", "infinities"])
def test_equal_elements_of_long_lines_stay_in_order(what: str, axis: int) -> None:
    x = np.random.default_rng(0).normal(size=(3, 5000))
    special = {"NaN": np.nan, "infinities": np.inf}.get(what, 0.0)
    if what != "none equal":
        x[1, ::7] = special
    if what == "zeros of both signs":
        x[1, ::14] = -0.0
    if axis == 0:
        x = np.ascontiguousarray(x.T)
    found = tg.tensor(x).argsort(axis).numpy()
    np.testing.assert_array_equal(found, np.argsort(x, axis, kind="stable"))
    backwards = tg.tensor(x).argsort(axis, descending=True).numpy()
    ordered = np.take_along_axis(x, backwards, axis)
    np.testing.assert_array_equal(ordered, np.flip(np.sort(x, axis), axis))
