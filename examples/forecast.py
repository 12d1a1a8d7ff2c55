"""Forecast a series with a GRU: the next values from a window of past ones.

    python examples/forecast.py                               a sine of period 50 with noise
    python examples/forecast.py --data days.csv --column t    any column of numbers, in the order of the file

The last fifth of the series is the test; scaling comes from the training part alone. Errors are in the series' own unit
and stand beside those of the naive forecast, which says that the last value stays.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import data, nn, optim
from tinygrad_nn import functional as F

FIGURES = ("mae", "rmse", "r2")


class Forecaster(nn.Module):
    """A GRU over the window and a linear layer on its last state: (N, window, 1) to (N, horizon)."""

    def __init__(self, horizon: int, hidden: int = 16) -> None:
        super().__init__()
        self.gru = nn.init.recurrent_orthogonal_(nn.GRU(1, hidden, batch_first=True))
        self.out = nn.Linear(hidden, horizon)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """How far each of the next values is from the last one of the window, added to it."""
        _, last = self.gru(x)
        return x[:, -1] + self.out(last[0])


@dataclass(frozen=True)
class Parts:
    """Scaled windows (N, window, 1) and what follows them (N, horizon), and the scaler."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    scaler: data.MinMaxScaler


def sine(n: int = 1200, period: float = 50.0, noise: float = 0.1, seed: int = 0) -> np.ndarray:
    """10 + 4 sin(2 pi t / period) and normal noise, as a share of the amplitude."""
    t = np.arange(n)
    return np.asarray(10 + 4 * (np.sin(2 * np.pi * t / period) + noise * np.random.default_rng(seed).normal(size=n)))


def read(path: str | None, column: str | None, seed: int) -> np.ndarray:
    """The series: one column of a file, else the sine."""
    if path is None:
        return sine(seed=seed)
    if column is None:
        got, expected = f"{path} without --column", f"one of {', '.join(data.read_csv(path).columns)}"
        raise tg.errors.DataError(tg.errors.message("forecast", got, expected))
    return data.to_matrix(data.read_csv(path, [column], dtype=float))[:, 0]


def prepare(series: np.ndarray, window: int, horizon: int) -> Parts:
    """Four fifths train, the rest judges; no test window reaches into a value that was trained on."""
    cut = len(series) * 4 // 5
    train, test = series[:cut, None], series[cut:, None]
    scaler = data.MinMaxScaler.fit(train)
    pairs = [data.sliding_windows(scaler.transform(part), window, horizon) for part in (train, test)]
    (x, y), (test_x, test_y) = [(a.astype(np.float32), b[:, :, 0].astype(np.float32)) for a, b in pairs]
    return Parts(x, y, test_x, test_y, scaler)


def train(model: nn.Module, parts: Parts, epochs: int, seed: int, jit: bool = True) -> tg.History:
    """Adam on batches of 32 windows; gradients are clipped, as recurrent ones may jump."""
    opt = optim.Adam(model.parameters(), lr=0.01)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        return loss

    shown = sys.stderr.isatty()
    step = tg.jit(step) if jit else step
    return tg.fit(step, (parts.x, parts.y), epochs, batch_size=32, seed=seed, progress=shown)


def check_gradients(options: argparse.Namespace) -> str:
    """All weights of a new model against numeric derivatives, on four windows, to second order, eager and compiled."""
    parts = prepare(read(options.data, options.column, options.seed), options.window, options.horizon)
    tg.manual_seed(options.seed)
    model = Forecaster(options.horizon).double()
    x, y = tg.tensor(parts.x[:4].astype(np.float64)), tg.tensor(parts.y[:4].astype(np.float64))

    def loss() -> tg.Tensor:
        return F.mse_loss(model(x), y)

    return f"eager: {tg.testing.gradcheck(loss)}\ncompiled: {tg.testing.gradcheck(tg.jit(loss))}"


