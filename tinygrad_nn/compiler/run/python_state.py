"""What a function reaches of Python's own state: variables, attributes, and the items of lists and dicts.

A trace runs the function once, with symbols. What it changes there would be changed once, and what it read is frozen.
So who promises that a compiled function does as the function itself takes a `Snapshot` before the trace: afterwards it
knows what was changed, can put it back, and can tell at later calls whether something else is bound to a name by now.

The walk follows what Python follows (closures, globals that code names, the object of a method, attributes, items),
into the user's code and objects, and not into those of this package and of installed ones.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from dis import get_instructions
from functools import partial
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import numpy as np

from ...tensor import Tensor
from ...tensor.tensor import View

_PACKAGE: Final = __name__.partition(".")[0]
_PLAIN: Final = (bool, int, float, str, type(None))
_DATA: Final = (*_PLAIN, bytes, range, Tensor, np.ndarray, np.generic)
_LEAVES: Final = (*_DATA, type, ModuleType, BuiltinFunctionType, CodeType)
FEW: Final = 64  # items of a list or dict from which it is taken for data, and not followed
ALL: Final = 2000  # objects that are looked at
_MISSING: Final = object()


class Place:
    """Something that holds values by name or number, with what it held. What is `guarded` says itself to compiled code
    when something else is put there.
    """

    guarded = False

    def __init__(self, path: str, holder: Any, keys: tuple[Any, ...] | None = None, dotted: bool = True) -> None:
        self.path, self.holder, self.keys, self.dotted = path, holder, keys, dotted
        self.known = frozenset(holder) if keys is not None else frozenset()
        self.before = self.now()

    def now(self) -> Any:
        """What is held."""
        if isinstance(self.holder, CellType):
            return {"": _content(self.holder)}
        if isinstance(self.holder, dict):
            wanted = tuple(self.holder) if self.keys is None else (*self.keys, *self._added())
            return {key: self.holder.get(key, _MISSING) for key in wanted}
        return list(self.holder)

    def _added(self) -> Iterator[Any]:
        """New attributes. New globals are another matter: those that code stores are among its names."""
        return (key for key in self.holder if key not in self.known) if self.path else iter(())

    def changes(self) -> Iterator[tuple[str, Any, Any]]:
        """(path, value before, value now) of all that is another value."""
        now = self.now()
        if isinstance(now, list):
            if len(now) != len(self.before) or not all(map(_same, now, self.before)):
                yield self.path, self.before, now
            return
        for key in dict.fromkeys((*self.before, *now)):
            was, value = self.before.get(key, _MISSING), now.get(key, _MISSING)
            if not _same(was, value):
                yield self._name(key), was, value

    def _name(self, key: Any) -> str:
        if key == "" or not self.path:
            return self.path or str(key)
        return f"{self.path}.{key}" if self.dotted else f"{self.path}[{key!r}]"

    def restore(self) -> None:
        """Put back what was held."""
        if not any(True for _ in self.changes()):
            return
        holder = self.holder
        if isinstance(holder, CellType):
            holder.cell_contents = self.before[""]
        elif isinstance(holder, dict):
            for key in self.now():
                if self.before.get(key, _MISSING) is _MISSING:
                    holder.pop(key, None)
            holder.update({key: value for key, value in self.before.items() if value is not _MISSING})
        elif isinstance(holder, set):
            holder.clear()
            holder.update(self.before)
        else:
            holder.clear()
            holder.extend(self.before)


class Snapshot:
    """All that a function reaches, as it is now."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.places: list[Place] = []
        self.consumed = ""  # the path of an iterator, of which nobody can say where it stands
        self.left: list[tuple[dict[str, Any], str, Any]] = []
        self._seen: set[int] = set()
        self._names: set[str] = set()  # in all of the code
        self._objects: list[tuple[str, Any]] = []  # whose attributes of such names are used
        self._used: set[tuple[int, str]] = set()
        own = "" if isinstance(function, (FunctionType, MethodType, partial)) else type(function).__name__
        self._stack: list[tuple[str, Any]] = [(own, function)]
        while (self._stack or self._use_names()) and len(self._seen) < ALL:
            path, value = self._stack.pop(0)
            if id(value) not in self._seen and not isinstance(value, _LEAVES):
                self._seen.add(id(value))
                self._visit(path, value)
        for path, value in self._objects:
            held = vars(value)
            self._hold(path, held, tuple(key for key in held if key in self._names))
        self._random = random.getstate()
        self._numpy: Any = np.random.get_state()

    def _visit(self, path: str, value: Any) -> None:
        if isinstance(value, FunctionType):
            if (value.__module__ or "").partition(".")[0] != _PACKAGE:
                self._code(value)
        elif isinstance(value, MethodType):
            self._stack += [(path, value.__func__), ("self", value.__self__)]
        elif isinstance(value, partial):
            self._stack += [(path, value.func), *((path, arg) for arg in (*value.args, *value.keywords.values()))]
        elif isinstance(value, (list, deque, set)):
            self._hold(path, value)
            if len(value) <= FEW:
                self._stack += [(f"{path}[{k}]", item) for k, item in enumerate(value)]
        elif isinstance(value, dict):
            self._hold(path, value, dotted=False)
            if len(value) <= FEW:
                self._stack += [(f"{path}[{key!r}]", item) for key, item in value.items()]
        elif isinstance(value, tuple):
            self._stack += [(f"{path}[{k}]", item) for k, item in enumerate(value[:FEW])]
        elif hasattr(value, "__next__") and not hasattr(value, "fileno"):
            self.consumed = self.consumed or path
        elif hasattr(value, "function") and type(value).__module__.startswith(_PACKAGE):
            self._stack.append((path, value.function))
        else:
            self._object(path, value)

    def _hold(self, path: str, holder: Any, keys: tuple[Any, ...] | None = None, dotted: bool = True) -> None:
        self.places.append(Place(path, holder, keys, dotted))

    def _code(self, function: FunctionType) -> None:
        """What a function closes over, and the globals it names."""
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._hold(name, cell)
            self._stack.append((name, _content(cell)))
        names = tuple(dict.fromkeys(_names(function.__code__)))
        self._names.update(names)
        known = tuple(name for name in dict.fromkeys(_globals(function.__code__)) if name in function.__globals__)
        if known:
            self._hold("", function.__globals__, known)
            self._stack += [(name, function.__globals__[name]) for name in known]

    def _object(self, path: str, value: Any) -> None:
        """The attributes of an object that code names, if it is the user's own; those of a module, and all below it."""
        held = getattr(value, "__dict__", None)
        if not isinstance(held, dict):
            return
        home = type(value).__module__.partition(".")[0]
        if callable(getattr(type(value), "note_structure", None)):
            self._hold(path, held, tuple(key for key in held if key != "_training"))
            self.places[-1].guarded = True
            self._stack += [(f"{path}.{key}" if path else key, item) for key, item in held.items()]
            if home != _PACKAGE:
                self._use(path, value, "forward")
        elif home != _PACKAGE:  # optimizers, schedules and generators look after themselves
            self._objects.append((path, value))
            if callable(value):
                self._use(path, value, "__call__")

    def _use(self, path: str, value: Any, name: str) -> None:
        """An attribute, or a method."""
        if (id(value), name) not in self._used:
            self._used.add((id(value), name))
            held = vars(value)
            found = held[name] if name in held else getattr(type(value), name, None)
            if name in held or isinstance(found, FunctionType):
                self._stack.append((f"{path}.{name}" if path else name, found))

    def _use_names(self) -> bool:
        """Go on with the attributes that code names; whether there are more of them."""
        for path, value in self._objects:
            for name in self._names:
                self._use(path, value, name)
        return bool(self._stack)

    def leave(self, tracer: Any) -> None:
        """When a trace is over: tensors that it put into attributes are put there after every call, unless it read
        those that were there. Such attributes are `left`.
        """
        read = {id(handle) for handle, *_ in tracer.captures.values()}
        for place in self.places:
            held = place.holder
            if not isinstance(held, dict) or not place.path or not place.dotted:
                continue
            for key, value in place.now().items():
                was = place.before.get(key, _MISSING)
                root = was._base if type(was) is View else was
                fresh = value is not was and type(value) in (Tensor, View) and value.is_traced
                if fresh and read.isdisjoint((id(root), id(value))):
                    tracer.defer(held.__setitem__, (key, value))
                    self.left.append((held, key, was))

    def changes(self) -> list[tuple[str, Any, Any]]:
        """What has another value now: (path, before, now)."""
        for held, key, was in self.left:
            if was is _MISSING:
                held.pop(key, None)
            else:
                held[key] = was
        found = [change for place in self.places for change in place.changes()]
        if random.getstate() != self._random:
            found.append(("random", None, None))
        state: Any = np.random.get_state()
        if state[2] != self._numpy[2] or not np.array_equal(state[1], self._numpy[1]):
            found.append(("numpy.random", None, None))
        return found

    def restore(self) -> None:
        """Put back all that was changed."""
        for place in self.places:
            place.restore()
        random.setstate(self._random)
        np.random.set_state(self._numpy)


