"""Memory: the layout of each buffer and its place in the arena.

Temporaries share memory when they do not live at the same time, and a new value of the state takes the place of the old
one where nothing reads that any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from ..scalar import Expr
from .loopir import Access, Affine, Buffer, Kernel, Loop, Program, Statement, Store, Var, accesses

ALIGNMENT: Final = 64  # bytes


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the elements of a buffer lie: elements per step of each axis, and elements in all, padding included.

    `inner` is the axis whose elements are next to each other, `pitch` its length with padding.
    """

    strides: tuple[int, ...]
    size: int
    inner: int
    pitch: int


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
        if (
            alone
            and not later
            and pointwise
            and old not in program.outputs
            and all(old is not n for _, n in program.updates)
        ):
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
