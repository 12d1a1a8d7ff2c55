"""Folds of a sweep, cross-validation, and ensembles of what it left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.data import KFold
from tinygrad_nn.errors import ConfigError, DataError

rng = np.random.default_rng(0)
X = rng.normal(size=(30, 3)).astype(np.float32)
Y = np.arange(30) % 3
X[np.arange(30), Y] += 1.5
GROUPS = np.arange(30) // 4


@dataclass
class Recipe:
    """A model with what trains and judges it."""

    model: nn.Module
    step: Any

    def scores(self, x: Any, y: Any) -> Any:
        logits = self.model(x)
        return {"test_acc": tg.metrics.accuracy(logits, y), "test_loss": F.cross_entropy(logits, y)}


def recipe(jit: Any = tg.jit) -> Recipe:
    model = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 3))
    opt = optim.SGD(model.parameters(), lr=0.2, momentum=0.5)

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return Recipe(model, jit(step))


FOLDS: dict[str, tuple[Any, KFold]] = {
    "number": (5, KFold(5, seed=3)),
    "plain": (KFold(5), KFold(5)),
    "stratified": (KFold(3, stratify=Y, seed=4), KFold(3, stratify=Y, seed=4)),
    "grouped": (KFold(4, groups=GROUPS), KFold(4, groups=GROUPS)),
    "loo": ("loo", KFold("loo")),
    "groups by themselves": (KFold("loo", groups=GROUPS), KFold("loo", groups=GROUPS)),
    "pairs": ([(np.arange(20), np.arange(20, 30))], KFold(2)),
}


def by_hand(pairs: Any, epochs: int) -> np.ndarray:
    """The scores at the end, fold by fold, each by a call of `fit`."""
    found = []
    for train, held in pairs:
        one = recipe()
        x, y = tg.tensor(X[held]), tg.tensor(Y[held])

        def scores(one: Recipe = one, x: Any = x, y: Any = y) -> Any:
            return one.scores(x, y)

        tg.manual_seed(3)
        one.model.reset_parameters()
        history = tg.fit(one.step, (X[train], Y[train]), epochs, 8, seed=3, progress=False, evaluate=scores)
        found.append([history["test_acc"][-1], history["test_loss"][-1]])
    return np.array(found)


@pytest.mark.parametrize("name", FOLDS)
def test_each_fold_is_held_out_once(name: str) -> None:
    folds, same = FOLDS[name]
    pairs = list(folds) if name == "pairs" else list(same.split(len(X)))
    one = recipe()
    options: Any = {"batch_size": 8, "seed": 3, "init": one.model.reset_parameters, "progress": False}
    found = tg.cross_validate(one.step, (X, Y), 4, folds=folds, evaluate=one.scores, how="arenas", **options)
    assert len(found) == len(pairs)
    assert found["fold"].tolist() == list(range(len(pairs)))
    scores = np.stack([found.last("test_acc"), found.last("test_loss")], axis=1)
    np.testing.assert_array_equal(scores[:4], by_hand(pairs[:4], 4))
    (summary,) = found.summary("test_acc")
    assert summary.runs == len(pairs)
    assert summary.mean == pytest.approx(scores[:, 0].mean())
    if len(pairs) > 1:
        assert summary.spread == pytest.approx(scores[:, 0].std(ddof=1))


def test_live_settings_make_one_group() -> None:
    """A grid over numbers of the optimizer is compiled once."""
    one = recipe()
    found = tg.sweep(
        one.step, (X, Y), 3, seeds=range(2), init=one.model.reset_parameters, progress=False,
        grid={"momentum": [0.1, 0.5, 0.9], "lr": [0.1, 0.2], "weight_decay": [0.01, 0.1]},
    )  # fmt: skip
    assert len(found) == 24
    assert len(found.explanation) == 1
    k = next(k for k in range(24) if found.settings(k)["momentum"] == 0.9 and found.settings(k)["seed"] == 1)
    other, own = recipe(), found.settings(k)
    opt = optim.SGD(other.model.parameters(), lr=own["lr"], momentum=0.9, weight_decay=own["weight_decay"])

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.cross_entropy(other.model(x), y)
        loss.backward()
        opt.step()
        return loss

    tg.manual_seed(1)
    other.model.reset_parameters()
    history = tg.fit(step, (X, Y), 3, seed=1, progress=False)
    np.testing.assert_allclose(found["loss"][k], history["loss"], rtol=1e-5)


@pytest.mark.parametrize(("folds", "error", "words"), [
    (31, DataError, r"got folds=31 for 30 rows; expected 2 <= folds <= 30"),
    (1, DataError, "got folds=1 for 30 rows"),
    (KFold(31), DataError, "got k=31 for 30 rows"),
    (KFold(3, stratify=Y[:20]), DataError, r"got stratify of shape \(20,\)"),
    (KFold(20, groups=GROUPS), DataError, "got 8 groups for k=20"),
    ("lou", ConfigError, "got folds='lou'"),
    (2.5, ConfigError, r"got folds=2\.5"),
    ([], ConfigError, "got no folds"),
    ([(np.arange(5), np.arange(3, 9))], DataError, "got row 3 in fold 0 both to train and held out"),
    ([(np.arange(5), np.arange(25, 31))], DataError, "got row 30 in fold 0"),
    (KFold(2, shuffle=False), DataError, "got no row of class 0 among those that train in fold 0"),
])  # fmt: skip
def test_folds_that_cannot_be(folds: Any, error: Any, words: str) -> None:
    one = recipe()
    y = np.sort(Y)
    with pytest.raises(error, match=words):
        tg.cross_validate(one.step, (X, y), 2, folds=folds, evaluate=one.scores, progress=False)


@pytest.mark.parametrize("jit", [tg.jit, lambda function: function])
def test_an_ensemble_of_a_sweep(jit: Any) -> None:
    one = recipe(jit)
    found = tg.sweep(one.step, (X, Y), 4, seeds=range(5), init=one.model.reset_parameters, progress=False)
    one.step(tg.tensor(X), tg.tensor(Y))
    before = {key: value.tolist() for key, value in one.model.state_dict().items()}
    made = tg.ensemble(found, one.model, output=lambda y: y.softmax(-1))
    states = list(found.states(one.model))
    assert {key: value.tolist() for key, value in one.model.state_dict().items()} == before
    each = []
    for k in range(5):
        found.load(k)
        assert all(states[k][key].tolist() == value.tolist() for key, value in one.model.state_dict().items())
        each.append(one.model(X).softmax(-1).detach().numpy())
    mean, spread = tg.jit(made)(X)
    np.testing.assert_allclose(mean.numpy(), np.mean(each, axis=0), rtol=1e-5)
    np.testing.assert_allclose(spread.numpy(), np.std(each, axis=0, ddof=1), rtol=1e-3, atol=1e-6)
    two = tg.ensemble(found.states(one.model, [3, -1]), one.model)
    np.testing.assert_allclose(two.members(X).softmax(-1).detach().numpy(), [each[3], each[4]], rtol=1e-5)


def test_what_training_left_of_an_optimizer_stays_too() -> None:
    """Looking at the states of a sweep is as if nobody had."""
    losses = []
    for looks in (False, True):
        one = recipe()
        tg.manual_seed(0)
        one.model.reset_parameters()
        x, y = tg.tensor(X), tg.tensor(Y)
        one.step(x, y)
        found = tg.sweep(one.step, (X, Y), 2, seeds=range(2), init=one.model.reset_parameters, progress=False)
        if looks:
            list(found.states(one.model))
        losses.append([one.step(x, y).item() for _ in range(3)])
    assert losses[0] == losses[1]


@pytest.mark.parametrize(("call", "words"), [
    (lambda found, model: tg.ensemble(found), "got a sweep, and no model"),
    (lambda found, model: tg.ensemble(found, nn.Linear(3, 3)), "got a Linear that the step does not reach"),
    (lambda found, model: list(found.states(3)), "got model 3; expected a module"),
    (lambda found, model: list(found.states(model, [2])), "got model 2; expected a number from 0 to 1"),
])  # fmt: skip
def test_states_that_are_not_there(call: Any, words: str) -> None:
    one = recipe()
    found = tg.sweep(one.step, (X, Y), 1, seeds=range(2), init=one.model.reset_parameters, progress=False)
    with pytest.raises(ConfigError, match=words):
        call(found, one.model)
