"""The door of functions that take tensors: lists, numbers and arrays become tensors here, and nowhere behind it.

Fractional numbers in lists have no dtype of their own: they get that of the first float tensor among the arguments, or
the default. Arrays have one. What it counts for is a matter of the function (`Rule`):
- "layer": layers and losses take an array as data, as `fit` does, and give it the dtype that a list would get;
- "product": matrix products want operands of one dtype and give it that of the tensor beside it, if there is one;
- "operator": operators promote, and for them an array is a tensor of its dtype.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, ParamSpec, TypeVar

import numpy as np

from ..errors import DTypeError, GraphError, message
from ..support.settings import Names, framed, kinds, shown
from .arrays import array_of, beside
from .core import Core, constant, mode
from .tensor import Tensor

P = ParamSpec("P")
R = TypeVar("R")
Rule = Literal["layer", "product", "operator"]
_plain: set[type] = {Tensor}  # classes of tensors that went through as they are
_NUMBERS: Final = frozenset((bool, int, float))
_ACCEPTED: Final[Mapping[str, frozenset[type]]] = {  # by the beginning of an annotation: what goes through as it is
    "Tensor": frozenset((Tensor,)),
    "Core": frozenset((Tensor,)),
    "Index": frozenset((Tensor,)),
    "Operand": frozenset((Tensor,)) | _NUMBERS,
}


def takes_data(function: Callable[P, R], rule: Rule = "layer") -> Callable[P, R]:
    """A function whose parameters that are annotated as tensors take lists, numbers and arrays as well.

    Arguments go by the names that PyTorch and NumPy have for them too (`input`, `axis`, ...), and `out` is a tensor to
    write the result to. Raises DTypeError for what is no data, by the name of the function.
    """
    code = inspect.unwrap(function).__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    accepted = {one: _accepted(one, str(function.__annotations__.get(one, ""))) for one in names}
    checks = kinds(function)
    allowed = {one: checks[one].classes if one in checks else classes for one, classes in accepted.items()}
    places = tuple(allowed.values())
    known = Names(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not kwargs:  # the usual call, which must not become slow here
            for value in args:
                if value.__class__ not in _plain:
                    break
            else:
                return function(*args)  # type: ignore[call-arg]
        elif not known.all.issuperset(kwargs):
            out = None if "out" in known.all else kwargs.pop("out", None)
            args, kwargs = known.own(args, kwargs)  # type: ignore[assignment]
            if out is not None:
                return _written(function.__name__, out, call(*args, **kwargs))  # type: ignore[no-any-return]
        for value, classes in zip(args, places):  # noqa: B905
            kind = value.__class__
            if classes is not None and kind not in classes and kind not in _plain and not is_tensor(value):
                break
        else:
            for key, value in kwargs.items():
                classes = allowed.get(key)
                if classes is not None and value.__class__ not in classes and not _passes(accepted[key], value):
                    break
            else:
                return function(*args, **kwargs)
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        for key, value in given.items():
            check = checks.get(key)
            if check is not None and value.__class__ not in check.classes:
                check.check(function.__name__, key, value)
        given = {key: value for key, value in given.items() if accepted.get(key) is not None}
        if all(value.__class__ in accepted[key] or is_tensor(value) for key, value in given.items()):  # type: ignore[operator]
            return function(*args, **kwargs)
        made = converted(function.__name__, given, accepted, rule)
        listed = [made.get(key, value) for key, value in zip(names, args, strict=False)]
        return function(*listed, *args[len(names) :], **{key: made.get(key, value) for key, value in kwargs.items()})  # type: ignore[arg-type]

    return framed(call, function)


def named(function: Callable[P, R]) -> Callable[P, R]:
    """A function that makes tensors of its arguments itself: the names of `takes_data`, and `out`."""
    known = Names(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs and not known.all.issuperset(kwargs):
            out = kwargs.pop("out", None)
            args, kwargs = known.own(args, kwargs)  # type: ignore[assignment]
            if out is not None:
                return _written(function.__name__, out, function(*args, **kwargs))  # type: ignore[no-any-return]
        return function(*args, **kwargs)

    return framed(call, function)


def _written(name: str, out: Any, result: Any) -> Any:
    """`out`, one tensor or several, after the result was written to it. Raises as a write in place does, and GraphError
    where a gradient would have to flow.
    """
    if isinstance(out, (tuple, list)) and isinstance(result, tuple) and len(out) == len(result):
        written = [_written(name, one, value) for one, value in zip(out, result, strict=True)]
        return type(result)(*written) if hasattr(result, "_fields") else tuple(written)
    if not isinstance(out, Tensor) or not isinstance(result, Tensor):
        expected = "a tensor" if isinstance(result, Tensor) else "a tensor for each result"
        raise DTypeError(message(name, f"out {shown(out)}", expected))
    if mode.grad and (out.requires_grad or result.requires_grad):
        hint = "leave `out` away, or compute under tg.no_grad()"
        raise GraphError(message(name, "`out` where a gradient is wanted", hint=hint))
    return out._write(name, result)


def takes_operands(function: Callable[P, R]) -> Callable[P, R]:
    """The same for a function in which an array is a tensor of its dtype."""
    return takes_data(function, "operator")


def _accepted(name: str, annotation: str) -> frozenset[type] | None:
    """The classes of what needs no look; None for a parameter that is no tensor."""
    beginning = "Tensor" if name == "self" else annotation.partition(" ")[0]
    classes = _ACCEPTED.get(beginning)
    return classes if classes is None or "None" not in annotation else classes | {type(None)}


def _passes(accepted: frozenset[type] | None, value: Any) -> bool:
    """Whether a value is a tensor where one belongs."""
    return accepted is not None and (value.__class__ in _plain or is_tensor(value))


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor that goes through the door as it is."""
    passes = isinstance(value, Tensor) and not value._from_array
    if passes:
        _plain.add(value.__class__)
    return passes


