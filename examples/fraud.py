"""Card fraud and temperatures with recurrent networks, one step of SGD per sequence.

    python examples/fraud.py --data creditcard.csv   RNN 29-10-1 on sequences of ten payments
    python examples/fraud.py --synthetic             the same on 56,389 generated sequences
    python examples/fraud.py --model small           RNN 3-5-1 with ReLU on fifteen generated cards
    python examples/fraud.py --model small --data steps.csv     or on a file: name,t,x1..x3,y1
    python examples/fraud.py --model temperature     RNN 6-32-1: six days to the next, in degrees

Features are scaled to [0, 1] by the training part. Payments are split by sequence, so that both
parts have their share of those with a fraud; temperatures in time: the last fifth is the test.
Each run has a seed, and with it a split, first weights and, where data are generated, data of its
own. The learning rates are larger than in the recipes these models come from (0.001, 1e-6, 1e-4),
and the epochs fewer: docs/tutorials/fraud.md.
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
from tinygrad_nn.errors import ConfigError, DataError, message

sys.path.insert(0, str(Path(__file__).parent))
import common

PAYMENT = (*(f"V{k}" for k in range(1, 29)), "Amount")
STEPS = 10  # of a sequence that is cut from a table
WINDOW = 6  # days that are seen
LOW = 0.2  # what a sigmoid is to give for the coldest day of the training part; it gets nowhere near 0
SYNTHETIC = {"epochs": 5, "sequences": 56_389}  # each epoch has 45,111 steps of SGD


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
    "kaggle": Setting(29, 10, "tanh", "linear", 0.01, 100),
    "small": Setting(3, 5, "relu", "linear", 0.01, 1000),
    "temperature": Setting(6, 32, "tanh", "sigmoid", 0.2, 1000),
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
            raise ConfigError(message("fraud", got, "--synthetic by itself"))
        return data.synthetic.payments(synthetic, seed=seed)
    if kind == "temperature":
        series = data.synthetic.temperature(seed=seed) if path is None else read_days(path)
        return data.cut(*data.sliding_windows(series, WINDOW), STEPS, drop_last=True)
    if path is None:
        if kind == "kaggle":
            expected = "--data with a creditcard table (V1..V28, Amount, Class), or --synthetic"
            raise DataError(message("fraud", "no data", expected))
        return data.synthetic.fraud(seed=seed)
    if kind == "small":
        sequences = data.sequences.from_csv(path)
    else:
        table = data.read_csv(path, [*PAYMENT, "Class"], dtype=float)
        sequences = data.cut(data.to_matrix(table, PAYMENT), data.to_matrix(table, ["Class"]), STEPS, drop_last=True)
    x, y = sequences.stacked()
    if x.shape[1] != SETTINGS[kind].features:
        got = f"{x.shape[1]} features in {path}"
        raise DataError(message("fraud", got, f"{SETTINGS[kind].features} for --model {kind}"))
    if y.shape[1] != 1 or not np.isin(y, (0, 1)).all():
        raise DataError(message("fraud", f"{y.shape[1]} labels per step, {y.min():g} to {y.max():g}, in {path}",
                                "one label: 0, or 1 for fraud"))  # fmt: skip
    return sequences


def read_days(path: str) -> np.ndarray:
    """A temperature for each day, in the order of the file."""
    return data.to_matrix(data.read_csv(path, ["temperature"], dtype=float))[:, 0]


@dataclass(frozen=True)
class Parts:
    """Scaled training and test sequences, and the scalers of the features and of the targets."""

    train: Sequences
    test: Sequences
    features: data.MinMaxScaler
    targets: data.MinMaxScaler


def split(sequences: Sequences, seed: int, regression: bool) -> tuple[Sequences, Sequences]:
    """80/20: a regression in time, a classification with a share of the sequences that hold a fraud on both sides."""
    if regression:
        return sequences.split((0.8, 0.2), shuffle=False)
    stolen = np.array([bool(labels.any()) for labels in sequences.y])
    if stolen.sum() < 3:
        raise DataError(message("fraud", f"{stolen.sum()} sequences with a fraud", "three or more, for both parts"))
    return sequences.split((0.8, 0.2), seed=seed, stratify=stolen if (~stolen).sum() >= 3 else None)


def prepare(sequences: Sequences, seed: int, scale_targets: bool) -> Parts:
    """Split, and scale by the training part: features to [0, 1], targets of a regression to [0.2, 0.8]."""
    train, test = split(sequences, seed, scale_targets)
    x, y = train.stacked()
    features, targets = data.MinMaxScaler.fit(x), data.MinMaxScaler.fit(y, low=LOW, high=1 - LOW)
    train, test = (scaled(part, features, targets if scale_targets else None) for part in (train, test))
    return Parts(train, test, features, targets)


def scaled(part: Sequences, features: data.MinMaxScaler, targets: data.MinMaxScaler | None) -> Sequences:
    """Sequences as the model sees them, in float32."""
    return part.map(
        x=lambda v: features.transform(v).astype(np.float32),
        y=lambda v: (v if targets is None else targets.transform(v)).astype(np.float32),
    )


class Judge:
    """What a model is worth on some sequences, in tensors from end to end: `fit` compiles it into the run.

    All sequences are one tensor (N, T, F), the shorter ones filled up with zeros at the end. An RNN reads forwards, so
    the zeros change nothing before them, and `real` picks the steps that are some among all N * T.
    """

    def __init__(self, model: nn.Module, part: Sequences, targets: data.MinMaxScaler | None) -> None:
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
        return values if self.targets is None else self.targets.inverse(values.unsqueeze(-1)).squeeze(-1)

    def predict(self) -> tg.Tensor:
        """The model's values for all steps of all sequences, one after another."""
        return self.in_own_unit(self.model(self.x).reshape(-1).index_select(0, self.real))

    def scores(self) -> dict[str, tg.Tensor]:
        """Figures of a classification at threshold 0.5, or errors in the target's own unit."""
        guessed = self.predict()
        if self.targets is None:
            return tg.metrics.binary_scores(guessed, self.truth)
        return tg.metrics.regression_scores(guessed, self.truth)

    def figures(self) -> dict[str, float]:
        """The scores as numbers."""
        with tg.no_grad():
            return {name: value.item() for name, value in self.scores().items()}


