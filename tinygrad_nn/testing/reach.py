"""What a function works on besides its arguments: the leaves it reads, the state it leaves behind, and their names.

A function is run once under `Reach`, a recorder that computes as usual and hears of every tensor that is read or
written; names come from the variables of the function, which `tinygrad_nn.fitting.reach` finds as Python does.
"""

from __future__ import annotations

import functools
import inspect
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ..compiler import Jitted
from ..fitting.reach import variables
from ..graph.graph import Attrs, GradSlot, Node, Op, next_serial
from ..nn import Module
from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler
from ..random import default_generator
from ..tensor import Tensor, enable_grad
from ..tensor.core import Core, bind, mode, tracing

_PACKAGE, _HOME = __name__.partition(".")[0], str(Path(__file__).parents[1])
_LIMIT = 10_000  # objects that are looked at for a name
_DATA = (bool, int, float, complex, str, bytes, type(None), np.ndarray, np.generic)  # hold nothing that has a name
Named = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor as it was: the node it held, and its place in reverse mode."""

    handle: Any
    node: Node
    slot: GradSlot | None
    grad: Any
    owner: int

    @classmethod
    def of(cls, handle: Any) -> Held:
        """The present state of a handle. What lies in the memory of a compiled function is copied from there."""
        node, slot = handle.node, handle.node.slot
        node.value  # noqa: B018
        if slot is None or slot.owner < 0:
            return cls(handle, node, slot, None, -1)
        if slot.grad is not None:
            slot.grad.node.value  # noqa: B018
        return cls(handle, node, slot, slot.grad, slot.owner)

    def restore(self) -> None:
        """Make it so again."""
        self.handle.node = self.node
        self.node.slot = self.slot
        if self.slot is not None and self.owner >= 0:
            self.slot.grad, self.slot.owner = self.grad, self.owner


class State:
    """What calls of a function may change: tensors, and attributes of modules, optimizers and schedulers."""

    def __init__(self, objects: Sequence[Any] = ()) -> None:
        self.objects = objects
        self.contents = self._contents()
        self.held: dict[int, Held] = {}

    def _contents(self) -> list[tuple[Any, Any]]:
        own = [content for one in self.objects for content in _contents(one)]
        return [(content, content.copy()) for content in own]

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Within the block optimizers have the state that their first step would make: a compiled step that finds none
        is compiled for that, and again at the next call.
        """
        before = self.contents
        for optimizer in [one for one in self.objects if isinstance(one, Optimizer)]:
            for p, group in [(p, own) for own in optimizer.param_groups for p in own["params"]]:
                if p not in optimizer.state:
                    optimizer.state[p] = optimizer.initial_state(p, group)
                    for tensor in optimizer.state[p].values():
                        self.hold(tensor)
        self.contents = self._contents()
        try:
            yield
        finally:
            self.contents = before
            self.restore()

    def hold(self, handle: Any) -> None:
        """From now on, put back what this tensor is now."""
        if id(handle) not in self.held:
            self.held[id(handle)] = Held.of(handle)

    def restore(self) -> None:
        """Put everything back."""
        for held in self.held.values():
            held.restore()
        for content, before in self.contents:
            if isinstance(content, list):
                content[:] = before
            elif content.keys() != before.keys() or any(content[key] is not before[key] for key in before):
                content.clear()
                content.update(before)


class Reach:
    """A recorder that computes as usual, remembers which leaves are read, and lets `state` hold what is written."""

    def __init__(self, state: State) -> None:
        self.start = next_serial()
        self.state = state
        self.read: dict[Node, dict[int, Tensor]] = {}  # by the node: the handles through which a leaf was read

    def lift(self, handle: Core) -> Node:
        """A handle is read: a leaf from outside that requires grad may get a gradient."""
        base = getattr(handle, "_base", None)  # of a tensor that shares elements: whoever writes, writes there
        if base is not None and base is not handle:
            self.lift(base)
        node = handle.node
        if node.serial < self.start and node.needs_grad and not node.inputs and isinstance(handle, Tensor):
            self.state.hold(handle)
            self.read.setdefault(node, {})[id(handle)] = handle
        return node

    def assign(self, handle: Core, node: Node) -> None:
        """A handle is written."""
        self.state.hold(handle)
        handle._point_at(node)

    def bind(self, op: Op, nodes: tuple[Node, ...], attrs: Attrs) -> Node:
        """As without a recorder."""
        return bind(op, nodes, attrs)

    def trained(self, called: Mapping[int, str]) -> list[Tensor]:
        """The leaves on which a backward() has left a gradient."""
        return [x for x in self.leaves(called) if x.grad is not None and x.grad is not self.state.held[id(x)].grad]

    def leaves(self, called: Mapping[int, str]) -> list[Tensor]:
        """The leaves that were read, each once: those with names in the order of the names, then the others."""
        place = {key: k for k, key in enumerate(called)}
        found = [min(handles.values(), key=lambda x: place.get(id(x), len(place))) for handles in self.read.values()]
        return sorted(found, key=lambda x: place.get(id(x), len(place)))