def are_tensors(values: Any) -> bool:
    """Whether a list is known to hold nothing but such tensors; not so where their classes have not been seen yet."""
    return values.__class__ in (list, tuple) and bool(values) and _plain.issuperset([x.__class__ for x in values])


def converted(
    name: str,
    given: Mapping[str, Any],
    accepted: Mapping[str, frozenset[type] | None],
    rule: Rule = "layer",
) -> dict[str, Any]:
    """The arguments of a function as tensors, but for those of a class that is accepted."""
    alone = mode.dtype if rule == "layer" else None
    dtype = next((x.dtype for x in given.values() if is_tensor(x) and x.dtype.kind == "f"), alone)
    made: dict[str, Any] = {}
    for key, value in given.items():
        if is_tensor(value) or value.__class__ in (accepted.get(key) or ()):
            continue
        if value is None:
            got = f"None as {'x' if key == 'self' else key}"
            raise DTypeError(message(name, got, "a tensor, an array, a list or a number"))
        if isinstance(value, Core):  # an array that a compiled function is given
            made[key] = value if rule == "operator" or dtype is None or value.dtype.kind != "f" else value.cast(dtype)
        elif rule == "operator" and hasattr(value, "__array__") and not isinstance(value, np.generic):
            made[key] = Tensor.handle(constant(array_of(name, value)))
        else:
            made[key] = Tensor.handle(constant(beside(name, value, dtype)))
    return made


def check_tensors(name: str, parameters: Sequence[Any]) -> None:
    """Raise DTypeError for parameters that are no tensors: what is read and written has to be the user's own."""
    for position, one in enumerate(parameters):
        if not isinstance(one, Core):
            got = f"{type(one).__name__} as parameter {position}"
            raise DTypeError(message(name, got, "tensors", "pass model.parameters()"))


def listed_tensors(name: str, parameters: Any) -> list[Tensor]:
    """One tensor or several, as a list; raises DTypeError for what is none."""
    if isinstance(parameters, Tensor):
        return [parameters]
    if not isinstance(parameters, Iterable) or isinstance(parameters, (str, bytes, range, np.ndarray)):
        raise DTypeError(message(name, f"parameters {shown(parameters)}", "tensors", "pass model.parameters()"))
    listed = list(parameters)
    check_tensors(name, listed)
    return listed


def fills(function: Callable[P, R]) -> Callable[P, R]:
    """A function that writes to its first argument, which therefore has to be a tensor."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        target = args[0] if args else kwargs.get("tensor")
        if not isinstance(target, Core):
            name, got = function.__name__, f"{type(target).__name__} to fill"
            raise DTypeError(message(name, got, "a tensor", "wrap it in tg.tensor"))
        return function(*args, **kwargs)

    return call


def taken(name: str, value: Any, *others: Any) -> Tensor:
    """Data for a layer that has these tensors, as a tensor of their dtype; a tensor as it is."""
    if is_tensor(value):
        return value  # type: ignore[no-any-return]
    given = {"its input": value, **{f"{k}": other for k, other in enumerate(others) if is_tensor(other)}}
    return converted(name, given, {})["its input"]  # type: ignore[no-any-return]
