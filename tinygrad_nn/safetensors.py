"""The safetensors format: named tensors in one file, which carries nothing else (huggingface.co/docs/safetensors).

Eight bytes tell the length of a JSON header, which gives dtype, shape and place of each tensor in the bytes behind it.
What is read is as strict as the format's own reader, or stricter: tensors lie one behind the other without a gap and
fill the file, every name is there once, and nothing is made of a size before it is known to be true. The tensors are
views of the bytes that were read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from json import decoder
from math import prod
from operator import itemgetter
from sys import intern
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


def packed(value: Any, metadata: Mapping[str, str] | None = None) -> Sequence[bytes | memoryview]:
    """The content of a file with these tensors, in parts that are no copies of them; DataError for what cannot be in
    one.
    """
    state = value.state_dict() if callable(getattr(value, "state_dict", None)) else value
    if not isinstance(state, Mapping):
        raise DataError(message("save", shown(value), "a state_dict, tensors by name, for a safetensors file"))
    arrays = {_name(name): _array(name, one) for name, one in state.items()}
    header: dict[str, Any] = {METADATA: _checked(metadata)} if metadata else {}
    at, parts = 0, list[bytes | memoryview]()
    for name in sorted(arrays, key=lambda one: (-arrays[one].dtype.itemsize, one)):
        array = arrays[name]
        little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        parts.append(little.reshape(-1).view(np.uint8).data)
        offsets = [at, at + array.nbytes]
        header[name] = {"dtype": NAMES[array.dtype], "shape": [*array.shape], "data_offsets": offsets}
        at = offsets[1]
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LONGEST:
        raise DataError(message("save", f"a header of {len(text):,} bytes", f"at most {LONGEST:,}", "fewer tensors"))
    return [len(text).to_bytes(8, "little"), text, *parts]


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
    """Where the tensors lie in the bytes behind the header, in order; these bytes; and the metadata."""
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > min(LONGEST, len(content) - 8):
        _refuse(name, f"{len(content)} bytes, with a header of {size}")
    data = memoryview(content)[8 + size :]
    try:
        found = Header(str(memoryview(content)[8 : 8 + size], "utf-8"), name).read()
    except ValueError as error:
        _refuse(name, str(error))
    metadata = found.pop(METADATA, {})
    entries, end = sorted(found.values(), key=itemgetter(0, 1)), 0
    for start, stop, _, _, own in entries:
        if start != end:
            _refuse(name, f"{shown(own)} at {start}, where {end} bytes are in use")
        end = stop
    if end != len(data):
        _refuse(name, f"{len(data)} bytes of which tensors take {end}")
    return entries, data, metadata


class Header:
    """A header that is read member by member: of a wrong one nothing is kept but what comes before the mistake."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name, self.at = text, name, 0

    def read(self) -> dict[str, Any]:
        """What the members are; nothing but blanks may follow."""
        if not self.text.startswith("{"):
            raise ValueError("a header that is no JSON object")
        found = self.members(lambda own: self.members(self.words) if own == METADATA else self.entry(own))
        self.skip()
        if self.at != len(self.text):
            raise ValueError("more text behind the header")
        return found

    def members(self, value: Callable[[str], Any]) -> dict[str, Any]:
        """An object; `value(name)` reads one of its values. No name comes twice."""
        found: dict[str, Any] = {}
        self.take("{")
        while not self.comes("}"):
            if found:
                self.take(",")
            key = self.words()
            if key in found:
                raise ValueError(f"the name {shown(key)} twice")
            self.take(":")
            found[key] = value(key)
        return found

    def entry(self, own: str) -> Entry:
        """Begin, end, dtype and shape of a tensor, all of them possible."""
        usual = _ENTRY.match(self.text, self.at)  # as nearly all files are written
        if usual is None:
            found = self.members(lambda key: self.words() if key == "dtype" else self.sizes(own))
        else:
            self.at = usual.end()
            found = {"dtype": usual[1], "shape": numbers(usual[2]), "data_offsets": numbers(usual[3])}
        if found.keys() != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"{shown(own)}, which is described in another way")
        dtype, shape, offsets = found["dtype"], found["shape"], found["data_offsets"]
        if dtype not in READ:
            known = ", ".join(READ)
            hint = "convert it where it was made: tensor.float()"
            raise DataError(
                message("load", f"{self.name} with {shown(own)} of dtype {shown(dtype)}", f"one of {known}", hint)
            )
        if len(offsets) != 2 or offsets[1] - offsets[0] != prod(shape) * np.dtype(READ[dtype][0]).itemsize:
            raise ValueError(f"{shown(own)} of shape {shape} in the bytes {offsets}")
        return offsets[0], offsets[1], intern(dtype), shape, own

    def words(self, key: str = "") -> str:
        """A string, which is text."""
        self.take('"')
        found, self.at = _scanstring(self.text, self.at, True)
        if _SURROGATE.search(found):
            raise ValueError("a name that is no text")
        return str(found)

    def sizes(self, own: str) -> tuple[int, ...]:
        """Some numbers from 0 on, no more than an array has axes."""
        self.skip()
        found = _SIZES.match(self.text, self.at)
        if found is None:
            raise ValueError(f"{shown(own)} with what are no sizes, or more than 32")
        self.at = found.end()
        return numbers(found[0])

    def take(self, letter: str) -> None:
        """A letter that has to come."""
        if not self.comes(letter):
            raise ValueError(f"a header without {letter} at {self.at}")

    def comes(self, letter: str) -> bool:
        """Whether a letter comes, which is taken then."""
        if not self.text.startswith(letter, self.at):
            self.skip()
        found = self.text.startswith(letter, self.at)
        self.at += found
        return found

    def skip(self) -> None:
        """Blanks."""
        found = _BLANKS.match(self.text, self.at)
        self.at = self.at if found is None else found.end()


def numbers(text: str) -> tuple[int, ...]:
    """The numbers in a text that has nothing else between its blanks and commas."""
    return tuple(map(int, _NUMBER.findall(text)))


_scanstring: Final[Any] = vars(decoder)["scanstring"]
_BLANKS: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(r"[0-9]+")
_ONE: Final = r"[ \t\n\r]*(?:0|[1-9][0-9]{0,17})[ \t\n\r]*"
_ENTRY: Final = re.compile(
    r'\{"dtype":"([A-Z0-9]+)","shape":(\[(?:(?:0|[1-9][0-9]{0,17})(?:,(?:0|[1-9][0-9]{0,17})){0,31})?\]),'
    r'"data_offsets":(\[(?:0|[1-9][0-9]{0,17}),(?:0|[1-9][0-9]{0,17})\])\}'
)
_SIZES: Final = re.compile(rf"\[(?:[ \t\n\r]*|{_ONE}(?:,{_ONE}){{0,31}})\]")


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
