"""What dtype results have, and what may be converted to what."""

from __future__ import annotations

from typing import Any

from ..graph.graph import DType
from . import promotion
from .arrays import array_of
from .core import Core, check_dtype, constant
from .tensor import Tensor


def promote_types(type1: Any, type2: Any) -> DType:
    """The smallest dtype that two others can be converted to.

    >>> import tinygrad_nn as tg
    >>> tg.promote_types(tg.int64, tg.float32)
    dtype('float32')
    """
    return promotion.result_type(*((check_dtype("promote_types", one), 2) for one in (type1, type2)))


def can_cast(from_: Any, to: Any) -> bool:
    """Whether a dtype may be converted to another one in place: not floats to integers, nor integers to bools.

    >>> import tinygrad_nn as tg
    >>> tg.can_cast(tg.int64, tg.float32), tg.can_cast(tg.float32, tg.int64)
    (True, False)
    """
    kinds = [check_dtype("can_cast", one).kind for one in (from_, to)]
    return "bif".index(kinds[0]) <= "bif".index(kinds[1])


def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype of what operators make of two tensors or numbers.

    >>> import tinygrad_nn as tg
    >>> tg.result_type(tg.ones(2), 5)
    dtype('float32')
    """
    operands = []
    for one in (tensor1, tensor2):
        number = isinstance(one, (bool, int, float))
        x = one if isinstance(one, Core) else Tensor.handle(constant(array_of("result_type", one)))
        operands.append((x.dtype, 0 if number else 2 if x.ndim else 1))
    return promotion.result_type(*operands)
