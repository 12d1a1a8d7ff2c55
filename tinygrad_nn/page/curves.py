"""The curves of a run, and those of the models of a sweep: thinned where they are long, so that they look the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ..graph.graph import Array
from ..history import History, direction
from ..sweeping import Sweep
from .packing import packed
from .subject import Missing, short

POINTS: Final = 2000  # of all curves together
LINES: Final = 6000  # points of the curves of a sweep's models
EPOCHS: Final = 100  # of a sweep that are drawn


def curves(history: History | None) -> dict[str, Any] | Missing:
    """The columns of a history: epochs and values, and where each is best."""
    if history is None:
        return Missing("No history was given: tg.report(step, x, y, history=tg.fit(...)) shows its curves.")
    if not history.epochs or not len(history):
        return Missing("The history is empty: nothing was trained.")
    best = history.best()
    room = max(64, POINTS // len(history))
    columns, thinned = [], False
    groups = scales({name: history[name] for name in history})
    for name in history:
        epochs, values = _epochs(history, name)
        kept = extremes(values, room)
        thinned = thinned or len(kept) < len(values)
        columns.append(
            {
                "name": short(name),
                "scale": groups[name],
                "epochs": packed(epochs[kept]) if len(kept) < len(values) or epochs[0] != 1 else None,
                "values": packed(values[kept]),
                "best": best.get(name),
                "last": float(values[-1]),
                "finite": bool(np.isfinite(values).any()),
            }
        )
    note = f"Of {history.epochs:,} epochs, the lowest and the highest of every few are drawn." if thinned else ""
    return {
        "epochs": history.epochs,
        "columns": columns,
        "note": note,
        "stopped": history.stopped,
        "nonfinite": history.nonfinite,
    }


def _epochs(history: History, name: str) -> tuple[Array, Array]:
    """A column, and the epoch of each entry."""
    values = np.asarray(history[name], np.float64)
    per_epoch = len(values) == history.epochs and history.has(name, 1)
    epochs = np.arange(1, history.epochs + 1) if per_epoch else np.asarray(history.evaluated)
    return epochs[: len(values)], values


def scales(columns: Mapping[str, Array]) -> dict[str, str]:
    """Which columns share an axis: losses, scores, each other one by itself; none with one of quite another size."""
    found: dict[str, str] = {}
    sizes: dict[str, float] = {}
    for name, values in columns.items():
        kind = {1: "loss", -1: "score", 0: name}[direction(name)]
        finite = np.abs(values[np.isfinite(values)])
        size = float(np.median(finite)) if finite.size else 0.0
        while kind in sizes and max(size, sizes[kind]) > 50 * max(min(size, sizes[kind]), 1e-300) and size:
            kind = name if kind != name else f"{kind} "
        sizes.setdefault(kind, size)
        found[name] = kind
    return found


def extremes(values: Array, room: int) -> Array:
    """The places of so many values at most that draw the same picture: the first, the last, and of every stretch
    between them the lowest and the highest, and one that is not finite if there is one.
    """
    count = len(values)
    if count <= room:
        return np.arange(count)
    kept = {0, count - 1}
    for places in np.array_split(np.arange(count), max(1, (room - 2) // 3)):
        own = values[places]
        finite = np.isfinite(own)
        if finite.any():
            kept |= {
                int(places[np.where(finite, own, np.inf).argmin()]),
                int(places[np.where(finite, own, -np.inf).argmax()]),
            }
        if not finite.all():
            kept.add(int(places[int(np.argmin(finite))]))
    return np.array(sorted(kept))


def sweep(found: Sweep) -> dict[str, Any] | Missing:
    """Medians and quartiles over the models of each setting, the curves of some models, and the best one."""
    trained = np.flatnonzero(found.epochs > 0)
    if not len(trained) or not found.columns:
        return Missing("No model of the sweep was trained.")
    points: dict[int, list[int]] = {}
    for k in trained:
        points.setdefault(found.trials[int(k)].point, []).append(int(k))
    judged = [name for name in found.columns if direction(name) and np.isfinite(found.last(name)).any()]
    lines = _some(found, trained, judged)
    columns = [_column(found, name, list(points.values()), lines) for name in found.columns]
    notes = [f"{len(lines):,} of {len(trained):,} models have a line of their own, spread evenly from the best to the "
             "worst."] * (len(lines) < len(trained))  # fmt: skip
    shown = max(len(one["epochs"]) for one in columns)
    notes += [f"{shown:,} of {int(found.epochs.max()):,} epochs are drawn."] * (shown < int(found.epochs.max()))
    return {
        "settings": [
            {"label": _words(found.trials[own[0]].settings) or "all models", "models": len(own)}
            for own in points.values()
        ],
        "models": [
            {"number": int(k), "label": _words(found.settings(int(k))), "setting": place}
            for k in lines
            for place in (list(points).index(found.trials[k].point),)
        ],
        "trained": len(trained),
        "count": len(found),
        "columns": columns,
        "note": " ".join(notes),
    }


def _some(found: Sweep, trained: Array, judged: Sequence[str]) -> list[int]:
    """The models that have lines of their own: all, or some from the best to the worst."""
    room = max(8, LINES // (max(1, len(found.columns)) * min(EPOCHS, int(found.epochs.max()))))
    if len(trained) <= room:
        return [int(k) for k in trained]
    order = trained
    if judged:
        values = direction(judged[-1]) * found.last(judged[-1])[trained]
        order = trained[np.argsort(np.where(np.isfinite(values), values, np.inf), kind="stable")]
    return [int(order[k]) for k in np.unique(np.linspace(0, len(order) - 1, room).round().astype(int))]


def _column(found: Sweep, name: str, points: Sequence[Sequence[int]], lines: Sequence[int]) -> dict[str, Any]:
    table = found[name]
    width = table.shape[1]
    epochs = np.asarray(found.evaluated)[:width] if len(found.evaluated) == width else np.arange(1, width + 1)
    kept = np.unique(np.linspace(0, width - 1, min(width, EPOCHS)).round().astype(int))
    bands = []
    for own in points:
        values = np.where(np.isfinite(table[own][:, kept]), table[own][:, kept], np.nan)
        there = np.isfinite(values).any(0)
        three = np.full((3, len(kept)), np.nan)
        three[:, there] = np.nanpercentile(values[:, there], (25, 50, 75), axis=0)
        bands.append(three)
    sign = direction(name)
    best = None
    if sign and np.isfinite(found.last(name)).any():
        one = found.best(name)
        best = {"model": one.model, "value": one.value, "label": _words(one.settings)}
    return {
        "name": short(name),
        "epochs": epochs[kept],
        "bands": packed(np.array(bands)),
        "lines": packed(table[lines][:, kept]),
        "best": best,
    }


def _words(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in settings.items())


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else short(str(getattr(value, "__name__", value)), 40)
