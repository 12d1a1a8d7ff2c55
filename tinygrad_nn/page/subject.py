"""What every part of a page is made from: the function as a graph, with names and numbers of a batch, its compilation,
and what a run of training left behind.

To look changes nothing: parameters, state of optimizers, gradients and modes are afterwards as they were before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from ..adjoint import SCAN
from ..compiler.driver import Compilation, build
from ..compiler.job import Job, Part
from ..compiler.run.jit import Jitted, describe
from ..compiler.trace import Traced, forget, trace
from ..errors import GraphError, TinygradError, TraceError, message
from ..fitting import trained_dtype
from ..graph.graph import Array, Graph, Node
from ..history import History
from ..nn import Module
from ..placed import placed
from ..support.arrays import as_array
from ..support.pytree import mapped
from ..support.settings import shown
from ..sweeping import Sweep
from ..tensor import Tensor
from ..tensor.core import constant
from ..viz.description import Frame, Role
from ..viz.record import Reached, inputs, record

COMPILED: Final = 10_000  # nodes of a graph that is compiled for a page
_LONG: Final = 200  # characters of a name that are shown
_ARRAYS: Final = (Tensor, np.ndarray, np.generic, float)  # what a trace takes as symbols


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a part of the page is not there, in a sentence."""

    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What the page is about.

    `graph` is the function as it was traced, or, where it cannot be (`traced` then says why), as it ran once.
    `leaves` are the roles and names of its inputs, `results` what its outputs and updates are called, `values` what the
    inputs hold for the `batch`, `owners` the parameter that state of an optimizer is for, or a parameter itself.
    `scopes` are the modules that were running, where there is no trace, whose `graph.places` knows them.
    `ids` are the numbers by which all parts of the page know nodes: those of the graph, then those in loops.
    `compilation` has what the stages up to the object code made. `frames` are arrays of the batch that were data
    frames, with the names of their columns.
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
    ids: Mapping[Node, int]
    owners: Mapping[Node, str] = field(default_factory=dict)
    scopes: Mapping[Node, tuple[Frame, ...]] = field(default_factory=dict)
    copies: Mapping[Node, Node] = field(default_factory=dict)
    history: History | None = None
    sweep: Sweep | None = None
    frames: tuple[tuple[Array, tuple[str, ...]], ...] = ()

    @property
    def modules(self) -> tuple[tuple[str, Module], ...]:
        """The modules that the function is, or uses, by the names of their variables; none that is part of another."""
        found = self.reached.modules
        inner = {id(part) for _, root in found for part in root.modules() if part is not root}
        return tuple((name, module) for name, module in found if id(module) not in inner)

    @property
    def parameters(self) -> int:
        """Elements of all parameters."""
        return sum(int(np.prod(one.shape)) for one in _parameters(self.reached.named()))


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
    batch, frames = _as_arrays(own, batch)
    start = Subject(name, function, batch, Graph((), (), ()), {}, {}, {}, Missing(""), Missing(""), reached, {})
    start = replace(start, history=history, sweep=sweep, frames=frames)
    try:
        found = _traced(start, own)
    except TinygradError as error:
        return _recorded(start, own, Missing(f"It cannot be compiled: {error}"))
    if not found.graph.outputs and not found.graph.updates:
        raise GraphError(message("report", "a function that returns no tensor", "one that does"))
    return found


def _as_arrays(
    function: Any, batch: tuple[Any, ...]
) -> tuple[tuple[Any, ...], tuple[tuple[Array, tuple[str, ...]], ...]]:
    """The batch with arrays for data frames, fractional numbers in the dtype of the model; and which these are."""
    made: list[Any] = []
    frames: list[tuple[Array, tuple[str, ...]]] = []
    for one in batch:
        framed = callable(getattr(one, "to_numpy", None))
        array = as_array("report", one) if framed else one
        made.append(array.astype(trained_dtype(function)) if framed and array.dtype.kind == "f" else array)
        if framed and array.ndim == 2:
            frames.append((made[-1], tuple(short(str(name)) for name in one.columns)))
    return tuple(made), tuple(frames)


