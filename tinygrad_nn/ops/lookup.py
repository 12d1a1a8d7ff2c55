"""Numbers from data that say where to read or write: who asked for them, and the error of one that is out of range.

The function that a user calls (`cross_entropy`) is seldom the op that meets the bad number (`gather`). So each op that
looks something up takes `called`, which says in whose name it works; eager code, traces, gradients and machine code
carry it along, as they carry any attribute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np

from ..errors import IndexOutOfRange, message
from .rules import check_index

NO_HINTS: Final[Mapping[tuple[str, int], str]] = MappingProxyType({})
_UNSIGNED = {4: np.dtype(np.uint32), 8: np.dtype(np.uint64)}


@dataclass(frozen=True, slots=True)
class Called:
    """The function a user called, what it calls the number, and the axis of length 1 that it put into their array."""

    name: str
    noun: str = "index"
    axis: int | None = None

    def __str__(self) -> str:
        return self.name


class Lookup(NamedTuple):
    """What went wrong: the numbers as the op saw them, the place of the first bad one, and what was allowed."""

    called: Called
    values: Any
    place: tuple[int, ...]
    low: int
    size: int
    hint: str = ""

    def text(self, where: str) -> str:
        """The message; `where` begins with a blank, or is empty."""
        noun = self.called.noun
        got = f"{noun} {self.values[self.place]}{where}"
        return message(self.called.name, got, f"{self.low} <= {noun} < {self.size}", self.hint)

    def own_place(self) -> tuple[int, ...]:
        """The place in the array the user gave."""
        axis = self.called.axis
        return self.place if axis is None else self.place[:axis] + self.place[axis + 1 :]


class Divisor(NamedTuple):
    """The same of an integer division: its divisors, and the place of the first that is 0."""

    name: str
    values: Any
    place: tuple[int, ...]

    def text(self, where: str) -> str:
        """The message; `where` begins with a blank, or is empty."""
        hint = "divide by tg.where(y == 0, 1, y) and mask"
        return message(self.name, f"a divisor of 0{where}", "divisors that are not 0", hint)

    def own_place(self) -> tuple[int, ...]:
        """The place in the array the user gave."""
        return self.place


def row_words(place: Sequence[int]) -> str:
    """A place in data whose first axis counts the samples.

    >>> row_words((3,)), row_words((3, 1)), row_words((3, 1, 2))
    ('row 3', 'row 3, column 1', 'row 3, index [3, 1, 2]')
    """
    if len(place) > 2:
        return f"row {place[0]}, index {list(place)}"
    return f"row {place[0]}" + "".join(f", column {column}" for column in place[1:])


def out_of_range(
    called: Called, values: Any, size: int, low: int = 0, hints: Mapping[tuple[str, int], str] = NO_HINTS
) -> IndexOutOfRange:
    """The error of the first of these numbers that is not in low..size-1; its `lookup` is for who knows more. `hints`
    are for some numbers in the name of some functions.
    """
    place = tuple(np.argwhere((values < low) | (values >= size))[0].tolist())
    lookup = Lookup(called, values, place, low, size, hints.get((called.name, int(values[place])), ""))
    own = lookup.own_place()
    error = IndexOutOfRange(lookup.text(f" in {row_words(own)}" if own else ""))
    error.lookup = lookup
    return error


def check_range(called: Called, index: Any, size: int, given: Any = None) -> None:
    """Raise IndexOutOfRange naming the first bad place and number. One pass: a negative number is huge when unsigned.
    On small arrays argmax costs a fifth of max. `given` are the numbers as the user has them, from the end too.
    """
    if not index.size:
        return
    unsigned = index.view(_UNSIGNED[index.dtype.itemsize])
    if unsigned.item(unsigned.argmax()) >= size:
        check_index(called.name, index.dtype)  # what is no integer is not out of range
        raise out_of_range(called, index, size) if given is None else out_of_range(called, given, size, -size)
