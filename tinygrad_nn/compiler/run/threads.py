"""Threads inside of one model: how many, and the pool that runs machine code which several of them share.

Helpers are Python threads that enter the native function `serve` once and stay in it, without Python's lock. They begin
when there is work for them, and end before a fork and at the end of the program. There is one pool. Who finds it busy
runs by one thread, as does who has no helpers: that is slower, and gives the same bits.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Final

from ...config import THREADS, config
from ...support.settings import integer
from ...tensor.core import forbid_tracing
from ...tensor.structure import replaced
from ..codegen.native import Code
from ..codegen.pool import THREADED, Pool
from ..target import Target

PATIENCE: Final = 0.5  # seconds to wait for a pool that is busy, before a fork and at the end


class Setting:
    """The number that was set; None until then."""

    number: int | None = None


def set_num_threads(n: int) -> None:
    """Let so many threads run the large kernels of a compiled function together; 1 to 1,024, and 1 by default.

    Every number gives the same bits. What was compiled for another number is compiled again when it is called; a run of
    `fit` that has begun goes on as it is. No more threads are started than there are cores to run them. Eager code is
    NumPy's, whose products have threads of their own. Raises ConfigError for another number, TraceError in a function
    that is compiled.

    >>> import tinygrad_nn as tg
    >>> tg.set_num_threads(2)
    >>> tg.get_num_threads()
    2
    >>> tg.set_num_threads(1)
    """
    number = integer("set_num_threads", "n", n, least=1, most=THREADS)
    forbid_tracing("set_num_threads", "a change of the threads", "set their number before")
    Setting.number = number
    cores.cache_clear()
    replaced()


def get_num_threads() -> int:
    """How many threads run a compiled function: what was set, else TGNN_THREADS, else 1.

    >>> import tinygrad_nn as tg
    >>> tg.set_num_threads(1)
    >>> tg.get_num_threads()
    1
    """
    return config().threads if Setting.number is None else Setting.number


@cache
def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def for_threads(target: Target) -> Target:
    """A target for as many threads as are to be used."""
    return replace(target, threads=min(get_num_threads(), cores()))


class Crew:
    """The pool and its helpers."""

    def __init__(self) -> None:
        self.busy = threading.Lock()
        self.pool: Pool | None = None
        self.helpers: list[threading.Thread] = []

    def run(self, function: int, arena: int, wanted: int) -> int | None:
        """The code of a function that so many threads run, or as many as there are; None where there is but one."""
        if not self.busy.acquire(blocking=False):
            return None
        try:
            pool = self.pool if len(self.helpers) + 1 >= wanted else self.grown(wanted)
            threads = min(wanted, len(self.helpers) + 1)
            return None if pool is None or threads == 1 else pool.lead(function, arena, threads)
        finally:
            self.busy.release()

    def grown(self, wanted: int) -> Pool | None:
        """The pool with helpers for so many threads, or as many as can be; None where there are no threads."""
        try:
            pool = self.pool = self.pool or Pool(THREADS)
            for number in range(len(self.helpers) + 1, wanted):
                helper = threading.Thread(target=pool.serve, args=(number,), name=f"helper {number}", daemon=True)
                helper.start()
                self.helpers.append(helper)
        except (OSError, RuntimeError):  # no more of them, or the end of the program
            pass
        except BaseException:  # Ctrl-C: nobody knows what has begun
            self.pool, self.helpers = None, []
            raise
        return self.pool

    def end(self) -> None:
        """Let the helpers end, unless a function runs on and on: then they are left behind."""
        if not self.busy.acquire(timeout=PATIENCE):
            return
        try:
            if self.pool is not None:
                self.pool.end(len(self.helpers) + 1)
            for helper in self.helpers:
                helper.join()
        finally:
            self.pool, self.helpers = None, []
            self.busy.release()


_crew = Crew()


def _forked() -> None:
    """Begin anew in the child."""
    global _crew
    _crew = Crew()
    cores.cache_clear()


def _end() -> None:
    _crew.end()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_end, after_in_child=_forked)


def callable_from(code: Code, threads: int) -> Callable[[int], int]:
    """A function of an arena's address, whose code is for so many threads at most."""
    if threads == 1:
        function: Callable[[int], int] = code.function
        return function
    single = THREADED(code.address)

    def run(arena: int) -> int:
        wanted = min(get_num_threads(), threads)
        result = _crew.run(code.address, arena, wanted) if wanted > 1 else None
        return int(single(arena, 0, 1, 0)) if result is None else result

    return run
