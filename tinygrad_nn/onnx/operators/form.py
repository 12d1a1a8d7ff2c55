"""What the functions of operators are written with: how their parameters say what an operand is.

    x: Tensor       any tensor
    x: Fixed        a tensor that is no weight: of an initializer there a buffer is made, which is not trained
    x: Known        numbers that have to be known where a function is traced, as an array: lengths, axes, steps
    x: Value        a tensor with its element type, a sequence, or an optional value
    call: Call      of the first parameter: what else an operator may ask for

Keyword parameters are attributes, by ONNX's names. Results are tensors, of the element type of the first operand with
their dtype, or Values; several are a tuple.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from ...errors import ExportError, TraceError, message
from ...support.arrays import Array
from ...support.memory import check_fits
from ...tensor import Tensor
from ...tensor.core import constant
from ..elements import OWN, Element
from ..model import NAME

Fixed: TypeAlias = Tensor
Known: TypeAlias = Array


class Value(NamedTuple):
    """What has a name in a graph: a tensor of an element type, a tuple of Values, or None, an empty optional."""

    data: Any
    element: Element | None = None

    @property
    def tensor(self) -> Tensor:
        """The tensor that it has to be."""
        if isinstance(self.data, Tensor):
            return self.data
        raise bad("a sequence or an empty optional", "a tensor")

    @property
    def sequence(self) -> tuple[Value, ...]:
        """The sequence that it has to be."""
        if isinstance(self.data, tuple):
            return self.data
        raise bad("a tensor", "a sequence")


@dataclass(frozen=True, slots=True)
class Call:
    """Where an operator stands: which of its results are wanted, the version of its operators, the values of its
    operands, and how a graph among its attributes is run.
    """

    outputs: tuple[bool, ...]
    version: int
    operands: tuple[Value | None, ...]
    run: Callable[..., tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class Form:
    """The parameters of a function: what each operand is, which have to be there, and its attributes."""

    function: Callable[..., Any]
    operands: tuple[str, ...]
    several: str  # what all further operands are
    needed: tuple[int, ...]
    attributes: Mapping[str, bool]  # whether each has to be given
    asks: bool  # for the Call

    def of(self, position: int) -> str:
        """What an operand is."""
        return self.operands[position] if position < len(self.operands) else self.several

    def run(self, call: Call, attrs: Mapping[str, Any]) -> tuple[Value, ...]:
        """The results of the operator."""
        given = [None if one is None else _GIVEN[self.of(k)](one) for k, one in enumerate(call.operands)]
        found = self.function(call, *given, **attrs) if self.asks else self.function(*given, **attrs)
        several = found if type(found) is tuple else (found,)
        return tuple(one if isinstance(one, Value) else typed(one, call.operands) for one in several)


@functools.cache
def form_of(function: Callable[..., Any]) -> Form:
    """The parameters of the function of an operator."""
    operands, several, needed, attributes, asks = list[str](), "", list[int](), dict[str, bool](), False
    for one in inspect.signature(function).parameters.values():
        kind = str(one.annotation).partition(" ")[0]
        if kind == "Call":
            asks = True
        elif one.kind is one.KEYWORD_ONLY:
            attributes[one.name] = one.default is one.empty
        elif one.kind is one.VAR_POSITIONAL:
            several = kind
        else:
            if one.default is one.empty and "None" not in str(one.annotation):
                needed.append(len(operands))
            operands.append(kind)
    return Form(function, tuple(operands), several, tuple(needed), attributes, asks)


def typed(tensor: Tensor | None, operands: tuple[Value | None, ...]) -> Value:
    """A result with its element type: that of the first operand of this dtype, in which integers wrap around."""
    if tensor is None:
        return Value(None)
    for one in operands:
        if one is not None and one.element is not None and one.element.dtype == tensor.dtype:
            return Value(one.element.wrapped(tensor), one.element)
    return Value(tensor, OWN[tensor.dtype])


def known(x: Tensor) -> Array:
    """The numbers of a tensor, which have to be known while a function is traced."""
    value = x.node.value
    if value is None:
        got = "numbers that are not known while it is traced"
        raise TraceError(message(NAME, got, "lengths, axes and steps that follow from shapes and constants"))
    return np.asarray(value)


def given(value: Any) -> Tensor:
    """A tensor of an array that belongs to the program."""
    return Tensor.handle(constant(np.asarray(value)))


def bad(got: str, expected: str, hint: str = "") -> ExportError:
    """The error for operands or attributes that an operator does not take."""
    return ExportError(message(NAME, got, expected, hint))


def check_count(count: float) -> None:
    """Raise TooLarge for so many numbers that are asked for, where the machine has no memory for them."""
    check_fits(NAME, f"{count:,} numbers", int(8 * count))


def ints(numbers: Any) -> list[int]:
    """Known numbers as Python's integers."""
    return [int(one) for one in np.asarray(numbers).reshape(-1)]


def axis_of(axis: Any, rank: int) -> int:
    """An axis counted from 0."""
    axis = int(axis)
    if not -rank <= axis < max(rank, 1):
        raise bad(f"axis {axis} of {rank}", f"{-rank} to {rank - 1}")
    return int(axis % max(rank, 1))


def axes_of(axes: Any, rank: int) -> list[int]:
    """Axes counted from 0, each once."""
    found = [axis_of(one, rank) for one in ints(axes)]
    if len(set(found)) < len(found):
        raise bad(f"axes {found}", "each once")
    return found


_GIVEN: Final[Mapping[str, Callable[[Value], Any]]] = {
    "Tensor": lambda one: one.tensor,
    "Fixed": lambda one: one.tensor,
    "Known": lambda one: known(one.tensor),
    "Value": lambda one: one,
}
