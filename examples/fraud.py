"""Card fraud and temperature with recurrent networks, one SGD update per sequence.

    python examples/fraud.py --data creditcard.csv          RNN 29-10-1 (tanh, MSE, lr 0.001), sequences of 10 payments
    python examples/fraud.py --synthetic                    the same model on 56,389 generated sequences of 10 payments
    python examples/fraud.py --model small [--data steps.csv]   RNN 3-5-1 (ReLU, MSE, lr 1e-6), name,t,x1..xF,y1..yL
    python examples/fraud.py --model temperature            RNN 6-32-1 (sigmoid, MSE, lr 1e-4), six days to the next

Features are scaled to [0, 1] by the training part. "sigmoid" of the third model is its output, which matches targets
scaled to [0, 1]; its errors are given in degrees, on denormalised values.
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
from tinygrad_nn.data import Sequences
from tinygrad_nn.nn.utils.rnn import pad_sequence, unpad_sequence

EVERY = 10  # epochs between two looks at the test part


@dataclass(frozen=True)
class Setting:
    """One of the three models: sizes, nonlinearity, what its output goes through, learning rate, epochs."""

    features: int
    hidden: int
    nonlinearity: Any
    output: str
    lr: float
    epochs: int


SETTINGS = {
    "kaggle": Setting(29, 10, "tanh", "linear", 1e-3, 15),
    "small": Setting(3, 5, "relu", "linear", 1e-6, 200),
    "temperature": Setting(6, 32, "tanh", "sigmoid", 1e-4, 30),
}


class Recurrent(nn.Module):
    """An RNN with a linear layer on every step's state: (N, T, F) to (N, T, 1)."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.rnn = nn.RNN(setting.features, setting.hidden, nonlinearity=setting.nonlinearity, batch_first=True)
        self.out = nn.Linear(setting.hidden, 1)
        self.output = setting.output

    def forward(self, x: tg.Tensor, lengths: Sequence[int] | None = None) -> tg.Tensor:
        """One value per step; `lengths` are those of the sequences in a padded batch."""
        states, _ = self.rnn(x, lengths=lengths)
        values = self.out(states)
        return values.sigmoid() if self.output == "sigmoid" else values


def read(kind: str, path: str | None, seed: int, synthetic: int | None = None) -> Sequences:
    """Sequences from a file, or generated ones: for the two small models, and `synthetic` of them for the large one."""
    if synthetic is not None:
        if path is not None or kind != "kaggle":
            got = f"--synthetic and {path or f'--model {kind}'}"
            raise tg.errors.ConfigError(tg.errors.message("fraud", got, "--synthetic by itself"))
        return data.synthetic.payments(synthetic, seed=seed)
    if kind == "temperature":
        series = data.synthetic.temperature(seed=seed)
        x, y = data.sliding_windows(series, 6)
        return data.cut(x, y, 10, drop_last=True)
    if path is None:
        if kind == "kaggle":
            expected = "--data with a creditcard table (V1..V28, Amount, Class), or --synthetic"
            raise tg.errors.DataError(tg.errors.message("fraud", "no file", expected))
        return data.synthetic.fraud(seed=seed)
    columns = data.read_csv(path).columns
    if "name" in columns and "t" in columns:
        return data.sequences.from_csv(path)
    names = [f"V{k}" for k in range(1, 29)] + ["Amount"]
    table = data.read_csv(path, [*names, "Class"], dtype=float)
    return data.cut(data.to_matrix(table, names), data.to_matrix(table, ["Class"]), 10, drop_last=True)


@dataclass(frozen=True)
class Parts:
    """Scaled training and test sequences, and the scaler of the targets."""

    train: Sequences
    test: Sequences
    targets: Any


def prepare(sequences: Sequences, seed: int, scale_targets: bool) -> Parts:
    """80/20 by sequence; min-max scaling by the training part."""
    train, test = sequences.split((0.8, 0.2), seed=seed)
    x, y = train.stacked()
    features = data.MinMaxScaler.fit(x)
    targets = data.MinMaxScaler.fit(y)

    def scaled(part: Sequences) -> Sequences:
        return part.map(
            x=lambda v: features.transform(v).astype(np.float32),
            y=lambda v: (targets.transform(v) if scale_targets else v).astype(np.float32),
        )

    return Parts(scaled(train), scaled(test), targets)


def train(
    model: nn.Module, parts: Parts, lr: float, epochs: int, seed: int, regression: bool, jit: bool = True
) -> tg.History:
    """One update per sequence, in random order; every tenth epoch the test part is judged and a line is printed."""
    opt = optim.SGD(model.parameters(), lr=lr)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss

    def scores() -> dict[str, float]:
        found = evaluate(model, parts, regression)
        return {name: found[name] for name in (("mae", "r2") if regression else ("accuracy", "f1"))}

    def say(run: Any, logs: dict[str, float]) -> None:
        if run.epoch % EVERY == 0 or run.epoch == epochs:
            figures = ", ".join(f"{name} {value:.5f}" for name, value in logs.items() if name != "epoch")
            print(f"epoch {run.epoch:4d}: {figures}", flush=True)

    say.only_logs = True  # it looks at nothing else: a compiled run need not stop for it
    chosen, shown = parts.train, sys.stderr.isatty()
    step = tg.jit(step) if jit else step
    return tg.fit(
        step, (chosen.x, chosen.y), epochs, batch_size=1, evaluate=scores, eval_every=EVERY, seed=seed, progress=shown,
        callbacks=[say],
    )


