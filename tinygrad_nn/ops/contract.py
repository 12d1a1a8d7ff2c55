"""Contractions: batched matrix multiplication, of which einsum, tensordot and linear are composites, and what is known
of all contractions. Convolutions have a file of their own.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import ShapeError, message
from ..graph.graph import Arg, Case, Node, Op, Shape
from .rules import NUMBER, Part, chance, of_sum, same_dtype


def _shape(x: Shape, y: Shape, tx: bool, ty: bool) -> Shape:
    if len(x) < 2 or len(x) != len(y) or x[:-2] != y[:-2]:
        raise ShapeError(
            message("matmul", f"shapes {x} and {y}", "matrices with equal batch axes", "broadcast them first")
        )
    rows, inner = (x[-1], x[-2]) if tx else (x[-2], x[-1])
    other, columns = (y[-1], y[-2]) if ty else (y[-2], y[-1])
    if inner != other:
        left, right = (*x[:-2], rows, inner), (*y[:-2], other, columns)
        hint = f"the inner lengths {inner} and {other} differ"
        raise ShapeError(message("matmul", f"shapes {left} and {right}", "(..., n, k) and (..., k, m)", hint))
    return (*x[:-2], rows, columns)


def _matmul(x: Any, y: Any, tx: bool, ty: bool) -> Any:
    if x.ndim == 2:  # the same BLAS call at half of matmul's overhead
        return (x.T if tx else x).dot(y.T if ty else y)
    return np.matmul(x.mT if tx else x, y.mT if ty else y)


def _vjp_x(g: Any, out: Any, x: Any, y: Any, tx: bool, ty: bool) -> Any:
    return y.apply(MATMUL, g, tx=ty, ty=True) if tx else g.apply(MATMUL, y, tx=False, ty=not ty)


def _vjp_y(g: Any, out: Any, x: Any, y: Any, tx: bool, ty: bool) -> Any:
    return g.apply(MATMUL, x, tx=True, ty=tx) if ty else x.apply(MATMUL, g, tx=not tx, ty=False)


def _parts(x: Shape, y: Shape, tx: bool, ty: bool) -> tuple[Part, ...]:
    """All elements at once."""

    def factors(index: Any, at: Any) -> Any:
        (*batch, row, column), (k,) = index, at
        left = (*batch, k, row) if tx else (*batch, row, k)
        right = (*batch, column, k) if ty else (*batch, k, column)
        return (left, ()), (right, ())

    shape = _shape(x, y, tx, ty)
    return (Part((0,) * len(shape), (1,) * len(shape), shape, (x[-2 if tx else -1],), factors),)


def _vary(rng: np.random.Generator, x: Shape) -> Case | None:
    if len(x) < 2:
        return None
    tx, ty = chance(rng, 0.5), chance(rng, 0.5)
    inner = x[-2 if tx else -1]
    y = (*x[:-2], *((-1, inner) if ty else (inner, -1)))
    return Case((Arg(shape=x), Arg(shape=y)), {"tx": tx, "ty": ty})


def _onnx(to: Any, x: Any, y: Any, tx: bool, ty: bool) -> Any:
    if len(x.shape) == 2 and x.dtype.kind == "f":
        return to("Gemm", x, y, transA=int(tx), transB=int(ty))
    axes = len(x.shape)
    order = [*range(axes - 2), axes - 1, axes - 2]
    return to("MatMul", *(to("Transpose", z, perm=tuple(order)) if turned else z for z, turned in ((x, tx), (y, ty))))


# x @ y on the last two axes; `tx` and `ty` read an operand transposed, so x @ W.T and both gradients are one node each.
MATMUL = Op(
    "matmul",
    "contract",
    shape=_shape,
    dtype=same_dtype("matmul", *NUMBER),
    numpy=_matmul,
    vjp=(_vjp_x, _vjp_y),
    emit=_parts,
    domain=(
        Case((Arg(shape=(2, 3)), Arg(shape=(3, 4))), {"tx": False, "ty": False}),
        Case((Arg(shape=(2, 3)), Arg(shape=(4, 3))), {"tx": False, "ty": True}),
        Case((Arg(shape=(3, 2)), Arg(shape=(3, 4))), {"tx": True, "ty": False}),
        Case((Arg(shape=(3, 2)), Arg(shape=(4, 3))), {"tx": True, "ty": True}),
        Case((Arg(shape=(2, 1, 3)), Arg(shape=(2, 3, 2))), {"tx": False, "ty": False}),
        Case((Arg(shape=(2, 0)), Arg(shape=(0, 3))), {"tx": False, "ty": False}),
        Case((Arg(shape=(0, 2)), Arg(shape=(2, 3))), {"tx": False, "ty": False}),
    ),
    vary=_vary,
    error=of_sum(_matmul, lambda x, y, tx, ty: x.shape[-2 if tx else -1]),
    open_zero=True,
    onnx=_onnx,
    written=lambda tx, ty: f"{{}}{'ᵀ' * tx} @ {{}}{'ᵀ' * ty}",
)

OPS = (MATMUL,)


def parts(node: Node) -> tuple[Part, ...]:
    """The parts of a contraction: one, if its elements are computed alike."""
    found: tuple[Part, ...] = node.op.emit(*(operand.shape for operand in node.inputs), **node.attrs)
    return found


def inner_length(node: Node) -> int:
    """How many products an element of a contraction is the sum of, at most."""
    if node.op is MATMUL:
        return node.inputs[0].shape[-2 if node.attrs["tx"] else -1]
    return max((prod(part.lengths) for part in parts(node)), default=0)


def count_products(node: Node) -> int:
    """How many products all elements of a contraction are made of."""
    if node.op is MATMUL:
        return prod(node.shape) * inner_length(node)
    return sum(prod(part.shape) * prod(part.lengths) for part in parts(node))
