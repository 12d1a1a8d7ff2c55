"""SearchCV gives the numbers of GridSearchCV, by one sweep where that can be, and by fits where not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tinygrad_nn import nn
from tinygrad_nn.sklearn import Classifier, Regressor, SearchCV, SequenceClassifier, search
from tinygrad_nn.sklearn.search import sweep

RNG = np.random.default_rng(3)
X = RNG.normal(size=(90, 4))
Y = np.array(["a", "b", "c"])[np.digitize(X[:, 0] - X[:, 1], (-0.5, 0.5))]
SMALL: dict[str, Any] = {"hidden": (4,), "max_iter": 25, "learning_rate_init": 0.02, "random_state": 0}


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many models each sweep had."""
    counts: list[int] = []

    def counted(*args: Any, **settings: Any) -> Any:
        found = sweep(*args, **settings)
        counts.append(len(found))
        return found

    monkeypatch.setattr(search, "sweep", counted)
    return counts


def with_dropout(n_in: int, n_out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(n_in, 6), nn.Dropout(0.2), nn.ReLU(), nn.Linear(6, n_out))


CASES: dict[str, tuple[Any, Any, Any, dict[str, Any], list[int]]] = {
    # estimator, y, grid, settings of the search, models of each sweep
    "rates": (Classifier(**SMALL), Y, {"learning_rate_init": [1e-3, 0.05], "alpha": [1e-4, 0.1]}, {}, [12]),
    "batches": (Classifier(**SMALL, batch_size=16), Y, {"alpha": [1e-4, 0.1]}, {"cv": KFold(4)}, [8]),
    "sizes": (Classifier(**SMALL), Y, {"hidden": [(3,), (5,)], "alpha": [0.0, 0.1, 0.2]}, {}, [3, 6, 3, 6]),
    "stopping": (Classifier(**SMALL), Y, {"n_iter_no_change": [2, 30], "tol": [0.01]}, {}, [3, 3]),
    "several": (Regressor(**SMALL), X[:, :2], {"alpha": [1e-4, 0.1]}, {"return_train_score": True}, [6]),
    "scores": (Classifier(**SMALL), Y, {"alpha": [1e-4, 0.1]},
               {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"}, [6]),
    "dropout": (Classifier(**SMALL, module=with_dropout), Y, {"alpha": [1e-4, 0.1]}, {}, [6]),
    "sequences": (SequenceClassifier(**SMALL, cell="rnn"), Y, {"alpha": [1e-4, 0.1]}, {}, [6]),
    "two threads": (Classifier(**SMALL), Y, {"alpha": [1e-4, 0.1]}, {"n_jobs": 2}, [6]),
    "balanced": (Classifier(**SMALL, class_weight="balanced"), Y, {"alpha": [1e-4, 0.1]}, {}, []),
    "held out": (Classifier(**SMALL, early_stopping=True), Y, {"alpha": [1e-4, 0.1]}, {}, []),
    "pipeline": (make_pipeline(StandardScaler(), Classifier(**SMALL)), Y, {"classifier__alpha": [1e-4, 0.1]}, {}, []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_numbers_of_grid_search(case: str, sweeps: list[int]) -> None:
    model, y, grid, settings, counts = CASES[case]
    settings = {"cv": 3, **settings}
    found = SearchCV(model, grid, **settings).fit(X, y)
    wanted = GridSearchCV(model, grid, **{**settings, "n_jobs": None}).fit(X, y)
    assert sorted(sweeps) == sorted(counts)
    assert found.cv_results_["params"] == wanted.cv_results_["params"]
    assert found.cv_results_.keys() == wanted.cv_results_.keys()
    for name, column in wanted.cv_results_.items():
        if "test_" in name or "train_" in name:
            np.testing.assert_allclose(found.cv_results_[name], column, rtol=1e-5, atol=1e-6)
    assert found.best_params_ == wanted.best_params_
    assert found.best_score_ == pytest.approx(wanted.best_score_)
    np.testing.assert_allclose(found.predict(X) == y, wanted.predict(X) == y)
    assert found.n_splits_ == wanted.n_splits_
    assert found.score(X, y) == pytest.approx(wanted.score(X, y))


def test_weights_groups_and_drawn_settings(sweeps: list[int]) -> None:
    weight, groups = RNG.uniform(0.1, 2, 90), np.arange(90) % 5
    distributions = {"alpha": [1e-4, 1e-3, 1e-2, 0.1], "learning_rate_init": [0.01, 0.02, 0.05]}
    settings: dict[str, Any] = {"n_iter": 4, "random_state": 7, "cv": GroupKFold(5)}
    found = SearchCV(Classifier(**SMALL), param_distributions=distributions, **settings)
    found.fit(X, Y, sample_weight=weight, groups=groups)
    wanted = RandomizedSearchCV(Classifier(**SMALL), distributions, **settings)
    wanted.fit(X, Y, sample_weight=weight, groups=groups)
    assert sweeps == [20]
    assert found.cv_results_["params"] == wanted.cv_results_["params"]
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], wanted.cv_results_["mean_test_score"])


def test_a_candidate_that_runs_away_disturbs_no_other(sweeps: list[int]) -> None:
    model = Regressor(solver="sgd", max_iter=30, random_state=0, dtype="float32")
    grid = {"learning_rate_init": [1e-3, 1e6]}
    found = SearchCV(model, grid, cv=3, error_score=-9.0).fit(X, X[:, 0])
    assert sweeps == [6]
    assert found.cv_results_["mean_test_score"][1] == -9.0
    alone = SearchCV(model, {"learning_rate_init": [1e-3]}, cv=3).fit(X, X[:, 0])
    np.testing.assert_allclose(found.cv_results_["mean_test_score"][0], alone.best_score_)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        SearchCV(model, grid, cv=3, error_score="raise").fit(X, X[:, 0])


def test_a_fold_that_lacks_a_class_is_fitted_alone(sweeps: list[int]) -> None:
    order = np.argsort(Y, kind="stable")
    folds = KFold(3)
    found = SearchCV(Classifier(**SMALL), {"alpha": [1e-4]}, cv=folds, refit=False).fit(X[order], Y[order])
    assert sweeps == []
    wanted = GridSearchCV(Classifier(**SMALL), {"alpha": [1e-4]}, cv=folds, refit=False).fit(X[order], Y[order])
    assert found.best_score_ == wanted.best_score_


def test_without_a_seed_all_candidates_begin_alike() -> None:
    settings = {key: value for key, value in SMALL.items() if key != "random_state"}
    grid = {"alpha": [1e-4, 1.0001e-4]}
    one = SearchCV(Classifier(**settings), grid, cv=3, random_state=1).fit(X, Y)
    again = SearchCV(Classifier(**settings), grid, cv=3, random_state=1).fit(X, Y)
    np.testing.assert_array_equal(one.cv_results_["mean_test_score"], again.cv_results_["mean_test_score"])
    np.testing.assert_allclose(*one.cv_results_["mean_test_score"], atol=0.03)
