"""An ensemble gives the mean and the spread of what its models give, however it computes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn
from tinygrad_nn.errors import ConfigError, ShapeError
from tinygrad_nn.nn.ensemble import Ensemble, Prediction
from tinygrad_nn.nn.utils import parametrizations


class Tied(nn.Module):
    """A table that is the last layer's weight too, and a tensor that is no parameter."""

    def __init__(self) -> None:
        self.table, self.last = nn.Embedding(5, 3), nn.Linear(3, 5)
        self.last.weight = self.table.weight
        self.scale = tg.tensor(2.0)

    def forward(self, x: Any) -> Any:
        return self.last(self.table(x) * self.scale)


def scaled() -> nn.Module:
    return nn.Sequential(nn.StandardScaler().fit(np.arange(12.0).reshape(3, 4) ** 2), nn.Linear(4, 2))


ROWS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
MODELS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "MLP": (lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2)), ROWS),
    "convolution": (lambda: nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 2), nn.ReLU(), nn.Flatten()), ROWS),
    "attention": (lambda: nn.TransformerEncoderLayer(4, 2, 8), ROWS),
    "scaler": (scaled, ROWS),
    "tied": (Tied, np.array([0, 3, 4])),
    "weight_norm": (lambda: parametrizations.weight_norm(nn.Linear(4, 2)), ROWS),
    "float64": (lambda: nn.Linear(4, 2).double(), ROWS.astype(np.float64)),
    "PReLU": (lambda: nn.Sequential(nn.PReLU(), nn.Linear(4, 1)), ROWS),
}


def close(found: Any, models: list[nn.Module], x: Any) -> None:
    each = np.stack([model.eval()(tg.tensor(x)).detach().numpy() for model in models])
    assert type(found) is Prediction
    np.testing.assert_allclose(found.mean.numpy(), each.mean(0), rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(found.spread.numpy(), each.std(0, ddof=1), rtol=2e-4, atol=1e-6)


def trained(make: Callable[[], nn.Module], x: Any, count: int = 3) -> list[nn.Module]:
    """Models with other parameters and other statistics."""
    tg.manual_seed(0)
    models = [make() for _ in range(count)]
    for k, model in enumerate(models):
        model(tg.tensor(x * (k + 1) if x.dtype.kind == "f" else x))
    return models


@pytest.mark.parametrize("name", MODELS)
def test_mean_and_spread(name: str) -> None:
    make, x = MODELS[name]
    models = trained(make, x)
    made = tg.ensemble(models)
    assert made.stacked
    assert (len(made), all(one.shape[0] == 3 for one in made.parameters())) == (3, True)
    compiled = tg.jit(made)
    for predict in (made, compiled):
        close(predict(tg.tensor(x)), models, x)
    assert made.members(tg.tensor(x)).shape[0] == 3
    compiled(tg.tensor(x))
    assert compiled.traces == 1


def test_several_results_and_arguments() -> None:
    x, h = tg.rand(2, 5, 4), tg.rand(1, 2, 3)
    models = [nn.GRU(4, 3, batch_first=True) for _ in range(4)]
    made = tg.ensemble(models)
    for predict in (made, tg.jit(made)):
        mean, spread = predict(x, hx=h)
        for k in range(2):
            each = np.stack([model(x, h)[k].detach().numpy() for model in models])
            np.testing.assert_allclose(mean[k].numpy(), each.mean(0), rtol=1e-5)
            np.testing.assert_allclose(spread[k].numpy(), each.std(0, ddof=1), rtol=1e-4, atol=1e-6)


def test_the_mean_is_that_of_the_output() -> None:
    models = [nn.Linear(4, 3) for _ in range(3)]
    made = tg.ensemble(models, output=lambda y: y.softmax(-1))
    found = tg.jit(made)(ROWS)
    np.testing.assert_allclose(found.mean.sum(-1).numpy(), 1, rtol=1e-6)
    each = np.stack([F.softmax(model(ROWS), -1).detach().numpy() for model in models])
    np.testing.assert_allclose(found.mean.numpy(), each.mean(0), rtol=1e-5)


class Scaled(nn.Linear):
    """A number and a function among its attributes, which the parameters do not tell."""

    def __init__(self, factor: float, function: Any = F.relu) -> None:
        super().__init__(4, 2)
        self.factor, self.function, self.offset = factor, function, tg.tensor([factor])

    def forward(self, x: Any) -> Any:
        return self.function(super().forward(x)) * self.factor + self.offset


@pytest.mark.parametrize("models", [
    [nn.Linear(4, 2), nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))],
    [nn.Sequential(nn.Linear(4, 2), nn.Tanh()), nn.Sequential(nn.Linear(4, 2), nn.ReLU())],
    [nn.Sequential(nn.Linear(4, 2), nn.LeakyReLU(0.1)), nn.Sequential(nn.Linear(4, 2), nn.LeakyReLU(0.2))],
    [Scaled(1.0), Scaled(2.0)],
    [Scaled(1.0), Scaled(1.0, F.tanh)],
])  # fmt: skip
def test_models_that_differ_are_computed_one_by_one(models: list[nn.Module]) -> None:
    made = tg.ensemble(models)
    assert not made.stacked
    for predict in (made, tg.jit(made)):
        close(predict(ROWS), models, ROWS)
    assert tg.ensemble([Scaled(2.0), Scaled(2.0)]).stacked


