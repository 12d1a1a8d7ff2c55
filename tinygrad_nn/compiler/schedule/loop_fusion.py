"""Loop fusion: kernels whose outermost loop runs over the same lanes become one. A softmax passes once over each row.

Two neighbours are fused when each takes only what the other made in its own lane: then every lane of the second may run
as soon as that of the first is done. What lies in between then stays in registers (`expand` hands a stored value on),
and one kernel stores several results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from ...graph.scalar import walk
from ..loopir.ir import (
    Access,
    Affine,
    Buffer,
    Check,
    Gemm,
    Kernel,
    Loop,
    Var,
    affine,
    expressions,
)
from ..loopir.substitute import Substitution

SIZE: Final = 120  # scalar operations of a kernel from which none is fused with it any more


def fuse(kernels: Sequence[Kernel], updates: Mapping[Buffer, Buffer]) -> list[Kernel]:
    """Neighbours fused where they can be, from the first on; but a new value of the state, which is to be written over
    the old one, is not fused with what reads that.
    """
    result: list[Kernel] = []
    for kernel in kernels:
        if result and fits(result[-1], kernel) and not _needs_old(result[-1], kernel, updates):
            result[-1] = fused(result[-1], kernel)
        else:
            result.append(kernel)
    return result


def _needs_old(first: Kernel, second: Kernel, updates: Mapping[Buffer, Buffer]) -> bool:
    written = {access.buffer for access, is_write, _ in first.accesses if is_write}
    read = {access.buffer for access, is_write, _ in second.accesses if not is_write}
    return any(updates.get(old) in written for old in read)


def fits(first: Kernel, second: Kernel) -> bool:
    """Whether two kernels run over the same lanes and meet in their own lanes only."""
    a, b = _lanes(first), _lanes(second)
    if a is None or b is None or (a.extent, a.tail) != (b.extent, b.tail):
        return False
    if _itemsize(first) != _itemsize(second) or _work(first) + _work(second) > SIZE:
        return False
    written: dict[Buffer, list[Access]] = {}
    read: dict[Buffer, list[Access]] = {}
    for access, is_write, _ in first.accesses:
        (written if is_write else read).setdefault(access.buffer.base or access.buffer, []).append(access)
    for access, is_write, _ in second.accesses:
        base = access.buffer.base or access.buffer
        met = [*written.get(base, ()), *(read.get(base, ()) if is_write else ())]
        if not all(_same_lane(other, a, access, b) for other in met):
            return False
    return True


def _lanes(kernel: Kernel) -> Var | None:
    """The variable of the lanes where the whole kernel is a loop over it and nothing is folded across."""
    if len(kernel.body) != 1 or kernel.wide != 1 or kernel.vector is None:
        return None
    (loop,) = kernel.body
    if not isinstance(loop, Loop) or loop.var is not kernel.vector:
        return None
    if any(isinstance(one, (Check, Gemm)) for one, _ in kernel.statements):
        return None
    return loop.var


def _itemsize(kernel: Kernel) -> int:
    return max(
        (part.dtype.itemsize for one, _ in kernel.statements for root in expressions(one) for part in walk(root)
         if part.dtype.kind == "f"),
        default=8,
    )  # fmt: skip


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


def fused(first: Kernel, second: Kernel) -> Kernel:
    """One kernel with the bodies of both."""
    (a,), (b,) = first.body, second.body
    if not isinstance(a, Loop) or not isinstance(b, Loop):
        return first
    rename = Substitution({b.var: affine(a.var)})
    body = (*a.body, *(rename.statement(one) for one in b.body))
    return replace(
        first,
        name=f"{first.name}_{second.name.partition('_')[2]}",
        body=(Loop(a.var, body),),
        sources=tuple(dict.fromkeys((*first.sources, *second.sources))),
        jam={**first.jam, **second.jam},
    )
