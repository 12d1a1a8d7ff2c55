"""The bytes of an ONNX file as messages: dicts with every field that is read, as protobuf's wire format has them.

Nothing is made of a size before the bytes are there, and bytes of tensors stay where they are: views of the content.
Fields that are not read are passed over. Formats: protobuf.dev/programming-guides/encoding, onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from ..support.arrays import Array

DEEPEST: Final = 64  # messages inside of each other
BLOCK: Final = 1 << 16  # bytes of numbers that are taken apart at a time

# Field by number: its name and what it is; "*" before a kind says that it repeats.
SCHEMA: Final[Mapping[str, Mapping[int, tuple[str, str]]]] = {
    "Model": {
        1: ("ir_version", "int"),
        2: ("producer", "text"),
        3: ("producer_version", "text"),
        7: ("graph", "Graph"),
        8: ("opsets", "*Opset"),
        14: ("metadata", "*Pair"),
        25: ("functions", "*Function"),
    },
    "Opset": {1: ("domain", "text"), 2: ("version", "int")},
    "Pair": {1: ("key", "text"), 2: ("value", "text")},
    "Graph": {
        1: ("nodes", "*Node"),
        2: ("name", "text"),
        5: ("constants", "*Tensor"),
        11: ("inputs", "*Value"),
        12: ("outputs", "*Value"),
        15: ("sparse", "*Sparse"),
    },
    "Function": {
        1: ("name", "text"),
        4: ("inputs", "*text"),
        5: ("outputs", "*text"),
        6: ("attributes", "*text"),
        7: ("nodes", "*Node"),
        9: ("opsets", "*Opset"),
        10: ("domain", "text"),
        11: ("defaults", "*Attribute"),
        13: ("overload", "text"),
    },
    "Node": {
        1: ("inputs", "*text"),
        2: ("outputs", "*text"),
        3: ("name", "text"),
        4: ("kind", "text"),
        5: ("attributes", "*Attribute"),
        7: ("domain", "text"),
        8: ("overload", "text"),
    },
    "Attribute": {
        1: ("name", "text"),
        2: ("f", "float"),
        3: ("i", "int"),
        4: ("s", "bytes"),
        5: ("t", "Tensor"),
        6: ("g", "Graph"),
        7: ("floats", "*float"),
        8: ("ints", "*int"),
        9: ("strings", "*bytes"),
        10: ("tensors", "*Tensor"),
        14: ("tp", "Type"),
        20: ("type", "int"),
        21: ("reference", "text"),
        22: ("sparse", "Sparse"),
    },
    "Value": {1: ("name", "text"), 2: ("type", "Type")},
    "Type": {
        1: ("tensor", "TensorType"),
        4: ("sequence", "Holder"),
        5: ("map", "Nothing"),
        7: ("opaque", "Nothing"),
        8: ("sparse", "Nothing"),
        9: ("optional", "Holder"),
    },
    "Nothing": {},
    "Holder": {1: ("element", "Type")},
    "TensorType": {1: ("element", "int"), 2: ("shape", "Shape")},
    "Shape": {1: ("lengths", "*Length")},
    "Length": {1: ("value", "int"), 2: ("name", "text")},
    "Sparse": {1: ("values", "Tensor"), 2: ("indices", "Tensor"), 3: ("lengths", "*int")},
    "Tensor": {
        1: ("lengths", "*int"),
        2: ("element", "int"),
        3: ("segment", "Nothing"),
        4: ("floats", "packed float"),
        5: ("int32s", "packed int"),
        6: ("strings", "*bytes"),
        7: ("int64s", "packed int"),
        8: ("name", "text"),
        9: ("raw", "bytes"),
        10: ("doubles", "packed double"),
        11: ("uint64s", "packed int"),
        13: ("external", "*Pair"),
        14: ("location", "int"),
    },
}
Message = dict[str, Any]
Rules = Mapping[str, Callable[[Message], Any]]


class Damaged(Exception):
    """Bytes that are no such message; says what is wrong with them."""


def message_of(kind: str, content: memoryview, rules: Rules, depth: int = 0) -> Any:
    """The message of a kind that some bytes hold. A field that is not there is None, or () where it repeats. Messages
    that a rule is for are what it makes of them at once, so that not all of a file is in memory as messages.
    """
    if depth > DEEPEST:
        raise Damaged(f"more than {DEEPEST} messages inside of each other")
    schema = SCHEMA[kind]
    found: Message = {name: () if form[0] in "*p" else None for name, form in schema.values()}
    at, end = 0, len(content)
    value: Any
    while at < end:
        key, at = varint(content, at)
        wire, field = key & 7, schema.get(key >> 3)
        if wire == 0:
            value, at = varint(content, at)
        elif wire in _FIXED:
            at += _FIXED[wire]
            value = content[at - _FIXED[wire] : at]
        elif wire == 2:
            size, at = varint(content, at)
            at += size
            value = content[at - size : at]
        else:
            raise Damaged(f"a field of {kind} in form {wire}")
        if at > end:
            raise Damaged(f"a field of {kind} that is cut off")
        if field is None:
            continue
        name, form = field
        if form[0] == "*":
            if not found[name]:
                found[name] = []
            found[name] += _several(form[1:], wire, value, rules, depth)
        elif form[0] == "p":
            found[name] = (*found[name], _numbers(form.removeprefix("packed "), wire, value))
        else:
            found[name] = _one(form, wire, value, rules, depth)
    rule = rules.get(kind)
    return found if rule is None else rule(found)


_FIXED: Final = {1: 8, 5: 4}
_WIRES: Final = {"int": 0, "float": 5, "double": 1}
_DTYPES: Final = {"float": "<f4", "double": "<f8"}


def varint(content: memoryview, at: int) -> tuple[int, int]:
    """A number of as many bytes as it needs, and where the next field begins."""
    found = shift = 0
    for place in range(at, min(at + 10, len(content))):
        byte = content[place]
        found |= (byte & 127) << shift
        if byte < 128:
            return found & 0xFFFFFFFFFFFFFFFF, place + 1
        shift += 7
    raise Damaged("a number that does not end")


def _one(form: str, wire: int, value: Any, rules: Rules, depth: int) -> Any:
    """A field that stands once."""
    if wire != _WIRES.get(form, 2):
        raise Damaged(f"a field in form {wire}, which is no {form}")
    if form == "int":
        return value - (1 << 64) if value >> 63 else value
    if form == "bytes":
        return value
    if form == "text":
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            raise Damaged("a name that is no text") from None
    return float(np.frombuffer(value, "<f4")[0]) if form == "float" else message_of(form, value, rules, depth + 1)


def _several(form: str, wire: int, value: Any, rules: Rules, depth: int) -> list[Any]:
    """What a field that repeats adds: one, or many numbers packed together."""
    if wire == 2 and form in _WIRES:
        return list(_numbers(form, wire, value).tolist())
    return [_one(form, wire, value, rules, depth)]


def _numbers(form: str, wire: int, value: Any) -> Array:
    """Numbers as an array: of 64 bits, or the floats as they lie there."""
    if wire != 2:
        if wire != _WIRES[form]:
            raise Damaged(f"numbers in form {wire}")
        return (
            np.array([_one(form, wire, value, {}, 0)], np.int64)
            if form == "int"
            else np.frombuffer(value, _DTYPES[form])
        )
    if form == "int":
        return varints(value)
    if len(value) % np.dtype(_DTYPES[form]).itemsize:
        raise Damaged(f"{len(value)} bytes of {form}s")
    return np.frombuffer(value, _DTYPES[form])


def varints(content: memoryview) -> Array:
    """Numbers that lie one behind the other, each in as many bytes as it needs."""
    data = np.frombuffer(content, np.uint8)
    if data.size and data[-1] > 127:
        raise Damaged("a number that does not end")
    parts, at = [], 0
    while at < data.size:
        block = data[at : at + BLOCK]
        ends = np.flatnonzero(block < 128)
        if not ends.size:
            raise Damaged("a number that does not end")
        block = block[: ends[-1] + 1]
        starts = np.concatenate(([0], ends[:-1] + 1))
        place = np.arange(block.size) - np.repeat(starts, ends - starts + 1)
        if place.max() > 9:
            raise Damaged("a number of more than ten bytes")
        bits = (block & 127).astype(np.uint64) << (7 * place).astype(np.uint64)
        parts.append(np.bitwise_or.reduceat(bits, starts).view(np.int64))
        at += block.size
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
