"""L-BFGS with a closure, as PyTorch's: Nocedal and Wright, "Numerical optimization", 2006, algorithms 7.4, 3.5 and 3.6.

All parameters are one vector here. A step is several evaluations of the closure, which may be a compiled function; the
step itself looks at numbers, so it cannot be compiled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from ..errors import ConfigError, DTypeError, GraphError, message
from ..support.settings import choice, integer, mapping, number, shown
from ..tensor import Tensor, enable_grad, no_grad
from ..tensor.arrays import array_of
from ..tensor.core import constant, forbid_tracing
from .optimizer import Optimizer, Params

ENOUGH: Final = 1e-4  # of the decrease that the slope promises (Wolfe's first condition)
FLATTER: Final = 0.9  # the slope has to become (the second)
CURVED: Final = 1e-10  # least product of a step and its change of the gradient that is remembered


class Point(NamedTuple):
    """A place on the line that is searched: how far, the loss, its gradient, its slope along the line."""

    t: float
    value: float
    gradient: Any
    slope: float


@dataclass
class Memory:
    """What a step leaves for the next one, by PyTorch's names."""

    func_evals: int = 0
    n_iter: int = 0
    d: Any = None
    t: float = 0.0
    old_dirs: list[Any] = field(default_factory=list)
    old_stps: list[Any] = field(default_factory=list)
    ro: list[float] = field(default_factory=list)
    H_diag: float = 1.0
    prev_flat_grad: Any = None
    prev_loss: float = 0.0


