"""`tg.sweep` beside as many calls of `fit`: the same bits, whatever varies; and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.callbacks import EarlyStopping, Schedule

rng = np.random.default_rng(1)
X = rng.normal(size=(31, 3)).astype(np.float32)
Y = ((X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0.5)).astype(np.int64)


@dataclass
class Recipe:
    model: nn.Module
    opt: Any
    step: Callable[..., Any]
    scores: Callable[..., Any]


def recipe(
    optimizer: str = "SGD", dropout: float = 0.0, compiled: bool = True, hidden: int = 4, **settings: Any
) -> Recipe:
    model = nn.Sequential(nn.Linear(3, hidden), nn.Tanh(), nn.Dropout(dropout), nn.Linear(hidden, 3))
    opt = getattr(optim, optimizer)(model.parameters(), **{"lr": 0.05, **settings})
    held, truth = tg.tensor(X[:9]), tg.tensor(Y[:9])

    def step(x: Any, y: Any, *weights: Any) -> Any:
        opt.zero_grad()
        losses = F.cross_entropy(model(x), y, reduction="none")
        loss = (losses * weights[0]).mean() if weights else losses.mean()
        loss.backward()
        opt.step()
        return loss

    def scores(x: Any = held, y: Any = truth) -> Any:
        model.eval()
        found = {"acc": tg.metrics.accuracy(model(x), y), "test_loss": F.cross_entropy(model(x), y)}
        model.train()
        return found

    return Recipe(model, opt, tg.jit(step) if compiled else step, scores)


def parameters(one: Recipe) -> list[Any]:
    return [value.detach().numpy().copy() for value in one.model.state_dict().values()]


def by_fit(seed: int, make: Callable[[], Recipe], data: Any, epochs: int, **options: Any) -> tuple[Any, Any]:
    """History and parameters of a model that is trained by itself."""
    tg.manual_seed(seed)
    one = make()
    history = tg.fit(one.step, data, epochs, evaluate=one.scores, seed=seed, progress=False, **options)
    return history, parameters(one)


OPTIONS: list[dict[str, Any]] = [
    {"batch_size": 8},
    {"batch_size": None, "shuffle": False},
    {"batch_size": 31, "eval_every": 3},
    {"batch_size": 5, "shuffle": False, "eval_every": 2},
    {"batch_size": 1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("compiled", [True, False], ids=["native", "eager"])
def test_seeds_are_as_many_fits(optimizer: str, options: Any, compiled: bool) -> None:
    def make() -> Recipe:
        return recipe(optimizer, 0.3, compiled)

    one = make()
    before = parameters(one), tg.get_rng_state().tolist()
    seeds = [3, 0, 7]
    how = {"how": "arenas", "init": one.model.reset_parameters, "seeds": seeds, "progress": False}
    found = tg.sweep(one.step, (X, Y), 5, evaluate=one.scores, **how, **options)
    after = parameters(one), tg.get_rng_state().tolist()
    assert all(np.array_equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    assert before[1] == after[1]
    assert one.opt.state == {}
    for k, seed in enumerate(seeds):
        history, left = by_fit(seed, make, (X, Y), 5, **options)
        for name in history:
            np.testing.assert_array_equal(found[name][k], history[name])
        assert found.evaluated == history.evaluated
        found.load(k)
        for a, b in zip(parameters(one), left, strict=True):
            np.testing.assert_array_equal(a, b)


def test_samples_that_python_puts_in_order() -> None:
    """Beyond so many their order is drawn in Python, by each thread for its model."""
    x, y = np.resize(X, (1100, 3)), np.resize(Y, 1100)
    one = recipe()
    found = tg.sweep(one.step, (x, y), 3, 64, evaluate=one.scores, seeds=[4, 9, 2], init=one.model.reset_parameters,
                     workers=2, how="arenas", progress=False)  # fmt: skip
    for k, seed in enumerate([4, 9, 2]):
        history, _ = by_fit(seed, recipe, (x, y), 3, batch_size=64)
        np.testing.assert_array_equal(found["loss"][k], history["loss"])


def test_a_grid_of_settings_is_as_many_fits() -> None:
    """Those that are numbers are one group; where one is 0, or a flag, the code is another."""
    one = recipe()
    grid = {"lr": [0.1, 0.01], "momentum": [0.0, 0.5, 0.9], "nesterov": [False, True], "weight_decay": [0.0, 0.01]}
    grid = {**grid, "nesterov": [False]}
    found = tg.sweep(one.step, (X, Y), 4, 8, evaluate=one.scores, init=one.model.reset_parameters, grid=grid,
                     how="arenas", progress=False)  # fmt: skip
    assert len(found) == 12
    assert len(found.explanation) == 4
    for k in range(12):
        settings = found.settings(k)
        seed = settings.pop("seed")

        def made(settings: Any = settings) -> Recipe:
            other = recipe(**settings)
            other.opt.param_groups[0].vary("momentum", "weight_decay")  # as the sweep does: else they are constants
            return other

        history, left = by_fit(seed, made, (X, Y), 4, batch_size=8)
        np.testing.assert_array_equal(found["loss"][k], history["loss"])
        found.load(k)
        for a, b in zip(parameters(one), left, strict=True):
            np.testing.assert_array_equal(a, b)
        assert {name: one.opt.param_groups[0][name] for name in settings} == settings


def test_betas_of_adam_are_a_setting() -> None:
    one = recipe("Adam")
    pairs = [(0.9, 0.999), (0.5, 0.9), (0.8, 0.99)]
    found = tg.sweep(one.step, (X, Y), 4, init=one.model.reset_parameters, grid={"betas": pairs}, progress=False)
    assert len(found.explanation) == 1
    for k, betas in enumerate(pairs):
        history, _ = by_fit(0, lambda b=betas: recipe("Adam", betas=b), (X, Y), 4)
        np.testing.assert_allclose(found["loss"][k], history["loss"], rtol=1e-5)
    assert one.opt.param_groups[0]["betas"] == (0.9, 0.999)


def test_state_that_begins_with_a_setting() -> None:
    """Rprop's step sizes begin with the learning rate."""
    one = recipe("Rprop")
    rates = [0.1, 0.01]
    found = tg.sweep(one.step, (X, Y), 4, init=one.model.reset_parameters, grid={"lr": rates}, progress=False)
    for k, lr in enumerate(rates):
        history, _ = by_fit(0, lambda lr=lr: recipe("Rprop", lr=lr), (X, Y), 4)
        np.testing.assert_allclose(found["loss"][k], history["loss"], rtol=1e-5)


