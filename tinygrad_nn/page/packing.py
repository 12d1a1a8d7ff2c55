"""Arrays as text for a page: base64 of float32, or of integers that count equal steps, where that takes less room.

A page says with which precision it shows numbers: `precision` is in the words it uses.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from ..graph.graph import Array

KINDS: Final = (("f4", 4), ("i2", 2), ("i1", 1))  # from exact to coarse, with the bytes of a number
STEPS: Final = {"i2": 32767, "i1": 127}
WORDS: Final = {
    "f4": "float32",
    "i2": "steps of 1/32767 of the largest",
    "i1": "steps of 1/127 of the largest",
}


def packed(array: Any, kind: str = "f4") -> dict[str, Any]:
    """An array as `{"shape", "kind", "step", "data"}`: numbers are those of the data times the step.

    Of integers the least one stands for what is not finite.

    >>> packed([1.0, -2.0], "i1")["step"] * 127
    2.0
    """
    values = np.asarray(array, np.float64)
    if kind == "f4":
        with np.errstate(over="ignore"):
            return _text(values.astype("<f4"), kind, 1.0)
    finite = np.isfinite(values)
    most = float(np.abs(values[finite]).max(initial=0.0)) or 1.0
    step = most / STEPS[kind]
    counts = np.where(finite, np.rint(np.where(finite, values, 0.0) / step), -STEPS[kind] - 1)
    return _text(counts.astype(f"<{kind}"), kind, step)


def fitting(sizes: Iterable[int], room: int) -> str | None:
    """The most exact kind of which so many numbers fit into so many bytes; None where none does."""
    count = sum(sizes)
    return next((kind for kind, each in KINDS if count * each <= room), None)


def _text(values: Array, kind: str, step: float) -> dict[str, Any]:
    shape: Sequence[int] = values.shape
    return {"shape": list(shape), "kind": kind, "step": step, "data": b64encode(values.tobytes()).decode()}
