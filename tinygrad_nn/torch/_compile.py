"""`torch.compile`: `tg.jit` for functions, and a module whose calls are compiled for modules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..compiler import jit
from ..nn import Module
from ..tensor.core import mode as state


def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: Any = None,
    disable: bool = False,
) -> Any:
    """A function or a module, compiled; without one, a decorator. The settings are taken and mean nothing: there is
    one compiler, and what it cannot compile as a whole is an error.

    >>> import tinygrad_nn.torch as torch
    >>> @torch.compile(mode="reduce-overhead")
    ... def double(x):
    ...     return 2 * x
    >>> double(torch.ones(2))
    tensor([2., 2.])
    """
    if model is None:
        return partial(compile, disable=disable)
    if disable:
        return model
    return OptimizedModule(model) if isinstance(model, Module) else jit(model)


class OptimizedModule(Module):
    """A module whose calls are compiled where nobody asks for gradients through them. In a compiled step, where most
    time goes, it is compiled with the rest; alone, with gradients on, it runs eagerly.
    """

    def __init__(self, module: Module) -> None:
        super().__init__()
        self._orig_mod = module
        self._compiled: Callable[..., Any] = jit(lambda *args, **kwargs: module(*args, **kwargs))
        self._training = module.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        run = self._orig_mod if state.grad else self._compiled
        return run(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_orig_mod"], name)
