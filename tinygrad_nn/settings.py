"""The checks of settings: what layers, losses, optimizers, schedules and callbacks refuse when they are made.

A setting that cannot work is an error where it is given, by the name the user called, and not at the first step that
stumbles over it. Each check returns the value, so that it can stand in an assignment.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable
from typing import Any, TypeVar

from .errors import ConfigError, message

T = TypeVar("T")


def integer(owner: str, name: str, value: Any, least: int | None = None) -> int:
    """A whole number of at least `least`, NumPy's and 0-d integer arrays included; no bool, no 3.0.

    >>> integer("Linear", "in_features", 4, least=0)
    4
    >>> integer("Linear", "in_features", 2.5, least=0)
    Traceback (most recent call last):
    tinygrad_nn.errors.ConfigError: [Linear] got in_features 2.5; expected an integer, in_features >= 0
    """
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = None
    if found is None or (least is not None and found < least):
        expected = "an integer" + ("" if least is None else f", {name} >= {least}")
        raise ConfigError(message(owner, f"{name} {value!r}", expected))
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
    if (
        not is_number(value)
        or math.isnan(value)
        or (finite and math.isinf(value))
        or (least is not None and value < least)
        or (above is not None and value <= above)
        or (most is not None and value > most)
        or (below is not None and value >= below)
    ):
        left = f"{least} <= " if least is not None else f"{above} < " if above is not None else ""
        right = f" <= {most}" if most is not None else f" < {below}" if below is not None else ""
        expected = f"a number, {left}{name}{right}" if left or right else "a finite number" if finite else "a number"
        raise ConfigError(message(owner, f"{name} {value!r}", expected))
    found: float = value
    return found


def choice(owner: str, name: str, value: T, known: Iterable[str]) -> T:
    """One of several words.

    >>> choice("MSELoss", "reduction", "average", ("mean", "sum"))
    Traceback (most recent call last):
    tinygrad_nn.errors.ConfigError: [MSELoss] got reduction 'average'; expected 'mean' or 'sum'
    """
    words = list(known)
    if value not in words:
        *others, last = map(repr, words)
        expected = f"{', '.join(others)} or {last}" if others else last
        raise ConfigError(message(owner, f"{name} {value!r}", expected))
    return value
