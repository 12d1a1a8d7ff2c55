"""The data every stage passes on: `Op` (one primitive), `Node` (one application of it), `Graph` (a closed program).

Invariants
- A node never changes after it is made, so a node can only point at older nodes and `serial` orders every graph
  topologically. The single exception is `slot`, the side record that reverse mode keeps.
- `value` is the result when the node was computed eagerly and None when it is symbolic.
- Shapes and dtypes are what the op's rules say; `Graph.verify` checks it.
- Walks are loops, never recursion: graphs of 100,000 chained nodes are ordinary.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, Literal, NoReturn, Self

import numpy as np

from ..errors import GraphError, TinygradError, message
from ..support.arrays import Array as Array
from .places import Places

Shape = tuple[int, ...]
DType = np.dtype[Any]
Attrs = Mapping[str, Any]
Kind = Literal["source", "elementwise", "reduce", "movement", "contract", "index", "control", "random", "composite"]

NO_ATTRS: Final[Attrs] = {}  # a plain dict: `**` of a mapping proxy costs as much as an addition


class Length(int):
    """A dynamic length: an axis of so many elements in every batch but a short last one, where it has `tail`.

    It is the int it is in the other batches, in every sense; `exact` tells it from that.
    """

    tail: int

    def __new__(cls, whole: int, tail: int) -> Self:
        """Of `whole` elements, or `tail`."""
        self = super().__new__(cls, whole)
        self.tail = tail
        return self

    def __repr__(self) -> str:
        return f"{int(self)}|{self.tail}"


def tail_of(n: int) -> int | None:
    """What a dynamic length is in the short last batch, None of one that is the same in all."""
    return n.tail if isinstance(n, Length) else None


def is_dynamic(n: Any) -> bool:
    """Whether something is a dynamic length."""
    return isinstance(n, Length)


def is_fixed(*shapes: Shape) -> bool:
    """Whether no length is dynamic."""
    return not any(isinstance(n, Length) for shape in shapes for n in shape)


def exact(value: Any) -> Any:
    """A shape or an attribute such that two are equal only if their dynamic lengths are, too."""
    if isinstance(value, tuple):
        return tuple(map(exact, value))
    return (Length, int(value), value.tail) if isinstance(value, Length) else value


@dataclass(frozen=True, slots=True)
class Arg:
    """What one operand of an op may be in a test: an interval, the kinks to stay away from, a dtype class, a shape.

    `shape=None` means any shape (elementwise ops), and a length of -1 any length (only in what `Op.vary` gives).
    `kinks` are points where the op is not differentiable; `"integers"` and `"halves"` stand for all of them. `apart`
    asks for values that differ pairwise across all operands, as max and sort need.
    """

    low: float = -2.0
    high: float = 2.0
    kinks: tuple[float, ...] | Literal["integers", "halves"] = ()
    dtype: Literal["float", "int", "bool"] = "float"
    shape: Shape | None = None
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One way to call an op in a test: its operands and its attributes."""

    args: tuple[Arg, ...]
    attrs: Attrs = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """One primitive: everything the project knows of it, side by side.

    shape   (*shapes, **attrs) -> shape; raises ShapeError with op, shapes and a hint
    dtype   (*dtypes, **attrs) -> dtype; raises DTypeError
    numpy   (*arrays, **attrs) -> array: the meaning, and the only one
    vjp     per operand `(g, out, *inputs, **attrs) -> cotangent` in Tensor operations, or None for no gradient. Where
            cotangents are made together, or operands are many, one function instead of the tuple:
            `(g, out, *inputs, wanted, **attrs) -> {operand number: cotangent}` for the operands `wanted`
    emit    what a compiled loop does for one element, as scalar expressions; what it is given depends on the kind:
            elementwise     (*exprs, **attrs) -> expression
            reduce          a `rules.Monoid`, or for an index (x, best) -> whether x takes the place of the best so far
            control         (carry, *exprs) -> the next carry, which is the element
            contract        (*shapes, **attrs) -> `rules.Part`s, sums of products that make up the result
            movement, index, random
                            (read, index, *shapes, **attrs) -> expression. `index` has a number per axis of the
                            result, to be added and multiplied by constants; `read(k, index)` is an element of operand
                            k, 0 where one of its `guards=((number, low, high), ...)` does not hold;
                            `read.number(index)` is an index as an expression; `read.position(k, index)` an element of
                            operand k that is an index itself
                            What cannot be computed one element at a time: a `rules.Scatter`, `rules.Concatenation` or
                            `rules.CountingSort`
            None            the compiler has a rule for the kind, or computes the op outside of loops
    domain  operands on which the op is defined and smooth, so that it is tested without new test code
    linear  in its float operands together: a sum of results is the result of the sums, and the gradient rules read
            neither `out` nor the values of `inputs`
    faster  `(*arrays, **attrs) -> array`, how eager code computes it where there is a faster way. None: `numpy`
    composed    of a composite, `(*tensors, **attrs) -> tensor`, what it is in other ops. It is one node in eager code
            alone: who records symbols records those
    differentiable  whether any operand gets a gradient

    The others have defaults that are right, if not the best, for every op:

    vary    `(rng, shape) -> Case`, a random way to call it on an operand of this shape, None where there is none. For
            random programs, which otherwise call it as `domain` does
    error   `(out, *inputs, **attrs) -> array`, how far an element may lie from NumPy's: `rules.ulps(4)`. None: nowhere
    open_zero  which of two zeros is the result is left open
    limit   compiled, it is NaN from this magnitude of the operand on
    divides    integers by 0 are an error; operand 1 is the divisor
    view    movement whose elements are the operand's at a linear function of their index: read where the operand lies
    cost    scalar operations a moved element takes beside that
    follows `(varies, out, *shapes, **attrs) -> bool`, whether the first elements mean the same where each length n with
            `varies(n)` is shorter, as in the last batch. `out` is the shape of the result. None: what the kind allows
    relays  its gradient rule only hands on what rules of other ops made
    hint    what to do where it makes NaN of finite numbers
    words   `(*shapes, **attrs) -> str`, what pictures say; None: its name, and its axes
    quiet   pictures leave it out: it says nothing that a shape does not
    written     how formulas write it, as "{} + {}", or `(**attrs) -> str` that says so. "": its name, and its operands
    onnx    the operator of ONNX that it is, or `(to, *operands, **attrs) -> name` of the result, made of several:
            `to("Add", x, 1.0, axis=0)` is a call of one, on operands, names, numbers or lists of integers; operands
            have `shape` and `dtype`, as `to` has for the result. No rule, or one that gives None: it has no form there
    """

    name: str
    kind: Kind
    shape: Callable[..., Shape]
    dtype: Callable[..., DType]
    numpy: Callable[..., Any]
    vjp: tuple[Any, ...] | Callable[..., Mapping[int, Any]] = ()
    emit: Any = None
    domain: tuple[Case, ...] = ()
    linear: bool = False
    vary: Callable[[np.random.Generator, Shape], Case | None] | None = None
    error: Callable[..., Any] | None = None
    open_zero: bool = False
    limit: float = math.inf
    divides: bool = False
    view: bool = False
    cost: int = 0
    follows: Callable[..., bool] | None = None
    relays: bool = False
    hint: str = "look at the operands of this call"
    words: Callable[..., str] | None = None
    quiet: bool = False
    written: str | Callable[..., str] = ""
    composed: Callable[..., Any] | None = None
    faster: Callable[..., Any] | None = None
    onnx: str | Callable[..., Any] | None = None
    eager: Callable[..., Any] = field(init=False)
    differentiable: bool = field(init=False)

    def __post_init__(self) -> None:
        rules = self.vjp if isinstance(self.vjp, tuple) else (self.vjp,)
        object.__setattr__(self, "differentiable", any(rule is not None for rule in rules))
        object.__setattr__(self, "eager", self.faster or self.numpy)

    def __repr__(self) -> str:
        return f"Op({self.name})"

    def __deepcopy__(self, memo: Any) -> Op:
        return self

    def __reduce__(self) -> str:
        raise GraphError(message(self.name, "a request to pickle an op", hint="save values with tg.save"))


