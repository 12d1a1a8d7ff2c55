"""What `fit` asks to have compiled: the traces of the step, of the evaluation and of the permutation, as a `Job`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any, Final

from ...config import config, say
from ...errors import TraceError, message
from ...graph.graph import Array, Graph
from ...support.pytree import flatten
from ...tensor import Tensor, no_grad
from ...tensor.core import constant
from ..job import Batches, Epochs, Job, Part, Results
from ..trace import Traced, trace
from .jit import Jitted, describe

ROOM: Final = 2**22  # bytes for values of the state
RANKED: Final = 1024  # samples whose permutation is made natively: by ranks, which costs their square


def training_job(
    step: Jitted,
    sets: Sequence[Sequence[Array]],
    batch: int,
    evaluate: Callable[[], Any] | None,
    shuffle: bool,
    permute: Callable[[], Any] | None,
    short: int | None = None,
    kept: int = 0,
) -> Job:
    """The step for each set of samples, then the evaluation if it can be compiled, then the permutation if it is made
    natively. With `short` the one set is the room for a piece of an epoch, whose last batch has so many samples, or is
    no other if these are 0. There is room for at most `kept` values of the state, or for none if that is large. Raises
    TraceError for what cannot be trained.
    """
    steps = [_step(step, number, columns, min(batch, len(columns[0])), short) for number, columns in enumerate(sets)]
    traces = [part.traced for whole in steps for part in (whole, whole.last) if part is not None]
    names, *others = dict.fromkeys(named("step", traced)[0] for traced in traces if traced is not None)
    if others:
        got = f"{list(names)} from step, and {list(others[0])} for a batch of another shape"
        raise TraceError(message("fit", got, "the same names for every batch"))
    scored = _traced_evaluation(evaluate) if evaluate is not None else None
    evaluation = [] if scored is None else [Part(scored.graph, scored, named("evaluate", scored)[1])]
    shapes = tuple(tuple((column.shape, column.dtype) for column in columns) for columns in sets)
    epochs = Epochs(shapes, shuffle, scored is not None, False, short is not None)
    permutation = []
    if permute is not None and shuffle and len(sets) == 1 and epochs.samples <= RANKED:
        traced = _nullary(permute)
        permutation = [Part(traced.graph, traced)]
    parts = (*steps, *evaluation, *permutation)
    return Job(parts, epochs=replace(epochs, permuted=bool(permutation), kept=_room(parts, kept)))


def _room(parts: Sequence[Part], kept: int) -> int:
    """How many values of the state a run has room for: none if that is large, as its epochs then take long enough to
    leave the run after each.
    """
    changed = (part.captures[k].handle for part in parts if part.traced for k in part.traced.updated)
    nodes = {id(handle): handle.node for handle in changed}.values()
    size = sum(node.dtype.itemsize * prod(node.shape) for node in nodes)
    count = min(kept, ROOM // max(size, 1))
    return count if count > 1 and size else 0


def _step(step: Jitted, number: int, columns: Sequence[Array], batch: int, short: int | None) -> Part:
    """The step for whole batches, with the one for the short last batch if there is such."""
    rounds, rest = divmod(len(columns[0]), batch)
    rest = rest if short is None else short
    whole = _part(step, [column[:batch] for column in columns], Batches(number, batch, rounds))
    if not rest:
        return whole
    return replace(whole, last=_part(step, [column[:rest] for column in columns], Batches(number, rest, 1)))


def _part(step: Jitted, batch: Sequence[Array], batches: Batches) -> Part:
    traced = _trace(step, batch)
    return Part(without_gradients(traced), traced, named("step", traced)[1], batches)


def _traced_evaluation(evaluate: Callable[[], Any]) -> Traced | None:
    """The trace of the evaluation; None where it reads values, so that Python has to run it."""
    try:
        traced = _nullary(evaluate)
        named("evaluate", traced)
    except TraceError as error:
        if config().debug:
            say(f"fit: evaluate() is run by Python: {error}")
        return None
    return traced


def _nullary(function: Callable[[], Any]) -> Traced:
    """The trace of a function without arguments, without gradients."""
    _, tree = flatten(((), {}))
    with no_grad():
        return trace(function, tree, (), ())


def _trace(step: Jitted, batch: Sequence[Array]) -> Traced:
    signature, _, leaves, is_array = describe(tuple(Tensor.handle(constant(column)) for column in batch), {})
    traced = trace(step.function, signature.tree, leaves, is_array)
    if traced.written:
        got = "a step that writes its arguments in place"
        raise TraceError(message("fit", got, "a step that only reads its batch", "compute new tensors from it"))
    if traced.actions:
        got = "a step that steps a schedule or sets a hyperparameter"
        raise TraceError(message("fit", got, "a step that computes", "give fit the callback Schedule(scheduler)"))
    missing = [position for position, gradient in traced.found_gradients if gradient is None]
    if not missing:
        return traced
    for position in missing:  # gradients that are not forgotten add up from batch to batch
        tensor: Any = traced.captures[position].handle
        tensor.grad = tensor.new_zeros(tensor.shape)
    return trace(step.function, signature.tree, leaves, is_array)


def without_gradients(traced: Traced) -> Graph:
    """The graph without the gradients the step leaves: nobody can look at them in the middle of the run."""
    count = sum(kind == "output" for kind, _ in traced.results)
    graph = traced.graph
    return Graph.of(graph.outputs[:count], graph.inputs, graph.updates, graph.places)


def named(owner: str, traced: Traced) -> tuple[tuple[str, ...], Results]:
    """Names of what a function returns, and for each the output (an int) or the number (a float)."""
    tree = traced.tree
    if tree.type is None and owner == "step":
        names: tuple[Any, ...] = ("loss",)
    elif tree.type is not None and issubclass(tree.type, dict) and all(part.type is None for part in tree.parts):
        names = tree.names
    else:
        kind = "one value" if tree.type is None else tree.type.__name__
        raise TraceError(message("fit", f"{kind} from {owner}", "a dict of 0-d tensors"))
    results: list[int | float] = []
    for name, (kind, what) in zip(names, traced.results, strict=True):
        if kind == "output" and traced.graph.outputs[what].shape in ((), (1,)):
            results.append(int(what))
        elif kind == "value" and isinstance(what, (int, float)):
            results.append(float(what))
        else:
            got = f"{name!r} from {owner} of shape {traced.graph.outputs[what].shape if kind == 'output' else what}"
            raise TraceError(message("fit", got, "a number or a 0-d tensor", "return the mean"))
    return tuple(map(str, names)), tuple(results)
