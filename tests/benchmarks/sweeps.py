"""`python -m tests.benchmarks.sweeps [row ...]`: many models at once, per model and epoch.

Each row trains K models by `tg.sweep` (how="auto", and "arenas", the code of the single run), one by `tg.fit`, and
where it is there by JAX's `jit(vmap(scan))`. All of them take turns in one process, on one core; the least time of each
counts. Times of sweeps are of the whole call, with the compilation that a second call finds in memory.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim

ROUNDS: Final = 3
DATA: Final = Path(os.environ.get("TGNN_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """What is trained: a model, its step, its data, how many models and epochs."""

    model: nn.Module
    step: Callable[..., Any]
    data: tuple[Any, ...]
    options: dict[str, Any]
    models: int
    epochs: int
    evaluate: Callable[..., Any] | None = None

    def sweep(self, how: str, workers: int = 1, **more: Any) -> Any:
        """All models."""
        given = {"init": self.model.reset_parameters, "seeds": range(self.models), "progress": False, "how": how}
        given |= {"evaluate": self.evaluate, "workers": workers, **self.options, **more}
        return tg.sweep(self.step, self.data, self.epochs, **given)

    def single(self) -> Any:
        """One model."""
        return tg.fit(self.step, self.data, self.epochs, evaluate=self.evaluate, seed=0, progress=False, **self.options)


def trained(model: nn.Module, loss: Callable[..., Any], rate: float, rule: Any = optim.SGD) -> Callable[..., Any]:
    """A step."""
    opt = rule(model.parameters(), lr=rate)

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        found = loss(model(x), y)
        found.backward()
        opt.step()
        return found

    return tg.jit(step)


def blobs(rows: int, width: int, classes: int, dtype: str) -> tuple[Any, Any]:
    """Points around as many centres as there are classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, rows)
    return (rng.normal(size=(classes, width))[y] + rng.normal(size=(rows, width))).astype(dtype), y


def iris(dtype: str, models: int = 1000, epochs: int = 1000) -> Row:
    """4-8-3 on 120 of 150 flowers in batches of 32, with two accuracies after each epoch."""
    x, y = blobs(150, 4, 3, dtype)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(dtype)
    xs, ys = ((tg.tensor(part[:120]), tg.tensor(part[120:])) for part in (x, y))

    def scores() -> Any:
        return {name: tg.metrics.accuracy(model(xs[k]), ys[k]) for k, name in enumerate(("train_acc", "test_acc"))}

    step = trained(model, F.cross_entropy, 0.01)
    return Row(model, step, (x[:120], y[:120]), {"batch_size": 32, "shuffle": False}, models, epochs, scores)


