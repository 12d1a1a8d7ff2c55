"""`torch.compile`: compiled where that can be done, and as it is where not; of a module, a module whose calls are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..compiler import compiled, jit
from ..nn import Module


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
    """A function or a module, compiled; without one, a decorator. What cannot be compiled as a whole runs as it is, and
    one RuntimeWarning says why; with `fullgraph` that is an error. The other settings are taken and mean nothing: there
    is one compiler.

    >>> import tinygrad_nn.torch as torch
    >>> @torch.compile(mode="reduce-overhead")
    ... def double(x):
    ...     return 2 * x
    >>> double(torch.ones(2))
    tensor([2., 2.])
    """
    if model is None:
        return partial(compile, fullgraph=fullgraph, disable=disable)
    if disable:
        return model
    if isinstance(model, Module):
        return OptimizedModule(model)
    return jit(model) if fullgraph else compiled(model)


class OptimizedModule(Module):
    """A module whose calls are compiled, and so are the gradients through them. In a compiled step, where most time
    goes, it is compiled with the rest.
    """

    def __init__(self, module: Module) -> None:
        super().__init__()
        self._orig_mod = module
        self._compiled: Callable[..., Any] = compiled(module)
        self._training = module.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        return self._compiled(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_orig_mod"], name)
