"""`python -m tests.benchmarks.search`: `tg.sklearn` beside scikit-learn's MLPClassifier, in one process.

- iris       Classifier.fit, 1000 epochs of 4-8-3 and of 4-64-3, from the second fit on; and one epoch, which is what
             it takes to begin
- digits     GridSearchCV and SearchCV of 20 settings with 5 folds each; MLPClassifier fits some of the settings, and
             the time is scaled to all of them

A figure is the least time of several short runs, those of both sides in turns.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # before NumPy is loaded

import numpy as np
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier

import tinygrad_nn as tg

GRID = {"learning_rate_init": [3e-4, 1e-3, 3e-3, 1e-2], "alpha": [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]}
FEW = {"learning_rate_init": [1e-3], "alpha": [1e-4]}


def seconds(function: Callable[[], Any]) -> float:
    """What a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def iris(rounds: int) -> None:
    """From the second fit on."""
    x, y = load_iris(return_X_y=True)
    for hidden in ((8,), (64,)):
        for epochs in (1, 1000):
            model = tg.sklearn.Classifier(hidden=hidden, max_iter=epochs, tol=-np.inf, random_state=0)
            model.fit(x, y)
            found = min(seconds(lambda model=model: model.fit(x, y)) for _ in range(rounds * 5))  # type: ignore[misc]
            print(f"iris, hidden {hidden}, {epochs:>4} epochs, from the second fit on: {1e3 * found:6.2f} ms")


def digits(rounds: int, hidden: int, batch: int, epochs: int, workers: int) -> None:
    """20 settings, 5 folds, and the best one on all samples."""
    x, y = load_digits(return_X_y=True)
    x = x / 16
    settings = {"max_iter": epochs, "batch_size": batch, "random_state": 0}
    ours = tg.sklearn.Classifier(hidden=(hidden,), **settings)
    theirs = MLPClassifier((hidden,), **settings)
    runs: dict[str, Callable[[], Any]] = {
        "GridSearchCV": lambda: GridSearchCV(ours, GRID, cv=5).fit(x, y),
        "SearchCV": lambda: tg.sklearn.SearchCV(ours, GRID, cv=5).fit(x, y),
        f"SearchCV, {workers} threads": lambda: tg.sklearn.SearchCV(ours, GRID, cv=5, n_jobs=workers).fit(x, y),
    }
    best = dict.fromkeys(runs, np.inf)
    peer = np.inf
    for _ in range(rounds):
        peer = min(peer, seconds(lambda: GridSearchCV(theirs, FEW, cv=5).fit(x, y)) * 101 / 6)
        for name, run in runs.items():
            best[name] = min(best[name], seconds(run))
    what = f"64-{hidden}-10, batches of {batch}, {epochs} epochs, 20 settings x 5 folds"
    print(f"digits, {what}: MLPClassifier {peer:.1f} s")
    for name, found in best.items():
        print(f"    {name:<20} {found:6.2f} s, {peer / found:5.1f} times as fast")


def main() -> None:
    """Measure and print."""
    p = argparse.ArgumentParser(prog="python -m tests.benchmarks.search", description=__doc__)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--hidden", type=int, default=32)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--epochs", type=int, default=100)
    p.add_argument("--workers", type=int, default=2)
    options = p.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    iris(options.rounds)
    digits(options.rounds, options.hidden, options.batch, options.epochs, options.workers)


if __name__ == "__main__":
    main()
