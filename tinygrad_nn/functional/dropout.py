"""Functions that draw random numbers in training: dropout of elements and of channels, random slopes, Gumbel noise."""

from __future__ import annotations

import math
from typing import Final

from ..errors import ConfigError, ShapeError, message
from ..graph.graph import Shape
from ..random import Generator, uniform
from ..support.settings import number
from ..tensor import Tensor
from ..tensor.door import takes_data
from ..tensor.shape import normal_axis
from .activation import leaky_relu

FLOOR: Final = -1.7580993408473766  # to which selu falls


def _check(name: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ConfigError(message(name, f"p {p}", "0 <= p <= 1"))


def _dropped(name: str, x: Tensor, p: float, training: bool, shape: Shape, generator: Generator | None) -> Tensor:
    """0 with probability p, else x / (1 - p); one decision for each element of `shape`, which broadcasts to x's."""
    _check(name, p)
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0.0
    kept = uniform(shape, x.dtype, generator) >= p
    return x * (kept.to(x.dtype) * (1 / (1 - p)))


@takes_data
def dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator | None = None
) -> Tensor:
    """In training, 0 with probability p, else x / (1 - p): Srivastava et al., JMLR 2014.

    >>> import tinygrad_nn as tg
    >>> x = dropout(tg.ones(1000), p=0.25)
    >>> x.unique()
    tensor([0.0000, 1.3333])
    >>> dropout(tg.ones(2), p=0.25, training=False)
    tensor([1., 1.])
    """
    result = _dropped("dropout", input, p, training, input.shape, generator)
    return input._write("dropout", result) if inplace else result


def _channels(name: str, x: Tensor, ranks: tuple[int, ...], batched: int) -> Shape:
    """One place for each channel of (N, C, ...), or of (C, ...) where x has fewer axes than `batched`."""
    if x.ndim not in ranks:
        raise ShapeError(message(name, f"shape {x.shape}", f"{' or '.join(map(str, ranks))} axes"))
    lead = 1 if x.ndim < batched else 2
    return (*x.shape[:lead], *(1,) * (x.ndim - lead))


@takes_data
def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator | None = None
) -> Tensor:
    """`dropout` of whole channels: (N, C, L) or (C, L).

    >>> import tinygrad_nn as tg
    >>> bool((dropout1d(tg.ones(4, 8, 5)).std(dim=2) == 0).all())
    True
    """
    shape = _channels("dropout1d", input, (2, 3), 3)
    result = _dropped("dropout1d", input, p, training, shape, generator)
    return input._write("dropout1d", result) if inplace else result


@takes_data
def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator | None = None
) -> Tensor:
    """`dropout` of whole channels: (N, C, H, W). Three axes are (N, C, L), as in PyTorch.

    >>> import tinygrad_nn as tg
    >>> bool((dropout2d(tg.ones(4, 8, 5, 5)).flatten(2).std(dim=2) == 0).all())
    True
    """
    shape = _channels("dropout2d", input, (3, 4), 3)
    result = _dropped("dropout2d", input, p, training, shape, generator)
    return input._write("dropout2d", result) if inplace else result


@takes_data
def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator | None = None
) -> Tensor:
    """`dropout` of whole channels: (N, C, D, H, W) or (C, D, H, W).

    >>> import tinygrad_nn as tg
    >>> dropout3d(tg.ones(4, 8, 5, 5, 5)).shape
    (4, 8, 5, 5, 5)
    """
    shape = _channels("dropout3d", input, (4, 5), 5)
    result = _dropped("dropout3d", input, p, training, shape, generator)
    return input._write("dropout3d", result) if inplace else result


def _floored(name: str, x: Tensor, p: float, training: bool, shape: Shape, generator: Generator | None) -> Tensor:
    """selu's floor with probability p, scaled and shifted so that mean 0 and variance 1 stay: Klambauer et al., NeurIPS
    2017.
    """
    _check(name, p)
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0.0
    scale = 1 / math.sqrt((FLOOR * FLOOR * p + 1) * (1 - p))
    kept = (uniform(shape, x.dtype, generator) >= p).to(x.dtype)
    return x * (kept * scale) + ((1 - kept) * FLOOR - FLOOR * p) * scale


@takes_data
def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, generator: Generator | None = None
) -> Tensor:
    """Dropout for selu: elements become its lowest value, and mean and variance stay.

    >>> import tinygrad_nn as tg
    >>> alpha_dropout(tg.ones(2, 3), training=False)
    tensor([[1., 1., 1.],
            [1., 1., 1.]])
    """
    result = _floored("alpha_dropout", input, p, training, input.shape, generator)
    return input._write("alpha_dropout", result) if inplace else result


@takes_data
def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, generator: Generator | None = None
) -> Tensor:
    """`alpha_dropout` of whole channels: (N, C, ...).

    >>> import tinygrad_nn as tg
    >>> feature_alpha_dropout(tg.ones(4, 8, 5)).shape
    (4, 8, 5)
    """
    if input.ndim < 2 and training:
        raise ShapeError(message("feature_alpha_dropout", f"shape {input.shape} in training", "(N, C, ...)"))
    shape = (*input.shape[:2], *(1,) * (input.ndim - 2))
    result = _floored("feature_alpha_dropout", input, p, training, shape, generator)
    return input._write("feature_alpha_dropout", result) if inplace else result


@takes_data
def rrelu(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """leaky_relu with a slope of each element's own, drawn from [lower, upper] in training, else their mean: Xu et al.,
    arXiv:1505.00853.

    >>> rrelu([-8.0, 2.0], lower=0.25, upper=0.25)
    tensor([-2.,  2.])
    """
    number("rrelu", "upper", upper, least=number("rrelu", "lower", lower))
    if training:
        slopes = uniform(input.shape, input.dtype, generator) * (upper - lower) + lower
        result = input.where(input > 0, input * slopes)
    else:
        result = leaky_relu(input, (lower + upper) / 2)
    return input._write("rrelu", result) if inplace else result


def rrelu_(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """`rrelu` in place.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor([-8.0, 2.0])
    >>> _ = rrelu_(x, lower=0.25, upper=0.25)
    >>> x
    tensor([-2.,  2.])
    """
    return rrelu(input, lower, upper, training, True, generator)


@takes_data
def gumbel_softmax(
    logits: Tensor,
    tau: float = 1,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
    generator: Generator | None = None,
) -> Tensor:
    """A sample of classes that gradients go through: softmax((logits + Gumbel noise) / tau). `hard` gives one-hot rows
    with the gradient of the soft ones. `eps` is ignored, as in PyTorch. Jang, Gu and Poole, ICLR 2017.

    >>> import tinygrad_nn as tg
    >>> gumbel_softmax(tg.zeros(3), hard=True).sum()
    tensor(1.)
    """
    number("gumbel_softmax", "tau", tau, above=0)
    waits = -(1 - uniform(logits.shape, logits.dtype, generator)).log()
    soft = ((logits - waits.clamp(min=2.0**-25).log()) / tau).softmax(dim)
    if not hard:
        return soft
    axis = normal_axis("gumbel_softmax", dim, logits.ndim)
    places = logits.new_arange(logits.shape[axis]).reshape((-1, *(1,) * (logits.ndim - 1 - axis)))
    chosen = (places == soft.detach().argmax(axis, keepdim=True)).to(soft.dtype)
    return chosen - soft.detach() + soft
