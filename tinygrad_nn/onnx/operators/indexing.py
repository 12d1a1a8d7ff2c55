"""Operators that read or write where indices say, and those that find indices: gather, scatter, sort, unique."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Final, Literal

import numpy as np

from ...tensor import Tensor
from ...tensor.creation import arange
from .form import Known, Value, axis_of, bad, given, ints


def counted(index: Tensor, length: int) -> Tensor:
    """Indices counted from 0, where negative ones count from the end."""
    index = index.long()
    return (index + length).where(index < 0, index)


def gather(x: Tensor, index: Tensor, *, axis: int = 0) -> Tensor:
    """Entries along an axis."""
    axis = axis_of(axis, x.ndim)
    found = x.index_select(axis, counted(index, x.shape[axis]).reshape(-1))
    return found.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def gather_elements(x: Tensor, index: Tensor, *, axis: int = 0) -> Tensor:
    """For each place of the indices an element of the line along the axis."""
    axis = axis_of(axis, x.ndim)
    return x.gather(axis, counted(index, x.shape[axis]))


def places(index: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """Tuples of indices as places in the flattened axes of these lengths."""
    found = given(np.zeros((), np.int64)).broadcast_to(index.shape[:-1])
    for k, n in enumerate(lengths):
        found = found * n + counted(index[..., k], n)
    return found


def gather_nd(x: Tensor, index: Tensor, *, batch_dims: int = 0) -> Tensor:
    """Parts where tuples of indices say."""
    b, depth = batch_dims, index.shape[-1]
    lead, rest = x.shape[:b], x.shape[b + depth :]
    where = places(index, x.shape[b : b + depth])
    if b:
        batches = prod(lead)
        inner = prod(x.shape[b : b + depth])
        where = where.reshape(batches, -1) + arange(batches).unsqueeze(1) * inner
    flat = x.reshape(prod(x.shape[: b + depth]), *rest)
    return flat.index_select(0, where.reshape(-1)).reshape(*index.shape[:-1], *rest)


_FOLDS: Final[Mapping[str, Literal["sum", "prod", "amax", "amin"]]] = {
    "add": "sum",
    "mul": "prod",
    "max": "amax",
    "min": "amin",
}


def scatter_elements(x: Tensor, index: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none") -> Tensor:
    """A copy with elements written, or folded in, along the lines of an axis."""
    axis = axis_of(axis, x.ndim)
    index = counted(index, x.shape[axis])
    if reduction == "none":
        return x.scatter(axis, index, updates)
    return x.scatter_reduce(axis, index, updates, _FOLDS[reduction])


def scatter_nd(x: Tensor, index: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    """A copy with parts written, or folded in, where tuples of indices say."""
    depth = index.shape[-1]
    lead, rest = x.shape[:depth], x.shape[depth:]
    inner = prod(rest)
    where = places(index, lead).reshape(-1, 1) * inner + arange(inner)
    flat, index, updates = x.reshape(-1), where.reshape(-1), updates.reshape(-1)
    flat = (
        flat.scatter(0, index, updates)
        if reduction == "none"
        else flat.scatter_reduce(0, index, updates, _FOLDS[reduction])
    )
    return flat.reshape(x.shape)


def tensor_scatter(
    past: Tensor, update: Tensor, start: Tensor | None = None, *, axis: int = -2, mode: str = "linear"
) -> Tensor:
    """A cache with entries written from an index on, for each sequence its own; circular, it goes on at the begin."""
    axis = axis_of(axis, past.ndim)
    batch, steps, whole = past.shape[0], update.shape[axis], past.shape[axis]
    begin = given(np.zeros(batch, np.int64)) if start is None else start.long()
    at = begin.reshape(batch, 1) + arange(steps)
    at = at.remainder(whole) if mode == "circular" else at
    shape = [n if k in (0, axis) else 1 for k, n in enumerate(update.shape)]
    return past.scatter(axis, at.reshape(shape).broadcast_to(update.shape), update)


def one_hot(index: Tensor, depth: Known, values: Value, *, axis: int = -1) -> Value:
    """One of two numbers at each place: the second where the place has the index."""
    n, pair = ints(depth)[0], values.tensor
    if n < 0:
        raise bad(f"depth {n}", "0 or more")
    at = index.long()
    at = (at + n).where(at < 0, at)
    axis = axis_of(axis, index.ndim + 1)
    shape = [n if k == axis else 1 for k in range(index.ndim + 1)]
    hit = at.unsqueeze(axis) == arange(n).reshape(shape)
    return Value(pair[1].where(hit, pair[0]), values.element)


def nonzero(x: Tensor) -> Tensor:
    """Where elements are not 0: a row of indices for each axis."""
    return x.nonzero().T if x.ndim else x.reshape(1).nonzero().T[:0]


def compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    """The entries where a condition holds."""
    x, along = (x.reshape(-1), 0) if axis is None else (x, axis_of(axis, x.ndim))
    return x.index_select(along, condition[: x.shape[along]].nonzero().reshape(-1))


def top_k(
    x: Tensor, count: Known | None = None, *, k: int | None = None, axis: int = -1, largest: int = 1, sorted: int = 1
) -> tuple[Tensor, Tensor]:
    """The largest elements along an axis and where they stand; of equal ones the first."""
    number = ints(count)[0] if k is None else k
    if not 0 <= number <= x.shape[axis]:
        raise bad(f"k {number} of {x.shape[axis]}", "as many as there are at most")
    values, at = x.sort(axis, descending=bool(largest), stable=True)
    return values.narrow(axis, 0, number), at.narrow(axis, 0, number)


def unique(x: Tensor, *, axis: int | None = None, sorted: int = 1) -> tuple[Tensor, ...]:
    """Different entries, where each stood first, which of them each entry is, and how often each comes."""
    data = np.asarray(x.detach().numpy())
    found = np.unique(data, True, True, True, axis=axis)
    values, first, inverse, counts = (np.asarray(one) for one in found)
    if not sorted:
        order = np.argsort(first, kind="stable")
        values = np.take(values, order, 0 if axis is None else axis)
        first, counts = first[order], counts[order]
        inverse = np.argsort(order, kind="stable")[inverse]
    return tuple(given(one) for one in (values, first, inverse.reshape(-1), counts))


def reverse_sequence(x: Tensor, lengths: Tensor, *, batch_axis: int = 1, time_axis: int = 0) -> Tensor:
    """The first entries of each sequence, as many as it has, backwards."""
    rank, steps = x.ndim, x.shape[time_axis]
    t = arange(steps).reshape([steps if k == time_axis else 1 for k in range(rank)])
    n = lengths.long().reshape([-1 if k == batch_axis else 1 for k in range(rank)])
    at = (n - 1 - t).where(t < n, t)
    return x.gather(time_axis, at.broadcast_to(x.shape))


def non_max_suppression(
    boxes: Tensor,
    scores: Tensor,
    most: Known | None = None,
    overlap: Known | None = None,
    least: Known | None = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    """(batch, class, box) of the best boxes, none of which overlaps another of its class by more than a part."""
    corners, rank = np.asarray(boxes.detach().numpy()), np.asarray(scores.detach().numpy())
    count = 0 if most is None else ints(most)[0]
    limit = 0.0 if overlap is None else float(overlap.reshape(-1)[0])
    floor = None if least is None or not least.size else float(least.reshape(-1)[0])
    if center_point_box:
        x, y, w, h = np.moveaxis(corners, -1, 0)
        corners = np.stack((y - h / 2, x - w / 2, y + h / 2, x + w / 2), -1)
    low, high = np.minimum(corners[..., :2], corners[..., 2:]), np.maximum(corners[..., :2], corners[..., 2:])
    area = (high - low).prod(-1)
    found: list[tuple[int, int, int]] = []
    for b, c in np.ndindex(*rank.shape[:2]):
        kept: list[int] = []
        for one in np.argsort(-rank[b, c], kind="stable"):
            if len(kept) >= count or (floor is not None and rank[b, c, one] <= floor):
                break
            shared = (np.minimum(high[b, one], high[b, kept]) - np.maximum(low[b, one], low[b, kept])).clip(0).prod(-1)
            union = area[b, one] + area[b, kept] - shared
            if not (shared > limit * union).any():
                kept.append(int(one))
        found += [(b, c, one) for one in kept]
    return given(np.array(found, np.int64).reshape(-1, 3))


def scatter(x: Tensor, index: Tensor, updates: Tensor, *, axis: int = 0) -> Tensor:
    """What is called ScatterElements now."""
    return scatter_elements(x, index, updates, axis=axis)


OPERATORS: Final[Mapping[str, Any]] = {
    "Compress": compress,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "NonMaxSuppression": non_max_suppression,
    "NonZero": nonzero,
    "OneHot": one_hot,
    "ReverseSequence": reverse_sequence,
    "Scatter": scatter,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "TensorScatter": tensor_scatter,
    "TopK": top_k,
    "Unique": unique,
}
