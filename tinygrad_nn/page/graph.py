"""The graph: what is computed of what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .subject import Missing, Subject, short


def part(subject: Subject) -> Mapping[str, Any] | Missing:
    """A row per node: op, shape, dtype, name, and the numbers of its operands."""
    number = {node: k for k, node in enumerate(subject.graph.nodes)}
    nodes = [
        [
            node.op.name,
            list(node.shape),
            node.dtype.name,
            short(subject.leaves[node][1] if node in subject.leaves else ", ".join(subject.results.get(node, ()))),
            [number[operand] for operand in node.inputs if operand in number],
        ]
        for node in subject.graph.nodes
    ]
    return {"nodes": nodes}
