"""Passes from Graph to Graph. Each is a plain function; `PASSES` is their order.

No pass may change a value: not a NaN, not an infinity, not the sign of a zero. So x * 0, x - x, x / x and x + 0 stay as
they are; x * 1, x / 1 and double negation go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from ...config import config, say
from ...graph.graph import NO_ATTRS, Graph, Node, Op, exact, is_fixed, with_operands
from ...ops import TABLE
from ...ops.elementwise import CAST, DIV, MUL, NEG, SUB
from ...ops.movement import BROADCAST, PERMUTE, RESHAPE, SLICE
from ...ops.source import CONSTANT
from ...tensor.symbolic import FOLDED_LIMIT
from .convolution import pad_once
from .movement import (
    cut_concatenations,
    join_pads,
    join_reshapes,
    keep_axes,
    read_transposed,
    slice_of_concatenation,
    unit_steps,
)
from .rebuild import apply, rebuild
from .unrolling import unroll


def fold_constants(graph: Graph) -> Graph:
    """Work out what depends on nothing."""

    def rule(node: Node, operands: tuple[Node, ...]) -> Node | None:
        known = node.op.kind not in ("source", "random") and all(x.value is not None and not x.attrs for x in operands)
        if not known or int(np.prod(node.shape)) > FOLDED_LIMIT:
            return None
        with np.errstate(all="ignore"):
            value = np.asarray(node.op.numpy(*(x.value for x in operands), **node.attrs))
        return Node(CONSTANT, (), NO_ATTRS, node.shape, node.dtype, value)

    return rebuild(graph, rule)


def narrow_constants(graph: Graph) -> Graph:
    """Constants that repeat along an axis, as masks of attention do for each head, become shorter ones, repeated."""

    def rule(node: Node, operands: tuple[Node, ...]) -> Node | None:
        if not NARROWED_FROM <= prod(node.shape) <= FOLDED_LIMIT or node.attrs or not is_fixed(node.shape):
            return None
        array = np.asarray(node.value)
        axes = tuple(axis for axis, n in enumerate(node.shape) if n > 1 and _repeats(array, axis))
        if not axes or len(axes) == sum(n > 1 for n in node.shape):  # what has one value everywhere is not stored
            return None
        short = array[tuple(0 if axis in axes else slice(None) for axis in range(array.ndim))]
        constant = Node(CONSTANT, (), NO_ATTRS, short.shape, node.dtype, short)
        return apply(BROADCAST, (constant,), {"shape": node.shape, "axes": axes})

    return rebuild(graph, rule, {CONSTANT})


def _repeats(array: Any, axis: int) -> bool:
    """Whether an array is the same all along an axis, to the bit."""
    if array.strides[axis] == 0:
        return True
    bits = np.ascontiguousarray(array).view(f"i{array.itemsize}")
    first = bits.take([0], axis)
    return bool((bits.take([-1], axis) == first).all() and (bits == first).all())


def common_subexpressions(graph: Graph) -> Graph:
    """One node for equal applications, and for equal constants."""
    fixed = all(is_fixed(node.shape) for node in graph.nodes)
    seen: dict[Any, Node] = {}

    def rule(node: Node, operands: tuple[Node, ...]) -> Node | None:
        if node.op is CONSTANT:
            array = np.asarray(node.value)
            key: Any = (exact(node.shape), node.dtype, array.tobytes()) if array.size <= 64 and not node.attrs else node
            return seen.setdefault(key, node)
        attrs = tuple(node.attrs.items())
        key = (node.op, operands, node.shape, attrs) if fixed else (node.op, operands, exact(node.shape), exact(attrs))
        if key in seen:
            return seen[key]
        seen[key] = with_operands(node, operands)
        return seen[key]

    return rebuild(graph, rule)


def drop_identities(graph: Graph) -> Graph:
    """Remove what changes nothing: x * 1, x / 1, x - 0, -(-x), casts, reshapes and permutations to the same."""
    return rebuild(graph, lambda node, operands: _IDENTITIES[node.op](node, operands), _IDENTITIES)


def _times_one(node: Node, operands: tuple[Node, ...]) -> Node | None:
    x, y = operands
    if is_filled(y, 1):
        return x
    return y if node.op is MUL and is_filled(x, 1) else None


def _minus_zero(node: Node, operands: tuple[Node, ...]) -> Node | None:
    """x - 0.0 is x also where that is -0.0; x - -0.0 is not."""
    x, y = operands
    return x if is_filled(y, 0) and not np.signbit(filled(y)) else None


def is_filled(node: Node, number: float) -> bool:
    """Whether a node is a constant that has one value everywhere."""
    return not node.attrs and bool(filled(node) == number)


def filled(node: Node) -> Any:
    """The value that a constant has everywhere, NumPy scalar of its dtype; None where there is no such."""
    if node.op is BROADCAST:
        return filled(node.inputs[0])
    if node.op is not CONSTANT or not node.value.size:
        return None
    array = np.asarray(node.value)
    first = array.reshape(-1)[0]
    return first if not any(array.strides) or bool((array == first).all() and _one_sign(array)) else None


def triangle(node: Node) -> tuple[int, int] | None:
    """Of a triangle of bools: (sign, least) where each element is `sign * (row - column) >= least`."""
    if node.op is not CONSTANT or node.dtype.kind != "b" or len(node.shape) != 2 or node.attrs:
        return None
    lower = np.asarray(node.value)
    for sign, least, part in ((1, 0, lower), (-1, 1, ~lower)):
        counts = part.sum(1)
        cut = np.flatnonzero((counts > 0) & (counts < part.shape[1]))  # rows that the diagonal crosses
        k = int(counts[cut[0]] - 1 - cut[0]) if cut.size else 0
        if cut.size and (part == np.tri(part.shape[0], part.shape[1], k, dtype=bool)).all():
            return sign, least - sign * k
    return None


def _one_sign(array: Any) -> bool:
    return array.dtype.kind != "f" or bool(np.signbit(array).all() or not np.signbit(array).any())


def _same_type(node: Node, operands: tuple[Node, ...]) -> Node | None:
    (x,) = operands
    return x if x.dtype == node.dtype else None


def _same_shape(node: Node, operands: tuple[Node, ...]) -> Node | None:
    (x,) = operands
    if exact(x.shape) == exact(node.shape):
        return x
    if node.op is RESHAPE and x.op is RESHAPE:
        (first,) = x.inputs
        return first if exact(first.shape) == exact(node.shape) else apply(RESHAPE, (first,), node.attrs)
    return None


def _same_order(node: Node, operands: tuple[Node, ...]) -> Node | None:
    (x,) = operands
    order = node.attrs["order"]
    if order == tuple(range(len(order))):
        return x
    if x.op is PERMUTE:
        inner = x.attrs["order"]
        return apply(PERMUTE, (x.inputs[0],), {"order": tuple(inner[a] for a in order)})
    return None


def _whole(node: Node, operands: tuple[Node, ...]) -> Node | None:
    (x,) = operands
    return x if node.attrs["bounds"] == tuple((0, 1, n) for n in x.shape) else None


def _negated(node: Node, operands: tuple[Node, ...]) -> Node | None:
    (x,) = operands
    return x.inputs[0] if x.op is NEG else None


_IDENTITIES: Final[Mapping[Op, Callable[[Node, tuple[Node, ...]], Node | None]]] = {
    SUB: _minus_zero,
    MUL: _times_one,
    DIV: _times_one,
    NEG: _negated,
    CAST: _same_type,
    RESHAPE: _same_shape,
    BROADCAST: _same_shape,
    PERMUTE: _same_order,
    SLICE: _whole,
}


def strength_reduction(graph: Graph) -> Graph:
    """Powers that NumPy too computes otherwise, with one exponent for all: squares are products, and 0.5 is a root,
    which differs at -inf and -0.0.
    """

    def rule(node: Node, operands: tuple[Node, ...]) -> Node | None:
        if node.dtype.kind != "f":
            return None
        exponent = filled(operands[1])
        if exponent is not None and exponent == 2:
            return apply(MUL, (operands[0], operands[0]), NO_ATTRS)
        if exponent is not None and exponent == 0.5 and operands[0].shape == node.shape:
            return apply(TABLE["sqrt"], operands[:1], NO_ATTRS)
        return None

    return rebuild(graph, rule, {TABLE["pow"]})


Pass = Callable[[Graph], Graph]
NARROWED_FROM: Final = 64  # elements of a constant that is worth making shorter
PASSES: Final[tuple[Pass, ...]] = (
    unroll,
    fold_constants,
    narrow_constants,
    slice_of_concatenation,
    cut_concatenations,
    unit_steps,
    join_pads,
    pad_once,
    strength_reduction,
    read_transposed,
    keep_axes,
    drop_identities,
    common_subexpressions,
)
BEFORE_MERGING: Final[tuple[Pass, ...]] = (unroll, read_transposed, keep_axes, join_reshapes)
"""What keeps lengths that differ between two traces apart from other axes."""


def rewrite(graph: Graph, passes: Sequence[Pass] = PASSES) -> Graph:
    """All passes, in order. An error in one names it."""
    flags = config()
    for step in passes:
        try:
            graph = step(graph)
            if flags.verify:
                graph.verify()
        except Exception as error:
            error.add_note(f"in the pass {step.__name__}")
            raise
        if flags.debug >= 3:
            say(f"-- after {step.__name__}\n{graph}")
    return graph
