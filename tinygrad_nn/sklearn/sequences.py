"""`SequenceClassifier` and `SequenceRegressor`: one answer per sequence, whatever its length.

Sequences come as an array (samples, steps, channels), or as a list of arrays (steps, channels) or (steps,), which may
differ in length. A table (samples, steps), as a Pipeline hands on, holds a sequence of one channel per row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import (
    _check_y,
    check_array,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from .. import nn
from ..errors import DataError, message
from ..support.settings import choice
from ..tensor import Tensor
from .network import Network, estimator
from .supervised import Classification, Regression

CELLS: dict[str, Any] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
FLOATS = (np.float64, np.float32)


class LastStep(nn.Module):
    """Recurrent layers, and a linear one on what the last step left: (samples, steps, channels) to (samples, n_out).

    >>> import tinygrad_nn as tg
    >>> LastStep("gru", 2, (8,), 3)(tg.zeros(4, 5, 2)).shape
    (4, 3)
    """

    def __init__(self, cell: str, n_in: int, sizes: Any, n_out: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for size in sizes:
            self.layers.append(CELLS[cell](n_in, int(size), batch_first=True))
            n_in = int(size)
        self.head = nn.Linear(n_in, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """The answers."""
        for layer in self.layers:
            x, _ = layer(x)
        return self.head(x[:, -1])  # type: ignore[no-any-return]


class Sequences(Network):
    """How sequences come in."""

    _tabular: bool  # whether the first ones were the rows of a table

    def _check_settings(self) -> None:
        super()._check_settings()
        choice(type(self).__name__, "cell", self.cell, CELLS)

    def _default(self, n_in: int, n_out: int, sizes: Sequence[Any]) -> nn.Module:
        return LastStep(self.cell, n_in, sizes, n_out)

    def _checked(self, X: Any, y: Any, first: bool) -> Any:
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        X = self._sequences(X, first)
        y = _check_y(y, multi_output=True, y_numeric=isinstance(self, Regression), estimator=self)
        check_consistent_length(X, y)
        return X, y

    def _checked_x(self, X: Any) -> Any:
        check_is_fitted(self)
        return self._sequences(X, False)

    def _sequences(self, X: Any, first: bool) -> Any:
        """Sequences as an array (samples, steps, channels), or as a list of arrays where lengths differ."""
        owner, one = type(self).__name__, _listed(X)
        rank = 2 if one is not None else _rank(X)
        if one is not None:
            values = check_array(np.concatenate(one), dtype=FLOATS, estimator=self)
            cuts = np.cumsum([len(sequence) for sequence in one])[:-1]
            found: Any = np.split(values, cuts)
            if len({len(sequence) for sequence in found}) == 1:
                found = np.stack(found)
        elif rank == 3:
            found = check_array(X, dtype=FLOATS, allow_nd=True, estimator=self)
        elif first or self._tabular:
            table = validate_data(self, X, dtype=FLOATS, reset=first)
            if first:
                self._tabular, self._channels = True, 1
            return table[:, :, None]
        else:
            found = check_array(X, dtype=FLOATS, estimator=self)[:, :, None]
        channels = int(found[0].shape[-1])
        if first:
            self._tabular, self._channels, self.n_features_in_ = False, channels, channels
        elif channels != self._channels:
            raise ValueError(f"X has {channels} features, but {owner} is expecting {self._channels} features as input")
        return found

    def _inputs(self) -> int:
        return int(self._channels)

    def _held(self, columns: Any) -> Any:
        x, *others = columns
        if not isinstance(x, list):
            return columns
        groups = by_length(x)
        order = np.concatenate(groups)
        return [*(np.stack([x[k] for k in group]) for group in groups), *(column[order] for column in others)]

    def _outputs(self, x: Any, network: nn.Module | None = None) -> Any:
        if not isinstance(x, list):
            return super()._outputs(x, network)
        groups = by_length(x)
        parts = [super(Sequences, self)._outputs(np.stack([x[k] for k in group]), network) for group in groups]
        return np.concatenate(parts)[np.argsort(np.concatenate(groups))]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def by_length(sequences: Sequence[Any]) -> list[Any]:
    """The numbers of the sequences of each length.

    >>> by_length([[1], [1, 2], [3]])
    [array([0, 2]), array([1])]
    """
    lengths = np.array([len(one) for one in sequences])
    return [np.flatnonzero(lengths == length) for length in np.unique(lengths)]


def _listed(X: Any) -> list[Any] | None:
    """The arrays (steps, channels) of a list of sequences; None for anything else, a table too. Raises DataError."""
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1:
        X = list(X)
    if not isinstance(X, (list, tuple)) or not X:
        return None
    try:
        arrays = [np.asarray(one) for one in X]
    except ValueError:
        raise DataError(message("sequences", "a ragged sequence", "steps of one number of channels each")) from None
    shapes = {one.shape for one in arrays}
    if len(shapes) == 1 and arrays[0].ndim != 2:
        return None  # a table, or an array of more axes
    arrays = [one[:, None] if one.ndim == 1 else one for one in arrays]
    for k, one in enumerate(arrays):
        if one.ndim != 2 or not len(one) or one.shape[1] != arrays[0].shape[1]:
            got = f"sequence {k} of shape {np.shape(X[k])} beside one of shape {np.shape(X[0])}"
            raise DataError(message("sequences", got, "(steps, channels), with one number of channels"))
    return arrays


def _rank(X: Any) -> int:
    return len(X.shape) if hasattr(X, "shape") else np.ndim(X) if isinstance(X, (list, tuple)) else 2


@estimator
class SequenceClassifier(Sequences, Classification):
    """A classifier of sequences; without a `module`, recurrent layers of the kind `cell`: "gru", "lstm" or "rnn".

    A `module` gets (samples, steps, channels) and returns (samples, n_out).

    >>> import numpy as np
    >>> rises = [np.linspace(0, k % 2, 3 + k % 3) for k in range(12)]
    >>> model = SequenceClassifier(hidden=(8,), learning_rate_init=0.05, random_state=0)
    >>> model.fit(rises, [k % 2 for k in range(12)]).predict(rises[:4])
    array([0, 1, 0, 1])
    """

    class_weight: Mapping[Any, float] | str | None = None
    cell: str = "gru"


@estimator
class SequenceRegressor(Sequences, Regression):
    """A regressor on sequences; without a `module`, recurrent layers of the kind `cell`: "gru", "lstm" or "rnn".

    A `module` gets (samples, steps, channels) and returns (samples, n_out).

    >>> import tinygrad_nn as tg
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(n, 2)) for n in (3, 5, 4, 5, 3, 4)]
    >>> y = np.array([x[-1, 0] for x in X])
    >>> tg.sklearn.SequenceRegressor(hidden=(4,), max_iter=5, random_state=0).fit(X, y).predict(X).shape
    (6,)
    """

    cell: str = "gru"
