"""What holds for the running thread: gradients on or off, the recorder; and the errors of code that is traced."""

from __future__ import annotations

import contextvars
import linecache
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, Protocol, TypeVar

import numpy as np

from ..errors import TraceError, message
from ..graph.graph import Attrs, DType, Node, Op
from ..graph.places import Places
from ..graph.reverse import Watch
from ..ops.rules import FLOAT32
from ..support.fork import new_lock

_NOTHING: Final = nullcontext()
_QUIET: contextvars.ContextVar[bool] = contextvars.ContextVar("tinygrad_nn_quiet", default=False)
_HOME = os.path.dirname(os.path.dirname(__file__)) + os.sep
R = TypeVar("R")


WRITES: Final = new_lock()  # held by whoever writes a part of a tensor, and so all of it anew; before HANDLES
HANDLES: Final = new_lock()  # held by whoever gives handles of the state other nodes; before any arena's lock


class Recorder(Protocol):
    """What a tracer offers: it turns handles into nodes, makes the node for each application, and hears of
    assignments.
    """

    def lift(self, handle: Any) -> Node:
        """The node an operand stands for."""

    def bind(self, op: Op, nodes: tuple[Node, ...], attrs: Attrs) -> Node:
        """The node of one application."""

    def assign(self, handle: Any, node: Node) -> None:
        """A handle is given another value."""


class Journal(Protocol):
    """Who can take back what is written."""

    def note(self, handle: Any) -> None:
        """This tensor is about to hold another value."""


class Mode(threading.local):
    """What holds for the running thread: gradients on or off, the recorder, and a context in which NumPy does not
    warn.

    Running a ufunc inside a prepared context costs 10 ns; entering np.errstate would cost as much as the addition
    itself. A context can be entered once only: what runs inside of it (a signal handler, the `__index__` of an op's
    argument) finds silence there already, and `bind` computes without entering where that `entered` says so.
    """

    grad = True
    recorder: Recorder | None = None
    dtype: DType = FLOAT32
    watch: Watch | None = None  # sees each cotangent as it is made
    journal: Journal | None = None  # notes what a tensor held before it is written
    places: Places | None = None  # who wants to know where the nodes of traces come from

    def __init__(self) -> None:
        context = contextvars.copy_context()
        context.run(np.seterr, all="ignore")
        context.run(_QUIET.set, True)
        self.quietly: Callable[..., Any] = context.run

    def quiet_region(self, function: Callable[..., R], *args: Any) -> R:
        """Run a whole function in the silent context. Inside of it there is nothing left to enter."""
        if _QUIET.get():
            return self.already_quiet(function, *args)
        return self.quietly(self.already_quiet, function, *args)  # type: ignore[no-any-return]

    def already_quiet(self, function: Callable[..., R], *args: Any) -> R:
        """Apply ops where silence is entered already, as inside of an op's NumPy function, and cannot be again."""
        enter = self.quietly
        self.quietly = _call
        try:
            return function(*args)
        finally:
            self.quietly = enter

    def entered(self, error: Exception) -> bool:
        """Whether `quietly` failed because this thread is inside of the silent context already."""
        return type(error) is RuntimeError and self.quietly is not _call and _QUIET.get()


def _call(function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    return function(*args, **kwargs)


mode = Mode()


def writing() -> AbstractContextManager[Any]:
    """What a write to a part of a tensor stands under, so that threads may write other parts: no trace, which other
    threads wait for with this lock.
    """
    return WRITES if mode.recorder is None else _NOTHING


@contextmanager
def tracing(recorder: Recorder | None) -> Iterator[None]:
    """Within the block every application goes to this recorder; the one before is restored, also on error."""
    before = mode.recorder
    mode.recorder = recorder
    if mode.places is not None:
        mode.places.watch(recorder)
    try:
        yield
    finally:
        mode.recorder = before


def unknown_value(name: str, node: Node) -> TraceError:
    """The error of code that reads a traced value, with the line that did."""
    if mode.recorder is None:
        return left_over(name, node)
    if getattr(mode.recorder, "inside_scan", False):
        got = f"a function that reads a value ({name} of {node!r}) at {user_line()}"
        hint = "it runs once with symbols: compute on with tensor operations (tg.where for if), and return it in y"
        return TraceError(message("scan", got, "code that does not look at values", hint))
    got = f"a read of the traced value {node!r} at {user_line()}"
    hint = (
        "a compiled function runs once with symbols: compute on with tensor operations (tg.where for if), return "
        "the tensor and read it outside, or take off @tg.jit; see docs/compile.md"
    )
    return TraceError(message(name, got, "code that does not look at values", hint))


def uncounted(name: str, what: str) -> TraceError:
    """The error of code whose result has as many elements as a traced mask has true ones."""
    got = f"{what}, whose length depends on values that are traced, at {user_line()}"
    hint = (
        "keep all elements: tg.where(mask, x, 0).sum() is x[mask].sum(), over mask.sum() the mean; x[mask] = 1 and "
        "x.masked_fill(mask, 1) work; or take what looks at the mask out of the function"
    )
    return TraceError(message(name, got, "shapes that do not depend on values", hint))


def left_over(name: str, node: Node) -> TraceError:
    """The error of code that uses a traced value after the trace."""
    got = f"a tensor left over from a compiled function or a scan, the traced value {node!r}, at {user_line()}"
    hint = "return it from the function; what it appends or stores is only there while it is traced"
    return TraceError(message(name, got, "tensors with values", hint))


def forbid_tracing(name: str, what: str, hint: str) -> None:
    """Raise TraceError inside of a function that is being compiled: it runs once there, so what it does to Python
    state would happen once and never again.
    """
    if getattr(mode.recorder, "symbolic", False):
        got = f"{what} inside of a compiled function, at {user_line()}"
        raise TraceError(message(name, got, "a call outside of it", hint))


def deferred(name: str, action: Callable[..., Any], *args: Any) -> bool:
    """Whether a function is traced, where `action(*args)`, which changes Python state, is done after each of its calls;
    tensors among the arguments have the values of that call then. Raises TraceError where there is no such moment.
    """
    defer = getattr(mode.recorder, "defer", None)
    if defer is None:
        forbid_tracing(name, f"{action.__name__}()", "do it outside")
        return False
    defer(action, args)
    return True


def user_level() -> int:
    """The stack level of the user's call, for a warning given by the caller of this."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HOME):
        level, frame = level + 1, frame.f_back
    return level


def user_line() -> str:
    """The innermost line of user code, as `file.py:12: y = x.log()`."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HOME):
        frame = frame.f_back
    path, line = frame.f_code.co_filename, frame.f_lineno
    source = linecache.getline(path, line).strip()
    return f"{os.path.basename(path)}:{line}: {source}" if source else f"{os.path.basename(path)}:{line}"
