"""The Tensor itself: creation, dtypes, exchange, gradients, and the errors users meet first."""

from __future__ import annotations

import copy
import gc
import pickle
import re
from typing import Any

import numpy as np
import pytest
import torch

import tinygrad_nn as tg
from tinygrad_nn.errors import DTypeError, GraphError, ShapeError, TinygradError


def test_creation_like_torch() -> None:
    assert tg.tensor([1.0]).dtype == tg.float32
    assert tg.tensor([1]).dtype == tg.int64
    assert tg.tensor([True]).dtype == tg.bool
    assert tg.tensor(np.zeros(2)).dtype == tg.float64
    assert tg.tensor(np.float16(1)).dtype == tg.float32
    assert tg.tensor([tg.tensor(1.0), tg.tensor(2.0)]).tolist() == [1.0, 2.0]
    assert tg.zeros(2, 3).shape == tg.zeros((2, 3)).shape == (2, 3)
    assert tg.full((2,), 7).tolist() == [7, 7]
    assert tg.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert tg.arange(2, 8, 3).tolist() == [2, 5]
    assert tg.arange(0.0, 1.0, 0.25).dtype == tg.float32
    assert tg.linspace(0, 1, 3).tolist() == [0.0, 0.5, 1.0]
    assert tg.ones_like(tg.zeros(2, dtype=tg.int32)).dtype == tg.int32


def test_memory_is_copied_or_shared_as_documented() -> None:
    array = np.zeros(2)
    copied, shared = tg.tensor(array), tg.from_numpy(array)
    array[0] = 5
    assert (copied.tolist(), shared.tolist()) == ([0.0, 0.0], [5.0, 0.0])
    with pytest.raises(ValueError, match="read-only"):
        shared.numpy()[0] = 1


def test_default_dtype() -> None:
    tg.set_default_dtype(tg.float64)
    try:
        assert tg.zeros(1).dtype == tg.tensor(1.0).dtype == tg.rand(1).dtype == tg.float64
    finally:
        tg.set_default_dtype(tg.float32)
    assert tg.get_default_dtype() == tg.float32


def test_repr_like_torch() -> None:
    assert repr(tg.tensor([1.0, 2.0])) == "tensor([1., 2.])"
    assert repr(tg.tensor(3)) == "tensor(3)"
    assert repr(tg.tensor([1.0], requires_grad=True)) == "tensor([1.], requires_grad=True)"
    assert repr(tg.tensor([1.0], requires_grad=True) * 2) == "tensor([2.], grad_fn=<MulBackward>)"
    assert repr(tg.tensor([1.5], dtype=tg.float64)) == "tensor([1.5], dtype=float64)"
    assert "..." in repr(tg.zeros(100, 100))
    assert "&lt;" in tg.tensor([1.0], requires_grad=True).exp()._repr_html_()


def test_exchange() -> None:
    x = tg.tensor([[1.0, 2.0]])
    assert np.asarray(x).tolist() == [[1.0, 2.0]]
    assert np.from_dlpack(x).tolist() == [[1.0, 2.0]]  # type: ignore[arg-type]
    torch = pytest.importorskip("torch")
    assert torch.from_dlpack(x).tolist() == [[1.0, 2.0]]
    assert tg.from_dlpack(torch.ones(2)).tolist() == [1.0, 1.0]
    assert (np.ones(2) + tg.ones(2)).tolist() == [2.0, 2.0]
    assert isinstance(np.ones(2) * tg.ones(2), tg.Tensor)


def test_copies() -> None:
    x = tg.tensor([1.0], requires_grad=True)
    y = copy.deepcopy(x)
    assert y.requires_grad
    assert y is not x
    model = copy.deepcopy(tg.nn.Linear(2, 2))
    assert isinstance(model.weight, tg.nn.Parameter)
    assert pickle.loads(pickle.dumps(x)).requires_grad
    x.clone().sum().backward()
    assert x.grad is not None


def test_hooks_and_kept_gradients() -> None:
    x = tg.tensor([2.0], requires_grad=True)
    y = x * 3
    y.retain_grad()
    remove = y.register_hook(lambda g: g * 10)
    y.sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad.tolist(), y.grad.tolist()) == ([30.0], [10.0])
    remove()
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0]


def test_gradients_accumulate_and_have_their_own_handles() -> None:
    a, b = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True)
    (a + b).sum().backward()
    (a + b).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    assert a.grad.tolist() == [2.0, 2.0]
    a.grad.zero_()
    assert b.grad.tolist() == [2.0, 2.0]


def test_100_000_operations_forward_backward_and_deletion() -> None:
    y = x = tg.tensor(1.0, requires_grad=True)
    for _ in range(50_000):
        y = y * 1.0 + 0.0
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 1.0
    del y
    gc.collect()


