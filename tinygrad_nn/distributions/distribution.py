"""What distributions share: shapes, checks of parameters and values, `expand`.

As in PyTorch the shape of a sample is `sample_shape + batch_shape + event_shape`; parameters broadcast to the batch.
All of it is tensor operations, so it compiles; what is traced is not checked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from typing import Any, ClassVar, Self

import numpy as np

from ..errors import ConfigError, DTypeError, ShapeError, message
from ..graph.graph import Shape
from ..support.settings import shown
from ..tensor import Tensor, no_grad
from ..tensor.arrays import array_of
from ..tensor.core import constant
from .constraints import Constraint


class Distribution:
    """Base of the distributions. A subclass says `arg_constraints`, `support`, and whether it has `rsample`.

    >>> import tinygrad_nn as tg
    >>> d = tg.distributions.Normal(tg.zeros(3), tg.ones(3))
    >>> isinstance(d, Distribution), d.batch_shape, d.event_shape
    (True, (3,), ())
    """

    has_enumerate_support: ClassVar[bool] = False
    arg_constraints: ClassVar[Mapping[str, Constraint]] = {}
    _validate_args = True
    _event_axes: ClassVar[Mapping[str, int]] = {}  # of the tensors that `expand` expands, where there are any

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Check parameters and values from now on, or no longer."""
        if value not in (True, False):
            raise ConfigError(message("set_default_validate_args", f"value {shown(value)}", "True or False"))
        Distribution._validate_args = value

    def __init__(self, batch_shape: Shape = (), event_shape: Shape = (), validate_args: bool | None = None) -> None:
        self._batch_shape, self._event_shape = tuple(batch_shape), tuple(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            for name, constraint in self.arg_constraints.items():
                value = vars(self).get(name)
                if isinstance(value, Tensor):
                    self._check(name, constraint, value)

    def _check(self, name: str, constraint: Constraint, value: Tensor) -> None:
        if not value.is_traced and not bool(constraint.check(value.detach()).all()):
            bad = f" {value.detach().tolist()}" if value.numel() <= 6 else f" of shape {value.shape} with others"
            raise ConfigError(message(type(self).__name__, f"{name}{bad}", constraint.words))

    @property
    def has_rsample(self) -> bool:
        """Whether gradients flow through samples to the parameters."""
        return False

    @property
    def support(self) -> Constraint | None:
        """What values may be; None is not checked."""
        return None

    @property
    def batch_shape(self) -> Shape:
        """The shape of the parameters."""
        return self._batch_shape

    @property
    def event_shape(self) -> Shape:
        """The shape of one sample."""
        return self._event_shape

    def _extended_shape(self, sample_shape: Any = ()) -> Shape:
        sizes = (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
        return (*sizes, *self._batch_shape, *self._event_shape)

    def expand(self, batch_shape: Any) -> Self:
        """The same distributions with another batch shape, to which the own one broadcasts."""
        new = copy(self)
        new._batch_shape = tuple(batch_shape)
        for name, axes in self._event_axes.items():
            value = getattr(self, name)
            setattr(new, name, value.expand((*new._batch_shape, *value.shape[value.ndim - axes :])))
        return new

    def _missing(self, name: str) -> NotImplementedError:
        return NotImplementedError(message(type(self).__name__, name, "what this distribution has"))

    @property
    def mean(self) -> Tensor:
        """The mean."""
        raise self._missing("mean")

    @property
    def mode(self) -> Tensor:
        """The most likely value."""
        raise self._missing("mode")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise self._missing("variance")

    @property
    def stddev(self) -> Tensor:
        """The root of the variance."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Random values; no gradient flows through them."""
        with no_grad():
            return self.rsample(sample_shape).detach()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Random values as a function of the parameters, so that gradients flow to these."""
        raise self._missing("rsample")

    def sample_n(self, n: int) -> Tensor:
        """n samples."""
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability, or of its density, at a value."""
        raise self._missing("log_prob")

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of a value up to this one."""
        raise self._missing("cdf")

    def icdf(self, value: Tensor) -> Tensor:
        """The value that has this probability below it."""
        raise self._missing("icdf")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values, along the first axis."""
        raise self._missing("enumerate_support")

    def entropy(self) -> Tensor:
        """The mean of -log_prob."""
        raise self._missing("entropy")

    def perplexity(self) -> Tensor:
        """e ** entropy."""
        return self.entropy().exp()

    def _validate_sample(self, value: Tensor) -> None:
        name = type(self).__name__
        if not isinstance(value, Tensor):
            raise DTypeError(message(name, f"a value of type {type(value).__name__}", "a tensor"))
        if not self._validate_args:
            return
        whole = (*self._batch_shape, *self._event_shape)
        axes = len(self._event_shape)
        pairs = zip(reversed(value.shape), reversed(whole), strict=False)
        if value.shape[value.ndim - axes :] != self._event_shape or any(a != b and 1 not in (a, b) for a, b in pairs):
            got = f"a value of shape {value.shape} for batches {self._batch_shape} of events {self._event_shape}"
            raise ShapeError(message(name, got, "shapes that broadcast"))
        if self.support is not None:
            self._check("value", self.support, value)

    def __repr__(self) -> str:
        values = {name: vars(self)[name] for name in self.arg_constraints if name in vars(self)}
        parts = [
            f"{name}: {value if isinstance(value, Tensor) and value.numel() == 1 else _size(value)}"
            for name, value in values.items()
        ]
        return f"{type(self).__name__}({', '.join(parts)})"


def _size(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else str(value)


def broadcast_all(owner: str, **given: Any) -> list[Tensor]:
    """Numbers and tensors as tensors of one shape. Raises DTypeError for anything else."""
    dtype = next((value.dtype for value in given.values() if isinstance(value, Tensor)), None)
    made = []
    for name, value in given.items():
        if isinstance(value, Tensor):
            made.append(value)
        elif isinstance(value, (bool, int, float, np.generic)):
            array = array_of(owner, float(value), dtype if dtype is not None and dtype.kind == "f" else None)
            made.append(Tensor.handle(constant(array)))
        else:
            raise DTypeError(message(owner, f"{name} of type {type(value).__name__}", "a tensor or a number"))
    try:
        shape = np.broadcast_shapes(*(value.shape for value in made))
    except ValueError:
        got = f"shapes {' and '.join(str(value.shape) for value in made)}"
        raise ShapeError(message(owner, got, "parameters that broadcast")) from None
    return [value if value.shape == shape else value.expand(shape) for value in made]


def sum_rightmost(value: Tensor, axes: int) -> Tensor:
    """The sum over the last axes."""
    return value if axes == 0 else value.reshape((*value.shape[: value.ndim - axes], -1)).sum(-1)


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities whose logarithm is finite."""
    eps = float(np.finfo(probs.dtype).eps)
    return probs.clamp(eps, 1 - eps)


HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
