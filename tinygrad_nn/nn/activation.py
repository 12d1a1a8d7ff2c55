"""Activations as layers: each calls the function of its name with the settings it was made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from .. import functional as F
from ..errors import ConfigError, ShapeError, message
from ..support.settings import check_device, choice, flags, integer, number
from ..tensor import Tensor
from ..tensor.creation import full
from ..tensor.door import taken
from . import init as initial
from .module import Module, drawn
from .parameter import Parameter


class Activation(Module):
    """Base: keeps settings, shows them in the repr."""

    settings: tuple[str, ...] = ()

    def extra_repr(self) -> str:
        """The settings."""
        values = {name: getattr(self, name) for name in self.settings}
        shown = [f"{name}={value!r}" for name, value in values.items()]
        return ", ".join([*shown, "inplace=True"] if getattr(self, "inplace", False) else shown)


def _not_zero(owner: str, name: str, value: Any) -> Any:
    if number(owner, name, value) == 0:
        raise ConfigError(message(owner, f"{name} 0", "a number to divide by"))
    return value


class _Plain(Activation):
    """Base of those without settings."""

    function: ClassVar[Callable[..., Tensor]]

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return type(self).function(input)


class _InPlace(Activation):
    """Base of those whose only setting is whether they write to their input."""

    function: ClassVar[Callable[..., Tensor]]

    @flags
    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return type(self).function(input, self.inplace)


class _AlongAxis(Activation):
    """Base of those whose only setting is an axis."""

    function: ClassVar[Callable[..., Tensor]]
    settings = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = None if dim is None else integer(type(self).__name__, "dim", dim)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return type(self).function(input, self.dim)


class ReLU(_InPlace):
    """`functional.relu` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.ReLU()(tg.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    function = F.relu


class Sigmoid(_Plain):
    """`functional.sigmoid` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Sigmoid()(tg.tensor([0.0, 2.0]))
    tensor([0.5000, 0.8808])
    """

    function = F.sigmoid


class Tanh(_Plain):
    """`functional.tanh` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Tanh()(tg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """

    function = F.tanh


class SiLU(_InPlace):
    """`functional.silu` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.SiLU()(tg.tensor([-1.0, 2.0]))
    tensor([-0.2689,  1.7616])
    """

    function = F.silu


class Mish(_InPlace):
    """`functional.mish` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Mish()(tg.tensor([-1.0, 2.0]))
    tensor([-0.3034,  1.9440])
    """

    function = F.mish


class SELU(_InPlace):
    """`functional.selu` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.SELU()(tg.tensor([-1.0, 2.0]))
    tensor([-1.1113,  2.1014])
    """

    function = F.selu


class LogSigmoid(_Plain):
    """`functional.logsigmoid` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LogSigmoid()(tg.tensor([-10.0, 0.0]))
    tensor([-10.0000,  -0.6931])
    """

    function = F.logsigmoid


class Softsign(_Plain):
    """`functional.softsign` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Softsign()(tg.tensor([-1.0, 3.0]))
    tensor([-0.50,  0.75])
    """

    function = F.softsign


class Tanhshrink(_Plain):
    """`functional.tanhshrink` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Tanhshrink()(tg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.2384])
    """

    function = F.tanhshrink


class ReLU6(_InPlace):
    """`functional.relu6` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.ReLU6()(tg.tensor([-1.0, 2.0, 8.0]))
    tensor([0., 2., 6.])
    """

    function = F.relu6


class Hardsigmoid(_InPlace):
    """`functional.hardsigmoid` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Hardsigmoid()(tg.tensor([-4.0, 0.0, 4.0]))
    tensor([0.0, 0.5, 1.0])
    """

    function = F.hardsigmoid


class Hardswish(_InPlace):
    """`functional.hardswish` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Hardswish()(tg.tensor([-4.0, 1.0, 4.0]))
    tensor([0.0000, 0.6667, 4.0000])
    """

    function = F.hardswish


class LeakyReLU(Activation):
    """`functional.leaky_relu` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LeakyReLU()(tg.tensor([-1.0, 2.0]))
    tensor([-0.01,  2.00])
    """

    settings = ("negative_slope",)

    @flags
    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
        self.negative_slope = number("LeakyReLU", "negative_slope", negative_slope)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.leaky_relu(input, self.negative_slope, self.inplace)


class ELU(Activation):
    """`functional.elu` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.ELU()(tg.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """

    settings = ("alpha",)

    @flags
    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
        self.alpha = number("ELU", "alpha", alpha)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.elu(input, self.alpha, self.inplace)


class CELU(Activation):
    """`functional.celu` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.CELU()(tg.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """

    settings = ("alpha",)

    @flags
    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
        self.alpha = _not_zero("CELU", "alpha", alpha)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.celu(input, self.alpha, self.inplace)


class GELU(Activation):
    """`functional.gelu` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.GELU()(tg.tensor([-1.0, 2.0]))
    tensor([-0.1587,  1.9545])
    """

    settings = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = choice("GELU", "approximate", approximate, ("none", "tanh"))

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.gelu(input, self.approximate)


class Softplus(Activation):
    """`functional.softplus` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Softplus()(tg.tensor([0.0, 30.0]))
    tensor([ 0.6931, 30.0000])
    """

    settings = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = _not_zero("Softplus", "beta", beta)
        self.threshold = number("Softplus", "threshold", threshold, finite=False)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.softplus(input, self.beta, self.threshold)


class Hardtanh(Activation):
    """`functional.hardtanh` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Hardtanh()(tg.tensor([-2.0, 0.5, 2.0]))
    tensor([-1.0,  0.5,  1.0])
    """

    settings = ("min_val", "max_val")

    @flags
    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__()
        self.inplace = inplace
        min_val = min_val if min_value is None else min_value  # the older names
        max_val = max_val if max_value is None else max_value
        self.min_val = number("Hardtanh", "min_val", min_val, finite=False)
        self.max_val = number("Hardtanh", "max_val", max_val, above=self.min_val, finite=False)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)


