"""The native part of the pool of threads: how helpers wait for work, and how the thread that has some hands it out.

    serve(pool, number)                    what a helper does, until it is handed the function `nothing`
    lead(pool, function, arena, threads)   the code of the first thread, when all are done

The memory of a pool: what is to be run, by whom; how many helpers are done; the addresses of five functions of libc; a
mutex and a condition; and a ticket for each helper, which goes up when there is work for it. So helpers that are not
needed for a piece of work see nothing of it. A helper looks at its ticket for some microseconds, as one step of a
training loop follows another, and then sleeps.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any, Final

from . import native
from .native import Code

CALLS: Final = (
    "pthread_mutex_lock",
    "pthread_mutex_unlock",
    "pthread_cond_wait",
    "pthread_cond_broadcast",
    "sched_yield",
)
LOOKS: Final = 200  # at a ticket, one after the other
CALM: Final = 100  # more of them, between which others may have the processor
DONE, TABLE, MUTEX, CONDITION, TICKETS, LINE = 64, 128, 192, 256, 320, 64  # where things are in the memory of a pool

_PLACES: Final = f"""\
  %mutex = getelementptr i8, ptr %pool, i64 {MUTEX}
  %condition = getelementptr i8, ptr %pool, i64 {CONDITION}
  %table = getelementptr i8, ptr %pool, i64 {TABLE}
  %done = getelementptr i8, ptr %pool, i64 {DONE}
  %to_lock = load ptr, ptr %table
  %at1 = getelementptr ptr, ptr %table, i64 1
  %to_unlock = load ptr, ptr %at1
  %at4 = getelementptr ptr, ptr %table, i64 4
  %calm = load i64, ptr %at4
  %to_calm = inttoptr i64 %calm to ptr
  %arena_at = getelementptr ptr, ptr %pool, i64 1
  %threads_at = getelementptr i64, ptr %pool, i64 2
"""  # what both functions know of a pool

TEXT: Final = f"""\
define i32 @nothing(ptr %arena, i64 %number, i64 %threads, i64 %calm) {{
  ret i32 -1
}}

define void @serve(ptr %pool, i64 %number) {{
entry:
  %line = mul i64 %number, {LINE}
  %own = add i64 %line, {TICKETS}
  %ticket = getelementptr i8, ptr %pool, i64 %own
{_PLACES}  %at2 = getelementptr ptr, ptr %table, i64 2
  %to_wait = load ptr, ptr %at2
  br label %ready
ready:
  %served = phi i64 [ 0, %entry ], [ %now, %work ]
  br label %look
look:
  %looks = phi i64 [ 0, %ready ], [ %more, %patient ], [ %more, %calming ]
  %seen = load atomic i64, ptr %ticket acquire, align 64
  %same = icmp eq i64 %seen, %served
  br i1 %same, label %patient, label %work
patient:
  %more = add i64 %looks, 1
  %soon = icmp ult i64 %more, {LOOKS}
  br i1 %soon, label %look, label %tired
tired:
  %later = icmp ult i64 %more, {LOOKS + CALM}
  br i1 %later, label %calming, label %asleep
calming:
  %ignored = call i32 %to_calm()
  br label %look
asleep:
  %locked = call i32 %to_lock(ptr %mutex)
  br label %listen
listen:
  %heard = load atomic i64, ptr %ticket acquire, align 64
  %none = icmp eq i64 %heard, %served
  br i1 %none, label %sleep, label %awake
sleep:
  %woken = call i32 %to_wait(ptr %condition, ptr %mutex)
  br label %listen
awake:
  %unlocked = call i32 %to_unlock(ptr %mutex)
  br label %work
work:
  %now = phi i64 [ %seen, %look ], [ %heard, %awake ]
  %function = load ptr, ptr %pool
  %arena = load ptr, ptr %arena_at
  %threads = load i64, ptr %threads_at
  %code = call i32 %function(ptr %arena, i64 %number, i64 %threads, i64 %calm)
  %before = atomicrmw add ptr %done, i64 1 release
  %over = icmp eq i32 %code, -1
  br i1 %over, label %leave, label %ready
leave:
  ret void
}}

