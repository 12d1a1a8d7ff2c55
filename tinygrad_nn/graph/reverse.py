"""Reverse mode: one walk over the recorded graph, from its roots to what a gradient is wanted for.

Works on nodes and on whatever handle type the caller passes; rules are Tensor operations, so under an enabled
gradient mode the walk itself is recorded and can be differentiated again. Nothing is written on nodes but the
`released` bit of their slot, which makes a second walk over freed values an error, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any, Protocol, TypeVar

from ..errors import GraphError, ShapeError, message
from .graph import GradSlot, Node, reachable


class Cotangent(Protocol):
    """What the walk needs of a handle."""

    def __add__(self, other: Any, /) -> Any: ...


class Watch(Protocol):
    """Looks on: told when a walk begins and ends, and of each (node, its cotangent, argnum, the operand's cotangent).
    """

    def begin(self) -> None:
        """A walk begins."""

    def see(self, node: Node, g: Any, argnum: int, cotangent: Any) -> None:
        """One operand's cotangent was made."""

    def end(self) -> None:
        """The walk is over, also when it failed."""


T = TypeVar("T", bound=Cotangent)

RELEASED = GradSlot()
RELEASED.released = True
_needs_grad = attrgetter("needs_grad")


def reverse(
    roots: Sequence[Node],
    seeds: Sequence[T],
    handle: Callable[[Node], T],
    wanted: Collection[Node] | None = None,
    retain: bool = False,
    watch: Watch | None = None,
    expose: Callable[[T], Any] = lambda g: g,
) -> dict[Node, T]:
    """Cotangents of `wanted` (by default: every leaf, and every node that keeps its gradient), by node.

    Nodes that the roots do not depend on are absent; where a rule is None the operand is an integer or bool, which
    never needs one. `expose` makes of a cotangent what users' hooks may see.
    """
    if watch is None:
        return _walk(roots, seeds, handle, wanted, retain, None, expose)
    watch.begin()
    try:
        return _walk(roots, seeds, handle, wanted, retain, watch, expose)
    finally:
        watch.end()


def _walk(
    roots: Sequence[Node],
    seeds: Sequence[T],
    handle: Callable[[Node], T],
    wanted: Collection[Node] | None,
    retain: bool,
    watch: Watch | None,
    expose: Callable[[T], Any],
) -> dict[Node, T]:
    useful = None if wanted is None else _between(reachable(roots, _needs_grad), wanted)
    # Nodes are taken by falling serial, so all users of a node come before it. Waiting for each, by its serial: the
    # node, its cotangent so far, and its handle, which serves as an operand before it serves as a result.
    waiting: dict[int, list[Any]] = {}
    heap: list[int] = []
    for root, seed in zip(roots, seeds, strict=True):
        if root.needs_grad:
            known = waiting.get(-root.serial)
            if known is None:
                waiting[-root.serial] = [root, seed, handle(root)]
                heappush(heap, -root.serial)
            else:
                known[1] = known[1] + seed
    found: dict[Node, T] = {}
    while heap:
        node, g, out = waiting.pop(heappop(heap))
        slot = node.slot
        if slot is not None:
            if slot.hooks:
                for hook in tuple(slot.hooks.values()):
                    replaced = hook(expose(g))
                    g = g if replaced is None else handle(_replacement(replaced, node))
            if wanted is None and slot.keep:
                found[node] = g
        if wanted is not None and node in wanted:
            found[node] = g
        inputs = node.inputs
        if not inputs or (useful is not None and useful.isdisjoint(inputs)):
            continue
        op, attrs = node.op, node.attrs
        marked = slot is not None
        operands, places = [], []
        for operand in inputs:
            marked = marked or operand.slot is not None
            if operand.needs_grad and (useful is None or operand in useful):
                key = -operand.serial
                place = waiting.get(key)
                if place is None:
                    place = waiting[key] = [operand, None, handle(operand)]
                    heappush(heap, key)
                operands.append(place[2])
            else:
                place = None
                operands.append(handle(operand))
            places.append(place)
        if marked and not op.linear:
            _check_intact(node)
        rules: Any = op.vjp
        together: Any = None
        if type(rules) is not tuple:
            wanted_here = tuple(k for k, place in enumerate(places) if place is not None)
            together = rules(g, out, *operands, wanted=wanted_here, **attrs)
        argnum = -1
        for place in places:  # counted by hand: enumerate costs 1% of a small step
            argnum += 1
            if place is not None:
                cotangent = together[argnum] if together else rules[argnum](g, out, *operands, **attrs)
                if watch is not None:
                    watch.see(node, g, argnum, cotangent)
                place[1] = cotangent if place[1] is None else place[1] + cotangent
        if not retain:
            if slot is None:
                node.slot = RELEASED
            else:
                slot.released = True
    return found


def _replacement(replaced: Any, node: Node) -> Node:
    """The node of what a hook returned, which must be able to stand for the cotangent of `node`."""
    new = getattr(replaced, "node", None)
    if not isinstance(new, Node):
        raise GraphError(message("hook", f"{type(replaced).__name__} instead of a gradient", "a tensor or None"))
    if (new.shape, new.dtype) != (node.shape, node.dtype):
        got = f"a gradient {new.shape}:{new.dtype.name} for a tensor {node.shape}:{node.dtype.name}"
        raise ShapeError(message("hook", got, "the same shape and dtype"))
    return new


def _between(order: Sequence[Node], wanted: Collection[Node]) -> set[Node]:
    """What is wanted, and the nodes that lie on a path to it."""
    useful = set(wanted)
    for node in order:
        if not useful.isdisjoint(node.inputs):
            useful.add(node)
    return useful


def _check_intact(node: Node) -> None:
    """A rule that reads values must find them: not freed by an earlier walk, not overwritten in place since."""
    slot = node.slot
    if slot is not None and slot.released:
        raise GraphError(
            message(
                "backward",
                f"a second walk through {node!r}, whose saved values were freed by the first",
                hint="call the first backward(retain_graph=True)",
            )
        )
    for operand in node.inputs:
        slot = operand.slot
        if slot is not None and slot.owner >= 0 and slot.owner != operand.serial:
            raise GraphError(
                message(
                    "backward",
                    f"{node!r}, which needs the value of a leaf {operand.shape} that was since written in place",
                    hint="call backward() before the write, or write to a clone()",
                )
            )
