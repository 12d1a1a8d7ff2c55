"""Random numbers for a tensor: draws whose probabilities it holds, and fills that write them into it.

Fills write as every method in place does: through views and `.data`, to leaves that require grad only under no_grad.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from ...errors import ConfigError, DTypeError, ShapeError, message
from ...graph.graph import DType
from ...ops.rules import FLOAT32, FLOAT64, INT64
from ...support.settings import integer, number, typed
from ..contract import T
from ..core import constant
from ..generator import Generator, exponential, normal, uniform
from .gamma import lgamma
from .incomplete import igamma

_FEW: Final = 60  # counts beyond which a rate of 10 has less than the last digit of 1
_ROUNDS: Final = 24  # of which each is accepted at least 3 times in 4
_WHOLE: Final = {FLOAT32: 2**24, FLOAT64: 2**53}  # up to these a float holds every integer


@typed
def bernoulli(self: T, p: Any = None, *, generator: Generator | None = None) -> T:
    """1 with probability x (or p), else 0, element by element. Raises ConfigError for what is no probability.

    >>> import tinygrad_nn as tg
    >>> tg.bernoulli([0.0, 1.0])
    tensor([0., 1.])
    """
    if p is None:
        _float("bernoulli", self)
    chances = self.detach() if p is None else _chances("bernoulli", p, self)
    if not chances.is_traced and not bool(((chances >= 0) & (chances <= 1)).all()):
        raise ConfigError(message("bernoulli", "values outside of [0, 1]", "probabilities"))
    return (_beside(self, uniform(self.shape, chances.dtype, generator)) < chances).to(self.dtype)


@typed
def bernoulli_(self: T, p: Any = 0.5, *, generator: Generator | None = None) -> T:
    """1 with probability p (a number, or a tensor of them), else 0."""
    return self._write("bernoulli_", bernoulli(self, p, generator=generator))


@typed
def normal_(self: T, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> T:
    """Normal numbers of a mean and a standard deviation."""
    shift, scale = number("normal_", "mean", mean), number("normal_", "std", std, least=0)
    return self._write("normal_", normal(self.shape, _float("normal_", self), generator) * scale + shift)


@typed
def log_normal_(self: T, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> T:
    """Numbers whose logarithms are normal, of this mean and standard deviation."""
    shift, scale = number("log_normal_", "mean", mean), number("log_normal_", "std", std, above=0)
    drawn = normal(self.shape, _float("log_normal_", self), generator)
    return self._write("log_normal_", (drawn * scale + shift).exp())


@typed
def uniform_(self: T, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> T:
    """Uniform numbers in [from, to)."""
    low = number("uniform_", "from", from_)
    width = number("uniform_", "to", to, least=low) - low
    return self._write("uniform_", uniform(self.shape, _float("uniform_", self), generator) * width + low)


@typed
def exponential_(self: T, lambd: float = 1.0, *, generator: Generator | None = None) -> T:
    """Exponential numbers of the rate lambd, all above 0."""
    rate = number("exponential_", "lambd", lambd, above=0)
    return self._write("exponential_", exponential(self.shape, _float("exponential_", self), generator) / rate)


@typed
def cauchy_(self: T, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> T:
    """Numbers of the Cauchy distribution."""
    shift, scale = number("cauchy_", "median", median), number("cauchy_", "sigma", sigma, above=0)
    u = uniform(self.shape, _float("cauchy_", self), generator)
    return self._write("cauchy_", ((u - 0.5) * math.pi).tan() * scale + shift)


@typed
def geometric_(self: T, p: float, *, generator: Generator | None = None) -> T:
    """How many trials it takes, 1 or more, until one of probability p succeeds."""
    chance = number("geometric_", "p", p, above=0, below=1)
    dtype = self.dtype if self.dtype.kind == "f" else FLOAT64
    trials = (exponential(self.shape, dtype, generator) / -math.log1p(-chance)).ceil()
    return self._write("geometric_", trials.to(self.dtype))


@typed
def random_(self: T, from_: int = 0, to: int | None = None, *, generator: Generator | None = None) -> T:
    """Integers in [from, to), of `random_(to)` in [0, to), of `random_()` in [0, the last that the dtype holds]."""
    low, high = (from_, to) if to is not None or from_ == 0 else (0, from_)
    if high is None:
        kind = self.dtype.kind
        high = 2 if kind == "b" else np.iinfo(self.dtype).max if kind == "i" else _WHOLE[self.dtype] + 1
    first, last = integer("random_", "from", low), integer("random_", "to", high)
    if first >= last:
        raise ConfigError(message("random_", f"from {first} and to {last}", "from < to"))
    u = uniform(self.shape, FLOAT64, generator)
    return self._write("random_", ((u * float(last - first)).floor().to(INT64) + first).to(self.dtype))


@typed
def multinomial(self: T, num_samples: int, replacement: bool = False, *, generator: Generator | None = None) -> T:
    """`num_samples` indices for each row, drawn with probabilities that are proportional to its entries: (n,) gives
    (num_samples,), (rows, n) gives (rows, num_samples). Without replacement they differ, the first drawn first.

    Raises ShapeError for other shapes, ConfigError for weights that are negative, not finite or all 0, and for more
    samples than there are weights above 0.

    >>> import tinygrad_nn as tg
    >>> tg.multinomial([0.0, 1.0, 0.0], 2, replacement=True)
    tensor([1, 1])
    """
    _float("multinomial", self)
    if self.ndim not in (1, 2) or not self.shape[-1]:
        raise ShapeError(message("multinomial", f"weights of shape {self.shape}", "(n,) or (rows, n), n at least 1"))
    count = integer("multinomial", "num_samples", num_samples, least=1)
    weights = self.detach().to(FLOAT64)
    if not weights.is_traced:
        _check_weights(weights._value(), 1 if replacement else count)
    elif not replacement and count > self.shape[-1]:
        raise ConfigError(message("multinomial", f"{count} samples of {self.shape[-1]} weights", "replacement=True"))
    if not replacement:  # the first of exponential clocks to ring, each with a weight for its rate
        clocks = _beside(self, exponential(self.shape, FLOAT64, generator)) / weights
        return clocks.sort(-1, stable=True)[1].narrow(-1, 0, count)
    ends = weights.cumsum(-1)
    total = ends.narrow(-1, self.shape[-1] - 1, 1)
    u = _beside(self, uniform((*self.shape[:-1], count), FLOAT64, generator)) * total
    if ends.is_traced:
        return (ends.unsqueeze(-2) <= u.unsqueeze(-1)).sum(-1)
    rows = zip(np.atleast_2d(ends._value()), np.atleast_2d(u._value()), strict=True)
    places = [np.searchsorted(end, drawn, "right") for end, drawn in rows]
    return _beside(self, constant(np.reshape(places, u.shape).astype(np.int64)))


@typed
def poisson(self: T, generator: Generator | None = None) -> T:
    """Counts of the Poisson distribution, whose rate is x, element by element.

    Up to a rate of 10 by inversion, above by transformed rejection (Hormann, "The transformed rejection method for
    generating Poisson random variables", 1993), of which so many rounds are made that one of them is accepted.

    >>> import tinygrad_nn as tg
    >>> tg.poisson([0.0, 0.0])
    tensor([0., 0.])
    """
    own = _float("poisson", self)
    rate = self.detach().to(FLOAT64)
    if not rate.is_traced and not bool((rate >= 0).all()):
        raise ConfigError(message("poisson", "rates below 0 or NaN", "rates of at least 0"))
    few, many = rate.clamp(max=10.0).unsqueeze(-1), rate.clamp(min=10.0)
    counts = rate.new_arange(_FEW).to(FLOAT64)
    ends = (few.log() * counts - few - lgamma(counts + 1)).exp()
    ends = ends.masked_fill(few.eq(0) & counts.eq(0), 1.0).masked_fill(few.eq(0) & (counts > 0), 0.0).cumsum(-1)
    inverted = (ends <= _beside(self, uniform((*self.shape, 1), FLOAT64, generator))).sum(-1)
    pair = _beside(self, uniform((2, _ROUNDS, *self.shape), FLOAT64, generator))
    u, v = pair.select(0, 0) - 0.5, pair.select(0, 1)
    b = many.sqrt() * 2.53 + 0.931
    a = b * 0.02483 - 0.059
    edge = 0.5 - u.abs()
    count = ((a * 2 / edge + b) * u + many + 0.43).floor()
    inside = count.clamp(min=0.0)
    height = v.log() + (1.1239 + 1.1328 / (b - 3.4)).log() - (a / (edge * edge) + b).log()
    below = height <= many.log() * inside - many - lgamma(inside + 1)
    easy = (edge >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
    taken = _first(easy | ((count >= 0) & ((edge >= 0.013) | (v <= edge)) & below), count)
    return inverted.to(FLOAT64).where(rate <= 10, taken).to(own)


@typed
def standard_gamma(self: T, generator: Generator | None = None) -> T:
    """Numbers of the gamma distribution of the shape x and scale 1, by rejection: Marsaglia and Tsang, "A simple method
    for generating gamma variables", 2000, of which so many rounds are made that one of them is accepted.

    The gradient is that of the number at one place of the distribution function: Figurnov et al., Implicit
    reparameterization gradients, NeurIPS 2018.

    >>> import tinygrad_nn as tg
    >>> bool((tg.standard_gamma([2.0, 5.0]) > 0).all())
    True
    """
    own = _float("standard_gamma", self)
    alpha = self.detach().to(FLOAT64)
    d = (alpha + 1).where(alpha < 1, alpha) - 1 / 3
    x = _beside(self, normal((_ROUNDS, *self.shape), FLOAT64, generator))
    u = _beside(self, uniform((_ROUNDS + 1, *self.shape), FLOAT64, generator))
    root = x / (d * 9).sqrt() + 1
    cube = root * root * root
    low = (1 - u.narrow(0, 0, _ROUNDS)).log() < x * x * 0.5 + d - d * cube + d * cube.clamp(min=1e-300).log()
    drawn = d * _first((root > 0) & low, cube)
    boost = ((1 - u.select(0, _ROUNDS)).log() / alpha).exp()
    found = (drawn * boost).where(alpha < 1, drawn).clamp(min=float(np.finfo(own).tiny))
    if self.requires_grad:
        below = igamma(self.to(FLOAT64), found)
        density = ((alpha - 1) * found.log() - found - lgamma(alpha)).exp().clamp(min=1e-300)
        found = found + (below.detach() - below) / density
    return found.to(own)


def _first(accepted: T, values: T) -> T:
    """Of the values along the first axis, the first that is accepted."""
    return values.gather(0, accepted.to(INT64).argmax(0, keepdim=True)).select(0, 0)


def _check_weights(weights: Any, count: int) -> None:
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ConfigError(message("multinomial", "negative, inf or NaN weights", "finite weights of 0 or more"))
    positive = np.atleast_2d(weights > 0).sum(-1)
    if (positive < count).any():
        row = int(np.argmax(positive < count))
        got = f"{positive[row]} weights above 0" + f" in row {row}" * (weights.ndim > 1)
        raise ConfigError(message("multinomial", got, f"at least {count}", "or replacement=True" * (count > 1)))


def _float(name: str, x: Any) -> DType:
    if x.dtype.kind != "f":
        raise DTypeError(message(name, f"a tensor of dtype {x.dtype.name}", "a float dtype", "random_ fills integers"))
    return x.dtype  # type: ignore[no-any-return]


def _chances(name: str, p: Any, like: T) -> T:
    """Probabilities that are given beside a tensor, in its shape."""
    chances = like._operand(p, name).detach()
    return chances.to(FLOAT64 if chances.dtype.kind != "f" else chances.dtype).expand_to(like.shape)


def _beside(self: T, drawn: Any) -> T:
    """A tensor, or a node, as a tensor of this one's kind."""
    return self.handle(getattr(drawn, "node", drawn))  # type: ignore[no-any-return]
