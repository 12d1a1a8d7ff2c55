"""Dropout, and the layers that only change shapes."""

from __future__ import annotations

from collections.abc import Sequence

from .. import functional as F
from ..errors import ConfigError, message
from ..support.settings import flags, integer, number, shown
from ..tensor import Tensor
from ..tensor.door import taken
from .module import Module


class Dropout(Module):
    """In training, elements become 0 with probability p and the rest grow by 1 / (1 - p): Srivastava et al., JMLR
    2014.
    """

    @flags
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p, self.inplace = number("Dropout", "p", p, least=0, most=1), inplace

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"p={self.p}, inplace={self.inplace}"


class Flatten(Module):
    """Axes from `start_dim` to `end_dim` become one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = integer("Flatten", "start_dim", start_dim)
        self.end_dim = integer("Flatten", "end_dim", end_dim)

    def forward(self, input: Tensor) -> Tensor:
        """The same elements."""
        return taken("Flatten", input).flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis becomes several."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = integer("Unflatten", "dim", dim)
        if not isinstance(unflattened_size, (list, tuple)):
            raise ConfigError(message("Unflatten", f"unflattened_size {shown(unflattened_size)}", "a list of sizes"))
        self.unflattened_size = tuple(integer("Unflatten", "unflattened_size", n, least=-1) for n in unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        """The same elements."""
        return taken("Unflatten", input).unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
