"""The gradient of what a page shows, and the gradient of that, as graphs: the rules of the ops, run on symbols.

The nodes of the function are copied first, because a step that calls `backward` has used its own up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import TinygradError
from ..graph.graph import NO_ATTRS, Graph, Node
from ..graph.places import Place, Places
from ..graph.reverse import reverse
from ..ops.source import INPUT
from ..placed import placed
from ..tensor import Tensor, enable_grad, no_grad
from ..tensor.core import constant, tracing
from .formulas import Recorder
from .subject import Missing, Subject


@dataclass(slots=True)
class _Cotangents:
    """Notes the cotangent of every node that a walk goes through."""

    found: dict[Node, Node] = field(default_factory=dict)

    def begin(self) -> None:
        """Nothing is to be done."""

    def see(self, node: Node, g: Any, argnum: int, cotangent: Any) -> None:
        """All of the node's cotangent is there when it is asked for that of an operand."""
        if isinstance(g, Tensor):  # that of a loop has parts, of which its results have theirs
            self.found[node] = g.node

    def end(self) -> None:
        """Nothing is to be done."""


@dataclass(frozen=True, slots=True, eq=False)
class Derivatives:
    """The differentiable part of a function, and its derivatives.

    `own` has for each copied node the one that it is a copy of, `roots` are the results that are differentiated,
    `cotangents` those of the copied nodes, `gradients` those of what a gradient is taken for, `second` the gradients of
    half the sum of their squares: the Hessian times the gradient. `seeds` stand for the cotangents of results that are
    no single number, which are taken to be 1. `places` are those of all nodes.
    """

    own: Mapping[Node, Node]
    roots: tuple[Node, ...]
    cotangents: Mapping[Node, Node]
    gradients: Mapping[Node, Node]
    second: Mapping[Node, Node] | Missing
    seeds: tuple[Node, ...]
    places: Mapping[Node, Place]


def derivatives(subject: Subject, deepest: int, largest: int) -> Derivatives | Missing:
    """What the rules of the ops make of a function of up to so many nodes; the second derivative of one of up to
    `deepest`.
    """
    count = len(subject.graph.nodes)
    if count > largest:
        return Missing(f"The gradient of {count:,} nodes is left out: up to {largest:,} are differentiated for a page.")
    known = subject.graph.places
    needing = {node for node in subject.graph.nodes if node.needs_grad and _is_forward(node, known)}
    if not needing:  # a function of its inputs alone
        needing = _depending(subject)
    read = {operand for node in needing for operand in node.inputs}
    sinks = [node for node in subject.graph.nodes if node in needing and node not in read and node.inputs]
    if not sinks:
        return Missing("Nothing of it depends on a parameter, or on an input with a fractional part.")
    nodes = Graph.of(sinks).nodes
    copies: dict[Node, Node] = {}
    for node in nodes:
        operands = tuple(copies[one] for one in node.inputs)
        value = None if node in subject.leaves else node.value
        copies[node] = Node(node.op, operands, node.attrs, node.shape, node.dtype, value, node in needing)
    with placed() as places:
        for node, copy in copies.items():
            place = None if known is None else known.place(node)
            if place is not None:
                places.known[copy] = place
        try:
            seeds = tuple(_seed(node) for node in sinks)
            found = _derived(copies, sinks, seeds, len(nodes) <= deepest)
        except (TinygradError, NotImplementedError) as error:
            return Missing(f"Its gradient cannot be shown: {error}")
    symbols = tuple(seed for seed in seeds if seed.value is None)
    return Derivatives({copy: node for node, copy in copies.items()}, *found, symbols, places.known)


def _seed(node: Node) -> Node:
    """The cotangent of a result: a symbol, or 1 where it is a number."""
    return Node(INPUT, (), NO_ATTRS, node.shape, node.dtype, None) if node.shape else constant(np.ones((), node.dtype))


def _is_forward(node: Node, known: Places | None) -> bool:
    """Whether a node is no part of a gradient or of an update."""
    place = None if known is None else known.place(node)
    return place is None or place.role == "forward"


def _depending(subject: Subject) -> set[Node]:
    """The fractional inputs, and what is computed of them by rules that have gradients."""
    found = {node for node, (role, _) in subject.leaves.items() if role == "input" and node.dtype.kind == "f"}
    for node in subject.graph.nodes:
        if node.op.differentiable and node.dtype.kind == "f" and not found.isdisjoint(node.inputs):
            found.add(node)
    return found


def _derived(
    copies: Mapping[Node, Node], sinks: Sequence[Node], seeds: Sequence[Node], deep: bool
) -> tuple[tuple[Node, ...], Mapping[Node, Node], Mapping[Node, Node], Mapping[Node, Node] | Missing]:
    """The walks back."""
    roots = tuple(copies[node] for node in sinks)
    wanted = [copy for copy in copies.values() if copy.needs_grad and not copy.inputs]
    watch = _Cotangents()
    with tracing(Recorder()), enable_grad() if deep else no_grad():
        found = reverse(roots, [Tensor.handle(seed) for seed in seeds], Tensor.handle, wanted, retain=True, watch=watch)
        gradients = {node: one.node for node, one in found.items()}
        cotangents = {**watch.found, **gradients}
        if not deep:
            return roots, cotangents, gradients, Missing(f"left out, for a function of {len(copies):,} nodes")
        squares = [(one * one).sum() * 0.5 for one in found.values() if one.node.needs_grad]
        if not squares:
            return roots, cotangents, gradients, Missing("zero: the gradient is the same everywhere")
        total = squares[0]
        for one in squares[1:]:
            total = total + one
    with tracing(Recorder()), no_grad():
        seed = Tensor.handle(constant(np.ones((), total.dtype)))
        second = reverse([total.node], [seed], Tensor.handle, wanted, retain=True)
    return roots, cotangents, gradients, {node: one.node for node, one in second.items()}
