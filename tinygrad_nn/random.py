"""Random tensors from counter-based generators (`tensor/generator.py`): uniform, normal, whole numbers, permutations.

Every function takes `generator=` (None is the default one), and `device=` as PyTorch's do, which has to be the cpu.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .errors import ConfigError, ShapeError, message
from .ops.rules import FLOAT64, INT64
from .support.settings import Device, check_device, is_whole, number, shown, typed
from .tensor import Tensor
from .tensor.composed import drawing
from .tensor.core import check_dtype, constant, mode
from .tensor.door import takes_operands
from .tensor.generator import Generator as Generator
from .tensor.generator import default_generator as default_generator
from .tensor.generator import normal as standard_normal
from .tensor.generator import source_of as source_of
from .tensor.generator import uniform as uniform
from .tensor.generator import working_with as working_with
from .tensor.shape import as_shape

bernoulli = takes_operands(drawing.bernoulli)
multinomial = takes_operands(drawing.multinomial)


def order_generator(seed: int) -> Generator:
    """What the order of samples is drawn from: the half of a seed's counters to which `Generator(seed)` does not come,
    so that weights and samples of one seed have nothing in common.
    """
    generator = Generator(seed)
    generator.counter.assign(Tensor.handle(constant(np.array(-(2**63), np.int64))))
    return generator


def manual_seed(seed: int) -> Generator:
    """Seed the default generator and return it.

    >>> import tinygrad_nn as tg
    >>> _ = tg.manual_seed(0)
    >>> first = tg.rand(3)
    >>> _ = tg.manual_seed(0)
    >>> tg.equal(first, tg.rand(3))
    True
    """
    return source_of(None).manual_seed(seed)


def seed() -> int:
    """Seed the default generator with a number that the system draws, and return that.

    >>> import tinygrad_nn as tg
    >>> isinstance(tg.seed(), int)
    True
    """
    return source_of(None).seed()


def initial_seed() -> int:
    """The seed of the default generator.

    >>> import tinygrad_nn as tg
    >>> _ = tg.manual_seed(7)
    >>> tg.initial_seed()
    7
    """
    return source_of(None).initial_seed()


def get_rng_state() -> Tensor:
    """Where the default generator is.

    >>> import tinygrad_nn as tg
    >>> state = tg.get_rng_state()
    >>> first = tg.rand(3)
    >>> tg.set_rng_state(state)
    >>> tg.equal(first, tg.rand(3))
    True
    """
    return source_of(None).get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Let the default generator go on from a state.

    >>> import tinygrad_nn as tg
    >>> state = tg.get_rng_state()
    >>> first = tg.rand(3)
    >>> tg.set_rng_state(state)
    >>> tg.equal(first, tg.rand(3))
    True
    """
    source_of(None).set_state(new_state)


@contextmanager
def fork_rng(devices: Any = (), enabled: bool = True, device_type: str = "cpu") -> Iterator[None]:
    """Within the block the default generator goes its way; behind it, on as if nothing had been drawn.

    >>> before = get_rng_state()
    >>> with fork_rng():
    ...     _ = rand(3)
    >>> get_rng_state().tolist() == before.tolist()
    True
    """
    state = get_rng_state() if enabled else None
    try:
        yield
    finally:
        if state is not None:
            set_rng_state(state)


def fresh_seed(generator: Generator | None = None) -> int:
    """A seed for another generator, drawn from this one."""
    return int(randint(2**53, generator=generator))


def _float(name: str, dtype: Any, device: Any) -> Any:
    kind = mode.dtype if dtype is None else check_dtype(name, dtype)
    if kind.kind != "f":
        raise ConfigError(message(name, f"dtype {kind.name}", "a float dtype", "use randint for integers"))
    check_device(name, device)
    return kind


def _leaf(x: Tensor, requires_grad: bool) -> Tensor:
    return x.requires_grad_() if requires_grad else x


