"""The step of a scan as a graph, and the step of its gradient.

The gradient of a step is recorded once, from the step's graph. It reads values of the step, which `Body.saving` makes
the scan leave where computing them again would cost more than a few additions. Cotangents of what every step reads
are not summed step by step: the sum of a product over the steps is one product of the stacked factors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Final

import numpy as np

from .autodiff import reverse as walk_back
from .graph import NO_ATTRS, GradSlot, Graph, Node, by_serial, reachable, with_operands
from .ops.contract import MATMUL
from .ops.movement import RESHAPE, SLICE
from .ops.reduce import SUM
from .ops.rules import op_cost
from .ops.scan import COLUMN, SCAN, Columns, start_of
from .ops.source import INPUT
from .tensor import Tensor, enable_grad
from .tensor.core import mode, tracing
from .tensor.symbolic import Symbolic

COSTLY: Final = 20  # scalar operations from which a value is left for the gradient; exp has 26


def symbol(shape: tuple[int, ...], dtype: Any, needs_grad: bool) -> Tensor:
    """An input of a graph that is being recorded."""
    node = Node(INPUT, (), NO_ATTRS, shape, dtype, None, needs_grad)
    node.slot = GradSlot(keep=True)  # so that a backward() in the function of a step leaves a trace
    return Tensor.handle(node)


@dataclass(frozen=True, slots=True)
class Label:
    """What people call a loop: its title, the names of carries and entries, the names of what it leaves.

    Pictures read it and nothing else does. A name may be missing, which is "".
    """

    title: str = "scan"
    moving: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def mover(self, k: int) -> str:
        """The name of a carry or entry."""
        return self.moving[k] if k < len(self.moving) else ""

    def leaver(self, k: int) -> str:
        """The name of an output of the step."""
        return self.left[k] if k < len(self.left) else ""


@dataclass(frozen=True, slots=True, eq=False)
class Body(Graph):
    """The graph of a step, which knows the graph of its gradient."""

    known: dict[Any, Any] = field(default_factory=dict, repr=False)
    label: Label = Label()

    def named(self, label: Label) -> Body:
        """The same graph by another name."""
        return replace(self, label=label)

    def saving(self, carries: int, series: int, needs: tuple[int, ...]) -> Body:
        """The body that also leaves what its gradient reads, if one may be asked for."""
        if not needs or not mode.grad:
            return self
        key = (carries, series, needs)
        if key not in self.known:
            everything = tuple(range(len(self.outputs)))
            saved = _Walk(self, carries, needs, everything).to_save(self.inputs[carries:])
            if saved:
                before = {node: f"{self.label.mover(k)} before" for k, node in enumerate(self.inputs[:carries])}
                left = [self.label.leaver(k) for k in range(len(self.outputs))]
                left += [before.get(node, _called(node)) for node in saved]
                label = replace(self.label, left=tuple(left))
                self.known[key] = Body.of([*self.outputs, *saved], self.inputs).named(label)
            else:
                self.known[key] = self
        body: Body = self.known[key]
        return body

    def adjoint(self, carries: int, series: int, needs: tuple[int, ...], seeded: tuple[int, ...]) -> Adjoint:
        """The step of the backward scan, given which outputs have a cotangent."""
        key = (carries, series, needs, seeded)
        if key not in self.known:
            self.known[key] = _adjoint(_Walk(self, carries, needs, seeded), series)
        adjoint: Adjoint = self.known[key]
        return adjoint


def _called(node: Node) -> str:
    """What pictures call a value of a step that has no name."""
    if node.op is COLUMN and node.inputs[0].op is SCAN:
        return str(node.inputs[0].attrs["body"].label.leaver(node.attrs["k"]))
    return f"values of {node.attrs['body'].label.title}" if node.op is SCAN else node.op.name


class _Walk:
    """A recording of the gradient of a step: cotangents of the carries and of `needs`, as nodes."""

    def __init__(self, body: Body, carries: int, needs: tuple[int, ...], seeded: tuple[int, ...]) -> None:
        self.body, self.carries, self.needs, self.seeded = body, carries, needs, seeded
        floats = [node.dtype for node in (*body.outputs, *(body.inputs[k] for k in needs))]
        self.wide: Any = np.result_type(*floats)  # all that a scan carries and leaves has one dtype
        with tracing(Symbolic()), enable_grad():
            self.carried = [symbol(node.shape, self.wide, True) for node in body.inputs[:carries]]
            self.rows = {k: symbol(body.outputs[k].shape, body.outputs[k].dtype, True) for k in seeded}
            wanted = [*range(carries), *(k for k in needs if k >= carries)]
            self.given = [symbol(x.shape, x.dtype, k in wanted) for k, x in enumerate(body.inputs)]
            self.values = replay(body, self.given)
            roots, seeds = [], []
            for k, output in enumerate(body.outputs):
                parts = [self.carried[k].cast(output.dtype)] if k < carries else []
                parts += [self.rows[k]] if k in self.rows else []
                if parts:
                    root = self.values[output].node
                    roots.append(root)
                    seeds.append(_seed(root, parts[0] + parts[1] if len(parts) == 2 else parts[0]))
            found = walk_back(roots, seeds, Tensor.handle, {self.given[k].node for k in wanted}, retain=True)
            self.found = {k: found[self.given[k].node] for k in wanted if self.given[k].node in found}

    def read(self) -> dict[Node, Node]:
        """The values of the step that the gradient reads: nodes of the body to those that stand for them."""
        again = {handle.node: node for node, handle in self.values.items()}
        order = reachable([g.node for g in self.found.values()])
        used = {operand for node in order if node not in again for operand in node.inputs}
        used |= {g.node for g in self.found.values()}
        return {again[node]: node for node in order if node in used and node in again}

    def to_save(self, available: Sequence[Node]) -> list[Node]:
        """The nodes of the body that are to be left for the gradient."""
        kept = self.body.outputs[0].dtype
        at_hand = {*available, *self.body.outputs}
        needed = set(self.read())
        for node in reversed(self.body.nodes):  # what cannot be left, as a mask, is computed again
            if node in needed and node.dtype != kept and node not in at_hand:
                needed.update(node.inputs)
        inputs = set(self.body.inputs)
        saved = []
        for node in self.body.nodes:
            cheap = node not in inputs and (node.op.kind in ("source", "movement") or _is_cheap(node))
            if node in at_hand or ((cheap or node.dtype != kept) and at_hand.issuperset(node.inputs)):
                at_hand.add(node)
            elif node in needed and node.dtype == kept:
                saved.append(node)
                at_hand.add(node)
        return saved


def _is_cheap(node: Node) -> bool:
    """Whether computing a value again costs no more than a few additions."""
    return node.op.kind == "elementwise" and op_cost(node) < COSTLY


def _seed(root: Node, g: Tensor) -> Any:
    """The cotangent of an output; that of a scan, which was left for the gradient, is known by its columns."""
    if root.op is not SCAN:
        return g
    inner, length = root.attrs["body"], root.attrs["length"]
    starts = [start_of(inner, length, k) for k in range(len(inner.outputs) + 1)]
    return Columns(
        {
            k: g.narrow(0, starts[k], starts[k + 1] - starts[k]).reshape((length, *node.shape))
            for k, node in enumerate(inner.outputs)
        }
    )


@dataclass(frozen=True, slots=True, eq=False)
class Adjoint:
    """The step of a backward scan, and how cotangents come of what it leaves.

    What is there for all steps is, in this order: g for the outputs `seeded`, the outputs `read`, what the carries
    `began` with, the operands `entries`; `body` reads those of them that are `inside`. Its inputs are the cotangents of
    the carries, these, and the operands `rest`; its outputs the cotangents of the carries before the step, and columns.
    """

    body: Body
    seeded: tuple[int, ...]
    read: tuple[int, ...]
    began: tuple[int, ...]
    entries: tuple[int, ...]
    inside: tuple[int, ...]
    rest: tuple[int, ...]
    stacked: Mapping[Node, int]  # what is there, by its number
    columns: Mapping[Node, int]  # what the body leaves, by the number of its output
    of_entries: Mapping[int, Node | None]
    of_rest: Mapping[int, Node | None]
    sums: tuple[Node, ...]

    def gathered(self, operands: Sequence[Tensor], stacked: Sequence[Tensor], left: Sequence[Tensor]) -> dict[int, Any]:
        """Cotangents of the series and of the rest, given what the scan read and left."""

        def stack(node: Node) -> Tensor:
            return stacked[self.stacked[node]] if node in self.stacked else left[self.columns[node]].cast(node.dtype)

        totals: dict[Node, Tensor] = {}
        for node in self.sums:
            if _passes_sums(node):
                first, *others = [totals[operand] for operand in node.inputs]
                totals[node] = first.apply(node.op, *others, **node.attrs)
            else:
                totals[node] = _SUMS.get(node.op, _plain_sum)(node, stack)
        found: dict[int, Any] = {}
        for k, target in (*self.of_entries.items(), *self.of_rest.items()):
            if target is None:
                found[k] = operands[k].new_zeros(operands[k].shape)
            else:
                found[k] = stack(target) if k in self.of_entries else totals[target]
        return found


def _passes_sums(node: Node) -> bool:
    """Whether a sum over steps of the op is the op of the sums."""
    same_dtype = all(operand.dtype == node.dtype for operand in node.inputs)
    return node.op.linear and node.op.kind in ("movement", "elementwise") and same_dtype and node.op is not COLUMN


def _sum_of_products(node: Node, stack: Callable[[Node], Tensor]) -> Tensor:
    """The sum of x_t @ y_t; compiled, it is one product along the steps and the inner axis together."""
    x, y = (stack(operand) for operand in node.inputs)
    return x.apply(MATMUL, y, **node.attrs).apply(SUM, axis=(0,), keepdims=False)


def _sum_of_sums(node: Node, stack: Callable[[Node], Tensor]) -> Tensor:
    axes = (0, *(axis + 1 for axis in node.attrs["axis"]))
    return stack(node.inputs[0]).apply(SUM, axis=axes, keepdims=False).reshape(node.shape)


def _plain_sum(node: Node, stack: Callable[[Node], Tensor]) -> Tensor:
    return stack(node).apply(SUM, axis=(0,), keepdims=False)


_SUMS: Final[Mapping[Any, Callable[[Node, Callable[[Node], Tensor]], Tensor]]] = {
    MATMUL: _sum_of_products,
    SUM: _sum_of_sums,
}


def _adjoint(walk: _Walk, series: int) -> Adjoint:
    """Cut the recording loose from the values that the step left, and find what is to be summed."""
    body, carries = walk.body, walk.carries
    given = [handle.node for handle in walk.given]
    first, entries, rest = given[:carries], given[carries : carries + series], given[carries + series :]
    left: dict[Node, int] = {}
    for k, output in enumerate(body.outputs):
        node = walk.values[output].node
        if node.inputs or node in first:
            left.setdefault(node, k)
    stand_ins = {node: symbol(node.shape, node.dtype, node.needs_grad).node for node in left}
    new = cut([g.node for g in walk.found.values()], stand_ins)
    found = {k: new[g.node] for k, g in walk.found.items()}
    of_entries = {k: found.get(k) for k in walk.needs if carries <= k < carries + series}
    of_rest = {k: found.get(k) for k in walk.needs if k >= carries + series}
    sums, wanted = _sums([node for node in of_rest.values() if node is not None])
    wanted += [node for node in of_entries.values() if node is not None]
    rows = [handle.node for handle in walk.rows.values()]
    readable = [*rows, *stand_ins.values(), *first, *entries]
    leaving = [node for node in dict.fromkeys(wanted) if node not in readable]
    with tracing(Symbolic()), enable_grad():
        handles = [
            Tensor.handle(found[k]) if k in found else walk.given[k].new_zeros(node.shape)
            for k, node in enumerate(first)
        ]
        outputs = [handle.cast(walk.wide).node for handle in (*handles, *map(Tensor.handle, leaving))]
    inside = set(reachable(outputs))
    used = inside.union(wanted)
    stacked = [node for node in readable if node in used or node in rows]
    read_inside = [node for node in stacked if node in inside]
    inputs = [handle.node for handle in walk.carried] + read_inside + [node for node in rest if node in inside]
    names = {row.node: f"grad of {body.label.leaver(k)}" for k, row in walk.rows.items()}
    names |= {stand_in: body.label.leaver(left[node]) for node, stand_in in stand_ins.items()}
    names |= {node: body.label.mover(k) for k, node in enumerate((*first, *entries))}
    grads = {node: f"grad of {body.label.mover(k)}" for k, node in of_entries.items() if node is not None}
    label = Label(
        f"gradient of {body.label.title}",
        (*(f"grad of {body.label.mover(k)}" for k in range(carries)), *(names[node] for node in read_inside)),
        tuple(f"grad of {body.label.mover(k)}" for k in range(carries))
        + tuple(grads.get(node, _called(node)) for node in leaving),
    )
    return Adjoint(
        Body.of(outputs, inputs).named(label),
        seeded=walk.seeded,
        read=tuple(k for k, node in zip(left.values(), stand_ins.values(), strict=True) if node in used),
        began=tuple(k for k, node in enumerate(first) if node in used),
        entries=tuple(k for k, node in enumerate(entries, carries) if node in used),
        inside=tuple(k for k, node in enumerate(stacked) if node in inside),
        rest=tuple(k for k, node in enumerate(rest, carries + series) if node in inside),
        stacked={node: k for k, node in enumerate(stacked)},
        columns={node: k for k, node in enumerate(leaving, carries)},
        of_entries=of_entries,
        of_rest=of_rest,
        sums=sums,
    )


def _sums(targets: Sequence[Node]) -> tuple[tuple[Node, ...], list[Node]]:
    """The nodes of which sums over the steps are needed, operands first, and those they need every step's value of."""
    seen, stack = set(targets), list(targets)
    wanted: list[Node] = []
    while stack:
        node = stack.pop()
        if not _passes_sums(node):
            wanted += node.inputs if node.op in _SUMS else (node,)
            continue
        for operand in node.inputs:
            if operand not in seen:
                seen.add(operand)
                stack.append(operand)
    return tuple(sorted(seen, key=by_serial)), wanted


