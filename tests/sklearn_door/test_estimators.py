"""What estimators learn and keep: weights, early stopping, going on, copies, and one compiled run for many fits."""

from __future__ import annotations

import pickle
import subprocess
import sys
from io import BytesIO
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.compiler.run.training import Training
from tinygrad_nn.sklearn import Classifier, Regressor, SequenceClassifier, SequenceRegressor, Transformer, trainer

RNG = np.random.default_rng(1)
X = RNG.normal(size=(150, 4))
Y = np.digitize(X[:, 0] + 0.5 * X[:, 1] ** 2, (-0.2, 0.8))
LABELS = np.array(["few", "some", "many"])[Y]
TARGETS = np.c_[X[:, 0] - X[:, 1], np.abs(X[:, 2])]
SETTINGS: dict[str, Any] = {"hidden": (8,), "max_iter": 30, "learning_rate_init": 0.02, "random_state": 3}


@pytest.fixture(autouse=True)
def none_kept() -> None:
    trainer._free.clear()


def fitted(**settings: Any) -> Classifier:
    return Classifier(**{**SETTINGS, **settings}).fit(X, LABELS)


def stops(curve: list[float], patience: int, tol: float) -> int:
    """The epochs after which scikit-learn would stop, by the losses."""
    best, waited = np.inf, 0
    for epoch, loss in enumerate(curve, 1):
        waited = waited + 1 if loss > best - tol else 0
        best = min(best, loss)
        if waited > patience:
            return epoch
    return len(curve)


# ---- one run for many -----------------------------------------------------------------------------------------------


def test_a_second_fit_makes_nothing_new(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    init = Training.__init__
    monkeypatch.setattr(
        Training, "__init__", lambda self, *args, **more: (made.append(1), init(self, *args, **more))[1]
    )
    first = fitted().predict_proba(X)
    again = fitted().predict_proba(X)
    other = fitted(learning_rate_init=0.1, alpha=0.1, tol=1e-3, n_iter_no_change=5)
    np.testing.assert_array_equal(first, again)
    assert len(made) == 1
    monkeypatch.undo()
    trainer._free.clear()
    fresh = fitted(learning_rate_init=0.1, alpha=0.1, tol=1e-3, n_iter_no_change=5)
    assert other.loss_curve_ == fresh.loss_curve_
    np.testing.assert_array_equal(other.predict_proba(X), fresh.predict_proba(X))


@pytest.mark.parametrize("settings", [{"hidden": (9,)}, {"activation": "tanh"}, {"solver": "sgd"}, {"alpha": 0.0}])
def test_another_architecture_is_not_taken_for_it(settings: Any) -> None:
    fitted()
    one = fitted(**settings).predict_proba(X)
    trainer._free.clear()
    np.testing.assert_array_equal(fitted(**settings).predict_proba(X), one)


def test_modules_that_differ_in_one_attribute_are_two_structures() -> None:
    def structure(make: Any) -> Any:
        return trainer.structure(make())

    same = [structure(lambda: nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(0.1))) for _ in range(2)]
    assert same[0] == same[1]
    assert hash(same[0]) == hash(same[1])
    others = [
        lambda: nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(0.2)),
        lambda: nn.Sequential(nn.Linear(2, 3, bias=False), nn.LeakyReLU(0.1)),
        lambda: nn.Sequential(nn.Linear(2, 4), nn.LeakyReLU(0.1)),
        lambda: nn.Sequential(nn.Linear(2, 3).double(), nn.LeakyReLU(0.1)),
        lambda: nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(0.1), nn.LeakyReLU(0.1)),
    ]
    assert all(structure(make) != same[0] for make in others)
    tied, loose = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    assert trainer.structure(tied) != trainer.structure(loose)


def test_the_trainers_kept_are_few_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "KEPT", 2)
    for width in (2, 3, 4):
        fitted(hidden=(width,), max_iter=1)
    assert sum(map(len, trainer._free.values())) == 2
    monkeypatch.setattr(trainer, "LARGE", 10)
    trainer._free.clear()
    fitted(max_iter=1)
    assert not trainer._free


