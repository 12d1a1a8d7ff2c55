"""Functions of several tensors, or of none, that are used now and then: stacks, blocks, combinations, positions."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError, ShapeError, message
from ..support.memory import check_shape_fits
from ..support.settings import Device, typed
from .core import broadcast_shape, check_dtype, constant
from .creation import as_tensor
from .joining import cat, meshgrid, stack, tensors_of, vstack
from .shape import as_shape, whole
from .tensor import Tensor


def _together(name: str, tensors: tuple[Any, ...]) -> list[Tensor]:
    """f(a, b) and f([a, b]) alike."""
    return tensors_of(name, tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors)


def _at_least(name: str, tensors: tuple[Any, ...], one: Any) -> Any:
    """One tensor, or a tuple of several, with more axes."""
    if len(tensors) == 1 and not isinstance(tensors[0], (list, tuple)):
        return one(as_tensor(tensors[0]))
    return tuple(one(x) for x in _together(name, tensors))


def atleast_1d(*tensors: Any) -> Any:
    """Tensors with one axis or more.

    >>> import tinygrad_nn as tg
    >>> tg.atleast_1d(5.0)
    tensor([5.])
    """
    return _at_least("atleast_1d", tensors, lambda x: x if x.ndim else x.reshape(1))


def atleast_2d(*tensors: Any) -> Any:
    """Tensors with two axes or more; vectors as rows.

    >>> import tinygrad_nn as tg
    >>> tg.atleast_2d(tg.tensor([1.0, 2.0])).shape
    (1, 2)
    """
    return _at_least("atleast_2d", tensors, lambda x: x if x.ndim > 1 else x.reshape(1, -1))


def atleast_3d(*tensors: Any) -> Any:
    """Tensors with three axes or more: a vector is (1, n, 1), a matrix (n, m, 1).

    >>> import tinygrad_nn as tg
    >>> tg.atleast_3d(tg.tensor([1.0, 2.0])).shape
    (1, 2, 1)
    """
    return _at_least(
        "atleast_3d", tensors, lambda x: x if x.ndim > 2 else x.unsqueeze(-1) if x.ndim == 2 else x.reshape(1, -1, 1)
    )


def column_stack(tensors: Sequence[Any]) -> Tensor:
    """Side by side: along axis 1, vectors as columns.

    >>> import tinygrad_nn as tg
    >>> tg.column_stack(([1, 2], [3, 4]))
    tensor([[1, 3],
            [2, 4]])
    """
    return cat([x.reshape(-1, 1) if x.ndim < 2 else x for x in tensors_of("column_stack", tensors)], 1)


def dstack(tensors: Sequence[Any]) -> Tensor:
    """Behind one another: along axis 2.

    >>> import tinygrad_nn as tg
    >>> tg.dstack((tg.ones(2, 3), tg.zeros(2, 3))).shape
    (2, 3, 2)
    """
    return cat(list(atleast_3d(*tensors_of("dstack", tensors), as_tensor(0.0))[:-1]), 2)


row_stack = vstack  # by its older name


def block_diag(*tensors: Any) -> Tensor:
    """The matrix with matrices along its diagonal, zeros elsewhere; vectors are rows.

    >>> import tinygrad_nn as tg
    >>> tg.block_diag([[1, 2]], [[3]])
    tensor([[1, 2, 0],
            [0, 0, 3]])
    """
    blocks = [x if x.ndim == 2 else atleast_2d(x) for x in _together("block_diag", tensors)]
    for x in blocks:
        if x.ndim > 2:
            raise ShapeError(message("block_diag", f"shape {x.shape}", "at most two axes"))
    columns, before, rows = sum(x.shape[1] for x in blocks), 0, []
    for x in blocks:
        rows.append(x._pad((x.shape[0], columns), (0, before)))
        before += x.shape[1]
    return cat(rows, 0)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Views of tensors in their common shape.

    >>> import tinygrad_nn as tg
    >>> [t.shape for t in tg.broadcast_tensors(tg.ones(3, 1), tg.ones(4))]
    [(3, 4), (3, 4)]
    """
    given = _together("broadcast_tensors", tensors)
    shape = broadcast_shape("broadcast_tensors", *(x.shape for x in given))
    return tuple(x.broadcast_to(shape) for x in given)


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The common shape of tensors with these shapes.

    >>> broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    return broadcast_shape("broadcast_shapes", *(as_shape("broadcast_shapes", (shape,)) for shape in shapes))


def cartesian_prod(*tensors: Any) -> Tensor:
    """All ways to take an element of each vector, one in a row; of a single vector the vector.

    >>> import tinygrad_nn as tg
    >>> tg.cartesian_prod(tg.tensor([1, 2]), tg.tensor([3, 4]))
    tensor([[1, 3],
            [1, 4],
            [2, 3],
            [2, 4]])
    """
    given = _together("cartesian_prod", tensors)
    for x in given:
        if x.ndim != 1:
            raise ShapeError(message("cartesian_prod", f"shape {x.shape}", "vectors"))
    if len(given) == 1:
        return given[0].view_as(given[0])
    return stack([grid.reshape(-1) for grid in meshgrid(*given, indexing="ij")], -1)


