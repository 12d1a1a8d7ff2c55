"""Every distribution against PyTorch's: log probabilities, moments, entropies, divergences, gradients; samples by
their statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributions as theirs

import tinygrad_nn as tg
from tinygrad_nn import distributions as ours

RNG = np.random.default_rng(0)


def spd(*batch: int, n: int = 3) -> np.ndarray:
    a = RNG.normal(size=(*batch, n, n))
    return a @ a.swapaxes(-1, -2) + np.eye(n)


P = np.array([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]])
LOC, SCALE = np.array([[0.5, -1.0, 2.0], [0.0, 3.0, -2.0]]), np.array([0.5, 1.5, 2.0])
CHANCE = np.array([0.2, 0.9, 0.5])

# name, parameters by name, values
CASES: dict[str, tuple[str, dict[str, Any], np.ndarray]] = {
    "normal": ("Normal", {"loc": LOC, "scale": SCALE}, LOC + 0.3),
    "lognormal": ("LogNormal", {"loc": LOC, "scale": SCALE}, np.abs(LOC) + 0.3),
    "laplace": ("Laplace", {"loc": LOC, "scale": SCALE}, LOC + 0.3),
    "cauchy": ("Cauchy", {"loc": LOC, "scale": SCALE}, LOC - 0.3),
    "gumbel": ("Gumbel", {"loc": LOC, "scale": SCALE}, LOC - 0.3),
    "uniform": ("Uniform", {"low": LOC[0], "high": LOC[0] + SCALE}, LOC[:1] + 0.2),
    "exponential": ("Exponential", {"rate": SCALE}, np.array([[0.0, 0.7, 3.0]])),
    "half normal": ("HalfNormal", {"scale": SCALE}, np.array([[0.0, 0.7, 3.0]])),
    "gamma": ("Gamma", {"concentration": SCALE, "rate": SCALE[::-1].copy()}, np.array([0.1, 0.7, 3.0])),
    "chi2": ("Chi2", {"df": SCALE * 2}, np.array([0.1, 0.7, 3.0])),
    "beta": ("Beta", {"concentration1": SCALE, "concentration0": SCALE[::-1].copy()}, CHANCE),
    "dirichlet": ("Dirichlet", {"concentration": LOC**2 + 0.5}, P),
    "student": ("StudentT", {"df": SCALE * 3, "loc": LOC, "scale": SCALE}, LOC + 1),
    "half cauchy": ("HalfCauchy", {"scale": SCALE}, np.array([[0.0, 0.7, 3.0]])),
    "weibull": ("Weibull", {"scale": SCALE, "concentration": SCALE[::-1] + 0.6}, np.array([0.1, 0.7, 3.0])),
    "pareto": ("Pareto", {"scale": SCALE, "alpha": SCALE[::-1] + 2.5}, SCALE + np.array([0.1, 0.7, 3.0])),
    "inverse gamma": ("InverseGamma", {"concentration": SCALE + 4, "rate": SCALE}, np.array([0.1, 0.7, 3.0])),
    "negative binomial": ("NegativeBinomial", {"total_count": 4, "probs": CHANCE}, np.array([0.0, 6.0, 4.0])),
    "negative binomial of logits": ("NegativeBinomial", {"total_count": SCALE, "logits": LOC}, np.array([0.0, 6, 4])),
    "straight through": ("OneHotCategoricalStraightThrough", {"probs": P}, np.eye(3)[[2, 0]]),
    "bernoulli": ("Bernoulli", {"probs": CHANCE}, np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])),
    "bernoulli of logits": ("Bernoulli", {"logits": LOC * 3}, np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])),
    "bernoulli at the edge": ("Bernoulli", {"probs": np.array([0.0, 1.0])}, np.array([0.0, 1.0])),
    "geometric": ("Geometric", {"probs": CHANCE}, np.array([0.0, 2.0, 5.0])),
    "geometric of logits": ("Geometric", {"logits": LOC}, np.array([0.0, 2.0, 5.0])),
    "binomial": ("Binomial", {"total_count": 6, "probs": CHANCE}, np.array([0.0, 6.0, 4.0])),
    "binomial of logits": ("Binomial", {"total_count": 6, "logits": LOC}, np.array([0.0, 6.0, 4.0])),
    "poisson": ("Poisson", {"rate": SCALE * 4}, np.array([0.0, 2.0, 9.0])),
    "categorical": ("Categorical", {"probs": P * 3}, np.array([[0, 1], [2, 2], [1, 0]])),
    "categorical of logits": ("Categorical", {"logits": LOC}, np.array([[0, 1], [2, 2], [1, 0]])),
    "categorical at the edge": ("Categorical", {"probs": np.array([0.0, 1.0])}, np.array([0, 1])),
    "one hot": ("OneHotCategorical", {"probs": P}, np.eye(3)[[2, 0]]),
    "one hot of logits": ("OneHotCategorical", {"logits": LOC}, np.eye(3)[[2, 0]]),
    "multinomial": ("Multinomial", {"total_count": 4, "probs": P}, np.array([[1.0, 2.0, 1.0], [4.0, 0.0, 0.0]])),
    "covariance": ("MultivariateNormal", {"loc": LOC, "covariance_matrix": spd()}, LOC + 0.4),
    "covariances": ("MultivariateNormal", {"loc": SCALE, "covariance_matrix": spd(2)}, LOC + 0.4),
    "precision": ("MultivariateNormal", {"loc": LOC, "precision_matrix": spd(2)}, LOC + 0.4),
    "factor": ("MultivariateNormal", {"loc": LOC, "scale_tril": np.linalg.cholesky(spd())}, LOC + 0.4),
}  # fmt: skip
CONTINUOUS = ("Normal", "LogNormal", "Laplace", "Cauchy", "Gumbel", "Uniform", "Exponential", "HalfNormal")


def both(name: str, grad: bool = False) -> tuple[Any, Any, list[Any], list[Any]]:
    """Our distribution and PyTorch's, and their parameters."""
    kind, parameters, _ = CASES[name]
    mine = {k: tg.tensor(v, requires_grad=grad) if isinstance(v, np.ndarray) else v for k, v in parameters.items()}
    other = {k: torch.tensor(v, requires_grad=grad) if isinstance(v, np.ndarray) else v for k, v in parameters.items()}
    leaves = [[v for v in given.values() if not isinstance(v, int)] for given in (mine, other)]
    return getattr(ours, kind)(**mine), getattr(theirs, kind)(**other), *leaves


