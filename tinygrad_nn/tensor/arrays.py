"""What comes from outside as an array of one of the five dtypes: numbers, nested lists, arrays, and tensors as well.

Fractional numbers in lists have no dtype of their own: they get that of the tensor they meet, or the default. Arrays
have one.
"""

from __future__ import annotations

import math
from typing import Any, Final
from weakref import WeakValueDictionary

import numpy as np

from ..errors import DTypeError, GraphError, ShapeError, TinygradError, TooLarge, message
from ..graph.graph import DType
from ..ops.rules import DTYPES, FLOAT32, INT32, INT64
from ..support.arrays import is_masked
from ..support.memory import check_shape_fits
from .core import Core, check_dtype, mode

# What other element types become without losing anything.
WIDENED: Final = {
    np.dtype(k): v
    for k, v in (
        (np.float16, FLOAT32),
        (np.int8, INT32),
        (np.int16, INT32),
        (np.uint8, INT32),
        (np.uint16, INT32),
        (np.uint32, INT64),
    )
}

MOST_AXES: Final = 64  # NumPy's
_given: Final[WeakValueDictionary[int, Any]] = WeakValueDictionary()  # arrays whose memory tensors share, by id


def shared(array: Any) -> Any:
    """The array, whose memory a tensor is going to share with whoever else has it."""
    owner = memory_of(array)
    if isinstance(owner, np.ndarray):
        _given[id(owner)] = owner
    return array


def is_shared(value: Any) -> bool:
    """Whether others may write to the memory in which a value lies."""
    owner = memory_of(value)
    if isinstance(owner, np.ndarray):
        return id(owner) in _given
    return not isinstance(owner, (np.generic, bytes))


def memory_of(array: Any) -> Any:
    """What the memory of an array belongs to."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


def array_of(name: str, data: Any, dtype: Any = None, copy: bool = False, fractional: DType | None = None) -> Any:
    """Data as an array of one of the five dtypes, of `dtype` if it is given; fractional numbers without a dtype of
    their own get `fractional` or the default. Raises ShapeError for ragged lists, DTypeError for what is no number, and
    for masked arrays.
    """
    wanted = None if dtype is None else check_dtype(name, dtype)
    if isinstance(data, Core):
        data = data.detach()._value()
    if isinstance(data, (list, tuple)):
        data = _plain(name, data)
    elif isinstance(data, range):
        check_shape_fits(name, (max(0, (data.stop - data.start) // data.step),), 8)
    if is_masked(data):
        hint = "fill it with x.filled(value), and keep ~x.mask as a tensor of its own"
        raise DTypeError(message(name, "a masked array, whose mask would be lost", "an array", hint))
    try:
        array = np.asarray(data)
    except TinygradError:
        raise
    except ValueError:
        if not isinstance(data, (list, tuple)):  # of a foreign __array__
            raise DTypeError(message(name, f"data of type {type(data).__name__}", "numbers")) from None
        raise ShapeError(
            message(
                name, "rows of different lengths", "nested lists of one shape", "pad them, or keep a list of tensors"
            )
        ) from None
    except MemoryError:
        raise TooLarge(message(name, f"data of type {type(data).__name__}", "what memory holds")) from None
    except Exception:  # of a foreign __array__ or __len__
        raise DTypeError(message(name, f"data of type {type(data).__name__}", "numbers")) from None
    own = isinstance(data, (np.ndarray, np.generic)) or hasattr(data, "__array__")
    if (not own and array.dtype == np.float64) or (array.size == 0 and not own):
        wanted = wanted or fractional or mode.dtype
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype not in DTYPES:
        if array.dtype not in WIDENED:
            listed = own or isinstance(data, (list, tuple, str))
            got = f"data of dtype {array.dtype}" if listed else f"data of type {type(data).__name__}"
            hint = "encode text and categories as numbers first"
            raise DTypeError(message(name, got, "bool, int32, int64, float32 or float64", hint))
        wanted = wanted or WIDENED[array.dtype]
    if wanted is not None and array.dtype != wanted:
        with np.errstate(all="ignore"):
            return array.astype(wanted)
    return array.copy() if copy else array


def beside(name: str, data: Any, dtype: DType | None) -> Any:
    """Data as an array that meets a tensor of this dtype (None: it meets none). Fractional numbers get that dtype,
    integers get it where they fit. Raises as `array_of`, and GraphError for a list of tensors that require grad.
    """
    if isinstance(data, (list, tuple)) and _has_gradients(name, data):
        got = f"a {type(data).__name__} of tensors that require grad"
        raise GraphError(message(name, got, "a tensor", "join them with tg.stack or tg.cat"))
    array = array_of(name, data, fractional=dtype if dtype is not None and dtype.kind == "f" else None)
    if dtype is None or array.dtype.kind != dtype.kind or (dtype.kind == "i" and not _fits(array, dtype)):
        return array
    with np.errstate(all="ignore"):
        return array.astype(dtype, copy=False)


def _fits(array: Any, dtype: DType) -> bool:
    limits = np.iinfo(dtype)
    return not array.size or bool(array.min() >= limits.min and array.max() <= limits.max)


def _plain(name: str, data: Any, depth: int = 1) -> Any:
    """Lists whose entries are tensors, with the tensors as arrays; raises ShapeError for a list that holds itself.

    As in PyTorch, tensors of one element each are numbers, whatever their shape.
    """
    _check_depth(name, depth)
    if data and all(isinstance(part, Core) and math.prod(part.shape) == 1 for part in data):
        return [part.detach()._value().reshape(())[()] for part in data]
    return [
        part.detach()._value()
        if isinstance(part, Core)
        else _plain(name, part, depth + 1)
        if isinstance(part, (list, tuple))
        else part
        for part in data
    ]


def _has_gradients(name: str, data: Any, depth: int = 1) -> bool:
    _check_depth(name, depth)
    for part in data:
        if isinstance(part, (list, tuple)):
            if _has_gradients(name, part, depth + 1):
                return True
        elif isinstance(part, Core) and part.requires_grad and mode.grad:
            return True
    return False


def _check_depth(name: str, depth: int) -> None:
    if depth > MOST_AXES:
        hint = "a list may not hold itself"
        raise ShapeError(message(name, f"lists nested more than {MOST_AXES} deep", "rows of numbers", hint))
