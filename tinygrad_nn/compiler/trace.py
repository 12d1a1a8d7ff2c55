"""From a Python function to a Graph: run it once with symbols in place of values.

Every tensor the function touches that it did not make becomes an input of the graph; every handle that holds another
node at the end becomes an update. Python itself leaves no mark: what it decided while tracing is frozen, and what it
would have to read is an error. All handles hold their own nodes again when the trace ends, also on error; until then
`HANDLES` is held, because another thread would find symbols in them.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from ..errors import TraceError, message
from ..graph.graph import NO_ATTRS, Attrs, DType, GradSlot, Graph, Node, Op, next_serial, reachable, with_operands
from ..ops.elementwise import CAST, NEG
from ..ops.movement import BROADCAST, RESHAPE
from ..ops.rules import BOOL, FLOAT64
from ..ops.source import CONSTANT, INPUT
from ..support.pytree import LEAF, Tree, flatten, unflatten
from ..tensor import Tensor
from ..tensor.context import HANDLES
from ..tensor.core import Core, is_literal, left_over, mode, same, tracing, user_line
from ..tensor.structure import Guard
from ..tensor.symbolic import Symbolic
from ..tensor.tensor import View


@dataclass(frozen=True, slots=True)
class Capture:
    """A tensor the function reached by itself: the handle, and the input node that stands for it."""

    handle: Core
    node: Node


@dataclass(frozen=True, slots=True)
class Left:
    """What a function leaves on an argument, by its place among the leaves: whether it requires grad, if that changes;
    a gradient, if there is one; whether that takes the place of the one there was, or is added to it; and whether the
    function looked at the sum, which it knows only where there was none.
    """

    leaf: int
    requires_grad: bool | None
    gradient: Any
    cleared: bool
    asked: bool


@dataclass(frozen=True, slots=True)
class Traced:
    """What a trace found.

    `graph.inputs` are the traced arguments, then the captures. `results` describes what the function returned:
    `graph.outputs[k]` for ("output", k), a frozen Python value for ("value", it); those at `plain` are given as the
    ("number") or ("array") that they hold. `updates` in the graph are in the order of `updated`, captures by position;
    `gradients` are (capture, position among the outputs, or None where the function left no gradient);
    `found_gradients` are captures whose gradient the function used or added to, with the one that was there (None:
    there was none): without one it would be another function. `dependent` are the outputs through which a gradient can
    be taken, `tails` their nodes, with backwards of their own, and those `of_arguments` depend on an argument that
    requires grad. `written` are the arguments, by their place among the leaves, that are written in place: the function
    then returns what it returns and their new values; `passed` are those that are returned themselves, as (place in
    what is returned, place among the leaves). `guards` know how modules and optimizers were built, `beginning` how they
    were before the trace made any state, and `hooks` which hooks the captures had. `twins` are tensors that held the
    value of a capture, here by position, and hold it afterwards too. `modes` are those that the function leaves modules
    in, `found_modes` those that it found, `flags` are captures that require grad afterwards, or no longer. `left` is
    what it leaves on arguments; their gradients it returns as well, behind the new values of those that are written.
    `actions` change Python state after each call; the values that they have asked for (`ASKED`) are the last ones
    returned.
    """

    graph: Graph
    captures: tuple[Capture, ...]
    tree: Tree
    results: tuple[tuple[str, Any], ...]
    updated: tuple[int, ...]
    gradients: tuple[tuple[int, int | None], ...]
    modules: tuple[tuple[Any, bool], ...]
    found_gradients: tuple[tuple[int, Core | None], ...]
    dependent: tuple[int, ...] = ()
    written: tuple[int, ...] = ()
    passed: tuple[tuple[int, int], ...] = ()
    guards: tuple[Guard, ...] = ()
    beginning: tuple[Guard, ...] = ()
    hooks: tuple[tuple[int, tuple[Any, ...]], ...] = ()
    twins: tuple[tuple[Core, int], ...] = ()
    plain: tuple[tuple[int, str], ...] = ()
    tails: tuple[Node, ...] = ()
    of_arguments: tuple[int, ...] = ()
    modes: tuple[tuple[Any, bool], ...] = ()
    found_modes: tuple[tuple[Any, bool], ...] = ()
    flags: tuple[tuple[int, bool], ...] = ()
    left: tuple[Left, ...] = ()
    actions: tuple[tuple[Callable[..., Any], tuple[Any, ...]], ...] = ()

    @property
    def returns_more(self) -> bool:
        """Whether more is returned than the function returns."""
        asked = any(arg is ASKED for _, args in self.actions for arg in args)
        return bool(self.written) or asked or any(one.gradient for one in self.left)

    @property
    def arguments(self) -> tuple[Node, ...]:
        """The inputs that are arguments."""
        return self.graph.inputs[: len(self.graph.inputs) - len(self.captures)]


class _TracedSlot(GradSlot):
    """A gradient slot that notices being cleared."""

    __slots__ = ("_grad", "asked", "cleared")

    def __init__(self, owner: int) -> None:
        super().__init__(owner, keep=True)
        self.asked = self.cleared = False

    def ask(self) -> None:
        """Somebody looks at the gradient, of which the one that there was is a part."""
        self.asked = self.asked or not self.cleared

    @property
    def grad(self) -> Any:
        """The gradient."""
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        self._grad = value
        self.cleared = getattr(self, "cleared", False) or value is None


class _Array(Tensor):
    """Stands for an array, among the arguments or of a tensor, which layers treat as they treat the array itself."""

    __slots__ = ()
    _from_array = True

    def __init__(self, node: Node) -> None:
        self.node = node


class _Number(Tensor):
    """Stands for a number, among the arguments or read from a tensor, which takes the dtype of the tensor it meets, as
    the number itself; so does what is computed from numbers alone.
    """

    __slots__ = ()

    def __init__(self, node: Node) -> None:
        self.node = node

    def as_float(self) -> Any:
        """A number in Python has all its digits."""
        return _Number(self.cast(FLOAT64).node)

    def _weight(self) -> tuple[DType, int]:
        """That of a number in Python."""
        return mode.dtype if self.node.dtype.kind == "f" else self.node.dtype, 0

    def _float_binary(self, op: Op, other: Any, swap: bool = False) -> Any:
        if type(other) is int:
            other = float(other)
        if not isinstance(other, (float, _Number)):
            return super()._float_binary(op, other, swap)
        return self.as_float()._binary(op, other.as_float() if isinstance(other, _Number) else other, swap)

    def _binary(self, op: Op, other: Any, swap: bool = False) -> Any:
        alone = isinstance(other, (int, float, _Number))
        floating = other.dtype.kind == "f" if isinstance(other, _Number) else type(other) is float
        if floating and self.node.dtype.kind == "i":
            return self.as_float()._binary(op, other, swap)
        result = super()._binary(op, other, swap)
        return _Number(result.node) if alone and result.dtype in (self.node.dtype, BOOL) else result

    def _number_unary(self, op: Op) -> Any:
        return _Number(super()._number_unary(op).node)

    def __neg__(self) -> Any:
        return _Number(super().__neg__().node)


class _Read(_Number):
    """A number that was read from a tensor: what is returned of it is a number of Python."""

    __slots__ = ()

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        if isinstance(mode.recorder, Tracer):
            mode.recorder.read.append(weakref.ref(self))

    def as_float(self) -> Any:
        return _Read(super().as_float().node)

    def _binary(self, op: Op, other: Any, swap: bool = False) -> Any:
        result = super()._binary(op, other, swap)
        return _Read(result.node) if type(result) is _Number else result

    def _number_unary(self, op: Op) -> Any:
        return _Read(super()._number_unary(op).node)

    def __neg__(self) -> Any:
        return _Read(super().__neg__().node)


def _compared(name: str) -> Callable[[_Setting, Any], Any]:
    def compare(self: _Setting, other: Any) -> Any:
        if isinstance(other, Core):
            return getattr(Tensor, name)(self, other)
        return getattr(float, name)(float(self), other)

    return compare


class _Setting(_Read):
    """A hyperparameter that varies, or what is computed of such ones and of numbers. Python may ask for its value, or
    whether it is 0: that is then part of the code.
    """

    __slots__ = ("ask", "value")

    def __init__(self, node: Node, value: float, ask: Callable[[bool], None]) -> None:
        super().__init__(node)
        self.value, self.ask = value, ask

    def as_float(self) -> Any:
        return self

    def _binary(self, op: Op, other: Any, swap: bool = False) -> Any:
        result = super()._binary(op, other, swap)
        if not isinstance(other, (int, float, _Setting)) or result.node.dtype != FLOAT64:
            return result
        values = [self.value, other.value if isinstance(other, _Setting) else other]
        asks = [one.ask for one in (self, other) if isinstance(one, _Setting)]
        return self._computed(op, result.node, asks, *(values[::-1] if swap else values))

    def _number_unary(self, op: Op) -> Any:
        return self._computed(op, super()._number_unary(op).node, [self.ask], self.value)

    def __neg__(self) -> Any:
        return self._computed(NEG, super().__neg__().node, [self.ask], self.value)

    def _computed(self, op: Op, node: Node, asks: list[Callable[[bool], None]], *values: float) -> _Setting:
        def ask(whether_zero: bool) -> None:
            for one in asks:
                one(False)

        with np.errstate(all="ignore"):
            return _Setting(node, float(op.numpy(*map(np.float64, values))), ask)

    def __bool__(self) -> bool:
        self.ask(True)
        return bool(self.value)

    def __float__(self) -> float:
        self.ask(False)
        return float(self.value)

    def __int__(self) -> int:
        return int(float(self))

    def __index__(self) -> int:
        self.ask(False)
        return operator.index(self.value)  # type: ignore[arg-type]

    def __format__(self, spec: str) -> str:
        return format(float(self), spec)

    __lt__, __le__, __gt__, __ge__ = map(_compared, ("__lt__", "__le__", "__gt__", "__ge__"))
    __eq__, __ne__ = map(_compared, ("__eq__", "__ne__"))
    __hash__ = object.__hash__


class _ReadArray(_Array):
    """An array that was read from a tensor, and is returned as an array."""

    __slots__ = ()


OUTDATED: Final = object()  # in place of a hyperparameter that nobody can know while tracing
ASKED: Final = object()  # in place of a tensor among what an action after a call is given


class _Apart(Exception):
    """What was taken for one turned out to be several."""


class Tracer(Symbolic):
    """The recorder of a trace: a tensor from outside becomes an input, an assignment an update.

    One that `equates` computes of numbers (0-d) what it is asked for again only once: the corrections that an optimizer
    works out for each parameter.
    """

    keeps_scans = True

    def __init__(self, equates: bool = False, searches: bool = False) -> None:
        self.start = next_serial()
        self.searches = searches  # whether labels may be ignored ones
        self.equates = equates  # whether tensors may be taken for one
        self.captures: dict[int, tuple[Core, Node, Node]] = {}  # handle, its own node, the input
        self.numbers: dict[tuple[Any, ...], Node] = {}  # what was computed of them
        self.begun: set[Node] = set()  # what state that was made meanwhile begins with
        self.fresh: list[weakref.ref[Core]] = []  # handles of constants made here, which may turn out to be state
        self.read: list[weakref.ref[Core]] = []  # numbers that were read from tensors
        self.actions: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []  # that are done after each call
        self.settings: dict[tuple[int, str], Any] = {}  # hyperparameters that were changed
        self.custom: set[Node] = set()  # which have a backward of their own, and no other meaning than an operand
        self.made: dict[int, tuple[weakref.ref[Core], Node]] = {}  # those that were assigned to, with their beginning
        self.modules: dict[int, tuple[Any, bool, bool]] = {}  # with the mode found, and whether it was asked for
        self.guards: dict[int, tuple[Any, Guard]] = {}  # by what they guard

    def lift(self, handle: Core) -> Node:
        """The node of an operand; a tensor from outside becomes an input at its first touch, for a view its root."""
        if type(handle) is View:
            self._lift_root(handle)
            return handle.node
        node = handle.node
        if not self._is_outside(node):
            if node.op is CONSTANT:
                self.fresh.append(weakref.ref(handle))
            return node
        if is_literal(node):
            return node
        if node.op is not CONSTANT and node.value is None:
            raise left_over("jit", node)
        if node.needs_grad and node.inputs:
            got = f"a tensor {node!r} from outside that was computed from others and requires grad"
            raise TraceError(message("jit", got, "leaves and constants", "compute it inside, or detach() it first"))
        symbol = Node(INPUT, (), NO_ATTRS, node.shape, node.dtype, None, node.needs_grad)
        if node.slot is not None and node.slot.owner >= 0:
            symbol.slot = _TracedSlot(symbol.serial)
            symbol.slot.grad = node.slot.grad
            symbol.slot.cleared = False
            symbol.slot.hooks = dict(node.slot.hooks)
        self.captures[id(handle)] = (handle, node, symbol)
        handle.node = symbol
        return symbol

    def _lift_root(self, view: View) -> None:
        if view.leaf is not None and view.leaf.owner <= self.start:
            got = f"a leaf from outside that shares its elements with another tensor, at {user_line()}"
            raise TraceError(message("jit", got, "leaves of their own", "clone() it before requires_grad_()"))
        self.lift(view._base)

    def assign(self, handle: Core, node: Node) -> None:
        """The handle holds another value until the trace ends; a leaf stays a leaf."""
        old = self.lift(handle)
        if old.needs_grad and old.inputs and not (old.slot is not None and old.slot.owner >= 0) and not mode.grad:
            got = f"a write under no_grad to a tensor with a history, at {user_line()}"
            raise TraceError(message("jit", got, "writes to leaves and constants", "make a new tensor"))
        if old.op is CONSTANT and old.serial > self.start:
            self.made.setdefault(id(handle), (weakref.ref(handle), old))
        new = same(node, old.needs_grad) if old.needs_grad or not node.inputs else node
        if old.slot is not None and old.slot.owner >= 0:
            new.slot = old.slot
            old.slot.owner = new.serial
        handle.node = new

    def stands_for(self, node: Node) -> None:
        """A result with a backward of its own: it is the value of its last operand."""
        self.custom.add(node)

    def slot(self, owner: int) -> GradSlot:
        """The record of a leaf."""
        return _TracedSlot(owner)

    def number(self, tensor: Tensor) -> Tensor:
        """What `tensor.item()` is: a number to calculate with, and to return."""
        value = Core.detach(tensor).apply(RESHAPE, shape=())
        return _Read(value.cast(FLOAT64).node if value.dtype.kind == "f" else value.node)

    def array(self, tensor: Tensor) -> Tensor:
        """What `tensor.numpy()` is: an array to return."""
        return _ReadArray(self.lift(tensor))

    def defer(self, action: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Something to do after each call."""
        self.actions.append((action, args))

    def change_setting(self, group: Any, key: str, value: Any) -> None:
        """A hyperparameter is another one from here on, and is set after each call."""
        self.defer(type(group).__setitem__, (group, key, value))
        self.settings[id(group), key] = Tensor.handle(value.node) if isinstance(value, Tensor) else value

    def changed_setting(self, group: Any, key: str) -> Any:
        """What a hyperparameter was changed to; None if it was not."""
        value = self.settings.get((id(group), key))
        if value is OUTDATED:
            got = f"a use of {key!r} after a schedule's step(), at {user_line()}"
            hint = "step the schedule last, or outside of the function; get_last_lr() outside too"
            raise TraceError(message("jit", got, "a learning rate that is known", hint))
        return value

    def outdate(self, group: Any, key: str) -> None:
        """A hyperparameter will be another one."""
        self.settings[id(group), key] = OUTDATED

    def setting(self, tensor: Tensor, value: float, ask: Callable[[bool], None]) -> Tensor:
        """A hyperparameter that may be another number at each call."""
        return _Setting(self.lift(tensor), value, ask)

    def begin_state(self, make: Callable[[], dict[str, Core]]) -> dict[str, Core]:
        """State that is made where it is missing, as if it had been there before."""
        with tracing(None):
            made = make()
        self.begun |= {handle.node for handle in made.values()}
        return made

    def bind(self, op: Op, nodes: tuple[Node, ...], attrs: Attrs) -> Node:
        """A symbolic application; where equal numbers met like that before, the same one."""
        if not self.equates or op.kind == "random" or (attrs and op is not CAST and op is not BROADCAST):
            return super().bind(op, nodes, attrs)
        for node in nodes:
            if node.shape or node.needs_grad:
                return super().bind(op, nodes, attrs)
        key = (op, nodes, *attrs.items())
        found = self.numbers.get(key)
        if found is None:
            found = self.numbers[key] = super().bind(op, nodes, attrs)
        return found

    def equate(self, handles: Sequence[Core]) -> None:
        """Numbers from outside that will change alike: where their values are equal now, they are one input."""
        same: dict[bytes, Node] = {}
        for handle in handles if self.equates else ():
            node = handle.node
            unknown = id(handle) in self.captures or node.value is None or is_literal(node)
            if not unknown and self._is_outside(node) and not node.needs_grad and type(handle) is not View:
                value = node.dtype.char.encode() + node.value.tobytes()
                symbol = same[value] = same.get(value) or self.lift(handle)
                handle.node = symbol
                self.captures[id(handle)] = (handle, node, symbol)

    def _is_outside(self, node: Node) -> bool:
        return node.serial <= self.start or node in self.begun

    def note_mode(self, module: Any, sets: bool = False) -> None:
        """A module asks whether it trains, which is then part of what is frozen; unless the function `sets` it first.
        """
        self.modules.setdefault(id(module), (module, module._training, not sets))

    def note(self, owner: Any, make: Callable[[Any], Guard]) -> Guard:
        """The function makes use of this object, and how it is built is part of what is frozen."""
        if id(owner) not in self.guards:
            self.guards[id(owner)] = (owner, make(owner))
        return self.guards[id(owner)][1]

    def beginning(self) -> tuple[Guard, ...]:
        """What there was when the function first came to it."""
        return tuple(guard for _, guard in self.guards.values())

    def take_gradients(self) -> None:
        """Hold every gradient left on a tensor by a handle of its own: who else keeps the one there was is the user."""
        for _, node, symbol in self.captures.values():
            slot = symbol.slot
            if slot is not None and slot.grad is not None and (node.slot is None or slot.grad is not node.slot.grad):
                slot.grad = Tensor.handle(slot.grad.node)

    def undo(self) -> None:
        """Nothing came of the trace: modules have the mode again that they had."""
        for module, training, _ in self.modules.values():
            module.training = training

    def restore(self) -> None:
        """Give every handle from outside its own node back."""
        for handle, node, _ in self.captures.values():
            handle.node = node


