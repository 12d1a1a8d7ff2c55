"""Modules that hold modules: Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from ..errors import ConfigError, DTypeError, IndexOutOfRange, UnknownName, message
from ..support.settings import is_iterable, shown, typed
from ..tensor import Tensor
from ..tensor.shape import whole
from .module import Module, attribute
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
        return list(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            chosen = list(self._modules.items())[_part(type(self).__name__, index)]
            return Sequential(dict(chosen)) if isinstance(self, Sequential) else ModuleList(one for _, one in chosen)
        return getattr(self, self._at(index))

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._at(index), _checked(type(self).__name__, module))

    def __delitem__(self, index: int | slice) -> None:
        kept = list(self)
        if isinstance(index, slice):
            del kept[_part(type(self).__name__, index)]
        else:
            del kept[_place(type(self).__name__, index, len(self))]
        self._hold(kept)

    def _hold(self, modules: Iterable[Any]) -> None:
        """Have these modules and no others, numbered anew."""
        several = [_checked(type(self).__name__, module) for module in modules]
        for name in self._names():
            delattr(self, name)
        for k, module in enumerate(several):
            setattr(self, str(k), module)

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self._append(module)
        return self

    @typed
    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        for module in list(modules):
            self._append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Put a module in front of the one at a place."""
        listed: list[Module] = list(self)
        place = max(-len(listed), min(whole(type(self).__name__, "index", index), len(listed)))  # as a list has it
        listed.insert(place, _checked(type(self).__name__, module))
        self._hold(listed)
        return self

    def pop(self, key: int | slice = -1) -> Any:
        """Take a module out and return it."""
        module = self[key]
        del self[key]
        return module

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __add__(self, modules: Iterable[Module]) -> Self:
        made = type(self)()
        return made.extend([*self, *modules])

    def __mul__(self, times: int) -> Self:
        made = type(self)()
        return made.extend(list(self) * whole(type(self).__name__, "times", times))

    __rmul__ = __mul__


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
    """A list of modules, which finds their parameters.

    >>> import tinygrad_nn as tg
    >>> layers = tg.nn.ModuleList([tg.nn.Linear(4, 4) for _ in range(3)])
    >>> len(layers), len(list(layers.parameters()))
    (3, 6)
    """

    @typed
    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)


class ModuleDict(Module):
    """A dict of modules, which finds their parameters.

    >>> import tinygrad_nn as tg
    >>> layers = tg.nn.ModuleDict({"in": tg.nn.Linear(4, 8), "out": tg.nn.Linear(8, 3)})
    >>> layers["out"](layers["in"](tg.ones(2, 4))).shape
    (2, 3)
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update({} if modules is None else modules)

    def __getitem__(self, name: str) -> Module:
        children = self._modules
        if not isinstance(name, str) or name not in children:
            known = ", ".join(map(repr, children))
            raise UnknownName(message("ModuleDict", f"the key {shown(name)}", f"one of {known}"))
        return children[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, _checked("ModuleDict", module))

    def __delitem__(self, name: str) -> None:
        self[name]
        delattr(self, name)

    def clear(self) -> None:
        """Forget all modules."""
        for name in self.keys():
            delattr(self, name)

    def pop(self, key: str) -> Module:
        """Take a module out and return it."""
        module = self[key]
        delattr(self, key)
        return module

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add the modules of another dict, or of pairs, in the place of those with their names."""
        for name, module in _pairs("ModuleDict", "modules", modules):
            self[name] = module

    def __contains__(self, name: str) -> bool:
        return isinstance(name, str) and name in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._modules)

    def keys(self) -> list[str]:
        """The names."""
        return list(self._modules)

    def values(self) -> list[Module]:
        """The modules."""
        return list(self._modules.values())

    def items(self) -> list[tuple[str, Module]]:
        """(name, module)."""
        return list(self._modules.items())


def _trained(value: Any) -> Any:
    """A tensor as a parameter; whatever else as it is."""
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


