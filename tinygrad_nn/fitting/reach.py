"""What a function reaches: everything with a state of its own, by name.

The walk follows what Python follows: the variables a function closes over, the globals that its code names, the object
of a method, attributes, and the items of lists, tuples and dicts. It enters code and objects of the user's, not those
of installed packages. Names are the paths that lead there (`model`, `self.model`, `trainer.noise`), shortest first, so
the same program has the same names in every process.
"""

from __future__ import annotations

import dis
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from operator import setitem
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple

import numpy as np

from ..history import History
from ..nn import Buffer, Module, Parameter
from ..optim import Optimizer
from ..random import Generator
from ..tensor import Tensor

_PACKAGE: Final = __name__.partition(".")[0]
_PLAIN: Final = frozenset((bool, int, float, str, type(None)))
LARGE: Final = 10_000  # entries from which a list, a tuple or a dict is taken for data and not for state
Put = Callable[[Any], None]
Part = tuple[str, Any, Put]  # label, value, and how another value is put in its place


class Step(NamedTuple):
    """A step of the walk: where it leads, and whether what is there belongs to the state of the object before it."""

    path: str
    value: Any
    root: bool = False
    covered: bool = False


class Reached:
    """What `roots` reach, all by name, and what is `named` by the user.

    `objects` have a `state_dict()`. `tensors` are trained, and in none of those. `values` are plain data, tensors that
    nobody trains among them, each with how to replace it; `built` are those that a module is made with, and `places`
    the owners that can be given more. `streams` are generators of NumPy and of Python. `leaves` are all trained
    tensors, also those that belong to an object, and `modules` all modules.
    """

    def __init__(self, roots: Mapping[str, Any], named: Mapping[str, Any]) -> None:
        self.named = named
        self.objects: dict[str, Any] = {}
        self.tensors: dict[str, Tensor] = {}
        self.values: dict[str, tuple[Any, Put]] = {k: (v, _refuse) for k, v in named.items() if is_plain(v)}
        self.built: set[str] = set()
        self.places: dict[str, Callable[[str, Any], None]] = {}
        self.streams: dict[str, Any] = {}
        self.leaves: dict[str, Tensor] = {}
        self.modules: dict[str, Module] = {}
        self._seen: dict[int, Any] = {}  # holds what was met, so that no other object gets its id
        self._owned: dict[int, Any] = {}  # tensors and modules that are part of an object's state
        later: deque[Step] = deque()  # parts of objects that say themselves what their state is
        for name, value in {**named, **roots}.items():
            self._walk(deque([Step(name, value, root=True)]), later)
        self._walk(later, later)

    def _walk(self, queue: deque[Step], later: deque[Step]) -> None:
        while queue:
            step = queue.popleft()
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
        if isinstance(value, Module):
            _note(self.modules, path, value)
        stateful = _has_state(value)
        if stateful and id(value) not in self._owned:
            _note(self.objects, path, value)
            self._own(value)
        covered = (stateful and not isinstance(value, (Module, Optimizer))) or (step.covered and not stateful)
        put = None if covered else _put_in(value)
        if put is not None:
            self.places.setdefault(path, put)
        for label, part, replace in _parts(value, step.root or stateful):
            below = ".".join(filter(None, (path, label)))
            if not is_plain(part):
                yield Step(below, part, covered=covered)
            elif not covered:
                self.values.setdefault(below, (part, replace))
                if isinstance(value, Module):
                    self.built.add(below)

    def _own(self, value: Any) -> None:
        """What belongs to an object's state, and is not saved by itself."""
        owned: list[Any] = []
        if isinstance(value, Generator):
            owned = [value.key, value.counter]
        elif isinstance(value, Module) and type(value).state_dict is Module.state_dict:
            for part in value.modules():
                owned += [part] if type(part).state_dict is Module.state_dict else []
                tensors = [one for one in vars(part).values() if isinstance(one, (Parameter, Buffer))]
                owned += [one for one in tensors if getattr(one, "persistent", True)]
        self._owned.update((id(one), one) for one in owned)

    def tensor(self, name: str) -> Tensor | None:
        """The tensor of this name, trained or not."""
        found = self.leaves.get(name, self.values.get(name, (None,))[0])
        return found if isinstance(found, Tensor) else None

    def holds(self) -> set[int]:
        """The ids of all tensors that are reached, with gradients and the state of optimizers and generators."""
        found = [*self.leaves.values(), *(one for value, _ in self.values.values() for one in tensors_in(value))]
        for value in self.objects.values():
            if isinstance(value, Optimizer):
                found += [tensor for state in value.state.values() for tensor in state.values()]
                found += [tensor for group in value.param_groups for tensor in group._live.values()]
            elif isinstance(value, Generator):
                found += [value.key, value.counter]
        found += [slot.grad for leaf in found if (slot := leaf.node.slot) is not None and slot.grad is not None]
        return {id(tensor) for tensor in found}


