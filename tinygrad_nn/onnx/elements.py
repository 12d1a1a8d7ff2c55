"""The element types of ONNX and the five dtypes that hold them.

A narrow integer is kept in a wider dtype and wraps around where its own type does; float16 and bfloat16 are float32,
with its precision. Of uint64 the bits are right: beyond 2**63 sums and products, but not quotients and comparisons.
Floats of 8 and 4 bits are float32 that is rounded to what they can say. Strings and complex numbers have no dtype here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np

from ..graph.graph import DType
from ..ops.rules import BOOL, FLOAT32, FLOAT64, INT32, INT64
from ..support.arrays import Array
from ..tensor import Tensor
from ..tensor.composed.ordering import searchsorted
from ..tensor.core import constant


class Element(NamedTuple):
    """An element type: its number and name in ONNX, how elements lie in a file, the dtype that holds them, and how
    many bits an integer has that is narrower than that. Of a small float the number that each of its codes says, how
    many codes from the first on are finite and not negative, and what is said beyond them.
    """

    number: int
    name: str
    stored: str
    dtype: DType
    bits: int = 0
    signed: bool = False
    codes: tuple[float, ...] = ()
    finite: int = 0
    beyond: float = math.nan

    @property
    def width(self) -> int:
        """How many bits an element has where several lie in a byte."""
        return (len(self.codes) - 1).bit_length() or self.bits

    @property
    def range(self) -> tuple[int, int]:
        """The least and the largest integer."""
        bits, signed = (self.bits, self.signed) if self.bits else (8 * self.dtype.itemsize, True)
        return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)

    def wrapped(self, x: Tensor) -> Tensor:
        """Integers of the dtype as integers of this type: the last bits count."""
        if not self.bits or self.bits == 64:
            return x
        x = x.bitwise_and((1 << self.bits) - 1)
        return x.where(x < 1 << self.bits - 1, x - (1 << self.bits)) if self.signed else x

    def rounded(self, x: Tensor, saturate: bool = True, mode: str = "nearest") -> Tensor:
        """Numbers as a small float says them: the nearest, of two as near the one with an even code; or up, or down.
        What is beyond all of them becomes the last with `saturate`.
        """
        steps = np.array(self.codes[: self.finite])
        steps = np.append(steps, 2 * steps[-1] - steps[-2])
        ends = (steps[1:] + steps[:-1]) / 2  # up to where each step reaches
        ends[1::2] = np.nextafter(ends[1::2], 0)
        ends = {"up": steps[:-1], "down": np.nextafter(steps[1:], 0)}.get(mode, ends)
        said = np.append(steps[:-1], steps[-2] if saturate else self.beyond)
        size = x.double().abs()
        place = searchsorted(Tensor.handle(constant(ends)), size)
        found = Tensor.handle(constant(said)).index_select(0, place.reshape(-1)).reshape(x.shape)
        unsaid = math.nan if any(map(math.isnan, self.codes)) else -0.0  # what NaN becomes
        return found.new_tensor(unsaid).where(x.isnan(), found.where(x >= 0, -found)).to(self.dtype)


def small(number: int, name: str, exponent: int, mantissa: int, bias: int, kind: str = "") -> Element:
    """A small float by the bits of its exponent and mantissa. `kind`: with infinities (IEEE), or without and NaN in the
    place of the largest (fn) or of -0 (uz); else all codes are finite. Without a mantissa there is no sign.
    """
    count, ones = 1 << exponent + mantissa, (1 << exponent) - 1

    def value(code: int) -> float:
        high, low = code >> mantissa, code & ((1 << mantissa) - 1)
        if kind == "ieee" and high == ones:
            return math.nan if low else math.inf
        if kind == "fn" and code == count - 1:
            return math.nan
        whole = low if not high and mantissa else low + (1 << mantissa)
        return math.ldexp(whole, max(high, 1 if mantissa else 0) - bias - mantissa)

    positive = [value(code) for code in range(count)]
    negative = [-one for one in positive] if mantissa else []
    if kind == "uz":
        negative[0] = math.nan
    finite = sum(map(math.isfinite, positive))
    stored = "|u1" if count > 64 else ""
    beyond = math.inf if kind == "ieee" else math.nan
    return Element(number, name, stored, FLOAT32, codes=(*positive, *negative), finite=finite, beyond=beyond)


FLOAT: Final = Element(1, "float", "<f4", FLOAT32)
UINT8: Final = Element(2, "uint8", "|u1", INT32, 8)
INT8: Final = Element(3, "int8", "|i1", INT32, 8, True)
INTEGER32: Final = Element(6, "int32", "<i4", INT32)
INTEGER64: Final = Element(7, "int64", "<i8", INT64)
BOOLEAN: Final = Element(9, "bool", "|b1", BOOL)
DOUBLE: Final = Element(11, "double", "<f8", FLOAT64)
ELEMENTS: Final[Mapping[int, Element]] = {
    one.number: one
    for one in (
        FLOAT,
        UINT8,
        INT8,
        Element(4, "uint16", "<u2", INT32, 16),
        Element(5, "int16", "<i2", INT32, 16, True),
        INTEGER32,
        INTEGER64,
        BOOLEAN,
        Element(10, "float16", "<f2", FLOAT32),
        DOUBLE,
        Element(12, "uint32", "<u4", INT64, 32),
        Element(13, "uint64", "<u8", INT64, 64),
        Element(16, "bfloat16", "<u2", FLOAT32),
        Element(21, "uint4", "", INT32, 4),
        Element(22, "int4", "", INT32, 4, True),
        Element(25, "uint2", "", INT32, 2),
        Element(26, "int2", "", INT32, 2, True),
        small(17, "float8e4m3fn", 4, 3, 7, "fn"),
        small(18, "float8e4m3fnuz", 4, 3, 8, "uz"),
        small(19, "float8e5m2", 5, 2, 15, "ieee"),
        small(20, "float8e5m2fnuz", 5, 2, 16, "uz"),
        small(23, "float4e2m1", 2, 1, 1),
        small(24, "float8e8m0", 8, 0, 127, "fn"),
    )
}
OTHERS: Final[Mapping[int, str]] = {
    8: "string",
    14: "complex64",
    15: "complex128",
    27: "float6e2m3",
    28: "float6e3m2",
}
OWN: Final = {one.dtype: one for one in (BOOLEAN, INTEGER32, INTEGER64, FLOAT, DOUBLE)}


def size_of(element: Element, shape: Sequence[int]) -> int:
    """The bytes that a tensor takes in a file."""
    return (
        -(-prod(shape) * element.width // 8) if not element.stored else prod(shape) * np.dtype(element.stored).itemsize
    )


def from_bytes(element: Element, content: Any, shape: tuple[int, ...]) -> Array:
    """The array of some bytes: a copy, so that the bytes of the file can go."""
    if not element.stored:
        each = 8 // element.width
        data = np.frombuffer(content, np.uint8)[:, None] >> (element.width * np.arange(each, dtype=np.uint8))
        return _narrow(element, data.reshape(-1)[: prod(shape)].reshape(shape))
    return _narrow(element, np.frombuffer(content, element.stored).reshape(shape))


def from_numbers(element: Element, numbers: Array, shape: tuple[int, ...]) -> Array:
    """The array of what stands in a field of numbers: floats of 16 bits as their bits, four bits two to a number."""
    if not element.stored:
        return from_bytes(element, numbers.astype(np.uint8).tobytes(), shape)
    if element.name == "float16":
        return _narrow(element, numbers.astype(np.uint16).view(np.float16).reshape(shape))
    stored = np.uint16 if element.name == "bfloat16" else element.stored
    return _narrow(element, numbers.astype(stored).reshape(shape))


def _narrow(element: Element, data: Array) -> Array:
    """Stored elements in the dtype that holds them."""
    if element.name == "bfloat16":
        return np.asarray((data.astype(np.uint32) << 16).view(np.float32))
    if element.name == "bool":
        return np.asarray(data.view(np.uint8) != 0)
    if element.codes:
        return np.asarray(np.array(element.codes, np.float32)[data & (len(element.codes) - 1)])
    if not element.stored:
        data = data & ((1 << element.bits) - 1)
        data = data.astype(INT32)
        return np.where(data >= 1 << element.bits - 1, data - (1 << element.bits), data) if element.signed else data
    return np.asarray(data.astype(element.dtype))
