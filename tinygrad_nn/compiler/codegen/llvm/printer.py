"""Prints expanded code as LLVM IR, statement by statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from ....graph.scalar import BOOL, FLOAT64
from ...expand.code import (
    Alone,
    Barrier,
    Block,
    Call,
    Check,
    Expanded,
    Function,
    Gemm,
    Loop,
    Part,
    Statement,
    Store,
    Value,
    When,
)
from .meeting import meeting
from .operations import OPERATIONS, mangled, memory
from .ranges import BEGIN, END, SHARED
from .text import Text, literal, vector

NONE: Final[Mapping[Value, str]] = MappingProxyType({})


def print_llvm(expanded: Expanded, name: str = "run") -> str:
    """The LLVM IR of expanded code: `i32 name(ptr arena)`, 0 or the number of the check that failed. Threads give more:
    `i32 name(ptr arena, i64 number, i64 threads, i64 calm)`.
    """
    schedule = expanded.schedule
    printer = Printer(Text(schedule.offsets))
    printer.t.names |= {value: f"%{printer.t.fresh('given')}" for value in expanded.given}
    given = ["ptr noalias %arena", *map(printer.t.operand, expanded.given)]
    if schedule.meeting is not None:
        printer.functions.append(meeting(schedule.meeting))
    printer.function(f"i32 @{name}({', '.join(given)})", expanded.body)
    bits = 8 * schedule.width
    attributes = f'attributes #0 = {{ nounwind "prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}" }}'
    return "\n".join([*printer.functions, *printer.t.declared.values(), "", attributes, ""])


class Printer:
    """The functions printed so far, and the text of the one that is being printed."""

    def __init__(self, text: Text) -> None:
        self.t = text
        self.functions: list[str] = []
        self.shared: dict[Function, str] = {}

    def function(
        self, head: str, body: Sequence[Statement], result: str = "i32 0", starts: Mapping[Value, str] = NONE
    ) -> None:
        """A function; those it calls come before it. Buffers that begin where it is told are its `starts`."""
        t = self.t
        around = t.lines, t.block, t.failures, t.slots
        t.lines, t.block, t.failures, t.slots = [], "entry", {}, []
        t.names |= {start: t.emit(f"getelementptr inbounds i8, ptr %arena, i64 {at}") for start, at in starts.items()}
        self.body(body)
        leave = [line for code, label in t.failures.items() for line in (f"{label}:", f"  ret i32 {code}")]
        self.functions += [f"define {head} #0 {{", "entry:", *t.slots, *t.lines, f"  ret {result}", *leave, "}", ""]
        t.lines, t.block, t.failures, t.slots = around

    def body(self, body: Sequence[Statement]) -> None:
        """Statements in order."""
        t = self.t
        names = t.names
        for one in body:
            if isinstance(one, Value):
                names[one] = OPERATIONS[one.op](t, one, [names[arg] for arg in one.args])
            else:
                _PRINT[type(one)](self, one)

    def block(self, one: Block) -> None:
        """A kernel."""
        self.t.lines.append(f"{BEGIN}{one.name}")
        self.body(one.body)
        self.t.lines.append(END)

    def store(self, one: Store) -> None:
        """A bool in memory is a byte."""
        t, value, address = self.t, one.value, one.address
        element, align = memory(value.dtype), value.dtype.itemsize
        kind, text = vector(element, value.lanes), t.names[value]
        if value.dtype == BOOL:
            text = t.emit(f"zext {t.type(value)} {text} to {kind}")
        if one.mask is None:
            t.line(f"store {kind} {text}, ptr {t.names[address]}, align {align}")
            return
        what, places = ("scatter", f"v{value.lanes}p0") if address.lanes else ("store", "p0")
        name = f"llvm.masked.{what}.{mangled(element, value.lanes)}.{places}"
        t.call(name, "void", (kind, text), t.typed(address), ("i32", str(align)), t.typed(one.mask))

    def check(self, one: Check) -> None:
        """Leave the function where the condition holds."""
        good, bad = self.t.fresh("good"), self.t.failures.setdefault(one.code, f"fail{one.code}")
        self.t.line(f"br i1 {self.t.names[one.wrong]}, label %{bad}, label %{good}")
        self.t.label(good)

    def loop(self, one: Loop) -> None:
        """Tested at the end, or first where it may be empty."""
        t = self.t
        head, exit_ = t.fresh("head"), t.fresh("exit")
        counter, following = f"%{t.fresh('i')}", f"%{t.fresh()}"
        t.names[one.counter] = counter
        before, stop = t.block, t.names[one.stop]
        begin = "0" if one.start is None else t.names[one.start]
        t.line(f"br label %{head}")
        t.label(head)
        start = len(t.lines)
        for carried in one.carried:
            t.names[carried.inside] = f"%{t.fresh('r')}"
        if one.may_be_empty:
            body = t.fresh("body")
            again = t.emit(f"icmp slt i64 {counter}, {stop}")
            t.line(f"br i1 {again}, label %{body}, label %{exit_}")
            t.label(body)
        self.body(one.body)
        t.line(f"{following} = add i64 {counter}, {one.step}")
        if one.may_be_empty:
            t.line(f"br label %{head}")
        else:
            again = t.emit(f"icmp slt i64 {following}, {stop}")
            t.line(f"br i1 {again}, label %{head}, label %{exit_}")
        phis = [f"  {counter} = phi i64 [ {begin}, %{before} ], [ {following}, %{t.block} ]"]
        for first, inside, after, result in one.carried:
            edges = f"[ {t.names[first]}, %{before} ], [ {t.names[after]}, %{t.block} ]"
            phis.append(f"  {t.names[inside]} = phi {t.type(inside)} {edges}")
            t.names[result] = t.names[after]
        t.lines[start:start] = phis
        t.label(exit_)

    def when(self, one: When) -> None:
        """Steps that may be passed over."""
        t = self.t
        yes, done = t.fresh("yes"), t.fresh("done")
        t.line(f"br i1 {t.names[one.condition]}, label %{yes}, label %{done}")
        t.label(yes)
        self.body(one.body)
        t.line(f"br label %{done}")
        t.label(done)

    def part(self, one: Part) -> None:
        """A function of its own, in which values have the same names; leave with its code if that is not 0."""
        t = self.t
        name, left, done = t.fresh(one.name), t.fresh("left"), t.fresh("done")
        self.leave_with(self.called(one, name), left, done)

    def called(self, one: Part, name: str) -> str:
        """The code of a function of its own."""
        t = self.t
        known = [*map(t.operand, one.known)]
        self.function(f"internal i32 @{name}({', '.join(['ptr noalias %arena', *known])})", one.body)
        return t.emit(f"call i32 @{name}({', '.join(['ptr %arena', *known])})")

    def leave_with(self, code: str, left: str, done: str) -> None:
        """Leave with a code if that is not 0."""
        t = self.t
        whole = t.emit(f"icmp eq i32 {code}, 0")
        t.line(f"br i1 {whole}, label %{done}, label %{left}")
        t.label(left)
        t.line(f"ret i32 {code}")
        t.label(done)

    def alone(self, one: Alone) -> None:
        """The code of the first thread goes to the place where they meet."""
        t = self.t
        yes, done = t.fresh("yes"), t.fresh("done")
        t.line(f"br i1 {t.names[one.first]}, label %{yes}, label %{done}")
        t.label(yes)
        t.line(f"call void @leave(ptr %arena, i32 {self.called(one.part, t.fresh(one.part.name))})")
        t.line(f"br label %{done}")
        t.label(done)

    def barrier(self, one: Barrier) -> None:
        """Wait; leave with the code that all find."""
        t = self.t
        code = t.emit(f"call i32 @barrier(ptr %arena, {t.operand(one.threads)}, {t.operand(one.calm)})")
        self.leave_with(code, t.fresh("left"), t.fresh("done"))

    def call(self, one: Call) -> None:
        """A function of addresses, which is printed where it is called first."""
        t = self.t
        name = self.shared.get(one.function) or self.shared_function(one.function)
        starts = [f"i64 {t.offsets[buffer]}" for buffer in one.buffers]
        t.lines.append(f"{BEGIN}{one.name}")
        t.line(f"call void @{name}({', '.join(['ptr %arena', *starts, *map(t.operand, one.given)])})")
        t.lines.append(END)

    def shared_function(self, one: Function) -> str:
        """Print a function of addresses; its name."""
        t = self.t
        name = self.shared[one] = t.fresh(SHARED)
        starts = {start: f"%{t.fresh('start')}" for start in one.starts}
        t.names |= {value: f"%{t.fresh('given')}" for value in one.given}
        known = ["ptr noalias %arena", *(f"i64 {start}" for start in starts.values()), *map(t.operand, one.given)]
        self.function(f"internal void @{name}({', '.join(known)})", [Block(name, one.body)], "void", starts)
        return name

    def gemm(self, one: Gemm) -> None:
        """Call a BLAS. It is Fortran's and stores columns, so it is given y.T @ x.T, which is target.T. It takes all by
        reference: sizes, letters and factors are constants of the module.
        """
        t, dtype, (m, n, k) = self.t, one.target.dtype, one.sizes
        letter, kind = ("d", "double") if dtype == FLOAT64 else ("s", "float")
        step_x, step_y = m if one.tx else k, k if one.ty else n
        table = f"gemm_{letter}_{int(one.ty)}{int(one.tx)}_{n}_{m}_{k}_{step_y}_{step_x}"
        numbers = ", ".join(f"i32 {number}" for number in (n, m, k, step_y, step_x, n))
        letters = "".join("T" if flag else "N" for flag in (one.ty, one.tx))
        factors = ", ".join(f"{kind} {literal(value, dtype)}" for value in (1.0, 0.0))
        t.declared[table] = f"@{table} = private constant [6 x i32] [{numbers}]"
        t.declared[f"{table}_l"] = f'@{table}_l = private constant [2 x i8] c"{letters}"'
        t.declared[f"{table}_f"] = f"@{table}_f = private constant [2 x {kind}] [{factors}]"

        def entry(name: str, size: int, position: int) -> str:
            return f"ptr getelementptr (i8, ptr @{name}, i64 {size * position})"

        letter_y, letter_x = (entry(f"{table}_l", 1, position) for position in (0, 1))
        alpha, beta = (entry(f"{table}_f", dtype.itemsize, position) for position in (0, 1))
        columns, rows, inner, lead_y, lead_x, lead = (entry(table, 4, position) for position in range(6))
        x, y, target = map(t.operand, (one.x, one.y, one.target))
        if one.part is not None:
            axis, first, last = one.part
            slot = f"%{t.fresh('slot')}"
            t.slots.append(f"  {slot} = alloca i32")
            size = t.emit(f"sub i64 {t.names[last]}, {t.names[first]}")
            t.line(f"store i32 {t.emit(f'trunc i64 {size} to i32')}, ptr {slot}")

            def moved(what: str, step: int) -> str:
                offset = t.emit(f"mul i64 {t.names[first]}, {step}")
                return f"ptr {t.emit(f'getelementptr {kind}, {what}, i64 {offset}')}"

            if axis == 0:
                rows, x, target = f"ptr {slot}", moved(x, 1 if one.tx else k), moved(target, n)
            else:
                columns, y, target = f"ptr {slot}", moved(y, k if one.ty else 1), moved(target, 1)
        arguments = (letter_y, letter_x, columns, rows, inner, alpha, y, lead_y, x, lead_x, beta, target, lead)
        function = t.emit(f"inttoptr i64 {t.names[one.function]} to ptr")
        t.line(f"call void {function}({', '.join(arguments)})")


_PRINT: Final[dict[type, Callable[[Printer, Any], None]]] = {
    Block: Printer.block,
    Store: Printer.store,
    Check: Printer.check,
    Loop: Printer.loop,
    When: Printer.when,
    Part: Printer.part,
    Call: Printer.call,
    Gemm: Printer.gemm,
    Alone: Printer.alone,
    Barrier: Printer.barrier,
}