def test_an_optimizer_that_was_used_begins_anew_and_goes_on_after_it() -> None:
    one = recipe("Adam")
    tg.fit(one.step, (X, Y), 3, seed=0, progress=False)
    kept = {p: {name: value.numpy().copy() for name, value in own.items()} for p, own in one.opt.state.items()}
    found = tg.sweep(one.step, (X, Y), 3, seeds=[5], init=one.model.reset_parameters, progress=False)
    history, _ = by_fit(5, lambda: recipe("Adam"), (X, Y), 3)
    np.testing.assert_array_equal(found["loss"][0], history["loss"])
    for p, own in one.opt.state.items():
        for name, value in own.items():
            np.testing.assert_array_equal(value.numpy(), kept[p][name])
    found.load(0)
    more = tg.fit(one.step, (X, Y), 2, shuffle=False, progress=False)
    tg.manual_seed(5)
    other = recipe("Adam")
    tg.fit(other.step, (X, Y), 3, seed=5, progress=False)
    np.testing.assert_array_equal(more["loss"], tg.fit(other.step, (X, Y), 2, shuffle=False, progress=False)["loss"])


def build(hidden: int = 4, lr: float = 0.05) -> Any:
    one = recipe(hidden=hidden, lr=lr)
    return one.step, one.scores


