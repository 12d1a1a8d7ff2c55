"""Loop IR: kernels, which are loops over buffers with scalar expressions inside.

A kernel is a tree of statements: `Loop`, `Let` (a register begins), `Assign` (it changes), `Store`, `Check`. What is
computed is a `scalar.Expr` whose parameters are `Access` (the element of a buffer), `Affine` (an index as a number) or
`Register`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from ...graph.graph import DType, Node, Shape
from ...graph.places import Place
from ...graph.scalar import BOOL, Expr, text, walk

Role = Literal["input", "constant", "temporary"]


@dataclass(frozen=True, slots=True, eq=False)
class Var:
    """A loop variable: 0 <= var < extent. `tail`, where given, is the extent in the short last batch."""

    name: str
    extent: int
    tail: int | None = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Affine:
    """`offset + sum of coefficient * variable`; terms are in the order of their first use, coefficients never 0."""

    offset: int = 0
    terms: tuple[tuple[Var, int], ...] = ()

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.offset + other, self.terms)
        sums: dict[Var, int] = dict(self.terms)
        for var, coefficient in other.terms:
            sums[var] = sums.get(var, 0) + coefficient
        return Affine(self.offset + other.offset, tuple((var, c) for var, c in sums.items() if c))

    def __sub__(self, other: Affine | int) -> Affine:
        return self + other * -1 if isinstance(other, Affine) else self + -other

    def __radd__(self, other: int) -> Affine:
        return self + other

    def __rsub__(self, other: int) -> Affine:
        return self * -1 + other

    def __mul__(self, factor: int) -> Affine:
        if factor == 0:
            return Affine()
        return Affine(self.offset * factor, tuple((var, c * factor) for var, c in self.terms))

    def __rmul__(self, factor: int) -> Affine:
        return self * factor

    def bounds(self) -> tuple[int, int]:
        """The smallest and the largest value."""
        ends = [(c * (var.extent - 1)) for var, c in self.terms]
        return self.offset + sum(min(0, e) for e in ends), self.offset + sum(max(0, e) for e in ends)

    def coefficient(self, var: Var) -> int:
        """What one step of a variable adds."""
        return next((c for own, c in self.terms if own is var), 0)

    def __str__(self) -> str:
        parts = [f"{var}" if c == 1 else f"{c}*{var}" for var, c in self.terms]
        parts += [str(self.offset)] if self.offset or not parts else []
        return " + ".join(parts).replace("+ -", "- ")


def affine(value: Var | int) -> Affine:
    """A variable or a number as an index."""
    return Affine(value) if isinstance(value, int) else Affine(0, ((value, 1),))


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """An array of the program. `row_major` ones lie in row-major order without padding; of others the schedule decides.

    `base` is the row-major buffer whose memory this one is, under another shape.
    """

    name: str
    shape: Shape
    dtype: DType
    role: Role = "temporary"
    row_major: bool = False
    value: Any = None
    base: Buffer | None = None

    def __str__(self) -> str:
        return self.name


Index = Affine | Expr


@dataclass(frozen=True, slots=True)
class Guard:
    """`low <= index < high`."""

    index: Affine
    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low} <= {self.index} < {self.high}"


@dataclass(frozen=True, slots=True)
class Access:
    """One element of a buffer. Where a guard does not hold, a load gives 0 and touches no memory."""

    buffer: Buffer
    index: tuple[Index, ...]
    guards: tuple[Guard, ...] = ()

    def __str__(self) -> str:
        inside = ", ".join(text(part) if isinstance(part, Expr) else str(part) for part in self.index)
        where = f" if {' and '.join(map(str, self.guards))}" if self.guards else ""
        return f"{self.buffer}[{inside}{where}]"


@dataclass(frozen=True, slots=True, eq=False)
class Register:
    """A scalar variable. With `combine` it may be folded lane by lane, from `identity`."""

    name: str
    dtype: DType
    identity: Any = None
    combine: Callable[[Expr, Expr], Expr] | None = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class Let:
    """A register begins."""

    register: Register
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Assign:
    """A register changes."""

    register: Register
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """An element is written; with `add` the value is added to it."""

    target: Access
    value: Expr
    add: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """The program stops, with this number, where the condition does not hold."""

    condition: Expr
    code: int


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """The body for every value of a variable, in order."""

    var: Var
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Gemm:
    """A product of two row-major matrices by a BLAS: `target = x @ y`, read transposed where `tx` and `ty` say so.

    `function` is a 0-d int64 buffer that holds the address of its gemm.
    """

    target: Buffer
    x: Buffer
    y: Buffer
    tx: bool
    ty: bool
    function: Buffer

    @property
    def shared(self) -> int:
        """The axis of the target that threads share, in blocks of `BLOCK`."""
        return int(self.target.shape[1] > self.target.shape[0])


Statement = Let | Assign | Store | Check | Loop | Gemm
BLOCK: Final = 64  # rows or columns of a product by a BLAS: of a whole number of them it seldom adds in another order
TAIL: Final = Register("tail", BOOL)  # whether the batch is the short last one


@dataclass(frozen=True, eq=False)
class Kernel:
    """A piece of the program: its statements, and how its loops are run.

    `vector` is the variable whose values lie in the lanes; `jam` says of how many iterations a loop is unrolled and
    jammed, so that what they load is loaded once; `wide` how many vectors the vector loop interleaves. Where several
    threads run the kernel, each takes a range of `split`. `sources` are the ops it came from, `origins` the nodes as
    traced and their places, where somebody asked for them (`graph/places.py`).
    """

    name: str
    body: tuple[Statement, ...]
    sources: tuple[str, ...] = ()
    vector: Var | None = None
    jam: Mapping[Var, int] = field(default_factory=dict)
    wide: int = 1
    split: Var | None = None
    origins: Mapping[Node, Place] = field(default_factory=dict)

    @cached_property
    def statements(self) -> tuple[tuple[Statement, tuple[Var, ...]], ...]:
        """Every statement that is not a loop, with the variables of the loops around it, outermost first."""
        return tuple(statements(self.body))

    @cached_property
    def itemsize(self) -> int:
        """Bytes of the largest float, which says how many lanes its vectors have."""
        roots = (root for one, _ in self.statements for root in expressions(one))
        return max((node.dtype.itemsize for root in roots for node in walk(root) if node.dtype.kind == "f"), default=8)

    @cached_property
    def accesses(self) -> tuple[tuple[Access, bool, tuple[Var, ...]], ...]:
        """Every access: what, whether it is written, and the loops around it."""
        found: list[tuple[Access, bool, tuple[Var, ...]]] = []
        for statement, around in self.statements:
            found += [(leaf, False, around) for leaf in leaves(*expressions(statement)) if isinstance(leaf, Access)]
            if isinstance(statement, Store):
                found.append((statement.target, True, around))
            elif isinstance(statement, Gemm):
                for buffer in (statement.x, statement.y, statement.function):  # not where it writes
                    found.append((Access(buffer, tuple(Affine(-1) for _ in buffer.shape)), False, around))
                found.append((Access(statement.target, (Affine(), Affine())), True, around))
        return tuple(found)


def nest(loops: Sequence[Var], body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """A body inside loops, the first one outermost."""
    for var in reversed(loops):
        body = (Loop(var, body),)
    return body


def show(kernel: Kernel) -> list[str]:
    """The text of a kernel."""
    how = f" vector {kernel.vector}" if kernel.vector else ""
    how += f" x{kernel.wide}" if kernel.wide > 1 else ""
    how += "".join(f" jam {var} by {n}" for var, n in kernel.jam.items())
    how += f" split {kernel.split}" if kernel.split else ""
    return [f"kernel {kernel.name}{how}  # {', '.join(kernel.sources)}", *_show(kernel.body, "  ")]


def _show(body: Sequence[Statement], indent: str) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, Loop):
            yield f"{indent}for {statement.var} < {statement.var.extent}:"
            yield from _show(statement.body, indent + "  ")
        else:
            for line in _line(statement).split("\n"):
                yield indent + line


def _line(statement: Let | Assign | Store | Check | Gemm) -> str:
    if isinstance(statement, Gemm):
        x, y = (f"{b}.T" if t else f"{b}" for b, t in ((statement.x, statement.tx), (statement.y, statement.ty)))
        return f"{statement.target} = gemm({x}, {y})"
    *before, value = text(statement.condition if isinstance(statement, Check) else statement.value).split("\n")
    if isinstance(statement, Let):
        last = f"let {statement.register} = {value}"
    elif isinstance(statement, Assign):
        last = f"{statement.register} = {value}"
    elif isinstance(statement, Store):
        last = f"{statement.target} {'+=' if statement.add else '='} {value}"
    else:
        last = f"check {statement.code}: {value}"
    return "\n".join([*before, last])


def statements(body: Sequence[Statement], outer: tuple[Var, ...] = ()) -> Iterator[tuple[Statement, tuple[Var, ...]]]:
    """Every statement of a tree that is not a loop, with the variables of the loops around it, outermost first."""
    for statement in body:
        if isinstance(statement, Loop):
            yield from statements(statement.body, (*outer, statement.var))
        else:
            yield statement, outer


def expressions(statement: Statement) -> tuple[Expr, ...]:
    """What a statement computes, its indices included."""
    if isinstance(statement, (Loop, Gemm)):
        return ()
    if isinstance(statement, Check):
        return (statement.condition,)
    if isinstance(statement, Store):
        return (statement.value, *(part for part in statement.target.index if isinstance(part, Expr)))
    return (statement.value,)


def leaves(*roots: Expr) -> list[Any]:
    """The accesses, indices and registers an expression reads, those inside of indices included, each once."""
    found: dict[Any, None] = {}
    stack = list(roots)
    while stack:
        for node in walk(stack.pop()):
            if node.op == "param" and node.value not in found:
                found[node.value] = None
                if isinstance(node.value, Access):
                    stack += [part for part in node.value.index if isinstance(part, Expr)]
    return list(found)
