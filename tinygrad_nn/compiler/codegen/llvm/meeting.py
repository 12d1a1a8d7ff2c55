"""Where threads meet, as text: three words of the arena, each in a line of memory of its own.

    arrived   how many threads wait
    round     how often they have met; its lower half is the code of the check that ended the run, 0 if none did
    code      what the first thread, which alone runs checks, left

The last one to arrive takes the code away and opens the next round with it, in one store, so that all find the same.
The others look so often and then call a function, again and again, that lets other threads have their processor.
"""

from __future__ import annotations

from typing import Final

LOOKS: Final = 200  # before a thread calms down: less than a microsecond

MEETING: Final = f"""\
define internal void @leave(ptr %arena, i32 %code) #0 {{
  %place = getelementptr inbounds i8, ptr %arena, i64 CODE
  store i32 %code, ptr %place, align 64
  ret void
}}

define internal i32 @barrier(ptr %arena, i64 %threads, i64 %calm) #0 {{
entry:
  %arrived = getelementptr inbounds i8, ptr %arena, i64 ARRIVED
  %round = getelementptr inbounds i8, ptr %arena, i64 ROUND
  %before = load atomic i64, ptr %round monotonic, align 64
  %others = atomicrmw add ptr %arrived, i64 1 acq_rel
  %all = add i64 %others, 1
  %last = icmp eq i64 %all, %threads
  br i1 %last, label %open, label %wait
open:
  %place = getelementptr inbounds i8, ptr %arena, i64 CODE
  %code = load i32, ptr %place, align 64
  %found = zext i32 %code to i64
  %met = lshr i64 %before, 32
  %again = add i64 %met, 1
  %high = shl i64 %again, 32
  %now = or i64 %high, %found
  store i32 0, ptr %place, align 64
  store atomic i64 0, ptr %arrived monotonic, align 64
  store atomic i64 %now, ptr %round release, align 64
  ret i32 %code
wait:
  %looks = phi i64 [ 0, %entry ], [ %more, %patient ], [ %more, %calming ]
  %seen = load atomic i64, ptr %round acquire, align 64
  %same = icmp eq i64 %seen, %before
  br i1 %same, label %patient, label %done
patient:
  %more = add i64 %looks, 1
  %soon = icmp ult i64 %more, {LOOKS}
  br i1 %soon, label %wait, label %calming
calming:
  %function = inttoptr i64 %calm to ptr
  %ignored = call i32 %function()
  br label %wait
done:
  %result = trunc i64 %seen to i32
  ret i32 %result
}}
"""


def meeting(place: int) -> str:
    """The functions `leave` and `barrier`, for a place in the arena."""
    words = {"ARRIVED": place, "ROUND": place + 64, "CODE": place + 128}
    text = MEETING
    for word, at in words.items():
        text = text.replace(word, str(at))
    return text
