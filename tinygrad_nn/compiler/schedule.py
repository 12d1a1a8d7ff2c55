"""How a program runs on a machine: the vector axis and the jam of each kernel, the layout and the place of each buffer.

The cost of a kernel is a count of what its innermost statements do, one vector at a time: a load from consecutive
places or of one place costs 1, one from scattered places as many as there are lanes. Layouts and vector axes are chosen
together by descent: each buffer in turn takes the innermost axis that makes its kernels cheapest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Final

from ..graph import Shape
from ..scalar import Expr, walk
from .loopir import (
    Access,
    Affine,
    Assign,
    Buffer,
    Check,
    Kernel,
    Let,
    Loop,
    Program,
    Register,
    Statement,
    Store,
    Var,
    accesses,
    expressions,
    leaves,
    statements,
)

ALIGNMENT: Final = 64  # bytes
GATHER: Final = 1.5  # cost of one lane of a scattered load
FOLD: Final = 8.0  # cost of folding the lanes of a register at the end
JAM: Final = 4  # iterations run together


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the elements of a buffer lie: elements per step of each axis, and elements in all, padding included.

    `inner` is the axis whose elements are next to each other, `pitch` its length with padding.
    """

    strides: tuple[int, ...]
    size: int
    inner: int
    pitch: int


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """A program with its layouts, offsets (bytes) and the size of its arena."""

    program: Program
    layouts: Mapping[Buffer, Layout]
    offsets: Mapping[Buffer, int]
    size: int
    width: int


def schedule(program: Program, width: int) -> Schedule:
    """Choose for vectors of `width` bytes."""
    program = replace(program, kernels=late_updates(program))
    inner, vectors = choose(program, width)
    kernels = []
    for kernel, vector in zip(program.kernels, vectors, strict=True):
        body = outermost(kernel.body, vector) if vector else kernel.body
        shaped = replace(kernel, body=body, vector=vector)
        kernels.append(replace(shaped, jam=jams(shaped, width)))
    program = replace(program, kernels=tuple(kernels))
    layouts = {buffer: layout(buffer, inner[buffer], width) for buffer in program.buffers}
    program, offsets, size = place(program, layouts)
    return Schedule(program, layouts, offsets, size, width)


def layout(buffer: Buffer, inner: int, width: int) -> Layout:
    """Row-major order with one axis moved innermost and padded to whole vectors; plain buffers have neither."""
    rank = len(buffer.shape)
    if rank == 0:
        return Layout((), 1, -1, 1)
    order = [axis for axis in range(rank) if axis != inner] + [inner]
    lanes = 1 if buffer.plain or buffer.shape[inner] <= 1 else width // buffer.dtype.itemsize
    pitch = ceil(buffer.shape[inner] / lanes) * lanes
    strides, step = [0] * rank, 1
    for axis in reversed(order):
        strides[axis] = step
        step *= pitch if axis == inner else buffer.shape[axis]
    return Layout(tuple(strides), max(step, 1), inner, pitch)


def late_updates(program: Program) -> tuple[Kernel, ...]:
    """The kernels with those last that only make new values of the state, so that these may replace the old ones."""
    targets = {new for _, new in program.updates} - set(program.outputs)
    readers: dict[Buffer, set[Kernel]] = {}
    writes: dict[Kernel, set[Buffer]] = {}
    for kernel in program.kernels:
        for access, written, _ in accesses(kernel):
            base = access.buffer.base or access.buffer
            if written:
                writes.setdefault(kernel, set()).add(base)
            else:
                readers.setdefault(base, set()).add(kernel)
    late = [
        kernel
        for kernel in program.kernels
        if writes.get(kernel) and all(b in targets and readers.get(b, set()) <= {kernel} for b in writes[kernel])
    ]
    return (*(kernel for kernel in program.kernels if kernel not in late), *late)


