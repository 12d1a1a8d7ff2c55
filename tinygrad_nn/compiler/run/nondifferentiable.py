"""Results of a compiled function through which somebody might want a gradient that is not there.

A gradient that silently is zero would be the worst answer, so such a result needs one, and answers with an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ...errors import GraphError, message
from ...graph.graph import NO_ATTRS, Node, Op
from ...support.pytree import flatten, unflatten
from ...tensor import Tensor
from ..trace import Traced


def _no_gradient(g: Any, result: Any, *operands: Any, wanted: Any) -> Any:
    hint = "compile the function that takes the gradient, tg.jit(tg.grad(f)), or differentiate the eager one"
    raise GraphError(message("jit", "a gradient through the call of a compiled function", "one taken inside", hint))


NONDIFFERENTIABLE: Final = Op(
    "compiled",
    "control",
    shape=lambda *shapes: shapes[0],
    dtype=lambda *dtypes: dtypes[0],
    numpy=lambda *values: values[0],
    vjp=_no_gradient,
    relays=True,
)


def nondifferentiable(result: Any, traced: Traced, leaves: Sequence[Any]) -> Any:
    """The results; those that depend on arguments that require grad answer to backward() that none flows through."""
    values, tree = flatten(result)
    operands = tuple(leaf.node for leaf in leaves if isinstance(leaf, Tensor) and leaf.requires_grad)
    for position, (kind, what) in enumerate(traced.results):
        if kind == "output" and what in traced.dependent:
            node = values[position].node
            values[position] = Tensor.handle(
                Node(NONDIFFERENTIABLE, operands, NO_ATTRS, node.shape, node.dtype, node.value, True)
            )
    return unflatten(tree, values)
