"""sin, cos, tan, for |x| < 2**48; NaN beyond.

Range reduction: x = k pi / 2 + r with k whole and |r| a little above pi / 4 at most, k and its low bits as in
`exponential`. pi / 2 is subtracted in three parts of 53 bits each (Cody and Waite; S. Boldo, M. Daumas, R.-C. Li,
"Formally verified argument reduction with a fused multiply-add", IEEE Trans. Computers 58, 2009): x - k P1 is exact in
one fma, k P2 is a product with its error, and what k P3 leaves out is below 2**-112. So r is known to a few bits past
its own last one even where x is as near to a multiple of pi / 2 as a float comes.

Beyond 2**48 neighbouring float64 numbers lie so far apart that the angle has hardly a meaning, and its reduction would
need the thousand bits of 1 / pi as a table (Payne and Hanek). There the result is NaN: loud, never a wrong number.

With z = r * r, sin(r) = r + r z S(z) and cos(r) = 1 + z C(z), where S and C minimise the largest relative error of
sin and cos for |r| <= 0.82 (Remez exchange in 50 digits). float32 is computed in float64, with shorter S and C.
"""

from __future__ import annotations

from typing import Final

from ...graph.scalar import FLOAT32, FLOAT64, Expr
from .polynomial import fast_two_sum, polynomial

_LIMIT: Final = 2.0**48
_TWO_OVER_PI: Final = 0.6366197723675814
_HALF_PI: Final = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
_SHIFT: Final = 1.5 * 2.0**52
_SINE: Final = {
    FLOAT32: (-0.16666666630066632, 0.008333328110325859, -0.00019838943133596506, 2.714739274493469e-06),
    FLOAT64: (
        -0.16666666666666607, 0.008333333333316043, -0.00019841269824760787, 2.7557311963303715e-06,
        -2.5050491415066298e-08, 1.5881585213286763e-10,
    ),
}  # fmt: skip
_COSINE: Final = {
    FLOAT32: (-0.4999999956456497, 0.041666606348439224, -0.0013886258576245977, 2.4345470438641735e-05),
    FLOAT64: (
        -0.5, 0.04166666666666633, -0.0013888888888847232, 2.4801587276774356e-05, -2.7557311290227663e-07,
        2.087535860153878e-09, -1.1342621879503787e-11,
    ),
}  # fmt: skip


def _parts(x: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    """(k, r, s, c) with x = k pi / 2 + r, sin(r) = r + s and cos(r) = 1 + c; k in the low bits of an integer."""
    wide = x.to(FLOAT64)
    wide = (wide.abs() < _LIMIT).where(wide, float("nan"))
    shifted = wide.muladd(_TWO_OVER_PI, _SHIFT)
    k = shifted - _SHIFT
    p1, p2, p3 = _HALF_PI
    near = k.fma(-p1, wide)
    if x.dtype == FLOAT32:
        r = k.fma(-p2, near)
        z = r * r
        return shifted.bits(), r, r * z * polynomial(z, _SINE[x.dtype]), z * polynomial(z, _COSINE[x.dtype])
    step = k * p2
    r = near - step
    low = ((near - r) - step) + k.fma(-p3, k.fma(-p2, step))
    z = r * r
    s = (r * z).muladd(polynomial(z, _SINE[x.dtype]), low)
    return shifted.bits(), r, s, z.muladd(polynomial(z, _COSINE[x.dtype]), -(r * low))


def _quadrant(x: Expr, quarters: int) -> Expr:
    """sin(x + quarters pi / 2): k counts quarter turns; odd ones exchange sine and cosine, every second the sign."""
    k, r, s, c = _parts(x)
    k = k + quarters
    value = (k & 1).eq(1).where(c + 1, r + s)
    return (value.bits() ^ ((k & 2) << 62)).from_bits().to(x.dtype)


def sin(x: Expr) -> Expr:
    """Sine; NaN from 2**48 on. Largest error seen: 1.4 ULP in float64, 0.51 in float32."""
    return x.eq(0).where(x, _quadrant(x, 0))  # -0.0 stays


def cos(x: Expr) -> Expr:
    """Cosine; NaN from 2**48 on. Largest error seen: 1.4 ULP in float64, 0.51 in float32."""
    return _quadrant(x, 1)


def tan(x: Expr) -> Expr:
    """Tangent: sin(r) / cos(r), in odd quarters -cos(r) / sin(r); NaN from 2**48 on.

    Largest error seen: 1.7 ULP in float64, 0.51 in float32.
    """
    k, r, s, c = _parts(x)
    odd = (k & 1).eq(1)
    top, top_low = odd.where(-1, r), odd.where(-c, s)
    bottom, bottom_low = odd.where(r, 1), odd.where(s, c)
    if x.dtype == FLOAT32:
        value = (top + top_low) / (bottom + bottom_low)
    else:
        top, top_low = fast_two_sum(top, top_low)
        bottom, bottom_low = fast_two_sum(bottom, bottom_low)
        inverse = 1 / bottom
        ratio = top * inverse
        value = ratio + (ratio.fma(-bottom, top) + (top_low - ratio * bottom_low)) * inverse
    return x.eq(0).where(x, value.to(x.dtype))
