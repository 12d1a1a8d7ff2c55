"""What a program means: a slow interpreter of loop IR, to which expanded and machine code are held.

Statement by statement, element by element, one iteration after the other, vector loops too; scalars are NumPy scalars
with the operations of `scalar.OPERATIONS`. Buffers begin with numbers nobody would compute, so what reads an element
that was never written shows. An index outside of its buffer is an error, whatever the guards promised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..errors import GraphError, message
from ..graph.graph import Array, DType
from ..graph.scalar import OPERATIONS, Expr, walk
from .loopir.faults import raise_code
from .loopir.ir import (
    TAIL,
    Access,
    Affine,
    Assign,
    Buffer,
    Check,
    Gemm,
    Let,
    Loop,
    Register,
    Statement,
    Store,
    Var,
    show,
)
from .loopir.program import Crew, Phase, Program, Region, Repeat, Span


def run(program: Program, values: Sequence[Any]) -> tuple[list[Array], list[Array]]:
    """Outputs and new values of the state for given inputs, as `executor.run`, each buffer in an array of its own.

    For a program as `lower` makes it; one that was scheduled counts on shared memory: see `simulate`.
    """
    arrays: dict[Buffer, Array] = {}
    for buffer in program.buffers:
        if buffer.base is not None:
            arrays[buffer] = arrays[buffer.base].reshape(buffer.shape)
        elif buffer.role == "constant":
            arrays[buffer] = np.array(np.broadcast_to(buffer.value, buffer.shape), order="C")
        else:
            arrays[buffer] = np.full(buffer.shape, poison(buffer.dtype), buffer.dtype)
    for buffer, value in zip(program.inputs, values, strict=True):
        np.copyto(arrays[buffer], value)
    Interpreter(program, arrays, updating=True).run()
    return [np.array(arrays[b]) for b in program.outputs], [np.array(arrays[old]) for old, _ in program.updates]


def poison(dtype: DType) -> Any:
    """What a buffer holds before it is written."""
    if dtype.kind == "f":
        return np.nan
    return np.iinfo(dtype).min + 12345 if dtype.kind == "i" else True


@dataclass(frozen=True, slots=True)
class Tape:
    """An expression as steps on numbered places: the beginning, what is read, what is computed."""

    begin: tuple[Any, ...]
    reads: tuple[tuple[int, Any], ...]
    steps: tuple[tuple[int, Callable[..., Any], tuple[int, ...]], ...]


def tape(expr: Expr) -> Tape:
    """The steps that compute an expression; its value is that of the last place."""
    nodes = walk(expr)
    place = {node: k for k, node in enumerate(nodes)}
    return Tape(
        tuple(node.value if node.op == "const" else None for node in nodes),
        tuple((place[node], node.value) for node in nodes if node.op == "param"),
        tuple(
            (place[node], OPERATIONS[node.op].numpy, tuple(place[arg] for arg in node.args))
            for node in nodes
            if node.op not in ("const", "param")
        ),
    )


class Interpreter:
    """The state of one run: arrays, loop variables, registers."""

    def __init__(self, program: Program, arrays: Mapping[Buffer, Array], updating: bool = False) -> None:
        """With `updating` the state changes at the end of each span; scheduled kernels do that themselves."""
        self.program, self.arrays, self.updating = program, arrays, updating
        self.variables: dict[Var, int] = {}
        self.registers: dict[Register, Any] = {TAIL: np.False_}
        self.tapes: dict[Expr, Tape] = {}

    def run(self) -> None:
        """All kernels. Raises IndexOutOfRange where a check fails, GraphError where the program itself is wrong."""
        with np.errstate(all="ignore"):
            self.regions(self.program.regions)

    def regions(self, regions: Sequence[Region]) -> None:
        """Spans, repetitions and conditions in order."""
        for region in regions:
            if isinstance(region, Span):
                self.span(region)
            elif isinstance(region, Repeat):
                self.repeat(region)
            elif isinstance(region, Phase):
                self.regions(region.body)
            elif isinstance(region, Crew):
                self.variables[region.var] = 0  # one thread does it all
                self.regions(region.body)
            elif self.load(region.element) == region.value:
                before = self.registers[TAIL]
                if region.tail is not None:
                    self.registers[TAIL] = self.load(region.tail) != 0
                self.regions(region.body)
                self.registers[TAIL] = before

    def repeat(self, region: Repeat) -> None:
        """Regions for every value of a variable."""
        count = region.var.extent if region.count is None else int(self.load(region.count))
        before = self.registers[TAIL]
        for k in range(count):
            self.variables[region.var] = k
            if region.tail:
                self.registers[TAIL] = np.bool_(k == count - 1)
            self.regions(region.body)
        self.registers[TAIL] = before
        self.variables.pop(region.var, None)

    def span(self, region: Span) -> None:
        """Kernel after kernel, then the new state."""
        for kernel in self.program.kernels[region.start : region.stop]:
            try:
                self.body(kernel.body)
            except GraphError as error:
                raise GraphError("\n".join([str(error), *show(kernel)])) from None
        if self.updating:
            for old, value in [(old, np.array(self.arrays[new])) for old, new in region.updates]:
                self.arrays[old][...] = value

    def body(self, statements: Sequence[Statement]) -> None:
        """One statement after the other."""
        for one in statements:
            _RUN[type(one)](self, one)

    def loop(self, one: Loop) -> None:
        """The body for every value of the variable."""
        tail = one.var.tail
        for k in range(one.var.extent if tail is None or not self.registers[TAIL] else tail):
            self.variables[one.var] = k
            self.body(one.body)
        self.variables.pop(one.var, None)

    def let(self, one: Let) -> None:
        """A register begins."""
        self.registers[one.register] = self.value(one.value)

    def assign(self, one: Assign) -> None:
        """A register changes."""
        self.registers[one.register] = self.value(one.value)

    def store(self, one: Store) -> None:
        """An element is written."""
        value, array, place = self.value(one.value), self.arrays[one.target.buffer], self.place(one.target)
        array[place] = array[place] + value if one.add else value

    def check(self, one: Check) -> None:
        """Stop where the condition does not hold."""
        if not self.value(one.condition):
            raise_code(self.program, one.code, self.arrays.__getitem__)

    def gemm(self, one: Gemm) -> None:
        """A product of two matrices."""
        x, y = self.arrays[one.x], self.arrays[one.y]
        self.arrays[one.target][...] = (x.T if one.tx else x) @ (y.T if one.ty else y)

    def value(self, expr: Expr) -> Any:
        """The value of an expression, a NumPy scalar."""
        steps = self.tapes.get(expr)
        if steps is None:
            steps = self.tapes[expr] = tape(expr)
        values = list(steps.begin)
        for k, leaf in steps.reads:
            values[k] = self.leaf(leaf)
        for k, function, args in steps.steps:
            result = function(*[values[arg] for arg in args])
            values[k] = result[()] if isinstance(result, np.ndarray) else result
        return values[-1]

    def leaf(self, what: Any) -> Any:
        """A register, an index as a number, or an element."""
        if isinstance(what, Register):
            return self.registers[what]
        if isinstance(what, Affine):
            return np.int64(self.number(what))
        return self.load(what)

    def number(self, index: Affine) -> int:
        """An index."""
        return index.offset + sum(self.variables[var] * c for var, c in index.terms)

    def load(self, access: Access) -> Any:
        """An element, 0 where a guard does not hold."""
        for guard in access.guards:
            if not guard.low <= self.number(guard.index) < guard.high:
                return access.buffer.dtype.type(0)
        return self.arrays[access.buffer][self.place(access)]

    def place(self, access: Access) -> tuple[int, ...]:
        """The index of an access, which lies in the buffer."""
        place = tuple(self.number(i) if isinstance(i, Affine) else int(self.value(i)) for i in access.index)
        if not all(0 <= i < n for i, n in zip(place, access.buffer.shape, strict=True)):
            where = ", ".join(f"{var} = {k}" for var, k in self.variables.items())
            got = f"{access} at {list(place)}, where {where or 'there is no loop'}"
            raise GraphError(message("program", got, f"a place in shape {access.buffer.shape}"))
        return place


_RUN: Final[dict[type, Callable[[Interpreter, Any], None]]] = {
    Loop: Interpreter.loop,
    Let: Interpreter.let,
    Assign: Interpreter.assign,
    Store: Interpreter.store,
    Check: Interpreter.check,
    Gemm: Interpreter.gemm,
}
