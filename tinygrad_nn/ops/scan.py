"""SCAN: a loop over time as one node that holds the program of a step.

Operands: the first carries, then the series (T, ...) of which each step reads its entry, then what every step reads as
it is. Attributes:

    body     the Graph of a step: inputs (carries, entries, the rest), outputs (the next carries, then what is stacked)
    length   T
    carries, series   how many of the operands are these
    reverse  from the last entry to the first
    offsets  where in a row each output of the body begins, and the length of a row
    needs    the operands that want a gradient

A node has one value, so it is the matrix (T, offsets[-1]): row t holds, flat and side by side, the outputs of the step
that read entry t. `column` cuts an output out of it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import prod
from typing import Any, Final
from weakref import ref

import numpy as np

from ..errors import DTypeError, ShapeError, message
from ..graph import DType, Graph, Op, Shape


def offsets_of(body: Graph) -> tuple[int, ...]:
    """Where in a row each output begins, and the length of the row."""
    ends = [0]
    for node in body.outputs:
        ends.append(ends[-1] + prod(node.shape))
    return tuple(ends)


def _shape(*shapes: Shape, body: Graph, length: int, carries: int, series: int, **attrs: Any) -> Shape:
    entries = range(carries, carries + series)
    expected = tuple((length, *node.shape) if k in entries else node.shape for k, node in enumerate(body.inputs))
    if shapes != expected:
        raise ShapeError(message("scan", f"operands of shapes {shapes}", f"{expected}"))
    return (length, attrs["offsets"][-1])


def _dtype(*dtypes: DType, body: Graph, **attrs: Any) -> DType:
    expected = tuple(node.dtype for node in body.inputs)
    if dtypes != expected:
        raise DTypeError(message("scan", f"operands of dtypes {dtypes}", f"{expected}"))
    return body.outputs[0].dtype


Step = tuple[Any, tuple[int, ...], Any, int]  # a NumPy function, the places of operands, attributes, the result's place


def _program(body: Graph, varying: int) -> tuple[list[Any], list[Step], list[Step], list[int]]:
    """The places of a run with the constants in them; what is the same in every step; what is not; the outputs."""
    place = {node: k for k, node in enumerate(body.inputs)}
    values: list[Any] = [None] * len(body.inputs)
    moving = set(body.inputs[:varying])
    once: list[Step] = []
    each: list[Step] = []
    for node in body.nodes:
        if node in place:
            continue
        place[node] = len(values)
        values.append(node.value)
        if node.op.kind == "source":
            continue
        step = (node.op.numpy, tuple(place[operand] for operand in node.inputs), node.attrs, place[node])
        if moving.isdisjoint(node.inputs):
            once.append(step)
        else:
            moving.add(node)
            each.append(step)
    return values, once, each, [place[node] for node in body.outputs]


def _run(values: list[Any], steps: list[Step]) -> None:
    for function, places, attrs, result in steps:
        values[result] = function(*[values[k] for k in places], **attrs)


def _numpy(
    *operands: Any,
    body: Graph,
    length: int,
    carries: int,
    series: int,
    reverse: bool,
    offsets: tuple[int, ...],
    needs: tuple[int, ...],
) -> Any:
    """The loop, in Python; what does not change from step to step is computed once."""
    rows = np.empty((length, offsets[-1]), body.outputs[0].dtype)
    values, once, each, outputs = _program(body, carries + series)
    values[: len(operands)] = operands
    _run(values, once)
    for t in reversed(range(length)) if reverse else range(length):
        for k in range(carries, carries + series):
            values[k] = operands[k][t]
        _run(values, each)
        results = [values[k] for k in outputs]
        for k, result in enumerate(results):
            rows[t, offsets[k] : offsets[k + 1]] = result.reshape(-1)
        values[:carries] = results[:carries]
    return rows


def column(rows: Any, body: Graph, offsets: Sequence[int], k: int) -> Any:
    """Output k of all steps, (T, ...)."""
    shape = body.outputs[k].shape
    return rows.narrow(1, offsets[k], offsets[k + 1] - offsets[k]).reshape((rows.shape[0], *shape))


def last(stacked: Any, first: Any, reverse: bool) -> Any:
    """A carry after the loop: where there was no step, the one before it."""
    length = stacked.shape[0]
    return stacked.select(0, 0 if reverse else length - 1) if length else first


def _before(stacked: Any, first: Any, reverse: bool) -> Any:
    """The carry each step began with, (T, ...), given those it left."""
    length = stacked.shape[0]
    if length == 0:
        return stacked
    start = first.unsqueeze(0)
    if reverse:
        return stacked.narrow(0, 1, length - 1).cat_with(start, dim=0)
    return start.cat_with(stacked.narrow(0, 0, length - 1), dim=0)


def _cotangents(
    g: Any,
    out: Any,
    operands: tuple[Any, ...],
    needs: tuple[int, ...],
    body: Any,
    carries: int,
    series: int,
    offsets: tuple[int, ...],
    reverse: bool,
) -> dict[int, Any]:
    """Cotangents of the operands that need one, by another scan that runs the other way.

    It carries the cotangents of the carries and the sums of those of what every step reads; it reads the rows of g,
    the carry each step began with, and the series; it leaves the cotangents of the series. Values inside of a step are
    computed again.
    """
    adjoint = body.adjoint(carries, series, needs)
    entries, rest = operands[carries : carries + series], operands[carries + series :]
    summed = [k for k in needs if k >= carries + series]
    starts = [g.new_zeros(node.shape).cast(node.dtype) for node in adjoint.inputs[: carries + len(summed)]]
    rows = [column(g, body, offsets, k) for k in range(len(body.outputs))]
    began = [_before(column(out, body, offsets, k), operands[k], reverse) for k in range(carries)]
    given = [*starts, *rows, *began, *entries, *rest]
    ends = offsets_of(adjoint)
    result = bound(
        given, adjoint, g.shape[0], len(starts), len(rows) + len(began) + len(entries), not reverse, offsets=ends
    )
    found = {
        k: last(column(result, adjoint, ends, j), start, not reverse)
        for j, (k, start) in enumerate(zip([*range(carries), *summed], starts, strict=True))
    }
    of_series = [k for k in needs if carries <= k < carries + series]
    for j, k in enumerate(of_series, start=len(starts)):
        found[k] = column(result, adjoint, ends, j)
    return {k: cotangent.cast(operands[k].dtype) for k, cotangent in found.items()}


def bound(
    operands: Sequence[Any],
    body: Graph,
    length: int,
    carries: int,
    series: int,
    reverse: bool,
    offsets: tuple[int, ...],
    needs: tuple[int, ...] | None = None,
) -> Any:
    """SCAN applied to handles."""
    if needs is None:
        needs = tuple(k for k, handle in enumerate(operands) if handle.requires_grad)
    first, *others = operands
    return first.apply(
        SCAN,
        *others,
        body=body,
        length=length,
        carries=carries,
        series=series,
        reverse=reverse,
        offsets=offsets,
        needs=needs,
    )


class _Latest(threading.local):
    """The cotangents of the node the walk is at: its rule is asked for them one by one."""

    key: Any = None
    g: Any = None
    found: dict[int, Any] | None = None

    def forget(self, key: Any) -> None:
        """The handle is gone."""
        if self.key is key:
            self.key = self.g = self.found = None


_latest: Final = _Latest()


def _rule(
    g: Any,
    out: Any,
    *operands: Any,
    argnum: int,
    body: Any,
    length: int,
    carries: int,
    series: int,
    reverse: bool,
    offsets: tuple[int, ...],
    needs: tuple[int, ...],
) -> Any:
    if _latest.key is None or _latest.key() is not out or _latest.g is not g:
        found = _cotangents(g, out, operands, needs, body, carries, series, offsets, reverse)
        _latest.key, _latest.g, _latest.found = ref(out, _latest.forget), g, found
    return (_latest.found or {})[argnum]


SCAN: Op = Op("scan", "control", _shape, _dtype, _numpy, (_rule,), variadic=True)
