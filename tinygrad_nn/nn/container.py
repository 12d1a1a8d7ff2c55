"""Modules that hold modules: Sequential, ModuleList, ModuleDict, ParameterList."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from ..errors import ConfigError, IndexOutOfRange, UnknownName, message
from ..support.settings import shown, typed
from ..tensor.shape import whole
from .module import Module
from .parameter import Parameter


def _checked(owner: str, module: Any) -> Module:
    if not isinstance(module, Module):
        hint = "pass nn.ReLU(), not nn.ReLU" if isinstance(module, type) else "wrap functions in a Module"
        raise ConfigError(message(owner, f"a {type(module).__name__}", "a Module", hint))
    return module


def _place(owner: str, index: Any, count: int) -> int:
    """A place in a list of things; raises DTypeError for what is no integer, IndexOutOfRange outside of the list."""
    found = whole(owner, "index", index)
    if not -count <= found < count:
        raise IndexOutOfRange(message(owner, f"index {found}", f"one of {count}"))
    return found


def _part(owner: str, part: slice) -> slice:
    try:
        part.indices(0)
    except (TypeError, ValueError):
        got = "the slice " + ":".join(map(shown, (part.start, part.stop, part.step)))
        raise IndexOutOfRange(message(owner, got, "integers (or nothing), and a step that is not 0")) from None
    return part


class _Indexed(Module):
    """Children named 0, 1, ..."""

    def _append(self, module: Any) -> None:
        setattr(self, str(len(self)), _checked(type(self).__name__, module))

    def _at(self, index: int) -> str:
        return self._names()[_place(type(self).__name__, index, len(self))]

    def _names(self) -> list[str]:
        return [name for name, _ in self.named_children()]

    def __len__(self) -> int:
        return sum(1 for _ in self.named_children())

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            chosen = list(self)[_part(type(self).__name__, index)]
            return Sequential(*chosen) if isinstance(self, Sequential) else ModuleList(chosen)
        return getattr(self, self._at(index))

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._at(index), _checked(type(self).__name__, module))

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self._append(module)
        return self

    @typed
    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        for module in modules:
            self._append(module)
        return self


class Sequential(_Indexed):
    """Modules one after another. Takes modules, or a dict of names to modules.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Sequential(tg.nn.Linear(4, 8), tg.nn.ReLU())
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, _checked("Sequential", module))
        else:
            self.extend(modules)

    def forward(self, input: Any) -> Any:
        """Each module on the result of the one before."""
        for module in vars(self).values():
            if isinstance(module, Module):
                input = module(input)
        return input


class ModuleList(_Indexed):
    """A list of modules, which finds their parameters."""

    @typed
    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)


class ModuleDict(Module):
    """A dict of modules, which finds their parameters."""

    @typed
    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        for name, module in (modules or {}).items():
            self[name] = module

    def __getitem__(self, name: str) -> Module:
        children = dict(self.named_children())
        if not isinstance(name, str) or name not in children:
            known = ", ".join(map(repr, children))
            raise UnknownName(message("ModuleDict", f"the key {shown(name)}", f"one of {known}"))
        return children[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, _checked("ModuleDict", module))

    def __delitem__(self, name: str) -> None:
        self[name]
        delattr(self, name)

    def __contains__(self, name: str) -> bool:
        return isinstance(name, str) and name in dict(self.named_children())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(dict(self.named_children()))

    def keys(self) -> list[str]:
        """The names."""
        return [name for name, _ in self.named_children()]

    def values(self) -> list[Module]:
        """The modules."""
        return list(self.children())

    def items(self) -> list[tuple[str, Module]]:
        """(name, module)."""
        return list(self.named_children())


class ParameterList(Module):
    """A list of parameters."""

    @typed
    def __init__(self, values: Iterable[Any] = ()) -> None:
        super().__init__()
        for value in values:
            self.append(value)

    def append(self, value: Any) -> Self:
        """Add a parameter at the end; a tensor becomes one."""
        self.register_parameter(str(len(self)), value if isinstance(value, Parameter) else Parameter(value))
        return self

    def _own(self) -> list[Parameter]:
        return [value for value in vars(self).values() if isinstance(value, Parameter)]

    def __len__(self) -> int:
        return len(self._own())

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._own())

    def __getitem__(self, index: int) -> Parameter:
        return self._own()[_place("ParameterList", index, len(self))]

    def extra_repr(self) -> str:
        """The shapes."""
        return ", ".join(str(list(p.shape)) for p in self)