def close(a: Any, b: Any, rtol: float = 1e-9) -> None:
    a, b = a.detach().numpy(), b.detach().numpy()
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


QUANTITIES: dict[str, Callable[[Any, Any], Any]] = {
    "log_prob": lambda d, x: d.log_prob(x),
    "entropy": lambda d, x: d.entropy(),
    "mean": lambda d, x: d.mean,
    "variance": lambda d, x: d.variance,
    "stddev": lambda d, x: d.stddev,
    "mode": lambda d, x: d.mode,
    "cdf": lambda d, x: d.cdf(x),
    "icdf": lambda d, x: d.icdf((x - x + 1) * 0.3),
    "perplexity": lambda d, x: d.perplexity(),
    "support": lambda d, x: d.enumerate_support(),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str) -> None:
    mine, other, leaves, their_leaves = both(name, grad=True)
    value = CASES[name][2]
    assert mine.batch_shape == tuple(other.batch_shape)
    assert mine.event_shape == tuple(other.event_shape)
    assert mine.has_enumerate_support == other.has_enumerate_support
    checked = 0
    for quantity, of in QUANTITIES.items():
        try:
            expected = of(other, torch.tensor(value))
        except (NotImplementedError, AttributeError):
            continue
        if quantity == "cdf" and name in ("gamma", "chi2", "inverse gamma"):
            close(of(mine, tg.tensor(value)), expected, 1e-8)  # PyTorch's has no slope in the concentration
            continue
        checked += 1
        found = of(mine, tg.tensor(value))
        close(found, expected, 1e-7 if name == "multinomial" else 1e-9)  # theirs has a number in float32
        if not expected.requires_grad or quantity == "mode" or "edge" in name:
            continue
        wanted = torch.autograd.grad(expected.sum(), their_leaves, allow_unused=True, retain_graph=True)
        for p in leaves:
            p.grad = None
        if found.requires_grad:
            found.sum().backward(retain_graph=True)
        for p, theirs_g in zip(leaves, wanted, strict=True):
            if theirs_g is not None and not bool((theirs_g == 0).all()):
                assert p.grad is not None, quantity
                close(p.grad, theirs_g, 1e-7)
    assert checked >= 3