def _note(table: dict[str, Any], path: str, value: Any) -> None:
    while path in table:
        path += "'"
    table[path] = value


def _has_state(value: Any) -> bool:
    """Whether a value saves and loads its own state: of a class of ours, one that inherits from such, or the user's."""
    kind = type(value)
    if not callable(getattr(kind, "state_dict", None)) or not callable(getattr(kind, "load_state_dict", None)):
        return False
    return (_is_of_ours(kind) or _is_users(kind)) and not isinstance(value, History)  # type: ignore[arg-type]


@lru_cache(maxsize=256)
def _is_of_ours(kind: type) -> bool:
    return any(base.__module__.startswith(f"{_PACKAGE}.") for base in kind.__mro__)


# ---- plain data ---------------------------------------------------------------------------------------------------


def is_plain(value: Any) -> bool:
    """Whether a value is plain data: numbers, strings, None, arrays, tensors that nobody trains, and lists, tuples and
    dicts of them that are not large.
    """
    if type(value) in _PLAIN:
        return True
    stack, count = [value], 0
    while stack:
        value = stack.pop()
        count += 1
        if isinstance(value, Tensor):
            if value.requires_grad or isinstance(value, (Parameter, Buffer)):
                return False
        elif type(value) in (list, tuple, dict):
            if count + len(stack) + len(value) > LARGE:
                return False
            if type(value) is dict and not all(type(key) in (str, int) for key in value):
                return False
            stack += value.values() if type(value) is dict else value
        elif not isinstance(value, (bool, int, float, str, type(None), np.generic, np.ndarray)):
            return False
    return True


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors of plain data."""
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple, dict)):
            stack += value.values() if isinstance(value, dict) else value


def put_back(current: Any, value: Any, replace: Put) -> None:
    """Let plain data have another value: in place where it can change, as others may hold it too."""
    if same_type(current, value):
        current.assign(value)
    elif isinstance(current, np.ndarray) and isinstance(value, np.ndarray) and current.shape == value.shape:
        current[...] = value
    elif isinstance(current, dict) and isinstance(value, dict):
        for key in [key for key in current if key not in value]:
            del current[key]
        for key, part in value.items():
            put_back(current.get(key), part, partial(setitem, current, key))
    elif isinstance(current, list) and isinstance(value, list):
        del current[len(value) :]
        current += value[len(current) :]
        for k, part in enumerate(value):
            put_back(current[k], part, partial(setitem, current, k))
    else:
        replace(value)


def same_type(one: Any, other: Any) -> bool:
    """Whether both are tensors of the same shape and dtype."""
    both = isinstance(one, Tensor) and isinstance(other, Tensor)
    return both and (one.shape, one.dtype) == (other.shape, other.dtype)


# ---- what leads where ---------------------------------------------------------------------------------------------


def _parts(value: Any, enter: bool) -> Iterator[Part]:
    """What a value leads to. Objects of other packages are not entered, unless told to."""
    for kinds, rule in _RULES:
        if isinstance(value, kinds):
            yield from rule(value)
            return
    wrapped = getattr(value, "__wrapped__", None) if not isinstance(value, type) else None
    if wrapped is not None:  # a jitted function, or one behind functools.lru_cache
        yield "", wrapped, _refuse
    elif enter or _is_users(value if isinstance(value, type) else type(value)):
        yield from _attributes(value)


def _refuse(value: Any) -> None:
    """For what cannot be replaced: a tuple's items, a function's defaults."""


def _of_function(function: FunctionType) -> Iterator[Part]:
    if _is_installed(function.__module__):
        return
    for name, value in variables(function).items():
        if not isinstance(value, ModuleType):
            yield name, value, partial(_put_variable, function, name)
        elif not _is_installed(value.__name__):
            for attribute in _names(function.__code__)[1]:
                if attribute in vars(value):
                    yield f"{name}.{attribute}", vars(value)[attribute], partial(setattr, value, attribute)
    yield "attributes", vars(function), _refuse
    for key, value in (*enumerate(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()):
        yield f"default {key}", value, _refuse


def variables(function: FunctionType) -> dict[str, Any]:
    """The variables from outside that the code of a function reads."""
    found: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if cell != CellType():
            found[name] = cell.cell_contents
    for name in _names(function.__code__)[0]:
        if name in function.__globals__:
            found.setdefault(name, function.__globals__[name])
    return found


@lru_cache(maxsize=1024)
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


def _of_partial(bound: partial[Any]) -> Iterator[Part]:
    yield "", bound.func, _refuse
    for key, value in (*enumerate(bound.args), *bound.keywords.items()):
        yield f"argument {key}", value, _refuse


def _of_items(value: Any) -> Iterator[Part]:
    if len(value) <= LARGE:
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield str(key), part, _refuse if isinstance(value, tuple) else partial(setitem, value, key)


def _of_optimizer(value: Optimizer) -> Iterator[Part]:
    for k, p in enumerate(p for group in value.param_groups for p in group["params"]):
        yield f"params.{k}", p, _refuse


def _of_nothing(value: Any) -> Iterator[Part]:
    return iter(())


def _attributes(value: Any) -> Iterator[Part]:
    """Attributes of an object, or of a class, and the functions of the user's among its methods."""
    is_class = isinstance(value, type)
    bases = value.__mro__ if is_class else type(value).__mro__
    slots = () if is_class else _slots(type(value))  # type: ignore[arg-type]
    found = {name: getattr(value, name, None) for name in slots}
    found |= getattr(value, "__dict__", {})
    for name, part in found.items():
        if not name.startswith("__") and not (is_class and isinstance(part, (FunctionType, staticmethod, classmethod))):
            yield name, part, partial(setattr, value, name)
    for base in bases:
        for name, part in vars(base).items() if _is_users(base) else ():
            function = part.__func__ if isinstance(part, (staticmethod, classmethod)) else part
            if isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
                yield f"{base.__name__}.{name}", function, _refuse


