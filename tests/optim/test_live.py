"""Numbers of an optimizer that change between the calls of a compiled step: one compilation, the numbers of eager code
and of PyTorch; and what such numbers choose is chosen anew.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import Tensor, nn, optim
from tinygrad_nn.errors import ConfigError
from tinygrad_nn.fitting import native

X = np.random.default_rng(0).normal(size=(6, 3))
Y = np.random.default_rng(1).normal(size=(6, 2))

CYCLED = [
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "dampening": 0.5}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adam", {"weight_decay": 0.1}),
    ("AdamW", {"amsgrad": True}),
    ("Adamax", {}),
    ("NAdam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("RAdam", {}),
]
SCHEDULES: dict[str, Callable[[Any, Any], Any]] = {
    "OneCycleLR": lambda lib, opt: lib.optim.lr_scheduler.OneCycleLR(opt, 0.05, 20),
    "CyclicLR": lambda lib, opt: lib.optim.lr_scheduler.CyclicLR(opt, 0.01, 0.05, step_size_up=4),
}
OTHERS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [  # what changes after some steps
    ("SGD", {"momentum": 0.9, "dampening": 0.2}, {"momentum": 0.5, "dampening": 0.4}),
    ("SGD", {"weight_decay": 0.1}, {"weight_decay": 0.3}),
    ("Adam", {"betas": (0.9, 0.99), "eps": 1e-3, "weight_decay": 0.1}, {"betas": (0.8, 0.95), "eps": 1e-2}),
    ("AdamW", {"weight_decay": 0.1}, {"weight_decay": 0.5}),
    ("NAdam", {"momentum_decay": 0.004}, {"momentum_decay": 0.1, "betas": (0.8, 0.9)}),
    ("RAdam", {"betas": (0.9, 0.9)}, {"betas": (0.7, 0.8), "eps": 1e-4}),
    ("Adamax", {}, {"betas": (0.7, 0.8), "eps": 1e-4}),
    ("RMSprop", {"alpha": 0.9, "momentum": 0.5}, {"alpha": 0.8, "momentum": 0.8, "eps": 1e-3}),
    ("Adagrad", {"lr_decay": 0.1}, {"lr_decay": 0.3, "eps": 1e-3}),
    ("Adadelta", {}, {"rho": 0.7, "eps": 1e-3}),
    ("ASGD", {"lambd": 0.01, "alpha": 0.7, "t0": 1.0}, {"lambd": 0.1, "alpha": 0.9, "t0": 0.0}),
    ("Rprop", {}, {"etas": (0.4, 1.3), "step_sizes": (1e-4, 2.0)}),
    ("Adafactor", {"weight_decay": 0.1}, {"weight_decay": 0.3, "beta2_decay": -0.6, "d": 1.5}),
]


@pytest.fixture(autouse=True)
def double() -> Any:
    """PyTorch keeps some rates in the default dtype."""
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


class Run:
    """A model of two layers in float64, ours or PyTorch's, and its optimizer."""

    def __init__(self, lib: Any, name: str, options: dict[str, Any], jit: Callable[[Any], Any] = lambda f: f) -> None:
        self.lib = lib
        own = [np.random.default_rng(k).normal(size=shape) for k, shape in enumerate([(3, 4), (4,), (4, 2)])]
        self.params = [lib.tensor(p, dtype=lib.float64, requires_grad=True) for p in own]
        self.opt = getattr(lib.optim, name)(self.params, lr=0.05, **options)
        self.data = lib.tensor(X, dtype=lib.float64), lib.tensor(Y, dtype=lib.float64)

        def step(x: Any, y: Any) -> Any:
            self.opt.zero_grad()
            w, b, v = self.params
            loss = (((x @ w + b).tanh() @ v - y) ** 2).mean()
            loss.backward()
            self.opt.step()
            return loss

        self.step = jit(step)

    @property
    def group(self) -> Any:
        return self.opt.param_groups[0]

    def go(self, count: int = 1) -> list[float]:
        return [self.step(*self.data).item() for _ in range(count)]