def trace(
    function: Callable[..., Any],
    tree: Tree,
    leaves: Sequence[Any],
    is_array: Sequence[bool],
    equates: bool = False,
    searches: bool = False,
    leave: Callable[[Tracer], None] | None = None,
) -> Traced:
    """Run `function(*args, **kwargs)`, described by `tree` and `leaves`, with symbols for the leaves that are arrays.
    Where it `equates`, counters that stand at one number and are counted together are one capture, with `twins`; where
    it `searches`, losses look for labels of -100, which count as ignored. `leave` is called when the function is over:
    it may add to the actions.

    A function that makes state of its own while it is traced is traced again, when the state exists.
    Raises TraceError for what cannot be compiled; the state of all tensors is as before.
    """
    tracer = first = Tracer(equates, searches)
    found: Traced | Core | None = None
    try:
        for _ in range(4):
            with HANDLES:
                try:
                    found = _attempt(tracer, function, tree, leaves, is_array, leave)
                except _Apart:
                    equates = False
            if isinstance(found, Traced):
                break
            tracer.undo()
            tracer = Tracer(equates, searches)
        else:
            got = f"a function that keeps a new tensor {found!r} in Python state at every call"
            raise TraceError(message("jit", got, "tensors made outside, or returned", "assign() to a tensor made once"))
    except BaseException:
        forget(first.beginning())
        tracer.undo()
        raise
    return replace(found, beginning=first.beginning())


