"""The shapes of an example: which a function was given, and which it gave back, seen while the example runs.

So every function of tensors shows shapes that are true, whatever its text says about others.
"""

from __future__ import annotations

import contextlib
import doctest
import inspect
import io
import sys
import warnings
from types import CodeType, FrameType
from typing import Any

import names

import tinygrad_nn as tg

SEEN = ("tensor.", "functional", "nn.", "linalg", "metrics")  # where functions of tensors are defined


def shapes(name: names.Name) -> str | None:
    """`input (2, 3), weight (4, 3) → (2, 4)`: those of the first call in the example of a function or of a layer; None
    where no tensors go in or come out.

    >>> from tinygrad_nn import nn
    >>> shapes(names.Name("nn", "Linear", nn.Linear))
    'input (32, 4) → (32, 8)'
    """
    function = getattr(name.value, "forward", None) if inspect.isclass(name.value) else name.value
    plain = inspect.unwrap(function) if inspect.isroutine(function) else None
    if plain is None or not name.examples or not name.home.startswith(SEEN):
        return None
    scope = vars(sys.modules[plain.__module__]) | vars(sys.modules[name.value.__module__])
    return next(iter(_calls(name.doc, plain.__code__, scope)), None)


def _calls(doc: str, code: CodeType, scope: dict[str, Any]) -> list[str]:
    """The calls of a function while an example runs, first to last, each as a text."""
    found: list[str] = []
    given: dict[FrameType, list[str]] = {}

    def watch(frame: FrameType, event: str, value: Any) -> None:
        if frame.f_code is not code:
            return
        if event == "call":
            starred = bool(code.co_flags & inspect.CO_VARARGS)
            arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + starred]
            pairs = ((one, _shape(frame.f_locals.get(one))) for one in arguments)
            given[frame] = [f"{'input' if one == 'self' else one} {shape}" for one, shape in pairs if shape]
        elif event == "return" and (result := _shape(value)) and given.get(frame):
            found.append(f"{', '.join(given[frame])} → {result}")

    known, before = dict(scope), sys.getprofile()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for example in doctest.DocTestParser().get_examples(doc):
            if example.exc_msg is None:
                compiled = compile(example.source, "<example>", "single")
                sys.setprofile(watch)
                try:
                    exec(compiled, known)
                finally:
                    sys.setprofile(before)
    return found


def _shape(value: Any) -> str:
    """The shape of a tensor, or the shapes of some; nothing for what has none."""
    if isinstance(value, tg.Tensor):
        return str(tuple(value.shape))
    if isinstance(value, tuple | list) and value and all(isinstance(one, tg.Tensor) for one in value):
        return " and ".join(str(tuple(one.shape)) for one in value[:3]) + (" ..." if len(value) > 3 else "")
    return ""
