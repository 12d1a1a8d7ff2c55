"""Digits: which of ten is a handwritten one? A convolutional network on pictures of 8 x 8 grey values.

    python examples/digits.py                  scikit-learn's 1797 digits; no network is needed
    python examples/digits.py --plot           also the digits that were named wrong, and the first layer's filters
    python examples/digits.py --save d.npz     train, and keep the model of the first run

A convolution on the pictures, one on their halves, dropout, and AdamW on batches of 32, whose rate falls to nothing in
a half wave. Labels are smoothed by a tenth. Each run has a seed, and with it a split of its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import callbacks, data, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.support.extras import require

sys.path.insert(0, str(Path(__file__).parent))
import common

SHOWN = 40  # wrong digits in a picture, at most


@dataclass(frozen=True)
class Digits:
    """Training and test part: pictures (N, 1, 8, 8) from 0 to 1, labels (N,) 0..9."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


@dataclass(frozen=True)
class Run:
    """A trained model, what it was trained and is judged on, and how training went."""

    model: nn.Module
    digits: Digits
    history: tg.History


def read() -> tuple[np.ndarray, np.ndarray]:
    """1797 digits: scikit-learn's own copy, which lies among its files; to import all of it takes half a second."""
    found = find_spec("sklearn") or require("sklearn", "data")
    table = np.loadtxt(Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz", np.float32, delimiter=",")
    return table[:, :-1].reshape(-1, 1, 8, 8) / 16, table[:, -1].astype(np.int64)


def split(x: np.ndarray, y: np.ndarray, seed: int) -> Digits:
    """80/20, every digit in its share."""
    train, test = data.split_indices(len(x), (0.8, 0.2), seed=seed, stratify=y)
    return Digits(x[train], y[train], x[test], y[test])


def build() -> nn.Sequential:
    """The model, logits of the ten digits."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(512, 10),
    )  # fmt: skip


def train(model: nn.Module, digits: Digits, options: argparse.Namespace) -> tg.History:
    """AdamW with a falling rate; the loss of every epoch."""
    opt = optim.AdamW(model.parameters(), lr=options.lr)
    falling = callbacks.Schedule(optim.lr_scheduler.CosineAnnealingLR(opt, max(options.epochs, 1)))

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y, label_smoothing=0.1)
        loss.backward()
        opt.step()
        return loss

    model.train()
    history = common.fit(step, (digits.x, digits.y), options, batch_size=32, callbacks=[falling])
    model.eval()
    return history


def run(x: np.ndarray, y: np.ndarray, options: argparse.Namespace) -> Run:
    """Split, build and train, all with the seed of the options."""
    digits = split(x, y, options.seed)
    tg.manual_seed(options.seed)
    model = build()
    return Run(model, digits, train(model, digits, options))


def check_gradients(x: np.ndarray, y: np.ndarray, options: argparse.Namespace) -> str:
    """All weights of a new model, without dropout, against numeric derivatives, on 2 pictures."""
    tg.manual_seed(options.seed)
    model, pictures, labels = build().double().eval(), tg.tensor(x[:2].astype(np.float64)), tg.tensor(y[:2])
    return common.gradcheck(lambda: F.cross_entropy(model(pictures), labels))


def named(model: nn.Module, x: np.ndarray) -> np.ndarray:
    """The digit (N,) that each picture is taken for."""
    with tg.no_grad():
        return model(tg.tensor(x)).argmax(1).numpy()


def accuracy(model: nn.Module, digits: Digits) -> float:
    """Share of the test part's pictures that are named right."""
    return float((named(model, digits.test_x) == digits.test_y).mean())


def wrong(runs: Sequence[Run]) -> list[tuple[np.ndarray, int, int]]:
    """The test pictures (8, 8) of all runs that were named wrong, what they show, and what they were taken for."""
    found = []
    for one in runs:
        guess = named(one.model, one.digits.test_x)
        x, y = one.digits.test_x, one.digits.test_y
        found += [(x[k, 0], int(y[k]), int(guess[k])) for k in np.flatnonzero(guess != y)]
    return found


def report(runs: Sequence[Run]) -> str:
    """The text about the trained models."""
    digits, scores = runs[0].digits, [accuracy(run.model, run.digits) for run in runs]
    mistakes: dict[str, int] = {}
    for _, truth, guess in wrong(runs):
        mistakes[f"{truth} taken for {guess}"] = mistakes.get(f"{truth} taken for {guess}", 0) + 1
    often = sorted(mistakes.items(), key=lambda pair: -pair[1])[:5]
    return "\n".join([
        f"{len(digits.y)} digits to train and {len(digits.test_y)} to test, split anew in each run",
        "",
        *common.curve([run.history for run in runs], {"loss": "loss"}),
        "",
        f"{sum(mistakes.values())} of {len(runs) * len(digits.test_y)} named wrong: "
        + ", ".join(f"{what} ({count})" for what, count in often),
        f"test accuracy {common.spread(scores, 4)} over {len(runs)} seed{'s' * (len(runs) > 1)}"
        f" (lowest {min(scores):.4f}, highest {max(scores):.4f})",
    ])  # fmt: skip


def plot_wrong(runs: Sequence[Run], path: Path) -> None:
    """The digits that were named wrong, beside what they were taken for."""
    found = wrong(runs)[:SHOWN]
    figure, axes = _tiles(len(found), "digits named wrong: what they show, and what they were taken for")
    for side, (picture, truth, guess) in zip(axes, found, strict=False):
        side.imshow(picture, cmap="gray_r", vmin=0, vmax=1)
        side.set_title(f"{truth}, not {guess}", fontsize=8)
    common.write_figure(figure, path)


def plot_filters(model: nn.Sequential, path: Path) -> None:
    """The kernels of the first layer: red adds, blue takes away."""
    kernels = model[0].weight.detach().numpy()[:, 0]  # type: ignore[union-attr]
    most = float(np.abs(kernels).max())
    figure, axes = _tiles(len(kernels), "filters of the first layer: red adds, blue takes away")
    for number, (side, kernel) in enumerate(zip(axes, kernels, strict=False)):
        side.imshow(kernel, cmap="RdBu_r", vmin=-most, vmax=most)
        side.set_title(f"{number}", fontsize=8)
    common.write_figure(figure, path)


def _tiles(count: int, title: str) -> tuple[object, list]:
    """A figure of so many small pictures without axes."""
    columns = 8
    rows = max(1, -(-count // columns))
    figure = require("matplotlib.figure", "ui").Figure(figsize=(columns, 1.25 * rows + 0.5), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for side in axes:
        side.axis("off")
    figure.suptitle(title, fontsize=10)
    return figure, axes


def save(path: Path, runs: Sequence[Run], x: np.ndarray, y: np.ndarray, options: argparse.Namespace) -> None:
    """The first run's model, and the test accuracy of all runs."""
    scores = [accuracy(run.model, run.digits) for run in runs]
    kept = {"seed": options.seed, "scores": scores, "data": common.fingerprint(x, y)}
    common.save(path, "digits", runs[0].model, runs[0].history, **kept)


def load(path: Path, x: np.ndarray, y: np.ndarray) -> str:
    """What a saved model is worth on the digits it was tested on."""
    saved = common.load(path, "digits")
    model = build().eval()
    model.load_state_dict(saved["model"])
    same = saved["data"] == common.fingerprint(x, y)
    return common.judged(path, saved, "accuracy", accuracy(model, split(x, y, saved["seed"])), same)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = common.parser(__doc__, epochs=12, lr=0.005)
    p.add_argument("--plot", action="store_true", help="write digits_wrong.png and digits_filters.png")
    p.add_argument("--draw", action="store_true", help="write digits_graph.svg, the graph of the model")
    return p.parse_args(argv, argparse.Namespace(predict=None))


def main(argv: Sequence[str] | None = None) -> None:
    """Train and report, or load; then whatever the flags ask for."""
    options = parse(argv)
    common.check(options)
    x, y = read()
    if options.gradcheck:
        print(check_gradients(x, y, options))
        return
    if options.load:
        print(load(options.load, x, y))
    else:
        runs = common.repeat(options, lambda seed: run(x, y, common.with_seed(options, seed)))
        if options.save:
            save(options.save, runs, x, y, options)
        if options.plot:
            plot_wrong(runs, options.out / "digits_wrong.png")
            plot_filters(runs[0].model, options.out / "digits_filters.png")
        print(report(runs))
        print(common.times([run.history for run in runs]))
    if options.draw:
        common.draw(build().eval(), tg.zeros(1, 1, 8, 8), options.out / "digits_graph.svg")


if __name__ == "__main__":
    common.start(main)
