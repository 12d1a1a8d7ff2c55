"""Passes over what moves: slices of slices and of concatenations, sums of pads, transposed factors, merged axes.

As those of `rewrite`, none changes a value.
"""

from __future__ import annotations

import numpy as np

from ...graph.graph import NO_ATTRS, Attrs, Graph, Node, is_fixed
from ...ops.contract import MATMUL
from ...ops.elementwise import ADD
from ...ops.movement import BROADCAST, CAT, PAD, PERMUTE, RESHAPE, SLICE, StridedSlice
from ...ops.reduce import SUM
from ...ops.source import CONSTANT
from ..blas import MERGED, is_large
from .rebuild import apply, count_users, rebuild


def unit_steps(graph: Graph) -> Graph:
    """Pads with a step s become pads with step 1 of x with s - 1 zeros after each element."""

    def rule(node: Node, operands: tuple[Node, ...]) -> Node | None:
        if all(abs(step) == 1 or length <= 1 for _, step, length in node.attrs["bounds"]):
            return None
        (x,) = operands
        bounds = []
        for axis, (start, step, length) in enumerate(node.attrs["bounds"]):
            stride = abs(step)
            if stride == 1 or length <= 1:
                bounds.append((start, step, length))
                continue
            apart = (*x.shape[:axis], length, 1, *x.shape[axis + 1 :])
            wide = (*x.shape[:axis], length, stride, *x.shape[axis + 1 :])
            inside = tuple((0, 1, 1 if a == axis + 1 else n) for a, n in enumerate(apart))
            x = apply(PAD, (apply(RESHAPE, (x,), {"shape": apart}),), {"shape": wide, "bounds": inside})
            x = apply(RESHAPE, (x,), {"shape": (*wide[:axis], length * stride, *wide[axis + 2 :])})
            kept = (length - 1) * stride + 1
            cut = tuple((0, 1, kept if a == axis else n) for a, n in enumerate(x.shape))
            x = apply(SLICE, (x,), {"bounds": cut})
            bounds.append((start, 1 if step > 0 else -1, kept))
        return apply(PAD, (x,), {"shape": node.shape, "bounds": tuple(bounds)})

    return rebuild(graph, rule, {PAD})


def slice_of_concatenation(graph: Graph) -> Graph:
    """A slice of a slice is one slice, and one that lies in one operand of a concatenation is a slice of that."""

    def rule(node: Node, operands: tuple[Node, ...]) -> Node | None:
        (x,), bounds = operands, node.attrs["bounds"]
        while x.op in (SLICE, CAT) and is_fixed(x.shape, node.shape):
            if x.op is SLICE:
                outer = zip(bounds, x.attrs["bounds"], strict=True)
                bounds = tuple((first + step * start, step * s, n) for (start, s, n), (first, step, _) in outer)
                x = x.inputs[0]
                continue
            piece = _piece(x, bounds)
            if piece is None:
                break
            x, bounds = piece
        return None if x is operands[0] else apply(SLICE, (x,), {"bounds": bounds})

    return rebuild(graph, rule, {SLICE})


def cut_concatenations(graph: Graph) -> Graph:
    """A slice of whole operands of a concatenation that nobody else reads is a concatenation of these."""
    users = count_users(graph)

    def rule(node: Node, operands: tuple[Node, ...]) -> Node | None:
        if operands[0].op is not CAT or users[node.inputs[0]] > 1:
            return None
        (cat,), bounds, axis = operands, node.attrs["bounds"], operands[0].attrs["axis"]
        begin, parts = 0, []
        start, step, length = bounds[axis]
        for x in cat.inputs:
            if start <= begin and begin + x.shape[axis] <= start + length:
                parts.append(x)
            begin += x.shape[axis]
        others = all((0, 1, n) == b for a, (n, b) in enumerate(zip(cat.shape, bounds, strict=True)) if a != axis)
        if step != 1 or not others or not parts or sum(x.shape[axis] for x in parts) != length:
            return None
        return apply(CAT, tuple(parts), cat.attrs)

    return rebuild(graph, rule, {SLICE})


def _piece(cat: Node, bounds: StridedSlice) -> tuple[Node, StridedSlice] | None:
    """The operand of a concatenation in which all of a slice lies, and where."""
    axis, begin = cat.attrs["axis"], 0
    start, step, length = bounds[axis]
    low, high = sorted((start, start + step * (length - 1)))
    for x in cat.inputs:
        if length and begin <= low and high < begin + x.shape[axis]:
            return x, (*bounds[:axis], (start - begin, step, length), *bounds[axis + 1 :])
        begin += x.shape[axis]
    return None