def replay(body: Graph, given: Sequence[Tensor]) -> dict[Node, Tensor]:
    """The nodes of a graph, computed again from other inputs; what had no gradient has none."""
    done = dict(zip(body.inputs, given, strict=True))
    for node in body.nodes:
        if node in done:
            continue
        if node.op.kind == "source":
            done[node] = Tensor.handle(node)
            continue
        first, *others = [done[operand] for operand in node.inputs]
        result = first.apply(node.op, *others, **node.attrs)
        stops = not node.needs_grad and any(operand.needs_grad for operand in node.inputs)
        done[node] = result.detach() if stops and result.requires_grad else result
    return done


def cut(roots: Sequence[Node], stand_ins: Mapping[Node, Node]) -> dict[Node, Node]:
    """What the roots depend on, made again with other nodes in the place of some."""
    new = dict(stand_ins)
    for node in Graph.of(roots, tuple(stand_ins)).nodes:
        if node not in new:
            new[node] = _remade(node, tuple(new[operand] for operand in node.inputs))
    return new


def _remade(node: Node, operands: tuple[Node, ...]) -> Node:
    """The same op on other operands. What stands for a scan is no scan, so a part of it is cut out as of any tensor."""
    if node.op is COLUMN and operands[0].op is not SCAN:
        start, length = node.attrs["start"], prod(node.shape)
        bounds = {"bounds": ((start, 1, length),)}
        part = Node(SLICE, operands, bounds, (length,), node.dtype, None, node.needs_grad)
        return Node(RESHAPE, (part,), {"shape": node.shape}, node.shape, node.dtype, None, node.needs_grad)
    return with_operands(node, operands)
