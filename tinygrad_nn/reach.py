"""What a function reaches: everything with a state of its own, by name.

The walk follows what Python follows: the variables a function closes over, the globals that its code names, the object
of a method, attributes, and the items of lists, tuples and dicts. It enters code and objects of the user's, not those
of installed packages. Names are the paths that lead there (`model`, `self.model`, `trainer.noise`), shortest first, so
the same program has the same names in every process.
"""

from __future__ import annotations

import dis
import functools
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import setitem
from types import CellType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, Final

import numpy as np

from .history import History
from .nn import Module
from .optim import Optimizer
from .random import Generator
from .tensor import Tensor

LARGE: Final = 10_000  # entries from which a list, a dict or an array is taken for data and not for state
Part = tuple[str, Any, Callable[[Any], None]]  # label, value, and how another value is put in its place


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the walk: where it leads, and whether what is there belongs to the state of the object before it."""

    path: str
    value: Any
    root: bool = False
    covered: bool = False


class Reached:
    """What some functions and objects reach.

    `objects` have a `state_dict()`; `tensors` are in none of those; `streams` are generators of NumPy and of Python;
    `values` are plain data, with how to replace them; `leaves` are all tensors, also those that belong to an object.
    """

    def __init__(self, roots: Mapping[str, Any]) -> None:
        self.objects: dict[str, Any] = {}
        self.tensors: dict[str, Tensor] = {}
        self.streams: dict[str, Any] = {}
        self.values: dict[str, tuple[Any, Callable[[Any], None]]] = {}
        self.places: dict[str, Callable[[str, Any], None]] = {}
        self.leaves: dict[str, Tensor] = {}
        self._seen: dict[int, Any] = {}  # holds what was met, so that no other object gets its id
        self._owned: dict[int, Any] = {}  # tensors and modules that are part of an object's state
        queue = deque(Step(name, value, root=True) for name, value in roots.items())
        later: deque[Step] = deque()  # parts of objects that say themselves what their state is
        while queue or later:
            step = (queue or later).popleft()
            if id(step.value) not in self._seen:
                self._seen[id(step.value)] = step.value
                for part in self._meet(step):
                    (later if part.covered else queue).append(part)

    def _meet(self, step: Step) -> Iterator[Step]:
        """Note one object; what it leads to."""
        path, value = step.path, step.value
        if isinstance(value, Tensor):
            _note(self.leaves, path, value)
            if id(value) not in self._owned and not step.covered:
                _note(self.tensors, path, value)
            return
        if isinstance(value, (np.random.Generator, np.random.RandomState, random.Random)):
            _note(self.streams, path, value)
            return
        stateful = _has_state(value)
        if stateful and id(value) not in self._owned:
            _note(self.objects, path, value)
            self._own(value)
        covered = stateful and not isinstance(value, (Module, Optimizer)) or step.covered and not stateful
        put = _put_in(value)
        if not covered and put is not None:
            self.places.setdefault(path, put)
        for label, part, replace in _parts(value, step.root or stateful):
            below = ".".join(filter(None, (path, label)))
            if not is_plain(part):
                yield Step(below, part, covered=covered)
            elif not covered:
                self.values.setdefault(below, (part, replace))

    def _own(self, value: Any) -> None:
        """What belongs to an object's state, and is not saved by itself."""
        if isinstance(value, Generator):
            owned: list[Any] = [value.key, value.counter]
        elif isinstance(value, Module) and type(value).state_dict is Module.state_dict:
            tensors = (*value.parameters(), *value.buffers())
            modules = [part for part in value.modules() if type(part).state_dict is Module.state_dict]
            owned = [*modules, *(one for one in tensors if getattr(one, "persistent", True))]
        else:
            owned = []
        self._owned.update((id(one), one) for one in owned)

    def holds(self) -> dict[int, Any]:
        """Every tensor that is reached, by id: leaves and their gradients, the state of optimizers and generators."""
        found = [*self.leaves.values()]
        for value in self.objects.values():
            if isinstance(value, Optimizer):
                found += [tensor for state in value.state.values() for tensor in state.values()]
                found += [tensor for group in value.param_groups for tensor in group._live.values()]
            elif isinstance(value, Generator):
                found += [value.key, value.counter]
        found += [slot.grad for leaf in found if (slot := leaf.node.slot) is not None and slot.grad is not None]
        return {id(tensor): tensor for tensor in found}


