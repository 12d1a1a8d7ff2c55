"""Maps with an inverse and the logarithm of the determinant of their derivative: what flows are made of.

`t(x)`, `t.inv(y)` and `t.log_abs_det_jacobian(x, y)`. `domain` and `codomain` say how many last axes one application
goes through. A transform of one's own is a subclass with `_call`, `_inverse` and `log_abs_det_jacobian`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError, message
from ..graph.graph import Shape
from ..tensor import Tensor
from . import constraints
from .distribution import sum_rightmost


class Transform:
    """Base of the transforms.

    >>> isinstance(ExpTransform().inv, Transform)
    True
    """

    bijective: bool | Any = False
    domain: constraints.Constraint | Any = constraints.real
    codomain: constraints.Constraint | Any = constraints.real

    def __init__(self, cache_size: int = 0) -> None:
        if cache_size not in (0, 1):
            raise ConfigError(message(type(self).__name__, f"cache_size {cache_size}", "0 or 1"))
        self._cache_size = cache_size
        self._last: tuple[Tensor, Tensor] | None = None  # of cache_size 1: the last x and its y

    def __call__(self, x: Tensor) -> Tensor:
        """y of x."""
        if self._last is not None and self._last[0] is x:
            return self._last[1]
        y = self._call(x)
        self._keep(x, y)
        return y

    def _inv_call(self, y: Tensor) -> Tensor:
        if self._last is not None and self._last[1] is y:
            return self._last[0]
        x = self._inverse(y)
        self._keep(x, y)
        return x

    def _keep(self, x: Tensor, y: Tensor) -> None:
        if self._cache_size and not y.is_traced:
            self._last = x, y

    @property
    def inv(self) -> Transform:
        """The inverse, as a transform."""
        return _Inverse(self)

    @property
    def sign(self) -> Any:
        """1 where the transform rises, -1 where it falls."""
        raise NotImplementedError(message(type(self).__name__, "sign", "a transform that rises or falls everywhere"))

    def _call(self, x: Tensor) -> Tensor:
        raise NotImplementedError(message(type(self).__name__, "no _call", "a transform that has one"))

    def _inverse(self, y: Tensor) -> Tensor:
        raise NotImplementedError(message(type(self).__name__, "no _inverse", "a transform that has one"))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log(|dy / dx|)."""
        raise NotImplementedError(message(type(self).__name__, "no log_abs_det_jacobian", "a transform that has one"))

    def forward_shape(self, shape: Shape) -> Shape:
        """The shape of y for one of x."""
        return shape

    def inverse_shape(self, shape: Shape) -> Shape:
        """The shape of x for one of y."""
        return shape

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _Inverse(Transform):
    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self._inv = transform
        self.domain, self.codomain, self.bijective = transform.codomain, transform.domain, transform.bijective

    def __call__(self, x: Tensor) -> Tensor:
        return self._inv._inv_call(x)

    def _inv_call(self, y: Tensor) -> Tensor:
        return self._inv(y)

    @property
    def inv(self) -> Transform:
        return self._inv

    @property
    def sign(self) -> Any:
        return self._inv.sign

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -self._inv.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape: Shape) -> Shape:
        return self._inv.inverse_shape(shape)

    def inverse_shape(self, shape: Shape) -> Shape:
        return self._inv.forward_shape(shape)

    def __repr__(self) -> str:
        return f"{self._inv!r}.inv"


