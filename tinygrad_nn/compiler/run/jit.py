"""`tg.jit`: a Python function as machine code, compiled once per signature.

The signature of a call is: the structure of its arguments, shapes and dtypes of the arrays, values of everything else,
grad mode and default dtype. For each the function was traced once; what the trace reached from outside (parameters,
optimizer state, modules' modes) is checked at every call and brings a new trace when its type has changed.
"""

from __future__ import annotations

import copy
import functools
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import MethodType, SimpleNamespace
from typing import Any, Final, Protocol, overload

import numpy as np

from ...config import config, say, tell
from ...errors import DTypeError, MissingExtra, TraceError, message
from ...graph.graph import NO_ATTRS, Graph, Node
from ...ops.rules import DTYPES
from ...ops.source import CONSTANT
from ...placed import placed
from ...support.arrays import is_masked
from ...support.bundle import bundle
from ...support.fork import new_lock
from ...support.interrupt import PATIENCE, beside
from ...support.pytree import Tree, flatten, unflatten
from ...tensor import Tensor
from ...tensor.arrays import array_of, is_shared, memory_of
from ...tensor.context import HANDLES, user_level
from ...tensor.core import constant, mode
from ...tensor.structure import STRUCTURE
from ...tensor.tensor import View
from ..codegen import native
from ..driver import uncollected
from ..loopir.program import Program
from ..trace import ASKED, Traced, forget, hooks_of, trace
from .differentiable import Differentiable
from .explain import Explanation, explain_stages
from .runtime import Compiled, Resident
from .shown import Call, Shown
from .threads import get_num_threads


@dataclass(frozen=True, slots=True)
class Signature:
    """What a trace is made for."""

    tree: Tree
    leaves: tuple[Hashable, ...]
    grad: bool
    dtype: Any
    threads: int
    variant: int = 0  # of several traces for one kind of call: other modes, or gradients that are there or not

    def differences(self, other: Signature) -> str:
        """Which parts differ from another one, in words."""
        found = []
        if self.tree != other.tree:
            found.append("the structure of the arguments")
        else:
            pairs = zip(self.leaves, other.leaves, strict=True)
            found += [f"argument {k}: {a} before, {b} now" for k, (b, a) in enumerate(pairs) if a != b]
        if self.grad != other.grad:
            found.append(f"gradients {'on' if self.grad else 'off'}")
        if self.dtype != other.dtype:
            found.append(f"default dtype {self.dtype}")
        if self.threads != other.threads:
            found.append(f"{self.threads} threads")
        return "; ".join(found)


SIGNATURES: Final = 256  # that are kept for a function
MANY: Final = 64  # of which somebody should know
VARIANTS: Final = 8  # traces that are kept for one kind of call
GUARD_FAILURE: Final = object()
LOST: Final = SimpleNamespace(_array=GUARD_FAILURE)  # among the nodes of an entry: look closer
_ARRAY: Final = np.ndarray  # a name less to look up at every call


