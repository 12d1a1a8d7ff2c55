"""A function that is compiled where it can be and runs as it is where it cannot: what `torch.compile` promises.

`tg.jit` refuses what it cannot compile, and freezes what a trace cannot see. Here a refusal is a warning, once, and the
function itself runs from then on for such calls. So does a function that changes Python's state, prints, or draws
numbers that are not ours; a trace of one is taken back. Where a variable that it reads has another value than at the
trace, it is compiled for that one too, a few times.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from types import MethodType
from typing import Any, Final

from ...errors import IndexOutOfRange, TraceError, message
from ...support.settings import shown
from ...tensor.context import user_level
from ...tensor.core import mode
from ..trace import forget
from .jit import Entry, Jitted, Signature, describe, usable
from .python_state import Snapshot, Watch

WORLDS: Final = 8  # values of the variables around it that a function is compiled for
_PACKAGE: Final = f"{Path(__file__).parents[2]}{os.sep}"
KINDS: Final = 8  # values of plain arguments (ints, strings) for which it is


class Refused(Exception):
    """A call that cannot be compiled, with the reason."""


class _Attempt(Jitted):
    """A jitted function that raises Refused in place of what stops a compilation, with all state as before."""

    differentiable = True

    def __init__(self, function: Callable[..., Any], watch: Watch) -> None:
        super().__init__(function)
        self.watch = watch
        self.refused: dict[Signature, int] = {}

    def _slowly(self, args: tuple[Any, ...], kwargs: dict[str, Any], again: bool = False) -> Any:
        if self.refused:
            try:
                signature = describe(args, kwargs)[0]
            except Exception as error:
                raise Refused(_reason(error)) from error
            if self.refused.get(signature, 0) > 1:
                return self.function(*args, **kwargs)
        return super()._slowly(args, kwargs, again)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As of every jitted function, but for labels of -100, which losses ignore from the first one on."""
        try:
            return super().__call__(*args, **kwargs)
        except IndexOutOfRange as error:
            if self.searches or not getattr(getattr(error, "lookup", None), "hint", ""):
                raise
        self.searches, self.last = True, None
        self.entries.clear()
        return super().__call__(*args, **kwargs)

    def _compile(self, signature: Signature, leaves: Sequence[Any], is_array: Sequence[bool]) -> Entry:
        before, printed, out = Snapshot(self.function), StringIO(), sys.stdout
        self.leave = before.leave
        try:
            if before.consumed:
                hint = "take the next item outside, and pass it"
                raise TraceError(message("jit", f"a function that uses the iterator {before.consumed}", hint=hint))
            self._check_kinds(signature)
            sys.stdout = printed
            entry = super()._compile(signature, leaves, is_array)
            sys.stdout = out
        except Exception as error:
            sys.stdout = out
            before.restore()
            self.refused[signature] = 2
            raise Refused(_reason(error)) from error
        except BaseException:
            sys.stdout = out
            raise
        self.watch.loosen(before.left)
        changes = before.changes()
        if changes or printed.tell():
            before.restore()
            forget(entry.traced.beginning)
            for module, training in entry.traced.found_modes:
                module.training = training
            self.entries.pop(signature, None)
            self.last = None
            # The first time it may have been something that is made once, which the call that follows makes.
            self.refused[signature] = self.refused.get(signature, 0) + 1
            raise Refused(_changed(changes), self.refused[signature] > 1)
        return entry

    def _check_kinds(self, signature: Signature) -> None:
        """Too many values of plain arguments are no kinds of calls."""
        alike = [other.leaves for other in self.entries if _arrays(other) == _arrays(signature)]
        if len(set(alike)) >= KINDS:
            got = f"a call with yet another value of an argument that is no tensor, after {KINDS}"
            raise TraceError(message("jit", got, "a few values", "pass a number that changes as a tensor, or a float"))


class Compiled:
    """A function under `torch.compile`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.told = function, False
        self.worlds: list[tuple[Watch, _Attempt]] = []
        self.holds: Callable[[], bool] = bool  # of the world that was right the last time
        self.run: Callable[..., Any] = function
        self.eager, self.changed = False, 0
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the machine code, or the function."""
        if self.eager or mode.recorder is not None:
            return self.function(*args, **kwargs)
        if not self.holds() and not self._turn():
            return self.function(*args, **kwargs)
        try:
            return self.run(*args, **kwargs)
        except Refused as error:
            reason, *final = error.args
        if not all(final):
            self.changed += 1
            self.eager = self.changed > 1
        if self.eager or all(final):
            self._tell(reason)
        return self.function(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: each instance has one of its own among its attributes."""
        if instance is None:
            return self
        own = getattr(instance, "__dict__", None)
        if own is None:
            return functools.partial(self, instance)
        name = f"compiled {self.function.__name__}"
        if name not in own:
            own[name] = type(self)(MethodType(self.function, instance))
        return own[name]

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        return type(self)(self.function)

    def __reduce__(self) -> Any:
        return type(self), (self.function,)

    @property
    def traces(self) -> int:
        """How often the function was traced."""
        return sum(attempt.traces for _, attempt in self.worlds)

    def _turn(self) -> bool:
        """Go over to what was compiled for the variables as they are, or begin with it; False where they change all
        the time.
        """
        if not usable():
            self.eager = True
            return False
        for watch, attempt in self.worlds:
            if watch.holds():
                self.holds, self.run = watch.holds, attempt
                return True
        if len(self.worlds) == WORLDS:
            path, before, now = self.worlds[-1][0].changes()[0]
            got = f"another value of {path} at every call: {shown(before)}, then {shown(now)}"
            hint = "pass it as an argument: as a tensor, or a float"
            self._tell(message("jit", got, "variables that stay", hint))
            self.eager = True
            return False
        watch = Watch(Snapshot(self.function))
        attempt = _Attempt(self.function, watch)
        self.worlds.append((watch, attempt))
        self.holds, self.run = watch.holds, attempt
        return True

    def _tell(self, reason: str) -> None:
        if not self.told:
            self.told = True
            name = getattr(self.function, "__qualname__", type(self.function).__name__)
            text = f"compile: {name} runs as it is, not compiled: {reason}"
            warnings.warn(text, RuntimeWarning, stacklevel=user_level())


def compiled(function: Callable[..., Any]) -> Compiled:
    """Compile a function where that can be done, and run it as it is where not, with one RuntimeWarning that says why.

    Unlike `tg.jit` it may do anything that a function may do. Raises TraceError for what is no function.

    >>> import tinygrad_nn as tg
    >>> double = compiled(lambda x: x * 2)
    >>> double(tg.tensor([1.0, 2.0]))
    tensor([2., 4.])
    """
    if not callable(function):
        raise TraceError(message("compile", f"a {type(function).__name__}", "a function"))
    return Compiled(function)


def _arrays(signature: Signature) -> Any:
    """All of a signature but the plain values."""
    leaves: Any = signature.leaves
    return signature.tree, tuple(leaf[0] if isinstance(leaf[0], type) else leaf for leaf in leaves)


def _reason(error: Exception) -> str:
    """What went wrong, with the line of the user's code."""
    if isinstance(error, TraceError):
        return str(error)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_PACKAGE)]
    place = f" at {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _changed(changes: Sequence[tuple[str, Any, Any]]) -> str:
    if not changes:
        return message("jit", "a function that prints", hint="return what is to be printed")
    path = changes[0][0]
    if path in ("random", "numpy.random"):
        return message("jit", f"a function that draws numbers from {path}", hint="draw them outside, or with tg.rand")
    return message("jit", f"a function that changes {path}", "state that is in tensors", "return the new value")
