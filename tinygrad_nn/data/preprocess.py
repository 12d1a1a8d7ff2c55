"""Fitted, immutable transformers for tables: what they learnt from the training rows, and how they map any rows.

`fit(train)` is the only way in for statistics, so nothing leaks from validation or test rows:

    scaler = MaxAbsScaler.fit(x_train)
    x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)

Matrices have shape (rows, columns). Statistics are float64; float32 input gives float32 output. Column names, where
given, serve messages. Every function raises DataError for empty, non-numeric or misshapen input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from math import comb, isnan
from typing import Any, Literal, Self

import numpy as np

from ..errors import DataError, message
from ..memory import check_fits
from ..settings import shown, typed_as
from .arrays import Array, as_array, check_finite, check_names, is_sequence

Names = tuple[str, ...] | None


@dataclass(frozen=True, eq=False)
class MeanImputer:
    """Replaces NaN by the mean of the training values in the same column.

    >>> imputer = MeanImputer.fit([[22.0, 7.0], [np.nan, 9.0], [38.0, np.nan]], names=("age", "fare"))
    >>> imputer.transform([[np.nan, np.nan]])
    array([[30.,  8.]])
    """

    mean: Array
    names: Names = None

    @classmethod
    def fit(
        cls, train: Any, names: Iterable[str] | None = None, *, fallback: Mapping[str, float] | None = None
    ) -> Self:
        """Learn the means of `train`, ignoring NaN; a column that is all NaN has its `fallback` (by name) for a mean,
        or is an error.
        """
        op = f"{cls.__name__}.fit"
        x, names = _training(op, train, names, allow_nan=True)
        instead = dict(fallback or {})
        check_names(op, list(instead), names or (), "the names of the columns")
        present = ~np.isnan(x)
        count = present.sum(axis=0)
        total = np.where(present, x, 0.0).sum(axis=0)
        for column in np.flatnonzero(count == 0).tolist():
            name = names[column] if names else ""
            if name not in instead:
                raise DataError(message(op, f"column {repr(name) if names else column} without any value",
                                        "at least one value in each column", "leave this column out, or give fallback"))
            total[column], count[column] = instead[name], 1
        return cls(total / count, names)

    def transform(self, x: Any) -> Array:
        """`x` with every NaN replaced; infinities are an error."""
        x = _matrix(f"{type(self).__name__}.transform", x, self.names, len(self.mean), allow_nan=True)
        return np.where(np.isnan(x), self.mean.astype(x.dtype), x)


@dataclass(frozen=True, eq=False)
class Scaler:
    """Maps each column by (x - offset) / scale, and back; its subclasses differ in what they fit.

    A constant column has scale 1, so it maps to a constant and comes back unchanged.
    """

    offset: Array
    scale: Array
    names: Names = None

    def transform(self, x: Any) -> Array:
        """Scaled copy of `x`."""
        x = _matrix(f"{type(self).__name__}.transform", x, self.names, len(self.scale))
        return np.asarray((x - self.offset) / self.scale, x.dtype)

    def inverse(self, x: Any) -> Array:
        """Original units again (denormalise): the inverse of `transform`."""
        x = _matrix(f"{type(self).__name__}.inverse", x, self.names, len(self.scale))
        return np.asarray(x * self.scale + self.offset, x.dtype)

    denormalize = inverse


class MaxAbsScaler(Scaler):
    """Divides each column by its largest absolute value: into [-1, 1], zero stays zero.

    >>> MaxAbsScaler.fit([[1.0, -4.0], [2.0, 2.0]]).transform([[1.0, 1.0]])
    array([[0.5 , 0.25]])
    """

    @classmethod
    def fit(cls, train: Any, names: Iterable[str] | None = None) -> Self:
        """Learn the largest absolute values of `train`."""
        x, names = _training(f"{cls.__name__}.fit", train, names)
        scale = np.abs(x).max(axis=0)
        return cls(np.zeros_like(scale), np.where(scale > 0, scale, 1.0), names)


class MinMaxScaler(Scaler):
    """Maps each column's training range onto [low, high].

    >>> scaler = MinMaxScaler.fit([[10.0], [30.0]])
    >>> scaler.transform([[15.0]]), scaler.inverse([[0.25]])
    (array([[0.25]]), array([[15.]]))
    """

    @classmethod
    def fit(cls, train: Any, names: Iterable[str] | None = None, *, low: float = 0.0, high: float = 1.0) -> Self:
        """Learn the smallest and largest values of `train`; a constant column maps to `low`."""
        op = f"{cls.__name__}.fit"
        if not low < high:
            raise DataError(message(op, f"low={low} and high={high}", "low < high", "the usual range is 0 to 1"))
        x, names = _training(op, train, names)
        bottom = x.min(axis=0)
        scale = (x.max(axis=0) - bottom) / (high - low)
        scale = np.where(scale > 0, scale, 1.0)
        return cls(bottom - low * scale, scale, names)


class StandardScaler(Scaler):
    """Gives each column mean 0 and standard deviation 1 (of the population: divided by n) on the training rows.

    >>> StandardScaler.fit([[1.0], [3.0]]).transform([[5.0]])
    array([[3.]])
    """

    @classmethod
    def fit(cls, train: Any, names: Iterable[str] | None = None) -> Self:
        """Learn mean and standard deviation of `train`; a constant column maps to 0."""
        x, names = _training(f"{cls.__name__}.fit", train, names)
        deviation = x.std(axis=0)
        constant = (x.min(axis=0) == x.max(axis=0)) | (deviation == 0)  # rounding gives 0.1, 0.1, ... a tiny deviation
        return cls(np.where(constant, x[0], x.mean(axis=0)), np.where(constant, 1.0, deviation), names)


@dataclass(frozen=True)
class OneHotEncoder:
    """One column of 0 and 1 for each category of a column of strings, integers or booleans.

    `unknown` says what becomes of a category that `fit` did not see: "error", or "zeros" in all columns, which is then
    also what a missing value gives.

    >>> sex = OneHotEncoder.fit(["male", "female", "male"], name="Sex")
    >>> sex.names, sex.transform(["female", "male"]).tolist()
    (('Sex=female', 'Sex=male'), [[1.0, 0.0], [0.0, 1.0]])
    >>> sex.inverse([[1.0, 0.0]])
    ['female']
    >>> OneHotEncoder.fit(["S", "C"], "Embarked", unknown="zeros").transform(["Q", None]).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """

    categories: tuple[Any, ...]
    name: str = "category"
    unknown: Literal["error", "zeros"] = "error"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise DataError(message(type(self).__name__, f"name {shown(self.name)}", "a text"))
        if not isinstance(self.unknown, str) or self.unknown not in ("error", "zeros"):
            raise DataError(message(type(self).__name__, f"unknown={self.unknown!r}", '"error" or "zeros"'))

    @classmethod
    def fit(
        cls, train: Iterable[Any], name: str = "category", *, unknown: Literal["error", "zeros"] = "error"
    ) -> Self:
        """Learn the categories of `train`, sorted; a missing value is an error (impute it, or name it), or with
        unknown="zeros" no category.
        """
        values = _categories(f"{cls.__name__}.fit", train, name, unknown == "zeros")
        known = {value for value in values if not _is_missing(value)}
        if not known:
            raise DataError(message(f"{cls.__name__}.fit", f"no values of {name!r}", "at least one row",
                                    "check the split"))
        return cls(tuple(sorted(known, key=lambda value: (str(type(value)), value))), name, unknown)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that `transform` gives."""
        return tuple(f"{self.name}={category}" for category in self.categories)

    def transform(self, values: Iterable[Any]) -> Array:
        """float64 matrix (rows, categories); a category that `fit` did not see is an error naming it and its row, or
        zeros.
        """
        op = f"{type(self).__name__}.transform"
        column = {category: j for j, category in enumerate(self.categories)}
        values = _categories(op, values, self.name, self.unknown == "zeros")
        places = np.array([column.get(value, -1) for value in values], np.int64)
        if self.unknown == "error" and (places < 0).any():
            row = int(np.argmax(places < 0))
            known = ", ".join(map(repr, self.categories[:12]))
            raise DataError(message(op, f"unknown category {values[row]!r} in {self.name!r}, row {row}",
                                    f"one of {known}", 'fit on data that holds every category, or unknown="zeros"'))
        return np.asarray(places[:, None] == np.arange(len(self.categories)), np.float64)

    def inverse(self, scores: Any) -> list[Any]:
        """The category with the largest score in each row of a (rows, categories) matrix."""
        scores = _matrix(f"{type(self).__name__}.inverse", scores, self.names, len(self.categories))
        return [self.categories[j] for j in scores.argmax(axis=1)]


