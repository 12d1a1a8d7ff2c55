"""Limits on gradients, in place, between backward() and step(): Pascanu, Mikolov and Bengio, ICML 2013."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import ConfigError, DTypeError, GraphError, TraceError, message
from ...support.settings import number, shown, typed, typed_as
from ...tensor import Tensor, no_grad
from ...tensor.creation import zeros
from ...tensor.door import listed_tensors


def _with_grad(name: str, parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [p for p in listed_tensors(name, parameters) if p.grad is not None]


@typed
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of the elements of all tensors together; `foreach` changes nothing. Raises GraphError for one that is
    not finite, where `error_if_nonfinite` asks for it.

    >>> import tinygrad_nn as tg
    >>> get_total_norm([tg.tensor([3.0]), tg.tensor([4.0])])
    tensor(5.)
    """
    return _total("get_total_norm", listed_tensors("get_total_norm", tensors), norm_type, error_if_nonfinite)


def _total(name: str, tensors: list[Tensor], norm_type: float, error_if_nonfinite: bool) -> Tensor:
    number(name, "norm_type", norm_type, finite=False)
    if not tensors:
        return zeros(())
    norms = [x.norm(norm_type).reshape(1) for x in tensors]
    first, *rest = norms
    total = first.cat_with(*rest, dim=0).norm(norm_type)
    if error_if_nonfinite and total.is_traced:
        got, hint = "error_if_nonfinite=True in a function that is being compiled", "return the norm and look at it"
        raise TraceError(message(name, got, "a norm that can be read", hint))
    if error_if_nonfinite and not bool(total.isfinite()):
        raise GraphError(message(name, f"a norm of {total.item()}", "a finite one", "look with tg.detect_anomaly()"))
    return total


def _scaled(parameters: list[Tensor], max_norm: float | Tensor, total: Tensor) -> None:
    factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
    for p in parameters:
        if p.grad is not None:
            p.grad = (p.grad * factor).to(p.grad.dtype)


@typed
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float | Tensor, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale all gradients by `max_norm` / `total_norm`, if that is below 1.

    >>> import tinygrad_nn as tg
    >>> p = tg.nn.Parameter(tg.tensor([3.0, 4.0]))
    >>> (p * p).sum().backward()
    >>> clip_grads_with_norm_([p], 1.0, tg.tensor(10.0))
    >>> p.grad
    tensor([0.6, 0.8])
    """
    if not isinstance(max_norm, Tensor):
        number("clip_grads_with_norm_", "max_norm", max_norm, least=0, finite=False)
    if not isinstance(total_norm, Tensor):
        raise DTypeError(message("clip_grads_with_norm_", f"total_norm {shown(total_norm)}", "a tensor"))
    with no_grad():
        _scaled(_with_grad("clip_grads_with_norm_", parameters), max_norm, total_norm)


@typed
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float | Tensor,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients so that their common norm is at most `max_norm`; returns the norm before.

    No value is read, so it works in a compiled step; only with `error_if_nonfinite`, which raises GraphError for a norm
    that is not finite, it does not. `foreach` changes nothing.

    >>> import tinygrad_nn as tg
    >>> p = tg.nn.Parameter(tg.tensor([3.0, 4.0]))
    >>> (p * p).sum().backward()
    >>> clip_grad_norm_([p], 1.0)
    tensor(10.)
    >>> p.grad
    tensor([0.6, 0.8])
    """
    if not isinstance(max_norm, Tensor):
        number("clip_grad_norm_", "max_norm", max_norm, least=0, finite=False)
    chosen = _with_grad("clip_grad_norm_", parameters)
    with no_grad():
        gradients = [p.grad for p in chosen if p.grad is not None]
        total = _total("clip_grad_norm_", gradients, norm_type, error_if_nonfinite)
        _scaled(chosen, max_norm, total)
    return total


@typed_as(ConfigError, "parameters", "clip_value")
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Limit every element of every gradient to [-clip_value, clip_value]; `foreach` changes nothing.

    >>> import tinygrad_nn as tg
    >>> p = tg.nn.Parameter(tg.tensor([3.0, 4.0]))
    >>> (p * p).sum().backward()
    >>> clip_grad_value_([p], 7.0)
    >>> p.grad
    tensor([6., 7.])
    """
    number("clip_grad_value_", "clip_value", clip_value, least=0, finite=False)
    with no_grad():
        for p in _with_grad("clip_grad_value_", parameters):
            if p.grad is not None:
                p.grad = p.grad.clamp(-clip_value, clip_value)
