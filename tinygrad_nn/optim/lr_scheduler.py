"""Learning-rate schedules, with torch's names, arguments and numbers. Call `scheduler.step()` after
`optimizer.step()`.

A schedule is one function: `rate(t, group, base)` gives the learning rate at step t. Those that torch defines
relative to the current rate (`rate * gamma`) read `group["lr"]`, so schedules that are stacked on one optimizer
multiply, as in torch.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from ..errors import ConfigError, message
from ..support.settings import check_kinds, choice, flags, integer, mapping, number
from ..support.settings import shown as named
from ..tensor.context import deferred
from .optimizer import Optimizer, ParamGroup, outdate
from .plateau import ReduceLROnPlateau as ReduceLROnPlateau
from .plateau import checked_optimizer, shown


class LRScheduler:
    """Base of the schedules: counts steps in `last_epoch` and writes `group["lr"]`.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> isinstance(StepLR(opt, 2), LRScheduler)
    True
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = checked_optimizer(self, optimizer)
        last_epoch = integer(type(self).__name__, "last_epoch", last_epoch, least=-1)
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                got = f"last_epoch {last_epoch} and a group without initial_lr"
                raise ConfigError(
                    message(type(self).__name__, got, "initial_lr in every group", "load the optimizer's state first")
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def rate(self, t: int, group: ParamGroup, base: float) -> float:
        """The learning rate of a group at step t, given its first one."""
        raise ConfigError(message(type(self).__name__, "no schedule", "a subclass that defines rate(t, group, base)"))

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next step, or to another one. In a compiled function that is done when a call is over."""
        if deferred(type(self).__name__, self.step, *(() if epoch is None else (epoch,))):
            outdate(self.optimizer)
            return
        if epoch is not None:
            integer(type(self).__name__, "epoch", epoch, least=0)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._write()

    def get_lr(self) -> list[float]:
        """The rates of this step, group by group. A schedule of one's own defines this, or `rate`."""
        return [self.rate(self.last_epoch, group, base) for group, base in self._groups()]

    def _write(self) -> None:
        for (group, _), rate in zip(self._groups(), self.get_lr(), strict=False):
            group["lr"] = rate

    def _groups(self) -> list[tuple[ParamGroup, float]]:
        """The groups with their first rates; for one that was added since, the rate it came with."""
        groups = self.optimizer.param_groups
        added = [group.setdefault("initial_lr", group["lr"]) for group in groups[len(self.base_lrs) :]]
        self.base_lrs = [*self.base_lrs, *added]
        return list(zip(groups, self.base_lrs, strict=False))

    def get_last_lr(self) -> list[float]:
        """The learning rate of every group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def __repr__(self) -> str:
        return shown(self, skip=("base_lrs", "phases"))

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer (and functions)."""
        return {key: value for key, value in vars(self).items() if key != "optimizer" and not callable(value)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state_dict: all of it or, on error, nothing."""
        name = type(self).__name__
        own = {key: value for key, value in self.state_dict().items() if not key.startswith("_")}
        check_kinds(name, state_dict, own)
        count = len(self.optimizer.param_groups)
        if len(state_dict["base_lrs"]) != count:
            raise ConfigError(message(name, f"{len(state_dict['base_lrs'])} base_lrs for {count} groups", "one each"))
        before = dict(vars(self))
        vars(self).update((key, state_dict[key]) for key in own)
        try:
            self._check()
        except Exception as error:
            vars(self).update(before)
            got = f"a state of which no learning rate follows ({error})"
            raise ConfigError(message(name, got, "what state_dict() gives")) from None

    def _check(self) -> None:
        """Work out the rates of now, and forget them."""
        integer(type(self).__name__, "last_epoch", self.last_epoch, least=-1)
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            number(type(self).__name__, "base_lr", base)
            if type(self).rate is not LRScheduler.rate:
                number(type(self).__name__, "lr", self.rate(max(self.last_epoch, 1), group, base))


def _steps(owner: str, milestones: Any) -> list[int]:
    """Step numbers, in the order given."""
    if not isinstance(milestones, (list, tuple)) and len(getattr(milestones, "shape", ())) != 1:
        raise ConfigError(message(owner, f"milestones {named(milestones)}", "a list of steps"))
    return [integer(owner, "milestone", step, least=0) for step in milestones]


class LambdaLR(LRScheduler):
    """base * function(t); one function, or one per group.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = LambdaLR(opt, lambda epoch: 1 / (1 + epoch))
    >>> for _ in range(3):
    ...     opt.step()
    ...     schedule.step()
    ...     print(round(schedule.get_last_lr()[0], 4))
    0.5
    0.3333
    0.25
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        count = len(checked_optimizer(self, optimizer).param_groups)
        functions = [lr_lambda] * count if callable(lr_lambda) else lr_lambda
        if not isinstance(functions, (list, tuple)):
            raise ConfigError(message("LambdaLR", f"a {type(functions).__name__}", "a function of the step number"))
        for function in functions:
            if not callable(function):
                raise ConfigError(message("LambdaLR", f"a {type(function).__name__}", "a function of the step number"))
        if len(functions) != count:
            raise ConfigError(message("LambdaLR", f"{len(functions)} functions for {count} groups", "one each"))
        self._functions = lr_lambda if callable(lr_lambda) else tuple(functions)
        super().__init__(optimizer, last_epoch)

    def _write(self) -> None:
        self._scale([base for _, base in self._groups()])

    def _scale(self, rates: Sequence[float]) -> None:
        name, groups, given = type(self).__name__, self.optimizer.param_groups, self._functions
        functions = [given] * len(groups) if callable(given) else given
        if len(functions) < len(groups):
            raise ConfigError(message(name, f"{len(functions)} functions for {len(groups)} groups", "one each"))
        for group, rate, function in zip(groups, rates, functions, strict=False):
            factor = function(self.last_epoch)
            group["lr"] = rate * number(name, f"factor of step {self.last_epoch}", factor, least=0)

    def state_dict(self) -> dict[str, Any]:
        """The counters; the functions are the caller's to restore."""
        return {key: value for key, value in super().state_dict().items() if key != "_functions"}


class MultiplicativeLR(LambdaLR):
    """The rate times function(t) at every step but the first; one function, or one per group.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = MultiplicativeLR(opt, lambda epoch: 0.5)
    >>> for _ in range(3):
    ...     opt.step()
    ...     schedule.step()
    ...     print(round(schedule.get_last_lr()[0], 4))
    0.5
    0.25
    0.125
    """

    def _write(self) -> None:
        if self.last_epoch > 0:
            self._scale([group["lr"] for group, _ in self._groups()])


class StepLR(LRScheduler):
    """The rate times gamma every `step_size` steps.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = tg.optim.lr_scheduler.StepLR(opt, step_size=2, gamma=0.5)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(opt.param_groups[0]["lr"])
    ...     schedule.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.5]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        steps: Any = step_size
        if isinstance(steps, float) and steps.is_integer():  # 1.0, as some have it
            steps = int(steps)
        self.step_size = integer("StepLR", "step_size", steps, least=1)
        self.gamma = number("StepLR", "gamma", gamma, least=0)
        super().__init__(optimizer, last_epoch)

    def rate(self, t: int, group: ParamGroup, base: float) -> float:
        """Relative to the current rate."""
        return group["lr"] if t == 0 or t % self.step_size else group["lr"] * self.gamma  # type: ignore[no-any-return]


class MultiStepLR(LRScheduler):
    """The rate times gamma at each milestone.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = MultiStepLR(opt, milestones=[2, 3])
    >>> for _ in range(3):
    ...     opt.step()
    ...     schedule.step()
    ...     print(round(schedule.get_last_lr()[0], 4))
    1.0
    0.1
    0.01
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = dict(Counter(_steps("MultiStepLR", milestones)))
        self.gamma = number("MultiStepLR", "gamma", gamma, least=0)
        super().__init__(optimizer, last_epoch)

    def _check(self) -> None:
        for step, times in self.milestones.items():
            integer("MultiStepLR", "milestone", step, least=0)
            integer("MultiStepLR", "times of a milestone", times, least=1)
        super()._check()

    def rate(self, t: int, group: ParamGroup, base: float) -> float:
        """Relative to the current rate."""
        return group["lr"] * self.gamma ** self.milestones.get(t, 0)  # type: ignore[no-any-return]


class ExponentialLR(LRScheduler):
    """The rate times gamma every step.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = ExponentialLR(opt, gamma=0.5)
    >>> for _ in range(3):
    ...     opt.step()
    ...     schedule.step()
    ...     print(round(schedule.get_last_lr()[0], 4))
    0.5
    0.25
    0.125
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = number("ExponentialLR", "gamma", gamma, least=0)
        super().__init__(optimizer, last_epoch)

    def rate(self, t: int, group: ParamGroup, base: float) -> float:
        """Relative to the current rate."""
        return group["lr"] * (self.gamma if t else 1.0)  # type: ignore[no-any-return]


class ConstantLR(LRScheduler):
    """The rate times `factor` for the first `total_iters` steps.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = ConstantLR(opt, factor=0.5, total_iters=2)
    >>> for _ in range(3):
    ...     opt.step()
    ...     schedule.step()
    ...     print(round(schedule.get_last_lr()[0], 4))
    0.5
    1.0
    1.0
    """

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        self.factor = number("ConstantLR", "factor", factor, above=0, most=1)  # the end divides by it
        self.total_iters = integer("ConstantLR", "total_iters", total_iters, least=1)
        super().__init__(optimizer, last_epoch)

    def rate(self, t: int, group: ParamGroup, base: float) -> float:
        """Relative to the current rate."""
        if t == 0:
            return group["lr"] * self.factor  # type: ignore[no-any-return]
        return group["lr"] / self.factor if t == self.total_iters else group["lr"]  # type: ignore[no-any-return]


class LinearLR(LRScheduler):
    """The factor goes linearly from `start_factor` to `end_factor` in `total_iters` steps.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = LinearLR(opt, start_factor=0.25, total_iters=3)
    >>> for _ in range(3):
    ...     opt.step()
    ...     schedule.step()
    ...     print(round(schedule.get_last_lr()[0], 4))
    0.5
    0.75
    1.0
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = number("LinearLR", "start_factor", start_factor, above=0, most=1)
        self.end_factor = number("LinearLR", "end_factor", end_factor, least=0, most=1)
        self.total_iters = integer("LinearLR", "total_iters", total_iters, least=1)
        super().__init__(optimizer, last_epoch)

    def rate(self, t: int, group: ParamGroup, base: float) -> float:
        """Relative to the current rate."""
        if t == 0:
            return group["lr"] * self.start_factor  # type: ignore[no-any-return]
        if t > self.total_iters:
            return group["lr"]  # type: ignore[no-any-return]
        slope = self.end_factor - self.start_factor
        return group["lr"] * (1 + slope / (self.total_iters * self.start_factor + (t - 1) * slope))  # type: ignore[no-any-return]


class PolynomialLR(LRScheduler):
    """The rate falls to 0 as (1 - t / total_iters) ** power.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = PolynomialLR(opt, total_iters=4)
    >>> for _ in range(3):
    ...     opt.step()
    ...     schedule.step()
    ...     print(round(schedule.get_last_lr()[0], 4))
    0.75
    0.5
    0.25
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = integer("PolynomialLR", "total_iters", total_iters, least=1)
        self.power = number("PolynomialLR", "power", power, least=0)
        super().__init__(optimizer, last_epoch)

    def rate(self, t: int, group: ParamGroup, base: float) -> float:
        """Relative to the current rate."""
        if t == 0 or t > self.total_iters:
            return group["lr"]  # type: ignore[no-any-return]
        now, before = 1 - t / self.total_iters, 1 - (t - 1) / self.total_iters
        return group["lr"] * (now / before) ** self.power  # type: ignore[no-any-return]


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the first rate to `eta_min` in T_max steps: Loshchilov and Hutter, SGDR, ICLR 2017.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = CosineAnnealingLR(opt, T_max=4)
    >>> for _ in range(3):
    ...     opt.step()
    ...     schedule.step()
    ...     print(round(schedule.get_last_lr()[0], 4))
    0.8536
    0.5
    0.1464
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = integer("CosineAnnealingLR", "T_max", T_max, least=1)
        self.eta_min = number("CosineAnnealingLR", "eta_min", eta_min, least=0)
        super().__init__(optimizer, last_epoch)

    def rate(self, t: int, group: ParamGroup, base: float) -> float:
        """Relative to the current rate; at the bottom of the cosine, where that would be 0 / 0, from the base."""
        lr: float = group["lr"]
        if t == 0:
            return lr
        if (t - 1 - self.T_max) % (2 * self.T_max) == 0:
            return lr + (base - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        now, before = (1 + math.cos(math.pi * k / self.T_max) for k in (t, t - 1))
        return now / before * (lr - self.eta_min) + self.eta_min


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosines that start again after T_0, T_0 * T_mult, T_0 * T_mult ** 2, ... steps: SGDR.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = CosineAnnealingWarmRestarts(opt, T_0=2)
    >>> for _ in range(3):
    ...     opt.step()
    ...     schedule.step()
    ...     print(round(schedule.get_last_lr()[0], 4))
    0.5
    1.0
    0.5
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        name = "CosineAnnealingWarmRestarts"
        self.T_0, self.T_mult = integer(name, "T_0", T_0, least=1), integer(name, "T_mult", T_mult, least=1)
        self.eta_min = number(name, "eta_min", eta_min, least=0)
        super().__init__(optimizer, last_epoch)

    def rate(self, t: int, group: ParamGroup, base: float) -> float:
        """From the base."""
        length, position = self.T_0, t
        while position >= length:
            position -= length
            length *= self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * position / length)) / 2

    def step(self, epoch: float | None = None) -> None:
        """Go on to the next step, or to a place between two: `step(epoch + batch / batches)`."""
        if epoch is None:
            super().step()
            return
        if deferred(type(self).__name__, self.step, epoch):
            outdate(self.optimizer)
            return
        number(type(self).__name__, "epoch", epoch, least=0)
        self.last_epoch = math.floor(epoch)
        for group, base in self._groups():
            group["lr"] = self.rate(epoch, group, base)  # type: ignore[arg-type]


def _vary_momenta(owner: str, optimizer: Optimizer) -> None:
    """Say that the momentum of an optimizer, or what has it in front, will vary."""
    found = next((name for name in ("betas", "momentum") if name in optimizer.defaults), None)
    if found is None:
        got = f"cycle_momentum=True and {type(optimizer).__name__}, which has no momentum"
        raise ConfigError(message(owner, got, "an optimizer with momentum or betas", "pass cycle_momentum=False"))
    for group in optimizer.param_groups:
        group.vary(found)


def _set_momentum(group: ParamGroup, momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def _each(owner: str, name: str, value: Any, optimizer: Optimizer) -> list[float]:
    """One number for each group, given one for all or a list."""
    count = len(optimizer.param_groups)
    values = list(value) if isinstance(value, (list, tuple)) else [value] * count
    if len(values) != count:
        raise ConfigError(message(owner, f"{len(values)} of {name} for {count} groups", "one each"))
    return [number(owner, name, one, least=0) for one in values]


def _own(values: Sequence[float], group: ParamGroup, optimizer: Optimizer) -> float:
    """The value of a group; that of the last one for a group which was added since."""
    place = next(k for k, one in enumerate(optimizer.param_groups) if one is group)
    return values[min(place, len(values) - 1)]


class CyclicLR(LRScheduler):
    """The rate goes up from `base_lr` to `max_lr` and down again, over and over; the momentum, if `cycle_momentum`, the
    other way. `mode` "triangular2" halves each cycle, "exp_range" shrinks by gamma each step, and `scale_fn` is a
    function of one's own, of the cycle or of the steps (`scale_mode`). Smith, "Cyclical learning rates", WACV 2017.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = CyclicLR(opt, base_lr=0.1, max_lr=0.5, step_size_up=2)
    >>> for _ in range(3):
    ...     opt.step()
    ...     schedule.step()
    ...     print(round(schedule.get_last_lr()[0], 4))
    0.3
    0.5
    0.3
    """

    @flags
    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        name = "CyclicLR"
        checked_optimizer(self, optimizer)
        low, self.max_lrs = _each(name, "base_lr", base_lr, optimizer), _each(name, "max_lr", max_lr, optimizer)
        up = integer(name, "step_size_up", step_size_up, least=1)
        down = up if step_size_down is None else integer(name, "step_size_down", step_size_down, least=1)
        self.total_size, self.step_ratio = float(up + down), up / (up + down)
        if scale_fn is not None and not callable(scale_fn):
            raise ConfigError(message(name, f"scale_fn {named(scale_fn)}", "a function"))
        self.mode = choice(name, "mode", mode, ("triangular", "triangular2", "exp_range"))
        self.gamma = number(name, "gamma", gamma, least=0)
        self.scale_mode = choice(name, "scale_mode", scale_mode, ("cycle", "iterations"))
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self._scale_fn = scale_fn
        self.cycle_momentum = cycle_momentum
        momenta = [_each(name, "base_momentum", base_momentum, optimizer)]
        momenta.append(_each(name, "max_momentum", max_momentum, optimizer))
        if cycle_momentum:
            _vary_momenta(name, optimizer)
            self.base_momentums, self.max_momentums = momenta
        if integer(name, "last_epoch", last_epoch, least=-1) == -1:
            for group, rate in zip(optimizer.param_groups, low, strict=True):
                group["lr"] = rate
        super().__init__(optimizer, last_epoch)
        self.base_lrs = low

    def scale_fn(self, x: float) -> float:
        """The height of a cycle, or of a step."""
        if self._scale_fn is not None:
            return float(self._scale_fn(x))
        heights: dict[str, float] = {"triangular": 1.0, "triangular2": 0.5 ** (x - 1), "exp_range": self.gamma**x}
        return heights[self.mode]

    def _height(self, t: int) -> float:
        """How far up step t is, from 0 to 1."""
        cycle = math.floor(1 + t / self.total_size)
        x = 1.0 + t / self.total_size - cycle
        part = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        return part * self.scale_fn(cycle if self.scale_mode == "cycle" else t)

    def rate(self, t: int, group: ParamGroup, base: float) -> float:
        """From the base."""
        return base + (_own(self.max_lrs, group, self.optimizer) - base) * self._height(t)

    def _write(self) -> None:
        super()._write()
        if self.cycle_momentum:
            height = self._height(self.last_epoch)
            for group in self.optimizer.param_groups:
                least, most = (_own(v, group, self.optimizer) for v in (self.base_momentums, self.max_momentums))
                _set_momentum(group, most - (most - least) * height)


class OneCycleLR(LRScheduler):
    """Up to `max_lr`, then down far below the start, and the momentum the other way: Smith and Topin,
    "Super-convergence", arXiv:1708.07120.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = OneCycleLR(opt, max_lr=1.0, total_steps=5)
    >>> for _ in range(3):
    ...     opt.step()
    ...     schedule.step()
    ...     print(round(schedule.get_last_lr()[0], 4))
    0.9505
    0.6113
    0.1883
    """

    @flags
    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        checked_optimizer(self, optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ConfigError(message("OneCycleLR", "no length", "total_steps, or epochs and steps_per_epoch"))
            total_steps = integer("OneCycleLR", "epochs", epochs, least=1) * integer(
                "OneCycleLR", "steps_per_epoch", steps_per_epoch, least=1
            )
        for name, value in (("epochs", epochs), ("steps_per_epoch", steps_per_epoch)):
            if value is not None:
                integer("OneCycleLR", name, value, least=1)
        total_steps = integer("OneCycleLR", "total_steps", total_steps, least=1)
        self.max_lrs = _each("OneCycleLR", "max_lr", max_lr, optimizer)
        number("OneCycleLR", "pct_start", pct_start, least=0, most=1)
        number("OneCycleLR", "div_factor", div_factor, above=0)
        number("OneCycleLR", "final_div_factor", final_div_factor, above=0)
        choice("OneCycleLR", "anneal_strategy", anneal_strategy, _ANNEAL)
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            _vary_momenta("OneCycleLR", optimizer)
            self.base_momentums = _each("OneCycleLR", "base_momentum", base_momentum, optimizer)
            self.max_momentums = _each("OneCycleLR", "max_momentum", max_momentum, optimizer)
        self.total_steps, self.anneal_strategy = total_steps, anneal_strategy
        first, last = 1 / div_factor, 1 / div_factor / final_div_factor  # of max_lr
        up = float(pct_start * total_steps) - 1
        if three_phase:  # the end of a phase, and between which parts of max_lr it goes
            self.phases = [
                (up, first, 1.0),
                (2 * float(pct_start * total_steps) - 2, 1.0, first),
                (total_steps - 1, first, last),
            ]
        else:
            self.phases = [(up, first, 1.0), (total_steps - 1, 1.0, last)]
        for group, most in zip(optimizer.param_groups, self.max_lrs, strict=True):
            group["initial_lr"] = most / div_factor
        super().__init__(optimizer, last_epoch)

    def _phase(self, t: int) -> tuple[int, float]:
        """The phase of step t, and how far it has come."""
        if t > self.total_steps:  # the call after the last batch goes on past the end, as in PyTorch
            raise ConfigError(message("OneCycleLR", f"step {t + 1}", f"at most total_steps = {self.total_steps} steps"))
        turn = next((k for k, (end, _, _) in enumerate(self.phases) if t <= end), len(self.phases) - 1)
        start, end = self.phases[turn - 1][0] if turn else 0.0, self.phases[turn][0]
        return turn, (t - start) / (end - start) if end != start else 1.0  # a phase of one step is at its end

    def rate(self, t: int, group: ParamGroup, base: float) -> float:
        """From the phases."""
        turn, part = self._phase(t)
        (_, low, high), most = self.phases[turn], _own(self.max_lrs, group, self.optimizer)
        return _ANNEAL[self.anneal_strategy](low * most, high * most, part)

    def _write(self) -> None:
        super()._write()
        if self.cycle_momentum:
            turn, part = self._phase(self.last_epoch)
            for group in self.optimizer.param_groups:
                least, most = (_own(v, group, self.optimizer) for v in (self.base_momentums, self.max_momentums))
                ends = {0: (most, least), 1: (least, most)}.get(turn, (most, most))
                _set_momentum(group, _ANNEAL[self.anneal_strategy](*ends, part))


_ANNEAL: dict[str, Callable[[float, float, float], float]] = {
    "cos": lambda start, end, part: end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1),
    "linear": lambda start, end, part: (end - start) * part + start,
}


class SWALR(LRScheduler):
    """To a rate of its own for each group in `anneal_epochs` steps, where it stays: for averages of weights.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = SWALR(opt, swa_lr=0.2, anneal_epochs=2)
    >>> for _ in range(3):
    ...     opt.step()
    ...     schedule.step()
    ...     print(round(schedule.get_last_lr()[0], 4))
    0.6
    0.2
    0.2
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        last_epoch: int = -1,
    ) -> None:
        self.swa_lrs = _each("SWALR", "swa_lr", swa_lr, checked_optimizer(self, optimizer))
        self.anneal_epochs = integer("SWALR", "anneal_epochs", anneal_epochs, least=0)
        self.anneal_strategy = choice("SWALR", "anneal_strategy", anneal_strategy, _ANNEAL)
        super().__init__(optimizer, last_epoch)

    def rate(self, t: int, group: ParamGroup, base: float) -> float:
        """Relative to the current rate."""
        step = t if self.anneal_epochs else max(1, t)
        parts = [max(0.0, min(1.0, one / max(1, self.anneal_epochs))) for one in (step - 1, step)]
        before, now = (_ANNEAL[self.anneal_strategy](0.0, 1.0, part) for part in parts)
        goal = _own(self.swa_lrs, group, self.optimizer)
        start = goal if before == 1 else (group["lr"] - before * goal) / (1 - before)
        return float(goal * now + start * (1 - now))


def _schedules(given: Iterable[Any]) -> list[LRScheduler]:
    if not isinstance(given, (list, tuple)):
        raise ConfigError(message("SequentialLR", f"schedulers {named(given)}", "a list of schedules"))
    schedules = list(given)
    for schedule in schedules:
        if not isinstance(schedule, LRScheduler):
            got = f"a {type(schedule).__name__}"
            raise ConfigError(message("SequentialLR", got, "schedules that count steps"))
    return schedules


class SequentialLR(LRScheduler):
    """One schedule after another; `milestones` say at which step the next begins.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> warmup, decay = ConstantLR(opt, factor=0.1, total_iters=2), ExponentialLR(opt, gamma=0.5)
    >>> schedule = SequentialLR(opt, [warmup, decay], milestones=[2])
    >>> for _ in range(3):
    ...     opt.step()
    ...     schedule.step()
    ...     print(round(schedule.get_last_lr()[0], 4))
    0.1
    1.0
    0.5
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        checked_optimizer(self, optimizer)
        schedulers, milestones = _schedules(schedulers), _steps("SequentialLR", milestones)
        if len(milestones) != len(schedulers) - 1:
            got = f"{len(schedulers)} schedules and {len(milestones)} milestones"
            raise ConfigError(message("SequentialLR", got, "one milestone fewer than schedules"))
        if milestones != sorted(milestones):
            raise ConfigError(message("SequentialLR", f"milestones {milestones}", "rising steps"))
        if any(scheduler.optimizer is not optimizer for scheduler in schedulers):
            raise ConfigError(message("SequentialLR", "schedules of another optimizer", "all on the same optimizer"))
        self.optimizer, self.schedulers, self.milestones = optimizer, schedulers, milestones
        self.last_epoch = integer("SequentialLR", "last_epoch", last_epoch, least=-1) + 1
        for group in optimizer.param_groups:  # undo what constructing the schedules wrote
            group["lr"] = group["initial_lr"]
        self.schedulers[0].last_epoch = -1
        self.schedulers[0].step()

    def step(self) -> None:  # type: ignore[override]
        """Step the schedule whose turn it is; the first step of a later one starts it from the base rate."""
        if deferred(type(self).__name__, self.step):
            outdate(self.optimizer)
            return
        self.last_epoch += 1
        turn = bisect_right(self.milestones, self.last_epoch)
        scheduler = self.schedulers[turn]
        if turn > 0 and self.milestones[turn - 1] == self.last_epoch:
            for group in self.optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"])
            scheduler.last_epoch = -1
        scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """The counters, with the states of the schedules."""
        own = {"last_epoch": self.last_epoch, "milestones": self.milestones}
        return {**own, "schedulers": [scheduler.state_dict() for scheduler in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state_dict."""
        check_kinds("SequentialLR", state_dict, self.state_dict())
        for name, own in (("milestones", self.milestones), ("schedulers", self.schedulers)):
            if len(state_dict[name]) != len(own):
                raise ConfigError(message("SequentialLR", f"a state of {len(state_dict[name])} {name}", f"{len(own)}"))
        before = self.state_dict()
        try:
            for scheduler, state in zip(self.schedulers, state_dict["schedulers"], strict=True):
                scheduler.load_state_dict(state)
        except Exception:
            for scheduler, state in zip(self.schedulers, before["schedulers"], strict=True):
                scheduler.load_state_dict(state)
            raise
        self.last_epoch, self.milestones = state_dict["last_epoch"], state_dict["milestones"]


class ChainedScheduler:
    """Several schedules of one optimizer, stepped together.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = ChainedScheduler([ConstantLR(opt, factor=0.5, total_iters=2), ExponentialLR(opt, gamma=0.5)])
    >>> for _ in range(3):
    ...     opt.step()
    ...     schedule.step()
    ...     print(round(schedule.get_last_lr()[0], 4))
    0.25
    0.25
    0.125
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        name, listed = "ChainedScheduler", list(schedulers) if isinstance(schedulers, (list, tuple)) else []
        if not listed or not all(isinstance(one, (LRScheduler, ChainedScheduler)) for one in listed):
            raise ConfigError(message(name, f"schedulers {named(schedulers)}", "a list of schedules that count steps"))
        self.optimizer = checked_optimizer(self, listed[0].optimizer if optimizer is None else optimizer)
        if any(scheduler.optimizer is not self.optimizer for scheduler in listed):
            raise ConfigError(message(name, "schedules of another optimizer", "all on the same optimizer"))
        self._schedulers = listed

    def step(self) -> None:
        """Step each of them."""
        for scheduler in self._schedulers:
            scheduler.step()

    def get_last_lr(self) -> list[float]:
        """The learning rate of every group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The states of the schedules."""
        return {"_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state_dict."""
        states = mapping("ChainedScheduler", state_dict, "_schedulers")["_schedulers"]
        if not isinstance(states, (list, tuple)) or len(states) != len(self._schedulers):
            got = f"a state of {named(states)}"
            raise ConfigError(message("ChainedScheduler", got, f"{len(self._schedulers)} schedules"))
        for scheduler, state in zip(self._schedulers, states, strict=True):
            scheduler.load_state_dict(state)
