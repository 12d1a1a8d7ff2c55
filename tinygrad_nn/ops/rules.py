"""Shape rules, dtype rules and constructors that blocks of the op table share. Imports only the graph's data types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError, message
from ..graph import Arg, Case, DType, Op, Shape

BOOL = np.dtype(np.bool_)
INT32 = np.dtype(np.int32)
INT64 = np.dtype(np.int64)
FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
DTYPES = (BOOL, INT32, INT64, FLOAT32, FLOAT64)

Rule = Callable[..., Any]


def same_shape(name: str) -> Callable[..., Shape]:
    """All operands have one shape, which is the result's: broadcasting is a node of its own."""

    def rule(*shapes: Shape, **attrs: Any) -> Shape:
        for shape in shapes[1:]:
            if shape != shapes[0]:
                got = " and ".join(map(str, shapes))
                raise ShapeError(message(name, f"shapes {got}", "equal shapes", "broadcast the operands first"))
        return shapes[0]

    return rule


def same_dtype(name: str, *kinds: str) -> Callable[..., DType]:
    """All operands have one dtype, of the NumPy kinds given ("f" float, "i" int, "b" bool), which is the result's."""

    def rule(*dtypes: DType, **attrs: Any) -> DType:
        check_kinds(name, dtypes, kinds)
        return dtypes[0]

    return rule


def gives_bool(name: str, *kinds: str) -> Callable[..., DType]:
    """Operands of one dtype; the result is bool."""

    def rule(*dtypes: DType, **attrs: Any) -> DType:
        check_kinds(name, dtypes, kinds)
        return BOOL

    return rule


def check_kinds(name: str, dtypes: tuple[DType, ...], kinds: tuple[str, ...]) -> None:
    """Raise DTypeError unless all dtypes are equal and of one of the kinds."""
    got = " and ".join(dtype.name for dtype in dtypes)
    if any(dtype != dtypes[0] for dtype in dtypes):
        raise DTypeError(message(name, f"dtypes {got}", "equal dtypes", "convert one with .to(dtype)"))
    if dtypes[0].kind not in kinds:
        words = {"f": "a float", "i": "an integer", "b": "bool"}
        expected = " or ".join(words[kind] for kind in kinds)
        raise DTypeError(message(name, f"dtype {got}", f"{expected} dtype", "convert it with .to(dtype)"))


def check_index(name: str, dtype: DType) -> None:
    """Raise DTypeError unless the dtype can index."""
    if dtype.kind != "i":
        raise DTypeError(
            message(name, f"an index of dtype {dtype.name}", "int32 or int64", "convert it with .to(tg.int64)")
        )


REAL = Arg()
NUMBER = ("f", "i")
ANY = ("f", "i", "b")


def unary(
    name: str,
    numpy: Rule,
    vjp: Rule | None,
    emit: Rule | None,
    arg: Arg = REAL,
    kinds: tuple[str, ...] = ("f",),
    linear: bool = False,
) -> Op:
    """An elementwise op of one operand."""
    return Op(
        name, "elementwise", same_shape(name), same_dtype(name, *kinds), numpy, (vjp,), emit, (Case((arg,)),), linear
    )


def binary(
    name: str,
    numpy: Rule,
    vjp: tuple[Rule | None, Rule | None],
    emit: Rule | None,
    args: tuple[Arg, Arg] = (REAL, REAL),
    kinds: tuple[str, ...] = NUMBER,
    linear: bool = False,
) -> Op:
    """An elementwise op of two operands."""
    return Op(name, "elementwise", same_shape(name), same_dtype(name, *kinds), numpy, vjp, emit, (Case(args),), linear)


def predicate(name: str, numpy: Rule, emit: Rule, arity: int = 2, kinds: tuple[str, ...] = ANY, arg: Arg = REAL) -> Op:
    """An elementwise question: bool, no gradient."""
    case = Case((arg,) * arity)
    return Op(name, "elementwise", same_shape(name), gives_bool(name, *kinds), numpy, (None,) * arity, emit, (case,))
