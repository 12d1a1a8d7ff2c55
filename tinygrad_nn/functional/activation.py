"""Activations: composites of Tensor methods, no derivative written here. Kinks follow PyTorch."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ConfigError, ShapeError, message
from ..ops.composite import LEAKY_RELU
from ..tensor import Tensor
from ..tensor.door import takes_data
from ..tensor.shape import normal_axis

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@takes_data
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), with slope 0 at 0."""
    result = input.relu()
    return input._write("relu", result) if inplace else result


@takes_data
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where it is positive, else slope * x."""
    input._floating("leaky_relu")
    result = input.apply(LEAKY_RELU, slope=float(negative_slope))
    return input._write("leaky_relu", result) if inplace else result


@takes_data
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """leaky_relu with a learned slope: one, or one per channel (axis 1)."""
    return input.prelu(weight)


@takes_data
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where it is positive, else alpha * (e^x - 1): Clevert et al., ICLR 2016."""
    result = input.where(input > 0, alpha * _negative_part(input).expm1())
    return input._write("elu", result) if inplace else result


def _negative_part(x: Tensor) -> Tensor:
    """x below 0, else 0: keeps the branch that is not taken from overflowing (and NaN, as it is)."""
    return x.masked_fill(x > 0, 0.0)


@takes_data
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where it is positive, else alpha * (e^(x / alpha) - 1): Barron, arXiv:1704.07483."""
    result = input.where(input > 0, alpha * (_negative_part(input) / alpha).expm1())
    return input._write("celu", result) if inplace else result


@takes_data
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """elu with the constants that keep mean 0 and variance 1: Klambauer et al., NeurIPS 2017."""
    result = _SELU_SCALE * elu(input, _SELU_ALPHA)
    return input._write("selu", result) if inplace else result


@takes_data
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function, or its tanh form: Hendrycks and Gimpel, arXiv:1606.08415."""
    if approximate == "tanh":
        return 0.5 * input * (1 + (math.sqrt(2 / math.pi) * (input + 0.044715 * input * input * input)).tanh())
    if approximate != "none":
        raise ConfigError(message("gelu", f"approximate {approximate!r}", "'none' or 'tanh'"))
    return 0.5 * input * (1 + (input * math.sqrt(0.5)).erf())


@takes_data
def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return input.sigmoid()


@takes_data
def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return input.tanh()


@takes_data
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x)."""
    result = input * input.sigmoid()
    return input._write("silu", result) if inplace else result


@takes_data
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x)): Misra, BMVC 2020."""
    result = input * softplus(input).tanh()
    return input._write("mish", result) if inplace else result


@takes_data
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta; x itself where beta * x > threshold."""
    scaled = input * beta
    large = scaled > threshold
    return input.where(large, scaled.masked_fill(large, 0.0).exp().log1p() / beta)


@takes_data
def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), without overflow."""
    return -(-input).logaddexp(0)


@takes_data
def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return input / (input.abs() + 1)


@takes_data
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x limited to [min_val, max_val], with slope 0 at the ends. Of integers the limits are integers too."""
    if input.dtype.kind == "i":
        min_val, max_val = int(min_val), int(max_val)
    inside = (input > min_val) & (input < max_val)
    limited = input.detach().clamp(min_val, max_val)
    result = input.where(inside, limited)
    return input._write("hardtanh", result) if inplace else result


@takes_data
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """x limited to [0, 6]."""
    result = hardtanh(input, 0.0, 6.0)
    return input._write("relu6", result) if inplace else result


@takes_data
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(x + 3) / 6."""
    result = relu6(input + 3) / 6
    return input._write("hardsigmoid", result) if inplace else result


@takes_data
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * relu6(x + 3) / 6: Howard et al., ICCV 2019."""
    # Elsewhere the square would overflow, and its slope be NaN.
    bent = input.masked_fill((input <= -3) | (input >= 3), 0.0)
    result = (bent * (bent + 3) / 6).where(input > -3, 0.0).where(input < 3, input)
    return input._write("hardswish", result) if inplace else result


@takes_data
def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return input - input.tanh()


@takes_data
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved toward 0 by lambd, 0 within."""
    return (input - lambd).where(input > lambd, (input + lambd).where(input < -lambd, input * 0.0))


@takes_data
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, and 0 within [-lambd, lambd]."""
    return input.hardshrink(lambd)


@takes_data
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x above the threshold, else value."""
    result = input.masked_fill(input <= threshold, value)
    return input._write("threshold", result) if inplace else result


@takes_data
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half times the sigmoid of the second: Dauphin et al., ICML 2017."""
    length = input.shape[normal_axis("glu", dim, input.ndim)] if input.ndim else 0
    if length == 0 or length % 2:
        raise ShapeError(message("glu", f"shape {input.shape} on axis {dim}", "an even length"))
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


def _implied(input: Tensor, dim: int | None) -> int:
    """The axis; where none is given that of PyTorch's older rule, which is not the last one of three and more."""
    return dim if dim is not None else 0 if input.ndim in (0, 1, 3) else 1


@takes_data
def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """e^x / sum of e^x along one axis. Without `dim` that is axis 0 of a vector and of three axes, else axis 1."""
    return input.softmax(_implied(input, dim), dtype)


@takes_data
def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """log of softmax, without overflow."""
    return input.log_softmax(_implied(input, dim), dtype)


@takes_data
def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """softmax of -x."""
    return (-input).softmax(_implied(input, dim), dtype)


# ---- written into the input ---------------------------------------------------------------------------------------


def relu_(input: Tensor) -> Tensor:
    """`relu` in place."""
    return relu(input, True)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu` in place."""
    return leaky_relu(input, negative_slope, True)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu` in place."""
    return elu(input, alpha, True)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu` in place."""
    return celu(input, alpha, True)


def selu_(input: Tensor) -> Tensor:
    """`selu` in place."""
    return selu(input, True)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh` in place."""
    return hardtanh(input, min_val, max_val, True)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold` in place."""
    return _threshold(input, threshold, value, True)


_threshold = threshold  # which is also the name of its parameter
