"""scikit-learn's own checks, all of them, for every estimator; and the tools that estimators are made for."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import tinygrad_nn as tg

KINDS: dict[str, tuple[int, dict[str, Any]]] = {  # how many checks there are at least
    "Classifier": (60, {"max_iter": 100, "learning_rate_init": 0.01}),
    "Regressor": (55, {"max_iter": 100, "learning_rate_init": 0.01}),
    "Transformer": (50, {"hidden": (8,), "max_iter": 50}),
    "SequenceClassifier": (60, {"cell": "rnn", "hidden": (8,), "max_iter": 60, "learning_rate_init": 0.02}),
    "SequenceRegressor": (55, {"cell": "rnn", "hidden": (8,), "max_iter": 60, "learning_rate_init": 0.02}),
}
NOT_FOR_US = {  # skipped by scikit-learn: what needs an environment variable, and what MLPClassifier has not either
    "check_array_api_input",
    "check_classifiers_multilabel_output_format_decision_function",
    "check_sample_weights_pandas_series",
    "check_classifier_data_not_an_array",
    "check_regressor_data_not_an_array",
}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
LABELS = np.array(["few", "many", "some"])[np.digitize(X[:, 0] + X[:, 1], (-0.6, 0.6))]


@pytest.mark.parametrize("kind", KINDS)
def test_all_checks_pass(kind: str) -> None:
    count, settings = KINDS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the checks give to estimators
        found = check_estimator(getattr(tg.sklearn, kind)(**settings), on_fail=None, on_skip=None)
    failed = {one["check_name"]: str(one["exception"]) for one in found if one["status"] not in ("passed", "skipped")}
    assert failed == {}
    assert {one["check_name"] for one in found if one["status"] == "skipped"} <= NOT_FOR_US
    assert len(found) >= count


def classifier(**settings: Any) -> Any:
    defaults = {"hidden": (8,), "max_iter": 150, "learning_rate_init": 0.02, "random_state": 0}
    return tg.sklearn.Classifier(**{**defaults, **settings})


def test_pipeline_search_and_scores() -> None:
    pipeline = make_pipeline(StandardScaler(), classifier())
    assert cross_val_score(pipeline, X, LABELS, cv=3).min() > 0.8
    search = GridSearchCV(pipeline, {"classifier__hidden": [(4,), (8, 8)], "classifier__alpha": [0.0, 1e-3]}, cv=3)
    search.fit(X, LABELS)
    assert search.best_score_ > 0.8
    assert search.best_estimator_.predict(X[:5]).dtype == LABELS.dtype
    assert len(search.cv_results_["params"]) == 4


def test_target_of_a_regressor_is_transformed() -> None:
    model = TransformedTargetRegressor(
        tg.sklearn.Regressor(learning_rate_init=0.01, random_state=0), transformer=StandardScaler()
    )
    assert model.fit(X, 100 + 5 * X[:, 0]).score(X, 100 + 5 * X[:, 0]) > 0.95


def test_a_clone_is_the_same_recipe_without_what_was_learnt() -> None:
    model = classifier(activation="tanh").fit(X, LABELS)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "module_")
    np.testing.assert_array_equal(copy.fit(X, LABELS).predict_proba(X), model.predict_proba(X))


def test_fits_in_threads_and_processes_give_the_same_numbers() -> None:
    alone = cross_val_score(classifier(), X, LABELS, cv=3)
    joblib = pytest.importorskip("joblib")
    with joblib.parallel_backend("threading", n_jobs=2):
        assert (cross_val_score(classifier(), X, LABELS, cv=3) == alone).all()


@pytest.mark.parametrize("frames", ["polars", "pandas"])
def test_frames_come_and_go(frames: str) -> None:
    library = pytest.importorskip(frames)
    names = ["a", "b", "c", "d"]
    table = library.DataFrame({name: X[:, k] for k, name in enumerate(names)})
    model = classifier().fit(table, LABELS)
    assert model.feature_names_in_.tolist() == names
    np.testing.assert_array_equal(model.predict_proba(table), classifier().fit(X, LABELS).predict_proba(X))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table[["b", "a", "c", "d"]])
    codes = tg.sklearn.Transformer(n_components=2, max_iter=5, random_state=0).set_output(transform=frames)
    made = codes.fit_transform(table)
    assert list(made.columns) == ["transformer0", "transformer1"] == codes.get_feature_names_out().tolist()
    assert isinstance(made, library.DataFrame)
