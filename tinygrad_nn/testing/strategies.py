"""Hypothesis strategies: shapes, pairs that broadcast, arrays in a domain and in any memory layout, whole modules.

All numbers are drawn by Hypothesis, so what it reports is small: short axes, most elements equal, whole numbers where
the domain allows them. Only the weights of modules come from a seed: round ones would put every ReLU on its kink.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as filled

from .. import nn
from ..graph.graph import Arg, Shape
from ..random import manual_seed
from ..tensor import Tensor
from ..tensor.creation import from_numpy
from .samples import KINKS

LAYOUTS = ("C", "F", "transposed", "step", "negative step", "zero stride", "offset")


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> st.SearchStrategy[Shape]:
    """Shapes of a few short axes, empty ones included.

    >>> from hypothesis import HealthCheck, given, settings
    >>> @settings(max_examples=3, database=None, suppress_health_check=list(HealthCheck), deadline=None)
    ... @given(shapes(min_dims=1, max_dims=2))
    ... def test(shape):
    ...     assert 1 <= len(shape) <= 2
    >>> test()
    """
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


@st.composite
def broadcastable_pairs(draw: st.DrawFn, max_dims: int = 3, max_side: int = 4) -> tuple[Shape, Shape]:
    """Two shapes that broadcast: axes of a common one left out in front or set to 1.

    >>> from hypothesis import HealthCheck, given, settings
    >>> @settings(max_examples=3, database=None, suppress_health_check=list(HealthCheck), deadline=None)
    ... @given(broadcastable_pairs())
    ... def test(pair):
    ...     np.broadcast_shapes(*pair)
    >>> test()
    """
    common = draw(shapes(max_dims=max_dims, max_side=max_side))

    def member() -> Shape:
        start = draw(st.integers(0, len(common)))
        return tuple(1 if draw(st.booleans()) else n for n in common[start:])

    return member(), member()


def laid_out(value: Any, layout: str) -> Any:
    """The same numbers in another memory layout ("zero stride" repeats the first slice, so it changes them).

    >>> laid_out(np.ones((2, 3)), "F").flags.f_contiguous
    True
    """
    if value.ndim == 0 or layout == "C":
        return value
    if layout in ("F", "transposed"):
        return np.asfortranarray(value) if layout == "F" else np.array(value.T, order="C").T
    if layout == "step":
        return np.repeat(value, 2, axis=-1)[..., ::2]
    if layout == "negative step":
        return np.array(value[..., ::-1])[..., ::-1]
    if layout == "zero stride":
        return np.broadcast_to(value[:1], value.shape) if value.shape[0] else value
    return np.concatenate([np.zeros(3, value.dtype), value.reshape(-1)])[3:].reshape(value.shape)


def numbers(arg: Arg) -> st.SearchStrategy[Any]:
    """Single numbers of a domain: multiples of 0.001, whole ones first.

    >>> from tinygrad_nn.graph.graph import Arg
    >>> from hypothesis import HealthCheck, given, settings
    >>> @settings(max_examples=3, database=None, suppress_health_check=list(HealthCheck), deadline=None)
    ... @given(numbers(Arg(0.5, 2.0)))
    ... def test(x):
    ...     assert 0.5 <= x <= 2.0
    >>> test()
    """
    if arg.dtype == "bool":
        return st.booleans()
    if arg.dtype == "int":
        return st.integers(int(arg.low), int(arg.high) - 1)
    if isinstance(arg.kinks, str):
        whole = st.integers(math.ceil(arg.low), math.floor(arg.high) - 1)
        return st.builds(lambda n, part: n + round(part, 3), whole, st.floats(*KINKS[arg.kinks]))
    low, high, kinks = arg.low, arg.high, arg.kinks
    values = st.floats(low, high).map(lambda value: min(max(round(value, 3), low), high))
    return values.filter(lambda value: all(abs(value - kink) >= 0.1 for kink in kinks)) if kinks else values


@st.composite
def arrays(
    draw: st.DrawFn,
    arg: Arg | None = None,
    shape: Shape | None = None,
    layout: str | None = None,
    dtype: Any = np.float64,
) -> Any:
    """Arrays in the domain of an operand (default: all of [-2, 2]), in a random or a given layout.

    Elements repeat unless the domain asks for `apart`; where a kink matters, give it: `Arg(kinks=(0.0,))` for relu.

    >>> from tinygrad_nn.graph.graph import Arg
    >>> from hypothesis import HealthCheck, given, settings
    >>> @settings(max_examples=3, database=None, suppress_health_check=list(HealthCheck), deadline=None)
    ... @given(arrays(Arg(0.5, 2.0), shape=(2, 3)))
    ... def test(array):
    ...     assert array.shape == (2, 3)
    >>> test()
    """
    domain = arg or Arg()
    lengths = draw(shapes()) if shape is None and domain.shape is None else shape or domain.shape or ()
    kind = {"bool": np.bool_, "int": np.int64, "float": dtype}[domain.dtype]
    if domain.apart:
        count = math.prod(lengths)
        order = np.array(draw(st.permutations(range(count))), int)
        value = (domain.low + (domain.high - domain.low) * (order + 0.3) / max(count, 1)).reshape(lengths).astype(kind)
    else:
        value = draw(filled(kind, lengths, elements=numbers(domain).map(kind), fill=numbers(domain).map(kind)))
    return laid_out(np.asarray(value), draw(st.sampled_from(LAYOUTS)) if layout is None else layout)


@st.composite
def tensors(draw: st.DrawFn, arg: Arg | None = None, shape: Shape | None = None, requires_grad: bool = True) -> Any:
    """Tensors over `arrays`.

    >>> from hypothesis import HealthCheck, given, settings
    >>> @settings(max_examples=3, database=None, suppress_health_check=list(HealthCheck), deadline=None)
    ... @given(tensors(shape=(2, 3)))
    ... def test(x):
    ...     assert x.shape == (2, 3)
    >>> test()
    """
    value = from_numpy(draw(arrays(arg, shape)))
    return value.requires_grad_() if requires_grad and value.dtype.kind == "f" else value


class OverTime(nn.Module):
    """A recurrent layer that reads the features one after another: (batch, features) to (batch, its last output)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The output after the last feature."""
        outputs, _ = self.layer(x.unsqueeze(-1))
        last: Tensor = outputs.select(1, -1)
        return last


class OverFeatures(nn.Module):
    """A convolution along the features: (batch, features) to (batch, channels * features)."""

    def __init__(self, layer: nn.Conv1d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The features of all channels, side by side."""
        found: Tensor = self.layer(x.unsqueeze(1)).flatten(1)
        return found


