"""What expanded code means: a slow machine with vectors of any number of lanes, to which `expand` is held.

Statement by statement, with the operations of `scalar.OPERATIONS` on NumPy arrays, one element for each lane. Memory
begins with numbers nobody would compute, and what is reached outside of a buffer and its padding is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import zip_longest
from typing import Any, Final

import numpy as np

from ..errors import GraphError, message
from ..graph.graph import Array
from ..graph.scalar import OPERATIONS
from .expand.code import (
    Alone,
    Barrier,
    Block,
    Call,
    Check,
    Expanded,
    Gemm,
    Loop,
    Part,
    Statement,
    Store,
    Value,
    When,
    show,
)
from .interp import poison
from .loopir.faults import raise_code
from .loopir.ir import Buffer
from .schedule.arena import Arena


def simulate(expanded: Expanded, values: Sequence[Any], order: Sequence[int] = (0,)) -> tuple[list[Array], list[Array]]:
    """Outputs and new values of the state for given inputs, as `executor.run`. Raises what a check that fails says.

    Threads run one after the other from barrier to barrier, in this `order` of their numbers.
    """
    machine = Machine(expanded)
    program = expanded.schedule.program
    for buffer, value in zip(program.inputs, values, strict=True):
        np.copyto(machine.view(buffer), value)
    code = machine.run(order)
    if code:
        raise_code(program, code, machine.view)
    states = [machine.view(old) for old, _ in program.updates]
    return [np.array(machine.view(buffer)) for buffer in program.outputs], [np.array(state) for state in states]


class Stopped(Exception):
    """A check that does not hold, by its number."""


class Values(dict[Value, Any]):
    """What values are: NumPy scalars and arrays of lanes; of addresses, the buffer and the place in it."""

    def __missing__(self, value: Value) -> Any:
        if value.op == "steps":
            self[value] = np.array(value.data, value.dtype)
        elif value.op == "const":
            self[value] = np.full(value.lanes, value.data) if value.lanes else value.data
        else:
            raise GraphError(message("simulate", f"a use of {value.op} before it is made"))
        return self[value]


class Machine:
    """The memory of a schedule, and the values made so far."""

    def __init__(self, expanded: Expanded, arena: Arena | None = None) -> None:
        """In memory of its own, or in an arena as it is."""
        self.expanded = expanded
        self.schedule = expanded.schedule
        self.arena = self.schedule.arena() if arena is None else arena
        self.values = Values()
        self.buffers: dict[Buffer, Array] = {}
        for buffer in self.schedule.program.buffers:
            size, start = self.schedule.layouts[buffer].size, self.schedule.offsets[buffer]
            memory = self.arena.memory.data
            flat = np.ndarray((0 if 0 in buffer.shape else size,), buffer.dtype, memory, start)
            self.buffers[buffer] = flat
            if arena is None and buffer.role != "constant" and buffer.base is None:
                flat[...] = poison(buffer.dtype)
        self.left = [0]  # by the first thread, for all: the number of a check that failed

    def view(self, buffer: Buffer) -> Array:
        """The elements of a buffer."""
        return self.arena.view(self.schedule.at(buffer))

    def run(self, order: Sequence[int] = (0,)) -> int:
        """All statements; 0, or the number of the check that failed."""
        with np.errstate(all="ignore"):
            try:
                if self.expanded.given:
                    self.together(order)
                else:
                    self.body(self.expanded.body)
            except Stopped as stopped:
                return int(stopped.args[0])
        return 0

    def together(self, order: Sequence[int]) -> None:
        """Threads, of which each runs to the next barrier before the others do."""
        for met in zip_longest(*(self.thread(number, len(order)) for number in order), fillvalue=False):
            if not all(met):
                raise GraphError(message("expanded code", "threads that do not meet at a barrier"))
            if self.left[0]:
                raise Stopped(self.left[0])

    def thread(self, number: int, threads: int) -> Iterator[bool]:
        """One of several; it gives True wherever it has to wait."""
        own = copy(self)
        own.values = Values(zip(self.expanded.given, map(np.int64, (number, threads, 0)), strict=True))
        return own.phases(self.expanded.body)

    def phases(self, body: Sequence[Statement]) -> Iterator[bool]:
        """As `body`, up to the next barrier each time."""
        for one in body:
            if isinstance(one, Barrier):
                yield True
            elif isinstance(one, Loop):
                for _ in self.rounds(one):
                    yield from self.phases(one.body)
            elif isinstance(one, When):
                yield from self.phases(one.body) if self.values[one.condition] else ()
            elif isinstance(one, Part):
                outer, self.values = self.values, self.known(one)
                yield from self.phases(one.body)
                self.values = outer
            else:
                self.body((one,))

    def alone(self, one: Alone) -> None:
        """What one thread does; a check that fails ends all."""
        if self.values[one.first]:
            try:
                self.part(one.part)
            except Stopped as stopped:
                self.left[0] = int(stopped.args[0])

    def body(self, body: Sequence[Statement]) -> None:
        """One statement after the other."""
        values = self.values
        for one in body:
            if isinstance(one, Value):
                operation = OPERATIONS.get(one.op)
                args = [values[arg] for arg in one.args]
                values[one] = operation.numpy(*args)[()] if operation else _COMPUTE[one.op](self, one, *args)
            else:
                _RUN[type(one)](self, one)

    def store(self, one: Store) -> None:
        """Write the lanes that the mask lets pass."""
        buffer, at, lets = self.reach(one, one.address, one.value.lanes, one.mask)
        value = self.values[one.value]
        self.buffers[buffer][at] = value if lets is None else value[lets]

    def load(self, one: Value, address: Any, mask: Any = None) -> Any:
        """Read the lanes that the mask lets pass; 0 in the others."""
        buffer, at, lets = self.reach(one, one.args[0], one.lanes, one.args[1] if len(one.args) > 1 else None)
        if lets is None:
            found = self.buffers[buffer][at]
            return found.copy() if one.lanes else found
        result = np.zeros(one.lanes, one.dtype)
        result[lets] = self.buffers[buffer][at]
        return result

    def reach(self, one: Statement, address: Value, lanes: int, mask: Value | None) -> tuple[Buffer, Any, Any]:
        """The places that are touched, which lie in the buffer, and the mask."""
        buffer, at = self.values[address]
        if lanes and not address.lanes:
            at = at + np.arange(lanes)
        lets = None if mask is None else self.values[mask]
        at = at if lets is None else at[lets]
        size = len(self.buffers[buffer])
        if not np.all((at >= 0) & (at < size)):
            got = f"{buffer} at {at}"
            raise GraphError(message("expanded code", got, f"places below {size}") + "\n" + show((one,)))
        return buffer, at, lets

    def check(self, one: Check) -> None:
        """Stop where the condition holds."""
        if self.values[one.wrong]:
            raise Stopped(one.code)

    def gemm(self, one: Gemm) -> None:
        """A product of two matrices."""
        m, n, k = one.sizes
        target, x, y = (self.buffers[self.values[part][0]] for part in (one.target, one.x, one.y))
        left = x[: m * k].reshape((k, m)).T if one.tx else x[: m * k].reshape((m, k))
        right = y[: k * n].reshape((n, k)).T if one.ty else y[: k * n].reshape((k, n))
        whole = target[: m * n].reshape((m, n))
        axis, *edges = one.part or (0, None, None)
        here = slice(*(edge and self.values[edge] for edge in edges))
        rows, columns = (here, slice(None)) if axis == 0 else (slice(None), here)
        whole[rows, columns] = (left @ right)[rows, columns]

    def loop(self, one: Loop) -> None:
        """Round after round."""
        for _ in self.rounds(one):
            self.body(one.body)

    def rounds(self, one: Loop) -> Iterator[None]:
        """The rounds of a loop, in each of which its body has to be run."""
        values, stop = self.values, self.values[one.stop]
        at = np.int64(0) if one.start is None else self.values[one.start]
        for carried in one.carried:
            values[carried.inside] = values[carried.before]
        while at < stop or not (at or one.may_be_empty):
            values[one.counter] = at
            yield
            after = [values[carried.after] for carried in one.carried]
            values.update(zip((carried.inside for carried in one.carried), after, strict=True))
            at += one.step
        for carried in one.carried:
            values[carried.result] = values[carried.after]

    def block(self, one: Block) -> None:
        """The steps of a kernel."""
        try:
            self.body(one.body)
        except GraphError as error:
            raise GraphError(f"{error}\nin kernel {one.name}") from None

    def part(self, one: Part) -> None:
        """Steps that know what they are given."""
        outer, self.values = self.values, self.known(one)
        self.body(one.body)
        self.values = outer

    def known(self, one: Part) -> Values:
        """What a part is given."""
        return Values({value: self.values[value] for value in one.known})

    def call(self, one: Call) -> None:
        """A function, with what it is given."""
        outer, function = self.values, one.function
        self.values = Values(zip(function.given, map(outer.__getitem__, one.given), strict=True))
        self.values |= {start: (buffer, 0) for start, buffer in zip(function.starts, one.buffers, strict=True)}
        self.body(one.function.body)
        self.values = outer

    def when(self, one: When) -> None:
        """Steps that may be passed over."""
        if self.values[one.condition]:
            self.body(one.body)


_COMPUTE: Final[dict[str, Callable[..., Any]]] = {
    "splat": lambda machine, v, x: np.full(v.lanes, x),
    "half": lambda machine, v, x: x[v.data : v.data + v.lanes],
    "first": lambda machine, v, x: x[0],
    "any": lambda machine, v, x: x.any(),
    "start": lambda machine, v: (v.data, 0),
    "address": lambda machine, v, start, offset: (start[0], start[1] + offset),
    "load": Machine.load,
}
_RUN: Final[dict[type, Callable[[Machine, Any], None]]] = {
    Store: Machine.store,
    Check: Machine.check,
    Gemm: Machine.gemm,
    Loop: Machine.loop,
    Block: Machine.block,
    Part: Machine.part,
    Call: Machine.call,
    When: Machine.when,
    Alone: Machine.alone,
}