def forget(beginning: Sequence[Guard]) -> None:
    """Nothing came of a trace, or of the first call after it: the state that was made for it goes again."""
    for guard in beginning:
        guard.forget()


def _attempt(
    tracer: Tracer,
    function: Callable[..., Any],
    tree: Tree,
    leaves: Sequence[Any],
    is_array: Sequence[bool],
    leave: Callable[[Tracer], None] | None,
) -> Traced | Core:
    """A trace, or a tensor the function made and kept, in which case the trace means nothing."""
    handles: list[Any] = []
    for leaf, array in zip(leaves, is_array, strict=True):
        handles.append(_symbol(leaf) if array else leaf)
    symbols = [handle.node for handle, array in zip(handles, is_array, strict=True) if array]
    try:
        with tracing(tracer):
            for held in held_by(function):
                held.note_structure()
            args, kwargs = unflatten(tree, handles)
            returned = function(*args, **kwargs)
            if leave is not None:
                leave(tracer)
            _check_containers(flatten((args, kwargs)), handles, tree)
            values, out_tree = flatten(returned)
            nodes = [tracer.lift(value) if isinstance(value, Tensor) else None for value in values]
        written = _written(leaves, handles, iter(symbols), is_array)
        left = _left(leaves, handles, symbols, is_array)
        passed = tuple((at, k) for at, value in enumerate(values) for k in written if value is handles[k])
        asked = [arg for _, args in tracer.actions for arg in args if isinstance(arg, Tensor)]
        more = [*(handles[k] for k in written), *(one.gradient for one in left if one.gradient is not None), *asked]
        if more:  # the caller is to be given the new values
            nodes += [handle.node for handle in more]
            values += more
            out_tree = Tree(tuple, (), (out_tree, Tree(tuple, (), (LEAF,) * len(more))))
        left = tuple(replace(one, gradient=one.gradient is not None) for one in left)
        actions = tuple(
            (action, tuple(ASKED if isinstance(arg, Tensor) else arg for arg in args))
            for action, args in tracer.actions
        )
        tracer.actions.clear()
        tracer.settings.clear()
        kinds = ((_Read, "number"), (_ReadArray, "array"))
        plain = tuple((k, name) for k, value in enumerate(values) for kind, name in kinds if isinstance(value, kind))
        values = [None if type(value) is View else value for value in values]  # it holds its root, which is not kept
        returned_ids = {id(value) for value in values}
        del args, kwargs, returned
        tracer.take_gradients()
        for reference, beginning in tracer.made.values():
            handle = reference()
            if handle is not None:
                handle.node = beginning
        kept = [handle for reference in tracer.fresh if (handle := reference()) is not None]
        kept = [handle for handle in kept if id(handle) not in returned_ids]
        if kept:
            return kept[0]
        _check_numbers(tracer, returned_ids)
        found = _finish(tracer, symbols, values, nodes, out_tree, written, passed)
        return replace(found, plain=plain, left=left, actions=actions)
    finally:
        tracer.restore()


