"""`optim.minimize`: full-batch minimisation by SciPy's methods (L-BFGS-B, BFGS, CG, ...), with our gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np

from ..errors import ConfigError, GraphError, message
from ..support.extras import require
from ..support.settings import choice, shown, typed
from ..tensor import Tensor, enable_grad
from ..tensor.core import constant
from ..tensor.door import listed_tensors

METHODS: Final = ("L-BFGS-B", "BFGS", "CG", "Newton-CG", "TNC", "SLSQP")  # those of SciPy that take gradients alone


@typed
def minimize(fun: Callable[[], Tensor], params: Iterable[Tensor], method: str = "L-BFGS-B", **options: Any) -> Any:
    """Minimise `fun()`, a scalar loss of `params`, and leave the best parameters in them. Needs the extra `blas`
    (SciPy).

    Returns SciPy's OptimizeResult (`fun`, `nit`, `message`, ...); `options` are those of the method (maxiter, ftol,
    gtol). Raises GraphError if the loss is not a scalar, ConfigError if there is nothing to minimise.

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([3.0, -1.0], dtype=tg.float64, requires_grad=True)
    >>> result = tg.optim.minimize(lambda: ((p - 1) ** 2).sum(), [p])
    >>> [round(v, 6) for v in p.tolist()]
    [1.0, 1.0]
    """
    optimize = require("scipy.optimize", "blas")
    handles = listed_tensors("minimize", params)
    choice("minimize", "method", method, METHODS)
    if not handles:
        raise ConfigError(message("minimize", "no parameters", hint="pass model.parameters()"))

    def write(flat: Any) -> None:
        start = 0
        for p in handles:
            part = np.array(flat[start : start + p.numel()], p.dtype).reshape(p.shape)
            p.assign(Tensor.handle(constant(part)))
            start += p.numel()

    def evaluate(flat: Any) -> tuple[float, Any]:
        write(flat)
        for p in handles:
            p.grad = None
        with enable_grad():
            loss = fun()
            if not isinstance(loss, Tensor):
                raise GraphError(message("minimize", f"a function that returned {shown(loss)}", "a scalar tensor"))
            loss.backward()
        gradients = [np.zeros(p.shape) if p.grad is None else p.grad.numpy() for p in handles]
        return float(loss), np.concatenate([np.ravel(g) for g in gradients]).astype(np.float64)

    first = np.concatenate([np.ravel(p.detach().numpy()) for p in handles]).astype(np.float64)
    result = optimize.minimize(evaluate, first, jac=True, method=method, options=options)
    write(result.x)
    return result