class GradSlot:
    """The side record of reverse mode for one node: accumulated gradient, hooks, and what has been consumed.

    A leaf keeps its slot when its handle is given a new node, so `.grad` survives optimizer steps; `owner` is the
    serial of the node the handle holds now, and a stale one means that the leaf was written in place.
    """

    __slots__ = ("grad", "hooks", "keep", "owner", "released")

    def __init__(self, owner: int = -1, keep: bool = False) -> None:
        self.grad: Any = None
        self.hooks: dict[int, Callable[[Any], Any]] = {}
        self.keep = keep
        self.owner = owner
        self.released = False


_serials = itertools.count()


def next_serial() -> int:
    """A serial no node has: those made before have smaller ones, those made after larger ones."""
    return next(_serials)


class Node:
    """One application of an op: `value = op(*inputs, **attrs)`."""

    __slots__ = ("__weakref__", "attrs", "dtype", "inputs", "needs_grad", "op", "serial", "shape", "slot", "value")

    def __init__(
        self,
        op: Op,
        inputs: tuple[Node, ...],
        attrs: Attrs,
        shape: Shape,
        dtype: DType,
        value: Any,
        needs_grad: bool = False,
    ) -> None:
        self.op: Final = op
        self.inputs: Final = inputs
        self.attrs: Final = attrs
        self.shape: Final = shape
        self.dtype: Final = dtype
        self.value: Any = value
        self.needs_grad: Final = needs_grad
        self.slot: GradSlot | None = None
        self.serial: Final = next(_serials)

    def __repr__(self) -> str:
        return f"{self.op.name}{list(self.shape)}:{self.dtype.name}"


