"""The BLAS that SciPy brings, by the C pointers it publishes (`scipy.linalg.cython_blas`), as Numba uses it.

SciPy is optional: without it our own loops multiply matrices of all sizes.
"""

from __future__ import annotations

import ctypes
from functools import cache
from math import prod
from typing import Final

from ..errors import MissingExtra
from ..graph.graph import DType, Node, is_fixed
from ..graph.scalar import FLOAT64
from ..ops.contract import MATMUL, inner_length
from ..support.extras import require

FROM: Final = 3 * 10**7  # multiply-adds, about 310 cubed: below, our loops are as fast
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


def is_large(node: Node, least: int = FROM) -> bool:
    """Whether a node is a matrix product that a BLAS, where there is one, computes faster than our loops."""
    if node.op is not MATMUL or len(node.shape) != 2 or node.dtype.kind != "f":
        return False
    lengths = (*node.shape, inner_length(node))
    return prod(lengths) >= least and is_fixed(lengths)
