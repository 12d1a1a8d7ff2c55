"""Primitives that move elements and compute nothing: broadcast, reshape, permute, slice, pad, cat.

All are linear, and each one's gradient is its adjoint: sum for broadcast, pad for slice, slices for cat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np

from ..errors import ShapeError, message
from ..graph.graph import Arg, Case, DType, Op, Shape, exact
from .reduce import SUM
from .rules import ANY, LENGTHS, Concatenation, chance, check_kinds, pick, same_dtype

StridedSlice = tuple[tuple[int, int, int], ...]  # (start, step, length) per axis


def _broadcast_shape(x: Shape, shape: Shape, axes: tuple[int, ...]) -> Shape:
    kept = tuple(n for a, n in enumerate(shape) if a not in axes)
    if len(kept) != len(x) or any(m not in (1, n) for m, n in zip(x, kept, strict=True)):
        raise ShapeError(
            message("broadcast", f"shape {x} for {shape}", "equal lengths or 1 on every axis of the operand")
        )
    return shape


def _broadcast(x: Any, shape: Shape, axes: tuple[int, ...]) -> Any:
    """A view with stride 0 along the repeated axes; np.broadcast_to costs ten times as much on small arrays."""
    if x.size and x.flags.c_contiguous:
        return np.ndarray(shape, x.dtype, x, 0, _broadcast_strides(x.shape, x.strides, shape, axes))
    return np.broadcast_to(np.expand_dims(x, axes), shape)


@lru_cache(maxsize=4096)
def _broadcast_strides(own: Shape, strides: tuple[int, ...], shape: Shape, axes: tuple[int, ...]) -> tuple[int, ...]:
    kept = iter(zip(own, strides, strict=True))
    result = [0] * len(shape)
    for a, n in enumerate(shape):
        if a not in axes:
            length, stride = next(kept)
            result[a] = stride if length == n else 0
    return tuple(result)


def _broadcast_vjp(g: Any, out: Any, x: Any, shape: Shape, axes: tuple[int, ...]) -> Any:
    stretched = _stretched(x.shape, shape, axes)
    if not stretched:
        return g.apply(SUM, axis=axes, keepdims=False)
    return g.apply(SUM, axis=tuple(sorted(axes + stretched)), keepdims=False).apply(RESHAPE, shape=x.shape)


@lru_cache(maxsize=4096)
def _stretched(own: Shape, shape: Shape, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The axes along which the operand had length 1 and was repeated."""
    kept = _kept(shape, axes)
    return tuple(a for a, n in zip(kept, own, strict=True) if n == 1 and shape[a] != 1)


def _broadcast_emit(read: Any, index: Any, x: Shape, shape: Shape, axes: tuple[int, ...]) -> Any:
    own = [i for a, i in enumerate(index) if a not in axes]
    return read(0, tuple(i if n == shape[a] else i * 0 for i, n, a in zip(own, x, _kept(shape, axes), strict=True)))


def _kept(shape: Shape, axes: tuple[int, ...]) -> list[int]:
    return [a for a in range(len(shape)) if a not in axes]


def _broadcast_vary(rng: np.random.Generator, x: Shape) -> Case:
    shape = [int(pick(rng, LENGTHS)) if n == 1 and chance(rng, 0.7) else n for n in x]
    places = sorted(int(rng.integers(0, len(x) + 1)) for _ in range(int(rng.integers(0, 3))))
    axes = tuple(place + k for k, place in enumerate(places))
    for axis in axes:
        shape.insert(axis, int(pick(rng, LENGTHS)))
    return Case((Arg(shape=x),), {"shape": tuple(shape), "axes": axes})


def _always(varies: Any, out: Shape, *shapes: Shape, **attrs: Any) -> bool:
    return True


def _broadcast_onnx(to: Any, x: Any, shape: Shape, axes: tuple[int, ...]) -> Any:
    """Where there are no elements, from nothing: a runtime may take a length of 1 for the longer one."""
    if 0 in shape:
        return to.filled(0, shape, x.dtype).name
    return to("Expand", to("Unsqueeze", x, axes) if axes else x, shape)