def held_by(function: Any) -> list[Any]:
    """The modules that a function names, or whose method it is: code may use their attributes without a call."""
    code, owner = getattr(function, "__code__", None), getattr(function, "__self__", None)
    found = [owner, *getattr(owner, "__dict__", {}).values()]
    if code is not None:
        found += [function.__globals__.get(name) for name in code.co_names]
        for cell in function.__closure__ or ():
            with suppress(ValueError):  # one that is empty yet
                found.append(cell.cell_contents)
    return [one for one in found if callable(getattr(type(one), "note_structure", None))]


def _left(
    leaves: Sequence[Any], handles: Sequence[Any], symbols: Sequence[Node], is_array: Sequence[bool]
) -> tuple[Left, ...]:
    """What is left on the arguments."""
    found = []
    arrays = [k for k, array in enumerate(is_array) if array]
    for k, symbol in zip(arrays, symbols, strict=True):
        node = handles[k].node
        slot, flag = node.slot, node.needs_grad if node.needs_grad is not symbol.needs_grad else None
        if slot is None or not isinstance(slot, _TracedSlot):
            continue
        if not isinstance(leaves[k], Tensor) and slot.grad is not None:
            got = f"a backward() that leaves a gradient on an argument that is no tensor: {symbol!r}"
            raise TraceError(message("jit", got, "tensors among the arguments", "pass tg.tensor(array)"))
        if slot.grad is not None or slot.cleared or slot.asked or flag is not None:
            found.append(Left(k, flag, slot.grad, slot.cleared, slot.asked))
    return tuple(found)


