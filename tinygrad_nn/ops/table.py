"""THE op table: every primitive of the project, by name. One block per op, in the file of its kind.

A new op is one block in one of these files and its name in that file's OPS. See docs/adding_an_op.md.
Outside of the table are scan.STACKED and adjoint.SCAN: their attributes hold a program, which no case describes,
and those of linalg, which are loaded when they are used: random elements seldom make a matrix that they take.
"""

from __future__ import annotations

from types import MappingProxyType

from . import (
    composite,
    contract,
    control,
    conv,
    elementwise,
    index,
    movement,
    random,
    reduce,
    scattering,
    source,
    transcendental,
)

_PRIMITIVES = (source, elementwise, transcendental, reduce, movement, contract, conv, index, control, random)
TABLE = MappingProxyType({op.name: op for module in (*_PRIMITIVES, composite, scattering) for op in module.OPS})
