"""The ops, a file for each kind. `TABLE`, of all but those of loops and of `linalg`, is loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..graph.graph import Op

    TABLE: Mapping[str, Op]


def __getattr__(name: str) -> Any:
    if name != "TABLE":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.table").TABLE
