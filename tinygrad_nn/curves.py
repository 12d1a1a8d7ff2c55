"""What a threshold does: ROC and precision-recall curves, the threshold for a wanted precision, calibration.

All of it is for two classes and computed by NumPy, outside of compiled code: how long a curve is depends on the scores.
Scores are any finite numbers (N,) or (N, 1), larger for class 1; targets are 0 and 1; weights, one per sample, are not
negative. Equal scores are one point of a curve, since no threshold parts them. Numbers and conventions are those of
scikit-learn: a point's threshold takes the scores that are equal to it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .errors import ConfigError, DataError, ShapeError, TraceError, message
from .support.arrays import Array
from .support.bundle import bundle
from .support.extras import require
from .support.files import write_figure
from .support.settings import choice, integer, number, shown, typed
from .support.tables import html_table, html_text, text_table

StrPath = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Rates of false and true positives from the highest threshold (inf: nothing is positive) to the lowest.

    `auc` is the area below, the probability that a sample of class 1 has a higher score than one of class 0 (equal
    scores count half). `positives` and `negatives` are the weights of the classes, without weights their numbers.

    >>> roc_curve([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]).tpr
    array([0. , 0.5, 0.5, 1. , 1. ])
    """

    fpr: Array
    tpr: Array
    thresholds: Array
    auc: float
    positives: float
    negatives: float

    def plot(self, path: StrPath | None = None) -> Any:
        """The curve and the diagonal of a guess, as a matplotlib figure (extra `ui`), written to `path` if given."""
        figure, axes = _square("false positive rate", "true positive rate")
        axes.plot([0, 1], [0, 1], "--", color="0.6", linewidth=1, label="a guess: AUC 0.5")
        axes.plot(self.fpr, self.tpr, color="C0", label=f"AUC {self.auc:.4g}")
        axes.legend(loc="lower right")
        return _saved(figure, path)

    def __repr__(self) -> str:
        return f"RocCurve: AUC {self.auc:.4g}, {len(self.fpr)} points; {_classes(self.positives, self.negatives)}"

    def _repr_html_(self) -> str:
        return html_text(repr(self))

    _repr_mimebundle_ = bundle


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and what scores above it come to: the `threshold` that `metrics.precision` and the others take.

    It lies between two scores, so `>` and `>=` do the same. `flagged` is the share of all samples above it.

    >>> precision_recall_curve([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]).threshold_for(precision=0.9)
    OperatingPoint(threshold=0.6, precision=1, recall=0.5, flagged=0.25)
    """

    threshold: float
    precision: float
    recall: float
    flagged: float

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:.4g}" for name, value in vars(self).items())
        return f"OperatingPoint({values})"


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Precision and recall from the lowest threshold (recall 1) to the highest, and the point (1, 0) at the end.

    `average_precision` is the mean of the precisions, each weighted by the recall it adds. `thresholds` has one entry
    less than the rates: no threshold belongs to the last point. `flagged` is the share of samples at or above each.

    >>> precision_recall_curve([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]).recall
    array([1. , 1. , 0.5, 0.5, 0. ])
    """

    precision: Array
    recall: Array
    thresholds: Array
    flagged: Array
    average_precision: float
    positives: float
    negatives: float

    def threshold_for(self, *, precision: float | None = None, recall: float | None = None) -> OperatingPoint:
        """The threshold that reaches a wanted precision with the most recall, or a wanted recall with the most
        precision.

        Raises DataError, with the best there is, where no threshold reaches the precision; ConfigError unless exactly
        one of the two is given.

        >>> curve = precision_recall_curve([0.9, 0.8, 0.7, 0.2], [1, 0, 1, 0])
        >>> curve.threshold_for(recall=1.0)
        OperatingPoint(threshold=0.45, precision=0.6667, recall=1, flagged=0.75)
        """
        if (precision is None) == (recall is None):
            got = "neither precision nor recall" if precision is None else "precision and recall"
            raise ConfigError(message("threshold_for", got, "one of them", "threshold_for(precision=0.9)"))
        name, wanted = ("precision", precision) if recall is None else ("recall", recall)
        number("threshold_for", name, wanted, least=0, most=1)
        rate, other = (self.precision, self.recall) if recall is None else (self.recall, self.precision)
        fits = np.flatnonzero(rate[:-1] >= wanted)
        if not len(fits):  # a recall of 1 is always reached
            best = int(np.argmax(rate[:-1]))
            hint = f"the best is {rate[best]:.4g}, with recall {other[best]:.4g}"
            raise DataError(message("threshold_for", f"precision {wanted}", "one that a threshold reaches", hint))
        k = int(fits[np.lexsort((rate[fits], other[fits]))[-1]])
        return OperatingPoint(
            _between(self.thresholds, k), float(self.precision[k]), float(self.recall[k]), float(self.flagged[k])
        )

    def plot(self, path: StrPath | None = None, mark: OperatingPoint | None = None) -> Any:
        """The curve in steps, above the precision of a guess, as a matplotlib figure (extra `ui`); `mark` is a point to
        show on it.
        """
        figure, axes = _square("recall", "precision")
        share = self.positives / (self.positives + self.negatives)
        axes.axhline(share, linestyle="--", color="0.6", linewidth=1, label=f"a guess: {share:.4g}")
        label = f"average precision {self.average_precision:.4g}"
        axes.step(self.recall, self.precision, where="post", color="C0", label=label)
        if mark is not None:
            label = f"above {mark.threshold:.4g}: precision {mark.precision:.4g}, recall {mark.recall:.4g}"
            axes.plot([mark.recall], [mark.precision], "o", color="C3", label=label, clip_on=False, zorder=3)
        axes.legend(loc="best")
        return _saved(figure, path)

    def __repr__(self) -> str:
        size = f"{len(self.thresholds)} thresholds"
        classes = _classes(self.positives, self.negatives)
        return f"PrecisionRecallCurve: average precision {self.average_precision:.4g}, {size}; {classes}"

    def _repr_html_(self) -> str:
        return html_text(repr(self))

    _repr_mimebundle_ = bundle


