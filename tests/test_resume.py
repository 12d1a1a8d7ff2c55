"""Checkpoints: a fit that was stopped and goes on has the bits of one that was not; native and eager."""

from __future__ import annotations

import functools
import importlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import callbacks, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.callbacks import Checkpoint
from tinygrad_nn.compiler.run.training import Training
from tinygrad_nn.errors import ConfigError, DataError

X = np.random.default_rng(0).normal(size=(23, 3)).astype(np.float32)
Y = np.sin(X.sum(axis=1, keepdims=True)).astype(np.float32)
BOTH = pytest.mark.parametrize("jitted", [False, True], ids=["eager", "native"])


class Run:
    """A model, what trains it, and what is to be equal in the end."""

    def __init__(self, jitted: bool, optimizer: str = "Adam", schedule: str = "StepLR", seed: int | None = 7) -> None:
        tg.manual_seed(3)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))
        model = self.model
        self.opt = opt = OPTIMIZERS[optimizer](model.parameters())
        self.plan = SCHEDULES[schedule](opt)
        self.noise = noise = tg.Generator(11)

        def step(x: tg.Tensor, y: tg.Tensor) -> dict[str, Any]:
            opt.zero_grad()
            loss = F.mse_loss(model(x + 0.01 * tg.randn(x.shape[0], 3, generator=noise)), y)
            loss.backward()
            opt.step()
            return {"loss": loss, "twice": loss * 2}

        def evaluate() -> dict[str, tg.Tensor]:
            return {"test": F.mse_loss(model(tg.tensor(X)), tg.tensor(Y))}

        self.step = tg.jit(step) if jitted else step
        self.evaluate, self.seed = evaluate, seed

    def fit(self, epochs: int, **options: Any) -> Any:
        hooks = [*options.pop("callbacks", ()), callbacks.Schedule(self.plan)]
        settings = {"batch_size": 5, "seed": self.seed, "evaluate": self.evaluate, "progress": False, **options}
        self.history = tg.fit(self.step, (X, Y), epochs=epochs, callbacks=hooks, **settings)
        return self.history

    def bits(self) -> list[Any]:
        """Everything that a next epoch depends on, and the history."""
        arrays = [value.numpy() for value in self.model.state_dict().values()]
        state = self.opt.state_dict()
        arrays += [value.numpy() for own in state["state"].values() for value in own.values()]
        return [
            [array.tobytes() for array in arrays],
            repr(state["param_groups"]),
            repr(self.plan.state_dict()),
            self.noise.get_state().tolist(),
            tg.random.default_generator.get_state().tolist(),
            {name: self.history[name].tobytes() for name in self.history},
            (self.history.epochs, self.history.evaluated, self.history.stopped),
        ]


OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.1),
    "Adam": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    "NAdam": lambda p: optim.NAdam(p, lr=0.01),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
}
SCHEDULES: dict[str, Callable[..., Any]] = {
    "StepLR": lambda opt: optim.lr_scheduler.StepLR(opt, 3, 0.7),
    "plateau": lambda opt: optim.lr_scheduler.ReduceLROnPlateau(opt, patience=0, cooldown=1, threshold=0.1),
    "cycle": lambda opt: optim.lr_scheduler.OneCycleLR(opt, 0.1, total_steps=20),
    "sequence": lambda opt: optim.lr_scheduler.SequentialLR(
        opt,
        [optim.lr_scheduler.ConstantLR(opt, 0.5, 2), optim.lr_scheduler.CosineAnnealingLR(opt, 5)],
        milestones=[4],
    ),
}


def other_process() -> None:
    """What a new process has: generators that stand somewhere else."""
    tg.manual_seed(99)
    np.random.seed(99)
    random.seed(99)


