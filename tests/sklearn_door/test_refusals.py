"""Wrong data and settings are refused, in scikit-learn's words where it has some, and leave an estimator as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.errors import ConfigError
from tinygrad_nn.sklearn import Classifier, Regressor, SearchCV, SequenceClassifier, SequenceRegressor, Transformer

X = np.random.default_rng(2).normal(size=(30, 3))
Y = np.arange(30) % 3
ALL = (Classifier, Regressor, Transformer, SequenceClassifier, SequenceRegressor)

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"max_iter": 0}, "max_iter 0; expected an integer, max_iter >= 1"),
    ({"max_iter": 2.5}, "max_iter 2.5; expected an integer"),
    ({"batch_size": 0}, "batch_size 0; expected an integer, batch_size >= 1"),
    ({"batch_size": "all"}, "batch_size 'all'; expected an integer"),
    ({"learning_rate_init": -1.0}, "learning_rate_init -1.0; expected"),
    ({"learning_rate_init": "fast"}, "learning_rate_init 'fast'; expected"),
    ({"alpha": np.nan}, "alpha nan; expected"),
    ({"momentum": None}, "momentum None; expected"),
    ({"tol": "small"}, "tol 'small'; expected"),
    ({"n_iter_no_change": 0}, "n_iter_no_change 0; expected an integer, n_iter_no_change >= 1"),
    ({"validation_fraction": 1.0}, "validation_fraction 1.0; expected"),
    ({"shuffle": "yes"}, "shuffle 'yes'; expected True or False"),
    ({"early_stopping": 1}, "early_stopping 1; expected True or False"),
    ({"dtype": "float16"}, "dtype 'float16'; expected 'auto', 'float32' or 'float64'"),
    ({"solver": "lbfgs"}, "solver 'lbfgs'; expected 'adam', 'adamw', 'sgd'"),
    ({"hidden": (8, 0)}, "hidden 0; expected an integer, hidden >= 1"),
    ({"hidden": "wide"}, "hidden 'wide'; expected an integer"),
    ({"activation": "softplus"}, "activation 'softplus'; expected 'relu', 'tanh'"),
    ({"module": nn.Linear(3, 3)}, "module of type Linear; expected a function that makes a module"),
    ({"module": lambda n_in, n_out: None}, r"a NoneType from module\(.*\); expected a tg.nn.Module"),
    ({"module": lambda n_in, n_out: nn.ReLU()}, "a ReLU without parameters"),
]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(("settings", "words"), WRONG, ids=lambda v: next(iter(v)) if isinstance(v, dict) else "")
def test_settings(kind: Any, settings: dict[str, Any], words: str) -> None:
    if settings.get("activation") and kind in (SequenceClassifier, SequenceRegressor):
        settings, words = {"cell": "ltsm"}, "cell 'ltsm'; expected 'gru', 'lstm' or 'rnn'"
    model = kind(**settings)
    with pytest.raises(ConfigError, match=rf"^\[{kind.__name__}\] got {words}"):
        model.fit(X, Y)
    assert not hasattr(model, "module_")


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_unknown_settings(kind: Any) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'layers'"):
        kind(layers=3)
    with pytest.raises(ValueError, match="Invalid parameter 'layers'"):
        kind().set_params(layers=3)


def test_a_module_of_another_size() -> None:
    with pytest.raises(
        ConfigError, match=r"outputs of shape \(1, 7\) for one sample from the module; expected \(1, 3\)"
    ):
        Classifier(module=lambda n_in, n_out: nn.Linear(n_in, 7)).fit(X, Y)


@pytest.mark.parametrize("kind", [Classifier, Regressor, SequenceClassifier, SequenceRegressor])
def test_data(kind: Any) -> None:
    bad = X.copy()
    bad[4, 1] = np.nan
    model = kind(max_iter=2)
    with pytest.raises(ValueError, match="contains NaN"):
        model.fit(bad, Y)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples"):
        model.fit(X, Y[:-1])
    with pytest.raises(ValueError, match=r"negative|Negative"):
        model.fit(X, Y, sample_weight=-np.ones(30))
    with pytest.raises(ValueError, match=r"sample_weight.shape == \(3,\), expected \(30,\)"):
        model.fit(X, Y, sample_weight=np.ones(3))
    with pytest.raises(ValueError, match=r"at least one non-zero"):
        model.fit(X, Y, sample_weight=np.zeros(30))
    with pytest.raises(ValueError, match=r"beyond 3.4e\+38"):
        kind(max_iter=2, dtype="float32").fit(X * 1e300, Y)
    model.fit(X, Y)
    with pytest.raises(ValueError, match="expecting 3 features"):
        model.predict(X[:, :2])
    with pytest.raises(ValueError, match="contains NaN"):
        model.predict(bad)


@pytest.mark.parametrize("kind", [Classifier, SequenceClassifier])
def test_classes(kind: Any) -> None:
    with pytest.raises(ValueError, match="only one class: 1"):
        kind(max_iter=2).fit(X, np.ones(30, int))
    with pytest.raises(ValueError, match="Unknown label type"):
        kind(max_iter=2).fit(X, X[:, 0])
    model = kind(max_iter=2)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, Y)
    model.partial_fit(X, Y, classes=[0, 1, 2])
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`"):
        model.partial_fit(X, Y + 1)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    with pytest.raises(ValueError, match="class_weight"):
        kind(max_iter=2, class_weight="even").fit(X, Y)


def test_a_regressor_has_as_many_targets_as_before() -> None:
    model = Regressor(max_iter=2).partial_fit(X, X[:, :2])
    with pytest.raises(ValueError, match="y has 3 outputs, but Regressor was trained for 2"):
        model.partial_fit(X, X)


def test_weights_that_ran_away() -> None:
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        Regressor(solver="sgd", learning_rate_init=1e6, max_iter=50, dtype="float32").fit(X, 1e6 * X[:, 0])


def test_sequences() -> None:
    model = SequenceClassifier(max_iter=2)
    ragged = [np.zeros((3, 2)), np.ones((2, 2))]
    for wrong in (np.zeros((3, 4)), np.zeros((0, 2)), np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match=r"sequence 1 of shape .* beside one of shape \(3, 2\)"):
            model.fit([ragged[0], wrong], [0, 1])
    with pytest.raises(ValueError, match="contains NaN"):
        model.fit([ragged[0], ragged[1] * np.nan], [0, 1])
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples"):
        model.fit(ragged, [0, 1, 1])
    with pytest.raises(ValueError, match="requires y to be passed"):
        model.fit(ragged, None)
    with pytest.raises(ValueError, match="X has 3 features, but SequenceClassifier is expecting 2"):
        model.fit(ragged, [0, 1]).predict(np.zeros((2, 4, 3)))


def test_codes() -> None:
    with pytest.raises(ConfigError, match="n_components 0; expected an integer, n_components >= 1"):
        Transformer(n_components=0).fit(X)
    with pytest.raises(ValueError, match="X has 3 columns, but Transformer makes 2"):
        Transformer(max_iter=2).fit(X).inverse_transform(X)


def test_searches() -> None:
    model = Classifier(max_iter=2)
    with pytest.raises(ConfigError, match="neither of param_grid and param_distributions; expected one of them"):
        SearchCV(model).fit(X, Y)
    with pytest.raises(ConfigError, match="both of param_grid and param_distributions"):
        SearchCV(model, {"alpha": [0.1]}, param_distributions={"alpha": [0.1]}).fit(X, Y)
    with pytest.raises(ConfigError, match="n_jobs 0; expected an integer, n_jobs >= 1"):
        SearchCV(model, {"alpha": [0.1]}, n_jobs=0).fit(X, Y)
    with pytest.raises(ConfigError, match="n_iter 0; expected an integer, n_iter >= 1"):
        SearchCV(model, param_distributions={"alpha": [0.1]}, n_iter=0).fit(X, Y)
    with pytest.raises(ValueError, match="Invalid parameter 'alhpa'"):
        SearchCV(model, {"alhpa": [0.1]}).fit(X, Y)
    with pytest.raises(ConfigError, match=r"\[Classifier\] got alpha -1"):
        SearchCV(model, {"alpha": [0.1, -1]}).fit(X, Y)
    with pytest.raises(ValueError, match="n_splits=40"):
        SearchCV(model, {"alpha": [0.1]}, cv=40).fit(X, Y)
    with pytest.raises(AttributeError, match="no attribute 'Klassifier'"):
        _ = tg.sklearn.Klassifier  # type: ignore[attr-defined]
