"""Every optimizer for PyTorch's own sample inputs: eager, compiled, and with a state that is handed over."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg

torch = pytest.importorskip("torch")
common = pytest.importorskip("torch.testing._internal.common_optimizers")

SAMPLES = [
    (info.optim_cls.__name__, sample.desc, sample.kwargs)
    for info in common.optim_db
    for sample in info.optim_inputs_func(device="cpu")
    if info.optim_cls.__name__ != "SparseAdam"  # gradients are dense
]
IDS = [f"{name}-{words}" for name, words, _ in SAMPLES]


@pytest.fixture(autouse=True)
def double(request: pytest.FixtureRequest) -> Any:
    """PyTorch keeps some rates in the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if "jit" in request.node.name else torch.float64)
    yield
    torch.set_default_dtype(before)


def parameters(name: str, lib: Any, dtype: str) -> list[Any]:
    rng = np.random.default_rng(3)
    shapes = [(4, 3), (3, 5)] if name == "Muon" else [(4, 3), (3,), ()]
    arrays = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    return [lib.tensor(array).requires_grad_() for array in arrays]


def loss_of(ps: list[Any]) -> Any:
    total = 0.0
    for k, p in enumerate(ps):
        total = total + ((p - 0.3 * k) ** 2).sum() * 0.5 + (p.sin() * 0.3).sum()
    return total


def stepper(lib: Any, ps: list[Any], opt: Any) -> Any:
    def step() -> Any:
        opt.zero_grad()
        loss = loss_of(ps)
        loss.backward()
        return loss

    if type(opt).__name__ == "LBFGS":
        return lambda: opt.step(step)

    def whole() -> Any:
        loss = step()
        opt.step()
        return loss

    return whole


def options(lib: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    return {k: lib.tensor(v.item()) if isinstance(v, torch.Tensor) else v for k, v in kwargs.items()}


def as_torch(value: Any) -> Any:
    if isinstance(value, list):
        return [as_torch(one) for one in value]
    return torch.tensor(value.numpy()) if isinstance(value, tg.Tensor) else value


def close(ours: list[Any], theirs: list[Any], name: str, dtype: str) -> None:
    tolerance = {"float64": 1e-11, "float32": 3e-6}[dtype] if name != "Muon" else 2e-2  # theirs iterates in bfloat16
    tolerance = max(tolerance, 1e-7 if name == "LBFGS" and dtype == "float64" else 0)
    tolerance = 2e-4 if name == "LBFGS" and dtype == "float32" else tolerance
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize(("name", "words", "kwargs"), SAMPLES, ids=IDS)
def test_steps(name: str, words: str, kwargs: dict[str, Any], compiled: bool) -> None:
    dtype = "float32" if compiled else "float64"
    ours, theirs = parameters(name, tg, dtype), parameters(name, torch, dtype)
    opt = getattr(tg.optim, name)(ours, **options(tg, kwargs))
    other = getattr(torch.optim, name)(theirs, **options(torch, kwargs))
    step, their_step = stepper(tg, ours, opt), stepper(torch, theirs, other)
    run = tg.jit(step) if compiled and name != "LBFGS" else step
    for _ in range(2 if name == "LBFGS" else 5):
        loss, expected = run(), their_step()
        np.testing.assert_allclose(loss.item(), expected.item(), rtol=0.05 if name == "Muon" else 1e-5)
        close(ours, theirs, name, dtype)


@pytest.mark.parametrize("name", sorted({name for name, _, _ in SAMPLES} - {"Muon"}))
def test_a_state_goes_from_one_to_the_other(name: str) -> None:
    ours, theirs = parameters(name, tg, "float64"), parameters(name, torch, "float64")
    opt, other = getattr(tg.optim, name)(ours), getattr(torch.optim, name)(theirs)
    their_step = stepper(torch, theirs, other)
    for _ in range(3):
        their_step()
    for p, q in zip(ours, theirs, strict=True):
        p.data.copy_(tg.tensor(q.detach().numpy()))
    opt.load_state_dict(other.state_dict())
    step = stepper(tg, ours, opt)
    for _ in range(2):
        step(), their_step()
    close(ours, theirs, name, "float64")
    again = parameters(name, torch, "float64")
    for p, q in zip(again, ours, strict=True):
        p.data.copy_(torch.tensor(q.detach().numpy()))
    back = getattr(torch.optim, name)(again)
    state = opt.state_dict()
    for own in state["state"].values():
        own.update({field: as_torch(value) for field, value in own.items()})
    back.load_state_dict({**back.state_dict(), "state": state["state"]})
    step(), stepper(torch, again, back)()
    close(ours, again, name, "float64")
