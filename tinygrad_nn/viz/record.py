"""A run of the user's function that is recorded to be drawn: it computes as usual, and leaves everything as it was.

What the function writes (parameters, optimizer state, running statistics, random counters, gradients) belongs to the
drawing as a result, and is taken back.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..graph.graph import Attrs, GradSlot, Node, Op, next_serial
from ..nn import GRU, LSTM, RNN, Module
from ..optim import Optimizer
from ..support.pytree import Tree, flatten, leaf_names, mapped
from ..tensor import Tensor
from ..tensor.core import Core, bind, is_literal, same, tracing
from ..tensor.creation import as_tensor
from .description import Frame, Names, Role, common

_LOOKED_AT = 1000  # variables in which names are looked for, and entries of one of them
_PACKAGE = __name__.partition(".")[0]


@dataclass(slots=True)
class Recording:
    """A recorder that computes as usual, keeps the operands of every node and notes which modules were running."""

    expands = True  # composites are drawn as what they are made of
    keeps_scans = True  # a loop is one node, whose step is drawn

    start: int = field(default_factory=next_serial)
    modules: dict[int, tuple[str, Module]] = field(default_factory=dict)
    roots: list[Module] = field(default_factory=list)
    scopes: dict[Node, tuple[Frame, ...]] = field(default_factory=dict)
    running: list[Frame] = field(default_factory=list)
    written: dict[int, tuple[Core, Node, int, Node]] = field(default_factory=dict)
    slots: dict[int, tuple[GradSlot, Any]] = field(default_factory=dict)
    made: dict[int, Node] = field(default_factory=dict)  # by the id of the value
    copies: dict[Node, Node] = field(default_factory=dict)
    count: int = 0

    def lift(self, handle: Core) -> Node:
        """The handle's own node."""
        self.remember(handle)
        return handle.node

    def copied(self, node: Node) -> None:
        """Note where the value of a new leaf, or of a checkpoint, is from, if it is the value of another node."""
        first = self.made.setdefault(id(node.value), node)
        if first is not node and node.serial > self.start and (not node.inputs or node.op.relays):
            self.copies[node] = first

    def remember(self, handle: Core) -> None:
        """Note the value and the gradient a leaf has."""
        self.made.setdefault(id(handle.node.value), handle.node)
        slot = handle.node.slot
        if slot is not None:
            self.slots.setdefault(id(slot), (slot, slot.grad))

    def assign(self, handle: Core, node: Node) -> None:
        """The handle holds another value until the recording ends; a leaf stays a leaf, with what it was made of."""
        self.remember(handle)
        old = handle.node
        owner = -1 if old.slot is None else old.slot.owner
        _, origin, first_owner, _ = self.written.get(id(handle), (handle, old, owner, node))
        self.written[id(handle)] = (handle, origin, first_owner, node)
        if old.slot is not None and owner >= 0 and not node.needs_grad:
            node = same(node, old.needs_grad)
            node.slot = old.slot
            old.slot.owner = node.serial
        handle.node = node

    def bind(self, op: Op, nodes: tuple[Node, ...], attrs: Attrs) -> Node:
        """Compute, and keep the operands also where no gradient is wanted."""
        node = bind(op, nodes, attrs)
        if not node.inputs:
            node = Node(op, nodes, attrs, node.shape, node.dtype, node.value)
        for operand in nodes:
            self.copied(operand)
        self.copied(node)
        here = tuple(self.running)
        self.scopes[node] = here
        for operand in nodes:
            own = operand.needs_grad or operand.serial > self.start
            if operand.op.kind == "source" and own and here and not is_literal(operand):
                self.scopes[operand] = common(self.scopes.get(operand, here), here)  # around all modules that read it
        return node

    @contextmanager
    def scope(self, module: Module) -> Iterator[None]:
        """A module runs within the block."""
        if id(module) not in self.modules:
            self.roots.append(module)
            self.modules |= {id(part): (name, part) for name, part in module.named_modules()}
        path, _ = self.modules[id(module)]
        own = path.rpartition(".")[2]
        label = f"{own}: {type(module).__name__}" if own else type(module).__name__
        weighted = next(module.parameters(), None) is not None
        self.count += 1
        self.running.append(Frame(label, self.count, "module", id(module), weighted))
        try:
            yield
        finally:
            self.running.pop()

    def origin(self, handle: Core) -> Node:
        """The node a handle had at the beginning."""
        return self.written[id(handle)][1] if id(handle) in self.written else handle.node

    def last(self, handle: Core) -> Node:
        """The node of what a handle holds now; of what was written to a leaf, or was detached, the op that made it."""
        node = self.written[id(handle)][3] if id(handle) in self.written else handle.node
        self.copied(node)
        return self.copies.get(node, node)

    def effects(self, named: Mapping[int, tuple[Core, str]]) -> Iterator[tuple[Node, str]]:
        """What was written to the tensors that have a name, and the gradients left on leaves."""
        owners = {id(handle.node.slot): name for handle, name in named.values()}
        for key, (_, _, _, node) in self.written.items():
            if key in named:
                yield node, f"new {named[key][1]}"
        for slot, before in self.slots.values():
            if isinstance(slot.grad, Tensor) and slot.grad is not before:
                yield slot.grad.node, f"gradient of {owners.get(id(slot), 'a leaf')}"

    def restore(self) -> None:
        """Give back what was written."""
        for handle, origin, owner, _ in self.written.values():
            handle.node = origin
            if origin.slot is not None:
                origin.slot.owner = owner
        for slot, grad in self.slots.values():
            slot.grad = grad


