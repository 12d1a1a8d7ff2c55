"""Register tiles: how many vectors by how many rows a fold kernel computes at a time: what it loads serves them all.

A fold of floats (of a product, a convolution, anything) with an output axis in its lanes has an accumulator for each
vector of each row of a tile. In a round it loads what depends on the lanes once for all rows, and what depends on a row
once for all vectors. So each node of the fold is counted as often as a round computes it, and of the tiles whose
accumulators stay in registers the one with the fewest cycles for the whole kernel is taken, with what is left over at
the ends.

Small kernels are not tiled: `axes.jams` runs a few of their rows together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations, product
from math import ceil, prod
from typing import Final, NamedTuple

from ...graph.scalar import Expr, walk
from ..loopir.ir import (
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
    leaves,
    nest,
)
from ..target import FIRST
from .axes import GATHER, iterations, lanes_of

FROM: Final = 1024  # vector operations of a kernel's folds from which it is tiled,
MANY: Final = 16384  # or these, where code has to be small
PORTS: Final = 2.0  # vector operations that begin in a cycle, and loads
LATENCY: Final = 5.0  # cycles from an accumulator's value to its next one, and one more: not all begin at once
LOAD: Final = 0.1  # cycles that a load costs besides, as ports and caches are shared
TILE: Final = 6.0  # cycles to begin and to end a tile, and
RESULT: Final = 1.0  # for each of its accumulators
CODE: Final = 20.0  # cycles of a run that an instruction must save to be worth the time to compile it
ROWS: Final = 14  # of a tile at most
PAIR: Final = 32  # of both loops together
WIDE: Final = (1, 2, 4, 8)  # vectors of a tile
SPARE: Final = 2  # registers for what is on its way
FREE: Final = frozenset(("param", "const"))
SHORT: Final = 12  # rounds of a fold that are unrolled


@dataclass(frozen=True, slots=True)
class Tile:
    """So many vectors, and so many iterations of each of these loops."""

    wide: int
    rows: Mapping[Var, int]


class Rounds(NamedTuple):
    """How often a loop runs, and in the short last batch. A tile knows its loops by number, innermost first."""

    extent: int
    tail: int | None


@dataclass(frozen=True, slots=True)
class Part:
    """Nodes of a fold that depend on the same loops: their operations and loads in a round."""

    lanes: bool
    rows: frozenset[int]
    operations: float
    loads: float


@dataclass(frozen=True, slots=True)
class Fold:
    """What one loop folds: rounds, accumulators of a row and vector, and what a round computes."""

    rounds: float
    registers: int
    parts: tuple[Part, ...]

    def instructions(self, wide: int, size: int) -> float:
        """About so many, of a tile with so many rows."""
        nodes = sum(part.operations * (wide if part.lanes else 1) for part in self.parts)
        return size * nodes * (self.rounds if self.rounds <= SHORT else 1.0)

    def cycles(self, wide: int, rows: Mapping[int, int]) -> float:
        """The cycles of all rounds of one tile."""
        operations = loads = 0.0
        for part in self.parts:
            often = prod((rows[var] for var in part.rows if var in rows), start=wide if part.lanes else 1)
            operations, loads = operations + often * part.operations, loads + often * part.loads
        return self.rounds * (max(operations / PORTS, loads / PORTS, LATENCY) + LOAD * loads)

    def fits(self, wide: int, rows: Mapping[int, int], registers: int) -> bool:
        """Whether accumulators and what they share stay in registers."""
        kept = [part for part in self.parts if part.lanes and not any(rows.get(var, 1) > 1 for var in part.rows)]
        shared = wide * ceil(sum(part.loads > 0 for part in kept))
        return self.registers * wide * prod(rows.values()) + shared + SPARE <= registers


def tile(
    kernel: Kernel, width: int, registers: int, inner: Mapping[Buffer, int], blocks: float = 1.0, compact: bool = False
) -> Tile | None:
    """The tile of a kernel, run for so many blocks of rows; None where it has no fold for one or little to do."""
    vector = kernel.vector
    if vector is None or any(isinstance(one, (Check, Gemm)) for one, _ in kernel.statements):
        return None
    began = {one.register: around for one, around in kernel.statements if isinstance(one, Let)}
    assigns = [
        (one, around) for one, around in kernel.statements
        if isinstance(one, Assign) and len(around) > len(began[one.register])
    ]  # fmt: skip
    outputs = max((began[one.register] for one, _ in assigns), key=len, default=())
    carrying = {var for one, around in assigns for var in around[len(began[one.register]) :]}
    inside = vector in carrying  # the lanes are terms of one sum
    if (vector in outputs) is inside or any(one.register.dtype.kind != "f" for one, _ in assigns):
        return None
    candidates = [var for var in reversed(outputs) if var is not vector and var not in carrying]
    nodes = {node for one, _ in kernel.statements for root in expressions(one) for node in walk(root)}
    lanes = max(1, width // kernel.itemsize)
    vectors = ceil(vector.extent / lanes)
    if not vectors:
        return None
    total = sum(prod(var.extent for var in around) for _, around in assigns) / vector.extent * vectors
    if total * blocks < (MANY if compact else FROM):
        return None
    number = {var: k for k, var in enumerate(candidates)}
    folds = tuple(_folds(assigns, began, Uses(vector, frozenset(candidates), lanes, inner), number))
    if inside and len(folds) > 1:
        return None
    around = sum(node.op not in FREE for node in nodes)
    around += 2 * sum(isinstance(one, (Let, Store)) for one, _ in kernel.statements)
    loops = tuple(Rounds(var.extent, var.tail) for var in candidates)
    if inside:  # its lanes are summed at the end
        around, vectors = around + (lanes - 1).bit_length(), 1
    wide = tuple(n for n in (WIDE if vector.tail is None else (1,)) if n <= vectors)
    found = _cheapest(folds, loops, wide, vectors, inside, around, blocks, registers)
    return None if found is None else Tile(found[0], {candidates[k]: count for k, count in found[1]})


@lru_cache(maxsize=1024)
def _cheapest(
    folds: Sequence[Fold], loops: Sequence[Rounds], wides: Sequence[int], vectors: int, inside: bool, around: int,
    blocks: float, registers: int,
) -> tuple[int, tuple[tuple[int, int], ...]] | None:
    """The vectors of the cheapest tile, and the iterations of loops by their number: layers that are equal ask once."""
    best, least = None, float("inf")
    for wide in wides:
        across = [(wide, vectors // wide)]
        if vectors % wide:
            across.append((1 << (vectors % wide - 1).bit_length(), 1))
        for rows in _rows(loops, inside):
            if wide * prod(rows.values()) > 1 and not all(fold.fits(wide, rows, registers) for fold in folds):
                continue
            rest = prod((one.extent for k, one in enumerate(loops) if k not in rows), start=blocks)
            cost = _cost(folds, loops, across, rows, around, rest)
            if cost < least:
                best, least = (wide, tuple(rows.items())), cost
    return best


def tiled(kernel: Kernel, found: Tile) -> Kernel:
    """The kernel in such tiles."""
    jam = {var: count for var, count in found.rows.items() if count > 1}
    return replace(kernel, body=_panel_by_panel(kernel), jam=jam, wide=found.wide)


def _panel_by_panel(kernel: Kernel) -> tuple[Statement, ...]:
    """The body with the vector loop outside of the rows that load the same vectors, where these are too many for the
    first cache: all rows take what a tile has to load of them before the next part of them comes.
    """
    chain: list[Loop] = []
    body = kernel.body
    while len(body) == 1 and isinstance(body[0], Loop):
        chain.append(body[0])
        body = body[0].body
    loops = [loop.var for loop in chain]
    vector = kernel.vector
    if vector is None or vector not in loops or not independent(kernel, loops):
        return kernel.body
    before = loops[: loops.index(vector)]
    large: set[Var] = set()
    for access, written, around in kernel.accesses:
        used = set(variables(access))
        if vector in used and not written and len(around) > len(loops):
            inside = prod(var.extent for var in (vector, *around[len(loops) :]) if var in used)
            large |= {var for var in before if var not in used and inside * access.buffer.dtype.itemsize > FIRST}
    place = next((k for k in range(len(before)) if large.issuperset(before[k:])), len(before))
    return nest([*before[:place], vector, *before[place:], *loops[len(before) + 1 :]], body)


def independent(kernel: Kernel, loops: Sequence[Var]) -> bool:
    """Whether the rounds of these loops may come in any order: each stores elsewhere, what no other reads."""
    read = {access.buffer.base or access.buffer for access, written, _ in kernel.accesses if not written}
    for one, _ in kernel.statements:
        if isinstance(one, Store):
            own = {index for index in one.target.index if isinstance(index, Affine)}
            if (
                one.add
                or (one.target.buffer.base or one.target.buffer) in read
                or not own.issuperset(affine(var) for var in loops)
            ):
                return False
    return True


def _folds(
    assigns: Sequence[tuple[Assign, tuple[Var, ...]]],
    began: Mapping[Register, tuple[Var, ...]],
    uses: Uses,
    number: Mapping[Var, int],
) -> Iterator[Fold]:
    """Statements of one loop are one fold."""
    together: dict[tuple[Var, ...], list[Assign]] = {}
    for one, around in assigns:
        together.setdefault(around, []).append(one)
    for around, statements in together.items():
        registers = {one.register for one in statements}
        outside = max((began[register] for register in registers), key=len)
        folded = tuple(var for var in around if var not in outside)
        rounds = iterations(folded, uses.vector, uses.lanes)
        yield Fold(rounds, len(registers), tuple(_parts([one.value for one in statements], uses, number)))


def _parts(values: Sequence[Expr], uses: Uses, number: Mapping[Var, int]) -> Iterator[Part]:
    """The nodes of expressions, by what they depend on."""
    found: dict[tuple[bool, frozenset[Var]], tuple[float, float]] = {}
    depends: dict[Expr, tuple[bool, frozenset[Var]]] = {}
    for node in dict.fromkeys(node for value in values for node in walk(value)):
        loads = 0.0
        if node.op == "param":
            depends[node], loads = uses.of(node.value)
        else:
            each = [depends[arg] for arg in node.args]
            depends[node] = any(one for one, _ in each), frozenset[Var]().union(*(own for _, own in each))
        before = found.get(depends[node], (0.0, 0.0))
        found[depends[node]] = before[0] + (node.op not in FREE), before[1] + loads
    for (along, rows), (operations, loads) in found.items():
        yield Part(along, frozenset(number[var] for var in rows), operations, loads)


@dataclass(frozen=True, slots=True)
class Uses:
    """What the leaves of a fold depend on: the lanes along `vector`, and which rows."""

    vector: Var
    rows: frozenset[Var]
    lanes: int
    inner: Mapping[Buffer, int]

    def of(self, leaf: object) -> tuple[tuple[bool, frozenset[Var]], float]:
        """That, and what it costs to load one vector. A register is another one for each vector of each row."""
        if isinstance(leaf, Register):
            return (True, self.rows), 0.0
        if not isinstance(leaf, (Access, Affine)):
            return (False, frozenset()), 0.0
        used = set(variables(leaf))
        loads = 0.0
        if isinstance(leaf, Access):
            axis, scattered = lanes_of(leaf, self.vector)
            beside = axis is None or self.inner[leaf.buffer] == axis
            loads = 1.0 if beside and not scattered else self.lanes * GATHER
        return (self.vector in used, self.rows & used), loads


def variables(leaf: Access | Affine) -> Iterator[Var]:
    """The loops that a leaf depends on."""
    if isinstance(leaf, Affine):
        yield from (var for var, _ in leaf.terms)
        return
    for guard in leaf.guards:
        yield from variables(guard.index)
    for index in leaf.index:
        for part in (index,) if isinstance(index, Affine) else leaves(index):
            if isinstance(part, (Access, Affine)):
                yield from variables(part)


def _rows(loops: Sequence[Rounds], inside: bool) -> Iterator[dict[int, int]]:
    """How many iterations of which loops: of any one, and where the innermost one is short also of the next one. Where
    lanes are `inside` of the fold they serve no two results, so two loops have to share what they load.
    """
    if not loops:
        yield {}
        return
    first, *rest = loops
    for number, loop in enumerate(loops):
        for count in _counts(loop):
            yield {number: count}
    if rest and first.extent <= ROWS // 2 and first.tail is None:
        for count in _counts(rest[0]):
            yield {0: first.extent, 1: count}


    for (one, first), (other, second) in combinations(enumerate(loops), 2) if inside else ():
        for count, more in product(_counts(first), _counts(second)):
            if min(count, more) > 1 and count * more <= PAIR:
                yield {one: count, other: more}


def _counts(loop: Rounds) -> Iterator[int]:
    """Numbers of iterations that a tile may have; the short last batch has at least one tile too."""
    yield from range(1, min(loop.extent, loop.tail or loop.extent, ROWS) + 1)


def _cost(
    folds: Sequence[Fold],
    loops: Sequence[Rounds],
    across: Sequence[tuple[int, int]],
    rows: Mapping[int, int],
    around: int,
    often: float,
) -> float:
    """The cycles of a kernel in tiles, run so `often`, and what its code costs. The last tiles are smaller, and code of
    their own; of batches they overlap. Each row has so many operations `around` its folds.
    """
    shapes: list[tuple[dict[int, int], int]] = [({}, 1)]
    for loop, count in rows.items():
        whole, left = divmod(loops[loop].extent, count)
        if left and loops[loop].tail is not None:
            whole, left = whole + 1, 0
        ends = [(count, whole)] + ([(left, 1)] if left else [])
        shapes = [({**shape, loop: size}, tiles * times) for shape, tiles in shapes for size, times in ends]
    cycles = code = 0.0
    for wide, columns in across:
        for shape, tiles in shapes:
            size = prod(shape.values())
            each = sum(fold.cycles(wide, shape) for fold in folds) + TILE + RESULT * wide * size
            cycles += tiles * columns * each
            code += sum(fold.instructions(wide, size) for fold in folds) + size * (1 + wide * around)
    return often * cycles + CODE * code
