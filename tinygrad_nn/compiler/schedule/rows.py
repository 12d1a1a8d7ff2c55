"""Rows in blocks: a run of kernels over one batch axis goes over the batch once, block after block of rows.

Layer after layer over all rows, activations leave the cache before they are read again. Where kernels meet in the same
row only, or fold over rows, they may as well run for some rows and then for the next ones:

    before                 what the run reads, and the beginnings of its folds
    repeat block < n:      the run, for the rows of a block; a fold goes on where the block before left it
    (the rows left over)   the run once more
    after                  what needs a complete fold or all rows, and the new state

What only the run reads and writes is as long as a block, so it stays in the first cache. A fold takes the rows in the
order it would have taken them; only a sum whose lanes are rows is grouped by blocks. Sizes follow from the program
and the constants below, so the same target always adds in the same order. Where it does not pay, nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Final

from ...graph.scalar import INT64, Expr, const, param, walk
from ..loopir.ir import (
    TAIL,
    Access,
    Affine,
    Assign,
    Buffer,
    Check,
    Gemm,
    Kernel,
    Let,
    Loop,
    Register,
    Statement,
    Store,
    Var,
    affine,
    expressions,
    nest,
)
from ..loopir.program import Program, Region, Repeat, Span, When, spans
from ..loopir.substitute import Substitution
from ..target import FIRST, SECOND, THIRD

LINE: Final = 8  # rows of which a block has a multiple, if it can: whole vectors
RUNS: Final = 8  # that are looked at for a number of rows: a deep model has hundreds, which are like the first ones
WORTH: Final = 4  # times the cache that must pass through it: else all of it may as well stay there


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """How a kernel goes over the rows: its loop over them, the axis of each buffer that it stores by rows, and the
    registers that it folds over them, which begin in the `block` inside of the loops `outer`.
    """

    var: Var
    stores: Mapping[Buffer, int]
    folds: tuple[Register, ...] = ()
    outer: tuple[Var, ...] = ()
    block: tuple[Statement, ...] = ()


def in_blocks(program: Program) -> Program:
    """The program with its runs over many rows in blocks; the same one where none pays."""
    made = _Blocks(program)
    regions = made.regions(program.regions)
    if not made.runs:
        return program
    buffers = (*(b for b in program.buffers if b not in made.gone), *made.buffers)
    return replace(program, kernels=tuple(made.kernels), buffers=buffers, regions=regions)


# ---- what a kernel does with rows ---------------------------------------------------------------------------------


def row_of(kernel: Kernel, rows: tuple[int, int | None]) -> Iterator[Row]:
    """The ways in which a kernel goes over so many rows, by each of its loops that has so many rounds."""
    if any(isinstance(one, (Check, Gemm)) for one, _ in kernel.statements):
        return
    for var in dict.fromkeys(var for _, around in kernel.statements for var in around):
        if (var.extent, var.tail) == rows:
            found = _row(kernel, var)
            if found is not None:
                yield found


def _row(kernel: Kernel, var: Var) -> Row | None:
    began = {one.register: around for one, around in kernel.statements if isinstance(one, Let)}
    stores: dict[Buffer, int] = {}
    folds: dict[Register, None] = {}
    adds = False  # to places that data says
    for one, around in kernel.statements:
        if var not in around:
            if isinstance(one, Assign):
                return None
        elif isinstance(one, Assign) and var not in began[one.register]:
            folds[one.register] = None
        elif isinstance(one, Store):
            axis = _axis(one.target, var)
            if axis is not None and stores.setdefault(one.target.buffer, axis) == axis:
                continue
            if not one.add or any(isinstance(i, Affine) and i.coefficient(var) for i in one.target.index):
                return None
            adds = True
    outside = any(isinstance(one, Store) and var not in around for one, around in kernel.statements)
    if not folds:
        return None if outside or not (stores or adds) else Row(var, stores)
    if stores or adds:
        return None
    outer: list[Var] = []
    block = kernel.body
    while len(block) == 1 and isinstance(block[0], Loop) and block[0].var is not var:
        outer.append(block[0].var)
        block = block[0].body
    begun = {one.register for one in block if isinstance(one, Let)}
    loops = [one for one in block if isinstance(one, Loop)]
    if len(loops) != 1 or not begun >= set(folds) or _position(block, loops[0]) < _last_let(block, folds):
        return None
    return Row(var, {}, tuple(folds), tuple(outer), block)


def _axis(access: Access, var: Var) -> int | None:
    """The axis on which an access goes with the rows."""
    axes = [axis for axis, index in enumerate(access.index) if index == affine(var)]
    return axes[0] if len(axes) == 1 and not any(guard.index.coefficient(var) for guard in access.guards) else None


def _position(block: Sequence[Statement], one: Statement) -> int:
    return next(k for k, other in enumerate(block) if other is one)


def _last_let(block: Sequence[Statement], folds: Mapping[Register, None]) -> int:
    return max(k for k, one in enumerate(block) if isinstance(one, Let) and one.register in folds)


# ---- which kernels are a run --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Touched:
    """The buffers that some kernels read and write, and whether one of them `checks` what it reads."""

    reads: set[Buffer] = field(default_factory=set)
    writes: set[Buffer] = field(default_factory=set)
    checks: bool = False

    def add(self, other: _Touched) -> None:
        """Those of other kernels too."""
        self.reads |= other.reads
        self.writes |= other.writes

    def meets(self, other: _Touched) -> bool:
        """Whether the order of both matters."""
        apart = self.writes.isdisjoint(other.reads) and self.writes.isdisjoint(other.writes)
        return not (apart and self.reads.isdisjoint(other.writes))


def _touched(kernel: Kernel) -> _Touched:
    found = _Touched(checks=any(isinstance(one, Check) for one, _ in kernel.statements))
    for access, written, _ in kernel.accesses:
        (found.writes if written else found.reads).add(access.buffer.base or access.buffer)
    return found


@dataclass(slots=True)
class _Run:
    """Kernels of a span in three groups: a run over `rows`, and what comes before and after it.

    `axes` are those of the rows in what the run stores by rows, `inner` what of that nobody else reads.
    """

    rows: tuple[int, int | None]
    kernels: list[tuple[Kernel, Row]] = field(default_factory=list)
    before: list[Kernel] = field(default_factory=list)
    after: list[Kernel] = field(default_factory=list)
    axes: dict[Buffer, int] = field(default_factory=dict)
    inner: dict[Buffer, int] = field(default_factory=dict)

    def axis(self, buffer: Buffer) -> int | None:
        """The axis of the rows in what the run stores by rows, or in another shape of it that has the same rows."""
        axis = self.axes.get(buffer.base or buffer)
        again = buffer.base is None or (axis == 0 and buffer.shape[:1] == buffer.base.shape[:1])
        return axis if again else None


def _run(
    kernels: Sequence[Kernel],
    rows: tuple[int, int | None],
    ways: Mapping[Kernel, Sequence[Row]],
    touched: Mapping[Kernel, _Touched],
) -> _Run:
    """Take every kernel into the run that fits; one that meets nothing of it goes before, all others after."""
    run = _Run(rows)
    ours, later = _Touched(), _Touched()
    for kernel in kernels:
        own = touched[kernel]
        waits = own.meets(later)
        fitting = () if waits else (row for row in ways[kernel] if _fits(kernel, row, run, ours))
        row = next(iter(fitting), None)
        if row is not None:
            run.kernels.append((kernel, row))
            run.axes |= {buffer.base or buffer: axis for buffer, axis in row.stores.items()}
            ours.add(own)
        elif not waits and not own.meets(ours):
            run.before.append(kernel)
        else:
            run.after.append(kernel)
            later.add(own)
            if own.checks:
                later.writes |= own.reads  # what is checked is used after that
    return run


def _fits(kernel: Kernel, row: Row, run: _Run, ours: _Touched) -> bool:
    """Whether a kernel meets the kernels of a run in its own row only."""
    for access, written, _ in kernel.accesses:
        base = access.buffer.base or access.buffer
        if written and base is not access.buffer:
            return False
        if base in run.axes:
            axis = run.axis(access.buffer)
            if axis is None or access.index[axis] != affine(row.var):
                return False
        elif base in ours.writes or (written and base in ours.reads):
            return False
    return True


# ---- whether it pays ----------------------------------------------------------------------------------------------


def _size(run: _Run) -> int:
    """The rows of a block; 0 where it does not pay."""
    rows, _ = run.rows
    by_rows: dict[Buffer, bool] = {}
    for kernel, row in run.kernels:
        for access, _, _ in kernel.accesses:
            goes = any(isinstance(index, Affine) and index.coefficient(row.var) for index in access.index)
            by_rows[access.buffer.base or access.buffer] = goes
    fixed = sum(_bytes(buffer) for buffer, goes in by_rows.items() if not goes)
    each = sum(_bytes(buffer) for buffer, goes in by_rows.items() if goes) // rows
    inner = sum(map(_bytes, run.inner))
    for cache in (FIRST, SECOND, THIRD):
        room = cache * 3 // 4 - fixed
        if fixed * 4 <= cache and inner > WORTH * cache and room >= LINE * each:
            return _even(rows, room // each)
    return 0


def _bytes(buffer: Buffer) -> int:
    return prod(buffer.shape) * buffer.dtype.itemsize


def _even(rows: int, most: int) -> int:
    """A number of rows up to `most` that is whole vectors and leaves no rows over, if there is one not much smaller."""
    most = min(most, rows // 2) // LINE * LINE
    return max((n for n in range(most, most // 4 - 1, -LINE) if rows % n == 0), default=most)


# ---- the program in blocks ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Pieces:
    """What becomes of a run: what to do before, and after; and for a block, or for the rows that are left over."""

    begin: list[Kernel] = field(default_factory=list)
    end: list[Kernel] = field(default_factory=list)
    run: list[tuple[Kernel, Row]] = field(default_factory=list)


class _Blocks:
    """A program while its runs are put in blocks."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.kernels: list[Kernel] = []
        self.buffers: list[Buffer] = []
        self.runs = 0
        self.gone: set[Buffer] = set()
        self.touched = {kernel: _touched(kernel) for kernel in program.kernels}
        self.users: dict[Buffer, set[Kernel]] = {}
        for kernel, one in self.touched.items():
            for buffer in one.reads | one.writes:
                self.users.setdefault(buffer, set()).add(kernel)
        self.shapes: dict[Buffer, list[Buffer]] = {}  # other shapes of a buffer
        for buffer in program.buffers:
            if buffer.base is not None:
                self.shapes.setdefault(buffer.base, []).append(buffer)
        state = (buffer for span, _ in spans(program.regions) for pair in span.updates for buffer in pair)
        kept = (*program.outputs, *state, *(f.buffer for f in program.faults if f.buffer is not None))
        self.kept = {b for b in program.buffers if b.role != "temporary"} | {b.base or b for b in kept}

    def regions(self, regions: Sequence[Region]) -> tuple[Region, ...]:
        """The tree, each span with its runs in blocks."""
        result: list[Region] = []
        for region in regions:
            if isinstance(region, Span):
                result += self.span(region)
            else:
                result.append(replace(region, body=self.regions(region.body)))
        return tuple(result)

    def span(self, span: Span) -> Iterator[Region]:
        """A span: run after run, where they pay."""
        kernels: Sequence[Kernel] = self.program.kernels[span.start : span.stop]
        while True:
            run, size = self.best(kernels)
            if run is None:
                break
            self.runs += 1
            pieces = _Pieces()
            for kernel, row in run.kernels:
                pieces.run.append((self.split(kernel, row, pieces) if row.folds else kernel, row))
            yield from self.blocks(run, size, pieces)
            kernels = [*pieces.end, *run.after]
            self.touched |= {kernel: _touched(kernel) for kernel in pieces.end}
        yield replace(self.add(kernels), updates=span.updates)

    def add(self, kernels: Iterable[Kernel]) -> Span:
        """Kernels of the new program."""
        start = len(self.kernels)
        self.kernels += kernels
        return Span(start, len(self.kernels))

    def best(self, kernels: Sequence[Kernel]) -> tuple[_Run | None, int]:
        """The run that has most to gain, and the rows of its blocks."""
        buffers = {buffer for kernel in kernels for buffer in self.touched[kernel].writes}
        lengths: dict[int, int] = {}  # how much lies along axes so long
        for buffer in buffers - self.kept:
            for n in set(buffer.shape):
                lengths[n] = lengths.get(n, 0) + _bytes(buffer)
        found: dict[tuple[int, int | None], None] = {}
        for kernel in kernels if max(lengths.values(), default=0) > WORTH * FIRST else ():
            for _, around in kernel.statements:
                worth = (var for var in around if lengths.get(var.extent, 0) > WORTH * FIRST)
                found |= {(var.extent, var.tail): None for var in worth if var.extent >= 2 * LINE}
        best: tuple[int, _Run | None, int] = 0, None, 0
        for rows in found:
            rest, passed = kernels, list[Kernel]()
            ways = {kernel: tuple(row_of(kernel, rows)) for kernel in kernels}
            for _ in range(RUNS):
                run = _run(rest, rows, ways, self.touched)
                run.inner = self.inner(run)
                size, gain = _size(run), sum(map(_bytes, run.inner))
                if size and gain > best[0]:
                    best = gain, replace(run, before=[*passed, *run.before]), size
                passed += [*run.before, *(kernel for kernel, _ in run.kernels)]
                rest = run.after
                if not rest or not run.kernels:
                    break
        return best[1], best[2]

    def inner(self, run: _Run) -> dict[Buffer, int]:
        """What the run alone touches, with the axis of its rows."""
        own = {kernel for kernel, _ in run.kernels}
        alone = {b: axis for b, axis in run.axes.items() if b not in self.kept and self.users[b] <= own}
        return {b: a for b, a in alone.items() if all(run.axis(s) == a for s in self.shapes.get(b, ()))}

    def blocks(self, run: _Run, size: int, pieces: _Pieces) -> Iterator[Region]:
        """The regions of a run in blocks of so many rows: what comes before, the blocks, the rows left over."""
        rows, tail = run.rows
        block = Var("block", rows // size)
        control: list[Kernel] = []
        count = case = None
        if tail is not None and tail // size != block.extent:
            count = self.control(f"blocks{self.runs}", tail // size, block.extent, control)
        if tail is not None and (rows % size, rows // size) != (tail % size, tail // size):
            case = self.control(f"short{self.runs}", 1, 0, control)
        yield self.add([*run.before, *pieces.begin, *control])
        short = self.short(run, size)
        yield Repeat(block, (self.add(_moved(pieces.run, run, short, affine(block) * size, size)),), count, rows=True)
        for number, n in enumerate((rows,) if case is None or tail is None else (rows, tail)):
            if n % size:
                rest = self.add(_moved(pieces.run, run, short, Affine(n // size * size), n % size))
                yield rest if case is None else When(case, number, (rest,))

    def control(self, name: str, tail: int, whole: int, kernels: list[Kernel]) -> Access:
        """A number that depends on whether the batch is the short last one."""
        buffer = Buffer(name, (), INT64)
        self.buffers.append(buffer)
        value = param(TAIL, TAIL.dtype).where(const(tail, INT64), const(whole, INT64))
        kernels.append(Kernel(name, (Store(Access(buffer, ()), value),), ("rows",)))
        return Access(buffer, ())

    def short(self, run: _Run, size: int) -> dict[Buffer, Buffer]:
        """What only the run touches, as long as a block."""
        short: dict[Buffer, Buffer] = {}
        for buffer, axis in run.inner.items():
            short[buffer] = replace(buffer, shape=(*buffer.shape[:axis], size, *buffer.shape[axis + 1 :]))
            for other in self.shapes.get(buffer, ()):
                short[other] = replace(other, shape=(size, *other.shape[1:]), base=short[buffer])
        self.buffers += short.values()
        self.gone |= short.keys()
        return short

    def split(self, kernel: Kernel, row: Row, pieces: _Pieces) -> Kernel:
        """A fold that goes on from where it was, with a kernel before that begins it and one after that uses it."""
        at = _position(row.block, next(one for one in row.block if isinstance(one, Loop)))
        lets, loop, last = row.block[:at], row.block[at], row.block[at + 1 :]
        index = tuple(affine(var) for var in row.outer)
        places: dict[Register, Access] = {}
        for register in row.folds:
            target = _target(last, register, index) if len(row.folds) == 1 else None
            if target is None:
                shape = tuple(var.extent for var in row.outer)
                buffer = Buffer(f"{kernel.name}_{register.name}", shape, register.dtype)
                self.buffers.append(buffer)
                target = Access(buffer, index)
            places[register] = target
        known = tuple(one for one in lets if isinstance(one, Let) and one.register not in places)
        first = {one.register: one.value for one in lets if isinstance(one, Let)}
        begin: tuple[Statement, ...] = (*known, *(Store(place, first[register]) for register, place in places.items()))
        pieces.begin.append(replace(kernel, name=f"{kernel.name}_begin", body=nest(row.outer, begin)))
        so_far = tuple(Let(r, param(place, r.dtype)) for r, place in places.items())
        kept = tuple(Store(place, param(r, r.dtype)) for r, place in places.items())
        if not (len(last) == 1 and isinstance(last[0], Store) and last[0].target in places.values()):
            whole = {
                leaf: param(places[leaf.value], leaf.dtype)
                for one in last
                for root in expressions(one)
                for leaf in walk(root)
                if leaf.op == "param" and leaf.value in places
            }
            given = Substitution(expressions=whole)
            end = nest(row.outer, (*known, *(given.statement(one) for one in last)))
            pieces.end.append(replace(kernel, name=f"{kernel.name}_end", body=end))
        return replace(kernel, body=nest(row.outer, (*known, *so_far, loop, *kept)))


def _target(last: Sequence[Statement], register: Register, index: tuple[Affine, ...]) -> Access | None:
    """Where a fold is stored as it is, once for each place: there it may be while it is not complete."""
    match last:
        case (Store(target=target, value=value, add=False),):
            stored = value.op == "param" and value.value is register and target.buffer.dtype == register.dtype
            plain = not target.guards and {i for i in target.index if i != Affine()} == set(index)
            return target if stored and plain and len(set(index)) == len(index) else None
    return None


def _moved(
    kernels: Sequence[tuple[Kernel, Row]], run: _Run, short: Mapping[Buffer, Buffer], start: Affine, count: int
) -> Iterator[Kernel]:
    """Kernels for so many rows from `start` on."""
    for kernel, row in kernels:
        var = Var(row.var.name, count)
        inner = {buffer: (run.axes[buffer.base or buffer], affine(var)) for buffer in short}
        moved = Substitution({row.var: start + affine(var)}, short, {}, {row.var: var}, inner)
        name = f"{kernel.name}_rest" if start.terms == () else kernel.name
        yield replace(kernel, name=name, body=tuple(moved.statement(one) for one in kernel.body))


def block_runs(program: Program) -> Iterator[tuple[Repeat, list[str]]]:
    """The runs in blocks, with the names of their kernels."""
    for region in _repeated(program.regions):
        inside = [program.kernels[span.start : span.stop] for span, _ in spans((region,))]
        yield region, [kernel.name for kernels in inside for kernel in kernels]


def operands(program: Program) -> frozenset[Buffer]:
    """What blocks of rows read whole, over and over, and do not change: a copy in another order costs next to nothing.

    Buffers that are another shape of one, or have one, are in the order that they are in.
    """
    found: set[Buffer] = set()
    for region in _repeated(program.regions):
        read: set[Buffer] = set()
        others: set[Buffer] = set()
        for span, _ in spans((region,)):
            for kernel in program.kernels[span.start : span.stop]:
                for access, written, _ in kernel.accesses:
                    goes = any(isinstance(index, Expr) or index.coefficient(region.var) for index in access.index)
                    (others if written or goes else read).add(access.buffer)
        found |= read - others
    return frozenset(found - {buffer.base for buffer in program.buffers if buffer.base is not None})


def _repeated(regions: Sequence[Region]) -> Iterator[Repeat]:
    for region in regions:
        if isinstance(region, Repeat) and region.rows:
            yield region
        elif not isinstance(region, Span):
            yield from _repeated(region.body)
