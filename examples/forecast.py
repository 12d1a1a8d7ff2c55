"""Forecast a series with a GRU: the next values from a window of past ones.

    python examples/forecast.py                              a sine of period 50 with noise
    python examples/forecast.py --data days.csv --column t   a column of a file, in its order
    python examples/forecast.py --save f.npz                 keep the model of the first run
    python examples/forecast.py --load f.npz --data days.csv --column t --predict    what comes next

The last fifth of the series is the test; scaling comes from the training part alone. Errors are in
the series' own unit and stand beside those of the naive forecast, which says that the last value
stays. Each run has a seed, and with it first weights, an order of the batches and, of the sine,
other noise.
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
from tinygrad_nn.errors import ConfigError, DataError, message

sys.path.insert(0, str(Path(__file__).parent))
import common

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


@dataclass(frozen=True)
class Run:
    """A trained model, the series in its parts, and how training went."""

    model: nn.Module
    parts: Parts
    history: tg.History


def sine(n: int = 1200, period: float = 50.0, noise: float = 0.1, seed: int = 0) -> np.ndarray:
    """10 + 4 sin(2 pi t / period) and normal noise, as a share of the amplitude."""
    t, rng = np.arange(n), np.random.default_rng(seed)
    return np.asarray(10 + 4 * (np.sin(2 * np.pi * t / period) + noise * rng.normal(size=n)))


def read(path: str | None, column: str | None, seed: int) -> np.ndarray:
    """The series: one column of a file, else the sine."""
    if path is None:
        if column is not None:
            raise ConfigError(message("forecast", f"--column {column} without a file", "--data"))
        return sine(seed=seed)
    if column is None:
        got, expected = f"{path} without --column", f"one of {', '.join(data.read_csv(path).columns)}"
        raise DataError(message("forecast", got, expected))
    return data.to_matrix(data.read_csv(path, [column], dtype=float))[:, 0]


def prepare(series: np.ndarray, window: int, horizon: int) -> Parts:
    """Four fifths train, the rest judges; no test window reaches into a value that was trained on."""
    cut = len(series) * 4 // 5
    train, test = series[:cut, None], series[cut:, None]
    scaler = data.MinMaxScaler.fit(train)
    pairs = [data.sliding_windows(scaler.transform(part), window, horizon) for part in (train, test)]
    (x, y), (test_x, test_y) = [(a.astype(np.float32), b[:, :, 0].astype(np.float32)) for a, b in pairs]
    return Parts(x, y, test_x, test_y, scaler)


def train(model: nn.Module, parts: Parts, options: argparse.Namespace) -> tg.History:
    """Adam on batches of 32 windows; gradients are clipped, as recurrent ones may jump."""
    opt = optim.Adam(model.parameters(), lr=options.lr)
    test_x, test_y = tg.tensor(parts.test_x), tg.tensor(parts.test_y)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        return loss

    def scores() -> dict[str, tg.Tensor]:
        return {"test_loss": F.mse_loss(model(test_x), test_y)}

    return common.fit(step, (parts.x, parts.y), options, batch_size=32, evaluate=scores)


def run(series: np.ndarray | None, options: argparse.Namespace) -> Run:
    """Cut, build and train, all with the seed of the options; without a series, on a sine whose noise has it too."""
    series = sine(seed=options.seed) if series is None else series
    parts = prepare(series, options.window, options.horizon)
    tg.manual_seed(options.seed)
    model = Forecaster(options.horizon)
    return Run(model, parts, train(model, parts, options))


def check_gradients(series: np.ndarray, options: argparse.Namespace) -> str:
    """All weights of a new model against numeric derivatives, on four windows."""
    parts = prepare(series, options.window, options.horizon)
    tg.manual_seed(options.seed)
    model = Forecaster(options.horizon).double()
    x, y = (tg.tensor(part[:4].astype(np.float64)) for part in (parts.x, parts.y))
    return common.gradcheck(lambda: F.mse_loss(model(x), y))


def predict(model: nn.Module, x: np.ndarray, scaler: data.MinMaxScaler) -> np.ndarray:
    """The values (N, horizon) after scaled windows (N, window, 1), in their own unit."""
    with tg.no_grad():
        return in_own_unit(model(tg.tensor(x)).numpy(), scaler)


def in_own_unit(values: np.ndarray, scaler: data.MinMaxScaler) -> np.ndarray:
    """Scaled values as they were in the series."""
    return scaler.inverse(values.reshape(-1, 1).astype(np.float64)).reshape(values.shape)


def forecasts(model: nn.Module, parts: Parts) -> dict[str, np.ndarray]:
    """What was, what the model says and what the naive forecast says of the test part (N, horizon), in own units."""
    naive = np.repeat(parts.test_x[:, -1], parts.test_y.shape[1], axis=1)
    known = {"truth": parts.test_y, "naive": naive}
    own = {name: in_own_unit(values, parts.scaler) for name, values in known.items()}
    return {**own, "GRU": predict(model, parts.test_x, parts.scaler)}


def evaluate(found: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """MAE, RMSE and R2 of the model and of the naive forecast."""
    reports = {name: tg.metrics.regression_report(found[name], found["truth"]) for name in ("GRU", "naive")}
    return {name: {figure: report[figure] for figure in FIGURES} for name, report in reports.items()}


def report(runs: Sequence[Run]) -> str:
    """The text about the trained models."""
    parts, found = runs[0].parts, [evaluate(forecasts(run.model, run.parts)) for run in runs]
    figures = [{f"{name} {k}": row[k] for k in FIGURES for name, row in scores.items()} for scores in found]
    shares = [scores["GRU"]["rmse"] / max(scores["naive"]["rmse"], 1e-300) for scores in found]
    columns = {"loss": "train loss, scaled", "test_loss": "test loss, scaled"}
    return "\n".join([
        f"{len(parts.x)} training and {len(parts.test_x)} test windows",
        "",
        *common.curve([run.history for run in runs], columns, digits=5),
        "",
        "on the test part, in the unit of the series",
        *common.table(figures),
        "",
        f"the GRU's RMSE is {common.spread(shares, 2)} of the naive forecast's, over {len(runs)}"
        f" seed{'s' * (len(runs) > 1)}",
    ])


def plot(runs: Sequence[Run], path: Path, shown: int = 200) -> None:
    """Losses over the epochs; forecasts of the last step of the horizon beside the truth."""
    figure, (left, right) = common.subplots(2, width=7)
    common.draw_curves(left, [run.history for run in runs], ["loss", "test_loss"])
    left.set(xlabel="epoch", ylabel="mean squared error, scaled", title=common.over(runs), yscale="log")
    found = forecasts(runs[0].model, runs[0].parts)
    for name, style in (("truth", "black"), ("naive", "C0"), ("GRU", "C1")):
        right.plot(found[name][:shown, -1], label=name, color=style, linewidth=1 if name == "naive" else 1.5)
    horizon = found["truth"].shape[1]
    title = f"{horizon} step{'s' * (horizon > 1)} ahead, first run"
    right.set(xlabel="window of the test part", ylabel="value", title=title)
    right.legend()
    common.write_figure(figure, path)


def upcoming(model: nn.Module, scaler: data.MinMaxScaler, series: np.ndarray, window: int) -> str:
    """What comes after the end of the series."""
    if len(series) < window:
        raise DataError(message("--predict", f"{len(series)} values", f"{window} or more, a window"))
    last = scaler.transform(series[-window:, None]).astype(np.float32)
    values = predict(model, last[None], scaler)[0]
    return "\n".join(f"value {len(series) + k + 1}: {value:.3f}" for k, value in enumerate(values))


def save(path: Path, runs: Sequence[Run], options: argparse.Namespace) -> None:
    """The first run's model and scaler, and the R2 of all runs."""
    first, scores = runs[0], [evaluate(forecasts(run.model, run.parts))["GRU"]["r2"] for run in runs]
    kept = {name: getattr(options, name) for name in ("seed", "window", "horizon")}
    scaler, print_of_data = first.parts.scaler, common.fingerprint(first.parts.test_y)
    common.save(
        path, "forecast", first.model, first.history, scaler=scaler, options=kept, scores=scores, data=print_of_data
    )