class ComposeTransform(Transform):
    """One transform after another.

    >>> import tinygrad_nn as tg
    >>> ComposeTransform([AffineTransform(0.0, 2.0), ExpTransform()])(tg.tensor([0.0, 0.5]))
    tensor([1.0000, 2.7183])
    """

    def __init__(self, parts: Sequence[Transform], cache_size: int = 0) -> None:
        super().__init__(cache_size)
        for part in parts:
            if not isinstance(part, Transform):
                raise ConfigError(message("ComposeTransform", f"a {type(part).__name__}", "transforms"))
        self.parts = list(parts)

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        """Whether all are."""
        return all(part.bijective for part in self.parts)

    def _axes(self, parts: Sequence[Transform], into: str, out: str) -> int:
        """The axes that the whole goes through, seen from the last part."""
        if not parts:
            return 0
        axes: int = getattr(parts[-1], out).event_dim
        for part in reversed(parts):
            axes += getattr(part, into).event_dim - getattr(part, out).event_dim
            axes = max(axes, getattr(part, into).event_dim)
        return axes

    @property
    def domain(self) -> constraints.Constraint:  # type: ignore[override]
        """That of the first, for all axes that the whole goes through."""
        first = self.parts[0].domain if self.parts else constraints.real
        axes = self._axes(self.parts, "domain", "codomain")
        return constraints.independent(first, axes - first.event_dim)

    @property
    def codomain(self) -> constraints.Constraint:  # type: ignore[override]
        """That of the last, for all axes that the whole goes through."""
        last = self.parts[-1].codomain if self.parts else constraints.real
        axes = self._axes(self.parts[::-1], "codomain", "domain")
        return constraints.independent(last, axes - last.event_dim)

    @property
    def sign(self) -> Any:
        """The product."""
        return math.prod([part.sign for part in self.parts]) if self.parts else 1

    def _call(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        for part in reversed(self.parts):
            y = part.inv(y)
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """The sum."""
        if not self.parts:
            return x * 0
        axes, total = self.domain.event_dim, None
        for part in self.parts:
            after = part(x)
            term = sum_rightmost(part.log_abs_det_jacobian(x, after), axes - part.domain.event_dim)
            total = term if total is None else total + term
            axes += part.codomain.event_dim - part.domain.event_dim
            x = after
        return total  # type: ignore[return-value]

    def forward_shape(self, shape: Shape) -> Shape:
        """Through all."""
        for part in self.parts:
            shape = part.forward_shape(shape)
        return shape

    def inverse_shape(self, shape: Shape) -> Shape:
        """Back through all."""
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)
        return shape

    def __repr__(self) -> str:
        return f"ComposeTransform({self.parts!r})"


class _Rising(Transform):
    bijective = True

    @property
    def sign(self) -> Any:
        """1."""
        return 1


class ExpTransform(_Rising):
    """y = e ** x.

    >>> import tinygrad_nn as tg
    >>> ExpTransform()(tg.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return x.exp()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """x."""
        return x


class SigmoidTransform(_Rising):
    """y = 1 / (1 + e ** -x).

    >>> import tinygrad_nn as tg
    >>> SigmoidTransform()(tg.tensor([0.0]))
    tensor([0.5])
    """

    codomain = constraints.unit_interval

    def _call(self, x: Tensor) -> Tensor:
        info = np.finfo(x.dtype)
        return x.sigmoid().clamp(float(info.tiny), 1 - float(info.eps))

    def _inverse(self, y: Tensor) -> Tensor:
        info = np.finfo(y.dtype)
        inside = y.clamp(float(info.tiny), 1 - float(info.eps))
        return inside.log() - (-inside).log1p()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log(y (1 - y))."""
        return -x.logaddexp(x * 0) - (-x).logaddexp(x * 0)


class TanhTransform(_Rising):
    """y = tanh(x).

    >>> import tinygrad_nn as tg
    >>> TanhTransform()(tg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """

    codomain = constraints.interval(-1.0, 1.0)

    def _call(self, x: Tensor) -> Tensor:
        return x.tanh()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.atanh()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log(1 - y ** 2), of x, where it is exact."""
        return ((x * -2).logaddexp(x * 0) * -2 - x * 2) + 2 * math.log(2)


class SoftplusTransform(_Rising):
    """y = log(1 + e ** x).

    >>> import tinygrad_nn as tg
    >>> SoftplusTransform()(tg.tensor([0.0]))
    tensor([0.6931])
    """

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return x.logaddexp(x * 0)

    def _inverse(self, y: Tensor) -> Tensor:
        return (-(-y).expm1()).log() + y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log(sigmoid(x))."""
        return -(-x).logaddexp(x * 0)


