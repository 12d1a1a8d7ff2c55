"""From which size on the BLAS of this process multiplies matrices faster than our own loops: measured, once a machine.

What is compiled is a function of what the compiler is given, so the size is a part of the `Target` and no stage asks
for it. It is measured when the first large product is met and kept in the cache folder. Without that folder, or
without SciPy, nothing is measured, and all products are our own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Final

from ...config import config
from ...graph.graph import NO_ATTRS, DType, Graph, Node
from ...graph.scalar import FLOAT32, FLOAT64
from ...ops.contract import MATMUL
from ...ops.source import INPUT
from ..blas import has_blas, is_large
from ..codegen import cache as disk
from ..codegen import native
from ..driver import Compilation, build
from ..job import Job, Part
from ..passes.rebuild import apply
from ..target import NEVER, Target

SIZES: Final = (320, 512, 896)  # rows, columns and products of a sum
FASTER: Final = 0.95  # of our time, from which it is worth a call
TURNS: Final = 4  # of which the fastest counts


def machine(graphs: Iterable[Graph]) -> Target:
    """This machine for these graphs, which know from which size of a product on a BLAS is faster."""
    target = native.host()
    if not target.blas or not any(is_large(node) for graph in graphs for node in graph.nodes):
        return target
    return measured(target) if config().cache is not None and has_blas() else replace(target, blas=False)


@cache
def measured(target: Target) -> Target:
    """The target with the multiply-adds of a product from which a BLAS is faster, now or when somebody looked."""
    threads = (os.environ.get(f"{name}_NUM_THREADS", "") for name in ("OMP", "OPENBLAS", "MKL"))
    name = disk.key("crossover", repr(target), native.version(), *threads)
    known = disk.load(name, "measured")
    if known is None:
        known = str(crossover(target)).encode()
        disk.save(name, known, "measured")
    return replace(target, blas_from=int(known))


def crossover(target: Target) -> int:
    """The multiply-adds of the smallest product from which a BLAS is faster at all sizes, in either dtype."""
    least = NEVER
    for size in reversed(SIZES):
        if not all(_is_faster(size, dtype, target) for dtype in (FLOAT32, FLOAT64)):
            break
        least = size**3
    return least


def _is_faster(size: int, dtype: DType, target: Target) -> bool:
    """Whether a BLAS multiplies square matrices faster than our own loops do."""
    made = [_product(size, dtype, replace(target, blas=blas)) for blas in (False, True)]
    arenas = [one.image.arena() for one in made]
    seconds = [float("inf")] * len(made)
    for _ in range(TURNS):
        for k, (one, arena) in enumerate(zip(made, arenas, strict=True)):
            started = time.perf_counter()
            one.code.function(arena.address)
            seconds[k] = min(seconds[k], time.perf_counter() - started)
    return seconds[1] < FASTER * seconds[0]


def _product(size: int, dtype: DType, target: Target) -> Compilation:
    x, y = (Node(INPUT, (), NO_ATTRS, (size, size), dtype, None) for _ in range(2))
    product = apply(MATMUL, (x, y), {"tx": False, "ty": False})
    return build(Job((Part(Graph.of((product,), (x, y))),), 2), target)
