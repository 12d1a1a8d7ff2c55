"""Loop fusion: kernels whose loops run over the same become one. A softmax passes once over each row, the update of a
parameter once over memory.

Two kernels are fused when each takes only what the other made in its own iteration, of the lanes or of whole nests of
equal loops: then every iteration of the second may run as soon as that of the first is done. Parts of a buffer that
lie side by side never meet. What lies in between then stays in registers (`expand` hands a stored value on), and one
kernel stores several results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from ...graph.scalar import walk
from ..loopir.ir import (
    Access,
    Affine,
    Assign,
    Buffer,
    Check,
    Gemm,
    Kernel,
    Loop,
    Statement,
    Store,
    Var,
    affine,
    expressions,
    nest,
)
from ..loopir.substitute import Substitution

SIZE: Final = 120  # scalar operations of a kernel from which none is fused with it any more


def fuse(kernels: Sequence[Kernel], updates: Mapping[Buffer, Buffer]) -> list[Kernel]:
    """Each kernel fused with the one before where it can be, or, if it is a nest of loops, with one that makes what it
    reads and may wait until then. But a new value of the state, which is to be written over the old one, is not fused
    with what reads that.
    """
    result: list[Kernel | None] = []  # None: it waits
    reader: dict[Buffer, int] = {}  # the last place where a buffer is read,
    writer: dict[Buffer, int] = {}  # and written

    def waits(at: int, kernel: Kernel) -> bool:
        """Whether nothing behind a place needs what its kernel makes, or changes what it reads."""
        reads, writes = _touched(kernel)
        changed = (reads | writes) | {updates[buffer] for buffer in reads if buffer in updates}
        return all(writer.get(buffer, at) <= at for buffer in changed) and all(reader.get(b, at) <= at for b in writes)

    for kernel in kernels:
        last = len(result) - 1
        makers = {writer.get(buffer, last) for buffer in _touched(kernel)[0]} if _nest(kernel) else set()
        for at in (last, *sorted(makers - {last}, reverse=True)):
            first = result[at] if at >= 0 else None
            if first is None or not fits(first, kernel) or _needs_old(first, kernel, updates):
                continue
            if at == last or waits(at, first):
                result[at] = None
                kernel = fused(first, kernel)
                break
        for places, buffers in zip((reader, writer), _touched(kernel), strict=True):
            places.update(dict.fromkeys(buffers, len(result)))
        result.append(kernel)
    return [kernel for kernel in result if kernel is not None]


def _touched(kernel: Kernel) -> tuple[set[Buffer], set[Buffer]]:
    """What a kernel reads and what it writes, aliases as their base."""
    touched: tuple[set[Buffer], set[Buffer]] = (set(), set())
    for access, is_write, _ in kernel.accesses:
        touched[is_write].add(access.buffer.base or access.buffer)
    return touched


def _needs_old(first: Kernel, second: Kernel, updates: Mapping[Buffer, Buffer]) -> bool:
    written = {access.buffer for access, is_write, _ in first.accesses if is_write}
    read = {access.buffer for access, is_write, _ in second.accesses if not is_write}
    return any(updates.get(old) in written for old in read)


def fits(first: Kernel, second: Kernel) -> bool:
    """Whether two kernels run over the same iterations, and meet in their own ones only, but there."""
    loops = _shared_loops(first, second)
    if not loops or first.itemsize != second.itemsize or _work(first) + _work(second) > SIZE:
        return False
    written: dict[Buffer, list[Access]] = {}
    read: dict[Buffer, list[Access]] = {}
    for access, is_write, _ in first.accesses:
        (written if is_write else read).setdefault(access.buffer.base or access.buffer, []).append(access)
    common = False
    for access, is_write, _ in second.accesses:
        base = access.buffer.base or access.buffer
        common = common or (bool(base.shape) and (base in written or base in read))
        met = [*written.get(base, ()), *(read.get(base, ()) if is_write else ())]
        met = [other for other in met if not _apart(other, access)]
        if not all(_same_lane(other, a, access, b) for other in met for a, b in loops):
            return False
    return common


def _shared_loops(first: Kernel, second: Kernel) -> tuple[tuple[Var, Var], ...]:
    """The loops that two kernels are to share, outermost first, where neither loses a tile by that: all of two equal
    nests, or those down to the lanes, or those around loops over as many lanes.
    """
    for find in (_nest, _lanes, _rows):
        one, other = find(first), find(second)
        loops = tuple(zip(one, other, strict=False))
        if not loops or len(one) != len(other) or not all(_alike(a, b) for a, b in loops):
            continue
        if first.vector and second.vector and not _alike(first.vector, second.vector):
            continue
        if all((a is first.vector) == (b is second.vector) for a, b in loops) and _keeps_tiles(first, second, loops):
            return loops
    return ()


def _keeps_tiles(first: Kernel, second: Kernel, loops: Sequence[tuple[Var, Var]]) -> bool:
    """Whether two kernels take as many iterations together; or else none of them is a product, for which that counts,
    and they may take others.
    """
    if first.wide == second.wide and all(first.jam.get(a) == second.jam.get(b) for a, b in loops):
        return True
    ones, others = zip(*loops, strict=True)
    return (
        not (_multiplies(first) or _multiplies(second)) and _in_any_order(first, ones) and _in_any_order(second, others)
    )


def _in_any_order(kernel: Kernel, loops: Sequence[Var]) -> bool:
    """Whether each iteration of some loops stores elsewhere, where no other reads."""
    written = [access for access, is_write, _ in kernel.accesses if is_write]
    return all(
        _same_lane(one, var, access, var)
        for one in written
        for access, _, _ in kernel.accesses
        if (access.buffer.base or access.buffer) is (one.buffer.base or one.buffer)
        for var in loops
    )


def _multiplies(kernel: Kernel) -> bool:
    return any(isinstance(one, Assign) and one.value.op == "fma" for one, _ in kernel.statements)


def _alike(a: Var, b: Var) -> bool:
    return (a.extent, a.tail) == (b.extent, b.tail)


def _nest(kernel: Kernel) -> tuple[Var, ...]:
    """The loops of a kernel that is nothing but loops, each inside of the other, around what is stored."""
    body, found = kernel.body, list[Var]()
    while len(body) == 1 and isinstance(body[0], Loop):
        found.append(body[0].var)
        body = body[0].body
    plain = all(isinstance(one, Store) for one in body) and not kernel.jam and kernel.wide == 1
    return tuple(found) if plain else ()


def _lanes(kernel: Kernel) -> tuple[Var, ...]:
    """The loops of a kernel down to the one over lanes, where each holds nothing but the next, and none is a fold."""
    body, found = kernel.body, list[Var]()
    if any(isinstance(one, (Check, Gemm)) for one, _ in kernel.statements):
        return ()
    while len(body) == 1 and isinstance(body[0], Loop):
        found.append(body[0].var)
        body = body[0].body
        if found[-1] is kernel.vector:
            return tuple(found)
    return ()


def _rows(kernel: Kernel) -> tuple[Var, ...]:
    """The loops of a kernel around those over lanes, where each but the last holds nothing but the next."""
    body, found = kernel.body, list[Var]()
    if kernel.vector is None or any(isinstance(one, (Check, Gemm)) for one, _ in kernel.statements):
        return ()
    while len(body) == 1 and isinstance(body[0], Loop) and body[0].var is not kernel.vector:
        found.append(body[0].var)
        body = body[0].body
    return tuple(found)


def _work(kernel: Kernel) -> int:
    return sum(len(walk(root)) for one, _ in kernel.statements for root in expressions(one))


def _same_lane(one: Access, a: Var, other: Access, b: Var) -> bool:
    """Whether two accesses of a buffer meet in the same lane only: one axis is the lane in both."""
    if one.buffer is not other.buffer or one.guards or other.guards:
        return False
    return any(
        isinstance(i, Affine) and isinstance(j, Affine) and i == affine(a) and j == affine(b)
        for i, j in zip(one.index, other.index, strict=True)
    )


def _apart(one: Access, other: Access) -> bool:
    """Whether two accesses never meet, as in parts of a buffer that are side by side."""
    if one.buffer is not other.buffer:
        return False
    for i, j in zip(one.index, other.index, strict=True):
        if isinstance(i, Affine) and isinstance(j, Affine):
            (least, most), (low, high) = i.bounds(), j.bounds()
            if most < low or high < least:
                return True
    return False


def fused(first: Kernel, second: Kernel) -> Kernel:
    """One kernel with the bodies of both. It takes as many iterations of a loop together as one of them did, so that a
    fold goes on waiting for none.
    """
    loops = _shared_loops(first, second)
    back = {b: a for a, b in loops}
    if first.vector and second.vector:
        back[second.vector] = first.vector
    rename = Substitution(back, loops=back)
    body = (*_inside(first, len(loops)), *(rename.statement(one) for one in _inside(second, len(loops))))
    jam = dict(first.jam)
    for var, count in second.jam.items():
        var = back.get(var, var)
        jam[var] = max(jam.get(var, 1), count)
    return replace(
        first,
        name=f"{first.name}_{second.name.partition('_')[2]}",
        body=nest([a for a, _ in loops], body),
        sources=tuple(dict.fromkeys((*first.sources, *second.sources))),
        jam=jam,
        wide=min(first.wide, second.wide),
        origins={**first.origins, **second.origins},
    )


def _inside(kernel: Kernel, depth: int) -> tuple[Statement, ...]:
    """What stands inside of so many loops."""
    body = kernel.body
    for _ in range(depth):
        (loop,) = body
        body = loop.body if isinstance(loop, Loop) else ()
    return body
