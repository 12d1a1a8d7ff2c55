"""Initial values, in place, with torch's names: `nn.init.uniform_(layer.weight, -0.5, 0.5)`.

Sources: Glorot and Bengio, AISTATS 2010 (xavier); He et al., ICCV 2015 (kaiming); Saxe et al., ICLR 2014 (orthogonal).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from ..errors import ConfigError, ShapeError, message
from ..random import Generator, rand, randn
from ..support.settings import integer, number, typed
from ..tensor import Tensor, no_grad
from ..tensor.creation import as_tensor, eye, full_like
from ..tensor.door import fills

if TYPE_CHECKING:
    from .module import Module

FanMode = Literal["fan_in", "fan_out"]
M = TypeVar("M", bound="Module")


def _set(t: Tensor, value: Tensor) -> Tensor:
    with no_grad():
        return t.assign(value.to(t.dtype))


@fills
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in [a, b).

    >>> import tinygrad_nn as tg
    >>> w = uniform_(tg.zeros(100), -0.5, 0.5)
    >>> bool((w.abs() <= 0.5).all())
    True
    """
    number("uniform_", "b", b, least=number("uniform_", "a", a))
    return _set(tensor, rand(tensor.shape, dtype=tensor.dtype, generator=generator) * (b - a) + a)


@fills
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal of a mean and a standard deviation.

    >>> import tinygrad_nn as tg
    >>> normal_(tg.zeros(2, 3), mean=10.0, std=0.0)
    tensor([[10., 10., 10.],
            [10., 10., 10.]])
    """
    number("normal_", "mean", mean)
    number("normal_", "std", std, least=0)
    return _set(tensor, randn(tensor.shape, dtype=tensor.dtype, generator=generator) * std + mean)


@fills
def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value.

    >>> import tinygrad_nn as tg
    >>> constant_(tg.zeros(2), 0.5)
    tensor([0.5, 0.5])
    """
    return _set(tensor, full_like(tensor, val))


@fills
def zeros_(tensor: Tensor) -> Tensor:
    """Zeros.

    >>> import tinygrad_nn as tg
    >>> zeros_(tg.ones(2))
    tensor([0., 0.])
    """
    return constant_(tensor, 0.0)


@fills
def ones_(tensor: Tensor) -> Tensor:
    """Ones.

    >>> import tinygrad_nn as tg
    >>> ones_(tg.zeros(2))
    tensor([1., 1.])
    """
    return constant_(tensor, 1.0)


@fills
def eye_(tensor: Tensor) -> Tensor:
    """The identity, of a matrix.

    >>> import tinygrad_nn as tg
    >>> eye_(tg.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    if tensor.ndim != 2:
        raise ShapeError(message("eye_", f"shape {tensor.shape}", "a matrix"))
    return _set(tensor, eye(tensor.shape[0], tensor.shape[1], dtype=tensor.dtype))


@fills
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, limited to [a, b]: values outside are drawn again.

    >>> import tinygrad_nn as tg
    >>> bool((trunc_normal_(tg.zeros(100), a=-1.0, b=1.0).abs() <= 1).all())
    True
    """
    number("trunc_normal_", "mean", mean)
    number("trunc_normal_", "std", std, above=0)
    number("trunc_normal_", "b", b, above=number("trunc_normal_", "a", a, finite=False), finite=False)
    low, high = (a - mean) / std, (b - mean) / std
    if low > 4 or high < -4 or high - low < 1e-3:  # one draw of ten thousand would be kept, or fewer
        got = f"limits {a} and {b} for mean {mean} and std {std}"
        raise ConfigError(message("trunc_normal_", got, "limits around the mean, wide enough to meet"))
    values = randn(tensor.shape, dtype=tensor.dtype, generator=generator) * std + mean
    while bool(((values < a) | (values > b)).any()):
        again = randn(tensor.shape, dtype=tensor.dtype, generator=generator) * std + mean
        values = again.where((values < a) | (values > b), values)
    return _set(tensor, values)


def _fans(name: str, t: Tensor) -> tuple[int, int]:
    if t.ndim < 2:
        raise ShapeError(message(name, f"shape {t.shape}", "two axes or more (out, in, ...)"))
    field = math.prod(t.shape[2:])
    return t.shape[1] * field, t.shape[0] * field


_GAINS = {
    "linear": 1.0,
    "conv1d": 1.0,
    "identity": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 0.75,
}


@typed
def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance through a nonlinearity.

    >>> calculate_gain("relu")
    1.4142135623730951
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        known = ", ".join([*_GAINS, "leaky_relu"])
        raise ConfigError(message("calculate_gain", f"nonlinearity {nonlinearity!r}", f"one of {known}"))
    return _GAINS[nonlinearity]


@fills
@typed
def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform with variance gain**2 * 2 / (fan_in + fan_out).

    >>> import tinygrad_nn as tg
    >>> bool((xavier_uniform_(tg.zeros(12, 12)).abs() <= 0.5).all())
    True
    """
    bound = number("xavier_uniform_", "gain", gain) * math.sqrt(6 / sum(_fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound, generator)


@fills
@typed
def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with variance gain**2 * 2 / (fan_in + fan_out).

    >>> import tinygrad_nn as tg
    >>> xavier_normal_(tg.zeros(64, 32)).shape
    (64, 32)
    """
    gain = number("xavier_normal_", "gain", gain)
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_fans("xavier_normal_", tensor))), generator)


