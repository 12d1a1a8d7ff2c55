"""A program that is compiled, and its twin that is not, under the same random acts of a user: whatever is replaced,
loaded, shared, written or switched in between, they hold the same numbers.

Everything is float64. Of the real programs both agree to a few units of the last place, and steps are small: large ones
make much of little. The exact one computes with short binary fractions, so that no sum is rounded, whatever its order:
there they agree in every bit.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

import tinygrad_nn as tg
from tinygrad_nn import nn, optim

NUMBERS = st.sampled_from([0.0, 0.25, 0.75, -1.0])
ACTS = ("", "data", "clear", "hook")  # of a callback
PLACES = st.integers(0, 3)  # of a parameter
OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda ps: optim.SGD(ps, lr=0.01, momentum=0.5),
    "Adam": lambda ps: optim.Adam(ps, lr=0.01),
    "RMSprop": lambda ps: optim.RMSprop(ps, lr=0.002),
}


EXACT = "exact"
EXACT_SGD: Callable[[Any], optim.Optimizer] = lambda ps: optim.SGD(ps, lr=2.0**-6, momentum=0.5)  # noqa: E731
SHARING = ("SGD", f"{EXACT} again")
KINDS = [*OPTIMIZERS, EXACT, f"{EXACT} again"]  # more of those, where nothing escapes


def rows(seed: int, count: int = 6) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(-8, 9, (count, 3)) / 4


class Program:
    """A model that is trained, with everything around it."""

    def __init__(self, jit: Any, kind: str) -> None:
        self.jit = jit
        self.exact = kind not in OPTIMIZERS
        self.noise = tg.Generator(5)
        tg.manual_seed(1)
        middle = (nn.ReLU(), Centered()) if self.exact else (nn.Tanh(), nn.BatchNorm1d(4))
        self.model = nn.Sequential(nn.Linear(3, 4), *middle, nn.Linear(4, 1))
        self.model.double()
        self.shorten()
        self.opt = EXACT_SGD(self.model.parameters()) if self.exact else OPTIMIZERS[kind](self.model.parameters())
        self.schedule = optim.lr_scheduler.StepLR(self.opt, 2, 0.5)
        self.array = np.ones(3)
        # What shares memory is looked at in every call, which would hide that others are not.
        self.scale = tg.from_numpy(self.array) if kind in SHARING else tg.tensor(self.array)
        self.count = tg.tensor(0)
        self.compile()
        self.kept: list[Any] = []
        self.removers: list[Any] = []
        self.seen: list[Any] = []

    def compile(self) -> None:
        self.step, self.predict, self.shift = self.jit(self.train_on), self.jit(self.forward), self.jit(shift)

    def forward(self, x: Any) -> Any:
        return self.model(x * self.scale)

    def train_on(self, x: Any) -> Any:
        self.opt.zero_grad()
        noisy = x + 0.125 * tg.randint(0, 2, x.shape, generator=self.noise)
        loss = ((self.forward(noisy) - x.sum(1, keepdim=True)) ** 2).sum() * 0.125
        if any(p.requires_grad for p in self.model.parameters()):
            loss.backward()
        self.opt.step()
        self.count.assign(self.count + 1)
        self.shorten()
        return loss

    @tg.no_grad()
    def shorten(self) -> None:
        """Let parameters be short fractions."""
        for p in self.model.parameters() if self.exact else ():
            p.assign(short(p))

    def parameter(self, place: int) -> tuple[nn.Module, str]:
        return self.model[0 if place < 2 else -1], "bias" if place % 2 else "weight"

    def numbers(self) -> list[Any]:
        """Everything that can be looked at."""
        held = [self.noise.get_state(), self.count, self.scale, *self.model.state_dict().values()]
        for owned in self.opt.state_dict()["state"].values():
            held += owned.values()
        held += [p.grad for p in self.model.parameters() if p.grad is not None]
        return [np.array(x.detach().numpy(), np.float64) for x in held]


class Centered(nn.Module):
    """What is left without a mean over the batches so far."""

    def __init__(self) -> None:
        self.mean = nn.Buffer(tg.zeros(4))

    def forward(self, x: Any) -> Any:
        if self.training:
            with tg.no_grad():
                self.mean.assign(short(self.mean * 0.5 + x.sum(0) * 0.125))
        return x - self.mean


def short(x: Any) -> Any:
    return (x.clamp(-2, 2) * 64).round() / 64


def shift(x: Any, y: Any) -> Any:
    """Writes to an argument."""
    x += 1
    return y * 2


class Twins(RuleBasedStateMachine):
    """The two programs, and what a user does to both."""

    @initialize(kind=st.sampled_from(KINDS))
    def begin(self, kind: str) -> None:
        self.twins = [Program(jit, kind) for jit in (lambda function: function, tg.jit)]

    def both(self, act: Callable[[Program], Any]) -> None:
        """Do it to both; what they return is the same."""
        same(*[act(one) for one in self.twins], self.twins[0].exact)

    def change(self, act: Callable[[Program], Any]) -> None:
        """The same, between two steps of which the first is compiled and has found everything as it left it."""
        for _ in range(2):
            self.train(0, 6)
        self.both(act)
        self.train(0, 6)

    @rule(seed=st.integers(0, 3), count=st.sampled_from([6, 4]))
    def train(self, seed: int, count: int) -> None:
        self.both(lambda one: [one.step(tg.tensor(rows(seed, count))).item()])

    @rule(seed=st.integers(0, 3))
    def predict(self, seed: int) -> None:
        self.both(lambda one: one.predict(tg.tensor(rows(seed))).detach().numpy())

    @rule(shuffle=st.booleans(), batch=st.sampled_from([2, 4, None]), act=st.sampled_from(ACTS))
    def fit(self, shuffle: bool, batch: int | None, act: str) -> None:
        def run(one: Program) -> Any:
            data = rows(7)

            def change(run: Any, logs: Any) -> None:
                if run.epoch == 2 and act == "data":
                    data[:] *= 1.5
                if run.epoch == 2 and act == "clear":
                    one.opt.state.clear()
                if run.epoch == 2 and act == "hook":
                    one.removers.append(one.model[1].register_forward_hook(lambda module, args, out: out * 0.5))

            one.opt.zero_grad()  # a native run leaves no gradients
            history = tg.fit(
                one.step, data, 3, batch, shuffle, seed=3, progress=False, callbacks=[change] if act else []
            )
            one.opt.zero_grad()
            return history["loss"]

        self.both(run)

    @rule()
    def save(self) -> None:
        for one in self.twins:
            one.kept.append((one.model.state_dict(), one.opt.state_dict(), one.noise.get_state()))

    @rule(what=st.sampled_from(["model", "optimizer", "noise"]))
    def load(self, what: str) -> None:
        def act(one: Program) -> None:
            if one.kept:
                model, opt, noise = one.kept[-1]
                if what == "model" and one.model.state_dict().keys() == model.keys():
                    one.model.load_state_dict(model)
                elif what == "optimizer":
                    one.opt.load_state_dict(opt)
                elif what == "noise":
                    one.noise.set_state(noise)

        self.change(act)

    @rule(seed=st.integers(0, 3))
    def seed_noise(self, seed: int) -> None:
        self.change(lambda one: one.noise.manual_seed(seed) and None)

    @rule(way=st.sampled_from(["clear", "pop", "replace", "put"]))
    def spoil_state(self, way: str) -> None:
        def act(one: Program) -> None:
            if way == "clear":
                one.opt.state.clear()
            elif way == "replace":
                one.opt.state = {}
            elif one.opt.state:
                p = next(iter(one.opt.state))
                if way == "pop":
                    one.opt.state.pop(p)
                else:
                    name = list(one.opt.state[p])[-1]
                    one.opt.state[p][name] = tg.full_like(one.opt.state[p][name], 0.25)

        self.change(act)

    @rule(place=PLACES, value=NUMBERS)
    def replace_parameter(self, place: int, value: float) -> None:
        def act(one: Program) -> None:
            module, name = one.parameter(place)
            setattr(module, name, nn.Parameter(tg.full_like(getattr(module, name).detach(), value)))

        self.change(act)

    @rule(kind=st.sampled_from([nn.ReLU, nn.Sigmoid, nn.Tanh]))
    def replace_module(self, kind: Any) -> None:
        def act(one: Program) -> None:
            one.model[1] = nn.Hardtanh() if one.exact and kind is not nn.ReLU else kind()

        self.change(act)

    @rule()
    def share_parameter(self) -> None:
        self.change(lambda one: setattr(one.model[2], "bias", one.model[0].bias))

    @rule()
    def new_optimizer_group(self) -> None:
        def act(one: Program) -> None:
            known = {id(p) for group in one.opt.param_groups for p in group["params"]}
            fresh = [p for p in one.model.parameters() if id(p) not in known]
            if fresh:
                one.opt.add_param_group({"params": fresh})
                one.kept.clear()

        self.change(act)

    @rule(place=PLACES, value=NUMBERS)
    def write_view(self, place: int, value: float) -> None:
        def act(one: Program) -> None:
            module, name = one.parameter(place)
            with tg.no_grad():
                getattr(module, name)[0].fill_(value)

        self.change(act)

    @rule(value=NUMBERS)
    def write_array(self, value: float) -> None:
        self.change(lambda one: one.array.__setitem__(1, value))

    @rule(
        name=st.sampled_from(["lr", "momentum", "betas", "weight_decay"]),
        value=st.sampled_from([0.0, 2.0**-8, 2.0**-7]),
    )
    def set_hyperparameter(self, name: str, value: float) -> None:
        def act(one: Program) -> None:
            if name in one.opt.param_groups[0] and not (name == "momentum" and "alpha" in one.opt.param_groups[0]):
                one.opt.param_groups[0][name] = (0.5 + value, 0.9) if name == "betas" else value

        self.change(act)

    @rule()
    def step_schedule(self) -> None:
        self.change(lambda one: one.schedule.step())

    @rule(on=st.booleans())
    def mode(self, on: bool) -> None:
        self.change(lambda one: one.model.train(on) and None)

    @rule(place=PLACES, on=st.booleans())
    def requires_grad(self, place: int, on: bool) -> None:
        def act(one: Program) -> None:
            module, name = one.parameter(place)
            getattr(module, name).requires_grad_(on)

        self.change(act)

    @rule(place=PLACES, value=st.sampled_from([None, 0.5]))
    def replace_gradient(self, place: int, value: float | None) -> None:
        def act(one: Program) -> None:
            module, name = one.parameter(place)
            p = getattr(module, name)
            if p.requires_grad:
                p.grad = None if value is None else tg.full_like(p.detach(), value)

        self.change(act)

    @rule(none=st.booleans())
    def zero_grad(self, none: bool) -> None:
        self.change(lambda one: one.opt.zero_grad(set_to_none=none))

    @rule(place=PLACES)
    def hook(self, place: int) -> None:
        def act(one: Program) -> None:
            module, name = one.parameter(place)
            p = getattr(module, name)
            one.removers.append(module.register_forward_hook(lambda module, args, result: result + 0.125))
            if p.requires_grad:
                one.removers.append(p.register_hook(lambda gradient: gradient * 0.5))

        self.change(act)

    @rule()
    def remove_hook(self) -> None:
        self.change(lambda one: one.removers.pop()() if one.removers else None)

    @rule(way=st.sampled_from(["other", "same", "view", "state"]))
    def write_argument(self, way: str) -> None:
        def act(one: Program) -> Any:
            x = tg.tensor([1.0, 2.0])
            if way == "state":
                one.shift(one.count, tg.tensor(1))
                return one.shift(tg.tensor(1), one.count).item()
            y = {"other": tg.tensor([5.0, 6.0]), "same": x, "view": x[:1]}[way]
            return [*one.shift(x, y).tolist(), *x.tolist(), *y.tolist()]

        self.both(act)

    @rule(pickled=st.booleans())
    def copy_all(self, pickled: bool) -> None:
        if any(one.removers for one in self.twins):
            return  # what is made of lambdas cannot be pickled, and a copy has its own
        for k, one in enumerate(self.twins):
            if pickled:
                file = io.BytesIO(pickle.dumps((one.model, one.opt)))
                one.model, one.opt = pickle.load(file)
                one.compile()  # names that a function uses are looked up once
            else:
                self.twins[k] = copy.deepcopy(one)

    @rule()
    def look(self) -> None:
        """Not after every act: compiled code notices that somebody looked."""
        same(*(one.numbers() for one in self.twins), self.twins[0].exact)

    def teardown(self) -> None:
        if hasattr(self, "twins"):
            self.look()


def same(eager: Any, compiled: Any, exact: bool) -> None:
    """Equal but for rounding; or, bit for bit."""
    if eager is None or compiled is None:
        assert eager is compiled
        return
    pairs = zip(eager, compiled, strict=True) if isinstance(eager, list) else [(eager, compiled)]
    for one, other in pairs:
        if exact:
            assert np.asarray(other, np.float64).tobytes() == np.asarray(one, np.float64).tobytes(), (one, other)
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-9)


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=10, stateful_step_count=12, deadline=None, derandomize=True)
