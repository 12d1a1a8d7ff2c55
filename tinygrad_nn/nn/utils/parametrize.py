"""Parameters that are functions of others: `register_parametrization(layer, "weight", Symmetric())`.

What is trained is the original, `layer.parametrizations.weight.original`; `layer.weight` is computed whenever it is
read. Keys of the state are torch's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...errors import ConfigError, ShapeError, message
from ...support.settings import shown
from ...tensor import Tensor, no_grad
from ..container import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Buffer, Parameter

_cache: dict[tuple[int, str], Tensor] | None = None


@contextmanager
def cached() -> Iterator[None]:
    """Within it each parametrized tensor is computed once.

    >>> import tinygrad_nn as tg
    >>> layer = tg.nn.Linear(3, 3)
    >>> _ = register_parametrization(layer, "weight", tg.nn.Tanh())
    >>> with cached():
    ...     same = layer.weight is layer.weight
    >>> same
    True
    """
    global _cache
    outer, _cache = _cache, {} if _cache is None else _cache
    try:
        yield
    finally:
        _cache = outer


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, the first one first, and what they start from: `original`, or `original0`,
    `original1`, ... where the first one takes several.

    >>> import tinygrad_nn as tg
    >>> layer = tg.nn.Linear(3, 3)
    >>> _ = register_parametrization(layer, "weight", tg.nn.Tanh())
    >>> layer.parametrizations["weight"]
    ParametrizationList(
      (0): Tanh()
    )
    """

    def __init__(self, modules: Sequence[Module], original: Parameter | Buffer, unsafe: bool = False) -> None:
        super().__init__(modules)
        self.unsafe = unsafe
        self.is_tensor, self.count = True, 1
        start = self._back(original)
        kind = Parameter if isinstance(original, Parameter) else Buffer
        several = start if isinstance(start, tuple) else (start,)
        self.is_tensor, self.count = not isinstance(start, tuple), len(several)
        for name, value in zip(self._originals(), several, strict=True):
            made: Any = kind(value)
            if kind is Parameter:
                made.requires_grad_(original.requires_grad)
            setattr(self, name, original if value is original else made)

    def _originals(self) -> list[str]:
        return ["original"] if self.is_tensor else [f"original{k}" for k in range(self.count)]

    def _back(self, value: Any) -> Any:
        """What gives this value."""
        with no_grad():
            for module in reversed(list(self)):
                inverse = getattr(module, "right_inverse", None)
                if inverse is not None:
                    try:
                        value = inverse(value)
                    except NotImplementedError:
                        return value
        return value

    def right_inverse(self, value: Tensor) -> None:
        """Have the tensor this value, by the right inverses of the parametrizations."""
        with no_grad():
            start = self._back(value)
            for name, one in zip(self._originals(), start if isinstance(start, tuple) else (start,), strict=True):
                getattr(self, name).copy_(one)

    def forward(self) -> Tensor:
        """The tensor."""
        first, *others = self
        value = first(*(getattr(self, name) for name in self._originals()))
        for module in others:
            value = module(value)
        return value  # type: ignore[no-any-return]


class _Parametrized:
    """A tensor of a module that is computed by its parametrizations."""

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, module: Module) -> Tensor:
        """Its value."""
        own = module.parametrizations[self.name]
        if _cache is None:
            return own()  # type: ignore[no-any-return]
        key = id(module), self.name
        if key not in _cache:
            _cache[key] = own()
        return _cache[key]

    def write(self, module: Module, value: Tensor) -> None:
        """Have it this value."""
        module.parametrizations[self.name].right_inverse(value)


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Have a parameter or buffer computed by a module from what it was; several are applied in turn.

    A method `right_inverse` of the parametrization says what it has to start from for the tensor to keep its value.
    Returns the module. Raises ShapeError where the parametrization changes shape or dtype, unless `unsafe`.

    >>> import tinygrad_nn as tg
    >>> class Symmetric(tg.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> layer = register_parametrization(tg.nn.Linear(3, 3), "weight", Symmetric())
    >>> tg.equal(layer.weight, layer.weight.T)
    True
    """
    name = "register_parametrization"
    if is_parametrized(module, tensor_name):
        own = module.parametrizations[tensor_name]
        before = getattr(module, tensor_name)
        _check(name, before, parametrization(before), unsafe)
        own.append(parametrization)
        return module
    original = vars(module).get(tensor_name)
    if not isinstance(original, (Parameter, Buffer)):
        got = f"the name {shown(tensor_name)}"
        raise ConfigError(message(name, got, f"a parameter or a buffer of this {type(module).__name__}"))
    made = ParametrizationList([parametrization], original, unsafe)
    _check(name, original, made(), unsafe)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = made
    module.compute(tensor_name, _Parametrized(tensor_name))
    return module


def _check(name: str, before: Tensor, after: Tensor, unsafe: bool) -> None:
    if not unsafe and (after.shape, after.dtype) != (before.shape, before.dtype):
        got = f"a parametrization from {before.shape}:{before.dtype} to {after.shape}:{after.dtype}"
        raise ShapeError(message(name, got, "the same shape and dtype", "unsafe=True allows others"))


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has parametrized tensors, or this one.

    >>> import tinygrad_nn as tg
    >>> layer = tg.nn.Linear(3, 3)
    >>> _ = register_parametrization(layer, "weight", tg.nn.Tanh())
    >>> is_parametrized(layer, "weight"), is_parametrized(layer, "bias")
    (True, False)
    """
    own = vars(module).get("parametrizations")
    return isinstance(own, ModuleDict) and (bool(len(own)) if tensor_name is None else tensor_name in own)


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Have a plain parameter again: with the value it has now, or with the original one. Returns the module.

    >>> import tinygrad_nn as tg
    >>> layer = tg.nn.Linear(3, 3)
    >>> _ = register_parametrization(layer, "weight", tg.nn.Tanh())
    >>> is_parametrized(remove_parametrizations(layer, "weight"))
    False
    """
    if not is_parametrized(module, tensor_name):
        got = f"the name {shown(tensor_name)}"
        raise ConfigError(message("remove_parametrizations", got, "a tensor that is parametrized"))
    own = module.parametrizations[tensor_name]
    if not leave_parametrized and not own.is_tensor:
        got = "leave_parametrized=False for a tensor made of several"
        raise ConfigError(message("remove_parametrizations", got, "leave_parametrized=True"))
    first = getattr(own, own._originals()[0])
    value = getattr(module, tensor_name).detach() if leave_parametrized else first.detach()
    needed = any(getattr(own, name).requires_grad for name in own._originals())
    del module.parametrizations[tensor_name]
    module.compute(tensor_name, None)
    made: Any = Parameter(value, needed) if isinstance(first, Parameter) else Buffer(value)
    setattr(module, tensor_name, made)
    if not len(module.parametrizations):
        del module.parametrizations
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class of a module.

    >>> import tinygrad_nn as tg
    >>> layer = tg.nn.Linear(3, 3)
    >>> _ = register_parametrization(layer, "weight", tg.nn.Tanh())
    >>> type_before_parametrizations(layer).__name__
    'Linear'
    """
    return type(module)