def _kaiming(name: str, t: Tensor, a: float, mode: FanMode, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ConfigError(message(name, f"mode {mode!r}", "'fan_in' or 'fan_out'"))
    fan = _fans(name, t)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


@fills
@typed
def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform with variance gain**2 / fan.

    >>> import tinygrad_nn as tg
    >>> bool((kaiming_uniform_(tg.zeros(64, 24)).abs() <= 0.5).all())
    True
    """
    bound = math.sqrt(3) * _kaiming("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


@fills
@typed
def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with variance gain**2 / fan.

    >>> import tinygrad_nn as tg
    >>> kaiming_normal_(tg.zeros(64, 32)).shape
    (64, 32)
    """
    return normal_(tensor, 0.0, _kaiming("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


@fills
@typed
def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Rows (or columns, whichever are fewer) orthonormal, times gain: the Q of a random matrix.

    >>> import tinygrad_nn as tg
    >>> w = orthogonal_(tg.zeros(3, 3))
    >>> tg.allclose(w @ w.T, tg.eye(3), atol=1e-5)
    True
    """
    if tensor.ndim < 2:
        raise ShapeError(message("orthogonal_", f"shape {tensor.shape}", "two axes or more"))
    gain = number("orthogonal_", "gain", gain)
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    random = randn(max(rows, columns), min(rows, columns), dtype="float64", generator=generator).numpy()
    q, r = np.linalg.qr(random)
    q = q * np.sign(np.diag(r))  # makes the distribution uniform
    return _set(tensor, as_tensor((gain * (q if rows >= columns else q.T)).reshape(tensor.shape)))


@fills
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Kernels (out, in / groups, K, ...) that pass on as many channels of each group as there are.

    >>> import tinygrad_nn as tg
    >>> dirac_(tg.zeros(2, 2, 3))[0]
    tensor([[0., 1., 0.],
            [0., 0., 0.]])
    """
    if tensor.ndim not in (3, 4, 5) or tensor.shape[0] % integer("dirac_", "groups", groups, least=1):
        got = f"shape {tensor.shape} in {groups} groups"
        raise ShapeError(message("dirac_", got, "(out, in / groups, K, ...) of 3 to 5 axes, groups that divide out"))
    values = np.zeros(tensor.shape)
    each = tensor.shape[0] // groups
    middle = tuple(n // 2 for n in tensor.shape[2:])
    for group in range(groups):
        for channel in range(min(each, tensor.shape[1])):
            values[(group * each + channel, channel, *middle)] = 1
    return _set(tensor, as_tensor(values))


@fills
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Normal, with zeros in a share `sparsity` of each column's rows: Martens, ICML 2010.

    >>> import tinygrad_nn as tg
    >>> (sparse_(tg.zeros(10, 4), sparsity=0.5) == 0).sum(0)
    tensor([5, 5, 5, 5])
    """
    if tensor.ndim != 2:
        raise ShapeError(message("sparse_", f"shape {tensor.shape}", "a matrix"))
    count = math.ceil(number("sparse_", "sparsity", sparsity, least=0, most=1) * tensor.shape[0])
    number("sparse_", "std", std, least=0)
    ranks = rand(tensor.shape, dtype="float64", generator=generator).argsort(0).argsort(0)
    values = randn(tensor.shape, dtype=tensor.dtype, generator=generator) * std
    return _set(tensor, values.masked_fill(ranks < count, 0))


@typed
def recurrent_orthogonal_(module: M, gain: float = 1.0, generator: Generator | None = None) -> M:
    """Every gate's square block of the weights on the state orthogonal, in all RNN, LSTM, GRU and cells inside.

    Products of orthogonal matrices keep lengths, so gradients neither vanish nor explode at the start: Saxe, McClelland
    and Ganguli, ICLR 2014. Returns the module. Raises ConfigError where it has no recurrent weights.

    >>> import tinygrad_nn as tg
    >>> rnn = recurrent_orthogonal_(tg.nn.GRU(3, 5))
    >>> block = rnn.weight_hh_l0[5:10]
    >>> tg.allclose(block @ block.T, tg.eye(5), atol=1e-6)
    True
    """
    if not hasattr(module, "named_parameters"):
        raise ConfigError(message("recurrent_orthogonal_", f"a {type(module).__name__}", "a module"))
    found = [p for name, p in module.named_parameters() if name.rpartition(".")[2].startswith("weight_hh")]
    if not found:
        got = f"{type(module).__name__} without recurrent weights"
        raise ConfigError(message("recurrent_orthogonal_", got, "a module with RNN, LSTM, GRU or a cell of them"))
    for weight in found:
        size = weight.shape[1]
        blocks = [orthogonal_(weight.new_zeros(size, size), gain, generator) for _ in range(weight.shape[0] // size)]
        _set(weight, blocks[0].cat_with(*blocks[1:]))
    return module
