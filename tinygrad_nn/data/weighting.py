"""How much each sample counts in training: given weights, times those of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError, DataError, message
from ..support.arrays import Array
from ..support.settings import number, shown
from .batching import Column, as_columns


def sample_weights(
    columns: Sequence[Column],
    sample_weight: Any,
    class_weight: Mapping[int, float] | str | None,
    dtype: npt.DTypeLike,
    *,
    op: str = "fit",
) -> Array | None:
    """One weight per sample, or None where neither kind is given. The labels are the last column.

    Raises DataError where weights and samples, or labels and classes, do not match, ConfigError for another string than
    "balanced".

    >>> sample_weights((np.zeros(4), np.array([0, 1, 1, 1])), [1, 1, 1, 3], {0: 2.0, 1: 1.0}, np.float64).tolist()
    [2.0, 1.0, 1.0, 3.0]
    """
    if sample_weight is None and class_weight is None:
        return None
    count = len(columns[0])
    weights = np.ones(count, dtype)
    if sample_weight is not None:
        (given,) = as_columns((sample_weight,), dtype=dtype, op=op, names=("sample_weight",))
        if not isinstance(given, np.ndarray) or given.shape != (count,):
            raise DataError(message(op, "sample_weight that is not one number per sample", f"{count} numbers"))
        weights = weights * given
    if class_weight is not None:
        labels = columns[-1]
        if not isinstance(labels, np.ndarray) or labels.size != count:
            raise DataError(message(op, "class_weight with targets that are not labels", "one label per sample"))
        weights = weights * _by_class(labels.reshape(-1), class_weight, op)
    return weights.astype(dtype)


def _by_class(labels: Array, class_weight: Mapping[int, float] | str, op: str) -> Array:
    present, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if class_weight == "balanced":  # n / (classes * count), as scikit-learn
        return np.asarray((len(labels) / (len(present) * counts))[inverse])
    if isinstance(class_weight, str):
        raise ConfigError(message(op, f"class_weight {class_weight!r}", '"balanced" or a dict of label -> weight'))
    missing = [label for label in present.tolist() if label not in class_weight]
    if missing:
        got = f"no weight for class {missing[0]}, the label in row {int(np.argmax(labels == missing[0]))}"
        raise DataError(message(op, got, "a weight for every label in the data"))
    for label, weight in class_weight.items():
        number(op, f"class_weight of {shown(label)}", weight, least=0)
        if label not in present:
            got = f"class_weight of {shown(label)}, a label that no row has"
            raise DataError(message(op, got, "weights of the labels in the data", "leave it out"))
    return np.array([class_weight[label] for label in present.tolist()])[inverse]