def test_the_generator_of_others_is_left_alone() -> None:
    def make(n_in: int, n_out: int) -> nn.Module:
        return nn.Sequential(nn.Linear(n_in, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, n_out))

    before = tg.get_rng_state().tolist()
    one, other = fitted(module=make), fitted(module=make)
    assert tg.get_rng_state().tolist() == before
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    np.testing.assert_array_equal(one.predict_proba(X), one.predict_proba(X))
    assert one.loss_curve_ != fitted(module=make, random_state=4).loss_curve_


def test_denormal_numbers_are_those_of_others_afterwards() -> None:
    fitted()
    assert np.float32(1e-40) * np.float32(0.5) > 0


# ---- how long -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", [0.0, 1e9], ids=["in time", "too late"])
@pytest.mark.parametrize("batch", ["auto", 32])
def test_training_ends_where_scikit_learn_ends_it(batch: Any, look: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the machine code went on for longer."""
    monkeypatch.setattr(trainer, "LOOK", look)
    model = fitted(max_iter=400, tol=2e-3, n_iter_no_change=4, batch_size=batch)
    longer = fitted(max_iter=400, tol=-np.inf, batch_size=batch)
    assert model.n_iter_ == stops(longer.loss_curve_, 4, 2e-3) < 400
    np.testing.assert_allclose(model.loss_curve_, longer.loss_curve_[: model.n_iter_], rtol=1e-5)
    assert len(longer.loss_curve_) == longer.n_iter_ == 400
    exact = fitted(max_iter=model.n_iter_, tol=-np.inf, batch_size=batch)
    np.testing.assert_allclose(model.predict_proba(X), exact.predict_proba(X), rtol=1e-4)
    assert model.loss_ == model.loss_curve_[-1]
    assert model.best_loss_ == min(model.loss_curve_)


@pytest.mark.parametrize(("kind", "y"), [(Classifier, LABELS), (Regressor, TARGETS)])
def test_early_stopping_returns_the_best_weights(kind: Any, y: Any) -> None:
    settings: Any = {**SETTINGS, "early_stopping": True, "validation_fraction": 0.3, "max_iter": 300, "batch_size": 50}
    model = kind(**settings, n_iter_no_change=8, tol=0.0).fit(X, y)
    scores = model.validation_scores_
    assert len(scores) == model.n_iter_ < 300
    best = int(np.argmax(scores))
    assert scores[best] == model.best_validation_score_
    there = kind(**{**settings, "max_iter": best + 1, "n_iter_no_change": 1000}).fit(X, y)
    np.testing.assert_allclose(there.validation_scores_, scores[: best + 1], rtol=1e-4)
    outputs = "predict_proba" if kind is Classifier else "predict"
    np.testing.assert_allclose(getattr(model, outputs)(X), getattr(there, outputs)(X), rtol=1e-3, atol=1e-5)


def test_warm_start_goes_on_and_a_new_fit_does_not() -> None:
    model = Classifier(**{**SETTINGS, "warm_start": True, "tol": -np.inf})
    first = model.fit(X, LABELS).loss_curve_[-1]
    assert model.fit(X, LABELS).loss_curve_[SETTINGS["max_iter"]] < first
    assert len(model.loss_curve_) == 2 * SETTINGS["max_iter"]
    with pytest.raises(ValueError, match="same classes as in the previous call"):
        model.fit(X, np.where(LABELS == "few", "none", LABELS))
    model.set_params(warm_start=False).fit(X, LABELS)
    assert len(model.loss_curve_) == SETTINGS["max_iter"]


def test_partial_fits_are_the_epochs_of_one_fit() -> None:
    whole = fitted(tol=-np.inf, shuffle=False)
    steps = Classifier(**{**SETTINGS, "shuffle": False})
    for k in range(SETTINGS["max_iter"]):
        steps.partial_fit(X, LABELS, **({"classes": np.unique(LABELS)} if k == 0 else {}))
    np.testing.assert_allclose(steps.loss_curve_, whole.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(steps.predict_proba(X), whole.predict_proba(X), rtol=1e-5)
    assert steps.n_iter_ == whole.n_iter_
    again = pickle.loads(pickle.dumps(steps))
    np.testing.assert_array_equal(
        again.partial_fit(X, LABELS).predict_proba(X), steps.partial_fit(X, LABELS).predict_proba(X)
    )


# ---- what counts ----------------------------------------------------------------------------------------------------


def test_a_weight_of_two_is_a_sample_twice() -> None:
    weights = RNG.integers(0, 3, len(X))
    twice = np.repeat(np.arange(len(X)), weights)
    settings: Any = {**SETTINGS, "dtype": "float64", "batch_size": 1000}
    one = Classifier(**settings).fit(X, LABELS, sample_weight=weights)
    other = Classifier(**settings).fit(X[twice], LABELS[twice])
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-8)


def test_batches_without_weight_do_no_harm() -> None:
    weights = np.where(np.arange(len(X)) < 50, 0.0, 1.0)
    model = Classifier(**{**SETTINGS, "batch_size": 25, "shuffle": False}).fit(X, LABELS, sample_weight=weights)
    assert np.isfinite(model.loss_curve_).all()
    assert model.score(X[50:], LABELS[50:]) > 0.8


def test_class_weights_are_weights_of_samples() -> None:
    balanced = Classifier(**SETTINGS, class_weight="balanced").fit(X, LABELS)
    weighted = Classifier(**SETTINGS).fit(X, LABELS, compute_sample_weight("balanced", LABELS))
    np.testing.assert_allclose(balanced.predict_proba(X), weighted.predict_proba(X), rtol=1e-6)
    heavy = Classifier(**SETTINGS, class_weight={"few": 50.0, "some": 1.0, "many": 1.0}).fit(X, LABELS)
    assert (heavy.predict(X) == "few").sum() > (balanced.predict(X) == "few").sum()


def test_the_penalty_makes_weights_small() -> None:
    sizes = [sum(float((p * p).sum()) for p in fitted(alpha=alpha, max_iter=200).module_.parameters() if p.ndim > 1)
             for alpha in (0.0, 1e-4, 30.0)]  # fmt: skip
    assert sizes[2] < 0.5 * sizes[0]
    assert sizes[1] < sizes[0]


def test_labels_probabilities_and_several_targets() -> None:
    model = fitted(max_iter=200)
    assert model.classes_.tolist() == ["few", "many", "some"]
    assert model.score(X, LABELS) > 0.9
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X), rtol=1e-5)
    several = Regressor(**{**SETTINGS, "max_iter": 300}).fit(X, TARGETS)
    assert several.predict(X).shape == TARGETS.shape
    assert several.score(X, TARGETS) > 0.9
    both = np.c_[X[:, 0] > 0, X[:, 1] > 0].astype(int)
    marks = Classifier(**{**SETTINGS, "max_iter": 200}).fit(X, both)
    assert (marks.predict(X) == both).mean() > 0.95
    assert marks.predict_proba(X).shape == both.shape


def test_other_names_of_settings() -> None:
    model = Classifier(epochs=7, lr=0.5, hidden_layer_sizes=(3,), optimizer="sgd", patience=4, seed=1)
    plain = Classifier(
        max_iter=7, learning_rate_init=0.5, hidden=(3,), solver="sgd", n_iter_no_change=4, random_state=1
    )
    assert model.get_params() == plain.get_params()
    assert model.set_params(lr=0.1).learning_rate_init == 0.1
    with pytest.raises(ValueError, match=r"\[Classifier\] got lr and learning_rate_init; expected one of the two"):
        Classifier(lr=1.0, learning_rate_init=1.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_the_one_that_is_asked_for(dtype: str) -> None:
    model = fitted(dtype=dtype, max_iter=3)
    assert {p.dtype.name for p in model.module_.parameters()} == {dtype}
    assert model.predict_proba(X).dtype == dtype


@pytest.mark.parametrize("tool", [pickle, joblib])
def test_copies_are_the_same(tool: Any) -> None:
    kinds: list[tuple[Any, Any]] = [
        (Classifier, LABELS),
        (Regressor, X[:, 0]),
        (SequenceClassifier, LABELS),
        (Transformer, None),
    ]
    for kind, y in kinds:
        model = kind(**{**SETTINGS, "max_iter": 3}).fit(X, y)
        file = BytesIO()
        tool.dump(model, file)
        file.seek(0)
        again = tool.load(file)
        method = "transform" if y is None else "predict"
        np.testing.assert_array_equal(getattr(again, method)(X), getattr(model, method)(X))
        again.fit(X, y)


def test_a_solver_and_a_module_of_ones_own() -> None:
    def make(n_in: int, n_out: int) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(n_in), nn.Linear(n_in, 16), nn.Tanh(), nn.Linear(16, n_out))

    def solver(parameters: Any) -> Any:
        return tg.optim.AdamW(parameters, weight_decay=0.1)

    model = Classifier(module=make, solver=solver, max_iter=150, lr=0.02, random_state=0).fit(X, LABELS)
    assert model.score(X, LABELS) > 0.85
    assert model.module_[0].running_mean.abs().sum() > 0
    assert not model.module_.training


# ---- sequences ------------------------------------------------------------------------------------------------------


def test_sequences_of_all_forms() -> None:
    lengths = RNG.integers(3, 6, 60)
    ragged = [RNG.normal(size=(n, 2)).cumsum(0) for n in lengths]
    ends = np.array([one[-1, 0] for one in ragged])
    model = SequenceRegressor(hidden=(12,), max_iter=150, lr=0.02, batch_size=20, random_state=0).fit(ragged, ends)
    assert model.n_features_in_ == 2
    assert np.corrcoef(model.predict(ragged), ends)[0, 1] > 0.9
    alone = [float(model.predict([one])[0]) for one in ragged]
    np.testing.assert_allclose(model.predict(ragged), alone, rtol=1e-4, atol=1e-5)
    stacked = np.stack([one[:3] for one in ragged])
    np.testing.assert_allclose(model.predict(stacked), model.predict(list(stacked)), rtol=1e-6)
    kept = SequenceClassifier(hidden=(4,), max_iter=5, early_stopping=True, random_state=0).fit(ragged, ends > 0)
    assert len(kept.validation_scores_) == kept.n_iter_
    table = SequenceClassifier(hidden=(4,), max_iter=5, random_state=0).fit(X, LABELS)
    cube = SequenceClassifier(hidden=(4,), max_iter=5, random_state=0).fit(X[:, :, None], LABELS)
    np.testing.assert_array_equal(table.predict_proba(X), cube.predict_proba(X[:, :, None]))
    assert (table.n_features_in_, cube.n_features_in_) == (4, 1)


def test_a_code_and_the_way_back() -> None:
    flat = np.outer(RNG.normal(size=80), [1.0, 2.0, -1.0]) + np.array([0.0, 1.0, 0.0])
    model = Transformer(n_components=1, hidden=(12, 6), max_iter=600, lr=0.01, random_state=0).fit(flat)
    assert [tuple(p.shape) for p in model.module_.parameters() if p.ndim > 1] == [
        (12, 3), (6, 12), (1, 6), (6, 1), (12, 6), (3, 12)
    ]  # fmt: skip
    codes = model.transform(flat)
    assert codes.shape == (80, 1)
    assert np.abs(model.inverse_transform(codes) - flat).mean() < 0.2
    assert model.score(flat) > -0.1


# ---- without --------------------------------------------------------------------------------------------------------


def test_without_a_compiler_it_is_the_same_slowly() -> None:
    code = (
        "import warnings; warnings.simplefilter('ignore'); import numpy as np, tinygrad_nn as tg\n"
        "x = np.random.default_rng(0).normal(size=(70, 3)); y = (x[:, 0] > 0).astype(int)\n"
        "m = tg.sklearn.Classifier(hidden=(4,), epochs=40, batch_size=32, tol=1e-2, lr=0.05, seed=0).fit(x, y)\n"
        "print(m.n_iter_, round(float(m.predict_proba(x).sum(0)[0]), 2))"
    )
    texts = [
        subprocess.run(
            [sys.executable, "-c", code], env={"TGNN_JIT": jit, "PATH": ""}, capture_output=True, text=True, check=True
        ).stdout
        for jit in ("0", "1")
    ]
    assert texts[0] == texts[1]


def test_without_scikit_learn_the_line_that_installs_it_is_said() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None; import tinygrad_nn as tg\n"
        "try: tg.sklearn.Classifier\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "tinygrad_nn[sklearn]"' in done.stdout
    loads = "import sys, tinygrad_nn as tg; tg.sklearn; print('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, check=True).stdout == "False\n"
