"""Every optimizer equals torch.optim step for step, and says what is wrong with wrong settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import ConfigError, ShapeError

CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "weight_decay": 0.1, "eps": 1e-3}),
    ("Adam", {"lr": 0.05, "amsgrad": True}),
    ("Adam", {"lr": 0.05, "maximize": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True}),
    ("Adamax", {"lr": 0.05}),
    ("Adamax", {"lr": 0.05, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.05}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.05}),
    ("RAdam", {"lr": 0.05, "betas": (0.5, 0.9), "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.05, "betas": (0.5, 0.9), "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RMSprop", {"lr": 0.05}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.05, "centered": True, "alpha": 0.9, "eps": 1e-4}),
    ("RMSprop", {"lr": 0.05, "centered": True, "momentum": 0.5}),
    ("Adagrad", {"lr": 0.05}),
    ("Adagrad", {"lr": 0.05, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1, "eps": 1e-3}),
]
IDS = [f"{name}-{'-'.join(f'{k}={v}' for k, v in options.items())}" for name, options in CONFIGS]


def starts(dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.normal(size=(3, 4)).astype(dtype), rng.normal(size=(4,)).astype(dtype)]


def our_loss(ps: list[Any], k: int) -> Any:
    return ((ps[0] * ps[0]).sum() * 0.5 + ((ps[0] * ps[1]).sin() * (k + 1)).sum()) * 0.1


def run_ours(name: str, options: dict[str, Any], dtype: str, steps: int) -> tuple[list[tg.Tensor], Any]:
    ps = [tg.tensor(value).requires_grad_() for value in starts(dtype)]
    opt = getattr(tg.optim, name)(ps, **options)
    for k in range(steps):
        opt.zero_grad()
        our_loss(ps, k).backward()
        opt.step()
    return ps, opt


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "options"), CONFIGS, ids=IDS)
def test_equals_torch_step_for_step(
    name: str, options: dict[str, Any], dtype: str, request: pytest.FixtureRequest
) -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))  # torch keeps NAdam's product of momenta in the default dtype
    request.addfinalizer(lambda: torch.set_default_dtype(before))
    ours = [tg.tensor(value).requires_grad_() for value in starts(dtype)]
    theirs = [torch.tensor(value, requires_grad=True) for value in starts(dtype)]
    opt, other = getattr(tg.optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for k in range(8):
        for ps, optimizer in ((ours, opt), (theirs, other)):
            optimizer.zero_grad()
            our_loss(ps, k).backward()
            optimizer.step()
        for p, q in zip(ours, theirs, strict=True):
            tolerance = 1e-12 if dtype == "float64" else 2e-6
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "options"), CONFIGS, ids=IDS)
def test_a_loaded_state_continues_the_run(name: str, options: dict[str, Any]) -> None:
    straight, _ = run_ours(name, options, "float64", 6)
    ps, opt = run_ours(name, options, "float64", 3)
    again = getattr(tg.optim, name)(ps, **options)
    again.load_state_dict(opt.state_dict())
    for k in range(3, 6):
        again.zero_grad()
        our_loss(ps, k).backward()
        again.step()
    for p, q in zip(ps, straight, strict=True):
        assert p.tolist() == q.tolist()


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("name", sorted({name for name, _ in CONFIGS}))
def test_a_parameter_without_axes_keeps_its_dtype(name: str, compiled: bool) -> None:
    torch = pytest.importorskip("torch")
    results = []
    for lib in (tg, torch):
        w = lib.tensor(0.5, requires_grad=True)
        opt = getattr(lib.optim, name)([w], lr=0.1)

        def step(w: Any = w, opt: Any = opt) -> Any:
            opt.zero_grad()
            loss = w * w * 3
            loss.backward()
            opt.step()
            return loss

        run = tg.jit(step) if compiled and lib is tg else step
        results.append([float(run().detach()) for _ in range(4)] + [w.item()])
        assert w.dtype == lib.float32
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)


def test_groups_have_their_own_settings() -> None:
    a, b = tg.tensor([1.0], requires_grad=True), tg.tensor([1.0], requires_grad=True)
    opt = tg.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1)
    (a + b).sum().backward()
    opt.step()
    np.testing.assert_allclose([a.item(), b.item()], [0.9, 0.5], rtol=1e-6)


def test_a_changed_rate_counts_at_once() -> None:
    p = tg.tensor([1.0], requires_grad=True)
    opt = tg.optim.SGD([p], lr=0.1)
    p.sum().backward()
    opt.step()
    opt.param_groups[0]["lr"] *= 2
    opt.step()
    np.testing.assert_allclose(p.item(), 0.7, rtol=1e-6)


def test_tied_parameters_are_updated_once() -> None:
    p = tg.tensor([1.0], requires_grad=True)
    opt = tg.optim.SGD([p, p], lr=0.1)
    p.sum().backward()
    opt.step()
    np.testing.assert_allclose(p.item(), 0.9, rtol=1e-6)


def test_parameters_without_gradient_stay() -> None:
    p, q = tg.tensor([1.0], requires_grad=True), tg.tensor([2.0], requires_grad=True)
    opt = tg.optim.Adam([p, q])
    p.sum().backward()
    opt.step()
    assert q.tolist() == [2.0]


def test_closure_runs_with_gradients() -> None:
    p = tg.tensor([1.0], requires_grad=True)
    opt = tg.optim.SGD([p], lr=0.1)

    def closure() -> tg.Tensor:
        opt.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        loss = opt.step(closure)
    assert loss is not None
    assert loss.item() == 1.0
    np.testing.assert_allclose(p.item(), 0.8, rtol=1e-6)


def test_the_step_leaves_no_graph_behind() -> None:
    ps, opt = run_ours("Adam", {}, "float64", 2)
    assert all(p.is_leaf and p.requires_grad for p in ps)
    assert all(
        not value.requires_grad and not value.node.inputs for own in opt.state.values() for value in own.values()
    )


@pytest.mark.parametrize(("name", "options"), CONFIGS, ids=IDS)
def test_untaped_values_give_the_bits_that_tensors_give(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = getattr(tg.optim, name)
    assert kind.untaped
    for dtype in ("float32", "float64"):
        fast, _ = run_ours(name, options, dtype, 3)
        with monkeypatch.context() as patch:
            patch.setattr(kind, "untaped", False)
            slow, _ = run_ours(name, options, dtype, 3)
        for a, b in zip(fast, slow, strict=True):
            assert a.detach().numpy().tobytes() == b.detach().numpy().tobytes()


def test_an_update_of_ones_own_is_given_tensors() -> None:
    seen = []

    class Mine(tg.optim.SGD):
        def update(self, p: tg.Tensor, g: tg.Tensor, state: Any, group: Any) -> Any:
            seen.append((type(p), type(g), type(group.live("lr"))))
            return super().update(p, g, state, group)

    p = tg.tensor([1.0], requires_grad=True)
    opt = Mine([p], lr=0.5)
    (p * p).sum().backward()
    opt.step()
    assert seen == [(tg.Tensor, tg.Tensor, tg.Tensor)]
    assert p.tolist() == [0.0]


def test_minimize_finds_the_minimum() -> None:
    p = tg.tensor([3.0, -2.0], dtype=tg.float64, requires_grad=True)
    result = tg.optim.minimize(lambda: ((p - 1) ** 4).sum() + (p * p).sum() * 0, [p], gtol=1e-12, ftol=1e-15)
    np.testing.assert_allclose(p.tolist(), [1.0, 1.0], atol=2e-3)
    assert result.success


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (lambda p: tg.optim.SGD([], lr=0.1), ConfigError, "no parameters"),
        (lambda p: tg.optim.SGD(p, lr=0.1), ConfigError, "a single tensor"),
        (lambda p: tg.optim.SGD([p], lr=-1), ConfigError, "lr -1"),
        (lambda p: tg.optim.SGD([p], momentum=0.0, nesterov=True), ConfigError, "nesterov"),
        (lambda p: tg.optim.Adam([p], betas=(1.0, 0.9)), ConfigError, "beta 1.0"),
        (lambda p: tg.optim.Adam([p * 2]), ConfigError, "computed from others"),
        (lambda p: tg.optim.Adam([3]), ConfigError, "type int"),
        (lambda p: tg.optim.SGD([{"params": [p]}, {"params": [p]}]), ConfigError, "another group"),
        (lambda p: tg.optim.minimize(lambda: p.sum(), []), ConfigError, "no parameters"),
    ],
)
def test_wrong_settings_are_named(build: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        build(tg.tensor([1.0], requires_grad=True))


def test_a_state_of_other_shapes_changes_nothing() -> None:
    _, opt = run_ours("Adam", {}, "float64", 2)
    state = opt.state_dict()
    state["state"][0]["exp_avg"] = tg.zeros(2, dtype=tg.float64)
    before = opt.state
    with pytest.raises(ShapeError, match=r"exp_avg of shape \(2,\)"):
        opt.load_state_dict(state)
    assert opt.state is before


@pytest.mark.parametrize("jitted", [False, True], ids=["eager", "jitted"])
def test_a_state_is_loaded_into_what_a_compiled_step_holds(jitted: bool) -> None:
    """Also the one of before the first step, which has no tensors yet."""
    p = tg.tensor([1.0, -2.0], requires_grad=True)
    opt = tg.optim.Adam([p], lr=0.1)

    def step(x: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = (p * x).square().sum()
        loss.backward()
        opt.step()
        return loss

    run = tg.jit(step) if jitted else step
    x = tg.tensor([1.0, 3.0])
    states, paths = [], []
    for _ in range(4):
        states.append((p.detach().clone(), opt.state_dict()))
        run(x)
        paths.append(p.tolist())
    for k, (value, state) in enumerate(states):
        with tg.no_grad():
            p.assign(value)
        opt.load_state_dict(state)
        for path in paths[k:]:
            run(x)
            assert p.tolist() == path


@pytest.mark.parametrize(
    ("name", "options", "change"),
    [
        ("SGD", {"lr": 0.1}, {"momentum": 0.9}),
        ("SGD", {"lr": 0.1}, {"momentum": 0.9, "dampening": 0.5}),
        ("SGD", {"lr": 0.1, "momentum": 0.9}, {"dampening": 0.5}),
        ("RMSprop", {"lr": 0.01}, {"momentum": 0.9}),
        ("Adam", {"lr": 0.01}, {"amsgrad": True}),
        ("RMSprop", {"lr": 0.01}, {"centered": True}),
    ],
)
@pytest.mark.parametrize("jitted", [False, True])
def test_hyperparameters_that_need_more_state_later(name: str, options: Any, change: Any, jitted: bool) -> None:
    """It begins then. PyTorch has no such state for the last two and for momentum of RMSprop, and a KeyError."""
    torch = pytest.importorskip("torch")
    p, q = tg.tensor([1.0, -2.0], requires_grad=True), torch.tensor([1.0, -2.0], requires_grad=True)
    opt, other = getattr(tg.optim, name)([p], **options), getattr(torch.optim, name)([q], **options)

    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (p * p * x).sum()
        loss.backward()
        opt.step()
        return loss

    run = tg.jit(step) if jitted else step
    for k in range(6):
        if k == 3:
            opt.param_groups[0].update(change)
            other.param_groups[0].update(change)
            own = {"momentum": "momentum_buffer", "amsgrad": "max_exp_avg_sq", "centered": "grad_avg"}
            for key in change if name != "SGD" else ():
                other.state[q][own[key]] = torch.zeros(2)
        run(tg.tensor([1.0, 0.5]))
        other.zero_grad()
        (q * q * torch.tensor([1.0, 0.5])).sum().backward()
        other.step()
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5)
