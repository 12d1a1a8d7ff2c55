"""Every schedule equals torch.optim.lr_scheduler at every step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import ConfigError
from tinygrad_nn.optim import lr_scheduler as ours

SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 4}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.8, "total_iters": 6}),
    ("PolynomialLR", {"total_iters": 8, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.01}),
    ("CosineAnnealingLR", {"T_max": 30}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 4}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 21, "cycle_momentum": False}),
    (
        "OneCycleLR",
        {"max_lr": 0.5, "epochs": 3, "steps_per_epoch": 7, "anneal_strategy": "linear", "cycle_momentum": False},
    ),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 21, "three_phase": True, "cycle_momentum": False}),
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    ("MultiplicativeLR", {"lr_lambda": lambda t: 1 - 0.01 * t}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 21}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 21, "three_phase": True, "anneal_strategy": "linear"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.5, "step_size_up": 4}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.5, "step_size_up": 4, "step_size_down": 2, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.5, "step_size_up": 3, "mode": "exp_range", "gamma": 0.9}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.5, "step_size_up": 3, "scale_fn": lambda x: 1 / (1 + x)}),
]


def make_pair() -> tuple[tg.optim.Optimizer, Any]:
    torch = pytest.importorskip("torch")
    opt = tg.optim.SGD(
        [{"params": [tg.zeros(1, requires_grad=True)]}, {"params": [tg.zeros(1, requires_grad=True)], "lr": 0.3}],
        lr=0.1,
    )
    other = torch.optim.SGD(
        [{"params": [torch.zeros(1, requires_grad=True)]}, {"params": [torch.zeros(1, requires_grad=True)], "lr": 0.3}],
        lr=0.1,
    )
    return opt, other


def rates(opt: Any) -> list[float]:
    return [float(group["lr"]) for group in opt.param_groups]


def rates_and_momenta(opt: Any) -> list[float]:
    return rates(opt) + [float(group["momentum"]) for group in opt.param_groups]


def walk(opt: Any, schedule: Any, steps: int, of: Any = rates) -> np.ndarray:
    seen = [of(opt)]
    for _ in range(steps):
        opt.step()
        schedule.step()
        seen.append(of(opt))
    return np.array(seen)


@pytest.mark.parametrize(("name", "options"), SCHEDULES, ids=[f"{n}-{k}" for k, (n, _) in enumerate(SCHEDULES)])
def test_equals_torch(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    opt, other = make_pair()
    mine = walk(opt, getattr(ours, name)(opt, **options), 20, rates_and_momenta)
    theirs = walk(other, getattr(torch.optim.lr_scheduler, name)(other, **options), 20, rates_and_momenta)
    np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("name", "options"), SCHEDULES, ids=[f"{n}-{k}" for k, (n, _) in enumerate(SCHEDULES)])
def test_a_group_that_comes_later_goes_along(name: str, options: dict[str, Any]) -> None:
    """Where torch has an answer it is torch's; its others fail, and a group then begins at the rate it came with."""
    torch = pytest.importorskip("torch")
    seen: list[Any] = []
    libraries = ours, torch.optim.lr_scheduler
    for optimizer, make, library in zip(make_pair(), (tg.zeros, torch.zeros), libraries, strict=True):
        schedule = getattr(library, name)(optimizer, **options)
        walk(optimizer, schedule, 2)
        before = schedule.state_dict()["base_lrs"]
        optimizer.add_param_group({"params": [make(1, requires_grad=True)], "lr": 0.8})
        try:
            seen.append(walk(optimizer, schedule, 5))
        except (ValueError, KeyError):  # zip, initial_lr
            assert optimizer.__module__.startswith("torch")
        assert len(before) == 2
    assert np.isfinite(seen[0]).all()
    assert seen[0].shape == (6, 3)
    if len(seen) == 2:
        np.testing.assert_allclose(*seen, rtol=1e-12, atol=1e-15)


def test_a_group_that_comes_later_in_a_sequence_and_with_functions_of_its_own() -> None:
    opt, _ = make_pair()
    each = ours.LambdaLR(opt, [lambda t: 0.5**t, lambda t: 1.0])
    schedule = ours.SequentialLR(opt, [ours.ConstantLR(opt, 0.5, 5), ours.ExponentialLR(opt, 0.5)], [2])
    opt.add_param_group({"params": [tg.zeros(1, requires_grad=True)], "lr": 0.8})
    assert [row[2] for row in walk(opt, schedule, 4).tolist()] == [0.8, 0.8, 0.8, 0.4, 0.2]
    with pytest.raises(ConfigError, match="2 functions for 3 groups"):
        each.step()
    opt.param_groups.pop()
    each.step()


