"""The data of each model: the rows of the user's columns that its share has, features left out, weights of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..data.batching import gather
from ..data.table import as_frame, is_table
from ..data.weighting import sample_weights
from ..errors import ConfigError, DataError, message
from ..graph.graph import Array, DType
from ..support.settings import shown
from ..tensor.core import constant
from ..tensor.tensor import Tensor
from .request import Settings, Share, nearest


def taken_apart(data: Any, by: Any) -> tuple[Any, Any]:
    """The data without the column that says which set a row is of, and that column."""
    if not isinstance(by, str):
        return data, by
    items = data if isinstance(data, tuple) else (data,)
    names: list[str] = []
    for k, item in enumerate(items):
        if hasattr(item, "__arrow_c_stream__") and is_table(item):
            frame = as_frame(item, "sweep")
            names += frame.columns
            if by in frame.columns:
                rest = (*items[:k], frame.drop(by), *items[k + 1 :])
                return (rest if isinstance(data, tuple) else rest[0]), np.asarray(frame[by].to_list())
    known = (
        f"a column of the data: {', '.join(map(repr, names))}" if names else "one value per row: the data is no frame"
    )
    raise DataError(message("sweep", f"by={by!r}", known, nearest(by, names)))


class Data:
    """The columns of a sweep, from which shares are cut."""

    def __init__(self, columns: tuple[Any, ...], dtype: DType, sample_weight: Any, class_weight: Any) -> None:
        self.columns, self.dtype, self.count = columns, dtype, len(columns[0])
        self.sample_weight, self.class_weight = sample_weight, class_weight
        self.cuts: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    @property
    def labels(self) -> Any:
        """The last column."""
        return self.columns[-1]

    def check(self, points: Sequence[Settings]) -> None:
        """Raise an error for features that are not there, and for weights that are none, before anything is trained."""
        for point in points:
            self._features(point.get("columns"))
            self._weights(self.columns, slice(None), point)

    def train(self, share: Share, point: Settings) -> tuple[Any, ...]:
        """The columns that a model is trained on."""
        rows: Any = slice(None) if share.rows is None else share.rows
        columns = [self._chosen(column, rows) for column in self.columns]
        columns[0] = self._masked(columns[0], point.get("columns"))
        weights = self._weights(tuple(columns), rows, point)
        return (*columns, weights) if weights is not None else tuple(columns)

    def held(self, share: Share, point: Settings) -> tuple[Array, ...]:
        """The columns of the rows held out; of those that train, where none are."""
        rows = share.held if share.held is not None else share.rows
        columns = [self._chosen(column, slice(None) if rows is None else rows) for column in self.columns]
        if any(isinstance(column, list) for column in columns):
            raise DataError(message("sweep", "sequences of several lengths to evaluate", "arrays, or evaluate()"))
        columns[0] = self._masked(columns[0], point.get("columns"))
        return tuple(columns)

    @staticmethod
    def _chosen(column: Any, rows: Any) -> Any:
        if isinstance(column, list) and not isinstance(rows, slice):
            return [column[row] for row in rows]
        return column[rows]

    def _features(self, chosen: Any) -> Array | None:
        """Which features are left out."""
        first = self.columns[0]
        if chosen is None:
            return None
        if isinstance(first, list) or first.ndim < 2:
            raise ConfigError(
                message("sweep", "columns for data without features", "a matrix as the first of the data")
            )
        width, given = first.shape[-1], np.asarray(chosen)
        if given.dtype == np.bool_ and given.shape == (width,) and given.any():
            return np.asarray(~given)
        if given.ndim != 1 or given.dtype.kind not in "iu" or not given.size or given.min() < 0 or given.max() >= width:
            expected = f"column numbers from 0 to {width - 1}, or {width} truth values, or None"
            raise ConfigError(message("sweep", f"the setting columns={shown(chosen)}", expected))
        out = np.ones(width, np.bool_)
        out[given] = False
        return out

    def _masked(self, column: Any, chosen: Any) -> Any:
        out = self._features(chosen)
        if out is None:
            return column
        masked = column.copy()
        masked[..., out] = 0
        return masked

    def _weights(self, columns: tuple[Any, ...], rows: Any, point: Settings) -> Array | None:
        weight, classes = point.get("sample_weight", self.sample_weight), point.get("class_weight", self.class_weight)
        if weight is None and classes is None:
            return None
        if classes is not None and not isinstance(classes, (str, Mapping)):
            got = f"class_weight of type {type(classes).__name__}"
            raise ConfigError(message("sweep", got, "a mapping of classes to weights, or 'balanced'"))
        whole = sample_weights(self.columns, weight, None, self.dtype, op="sweep") if weight is not None else None
        return sample_weights(columns, None if whole is None else whole[rows], classes, self.dtype, op="sweep")


def tensors_of(columns: tuple[Array, ...]) -> list[Tensor]:
    """A tensor for each column."""
    return [Tensor.handle(constant(np.array(column))) for column in columns]


def sets_of(columns: tuple[Any, ...], plan: Any) -> list[list[Array]]:
    """The samples of each length, as the arguments of the step."""
    return [[gather(column, members) for column in columns] for members in plan.sets]
