"""What parameters and values of distributions may be: `positive.check(x)` says it for every element of a tensor.

A constraint of `event_dim` axes judges the last ones together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ..tensor import Tensor
from ..tensor.core import constant


@dataclass(frozen=True)
class Constraint:
    """A test of tensors, and the words for it.

    >>> import tinygrad_nn as tg
    >>> greater_than(0.0).check(tg.tensor([-1.0, 2.0]))
    tensor([False,  True])
    """

    words: str
    test: Callable[[Tensor], Tensor] = field(repr=False, compare=False)
    event_dim: int = 0
    is_discrete: bool = False

    def check(self, value: Tensor) -> Tensor:
        """Where the value is allowed."""
        return self.test(value)


def _bound(bound: Any) -> str:
    """A bound in words, which a traced one has not."""
    return "bounds of their own" if isinstance(bound, Tensor) else str(bound)


def _whole(x: Tensor) -> Tensor:
    return x.fmod(1) == 0 if x.dtype.kind == "f" else x == x


def greater_than(lower_bound: Any) -> Constraint:
    """Above a bound.

    >>> import tinygrad_nn as tg
    >>> greater_than(0.0).check(tg.tensor([-1.0, 2.0]))
    tensor([False,  True])
    """
    return Constraint(f"numbers above {_bound(lower_bound)}", lambda x: x > lower_bound)


def greater_than_eq(lower_bound: Any) -> Constraint:
    """At least a bound.

    >>> import tinygrad_nn as tg
    >>> greater_than_eq(2.0).check(tg.tensor([-1.0, 2.0]))
    tensor([False,  True])
    """
    return Constraint(f"numbers of at least {_bound(lower_bound)}", lambda x: x >= lower_bound)


def less_than(upper_bound: Any) -> Constraint:
    """Below a bound.

    >>> import tinygrad_nn as tg
    >>> less_than(0.0).check(tg.tensor([-1.0, 2.0]))
    tensor([ True, False])
    """
    return Constraint(f"numbers below {_bound(upper_bound)}", lambda x: x < upper_bound)


def interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """Between two bounds, which belong to it.

    >>> import tinygrad_nn as tg
    >>> interval(0.0, 2.0).check(tg.tensor([-1.0, 2.0]))
    tensor([False,  True])
    """
    words = f"numbers from {_bound(lower_bound)} to {_bound(upper_bound)}"
    return Constraint(words, lambda x: (x >= lower_bound) & (x <= upper_bound))


def half_open_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """Between two bounds, of which the first belongs to it.

    >>> import tinygrad_nn as tg
    >>> half_open_interval(-1.0, 2.0).check(tg.tensor([-1.0, 2.0]))
    tensor([ True, False])
    """
    words = f"numbers from {_bound(lower_bound)} to below {_bound(upper_bound)}"
    return Constraint(words, lambda x: (x >= lower_bound) & (x < upper_bound))


def integer_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """Whole numbers between two bounds, which belong to it.

    >>> import tinygrad_nn as tg
    >>> integer_interval(0, 5).check(tg.tensor([2.0, 2.5]))
    tensor([ True, False])
    """
    words = f"whole numbers from {_bound(lower_bound)} to {_bound(upper_bound)}"
    return Constraint(words, lambda x: _whole(x) & (x >= lower_bound) & (x <= upper_bound), is_discrete=True)


def multinomial(upper_bound: Any) -> Constraint:
    """Counts that sum to at most a bound.

    >>> import tinygrad_nn as tg
    >>> multinomial(3).check(tg.tensor([[1.0, 2.0], [1.0, 1.0]]))
    tensor([ True,  True])
    """
    words = f"whole numbers of at least 0 that sum to {_bound(upper_bound)}"
    return Constraint(words, lambda x: (x >= 0).all(-1) & (x.sum(-1) <= upper_bound), 1, is_discrete=True)


def independent(base_constraint: Constraint, reinterpreted_batch_ndims: int) -> Constraint:
    """A constraint that judges some more axes together.

    >>> import tinygrad_nn as tg
    >>> independent(greater_than(0.0), 1).check(tg.tensor([[1.0, 2.0], [-1.0, 2.0]]))
    tensor([ True, False])
    """

    def check(x: Tensor) -> Tensor:
        allowed = base_constraint.check(x)
        for _ in range(reinterpreted_batch_ndims):
            allowed = allowed.all(-1)
        return allowed

    axes = base_constraint.event_dim + reinterpreted_batch_ndims
    return Constraint(base_constraint.words, check, axes, base_constraint.is_discrete)


def _simplex(x: Tensor) -> Tensor:
    return (x >= 0).all(-1) & ((x.sum(-1) - 1).abs() < 1e-6)


def _one_hot(x: Tensor) -> Tensor:
    return ((x == 0) | (x == 1)).all(-1) & (x.sum(-1) == 1)


def _lower_cholesky(x: Tensor) -> Tensor:
    return (x.tril() == x).all(-1).all(-1) & (x.diagonal(0, -2, -1) > 0).all(-1)


def _positive_definite(x: Tensor) -> Tensor:
    value = x.detach().numpy()
    symmetric = np.isclose(value, value.swapaxes(-1, -2), atol=1e-6).all((-2, -1))
    with np.errstate(all="ignore"):
        smallest = np.linalg.eigvalsh(np.nan_to_num(value)).min(-1, initial=np.inf)
    return Tensor.handle(constant(np.asarray(symmetric & (smallest > 0))))


real: Final = Constraint("real numbers", lambda x: x == x)
real_vector: Final = independent(real, 1)
positive: Final = greater_than(0.0)
nonnegative: Final = greater_than_eq(0.0)
unit_interval: Final = interval(0.0, 1.0)
boolean: Final = Constraint("0 or 1", lambda x: (x == 0) | (x == 1), is_discrete=True)
nonnegative_integer: Final = Constraint("whole numbers of at least 0", lambda x: _whole(x) & (x >= 0), is_discrete=True)
positive_integer: Final = Constraint("whole numbers of at least 1", lambda x: _whole(x) & (x >= 1), is_discrete=True)
simplex: Final = Constraint("numbers of at least 0 that sum to 1 along the last axis", _simplex, 1)
one_hot: Final = Constraint("one 1 among zeros along the last axis", _one_hot, 1, is_discrete=True)
lower_cholesky: Final = Constraint("lower triangles with a positive diagonal", _lower_cholesky, 2)
positive_definite: Final = Constraint("symmetric positive definite matrices", _positive_definite, 2)
