"""What SCAN means: a loop over time as one node that holds the program of a step. STACKED: one of its results, of all
steps. The op itself, which knows its gradient, is `adjoint.SCAN`.

Operands of SCAN: the first carries, then the xs (T, ...) of which each step reads its entry, then the consts, which
every step reads as they are. Attributes:

    body     the Graph of a step: inputs (carries, entries, consts), outputs (the next carries, then what is stacked)
    length   T
    carries, xs   how many of the operands are these
    reverse  from the last entry to the first
    needs    the operands that want a gradient

A node has one value, so it is flat: the outputs of the body one after the other, each with its T entries in their
order. Its cotangent is a `Cotangents`, which knows which outputs have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError, message
from ..graph.graph import DType, Graph, Op, Shape
from .rules import same_dtype


def start_of(body: Graph, length: int, k: int) -> int:
    """Where output k begins."""
    return length * sum(prod(node.shape) for node in body.outputs[:k])


def scan_shape(*shapes: Shape, body: Graph, length: int, carries: int, xs: int, **attrs: Any) -> Shape:
    """All outputs of all steps in a row."""
    entries = range(carries, carries + xs)
    expected = tuple((length, *node.shape) if k in entries else node.shape for k, node in enumerate(body.inputs))
    if shapes != expected:
        raise ShapeError(message("scan", f"operands of shapes {shapes}", f"{expected}"))
    return (start_of(body, length, len(body.outputs)),)


def scan_dtype(*dtypes: DType, body: Graph, **attrs: Any) -> DType:
    """That of the outputs, which have one."""
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


def stacks_of(body: Graph, length: int) -> tuple[Any, list[Any]]:
    """Room for the value of a scan, and each output in it, (T, ...)."""
    flat = np.empty(start_of(body, length, len(body.outputs)), body.outputs[0].dtype)
    starts = [start_of(body, length, k) for k in range(len(body.outputs) + 1)]
    return flat, [flat[starts[k] : starts[k + 1]].reshape((length, *node.shape)) for k, node in enumerate(body.outputs)]


def run_steps(
    *operands: Any,
    body: Graph,
    length: int,
    carries: int,
    xs: int,
    reverse: bool,
    needs: tuple[int, ...],
) -> Any:
    """The loop, in Python; what does not change from step to step is computed once."""
    flat, stacked = stacks_of(body, length)
    values, once, each, outputs = _program(body, carries + xs)
    values[: len(operands)] = operands
    _run(values, once)
    leaving = list(zip(stacked, outputs, strict=True))
    for t in reversed(range(length)) if reverse else range(length):
        for k in range(carries, carries + xs):
            values[k] = operands[k][t]
        _run(values, each)
        for every, k in leaving:
            every[t] = values[k]
        values[:carries] = [values[k] for k in outputs[:carries]]
    return flat


@dataclass(frozen=True, slots=True)
class Cotangents:
    """The cotangent of a scan: a handle (T, ...) for each output that has one."""

    parts: Mapping[int, Any]

    def __add__(self, other: Cotangents) -> Cotangents:
        parts = dict(self.parts)
        for k, g in other.parts.items():
            parts[k] = parts[k] + g if k in parts else g
        return Cotangents(parts)


def _stacked_shape(x: Shape, k: int, start: int, shape: Shape) -> Shape:
    if len(x) != 1 or not 0 <= start <= start + prod(shape) <= x[0]:
        raise ShapeError(message("stacked", f"shape {shape} from {start} on for {x}", "a part of a scan"))
    return shape


def _stacked_emit(read: Any, index: Any, x: Shape, k: int, start: int, shape: Shape) -> Any:
    place, step = read.zero + start, 1
    for part, n in zip(reversed(index), reversed(shape), strict=True):
        place, step = place + part * step, step * n
    return read(0, (place,))


# `k` is the number of the output, `shape` begins with T. The operand is a SCAN.
STACKED = Op(
    "stacked",
    "movement",
    shape=_stacked_shape,
    dtype=same_dtype("stacked", "f"),
    numpy=lambda x, k, start, shape: x[start : start + prod(shape)].reshape(shape),
    vjp=(lambda g, out, x, k, start, shape: Cotangents({k: g}),),
    emit=_stacked_emit,
    linear=True,
    relays=True,
    follows=lambda varies, out, x, **attrs: not varies(out[0]),
    onnx=lambda to, x, k, start, shape: x.name[k],
)


def scan_onnx(
    to: Any, *operands: Any, body: Graph, length: int, carries: int, xs: int, reverse: bool, needs: tuple[int, ...]
) -> Any:
    """The names of all outputs, of all steps. A loop without entries counts those of one that nobody reads."""
    moving, fixed = operands[: carries + xs], operands[carries + xs :]
    entries = xs or 1
    made = to(
        "Scan",
        *moving,
        *(() if xs else (to.filled(0, (length,), to.dtype),)),
        count=carries + len(body.outputs),
        body=to.body(body, fixed, carries),
        num_scan_inputs=entries,
        scan_input_directions=(int(reverse),) * entries,
        scan_output_directions=(int(reverse),) * len(body.outputs),
    )
    return made[carries:]


def stacked_output(scanned: Any, body: Graph, length: int, k: int) -> Any:
    """Output k of all steps, (T, ...)."""
    return scanned.apply(STACKED, k=k, start=start_of(body, length, k), shape=(length, *body.outputs[k].shape))


def last(stacked: Any, first: Any, reverse: bool) -> Any:
    """A carry after the loop: where there was no step, the one before it."""
    length = stacked.shape[0]
    return stacked.select(0, 0 if reverse else length - 1) if length else first


def scan_follows(varies: Any, out: Shape, *shapes: Shape, length: int, carries: int, xs: int, **attrs: Any) -> bool:
    """No step is missing, and no entry."""
    return not any(map(varies, (length, *(shape[0] for shape in shapes[carries : carries + xs]))))