@dataclass(frozen=True, eq=False)
class CalibrationTable:
    """Predicted probabilities against what happened, in bins: `predicted` is the mean probability of a bin and
    `observed` the share of class 1, both NaN in an empty one; `weight` its samples; `edges` has one entry more.

    `ece` is the expected calibration error, the mean of |observed - predicted| over samples; `worst` the largest of
    any bin; `brier` the mean of (probability - label) ** 2.

    >>> calibration_table([0.1, 0.3, 0.7, 0.9], [0, 0, 1, 1], bins=2).observed
    array([0., 1.])
    """

    edges: Array
    weight: Array
    predicted: Array
    observed: Array
    ece: float
    worst: float
    brier: float

    def plot(self, path: StrPath | None = None) -> Any:
        """The reliability diagram above the samples of each bin, as a matplotlib figure (extra `ui`)."""
        require("matplotlib", "ui")
        figure = require("matplotlib.figure", "ui").Figure(figsize=(5, 6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        full = self.weight > 0
        upper.plot([0, 1], [0, 1], "--", color="0.6", linewidth=1, label="as predicted")
        label = f"expected calibration error {self.ece:.4g}"
        upper.plot(self.predicted[full], self.observed[full], "o-", color="C0", label=label, clip_on=False)
        upper.set(ylabel="share of class 1", xlim=(0, 1), ylim=(0, 1))
        upper.legend(loc="upper left")
        widths = np.diff(self.edges)
        lower.bar(self.edges[:-1], self.weight, widths, align="edge", color="C0", alpha=0.6, edgecolor="white")
        lower.set(xlabel="predicted probability", ylabel="samples")
        for axes in (upper, lower):
            axes.grid(alpha=0.3)
            axes.set_axisbelow(True)
        return _saved(figure, path)

    def __repr__(self) -> str:
        return f"{text_table(self._rows())}\n{self._total()}"

    def _repr_html_(self) -> str:
        return html_table(self._rows()) + html_text(self._total())

    _repr_mimebundle_ = bundle

    def _total(self) -> str:
        return f"expected calibration error {self.ece:.4g}, worst bin {self.worst:.4g}, Brier score {self.brier:.4g}"

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("probability", "samples", "predicted", "observed")]
        for k, weight in enumerate(self.weight):
            rates = [f"{rate:.4f}" if weight > 0 else "-" for rate in (self.predicted[k], self.observed[k])]
            rows.append((f"{self.edges[k]:.3f} - {self.edges[k + 1]:.3f}", f"{weight:g}", *rates))
        return rows


@typed
def roc_curve(predictions: Any, targets: Any, sample_weight: Any = None, drop_intermediate: bool = True) -> RocCurve:
    """The rates of false and true positives at every threshold. Without `drop_intermediate` points on a straight line
    between others are kept.

    Raises DataError for scores that are not finite, labels other than 0 and 1, a class without samples and weights
    that are negative; ShapeError for numbers that do not match. Compiled code takes `metrics.roc_auc`.

    >>> curve = roc_curve([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    >>> curve.auc, curve.fpr.tolist(), curve.tpr.tolist()
    (0.75, [0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    """
    false, true, thresholds = _cumulated("roc_curve", predictions, targets, sample_weight)
    area = float(np.sum(np.diff(false, prepend=0) * (true + np.concatenate(([0], true[:-1]))) / 2))
    auc = area / float(true[-1] * false[-1])
    if drop_intermediate and len(false) > 2:
        bends = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
        kept = np.concatenate(([True], bends, [True]))
        false, true, thresholds = false[kept], true[kept], thresholds[kept]
    false, true, thresholds = np.insert(false, 0, 0), np.insert(true, 0, 0), np.insert(thresholds, 0, np.inf)
    return RocCurve(false / false[-1], true / true[-1], thresholds, auc, float(true[-1]), float(false[-1]))


def precision_recall_curve(predictions: Any, targets: Any, sample_weight: Any = None) -> PrecisionRecallCurve:
    """Precision and recall at every threshold; errors as `roc_curve`. Compiled code takes `metrics.average_precision`.

    >>> curve = precision_recall_curve([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    >>> curve.recall.tolist(), round(curve.average_precision, 4)
    ([1.0, 1.0, 0.5, 0.5, 0.0], 0.8333)
    """
    false, true, thresholds = _cumulated("precision_recall_curve", predictions, targets, sample_weight)
    precision, recall = true / (true + false), true / true[-1]
    average = float(np.sum(np.diff(recall, prepend=0) * precision))
    flagged = (true + false) / (true[-1] + false[-1])
    return PrecisionRecallCurve(
        np.append(precision[::-1], 1.0),
        np.append(recall[::-1], 0.0),
        thresholds[::-1],
        flagged[::-1],
        average,
        float(true[-1]),
        float(false[-1]),
    )


def threshold_for(
    predictions: Any,
    targets: Any,
    *,
    precision: float | None = None,
    recall: float | None = None,
    sample_weight: Any = None,
) -> OperatingPoint:
    """The threshold for a wanted precision or a wanted recall: `precision_recall_curve(...).threshold_for(...)`.

    Choose it on validation data: on the data of a test it would flatter the model.

    >>> threshold_for([0.9, 0.8, 0.7, 0.2], [1, 0, 1, 0], precision=0.9).recall
    0.5
    """
    curve = precision_recall_curve(predictions, targets, sample_weight)
    return curve.threshold_for(precision=precision, recall=recall)


def calibration_table(
    predictions: Any,
    targets: Any,
    bins: int = 10,
    strategy: Literal["uniform", "quantile"] = "uniform",
    sample_weight: Any = None,
) -> CalibrationTable:
    """How often what was predicted with some probability happened: Guo et al., "On calibration of modern neural
    networks", ICML 2017.

    Predictions are probabilities (N,) or (N, 1) of class 1; or (N, C) of every class: then the largest of each row is
    looked at, and the label is whether that class was right. Bins are of equal width, or ("quantile") of about equal
    numbers of samples; a probability on an edge belongs to the bin below it. Raises DataError for values outside of
    [0, 1], and as `roc_curve`, but one class alone is allowed.

    >>> table = calibration_table([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], bins=2)
    >>> table.predicted.round(2).tolist(), table.observed.tolist(), round(table.ece, 2)
    ([0.15, 0.85], [0.0, 1.0], 0.15)
    """
    owner = "calibration_table"
    integer(owner, "bins", bins, least=1, most=2**24)
    choice(owner, "strategy", strategy, ("uniform", "quantile"))
    scores, labels, weights = _checked(owner, *top_class(owner, predictions, targets), sample_weight)
    outside = np.flatnonzero((scores < 0) | (scores > 1))
    if len(outside):
        got = f"{scores[outside[0]]:.6g} in row {outside[0]}"
        raise DataError(message(owner, got, "probabilities, 0 <= p <= 1", "apply sigmoid or softmax to logits"))
    scores = scores.astype(np.float64)
    edges = np.linspace(0, 1, bins + 1)
    if strategy == "quantile":
        edges = np.unique(np.quantile(scores, edges))
        edges = np.array([edges[0], edges[0]]) if len(edges) == 1 else edges
    place = np.searchsorted(edges[1:-1], scores)
    weight, chance, hits = (np.bincount(place, weights * what, len(edges) - 1) for what in (1.0, scores, labels))
    with np.errstate(invalid="ignore"):
        predicted, observed = chance / weight, hits / weight
    gaps = np.where(weight > 0, np.abs(np.nan_to_num(observed) - np.nan_to_num(predicted)), 0.0)
    ece = float(np.sum(gaps * weight) / weight.sum())
    brier = float(np.average((scores - labels) ** 2, weights=weights))
    return CalibrationTable(edges, weight, predicted, observed, ece, float(gaps.max()), brier)


def top_class(owner: str, predictions: Any, targets: Any) -> tuple[Any, Any]:
    """Of probabilities (N, C) the largest of each row, and whether that class is the label; others as they are."""
    scores = _values(owner, predictions)
    if scores.ndim != 2 or scores.shape[1] == 1:
        return scores, targets
    labels = _values(owner, targets).reshape(-1)
    if len(labels) != len(scores):
        raise ShapeError(message(owner, f"{len(scores)} predictions and {len(labels)} targets", "as many of each"))
    return scores.max(1), scores.argmax(1) == labels


def _values(owner: str, value: Any) -> Array:
    """An array of what may be a tensor, a series or a list."""
    if getattr(value, "is_traced", False):
        hint = "call it outside of the function; roc_auc, average_precision and expected_calibration_error compile"
        raise TraceError(message(owner, "values that are not known while a function is compiled", "numbers", hint))
    detach = getattr(value, "detach", None)
    try:
        return np.asarray(detach().numpy() if detach is not None else value)
    except MemoryError:
        raise DataError(message(owner, f"{shown(value)}, which memory does not hold", "numbers")) from None
    except ValueError as error:
        raise ShapeError(message(owner, "rows of different lengths", "as many numbers in each")) from error


def _checked(owner: str, predictions: Any, targets: Any, sample_weight: Any) -> tuple[Array, Array, Array]:
    """Scores, labels as 0.0 and 1.0, weights: (N,) each, without the samples of weight 0."""
    scores, labels = _values(owner, predictions), _values(owner, targets).reshape(-1)
    if scores.ndim > 2 or (scores.ndim == 2 and scores.shape[1] != 1):
        hint = "a class at a time: scores[:, k] and targets == k"
        raise ShapeError(message(owner, f"scores of shape {scores.shape}", "(N,) or (N, 1)", hint))
    scores = scores.reshape(-1)
    weights = np.ones(len(labels)) if sample_weight is None else _values(owner, sample_weight).reshape(-1)
    if not len(scores) == len(labels) == len(weights):
        got = f"{len(scores)} predictions, {len(labels)} targets"
        got += "" if sample_weight is None else f" and {len(weights)} weights"
        raise ShapeError(message(owner, got, "as many of each", "targets are labels, not one-hot rows"))
    if not len(scores):
        raise DataError(message(owner, "no samples", "at least one"))
    for what, values in (("score", scores), ("label", labels), ("weight", weights)):
        if values.dtype.kind not in "biuf":
            raise DataError(message(owner, f"{what}s of type {values.dtype}", "numbers"))
    _every(owner, "score", scores, np.isfinite(scores), "finite numbers")
    swapped = bool(((scores == 0) | (scores == 1)).all())
    hint = "predictions come first, then targets" if swapped else "compare with the class: targets == k"
    _every(owner, "label", labels, (labels == 0) | (labels == 1), "0 or 1", hint)
    _every(owner, "weight", weights, np.isfinite(weights) & (weights >= 0), "finite numbers, not negative")
    if not weights.any():
        raise DataError(message(owner, "weights that are all 0", "at least one above 0"))
    kept = weights > 0
    exact = scores if scores.dtype.kind == "f" else scores.astype(np.float64)
    return exact[kept], labels[kept].astype(np.float64), weights[kept].astype(np.float64)


def _every(owner: str, what: str, values: Array, fits: Array, expected: str, hint: str = "") -> None:
    wrong = np.flatnonzero(~fits)
    if len(wrong):
        raise DataError(message(owner, f"{what} {values[wrong[0]]} in row {wrong[0]}", expected, hint))


def _cumulated(owner: str, predictions: Any, targets: Any, sample_weight: Any) -> tuple[Array, Array, Array]:
    """Weights of false and of true positives at each different score, from the highest on."""
    scores, labels, weights = _checked(owner, predictions, targets, sample_weight)
    for label, name in ((1, "positives"), (0, "negatives")):
        if not (labels == label).any():
            got = f"no samples of class {label} among {len(labels)}"
            raise DataError(message(owner, got, "samples of both classes", f"without {name} a rate is 0 / 0"))
    order = np.argsort(-scores, kind="stable")
    scores, labels, weights = scores[order], labels[order], weights[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    false, true = (np.cumsum(weights * which)[last] for which in (1 - labels, labels))
    return false, true, scores[last]


def _between(thresholds: Array, k: int) -> float:
    """A number above all scores below `thresholds[k]`, and where there is one, below that score itself."""
    upper = thresholds[k]
    if k == 0:
        return float(np.nextafter(upper, upper.dtype.type(-np.inf)))
    lower = thresholds[k - 1]
    middle = lower / 2 + upper / 2
    return float(middle if lower < middle < upper else lower)


def _classes(positives: float, negatives: float) -> str:
    return f"{positives:g} of class 1, {negatives:g} of class 0"


def _square(x: str, y: str) -> tuple[Any, Any]:
    """A figure for two rates."""
    require("matplotlib", "ui")
    figure = require("matplotlib.figure", "ui").Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.grid(alpha=0.3)
    return figure, axes


def _saved(figure: Any, path: StrPath | None) -> Any:
    if path is not None:
        write_figure(figure, path, "plot")
    return figure