@typed_as(DataError)
def polynomial_features(x: Any, names: Sequence[str] | None = None, *, degree: int = 2,
                        interaction_only: bool = False) -> tuple[Array, tuple[str, ...]]:
    """The columns of `x` and their products up to `degree`, with their names; `interaction_only` leaves out powers.

    Columns come by degree, then in the order of the factors. No constant column: layers have a bias.

    >>> polynomial_features([[2.0, 3.0]], ("a", "b"))
    (array([[2., 3., 4., 6., 9.]]), ('a', 'b', 'a^2', 'a*b', 'b^2'))
    >>> polynomial_features([[2.0, 3.0]], ("a", "b"), interaction_only=True)[1]
    ('a', 'b', 'a*b')
    """
    op = "polynomial_features"
    if names is not None and not all(isinstance(name, str) for name in names):
        raise DataError(message(op, f"names {shown(names)}", "texts"))
    names = None if names is None else tuple(names)
    x = _matrix(op, x, names)
    if degree < 1:
        raise DataError(message(op, f"degree={degree}", "degree >= 1", "degree=2 gives squares and pairs"))
    names = [f"x{j + 1}" for j in range(x.shape[1])] if names is None else names
    width = x.shape[1]
    count = sum(comb(width, size) for size in range(1, min(degree, width) + 1)) if interaction_only else (
        comb(width + degree, degree) - 1)
    check_fits(op, f"degree={degree} of {width} columns, which is {count:,} products",
               count * (len(x) * x.itemsize + 100 + 8 * degree))
    choose = combinations if interaction_only else combinations_with_replacement
    factors = [chosen for size in range(1, degree + 1) for chosen in choose(range(x.shape[1]), size)]
    products = np.stack([x[:, list(chosen)].prod(axis=1) for chosen in factors], axis=1)
    return products, tuple(_product_name(names, chosen) for chosen in factors)