@lru_cache(maxsize=256)
def _slots(kind: type) -> tuple[str, ...]:
    """The names of all slots of a class."""
    own = [vars(base).get("__slots__", ()) for base in kind.__mro__]
    return tuple(name for slots in own for name in ((slots,) if isinstance(slots, str) else slots))


_RULES: Final[tuple[tuple[Any, Callable[[Any], Iterator[Part]]], ...]] = (
    (FunctionType, _of_function),
    (MethodType, _of_method),
    (partial, _of_partial),
    ((list, tuple, dict, deque), _of_items),
    (Optimizer, _of_optimizer),
    ((Generator, History, ModuleType, Tensor), _of_nothing),
)


def _put_in(value: Any) -> Callable[[str, Any], None] | None:
    """How a named part of a value is given plain data, also where there is no such part yet."""
    if isinstance(value, FunctionType):
        return partial(_put_variable, value)
    if isinstance(value, dict):
        return partial(setitem, value)
    if hasattr(value, "__dict__") and not isinstance(value, (ModuleType, MethodType, partial)):
        return partial(setattr, value)
    return None


def _put_variable(function: FunctionType, name: str, value: Any) -> None:
    """Give another value to a variable that a function reads from outside. Raises KeyError if there is none."""
    names = function.__code__.co_freevars
    if name in names and function.__closure__ is not None:
        function.__closure__[names.index(name)].cell_contents = value
    elif name in _names(function.__code__)[0]:
        function.__globals__[name] = value
    else:
        raise KeyError(name)


def _is_users(kind: type) -> bool:
    return not _is_installed(kind.__module__)


@lru_cache(maxsize=4096)
def _is_installed(module: str | None) -> bool:
    """Whether a module is part of Python, of an installed package, or of this one."""
    top = (module or "builtins").partition(".")[0]
    if top == "__main__":
        return False
    if top in sys.stdlib_module_names or top in (_PACKAGE, "numpy"):
        return True
    file = getattr(sys.modules.get(module or ""), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file
