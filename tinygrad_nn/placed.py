"""`placed()`: traces within the block note where each node comes from, by module and by line of the user's code.

    with placed():
        traced = trace(function, ...)           # or training_job(...), or the first call of a jitted function
    traced.graph.places.place(node)             # see `graph/places.py`

All is read off the call stack, at the moment when a recorder makes a node: the innermost line outside of this package;
whether a backward walk is on the stack, and of which node it computes the gradient; whether an optimizer is. So nothing
is passed down to where operations are made, and traces outside of such a block do nothing for it.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import CodeType, FrameType
from typing import Any, Final

from .adjoint import _totals, replay
from .graph.graph import Attrs, Node, Op
from .graph.places import Place, Places, Role
from .graph.reverse import _walk
from .tensor.core import mode

_HOME: Final = os.path.join(os.path.dirname(__file__), "")
_TRACE: Final = os.path.join(_HOME, "compiler", "trace.py")
_OPTIMIZERS: Final = os.path.join(_HOME, "optim", "")
_PYTHON: Final = "<frozen "  # files of Python's own, with which it begins
_AGAIN: Final[frozenset[CodeType]] = frozenset(  # what these make they make for a `node`
    one.__code__ for one in (_walk, replay, _totals)
)


class Recording(Places):
    """The record while it grows: which modules run, and where the call stack says that we are."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[tuple[str, str]] = []
        self.names: dict[int, tuple[Any, str]] = {}  # modules by identity, which they keep

    def watch(self, recorder: Any) -> None:
        """Let a recorder of symbols tell what it makes, and which modules run; any other is left alone."""
        if not getattr(recorder, "symbolic", False) or "bind" in vars(recorder):
            return
        recorder.bind = self._noting(recorder.bind)
        if not hasattr(type(recorder), "scope"):  # the body of a loop asks who records around it
            recorder.scope = self.scope

    def _noting(self, bind: Callable[[Op, tuple[Node, ...], Attrs], Node]) -> Callable[..., Node]:
        def noting(op: Op, nodes: tuple[Node, ...], attrs: Attrs) -> Node:
            node = bind(op, nodes, attrs)
            if node not in self.known:
                self.known[node] = self.here(sys._getframe(1))
            return node

        return noting

    @contextmanager
    def scope(self, module: Any) -> Iterator[None]:
        """A module runs within the block."""
        if id(module) not in self.names or not self.running:
            self.names |= {id(part): (part, name) for name, part in module.named_modules()}
        self.running.append((self.names[id(module)][1], type(module).__name__))
        try:
            yield
        finally:
            self.running.pop()

    def here(self, frame: FrameType | None) -> Place:
        """Where what is made now comes from."""
        line: FrameType | None = None
        inside = True  # whether the line is one of the function that is traced
        of: Place | None = None
        role: Role = "forward"
        while frame is not None:
            code = frame.f_code
            if code in _AGAIN:
                of = of or self.place(frame.f_locals["node"])
                role = "gradient" if code is _walk.__code__ else role
            elif line is None and of is None and role == "forward" and code.co_filename.startswith(_OPTIMIZERS):
                role = "optimizer"
            elif line is None and of is None and not code.co_filename.startswith((_HOME, _PYTHON)):
                line = frame
            if line is None and code.co_name == "_attempt" and code.co_filename == _TRACE:
                inside = False
            frame = frame.f_back
        if of is not None:
            role = "gradient" if "gradient" in (role, of.role) else of.role
            if line is None:
                return replace(of, role=role)
        module, kind = (of.module, of.kind) if of is not None else self.running[-1] if self.running else ("", "")
        if line is None:
            return Place("", 0, "", module, kind, role)
        path, number = line.f_code.co_filename, line.f_lineno
        return Place(path, number, _text(path, number) if inside else "", module, kind, role)


def _text(path: str, line: int) -> str:
    """The text of a line, "" where nobody has it."""
    try:
        return linecache.getline(path, line).strip()
    except IndexError:  # doctest's own reader, of lines that ran under another docstring
        return ""


@contextmanager
def placed() -> Iterator[Recording]:
    """Within the block, traces of this thread note where nodes come from; in it, of blocks one in another the outer."""
    before = mode.places
    recording = before if isinstance(before, Recording) else Recording()
    mode.places = recording
    try:
        yield recording
    finally:
        mode.places = before
