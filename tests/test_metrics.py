"""Metrics against scikit-learn and on the cases where a quotient has nothing to divide by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import metrics
from tinygrad_nn.errors import ConfigError, DataError, ShapeError

RNG = np.random.default_rng(2)
SCORES, LABELS = RNG.normal(size=(60, 4)), RNG.integers(0, 4, 60)
CHANCE, TRUTH = RNG.uniform(size=80), RNG.integers(0, 2, 80)


def test_classes_against_scikit_learn() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    guessed = SCORES.argmax(1)
    assert metrics.accuracy(SCORES, LABELS).item() == pytest.approx(sk.accuracy_score(LABELS, guessed))
    np.testing.assert_array_equal(metrics.confusion(SCORES, LABELS).numpy(), sk.confusion_matrix(LABELS, guessed))
    for average in ("macro", "micro", "weighted"):
        for mine, theirs in (
            (metrics.precision, sk.precision_score),
            (metrics.recall, sk.recall_score),
            (metrics.f1, sk.f1_score),
        ):
            expected = theirs(LABELS, guessed, average=average, zero_division=0)
            assert mine(SCORES, LABELS, average).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(80,), (80, 1)])
def test_chances_against_scikit_learn(shape: tuple[int, ...]) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    guessed = CHANCE > 0.5
    report = metrics.binary_report(CHANCE.reshape(shape), TRUTH.reshape(shape))
    assert report["accuracy"] == pytest.approx(sk.accuracy_score(TRUTH, guessed))
    assert report["precision"] == pytest.approx(sk.precision_score(TRUTH, guessed), rel=1e-6)
    assert report["recall"] == report["positive_accuracy"] == pytest.approx(sk.recall_score(TRUTH, guessed), rel=1e-6)
    assert report["f1"] == pytest.approx(sk.f1_score(TRUTH, guessed), rel=1e-6)
    (tn, fp), (fn, tp) = sk.confusion_matrix(TRUTH, guessed)
    assert (report["tp"], report["fp"], report["tn"], report["fn"]) == (tp, fp, tn, fn)
    assert report["negative_accuracy"] == pytest.approx(tn / (tn + fp), rel=1e-6)


def test_regression_against_scikit_learn() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    truth, guessed = RNG.uniform(1, 5, (40, 1)), RNG.uniform(1, 5, 40)
    assert metrics.mae(guessed, truth).item() == pytest.approx(sk.mean_absolute_error(truth, guessed))
    assert metrics.rmse(guessed, truth).item() == pytest.approx(sk.mean_squared_error(truth, guessed) ** 0.5)
    assert metrics.mape(guessed, truth).item() == pytest.approx(sk.mean_absolute_percentage_error(truth, guessed))
    assert metrics.r2(guessed, truth).item() == pytest.approx(sk.r2_score(truth, guessed))
    near = np.abs(guessed - truth[:, 0]) <= 0.1 * truth[:, 0]
    assert metrics.within(guessed, truth, 0.1).item() == pytest.approx(near.mean(), rel=1e-6)


def test_reports_are_the_scores_and_those_compile() -> None:
    for scores, report, truth in (
        (metrics.binary_scores, metrics.binary_report, TRUTH),
        (metrics.regression_scores, metrics.regression_report, TRUTH + 0.5),
    ):
        found = tg.jit(scores)(tg.tensor(CHANCE), tg.tensor(truth))
        assert {name: value.item() for name, value in found.items()} == pytest.approx(report(CHANCE, truth), rel=1e-6)


def test_division_by_nothing_is_defined() -> None:
    assert metrics.precision([0, 0], [1, 0]).item() == 0.0
    assert metrics.precision([0, 0], [1, 0], zero_division=1.0).item() == 1.0
    assert metrics.recall([1, 0], [0, 0]).item() == 0.0
    assert metrics.f1([0, 0], [0, 0]).item() == 0.0
    assert metrics.r2([1.0, 1.0], [2.0, 2.0]).item() == 0.0
    assert metrics.r2([2.0, 2.0], [2.0, 2.0]).item() == 1.0
    assert metrics.mape([1.0, 2.0], [0.0, 2.0]).item() == 0.0


def test_threshold_and_classes() -> None:
    assert metrics.accuracy([0.4, 0.6], [1, 1], threshold=0.3).item() == 1.0
    assert metrics.confusion([0, 0], [0, 0]).shape == (2, 2)
    assert metrics.confusion([0, 2], [0, 1], num_classes=3).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_no_gradient_flows() -> None:
    x = tg.tensor(SCORES).requires_grad_()
    assert not metrics.accuracy(x, LABELS).requires_grad
    assert not metrics.mae(x, tg.tensor(SCORES)).requires_grad


def test_wrong_input_is_named() -> None:
    with pytest.raises(ShapeError, match="60 predictions and 240 targets"):
        metrics.accuracy(SCORES, SCORES)
    with pytest.raises(ShapeError, match=r"\[mae\] got shapes"):
        metrics.mae([1.0], [1.0, 2.0])
    with pytest.raises(ConfigError, match="average 'mean'"):
        metrics.f1(SCORES, LABELS, "mean")  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", [[0, 1, 2, 1], [0, -1, 0, 1], [0, 0.5, 1, 1], [0, np.nan, 1, 1]], ids=str)
@pytest.mark.parametrize("name", ["precision", "recall", "f1", "binary_scores", "binary_report"])
def test_labels_of_no_class_are_named_with_their_row(name: str, labels: Any) -> None:
    row = next(k for k, label in enumerate(labels) if label not in (0, 1))
    with pytest.raises(DataError, match=rf"^\[\w+\] got the label .* in row {row}; expected (0 or 1|whole numbers)"):
        getattr(metrics, name)([0.1, 0.9, 0.3, 0.7], labels)
