"""Which lines of a user's code took part in a gradient check: a recorder of operations and of walks backward.

Nothing here costs anything until `Recorder.watching()` puts its functions in the place of the package's own: of those
that make nodes, of the walk back, and of the calls of compiled code.

An operation belongs to the innermost line that is the user's. It counts as checked when a walk that belongs to a
gradient check went through it, and the check found the gradient right. Such a walk was asked for by this folder, or is
a backward() inside of a function that is checked. Order 2 means that the walk was recorded, to be differentiated again;
the gradient that a user takes with `tg.grad` in a function that is checked is of order 2, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from types import FrameType
from typing import Any, Final
from unittest.mock import patch
from weakref import WeakKeyDictionary

import numpy as np

from ..adjoint import SCAN
from ..compiler.run.jit import Entry
from ..compiler.run.training import Training
from ..graph.graph import Node, Op, Shape, reachable
from ..ops.movement import BROADCAST
from ..ops.scan import Cotangents
from ..tensor import no_grad
from ..tensor.core import is_literal, mode
from ..tensor.symbolic import Symbolic
from .callers import PACKAGE, Lines, asking, within_check
from .found import ANY_TEST, Check, Found, RuleUse, Use
from .gradcheck import Checked, watching
from .mutation import CHANGES, SWAPPED, Rule, swapped

TRIES: Final = 8  # uses of a rule that are compared with it swapped


def shapes_of(op: Op, operands: Sequence[Node]) -> str:
    """The class of the shapes of operands; numbers written in the code do not count as operands."""
    shapes: list[Shape] = [node.shape for node in operands if not is_literal(node)]
    if any(0 in shape for shape in shapes):
        return "empty"
    if op is BROADCAST or (op.kind == "elementwise" and len(set(shapes)) > 1):
        return "broadcast"
    return "array" if any(shapes) else "scalar"


def flows(scanned: Node, g: Any) -> list[Node]:
    """The nodes in the body of a scan through which a gradient flows, given the cotangent of the scan: those between
    the outputs that have one and the operands that want one, round the loop as often as it takes.
    """
    body, carries = scanned.attrs["body"], scanned.attrs["carries"]
    roots = {body.outputs[k] for k in g.parts}
    live = {body.inputs[k] for k in scanned.attrs["needs"]}
    while True:
        back = set(reachable(roots, lambda node: node.needs_grad))
        more = {body.outputs[k] for k in range(carries) if body.inputs[k] in back}
        forward = set(live)
        for node in body.nodes:
            if node.needs_grad and not forward.isdisjoint(node.inputs):
                forward.add(node)
        enter = {body.inputs[k] for k in range(carries) if body.outputs[k] in forward}
        if more <= roots and enter <= live:
            return [node for node in body.nodes if node.inputs and node in back and node in forward]
        roots |= more
        live |= enter


class Recorder:
    """Sees operations and walks, and remembers those at lines of the files that `wanted` says yes to."""

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self.lines = Lines(wanted)
        self.found = Found()
        self.test = ANY_TEST
        self.uses: dict[Use, Use] = {}  # each once
        self.made: WeakKeyDictionary[Node, Use] = WeakKeyDictionary()
        self.inside: WeakKeyDictionary[Node, tuple[Use, ...]] = WeakKeyDictionary()  # what a checkpoint stands for
        self.derived: WeakKeyDictionary[Node, set[tuple[Use, int]]] = WeakKeyDictionary()
        self.compiled: WeakKeyDictionary[Node, _Trace] = WeakKeyDictionary()  # by a node of the traced graph
        self.walks: list[_Walk] = []
        self.traces: list[_Trace] = []
        self.busy = False
        self.check: FrameType | None = None  # the call of the gradient check that runs, and what it went through
        self.reached: set[Check] = set()

    # ---- operations -----------------------------------------------------------------------------------------------

    def note(self, op: Op, operands: Sequence[Node], result: Node) -> None:
        """An op was applied."""
        if not op.differentiable or result.dtype.kind != "f" or self.busy or op.kind == "source":
            return
        line = self.lines.of(sys._getframe(2))
        if line is None:
            return
        use = self._once(Use(*line, op.name, shapes_of(op, operands)))
        if self.walks:  # a gradient rule of the user's own
            self.walks[-1].lines.append(use)
        self.found.ran.add(use)
        if result.needs_grad:
            self.made[result] = use
            for operand in result.inputs:  # the broadcasts that the gate put in
                if operand.op is BROADCAST and operand not in operands:
                    self.made[operand] = self._once(Use(*line, "broadcast", "broadcast"))

    def _once(self, use: Use) -> Use:
        return self.uses.setdefault(use, use)

    def _bind(self, original: Any, op: Op, nodes: tuple[Node, ...], attrs: Any) -> Node:
        node: Node = original(op, nodes, attrs)
        if mode.grad or self.walks:
            self.note(op, nodes, node)
        return node

    def _custom_node(self, original: Any, *args: Any) -> Node:
        node: Node = original(*args)
        self.note(node.op, node.inputs, node)
        return node

    def _forget(self, original: Any, result: Any, start: int) -> Any:
        """A checkpoint: its node stands for all that it forgets."""
        before = result.node
        kept = original(result, start)
        if kept is not result:
            nodes = reachable([before], lambda node: node.needs_grad and node.serial > start)
            self.inside[kept.node] = tuple({self.made[node] for node in nodes if node in self.made})
            self.note(kept.node.op, kept.node.inputs, kept.node)
        return kept

    def _remade(self, original: Any, *args: Any) -> Any:
        """Nodes were made again from others, as {old: new}: they belong to the same lines."""
        new: Mapping[Node, Any] = original(*args)
        for node, other in new.items():
            use, copy = self.made.get(node), other if isinstance(other, Node) else other.node
            if use is not None and isinstance(copy, Node):
                self.made.setdefault(copy, use)
        return new

    # ---- walks and compiled code ----------------------------------------------------------------------------------

    def _walk(self, original: Any, *args: Any) -> Any:
        """One walk back, looked at step by step."""
        roots, seeds, handle, wanted, retain, watch, expose = args
        walk = _Walk(self, handle, watch, asking(sys._getframe(2), wanted), wanted is None)
        self.walks.append(walk)
        try:
            return original(roots, seeds, handle, wanted, retain, walk, expose)
        finally:
            self.walks.pop()

    def _trace(self, original: Any, *args: Any, **options: Any) -> Any:
        """A function is traced: the walks in it will be run whenever the compiled code is."""
        seen = _Trace()
        self.traces.append(seen)
        try:
            traced = original(*args, **options)
        finally:
            self.traces.pop()
        for node in traced.graph.nodes[-1:]:
            self.compiled[node] = seen
        return traced

    def _run(self, traced: Any) -> None:
        """Compiled code is called."""
        seen = next((self.compiled.get(node) for node in traced.graph.nodes[-1:]), None)
        if seen is None:
            return
        for rule in seen.rules:
            self.found.rules[rule].tests.add(self.test)
        check = within_check(sys._getframe(2))
        if check is not None:
            self.reach(check, {Check(use, order, True) for use, order in seen.steps})

    def _call(self, original: Any, entry: Any, *args: Any, **kwargs: Any) -> Any:
        self._run(entry.traced)
        return original(entry, *args, **kwargs)

    def _train(self, original: Any, run: Any, *args: Any) -> Any:
        for traced in run.traces:
            self._run(traced)
        return original(run, *args)

    def reach(self, check: FrameType, uses: set[Check]) -> None:
        """A walk of a gradient check went through these."""
        if check is not self.check:  # what another one reached was not found right
            self.check, self.reached = check, set()
        self.reached |= uses

    def agree(self, checked: Checked) -> None:
        """The gradient check that calls this found all it reached right. One of compiled code also walks eagerly, to
        see what depends on what; that is compared with nothing, unless there is no compiler and all of it is eager.
        """
        if within_check(sys._getframe(1)) is self.check:
            compiled = checked.compiled and any(check.compiled for check in self.reached)
            self.found.checked |= {check for check in self.reached if check.compiled == compiled}

    # ---- on and off -----------------------------------------------------------------------------------------------

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the block everything is seen. Put outermost: what is off costs nothing."""
        with ExitStack() as stack:
            stack.enter_context(watching(self.agree))
            for home, name, seen in (
                ("tensor.core", "bind", self._bind),
                ("autograd", "_custom_node", self._custom_node),
                ("recompute", "_forget", self._forget),
                ("adjoint", "replay", self._remade),
                ("adjoint", "cut", self._remade),
                ("graph.reverse", "_walk", self._walk),
                ("compiler.trace", "trace", self._trace),
            ):
                original = getattr(import_module(f"{PACKAGE.name}.{home}"), name)
                replacement = partial(seen, original)
                _replace(name, original, replacement)
                stack.callback(_replace, name, replacement, original)
            for owner, name, method in (
                (Symbolic, "bind", self._symbolic),
                (Entry, "call", self._call),
                (Training, "run", self._train),
            ):
                stack.enter_context(patch.object(owner, name, _method(method, getattr(owner, name))))
            yield

    def _symbolic(self, original: Any, recorder: Any, op: Op, nodes: tuple[Node, ...], attrs: Any) -> Node:
        node: Node = original(recorder, op, nodes, attrs)
        if mode.grad or self.walks:
            self.note(op, nodes, node)
        return node


