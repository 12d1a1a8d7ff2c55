"""One expression, run here and in PyTorch: values, dtypes, shapes and gradients must agree, and errors meet errors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import TinygradError

torch = pytest.importorskip("torch")

FLOATS = (np.float32, np.float64)
INTS = (np.int32, np.int64)
DTYPES = (np.bool_, *INTS, *FLOATS)
NAN, INF = np.nan, np.inf
SPECIAL = np.array(
    [NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 2.5, 3.7, -1e-20, 1e-20, 1e20, -60.0, 60.0]
)
# Numbers whose squares float32 holds.
MODERATE = SPECIAL[~np.isin(np.abs(SPECIAL), (1e-20, 1e20))]


def values(*shape: int, low: float = -3.0, high: float = 3.0, seed: int = 0) -> Any:
    """Random numbers, the same in every run."""
    return np.random.default_rng(seed).uniform(low, high, shape)


def pairs(numbers: Any = SPECIAL) -> tuple[Any, Any]:
    """Every pair of numbers, as two arrays."""
    first, second = np.meshgrid(numbers, numbers, indexing="ij")
    return first.ravel(), second.ravel()


def flatten(out: Any) -> list[Any]:
    """The tensors of a result, which may be a tuple."""
    return list(out) if isinstance(out, tuple) else [out]


def run(lib: Any, call: Callable[..., Any], arrays: Sequence[Any], grad: bool) -> tuple[list[Any], list[Any]]:
    """Results and, for float operands, gradients of one library, as arrays; None where no gradient arrives."""
    operands = [
        lib.tensor(a, requires_grad=grad and a.dtype.kind == "f") if isinstance(a, np.ndarray) else a for a in arrays
    ]
    outputs = flatten(call(lib, *operands))
    wanted = [t for t in operands if getattr(t, "requires_grad", False)]
    total = None
    for position, out in enumerate(outputs):
        if getattr(out, "requires_grad", False):
            weights = values(*out.shape, low=0.5, high=2.0, seed=position + 1)
            term = (out * lib.tensor(weights.astype(str(out.dtype).removeprefix("torch.")))).sum()
            total = term if total is None else total + term
    if total is not None:
        total.backward()
    found = [out.detach().numpy() if hasattr(out, "detach") else out for out in outputs]
    return found, [None if t.grad is None else t.grad.numpy() for t in wanted]


def agree(ours: Any, theirs: Any, what: str, ulps: float, atol_ulps: float = 0.0) -> None:
    """Equal shape and dtype, and values within some units in the last place; NaN and infinities alike."""
    if ours is None or theirs is None:
        assert ours is theirs, f"{what}: {ours} here, {theirs} there"
        return
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), what
    if ours.dtype.kind != "f":
        np.testing.assert_array_equal(ours, theirs, err_msg=what)
        return
    limits = np.finfo(ours.dtype)
    eps, tiny = float(limits.eps), float(limits.tiny)
    np.testing.assert_allclose(ours, theirs, rtol=ulps * eps, atol=max(tiny, atol_ulps * eps), err_msg=what)


def check(call: Callable[..., Any], *arrays: Any, grad: bool = True, ulps: float = 16, grad_ulps: float = 64) -> None:
    """`call(lib, *tensors)` gives the same with lib = tinygrad_nn and lib = torch, or an error with both."""
    try:
        with warnings.catch_warnings(action="ignore"):
            theirs, their_grads = run(torch, call, arrays, grad)
    except (RuntimeError, TypeError, IndexError, ValueError):
        with pytest.raises((TinygradError, TypeError), match=r"."):
            run(tg, call, arrays, grad)
        return
    ours, grads = run(tg, call, arrays, grad)
    assert len(ours) == len(theirs)
    for position, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        agree(a, b, f"result {position}", ulps)
    assert len(grads) == len(their_grads)
    for position, (a, b) in enumerate(zip(grads, their_grads, strict=True)):
        agree(a, b, f"gradient {position}", grad_ulps, atol_ulps=1)  # 1 - tanh(x) ** 2 has lost its digits for large x
