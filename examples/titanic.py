"""Who survived the Titanic? Logistic regression on seven features, from the file to the report.

    python examples/titanic.py --data titanic.csv
    python examples/titanic.py --kfold 5                              cross-validation instead
    python examples/titanic.py --sweep                                1000 splits at four learning rates instead
    python examples/titanic.py --save titanic.npz                     keep the model of the first run
    python examples/titanic.py --load titanic.npz --predict 3 female 22 7.25     class, sex, age, fare

Without --data the list is downloaded once; without a network, passengers are generated. Each run
splits them anew, 60/20/20, each part with its share of survivors. What fills in and scales comes
from the training part alone; `--paper` does as the article: the parts in the order of the file,
statistics of all rows. The curve shows the mean absolute error, but the step that is taken is the
gradient of binary cross-entropy: docs/tutorials/titanic.md says why that is not the same.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import data, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.data.fetch import TITANIC, cached_download

sys.path.insert(0, str(Path(__file__).parent))
import common

COLUMNS = {"Survived": float, "Pclass": int, "Sex": str, "Age": float, "Fare": float}
ASKED = {name: kind for name, kind in COLUMNS.items() if name != "Survived"}
FALLBACK = {"Age": 29.7, "Fare": 32.2}  # the article's means, for a training part where nobody's is known
PARTS = (0.6, 0.2, 0.2)
OPTIMIZERS = {"sgd": optim.SGD, "adam": optim.Adam, "rmsprop": optim.RMSprop}
RATES = (0.01, 0.1, 0.3, 1.0)
GRID = {"lr": RATES, "l2": (0.0, 0.001, 0.01)}
CURVE = {
    "train_mae": "train MAE", "validation_mae": "validation MAE",
    "train_loss": "train loss", "validation_loss": "validation loss",
}  # fmt: skip


@dataclass(frozen=True)
class Features:
    """How passengers become numbers: all that was learnt from the training rows, and nothing else.

    Age and log fare, with the mean where one is missing; sex and class, a column of 0 and 1 for each value, all of them
    0 for a value that was not there in training; each column divided by its largest. Then products, where wanted.
    """

    imputer: data.MeanImputer
    encoders: tuple[data.OneHotEncoder, ...]
    scaler: data.MaxAbsScaler
    degree: int
    interactions: bool
    kept: tuple[str, ...]

    @classmethod
    def fit(cls, table: Any, rows: Sequence[int], degree: int = 1, interactions: bool = False) -> Features:
        """Learn from these rows of a table."""
        imputer = data.MeanImputer.fit(_numbers(table)[rows], FALLBACK, fallback=FALLBACK)
        encoders = [
            data.OneHotEncoder.fit([values[row] for row in rows], name, unknown="zeros")
            for name in ("Sex", "Pclass")
            for values in [list(table[name])]
        ]
        plain = cls(imputer, tuple(encoders), data.MaxAbsScaler.fit([[1.0]]), degree, interactions, ())
        x, names = plain.columns(table)
        scaler = data.MaxAbsScaler.fit(x[rows], names)
        scaled = cls(imputer, tuple(encoders), scaler, degree, interactions, ())
        x, names = scaled.products(scaler.transform(x), names)
        varied = x[rows].std(axis=0) > 0  # a product of two columns of one code is 0 everywhere
        kept = tuple(name for name, keep in zip(names, varied, strict=True) if keep)
        return cls(imputer, tuple(encoders), scaler, degree, interactions, kept)

    def columns(self, table: Any) -> tuple[np.ndarray, tuple[str, ...]]:
        """The features before scaling, and their names."""
        numbers = self.imputer.transform(_numbers(table))
        numbers[:, 1] = np.log1p(numbers[:, 1])
        codes = [encoder.transform(list(table[encoder.name])) for encoder in self.encoders]
        return np.hstack([numbers, *codes]), ("Age", "LogFare", *itertools.chain(*(e.names for e in self.encoders)))

    def products(self, x: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
        """With products of features, where they are wanted."""
        if self.degree <= 1 and not self.interactions:
            return x, names
        degree = max(2, self.degree)
        return data.polynomial_features(x, names, degree=degree, interaction_only=self.degree <= 1)

    def transform(self, table: Any) -> np.ndarray:
        """The features (N, F) of a table, float32."""
        x, names = self.columns(table)
        x, names = self.products(self.scaler.transform(x), names)
        return x[:, [names.index(name) for name in self.kept]].astype(np.float32)


def _numbers(table: Any) -> np.ndarray:
    """Age and fare (N, 2), NaN where one is missing."""
    return np.array([list(table[name]) for name in FALLBACK], np.float64).T


@dataclass(frozen=True)
class Part:
    """Passengers, ready for the model: features (N, F) and labels (N, 1), float32."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Titanic:
    """Training, validation and test part, and how their features were made."""

    train: Part
    validation: Part
    test: Part
    features: Features

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features."""
        return self.features.kept


@dataclass(frozen=True)
class Run:
    """A trained model, its passengers, and how training went."""

    model: nn.Module
    parts: Titanic
    history: tg.History


def read(path: str | None, seed: int = 0) -> Any:
    """The passengers: from a file, else downloaded once, else (without a network) generated ones."""
    try:
        return data.read_csv(path or cached_download(*TITANIC), dtype=COLUMNS)
    except tg.errors.DataError:
        if path is not None:
            raise
    print("no network: these are synthetic passengers, who survive by sex and class as in the real list",
          file=sys.stderr)
    return data.synthetic.titanic(seed=seed)


def split(survived: np.ndarray, options: argparse.Namespace) -> tuple[np.ndarray, ...]:
    """The rows of the three parts: by the seed, or in the order of the file (`--paper`)."""
    if options.paper:
        return data.split_indices(len(survived), PARTS, shuffle=False)
    return data.split_indices(len(survived), PARTS, seed=options.seed, stratify=survived[:, 0])


def prepare(table: Any, options: argparse.Namespace, parts: Sequence[Sequence[int]] | None = None) -> Titanic:
    """Split, unless the parts are given, and compute the features."""
    survived = data.to_matrix(table, ["Survived"], np.float32)
    cuts = [list(part) for part in parts or split(survived, options)]
    rows = list(range(table.height)) if options.paper else cuts[0]
    features = Features.fit(table, rows, options.polynomial, options.interactions)
    x = features.transform(table)
    train, validation, test = (Part(x[part], survived[part]) for part in cuts)
    return Titanic(train, validation, test, features)


def build(width: int, hidden: Sequence[int] = ()) -> nn.Sequential:
    """The model: logits of survival. Without hidden layers it is logistic regression."""
    sizes = (width, *hidden, 1)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def steps(model: nn.Module, options: argparse.Namespace) -> Callable[[tg.Tensor, tg.Tensor], dict[str, tg.Tensor]]:
    """Gradient descent on binary cross-entropy: the step of one model, and of thousands."""
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
        return {"train_mae": (logits.sigmoid() - y).abs().mean(), "train_loss": loss}

    return step


def judge(model: nn.Module, x: tg.Tensor, y: tg.Tensor) -> dict[str, tg.Tensor]:
    """Scores of the validation part."""
    logits = model(x)
    return {
        "validation_mae": (logits.sigmoid() - y).abs().mean(),
        "validation_loss": F.binary_cross_entropy_with_logits(logits, y),
        "validation_accuracy": tg.metrics.accuracy(logits.sigmoid(), y),
    }


def train(model: nn.Module, parts: Titanic, options: argparse.Namespace) -> tg.History:
    """Train by `steps`; error and cross-entropy of two parts after every epoch."""
    step = steps(model, options)
    x, y = tg.tensor(parts.validation.x), tg.tensor(parts.validation.y)

    def scores() -> dict[str, tg.Tensor]:
        return judge(model, x, y)

    batches = {"batch_size": options.batch_size, "shuffle": options.batch_size is not None}
    return common.fit(step, (parts.train.x, parts.train.y), options, evaluate=scores, **batches)


def run(table: Any, options: argparse.Namespace, parts: Sequence[Sequence[int]] | None = None) -> Run:
    """Split, build and train, all with the seed of the options."""
    titanic = prepare(table, options, parts)
    tg.manual_seed(options.seed)
    model = build(len(titanic.names), options.hidden)
    return Run(model, titanic, train(model, titanic, options))


def check_gradients(table: Any, options: argparse.Namespace) -> str:
    """All weights of a new model against numeric derivatives, on 50 passengers."""
    parts = prepare(table, options)
    tg.manual_seed(options.seed)
    model = build(parts.train.x.shape[1], options.hidden).double()
    x, y = (tg.tensor(rows[:50].astype(np.float64)) for rows in (parts.train.x, parts.train.y))
    return common.gradcheck(lambda: F.binary_cross_entropy_with_logits(model(x), y))


def probabilities(model: nn.Module, x: np.ndarray) -> np.ndarray:
    """Chance of survival, shape (N,)."""
    with tg.no_grad():
        return model(tg.tensor(x)).sigmoid().reshape(-1).numpy()


def accuracy(model: nn.Module, part: Part) -> float:
    """Share of passengers of whom the model says right whether they survived."""
    return float(tg.metrics.accuracy(probabilities(model, part.x), part.y))


def figures(run: Run) -> dict[str, float]:
    """What a run is worth."""
    parts = {"train": run.parts.train, "validation": run.parts.validation, "test": run.parts.test}
    found = {f"{name} accuracy": accuracy(run.model, part) for name, part in parts.items()}
    error = np.abs(probabilities(run.model, run.parts.test.x) - run.parts.test.y[:, 0]).mean()
    return {**found, "test MAE": float(error)}


def missing(table: Any, features: Features) -> list[str]:
    """What is not known of the passengers, and what stands in for it."""
    means = dict(zip(FALLBACK, features.imputer.mean, strict=True))
    lines = [f"{'missing':>10}{'passengers':>12}{'share':>8}  filled in with"]
    for name in table.columns:
        count = table[name].null_count()
        if not count and name not in COLUMNS:
            continue
        instead = f"{means[name]:.1f}, the mean of the training part" if name in means else "no category"
        instead = instead if name in COLUMNS else "it is not used"
        lines.append(f"{name:>10}{count:12d}{count / table.height:8.1%}  {instead if count else '-'}")
    return lines


def report(table: Any, runs: Sequence[Run]) -> str:
    """The text about the trained models."""
    parts, names = runs[0].parts, runs[0].parts.names
    sizes = [len(part.y) for part in (parts.train, parts.validation, parts.test)]
    lines = [
        f"{sum(sizes)} passengers: {sizes[0]} train, {sizes[1]} validation, {sizes[2]} test; {len(names)} features",
        *missing(table, parts.features),
        "",
        *common.curve([run.history for run in runs], CURVE),
        "",
        *common.table([figures(run) for run in runs]),
    ]
    if len(runs[0].model) == 1 and len({run.parts.names for run in runs}) == 1:
        lines += ["", "weights of the scaled features"]
        weights = np.array([[*run.model[0].weight.tolist()[0], run.model[0].bias.item()] for run in runs])
        width = max(map(len, names))
        lines += [f"{name:>{max(width, 10)}} {common.spread(w, 2):>15}"
                  for name, w in zip((*names, "(bias)"), weights.T, strict=True)]
    lines += ["", "five passengers of the first test part"]
    for p, y in zip(probabilities(runs[0].model, parts.test.x[:5]), parts.test.y[:5, 0], strict=True):
        lines.append(f"  {p:6.1%} -> {'survived' if p > 0.5 else 'died':8}  truth: {'survived' if y else 'died'}")
    scores = [accuracy(run.model, run.parts.test) for run in runs]
    lines += ["", f"test accuracy {common.spread(scores)} over {len(runs)} seed{'s' * (len(runs) > 1)}"]
    return "\n".join(lines)


def per_class(runs: Sequence[Run]) -> list[str]:
    """Precision, recall and F1 of both classes on the test parts."""
    def scores(run: Run) -> dict[str, float]:
        guessed = (probabilities(run.model, run.parts.test.x) > 0.5).astype(np.int64)
        truth, found = run.parts.test.y[:, 0].astype(np.int64), {}
        for name, label in (("died", 0), ("survived", 1)):
            pair = (guessed == label).astype(np.int64), (truth == label).astype(np.int64)
            for metric in ("precision", "recall", "f1"):
                found[f"{name}: {metric}"] = getattr(tg.metrics, metric)(*pair).item()
        return found

    return common.table([scores(run) for run in runs])


def cross_validate(table: Any, options: argparse.Namespace) -> str:
    """Each of k models is tested on the fold it has not seen; every fold has its share of survivors."""
    survived = table["Survived"].to_numpy()
    found = []
    for rest, fold in data.kfold(table.height, options.kfold, seed=options.seed, stratify=survived):
        train, validation = data.split_indices(len(rest), (0.75, 0.25), seed=options.seed, stratify=survived[rest])
        found.append(figures(common.complete(run(table, options, (rest[train], rest[validation], fold)))))
    score = common.spread(scores["test accuracy"] for scores in found)
    return "\n".join([*common.table(found), "", f"{len(found)}-fold accuracy: {score}"])


def grid_search(table: Any, options: argparse.Namespace) -> str:
    """Learning rates, L2 penalties and numbers of epochs by the validation part's cross-entropy; only the best settings
    see the test parts. A run records every epoch, so that one run judges several numbers of epochs.
    """
    epochs = sorted({max(1, options.epochs // 4), options.epochs, 4 * options.epochs})
    seeds, found = common.seeds(options), []
    for lr, l2 in itertools.product(*GRID.values()):
        settings = {"lr": lr, "l2": l2, "epochs": epochs[-1]}
        one = [common.complete(run(table, common.with_seed(options, seed, **settings))).history for seed in seeds]
        for count in epochs:
            loss, score = (
                [history[name][count - 1] for history in one] for name in ("validation_loss", "validation_accuracy")
            )
            found.append((float(np.mean(loss)), loss, score, {**settings, "epochs": count}))
    found.sort(key=lambda row: row[0])
    lines = [f"{len(found)} settings, {common.over(one, 'seeds')}"]
    lines.append(f"{'lr':>6}{'l2':>8}{'epochs':>8}{'validation loss':>20}{'validation accuracy':>22}")
    for _, loss, score, setting in found:
        row = f"{setting['lr']:6g}{setting['l2']:8g}{setting['epochs']:8d}"
        lines.append(row + f"{common.spread(loss, 5):>20}{common.spread(score):>22}")
    best = found[0][-1]
    again = [common.complete(run(table, common.with_seed(options, seed, **best))) for seed in seeds]
    scores = [accuracy(each.model, each.parts.test) for each in again]
    lines += ["", f"best by validation loss: lr {best['lr']:g}, l2 {best['l2']:g}, {best['epochs']} epochs"]
    lines.append(f"its test accuracy {common.spread(scores)} over {len(scores)} seed{'s' * (len(scores) > 1)}")
    return "\n".join(lines)


def sweep(table: Any, options: argparse.Namespace) -> str:
    """Many splits of the passengers at several learning rates: a model for each, all in one run. The rate is chosen by
    the validation parts; only its models see the test parts.
    """
    splits = [prepare(table, common.with_seed(options, options.seed + k)) for k in range(options.sweep)]
    if len({one.names for one in splits}) > 1:
        got = "features that differ from split to split"
        raise tg.errors.ConfigError(tg.errors.message("--sweep", got, "the same ones", "more passengers, no products"))
    tg.manual_seed(options.seed)
    model = build(len(splits[0].names), options.hidden)
    step = steps(model, options)
    parts = [part for one in splits for part in (one.train, one.validation)]
    count, judged = (len(part.y) for part in parts[:2])
    found = tg.sweep(
        tg.jit(step) if options.jit else step,
        (np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])),
        options.epochs,
        options.batch_size,
        options.batch_size is not None,
        lambda x, y: judge(model, x, y),
        max(1, options.epochs // 20),
        options.seed,
        sys.stderr.isatty(),
        by=np.repeat(np.arange(len(splits)), count + judged),
        folds=[(np.arange(count), np.arange(count, count + judged))],
        init=model.reset_parameters,
        grid={"lr": RATES},
    )
    if found.interrupted:
        raise KeyboardInterrupt
    if options.plot:
        path = options.out / "titanic_sweep.png"
        found.plot("validation_loss", path=path)
        print(f"wrote {path}")
    losses = {lr: found["validation_loss"][found["lr"] == lr] for lr in RATES}
    lines = [f"{len(found)} models: {len(splits)} splits at each learning rate", ""]
    lines += [f"validation loss, {common.over(splits, 'splits')}"]
    lines += ["epoch" + "".join(f"{f'lr {lr:g}':>18}" for lr in RATES)]
    for place in range(1 - len(found.evaluated) % 2, len(found.evaluated), 2):
        cells = "".join(f"{common.spread(loss[:, place], 4):>18}" for loss in losses.values())
        lines.append(f"{found.evaluated[place]:5d}{cells}")
    best, second = sorted(RATES, key=lambda lr: losses[lr][:, -1].mean())[:2]
    gain, scores = losses[second][:, -1] - losses[best][:, -1], []
    for k in np.flatnonzero(found["lr"] == best).tolist():
        found.load(k)
        scores.append(accuracy(model, splits[k % len(splits)].test))
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    lines += ["", f"lr {best:g} against lr {second:g}, on the same splits: lower by {gain.mean():.5f} with a standard"]
    lines += [f"error of {error:.5f}, and in {np.mean(gain > 0):.0%} of them"]
    lines += [f"test accuracy with lr {best:g}: {common.spread(scores)} over {len(scores)} splits"]
    lines += [f"time: {len(found)} models of {options.epochs} epochs in {found.metadata['seconds']:.2f} s"]
    return "\n".join(lines)


def plot_boundary(parts: Titanic, options: argparse.Namespace, path: Path) -> None:
    """The decision boundary of a model of two features, trained with the same settings, with the test passengers."""
    unknown = [name for name in options.features if name not in parts.names]
    if unknown:
        known = ", ".join(parts.names)
        raise tg.errors.DataError(tg.errors.message("boundary", f"the feature {unknown[0]!r}", f"two of {known}"))
    columns = [parts.names.index(name) for name in options.features]
    train_part, validation, test = (Part(p.x[:, columns], p.y) for p in (parts.train, parts.validation, parts.test))
    tg.manual_seed(options.seed)
    model = build(2, options.hidden)
    train(model, Titanic(train_part, validation, test, parts.features), options)
    spans = [(float(test.x[:, k].min()), float(np.ptp(test.x[:, k])) or 1.0) for k in (0, 1)]
    ends = [np.linspace(low - 0.05 * span, low + 1.05 * span, 101, dtype=np.float32) for low, span in spans]
    grid = np.stack([axis.reshape(-1) for axis in np.meshgrid(*ends)], axis=1)
    chance = probabilities(model, grid).reshape(101, 101)
    figure, (axes,) = common.subplots(1, width=6)
    shades = axes.contourf(*ends, chance, levels=np.linspace(0, 1, 21), cmap="RdBu", alpha=0.8)
    if chance.min() < 0.5 < chance.max():
        axes.contour(*ends, chance, levels=[0.5], colors="black")
    for label, marker, name in ((0, "x", "died"), (1, "o", "survived")):
        chosen = test.y[:, 0] == label
        axes.scatter(test.x[chosen, 0], test.x[chosen, 1], marker=marker, s=18, c="black", alpha=0.6, label=name)
    axes.set(xlabel=f"{options.features[0]} (scaled)", ylabel=f"{options.features[1]} (scaled)")
    axes.set_title(f"Boundary at 50%, passengers of the test part of seed {options.seed}")
    axes.legend()
    figure.colorbar(shades, ax=axes, label="chance of survival")
    common.write_figure(figure, path)


def predict(model: nn.Module, features: Features, passengers: dict[str, list[Any]]) -> str:
    """A line for each passenger."""
    chances = probabilities(model, features.transform(passengers))
    lines = [f"{'row':>5}{'chance of survival':>20}  predicted"]
    lines += [f"{k:5d}{p:20.1%}  {'survived' if p > 0.5 else 'died'}" for k, p in enumerate(chances, 1)]
    return "\n".join(lines)


def save(path: Path, runs: Sequence[Run], table: Any, options: argparse.Namespace) -> None:
    """The first run's model with all that makes its features, and the test accuracy of all runs."""
    first, scores = runs[0], [accuracy(run.model, run.parts.test) for run in runs]
    kept = {name: getattr(options, name) for name in ("seed", "hidden", "paper")}
    common.save(
        path, "titanic", first.model, first.history, features=vars(first.parts.features), options=kept,
        scores=scores, data=common.fingerprint(_numbers(table), table["Survived"].to_numpy()),
    )  # fmt: skip