@contextmanager
def inlined() -> Iterator[None]:
    """Within the block compiled functions run as the Python code that they are made of, as they do for any recorder."""
    with tracing(mode.recorder or Reach(State())):
        yield


@contextmanager
def rehearsal(found: Sequence[Named]) -> Iterator[tuple[Reach, State]]:
    """Within the block a first run is heard; afterwards all is as before, and the state knows what to put back."""
    state = State(stateful(found))
    for handle in (default_generator.key, default_generator.counter):
        state.hold(handle)
    reach = Reach(state)
    try:
        with enable_grad(), tracing(reach):
            yield reach, state
    finally:
        state.restore()


def _contents(one: Any) -> Iterator[Any]:
    """The attributes of an object, and the lists and dicts among them."""
    yield vars(one)
    yield from (value for value in vars(one).values() if isinstance(value, (list, dict)))


def stateful(found: Sequence[Named]) -> list[Any]:
    """The modules, optimizers and schedulers among what a function reaches, with all their parts."""
    objects: dict[int, Any] = {}
    for _, value in found:
        parts = list(value.modules()) if isinstance(value, Module) else [value]
        if isinstance(value, Optimizer):
            parts += value.param_groups
        if isinstance(value, (Module, Optimizer, LRScheduler)):
            objects.update((id(part), part) for part in parts)
    return list(objects.values())


def names(found: Sequence[Named]) -> dict[int, str]:
    """What the tensors that a function reaches are called, by identity: `model.rnn.weight_hh_l0`."""
    called: dict[int, str] = {}
    for name, value in found:
        if isinstance(value, Tensor):
            called.setdefault(id(value), name or "self")
        elif isinstance(value, Module):
            for path, tensor in (*value.named_parameters(), *value.named_buffers()):
                called.setdefault(id(tensor), f"{name}.{path}" if name else path)
    for name, value in found:  # a base that code knows by its views only
        if isinstance(value, Tensor) and value._base is not None:
            called.setdefault(id(value._base), f"{name}._base")
    return called


def reached_by(function: Callable[..., Any]) -> list[Named]:
    """(name, value) of the tensors, modules, optimizers and schedulers in the variables of a function.

    >>> import tinygrad_nn as tg
    >>> w = tg.tensor([1.0])
    >>> [name for name, value in reached_by(lambda: [w, len])]
    ['w']
    """
    found: list[Named] = []
    waiting: deque[Named] = deque([("", function)])
    seen: set[int] = set()
    while waiting and len(seen) < _LIMIT:
        name, value = waiting.popleft()
        if id(value) in seen or isinstance(value, _DATA):
            continue
        seen.add(id(value))
        if isinstance(value, (Tensor, Module, Optimizer, LRScheduler)):
            found.append((name, value))
        if not isinstance(value, Tensor):
            waiting += _parts(name, value)
    return found


def _parts(name: str, value: Any) -> list[Named]:
    """What a value holds, with the names under which code finds it there."""
    if isinstance(value, Jitted):
        return [(name, value.function)]
    if isinstance(value, functools.partial):
        given = [(str(k) if isinstance(part, Tensor) else name, part) for k, part in enumerate(value.args)]
        return [(name, value.func), *given, *value.keywords.items()]
    if isinstance(value, MethodType):
        return [(name, value.__self__), (name, value.__func__)]
    if isinstance(value, FunctionType):
        return [] if value.__code__.co_filename.startswith(_HOME) else _variables(value)
    if isinstance(value, dict):
        return [(f"{name}[{key!r}]", part) for key, part in islice(value.items(), _LIMIT)]
    if isinstance(value, (list, tuple)):
        return [(f"{name}[{k}]", part) for k, part in enumerate(islice(value, _LIMIT))]
    if isinstance(value, (Module, type, ModuleType, BuiltinFunctionType)) or not _is_users(value):
        return []
    return [(f"{name}.{key}" if name else key, part) for key, part in vars(value).items()]


def _is_users(value: Any) -> bool:
    """Whether an object is of a class that may hold a model: not one of Python's or NumPy's own."""
    home = type(value).__module__.partition(".")[0]
    return hasattr(value, "__dict__") and home not in ("builtins", "numpy", "collections", _PACKAGE)


def _variables(function: FunctionType) -> list[Named]:
    """The variables from outside that the code of a function reads, and defaults."""
    defaults = inspect.signature(function).parameters.values()
    return [*variables(function).items(), *((one.name, one.default) for one in defaults)]