@pytest.mark.parametrize(
    ("jitted", "options"),
    [
        (False, {"optimizer": "SGD"}),
        (False, {"optimizer": "momentum", "schedule": "plateau"}),
        (False, {"optimizer": "Adam", "schedule": "sequence"}),
        (False, {"optimizer": "RMSprop", "seed": None}),
        (True, {"optimizer": "momentum", "schedule": "plateau"}),
        (True, {"optimizer": "NAdam", "schedule": "cycle"}),
        (True, {"optimizer": "Adam", "schedule": "sequence", "seed": None}),
    ],
    ids=str,
)
def test_the_bits_of_a_run_that_was_not_stopped(jitted: bool, options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    whole = Run(jitted, **options)
    whole.fit(9)
    expected = whole.bits()
    stopped = Run(jitted, **options)
    stopped.fit(4, callbacks=[Checkpoint(path)])
    again = Run(jitted, **options)
    with tg.no_grad():
        again.model[0].weight.add_(1.0)
    other_process()
    history = again.fit(9, resume=path)
    assert again.bits() == expected
    assert (history.metadata["resumed"][0]["epoch"], history.metadata["epochs"]) == (4, 9)
    other_process()
    stopped.fit(9, resume=path)  # the same objects, with what was compiled for them
    assert stopped.bits() == expected


def test_every_epoch_is_a_good_place_to_stop(tmp_path: Path) -> None:
    whole = Run(jitted=False)
    whole.fit(5)
    expected = whole.bits()
    for epoch in range(1, 6):
        path = tmp_path / f"{epoch}.npz"
        Run(jitted=False).fit(epoch, callbacks=[Checkpoint(path)])
        other_process()
        again = Run(jitted=False)
        again.fit(5, resume=path, callbacks=[Checkpoint(path)])
        assert again.bits() == expected
    again.fit(5, resume=path)
    assert again.bits() == expected, "nothing is left to train"


@BOTH
@pytest.mark.parametrize("data", ["ranked by Python", "several lengths", "in order"])
def test_orders(jitted: bool, data: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    columns: Any = rng.normal(size=(2100, 1)).astype(np.float32)
    if data == "several lengths":
        columns = [rng.normal(size=(n, 1)).astype(np.float32) for n in (2, 3, 2, 2, 3, 3, 2)]
    size = 700 if data == "ranked by Python" else 2

    def make() -> tuple[tg.Tensor, Any]:
        w = tg.zeros(1, requires_grad=True)
        opt = optim.SGD([w], lr=0.1, momentum=0.5)

        def step(x: tg.Tensor) -> tg.Tensor:
            opt.zero_grad()
            loss = (x.flatten() * w - 1).square().mean() + w.square().sum()
            loss.backward()
            opt.step()
            return loss

        return w, tg.jit(step) if jitted else step

    def fit(epochs: int, **options: Any) -> Any:
        w, step = make()
        part = columns if data != "in order" else columns[:7]
        settings = {"seed": 4, "shuffle": data != "in order", "batch_size": size, "progress": False}
        return tg.fit(step, part, epochs=epochs, **settings, **options)["loss"].tolist(), w.tolist()

    whole = fit(5)
    fit(3, callbacks=[Checkpoint(tmp_path)])
    assert fit(5, resume=tmp_path) == whole


# ---- where the state is -------------------------------------------------------------------------------------------
# Each case makes a program anew: its step, its callbacks, and what to look at in the end.

Case = tuple[Callable[..., Any], list[Any], Callable[[], Any]]
CASES: dict[str, Callable[[], Case]] = {}


def case(make: Callable[[], Case]) -> Callable[[], Case]:
    CASES[make.__name__] = make
    return make


def trained(loss: Callable[..., Any], *opts: Any) -> Callable[..., Any]:
    def step(x: tg.Tensor) -> Any:
        for opt in opts:
            opt.zero_grad()
        value = loss(x)
        value.backward()
        for opt in opts:
            opt.step()
        return value

    return step


def leaf() -> tg.Tensor:
    return tg.randn(3, requires_grad=True)


@case
def a_method() -> Case:
    class Trainer:
        def __init__(self) -> None:
            self.w = leaf()
            self.opt = optim.Adam([self.w], lr=0.1)
            self.noise = tg.Generator(4)

        def step(self, x: tg.Tensor) -> tg.Tensor:
            noise = tg.rand(3, generator=self.noise)
            return trained(lambda x: ((x * self.w + noise).sum() - 1) ** 2, self.opt)(x)  # type: ignore[no-any-return]

    trainer = Trainer()
    return trainer.step, [], trainer.w.tolist


@case
def a_callable_object_with_slots() -> Case:
    @dataclass(slots=True)
    class Step:
        w: Any
        opt: Any = None
        losses: list[float] = field(default_factory=list)
        tensors: list[Any] = field(default_factory=list)

        def __call__(self, x: tg.Tensor) -> Any:
            self.tensors.append(trained(lambda x: (x * self.w).square().sum(), self.opt)(x).detach())
            self.losses.append(self.tensors[-1].item())
            return self.losses[-1]

    step = Step(leaf())
    step.opt = optim.Adam([step.w], lr=0.1)
    return step, [], lambda: (step.w.tolist(), step.losses[-9:], [t.item() for t in step.tensors[-9:]])


@case
def containers_and_a_partial() -> Case:
    parts: dict[str, Any] = {"nets": [nn.Linear(3, 2), nn.Linear(2, 1)], "mean": tg.zeros(())}
    opts = [optim.Adam(net.parameters(), lr=0.1) for net in parts["nets"]]

    def step(held: dict[str, Any], x: tg.Tensor, opts: Any) -> Any:
        held["mean"] = held["mean"] * 0.5 + x.mean()
        held.setdefault("late", {})["sum"] = held["mean"] + held.get("late", {}).get("sum", 0.0)
        return trained(lambda x: (held["nets"][1](held["nets"][0](x)) - held["late"]["sum"]).square().mean(), *opts)(x)

    def look() -> Any:
        return [p.tolist() for net in parts["nets"] for p in net.parameters()], parts["late"]["sum"].item()

    return functools.partial(step, parts, opts=opts), [], look


SHARED: dict[str, Any] = {}


@case
def globals_and_variables() -> Case:
    SHARED.update(w=leaf(), scale=tg.ones(()))
    SHARED["opt"] = optim.SGD([SHARED["w"]], lr=0.05, momentum=0.5)
    last = tg.zeros(3)

    def step(x: tg.Tensor) -> Any:
        nonlocal last
        last = last * 0.5 + x.mean(0)
        step.decay = getattr(step, "decay", tg.ones(())) * 0.9  # type: ignore[attr-defined]
        SHARED["scale"] *= 0.9
        loss = trained(
            lambda x: SHARED["scale"] * ((x * SHARED["w"] + last).sum() - step.decay) ** 2,  # type: ignore[attr-defined]
            SHARED["opt"],
        )
        return loss(x)

    return step, [], lambda: (SHARED["w"].tolist(), SHARED["scale"].item(), last.tolist())


@case
def generators_of_numpy_and_python() -> Case:
    w, rng, old = leaf(), np.random.default_rng(5), np.random.RandomState(6)
    own = random.Random(7)
    opt = optim.SGD([w], lr=0.05)
    np.random.seed(8)
    random.seed(9)

    def step(x: tg.Tensor) -> Any:
        noise = rng.normal() + old.normal() + own.random() + np.random.normal() + random.random()
        return trained(lambda x: ((x * w).sum() - float(noise)) ** 2, opt)(x)

    return step, [], lambda: (w.tolist(), rng.normal(), old.normal(), own.random(), np.random.normal(), random.random())


class Average:
    """A running mean of the parameters, made at the first call; without state_dict."""

    def __init__(self, w: tg.Tensor) -> None:
        self.w, self.mean = w, None

    def __call__(self, run: Any, logs: Any) -> None:
        now = self.w.detach()
        self.mean = {"w": now} if self.mean is None else {"w": self.mean["w"] * 0.9 + now * 0.1}  # type: ignore[assignment]


class Halving:
    """Halves the rate every three calls; with state_dict, and a begin that forgets and sets the first rate."""

    def __init__(self, opt: Any) -> None:
        self.opt, self.calls = opt, 0

    def begin(self, run: Any) -> None:
        self.calls = 0
        self.opt.param_groups[0]["lr"] = 0.1

    def __call__(self, run: Any, logs: Any) -> None:
        self.calls += 1
        if self.calls % 3 == 0:
            self.opt.param_groups[0]["lr"] *= 0.5

    def state_dict(self) -> dict[str, int]:
        return {"calls": self.calls}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.calls = state["calls"]


@case
def callbacks_of_the_users() -> Case:
    w = leaf()
    opt = optim.Adam([w], lr=0.1)
    average, halving = Average(w), Halving(opt)
    frozen = leaf()

    def thaw(run: Any, logs: Any) -> None:
        frozen.requires_grad_(run.epoch == 3 or frozen.requires_grad)

    frozen.requires_grad_(False)
    slow = optim.SGD([frozen], lr=0.01)
    step = trained(lambda x: ((x * (w + frozen)).sum() - 1) ** 2, opt, slow)

    def look() -> Any:
        return w.tolist(), frozen.tolist(), average.mean["w"].tolist(), halving.calls  # type: ignore[index]

    return step, [average, halving, thaw], look


@case
def gradients_that_add_up() -> Case:
    w = leaf()
    opt = optim.SGD([w], lr=0.001)

    def step(x: tg.Tensor) -> Any:
        loss = ((x * w).sum() - 1) ** 2
        loss.backward()
        opt.step()
        return loss

    return step, [], lambda: (w.tolist(), None if w.grad is None else w.grad.tolist())


@case
def modes_and_hidden_state() -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(tg.randn(3))
            self.table = tg.randn(3)
            self.hidden = tg.zeros(3)
            self.register_buffer("unsaved", tg.zeros(3), persistent=False)

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            self.hidden = (self.hidden * 0.5 + self.w.detach()).detach()
            self.unsaved = nn.Buffer(self.unsaved + 1, persistent=False)
            return (x * self.w).sum() + (self.table * self.hidden).sum() + self.unsaved.sum()

    net = Net()
    opt = optim.SGD(net.parameters(), lr=0.001)

    def once(run: Any, logs: Any) -> None:
        if run.epoch == 2:
            net.eval()

    step = trained(lambda x: (net(x) - float(net.training)) ** 2, opt)
    return step, [once], lambda: (net.w.tolist(), net.hidden.tolist(), net.unsaved.tolist(), net.training)


@case
def a_state_of_tensors() -> Case:
    w, momentum, best = leaf(), tg.zeros(3), tg.tensor(np.inf)

    def step(x: tg.Tensor) -> Any:
        loss = ((x * w).sum() - 1) ** 2
        w.grad = None
        loss.backward()
        g = w.grad
        w.grad = None
        with tg.no_grad():
            momentum.assign(momentum * 0.9 + g)
            w.assign(w - 0.01 * momentum)
            best.assign(tg.minimum(best, loss.detach()))
        return loss

    return step, [], lambda: (w.tolist(), momentum.tolist(), best.item())


@case
def counting_callbacks() -> Case:
    w = leaf()
    opt = optim.Adam([w], lr=0.1)
    average, halving = Average(w), Halving(opt)
    step = trained(lambda x: ((x * w).sum() - 1) ** 2, opt)
    return step, [average, halving], lambda: (w.tolist(), average.mean["w"].tolist(), halving.calls)  # type: ignore[index]


NATIVE = {"counting_callbacks", "a_state_of_tensors", "gradients_that_add_up"}


@pytest.mark.parametrize(
    ("name", "jitted"), [*((name, False) for name in CASES), *((name, True) for name in sorted(NATIVE))]
)
def test_state_is_found_wherever_it_is(name: str, jitted: bool, tmp_path: Path) -> None:
    def run(epochs: int, last: bool = True, **options: Any) -> Any:
        if options.get("resume"):
            other_process()
            tg.rand(1)
        else:
            tg.manual_seed(1)
        step, hooks, look = CASES[name]()
        history = tg.fit(
            tg.jit(step) if jitted else step,
            X[:8],
            epochs=epochs,
            batch_size=3,
            seed=0,
            progress=False,
            callbacks=[*options.pop("keep", []), *hooks],
            **options,
        )
        return history["loss"].tolist(), look() if last else None

    whole = run(7)
    run(4, last=False, keep=[Checkpoint(tmp_path / "run.npz", every=3)])
    assert run(7, resume=tmp_path / "run.npz") == whole


# ---- callbacks, evaluation, history -------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("epoch", [2, 5, 9])
def test_early_stopping_goes_on_counting(jitted: bool, epoch: int, tmp_path: Path) -> None:
    def fit(epochs: int, **options: Any) -> Any:
        tg.manual_seed(0)
        w = tg.zeros(1, requires_grad=True)

        def step(x: tg.Tensor) -> tg.Tensor:
            with tg.no_grad():
                w.assign(w + 1)
            return (w - 3).square().sum()

        first = options.pop("first", [])  # in the list before the others, and called after them all the same
        stopping = callbacks.EarlyStopping([w], patience=4)
        run = tg.fit(
            tg.jit(step) if jitted else step, X, epochs, seed=0, progress=False, callbacks=[*first, stopping], **options
        )
        return run["loss"].tolist(), run.stopped, run.epochs, w.tolist(), stopping.best_epoch

    whole = fit(12)
    assert whole[1:] == ("no better than loss 0 of epoch 3 for 4 epochs", 7, [3.0], 3)
    fit(epoch, first=[Checkpoint(tmp_path, every=3)])
    assert fit(12, resume=tmp_path) == whole


@BOTH
@pytest.mark.parametrize("epochs", [1, 4])
def test_an_evaluation_that_only_a_last_epoch_has(jitted: bool, epochs: int, tmp_path: Path) -> None:
    """4 epochs have scores of the fourth, which 8 epochs evaluated every 3 have not: those go on from the third."""
    runs = [Run(jitted) for _ in range(4)]
    runs[0].fit(8, eval_every=3)
    expected = runs[0].bits()
    runs[1] = Run(jitted)
    runs[1].fit(epochs, eval_every=3, callbacks=[Checkpoint(tmp_path, every=5)])
    assert runs[1].history.evaluated[-1] == epochs
    finished = runs[1].bits()
    runs[2].fit(epochs, eval_every=3, resume=tmp_path)
    assert runs[2].bits() == finished
    runs[3].fit(8, eval_every=3, resume=tmp_path)
    assert runs[3].bits() == expected


def test_callbacks_see_the_epochs_that_are_left(tmp_path: Path) -> None:
    epochs: list[int] = []
    lines = tmp_path / "run.jsonl"

    def fit(epochs_: int, **options: Any) -> None:
        more = [*options.pop("keep", ()), callbacks.JsonLines(lines), lambda run, logs: epochs.append(run.epoch)]
        tg.fit(lambda x: x.mean(), X, epochs_, seed=0, progress=False, callbacks=more, **options)

    fit(5, keep=[Checkpoint(tmp_path / "run", every=3, keep=2)])
    with lines.open("a") as file:
        file.write('{"epoch": 6, "lo')  # killed while it wrote
    fit(7, resume=tmp_path / "run-000003")
    assert epochs == [1, 2, 3, 4, 5, 4, 5, 6, 7]
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [line.get("epoch", "run") for line in found] == ["run", 1, 2, 3, "run", 4, 5, 6, 7]


def test_a_native_run_is_interrupted_for_checkpoints_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    native = Training.run

    def counted(self: Training, epochs: int, *rest: Any) -> int:
        sizes.append(epochs)
        return native(self, epochs, *rest)

    monkeypatch.setattr(Training, "run", counted)
    written = []

    class Noted(Checkpoint):
        def write(self, run: Any) -> None:
            written.append(run.epoch)
            super().write(run)

    one = Run(jitted=True)
    tg.fit(
        one.step, (X, Y), 500, seed=0, progress=False, callbacks=[Noted(tmp_path, every=200), callbacks.LogLines(1000)]
    )
    assert written == [200, 400, 500]
    assert (sum(sizes), max(sizes) > 20) == (500, True)
    assert {sum(sizes[:k]) for k in range(len(sizes) + 1)} >= {200, 400, 500}


def test_from_one_executor_to_the_other(tmp_path: Path) -> None:
    runs = [Run(jitted) for jitted in (False, True, False, True)]
    runs[0] = Run(jitted=False)
    runs[0].fit(6)
    for first, second in ((1, 2), (2, 3)):
        runs[first] = Run(jitted=first == 1)
        runs[first].fit(3, callbacks=[Checkpoint(tmp_path)])
        history = runs[second].fit(6, resume=tmp_path)
        np.testing.assert_allclose(history["loss"], runs[0].history["loss"], rtol=1e-3)


def test_what_ctrl_c_leaves_is_the_last_whole_epoch(tmp_path: Path) -> None:
    whole = Run(jitted=False)
    whole.fit(6)
    expected = whole.bits()
    one = Run(jitted=False)
    plain, calls = one.step, []

    def step(x: tg.Tensor, y: tg.Tensor) -> Any:
        calls.append(1)
        if len(calls) == 13:
            signal.raise_signal(signal.SIGINT)
        return plain(x, y)

    one.step = step
    assert one.fit(6, callbacks=[Checkpoint(tmp_path)]).stopped == "interrupted in epoch 3"
    again = Run(jitted=False)
    again.step = functools.partial(lambda step, *batch: step(*batch), again.step)
    history = again.fit(6, resume=tmp_path)
    assert again.bits() == expected
    assert history.metadata["resumed"][0]["epoch"] == 2


# ---- files --------------------------------------------------------------------------------------------------------


def small(epochs: int, path: Any, **options: Any) -> tuple[tg.Tensor, Any]:
    tg.manual_seed(0)
    w = tg.zeros(1, requires_grad=True)
    opt = optim.SGD([w], lr=0.1)
    keep = Checkpoint(path, options.pop("every", 1), options.pop("keep", 1))
    settings = {"seed": 0, "batch_size": 4, "progress": False, **options}
    data = settings.pop("data", X[:, :1])
    return w, tg.fit(trained(lambda x: (x * w - 1).square().mean(), opt), data, epochs, callbacks=[keep], **settings)


def test_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    small(5, path, every=2, keep=3)
    assert sorted(os.listdir(tmp_path)) == ["run-000002.npz", "run-000004.npz", "run.npz"]
    epochs = {name: tg.load(tmp_path / name)["epoch"] for name in os.listdir(tmp_path)}
    assert epochs == {"run-000002.npz": 2, "run-000004.npz": 4, "run.npz": 5}
    w, history = small(9, path, every=2, keep=3, resume=True)
    assert sorted(os.listdir(tmp_path)) == ["run-000006.npz", "run-000008.npz", "run.npz"]
    whole, expected = small(9, tmp_path / "other.npz")
    assert (w.tolist(), history["loss"].tolist()) == (whole.tolist(), expected["loss"].tolist())
    (tmp_path / "run.npz").write_bytes(b"PK damaged")
    with pytest.raises(DataError, match=r"\[load\] got .*run.npz, which is damaged"):
        small(9, path, resume=True)
    older, _ = small(9, path, resume=tmp_path / "run-000006.npz")
    assert older.tolist() == whole.tolist()
    assert tg.load(path)["state"].keys() == {"opts.0", "default_generator"}


def test_the_same_command_starts_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    first, _ = small(3, path, resume=path)
    again, history = small(3, path, resume=path)
    assert (again.tolist(), history.epochs) == (first.tolist(), 3)
    with pytest.raises(DataError, match=r"no such file; expected a file of callbacks\.Checkpoint"):
        small(3, path, resume=tmp_path / "mistyped.npz")
    assert small(2, tmp_path)[1].epochs == 2
    assert (tmp_path / "checkpoint.npz").exists()


def test_a_checkpoint_holds_the_state_dict_of_the_model(tmp_path: Path) -> None:
    one = Run(jitted=True)
    one.fit(2, callbacks=[Checkpoint(tmp_path)])
    state = tg.load(tmp_path / "checkpoint.npz")["state"]
    other = Run(jitted=False)
    other.model.load_state_dict(state["model"])
    other.opt.load_state_dict(state["opt"])
    assert other.model[4].weight.tolist() == one.model[4].weight.tolist()


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.npz"
    expected, _ = small(6, path)
    replace, writes = Path.replace, []

    def full(self: Path, target: Any) -> Any:
        writes.append(target)
        if len(writes) == 3:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    text = r"\[Checkpoint\] got .*after epoch 3 \(No space left on device\).*hint: the checkpoint of epoch 2 is whole"
    with pytest.raises(OSError, match=text):
        small(6, path)
    assert os.listdir(tmp_path) == ["run.npz"]
    monkeypatch.undo()
    w, history = small(6, path, resume=path)
    assert history.metadata["resumed"][0]["epoch"] == 2
    assert w.tolist() == expected.tolist()


@pytest.mark.parametrize("keep", [1, 3])
def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "run.npz"
    small(1, path)
    name = []
    unlink = Path.unlink

    class Killed(BaseException):
        pass

    def kill(self: Path, target: Any) -> Any:
        name.append(self)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", kill)
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        with pytest.raises(Killed):  # with 3 to keep, while the one before is copied
            small(2, path, keep=keep, resume=path)
    assert unlink is Path.unlink
    assert name[0].exists()
    (tmp_path / ".another.tmp").write_text("not ours")
    small(2, path, resume=path)
    assert sorted(os.listdir(tmp_path)) == [".another.tmp", "run.npz"]


def wrong_file(kind: str, path: Path) -> None:
    tg.save({"model": tg.ones(2)}, path)
    if kind == "pickle":
        path.write_bytes(b"\x80\x04.")


WRONG: list[tuple[str, Any, type[Exception], str]] = [
    ("seed", {"seed": 1}, ConfigError, "of a run with seed 0, and 1 here"),
    ("batch", {"batch_size": 5}, ConfigError, "of a run with batch_size 4, and 5 here"),
    ("order", {"shuffle": False}, ConfigError, "of a run with shuffle True, and False here"),
    ("rhythm", {"eval_every": 2}, ConfigError, "of a run with eval_every 1, and 2 here"),
    ("values", {"data": X[:, 1:2]}, DataError, "of a run on other samples, or on the same ones in another order"),
    ("rows", {"data": X[::-1, :1]}, DataError, "other samples"),
    ("dtype", {"data": X[:, :1].astype(np.int64)}, DataError, "other samples"),
    ("both", {"batch_size": 3, "eval_every": 5}, ConfigError, "batch_size 4, and 3 here; eval_every 1, and 5 here"),
]


@pytest.mark.parametrize(("what", "options", "error", "text"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_another_run_is_refused(
    what: str, options: dict[str, Any], error: type[Exception], text: str, tmp_path: Path
) -> None:
    small(2, tmp_path)
    before = (tmp_path / "checkpoint.npz").read_bytes()
    with pytest.raises(error, match=r"\[fit\] got resume=.*" + text):
        small(4, tmp_path, resume=True, **options)
    assert (tmp_path / "checkpoint.npz").read_bytes() == before


def test_another_program_is_refused(tmp_path: Path) -> None:
    Run(jitted=False).fit(2, callbacks=[Checkpoint(tmp_path)])
    net, opt = nn.Linear(3, 1), None

    def fit(step: Any) -> Any:
        return tg.fit(step, (X, Y), 4, batch_size=5, seed=7, progress=False, resume=tmp_path)

    text = "which holds 'model', 'noise', .* that this fit does not reach, and which does not hold 'net'"
    with pytest.raises(ConfigError, match=text):
        fit(lambda x, y: F.mse_loss(net(x), y) if opt is None else None)
    other = Run(jitted=False)
    other.model[0].weight = nn.Parameter(tg.zeros(8, 4))
    with pytest.raises(ValueError, match="shape"):
        other.fit(4, resume=tmp_path)
    wide = Run(jitted=False)
    wide.model.double()
    with pytest.raises(DataError, match="in another order or dtype"):  # data get the dtype of the model
        wide.fit(4, resume=tmp_path)


def test_renamed_variables_do_no_harm(tmp_path: Path) -> None:
    def fit(epochs: int, renamed: bool, **options: Any) -> Any:
        tg.manual_seed(0)
        net = nn.Linear(3, 1)
        opt = optim.Adam(net.parameters(), lr=0.1)
        if renamed:
            model, adam = net, opt
            step = trained(lambda x: model(x).square().mean(), adam)
        else:
            step = trained(lambda x: net(x).square().mean(), opt)
        return tg.fit(step, X, epochs, seed=0, progress=False, **options)["loss"].tolist(), net.weight.tolist()

    whole = fit(4, renamed=True)
    fit(2, renamed=False, callbacks=[Checkpoint(tmp_path)])
    assert fit(4, renamed=True, resume=tmp_path) == whole


@pytest.mark.parametrize("kind", ["other", "pickle"])
def test_other_files_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    wrong_file(kind, path)
    text = {"other": "which holds something else", "pickle": "which is a pickle and could carry code"}
    with pytest.raises(DataError, match=text[kind]):
        small(2, path, resume=True)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda p: Checkpoint(p, every=0), ConfigError, r"\[Checkpoint\] got every=0"),
        (lambda p: Checkpoint(p, keep=True), ConfigError, "keep=True"),
        (lambda p: Checkpoint(p / "run.safetensors"), DataError, r"another format \(safetensors\)"),
        (lambda p: small(1, p / "no" / "run.npz"), DataError, "a folder that is missing"),
        (lambda p: tg.fit(len, X, resume=True), ConfigError, "resume=True and no Checkpoint"),
        (lambda p: tg.fit(len, X, resume=p / "run.pt"), DataError, r"another format \(PyTorch\)"),
        (lambda p: tg.fit(len, X, resume=p / "nothing"), DataError, "no such file"),
    ],
)
def test_misuse_is_named(call: Any, error: type[Exception], text: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=text):
        call(tmp_path)


def test_state_that_is_not_found_is_an_error_and_can_be_named(tmp_path: Path) -> None:
    def fit(epochs: int, named: bool, **options: Any) -> Any:
        tg.manual_seed(0)
        w, total = leaf(), tg.zeros(3)
        opt = optim.SGD([w], lr=0.1)
        somewhere = weakref.ref(total)

        def loss(x: tg.Tensor) -> Any:
            hidden: Any = somewhere()
            with tg.no_grad():
                hidden.assign(hidden + w.detach())
            return (x * (w + 0.1 * hidden)).square().sum()

        keep = [Checkpoint(tmp_path, state={"total": total} if named else None)]
        step = tg.jit(trained(loss, opt))
        run = tg.fit(step, X, epochs, seed=0, progress=False, callbacks=keep, **options)
        return run["loss"].tolist(), w.tolist(), total.tolist()

    with pytest.raises(ConfigError, match=r"a step that changes a tensor .*\[3\]:float32 .*state={'name': tensor}"):
        fit(4, named=False)
    whole = fit(4, named=True)
    fit(2, named=True)
    assert fit(4, named=True, resume=True) == whole


def test_modules_of_installed_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "nets_of_others.py").write_text(
        "from tinygrad_nn import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        self.inner = nn.Linear(3, 1)\n"
        "    def forward(self, x):\n"
        "        return self.inner(x)\n"
    )
    monkeypatch.syspath_prepend(folder)
    nets = importlib.import_module("nets_of_others")

    def fit(epochs: int, **options: Any) -> Any:
        net = nets.Net()
        opt = optim.SGD(net.parameters(), lr=0.1)
        step = tg.jit(trained(lambda x: net(x).square().mean(), opt))
        return tg.fit(step, X, epochs, seed=0, progress=False, **options)["loss"].tolist()

    tg.manual_seed(0)
    whole = fit(3)
    tg.manual_seed(0)
    fit(1, callbacks=[Checkpoint(tmp_path)])
    assert fit(3, resume=tmp_path) == whole


