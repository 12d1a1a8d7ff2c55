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
    """max(x, 0), with slope 0 at 0.

    >>> relu([-1.0, 2.0])
    tensor([0., 2.])
    """
    result = input.relu()
    return input._write("relu", result) if inplace else result


@takes_data
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where it is positive, else slope * x.

    >>> leaky_relu([-1.0, 2.0])
    tensor([-0.01,  2.00])
    """
    input._floating("leaky_relu")
    result = input.apply(LEAKY_RELU, slope=float(negative_slope))
    return input._write("leaky_relu", result) if inplace else result


@takes_data
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """leaky_relu with a learned slope: one, or one per channel (axis 1).

    >>> import tinygrad_nn as tg
    >>> prelu([[-4.0, 4.0]], tg.tensor([0.25]))
    tensor([[-1.,  4.]])
    """
    return input.prelu(weight)


@takes_data
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where it is positive, else alpha * (e^x - 1): Clevert et al., ICLR 2016.

    >>> elu([-1.0, 2.0])
    tensor([-0.6321,  2.0000])
    """
    result = input.where(input > 0, alpha * _negative_part(input).expm1())
    return input._write("elu", result) if inplace else result


def _negative_part(x: Tensor) -> Tensor:
    """x below 0, else 0: keeps the branch that is not taken from overflowing (and NaN, as it is)."""
    return x.masked_fill(x > 0, 0.0)


@takes_data
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where it is positive, else alpha * (e^(x / alpha) - 1): Barron, arXiv:1704.07483.

    >>> celu([-1.0, 2.0])
    tensor([-0.6321,  2.0000])
    """
    result = input.where(input > 0, alpha * (_negative_part(input) / alpha).expm1())
    return input._write("celu", result) if inplace else result


@takes_data
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """elu with the constants that keep mean 0 and variance 1: Klambauer et al., NeurIPS 2017.

    >>> selu([-1.0, 2.0])
    tensor([-1.1113,  2.1014])
    """
    result = _SELU_SCALE * elu(input, _SELU_ALPHA)
    return input._write("selu", result) if inplace else result


@takes_data
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function, or its tanh form: Hendrycks and Gimpel, arXiv:1606.08415.

    >>> gelu([-1.0, 2.0])
    tensor([-0.1587,  1.9545])
    """
    if approximate == "tanh":
        return 0.5 * input * (1 + (math.sqrt(2 / math.pi) * (input + 0.044715 * input * input * input)).tanh())
    if approximate != "none":
        raise ConfigError(message("gelu", f"approximate {approximate!r}", "'none' or 'tanh'"))
    return 0.5 * input * (1 + (input * math.sqrt(0.5)).erf())


@takes_data
def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-x).

    >>> sigmoid([0.0, 2.0])
    tensor([0.5000, 0.8808])
    """
    return input.sigmoid()


@takes_data
def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent.

    >>> tanh([0.0, 1.0])
    tensor([0.0000, 0.7616])
    """
    return input.tanh()


@takes_data
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x).

    >>> silu([-1.0, 2.0])
    tensor([-0.2689,  1.7616])
    """
    result = input * input.sigmoid()
    return input._write("silu", result) if inplace else result


@takes_data
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x)): Misra, BMVC 2020.

    >>> mish([-1.0, 2.0])
    tensor([-0.3034,  1.9440])
    """
    result = input * softplus(input).tanh()
    return input._write("mish", result) if inplace else result


@takes_data
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta; x itself where beta * x > threshold.

    >>> softplus([0.0, 30.0])
    tensor([ 0.6931, 30.0000])
    """
    scaled = input * beta
    large = scaled > threshold
    return input.where(large, scaled.masked_fill(large, 0.0).exp().log1p() / beta)


@takes_data
def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), without overflow.

    >>> logsigmoid([-10.0, 0.0])
    tensor([-10.0000,  -0.6931])
    """
    return -(-input).logaddexp(0)


@takes_data
def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|).

    >>> softsign([-1.0, 3.0])
    tensor([-0.50,  0.75])
    """
    return input / (input.abs() + 1)


@takes_data
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x limited to [min_val, max_val], with slope 0 at the ends. Of integers the limits are integers too.

    >>> hardtanh([-2.0, 0.5, 2.0])
    tensor([-1.0,  0.5,  1.0])
    """
    if input.dtype.kind == "i":
        min_val, max_val = int(min_val), int(max_val)
    inside = (input > min_val) & (input < max_val)
    limited = input.detach().clamp(min_val, max_val)
    result = input.where(inside, limited)
    return input._write("hardtanh", result) if inplace else result


