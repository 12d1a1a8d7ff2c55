"""`tg.detect_anomaly()`: who first made a NaN or an infinity, in values or in gradients, by op and Python line.

A value that is not finite is a suspect until something turns it into finite numbers again (a mask of -inf inside
softmax, the branch of a `where` that was not taken). What is still suspect at backward() or at the end of the block
is reported at its origin. A gradient is reported at once; 0 times infinity behind a branch that was not taken is
recognised.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .errors import GraphError, message
from .graph.graph import Attrs, Node, Op
from .tensor.core import Core, bind, mode, tracing, user_line


def _finite(value: Any) -> bool:
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


def _worst(value: Any) -> str:
    return "NaN" if bool(np.isnan(value).any()) else "inf"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a NaN or an infinity began: the op, the line, what it is and in which elements, how, and what to do."""

    op: Op
    line: str
    what: str
    bad: Any
    how: str = "from finite operands"
    advice: str = ""

    @property
    def hint(self) -> str:
        """What to do about it."""
        return self.advice or self.op.hint

    def __str__(self) -> str:
        return f"{self.op.name} made {self.what} {self.how} at {self.line}"


class Watcher:
    """A recorder that computes as usual and remembers where each node was made and which values are suspect."""

    def __init__(self) -> None:
        self.lines: WeakKeyDictionary[Node, str] = WeakKeyDictionary()
        self.suspects: dict[Node, Origin] = {}  # node that is not finite -> where that began
        self.found: Origin | None = None  # what was reported
        self.given: Origin | None = None  # the first op that worked with a NaN or infinity from outside
        self.origins: WeakKeyDictionary[Node, Origin] = (
            WeakKeyDictionary()
        )  # of all that are not finite, suspect or not
        self.walking = False
        self.place = ""  # the time step that runs, in words

    def lift(self, handle: Core) -> Node:
        """The handle's own node: nothing is symbolic here."""
        return handle.node

    def assign(self, handle: Core, node: Node) -> None:
        """As without a recorder."""
        handle._point_at(node)

    def bind(self, op: Op, nodes: tuple[Node, ...], attrs: Attrs) -> Node:
        """Compute, and look at the value."""
        node = bind(op, nodes, attrs)
        line = self.place + user_line()
        self.lines[node] = line
        if self.walking:
            return node
        inherited = [self.suspects.pop(operand) for operand in nodes if operand in self.suspects]
        if not _finite(node.value):
            what, bad = _worst(node.value), ~np.isfinite(node.value)
            if inherited:
                origin = self.suspects[node] = inherited[0]
            elif all(_finite(operand.value) for operand in nodes):
                origin = self.suspects[node] = Origin(op, line, what, bad)
            else:
                found = (self.origins.get(operand) or self.origin_of(operand.value) for operand in nodes)
                known = [one for one in found if one is not None]
                origin = (
                    known[0] if known else Origin(op, line, what, bad, "from operands that were not finite", _GIVEN)
                )
                self.given = self.given or origin
            self.origins[node] = origin
        return node

    def report_values(self) -> None:
        """Raise for the oldest suspect."""
        if self.suspects:
            self.found = origin = next(iter(self.suspects.values()))
            self.suspects.clear()
            got = f"{origin.what} from finite operands, made at {origin.line}"
            raise GraphError(message(origin.op.name, got, "finite values", origin.hint))

    def origin_of(self, value: Any) -> Origin | None:
        """Where the NaN or infinity in an array began that an op computed, if there is one and that is known."""
        return next((origin for node, origin in self.origins.items() if node.value is value), None)

    def begin(self) -> None:
        """A backward walk starts: what is still suspect is an error now."""
        self.report_values()
        self.walking = True

    def end(self) -> None:
        """The walk is over."""
        self.walking = False

    def see(self, node: Node, g: Core, argnum: int, cotangent: Core) -> None:
        """Look at one cotangent; the first one that is not finite is an error."""
        if _finite(cotangent.node.value) or not _finite(g.node.value):
            return
        line = self.lines.get(node, "a line outside of the block")
        got = f"{_worst(cotangent.node.value)} in the gradient of operand {argnum}, of the forward call at {line}"
        bad = ~np.isfinite(cotangent.node.value)
        if bad.shape == g.node.shape and not np.any(np.asarray(g.node.value)[bad]):
            hint = (
                "the incoming gradient is 0 there, so this is 0 * inf behind a branch that where() did not take; "
                f"give the function a safe operand inside: where(ok, {node.op.name}(where(ok, x, 1)), other)"
            )
        else:
            hint = node.op.hint
        how = f"in the gradient of operand {argnum}, of the forward call"
        known = self.origins.get(node)  # where the value is not finite, its gradient need not be
        self.found = known or Origin(node.op, line, _worst(cotangent.node.value), bad, how, hint)
        raise GraphError(message(f"{node.op.name} backward", got, "finite gradients", hint))


_GIVEN = "look at what came in: a parameter, or another tensor from outside, was not finite before"


def at_step(layer: str, step: int | None) -> None:
    """Tell a watcher, where there is one, that this step of a loop over time runs; None: that the loop is over."""
    watcher = mode.watch
    if isinstance(watcher, Watcher):
        watcher.place = "" if step is None else f"time step {step} of {layer}, "


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Within the block a NaN or infinity raises GraphError naming the op and the Python line that first made it.

    Inside RNN, GRU and LSTM it names the time step (counted from 0) and the layer too. Every op is checked, so it runs
    a few times slower. Values that something later makes finite again are no error.

    >>> import tinygrad_nn as tg
    >>> with tg.detect_anomaly():
    ...     tg.tensor([0.0]).log()
    Traceback (most recent call last):
    ...
    tinygrad_nn.errors.GraphError: [log] got inf from finite operands, made at ...
    """
    with watched_by(Watcher()):
        yield


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Within the block a watcher looks at every value and gradient."""
    before = mode.watch
    mode.watch = watcher
    try:
        with tracing(watcher):
            yield
            watcher.report_values()
    finally:
        mode.watch = before
