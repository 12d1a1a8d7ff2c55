"""Training steps in which the gradient of a parameter is a number the trace already knows: `w.sum()`, a critic's bias.

Each step runs eagerly, as jitted calls, and (where fit can run it) natively; parameters and gradients must agree.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn
from tinygrad_nn.errors import TraceError
from tinygrad_nn.nn.utils import clip_grad_norm_, clip_grad_value_

ROWS = np.random.default_rng(5).normal(size=(12, 3)).astype(np.float32)
OTHERS = ("Adafactor", "LBFGS", "Muon")  # means over axes; calls a closure, compiled alone; matrices alone
OPTIMIZERS = {
    name: one
    for name, one in inspect.getmembers(tg.optim, inspect.isclass)
    if issubclass(one, tg.optim.Optimizer) and one is not tg.optim.Optimizer and name not in OTHERS
}

Step = Callable[[Any], Any]
Made = tuple[Step, list[Any]]


def small(seed: int, *shape: int) -> Any:
    return tg.tensor(np.random.default_rng(seed).normal(size=shape).astype(np.float32), requires_grad=True)


def trained(params: list[Any], loss: Step, opt: Any = None, clip: Callable[[Any], Any] = lambda params: None) -> Made:
    """A step of one loss."""
    opt = tg.optim.SGD(params, lr=0.125) if opt is None else opt

    def step(x: Any) -> Any:
        opt.zero_grad()
        value = loss(x)
        value.backward()
        clip(params)
        opt.step()
        return value

    return step, params


def of_one(loss: Callable[[Any, Any], Any]) -> Callable[[], Made]:
    def make() -> Made:
        w = small(1, 3)
        return trained([w], lambda x: loss(w, x))

    return make


def two_with_one_gradient() -> Made:
    a, b = small(1, 3), small(2, 3)
    return trained([a, b], lambda x: (a + b).sum() + x.sum() * 0)


def unused() -> Made:
    a, b = small(1, 3), small(2, 3)
    return trained([a, b], lambda x: a.sum())


def linear_mean() -> Made:
    layer = nn.Linear(3, 2)
    params = list(layer.parameters())
    return trained(params, lambda x: layer(x).mean(), tg.optim.SGD(params, lr=0.125, momentum=0.5))


def twice() -> Made:
    """Gradients are added up over two backward passes."""
    w = small(1, 3)
    opt = tg.optim.SGD([w], lr=0.125)

    def step(x: Any) -> Any:
        opt.zero_grad()
        (w * 2).sum().backward()
        loss = w.sum()
        loss.backward()
        opt.step()
        return loss

    return step, [w]


def zeroed() -> Made:
    """zero_grad(set_to_none=False): the gradient itself is a constant at first."""
    w = small(1, 3)
    w.grad = tg.zeros(3)
    opt = tg.optim.SGD([w], lr=0.125)

    def step(x: Any) -> Any:
        opt.zero_grad(set_to_none=False)
        loss = (w * x.sum(0)).sum()
        loss.backward()
        opt.step()
        return loss

    return step, [w]


def only_zeroed() -> Made:
    """A step that leaves zeros and never walks back."""
    w = small(1, 3)
    w.grad = tg.ones(3)

    def step(x: Any) -> Any:
        w.grad = w.new_zeros(w.shape)
        return x.sum()

    return step, [w]


def read_and_scaled() -> Made:
    w = small(1, 3)
    opt = tg.optim.SGD([w], lr=0.125)

    def step(x: Any) -> Any:
        opt.zero_grad()
        w.sum().backward()
        w.grad *= 0.5
        norm = (w.grad * w.grad).sum()
        opt.step()
        return norm

    return step, [w]


def returned() -> Made:
    w = small(1, 3)
    opt = tg.optim.SGD([w], lr=0.125)

    def step(x: Any) -> Any:
        opt.zero_grad()
        w.sum().backward()
        opt.step()
        return {"grad": w.grad, "again": w.grad, "w": w.detach().sum()}

    return step, [w]


def hooked() -> Made:
    w = small(1, 3)
    w.register_hook(lambda g: g * 4)
    return trained([w], lambda x: w.sum())


def clipped_norm() -> Made:
    w = small(1, 3)
    return trained([w], lambda x: w.sum(), clip=lambda params: clip_grad_norm_(params, 0.5))


def clipped_value() -> Made:
    w = small(1, 3)
    return trained([w], lambda x: (w * 3).sum(), clip=lambda params: clip_grad_value_(params, 0.5))


def critic() -> Made:
    """Wasserstein critic (Arjovsky et al., 2017): linear loss, weights clipped after the step."""
    net = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.2), nn.Linear(4, 1))
    params = list(net.parameters())
    opt = tg.optim.RMSprop(params, lr=0.03)

    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = -net(x).mean() + net(x * 0.5 + 1).mean()
        loss.backward()
        opt.step()
        with tg.no_grad():
            for p in params:
                p.clamp_(-0.25, 0.25)
        return loss

    return step, params


def critic_with_penalty() -> Made:
    """Gulrajani et al., 2017: the norm of the critic's own gradient is held at 1."""
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    params = list(net.parameters())
    opt = tg.optim.Adam(params, lr=0.03)

    def step(x: Any) -> Any:
        opt.zero_grad()
        between = (x * 0.5).detach().requires_grad_()
        (g,) = tg.autograd.grad(net(between).sum(), between, create_graph=True)
        penalty = ((g.norm(2, 1) - 1) ** 2).mean()
        loss = net(x * 2).mean() - net(x).mean() + 10 * penalty
        loss.backward()
        opt.step()
        return loss

    return step, params


