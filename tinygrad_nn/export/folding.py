"""A scaler in front of a linear layer becomes part of its weights: (x - offset) / scale @ W.T + b is one product.

The new weights are calculated in float64 and rounded once. Results differ from those of the two layers by roundings.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np

from ..errors import ExportError, message
from ..graph.graph import Array
from ..nn import Linear, Module, Parameter, Sequential
from ..nn.preprocessing import Scaler
from ..tensor import Tensor


def folded(op: str, model: Any) -> Sequential:
    """A model like a Sequential that begins with a scaler and a linear layer, without the scaler.

    Raises ExportError for any other.
    """
    layers = list(_layers(model)) if type(model) is Sequential else []
    if len(layers) < 2 or not isinstance(layers[0][1], Scaler) or type(layers[1][1]) is not Linear:
        hint = "leave fold=True out: the scaler is exported as it is"
        got = f"fold=True of a {type(model).__name__}"
        raise ExportError(message(op, got, "a Sequential that begins with a scaler and a Linear", hint))
    (_, scaler), (name, linear), *rest = layers
    product = _exact(linear.weight) / _exact(scaler.scale)
    bias = (0 if linear.bias is None else _exact(linear.bias)) - product @ _exact(scaler.offset)
    first = deepcopy(linear)
    first.weight = Parameter(product.astype(linear.weight.dtype))
    first.bias = Parameter(bias.astype(linear.weight.dtype))
    return Sequential({name: first, **dict(rest)}).train(model.training)


def _exact(tensor: Tensor) -> Array:
    return tensor.detach().numpy().astype(np.float64)


def _layers(model: Sequential) -> Iterator[tuple[str, Module]]:
    """The layers of a Sequential and of those in it, in order, by names."""
    waiting: list[tuple[str, Module]] = [("", model)]
    while waiting:
        name, module = waiting.pop()
        if type(module) is Sequential:
            lead = f"{name}_" if name else ""
            waiting += reversed([(f"{lead}{own}", child) for own, child in module.named_children()])
        else:
            yield name, module