@typed
def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All ways to take r elements of a vector in order, one in a row.

    >>> import tinygrad_nn as tg
    >>> tg.combinations(tg.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    x, count = as_tensor(input), whole("combinations", "r", r)
    if x.ndim != 1 or count < 0:
        got = f"shape {x.shape} and r={count}"
        raise ShapeError(message("combinations", got, "a vector and a number that is not negative"))
    if not count:
        return x.new_zeros(0)
    ways = math.comb(x.shape[0] + (count - 1 if with_replacement else 0), min(count, sys.maxsize))
    as_shape("combinations", (ways, count))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = np.array(list(choose(range(x.shape[0]), count)) if ways else [], np.int64).reshape(-1, count)
    return x.take(Tensor.handle(constant(places)))


def chain_matmul(*matrices: Any) -> Tensor:
    """The product of several matrices, in the order that takes the fewest multiplications.

    >>> import tinygrad_nn as tg
    >>> tg.chain_matmul(tg.ones(2, 3), tg.ones(3, 4), tg.ones(4, 5)).shape
    (2, 5)
    """
    given = _together("chain_matmul", matrices)
    for x in given:
        if x.ndim != 2:
            raise ShapeError(message("chain_matmul", f"shape {x.shape}", "matrices"))
    return multiplied("chain_matmul", given)


def multiplied(name: str, matrices: Sequence[Tensor]) -> Tensor:
    """The product of matrices, in the order that takes the fewest multiplications (dynamic programming)."""
    sizes = [x.shape[0] for x in matrices] + [matrices[-1].shape[1]]
    best: dict[tuple[int, int], tuple[int, int]] = {(k, k): (0, k) for k in range(len(matrices))}
    for width in range(1, len(matrices)):
        for first in range(len(matrices) - width):
            last = first + width
            best[first, last] = min(
                (best[first, k][0] + best[k + 1, last][0] + sizes[first] * sizes[k + 1] * sizes[last + 1], k)
                for k in range(first, last)
            )

    products = {(k, k): x for k, x in enumerate(matrices)}
    for width in range(1, len(matrices)):  # the parts of a product are narrower
        for first in range(len(matrices) - width):
            last = first + width
            if (first, last) in _needed(best, len(matrices)):
                cut = best[first, last][1]
                products[first, last] = products[first, cut]._product(name, products[cut + 1, last])
    return products[0, len(matrices) - 1]


def _needed(best: dict[tuple[int, int], tuple[int, int]], count: int) -> set[tuple[int, int]]:
    """The products on the way to the whole one."""
    found, open_ = set(), [(0, count - 1)]
    while open_:
        first, last = open_.pop()
        found.add((first, last))
        if first < last:
            cut = best[first, last][1]
            open_ += [(first, cut), (cut + 1, last)]
    return found


@typed
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of a vector's elements in columns, from N - 1 down to 0, or up.

    >>> import tinygrad_nn as tg
    >>> tg.vander(tg.tensor([1, 2, 3]))
    tensor([[1, 1, 1],
            [4, 2, 1],
            [9, 3, 1]])
    """
    values = as_tensor(x)
    if values.ndim != 1:
        raise ShapeError(message("vander", f"shape {values.shape}", "a vector"))
    _, count = as_shape("vander", (values.shape[0], values.shape[0] if N is None else N))
    powers = as_tensor(np.arange(count))
    columns = values.unsqueeze(-1) ** (powers if increasing else powers.flip(0))
    return columns.cast(values.dtype if values.dtype.kind != "b" else columns.dtype)


@typed
def tril_indices(row: int, col: int, offset: int = 0, dtype: Any = None, device: Device = None) -> Tensor:
    """Rows and columns (2, n) of the elements of a (row, col) matrix on and below a diagonal.

    >>> import tinygrad_nn as tg
    >>> tg.tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """
    return _triangle("tril_indices", row, col, offset, dtype, np.tril_indices)


@typed
def triu_indices(row: int, col: int, offset: int = 0, dtype: Any = None, device: Device = None) -> Tensor:
    """Rows and columns (2, n) of the elements of a (row, col) matrix on and above a diagonal.

    >>> import tinygrad_nn as tg
    >>> tg.triu_indices(2, 2)
    tensor([[0, 0, 1],
            [0, 1, 1]])
    """
    return _triangle("triu_indices", row, col, offset, dtype, np.triu_indices)


def _triangle(name: str, row: int, col: int, offset: int, dtype: Any, places: Any) -> Tensor:
    wanted = check_dtype(name, np.int64 if dtype is None else dtype)
    if wanted.kind != "i":
        raise ConfigError(message(name, f"dtype {wanted.name}", "int32 or int64"))
    rows, columns = as_shape(name, (row, col))
    check_shape_fits(name, (rows, columns), 8)
    offset = max(-rows, min(whole(name, "offset", offset), columns))
    return Tensor.handle(constant(np.array(places(rows, offset, columns), wanted).reshape(2, -1)))
