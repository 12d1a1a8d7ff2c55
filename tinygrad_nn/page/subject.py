"""What every part of a page is made from: the function as a graph, with names and numbers of a batch, its compilation,
and what a run of training left behind.

To look changes nothing: parameters, state of optimizers, gradients and modes are afterwards as they were before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..compiler.driver import Compilation, build
from ..compiler.job import Job, Part
from ..compiler.run.jit import Jitted, describe
from ..compiler.trace import Traced, forget, trace
from ..errors import GraphError, TinygradError, message
from ..graph.graph import Array, Graph, Node
from ..history import History
from ..nn import Module
from ..support.settings import shown
from ..sweeping import Sweep
from ..tensor import Tensor
from ..viz.description import Names, Role
from ..viz.record import Reached, inputs, record

COMPILED: Final = 20_000  # nodes of a graph that is compiled for a page
_LONG: Final = 200  # characters of a name that are shown


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a part of the page is not there, in a sentence."""

    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What the page is about.

    `graph` is the function as it was traced, or, where it cannot be (`traced` then says why), as it ran once.
    `leaves` are the roles and names of its inputs, `results` what its outputs and updates are called, `values` what the
    inputs hold for the `batch`. `compilation` has what the stages up to the object code made.
    """

    name: str
    function: Any
    batch: tuple[Any, ...]
    graph: Graph
    leaves: Mapping[Node, tuple[Role, str]]
    results: Mapping[Node, tuple[str, ...]]
    values: Mapping[Node, Array]
    traced: Traced | Missing
    compilation: Compilation | Missing
    reached: Reached
    history: History | None = None
    sweep: Sweep | None = None

    @property
    def modules(self) -> tuple[tuple[str, Module], ...]:
        """The modules that the function is, or uses, by the names of their variables; none that is part of another."""
        found = self.reached.modules
        inner = {id(part) for _, root in found for part in root.modules() if part is not root}
        return tuple((name, module) for name, module in found if id(module) not in inner)

    @property
    def parameters(self) -> int:
        """Elements of all parameters."""
        return sum(node.value.size for node in self._given("parameter"))

    def _given(self, role: Role) -> list[Any]:
        return [handle.node for handle, own, _ in self.reached.named().values() if own == role]


def short(name: str, length: int = _LONG) -> str:
    """A name that is not too long to be shown."""
    return name if len(name) <= length else f"{name[:length]}… ({len(name):,} characters)"


def subject(function: Any, batch: tuple[Any, ...], history: History | None, sweep: Sweep | None) -> Subject:
    """What a page on this function, called with this batch, is made from.

    Raises GraphError for what is no function and for one without tensors, and whatever the function itself raises.
    """
    if not callable(function):
        raise GraphError(message("report", shown(function), "a module, a function or a step, then a batch for it"))
    if isinstance(function, Module) and not batch:
        raise GraphError(message("report", "a module without an input", "an example", "tg.report(model, x)"))
    own = function.function if isinstance(function, Jitted) else function
    reached = Reached.of({"": own})
    name = short(str(getattr(own, "__name__", type(own).__name__)))
    try:
        traced, graph, leaves, results, values = _traced(own, batch, reached)
    except TinygradError as error:
        graph, names = _recorded(own, batch)
        why = Missing(f"It cannot be compiled: {error}")
        values = {node: np.asarray(node.value) for node in graph.nodes if node.value is not None}
        return Subject(
            name, function, batch, graph, names.leaves, names.results, values, why, why, reached, history, sweep
        )
    if not graph.outputs and not graph.updates:
        raise GraphError(message("report", "a function that returns no tensor", "one that does"))
    compilation = _compiled(traced)
    return Subject(name, function, batch, graph, leaves, results, values, traced, compilation, reached, history, sweep)


def _traced(
    function: Any, batch: tuple[Any, ...], reached: Reached
) -> tuple[Traced, Graph, Mapping[Node, tuple[Role, str]], Mapping[Node, tuple[str, ...]], Mapping[Node, Array]]:
    """The trace, its graph, names and values. The function leaves nothing."""
    signature, arrays, leaves, is_array = describe(batch, {})
    traced = trace(function, signature.tree, leaves, is_array, equates=True)
    known = reached.named()  # state that the trace has made too
    forget(traced.beginning)
    for module, training in traced.found_modes:
        module.training = training
    roles: dict[Node, tuple[Role, str]] = {}
    values: dict[Node, Array] = {}
    tensors = tuple(Tensor.handle(node) for node in traced.arguments)
    for node, array, (name, _) in zip(traced.arguments, arrays, _argument_names(function, batch, tensors), strict=True):
        roles[node], values[node] = ("input", name), np.asarray(array)
    for capture in traced.captures:
        own = known.get(id(capture.handle))
        roles[capture.node] = ("constant", "a tensor") if own is None else own[1:]
        values[capture.node] = np.asarray(capture.handle.node.value)
    results: dict[Node, tuple[str, ...]] = {}
    for old, new in traced.graph.updates:
        results[new] = (*results.get(new, ()), f"new {roles[old][1]}")
    for position, output in traced.gradients:
        if output is not None:
            node, owner = traced.graph.outputs[output], roles[traced.captures[position].node][1]
            results[node] = (*results.get(node, ()), f"gradient of {owner}")
    return traced, traced.graph, roles, results, values


def _argument_names(function: Any, batch: tuple[Any, ...], tensors: tuple[Tensor, ...]) -> list[tuple[str, Any]]:
    """The names of the arguments that are arrays, in their order."""
    try:
        found = inputs(function, batch)
    except TinygradError:
        found = []
    return found if len(found) == len(tensors) else [(f"input {k}", one) for k, one in enumerate(tensors)]


def _recorded(function: Any, batch: tuple[Any, ...]) -> tuple[Graph, Names]:
    """What one run of the function computes."""
    roots, names = record(function, batch)
    if not roots:
        raise GraphError(message("report", "a function that returns no tensor", "one that does"))
    return Graph.of(roots), names


def _compiled(traced: Traced) -> Compilation | Missing:
    """What the stages make of the graph, or why there is nothing."""
    count = len(traced.graph.nodes)
    if count > COMPILED:
        return Missing(f"A graph of {count:,} nodes is not compiled for a page; up to {COMPILED:,} are.")
    try:
        return build(Job((Part(traced.graph, traced),), len(traced.arguments)), last="emit")
    except TinygradError as error:
        return Missing(f"It cannot be compiled: {error}")