@pytest.mark.parametrize("name", CASES)
def test_samples_have_the_moments(name: str) -> None:
    mine, other, leaves, _ = both(name, grad=True)
    tg.manual_seed(0)
    n = 4000
    drawn = mine.sample((n,))
    torch.manual_seed(0)
    expected = other.sample((n,))
    assert drawn.shape == tuple(expected.shape)
    assert str(drawn.dtype) == str(expected.dtype).removeprefix("torch.")
    assert not drawn.requires_grad
    assert bool(mine.support.check(drawn).all())
    a, b = drawn.double().numpy(), expected.double().numpy()
    if name in ("cauchy", "half cauchy", "lognormal", "student"):
        a, b = np.arctan(a), np.arctan(b)
    spread = b.std(0) + 1e-9
    assert (np.abs(a.mean(0) - b.mean(0)) / spread < 0.1).all()
    np.testing.assert_allclose(a.std(0), b.std(0), rtol=0.15, atol=0.03)
    assert mine.sample().shape == tuple(other.sample().shape)
    assert mine.sample((2, 0)).shape == (2, 0, *mine.batch_shape, *mine.event_shape)
    if mine.has_rsample:
        mine.rsample((3,)).sum().backward()
        assert all(p.grad is not None for p in leaves)
    else:
        with pytest.raises(NotImplementedError, match="rsample"):
            mine.rsample()


@pytest.mark.parametrize("name", CASES)
def test_expand(name: str) -> None:
    mine, other, _, _ = both(name)
    value = CASES[name][2]
    shape = (4, 2, *mine.batch_shape[1:]) if len(mine.batch_shape) > 1 else (4, *mine.batch_shape)
    a, b = mine.expand(shape), other.expand(torch.Size(shape))
    assert (a.batch_shape, a.event_shape) == (tuple(b.batch_shape), tuple(b.event_shape))
    whole = (*shape, *mine.event_shape)
    value = value[0] if value.ndim > 1 else value
    if all(n in (1, m) for n, m in zip(value.shape[::-1], whole[::-1], strict=False)):
        close(a.log_prob(tg.tensor(value)), b.log_prob(torch.tensor(value)))
    close(a.mean, b.mean)
    assert a.sample((5,)).shape == tuple(b.sample((5,)).shape)


@pytest.mark.parametrize("name", ["normal", "uniform", "gamma", "bernoulli of logits", "categorical", "covariance"])
def test_compiled(name: str) -> None:
    kind, parameters, value = CASES[name]
    arrays = {k: tg.tensor(v) for k, v in parameters.items() if isinstance(v, np.ndarray)}

    def step(x: tg.Tensor, given: dict[str, tg.Tensor]) -> Any:
        d = getattr(ours, kind)(**given)
        return d.sample((3,)), d.log_prob(x)

    tg.manual_seed(5)
    eager = step(tg.tensor(value), arrays)
    tg.manual_seed(5)
    compiled = tg.jit(step)(tg.tensor(value), arrays)
    for a, b in zip(compiled, eager, strict=True):
        np.testing.assert_allclose(a.double().numpy(), b.double().numpy(), rtol=1e-9, atol=1e-12)


PAIRS = [
    ("normal", {}), ("lognormal", {}), ("laplace", {}), ("uniform", {}), ("exponential", {}), ("gamma", {}),
    ("beta", {}), ("dirichlet", {}), ("bernoulli", {}), ("bernoulli of logits", {}), ("bernoulli at the edge", {}),
    ("geometric", {}), ("poisson", {}), ("categorical", {}), ("categorical of logits", {}), ("one hot", {}),
    ("categorical at the edge", {}), ("covariance", {}), ("covariances", {}), ("precision", {}),
]  # fmt: skip


