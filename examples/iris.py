"""Iris: 4-8-3 with ReLU and softmax, SGD 0.01, batches of 32, accuracy on both parts after every epoch.

python examples/iris.py --data iris.csv
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

COLUMNS = ("SepalLengthCm", "SepalWidthCm", "PetalLengthCm", "PetalWidthCm")
SPECIES = ("setosa", "versicolor", "virginica")


@dataclass(frozen=True)
class Iris:
    """Training and test part: features (N, 4) in cm, labels (N,) 0..2."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


def read(path: str | None) -> tuple[np.ndarray, np.ndarray]:
    """150 flowers: from a file, else scikit-learn's own copy."""
    if path is None:
        from sklearn.datasets import load_iris  # noqa: PLC0415  scikit-learn loads in seconds

        loaded = load_iris()
        return loaded.data.astype(np.float32), loaded.target.astype(np.int64)
    table = data.read_csv(path, [*COLUMNS, "Species"], dtype={**dict.fromkeys(COLUMNS, float), "Species": str})
    encoder = data.OneHotEncoder.fit(table["Species"].to_list(), "Species")
    labels = encoder.transform(table["Species"].to_list()).argmax(axis=1)
    return data.to_matrix(table, COLUMNS, np.float32), labels.astype(np.int64)


def split(x: np.ndarray, y: np.ndarray, seed: int) -> Iris:
    """80/20, every species in its share."""
    train, test = data.split_indices(len(x), (0.8, 0.2), seed=seed, stratify=y)
    return Iris(x[train], y[train], x[test], y[test])


def build() -> nn.Sequential:
    """The model, logits of the three species; all parameters uniform in [-0.5, 0.5)."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    for p in model.parameters():
        nn.init.uniform_(p, -0.5, 0.5)
    return model


def train(model: nn.Module, iris: Iris, epochs: int, seed: int, jit: bool = True) -> tg.History:
    """Stochastic gradient descent; accuracy on both parts after every epoch."""
    opt = optim.SGD(model.parameters(), lr=0.01)
    x, y, test_x, test_y = map(tg.tensor, (iris.x, iris.y, iris.test_x, iris.test_y))

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    def scores() -> dict[str, tg.Tensor]:
        return {
            "train_acc": tg.metrics.accuracy(model(x), y),
            "test_acc": tg.metrics.accuracy(model(test_x), test_y),
        }

    shown = sys.stderr.isatty()
    step = tg.jit(step) if jit else step
    return tg.fit(step, (iris.x, iris.y), epochs, batch_size=32, evaluate=scores, seed=seed, progress=shown)


def check_gradients(options: argparse.Namespace) -> str:
    """All weights of a new model against numeric derivatives, on 32 flowers, to second order, eager and compiled."""
    iris = split(*read(options.data), options.seed)
    tg.manual_seed(options.seed)
    model = build().double()
    x, y = tg.tensor(iris.x[:32].astype(np.float64)), tg.tensor(iris.y[:32])

    def loss() -> tg.Tensor:
        return F.cross_entropy(model(x), y)

    return f"eager: {tg.testing.gradcheck(loss)}\ncompiled: {tg.testing.gradcheck(tg.jit(loss))}"


def report(model: nn.Module, iris: Iris, history: tg.History) -> str:
    """Accuracies and the confusion matrix of the test part."""
    with tg.no_grad():
        table = tg.metrics.confusion(model(tg.tensor(iris.test_x)), tg.tensor(iris.test_y), num_classes=3)
    lines = ["epoch    loss   train   test"]
    rows = [row for row in history.rows() if row["epoch"] in (1, 10, 100, history.epochs) or row["epoch"] % 250 == 0]
    lines += ["{epoch:5d}  {loss:.4f}  {train_acc:.4f}  {test_acc:.4f}".format(**row) for row in rows]
    lines.append("confusion (rows: true, columns: predicted)")
    lines.append(" " * 12 + " ".join(f"{name:>10}" for name in SPECIES))
    counts = zip(SPECIES, table.tolist(), strict=True)
    lines += [f"{name:>12}" + " ".join(f"{n:10d}" for n in row) for name, row in counts]
    return "\n".join(lines)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", metavar="CSV", help="the flowers (default: scikit-learn's copy)")
    p.add_argument("--epochs", type=int, default=1000)
    p.add_argument("--seed", type=int, default=42)
    p.add_argument(
        "--jit", action=argparse.BooleanOptionalAction, default=True, help="compile the training step (default: yes)"
    )
    p.add_argument("--gradcheck", action="store_true", help="hold all gradients against numeric ones instead")
    p.add_argument("--plot", action="store_true", help="write iris_history.png")
    p.add_argument("--draw", action="store_true", help="write iris_graph.svg, the graph of the model")
    p.add_argument("--out", type=Path, default=Path("."), help="folder for pictures")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, report, and whatever the flags ask for."""
    options = parse(argv)
    if options.gradcheck:
        print(check_gradients(options))
        return
    iris = split(*read(options.data), options.seed)
    tg.manual_seed(options.seed)
    model = build()
    history = train(model, iris, options.epochs, options.seed, options.jit)
    print(report(model, iris, history))
    if options.plot:
        history.plot(path=options.out / "iris_history.png")
    if options.draw:
        tg.draw(model, tg.tensor(iris.test_x[:1])).render(options.out / "iris_graph", format="svg")


if __name__ == "__main__":
    try:
        main()
    except (tg.errors.TinygradError, OSError) as error:
        sys.exit(f"error: {error}")
