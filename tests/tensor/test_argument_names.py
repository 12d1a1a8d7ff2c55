"""Arguments by name: as PyTorch calls them, as NumPy does, and `out`, for every function of the top level."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch.overrides import get_testing_overrides

import tinygrad_nn as tg
from tests.tensor.parity import torch, values
from tinygrad_nn.errors import DTypeError, GraphError, ShapeError
from tinygrad_nn.support.settings import Names

OF_ALL = {"layout", "memory_format", "pin_memory", "device", "generator", "dtype", "requires_grad", "out"}
NOT_HERE = {  # what PyTorch's list of overrides says beyond what is documented, or what a dense CPU tensor has not
    "logsumexp": {"names"}, "topk": {"descending"}, "where": {"x"}, "relu": {"inplace"}, "bmm": {"out_dtype"},
    "mm": {"out_dtype"}, "swapaxes": {"dim0", "dim1"}, "gather": {"sparse_grad"}, "isin": {"e", "te"},
    "histogram": {"min", "max"}, "split_with_sizes": {"split_size_or_sections"},
    "diag_embed": {"diagonal"}, "index_reduce": {"include_input"}, "swapdims": {"axis0", "axis1"},  # which it refuses
    "max": {"names"}, "cholesky_solve": {"input1", "input2"}, "nuclear_norm": {"p"},
}  # fmt: skip


def documented() -> dict[str, list[str]]:
    """The names of the parameters of PyTorch's functions that we have too."""
    found: dict[str, list[str]] = {}
    for function, stand_in in get_testing_overrides().items():
        name = getattr(function, "__name__", "")
        if getattr(torch, name, None) is function and callable(getattr(tg, name, None)):
            found[name] = [one.name for one in inspect.signature(stand_in).parameters.values() if one.kind in (1, 3)]
    return found


PYTORCH = documented()


def test_most_functions_are_compared() -> None:
    assert len(PYTORCH) > 170


@pytest.mark.parametrize("name", PYTORCH)
def test_arguments_go_by_pytorchs_names(name: str) -> None:
    known = Names(getattr(tg, name))
    _, found = known.own((), dict.fromkeys(PYTORCH[name]))
    assert set(found) - known.all - OF_ALL <= NOT_HERE.get(name, set())


X = values(3, 4)
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "sum axis": lambda lib, x: lib.sum(input=x, axis=1, keepdims=True),
    "sum method": lambda lib, x: x.sum(axis=(0, 1), keepdims=True),
    "mean": lambda lib, x: x.mean(axis=0),
    "prod": lambda lib, x: x.prod(axis=0, keepdims=True),
    "amax": lambda lib, x: x.amax(axis=(0, 1)),
    "amin": lambda lib, x: lib.amin(x, axis=0, keepdims=True),
    "max": lambda lib, x: x.max(axis=1, keepdims=True),
    "min": lambda lib, x: tuple(lib.min(x, axis=1)),
    "any": lambda lib, x: (x > 1).any(axis=1),
    "all": lambda lib, x: lib.all(x > -9, axis=1, keepdims=True),
    "argmax": lambda lib, x: x.argmax(axis=1, keepdims=True),
    "var": lambda lib, x: x.var(axis=1, correction=0, keepdims=True),
    "std": lambda lib, x: lib.std(x, axis=(0, 1), unbiased=False),
    "softmax": lambda lib, x: x.softmax(axis=-1),
    "log_softmax": lambda lib, x: lib.log_softmax(input=x, axis=0),
    "logsumexp": lambda lib, x: x.logsumexp(axis=1, keepdims=True),
    "cumsum": lambda lib, x: x.cumsum(axis=1),
    "cumprod": lambda lib, x: lib.cumprod(x, axis=1),
    "nansum": lambda lib, x: x.nansum(axis=1, keepdims=True),
    "count_nonzero": lambda lib, x: x.count_nonzero(axis=1),
    "sort": lambda lib, x: tuple(x.sort(axis=0, descending=True)),
    "squeeze": lambda lib, x: x[:1].squeeze(axis=0),
    "unsqueeze": lambda lib, x: x.unsqueeze(axis=1),
    "flip dims": lambda lib, x: x.flip(dims=(0, 1)),
    "flip varargs": lambda lib, x: x.flip(0, 1),
    "flip function": lambda lib, x: lib.flip(input=x, dims=[1]),
    "roll": lambda lib, x: x.roll(shifts=1, dims=0),
    "permute": lambda lib, x: x.permute(dims=(1, 0)),
    "permute varargs": lambda lib, x: x.permute(1, 0),
    "permute function": lambda lib, x: lib.permute(input=x, dims=(1, 0)),
    "expand": lambda lib, x: x.expand(size=(2, 3, 4)),
    "tile": lambda lib, x: lib.tile(input=x, dims=(2, 1)),
    "repeat": lambda lib, x: x.repeat(repeats=(2, 1)),
    "split": lambda lib, x: lib.split(tensor=x, split_size_or_sections=2, dim=1),
    "chunk": lambda lib, x: x.chunk(2, axis=1),
    "unbind": lambda lib, x: x.unbind(axis=1),
    "cat": lambda lib, x: lib.cat(tensors=[x, x], axis=1),
    "stack": lambda lib, x: lib.stack([x, x], axis=1),
    "add": lambda lib, x: lib.add(input=x, other=2, alpha=3),
    "mul": lambda lib, x: lib.mul(x1=x, x2=x),
    "dot": lambda lib, x: lib.dot(input=x[0], tensor=x[1]),
    "tensordot": lambda lib, x: lib.tensordot(a=x, b=x, dims=2),
    "where": lambda lib, x: lib.where(condition=x > 0, input=x, other=-x),
    "diag": lambda lib, x: lib.diag(input=x, diagonal=1),
    "zeros_like": lambda lib, x: lib.zeros_like(input=x),
    "sum 0 True": lambda lib, x: x.sum(0, True),
    "std 0 False True": lambda lib, x: x.std(0, False, True),
}