define i32 @lead(ptr %pool, ptr %function, ptr %arena, i64 %threads) {{
entry:
{_PLACES}  %at3 = getelementptr ptr, ptr %table, i64 3
  %to_wake = load ptr, ptr %at3
  store ptr %function, ptr %pool
  store ptr %arena, ptr %arena_at
  store i64 %threads, ptr %threads_at
  store atomic i64 0, ptr %done monotonic, align 64
  %locked = call i32 %to_lock(ptr %mutex)
  br label %hand
hand:
  %helper = phi i64 [ 1, %entry ], [ %next, %give ]
  %last = icmp eq i64 %helper, %threads
  br i1 %last, label %begin, label %give
give:
  %line = mul i64 %helper, {LINE}
  %own = add i64 %line, {TICKETS}
  %ticket = getelementptr i8, ptr %pool, i64 %own
  %before = atomicrmw add ptr %ticket, i64 1 release
  %next = add i64 %helper, 1
  br label %hand
begin:
  %unlocked = call i32 %to_unlock(ptr %mutex)
  %woken = call i32 %to_wake(ptr %condition)
  %code = call i32 %function(ptr %arena, i64 0, i64 %threads, i64 %calm)
  %others = sub i64 %threads, 1
  br label %wait
wait:
  %looks = phi i64 [ 0, %begin ], [ %more, %patient ], [ %more, %calming ]
  %ready = load atomic i64, ptr %done acquire, align 64
  %all = icmp eq i64 %ready, %others
  br i1 %all, label %leave, label %patient
patient:
  %more = add i64 %looks, 1
  %soon = icmp ult i64 %more, {LOOKS}
  br i1 %soon, label %wait, label %calming
calming:
  %ignored = call i32 %to_calm()
  br label %wait
leave:
  ret i32 %code
}}
"""

NUMBER: Final = ctypes.c_int64
PLACE: Final = ctypes.c_void_p
THREADED: Final = ctypes.CFUNCTYPE(ctypes.c_int32, PLACE, NUMBER, NUMBER, NUMBER)  # code that several threads run
_SERVE: Final = ctypes.CFUNCTYPE(None, PLACE, NUMBER)
_LEAD: Final = ctypes.CFUNCTYPE(ctypes.c_int32, PLACE, PLACE, PLACE, NUMBER)


class Pool:
    """The memory of a pool, for so many helpers, and its functions. Raises OSError where there are no such threads."""

    def __init__(self, helpers: int) -> None:
        library: Any = ctypes.CDLL(None) if os.name == "posix" else None
        if not all(hasattr(library, name) for name in CALLS):
            raise OSError("no POSIX threads")
        size = TICKETS + LINE * (helpers + 1)
        self.memory = ctypes.create_string_buffer(size + LINE)
        self.address = ctypes.addressof(self.memory) + -ctypes.addressof(self.memory) % LINE
        library.pthread_mutex_init(PLACE(self.address + MUTEX), None)
        library.pthread_cond_init(PLACE(self.address + CONDITION), None)
        table = (PLACE * len(CALLS)).from_address(self.address + TABLE)
        table[:] = [ctypes.cast(getattr(library, name), PLACE).value for name in CALLS]
        self.code = _code()
        serve, lead, nothing = map(self.code.engine.get_function_address, ("serve", "lead", "nothing"))
        self._serve, self._lead, self._nothing = _SERVE(serve), _LEAD(lead), nothing

    def serve(self, number: int) -> None:
        """Be the helper of this number, from 1."""
        self._serve(self.address, number)

    def lead(self, function: int, arena: int, threads: int) -> int:
        """Run a function with so many threads, this one the first."""
        return int(self._lead(self.address, function, arena, threads))

    def end(self, threads: int) -> None:
        """Let helpers leave."""
        self._lead(self.address, self._nothing, None, threads)


@cache
def _code() -> Code:
    target = native.host()
    return native.load(native.object_code(TEXT, target), "lead", target)