class Softshrink(Activation):
    """`functional.softshrink` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Softshrink()(tg.tensor([-2.0, 0.3, 1.0]))
    tensor([-1.5,  0.0,  0.5])
    """

    settings = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = number("Softshrink", "lambd", lambd, least=0)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.softshrink(input, self.lambd)


class Hardshrink(Activation):
    """`functional.hardshrink` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Hardshrink()(tg.tensor([-2.0, 0.3, 1.0]))
    tensor([-2.,  0.,  1.])
    """

    settings = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = number("Hardshrink", "lambd", lambd)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.hardshrink(input, self.lambd)


class Threshold(Activation):
    """`functional.threshold` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Threshold(0.5, 7.0)(tg.tensor([-2.0, 2.0]))
    tensor([7., 2.])
    """

    settings = ("threshold", "value")

    @flags
    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
        self.threshold = number("Threshold", "threshold", threshold, finite=False)
        self.value = number("Threshold", "value", value, finite=False)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.threshold(input, self.threshold, self.value, self.inplace)


class GLU(Activation):
    """`functional.glu` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.GLU()(tg.tensor([1.0, 2.0, 0.0, 0.0]))
    tensor([0.5, 1.0])
    """

    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = integer("GLU", "dim", dim)

    def forward(self, input: Tensor) -> Tensor:
        """Half of the axis."""
        return F.glu(input, self.dim)


class Softmax(_AlongAxis):
    """`functional.softmax` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Softmax(dim=1)(tg.zeros(1, 4))
    tensor([[0.25, 0.25, 0.25, 0.25]])
    """

    function = F.softmax


class LogSoftmax(_AlongAxis):
    """`functional.log_softmax` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.LogSoftmax(dim=0)(tg.zeros(2))
    tensor([-0.6931, -0.6931])
    """

    function = F.log_softmax


class Softmin(_AlongAxis):
    """`functional.softmin` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Softmin(dim=0)(tg.tensor([0.0, 1.0]))
    tensor([0.7311, 0.2689])
    """

    function = F.softmin


class Softmax2d(Activation):
    """`functional.softmax` over the channels of pictures.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Softmax2d()(tg.zeros(1, 2, 1, 1)).flatten()
    tensor([0.5, 0.5])
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) or (C, H, W), the same shape."""
        x = taken("Softmax2d", input)
        if x.ndim not in (3, 4):
            raise ShapeError(message("Softmax2d", f"shape {x.shape}", "(N, C, H, W) or (C, H, W)"))
        return F.softmax(x, -3)


class RReLU(Activation):
    """`functional.rrelu` as a layer.

    >>> import tinygrad_nn as tg
    >>> tg.nn.RReLU().eval()(tg.tensor([-24.0, 2.0]))
    tensor([-5.5,  2.0])
    """

    settings = ("lower", "upper")

    @flags
    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower = number("RReLU", "lower", lower)
        self.upper, self.inplace = number("RReLU", "upper", upper, least=lower), inplace

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class PReLU(Module):
    """`functional.prelu` with a learned slope: one, or one per channel.

    >>> import tinygrad_nn as tg
    >>> tg.nn.PReLU()(tg.tensor([-4.0, 4.0])).detach()
    tensor([-1.,  4.])
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters = integer("PReLU", "num_parameters", num_parameters, least=0)
        self.init = number("PReLU", "init", init)
        check_device("PReLU", device)
        self.weight = Parameter(full((num_parameters,), float(init), dtype=dtype))

    @drawn
    def reset_parameters(self) -> None:
        """The slope it began with."""
        initial.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"num_parameters={self.num_parameters}"
