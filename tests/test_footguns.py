"""What a compiled function freezes, refuses or does all the same: the table of docs/compile.md, row by row.

The last column of each row names the test here that shows it, and every test here has its row.
"""

from __future__ import annotations

import copy
import gc
import pickle
import re
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import callbacks, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.errors import DivisionByZero, DTypeError, GraphError, IndexOutOfRange, TraceError

X = tg.tensor([1.0, 2.0, 3.0])


def refused(function: Callable[..., Any], text: str, *args: Any, error: type[Exception] = TraceError) -> None:
    """Compiling the function is an error with this text, and the arguments are as before."""
    before = [arg.tolist() for arg in args]
    with pytest.raises(error, match=text):
        tg.jit(function)(*args)
    assert [arg.tolist() for arg in args] == before


def setup(**settings: Any) -> tuple[tg.Tensor, optim.Optimizer, Callable[..., tg.Tensor]]:
    """A parameter, its optimizer, and a step that takes gradient 6 at X."""
    p = tg.tensor([1.0], requires_grad=True)
    opt = optim.SGD([p], **{"lr": 0.5, **settings})

    def step(x: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = (p * x).sum()
        loss.backward()
        opt.step()
        return loss

    return p, opt, step


# ---- reading values -------------------------------------------------------------------------------------------


def test_if() -> None:
    refused(lambda x: x if x.sum() > 0 else -x, r"the traced value lt\[\]:bool at .*test_footguns.py:\d+", X)
    assert tg.jit(lambda x: tg.where(x.sum() > 0, x, -x))(-X).tolist() == X.tolist()


def test_item() -> None:
    def mean(x: tg.Tensor) -> Any:
        total = x.sum().item()
        return {"mean": total / len(x), "count": (x > 1).sum().item(), "scaled": x * total, "all": x.numpy()}

    eager, found = mean(X), tg.jit(mean)(X)
    assert (found["mean"], found["count"]) == (eager["mean"], eager["count"]) == (2.0, 2)
    assert [type(value) for value in found.values()] == [float, int, tg.Tensor, np.ndarray]
    assert found["scaled"].dtype == tg.float32
    assert tg.jit(lambda x: x.sum().item())(X) == 6.0


@pytest.mark.parametrize("function", [lambda x: x * float(x.sum()), lambda x: x * int(x.sum()), lambda x: x.tolist()])
def test_float(function: Any) -> None:
    refused(function, "a read of the traced value", X)


@pytest.mark.parametrize("function", [lambda x: print(x), lambda x: f"{x}", lambda x: f"{x.sum():.3f}"])
def test_print(function: Any) -> None:
    refused(function, r"a read of the traced value .*return the tensor and read it outside", X)


@pytest.mark.parametrize("function", [lambda x: np.asarray(x), lambda x: np.sin(x), lambda x: np.sin(x.numpy())])
def test_numpy(function: Any) -> None:
    refused(function, r"\[numpy\] got a read of the traced value", X)


@pytest.mark.parametrize("function", [lambda x: x[x > 1], lambda x: x.nonzero(), lambda x: x.masked_select(x > 1)])
def test_boolean_mask(function: Any) -> None:
    refused(function, "a read of the traced value|whose length depends on values .* at test_footguns.py", X)
    assert tg.jit(lambda x: tg.where(x > 1, x, 0.0).sum())(X).item() == 5


def test_masked_write() -> None:
    def capped(x: tg.Tensor, value: tg.Tensor) -> tg.Tensor:
        y = x.clone()
        y[x > 1] = value
        return y

    assert tg.jit(capped)(X, tg.tensor(0.0)).tolist() == [1, 0, 0]
    refused(capped, r"values of shape \(2,\) for the elements where a traced mask holds", X, tg.zeros(2))


def test_traced_position() -> None:
    for function in (lambda x, i: x[i], lambda x, i: x.index_select(0, i), lambda x, i: x.take(i)):
        assert tg.jit(function)(X, tg.tensor([1, 0])).tolist() == [2.0, 1.0]
    assert tg.jit(lambda x, i: x[i])(X, tg.tensor(-1)).tolist() == 3.0
    assert tg.jit(lambda x, i: x.gather(1, i))(X.reshape(1, 3), tg.tensor([[2, 0]])).tolist() == [[3.0, 1.0]]
    with pytest.raises(IndexOutOfRange, match="got index 3 in row 1; expected -3 <= index < 3"):
        tg.jit(lambda x, i: x[i])(X, tg.tensor([1, 3]))


# ---- what is captured -----------------------------------------------------------------------------------------


def test_captured_number() -> None:
    scale, table = 2.0, [1.0]
    f = tg.jit(lambda x: x * scale * table[0])
    assert f(X).tolist() == [2, 4, 6]
    scale, table[0] = 5.0, 7.0
    assert f(X).tolist() == [2, 4, 6]
    live = tg.tensor(2.0)
    g = tg.jit(lambda x: x * live)
    g(X)
    live.assign(tg.tensor(5.0))
    assert g(X).tolist() == [5, 10, 15]
    assert g.traces == 1


def test_other_tensor_under_a_name() -> None:
    w = tg.tensor(2.0)
    f = tg.jit(lambda x: x * w)
    f(X)
    w = tg.tensor(5.0)
    assert f(X).tolist() == [2, 4, 6]


def test_captured_array() -> None:
    array = np.ones(3, np.float32)
    f = tg.jit(lambda x: x + tg.tensor(array))
    f(X)
    array[:] = 9
    assert f(X).tolist() == [2, 3, 4]


def test_replaced_attribute() -> None:
    model = nn.Linear(3, 1)
    f = tg.jit(lambda x: model(x))
    before = f(X).item()
    kept = model.weight
    model.weight = nn.Parameter(tg.zeros(1, 3))
    assert f(X).item() == model.bias.item()
    model.weight = kept
    assert f(X).item() == before
    for named in (model.forward, lambda x: x @ model.weight.mT + model.bias):
        g = tg.jit(named)
        assert g(X).item() == pytest.approx(before)
        model.weight = nn.Parameter(tg.zeros(1, 3))
        assert g(X).item() == model.bias.item()
        model.weight = kept


def test_replaced_module() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    f = tg.jit(lambda x: model(x))
    f(X)
    model[1] = nn.Tanh()
    assert np.abs(f(X).numpy() - model(X).detach().numpy()).max() < 1e-6
    model.append(nn.Softplus())
    assert np.abs(f(X).numpy() - model(X).detach().numpy()).max() < 1e-6
    assert f.traces == 3
    f(X)
    assert f.traces == 3


def test_hooks_added_later() -> None:
    p, _, step = setup()
    f = tg.jit(step)
    f(X)
    before = p.item()
    remove = p.register_hook(lambda gradient: gradient * 0)
    f(X)
    assert p.item() == before
    remove()
    f(X)
    assert p.item() == before - 3
    model = nn.Linear(3, 1)
    g = tg.jit(lambda x: model(x))
    g(X)
    model.register_forward_hook(lambda module, args, result: result * 0)
    assert g(X).item() == 0


def test_hook_inside() -> None:
    p = tg.tensor([1.0, 1.0, 1.0], requires_grad=True)
    model = nn.Linear(3, 1)

    def on_a_tensor(x: tg.Tensor) -> tg.Tensor:
        p.register_hook(lambda gradient: gradient * 2)
        return (p * x).sum()

    def on_a_module(x: tg.Tensor) -> tg.Tensor:
        model.register_forward_pre_hook(lambda module, args: None)
        return model(x)

    def undone(x: tg.Tensor) -> tg.Tensor:
        removers = [
            model.register_forward_hook(lambda module, args, result: result * 2),
            p.register_hook(lambda gradient: gradient * 2),
        ]
        result = model(p * x)
        for remove in removers:
            remove()
        return result

    refused(on_a_tensor, "leaves a tensor .* with other hooks than it found", X)
    refused(on_a_module, "leaves a Linear with other hooks than it found", X)
    assert not model._forward_pre_hooks
    np.testing.assert_allclose(tg.jit(undone)(X).tolist(), (model(X) * 2).tolist(), rtol=1e-6)


@pytest.mark.parametrize("way", ["append", "extend", "insert", "put", "new group", "new list"])
def test_more_parameters(way: str) -> None:
    q = tg.tensor([2.0], requires_grad=True)
    p, opt, _ = setup()
    group = opt.param_groups[0]

    @tg.jit
    def step(x: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = (p * q * x).sum()
        loss.backward()
        opt.step()
        return loss

    step(X)
    assert (p.item(), q.item()) == (-5.0, 2.0)
    if way == "new group":
        opt.add_param_group({"params": [q]})
    elif way == "new list":
        group["params"] = [p, q]
    elif way == "put":
        group["params"][:] = [p, q]
    elif way == "insert":
        group["params"].insert(0, q)
    else:
        getattr(group["params"], way)(q if way == "append" else [q])
    step(X)
    assert (p.item(), q.item()) == (-11.0, 17.0)
    opt.param_groups.clear()
    step(X)
    assert (p.item(), q.item()) == (-11.0, 17.0)


def test_replaced_optimizer_state() -> None:
    def clear(opt: optim.Optimizer, p: tg.Tensor) -> None:
        opt.state.clear()

    def forget(opt: optim.Optimizer, p: tg.Tensor) -> None:
        del opt.state[p]

    def replace(opt: optim.Optimizer, p: tg.Tensor) -> None:
        opt.state = {}

    def put(opt: optim.Optimizer, p: tg.Tensor) -> None:
        opt.state[p]["momentum_buffer"] = tg.tensor([100.0])

    for change in (clear, forget, replace, put):
        found = []
        for jit in (tg.jit, lambda f: f):
            p, opt, step = setup(momentum=0.5)
            f = jit(step)
            for _ in range(2):
                f(X)
            change(opt, p)
            for _ in range(2):
                f(X)
            state = opt.state_dict()["state"][0]
            found.append((p.item(), state["momentum_buffer"].item()))
        assert found[0] == found[1], change


def test_memory_of_an_array() -> None:
    for share in (tg.from_numpy, tg.as_tensor, tg.from_dlpack, lambda array: nn.Parameter(tg.as_tensor(array[::-1]))):
        array = np.ones(3, np.float32)
        t = share(array)
        f = tg.jit(lambda x, t=t: x + t)
        f(X)
        for value in (9.0, 4.0):
            array[:] = value
            assert f(X).tolist() == [1 + value, 2 + value, 3 + value]
        assert f.traces == 1


def test_learning_rate() -> None:
    p, opt, step = setup()
    f = tg.jit(step)
    f(X)
    assert p.item() == 1 - 0.5 * 6
    opt.param_groups[0]["lr"] = 0.25
    f(X)
    assert p.item() == 1 - 0.5 * 6 - 0.25 * 6
    assert f.traces == 1


def test_momentum() -> None:
    p, opt, step = setup(momentum=0.5)
    f = tg.jit(step)
    f(X)
    for momentum in (0.25, 0.75, 0.5):
        before, opt.param_groups[0]["momentum"] = p.item(), momentum
        velocity = opt.state[p]["momentum_buffer"].item()
        f(X)
        assert p.item() == before - 0.5 * (momentum * velocity + 6)
    assert f.traces == 2
    opt.param_groups[0]["momentum"] = 0.0
    before = p.item()
    f(X)
    assert p.item() == before - 0.5 * 6
    f(X)
    assert f.traces == 3


def test_hyperparameter_inside() -> None:
    found = []
    for jit in (tg.jit, lambda f: f):
        p, opt, step = setup(momentum=0.5)

        def changes(x: tg.Tensor, rate: float, opt: Any = opt, step: Any = step) -> Any:
            opt.param_groups[0]["lr"] = rate
            opt.param_groups[0]["momentum"] = 0.25
            return step(x), opt.param_groups[0]["lr"]

        f = jit(changes)
        found.append([(f(X, 0.5 / k)[0].item(), p.item(), opt.param_groups[0]["lr"]) for k in (1, 2, 3)])
    assert found[0] == found[1]


@pytest.mark.parametrize("plateau", [False, True])
def test_scheduler_inside(plateau: bool) -> None:
    found = []
    for jit in (tg.jit, lambda f: f):
        p, opt, step = setup()
        plateaus, halves = optim.lr_scheduler.ReduceLROnPlateau, optim.lr_scheduler.ExponentialLR
        scheduler: Any = plateaus(opt, patience=0, mode="max") if plateau else halves(opt, 0.5)

        def steps(x: tg.Tensor, step: Any = step, scheduler: Any = scheduler) -> tg.Tensor:
            loss = step(x)
            scheduler.step(*[loss] * plateau)
            return loss

        f = jit(steps)
        found.append([(f(X).item(), p.item(), scheduler.last_epoch, opt.param_groups[0]["lr"]) for _ in range(4)])
    assert found[0] == found[1]

    def too_early(x: tg.Tensor) -> tg.Tensor:
        scheduler.step(*[1.0] * plateau)
        return step(x)

    before = scheduler.last_epoch
    refused(too_early, r"a use of 'lr' after a schedule's step\(\), at .*step the schedule last", X)
    assert scheduler.last_epoch == before
    with pytest.raises(TraceError, match=r"steps a schedule.*give fit the callback Schedule\(scheduler\)"):
        tg.fit(tg.jit(steps), X, epochs=3, progress=False)
    schedule = callbacks.Schedule(scheduler)
    history = tg.fit(tg.jit(step), X, epochs=3, progress=False, callbacks=[schedule])
    assert history.epochs == scheduler.last_epoch - before == 3


def test_random_of_others() -> None:
    rng = np.random.default_rng(0)
    f = tg.jit(lambda x: x + rng.normal())
    assert f(X).tolist() == f(X).tolist()


def test_own_random() -> None:
    f = tg.jit(lambda x: x + tg.rand(3))
    tg.manual_seed(1)
    eager = [(X + tg.rand(3)).tolist() for _ in range(3)]
    tg.manual_seed(1)
    assert [f(X).tolist() for _ in range(3)] == eager
    tg.manual_seed(1)
    assert f(X).tolist() == eager[0]
    f = tg.jit(lambda x: x + tg.manual_seed(1).bits((4,))[:3])
    assert f(X).tolist() == f(X).tolist()


# ---- Python state ---------------------------------------------------------------------------------------------


def test_append() -> None:
    kept: list[tg.Tensor] = []

    def f(x: tg.Tensor) -> tg.Tensor:
        kept.append(x * 2)
        return x

    compiled = tg.jit(f)
    compiled(X)
    compiled(X)
    assert len(kept) == 1
    left = "a tensor left over from a compiled function or a scan, the traced value mul"
    for use in (
        lambda: kept[0].tolist(),
        lambda: kept[0] + 1,
        lambda: repr(kept[0]),
        lambda: tg.jit(lambda: -kept[0])(),
    ):
        with pytest.raises(TraceError, match=left):
            use()


def test_new_state_at_every_call() -> None:
    kept: list[tg.Tensor] = []

    def f(x: tg.Tensor) -> tg.Tensor:
        kept.append(tg.zeros(3))
        kept[-1].assign(x)
        return x

    refused(f, r"keeps a new tensor .* in Python state at every call; expected tensors made outside", X)


def test_state_made_once() -> None:
    p, opt, step = setup(momentum=0.5)
    f = tg.jit(step)
    for _ in range(3):
        f(X)
    compiled = p.item(), opt.state[p]["momentum_buffer"].item()
    p, opt, step = setup(momentum=0.5)
    for _ in range(3):
        step(X)
    assert compiled == (p.item(), opt.state[p]["momentum_buffer"].item())


def test_assign() -> None:
    total, a, b = tg.zeros(()), tg.ones(3), tg.zeros(3)

    def f(x: tg.Tensor) -> tg.Tensor:
        total.assign(total + x.sum())
        old = a.clone()
        a.assign(b)
        b.assign(old)
        return total

    compiled = tg.jit(f)
    assert [compiled(X).item(), compiled(X).item(), compiled(X).item()] == [6, 12, 18]
    assert (a.tolist(), b.tolist()) == ([0] * 3, [1] * 3)
    cleared = tg.jit(lambda x: (a.assign(tg.full((3,), 7.0)), x)[1])
    cleared(X)
    assert a.tolist() == [7] * 3


def test_views() -> None:
    weight, again = tg.zeros(2, 3, requires_grad=True), tg.zeros(2, 3, requires_grad=True)

    def make(w: tg.Tensor) -> Any:
        row = w.T[:, 1]

        def f(x: tg.Tensor) -> tg.Tensor:
            with tg.no_grad():
                w[0].fill_(2.0)
                row.add_(x.flatten()[:3])
            return (w * 1).sum() + row.sum()

        return f

    eager, compiled = make(weight), tg.jit(make(again))
    for _ in range(3):
        assert eager(X).item() == compiled(X).item()
        assert weight.tolist() == again.tolist()


def test_shared_leaf() -> None:
    base = tg.zeros(3)
    leaf = base.detach().requires_grad_()
    with pytest.raises(TraceError, match=r"shares its elements with another tensor.*clone\(\)"):
        tg.jit(lambda x: (leaf * x).sum())(X)


def test_returned_view() -> None:
    base = tg.zeros(3)
    tg.jit(lambda x: base[1:])(X).fill_(1.0)
    assert base.tolist() == [0.0] * 3
    (lambda x: base[1:])(X).fill_(1.0)
    assert base.tolist() == [0.0, 1.0, 1.0]


def test_write_without_history() -> None:
    w = tg.ones(3, requires_grad=True)

    def f(x: tg.Tensor) -> tg.Tensor:
        y = w * x.sum()
        with tg.no_grad():
            y[0] = 0.0
        return y.sum()

    assert f(X).item() == 2 * X.sum().item()
    with pytest.raises(TraceError, match="under no_grad"):
        tg.jit(f)(X)


def test_argument_in_place() -> None:
    def add(x: tg.Tensor) -> tg.Tensor:
        x += 1
        return x

    def set_first(x: tg.Tensor) -> tg.Tensor:
        x[0] = 1
        return x

    for function in (add, set_first, lambda x: x.assign(x * 2), lambda x: x[1:].zero_()):
        expected, given = X.clone(), X.clone()
        compiled = tg.jit(function)
        for _ in range(3):
            assert compiled(given).tolist() == function(expected).tolist()
            assert given.tolist() == expected.tolist()
        assert compiled.traces == 1
    for function in (add, set_first):
        with pytest.raises(TraceError, match=r"an argument .* written in place, and is no tensor"):
            tg.jit(function)(np.ones(3, np.float32))
        with tg.no_grad(), pytest.raises(TraceError, match="requires grad, or is given a value that does"):
            tg.jit(function)(tg.ones(3, requires_grad=True))


def test_argument_that_is_state() -> None:
    results = []
    for jit in (tg.jit, lambda f: f):
        c = tg.tensor([1.0, 1.0])

        def double(x: tg.Tensor, y: Any = 0.0, c: tg.Tensor = c) -> tg.Tensor:
            c.assign(c * 2)
            return x * 2 + y

        def write(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
            x[0] = 7
            return y * 2

        f, g = jit(double), jit(write)
        other = tg.tensor([1.0, 1.0])
        found = [f(x).tolist() for x in (other, c, other, c[:1], c, c.detach(), other, c.clone())]
        found += [g(*args).tolist() for args in ((other, c), (c, c), (c, other), (c[1:], c), (c, c[:1]))]
        results.append((found, c.tolist(), other.tolist()))
    assert results[0] == results[1]


# ---- when it is traced again ----------------------------------------------------------------------------------


def test_changed_argument() -> None:
    f = tg.jit(lambda x, n=1: x * n)
    for call, traces in (
        (lambda: f(X), 1),
        (lambda: f(-X), 1),
        (lambda: f(X[:2]), 2),
        (lambda: f(X.double()), 3),
        (lambda: f(X, 2), 4),
        (lambda: f(X, 3), 5),
        (lambda: f(X, 2.5), 6),
        (lambda: f(X, 3.5), 6),
    ):
        call()
        assert f.traces == traces


def test_changed_state() -> None:
    model = nn.Linear(3, 1)
    f = tg.jit(lambda x: model(x))
    f(X)
    model.double()
    assert f(X.double()).dtype == tg.float64
    w = tg.ones(3)
    f = tg.jit(lambda x: x * w)
    f(X)
    w.requires_grad_()
    f(X)
    assert f.traces == 2
    w.node = tg.ones(3, dtype=tg.float64).node
    assert f(X).dtype == tg.float64
    assert f.traces == 3


def test_train_and_eval() -> None:
    layer = nn.Dropout(0.5)
    f = tg.jit(lambda x: layer(x))
    dropped = f(tg.ones(100))
    layer.eval()
    assert 0 in dropped
    assert f(tg.ones(100)).tolist() == [1] * 100
    assert f.traces == 2


def test_no_grad() -> None:
    p, _, _ = setup()
    f = tg.jit(lambda x: p * x)
    f(X)
    with tg.no_grad():
        f(X)
        f(X)
    f(X)
    assert f.traces <= 3
    refused_step = setup()[2]
    with tg.no_grad():
        refused(refused_step, "a tensor that depends on nothing that requires grad", X, error=GraphError)


# ---- gradients ------------------------------------------------------------------------------------------------


def test_zero_grad_missing() -> None:
    def trained(wrap: Callable[..., Any]) -> list[Any]:
        p, opt, _ = setup(lr=0.125)

        def step(x: tg.Tensor) -> tg.Tensor:
            loss = (p * x).sum()
            loss.backward()
            opt.step()
            return loss

        run = wrap(step)
        return [(run(X).item(), p.item(), p.grad.item()) for _ in range(4)]

    assert trained(tg.jit) == trained(lambda step: step)


def test_grad_after_a_call() -> None:
    p, _, step = setup()
    f = tg.jit(step)
    f(X)
    assert p.grad is not None
    first = p.grad
    f(2 * X)
    assert (first.item(), p.grad.item()) == (6, 12)


def test_grad_after_fit() -> None:
    p, _, step = setup()
    tg.fit(tg.jit(step), X, epochs=2, progress=False)
    assert p.grad is None


def test_backward_through_a_call() -> None:
    p, _, _ = setup()
    f = tg.jit(lambda x: p * x)
    assert not f(X).requires_grad
    with pytest.raises(GraphError, match="depends on nothing that requires grad"):
        f(X).sum().backward()
    cube = tg.jit(lambda x: (x**3).sum() * p.sum())
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    cube(x).backward()
    assert (x.grad.tolist(), p.grad.item()) == ([3, 12, 27], 36)
    with pytest.raises(GraphError, match=r"a gradient through the call of a compiled.*tg.jit\(tg.grad\(f\)\)"):
        tg.grad(cube)(X)
    with tg.no_grad():
        assert not cube(tg.ones(3, requires_grad=True)).requires_grad


def test_gradient_on_an_argument() -> None:
    def saliency(x: tg.Tensor) -> tg.Tensor:
        (x * x).sum().backward()
        assert x.grad is not None
        return x.grad.max()

    def switched_on(x: tg.Tensor) -> tg.Tensor:
        x.requires_grad_()
        (x**3).sum().backward()
        return x.grad * 1

    def cleared(x: tg.Tensor) -> None:
        x.grad = None
        (x * x).sum().backward()

    for function, grad in ((saliency, False), (saliency, True), (switched_on, False), (cleared, True)):
        found = []
        for jit in (tg.jit, lambda f: f):
            x = tg.tensor([1.0, 2.0, 3.0], requires_grad=function is not switched_on)
            if grad:
                x.grad = tg.full((3,), 10.0)
            compiled = jit(function)
            results = [compiled(x) for _ in range(3)]
            found.append(([r if r is None else r.tolist() for r in results], x.grad.tolist(), x.requires_grad))
        assert found[0] == found[1], function
    with pytest.raises(TraceError, match="a gradient on an argument that is no tensor"):
        tg.jit(lambda x: tg.as_tensor(x).requires_grad_().sum().backward())(np.ones(3, np.float32))


def test_frozen_for_a_time() -> None:
    found = []
    for jit in (tg.jit, lambda f: f):
        p, q = tg.tensor([1.0], requires_grad=True), tg.tensor([2.0], requires_grad=True)
        opts = [optim.SGD([one], lr=0.5) for one in (p, q)]

        def step(x: tg.Tensor, p: tg.Tensor = p, q: tg.Tensor = q, opts: Any = opts) -> tg.Tensor:
            (p * q * x).sum().backward()
            opts[0].step()
            p.requires_grad_(False)
            (p * q * x).sum().backward()
            p.requires_grad_(True)
            opts[1].step()
            return p.grad

        compiled = jit(step)
        found.append([(compiled(X).tolist(), p.tolist(), q.tolist(), p.requires_grad) for _ in range(3)])
    assert found[0] == found[1]


def test_gradient_inside() -> None:
    def cube(x: tg.Tensor) -> tg.Tensor:
        return (x**3).sum()

    assert tg.jit(tg.grad(cube))(X).tolist() == [3, 12, 27]
    assert tg.jit(tg.hessian(cube))(X).tolist() == np.diag([6, 12, 18]).tolist()
    assert tg.jit(lambda x: tg.grad(lambda y: (tg.grad(cube)(y) ** 2).sum())(x))(X).tolist() == [36, 288, 972]


class Double(tg.Function):
    @staticmethod
    def forward(ctx: Any, x: tg.Tensor) -> tg.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> tg.Tensor:
        return g * 2


def test_function() -> None:
    p, _, _ = setup()
    assert tg.jit(lambda x: Double.apply(x))(X).tolist() == [2, 4, 6]
    assert tg.jit(lambda x: tg.autograd.grad(Double.apply(p * x).sum(), p)[0])(X).item() == 12

    class Numpy(tg.Function):
        @staticmethod
        def forward(ctx: Any, x: tg.Tensor) -> Any:
            return tg.tensor(np.sin(x.detach().numpy()))

    refused(lambda x: Numpy.apply(p * x), r"a read of the traced value", X)


# ---- calls ----------------------------------------------------------------------------------------------------


def test_method() -> None:
    class Scaled:
        def __init__(self, factor: float) -> None:
            self.factor = tg.tensor(factor)

        @tg.jit
        def times(self, x: tg.Tensor) -> tg.Tensor:
            return x * self.factor

    one = Scaled(2.0)
    assert one.times(X).tolist() == [2, 4, 6]
    assert Scaled(3.0).times(X).tolist() == [3, 6, 9]
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None


def test_nested() -> None:
    inner = tg.jit(lambda x: x * 2)
    outer = tg.jit(lambda x: inner(x) + 1)
    assert outer(X).tolist() == [3, 5, 7]
    assert (outer.traces, inner.traces) == (1, 0)


def test_threads() -> None:
    total = tg.zeros(())
    f = tg.jit(lambda x: (total.assign(total + x.sum()), x * 2)[1])
    inputs = [tg.full((3,), float(k)) for k in range(8)]
    wrong: list[Any] = []

    def call(x: tg.Tensor) -> None:
        wrong.extend(1 for _ in range(200) if f(x).tolist() != (x * 2).tolist())

    threads = [threading.Thread(target=call, args=(x,)) for x in inputs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert total.item() == 200 * 3 * sum(range(8))


def test_loaded_state() -> None:
    p, opt, step = setup(momentum=0.9)
    compiled = tg.jit(step)
    compiled(X)
    state, value = opt.state_dict(), p.detach().clone()
    compiled(X)
    expected = p.tolist()
    compiled(X)
    opt.load_state_dict(state)
    p.assign(value)
    compiled(X)
    assert p.tolist() == expected


def test_copies_of_a_function() -> None:
    held = nn.Linear(3, 1)
    f = tg.jit(held.forward)
    before = f(X).item()
    model, again = copy.deepcopy((held, f))
    other, unpickled = pickle.loads(pickle.dumps((held, f)))
    for twin, function in ((model, again), (other, unpickled)):
        assert function.traces == 0
        with tg.no_grad():
            twin.bias.add_(1.0)
        assert function(X).item() == pytest.approx(before + 1.0, rel=1e-6)
    assert f(X).item() == before


def test_foreign_argument() -> None:
    for dtype in (">i4", ">i8", ">f4", ">f8"):  # another byte order is none
        array = np.array([1, 2], dtype)
        for x in (array, array[0]):
            assert tg.jit(lambda x: tg.as_tensor(x) * 2)(x).tolist() == (tg.as_tensor(x) * 2).tolist()
    with pytest.raises(DTypeError, match="dtype float16"):
        tg.jit(lambda x: x)(np.ones(3, np.float16))
    with pytest.raises(TraceError, match="an argument of type set"):
        tg.jit(lambda x, names: x)(X, {1})


def test_array_as_data() -> None:
    model = tg.nn.Linear(3, 1)
    f, rows = tg.jit(lambda x: model(x)), np.ones((2, 3))
    assert f(rows).dtype == model(rows).dtype == tg.float32
    with pytest.raises(DTypeError, match=r"\[linear\] got dtypes float64 and float32"):
        tg.jit(lambda x: model(x))(tg.tensor(rows))


def test_integer_division() -> None:
    count, a = tg.zeros(()), tg.tensor([7, 8])
    f = tg.jit(lambda b: (count.add_(1), a // b)[1])
    with pytest.raises(DivisionByZero, match=r"\[floor_divide\] got a divisor of 0 at position \[1\]"):
        f(tg.tensor([2, 0]))
    assert count.item() == 0
    b = tg.tensor([2, 0])
    assert tg.jit(lambda b: tg.where(b == 0, -1, a // tg.where(b == 0, 1, b)))(b).tolist() == [3, -1]


# ---- layers and losses ----------------------------------------------------------------------------------------


def test_ignored_labels() -> None:
    scores, labels = tg.randn(3, 4), tg.tensor([0, -100, 2])
    f = tg.jit(lambda x, y: F.cross_entropy(x, y))
    with pytest.raises(IndexOutOfRange, match=r"label -100 in row 1; expected 0 <= label < 4; hint: .*ignore_index=-1"):
        f(scores, labels)
    with pytest.raises(IndexOutOfRange, match=r"label -100 in row 1 \(epoch 1, batch 0\); .* hint: .*ignore_index=-1"):
        tg.fit(f, (scores, labels), progress=False)
    minus = labels.masked_fill(labels == -100, -1)
    found = tg.jit(lambda x, y: F.cross_entropy(x, y, ignore_index=-1))(scores, minus)
    np.testing.assert_allclose(found.item(), F.cross_entropy(scores, labels).item(), rtol=1e-6)


def test_batch_norm_without_momentum() -> None:
    eager, compiled = nn.BatchNorm1d(3, momentum=None), nn.BatchNorm1d(3, momentum=None)
    f = tg.jit(lambda x: compiled(x))
    for seed in range(4):
        x = tg.randn(8, 3, generator=tg.Generator(seed))
        np.testing.assert_allclose(f(x).numpy(), eager(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    assert compiled.num_batches_tracked is not None
    assert compiled.num_batches_tracked.item() == 4
    for own, other in zip(compiled.buffers(), eager.buffers(), strict=True):
        np.testing.assert_allclose(own.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)


def test_checks_of_values() -> None:
    chance, y = tg.tensor([1.5, 0.5]), tg.tensor([1.0, 0.0])
    with pytest.raises(tg.errors.TinygradError):
        F.binary_cross_entropy(chance, y)
    assert tg.jit(lambda p, y: F.binary_cross_entropy(p, y))(chance, y).shape == ()


# ---- the table ------------------------------------------------------------------------------------------------


def test_the_table_names_these_tests() -> None:
    text = (Path(__file__).parents[1] / "docs" / "compile.md").read_text(encoding="utf-8")
    named = re.findall(r"\| `(test_\w+)` \|$", text, re.MULTILINE)
    own = [name for name in globals() if name.startswith("test_") and name != "test_the_table_names_these_tests"]
    assert sorted(named) == sorted(own)
