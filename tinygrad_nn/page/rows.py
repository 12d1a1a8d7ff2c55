"""What the graph of a step says of the rows of its batch: the axes they lie along, what each adds to the loss, what is
predicted for it, and the layers in between.

Nothing is asked of ops or modules. An axis is one of rows if its length follows that of the batch when the step is
traced with one row more. The prediction is the last node that everything goes through which the loss takes of features
and parameters before the labels come in; the layers are the nodes on that way that nothing goes around.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..compiler.run.jit import Jitted, describe
from ..compiler.trace import Traced, forget, trace
from ..executor import run
from ..export.model import result_names
from ..graph.graph import Array, Graph, Node, reachable
from ..graph.places import Place
from ..placed import placed
from ..support.pytree import mapped
from ..tensor import Tensor
from ..tensor.core import bind, constant
from ..tensor.creation import tensor
from .subject import Missing, Subject

LABELS: Final = frozenset(("y", "t", "target", "targets", "label", "labels", "truth", "y_true"))
NAMELESS: Final = "a tensor"  # which the page calls a tensor that has no name
DIFFERS: Final = "With another number of rows the step is another graph, so nothing in it can be told to be of one row."


@dataclass(frozen=True, slots=True)
class Layer:
    """A stretch of the way from features to prediction that begins where parameters come in: its last node, the names
    of the parameters, the nodes of the stretch, and what it is called.
    """

    node: Node
    parameters: tuple[str, ...]
    nodes: tuple[Node, ...]
    name: str


State = Mapping[int, Array]  # by the id of the tensor; all others are as they are


@dataclass(frozen=True, slots=True)
class Moment:
    """The state of the model after an epoch; None: as it is now."""

    epoch: int | None
    state: State


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A step on a batch, as it computes in evaluation.

    `columns` are the arrays of the batch, with their names; `labels` is the place of the labels among them, None where
    there are none. `axis` is the axis of rows, of each node that has one. `summed` are the nodes whose rows the `loss`
    sums up, or, where there is none, what is returned. `ids` are the numbers of nodes on the page, where the graph is
    the one that the page shows. Of `inner` nodes the axis of rows is merged with another one that stands before it.
    """

    subject: Subject
    traced: Traced
    names: tuple[str, ...]
    columns: tuple[Array, ...]
    labels: int | None
    count: int
    axis: Mapping[Node, int]
    loss: Node | None
    summed: tuple[Node, ...]
    prediction: Node | None
    layers: tuple[Layer, ...]
    ids: Mapping[Node, int]
    inner: frozenset[Node]

    @property
    def graph(self) -> Graph:
        """The graph of the step."""
        return self.traced.graph

    def values(self, nodes: Sequence[Node], state: State, columns: Sequence[Array] = ()) -> list[Array]:
        """The values of nodes in a state, on the batch or on other arrays of its shapes."""
        return values_of(self.traced, nodes, columns or self.columns, state)

    def losses(self, state: State) -> tuple[Array, float, bool] | Missing:
        """What each row adds to the loss, times the number of rows; what no row adds (a penalty); and whether the loss
        is the sum of both. Where it is not, or is not finite, rows have their parts of it to first order.
        """
        if self.loss is None:
            return Missing("The step returns no number that could be its loss.")
        values = self.values(self.summed, state)
        loss = self._loss_of(values, state)
        alone = [k for k in range(len(values)) if self._is_sum(k, values, loss, state)]
        chosen = alone or list(range(len(values)))
        slopes = self.slopes(self.summed, state)
        parts = np.zeros(self.count)
        for k in chosen:
            with np.errstate(all="ignore"):
                parts += per_row(self, self.summed[k], values[k] * slopes[k]).sum(1)
        rest = self._loss_of([np.zeros_like(v) if k in chosen else v for k, v in enumerate(values)], state)
        exact = bool(alone) and bool(np.isclose(parts.sum() + rest, loss, 1e-4, 1e-6))
        return parts * self.count, rest if exact else 0.0, exact

    def _loss_of(self, values: Sequence[Array], state: State) -> float:
        """The loss, given what it sums up."""
        graph, others = self._end(self.summed)
        return float(run(graph, [*values, *self.values(others, state)])[0][0])

    def _end(self, nodes: Sequence[Node]) -> tuple[Graph, list[Node]]:
        """The graph from some nodes to the loss, and its other inputs."""
        others = [node for node in self.graph.inputs if node not in nodes]
        return Graph.of([] if self.loss is None else [self.loss], [*nodes, *others]), others

    def _is_sum(self, k: int, values: Sequence[Array], loss: float, state: State) -> bool:
        """Whether the loss is linear in one of the nodes, the others as they are."""
        zero, twice = list(values), list(values)
        zero[k], twice[k] = np.zeros_like(values[k]), 2 * values[k]
        least, most = self._loss_of(zero, state), self._loss_of(twice, state)
        return bool(np.isfinite([least, loss, most]).all()) and bool(
            np.isclose(most - loss, loss - least, 1e-3, 1e-5 * (1 + abs(loss)))
        )

    def slopes(self, nodes: Sequence[Node], state: State) -> list[Array]:
        """The gradients of the loss in some nodes, none of which is computed of another."""
        graph, others = self._end(nodes)
        return gradients(graph, self.values([*nodes, *others], state), nodes)