def test_numbers_are_kept_where_they_are_named(tmp_path: Path) -> None:
    def fit(epochs: int, **options: Any) -> Any:
        tg.manual_seed(0)
        w = leaf()
        opt = optim.SGD([w], lr=0.1)
        count, seen = {"n": 0}, []

        def step(x: tg.Tensor) -> Any:
            count["n"] += 1
            seen.append(tg.tensor(count["n"]))
            return trained(lambda x: (x * w).square().sum() - count["n"] % 3, opt)(x)

        keep = [Checkpoint(tmp_path, state={"count": count})]
        run = tg.fit(step, X, epochs, batch_size=8, seed=0, progress=False, callbacks=keep, **options)
        return run["loss"].tolist(), w.tolist(), count, [one.item() for one in seen]

    whole = fit(4)
    fit(2)
    *rest, seen = fit(4, resume=True)
    assert rest == list(whole[:3])
    assert seen == whole[3][6:], "what a step records by itself is nobody's state"
    with pytest.raises(ConfigError, match=r"state with 'n', a int; expected something that can be given another value"):
        Checkpoint(tmp_path, state={"n": 3})


# ---- killed -------------------------------------------------------------------------------------------------------

PROGRAM = """
import sys, numpy as np
import tinygrad_nn as tg
from tinygrad_nn import callbacks, nn, optim
from tinygrad_nn import functional as F

kind, path, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])
tg.manual_seed(5)
x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
y = np.tanh(x[:, :1])
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))
opt = optim.Adam(model.parameters(), lr=0.01)
plan = optim.lr_scheduler.ExponentialLR(opt, 0.99)

def step(x, y):
    opt.zero_grad()
    loss = F.mse_loss(model(x), y)
    loss.backward()
    opt.step()
    return loss

def tell(run, logs):
    print(run.epoch, flush=True)
    sys.stdin.readline()

tell.only_logs = True
history = tg.fit(
    tg.jit(step) if kind == "native" else step, (x, y), epochs, batch_size=16, seed=1, progress=False, resume=True,
    callbacks=[callbacks.Checkpoint(path, every=3 if kind == "native" else 1), tell, callbacks.Schedule(plan)],
)
state = {"model": model, "opt": opt, "plan": plan, "loss": history["loss"]}
print(history.epochs, [v.numpy().tobytes().hex() for v in (*model.state_dict().values(), tg.tensor(history["loss"]))])
"""