@pytest.mark.parametrize("name", CALLS)
def test_named_arguments_mean_what_they_do_there(name: str) -> None:
    theirs, ours = CALLS[name](torch, torch.tensor(X)), CALLS[name](tg, tg.tensor(X))
    for a, b in zip(*(one if isinstance(one, tuple) else (one,) for one in (ours, theirs)), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_an_unknown_name_is_unknown() -> None:
    x = tg.tensor(X)
    for call in (tg.sum, tg.argmax, tg.flip, tg.exp, tg.cat, tg.Tensor.argmax, tg.Tensor.sum):
        with pytest.raises(TypeError, match="unexpected keyword argument 'axes'"):
            call([x] if call is tg.cat else x, axes=1)
    with pytest.raises(TypeError):
        tg.argmax(x, dim=0, axis=1)
    with pytest.raises(DTypeError, match=r"\[argmax\] got dim 'a'; expected an integer or None"):
        tg.argmax(x, axis="a")
    with pytest.raises(DTypeError, match=r"\[sum\] got keepdim 3"):
        x.sum(keepdims=3)


def test_out_is_written_and_returned() -> None:
    x, out, whole = tg.tensor(X), tg.zeros(3, 4, dtype=tg.float64), tg.zeros(2, 3, 4, dtype=tg.float64)
    for call, wanted in (
        (lambda: tg.add(x, 1, out=out), X + 1),
        (lambda: tg.exp(X, out=out), np.exp(X)),
        (lambda: tg.cumsum(x, axis=1, out=out), X.cumsum(1)),
        (lambda: tg.matmul(x, np.eye(4), out=out), X),
        (lambda: tg.cat([x[:1], x[1:]], out=out), X),
        (lambda: tg.where(x > 0, x, 0.0, out=out), np.maximum(X, 0)),
    ):
        assert call() is out
        np.testing.assert_allclose(out.numpy(), wanted, rtol=1e-15)
    view = whole[1]
    assert tg.neg(x, out=view) is view
    np.testing.assert_array_equal(whole[1].numpy(), -X)
    values, indices = tg.zeros(3, dtype=tg.float64), tg.zeros(3, dtype=tg.int64)
    result = tg.max(x, 1, out=(values, indices))
    assert (result.values, result.indices) == (values, indices)
    np.testing.assert_array_equal(values.numpy(), X.max(1))
    np.testing.assert_array_equal(indices.numpy(), X.argmax(1))


def test_what_out_cannot_be() -> None:
    x, leaf = tg.tensor(X), tg.tensor(X, requires_grad=True)
    with pytest.raises(ShapeError, match=r"\[add\] got a result of shape \(3, 4\) for a tensor of shape \(4,\)"):
        tg.add(x, 1, out=tg.zeros(4, dtype=tg.float64))
    with pytest.raises(DTypeError, match=r"\[add\] got a result of dtype float64 for a tensor of dtype int64"):
        tg.add(x, 1, out=tg.zeros(3, 4, dtype=tg.int64))
    with pytest.raises(DTypeError, match=r"\[add\] got out 3; expected a tensor"):
        tg.add(x, 1, out=3)
    with pytest.raises(DTypeError, match=r"\[max\] got out .*; expected a tensor for each result"):
        tg.max(x, 1, out=(tg.zeros(3),))
    with pytest.raises(GraphError, match=r"\[exp\] got `out` where a gradient is wanted"):
        tg.exp(leaf, out=tg.zeros(3, 4, dtype=tg.float64))
    with tg.no_grad():
        tg.exp(leaf, out=leaf)
    np.testing.assert_allclose(leaf.detach().numpy(), np.exp(X), rtol=1e-15)
