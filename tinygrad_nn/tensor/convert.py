"""Conversion of dtypes."""

from __future__ import annotations

from typing import Any, Self

from ..errors import DTypeError, message
from ..ops.rules import BOOL, FLOAT32, FLOAT64, INT32, INT64
from .core import Core, check_dtype


class Converted(Core):
    """Dtype conversion. Float to integer truncates and saturates, NaN becomes 0; the gradient is converted back."""

    __slots__ = ()

    def to(self, dtype: Any) -> Self:
        """This tensor in another dtype, or in that of another tensor. Raises DTypeError."""
        return self.cast(dtype.dtype if isinstance(dtype, Core) else check_dtype("to", dtype))

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
