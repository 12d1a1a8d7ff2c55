"""Stochastic gradient descent with momentum (Polyak 1964; Nesterov 1983, in the form of Sutskever et al., ICML 2013).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError, message
from ..support.settings import flags
from ..tensor import Tensor
from .optimizer import Optimizer, ParamGroup, Params, State, counter, decayed, without_effect, zeros_like


class SGD(Optimizer):
    """p <- p - lr * v, with v <- momentum * v + (1 - dampening) * g (v = g at the first step).

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([1.0], requires_grad=True)
    >>> opt = tg.optim.SGD([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> p.tolist()
    [0.0]
    """

    untaped = True

    @flags
    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        without_effect("SGD", foreach=foreach, differentiable=differentiable, fused=fused)
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
        )

    def check(self, values: Mapping[str, Any]) -> None:
        """As of every optimizer; and Nesterov's form has momentum, undamped."""
        super().check(values)
        if values["nesterov"] and (values["momentum"] <= 0 or values["dampening"] != 0):
            got = f"nesterov with momentum {values['momentum']} and dampening {values['dampening']}"
            raise ConfigError(message("SGD", got, "momentum above 0 and no dampening"))

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        """The velocity; with dampening also whether there was a step before."""
        if not group["momentum"]:
            return {}
        state = {"momentum_buffer": zeros_like(p)}
        return {**state, "step": counter()} if group["dampening"] else state

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> tuple[Tensor, State]:
        """One step."""
        g = decayed(p, g, group)
        momentum, dampening = group["momentum"], group["dampening"]
        changed: State = {}
        if momentum:
            velocity = momentum * state["momentum_buffer"] + (1 - dampening) * g
            if dampening:
                velocity = g.where(state["step"] == 0, velocity)
                changed["step"] = state["step"] + 1
            changed["momentum_buffer"] = velocity
            g = g + momentum * velocity if group["nesterov"] else velocity
        return p - group.live("lr", p.dtype) * g, changed
