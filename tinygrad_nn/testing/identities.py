"""What holds for every gradient, checked without differences, so also where numeric derivatives are too noisy.

Each identity is a function of a problem and a generator that raises GradcheckError. Nothing can be compared unless
`like_the_input` holds; GRADIENT are the others that need one walk backward; RECORDED differentiate that walk, so the
backward must be differentiable for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..autograd import grad
from ..errors import GradcheckError, message
from ..tensor import Tensor
from ..tensor.core import constant
from ..transforms import jvp, vjp
from .numeric import Vector, flat
from .problem import Problem, cut, pulled

Identity = Callable[[Problem, np.random.Generator], None]
TOLERANCE = 1e-9


def like_the_input(problem: Problem, rng: np.random.Generator) -> None:
    """A gradient has the shape and dtype of its input."""
    leaves, outputs = problem.at(problem.start(), requires_grad=True)
    live = [out for out in outputs if out.requires_grad]
    if not live:
        return
    found = grad(live, leaves, [_tensor(rng.normal(size=out.shape)) for out in live], allow_unused=True)
    for leaf, g in zip(leaves, found, strict=True):
        if g is not None and (g.shape, g.dtype) != (leaf.shape, leaf.dtype):
            got = f"a gradient {g.shape}:{g.dtype.name} for an input {leaf.shape}:{leaf.dtype.name}"
            raise GradcheckError(message("gradcheck", got, "the input's shape and dtype"))


def same_bits(problem: Problem, rng: np.random.Generator) -> None:
    """The same tape differentiated twice gives the same bits."""
    leaves, outputs = problem.at(problem.start(), requires_grad=True)
    cotangent = cut(rng.normal(size=_size(outputs)), outputs)
    if pulled(outputs, leaves, cotangent).tobytes() != pulled(outputs, leaves, cotangent).tobytes():
        raise GradcheckError(message("gradcheck", "other bits when the same tape is differentiated again", "the same"))


def linear(problem: Problem, rng: np.random.Generator) -> None:
    """The vector-Jacobian product is linear in the cotangent."""
    leaves, outputs = problem.at(problem.start(), requires_grad=True)
    u, v = rng.normal(size=(2, _size(outputs)))
    a, b, both = (pulled(outputs, leaves, cut(cotangent, outputs)) for cotangent in (u, v, 2.0 * u + v))
    with np.errstate(invalid="ignore"):
        total = 2.0 * a + b
    if _differ(total, both, 2.0 * np.abs(a) + np.abs(b)):
        raise GradcheckError(
            message("gradcheck", "a vector-Jacobian product that is not linear in the cotangent", "linear")
        )


def zero_for_zero(problem: Problem, rng: np.random.Generator) -> None:
    """The cotangent 0 gives exact zeros, where any other gives finite numbers."""
    leaves, outputs = problem.at(problem.start(), requires_grad=True)
    any_other, zeros = (
        pulled(outputs, leaves, cut(cotangent, outputs))
        for cotangent in (rng.normal(size=_size(outputs)), np.zeros(_size(outputs)))
    )
    if np.isfinite(any_other).all() and zeros.any():
        raise GradcheckError(message("gradcheck", "a gradient that is not 0 for the cotangent 0", "exact zeros"))


def adjoint(problem: Problem, rng: np.random.Generator) -> None:
    """<v, J u> = <J^T v, u>, J u from tg.jvp and J^T v from tg.vjp."""
    leaves, outputs = problem.at(problem.start())
    u = [_tensor(rng.normal(size=leaf.shape)) for leaf in leaves]
    v = [_tensor(rng.normal(size=out.shape)) for out in outputs]
    _, pushed = jvp(problem.outputs, leaves, u)
    _, pull = vjp(problem.outputs, *leaves)
    forward, size = _inner(v, pushed)
    backward, other = _inner(pull(tuple(v)), u)
    if _differ(forward, backward, size + other):
        got = f"<v, J u> = {forward[0]:.16g} and <J^T v, u> = {backward[0]:.16g}"
        hint = "the backward is not recorded right: its own derivative by the cotangent is wrong"
        raise GradcheckError(message("gradcheck", got, "equal numbers", hint))


def symmetric_hessian(problem: Problem, rng: np.random.Generator) -> None:
    """<a, H b> = <b, H a> for the Hessian H of a weighted sum of the outputs."""
    leaves, outputs = problem.at(problem.start(), requires_grad=True)
    live = [out for out in outputs if out.requires_grad]
    if not live:
        return
    weights = [_tensor(rng.normal(size=out.shape)) for out in live]
    slopes = grad(live, leaves, weights, create_graph=True, allow_unused=True)
    roots = [leaf.new_zeros(leaf.shape) if g is None else g for leaf, g in zip(leaves, slopes, strict=True)]
    a, b = rng.normal(size=(2, _size(leaves)))
    ha, hb = (pulled(roots, leaves, cut(direction, roots)) for direction in (a, b))
    left, right = np.array([a @ hb]), np.array([b @ ha])
    if _differ(left, right, np.array([np.abs(a) @ np.abs(hb) + np.abs(b) @ np.abs(ha)])):
        got = f"<a, H b> = {left[0]:.16g} and <b, H a> = {right[0]:.16g}"
        raise GradcheckError(message("gradcheck", got, "a symmetric Hessian", "the gradient is that of no function"))


GRADIENT: tuple[Identity, ...] = (same_bits, linear, zero_for_zero)
RECORDED: tuple[Identity, ...] = (adjoint, symmetric_hessian)


def _tensor(value: object) -> Tensor:
    return Tensor.handle(constant(np.asarray(value)))


def _size(outputs: Sequence[Tensor]) -> int:
    return sum(out.numel() for out in outputs)


def _inner(left: Sequence[Tensor], right: Sequence[Tensor]) -> tuple[Vector, Vector]:
    """The inner product, and that of the absolute values."""
    a, b = (flat(tensor.detach().numpy() for tensor in side) for side in (left, right))
    return np.array([a @ b]), np.array([np.abs(a) @ np.abs(b)])


def _differ(left: Vector, right: Vector, size: Vector) -> bool:
    """Whether finite numbers differ by more than rounding of terms of this size."""
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return False
    return bool((np.abs(left - right) > TOLERANCE * max(1.0, float(size.max(initial=0.0)))).any())
