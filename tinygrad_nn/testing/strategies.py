"""Hypothesis strategies: shapes, pairs that broadcast, arrays in a domain and in any memory layout, whole modules."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from .. import nn
from ..graph import Arg, Shape
from ..random import manual_seed
from ..tensor.creation import from_numpy
from .samples import draw as draw_arg

LAYOUTS = ("C", "F", "transposed", "step", "negative step", "zero stride", "offset")


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> st.SearchStrategy[Shape]:
    """Shapes of a few short axes, empty ones included."""
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


@st.composite
def broadcastable_pairs(draw: st.DrawFn, max_dims: int = 3, max_side: int = 4) -> tuple[Shape, Shape]:
    """Two shapes that broadcast: axes of a common one left out in front or set to 1."""
    common = draw(shapes(max_dims=max_dims, max_side=max_side))

    def member() -> Shape:
        start = draw(st.integers(0, len(common)))
        return tuple(1 if draw(st.booleans()) else n for n in common[start:])

    return member(), member()


def laid_out(value: Any, layout: str) -> Any:
    """The same numbers in another memory layout ("zero stride" repeats the first slice, so it changes them)."""
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


@st.composite
def arrays(
    draw: st.DrawFn,
    arg: Arg | None = None,
    shape: Shape | None = None,
    layout: str | None = None,
    dtype: Any = np.float64,
) -> Any:
    """Arrays in the domain of an operand (default: all of [-2, 2]), in a random or a given layout."""
    domain = arg or Arg()
    lengths = draw(shapes()) if shape is None and domain.shape is None else shape or domain.shape or ()
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    value = np.asarray(draw_arg(domain, lengths, rng, dtype))
    return laid_out(value, draw(st.sampled_from(LAYOUTS)) if layout is None else layout)


@st.composite
def tensors(draw: st.DrawFn, arg: Arg | None = None, shape: Shape | None = None, requires_grad: bool = True) -> Any:
    """Tensors over `arrays`."""
    value = from_numpy(draw(arrays(arg, shape)))
    return value.requires_grad_() if requires_grad and value.dtype.kind == "f" else value


@st.composite
def modules(draw: st.DrawFn, in_features: int | None = None, max_layers: int = 3) -> nn.Sequential:
    """Small feed-forward networks in float64 with smooth activations, ready for gradcheck; their inputs are (batch,
    in_features).
    """
    manual_seed(draw(st.integers(0, 2**32 - 1)))
    width = draw(st.integers(1, 4)) if in_features is None else in_features
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, max_layers))):
        out = draw(st.integers(1, 4))
        layers.append(nn.Linear(width, out, bias=draw(st.booleans())))
        layers.append(draw(st.sampled_from((nn.Tanh, nn.Sigmoid, nn.Softplus, nn.SiLU, nn.Identity)))())
        if draw(st.booleans()):
            layers.append(nn.LayerNorm(out, eps=0.1))
        width = out
    return nn.Sequential(*layers).double()