def near(a: list[float], b: list[float]) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-9)


def three(name: str, options: dict[str, Any]) -> tuple[Run, list[Run]]:
    """A compiled run, and those that it has to equal."""
    torch = pytest.importorskip("torch")
    return Run(tg, name, options, tg.jit), [Run(tg, name, options), Run(torch, name, options)]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("name", "options"), CYCLED)
def test_a_schedule_that_cycles_the_momentum_compiles_once(name: str, options: Any, schedule: str) -> None:
    compiled, others = three(name, options)
    seen = []
    for run in (compiled, *others):
        rates = SCHEDULES[schedule](run.lib, run.opt)
        losses = []
        for _ in range(12):
            losses += run.go()
            rates.step()
        seen.append(losses)
    near(seen[0], seen[1])
    near(seen[0], seen[2])
    assert compiled.step.traces == 1


@pytest.mark.parametrize(("name", "options", "change"), OTHERS)
def test_a_number_becomes_live_at_its_first_change(name: str, options: Any, change: Any) -> None:
    compiled, others = three(name, options)
    seen: list[list[float]] = []
    for run in (compiled, *others):
        before = {key: run.group[key] for key in change}
        losses = run.go(3)
        for _ in range(3):
            run.group.update(change)
            losses += run.go(3)
            run.group.update(before)
            losses += run.go(2)
        seen.append(losses)
    near(seen[0], seen[1])
    near(seen[0], seen[2])
    assert compiled.step.traces == 2


@pytest.mark.parametrize(("name", "options", "change"), OTHERS)
def test_what_is_said_to_vary_is_live_from_the_start(name: str, options: Any, change: Any) -> None:
    compiled, eager = Run(tg, name, options, tg.jit), Run(tg, name, options)
    compiled.group.vary(*change)
    for run in (compiled, eager):
        run.go(3)
        run.group.update(change)
    near(compiled.go(3), eager.go(3))
    assert compiled.step.traces == 1


def test_nothing_varies_in_a_step_as_it_is() -> None:
    """The numbers of such an optimizer are constants of the code: the rate and the counter alone are inputs."""
    run = Run(tg, "Adam", {"weight_decay": 0.1}, tg.jit)
    run.go(2)
    assert numbers(run) == 2
    run.group.vary("betas", "weight_decay")
    run.go(2)
    assert numbers(run) == 5
    assert run.step.traces == 2


def numbers(run: Run) -> int:
    return sum(capture.node.shape == () for capture in run.step.entry(run.data, {}).traced.captures)


@pytest.mark.parametrize(("name", "key", "values"), [
    ("SGD", "momentum", (0.9, 0.0, 0.5, 0.7, 0.0)),
    ("SGD", "weight_decay", (0.0, 0.1, 0.2, 0.0, 0.3)),
    ("Adam", "weight_decay", (0.1, 0.0, 0.2)),
    ("RMSprop", "momentum", (0.5, 0.0, 0.5)),
])  # fmt: skip
def test_zero_chooses_the_code(name: str, key: str, values: tuple[float, ...]) -> None:
    def walk(run: Run) -> list[float]:
        run.group.vary(key)
        losses = []
        for value in values:
            run.group[key] = value
            losses += run.go(2)
        return losses

    compiled = Run(tg, name, {key: values[0]}, tg.jit)
    near(walk(compiled), walk(Run(tg, name, {key: values[0]})))  # one after the other: no change but this run's own
    used = [value != 0 for value in values]
    assert compiled.step.traces == sum(a != b for a, b in zip((None, *used), used, strict=False))


