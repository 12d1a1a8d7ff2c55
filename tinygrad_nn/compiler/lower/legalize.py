"""A program in operations that its target has. What is missing is written out; no other value changes.

A multiply-add with one rounding, where there is no instruction for it, is the sum of the product, its rounding error
and the term (T. J. Dekker, "A floating-point technique for extending the available precision", Numerische Mathematik
18, 1971). It may be off by the last of two roundings; the error of a product, which logarithms and reductions of angles
ask for, is exact; and where the product alone overflows, so does the result. Those that need no single rounding
(`muladd`), and what adds up products in a register, round each product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ...graph.scalar import FLOAT64, Expr, walk
from ..loopir.ir import Assign, Check, Let, Loop, Statement, Store
from ..loopir.program import Program
from ..target import Target

_SPLIT: Final = 2.0**27 + 1  # halves the digits of a float64


def legal(program: Program, target: Target) -> Program:
    """The program for a target."""
    if target.fuses(FLOAT64):
        return program
    rules = _rules(target)
    return replace(program, kernels=tuple(replace(one, body=_body(one.body, rules)) for one in program.kernels))


Rules = Mapping[type, Callable[..., Statement]]


def _body(body: Sequence[Statement], rules: Rules) -> tuple[Statement, ...]:
    return tuple(rules[type(one)](one) if type(one) in rules else one for one in body)


def _rules(target: Target) -> Rules:
    """What becomes of the statements that calculate."""
    rules: dict[type, Callable[..., Statement]] = {
        Loop: lambda one: Loop(one.var, _body(one.body, rules)),
        Let: lambda one: replace(one, value=split(one.value, target)),
        Assign: lambda one: replace(one, value=split(_sum(one, target), target)),
        Store: lambda one: replace(one, value=split(one.value, target)),
        Check: lambda one: replace(one, condition=split(one.condition, target)),
    }
    return rules


def _sum(one: Assign, target: Target) -> Expr:
    """What is added to a register, rounded by itself."""
    value = one.value
    if value.op != "fma" or target.fuses(value.dtype) or value.args[2].value is not one.register:
        return value
    x, y, total = value.args
    return x * y + total


def split(root: Expr, target: Target) -> Expr:
    """An expression in additions and multiplications, where the target has nothing better."""
    fresh: dict[Expr, Expr] = {}
    for node in walk(root):
        args = tuple(fresh[arg] for arg in node.args)
        if node.op in WRITTEN_OUT and not target.fuses(node.dtype):
            fresh[node] = WRITTEN_OUT[node.op](*args)
        else:
            same = all(x is y for x, y in zip(args, node.args, strict=True))
            fresh[node] = node if same else Expr(node.op, args, node.dtype, node.value)
    return fresh[root]


def multiply_add(x: Expr, y: Expr, term: Expr) -> Expr:
    """x * y + term, but for the last of two roundings. float32 goes through float64, where a product is exact."""
    if x.dtype != FLOAT64:
        wide = x.to(FLOAT64) * y.to(FLOAT64) + term.to(FLOAT64)
        return wide.to(x.dtype)
    product = x * y
    (x_high, x_low), (y_high, y_low) = _halves(x), _halves(y)
    lost = x_low * y_low - (((product - x_high * y_high) - x_low * y_high) - x_high * y_low)
    total = product + term
    other = total - product
    rest = (product - (total - other)) + (term - other) + lost
    counts = rest.ne(0) & rest.eq(rest)  # 0 would take the sign of a zero; halves of what is nearly infinite are NaN
    return counts.where(total + rest, total)


WRITTEN_OUT: Final[Mapping[str, Callable[..., Expr]]] = {
    "fma": multiply_add,
    "muladd": lambda x, y, term: x * y + term,
}


def _halves(x: Expr) -> tuple[Expr, Expr]:
    """The first and the last half of the digits."""
    scaled = x * _SPLIT
    high = scaled - (scaled - x)
    return high, x - high
