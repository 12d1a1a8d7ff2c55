"""Locks that a fork waits for, and that are free in the child.

A child of `os.fork` has one thread, that which forked. What others held at that moment nobody would ever give back, and
what they were changing stays half done. So a fork takes the locks first: all is whole then, and the child goes on with
it. What is held for longer than `PATIENCE` (a training run in another thread) is not waited for: the child finds the
state as it was in that moment, and the lock free.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any, Final

PATIENCE: Final = 0.5  # seconds that a fork waits for all of the locks together

_locks: Final[dict[int, tuple[weakref.ref[Any], bool]]] = {}  # by a number, in the order in which they were made


class _Forking(threading.local):
    """What the thread that forks took."""

    def __init__(self) -> None:
        self.taken: list[Any] = []


_forking: Final = _Forking()


def new_lock(patient: bool = False) -> threading.RLock:
    """A new lock, which a thread may take more than once. For a `patient` one a fork waits as long as it takes."""
    made = threading.RLock()
    number = id(made)
    _locks[number] = (weakref.ref(made, lambda _: _locks.pop(number, None)), patient)
    return made


def _known() -> Iterator[tuple[Any, bool]]:
    """The locks that somebody has."""
    for reference, patient in list(_locks.values()):
        made = reference()
        if made is not None:
            yield made, patient


def _before() -> None:
    end = time.monotonic() + PATIENCE
    for one, patient in _known():
        if one.acquire(timeout=-1 if patient else max(0.0, end - time.monotonic())):
            _forking.taken.append(one)


def _in_parent() -> None:
    while _forking.taken:
        _forking.taken.pop().release()


def _in_child() -> None:
    _in_parent()
    for one, _ in _known():
        if not one._is_owned():  # by the thread that forked, in whose code it will be given back
            one._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
