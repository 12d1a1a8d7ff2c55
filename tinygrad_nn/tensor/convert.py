"""Conversion of dtypes; and of devices, of which there is one."""

from __future__ import annotations

from typing import Any, Final, Self

import numpy as np

from ..errors import DTypeError, message
from ..graph.graph import DType
from ..ops.movement import RESHAPE
from ..ops.rules import BOOL, FLOAT32, FLOAT64, INT32, INT64
from ..support.settings import CPU, Device, check_device, names_device, shown
from ..support.settings import device as _device
from .core import Core, check_dtype

Flag = bool  # which is a method below
CLASSES: Final = {  # PyTorch's names for tensors of a dtype
    "torch.FloatTensor": FLOAT32,
    "torch.DoubleTensor": FLOAT64,
    "torch.IntTensor": INT32,
    "torch.LongTensor": INT64,
    "torch.BoolTensor": BOOL,
}


def placed(name: str, target: tuple[Any, ...], dtype: Any, device: Device) -> tuple[DType | None, bool]:
    """The dtype that the arguments of `to` ask for, if they do, and whether for a copy: a device, a dtype, or a tensor
    with both, then `non_blocking` and `copy`.
    """
    check_device(name, device)
    flags = [one for one in target if type(one) is bool]
    for one in target:
        if isinstance(one, Core):
            dtype = one.dtype
        elif names_device(one):
            check_device(name, one)
        elif type(one) is not bool and one is not None:
            dtype = one
    return None if dtype is None else check_dtype(name, dtype), len(flags) > 1 and flags[1]


class Converted(Core):
    """Dtype conversion. Float to integer truncates and saturates, NaN becomes 0; the gradient is converted back."""

    __slots__ = ()

    def to(
        self,
        *target: Any,
        dtype: Any = None,
        device: Device = None,
        non_blocking: Flag = False,
        copy: Flag = False,
        memory_format: Any = None,
    ) -> Self:
        """This tensor in another dtype, that of another tensor, or on a device: `x.to(tg.float64)`, `x.to("cpu")`,
        `x.to(other)`, `x.to("cpu", tg.float64)`; itself where it is so already, unless `copy`.

        Raises DTypeError, and ConfigError for a device other than the CPU.
        """
        if len(target) == 1 and isinstance(target[0], np.dtype) and not copy:  # as most code inside of the package
            return self.cast(check_dtype("to", target[0]))
        for name, flag in (("non_blocking", non_blocking), ("copy", copy)):
            if not isinstance(flag, (bool, np.bool_)):
                raise DTypeError(message("to", f"{name} {shown(flag)}", "True or False"))
        kind, copied = placed("to", target, dtype, device)
        result = self if kind is None else self.cast(kind)
        return result.apply(RESHAPE, shape=self.node.shape) if result is self and (copy or copied) else result

    def cpu(self, memory_format: Any = None) -> Self:
        """This tensor: there is no other device."""
        return self

    def cuda(self, device: Any = None, non_blocking: Flag = False, memory_format: Any = None) -> Self:
        """A ConfigError: there is no such device."""
        check_device("cuda", "cuda")
        return self

    @property
    def device(self) -> _device:
        """The CPU, as all tensors."""
        return CPU

    def type(self, dtype: Any = None, non_blocking: Flag = False) -> Any:
        """This tensor in another dtype, which may be PyTorch's name of a class; without one, that name.

        >>> import tinygrad_nn as tg
        >>> tg.ones(2).type(), tg.ones(2).type(tg.int64).type()
        ('torch.FloatTensor', 'torch.LongTensor')
        """
        if dtype is None:
            return next(name for name, kind in CLASSES.items() if kind == self.dtype)
        if isinstance(dtype, str) and dtype in CLASSES:
            return self.cast(CLASSES[dtype])
        own = getattr(dtype, "dtype", None)  # of a class of tensors such as `torch.LongTensor`
        return self.cast(own if isinstance(own, np.dtype) else check_dtype("type", dtype))

    def type_as(self, other: Core) -> Self:
        """This tensor in the dtype of another."""
        if not isinstance(other, Core):
            raise DTypeError(message("type_as", f"a {type(other).__name__}", "a tensor"))
        return self.cast(other.dtype)

    def float(self) -> Self:
        """This tensor as float32."""
        return self.cast(FLOAT32)

    def double(self) -> Self:
        """This tensor as float64."""
        return self.cast(FLOAT64)

    def int(self) -> Self:
        """This tensor as int32."""
        return self.cast(INT32)

    def long(self) -> Self:
        """This tensor as int64."""
        return self.cast(INT64)

    def bool(self) -> Self:
        """Whether each element differs from 0; NaN does."""
        return self.cast(BOOL)

    half = bfloat16 = float  # there is no smaller float
    byte = short = char = int  # nor a smaller integer
