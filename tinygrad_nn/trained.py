"""Which parameters a function reaches by the names in its code: how `fit` knows the dtype of the model it trains.

A name is looked up where Python would: in the closures of the function and of those it calls in its own file, in its
globals, and among the attributes of the object it is a method of.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from itertools import islice
from types import ModuleType
from typing import Any, Final

from .tensor import Tensor

DEEP: Final = 8  # names from the function to a tensor: a wrapper, the function in it, a trainer, its model, a list
WIDE: Final = 2000  # values that are looked at: who holds more holds data


def parameters(function: Callable[..., Any]) -> list[Tensor]:
    """Tensors that require grad, of models, optimizers, lists and dicts or by themselves.

    >>> import tinygrad_nn as tg
    >>> w = tg.zeros(3, requires_grad=True)
    >>> parameters(lambda x: (w * x).sum())
    [tensor([0., 0., 0.], requires_grad=True)]
    """
    found: dict[int, Tensor] = {}
    seen: set[int] = set()
    level: list[Any] = [function]
    for _ in range(DEEP):
        level = [one for one in level if id(one) not in seen][:WIDE]
        seen.update(map(id, level))
        found |= {id(one): one for one in level if isinstance(one, Tensor) and one.requires_grad}
        level = list(islice((inner for one in level for inner in _inside(one)), WIDE))
    return list(found.values())


def _inside(one: Any) -> Iterator[Any]:
    """What a value leads to."""
    if isinstance(one, (Tensor, type, ModuleType)):
        return
    if hasattr(one, "named_parameters"):
        yield from (p for _, p in one.named_parameters())
    elif hasattr(one, "param_groups"):
        yield from (p for group in one.param_groups for p in group["params"])
    elif isinstance(one, functools.partial):
        yield from (one.func, *one.args, *one.keywords.values())
    elif inspect.ismethod(one):
        yield from (one.__self__, one.__func__)
    elif hasattr(one, "__wrapped__"):
        yield one.__wrapped__
    elif inspect.isfunction(one):
        named = inspect.getclosurevars(one)
        yield from named.nonlocals.values()
        yield from (value for value in named.globals.values() if _is_near(value, one))
    elif isinstance(one, dict):
        yield from one.values()
    elif isinstance(one, (list, tuple)):
        yield from one
    else:
        yield from getattr(one, "__dict__", {}).values()


def _is_near(value: Any, function: Any) -> bool:
    """Whether a global says something about this function: a helper of another file has names of its own."""
    return not inspect.isfunction(value) or value.__globals__ is function.__globals__
