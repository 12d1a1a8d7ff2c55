"""The numbers of a batch: what every node of a graph holds, in a few figures and a histogram."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np

from ..adjoint import SCAN
from ..errors import TinygradError
from ..executor import eval_node
from ..graph.graph import Array, Graph, Node

BINS: Final = 20
STEPS: Final = 64  # of a loop, whose values are looked at
_HEIGHTS: Final = "0123456789abcdef"  # of bins, in shares of the highest one; 0 is none
Figures = list[Any]  # least, largest, mean, deviation, then how many: elements, zeros, NaN, infinite; then the bins


def figures(values: Array) -> Figures:
    """What a page says of an array. What is not finite is counted, and is in none of the other figures."""
    array = np.asarray(values)
    plain = array.astype(np.float64, copy=False).ravel()
    finite = np.isfinite(plain)
    rest = plain if finite.all() else plain[finite]
    missing = int(np.isnan(plain).sum())
    counts = [array.size, int((plain == 0).sum()), missing, int(plain.size - rest.size - missing)]
    if not rest.size:
        return [None, None, None, None, *counts, ""]
    low, high = float(rest.min()), float(rest.max())
    with np.errstate(all="ignore"):
        # Scaled, so that no sum or difference of large numbers overflows.
        size = max(abs(low), abs(high), np.finfo(np.float64).tiny)
        mean, deviation = float((rest / size).mean() * size), float((rest / size).std() * size)
    bins = ""
    if low < high:
        place = (rest / size - low / size) * (BINS / (high / size - low / size))
        heights = np.bincount(np.clip(place.astype(np.int64), 0, BINS - 1), minlength=BINS)
        most = len(_HEIGHTS) - 1
        bins = "".join(_HEIGHTS[-(-int(one) * most // int(heights.max()))] for one in heights)
    return [*(_short(one) for one in (low, high, mean, deviation)), *counts, bins]


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def numbers(graph: Graph, values: Mapping[Node, Array], wanted: Collection[Node]) -> tuple[dict[Node, Figures], str]:
    """The figures of the nodes that are wanted, those in loops over all of their steps, and why some are missing.

    `values` are those of the inputs. A value is kept as long as something reads it.
    """
    known: dict[Node, Any] = {**values}
    found: dict[Node, Figures] = {}
    last = {operand: k for k, node in enumerate(graph.nodes) for operand in node.inputs}
    try:
        for k, node in enumerate(graph.nodes):
            if node not in known:
                known[node] = node.value if node.value is not None else _value(node, known, wanted, found)
            if node in wanted:
                found[node] = figures(known[node])
            for operand in {*node.inputs, node}:
                if last.get(operand, k) == k and operand in known:
                    del known[operand]
    except TinygradError as error:
        return found, f"values are known up to an error: {error}"
    return found, ""


def _value(node: Node, known: Mapping[Node, Any], wanted: Collection[Node], found: dict[Node, Figures]) -> Any:
    """The value of a node; of a loop also what its steps hold."""
    operands = [known[one] for one in node.inputs]
    if node.op is SCAN:
        found |= _steps(node, operands, wanted)
    return eval_node(node, operands)


def _steps(scan: Node, operands: list[Any], wanted: Collection[Node]) -> dict[Node, Figures]:
    """The figures of what is in a loop, over the first steps together."""
    body, length, carries, xs = (scan.attrs[key] for key in ("body", "length", "carries", "xs"))
    shown = [node for node in body.nodes if node in wanted]
    kept: dict[Node, list[Array]] = {node: [] for node in shown}
    state = operands[:carries]
    for t in list(reversed(range(length)) if scan.attrs["reverse"] else range(length))[: STEPS if shown else 0]:
        entries = [*state, *(one[t] for one in operands[carries : carries + xs]), *operands[carries + xs :]]
        inside: dict[Node, Any] = dict(zip(body.inputs, entries, strict=True))
        for node in body.nodes:
            if node not in inside:
                inside[node] = (
                    node.value if node.value is not None else eval_node(node, [inside[x] for x in node.inputs])
                )
        for node in shown:
            kept[node].append(np.asarray(inside[node]))
        state = [inside[node] for node in body.outputs[:carries]]
    return {node: figures(np.stack(values)) for node, values in kept.items() if values}
