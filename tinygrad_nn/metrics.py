"""Metrics as Tensor functions: they compute on whole batches without reading values, so they compile with the model.

`predictions` are scores (N, C), of which the largest counts; probabilities (N,) or (N, 1), of which those above
`threshold` are positive; or labels (integers or bools). `targets` are labels (N,) or (N, 1). A quotient whose divisor
is 0 is `zero_division`.

Curves (`roc_curve`, `precision_recall_curve`), thresholds and the calibration table are as long as the data make them:
NumPy computes them, outside of compiled code (`curves.py`). Their areas and the calibration error compile too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from .curves import CalibrationTable as CalibrationTable
from .curves import OperatingPoint as OperatingPoint
from .curves import PrecisionRecallCurve as PrecisionRecallCurve
from .curves import RocCurve as RocCurve
from .curves import calibration_table as calibration_table
from .curves import precision_recall_curve as precision_recall_curve
from .curves import roc_curve as roc_curve
from .curves import threshold_for as threshold_for
from .errors import ConfigError, DataError, ShapeError, message
from .ops.index import SCATTER_ADD
from .ops.lookup import Called
from .support.settings import integer, typed
from .tensor import Tensor, no_grad
from .tensor.creation import as_tensor, tensor

Average = Literal["binary", "macro", "micro", "weighted"]


@typed
def predicted_labels(predictions: Any, threshold: float = 0.5) -> Tensor:
    """Labels (N,) of what a model returned: argmax of scores (N, C), `> threshold` for probabilities, labels as they
    are.

    >>> predicted_labels([0.9, 0.2, 0.7])
    tensor([1, 0, 1])
    """
    p = as_tensor(predictions).detach()
    if p.ndim == 2 and p.shape[1] > 1:
        return p.argmax(1)
    flat = p.reshape(-1)
    return (flat > threshold).long() if p.dtype.kind == "f" else flat.long()


def _labels(name: str, predictions: Any, targets: Any, threshold: float) -> tuple[Tensor, Tensor]:
    p, given = predicted_labels(predictions, threshold), as_tensor(targets).detach().reshape(-1)
    t = given.long()
    if p.shape != t.shape:
        got = f"{p.shape[0]} predictions and {t.shape[0]} targets"
        raise ShapeError(message(name, got, "as many of each", "targets are labels, not one-hot rows"))
    if given.dtype.kind == "f":
        _check_labels(name, given, given == t, "whole numbers")
    return p, t


def _check_labels(name: str, labels: Tensor, right: Tensor, expected: str) -> None:
    """Raise DataError for the first label that is not right, with its row, where values are known."""
    if not labels.is_traced and not bool(right.all()):
        row = int(right.long().argmin())
        raise DataError(message(name, f"the label {labels[row].item()} in row {row}", expected))


def _binary_labels(name: str, predictions: Any, targets: Any, threshold: float) -> tuple[Tensor, Tensor]:
    """The same where there are two classes; raises DataError for targets other than 0 and 1."""
    p, t = _labels(name, predictions, targets, threshold)
    _check_labels(name, t, (t == 0) | (t == 1), "0 or 1, or average='macro', 'micro' or 'weighted' for more classes")
    return p, t


def _quotient(a: Tensor, b: Tensor, zero_division: float) -> Tensor:
    """a / b, and `zero_division` where b is 0."""
    empty = b == 0
    return (a / b.masked_fill(empty, 1)).masked_fill(empty, zero_division)


@typed
def accuracy(predictions: Any, targets: Any, threshold: float = 0.5) -> Tensor:
    """Share of labels that are right, a 0-d float tensor; NaN of nothing.

    >>> import tinygrad_nn as tg
    >>> accuracy(tg.tensor([[0.1, 0.9], [0.8, 0.2]]), tg.tensor([1, 1])).item()
    0.5
    """
    p, t = _labels("accuracy", predictions, targets, threshold)
    return (p == t).float().mean()


@typed
def confusion(predictions: Any, targets: Any, num_classes: int | None = None, threshold: float = 0.5) -> Tensor:
    """Counts (C, C) as int64: row = true label, column = predicted label.

    `num_classes` defaults to the columns of the scores, else to the largest label + 1 (which reads values). Raises
    IndexOutOfRange naming row and number of a label outside of them.

    >>> confusion([0, 1, 1], [0, 0, 1]).tolist()
    [[1, 1], [0, 1]]
    """
    return _table("confusion", predictions, targets, num_classes, threshold)


def _table(name: str, predictions: Any, targets: Any, num_classes: int | None, threshold: float) -> Tensor:
    """The confusion matrix, for whoever was called."""
    p, t = _labels(name, predictions, targets, threshold)
    if num_classes is None:
        scores = as_tensor(predictions)
        wide = scores.ndim == 2 and scores.shape[1] > 1
        num_classes = scores.shape[1] if wide else max(2, 1 + int(max(p.amax().item(), t.amax().item())))
    shape, called = (t.shape[0], num_classes), Called(name, "label", 1)
    rows, columns = (
        x.new_ones((shape[0], 1)).apply(SCATTER_ADD, x.unsqueeze(1), axis=1, shape=shape, called=called) for x in (t, p)
    )
    return rows.T @ columns


def _per_class(
    name: str, predictions: Any, targets: Any, average: Average, threshold: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """True positives, predicted and actual counts, and weights, per class (or of class 1, or of all, by `average`)."""
    if average == "binary":
        p, t = _binary_labels(name, predictions, targets, threshold)
        hit = ((p == 1) & (t == 1)).float().sum()
        return hit, (p == 1).float().sum(), (t == 1).float().sum(), hit.new_ones(())
    if average not in ("macro", "micro", "weighted"):
        raise ConfigError(message(name, f"average {average!r}", "'binary', 'macro', 'micro' or 'weighted'"))
    table = _table(name, predictions, targets, None, threshold).float()
    hit, guessed, actual = table.diagonal(), table.sum(0), table.sum(1)
    if average == "micro":
        return hit.sum(), guessed.sum(), actual.sum(), hit.new_ones(())
    share = actual / actual.sum() if average == "weighted" else hit.new_ones(hit.shape) / float(hit.numel())
    return hit, guessed, actual, share


@typed
def precision(
    predictions: Any, targets: Any, average: Average = "binary", threshold: float = 0.5, zero_division: float = 0.0
) -> Tensor:
    """True positives / predicted positives.

    >>> precision([0.9, 0.2, 0.7], [1, 0, 0])
    tensor(0.5)
    """
    hit, guessed, _, share = _per_class("precision", predictions, targets, average, threshold)
    return (_quotient(hit, guessed, zero_division) * share).sum()


@typed
def recall(
    predictions: Any, targets: Any, average: Average = "binary", threshold: float = 0.5, zero_division: float = 0.0
) -> Tensor:
    """True positives / actual positives.

    >>> recall([0.9, 0.2, 0.7], [1, 0, 0])
    tensor(1.)
    """
    hit, _, actual, share = _per_class("recall", predictions, targets, average, threshold)
    return (_quotient(hit, actual, zero_division) * share).sum()


@typed
def f1(
    predictions: Any, targets: Any, average: Average = "binary", threshold: float = 0.5, zero_division: float = 0.0
) -> Tensor:
    """2 TP / (predicted + actual positives): the harmonic mean of precision and recall.

    >>> round(f1([1, 1, 0, 0], [1, 0, 1, 0]).item(), 4)
    0.5
    """
    hit, guessed, actual, share = _per_class("f1", predictions, targets, average, threshold)
    return (_quotient(2 * hit, guessed + actual, zero_division) * share).sum()


def _values(name: str, predictions: Any, targets: Any) -> tuple[Tensor, Tensor]:
    p, t = as_tensor(predictions).detach(), as_tensor(targets).detach()
    if p.shape != t.shape:
        if p.numel() != t.numel():
            raise ShapeError(message(name, f"shapes {p.shape} and {t.shape}", "equal shapes"))
        p = p.reshape(t.shape)  # (N, 1) and (N,): the same values, and no accidental (N, N)
    return p.as_float(), t.as_float()


@typed
def mae(predictions: Any, targets: Any) -> Tensor:
    """Mean of |prediction - target|, in the target's unit.

    >>> mae([1.0, 3.0], [1.0, 1.0])
    tensor(1.)
    """
    p, t = _values("mae", predictions, targets)
    return (p - t).abs().mean()


@typed
def rmse(predictions: Any, targets: Any) -> Tensor:
    """Root of the mean squared error, in the target's unit.

    >>> rmse([1.0, 4.0], [1.0, 1.0])
    tensor(2.1213)
    """
    p, t = _values("rmse", predictions, targets)
    return ((p - t) * (p - t)).mean().sqrt()


@typed
def mape(predictions: Any, targets: Any, zero_division: float = 0.0) -> Tensor:
    """Mean of |prediction - target| / |target|, as a fraction; where the target is 0 the term is `zero_division`.

    >>> mape([1.0, 3.0], [2.0, 2.0])
    tensor(0.5)
    """
    p, t = _values("mape", predictions, targets)
    return _quotient((p - t).abs(), t.abs(), zero_division).mean()


@typed
def r2(predictions: Any, targets: Any) -> Tensor:
    """1 - residual / total sum of squares. For targets that do not vary: 1 if every prediction is exact, else 0.

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).item()
    1.0
    """
    p, t = _values("r2", predictions, targets)
    residual, total = ((p - t) * (p - t)).sum(), ((t - t.mean()) * (t - t.mean())).sum()
    exact = (residual == 0).to(p.dtype)
    return (1 - _quotient(residual, total, 0.0)).where(total != 0, exact)


@typed
def within(predictions: Any, targets: Any, fraction: float) -> Tensor:
    """Share of predictions that miss their target by at most `fraction` of it.

    >>> within([1.0, 3.0], [1.05, 2.0], 0.1)
    tensor(0.5)
    """
    p, t = _values("within", predictions, targets)
    return ((p - t).abs() <= fraction * t.abs()).float().mean()


@typed
def binary_scores(predictions: Any, targets: Any, threshold: float = 0.5) -> dict[str, Tensor]:
    """Accuracy, precision, recall, F1, accuracy on positives and on negatives, and the four counts: what `evaluate` of
    `fit` returns, natively.

    >>> binary_scores([0.9, 0.2, 0.7], [1, 0, 0])["fp"].item()
    1.0
    """
    p, t = _binary_labels("binary_scores", predictions, targets, threshold)
    counts = {
        "tp": (p == 1) & (t == 1),
        "fp": (p == 1) & (t != 1),
        "tn": (p != 1) & (t != 1),
        "fn": (p != 1) & (t == 1),
    }
    tallies = {name: which.float().sum() for name, which in counts.items()}
    return {
        "accuracy": accuracy(p, t),
        "precision": precision(p, t),
        "recall": recall(p, t),
        "f1": f1(p, t),
        "positive_accuracy": recall(p, t),
        "negative_accuracy": _quotient(tallies["tn"], tallies["tn"] + tallies["fp"], 0.0),
        **tallies,
    }


@typed
def binary_report(predictions: Any, targets: Any, threshold: float = 0.5) -> dict[str, float]:
    """`binary_scores` as Python numbers.

    >>> round(binary_report([0.9, 0.2, 0.7], [1, 0, 0])["accuracy"], 4)
    0.6667
    """
    with no_grad():
        return {name: float(value) for name, value in binary_scores(predictions, targets, threshold).items()}


@typed
def roc_auc(predictions: Any, targets: Any, sample_weight: Any = None) -> Tensor:
    """The area below the ROC curve, a 0-d float64 tensor: how often a sample of class 1 has a higher score than one of
    class 0, equal scores counting half.

    Outside of compiled code that is `roc_curve(...).auc`, with its errors. Compiled, every pair of samples is compared,
    which costs time by the square of their number and no memory; a class without samples then gives NaN.

    >>> roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]).item()
    0.75
    """
    if not _traced(predictions, targets, sample_weight):
        return tensor(roc_curve(predictions, targets, sample_weight).auc, dtype="float64")
    s, positive, negative = _two_classes("roc_auc", predictions, targets, sample_weight)
    above = (s.unsqueeze(1) > s).double() + (s.unsqueeze(1) == s).double() * 0.5
    return (positive.unsqueeze(1) * negative * above).sum() / (positive.sum() * negative.sum())


@typed
def average_precision(predictions: Any, targets: Any, sample_weight: Any = None) -> Tensor:
    """The mean of the precisions at the scores of class 1, a 0-d float64 tensor: the area below the precision-recall
    curve, in steps. Compiled and not as `roc_auc`.

    >>> round(average_precision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]).item(), 4)
    0.8333
    """
    if not _traced(predictions, targets, sample_weight):
        curve = precision_recall_curve(predictions, targets, sample_weight)
        return tensor(curve.average_precision, dtype="float64")
    s, positive, negative = _two_classes("average_precision", predictions, targets, sample_weight)
    reached = (s >= s.unsqueeze(1)).double()
    true, false = (reached * positive).sum(1), (reached * negative).sum(1)
    return (positive * _quotient(true, true + false, 0.0)).sum() / positive.sum()


def expected_calibration_error(predictions: Any, targets: Any, bins: int = 10) -> Tensor:
    """Mean over samples of |share of class 1 - mean probability| of the bin, of `bins` of equal width: a 0-d float64
    tensor, compiled too. What the bins hold shows `calibration_table`, which also takes probabilities (N, C) and
    weights.

    >>> round(expected_calibration_error([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], bins=2).item(), 4)
    0.15
    """
    integer("expected_calibration_error", "bins", bins, least=1, most=10**7)
    if not _traced(predictions, targets):
        return tensor(calibration_table(predictions, targets, bins).ece, dtype="float64")
    p, positive, _ = _two_classes("expected_calibration_error", predictions, targets, None)
    edges = (p.new_arange(bins - 1).double() + 1) / float(bins)
    place = (p.double().unsqueeze(1) > edges).long().sum(1)
    inside = (place.unsqueeze(1) == p.new_arange(bins)).double()
    hits, chance = (inside * positive.unsqueeze(1)).sum(0), (inside * p.double().unsqueeze(1)).sum(0)
    return (hits - chance).abs().sum() / float(p.numel())


def _traced(*values: Any) -> bool:
    return any(isinstance(value, Tensor) and value.is_traced for value in values)


def _two_classes(name: str, predictions: Any, targets: Any, sample_weight: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (N,), and the weights of the samples in class 1 and in class 0, 0 in the other."""
    p, t = as_tensor(predictions).detach(), as_tensor(targets).detach().reshape(-1)
    if p.ndim > 2 or (p.ndim == 2 and p.shape[1] != 1) or p.numel() != t.numel():
        got = f"scores of shape {p.shape} and targets of shape {as_tensor(targets).shape}"
        raise ShapeError(message(name, got, "(N,) or (N, 1), and as many targets"))
    weights = t.new_ones(t.shape) if sample_weight is None else as_tensor(sample_weight).detach().reshape(-1)
    weights = weights.double()
    return p.reshape(-1), weights * (t == 1).double(), weights * (t == 0).double()


_REGRESSION: dict[str, Callable[[Any, Any], Tensor]] = {
    "mae": mae,
    "rmse": rmse,
    "mape": mape,
    "r2": r2,
    "within_5": lambda p, t: within(p, t, 0.05),
    "within_10": lambda p, t: within(p, t, 0.10),
}


@typed
def regression_scores(predictions: Any, targets: Any) -> dict[str, Tensor]:
    """MAE, RMSE, MAPE, R2 and the shares within 5% and 10%: what `evaluate` of `fit` returns, natively.

    >>> regression_scores([1.0, 2.0, 3.0], [1.0, 2.0, 5.0])["rmse"]
    tensor(1.1547)
    """
    return {name: metric(predictions, targets) for name, metric in _REGRESSION.items()}


@typed
def regression_report(predictions: Any, targets: Any) -> dict[str, float]:
    """`regression_scores` as Python numbers.

    >>> round(regression_report([1.0, 2.0, 3.0], [1.0, 2.0, 5.0])["mae"], 4)
    0.6667
    """
    with no_grad():
        return {name: float(value) for name, value in regression_scores(predictions, targets).items()}
