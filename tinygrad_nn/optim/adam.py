"""Adam and its relatives: Adam, AdamW, Adamax, NAdam, RAdam."""

from __future__ import annotations

from ..support.settings import flags
from ..tensor import Tensor
from .optimizer import Optimizer, ParamGroup, Params, State, counter, decayed, without_effect, zeros_like


def _moments(g: Tensor, state: State, group: ParamGroup) -> tuple[Tensor, Tensor]:
    """Running means of the gradient and of its square."""
    beta1, beta2 = group["betas"]
    m, v = state["exp_avg"], state["exp_avg_sq"]
    return m + (g - m) * (1 - beta1), v * beta2 + (g * g) * (1 - beta2)


def _corrected(step: Tensor, group: ParamGroup) -> tuple[Tensor, Tensor]:
    """The rate with both corrections of bias, and `eps` with that of the root."""
    beta1, beta2 = group["betas"]
    root = (1 - beta2**step).sqrt()
    return group.live("lr") * root / (1 - beta1**step), root * group["eps"]


def _decayed(p: Tensor, g: Tensor, lr: Tensor, group: ParamGroup) -> tuple[Tensor, Tensor]:
    """The parameter and the gradient, with the weight decay in one of them: past the moments, or through them."""
    if group["decoupled_weight_decay"]:
        return p * (1 - lr * group["weight_decay"]), g
    return p, decayed(p, g, group)


def _moment_state(p: Tensor) -> State:
    return {"step": counter(), "exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}


class Adam(Optimizer):
    """Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015; `amsgrad`: Reddi et al., ICLR 2018.

    Computed as at the end of section 2 there: the corrections of bias, root(1 - beta2^t) / (1 - beta1^t), are a factor
    of the rate, and `eps` is multiplied by the root, so that each element takes one root and one division.

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([1.0], requires_grad=True)
    >>> opt = tg.optim.Adam([p], lr=0.1)
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
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        without_effect("Adam", foreach=foreach, capturable=capturable, differentiable=differentiable, fused=fused)
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            decoupled_weight_decay=decoupled_weight_decay,
        )

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        """Two running means, their count, and with amsgrad the largest second one."""
        state = _moment_state(p)
        return {**state, "max_exp_avg_sq": zeros_like(p)} if group["amsgrad"] else state

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> tuple[Tensor, State]:
        """One step."""
        lr, step = group.live("lr"), state["step"] + 1
        p, g = _decayed(p, g, lr, group)
        m, v = _moments(g, state, group)
        changed = {"step": step, "exp_avg": m, "exp_avg_sq": v}
        if group["amsgrad"]:
            v = changed["max_exp_avg_sq"] = state["max_exp_avg_sq"].maximum(v)
        rate, floor = group.of_step(step, _corrected)
        return p - rate * (m / (v.sqrt() + floor)), changed


class AdamW(Adam):
    """Adam whose weight decay does not pass through the moments: Loshchilov and Hutter, ICLR 2019.

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([1.0], requires_grad=True)
    >>> opt = tg.optim.AdamW([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.899
    """

    @flags
    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        without_effect("AdamW", foreach=foreach, capturable=capturable, differentiable=differentiable, fused=fused)
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True
        )


class Adamax(Optimizer):
    """Adam with the infinity norm in place of the second moment (same paper, section 7.1).

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([1.0], requires_grad=True)
    >>> opt = tg.optim.Adamax([p], lr=0.1)
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
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        without_effect("Adamax", foreach=foreach, differentiable=differentiable, capturable=capturable)
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize)

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        """A running mean, a decaying maximum, their count."""
        return {"step": counter(), "exp_avg": zeros_like(p), "exp_inf": zeros_like(p)}

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> tuple[Tensor, State]:
        """One step."""
        beta1, beta2 = group["betas"]
        step = state["step"] + 1
        g = decayed(p, g, group)
        m = state["exp_avg"] + (g - state["exp_avg"]) * (1 - beta1)
        largest = (state["exp_inf"] * beta2).maximum(g.abs() + group["eps"])
        new = p - (group.live("lr") / (1 - beta1**step)) * (m / largest)
        return new, {"step": step, "exp_avg": m, "exp_inf": largest}


class NAdam(Optimizer):
    """Adam with Nesterov momentum: Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016.

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([1.0], requires_grad=True)
    >>> opt = tg.optim.NAdam([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.8944
    """

    untaped = True

    @flags
    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        without_effect("NAdam", foreach=foreach, capturable=capturable, differentiable=differentiable)
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
        )

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        """Adam's state and the product of the momenta so far."""
        return {**_moment_state(p), "mu_product": counter() + 1}

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> tuple[Tensor, State]:
        """One step."""
        beta1, beta2 = group["betas"]
        lr, step = group.live("lr"), state["step"] + 1
        p, g = _decayed(p, g, lr, group)
        mu = beta1 * (1 - 0.5 * 0.96 ** (step * group["momentum_decay"]))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * group["momentum_decay"]))
        product = state["mu_product"] * mu
        m, v = _moments(g, state, group)
        root = (1 - beta2**step).sqrt()
        rates = lr * root * (1 - mu) / (1 - product), lr * root * mu_next / (1 - product * mu_next)
        new = p - (rates[0] * g + rates[1] * m) / (v.sqrt() + root * group["eps"])
        return new, {"step": step, "exp_avg": m, "exp_avg_sq": v, "mu_product": product}


class RAdam(Optimizer):
    """Adam with a rectified adaptive rate: Liu et al., "On the variance of the adaptive learning rate", ICLR 2020.

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([1.0], requires_grad=True)
    >>> opt = tg.optim.RAdam([p], lr=0.1)
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
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        without_effect("RAdam", foreach=foreach, capturable=capturable, differentiable=differentiable)
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
        )

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        """As Adam's."""
        return _moment_state(p)

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> tuple[Tensor, State]:
        """One step: plain momentum until the variance of the rate is tractable (rho > 5)."""
        beta1, beta2 = group["betas"]
        lr, step = group.live("lr"), state["step"] + 1
        p, g = _decayed(p, g, lr, group)
        m, v = _moments(g, state, group)
        correction = 1 - beta2**step
        limit = 2 / (1 - beta2) - 1
        rho = limit - 2 * step * (beta2**step) / correction
        tractable = rho > 5
        safe = rho.where(tractable, limit)  # keeps the square root of the other branch real
        rectified = ((safe - 4) * (safe - 2) * limit / ((limit - 4) * (limit - 2) * safe)).sqrt()
        adaptive = (rectified * correction.sqrt()) / (v.sqrt() + group["eps"])
        rate = adaptive.where(tractable, 1.0)
        new = p - (m * (lr / (1 - beta1**step))) * rate
        return new, {"step": step, "exp_avg": m, "exp_avg_sq": v}