class Watch:
    """Values bound to the names that a function uses: whether they are those of a snapshot still."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.places = [place for place in snapshot.places if not place.guarded and not _is_data(place)]
        self.kinds: list[tuple[dict[str, Any], str, type]] = []
        self.cells = [place.holder for place in self.places if isinstance(place.holder, CellType)]
        self.contents = [place.before[""] for place in self.places if isinstance(place.holder, CellType)]
        self.dicts = [
            (place.holder, tuple(place.before), list(place.before.values()))
            for place in self.places
            if isinstance(place.holder, dict)
        ]
        self.lists = [(place.holder, place.before) for place in self.places if isinstance(place.holder, (list, deque))]

    def loosen(self, left: list[tuple[dict[str, Any], str, Any]]) -> None:
        """Attributes that every call writes count by what kind of thing they are."""
        for held, key, was in left:
            self.kinds.append((held, key, type(was)))
            self.dicts = [
                (one, tuple(name for name in names if one is not held or name != key), values)
                for one, names, values in self.dicts
            ]
        self.dicts = [(one, names, [one.get(name, _MISSING) for name in names]) for one, names, _ in self.dicts]

    def holds(self) -> bool:
        """Whether all is as it was. Called before every call: lists that hold the same objects are equal at once."""
        try:
            return (
                [cell.cell_contents for cell in self.cells] == self.contents
                and all([held[key] for key in keys] == values for held, keys, values in self.dicts)
                and all(list(held) == values for held, values in self.lists)
                and all(type(held.get(key, _MISSING)) is kind for held, key, kind in self.kinds)
            )
        except Exception:  # of tensors or arrays that are compared because they are others, of a name that is gone
            return not any(True for place in self.places for _ in place.changes())

    def changes(self) -> list[tuple[str, Any, Any]]:
        """What is not as it was."""
        return [change for place in self.places for change in place.changes()]


def _is_data(place: Place) -> bool:
    """Whether a list or dict is so long that it is data, which a function is not compiled for."""
    return isinstance(place.holder, set) or (place.keys is None and len(place.before) > FEW)


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty yet
        return _MISSING


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, _PLAIN) and bool(a == b or a != a))


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Code, with that of the functions defined in it."""
    waiting = [code]
    while waiting:
        code = waiting.pop()
        yield code
        waiting += [const for const in code.co_consts if isinstance(const, CodeType)]


def _names(code: CodeType) -> Iterator[str]:
    """The names that code uses: of globals and of attributes."""
    return (name for one in _codes(code) for name in one.co_names)


def _globals(code: CodeType) -> Iterator[str]:
    """Those that are of globals: `optimizer.step` is none of them."""
    return (
        instruction.argval
        for one in _codes(code)
        for instruction in get_instructions(one)
        if instruction.opname.endswith(("_GLOBAL", "_NAME"))
    )