class PowerTransform(_Rising):
    """y = x ** exponent, of positive numbers.

    >>> import tinygrad_nn as tg
    >>> PowerTransform(tg.tensor(2.0))(tg.tensor([3.0]))
    tensor([9.])
    """

    domain = codomain = constraints.positive

    def __init__(self, exponent: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.exponent = exponent

    @property
    def sign(self) -> Any:
        """That of the exponent."""
        return self.exponent.sign() if isinstance(self.exponent, Tensor) else math.copysign(1, self.exponent)

    def _call(self, x: Tensor) -> Tensor:
        y: Tensor = x**self.exponent
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        x: Tensor = y ** (1 / self.exponent)
        return x

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log(|exponent y / x|)."""
        slope: Tensor = y * self.exponent / x
        return slope.abs().log()


class AffineTransform(Transform):
    """y = loc + scale * x; `event_dim` last axes are one event.

    >>> import tinygrad_nn as tg
    >>> scale = AffineTransform(1.0, 10.0)
    >>> scale(tg.tensor([2.0])), scale.inv(tg.tensor([21.0]))
    (tensor([21.]), tensor([2.]))
    """

    bijective = True

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.loc, self.scale, self.event_dim = loc, scale, event_dim
        self.domain = self.codomain = constraints.independent(constraints.real, event_dim)

    @property
    def sign(self) -> Any:
        """That of scale."""
        return self.scale.sign() if isinstance(self.scale, Tensor) else int(math.copysign(1, self.scale))

    def _call(self, x: Tensor) -> Tensor:
        y: Tensor = x * self.scale + self.loc
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        x: Tensor = (y - self.loc) / self.scale
        return x

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log(|scale|), summed over the event."""
        size = self.scale.abs().log() if isinstance(self.scale, Tensor) else math.log(abs(self.scale))
        return sum_rightmost(x * 0 + size, self.event_dim)

    def forward_shape(self, shape: Shape) -> Shape:
        """With what loc and scale broadcast to."""
        return np.broadcast_shapes(shape, np.shape(self.loc), np.shape(self.scale))

    inverse_shape = forward_shape


class AbsTransform(Transform):
    """y = |x|; its inverse is the value of at least 0.

    >>> import tinygrad_nn as tg
    >>> AbsTransform()(tg.tensor([-2.0, 3.0]))
    tensor([2., 3.])
    """

    codomain = constraints.nonnegative

    def _call(self, x: Tensor) -> Tensor:
        return x.abs()

    def _inverse(self, y: Tensor) -> Tensor:
        return y


class IndependentTransform(Transform):
    """A transform that takes some more axes as one event.

    >>> import tinygrad_nn as tg
    >>> rows = IndependentTransform(ExpTransform(), 1)
    >>> x = tg.zeros(5, 3)
    >>> rows.log_abs_det_jacobian(x, rows(x)).shape
    (5,)
    """

    def __init__(self, base_transform: Transform, reinterpreted_batch_ndims: int, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.base_transform, self.reinterpreted_batch_ndims = base_transform, reinterpreted_batch_ndims
        self.bijective = base_transform.bijective
        self.domain = constraints.independent(base_transform.domain, reinterpreted_batch_ndims)
        self.codomain = constraints.independent(base_transform.codomain, reinterpreted_batch_ndims)

    @property
    def sign(self) -> Any:
        """That of its base."""
        return self.base_transform.sign

    def _call(self, x: Tensor) -> Tensor:
        return self.base_transform(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.base_transform.inv(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Summed over the axes that were taken over."""
        return sum_rightmost(self.base_transform.log_abs_det_jacobian(x, y), self.reinterpreted_batch_ndims)

    def forward_shape(self, shape: Shape) -> Shape:
        """Of its base."""
        return self.base_transform.forward_shape(shape)

    def inverse_shape(self, shape: Shape) -> Shape:
        """Of its base."""
        return self.base_transform.inverse_shape(shape)


identity_transform = ComposeTransform([])