def _replace(name: str, old: Any, new: Any) -> None:
    """Put a function in the place of another in every module of the package, those imported meanwhile too."""
    for module in [module for key, module in sys.modules.items() if key.startswith(f"{PACKAGE.name}.")]:
        if vars(module).get(name) is old:
            setattr(module, name, new)


def _method(seen: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    def method(*args: Any, **kwargs: Any) -> Any:
        return seen(original, *args, **kwargs)

    return method


@dataclass(slots=True)
class _Trace:
    """What the walks in a traced function used, and (use, order) of those that leave gradients on tensors."""

    rules: set[Rule] = field(default_factory=set)
    steps: set[tuple[Use, int]] = field(default_factory=set)


class _Walk:
    """Looks on while one walk goes back: a `Watch` in front of the one that was there."""

    def __init__(self, recorder: Recorder, handle: Any, watch: Any, check: FrameType | None, leaves: bool) -> None:
        self.recorder, self.handle, self.watch, self.check, self.leaves = recorder, handle, watch, check, leaves
        self.recorded = mode.grad
        self.symbolic = bool(getattr(mode.recorder, "symbolic", False))
        self.compiled = self.symbolic and not getattr(mode.recorder, "inside_scan", False)
        self.lines: list[Use] = []  # operations of the rule that runs, where it is the user's
        self.node: Node | None = None
        self.uses: set[Use] = set()

    def begin(self) -> None:
        """The walk tells the other one itself."""

    def end(self) -> None:
        """As above."""

    def see(self, node: Node, g: Any, argnum: int, cotangent: Any) -> None:
        """One operand's cotangent was made."""
        if self.watch is not None:
            self.watch.see(node, g, argnum, cotangent)
        recorder = self.recorder
        if recorder.busy:
            return
        own = recorder.made.get(node)
        if node is not self.node:
            self.node, self.uses = node, set(recorder.inside.get(node, ()))
            inner = flows(node, g) if node.op is SCAN and isinstance(g, Cotangents) else ()
            self.uses.update(recorder.made[one] for one in (node, *inner) if one in recorder.made)
            for one in inner:
                for k, operand in enumerate(one.inputs):
                    if operand.needs_grad:
                        self._rule(one, None, k, None, recorder.made.get(one, own))
        self.uses.update(self.lines)
        self.lines.clear()
        earlier = recorder.derived.get(node, ())
        depth = 2 if self.recorded else 1
        reached = {(use, depth) for use in self.uses} | {(use, order + depth) for use, order in earlier}
        if self.check is not None:
            recorder.reach(self.check, {Check(use, order, self.compiled) for use, order in reached})
        if self.leaves:
            for outer in recorder.traces:
                outer.steps |= reached
        if self.recorded:
            self._derive(cotangent, earlier)
        self._rule(node, g, argnum, cotangent, own)

    def _derive(self, cotangent: Any, earlier: Any) -> None:
        """The cotangent is a first derivative of what the rule belongs to, or one more of what that comes from."""
        handles = cotangent.parts.values() if isinstance(cotangent, Cotangents) else (cotangent,)
        for handle in handles:
            if handle.node.needs_grad:
                orders = self.recorder.derived.setdefault(handle.node, set())
                orders |= {(use, 1) for use in self.uses} | {(use, order + 1) for use, order in earlier}

    def _rule(self, node: Node, g: Any, argnum: int, cotangent: Any, use: Use | None) -> None:
        """A gradient rule was used; one in the step of a scan comes without cotangents."""
        rule = Rule.of(node.op, argnum)
        if rule is None:
            return
        recorder = self.recorder
        known = recorder.found.rules.setdefault(rule, RuleUse())
        known.tests.add(recorder.test)
        if use is not None:
            known.places.add((use.file, use.line))
        for outer in recorder.traces:
            outer.rules.add(rule)
        if len(known.changes) < len(CHANGES):
            known.changes |= self._telling(known, node, g, argnum, cotangent)

    def _telling(self, known: RuleUse, node: Node, g: Any, argnum: int, cotangent: Any) -> set[str]:
        """The changes of a rule that change what it gave; of a traced one, those that may."""
        right = None if cotangent is None else cotangent.node.value
        if right is None:
            return set(CHANGES) - {SWAPPED}
        telling = set(CHANGES) - {SWAPPED} if np.any(right) else set()
        if SWAPPED not in known.changes and known.tries < TRIES and not self.symbolic:
            known.tries += 1
            self.recorder.busy = True
            try:
                with no_grad():
                    inputs = [self.handle(operand) for operand in node.inputs]
                    other = swapped(node.op, argnum, g, self.handle(node), inputs, node.attrs)
                    if other is not None and not np.array_equal(other.node.value, right, equal_nan=True):
                        telling.add(SWAPPED)
            finally:
                self.recorder.busy = False
        return telling