# ---- vector axes and layouts ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Use:
    """One access as the cost model sees it."""

    buffer: Buffer
    index: tuple[Affine | Expr, ...]
    around: tuple[Var, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """What the cost of a kernel depends on."""

    kernel: Kernel
    uses: tuple[Use, ...]
    work: tuple[tuple[int, tuple[Var, ...]], ...]  # scalar operations, loops around
    candidates: tuple[Var, ...]
    folded: Mapping[Var, tuple[Var, ...]]  # of a loop whose lanes are folded: the loops around it
    itemsize: int


def choose(program: Program, width: int) -> tuple[dict[Buffer, int], list[Var | None]]:
    """The innermost axis of every buffer and the vector axis of every kernel."""
    profiles = [profile(kernel) for kernel in program.kernels]
    same = {new: old for old, new in program.updates if not (new.plain or old.plain)}
    inner = {buffer: last_long(buffer.shape) for buffer in program.buffers}
    users: dict[Buffer, set[int]] = {}
    for position, one in enumerate(profiles):
        for use in one.uses:
            users.setdefault(same.get(use.buffer, use.buffer), set()).add(position)
    costs = [best(one, inner, width)[0] for one in profiles]
    free = [b for b in users if len(b.shape) > 1 and not b.plain and sum(n > 1 for n in b.shape) > 1]
    for _ in range(2):
        changed = False
        for buffer in sorted(free, key=lambda b: -prod(b.shape)):
            linked = [buffer, *(new for new, old in same.items() if old is buffer)]
            before = inner[buffer]
            options: list[tuple[float, int, int, dict[int, float]]] = []
            for axis in range(len(buffer.shape)):
                if buffer.shape[axis] == 1:
                    continue
                for one in linked:
                    inner[one] = axis
                fresh = {position: best(profiles[position], inner, width)[0] for position in users[buffer]}
                options.append((sum(fresh.values()), abs(axis - before), axis, fresh))
            _, _, axis, fresh = min(options, key=lambda option: option[:2])
            for one in linked:
                inner[one] = axis
            for position, cost in fresh.items():
                costs[position] = cost
            changed |= axis != before
        if not changed:
            break
    return inner, [best(one, inner, width)[1] for one in profiles]


def last_long(shape: Shape) -> int:
    """The last axis with more than one element, or the last one."""
    return max((axis for axis, n in enumerate(shape) if n > 1), default=len(shape) - 1)


def profile(kernel: Kernel) -> Profile:
    """Look through a kernel once."""
    uses = tuple(Use(access.buffer, access.index, around) for access, _, around in accesses(kernel))
    work = tuple(
        (sum(part.op not in ("param", "const") for root in expressions(one) for part in walk(root)), around)
        for one, around in statements(kernel.body)
    )
    variables = dict.fromkeys(var for _, around in statements(kernel.body) for var in around)
    folded: dict[Var, tuple[Var, ...]] = {}
    candidates = [var for var in variables if may_be_vector(kernel, var, folded)]
    sizes = [access.buffer.dtype.itemsize for access, _, _ in accesses(kernel) if access.buffer.dtype.kind == "f"]
    return Profile(kernel, uses, work, tuple(candidates), folded, max(sizes, default=8))


def may_be_vector(kernel: Kernel, var: Var, folded: dict[Var, tuple[Var, ...]]) -> bool:
    """Whether the iterations of a loop may lie in lanes: they write to different places, and what they share folds."""
    began: dict[Register, tuple[Var, ...]] = {}
    for one, around in statements(kernel.body):
        if isinstance(one, Let):
            began[one.register] = around
        if var not in around:
            continue
        if isinstance(one, Assign) and var not in began[one.register]:
            if one.register.combine is None:
                return False
            folded[var] = around[: around.index(var)]
        if isinstance(one, Store) and not any(
            isinstance(index, Affine) and index.coefficient(var) for index in one.target.index
        ):
            return False
    return True


def best(one: Profile, inner: Mapping[Buffer, int], width: int) -> tuple[float, Var | None]:
    """The cheapest vector axis of a kernel and its cost."""
    lanes = width // one.itemsize
    options = [(cost(one, var, inner, lanes), k, var) for k, var in enumerate((*one.candidates, None))]
    total, _, var = min(options, key=lambda option: option[:2])
    return total, var


def cost(one: Profile, vector: Var | None, inner: Mapping[Buffer, int], lanes: int) -> float:
    """What a kernel does, in vectors."""
    total = 0.0
    for use in one.uses:
        trips = iterations(use.around, vector, lanes)
        total += trips * (stride_cost(use, vector, inner, lanes) if vector in use.around else 1.0)
    for operations, around in one.work:
        total += iterations(around, vector, lanes) * operations
    if vector in one.folded:
        total += iterations(one.folded[vector], None, lanes) * FOLD  # type: ignore[index]
    return total


def iterations(around: Iterable[Var], vector: Var | None, lanes: int) -> float:
    """How often something runs, a vector of lanes counting once."""
    return float(prod(ceil(var.extent / lanes) if var is vector else var.extent for var in around))


def stride_cost(use: Use, vector: Var | None, inner: Mapping[Buffer, int], lanes: int) -> float:
    """A load of one place or of places in a row costs 1."""
    for axis, index in enumerate(use.index):
        if isinstance(index, Expr):
            if any(reads(leaf, vector) for leaf in leaves(index)):
                return lanes * GATHER
        else:
            step = index.coefficient(vector) if vector else 0
            if step and (axis != inner[use.buffer] or step != 1):
                return lanes * GATHER
    return 1.0


def reads(leaf: object, var: Var | None) -> bool:
    """Whether an expression's leaf depends on a variable."""
    if var is None:
        return False
    if isinstance(leaf, Access):
        return any(isinstance(i, Affine) and i.coefficient(var) for i in leaf.index)
    return isinstance(leaf, Affine) and bool(leaf.coefficient(var))


def outermost(body: Sequence[Statement], vector: Var) -> tuple[Statement, ...]:
    """The vector loop moved to the outside of the loops that hold nothing else and fold the same registers."""
    result: list[Statement] = []
    for one in body:
        if not isinstance(one, Loop):
            result.append(one)
            continue
        chain = [one]
        while len(chain[-1].body) == 1 and isinstance(chain[-1].body[0], Loop):
            chain.append(chain[-1].body[0])
        variables = [loop.var for loop in chain]
        inside: tuple[Statement, ...] = chain[-1].body
        if vector in variables and all(isinstance(s, Assign) for s in inside):
            variables = [vector, *(var for var in variables if var is not vector)]
            for var in reversed(variables):
                inside = (Loop(var, inside),)
            result += inside
        else:
            result.append(Loop(one.var, outermost(one.body, vector)))
    return tuple(result)


def jams(kernel: Kernel, width: int) -> dict[Var, int]:
    """Which loops run several iterations together: those around a fold, so that it loads less for each result."""
    began: dict[Register, tuple[Var, ...]] = {}
    around_fold: tuple[Var, ...] = ()
    for one, around in statements(kernel.body):
        if isinstance(one, Let):
            began[one.register] = around
        if isinstance(one, Assign) and len(around) > len(began[one.register]):
            around_fold = max(around_fold, began[one.register], key=len)
    if not around_fold or any(isinstance(one, Check) for one, _ in statements(kernel.body)):
        return {}
    carrying = {
        var
        for one, around in statements(kernel.body)
        if isinstance(one, Assign)
        for var in around[len(began[one.register]) :]
    }
    result: dict[Var, int] = {}
    together = 1
    for var in reversed(around_fold):
        if var is kernel.vector or var in carrying:
            continue
        count = max((n for n in range(1, JAM + 1) if var.extent % n == 0), default=1)
        if count * together > 2 * JAM:
            continue
        if count > 1:
            result[var] = count
            together *= count
    return result


# ---- memory -----------------------------------------------------------------------------------------------------------


def place(program: Program, layouts: dict[Buffer, Layout]) -> tuple[Program, dict[Buffer, int], int]:
    """Offsets in the arena. Temporaries share memory when they do not live at the same time.

    A new value of the state takes the place of the old one where nothing reads that any more; otherwise it is copied at
    the end.
    """
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    own: dict[Buffer, Buffer] = {b: b.base or b for b in program.buffers}
    reads_of: dict[Buffer, dict[int, list[Access]]] = {}
    writes_of: dict[Buffer, dict[int, list[Access]]] = {}
    for position, kernel in enumerate(program.kernels):
        for access, written, _ in accesses(kernel):
            base = own[access.buffer]
            first.setdefault(base, position)
            last[base] = position
            (writes_of if written else reads_of).setdefault(base, {}).setdefault(position, []).append(access)
    end = len(program.kernels)
    for buffer in program.outputs:
        last[own[buffer]] = end
    shared: dict[Buffer, Buffer] = {}
    copies: list[tuple[Buffer, Buffer]] = []
    taken: set[Buffer] = set()
    for old, new in program.updates:
        if old is new:
            continue
        when = writes_of.get(new, {})
        begin = min(when, default=end)
        alone = new not in taken and new.role == "temporary" and new.base is None and layouts[old] == layouts[new]
        later = any(k > begin for k in reads_of.get(old, {})) or len(when) != 1
        here = reads_of.get(old, {}).get(begin, [])
        pointwise = all(access.index == write.index for access in here for write in when.get(begin, []))
        if alone and not later and pointwise and old not in program.outputs and all(old is not n for _, n in program.updates):
            shared[new] = old
            taken.add(new)
        else:
            copies.append((old, new))
            last[own[new]] = end + 1
    offsets: dict[Buffer, int] = {}
    size = 0
    for buffer in program.buffers:
        if own[buffer] is buffer and (buffer.role != "temporary" or buffer not in first):
            offsets[buffer] = size
            size += _bytes(buffer, layouts)
    fixed = size
    live: list[tuple[int, int, int]] = []  # offset, end, last use
    for buffer in sorted((b for b in first if b.role == "temporary" and b not in shared), key=lambda b: first[b]):
        live = [one for one in live if one[2] >= first[buffer]]
        need = _bytes(buffer, layouts)
        at = _first_gap(live, need, fixed)
        offsets[buffer] = at
        live.append((at, at + need, last[buffer]))
        size = max(size, at + need)
    for new, old in shared.items():
        offsets[new] = offsets[old]
    for buffer in program.buffers:
        if own[buffer] is not buffer:
            offsets[buffer] = offsets[own[buffer]]
    return _with_copies(program, copies, layouts, offsets, size)


def _first_gap(live: list[tuple[int, int, int]], need: int, start: int) -> int:
    at = start
    for begin, end, _ in sorted(live):
        if at + need <= begin:
            break
        at = max(at, end)
    return at


def _bytes(buffer: Buffer, layouts: Mapping[Buffer, Layout]) -> int:
    return ceil(layouts[buffer].size * buffer.dtype.itemsize / ALIGNMENT) * ALIGNMENT


def _with_copies(
    program: Program,
    copies: Sequence[tuple[Buffer, Buffer]],
    layouts: dict[Buffer, Layout],
    offsets: dict[Buffer, int],
    size: int,
) -> tuple[Program, dict[Buffer, int], int]:
    """The program with kernels that copy new values into the state at its end, by way of a third buffer where one
    state's new value is another state's old one.
    """
    kernels = list(program.kernels)
    buffers = list(program.buffers)
    olds = {old for old, _ in copies}
    sources: dict[Buffer, Buffer] = {}
    for _, new in copies:
        if new in olds and new not in sources:
            between = Buffer(f"{new.name}c", new.shape, new.dtype)
            buffers.append(between)
            layouts[between] = layouts[new]
            offsets[between] = size
            size += _bytes(between, layouts)
            sources[new] = between
            kernels.append(copy(between, new))
    kernels += [copy(old, sources.get(new, new)) for old, new in copies]
    return replace(program, kernels=tuple(kernels), buffers=tuple(buffers)), offsets, size


def copy(target: Buffer, source: Buffer) -> Kernel:
    """A kernel that copies a buffer."""
    loops = [Var(f"u{axis}", n) for axis, n in enumerate(target.shape)]
    index = tuple(Affine(0, ((var, 1),)) for var in loops)
    body: tuple[Statement, ...] = (Store(Access(target, index), _load(source, index)),)
    for var in reversed(loops):
        body = (Loop(var, body),)
    return Kernel(f"copy_{target.name}", body, ("update",))


def _load(source: Buffer, index: tuple[Affine, ...]) -> Expr:
    return Expr("param", (), source.dtype, Access(source, index))
