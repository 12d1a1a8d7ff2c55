"""The memory that a program runs in: what machine code and the simulator read and write.

Every buffer has its place in it, in the layout that the schedule gave it. Constants are there from the beginning; where
nothing has been written the bytes are 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...graph.graph import Array, DType, Shape


@dataclass(frozen=True, slots=True)
class Strided:
    """An array in an arena: its first byte, shape and dtype, and the bytes that a step along each axis takes."""

    start: int
    shape: Shape
    dtype: DType
    strides: tuple[int, ...]


def aligned(size: int) -> Array:
    """Zeroed bytes whose address is a multiple of 64."""
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


class Arena:
    """Memory of so many bytes, with its constants."""

    def __init__(self, size: int, constants: Iterable[tuple[Strided, Any]]) -> None:
        self.memory = aligned(max(size, 64))
        self.address: int = self.memory.ctypes.data
        for at, value in constants:
            self.view(at)[...] = value

    def view(self, at: Strided) -> Array:
        """The elements of an array."""
        if 0 in at.shape:
            return np.zeros(at.shape, at.dtype)
        return np.ndarray(at.shape, at.dtype, self.memory.data, at.start, at.strides)