def test_stacked_schedules_multiply_as_in_torch() -> None:
    torch = pytest.importorskip("torch")
    opt, other = make_pair()
    results = []
    for optimizer, library in ((opt, ours), (other, torch.optim.lr_scheduler)):
        first, second = library.ExponentialLR(optimizer, 0.9), library.LinearLR(optimizer, 0.5, total_iters=3)
        seen = [rates(optimizer)]
        for _ in range(6):
            optimizer.step()
            first.step()
            second.step()
            seen.append(rates(optimizer))
        results.append(seen)
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)


def test_sequential_equals_torch() -> None:
    torch = pytest.importorskip("torch")
    opt, other = make_pair()
    results = []
    for optimizer, library in ((opt, ours), (other, torch.optim.lr_scheduler)):
        parts = [
            library.ConstantLR(optimizer, 0.1, total_iters=20),
            library.ExponentialLR(optimizer, 0.9),
            library.StepLR(optimizer, 2),
        ]
        results.append(walk(optimizer, library.SequentialLR(optimizer, parts, [4, 9]), 15))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)


@pytest.mark.parametrize(
    "options", [{}, {"mode": "max", "factor": 0.5}, {"threshold_mode": "abs", "threshold": 0.05}, {"cooldown": 2}]
)
def test_plateau_equals_torch(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    opt, other = make_pair()
    mine = ours.ReduceLROnPlateau(opt, patience=1, **options)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(other, patience=1, **options)
    for k in range(25):
        metric = math.exp(-k / 5) + 0.02 * math.sin(k * 3)
        mine.step(metric)
        theirs.step(metric)
        np.testing.assert_allclose(rates(opt), rates(other), rtol=1e-12)


def test_a_loaded_state_continues() -> None:
    opt, _ = make_pair()
    schedule = ours.StepLR(opt, 3)
    walk(opt, schedule, 4)
    state, at = schedule.state_dict(), rates(opt)
    fresh, _ = make_pair()
    again = ours.StepLR(fresh, 3)
    again.load_state_dict(state)
    for group, lr in zip(fresh.param_groups, at, strict=True):
        group["lr"] = lr
    np.testing.assert_array_equal(walk(fresh, again, 5), walk(opt, schedule, 5))


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda opt: ours.StepLR("opt", 3), "an optimizer"),
        (lambda opt: ours.ConstantLR(opt, factor=2.0), "factor 2.0"),
        (lambda opt: ours.LinearLR(opt, start_factor=0.0), "start_factor 0.0"),
        (lambda opt: ours.CosineAnnealingWarmRestarts(opt, T_0=0), "T_0 0"),
        (lambda opt: ours.OneCycleLR(opt, 0.1), "no length"),
        (lambda opt: ours.OneCycleLR(opt, 0.1, 5, anneal_strategy="sine"), "'cos' or 'linear'"),
        (lambda opt: ours.LambdaLR(opt, [lambda t: 1.0]), "1 functions for 2 groups"),
        (lambda opt: ours.SequentialLR(opt, [ours.StepLR(opt, 1)], [3]), "one milestone fewer"),
        (lambda opt: ours.ReduceLROnPlateau(opt, factor=1.5), "factor 1.5"),
        (lambda opt: ours.ReduceLROnPlateau(opt, mode="best"), "'min' or 'max'"),
    ],
)
def test_wrong_settings_are_named(build: Any, text: str) -> None:
    opt = tg.optim.SGD(
        [{"params": [tg.zeros(1, requires_grad=True)]}, {"params": [tg.zeros(1, requires_grad=True)]}], lr=0.1
    )
    with pytest.raises(ConfigError, match=text):
        build(opt)


def test_one_cycle_ends() -> None:
    opt = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=0.1)
    schedule = ours.OneCycleLR(opt, 0.1, total_steps=3)
    for _ in range(3):  # one after each step: the last rate is used by none
        schedule.step()
    with pytest.raises(ConfigError, match="at most total_steps = 3"):
        schedule.step()