STEPS: dict[str, Callable[[], Made]] = {
    "sum": of_one(lambda w, x: w.sum()),
    "mean": of_one(lambda w, x: w.mean()),
    "times two": of_one(lambda w, x: (w * 2).sum()),
    "times zero": of_one(lambda w, x: (w * 0).sum()),
    "one entry": of_one(lambda w, x: w[1]),
    "some entries": of_one(lambda w, x: w[1:].sum()),
    "linear in data as well": of_one(lambda w, x: w.sum() + x.mean()),
    "no slope": of_one(lambda w, x: w.sign().sum()),
    "l1 penalty": of_one(lambda w, x: w.abs().sum() * 0.1),
    **{
        make.__name__: make
        for make in (
            two_with_one_gradient, unused, linear_mean, twice, zeroed, only_zeroed, read_and_scaled, returned, hooked,
            clipped_norm, clipped_value, critic, critic_with_penalty,
        )
    },
}  # fmt: skip


def outcome(params: list[Any]) -> list[Any]:
    found = [p.detach().numpy().copy() for p in params]
    return found + [None if p.grad is None else p.grad.numpy().copy() for p in params]


def agree(found: list[Any], wanted: list[Any]) -> None:
    """Bits where nothing but constants is added; else up to the rounding of sums in another order."""
    for one, other in zip(found, wanted, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def run(make: Callable[[], Made], compiled: bool, native: bool) -> list[Any]:
    tg.manual_seed(0)
    step, params = make()
    chosen = tg.jit(step) if compiled else step
    if native:
        tg.fit(chosen, ROWS, epochs=2, batch_size=4, seed=3, progress=False)
        return outcome(params)[: len(params)]
    found = []
    for start in (0, 4, 8):
        chosen(tg.tensor(ROWS[start : start + 4]))
        found += outcome(params)
    return found


@pytest.mark.parametrize("name", STEPS)
def test_calls(name: str) -> None:
    agree(run(STEPS[name], True, False), run(STEPS[name], False, False))


@pytest.mark.parametrize("name", [name for name in STEPS if name != "returned"])  # fit wants numbers
def test_fits(name: str) -> None:
    agree(run(STEPS[name], True, True), run(STEPS[name], False, True))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("native", [False, True])
def test_every_optimizer_has_the_bits_of_eager_code(name: str, native: bool) -> None:
    def make() -> Made:
        w = small(1, 3)
        return trained([w], lambda x: w.sum(), OPTIMIZERS[name]([w], lr=0.125))

    for one, other in zip(run(make, True, native), run(make, False, native), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_gradient_of_another_parameter_is_another_tensor() -> None:
    step, (a, b) = two_with_one_gradient()
    tg.jit(step)(tg.ones(4, 3))
    a.grad.add_(1)
    assert a.grad.tolist() == [2.0] * 3
    assert b.grad.tolist() == [1.0] * 3


def test_calls_in_between_see_and_may_change_the_gradient() -> None:
    w = small(1, 3)
    total = tg.jit(lambda: w.sum().backward())
    for k in range(1, 4):
        total()
        assert w.grad is not None
        assert w.grad.tolist() == [float(k)] * 3
    w.grad = None
    total()
    assert w.grad is not None
    assert w.grad.tolist() == [1.0] * 3


@pytest.mark.parametrize("keep", ["a new constant", "the gradient"])
def test_a_tensor_kept_in_python_state_is_still_refused(keep: str) -> None:
    w, kept = small(1, 3), []

    @tg.jit
    def step(x: Any) -> Any:
        w.grad = None
        w.sum().backward()
        kept.append(tg.ones(3) if keep == "a new constant" else w.grad)
        return x.sum() + kept[-1].sum()

    with pytest.raises(TraceError, match=r"keeps a new tensor .* in Python state at every call"):
        step(tg.ones(2))
    assert w.grad is None


def test_a_loss_that_is_a_constant_has_no_gradient_to_leave() -> None:
    w = small(1, 3)

    @tg.jit
    def step(x: Any) -> Any:
        loss = F.mse_loss(tg.ones(3), tg.zeros(3))
        (loss + (w * 0).sum()).backward()
        return loss

    assert step(tg.ones(2)).item() == 1.0
    assert w.grad is not None
    assert w.grad.tolist() == [0.0] * 3
