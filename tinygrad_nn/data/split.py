"""Which rows train and which rows judge: deterministic splits of arrays and of lists of sequences.

A split is made on row numbers first, so arrays of equal length are always divided alike. The random order is a function
of the seed alone (`streams.py`); nothing here touches a global state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import DataError, message
from ..support.arrays import Array
from ..support.memory import check_fits
from ..support.settings import is_number, is_whole, shown, typed_as
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


class KFold:
    """Folds: `split(data)` gives k pairs (training rows, validation rows), in which each row validates once, and folds
    differ by at most one row. With labels or groups of the rows it is such pairs itself.

    `k` is a number, or "loo": each row by itself (leave one out), or each group. `stratify` (a label for each row)
    gives each fold every class in its share, to within two rows. `groups` (likewise) puts all rows of a group into one
    fold; folds are then as alike as groups allow. The same seed gives the same folds. It is a `cv` of scikit-learn too.
    Raises DataError, as `split` does: fewer than 2 folds, more folds than rows or groups, a class without a row in some
    fold, labels of another length than the data.

    >>> [fold.tolist() for _, fold in KFold(2, shuffle=False).split(range(5))]
    [[0, 1, 2], [3, 4]]
    >>> [fold.tolist() for _, fold in KFold(2, groups=["a", "b", "a", "c", "c", "c"])]
    [[4, 5, 3], [2, 1, 0]]
    >>> [(train.tolist(), fold.tolist()) for train, fold in KFold("loo").split(3)]
    [([1, 2], [0]), ([0, 2], [1]), ([0, 1], [2])]
    """

    @typed_as(DataError, "seed")
    def __init__(
        self, k: Any = 5, *, shuffle: bool = True, seed: int = 0, stratify: Any = None, groups: Any = None
    ) -> None:
        self.k, self.shuffle, self.seed = _count("KFold", k), shuffle, seed
        self.stratify, self.groups = stratify, groups
        stream("KFold", seed)
        if stratify is not None:
            _check_shuffled("KFold", shuffle)
            if k == "loo":
                raise DataError(message("KFold", "stratify with 'loo'", "a number of folds", "or stratify=None"))

    def split(self, data: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Array, Array]]:
        """(training rows, validation rows) of each fold, for data (anything with a length) or a number of rows; `y`,
        which scikit-learn passes, has to be as long, and `groups` take the place of those given before.
        """
        n = data if is_whole(data) else _length("KFold", data)
        if y is not None and _length("KFold", y) != n:
            raise DataError(message("KFold", f"{_length('KFold', y)} targets for {n} rows", "one for each"))
        own = self.groups if groups is None else groups
        return _pairs(_folds("KFold", n, self.k, self.seed, self.shuffle, self.stratify, own))

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        """The folds of the rows that the labels or groups are of."""
        known = self.stratify if self.groups is None else self.groups
        if known is None:
            hint = "for train, validation in folds.split(x)"
            raise DataError(message("KFold", "folds of unknown data", "a call of split", hint))
        return self.split(known)

    def get_n_splits(self, data: Any = None, y: Any = None, groups: Any = None) -> int:
        """How many folds there are, as scikit-learn asks."""
        if self.k != "loo":
            return int(self.k)
        own = self.groups if groups is None else groups
        return _length("KFold", data) if own is None else len(np.unique(np.asarray(own)))

    def __repr__(self) -> str:
        given = "".join(f", {name}=..." for name in ("stratify", "groups") if getattr(self, name) is not None)
        return f"KFold({self.k!r}, shuffle={self.shuffle}, seed={self.seed}{given})"


@typed_as(DataError, "seed")
def kfold(
    n: int, k: Any = 5, *, seed: int = 0, shuffle: bool = True, stratify: Any = None, groups: Any = None
) -> list[tuple[Array, Array]]:
    """The folds of n rows as a list, see `KFold`.

    >>> kfold(4, 2, shuffle=False)
    [(array([2, 3]), array([0, 1])), (array([0, 1]), array([2, 3]))]
    >>> [fold.tolist() for _, fold in kfold(4, 2, stratify=["a", "a", "b", "b"])]
    [[0, 3], [2, 1]]
    """
    folds = _folds("kfold", n, k, seed, shuffle, stratify, groups)
    check_fits("kfold", f"{len(folds)} folds of {shown(n)} rows", 8 * n * len(folds))
    return list(_pairs(folds))


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


def _count(op: str, k: Any, n: int | None = None) -> Any:
    """A number of folds (of n rows), or "loo"."""
    if isinstance(k, str) and k == "loo":
        return k
    if not is_whole(k) or not 2 <= k <= (k if n is None else n):
        got = f"k={shown(k)}" if n is None else f"k={shown(k)} for {n} rows"
        raise DataError(message(op, got, "2 <= k <= number of rows, or 'loo'", "k=5 and k=10 are usual"))
    return int(k)


def _length(op: str, data: Any) -> int:
    """How many rows there are."""
    if not hasattr(data, "__len__") or getattr(data, "shape", None) == ():
        raise DataError(message(op, shown(data), "data with a length, or a number of rows"))
    return len(data)


def _folds(op: str, n: int, k: Any, seed: int, shuffle: bool, stratify: Any, groups: Any) -> list[Array]:
    """The validation rows of each fold."""
    if n < 2:
        raise DataError(message(op, f"{shown(n)} rows", "at least 2 rows", "check what was read"))
    check_fits(op, f"{shown(n)} rows", 16 * n)
    k = _count(op, k, n)
    if k == "loo" and stratify is not None:
        raise DataError(message(op, "stratify with 'loo'", "a number of folds", "or stratify=None"))
    if k == "loo" and groups is None:
        return np.split(np.arange(n), n)
    rng = stream("kfold", seed)
    if groups is not None:
        return _grouped(op, groups, n, k, shuffle, stratify, rng)
    if stratify is None:
        return np.array_split(rng.permutation(n) if shuffle else np.arange(n), k)
    _check_shuffled(op, shuffle)
    cuts = np.cumsum([len(part) for part in np.array_split(np.arange(n), k)])[:-1].tolist()
    return [rng.permutation(part) for part in _stratified(op, stratify, n, cuts, rng)]


def _pairs(folds: list[Array]) -> Iterator[tuple[Array, Array]]:
    """Each fold with the rows of all others before it."""
    order, stop = np.concatenate(folds), 0
    for fold in folds:
        start, stop = stop, stop + len(fold)
        yield np.concatenate((order[:start], order[stop:])), fold


def _grouped(
    op: str, groups: Any, n: int, k: Any, shuffle: bool, stratify: Any, rng: np.random.Generator
) -> list[Array]:
    """Folds of whole groups. The largest come first, each to the fold with the fewest rows of its classes, weighed by
    how rare these are, and of those to the smallest one.
    """
    names, codes, sizes = _coded(op, "groups", groups, n)
    count = len(names)
    if count < (2 if k == "loo" else k):
        got, hint = f"{count} groups for k={k!r}", "every group is in one fold"
        raise DataError(message(op, got, "at least as many groups as folds, and 2", hint))
    if k == "loo":
        return [np.flatnonzero(codes == group) for group in range(count)]
    classes, labels = 1, np.zeros(n, np.int64)
    if stratify is not None:
        _check_shuffled(op, shuffle)
        kinds, labels, _ = _coded(op, "stratify", stratify, n)
        classes = len(kinds)
    held = np.zeros((count, classes))
    np.add.at(held, (codes, labels), 1)
    weights = held / held.sum(0) ** 2
    order = rng.permutation(count) if shuffle else np.arange(count)
    full, place = np.zeros((k, classes)), np.empty(count, np.int64)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        place[group] = np.lexsort((full.sum(1), full @ weights[group]))[0]
        full[place[group]] += held[group]
    parts = [np.flatnonzero(place[codes] == fold) for fold in range(k)]
    if stratify is not None:
        _check_classes(op, kinds.tolist(), labels, parts, "groups")
    return [rng.permutation(part) for part in parts] if shuffle else parts


def _coded(op: str, name: str, labels: Any, n: int) -> tuple[Array, Array, Array]:
    """The different labels, which one each row has, and how many rows each has."""
    if isinstance(labels, range) and labels[n:]:
        labels = None
    try:
        classes, codes, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    except (TypeError, ValueError) as error:
        got = f"{name} {shown(labels)}: {error}"
        raise DataError(message(op, got, "one label per row, all of a kind")) from error
    if codes.shape != (n,):
        expected = f"one label for each of {n} rows"
        raise DataError(message(op, f"{name} of shape {codes.shape}", expected, "pass the label column"))
    return classes, codes, counts


def _check_classes(op: str, classes: list[Any], codes: Array, parts: list[Array], others: str) -> None:
    """Raise DataError for a class without a row in some part."""
    for number, part in enumerate(parts):
        absent = np.setdiff1d(np.arange(len(classes)), codes[part])
        if absent.size:
            count = int((codes == absent[0]).sum())
            got = f"no row of class {classes[absent[0]]!r} ({count} in all) in part {number}"
            raise DataError(message(op, got, "every class in every part", f"use larger parts, or {others}=None"))


def _check_shuffled(op: str, shuffle: bool) -> None:
    if not shuffle:
        raise DataError(message(op, "stratify with shuffle=False", "shuffle=True", "stratifying reorders the rows"))


def _stratified(op: str, labels: Any, n: int, cuts: list[int], rng: np.random.Generator) -> list[Array]:
    """Parts in which each class has its share.

    A member ranked r (at random) of a class of m gets the position (r + 1/2) / m; sorting all rows by position spreads
    every class evenly, so any cut takes the same share of each.
    """
    classes, codes, counts = _coded(op, "stratify", labels, n)
    position = np.empty(n)
    for code, count in enumerate(counts):
        position[codes == code] = (rng.permutation(count) + 0.5) / count
    parts = np.split(np.argsort(position, kind="stable"), cuts)
    _check_classes(op, classes.tolist(), codes, parts, "stratify")
    return parts
