"""The operators of ONNX, each a function of tensors that is made of public ones.

A file has those of one subject, in `OPERATORS`: by name the function, or functions by the version of the operators
from which each holds, where what an operator means has changed. `form.py` says how their parameters are read.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

from . import (
    attention,
    classic,
    control,
    drawing,
    elementwise,
    images,
    indexing,
    linear,
    normalizing,
    pooling,
    quantized,
    recurrent,
    reducing,
    shaping,
    signals,
)
from .form import Call as Call
from .form import Form as Form
from .form import Value as Value
from .form import form_of as form_of
from .form import given as given

FILES: Final = (
    attention,
    classic,
    control,
    drawing,
    elementwise,
    images,
    indexing,
    linear,
    normalizing,
    pooling,
    quantized,
    recurrent,
    reducing,
    shaping,
    signals,
)
OPERATORS: Final[Mapping[str, Any]] = {name: one for file in FILES for name, one in file.OPERATORS.items()}


def is_known(operator: str) -> bool:
    """Whether there is an operator of this name, with its domain where that is not ONNX's own."""
    return operator in OPERATORS


@functools.cache
def found(operator: str, version: int) -> Form | None:
    """The form of an operator, with its domain where that is not ONNX's own, in a version."""
    entry = OPERATORS.get(operator)
    if isinstance(entry, Mapping):
        since = [one for one in entry if one <= version]
        entry = entry[max(since or entry)] if since else entry[min(entry)]
    return None if entry is None else form_of(entry)
