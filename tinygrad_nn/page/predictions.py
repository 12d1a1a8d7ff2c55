"""What a step predicts: for the rows it is most wrong about, and all over the plane where a row has two features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final, Literal

import numpy as np

from ..graph.graph import Array, Node
from .packing import packed
from .rows import Moment, Rows, State, per_row, resized
from .subject import Missing, short

BOUNDARY: Final = 20_000  # bytes of all pictures of the plane
SIDE: Final = 64  # points of a picture, to the right and upwards, at most
DRAWN: Final = 400  # rows that are drawn in it
EXAMPLES: Final = 16  # rows with the largest loss
FEATURES: Final = 12  # of each that are shown
PICTURE: Final = 32  # rows and columns of a row that is a picture
CLASSES: Final = 8  # of which a byte also tells how likely each is


@dataclass(frozen=True, slots=True)
class Judge:
    """How to read a prediction: as a "class", as the "probability" of the class 1, or as a "value". Of `scores` shares
    are made first, by softmax or sigmoid; with a `sign` of -1 less is more, as of negative logarithms.
    """

    prediction: Node
    kind: Literal["class", "probability", "value"]
    scores: bool
    sign: int = 1

    def read(self, table: Array) -> tuple[Array, Array]:
        """What is predicted for each row of a table, and how sure that is, from 0 to 1."""
        with np.errstate(all="ignore"):
            if self.kind == "class":
                table = self.sign * table
                powers = np.exp(table - table.max(1, keepdims=True))
                shares = powers / powers.sum(1, keepdims=True) if self.scores else table
                return np.where(np.isfinite(shares).all(1), shares.argmax(1), np.nan), shares.max(1)
            own = 1 / (1 + np.exp(-self.sign * table[:, 0])) if self.scores else table[:, 0]
            return own, np.maximum(own, 1 - own)


def judge_of(rows: Rows, state: State) -> Judge | Missing:
    """How to read what is predicted, which the labels say and the values do."""
    if rows.prediction is None or rows.labels is None:
        return Missing("The step takes no labels that what it predicts would be compared with.")
    labels = rows.columns[rows.labels]
    (value,) = rows.values([rows.prediction], state)
    if value.shape[rows.axis[rows.prediction]] != rows.count or labels.size != rows.count:
        return Missing("A row of the batch has several labels.")
    table = per_row(rows, rows.prediction, value)
    if table.shape[1] > 1:
        if labels.dtype.kind not in "iu":
            return Missing("A row of the batch has several numbers predicted, and its label is no class.")
        shares = bool((table >= 0).all() and np.isclose(table.sum(1), 1, atol=1e-3).all())
        return Judge(rows.prediction, "class", not shares, _sign(rows, rows.prediction, labels, state))
    if np.isin(labels, (0, 1)).all():
        if _bounded(rows, rows.prediction, state):
            return Judge(rows.prediction, "probability", False)
        return Judge(rows.prediction, "probability", True, _sign(rows, rows.prediction, labels, state))
    return Judge(rows.prediction, "value", False)


def _sign(rows: Rows, prediction: Node, labels: Array, state: State) -> int:
    """1 if more of what is predicted for the label of a row makes the loss smaller, else -1."""
    slopes = np.nan_to_num(per_row(rows, prediction, rows.slopes([prediction], state)[0]))
    own = labels.reshape(-1).astype(np.int64)
    if slopes.shape[1] == 1:
        toward = np.where(own == 1, 1, -1) * slopes[:, 0]
    else:
        known = np.flatnonzero((own >= 0) & (own < slopes.shape[1]))  # others are ignored
        toward = slopes[known, own[known]]
    return -1 if toward.sum() > 0 else 1


def _bounded(rows: Rows, prediction: Node, state: State) -> bool:
    """Whether a prediction stays between 0 and 1 for rows far from all others, as probabilities do, and no scores."""
    for factor in (1.0, 100.0, -100.0):
        far = [
            one * one.dtype.type(factor) if one.dtype.kind == "f" and k != rows.labels else one
            for k, one in enumerate(rows.columns)
        ]
        (value,) = rows.values([prediction], state, far)
        if not ((value >= 0) & (value <= 1)).all():
            return False
    return True


# ---- rows --------------------------------------------------------------------------------------------------------


def worst_rows(rows: Rows, moments: Sequence[Moment]) -> dict[str, Any] | Missing:
    """The rows with the largest loss in the last state: their features, labels and predictions."""
    last = moments[-1].state
    found = rows.losses(last)
    if isinstance(found, Missing):
        return found
    losses, rest, exact = found
    order = np.argsort(np.where(np.isfinite(losses), -losses, -np.inf), kind="stable")[:EXAMPLES]
    labels = None if rows.labels is None else rows.columns[rows.labels]
    judge = judge_of(rows, last)
    judged = None
    if isinstance(judge, Judge):
        table = per_row(rows, judge.prediction, rows.values([judge.prediction], last)[0])
        values, sure = judge.read(np.asarray(table[order], np.float64))
        judged = {"kind": judge.kind, "values": values, "sure": sure}
    total, bad = float(losses.sum()), ~np.isfinite(losses)
    return {
        "rows": order,
        "losses": losses[order],
        "bad": int(bad.sum()),
        "share": float(np.clip(losses[order].sum() / total, 0, 1)) if total > 0 else None,
        "count": rows.count,
        "rest": rest,
        "exact": exact,
        "labels": None if labels is None or labels.size != rows.count else labels.reshape(-1)[order],
        "judged": judged,
        **_features(rows, order),
    }


def _features(rows: Rows, order: Array) -> dict[str, Any]:
    """What the batch has of some rows besides labels: numbers, and one picture of each row."""
    numbers: list[dict[str, Any]] = []
    picture: dict[str, Any] | None = None
    total = 0
    for k, column in enumerate(rows.columns):
        if k == rows.labels or not column.ndim or len(column) != rows.count:
            continue
        if column.ndim > 2 and picture is None:
            flat = column.reshape(rows.count, -1, column.shape[-1])[order, :PICTURE, :PICTURE]
            picture = {"name": rows.names[k], "values": packed(flat, "i1")}
            continue
        table = column.reshape(rows.count, -1)
        total += table.shape[1]
        names = column_names(rows, k)
        room = FEATURES - len(numbers)
        numbers += [{"name": names[j], "values": table[order, j]} for j in range(min(room, table.shape[1]))]
    note = f"The first {len(numbers)} of {total:,} features are shown." if numbers and total > len(numbers) else ""
    return {"features": numbers, "pictures": picture, "note": note}


def column_names(rows: Rows, k: int) -> list[str]:
    """What the columns of an array of the batch are called: as in its data frame, or as in a layer that prepares such
    columns; else by their numbers.
    """
    column = rows.columns[k]
    width = prod(column.shape[1:])
    for array, names in rows.subject.frames:
        if array is column:
            return list(names)
    if width == 1:
        return [rows.names[k]]
    layers = (module for _, root in rows.subject.modules for module in root.modules()) if k == 0 else ()
    known = (one for one in (getattr(module, "names", None) for module in layers) if isinstance(one, tuple))
    return next(([short(one) for one in names] for names in known if len(names) == width),
                [f"{rows.names[k]} {j}" for j in range(width)])  # fmt: skip


# ---- the plane ---------------------------------------------------------------------------------------------------


def boundary(rows: Rows, moments: Sequence[Moment]) -> dict[str, Any] | Missing:
    """What is predicted all over the plane of two features, in every state, and where the rows of the batch lie.

    A class and how likely it is are one number: that of the class, and a part of 0.9 more.
    """
    x = rows.columns[0]
    if x.ndim != 2 or x.shape[1] != 2 or x.dtype.kind != "f" or rows.labels is None or rows.labels == 0:
        return Missing("Only rows of two features lie in a plane: the first array of the batch has another shape.")
    judge = judge_of(rows, moments[-1].state)
    if isinstance(judge, Missing):
        return judge
    if not np.isfinite(x).all():
        return Missing("There are features that are not finite.")
    side = int(min(SIDE, (BOUNDARY / len(moments)) ** 0.5))
    low, high = x.min(0).astype(float), x.max(0).astype(float)
    margin = np.where(high > low, 0.08 * (high - low), 0.5)
    low, high = low - margin, high + margin
    grid = np.meshgrid(*(np.linspace(low[k], high[k], side) for k in range(2)))
    points = np.stack([one.ravel() for one in grid], 1).astype(x.dtype)  # the first feature changes fastest
    large = resized(rows, len(points))
    if isinstance(large, Missing):
        return large
    columns = (points, *large.columns[1:])
    found = []
    for one in moments:
        (value,) = large.values([large.node(judge.prediction)], one.state, columns)
        found.append(judge.read(np.asarray(per_row(large, large.node(judge.prediction), value), np.float64)))
    labels = rows.columns[rows.labels].reshape(-1)
    shown = np.unique(np.linspace(0, rows.count - 1, min(rows.count, DRAWN)).round().astype(int))
    classes = 0
    if judge.kind == "class":
        classes = int(max(labels.max(), *(np.nan_to_num(one[0]).max() for one in found))) + 1
        levels = [np.where(np.isfinite(sure), own + 0.9 * np.clip(sure, 0, 1), np.nan) for own, sure in found]
        values = packed(levels, "i1" if classes <= CLASSES else "i2")
    else:
        values = packed([own for own, _ in found], "i1")
    part_of = f" {len(shown)} of {rows.count:,} rows are drawn." if len(shown) < rows.count else ""
    return {
        "kind": judge.kind,
        "classes": classes,
        "side": side,
        "low": low,
        "high": high,
        "values": values,
        "rows": shown,
        "x": packed(x[shown]),
        "labels": labels[shown],
        "names": column_names(rows, 0),
        "note": f"{side * side:,} points of the plane.{part_of}",
    }
