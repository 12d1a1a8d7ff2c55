"""Parametrizations to use: weights of a norm of their own (`weight_norm`), and of spectral norm 1 (`spectral_norm`)."""

from __future__ import annotations

from typing import Any

from ... import functional as F
from ...errors import ConfigError, message
from ...random import randn
from ...support.settings import integer, number, shown
from ...tensor import Tensor, no_grad
from ...tensor.shape import normal_axis
from ..convolution import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..module import Module
from ..parameter import Buffer, Parameter
from .parametrize import register_parametrization


def norm_except(weight: Tensor, dim: int | None) -> Tensor:
    """The norm of each slice along one axis, with axes of length 1; of all elements for None."""
    if dim is None:
        return weight.norm(2)
    axis = normal_axis("weight_norm", dim, weight.ndim)
    others = tuple(k for k in range(weight.ndim) if k != axis)
    return (weight * weight).sum(others, keepdim=True).sqrt() if others else weight.abs()


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """One axis, and all others as one."""
    order = (dim, *(k for k in range(weight.ndim) if k != dim))
    return weight.permute(*order).reshape(weight.shape[dim], -1)


def checked_weight(owner: str, module: Module, name: str) -> Parameter:
    """A parameter of a module; raises ConfigError."""
    weight = getattr(module, name, None) if isinstance(name, str) else None
    if not isinstance(weight, Tensor):
        raise ConfigError(message(owner, f"the name {shown(name)}", f"a parameter of this {type(module).__name__}"))
    return weight  # type: ignore[return-value]


def default_axis(module: Module) -> int:
    """Where outputs are counted."""
    return int(isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)))


class _WeightNorm(Module):
    """A length times a direction: Salimans and Kingma, NeurIPS 2016."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = None if dim == -1 else dim

    def forward(self, length: Tensor, direction: Tensor) -> Tensor:
        """The weight."""
        return direction * (length / norm_except(direction, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Length and direction."""
        return norm_except(weight, self.dim), weight.clone()


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train lengths (`original0`) and directions (`original1`) of a weight apart; each slice along `dim` has a length
    of its own, or the whole weight for None. Returns the module.

    >>> import tinygrad_nn as tg
    >>> list(weight_norm(tg.nn.Linear(2, 3)).state_dict())
    ['bias', 'parametrizations.weight.original0', 'parametrizations.weight.original1']
    """
    checked_weight("weight_norm", module, name)
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _SpectralNorm(Module):
    """A weight over its largest singular value, which power iterations estimate: Miyato et al., ICLR 2018."""

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        self.dim = normal_axis("spectral_norm", dim, weight.ndim)
        self.n_power_iterations = integer("spectral_norm", "n_power_iterations", n_power_iterations, least=1)
        self.eps = number("spectral_norm", "eps", eps)
        if weight.ndim > 1:
            matrix = as_matrix(weight.detach(), self.dim)
            u, v = (F.normalize(randn(n, dtype=weight.dtype), dim=0, eps=eps) for n in matrix.shape)
            self._u, self._v = Buffer(u), Buffer(v)
            self._iterate(matrix, 15)

    def _iterate(self, matrix: Tensor, count: int) -> None:
        """Bring u and v nearer to the first singular vectors."""
        with no_grad():
            u, v = self._u, self._v
            for _ in range(count):
                u.assign(F.normalize(matrix.mv(v), dim=0, eps=self.eps))
                v.assign(F.normalize(matrix.T.mv(u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, of norm 1; in training one more iteration comes first."""
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._iterate(matrix.detach(), self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()
        return weight / u.dot(matrix.mv(v))

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The weight itself: it may have any norm."""
        return weight


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by its largest singular value. Axis `dim` counts the outputs. Returns the module.

    >>> import tinygrad_nn as tg
    >>> list(spectral_norm(tg.nn.Linear(2, 3)).state_dict())[1:]
    ['parametrizations.weight.original', 'parametrizations.weight.0._u', 'parametrizations.weight.0._v']
    """
    weight = checked_weight("spectral_norm", module, name)
    axis = default_axis(module) if dim is None else dim
    made: Any = _SpectralNorm(weight, n_power_iterations, axis, eps)
    return register_parametrization(module, name, made)
