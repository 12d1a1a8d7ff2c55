"""New tensors: from Python and NumPy data, filled, counted. Random ones are in `random`.

`tensor` copies; `as_tensor` and `from_numpy` share memory with an array, so writing to that array afterwards shows
through, as in PyTorch. Python floats get the default dtype, NumPy arrays keep theirs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ConfigError, DTypeError, ShapeError, message
from ..graph.graph import DType
from ..ops.rules import BOOL, DTYPES, INT64
from ..support.arrays import is_masked
from ..support.memory import check_shape_fits
from ..support.settings import Device, shown, typed
from .arrays import WIDENED, array_of, shared
from .core import Mode, check_dtype, constant, mode
from .door import takes_operands
from .shape import as_shape, filled, whole
from .tensor import Tensor


def _finish(array: Any, requires_grad: bool) -> Tensor:
    result = Tensor.handle(constant(array))
    return result.requires_grad_() if requires_grad else result


@typed
def tensor(
    data: Any, dtype: Any = None, device: Device = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A tensor with a copy of `data`: numbers, nested lists, arrays, tensors.

    Raises ShapeError for ragged lists, DTypeError for text, objects and masked arrays, and for integers that ask for a
    gradient.

    >>> tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    return _finish(array_of("tensor", data, dtype, copy=True), requires_grad)


@typed
def as_tensor(data: Any, dtype: Any = None, device: Device = None) -> Tensor:
    """`data` as a tensor, itself where it is one of that dtype; arrays are not copied.

    >>> import tinygrad_nn as tg
    >>> tg.as_tensor([1, 2])
    tensor([1, 2])
    """
    if isinstance(data, Tensor) and (dtype is None or data.dtype == check_dtype("as_tensor", dtype)):
        return data
    return data.to(dtype) if isinstance(data, Tensor) else _finish(shared(array_of("as_tensor", data, dtype)), False)


def from_numpy(ndarray: np.ndarray[Any, Any]) -> Tensor:
    """A tensor on the memory of an array of one of the five dtypes; of a smaller one (uint8, float16) it is a copy.

    >>> import tinygrad_nn as tg
    >>> import numpy as np
    >>> a = np.zeros(2)
    >>> t = tg.from_numpy(a)
    >>> a[0] = 1.0
    >>> t
    tensor([1., 0.], dtype=float64)
    """
    if not isinstance(ndarray, np.ndarray) or is_masked(ndarray) or ndarray.dtype not in (*DTYPES, *WIDENED):
        got = f"{type(ndarray).__name__} {getattr(ndarray, 'dtype', '')}".strip()
        raise DTypeError(message("from_numpy", got, "an array of bool, int32, int64, float32 or float64"))
    return _finish(shared(array_of("from_numpy", ndarray)), False)


@typed
def from_dlpack(ext_tensor: Any, *, device: Device = None, copy: bool | None = None) -> Tensor:
    """A tensor on the memory of anything that exports DLPack (NumPy, PyTorch, JAX on the CPU), or a copy.

    >>> import tinygrad_nn as tg
    >>> import numpy as np
    >>> tg.from_dlpack(np.arange(3.0))
    tensor([0., 1., 2.], dtype=float64)
    """
    try:
        array = np.from_dlpack(ext_tensor)
    except (AttributeError, TypeError, BufferError) as error:
        expected = "what exports DLPack on the CPU: a tensor of PyTorch or JAX, an array"
        raise DTypeError(message("from_dlpack", f"a {type(ext_tensor).__name__}", expected)) from error
    return from_numpy(array.copy() if copy else array)


@typed
def asarray(
    obj: Any, *, dtype: Any = None, device: Device = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """`obj` as a tensor, on its memory where it is an array or a tensor of that dtype, unless `copy`.

    Raises ConfigError with `copy=False` where a copy is needed.

    >>> import tinygrad_nn as tg
    >>> tg.asarray([1.0, 2.0], dtype=tg.float64)
    tensor([1., 2.], dtype=float64)
    """
    shares = isinstance(obj, (Tensor, np.ndarray)) and (dtype is None or obj.dtype == check_dtype("asarray", dtype))
    if copy is False and not shares:
        raise ConfigError(message("asarray", f"{shown(obj)} and copy=False", "an array or a tensor of that dtype"))
    found = tensor(obj, dtype=dtype) if copy else as_tensor(obj, dtype=dtype)
    return found.detach().requires_grad_() if requires_grad else found


@typed
def full(
    size: Any, fill_value: float | bool, dtype: Any = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """A tensor filled with one value; its dtype is that of the value.

    >>> import tinygrad_nn as tg
    >>> tg.full((2, 2), 7.0)
    tensor([[7., 7.],
            [7., 7.]])
    """
    is_bool = isinstance(fill_value, (bool, np.bool_))
    kind = BOOL if is_bool else INT64 if isinstance(fill_value, (int, np.integer)) else mode.dtype
    wanted = kind if dtype is None else check_dtype("full", dtype)
    return _finish(filled("full", as_shape("full", (size,)), fill_value, wanted), requires_grad)


@typed
def zeros(*size: Any, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros, of the default dtype.

    >>> import tinygrad_nn as tg
    >>> tg.zeros(2, 3)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """
    return _finish(filled("zeros", as_shape("zeros", size), 0, _dtype("zeros", dtype)), requires_grad)


