"""ROC and precision-recall curves, thresholds and calibration, against scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_nn as tg
from tinygrad_nn import metrics
from tinygrad_nn.errors import ConfigError, DataError, ShapeError, TinygradError, TraceError

RNG = np.random.default_rng(3)


def sample(n: int = 200, ties: bool = False, weights: bool = False) -> tuple[Any, Any, Any]:
    y = RNG.integers(0, 2, n)
    y[:2] = 0, 1
    p = np.clip(0.3 * y + RNG.uniform(0, 0.7, n), 0, 1)
    return np.round(p, 1) if ties else p, y, RNG.integers(0, 3, n).astype(float) if weights else None


CASES = [(False, False), (True, False), (False, True), (True, True)]


@pytest.mark.parametrize(("ties", "weights"), CASES)
@pytest.mark.parametrize("drop", [True, False])
def test_roc_equals_scikit_learn(ties: bool, weights: bool, drop: bool) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    p, y, w = sample(ties=ties, weights=weights)
    curve = metrics.roc_curve(p, y, w, drop_intermediate=drop)
    for mine, theirs in zip(
        (curve.fpr, curve.tpr, curve.thresholds),
        sklearn.roc_curve(y, p, sample_weight=w, drop_intermediate=drop),
        strict=True,
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    assert curve.auc == pytest.approx(sklearn.roc_auc_score(y, p, sample_weight=w), rel=1e-12)


@pytest.mark.parametrize(("ties", "weights"), CASES)
def test_precision_recall_equals_scikit_learn(ties: bool, weights: bool) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    p, y, w = sample(ties=ties, weights=weights)
    curve = metrics.precision_recall_curve(p, y, w)
    theirs = sklearn.precision_recall_curve(y, p, sample_weight=w)
    for mine, other in zip((curve.precision, curve.recall, curve.thresholds), theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12)
    expected = sklearn.average_precision_score(y, p, sample_weight=w)
    assert curve.average_precision == pytest.approx(expected, rel=1e-12)
    share = [np.average(p >= t, weights=w) for t in curve.thresholds]
    np.testing.assert_allclose(curve.flagged, share, rtol=1e-12)


def test_constant_and_perfect_scores() -> None:
    y = [0, 1, 1, 0]
    assert metrics.roc_curve([0.5] * 4, y).auc == 0.5
    assert metrics.precision_recall_curve([0.5] * 4, y).average_precision == 0.5
    assert metrics.roc_curve(y, y).auc == 1.0
    assert metrics.roc_curve([1, 0, 0, 1], y).auc == 0.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ties", [False, True])
def test_a_threshold_does_what_it_promises(dtype: str, ties: bool) -> None:
    p, y, _ = sample(ties=ties)
    p = p.astype(dtype)
    for wanted in (0.5, 0.6, 0.75, 0.9):
        for name, rate, other in (
            ("precision", metrics.precision, metrics.recall),
            ("recall", metrics.recall, metrics.precision),
        ):
            point = metrics.threshold_for(p, y, **{name: wanted})
            above = (p > point.threshold).astype(int)
            assert rate(above, y).item() == pytest.approx(getattr(point, name), rel=1e-6)
            assert rate(p, y, threshold=point.threshold).item() == rate(above, y).item() >= wanted - 1e-6
            np.testing.assert_array_equal(above, p >= point.threshold)  # either convention
            assert above.mean() == pytest.approx(point.flagged)
            for t in np.unique(p):  # nothing else that reaches it is better
                guess = (p >= t).astype(int)
                if rate(guess, y).item() >= wanted:
                    assert other(guess, y).item() <= other(above, y).item() + 1e-6


def test_a_threshold_below_all_scores() -> None:
    p = np.array([0.25, 0.5, 0.75], np.float32)
    point = metrics.threshold_for(p, [1, 0, 1], recall=1.0)
    assert point.threshold < 0.25
    assert metrics.recall(p, [1, 0, 1], threshold=point.threshold).item() == 1.0


def test_a_precision_that_nothing_reaches() -> None:
    with pytest.raises(DataError, match=r"precision 0.9; expected one .*; hint: the best is 0.6667, with recall 1"):
        metrics.threshold_for([0.9, 0.8, 0.7], [0, 1, 1], precision=0.9)


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_calibration_equals_scikit_learn(strategy: Any) -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    p, y, _ = sample(500)
    p[:5] = 0.0, 1.0, 0.5, 0.1, 0.2  # on edges
    table = metrics.calibration_table(p, y, 10, strategy)
    observed, predicted = calibration.calibration_curve(y, p, n_bins=10, strategy=strategy)
    full = table.weight > 0
    np.testing.assert_allclose(table.observed[full], observed, rtol=1e-12)
    np.testing.assert_allclose(table.predicted[full], predicted, rtol=1e-12)
    assert table.weight.sum() == 500
    by_hand = np.sum(table.weight[full] * np.abs(observed - predicted)) / 500
    assert table.ece == pytest.approx(by_hand)
    assert table.brier == pytest.approx(np.mean((p - y) ** 2))
    if strategy == "uniform":
        assert metrics.expected_calibration_error(p, y).item() == table.ece


def test_calibration_of_several_classes_is_that_of_the_guess() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.5, 0.4, 0.1]])
    table = metrics.calibration_table(p, [0, 1, 0], bins=2)
    assert table.weight.tolist() == [1.0, 2.0]
    np.testing.assert_allclose(table.predicted, [0.5, 0.65])
    np.testing.assert_allclose(table.observed, [1.0, 0.5])


def test_weights_of_calibration_are_repetitions() -> None:
    p, y, w = sample(100, weights=True)
    weighted = metrics.calibration_table(p, y, sample_weight=w)
    repeated = metrics.calibration_table(np.repeat(p, w.astype(int)), np.repeat(y, w.astype(int)))
    assert weighted.ece == pytest.approx(repeated.ece)
    assert weighted.brier == pytest.approx(repeated.brier)


def test_constant_probabilities() -> None:
    table = metrics.calibration_table([0.25] * 4, [0, 0, 0, 1], strategy="quantile")
    assert table.ece == 0.0
    assert table.weight.tolist() == [4.0]


@pytest.mark.parametrize(("ties", "weights"), CASES)
def test_compiled_areas(ties: bool, weights: bool) -> None:
    p, y, w = sample(60, ties, weights)
    more = () if w is None else (tg.tensor(w),)
    for metric in (metrics.roc_auc, metrics.average_precision):
        expected = metric(p, y, w).item()
        assert tg.jit(metric)(tg.tensor(p), tg.tensor(y), *more).item() == pytest.approx(expected, rel=1e-12)
    p[:3] = 0.0, 1.0, 0.5
    expected = metrics.expected_calibration_error(p, y, bins=7).item()
    compiled = tg.jit(lambda p, y: metrics.expected_calibration_error(p, y, bins=7))
    assert compiled(tg.tensor(p), tg.tensor(y)).item() == pytest.approx(expected, rel=1e-12)


def test_areas_in_a_native_fit() -> None:
    x, y = RNG.normal(size=(64, 3)).astype(np.float32), RNG.integers(0, 2, 64)
    model = tg.nn.Linear(3, 1)
    opt = tg.optim.SGD(model.parameters(), lr=0.1)

    @tg.jit
    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = tg.functional.binary_cross_entropy_with_logits(model(x).squeeze(1), y)
        loss.backward()
        opt.step()
        return loss

    inputs = tg.tensor(x)
    history = tg.fit(
        step, (x, y.astype(np.float32)), epochs=2, progress=False,
        evaluate=lambda: {"auc": metrics.roc_auc(model(inputs), y)},
    )  # fmt: skip
    assert history["auc"][-1] == pytest.approx(metrics.roc_curve(model(inputs), y).auc)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans()), min_size=2, max_size=30))
def test_auc_counts_pairs(pairs: list[tuple[float, bool]]) -> None:
    positive, negative = ([p for p, y in pairs if y == which] for which in (True, False))
    if not positive or not negative:
        with pytest.raises(DataError, match="no samples of class"):
            metrics.roc_curve(*zip(*pairs, strict=True))
        return
    wins = sum((a > b) + 0.5 * (a == b) for a in positive for b in negative)
    assert metrics.roc_curve(*zip(*pairs, strict=True)).auc == pytest.approx(wins / len(positive) / len(negative))


def test_inputs_of_every_kind() -> None:
    pl = pytest.importorskip("polars")
    p, y = [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]
    column = tg.tensor(p, requires_grad=True).unsqueeze(1) * 1  # (N, 1), with a graph
    for scores in (p, tuple(p), np.array(p), tg.tensor(p), column, pl.Series(p)):
        for labels in (y, np.array(y, bool), np.array(y, float), tg.tensor(y), pl.Series(y)):
            assert metrics.roc_curve(scores, labels).auc == 0.75


WRONG: list[tuple[Any, type[TinygradError], str]] = [
    (lambda f: f([0.1, 0.2], [1, 1]), DataError, "no samples of class 0 among 2; .*; hint: without negatives"),
    (lambda f: f([0.1, 0.2], [0, 0]), DataError, "no samples of class 1 among 2"),
    (lambda f: f([0.1, 0.2], [0, 1], sample_weight=[1, 0]), DataError, "no samples of class 1 among 1"),
    (lambda f: f([0.1, np.nan], [0, 1]), DataError, "score nan in row 1; expected finite numbers"),
    (lambda f: f([np.inf, 0.1], [0, 1]), DataError, "score inf in row 0"),
    (lambda f: f([0.1, 0.2, 0.3], [0, 1, 2]), DataError, "label 2 in row 2; expected 0 or 1; hint: compare with"),
    (lambda f: f([0, 1, 1], [0.1, 0.2, 0.3]), DataError, "label 0.1 in row 0; expected 0 or 1; hint: predictions come"),
    (lambda f: f([0.1, 0.2], [-1, 1]), DataError, "label -1 in row 0"),
    (lambda f: f(["a", "b"], [0, 1]), DataError, "scores of type"),
    (lambda f: f([0.1, 0.2], ["no", "yes"]), DataError, "labels of type"),
    (lambda f: f([0.1, 0.2], [0, 1, 1]), ShapeError, "2 predictions, 3 targets"),
    (lambda f: f([[0.1, 0.9], [0.2, 0.8]], [0, 1]), ShapeError, r"scores of shape \(2, 2\); .*; hint: a class"),
    (lambda f: f([], []), DataError, "no samples"),
    (lambda f: f([0.1, 0.2], [0, 1], sample_weight=[1, -1]), DataError, "weight -1 in row 1"),
    (lambda f: f([0.1, 0.2], [0, 1], sample_weight=[0, 0]), DataError, "weights that are all 0"),
    (lambda f: f([0.1, 0.2], [0, 1], sample_weight=[1]), ShapeError, "2 predictions, 2 targets and 1 weights"),
]


@pytest.mark.parametrize("name", ["roc_curve", "precision_recall_curve"])
@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_what_is_no_curve(name: str, call: Any, error: type[TinygradError], text: str) -> None:
    with pytest.raises(error, match=rf"^\[{name}\] got {text}"):
        call(getattr(metrics, name))


MORE: list[tuple[Any, type[TinygradError], str]] = [
    (lambda: metrics.calibration_table([0.1, 1.5], [0, 1]), DataError, "1.5 in row 1; .*; hint: apply sigmoid"),
    (lambda: metrics.calibration_table([0.1], [0], bins=0), ConfigError, "bins 0"),
    (lambda: metrics.calibration_table([0.1], [0], strategy="even"), ConfigError, "strategy 'even'"),
    (lambda: metrics.calibration_table(np.full((3, 2), 0.5), [0, 1]), ShapeError, "3 predictions and 2 targets"),
    (lambda: metrics.threshold_for([0.1, 0.2], [0, 1]), ConfigError, "neither precision nor recall"),
    (lambda: metrics.threshold_for([0.1, 0.2], [0, 1], precision=1, recall=1), ConfigError, "precision and recall"),
    (lambda: metrics.threshold_for([0.1, 0.2], [0, 1], precision=1.1), ConfigError, "0 <= precision <= 1"),
    (lambda: metrics.threshold_for([0.1, 0.2], [0, 1], recall="high"), ConfigError, "recall 'high'"),
    (lambda: metrics.expected_calibration_error([0.1], [0], bins=1.5), ConfigError, "bins 1.5"),
    (lambda: tg.jit(metrics.roc_auc)(tg.ones(3, 2), tg.ones(3)), ShapeError, r"scores of shape \(3, 2\)"),
    (lambda: tg.jit(lambda p, y: metrics.roc_curve(p, y).auc)(tg.ones(3), tg.ones(3)), TraceError, "auc, .* compile"),
]


@pytest.mark.parametrize(("call", "error", "text"), MORE, ids=lambda v: v if isinstance(v, str) else "")
def test_misuse_is_named(call: Any, error: type[TinygradError], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_texts() -> None:
    p, y = [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]
    assert repr(metrics.roc_curve(p, y)) == "RocCurve: AUC 0.75, 5 points; 2 of class 1, 2 of class 0"
    assert "average precision 0.8333, 4 thresholds" in metrics.precision_recall_curve(p, y)._repr_html_()
    table = metrics.calibration_table(p, y, bins=2)
    assert repr(table).splitlines()[2].split() == ["0.000", "-", "0.500", "3", "0.2833", "0.3333"]
    assert table._repr_html_().count("<tr>") == 3


def test_plots(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    p, y, _ = sample()
    curve = metrics.precision_recall_curve(p, y)
    point = curve.threshold_for(precision=0.8)
    for name, figure in (
        ("roc", metrics.roc_curve(p, y).plot(tmp_path / "roc.png")),
        ("pr", curve.plot(tmp_path / "pr.png", mark=point)),
        ("calibration", metrics.calibration_table(p, y).plot(tmp_path / "calibration.svg")),
    ):
        assert figure.axes[0].lines
        (path,) = tmp_path.glob(f"{name}.*")
        assert path.stat().st_size > 5_000
    (marked,) = [line for line in curve.plot(mark=point).axes[0].lines if line.get_marker() == "o"]
    assert (marked.get_xdata()[0], marked.get_ydata()[0]) == (point.recall, point.precision)