def _product_name(names: Sequence[str], factors: tuple[int, ...]) -> str:
    powers = {j: factors.count(j) for j in factors}
    return "*".join(names[j] + (f"^{power}" if power > 1 else "") for j, power in powers.items())


def _training(op: str, train: Any, names: Iterable[str] | None, allow_nan: bool = False) -> tuple[Array, Names]:
    """Training rows in float64, for the statistics."""
    names = None if names is None else tuple(names)
    x = _matrix(op, train, names, allow_nan=allow_nan).astype(np.float64)
    if not len(x):
        raise DataError(message(op, "no rows", "at least one training row", "check the split"))
    return x, names


def _matrix(op: str, x: Any, names: Sequence[str] | None, width: int | None = None, allow_nan: bool = False) -> Array:
    """Finite float matrix of the expected width."""
    matrix = as_array(op, x)
    matrix = matrix if matrix.dtype == np.float32 else matrix.astype(np.float64)
    width = len(names) if names is not None else width
    if matrix.ndim != 2 or (width is not None and matrix.shape[1] != width):
        columns = "columns" if width is None else f"{width} columns" + (f" ({', '.join(names)})" if names else "")
        raise DataError(message(op, f"shape {matrix.shape}", f"(rows, columns) with {columns}",
                                "a single column is x.reshape(-1, 1)"))
    check_finite(op, matrix, "data", names, allow_nan)
    return matrix


def _categories(op: str, values: Iterable[Any], name: str, may_miss: bool = False) -> list[Any]:
    values = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if any(map(is_sequence, values)):
        raise DataError(message(op, f"several columns for {name!r}", "one value per row",
                                "encode one column at a time, as in frame['Sex']"))
    missing = None if may_miss else next((row for row, value in enumerate(values) if _is_missing(value)), None)
    if missing is not None:
        raise DataError(message(op, f"a missing value in {name!r}, row {missing}", "a category in each row",
                                "name it, as in series.fill_null('unknown'), or drop the row"))
    return values


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))