def test_no_grad_nests() -> None:
    x = tg.ones(1, requires_grad=True)
    with tg.no_grad():
        assert not (x * 2).requires_grad
        with tg.enable_grad():
            assert (x * 2).requires_grad
    assert (x * 2).requires_grad

    @tg.no_grad()
    def inside() -> bool:
        return (x * 2).requires_grad

    assert not inside()


def test_backward_releases_unless_told() -> None:
    x = tg.ones(2, requires_grad=True)
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    with pytest.raises(GraphError, match=r"freed by the first; hint: call the first backward\(retain_graph=True\)"):
        loss.backward()


def test_a_write_to_what_backward_needs_is_an_error() -> None:
    w = tg.ones(2, requires_grad=True)
    loss = (w * w).sum()
    with tg.no_grad():
        w += 1
    with pytest.raises(GraphError, match=r"since written in place; hint: call backward\(\) before the write"):
        loss.backward()
    linear = (w + 1).sum()
    with tg.no_grad():
        w += 1
    linear.backward()
    assert w.grad is not None
    assert w.grad.tolist() == [1.0, 1.0]


WRONG: list[tuple[Any, type[TinygradError], str]] = [
    (lambda: tg.tensor([[1, 2], [3]]), ShapeError, r"\[tensor\] got rows of different lengths; .*pad them"),
    (lambda: tg.tensor(["a"]), DTypeError, r"data of dtype <U1; .*encode text"),
    (lambda: tg.tensor([object()]), DTypeError, "data of dtype object"),
    (lambda: tg.tensor([1], requires_grad=True), DTypeError, r"dtype int64; expected a float dtype"),
    (lambda: tg.zeros(2, dtype="complex64"), DTypeError, "dtype complex64; expected bool, int32"),
    (lambda: tg.zeros(-1), ShapeError, r"size \(-1,\)"),
    (lambda: tg.arange(0, 1, 0), ShapeError, "step 0"),
    (lambda: tg.set_default_dtype(tg.int64), DTypeError, "dtype int64; expected a float"),
    (lambda: tg.from_numpy(np.zeros(1, "c8")), DTypeError, "complex64"),
    (
        lambda: tg.ones(2, requires_grad=True).backward(),
        GraphError,
        r"shape \(2,\) and no gradient; .*pass the cotangent",
    ),
    (lambda: tg.ones(1).backward(), GraphError, "depends on nothing that requires grad"),
    (lambda: tg.ones(2, requires_grad=True).backward(tg.ones(3)), ShapeError, r"gradient of shape \(3,\) for \(2,\)"),
    (lambda: tg.ones(1, requires_grad=True).numpy(), GraphError, r"use x.detach\(\).numpy\(\)"),
    (lambda: tg.ones(2).item(), ShapeError, "one element"),
    (lambda: bool(tg.ones(2)), ShapeError, r"use \(x == y\).all\(\)"),
    (lambda: len(tg.tensor(1)), ShapeError, "a 0-d tensor"),
    (lambda: (tg.ones(1, requires_grad=True) * 2).requires_grad_(False), GraphError, r"use detach\(\)"),
    (lambda: tg.ones(1).register_hook(print), GraphError, "does not require grad"),
    (lambda: setattr(tg.ones(2), "grad", tg.ones(3)), ShapeError, "the same shape and dtype"),
    (lambda: tg.randint(3, 3, (1,)), TinygradError, "low < high"),
    (lambda: tg.rand(2, dtype=tg.int64), TinygradError, "use randint"),
    (lambda: tg.manual_seed(1.5), TinygradError, "seed 1.5"),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_misuse_is_named(call: Any, error: type[TinygradError], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("data", [(), (3,), (2, 3), ([1, 2],), ((2, 3),), ([[1.5], [2]],), (np.arange(3),), (0,)])
def test_the_class_is_called_as_torchs(data: Any) -> None:
    ours, theirs = tg.Tensor(*data), torch.Tensor(*data)
    assert type(ours) is tg.Tensor
    assert (ours.shape, ours.dtype) == (theirs.shape, tg.float32)
    if data and not isinstance(data[0], int):
        assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("data", [(1.5,), (-1,), (2, "a"), (["a"],)])
def test_the_class_refuses_what_torchs_does(data: Any) -> None:
    with pytest.raises((TypeError, RuntimeError, ValueError)):
        torch.Tensor(*data)
    with pytest.raises(TinygradError, match=r"^\[Tensor\] got"):
        tg.Tensor(*data)


def test_public_names_are_torchs_and_the_documented_ones() -> None:
    public = {name for name in dir(tg.Tensor) if not name.startswith("_")}
    documented = set(re.findall(r"`(\w+)`", (tg.Tensor.__doc__ or "").partition("Beside them")[2]))
    assert public - set(dir(torch.Tensor)) == documented