def join_pads(graph: Graph) -> Graph:
    """Sums of pads that lie side by side along an axis, as the gradients of slices are, become one concatenation.

    0.0 is added to its operands, since 0.0 + -0.0, which the sum computes, is 0.0.
    """
    users = count_users(graph)
    kept = {*graph.outputs, *(new for _, new in graph.updates), *graph.inputs}
    inner = {
        operand
        for node in graph.nodes
        if node.op is ADD and node not in kept
        for operand in node.inputs
        if operand.op is ADD and users[operand] == 1 and operand not in kept
    }

    def rule(node: Node, operands: tuple[Node, ...]) -> Node | None:
        if node in inner or node.dtype.kind != "f":
            return None
        parts: list[Node] = []
        stack = list(operands)
        while stack:
            part = stack.pop()
            if part.op is ADD and len(parts) + len(stack) < len(graph.nodes):
                stack += part.inputs
            elif part.op is PAD:
                parts.append(part)
            else:
                return None
        return _joined(node, parts)

    return rebuild(graph, rule, {ADD})


def _joined(node: Node, parts: list[Node]) -> Node | None:
    """The pads as a concatenation, where they tile the shape along one axis."""
    bounds = [part.attrs["bounds"] for part in parts]
    whole = tuple((0, 1, n) for n in node.shape)
    axes = {a for b in bounds for a, (one, all_) in enumerate(zip(b, whole, strict=True)) if one != all_}
    if len(axes) != 1 or any(step != 1 for b in bounds for _, step, _ in b):
        return None
    (axis,) = axes
    ordered = sorted(zip(bounds, parts, strict=True), key=lambda pair: pair[0][axis][0])
    end = 0
    for b, _ in ordered:
        if b[axis][0] != end or b[axis][2] == 0:
            return None
        end += b[axis][2]
    if end != node.shape[axis]:
        return None
    return apply(CAT, tuple(_plus_zero(part.inputs[0]) for _, part in ordered), {"axis": axis})


def _plus_zero(x: Node) -> Node:
    value = np.broadcast_to(np.zeros((), x.dtype), x.shape)
    return apply(ADD, (x, Node(CONSTANT, (), NO_ATTRS, x.shape, x.dtype, value)), NO_ATTRS)


def read_transposed(graph: Graph) -> Graph:
    """A product of a transposed matrix reads the matrix transposed."""

    def rule(node: Node, operands: tuple[Node, ...]) -> Node | None:
        attrs, new = dict(node.attrs), list(operands)
        for k, flag in enumerate(("tx", "ty")):
            x = new[k]
            rank = len(x.shape)
            if x.op is PERMUTE and x.attrs["order"] == (*range(rank - 2), rank - 1, rank - 2):
                new[k], attrs[flag] = x.inputs[0], not attrs[flag]
        return apply(MATMUL, tuple(new), attrs) if attrs != node.attrs else None

    return rebuild(graph, rule, {MATMUL})


def keep_axes(graph: Graph) -> Graph:
    """A product whose rows are several axes merged, as of a layer on (time, batch, features), keeps them apart: merged,
    they would have to lie in memory row by row.
    """

    def rule(node: Node, operands: tuple[Node, ...]) -> Node | None:
        if len(node.shape) != 2 or is_large(node, MERGED):
            return None
        x, y = operands
        tx, ty = node.attrs["tx"], node.attrs["ty"]
        if not tx and (lead := _lead(x)):
            weights = apply(BROADCAST, (y,), _repeated(lead[:-1], y.shape))
            product = apply(MATMUL, (x.inputs[0], weights), node.attrs)
            return apply(RESHAPE, (product,), {"shape": node.shape})
        if tx and not ty and (lead := _lead(x) or _lead(y)):
            parts = [apply(RESHAPE, (z,), {"shape": (*lead, z.shape[1])}) for z in operands]
            product = apply(MATMUL, (parts[0], parts[1]), node.attrs)
            return apply(SUM, (product,), {"axis": tuple(range(len(lead) - 1)), "keepdims": False})
        return None

    return rebuild(graph, rule, {MATMUL})


def _lead(node: Node) -> tuple[int, ...]:
    """The axes that a matrix has merged into its rows; empty where it has not."""
    if node.op is not RESHAPE:
        return ()
    own = node.inputs[0].shape
    fixed = is_fixed(own, node.shape) and 0 not in (*own, *node.shape)
    merges = len(own) > 2 and own[-1:] == node.shape[-1:] and fixed
    return own[:-1] if merges else ()


def _repeated(lead: tuple[int, ...], own: tuple[int, ...]) -> Attrs:
    return {"shape": (*lead, *own), "axes": tuple(range(len(lead)))}


def join_reshapes(graph: Graph) -> Graph:
    """A reshape of a reshape is one, also where it changes nothing: that depends on lengths."""

    def rule(node: Node, operands: tuple[Node, ...]) -> Node | None:
        (x,) = operands
        return apply(RESHAPE, x.inputs, node.attrs) if x.op is RESHAPE else None

    return rebuild(graph, rule, {RESHAPE})