class Entry:
    """The code for one signature, with the state it works on."""

    def __init__(self, traced: Traced, signature: Signature, owner: str, seconds: float) -> None:
        self.traced, self.signature, self.grad, self.dtype = traced, signature, signature.grad, signature.dtype
        self.kind, self.actions = replace(signature, variant=0), traced.actions
        self.through: Differentiable | None = None  # where results have a gradient
        self.plain = self.simple = False  # whether a call needs no more than arrays in their order, and may come so
        self.seconds = seconds  # that the trace took
        self.used = False  # whether a call came to its end
        self.watched, self.lost = True, False  # whether Ctrl-C may end a call, and whether it did
        self.count = len(traced.arguments)
        self.compiled = Compiled(traced.graph, self.count, owner)
        self.arguments = [(view, view.shape, view.dtype) for view in self.compiled.inputs[: self.count]]
        self.state = [
            State(capture.handle, view, position in set(traced.updated))
            for position, (capture, view) in enumerate(
                zip(traced.captures, self.compiled.inputs[self.count :], strict=True)
            )
        ]
        for handle, position in traced.twins:
            self.state[position].twins.append(handle)
        self.handles = [STRUCTURE, *(handle for one in self.state for handle in one.handles)]
        self.owners: list[Any] = [None, *(one for one in self.state for _ in one.handles)]
        self.nodes: list[Any] = [None] * len(self.handles)
        self.changing: list[Any] = []
        self.given: list[tuple[Any, Any, Any]] = []
        self.gradients = [
            (self.state[position].handle, None if output is None else self.compiled.outputs[output])
            for position, output in traced.gradients
        ]
        self.outputs = self.compiled.outputs[: sum(kind == "output" for kind, _ in traced.results)]
        self.single = self.outputs[0] if traced.results == (("output", 0),) and traced.tree.type is None else None
        self.read = traced.plain[0][1] if traced.plain else None  # how a single result is given, if not as a tensor
        self.moded = bool(traced.modules or traced.found_gradients or traced.modes)
        known = {id(one.handle): one for one in self.state}
        self.found = [(self.state[k], None if one is None else known[id(one)]) for k, one in traced.found_gradients]
        self.views = self.compiled.inputs[: self.count]
        self.function: Callable[[int], int] = self._beside
        self.address = self.compiled.address

    def fits(self) -> bool:
        """Whether what was reached from outside still has the type it had."""
        with HANDLES:
            if self.lost or self.signature.threads != get_num_threads():
                return False
            unchanged = self.nodes[0] is STRUCTURE.node  # since it was asked the last time
            same = unchanged or built(self.traced)
            return same and self.takes_modes(rebind=True) and all(one.fits() for one in self.state)

    def takes_modes(self, rebind: bool = False) -> bool:
        """Whether the modules a function asked have the mode, and tensors the gradient, that it found. A gradient that
        is another tensor by now may take the place of the one there was.
        """
        for module, training in self.traced.modules:
            if module._training is not training:
                return False
        for owner, gradient in self.found:
            now = getattr(owner.handle.node.slot, "grad", None)
            if gradient is None:
                if now is not None:
                    return False
            elif gradient.handle is not now:
                if now is None or not rebind:
                    return False
                gradient.handle = now
                self.handles = [STRUCTURE, *(handle for one in self.state for handle in one.handles)]
                self.nodes = [self.nodes[0], *[None] * (len(self.handles) - 1)]
        return True

    def refresh(self, now: list[Any]) -> bool:
        """Bring in what others changed, if that are values of tensors that a call only reads, such as a learning rate.
        The caller holds the lock of the arena, so nothing may be waited for.
        """
        changed = [k for k, (node, known) in enumerate(zip(now, self.nodes, strict=True)) if node is not known]
        for k in changed:
            one = self.owners[k]
            node = now[k]
            known = one is not None and not one.changes and not one.twins and one.node is not None
            if not known or type(node) is not Node or (node.shape, node.dtype, node.needs_grad) != one.type:
                return False
            if node.value is None or is_shared(node.value):
                return False
        for k in changed:
            one, node = self.owners[k], now[k]
            one.view[...] = node.value
            one.node = self.nodes[k] = node
        return True

    def leave_modes(self) -> None:
        """Modules have the mode that the function gave them."""
        for module, training in self.traced.modes:
            object.__setattr__(module, "_training", training)

    def call(self, arrays: Sequence[Any], apart: bool = False) -> Any:
        """Bring arguments and changed state in, run, and hand out the results; GUARD_FAILURE where `call_anew` says so.

        Where nobody touched the state since the last call, this is all there is: its speed is a promise.
        """
        with self.compiled.lock:
            now = [handle.node for handle in self.handles]
            renew = now != self.nodes and not self.refresh(now)
            for node in self.changing:
                if node._array is not None:
                    renew = True
            if not renew:
                if self.moded:
                    if not self.takes_modes():
                        return GUARD_FAILURE
                    self.leave_modes()
                views, k = self.views, 0  # by hand, and not by `_run`: zip, enumerate and a call cost a tenth of a step
                for array in arrays:
                    views[k][...] = array
                    k += 1  # noqa: SIM113
                if code := self.function(self.address):
                    self.compiled.fail(code)
                if self.single is not None:
                    value = self.single.copy()
                else:
                    results = [view.copy() for view in self.outputs]
        if renew:
            results = self.call_anew(arrays, apart)
            if results is GUARD_FAILURE:
                return GUARD_FAILURE
            if self.single is not None:
                value = results[0]
        for slot, tensor, node in self.given:
            if slot.grad is not tensor or (node is not None and node._array is not None):
                renew = True
        if renew:
            with HANDLES:
                self.give_gradients()
        if self.single is not None:
            if self.read is not None:
                return as_read(value, self.read)
            return Tensor.handle(Node(CONSTANT, (), NO_ATTRS, value.shape, value.dtype, value))
        values = [
            Tensor.handle(constant(results[what])) if kind == "output" else what for kind, what in self.traced.results
        ]
        for k, kind in self.traced.plain:
            values[k] = as_read(values[k].node.value, kind)
        return unflatten(self.traced.tree, values)

    def call_anew(self, arrays: Sequence[Any], apart: bool) -> Any:
        """The results, with what changed of the state brought in before; GUARD_FAILURE, having done nothing, where
        something has another type than it had, or an argument may be state that changes (unless it is `apart`).
        """
        lock, structure = self.compiled.lock, STRUCTURE.node
        with HANDLES, lock:  # nobody traces with these handles now, and no other arena waits for this one
            if not self.fits() or not (apart or self.is_apart(arrays)):
                return GUARD_FAILURE
            upload(self.state)
            self.leave_modes()
            try:
                return self._run(arrays)
            finally:
                if not self.lost:
                    write_back(self.state, lock)
                    nodes = [None if one.foreign else one.node for one in self.state for _ in one.handles]
                    self.nodes = [structure, *nodes]
                    self.changing = [one.node for one in self.state if one.changes]

    def call_watched(self, arrays: Sequence[Any]) -> Any:
        """As `call`, where Ctrl-C can end it: the state is that before then, and the memory is lost. The first call is
        such, and all of those that take long.
        """
        with HANDLES, self.compiled.lock:
            nodes = [handle.node for one in self.state if one.changes for handle in one.handles]
            nodes += [node for _, _, node in self.given if node is not None]
            for node in nodes:
                node.value  # noqa: B018  kept from now on, whatever becomes of the memory
            started = time.perf_counter()
            result = self.call(arrays, apart=True)
        if result is not GUARD_FAILURE and time.perf_counter() - started < PATIENCE:
            self.watched, self.function, self.plain = False, self.compiled.function, self.simple
        return result

    def _beside(self, address: int) -> int:
        try:
            return beside(self._directly, address)
        except KeyboardInterrupt:
            self.lost, self.changing = True, [LOST]
            raise

    def _directly(self, address: int) -> int:
        return int(self.compiled.function(address))

    def is_apart(self, arrays: Sequence[Any]) -> bool:
        """Whether no argument lies in the memory of a tensor that changes. One that does was looked at, so that every
        such call comes here.
        """
        given = {id(memory_of(array)) for array in arrays}
        nodes = [handle.node for one in self.state if one.changes for handle in one.handles]
        return not any(id(memory_of(node.value)) in given for node in nodes if getattr(node, "was_read", True))

    def give_gradients(self) -> None:
        """Leave on each tensor the gradient that is in the arena, in place of one that was taken away or looked at."""
        self.given = []
        for handle, view in self.gradients:
            slot = handle.node.slot
            node = None if view is None else Resident(view, self.compiled.lock, constant(view))
            slot.grad = None if node is None else Tensor.handle(node)
            self.given.append((slot, slot.grad, node))

    def _run(self, arrays: Sequence[Any]) -> list[Any]:
        """Arguments in, the machine code, results out. The caller holds the lock."""
        for view, array in zip(self.views, arrays, strict=True):
            view[...] = array
        code = self.function(self.address)
        if code:
            self.compiled.fail(code)
        return [view.copy() for view in self.outputs]