def test_a_builder_makes_what_changes_shapes() -> None:
    found = tg.sweep(build, (X, Y), 4, 8, grid={"hidden": [2, 6], "lr": [0.1, 0.02]}, seeds=[1, 2], how="arenas",
                     progress=False)  # fmt: skip
    assert found["hidden"].tolist() == [2, 2, 2, 2, 6, 6, 6, 6]
    assert found["seed"].tolist() == [1, 2] * 4
    for k in range(8):
        settings = found.settings(k)
        tg.manual_seed(settings["seed"])
        step, scores = build(settings["hidden"], settings["lr"])
        history = tg.fit(step, (X, Y), 4, 8, evaluate=scores, seed=settings["seed"], progress=False)
        np.testing.assert_array_equal(found["loss"][k], history["loss"])
        np.testing.assert_array_equal(found["acc"][k], history["acc"])
        loaded, judged = found.load(k)
        assert judged()["test_loss"].item() == pytest.approx(found["test_loss"][k, -1], rel=1e-6)
        assert callable(loaded)


def test_a_batch_size_makes_groups() -> None:
    one = recipe()
    found = tg.sweep(one.step, (X, Y), 4, grid={"batch_size": [4, 31, None]}, init=one.model.reset_parameters,
                     how="arenas", progress=False)  # fmt: skip
    assert len(found.explanation) == 3
    for k, size in enumerate([4, 31, None]):
        history, _ = by_fit(0, recipe, (X, Y), 4, batch_size=size)
        np.testing.assert_array_equal(found["loss"][k], history["loss"])


@pytest.mark.parametrize("compiled", [True, False])
def test_folds_hold_their_rows_out(compiled: bool) -> None:
    one = recipe(compiled=compiled)
    folds = tg.data.KFold(4, stratify=Y, seed=3)
    found = tg.cross_validate(one.step, (X, Y), 4, folds=folds, batch_size=8, how="arenas", progress=False,
                              evaluate=one.scores, init=one.model.reset_parameters)  # fmt: skip
    assert found["fold"].tolist() == [0, 1, 2, 3]
    for k, (train, held) in enumerate(folds.split(X)):
        tg.manual_seed(0)
        other = recipe(compiled=compiled)
        xs, ys = tg.tensor(X[held]), tg.tensor(Y[held])
        history = tg.fit(other.step, (X[train], Y[train]), 4, 8, seed=0, progress=False,
                         evaluate=lambda o=other, x=xs, y=ys: o.scores(x, y))  # fmt: skip
        for name in history:
            np.testing.assert_array_equal(found[name][k], history[name])


def test_each_row_is_left_out_once() -> None:
    one = recipe()
    found = tg.cross_validate(one.step, (X, Y), 3, folds="loo", evaluate=one.scores,
                              init=one.model.reset_parameters, progress=False)  # fmt: skip
    assert len(found) == 31
    assert set(np.unique(found["acc"])) <= {0.0, 1.0}
    keep = np.arange(31) != 11
    history, _ = by_fit(0, recipe, (X[keep], Y[keep]), 3)
    np.testing.assert_allclose(found["loss"][11], history["loss"], rtol=1e-6)


def test_a_set_of_data_for_each_value_of_a_column() -> None:
    polars = pytest.importorskip("polars")
    customer = np.array(["b", "a", "b", "c"])[np.arange(31) % 4]
    frame = polars.DataFrame({"one": X[:, 0], "customer": customer, "two": X[:, 1], "three": X[:, 2]})
    one = recipe()
    found = tg.sweep(one.step, (frame, Y), 3, by="customer", init=one.model.reset_parameters, how="arenas",
                     progress=False)  # fmt: skip
    assert found["customer"].tolist() == ["a", "b", "c"]
    assert len(found.explanation) == 3  # of 8, 16 and 7 rows
    other = tg.sweep(one.step, (X, Y), 3, by=customer, init=one.model.reset_parameters, how="arenas", progress=False)
    np.testing.assert_array_equal(found["loss"], other["loss"])
    for k, name in enumerate("abc"):
        history, _ = by_fit(0, recipe, (X[customer == name], Y[customer == name]), 3)
        np.testing.assert_array_equal(found["loss"][k], history["loss"])


