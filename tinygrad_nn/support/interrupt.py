"""Ctrl-C: when it is answered, and how what cannot be interrupted is left.

Machine code and LLVM look at no signals. So they run `beside` the main thread, which waits for them and can be called
away: what they were doing is then given up, and ends by itself without anybody to hear of it. Whoever gives up machine
code gives up the memory it works on too; the function that runs it has to hold that.

Training ends between two steps, where everything is whole: `deferred` only notes the first Ctrl-C. What runs under its
`limited` has `PATIENCE` seconds from then, and is `Overdue` after that.
"""

from __future__ import annotations

import _thread
import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, TypeVar

R = TypeVar("R")
PATIENCE: Final = 0.15  # seconds that Ctrl-C may wait for what is running
_TICK: Final = 0.02


class Overdue(KeyboardInterrupt):
    """A first Ctrl-C was noted, and what was running then did not end in time."""


def is_main() -> bool:
    """Whether this is the thread that signals come to."""
    return threading.current_thread() is threading.main_thread()


def beside(function: Callable[..., R], *args: Any, watching: Callable[[], Any] = bool) -> R:
    """The result of a function that looks at no signals, in another thread if this is the one they come to; `watching`
    is called now and then, and once at least.
    """
    if not is_main():
        return function(*args)
    results: list[R] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function(*args))
        except BaseException as error:  # raised where somebody waits
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no more threads, or the end of the program
        return function(*args)
    try:
        running = True
        while running:
            thread.join(_TICK)
            running = thread.is_alive()
            watching()
    except BaseException:
        leave_without_cleaning()
        raise
    if errors:
        raise errors[0]
    return results[0]


@cache
def leave_without_cleaning() -> None:
    """Let the program end, when it does, before the destructors of C++, which crash where LLVM still runs."""
    library: Any = ctypes.CDLL(None) if hasattr(signal, "pthread_kill") else None
    if hasattr(library, "on_exit"):  # which hands on the exit code
        library.on_exit(library._exit, None)


class Deferred:
    """What became of Ctrl-C in a block. Called, it says whether there was one."""

    def __init__(self) -> None:
        self.seen = self.inside = self.late = False
        self.over: threading.Event | None = None  # set when what was limited is over

    def __call__(self) -> bool:
        """Whether somebody pressed it."""
        return self.seen

    def limited(self) -> Deferred:
        """`with interrupted.limited():` what runs in the block is interrupted when it takes long."""
        return self

    def __enter__(self) -> None:
        self.inside = True
        if self.seen:
            self._wait()

    def __exit__(self, *error: object) -> None:
        self.inside = False
        if self.over is not None:
            self.over.set()

    def on_interrupt(self, number: int, frame: Any) -> None:
        """The handler."""
        if self.late:
            self.late = False
            if self.inside:
                raise Overdue
        elif self.seen:
            raise KeyboardInterrupt
        else:
            self.seen = True
            if self.inside:
                self._wait()

    def _wait(self) -> None:
        self.over = threading.Event()  # and no Timer: its locks may be held where a handler runs
        _thread.start_new_thread(self._call_away, (threading.get_ident(), self.over))

    def _call_away(self, thread: int, over: threading.Event) -> None:
        if over.wait(PATIENCE):
            return
        self.late = True
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(thread, signal.SIGINT)  # wakes what sleeps, too
        else:
            _thread.interrupt_main()


@contextmanager
def deferred() -> Iterator[Deferred]:
    """Within the block the first Ctrl-C is noted only; the second one interrupts. Elsewhere than in the main thread
    nothing changes.
    """
    noted = Deferred()
    if not is_main():
        yield noted
        return
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, noted.on_interrupt)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