def load(path: Path, options: argparse.Namespace) -> tuple[nn.Module, data.MinMaxScaler, np.ndarray, str]:
    """A saved model, its scaler, the series, and what it is worth on its last fifth."""
    saved = common.load(path, "forecast")
    kept = saved["options"]
    model, scaler = Forecaster(kept["horizon"]), saved["scaler"]
    model.load_state_dict(saved["model"])
    series = read(options.data, options.column, kept["seed"])
    own = prepare(series, kept["window"], kept["horizon"])
    same = saved["data"] == common.fingerprint(own.test_y)
    x, y = (in_own_unit(values, own.scaler) for values in (own.test_x, own.test_y))
    x, y = (scaler.transform(v.reshape(-1, 1)).reshape(v.shape).astype(np.float32) for v in (x, y))
    found = evaluate(forecasts(model, Parts(own.x, own.y, x, y, scaler)))["GRU"]["r2"]
    options.window = kept["window"]
    return model, scaler, series, common.judged(path, saved, "R2", found, same, "the last fifth")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = common.parser(__doc__, epochs=20, lr=0.01)
    p.add_argument("--data", metavar="CSV", help="a file with a column of numbers (default: a sine)")
    p.add_argument("--column", help="the column to forecast")
    p.add_argument("--window", type=common.whole(1), default=24, help="values that are seen (default: 24)")
    p.add_argument("--horizon", type=common.whole(1), default=4, help="values that are forecast (default: 4)")
    p.add_argument(
        "--predict", nargs="*", metavar="X", help="what follows these values (without any: follows the series)"
    )
    p.add_argument("--plot", action="store_true", help="write forecast.png")
    p.add_argument("--draw", action="store_true", help="write forecast_graph.svg, the graph of the model on two steps")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Train and report, or load; then whatever the flags ask for."""
    options = parse(argv)
    common.check(options)
    typed = common.numbers(options.predict or [])
    if options.gradcheck:
        print(check_gradients(read(options.data, options.column, options.seed), options))
        return
    if options.load:
        model, scaler, series, text = load(options.load, options)
        print(text)
    else:
        series = read(options.data, options.column, options.seed)
        own = None if options.data is None else series
        runs = common.repeat(options, lambda seed: run(own, common.with_seed(options, seed)))
        model, scaler = runs[0].model, runs[0].parts.scaler
        if options.save:
            save(options.save, runs, options)
        if options.plot:
            plot(runs, options.out / "forecast.png")
        print(report(runs))
        print(common.times([run.history for run in runs]))
    if options.predict is not None:
        print(upcoming(model, scaler, typed if len(typed) else series, options.window))
    if options.draw:
        common.draw(model, tg.zeros(1, 2, 1), options.out / "forecast_graph.svg")


if __name__ == "__main__":
    common.start(main)
