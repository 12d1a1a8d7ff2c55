"""Check gradients against numeric derivatives, to second order, and against the identities that any gradient
satisfies.

An entry fails when |analytic - numeric| > 10 e + atol * scale, where e is the numeric derivative's own error
estimate; it is *refused*, and counted, where e > 1e-6 * scale or the function has a kink. With the default tolerance
a coefficient that is wrong by 1e-5 is caught.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..autograd import as_tuple
from ..errors import GradcheckError, message
from ..tensor import Tensor
from .identities import GRADIENT, RECORDED, like_the_input
from .numeric import Slope, Vector, slope, step_for
from .problem import Problem, cut, gradient_of, pulled

REFUSE = 1e-6
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Report:
    """What was checked: entries compared, entries refused, and the largest difference relative to what is allowed."""

    checked: int
    refused: int
    worst: float

    def __bool__(self) -> bool:
        return True

    def __add__(self, other: Report) -> Report:
        return Report(self.checked + other.checked, self.refused + other.refused, max(self.worst, other.worst))

    def __str__(self) -> str:
        refused = f", {self.refused} refused (not differentiable or too noisy here)" if self.refused else ""
        return f"{self.checked} entries agree, the worst at {self.worst:.2g} of the tolerance{refused}"


@dataclass(frozen=True)
class Checked:
    """What somebody who looks on is told: a function was found right to this order."""

    order: int


_watchers: list[Callable[[Checked], None]] = []


@contextmanager
def watching(watcher: Callable[[Checked], None]) -> Iterator[None]:
    """Within the block `watcher` is told of every function that was found right."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def gradcheck(
    fn: Callable[..., Any],
    inputs: Sequence[Any],
    eps: float | None = None,
    atol: float = 1e-9,
    rtol: float = 10.0,
    order: int = 2,
    mode: Literal["full", "fast"] = "full",
    domain: Bounds = (-np.inf, np.inf),
    seed: int = 0,
) -> Report:
    """Compare the gradient of `fn(*inputs)` with numeric derivatives and return a Report, or raise GradcheckError.

    Inputs that require grad must be float64; the others are passed on as they are. `fn` returns a tensor or a tuple
    of tensors. `eps` is the relative step (6e-4); `rtol` multiplies the numeric error estimate, `atol` the scale of
    the values and derivatives. `order=2` also checks the gradient of the vector-Jacobian product. mode "full"
    compares whole Jacobians, "fast" random directions. `domain` bounds the points at which `fn` may be called. Then
    come the identities of `testing.identities`, those that need a recorded walk only with `order=2`.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor([0.3, 0.7], dtype=tg.float64, requires_grad=True)
    >>> bool(gradcheck(lambda x: x.sin() * x, (x,)))
    True
    """
    given = as_tuple(inputs) if isinstance(inputs, Tensor) else tuple(inputs)
    places = tuple(k for k, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad)
    _check_inputs(given, places, mode, order)
    problem = Problem(fn, given, places)
    rng = np.random.default_rng(seed)
    _check_deterministic(problem)
    total = Report(0, 0, 0.0)
    for level in range(1, order + 1):
        like_the_input(problem, rng)
        compare = _full if mode == "full" else _fast
        total += compare(problem, _Tolerance(eps, atol, rtol, domain), f"order {level}", rng)
        for identity in (*GRADIENT, *RECORDED) if level < order else GRADIENT:
            identity(problem, rng)
        if level < order:
            problem = gradient_of(problem, rng)
    if total.checked == 0 and total.refused:
        got = f"a function of which all {total.refused} entries were refused"
        raise GradcheckError(
            message("gradcheck", got, "a point where it is smooth", "not differentiable or too noisy here: move away")
        )
    for watcher in tuple(_watchers):
        watcher(Checked(order))
    return total


@dataclass(frozen=True)
class _Tolerance:
    eps: float | None
    atol: float
    rtol: float
    domain: Bounds


def _check_inputs(inputs: tuple[Any, ...], places: tuple[int, ...], mode: str, order: int) -> None:
    if mode not in ("full", "fast") or order not in (1, 2):
        raise GradcheckError(message("gradcheck", f"mode {mode!r} and order {order}", "'full' or 'fast', 1 or 2"))
    if not places:
        hint = "create them with requires_grad=True"
        raise GradcheckError(message("gradcheck", "no input that requires grad", "at least one", hint))
    for place in places:
        if inputs[place].dtype != np.float64:
            got = f"input {place} of dtype {inputs[place].dtype.name}"
            hint = "float32 keeps too few digits for differences: use x.double()"
            raise GradcheckError(message("gradcheck", got, "float64", hint))


def _check_deterministic(problem: Problem) -> None:
    x = problem.start()
    if problem.value(x).tobytes() != problem.value(x).tobytes():
        hint = "seed its generator inside, or switch dropout off"
        raise GradcheckError(
            message("gradcheck", "a function that returns other bits when called again", "a deterministic one", hint)
        )


def _steps(problem: Problem, x: Vector, tolerance: _Tolerance) -> Vector:
    """The step of each element; the domain is that of the inputs, not of the cotangents behind them."""
    bounds = [tolerance.domain] * problem.bounded + [(-np.inf, np.inf)] * (x.size - problem.bounded)
    steps = np.array([step_for(value, tolerance.eps, *own) for value, own in zip(x, bounds, strict=True)])
    if (steps <= 0).any():
        k = int(np.argmin(steps))
        raise GradcheckError(
            message("gradcheck", f"the point {x[k]} for the domain {tolerance.domain}", "a point inside")
        )
    return steps


