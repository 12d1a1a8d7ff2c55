"""The memory of a scheduled program: what machine code and the interpreter run in.

Every buffer has its place in it, in the layout that the schedule gave it. Constants are there from the beginning; where
nothing has been written the bytes are 0.
"""

from __future__ import annotations

import numpy as np

from ...graph.graph import Array
from ..loopir.ir import Buffer
from .schedule import Schedule


def aligned(size: int) -> Array:
    """Zeroed bytes whose address is a multiple of 64."""
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


class Arena:
    """The memory of a schedule, with a view of every buffer in its own shape."""

    def __init__(self, planned: Schedule) -> None:
        self.schedule = planned
        self.memory = aligned(max(planned.size, 64))
        self.address: int = self.memory.ctypes.data
        for buffer in planned.program.buffers:
            if buffer.role == "constant" and buffer.base is None:
                self.view(buffer)[...] = buffer.value

    def view(self, buffer: Buffer) -> Array:
        """The elements of a buffer."""
        laid = self.schedule.layouts[buffer]
        size = buffer.dtype.itemsize
        strides = tuple(step * size for step in laid.strides)
        start = self.schedule.offsets[buffer]
        if 0 in buffer.shape:
            return np.zeros(buffer.shape, buffer.dtype)
        return np.ndarray(buffer.shape, buffer.dtype, self.memory.data, start, strides)
