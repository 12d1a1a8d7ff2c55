"""Who survived the Titanic? Logistic regression 7-1, from the CSV file to the report; more as flags.

    python examples/titanic.py --data titanic.csv

The curve that is printed is the mean absolute error; the step that is taken is the gradient of binary cross-entropy
(docs/tutorials/titanic.md shows the difference with gradcheck). Statistics for imputing and scaling come from the
training part only; `--paper` takes them from all rows.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import data, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.data.fetch import TITANIC, cached_download

COLUMNS = {"Survived": float, "Pclass": int, "Sex": str, "Age": float, "Fare": float}
PARTS = (0.6, 0.2, 0.2)
OPTIMIZERS = {"sgd": optim.SGD, "adam": optim.Adam, "rmsprop": optim.RMSprop}


@dataclass(frozen=True)
class Part:
    """Rows of the table, ready for the model: features (N, F) and labels (N, 1), float32."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Titanic:
    """Training, validation and test part, with the names of the features."""

    train: Part
    validation: Part
    test: Part
    names: tuple[str, ...]


def read(path: str | None, seed: int = 0) -> Any:
    """The passenger table: from a file, else downloaded once, else (offline) the article's synthetic generator."""
    if path is not None:
        return data.read_csv(path, list(COLUMNS), dtype=COLUMNS)
    try:
        return data.read_csv(cached_download(*TITANIC), list(COLUMNS), dtype=COLUMNS)
    except tg.errors.DataError:
        print(
            "No network: using synthetic passengers (survival by sex and class as in the real list).", file=sys.stderr
        )
        return data.synthetic.titanic(seed=seed)


def features(table: Any, rows: Sequence[int], expand: argparse.Namespace) -> tuple[np.ndarray, tuple[str, ...]]:
    """Age, log fare, one-hot sex and class, each scaled to at most 1; statistics from `rows` only."""
    numbers = data.to_matrix(table, ["Age", "Fare"], missing="nan")
    numbers = data.MeanImputer.fit(numbers[rows], ("Age", "Fare")).transform(numbers)
    numbers[:, 1] = np.log1p(numbers[:, 1])
    columns, names = [numbers], ["Age", "LogFare"]
    for name in ("Sex", "Pclass"):
        values = table[name].to_list()
        encoder = data.OneHotEncoder.fit(values, name)
        columns.append(encoder.transform(values))
        names += encoder.names
    x = np.hstack(columns)
    x = data.MaxAbsScaler.fit(x[rows]).transform(x)
    if expand.polynomial > 1 or expand.interactions:
        degree = max(2, expand.polynomial)
        x, expanded = data.polynomial_features(x, names, degree=degree, interaction_only=expand.polynomial <= 1)
        varied = x[rows].std(axis=0) > 0  # a product of two columns of one one-hot code is 0 everywhere
        x, names = x[:, varied], [name for name, keep in zip(expanded, varied, strict=True) if keep]
    return x.astype(np.float32), tuple(names)


def prepare(table: Any, options: argparse.Namespace, parts: Sequence[Sequence[int]] | None = None) -> Titanic:
    """Cut the table (in file order, 60/20/20) and compute the features."""
    cuts = parts or data.split_indices(table.height, PARTS, shuffle=False)
    rows = range(table.height) if options.paper else cuts[0]
    x, names = features(table, list(rows), options)
    y = data.to_matrix(table, ["Survived"], np.float32)
    train, validation, test = (Part(x[list(part)], y[list(part)]) for part in cuts)
    return Titanic(train, validation, test, names)


def build(width: int, hidden: Sequence[int] = ()) -> nn.Sequential:
    """The model: logits of survival. Without hidden layers it is logistic regression."""
    sizes = (width, *hidden, 1)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def train(model: nn.Module, parts: Titanic, options: argparse.Namespace) -> tg.History:
    """Gradient descent on binary cross-entropy; the history holds the mean absolute error and both cross-entropies."""
    opt = OPTIMIZERS[options.optimizer](model.parameters(), lr=options.lr, weight_decay=options.l2)

    def step(x: tg.Tensor, y: tg.Tensor) -> dict[str, tg.Tensor]:
        opt.zero_grad()
        logits = model(x)
        loss = F.binary_cross_entropy_with_logits(logits, y)
        penalized = loss
        if options.l1:
            penalized = loss + options.l1 * sum(p.abs().sum() for p in model.parameters())
        penalized.backward()
        opt.step()
        return {"mae": (logits.sigmoid() - y).abs().mean(), "train_loss": loss}

    vx, vy = tg.tensor(parts.validation.x), tg.tensor(parts.validation.y)

    def scores() -> dict[str, tg.Tensor]:
        return {"validation_loss": F.binary_cross_entropy_with_logits(model(vx), vy)}

    return tg.fit(
        tg.jit(step) if options.jit else step,
        (parts.train.x, parts.train.y),
        epochs=options.epochs,
        batch_size=options.batch_size,
        shuffle=options.batch_size is not None,
        evaluate=scores,
        seed=options.seed,
        progress=False,
    )


