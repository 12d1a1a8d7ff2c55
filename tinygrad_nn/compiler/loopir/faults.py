"""The error that a check of a program raises: the same one, in the same words, as the op's own in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ...graph.graph import NO_ATTRS, Attrs
from ...ops.elementwise import no_quotient
from ...ops.lookup import out_of_range
from .ir import Buffer
from .program import Fault, Program

_HINTS: Final = dict.fromkeys(
    (("cross_entropy", -100), ("nll_loss", -100)),
    "compiled code ignores labels only if ignore_index is another number: ignore_index=-1, and -1 among the labels",
)


def raise_code(program: Program, code: int, read: Callable[[Buffer], Any]) -> None:
    """The error of the check with this number; `read` gives the elements of the buffer it looked at."""
    fault = program.faults[code - 1]
    raise_fault(fault, None if fault.buffer is None else read(fault.buffer))


def holds(fault: Fault, values: Any) -> bool:
    """Whether nothing is wrong with these numbers."""
    if fault.size is None:
        return bool(np.all(values != 0))
    return bool(np.all((values >= fault.low) & (values < fault.size)))


def raise_fault(fault: Fault, values: Any, where: Attrs = NO_ATTRS) -> None:
    """Name the first number that is out of range, or divisor that is 0, and where it was."""
    if fault.size is None:
        raise no_quotient(fault.called.name, values, where)
    raise out_of_range(fault.called, np.array(values), fault.size, fault.low, _HINTS)
