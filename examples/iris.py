"""Iris: which of three species is a flower? A 4-8-3 network, with accuracies after every epoch.

    python examples/iris.py                            scikit-learn's 150 flowers; no network is needed
    python examples/iris.py --data iris.csv            the same from a file
    python examples/iris.py --save iris.npz            train, and keep the model of the first run
    python examples/iris.py --load iris.npz --predict 5.1 3.5 1.4 0.2     lengths and widths, cm
    python examples/iris.py --report iris.html         a page that shows the model learn
    python examples/iris.py --load iris.npz --export c --cc               iris.c and iris.h, compiled and tested

ReLU and softmax, SGD with a learning rate of 0.01 on batches of 32. Lengths and widths are
standardised by mean and deviation of the training part. Each run has a seed, and with it a split
of its own. The last run is trained twice, natively and eagerly, to show that the numbers are the
same and the seconds are not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import data, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.errors import ConfigError, message
from tinygrad_nn.support.extras import require

sys.path.insert(0, str(Path(__file__).parent))
import common

COLUMNS = ("SepalLengthCm", "SepalWidthCm", "PetalLengthCm", "PetalWidthCm")
SPECIES = ("setosa", "versicolor", "virginica")
CURVE = {"loss": "loss", "train_accuracy": "train accuracy", "test_accuracy": "test accuracy"}


@dataclass(frozen=True)
class Iris:
    """Training and test part: standardised features (N, 4), labels (N,) 0..2, and the scaler."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    scaler: data.StandardScaler


@dataclass(frozen=True)
class Run:
    """A trained model, what it was trained and is judged on, and how training went."""

    model: nn.Module
    iris: Iris
    history: tg.History


def read(path: str | None) -> tuple[np.ndarray, np.ndarray]:
    """150 flowers, in cm: from a file, else scikit-learn's own copy."""
    if path is None:
        loaded = require("sklearn.datasets", "data").load_iris()
        return loaded.data.astype(np.float32), loaded.target.astype(np.int64)
    table = data.read_csv(path, [*COLUMNS, "Species"], dtype={**dict.fromkeys(COLUMNS, float), "Species": str})
    species = [name and name.removeprefix("Iris-") for name in table["Species"].to_list()]
    labels = data.OneHotEncoder(SPECIES, "Species").transform(species).argmax(axis=1)
    return data.to_matrix(table, COLUMNS, np.float32), labels.astype(np.int64)


def split(x: np.ndarray, y: np.ndarray, seed: int) -> Iris:
    """80/20, every species in its share; the scaler knows the training part only."""
    train, test = data.split_indices(len(x), (0.8, 0.2), seed=seed, stratify=y)
    scaler = data.StandardScaler.fit(x[train], COLUMNS)
    return Iris(scaler.transform(x[train]), y[train], scaler.transform(x[test]), y[test], scaler)


def build() -> nn.Sequential:
    """The model, logits of the three species; all parameters uniform in [-0.5, 0.5)."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    for p in model.parameters():
        nn.init.uniform_(p, -0.5, 0.5)
    return model


def train(model: nn.Module, iris: Iris, options: argparse.Namespace) -> tg.History:
    """Stochastic gradient descent; accuracy on both parts after every epoch."""
    opt = optim.SGD(model.parameters(), lr=options.lr)
    x, y, test_x, test_y = map(tg.tensor, (iris.x, iris.y, iris.test_x, iris.test_y))

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    def scores() -> dict[str, tg.Tensor]:
        return {
            "train_accuracy": tg.metrics.accuracy(model(x), y),
            "test_accuracy": tg.metrics.accuracy(model(test_x), test_y),
        }

    return common.fit(step, (iris.x, iris.y), options, batch_size=32, evaluate=scores)


def run(x: np.ndarray, y: np.ndarray, options: argparse.Namespace) -> Run:
    """Split, build and train, all with the seed of the options."""
    iris = split(x, y, options.seed)
    tg.manual_seed(options.seed)
    model = build()
    return Run(model, iris, train(model, iris, options))


def check_gradients(x: np.ndarray, y: np.ndarray, options: argparse.Namespace) -> str:
    """All weights of a new model against numeric derivatives, on 32 flowers."""
    iris = split(x, y, options.seed)
    tg.manual_seed(options.seed)
    model, flowers, species = build().double(), tg.tensor(iris.x[:32].astype(np.float64)), tg.tensor(iris.y[:32])
    return common.gradcheck(lambda: F.cross_entropy(model(flowers), species))


def accuracy(model: nn.Module, iris: Iris) -> float:
    """Share of the test part's flowers that are named right."""
    with tg.no_grad():
        return float(tg.metrics.accuracy(model(tg.tensor(iris.test_x)), tg.tensor(iris.test_y)))


def confusion(runs: Sequence[Run]) -> list[str]:
    """What the flowers of all test parts are taken for."""
    with tg.no_grad():
        pairs = [(run.model(tg.tensor(run.iris.test_x)), tg.tensor(run.iris.test_y)) for run in runs]
        counts = sum(tg.metrics.confusion(logits, truth, num_classes=3).numpy() for logits, truth in pairs)
    lines = ["test flowers of all runs (rows: true, columns: predicted)"]
    lines.append(" " * 12 + "".join(f"{name:>12}" for name in SPECIES))
    return lines + [f"{name:>12}" + "".join(f"{n:12d}" for n in row) for name, row in zip(SPECIES, counts, strict=True)]