def check_gradients(options: argparse.Namespace) -> str:
    """All weights of a new model against numeric derivatives, on 50 passengers, to second order, eager and compiled."""
    parts = prepare(read(options.data, options.seed), options)
    tg.manual_seed(options.seed)
    model = build(len(parts.names), options.hidden).double()
    x, y = (tg.tensor(rows[:50].astype(np.float64)) for rows in (parts.train.x, parts.train.y))

    def loss() -> tg.Tensor:
        return F.binary_cross_entropy_with_logits(model(x), y)

    return f"eager: {tg.testing.gradcheck(loss)}\ncompiled: {tg.testing.gradcheck(tg.jit(loss))}"


def probabilities(model: nn.Module, x: np.ndarray) -> np.ndarray:
    """Chance of survival, shape (N,)."""
    with tg.no_grad():
        return model(tg.tensor(x)).sigmoid().reshape(-1).numpy()


def accuracy(model: nn.Module, part: Part) -> float:
    """Share of passengers of whom the model says right whether they survived."""
    return float(tg.metrics.accuracy(probabilities(model, part.x), part.y))


def report(model: nn.Module, parts: Titanic, history: tg.History) -> str:
    """The text a run prints."""
    rows, sizes = history.rows(), (len(parts.train.y), len(parts.validation.y), len(parts.test.y))
    lines = [
        f"{sum(sizes)} passengers: {sizes[0]} train, {sizes[1]} validation, {sizes[2]} test; "
        f"{len(parts.names)} features"
    ]
    lines.append("epoch     MAE   train loss   validation loss")
    line = "{epoch:5d}  {mae:.4f}       {train_loss:.4f}            {validation_loss:.4f}"
    lines += [line.format(**row) for row in rows if row["epoch"] == 1 or row["epoch"] % 10 == 0]
    lines.append(f"accuracy: train {accuracy(model, parts.train):.4f}, test {accuracy(model, parts.test):.4f}")
    lines.append("five passengers of the test part:")
    for p, y in zip(probabilities(model, parts.test.x[:5]), parts.test.y[:5, 0], strict=True):
        lines.append(f"  {p:6.1%} -> {'survived' if p > 0.5 else 'died':8}  truth: {'survived' if y else 'died'}")
    if len(model) == 1:
        lines.append("weights:")
        weights = [*zip(parts.names, model[0].weight.tolist()[0], strict=True), ("(bias)", model[0].bias.item())]
        lines += [f"  {name:>{max(map(len, parts.names))}} {weight:+.4f}" for name, weight in weights]
    return "\n".join(lines)


def cross_validate(table: Any, options: argparse.Namespace) -> list[float]:
    """Test accuracy of each of k models, each tested on the fold it has not seen."""
    found = []
    for rest, fold in data.kfold(table.height, options.kfold, seed=options.seed):
        cut = len(rest) * 3 // 4
        parts = prepare(table, options, (rest[:cut], rest[cut:], fold))
        tg.manual_seed(options.seed)
        model = build(len(parts.names), options.hidden)
        train(model, parts, options)
        found.append(accuracy(model, parts.test))
    return found


def grid_search(parts: Titanic, options: argparse.Namespace) -> list[tuple[float, dict[str, float]]]:
    """(validation accuracy, settings), best first, over learning rates and L2 penalties."""
    from sklearn.model_selection import ParameterGrid  # noqa: PLC0415  scikit-learn loads in seconds

    found = []
    for settings in ParameterGrid({"lr": [0.01, 0.1, 0.3, 1.0], "l2": [0.0, 1e-4, 1e-2]}):
        tg.manual_seed(options.seed)
        model = build(len(parts.names), options.hidden)
        train(model, parts, argparse.Namespace(**{**vars(options), **settings}))
        found.append((accuracy(model, parts.validation), settings))
    return sorted(found, key=lambda pair: -pair[0])


def full_report(model: nn.Module, part: Part) -> str:
    """scikit-learn's table of precision, recall and F1."""
    from sklearn.metrics import classification_report  # noqa: PLC0415

    guessed = probabilities(model, part.x) > 0.5
    return str(classification_report(part.y[:, 0], guessed, target_names=["died", "survived"], zero_division=0))


