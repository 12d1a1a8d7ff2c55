"""`tg.scan`: a loop over time as one node of the graph, whose gradient is a loop again.

The function of a step is run once, with symbols for the carry and the entries; what it reaches from outside becomes an
operand of the node. The gradient of the step is recorded from its graph when a backward walk first asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .adjoint import Body, Label, bound, cut, replay, symbol
from .anomaly import at_step
from .errors import DTypeError, ShapeError, TraceError, message
from .graph.graph import Graph, Node, next_serial
from .ops.elementwise import CAST
from .ops.scan import last, stacked_output
from .ops.source import INPUT
from .support.pytree import Tree, flatten, leaf_names, unflatten
from .support.settings import shown, typed
from .tensor import Tensor, enable_grad
from .tensor.core import Core, is_literal, left_over, mode, tracing, user_line
from .tensor.creation import as_tensor, zeros
from .tensor.symbolic import Symbolic
from .tensor.tensor import View

NAME = "scan"
RECORDINGS = 256  # kept at most
Step = Callable[[Any, Any], Any]


class _Recorder(Symbolic):
    """Records the function of a step; tensors from outside become inputs of the body."""

    keeps_scans = True  # a scan inside of it is a node too
    inside_scan = True

    def __init__(self, start: int, outer: Any) -> None:
        self.start = start
        self.outer = outer  # the recorder around this one, which has symbols of its own for what is outside of both
        self.outside: dict[Node, tuple[Core, Node]] = {}
        self.symbols: dict[Node, Node] = {}  # also by the nodes that recorders around this one gave the same handles

    @property
    def scope(self) -> Any:
        """Who is told which modules run."""
        return getattr(self.outer, "scope", None)

    @property
    def note(self) -> Any:
        """Who is told what the function makes use of."""
        return getattr(self.outer, "note", None)

    @property
    def note_mode(self) -> Any:
        """Who is told which modules were asked for their mode."""
        return getattr(self.outer, "note_mode", None)

    def lift(self, handle: Core) -> Node:
        """The node of an operand; a tensor from outside becomes an input at its first touch."""
        if type(handle) is View and handle.born <= self.start:
            with tracing(self.outer):  # what it is now is worked out outside
                before = handle.node if self.outer is None else self.outer.lift(handle)
        else:
            before = handle.node
            if before.serial > self.start and before not in self.symbols:
                return before
        if before in self.symbols:
            return self.symbols[before]
        if is_literal(before):
            return before
        node = before if self.outer is None else self.outer.lift(handle)
        if self.outer is None and node.value is None:
            raise left_over(NAME, node)
        if node not in self.outside:
            self.outside[node] = (Tensor.handle(node), symbol(node.shape, node.dtype, node.needs_grad).node)
        for known in (before, node, handle.node):
            self.symbols[known] = self.outside[node][1]
        return self.outside[node][1]

    def assign(self, handle: Core, node: Node) -> None:
        """Tensors of the step may be written in place, those from outside may not: they would be a carry."""
        if handle.node.serial <= self.start or handle.node in self.symbols:
            got = f"a write to a tensor {handle.node!r} from outside, at {user_line()}"
            hint = "make it a part of the carry; random numbers (dropout too) are drawn outside and passed in xs"
            raise TraceError(message(NAME, got, "a function that only reads what is outside", hint))
        handle.node = node


def _keeps_node() -> bool:
    """Whether a scan is recorded as one node: THE place of that decision.

    A function that `detect_anomaly` looks at is unrolled, so that the step is named. Everybody else, the compiler too,
    gets the node.
    """
    recorder = mode.recorder
    if mode.watch is not None:
        return False
    return getattr(recorder, "keeps_scans", not getattr(recorder, "symbolic", False))


@typed
def scan(fn: Step, init: Any, xs: Any = None, length: int | None = None, reverse: bool = False) -> tuple[Any, Any]:
    """Run `carry, y = fn(carry, x)` over the first axis of `xs` and return (the last carry, the stacked ys).

    As jax.lax.scan: `init`, `xs` and y are tensors or nested structures of them; a carry keeps its structure, shapes
    and dtypes. `xs` may be None, with `length` steps; y may be None. With `reverse` the last entry comes first, and
    each y still stands at the place of its x. Carries and ys are of one float dtype, xs of any.

    `fn` runs once, with symbols, so it cannot look at values; the loop is one node of the graph, and so is its
    gradient. Tensors that `fn` reaches from outside get their gradients too; one on which no result depends gets zeros.
    Raises ShapeError, DTypeError, TraceError.

    >>> import tinygrad_nn as tg
    >>> w = tg.tensor(0.5, requires_grad=True)
    >>> total, sums = tg.scan(lambda c, x: (w * c + x, w * c + x), tg.tensor(0.0), tg.tensor([1.0, 2.0, 3.0]))
    >>> sums.tolist()
    [1.0, 2.5, 4.25]
    >>> total.backward()
    >>> w.grad.item()
    3.0
    """
    if not callable(fn):
        raise TraceError(message("scan", f"fn {shown(fn)}", "a function (carry, x) -> (carry, y)"))
    return run_scan(fn, init, xs, length, reverse, NAME)


def run_scan(
    fn: Callable[..., Any],
    init: Any,
    xs: Any,
    length: int | None = None,
    reverse: bool = False,
    name: str = NAME,
    given: Sequence[Tensor] = (),
    key: Any = None,
    label: Label | None = None,
) -> tuple[Any, Any]:
    """`scan`, with the name by which `detect_anomaly` calls the loop, and tensors `given` to every step.

    `label` is what pictures say, by default the names in the structures of init, xs and y. A function that reaches
    nothing else is recorded once for each kind of operands if a `key` stands for it.
    """
    carries, tree = flatten(init)
    carries = _tensors("init", carries)
    entries, entry_tree = ([], None) if xs is None else flatten(xs)
    entries = _tensors("xs", entries)
    steps = _length(entries, length)
    loop = _Loop(fn, carries, tree, entries, entry_tree, steps, reverse, name, given, key, label)
    if not _keeps_node() and steps:
        return loop.unrolled()
    return loop.node()


def _tensors(what: str, leaves: list[Any]) -> list[Tensor]:
    for leaf in leaves:
        if not isinstance(leaf, (Tensor, int, float, np.ndarray, np.generic)):
            got = f"{type(leaf).__name__} in {what}"
            hint = "reach what is no tensor from outside of the function; y may be None as a whole"
            raise DTypeError(message(NAME, got, "tensors, numbers and arrays", hint))
    return [as_tensor(leaf) for leaf in leaves]


def _length(entries: list[Tensor], length: int | None) -> int:
    if any(entry.ndim == 0 for entry in entries):
        raise ShapeError(message(NAME, "a 0-d tensor in xs", "tensors with a first axis of steps"))
    lengths = {entry.shape[0] for entry in entries}
    if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 0):
        raise ShapeError(message(NAME, f"length {length!r}", "a number of steps, 0 or more"))
    if len(lengths) > 1:
        got = "xs of lengths " + " and ".join(str(entry.shape[0]) for entry in entries)
        raise ShapeError(message(NAME, got, "one length", "the first axis of every tensor in xs is the step"))
    if not lengths and length is None:
        raise ShapeError(message(NAME, "no xs and no length", "one of them", "pass length=, the number of steps"))
    found = lengths.pop() if lengths else int(length or 0)
    if length is not None and length != found:
        raise ShapeError(message(NAME, f"length {length} and xs of length {found}", "equal lengths"))
    return found


@dataclass(frozen=True, slots=True)
class _Recording:
    """The graph of a step, which of its outputs the ys are, their structure, and the tensors reached from outside."""

    body: Body
    rows: tuple[int, ...]
    tree: Tree | None
    outside: tuple[Any, ...]


_recordings: dict[Any, _Recording] = {}


@dataclass(frozen=True, slots=True)
class _Loop:
    """A call of scan, flattened."""

    fn: Callable[..., Any]
    init: list[Tensor]
    tree: Tree
    entries: list[Tensor]
    entry_tree: Tree | None
    length: int
    reverse: bool
    name: str
    given: Sequence[Tensor]
    key: Any
    label: Label | None

    def step(
        self, carry: list[Tensor], entries: list[Tensor], given: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], Tree | None]:
        """The function, called once: the next carry, the ys and their structure, checked."""
        x = None if self.entry_tree is None else unflatten(self.entry_tree, entries)
        returned = self.fn(unflatten(self.tree, carry), x, *given)
        if not isinstance(returned, tuple) or len(returned) != 2:
            got = f"a function that returned {_described(returned)}"
            raise ShapeError(message(NAME, got, "a pair (carry, y)", "return carry, None where there is no y"))
        leaves, tree = flatten(returned[0])
        if tree != self.tree:
            got = f"a carry of another structure after a step: {_described(returned[0])}"
            raise ShapeError(message(NAME, got, f"that of init: {_described(unflatten(self.tree, carry))}"))
        after = _tensors("the carry", leaves)
        for before, new in zip(carry, after, strict=True):
            if new.shape != before.shape:
                got = f"a carry of shape {new.shape} after a step"
                raise ShapeError(message(NAME, got, f"shape {before.shape}, as in init", "expand init to that shape"))
            if new.dtype != before.dtype:
                got = f"a carry of dtype {new.dtype.name} after a step"
                hint = "convert init or the result with .to(dtype)"
                raise DTypeError(message(NAME, got, f"{before.dtype.name}, as in init", hint))
        ys, y_tree = ([], None) if returned[1] is None else flatten(returned[1])
        ys = _tensors("y", ys)
        dtypes = {handle.dtype for handle in (*after, *ys)}
        if len(dtypes) > 1 or any(dtype.kind != "f" for dtype in dtypes):
            got = f"carries of {_dtypes(after)} and ys of {_dtypes(ys)}"
            hint = "cast them with .to(dtype); counters and masks can be floats, or be made from xs"
            raise DTypeError(message(NAME, got, "one float dtype for all", hint))
        return after, ys, y_tree

    def node(self) -> tuple[Any, Any]:
        """The loop as one node."""
        made = self._recorded()
        operands = [*self.init, *self.entries, *self.given, *made.outside]
        if not made.body.outputs or not operands:  # there is nothing to compute, or to compute it from
            return self.unrolled()
        if not _keeps_node():  # no step: the function was run for the shapes of its ys
            empty = [zeros((0, *made.body.outputs[k].shape), dtype=made.body.outputs[k].dtype) for k in made.rows]
            return unflatten(self.tree, self.init), None if made.tree is None else unflatten(made.tree, empty)
        count = len(self.init)
        scanned = bound(operands, made.body, self.length, count, len(self.entries), self.reverse)
        stacks = [stacked_output(scanned, made.body, self.length, k) for k in range(len(made.body.outputs))]
        finals = [last(stacked, x, self.reverse) for stacked, x in zip(stacks[:count], self.init, strict=True)]
        ys = [stacks[k] for k in made.rows]
        return unflatten(self.tree, finals), None if made.tree is None else unflatten(made.tree, ys)

    def _recorded(self) -> _Recording:
        """The recording of a step, made now or, of a function known by a key, for operands of the same kinds before."""
        if self.key is None or mode.places is not None:  # one that was made before knows no places
            return self._record()
        shapes = [x.shape for x in self.init] + [x.shape[1:] for x in self.entries] + [x.shape for x in self.given]
        operands = (*self.init, *self.entries, *self.given)
        kinds = tuple((shape, x.dtype, x.requires_grad) for shape, x in zip(shapes, operands, strict=True))
        key = (self.key, self.tree, self.entry_tree, kinds)
        made = _recordings.get(key)
        if made is None:
            made = self._record()
            if len(_recordings) >= RECORDINGS:
                _recordings.clear()
            if not made.outside:
                _recordings[key] = made
        return made

    def _record(self) -> _Recording:
        recorder = _Recorder(next_serial(), mode.recorder)
        carry = [symbol(x.shape, x.dtype, x.dtype.kind == "f") for x in self.init]
        entries = [symbol(x.shape[1:], x.dtype, x.requires_grad) for x in self.entries]
        given = [symbol(x.shape, x.dtype, x.requires_grad) for x in self.given]
        with tracing(recorder), enable_grad():
            after, ys, tree = self.step(carry, entries, given)
            outputs = [recorder.lift(handle) for handle in after]
            rows = [recorder.lift(handle) for handle in ys]
        outputs += [node for node in dict.fromkeys(rows) if node not in outputs]
        places = tuple(outputs.index(node) for node in rows)
        moving = [handle.node for handle in (*carry, *entries)]
        steady = [handle.node for handle in given]
        outside = [handle for handle, _ in recorder.outside.values()]
        symbols = [symbol for _, symbol in recorder.outside.values()]
        body = Body.of(outputs, [*moving, *steady, *symbols], places=mode.places).named(
            self.label or self._label(tree, places)
        )
        _check_closed(body)
        if self.key is None:
            body, outside = _computed_once(body, moving, symbols, outside)
        return _Recording(body, places, tree, tuple(outside))

    def _label(self, ys: Tree | None, places: Sequence[int]) -> Label:
        """The names in the structures of a call, or of the arguments of its function."""
        code: Any = getattr(self.fn, "__code__", None)
        method = hasattr(self.fn, "__self__")
        carry, entry = code.co_varnames[:2] if code and code.co_argcount >= 2 and not method else ("carry", "x")
        carries = leaf_names(self.tree, carry)
        entries = [] if self.entry_tree is None else leaf_names(self.entry_tree, entry)
        left = dict(enumerate(carries))
        left |= zip(places, [] if ys is None else leaf_names(ys, "y"), strict=True)
        return Label(NAME, (*carries, *entries), tuple(left[k] for k in sorted(left)))

    def unrolled(self) -> tuple[Any, Any]:
        """The loop step by step."""
        carry, rows, y_tree = self.init, [], None
        steps = range(self.length)
        try:
            for t in reversed(steps) if self.reverse else steps:
                at_step(self.name, t)
                carry, ys, y_tree = self.step(carry, [x.select(0, t) for x in self.entries], self.given)
                rows.append([y.unsqueeze(0) for y in ys])
        finally:
            at_step(self.name, None)
        if self.reverse:
            rows.reverse()
        stacks = [first.cat_with(*others, dim=0) if others else first for first, *others in zip(*rows, strict=True)]
        return unflatten(self.tree, carry), None if y_tree is None else unflatten(y_tree, stacks)


def _computed_once(
    body: Body, moving: Sequence[Node], symbols: Sequence[Node], outside: Sequence[Any]
) -> tuple[Body, list[Any]]:
    """The body without what is the same in every step: that is computed here, and read."""
    varies = set(moving)
    for node in body.nodes:
        if not varies.isdisjoint(node.inputs):
            varies.add(node)
    fixed = {node for node in body.nodes if node.inputs and node not in varies and not _is_free(node)}
    readers = [node for node in body.nodes if node in varies or _is_free(node)]
    wanted = dict.fromkeys(x for x in (*(x for node in readers for x in node.inputs), *body.outputs) if x in fixed)
    if not wanted:
        return body, list(outside)
    values = replay(Graph.of(list(wanted), symbols), outside)
    stand_ins = {node: symbol(node.shape, node.dtype, values[node].requires_grad).node for node in wanted}
    new = cut(body.outputs, stand_ins)
    outputs = [new[node] for node in body.outputs]
    used = {x for node in Graph.of(outputs, [*moving, *symbols]).nodes for x in node.inputs} | set(outputs)
    kept = [(node, handle) for node, handle in zip(symbols, outside, strict=True) if node in used]
    kept += [(stand_in, values[node]) for node, stand_in in stand_ins.items() if stand_in in used]
    made = Body.of(outputs, [*moving, *(node for node, _ in kept)], places=body.places).named(body.label)
    return made, [handle for _, handle in kept]


def _is_free(node: Node) -> bool:
    """Whether to compute it again costs nothing. A cast is, so that sums of its cotangents are in the wider dtype."""
    return node.op.kind == "movement" or node.op is CAST


def _check_closed(body: Graph) -> None:
    """Nothing of another recording is in the body, and no gradient was left behind."""
    inputs = set(body.inputs)
    for node in body.nodes:
        if node.op is INPUT and node not in inputs:
            raise left_over(NAME, node)
    if any(node.slot is not None and node.slot.grad is not None for node in body.inputs):
        hint = "use tg.grad or tg.autograd.grad and return what they give"
        raise TraceError(message(NAME, "a backward() in the function of a step", "no write to .grad", hint))


def _dtypes(handles: list[Tensor]) -> str:
    return " and ".join(dict.fromkeys(handle.dtype.name for handle in handles)) or "no dtype"


def _described(value: Any) -> str:
    """A structure in words: its brackets and the shapes in it."""
    if isinstance(value, Tensor):
        return f"tensor{list(value.shape)}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_described(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(_described, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    return type(value).__name__