def test_features_and_weights_are_settings() -> None:
    one = recipe()
    heavy = np.where(Y == 1, 3.0, 1.0)
    grid = {"columns": [None, [0, 2]], "sample_weight": [np.ones(31), heavy]}
    found = tg.sweep(one.step, (X, Y), 3, grid=grid, init=one.model.reset_parameters, how="arenas", progress=False)
    for k in range(4):
        settings = found.settings(k)
        x = X.copy()
        if settings["columns"] is not None:
            x[:, 1] = 0
        history, _ = by_fit(0, recipe, (x, Y), 3, sample_weight=settings["sample_weight"])
        np.testing.assert_array_equal(found["loss"][k], history["loss"])


def test_early_stopping_ends_each_model_by_itself() -> None:
    one = recipe(lr=0.5)
    stop = EarlyStopping(one.model, "test_loss", patience=3)
    found = tg.sweep(one.step, (X, Y), 200, 8, evaluate=one.scores, eval_every=2, seeds=range(6), callbacks=[stop],
                     init=one.model.reset_parameters, progress=False)  # fmt: skip
    assert len(set(found.epochs.tolist())) > 1
    for k in range(6):
        tg.manual_seed(k)
        other = recipe(lr=0.5)
        own = EarlyStopping(other.model, "test_loss", patience=3)
        history = tg.fit(other.step, (X, Y), 200, 8, evaluate=other.scores, eval_every=2, seed=k, callbacks=[own],
                         progress=False)  # fmt: skip
        assert (found.epochs[k], found.stopped.get(k)) == (history.epochs, history.stopped)
        np.testing.assert_array_equal(found["loss"][k, : history.epochs], history["loss"])
        assert np.isnan(found["loss"][k, history.epochs :]).all()
        np.testing.assert_array_equal(found["acc"][k, : len(history["acc"])], history["acc"])
        found.load(k)
        for a, b in zip(parameters(one), parameters(other), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_schedule_begins_anew_for_every_model(compiled: bool) -> None:
    def make() -> tuple[Recipe, Any]:
        one = recipe("Adam", 0.2, compiled)
        return one, Schedule(optim.lr_scheduler.StepLR(one.opt, 2, 0.5))

    one, schedule = make()
    found = tg.sweep(one.step, (X, Y), 5, 8, seeds=[1, 2], callbacks=[schedule], init=one.model.reset_parameters,
                     progress=False)  # fmt: skip
    assert "Schedule" in tg.explain(found) or not compiled
    for k, seed in enumerate([1, 2]):
        tg.manual_seed(seed)
        other, own = make()
        history = tg.fit(other.step, (X, Y), 5, 8, seed=seed, callbacks=[own], progress=False)
        np.testing.assert_array_equal(found["loss"][k], history["loss"])
    assert one.opt.param_groups[0]["lr"] == 0.05


def test_a_model_that_diverges_disturbs_no_other() -> None:
    one = recipe()
    rates = [0.1, 1e38, 0.01]
    found = tg.sweep(one.step, (X, Y), 6, grid={"lr": rates}, init=one.model.reset_parameters, progress=False)
    assert not np.isfinite(found["loss"][1, -1])
    for k in (0, 2):
        history, _ = by_fit(0, lambda lr=rates[k]: recipe(lr=lr), (X, Y), 6)
        np.testing.assert_allclose(found["loss"][k], history["loss"], rtol=1e-6)
    (_, bad, _) = found.summary("loss")
    assert (bad.runs, bad.diverged) == (0, 1)
    with pytest.warns(tg.NonFiniteWarning, match="1 of 3 models that diverged: 1"):
        tg.sweep(one.step, (X, Y), 6, grid={"lr": rates}, init=one.model.reset_parameters, on_nonfinite="warn",
                 progress=False)  # fmt: skip


@pytest.mark.parametrize("how", ["arenas", "lanes"])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_threads_change_no_bit(how: Any, workers: int) -> None:
    one = recipe("Adam", 0.3)
    given = {"seeds": range(20), "init": one.model.reset_parameters, "how": how, "progress": False}
    alone = tg.sweep(one.step, (X, Y), 4, 8, evaluate=one.scores, **given)
    found = tg.sweep(one.step, (X, Y), 4, 8, evaluate=one.scores, workers=workers, **given)
    for name in alone:
        np.testing.assert_array_equal(found[name], alone[name])


def test_lanes_are_near_arenas() -> None:
    one = recipe("Adam")
    found = [
        tg.sweep(one.step, (X, Y), 1, 8, seeds=range(19), init=one.model.reset_parameters, how=how, progress=False)
        for how in ("arenas", "lanes")
    ]
    np.testing.assert_allclose(found[0]["loss"], found[1]["loss"], rtol=1e-6)
    assert "lanes" in found[1].explain()


def test_an_evaluation_in_python_is_run_by_fit() -> None:
    one = recipe()

    def scores() -> Any:
        return {"acc": float(one.scores()["acc"])}

    found = tg.sweep(one.step, (X, Y), 3, evaluate=scores, seeds=[1, 2], init=one.model.reset_parameters,
                     progress=False)  # fmt: skip
    assert "reads values" in found.explain()
    history, _ = by_fit(1, recipe, (X, Y), 3)
    np.testing.assert_array_equal(found["acc"][0], history["acc"])


def test_what_is_drawn_at_random_is_a_function_of_the_seed() -> None:
    one = recipe()
    drawn = {"lr": (1e-4, 1.0, "log"), "momentum": (0.1, 0.9), "nesterov": [False, True], "weight_decay": lambda r: 0.1}
    given: Any = {"random": drawn, "trials": 7, "init": one.model.reset_parameters, "progress": False}
    found, again, other = (tg.sweep(one.step, (X, Y), 2, seed=seed, **given) for seed in (1, 1, 2))
    assert found["lr"].tolist() == again["lr"].tolist() != other["lr"].tolist()
    assert len(set(found["lr"].tolist())) == 7
    assert ((found["lr"] > 1e-4) & (found["lr"] < 1.0)).all()


# ---- what it gives back --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swept() -> Any:
    one = recipe()
    return tg.sweep(one.step, (X, Y), 6, 8, evaluate=one.scores, eval_every=4, seeds=range(4), grid={"lr": [0.1, 0.01]},
                    init=one.model.reset_parameters, progress=False)  # fmt: skip


def test_means_come_with_spread_and_number(swept: Any) -> None:
    good, slow = swept.summary("test_loss")
    own = swept["test_loss"][:4, -1]
    assert (good.settings, good.runs, good.diverged) == ({"lr": 0.1}, 4, 0)
    assert good.mean == pytest.approx(own.mean())
    assert good.spread == pytest.approx(own.std(ddof=1))
    assert good.mean < slow.mean
    assert "±" in str(good)
    assert "4 runs" in repr(swept)
    assert "±" in swept._repr_html_()
    best = swept.best("test_loss")
    assert best.value == swept["test_loss"][:, -1].min()
    assert best.usual.runs == 4
    assert swept.best("test_loss", "max").value == swept["test_loss"][:, -1].max()


def test_the_frame_has_a_row_per_model_or_epoch(swept: Any) -> None:
    pytest.importorskip("polars")
    frame = swept.frame()
    assert frame.shape[0] == 8
    assert frame["acc"].to_list() == swept["acc"][:, -1].tolist()
    assert frame["seed"].to_list() == [0, 1, 2, 3] * 2
    long = swept.frame(epochs=True)
    assert long.shape[0] == 48
    assert long["acc"].drop_nulls().shape[0] == 16  # epochs 4 and 6
    assert long["loss"].to_list() == swept["loss"].reshape(-1).tolist()


def test_the_plot_has_a_band_for_each_setting(swept: Any) -> None:
    pytest.importorskip("matplotlib")
    figure = swept.plot("loss", "acc")
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
    assert [len(axes.collections) for axes in figure.axes] == [2, 2]
    line = figure.axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(line, swept["loss"][:4].mean(0))


def test_shapes_and_names(swept: Any) -> None:
    assert swept["loss"].shape == (8, 6)
    assert swept["acc"].shape == (8, 2)
    assert swept.evaluated == [4, 6]
    assert list(swept) == ["loss", "acc", "test_loss"]
    assert len(swept) == 8
    assert swept.settings(-1) == {"lr": 0.01, "seed": 3}
