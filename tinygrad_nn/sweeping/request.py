"""Which models a sweep has: every setting with every share of the data and every seed.

A setting is a point of the grid, or one that was drawn. A share is which rows a model is trained on and which are held
out. Models are counted setting by setting, in it share by share, in that seed by seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from typing import Any, Final

import numpy as np

from ..data.split import KFold
from ..data.streams import stream
from ..errors import ConfigError, DataError, message
from ..graph.graph import Array
from ..support.settings import integer, is_iterable, is_number, is_whole, shown

DATA: Final = ("batch_size", "columns", "sample_weight", "class_weight")  # settings that are no optimizer's
Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """The rows that a model is trained on and those held out; None means all of them, or none. `number` counts the
    shares; `fold` and `label` say which one it is.
    """

    number: int = 0
    rows: Array | None = None
    held: Array | None = None
    fold: int | None = None
    label: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A model to train."""

    number: int
    seed: int
    settings: Settings
    share: Share
    point: int  # the number of its settings


def nearest(name: Any, known: Iterable[str]) -> str:
    """The hint for a name that is not known.

    >>> nearest("momentun", ["lr", "momentum"])
    "did you mean 'momentum'?"
    """
    close = get_close_matches(str(name), list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def points(grid: Any, random: Any, trials: int, seed: int) -> list[dict[str, Any]]:
    """The settings of a sweep: all of a grid, or those it lists, each with all that were drawn at random."""
    if isinstance(grid, list) and grid and all(isinstance(one, Mapping) for one in grid):
        return _listed(grid, random)
    axes = {name: _values(name, values) for name, values in _named("grid", grid).items()}
    found = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    if random is None:
        return found
    drawn_from = {name: _drawing(name, given) for name, given in _named("random", random).items()}
    twice = sorted(set(axes) & set(drawn_from))
    if twice:
        raise ConfigError(message("sweep", f"{twice[0]!r} in grid and in random", "it in one of them"))
    rng = stream("sweep", seed)
    drawn = [{name: draw(rng) for name, draw in drawn_from.items()} for _ in range(trials)]
    return [{**point, **more} for point in found for more in drawn]


def _listed(settings: list[Any], random: Any) -> list[dict[str, Any]]:
    """Settings that are given one by one, each with the same names."""
    if random is not None:
        raise ConfigError(message("sweep", "a list of settings beside random", "one of them"))
    names = set(_named("grid", settings[0]))
    for one in settings:
        if set(_named("grid", one)) != names:
            got = f"settings of {', '.join(sorted(names))} and of {', '.join(sorted(one))}"
            raise ConfigError(message("sweep", got, "the same names in each"))
    return [dict(one) for one in settings]


def _named(what: str, given: Any) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ConfigError(
            message("sweep", f"{what} {shown(given)}", "a dict of names and values", "{'lr': [0.1, 0.01]}")
        )
    return given


def _values(name: str, values: Any) -> list[Any]:
    if isinstance(values, (Mapping, set, frozenset)) or not is_iterable(values):
        got = f"grid with {name}={shown(values)}"
        raise ConfigError(message("sweep", got, "a list of values", f"{{{name!r}: [{shown(values)}]}}"))
    listed = values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else list(values)
    if not listed:
        raise ConfigError(
            message("sweep", f"grid without a value of {name}", "at least one, as K = 0 models train nothing")
        )
    return listed


def _drawing(name: str, given: Any) -> Callable[[np.random.Generator], Any]:
    """How a setting is drawn."""
    if isinstance(given, list) and given:
        return lambda rng: given[int(rng.integers(len(given)))]
    if callable(given):
        return given  # type: ignore[no-any-return]
    if hasattr(given, "rvs"):  # a distribution of SciPy
        return lambda rng: given.rvs(random_state=rng)
    is_range = isinstance(given, tuple) and len(given) in (2, 3) and all(map(is_number, given[:2]))
    if not is_range or given[2:] not in ((), ("log",)) or not given[0] < given[1]:
        expected = (
            "a list to choose from, (low, high), (low, high, 'log') with low < high, or a function of a generator"
        )
        raise ConfigError(message("sweep", f"random with {name}={shown(given)}", expected))
    low, high = given[:2]
    if given[2:]:
        if low <= 0:
            raise ConfigError(message("sweep", f"random with {name}={shown(given)}", "low above 0 for 'log'"))
        return lambda rng: _like(low, high, float(np.exp(rng.uniform(np.log(low), np.log(high)))))
    if is_whole(low) and is_whole(high):
        return lambda rng: int(rng.integers(low, high + 1))
    return lambda rng: float(rng.uniform(low, high))


def _like(low: Any, high: Any, value: float) -> Any:
    return round(value) if is_whole(low) and is_whole(high) else value


def seeds_of(seeds: Any, seed: Any) -> list[int]:
    """One number for each model of a setting."""
    if seeds is None:
        return [0 if seed is None else integer("sweep", "seed", seed)]
    if seed is not None:
        raise ConfigError(message("sweep", "seed and seeds", "one of them: each model has a seed"))
    if is_whole(seeds) or not is_iterable(seeds):
        hint = f"seeds=range({seeds})" if is_whole(seeds) else ""
        raise ConfigError(message("sweep", f"seeds={shown(seeds)}", "a sequence of integers", hint))
    listed = seeds.tolist() if isinstance(seeds, np.ndarray) else list(seeds)
    if not listed:
        raise ConfigError(message("sweep", "no seeds", "at least one, as K = 0 models train nothing"))
    wrong = [one for one in listed if not is_whole(one)]
    if wrong:
        raise ConfigError(message("sweep", f"the seed {shown(wrong[0])}", "integers"))
    if len(set(listed)) < len(listed):
        raise ConfigError(message("sweep", "a seed twice", "seeds that differ, as equal ones give the same model"))
    return [int(one) for one in listed]


def shares(folds: Any, by: Any, count: int, labels: Any, seed: int) -> list[Share]:
    """Which rows train and which are held out, of `count`; `labels` are the last column of the data."""
    parts: list[tuple[Any, Array | None]] = [(None, None)]
    if by is not None:
        parts = _groups(by, count)
    found: list[Share] = []
    for label, rows in parts:
        size = count if rows is None else len(rows)
        own = None if labels is None else labels if rows is None else labels[rows]
        where = "" if label is None else f" of {label!r}"
        chosen = _of_rows(folds, rows, count)
        for fold, pair in enumerate(_pairs(chosen, size, own, seed, where)):
            if pair is None:
                found.append(Share(len(found), rows, None, None, label))
                continue
            train, held = pair if rows is None else (rows[pair[0]], rows[pair[1]])
            found.append(Share(len(found), train, held, fold, label))
    return found


def _groups(by: Any, count: int) -> list[tuple[Any, Array | None]]:
    """The rows of each value of a column."""
    try:
        given = by.numpy() if hasattr(by, "numpy") else np.asarray(by) if is_iterable(by) else None
    except ValueError:  # a ragged list
        given = None
    if given is None or given.shape != (count,):
        got = f"by of shape {given.shape}" if given is not None else f"by={shown(by)}"
        raise DataError(message("sweep", got, f"one value for each of {count:,} rows, or the name of a column"))
    if given.dtype.kind == "f" and np.isnan(given).any():
        raise DataError(message("sweep", f"NaN in by, row {int(np.isnan(given).argmax())}", "a value for each row"))
    try:
        values, codes = np.unique(given, return_inverse=True)
    except TypeError as error:
        raise DataError(message("sweep", f"by: {error}", "values of one kind")) from None
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes))[:-1]
    return list(zip(values.tolist(), np.split(order, ends), strict=True))