def load(path: Path, table: Any) -> tuple[nn.Module, Titanic, str]:
    """A saved model, passengers, and what it is worth: on those it was tested on, or on all of another list."""
    saved = common.load(path, "titanic")
    features = Features(**saved["features"])
    model = build(len(features.kept), saved["options"]["hidden"])
    model.load_state_dict(saved["model"])
    same = saved["data"] == common.fingerprint(_numbers(table), table["Survived"].to_numpy())
    x, survived = features.transform(table), data.to_matrix(table, ["Survived"], np.float32)
    cuts = split(survived, argparse.Namespace(**saved["options"])) if same else [np.arange(len(x))] * 3
    train, validation, test = (Part(x[part], survived[part]) for part in cuts)
    text = common.judged(path, saved, "accuracy", accuracy(model, test), same)
    return model, Titanic(train, validation, test, features), text


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = common.parser(__doc__, epochs=1000, lr="0.3, of adam and rmsprop 0.01")
    p.add_argument("--data", metavar="CSV", help="the passenger list (default: download it once)")
    p.add_argument("--predict", nargs="+", metavar="X", help="a CSV file, or class, sex, age and fare; ? is unknown")
    p.add_argument("--kfold", type=common.whole(2), metavar="K", help="cross-validate instead")
    p.add_argument("--grid", action="store_true", help="search learning rate, L2 penalty and epochs instead")
    p.add_argument("--sweep", type=common.whole(2), nargs="?", const=1000, metavar="SPLITS",
                   help="train on so many splits (1000) at four rates instead; --plot loss writes titanic_sweep.png")
    p.add_argument("--classes", action="store_true", help="also precision, recall and F1 of both classes")
    p.add_argument("--paper", action="store_true", help="split and statistics of the article")
    p.add_argument("--plot", choices=["loss", "boundary"], help="write titanic_loss.png or titanic_boundary.png")
    pair = ["Age", "LogFare"]
    p.add_argument("--features", nargs=2, default=pair, metavar="NAME", help="of the boundary (default: Age LogFare)")
    p.add_argument("--draw", action="store_true", help="write titanic_graph.svg, the graph of the model")
    model = p.add_argument_group("model")
    model.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd", help="default: sgd")
    model.add_argument("--batch-size", type=common.whole(1), metavar="N", help="shuffled batches (default: all rows)")
    model.add_argument(
        "--hidden", type=common.whole(1), nargs="*", default=[], metavar="N", help="sizes of hidden layers"
    )
    model.add_argument("--l1", type=common.amount, default=0.0, help="weight of the L1 penalty")
    model.add_argument("--l2", type=common.amount, default=0.0, help="weight decay")
    model.add_argument("--interactions", action="store_true", help="add products of two features")
    model.add_argument("--polynomial", type=common.whole(1), default=1, metavar="DEGREE", help="add all products")
    options = p.parse_args(argv)
    if options.lr is None:
        options.lr = 0.3 if options.optimizer == "sgd" else 0.01
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Train and report, or load, cross-validate, search; then whatever the flags ask for."""
    options = parse(argv)
    common.check(options)
    if options.epochs == 0:
        common.refuse(options, "with --epochs 0, which tries nothing", "grid", "sweep")
    if instead := [name for name in ("kfold", "sweep", "grid") if getattr(options, name)]:
        others = ["save", "load", "predict", "draw", "report", "classes", "gradcheck", *instead[1:]]
        others.append("paper" if instead == ["sweep"] and options.plot != "boundary" else "plot")
        common.refuse(options, "with --kfold, --grid or --sweep, which train other models", *others)
        table = read(options.data, options.seed)
        print({"kfold": cross_validate, "sweep": sweep, "grid": grid_search}[instead[0]](table, options))
        return
    passengers = common.given(options.predict, ASKED)
    table = read(options.data, options.seed)
    if options.gradcheck:
        print(check_gradients(table, options))
        return
    if options.load:
        model, parts, text = load(options.load, table)
        print(text)
    else:
        runs = common.repeat(options, lambda seed: run(table, common.with_seed(options, seed)))
        model, parts, histories = runs[0].model, runs[0].parts, [run.history for run in runs]
        if options.save:
            save(options.save, runs, table, options)
        if options.plot == "loss":
            losses, errors = ["train_loss", "validation_loss"], ["train_mae", "validation_mae"]
            panels = {"cross-entropy": losses, "mean absolute error": errors}
            common.plot_curves(histories, panels, options.out / "titanic_loss.png")
        print(report(table, runs))
        if options.classes:
            print("\n".join(["", "on the test parts", *per_class(runs)]))
        print(common.times(histories))
    if options.predict:
        print(predict(model, parts.features, passengers))
    if options.plot == "boundary":
        plot_boundary(parts, options, options.out / "titanic_boundary.png")
    if options.draw:
        common.draw(model, tg.zeros(1, len(parts.names)), options.out / "titanic_graph.svg")


if __name__ == "__main__":
    common.start(main)
