"""What the examples share: their flags, runs over several seeds, models in files, and a quiet end.

One run proves little: a split or the first weights may be lucky. So each example trains once per seed (`repeat`) and
gives every figure as mean ± standard deviation over these runs (`spread`, `table`, `curve`, `plot_curves`).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn.errors import ConfigError, DataError, message
from tinygrad_nn.support.extras import require

REPORTED = 64  # samples that a page shows
SNAPSHOTS = 40  # states of a model that a page can choose from

# ---- the command line


def whole(least: int) -> Callable[[str], int]:
    """The type of a flag: a whole number that is at least so large."""

    def read(text: str) -> int:
        with contextlib.suppress(ValueError):
            if (value := int(text)) >= least:
                return value
        raise argparse.ArgumentTypeError(f"got {text!r}; expected a whole number, at least {least}")

    return read


def amount(text: str) -> float:
    """The type of a flag: a number that is at least 0."""
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)) and value >= 0:
            return value
    raise argparse.ArgumentTypeError(f"got {text!r}; expected a number, at least 0")


def parser(text: str | None, *, epochs: int | str, lr: float | str, seed: int = 42) -> argparse.ArgumentParser:
    """The flags that every example has. A default that is text is the example's own affair."""
    p = words(text)
    training = p.add_argument_group("training")
    own = {"default": None if isinstance(epochs, str) else epochs}
    training.add_argument("--epochs", type=whole(0), **own, help=f"0 judges the first weights (default: {epochs})")
    own = {"default": None if isinstance(lr, str) else lr}
    training.add_argument("--lr", type=amount, **own, help=f"learning rate (default: {lr})")
    training.add_argument("--seed", type=whole(0), default=seed, help=f"of the first run (default: {seed})")
    training.add_argument(
        "--runs", type=whole(1), default=5, metavar="N", help="train N times, with the next seeds (default: 5)"
    )
    training.add_argument(
        "--jit", action=argparse.BooleanOptionalAction, default=True, help="compile the training (default: yes)"
    )
    training.add_argument("--gradcheck", action="store_true", help="hold all gradients against numeric ones instead")
    files = p.add_argument_group("files")
    either = files.add_mutually_exclusive_group()
    either.add_argument("--save", type=Path, metavar="FILE", help="keep the model of the first run, with its scaler")
    either.add_argument("--load", type=Path, metavar="FILE", help="judge a saved model instead of training")
    files.add_argument("--report", type=Path, metavar="FILE", help="a page (HTML) that shows the first run")
    files.add_argument("--out", type=Path, default=Path("."), metavar="FOLDER", help="for pictures (default: here)")
    return p


def words(text: str | None) -> argparse.ArgumentParser:
    """The command line of an example: its docstring is the help."""
    return argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)


