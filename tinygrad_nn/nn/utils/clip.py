"""Limits on gradients, in place, between backward() and step(): Pascanu, Mikolov and Bengio, ICML 2013."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import GraphError, TraceError, message
from ...support.settings import number, typed
from ...tensor import Tensor, no_grad
from ...tensor.creation import zeros
from ...tensor.door import listed_tensors


def _with_grad(name: str, parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [p for p in listed_tensors(name, parameters) if p.grad is not None]


@typed
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float | Tensor,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients so that their common norm is at most `max_norm`; returns the norm before.

    No value is read, so it works in a compiled step; only with `error_if_nonfinite`, which raises GraphError for a norm
    that is not finite, it does not.
    """
    if not isinstance(max_norm, Tensor):
        number("clip_grad_norm_", "max_norm", max_norm, least=0, finite=False)
    number("clip_grad_norm_", "norm_type", norm_type, finite=False)
    chosen = _with_grad("clip_grad_norm_", parameters)
    with no_grad():
        gradients = [p.grad for p in chosen if p.grad is not None]
        if not gradients:
            return zeros(())
        norms = [g.norm(norm_type).reshape(1) for g in gradients]
        first, *rest = norms
        total = first.cat_with(*rest, dim=0).norm(norm_type)
        if error_if_nonfinite and total.is_traced:
            got = "error_if_nonfinite=True in a function that is being compiled"
            hint = "return the norm and look at it"
            raise TraceError(message("clip_grad_norm_", got, "a norm that can be read", hint))
        if error_if_nonfinite and not bool(total.isfinite()):
            raise GraphError(
                message("clip_grad_norm_", f"a norm of {total.item()}", "a finite one", "look with tg.detect_anomaly()")
            )
        factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
        for p, g in zip(chosen, gradients, strict=True):
            p.grad = (g * factor).to(g.dtype)
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of every gradient to [-clip_value, clip_value]."""
    number("clip_grad_value_", "clip_value", clip_value, least=0, finite=False)
    with no_grad():
        for p in _with_grad("clip_grad_value_", parameters):
            if p.grad is not None:
                p.grad = p.grad.clamp(-clip_value, clip_value)
