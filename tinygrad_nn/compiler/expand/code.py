"""Expanded code: a schedule as explicit steps, after which nothing is left to decide; back ends print it.

A body is a tuple of statements in order. A `Value` among them is computed there; each has a dtype and a number of lanes
(0: a scalar). Loops count, carry values from round to round, and give results. What lies in memory is loaded and
stored at addresses, which are a buffer and a number of elements. An address of lanes is a gather or a scatter; with a
scalar address the lanes lie in a row. A mask says which lanes touch memory.

Operations of a Value are those of `scalar.OPERATIONS`, lane by lane, and
    const, steps        the number `data` in every lane; the numbers `data`, one for each lane: nowhere computed
    counter             the number of a loop's round, times its step
    given               what a function is given
    carried, result     what a loop carries, inside of it and after it
    splat, half, first  a scalar in every lane; half of the lanes, from lane `data` on; the first lane
    any                 whether a mask holds in some lane
    start, address      where the buffer `data` begins; so many elements behind that, or behind another address
    load                what lies at an address; 0 where a mask, the second operand, does not hold
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ...graph.graph import DType
from ..loopir.ir import Buffer
from ..schedule.schedule import Schedule


class Value:
    """What a step gives. `depth` is the number of loops around it in its block."""

    __slots__ = ("args", "data", "depth", "dtype", "lanes", "op")

    def __init__(self, op: str, args: tuple[Value, ...], dtype: DType, lanes: int, depth: int, data: Any) -> None:
        self.op: Final = op
        self.args: Final = args
        self.dtype: Final = dtype
        self.lanes: Final = lanes
        self.depth: Final = depth
        self.data: Final = data

    @property
    def buffer(self) -> Any:
        """Of an address, where it lies."""
        return self.args[0].buffer if self.args else self.data


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """A value is written at an address, where the mask holds."""

    address: Value
    value: Value
    mask: Value | None


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """The program stops with this number where a scalar condition holds."""

    wrong: Value
    code: int


@dataclass(frozen=True, slots=True, eq=False)
class Gemm:
    """`target = x @ y`, matrices of (m, k) and (k, n) that are read transposed where `tx` and `ty` say so, by the gemm
    at the machine address `function`. A `part` of it is, on this axis of the target, what is from here up to there.
    """

    function: Value
    target: Value
    x: Value
    y: Value
    sizes: tuple[int, int, int]
    tx: bool
    ty: bool
    part: tuple[int, Value, Value] | None = None


class Carried(NamedTuple):
    """A value that goes from round to round: before the loop, in a round, at its end, and after the loop."""

    before: Value
    inside: Value
    after: Value
    result: Value


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """`for counter in range(start, stop, step)`, with at least one round; one that `may_be_empty` carries nothing.
    Without a `start` it begins with 0.
    """

    counter: Value
    stop: Value
    step: int
    carried: tuple[Carried, ...]
    body: tuple[Statement, ...]
    may_be_empty: bool = False
    start: Value | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The steps of one kernel, by name. Its values are known only there."""

    name: str
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Steps that stand in a function of their own, which is given these values and knows no others."""

    name: str
    known: tuple[Value, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """Steps that several kernels share: given where buffers begin, for the `starts` of the first one's, and values."""

    name: str
    starts: tuple[Value, ...]
    given: tuple[Value, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A function with what it is given, in the place of a kernel of some name."""

    function: Function
    buffers: tuple[Buffer, ...]
    given: tuple[Value, ...]
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class When:
    """Steps where a scalar condition holds."""

    condition: Value
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Alone:
    """Steps of one of several threads, where `first` holds; what their check says is left for all others."""

    first: Value
    part: Part


@dataclass(frozen=True, slots=True, eq=False)
class Barrier:
    """So many threads wait for each other, by calls of the function at the machine address `calm` when it takes long.
    All stop if a check did not hold.
    """

    threads: Value
    calm: Value


Statement = Value | Store | Check | Gemm | Loop | Block | Part | Call | When | Alone | Barrier


@dataclass(frozen=True, slots=True, eq=False)
class Expanded:
    """The steps of a schedule, whose arena they work on. Several threads are `given` their number, how many there are,
    and what to call when they have to wait long.
    """

    schedule: Schedule
    body: tuple[Statement, ...]
    given: tuple[Value, ...] = ()

    def __str__(self) -> str:
        return show(self.body)


def show(body: Sequence[Statement]) -> str:
    """The text of statements."""
    return "\n".join(_Shown().lines(body, ""))


class _Shown:
    """Text, values numbered as they come."""

    def __init__(self) -> None:
        self.names: dict[Value, str] = {}

    def name(self, value: Value) -> str:
        if value.op == "const":
            return f"{value.data}" + (f" x{value.lanes}" if value.lanes else "")
        if value.op == "steps":
            return f"<{', '.join(map(str, value.data))}>"
        return self.names.setdefault(value, f"v{len(self.names)}")

    def all(self, values: Sequence[Value]) -> str:
        return ", ".join(map(self.name, values))

    def lines(self, body: Sequence[Statement], indent: str) -> Iterator[str]:
        for one in body:
            if isinstance(one, Value):
                kind = f"{one.dtype.name}" + (f" x{one.lanes}" if one.lanes else "")
                data = "" if one.data is None else f" {one.data}"
                yield f"{indent}{self.name(one)}: {kind} = {one.op}{data} {self.all(one.args)}".rstrip()
            elif isinstance(one, Store):
                mask = "" if one.mask is None else f" if {self.name(one.mask)}"
                yield f"{indent}store {self.all((one.address, one.value))}{mask}"
            elif isinstance(one, Check):
                yield f"{indent}check {one.code}: not {self.name(one.wrong)}"
            elif isinstance(one, Gemm):
                yield f"{indent}gemm {one.sizes} {self.all((one.target, one.x, one.y))}"
            elif isinstance(one, Call):
                buffers = ", ".join(map(str, one.buffers))
                yield f"{indent}call {one.function.name}: {buffers}; {self.all(one.given)}"
            elif isinstance(one, Loop):
                carried = "".join(f", {self.name(c.inside)} from {self.name(c.before)}" for c in one.carried)
                start = f" from {self.name(one.start)}" if one.start is not None else ""
                yield f"{indent}for {self.name(one.counter)}{start} to {self.name(one.stop)} by {one.step}{carried}:"
                yield from self.lines(one.body, indent + "  ")
                yield from (f"{indent}{self.name(c.result)} = {self.name(c.after)}" for c in one.carried)
            elif isinstance(one, Barrier):
                yield f"{indent}barrier of {self.name(one.threads)}"
            elif isinstance(one, Alone):
                yield f"{indent}alone if {self.name(one.first)}:"
                yield from self.lines(one.part.body, indent + "  ")
            else:
                head = f"when {self.name(one.condition)}" if isinstance(one, When) else f"block {one.name}"
                yield f"{indent}{head}:"
                yield from self.lines(one.body, indent + "  ")
