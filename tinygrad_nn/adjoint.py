"""SCAN, the op of a loop over time (its meaning is in `ops/scan.py`), and its gradient: a scan that runs the other way.

The gradient of a step is recorded once, from the step's graph. It reads values of the step, which `Body.saving` makes
the scan leave where computing them again would cost more than a few additions. Cotangents of what every step reads
are not summed step by step: the sum of a product over the steps is one product of the stacked factors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Final, Literal

import numpy as np

from .graph.graph import NO_ATTRS, GradSlot, Graph, Node, Op, by_serial, next_serial, reachable, with_operands
from .graph.reverse import reverse as walk_back
from .ops.contract import MATMUL
from .ops.movement import RESHAPE, SLICE
from .ops.reduce import SUM
from .ops.rules import op_cost
from .ops.scan import (
    STACKED,
    Cotangents,
    last,
    run_steps,
    scan_dtype,
    scan_follows,
    scan_onnx,
    scan_shape,
    stacked_output,
    start_of,
)
from .ops.source import INPUT
from .support.extras import require
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
    """What people call a loop: its title, the names of carries and entries, the names of what it leaves, and those of
    the equal parts that the step cuts its numbers into, such as gates.

    Pictures read it and nothing else does. A name may be missing, which is "".
    """

    title: str = "scan"
    moving: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

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

    def saving(self, carries: int, xs: int, needs: tuple[int, ...]) -> Body:
        """The body that also leaves what its gradient reads, if one may be asked for."""
        if not needs or not mode.grad:
            return self
        key = (carries, xs, needs)
        if key not in self.known:
            everything = tuple(range(len(self.outputs)))
            saved = _Walk(self, carries, needs, everything).to_save(self.inputs[carries:])
            if saved:
                before = {node: f"{self.label.mover(k)} before" for k, node in enumerate(self.inputs[:carries])}
                left = [self.label.leaver(k) for k in range(len(self.outputs))]
                left += [before.get(node, _called(node)) for node in saved]
                label = replace(self.label, left=tuple(left))
                self.known[key] = Body.of([*self.outputs, *saved], self.inputs, places=self.places).named(label)
            else:
                self.known[key] = self
        body: Body = self.known[key]
        return body

    def adjoint(self, carries: int, xs: int, needs: tuple[int, ...], seeded: tuple[int, ...]) -> Adjoint:
        """The step of the backward scan, given which outputs have a cotangent."""
        key = (carries, xs, needs, seeded)
        if key not in self.known:
            self.known[key] = _adjoint(_Walk(self, carries, needs, seeded), xs)
        adjoint: Adjoint = self.known[key]
        return adjoint


def _called(node: Node) -> str:
    """What pictures call a value of a step that has no name."""
    if node.op is STACKED and node.inputs[0].op is SCAN:
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
    """The cotangent of an output; that of a scan, which was left for the gradient, is known by its outputs."""
    if root.op is not SCAN:
        return g
    inner, length = root.attrs["body"], root.attrs["length"]
    starts = [start_of(inner, length, k) for k in range(len(inner.outputs) + 1)]
    return Cotangents(
        {
            k: g.narrow(0, starts[k], starts[k + 1] - starts[k]).reshape((length, *node.shape))
            for k, node in enumerate(inner.outputs)
        }
    )


@dataclass(frozen=True, slots=True)
class Stack:
    """What is there for all steps, (T, ...): the cotangent of output k, output k, what carry k began each step with, or
    operand k, of which each step reads its entry.
    """

    kind: Literal["cotangent", "output", "began", "operand"]
    k: int

    def name(self, label: Label) -> str:
        """What pictures call it."""
        if self.kind in ("began", "operand"):
            return label.mover(self.k)
        return f"grad of {label.leaver(self.k)}" if self.kind == "cotangent" else label.leaver(self.k)


@dataclass(frozen=True, slots=True, eq=False)
class Adjoint:
    """The step of a backward scan, and how cotangents come of what it leaves.

    The inputs of `body` are the cotangents of the carries, entries of the stacks `inside`, and the operands `consts`;
    its outputs the cotangents of the carries before the step, and the values `made`. Nodes stand for one step's value:
    `targets` for the cotangents of operands, None where that is 0. A cotangent of a const is a sum over the steps,
    which the nodes `sums` make of others, in their order.
    """

    body: Body
    stacks: Mapping[Node, Stack]
    inside: tuple[Node, ...]
    consts: tuple[int, ...]
    made: Mapping[Node, int]
    targets: Mapping[int, Node | None]
    sums: tuple[Node, ...]


def _adjoint(walk: _Walk, xs: int) -> Adjoint:
    """What there is for all steps, what is to be summed, and the step that makes the rest."""
    body, carries = walk.body, walk.carries
    given = [handle.node for handle in walk.given]
    stand_ins, new = _cut_loose(walk, given[:carries])
    found = {k: new[g.node] for k, g in walk.found.items()}
    targets = {k: found.get(k) for k in walk.needs if k >= carries}
    sums, wanted = _sums([node for k, node in targets.items() if node is not None and k >= carries + xs])
    wanted += [node for k, node in targets.items() if node is not None and k < carries + xs]
    stacks = {handle.node: Stack("cotangent", k) for k, handle in walk.rows.items()}
    stacks |= {node: Stack("output", k) for node, k in stand_ins.items()}
    stacks |= {node: Stack("began", k) for k, node in enumerate(given[:carries])}
    stacks |= {node: Stack("operand", k) for k, node in enumerate(given[carries : carries + xs], carries)}
    leaving = [node for node in dict.fromkeys(wanted) if node not in stacks]
    with tracing(Symbolic()), enable_grad():
        handles = [
            Tensor.handle(found[k]) if k in found else walk.given[k].new_zeros(node.shape)
            for k, node in enumerate(given[:carries])
        ]
        outputs = [handle.cast(walk.wide).node for handle in (*handles, *map(Tensor.handle, leaving))]
    inside = set(reachable(outputs))
    used = inside.union(wanted)
    stacks = {node: stack for node, stack in stacks.items() if node in used or stack.kind == "cotangent"}
    read = tuple(node for node in stacks if node in inside)
    consts = tuple(k for k, node in enumerate(given) if k >= carries + xs and node in inside)
    inputs = [*(handle.node for handle in walk.carried), *read, *(given[k] for k in consts)]
    gradients = [f"grad of {body.label.mover(k)}" for k in range(carries + xs)]
    names = {node: gradients[k] for k, node in targets.items() if node is not None and k < carries + xs}
    label = Label(
        f"gradient of {body.label.title}",
        (*gradients[:carries], *(stacks[node].name(body.label) for node in read)),
        (*gradients[:carries], *(names.get(node, _called(node)) for node in leaving)),
    )
    made = {node: k for k, node in enumerate(leaving, carries)}
    made_of = Body.of(outputs, inputs, places=body.places).named(label)
    return Adjoint(made_of, stacks, read, consts, made, targets, sums)


def _cut_loose(walk: _Walk, first: Sequence[Node]) -> tuple[dict[Node, int], dict[Node, Node]]:
    """The recording with symbols for the values that the step left: these, by output, and its nodes by the old ones."""
    left: dict[Node, int] = {}
    for k, output in enumerate(walk.body.outputs):
        node = walk.values[output].node
        if node.inputs or node in first:
            left.setdefault(node, k)
    symbols = {node: symbol(node.shape, node.dtype, node.needs_grad).node for node in left}
    return {symbols[node]: k for node, k in left.items()}, cut([g.node for g in walk.found.values()], symbols)


def _passes_sums(node: Node) -> bool:
    """Whether a sum over steps of the op is the op of the sums."""
    same_dtype = all(operand.dtype == node.dtype for operand in node.inputs)
    return node.op.linear and node.op.kind in ("movement", "elementwise") and same_dtype and node.op is not STACKED


def _sum_of_products(node: Node, stacked: Mapping[Node, Tensor]) -> Tensor:
    """The sum of x_t @ y_t: one product along the steps and the inner axis together, as compiled code makes of all."""
    x, y = (stacked[operand] for operand in node.inputs)
    if node.attrs["tx"] and not node.attrs["ty"] and x.ndim == 3:  # both have the steps before the inner axis
        rows = x.shape[0] * x.shape[1]
        return x.reshape((rows, x.shape[2])).apply(MATMUL, y.reshape((rows, y.shape[2])), **node.attrs)
    return x.apply(MATMUL, y, **node.attrs).apply(SUM, axis=(0,), keepdims=False)


def _sum_of_sums(node: Node, stacked: Mapping[Node, Tensor]) -> Tensor:
    axes = (0, *(axis + 1 for axis in node.attrs["axis"]))
    return stacked[node.inputs[0]].apply(SUM, axis=axes, keepdims=False).reshape(node.shape)


def _plain_sum(node: Node, stacked: Mapping[Node, Tensor]) -> Tensor:
    return stacked[node].apply(SUM, axis=(0,), keepdims=False)


_SUMS: Final[Mapping[Any, Callable[[Node, Mapping[Node, Tensor]], Tensor]]] = {
    MATMUL: _sum_of_products,
    SUM: _sum_of_sums,
}


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


def _totals(nodes: Sequence[Node], stacked: Mapping[Node, Tensor]) -> dict[Node, Tensor]:
    """Sums over the steps, operands first."""
    totals: dict[Node, Tensor] = {}
    for node in nodes:
        if _passes_sums(node):
            first, *others = [totals[operand] for operand in node.inputs]
            totals[node] = first.apply(node.op, *others, **node.attrs)
        else:
            totals[node] = _SUMS.get(node.op, _plain_sum)(node, stacked)
    return totals


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
    new, places, since = dict(stand_ins), mode.places, next_serial()
    for node in Graph.of(roots, tuple(stand_ins)).nodes:
        if node not in new:
            new[node] = _remade(node, tuple(new[operand] for operand in node.inputs))
            if places is not None:
                places.again(new[node], node, since)
    return new


def _remade(node: Node, operands: tuple[Node, ...]) -> Node:
    """The same op on other operands. What stands for a scan is no scan, so a part of it is cut out as of any tensor."""
    if node.op is STACKED and operands[0].op is not SCAN:
        start, length = node.attrs["start"], prod(node.shape)
        bounds = {"bounds": ((start, 1, length),)}
        part = Node(SLICE, operands, bounds, (length,), node.dtype, None, node.needs_grad)
        return Node(RESHAPE, (part,), {"shape": node.shape}, node.shape, node.dtype, None, node.needs_grad)
    return with_operands(node, operands)


def _before(stacked: Tensor, first: Tensor, reverse: bool) -> Tensor:
    """The carry each step began with, (T, ...), given those it left."""
    length = stacked.shape[0]
    if length == 0:
        return stacked
    start = first.unsqueeze(0)
    if reverse:
        return stacked.narrow(0, 1, length - 1).cat_with(start, dim=0)
    return start.cat_with(stacked.narrow(0, 0, length - 1), dim=0)


def _cotangents(
    g: Cotangents,
    out: Any,
    *operands: Any,
    wanted: tuple[int, ...],
    body: Body,
    carries: int,
    xs: int,
    length: int,
    reverse: bool,
    needs: tuple[int, ...],
) -> dict[int, Any]:
    """Cotangents of the operands `wanted`, by another scan that runs the other way.

    It carries the cotangents of the carries. What every step reads gets the sum of its cotangents, made of what the
    scan leaves once it is over.
    """
    adjoint = body.adjoint(carries, xs, wanted, tuple(sorted(g.parts)))
    read = {stack.k for stack in adjoint.stacks.values() if stack.kind in _LEFT}
    left = {k: stacked_output(out, body, length, k) for k in read}
    make: dict[str, Callable[[int], Any]] = {
        "cotangent": lambda k: g.parts[k],
        "output": lambda k: left[k],
        "began": lambda k: _before(left[k], operands[k], reverse),
        "operand": lambda k: operands[k],
    }
    stacked = {node: make[stack.kind](stack.k) for node, stack in adjoint.stacks.items()}
    starts = [
        operands[k].new_zeros(node.shape).cast(node.dtype) for k, node in enumerate(adjoint.body.inputs[:carries])
    ]
    made = []
    if adjoint.body.outputs:
        given = [*starts, *(stacked[node] for node in adjoint.inside), *(operands[k] for k in adjoint.consts)]
        backwards = bound(given, adjoint.body, length, carries, len(adjoint.inside), not reverse)
        made = [stacked_output(backwards, adjoint.body, length, k) for k in range(len(adjoint.body.outputs))]
    stacked |= {node: made[k].cast(node.dtype) for node, k in adjoint.made.items()}
    totals = _totals(adjoint.sums, stacked)
    found = {k: last(made[k], starts[k], not reverse) for k in wanted if k < carries}
    for k, target in adjoint.targets.items():
        if target is None:
            found[k] = operands[k].new_zeros(operands[k].shape)
        else:
            found[k] = stacked[target] if k < carries + xs else totals[target]
    return {k: cotangent.cast(operands[k].dtype) for k, cotangent in found.items()}


_LEFT: Final = ("output", "began")  # stacks that are made of what the scan left

CALLS: Final = 150  # of NumPy functions, from which on a loop is worth the compilation of its step


def eager_steps(*operands: Any, body: Graph, length: int, **attrs: Any) -> Any:
    """The loop in eager code: a long one with its step compiled, where there is a compiler.

    Which of the two depends on shapes alone, so that a program always computes the same.
    """
    if length * len(body.nodes) < CALLS:
        return run_steps(*operands, body=body, length=length, **attrs)
    compiled = require("tinygrad_nn.compiler.run.loop")  # which stands above, and wants an optional package
    return compiled.run_steps(*operands, body=body, length=length, **attrs)


SCAN: Final = Op(
    "scan",
    "control",
    scan_shape,
    scan_dtype,
    run_steps,
    _cotangents,
    follows=scan_follows,
    faster=eager_steps,
    onnx=scan_onnx,
)


def bound(operands: Sequence[Any], body: Body, length: int, carries: int, xs: int, reverse: bool) -> Any:
    """SCAN applied to handles."""
    needs = tuple(k for k, handle in enumerate(operands) if handle.requires_grad)
    first, *others = operands
    return first.apply(
        SCAN,
        *others,
        body=body.saving(carries, xs, needs),
        length=length,
        carries=carries,
        xs=xs,
        reverse=reverse,
        needs=needs,
    )
