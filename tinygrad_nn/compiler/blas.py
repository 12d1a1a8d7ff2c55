"""The BLAS that SciPy brings, by the C pointers it publishes (`scipy.linalg.cython_blas`), as Numba uses it.

SciPy is optional: without it our own loops multiply matrices of all sizes.
"""

from __future__ import annotations

import ctypes
from functools import cache
from math import prod
from typing import Any, Final

import numpy as np

from ..errors import MissingExtra
from ..graph.graph import Array, DType, Node, is_fixed
from ..graph.scalar import FLOAT64
from ..ops.contract import MATMUL, inner_length
from ..support.extras import require

FROM: Final = 3 * 10**7  # multiply-adds, about 310 cubed: below, our loops are faster or as fast everywhere
MERGED: Final = 10**8  # where rows are axes merged: for a BLAS they have to be copied into that order
_NAMES: Final = {True: "dgemm", False: "sgemm"}


@cache
def has_blas() -> bool:
    """Whether SciPy is there."""
    try:
        require("scipy.linalg.cython_blas", "blas")
    except MissingExtra:
        return False
    return True


@cache
def gemm_address(dtype: DType) -> int:
    """The address of the Fortran function dgemm or sgemm."""
    capsule = require("scipy.linalg.cython_blas", "blas").__pyx_capi__[_NAMES[dtype == FLOAT64]]
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(pointer(capsule, name(capsule)))


@cache
def in_parts(
    dtype: DType, sizes: tuple[int, int, int], tx: bool, ty: bool, axis: int, block: int, threads: int
) -> bool:
    """Whether a product has the same bits if up to so many threads share it: each has a range of blocks on an axis of
    the result. That is tried: a BLAS adds in an order of its own, which may be another one for another size.
    """
    m, n, k = sizes
    rng = np.random.default_rng(0)
    x = rng.standard_normal((k, m) if tx else (m, k)).astype(dtype)
    y = rng.standard_normal((n, k) if ty else (k, n)).astype(dtype)
    blocks = -(-sizes[axis] // block)

    def result(parts: int) -> bytes:
        target = np.zeros((m, n), dtype)
        for number in range(parts):
            first, last = (blocks * edge // parts * block for edge in (number, number + 1))
            here = slice(first, min(last, sizes[axis]))
            own_x = (x[:, here] if tx else x[here]) if axis == 0 else x
            own_y = y if axis == 0 else (y[here] if ty else y[:, here])
            _gemm(own_x, own_y, target[here] if axis == 0 else target[:, here], tx, ty)
        return target.tobytes()

    whole = result(1)
    return all(result(parts) == whole for parts in range(2, threads + 1))


def _gemm(x: Array, y: Array, target: Array, tx: bool, ty: bool) -> None:
    """`target = x @ y`, of matrices whose rows have their elements beside each other, as compiled code has it done."""
    dtype, (m, n), k = target.dtype, target.shape, x.shape[0 if tx else 1]
    number = ctypes.c_double if dtype == FLOAT64 else ctypes.c_float
    lengths = [ctypes.c_int(one) for one in (n, m, k, *(part.strides[0] // dtype.itemsize for part in (y, x, target)))]
    letters = [ctypes.c_char(b"T" if flag else b"N") for flag in (ty, tx)]
    factors = [number(1.0), number(0.0)]
    data = [ctypes.c_void_p(part.ctypes.data) for part in (y, x, target)]
    columns, rows, inner, step_y, step_x, step = map(ctypes.byref, lengths)
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(gemm_address(dtype))
    references: tuple[Any, ...] = (*map(ctypes.byref, letters), columns, rows, inner)
    references += (ctypes.byref(factors[0]), data[0], step_y, data[1], step_x, ctypes.byref(factors[1]), data[2], step)
    function(*(ctypes.cast(one, ctypes.c_void_p) for one in references))


def is_large(node: Node, least: int = 0) -> bool:
    """Whether a node is a matrix product that may be left to a BLAS, which is faster from so many multiply-adds on."""
    if node.op is not MATMUL or len(node.shape) != 2 or node.dtype.kind != "f":
        return False
    lengths = (*node.shape, inner_length(node))
    return prod(lengths) >= max(FROM, least) and is_fixed(lengths)
