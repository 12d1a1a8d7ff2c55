"""New tensors: from Python and NumPy data, filled, counted. Random ones are in `random`.

`tensor` copies; `as_tensor` and `from_numpy` share memory with an array, so writing to that array afterwards shows
through, as in PyTorch. Python floats get the default dtype, NumPy arrays keep theirs.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError, message
from ..graph import DType, Shape
from ..memory import check_shape_fits
from ..ops.rules import BOOL, DTYPES, INT64
from .arrays import array_of, shared
from .core import Mode, check_dtype, constant, mode
from .door import takes_operands
from .shape import INTEGER, as_ints
from .tensor import Tensor


def _finish(array: Any, requires_grad: bool) -> Tensor:
    result = Tensor.handle(constant(array))
    return result.requires_grad_() if requires_grad else result


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data`: numbers, nested lists, arrays, tensors.

    Raises ShapeError for ragged lists, DTypeError for text, objects and masked arrays, and for integers that ask for a
    gradient.

    >>> tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    return _finish(array_of("tensor", data, dtype, copy=True), requires_grad)


def as_tensor(data: Any, dtype: Any = None) -> Tensor:
    """`data` as a tensor, itself where it is one of that dtype; arrays are not copied."""
    if isinstance(data, Tensor) and (dtype is None or data.dtype == check_dtype("as_tensor", dtype)):
        return data
    return data.to(dtype) if isinstance(data, Tensor) else _finish(shared(array_of("as_tensor", data, dtype)), False)


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor on the memory of an array, which must have one of the five dtypes."""
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray) or array.dtype not in DTYPES:
        got = f"{type(array).__name__} {getattr(array, 'dtype', '')}".strip()
        raise DTypeError(message("from_numpy", got, "an array of bool, int32, int64, float32 or float64"))
    return _finish(shared(array), False)


def from_dlpack(source: Any) -> Tensor:
    """A tensor on the memory of anything that exports DLPack (NumPy, PyTorch, JAX on the CPU)."""
    return from_numpy(np.from_dlpack(source))


def full(size: Any, fill_value: float | bool, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor filled with one value; its dtype is that of the value."""
    is_bool = isinstance(fill_value, (bool, np.bool_))
    kind = BOOL if is_bool else INT64 if isinstance(fill_value, INTEGER) else mode.dtype
    shape = as_ints((size,))
    check_shape_fits("full", shape)
    return _finish(np.full(shape, fill_value, dtype or kind), requires_grad)


def zeros(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros, of the default dtype."""
    return _finish(np.zeros(_size("zeros", size), _dtype("zeros", dtype)), requires_grad)


def ones(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones, of the default dtype."""
    return _finish(np.ones(_size("ones", size), _dtype("ones", dtype)), requires_grad)


def eye(n: int, m: int | None = None, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones on the diagonal of an (n, m) matrix."""
    check_shape_fits("eye", as_ints((n, n if m is None else m)))
    return _finish(np.eye(n, m, dtype=_dtype("eye", dtype)), requires_grad)


def arange(
    start: float, end: float | None = None, step: float = 1, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """start, start + step, ... below end; int64 where all are integers."""
    first, last = (0, start) if end is None else (start, end)
    if step == 0:
        raise ShapeError(message("arange", "step 0", "a step that is not 0"))
    kind = INT64 if all(isinstance(v, (int, np.integer)) for v in (first, last, step)) else mode.dtype
    check_shape_fits("arange", (max(0, math.ceil(min((last - first) / step, float(sys.maxsize)))),))
    return _finish(np.arange(first, last, step).astype(_dtype("arange", dtype or kind)), requires_grad)


def linspace(start: float, end: float, steps: int, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """`steps` numbers from start to end, both included, evenly spaced."""
    check_shape_fits("linspace", as_ints((steps,)))
    return _finish(np.linspace(start, end, steps).astype(_dtype("linspace", dtype)), requires_grad)


@takes_operands
def zeros_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of another tensor's shape and dtype."""
    return zeros(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


@takes_operands
def ones_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of another tensor's shape and dtype."""
    return ones(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


@takes_operands
def full_like(x: Tensor, fill_value: float, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """One value in another tensor's shape and dtype."""
    return full(x.shape, fill_value, dtype=dtype or x.dtype, requires_grad=requires_grad)


def _size(name: str, size: tuple[Any, ...]) -> Shape:
    shape = as_ints(size)
    if any(n < 0 for n in shape):
        raise ShapeError(message(name, f"size {shape}", "lengths that are not negative"))
    check_shape_fits(name, shape)
    return shape


def _dtype(name: str, dtype: Any) -> DType:
    return mode.dtype if dtype is None else check_dtype(name, dtype)


def set_default_dtype(dtype: Any) -> None:
    """The dtype of Python floats and of new float tensors from now on, in every thread."""
    wanted = check_dtype("set_default_dtype", dtype)
    if wanted.kind != "f":
        raise DTypeError(message("set_default_dtype", f"dtype {wanted.name}", "a float dtype"))
    Mode.dtype = wanted


def get_default_dtype() -> DType:
    """The dtype of new float tensors."""
    return mode.dtype
