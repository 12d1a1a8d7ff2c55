"""Losses and distances as layers: each calls the function of its name with the settings it was made with.

Settings that are tensors (class weights) become buffers, so they move with the module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from .. import functional as F
from ..errors import ConfigError, message
from ..functional.loss import by_flags
from ..support.settings import Device, choice, flags, integer, number, shown
from ..tensor import Tensor
from ..tensor.creation import as_tensor
from .linear import Linear
from .module import Module
from .parameter import Buffer

NUMBERS: Final[Mapping[str, Mapping[str, Any]]] = {  # setting -> its bounds
    "beta": {"least": 0},
    "delta": {"above": 0},
    "eps": {"least": 0},
    "label_smoothing": {"least": 0, "most": 1},
    "margin": {},
    "p": {"least": 0, "finite": False},
}


class Loss(Module):
    """Base: checks the settings, keeps them in order, and passes them on."""

    reductions: ClassVar[tuple[str, ...]] = ("mean", "sum", "none")

    def __init__(self, size_average: Any = None, reduce: Any = None, **settings: Any) -> None:
        super().__init__()
        owner = type(self).__name__
        for flag, given in (("size_average", size_average), ("reduce", reduce)):
            if given is not None and not isinstance(given, bool):
                hint = f"write reduction={given!r}" if isinstance(given, str) else "write reduction='mean'"
                raise ConfigError(message(owner, f"{flag} {shown(given)}", "True, False or None", hint))
        if "reduction" in settings:
            settings["reduction"] = by_flags(settings["reduction"], size_average, reduce)
        self._names = tuple(settings)
        if "reduction" in settings:
            choice(owner, "reduction", settings["reduction"], self.reductions)
        for name, value in settings.items():
            if name in NUMBERS:
                number(owner, name, value, **NUMBERS[name])
            elif name in ("ignore_index", "dim"):
                integer(owner, name, value)
            elif name in ("weight", "pos_weight") and value is not None:
                value = as_tensor(value)
                if not bool(value.detach().isfinite().all()):
                    raise ConfigError(message(owner, f"{name} with NaN or infinities", "finite numbers"))
            setattr(self, name, Buffer(value) if isinstance(value, Tensor) else value)

    def settings(self) -> dict[str, Any]:
        """The keyword arguments of the function."""
        return {name: getattr(self, name) for name in self._names}


class _Targeted(Loss):
    """A loss of an input and a target, by a function."""

    function: ClassVar[Callable[..., Tensor]]

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """By `reduction`."""
        return type(self).function(input, target, **self.settings())


class _Reduced(_Targeted):
    """One whose only setting is the reduction."""

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__(size_average=size_average, reduce=reduce, reduction=reduction)


class _Weighted(_Targeted):
    """One that has weights beside the reduction."""

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight=weight, size_average=size_average, reduce=reduce, reduction=reduction)


class _Ranked(Loss):
    """A loss of two inputs and a target with a margin, by a function."""

    function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self, margin: float = 0.0, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__(margin=margin, size_average=size_average, reduce=reduce, reduction=reduction)

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """By `reduction`."""
        return type(self).function(input1, input2, target, **self.settings())


class MSELoss(_Reduced):
    """`functional.mse_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.MSELoss()(tg.tensor([1.0, 3.0]), tg.tensor([1.0, 1.0]))
    tensor(2.)
    """

    function = F.mse_loss


class L1Loss(_Reduced):
    """`functional.l1_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.L1Loss()(tg.tensor([1.0, 3.0]), tg.tensor([1.0, 1.0]))
    tensor(1.)
    """

    function = F.l1_loss


class SmoothL1Loss(_Targeted):
    """`functional.smooth_l1_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.SmoothL1Loss()(tg.tensor([0.0]), tg.tensor([3.0]))
    tensor(2.5)
    """

    function = F.smooth_l1_loss

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", beta: float = 1.0
    ) -> None:
        super().__init__(size_average=size_average, reduce=reduce, reduction=reduction, beta=beta)


class HuberLoss(_Targeted):
    """`functional.huber_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.HuberLoss()(tg.tensor([0.0]), tg.tensor([3.0]))
    tensor(2.5)
    """

    function = F.huber_loss

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction, delta=delta)


class BCELoss(_Weighted):
    """`functional.binary_cross_entropy` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.BCELoss()(tg.tensor([0.5, 0.9]), tg.tensor([0.0, 1.0]))
    tensor(0.3993)
    """

    function = F.binary_cross_entropy


class BCEWithLogitsLoss(_Targeted):
    """`functional.binary_cross_entropy_with_logits` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.BCEWithLogitsLoss()(tg.tensor([0.0, 100.0]), tg.tensor([1.0, 1.0]))
    tensor(0.3466)
    """

    function = F.binary_cross_entropy_with_logits

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(
            weight=weight, size_average=size_average, reduce=reduce, reduction=reduction, pos_weight=pos_weight
        )


class CrossEntropyLoss(_Targeted):
    """`functional.cross_entropy` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.CrossEntropyLoss()(tg.zeros(2, 4), tg.tensor([0, 3]))
    tensor(1.3863)
    """

    function = F.cross_entropy

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(
            weight=weight,
            ignore_index=ignore_index,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )


class NLLLoss(_Targeted):
    """`functional.nll_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.NLLLoss()(tg.tensor([[0.5, 0.5]]).log(), tg.tensor([0]))
    tensor(0.6931)
    """

    function = F.nll_loss

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            weight=weight, ignore_index=ignore_index, size_average=size_average, reduce=reduce, reduction=reduction
        )


class KLDivLoss(_Targeted):
    """`functional.kl_div` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.KLDivLoss(reduction="batchmean")(tg.tensor([[0.5, 0.5]]).log(), tg.tensor([[0.25, 0.75]]))
    tensor(0.1308)
    """

    function = F.kl_div
    reductions = ("mean", "sum", "none", "batchmean")

    @flags
    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average=size_average, reduce=reduce, reduction=reduction, log_target=log_target)


class PoissonNLLLoss(Loss):
    """`functional.poisson_nll_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.PoissonNLLLoss()(tg.tensor([0.0]), tg.tensor([2.0]))
    tensor(1.)
    """

    @flags
    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            log_input=log_input, full=full, eps=eps, size_average=size_average, reduce=reduce, reduction=reduction
        )

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        """By `reduction`."""
        return F.poisson_nll_loss(log_input, target, **{**self.settings(), "log_input": self.log_input})


class HingeEmbeddingLoss(_Targeted):
    """`functional.hinge_embedding_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.HingeEmbeddingLoss()(tg.tensor([0.5, 0.25]), tg.tensor([1.0, -1.0]))
    tensor(0.625)
    """

    function = F.hinge_embedding_loss

    def __init__(
        self, margin: float = 1.0, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__(margin=margin, size_average=size_average, reduce=reduce, reduction=reduction)


class SoftMarginLoss(_Reduced):
    """`functional.soft_margin_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.SoftMarginLoss()(tg.tensor([0.0, 10.0]), tg.tensor([1.0, 1.0]))
    tensor(0.3466)
    """

    function = F.soft_margin_loss


class MultiMarginLoss(_Targeted):
    """`functional.multi_margin_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.MultiMarginLoss()(tg.tensor([[0.25, 1.0]]), tg.tensor([0]))
    tensor(0.875)
    """

    function = F.multi_margin_loss

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        if not isinstance(p, (int, float)) or p not in (1, 2):
            raise ConfigError(message("MultiMarginLoss", f"p {shown(p)}", "1 or 2"))
        super().__init__(
            p=p, margin=margin, weight=weight, size_average=size_average, reduce=reduce, reduction=reduction
        )


class GaussianNLLLoss(Loss):
    """`functional.gaussian_nll_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.GaussianNLLLoss()(tg.tensor([1.0]), tg.tensor([3.0]), tg.tensor([4.0]))
    tensor(1.1931)
    """

    @flags
    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(full=full, eps=eps, reduction=reduction)

    def forward(self, input: Tensor, target: Tensor, var: Tensor) -> Tensor:
        """By `reduction`."""
        return F.gaussian_nll_loss(input, target, var, **self.settings())


class MarginRankingLoss(_Ranked):
    """`functional.margin_ranking_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.MarginRankingLoss()(tg.tensor([1.0, 2.0]), tg.tensor([3.0, 1.0]), tg.tensor([1.0, 1.0]))
    tensor(1.)
    """

    function = F.margin_ranking_loss


class TripletMarginLoss(Loss):
    """`functional.triplet_margin_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.TripletMarginLoss(margin=5.0)(tg.zeros(1, 2), tg.tensor([[0.0, 1.0]]), tg.tensor([[3.0, 4.0]]))
    tensor(1.)
    """

    @flags
    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        number("TripletMarginLoss", "margin", margin, above=0)
        super().__init__(
            margin=margin, p=p, eps=eps, swap=swap, size_average=size_average, reduce=reduce, reduction=reduction
        )

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """By `reduction`."""
        return F.triplet_margin_loss(anchor, positive, negative, **self.settings())


class CosineEmbeddingLoss(_Ranked):
    """`functional.cosine_embedding_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.CosineEmbeddingLoss()(tg.tensor([[1.0, 0.0]]), tg.tensor([[0.0, 1.0]]), tg.tensor([1]))
    tensor(1.)
    """

    function = F.cosine_embedding_loss


class MultiLabelMarginLoss(_Reduced):
    """`functional.multilabel_margin_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.MultiLabelMarginLoss()(tg.tensor([[0.0, 1.0, 0.5]]), tg.tensor([[1, -1, 0]]))
    tensor(0.1667)
    """

    function = F.multilabel_margin_loss


class MultiLabelSoftMarginLoss(_Weighted):
    """`functional.multilabel_soft_margin_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.MultiLabelSoftMarginLoss()(tg.zeros(1, 2), tg.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """

    function = F.multilabel_soft_margin_loss


class TripletMarginWithDistanceLoss(Loss):
    """`functional.triplet_margin_with_distance_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.TripletMarginWithDistanceLoss()(tg.zeros(1, 2), tg.ones(1, 2), tg.ones(1, 2) * 2)
    tensor(0.)
    """

    @flags
    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        number("TripletMarginWithDistanceLoss", "margin", margin, above=0)
        super().__init__(distance_function=distance_function, margin=margin, swap=swap, reduction=reduction)

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """By `reduction`."""
        return F.triplet_margin_with_distance_loss(anchor, positive, negative, **self.settings())


class CTCLoss(Loss):
    """`functional.ctc_loss` as a layer.

    >>> import tinygrad_nn as tg
    >>> log_probs = tg.zeros(5, 2, 4).log_softmax(2)
    >>> loss = tg.nn.CTCLoss()(log_probs, tg.tensor([[1, 2], [3, 3]]), tg.tensor([5, 5]), tg.tensor([2, 2]))
    >>> round(loss.item(), 4)
    1.8999
    """

    @flags
    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(
            blank=integer("CTCLoss", "blank", blank, least=0), reduction=reduction, zero_infinity=zero_infinity
        )

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any) -> Tensor:
        """By `reduction`."""
        return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, **self.settings())


class LinearCrossEntropyLoss(Loss):
    """`functional.linear_cross_entropy` as a layer with the weights, `linear`, of (num_classes, *out_features) scores.
    `options`, how PyTorch cuts the product into pieces, change nothing here.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LinearCrossEntropyLoss(4, 3)(tg.ones(2, 4), tg.tensor([0, 2])).shape
    ()
    """

    @flags
    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: Sequence[int] = (),
        bias: bool = False,
        device: Device = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
    ) -> None:
        super().__init__(weight=weight, reduction=reduction, label_smoothing=label_smoothing)
        name = type(self).__name__
        self.ignore_index = None if ignore_index is None else integer(name, "ignore_index", ignore_index)
        self.num_classes = integer(name, "num_classes", num_classes, least=1)
        if not isinstance(out_features, (list, tuple)):
            raise ConfigError(message(name, f"out_features {shown(out_features)}", "a sequence of integers"))
        self.out_features = tuple(integer(name, "out_features", n, least=0) for n in out_features)
        count = math.prod(self.out_features, start=num_classes)
        self.linear = Linear(in_features, count, bias=bias, dtype=dtype)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """By `reduction`."""
        outer, bias = (self.num_classes, *self.out_features), self.linear.bias
        weight = self.linear.weight.reshape((*outer, self.linear.in_features))
        rest = {**self.settings(), "ignore_index": self.ignore_index}
        return F.linear_cross_entropy(
            input, weight, target, linear_bias=None if bias is None else bias.reshape(outer), **rest
        )


class CosineSimilarity(Loss):
    """`functional.cosine_similarity` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.CosineSimilarity()(tg.tensor([[1.0, 0.0]]), tg.tensor([[1.0, 1.0]]))
    tensor([0.7071])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__(dim=dim, eps=eps)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """One number per pair."""
        return F.cosine_similarity(input1, input2, **self.settings())


class PairwiseDistance(Loss):
    """`functional.pairwise_distance` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.PairwiseDistance()(tg.tensor([[0.0, 0.0]]), tg.tensor([[3.0, 4.0]]))
    tensor([5.])
    """

    @flags
    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__(p=p, eps=eps, keepdim=keepdim)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """One number per pair."""
        return F.pairwise_distance(input1, input2, **self.settings())