@dataclass(frozen=True)
class Run:
    """A trained model with its judge, the sequences, and how training went."""

    judge: Judge
    parts: Parts
    history: tg.History


def train(model: nn.Module, parts: Parts, judge: Judge, options: argparse.Namespace) -> tg.History:
    """One update per sequence, in random order; the test part is judged a hundred times."""
    opt = optim.SGD(model.parameters(), lr=options.lr)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss

    looks = {"evaluate": judge.scores, "eval_every": max(1, options.epochs // 100)}
    return common.fit(step, (parts.train.x, parts.train.y), options, batch_size=1, **looks)


def run(sequences: Sequences | None, options: argparse.Namespace) -> Run:
    """Split, build and train, all with the seed of the options; without sequences they are generated with it too."""
    regression = options.model == "temperature"
    if sequences is None:
        sequences = read(options.model, None, options.seed, options.synthetic)
    parts = prepare(sequences, options.seed, scale_targets=regression)
    tg.manual_seed(options.seed)
    model = Recurrent(SETTINGS[options.model])
    judge = Judge(model, parts.test, parts.targets if regression else None)
    return Run(judge, parts, train(model, parts, judge, options))


def check_gradients(options: argparse.Namespace) -> str:
    """All weights of a new model against numeric derivatives, on two sequences."""
    sequences = read(options.model, options.data, options.seed, options.synthetic)
    train = prepare(sequences, options.seed, scale_targets=options.model == "temperature").train
    tg.manual_seed(options.seed)
    model = Recurrent(SETTINGS[options.model]).double()
    pairs = [tuple(tg.tensor(v.astype(np.float64)[None]) for v in (train.x[k], train.y[k])) for k in (0, 1)]
    return common.gradcheck(lambda: sum(F.mse_loss(model(x), y) for x, y in pairs))


def naive(run: Run) -> dict[str, float]:
    """What the scores are without a model: nobody is a thief, or tomorrow is as today."""
    truth = run.judge.truth.numpy()
    if run.judge.targets is None:
        return tg.metrics.binary_report(np.zeros_like(truth), truth.astype(np.int64))
    today = run.parts.features.inverse(np.concatenate(run.parts.test.x))[:, -1]
    return tg.metrics.regression_report(today, truth)


def report(runs: Sequence[Run]) -> str:
    """The text about the trained models."""
    first, regression = runs[0], runs[0].judge.targets is not None
    title = "without a model: tomorrow is as today" if regression else "without a model: no payment is a fraud"
    shown = ("mae", "rmse", "r2") if regression else ("accuracy", "f1")
    curve = {"loss": "train loss", **{name: f"test {name}" for name in shown}}
    without = [{name: naive(run)[name] for name in shown} for run in runs]
    found = [run.judge.figures() for run in runs]
    unit = ", in degrees" if regression else ""
    return "\n".join([
        f"{len(first.parts.train)} training and {len(first.parts.test)} test sequences",
        "",
        *common.curve([run.history for run in runs], curve),
        "",
        title,
        *common.table(without),
        "",
        f"with the model, on the test part{unit}",
        *common.table(found),
        "",
        "test " + ", ".join(f"{name} {common.spread(scores[name] for scores in found)}" for name in shown)
        + f" over {len(runs)} seed{'s' * (len(runs) > 1)}",
    ])


def plot(runs: Sequence[Run], path: Path) -> None:
    """Loss and scores over the epochs, of all runs; predictions of the first run against the truth."""
    figure, (left, middle, right) = common.subplots(3)
    histories, judge = [run.history for run in runs], runs[0].judge
    common.draw_curves(left, histories, ["loss"])
    left.set(xlabel="epoch", ylabel="mean squared error", title="training part")
    common.draw_curves(middle, histories, ["mae", "rmse"] if judge.targets else ["accuracy", "f1"])
    middle.set(xlabel="epoch", title=f"test part, {common.over(runs)}", ylabel="degrees" if judge.targets else "")
    for axes in (left, middle):
        axes.set_ylim(bottom=0)
    with tg.no_grad():
        guessed, truth = judge.predict().numpy(), judge.truth.numpy()
    if judge.targets is None:
        bins = np.linspace(guessed.min(), guessed.max(), 60)
        right.hist([guessed[truth < 0.5], guessed[truth > 0.5]], bins, label=["genuine", "fraud"], histtype="step")
        right.axvline(0.5, color="black", linewidth=0.8, linestyle="--", label="threshold")
        right.set(xlabel="prediction", ylabel="payments", yscale="log", title="test part of the first run")
    else:
        right.plot(truth, label="truth", color="black")
        right.plot(guessed, label="prediction", color="C1")
        right.set(xlabel="day", ylabel="degrees", title="test part of the first run")
    right.legend()
    common.write_figure(figure, path)


def asked(kind: str, values: Sequence[str]) -> tuple[list[str], Sequences]:
    """The steps to predict, and a name for each."""
    if kind == "temperature":
        days = read_days(values[0]) if values[0].endswith(".csv") else common.numbers(values)
        if len(days) < WINDOW:
            raise DataError(message("--predict", f"{len(days)} days", f"{WINDOW} or more, or a CSV file"))
        x = np.lib.stride_tricks.sliding_window_view(days, WINDOW)
        return [f"day {k + WINDOW + 1}" for k in range(len(x))], data.cut(x, np.zeros(len(x)), len(x))
    if kind == "small" and values[0].endswith(".csv"):
        names = [f"x{k + 1}" for k in range(SETTINGS[kind].features)]
        steps = data.sequences.from_csv(values[0], features=names, targets=names[:1])
        lengths = zip(steps.names, map(len, steps.x), strict=True)
        return [f"{name}, step {t + 1}" for name, length in lengths for t in range(length)], steps
    names = PAYMENT if kind == "kaggle" else ("amount", "distance", "hours")
    columns = common.given(values, dict.fromkeys(names, float))
    x = np.array([columns[name] for name in names], np.float64).T
    return [f"payment {k + 1}" for k in range(len(x))], data.cut(x, np.zeros(len(x)), min(STEPS, len(x)))


def predict(judge: Judge, features: data.MinMaxScaler, names: Sequence[str], steps: Sequences) -> str:
    """A line for each step: the score of a payment and what it is taken for, or degrees."""
    own = Judge(judge.model, scaled(steps, features, None), judge.targets)
    with tg.no_grad():
        found = own.predict().numpy()
    width = max(map(len, names))
    if judge.targets is not None:
        return "\n".join(f"{name:>{width}}: {value:6.1f} degrees" for name, value in zip(names, found, strict=True))
    lines = [f"{'':{width}}   score  predicted"]
    return "\n".join(lines + [f"{name:>{width}}{value:8.3f}  {'fraud' if value > 0.5 else 'genuine'}"
                              for name, value in zip(names, found, strict=True)])


def save(path: Path, runs: Sequence[Run], options: argparse.Namespace) -> None:
    """The first run's model and scalers, and the accuracy (or R2) of all runs."""
    judge, parts, history = runs[0].judge, runs[0].parts, runs[0].history
    scores = [run.judge.figures()["r2" if judge.targets else "accuracy"] for run in runs]
    scalers = {"features": parts.features, "targets": parts.targets}
    kept = {"kind": options.model, "seed": options.seed, "scores": scores}
    common.save(path, "fraud", judge.model, history, **scalers, **kept, data=fingerprint(parts.test))


def fingerprint(part: Sequences) -> str:
    """Of scaled sequences."""
    return common.fingerprint(*part.stacked())


def load(path: Path, options: argparse.Namespace) -> tuple[Judge, data.MinMaxScaler, str]:
    """A saved model with its judge, the scaler of its features, and what it is worth on its test part, or on all of
    another file.
    """
    saved = common.load(path, "fraud")
    if saved["kind"] != options.model:
        got = f"--model {options.model} with {path}, a model of the kind {saved['kind']}"
        raise ConfigError(message("fraud", got, f"--model {saved['kind']}"))
    regression = options.model == "temperature"
    model = Recurrent(SETTINGS[options.model])
    model.load_state_dict(saved["model"])
    features, targets = saved["features"], saved["targets"]
    targets = targets if regression else None
    sequences = read(options.model, options.data, saved["seed"], options.synthetic)
    test = scaled(split(sequences, saved["seed"], regression)[1], features, targets)
    same = saved["data"] == fingerprint(test)
    judge = Judge(model, test if same else scaled(sequences, features, targets), targets)
    figure = "r2" if regression else "accuracy"
    return judge, features, common.judged(path, saved, figure, judge.figures()[figure], same)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = common.parser(__doc__, epochs="that of the model", lr="that of the model")
    p.add_argument("--data", metavar="CSV", help="payments, steps (name,t,x1..x3,y1), or days (temperature)")
    p.add_argument(
        "--synthetic", metavar="N", type=common.whole(15), nargs="?", const=SYNTHETIC["sequences"],
        help="N generated sequences of 10 payments (without N 56,389, as many as the real table has)",
    )
    p.add_argument("--model", choices=SETTINGS, default="kaggle", help="default: kaggle")
    p.add_argument("--predict", nargs="+", metavar="X", help="a CSV file, or the numbers of one step (of six days)")
    p.add_argument("--plot", action="store_true", help="write fraud_history.png")
    p.add_argument("--draw", action="store_true", help="write fraud_graph.svg, the graph of the model on two steps")
    options = p.parse_args(argv)
    setting = SETTINGS[options.model]
    if options.lr is None:
        options.lr = setting.lr
    if options.epochs is None:
        large = options.synthetic is not None and options.synthetic >= 10_000
        options.epochs = SYNTHETIC["epochs"] if large else setting.epochs
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Train and report, or load; then whatever the flags ask for."""
    options = parse(argv)
    common.check(options)
    wanted = asked(options.model, options.predict) if options.predict else None
    if options.gradcheck:
        print(check_gradients(options))
        return
    if options.load:
        judge, features, text = load(options.load, options)
        print(text)
    else:
        generated = options.data is None and (options.model != "kaggle" or options.synthetic is not None)
        sequences = None if generated else read(options.model, options.data, options.seed, options.synthetic)
        runs = common.repeat(options, lambda seed: run(sequences, common.with_seed(options, seed)))
        judge, features = runs[0].judge, runs[0].parts.features
        if options.save:
            save(options.save, runs, options)
        if options.plot:
            plot(runs, options.out / "fraud_history.png")
        print(report(runs))
        print(common.times([run.history for run in runs]))
    if wanted is not None:
        print(predict(judge, features, *wanted))
    if options.draw:
        common.draw(judge.model, tg.zeros(1, 2, SETTINGS[options.model].features), options.out / "fraud_graph.svg")


if __name__ == "__main__":
    common.start(main)