def with_operands(node: Node, operands: tuple[Node, ...]) -> Node:
    """The same op on other operands, without a value; the node itself where they are its own."""
    if all(a is b for a, b in zip(operands, node.inputs, strict=True)):
        return node
    return Node(node.op, operands, node.attrs, node.shape, node.dtype, None, node.needs_grad)


by_serial: Final = attrgetter("serial")


def reachable(roots: Iterable[Node], follow: Callable[[Node], bool] | None = None) -> list[Node]:
    """Every node the roots depend on, oldest first, which is a topological order. `follow` prunes the walk."""
    seen = {root for root in roots if follow is None or follow(root)}
    stack = list(seen)
    while stack:
        for parent in stack.pop().inputs:
            if parent not in seen and (follow is None or follow(parent)):
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=by_serial)


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A closed program: `nodes` in an order in which operands come first, `inputs`, `outputs`, and the `updates` of
    its state.

    `updates` pairs an input with the node that becomes its value after the run. `places` knows where nodes come from,
    where somebody asked for that; it is no part of what the graph means.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    updates: tuple[tuple[Node, Node], ...] = ()
    places: Places | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        outputs: Sequence[Node],
        inputs: Sequence[Node] = (),
        updates: Sequence[tuple[Node, Node]] = (),
        places: Places | None = None,
    ) -> Self:
        """The graph of everything `outputs` and `updates` depend on; the walk stops at `inputs`.

        Inputs come first, then the nodes as they were made, each constant before its first user: constants may be
        shared with other graphs, so their age would let the text of this one depend on what ran before.
        """
        stops = set(inputs)
        roots = [*outputs, *(new for _, new in updates)]
        seen = set(roots) | stops
        stack = [root for root in roots if root not in stops]
        while stack:
            for parent in stack.pop().inputs:
                if parent not in seen:
                    seen.add(parent)
                    stack.append(parent)
        order = dict.fromkeys(inputs)
        for node in sorted(seen - stops, key=by_serial):
            if node.inputs:
                for operand in node.inputs:
                    if not operand.inputs:
                        order[operand] = None
                order[node] = None
        order.update(dict.fromkeys(roots))
        return cls(tuple(order), tuple(inputs), tuple(outputs), tuple(updates), places)

    def verify(self) -> Graph:
        """Check the invariants and return the graph.

        Every operand comes before its user; every node has the shape and dtype that its op's rules give; every source
        is an input or has a value; every output and update is in the graph; an update belongs to one input and keeps
        its shape and dtype. Raises GraphError showing the nodes around the fault.
        """
        inputs = set(self.inputs)
        position: dict[Node, int] = {}
        for index, node in enumerate(self.nodes):
            if node in position:
                self._fault(index, "a node that stands in the graph twice")
            if node not in inputs:
                for operand in node.inputs:
                    if operand not in position:
                        self._fault(index, f"operand {operand!r} that does not come before its user")
                if node.op.kind != "source":
                    self._verify_types(index, node)
                elif node.value is None:
                    self._fault(index, f"{node!r}, which has no value and is no input")
            lengths = tuple(int(n) for n in node.shape)  # one that is shorter in the last batch is no plain int
            if node.value is not None and (node.value.shape, node.value.dtype) != (lengths, node.dtype):
                self._fault(index, f"a value of shape {node.value.shape}:{node.value.dtype} in {node!r}")
            position[node] = index
        for node in (*self.inputs, *self.outputs, *(node for pair in self.updates for node in pair)):
            if node not in position:
                raise GraphError(message("graph", f"{node!r} as an input, output or update", "a node of the graph"))
        for old, new in self.updates:
            if old not in inputs:
                raise GraphError(message("graph", f"an update of {old!r}", "one update of an input"))
            inputs.remove(old)
            if (old.shape, old.dtype) != (new.shape, new.dtype):
                raise GraphError(message("graph", f"an update of {old!r} by {new!r}", "the same shape and dtype"))
        return self

    def _verify_types(self, index: int, node: Node) -> None:
        shapes = [operand.shape for operand in node.inputs]
        if node.op.kind == "elementwise" and _broadcast(shapes) == node.shape:
            # NumPy broadcasts an operand to which no gradient flows.
            shapes = [
                own if operand.needs_grad else node.shape for own, operand in zip(shapes, node.inputs, strict=True)
            ]
        try:
            shape = node.op.shape(*shapes, **node.attrs)
            dtype = node.op.dtype(*(operand.dtype for operand in node.inputs), **node.attrs)
        except (TinygradError, TypeError) as error:
            self._fault(index, f"{node!r}, which the rules of {node.op.name} refuse: {error}")
        if (shape, dtype) != (node.shape, node.dtype):
            self._fault(index, f"{node!r} where the rules of {node.op.name} give {list(shape)}:{dtype.name}")

    def _fault(self, index: int, what: str) -> NoReturn:
        lines = str(self).splitlines()
        around = "\n".join(
            f"{'>' if k == index else ' '} {lines[k]}" for k in range(max(0, index - 5), min(len(lines), index + 6))
        )
        raise GraphError(message("graph", what) + "\n" + around)

    def __str__(self) -> str:
        name = {node: f"%{index}" for index, node in enumerate(self.nodes)}
        inputs = set(self.inputs)
        lines = [_line(node, name, node in inputs) for node in self.nodes]
        lines.append("return " + ", ".join(name.get(node, "?") for node in self.outputs))
        lines += [f"update {name.get(old, '?')} <- {name.get(new, '?')}" for old, new in self.updates]
        return "\n".join(lines)


def _broadcast(shapes: Sequence[Shape]) -> Shape | None:
    """The common shape by NumPy's rule, or None."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def _line(node: Node, name: Mapping[Node, str], is_input: bool) -> str:
    """One line of the text form: `%2 = sum(%1, axis=(0,)) [3]:float32`."""
    if is_input:
        call = "input"
    else:
        operands = [name.get(operand, "?") for operand in node.inputs]
        attrs = [f"{key}={_attribute(value)}" for key, value in node.attrs.items()]
        literal = [_literal(node.value)] if node.op.kind == "source" and _small(node) else []
        call = f"{node.op.name}({', '.join(operands + literal + attrs)})"
    return f"{name[node]} = {call} {list(node.shape)}:{node.dtype.name}"


def _attribute(value: Any) -> str:
    """An attribute on one line; a graph as its lines in braces."""
    return "{" + "; ".join(str(value).splitlines()) + "}" if isinstance(value, Graph) else str(value)


def _literal(value: Any) -> str:
    """A small array on one line, whatever the user's print options are."""
    text = np.array2string(np.asarray(value), precision=8, suppress_small=False, floatmode="maxprec", sign="-")
    return " ".join(text.split())


def _small(node: Node) -> bool:
    return node.value is not None and node.value.size <= 4