def numbered(graph: Graph) -> dict[Node, int]:
    """Numbers for the nodes of a graph, and behind them for those of the loops in it."""
    found: dict[Node, int] = {}
    graphs = [graph]
    for one in graphs:  # which grows
        for node in one.nodes:
            found.setdefault(node, len(found))
            if node.op is SCAN:
                graphs.append(node.attrs["body"])
    return found


def _traced(start: Subject, function: Any) -> Subject:
    """With the trace, and what the compiler makes of it. The function leaves nothing."""
    batch = start.batch
    signature, arrays, leaves, is_array = describe(batch, {})
    try:
        with placed():
            traced = trace(function, signature.tree, leaves, is_array, equates=True)
    except TinygradError:
        raise
    except Exception as error:  # the user's own words for what a trace cannot know; if not, the run says it again
        raise TraceError(message("report", f"{type(error).__name__}: {error}")) from error
    known = start.reached.named()  # with state that the trace has made
    owners = {id(parameter): known[id(parameter)][2] for parameter in _parameters(known)}
    for optimizer in start.reached.optimizers:
        for owner, state in optimizer.state.items():
            owners |= {id(value): owners[id(owner)] for value in state.values() if id(owner) in owners}
    forget(traced.beginning)
    for module, training in traced.found_modes:
        module.training = training
    roles: dict[Node, tuple[Role, str]] = {}
    values: dict[Node, Array] = {}
    for node, array, name in zip(traced.arguments, arrays, _argument_names(function, batch, len(arrays)), strict=True):
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
            node, name = traced.graph.outputs[output], roles[traced.captures[position].node][1]
            results[node] = (*results.get(node, ()), f"gradient of {name}")
    return replace(
        start,
        graph=traced.graph,
        leaves=roles,
        results=results,
        values=values,
        traced=traced,
        compilation=_compiled(traced),
        ids=numbered(traced.graph),
        owners={one.node: owners[id(one.handle)] for one in traced.captures if id(one.handle) in owners},
    )


def _parameters(known: Mapping[int, tuple[Tensor, Role, str]]) -> list[Tensor]:
    return [handle for handle, role, _ in known.values() if role == "parameter"]


def _argument_names(function: Any, batch: tuple[Any, ...], count: int) -> list[str]:
    """The names of the arguments that are arrays, in their order."""
    tensors = mapped(lambda one: Tensor.handle(constant(np.zeros(()))) if isinstance(one, _ARRAYS) else one, batch)
    found = [name for name, _ in inputs(function, tensors)]
    return found if len(found) == count else [f"input {k}" for k in range(count)]


def _recorded(start: Subject, function: Any, why: Missing) -> Subject:
    """With what one run of the function computes."""
    roots, names = record(function, start.batch)
    if not roots:
        raise GraphError(message("report", "a function that returns no tensor", "one that does"))
    graph = Graph.of(roots)
    return replace(
        start,
        graph=graph,
        leaves=names.leaves,
        results=names.results,
        values={node: np.asarray(node.value) for node in graph.nodes if node.value is not None},
        traced=why,
        compilation=why,
        ids=numbered(graph),
        scopes=names.scopes,
        copies=names.copies,
    )


def _compiled(traced: Traced) -> Compilation | Missing:
    """What the stages make of the graph, or why there is nothing."""
    count = len(traced.graph.nodes)
    if count > COMPILED:
        return Missing(f"A graph of {count:,} nodes is not compiled for a page; up to {COMPILED:,} are.")
    try:
        return build(Job((Part(traced.graph, traced),), len(traced.arguments)), last="emit")
    except TinygradError as error:
        return Missing(f"It cannot be compiled: {error}")