def report(runs: Sequence[Run]) -> str:
    """The text about the trained models."""
    iris, scores = runs[0].iris, [accuracy(run.model, run.iris) for run in runs]
    return "\n".join([
        f"{len(iris.y)} flowers to train and {len(iris.test_y)} to test, split anew in each run",
        "",
        *common.curve([run.history for run in runs], CURVE),
        "",
        *confusion(runs),
        "",
        f"test accuracy {common.spread(scores)} over {len(runs)} seed{'s' * (len(runs) > 1)}"
        f" (lowest {min(scores):.3f}, highest {max(scores):.3f})",
    ])


def asked(values: Sequence[str] | None) -> np.ndarray:
    """The flowers (N, 4) to predict, in cm: of a file, or the one that was typed."""
    columns = common.given(values, dict.fromkeys(COLUMNS, float))
    return np.array([columns[name] for name in COLUMNS], np.float64).T


def predict(model: nn.Module, scaler: data.StandardScaler, x: np.ndarray) -> str:
    """A line for each flower: its species, and the probability of all three."""
    with tg.no_grad():
        found = model(tg.tensor(scaler.transform(x).astype(np.float32))).softmax(1).numpy()
    lines = [f"{'row':>5}  {'predicted':12}" + "".join(f"{name:>12}" for name in SPECIES)]
    for number, row in enumerate(found, 1):
        lines.append(f"{number:5d}  {SPECIES[row.argmax()]:12}" + "".join(f"{p:12.1%}" for p in row))
    return "\n".join(lines)


def save(path: Path, runs: Sequence[Run], x: np.ndarray, y: np.ndarray, options: argparse.Namespace) -> None:
    """The first run's model and scaler, and the test accuracy of all runs."""
    first, scores = runs[0], [accuracy(run.model, run.iris) for run in runs]
    kept = {"scaler": first.iris.scaler, "seed": options.seed, "scores": scores, "data": common.fingerprint(x, y)}
    common.save(path, "iris", first.model, first.history, **kept)


def load(path: Path, x: np.ndarray, y: np.ndarray) -> tuple[nn.Module, data.StandardScaler, str]:
    """A saved model, its scaler, and what it is worth: on the flowers it was tested on, or on all of another file."""
    saved = common.load(path, "iris")
    model, scaler = build(), saved["scaler"]
    model.load_state_dict(saved["model"])
    same = saved["data"] == common.fingerprint(x, y)
    found = accuracy(model, split(x, y, saved["seed"]) if same else Iris(x, y, scaler.transform(x), y, scaler))
    return model, scaler, common.judged(path, saved, "accuracy", found, same)


def export(model: nn.Module, scaler: data.StandardScaler, x: np.ndarray, options: argparse.Namespace) -> str:
    """The model with its scaler as C, from cm to probabilities; with `--cc` compiled, and its own test run."""
    whole = nn.Sequential(scaler, model, nn.Softmax(1)).eval()
    source = tg.export.c(whole, x[:1].astype(np.float32), path=options.out / "iris.c", name="iris")
    told = f"wrote {source} and {source.with_suffix('.h')}"
    if not options.cc:
        return told
    compiler, program = shutil.which(os.environ.get("CC", "cc")), source.with_suffix(".exe" if os.name == "nt" else "")
    if compiler is None:
        raise ConfigError(message("--cc", "no C compiler", "a program `cc`, or its name in CC", "apt install gcc"))
    for command, trouble in (
        ([compiler, "-std=c99", "-O2", "-DIRIS_MAIN", source, "-o", program], f"an error of {compiler}"),
        ([program.resolve()], f"other results from {program}"),
    ):
        if subprocess.run(command, check=False).returncode:
            raise ConfigError(message("--cc", trouble, "the results of Python"))
    return f"{told}; compiled to {program}, whose results are those of Python"


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = common.parser(__doc__, epochs=1000, lr=0.01)
    p.add_argument("--data", metavar="CSV", help="the flowers (default: scikit-learn's copy)")
    p.add_argument("--predict", nargs="+", metavar="X", help="a CSV file with the four columns, or four numbers")
    p.add_argument("--plot", action="store_true", help="write iris_history.png")
    p.add_argument("--draw", action="store_true", help="write iris_graph.svg, the graph of the model")
    p.add_argument("--export", choices=["c"], help="write the first run's model and its scaler as iris.c and iris.h")
    p.add_argument("--cc", action="store_true", help="with --export c: compile that, and run the test in it")
    options = p.parse_args(argv)
    if options.cc and not options.export:
        p.error("--cc compiles what --export c writes: give both")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Train and report, or load; then whatever the flags ask for."""
    options = parse(argv)
    common.check(options)
    flowers = asked(options.predict)
    x, y = read(options.data)
    if options.gradcheck:
        print(check_gradients(x, y, options))
        return
    if options.load:
        model, scaler, text = load(options.load, x, y)
        print(text)
    else:
        runs = common.repeat(options, lambda seed: run(x, y, common.with_seed(options, seed)))
        model, scaler, histories = runs[0].model, runs[0].iris.scaler, [run.history for run in runs]
        if options.save:
            save(options.save, runs, x, y, options)
        if options.plot:
            panels = {"loss of the training part": ["loss"], "accuracy": ["train_accuracy", "test_accuracy"]}
            common.plot_curves(histories, panels, options.out / "iris_history.png")
        print(report(runs))
        print(common.times(histories))
        if options.jit and options.epochs:
            eager = run(x, y, common.with_seed(options, options.seed + len(runs) - 1, jit=False, report=None)).history
            print("\n".join(common.both_ways(histories[-1], eager)))
    if options.export:
        print(export(model, scaler, x, options))
    if options.predict:
        print(predict(model, scaler, flowers))
    if options.draw:
        common.draw(model, tg.zeros(1, 4), options.out / "iris_graph.svg")


if __name__ == "__main__":
    common.start(main)
