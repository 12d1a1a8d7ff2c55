"""What scripts of PyTorch's first years call: second names, sizes that change in place, tensors like another.

`resize_` and its like give a handle another shape. Views that were made before can no longer be used then.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import GraphError, ShapeError, message
from ...support.settings import typed
from ..contract import T
from ..core import constant
from ..operators import Operand
from ..shape import as_ints, as_shape, constructed, normal_axis
from ..view import row_major


def nelement(self: T) -> int:
    """Number of elements: `numel`."""
    return self.numel()


def ndimension(self: T) -> int:
    """Number of axes: `dim`."""
    return self.ndim


def is_same_size(self: T, other: Operand) -> bool:
    """Whether another tensor has the same shape."""
    return self.shape == self._operand(other, "is_same_size").shape


def is_nonzero(self: T) -> bool:
    """Whether the only element is not 0. Raises ShapeError for more than one.

    >>> import tinygrad_nn as tg
    >>> tg.is_nonzero(tg.tensor([3.0]))
    True
    """
    return bool(self)


def share_memory_(self: T) -> T:
    """This tensor, whose memory the threads of a process share."""
    return self


@typed
def stride(self: T, dim: int | None = None) -> Any:
    """How many elements further the next one of each axis, or of one, lies.

    >>> import tinygrad_nn as tg
    >>> tg.zeros(2, 3).stride(), tg.zeros(2, 3).t().stride()
    ((3, 1), (1, 3))
    """
    strides = getattr(self, "_strides", lambda: None)() or row_major(self.shape)
    return strides if dim is None else strides[normal_axis("stride", dim, self.ndim)]


def storage(self: Any) -> Any:
    """All elements of the tensor that this one is a part of, one after another: a view.

    >>> import tinygrad_nn as tg
    >>> tg.tensor([[1.0, 2.0], [3.0, 4.0]])[1].storage().tolist()
    [1.0, 2.0, 3.0, 4.0]
    """
    return (self if self._base is None else self._base).detach().view(-1)


def new(self: T, *data: Any) -> T:
    """A tensor of this dtype: of the sizes that are given, which may be a tuple, or with the numbers of a list.

    >>> import tinygrad_nn as tg
    >>> tg.zeros(2, 3).new(4, 1).shape, tg.ones(2).new([1, 2])
    ((4, 1), tensor([1., 2.]))
    """
    sizes = data[0] if len(data) == 1 and isinstance(data[0], tuple) else data
    return self.handle(constant(constructed("new", sizes or (0,), self.dtype)))  # type: ignore[no-any-return]


def resize_(self: Any, *sizes: Any, memory_format: Any = None) -> Any:
    """Have another shape, in place: the first elements in row-major order, and zeros where there are not enough.

    Raises GraphError for a tensor that requires grad, and for a view that would get more elements.

    >>> import tinygrad_nn as tg
    >>> x = tg.arange(6.0)
    >>> x.resize_(2, 2)
    tensor([[0., 1.],
            [2., 3.]])
    """
    shape = as_shape("resize_", as_ints("resize_", sizes))
    if self.requires_grad:
        raise GraphError(message("resize_", "a tensor that requires grad", hint="use reshape"))
    count = math.prod(shape)

    def movement(x: Any) -> Any:
        if count > x.numel():
            x = x.handle(constant(np.append(x.numpy().reshape(-1), np.zeros(count - x.numel(), x.dtype))))
        elif count < x.numel():
            x = x.view(-1)[:count]
        return x.view(shape)

    if self._base is not None and count > self.numel():
        got = f"a view of {self.numel()} elements to be resized to {shape}"
        raise GraphError(message("resize_", got, "a tensor of its own", "clone() it first"))
    return self._move("resize_", movement)


def resize_as_(self: T, the_template: Operand, *, memory_format: Any = None) -> T:
    """`resize_` to the shape of another tensor."""
    return resize_(self, self._operand(the_template, "resize_as_").shape)  # type: ignore[no-any-return]


@typed
def fill_diagonal_(self: T, fill_value: Operand, wrap: bool = False) -> T:
    """One value where all indices are equal; with `wrap` a tall matrix has such diagonals below one another.

    >>> import tinygrad_nn as tg
    >>> tg.zeros(2, 3).fill_diagonal_(5).tolist()
    [[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]]
    """
    if self.ndim < 2 or (self.ndim > 2 and len(set(self.shape)) > 1):
        got = f"shape {self.shape}"
        raise ShapeError(message("fill_diagonal_", got, "a matrix, or as many elements along each of more axes"))
    mask = np.zeros(self.numel(), bool)
    end = None if wrap or self.ndim > 2 else self.shape[1] ** 2
    mask[: end : sum(row_major(self.shape))] = True
    return self.masked_fill_(self.handle(constant(mask.reshape(self.shape))), fill_value)
