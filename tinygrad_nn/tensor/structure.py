"""What compiled code was made for besides values: which objects hold which, hooks, hyperparameters.

Who replaces one of them says so with `replaced()`; compiled code finds at its next call that `STRUCTURE` has another
node, as it finds that a tensor has, and asks its guards. So a call pays nothing for what does not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, Final, Protocol, TypeVar

from .context import mode

E = TypeVar("E")
K = TypeVar("K")
V = TypeVar("V")
G = TypeVar("G", bound="Guard")


class Structure:
    """Stands among the tensors of compiled code."""

    __slots__ = ("node",)

    def __init__(self) -> None:
        self.node = object()


STRUCTURE: Final = Structure()


def replaced() -> None:
    """Something that is no value is another one now: an attribute, an entry of a state, a hook, a hyperparameter."""
    STRUCTURE.node = object()


class Handle:
    """What registering a hook returns: `remove()`, a call or the end of a `with` takes the hook away again."""

    __slots__ = ("_take",)

    def __init__(self, take: Callable[[], None]) -> None:
        self._take = take

    def remove(self) -> None:
        """Take the hook away; once is enough."""
        self._take()

    __call__ = remove

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


class Guard(Protocol):
    """What was found while a function was traced."""

    def settle(self) -> None:
        """The trace is over: from now on it is to stay."""

    def holds(self) -> bool:
        """Whether it is as it was."""

    def forget(self) -> None:
        """Nothing came of what was traced: let what was made for it go."""


def note(owner: Any, make: Callable[[Any], G]) -> G | None:
    """A function that is traced makes use of this object, and how it is built is part of what is frozen: the guard
    of it, if there is a trace.
    """
    tell = getattr(mode.recorder, "note", None)
    return None if tell is None else tell(owner, make)


def begun(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """State, by name, that begins when it is first needed: to a function that is traced it comes from outside."""
    begin = getattr(mode.recorder, "begin_state", None)
    return make() if begin is None else begin(make)


def equate(numbers: Sequence[Any]) -> None:
    """Tensors of one number that change alike from here on: to a function that is traced, equal ones may be one."""
    tell = getattr(mode.recorder, "equate", None)
    if tell is not None:
        tell(numbers)


def same_object(now: Any, then: Any) -> bool:
    """Whether an attribute has its value still: the same object, or a number or text that is equal."""
    return now is then or (type(now) is type(then) and isinstance(then, (int, float, str, tuple)) and _equal(now, then))


def _equal(now: Any, then: Any) -> bool:
    if isinstance(then, tuple):
        return len(now) == len(then) and all(map(same_object, now, then))
    return bool(now == then)


class Attributes:
    """The attributes of an object. Those that the function itself changes are none of the guard's business."""

    def __init__(self, owner: Any, ignored: Iterable[str] = ()) -> None:
        self.owner, self.ignored = owner, frozenset(ignored)
        self.before = self._now()
        self.after = self.before

    def settle(self) -> None:
        """Compare from now on."""
        self.after = self._now()
        missing = object()
        changed = {k for k, v in self.after.items() if not same_object(self.before.get(k, missing), v)}
        self.ignored |= changed
        self.after = self._now()

    def holds(self) -> bool:
        """Whether names, their order and values are the same."""
        now = self._now()
        return list(now) == list(self.after) and all(map(same_object, now.values(), self.after.values()))

    def forget(self) -> None:
        """What Python did while it ran is done."""

    def _now(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self.owner).items() if name not in self.ignored}


def _said(change: Callable[..., Any]) -> Any:
    """A method of a list or a dict that changes it, and says so."""

    @wraps(change)
    def method(*args: Any, **kwargs: Any) -> Any:
        try:
            return change(*args, **kwargs)
        finally:
            replaced()  # not before: a call of another thread might find nothing changed yet

    return method


class Watched(dict[K, V]):
    """A dict whose changes are said, also by those dicts that are its values."""

    __slots__ = ()

    __delitem__, pop, popitem, clear = _said(dict.__delitem__), _said(dict.pop), _said(dict.popitem), _said(dict.clear)

    def __init__(self, values: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        super().__init__({key: _watched(value) for key, value in dict(values).items()})

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, _watched(value))
        replaced()

    def setdefault(self, key: K, default: Any = None) -> Any:
        """The value of a key, which gets one if it has none."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take over other entries."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]
        self.update(other)
        return self


def _watched(value: Any) -> Any:
    return Watched(value) if type(value) is dict else value


class WatchedList(list[E]):
    """A list whose changes are said."""

    __slots__ = ()

    append, extend, insert = _said(list.append), _said(list.extend), _said(list.insert)
    pop, remove, clear = _said(list.pop), _said(list.remove), _said(list.clear)
    sort, reverse = _said(list.sort), _said(list.reverse)
    __setitem__, __delitem__ = _said(list.__setitem__), _said(list.__delitem__)
    __iadd__, __imul__ = _said(list.__iadd__), _said(list.__imul__)
