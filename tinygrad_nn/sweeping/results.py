"""What a sweep left: of every model its columns, its state, and how it ended; means with their spread."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from ..errors import ConfigError, UnknownName, message, printable
from ..graph.graph import Array
from ..history import StrPath, direction
from ..nn import Module
from ..support.bundle import bundle
from ..support.extras import require
from ..support.files import write_figure
from ..support.settings import choice, is_whole, shown
from ..support.tables import html_table, html_text, text_table
from .request import Trial, nearest

_ROWS: Final = 12  # settings that a table shows
_CURVES: Final = 12  # settings that a plot shows


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """What training left of a model: its columns of every epoch and of every evaluation, and its state."""

    number: int
    columns: Mapping[str, Array]
    scores: Mapping[str, Array]
    epochs: int
    stopped: str | None
    state: Any


class Records(Protocol):
    """Who is told of each model that is finished."""

    def record(self, one: Finished) -> None:
        """Keep what training left of a model."""


@dataclass(eq=False)
class Results:
    """The columns of all models as matrices, NaN where there is nothing; and the states."""

    count: int
    epochs: int
    evaluated: Array
    columns: dict[str, Array] = field(default_factory=dict)
    scores: dict[str, Array] = field(default_factory=dict)
    trained: Array = field(init=False)
    stopped: dict[int, str] = field(default_factory=dict)
    states: dict[int, Any] = field(default_factory=dict)
    listen: Callable[[Finished], None] | None = None

    def __post_init__(self) -> None:
        self.trained = np.zeros(self.count, np.int64)

    def record(self, one: Finished) -> None:
        """Enter what training left of a model."""
        for table, values, width in (
            (self.columns, one.columns, self.epochs),
            (self.scores, one.scores, len(self.evaluated)),
        ):
            for name, column in values.items():
                if name not in table:
                    table[name] = np.full((self.count, width), np.nan)
                table[name][one.number, : len(column)] = column
        self.trained[one.number] = one.epochs
        if one.stopped:
            self.stopped[one.number] = one.stopped
        self.states[one.number] = one.state
        if self.listen is not None:
            self.listen(one)


class Summary(NamedTuple):
    """A column at the end of models that differ in nothing but seed, fold and set of data: its mean and standard
    deviation, over so many `runs`, of which so many `diverged` and are not counted.
    """

    settings: dict[str, Any]
    mean: float
    spread: float
    runs: int
    diverged: int

    def __str__(self) -> str:
        gone = f", {self.diverged} diverged" if self.diverged else ""
        spread = f" ± {self.spread:.3g}" if self.runs > 1 else ""
        return f"{self.mean:.4g}{spread} ({self.runs:,} run{'s' * (self.runs != 1)}{gone})"


class Best(NamedTuple):
    """The best model by a column: its number, its value at the end, its settings, and what they give on average."""

    model: int
    value: float
    settings: dict[str, Any]
    usual: Summary


class Loads(Protocol):
    """Who puts what is kept of a model into the tensors it was trained in."""

    def load(self, trial: Trial, kept: Any) -> Any:
        """Do so, and return what the model is made from."""

    def states(self, kept: Sequence[tuple[Trial, Any]], model: Module) -> Iterator[dict[str, Any]]:
        """The states of a module in models."""


class Sweep:
    """The models of a sweep: `s["test_acc"]` has a row per model, with an entry per epoch (of a score: per evaluation).

    Entries are NaN where there is nothing: after a model stopped early, and for models that were not trained because
    of Ctrl-C. `s["lr"]` and `s["seed"]` are the settings and the seeds, one per model. `len(s)` is how many there are,
    `evaluated` the numbers of the evaluated epochs, `epochs` how many each model was trained for, `stopped` why some
    ended early, `interrupted` whether Ctrl-C ended the sweep.
    """

    def __init__(self, trials: Sequence[Trial], results: Results, plan: Loads, by: str) -> None:
        self.trials, self._results, self._plan, self._by = trials, results, plan, by
        self.metadata: dict[str, Any] = {}
        self.explanation: list[str] = []
        self.interrupted = False

    @property
    def epochs(self) -> Array:
        """How many epochs each model was trained for; 0 where it was not."""
        return self._results.trained

    @property
    def evaluated(self) -> list[int]:
        """The numbers of the evaluated epochs, from 1."""
        found: list[int] = self._results.evaluated.tolist()
        return found

    @property
    def stopped(self) -> dict[int, str]:
        """Why models ended early, by their numbers."""
        return dict(self._results.stopped)

    @property
    def columns(self) -> list[str]:
        """The names of what was recorded."""
        return [*self._results.columns, *self._results.scores]

    def settings(self, model: int) -> dict[str, Any]:
        """What a model differs in from others: settings, set of data, fold, seed."""
        trial = self.trials[self._number(model)]
        found = dict(trial.settings)
        if trial.share.label is not None:
            found[self._by] = trial.share.label
        if trial.share.fold is not None:
            found["fold"] = trial.share.fold
        return {**found, "seed": trial.seed}

    def __len__(self) -> int:
        return len(self.trials)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> Array:
        for table in (self._results.columns, self._results.scores):
            if isinstance(name, str) and name in table:
                return table[name]
        every = [self.settings(trial.number) for trial in self.trials]
        if isinstance(name, str) and all(name in one for one in every):
            values = [one[name] for one in every]
            plain = all(isinstance(value, (int, float, str, bool)) for value in values)
            return np.array(values) if plain else _objects(values)
        known = [*self.columns, *every[0]]
        raise UnknownName(
            message("Sweep", f"the column {shown(name)}", f"one of {', '.join(map(repr, known))}", nearest(name, known))
        )

    def last(self, name: str) -> Array:
        """The newest entry of a column of each model; NaN where there is none."""
        table = self._column(name)
        if name in self._results.columns:
            places = self._results.trained - 1
        else:
            places = np.searchsorted(self._results.evaluated, self._results.trained, side="right") - 1
        found = np.full(len(self), np.nan)
        there = np.flatnonzero(places >= 0)
        found[there] = table[there, places[there]]
        return found

    def _column(self, name: str) -> Array:
        if name not in self.columns:
            known = ", ".join(map(repr, self.columns)) or "nothing yet"
            got = f"the column {shown(name)}"
            raise UnknownName(message("Sweep", got, f"one of {known}", nearest(name, self.columns)))
        return self[name]

    def summary(self, name: str) -> list[Summary]:
        """A column at the end, for each of the settings: mean and spread over seeds, folds and sets of data."""
        values = self.last(name)
        found = []
        for own in self._by_settings():
            numbers = np.array([trial.number for trial in own])
            trained = numbers[self._results.trained[numbers] > 0]
            sound = values[trained][np.isfinite(values[trained])]
            mean = float(sound.mean()) if sound.size else math.nan
            spread = float(sound.std(ddof=1)) if sound.size > 1 else math.nan
            found.append(Summary(dict(own[0].settings), mean, spread, len(sound), len(trained) - len(sound)))
        return found

    def _by_settings(self) -> list[list[Trial]]:
        groups: dict[int, list[Trial]] = {}
        for trial in self.trials:
            groups.setdefault(trial.point, []).append(trial)
        return list(groups.values())

    def best(self, name: str, mode: str | None = None) -> Best:
        """The model whose column ends best, by "max" or "min"; without a mode as the name says (loss, acc, ...).

        The best of many is lucky: `usual` says what its settings give on average.
        """
        if mode is not None:
            choice("best", "mode", mode, ("min", "max"))
        sign = direction(name) if mode is None else 1 if mode == "min" else -1
        values = self.last(name)
        if not sign:
            raise ConfigError(
                message("best", f"the column {name!r}", 'mode="min" or mode="max": the name does not say')
            )
        if not np.isfinite(values).any():
            raise ConfigError(message("best", f"no model with a finite {name!r}", "one at least"))
        number = int(np.nanargmin(np.where(np.isfinite(values), sign * values, np.nan)))
        usual = next(one for one, own in zip(self.summary(name), self._by_settings(), strict=True)
                     if own[0].point == self.trials[number].point)  # fmt: skip
        return Best(number, float(values[number]), self.settings(number), usual)

    def load(self, model: int | Best) -> Any:
        """Let the tensors of step and evaluation hold what training left of a model: parameters, buffers, the state of
        optimizers, settings. Returns the step, or what the builder made for such settings.

        Raises ConfigError for a model that was not trained.
        """
        number = self._number(model.model if isinstance(model, Best) else model)
        if number not in self._results.states:
            raise ConfigError(message("load", f"model {number}, which was not trained", "one that was"))
        return self._plan.load(self.trials[number], self._results.states[number])

    def states(self, model: Module, models: Iterable[int] | None = None) -> Iterator[dict[str, Any]]:
        """What training left of a module in these models, or in all that were trained, as its `state_dict()`; all
        tensors stay as they are. `tg.ensemble(found, model)` makes one predictor of them.

        Raises ConfigError for a module that the step does not reach.
        """
        if not isinstance(model, Module):
            raise ConfigError(message("states", f"model {shown(model)}", "a module that the step trains"))
        trained = sorted(self._results.states) if models is None else [self._number(one) for one in models]
        missing = next((one for one in trained if one not in self._results.states), None)
        if missing is not None:
            raise ConfigError(message("states", f"model {missing}, which was not trained", "ones that were"))
        return self._plan.states([(self.trials[one], self._results.states[one]) for one in trained], model)

    def _number(self, model: Any) -> int:
        if not is_whole(model) or not -len(self) <= model < len(self):
            raise ConfigError(message("Sweep", f"model {shown(model)}", f"a number from 0 to {len(self) - 1:,}"))
        return int(model) % len(self)

    def frame(self, epochs: bool = False) -> Any:
        """A polars data frame (extra `data`) with a row per model: its settings, and its columns at the end; or with a
        row per model and epoch.
        """
        polars = require("polars", "data")
        rows = []
        last = {name: self.last(name) for name in self.columns}
        for trial in self.trials:
            k = trial.number
            head = {"model": k, **{name: _cell(value) for name, value in self.settings(k).items()}}
            if not epochs:
                ends = {name: float(values[k]) for name, values in last.items()}
                rows.append({**head, "epochs": int(self.epochs[k]), **ends, "stopped": self._results.stopped.get(k)})
                continue
            place = {epoch: at for at, epoch in enumerate(self.evaluated)}
            for epoch in range(1, int(self.epochs[k]) + 1):
                row: dict[str, float | None] = {
                    name: float(values[k, epoch - 1]) for name, values in self._results.columns.items()
                }
                at = place.get(epoch)
                row |= {name: None if at is None else float(v[k, at]) for name, v in self._results.scores.items()}
                rows.append({**head, "epoch": epoch, **row})
        return polars.DataFrame(
            [{printable(name): value for name, value in row.items()} for row in rows], infer_schema_length=None
        )

    def plot(self, *names: str, path: StrPath | None = None) -> Any:
        """Draw columns over epochs, for each of the settings the mean with a band of one standard deviation to either
        side; returns a matplotlib figure (extra `ui`). Settings beyond the first dozen are left out.
        """
        chosen = names or tuple(self.columns)
        for name in chosen:
            self._column(name)
        require("matplotlib", "ui")
        figure = require("matplotlib.figure", "ui").Figure(figsize=(5.5 * len(chosen), 4), layout="constrained")
        panels = figure.subplots(1, len(chosen), squeeze=False)[0]
        groups = self._by_settings()
        for name, axes in zip(chosen, panels, strict=True):
            x = np.array(self.evaluated) if name in self._results.scores else np.arange(1, self._results.epochs + 1)
            for k, own in enumerate(groups[:_CURVES]):
                table = self[name][[trial.number for trial in own]]
                mean, spread, runs = moments(table)
                label = ", ".join(f"{key} {_short(value)}" for key, value in own[0].settings.items())
                label = f"{label or 'all'} ({len(own):,})"
                axes.plot(x, mean, color=f"C{k}", label=label, marker="." if len(x) < 30 else "")
                if runs.max() > 1:
                    low, high = np.fmin.reduce(table), np.fmax.reduce(table)  # there is nothing beyond
                    band = np.maximum(mean - spread, low), np.minimum(mean + spread, high)
                    axes.fill_between(x, *band, color=f"C{k}", alpha=0.2, linewidth=0)
            axes.set_xlabel("epoch")
            axes.set_ylabel(printable(name, keep=""))
            axes.grid(alpha=0.3)
        if groups[0][0].settings or len(groups) > 1:
            handles, labels = panels[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)))
        if len(groups) > _CURVES:
            figure.supxlabel(f"{len(groups) - _CURVES:,} more settings are not shown", fontsize="small")
        if path is not None:
            write_figure(figure, path, "plot")
        return figure

    def explain(self) -> str:
        """How the models were trained, group by group, and why so."""
        return "\n".join(self.explanation)

    # ---- shown -------------------------------------------------------------------------------------------------------

    def _head(self) -> str:
        trained = int((self.epochs > 0).sum())
        count = f"{len(self):,} model{'s' * (len(self) != 1)}"
        parts = [f"Sweep: {count}" if trained == len(self) else f"Sweep: {trained:,} of {count} trained"]
        if "seconds" in self.metadata:
            parts.append(f"in {self.metadata['seconds']:.3g} s")
        ended = "; interrupted" if self.interrupted else ""
        return " ".join(parts) + ended

    def _table(self) -> list[tuple[str, ...]]:
        summaries = {name: self.summary(name) for name in self.columns}
        groups = self._by_settings()
        names = list(dict.fromkeys(name for own in groups for name in own[0].settings))
        order = list(range(len(groups)))
        judged = [name for name in self.columns if direction(name)]
        if judged:
            sign, means = direction(judged[-1]), [one.mean for one in summaries[judged[-1]]]
            order.sort(key=lambda k: math.inf if math.isnan(means[k]) else sign * means[k])
        rows: list[tuple[str, ...]] = [(*names, *self.columns)]
        for k in order[:_ROWS]:
            own = [_short(groups[k][0].settings.get(name)) for name in names]
            rows.append((*own, *(str(summaries[name][k]) for name in self.columns)))
        return rows

    def __repr__(self) -> str:
        if not self.columns:
            return printable(self._head())
        table, more = self._table(), len(self._by_settings()) - _ROWS
        lines = [self._head(), text_table(table)]
        if more > 0:
            lines.append(f"and {more:,} settings more")
        return printable("\n".join(lines))

    def _repr_html_(self) -> str:
        return html_text(self._head()) + (html_table(self._table()) if self.columns else "")

    _repr_mimebundle_ = bundle


def moments(table: Array) -> tuple[Array, Array, Array]:
    """Mean and standard deviation over the rows of a table, of its finite entries, and how many these are."""
    sound = np.isfinite(table)
    runs = sound.sum(0)
    with np.errstate(all="ignore"):
        mean = np.where(sound, table, 0.0).sum(0) / np.where(runs, runs, np.nan)
        spread = np.sqrt(np.where(sound, (table - mean) ** 2, 0.0).sum(0) / np.maximum(runs - 1, 1))
    return mean, spread, runs


def _objects(values: Sequence[Any]) -> Array:
    found = np.empty(len(values), object)
    for k, value in enumerate(values):
        found[k] = value
    return found


def _cell(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool, type(None))) else _short(value)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)) and len(value) <= 6:
        return f"({', '.join(map(_short, value))})"
    return getattr(value, "__name__", None) or shown(value)
