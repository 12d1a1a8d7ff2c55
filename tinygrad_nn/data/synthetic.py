"""Generated data with the shape of the real thing, for examples without a file or a network. Same seed, same rows.

Each function has its own stream of random numbers (`streams.py`), so a split with the same seed knows nothing of them.
The numbers look plausible and prove nothing about the world.
"""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np

from ..errors import DataError, message
from ..support import extras
from ..support.arrays import Array
from ..support.memory import check_fits
from ..support.settings import shown
from .sequences import Sequences
from .streams import stream
from .table import Frame

# Survival by sex and class, and the mix of passengers, as in the real list of 891.
SURVIVAL: Final = {("female", 1): 0.97, ("female", 2): 0.92, ("female", 3): 0.50,
                   ("male", 1): 0.37, ("male", 2): 0.16, ("male", 3): 0.14}
_CLASS_SHARE: Final = np.array([0.24, 0.21, 0.55])
_MALE_SHARE: Final = np.array([0.56, 0.59, 0.71])
_AGE_MEAN: Final = np.array([38.0, 30.0, 25.0])
_FARE_MEDIAN: Final = np.array([60.0, 14.0, 8.0])


def titanic(n: int = 891, seed: int = 0) -> Frame:
    """Passengers with the columns Survived, Pclass, Sex, Age (years), SibSp, Parch and Fare (pounds) of the real file.

    Survival depends on sex and class alone, by the table SURVIVAL; a fifth of the ages and a hundredth of the fares are
    missing. Needs polars (extra `data`).

    >>> titanic(3, seed=1).columns
    ['Survived', 'Pclass', 'Sex', 'Age', 'SibSp', 'Parch', 'Fare']
    """
    pl = extras.require("polars", "data")
    _check_positive("titanic", n=n)
    rng = stream("titanic", seed)
    pclass = rng.choice(3, n, p=_CLASS_SHARE)
    sex = np.where(rng.random(n) < _MALE_SHARE[pclass], "male", "female")
    chance = np.array([SURVIVAL[who, int(which) + 1] for who, which in zip(sex.tolist(), pclass, strict=True)])
    age = np.clip(rng.normal(_AGE_MEAN[pclass], 13.0), 0.5, 80.0).round(1)
    fare = (_FARE_MEDIAN[pclass] * rng.lognormal(0.0, 0.5, n)).round(4)
    frame: Frame = pl.DataFrame({
        "Survived": (rng.random(n) < chance).astype(np.int64),
        "Pclass": pclass + 1,
        "Sex": sex,
        "Age": np.where(rng.random(n) < 0.2, np.nan, age),
        "SibSp": rng.poisson(0.5, n),
        "Parch": rng.poisson(0.4, n),
        "Fare": np.where(rng.random(n) < 0.01, np.nan, fare),
    })
    return frame.with_columns(pl.col("Age", "Fare").fill_nan(None))


def temperature(days: int = 1461, seed: int = 0) -> Array:
    """Daily mean temperatures in degrees Celsius, shape (days,): a yearly wave about 20 and noise that lasts days.

    The noise is autoregressive (0.8 of yesterday's plus a normal step of 1.2), so the past tells much about tomorrow.
    Values stay well above zero, where relative errors mean something.

    >>> temperature(3, seed=1).shape
    (3,)
    """
    _check_positive("temperature", days=days)
    steps = stream("temperature", seed).normal(0.0, 1.2, days)
    noise = np.empty(days)
    level = 0.0
    for day, step in enumerate(steps):
        level = 0.8 * level + float(step)
        noise[day] = level
    return np.asarray(20.0 + 8.0 * np.sin(2.0 * np.pi * (np.arange(days) - 110.0) / 365.25) + noise)


def fraud(cards: int = 15, steps: int = 5, seed: int = 0) -> Sequences:
    """Card histories with features amount (euros), distance from home (km), hours since the last payment; target fraud.

    A third of the cards (at least one) is stolen at some step: from there on payments are larger, farther away, closer
    together, and labelled 1. x[i] has shape (steps, 3), y[i] (steps, 1).

    >>> s = fraud()
    >>> len(s), s.x[0].shape, s.y[0].shape
    (15, (5, 3), (5, 1))
    """
    _check_positive("fraud", cards=cards, steps=steps)
    rng = stream("fraud", seed)
    stolen_at = np.full(cards, steps)
    thieves = rng.permutation(cards)[:max(1, cards // 3)]
    stolen_at[thieves] = rng.integers(0, steps, len(thieves))
    bad = np.arange(steps) >= stolen_at[:, None]
    amount = rng.lognormal(3.0, 0.6, bad.shape) * np.where(bad, 12.0, 1.0)
    distance = rng.exponential(8.0, bad.shape) + np.where(bad, 300.0, 0.0)
    hours = rng.exponential(30.0, bad.shape) * np.where(bad, 0.05, 1.0)
    x = np.stack([amount, distance, hours], axis=2).round(2)
    return Sequences([f"card{i + 1}" for i in range(cards)], list(x), list(bad[:, :, None].astype(np.float64)))


def payments(sequences: int = 56_389, steps: int = 10, features: int = 29, seed: int = 0) -> Sequences:
    """Card payments cut into sequences, as large as the real table by default; target fraud, in half of the payments.

    Features are normal; a third of them (at least one) is shifted by up to 1.5 in payments that are fraud, so that a
    linear rule finds most of them. Values have six decimals: the file of `to_csv` has about 150 MB. x[i] has shape
    (steps, features), y[i] (steps, 1).

    >>> s = payments(3, 4, 5)
    >>> len(s), s.x[0].shape, s.y[0].shape
    (3, (4, 5), (4, 1))
    """
    _check_positive("payments", sequences=sequences, steps=steps, features=features)
    rng = stream("payments", seed)
    shift = rng.uniform(0.5, 1.5, features) * rng.choice((-1.0, 1.0), features)
    shift[rng.permutation(features)[max(1, features // 3):]] = 0.0
    y = (rng.random((sequences, steps, 1)) < 0.5).astype(np.float64)
    x = rng.standard_normal((sequences, steps, features))
    x += y * shift
    return Sequences([f"card{i + 1}" for i in range(sequences)], list(x.round(6)), list(y))


def _check_positive(op: str, **counts: int) -> None:
    for name, count in counts.items():
        if type(count) is not int or count < 1:
            raise DataError(message(op, f"{name}={shown(count)}", f"{name} >= 1", "ask for at least one"))
    total = prod(counts.values())
    check_fits(op, f"{total:,} numbers", 8 * total)