# The result has `shape`; `axes` are its axes that x lacks, the others are x's own, in order, each equal or stretched
# from 1.
BROADCAST = Op(
    "broadcast",
    "movement",
    shape=_broadcast_shape,
    dtype=same_dtype("broadcast", *ANY),
    numpy=_broadcast,
    vjp=(_broadcast_vjp,),
    emit=_broadcast_emit,
    domain=(
        Case((Arg(shape=(3,)),), {"shape": (2, 3), "axes": (0,)}),
        Case((Arg(shape=(2, 1)),), {"shape": (2, 3), "axes": ()}),
        Case((Arg(shape=(1, 3)),), {"shape": (2, 4, 3), "axes": (0,)}),
        Case((Arg(shape=()),), {"shape": (2, 2), "axes": (0, 1)}),
        Case((Arg(shape=(2, 4)),), {"shape": (2, 3, 4), "axes": (1,)}),
        Case((Arg(shape=(1, 2)),), {"shape": (0, 2), "axes": ()}),
    ),
    linear=True,
    vary=_broadcast_vary,
    view=True,
    follows=_always,
    quiet=True,
    onnx=_broadcast_onnx,
)


def _reshape_shape(x: Shape, shape: Shape) -> Shape:
    if math.prod(x) != math.prod(shape) or any(n < 0 for n in shape):
        got = f"shape {x} ({math.prod(x)} elements) for {shape} ({math.prod(shape)} elements)"
        raise ShapeError(message("reshape", got, "as many elements"))
    return shape


def _reshape_vary(rng: np.random.Generator, x: Shape) -> Case:
    shape, size = [], math.prod(x)
    for _ in range(int(rng.integers(0, 3))):
        shape.append(int(pick(rng, [n for n in range(1, size + 1) if size % n == 0] or [0])))
        size = size // shape[-1] if shape[-1] else 0
    shape.append(size)
    if chance(rng, 0.3):
        shape.insert(int(rng.integers(len(shape) + 1)), 1)
    return Case((Arg(shape=x),), {"shape": tuple(shape)})


def is_squeeze(own: Shape, shape: Shape) -> bool:
    """Whether two shapes differ by axes of length 1 only."""
    return [exact(n) for n in own if n != 1] == [exact(n) for n in shape if n != 1]


def _reshape_follows(varies: Any, out: Shape, x: Shape, shape: Shape) -> bool:
    """No length varies that is not the first, which is taken apart or made of others as a whole."""
    return is_squeeze(x, out) or not any(map(varies, (*x[1:], *out[1:])))


RESHAPE: Op = Op(
    "reshape",
    "movement",
    shape=_reshape_shape,
    dtype=same_dtype("reshape", *ANY),
    numpy=lambda x, shape: x.reshape(shape),
    vjp=(lambda g, out, x, shape: g.apply(RESHAPE, shape=x.shape),),
    domain=(
        Case((Arg(shape=(2, 3, 4)),), {"shape": (6, 4)}),
        Case((Arg(shape=()),), {"shape": (1, 1)}),
        Case((Arg(shape=(3, 0, 2)),), {"shape": (0, 5)}),
    ),
    linear=True,
    vary=_reshape_vary,
    follows=_reshape_follows,
    quiet=True,
    onnx=lambda to, x, shape: to("Reshape", x, shape, allowzero=1),
)


def _permute_shape(x: Shape, order: tuple[int, ...]) -> Shape:
    if sorted(order) != list(range(len(x))):
        raise ShapeError(message("permute", f"order {order} for shape {x}", f"each of the axes 0..{len(x) - 1} once"))
    return tuple(x[a] for a in order)


def inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes `order`."""
    return tuple(order.index(a) for a in range(len(order)))


def _permute_words(x: Shape, order: tuple[int, ...]) -> str:
    moved = [axis for axis, source in enumerate(order) if axis != source]
    if len(moved) == 2:
        return f"transpose {moved[0]}, {moved[1]}"
    return f"permute {', '.join(map(str, order))}"


PERMUTE = Op(
    "permute",
    "movement",
    shape=_permute_shape,
    dtype=same_dtype("permute", *ANY),
    numpy=lambda x, order: x.transpose(order),
    vjp=(lambda g, out, x, order: g.permute(inverse(order)),),
    emit=lambda read, index, x, order: read(0, tuple(index[a] for a in inverse(order))),
    domain=(
        Case((Arg(shape=(2, 3, 4)),), {"order": (2, 0, 1)}),
        Case((Arg(shape=(7,)),), {"order": (0,)}),
        Case((Arg(shape=(3, 0, 2)),), {"order": (1, 2, 0)}),
    ),
    linear=True,
    vary=lambda rng, x: Case((Arg(shape=x),), {"order": tuple(int(a) for a in rng.permutation(len(x)))}),
    view=True,
    follows=_always,
    words=_permute_words,
    onnx=lambda to, x, order: to("Transpose", x, perm=order) if order else to("Identity", x),
)


def _slice_shape(x: Shape, bounds: StridedSlice) -> Shape:
    _check_bounds("slice", x, bounds)
    return tuple(length for _, _, length in bounds)


def _check_bounds(name: str, x: Shape, bounds: StridedSlice) -> None:
    ends = [start + step * (length - 1) for start, step, length in bounds if length]
    starts = [start for start, _, length in bounds if length]
    sizes = [n for n, (_, _, length) in zip(x, bounds, strict=False) if length]
    inside = all(min(a, b) >= 0 and max(a, b) < n for a, b, n in zip(starts, ends, sizes, strict=False))
    if len(bounds) != len(x) or not inside or any(length < 0 for _, _, length in bounds):
        raise ShapeError(message(name, f"(start, step, length) {bounds} for shape {x}", "elements inside the array"))


@lru_cache(maxsize=4096)
def as_slices(bounds: StridedSlice) -> tuple[slice, ...]:
    """The Python slices for (start, step, length) per axis."""

    def one(start: int, step: int, length: int) -> slice:
        if length == 0:
            return slice(0, 0)
        stop = start + step * length
        return slice(start, stop if stop >= 0 else None, step)

    return tuple(one(*bound) for bound in bounds)


def _pad(x: Any, shape: Shape, bounds: StridedSlice) -> Any:
    result = np.zeros(shape, x.dtype)
    result[as_slices(bounds)] = x
    return result


def _pad_shape(x: Shape, shape: Shape, bounds: StridedSlice) -> Shape:
    _check_bounds("pad", shape, bounds)
    if x != tuple(length for _, _, length in bounds):
        raise ShapeError(message("pad", f"shape {x} for (start, step, length) {bounds}", "the lengths"))
    return shape


def _pad_emit(read: Any, index: Any, x: Shape, shape: Shape, bounds: StridedSlice) -> Any:
    """x where the element comes from it, for steps of 1 and -1: a rewrite makes these of the others."""
    own = tuple((i - start) * (1 if step > 0 else -1) for i, (start, step, _) in zip(index, bounds, strict=True))
    return read(0, own, guards=tuple((place, 0, length) for place, (_, _, length) in zip(own, bounds, strict=True)))


def _bound(rng: np.random.Generator, n: int) -> tuple[int, int, int]:
    """(start, step, length) within an axis."""
    if n == 0 or chance(rng, 0.4):
        return (0, 1, n)
    step = int(pick(rng, (1, 1, 2, 3, -1, -2)))
    length = int(rng.integers(0 if chance(rng, 0.1) else 1, (n - 1) // abs(step) + 2))
    reach = abs(step) * max(0, length - 1)
    low = int(rng.integers(0, n - reach))
    return (0, 1, 0) if length == 0 else (low if step > 0 else low + reach, step, length)


def _slice_vary(rng: np.random.Generator, x: Shape) -> Case:
    return Case((Arg(shape=x),), {"bounds": tuple(_bound(rng, n) for n in x)})


def _inside(rng: np.random.Generator, n: int, wide: int) -> tuple[int, int, int]:
    """(start, step, length) of n elements within a longer axis."""
    if n == 0:
        return (0, 1, 0)
    step = int(pick(rng, [s for s in (1, 2, 3) if s * (n - 1) < wide]))
    low = int(rng.integers(0, wide - step * (n - 1)))
    return (low, step, n) if chance(rng, 0.7) else (low + step * (n - 1), -step, n)


def _pad_vary(rng: np.random.Generator, x: Shape) -> Case:
    wide = tuple(n * int(rng.integers(1, 3)) + int(rng.integers(0, 3)) for n in x)
    bounds = tuple(_inside(rng, n, m) for n, m in zip(x, wide, strict=True))
    return Case((Arg(shape=x),), {"shape": wide, "bounds": bounds})


def _cut_follows(varies: Any, out: Shape, x: Shape, bounds: StridedSlice, **attrs: Any) -> bool:
    """What varies is whole on both sides."""
    varying = [axis for axis, lengths in enumerate(zip(out, x, strict=True)) if any(map(varies, lengths))]
    return all(
        bounds[axis][:2] == (0, 1) and all(map(varies, (bounds[axis][2], out[axis], x[axis]))) for axis in varying
    )


def _slice_words(x: Shape, bounds: StridedSlice) -> str:
    parts = []
    for (start, step, length), n in zip(bounds, x, strict=True):
        stop = start + step * length
        if (start, step, length) == (0, 1, n):
            parts.append(":")
        elif length == 1:
            parts.append(f"{start}")
        else:
            parts.append(f"{start}:{stop if stop >= 0 else ''}" + (f":{step}" if step != 1 else ""))
    return f"slice [{', '.join(parts)}]"


def _slice_onnx(to: Any, x: Any, bounds: StridedSlice) -> Any:
    """Ends before the first element are as far off as can be: -1 would be the last one."""
    cut = [a for a, (bound, n) in enumerate(zip(bounds, x.shape, strict=True)) if bound != (0, 1, n)]
    if not cut:
        return to("Identity", x)
    slices = [as_slices(bounds)[a] for a in cut]
    ends = [_FIRST if one.stop is None else one.stop for one in slices]
    return to("Slice", x, [one.start for one in slices], ends, cut, [one.step or 1 for one in slices])


_FIRST = -(2**40)


def _pad_onnx(to: Any, x: Any, shape: Shape, bounds: StridedSlice) -> Any:
    """Axes whose elements are moved apart or turned round pick them, and zeros from behind the last one."""
    apart = [a for a, (_, step, length) in enumerate(bounds) if step != 1 and length > 1]
    for a in apart:
        start, step, length = bounds[a]
        sources = np.full(shape[a], length, np.int64)
        sources[start + step * np.arange(length)] = np.arange(length)
        wide = to("Pad", x, [*(0 for _ in x.shape), *(int(b == a) for b in range(len(x.shape)))])
        x = x._replace(name=to("Gather", wide, sources, axis=a))
    before = [0 if a in apart else start for a, (start, _, _) in enumerate(bounds)]
    after = [
        0 if a in apart else n - start - length
        for a, (n, (start, _, length)) in enumerate(zip(shape, bounds, strict=True))
    ]
    return to("Pad", x, [*before, *after])


_CUTS: tuple[tuple[Shape, StridedSlice], ...] = (
    ((4, 5), ((1, 1, 2), (4, -2, 3))),
    ((7,), ((0, 3, 3),)),
    ((3, 0, 2), ((0, 1, 2), (0, 1, 0), (1, 1, 1))),
)

SLICE: Op = Op(
    "slice",
    "movement",
    shape=_slice_shape,
    dtype=same_dtype("slice", *ANY),
    numpy=lambda x, bounds: x[(*as_slices(bounds), ...)],
    vjp=(lambda g, out, x, bounds: g._placed(x.shape, bounds),),
    emit=lambda read, index, x, bounds: read(
        0, tuple(i * step + start for i, (start, step, _) in zip(index, bounds, strict=True))
    ),
    domain=tuple(Case((Arg(shape=shape),), {"bounds": bounds}) for shape, bounds in _CUTS),
    linear=True,
    vary=_slice_vary,
    view=True,
    follows=_cut_follows,
    words=_slice_words,
    onnx=_slice_onnx,
)

# The adjoint of slice: zeros of `shape` with x written at `bounds`.
PAD: Op = Op(
    "pad",
    "movement",
    shape=_pad_shape,
    dtype=same_dtype("pad", *ANY),
    numpy=_pad,
    vjp=(lambda g, out, x, shape, bounds: g.apply(SLICE, bounds=bounds),),
    emit=_pad_emit,
    domain=tuple(
        Case((Arg(shape=tuple(length for _, _, length in bounds)),), {"shape": shape, "bounds": bounds})
        for shape, bounds in _CUTS
    ),
    linear=True,
    vary=_pad_vary,
    cost=1,
    follows=_cut_follows,
    onnx=lambda to, x, shape, bounds: _pad_onnx(to, x, shape, bounds) if shape else to("Identity", x),
)


def _cat_shape(*shapes: Shape, axis: int) -> Shape:
    first = shapes[0]
    for shape in shapes[1:]:
        if shape[:axis] + shape[axis + 1 :] != first[:axis] + first[axis + 1 :] or len(shape) != len(first):
            got = " and ".join(map(str, shapes))
            raise ShapeError(message("cat", f"shapes {got}", f"shapes that are equal except on axis {axis}"))
    if not 0 <= axis < len(first):
        raise ShapeError(message("cat", f"axis {axis} for shape {first}", "an axis of the operands"))
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


def _cat_dtype(*dtypes: DType, axis: int) -> DType:
    check_kinds("cat", dtypes, ANY)
    return dtypes[0]


def _cat_emit(read: Any, index: Any, *shapes: Shape, axis: int) -> Any:
    result, start = None, 0
    for k, shape in enumerate(shapes):
        length, place = shape[axis], index[axis] - start
        if length:
            part = read(k, (*index[:axis], place, *index[axis + 1 :]), guards=((place, 0, length),))
            result = part if result is None else (read.number(place) < 0).where(result, part)
        start += length
    return read(0, index) if result is None else result


def _cat_vjp(g: Any, out: Any, *xs: Any, axis: int, wanted: Sequence[int]) -> dict[int, Any]:
    starts = list(accumulate((x.shape[axis] for x in xs), initial=0))
    return {k: g.narrow(axis, starts[k], xs[k].shape[axis]) for k in wanted}


def _cat_vary(rng: np.random.Generator, x: Shape) -> Case | None:
    if not x:
        return None
    axis = int(rng.integers(len(x)))
    other = Arg(shape=(*x[:axis], -1, *x[axis + 1 :]))
    return Case((Arg(shape=x), *(other for _ in range(int(rng.integers(0, 3))))), {"axis": axis})


CAT = Op(
    "cat",
    "movement",
    shape=_cat_shape,
    dtype=_cat_dtype,
    numpy=lambda *xs, axis: np.concatenate(xs, axis),
    vjp=_cat_vjp,
    emit=Concatenation(_cat_emit, lambda axis: axis),
    domain=(
        Case((Arg(shape=(2, 3)), Arg(shape=(2, 1)), Arg(shape=(2, 0))), {"axis": 1}),
        Case((Arg(shape=(2,)),), {"axis": 0}),
    ),
    linear=True,
    vary=_cat_vary,
    follows=lambda varies, out, *shapes, axis: not any(varies(shape[axis]) for shape in (out, *shapes)),
    onnx=lambda to, *xs, axis: to("Concat", *xs, axis=axis),
)

OPS = (BROADCAST, RESHAPE, PERMUTE, SLICE, PAD, CAT)
