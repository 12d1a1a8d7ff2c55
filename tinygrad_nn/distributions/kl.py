"""The Kullback-Leibler divergence of two distributions, by the table of the pairs that have a closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..errors import DTypeError, ShapeError, message
from ..tensor import Tensor
from ..tensor.factors import solved_triangle
from .continuous import Beta, Dirichlet, Exponential, Gamma, Laplace, Normal, Uniform
from .discrete import Bernoulli, Categorical, Geometric, OneHotCategorical, Poisson
from .distribution import Distribution, sum_rightmost
from .multivariate import Independent, MultivariateNormal, solve_lower
from .transformed import LogNormal

Rule = Callable[[Any, Any], Tensor]


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """KL(p || q), the mean under p of log(p / q). Raises NotImplementedError for pairs without a closed form.

    >>> from tinygrad_nn.distributions import Normal
    >>> kl_divergence(Normal(1.0, 1.0), Normal(0.0, 1.0))
    tensor(0.5)
    """
    for one in (p, q):
        if not isinstance(one, Distribution):
            raise DTypeError(message("kl_divergence", f"a {type(one).__name__}", "distributions"))
    for left in type(p).__mro__:
        for right in type(q).__mro__:
            if (left, right) in RULES:
                return RULES[left, right](p, q)
    got = f"a {type(p).__name__} and a {type(q).__name__}"
    hint = "register_kl adds a rule; a mean over samples of p.log_prob(x) - q.log_prob(x) estimates it"
    raise NotImplementedError(message("kl_divergence", got, "a pair that has a closed form", hint))


def register_kl(type_p: type[Distribution], type_q: type[Distribution]) -> Callable[[Rule], Rule]:
    """Decorator for a function of two distributions of these classes, which gives their divergence from now on.

    >>> from tinygrad_nn.distributions import Normal
    >>> class Mine(Normal):
    ...     pass
    >>> @register_kl(Mine, Normal)
    ... def mine_normal(p, q):
    ...     return (q.scale / p.scale).log()
    >>> kl_divergence(Mine(0.0, 1.0), Normal(0.0, 2.0))
    tensor(0.6931)
    """
    for one in (type_p, type_q):
        if not isinstance(one, type) or not issubclass(one, Distribution):
            raise DTypeError(message("register_kl", f"{one!r}", "two classes of distributions"))

    def add(rule: Rule) -> Rule:
        RULES[type_p, type_q] = rule
        return rule

    return add


def _normal(p: Normal, q: Normal) -> Tensor:
    ratio, distance = p.scale / q.scale, (p.loc - q.loc) / q.scale
    square = ratio * ratio
    return (square + distance * distance - 1 - square.log()) * 0.5


def _log_normal(p: LogNormal, q: LogNormal) -> Tensor:
    return kl_divergence(p.base_dist, q.base_dist)


def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    a, x, y = p.probs, p.logits, q.logits
    zero = x * 0
    first = (a * ((-y).logaddexp(zero) - (-x).logaddexp(zero))).masked_fill(a == 0, 0)
    second = ((1 - a) * (y.logaddexp(zero) - x.logaddexp(zero))).masked_fill(a == 1, 0)
    impossible = ((q.probs == 0) & (a != 0)) | ((q.probs == 1) & (a != 1))
    return (first + second).masked_fill(impossible, math.inf)


def _classes(p: Any, q: Any) -> Tensor:
    chances = p.probs
    terms: Tensor = chances * (p.logits - q.logits)
    return terms.masked_fill((q.probs == 0).expand(terms.shape), math.inf).masked_fill(chances == 0, 0).sum(-1)


def _geometric(p: Geometric, q: Geometric) -> Tensor:
    found: Tensor = -p.entropy() - (-q.probs).log1p() / p.probs - q.logits
    return found


def _poisson(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


def _uniform(p: Uniform, q: Uniform) -> Tensor:
    found = ((q.high - q.low) / (p.high - p.low)).log()
    return found.masked_fill((q.low > p.low) | (q.high < p.high), math.inf)


def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - ratio.log() - 1


def _laplace(p: Laplace, q: Laplace) -> Tensor:
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * (-distance / p.scale).exp() - 1


def _gamma(p: Gamma, q: Gamma) -> Tensor:
    a, b = p.concentration, q.concentration
    found = b * (p.rate / q.rate).log() + b.lgamma() - a.lgamma() + (a - b) * a.digamma()
    return found + (q.rate - p.rate) * (a / p.rate)


def _beta(p: Beta, q: Beta) -> Tensor:
    total, other = p.concentration1 + p.concentration0, q.concentration1 + q.concentration0
    found = q.concentration1.lgamma() + q.concentration0.lgamma() + total.lgamma()
    found = found - p.concentration1.lgamma() - p.concentration0.lgamma() - other.lgamma()
    found = found + (p.concentration1 - q.concentration1) * p.concentration1.digamma()
    found = found + (p.concentration0 - q.concentration0) * p.concentration0.digamma()
    return found + (other - total) * total.digamma()


def _dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    found = total.lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return found + ((a - b) * (a.digamma() - total.digamma().unsqueeze(-1))).sum(-1)


def _multivariate(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    if p.event_shape != q.event_shape:
        got = f"events of shapes {p.event_shape} and {q.event_shape}"
        raise ShapeError(message("kl_divergence", got, "equal shapes"))
    a, b = p._unbroadcasted_scale_tril, q._unbroadcasted_scale_tril
    logs = b.diagonal(0, -2, -1).log().sum(-1) - a.diagonal(0, -2, -1).log().sum(-1)
    columns = solved_triangle("kl_divergence", b, a, False)
    z = solve_lower(b, q.loc - p.loc)
    return logs + ((columns * columns).sum(-1).sum(-1) + (z * z).sum(-1) - p.event_shape[0]) * 0.5


def _independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        got = f"{p.reinterpreted_batch_ndims} and {q.reinterpreted_batch_ndims} axes that are taken over"
        raise NotImplementedError(message("kl_divergence", got, "as many in both"))
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


RULES: dict[tuple[type, type], Rule] = {
    (Normal, Normal): _normal,
    (LogNormal, LogNormal): _log_normal,
    (Bernoulli, Bernoulli): _bernoulli,
    (Categorical, Categorical): _classes,
    (OneHotCategorical, OneHotCategorical): _classes,
    (Geometric, Geometric): _geometric,
    (Poisson, Poisson): _poisson,
    (Uniform, Uniform): _uniform,
    (Exponential, Exponential): _exponential,
    (Laplace, Laplace): _laplace,
    (Gamma, Gamma): _gamma,
    (Beta, Beta): _beta,
    (Dirichlet, Dirichlet): _dirichlet,
    (MultivariateNormal, MultivariateNormal): _multivariate,
    (Independent, Independent): _independent,
}