@pytest.fixture
def compiled_runs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The native runs of `tg.fit`, each of which was compiled."""
    made: list[Any] = []

    class Counted(native.Training):
        def __init__(self, *args: Any, **settings: Any) -> None:
            made.append(self)
            super().__init__(*args, **settings)

    monkeypatch.setattr(native, "Training", Counted)
    return made


def fitted(run: Run, *callbacks: Any) -> list[float]:
    tg.manual_seed(0)
    data = tuple(one.numpy() for one in run.data)
    return list(tg.fit(run.step, data, epochs=12, batch_size=3, callbacks=callbacks, progress=False)["loss"])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("name", "options"), [("SGD", {"momentum": 0.9}), ("Adam", {})])
def test_fit_with_a_schedule_after_every_epoch(
    name: str, options: Any, schedule: str, compiled_runs: list[Any]
) -> None:
    seen = []
    for jit in (tg.jit, lambda f: f):
        run = Run(tg, name, options, jit)
        seen.append(fitted(run, tg.callbacks.Schedule(SCHEDULES[schedule](tg, run.opt))))
    near(seen[0], seen[1])
    assert len(compiled_runs) == 1


def test_fit_with_a_callback_that_changes_numbers(compiled_runs: list[Any]) -> None:
    """The first change is compiled, and no other."""
    seen = []
    for jit in (tg.jit, lambda f: f):
        run = Run(tg, "AdamW", {}, jit)

        def change(fit: Any, logs: Any, group: Any = run.group) -> None:
            group["betas"] = 0.9 - 0.02 * fit.epoch, 0.99
            group["weight_decay"] *= 1.5

        seen.append(fitted(run, change))
    near(seen[0], seen[1])
    assert len(compiled_runs) == 2


def test_a_schedule_inside_of_the_step() -> None:
    seen = []
    for jit in (tg.jit, lambda f: f):
        run = Run(tg, "SGD", {"momentum": 0.9})
        rates = SCHEDULES["OneCycleLR"](tg, run.opt)

        def step(x: Tensor, y: Tensor, run: Run = run, rates: Any = rates) -> tuple[Tensor, Any]:
            momentum = run.group["momentum"]
            loss = run.step(x, y)
            rates.step()
            return loss, momentum

        f = jit(step)
        seen.append([(loss.item(), momentum) for loss, momentum in (f(*run.data) for _ in range(8))])
        assert getattr(f, "traces", 1) == 1
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-9)


def test_a_number_that_is_read_by_the_function() -> None:
    """It is a number to calculate with, and returned as one; what Python decides by its value is decided anew."""
    run = Run(tg, "SGD", {"momentum": 0.5})
    group = run.group
    group.vary("momentum")

    def reads(x: Tensor) -> Any:
        m = group["momentum"]
        more = 1.0 if m > 0.75 else 0.0
        return x * m + more, m, 1 - m

    f = tg.jit(reads)
    x = tg.ones(2, dtype=tg.float64)
    for m in (0.5, 0.7, 0.8, 0.9):
        group["momentum"] = m
        result, same, rest = f(x)
        assert (result.tolist(), same, rest) == ([m + (m > 0.75)] * 2, m, 1 - m)
        assert type(same) is type(rest) is float
    read = tg.jit(lambda x: x * float(group["momentum"]) + round(10 * float(group["lr"])))
    for m in (0.25, 0.75):
        group["momentum"] = m
        assert read(x).tolist() == [m] * 2
    group["lr"] = 0.5
    assert read(x).tolist() == [5.75] * 2


def test_what_does_not_vary_and_is_read_by_the_function_is_seen_to_change() -> None:
    group = Run(tg, "SGD", {"momentum": 0.5}).group
    f = tg.jit(lambda x: (x * group["momentum"], group["nesterov"]))
    x = tg.ones(1)
    assert f(x)[0].item() == 0.5
    for m in (0.25, 0.5, 0.125):
        group["momentum"] = m
        assert f(x)[0].item() == m
    assert f.traces == 2
    group["nesterov"] = True
    assert f(x)[1] is True


def test_two_functions_one_of_which_was_compiled_before() -> None:
    """Code in which a number is frozen ends with the first change, also when the number comes back."""
    run = Run(tg, "SGD", {"momentum": 0.5})
    old, new = tg.jit(run.step), tg.jit(lambda x, y: run.step(x, y))
    old(*run.data)
    run.group["momentum"] = 0.75
    new(*run.data)
    run.group["momentum"] = 0.5
    old(*run.data)
    run.group["momentum"] = 0.25
    found = [old(*run.data).item(), new(*run.data).item(), old(*run.data).item()]
    eager = Run(tg, "SGD", {"momentum": 0.5})
    for momentum in (0.5, 0.75, 0.5):
        eager.group["momentum"] = momentum
        eager.go()
    eager.group["momentum"] = 0.25
    near(found, eager.go(3))
    assert (old.traces, new.traces) == (2, 1)


def test_one_s_own_optimizer() -> None:
    """`group[name]` in an update is enough; a comparison with other numbers than 0 is code."""

    class Own(optim.Optimizer):
        def initial_state(self, p: Tensor, group: Any) -> dict[str, Tensor]:
            return {"v": tg.zeros_like(p)}

        def update(self, p: Tensor, g: Tensor, state: Any, group: Any) -> Any:
            v = state["v"] * group["momentum"] + g
            if group["momentum"] >= 0.8:
                v = v * 0.5
            return p - group["lr"] * v, {"v": v}

    found = []
    for jit in (tg.jit, lambda f: f):
        p = tg.tensor([1.0, -2.0], dtype=tg.float64, requires_grad=True)
        opt = Own([p], {"lr": 0.1, "momentum": 0.5})

        def step(p: Tensor = p, opt: Any = opt) -> None:
            opt.zero_grad()
            (p * p).sum().backward()
            opt.step()

        f = jit(step)
        for momentum, lr in ((0.5, 0.1), (0.6, 0.05), (0.7, 0.1), (0.85, 0.1), (0.9, 0.2)):
            opt.param_groups[0].update(momentum=momentum, lr=lr)
            f()
        found.append(p.tolist())
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_python_may_calculate_with_a_number_that_varies() -> None:
    """What it computes of numbers has a value, which is part of the code once it is asked for, and else is live."""
    group = Run(tg, "Adam", {"betas": (0.5, 0.9)}).group
    group.vary("betas", "weight_decay")

    def f(x: Tensor) -> Any:
        (first, second), decay = group["betas"], group["weight_decay"]
        rest = [x * -first, x * (1 - second**3) / abs(-decay - 1), x * (first + second) ** 0.5, x * (2 // second)]
        return rest, first * second

    def g(x: Tensor) -> Any:
        first, second = group["betas"]
        slow = "slow" if 1 - second < 0.2 else "fast"
        return x * math.sqrt(1 - first**2), slow, f"{-first:.2f}", max(first, 0.6)

    x = tg.ones(2, dtype=tg.float64)
    compiled, decided = tg.jit(f), tg.jit(g)
    for betas in ((0.5, 0.9), (0.75, 0.95), (0.25, 0.5), (0.75, 0.5)):
        group["betas"] = betas
        (found, product), (expected, number) = compiled(x), f(x)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-14)
        assert type(product) is float
        assert product == number
        one, *words = decided(x)
        other, *others = g(x)
        assert (one.tolist(), words) == (other.tolist(), others)
    assert (compiled.traces, decided.traces) == (1, 4)


def test_states_go_along() -> None:
    run = Run(tg, "Adam", {}, tg.jit)
    rates = SCHEDULES["OneCycleLR"](tg, run.opt)
    for _ in range(3):
        run.go()
        rates.step()
    model, state, schedule = [p.detach().clone() for p in run.params], run.opt.state_dict(), rates.state_dict()
    assert state["param_groups"][0]["betas"] == run.group["betas"]

    def on(run: Run, rates: Any) -> list[float]:
        losses = []
        for _ in range(4):
            losses += run.go()
            rates.step()
        return losses

    expected = on(run, rates)
    for p, value in zip(run.params, model, strict=True):
        p.assign(value)
    run.opt.load_state_dict(state)
    rates.load_state_dict(schedule)
    assert on(run, rates) == expected
    assert run.step.traces == 1
    other = Run(tg, "Adam", {}, tg.jit)
    other.go()
    again = SCHEDULES["OneCycleLR"](tg, other.opt)
    for p, value in zip(other.params, model, strict=True):
        p.assign(value)
    other.opt.load_state_dict(state)
    again.load_state_dict(schedule)
    assert on(other, again) == expected
    assert other.step.traces == 2


def test_each_group_by_itself() -> None:
    def make(jit: Any) -> tuple[Any, Any]:
        layers = nn.Linear(3, 2), nn.Linear(2, 1)
        tg.manual_seed(1)
        for layer in layers:
            layer.reset_parameters()
        opt = optim.SGD([{"params": list(layer.parameters())} for layer in layers], lr=0.1, momentum=0.5)

        def step(x: Tensor) -> Tensor:
            opt.zero_grad()
            loss = (layers[1](layers[0](x).tanh()) ** 2).mean()
            loss.backward()
            opt.step()
            return loss

        return opt, jit(step)

    (opt, step), (other, eager) = make(tg.jit), make(lambda f: f)
    x = tg.tensor(X, dtype=tg.float32)
    for k in range(5):
        for one in (opt, other):
            one.param_groups[1]["momentum"] = 0.5 + 0.1 * k
        np.testing.assert_allclose(step(x).item(), eager(x).item(), rtol=1e-5)
    assert step.traces == 2
    assert "momentum" in opt.param_groups[1]._varying
    assert "momentum" not in opt.param_groups[0]._varying


def test_copies_vary_too() -> None:
    run = Run(tg, "SGD", {"momentum": 0.5})
    run.group.vary("momentum")
    twin = copy.deepcopy(run.opt)
    assert twin.param_groups[0].live("momentum") is not run.group.live("momentum")
    twin.param_groups[0]["momentum"] = 0.25
    assert (run.group.live("momentum").item(), twin.param_groups[0].live("momentum").item()) == (0.5, 0.25)


def test_live_tensors_follow() -> None:
    group = Run(tg, "Adam", {"betas": (0.8, 0.9)}).group
    first, second = group.live("betas", part=0), group.live("betas", tg.float32, part=1)
    group["betas"] = (0.5, 0.75)
    assert (first.item(), second.item()) == (0.5, 0.75)
    assert (first.dtype, second.dtype) == (tg.float64, tg.float32)
    assert group.live("betas", part=0) is first
    with pytest.raises(ConfigError, match="beta"):
        group["betas"] = (0.5, 1.5)
    assert (group["betas"], first.item()) == ((0.5, 0.75), 0.5)


@pytest.mark.parametrize(("names", "words"), [
    (("moment",), "a hyperparameter 'moment'; expected some of dampening, lr, momentum, weight_decay"),
    (("nesterov",), "nesterov False; expected a number"),
    (("params",), "params .*; expected a number"),
    (("foreach",), "a hyperparameter 'foreach'"),
    ((3,), "a hyperparameter 3"),
    (("lr", "momentum", "nope"), "a hyperparameter 'nope'"),
])  # fmt: skip
def test_wrong_names(names: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Run(tg, "SGD", {"momentum": 0.5}).group.vary(*names)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "0.9", None, (0.9, 0.8)])
def test_a_wrong_value_leaves_the_live_one(value: Any) -> None:
    run, other = Run(tg, "SGD", {"momentum": 0.5}, tg.jit), Run(tg, "SGD", {"momentum": 0.5})
    run.group.vary("momentum")
    run.go(2)
    with pytest.raises(ConfigError, match="momentum"):
        run.group["momentum"] = value
    near(run.go(2), other.go(4)[2:])
    assert run.step.traces == 1
