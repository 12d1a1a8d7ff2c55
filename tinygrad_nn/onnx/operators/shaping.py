"""Operators that make tensors, or move elements without a look at them: shapes, slices, concatenation, padding."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Final

import numpy as np

from ...tensor import Tensor
from ...tensor.creation import full
from ...tensor.joining import cat
from ..elements import FLOAT, INTEGER64
from ..model import Constant
from .elementwise import element_of
from .form import Call, Fixed, Known, Value, axes_of, axis_of, bad, check_count, given, ints


def constant(
    *,
    value: Constant | None = None,
    value_float: float | None = None,
    value_floats: tuple[float, ...] | None = None,
    value_int: int | None = None,
    value_ints: tuple[int, ...] | None = None,
) -> Value:
    """A tensor of the file."""
    if value is not None:
        return Value(given(value.array), value.element)
    for numbers, element in (
        (value_float, FLOAT),
        (value_floats, FLOAT),
        (value_int, INTEGER64),
        (value_ints, INTEGER64),
    ):
        if numbers is not None:
            return Value(given(np.array(numbers, element.dtype)), element)
    raise bad("no value", "a tensor or numbers")


def constant_of_shape(shape: Known, *, value: Constant | None = None) -> Value:
    """One number everywhere, by default 0."""
    number, element = (value.array, value.element) if value is not None else (np.zeros(1, FLOAT.dtype), FLOAT)
    if number.size != 1:
        raise bad(f"{number.size} values", "one")
    return Value(full(ints(shape), number.reshape(-1)[0].item(), dtype=element.dtype), element)


def shape_of(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    """The lengths."""
    return given(np.array(x.shape[slice(*_clipped(start, end, x.ndim))], np.int64))


def _clipped(start: int, end: int | None, rank: int) -> tuple[int, int]:
    low, high = (one + rank if one < 0 else one for one in (start, rank if end is None else end))
    return min(max(low, 0), rank), min(max(high, 0), rank)


def size_of(x: Tensor) -> Tensor:
    """The number of elements."""
    return given(np.array(x.numel(), np.int64))


def identity(x: Value) -> Value:
    """What comes."""
    return x


def reshape(
    x: Tensor, lengths: Known | None = None, *, shape: Any = None, allowzero: int = 0, consumed_inputs: Any = None
) -> Tensor:
    """Another shape. A length of 0 is that of the operand, unless zeros are allowed; one of -1 is what is left."""
    wanted = ints(lengths if shape is None else shape)
    if not allowzero:
        if any(n == 0 and k >= x.ndim for k, n in enumerate(wanted)):
            raise bad(f"shape {wanted} for {x.shape}", "a 0 only where the operand has an axis")
        wanted = [x.shape[k] if n == 0 else n for k, n in enumerate(wanted)]
    if -1 in wanted and not x.numel():
        rest = prod(n for n in wanted if n != -1)
        wanted = [(x.numel() // rest if rest else 0) if n == -1 else n for n in wanted]
    return x.reshape(wanted)


def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """Two axes: those before an axis, and those from it on."""
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


def transpose(x: Tensor, *, perm: Any = None) -> Tensor:
    """Axes in another order, by default backwards."""
    return x.permute(*(range(x.ndim)[::-1] if perm is None else perm))


def squeeze(x: Tensor, which: Known | None = None, *, axes: Any = None) -> Tensor:
    """Without these axes of length 1, by default all of them."""
    wanted = which if axes is None else axes
    gone = [k for k, n in enumerate(x.shape) if n == 1] if wanted is None else axes_of(wanted, x.ndim)
    if any(x.shape[k] != 1 for k in gone):
        raise bad(f"axes {gone} of shape {x.shape}", "axes of length 1")
    return x.reshape([n for k, n in enumerate(x.shape) if k not in gone])


def unsqueeze(x: Tensor, which: Known | None = None, *, axes: Any = None) -> Tensor:
    """With axes of length 1 there, as the result counts them."""
    wanted = ints(which if axes is None else axes)
    new = axes_of(wanted, x.ndim + len(wanted))
    rest = iter(x.shape)
    return x.reshape([1 if k in new else next(rest) for k in range(x.ndim + len(new))])


def concat(*parts: Tensor, axis: int = 1) -> Tensor:
    """One behind the other along an axis."""
    return cat(parts, axis)


def split(
    call: Call,
    x: Tensor,
    sizes: Known | None = None,
    *,
    axis: int = 0,
    split: Any = None,
    num_outputs: int | None = None,
) -> tuple[Tensor, ...]:
    """Parts along an axis, of given sizes or as equal as they can be."""
    whole = x.shape[axis_of(axis, x.ndim)]
    wanted = sizes if split is None else split
    if wanted is None:
        count = num_outputs or len(call.outputs)
        each = -(-whole // count)
        wanted = [max(0, min(each, whole - k * each)) for k in range(count)]
    lengths = ints(wanted)
    if sum(lengths) != whole or min(lengths, default=0) < 0:
        raise bad(f"parts {lengths} of length {whole}", "lengths with that sum")
    return x.split(lengths, axis)


def sliced(
    x: Tensor,
    begin: Known | None = None,
    stop: Known | None = None,
    which: Known | None = None,
    steps: Known | None = None,
    *,
    starts: Any = None,
    ends: Any = None,
    axes: Any = None,
) -> Tensor:
    """From here to there along some axes, with a step that may be negative."""
    first, last = ints(begin if starts is None else starts), ints(stop if ends is None else ends)
    along = which if axes is None else axes
    numbers = list(range(len(first))) if along is None else axes_of(along, x.ndim)
    by = [1] * len(first) if steps is None else ints(steps)
    if not len(first) == len(last) == len(numbers) == len(by) or 0 in by or len(numbers) > x.ndim:
        raise bad(f"starts {first}, ends {last}, axes {numbers}, steps {by}", "as many of each, no step of 0")
    index = [slice(None)] * x.ndim
    for axis, low, high, step in zip(numbers, first, last, by, strict=True):
        n = x.shape[axis]
        low, high = (one + n if one < 0 else one for one in (low, high))
        if step > 0:
            index[axis] = slice(min(max(low, 0), n), min(max(high, 0), n), step)
        else:
            low, high = min(max(low, -1), n - 1), min(max(high, -1), n - 1)
            index[axis] = slice(low, None if high < 0 else high, step) if low >= 0 else slice(0, 0)
    for axis, one in enumerate(index):
        if (one.step or 1) < 0:
            places = range(x.shape[axis])[one]
            if places:  # the same elements forwards, then turned round
                x = x[(slice(None),) * axis + (slice(places[-1], places[0] + 1, -int(one.step)),)].flip(axis)
            else:
                x = x[(slice(None),) * axis + (slice(0, 0),)]
            index[axis] = slice(None)
    return x[tuple(index)] if x.ndim else x


def expand(x: Tensor, shape: Known) -> Tensor:
    """Repeated along axes of length 1 and new ones, both ways."""
    wanted = np.broadcast_shapes(x.shape, tuple(ints(shape)))
    return x.broadcast_to(wanted)


def tile(x: Tensor, repeats: Known, axis: Known | None = None) -> Tensor:
    """Repeated as a whole. In opset 1: so many times along one axis."""
    if axis is not None:
        times = [1] * x.ndim
        times[axis_of(ints(axis)[0], x.ndim)] = ints(repeats)[0]
        return x.tile(times)
    return x.tile(ints(repeats))


def pad(
    x: Tensor,
    widths: Known | None = None,
    number: Fixed | None = None,
    which: Known | None = None,
    *,
    pads: Any = None,
    paddings: Any = None,
    mode: str = "constant",
    value: float = 0.0,
) -> Tensor:
    """More, or with a negative width less, on both sides of axes: a number, or what `mode` makes of the elements."""
    wide = ints(next(one for one in (widths, pads, paddings) if one is not None))
    along = list(range(x.ndim)) if which is None else axes_of(which, x.ndim)
    if len(wide) != 2 * len(along):
        raise bad(f"{len(wide)} widths", f"two for each of {len(along)} axes")
    places = {axis: (wide[k], wide[k + len(along)]) for k, axis in enumerate(along)}
    return padded(x, places, mode, number if number is not None else value)


def padded(x: Tensor, widths: Mapping[int, tuple[int, int]], mode: str = "constant", value: Any = 0.0) -> Tensor:
    """Padding along axes. Elements go where indices say; numbers are concatenated."""
    for axis, (before, after) in widths.items():
        low, high = max(-before, 0), x.shape[axis] - max(-after, 0)
        if low or high < x.shape[axis]:
            x = x.narrow(axis, low, max(high - low, 0))
        before, after = max(before, 0), max(after, 0)
        if not before and not after:
            continue
        n = x.shape[axis]
        if mode == "constant":
            sides = []
            for width in (before, after):
                shape = [width if k == axis else length for k, length in enumerate(x.shape)]
                filled = value.to(x.dtype).reshape(()) if isinstance(value, Tensor) else x.new_tensor(value)
                sides += [filled.broadcast_to(shape)] if width else []
            x = cat([*sides[: before > 0], x, *sides[before > 0 :]], axis)
            continue
        places = np.arange(-before, n + after)
        if not n:
            raise bad(f"{mode} padding of an empty axis", "elements")
        if mode == "edge":
            places = places.clip(0, n - 1)
        elif mode == "wrap":
            places = places % n
        elif mode == "reflect":
            places = (n - 1) - np.abs((places % max(2 * n - 2, 1)) - (n - 1))
        else:
            raise bad(f"mode {mode}", "constant, edge, reflect or wrap")
        x = x.index_select(axis, given(places))
    return x


def center_crop_pad(x: Tensor, shape: Known, *, axes: Any = None) -> Tensor:
    """The middle of what is too long, zeros around what is too short."""
    along = list(range(x.ndim)) if axes is None else axes_of(axes, x.ndim)
    widths = {}
    for axis, wanted in zip(along, ints(shape), strict=True):
        more = wanted - x.shape[axis]
        before = more // 2 if more >= 0 else -(-more // 2)
        widths[axis] = (before, more - before)
    return padded(x, widths)


def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Channels as blocks of pixels; the depth comes first (DCR), or the column (CRD)."""
    n, c, h, w = x.shape
    b = blocksize
    if mode == "DCR":
        x = x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(n, c // b**2, b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(n, c // b**2, h * b, w * b)


def space_to_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Blocks of pixels as channels."""
    n, c, h, w = x.shape
    b = blocksize
    x = x.reshape(n, c, h // b, b, w // b, b)
    x = x.permute(0, 3, 5, 1, 2, 4) if mode == "DCR" else x.permute(0, 1, 3, 5, 2, 4)
    return x.reshape(n, c * b**2, h // b, w // b)


def range_of(start: Known, limit: Known, delta: Known, *, stash_type: int = 1) -> Tensor:
    """Numbers from one to another by a step."""
    first, end, step = (one.reshape(-1)[0] for one in (start, limit, delta))
    if not step:
        raise bad("a step of 0", "another")
    count = max(int(np.ceil((end - first) / step)), 0)
    check_count(count)
    return given((np.arange(count) * step + first).astype(start.dtype))


def eye_like(x: Value, *, dtype: int | None = None, k: int = 0) -> Value:
    """Ones on a diagonal, of the shape of a matrix."""
    from_type = x.element if dtype is None else element_of(dtype)
    rows, columns = x.tensor.shape
    element = from_type or FLOAT
    return Value(given(np.eye(rows, columns, k, dtype=element.dtype)), element)


def trilu(x: Tensor, k: Known | None = None, *, upper: int = 1) -> Tensor:
    """The part on one side of a diagonal, zeros on the other."""
    diagonal = 0 if k is None else max(min(ints(k)[0], 2**31), -(2**31))
    return x.triu(diagonal) if upper else x.tril(diagonal)


OPERATORS: Final[Mapping[str, Any]] = {
    "CenterCropPad": center_crop_pad,
    "Concat": concat,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "EyeLike": eye_like,
    "Flatten": flatten,
    "Identity": identity,
    "Pad": pad,
    "Range": range_of,
    "Reshape": reshape,
    "Shape": shape_of,
    "Size": size_of,
    "Slice": sliced,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Trilu": trilu,
    "Unsqueeze": unsqueeze,
}