def as_read(value: Any, kind: str) -> Any:
    """What `item()` and `numpy()` give of a value."""
    if kind == "number":
        return value.item()
    value.flags.writeable = False
    return value


def same_modes(traced: Traced) -> bool:
    """Whether the modules a function asked have the mode, and tensors the gradient, that it found."""
    for module, training in traced.modules:
        if module._training is not training:
            return False
    for position, gradient in traced.found_gradients:
        if getattr(traced.captures[position].handle.node.slot, "grad", None) is not gradient:
            return False
    return True


def entangled(traced: Traced, leaves: Sequence[Any]) -> bool:
    """Whether an argument shares its elements with another one, or with a tensor from outside, and one of the two is
    written, or has a gradient that the function looks at. There the function itself runs: in the machine code they are
    apart, and gradients begin anew.
    """
    if any(one.asked and leaves[one.leaf].grad is not None for one in traced.left):
        return True
    if not traced.written and not traced.updated:
        return False
    roots = [_root(leaf) for leaf in leaves]
    given = {id(root) for root in roots if root is not None}
    written = [id(roots[k]) for k in traced.written]
    others = [id(root) for k, root in enumerate(roots) if root is not None and k not in traced.written]
    outside = [id(capture.handle) for capture in traced.captures]
    changing = [outside[position] for position in traced.updated] + [id(handle) for handle, _ in traced.twins]
    twice = len(set(written)) < len(written) or not set(written).isdisjoint([*others, *outside])
    return twice or not given.isdisjoint(changing)


