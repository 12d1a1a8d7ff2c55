"""Pieces that every elementary function uses: a polynomial, a clamp, sums and products with their rounding error."""

from __future__ import annotations

from collections.abc import Sequence

from ...graph.scalar import Expr, const


def polynomial(x: Expr, coefficients: Sequence[float]) -> Expr:
    """`coefficients[0] + coefficients[1] * x + ...` by Estrin's scheme.

    Pairs, then pairs of pairs: as many fused multiply-adds as Horner's scheme and a few squarings more, but a chain
    of log2(n) of them instead of n. At full load the two run equally fast; in a recurrence, where one lane waits for
    the last, this one wins.
    """
    terms = [const(value, x.dtype) for value in coefficients]
    power = x
    while len(terms) > 1:
        pairs = [high.muladd(power, low) for low, high in zip(terms[::2], terms[1::2], strict=False)]
        terms = [*pairs, *terms[2 * len(pairs) :]]
        power = power * power
    return terms[0]


def at_least(bound: float, x: Expr) -> Expr:
    """The larger of a number and x; NaN stays NaN. One instruction (`maxpd`)."""
    return (x < bound).where(bound, x)


def at_most(bound: float, x: Expr) -> Expr:
    """The smaller of a number and x; NaN stays NaN. One instruction (`minpd`)."""
    return (x > bound).where(bound, x)


def fast_two_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """`a + b` and its rounding error, exactly where |a| >= |b| or a = 0 (Dekker)."""
    total = a + b
    return total, b - (total - a)


def two_product(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """`a * b` and its rounding error, exactly unless the error underflows."""
    product = a * b
    return product, a.fma(b, -product)
