"""Averages of weights and their schedule, as torch.optim.swa_utils has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
import tinygrad_nn.torch.optim.swa_utils as ours
from tinygrad_nn.errors import ConfigError

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("kind", ["mean", "ema", "multi"])
def test_averages(kind: str) -> None:
    results = []
    for lib, swa in ((tg, ours), (torch, torch.optim.swa_utils)):
        options: dict[str, Any] = {
            "mean": {},
            "ema": {"avg_fn": swa.get_ema_avg_fn(0.7)},
            "multi": {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.7), "use_buffers": True},
        }[kind]
        model = lib.nn.Linear(2, 1)
        average = swa.AveragedModel(model, **options)
        for k in range(4):
            model.weight.data.fill_(float(k * k))
            model.bias.data.fill_(float(k))
            average.update_parameters(model)
        results.append([*average.module.weight.tolist()[0], *average.module.bias.tolist(), int(average.n_averaged)])
        assert average(lib.ones(3, 2)).shape == (3, 1)
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"anneal_epochs": 4, "anneal_strategy": "linear"}, {"anneal_epochs": 0}])
def test_rates(options: dict[str, Any]) -> None:
    walks: list[list[float]] = []
    for lib, swa in ((tg, ours), (torch, torch.optim.swa_utils)):
        opt = lib.optim.SGD([lib.zeros(1, requires_grad=True)], lr=0.5)
        schedule = swa.SWALR(opt, swa_lr=0.05, **options)
        walks.append([])
        for _ in range(12):
            opt.step()
            schedule.step()
            walks[-1].append(opt.param_groups[0]["lr"])
    np.testing.assert_allclose(walks[0], walks[1], rtol=1e-12)


def test_what_is_refused() -> None:
    model = tg.nn.Linear(2, 1)
    with pytest.raises(ConfigError, match="model 3"):
        ours.AveragedModel(3)
    with pytest.raises(ConfigError, match="one of the two"):
        ours.AveragedModel(model, avg_fn=ours.get_ema_avg_fn(), multi_avg_fn=ours.get_ema_multi_avg_fn())
    with pytest.raises(ConfigError, match="decay 2"):
        ours.get_ema_avg_fn(2)
    with pytest.raises(ConfigError, match="same shapes"):
        ours.AveragedModel(model).update_parameters(tg.nn.Linear(3, 1))
    with pytest.raises(ConfigError, match="anneal_epochs -1"):
        ours.SWALR(tg.optim.SGD(model.parameters()), 0.1, anneal_epochs=-1)


def test_statistics_of_normalization_are_worked_out_again() -> None:
    x = np.random.default_rng(0).normal(2, 3, size=(12, 4)).astype(np.float32)
    found = []
    for lib, swa in ((tg, ours), (torch, torch.optim.swa_utils)):
        model = lib.nn.Sequential(lib.nn.BatchNorm1d(4))
        model.eval()
        swa.update_bn([(lib.tensor(x[:6]), 0), (lib.tensor(x[6:]), 1)], model)
        assert not model.training
        assert model[0].momentum == 0.1
        found.append([model[0].running_mean.tolist(), model[0].running_var.tolist()])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
