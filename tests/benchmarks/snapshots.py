"""`python -m tests.benchmarks.snapshots`: what `fit(..., snapshots=10)` costs on Iris, beside the same fit without.

Both train in turn, in one process, and the least of the times of each counts: those of the thread's own clock, so that
a busy machine does not matter. `--epochs` of one fit, `--adam` for an optimizer with state, `--eager` for calls.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.datasets import load_iris

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim


def fitting(adam: bool, eager: bool, epochs: int, snapshots: int | None) -> Callable[[], tg.History]:
    """A fit of the 4-8-3 network with accuracies after every epoch."""
    table = load_iris()
    x = (table.data - table.data.mean(0)) / table.data.std(0)
    y = table.target.astype(np.int64)
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(tg.float64)
    opt = (optim.Adam if adam else optim.SGD)(model.parameters(), lr=0.01)
    train_x, train_y, test_x, test_y = map(tg.tensor, (x[::5], y[::5], x[1::5], y[1::5]))

    def step(a: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(a), b)
        loss.backward()
        opt.step()
        return loss

    def scores() -> dict[str, tg.Tensor]:
        accuracy = tg.metrics.accuracy
        return {"train": accuracy(model(train_x), train_y), "test": accuracy(model(test_x), test_y)}

    made = step if eager else tg.jit(step)
    return lambda: tg.fit(
        made, (x[:120], y[:120]), epochs, 32, evaluate=scores, seed=0, progress=False, snapshots=snapshots
    )


def compare(contestants: Sequence[Callable[[], tg.History]], rounds: int) -> list[float]:
    """The least seconds of each."""
    best = [math.inf] * len(contestants)
    for number in range(rounds + 1):
        for k, run in enumerate(contestants):
            started = time.thread_time()
            run()
            if number:  # the first call compiles
                best[k] = min(best[k], time.thread_time() - started)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.snapshots", description=__doc__)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--adam", action="store_true", help="Adam in place of SGD")
    parser.add_argument("--eager", action="store_true", help="without tg.jit")
    options = parser.parse_args()
    kinds = [fitting(options.adam, options.eager, options.epochs, every) for every in (None, 10)]
    without, kept = compare(kinds, options.rounds)
    times = f"{1e6 * without:,.0f} us, with a snapshot per 10 {1e6 * kept:,.0f} us"
    print(f"{options.epochs:,} epochs: {times}: {kept / without:.3f} x")


if __name__ == "__main__":
    main()
