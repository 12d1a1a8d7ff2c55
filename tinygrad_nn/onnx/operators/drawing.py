"""Operators that draw random numbers, from the generator of this package; `seed` begins one of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from ... import random
from ...graph.graph import Shape
from ...tensor import Tensor
from ..elements import FLOAT, Element
from .elementwise import as_element, element_of
from .form import Value, bad


def generator(seed: float | None) -> Any:
    """That of a seed; None is that of everybody."""
    return None if seed is None else random.Generator().manual_seed(int(np.float32(seed).view(np.int32)))


def uniform(shape: Shape, seed: float | None, low: float, high: float) -> Tensor:
    """Numbers from one to another."""
    return random.rand(shape, generator=generator(seed)) * (high - low) + low


def normal(shape: Shape, seed: float | None, mean: float, scale: float) -> Tensor:
    """Numbers around another."""
    return random.randn(shape, generator=generator(seed)) * scale + mean


def like(x: Value, dtype: int | None) -> tuple[Shape, Element]:
    """The shape of a tensor, and the element type that is asked for or else its own."""
    element = x.element or FLOAT
    return x.tensor.shape, element_of(dtype) if dtype else element


def random_uniform(
    *, dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float | None = None, shape: Any
) -> Value:
    """Numbers from one to another, of a shape."""
    return as_element(uniform(tuple(shape), seed, low, high), element_of(dtype))


def random_uniform_like(
    x: Value, *, dtype: int | None = None, high: float = 1.0, low: float = 0.0, seed: float | None = None
) -> Value:
    """The same, of the shape of a tensor."""
    shape, element = like(x, dtype)
    return as_element(uniform(shape, seed, low, high), element)


def random_normal(
    *, dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None, shape: Any
) -> Value:
    """Numbers around another, of a shape."""
    return as_element(normal(tuple(shape), seed, mean, scale), element_of(dtype))


def random_normal_like(
    x: Value, *, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> Value:
    """The same, of the shape of a tensor."""
    shape, element = like(x, dtype)
    return as_element(normal(shape, seed, mean, scale), element)


def bernoulli(x: Value, *, dtype: int | None = None, seed: float | None = None) -> Value:
    """1 with the probability that the element says, else 0."""
    _, element = like(x, dtype)
    return as_element(random.bernoulli(x.tensor, generator=generator(seed)), element)


def multinomial(x: Tensor, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None) -> Value:
    """Classes, drawn by the logarithms of their probabilities."""
    if x.ndim != 2:
        raise bad(f"shape {x.shape}", "(batch, classes)")
    found = random.multinomial(x.softmax(-1), sample_size, True, generator=generator(seed))
    return as_element(found, element_of(dtype))


OPERATORS: Final[Mapping[str, Callable[..., Any]]] = {
    "Bernoulli": bernoulli,
    "Multinomial": multinomial,
    "RandomNormal": random_normal,
    "RandomNormalLike": random_normal_like,
    "RandomUniform": random_uniform,
    "RandomUniformLike": random_uniform_like,
}
