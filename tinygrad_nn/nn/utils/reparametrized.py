"""The older forms of weight and spectral norm, with torch's keys (`weight_g`, `weight_orig`, ...); `skip_init`."""

from __future__ import annotations

from typing import Any, TypeVar

from ... import functional as F
from ...errors import ConfigError, message
from ...random import randn
from ...support.settings import integer, number, shown
from ...tensor import Tensor, no_grad
from ...tensor.shape import normal_axis, whole
from ..module import Module
from ..parameter import Buffer, Parameter
from .parametrizations import as_matrix, checked_weight, default_axis, norm_except

M = TypeVar("M", bound=Module)


class _WeightNorm:
    """A weight that is a length (`_g`) times a direction (`_v`)."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name, self.dim = name, dim

    def read(self, module: Module) -> Tensor:
        """The weight."""
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return v * (g / norm_except(v, self.dim))  # type: ignore[no-any-return]

    def write(self, module: Module, value: Tensor) -> None:
        """Have it this value."""
        with no_grad():
            getattr(module, f"{self.name}_g").copy_(norm_except(value, self.dim))
            getattr(module, f"{self.name}_v").copy_(value)


class _SpectralNorm:
    """A weight that is another one (`_orig`) over its largest singular value."""

    def __init__(self, name: str, count: int, eps: float, dim: int) -> None:
        self.name, self.count, self.eps, self.dim = name, count, eps, dim

    def read(self, module: Module) -> Tensor:
        """The weight; in training a power iteration comes first."""
        weight, u, v = (getattr(module, f"{self.name}_{end}") for end in ("orig", "u", "v"))
        matrix = as_matrix(weight, self.dim)
        if module.training:
            with no_grad():
                for _ in range(self.count):
                    v.assign(F.normalize(matrix.detach().T.mv(u), dim=0, eps=self.eps))
                    u.assign(F.normalize(matrix.detach().mv(v), dim=0, eps=self.eps))
        return weight / u.clone().dot(matrix.mv(v.clone()))  # type: ignore[no-any-return]

    def write(self, module: Module, value: Tensor) -> None:
        """Have it this value, but for its norm."""
        with no_grad():
            getattr(module, f"{self.name}_orig").copy_(value)


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Train lengths (`weight_g`) and directions (`weight_v`) of a weight apart: Salimans and Kingma, NeurIPS 2016.

    The weight is computed whenever it is read. `parametrizations.weight_norm` is the newer form.

    >>> import tinygrad_nn as tg
    >>> layer = weight_norm(tg.nn.Linear(4, 3))
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'weight_g', 'weight_v']
    """
    weight = checked_weight("weight_norm", module, name)
    axis = None if dim is None or whole("weight_norm", "dim", dim) == -1 else dim
    module.compute(name, _WeightNorm(name, axis))
    setattr(module, f"{name}_g", Parameter(norm_except(weight.detach(), axis)))
    setattr(module, f"{name}_v", Parameter(weight.detach().clone()))
    return module


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """Divide a weight (`weight_orig`) by its largest singular value: Miyato et al., ICLR 2018.

    The weight is computed whenever it is read. `parametrizations.spectral_norm` is the newer form.

    >>> import tinygrad_nn as tg
    >>> layer = spectral_norm(tg.nn.Linear(4, 3))
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'weight_orig']
    """
    weight = checked_weight("spectral_norm", module, name)
    axis = default_axis(module) if dim is None else normal_axis("spectral_norm", dim, weight.ndim)
    count = integer("spectral_norm", "n_power_iterations", n_power_iterations, least=1)
    rows, columns = as_matrix(weight.detach(), axis).shape
    module.compute(name, _SpectralNorm(name, count, number("spectral_norm", "eps", eps), axis))
    setattr(module, f"{name}_orig", weight)
    for end, n in (("u", rows), ("v", columns)):
        setattr(module, f"{name}_{end}", Buffer(F.normalize(randn(n, dtype=weight.dtype), dim=0, eps=eps)))
    return module


def _plain(owner: str, module: M, name: str, kind: type, ends: tuple[str, ...]) -> M:
    """A module with a plain weight again."""
    how = vars(module).get("_computed", {}).get(name) if isinstance(module, Module) and isinstance(name, str) else None
    if not isinstance(how, kind):
        got = f"the name {shown(name)} of a {type(module).__name__}"
        raise ConfigError(message(owner, got, f"a weight with {owner.removeprefix('remove_')}"))
    with no_grad():
        value = getattr(module, name).detach().clone()
    module.compute(name, None)
    for end in ends:
        delattr(module, f"{name}_{end}")
    setattr(module, name, Parameter(value))
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Have a plain weight again, with the value it has now.

    >>> import tinygrad_nn as tg
    >>> layer = remove_weight_norm(weight_norm(tg.nn.Linear(4, 3)))
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'weight']
    """
    return _plain("remove_weight_norm", module, name, _WeightNorm, ("g", "v"))


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Have a plain weight again, with the value it has now.

    >>> import tinygrad_nn as tg
    >>> layer = remove_spectral_norm(spectral_norm(tg.nn.Linear(4, 3)))
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'weight']
    """
    return _plain("remove_spectral_norm", module, name, _SpectralNorm, ("orig", "u", "v"))


def skip_init(module_cls: type[M], *args: Any, **kwargs: Any) -> M:
    """A module of a class, made as always: first values cost little here.

    >>> import tinygrad_nn as tg
    >>> skip_init(tg.nn.Linear, 4, 3).weight.shape
    (3, 4)
    """
    if not isinstance(module_cls, type) or not issubclass(module_cls, Module):
        raise ConfigError(message("skip_init", f"module_cls {shown(module_cls)}", "a class of modules"))
    return module_cls(*args, **kwargs)
