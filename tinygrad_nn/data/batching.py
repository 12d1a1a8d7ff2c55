"""What `fit` trains on: the user's data as columns with one entry per sample, cut into batches of one shape.

A column is an array whose first axis counts the samples, or, for sequences of different lengths, a list of arrays. It
is made from arrays, Tensors, data frames and (ragged) lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import DataError, message
from ..support.arrays import Array, as_array, check_finite, is_sequence
from ..support.memory import check_fits
from ..support.settings import shown, typed, typed_as
from .table import as_frame, is_table, to_matrix

Column: TypeAlias = "Array | list[Array]"


@typed
def as_columns(
    data: Any, *, dtype: npt.DTypeLike = np.float32, arrays: bool = False, op: str = "fit", names: Sequence[str] = ()
) -> tuple[Column, ...]:
    """The arguments of a training step: one column per item of the tuple `data`, or a single one for anything else;
    in errors by their `names`, or as `argument 0 of the data`.

    - an array or a Tensor (anything with `.numpy()`) keeps its dtype;
    - a data frame (Arrow stream protocol) becomes a matrix, a series a vector;
    - a list (or a tuple inside `data`) becomes an array, or, when its entries are sequences of different lengths, a
      list of arrays that agree in all axes but the first.

    Fractional numbers from frames and lists get `dtype`; with `arrays` those of arrays too, but never those of Tensors.
    Raises DataError, naming argument, row and column, for no samples, different numbers of samples, masked arrays,
    ragged rows within a sequence, text, objects, missing values, NaN and inf.

    >>> [column.shape for column in as_columns(([[1, 2], [3, 4], [5, 6]], np.zeros(3)))]
    [(3, 2), (3,)]
    >>> [len(sequence) for sequence in as_columns([[[1.0], [2.0]], [[3.0]]])[0]]
    [2, 1]
    """
    items = data if isinstance(data, tuple) else (data,)
    if not items:
        raise DataError(message(op, "an empty tuple", "one or more arrays", "pass data as in fit(step, (x, y))"))
    if len(names) not in (0, len(items)):
        raise DataError(message(op, f"{len(names)} names for {len(items)} columns", "one each"))
    try:
        dtype = np.dtype(dtype)
    except Exception:  # NumPy's, and those of a foreign object
        raise DataError(message(op, f"dtype {shown(dtype)}", "a dtype of NumPy's")) from None
    called = [*names] or [f"argument {i} of the data" for i in range(len(items))]
    columns = tuple(_column(item, what, dtype, arrays, op) for item, what in zip(items, called, strict=True))
    lengths = [len(column) for column in columns]
    if min(lengths) == 0:
        raise DataError(message(op, f"an empty dataset (lengths {lengths})", "at least one sample",
                                "check the file or the split"))
    if len(set(lengths)) > 1:
        raise DataError(message(op, f"columns of different lengths {lengths}", "one entry per sample in each",
                                "each row of x needs its row of y"))
    return columns


@typed_as(DataError, "batch_size")
def batches(n: int, batch_size: int | None = None, *, op: str = "fit") -> list[slice]:
    """Slices that cover n samples in order, the last one shorter when batch_size does not divide n; None is one batch.

    Raises DataError for n < 1 and for a batch_size that is not an integer in 1..n.

    >>> batches(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    size = _size(n, batch_size, op)
    check_fits(op, f"{n:,} samples in batches of {size:,}", 64 * (n // size))
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _size(n: int, batch_size: int | None, op: str) -> int:
    """The samples of a whole batch."""
    if n < 1:
        raise DataError(message(op, "an empty dataset", "at least one sample", "check the file or the split"))
    size = n if batch_size is None else batch_size
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or not 1 <= size <= n:
        raise DataError(message(op, f"batch_size={shown(batch_size)} for {n} samples", f"an integer from 1 to {n}",
                                "batch_size=None takes all samples as one batch"))
    return int(size)


class Batches:
    """The batches of an epoch: each begins with the first sample that is not taken yet and goes on with the next ones
    of its length, until it is full or there are no more. So a batch has one shape, and nothing is padded.

    `sets` are the samples of each length. Raises DataError as `batches`.

    >>> by_length = Batches(([[[1.0]], [[2.0], [3.0]], [[4.0]], [[5.0]]],), 2)
    >>> [rows.tolist() for rows in by_length.rows(np.arange(4))]
    [[0, 2], [1], [3]]
    """

    def __init__(self, columns: Sequence[Column], batch_size: int | None = None, *, op: str = "fit") -> None:
        for column in columns if isinstance(columns, (list, tuple)) and columns else [None]:
            if not isinstance(column, list) and (not isinstance(column, np.ndarray) or column.ndim == 0):
                raise DataError(message(op, f"columns {shown(columns)}", "a list of columns, as as_columns gives"))
        self.samples = len(columns[0])
        size = _size(self.samples, batch_size, op)
        lengths = [[len(entry) for entry in column] for column in columns if isinstance(column, list)]
        kinds, counts = np.zeros(self.samples, np.int64), np.array([self.samples])
        if lengths:
            _, kinds, counts = np.unique(lengths, axis=1, return_inverse=True, return_counts=True)
        self.kinds = kinds.reshape(-1).astype(np.min_scalar_type(len(counts)))  # short numbers are sorted faster
        ends = np.cumsum(counts)
        members = np.argsort(self.kinds, kind="stable")
        self.sets: list[Any] = np.split(members, ends[:-1]) if len(ends) > 1 else [slice(None)]
        sets = zip(ends - counts, ends, strict=True)
        self.starts = np.concatenate([np.arange(start, end, size) for start, end in sets])  # of the batches, set by set
        self.sizes = np.diff(self.starts, append=self.samples)
        self.size = int(self.sizes.max())
        self.places = np.empty(self.samples, np.int64)  # of the samples in their sets
        self.places[members] = np.concatenate([np.arange(count) for count in counts])

    def __repr__(self) -> str:
        sizes = f"{self.size:,}" if self.sizes.min() == self.size else f"{self.sizes.min():,} to {self.size:,}"
        lengths = f", {len(self.sets):,} lengths" if len(self.sets) > 1 else ""
        return f"Batches: {self.samples:,} samples{lengths}, {len(self.sizes):,} batches of {sizes}"

    def rows(self, order: Array) -> list[Array]:
        """The rows of every batch, for samples that come in this order."""
        rows, numbers = self._set_by_set(order)
        cuts = zip(self.starts[numbers].tolist(), self.sizes[numbers].tolist(), strict=True)
        return [rows[start:start + size] for start, size in cuts]

    def table(self, order: Array) -> tuple[Array, Array]:
        """The same for compiled code: of every batch the rows within its set, filled up with zeros, and the number it
        has when the batches are counted set by set.
        """
        if len(self.sets) == 1:
            filled = np.zeros((len(self.sizes), self.size), np.int64)
            filled.reshape(-1)[: self.samples] = order
            return filled, np.arange(len(self.sizes))
        rows, numbers = self._set_by_set(order)
        filled = np.zeros((len(self.sizes), self.size), np.int64)
        filled[np.arange(self.size) < self.sizes[:, None]] = self.places[rows]
        return filled[numbers], numbers

    def _set_by_set(self, order: Array) -> tuple[Array, Array]:
        """The samples set by set, and the numbers of their batches in the order of the first sample of each."""
        at = np.argsort(self.kinds[order], kind="stable")
        return order[at], np.argsort(at[self.starts])


def gather(column: Any, rows: Any, *, op: str = "fit") -> Array:
    """The batch made of these rows, samples along the first axis.

    Sequences are stacked, so those of one batch must have one length (DataError otherwise); those of `Batches` have.

    >>> gather([np.zeros((2, 3)), np.ones((5, 3))], slice(1, 2)).shape
    (1, 5, 3)
    """
    if not isinstance(column, (np.ndarray, list)) or not isinstance(rows, (slice, np.ndarray, list)):
        got = f"a {type(column).__name__} and rows {shown(rows)}"
        raise DataError(message(op, got, "a column, as as_columns gives, and a slice or an array of rows"))
    try:
        if isinstance(column, np.ndarray):
            return column[rows]
        chosen = column[rows] if isinstance(rows, slice) else [column[row] for row in rows]
        lengths = [len(sequence) for sequence in chosen]
    except (IndexError, TypeError, ValueError) as error:
        raise DataError(message(op, f"rows {shown(rows)}: {error}", f"rows below {np.shape(column)[:1]}")) from None
    if not lengths:
        raise DataError(message(op, "no rows", "at least one"))
    if len(set(lengths)) > 1:
        raise DataError(message(op, f"sequences of lengths {lengths[:8]} in one batch", "one length per batch",
                                "take the rows from Batches, or cut or pad the sequences to one length"))
    return np.stack(chosen)


def _column(value: Any, what: str, dtype: npt.DTypeLike, arrays: bool, op: str) -> Column:
    if hasattr(value, "__arrow_c_stream__"):
        return _from_arrow(value, dtype, op)
    if isinstance(value, (list, tuple)) and _is_ragged(value):
        return _sequences(value, what, dtype, arrays, op)
    array = _numeric(value, what, dtype, arrays, op)
    if array.ndim == 0:
        raise DataError(message(op, f"{what} = {value!r}", "an array with one entry per sample",
                                "pass the arguments of step as a tuple of arrays"))
    return array


def _numeric(value: Any, what: str, dtype: npt.DTypeLike, arrays: bool, op: str) -> Array:
    """A finite array; fractional numbers that come without a dtype of their own (or in `arrays`) get `dtype`."""
    of_tensor = hasattr(value, "numpy")
    array = as_array(op, value.numpy() if of_tensor else value, what)
    keeps = of_tensor or (isinstance(value, np.ndarray) and not arrays)
    if array.dtype.kind == "f" and array.dtype != dtype and not keeps:
        with np.errstate(over="ignore"):  # too large for `dtype` is inf, which is an error below
            array = array.astype(dtype)
    check_finite(op, array, what)
    return array


def _from_arrow(value: Any, dtype: npt.DTypeLike, op: str) -> Array:
    """A matrix from a data frame, a vector from a series; whole numbers stay int64, truth values bool."""
    frame = as_frame(value, op)
    kinds = {"b" if kind == "Boolean" else "i" if "Int" in kind else "f" for kind in map(str, frame.dtypes)}
    own = np.bool_ if kinds == {"b"} else np.int64 if kinds == {"i"} else dtype
    matrix = to_matrix(frame, dtype=own, op=op)
    return matrix if is_table(value) or matrix.shape[1] > 1 else matrix[:, 0]


def _is_ragged(value: Any) -> bool:
    """True for sequences of different lengths; other lists are arrays, or errors that `as_array` explains."""
    return all(map(is_sequence, value)) and len({len(entry) for entry in value}) > 1


def _sequences(value: Any, what: str, dtype: npt.DTypeLike, arrays: bool, op: str) -> list[Array]:
    sequences = [_numeric(entry, f"{what}, sequence {i}", dtype, arrays, op) for i, entry in enumerate(value)]
    common = np.result_type(*sequences)
    for i, sequence in enumerate(sequences):
        if len(sequence) == 0:
            raise DataError(message(op, f"an empty sequence {i} in {what}", "at least one step", "leave it out"))
        if sequence.shape[1:] != sequences[0].shape[1:]:
            raise DataError(message(op, f"shapes {sequences[0].shape} and {sequence.shape} of sequences 0 and {i} in "
                                    f"{what}", "shapes that differ in the first axis only",
                                    "several arguments of step go in a tuple, as in fit(step, (x, y))"))
    return [sequence.astype(common, copy=False) for sequence in sequences]
