"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import ShapeError, message
from ...support.settings import typed
from ...tensor import Tensor, no_grad
from ...tensor.door import listed_tensors, takes_data


@typed
def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters below one another; gradients flow.

    >>> import tinygrad_nn as tg
    >>> parameters_to_vector(tg.nn.Linear(4, 3).parameters()).shape
    (15,)
    """
    listed = listed_tensors("parameters_to_vector", parameters)
    flat = [p.reshape(-1) for p in listed]
    if not flat:
        raise ShapeError(message("parameters_to_vector", "no parameters", "at least one"))
    first, *rest = flat
    return first.cat_with(*rest, dim=0)


@takes_data
@typed
def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write a vector into the parameters it was made of.

    >>> import tinygrad_nn as tg
    >>> layer = tg.nn.Linear(2, 1)
    >>> vector_to_parameters(tg.tensor([1.0, 2.0, 3.0]), layer.parameters())
    >>> layer.bias.detach()
    tensor([3.])
    """
    listed = listed_tensors("vector_to_parameters", parameters)
    if vec.ndim != 1 or vec.numel() != sum(p.numel() for p in listed):
        expected = f"({sum(p.numel() for p in listed)},)"
        raise ShapeError(message("vector_to_parameters", f"shape {vec.shape}", expected))
    start = 0
    with no_grad():
        for p in listed:
            p.assign(vec.detach().narrow(0, start, p.numel()).reshape(p.shape).to(p.dtype))
            start += p.numel()
