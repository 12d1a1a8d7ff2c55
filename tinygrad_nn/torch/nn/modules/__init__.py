"""`torch.nn.modules`, with the bases that subclasses of losses and norms are written on."""

from typing import Any

from ....nn import *
from ....nn.convolution import _Convolution as _ConvNd  # noqa: F401
from ....nn.loss import Loss
from ....nn.normalization import _BatchNorm as _BatchNorm
from ..._door import door

__getattr__, __dir__ = door(
    __name__,
    "nn",
    files="activation adaptive batchnorm channelshuffle container conv distance dropout flatten fold instancenorm "
    "linear loss module normalization padding pixelshuffle pooling rnn sparse transformer upsampling",
)


class _Loss(Loss):
    """A loss that knows how it is reduced."""

    def __init__(self, size_average: Any = None, reduce: Any = None, reduction: str = "mean") -> None:
        super().__init__(size_average, reduce, reduction=reduction)


class _WeightedLoss(Loss):
    """And the weights of its classes."""

    def __init__(self, weight: Any = None, size_average: Any = None, reduce: Any = None, reduction: str = "mean"):
        super().__init__(size_average, reduce, weight=weight, reduction=reduction)
