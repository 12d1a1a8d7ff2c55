"""Preprocessing that is fitted to a table: scalers, imputers and encoders, as layers.

What they learn lies in buffers, so `nn.Sequential(scaler, model)` is one model: compiled as one, with one state_dict.
`fit` is the only way in for statistics, so nothing leaks from validation or test rows:

    scaler = nn.MaxAbsScaler().fit(x_train)
    x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)     # tables: arrays in, checked, arrays out
    model = nn.Sequential(scaler, net)                                       # or as a layer: model(x) reads raw rows

As in scikit-learn `fit` returns the module and fits it anew; called on the class, `MaxAbsScaler.fit(x)`, it makes one.
Tables have shape (rows, columns). A layer takes (..., columns) and lets NaN through as every layer does.

Statistics are float64. A layer computes in them, so that a column of large numbers loses nothing, and gives the dtype
of its input back; arrays and lists stay data, which the next layer takes in its own dtype. After `model.float()` the
statistics are float32 too. All refuse, with DataError, an empty, non-numeric or misshapen table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import FrozenInstanceError
from functools import update_wrapper
from math import isnan
from types import MethodType
from typing import Any, ClassVar, Concatenate, Final, Generic, Literal, ParamSpec, Self, TypeVar

import numpy as np

from ..errors import DataError, IndexOutOfRange, ShapeError, message, printable
from ..ops.index import SCATTER_ADD
from ..ops.lookup import Called
from ..ops.rules import FLOAT64
from ..support.arrays import Array, Names, as_array, check_finite, check_names, is_sequence, matrix
from ..support.memory import check_fits
from ..support.settings import is_iterable, number, shown
from ..tensor import Tensor, no_grad
from ..tensor.arrays import array_of
from ..tensor.core import constant, mode
from ..tensor.creation import tensor
from ..tensor.door import is_tensor
from ..tensor.structure import replaced
from .module import Module
from .parameter import Statistic

P = ParamSpec("P")
M = TypeVar("M", bound="Fitted")


class fits(Generic[M, P]):
    """A method that learns from data. Called on the class it fits a new module."""

    def __init__(self, method: Callable[Concatenate[M, P], M]) -> None:
        self.method = np.errstate(all="ignore")(method)  # statistics that overflow are an error of ours
        update_wrapper(self, method)  # type: ignore[arg-type]

    def __get__(self, module: M | None, kind: type[M]) -> Callable[P, M]:
        return MethodType(self.method, kind() if module is None else module)


class _Data(Tensor):
    """What was data and still is: the layer that reads it gives it its dtype."""

    __slots__ = ()
    _from_array = True

    def __init__(self, tensor: Tensor) -> None:
        self.node = tensor.node


class Fitted(Module):
    """Base of all: what was learnt lies in buffers, and only `fit` writes it."""

    learnt: ClassVar[tuple[str, ...]]  # the buffers
    kept: ClassVar[tuple[str, ...]]  # what the constructor takes

    def _learn(self, statistics: Mapping[str, Any], **others: Any) -> Self:
        """Hold other statistics. The buffers stay, as compiled code and others hold them."""
        arrays = {key: np.array(value, np.float64) for key, value in statistics.items()}
        for key, array in arrays.items():
            if not np.isfinite(array).all():
                got = f"a {key} of column {int(np.argmin(np.isfinite(array)))} that is not finite"
                hint = "divide the column by a power of 10 first"
                raise DataError(message(self._op("fit"), got, "numbers whose squares float64 holds", hint))
        for key, array in arrays.items():
            if key in vars(self):
                vars(self)[key].node = constant(array.astype(vars(self)[key].dtype))
            else:
                vars(self)[key] = Statistic(array)
        vars(self).update(others)
        replaced()
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        if name in (*self.learnt, *self.kept):
            raise FrozenInstanceError(f"cannot assign to field {name!r}: fit() learns it")
        super().__setattr__(name, value)

    def fields(self) -> dict[str, Any]:
        """What the constructor takes to make an equal one: float64 arrays, texts, categories."""
        own = {name: getattr(self, name) for name in self.kept}
        return {k: v.numpy().astype(np.float64) if isinstance(v, Tensor) else v for k, v in own.items()}

    @property
    def width(self) -> int:
        """The number of columns, or of categories; 0 before `fit`."""
        return int(vars(self)[self.learnt[0]].numel())

    def _check_fitted(self, op: str) -> None:
        if not self.width:
            raise DataError(message(op, "data before it was fitted", "fit(train) first", "fit it on the training rows"))

    def _op(self, method: str) -> str:
        return f"{type(self).__name__}.{method}"

    def _mapped(self, x: Any, rule: Callable[..., Tensor], check: Callable[[Tensor], Tensor]) -> Tensor:
        """What a rule makes of data and the statistics, all in the widest of their dtypes."""
        data = not is_tensor(x)
        if not isinstance(x, Tensor):
            x = Tensor.handle(constant(array_of(type(self).__name__, x, fractional=FLOAT64)))
        self._check_fitted(type(self).__name__)
        x = check(x)
        statistics = [vars(self)[key] for key in self.learnt]
        own = x.dtype if x.dtype.kind == "f" else FLOAT64 if data else mode.dtype
        wide = max(own, statistics[0].dtype, key=lambda dtype: dtype.itemsize)
        result = rule(x.to(wide), *(statistic.to(wide) for statistic in statistics)).to(own)
        return _Data(result) if data else result


class _Columns(Fitted):
    """What maps each column of a table by itself, by a rule for tensors. Messages know the columns by their names."""

    names: Names

    def __init__(self, names: Iterable[str] | None, **statistics: Any) -> None:
        super().__init__()
        op, names = type(self).__name__, _texts(type(self).__name__, names)
        arrays = {key: as_array(op, value, key) for key, value in statistics.items()}
        shapes = {array.shape for array in arrays.values()}
        length = None if names is None else len(names)
        for key, array in arrays.items():
            check_finite(op, array, key)
            if array.ndim != 1 or len(shapes) > 1 or length not in (None, len(array)):
                got = ", ".join(f"{key} of shape {array.shape}" for key, array in arrays.items())
                raise DataError(message(op, got + f" for {length} names" * (length is not None), "one number a column"))
        self._learn(arrays, names=names)

    def extra_repr(self) -> str:
        """The names of the columns, or their number."""
        if not self.width:
            return "not fitted"
        return printable(", ".join(self.names), keep="") if self.names else f"{self.width} columns"

    def forward(self, x: Tensor) -> Tensor:
        """(..., columns) as `transform` maps it, unchecked; the dtype of a float tensor stays."""
        return self._mapped(x, self._rule, self._check_columns)

    def transform(self, x: Any) -> Any:
        """`x` mapped: a table checked, into a new array; a tensor as the layer does, into a tensor."""
        return self._checked("transform", self._rule, x)

    def fit_transform(self, train: Any, names: Iterable[str] | None = None, **options: Any) -> Any:
        """`fit` to a table, with its options, and `transform` the same one."""
        return self.fit(train, names, **options).transform(train)

    @staticmethod
    def _rule(x: Tensor, *statistics: Tensor) -> Tensor:
        raise NotImplementedError

    def _checked(self, method: str, rule: Callable[..., Tensor], x: Any, allow_nan: bool = False) -> Any:
        """A tensor mapped by a rule; a table with the columns that were fitted, as an array."""
        if isinstance(x, Tensor):
            return self._mapped(x, rule, self._check_columns)
        self._check_fitted(self._op(method))
        table = matrix(self._op(method), x, self.names, self.width, allow_nan)
        with no_grad():
            return np.array(self._mapped(Tensor.handle(constant(table)), rule, self._check_columns).numpy())

    def _check_columns(self, x: Tensor) -> Tensor:
        if x.ndim == 0 or x.shape[-1] != self.width:
            expected = f"(..., {self.width})" + (f" with the columns {', '.join(self.names)}" if self.names else "")
            hint = "a single column is x.reshape(-1, 1)" if x.ndim < 2 else ""
            raise ShapeError(message(type(self).__name__, f"shape {x.shape}", expected, hint))
        return x

    def _table(self, train: Any, names: Iterable[str] | None, allow_nan: bool = False) -> tuple[Array, Names]:
        """Training rows in float64, for the statistics."""
        names = _texts(self._op("fit"), names)
        x = matrix(self._op("fit"), train, names, allow_nan=allow_nan).astype(np.float64)
        if not len(x):
            raise DataError(message(self._op("fit"), "no rows", "at least one training row", "check the split"))
        return x, names


def _numbers(op: str, fallback: Mapping[str, float] | None) -> dict[str, float]:
    if not isinstance(fallback, Mapping | None):
        raise DataError(message(op, f"fallback {shown(fallback)}", "a dict of columns and numbers"))
    return {name: number(op, f"fallback of {name!r}", value) for name, value in (fallback or {}).items()}


def _texts(op: str, names: Iterable[str] | None) -> Names:
    if names is not None and not is_iterable(names):
        raise DataError(message(op, f"names {shown(names)}", "a list of texts"))
    if names is None:
        return None
    listed = []
    for name in names:
        if not isinstance(name, str):
            raise DataError(message(op, f"{shown(name)} among the names", "texts"))
        listed.append(name)
    return tuple(listed)


class MeanImputer(_Columns):
    """Replaces NaN by the mean of the training values in the same column.

    >>> imputer = MeanImputer().fit([[22.0, 7.0], [np.nan, 9.0], [38.0, np.nan]], names=("age", "fare"))
    >>> imputer.transform([[np.nan, np.nan]])
    array([[30.,  8.]])
    """

    learnt, kept = ("mean",), ("mean", "names")
    mean: Statistic

    def __init__(self, mean: Any = (), names: Iterable[str] | None = None) -> None:
        super().__init__(names, mean=mean)

    @fits
    def fit(
        self, train: Any, names: Iterable[str] | None = None, *, fallback: Mapping[str, float] | None = None
    ) -> MeanImputer:
        """Learn the means of `train`, ignoring NaN; a column that is all NaN has its `fallback` (by name) for a mean,
        or is an error.
        """
        x, names = self._table(train, names, allow_nan=True)
        instead = _numbers(self._op("fit"), fallback)
        check_names(self._op("fit"), list(instead), names or (), "the names of the columns")
        present = ~np.isnan(x)
        count = present.sum(axis=0)
        total = np.where(present, x, 0.0).sum(axis=0)
        for column in np.flatnonzero(count == 0).tolist():
            name = names[column] if names else ""
            if name not in instead:
                got = f"column {repr(name) if names else column} without any value"
                hint = "leave this column out, or give fallback"
                raise DataError(message(self._op("fit"), got, "at least one value in each column", hint))
            total[column], count[column] = instead[name], 1
        return self._learn({"mean": total / count}, names=names)

    def transform(self, x: Any) -> Any:
        """`x` with every NaN replaced; infinities in a table are an error."""
        return self._checked("transform", self._rule, x, allow_nan=True)

    @staticmethod
    def _rule(x: Tensor, *statistics: Tensor) -> Tensor:
        (mean,) = statistics
        return mean.where(x.isnan(), x)


class Scaler(_Columns):
    """Maps each column by (x - offset) / scale, and back; its subclasses differ in what they fit.

    A constant column has scale 1, so it maps to a constant and comes back unchanged.
    """

    learnt, kept = ("offset", "scale"), ("offset", "scale", "names")
    offset: Statistic
    scale: Statistic

    def __init__(self, offset: Any = (), scale: Any = (), names: Iterable[str] | None = None) -> None:
        super().__init__(names, offset=offset, scale=scale)
        if not self.scale.numpy().all():
            raise DataError(message(type(self).__name__, "a scale of 0", "numbers to divide by", "1 for a constant"))

    def inverse(self, x: Any) -> Any:
        """Original units again (denormalise): the inverse of `transform`."""
        return self._checked("inverse", self._back, x)

    denormalize = inverse_transform = inverse

    @staticmethod
    def _rule(x: Tensor, *statistics: Tensor) -> Tensor:
        offset, scale = statistics
        return (x - offset) / scale

    @staticmethod
    def _back(x: Tensor, offset: Tensor, scale: Tensor) -> Tensor:
        return x * scale + offset


class MaxAbsScaler(Scaler):
    """Divides each column by its largest absolute value: into [-1, 1], zero stays zero.

    >>> MaxAbsScaler().fit([[1.0, -4.0], [2.0, 2.0]]).transform([[1.0, 1.0]])
    array([[0.5 , 0.25]])
    """

    @fits
    def fit(self, train: Any, names: Iterable[str] | None = None) -> MaxAbsScaler:
        """Learn the largest absolute values of `train`."""
        x, names = self._table(train, names)
        scale = np.abs(x).max(axis=0)
        return self._learn({"offset": np.zeros_like(scale), "scale": np.where(scale > 0, scale, 1.0)}, names=names)


class MinMaxScaler(Scaler):
    """Maps each column's training range onto [low, high].

    >>> scaler = MinMaxScaler().fit([[10.0], [30.0]])
    >>> scaler.transform([[15.0]]), scaler.inverse([[0.25]])
    (array([[0.25]]), array([[15.]]))
    """

    @fits
    def fit(
        self, train: Any, names: Iterable[str] | None = None, *, low: float = 0.0, high: float = 1.0
    ) -> MinMaxScaler:
        """Learn the smallest and largest values of `train`; a constant column maps to `low`."""
        op = self._op("fit")
        if not number(op, "low", low) < number(op, "high", high):
            raise DataError(message(op, f"low={low} and high={high}", "low < high", "the usual range is 0 to 1"))
        x, names = self._table(train, names)
        bottom = x.min(axis=0)
        scale = (x.max(axis=0) - bottom) / (high - low)
        scale = np.where(scale > 0, scale, 1.0)
        return self._learn({"offset": bottom - low * scale, "scale": scale}, names=names)


class StandardScaler(Scaler):
    """Gives each column mean 0 and standard deviation 1 (of the population: divided by n) on the training rows.

    >>> scaler = StandardScaler().fit([[1.0], [3.0]])
    >>> scaler.transform([[5.0]])
    array([[3.]])
    >>> import tinygrad_nn as tg
    >>> tg.nn.Sequential(scaler, tg.nn.ReLU())(tg.tensor([[5.0], [1.0]])).tolist()
    [[3.0], [0.0]]
    """

    @fits
    def fit(self, train: Any, names: Iterable[str] | None = None) -> StandardScaler:
        """Learn mean and standard deviation of `train`; a constant column maps to 0."""
        x, names = self._table(train, names)
        deviation = x.std(axis=0)
        constant = (x.min(axis=0) == x.max(axis=0)) | (deviation == 0)  # rounding gives 0.1, 0.1, ... a tiny deviation
        offset, scale = np.where(constant, x[0], x.mean(axis=0)), np.where(constant, 1.0, deviation)
        return self._learn({"offset": offset, "scale": scale}, names=names)


class OneHotEncoder(Fitted):
    """One column of 0 and 1 for each category of a column of strings, integers or booleans.

    `unknown` says what becomes of a category that `fit` did not see: "error", or "zeros" in all columns, which is then
    also what a missing value gives. A layer reads numbers: those of `codes`, (..., 1) to (..., categories). A category
    that is a number is its own code.

    >>> sex = OneHotEncoder().fit(["male", "female", "male"], name="Sex")
    >>> sex.names, sex.transform(["female", "male"]).tolist()
    (('Sex=female', 'Sex=male'), [[1.0, 0.0], [0.0, 1.0]])
    >>> sex.inverse([[1.0, 0.0]])
    ['female']
    >>> sex(sex.codes(["female", "male"])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    >>> OneHotEncoder.fit(["S", "C"], "Embarked", unknown="zeros").transform(["Q", None]).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """

    learnt, kept = ("code",), ("categories", "name", "unknown")
    code: Statistic
    categories: tuple[Any, ...]
    name: str
    unknown: Literal["error", "zeros"]

    def __init__(
        self, categories: Iterable[Any] = (), name: str = "category", unknown: Literal["error", "zeros"] = "error"
    ) -> None:
        super().__init__()
        self._know(type(self).__name__, tuple(_values(type(self).__name__, categories)), name, unknown)

    def _know(self, op: str, categories: tuple[Any, ...], name: Any, unknown: Any) -> Self:
        _check_words(op, name, unknown)
        return self._learn({"code": _codes(categories)}, categories=categories, name=name, unknown=unknown)

    @fits
    def fit(
        self, train: Iterable[Any], name: str | None = None, *, unknown: Literal["error", "zeros"] | None = None
    ) -> OneHotEncoder:
        """Learn the categories of `train`, sorted; a missing value is an error (impute it, or name it), or with
        unknown="zeros" no category. `name` and `unknown` are those of the constructor unless they are given.
        """
        name, unknown = self.name if name is None else name, self.unknown if unknown is None else unknown
        _check_words(self._op("fit"), name, unknown)
        values = _categories(self._op("fit"), train, name, unknown == "zeros")
        known = {value for value in values if not _is_missing(value)}
        if not known:
            raise DataError(message(self._op("fit"), f"no values of {name!r}", "at least one row", "check the split"))
        order = sorted(known, key=lambda value: (str(type(value)), value))
        return self._know(type(self).__name__, tuple(order), name, unknown)

    def fit_transform(self, train: Iterable[Any], *args: Any, **options: Any) -> Any:
        """`fit` to a column, with its options, and `transform` the same one."""
        values = _values(self._op("fit"), train)
        return self.fit(values, *args, **options).transform(values)

    @property
    def _known(self) -> tuple[Any, ...]:
        """The categories, or the codes, where only these were loaded."""
        return self.categories if len(self.categories) == self.width else tuple(self.code.tolist())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that `transform` gives."""
        return tuple(f"{self.name}={category}" for category in self._known)

    def transform(self, values: Iterable[Any]) -> Array:
        """float64 matrix (rows, categories); a category that `fit` did not see is an error naming it and its row, or
        zeros.
        """
        places = self._places("transform", values)
        return np.asarray(places[:, None] == np.arange(self.width), np.float64)

    def codes(self, values: Iterable[Any]) -> Array:
        """What the layer reads for these values: a column (rows, 1) of float64; unknown ones are an error, or NaN."""
        places = self._places("codes", values)
        return np.append(self.code.numpy(), np.nan)[places, None].astype(np.float64)

    def inverse(self, scores: Any) -> list[Any]:
        """The category with the largest score in each row of a (rows, categories) matrix."""
        scores = matrix(self._op("inverse"), scores, self.names, self.width)
        return [self._known[j] for j in scores.argmax(axis=1)]

    inverse_transform = inverse

    def forward(self, x: Tensor) -> Tensor:
        """(..., 1) codes, or (rows,), to (..., categories) of 0 and 1. What is no code, as NaN is none, gives zeros, or
        with unknown="error" IndexOutOfRange with its row.
        """
        return self._mapped(x, self._hot if self.unknown == "zeros" else self._sure, self._column)

    @staticmethod
    def _hot(x: Tensor, code: Tensor) -> Tensor:
        return x.eq(code).to(x.dtype)

    def _sure(self, x: Tensor, code: Tensor) -> Tensor:
        hot, n = self._hot(x, code), self.width
        if mode.recorder is None and not (known := hot.numpy().any(-1)).all():  # compiled code has its own words
            row = tuple(np.argwhere(~known)[0].tolist())
            got = f"unknown code {x.detach().numpy()[row].item():g}, row {row[0]}"
            codes = ", ".join(f"{one:g}" for one in self.code.tolist()[:12])
            raise IndexOutOfRange(message(type(self).__name__, got, f"one of {codes}", 'unknown="zeros" gives zeros'))
        place = n + (hot * tensor(np.arange(n) - n, dtype=hot.dtype)).sum(-1, keepdim=True)  # n: none of them
        called = Called(type(self).__name__, "place of the category", x.ndim - 1)
        return x.new_ones(x.shape).apply(SCATTER_ADD, place.long(), axis=x.ndim - 1, shape=hot.shape, called=called)

    def _column(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(-1) if x.ndim == 1 else x
        if x.ndim == 0 or x.shape[-1] != 1:
            raise ShapeError(message(type(self).__name__, f"shape {x.shape}", "(..., 1): the codes of one column"))
        return x

    def _places(self, method: str, values: Iterable[Any]) -> Array:
        """The places of values among the categories, -1 for what is none of them."""
        op = self._op(method)
        self._check_fitted(op)
        column = {category: j for j, category in enumerate(self._known)}
        values = _categories(op, values, self.name, self.unknown == "zeros")
        places = np.array([column.get(value, -1) for value in values], np.int64)
        if self.unknown == "error" and (places < 0).any():
            row = int(np.argmax(places < 0))
            known = ", ".join(map(repr, self._known[:12]))
            got = f"unknown category {values[row]!r} in {self.name!r}, row {row}"
            raise DataError(
                message(op, got, f"one of {known}", 'fit on data that holds every category, or unknown="zeros"')
            )
        return places

    def extra_repr(self) -> str:
        """The column and its categories."""
        return f"{self.name!r}, {list(self._known)}, unknown={self.unknown!r}" if self.width else "not fitted"


def _check_words(op: str, name: Any, unknown: Any) -> None:
    if not isinstance(name, str):
        raise DataError(message(op, f"name {shown(name)}", "a text"))
    if not isinstance(unknown, str) or unknown not in ("error", "zeros"):
        raise DataError(message(op, f"unknown={shown(unknown)}", '"error" or "zeros"'))


def _codes(categories: tuple[Any, ...]) -> Array:
    """The numbers that stand for categories: they themselves, if they are numbers that float64 holds; else places."""
    if all(isinstance(one, (int, float, np.number, np.bool_)) and abs(float(one)) < 2**53 for one in categories):
        return np.array([float(one) for one in categories])
    return np.arange(len(categories), dtype=np.float64)


def _categories(op: str, values: Iterable[Any], name: str, may_miss: bool = False) -> list[Any]:
    values = _values(op, values)
    if any(map(is_sequence, values)):
        raise DataError(message(op, f"several columns for {name!r}", "one value per row",
                                "encode one column at a time, as in frame['Sex']"))  # fmt: skip
    missing = None if may_miss else next((row for row, value in enumerate(values) if _is_missing(value)), None)
    if missing is not None:
        raise DataError(message(op, f"a missing value in {name!r}, row {missing}", "a category in each row",
                                "name it, as in series.fill_null('unknown'), or drop the row"))  # fmt: skip
    return values


def _values(op: str, values: Any) -> list[Any]:
    if not is_iterable(values):
        raise DataError(message(op, f"categories {shown(values)}", "a value for each row"))
    if isinstance(values, range):
        check_fits(op, f"{values}", 8 * max(0, (values.stop - values.start) // values.step))
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))


KINDS: Final = (MaxAbsScaler, MeanImputer, MinMaxScaler, OneHotEncoder, StandardScaler)