@typed
def rand(
    *shape: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform numbers in [0, 1).

    >>> import tinygrad_nn as tg
    >>> x = tg.rand(1000)
    >>> bool(((x >= 0) & (x < 1)).all())
    True
    """
    lengths = as_shape("rand", shape if size is None else (size,))
    return _leaf(uniform(lengths, _float("rand", dtype, device), generator), requires_grad)


@typed
def randn(
    *shape: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers of mean 0 and variance 1.

    >>> import tinygrad_nn as tg
    >>> x = tg.randn(2, 3)
    >>> x.shape, x.dtype
    ((2, 3), dtype('float32'))
    """
    lengths = as_shape("randn", shape if size is None else (size,))
    return _leaf(standard_normal(lengths, _float("randn", dtype, device), generator), requires_grad)


@typed
def normal(
    mean: Tensor | float = 0.0,
    std: Tensor | float = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers: of a mean and a standard deviation each where these are tensors, which broadcast; else `size` of
    them. Raises ConfigError for a standard deviation below 0.

    >>> normal(0, 1, (2, 3)).shape, normal(rand(4), 0.1).shape
    ((2, 3), (4,))
    """
    given = [value for value in (mean, std) if isinstance(value, Tensor)]
    if not given:
        number("normal", "mean", mean), number("normal", "std", std, least=0)
        if size is None:
            raise ShapeError(message("normal", "two numbers and no size", "a size, or tensors"))
        shape, kind = as_shape("normal", (size,)), _float("normal", dtype, device)
        return _leaf(standard_normal(shape, kind, generator) * std + mean, requires_grad)
    if size is not None:
        raise ShapeError(message("normal", f"size {shown(size)} beside a tensor", "the shape of the tensor"))
    check_device("normal", device)
    scale = std.detach() if isinstance(std, Tensor) else number("normal", "std", std, least=0)
    if isinstance(scale, Tensor) and not scale.is_traced and not bool((scale >= 0).all()):
        raise ConfigError(message("normal", "std below 0 or NaN", "standard deviations of at least 0"))
    centre = mean.detach() if isinstance(mean, Tensor) else mean
    zero: Any = centre * 0.0 + scale * 0.0  # of the shape and dtype that both make
    return _leaf(standard_normal(zero.shape, zero.dtype, generator) * scale + centre, requires_grad)


@typed
def randint(
    low: int = 0,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers in [low, high); `randint(high, size)` starts at 0. The bias is below (high - low) / 2 ** 53.

    >>> import tinygrad_nn as tg
    >>> x = tg.randint(0, 10, (1000,))
    >>> x.min().item(), x.max().item()
    (0, 9)
    """
    if size is None and not (high is None or is_whole(high)):
        high, size = None, high
    first, last = (0, low) if high is None else (low, high)
    if not is_whole(last) or not -(2**63) <= first < last <= 2**63:
        got = f"low {shown(first)} and high {shown(last)}"
        raise ConfigError(message("randint", got, "low < high, both integers of 64 bits"))
    check_device("randint", device)
    u = uniform(as_shape("randint", (() if size is None else size,)), FLOAT64, generator)
    drawn = (u * float(last - first)).floor() + float(first)
    return _leaf(drawn.to(check_dtype("randint", INT64 if dtype is None else dtype)), requires_grad)


@typed
def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """The integers below n in random order: the stable order of n random keys.

    >>> import tinygrad_nn as tg
    >>> tg.randperm(5).sort().values
    tensor([0, 1, 2, 3, 4])
    """
    if n < 0:
        raise ConfigError(message("randperm", f"n {n}", "a number that is not negative"))
    check_device("randperm", device)
    order = uniform(as_shape("randperm", (n,)), FLOAT64, generator).argsort(0)
    return _leaf(order if dtype is None else order.to(check_dtype("randperm", dtype)), requires_grad)


@takes_operands
def rand_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform numbers in another tensor's shape and dtype.

    >>> import tinygrad_nn as tg
    >>> tg.rand_like(tg.ones(2, 3)).shape
    (2, 3)
    """
    kind = input.dtype if dtype is None else dtype
    return rand(input.shape, dtype=kind, generator=generator, device=device, requires_grad=requires_grad)


@takes_operands
def randn_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers in another tensor's shape and dtype.

    >>> import tinygrad_nn as tg
    >>> tg.randn_like(tg.ones(2, 3)).shape
    (2, 3)
    """
    kind = input.dtype if dtype is None else dtype
    return randn(input.shape, dtype=kind, generator=generator, device=device, requires_grad=requires_grad)


@takes_operands
def randint_like(
    input: Tensor,
    low: int,
    high: int | None = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers in [low, high), or in [0, low), in another tensor's shape and dtype.

    >>> import tinygrad_nn as tg
    >>> tg.randint_like(tg.ones(2, 3), 0, 10).shape
    (2, 3)
    """
    kind = input.dtype if dtype is None else dtype
    first, last = (0, low) if high is None else (low, high)
    return randint(
        first, last, input.shape, generator=generator, dtype=kind, device=device, requires_grad=requires_grad
    )