def test_momentum_and_lists_for_each_group() -> None:
    torch = pytest.importorskip("torch")
    for name, options in (
        ("CyclicLR", {"base_lr": [0.01, 0.02], "max_lr": [0.5, 0.1], "step_size_up": 3}),
        ("OneCycleLR", {"max_lr": [0.5, 0.1], "total_steps": 12, "base_momentum": [0.5, 0.6]}),
    ):
        walks = []
        for lib in (tg, torch):
            groups = [{"params": [lib.zeros(1, requires_grad=True)]}, {"params": [lib.zeros(1, requires_grad=True)]}]
            opt = lib.optim.Adam(groups, lr=0.1)
            schedule = getattr(lib.optim.lr_scheduler, name)(opt, **options)
            walks.append([])
            for _ in range(10):
                opt.step()
                schedule.step()
                walks[-1].append([[group["lr"], *group["betas"]] for group in opt.param_groups])
        np.testing.assert_allclose(walks[0], walks[1], rtol=1e-12)


@pytest.mark.filterwarnings("ignore:Detected call of")  # PyTorch's, for schedules alone
def test_steps_to_a_place_chains_and_schedules_of_ones_own() -> None:
    torch = pytest.importorskip("torch")
    walks: list[list[Any]] = []
    for lib, pair in zip((tg, torch), make_pair(), strict=True):
        schedules = lib.optim.lr_scheduler

        class Own(schedules.LRScheduler):  # type: ignore[misc, name-defined]
            def get_lr(self) -> list[float]:
                return [base / (1 + self.last_epoch) for base in self.base_lrs]

        seen = []
        restarts = schedules.CosineAnnealingWarmRestarts(pair, T_0=3, T_mult=2)
        for place in (0.5, 2.25, 3.0, 4.5, 11.0):
            restarts.step(place)
            seen.append(restarts.get_last_lr())
        own = Own(pair)
        own.step()
        seen.append(own.get_last_lr())
        chain = schedules.ChainedScheduler([schedules.ExponentialLR(pair, 0.9), schedules.StepLR(pair, 2)])
        for _ in range(4):
            chain.step()
            seen.append(chain.get_last_lr())
        state = chain.state_dict()
        chain.load_state_dict(state)
        walks.append(seen)
    np.testing.assert_allclose(walks[0], walks[1], rtol=1e-12)


WRONG_CYCLES: list[tuple[Any, str]] = [
    (lambda o: ours.CyclicLR(o, 0.1, 0.5, mode="sine"), "sine"),
    (lambda o: ours.CyclicLR(o, [0.1], 0.5), "1 of base_lr for 2 groups"),
    (lambda o: ours.CyclicLR(o, 0.1, 0.5, step_size_up=0), "step_size_up 0"),
    (lambda o: ours.CyclicLR(o, 0.1, 0.5, scale_fn=3), "scale_fn 3"),
    (lambda o: ours.CyclicLR(tg.optim.Adagrad([tg.zeros(1)]), 0.1, 0.5), "no momentum"),
    (lambda o: ours.OneCycleLR(tg.optim.Adagrad([tg.zeros(1)]), 0.1, 10), "no momentum"),
    (lambda o: ours.OneCycleLR(o, [0.1], 10), "1 of max_lr for 2 groups"),
    (lambda o: ours.ChainedScheduler([]), "schedulers"),
    (lambda o: ours.ChainedScheduler([ours.ReduceLROnPlateau(o)]), "schedules that count steps"),
    (lambda o: ours.ChainedScheduler([ours.StepLR(o, 1)], make_pair()[0]), "another optimizer"),
    (lambda o: ours.ChainedScheduler([ours.StepLR(o, 1)]).load_state_dict({"_schedulers": []}), "1 schedules"),
    (lambda o: ours.MultiplicativeLR(o, [len]), "1 functions for 2 groups"),
    (lambda o: ours.StepLR(o, 1).step(-1), "epoch -1"),
    (lambda o: ours.CosineAnnealingWarmRestarts(o, 2).step(-0.5), "epoch -0.5"),
]


@pytest.mark.parametrize("number", range(len(WRONG_CYCLES)))
def test_wrong_cycles_and_chains(number: int) -> None:
    make, words = WRONG_CYCLES[number]
    with pytest.raises(ConfigError, match=words):
        make(make_pair()[0])