ACTIVATIONS: tuple[type[nn.Module], ...] = (nn.Identity, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.SiLU, nn.ReLU)
CELLS: dict[str, Callable[[int], nn.Module]] = {
    "rnn": lambda hidden: nn.RNN(1, hidden, batch_first=True),
    "relu rnn": lambda hidden: nn.RNN(1, hidden, batch_first=True, nonlinearity="relu"),
    "gru": lambda hidden: nn.GRU(1, hidden, batch_first=True),
    "lstm": lambda hidden: nn.LSTM(1, hidden, batch_first=True),
}
LAYER = st.tuples(
    st.sampled_from(("linear", "convolution", *CELLS)),
    st.integers(1, 4),  # outputs, or channels
    st.booleans(),  # whether there is a bias
    st.sampled_from(ACTIVATIONS),
    st.booleans(),  # whether a LayerNorm follows
)


@st.composite
def modules(draw: st.DrawFn, in_features: int | None = None, max_layers: int = 3) -> nn.Sequential:
    """Small networks in float64, ready for gradcheck, of linear, convolutional and recurrent layers (RNN with tanh or
    relu, GRU, LSTM), activations (ReLU among them) and LayerNorm. Inputs are (batch, in_features), outputs (batch, n).

    >>> import tinygrad_nn as tg
    >>> from hypothesis import HealthCheck, given, settings
    >>> @settings(max_examples=2, database=None, suppress_health_check=list(HealthCheck), deadline=None)
    ... @given(modules(in_features=3))
    ... def test(model):
    ...     assert model(tg.ones(2, 3, dtype=tg.float64)).shape[0] == 2
    >>> test()
    """
    width = draw(st.integers(1, 4)) if in_features is None else in_features
    manual_seed(draw(st.integers(0, 2**16)))
    layers: list[nn.Module] = []
    for kind, out, bias, activation, norm in draw(st.lists(LAYER, min_size=1, max_size=max_layers)):
        if kind in CELLS:
            layers.append(OverTime(CELLS[kind](out)))
        elif kind == "convolution":
            channels = 1 + out % 2
            layers.append(OverFeatures(nn.Conv1d(1, channels, 3, padding="same")))
            out = channels * width
        else:  # without a bias, what is dead before stays 0, which is the kink of ReLU
            layers.append(nn.Linear(width, out, bias=bias or activation is nn.ReLU))
        layers.append(activation())
        if norm and out > 1:
            layers.append(nn.LayerNorm(out, eps=0.1))
        width = out
    return nn.Sequential(*layers).double()
