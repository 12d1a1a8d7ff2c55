"""The LLVM function of a schedule: kernels in order, repetitions around them.

What stands under a condition is a function of its own, because the time to compile one grows faster than its length.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..loopir import TAIL, Access, Var
from ..program import Region, Repeat, Span, When
from ..schedule import Schedule
from .kernel import KernelWriter
from .place import Env
from .writer import Level, Val, Writer


def write_function(schedule: Schedule, name: str = "run") -> str:
    """The LLVM IR of a schedule: `i32 name(ptr arena)`, 0 or the code of the check that failed."""
    writer, functions = Writer(), list[str]()
    Function(schedule, writer, functions).write(f"i32 @{name}(ptr noalias %arena)", schedule.program.regions, {}, None)
    bits = 8 * schedule.width
    attributes = f'attributes #0 = {{ nounwind "prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}" }}'
    return "\n".join([*functions, *writer.declared.values(), "", attributes, ""])


class Function:
    """The body of a function while it is written."""

    def __init__(self, schedule: Schedule, writer: Writer, functions: list[str]) -> None:
        self.schedule, self.writer, self.functions = schedule, writer, functions
        self.lines: list[str] = []
        self.block = "entry"
        self.failures: list[int] = []

    def write(self, head: str, regions: Sequence[Region], variables: dict[Var, Val | int], tail: Val | None) -> None:
        """Add the function of regions to `functions`, after those it calls."""
        self.regions(regions, variables, tail)
        leave = [line for code in dict.fromkeys(self.failures) for line in (f"fail{code}:", f"  ret i32 {code}")]
        self.functions += [f"define {head} #0 {{", "entry:", *self.lines, "  ret i32 0", *leave, "}", ""]

    def regions(self, regions: Sequence[Region], variables: dict[Var, Val | int], tail: Val | None) -> None:
        """Write regions inside of repetitions whose variables have these values."""
        for region in regions:
            if isinstance(region, Span):
                self.span(region, variables, tail)
            elif isinstance(region, Repeat):
                self.repeat(region, variables, tail)
            else:
                self.when(region, variables, tail)

    def span(self, span: Span, variables: dict[Var, Val | int], tail: Val | None) -> None:
        """Kernel after kernel."""
        for kernel in self.schedule.program.kernels[span.start : span.stop]:
            level = Level([], self.block)
            self.writer.levels = [level]
            env = Env(dict(variables), {} if tail is None else {TAIL: tail})
            KernelWriter(self.writer, self.schedule, kernel, self.exit).body(kernel.body, [env])
            self.lines += [f"  ; {kernel.name}", *level.lines]
            self.block = level.block

    def exit(self, code: int) -> str:
        """The label to leave by when a check fails."""
        self.failures.append(code)
        return f"fail{code}"

    def element(self, access: Access, variables: dict[Var, Val | int]) -> Val:
        """The value of an integer element."""
        level = Level([], self.block)
        self.writer.levels = [level]
        kernel = self.schedule.program.kernels[0]
        value = KernelWriter(self.writer, self.schedule, kernel, self.exit).load(access, Env(dict(variables), {}))
        self.lines += level.lines
        return value

    def repeat(self, region: Repeat, variables: dict[Var, Val | int], tail: Val | None) -> None:
        """A loop whose count may be known only when it runs."""
        name = self.writer.name
        count = str(region.var.extent) if region.count is None else self.element(region.count, variables).text
        head, body, done, value = name("rep"), name("body"), name("done"), f"%{name('n')}"
        following = f"%{name('v')}"
        before = self.block
        place = len(self.lines)
        self.block = body
        self.regions(
            region.body, {**variables, region.var: Val(value, "i64")}, self._tail(region, value, count) or tail
        )
        again = f"%{name('v')}"
        begin = [
            f"  br label %{head}",
            f"{head}:",
            f"  {value} = phi i64 [ 0, %{before} ], [ {following}, %{self.block} ]",
            f"  {again} = icmp slt i64 {value}, {count}",
            f"  br i1 {again}, label %{body}, label %{done}",
            f"{body}:",
        ]
        self.lines[place:place] = begin
        self.lines += [f"  {following} = add i64 {value}, 1", f"  br label %{head}", f"{done}:"]
        self.block = done

    def _tail(self, region: Repeat, value: str, count: str) -> Val | None:
        """Whether the round is the last one."""
        if not region.tail:
            return None
        last, flag = f"%{self.writer.name('v')}", f"%{self.writer.name('tail')}"
        self.lines += [f"  {last} = sub i64 {count}, 1", f"  {flag} = icmp eq i64 {value}, {last}"]
        return Val(flag, "i1")

    def when(self, region: When, variables: dict[Var, Val | int], tail: Val | None) -> None:
        """Regions that may be passed over; what they know of the repetitions around them has the same names there."""
        name = self.writer.name
        value = self.element(region.element, variables)
        yes, left, done, case = name("yes"), name("left"), name("done"), name("case")
        flag, code, whole = (f"%{name('v')}" for _ in range(3))
        self.lines += [
            f"  {flag} = icmp eq i64 {value.text}, {region.value}",
            f"  br i1 {flag}, label %{yes}, label %{done}",
            f"{yes}:",
        ]
        self.block = yes
        if region.tail is not None:
            short = self.element(region.tail, variables)
            tail = Val(f"%{name('tail')}", "i1")
            self.lines += [f"  {tail.text} = icmp ne i64 {short.text}, 0"]
        known = [f"{one.type} {one.text}" for one in (*variables.values(), tail) if isinstance(one, Val)]
        head = f"internal i32 @{case}({', '.join(['ptr noalias %arena', *known])})"
        Function(self.schedule, self.writer, self.functions).write(head, region.body, variables, tail)
        self.lines += [
            f"  {code} = call i32 @{case}({', '.join(['ptr %arena', *known])})",
            f"  {whole} = icmp eq i32 {code}, 0",
            f"  br i1 {whole}, label %{done}, label %{left}",
            f"{left}:",
            f"  ret i32 {code}",
            f"{done}:",
        ]
        self.block = done
