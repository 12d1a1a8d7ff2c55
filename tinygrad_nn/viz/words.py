"""What boxes and arrows say of a node, and what needs no box because a word says it. Functions of nodes alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np

from ..adjoint import SCAN, Label
from ..graph.graph import Node
from ..ops.contract import MATMUL
from ..ops.movement import RESHAPE, SLICE
from .description import Names

_LARGEST_UNIFORM: Final = 10_000  # elements of a constant that is looked through for one number in all places


def fixed(nodes: Sequence[Node], names: Names, loud: Collection[Node]) -> set[Node]:
    """What is computed of unnamed constants alone; nothing, if a result is."""
    fixed: set[Node] = set()
    for node in nodes:
        plain = node.value is not None and not node.needs_grad and node not in names.copies
        if plain and node.op.kind != "random" and node not in names.leaves and fixed.issuperset(node.inputs):
            fixed.add(node)
    return fixed if fixed.isdisjoint(loud) else set()


def before(label: Label, k: int) -> str:
    """The name of a state before the first step. A gradient begins where its loop ends."""
    return f"{label.mover(k) or 'state'}_{'n' if label.title.count('gradient') % 2 else '0'}"


def after(label: Label, k: int) -> str:
    """The name of a state after the last step."""
    return f"{label.mover(k) or 'state'}_{'0' if label.title.count('gradient') % 2 else 'n'}"


def numbers(nodes: Sequence[Node], kept: Collection[Node], copies: Mapping[Node, Node]) -> dict[Node, str]:
    """What is one number in all places, as text, for the ops that read it. Where its shape matters it wants a box: for
    who reads `kept`, for loops, and for all but elementwise ops unless it has one element.
    """
    boxed = set(kept)
    for node in reversed(nodes):
        if node.op is SCAN or (node in boxed and node.op.quiet):
            boxed.update(node.inputs)
        elif node.op.kind != "elementwise" and not node.op.quiet:
            boxed.update(operand for operand in node.inputs if operand.shape)
        if node in boxed and node in copies:
            boxed.add(copies[node])
    numbers: dict[Node, str] = {}
    for node in nodes:
        if node in boxed or node.needs_grad:
            continue
        same = copies.get(node) or (node.inputs[0] if node.op.quiet else None)
        if same is not None:
            numbers |= {node: numbers[same]} if same in numbers else {}
        elif all(operand in numbers for operand in node.inputs) and node.op.kind != "random":
            text = uniform(node)
            if text:
                numbers[node] = text
    return numbers


def whole_products(nodes: Sequence[Node], kept: Collection[Node]) -> dict[Node, Node]:
    """Products of two matrices of which only a reshape is read that gives the leading axes back: by that reshape."""
    readers: dict[Node, list[Node]] = {}
    for node in nodes:
        for operand in node.inputs:
            if operand.op is MATMUL:
                readers.setdefault(operand, []).append(node)
    return {
        product: again[0]
        for product, again in readers.items()
        if len(again) == 1 and again[0].op is RESHAPE and product not in kept
        if len(product.shape) == 2 and again[0].shape[-1:] == product.shape[-1:]
    }


def uniform(node: Node) -> str:
    """The number a constant holds in all places, or nothing."""
    value = None if node.value is None else np.asarray(node.value)
    if value is None or not 0 < value.size <= _LARGEST_UNIFORM:
        return ""
    first = value.reshape(-1)[0]
    if value.size > 1 and not (value == first).all():
        return ""
    number = first.item()
    return f"{number:.6g}" if isinstance(number, float) else f"{number}"


def said(node: Node) -> str:
    """What an op does, in few words."""
    if node.op.words is not None:
        return node.op.words(*(operand.shape for operand in node.inputs), **node.attrs)
    axis = node.attrs.get("axis")
    axes = axis if isinstance(axis, tuple) else (axis,)
    if axis is None or (len(axes) == len(node.inputs[0].shape) and len(node.inputs) == 1):
        return node.op.name
    return f"{node.op.name} axis {', '.join(map(str, axes))}"


def part(node: Node, parts: Sequence[str]) -> str:
    """The name of the one of some equal parts of the last axis that a slice is; "" for anything else."""
    if not parts or node.op is not SLICE or not node.shape:
        return ""
    bounds, n = node.attrs["bounds"], node.inputs[0].shape[-1]
    width, rest = divmod(n, len(parts))
    first, step, *_ = bounds[-1]
    others = zip(bounds[:-1], node.inputs[0].shape[:-1], strict=True)
    if rest or step != 1 or node.shape[-1] != width or first % width or any(one != (0, 1, m) for one, m in others):
        return ""
    return parts[int(first) // width]


def is_whole(node: Node) -> bool:
    """Whether a slice leaves nothing out."""
    return all(bounds == (0, 1, n) for bounds, n in zip(node.attrs["bounds"], node.inputs[0].shape, strict=True))
