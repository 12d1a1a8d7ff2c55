"""The counter-based generator: the bits are a pure function of (seed, counter), eager and compiled alike.

A Generator holds its key and counter as Tensors, so a tracer sees them as state. Uniform numbers use 24 bits in
float32 and 53 in float64; normal ones come by Box and Muller (1958).
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from operator import index as as_int
from typing import Any, Final

import numpy as np

from ..errors import ConfigError, DTypeError, ShapeError, message
from ..graph.graph import DType, Shape
from ..ops.composite import FRACTIONS, GAUSSIAN
from ..ops.random import PHILOX
from ..ops.rules import FLOAT32, INT64
from ..support.settings import check_kinds, is_whole, shown
from .core import constant, forbid_tracing
from .shape import as_shape
from .tensor import Tensor

_MASK = 0xFFFFFFFF


class Generator:
    """A stream of random bits: of the seed 0, or of another one, by `Generator(7)` as by `Generator().manual_seed(7)`.

    `device` is there as in PyTorch and has to be the cpu.

    >>> Generator(7).initial_seed() == Generator().manual_seed(7).initial_seed()
    True
    """

    def __init__(self, seed: Any = 0, *, device: Any = "cpu") -> None:
        self.key = Tensor.handle(constant(np.zeros(2, np.int64)))
        self.counter = Tensor.handle(constant(np.array(0, np.int64)))
        if not is_whole(seed):  # PyTorch's first argument is the device
            seed, device = 0, seed
        if str(device).partition(":")[0] != "cpu":
            raise ConfigError(message("Generator", shown(device), "a seed, or the device 'cpu'"))
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of a seed (any integer, taken modulo 2 ** 64)."""
        if not is_whole(seed):
            raise ConfigError(message("manual_seed", f"seed {shown(seed)}", "an integer"))
        self._seed = as_int(seed)
        words = [self._seed & _MASK, (self._seed >> 32) & _MASK]
        self.key.assign(Tensor.handle(constant(np.array(words, np.int64))))  # compiled functions hold these handles
        self.counter.assign(Tensor.handle(constant(np.array(0, np.int64))))
        return self

    def initial_seed(self) -> int:
        """The seed of the stream."""
        return self._seed

    def seed(self) -> int:
        """Start the stream of a seed that the system draws, and return it."""
        forbid_tracing("Generator", "seed()", "draw the seed before")
        return self.manual_seed(int.from_bytes(os.urandom(8), "little"))._seed

    def __repr__(self) -> str:
        place = "traced" if self.counter.is_traced else int(self.counter.item())
        return f"Generator(seed={self._seed}, counter={place})"

    def bits(self, shape: Shape) -> Tensor:
        """Fresh 32-bit words, as int32; the counter moves on by one per four words."""
        shape = as_shape("random", (shape,))
        words = self.key.apply(PHILOX, self.counter, shape=shape)
        self.counter.assign(self.counter + (math.prod(shape) + 3) // 4)
        return words

    def get_state(self) -> Tensor:
        """Key and counter as three int64 numbers."""
        return self.key.cat_with(self.counter.reshape(1), dim=0)

    def set_state(self, new_state: Tensor) -> None:
        """Go on from a state."""
        if not isinstance(new_state, Tensor):
            raise DTypeError(message("set_state", f"a {type(new_state).__name__}", "a tensor, from get_state()"))
        if new_state.shape != (3,) or new_state.dtype != INT64:
            got = f"{new_state.shape}:{new_state.dtype}"
            raise ShapeError(message("set_state", got, "(3,):int64, from get_state()"))
        self.key.assign(new_state.narrow(0, 0, 2).detach().clone())
        self.counter.assign(new_state.narrow(0, 2, 1).reshape(()).detach())

    def state_dict(self) -> dict[str, Any]:
        """Seed and state, for `tg.save`."""
        return {"seed": self._seed, "state": self.get_state()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state_dict."""
        check_kinds("Generator", state_dict, self.state_dict())
        self.set_state(state_dict["state"])
        self._seed = state_dict["seed"]


default_generator: Final = Generator(0)


class _Current(threading.local):
    generator: Generator | None = None


_current: Final = _Current()


def source_of(generator: Generator | None) -> Generator:
    """A generator, or for None the one that this thread draws from by default."""
    return generator or _current.generator or default_generator


@contextmanager
def working_with(generator: Generator) -> Iterator[None]:
    """Within the block this thread draws from another generator by default: workers have streams of their own."""
    before, _current.generator = _current.generator, generator
    try:
        yield
    finally:
        _current.generator = before


def uniform(shape: Shape, dtype: DType, generator: Generator | None) -> Tensor:
    """Numbers in [0, 1), all multiples of 2 ** -24 (float32) or 2 ** -53 (float64)."""
    words = source_of(generator).bits(shape if dtype == FLOAT32 else (2, *shape))
    return words.apply(FRACTIONS, dtype=dtype)


def normal(shape: Shape, dtype: DType, generator: Generator | None) -> Tensor:
    """Normal numbers of mean 0 and variance 1."""
    return uniform((2, *shape), dtype, generator).apply(GAUSSIAN)


def exponential(shape: Shape, dtype: DType, generator: Generator | None) -> Tensor:
    """Exponential numbers of mean 1. None is 0: the smallest stands for the middle of its cell."""
    u = uniform(shape, dtype, generator)
    return (-(-u).log1p()).clamp(min=2.0**-25 if dtype == FLOAT32 else 2.0**-54)
