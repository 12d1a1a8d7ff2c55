"""Random tensors from a counter-based generator: the bits are a pure function of (seed, counter), eager and compiled
alike.

A Generator holds its key and counter as Tensors, so a tracer sees them as state. Uniform numbers use 24 bits in
float32 and 53 in float64; normal ones come by Box and Muller (1958).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import index as as_int
from typing import Any

import numpy as np

from .errors import ConfigError, DTypeError, ShapeError, message
from .graph.graph import Shape
from .ops.random import PHILOX
from .ops.rules import FLOAT32, FLOAT64, INT64
from .support.settings import check_kinds, is_whole, shown, typed
from .tensor import Tensor
from .tensor.core import check_dtype, constant, mode
from .tensor.door import takes_operands
from .tensor.shape import as_shape

_MASK = 0xFFFFFFFF


class Generator:
    """A stream of random bits.

    >>> Generator(0).seed == Generator(0).seed
    True
    """

    def __init__(self, seed: int = 0) -> None:
        self.key = Tensor.handle(constant(np.zeros(2, np.int64)))
        self.counter = Tensor.handle(constant(np.array(0, np.int64)))
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of a seed (any integer, taken modulo 2 ** 64)."""
        if not is_whole(seed):
            raise ConfigError(message("manual_seed", f"seed {shown(seed)}", "an integer"))
        self.seed = as_int(seed)
        words = [self.seed & _MASK, (self.seed >> 32) & _MASK]
        self.key.assign(Tensor.handle(constant(np.array(words, np.int64))))  # compiled functions hold these handles
        self.counter.assign(Tensor.handle(constant(np.array(0, np.int64))))
        return self

    def __repr__(self) -> str:
        place = "traced" if self.counter.is_traced else int(self.counter.item())
        return f"Generator(seed={self.seed}, counter={place})"

    def bits(self, shape: Shape) -> Tensor:
        """Fresh 32-bit words, as int32; the counter moves on by one per four words."""
        shape = as_shape("random", (shape,))
        words = self.key.apply(PHILOX, self.counter, shape=shape)
        self.counter.assign(self.counter + (math.prod(shape) + 3) // 4)
        return words

    def get_state(self) -> Tensor:
        """Key and counter as three int64 numbers."""
        return self.key.cat_with(self.counter.reshape(1), dim=0)

    def set_state(self, state: Tensor) -> None:
        """Go on from a state."""
        if not isinstance(state, Tensor):
            raise DTypeError(message("set_state", f"a {type(state).__name__}", "a tensor, from get_state()"))
        if state.shape != (3,) or state.dtype != INT64:
            raise ShapeError(message("set_state", f"{state.shape}:{state.dtype}", "(3,):int64, from get_state()"))
        self.key.assign(state.narrow(0, 0, 2).detach().clone())
        self.counter.assign(state.narrow(0, 2, 1).reshape(()).detach())

    def state_dict(self) -> dict[str, Any]:
        """Seed and state, for `tg.save`."""
        return {"seed": self.seed, "state": self.get_state()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state_dict."""
        check_kinds("Generator", state_dict, self.state_dict())
        self.set_state(state_dict["state"])
        self.seed = state_dict["seed"]


default_generator = Generator(0)


def order_generator(seed: int) -> Generator:
    """What the order of samples is drawn from: the half of a seed's counters to which `Generator(seed)` does not come,
    so that weights and samples of one seed have nothing in common.
    """
    generator = Generator(seed)
    generator.counter.assign(Tensor.handle(constant(np.array(-(2**63), np.int64))))
    return generator


def manual_seed(seed: int) -> Generator:
    """Seed the default generator and return it."""
    return default_generator.manual_seed(seed)


def uniform(shape: Shape, dtype: Any, generator: Generator | None) -> Tensor:
    """Numbers in [0, 1), all multiples of 2 ** -24 (float32) or 2 ** -53 (float64)."""
    source = default_generator if generator is None else generator
    if dtype == FLOAT32:
        return ((source.bits(shape) >> 8) & 0xFFFFFF).to(FLOAT32) * 2.0**-24
    words = source.bits((2, *shape))
    high = ((words.narrow(0, 0, 1).reshape(shape) >> 5) & 0x7FFFFFF).to(FLOAT64)
    low = ((words.narrow(0, 1, 1).reshape(shape) >> 6) & 0x3FFFFFF).to(FLOAT64)
    return (high * 2.0**26 + low) * 2.0**-53


def _float(name: str, dtype: Any) -> Any:
    kind = mode.dtype if dtype is None else check_dtype(name, dtype)
    if kind.kind != "f":
        raise ConfigError(message(name, f"dtype {kind.name}", "a float dtype", "use randint for integers"))
    return kind


def _leaf(x: Tensor, requires_grad: bool) -> Tensor:
    return x.requires_grad_() if requires_grad else x


@typed
def rand(*size: Any, dtype: Any = None, generator: Generator | None = None, requires_grad: bool = False) -> Tensor:
    """Uniform numbers in [0, 1)."""
    return _leaf(uniform(as_shape("rand", size), _float("rand", dtype), generator), requires_grad)


@typed
def randn(*size: Any, dtype: Any = None, generator: Generator | None = None, requires_grad: bool = False) -> Tensor:
    """Normal numbers of mean 0 and variance 1."""
    shape, kind = as_shape("randn", size), _float("randn", dtype)
    pair = uniform((2, *shape), kind, generator)
    u, v = pair.narrow(0, 0, 1).reshape(shape), pair.narrow(0, 1, 1).reshape(shape)
    return _leaf(((1.0 - u).log() * -2.0).sqrt() * (v * (2.0 * math.pi)).cos(), requires_grad)


@typed
def randint(
    low: int, high: int | None = None, size: Any = (), dtype: Any = INT64, generator: Generator | None = None
) -> Tensor:
    """Integers in [low, high); `randint(high, size=...)` starts at 0. The bias is below (high - low) / 2 ** 53."""
    first, last = (0, low) if high is None else (low, high)
    if not -(2**63) <= first < last <= 2**63:
        got = f"low {shown(first)} and high {shown(last)}"
        raise ConfigError(message("randint", got, "low < high, both integers of 64 bits"))
    u = uniform(as_shape("randint", (size,)), FLOAT64, generator)
    return ((u * float(last - first)).floor() + float(first)).to(check_dtype("randint", dtype))


@typed
def randperm(n: int, generator: Generator | None = None) -> Tensor:
    """The integers below n in random order: the stable order of n random keys."""
    if n < 0:
        raise ConfigError(message("randperm", f"n {n}", "a number that is not negative"))
    return uniform(as_shape("randperm", (n,)), FLOAT64, generator).argsort(0)


@takes_operands
def rand_like(x: Tensor, generator: Generator | None = None) -> Tensor:
    """Uniform numbers in another tensor's shape and dtype."""
    return rand(x.shape, dtype=x.dtype, generator=generator)


@takes_operands
def randn_like(x: Tensor, generator: Generator | None = None) -> Tensor:
    """Normal numbers in another tensor's shape and dtype."""
    return randn(x.shape, dtype=x.dtype, generator=generator)


@takes_operands
def bernoulli(p: Tensor, generator: Generator | None = None) -> Tensor:
    """1 with probability p, else 0, element by element. Raises ConfigError for what is no probability."""
    if not p.is_traced and not bool(((p.detach() >= 0) & (p.detach() <= 1)).all()):
        raise ConfigError(message("bernoulli", "values outside of [0, 1]", "probabilities"))
    return (uniform(p.shape, p.dtype, generator) < p.detach()).to(p.dtype)
