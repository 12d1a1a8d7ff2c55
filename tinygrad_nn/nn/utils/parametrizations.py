"""Parametrizations to use: weights of a norm of their own (`weight_norm`), of spectral norm 1 (`spectral_norm`), and
with orthonormal columns (`orthogonal`).
"""

from __future__ import annotations

from typing import Any

from ... import functional as F
from ... import linalg
from ...errors import ConfigError, ShapeError, message
from ...random import randn
from ...support.settings import choice, integer, number, shown
from ...tensor import Tensor, no_grad
from ...tensor.creation import eye
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


class _Orthogonal(Module):
    """A matrix with orthonormal columns (or rows, of a wide one), of any matrix that is trained.

    By the exponential or Cayley's transform of a skew-symmetric matrix, or by reflections; times a fixed orthogonal
    matrix, `base`, where there is one, so that training may start from any: Lezcano Casado, NeurIPS 2019.
    """

    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        if weight.shape[-2] < weight.shape[-1]:
            rows, columns = weight.shape[-1], weight.shape[-2]
        else:
            rows, columns = weight.shape[-2:]
        self.shape, self.rows, self.columns = weight.shape, rows, columns
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x: Tensor) -> Tensor:
        """The orthogonal matrix."""
        wide = x.shape[-2] < x.shape[-1]
        x = x.mT if wide else x
        if self.orthogonal_map == "householder":
            below = x.tril(-1)
            tau = 2 / ((below * below).sum(-2) + 1)
            found = linalg.householder_product(below, tau) * x.diagonal(0, -2, -1).trunc().unsqueeze(-2)
        else:
            lower = x.tril()
            if self.rows != self.columns:
                lower = lower.cat_with(x.new_zeros((*x.shape[:-1], self.rows - self.columns)), dim=-1)
            skew = lower - lower.mT
            if self.orthogonal_map == "matrix_exp":
                found = linalg.matrix_exp(skew)
            else:
                one = eye(self.rows, dtype=x.dtype).expand_to(skew.shape)
                found = linalg.solve(one - skew * 0.5, one + skew * 0.5)
            found = found.narrow(-1, 0, self.columns)
        base = getattr(self, "base", None)
        if base is not None:
            found = base @ found
        return found.mT if wide else found

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What gives the orthogonal matrix that is nearest to the directions of this one's columns."""
        name = "orthogonal"
        if weight.shape != self.shape:
            raise ShapeError(message(name, f"a weight of shape {weight.shape}", f"shape {self.shape}"))
        wide = weight.shape[-2] < weight.shape[-1]
        q = weight.mT if wide else weight
        if not hasattr(self, "base"):
            if self.orthogonal_map != "householder":
                got = f"a weight for the map {self.orthogonal_map!r} with use_trivialization=False"
                raise NotImplementedError(message(name, got, "use_trivialization=True"))
            return _reflections(q).mT if wide else _reflections(q)
        if self.rows != self.columns:
            more = randn(*q.shape[:-1], self.rows - self.columns, dtype=q.dtype)
            q = q.cat_with(more, dim=-1)
        whole, r = linalg.qr(q)
        self.base = Buffer(whole * r.diagonal(0, -2, -1).sign().unsqueeze(-2))
        return -eye(weight.shape[-2], weight.shape[-1], dtype=weight.dtype).expand_to(weight.shape).clone()


def _reflections(q: Tensor) -> Tensor:
    """Directions below the diagonal, and signs on it, of the reflections that make a matrix of this one's directions.

    Golub and Van Loan, Matrix computations, 5.2: each reflection brings a column upon its first element.
    """
    columns = q.shape[-1]
    place = q.new_arange(q.shape[-2]).unsqueeze(-1)
    found = eye(q.shape[-2], columns, dtype=q.dtype).expand_to(q.shape)
    for j in range(columns):
        column = q.narrow(-1, j, 1).masked_fill(place < j, 0)
        first = column.narrow(-2, j, 1)
        norm = column.norm(2, -2, keepdim=True)
        sign = first.sign() + first.eq(0).to(q.dtype)
        v = column.where(place.ne(j), first + sign * norm)
        v = v / v.narrow(-2, j, 1).masked_fill(norm.eq(0), 1)
        tau = 2 / (v * v).sum(-2, keepdim=True).clamp_min(1.0)
        q = q - tau * (v @ (v.mT @ q))
        signs = place.eq(j).to(q.dtype) * -sign
        found = (v * (place > j).to(q.dtype) + signs).where(q.new_arange(columns).eq(j), found)
    return found


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Keep a weight orthogonal: its columns (or rows, of a wide one) orthonormal. Returns the module.

    `orthogonal_map` is "matrix_exp", "cayley" or "householder", by default the first for square matrices and the last
    for others. With `use_trivialization` training starts from the weight's own directions.

    >>> import tinygrad_nn as tg
    >>> layer = orthogonal(tg.nn.Linear(3, 3))
    >>> tg.allclose(layer.weight @ layer.weight.T, tg.eye(3), atol=1e-6)
    True
    """
    weight = checked_weight("orthogonal", module, name)
    if weight.ndim < 2:
        raise ShapeError(message("orthogonal", f"a weight of shape {weight.shape}", "a matrix"))
    usual = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    chosen = choice("orthogonal", "orthogonal_map", orthogonal_map or usual, ("matrix_exp", "cayley", "householder"))
    made: Any = _Orthogonal(weight, chosen, use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
