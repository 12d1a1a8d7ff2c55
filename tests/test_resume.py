"""Checkpoints: a fit that was stopped and goes on has the bits of one that was not; native and eager."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import callbacks, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.callbacks import Checkpoint
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
        noise = tg.Generator(11)
        self.noise = noise

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
        hooks = [callbacks.Schedule(self.plan), *options.pop("callbacks", ())]
        settings = {"batch_size": 5, "seed": self.seed, "evaluate": self.evaluate, "progress": False, **options}
        self.history = tg.fit(self.step, (X, Y), epochs=epochs, callbacks=hooks, **settings)
        return self.history

    def bits(self) -> list[Any]:
        """Everything that a next epoch depends on, and the history."""
        arrays = [value.numpy() for value in self.model.state_dict().values()]
        state = self.opt.state_dict()
        arrays += [value.numpy() for own in state["state"].values() for value in own.values()]
        history = {name: self.history[name].tobytes() for name in self.history}
        plan = {key: value for key, value in self.plan.state_dict().items()}
        return [
            [array.tobytes() for array in arrays],
            repr(state["param_groups"]),
            repr(plan),
            self.noise.get_state().tolist(),
            tg.random.default_generator.get_state().tolist(),
            history,
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


@BOTH
@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "SGD"},
        {"optimizer": "momentum", "schedule": "plateau"},
        {"optimizer": "Adam", "schedule": "sequence"},
        {"optimizer": "NAdam", "schedule": "cycle"},
        {"optimizer": "RMSprop", "seed": None},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_the_bits_of_a_run_that_was_not_stopped(jitted: bool, options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    whole = Run(jitted, **options)
    whole.fit(9)
    expected = whole.bits()
    stopped = Run(jitted, **options)
    stopped.fit(4, callbacks=[Checkpoint(path)])
    tg.manual_seed(99)  # another process would have other numbers here
    again = Run(jitted, **options)
    with tg.no_grad():
        again.model[0].weight.add_(1.0)
    tg.manual_seed(98)
    history = again.fit(9, resume=path)
    assert again.bits() == expected
    assert history.metadata["resumed"][0]["epoch"] == 4
    assert history.metadata["epochs"] == 9
