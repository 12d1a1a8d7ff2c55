"""Activations as layers: each calls the function of its name with the settings it was made with."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..errors import ConfigError, message
from ..support.settings import choice, integer, number
from ..tensor import Tensor
from ..tensor.creation import full
from .module import Module
from .parameter import Parameter


class Activation(Module):
    """Base: keeps settings, shows them in the repr."""

    settings: tuple[str, ...] = ()

    def extra_repr(self) -> str:
        """The settings."""
        values = {name: getattr(self, name) for name in self.settings}
        return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _not_zero(owner: str, name: str, value: Any) -> Any:
    if number(owner, name, value) == 0:
        raise ConfigError(message(owner, f"{name} 0", "a number to divide by"))
    return value


class ReLU(Activation):
    """`functional.relu` as a layer."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.relu(input)


class Sigmoid(Activation):
    """`functional.sigmoid` as a layer."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.sigmoid(input)


class Tanh(Activation):
    """`functional.tanh` as a layer."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.tanh(input)


class SiLU(Activation):
    """`functional.silu` as a layer."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.silu(input)


class Mish(Activation):
    """`functional.mish` as a layer."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.mish(input)


class SELU(Activation):
    """`functional.selu` as a layer."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.selu(input)


class LogSigmoid(Activation):
    """`functional.logsigmoid` as a layer."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.logsigmoid(input)


class Softsign(Activation):
    """`functional.softsign` as a layer."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.softsign(input)


class Tanhshrink(Activation):
    """`functional.tanhshrink` as a layer."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.tanhshrink(input)


class ReLU6(Activation):
    """`functional.relu6` as a layer."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.relu6(input)


class Hardsigmoid(Activation):
    """`functional.hardsigmoid` as a layer."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.hardsigmoid(input)


class Hardswish(Activation):
    """`functional.hardswish` as a layer."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.hardswish(input)


class LeakyReLU(Activation):
    """`functional.leaky_relu` as a layer."""

    settings = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = number("LeakyReLU", "negative_slope", negative_slope)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.leaky_relu(input, self.negative_slope)


class ELU(Activation):
    """`functional.elu` as a layer."""

    settings = ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = number("ELU", "alpha", alpha)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.elu(input, self.alpha)


class CELU(Activation):
    """`functional.celu` as a layer."""

    settings = ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = _not_zero("CELU", "alpha", alpha)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.celu(input, self.alpha)


class GELU(Activation):
    """`functional.gelu` as a layer."""

    settings = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = choice("GELU", "approximate", approximate, ("none", "tanh"))

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.gelu(input, self.approximate)


class Softplus(Activation):
    """`functional.softplus` as a layer."""

    settings = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = _not_zero("Softplus", "beta", beta)
        self.threshold = number("Softplus", "threshold", threshold, finite=False)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.softplus(input, self.beta, self.threshold)


class Hardtanh(Activation):
    """`functional.hardtanh` as a layer."""

    settings = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__()
        self.min_val = number("Hardtanh", "min_val", min_val, finite=False)
        self.max_val = number("Hardtanh", "max_val", max_val, above=self.min_val, finite=False)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.hardtanh(input, self.min_val, self.max_val)


class Softshrink(Activation):
    """`functional.softshrink` as a layer."""

    settings = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = number("Softshrink", "lambd", lambd, least=0)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.softshrink(input, self.lambd)


class Hardshrink(Activation):
    """`functional.hardshrink` as a layer."""

    settings = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = number("Hardshrink", "lambd", lambd)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.hardshrink(input, self.lambd)


class Threshold(Activation):
    """`functional.threshold` as a layer."""

    settings = ("threshold", "value")

    def __init__(self, threshold: float, value: float) -> None:
        super().__init__()
        self.threshold = number("Threshold", "threshold", threshold, finite=False)
        self.value = number("Threshold", "value", value, finite=False)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.threshold(input, self.threshold, self.value)


class GLU(Activation):
    """`functional.glu` as a layer."""

    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = integer("GLU", "dim", dim)

    def forward(self, input: Tensor) -> Tensor:
        """Half of the axis."""
        return F.glu(input, self.dim)


class Softmax(Activation):
    """`functional.softmax` as a layer."""

    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = integer("Softmax", "dim", dim)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.softmax(input, self.dim)


class LogSoftmax(Activation):
    """`functional.log_softmax` as a layer."""

    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = integer("LogSoftmax", "dim", dim)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.log_softmax(input, self.dim)


class Softmin(Activation):
    """`functional.softmin` as a layer."""

    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = integer("Softmin", "dim", dim)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.softmin(input, self.dim)


class PReLU(Module):
    """`functional.prelu` with a learned slope: one, or one per channel."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters = integer("PReLU", "num_parameters", num_parameters, least=0)
        number("PReLU", "init", init)
        self.weight = Parameter(full((num_parameters,), float(init), dtype=dtype))

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """As torch's."""
        return f"num_parameters={self.num_parameters}"
