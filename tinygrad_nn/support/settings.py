"""The checks of settings: what layers, losses, optimizers, schedules and callbacks refuse when they are made, and
functions by the annotations of their parameters (`typed`); the other names of parameters (`Names`); the device.

A setting that cannot work is an error where it is given, by the name the user called, and not at the first step that
stumbles over it. Each check returns the value, so that it can stand in an assignment.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

from ..errors import ConfigError, DTypeError, TinygradError, TraceError, message

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


LARGEST: Final = 2**63 - 1  # of what a machine counts


def integer(owner: str, name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """A whole number of at least `least` and at most `most`, NumPy's and 0-d integer arrays included; no bool, no 3.0.

    >>> integer("Linear", "in_features", 4, least=0)
    4
    >>> integer("Linear", "in_features", 2.5, least=0)
    Traceback (most recent call last):
    tinygrad_nn.errors.ConfigError: [Linear] got in_features 2.5; expected an integer, in_features >= 0
    """
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except TraceError:
        raise
    except Exception:  # of what is no integer, and of a foreign __index__
        found = None
    low, high = -LARGEST if least is None else least, LARGEST if most is None else most
    if found is None or not low <= found <= high:
        if found is not None and found > high:
            most = high
        bounds = ("" if least is None else f", {name} >= {least}") + ("" if most is None else f", {name} <= {most:,}")
        expected = "an integer" + bounds
        raise ConfigError(message(owner, f"{name} {shown(value)}", expected))
    return found


def is_number(value: Any) -> bool:
    """Whether something is a real number, Python's or NumPy's, and no bool."""
    return not isinstance(value, bool) and isinstance(value, numbers.Real)


def number(
    owner: str,
    name: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    finite: bool = True,
) -> float:
    """A number within bounds, of which `least` and `most` belong to the range; no NaN, no bool, infinite only where
    that is allowed.

    >>> number("Dropout", "p", 0.5, least=0, most=1)
    0.5
    >>> number("Dropout", "p", float("nan"), least=0, most=1)
    Traceback (most recent call last):
    tinygrad_nn.errors.ConfigError: [Dropout] got p nan; expected a number, 0 <= p <= 1
    """
    plain = _float(value)
    if (
        math.isnan(plain)
        or (finite and math.isinf(plain))
        or (least is not None and value < least)
        or (above is not None and value <= above)
        or (most is not None and value > most)
        or (below is not None and value >= below)
    ):
        left = f"{least} <= " if least is not None else f"{above} < " if above is not None else ""
        right = f" <= {most}" if most is not None else f" < {below}" if below is not None else ""
        expected = f"a number, {left}{name}{right}" if left or right else "a finite number" if finite else "a number"
        raise ConfigError(message(owner, f"{name} {shown(value)}", expected))
    found: float = value
    return found


def _float(value: Any) -> float:
    """A real number as a float; NaN for all else, and for integers that no float can hold."""
    try:
        return float(value) if is_number(value) else math.nan
    except OverflowError:
        return math.nan


def shown(value: Any) -> str:
    """A wrong argument in a message, in one short line."""
    try:
        text = ascii(value) if isinstance(value, (str, bytes)) else repr(value)
    except Exception:  # a foreign __repr__
        text = ""
    return text if text and len(text) <= 60 and text.isprintable() else f"of type {type(value).__name__}"


def is_whole(value: Any) -> bool:
    """Whether something counts as an integer: Python's, NumPy's, a tensor of one; no bool."""
    try:
        return type(value) is int or (not _is_bool(value) and operator.index(value) is not None)
    except TinygradError as error:
        return not isinstance(error, TypeError)  # a traced tensor: who uses it says what is wrong
    except Exception:  # a foreign __index__
        return False


def is_iterable(value: Any) -> bool:
    """Whether something has parts to go through: no text, and no array of one number."""
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes)) and getattr(value, "shape", None) != ()


def _is_bool(value: Any) -> bool:
    return type(value).__name__ in ("bool", "bool_")


def _is_scalar(value: Any) -> bool:
    """A real number, or an array or tensor of one."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return is_number(value) or (kind in ("i", "u", "f") and value.shape == ())