def _check_containers(now: tuple[list[Any], Tree], handles: Sequence[Any], tree: Tree) -> None:
    """A list or a dict among the arguments that is changed would be so in the copy that the function was given."""
    if now[1] != tree or any(a is not b for a, b in zip(now[0], handles, strict=True)):
        got = "a list, dict or object among the arguments that is changed inside"
        raise TraceError(message("jit", got, "containers that are only read", "return what is to be put there"))


def _check_numbers(tracer: Tracer, returned: Collection[int]) -> None:
    """A number that is kept in Python state (`losses.append(loss.item())`) would be there once, and never again."""
    kept = [number for reference in tracer.read if (number := reference()) is not None and id(number) not in returned]
    if kept:
        got = f"a number {kept[0].node!r} that is read from a tensor and kept in Python state"
        hint = "return it, and keep what the call returns: losses.append(step(x))"
        raise TraceError(message("item", got, "numbers that are calculated with or returned", hint))


def _dependent(outputs: Sequence[Node]) -> tuple[int, ...]:
    """The outputs through which a gradient can still be taken: no backward() has used their history up."""
    return tuple(
        k for k, node in enumerate(outputs) if node.needs_grad and not (node.slot is not None and node.slot.released)
    )


def _of_arguments(symbols: list[Node], outputs: Sequence[Node], dependent: Sequence[int]) -> tuple[int, ...]:
    """Those that depend on an argument that requires grad."""
    differentiable = {symbol for symbol in symbols if symbol.needs_grad}
    if not differentiable:
        return ()
    return tuple(
        k
        for k in dependent
        if not differentiable.isdisjoint(reachable([outputs[k]], lambda one: one.needs_grad))
    )


