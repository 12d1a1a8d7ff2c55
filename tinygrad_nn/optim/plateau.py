"""The schedule that looks at a metric instead of counting steps."""

from __future__ import annotations

import math
from typing import Any, Literal

from ..errors import ConfigError, message, printable
from ..support.settings import LARGEST, check_kinds, choice, integer, is_number, number
from ..support.settings import shown as named
from ..tensor import Tensor
from ..tensor.context import deferred
from .optimizer import Optimizer, outdate


def checked_optimizer(schedule: Any, optimizer: Any) -> Optimizer:
    """What a schedule is for. Raises ConfigError for anything but an optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise ConfigError(message(type(schedule).__name__, f"a {type(optimizer).__name__}", "an optimizer"))
    return optimizer


def shown(schedule: Any, skip: tuple[str, ...] = ()) -> str:
    """The settings of a schedule, and where it is: `StepLR(step_size=3, gamma=0.1; step 4, lr 0.01)`."""
    settings = {
        name: value
        for name, value in vars(schedule).items()
        if name not in ("optimizer", "last_epoch", *skip) and not name.startswith("_")
    }
    rates = ", ".join(f"{rate:.4g}" for rate in schedule.get_last_lr())
    values = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    return printable(f"{type(schedule).__name__}({values}{'; ' * bool(values)}step {schedule.last_epoch}, lr {rates})")


class ReduceLROnPlateau:
    """The rate times `factor` when a metric has not improved for more than `patience` steps:
    `scheduler.step(metric)`.

    >>> import tinygrad_nn as tg
    >>> opt = tg.optim.SGD([tg.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = ReduceLROnPlateau(opt, factor=0.5, patience=0)
    >>> for loss in (1.0, 0.9, 0.95):
    ...     schedule.step(loss)
    >>> opt.param_groups[0]["lr"]
    0.5
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        name = "ReduceLROnPlateau"
        self.optimizer = checked_optimizer(self, optimizer)
        self.mode = choice(name, "mode", mode, ("min", "max"))
        self.factor = number(name, "factor", factor, above=0, below=1)
        self.patience = integer(name, "patience", patience, least=0)
        self.threshold = number(name, "threshold", threshold, least=0)
        self.threshold_mode = choice(name, "threshold_mode", threshold_mode, ("rel", "abs"))
        self.cooldown = integer(name, "cooldown", cooldown, least=0)
        self.min_lr, self.eps = number(name, "min_lr", min_lr, least=0), number(name, "eps", eps, least=0)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def step(self, metrics: float | Tensor) -> None:
        """Look at the metric and lower the rate if it has stalled. In a compiled function that is done when a call is
        over.
        """
        if deferred(type(self).__name__, self.step, metrics):
            outdate(self.optimizer)
            return
        scalar = metrics.item() if isinstance(metrics, Tensor) and metrics.numel() == 1 else metrics
        if not is_number(scalar) or (isinstance(scalar, int) and abs(scalar) > LARGEST):
            raise ConfigError(message(type(self).__name__, f"metrics {named(metrics)}", "a number"))
        current = float(scalar)
        self.last_epoch += 1
        if self._better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _better(self, current: float) -> bool:
        sign = 1.0 if self.mode == "min" else -1.0
        if self.threshold_mode == "rel":
            return sign * current < sign * self.best * (1.0 - sign * self.threshold)
        return sign * current < sign * self.best - self.threshold

    def _reduce(self) -> None:
        for group in self.optimizer.param_groups:
            lower = max(group["lr"] * self.factor, self.min_lr)
            if group["lr"] - lower > self.eps:
                group["lr"] = lower

    def get_last_lr(self) -> list[float]:
        """The learning rate of every group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def __repr__(self) -> str:
        return shown(self)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in vars(self).items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state_dict: all of it or, on error, nothing."""
        own = self.state_dict()
        check_kinds("ReduceLROnPlateau", state_dict, own)
        choice("ReduceLROnPlateau", "mode", state_dict["mode"], ("min", "max"))
        choice("ReduceLROnPlateau", "threshold_mode", state_dict["threshold_mode"], ("rel", "abs"))
        vars(self).update((key, state_dict[key]) for key in own)