@pytest.mark.parametrize("kind", ["eager", "native"])
def test_killed_at_any_moment(kind: str, tmp_path: Path) -> None:
    """In one of the two epochs after the one it told of: it waits for an answer to each, so it cannot run away."""
    program = tmp_path / "train.py"
    program.write_text(PROGRAM)
    epochs = 60

    def start(folder: str) -> subprocess.Popen[str]:
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        command = [sys.executable, str(program), kind, str(path / "run.npz"), str(epochs)]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen(command, text=True, cwd=Path(tg.__file__).parents[1], **pipes)

    with start("whole") as run:
        expected = run.communicate("\n" * epochs)[0].splitlines()[-1]
    assert expected.startswith(f"{epochs} ")
    chance = random.Random(0)
    seen = []
    for wanted in (7, 41):
        with start("killed") as run:
            assert run.stdin is not None
            assert run.stdout is not None
            for line in run.stdout:
                run.stdin.write("\n" * (1 + (int(line) >= wanted)))
                run.stdin.flush()
                if int(line) >= wanted:
                    break
            if chance.random() < 0.7:
                select.select([run.stdout], [], [], chance.random() * 0.01)
            run.kill()
            seen.append(int(line))
    with start("killed") as run:
        lines = run.communicate("\n" * epochs)[0].splitlines()
    assert lines[-1] == expected
    assert int(lines[0]) > min(seen[-1] - 3, 38), "it went on from a late epoch"
    assert os.listdir(tmp_path / "killed") == ["run.npz"]


def test_a_checkpoint_that_does_not_fit_is_named_with_the_part_that_does_not(tmp_path: Path) -> None:
    def fit(width: int = 3, kind: Any = optim.Adam, **options: Any) -> Any:
        model = nn.Sequential(nn.Linear(3, width), nn.Linear(width, 1))
        opt = kind(model.parameters(), lr=0.1)
        step = trained(lambda x: model(x).square().mean(), opt)
        return tg.fit(step, X[:, :3], progress=False, callbacks=[Checkpoint(tmp_path / "run.npz")], **options)

    fit(epochs=2)
    with pytest.raises(ConfigError, match=r"run.npz', in which '[\w.]+' is of kind Adam, not SGD"):
        fit(epochs=3, kind=optim.SGD, resume=True)
    with pytest.raises(ConfigError, match=r"run.npz', whose '[\w.]+' does not fit: .* shape \(3, 3\) for '0.weight'"):
        fit(epochs=3, width=5, resume=True)
    assert fit(epochs=3, resume=True).epochs == 3