def _symbol(leaf: Any) -> Tensor:
    """An argument's stand-in."""
    shape, dtype = np.shape(leaf), np.dtype(getattr(leaf, "dtype", np.float64))
    needs = isinstance(leaf, Tensor) and leaf.requires_grad
    node = Node(INPUT, (), NO_ATTRS, shape, dtype, None, needs)
    if needs:
        node.slot = _TracedSlot(node.serial)
    if isinstance(leaf, np.ndarray):
        return _Array(node)
    if isinstance(leaf, (float, np.generic)):
        return _Number(node)
    return Tensor.handle(node)


def _value_of(node: Node) -> Node:
    """The node whose value a node has that is there for a flag alone."""
    while node.op is RESHAPE and node.inputs[0].shape == node.shape:
        node = node.inputs[0]
    return node


def _written(
    leaves: Sequence[Any], handles: Sequence[Any], symbols: Iterator[Node], is_array: Sequence[bool]
) -> tuple[int, ...]:
    """The arguments that are written in place, by their place among the leaves."""
    found: list[int] = []
    for k, handle in enumerate(handles):
        node = next(symbols) if is_array[k] else None
        if node is None or _value_of(handle.node) is node:
            continue
        if not isinstance(leaves[k], Tensor):
            got = f"an argument {node!r} that is written in place, and is no tensor"
            raise TraceError(message("jit", got, "arguments that are only read", "pass a tensor, or return the value"))
        if node.needs_grad or handle.node.needs_grad:
            got = f"an argument {node!r} that requires grad, or is given a value that does, and is written in place"
            hint = "return the new value, or reach the tensor from outside instead of passing it"
            raise TraceError(message("jit", got, "arguments that are only read", hint))
        found.append(k)
    return tuple(found)


