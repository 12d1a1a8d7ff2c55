"""Functions of several tensors that no single one owns: cat, stack and their like, meshgrid, einsum."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Literal

import numpy as np

from ..errors import ConfigError, DTypeError, ShapeError, message
from ..ops.movement import RESHAPE
from ..support.settings import is_whole, shown, typed
from .creation import as_tensor
from .door import Rule, are_tensors, converted, named
from .shape import normal_axis
from .tensor import Tensor


def as_list(name: str, tensors: Any) -> list[Any]:
    """What is to be joined; raises DTypeError for what is no list."""
    if not isinstance(tensors, (Sequence, Tensor, np.ndarray)) or isinstance(tensors, (str, bytes, range)):
        if not isinstance(tensors, Iterator):
            raise DTypeError(message(name, shown(tensors), "a list of tensors"))
    elif getattr(tensors, "shape", None) == ():
        raise DTypeError(message(name, "a 0-d tensor", "a list of tensors"))
    return list(tensors)


def tensors_of(name: str, tensors: Sequence[Any], rule: Rule = "operator") -> list[Tensor]:
    """What is to be joined as tensors; raises ShapeError for nothing."""
    if are_tensors(tensors):
        return list(tensors)
    given = {f"operand {k}": x for k, x in enumerate(as_list(name, tensors))}
    if not given:
        raise ShapeError(message(name, "no tensors", "at least one"))
    return list({**given, **converted(name, given, {}, rule)}.values())


@named
def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors joined along one axis, in their common dtype.

    >>> cat([[1, 2], [3]])
    tensor([1, 2, 3])
    """
    first, *rest = tensors_of("cat", tensors)
    return first.cat_with(*rest, dim=dim)


concat = concatenate = cat


@named
def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new axis.

    >>> import tinygrad_nn as tg
    >>> tg.stack(([1, 2], [3, 4]))
    tensor([[1, 2],
            [3, 4]])
    >>> tg.stack(([1, 2], [3, 4]), dim=1)
    tensor([[1, 3],
            [2, 4]])
    """
    listed = tensors_of("stack", tensors)
    if len({x.shape for x in listed}) > 1:
        got = " and ".join(str(x.shape) for x in listed)
        raise ShapeError(message("stack", f"shapes {got}", "equal shapes", "cat joins along an axis there is"))
    a = normal_axis("stack", dim, listed[0].ndim + 1)
    first, *rest = [x.apply(RESHAPE, shape=(*x.shape[:a], 1, *x.shape[a:])) for x in listed]
    return first.cat_with(*rest, dim=a)


@named
def hstack(tensors: Sequence[Any]) -> Tensor:
    """Side by side: along axis 1, vectors along axis 0.

    >>> import tinygrad_nn as tg
    >>> tg.hstack(([1, 2], [3]))
    tensor([1, 2, 3])
    """
    listed = [x.reshape(1) if x.ndim == 0 else x for x in tensors_of("hstack", tensors)]
    return cat(listed, 0 if listed[0].ndim == 1 else 1)


@named
def vstack(tensors: Sequence[Any]) -> Tensor:
    """Below one another: along axis 0, vectors as rows.

    >>> import tinygrad_nn as tg
    >>> tg.row_stack(([1, 2], [3, 4]))
    tensor([[1, 2],
            [3, 4]])
    """
    return cat([x.reshape((1, -1)) if x.ndim < 2 else x for x in tensors_of("vstack", tensors)], 0)


def meshgrid(*tensors: Any, indexing: Literal["ij", "xy"] = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid: one tensor per axis, all of the grid's shape.

    >>> import tinygrad_nn as tg
    >>> rows, columns = tg.meshgrid(tg.tensor([1, 2]), tg.tensor([3, 4, 5]), indexing="ij")
    >>> rows
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    if not isinstance(indexing, str) or indexing not in ("ij", "xy"):
        raise ConfigError(message("meshgrid", f"indexing {indexing!r}", "'ij' or 'xy'"))
    listed = [
        as_tensor(x).reshape(-1)
        for x in (tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors)
    ]
    shape = tuple(x.shape[0] for x in listed)
    last = len(listed) - 1
    grids = [x.reshape((1,) * k + (-1,) + (1,) * (last - k)).broadcast_to(shape) for k, x in enumerate(listed)]
    if indexing == "xy" and len(listed) > 1:
        grids = [grid.transpose(0, 1) for grid in grids]
    return tuple(grids)


@typed
def einsum(equation: Any, *operands: Any) -> Tensor:
    """Einstein's sum: `einsum("ij,jk->ik", a, b)`. Repeated letters, `...` and an output left out work as in NumPy.

    The operands may be in one list, and axes may be numbers: `einsum(a, [0, 1], b, [1, 2], [0, 2])`. Two operands at a
    time, from the left; each pair is one batched matrix product.

    >>> einsum("i,i->", [1.0, 2.0], [3.0, 4.0]).item()
    11.0
    """
    if not isinstance(equation, str):
        equation, operands = _lettered(equation, *operands)
    elif len(operands) == 1 and isinstance(one := operands[0], (list, tuple)):
        operands = tuple(one) if "," in equation or any(isinstance(x, (Tensor, np.ndarray)) for x in one) else operands
    listed = tensors_of("einsum", operands, "product")
    inputs, output = _parsed(equation, listed)
    x, letters = _diagonal(listed[0], inputs[0], equation)
    for k, y in enumerate(listed[1:], start=1):
        y, other = _diagonal(y, inputs[k], equation)
        needed = set(output).union(*inputs[k + 1 :])
        x, letters = _pair(x, letters, y, other, needed)
    gone = tuple(a for a, letter in enumerate(letters) if letter not in output)
    x = x.sum(gone) if gone else x
    letters = "".join(letter for letter in letters if letter in output)
    return x.permute(tuple(letters.index(letter) for letter in output))


def _lettered(*given: Any) -> tuple[str, tuple[Any, ...]]:
    """The equation, and the operands, of operands that each have a list of numbers for its axes behind them."""
    terms = []
    for axes in (*given[1::2], *(given[-1:] if len(given) % 2 else ())):
        numbers = axes if isinstance(axes, (list, tuple)) else None
        if numbers is None or not all(one is Ellipsis or (is_whole(one) and 0 <= one < 52) for one in numbers):
            expected = "a text, or for each operand a list of its axes, numbers from 0 to 51"
            raise DTypeError(message("einsum", f"equation {shown(axes)}", expected))
        terms.append("".join("..." if one is Ellipsis else string.ascii_letters[one] for one in numbers))
    inputs = terms[: len(given) // 2]
    return ",".join(inputs) + ("->" + terms[-1] if len(given) % 2 else ""), given[: len(given) // 2 * 2 : 2]


def _parsed(equation: str, operands: Sequence[Tensor]) -> tuple[list[str], str]:
    """Letters per operand and of the output, with `...` written out as unused letters."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ShapeError(message("einsum", f"{equation!r} and {len(operands)} operands", "a term for each operand"))
    spare = [c for c in string.ascii_letters if c not in equation]
    ranks = [x.ndim - len(term.replace("...", "")) for term, x in zip(terms, operands, strict=True)]
    widest = max((rank for term, rank in zip(terms, ranks, strict=True) if "..." in term), default=0)
    inputs = []
    for term, rank, x in zip(terms, ranks, operands, strict=True):
        if (
            rank < 0
            or (rank > 0 and "..." not in term)
            or not set(term.replace("...", "")) <= set(string.ascii_letters)
        ):
            raise ShapeError(message("einsum", f"the term {term!r} for shape {x.shape}", "a letter for every axis"))
        inputs.append(term.replace("...", "".join(spare[widest - rank : widest]) if rank else ""))
    ellipsis = "".join(spare[:widest])
    if arrow:
        output = right.replace("...", ellipsis)
    else:
        letters = "".join(inputs)
        output = ellipsis + "".join(sorted(c for c in set(letters) if letters.count(c) == 1 and c not in ellipsis))
    if len(set(output)) != len(output) or not set(output) <= set("".join(inputs)):
        raise ShapeError(message("einsum", f"the output {right!r}", "letters of the inputs, each once"))
    return inputs, output


