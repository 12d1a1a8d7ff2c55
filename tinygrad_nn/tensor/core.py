"""The handle and the gate: `Core` points at a Node, `bind` is the only place where nodes are made.

A Tensor is a mutable handle on an immutable node, so assigning never disturbs a recorded graph. `bind` computes at
once with NumPy and keeps the operands only where a gradient is wanted; an active recorder sees every application
instead.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np

from ..errors import DTypeError, GraphError, ShapeError, TinygradError, TooLarge, message
from ..graph.graph import NO_ATTRS, Attrs, DType, GradSlot, Node, Op, Shape
from ..ops.elementwise import CAST
from ..ops.movement import BROADCAST, RESHAPE
from ..ops.rules import BOOL, DTYPES, INT64
from ..ops.source import CONSTANT
from ..support.settings import shown
from .context import HANDLES
from .context import Mode as Mode
from .context import Recorder as Recorder
from .context import forbid_tracing as forbid_tracing
from .context import left_over as left_over
from .context import mode as mode
from .context import tracing as tracing
from .context import unknown_value as unknown_value
from .context import user_line as user_line
from .context import writing as writing

Number = bool | int | float


def same(node: Node, needs_grad: bool) -> Node:
    """Another node of the same value."""
    return Node(RESHAPE, (node,), {"shape": node.shape}, node.shape, node.dtype, node.value, needs_grad)


def new_slot(owner: int) -> GradSlot:
    """The record of a leaf."""
    return GradSlot(owner, keep=True)


def constant(value: Any) -> Node:
    """A node that holds an array (or NumPy scalar) of one of the five dtypes."""
    return Node(CONSTANT, (), NO_ATTRS, value.shape, value.dtype, value)


def bind(op: Op, nodes: tuple[Node, ...], attrs: Attrs) -> Node:
    """Apply an op to nodes: compute, and keep the operands where a gradient is wanted.

    Broadcasting of elementwise operands that need a gradient becomes a node here, once, so no gradient rule knows of
    it; NumPy broadcasts the others. This function is most of an eager step's cost outside of NumPy: keep it flat.
    """
    count = len(nodes)
    try:
        if count == 2:  # the two commonest forms are written out, which saves packing the operands
            a, b = nodes
            needs = (a.needs_grad or b.needs_grad) and op.differentiable and mode.grad
            if needs and a.shape != b.shape and op.kind == "elementwise":
                left, right = _stretches(op.name, a.shape, b.shape)
                if left is not None and a.needs_grad:
                    nodes = (_stretched(a, left), nodes[1])
                if right is not None and b.needs_grad:
                    nodes = (nodes[0], _stretched(b, right))
            if attrs:
                value = mode.quietly(op.eager, a.value, b.value, **attrs)
            else:
                value = mode.quietly(op.eager, a.value, b.value)
        elif count == 1:
            a = nodes[0]
            needs = a.needs_grad and op.differentiable and mode.grad
            value = mode.quietly(op.eager, a.value, **attrs) if attrs else mode.quietly(op.eager, a.value)
        else:
            needs = False
            for node in nodes:
                if node.needs_grad:
                    needs = op.differentiable and mode.grad
                    break
            if needs and op.kind == "elementwise":
                stretches = _stretches(op.name, *[node.shape for node in nodes])
                nodes = tuple(
                    [
                        _stretched(node, stretch) if stretch is not None and node.needs_grad else node
                        for node, stretch in zip(nodes, stretches, strict=True)
                    ]
                )
            value = mode.quietly(op.eager, *[node.value for node in nodes], **attrs)
    except Exception as error:
        value = _inside(error, op, nodes, attrs)
    if needs:
        return Node(op, nodes, attrs, value.shape, value.dtype, value, True)
    return Node(CONSTANT, (), NO_ATTRS, value.shape, value.dtype, value)


def _inside(error: Exception, op: Op, nodes: tuple[Node, ...], attrs: Attrs) -> Any:
    """The value where NumPy is quiet already, as inside of another op; else the error of the application."""
    if mode.entered(error):
        try:
            return op.eager(*[node.value for node in nodes], **attrs)
        except Exception as own:
            error = own
    raise explain(error, op, nodes, attrs) from error


def explain(error: Exception, op: Op, nodes: tuple[Node, ...], attrs: Any) -> TinygradError:
    """NumPy refused: what the op's own rules say of these operands, or at least which op it was."""
    if isinstance(error, TinygradError):
        return error
    for node in nodes:
        if node.value is None:
            return left_over(op.name, node)
    shapes = [node.shape for node in nodes]
    try:
        if op.kind == "elementwise" and len(set(shapes)) > 1:
            broadcast_shape(op.name, *shapes)
        op.shape(*(shapes if op.kind != "elementwise" else [()] * len(shapes)), **attrs)
        op.dtype(*(node.dtype for node in nodes), **attrs)
    except TinygradError as better:
        return better
    operands = f"operands {', '.join(map(repr, nodes))}"
    if isinstance(error, MemoryError):
        return TooLarge(message(op.name, operands, "a result, and what it takes to compute it, that memory holds"))
    return GraphError(message(op.name, f"{error} for {operands}"))