def _full(problem: Problem, tolerance: _Tolerance, what: str, rng: np.random.Generator) -> Report:
    """Whole Jacobians: one numeric column per input element, one backward walk per output element."""
    x = problem.start()
    here = problem.value(x)
    leaves, outputs = problem.at(x, requires_grad=True)
    rows = []
    for out in outputs:
        for k in range(out.numel()):
            seed = np.zeros(out.numel())
            seed[k] = 1.0
            rows.append(pulled([out], leaves, [seed.reshape(out.shape)]))
    analytic = np.array(rows).reshape(here.size, x.size)
    steps = _steps(problem, x, tolerance)
    columns = [slope(problem.value, x, unit, h, here) for unit, h in zip(np.eye(x.size), steps, strict=True)]
    numeric, error, kink = (_stacked(columns, name, here.size) for name in ("value", "error", "kink"))
    return _compare(problem, what, analytic, numeric, error, kink.astype(bool), tolerance, here)


def _stacked(columns: list[Slope], name: str, rows: int) -> Any:
    return np.array([getattr(column, name) for column in columns]).reshape(len(columns), rows).T


def _fast(problem: Problem, tolerance: _Tolerance, what: str, rng: np.random.Generator) -> Report:
    """Two random directions and cotangents: <v, J u> in place of the Jacobian."""
    x = problem.start()
    here = problem.value(x)
    if not (x.size and here.size):
        return Report(0, 0, 0.0)
    leaves, outputs = problem.at(x, requires_grad=True)
    total = Report(0, 0, 0.0)
    for _ in range(2):
        direction = rng.choice((-1.0, 1.0), x.size) * rng.uniform(0.5, 1.0, x.size)
        cotangent = rng.normal(size=here.size)
        transposed = pulled(outputs, leaves, cut(cotangent, outputs))

        def projected(point: Vector, weights: Vector = cotangent) -> Vector:
            return np.array([weights @ problem.value(point)])

        step = float(_steps(problem, x, tolerance).min())
        found = slope(projected, x, direction, step, np.array([cotangent @ here]))
        analytic = np.array([[transposed @ direction]])
        size = np.array([np.abs(cotangent) @ np.abs(here)])
        error = found.error + 8 * 2.0**-53 * size / (step / 4)
        total += _compare(
            problem, what, analytic, found.value[:, None], error[:, None], found.kink[:, None], tolerance, here
        )
    return total


def _compare(
    problem: Problem,
    what: str,
    analytic: Any,
    numeric: Any,
    error: Any,
    kink: Any,
    tolerance: _Tolerance,
    here: Vector,
) -> Report:
    if analytic.size == 0:
        return Report(0, 0, 0.0)
    finite = [np.abs(part[np.isfinite(part)]) for part in (analytic, numeric, here)]
    scale = max((float(part.max()) for part in finite if part.size), default=0.0) or 1.0
    allowed = tolerance.rtol * error + tolerance.atol * scale
    difference = np.abs(analytic - numeric)
    wrong = ~(difference <= allowed)
    refused = (error > REFUSE * scale) | (wrong & kink)
    failed = wrong & ~refused
    if failed.any():
        raise GradcheckError(_failure(problem, what, analytic, numeric, allowed, failed))
    kept = ~refused
    worst = float((difference[kept] / allowed[kept]).max()) if kept.any() else 0.0
    return Report(int(kept.sum()), int(refused.sum()), worst)


def _failure(problem: Problem, what: str, analytic: Any, numeric: Any, allowed: Any, failed: Any) -> str:
    """The worst entries as a table: where, analytic, numeric, difference, allowed."""
    excess = np.where(failed, np.nan_to_num(np.abs(analytic - numeric), nan=np.inf) / allowed, 0.0)
    order = np.argsort(-excess, axis=None, kind="stable")[: min(6, int(failed.sum()))]
    lines = [f"{'output':>10} {'input':>18} {'analytic':>24} {'numeric':>24} {'difference':>11} {'allowed':>9}"]
    for k in order:
        i, j = (int(v) for v in np.unravel_index(int(k), analytic.shape))
        a, n = analytic[i, j], numeric[i, j]
        cells = f"{a:>24.16g} {n:>24.16g} {a - n:>11.3g} {allowed[i, j]:>9.1g}"
        where = _place(problem, j) if analytic.shape[1] > 1 or problem.start().size == 1 else "a direction"
        lines.append(f"{i:>10} {where:>18} {cells}")
    got = f"{int(failed.sum())} of {failed.size} entries of the Jacobian ({what}) that differ from the numeric ones"
    return (
        message("gradcheck", got, "agreement", "a factor, a sign or a term of the gradient is wrong")
        + "\n"
        + "\n".join(lines)
    )


def _place(problem: Problem, column: int) -> str:
    """Which element of which input a column of the Jacobian belongs to."""
    for place, leaf in zip(problem.places, problem.leaves, strict=True):
        if column < leaf.numel():
            index = [int(k) for k in np.unravel_index(column, leaf.shape)] if leaf.shape else []
            return f"{place}{index}"
        column -= leaf.numel()
    return "?"
