"""Layers of one matrix product: Linear, Bilinear, Embedding; and Identity."""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from ..errors import ConfigError, message
from ..support.settings import Device, flags, integer
from ..tensor import Tensor, no_grad
from ..tensor.creation import zeros
from . import init
from .module import Module
from .parameter import Parameter


class Identity(Module):
    """Returns its argument; takes and ignores any settings."""

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
        bound = 1 / math.sqrt(in_features) if in_features > 0 else 0.0
        self.weight = Parameter(zeros(out_features, in_features, dtype=dtype))
        init.uniform_(self.weight, -bound, bound)
        self.bias = Parameter(zeros(out_features, dtype=dtype)) if bias else None
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """One matrix product over the last axis."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """x1 @ weight[k] @ x2 + bias[k] for each output k."""

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
        bound = 1 / math.sqrt(in1_features)
        self.weight = init.uniform_(
            Parameter(zeros(out_features, in1_features, in2_features, dtype=dtype)), -bound, bound
        )
        self.bias = Parameter(zeros(out_features, dtype=dtype)) if bias else None
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """(..., in1) and (..., in2) to (..., out)."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """As torch's."""
        sizes = f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"


class Embedding(Module):
    """Rows of a table by integer index; normal(0, 1) at first, zeros at `padding_idx`, which gets no gradient."""

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_embeddings = num_embeddings = integer("Embedding", "num_embeddings", num_embeddings, least=0)
        self.embedding_dim = embedding_dim = integer("Embedding", "embedding_dim", embedding_dim, least=0)
        if padding_idx is not None:
            padding_idx = integer("Embedding", "padding_idx", padding_idx)
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ConfigError(message("Embedding", f"padding_idx {padding_idx}", f"one of {num_embeddings} rows"))
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        self.weight = init.normal_(Parameter(zeros(num_embeddings, embedding_dim, dtype=dtype)))
        if padding_idx is not None:
            with no_grad():
                rows = self.weight.new_arange(num_embeddings).unsqueeze(1) == padding_idx
                self.weight.assign(self.weight.masked_fill(rows, 0))

    def forward(self, input: Tensor) -> Tensor:
        """index (...) to (..., embedding_dim)."""
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """As torch's."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