def recurrent(dtype: str) -> Row:
    """RNN 3-5-1 on 40 sequences of 20 steps, one update for each."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 20, 3)).astype(dtype)
    y = x.sum((1, 2))[:, None] / 20

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.RNN(3, 5, batch_first=True), nn.Linear(5, 1)

        def forward(self, x: Any) -> Any:
            return self.head(self.rnn(x)[0][:, -1])

    model = Net().to(dtype)
    return Row(model, trained(model, F.mse_loss, 0.01), (x, y), {"batch_size": 1, "shuffle": False}, 160, 20)


def plain(
    widths: tuple[int, ...], rows: int, batch: int | None, models: int, epochs: int, rule: Any
) -> Callable[[str], Row]:
    """A net of linear layers."""

    def make(dtype: str) -> Row:
        x, y = blobs(rows, widths[0], max(2, widths[-1]), dtype)
        layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
        model = nn.Sequential(*layers[:-1]).to(dtype)
        binary = widths[-1] == 1
        loss = F.binary_cross_entropy_with_logits if binary else F.cross_entropy
        target = y.astype(dtype)[:, None] if binary else y
        return Row(
            model,
            trained(model, loss, 1e-3, rule),
            (x, target),
            {"batch_size": batch, "shuffle": False},
            models,
            epochs,
        )

    return make


ROWS: Final[dict[str, Callable[[str], Row]]] = {
    "iris": iris,
    "rnn 3-5-1": recurrent,
    "titanic 8-16-1, full batch": plain((8, 16, 1), 712, None, 200, 200, optim.SGD),
    "digits 64-32-10, Adam": plain((64, 32, 10), 1437, 64, 16, 60, optim.Adam),
    "fraud 29-10-1": plain((29, 10, 1), 2668, 10, 32, 30, optim.SGD),
}


def jax_iris(row: Row, dtype: str) -> Callable[[], Any] | None:
    """The same models by JAX: the epochs in a scan, the models in a vmap."""
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", dtype == "float64")
    x, y = (jnp.asarray(part) for part in row.data)
    held, truth = (jnp.asarray(part[120:]) for part in blobs(150, 4, 3, dtype))

    def forward(p: Any, x: Any) -> Any:
        return jnp.maximum(x @ p[0] + p[1], 0) @ p[2] + p[3]

    def loss(p: Any, x: Any, y: Any) -> Any:
        return -jnp.take_along_axis(jax.nn.log_softmax(forward(p, x)), y[:, None], 1).mean()

    def epoch(p: Any, _: Any) -> Any:
        total = 0.0
        for start in range(0, 120, 32):
            value, g = jax.value_and_grad(loss)(p, x[start : start + 32], y[start : start + 32])
            p = [a - 0.01 * b for a, b in zip(p, g, strict=True)]
            total += value * min(32, 120 - start)
        accuracy = [(forward(p, a).argmax(1) == b).mean() for a, b in ((x, y), (held, truth))]
        return p, (total / 120, *accuracy)

    def train(key: Any) -> Any:
        keys = jax.random.split(key, 2)
        p = [jax.random.uniform(keys[0], (4, 8), dtype) - 0.5, jnp.zeros(8, dtype),
             jax.random.uniform(keys[1], (8, 3), dtype) - 0.5, jnp.zeros(3, dtype)]  # fmt: skip
        return jax.lax.scan(epoch, p, None, row.epochs)

    run = jax.jit(jax.vmap(train))
    seeds = jax.random.split(jax.random.key(0), row.models)
    return lambda: jax.block_until_ready(run(seeds))


def least(runs: dict[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, float]:
    """The least seconds of each, in turn."""
    for run in runs.values():
        run()
    found = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            found[name] = min(found[name], time.perf_counter() - started)
    return found


def measure(name: str, dtype: str, jax: bool) -> None:
    """Print a row."""
    row = ROWS[name](dtype)
    runs: dict[str, Callable[[], Any]] = {
        "auto": lambda: row.sweep("auto"),
        "arenas": lambda: row.sweep("arenas"),
        "fit": row.single,
    }
    peer = jax_iris(row, dtype) if jax and name == "iris" else None
    if peer is not None:
        runs["jax vmap"] = peer
    if name == "iris" and (os.cpu_count() or 1) > 1:
        runs["2 threads"] = lambda: row.sweep("auto", 2)
    times = least(runs, 1 if name == "iris" else ROUNDS)
    per = {who: 1e6 * t / row.epochs / (1 if who == "fit" else row.models) for who, t in times.items()}
    shown = ", ".join(f"{who} {value:.3g}" for who, value in per.items())
    print(f"{name}, {dtype}, {row.models:,} models x {row.epochs:,} epochs, us per model and epoch: {shown}")
    print(f"    single / auto {per['fit'] / per['auto']:.2f}; {tg.explain(row.sweep('auto'))}")


def leave_one_out() -> None:
    """150 models of 149 flowers each, 1000 epochs."""
    row = iris("float32")
    x, y = blobs(150, 4, 3, "float32")

    def run() -> Any:
        return tg.cross_validate(row.step, (x, y), 1000, batch_size=32, shuffle=False, folds="loo", progress=False,
                                 init=row.model.reset_parameters,
                                 evaluate=lambda a, b: {"acc": tg.metrics.accuracy(row.model(a), b)})  # fmt: skip

    print(f"leave one out, 150 x 1000 epochs: {least({'': run})['']:.3f} s")


def main() -> None:
    """Measure the rows that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"of {', '.join([*ROWS, 'loo'])}; all by default")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--jax", action="store_true", help="beside JAX, which takes long")
    args = parser.parse_args()
    for name in args.rows or [*ROWS, "loo"]:
        if name == "loo":
            leave_one_out()
        else:
            measure(next(known for known in ROWS if known.startswith(name)), args.dtype, args.jax)


if __name__ == "__main__":
    main()