@typed
def ones(*size: Any, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones, of the default dtype.

    >>> import tinygrad_nn as tg
    >>> tg.ones(2, 3)
    tensor([[1., 1., 1.],
            [1., 1., 1.]])
    """
    return _finish(filled("ones", as_shape("ones", size), 1, _dtype("ones", dtype)), requires_grad)


@typed
def eye(n: int, m: int | None = None, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Ones on the diagonal of an (n, m) matrix.

    >>> import tinygrad_nn as tg
    >>> tg.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    shape = as_shape("eye", (n, n if m is None else m))
    array = filled("eye", shape, 0, _dtype("eye", dtype))
    np.fill_diagonal(array, 1)
    return _finish(array, requires_grad)


@typed
def arange(
    start: float | bool | None = None,
    end: float | bool | None = None,
    step: float | bool = 1,
    dtype: Any = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below end; int64 where all are integers. Those of an integer dtype go from the whole
    part of start by that of step.

    >>> import tinygrad_nn as tg
    >>> tg.arange(4)
    tensor([0, 1, 2, 3])
    >>> tg.arange(0.0, 1.0, 0.25)
    tensor([0.00, 0.25, 0.50, 0.75])
    """
    first, last = (0, start) if end is None else (0 if start is None else start, end)
    first, last, step = (_bound("arange", v + 0 if isinstance(v, bool) else v) for v in (first, last, step))
    kind = INT64 if all(isinstance(v, (int, np.integer)) for v in (first, last, step)) else mode.dtype
    wanted = check_dtype("arange", kind if dtype is None else dtype)
    if wanted == INT64:  # and of int32 as many as there were floats
        first, last, step = int(first), int(last), int(step)
    if step == 0:
        raise ShapeError(message("arange", "step 0", "a step that is not 0"))
    count = max(0, math.ceil((last - first) / step))
    check_shape_fits("arange", (count,), 8)
    if wanted.kind == "i" and not isinstance(first + step, int):
        return _finish((int(first) + int(step) * np.arange(count)).astype(wanted), requires_grad)
    return _finish(np.arange(first, last, step).astype(wanted), requires_grad)


def _bound(name: str, value: Any) -> Any:
    """A finite number, also as a tensor of one element."""
    one = isinstance(value, np.generic) or (isinstance(value, (Tensor, np.ndarray)) and value.shape == ())
    read = value._value(name) if one and isinstance(value, Tensor) else value
    found = read.item() if one else value
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not abs(found) < 2**63:
        raise ConfigError(message(name, shown(value), "numbers below 2**63"))
    return found


@typed
def linspace(
    start: float, end: float, steps: int, dtype: Any = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """`steps` numbers from start to end, both included, evenly spaced.

    >>> import tinygrad_nn as tg
    >>> tg.linspace(0.0, 1.0, 5)
    tensor([0.00, 0.25, 0.50, 0.75, 1.00])
    """
    wanted = _dtype("linspace", dtype)
    return _finish(_even("linspace", start, end, steps, wanted).astype(wanted), requires_grad)


@typed
def logspace(
    start: float,
    end: float,
    steps: int,
    base: float = 10.0,
    dtype: Any = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` powers of a base, whose exponents go evenly from start to end.

    >>> import tinygrad_nn as tg
    >>> tg.logspace(0.0, 2.0, 3)
    tensor([  1.,  10., 100.])
    """
    wanted = _dtype("logspace", dtype)
    exponents = _even("logspace", start, end, steps, wanted)
    with np.errstate(all="ignore"):
        return _finish(np.power(float(base), exponents).astype(wanted), requires_grad)


def _even(name: str, start: float, end: float, steps: int, dtype: DType) -> Any:
    """Evenly spaced numbers, counted from the nearer end; those of an integer dtype between integers."""
    first, last = _bound(name, start), _bound(name, end)
    (count,) = as_shape(name, (whole(name, "steps", steps),))
    if dtype.kind == "f":
        return np.linspace(first, last, count)
    first, last, place = int(first), int(last), np.arange(count)
    step = (last - first) / max(count - 1, 1)
    return np.where((place < count // 2) | (count == 1), first + step * place, last - step * (count - 1 - place))


@typed
def empty(*size: Any, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """A tensor to be written to, of the default dtype: zeros, so that no run depends on what memory held before.

    >>> import tinygrad_nn as tg
    >>> tg.empty(2, 3).shape
    (2, 3)
    """
    return _finish(filled("empty", as_shape("empty", size), 0, _dtype("empty", dtype)), requires_grad)


@takes_operands
def empty_like(input: Tensor, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """A tensor to be written to, of another tensor's shape and dtype: zeros.

    >>> import tinygrad_nn as tg
    >>> tg.empty_like(tg.ones(2, 3)).shape
    (2, 3)
    """
    return zeros(input.shape, dtype=input.dtype if dtype is None else dtype, requires_grad=requires_grad)


@takes_operands
def zeros_like(input: Tensor, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Zeros of another tensor's shape and dtype.

    >>> import tinygrad_nn as tg
    >>> tg.zeros_like(tg.tensor([5, 6]))
    tensor([0, 0])
    """
    return zeros(input.shape, dtype=input.dtype if dtype is None else dtype, requires_grad=requires_grad)


@takes_operands
def ones_like(input: Tensor, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Ones of another tensor's shape and dtype.

    >>> import tinygrad_nn as tg
    >>> tg.ones_like(tg.tensor([5, 6]))
    tensor([1, 1])
    """
    return ones(input.shape, dtype=input.dtype if dtype is None else dtype, requires_grad=requires_grad)


@takes_operands
def full_like(
    input: Tensor, fill_value: float | bool, dtype: Any = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """One value in another tensor's shape and dtype.

    >>> import tinygrad_nn as tg
    >>> tg.full_like(tg.ones(2), 7.0)
    tensor([7., 7.])
    """
    return full(input.shape, fill_value, dtype=input.dtype if dtype is None else dtype, requires_grad=requires_grad)


def _dtype(name: str, dtype: Any) -> DType:
    return mode.dtype if dtype is None else check_dtype(name, dtype)


def set_default_dtype(d: Any) -> None:
    """The dtype of Python floats and of new float tensors from now on, in every thread.

    >>> import tinygrad_nn as tg
    >>> tg.set_default_dtype(tg.float64)
    >>> tg.tensor([1.0]).dtype
    dtype('float64')
    >>> tg.set_default_dtype(tg.float32)
    """
    wanted = check_dtype("set_default_dtype", d)
    if wanted.kind != "f":
        raise DTypeError(message("set_default_dtype", f"dtype {wanted.name}", "a float dtype"))
    Mode.dtype = wanted


def get_default_dtype() -> DType:
    """The dtype of new float tensors.

    >>> import tinygrad_nn as tg
    >>> tg.get_default_dtype()
    dtype('float32')
    """
    return mode.dtype
