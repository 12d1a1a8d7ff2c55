"""Which rows train and which rows judge: deterministic splits of arrays and of lists of sequences.

A split is made on row numbers first, so arrays of equal length are always divided alike. The random order is a function
of the seed alone (`streams.py`); nothing here touches a global state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import DataError, message
from ..support.arrays import Array
from ..support.memory import check_fits
from ..support.settings import is_number, shown, typed_as
from .streams import stream


@typed_as(DataError, "seed")
def train_test_split(
    *arrays: Any, sizes: Sequence[float] = (0.8, 0.2), seed: int = 0, shuffle: bool = True, stratify: Any = None
) -> tuple[Any, ...]:
    """Each of `arrays` in parts: (x_train, x_test, y_train, y_test) for two arrays and two sizes.

    `arrays` (NumPy arrays or lists, all of one length) come back as their own kind. For `sizes`, `shuffle` and
    `stratify` and their errors see `split_indices`; arrays of different lengths raise DataError.

    >>> x, y = np.arange(10), list("abcdefghij")
    >>> train_test_split(x, y, sizes=(0.6, 0.2, 0.2), shuffle=False)[3:]
    (['a', 'b', 'c', 'd', 'e', 'f'], ['g', 'h'], ['i', 'j'])
    """
    for array in arrays:
        if not hasattr(array, "__len__") or not hasattr(array, "__getitem__") or isinstance(array, (str, bytes, dict)):
            raise DataError(message("train_test_split", shown(array), "arrays or lists, all of one length"))
        if getattr(array, "shape", None) == ():
            raise DataError(message("train_test_split", "an array without axes", "arrays or lists, all of one length"))
    lengths = [len(array) for array in arrays]
    if not arrays or len(set(lengths)) > 1:
        raise DataError(
            message(
                "train_test_split",
                f"arrays of lengths {lengths}",
                "one or more arrays of one length",
                "each row of x needs its row of y",
            )
        )
    parts = split_indices(lengths[0], sizes, seed=seed, shuffle=shuffle, stratify=stratify)
    return tuple(take(array, part) for array in arrays for part in parts)


@typed_as(DataError, "seed")
def split_indices(
    n: int, sizes: Sequence[float] = (0.8, 0.2), *, seed: int = 0, shuffle: bool = True, stratify: Any = None
) -> tuple[Array, ...]:
    """Row numbers 0..n-1 in one part per size, each row in exactly one part.

    `sizes` are fractions that sum to 1 (cut at the cumulative fractions of n, rounded down) or row counts that sum to
    n. `shuffle=False` keeps file order. `stratify` (n labels) gives each part every class in its share, to within two
    rows. Raises DataError for no rows, sizes that do not sum, an empty part, and a class missing from a part.

    >>> split_indices(5, (0.6, 0.4), shuffle=False)
    (array([0, 1, 2]), array([3, 4]))
    """
    check_fits("split", f"{shown(n)} rows", 8 * n)
    cuts = _cuts(n, sizes)
    rng = stream("split", seed)
    if stratify is None:
        order = rng.permutation(n) if shuffle else np.arange(n)
        return tuple(np.split(order, cuts))
    _check_shuffled("split", shuffle)
    return tuple(rng.permutation(part) for part in _stratified("split", stratify, n, cuts, rng))


@typed_as(DataError, "seed")
def kfold(
    n: int, k: int = 5, *, seed: int = 0, shuffle: bool = True, stratify: Any = None
) -> list[tuple[Array, Array]]:
    """k pairs (training rows, validation rows); each of the n rows validates once, folds differ by at most one row.

    `stratify` (n labels) gives each fold every class in its share, to within two rows. Raises DataError unless
    2 <= k <= n, and for a class with fewer members than folds.

    >>> kfold(4, 2, shuffle=False)
    [(array([2, 3]), array([0, 1])), (array([0, 1]), array([2, 3]))]
    >>> [fold.tolist() for _, fold in kfold(4, 2, stratify=["a", "a", "b", "b"])]
    [[0, 3], [2, 1]]
    """
    if not 2 <= k <= n:
        raise DataError(message("kfold", f"k={k} for {n} rows", "2 <= k <= number of rows", "k=5 and k=10 are usual"))
    check_fits("kfold", f"{shown(n)} rows", 8 * n * k)
    rng = stream("kfold", seed)
    if stratify is None:
        folds = np.array_split(rng.permutation(n) if shuffle else np.arange(n), k)
    else:
        _check_shuffled("kfold", shuffle)
        cuts = np.cumsum([len(part) for part in np.array_split(np.arange(n), k)])[:-1].tolist()
        folds = [rng.permutation(part) for part in _stratified("kfold", stratify, n, cuts, rng)]
    return [(np.concatenate(folds[:i] + folds[i + 1 :]), fold) for i, fold in enumerate(folds)]


def take(column: Any, rows: Iterable[int]) -> Any:
    """The given rows of an array, list or tuple, as the same kind.

    >>> take(["a", "b", "c"], [2, 0])
    ['c', 'a']
    """
    if isinstance(column, (list, tuple)):
        return type(column)([column[row] for row in rows])
    return column[rows]


def _cuts(n: int, sizes: Sequence[float]) -> list[int]:
    """Where to cut n rows into parts of these sizes."""
    if n < 1:
        raise DataError(message("split", "no rows", "at least one row per part", "check what was read"))
    if len(sizes) > n:
        raise DataError(message("split", f"{len(sizes):,} sizes for {n:,} rows", "at least one row per part"))
    if isinstance(sizes, (str, bytes)) or not all(is_number(size) for size in sizes):
        raise DataError(message("split", f"sizes {shown(sizes)}", "fractions that sum to 1, or row counts"))
    counts = all(isinstance(size, (int, np.integer)) for size in sizes)
    whole = n if counts else 1.0
    ends = np.cumsum(sizes) / whole
    if not len(sizes) or min(sizes) < 0 or not abs(ends[-1] - 1.0) <= 1e-9:  # not: NaN
        raise DataError(
            message(
                "split",
                f"sizes {tuple(sizes)} with sum {sum(sizes):g}",
                f"fractions that sum to 1, or counts that sum to {n}",
                "as in sizes=(0.6, 0.2, 0.2)",
            )
        )
    bounds = [0, *(int(n * float(end) + 1e-9) for end in ends)]
    for part, (start, stop) in enumerate(pairwise(bounds)):
        if start == stop:
            raise DataError(
                message(
                    "split",
                    f"an empty part {part} for sizes {tuple(sizes)} of {n} rows",
                    "at least one row per part",
                    "use fewer parts, or more rows",
                )
            )
    return bounds[1:-1]


def _check_shuffled(op: str, shuffle: bool) -> None:
    if not shuffle:
        raise DataError(message(op, "stratify with shuffle=False", "shuffle=True", "stratifying reorders the rows"))


def _stratified(op: str, labels: Any, n: int, cuts: list[int], rng: np.random.Generator) -> list[Array]:
    """Parts in which each class has its share.

    A member ranked r (at random) of a class of m gets the position (r + 1/2) / m; sorting all rows by position spreads
    every class evenly, so any cut takes the same share of each.
    """
    if isinstance(labels, range) and labels[n:]:
        labels = None
    try:
        classes, codes, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    except (TypeError, ValueError) as error:
        got = f"stratify {shown(labels)}: {error}"
        raise DataError(message(op, got, "one label per row, all of a kind")) from error
    if codes.shape != (n,):
        raise DataError(
            message(
                op, f"stratify of shape {codes.shape}", f"one label for each of {n} rows", "pass the label column"
            )
        )
    position = np.empty(n)
    for code, count in enumerate(counts):
        position[codes == code] = (rng.permutation(count) + 0.5) / count
    parts = np.split(np.argsort(position, kind="stable"), cuts)
    for number, part in enumerate(parts):
        absent = np.setdiff1d(np.arange(len(classes)), codes[part])
        if absent.size:
            raise DataError(
                message(
                    op,
                    f"no row of class {classes.tolist()[absent[0]]!r} ({counts[absent[0]]} in all) in part {number}",
                    "every class in every part",
                    "use larger parts, or stratify=None",
                )
            )
    return parts