@takes_data
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """x limited to [0, 6].

    >>> relu6([-1.0, 2.0, 8.0])
    tensor([0., 2., 6.])
    """
    result = hardtanh(input, 0.0, 6.0)
    return input._write("relu6", result) if inplace else result


@takes_data
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(x + 3) / 6.

    >>> hardsigmoid([-4.0, 0.0, 4.0])
    tensor([0.0, 0.5, 1.0])
    """
    result = relu6(input + 3) / 6
    return input._write("hardsigmoid", result) if inplace else result


@takes_data
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * relu6(x + 3) / 6: Howard et al., ICCV 2019.

    >>> hardswish([-4.0, 1.0, 4.0])
    tensor([0.0000, 0.6667, 4.0000])
    """
    # Elsewhere the square would overflow, and its slope be NaN.
    bent = input.masked_fill((input <= -3) | (input >= 3), 0.0)
    result = (bent * (bent + 3) / 6).where(input > -3, 0.0).where(input < 3, input)
    return input._write("hardswish", result) if inplace else result


@takes_data
def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x).

    >>> tanhshrink([0.0, 1.0])
    tensor([0.0000, 0.2384])
    """
    return input - input.tanh()


@takes_data
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved toward 0 by lambd, 0 within.

    >>> softshrink([-2.0, 0.3, 1.0])
    tensor([-1.5,  0.0,  0.5])
    """
    return (input - lambd).where(input > lambd, (input + lambd).where(input < -lambd, input * 0.0))


@takes_data
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, and 0 within [-lambd, lambd].

    >>> hardshrink([-2.0, 0.3, 1.0])
    tensor([-2.,  0.,  1.])
    """
    return input.hardshrink(lambd)


@takes_data
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x above the threshold, else value.

    >>> threshold([-2.0, 2.0], 0.5, 7.0)
    tensor([7., 2.])
    """
    result = input.masked_fill(input <= threshold, value)
    return input._write("threshold", result) if inplace else result


@takes_data
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half times the sigmoid of the second: Dauphin et al., ICML 2017.

    >>> glu([1.0, 2.0, 0.0, 0.0])
    tensor([0.5, 1.0])
    """
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
    """e^x / sum of e^x along one axis. Without `dim` that is axis 0 of a vector and of three axes, else axis 1.

    >>> softmax([[0.0, 0.0], [1.0, 0.0]], dim=1)
    tensor([[0.5000, 0.5000],
            [0.7311, 0.2689]])
    """
    return input.softmax(_implied(input, dim), dtype)


@takes_data
def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """log of softmax, without overflow.

    >>> log_softmax([0.0, 0.0], dim=0)
    tensor([-0.6931, -0.6931])
    """
    return input.log_softmax(_implied(input, dim), dtype)


@takes_data
def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """softmax of -x.

    >>> softmin([0.0, 1.0], dim=0)
    tensor([0.7311, 0.2689])
    """
    return (-input).softmax(_implied(input, dim), dtype)


# ---- written into the input ---------------------------------------------------------------------------------------


def relu_(input: Tensor) -> Tensor:
    """`relu` in place.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor([-2.0, 2.0])
    >>> _ = relu_(x)
    >>> x
    tensor([0., 2.])
    """
    return relu(input, True)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu` in place.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor([-2.0, 2.0])
    >>> _ = leaky_relu_(x)
    >>> x
    tensor([-0.02,  2.00])
    """
    return leaky_relu(input, negative_slope, True)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu` in place.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor([-2.0, 2.0])
    >>> _ = elu_(x)
    >>> x
    tensor([-0.8647,  2.0000])
    """
    return elu(input, alpha, True)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu` in place.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor([-2.0, 2.0])
    >>> _ = celu_(x)
    >>> x
    tensor([-0.8647,  2.0000])
    """
    return celu(input, alpha, True)


def selu_(input: Tensor) -> Tensor:
    """`selu` in place.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor([-2.0, 2.0])
    >>> _ = selu_(x)
    >>> x
    tensor([-1.5202,  2.1014])
    """
    return selu(input, True)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh` in place.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor([-2.0, 2.0])
    >>> _ = hardtanh_(x)
    >>> x
    tensor([-1.,  1.])
    """
    return hardtanh(input, min_val, max_val, True)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold` in place.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor([-2.0, 2.0])
    >>> _ = threshold_(x, 0.5, 7.0)
    >>> x
    tensor([7., 2.])
    """
    return _threshold(input, threshold, value, True)


_threshold = threshold  # which is also the name of its parameter