@pytest.mark.parametrize("name", [name for name, _ in PAIRS])
def test_divergences(name: str) -> None:
    kind, parameters, _ = CASES[name]
    changed = {}
    for k, v in parameters.items():
        if "matrix" in k:
            changed[k] = v + np.eye(3)
        elif k == "low":
            changed[k] = v - 0.5
        elif "edge" in name:
            changed[k] = np.array([0.5, 0.5])
        elif k == "probs" and v.ndim > 1:
            changed[k] = v[::-1].copy()
        elif k == "probs":
            changed[k] = v * 0.5 + 0.2
        else:
            changed[k] = v + 0.4
    mine, other, leaves, their_leaves = both(name, grad=True)
    q = {k: tg.tensor(v, requires_grad=True) for k, v in changed.items()}
    r = {k: torch.tensor(v, requires_grad=True) for k, v in changed.items()}
    found = ours.kl_divergence(mine, getattr(ours, kind)(**q))
    expected = theirs.kl_divergence(other, getattr(theirs, kind)(**r))
    close(found, expected)
    if "edge" in name:
        return
    wanted = torch.autograd.grad(expected.sum(), [*their_leaves, *r.values()])
    found.sum().backward()
    for p, g in zip([*leaves, *q.values()], wanted, strict=True):
        close(p.grad, g, 1e-7)


def test_impossible_classes_are_infinitely_far() -> None:
    p, q = ours.Categorical(tg.tensor([0.5, 0.5])), ours.Categorical(tg.tensor([1.0, 0.0]))
    assert ours.kl_divergence(p, q).item() == np.inf
    assert ours.kl_divergence(q, p).item() == pytest.approx(np.log(2))
    wide, narrow = ours.Uniform(0.0, 2.0), ours.Uniform(0.0, 1.0)
    assert ours.kl_divergence(wide, narrow).item() == np.inf