def values_of(traced: Traced, nodes: Sequence[Node], columns: Sequence[Array], state: State) -> list[Array]:
    """The values of nodes of a trace, for other arguments and in another state."""
    inputs = [*columns]
    for capture in traced.captures:
        value = state.get(id(capture.handle))
        inputs.append(capture.handle.node.value if value is None else np.asarray(value, capture.node.dtype))
    return run(Graph.of(list(nodes), traced.graph.inputs), inputs)[0]


def gradients(graph: Graph, given: Sequence[Array], of: Sequence[Node]) -> list[Array]:
    """The gradients of the one output of a graph in some of its inputs."""
    leaves = {
        node: tensor(value, requires_grad=True) for node, value in zip(graph.inputs, given, strict=True) if node in of
    }
    env = {node: constant(value) for node, value in zip(graph.inputs, given, strict=True)}
    env |= {node: leaf.node for node, leaf in leaves.items()}
    for node in graph.nodes:
        if node not in env:
            env[node] = bind(node.op, tuple(env[x] for x in node.inputs), node.attrs) if node.inputs else node
    Tensor.handle(env[graph.outputs[0]]).backward()
    grads = [leaves[node].grad for node in of]
    return [np.zeros(node.shape) if grad is None else grad.numpy() for node, grad in zip(of, grads, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class Resized:
    """A step on a batch of another size; `nodes` are those of its graph by those of the other one."""

    traced: Traced
    columns: tuple[Array, ...]
    count: int
    axis: Mapping[Node, int]
    nodes: Mapping[Node, Node]
    inner: frozenset[Node]

    def node(self, one: Node) -> Node:
        """The node in the place of another one."""
        return self.nodes[one]

    def values(self, nodes: Sequence[Node], state: State, columns: Sequence[Array]) -> list[Array]:
        """As of `Rows`."""
        return values_of(self.traced, nodes, columns, state)


def by_row(rows: Rows | Resized, node: Node, value: Array) -> Array:
    """A value of a node as (rows, what their axis is merged with, all other axes)."""
    moved = np.moveaxis(value, rows.axis[node], 0)
    if node in rows.inner:
        return moved.reshape(-1, rows.count, *moved.shape[1:]).swapaxes(0, 1)
    return moved.reshape(rows.count, -1, *moved.shape[1:])


def per_row(rows: Rows | Resized, node: Node, value: Array) -> Array:
    """What a node has for each row, one below the other."""
    return by_row(rows, node, value).reshape(rows.count, -1)


def _inner(
    traced: Traced, columns: Sequence[Array], count: int, axis: Mapping[Node, int], nodes: Iterable[Node]
) -> frozenset[Node]:
    """The nodes whose axis of rows is merged with another one, rows being the inner of the two, as in arrays that
    have time before rows: with another first row, their values change in every so many places alone.
    """
    merged = [node for node in dict.fromkeys(nodes) if node.shape[axis[node]] > count]
    if not merged:
        return frozenset()
    other = [one.copy() if one.ndim and len(one) == count else one for one in columns]
    for one in other:
        if one.ndim and len(one) == count:
            one[0] = one[-1]
    found = []
    pairs = zip(merged, values_of(traced, merged, columns, {}), values_of(traced, merged, other, {}), strict=True)
    for node, before, after in pairs:
        apart = np.moveaxis(before != after, axis[node], 0).reshape(len(before) and before.shape[axis[node]], -1).any(1)
        places = np.flatnonzero(apart)
        if len(places) and not (places % count).any() and places[-1] >= len(apart) // count:
            found.append(node)
    return frozenset(found)


def rows_of(subject: Subject) -> Rows | Missing:
    """What is known of the rows of the batch, or why nothing is.

    Raises TraceError for a step that cannot be traced in evaluation.
    """
    first = subject.traced
    if isinstance(first, Missing):
        return first
    columns = tuple(subject.values[node] for node in first.arguments)
    count = next((len(one) for one in columns if one.ndim), 0)
    if not count:
        return Missing("The step takes no array, so there are no rows.")
    function = function_of(subject)
    with evaluating(first):
        same = not any(training for _, training in first.modules)
        traced = first if same else _trace(function, subject.batch)
        longer = _trace(function, mapped(lambda leaf: _of_rows(leaf, count, count + 1), subject.batch))
    axis = row_axes(traced.graph, longer.graph)
    if axis is None:
        return Missing(DIFFERS)
    loss = _loss(traced)
    outputs = [traced.graph.outputs[what] for kind, what in traced.results if kind == "output"]
    ends = outputs if loss is None else list(_first_with(loss, axis))
    summed = tuple(node for node in ends if node in axis and not node.shape[axis[node]] % count)
    if not summed or (loss is not None and len(summed) < len(ends)):
        return Missing("The step makes nothing that has a part for each row.")
    names = tuple(subject.leaves[node][1] for node in first.arguments)
    labels = None if loss is None else _labels(names, columns, count)
    prediction, steps = _prediction(traced, summed, labels)
    owners = {id(capture.handle): subject.leaves[capture.node][1] for capture in first.captures}
    named = {capture.node: owners.get(id(capture.handle), NAMELESS) for capture in traced.captures}
    way = [node for node in steps if node in axis and not node.shape[axis[node]] % count]
    layers = tuple(_layers(traced, steps, named, way))
    ids = subject.ids if same else {}
    inner = _inner(traced, columns, count, axis, (*summed, *way))
    return Rows(subject, traced, names, columns, labels, count, axis, loss, summed, prediction, layers, ids, inner)


def resized(rows: Rows, count: int) -> Resized | Missing:
    """The same for a batch of so many rows."""
    with evaluating(rows.traced):
        traced = _trace(
            function_of(rows.subject), mapped(lambda leaf: _of_rows(leaf, rows.count, count), rows.subject.batch)
        )
    axis = row_axes(rows.graph, traced.graph)
    if axis is None:
        return Missing(DIFFERS)
    node = dict(zip(rows.graph.nodes, traced.graph.nodes, strict=True))
    columns = tuple(
        np.resize(one, (count, *one.shape[1:])) if one.ndim and len(one) == rows.count else one for one in rows.columns
    )
    return Resized(
        traced,
        columns,
        count,
        {node[one]: k for one, k in axis.items()},
        node,
        frozenset(map(node.__getitem__, rows.inner)),
    )


def function_of(subject: Subject) -> Callable[..., Any]:
    """What the user wrote."""
    return subject.function.function if isinstance(subject.function, Jitted) else subject.function


def _trace(function: Callable[..., Any], batch: tuple[Any, ...]) -> Traced:
    """The trace of a call, which leaves nothing behind."""
    signature, _, leaves, is_array = describe(batch, {})
    with placed():
        traced = trace(function, signature.tree, leaves, is_array, equates=True)
    forget(traced.beginning)
    for module, training in traced.found_modes:
        module.training = training
    return traced


def row_axes(graph: Graph, longer: Graph) -> dict[Node, int] | None:
    """The axis of rows of each node that has one, from the graph of the same step for one row more; None where that is
    another graph.
    """
    pairs = list(zip(graph.nodes, longer.nodes, strict=False))
    same = len(graph.nodes) == len(longer.nodes) and all(
        a.op is b.op and len(a.shape) == len(b.shape) for a, b in pairs
    )
    if not same:
        return None
    differing = ((a, [k for k, (n, m) in enumerate(zip(a.shape, b.shape, strict=True)) if n != m]) for a, b in pairs)
    return {node: axes[0] for node, axes in differing if len(axes) == 1}


@contextmanager
def evaluating(traced: Traced) -> Iterator[None]:
    """The modules that asked for their mode are in evaluation within the block."""
    try:
        for module, _ in traced.modules:
            module.training = False
        yield
    finally:
        for module, training in traced.modules:
            module.training = training


def _of_rows(leaf: Any, count: int, wanted: int) -> Any:
    """An array with another number of rows, where it has rows."""
    if not isinstance(leaf, (Tensor, np.ndarray)) or not leaf.ndim or len(leaf) != count:
        return leaf
    value = np.asarray(leaf.node.value if isinstance(leaf, Tensor) else leaf)
    other = np.resize(value, (wanted, *value.shape[1:]))
    return tensor(other, requires_grad=leaf.requires_grad) if isinstance(leaf, Tensor) else other


def _loss(traced: Traced) -> Node | None:
    """The result that is called loss, or something with loss, else the first that is one fractional number."""
    names = result_names(traced)
    numbers = [
        (name, node)
        for name, (kind, what) in zip(names, traced.results, strict=False)
        if kind == "output"
        for node in (traced.graph.outputs[what],)
        if node.shape == () and node.dtype.kind == "f"
    ]
    order = sorted(numbers, key=lambda one: (one[0] != "loss", "loss" not in one[0].lower().split("_")))
    return order[0][1] if order else None


def _labels(names: Sequence[str], columns: Sequence[Array], count: int) -> int | None:
    """Which of the arrays are labels: the one called so, else the last of several."""
    of_rows = [k for k, one in enumerate(columns) if one.ndim and len(one) == count]
    called = [k for k in of_rows[1:] if names[k] in LABELS]
    return called[0] if called else of_rows[-1] if len(of_rows) > 1 else None


def _first_with(loss: Node, axis: Mapping[Node, int]) -> Iterator[Node]:
    """The nodes with rows that are met first on all ways down from the loss, oldest first."""
    found = reachable([loss], lambda node: True)
    outside = {loss}
    for node in reversed(found):
        if node in outside and node not in axis:
            outside.update(node.inputs)
    yield from (node for node in found if node in outside and node in axis)


def _dependents(graph: Graph, sources: Iterable[Node]) -> set[Node]:
    found = set(sources)
    for node in graph.nodes:
        if not found.isdisjoint(node.inputs):
            found.add(node)
    return found


def _prediction(traced: Traced, summed: Sequence[Node], labels: int | None) -> tuple[Node | None, list[Node]]:
    """The node that is predicted, and those on the way to it that nothing goes around, in order."""
    graph, count = traced.graph, len(traced.arguments)
    end = count if labels is None else labels
    wanted = set(reachable(summed))
    of_labels = _dependents(graph, graph.inputs[end:count])
    trained = [capture.node for capture in traced.captures if capture.node.needs_grad]
    of_features = _dependents(graph, graph.inputs[:end]) & _dependents(graph, trained)
    inner = [node for node in graph.nodes if node in wanted and node in of_features and node not in of_labels]
    among = set(inner)
    last = [
        *(node for node in summed if node in among),
        *(x for node in graph.nodes if node in wanted and node in of_labels for x in node.inputs if x in among),
    ]
    above: dict[Node, Node | None] = {}  # the immediate dominator; None: where parameters first meet features
    depth: dict[Node | None, int] = {None: 0}
    for one in inner:
        operands = [x for x in one.inputs if x in among]
        above[one] = _meeting(operands, above, depth) if operands else None
        depth[one] = depth[above[one]] + 1
    way: list[Node] = []
    step = _meeting(last, above, depth) if last else None
    while step is not None:
        way.append(step)
        step = above[step]
    modules = [k for k, one in enumerate(way) if _place(traced, one).kind]
    way = way[modules[0] :] if modules else way  # what a module returns is more than what is made of that
    return (way[0] if way and labels is not None else None), way[::-1]


def _place(traced: Traced, node: Node) -> Place:
    places = traced.graph.places
    return (None if places is None else places.place(node)) or Place("", 0, "")


def _meeting(nodes: Sequence[Node], above: Mapping[Node, Node | None], depth: Mapping[Node | None, int]) -> Node | None:
    """The last node that all ways to these go through."""
    found: Node | None = nodes[0]
    for other in nodes[1:]:
        one: Node | None = other
        while found is not one:
            if depth[found] >= depth[one]:
                found = above[found]  # type: ignore[index]
            else:
                one = above[one]  # type: ignore[index]
    return found


def _layers(traced: Traced, steps: Sequence[Node], named: Mapping[Node, str], way: Sequence[Node]) -> Iterator[Layer]:
    """The way in stretches, each from where parameters come in to where the next ones do."""
    seen: set[Node] = set()
    of_rows = set(way)
    names: list[str] = []
    nodes: list[Node] = []
    for node in steps:
        fresh = reachable([node], lambda one: one not in seen)
        seen.update(fresh)
        own = [named[one] for one in fresh if one in named and one.needs_grad]
        if nodes and any(_tops(own, names)):
            yield Layer(nodes[-1], tuple(names), tuple(nodes), called(traced, names, nodes))
            names, nodes = [], []
        names += own
        if node in of_rows:
            nodes.append(node)
    if nodes:
        yield Layer(nodes[-1], tuple(names), tuple(nodes), called(traced, names, nodes))


def called(traced: Traced, parameters: Sequence[str], nodes: Sequence[Node]) -> str:
    """The modules that a stretch begins and ends in; without modules its parameters, and the op at its end."""
    first, last = _place(traced, nodes[0]), _place(traced, nodes[-1])
    if first.kind and last.kind:
        return first.owner if first == last or first.module == last.module else f"{first.owner} → {last.owner}"
    modules = dict.fromkeys(name.rpartition(".")[0] or name for name in parameters)
    return f"{', '.join(modules) or 'input'} → {nodes[-1].op.name}"


def _tops(own: Sequence[str], names: Sequence[str]) -> Iterator[bool]:
    """Whether each name is of another module than those before: a bias belongs to the weight before it."""
    modules = {name.rpartition(".")[0] for name in names}
    return (name.rpartition(".")[0] not in modules for name in own)