def test_states_of_a_model() -> None:
    models = trained(MODELS["MLP"][0], ROWS)
    template = MODELS["MLP"][0]()
    before = {key: value.tolist() for key, value in template.state_dict().items()}
    close(tg.ensemble((model.state_dict() for model in models), template)(ROWS), models, ROWS)
    arrays = [{key: value.numpy() for key, value in model.state_dict().items()} for model in models]
    close(tg.ensemble(arrays, template)(ROWS), models, ROWS)
    assert {key: value.tolist() for key, value in template.state_dict().items()} == before


def test_save_and_load(tmp_path: Path) -> None:
    make, x = MODELS["MLP"]
    models = trained(make, x)
    tg.save(tg.ensemble(models), tmp_path / "ensemble.npz")
    other = tg.ensemble([make()] * 3)
    predict = tg.jit(other)
    predict(x)
    other.load_state_dict(tg.load(tmp_path / "ensemble.npz"))
    close(predict(x), models, x)
    with pytest.raises(ShapeError, match="shape"):
        tg.ensemble([make()] * 2).load_state_dict(tg.load(tmp_path / "ensemble.npz"))


def test_it_is_done_with_training() -> None:
    make, x = MODELS["MLP"]
    models = trained(make, x)
    made = tg.ensemble(models)
    expected = made(x).mean.tolist()
    assert made.train() is made
    assert not any(part.training for part in made.modules())
    assert all(model.training for model in models)
    assert not any(one.requires_grad for one in made.parameters())
    with tg.no_grad():
        for model in models:
            model[0].weight.fill_(0.0)
    assert made(x).mean.tolist() == expected
    inputs = tg.tensor(x, requires_grad=True)
    made(inputs).mean.sum().backward()
    assert inputs.grad is not None
    assert np.abs(inputs.grad.numpy()).max() > 0


def test_one_model_has_no_spread() -> None:
    model = nn.Linear(4, 2)
    found = tg.ensemble([model])(ROWS)
    np.testing.assert_allclose(found.mean.numpy(), model(ROWS).detach().numpy(), rtol=1e-6)
    assert np.isnan(found.spread.numpy()).all()


def test_how_it_is_shown() -> None:
    made = tg.ensemble([nn.Linear(4, 2)] * 3)
    assert isinstance(made, Ensemble)
    assert repr(made).startswith("Ensemble(models=3\n  (model): Linear(")


@pytest.mark.parametrize(("call", "words"), [
    (lambda: tg.ensemble([]), "got no models; expected one at least"),
    (lambda: tg.ensemble(nn.Linear(1, 1)), r"expected a list of models, .*; hint: ensemble\(\[model\]\)"),
    (lambda: tg.ensemble(nn.Linear(1, 1).state_dict()), "expected a list of models"),
    (lambda: tg.ensemble("models"), "got models 'models'"),
    (lambda: tg.ensemble(3), "got models 3"),
    (lambda: tg.ensemble([nn.Linear(1, 1), 3]), "got 3 at place 1; expected a model, or a state"),
    (lambda: tg.ensemble([nn.Linear(1, 1).state_dict()]), "got a state at place 0, and no model"),
    (lambda: tg.ensemble([nn.Linear(1, 1).state_dict()], {}), "got model {}; expected a module"),
    (lambda: tg.ensemble([nn.Linear(2, 1).state_dict()], nn.Linear(1, 1)),
     r"got a state at place 0 .*shape \(1, 2\) for 'weight'"),
    (lambda: tg.ensemble([nn.Linear(1, 1)], output=3), "got output 3; expected a function"),
])  # fmt: skip
def test_refusals(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"\[ensemble\] .*{words}"):
        call()
