"""The LLVM function of a schedule: kernels in order, repetitions around them.

The time to compile a function grows faster than its length: to place values in registers alone takes the square of its
loops. So what stands under a condition is a function of its own, and so are kernels beyond `PART` lines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ...loopir.ir import TAIL, Access, Kernel, Var
from ...loopir.program import Region, Repeat, Span, When
from ...schedule.schedule import Schedule
from ...schedule.sharing import Shared
from .kernel import KernelWriter
from .place import Env
from .writer import TYPES, Level, Val, Writer, literal

PART: Final = 3000  # lines of a function from which more kernels go to another


def write_function(schedule: Schedule, name: str = "run") -> str:
    """The LLVM IR of a schedule: `i32 name(ptr arena)`, 0 or the code of the check that failed."""
    writer, functions = Writer(), list[str]()
    shared = {kernel: one for one in schedule.shared for kernel in one.calls}
    run = Function(schedule, writer, functions, shared, {})
    run.write(f"i32 @{name}(ptr noalias %arena)", schedule.program.regions, {}, None)
    bits = 8 * schedule.width
    attributes = f'attributes #0 = {{ nounwind "prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}" }}'
    return "\n".join([*functions, *writer.declared.values(), "", attributes, ""])


class Function:
    """The body of a function while it is written."""

    def __init__(
        self,
        schedule: Schedule,
        writer: Writer,
        functions: list[str],
        shared: Mapping[Kernel, Shared],
        names: dict[Shared, str],
    ) -> None:
        """`functions` and `names` grow: what is written already, and what it is called."""
        self.schedule, self.writer, self.functions, self.shared, self.names = schedule, writer, functions, shared, names
        self.lines: list[str] = []
        self.block = "entry"
        self.failures: list[int] = []

    def write(self, head: str, regions: Sequence[Region], variables: dict[Var, Val | int], tail: Val | None) -> None:
        """Add the function of regions to `functions`, after those it calls."""
        self.regions(regions, variables, tail)
        self.finish(head)

    def finish(self, head: str) -> None:
        """Add what is written to `functions`."""
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
        rest = deque(self.schedule.program.kernels[span.start : span.stop])
        self.kernels(rest, variables, tail)
        while rest:
            done = self.writer.name("done")
            part = self.call("part", variables, tail, done, lambda one: one.kernels(rest, variables, tail))
            self.lines += [*part, f"{done}:"]
            self.block = done

    def kernels(self, rest: deque[Kernel], variables: dict[Var, Val | int], tail: Val | None) -> None:
        """Write, and take away, as many kernels as this function has room for."""
        while rest and len(self.lines) < PART:
            kernel = rest.popleft()
            if kernel in self.shared:
                self.lines.append(self.shared_call(kernel, variables, tail))
                continue
            level = Level([], self.block)
            self.writer.levels = [level]
            env = Env(dict(variables), {} if tail is None else {TAIL: tail})
            KernelWriter(self.writer, self.schedule, kernel, self.exit).body(kernel.body, [env])
            self.lines += [f"  ; {kernel.name}", *level.lines]
            self.block = level.block

    def call(
        self, name: str, variables: dict[Var, Val | int], tail: Val | None, done: str, fill: Callable[[Function], None]
    ) -> list[str]:
        """The lines that call a new function, filled by `fill`, and go to `done`, or leave with its code.

        What it knows of the repetitions around it has the same names there.
        """
        name, left, code, whole = (self.writer.name(one) for one in (name, "left", "v", "v"))
        known = [f"{one.type} {one.text}" for one in (*variables.values(), tail) if isinstance(one, Val)]
        inner = Function(self.schedule, self.writer, self.functions, self.shared, self.names)
        fill(inner)
        inner.finish(f"internal i32 @{name}({', '.join(['ptr noalias %arena', *known])})")
        return [
            f"  %{code} = call i32 @{name}({', '.join(['ptr %arena', *known])})",
            f"  %{whole} = icmp eq i32 %{code}, 0",
            f"  br i1 %{whole}, label %{done}, label %{left}",
            f"{left}:",
            f"  ret i32 %{code}",
        ]

    def shared_call(self, kernel: Kernel, variables: Mapping[Var, Val | int], tail: Val | None) -> str:
        """The line that calls the function of a kernel, which is written where it is called first."""
        one = self.shared[kernel]
        call = one.calls[kernel]
        if one not in self.names:
            self.names[one] = self.shared_function(one)
        starts = [f"i64 {self.schedule.offsets[buffer]}" for buffer in call.buffers]
        places = [f"i64 {at.text if isinstance(at := variables[var], Val) else at}" for var in call.variables]
        numbers = [f"{value.type} {value.text}" for value in (literal(x.value, x.dtype) for x in call.numbers)]
        short = ["i1 false" if tail is None else f"i1 {tail.text}"] * one.tail
        return f"  call void @{self.names[one]}({', '.join(['ptr %arena', *starts, *places, *numbers, *short])})"

    def shared_function(self, one: Shared) -> str:
        """Write the function of several kernels; its name."""
        name = self.writer.name("shared")
        variables = {var: Val(f"%at{k}", "i64") for k, var in enumerate(one.variables)}
        registers = {x.value: Val(f"%number{k}", TYPES[x.dtype]) for k, x in enumerate(one.numbers)}
        if one.tail:
            registers[TAIL] = Val("%tail", "i1")
        starts = {buffer: f"%start{k}" for k, buffer in enumerate(one.buffers)}
        given = [*(f"i64 {start}" for start in starts.values()), *(f"i64 {at.text}" for at in variables.values())]
        given += [f"{value.type} {value.text}" for value in registers.values()]
        level = Level([], "entry")
        self.writer.levels = [level]
        writer = KernelWriter(self.writer, self.schedule, one.kernel, self.exit, starts)
        writer.body(one.kernel.body, [Env({**variables}, registers)])
        head = f"define internal void @{name}({', '.join(['ptr noalias %arena', *given])}) #0 {{"
        self.functions += [head, "entry:", f"  ; {one.kernel.name}", *level.lines, "  ret void", "}", ""]
        return name

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
        """Regions that may be passed over."""
        value = self.element(region.element, variables)
        yes, done, flag = (self.writer.name(one) for one in ("yes", "done", "v"))
        self.lines += [
            f"  %{flag} = icmp eq i64 {value.text}, {region.value}",
            f"  br i1 %{flag}, label %{yes}, label %{done}",
            f"{yes}:",
        ]
        self.block = yes
        if region.tail is not None:
            short = self.element(region.tail, variables)
            tail = Val(f"%{self.writer.name('tail')}", "i1")
            self.lines += [f"  {tail.text} = icmp ne i64 {short.text}, 0"]
        self.lines += self.call("case", variables, tail, done, lambda one: one.regions(region.body, variables, tail))
        self.lines += [f"{done}:"]
        self.block = done