@lru_cache(maxsize=4096)
def broadcast_shape(name: str, *shapes: Shape) -> Shape:
    """The common shape by NumPy's rule; raises ShapeError naming the op."""
    rank = max(map(len, shapes))
    result = []
    for lengths in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True):
        longest = 1
        for length in lengths:
            if length != 1:
                if longest not in (1, length):
                    got = " and ".join(map(str, shapes))
                    hint = "lengths must be equal or 1, counted from the last axis"
                    raise ShapeError(message(name, f"shapes {got}", "shapes that broadcast", hint))
                longest = length
        result.append(longest)
    return tuple(result)


def _stretched(node: Node, attrs: Attrs) -> Node:
    """The node that broadcasts another."""
    return Node(BROADCAST, (node,), attrs, attrs["shape"], node.dtype, BROADCAST.numpy(node.value, **attrs), True)


@lru_cache(maxsize=4096)
def _stretches(name: str, *shapes: Shape) -> tuple[Attrs | None, ...]:
    """How each operand is broadcast to the common shape; None for one that has it."""
    common = broadcast_shape(name, *shapes)
    return tuple([None if shape == common else broadcast_attrs(len(shape), common) for shape in shapes])


@lru_cache(maxsize=4096)
def broadcast_attrs(rank: int, shape: Shape) -> Attrs:
    """Attributes of the broadcast of an operand of some rank, aligned at the last axis."""
    return {"shape": shape, "axes": tuple(range(len(shape) - rank))}


def stretch(name: str, own: Shape, shape: Shape) -> Attrs:
    """Attributes of the broadcast of one shape to another, longer one; raises ShapeError naming the op."""
    attrs, beyond = _stretches(name, own, shape)
    if attrs is None or beyond is not None:
        raise ShapeError(message(name, f"shape {own} for {shape}", "axes of length 1 or equal"))
    return attrs


_scalars: dict[tuple[Number, DType], Node] = {}
_literals: set[Node] = set()  # the nodes in it: 0.1 is another number in float32, so its value does not lead back


def is_literal(node: Node) -> bool:
    """Whether a node is one of the constants kept for numbers in the code, which nobody can assign to."""
    return node in _literals


def scalar(value: Number, dtype: DType) -> Node:
    """A 0-d constant. The usual ones are kept: making one costs as much as an addition."""
    if value == 0 and math.copysign(1.0, value) < 0:  # -0.0 == 0.0, so it would find the other zero
        return constant(np.array(value, dtype))
    node = _scalars.get((value, dtype))
    if node is None:
        try:
            node = constant(np.array(value, dtype))
        except OverflowError:
            raise DTypeError(message("scalar", f"{value}", f"a number that {dtype.name} can hold")) from None
        if len(_scalars) < 512:
            _scalars[value, dtype] = node
            _literals.add(node)
    return node


