"""Products of matrices and vectors beyond `matmul`, and distances between rows."""

from __future__ import annotations

from ...errors import ShapeError, message
from ...support.settings import typed
from ..contract import T, blended, check_floats
from ..operators import Operand


@typed
def addbmm(self: T, batch1: Operand, batch2: Operand, *, beta: float = 1, alpha: float = 1) -> T:
    """beta * self + alpha * the sum of the products of two batches of matrices.

    >>> import tinygrad_nn as tg
    >>> tg.addbmm(tg.ones(2, 2), tg.ones(3, 2, 4), tg.ones(3, 4, 2))
    tensor([[13., 13.],
            [13., 13.]])
    """
    x = self._factor("addbmm", batch1)
    product = x._product("addbmm", x._ranked("addbmm", batch2, 3, 3))
    return blended("addbmm", self, product.sum(0, False, product.dtype), beta, alpha)


@typed
def baddbmm(self: T, batch1: Operand, batch2: Operand, *, beta: float = 1, alpha: float = 1) -> T:
    """beta * self + alpha * the products of two batches of matrices.

    >>> import tinygrad_nn as tg
    >>> tg.baddbmm(tg.ones(3, 2, 2), tg.ones(3, 2, 4), tg.ones(3, 4, 2)).shape
    (3, 2, 2)
    """
    x = self._factor("baddbmm", batch1)
    return blended("baddbmm", self, x._product("baddbmm", x._ranked("baddbmm", batch2, 3, 3)), beta, alpha)


@typed
def addr(self: T, vec1: Operand, vec2: Operand, *, beta: float = 1, alpha: float = 1) -> T:
    """beta * self + alpha * the products of all pairs of two vectors.

    >>> import tinygrad_nn as tg
    >>> tg.addr(tg.zeros(2, 3), tg.tensor([1.0, 2.0]), tg.tensor([1.0, 2.0, 3.0]))
    tensor([[1., 2., 3.],
            [2., 4., 6.]])
    """
    x = self._factor("addr", vec1)
    y = x._ranked("addr", vec2, 1, 1)
    check_floats("addr", self, x, y)
    return blended("addr", self, x.outer(y), beta, alpha)


def vdot(self: T, other: Operand) -> T:
    """Sum of products of two vectors.

    >>> import tinygrad_nn as tg
    >>> tg.vdot([1.0, 2.0], [3.0, 4.0])
    tensor(11.)
    """
    return self._product("vdot", self._ranked("vdot", other, 1, 1))


@typed
def cdist(
    self: T, x2: Operand, p: float = 2.0, compute_mode: str | None = "use_mm_for_euclid_dist_if_necessary"
) -> T:
    """Distances (..., n, m) of all rows of (..., n, k) from those of (..., m, k): p-norms of their differences.

    Every pair is subtracted, so `compute_mode`, which trades digits for speed, changes nothing. The gradient is 0 where
    two rows are equal.

    >>> import tinygrad_nn as tg
    >>> tg.cdist([[0.0, 0.0]], [[3.0, 4.0], [1.0, 0.0]])
    tensor([[5., 1.]])
    """
    y = self._factor("cdist", x2)
    if self.ndim < 2 or y.ndim < 2 or self.shape[-1] != y.shape[-1]:
        raise ShapeError(message("cdist", f"shapes {self.shape} and {y.shape}", "(..., n, k) and (..., m, k)"))
    if p < 0:
        raise ShapeError(message("cdist", f"p={p}", "a number that is not negative"))
    differences = self.unsqueeze(-2) - y.unsqueeze(-3)
    if not self.shape[-1]:
        return differences.sum(-1)
    found = differences.norm(float(p), -1)
    return found if found.requires_grad == differences.requires_grad else found._flat_in(differences.sum(-1))
