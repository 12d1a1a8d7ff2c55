"""Keys of `x[key]` written out, and those with positions or masks that are not known yet: in a traced function.

Positions that stand side by side are one lookup of whole slices; `x[arange(n), y]` picks one element of each line; for
all others NumPy says, of positions, which element stands where, and what the traced indices add to that is arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np

from ..errors import DTypeError, IndexOutOfRange, ShapeError, TraceError, message
from ..graph.graph import Shape
from ..ops.elementwise import WHERE
from ..ops.index import GATHER, PLACE
from ..ops.lookup import Called, out_of_range
from ..ops.movement import RESHAPE
from ..ops.rules import BOOL, INT64
from .context import user_line
from .core import Core, broadcast_shape, constant
from .view import row_major

ALL: Final = slice(None)
_KNOWN = (int, np.integer, np.ndarray, Core)  # parts of a key that look up


class Block(NamedTuple):
    """A lookup along one axis: of what, along which, at which positions, and whether several axes became that one."""

    base: Any
    axis: int
    index: Any
    merged: bool


def is_traced(key: Any) -> bool:
    """Whether a key has a tensor that is not known yet."""
    parts = key if isinstance(key, tuple) else (key,)
    return any(isinstance(part, Core) and part.is_traced for part in parts)


def mask_in(called: Called, x: Core, key: Any) -> tuple[Any, Core, int, int] | None:
    """What the rest of a key leaves of a tensor, its mask, expanded to that, how many axes the mask has, and how many
    come behind those; None without a mask that is traced.
    """
    parts = list(key) if isinstance(key, tuple) else [key]
    lookups = [k for k, part in enumerate(parts) if isinstance(part, (Core, list, range, np.ndarray))]
    masks = [k for k in lookups if isinstance(parts[k], Core) and parts[k].dtype == BOOL and parts[k].is_traced]
    if not masks:
        return None
    if len(lookups) > 1:
        got = f"a mask that is traced beside other indices, at {user_line()}"
        raise TraceError(message(called.name, got, "one mask, ints and slices", "index in two steps"))
    before, mask, after = parts[: masks[0]], parts[masks[0]], parts[masks[0] + 1 :]
    rest: Any = x if len(parts) == 1 else x[(*before, *[ALL] * mask.ndim, *after)]  # type: ignore[index]
    open_ended = any(part is Ellipsis for part in before)
    first = rest.ndim - mask.ndim - _kept(after) if open_ended else _kept(before)
    own = rest.shape[first : first + mask.ndim]
    if own != mask.shape:
        got = f"a mask of shape {mask.shape} for axes of lengths {own} of shape {x.shape}"
        raise ShapeError(message(called.name, got, "equal shapes"))
    behind = rest.ndim - first - mask.ndim
    return rest, mask.apply(RESHAPE, shape=(*own, *(1,) * behind)).expand_to(rest.shape), mask.ndim, behind


def _kept(parts: Sequence[Any]) -> int:
    """The axes that parts of a key leave."""
    return sum(part is None or isinstance(part, slice) for part in parts)


def masked_write(called: Called, rest: Core, mask: Core, count: int, behind: int, source: Core) -> Any:
    """A tensor with other elements where a mask holds: nobody knows how many, so that all get one value or one row."""
    shape, at = source.shape, source.ndim - behind - 1
    if at >= 0 and shape[at] != 1:
        got = f"values of shape {shape} for the elements where a traced mask holds, at {user_line()}"
        hint = "write x = tg.where(mask, values, x), with values in the shape of x"
        raise TraceError(message(called.name, got, "one value for all of them, whose number is not known", hint))
    if at >= 0:
        source = source.apply(RESHAPE, shape=(*shape[:at], *(1,) * count, *shape[at + 1 :]))
    return mask.apply(WHERE, source.expand_to(rest.shape), rest)


def block_of(called: Called, x: Core, parts: Sequence[Any]) -> Block | None:
    """The lookup that a key is, if its positions stand side by side."""
    places = [k for k, part in enumerate(parts) if isinstance(part, _KNOWN)]
    first, last = places[0], places[-1]
    if places != list(range(first, last + 1)):
        return None
    axes = [sum(part is not None for part in parts[:k]) for k in places]
    rest = [ALL if isinstance(part, _KNOWN) else part for part in parts]
    base: Any = x if all(isinstance(part, slice) and part == ALL for part in rest) else x[tuple(rest)]  # type: ignore[index]
    lengths = [x.shape[axis] for axis in axes]
    index = _flat(called, x, [parts[k] for k in places], lengths, row_major(tuple(lengths)))
    if len(places) > 1:
        merged = (*base.shape[:first], prod(lengths), *base.shape[last + 1 :])
        base = base.apply(RESHAPE, shape=merged)
    return Block(base, first, index, len(places) > 1)


def lines_of(called: Called, x: Core, parts: Sequence[Any]) -> Any:
    """x[arange(n), y], and the same with more axes: one element of each line. None for other keys."""
    *before, last = parts
    lines = x.shape[:-1]
    if not before or not isinstance(last, Core) or not all(isinstance(part, np.ndarray) for part in before):
        return None
    if np.broadcast_shapes(last.shape, *(part.shape for part in before)) != lines or 0 in lines:
        return None
    for own, part in zip(np.indices(lines, sparse=True), before, strict=True):
        if not np.array_equal(np.broadcast_to(part, lines), np.broadcast_to(own, lines)):
            return None
    index = _placed(called, last, x.shape[-1]).expand_to(lines).apply(RESHAPE, shape=(*lines, 1))
    return x.apply(GATHER, index, axis=len(lines), called=called).apply(RESHAPE, shape=lines)


def written_out(called: Called, key: Any, shape: Shape) -> list[Any]:
    """The key with a part for every axis, and None: ints, slices, arrays of positions, and traced tensors."""
    parts: list[Any] = []
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, Core) and part.is_traced:
            if part.dtype.kind != "i":
                got = f"an index of dtype {part.dtype.name}"
                raise DTypeError(message(called.name, got, "integers or bools", "convert it with .long()"))
            parts.append(part)
        elif isinstance(part, (Core, list, range, np.ndarray)):
            array = np.asarray(part._value(called.name) if isinstance(part, Core) else part)
            parts += array.nonzero() if array.dtype == bool else [array.astype(np.int64)]
        else:
            parts.append(part)
    return for_every_axis(called.name, parts, shape)


def for_every_axis(name: str, parts: list[Any], shape: Shape) -> list[Any]:
    """The parts of a key with slices for the axes that it does not name: where an Ellipsis stands, or at the end."""
    used = sum(1 for part in parts if part is not None and part is not Ellipsis)
    if used > len(shape) or sum(part is Ellipsis for part in parts) > 1:
        raise IndexOutOfRange(message(name, f"{used} indices for shape {shape}", f"at most {len(shape)}"))
    at = next((k for k, part in enumerate(parts) if part is Ellipsis), len(parts))
    return [*parts[:at], *[ALL] * (len(shape) - used), *parts[at + 1 :]]


def places_of(called: Called, x: Core, parts: Sequence[Any]) -> Any:
    """Where the elements that a key names lie in the flattened tensor."""
    known = tuple(np.zeros(part.shape, np.int64) if isinstance(part, Core) else part for part in parts)
    axes = [part for part in parts if part is not None]
    lookups = [(k, part) for k, part in enumerate(axes) if isinstance(part, _KNOWN)]
    try:
        fixed = np.arange(prod(x.shape)).reshape(x.shape)[known]
        common = np.broadcast_shapes(*(np.shape(part) for _, part in lookups))
        # Of lengths that say where the axes of the index are: 2, and 1 elsewhere.
        form = tuple(np.zeros((2,) * len(common), int) if isinstance(part, _KNOWN) else part and ALL for part in parts)
        first = np.zeros((1,) * x.ndim)[form].shape.index(2) if common else 0
    except (IndexError, ValueError) as error:
        raise IndexOutOfRange(message(called.name, f"{error} for shape {x.shape}", "an index inside of it")) from None
    strides = row_major(x.shape)
    traced = [(k, part) for k, part in lookups if isinstance(part, Core)]
    added = _flat(
        called, x, [part for _, part in traced], [x.shape[k] for k, _ in traced], [strides[k] for k, _ in traced]
    )
    behind = fixed.ndim - first - len(common)
    return x.handle(constant(fixed)) + added.apply(RESHAPE, shape=(*added.shape, *(1,) * behind))


def _flat(called: Called, x: Core, parts: Sequence[Any], lengths: Sequence[int], strides: Sequence[int]) -> Any:
    """The sum of positions on several axes, each times a stride, as an index."""
    total: Any = None
    for part, length, stride in zip(parts, lengths, strides, strict=True):
        if isinstance(part, Core):
            index: Any = _placed(called, part, length)
            index = index if stride == 1 and len(parts) == 1 else index.cast(INT64) * stride
        else:
            array = np.asarray(part)
            if ((array < -length) | (array >= length)).any():
                raise out_of_range(called, array, length, -length)
            index = x.handle(constant(np.where(array < 0, array + length, array).astype(np.int64) * stride))
        if total is not None:
            broadcast_shape(called.name, total.shape, index.shape)
        total = index if total is None else total + index
    return total


def _placed(called: Called, index: Core, length: int) -> Any:
    return index.apply(PLACE, size=length, called=called)
