"""What holds for every gradient, checked without differences, so also where numeric derivatives are too noisy.

Each identity is a function of a problem and a generator that raises GradcheckError. Nothing can be compared unless
`like_the_input` holds; GRADIENT are the others that need one walk backward; RECORDED differentiate that walk, so the
backward must be differentiable for them: they take the gradient of the function (x, v) -> J(x)^T v.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import GradcheckError, message
from .numeric import Vector, flat
from .problem import Problem

Identity = Callable[[Problem, np.random.Generator], None]
TOLERANCE = 1e-9


def like_the_input(problem: Problem, rng: np.random.Generator) -> None:
    """A gradient has the shape and dtype of its input."""
    (found,) = problem.pull(problem.start(), [rng.normal(size=_size(problem))])
    for leaf, g in zip(problem.leaves, found, strict=True):
        if (g.shape, g.dtype) != (leaf.handle.shape, leaf.handle.dtype):
            kind = "an input" if leaf.kind == "input" else f"a {leaf.kind}"
            own = f"{kind} {leaf.handle.shape}:{leaf.handle.dtype.name}"
            got = f"a gradient {g.shape}:{g.dtype.name} for {own}"
            raise GradcheckError(message("gradcheck", got, "the input's shape and dtype", f"it is {leaf}"))


def same_bits(problem: Problem, rng: np.random.Generator) -> None:
    """The same tape differentiated twice gives the same bits."""
    v = rng.normal(size=_size(problem))
    once, again = _pulled(problem, v, v)
    if once.tobytes() != again.tobytes():
        raise GradcheckError(message("gradcheck", "other bits when the same tape is differentiated again", "the same"))


def linear(problem: Problem, rng: np.random.Generator) -> None:
    """The vector-Jacobian product is linear in the cotangent."""
    u, v = rng.normal(size=(2, _size(problem)))
    a, b, both = _pulled(problem, u, v, 2.0 * u + v)
    with np.errstate(invalid="ignore"):
        total = 2.0 * a + b
    if _differ(total, both, 2.0 * np.abs(a) + np.abs(b)):
        raise GradcheckError(
            message("gradcheck", "a vector-Jacobian product that is not linear in the cotangent", "linear")
        )


def zero_for_zero(problem: Problem, rng: np.random.Generator) -> None:
    """The cotangent 0 gives exact zeros, where any other gives finite numbers."""
    any_other, zeros = _pulled(problem, rng.normal(size=_size(problem)), np.zeros(_size(problem)))
    if np.isfinite(any_other).all() and zeros.any():
        raise GradcheckError(message("gradcheck", "a gradient that is not 0 for the cotangent 0", "exact zeros"))


def adjoint(problem: Problem, rng: np.random.Generator) -> None:
    """<v, J u> = <J^T v, u>. J^T v is the gradient; J u, the derivative forward, is that of J^T v by v."""
    u, v = rng.normal(size=problem.start().size), rng.normal(size=_size(problem))
    (pulled,) = _pulled(problem, v)
    (found,) = _pulled(problem.gradient, u)
    pushed = found[u.size :]
    forward, backward = np.array([v @ pushed]), np.array([pulled @ u])
    if _differ(forward, backward, np.array([np.abs(v) @ np.abs(pushed) + np.abs(pulled) @ np.abs(u)])):
        got = f"<v, J u> = {forward[0]:.16g} and <J^T v, u> = {backward[0]:.16g}"
        hint = "the backward is not recorded right: its own derivative by the cotangent is wrong"
        raise GradcheckError(message("gradcheck", got, "equal numbers", hint))


def symmetric_hessian(problem: Problem, rng: np.random.Generator) -> None:
    """<a, H b> = <b, H a> for the Hessian H of a weighted sum of the outputs."""
    a, b = rng.normal(size=(2, problem.start().size))
    ha, hb = (found[: a.size] for found in _pulled(problem.gradient, a, b))
    left, right = np.array([a @ hb]), np.array([b @ ha])
    if _differ(left, right, np.array([np.abs(a) @ np.abs(hb) + np.abs(b) @ np.abs(ha)])):
        got = f"<a, H b> = {left[0]:.16g} and <b, H a> = {right[0]:.16g}"
        raise GradcheckError(message("gradcheck", got, "a symmetric Hessian", "the gradient is that of no function"))


GRADIENT: tuple[Identity, ...] = (same_bits, linear, zero_for_zero)
RECORDED: tuple[Identity, ...] = (adjoint, symmetric_hessian)


def _size(problem: Problem) -> int:
    return sum(int(np.prod(shape, dtype=int)) for shape in problem.shapes)


def _pulled(problem: Problem, *cotangents: Vector) -> list[Vector]:
    """Vector-Jacobian products of one tape, each as a vector."""
    return [flat(found) for found in problem.pull(problem.start(), cotangents)]


def _differ(left: Vector, right: Vector, size: Vector) -> bool:
    """Whether finite numbers differ by more than rounding of terms of this size."""
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return False
    return bool((np.abs(left - right) > TOLERANCE * max(1.0, float(size.max(initial=0.0)))).any())