def test_independent() -> None:
    for axes in (0, 1, 2):
        mine = ours.Independent(ours.Normal(tg.tensor(LOC), tg.tensor(SCALE)), axes)
        other = theirs.Independent(theirs.Normal(torch.tensor(LOC), torch.tensor(SCALE)), axes)
        assert (mine.batch_shape, mine.event_shape) == (tuple(other.batch_shape), tuple(other.event_shape))
        close(mine.log_prob(tg.tensor(LOC + 1)), other.log_prob(torch.tensor(LOC + 1)))
        close(mine.entropy(), other.entropy())
        close(mine.mean, other.mean)
        assert mine.rsample((4,)).shape == tuple(other.rsample((4,)).shape)
        same, like = mine.expand((5, *mine.batch_shape)), other.expand(torch.Size((5, *other.batch_shape)))
        assert (same.batch_shape, same.event_shape) == (tuple(like.batch_shape), tuple(like.event_shape))
        close(ours.kl_divergence(mine, mine.expand(mine.batch_shape)), theirs.kl_divergence(other, other))


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_mixtures(vectors: bool, batch: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    weights, means = rng.uniform(0.1, 1, (*batch, 4)), rng.normal(size=(*batch, 4, 2))
    found = []
    for d, lib in ((ours, tg), (theirs, torch)):
        p, loc = lib.tensor(weights, requires_grad=True), lib.tensor(means, requires_grad=True)
        part = d.Independent(d.Normal(loc, 0.5), 1) if vectors else d.Normal(loc[..., 0], 0.5)
        mixture = d.MixtureSameFamily(d.Categorical(p), part)
        value = lib.tensor(means[..., 1, :] if vectors else means[..., 1, 1])
        density = mixture.log_prob(value)
        density.sum().backward()
        drawn, more = mixture.sample((7,)), mixture.expand((5, *batch))
        shapes = [tuple(one) for one in (drawn.shape, more.batch_shape, more.event_shape, more.sample().shape)]
        values = [density, mixture.mean, mixture.variance, more.log_prob(value), p.grad, loc.grad]
        found.append((shapes, values if vectors else [*values, mixture.cdf(value)]))
    assert found[0][0] == found[1][0]
    for own, other in zip(found[0][1], found[1][1], strict=True):
        close(own, other)
    far = ours.MixtureSameFamily(ours.Categorical(tg.tensor([1.0, 3.0])), ours.Normal(tg.tensor([-9.0, 9.0]), 0.1))
    drawn = far.sample((4000,))
    assert (drawn > 0).float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert ((drawn.abs() - 9).abs() < 1).all()


TRANSFORMS: dict[str, tuple[Callable[[Any, Any], Any], np.ndarray]] = {
    "affine": (lambda d, t: d.AffineTransform(t(LOC[0]), t(SCALE)), LOC),
    "falling": (lambda d, t: d.AffineTransform(1.0, -2.0), LOC),
    "affine event": (lambda d, t: d.AffineTransform(t(LOC[0]), t(SCALE), event_dim=1), LOC),
    "exp": (lambda d, t: d.ExpTransform(), LOC),
    "sigmoid": (lambda d, t: d.SigmoidTransform(), LOC),
    "tanh": (lambda d, t: d.TanhTransform(), LOC * 0.5),
    "softplus": (lambda d, t: d.transforms.SoftplusTransform(), LOC),
    "power": (lambda d, t: d.ComposeTransform([d.ExpTransform(), d.PowerTransform(t(SCALE))]), LOC),
    "inverse": (lambda d, t: d.SigmoidTransform().inv, P),
    "chain": (lambda d, t: d.ComposeTransform([d.AffineTransform(0.5, 2.0), d.TanhTransform()]), LOC * 0.2),
    "independent": (lambda d, t: d.IndependentTransform(d.ExpTransform(), 1), LOC),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name: str) -> None:
    make, x = TRANSFORMS[name]
    mine, other = make(ours, tg.tensor), make(theirs, torch.tensor)
    x, tx = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, ty = mine(x), other(tx)
    close(y, ty)
    close(mine.inv(y.detach()), other.inv(ty.detach()), 1e-8)
    det, their_det = mine.log_abs_det_jacobian(x, y), other.log_abs_det_jacobian(tx, ty)
    close(det, their_det)
    assert mine.domain.event_dim == other.domain.event_dim
    assert mine.codomain.event_dim == other.codomain.event_dim
    if their_det.requires_grad:
        det.sum().backward()
        close(x.grad, torch.autograd.grad(their_det.sum(), tx)[0], 1e-8)
    assert name == "inverse" or mine.inv.inv is mine
    if name == "inverse":
        return
    a = ours.TransformedDistribution(ours.Normal(tg.tensor(LOC[0]), tg.tensor(SCALE)), [mine])
    b = theirs.TransformedDistribution(theirs.Normal(torch.tensor(LOC[0]), torch.tensor(SCALE)), [other])
    assert (a.batch_shape, a.event_shape) == (tuple(b.batch_shape), tuple(b.event_shape))
    close(a.log_prob(y.detach()), b.log_prob(ty.detach()), 1e-7)
    assert a.sample((4,)).shape == tuple(b.sample((4,)).shape)
    assert a.expand((3, *a.batch_shape)).rsample().shape == tuple(b.expand((3, *b.batch_shape)).rsample().shape)
    if not a.event_shape:
        close(a.cdf(y.detach()), b.cdf(ty.detach()), 1e-8)
        close(a.icdf(tg.full((3,), 0.3, dtype=tg.float64)), b.icdf(torch.full((3,), 0.3, dtype=torch.float64)), 1e-8)


def test_a_flow_of_ones_own() -> None:
    class Cube(ours.Transform):
        bijective = True

        def _call(self, x: tg.Tensor) -> tg.Tensor:
            return x**3

        def _inverse(self, y: tg.Tensor) -> tg.Tensor:
            return y.sign() * y.abs() ** (1 / 3)

        def log_abs_det_jacobian(self, x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
            return (x * x * 3).log()

    flow = ours.TransformedDistribution(ours.Normal(tg.zeros(2), 1.0), [Cube(), ours.AffineTransform(1.0, 2.0)])
    assert flow.log_prob(tg.tensor([3.0, 17.0])).tolist() == pytest.approx([-3.2107, -6.0970], abs=1e-3)


@pytest.mark.parametrize("rate", [0.0, 0.3, 9.0, 11.0, 80.0, 5000.0])
def test_poisson_counts(rate: float) -> None:
    drawn = ours.Poisson(tg.tensor(rate)).sample((6000,)).numpy().astype(np.float64)
    assert drawn.mean() == pytest.approx(rate, abs=5 * np.sqrt(rate / 6000) + 1e-9)
    assert drawn.var() == pytest.approx(rate, rel=0.1)


@pytest.mark.parametrize("shape", [0.05, 0.5, 1.0, 3.0, 400.0])
def test_gamma_numbers(shape: float) -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    drawn = ours.Gamma(tg.tensor(shape, dtype=tg.float64), 2.0).sample((4000,)).numpy()
    assert scipy_stats.kstest(drawn, scipy_stats.gamma(shape, scale=0.5).cdf).pvalue > 1e-3


def test_gradients_of_gamma_numbers_are_implicit() -> None:
    """Those of PyTorch, which has four digits; of each number at one place of the distribution function."""
    shapes = np.array([0.05, 0.3, 1, 2.5, 7, 30, 49, 60, 300, 5000]).repeat(20)
    a = tg.tensor(shapes, requires_grad=True)
    drawn = ours.Gamma(a, 1.0).rsample()
    drawn.sum().backward()
    expected = torch._standard_gamma_grad(torch.tensor(shapes), torch.tensor(drawn.detach().numpy()))
    np.testing.assert_allclose(a.grad.numpy(), expected.numpy(), rtol=2e-3)
    one = tg.tensor(2.0, dtype=tg.float64, requires_grad=True)
    ours.Beta(one, tg.tensor(1.5, dtype=tg.float64)).rsample((20000,)).mean().backward()
    np.testing.assert_allclose(one.grad.item(), 1.5 / 3.5**2, rtol=0.02)


@pytest.mark.parametrize("event", [False, True])
def test_gradients_and_samples_of_mixtures(event: bool) -> None:
    logits, loc, scale = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3, 4)), RNG.uniform(0.5, 1.5, (2, 3, 4))
    value = RNG.normal(size=(2, 4) if event else 2)

    def made(lib: Any, t: Any, leaves: Any) -> Any:
        given, mean, wide = leaves
        parts = lib.Normal(mean, wide) if event else lib.Normal(mean[..., 0], wide[..., 0])
        return lib.MixtureSameFamily(lib.Categorical(logits=given), lib.Independent(parts, 1) if event else parts)

    mine = [tg.tensor(x, requires_grad=True) for x in (logits, loc, scale)]
    others = [torch.tensor(x, requires_grad=True) for x in (logits, loc, scale)]
    a, b = made(ours, tg.tensor, mine), made(theirs, torch.tensor, others)
    found, expected = a.log_prob(tg.tensor(value)), b.log_prob(torch.tensor(value))
    close(found, expected)
    close(a.mean, b.mean)
    close(a.variance, b.variance)
    found.sum().backward()
    expected.sum().backward()
    for x, y in zip(mine, others, strict=True):
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-9, atol=1e-12)
    drawn = a.sample((20000,))
    assert drawn.shape == (20000, *b.sample().shape)
    np.testing.assert_allclose(drawn.numpy().mean(0), a.mean.detach().numpy(), atol=0.06)
    np.testing.assert_allclose(drawn.numpy().var(0), a.variance.detach().numpy(), rtol=0.08)
    if not event:
        close(a.cdf(tg.tensor(value)), b.cdf(torch.tensor(value)))
    assert a.expand((5, 2)).sample().shape == tuple(b.expand((5, 2)).sample().shape)
    with pytest.raises(tg.errors.ShapeError, match="a weight for each component"):
        ours.MixtureSameFamily(ours.Categorical(tg.ones(2)), ours.Normal(tg.zeros(3), 1.0))
    with pytest.raises(tg.errors.DTypeError, match="a Categorical"):
        ours.MixtureSameFamily(ours.Normal(0.0, 1.0), ours.Normal(tg.zeros(3), 1.0))
