"""How much faster a compiled run is on this machine: three small models, trained by tg.fit compiled, by the same step
in eager code, and by NumPy with gradients written by hand. All three have to find the same losses first.

Samples of the three take turns, and the least time of each counts: what else runs on a machine only adds to a sample.
Compiled code runs in one thread unless TGNN_THREADS says otherwise; NumPy has those that OMP_NUM_THREADS allows, of
which matrices as small as these take one.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from .. import functional as F
from .. import nn, optim
from ..compiler.run.jit import jit
from ..config import config
from ..errors import ConfigError, TinygradError, message
from ..fitting import fit
from ..history import cpu_name
from ..support.arrays import Array
from ..tensor.creation import from_numpy

EXAMPLES: Final = """\
  python -m tinygrad_nn bench
  OMP_NUM_THREADS=1 python -m tinygrad_nn bench --models iris --seconds 5"""
COLUMNS: Final = ("compiled", "eager", "NumPy")
CHECKED: Final = 5  # epochs after which losses are compared
ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class Model:
    """Data, a module with its loss, what NumPy does with its weights, and how it is trained."""

    title: str
    module: nn.Module
    loss: Callable[[Any, Any], Any]
    data: tuple[Array, Array]
    batch: int
    rate: float
    by_hand: Callable[[list[Array], Array, Array, float], float]  # changes the weights by a step; the loss before


def logistic(rng: np.random.Generator) -> Model:
    """Who survived: a logistic regression, all rows at once."""
    x, y = rng.normal(size=(534, 7)), (rng.random((534, 1)) < 0.4).astype(np.float64)

    def by_hand(weights: list[Array], x: Array, y: Array, rate: float) -> float:
        (w,) = weights
        z = x @ w.T
        loss = float((np.logaddexp(0, z) - y * z).mean())
        w -= rate * ((1 / (1 + np.exp(-z)) - y).T @ x / len(x))
        return loss

    module = nn.Linear(7, 1, bias=False).double()
    title = "logistic regression 7-1, 534 rows at once"
    return Model(title, module, F.binary_cross_entropy_with_logits, (x, y), 534, 0.1, by_hand)


def classifier(rng: np.random.Generator) -> Model:
    """Which flower: two layers, batches of 32 rows."""
    x, y = rng.normal(size=(120, 4)), rng.integers(0, 3, 120)

    def by_hand(weights: list[Array], x: Array, y: Array, rate: float) -> float:
        w1, b1, w2, b2 = weights
        hidden = np.maximum(x @ w1.T + b1, 0)
        z = hidden @ w2.T + b2
        e = np.exp(z - z.max(1, keepdims=True))
        p, rows = e / e.sum(1, keepdims=True), np.arange(len(x))
        loss = float(-np.log(p[rows, y]).mean())
        p[rows, y] -= 1
        p /= len(x)
        back = (p @ w2) * (hidden > 0)
        for weight, slope in zip(weights, (back.T @ x, back.sum(0), p.T @ hidden, p.sum(0)), strict=True):
            weight -= rate * slope
        return loss

    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    return Model("classifier 4-8-3, 120 rows in batches of 32", module, F.cross_entropy, (x, y), 32, 0.01, by_hand)


class Recurrent(nn.Module):
    """A value for each step of a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.RNN(3, 5, nonlinearity="relu", batch_first=True), nn.Linear(5, 1)

    def forward(self, x: Any) -> Any:
        """(N, T, 3) to (N, T, 1)."""
        return self.out(self.rnn(x)[0])


def recurrent(rng: np.random.Generator) -> Model:
    """Payments in a row: a recurrent layer, an update for each sequence."""
    x, y = rng.normal(size=(12, 5, 3)), rng.normal(size=(12, 5, 1))

    def by_hand(weights: list[Array], x: Array, y: Array, rate: float) -> float:
        w, u, b, c, v, d = weights
        states = [np.zeros(5)]
        for one in x[0]:
            states.append(np.maximum(w @ one + b + u @ states[-1] + c, 0))
        off = np.array([v @ state + d for state in states[1:]]) - y[0]
        slopes, back = [np.zeros_like(one) for one in weights], np.zeros(5)
        for t in reversed(range(len(off))):
            g = off[t] * (2 / len(off))
            back = (v.T @ g + u.T @ back) * (states[t + 1] > 0)
            for slope, part in zip(
                slopes, (np.outer(back, x[0][t]), np.outer(back, states[t]), back, back, np.outer(g, states[t + 1]), g),
                strict=True,
            ):  # fmt: skip
                slope += part
        for weight, slope in zip(weights, slopes, strict=True):
            weight -= rate * slope
        return float((off * off).mean())

    title = "recurrent 3-5-1, 12 sequences of 5, one at a time"
    return Model(title, Recurrent().double(), F.mse_loss, (x, y), 1, 1e-3, by_hand)


MODELS: Final[Mapping[str, Callable[[np.random.Generator], Model]]] = {
    "titanic": logistic,
    "iris": classifier,
    "fraud": recurrent,
}


def add(parser: argparse.ArgumentParser) -> None:
    """Which models, and for how long."""
    parser.add_argument("--models", metavar="A,B", default=",".join(MODELS), help="of titanic, iris, fraud (all)")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="for each model (default: 3)")


