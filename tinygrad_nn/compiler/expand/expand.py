"""The steps of a whole schedule: kernels in order, repetitions and conditions around them.

The time to compile a function grows faster than its length: to place values in registers alone takes the square of its
loops. So what stands under a condition is a function of its own, and so are kernels beyond `PART` steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from ...graph.scalar import BOOL, INT64
from ..loopir.ir import TAIL, Access, Buffer, Kernel, Var
from ..loopir.program import Crew, Phase, Region, Repeat, Span, When
from ..schedule.schedule import Schedule
from ..schedule.sharing import Shared
from .builder import Builder
from .code import Alone, Barrier, Block, Call, Expanded, Function, Loop, Part, Statement, Value
from .code import When as Condition
from .kernel import Env, Expansion

PART: Final = 3000  # steps of a function from which more kernels go to another


def expand(schedule: Schedule, lanes: int | None = None) -> Expanded:
    """A schedule as explicit steps, for vectors of its width or of so many lanes."""
    expander = Expander(schedule, lanes)
    given = () if schedule.meeting is None else tuple(Value("given", (), INT64, 0, 0, None) for _ in range(3))
    body = expander.regions(schedule.program.regions, Scope({}, None, given))
    return Expanded(schedule, tuple(body), given)


@dataclass(frozen=True, slots=True)
class Scope:
    """What is known around a region: the rounds of repetitions, and whether the batch is the short last one; of
    several threads the number of this one, how many there are, and what they call when they have to wait long.
    """

    rounds: dict[Var, Value]
    tail: Value | None
    threads: tuple[Value, ...] = ()

    @property
    def known(self) -> tuple[Value, ...]:
        """All of it."""
        tail = () if self.tail is None else (self.tail,)
        return (*dict.fromkeys((*self.threads, *self.rounds.values())), *tail)

    @property
    def env(self) -> Env:
        """As kernels begin."""
        return Env(dict(self.rounds), {} if self.tail is None else {TAIL: self.tail})


class Expander:
    """A schedule while it is expanded; `size` counts the steps of the function that is being made."""

    def __init__(self, schedule: Schedule, lanes: int | None) -> None:
        self.schedule, self.lanes = schedule, lanes
        self.b = Builder()
        self.size = 0
        self.shared = {kernel: one for one in schedule.shared for kernel in one.calls}
        self.functions: dict[Shared, Function] = {}

    def regions(self, regions: Sequence[Region], scope: Scope) -> list[Statement]:
        """Regions in order."""
        body: list[Statement] = []
        for region in regions:
            if isinstance(region, Span):
                body += self.span(region, scope)
            elif isinstance(region, Repeat):
                body += self.repeat(region, scope)
            elif isinstance(region, Crew):
                rounds = {**scope.rounds, region.var: scope.threads[0]}
                body += self.regions(region.body, replace(scope, rounds=rounds))
            elif isinstance(region, Phase):
                body += self.phase(region, scope)
            else:
                body += self.when(region, scope)
        return body

    def span(self, span: Span, scope: Scope) -> list[Statement]:
        """Kernel after kernel."""
        rest = deque(self.schedule.program.kernels[span.start : span.stop])
        body: list[Statement] = [*self.blocks(rest, scope)]
        while rest:
            body.append(self.part("part", scope, lambda: self.blocks(rest, scope)))
        return body

    def blocks(self, rest: deque[Kernel], scope: Scope) -> list[Statement]:
        """As many kernels, taken away from the front, as the function has room for."""
        blocks: list[Statement] = []
        while rest and self.size < PART:
            kernel = rest.popleft()
            if kernel in self.shared:
                blocks.append(self.call(kernel, self.shared[kernel], scope))
                self.size += 1
                continue
            body = self.b.begin()
            Expansion(self.b, self.schedule, kernel, self.lanes, scope.threads).body(kernel.body, [scope.env])
            blocks.append(Block(kernel.name, tuple(body)))
            self.size += self.b.made
        return blocks

    def part(self, name: str, scope: Scope, fill: Callable[[], list[Statement]]) -> Part:
        """A function of its own."""
        size, self.size = self.size, 0
        body = fill()
        self.size = size
        return Part(name, scope.known, tuple(body))

    def call(self, kernel: Kernel, one: Shared, scope: Scope) -> Call:
        """A kernel that shares its function with others."""
        if one not in self.functions:
            self.functions[one] = self.function(one, scope)
        b, call, offsets = self.b, one.calls[kernel], self.schedule.offsets
        buffers: dict[int, Buffer] = {}
        for buffer in call.buffers:
            buffers.setdefault(offsets[buffer], buffer)
        given = [scope.rounds[var] for var in call.variables]
        given += [b.const(number.value, number.dtype) for number in call.numbers]
        given += [b.const(False, BOOL) if scope.tail is None else scope.tail] * one.tail
        given += scope.threads
        return Call(self.functions[one], tuple(buffers.values()), tuple(given), kernel.name)

    def function(self, one: Shared, scope: Scope) -> Function:
        """The function of several kernels, whose buffers lie in one place where those of the others do."""
        b, offsets = self.b, self.schedule.offsets
        body = b.begin()
        starts = dict.fromkeys(b.start(buffer, offsets[buffer]) for buffer in one.buffers)
        body.clear()  # they are given
        rounds = {var: Value("given", (), INT64, 0, 0, None) for var in one.variables}
        registers = {number.value: Value("given", (), number.dtype, 0, 0, None) for number in one.numbers}
        if one.tail:
            registers[TAIL] = Value("given", (), BOOL, 0, 0, None)
        threads = tuple(Value("given", (), INT64, 0, 0, None) for _ in scope.threads)
        expansion = Expansion(b, self.schedule, one.kernel, self.lanes, threads)
        expansion.body(one.kernel.body, [Env({**rounds}, {**registers})])
        given = (*rounds.values(), *registers.values(), *threads)
        return Function(one.kernel.name, tuple(starts), given, tuple(body))

    def repeat(self, region: Repeat, scope: Scope) -> list[Statement]:
        """A loop whose count may be known only when it runs."""
        b, body = self.b, self.b.begin()
        count = b.whole(region.var.extent) if region.count is None else self.element(region.count, scope)
        counter = Value("counter", (), INT64, 0, 0, None)
        inside, tail = self.b.begin(), scope.tail
        if region.tail:
            tail = b.compute("eq", BOOL, (b.add(counter, b.whole(1)), count))
        scope = Scope({**scope.rounds, region.var: counter}, tail, scope.threads)
        inside += self.regions(region.body, scope)
        return [*body, Loop(counter, count, 1, (), tuple(inside), may_be_empty=True)]

    def when(self, region: When, scope: Scope) -> list[Statement]:
        """Regions that may be passed over."""
        b, body = self.b, self.b.begin()
        holds = b.compute("eq", BOOL, (self.element(region.element, scope), b.whole(region.value)))
        inside = self.b.begin()
        if region.tail is not None:
            short = b.compute("ne", BOOL, (self.element(region.tail, scope), b.whole(0)))
            scope = replace(scope, tail=short)
        case = self.part("case", scope, lambda: self.regions(region.body, scope))
        return [*body, Condition(holds, (*inside, case))]

    def phase(self, region: Phase, scope: Scope) -> list[Statement]:
        """What threads do before they wait for each other."""
        b, body = self.b, list[Statement]()
        number, threads, calm = scope.threads
        body += b.begin()
        for one in region.body:
            if isinstance(one, Span) and self.schedule.program.kernels[one.start].split:
                body += self.span(one, scope)
                continue
            steps = b.begin()
            first = b.compute("eq", BOOL, (number, b.whole(0)))
            body += [*steps, Alone(first, self.part("alone", scope, partial(self.regions, (one,), scope)))]
        return [*body, Barrier(threads, calm)]

    def element(self, access: Access, scope: Scope) -> Value:
        """An integer that regions depend on."""
        loading = Expansion(self.b, self.schedule, Kernel("region", ()), None)
        return loading.load(loading.site(access), scope.env)
