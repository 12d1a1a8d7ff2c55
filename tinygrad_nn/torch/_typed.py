"""Dtypes beyond the five that there are, and the constructors of a dtype: `torch.FloatTensor`, ..."""

from __future__ import annotations

from typing import Any

from ..ops.rules import BOOL, FLOAT32, FLOAT64, INT32, INT64
from ..support.settings import check_device
from ..tensor.core import constant
from ..tensor.shape import constructed
from ..tensor.tensor import Tensor

__all__ = [  # noqa: RUF022
    "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor",
    "IntTensor", "LongTensor", "ShortTensor", "bfloat16", "float16", "half", "int16", "int8", "short", "uint8",
]  # fmt: skip

half = float16 = bfloat16 = FLOAT32  # there is no smaller float: numbers are kept in full precision
uint8 = int8 = int16 = short = INT32  # nor a smaller integer


class TypedTensor:
    """A class of tensors of one dtype, as PyTorch had them before it had dtypes: `FloatTensor(2, 3)`,
    `LongTensor([1, 2])`, `isinstance(x, FloatTensor)`.
    """

    def __init__(self, name: str, dtype: Any) -> None:
        self.__name__, self.dtype = name, dtype

    def __call__(self, *data: Any, device: Any = None) -> Tensor:
        """Sizes of a new tensor, or data."""
        check_device(self.__name__, device)
        return Tensor.handle(constant(constructed(self.__name__, data, self.dtype)))

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.dtype == self.dtype

    def __repr__(self) -> str:
        return f"<class 'torch.{self.__name__}'>"


HalfTensor = BFloat16Tensor = FloatTensor = TypedTensor("FloatTensor", FLOAT32)
DoubleTensor = TypedTensor("DoubleTensor", FLOAT64)
ByteTensor = CharTensor = ShortTensor = IntTensor = TypedTensor("IntTensor", INT32)
LongTensor = TypedTensor("LongTensor", INT64)
BoolTensor = TypedTensor("BoolTensor", BOOL)