def number_dtype(value: Number) -> DType:
    """The dtype a Python number has on its own."""
    return BOOL if isinstance(value, bool) else INT64 if isinstance(value, int) else mode.dtype


def is_plainly(value: Any, number: int) -> bool:
    """Whether it is this number: a tensor in its place, as a rate in a compiled step, has a value that may change."""
    return isinstance(value, (int, float)) and value == number


class Core:
    """A handle on a node: what everything else in `tensor` is written in terms of."""

    __slots__ = ("__weakref__", "node")
    __array_priority__: ClassVar[int] = 1000  # array + tensor is ours, not NumPy's
    _from_array: ClassVar[bool] = False  # whether it stands for an array that a compiled function is given

    node: Node

    @staticmethod
    def handle(node: Node) -> Any:
        """A new plain Tensor on a node."""
        raise TypeError("Core is abstract")

    @property
    def shape(self) -> Shape:
        """Lengths of the axes."""
        return self.node.shape

    @property
    def dtype(self) -> DType:
        """Element type: tg.float32, tg.float64, tg.int32, tg.int64 or tg.bool."""
        return self.node.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.node.shape)

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient flows through this tensor."""
        return self.node.needs_grad

    def apply(self, op: Op, *others: Core, **attrs: Any) -> Self:
        """Apply a primitive to this tensor and others. The way for new ops and for gradient rules; users call
        methods.
        """
        recorder = mode.recorder
        if recorder is None:
            if not others:
                return self.handle(bind(op, (self.node,), attrs))  # type: ignore[no-any-return]
            if len(others) == 1:
                return self.handle(bind(op, (self.node, others[0].node), attrs))  # type: ignore[no-any-return]
            return self.handle(bind(op, (self.node, *[other.node for other in others]), attrs))  # type: ignore[no-any-return]
        if op.composed is not None and getattr(recorder, "expands", False):
            return op.composed(self, *others, **attrs)  # type: ignore[no-any-return]
        operands: tuple[Core, ...] = (self, *others)
        nodes = tuple([recorder.lift(operand) for operand in operands])
        return self.handle(recorder.bind(op, nodes, attrs))  # type: ignore[no-any-return]

    def _shared(self, op: Op, **attrs: Any) -> Self:
        """As `apply`, for a movement whose result shares its elements with this tensor where that can be written to."""
        return self.apply(op, **attrs)

    def assign(self, other: Core) -> Self:
        """Give this handle another value of the same shape and dtype. Recorded graphs keep the old one.

        A leaf keeps `requires_grad` and `.grad`. Raises ShapeError and DTypeError.
        """
        old, new = self.node, other.node if isinstance(other, Core) else None
        if new is None or new.shape != old.shape or new.dtype is not old.dtype:
            check_assigned(self, other)
        if mode.recorder is not None:
            mode.recorder.assign(self, mode.recorder.lift(other))
        else:
            self._point_at(new)
        return self

    def _point_at(self, new: Any) -> None:
        """Hold another node (or a plain value, for which one is made); a leaf stays a leaf, with its gradient.

        A computed tensor that is written under no_grad keeps its history, as in PyTorch.
        """
        if mode.journal is not None:
            mode.journal.note(self)
        old = self.node
        slot = old.slot
        if slot is not None and slot.owner >= 0 and not new.needs_grad:
            leaf = Node(CONSTANT, (), NO_ATTRS, new.shape, old.dtype, new.value, old.needs_grad)
            leaf.slot = slot
            slot.owner = leaf.serial
            self.node = leaf
        elif old.needs_grad and old.inputs and not (mode.grad or new.needs_grad):
            self.node = Node(RESHAPE, (old,), {"shape": old.shape}, old.shape, old.dtype, new.value, True)
        else:
            self.node = new if isinstance(new, Node) else constant(new.value)

    def _as_leaf(self, requires_grad: bool) -> None:
        """Make this handle a leaf that does (or does not) collect a gradient. One that it has, it keeps."""
        old = self.node if mode.recorder is None else mode.recorder.lift(self)
        kept = old.slot is not None and old.slot.owner >= 0
        if old.value is not None:
            self.node = Node(CONSTANT, (), NO_ATTRS, old.shape, old.dtype, old.value, requires_grad)
        elif not old.needs_grad or kept:  # worked out while tracing, as by `detach`: the walk back ends here
            self.node = same(old, requires_grad)
        else:
            raise unknown_value("requires_grad_", old)
        if kept:
            self.node.slot = old.slot
            old.slot.owner = self.node.serial  # type: ignore[union-attr]
        elif requires_grad:
            self.node.slot = getattr(mode.recorder, "slot", new_slot)(self.node.serial)

    def detach(self) -> Self:
        """The same value as a constant: no gradient flows through."""
        node = self.node if mode.recorder is None else mode.recorder.lift(self)
        if node.value is None:
            return self.handle(same(node, needs_grad=False))  # type: ignore[no-any-return]
        return self.handle(constant(node.value))  # type: ignore[no-any-return]

    def _stopped(self) -> Self:
        """`detach` for rules and composites, where nobody writes to the result: no view."""
        return Core.detach(self)

    @property
    def is_traced(self) -> bool:
        """Whether this tensor stands for a value that is not known yet, inside a function that is being compiled."""
        return (self.node if mode.recorder is None else mode.recorder.lift(self)).value is None

    def _value(self, name: str = "value") -> Any:
        """The array; raises TraceError where it is not known yet."""
        node = self.node if mode.recorder is None else mode.recorder.lift(self)
        if node.value is None and mode.recorder is None:
            with HANDLES:  # another thread may be tracing with this handle: then it has its own node again
                node = self.node
        if node.value is None:
            raise unknown_value(name, node)
        return node.value

    def cast(self, dtype: DType) -> Self:
        """The same numbers in another dtype; `to` is the method for users. Only floats carry a gradient."""
        if self.node.dtype == dtype:
            return self
        source = self.detach() if dtype.kind != "f" and self.node.needs_grad else self
        return source.apply(CAST, dtype=dtype)

    def expand_to(self, shape: Shape) -> Self:
        """Broadcast to a shape, aligned at the last axis; raises ShapeError where it cannot."""
        return self if self.node.shape == shape else self.apply(BROADCAST, **stretch("expand", self.node.shape, shape))

    def _weight(self) -> tuple[DType, int]:
        """The operand's dtype and rank in type promotion."""
        return self.node.dtype, 2 if self.node.shape else 1


