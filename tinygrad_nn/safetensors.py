"""The safetensors format: named tensors in one file, which carries nothing else (huggingface.co/docs/safetensors).

Eight bytes tell the length of a JSON header, which gives dtype, shape and place of each tensor in the bytes behind it.
What is read is as strict as the format's own reader, or stricter: tensors lie one behind the other without a gap and
fill the file, every name is there once, and nothing is made of a size before it is known to be true. The tensors are
views of the bytes that were read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import prod
from typing import Any, Final

import numpy as np

from .errors import DataError, message
from .ops.rules import BOOL, FLOAT32, FLOAT64, INT32, INT64
from .support.settings import shown
from .tensor import Tensor
from .tensor.core import constant

LONGEST: Final = 100_000_000  # bytes of a header, as in the format's own reader
METADATA: Final = "__metadata__"
NAMES: Final = {BOOL: "BOOL", INT32: "I32", INT64: "I64", FLOAT32: "F32", FLOAT64: "F64"}
READ: Final[Mapping[str, tuple[str, Any]]] = {  # how elements lie in a file, and the dtype that holds them all
    "BOOL": ("|b1", BOOL),
    "U8": ("|u1", INT32),
    "I8": ("|i1", INT32),
    "U16": ("<u2", INT32),
    "I16": ("<i2", INT32),
    "U32": ("<u4", INT64),
    "I32": ("<i4", INT32),
    "I64": ("<i8", INT64),
    "F16": ("<f2", FLOAT32),
    "BF16": ("<u2", FLOAT32),
    "F32": ("<f4", FLOAT32),
    "F64": ("<f8", FLOAT64),
}
Entry = tuple[int, int, str, tuple[int, ...], str]  # begin, end, dtype in the file, shape, name
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Tensors(dict[str, Tensor]):
    """What was in a file: tensors by name, and its `metadata`, strings by name."""

    def __init__(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        super().__init__(tensors)
        self.metadata = dict(metadata)


def packed(value: Any, metadata: Mapping[str, str] | None = None) -> bytes:
    """The content of a file with these tensors; DataError for what cannot be in one."""
    state = value.state_dict() if callable(getattr(value, "state_dict", None)) else value
    if not isinstance(state, Mapping):
        raise DataError(message("save", shown(value), "a state_dict, tensors by name, for a safetensors file"))
    arrays = {_name(name): _array(name, one) for name, one in state.items()}
    header: dict[str, Any] = {METADATA: _checked(metadata)} if metadata else {}
    at, parts = 0, list[bytes]()
    for name in sorted(arrays, key=lambda one: (-arrays[one].dtype.itemsize, one)):
        array = arrays[name]
        parts.append(array.astype(array.dtype.newbyteorder("<")).tobytes())
        offsets = [at, at + len(parts[-1])]
        header[name] = {"dtype": NAMES[array.dtype], "shape": [*array.shape], "data_offsets": offsets}
        at = offsets[1]
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LONGEST:
        raise DataError(message("save", f"a header of {len(text):,} bytes", f"at most {LONGEST:,}", "fewer tensors"))
    return b"".join((len(text).to_bytes(8, "little"), text, *parts))


def _name(name: Any) -> str:
    if not isinstance(name, str) or name == METADATA or _SURROGATE.search(name):
        raise DataError(message("save", f"the name {shown(name)}", "a string that is not __metadata__"))
    return name


def _array(name: str, one: Any) -> Any:
    array = np.asarray(one.detach().numpy() if isinstance(one, Tensor) else one)
    if not isinstance(one, (Tensor, np.ndarray)) or array.dtype not in NAMES:
        got = f"{shown(one)} at {name}"
        hint = "save the state_dict() of one module, and numbers as metadata"
        raise DataError(message("save", got, f"tensors of {', '.join(map(str, NAMES))} by name", hint))
    return array


def _checked(metadata: Mapping[str, str]) -> dict[str, str]:
    strings = isinstance(metadata, Mapping) and all(
        isinstance(one, str) and not _SURROGATE.search(one) for pair in metadata.items() for one in pair
    )
    if not strings:
        raise DataError(message("save", f"metadata {shown(metadata)}", "strings by name"))
    return dict(metadata)


def unpacked(content: bytes, name: str) -> Tensors:
    """What the content of a file called `name` holds. DataError where it is not as the format says."""
    entries, data, metadata = entries_of(content, name)
    return Tensors({own: _tensor(data[a:b], dtype, shape) for a, b, dtype, shape, own in entries}, metadata)


def entries_of(content: bytes, name: str) -> tuple[list[Entry], memoryview, dict[str, str]]:
    """Where the tensors lie in the bytes behind the header, as what; these bytes; and the metadata."""
    header, data = _header(content, name)
    metadata = header.pop(METADATA, {})
    if type(metadata) is not dict or not all(type(one) is str for one in metadata.values()):
        _refuse(name, "metadata that are no strings")
    entries = [(*_entry(own, one, name), own) for own, one in header.items()]
    end = 0
    for start, stop, _, _, own in sorted(entries, key=lambda one: one[:2]):
        if start != end:
            _refuse(name, f"{shown(own)} at {start}, where {end} bytes are in use")
        end = stop
    if end != len(data):
        _refuse(name, f"{len(data)} bytes of which tensors take {end}")
    return entries, data, metadata


def _header(content: bytes, name: str) -> tuple[dict[str, Any], memoryview]:
    """The header as JSON, in which no name comes twice, and the bytes behind it."""
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > min(LONGEST, len(content) - 8):
        _refuse(name, f"{len(content)} bytes, with a header of {size}")
    text = content[8 : 8 + size]

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("one name twice")
        return found

    try:
        if not text.startswith(b"{"):
            raise ValueError("a header that is no JSON object")
        header = json.loads(text.decode(), object_pairs_hook=once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        _refuse(name, str(error))
    if any(_SURROGATE.search(one) for one in header):
        _refuse(name, "a name that is no text")
    return header, memoryview(content)[8 + size :]


def _no_number(text: str) -> Any:
    raise ValueError(f"{text}, which JSON does not have")


def _entry(own: str, one: Any, name: str) -> tuple[int, int, str, tuple[int, ...]]:
    """Begin, end, dtype and shape of a tensor, all of them possible."""
    if type(one) is not dict or one.keys() != {"dtype", "shape", "data_offsets"}:
        _refuse(name, f"{shown(own)}, which is described in another way")
    dtype, shape, offsets = one["dtype"], one["shape"], one["data_offsets"]
    if type(dtype) is not str or dtype not in READ:
        known = ", ".join(READ)
        hint = "convert it where it was made: tensor.float()"
        raise DataError(message("load", f"{name} with {shown(own)} of dtype {shown(dtype)}", f"one of {known}", hint))
    for numbers in (shape, offsets):
        if type(numbers) is not list or not all(type(n) is int and 0 <= n < 2**63 for n in numbers):
            _refuse(name, f"{shown(own)} with {shown(numbers)}, which are no sizes")
    if len(offsets) != 2 or offsets[1] - offsets[0] != prod(shape) * np.dtype(READ[dtype][0]).itemsize:
        _refuse(name, f"{shown(own)} of shape {shape} in the bytes {offsets}")
    if len(shape) > 32:
        _refuse(name, f"{shown(own)} with {len(shape)} axes")
    return offsets[0], offsets[1], dtype, tuple(shape)


def _tensor(part: memoryview, kind: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor in some bytes: a view of them, unless it has a dtype that tensors have not."""
    stored, dtype = READ[kind]
    array: Any = np.frombuffer(part, stored).reshape(shape)
    if kind == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    if kind == "BOOL" and array.size and int(array.view(np.uint8).max()) > 1:
        array = array.view(np.uint8) != 0
    return Tensor.handle(constant(array if array.dtype == dtype and array.flags.aligned else array.astype(dtype)))


def _refuse(name: str, what: str) -> Any:
    raise DataError(message("load", f"{name}, with {what}", "a safetensors file", "it is damaged, or another format"))