def _diagonal(x: Tensor, letters: str, equation: str) -> tuple[Tensor, str]:
    """Repeated letters of one operand become its diagonal."""
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            a = letters.index(letter)
            b = letters.index(letter, a + 1)
            if x.shape[a] != x.shape[b]:
                raise ShapeError(
                    message(
                        "einsum", f"axes {x.shape[a]} and {x.shape[b]} for {letter!r} in {equation!r}", "equal lengths"
                    )
                )
            x = x.diagonal(0, a, b)
            letters = "".join(c for k, c in enumerate(letters) if k not in (a, b)) + letter
    return x, letters


def _pair(x: Tensor, xs: str, y: Tensor, ys: str, needed: set[str]) -> tuple[Tensor, str]:
    """Contract two operands: letters of both that are needed later are batch axes, the other shared ones are summed."""
    sizes: dict[str, int] = {}
    for letter, n in [*zip(xs, x.shape, strict=True), *zip(ys, y.shape, strict=True)]:
        if sizes.get(letter, 1) not in (1, n) and n != 1:
            raise ShapeError(message("einsum", f"lengths {sizes[letter]} and {n} for {letter!r}", "equal lengths"))
        sizes[letter] = max(sizes.get(letter, 1), n) if n != 0 and sizes.get(letter, 1) != 0 else 0
    x = x.expand_to(tuple(sizes[c] for c in xs))
    y = y.expand_to(tuple(sizes[c] for c in ys))
    alone_x = tuple(a for a, c in enumerate(xs) if c not in ys and c not in needed)
    alone_y = tuple(a for a, c in enumerate(ys) if c not in xs and c not in needed)
    x, xs = (x.sum(alone_x), "".join(c for a, c in enumerate(xs) if a not in alone_x)) if alone_x else (x, xs)
    y, ys = (y.sum(alone_y), "".join(c for a, c in enumerate(ys) if a not in alone_y)) if alone_y else (y, ys)
    batch = [c for c in xs if c in ys and c in needed]
    summed = [c for c in xs if c in ys and c not in needed]
    rows, columns = [c for c in xs if c not in ys], [c for c in ys if c not in xs]

    def matrix(t: Tensor, own: str, first: list[str], second: list[str]) -> Tensor:
        order = tuple(own.index(c) for c in (*batch, *first, *second))
        shape = (*(sizes[c] for c in batch), prod(sizes[c] for c in first), prod(sizes[c] for c in second))
        return t.permute(order).reshape(shape)

    product = matrix(x, xs, rows, summed)._product("einsum", matrix(y, ys, summed, columns))
    letters = [*batch, *rows, *columns]
    return product.reshape(tuple(sizes[c] for c in letters)), "".join(letters)