class Kind(NamedTuple):
    """What an annotation lets in: values of `classes` without a look, and those that one of the `tests` takes."""

    classes: frozenset[type]
    tests: tuple[Callable[[Any], bool], ...]
    words: str
    error: type[TinygradError] | None = None  # where it is always the same

    def check(self, owner: str, name: str, value: Any, error: type[TinygradError] = DTypeError) -> None:
        """Raise DTypeError (or another error) for a value of another kind."""
        if value.__class__ not in self.classes and not any(test(value) for test in self.tests):
            raise (self.error or error)(message(owner, f"{name} {shown(value)}", self.words))


def _is_vector(value: Any) -> bool:
    return len(getattr(value, "shape", ())) == 1 and not isinstance(value, type)


def _are_whole(value: Any) -> bool:
    """An integer, or what holds several: whether each of them is one is for those to say who use them."""
    return is_whole(value) or isinstance(value, (list, tuple, range)) or _is_vector(value)


def _is_cpu(value: Any) -> bool:
    """No tensor: its text is what the user says about printing."""
    return not hasattr(value, "shape") and str(value) in ("cpu", "cpu:0")


_Rule = tuple[tuple[type, ...], Callable[[Any], bool], str]
_NUMBER: Final[_Rule] = ((int, float), _is_scalar, "a number")
_FLAG: Final[_Rule] = ((bool,), _is_bool, "True or False")
_TEXT: Final[_Rule] = ((str,), lambda value: isinstance(value, str), "a text")
_INTS: Final[_Rule] = ((int, tuple, list), _are_whole, "an integer or a sequence of them")
_DEVICE: Final[_Rule] = ((type(None),), _is_cpu, "'cpu', the only one")
_MAPPING: Final[_Rule] = ((dict,), lambda value: isinstance(value, Mapping), "a mapping")
_KINDS: Final[Mapping[str, _Rule]] = {  # by a part of an annotation
    "int": ((int,), is_whole, "an integer"),
    "float": _NUMBER,
    "Number": _NUMBER,
    "bool": _FLAG,
    "Flag": _FLAG,
    "str": _TEXT,
    "Average": _TEXT,
    "FanMode": _TEXT,
    "Literal": _TEXT,
    "None": ((type(None),), lambda value: value is None, "None"),
    "Callable": ((), callable, "a function"),
    "Mapping": _MAPPING,
    "dict": _MAPPING,
    "Generator": ((), lambda value: hasattr(value, "bits"), "a tg.Generator"),
    "Sequence": ((tuple, list), lambda value: isinstance(value, (Sequence, range)) or _is_vector(value), "a sequence"),
    "Iterable": ((tuple, list), is_iterable, "an iterable"),
    "Ints": _INTS,
    "Argnums": _INTS,
    "Device": _DEVICE,
}


@functools.cache
def kind_of(annotation: str) -> Kind | None:
    """What an annotation lets in; None where it says nothing that is checked here."""
    parts = [part.partition("[")[0].strip("'\" ") for part in _alternatives(annotation)]
    if not parts or not all(part in _KINDS for part in parts):
        return None
    found = [_KINDS[part] for part in parts]
    classes = frozenset(kind for classes, _, _ in found for kind in classes)
    return Kind(classes - ({bool} if bool not in classes else set()), tuple(test for _, test, _ in found),
                " or ".join(dict.fromkeys(words for _, _, words in found)),
                ConfigError if "Device" in parts else None)  # fmt: skip


def _alternatives(annotation: str) -> list[str]:
    """The parts of a union; those within brackets belong to their part."""
    parts, depth = [""], 0
    for letter in annotation:
        depth += (letter == "[") - (letter == "]")
        if letter == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def kinds(function: Callable[..., Any]) -> dict[str, Kind]:
    """What the parameters of a function let in, where its annotations say so."""
    code = inspect.unwrap(function).__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    found = {name: kind_of(str(function.__annotations__.get(name, "object"))) for name in names}
    return {name: kind for name, kind in found.items() if kind is not None}


_SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {  # what an argument is called by PyTorch and NumPy, and here
    "input": ("self", "x", "values", "A", "tensor"),
    "tensor": ("other", "self"),
    "other": ("tensor",),
    "element": ("self",),
    "test_element": ("test_elements",),
    "L": ("input2",),
    "func": ("function", "fn"),
    **dict.fromkeys(("indices", "sections", "tensor_indices_or_sections"), ("indices_or_sections", "self")),
    "LU_data": ("self",),
    "shape": ("size",),
    "src": ("source",),
    **dict.fromkeys(("a", "x", "x1", "elements", "sorted_sequence"), ("self",)),
    **dict.fromkeys(("b", "y", "x2"), ("other", "self")),
    "size": ("shape",),
    "split_size_or_sections": ("split_size",),
    "axis": ("dim", "dims"),
    "dim": ("dims",),
    "dims": ("dim",),
    "keepdims": ("keepdim",),
    **{f"{a}{k}": (f"{b}{k}",) for a, b in (("axis", "dim"), ("dim", "axis")) for k in (0, 1)},
}


