"""One forecaster per customer: two thousand small networks, trained in one run.

    python examples/customers.py                            2,000 customers, 26 weeks of orders each
    python examples/customers.py --customers 200 --show 3   fewer, and the forecasts of three of them
    python examples/customers.py --workers 2 --store models   on two cores; what is finished is kept

Orders of a day are forecast from the four weeks before it. Each customer has habits of his own (days
of the week, growth, noise), so each gets a network of his own; `tg.sweep` with `by` trains them all
with the code that is compiled once. The last four weeks judge: beside "as many as a week ago", and
beside one network for all customers, which sees two thousand times as much data. Orders are generated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import data, nn, optim
from tinygrad_nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))
import common

WEEK = 7
WINDOW = 4 * WEEK  # days that a forecast sees
JUDGED = 4 * WEEK  # days at the end that judge


@dataclass(frozen=True)
class Windows:
    """For each customer and day the days before it (customers, days, WINDOW) and its orders (customers, days, 1), both
    divided by the customer's mean (customers,) over the days that train.
    """

    x: np.ndarray
    y: np.ndarray
    mean: np.ndarray

    @property
    def training(self) -> int:
        """How many of the days train."""
        return self.x.shape[1] - JUDGED


def orders(customers: int, days: int, seed: int = 0) -> np.ndarray:
    """Orders (customers, days): a level, a week and a growth of one's own, in counts."""
    rng = np.random.default_rng(seed)
    level = rng.lognormal(3.0, 0.7, (customers, 1))
    week = rng.dirichlet(np.full(WEEK, 4.0), customers) * WEEK
    growth = 1 + rng.normal(0.3, 0.4, (customers, 1)).clip(-0.6) * np.linspace(0, 1, days)
    wave = 1 + rng.uniform(0, 0.4, (customers, 1)) * np.sin(
        2 * np.pi * np.arange(days) / rng.uniform(10, 40, (customers, 1))
    )
    return rng.poisson(level * growth * wave * np.tile(week, -(-days // WEEK))[:, :days]).astype(np.float64)


def prepare(series: np.ndarray) -> Windows:
    """Windows, with the scale of the days that train alone."""
    mean = np.maximum(series[:, :-JUDGED].mean(axis=1), 1.0)
    pairs = [data.sliding_windows(one[:, None], WINDOW, 1) for one in series / mean[:, None]]
    x, y = (np.stack(part).astype(np.float32) for part in zip(*pairs, strict=True))
    return Windows(x[..., 0], y[..., 0], mean)


class Forecaster(nn.Module):
    """What a week ago says, and what a small network adds to it: (N, WINDOW) to (N, 1)."""

    def __init__(self, hidden: int = 8) -> None:
        self.layers = nn.Sequential(nn.Linear(WINDOW, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """The orders of the next day."""
        return x[:, -WEEK, None] + self.layers(x)


@dataclass(frozen=True)
class Recipe:
    """A model with what trains and what judges it: the same for one model and for thousands."""

    model: Forecaster
    step: Any

    @classmethod
    def of(cls, options: argparse.Namespace) -> Recipe:
        """Adam on the mean absolute error, which days of very many orders do not rule."""
        tg.manual_seed(options.seed)
        model = Forecaster()
        opt = optim.Adam(model.parameters(), lr=options.lr, weight_decay=1e-3)

        @tg.jit
        def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
            opt.zero_grad()
            loss = F.l1_loss(model(x), y)
            loss.backward()
            opt.step()
            return loss

        return cls(model, step)

    def scores(self, x: tg.Tensor, y: tg.Tensor) -> dict[str, tg.Tensor]:
        """On the days that judge."""
        return {"error": F.l1_loss(self.model(x), y)}


def each_his_own(windows: Windows, options: argparse.Namespace) -> tuple[Recipe, tg.Sweep]:
    """A model for every customer, and what they left: `error` has a row for each."""
    recipe, (customers, days) = Recipe.of(options), windows.x.shape[:2]
    rows = np.arange(days)
    found = tg.sweep(
        recipe.step,
        (windows.x.reshape(-1, WINDOW), windows.y.reshape(-1, 1)),
        options.epochs,
        by=np.repeat(np.arange(customers), days),
        folds=[(rows[: windows.training], rows[windows.training :])],
        init=recipe.model.reset_parameters,
        seed=options.seed,
        evaluate=recipe.scores,
        eval_every=options.epochs,
        workers=options.workers,
        store=options.store,
        progress=sys.stderr.isatty(),
    )
    return recipe, found


def one_for_all(windows: Windows, options: argparse.Namespace) -> np.ndarray:
    """The error for each customer of one model that was trained on all of them, ten times over."""
    recipe = Recipe.of(options)
    x, y = (part[:, : windows.training].reshape(-1, part.shape[-1]) for part in (windows.x, windows.y))
    tg.fit(recipe.step, (x, y), 10, windows.training, seed=options.seed, progress=sys.stderr.isatty())
    with tg.no_grad():
        guessed = recipe.model(tg.tensor(windows.x[:, windows.training :].reshape(-1, WINDOW))).numpy()
    return np.abs(guessed.reshape(len(windows.x), JUDGED) - windows.y[:, windows.training :, 0]).mean(axis=1)


def as_a_week_ago(windows: Windows) -> np.ndarray:
    """The error for each customer of the forecast without a model."""
    return np.abs(windows.x[:, windows.training :, -WEEK] - windows.y[:, windows.training :, 0]).mean(axis=1)


def report(windows: Windows, found: tg.Sweep, common_model: np.ndarray) -> str:
    """Errors over customers, each as a share of the customer's mean orders; and how often which one is better."""
    own, naive = found.last("error"), as_a_week_ago(windows)
    epochs, seconds = int(found.epochs.sum()), found.metadata["seconds"]
    errors = {"as a week ago": naive, "one model for all": common_model, "one model each": own}
    wide = max(map(len, errors))
    lines = [f"mean absolute error of {JUDGED} days, as a share of the customer's mean; over {len(own):,} customers"]
    lines += [f"{name:>{wide}}  {common.spread(error)}" for name, error in errors.items()]
    lines += ["", *(better(own, error, name) for name, error in list(errors.items())[:2])]
    return "\n".join([*lines, f"time: {len(own):,} models in {seconds:.2f} s, compiling and all: "
                              f"{1e6 * seconds / epochs:.1f} us per model and epoch"])  # fmt: skip


def better(own: np.ndarray, other: np.ndarray, name: str) -> str:
    """How far apart two forecasts are, customer by customer, with the standard error of that mean."""
    gain = other - own
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.nan
    return f"better than {name!r} for {np.mean(gain > 0):.0%} of the customers, by {gain.mean():.4f} ± {error:.4f}"


def shown(recipe: Recipe, found: tg.Sweep, windows: Windows, customer: int) -> list[str]:
    """The first week that judges: orders, and what the customer's own model says of each day."""
    found.load(customer)
    days = slice(windows.training, windows.training + WEEK)
    with tg.no_grad():
        guessed = recipe.model(tg.tensor(windows.x[customer, days])).numpy()[:, 0] * windows.mean[customer]
    truth = windows.y[customer, days, 0] * windows.mean[customer]
    rows = (("orders", truth), ("forecast", guessed))
    return [f"customer {customer}", *(f"{name:>10}" + "".join(f"{v:7.1f}" for v in values) for name, values in rows)]


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = common.words(__doc__)
    p.add_argument("--customers", type=common.whole(1), default=2000, metavar="N", help="default: 2000")
    p.add_argument("--weeks", type=common.whole(12), default=26, metavar="N", help="of orders (default: 26)")
    p.add_argument("--epochs", type=common.whole(1), default=200, help="default: 200")
    p.add_argument("--lr", type=common.amount, default=0.01, help="learning rate (default: 0.01)")
    p.add_argument("--seed", type=common.whole(0), default=42, help="of orders and first weights (default: 42)")
    p.add_argument("--workers", type=common.whole(1), default=1, metavar="N", help="threads that train (default: 1)")
    p.add_argument("--store", type=Path, metavar="FOLDER", help="keep models there, and go on from what is there")
    p.add_argument("--show", type=common.whole(1), default=0, metavar="N", help="forecasts of the first N customers")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Train all models and report."""
    options = parse(argv)
    windows = prepare(orders(options.customers, options.weeks * WEEK, options.seed))
    recipe, found = each_his_own(windows, options)
    if found.interrupted:
        raise KeyboardInterrupt
    print(report(windows, found, one_for_all(windows, options)))
    for customer in range(min(options.show, options.customers)):
        print("\n".join(["", *shown(recipe, found, windows, customer)]))


if __name__ == "__main__":
    common.start(main)
