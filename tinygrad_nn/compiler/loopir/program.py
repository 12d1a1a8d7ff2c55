"""A compiled program: kernels on the buffers of one arena, in order, some of them repeated; and its verifier.

Invariants, checked by `Program.verify`
- Every affine index stays inside its buffer for all values of its loop variables, unless a guard says where it counts.
- An index that comes from data is a load from a buffer that a `Check` of the same program has compared with the axis,
  or a constant more, where the axis is as much longer.
- What is read is an input, a constant, or written by some kernel.
- A loop variable is used only inside its loop, a register only after its `Let`, in the same loop or a deeper one.
- At most one loop of a nest is the vector loop. Its iterations are independent, but for registers that begin outside
  of it, which must have a `combine`: each lane then folds its own share, starting from `identity`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import GraphError, message
from ...graph.scalar import Expr
from ...ops.lookup import Called
from .ir import (
    TAIL,
    Access,
    Affine,
    Assign,
    Buffer,
    Gemm,
    Guard,
    Kernel,
    Let,
    Loop,
    Register,
    Statement,
    Store,
    Var,
    expressions,
    leaves,
    show,
)


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """The kernels `start` to `stop`, one after the other; then the new values of the state take the old ones' place."""

    start: int
    stop: int
    updates: tuple[tuple[Buffer, Buffer], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Repeat:
    """Regions run for every value of a variable; as often as `count`, a 0-d int64 buffer, says, where it is given.

    With `tail` the register TAIL holds in the last round: the batch is the short one. With `rows` the rounds are blocks
    of the rows of one batch: kernels inside do as much work in all as without blocks.
    """

    var: Var
    body: tuple[Region, ...]
    count: Access | None = None
    tail: bool = False
    rows: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class When:
    """Regions that run where an int64 element has a value; with `tail` the register TAIL holds where that is not 0."""

    element: Access
    value: int
    body: tuple[Region, ...]
    tail: Access | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    """Regions that touch nothing the others write, so that several threads run them without waiting for each other:
    kernels with a `split` together, all else the first one alone. At the end they wait.
    """

    body: tuple[Region, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Crew:
    """The regions of a program that several threads run, at most the extent of `var`, which is the number of each."""

    var: Var
    body: tuple[Region, ...]


Region = Span | Repeat | When | Phase | Crew


def paths(regions: Sequence[Region], around: tuple[Region, ...] = ()) -> Iterator[tuple[Span, tuple[Region, ...]]]:
    """Every span of a tree, with the regions around it, outermost first."""
    for region in regions:
        if isinstance(region, Span):
            yield region, around
        else:
            yield from paths(region.body, (*around, region))


def spans(regions: Sequence[Region]) -> Iterator[tuple[Span, tuple[Var, ...]]]:
    """Every span of a tree, with the variables of the repetitions around it, and that of threads."""
    for span, around in paths(regions):
        yield span, tuple(region.var for region in around if isinstance(region, (Repeat, Crew)))


def with_spans(regions: Sequence[Region], new: Mapping[Span, Span]) -> tuple[Region, ...]:
    """The tree with its spans replaced."""
    return tuple(
        new[region] if isinstance(region, Span) else replace(region, body=with_spans(region.body, new))
        for region in regions
    )


def shifted(regions: Sequence[Region], by: int) -> tuple[Region, ...]:
    """The tree for kernels that stand so much later."""
    return with_spans(regions, {s: replace(s, start=s.start + by, stop=s.stop + by) for s, _ in spans(regions)})


@dataclass(frozen=True, slots=True)
class Fault:
    """What a Check found wrong, for the message: who was called, the buffer of indices and the length of the axis.

    Where `size` is None they are divisors, of which none may be 0; without a buffer they lie in a part of one. Numbers
    below `low` are wrong.
    """

    called: Called
    buffer: Buffer | None
    size: int | None
    low: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Kernels in order. `inputs`, `outputs` and `updates` (input, new value) follow the graph's.

    `regions` hold every kernel once, in order, and say which are repeated.
    """

    kernels: tuple[Kernel, ...]
    buffers: tuple[Buffer, ...]
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    updates: tuple[tuple[Buffer, Buffer], ...]
    faults: tuple[Fault, ...]
    regions: tuple[Region, ...]

    def __str__(self) -> str:
        lines = [f"{b.role} {b}: {b.dtype.name}{list(b.shape)}" for b in self.buffers]
        lines += _show_regions(self, self.regions, "")
        lines.append("return " + ", ".join(map(str, self.outputs)))
        lines += [f"update {old} <- {new}" for old, new in self.updates if old is not new]
        return "\n".join(lines)

    def verify(self) -> Program:
        """Check the invariants and return the program. Raises GraphError that shows the kernel."""
        checked = {(f.buffer, f.size) for f in self.faults if f.buffer is not None and f.size is not None}
        written = {
            access.buffer.base or access.buffer
            for kernel in self.kernels
            for access, writes, _ in kernel.accesses
            if writes
        }
        for span, around in spans(self.regions):
            for kernel in self.kernels[span.start : span.stop]:
                Verifier(kernel, self.buffers, checked, written).run(around)
        return self


def _show_regions(program: Program, regions: Sequence[Region], indent: str) -> Iterator[str]:
    for region in regions:
        if isinstance(region, Span):
            for kernel in program.kernels[region.start : region.stop]:
                yield from (indent + line for line in show(kernel))
            continue
        if isinstance(region, Repeat):
            yield f"{indent}repeat {region.var} < {region.count or region.var.extent}:"
        elif isinstance(region, When):
            yield f"{indent}when {region.element} == {region.value}:"
        elif isinstance(region, Crew):
            yield f"{indent}threads {region.var} < {region.var.extent}:"
        else:
            yield f"{indent}phase:"
        yield from _show_regions(program, region.body, indent + "  ")


class Verifier:
    """Checks one kernel."""

    def __init__(
        self, kernel: Kernel, buffers: Sequence[Buffer], checked: set[tuple[Buffer, int]], written: set[Buffer]
    ) -> None:
        self.kernel, self.buffers, self.checked, self.written = kernel, set(buffers), checked, written

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
            if isinstance(statement, Gemm):
                self._gemm(statement)
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

    def _gemm(self, one: Gemm) -> None:
        (m, k), (k2, n) = (reversed(b.shape) if t else b.shape for b, t in ((one.x, one.tx), (one.y, one.ty)))
        if one.target.shape != (m, n) or k != k2 or not all(b.row_major for b in (one.target, one.x, one.y)):
            self._fault("a gemm of matrices that do not fit or are not row-major")

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
        base = buffer.base or buffer
        if base.role == "temporary" and base not in self.written and 0 not in base.shape:
            self._fault(f"{access}, which nothing writes")
        if len(access.index) != len(buffer.shape):
            self._fault(f"{access} for shape {buffer.shape}")
        for axis, (index, length) in enumerate(zip(access.index, buffer.shape, strict=True)):
            if isinstance(index, Expr):
                loaded, offset = _from_data(index)
                if not any(one is loaded and 0 <= offset <= length - size for one, size in self.checked):
                    self._fault(f"{access}, whose index on axis {axis} is not checked")
                continue
            self._variables(index, around)
            if any(var.extent == 0 for var, _ in index.terms) or any(var.extent == 0 for var in around):
                continue
            low, high = _bounds(index, access.guards)
            for guard in access.guards:
                if guard.index.terms == index.terms:
                    shift = index.offset - guard.index.offset
                    low, high = max(low, guard.low + shift), min(high, guard.high - 1 + shift)
            if low <= high and (low < 0 or high >= length):
                self._fault(f"{access}, which reaches {low}..{high} on axis {axis} of length {length}")

    def _fault(self, what: str) -> None:
        raise GraphError(message("program", what) + "\n" + "\n".join(show(self.kernel)))


def _from_data(index: Expr) -> tuple[Buffer | None, int]:
    """The buffer that an index is loaded from, and what is added to it."""
    offset = 0
    if index.op == "add" and index.args[1].op == "const":
        index, offset = index.args[0], int(index.args[1].value)
    source = index.args[0] if index.op == "int64" else index
    return (source.value.buffer if source.op == "param" and isinstance(source.value, Access) else None), offset


def _bounds(index: Affine, guards: Sequence[Guard]) -> tuple[int, int]:
    """The smallest and largest value of an index, where guards limit variables, or parts of the index."""
    for guard in guards:
        step = index.coefficient(guard.index.terms[0][0]) if len(guard.index.terms) > 1 else 0
        rest = index - guard.index * step
        if step and len(rest.terms) == len(index.terms) - len(guard.index.terms):
            low, high = _bounds(rest, guards)
            sides = (step * guard.low, step * (guard.high - 1))
            return (0, -1) if low > high or guard.low >= guard.high else (low + min(sides), high + max(sides))
    ranges = {var: (0, var.extent - 1) for var, _ in index.terms}
    for guard in guards:
        if not guard.index.terms and not guard.low <= guard.index.offset < guard.high:
            return 0, -1  # never
        if len(guard.index.terms) == 1:
            ((var, step),) = guard.index.terms
            ends = [guard.low - guard.index.offset, guard.high - 1 - guard.index.offset]
            first, last = sorted(ends, reverse=step < 0)
            if var in ranges:
                low, high = ranges[var]
                ranges[var] = max(low, -(-first // step)), min(high, last // step)
    if any(low > high for low, high in ranges.values()):
        return 0, -1
    pairs = [(c * ranges[var][0], c * ranges[var][1]) for var, c in index.terms]
    return index.offset + sum(map(min, pairs)), index.offset + sum(map(max, pairs))
