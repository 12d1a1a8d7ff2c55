"""Samples into a batch: tensors, arrays and numbers are stacked, containers are gone into, texts stay a list.

The rules are those of PyTorch's `default_collate`, and of `default_convert` for a sample by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from copy import copy
from typing import Any

import numpy as np

from ..errors import DataError, DTypeError, ShapeError, message
from ..support.arrays import as_array, is_sequence
from ..support.settings import shown
from ..tensor import Tensor
from ..tensor.arrays import array_of
from ..tensor.core import constant
from ..tensor.creation import as_tensor
from ..tensor.joining import stack


def default_collate(batch: Sequence[Any]) -> Any:
    """A list of samples as one batch.

    Tensors, arrays and numbers get a first axis; a float becomes float64, an int int64. Mappings, named tuples and
    other sequences are gone into and keep their kind (a tuple becomes a list); texts and bytes stay as they are. Raises
    DTypeError for anything else, DataError and ShapeError for samples that differ in length or shape.

    >>> default_collate([{"x": [1.0, 2.0], "name": "a"}, {"x": [3.0, 4.0], "name": "b"}])["name"]
    ['a', 'b']
    >>> default_collate([(1, 2), (3, 4)])
    [tensor([1, 3]), tensor([2, 4])]
    """
    if not (is_sequence(batch) and hasattr(batch, "__getitem__")) or isinstance(batch, (type, Mapping)):
        raise DTypeError(message("default_collate", f"a batch {shown(batch)}", "a list of samples"))
    if not len(batch):
        raise DataError(message("default_collate", "no samples", "at least one"))
    first = batch[0]
    if isinstance(first, Tensor) or (isinstance(first, np.ndarray) and _is_number(first)):
        return _stacked(batch)
    if isinstance(first, float):
        return _tensor(as_array("default_collate", batch, "samples").astype(np.float64))
    if isinstance(first, (int, np.generic)) and _is_number(first):
        return _tensor(np.array(batch))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        columns = {key: default_collate([sample[key] for sample in batch]) for key in first}
        return _as_mapping(first, columns)
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            lengths = sorted({len(sample) for sample in batch})
            hint = "pad them, or pass a collate_fn of your own"
            raise DataError(message("default_collate", f"samples of lengths {lengths}", "one length", hint))
        collated = [default_collate(column) for column in zip(*batch, strict=True)]
        return collated if isinstance(first, tuple) and not hasattr(first, "_fields") else _as_sequence(first, collated)
    expected = "tensors, arrays, numbers, texts, dicts or sequences of them"
    got = f"samples of type {type(first).__name__}"
    raise DTypeError(message("default_collate", got, expected, "pass a collate_fn of your own"))


def default_convert(data: Any) -> Any:
    """A sample with its arrays as tensors, everything else as it is.

    >>> import numpy as np
    >>> default_convert({"x": np.ones(2)})
    {'x': tensor([1., 1.], dtype=float64)}
    """
    if isinstance(data, (np.ndarray, np.generic)) and _is_number(data):
        return as_tensor(data)
    if isinstance(data, Mapping):
        return _as_mapping(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, tuple) and not hasattr(data, "_fields"):
        return [default_convert(value) for value in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _as_sequence(data, [default_convert(value) for value in data])
    return data


def _stacked(batch: Sequence[Any]) -> Tensor:
    """Tensors or arrays along a new axis: as one array, unless a gradient flows."""
    if any(isinstance(sample, Tensor) and sample.requires_grad for sample in batch):
        return stack(batch)
    arrays = [np.asarray(sample) for sample in batch]
    if any(array.shape != arrays[0].shape for array in arrays):
        got = f"samples of shapes {' and '.join(sorted({str(array.shape) for array in arrays}))}"
        raise ShapeError(message("default_collate", got, "equal shapes", "pad them, or pass a collate_fn of your own"))
    return _tensor(np.stack(arrays))


def _tensor(array: Any) -> Tensor:
    return Tensor.handle(constant(array_of("default_collate", array)))


def _is_number(value: Any) -> bool:
    return getattr(value, "dtype", np.dtype(int)).kind in "biuf"


def _as_mapping(like: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """The values in a mapping of that kind, a dict where there is no way to make one."""
    if isinstance(like, MutableMapping):
        return _or_else(values, lambda: _updated(copy(like), values))
    return _or_else(values, lambda: type(like)(values))  # type: ignore[call-arg]


def _updated(mapping: MutableMapping[Any, Any], values: dict[Any, Any]) -> MutableMapping[Any, Any]:
    mapping.update(values)
    return mapping


def _as_sequence(like: Sequence[Any], values: list[Any]) -> Any:
    """The values in a sequence of that kind, a list where there is no way to make one."""
    if hasattr(like, "_fields"):
        return type(like)(*values)
    if isinstance(like, range):
        return values
    if isinstance(like, MutableSequence):
        return _or_else(values, lambda: _replaced(copy(like), values))
    return _or_else(values, lambda: type(like)(values))  # type: ignore[call-arg]


def _replaced(sequence: MutableSequence[Any], values: list[Any]) -> MutableSequence[Any]:
    for i, value in enumerate(values):
        sequence[i] = value
    return sequence


def _or_else(plain: Any, made: Callable[[], Any]) -> Any:
    try:
        return made()
    except TypeError:  # a constructor of another kind
        return plain
