"""What optimizers offer beside their steps: hooks, names, groups, flags, closures, and a base for one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import ConfigError, DTypeError, GraphError, TinygradError, TraceError

torch = pytest.importorskip("torch")


def weight(lib: Any = tg) -> Any:
    return lib.tensor([1.0, -2.0, 3.0], requires_grad=True)


def test_hooks_come_in_order_and_go() -> None:
    w = weight()
    opt = tg.optim.SGD([w], lr=0.1)
    seen: list[Any] = []
    first = opt.register_step_pre_hook(lambda o, args, kwargs: seen.append(("before", args, kwargs)))
    opt.register_step_post_hook(lambda o, args, kwargs: seen.append("after"))
    (w * w).sum().backward()
    opt.step()
    assert seen == [("before", (None,), {}), "after"]
    first.remove()
    opt.register_step_pre_hook(lambda o, args, kwargs: ((lambda: tg.tensor(5.0),), {}))
    loss = opt.step()
    assert loss is not None
    assert loss.item() == 5.0
    assert seen[1:] == ["after", "after"]
    order: list[str] = []
    opt.register_state_dict_pre_hook(lambda o: order.append("second"))
    opt.register_state_dict_pre_hook(lambda o: order.append("first"), prepend=True)
    opt.register_state_dict_post_hook(lambda o, state: {**state, "more": 1})
    opt.register_load_state_dict_pre_hook(lambda o, state: {k: v for k, v in state.items() if k != "more"})
    opt.register_load_state_dict_post_hook(lambda o: order.append("loaded"))
    state = opt.state_dict()
    assert state["more"] == 1
    opt.load_state_dict(state)
    assert order == ["first", "second", "loaded"]


def test_hooks_in_a_compiled_step() -> None:
    w = weight()
    opt = tg.optim.SGD([w], lr=0.1)
    opt.register_step_post_hook(lambda o, args, kwargs: [p.mul_(0.5) for p in o.param_groups[0]["params"]])

    @tg.jit
    def step() -> tg.Tensor:
        opt.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        opt.step()
        return loss

    step()
    np.testing.assert_allclose(w.detach().numpy(), np.array([1.0, -2.0, 3.0]) * 0.8 * 0.5, rtol=1e-6)


@pytest.mark.parametrize("lib", [tg, torch], ids=["ours", "theirs"])
def test_an_optimizer_of_ones_own_as_it_is_written_for_pytorch(lib: Any) -> None:
    class Own(lib.optim.Optimizer):  # type: ignore[misc, name-defined]
        def __init__(self, params: Any, lr: float = 0.1, momentum: float = 0.5) -> None:
            super().__init__(params, {"lr": lr, "momentum": momentum})

        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is None:
                        continue
                    state = self.state[p]
                    if len(state) == 0:
                        state["step"] = 0
                        state["velocity"] = lib.zeros_like(p.data)
                    state["step"] += 1
                    state["velocity"].mul_(group["momentum"]).add_(p.grad.data)
                    p.data.add_(state["velocity"], alpha=-group["lr"] / state["step"])

    w = weight(lib)
    opt = Own([{"params": [w], "lr": 0.2}])
    for _ in range(3):
        opt.zero_grad()
        (w * w).sum().backward()
        opt.step()
    np.testing.assert_allclose(w.detach().numpy(), [0.256, -0.512, 0.768], rtol=1e-5)
    assert opt.state[w]["step"] == 3
    assert opt.defaults == {"lr": 0.1, "momentum": 0.5}
    state = opt.state_dict()
    again = Own([w])
    again.load_state_dict(state)
    assert again.state[w]["step"] == 3
    assert again.param_groups[0]["lr"] == 0.2


def test_parameters_with_names() -> None:
    model = tg.nn.Linear(2, 3)
    opt = tg.optim.AdamW(model.named_parameters(), lr=0.1)
    assert opt.param_groups[0]["param_names"] == ["weight", "bias"]
    assert opt.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    extra = weight()
    opt.add_param_group(param_group={"params": [("extra", extra)], "lr": 0.5})
    assert opt.param_groups[1]["param_names"] == ["extra"]
    with pytest.raises(ConfigError, match="names for all or for none"):
        opt.add_param_group({"params": [weight()]})
    with pytest.raises(ConfigError, match="names for all or for none"):
        tg.optim.SGD([("a", weight()), weight()])


def test_flags_of_pytorch_that_change_nothing() -> None:
    for name in ("SGD", "Adam", "AdamW", "Adagrad"):
        getattr(tg.optim, name)([weight()], foreach=True, fused=False)
        getattr(tg.optim, name)([weight()], fused=True)
    tg.optim.Adam([weight()], capturable=True)


def test_decoupled_adam_is_adamw() -> None:
    a, b = weight(), weight()
    left = tg.optim.Adam([a], lr=0.1, weight_decay=0.3, decoupled_weight_decay=True)
    right = tg.optim.AdamW([b], lr=0.1, weight_decay=0.3)
    for opt, w in ((left, a), (right, b)):
        for _ in range(3):
            opt.zero_grad()
            (w * w).sum().backward()
            opt.step()
    assert a.tolist() == b.tolist()


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_lbfgs_finds_the_valley_of_rosenbrock_as_pytorch(line_search: str | None) -> None:
    paths: list[list[Any]] = []
    for lib in (tg, torch):
        p = lib.tensor([-1.5, 2.0], dtype=lib.float64, requires_grad=True)
        lr = 1.0 if line_search else 0.001
        opt = lib.optim.LBFGS([p], lr=lr, max_iter=6, history_size=4, line_search_fn=line_search)

        def closure(p: Any = p, opt: Any = opt) -> Any:
            opt.zero_grad()
            loss = 100 * (p[1] - p[0] ** 2) ** 2 + (1 - p[0]) ** 2
            loss.backward()
            return loss

        paths.append([])
        for _ in range(6):
            loss = opt.step(closure)
            paths[-1].append([float(loss.detach()), *p.tolist()])
    np.testing.assert_allclose(paths[0], paths[1], rtol=1e-6)
    if line_search:
        assert paths[0][-1][0] < 0.5


def test_lbfgs_with_a_compiled_closure() -> None:
    x, y = tg.randn(20, 3), tg.randn(20, 1)
    model = tg.nn.Linear(3, 1)
    opt = tg.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")

    @tg.jit
    def closure() -> tg.Tensor:
        opt.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        return loss

    first = float(opt.step(closure))
    a = np.c_[x.numpy(), np.ones(20)]
    best = np.mean((a @ np.linalg.lstsq(a, y.numpy(), rcond=None)[0] - y.numpy()) ** 2)
    assert float(closure()) == pytest.approx(best, rel=1e-4)
    assert first > best


def inside() -> Any:
    opt = tg.optim.LBFGS([weight()])
    return tg.jit(lambda: opt.step(lambda: tg.tensor(1.0)))()


WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: tg.optim.SGD([weight()], foreach=True, fused=True), ConfigError, "one of the two"),
    (lambda: tg.optim.Adam([weight()], differentiable=True), ConfigError, "differentiable"),
    (lambda: tg.optim.Adam([weight()], foreach="yes"), ConfigError, "foreach 'yes'"),
    (lambda: tg.optim.Optimizer([weight()], [1]), ConfigError, "defaults"),
    (lambda: tg.optim.SGD([weight()]).register_step_pre_hook(3), ConfigError, "hook 3"),
    (lambda: tg.optim.SGD([weight()]).step(3), ConfigError, "closure 3"),
    (lambda: tg.optim.ASGD([weight()], lr=-1), ConfigError, "lr -1"),
    (lambda: tg.optim.Rprop([weight()], etas=(1.5, 1.2)), ConfigError, "etas"),
    (lambda: tg.optim.Rprop([weight()], etas=(0.5, 0.9)), ConfigError, "etas"),
    (lambda: tg.optim.Rprop([weight()], step_sizes=(0, 1)), ConfigError, "step size"),
    (lambda: tg.optim.Rprop([weight()], step_sizes=3), ConfigError, "two numbers"),
    (lambda: tg.optim.Adafactor([weight()], beta2_decay=0.5), ConfigError, "beta2_decay 0.5"),
    (lambda: tg.optim.Adafactor([weight()], d=0.5), ConfigError, "d 0.5"),
    (lambda: tg.optim.Adafactor([weight()], eps=1e-3), ConfigError, "eps"),
    (lambda: tg.optim.Adafactor([weight()], eps=(None, -1)), ConfigError, "eps"),
    (lambda: tg.optim.Muon([weight()]), ConfigError, r"\(3,\)"),
    (lambda: tg.optim.Muon([tg.ones(2, 2, requires_grad=True)], ns_coefficients=(1, 2)), ConfigError, "three"),
    (lambda: tg.optim.Muon([tg.ones(2, 2, requires_grad=True)], ns_steps=100), ConfigError, "ns_steps 100"),
    (lambda: tg.optim.Muon([tg.ones(2, 2, requires_grad=True)], adjust_lr_fn="x"), ConfigError, "adjust_lr_fn"),
    (lambda: tg.optim.LBFGS([weight()], line_search_fn="armijo"), ConfigError, "armijo"),
    (lambda: tg.optim.LBFGS([weight()], max_iter=0), ConfigError, "max_iter 0"),
    (lambda: tg.optim.LBFGS([{"params": [weight()]}, {"params": [weight()]}]), ConfigError, "2 groups"),
    (lambda: tg.optim.LBFGS([weight(), tg.ones(1, dtype=tg.float64)]), DTypeError, "float32 and float64"),
    (lambda: tg.optim.LBFGS([weight()]).step(), ConfigError, "closure None"),
    (lambda: tg.optim.LBFGS([weight()]).step(lambda: None), GraphError, "None"),
    (inside, TraceError, "outside"),
    (
        lambda: tg.optim.LBFGS([weight()]).load_state_dict({"state": {0: {"d": 1}}, "param_groups": []}),
        TinygradError,
        r"^\[LBFGS\]",
    ),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_refused(number: int) -> None:
    call, kind, words = WRONG[number]
    with pytest.raises(kind, match=words):
        call()


def test_an_optimizer_shares_the_groups_of_another() -> None:
    weight = tg.ones(2, requires_grad=True)
    outer = tg.optim.Optimizer([weight], {"lr": 0.5, "rho": 0.1})
    inner = tg.optim.SGD(outer.param_groups, momentum=0.9)
    assert inner.param_groups[0] is outer.param_groups[0]
    assert dict(inner.param_groups[0]).items() >= {"lr": 0.5, "rho": 0.1, "momentum": 0.9, "nesterov": False}.items()
    outer.param_groups[0]["lr"] = 0.25
    weight.grad = tg.ones(2)
    inner.step()
    assert weight.tolist() == [0.75, 0.75]
    with pytest.raises(ConfigError, match="momentum"):
        tg.optim.SGD(tg.optim.Optimizer([weight], {"lr": 0.1, "momentum": -1.0}).param_groups)


@pytest.mark.parametrize(
    "use",
    [
        lambda p, g, lr: p.add_(g, alpha=-lr),
        lambda p, g, lr: p.sub_(g, alpha=lr),
        lambda p, g, lr: p.addcmul_(g, g, value=-lr),
        lambda p, g, lr: p.addcdiv_(g, g.abs() + 1, value=-lr),
        lambda p, g, lr: p.lerp_(g, lr),
        lambda p, g, lr: p.copy_(p.addmv(g.diag(), g, beta=1 - lr, alpha=-lr)),
        lambda p, g, lr: p.data.mul_(1 - lr).add_(-lr * g),
    ],
)
def test_a_rate_that_changes_may_stand_wherever_a_number_may(use: Callable[..., Any]) -> None:
    class Own(tg.optim.Optimizer):
        def __init__(self, params: Any, lr: float) -> None:
            super().__init__(params, {"lr": lr})

        @tg.no_grad()
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    use(p, p.grad, group["lr"])

    def trained(compiled: bool) -> np.ndarray[Any, Any]:
        w = weight()
        opt = Own([w], 0.1)

        def step() -> None:
            opt.zero_grad()
            (w * w).sum().backward()
            opt.step()

        run = tg.jit(step) if compiled else step
        for lr in (0.1, 0.2, 0.0, 1.0):
            opt.param_groups[0]["lr"] = lr
            run()
        return w.detach().numpy()

    np.testing.assert_allclose(trained(True), trained(False), rtol=1e-5)