def _finish(
    tracer: Tracer,
    symbols: list[Node],
    values: list[Any],
    nodes: list[Node | None],
    tree: Tree,
    written: tuple[int, ...],
    passed: tuple[tuple[int, int], ...],
) -> Traced:
    positions: dict[Node, int] = {}
    kept: list[Capture] = []
    twins: list[tuple[Core, int]] = []
    for handle, _, symbol in tracer.captures.values():
        position = positions.setdefault(symbol, len(kept))
        if position == len(kept):
            kept.append(Capture(handle, symbol))
        elif handle.node is kept[position].handle.node:
            twins.append((handle, position))
        else:
            raise _Apart
    captures = tuple(kept)
    outputs = [node for node in nodes if node is not None]
    dependent = _dependent(outputs)
    results: list[tuple[str, Any]] = []
    for value, node in zip(values, nodes, strict=True):
        results.append(
            ("value", value) if node is None else ("output", sum(1 for kind, _ in results if kind == "output"))
        )
    flags: list[tuple[int, bool]] = []
    updated: list[int] = []
    updates: list[tuple[Node, Node]] = []
    gradients: list[tuple[int, int | None]] = []
    found: list[tuple[int, Core | None]] = []
    places = {id(capture.handle): position for position, capture in enumerate(captures)}
    for position, capture in enumerate(captures):
        slot, own = capture.node.slot, tracer.captures[id(capture.handle)][1].slot
        if not isinstance(slot, _TracedSlot) or own is None:
            continue
        if slot.hooks != own.hooks:
            got = f"a function that leaves a tensor {capture.node!r} from outside with other hooks than it found"
            hint = "register and remove hooks outside of it, between calls, or do both inside"
            raise TraceError(message("jit", got, "a function that leaves them as they are", hint))
        if own.grad is not None and id(own.grad) in places:
            found.append((position, own.grad))
        if slot.grad is own.grad:
            continue
        if slot.grad is not None and own.grad is not None and id(own.grad) in places and not slot.cleared:
            own.grad.node = slot.grad.node  # gradients are added up in place
            continue
        if own.grad is None and slot.grad is not None and not slot.cleared:
            found.append((position, None))
        gradients.append((position, None if slot.grad is None else len(outputs)))
        if slot.grad is not None:
            outputs.append(slot.grad.node)
    for position, capture in enumerate(captures):
        now = capture.handle.node
        if now.needs_grad is not capture.node.needs_grad:
            flags.append((position, now.needs_grad))
        if _value_of(now) is not capture.node:
            updated.append(position)
            updates.append((capture.node, now))
    inputs = [*symbols, *(capture.node for capture in captures)]
    graph = _plain(Graph.of(outputs, inputs, updates, mode.places), tracer.custom)
    if graph.places is not None:
        graph.places.settle(graph.nodes)
    guards = tracer.beginning()
    for guard in guards:
        guard.settle()
    return Traced(
        graph,
        captures,
        tree,
        tuple(results),
        tuple(updated),
        tuple(gradients),
        tuple((module, training) for module, training, asked in tracer.modules.values() if asked),
        tuple(found),
        dependent,
        written,
        passed,
        guards,
        hooks=tuple(
            (k, hooks_of(tracer.captures[id(capture.handle)][1]))
            for k, capture in enumerate(captures)
            if capture.node.needs_grad
        ),
        twins=tuple(twins),
        flags=tuple(flags),
        tails=tuple(outputs[k] for k in dependent),
        of_arguments=_of_arguments(symbols, outputs, dependent),
        found_modes=tuple((module, training) for module, training, _ in tracer.modules.values()),
        modes=tuple((one, one._training) for one, before, _ in tracer.modules.values() if one._training is not before),
    )


def _plain(graph: Graph, custom: Collection[Node]) -> Graph:
    """The graph with operands in place of the nodes that stand for them."""
    if not custom:
        return graph
    now: dict[Node, Node] = {}
    places, since = graph.places, next_serial()
    for node in graph.nodes:
        operands = tuple(now[operand] for operand in node.inputs)
        if node in custom:
            now[node] = operands[-1]
        else:
            now[node] = node if operands == node.inputs else with_operands(node, operands)
        if places is not None:
            places.again(now[node], node, since)
    updates = [(old, now[new]) for old, new in graph.updates]
    return Graph.of([now[node] for node in graph.outputs], graph.inputs, updates, places)


def hooks_of(node: Node) -> tuple[Any, ...]:
    """What is called with the gradient of a node."""
    return () if node.slot is None else tuple(node.slot.hooks.values())
