"""Random bits as a pure function of key and counter: Philox4x32-10, so eager and compiled code draw the same.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The key is (2,) int64 words below
2**32, the counter a 0-d int64; word w of the result is word w % 4 of block counter + w // 4.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import numpy as np

from ..errors import DTypeError, ShapeError, message
from ..graph.graph import Arg, Array, Case, DType, Op, Shape
from .rules import INT32, INT64

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_FACTORS = np.array([[_M0], [_M1]])
_ROUNDS = np.arange(10, dtype=np.uint64)[:, None] * np.array([_W0, _W1], np.uint64)  # what is added to the key
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
AHEAD: Final = 128  # blocks


def _philox(key: Any, counter: Any, shape: Shape) -> Any:
    """Small draws are cut from `AHEAD` blocks, which take no longer to make than one."""
    count, first = math.prod(shape), int(counter) & 0xFFFFFFFFFFFFFFFF
    k0, k1 = (int(word) & 0xFFFFFFFF for word in key)
    blocks = (count + 3) // 4
    if blocks > AHEAD:
        return _words(k0, k1, first, blocks)[:count].reshape(shape)
    number, start = divmod(first, AHEAD)
    words = _window(k0, k1, number)
    if start + blocks > AHEAD:
        words = np.concatenate((words, _window(k0, k1, number + 1)))
    return words[4 * start : 4 * start + count].reshape(shape).copy()


@lru_cache(maxsize=16)
def _window(k0: int, k1: int, number: int) -> Array:
    return _words(k0, k1, number * AHEAD & 0xFFFFFFFFFFFFFFFF, AHEAD)


def _words(k0: int, k1: int, first: int, count: int) -> Array:
    """The words of so many blocks."""
    blocks = np.uint64(first) + np.arange(count, dtype=np.uint64)
    even, odd = np.zeros((2, 2, count), np.uint64)  # words 0 and 2 of each block, words 1 and 3
    even[0], odd[0] = blocks & _LOW, blocks >> _HALF
    for keys in (_ROUNDS + np.array([k0, k1], np.uint64)) & _LOW:
        products = (_FACTORS * even)[::-1]
        even, odd = (products >> _HALF) ^ odd ^ keys[:, None], products & _LOW
    words = np.stack((even[0], odd[0], even[1], odd[1]), axis=-1).reshape(-1)
    return words.astype(np.uint32).view(np.int32)


def _shape(key: Shape, counter: Shape, shape: Shape) -> Shape:
    if key != (2,) or counter != ():
        raise ShapeError(message("philox", f"key {key} and counter {counter}", "shapes (2,) and ()"))
    return shape


def _dtype(key: DType, counter: DType, shape: Shape) -> DType:
    if (key, counter) != (INT64, INT64):
        raise DTypeError(message("philox", f"dtypes {key.name} and {counter.name}", "int64 and int64"))
    return INT32


def _emit(read: Any, index: Any, key: Shape, counter: Shape, shape: Shape) -> Any:
    """The whole block of four words for each word of it: a compiled loop has no other place to keep it."""
    flat = sum((i * math.prod(shape[a + 1 :]) for a, i in enumerate(index)), start=read.zero)
    number = read.number(flat)
    block = read(1, ()) + (number >> 2)
    x0, x1 = block & 0xFFFFFFFF, (block >> 32) & 0xFFFFFFFF
    x2 = x3 = x0 & 0
    k0, k1 = (read(0, (read.zero + word,)) & 0xFFFFFFFF for word in (0, 1))
    for _ in range(10):
        p0, p1 = x0 * int(_M0), x2 * int(_M1)
        high0, high1 = (p0 >> 32) & 0xFFFFFFFF, (p1 >> 32) & 0xFFFFFFFF
        x0, x1, x2, x3 = high1 ^ x1 ^ k0, p1 & 0xFFFFFFFF, high0 ^ x3 ^ k1, p0 & 0xFFFFFFFF
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    word = number & 3
    low = word.eq(0).where(x0, x1)
    return (word < 2).where(low, word.eq(2).where(x2, x3)).to(INT32)


def _onnx(to: Any, key: Any, counter: Any, shape: Shape) -> Any:
    """In numbers of 64 bits, whose products lose what is above, as those without a sign do."""
    unsigned, count = np.dtype(np.uint64), math.prod(shape)

    def low(x: Any) -> Any:
        return to("BitwiseAnd", x, 0xFFFFFFFF)

    def high(x: Any) -> Any:
        moved = to("BitShift", to("Cast", x, to=unsigned), np.array(32, unsigned), direction="RIGHT")
        return to("Cast", moved, to=INT64)

    def xor(*three: Any) -> Any:
        return to("BitwiseXor", to("BitwiseXor", *three[:2]), three[2])

    blocks = to("Add", counter, np.arange((count + 3) // 4))
    x0, x1 = low(blocks), high(blocks)
    x2 = x3 = to("Sub", blocks, blocks)
    keys = [low(to("Gather", key, np.array(word))) for word in (0, 1)]
    for _ in range(10):
        p0, p1 = to("Mul", x0, int(_M0)), to("Mul", x2, int(_M1))
        x0, x1, x2, x3 = xor(high(p1), x1, keys[0]), low(p1), xor(high(p0), x3, keys[1]), low(p0)
        keys = [low(to("Add", k, w)) for k, w in zip(keys, (_W0, _W1), strict=True)]
    words = to("Concat", *(to("Unsqueeze", x, [1]) for x in (x0, x1, x2, x3)), axis=1)
    drawn = to("Slice", to("Reshape", words, [-1]), [0], [count])
    return to("Cast", to("Reshape", drawn, shape, allowzero=1), to=INT32)


KEY, COUNTER = Arg(0, 2**31, dtype="int", shape=(2,)), Arg(0, 2**31, dtype="int", shape=())

PHILOX = Op(
    "philox",
    "random",
    shape=_shape,
    dtype=_dtype,
    numpy=_philox,
    vjp=(None, None),
    emit=_emit,
    domain=tuple(Case((KEY, COUNTER), {"shape": shape}) for shape in ((), (7,), (3, 0, 2), (2, 3, 4))),
    vary=lambda rng, x: Case((KEY, COUNTER), {"shape": x}),
    words=lambda key, counter, shape: "random bits",
    onnx=_onnx,
)

OPS = (PHILOX,)
