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

EVERY = 10  # epochs between two looks at the test part
SHOWN = (("accuracy", "f1"), ("mae", "rmse"))  # scores of a line: of a classification, of a regression
COUNTS = ("tp", "fp", "tn", "fn")


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

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """One value per step."""
        states, _ = self.rnn(x)
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


class Judge:
    """What a model is worth on some sequences, in tensors from end to end: `fit` compiles it into the run.

    All sequences are one tensor (N, T, F), the shorter ones filled up with zeros at the end. An RNN reads forwards, so
    the zeros change nothing before them, and `real` picks the steps that are some among all N * T.
    """

    def __init__(self, model: nn.Module, part: Sequences, targets: Any | None) -> None:
        """`targets` is the scaler that gives values their own unit, for a regression."""
        lengths = np.array([len(steps) for steps in part.x])
        is_real = np.arange(lengths.max()) < lengths[:, None]
        x = np.zeros((*is_real.shape, part.x[0].shape[1]), np.float32)
        x[is_real], y = part.stacked()
        self.model, self.targets = model, targets
        self.x, self.real = tg.tensor(x), tg.tensor(np.flatnonzero(is_real))
        self.truth = self.in_own_unit(tg.tensor(y[:, 0]))

    def in_own_unit(self, values: tg.Tensor) -> tg.Tensor:
        """Scaled values as they were in the file."""
        if self.targets is None:
            return values
        return values * float(self.targets.scale[0]) + float(self.targets.offset[0])

    def predict(self) -> tg.Tensor:
        """The model's values for all steps of all sequences, one after another."""
        return self.in_own_unit(self.model(self.x).reshape(-1).index_select(0, self.real))

    def scores(self) -> dict[str, tg.Tensor]:
        """Figures of a classification at threshold 0.5, or errors in the target's own unit."""
        guessed = self.predict()
        if self.targets is None:
            return tg.metrics.binary_scores(guessed, self.truth)
        return tg.metrics.regression_scores(guessed, self.truth)


