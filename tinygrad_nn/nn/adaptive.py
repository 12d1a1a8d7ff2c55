"""The softmax of very many classes, the rare ones in clusters with layers of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import ConfigError, ShapeError, message
from ..support.settings import Device, flags, integer, number
from ..tensor import Tensor
from ..tensor.door import taken
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module


class ASMoutput(NamedTuple):
    """What `AdaptiveLogSoftmaxWithLoss` gives: the logarithm of each target's probability, and the loss."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """log(softmax) of classes that are numbered from the most frequent on: those up to cutoffs[0] have scores of their
    own, the others one for their cluster, whose width is in_features / div_value ** (1, 2, ...): Grave et al., ICML
    2017.

    >>> import tinygrad_nn as tg
    >>> layer = tg.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10])
    >>> layer.log_prob(tg.ones(3, 8)).shape
    (3, 20)
    """

    @flags
    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Device = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = "AdaptiveLogSoftmaxWithLoss"
        self.in_features = integer(name, "in_features", in_features, least=1)
        self.n_classes = integer(name, "n_classes", n_classes, least=2)
        several = cutoffs if isinstance(cutoffs, Sequence) and not isinstance(cutoffs, (str, bytes)) else ()
        given = [integer(name, "cutoffs", one, least=1) for one in several]
        if not given or given != sorted({*given}) or given[-1] >= n_classes:
            got = f"cutoffs {given} of {n_classes} classes"
            raise ConfigError(message(name, got, "rising numbers between 0 and the number of classes"))
        self.cutoffs, self.div_value = [*given, self.n_classes], number(name, "div_value", div_value, above=0)
        self.head_bias = head_bias
        self.shortlist_size, self.n_clusters = given[0], len(given)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, dtype=dtype)
        self.tail = ModuleList()
        for k in range(self.n_clusters):
            width = int(in_features // self.div_value ** (k + 1))
            count = self.cutoffs[k + 1] - self.cutoffs[k]
            first = Linear(in_features, width, bias=False, dtype=dtype)
            self.tail.append(Sequential(first, Linear(width, count, bias=False, dtype=dtype)))

    def log_prob(self, input: Tensor) -> Tensor:
        """Logarithms of the probabilities of all classes: (N, in_features) to (N, n_classes)."""
        x = taken("AdaptiveLogSoftmaxWithLoss", input, self.head.weight)
        if x.ndim != 2 or x.shape[1] != self.in_features:
            expected = f"(N, {self.in_features})"
            raise ShapeError(message("AdaptiveLogSoftmaxWithLoss", f"shape {x.shape}", expected))
        head: Tensor = self.head(x).log_softmax(1)
        parts = [head.narrow(1, 0, self.shortlist_size)]
        for k, cluster in enumerate(self.tail):
            parts.append(cluster(x).log_softmax(1) + head.narrow(1, self.shortlist_size + k, 1))
        return parts[0].cat_with(*parts[1:], dim=1)

    def forward(self, input_: Tensor, target_: Tensor) -> ASMoutput:
        """(N, in_features) and class numbers (N,), or one sample without N."""
        x = taken("AdaptiveLogSoftmaxWithLoss", input_, self.head.weight)
        target = taken("AdaptiveLogSoftmaxWithLoss", target_)
        if target.dtype.kind != "i" or x.ndim not in (1, 2) or target.shape != x.shape[:-1]:
            got = f"shapes {x.shape} and {target.shape}:{target.dtype.name}"
            raise ShapeError(message("AdaptiveLogSoftmaxWithLoss", got, "(N, in_features) and integers (N,)"))
        single = x.ndim == 1
        found = self.log_prob(x.unsqueeze(0) if single else x)
        output = found.gather(1, target.reshape((-1, 1))).squeeze(1)
        return ASMoutput(output.squeeze(0) if single else output, -output.mean())

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each sample: (N,)."""
        return self.log_prob(input).argmax(1)
