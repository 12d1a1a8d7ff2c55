"""Steps that do not follow the size of the gradient: Rprop its sign, Muon its directions, Adafactor its share; and
ASGD, which averages where it has been.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np

from ..errors import ConfigError, message
from ..support.settings import choice, flags, integer
from ..tensor import Tensor
from .optimizer import Optimizer, ParamGroup, Params, State, counter, decayed, without_effect, zeros_like


class ASGD(Optimizer):
    """Averaged stochastic gradient descent: Polyak and Juditsky, "Acceleration of stochastic approximation by
    averaging", SIAM J. Control 1992. The mean of the parameters is `state[p]["ax"]`.

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([1.0], requires_grad=True)
    >>> opt = tg.optim.ASGD([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.8
    """

    untaped = True

    @flags
    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        without_effect("ASGD", foreach=foreach, differentiable=differentiable, capturable=capturable)
        super().__init__(params, lr=lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay, maximize=maximize)

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        """The rates of the step and of the mean, and the mean."""
        rate = counter() + group["lr"]
        return {"step": counter(), "eta": rate, "mu": counter() + 1, "ax": zeros_like(p)}

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> tuple[Tensor, State]:
        """One step."""
        g = decayed(p, g, group)
        step, eta, mu, lr = state["step"] + 1, state["eta"], state["mu"], group.live("lr")
        new = p * (1 - eta * group["lambd"]) - eta * g
        mean = new.where(mu == 1, state["ax"] + (new - state["ax"]) * mu)
        rate = lr / (1 + lr * group["lambd"] * step) ** group["alpha"]
        return new, {"step": step, "eta": rate, "mu": 1 / (step - group["t0"]).clamp(min=1), "ax": mean}


class Rprop(Optimizer):
    """Resilient backpropagation: Riedmiller and Braun, ICNN 1993. Every element has a step of its own, which grows
    while the sign of its gradient stays and shrinks where it changes.

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([1.0], requires_grad=True)
    >>> opt = tg.optim.Rprop([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.9
    """

    untaped = True

    @flags
    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        without_effect("Rprop", capturable=capturable, foreach=foreach, differentiable=differentiable)
        super().__init__(params, lr=lr, etas=etas, step_sizes=step_sizes, maximize=maximize)

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        """The gradient before, and the steps."""
        return {"step": counter(), "prev": zeros_like(p), "step_size": zeros_like(p) + group["lr"]}

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> tuple[Tensor, State]:
        """One step; none where the sign has changed."""
        (down, up), (least, most) = group["etas"], group["step_sizes"]
        agree = g * state["prev"]
        size = state["step_size"]
        size = (size * up).where(agree > 0, (size * down).where(agree < 0, size)).clamp(least, most)
        g = g.masked_fill(agree < 0, 0)
        return p - g.sign() * size, {"step": state["step"] + 1, "prev": g, "step_size": size}


class Adafactor(Optimizer):
    """Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", ICML 2018: of a matrix the
    second moments of rows and columns stand for those of the elements.

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([1.0], requires_grad=True)
    >>> opt = tg.optim.Adafactor([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.9
    """

    untaped = True

    @flags
    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        without_effect("Adafactor", foreach=foreach)
        if not isinstance(eps, (tuple, list)):
            raise ConfigError(message("Adafactor", f"eps {eps!r}", "two numbers, of which the first may be None"))
        super().__init__(
            params, lr=lr, beta2_decay=beta2_decay, eps=eps, d=d, weight_decay=weight_decay, maximize=maximize
        )

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        """Second moments: of rows and columns, of a vector those of its elements."""
        if p.ndim < 2:
            return {"step": counter(), "variance": zeros_like(p)}
        fresh = p.detach()
        rows, columns = (*p.shape[:-1], 1), (*p.shape[:-2], 1, p.shape[-1])
        return {"step": counter(), "row_var": fresh.new_zeros(rows), "col_var": fresh.new_zeros(columns)}

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> tuple[Tensor, State]:
        """One step, no longer than the parameters are."""
        first, second = group["eps"]
        tiny = float(np.finfo(p.dtype).eps) if first is None else first
        lr, step = group.live("lr"), state["step"] + 1
        share = step ** group["beta2_decay"]
        size = math.sqrt(max(1, p.numel()))
        alpha = ((p * p).sum().sqrt() / size).clamp(min=second) * lr.minimum(step**-0.5)
        if group["weight_decay"]:
            p = p * (1 - lr * group["weight_decay"])
        square = g * g
        changed: State = {"step": step}
        if g.ndim < 2:
            variance = changed["variance"] = state["variance"] + (square - state["variance"]) * share
        else:
            rows = state["row_var"] + (square.mean(-1, keepdim=True) - state["row_var"]) * share
            columns = state["col_var"] + (square.mean(-2, keepdim=True) - state["col_var"]) * share
            changed["row_var"], changed["col_var"] = rows, columns
            variance = rows * columns / rows.mean(-2, keepdim=True).clamp(min=tiny)
        update = variance.clamp(min=tiny * tiny).rsqrt() * g
        length = (update * update).sum().sqrt() / (size * group["d"])
        return p - (alpha / length.clamp(min=1.0)) * update, changed


NEWTON_SCHULZ: Final = (3.4445, -4.775, 2.0315)


class Muon(Optimizer):
    """Momentum whose singular values are made alike: Jordan et al., "Muon: an optimizer for hidden layers", 2024. For
    matrices alone. PyTorch iterates in bfloat16, this in the dtype of the parameter.

    >>> import tinygrad_nn as tg
    >>> p = tg.eye(2).requires_grad_()
    >>> opt = tg.optim.Muon([p], lr=0.1, weight_decay=0.0)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> bool((p.diagonal() < 1).all())
    True
    """

    untaped = True

    @flags
    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = NEWTON_SCHULZ,
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None,
    ) -> None:
        if adjust_lr_fn is not None:
            choice("Muon", "adjust_lr_fn", adjust_lr_fn, ("original", "match_rms_adamw"))
        if not isinstance(ns_coefficients, (tuple, list)) or len(ns_coefficients) != 3:
            raise ConfigError(message("Muon", f"ns_coefficients {ns_coefficients!r}", "three numbers"))
        integer("Muon", "ns_steps", ns_steps, least=0, most=99)
        super().__init__(
            params,
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            nesterov=nesterov,
            ns_coefficients=ns_coefficients,
            eps=eps,
            ns_steps=ns_steps,
            adjust_lr_fn=adjust_lr_fn,
        )

    def check(self, values: Mapping[str, Any]) -> None:
        """As of every optimizer; and parameters are matrices."""
        super().check({key: value for key, value in values.items() if key not in ("ns_coefficients", "adjust_lr_fn")})
        for p in values.get("params", ()):
            if p.ndim != 2:
                hint = "give vectors and embeddings to AdamW"
                raise ConfigError(message("Muon", f"a parameter of shape {p.shape}", "matrices", hint))

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        """The running mean of the gradient."""
        return {"momentum_buffer": zeros_like(p)}

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> tuple[Tensor, State]:
        """One step along the nearest matrix with equal singular values, nearly."""
        momentum, (rows, columns) = group["momentum"], p.shape
        mean = state["momentum_buffer"] + (g - state["momentum_buffer"]) * (1 - momentum)
        x = g + (mean - g) * momentum if group["nesterov"] else mean
        a, b, c = group["ns_coefficients"]
        x = x.transpose(0, 1) if rows > columns else x
        x = x / (x * x).sum().sqrt().clamp(min=group["eps"])
        for _ in range(group["ns_steps"]):
            gram = x @ x.transpose(0, 1)
            x = x * a + (gram * b + (gram @ gram) * c) @ x
        x = x.transpose(0, 1) if rows > columns else x
        wide = 0.2 * math.sqrt(max(rows, columns)) if group["adjust_lr_fn"] == "match_rms_adamw" else None
        factor = math.sqrt(max(1, rows / columns)) if wide is None else wide
        lr = group.live("lr", p.dtype)
        return p * (1 - lr * group["weight_decay"]) - (lr * factor) * x, {"momentum_buffer": mean}
