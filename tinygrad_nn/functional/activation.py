"""Activations: composites of Tensor methods, no derivative written here. Kinks follow PyTorch."""

from __future__ import annotations

import math

from ..errors import ConfigError, ShapeError, message
from ..random import Generator, uniform
from ..tensor import Tensor
from ..tensor.contract import check_floats
from ..tensor.door import takes_data
from ..tensor.shape import normal_axis

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@takes_data
def relu(x: Tensor) -> Tensor:
    """max(x, 0), with slope 0 at 0."""
    return x.relu()


@takes_data
def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where it is positive, else slope * x."""
    return x.where(x > 0, x * negative_slope)


@takes_data
def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """leaky_relu with a learned slope: one, or one per channel (axis 1)."""
    check_floats("prelu", x, weight)
    if weight.numel() > 1:
        if x.ndim < 2 or weight.numel() != x.shape[1]:
            raise ShapeError(
                message("prelu", f"{weight.numel()} slopes for shape {x.shape}", "1, or one per channel (axis 1)")
            )
        weight = weight.reshape((-1, *(1,) * (x.ndim - 2)))
    return x.where(x > 0, x * weight)


@takes_data
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where it is positive, else alpha * (e^x - 1): Clevert et al., ICLR 2016."""
    return x.where(x > 0, alpha * _negative_part(x).expm1())


def _negative_part(x: Tensor) -> Tensor:
    """x below 0, else 0: keeps the branch that is not taken from overflowing (and NaN, as it is)."""
    return x.masked_fill(x > 0, 0.0)


@takes_data
def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where it is positive, else alpha * (e^(x / alpha) - 1): Barron, arXiv:1704.07483."""
    return x.where(x > 0, alpha * (_negative_part(x) / alpha).expm1())


@takes_data
def selu(x: Tensor) -> Tensor:
    """elu with the constants that keep mean 0 and variance 1: Klambauer et al., NeurIPS 2017."""
    return _SELU_SCALE * elu(x, _SELU_ALPHA)


@takes_data
def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function, or its tanh form: Hendrycks and Gimpel, arXiv:1606.08415."""
    if approximate == "tanh":
        return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)).tanh())
    if approximate != "none":
        raise ConfigError(message("gelu", f"approximate {approximate!r}", "'none' or 'tanh'"))
    return 0.5 * x * (1 + (x * math.sqrt(0.5)).erf())


@takes_data
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return x.sigmoid()


@takes_data
def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return x.tanh()


@takes_data
def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x)."""
    return x * x.sigmoid()


@takes_data
def mish(x: Tensor) -> Tensor:
    """x * tanh(softplus(x)): Misra, BMVC 2020."""
    return x * softplus(x).tanh()


@takes_data
def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta; x itself where beta * x > threshold."""
    scaled = x * beta
    large = scaled > threshold
    return x.where(large, scaled.masked_fill(large, 0.0).exp().log1p() / beta)


@takes_data
def logsigmoid(x: Tensor) -> Tensor:
    """log(sigmoid(x)), without overflow."""
    return -(-x).logaddexp(0)


@takes_data
def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return x / (x.abs() + 1)


@takes_data
def hardtanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x limited to [min_val, max_val], with slope 0 at the ends."""
    inside = (x > min_val) & (x < max_val)
    limited = x.detach().clamp(min_val, max_val)
    return x.where(inside, limited)


@takes_data
def relu6(x: Tensor) -> Tensor:
    """x limited to [0, 6]."""
    return hardtanh(x, 0.0, 6.0)


@takes_data
def hardsigmoid(x: Tensor) -> Tensor:
    """relu6(x + 3) / 6."""
    return relu6(x + 3) / 6


@takes_data
def hardswish(x: Tensor) -> Tensor:
    """x * relu6(x + 3) / 6: Howard et al., ICCV 2019."""
    bent = x.masked_fill((x <= -3) | (x >= 3), 0.0)  # elsewhere the square would overflow, and its slope be NaN
    return (bent * (bent + 3) / 6).where(x > -3, 0.0).where(x < 3, x)


@takes_data
def tanhshrink(x: Tensor) -> Tensor:
    """x - tanh(x)."""
    return x - x.tanh()


@takes_data
def softshrink(x: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved toward 0 by lambd, 0 within."""
    return (x - lambd).where(x > lambd, (x + lambd).where(x < -lambd, x * 0.0))


@takes_data
def hardshrink(x: Tensor, lambd: float = 0.5) -> Tensor:
    """x, and 0 within [-lambd, lambd]."""
    within = (x >= -lambd) & (x <= lambd)
    return x.where((x < -lambd) | (x > lambd), (x * 0.0).masked_fill(within, 0.0))  # the slope at NaN is 0


@takes_data
def threshold(x: Tensor, threshold: float, value: float) -> Tensor:
    """x above the threshold, else value."""
    return x.masked_fill(x <= threshold, value)


@takes_data
def glu(x: Tensor, dim: int = -1) -> Tensor:
    """The first half times the sigmoid of the second: Dauphin et al., ICML 2017."""
    length = x.shape[normal_axis("glu", dim, x.ndim)] if x.ndim else 0
    if length == 0 or length % 2:
        raise ShapeError(message("glu", f"shape {x.shape} on axis {dim}", "an even length"))
    a, b = x.chunk(2, dim)
    return a * b.sigmoid()


@takes_data
def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """e^x / sum of e^x along one axis."""
    return x.softmax(dim)


@takes_data
def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """log of softmax, without overflow."""
    return x.log_softmax(dim)


@takes_data
def softmin(x: Tensor, dim: int = -1) -> Tensor:
    """softmax of -x."""
    return (-x).softmax(dim)


@takes_data
def dropout(x: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None) -> Tensor:
    """In training, 0 with probability p, else x / (1 - p)."""
    if not 0 <= p <= 1:
        raise ConfigError(message("dropout", f"p {p}", "0 <= p <= 1"))
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0.0
    kept = uniform(x.shape, x.dtype, generator) >= p
    return x * (kept.to(x.dtype) * (1 / (1 - p)))
