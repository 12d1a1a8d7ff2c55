"""What does not fit in the memory of this machine is refused before anything is allocated.

A system that promises more memory than it has ends the process where the promise is taken at its word; one that does
not raises an error of NumPy's.
"""

from __future__ import annotations

import os
import sys
from math import prod
from typing import Final

try:
    import resource
except ImportError:  # a system without limits of a process
    resource = None  # type: ignore[assignment]

from ..errors import TooLarge, message

SMALL: Final = 2**28  # bytes that nobody is asked for
UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def installed() -> int:
    """Bytes of memory that this process may have at all: the machine's, its group's, its own limit (`ulimit -v`)."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not say
        found = sys.maxsize
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:  # pathlib takes longer to load than to use
            limit = file.read().strip()
    except OSError:
        limit = ""
    own = -1 if resource is None else resource.getrlimit(resource.RLIMIT_AS)[0]
    return min([found, *([int(limit)] if limit.isdecimal() else []), *([own] if own >= 0 else [])])


def check_fits(op: str, what: str, size: int) -> None:
    """Raise TooLarge where `size` bytes, for `what`, are more than the machine has."""
    if size > SMALL and size > installed():
        raise TooLarge(message(op, f"{what}, which needs {shown(size)}", f"at most the machine's {shown(installed())}"))


def check_shape_fits(op: str, shape: tuple[int, ...], itemsize: int = 4) -> None:
    """Raise TooLarge for an array of this shape."""
    size = itemsize * prod(shape)
    if size > SMALL:
        check_fits(op, f"shape {shape}", size)


def shown(size: int) -> str:
    """A number of bytes in words.

    >>> shown(3 * 2**30)
    '3 GiB'
    """
    unit = min(max(size.bit_length() - 1, 0) // 10, len(UNITS) - 1)
    whole = size >> (10 * unit)
    return f"{whole:,} {UNITS[unit]}" if whole >= 10**3 else f"{size / 2 ** (10 * unit):.2g} {UNITS[unit]}"