def plot_boundary(parts: Titanic, options: argparse.Namespace, path: Path) -> None:
    """The decision boundary of a model of two features, trained with the same settings, with the test passengers."""
    figure_module = __import__("matplotlib.figure", fromlist=["Figure"])
    unknown = [name for name in options.features if name not in parts.names]
    if unknown:
        known = ", ".join(parts.names)
        raise tg.errors.DataError(tg.errors.message("boundary", f"the feature {unknown[0]!r}", f"two of {known}"))
    columns = [parts.names.index(name) for name in options.features]
    train_part, validation, test = (Part(p.x[:, columns], p.y) for p in (parts.train, parts.validation, parts.test))
    pair = Titanic(train_part, validation, test, tuple(options.features))
    tg.manual_seed(options.seed)
    model = build(2, options.hidden)
    train(model, pair, options)
    ends = [np.linspace(0.0, float(test.x[:, k].max()) * 1.02 or 1.0, 101, dtype=np.float32) for k in (0, 1)]
    grid = np.stack([axis.reshape(-1) for axis in np.meshgrid(*ends)], axis=1)
    chance = probabilities(model, grid).reshape(101, 101)
    figure = figure_module.Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    shades = axes.contourf(*ends, chance, levels=np.linspace(0, 1, 21), cmap="RdBu", alpha=0.8)
    if chance.min() < 0.5 < chance.max():
        axes.contour(*ends, chance, levels=[0.5], colors="black")
    for label, marker, name in ((0, "x", "died"), (1, "o", "survived")):
        chosen = test.y[:, 0] == label
        axes.scatter(test.x[chosen, 0], test.x[chosen, 1], marker=marker, s=18, c="black", alpha=0.6, label=name)
    title = f"Chance of survival, boundary at 50%; accuracy {accuracy(model, test):.1%}"
    axes.set(xlabel=f"{options.features[0]} (scaled)", ylabel=f"{options.features[1]} (scaled)", title=title)
    axes.legend()
    figure.colorbar(shades, ax=axes)
    figure.savefig(path, dpi=120)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", metavar="CSV", help="the passenger list (default: download once)")
    p.add_argument("--epochs", type=int, default=100)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument(
        "--jit", action=argparse.BooleanOptionalAction, default=True, help="compile the training step (default: yes)"
    )
    p.add_argument("--lr", type=float, default=0.1)
    p.add_argument("--batch-size", type=int, help="mini-batches, shuffled (default: all rows at once)")
    p.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd")
    p.add_argument("--hidden", type=int, nargs="*", default=[], metavar="N", help="sizes of hidden layers")
    p.add_argument("--l1", type=float, default=0.0, help="weight of the L1 penalty")
    p.add_argument("--l2", type=float, default=0.0, help="weight decay")
    p.add_argument("--interactions", action="store_true", help="add products of two features")
    p.add_argument("--polynomial", type=int, default=1, metavar="DEGREE", help="add all products up to a degree")
    p.add_argument(
        "--paper", action="store_true", help="impute and scale with statistics of all rows, as the article does"
    )
    p.add_argument("--kfold", type=int, metavar="K", help="cross-validate instead")
    p.add_argument("--grid", action="store_true", help="search learning rate and L2 penalty instead")
    p.add_argument("--gradcheck", action="store_true", help="hold all gradients against numeric ones instead")
    p.add_argument("--report", action="store_true", help="precision, recall and F1 by scikit-learn")
    p.add_argument("--plot", choices=["loss", "boundary"], help="write titanic_loss.png or titanic_boundary.png")
    pair = ["LogFare", "Sex=female"]
    p.add_argument("--features", nargs=2, default=pair, metavar="NAME", help="the two of --plot boundary")
    p.add_argument("--draw", action="store_true", help="write titanic_graph.svg, the graph of the model")
    p.add_argument("--out", type=Path, default=Path("."), help="folder for pictures")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, report, and whatever the flags ask for."""
    options = parse(argv)
    if options.gradcheck:
        print(check_gradients(options))
        return
    table = read(options.data, options.seed)
    if options.kfold:
        found = cross_validate(table, options)
        print(f"{options.kfold}-fold accuracy: {np.mean(found):.4f} +- {np.std(found):.4f}")
        return
    parts = prepare(table, options)
    if options.grid:
        for score, settings in grid_search(parts, options):
            print(f"validation accuracy {score:.4f} with {settings}")
        return
    tg.manual_seed(options.seed)
    model = build(len(parts.names), options.hidden)
    history = train(model, parts, options)
    print(report(model, parts, history))
    if options.report:
        print(full_report(model, parts.test))
    if options.plot == "loss":
        history.plot("mae", "train_loss", "validation_loss", path=options.out / "titanic_loss.png")
    if options.plot == "boundary":
        plot_boundary(parts, options, options.out / "titanic_boundary.png")
    if options.draw:
        tg.draw(model, tg.tensor(parts.test.x[:1])).render(options.out / "titanic_graph", format="svg")


if __name__ == "__main__":
    try:
        main()
    except (tg.errors.TinygradError, OSError) as error:
        sys.exit(f"error: {error}")