def _of_rows(folds: Any, rows: Array | None, count: int) -> Any:
    """Folds for some of the rows: labels and groups are those of all."""
    if not isinstance(folds, KFold) or rows is None:
        return folds
    found = copy(folds)
    for name in ("stratify", "groups"):
        given = getattr(folds, name)
        if given is not None and len(given) == count:
            setattr(found, name, np.asarray(given)[rows])
    return found


def _pairs(folds: Any, count: int, labels: Any, seed: int, where: str) -> Sequence[tuple[Array, Array] | None]:
    """Pairs of the rows that train and those held out."""
    if folds is None:
        return [None]
    if is_whole(folds) and not 2 <= folds <= count:
        got = f"folds={folds} for {count:,} rows{where}"
        raise DataError(message("sweep", got, f"2 <= folds <= {count:,}", "fewer folds, or more rows"))
    if is_whole(folds) or (isinstance(folds, str) and folds == "loo"):
        folds = KFold(folds, seed=seed)
    if isinstance(folds, KFold):
        return _complete(list(folds.split(count)), labels, where)
    if not is_iterable(folds):
        expected = "a number, tg.data.KFold(...), 'loo' or pairs of rows"
        raise ConfigError(message("sweep", f"folds={shown(folds)}", expected))
    found = [_checked_pair(pair, k, count) for k, pair in enumerate(folds)]
    if not found:
        raise ConfigError(message("sweep", "no folds", "at least one"))
    return found


def _checked_pair(pair: Any, k: int, count: int) -> tuple[Array, Array]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ConfigError(message("sweep", f"fold {k} {shown(pair)}", "a pair: rows that train, rows held out"))
    found = []
    for rows in pair:
        array = np.asarray(rows)
        if array.dtype == np.bool_ and array.shape == (count,):
            array = np.flatnonzero(array)
        if array.ndim != 1 or not array.size or array.dtype.kind not in "iu":
            raise ConfigError(message("sweep", f"rows {shown(rows)} in fold {k}", "row numbers, at least one"))
        if array.min() < 0 or array.max() >= count:
            outside = int(array.max() if array.max() >= count else array.min())
            raise DataError(message("sweep", f"row {outside} in fold {k}", f"rows from 0 to {count - 1:,}"))
        found.append(array.astype(np.int64))
    both = np.intersect1d(found[0], found[1])
    if both.size:
        got = f"row {int(both[0])} in fold {k} both to train and held out"
        raise DataError(message("sweep", got, "each row in one of the two", "else a model is judged by what it knows"))
    return found[0], found[1]


def _complete(pairs: list[tuple[Array, Array]], labels: Any, where: str) -> list[tuple[Array, Array]]:
    """Pairs, of which each trains on every class, where the labels are classes: whole numbers from 0 without a gap."""
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        return pairs
    classes = np.unique(labels)
    if len(classes) > max(2, len(labels) // 4) or classes[0] != 0 or classes[-1] != len(classes) - 1:
        return pairs
    for k, (train, _) in enumerate(pairs):
        absent = np.setdiff1d(classes, labels[train])
        if absent.size:
            got = f"no row of class {int(absent[0])} among those that train in fold {k}{where}"
            raise DataError(message("sweep", got, "every class in every fold", "stratify the folds, or take fewer"))
    return pairs


def all_trials(settings: Sequence[Settings], parts: Sequence[Share], seeds: Sequence[int]) -> list[Trial]:
    """Every setting with every share and every seed, in this order."""
    each = product(enumerate(settings), parts, seeds)
    return [Trial(k, seed, point, share, number) for k, ((number, point), share, seed) in enumerate(each)]
