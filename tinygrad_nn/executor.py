"""The meaning of a Graph: run it node by node with each op's NumPy function. The compiler is held to this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import ShapeError, message
from .graph.graph import Graph, Node


def eval_node(node: Node, operands: Sequence[Any]) -> Any:
    """The value of one node, given those of its operands. Floating-point warnings are silent: NaN and inf are values.
    """
    with np.errstate(all="ignore"):
        return node.op.numpy(*operands, **node.attrs)


def run(graph: Graph, inputs: Sequence[Any] = ()) -> tuple[list[Any], list[Any]]:
    """Values of the graph's outputs and of its updates, given values for its inputs (defaults: their own).

    Raises ShapeError where an input has the wrong number, shape or dtype.
    """
    env: dict[Node, Any] = {}
    values = inputs if len(inputs) else [node.value for node in graph.inputs]
    if len(values) != len(graph.inputs):
        raise ShapeError(message("run", f"{len(values)} inputs", f"{len(graph.inputs)}"))
    for position, (node, value) in enumerate(zip(graph.inputs, values, strict=True)):
        if value is None:
            raise ShapeError(message("run", f"no value for input {position}", f"{node.shape}:{node.dtype}"))
        array = np.asarray(value)
        if (array.shape, array.dtype) != (node.shape, node.dtype):
            got = f"{array.shape}:{array.dtype} as input {position}"
            raise ShapeError(message("run", got, f"{node.shape}:{node.dtype}"))
        env[node] = array
    steps = [node for node in graph.nodes if node not in env]  # what stands before an input is not in the graph
    last_use = {operand: index for index, node in enumerate(steps) for operand in node.inputs}
    kept = {*graph.outputs, *(new for _, new in graph.updates)}
    for index, node in enumerate(steps):
        source = node.op.kind == "source"
        env[node] = node.value if source else eval_node(node, [env[operand] for operand in node.inputs])
        for operand in set(node.inputs):
            if last_use[operand] == index and operand not in kept:
                del env[operand]
    return [env[node] for node in graph.outputs], [env[new] for _, new in graph.updates]