class ParameterList(Module):
    """A list of parameters. A tensor becomes one; what is no tensor is kept as it is.

    >>> import tinygrad_nn as tg
    >>> weights = tg.nn.ParameterList([tg.ones(2), tg.zeros(3)])
    >>> [weight.shape for weight in weights]
    [(2,), (3,)]
    """

    @typed
    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._count = 0
        self.extend(() if values is None else values)

    def append(self, value: Any) -> Self:
        """Add a parameter at the end."""
        setattr(self, str(self._count), _trained(value))
        self._count += 1
        return self

    @typed
    def extend(self, values: Iterable[Any]) -> Self:
        """Add parameters at the end."""
        for value in list(values):
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return (vars(self)[str(k)] for k in range(self._count))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[_part("ParameterList", index)])
        return vars(self)[str(_place("ParameterList", index, self._count) % self._count)]

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, str(_place("ParameterList", index, self._count) % self._count), _trained(value))

    def extra_repr(self) -> str:
        """The shapes."""
        return ", ".join(str(list(p.shape)) for p in self if isinstance(p, Tensor))


def _pairs(owner: str, name: str, given: Any) -> list[tuple[Any, Any]]:
    """What a mapping holds, or pairs."""
    listed = list(given.items() if hasattr(given, "keys") else given) if is_iterable(given) else [given]
    if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in listed):
        raise DTypeError(message(owner, f"{name} {shown(given)}", "a mapping, or pairs of a name and a value"))
    return [(key, value) for key, value in listed]


class ParameterDict(Module):
    """A dict of parameters. A tensor becomes one; what is no tensor is kept as it is.

    >>> import tinygrad_nn as tg
    >>> factors = ParameterDict({"a": tg.ones(2), "b": tg.zeros(3)})
    >>> list(factors), [name for name, _ in factors.named_parameters()]
    (['a', 'b'], ['a', 'b'])
    """

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        self.update({} if parameters is None else parameters)

    def _known(self, key: Any) -> str:
        if not isinstance(key, str) or key not in self._keys:
            known = ", ".join(map(repr, self._keys))
            raise UnknownName(message("ParameterDict", f"the key {shown(key)}", f"one of {known}"))
        return key

    def __getitem__(self, key: str) -> Any:
        return vars(self)[self._known(key)]

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, attribute("ParameterDict", key), _trained(value))
        self._keys[key] = None

    def __delitem__(self, key: str) -> None:
        del self._keys[self._known(key)]
        delattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._keys))

    def __or__(self, other: Any) -> ParameterDict:
        made = self.copy()
        made.update(other)
        return made

    def __ior__(self, other: Any) -> Self:
        self.update(other)
        return self

    def keys(self) -> list[str]:
        """The names."""
        return list(self._keys)

    def values(self) -> list[Any]:
        """The parameters."""
        return [vars(self)[key] for key in self._keys]

    def items(self) -> list[tuple[str, Any]]:
        """(name, parameter)."""
        return [(key, vars(self)[key]) for key in self._keys]

    def get(self, key: str, default: Any = None) -> Any:
        """A parameter, or `default`."""
        return vars(self)[key] if key in self._keys else default

    def setdefault(self, key: str, default: Any = None) -> Any:
        """A parameter, which becomes `default` if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str) -> Any:
        """Take a parameter out and return it."""
        value = self[key]
        del self[key]
        return value

    def clear(self) -> None:
        """Forget all parameters."""
        for key in self.keys():
            del self[key]

    def copy(self) -> ParameterDict:
        """Another dict with the same parameters."""
        return ParameterDict(self)

    def update(self, parameters: Any) -> None:
        """Add the parameters of another dict, or of pairs, in the place of those with their names."""
        for key, value in _pairs("ParameterDict", "parameters", parameters):
            self[key] = value

    def extra_repr(self) -> str:
        """Names and shapes."""
        return ", ".join(f"{key}: {list(p.shape)}" for key, p in self.items() if isinstance(p, Tensor))