class LBFGS(Optimizer):
    """Up to `max_iter` quasi-Newton iterations in each step, which needs a closure that computes loss and gradients.
    `line_search_fn` is None, for steps of length lr, or "strong_wolfe".

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([3.0, -1.0], requires_grad=True)
    >>> opt = tg.optim.LBFGS([p], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     opt.zero_grad()
    ...     loss = ((p - 1) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = opt.step(closure)
    >>> [round(value, 4) for value in p.tolist()]
    [1.0, 1.0]
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        name = "LBFGS"
        most = integer(name, "max_iter", max_iter, least=1)
        if line_search_fn is not None:
            choice(name, "line_search_fn", line_search_fn, ("strong_wolfe",))
        super().__init__(
            params,
            lr=lr,
            max_iter=most,
            max_eval=most * 5 // 4 if max_eval is None else integer(name, "max_eval", max_eval, least=1),
            tolerance_grad=number(name, "tolerance_grad", tolerance_grad, least=0),
            tolerance_change=number(name, "tolerance_change", tolerance_change, least=0),
            history_size=integer(name, "history_size", history_size, least=1),
            line_search_fn=line_search_fn,
        )
        if len(self.param_groups) != 1:
            raise ConfigError(message(name, f"{len(self.param_groups)} groups of parameters", "one"))
        dtypes = sorted({p.dtype.name for p in self._params})
        if len(dtypes) > 1:
            raise DTypeError(message(name, f"parameters of dtypes {' and '.join(dtypes)}", "one dtype"))
        self._memory = Memory()

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]  # type: ignore[no-any-return]

    def _stepped(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        forbid_tracing("LBFGS", "step()", "compile the closure, and step outside")
        if not callable(closure):
            raise ConfigError(message("LBFGS", f"closure {shown(closure)}", "a function", "step(closure)"))
        with no_grad():
            return self._iterate(closure)

    def _iterate(self, closure: Callable[[], Tensor]) -> Tensor:
        group, memory = self.param_groups[0], self._memory
        lr = group["lr"]

        def evaluate() -> tuple[Tensor, float, Any]:
            with enable_grad():
                loss = closure()
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                raise GraphError(message("LBFGS", f"a closure that returned {shown(loss)}", "the loss, one number"))
            memory.func_evals += 1
            return loss, float(loss), self._gradient()

        first, value, gradient = evaluate()
        begun = memory.func_evals - 1
        if np.abs(gradient).max(initial=0) <= group["tolerance_grad"]:
            return first
        for iteration in range(group["max_iter"]):
            memory.n_iter += 1
            d = memory.d = self._direction(gradient, group["history_size"])
            memory.prev_flat_grad, memory.prev_loss = gradient, value
            t = lr * min(1.0, 1.0 / float(np.abs(gradient).sum())) if memory.n_iter == 1 else lr
            memory.t = t
            slope = float(gradient @ d)
            if slope > -group["tolerance_change"]:
                break
            before = [p.detach().clone() for p in self._params]
            if group["line_search_fn"] is None:
                self._move(before, t, d)
                if iteration + 1 < group["max_iter"]:  # the last one is not looked at
                    _, value, gradient = evaluate()
            else:

                def at(t: float, d: Any = d, before: list[Tensor] = before) -> Point:
                    self._move(before, t, d)
                    _, value, gradient = evaluate()
                    return Point(t, value, gradient, float(gradient @ d))

                most = group["max_eval"] - (memory.func_evals - begun)
                start = Point(0.0, value, gradient, slope)
                t, value, gradient, _ = strong_wolfe(at, start, t, float(np.abs(d).max()), most)
                memory.t = t
                self._move(before, t, d)
            if (
                memory.func_evals - begun >= group["max_eval"]
                or np.abs(gradient).max() <= group["tolerance_grad"]
                or np.abs(d * t).max() <= group["tolerance_change"]
                or abs(value - memory.prev_loss) < group["tolerance_change"]
            ):
                break
        return first

    def _direction(self, gradient: Any, history: int) -> Any:
        """Minus the approximate inverse Hessian times the gradient."""
        memory = self._memory
        if memory.n_iter == 1 or memory.prev_flat_grad is None:
            memory.old_dirs, memory.old_stps, memory.ro, memory.H_diag = [], [], [], 1.0
            return -gradient
        change, step = gradient - memory.prev_flat_grad, memory.d * gradient.dtype.type(memory.t)
        product = float(change @ step)
        if product > CURVED:
            for kept, new in ((memory.old_dirs, change), (memory.old_stps, step), (memory.ro, 1.0 / product)):
                del kept[: max(0, len(kept) + 1 - history)]
                kept.append(new)
            memory.H_diag = product / float(change @ change)
        pairs = list(zip(memory.old_dirs, memory.old_stps, memory.ro, strict=True))
        scalar, shares = gradient.dtype.type, []
        q = -gradient
        for y, s, r in reversed(pairs):
            shares.append(scalar(s @ q) * scalar(r))
            q = q - shares[-1] * y
        q = q * scalar(memory.H_diag)
        for y, s, r in pairs:
            q = q + s * (shares.pop() - scalar(y @ q) * scalar(r))
        return q

    def _gradient(self) -> Any:
        """Of all parameters, as one vector; 0 for one without."""
        parts = [np.zeros(p.shape, p.dtype) if p.grad is None else p.grad.detach().numpy() for p in self._params]
        return np.concatenate([np.ravel(part) for part in parts])

    def _move(self, before: list[Tensor], t: float, d: Any) -> None:
        """Put the parameters t along the direction d."""
        start = 0
        for p, own in zip(self._params, before, strict=True):
            part = d[start : start + p.numel()].reshape(p.shape)
            p.assign(Tensor.handle(constant(np.asarray(own.numpy() + p.dtype.type(t) * part))))
            start += p.numel()

    def _state_dict(self) -> dict[str, Any]:
        state = super()._state_dict()
        if self._memory.n_iter:
            tensors = {
                name: [_tensor(one) for one in value] if isinstance(value, list) else _tensor(value)
                for name, value in vars(self._memory).items()
            }
            state["state"] = {0: tensors}
        return state

    def _load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        given: Mapping[Any, Any] = mapping("LBFGS", mapping("LBFGS", state_dict, "state", "param_groups")["state"])
        memory = Memory()
        if given:
            found = mapping("LBFGS", given.get(0), *vars(memory))
            size = sum(p.numel() for p in self._params)
            for name, usual in vars(memory).items():
                value = found[name]
                loaded: Any = [_plain(one) for one in value] if isinstance(value, (list, tuple)) else _plain(value)
                for one in loaded if isinstance(loaded, list) else [loaded]:
                    if isinstance(one, np.ndarray) and one.shape != (size,):
                        raise ConfigError(message("LBFGS", f"{name} of shape {one.shape}", f"({size},)"))
                setattr(memory, name, type(usual)(loaded) if isinstance(usual, (int, float, list)) else loaded)
        super()._load_state_dict({**state_dict, "state": {}})
        self._memory = memory


def _tensor(value: Any) -> Any:
    return Tensor.handle(constant(value.copy())) if isinstance(value, np.ndarray) else value


def _plain(value: Any) -> Any:
    """A loaded vector as an array, a number as it is."""
    array = array_of("LBFGS", value)
    return array.item() if array.shape == () else array


def strong_wolfe(
    at: Callable[[float], Point], start: Point, t: float, longest: float, most: int, least: float = 1e-9
) -> Point:
    """A point at which the loss has fallen enough and is flat enough, found in at most `most` trials after the first;
    the best one that was seen where there is none. `longest` is the largest change of a parameter for t = 1.
    """
    previous, point, trials = start, at(t), 0
    bracket = [start, point]
    while trials < most:
        if _too_high(point, start) or (trials > 1 and point.value >= previous.value):
            bracket = [previous, point]
            break
        if abs(point.slope) <= -FLATTER * start.slope:
            return point
        if point.slope >= 0:
            bracket = [previous, point]
            break
        t = _cubic_minimum(previous, point, point.t + 0.01 * (point.t - previous.t), point.t * 10)
        previous, point = point, at(t)
        trials += 1
        bracket = [start, point]
    low, stuck = _lower(bracket), False
    while trials < most and abs(bracket[1].t - bracket[0].t) * longest >= least:
        left, right = sorted((bracket[0].t, bracket[1].t))
        t, margin = _cubic_minimum(bracket[0], bracket[1], left, right), 0.1 * (right - left)
        near = min(right - t, t - left) < margin
        if near and (stuck or t >= right or t <= left):
            t, near = (right - margin if abs(t - right) < abs(t - left) else left + margin), False
        stuck = near
        point = at(t)
        trials += 1
        if _too_high(point, start) or point.value >= bracket[low].value:
            bracket[1 - low] = point
            low = _lower(bracket)
            continue
        if abs(point.slope) <= -FLATTER * start.slope:
            return point
        if point.slope * (bracket[1 - low].t - bracket[low].t) >= 0:
            bracket[1 - low] = bracket[low]
        bracket[low] = point
    return bracket[low]


def _too_high(point: Point, start: Point) -> bool:
    return point.value > start.value + ENOUGH * point.t * start.slope


def _lower(bracket: list[Point]) -> int:
    return 0 if bracket[0].value <= bracket[1].value else 1


def _cubic_minimum(a: Point, b: Point, low: float, high: float) -> float:
    """Where the cubic through two points with their slopes is least, within bounds; else the middle of these."""
    a, b = (a, b) if a.t <= b.t else (b, a)
    middle = (low + high) / 2
    if a.t == b.t:
        return middle
    shift = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t)
    square = shift * shift - a.slope * b.slope
    if not square >= 0:  # NaN too
        return middle
    root = math.sqrt(square)
    below = b.slope - a.slope + 2 * root
    if below == 0:
        return middle
    return min(max(b.t - (b.t - a.t) * (b.slope + root - shift) / below, low), high)