def _note(table: dict[str, Any], path: str, value: Any) -> None:
    while path in table:
        path += "'"
    table[path] = value


def _has_state(value: Any) -> bool:
    """Whether a value saves and loads its own state, in our code or the user's."""
    kind = type(value)
    if not callable(getattr(kind, "state_dict", None)) or not callable(getattr(kind, "load_state_dict", None)):
        return False
    return (kind.__module__.startswith(__package__ + ".") or _is_users(kind)) and kind is not History


def is_plain(value: Any) -> bool:
    """Whether a value is plain data: numbers, strings, None, and small arrays, lists, tuples and dicts of them."""
    stack, count = [value], 0
    while stack:
        value = stack.pop()
        count += 1
        if isinstance(value, (bool, int, float, str, type(None), np.generic)):
            continue
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject or value.size > LARGE:
                return False
        elif type(value) in (list, tuple, dict) and count + len(value) <= LARGE:
            stack += value.values() if type(value) is dict else value
            if type(value) is dict and not all(type(key) in (str, int) for key in value):
                return False
        else:
            return False
    return True


def look(value: Any) -> Any:
    """A picture of plain data that is equal exactly where the data is, NaN and the sign of zero included."""
    if isinstance(value, (np.ndarray, np.generic)):
        return type(value), value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return dict, tuple((key, look(part)) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return type(value), tuple(map(look, value))
    return repr(value)


def put_back(current: Any, value: Any, replace: Callable[[Any], None]) -> None:
    """Let plain data have another value: in place where it can change, as others may hold it too."""
    if isinstance(current, list) and isinstance(value, list):
        current[:] = value
    elif isinstance(current, dict) and isinstance(value, dict):
        current.clear()
        current.update(value)
    elif isinstance(current, np.ndarray) and isinstance(value, np.ndarray) and current.shape == value.shape:
        current[...] = value
    else:
        replace(value)


# ---- what leads where ---------------------------------------------------------------------------------------------


def _parts(value: Any, enter: bool) -> Iterator[Part]:
    """What a value leads to. Objects of other packages are not entered, unless told to."""
    for kinds, rule in _RULES:
        if isinstance(value, kinds):
            yield from rule(value)
            return
    wrapped = getattr(value, "__wrapped__", None) if not isinstance(value, type) else None
    if wrapped is not None:  # a jitted function, or one in functools.lru_cache
        yield "", wrapped, _refuse
    elif enter or _is_users(value if isinstance(value, type) else type(value)):
        yield from _attributes(value)


def _refuse(value: Any) -> None:
    """For what cannot be replaced, and never is plain data."""


def _of_function(function: FunctionType) -> Iterator[Part]:
    if _is_installed(function.__module__):
        return
    for name, value in _variables(function).items():
        yield name, value, functools.partial(_put_variable, function, name)
    for key, value in (*enumerate(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()):
        if not is_plain(value):
            yield f"default {key}", value, _refuse
    for name, module in _variables(function, modules=True).items():
        for attribute in _names(function.__code__)[1]:
            if attribute in vars(module) and not is_plain(vars(module)[attribute]):
                yield f"{name}.{attribute}", vars(module)[attribute], _refuse


def _variables(function: FunctionType, modules: bool = False) -> dict[str, Any]:
    """The variables from outside that the code of a function reads: those of modules of the user's, or all others."""
    found: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if cell != CellType():
            found[name] = cell.cell_contents
    for name in _names(function.__code__)[0]:
        if name in function.__globals__:
            found.setdefault(name, function.__globals__[name])
    if modules:
        return {k: v for k, v in found.items() if isinstance(v, ModuleType) and not _is_installed(v.__name__)}
    return {k: v for k, v in found.items() if not isinstance(v, ModuleType)}


@functools.lru_cache(maxsize=1024)
def _names(code: CodeType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Globals and attributes that code names, functions inside of it included."""
    names: dict[str, None] = {}
    attributes: dict[str, None] = {}
    stack = [code]
    while stack:
        code = stack.pop()
        for instruction in dis.get_instructions(code):
            if instruction.opname in ("LOAD_GLOBAL", "STORE_GLOBAL", "LOAD_NAME"):
                names[instruction.argval] = None
            elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                attributes[instruction.argval] = None
        stack += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return tuple(names), tuple(attributes)


def _of_method(method: MethodType) -> Iterator[Part]:
    yield "self", method.__self__, _refuse
    yield "", method.__func__, _refuse


def _of_partial(partial: functools.partial[Any]) -> Iterator[Part]:
    yield "", partial.func, _refuse
    for key, value in (*enumerate(partial.args), *partial.keywords.items()):
        if not is_plain(value):
            yield f"argument {key}", value, _refuse


def _of_items(value: Any) -> Iterator[Part]:
    if len(value) <= LARGE:
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield str(key), part, functools.partial(setitem, value, key) if not isinstance(value, tuple) else _refuse


def _of_optimizer(value: Optimizer) -> Iterator[Part]:
    yield "params", [p for group in value.param_groups for p in group["params"]], _refuse


def _of_nothing(value: Any) -> Iterator[Part]:
    return iter(())


def _attributes(value: Any) -> Iterator[Part]:
    """Attributes of an object, or of a class, and the functions of the user's among its methods."""
    kind = value if isinstance(value, type) else type(value)
    slots = [vars(base).get("__slots__", ()) for base in kind.__mro__]
    names = [name for one in slots for name in ((one,) if isinstance(one, str) else one) if not name.startswith("__")]
    own = {name: getattr(value, name) for name in names if hasattr(value, name)} if kind is not value else {}
    for name, part in {**own, **getattr(value, "__dict__", {})}.items():
        if not name.startswith("__") and not isinstance(part, FunctionType | staticmethod | classmethod | property):
            yield name, part, functools.partial(setattr, value, name)
        elif isinstance(part, FunctionType) and kind is not value:
            yield name, part, _refuse
    for base in kind.__mro__:
        if _is_users(base):
            for name, part in vars(base).items():
                function = part.__func__ if isinstance(part, (staticmethod, classmethod)) else part
                if isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
                    yield f"{base.__name__}.{name}", function, _refuse


_RULES: Final[tuple[tuple[Any, Callable[[Any], Iterator[Part]]], ...]] = (
    (FunctionType, _of_function),
    (MethodType, _of_method),
    (functools.partial, _of_partial),
    ((list, tuple, dict, deque), _of_items),
    (Optimizer, _of_optimizer),
    ((Generator, History, ModuleType, np.ndarray), _of_nothing),
    (SimpleNamespace, _attributes),
)


def _put_in(value: Any) -> Callable[[str, Any], None] | None:
    """How a named part of a value is given plain data, also where there is no such part yet."""
    if isinstance(value, FunctionType):
        return functools.partial(_put_variable, value)
    if isinstance(value, dict):
        return functools.partial(setitem, value)
    if hasattr(value, "__dict__") and not isinstance(value, (ModuleType, MethodType, functools.partial)):
        return functools.partial(setattr, value)
    return None


def _put_variable(function: FunctionType, name: str, value: Any) -> None:
    """Give another value to a variable that a function reads from outside."""
    names = function.__code__.co_freevars
    if name in names and function.__closure__ is not None:
        function.__closure__[names.index(name)].cell_contents = value
    else:
        function.__globals__[name] = value


def _is_users(kind: type) -> bool:
    return not _is_installed(kind.__module__)


@functools.lru_cache(maxsize=4096)
def _is_installed(module: str | None) -> bool:
    """Whether a module is part of Python, of an installed package, or of this one."""
    top = (module or "builtins").partition(".")[0]
    if top == "__main__":
        return False
    if top in sys.stdlib_module_names or top in (__package__, "numpy"):
        return True
    file = getattr(sys.modules.get(module or ""), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file
