"""What a step reaches by name, and so the dtype of the data that fit hands it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.errors import DTypeError
from tinygrad_nn.fitting.reach import Reached

X = np.random.default_rng(2).normal(size=(10, 3))
Y = X @ np.array([[1.0], [-2.0], [0.5]])
GLOBAL = nn.Linear(3, 1).double()
Step = Callable[..., Any]


def parameters(step: Step) -> list[tg.Tensor]:
    return [leaf for leaf in Reached({"": step}, {}).leaves.values() if leaf.requires_grad]


def plain(model: Any) -> Step:
    opt = optim.SGD(model.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return {"loss": loss, "bytes": float(x.element_size() + y.element_size())}

    return step


def wrapped(model: Any) -> Step:
    inner = plain(model)
    return functools.wraps(inner)(lambda x, y: inner(x, y))


def partly(model: Any) -> Step:
    return functools.partial(lambda step, x, y: step(x, y), plain(model))


class Trainer:
    def __init__(self, model: Any) -> None:
        self.model, self.do = model, plain(model)

    def step(self, x: Any, y: Any) -> Any:
        return self.do(x, y)

    __call__ = step


def by_hand(model: Any) -> Step:
    weights = {"w": model.weight, "b": [model.bias]}

    def step(x: Any, y: Any) -> Any:
        loss = ((x @ weights["w"].T + weights["b"][0] - y) ** 2).mean()
        return {"loss": loss, "bytes": float(x.element_size() + y.element_size())}

    return step


STEPS: dict[str, Callable[[Any], Step]] = {
    "a closure": plain,
    "a wrapper": wrapped,
    "a partial": partly,
    "a method": lambda model: Trainer(model).step,
    "an object": Trainer,
    "tensors": by_hand,
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
@pytest.mark.parametrize("name", STEPS)
def test_arrays_and_lists_get_the_dtype_of_the_model(name: str, dtype: Any, compiled: bool) -> None:
    step = STEPS[name](nn.Linear(3, 1, dtype=dtype))
    chosen = tg.jit(step) if compiled else step
    for data in ((X, Y), (X.astype(np.float32), Y.tolist()), (X.astype(np.float16), Y)):
        history = tg.fit(chosen, data, epochs=1, batch_size=4, progress=False)
        assert history["bytes"].tolist() == [2.0 * dtype.itemsize]


def from_globals(x: Any) -> Any:
    return helper(x)


def helper(x: Any) -> Any:
    return GLOBAL(x).sum()


def test_globals_and_functions_of_the_same_file() -> None:
    assert {id(p) for p in parameters(from_globals)} == {id(p) for p in GLOBAL.parameters()}
    tg.fit(from_globals, X, progress=False)


def test_without_a_model_arrays_get_the_default() -> None:
    for default in (tg.float32, tg.float64):
        tg.set_default_dtype(default)
        try:
            history = tg.fit(lambda x: {"bytes": float(x.element_size())}, X, progress=False)
        finally:
            tg.set_default_dtype(tg.float32)
        assert history["bytes"].tolist() == [default.itemsize]


def test_with_models_of_both_dtypes_arrays_get_the_default() -> None:
    small, large = nn.Linear(3, 1), nn.Linear(3, 1).double()
    tg.fit(lambda x: small(x).sum() + large(x.double()).sum(), X, progress=False)
    frozen = nn.Linear(3, 1).double().requires_grad_(False)
    assert not parameters(lambda x: frozen(x))


@pytest.mark.parametrize("compiled", [False, True])
def test_tensors_keep_their_dtype(compiled: bool) -> None:
    """Who made them float64 meant it: then the model has to be, too."""
    step = plain(nn.Linear(3, 1))
    chosen = tg.jit(step) if compiled else step
    data = (tg.tensor(X), tg.tensor(Y))
    assert data[0].dtype == tg.float64
    with pytest.raises(
        DTypeError, match=r"\[linear\] got dtypes float64 and float32; expected one float dtype; hint: x"
    ):
        tg.fit(chosen, data, batch_size=4, progress=False)


def test_small_integers_become_int32() -> None:
    history = tg.fit(lambda x: {"bytes": float(x.element_size())}, X.astype(np.uint8), progress=False)
    assert history["bytes"].tolist() == [4.0]
    with pytest.raises(DTypeError, match=r"\[fit\] got data of dtype uint64"):
        tg.fit(lambda x: x.sum(), np.ones(3, np.uint64), progress=False)


def test_rings_and_heaps_of_objects_end() -> None:
    ring: list[Any] = []
    ring.append(ring)
    heap = list(range(100_000))
    w = tg.ones(2, requires_grad=True)
    assert parameters(lambda: (ring, w, heap)) == [w]
