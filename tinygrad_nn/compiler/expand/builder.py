"""Makes expanded code: equal values are one, each as far outside as its operands are, and what was stored is known.

A loop that is open is a `Level`. A value goes to the end of the outermost level that knows its operands, which stands
before the loops that are open in it; so nothing has to be moved afterwards. Loads are moved like that too, unless the
kernel writes their buffer: those stay where they are, and take what the same level stored or loaded there last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from ...graph.graph import DType
from ...graph.scalar import BOOL, INT64, OPERATIONS
from ..loopir.ir import Buffer
from .code import Carried, Loop, Statement, Store, Value


class Level:
    """The body of a loop (or of the block) while it is made: values by operation and operands, what lies in memory."""

    __slots__ = ("body", "known", "stored")

    def __init__(self) -> None:
        self.body: Final[list[Statement]] = []
        self.known: Final[dict[tuple[Any, ...], Value]] = {}
        self.stored: dict[tuple[Value, int], Value] = {}  # by address and lanes


class Builder:
    """The levels that are open, outermost first; `made` counts the statements of the block."""

    def __init__(self) -> None:
        self.levels: list[Level] = []
        self.made = 0
        self.buffers: Final[dict[int, Buffer]] = {}  # of the block, by place
        self.literals: Final[dict[tuple[Any, ...], Value]] = {}

    def begin(self) -> list[Statement]:
        """Begin a block. The list that its statements go to."""
        self.levels, self.made = [Level()], 0
        self.buffers.clear()
        return self.levels[0].body

    # ---- literals -------------------------------------------------------------------------------------------------

    def const(self, value: Any, dtype: DType, lanes: int = 0) -> Value:
        """A number. Those with the same bits are one."""
        data = dtype.type(value)
        key = (dtype, lanes, data.tobytes())
        found = self.literals.get(key)
        if found is None:
            found = self.literals[key] = Value("const", (), dtype, lanes, 0, data)
        return found

    def whole(self, value: int) -> Value:
        """An index."""
        key = (value,)
        found = self.literals.get(key)
        if found is None:
            found = self.literals[key] = self.const(value, INT64)
        return found

    def steps(self, start: int, step: int, lanes: int) -> Value:
        """start, start + step, ..."""
        key = (start, step, lanes)
        found = self.literals.get(key)
        if found is None:
            numbers = tuple(range(start, start + step * lanes, step))
            found = self.literals[key] = Value("steps", (), INT64, lanes, 0, numbers)
        return found

    # ---- values ---------------------------------------------------------------------------------------------------

    def make(self, op: str, dtype: DType, lanes: int, *args: Value, data: Any = None) -> Value:
        """The value of an operation, made once, where its operands are known."""
        depth = 0
        for one in args:
            if one.depth > depth:
                depth = one.depth
        level = self.levels[depth]
        key = (op, lanes, data, args)
        found = level.known.get(key)
        if found is None:
            found = level.known[key] = Value(op, args, dtype, lanes, depth, data)
            level.body.append(found)
            self.made += 1
        return found

    def splat(self, value: Value, lanes: int) -> Value:
        """The value in every lane."""
        if value.lanes or not lanes:
            return value
        if value.op == "const":
            return self.const(value.data, value.dtype, lanes)
        return self.make("splat", value.dtype, lanes, value)

    def compute(self, op: str, dtype: DType, args: Sequence[Value]) -> Value:
        """An operation, lane by lane; of numbers, it is one. Where some operands are vectors the others are splat (but
        not a condition).
        """
        lanes = 0
        for one in args:
            if one.lanes > lanes:
                lanes = one.lanes
        if lanes:
            if op == "where" and not args[0].lanes and args[0].depth < len(self.levels) - 1:
                args = (args[0], self.splat(args[1], lanes), self.splat(args[2], lanes))
            else:
                args = [one if one.lanes else self.splat(one, lanes) for one in args]
        elif args[0].op == "const" and all(one.op == "const" for one in args):
            with np.errstate(all="ignore"):
                return self.const(OPERATIONS[op].numpy(*(one.data for one in args)), dtype)
        return self.make(op, dtype, lanes, *args)

    def add(self, x: Value, y: Value) -> Value:
        """A sum."""
        return self.compute("add", x.dtype, (x, y))

    def both(self, x: Value, y: Value) -> Value:
        """Whether two conditions hold."""
        return self.compute("and", BOOL, (x, y))

    def select(self, condition: Value, yes: Value, no: Value) -> Value:
        """`yes` where the condition holds."""
        return self.compute("where", yes.dtype, (condition, yes, no))

    # ---- memory ---------------------------------------------------------------------------------------------------

    def start(self, buffer: Buffer, place: int) -> Value:
        """Where a buffer begins. Buffers with one place in the arena are one."""
        return self.make("start", buffer.dtype, 0, data=self.buffers.setdefault(place, buffer))

    def load(self, address: Value, lanes: int, mask: Value | None, moves: bool) -> Value:
        """What lies at an address; it `moves` to the outermost level that knows it, or stays here."""
        args = (address,) if mask is None else (address, mask)
        if moves:
            return self.make("load", address.dtype, lanes, *args)
        here = self.levels[-1]
        value = here.stored.get((address, lanes)) if mask is None else None
        if value is None:
            value = Value("load", args, address.dtype, lanes, len(self.levels) - 1, None)
            self.do(value)
            if mask is None and not address.lanes:
                here.stored[address, lanes] = value
        return value

    def store(self, address: Value, value: Value, mask: Value | None) -> None:
        """Write; what was known of the buffer no longer holds."""
        for level in self.levels:
            if level.stored:
                level.stored = {key: one for key, one in level.stored.items() if key[0].buffer is not address.buffer}
        here = self.levels[-1]
        if mask is None and not address.lanes:
            here.stored[address, value.lanes] = value
        self.do(Store(address, value, mask))

    def do(self, one: Statement) -> None:
        """A statement here."""
        self.levels[-1].body.append(one)
        self.made += 1

    # ---- loops ----------------------------------------------------------------------------------------------------

    def open(self, befores: Sequence[Value]) -> tuple[Value, list[Value]]:
        """Begin a loop: its counter, and what it carries, which before it had these values."""
        self.levels.append(Level())
        depth = len(self.levels) - 1
        counter = Value("counter", (), INT64, 0, depth, None)
        return counter, [Value("carried", (), one.dtype, one.lanes, depth, None) for one in befores]

    def close(
        self, counter: Value, stop: Value, step: int, befores: Sequence[Value], insides: Sequence[Value],
        afters: Sequence[Value], start: Value | None = None,
    ) -> list[Value]:  # fmt: skip
        """End a loop; what it carried has these values at the end of a round. The results. One with a `start` may have
        no round. A loop without one in it counts its counter's multiples too: to add takes less than to multiply.
        """
        multiples: list[Carried] = []
        if start is None and not any(isinstance(one, Loop) for one in self.levels[-1].body):
            multiples = [self.counted(one, step) for one in self.multiples(counter)]
        body = tuple(self.levels.pop().body)
        depth = len(self.levels) - 1
        results = [Value("result", (), one.dtype, one.lanes, depth, None) for one in befores]
        carried = (*map(Carried, befores, insides, afters, results), *multiples)
        self.do(Loop(counter, stop, step, carried, body, start is not None, start))
        self.made += 6 + len(carried)
        return results

    def multiples(self, counter: Value) -> list[Value]:
        """The multiples of the counter that the innermost level computes, which it does no more."""
        level = self.levels[-1]
        found = [value for (op, *_, args), value in level.known.items() if op == "mul" and args[0] is counter]
        found = [value for value in found if value.args[1].op == "const"]
        level.body[:] = [one for one in level.body if one not in found]
        return found

    def counted(self, value: Value, step: int) -> Carried:
        """A multiple of the counter as what is carried."""
        following = self.add(value, self.whole(step * int(value.args[1].data)))
        return Carried(self.whole(0), value, following, Value("result", (), INT64, 0, value.depth - 1, None))