def run(options: argparse.Namespace) -> None:
    """Print the table, line by line as it is measured."""
    names = options.models.split(",")
    if not set(names) <= set(MODELS) or not names:
        raise ConfigError(message("bench", f"--models {options.models}", f"some of {', '.join(MODELS)}"))
    if not 0.1 <= options.seconds <= 600:
        raise ConfigError(message("bench", f"--seconds {options.seconds:g}", "0.1 to 600"))
    for line in table(names, options.seconds):
        print(line, flush=True)


def table(names: list[str], seconds: float) -> Iterator[str]:
    """The page."""
    threads = os.environ.get("OMP_NUM_THREADS", "as many as it likes")
    yield f"{cpu_name()}, NumPy {np.__version__} with threads: {threads}, compiled with threads: {config().threads}"
    yield f"microseconds for an epoch, the least of {ROUNDS} samples in turns, float64; losses agree to 1e-9"
    yield ""
    yield f"{'':8}{''.join(f'{name:>12}' for name in COLUMNS)}{'eager/comp.':>14}{'NumPy/comp.':>14}{'spread':>9}"
    for name in names:
        model = MODELS[name](np.random.default_rng(0))
        least, spread = measured(model, seconds)
        times = "".join(f"{1e6 * one:12,.1f}" for one in least)
        ratios = "".join(f"{f'{one / least[0]:,.1f} x':>14}" for one in least[1:])
        yield f"{name:8}{times}{ratios}{spread:9.0%}"
    yield ""
    yield "spread: how much longer the longest sample of compiled code took than the shortest; a busy machine has more"
    for name in names:
        yield f"{name:8}{MODELS[name](np.random.default_rng(0)).title}"


def measured(model: Model, seconds: float) -> tuple[list[float], float]:
    """Seconds for an epoch of each contestant, and the spread of the first one's samples. The losses of all after some
    epochs have to be the same.
    """
    contestants = (compiled(model), eager(model), by_hand(model))
    losses = [train(CHECKED) for train in contestants]
    if not np.allclose(losses, losses[0], rtol=1e-9, atol=0):
        raise TinygradError(message("bench", f"losses {losses} after {CHECKED} epochs", "equal ones"))
    epochs = [rounds(train, seconds / ROUNDS / len(contestants)) for train in contestants]
    samples: list[list[float]] = [[] for _ in contestants]
    for _ in range(ROUNDS):
        for train, count, own in zip(contestants, epochs, samples, strict=True):
            own.append(elapsed(train, count) / count)
    return [min(own) for own in samples], max(samples[0]) / min(samples[0]) - 1


def rounds(train: Callable[[int], float], seconds: float) -> int:
    """Epochs that take about so long."""
    count = 1
    while (took := elapsed(train, count)) < seconds / 4 and count < 10**7:
        count *= 4
    return max(1, round(count * seconds / took))


def elapsed(train: Callable[[int], float], epochs: int) -> float:
    """Seconds that so many epochs take."""
    start = time.perf_counter()
    train(epochs)
    return time.perf_counter() - start


def step_of(model: Model) -> Callable[[Any, Any], Any]:
    """The step of training, as in docs and examples."""
    opt = optim.SGD(model.module.parameters(), lr=model.rate)

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = model.loss(model.module(x), y)
        loss.backward()
        opt.step()
        return loss

    return step


def compiled(model: Model) -> Callable[[int], float]:
    """tg.fit with a compiled step; each time from the first weights."""
    step, first, data = jit(step_of(model)), state_of(model), tuple(map(from_numpy, model.data))

    def train(epochs: int) -> float:
        model.module.load_state_dict(first)
        history = fit(step, data, epochs, model.batch, shuffle=False, progress=False)
        return float(history["loss"][-1])

    return train


def eager(model: Model) -> Callable[[int], float]:
    """The same step, called batch by batch."""
    step, first = step_of(model), state_of(model)
    batches = [(from_numpy(x), from_numpy(y)) for x, y in batches_of(model)]

    def train(epochs: int) -> float:
        model.module.load_state_dict(first)
        for _ in range(epochs):
            losses = [(step(x, y), len(x)) for x, y in batches]
        return float(sum(loss.item() * rows for loss, rows in losses) / len(model.data[0]))

    return train


def by_hand(model: Model) -> Callable[[int], float]:
    """NumPy."""
    first, batches = state_of(model), batches_of(model)

    def train(epochs: int) -> float:
        weights = [one.copy() for one in first.values()]
        for _ in range(epochs):
            losses = [model.by_hand(weights, x, y, model.rate) * len(x) for x, y in batches]
        return sum(losses) / len(model.data[0])

    return train


def state_of(model: Model) -> dict[str, Array]:
    """Weights by name."""
    return {name: one.detach().numpy().copy() for name, one in model.module.named_parameters()}


def batches_of(model: Model) -> list[tuple[Array, Array]]:
    """The data in order, the last batch perhaps shorter."""
    x, y = model.data
    return [(x[at : at + model.batch], y[at : at + model.batch]) for at in range(0, len(x), model.batch)]