def predict(model: nn.Module, part: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """(predictions, truth) of all steps of all sequences, one after another."""
    outputs = []
    with tg.no_grad():
        for start in range(0, len(part), 1024):
            x = [tg.tensor(steps) for steps in part.x[start : start + 1024]]
            lengths = [len(steps) for steps in x]
            rows = unpad_sequence(model(pad_sequence(x, batch_first=True), lengths), lengths, batch_first=True)
            outputs += [row.numpy() for row in rows]
    return np.concatenate(outputs)[:, 0], np.concatenate(part.y)[:, 0]


def evaluate(model: nn.Module, parts: Parts, regression: bool) -> dict[str, float]:
    """Classification figures at threshold 0.5, or errors in the target's own unit."""
    guessed, truth = predict(model, parts.test)
    if not regression:
        return tg.metrics.binary_report(guessed, truth > 0.5)
    own = (parts.targets.inverse(values.reshape(-1, 1).astype(np.float64))[:, 0] for values in (guessed, truth))
    return tg.metrics.regression_report(*own)


def report(found: dict[str, float], history: tg.History) -> str:
    """The text a run prints."""
    first, last = history["loss"][0], history["loss"][-1]
    lines = [f"mean squared error: {first:.5f} after the first epoch, {last:.5f} after the last"]
    lines += [f"{name:>18}: {value:.4f}" if value % 1 else f"{name:>18}: {value:.0f}" for name, value in found.items()]
    return "\n".join(lines)


def plot(model: nn.Module, parts: Parts, history: tg.History, path: Path) -> None:
    """Loss per epoch, and predictions beside the truth for the first test steps."""
    figure_module = __import__("matplotlib.figure", fromlist=["Figure"])
    figure = figure_module.Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(range(1, history.epochs + 1), history["loss"])
    left.set(xlabel="epoch", ylabel="mean squared error")
    guessed, truth = predict(model, parts.test)
    right.plot(truth[:100], label="truth", color="black")
    right.plot(guessed[:100], label="prediction", color="C1")
    right.set(xlabel="step of the test part", ylabel="target (scaled)")
    right.legend()
    figure.savefig(path, dpi=120)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", metavar="CSV", help="payments (V1..V28, Amount, Class) or steps (name, t, x1.., y1..)")
    p.add_argument(
        "--synthetic", metavar="N", type=int, nargs="?", const=56_389,
        help="N generated sequences of 10 payments (default: 56,389, as many as the real table has)",
    )
    p.add_argument("--model", choices=SETTINGS, default="kaggle")
    p.add_argument("--epochs", type=int, help="default: that of the model")
    p.add_argument("--lr", type=float, help="default: that of the model")
    p.add_argument("--seed", type=int, default=42)
    p.add_argument(
        "--jit", action=argparse.BooleanOptionalAction, default=True, help="compile the training step (default: yes)"
    )
    p.add_argument("--plot", action="store_true", help="write fraud_history.png")
    p.add_argument("--draw", action="store_true", help="write fraud_graph.svg, the graph of the model on two steps")
    p.add_argument("--out", type=Path, default=Path("."), help="folder for pictures")
    return p.parse_args(argv)


def run(options: argparse.Namespace) -> tuple[nn.Module, Parts, tg.History, dict[str, float]]:
    """Read, train and evaluate."""
    setting, regression = SETTINGS[options.model], options.model == "temperature"
    sequences = read(options.model, options.data, options.seed, options.synthetic)
    parts = prepare(sequences, options.seed, scale_targets=regression)
    tg.manual_seed(options.seed)
    model = Recurrent(setting)
    lr, epochs = options.lr or setting.lr, options.epochs or setting.epochs
    history = train(model, parts, lr, epochs, options.seed, regression, options.jit)
    return model, parts, history, evaluate(model, parts, regression)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, report, and whatever the flags ask for."""
    options = parse(argv)
    model, parts, history, found = run(options)
    print(f"{len(parts.train)} training and {len(parts.test)} test sequences")
    print(report(found, history))
    if options.plot:
        plot(model, parts, history, options.out / "fraud_history.png")
    if options.draw:
        tg.draw(model, tg.tensor(parts.test.x[0][:2]).unsqueeze(0)).render(options.out / "fraud_graph", format="svg")


if __name__ == "__main__":
    try:
        main()
    except (tg.errors.TinygradError, OSError) as error:
        sys.exit(f"error: {error}")