def predict(model: nn.Module, parts: Parts) -> dict[str, np.ndarray]:
    """What was, what the model says and what the naive forecast says of the test part (N, horizon), in own units."""
    with tg.no_grad():
        guessed = model(tg.tensor(parts.test_x)).numpy()
    naive = np.repeat(parts.test_x[:, -1], guessed.shape[1], axis=1)
    found = {"truth": parts.test_y, "GRU": guessed, "naive": naive}
    shape = guessed.shape
    return {name: parts.scaler.denormalize(v.reshape(-1, 1).astype(np.float64)).reshape(shape)
            for name, v in found.items()}


def evaluate(found: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """MAE, RMSE and R2 of the model and of the naive forecast."""
    reports = {name: tg.metrics.regression_report(found[name], found["truth"]) for name in ("GRU", "naive")}
    return {name: {figure: report[figure] for figure in FIGURES} for name, report in reports.items()}


def report(scores: dict[str, dict[str, float]], history: tg.History) -> str:
    """The text a run prints."""
    first, last = history["loss"][0], history["loss"][-1]
    lines = [f"mean squared error, scaled: {first:.5f} after the first epoch, {last:.5f} after the last"]
    lines.append(" " * 8 + "".join(f"{name.upper():>10}" for name in FIGURES))
    lines += [f"{name:>8}" + "".join(f"{row[k]:10.4f}" for k in FIGURES) for name, row in scores.items()]
    share = scores["GRU"]["rmse"] / max(scores["naive"]["rmse"], 1e-300)
    lines.append(f"the GRU's RMSE is {share:.2f} of the naive forecast's")
    return "\n".join(lines)


def plot(found: dict[str, np.ndarray], path: Path, shown: int = 200) -> None:
    """Forecasts of the last step of the horizon beside the truth, for the first test windows."""
    figure = __import__("matplotlib.figure", fromlist=["Figure"]).Figure(figsize=(9, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, style in (("truth", "black"), ("naive", "C0"), ("GRU", "C1")):
        axes.plot(found[name][:shown, -1], label=name, color=style, linewidth=1 if name == "naive" else 1.5)
    horizon = found["truth"].shape[1]
    axes.set(xlabel="window of the test part", ylabel="value", title=f"{horizon} step{'s' * (horizon > 1)} ahead")
    axes.legend()
    figure.savefig(path, dpi=120)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", metavar="FILE", help="a CSV file (default: a sine with noise)")
    p.add_argument("--column", metavar="NAME", help="the column to forecast")
    p.add_argument("--epochs", type=int, default=20)
    p.add_argument("--seed", type=int, default=42)
    p.add_argument(
        "--jit", action=argparse.BooleanOptionalAction, default=True, help="compile the training step (default: yes)"
    )
    p.add_argument("--window", type=int, default=24, help="values that are seen")
    p.add_argument("--horizon", type=int, default=4, help="values that are forecast")
    p.add_argument("--gradcheck", action="store_true", help="hold all gradients against numeric ones instead")
    p.add_argument("--plot", action="store_true", help="write forecast.png")
    p.add_argument("--draw", action="store_true", help="write forecast_graph.svg, the graph of the model on two steps")
    p.add_argument("--out", type=Path, default=Path("."), help="folder for pictures")
    return p.parse_args(argv)


def run(options: argparse.Namespace) -> tuple[nn.Module, Parts, tg.History, dict[str, np.ndarray]]:
    """Read, train and forecast."""
    parts = prepare(read(options.data, options.column, options.seed), options.window, options.horizon)
    tg.manual_seed(options.seed)
    model = Forecaster(options.horizon)
    history = train(model, parts, options.epochs, options.seed, options.jit)
    return model, parts, history, predict(model, parts)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, report, and whatever the flags ask for."""
    options = parse(argv)
    if options.gradcheck:
        print(check_gradients(options))
        return
    model, parts, history, found = run(options)
    print(f"{len(parts.x)} training and {len(parts.test_x)} test windows")
    print(report(evaluate(found), history))
    if options.plot:
        plot(found, options.out / "forecast.png")
    if options.draw:
        tg.draw(model, tg.tensor(parts.test_x[:1, :2])).render(options.out / "forecast_graph", format="svg")


if __name__ == "__main__":
    try:
        main()
    except (tg.errors.TinygradError, OSError) as error:
        sys.exit(f"error: {error}")