@dataclass(frozen=True, slots=True)
class Reached:
    """What a function can reach by itself, by the names of its variables: modules, optimizers, tensors."""

    modules: tuple[tuple[str, Module], ...]
    optimizers: tuple[Optimizer, ...]
    tensors: tuple[tuple[str, Tensor], ...]

    @classmethod
    def of(cls, variables: Mapping[str, Any]) -> Reached:
        """What is in the variables, also in lists, tuples and dicts, and in the variables of functions among them."""
        found: dict[int, tuple[str, Any]] = {}
        waiting = list(variables.items())
        for own, value in waiting:  # which grows
            if isinstance(value, (list, tuple, dict)) and len(value) > _LOOKED_AT:
                continue
            leaves, tree = flatten(value)
            for name, leaf in zip(leaf_names(tree, own), leaves, strict=True):
                if id(leaf) not in found:
                    found[id(leaf)] = (name, leaf)
                    waiting += used_by(leaf).items() if len(waiting) < _LOOKED_AT else ()
        return cls(
            tuple((name, value) for name, value in found.values() if isinstance(value, Module)),
            tuple(value for _, value in found.values() if isinstance(value, Optimizer)),
            tuple((name, value) for name, value in found.values() if isinstance(value, Tensor)),
        )

    def named(self, more: Iterable[Module] = ()) -> dict[int, tuple[Tensor, Role, str]]:
        """Every tensor with its role and name, by the handle; with the parameters and state of other modules too."""
        found: dict[int, tuple[Tensor, Role, str]] = {}
        inner = {id(part) for _, root in self.modules for part in root.modules() if part is not root}
        roots = [(name, module) for name, module in self.modules if id(module) not in inner]
        known = inner.union(id(module) for _, module in roots)
        roots += [("", module) for module in more if id(module) not in known]
        for own, module in roots:
            prefix = f"{own}." if len(roots) > 1 and own else ""
            for name, parameter in module.named_parameters():
                found.setdefault(id(parameter), (parameter, "parameter", prefix + name))
            for name, buffer in module.named_buffers():
                found.setdefault(id(buffer), (buffer, "constant", prefix + name))
        for name, tensor in self.tensors:
            found.setdefault(id(tensor), (tensor, "parameter" if tensor.requires_grad else "constant", name))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                for (key, _, _), live in group._live.items():
                    found[id(live)] = (live, "constant", key)
            for owner, state in optimizer.state.items():
                of = found[id(owner)][2] if id(owner) in found else "a parameter"
                for key, value in state.items():
                    found[id(value)] = (value, "constant", f"{key} of {of}")
        return found


def used_by(function: Any) -> dict[str, Any]:
    """The variables from outside that a user's function uses, and the owner of a method."""
    while isinstance(function, functools.partial):
        function = function.func
    plain = inspect.unwrap(function) if callable(function) else function
    inner = getattr(plain, "__func__", plain)
    if not inspect.isfunction(inner) or str(inner.__module__).partition(".")[0] == _PACKAGE:
        return {}
    try:
        used = inspect.getclosurevars(inner)
    except ValueError:  # a variable that has no value yet
        return {}
    owner = getattr(plain, "__self__", None)
    own = (
        {} if inner is plain else {"self": owner} if isinstance(owner, Module) else dict(getattr(owner, "__dict__", {}))
    )
    return {**used.globals, **used.nonlocals, **own}


def inputs(target: Callable[..., Any], args: tuple[Any, ...]) -> list[tuple[str, Tensor]]:
    """The tensors among the arguments, by the names of the parameters they are given for."""
    called = target.forward if isinstance(target, Module) else target
    try:
        parameters = list(inspect.signature(called).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((f"{p.name} " for p in parameters if p.kind is p.VAR_POSITIONAL), "")
    found: list[tuple[str, Tensor]] = []
    for k, arg in enumerate(args):
        leaves, tree = flatten(arg)
        own = leaf_names(tree, names[k] if k < len(names) else f"{rest}{k - len(names)}")
        found += [(name, leaf) for name, leaf in zip(own, leaves, strict=True) if isinstance(leaf, Tensor)]
    return found


def record(target: Callable[..., Any], args: tuple[Any, ...]) -> tuple[list[Node], Names]:
    """Run a module or function once: the nodes of what it returns and writes, and all names. Arrays are inputs as
    tensors are.
    """
    args = mapped(lambda leaf: as_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf, args)
    reached = Reached.of({"": target})
    given = inputs(target, args)
    recording = Recording()
    for handle in (*(tensor for tensor, _, _ in reached.named().values()), *(tensor for _, tensor in given)):
        recording.remember(handle)
    states = [(optimizer, dict(optimizer.state)) for optimizer in reached.optimizers]
    leaves: dict[Node, tuple[Role, str]] = {}
    results: dict[Node, list[str]] = {}
    try:
        with tracing(recording):
            values, tree = flatten(target(*args))
        known = reached.named(recording.roots)
        known |= {id(x): (x, "input", f"{name}: input") for name, x in given}
        leaves = {recording.origin(handle): (role, name) for handle, role, name in known.values()}
        for name, value in zip(_result_names(target, tree), values, strict=False):
            if isinstance(value, Tensor):
                results.setdefault(recording.last(value), []).append(name)
        plain = {key: (handle, name.removesuffix(": input")) for key, (handle, _, name) in known.items()}
        for node, name in recording.effects(plain):
            results.setdefault(node, []).append(name)
    finally:
        recording.restore()
        for optimizer, state in states:
            optimizer.state = state
    called = {node: tuple(filter(None, names)) for node, names in results.items()}
    return list(results), Names(leaves, called, recording.scopes, recording.copies)


def _result_names(target: Any, tree: Tree) -> list[str]:
    """What results are called: nothing, where there is one."""
    if isinstance(target, (RNN, GRU, LSTM)):
        return ["output", "h_n", "c_n"]
    return leaf_names(tree, "result") if tree.size > 1 else [""]
