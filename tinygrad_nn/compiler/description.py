"""A job in words: two jobs with the same description are the same program, whoever asked for them.

What decides about machine code is in it: of every node the op, the operands, the attributes, shape, dtype and, where
it is known, the value; which inputs are arguments, and which places of which graphs are one and the same tensor from
outside; what is updated and returned; the batches and epochs around it. What belongs to the one who asked is not: the
tensors, modules and optimizers themselves, and their values.

An attribute is only described if its type is known to be nothing but its value, and an op if it is one of the table: of
what is foreign there is no description, and it is compiled for itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from typing import Any, Final

import numpy as np

from ..adjoint import SCAN
from ..graph.graph import Graph, Length, Node, Op
from ..ops import TABLE
from ..ops.scan import STACKED
from .job import Job, Lanes, Part

_NAMES: Final[Mapping[Op, str]] = {op: op.name for op in (*TABLE.values(), SCAN, STACKED)}
SHORT: Final = 64  # bytes of an array that are written as they are; of a longer one their hash is


class _Foreign(Exception):
    """Something that cannot be described."""


def described(job: Job) -> str | None:
    """The description of a job; None where something in it is foreign."""
    numbers = {id(handle): k for k, handle in enumerate(job.handles)}
    try:
        lines = [_value((job.arguments, job.epochs)), _lanes(job.lanes, numbers)]
        for part in job.traces:
            lines += [_part(part, numbers), *_graph(part.graph)]
    except _Foreign:
        return None
    return "\n".join(lines)


def _lanes(lanes: Lanes | None, numbers: Mapping[int, int]) -> str:
    """How many models there are, and what each has for itself."""
    if lanes is None:
        return ""
    own = tuple(numbers[id(handle)] for handle in lanes.handles)
    return _value((lanes.count, own, lanes.columns, lanes.order))


def _part(part: Part, numbers: Mapping[int, int]) -> str:
    """What stands around a graph."""
    captures = tuple(numbers[id(capture.handle)] for capture in part.captures)
    updated = () if part.traced is None else part.traced.updated
    return _value(("part", captures, updated, part.results, part.batches, part.last is not None))


def _graph(graph: Graph) -> list[str]:
    """A line for each node, and one for what stands at the ends."""
    places: dict[Node, int] = {}
    lines = []
    inputs = set(graph.inputs)
    for place, node in enumerate(graph.nodes):
        name = _NAMES.get(node.op)
        if name is None:
            raise _Foreign
        operands = [places[x] for x in node.inputs]
        attrs = [(key, _value(value)) for key, value in node.attrs.items()] if node.attrs else ""
        value = "" if node.value is None or node in inputs else _array(node.value)
        lines.append(f"{name}{operands}{attrs}{node.shape}{node.dtype.char}{node.needs_grad}{value}")
        places[node] = place
    ends = [places[node] for node in (*graph.inputs, *graph.outputs)]
    updates = [(places[old], places[new]) for old, new in graph.updates]
    lines.append(f"{len(graph.inputs)} {ends} {updates}")
    return lines


def _value(value: Any) -> str:
    """An attribute, such that equal words mean equal bits of one type."""
    kind = type(value)
    if kind in _PLAIN or (kind is tuple and _PLAIN.issuperset(map(type, value))):
        return repr(value)
    write = _WORDS.get(kind)
    if write is not None:
        return write(value)
    for family, words in _FAMILIES:
        if isinstance(value, family):
            return words(value)
    if is_dataclass(value) and not isinstance(value, type) and value.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return f"{type(value).__qualname__}{[_value(getattr(value, one.name)) for one in fields(value)]}"
    raise _Foreign


def _array(value: Any) -> str:
    """An array, or a number of NumPy's."""
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise _Foreign
    content = array.tobytes()
    words = content.hex() if len(content) <= SHORT else blake2b(content, digest_size=32).hexdigest()
    return f"{array.dtype.str}{array.shape}{any(array.strides)}{words}"  # one element repeated is known as such


_PLAIN: Final = frozenset((bool, int, str, type(None)))
_WORDS: Final[Mapping[type, Callable[[Any], str]]] = {
    float: lambda value: struct.pack("<d", value).hex() + "f",
    tuple: lambda value: f"({','.join(map(_value, value))},)",
    Length: repr,
}
_FAMILIES: Final[tuple[tuple[type, Callable[[Any], str]], ...]] = (
    (np.dtype, lambda value: f"dtype {value.str}"),
    (np.generic, _array),
    (np.ndarray, _array),
    (tuple, lambda value: f"{type(value).__qualname__}({','.join(map(_value, value))},)"),
    (Graph, lambda value: "{" + ";".join(_graph(value)) + "}"),
)
