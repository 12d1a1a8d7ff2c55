"""Numbers next to 0 taken for 0, by the processor, in one thread and for a time.

Sums that decay, an optimizer's moments above all, end in denormal numbers where a gradient stays 0, and those take a
processor a hundred times as long. C's `fenv_t` holds the word that switches them off; where it stands is known for the
systems in `_PLACES`, and nothing happens on others.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

_PLACES: Final = {  # (system, machine) -> where in `fenv_t` the word is, and its bits
    ("linux", "x86_64"): (28, 0x8040),  # flush results to zero, take operands for zero
    ("linux", "aarch64"): (0, 1 << 24),
    ("darwin", "x86_64"): (4, 0x8040),
    ("darwin", "arm64"): (8, 1 << 24),
}


@cache
def _library() -> Any:
    return ctypes.CDLL(None)


@contextmanager
def flushed() -> Iterator[None]:
    """Within the block this thread takes denormal numbers for 0.

    >>> import numpy as np
    >>> tiny = np.float32(1e-40)
    >>> with flushed():
    ...     product = tiny * np.float32(0.5)
    >>> bool(product <= tiny * np.float32(0.5)), bool(tiny * np.float32(0.5) > 0)
    (True, True)
    """
    offset, bits = _PLACES.get((sys.platform, platform.machine()), (0, 0))
    if not bits:
        yield
        return
    before = ctypes.create_string_buffer(64)
    _library().fegetenv(before)
    changed = ctypes.create_string_buffer(before.raw, 64)
    word = ctypes.c_uint32.from_buffer(changed, offset)
    word.value |= bits
    _library().fesetenv(changed)
    try:
        yield
    finally:
        _library().fesetenv(before)


def flushing(function: Callable[[Any], int]) -> Callable[[Any], int]:
    """A native function that runs so."""

    def call(address: Any) -> int:
        with flushed():
            return function(address)

    return call