def conclude(entry: Entry, result: Any, leaves: Sequence[Any]) -> Any:
    """What a call leaves on its arguments and in Python state; and its result."""
    traced = entry.traced
    if traced.returns_more:
        result, values = result
        more = iter(values)
        for k in traced.written:
            leaves[k].assign(next(more))
        leave(traced, leaves, more)
        returned, tree = flatten(result)
        for position, k in traced.passed:
            returned[position] = leaves[k]
        result = unflatten(tree, returned)
    else:
        more = iter(())
        leave(traced, leaves, more)
    for position, requires_grad in traced.flags:
        entry.state[position].handle.requires_grad_(requires_grad)
    for action, args in traced.actions:
        action(*(next(more) if arg is ASKED else arg for arg in args))
    return result


def leave(traced: Traced, leaves: Sequence[Any], gradients: Iterator[Any]) -> None:
    """Leave on the arguments what the function leaves on them."""
    for one in traced.left:
        leaf = leaves[one.leaf]
        if one.requires_grad is not None:
            leaf.requires_grad_(one.requires_grad)
        if one.gradient:
            gradient = next(gradients)
            leaf.grad = gradient if one.cleared or leaf.grad is None else leaf.grad + gradient
        elif one.cleared:
            leaf.grad = None


def _root(leaf: Any) -> Any:
    """The tensor whose elements an argument has; None for other arguments."""
    return None if not isinstance(leaf, Tensor) else leaf if leaf._base is None else leaf._base


def built_as_traced(traced: Traced) -> bool:
    """Whether everything that is frozen in a trace, but for types, is what it was."""
    return same_modes(traced) and built(traced)


def built(traced: Traced) -> bool:
    """Whether modules, optimizers and hooks are those of a trace."""
    return all(guard.holds() for guard in traced.guards) and all(
        hooks_of(traced.captures[k].handle.node) == hooks for k, hooks in traced.hooks
    )


