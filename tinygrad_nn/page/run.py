"""The run: how the loss fell, and what the model was like at every epoch that is known: its weights, what they make of
the batch, what it would say elsewhere, and where it is wrong.

Every section is a dict, or `{"missing": why}`: nothing is left out without a word. Rooms are in bytes, so that a page
stays small whatever the model and the number of epochs; what is thinned or rounded says so in its `note`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from ..errors import TinygradError
from ..fitting.reach import Reached
from ..graph.graph import Array, Graph, Node
from ..nn import Module
from ..ops.conv import CONV
from .curves import curves, sweep
from .packing import WORDS, fitting, packed
from .predictions import boundary, worst_rows
from .rows import NAMELESS, Layer, Moment, Rows, State, by_row, called, function_of, gradients, rows_of, values_of
from .subject import Missing, Subject, short

STATES: Final = 24  # of a model, at most
WORK: Final = 50_000_000  # numbers that are computed for all of them, at most
WEIGHTS: Final = 12_000  # bytes of all weights in all states
BATCH: Final = 24  # rows of the batch that are shown
ACTIVATIONS: Final = 7_000
SHOWN: Final = (64, 48, 32, 24, 16, 12, 8, 6, 4)  # rows and columns of a matrix that may be shown


def part(subject: Subject) -> Mapping[str, Any]:
    """All that is known of the run."""
    rows = made(rows_of, subject)
    moments, note = moments_of(subject)
    sections = {
        "curves": curves(subject.history),
        "sweep": None if subject.sweep is None else sweep(subject.sweep),
        "weights": weights(subject, moments),
        "gradients": made(gradient_norms, subject, rows, moments),
        **{
            name: rows if isinstance(rows, Missing) else made(make, rows, moments)
            for name, make in (
                ("activations", activations),
                ("boundary", boundary),
                ("dead", dead_units),
                ("worst", worst_rows),
            )
        },
    }
    found = {name: {"missing": one.reason} if isinstance(one, Missing) else one for name, one in sections.items()}
    return {**found, "epochs": [one.epoch for one in moments], "note": note}


def made(make: Callable[..., Any], *args: Any) -> Any:
    """A section, or why there is none: the batch may be one that the step refuses, as for a label out of range."""
    try:
        return make(*args)
    except TinygradError as error:
        return Missing(str(error))


# ---- states ------------------------------------------------------------------------------------------------------


def moments_of(subject: Subject) -> tuple[list[Moment], str]:
    """The states that are shown, some of all those that were kept, and the one there is now."""
    kept: Mapping[int, Mapping[str, Any]] = getattr(subject.history, "snapshots", None) or {}
    now = Moment(None, {})
    if not kept:
        return [now], "The run kept no snapshots, so this is the model as it is now."
    nodes = sum(prod(node.shape) for node in subject.graph.nodes)
    room = max(2, min(STATES, WORK // max(1, nodes)))
    epochs = sorted(kept)
    chosen = [epochs[k] for k in np.unique(np.linspace(0, len(epochs) - 1, min(room, len(epochs))).round().astype(int))]
    handles = _handles(subject)
    moments = [
        Moment(epoch, {handles[name]: np.asarray(value) for name, value in kept[epoch].items() if name in handles})
        for epoch in chosen
    ]
    note = f"{len(chosen)} of {len(epochs):,} snapshots are shown." if len(chosen) < len(epochs) else ""
    if subject.history is not None and epochs[-1] < subject.history.epochs:
        moments.append(now)
    return moments, note


def _handles(subject: Subject) -> dict[str, int]:
    """The tensors that the step reaches, by the names they have in snapshots: those of a model that is the only one are
    its own, those of several begin with the variable of each.
    """
    reached = Reached({"": function_of(subject)}, {})
    found = {name: id(tensor) for name, tensor in reached.tensors.items()}
    for name, module in reached.objects.items():
        if isinstance(module, Module):
            for key, tensor in (*module.named_parameters(), *module.named_buffers()):
                found.setdefault(key, id(tensor))
                found[f"{name}.{key}"] = id(tensor)
    return found


def _trained(subject: Subject) -> list[tuple[str, Node, int]]:
    """Name, node and tensor of each parameter."""
    if isinstance(subject.traced, Missing):
        return []
    names: dict[int, str] = {}
    for name, handle in _handles(subject).items():
        names.setdefault(handle, name)
    return [
        (name if name != NAMELESS else names.get(id(one.handle), name), one.node, id(one.handle))
        for one in subject.traced.captures
        if one.node.needs_grad
        for name in (subject.leaves[one.node][1],)
    ]


def weights(subject: Subject, moments: Sequence[Moment]) -> dict[str, Any] | Missing:
    """All parameters in every state, as matrices."""
    if isinstance(subject.traced, Missing):
        return subject.traced
    trained = _trained(subject)
    if not trained:
        return Missing("The step reaches no tensor that requires grad.")
    now = {id(one.handle): one.handle.node.value for one in subject.traced.captures}
    stacks = [
        np.array([as_matrix(np.asarray(one.state.get(handle, now[handle]))) for one in moments])
        for _, _, handle in trained
    ]
    cut, kind = _room(stacks, WEIGHTS)
    tensors = [
        {"name": short(name), "node": subject.ids.get(node), "shape": list(node.shape), **_stack(stack, cut, kind)}
        for (name, node, _), stack in zip(trained, stacks, strict=True)
    ]
    return {"tensors": tensors, "note": _precision(stacks, cut, kind)}


def as_matrix(value: Array) -> Array:
    """A tensor as rows and columns: the first axis downwards, all others to the right; a vector is a row."""
    return value.reshape(1, -1) if value.ndim < 2 else value.reshape(len(value), -1)


def _room(stacks: Sequence[Array], room: int) -> tuple[int, str]:
    """How many rows and columns are shown, and how exactly, so that all fit."""
    for cut in SHOWN:
        kind = fitting((one[:, :cut, :cut].size for one in stacks), room)
        if kind is not None:
            return cut, kind
    return SHOWN[-1], "i1"


def _stack(stack: Array, cut: int, kind: str) -> dict[str, Any]:
    return {"rows": stack.shape[1], "columns": stack.shape[2], "values": packed(stack[:, :cut, :cut], kind)}


def _precision(stacks: Sequence[Array], cut: int, kind: str) -> str:
    large = any(max(one.shape[1:]) > cut for one in stacks)
    part_of = f"Of larger matrices the first {cut} rows and columns are shown. " if large else ""
    return f"{part_of}Precision: {WORDS[kind]}."


# ---- the batch -----------------------------------------------------------------------------------------------------


def activations(rows: Rows, moments: Sequence[Moment]) -> dict[str, Any] | Missing:
    """What layers make of the first rows of the batch."""
    if not rows.layers:
        return Missing("Between the batch and the loss no parameters come in.")
    nodes = [layer.node for layer in rows.layers]
    each = [rows.values(nodes, one.state) for one in moments]
    stacks = [np.array([_units(rows, layer, one[k]) for one in each]) for k, layer in enumerate(rows.layers)]
    cut, kind = _room(stacks, ACTIVATIONS)
    layers = [
        {
            "name": short(layer.name),
            "node": rows.ids.get(layer.node),
            "shape": list(layer.node.shape),
            **_stack(stack, cut, kind),
        }
        for layer, stack in zip(rows.layers, stacks, strict=True)
    ]
    first = f"The first {BATCH} rows of the batch are shown. " if rows.count > BATCH else ""
    mean = any(
        prod(layer.node.shape) > rows.count * stack.shape[2] for layer, stack in zip(rows.layers, stacks, strict=True)
    )
    averaged = "Where a unit has several values for a row (positions, steps) the mean is shown. " if mean else ""
    return {"layers": layers, "note": first + averaged + _precision(stacks, cut, kind)}


def _unit_axis(layer: Layer) -> int:
    """The axis of units: that of channels behind a convolution, else the last."""
    return 1 if any(node.op is CONV for node in layer.nodes) and len(layer.node.shape) > 2 else -1


def _units(rows: Rows, layer: Layer, value: Array) -> Array:
    """A row of the batch below the other, a unit beside the other; what else there is of a unit as its mean."""
    table = _table(rows, layer, value)
    with np.errstate(all="ignore"):
        return np.asarray(table[:BATCH].mean(axis=1))


def _table(rows: Rows, layer: Layer, value: Array) -> Array:
    """(rows, whatever else there is, units)."""
    unit = _unit_axis(layer) % value.ndim
    if unit == rows.axis[layer.node]:
        return by_row(rows, layer.node, value).reshape(rows.count, -1, 1)
    units = np.moveaxis(by_row(rows, layer.node, value), 1 + unit + (unit < rows.axis[layer.node]), -1)
    return units.reshape(rows.count, -1, units.shape[-1])


def dead_units(rows: Rows, moments: Sequence[Moment]) -> dict[str, Any] | Missing:
    """The units that are zero for all rows, where a layer makes zeros (as ReLU does)."""
    pairs = [
        (layer, before, node)
        for layer in rows.layers
        for before, node in zip(layer.nodes, layer.nodes[1:], strict=False)
        if before.shape == node.shape and node.dtype.kind == "f" and node is not rows.prediction
    ]
    nodes = list(dict.fromkeys(node for _, *both in pairs for node in both))
    each = [dict(zip(nodes, rows.values(nodes, one.state), strict=True)) for one in moments]
    found = []
    for layer, before, node in pairs:
        if any(((values[node] == 0) & (values[before] != 0)).any() for values in each):
            until = layer.nodes[: layer.nodes.index(node) + 1]
            own = Layer(node, layer.parameters, until, called(rows.traced, layer.parameters, until))
            tables = [_table(rows, own, values[node]) for values in each]
            dead = [np.flatnonzero((table == 0).all((0, 1))) for table in tables]
            found.append(
                {
                    "name": short(own.name),
                    "node": rows.ids.get(node),
                    "units": tables[0].shape[-1],
                    "dead": [one[:64] for one in dead],
                    "counts": [len(one) for one in dead],
                }
            )
    if not found:
        return Missing("No layer makes zeros, as ReLU does: no unit can be dead.")
    return {"layers": found}


def gradient_norms(subject: Subject, rows: Rows | Missing, moments: Sequence[Moment]) -> dict[str, Any] | Missing:
    """The Euclidean norm of the gradients of each layer's parameters, on this batch."""
    traced = subject.traced
    if isinstance(traced, Missing):
        return traced
    columns = [subject.values[node] for node in traced.arguments]
    left = {traced.captures[k].node: output for k, output in traced.gradients if output is not None}
    trained = _trained(subject)
    if not trained:
        return Missing("The step reaches no tensor that requires grad.")
    groups = [name.rpartition(".")[0] or name for name, _, _ in trained]
    names = list(dict.fromkeys(groups))
    norms = np.zeros((len(moments), len(names)))
    for k, one in enumerate(moments):
        if all(node in left for _, node, _ in trained):
            found = values_of(traced, [traced.graph.outputs[left[node]] for _, node, _ in trained], columns, one.state)
        elif isinstance(rows, Missing) or rows.loss is None:
            return Missing("The step leaves no gradients, and returns no loss to take them of.")
        else:
            found = _gradients(rows, rows.loss, [handle for _, _, handle in trained], one.state)
        with np.errstate(all="ignore"):
            for group, value in zip(groups, found, strict=True):
                norms[k, names.index(group)] += np.square(value, dtype=np.float64).sum()
    with np.errstate(all="ignore"):
        return {"names": [short(name) for name in names], "norms": packed(np.sqrt(norms))}


def _gradients(rows: Rows, loss: Node, handles: Sequence[int], state: State) -> list[Array]:
    """The gradients of the loss in some tensors, of a step that does not leave them."""
    nodes = {id(capture.handle): capture.node for capture in rows.traced.captures}
    graph = Graph.of([loss], rows.graph.inputs)
    return gradients(graph, rows.values(rows.graph.inputs, state), [nodes[handle] for handle in handles])