def train(model: nn.Module, parts: Parts, judge: Judge, lr: float, epochs: int, seed: int, jit: bool) -> tg.History:
    """One update per sequence, in random order; the test part is judged every tenth epoch, and a line says how."""
    opt = optim.SGD(model.parameters(), lr=lr)
    lines = EVERY * max(1, epochs // 1000)  # a hundred or so of a long run
    wipe = "\r\033[K" if sys.stdout.isatty() else ""  # the progress bar is on this line

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss

    def say(run: Any, logs: dict[str, float]) -> None:
        if run.epoch % lines == 0 or run.epoch == epochs:
            shown = ("loss", *SHOWN[judge.targets is not None])
            figures = ", ".join(f"{name} {logs[name]:.5f}" for name in shown)
            print(f"{wipe}epoch {run.epoch:4d}: {figures}", flush=True)

    say.only_logs = True  # it looks at nothing else: a compiled run need not stop for it
    return tg.fit(
        tg.jit(step) if jit else step, (parts.train.x, parts.train.y), epochs, batch_size=1, seed=seed,
        evaluate=judge.scores, eval_every=EVERY, progress=sys.stderr.isatty(), callbacks=[say],
    )


def check_gradients(options: argparse.Namespace) -> str:
    """All weights of a new model against numeric derivatives, on two sequences, to second order, eager and compiled."""
    sequences = read(options.model, options.data, options.seed, options.synthetic)
    parts = prepare(sequences, options.seed, scale_targets=options.model == "temperature")
    tg.manual_seed(options.seed)
    model = Recurrent(SETTINGS[options.model]).double()
    pairs = [tuple(tg.tensor(v.astype(np.float64)[None]) for v in (parts.train.x[k], parts.train.y[k])) for k in (0, 1)]

    def loss() -> tg.Tensor:
        return sum(F.mse_loss(model(x), y) for x, y in pairs)

    return f"eager: {tg.testing.gradcheck(loss)}\ncompiled: {tg.testing.gradcheck(tg.jit(loss))}"


def report(found: dict[str, float], history: tg.History) -> str:
    """The text a run prints."""
    first, last = history["loss"][0], history["loss"][-1]
    lines = [f"mean squared error: {first:.5f} after the first epoch, {last:.5f} after the last"]
    lines += [f"{name:>18}: {value:.{0 if name in COUNTS else 4}f}" for name, value in found.items()]
    return "\n".join(lines)


def plot(judge: Judge, history: tg.History, path: Path) -> None:
    """Loss per epoch, scores whenever the test part was judged, and predictions against the truth."""
    figure = __import__("matplotlib.figure", fromlist=["Figure"]).Figure(figsize=(12, 3.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.plot(range(1, history.epochs + 1), history["loss"])
    left.set(xlabel="epoch", ylabel="mean squared error", title="training part")
    left.set_ylim(bottom=0)
    names = SHOWN[judge.targets is not None]
    for name in names:
        middle.plot(history.evaluated, history[name], marker="o", label=name)
    middle.set(xlabel="epoch", title="test part", ylim=(0, 1.2 * max(max(history[name]) for name in names)))
    middle.legend()
    with tg.no_grad():
        guessed, truth = judge.predict().numpy(), judge.truth.numpy()
    if judge.targets is None:
        bins = np.linspace(guessed.min(), guessed.max(), 60)
        right.hist([guessed[truth < 0.5], guessed[truth > 0.5]], bins, label=["genuine", "fraud"], histtype="step")
        right.axvline(0.5, color="black", linewidth=0.8, linestyle="--", label="threshold")
        right.set(xlabel="prediction", ylabel="payments", title="test part")
    else:
        right.plot(truth[:100], label="truth", color="black")
        right.plot(guessed[:100], label="prediction", color="C1")
        right.set(xlabel="step", ylabel="degrees", title="first sequences of the test part")
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
    p.add_argument("--gradcheck", action="store_true", help="hold all gradients against numeric ones instead")
    p.add_argument("--plot", action="store_true", help="write fraud_history.png")
    p.add_argument("--draw", action="store_true", help="write fraud_graph.svg, the graph of the model on two steps")
    p.add_argument("--out", type=Path, default=Path("."), help="folder for pictures")
    return p.parse_args(argv)


def run(options: argparse.Namespace) -> tuple[Judge, Parts, tg.History, dict[str, float]]:
    """Read, train and judge."""
    setting, regression = SETTINGS[options.model], options.model == "temperature"
    sequences = read(options.model, options.data, options.seed, options.synthetic)
    parts = prepare(sequences, options.seed, scale_targets=regression)
    print(f"{len(parts.train)} training and {len(parts.test)} test sequences", flush=True)
    tg.manual_seed(options.seed)
    model = Recurrent(setting)
    judge = Judge(model, parts.test, parts.targets if regression else None)
    lr, epochs = options.lr or setting.lr, options.epochs or setting.epochs
    history = train(model, parts, judge, lr, epochs, options.seed, options.jit)
    return judge, parts, history, {name: value for name, value in history.last().items() if name != "loss"}


def main(argv: Sequence[str] | None = None) -> None:
    """Train, report, and whatever the flags ask for."""
    options = parse(argv)
    if options.gradcheck:
        print(check_gradients(options))
        return
    judge, parts, history, found = run(options)
    if not history.evaluated:
        sys.exit(f"{history.stopped}: there is nothing to report")
    print(report(found, history))
    if options.plot:
        plot(judge, history, options.out / "fraud_history.png")
    if options.draw:
        steps = tg.tensor(parts.test.x[0][:2]).unsqueeze(0)
        tg.draw(judge.model, steps).render(options.out / "fraud_graph", format="svg")


if __name__ == "__main__":
    try:
        main()
    except (tg.errors.TinygradError, OSError) as error:
        sys.exit(f"error: {error}")