class State:
    """A tensor from outside: where its value is in the arena, and the node it had when that value was brought there.

    Its `twins` are tensors of one number each, which hold the same value before and after every call.
    """

    __slots__ = ("changes", "foreign", "handle", "node", "twins", "type", "view")

    def __init__(self, handle: Any, view: Any, changes: bool) -> None:
        self.handle, self.view, self.changes = handle, view, changes
        self.node: Any = None
        self.twins: list[Any] = []
        node = handle.node
        self.type = (node.shape, node.dtype, node.needs_grad)
        self.foreign = False  # whether others may write to the memory of the value, so that it has to be copied anew

    @property
    def handles(self) -> tuple[Any, ...]:
        """The tensor and its twins."""
        return (self.handle, *self.twins)

    def fits(self) -> bool:
        """Whether the tensor still has the type it had, and its twins its value."""
        node = self.handle.node
        return (node is self.node or (node.shape, node.dtype, node.needs_grad) == self.type) and all(
            twin.node is node
            or (
                (twin.node.shape, twin.node.dtype, twin.node.needs_grad) == self.type
                and twin.node.value.tobytes() == node.value.tobytes()
            )
            for twin in self.twins
        )

    def upload(self) -> None:
        """Copy the handle's value to the arena."""
        node = self.handle.node
        value = node.value
        self.view[...] = value
        self.foreign = not self.changes and is_shared(value)
        self.node = None if self.changes or self.foreign else node


def upload(state: Sequence[State]) -> None:
    """Copy values that changed outside to the arena, and part from nodes whose value was looked at."""
    for one in state:
        if one.handle.node is not one.node:
            one.upload()
        elif one.changes and (one.node.was_read or any(twin.node is not one.node for twin in one.twins)):
            one.node = None


def write_back(state: Sequence[State], lock: threading.RLock) -> None:
    """Let the handles of the state hold what is in the arena now."""
    for one in state:
        if one.changes and one.node is None:
            one.node = one.handle.node = Resident(one.view, lock, one.handle.node)
            for twin in one.twins:
                twin.node = one.node


_jitted: Final[weakref.WeakSet[Jitted]] = weakref.WeakSet()


def written_by_machine_code() -> list[Any]:
    """The tensors that calls of jitted functions change where they lie, without a word to anybody."""
    entries = [entry for jitted in _jitted for entry in jitted.entries.values()]
    return [handle for entry in entries for one in entry.state if one.changes for handle in one.handles]


