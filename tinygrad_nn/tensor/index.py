"""Reading and writing places that data decides: gather, scatter, and `x[...]` in all its forms."""

from __future__ import annotations

from typing import Self

from ..ops.index import GATHER, TAKE
from .core import Core
from .reduce import Reduced
from .shape import normal_axis


class Indexed(Reduced):
    """Indexing."""

    __slots__ = ()

    def gather(self, dim: int, index: Core) -> Self:
        """out[i][j] = x[index[i][j]][j] for dim 0, and so on, as torch.gather."""
        return self.apply(GATHER, index, axis=normal_axis("gather", dim, self.ndim))

    def index_select(self, dim: int, index: Core) -> Self:
        """The slices that `index` (int32 or int64, one axis) names, along one axis."""
        return self.apply(TAKE, index, axis=normal_axis("index_select", dim, self.ndim))
