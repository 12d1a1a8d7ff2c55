"""Trade time for memory: `tg.checkpoint` keeps the structure of a computation, drops its values, and computes them
again backward.

What is kept is the recorded graph without the values of its nodes, so random masks, parameters used by closure and
anything else the function touched are exactly the same the second time: the Python function is not called again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .autograd import as_tuple, grad
from .graph.graph import NO_ATTRS, Attrs, Node, Op, next_serial, reachable
from .support.settings import typed
from .tensor.core import Core, constant, mode, same
from .tensor.tensor import Tensor, enable_grad

Step = tuple[Op, Attrs, tuple[int | Node, ...]]  # an operand is an earlier step or a node that is kept


@typed
def checkpoint(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)`, a tensor or a tuple of tensors, without keeping what lies between for the backward pass.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor(0.5, requires_grad=True)
    >>> tg.checkpoint(lambda x: x.sin().exp(), x).backward()
    >>> round(x.grad.item(), 5)
    1.41742
    """
    start = next_serial()
    results = function(*args)
    forgotten = [_forget(result, start) for result in as_tuple(results, "a function that returned", "checkpoint")]
    return forgotten[0] if isinstance(results, Tensor) else tuple(forgotten)


def _forget(result: Tensor, start: int) -> Tensor:
    """The result as one node whose operands are what the computation began from."""
    if not result.requires_grad or result.node.serial < start or not mode.grad or result.is_traced:
        return result  # compiled code places its own buffers

    def inside(node: Node) -> bool:
        return node.needs_grad and node.serial > start and bool(node.inputs)

    nodes = reachable([result.node], inside)
    place = {node: index for index, node in enumerate(nodes)}
    steps: list[Step] = [(node.op, node.attrs, tuple(place.get(p, p) for p in node.inputs)) for node in nodes]
    origins = tuple(dict.fromkeys(p for node in nodes for p in node.inputs if p.needs_grad and p not in place))
    out = result.node
    op = _checkpoint_op(steps, origins, out)
    return Tensor.handle(Node(op, origins, NO_ATTRS, out.shape, out.dtype, out.value, True))


def _replay(steps: list[Step], sources: Mapping[Node, Tensor]) -> Tensor:
    """Compute the steps again from the given tensors in place of what they began from, recording."""
    done: list[Tensor] = []
    with enable_grad():
        for op, attrs, refs in steps:
            first, *others = [
                done[ref] if isinstance(ref, int) else sources.get(ref, Tensor.handle(ref)) for ref in refs
            ]
            done.append(first.apply(op, *others, **attrs))
    return done[-1]


def _checkpoint_op(steps: list[Step], origins: tuple[Node, ...], out: Node) -> Op:
    """An op for this one node; its rule replays the steps and differentiates them."""
    shape, dtype = out.shape, out.dtype

    def rule(g: Core, result: Core, *inputs: Core, wanted: Sequence[int]) -> dict[int, Tensor]:
        # Copies, because one origin may depend on another one, and what flows that way is not this node's.
        sources = [Tensor.handle(same(origin, needs_grad=True)) for origin in origins]
        seed = g if isinstance(g, Tensor) else Tensor.handle(constant(g.node.value))
        replayed = _replay(steps, dict(zip(origins, sources, strict=True)))
        chosen = [sources[k] for k in wanted]
        found = grad(replayed, chosen, seed, create_graph=mode.grad, allow_unused=True)
        pairs = zip(chosen, found, strict=True)
        return dict(zip(wanted, (x.new_zeros(x.shape) if g is None else g for x, g in pairs), strict=True))

    def numpy(*values: Any) -> Any:
        given = {origin: Tensor.handle(constant(np.asarray(v))) for origin, v in zip(origins, values, strict=True)}
        return mode.already_quiet(_replay, steps, given).node.value

    return Op("checkpoint", "control", lambda *shapes: shape, lambda *dtypes: dtype, numpy, rule, relays=True)
