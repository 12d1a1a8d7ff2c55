"""Layers of one matrix product: Linear, Bilinear; tables of rows: Embedding, EmbeddingBag; and Identity."""

from __future__ import annotations

import math
from typing import Any, Self

from .. import functional as F
from ..errors import ShapeError, message
from ..functional.layers import padding_row
from ..support.settings import Device, choice, flags, integer, number
from ..tensor import Tensor, no_grad
from ..tensor.creation import zeros
from ..tensor.door import taken
from . import init
from .module import Module, drawn
from .parameter import Parameter


class Identity(Module):
    """Returns its argument; takes and ignores any settings.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Identity()(tg.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The same tensor."""
        return input


class Linear(Module):
    """x @ weight.T + bias: (..., in_features) to (..., out_features). Uniform in +-1/sqrt(in_features) at first.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Linear(4, 8)(tg.ones(32, 4)).shape
    (32, 8)
    """

    bias: Parameter | None

    @flags
    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Device = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = in_features = integer("Linear", "in_features", in_features, least=0)
        self.out_features = out_features = integer("Linear", "out_features", out_features, least=0)
        self.weight = Parameter(zeros(out_features, in_features, dtype=dtype))
        self.bias = Parameter(zeros(out_features, dtype=dtype)) if bias else None
        self.reset_parameters()

    @drawn
    def reset_parameters(self) -> None:
        """First values: uniform in +-1/sqrt(in_features)."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0.0
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """One matrix product over the last axis."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """x1 @ weight[k] @ x2 + bias[k] for each output k.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Bilinear(2, 3, 4)(tg.ones(5, 2), tg.ones(5, 3)).shape
    (5, 4)
    """

    bias: Parameter | None

    @flags
    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Device = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in1_features = in1_features = integer("Bilinear", "in1_features", in1_features, least=1)
        self.in2_features = in2_features = integer("Bilinear", "in2_features", in2_features, least=0)
        self.out_features = out_features = integer("Bilinear", "out_features", out_features, least=0)
        self.weight = Parameter(zeros(out_features, in1_features, in2_features, dtype=dtype))
        self.bias = Parameter(zeros(out_features, dtype=dtype)) if bias else None
        self.reset_parameters()

    @drawn
    def reset_parameters(self) -> None:
        """First values: uniform in +-1/sqrt(in1_features)."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """(..., in1) and (..., in2) to (..., out)."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """As torch's."""
        sizes = f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"


class _Table(Module):
    """What Embedding and EmbeddingBag share: a table of rows."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        max_norm: float | None,
        norm_type: float,
        scale_grad_by_freq: bool,
        sparse: bool,
        weight: Tensor | None,
        freeze: bool,
        dtype: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_embeddings = num_embeddings = integer(name, "num_embeddings", num_embeddings, least=0)
        self.embedding_dim = embedding_dim = integer(name, "embedding_dim", embedding_dim, least=0)
        self.padding_idx = None if padding_idx is None else padding_row(name, padding_idx, num_embeddings)
        self.max_norm = None if max_norm is None else number(name, "max_norm", max_norm)
        self.norm_type = number(name, "norm_type", norm_type, finite=False)
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        if weight is None:
            self.weight = Parameter(zeros(num_embeddings, embedding_dim, dtype=dtype), not freeze)
            self.reset_parameters()
        elif taken(name, weight).shape != (num_embeddings, embedding_dim):
            expected = f"({num_embeddings}, {embedding_dim})"
            raise ShapeError(message(name, f"a weight of shape {taken(name, weight).shape}", expected))
        else:
            self.weight, self._given = Parameter(taken(name, weight), not freeze), True

    @drawn
    def reset_parameters(self) -> None:
        """First values: normal(0, 1), and zeros at `padding_idx`."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                rows = self.weight.new_arange(self.num_embeddings).unsqueeze(1) == self.padding_idx
                self.weight.assign(self.weight.masked_fill(rows, 0))

    def extra_repr(self) -> str:
        """As torch's."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        defaults = {
            "padding_idx": None,
            "max_norm": None,
            "norm_type": 2.0,
            "scale_grad_by_freq": False,
            "sparse": False,
        }
        changed = {name: getattr(self, name) for name, value in defaults.items() if getattr(self, name) != value}
        return ", ".join([text, *(f"{name}={value}" for name, value in changed.items())])


def _given(embeddings: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """A table for `from_pretrained`, and its shape. Raises ShapeError."""
    table = taken("from_pretrained", embeddings)
    if table.ndim != 2:
        raise ShapeError(message("from_pretrained", f"shape {table.shape}", "(num_embeddings, embedding_dim)"))
    return table, table.shape


class Embedding(_Table):
    """Rows of a table by integer index; normal(0, 1) at first, zeros at `padding_idx`, which gets no gradient.

    Rows that are looked up are first made as short as `max_norm`. Gradients are dense, with `sparse` too.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Embedding(10, 3)(tg.tensor([[1, 2, 4], [4, 3, 9]])).shape
    (2, 3, 3)
    """

    @flags
    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Device = None,
        dtype: Any = None,
    ) -> None:
        settings = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight, _freeze, dtype)
        super().__init__(num_embeddings, embedding_dim, *settings)

    def forward(self, input: Tensor) -> Tensor:
        """input (...) to (..., embedding_dim)."""
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:
        """A layer with a given table (num_embeddings, embedding_dim), which is not trained unless `freeze` is False."""
        table, (rows, width) = _given(embeddings)
        settings = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
        return cls(rows, width, *settings, _weight=table, _freeze=freeze)


class EmbeddingBag(_Table):
    """Sums, means or maxima of rows of a table: bags (N, L), or (L,) in pieces that begin at `offsets`, to (N,
    embedding_dim). A bag without rows gives zeros.

    >>> import tinygrad_nn as tg
    >>> tg.nn.EmbeddingBag(10, 3)(tg.tensor([[1, 2, 4], [4, 3, 9]])).shape
    (2, 3)
    """

    @flags
    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Device = None,
        dtype: Any = None,
    ) -> None:
        settings = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight, False, dtype)
        super().__init__(num_embeddings, embedding_dim, *settings)
        self.mode = choice("EmbeddingBag", "mode", mode, ("sum", "mean", "max"))
        self.include_last_offset = include_last_offset

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        """One row for each bag."""
        return F.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode,
            self.sparse, per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Self:
        """A layer with a given table, which is not trained unless `freeze` is False."""
        table, (rows, width) = _given(embeddings)
        settings = (max_norm, norm_type, scale_grad_by_freq, mode, sparse, table, include_last_offset, padding_idx)
        made = cls(rows, width, *settings)
        made.weight.requires_grad_(not freeze)
        return made

    def extra_repr(self) -> str:
        """As torch's."""
        return f"{super().extra_repr()}, mode={self.mode!r}"
