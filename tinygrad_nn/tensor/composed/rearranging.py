"""Elements in other places: diagonals, turns, repetitions, parts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...errors import ShapeError, message
from ...ops.index import TAKE
from ...ops.lookup import Called
from ...ops.movement import PAD, RESHAPE
from ...support.memory import check_fits, check_shape_fits
from ...support.settings import shown, typed
from ..contract import T
from ..index import Index
from ..operators import Operand
from ..shape import Ints, as_ints, normal_axis, several, whole

REPEATED = Called("repeat_interleave")


def _ranked(name: str, x: T, least: int) -> T:
    """The tensor, if it has so many axes."""
    if x.ndim < least:
        raise ShapeError(message(name, f"shape {x.shape}", f"at least {least} axes"))
    return x


# ---- diagonals ------------------------------------------------------------------------------------------------------


@typed
def diag(self: T, diagonal: int = 0) -> T:
    """The matrix with a vector on its diagonal, or a copy of the diagonal of a matrix.

    >>> import tinygrad_nn as tg
    >>> tg.diag([1, 2])
    tensor([[1, 0],
            [0, 2]])
    """
    if self.ndim not in (1, 2):
        raise ShapeError(message("diag", f"shape {self.shape}", "a vector or a matrix"))
    return self.diagonal(diagonal).clone() if self.ndim == 2 else _on_diagonal("diag", self, diagonal)


@typed
def diag_embed(self: T, offset: int = 0, dim1: int = -2, dim2: int = -1) -> T:
    """Matrices over two new axes with the last axis on their diagonal, zeros elsewhere.

    >>> import tinygrad_nn as tg
    >>> tg.diag_embed([[1, 2], [3, 4]]).shape
    (2, 2, 2)
    """
    _ranked("diag_embed", self, 1)
    axes = tuple(normal_axis("diag_embed", a, self.ndim + 1) for a in (dim1, dim2))
    if axes[0] == axes[1]:
        raise ShapeError(message("diag_embed", f"axis {axes[0]} twice", "two axes"))
    return _on_diagonal("diag_embed", self, offset).movedim((-2, -1), axes)


@typed
def diagflat(self: T, offset: int = 0) -> T:
    """The matrix with all elements on its diagonal.

    >>> import tinygrad_nn as tg
    >>> tg.diagflat([[1, 2], [3, 4]]).shape
    (4, 4)
    """
    return _on_diagonal("diagflat", self.flatten(), offset)


def _on_diagonal(name: str, x: T, offset: int) -> T:
    """Matrices with the last axis of x on a diagonal."""
    offset, (*batch, count) = whole(name, "offset", offset), x.shape
    n = count + abs(offset)
    check_shape_fits(name, (*batch, n, n), x.dtype.itemsize)
    first = offset if offset >= 0 else -offset * n
    bounds = (*((0, 1, m) for m in batch), (first if count else 0, n + 1, count))
    lines = x.apply(PAD, shape=(*batch, n * n), bounds=bounds)
    return lines.apply(RESHAPE, shape=(*batch, n, n))


def trace(self: T) -> T:
    """Sum of the diagonal of a matrix; of integers in int64.

    >>> import tinygrad_nn as tg
    >>> tg.trace([[1.0, 2.0], [3.0, 4.0]])
    tensor(5.)
    """
    if self.ndim != 2:
        raise ShapeError(message("trace", f"shape {self.shape}", "a matrix"))
    return self.diagonal().sum()


# ---- turns ----------------------------------------------------------------------------------------------------------


def fliplr(self: T) -> T:
    """A copy with the columns in reverse order.

    >>> import tinygrad_nn as tg
    >>> tg.fliplr([[1, 2], [3, 4]])
    tensor([[2, 1],
            [4, 3]])
    """
    return _ranked("fliplr", self, 2).flip(1)


def flipud(self: T) -> T:
    """A copy with the rows in reverse order.

    >>> import tinygrad_nn as tg
    >>> tg.flipud([[1, 2], [3, 4]])
    tensor([[3, 4],
            [1, 2]])
    """
    return _ranked("flipud", self, 1).flip(0)


@typed
def rot90(self: T, k: int = 1, dims: Ints = (0, 1)) -> T:
    """A copy turned k times by 90 degrees, from the first of two axes towards the second.

    >>> import tinygrad_nn as tg
    >>> tg.rot90([[1, 2], [3, 4]])
    tensor([[2, 4],
            [1, 3]])
    """
    given = several("rot90", "axis", dims)
    axes = [normal_axis("rot90", a, self.ndim) for a in given]
    if len(axes) != 2 or len({*axes}) != 2 or self.ndim < 2:
        raise ShapeError(message("rot90", f"axes {given} for shape {self.shape}", "two axes"))
    first, second = axes
    turns = k % 4
    if turns == 0:
        return self.clone()
    if turns == 2:
        return self.flip(first, second)
    return self.flip(second if turns == 1 else first).transpose(first, second)


# ---- repetitions ----------------------------------------------------------------------------------------------------


@typed
def repeat_interleave(
    self: T, repeats: Index | None = None, dim: int | None = None, *, output_size: int | None = None
) -> T:
    """Each element of an axis (of the flattened tensor without `dim`) several times in a row. `repeats` is one number,
    or one for each element; without it they are the tensor itself, and the result the places.

    Numbers for each element are read, unless `output_size`, which is their sum, is given: then it compiles.

    >>> import tinygrad_nn as tg
    >>> tg.repeat_interleave(tg.tensor([5, 6, 7]), tg.tensor([2, 0, 1])).tolist()
    [5, 5, 7]
    """
    if repeats is None:
        return repeat_interleave(self.new_arange(self.shape[0]), self, 0, output_size=output_size)
    x, axis = (self.flatten(), 0) if dim is None else (self, normal_axis("repeat_interleave", dim, self.ndim))
    x = x._as_line()
    length, counts = x.shape[axis], self._positions("repeat_interleave", repeats)
    if counts.dtype.kind != "i" or counts.ndim > 1 or counts.shape not in ((), (1,), (length,)):
        got = f"repeats of shape {counts.shape} and dtype {counts.dtype.name} for an axis of {length}"
        raise ShapeError(message("repeat_interleave", got, "an integer, or one for each element"))
    if counts.shape != (length,) and not counts.is_traced:
        times = int(counts._value().reshape(()))
        _check_counts(times)
        spread = x.unsqueeze(axis + 1).expand_to((*x.shape[: axis + 1], times, *x.shape[axis + 1 :]))
        return spread.apply(RESHAPE, shape=(*x.shape[:axis], length * times, *x.shape[axis + 1 :]))
    if output_size is None:
        numbers = counts._value("repeat_interleave")
        _check_counts(numbers.min(initial=0))
        places: Any = np.repeat(np.arange(length), numbers)
        at = self._positions("repeat_interleave", places)
    else:
        ends = counts.expand_to((length,)).cumsum(0)
        at = (ends <= self.new_arange(output_size).unsqueeze(1)).sum(1)
    return x.apply(TAKE, at, axis=axis, called=REPEATED)


def _check_counts(least: Any) -> None:
    if least < 0:
        raise ShapeError(message("repeat_interleave", f"repeats {least}", "numbers that are not negative"))


# ---- parts ----------------------------------------------------------------------------------------------------------


@typed
def tensor_split(
    self: T,
    indices_or_sections: Any = None,
    dim: int = 0,
    *,
    sections: int | None = None,
    indices: Ints | None = None,
) -> tuple[T, ...]:
    """Views of so many parts of nearly one length, the longer ones first, or of what lies between positions.

    >>> import tinygrad_nn as tg
    >>> tg.tensor_split(tg.arange(5), 2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    """
    given = next((one for one in (sections, indices) if one is not None), indices_or_sections)
    axis = normal_axis("tensor_split", dim, _ranked("tensor_split", self, 1).ndim)
    return _parts("tensor_split", self, given, axis)


def _parts(name: str, x: T, given: Any, axis: int, even: bool = False) -> tuple[T, ...]:
    length = x.shape[axis]
    if isinstance(given, (list, tuple)) or getattr(given, "ndim", 0) == 1:
        cuts = [0, *several(name, "position", given), length]
    else:
        count = whole(name, "sections", given)
        if count < 1 or (even and length % count):
            got, expected = f"{shown(count)} parts of an axis of {length}", "a number that divides it"
            raise ShapeError(message(name, got, expected if even else "at least 1"))
        check_fits(name, f"{shown(count)} parts", 400 * count)  # what a tensor takes in Python, about
        short, longer = divmod(length, count)
        cuts = [k * short + min(k, longer) for k in range(count + 1)]
    key = (slice(None),) * axis
    return tuple(x[(*key, slice(a, b))] for a, b in pairwise(cuts))


@typed
def hsplit(self: T, indices_or_sections: Any) -> tuple[T, ...]:
    """Views of parts side by side: along axis 1, of vectors along axis 0.

    >>> import tinygrad_nn as tg
    >>> tg.hsplit([[1, 2], [3, 4]], 2)
    (tensor([[1],
            [3]]), tensor([[2],
            [4]]))
    """
    axis = 0 if _ranked("hsplit", self, 1).ndim == 1 else 1
    return _parts("hsplit", self, indices_or_sections, axis, even=True)


@typed
def vsplit(self: T, indices_or_sections: Any) -> tuple[T, ...]:
    """Views of parts below one another: along axis 0.

    >>> import tinygrad_nn as tg
    >>> tg.vsplit([[1, 2], [3, 4]], 2)
    (tensor([[1, 2]]), tensor([[3, 4]]))
    """
    return _parts("vsplit", _ranked("vsplit", self, 2), indices_or_sections, 0, even=True)


@typed
def dsplit(self: T, indices_or_sections: Any) -> tuple[T, ...]:
    """Views of parts behind one another: along axis 2.

    >>> import tinygrad_nn as tg
    >>> [part.shape for part in tg.dsplit(tg.ones(2, 2, 4), 2)]
    [(2, 2, 2), (2, 2, 2)]
    """
    return _parts("dsplit", _ranked("dsplit", self, 3), indices_or_sections, 2, even=True)


def split_with_sizes(self: T, split_sizes: Sequence[int], dim: int = 0) -> tuple[T, ...]:
    """Views of parts of these sizes, which sum to the axis.

    >>> import tinygrad_nn as tg
    >>> tg.split_with_sizes(tg.arange(5), [2, 3])
    (tensor([0, 1]), tensor([2, 3, 4]))
    """
    return self.split(tuple(several("split_with_sizes", "size", split_sizes)), dim)


def unsafe_split(self: T, split_size: Ints, dim: int = 0) -> tuple[T, ...]:
    """The parts that `split` gives.

    >>> import tinygrad_nn as tg
    >>> tg.unsafe_split(tg.arange(5), 2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    return self.split(split_size, dim)


def unsafe_chunk(self: T, chunks: int, dim: int = 0) -> tuple[T, ...]:
    """The parts that `chunk` gives.

    >>> import tinygrad_nn as tg
    >>> tg.unsafe_chunk(tg.arange(4), 2)
    (tensor([0, 1]), tensor([2, 3]))
    """
    return self.chunk(chunks, dim)


def narrow_copy(self: T, dim: int, start: int, length: int) -> T:
    """A copy of what `narrow` gives.

    >>> import tinygrad_nn as tg
    >>> tg.narrow_copy(tg.arange(5), 0, 1, 3)
    tensor([1, 2, 3])
    """
    return self.narrow(dim, start, length).clone()


# ---- shapes ---------------------------------------------------------------------------------------------------------


def adjoint(self: T) -> T:
    """The last two axes exchanged."""
    return _ranked("adjoint", self, 2).transpose(-2, -1)


def reshape_as(self: T, other: Operand) -> T:
    """In another tensor's shape."""
    return self.reshape(self._operand(other, "reshape_as").shape)


def sum_to_size(self: T, *size: Any) -> T:
    """Summed over axes, so that what is left is of a shape that broadcasts to this tensor's."""
    wanted = as_ints("sum_to_size", size)
    lead = self.ndim - len(wanted)
    if lead < 0 or any(m not in (1, n) for m, n in zip(wanted, self.shape[lead:], strict=True)):
        got = f"size {wanted} for shape {self.shape}"
        raise ShapeError(message("sum_to_size", got, "what broadcasts to the shape"))
    axes = (*range(lead), *(lead + a for a, m in enumerate(wanted) if m == 1 != self.shape[lead + a]))
    if not wanted:
        return self.sum()
    return (self.sum(axes, True) if axes else self).reshape(wanted)


def kron(self: T, other: Operand) -> T:
    """Kronecker's product: each element times all of another tensor, in blocks.

    >>> import tinygrad_nn as tg
    >>> tg.kron([1, 2], [1, 10])
    tensor([ 1, 10,  2, 20])
    """
    x, y = self._promoted(other, "kron")
    rank = max(x.ndim, y.ndim)
    own, others = ((1,) * (rank - len(shape)) + shape for shape in (x.shape, y.shape))
    blocks = x.reshape([n for m in own for n in (m, 1)]) * y.reshape([n for m in others for n in (1, m)])
    return blocks.reshape([n * m for n, m in zip(own, others, strict=True)])
