"""PyTorch's rules for the dtype of a result. Imports dtypes only."""

from __future__ import annotations

from ..graph.graph import DType
from ..ops.rules import FLOAT32


def result_type(*operands: tuple[DType, int]) -> DType:
    """PyTorch's promotion. Each operand is (dtype, rank): 2 for tensors with axes, 1 for 0-d tensors, 0 for Python
    numbers.

    An operand of a lower rank changes the result only if its category (bool < int < float) is higher.
    """
    result: DType | None = None
    for rank in (2, 1, 0):
        dtypes = [dtype for dtype, own in operands if own == rank]
        if not dtypes:
            continue
        here = dtypes[0]
        for dtype in dtypes[1:]:
            here = _promote(here, dtype)
        result = here if result is None or _CATEGORY[here.kind] > _CATEGORY[result.kind] else result
    return FLOAT32 if result is None else result


_CATEGORY = {"b": 0, "i": 1, "f": 2}


def _promote(a: DType, b: DType) -> DType:
    if a.kind == b.kind:
        return a if a.itemsize >= b.itemsize else b
    return a if _CATEGORY[a.kind] > _CATEGORY[b.kind] else b