class Jitted:
    """A function under `tg.jit`. Call it as the function itself. A copy, and what pickle makes of it, is the source
    function under `tg.jit` again: it compiles at its first call.
    """

    leave: Callable[[Any], None] | None = None  # see `trace`
    searches = False  # whether labels may be ignored ones, see `trace`
    differentiable = False  # whether results have a gradient with respect to tensors from outside
    flushes = False  # whether a training run of it takes denormal numbers for 0

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.entries: dict[Signature, Entry] = {}  # those used longest ago come first
        self.last: Entry | None = None
        self.traces, self.told = 0, False
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self.lock = new_lock()
        self.runs: list[Any] = []  # the last native training run, with what it was made for, while it is not running
        self.swept: list[Any] = []  # the same of the last sweep
        self.attribute: str | None = None  # its name in a class
        self.of: tuple[Any, str] | None = None  # the instance whose method it is, and the name there
        functools.update_wrapper(self, function)
        _jitted.add(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the machine code for such arguments; the first time, make it."""
        entry = self.last
        if entry is not None and entry.plain and not kwargs and len(args) == entry.count and mode.recorder is None:
            arrays = []
            arguments, k = entry.arguments, 0
            for arg in args:
                kind = type(arg)
                if kind is Tensor or kind is View:
                    node = arg.node
                    if node.needs_grad:
                        break
                    value = node.value
                elif kind is _ARRAY:
                    value = arg
                else:
                    break
                _, shape, dtype = arguments[k]
                if value is None or value.dtype is not dtype or value.shape != shape:
                    break
                arrays.append(value)
                k += 1  # noqa: SIM113
            else:
                if mode.grad is entry.grad and mode.dtype is entry.dtype:
                    result = entry.call(arrays)
                    if result is not GUARD_FAILURE:
                        if entry.actions:
                            for action, args_of_it in entry.actions:
                                action(*args_of_it)
                        return result
        return self._slowly(args, kwargs)

    def __set_name__(self, owner: Any, name: str) -> None:
        self.attribute = name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: each instance has one of its own among its attributes, which lives as long as the instance."""
        if instance is None:
            return self
        own: dict[str, Any] | None = getattr(instance, "__dict__", None)
        if own is None or self.attribute is None:
            return functools.partial(self, instance)
        inherited = getattr(type(instance), self.attribute, None) is not self  # as reached by super()
        name = f"{self.attribute} of {id(self)}" if inherited else self.attribute
        if name not in own:
            own[name] = method = type(self)(MethodType(self.function, instance))
            method.of = None if inherited else (instance, self.attribute)
        return own[name]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """The source function. A decorated one gets the name under which pickle finds it, as its own leads here; one of
        an instance is found there.
        """
        if self.of is not None:
            return getattr, self.of
        if found_at(self) is self:
            name: str = self.__qualname__
            if protocol < 4:  # which cannot name a part of something
                return name
            self.function.__qualname__ = f"{name}.function"
        return rejitted, (self.function,)

    def __copy__(self) -> Jitted:
        return type(self)(self.function)

    def __deepcopy__(self, memo: dict[int, Any]) -> Jitted:
        twin = type(self)(copy.deepcopy(self.function, memo))
        twin.of = None if self.of is None else (copy.deepcopy(self.of[0], memo), self.of[1])
        return twin

    def _slowly(self, args: tuple[Any, ...], kwargs: dict[str, Any], again: bool = False) -> Any:
        if mode.recorder is not None or not usable():
            return self.function(*args, **kwargs)
        signature, arrays, leaves, is_array = describe(args, kwargs)
        with self.lock:
            entry = self.last
            if again or entry is None or entry.kind != signature:  # else the call finds out whether it fits
                signature, entry = self._found(signature)
            else:
                signature = entry.signature
            if entry is None:
                if self.last is not None and config().debug:
                    why = signature.differences(self.last.signature) or "state of another type, mode or gradient"
                    say(f"tg.jit: {self.name} is traced again: {why}")
                entry = self._compile(signature, leaves, is_array)
            self.entries[signature] = self.entries.pop(signature, entry)
            self.last = entry
        traced, through = entry.traced, entry.through
        if entangled(traced, leaves):
            return self.function(*args, **kwargs)
        operands = () if through is None else through.operands(leaves, is_array)
        try:
            result = entry.call_watched(arrays) if entry.watched else entry.call(arrays, apart=True)
        except BaseException:
            if not entry.used:
                forget(traced.beginning)
            raise
        if result is GUARD_FAILURE:
            return self._slowly(args, kwargs, again=True)
        entry.used = True
        if through is not None:
            values, tree = flatten(result)
            through.results(values, operands)
            result = unflatten(tree, values)
        return result if entry.simple and not entry.actions else conclude(entry, result, leaves)

    def _found(self, signature: Signature) -> tuple[Signature, Entry | None]:
        """The entry for calls of a kind, under its own signature; or the signature for a new one. One that does not fit
        because of modes and gradients is kept for when they come again.
        """
        kept: list[Signature] = []
        for variant in range(VARIANTS):
            own = replace(signature, variant=variant) if variant else signature
            entry = self.entries.get(own)
            if entry is None:
                return own, None
            if entry.fits():
                return own, entry
            if entry.lost or entry.takes_modes(rebind=True):
                return own, None
            kept.append(own)
        return min(kept, key=list(self.entries).index), None

    def _compile(self, signature: Signature, leaves: Sequence[Any], is_array: Sequence[bool]) -> Entry:
        started = time.perf_counter()
        with uncollected():
            tree, how = signature.tree, {"searches": self.searches, "leave": self.leave}
            traced = trace(self.function, tree, leaves, is_array, equates=True, **how)  # type: ignore[arg-type]
        seconds = time.perf_counter() - started
        try:
            entry = Entry(traced, signature, f"tg.jit: {self.name}", seconds)
        except BaseException:
            forget(traced.beginning)
            raise
        differentiable = traced.dependent if self.differentiable else traced.of_arguments
        if differentiable:
            entry.through = Differentiable(traced, differentiable, f"tg.jit: {self.name}")
        given, named = signature.tree.parts
        entry.simple = not named.names and all(part.type is None for part in given.parts)
        after = differentiable or traced.left or traced.flags or traced.returns_more
        entry.simple = entry.simple and all(is_array) and not after
        self._keep(signature, entry)
        self.traces += 1
        if config().debug:
            say(f"tg.jit: {self.name}: trace {1e3 * seconds:.1f} ms")
        if config().debug >= 6:
            say(str(explain_stages(entry.compiled.stages, entry.compiled.arena)))
        return entry

    def _keep(self, signature: Signature, entry: Entry) -> None:
        """Keep one more, say so where there are many, and forget those used longest ago where there are too many.

        What a forgotten one holds of the state stays with the tensors until another takes it over.
        """
        self.entries.pop(signature, None)
        if len(self.entries) + 1 == MANY and not self.told:
            self.told = True
            why = "" if self.last is None else f" (the last two: {signature.differences(self.last.signature)})"
            tell(
                f"tg.jit: {self.name} is compiled for {MANY} kinds of calls{why}. Each takes time and memory, and of "
                f"more than {SIGNATURES} those used longest ago are compiled again. Fewer shapes are faster: "
                "pad to some"
            )
        while len(self.entries) >= SIGNATURES:
            del self.entries[next(iter(self.entries))]
        self.entries[signature] = entry

    def entry(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
        """What calls with such arguments run, compiled if need be."""
        signature, _, leaves, is_array = describe(args, kwargs)
        with self.lock:
            signature, entry = self._found(signature)
            return self._compile(signature, leaves, is_array) if entry is None else entry

    def __repr__(self) -> str:
        return self._shown().text()

    def _repr_html_(self) -> str:
        return self._shown().page()

    _repr_mimebundle_ = bundle

    def _shown(self) -> Shown:
        calls = tuple(
            Call(signature.leaves, signature.grad, len(entry.traced.graph.nodes), entry.seconds, entry.compiled.stages)
            for signature, entry in list(self.entries.items())
        )
        runs = tuple(f"fit: {training!r}" for _, training, *_ in self.runs)
        return Shown(self.name, self.function, self.traces, calls, runs)

    def graph(self, *args: Any, **kwargs: Any) -> Graph:
        """The graph for these arguments, as traced and rewritten."""
        return self.entry(args, kwargs).compiled.stages.graph

    def program(self, *args: Any, **kwargs: Any) -> Program:
        """The loops for these arguments."""
        return self.entry(args, kwargs).compiled.stages.schedule.program

    def llvm(self, *args: Any, **kwargs: Any) -> str:
        """The LLVM IR for these arguments."""
        return self.entry(args, kwargs).compiled.stages.llvm

    def asm(self, *args: Any, **kwargs: Any) -> str:
        """The machine code for these arguments, as text."""
        return self.entry(args, kwargs).compiled.stages.assembly()


def rejitted(function: Callable[..., Any]) -> Jitted:
    """A function out of a pickle, to be compiled again; the jitted one it is the source of, where that has a name."""
    found = found_at(function, -1)
    return found if isinstance(found, Jitted) and found.function is function else Jitted(function)


def found_at(function: Any, end: int | None = None) -> Any:
    """What stands in the module of a function under its name, or under the first parts of it."""
    found: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    for part in str(getattr(function, "__qualname__", "")).split(".")[:end]:
        found = getattr(found, part, None)
    return found


def jit(function: Callable[..., Any]) -> Jitted:
    """Compile a function: forward, backward, optimizer step and all as one piece of machine code.

    The first call with arguments of new shapes or dtypes traces the function: runs it once with symbols. Tensors, NumPy
    arrays and floats among the arguments may change from call to call; other values are part of the code. Tensors
    reached from outside (parameters, optimizer state) are read and written as in eager code. Raises TraceError where
    the function looks at values; docs/compile.md says what is frozen.

    >>> import tinygrad_nn as tg
    >>> @tg.jit
    ... def f(x):
    ...     return (x * x).sum()
    >>> f(tg.tensor([1.0, 2.0])).item()
    5.0
    """
    if not callable(function):
        raise TraceError(message("jit", f"a {type(function).__name__}", "a function"))
    return Jitted(function)


class Explains(Protocol):
    """What says itself how it was done."""

    def explain(self) -> str:
        """In words."""


@overload
def explain(function: Explains) -> str: ...
@overload
def explain(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation: ...
def explain(function: Any, *args: Any, **kwargs: Any) -> Explanation | str:
    """A table of the kernels a function is compiled to for these arguments, with the time each takes, and one of the
    values between them: which are stored, which are computed again where they are read, and why.

    Columns: kernel, the ops it came from, its loops, vector axis and lanes, scalar operations, bytes it touches,
    nanoseconds, share of the whole, percent of the peak that a loop of multiply-adds reaches on this machine. Another
    table says which modules and lines of Python each kernel comes from: the function is traced again for that. Of what
    explains itself, such as the result of `tg.sweep`, what that says.

    >>> import tinygrad_nn as tg
    >>> table = explain(tg.jit(lambda x: x.exp().sum()), tg.ones(1000))
    >>> table.rows[0].sources
    ('sum', 'exp')
    """
    explains = getattr(function, "explain", None)
    if explains is not None and not isinstance(function, type):
        return str(explains())
    jitted = function if isinstance(function, Jitted) else jit(function)
    entry = jitted.entry(args, kwargs)
    compiled = entry.compiled
    with placed():
        known = jit(jitted.function).entry(args, kwargs).compiled.stages
    with compiled.lock:
        for view, array in zip(entry.views, describe(args, kwargs)[1], strict=True):
            view[...] = array
        return explain_stages(compiled.stages, compiled.arena, known)


def describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Signature, list[Any], list[Any], list[bool]]:
    """The signature of a call, the arrays to copy in, all leaves, and which of them are arrays."""
    leaves, tree = flatten((args, kwargs))
    keys: list[Hashable] = []
    arrays: list[Any] = []
    is_array: list[bool] = []
    for k, leaf in enumerate(leaves):
        traced = isinstance(leaf, (Tensor, np.ndarray, np.generic)) or type(leaf) is float
        is_array.append(traced)
        if not traced:
            _check_static(leaf)
            keys.append((type(leaf), leaf))
            continue
        if is_masked(leaf):
            array_of("jit", leaf)  # raises
        value = leaf.node.value if isinstance(leaf, Tensor) else np.asarray(leaf)
        dtype = np.dtype(value.dtype)
        if not dtype.isnative:
            dtype = dtype.newbyteorder("=")
            leaves[k] = leaf = value = value.astype(dtype)
        if dtype not in DTYPES:
            hint = "convert it with .astype(np.float32) or another of the five dtypes"
            raise DTypeError(
                message("jit", f"an argument of dtype {dtype}", "bool, int32, int64, float32 or float64", hint)
            )
        is_data = isinstance(leaf, np.ndarray) and dtype.kind == "f" and dtype is not mode.dtype  # layers convert it
        keys.append((value.shape, dtype.name, isinstance(leaf, Tensor) and leaf.requires_grad, is_data))
        arrays.append(value)
    return Signature(tree, tuple(keys), mode.grad, mode.dtype, get_num_threads()), arrays, leaves, is_array


def _check_static(leaf: Any) -> None:
    try:
        hash(leaf)
    except TypeError:
        got = f"an argument of type {type(leaf).__name__}"
        hint = "pass tensors, arrays, numbers, and lists, tuples, dicts or dataclasses of them"
        raise TraceError(message("jit", got, "arrays, or values that can be hashed", hint)) from None


@functools.cache
def usable() -> bool:
    """Whether there is a compiler; where there is none, one warning says why everything runs eagerly."""
    if not config().jit:
        warnings.warn("TGNN_JIT=0: compiled functions run eagerly", RuntimeWarning, stacklevel=user_level())
        return False
    try:
        native.host()
    except MissingExtra as error:
        warnings.warn(f"compiled functions run eagerly: {error}", RuntimeWarning, stacklevel=user_level())
        return False
    return True
