"""Who called: the line of the user's code that an operation belongs to, and the gradient check that a walk belongs to.

Read off the call stack, so that nothing has to be passed down to where operations are made.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import numpy as np

from ..graph.reverse import _walk
from ..loops import _Loop
from ..nn import Module

PACKAGE: Final = Path(__file__).parents[1]
_HOME: Final = os.path.join(PACKAGE, "")
_CHECKS: Final = os.path.join(PACKAGE, "testing", "")
_RECORDER: Final = tuple(os.path.join(_CHECKS, name) for name in ("callers.py", "coverage.py"))
_BETWEEN: Final = (*_RECORDER, os.path.join(PACKAGE, "compiler", "trace.py"))  # what the user wrote passes there
_MAKERS: Final = (  # what these make is not what the user wrote: checks, rewrites, gradients, random tensors, scores
    _CHECKS,
    *(os.path.join(PACKAGE, name, "") for name in ("compiler", "viz")),
    *(os.path.join(PACKAGE, f"{name}.py") for name in ("adjoint", "metrics", "random", "transforms")),
    *(os.path.join(PACKAGE, *name) for name in (("nn", "init.py"), ("tensor", "creation.py"))),
)
_ENDS: Final[frozenset[CodeType]] = frozenset(one.__code__ for one in (_walk, _Loop.step, Module.to))
_MACHINERY: Final = (
    *(os.path.join(PACKAGE, *name) for name in (("graph", "reverse.py"), ("support", "settings.py"))),
    *(os.path.join(PACKAGE, *name) for name in (("autograd.py",), ("tensor", ""))),
    *_RECORDER,
)
_LIBRARIES: Final = (
    _HOME,
    *(os.path.join(path, "") for path in (Path(np.__file__).parents[1], sys.prefix, sys.base_prefix)),
)


class Lines:
    """The lines of the files that `wanted` says yes to."""

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self.wanted = wanted
        self.kinds: dict[str, str] = {}

    def of(self, frame: FrameType | None) -> tuple[str, int] | None:
        """The innermost line outside of libraries that a frame was called from, where it is one that is wanted.

        The search ends at functions that make nodes of their own accord: the walk, the compiler, the body of a scan.
        What they call of the user's comes before them.
        """
        while frame is not None:
            code = frame.f_code
            if code in _ENDS:
                return None
            name = code.co_filename
            kind = self.kinds.get(name) or self.kinds.setdefault(name, self._kind(name))
            if kind != "between":
                return (name, frame.f_lineno) if kind == "wanted" else None
            frame = frame.f_back
        return None

    def _kind(self, name: str) -> str:
        if name in _BETWEEN:
            return "between"
        if name.startswith(_MAKERS):
            return "other"
        if self.wanted(name):
            return "wanted"
        return "between" if name.startswith(("<", *_LIBRARIES)) else "other"


def asking(frame: FrameType | None, wanted: Any) -> FrameType | None:
    """The call of the gradient check that a walk belongs to: it asked for it, or it checks a function that calls
    backward(), which wants no gradient in particular.
    """
    while frame is not None and frame.f_code.co_filename.startswith(_MACHINERY):
        frame = frame.f_back
    if frame is None:
        return None
    name = frame.f_code.co_filename
    own = name.startswith(_CHECKS) or (wanted is None and not name.startswith(_HOME))
    return within_check(frame) if own else None


def within_check(frame: FrameType | None) -> FrameType | None:
    """The outermost function of this folder that runs: a call of a gradient check."""
    found = None
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_CHECKS) and name not in _RECORDER:
            found = frame
        frame = frame.f_back
    return found
