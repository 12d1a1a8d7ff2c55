"""Passes over convolutions. As those of `rewrite`, none changes a value."""

from __future__ import annotations

from ...graph.graph import Graph, Node, is_fixed
from ...ops.conv import CONV, places_read
from ...ops.movement import PAD
from .rebuild import apply, rebuild


def pad_once(graph: Graph) -> Graph:
    """A convolution that reads beside its operand reads one with zeros there: no element asks whether it is inside."""

    def rule(node: Node, operands: tuple[Node, ...]) -> Node | None:
        x, y = operands
        windows, roles = node.attrs["windows"], node.attrs["roles"]
        rank = len(windows)
        lines, taps = x.shape[len(x.shape) - rank :], y.shape[len(y.shape) - rank :]
        if 0 in node.shape or 0 in x.shape or 0 in y.shape or not is_fixed(lines, taps):
            return None
        ends = [places_read(window, n) for window, n in zip(windows, taps, strict=True)]
        sides = [(max(0, -low), max(0, high - n + 1)) for (low, high), n in zip(ends, lines, strict=True)]
        if not any(map(any, sides)):
            return None
        named = x.shape[: len(x.shape) - rank]
        wide = (*named, *(n + sum(side) for n, side in zip(lines, sides, strict=True)))
        inside = (*((0, 1, n) for n in named), *((side[0], 1, n) for n, side in zip(lines, sides, strict=True)))
        padded = apply(PAD, (x,), {"shape": wide, "bounds": inside})
        moved = tuple(
            window._replace(start=window.start + window.spread * side[0])
            for window, side in zip(windows, sides, strict=True)
        )
        return apply(CONV, (padded, y), {"roles": roles, "windows": moved})

    return rebuild(graph, rule, {CONV})
