"""`torch.autograd.functional`: derivatives of a function at its inputs, a tensor or a tuple of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import transforms
from ...tensor import Tensor

Function = Callable[..., Any]


def _each(inputs: Any, derivative: Callable[..., Any], create_graph: bool) -> Any:
    """A derivative for each of the inputs, in their structure."""
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    found = [derivative(k, *args) for k in range(len(args))]
    found = found if create_graph else [one.detach() if isinstance(one, Tensor) else one for one in found]
    return found[0] if isinstance(inputs, Tensor) else tuple(found)


def jacobian(func: Function, inputs: Any, create_graph: bool = False, strict: bool = False, **settings: Any) -> Any:
    """d output / d input, of the shape of the output and that of the input."""
    return _each(inputs, lambda k, *args: transforms.jacobian(func, k)(*args), create_graph)


def hessian(func: Function, inputs: Any, create_graph: bool = False, strict: bool = False, **settings: Any) -> Any:
    """The second derivatives of a scalar function."""

    def row(k: int, *args: Any) -> Any:
        return jacobian(transforms.grad(func, k), inputs, create_graph)

    return _each(inputs, row, create_graph)


def _tuple(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, Tensor) else tuple(value)


def vjp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(outputs, v @ Jacobian); without `v`, 1."""
    outputs, pull = transforms.vjp(func, *_tuple(inputs))
    found = pull(outputs.new_ones(outputs.shape) if v is None else v)
    return outputs, found[0] if isinstance(inputs, Tensor) else found


def jvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(outputs, Jacobian @ v); without `v`, 1."""
    args = _tuple(inputs)
    return transforms.jvp(func, args, [one.new_ones(one.shape) for one in args] if v is None else _tuple(v))


def hvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(value, Hessian @ v) of a scalar function, without the Hessian."""
    args = _tuple(inputs)
    both = transforms.value_and_grad(func, tuple(range(len(args))))
    (value, _), (_, product) = transforms.jvp(both, args, [one * 0 + 1 for one in args] if v is None else _tuple(v))
    return value, product[0] if isinstance(inputs, Tensor) else product


vhp = hvp
