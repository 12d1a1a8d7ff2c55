"""Loop IR: what a compiled program does, as loops over buffers with scalar expressions inside.

A `Program` is a list of `Kernel`s that run one after the other on the buffers of one arena. A kernel is a tree of
statements: `Loop`, `Let` (a register begins), `Assign` (it changes), `Store`, `Check`. What is computed is a
`scalar.Expr` whose parameters are `Access` (the element of a buffer), `Affine` (an index as a number) or `Register`.

Invariants, checked by `verify`
- Every affine index stays inside its buffer for all values of its loop variables, unless a guard says where it counts.
- An index that comes from data is a load from a buffer that a `Check` of the same program has compared with the axis.
- A loop variable is used only inside its loop, a register only after its `Let`, in the same loop or a deeper one.
- At most one loop of a nest is the vector loop. Its iterations are independent, but for registers that begin outside
  of it, which must have a `combine`: each lane then folds its own share, starting from `identity`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np

from ..errors import GraphError, message
from ..graph import DType, Shape
from ..scalar import BOOL, Expr, text, walk

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

    def __mul__(self, factor: int) -> Affine:
        if factor == 0:
            return Affine()
        return Affine(self.offset * factor, tuple((var, c * factor) for var, c in self.terms))

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
    """An array of the program. `plain` ones lie in row-major order without padding; of others the planner decides.

    `base` is the plain buffer whose memory this one is, under another shape.
    """

    name: str
    shape: Shape
    dtype: DType
    role: Role = "temporary"
    plain: bool = False
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


Statement = Let | Assign | Store | Check | Loop


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """A piece of the program: its statements, and how its loops are run.

    `vector` is the variable whose values lie in the lanes; `jam` says how many iterations of a loop are run together,
    so that what they load is loaded once. `sources` are the ops it came from.
    """

    name: str
    body: tuple[Statement, ...]
    sources: tuple[str, ...] = ()
    vector: Var | None = None
    jam: Mapping[Var, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """The kernels `start` to `stop`, one after the other; then the new values of the state take the old ones' place."""

    start: int
    stop: int
    updates: tuple[tuple[Buffer, Buffer], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Repeat:
    """Regions run for every value of a variable; as often as `count`, a 0-d int64 buffer, says, where it is given.

    With `tail` the register TAIL holds in the last round: the batch is the short one.
    """

    var: Var
    body: tuple[Region, ...]
    count: Access | None = None
    tail: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class When:
    """Regions that run where an int64 element is not 0."""

    condition: Access
    body: tuple[Region, ...]


Region = Span | Repeat | When
TAIL: Final = Register("tail", BOOL)


def spans(regions: Sequence[Region], around: tuple[Var, ...] = ()) -> Iterator[tuple[Span, tuple[Var, ...]]]:
    """Every span of a tree, with the variables of the repetitions around it."""
    for region in regions:
        if isinstance(region, Span):
            yield region, around
        else:
            yield from spans(region.body, (*around, region.var) if isinstance(region, Repeat) else around)


def with_spans(regions: Sequence[Region], new: Mapping[Span, Span]) -> tuple[Region, ...]:
    """The tree with its spans replaced."""
    return tuple(
        new[region] if isinstance(region, Span) else replace(region, body=with_spans(region.body, new))
        for region in regions
    )


@dataclass(frozen=True, slots=True)
class Fault:
    """What a Check found wrong, for the message: the op, the buffer of indices and the length of the axis."""

    op: str
    buffer: Buffer
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Kernels in order. `inputs`, `outputs` and `updates` (input, new value) follow the graph's.

    `order` says which kernels are repeated; without it all of them run once.
    """

    kernels: tuple[Kernel, ...]
    buffers: tuple[Buffer, ...]
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    updates: tuple[tuple[Buffer, Buffer], ...]
    faults: tuple[Fault, ...] = ()
    order: tuple[Region, ...] = ()

    @property
    def regions(self) -> tuple[Region, ...]:
        """`order`, or a single span."""
        return self.order or (Span(0, len(self.kernels), self.updates),)

    def __str__(self) -> str:
        lines = [f"{b.role} {b}: {b.dtype.name}{list(b.shape)}" for b in self.buffers]
        lines += _show_regions(self, self.regions, "")
        lines.append("return " + ", ".join(map(str, self.outputs)))
        lines += [f"update {old} <- {new}" for old, new in self.updates if old is not new]
        return "\n".join(lines)

    def verify(self) -> Program:
        """Check the invariants and return the program. Raises GraphError that shows the kernel."""
        checked = {(fault.buffer, fault.size) for fault in self.faults}
        for span, around in spans(self.regions):
            for kernel in self.kernels[span.start : span.stop]:
                Verifier(kernel, self.buffers, checked).run(around)
        return self


def show(kernel: Kernel) -> list[str]:
    """The text of a kernel."""
    how = f" vector {kernel.vector}" if kernel.vector else ""
    how += "".join(f" jam {var} by {n}" for var, n in kernel.jam.items())
    return [f"kernel {kernel.name}{how}  # {', '.join(kernel.sources)}", *_show(kernel.body, "  ")]


def _show_regions(program: Program, regions: Sequence[Region], indent: str) -> Iterator[str]:
    for region in regions:
        if isinstance(region, Span):
            for kernel in program.kernels[region.start : region.stop]:
                yield from (indent + line for line in show(kernel))
        elif isinstance(region, Repeat):
            yield f"{indent}repeat {region.var} < {region.count or region.var.extent}:"
            yield from _show_regions(program, region.body, indent + "  ")
        else:
            yield f"{indent}when {region.condition}:"
            yield from _show_regions(program, region.body, indent + "  ")


def _show(body: Sequence[Statement], indent: str) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, Loop):
            yield f"{indent}for {statement.var} < {statement.var.extent}:"
            yield from _show(statement.body, indent + "  ")
        else:
            for line in _line(statement).split("\n"):
                yield indent + line


def _line(statement: Let | Assign | Store | Check) -> str:
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
    if isinstance(statement, Loop):
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


def accesses(kernel: Kernel) -> Iterator[tuple[Access, bool, tuple[Var, ...]]]:
    """Every access of a kernel: what, whether it is written, and the loops around it."""
    for statement, around in statements(kernel.body):
        for leaf in leaves(*expressions(statement)):
            if isinstance(leaf, Access):
                yield leaf, False, around
        if isinstance(statement, Store):
            yield statement.target, True, around


_LIMIT: Final = 2**62


class Verifier:
    """Checks one kernel."""

    def __init__(self, kernel: Kernel, buffers: Sequence[Buffer], checked: set[tuple[Buffer, int]]) -> None:
        self.kernel, self.buffers, self.checked = kernel, set(buffers), checked
        self.vectors = 0

    def run(self, around: tuple[Var, ...] = ()) -> None:
        """Raise GraphError at the first fault; `around` are the variables of the repetitions around the kernel."""
        self._body(self.kernel.body, around, {TAIL}, None)

    def _body(
        self, body: Sequence[Statement], around: tuple[Var, ...], known: set[Register], outside: set[Register] | None
    ) -> None:
        """`outside` are the registers that were there when the vector loop began."""
        known = set(known)
        for statement in body:
            if isinstance(statement, Loop):
                var = statement.var
                if var in around:
                    self._fault(f"a loop over {var} inside of itself")
                is_vector = var is self.kernel.vector
                if is_vector and outside is not None:
                    self._fault(f"a vector loop over {var} inside of another")
                self._body(statement.body, (*around, var), known, known if is_vector else outside)
                continue
            for leaf in leaves(*expressions(statement)):
                self._leaf(leaf, around, known)
            if isinstance(statement, Store):
                self._access(statement.target, around)
            elif isinstance(statement, Let):
                known.add(statement.register)
            elif isinstance(statement, Assign):
                if statement.register not in known:
                    self._fault(f"a change of {statement.register} before it begins")
                if outside is not None and statement.register in outside and statement.register.combine is None:
                    self._fault(f"lanes that share {statement.register}, which cannot be combined")

    def _leaf(self, leaf: Any, around: tuple[Var, ...], known: set[Register]) -> None:
        if isinstance(leaf, Access):
            self._access(leaf, around)
        elif isinstance(leaf, Affine):
            self._variables(leaf, around)
        elif leaf not in known:
            self._fault(f"a use of {leaf} before it begins")

    def _variables(self, index: Affine, around: tuple[Var, ...]) -> None:
        for var, _ in index.terms:
            if var not in around:
                self._fault(f"{var} outside of its loop")

    def _access(self, access: Access, around: tuple[Var, ...]) -> None:
        buffer = access.buffer
        if buffer not in self.buffers:
            self._fault(f"{access}, of a buffer the program does not have")
        if len(access.index) != len(buffer.shape):
            self._fault(f"{access} for shape {buffer.shape}")
        for axis, (index, length) in enumerate(zip(access.index, buffer.shape, strict=True)):
            if isinstance(index, Expr):
                source = index.args[0] if index.op == "int64" else index
                loaded = source.value.buffer if source.op == "param" and isinstance(source.value, Access) else None
                if (loaded, length) not in self.checked:
                    self._fault(f"{access}, whose index on axis {axis} is not checked")
                continue
            self._variables(index, around)
            if any(var.extent == 0 for var, _ in index.terms) or any(var.extent == 0 for var in around):
                continue
            low, high = index.bounds()
            for guard in access.guards:
                if guard.index.terms == index.terms:
                    shift = index.offset - guard.index.offset
                    low, high = max(low, guard.low + shift), min(high, guard.high - 1 + shift)
            if low <= high and (low < 0 or high >= length):
                self._fault(f"{access}, which reaches {low}..{high} on axis {axis} of length {length}")

    def _fault(self, what: str) -> None:
        raise GraphError(message("program", what) + "\n" + "\n".join(show(self.kernel)))


def element_count(shape: Shape) -> int:
    """Number of elements."""
    return int(np.prod(shape, dtype=np.int64)) if shape else 1
