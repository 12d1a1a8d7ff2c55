"""Devices, of which there is one, and the ways in which PyTorch says where a tensor is and of which dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tinygrad_nn as tg
import tinygrad_nn.torch as ours
from tinygrad_nn.errors import TinygradError

X = [[1.5, -2.0], [0.0, 4.0]]
DTYPES = ["float32", "float64", "int32", "int64", "bool"]
CREATED = {
    "tensor": lambda lib, **more: lib.tensor(X, **more),
    "as_tensor": lambda lib, **more: lib.as_tensor(X, **more),
    "zeros": lambda lib, **more: lib.zeros(2, 3, **more),
    "ones": lambda lib, **more: lib.ones((2, 3), **more),
    "full": lambda lib, **more: lib.full((2,), 7.0, **more),
    "eye": lambda lib, **more: lib.eye(3, **more),
    "arange": lambda lib, **more: lib.arange(5, **more),
    "linspace": lambda lib, **more: lib.linspace(0, 1, 5, **more),
    "zeros_like": lambda lib, **more: lib.zeros_like(lib.tensor(X), **more),
    "ones_like": lambda lib, **more: lib.ones_like(lib.tensor(X), **more),
    "full_like": lambda lib, **more: lib.full_like(lib.tensor(X), 3, **more),
    "new_zeros": lambda lib, **more: lib.tensor(X).new_zeros(2, 3, **more),
    "new_ones": lambda lib, **more: lib.tensor(X).new_ones((2, 3), **more),
    "new_full": lambda lib, **more: lib.tensor(X).new_full((2,), 3.0, **more),
    "new_tensor": lambda lib, **more: lib.tensor(X).new_tensor([1, 2], **more),
}
SHAPED = {
    "empty": lambda lib, **more: lib.empty(2, 3, **more),
    "empty_like": lambda lib, **more: lib.empty_like(lib.tensor(X), **more),
    "new_empty": lambda lib, **more: lib.tensor(X).new_empty((2, 3), **more),
    "rand": lambda lib, **more: lib.rand(2, 3, **more),
    "randn": lambda lib, **more: lib.randn((2, 3), **more),
}


@pytest.mark.parametrize("name", [*CREATED, *SHAPED])
def test_new_tensors_take_a_device_and_a_dtype(name: str) -> None:
    make: Any = {**CREATED, **SHAPED}[name]
    dtypes = ["float64"] if name.startswith("rand") else DTYPES[: -1 if name in ("arange", "linspace") else None]
    for more in ({}, *({"dtype": dtype} for dtype in dtypes)):
        a = make(tg, device="cpu", **{key: getattr(tg, value) for key, value in more.items()})
        b = make(torch, device="cpu", **{key: getattr(torch, value) for key, value in more.items()})
        assert (a.shape, a.dtype.name) == (b.shape, str(b.dtype).removeprefix("torch."))
        assert name in SHAPED or a.tolist() == b.tolist()
    assert make(tg, device=ours.device("cpu")).device == ours.device("cpu")
    if name != "as_tensor":
        assert make(tg, requires_grad=True, dtype=tg.float64).requires_grad
    with pytest.raises(TinygradError, match=rf"^\[{name}\] got device 'cuda'; expected 'cpu', the only one"):
        make(tg, device="cuda")


TO: list[tuple[Any, ...]] = [
    ("cpu",), ("float64",), ("int64",), ("bool",), ("cpu", "float64"), ("float64", True), ("float64", False, True),
    ("cpu", "int32", False, True),
]  # fmt: skip


@pytest.mark.parametrize("target", TO)
def test_to(target: tuple[Any, ...]) -> None:
    def asked(lib: Any) -> Any:
        return lib.tensor(X).to(*(getattr(lib, one) if one in DTYPES else one for one in target))

    a, b = asked(tg), asked(torch)
    assert (a.tolist(), a.dtype.name) == (b.tolist(), str(b.dtype).removeprefix("torch."))


def test_to_is_the_tensor_itself_unless_there_is_something_to_do() -> None:
    for lib in (tg, torch):
        x, y = lib.tensor(X), lib.tensor(X, dtype=lib.float64)
        assert x.to("cpu") is x
        assert x.to(x) is x
        assert x.to(device=x.device, dtype=x.dtype, non_blocking=True) is x
        assert x.cpu() is x
        assert x.to(y).dtype == y.dtype
        copied = x.to(x.dtype, copy=True)
        copied[0, 0] = 9.0
        assert x.tolist() == X
        assert x.device == lib.device("cpu") if lib is torch else x.device == ours.device("cpu")
        assert not x.is_cuda
        assert x.is_cpu
        assert x.get_device() == -1


@pytest.mark.parametrize("dtype", [*DTYPES[:4], "bool"])
def test_type_has_pytorchs_names(dtype: str) -> None:
    a, b = tg.tensor(X).to(getattr(tg, dtype)), torch.tensor(X).to(getattr(torch, dtype))
    assert a.type() == b.type()
    assert tg.tensor(X).type(a.type()).dtype == a.dtype
    assert tg.tensor(X).type(a.dtype).tolist() == b.tolist()
    assert tg.tensor(X).type(getattr(ours, a.type().removeprefix("torch."))).tolist() == b.tolist()
    assert tg.tensor(X).type_as(a).dtype == a.dtype
    assert (a.is_floating_point(), a.is_complex(), a.is_signed()) == (b.is_floating_point(), False, b.is_signed())


def test_small_dtypes_are_the_next_larger_ones() -> None:
    assert tg.tensor(X).half().dtype == tg.float32
    assert tg.tensor(X).byte().tolist() == [[1, -2], [0, 4]]
    pixels = np.array([[0, 255]], np.uint8)
    assert tg.from_numpy(pixels).tolist() == [[0, 255]]
    assert tg.from_numpy(pixels).dtype == ours.uint8


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.to("cuda"),
        lambda x: x.to(device="cuda:0"),
        lambda x: x.cuda(),
        lambda x: x.to("cpu", "meta"),
        lambda x: ours.device("cuda"),
        lambda x: ours.device("cuda", 0),
        lambda x: ours.device(0),
        lambda x: tg.Tensor([1.0], device="mps"),
    ],
)
def test_other_devices_are_refused(call: Any) -> None:
    with pytest.raises(TinygradError, match="expected 'cpu', the only one"):
        call(tg.tensor(X))


@pytest.mark.parametrize("call", [lambda x: x.to("float16x"), lambda x: x.type("torch.Nonsense"), lambda x: x.to(3)])
def test_what_is_neither_device_nor_dtype_is_refused(call: Any) -> None:
    with pytest.raises(TinygradError, match=r"^\[(to|type)\] got dtype"):
        call(tg.tensor(X))


def test_a_device_is_a_value() -> None:
    cpu = ours.device("cpu")
    theirs = torch.device("cpu")
    assert (repr(cpu), str(cpu), cpu.type, cpu.index) == (repr(theirs), str(theirs), theirs.type, theirs.index)
    assert ours.device("cpu:0") != cpu
    assert ours.device("cpu", 0) == ours.device("cpu:0") == ours.device(ours.device("cpu:0"))
    assert len({cpu, ours.device("cpu")}) == 1
    with cpu:
        assert tg.ones(2).device is not None


def test_detach_in_place() -> None:
    for lib in (tg, torch):
        w = lib.tensor([2.0], requires_grad=True)
        h = w * 3
        assert h.detach_() is h
        assert h.is_leaf
        assert not h.requires_grad
        (h * w).sum().backward()
        assert w.grad.tolist() == [6]
        assert not w.detach_().requires_grad
        with pytest.raises(RuntimeError, match="view"):
            (lib.ones(4, requires_grad=True) * 2)[:2].detach_()


def test_a_range_is_an_index() -> None:
    for lib in (tg, torch):
        x, y = lib.arange(6).reshape(2, 3), lib.tensor([2, 0])
        assert x[range(2), y].tolist() == [2, 3]
        assert x[:, range(1, 3)].tolist() == [[1, 2], [4, 5]]
        x[range(2), y] = 9
        assert x.tolist() == [[0, 1, 9], [9, 4, 5]]
    assert tg.jit(lambda x, y: x[range(2), y])(tg.arange(6).reshape(2, 3), tg.tensor([2, 0])).tolist() == [2, 3]


def test_data_of_another_shape_or_dtype() -> None:
    for lib in (tg, torch):
        layer = lib.nn.Linear(3, 2)
        layer.weight.sum().backward()
        layer.weight.data = lib.ones(4, 3)
        layer.bias.data = layer.bias.data.double()
        assert type(layer.weight) is lib.nn.Parameter
        assert layer.weight.is_leaf
        assert layer.weight.requires_grad
        assert layer.bias.dtype == lib.float64
        layer.weight.grad = None
        assert (lib.ones(1, 3) @ layer.weight.T).tolist() == [[3, 3, 3, 3]]
        (lib.ones(1, 3) @ layer.weight.T).sum().backward()
        assert layer.weight.grad is not None
    with pytest.raises(TinygradError, match="a leaf"):
        (tg.ones(2, requires_grad=True) * 2).data = tg.ones(3)
    with pytest.raises(TinygradError, match="equal shapes"):
        tg.ones(4)[:2].data = tg.ones(3)


def test_small_questions() -> None:
    for lib in (tg, torch):
        x = lib.ones(2, 3, requires_grad=True)
        y = x * 2
        assert not y.retains_grad
        y.retain_grad()
        assert y.retains_grad
        assert not x.retains_grad
        assert (x.ndimension(), x.nelement(), x.itemsize) == (2, 6, 4)
        assert lib.tensor([3]).is_nonzero()
        assert x.is_same_size(y)
        assert not x.is_same_size(lib.ones(3, 2))


def test_a_size_is_a_size_and_a_tuple_is_data() -> None:
    x = tg.ones(2, 3)
    assert x.size() == x.shape == (2, 3)
    assert x.size().numel() == 6
    assert tg.Tensor(x.size()).shape == tg.zeros(x.size()).shape == tg.randn(x.size()).shape == (2, 3)
    assert tg.Tensor((2, 3)).tolist() == torch.Tensor((2, 3)).tolist()
    assert tg.jit(lambda x: x.view(x.size()) * x.size(0))(x).tolist() == [[2.0] * 3] * 2
