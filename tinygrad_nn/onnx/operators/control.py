"""Operators that run a graph, and those of sequences and optional values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ...loops import scan as scanned
from ...tensor import Tensor
from ...tensor.joining import cat, stack
from ..elements import FLOAT, INTEGER64
from ..model import Graph, Place
from .form import Call, Known, Value, axis_of, bad, given, ints, known


def branch(call: Call, condition: Tensor, *, then_branch: Graph, else_branch: Graph) -> tuple[Value, ...]:
    """One graph or the other. Where it is not known which, both, of which one counts."""
    if condition.node.value is not None:
        chosen = then_branch if bool(known(condition).reshape(-1)[0]) else else_branch
        return call.run(chosen)
    one, other = call.run(then_branch), call.run(else_branch)
    which = condition.reshape(())
    return tuple(
        Value(a.tensor.where(which, b.tensor), a.element) if a.tensor.shape == b.tensor.shape else _differ(a, b)
        for a, b in zip(one, other, strict=True)
    )


def _differ(a: Value, b: Value) -> Value:
    got = f"shapes {a.tensor.shape} and {b.tensor.shape} of branches, and a condition that is not known"
    raise bad(got, "equal shapes", "call the model without tg.jit, or compute the condition from shapes")


def loop(call: Call, count: Known | None, condition: Known | None, *states: Value, body: Graph) -> tuple[Value, ...]:
    """A graph again and again: so many times, or as long as it says so. What else it gives is stacked."""
    times = None if count is None else ints(count)[0]
    goes = condition is None or bool(condition.reshape(-1)[0])
    carried, rows = list(states), [list[Value]() for _ in body.outputs[1 + len(states) :]]
    turn = 0
    while goes and (times is None or turn < times):
        first = (Value(given(np.array(turn, np.int64)), INTEGER64), Value(given(np.array(goes))))
        again, *results = call.run(body, *first, *carried)
        carried = results[: len(states)]
        for row, one in zip(rows, results[len(states) :], strict=True):
            row.append(one)
        goes = bool(known(again.tensor).reshape(-1)[0])
        turn += 1
    made = [_stacked(row, place) for row, place in zip(rows, body.outputs[1 + len(states) :], strict=True)]
    return (*carried, *made)


def _stacked(row: Sequence[Value], place: Place, axis: int = 0) -> Value:
    """What the turns of a loop gave, one behind the other."""
    if row:
        return Value(stack([one.tensor for one in row], axis), row[0].element)
    element = place.element or FLOAT
    shape = [n if isinstance(n, int) else 0 for n in place.shape or ()]
    return Value(given(np.zeros((0, *shape), element.dtype)), element)


def scan(
    call: Call,
    *operands: Value,
    body: Graph,
    num_scan_inputs: int,
    directions: Any = None,
    scan_input_axes: Any = None,
    scan_input_directions: Any = None,
    scan_output_axes: Any = None,
    scan_output_directions: Any = None,
) -> tuple[Value, ...]:
    """A graph for each entry along an axis, which carries states from one to the next."""
    count = len(operands) - num_scan_inputs
    states, entries = operands[:count], operands[count:]
    axes = scan_input_axes or [0] * num_scan_inputs
    back = scan_input_directions or directions or [0] * num_scan_inputs
    outs = len(body.outputs) - count
    out_axes, out_back = scan_output_axes or [0] * outs, scan_output_directions or [0] * outs
    xs = [one.tensor.movedim(axis_of(axis, one.tensor.ndim), 0) for one, axis in zip(entries, axes, strict=True)]
    together = bool(xs) and all(back) and all(out_back)  # all of it runs the other way
    if not together:
        xs = [x.flip(0) if flipped else x for x, flipped in zip(xs, back, strict=True)]
    given_in = [one.element for one in operands]

    def step(carry: Any, entry: Any) -> tuple[Any, Any]:
        both = [Value(x, element) for x, element in zip((*carry, *entry), given_in, strict=True)]
        found = [one.tensor for one in call.run(body, *both)]
        return tuple(found[:count]), tuple(found[count:])

    floats = all(one.tensor.dtype.kind == "f" for one in states) and all(
        place.element is not None and place.element.dtype.kind == "f" for place in body.outputs
    )
    begin = tuple(one.tensor for one in states)
    if floats:
        last, rows = scanned(step, begin, tuple(xs), reverse=together)
    else:
        last, turns = begin, []
        for t in range(xs[0].shape[0])[:: -1 if together else 1]:
            last, row = step(last, [x[t] for x in xs])
            turns.append(row)
        turns = turns[:: -1 if together else 1]
        rows = tuple(stack([row[k] for row in turns]) for k in range(outs))
    flipped = [row.flip(0) if back and not together else row for row, back in zip(rows, out_back, strict=True)]
    made = [row.movedim(0, axis_of(axis, row.ndim)) for row, axis in zip(flipped, out_axes, strict=True)]
    elements = [place.element for place in body.outputs]
    return tuple(Value(one, element) for one, element in zip((*last, *made), elements, strict=True))


def scan_batches(
    call: Call, lengths: Value | None, *operands: Value, body: Graph, num_scan_inputs: int, directions: Any = None
) -> tuple[Value, ...]:
    """As in opset 8: for each entry of a batch by itself."""
    if lengths is not None and lengths.data is not None:
        steps = operands[-1].tensor.shape[1]
        if any(n != steps for n in ints(known(lengths.tensor))):
            raise bad("sequences of different lengths in a Scan of opset 8", "equal lengths", "a newer Scan")
    batch = operands[0].tensor.shape[0]
    found = [
        scan(
            call,
            *(Value(one.tensor[k], one.element) for one in operands),
            body=body,
            num_scan_inputs=num_scan_inputs,
            directions=directions,
        )
        for k in range(batch)
    ]
    return tuple(Value(stack([row[k].tensor for row in found]), one.element) for k, one in enumerate(found[0]))


# ---- sequences and optional values ----------------------------------------------------------------------------------


def sequence_of(*parts: Value) -> Value:
    """A sequence of tensors."""
    return Value(parts)


def sequence_empty(*, dtype: int = 1) -> Value:
    """A sequence of nothing."""
    return Value(())


def _place(at: Known | None, count: int, usual: int, most: int) -> int:
    place = usual if at is None else ints(at)[0]
    if not -count <= place < most:
        raise bad(f"place {place} in a sequence of {count}", f"{-count} to {most - 1}")
    return place + count if place < 0 else place


def sequence_at(parts: Value, at: Known) -> Value:
    """One of a sequence."""
    return parts.sequence[_place(at, len(parts.sequence), 0, len(parts.sequence))]


def sequence_erase(parts: Value, at: Known | None = None) -> Value:
    """Without one, by default the last."""
    own = parts.sequence
    k = _place(at, len(own), len(own) - 1, len(own))
    return Value((*own[:k], *own[k + 1 :]))


def sequence_insert(parts: Value, tensor: Value, at: Known | None = None) -> Value:
    """With one more, by default at the end."""
    own = parts.sequence
    k = _place(at, len(own), len(own), len(own) + 1)
    return Value((*own[:k], tensor, *own[k:]))


def sequence_length(parts: Value) -> Tensor:
    """How many there are."""
    return given(np.array(len(parts.sequence), np.int64))


def split_to_sequence(x: Value, sizes: Known | None = None, *, axis: int = 0, keepdims: int = 1) -> Value:
    """Parts along an axis: of one size but for the last, or of given sizes; by default entries."""
    whole = x.tensor.shape[axis_of(axis, x.tensor.ndim)]
    if sizes is None or sizes.ndim == 0:
        each = 1 if sizes is None else max(ints(sizes)[0], 1)
        lengths = [min(each, whole - k) for k in range(0, whole, each)]
    else:
        lengths = ints(sizes)
    parts = x.tensor.split(lengths, axis) if lengths else ()
    drop = sizes is None and not keepdims
    return Value(tuple(Value(one.squeeze(axis) if drop else one, x.element) for one in parts))


def concat_from_sequence(parts: Value, *, axis: int, new_axis: int = 0) -> Value:
    """All of a sequence in one tensor."""
    own = parts.sequence
    tensors = [one.tensor for one in own]
    return Value(stack(tensors, axis) if new_axis else cat(tensors, axis), own[0].element)


def sequence_map(call: Call, parts: Value, *others: Value, body: Graph) -> tuple[Value, ...]:
    """A graph for each of a sequence."""
    found = [
        call.run(body, one, *(other.sequence[k] if isinstance(other.data, tuple) else other for other in others))
        for k, one in enumerate(parts.sequence)
    ]
    return tuple(Value(tuple(row[k] for row in found)) for k in range(len(body.outputs)))


def optional(x: Value | None = None, *, type: Any = None) -> Value:
    """A value, or none."""
    return Value(None) if x is None else x


def optional_get(x: Value) -> Value:
    """The value, which has to be there."""
    if x.data is None:
        raise bad("an empty optional", "a value")
    return x


def optional_has(x: Value | None = None) -> Tensor:
    """Whether there is a value."""
    return given(np.array(x is not None and x.data is not None))


OPERATORS: Final[Mapping[str, Any]] = {
    "ConcatFromSequence": concat_from_sequence,
    "If": branch,
    "Loop": loop,
    "Optional": optional,
    "OptionalGetElement": optional_get,
    "OptionalHasElement": optional_has,
    "Scan": {8: scan_batches, 9: scan},
    "SequenceAt": sequence_at,
    "SequenceConstruct": sequence_of,
    "SequenceEmpty": sequence_empty,
    "SequenceErase": sequence_erase,
    "SequenceInsert": sequence_insert,
    "SequenceLength": sequence_length,
    "SequenceMap": sequence_map,
    "SplitToSequence": split_to_sequence,
}