class Names:
    """The names of a function's parameters, and the other names that they go by."""

    def __init__(self, function: Callable[..., Any]) -> None:
        code = inspect.unwrap(function).__code__
        count = code.co_argcount + code.co_kwonlyargcount
        self.all = frozenset(code.co_varnames[:count])
        self.first = code.co_varnames[: code.co_argcount]
        self.rest = code.co_varnames[count] if code.co_flags & inspect.CO_VARARGS else None  # as `dims` of `*dims`

    def own(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments of a call by the names the function has for them; unknown ones stay as they are."""
        found: dict[str, Any] = {}
        rest: tuple[Any, ...] = ()
        for key, value in kwargs.items():
            for name in (key, *_SYNONYMS.get(key, ())):
                if name in self.all and name not in found and (name == key or name not in kwargs):
                    found[name] = value
                    break
                if name == self.rest:
                    rest = (value,)
                    break
            else:
                found[key] = value
        if rest:  # what comes before it has to be given by its place
            args = (*args, *[found.pop(name) for name in self.first if name in found], *rest)
        return args, found


def typed(function: Callable[P, R]) -> Callable[P, R]:
    """A function that refuses arguments of a kind that its annotations do not name: numbers, texts, flags, sequences.

    >>> @typed
    ... def half(x: "float") -> "float":
    ...     return x / 2
    >>> half("4")
    Traceback (most recent call last):
    tinygrad_nn.errors.DTypeError: [half] got x '4'; expected a number
    """
    return _checked(function, kinds(function), DTypeError)


def typed_as(error: type[TinygradError], *but: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The same with another class of error, for the functions of a part that has one of its own; `but` are parameters
    that they check themselves.
    """
    return lambda function: _checked(
        function, {name: kind for name, kind in kinds(function).items() if name not in but}, error
    )


_HINTED: Final = ("size_average", "reduce")


def flags(init: Callable[P, R]) -> Callable[P, R]:
    """A constructor that refuses flags which are neither True nor False, devices that are not there and generators that
    are none; its sizes and rates have checks of their own, and so have the flags of losses, which go with a hint.
    """
    checked = (kind_of("bool"), kind_of("Device"), kind_of("bool | None"), kind_of("Generator | None"))
    found = {name: kind for name, kind in kinds(init).items() if kind in checked and name not in _HINTED}
    return _checked(init, found, ConfigError)


def _checked(function: Callable[P, R], checks: Mapping[str, Kind], error: type[TinygradError]) -> Callable[P, R]:
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    unchecked = next((k for k, name in enumerate(names) if name in checks), len(names))  # so many come before
    constructs = function.__name__ == "__init__"  # which may be inherited: an error names the class that is made
    known = Names(function)

    def owner(args: tuple[Any, ...]) -> str:
        return type(args[0]).__name__ if constructs else function.__name__

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not kwargs and len(args) <= unchecked:  # the usual call of a method: all is as it is by default
            return function(*args)  # type: ignore[call-arg]
        if kwargs and not known.all.issuperset(kwargs):
            args, kwargs = known.own(args, kwargs)  # type: ignore[assignment]
        for name, value in zip(names, args):  # noqa: B905
            check = checks.get(name)
            if check is not None and value.__class__ not in check.classes:
                check.check(owner(args), name, value, error)
        for name, value in kwargs.items():
            check = checks.get(name)
            if check is not None and value.__class__ not in check.classes:
                check.check(owner(args), name, value, error)
        return function(*args, **kwargs)

    return framed(call, function)


def framed(call: Callable[P, R], function: Callable[P, R]) -> Callable[P, R]:
    """A wrapper whose frame has the name of the function in tracebacks and reports."""
    named: Any = call
    named.__code__ = named.__code__.replace(co_name=function.__name__)
    return call


def mapping(owner: str, value: Any, *keys: str) -> Mapping[str, Any]:
    """A mapping with these keys, as a state_dict is one.

    >>> mapping("Adam", {"state": {}}, "state", "param_groups")
    Traceback (most recent call last):
    tinygrad_nn.errors.ConfigError: [Adam] got a state without 'param_groups'; expected what state_dict() gives
    """
    if not isinstance(value, Mapping):
        raise ConfigError(message(owner, f"a state {shown(value)}", "what state_dict() gives"))
    for key in keys:
        if key not in value:
            raise ConfigError(message(owner, f"a state without {key!r}", "what state_dict() gives"))
    return value


def check_kinds(owner: str, loaded: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raise ConfigError where a state that is loaded has not the names, or not the kinds of values, of one's own.

    >>> check_kinds("StepLR", {"step_size": "3"}, {"step_size": 3})
    Traceback (most recent call last):
    tinygrad_nn.errors.ConfigError: [StepLR] got a state whose step_size is '3'; expected an int, as state_dict() gives
    """
    mapping(owner, loaded, *own)
    for name in loaded:
        if name not in own and not (isinstance(name, str) and name.startswith("_")):
            raise ConfigError(message(owner, f"a state with {shown(name)}", "what state_dict() gives"))
    for name, value in own.items():
        if not _is_like(loaded[name], value):
            kind = type(value).__name__
            got, article = f"a state whose {name} is {shown(loaded[name])}", "an" if kind[0] in "aeiou" else "a"
            raise ConfigError(message(owner, got, f"{article} {kind}, as state_dict() gives"))


def _is_like(value: Any, own: Any) -> bool:
    """Whether a value is of the kind of another one: lists may have another length, but not none where that has one."""
    if isinstance(own, (bool, str, set, frozenset)):
        return isinstance(value, type(own))
    if isinstance(own, int):
        return type(value) is int
    if isinstance(own, float):
        return not math.isnan(_float(value))
    if isinstance(own, (list, tuple)):
        same = isinstance(value, (list, tuple)) and bool(value) >= bool(own)
        same = same and (isinstance(own, list) or len(value) == len(own))
        return same and all(_is_like(one, own[min(k, len(own) - 1)]) for k, one in enumerate(value) if own)
    if isinstance(own, Mapping):
        return isinstance(value, Mapping)
    return True


def choice(owner: str, name: str, value: T, known: Iterable[str]) -> T:
    """One of several words.

    >>> choice("MSELoss", "reduction", "average", ("mean", "sum"))
    Traceback (most recent call last):
    tinygrad_nn.errors.ConfigError: [MSELoss] got reduction 'average'; expected 'mean' or 'sum'
    """
    words = list(known)
    if not isinstance(value, str) or value not in words:
        *others, last = map(repr, words)
        expected = f"{', '.join(others)} or {last}" if others else last
        raise ConfigError(message(owner, f"{name} {shown(value)}", expected))
    return value


# ---- devices, of which there is one --------------------------------------------------------------------------------


class device:
    """Where a tensor lies: `tg.device("cpu")`. Any other device is a ConfigError.

    >>> device("cpu")
    device(type='cpu')
    >>> device("cuda")
    Traceback (most recent call last):
    tinygrad_nn.errors.ConfigError: [device] got device 'cuda'; expected 'cpu', the only one
    """

    __slots__ = ("index",)
    type: Final = "cpu"

    def __init__(self, device: Any = "cpu", index: int | None = None) -> None:
        name = f"{device}" if index is None else f"{device}:{index}"
        check_device("device", name)
        self.index = 0 if name == "cpu:0" else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and self.index == other.index

    def __hash__(self) -> int:
        return hash(self.index)

    def __str__(self) -> str:
        return "cpu" if self.index is None else "cpu:0"

    def __repr__(self) -> str:
        return f"device(type='cpu'{'' if self.index is None else ', index=0'})"

    def __reduce__(self) -> Any:
        return device, (str(self),)

    def __enter__(self) -> device:
        return self

    def __exit__(self, *error: object) -> None:
        """New tensors are on the CPU in any case."""


Device = device | str | None  # what a parameter called `device` takes; None is the CPU too
_DEVICES: Final = frozenset(("cpu", "cuda", "mps", "xpu", "hpu", "mtia", "xla", "meta", "vulkan", "ipu"))


def names_device(value: Any) -> bool:
    """Whether something names a device, be it there or not."""
    return isinstance(value, device) or (isinstance(value, str) and value.partition(":")[0] in _DEVICES)


def check_device(owner: str, value: Any) -> None:
    """Raise ConfigError for a device other than the CPU."""
    kind = kind_of("Device")
    if kind is not None:
        kind.check(owner, "device", value, ConfigError)


CPU: Final = device("cpu")