def start(main: Callable[[], None]) -> None:
    """Run an example as a program: a mistake is one line, and `| head` and Ctrl-C end it without one."""
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough: what is left goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (tg.errors.TinygradError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


# ---- runs and their spread


def seeds(options: argparse.Namespace) -> range:
    """One for each run."""
    return range(options.seed, options.seed + options.runs)


def repeat(options: argparse.Namespace, run: Callable[[int], Any]) -> list[Any]:
    """`run(seed)` for each seed; what it returns has a `history`. After Ctrl-C, the runs that are complete."""
    runs: list[Any] = []
    for seed in seeds(options):
        runs.append(run(seed))
        stopped = runs[-1].history.stopped
        if stopped:
            if len(runs) > 1:
                runs.pop()
            elif not runs[0].history.epochs:
                raise KeyboardInterrupt
            print(f"{stopped}; {len(runs)} of {options.runs} runs are reported", file=sys.stderr)
            break
    return runs


def complete(run: Any) -> Any:
    """The run, unless Ctrl-C has ended it: then all ends."""
    if run.history.stopped:
        raise KeyboardInterrupt
    return run


def fit(step: Callable[..., Any], samples: Any, options: argparse.Namespace, **settings: Any) -> tg.History:
    """`tg.fit` with the settings of the command line; for 0 epochs an empty history. With `--report` its page."""
    history = tg.History()
    step = tg.jit(step) if options.jit else step
    if options.epochs:
        kept = max(1, options.epochs // SNAPSHOTS) if options.report else None
        shown = sys.stderr.isatty()
        seen = {"seed": options.seed, "progress": shown, "snapshots": kept}
        history = tg.fit(step, samples, options.epochs, **seen, **settings)
    if options.report and not history.stopped:
        tg.report(step, *first_rows(samples), history=history, path=options.report)
        print(f"wrote {options.report}")
    return history


def first_rows(columns: Sequence[Any]) -> list[np.ndarray]:
    """A batch of the first samples; of sequences those as long as the first one.

    >>> [one.shape for one in first_rows([np.zeros((100, 4)), np.zeros(100)])]
    [(64, 4), (64,)]
    """
    rows = [[np.asarray(column[k]) for column in columns] for k in range(min(REPORTED, len(columns[0])))]
    alike = [row for row in rows if [one.shape for one in row] == [one.shape for one in rows[0]]]
    return [np.stack(column) for column in zip(*alike, strict=True)]


def compiled(options: argparse.Namespace) -> Callable[[Callable[..., tg.Tensor]], Callable[..., tg.Tensor]]:
    """Decorates what is to be compiled, unless the command line says no."""
    return tg.jit if options.jit else lambda function: function


def gradcheck(loss: Callable[[], tg.Tensor]) -> str:
    """What is said of the gradients of a loss, in float64, to second order: as eager and as compiled code."""
    return f"eager: {tg.testing.gradcheck(loss)}\ncompiled: {tg.testing.gradcheck(tg.jit(loss))}"


def with_seed(options: argparse.Namespace, seed: int, **changes: Any) -> argparse.Namespace:
    """The same options for one of the runs, of which the first one alone has a report."""
    report = options.report if seed == options.seed else None
    return argparse.Namespace(**{**vars(options), "seed": seed, "report": report, **changes})


def over(runs: Sequence[Any], each: str = "runs") -> str:
    """What figures are, as a heading."""
    return f"mean ± standard deviation over {len(runs)} {each}" if len(runs) > 1 else "of 1 run: there is no spread"


def spread(values: Iterable[float], digits: int = 3) -> str:
    """Mean and standard deviation of the figures of several runs.

    >>> spread([0.9, 1.0]), spread([0.9])
    ('0.950 ± 0.071', '0.900')
    """
    found = np.array(list(values), np.float64)
    mean = f"{found.mean():.{digits}f}"
    with np.errstate(invalid="ignore"):  # training may have ended at infinity
        return f"{mean} ± {found.std(ddof=1):.{digits}f}" if len(found) > 1 else mean


def table(reports: Sequence[Mapping[str, float]], digits: int = 3) -> list[str]:
    """A line per figure: mean, spread, lowest and highest of the runs' reports. Counts have one digit."""
    width = max(map(len, reports[0]))
    lines = [f"{'':{width}}  {'mean ± deviation' if len(reports) > 1 else '1 run':>18}"]
    lines[0] += f"{'lowest':>10}{'highest':>10}" if len(reports) > 1 else ""
    for name in reports[0]:
        values = [report[name] for report in reports]
        places = digits if max(map(abs, values)) < 1000 else 1
        line = f"{name:>{width}}  {spread(values, places):>18}"
        lines.append(line + (f"{min(values):10.{places}f}{max(values):10.{places}f}" if len(values) > 1 else ""))
    return lines


def curve(histories: Sequence[tg.History], columns: Mapping[str, str], digits: int = 4, rows: int = 10) -> list[str]:
    """A line for the first recorded epoch and for every tenth part: mean ± deviation of the columns, with headings."""
    count = min(history.epochs for history in histories)
    if not count:
        return ["0 epochs: the first weights, untrained"]
    columns = {name: columns[name] for name in columns if all(name in history for history in histories)}
    epochs = [epoch for epoch in histories[0].evaluated or range(1, count + 1) if epoch <= count]
    every = max(1, len(epochs) // rows)
    places = sorted({0, *range(every - 1, len(epochs), every), len(epochs) - 1})
    wide = 2 * digits + 10
    often = "every one" if len(epochs) == count else f"every {epochs[0]}th"
    lines = [f"{over(histories)}; {often} of {count} epochs is recorded"]
    lines.append("epoch" + "".join(f"{heading:>{wide}}" for heading in columns.values()))
    for place in places:
        epoch = epochs[place]
        cells = [spread((_after(h, name, epoch) for h in histories), digits) for name in columns]
        lines.append(f"{epoch:5d}" + "".join(f"{cell:>{wide}}" for cell in cells))
    return lines


def _after(history: tg.History, name: str, epoch: int) -> float:
    """A column after one of the epochs, whether it has an entry per epoch or per evaluation."""
    column = history[name]
    return float(column[epoch - 1] if len(column) == history.epochs else column[history.evaluated.index(epoch)])


def times(histories: Sequence[tg.History]) -> str:
    """How long training took, and how much of that was compiling."""
    trained = [history for history in histories if history.epochs]
    if not trained:
        return "time: nothing was trained"
    natively = [history for history in trained if "compile" in history.metadata]
    total = sum(history.metadata["seconds"] for history in trained)
    what = f"{len(trained)} run{'s' * (len(trained) > 1)} of {trained[0].epochs} epochs"
    if len(natively) < len(trained):
        return f"time: {what} in {total:.2f} s, eagerly"
    making = sum(compiling(history) for history in trained)
    return f"time: {what} in {total - making:.3f} s natively, and {making:.2f} s to trace and compile"


def compiling(history: tg.History) -> float:
    """The seconds of a native run that went into making its code."""
    return sum(history.metadata["compile"][stage] for stage in ("trace", "lower", "machine"))


def both_ways(native: tg.History, eager: tg.History) -> list[str]:
    """One training run natively and eagerly, side by side: seconds, and how far the recorded numbers are apart."""
    if "compile" not in native.metadata:
        return ["time: this run was not compiled (docs/env_vars.md: TGNN_JIT), so there is nothing to compare"]
    if native.epochs != eager.epochs:  # Ctrl-C
        return []
    making, eagerly = compiling(native), eager.metadata["seconds"]
    natively = native.metadata["seconds"] - making
    apart = ", ".join(f"{name} {np.abs(native[name] - eager[name]).max():.1g}" for name in native)
    return [
        f"time: one run natively {natively:8.4f} s, and {making:.4f} s to trace and compile",
        f"time: one run eagerly  {eagerly:8.4f} s, {eagerly / natively:.3g} times as long",
        f"largest difference between the two in {native.epochs} epochs: {apart}",
    ]


# ---- models in files


def save(path: Path, example: str, model: tg.nn.Module, history: tg.History, **more: Any) -> None:
    """One file with the weights, what prepares the data, where they come from, and the `scores` of all runs."""
    tg.save({"example": example, "model": model.state_dict(), "run": history.metadata, **more}, path)
    print(f"wrote {path}")


def load(path: Path, example: str) -> dict[str, Any]:
    """What `save` wrote for this example; DataError for anything else."""
    saved = tg.load(path)
    kind = saved.get("example") if isinstance(saved, dict) else None
    if kind != example:
        got = f"{path}, " + (f"a model of {kind}.py" if isinstance(kind, str) else "which no example saved")
        raise DataError(message("load", got, f"a file written by {example}.py --save"))
    return dict(saved)


def judged(path: Path, saved: Mapping[str, Any], figure: str, value: float, same: bool, other: str = "all") -> str:
    """What a saved model is worth on the data at hand, beside what was found when it was saved."""
    part = "the test part of its run" if same else f"{other} of this data, which is not what it was trained with"
    count = len(saved["scores"])
    when = f"when it was saved: {spread(saved['scores'])} over {count} seed{'s' * (count > 1)}"
    return f"{path}: {figure} {value:.3f} on {part}\n({when})"


def fingerprint(*arrays: np.ndarray) -> str:
    """Equal for equal data: a saved model's test part has to be that of the data it was trained on."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def check(options: argparse.Namespace) -> None:
    """Find out before training whether what it leaves can be written; the folder of pictures is made."""
    if options.load is not None:
        refuse(options, "with --load, which trains nothing", "plot", "report")
    if options.gradcheck:
        refuse(options, "with --gradcheck, which trains nothing", "save", "load", "predict", "plot", "draw", "report")
    if options.epochs == 0:
        refuse(options, "with --epochs 0, which records nothing", "plot")
    for flag, path in (("--save", options.save), ("--report", options.report)):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise ConfigError(message(flag, str(path), "a file in a folder that exists"))
    options.out.mkdir(parents=True, exist_ok=True)


def refuse(options: argparse.Namespace, why: str, *flags: str) -> None:
    """A flag that would be ignored is an error."""
    for flag in flags:
        if getattr(options, flag):
            raise ConfigError(message(f"--{flag}", f"it {why}", "one of the two"))


# ---- rows to predict


def given(values: Sequence[str] | None, kinds: Mapping[str, type]) -> dict[str, list[Any]]:
    """The columns of a CSV file, or of the one row that was typed, in this order; `?` is a missing value."""
    if values is None:
        return {name: [] for name in kinds}
    if len(values) == 1 and (len(kinds) > 1 or values[0].endswith(".csv")):
        frame = tg.data.read_csv(values[0], list(kinds), dtype=dict(kinds))
        return {name: frame[name].to_list() for name in kinds}
    if len(values) != len(kinds):
        expected = f"a CSV file, or {len(kinds)}: {', '.join(kinds)}" if len(kinds) < 10 else "a CSV file"
        raise DataError(message("--predict", f"{len(values)} values", expected))
    return {name: [_typed(name, kind, text)] for (name, kind), text in zip(kinds.items(), values, strict=True)}


def _typed(name: str, kind: type, text: str) -> Any:
    if text == "?":
        return None
    try:
        return kind(text)
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise DataError(message("--predict", f"{text!r} for {name}", expected)) from None


def numbers(values: Sequence[str]) -> np.ndarray:
    """What was typed, as an array."""
    return np.array([_typed(f"value {k}", float, text) for k, text in enumerate(values, 1)], np.float64)


# ---- pictures


def plot_curves(histories: Sequence[tg.History], panels: Mapping[str, Sequence[str]], path: Path) -> None:
    """A panel per group of columns: the mean over the runs as a line, the standard deviation as a band around it."""
    figure, axes = subplots(len(panels))
    for side, (title, names) in zip(axes, panels.items(), strict=True):
        draw_curves(side, histories, names)
        side.set(xlabel="epoch", title=f"{title}, {over(histories)}" if len(panels) == 1 else title)
    if len(panels) > 1:
        figure.suptitle(over(histories))
    write_figure(figure, path)


def draw_curves(axes: Any, histories: Sequence[tg.History], names: Sequence[str]) -> None:
    """The columns of several runs over their epochs."""
    for k, name in enumerate(names):
        length = min(len(history[name]) for history in histories)
        runs = np.array([history[name][:length] for history in histories])
        per_epoch = len(histories[0][name]) == histories[0].epochs
        x = range(1, length + 1) if per_epoch else histories[0].evaluated[:length]
        mean, deviation = runs.mean(axis=0), runs.std(axis=0, ddof=1) if len(runs) > 1 else 0.0
        axes.plot(x, mean, label=name.replace("_", " "), color=f"C{k}", marker="." if length < 15 else "")
        axes.fill_between(x, mean - deviation, mean + deviation, color=f"C{k}", alpha=0.2, linewidth=0)
    axes.grid(alpha=0.3)
    axes.legend()


def subplots(count: int, width: float = 5.0) -> tuple[Any, Sequence[Any]]:
    """A figure with so many panels beside each other."""
    figure = require("matplotlib.figure", "ui").Figure(figsize=(width * count, 4), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]


def write_figure(figure: Any, path: Path) -> None:
    """Save a picture and say where it is."""
    figure.savefig(path, dpi=120)
    print(f"wrote {path}")


def draw(model: tg.nn.Module, x: tg.Tensor, path: Path) -> None:
    """The graph of a model as an SVG, and where it is."""
    print(f"wrote {tg.draw(model, x).render(path)}")