def check_assigned(handle: Core, other: object) -> None:
    """Raise ShapeError or DTypeError where a tensor cannot hold another one's value."""
    if not isinstance(other, Core):
        raise DTypeError(message("assign", type(other).__name__, "a tensor", "wrap it in tg.tensor"))
    old, new = handle.node, other.node
    if new.shape != old.shape:
        raise ShapeError(message("assign", f"shapes {old.shape} and {new.shape}", "equal shapes"))
    if new.dtype != old.dtype:
        raise DTypeError(message("assign", f"dtypes {old.dtype.name} and {new.dtype.name}", "equal dtypes"))


def check_dtype(name: str, dtype: Any) -> DType:
    """A dtype as users write it (tg.float64, np.float32, "int64", float) as one of the five; raises DTypeError."""
    try:
        named = isinstance(dtype, (str, type, np.dtype))  # what merely has a dtype is none
        result = mode.dtype if dtype is float else np.dtype(dtype if named else object)
    except Exception:  # NumPy's, and those of a foreign object
        result = np.dtype(object)
    if result not in DTYPES:
        got = f"dtype {dtype if isinstance(dtype, (str, np.dtype)) else shown(dtype)}"
        raise DTypeError(message(name, got, "bool, int32, int64, float32 or float64"))
    return result
