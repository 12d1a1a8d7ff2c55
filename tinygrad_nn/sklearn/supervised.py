"""`Classifier` and `Regressor`: tables in, labels, probabilities or numbers out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
)
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from .. import functional as F
from ..tensor import Tensor
from ..tensor.creation import as_tensor
from .network import Network, estimator


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Of each sample."""
    return F.cross_entropy(outputs, labels, reduction="none")


def binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Of each sample, the sum over its labels."""
    return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none").sum(1)


def half_squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half of the squared errors of each sample, their mean."""
    difference = outputs - targets
    return (difference * difference).mean(1) * 0.5


def accuracy(outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The share of samples whose label is right."""
    right = (outputs.argmax(1) == labels).to(weights.dtype)
    return (right * weights).sum() / weights.sum()


def subset_accuracy(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The share of samples all of whose labels are right."""
    right = ((outputs > 0) == (targets > 0.5)).all(1).to(weights.dtype)
    return (right * weights).sum() / weights.sum()


def r2(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The coefficient of determination, its mean over the targets."""
    share = (weights / weights.sum()).unsqueeze(1)
    centred = targets - (targets * share).sum(0, keepdim=True)
    difference = outputs - targets
    return (1 - (difference * difference * share).sum(0) / (centred * centred * share).sum(0)).mean()


class Supervised(Network):
    """What estimators with a target share."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train; from the weights of the fit before with `warm_start`. Returns self."""
        self._check_settings()
        first = not (self.warm_start and hasattr(self, "module_"))
        return self._fit(X, y, sample_weight, first=first, incremental=False)

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, first: bool, incremental: bool) -> Any:
        columns, sizes, losses, score = self._columns(X, y, sample_weight, first, incremental)
        held: Any = ()
        if self.early_stopping and not incremental:
            columns, held = self._split(columns)
        else:
            score = None
        self._train(columns, held, sizes, losses, score, first=first, incremental=incremental)
        return self

    def _columns(
        self, X: Any, y: Any, sample_weight: Any, first: bool, incremental: bool, samples: int | None = None
    ) -> Any:
        """The columns of checked data: inputs, targets, weights; the numbers of inputs and outputs, the loss, and the
        score of early stopping. So many `samples` of them train, or all.
        """
        X, y = self._checked(X, y, first)
        if first:
            self.dtype_ = self._chosen_dtype(X, samples).name
        target, *others = self._targets(y, first, incremental)
        return [self._cast(X), target, self._weights(sample_weight, X) * self._class_weights(y)], *others

    def _split(self, columns: Any) -> Any:
        """The columns to train on, and those that are held out: of every class its share."""
        strata = columns[1] if columns[1].dtype == np.int64 else None
        parts = train_test_split(
            *columns, test_size=self.validation_fraction, random_state=self.random_state, stratify=strata
        )
        return parts[::2], self._held(parts[1::2])

    def _held(self, columns: Any) -> Any:
        """What is held out, as the inputs of the score."""
        return columns

    def _checked(self, X: Any, y: Any, first: bool) -> Any:
        """Data as scikit-learn checks it: X float, y one- or two-dimensional."""
        return validate_data(self, X, y, dtype=(np.float64, np.float32), multi_output=True, reset=first)

    def _checked_x(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, X, dtype=(np.float64, np.float32), reset=False)

    def _inputs(self) -> int:
        """What the network reads of a sample, or of a step of it."""
        return int(self.n_features_in_)

    def _class_weights(self, y: Any) -> Any:
        return 1

    def _targets(self, y: Any, first: bool, incremental: bool) -> Any:
        """The column of targets, the numbers of inputs and outputs, the loss, and the score of early stopping."""
        raise NotImplementedError


class Classification(ClassifierMixin, Supervised):
    """What classifiers share, whatever they read."""

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Train one epoch more; the first call names all `classes`. Returns self."""
        self._check_settings()
        first = _check_partial_fit_first_call(self, classes) or not hasattr(self, "module_")
        return self._fit(X, y, sample_weight, first=first, incremental=True)

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, (samples, classes); of each label where a sample may have several."""
        outputs = as_tensor(self._outputs(self._checked_x(X)))
        return (outputs.sigmoid() if self._multilabel else outputs.softmax(1)).numpy()

    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the probabilities."""
        outputs = as_tensor(self._outputs(self._checked_x(X)))
        return (-(-outputs).logaddexp(0) if self._multilabel else outputs.log_softmax(1)).numpy()

    def predict(self, X: Any) -> Any:
        """The likeliest class; with several labels, 1 for those that are likelier than not."""
        outputs = self._outputs(self._checked_x(X))
        if self._multilabel:
            return (outputs > 0).astype(int)
        return self.classes_[outputs.argmax(1)]

    def _class_weights(self, y: Any) -> Any:
        if self.class_weight is None:
            return 1
        return compute_sample_weight(self.class_weight, y).astype(self._dtype)

    def _targets(self, y: Any, first: bool, incremental: bool) -> Any:
        kind = type_of_target(y, input_name="y")
        if kind not in ("binary", "multiclass", "multilabel-indicator"):
            check_classification_targets(y)
        self._multilabel = kind == "multilabel-indicator"
        found = np.arange(y.shape[1]) if self._multilabel else np.unique(y := column_or_1d(y, warn=True))
        if first and not incremental:
            self.classes_ = found
        elif not incremental and set(found) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit."
                f" Previously got {self.classes_}, `y` has {found}"
            )
        elif not set(found) <= set(self.classes_):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {found}."
            )
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes in the data, but the data contains only one"
                f" class: {self.classes_[0]}"
            )
        sizes = self._inputs(), len(self.classes_)
        if self._multilabel:
            return np.ascontiguousarray(y, self._dtype), sizes, binary_cross_entropy, subset_accuracy
        return np.searchsorted(self.classes_, y).astype(np.int64), sizes, cross_entropy, accuracy

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class Regression(RegressorMixin, Supervised):
    """What regressors share, whatever they read."""

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train one epoch more. Returns self."""
        self._check_settings()
        return self._fit(X, y, sample_weight, first=not hasattr(self, "module_"), incremental=True)

    def predict(self, X: Any) -> Any:
        """The numbers, (samples,), or (samples, targets) where there were several."""
        outputs = self._outputs(self._checked_x(X))
        return outputs if self._several else outputs[:, 0]

    def _targets(self, y: Any, first: bool, incremental: bool) -> Any:
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        outputs = y.shape[1] if y.ndim == 2 else 1
        if not first and outputs != self.n_outputs_:
            raise ValueError(f"y has {outputs} outputs, but {type(self).__name__} was trained for {self.n_outputs_}")
        self._several = y.ndim == 2
        return self._cast(y.reshape(len(y), outputs).astype(np.float64)), (self._inputs(), outputs), half_squares, r2

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


@estimator
class Classifier(Classification):
    """A classifier of the rows of a table.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> Classifier(hidden=(8,), max_iter=300, learning_rate_init=0.01, random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """

    class_weight: Mapping[Any, float] | str | None = None


@estimator
class Regressor(Regression):
    """A regressor on the rows of a table, for one target or several.

    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> model = Regressor(learning_rate_init=0.01, n_iter_no_change=50, random_state=0).fit(X, 2 * X[:, 0])
    >>> model.score(X, 2 * X[:, 0]) > 0.99
    True
    """
