"""Rates scaled by the gradients seen so far: RMSprop, Adagrad, Adadelta."""

from __future__ import annotations

from ..support.settings import flags
from ..tensor import Tensor
from .optimizer import Optimizer, ParamGroup, Params, State, counter, decayed, without_effect, zeros_like


class RMSprop(Optimizer):
    """Hinton's lecture 6e of "Neural networks for machine learning" (2012); `centered`: Graves, arXiv:1308.0850.

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([1.0], requires_grad=True)
    >>> opt = tg.optim.RMSprop([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.0
    """

    untaped = True

    @flags
    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        without_effect("RMSprop", capturable=capturable, foreach=foreach, differentiable=differentiable)
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
            maximize=maximize,
        )

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        """The running mean of squares, and those that momentum and centering ask for."""
        state = {"step": counter(), "square_avg": zeros_like(p)}
        if group["momentum"]:
            state["momentum_buffer"] = zeros_like(p)
        if group["centered"]:
            state["grad_avg"] = zeros_like(p)
        return state

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> tuple[Tensor, State]:
        """One step."""
        alpha, momentum = group["alpha"], group["momentum"]
        g = decayed(p, g, group)
        square = state["square_avg"] * alpha + (g * g) * (1 - alpha)
        changed = {"step": state["step"] + 1, "square_avg": square}
        if group["centered"]:
            mean = state["grad_avg"] + (g - state["grad_avg"]) * (1 - alpha)
            changed["grad_avg"] = mean
            square = square - mean * mean
        direction = g / (square.sqrt() + group["eps"])
        if momentum:
            direction = state["momentum_buffer"] * momentum + direction
            changed["momentum_buffer"] = direction
        return p - group.live("lr", p.dtype) * direction, changed


class Adagrad(Optimizer):
    """Duchi, Hazan and Singer, "Adaptive subgradient methods", JMLR 2011.

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([1.0], requires_grad=True)
    >>> opt = tg.optim.Adagrad([p], lr=0.1)
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
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        without_effect("Adagrad", foreach=foreach, differentiable=differentiable, fused=fused)
        super().__init__(
            params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
            maximize=maximize,
        )

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        """The sum of squares so far."""
        return {"step": counter(), "sum": zeros_like(p) + group["initial_accumulator_value"]}

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> tuple[Tensor, State]:
        """One step."""
        g = decayed(p, g, group)
        total = state["sum"] + g * g
        rate = group.live("lr") / (1 + state["step"] * group["lr_decay"])
        return p - rate * (g / (total.sqrt() + group["eps"])), {"step": state["step"] + 1, "sum": total}


class Adadelta(Optimizer):
    """Zeiler, "Adadelta: an adaptive learning rate method", arXiv:1212.5701.

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([1.0], requires_grad=True)
    >>> opt = tg.optim.Adadelta([p], lr=1.0)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.9968
    """

    untaped = True

    @flags
    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
    ) -> None:
        without_effect("Adadelta", capturable=capturable, foreach=foreach, differentiable=differentiable)
        super().__init__(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize)

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        """Running means of the squares of gradients and of updates."""
        return {"step": counter(), "square_avg": zeros_like(p), "acc_delta": zeros_like(p)}

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> tuple[Tensor, State]:
        """One step."""
        rho, eps = group["rho"], group["eps"]
        g = decayed(p, g, group)
        square = state["square_avg"] * rho + (g * g) * (1 - rho)
        delta = ((state["acc_delta"] + eps) / (square + eps)).sqrt() * g
        acc = state["acc_delta"] * rho + (delta * delta) * (1 - rho)
        changed = {"step": state["step"] + 1, "square_avg": square, "acc_delta": acc}
        return p - group.live("lr", p.dtype) * delta, changed
