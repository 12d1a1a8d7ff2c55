"""What an op computes, and its gradient, as lines of text. Nothing is said twice: the gradient is what the rule in the
op's block does to symbols.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..adjoint import SCAN
from ..errors import TinygradError
from ..graph.graph import NO_ATTRS, Graph, Node
from ..ops.source import INPUT
from ..tensor import Tensor, no_grad
from ..tensor.core import tracing
from ..tensor.symbolic import Symbolic
from ..viz.words import uniform

_LENGTH: Final = 300  # characters of a formula
_NAMES: Final = ("x", "y", "z")
_RANK: Final = {"∨": -3, "∧": -2, "<": 0, "≤": 0, "=": 0, "≠": 0, "+": 1, "-": 1, "·": 2, "/": 2, "@": 2, "^": 4}
_PREFIX: Final = 3  # what binds one operand, as -x
_TIGHT: Final = 9  # what needs no brackets anywhere
_ALIKE: Final = ("+", "·", "@", "∧", "∨")  # a + (b + c) is written without brackets


class Recorder(Symbolic):
    """Makes symbols of what rules do; a loop stays one node."""

    keeps_scans = True


def formulas(node: Node) -> tuple[str, tuple[str, ...]]:
    """The formula of a node, and those of the cotangents of its operands, "" for one that has none."""
    if node.op.kind == "source":
        return "", ()
    names = (
        _NAMES[: len(node.inputs)]
        if len(node.inputs) <= len(_NAMES)
        else tuple(f"x{k}" for k in range(1, len(node.inputs) + 1))
    )
    symbols = [Node(INPUT, (), NO_ATTRS, one.shape, one.dtype, None) for one in node.inputs]
    out, g = (Node(INPUT, (), NO_ATTRS, node.shape, node.dtype, None) for _ in range(2))
    known = dict(zip(symbols, names, strict=False)) | {out: "out", g: "g"}
    value, _, _ = _written(node, [(name, _TIGHT, "") for name in names])
    if node.op is SCAN:
        return f"{node.attrs['length']} steps of a loop", ("the same loop backwards in time",)
    try:
        return value, tuple(_cotangent(node, k, g, out, symbols, known) for k in range(len(node.inputs)))
    except TinygradError:  # a rule that asks for values
        return value, ()


def _cotangent(node: Node, k: int, g: Node, out: Node, symbols: list[Node], known: Mapping[Node, str]) -> str:
    """What the rule for operand k makes of symbols."""
    if not node.inputs[k].needs_grad or not node.op.differentiable:
        return ""
    rules: Any = node.op.vjp
    handles = [Tensor.handle(one) for one in (g, out, *symbols)]
    with tracing(Recorder()), no_grad():
        if isinstance(rules, tuple):
            made = rules[k](*handles, **node.attrs) if rules[k] is not None else None
        else:
            made = rules(*handles, wanted=(k,), **node.attrs)[k]
    return "" if not isinstance(made, Tensor) else text(made.node, known)


def text(root: Node, known: Mapping[Node, str]) -> str:
    """A node in terms of those that have names."""
    parts: dict[Node, tuple[str, int, str]] = {}
    for node in Graph.of([root], [one for one in known if one is not root]).nodes:
        if node in known:
            parts[node] = (known[node], _TIGHT, "")
        elif not node.inputs:
            number = uniform(node) or "constant"
            parts[node] = (number, _PREFIX if number.startswith("-") else _TIGHT, "")
        elif node.op.quiet:
            parts[node] = parts[node.inputs[0]]
        else:
            parts[node] = _written(node, [parts[one] for one in node.inputs])
            if len(parts[node][0]) > _LENGTH:
                return f"{parts[node][0][:_LENGTH]}…"
    return parts[root][0]


def _written(node: Node, operands: list[tuple[str, int, str]]) -> tuple[str, int, str]:
    """An op on texts, how much that binds, and by which sign, "" for a call. Texts that bind less come in brackets."""
    how = node.op.written
    form = how if isinstance(how, str) else how(**node.attrs)
    if not form:
        axes = [f"{key}={value}" for key, value in node.attrs.items() if key in ("axis", "axes", "dim")]
        return f"{node.op.name}({', '.join([*(line for line, _, _ in operands), *axes])})", _TIGHT, ""
    if "(" in form or "|" in form:
        return form.format(*(line for line, _, _ in operands)), _TIGHT, ""
    sign = form.replace("{}", "").replace("ᵀ", "").strip()
    own = _RANK[sign] if len(operands) > 1 else _PREFIX

    def bracketed(k: int, line: str, rank: int, inner: str) -> str:
        alike = own > 0 and (k == 0 or sign in _ALIKE) if rank == own else rank > own
        alike = alike or (inner == sign and sign in _ALIKE)
        turned = "{}ᵀ" in form and rank < _TIGHT
        return line if alike and not turned else f"({line})"

    return form.format(*(bracketed(k, *one) for k, one in enumerate(operands))), own, sign
