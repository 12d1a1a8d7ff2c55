"""Convolutions and windows: contractions of arrays that slide along each other.

A convolution is an einsum with spatial axes behind the named ones: `roles` says what the named axes are ("nc,oc->no"
for a batch, "ngc,goc->ngo" in groups), a `Window` for each spatial axis how the operands meet along it. Its gradients
are convolutions with other roles and windows, so derivatives of any order are. `windows` is the view of what slides by,
and `overlap` its adjoint, which adds up what lies on the same place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, reduce
from itertools import product
from math import gcd, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..errors import ShapeError, message
from ..graph.graph import Arg, Case, Op, Shape
from .index import index_add_onnx
from .rules import ANY, FLOAT32, NUMBER, Part, chance, of_sum, pick, same_dtype


class Window(NamedTuple):
    """How two operands meet along an axis: element k of the result is the sum over j of x[i] * y[j], where
    `spread * i = stride * k + dilation * j + start` has a solution inside of x.

    In the words of others: `spread` dilates x, `dilation` y, and -start is the padding in front; `length`, of the
    result, stands for the padding behind. All but `length` and `spread` may be negative.
    """

    length: int
    stride: int = 1
    dilation: int = 1
    start: int = 0
    spread: int = 1


Windows = tuple[Window, ...]


class Run(NamedTuple):
    """The results `first + step * q` for q below `results`: sums over taps `tap + every * t` for t below `taps`, of
    elements `at + by * q + along * t`.
    """

    first: int
    step: int
    results: int
    tap: int
    every: int
    taps: int
    at: int
    by: int
    along: int


@lru_cache(maxsize=4096)
def _runs(window: Window, taps: int) -> tuple[Run, ...]:
    """The results along an axis, one run for those that read every tap; where x is spread, as many as it takes to have
    none that reads between two elements.
    """
    length, stride, dilation, start, spread = window
    step, shared = spread // gcd(stride, spread), gcd(dilation, spread)
    every, runs = spread // shared, []
    for first in range(max(1, min(step, length))):
        place = stride * first + start
        tap = next((j for j in range(min(every, taps)) if (place + dilation * j) % spread == 0), taps)
        found = max(0, -(-(taps - tap) // every))
        at = (place + dilation * tap) // spread
        count = -(-(length - first) // step)
        runs.append(Run(first, step, count, tap, every, found, at, stride * step // spread, dilation // shared))
    return tuple(runs)


def reach(run: Run) -> tuple[int, int]:
    """The first and the last place that a run reads."""
    ends = (run.by * (run.results - 1), run.along * (run.taps - 1))
    return run.at + sum(min(0, end) for end in ends), run.at + sum(max(0, end) for end in ends)


def places_read(window: Window, taps: int) -> tuple[int, int]:
    """The first and the last place that any result reads of x, be they inside or not."""
    ends = [reach(run) for run in _runs(window, taps) if run.taps and run.results]
    return min((low for low, _ in ends), default=0), max((high for _, high in ends), default=-1)


def _meeting(length: int, stride: int, dilation: int, start: int, spread: int) -> Window:
    """The window of that equation, `spread` made positive."""
    sign = 1 if spread > 0 else -1
    return Window(length, stride * sign, dilation * sign, start * sign, spread * sign)


# ---- convolution --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _roles(roles: str) -> tuple[str, str, str]:
    """The names of the axes of both operands and of the result; each stands in two of the three, or in all."""
    operands, _, result = roles.partition("->")
    x, _, y = operands.partition(",")
    return x, y, result


def _sizes(roles: str, x: Shape, y: Shape, windows: Windows) -> dict[str, int]:
    """The length of each named axis."""
    left, right, result = _roles(roles)
    rank = len(windows)
    sizes = dict(zip(left, x, strict=False))
    fits = len(x) == len(left) + rank and len(y) == len(right) + rank and set(result) <= set(left + right)
    if not fits or any(sizes.setdefault(name, n) != n for name, n in zip(right, y, strict=False)):
        got = f"shapes {x} and {y} with roles {roles}"
        raise ShapeError(message("conv", got, f"equal lengths of equal names, and {rank} more axes each"))
    if any(w.length < 0 or w.spread < 1 or not w.stride or not w.dilation for w in windows):
        raise ShapeError(message("conv", f"windows {windows}", "lengths of at least 0, steps that are not 0"))
    return sizes


def _conv_shape(x: Shape, y: Shape, roles: str, windows: Windows) -> Shape:
    sizes = _sizes(roles, x, y, windows)
    return (*(sizes[name] for name in _roles(roles)[2]), *(w.length for w in windows))


def _conv_parts(x: Shape, y: Shape, roles: str, windows: Windows) -> tuple[Part, ...]:
    left, right, result = _roles(roles)
    sizes = _sizes(roles, x, y, windows)
    summed = [name for name in left if name not in result]
    named = tuple(sizes[name] for name in result)
    lines = x[len(left) :]

    def part(runs: tuple[Run, ...]) -> Part:
        def factors(index: Any, at: Any) -> Any:
            places = {**dict(zip(result, index, strict=False)), **dict(zip(summed, at, strict=False))}
            slid, guards, taps = [], [], []
            for run, n, q, t in zip(runs, lines, index[len(result) :], at[len(summed) :], strict=True):
                slid.append(q * run.by + t * run.along + run.at)
                guards.append((slid[-1], 0, n))
                taps.append(t * run.every + run.tap)
            own = (*(places[name] for name in left), *slid)
            return (own, tuple(guards)), ((*(places[name] for name in right), *taps), ())

        first = (*(0 for _ in named), *(run.first for run in runs))
        step = (*(1 for _ in named), *(run.step for run in runs))
        shape = (*named, *(run.results for run in runs))
        lengths = (*(sizes[name] for name in summed), *(run.taps for run in runs))
        return Part(first, step, shape, (0,) * len(lengths) if 0 in (*x, *y) else lengths, factors)

    return tuple(map(part, _combinations(windows, y[len(right) :])))


def _combinations(windows: Windows, taps: Sequence[int]) -> Iterator[tuple[Run, ...]]:
    """The runs of all axes, each with each."""
    return product(*(_runs(Window(*map(int, w)), int(n)) for w, n in zip(windows, taps, strict=True)))


def _conv(x: Any, y: Any, roles: str, windows: Windows) -> Any:
    names, shape = _roles(roles), _conv_shape(x.shape, y.shape, roles, windows)
    combinations = list(_combinations(windows, y.shape[len(names[1]) :]))
    made = [_dense(x, y[..., *(slice(run.tap, None, run.every) for run in runs)], names, runs) for runs in combinations]
    if len(made) == 1:
        return made[0]
    out: Any = np.empty(shape, x.dtype)
    for runs, part in zip(combinations, made, strict=True):
        out[..., *(slice(run.first, None, run.step) for run in runs)] = part
    return out


def _dense(x: Any, y: Any, names: tuple[str, str, str], runs: tuple[Run, ...]) -> Any:
    """The results of one run along each axis, by a matrix product, or tap by tap where nothing else is summed.

    Spatial axes get names, capitals for places of the result and digits for taps: what is left is an einsum.
    """
    places, taps = "ABCDEFGH"[: len(runs)], "01234567"[: len(runs)]
    left, right, result = names[0] + places + taps, names[1] + taps, names[2] + places
    view = _slid(x, runs)
    sizes = dict(zip(left + right, view.shape + y.shape, strict=True))
    both = [name for name in names[0] if name in right and name in result]
    summed = [name for name in names[0] if name not in result]
    free = [name for name in names[1] if name not in left]
    if 0 in sizes.values():
        return np.zeros([sizes[name] for name in result], x.dtype)
    if all(sizes[name] == 1 for name in (*summed, *free)):
        a, b = (_ordered(z, own, result + taps) for z, own in ((view, left), (y, right)))
        return reduce(np.add, (a[..., *at] * b[..., *at] for at in np.ndindex(*(run.taps for run in runs))))
    # The order in which x has its axes in memory, so that what has to be copied is copied in long pieces.
    strides = dict(zip(left, view.strides, strict=True))
    near_last = sorted(left, key=lambda name: -abs(strides[name]))
    rows = [name for name in near_last if name in result and name not in both]
    inner = [name for name in near_last if name not in result]
    across = _piece(rows, sizes, strides, x.itemsize) > _piece(inner, sizes, strides, x.itemsize)
    batch, m, k, n = (prod(sizes[name] for name in part) for part in (both, rows, inner, free))
    a = _ordered(view, left, [*both, *inner, *rows] if across else [*both, *rows, *inner])
    a = a.reshape(batch, k, m).mT if across else a.reshape(batch, m, k)
    b = _ordered(y, right, [*both, *inner, *free]).reshape(batch, k, n)
    c = a[0].dot(b[0]) if batch == 1 else np.matmul(a, b)
    made = [*both, *rows, *free]
    return _ordered(c.reshape([sizes[name] for name in made]), made, result)


def _slid(x: Any, runs: tuple[Run, ...]) -> Any:
    """x with two axes for each of its last ones, without a copy unless zeros are read beside it: places, then taps."""
    rank = len(runs)
    ends = [(0, 0) if 0 in (run.results, run.taps) else reach(run) for run in runs]
    sides = [(max(0, -low), max(0, high - n + 1)) for (low, high), n in zip(ends, x.shape[-rank:], strict=True)]
    if any(map(any, sides)):
        wide = [n + before + after for n, (before, after) in zip(x.shape[-rank:], sides, strict=True)]
        padded: Any = np.zeros((*x.shape[:-rank], *wide), x.dtype)
        padded[..., *(slice(side[0], side[0] + n) for side, n in zip(sides, x.shape[-rank:], strict=True))] = x
        x = padded
    base = x[..., *(slice(run.at + side[0], None) for run, side in zip(runs, sides, strict=True))]
    shape = (*x.shape[:-rank], *(run.results for run in runs), *(run.taps for run in runs))
    steps = [(stride * run.by, stride * run.along) for run, stride in zip(runs, x.strides[-rank:], strict=True)]
    return as_strided(base, shape, (*x.strides[:-rank], *(s for s, _ in steps), *(s for _, s in steps)))


def _ordered(x: Any, names: Sequence[str], order: Sequence[str]) -> Any:
    """The axes of x in an order; those it lacks have length 1, as those have that the order lacks."""
    x = x[tuple(slice(None) if name in order else 0 for name in names)]
    own = [name for name in names if name in order]
    x = x.transpose([own.index(name) for name in order if name in own])
    return x if len(own) == len(order) else x[tuple(slice(None) if name in own else None for name in order)]


def _piece(names: Sequence[str], sizes: dict[str, int], strides: dict[str, int], itemsize: int) -> int:
    """How many elements lie one after the other along some axes."""
    count = 1
    for name in reversed(names):
        if sizes[name] > 1:
            if abs(strides[name]) != itemsize * count:
                break
            count *= sizes[name]
    return count


def _conv_vjp_x(g: Any, out: Any, x: Any, y: Any, roles: str, windows: Windows) -> Any:
    """Place i of x meets tap j in result k = (spread * i - dilation * j - start) / stride."""
    left, right, result = _roles(roles)
    turned = tuple(
        _meeting(n, w.spread, -w.dilation, -w.start, w.stride)
        for w, n in zip(windows, x.shape[len(left) :], strict=True)
    )
    return g.apply(CONV, y, roles=f"{result},{right}->{left}", windows=turned)


def _conv_vjp_y(g: Any, out: Any, x: Any, y: Any, roles: str, windows: Windows) -> Any:
    """Tap j meets result k at place i = (dilation * j + stride * k + start) / spread; where x is spread, place i meets
    it in result k = (spread * i - dilation * j - start) / stride, which may be whole.
    """
    left, right, result = _roles(roles)
    lengths = y.shape[len(right) :]
    if any(w.spread > 1 for w in windows) and all(abs(w.stride) == 1 for w in windows):
        turned = tuple(
            _meeting(n, -w.dilation, w.spread, -w.start, w.stride) for w, n in zip(windows, lengths, strict=True)
        )
        return g.apply(CONV, x, roles=f"{result},{left}->{right}", windows=turned)
    turned = tuple(Window(n, w.dilation, w.stride, w.start, w.spread) for w, n in zip(windows, lengths, strict=True))
    return x.apply(CONV, g, roles=f"{left},{result}->{right}", windows=turned)


def _conv_follows(varies: Any, out: Shape, x: Shape, y: Shape, roles: str, windows: Windows) -> bool:
    """No spatial length varies."""
    named = zip((x, y, out), _roles(roles), strict=True)
    return not any(varies(n) for shape, names in named for n in shape[len(names) :])


_ROLES = {0: (",->",), 1: ("c,oc->o", "n,->n", "g,g->g", "c,c->"), 2: ("nc,oc->no", "nc,cn->", "ng,g->gn")}
_ROLES[3] = ("ngc,goc->ngo", "ngc,nog->oc")


def _random_window(rng: np.random.Generator) -> Window:
    return Window(
        int(rng.integers(0 if chance(rng, 0.1) else 1, 5)),
        int(pick(rng, (1, 1, 2, 3, -1))),
        int(pick(rng, (1, 1, 2, 3, -1))),
        int(rng.integers(-2, 3)),
        int(pick(rng, (1, 1, 2, 3))),
    )


def _vary_conv(rng: np.random.Generator, x: Shape) -> Case | None:
    rank = int(rng.integers(1, 3))
    if not 0 <= len(x) - rank < len(_ROLES):
        return None
    roles = pick(rng, _ROLES[len(x) - rank])
    sizes = dict(zip(_roles(roles)[0], x, strict=False))
    y = (*(sizes.get(name, -1) for name in _roles(roles)[1]), *(int(rng.integers(1, 4)) for _ in range(rank)))
    windows = tuple(_random_window(rng) for _ in range(rank))
    return Case((Arg(shape=x), Arg(shape=y)), {"roles": roles, "windows": windows})


def _case(x: Shape, y: Shape, roles: str, *windows: Window) -> Case:
    return Case((Arg(shape=x), Arg(shape=y)), {"roles": roles, "windows": windows})


def _conv_words(x: Shape, y: Shape, roles: str, windows: Windows) -> str:
    return f"conv {' x '.join(map(str, y[len(y) - len(windows) :]))}"


def _terms(x: Any, y: Any, roles: str, windows: Windows) -> int:
    return max(prod(part.lengths) for part in _conv_parts(x.shape, y.shape, roles, windows))


def _conv_onnx(to: Any, x: Any, y: Any, roles: str, windows: Windows) -> Any:
    """Conv of (batch, channels of all groups, places) and (results of all groups, channels, taps).

    What x is spread by are zeros between its elements; negative steps turn y, or the result, round.
    """
    if 0 in (*x.shape, *y.shape, *to.shape):
        return to.filled(0, to.shape, to.dtype).name
    if x.dtype != FLOAT32:
        return _einsum_onnx(to, x, y, roles, windows)
    left, right, result = _roles(roles)
    rank, sizes = len(windows), _sizes(roles, x.shape, y.shape, windows)
    both = [name for name in left if name in right and name in result]
    batch = [name for name in left if name not in right]
    summed = [name for name in left if name not in result]
    free = [name for name in right if name not in left]
    lines, taps = x.shape[len(left) :], y.shape[len(right) :]
    groups, inner = prod(sizes[name] for name in both), prod(sizes[name] for name in summed)
    rows, columns = prod(sizes[name] for name in batch), prod(sizes[name] for name in free)

    def ordered(z: Any, own: str, order: Sequence[str], shape: Shape) -> Any:
        perm = (*(own.index(name) for name in order), *range(len(own), len(own) + rank))
        moved = z if perm == tuple(range(len(perm))) else to("Transpose", z, perm=perm)
        return to("Reshape", moved, shape, allowzero=1)

    a = ordered(x, left, [*batch, *both, *summed], (rows, groups * inner, *lines))
    b = ordered(y, right, [*both, *free, *summed], (groups * columns, inner, *taps))
    strides, dilations, before, after, turned, back = [], [], [], [], [], []
    for axis, (window, n, count) in enumerate(zip(windows, lines, taps, strict=True), 2):
        length, stride, dilation, start, spread = map(int, window)
        if spread > 1:
            wide = to("Pad", a, [*(0 for _ in range(rank + 2)), *(int(k == axis) for k in range(rank + 2))])
            sources = np.full(spread * (n - 1) + 1, n, np.int64)
            sources[::spread] = np.arange(n)
            a, n = to("Gather", wide, sources, axis=axis), len(sources)
        if dilation < 0:
            start, dilation = start + dilation * (count - 1), -dilation
            turned.append(axis)
        if stride < 0:
            start, stride = start + stride * (length - 1), -stride
            back.append(axis)
        strides.append(stride)
        dilations.append(dilation)
        before.append(-start)
        after.append(stride * (length - 1) + dilation * (count - 1) + start + 1 - n)
    if any((*before, *after)):
        a = to("Pad", a, [0, 0, *before, 0, 0, *after])
    out = to("Conv", a, _turned_round(to, b, turned), group=groups, strides=tuple(strides), dilations=tuple(dilations))
    out = _turned_round(to, out, back)
    made = [*batch, *both, *free]
    whole = to("Reshape", out, (*(sizes[name] for name in made), *(w.length for w in windows)), allowzero=1)
    order = (*(made.index(name) for name in result), *range(len(made), len(made) + rank))
    return to("Transpose", whole, perm=order)


def _einsum_onnx(to: Any, x: Any, y: Any, roles: str, windows: Windows) -> Any:
    """Of dtypes for which onnxruntime has no Conv: each axis of x is picked from, as in `windows`."""
    left, right, result = _roles(roles)
    rank, view, axes = len(windows), x.name, len(x.shape)
    for k, (window, count) in enumerate(zip(windows, y.shape[len(right) :], strict=True)):
        n, axis = x.shape[len(left) + k], len(left) + 2 * k
        places = window.stride * np.arange(window.length)[:, None] + window.dilation * np.arange(count) + window.start
        inside = (places % window.spread == 0) & (places >= 0) & (places < n * window.spread)
        view = to("Pad", view, [*(0 for _ in range(axes)), *(int(a == axis) for a in range(axes))])
        view = to("Gather", view, np.where(inside, places // window.spread, n), axis=axis)
        axes += 1
    names, taps = "ABCDEFGH"[:rank], "STUVWXYZ"[:rank]
    slid = "".join(map("".join, zip(names, taps, strict=True)))
    return to("Einsum", view, y, equation=f"{left}{slid},{right}{taps}->{result}{names}")


def _turned_round(to: Any, x: Any, axes: Sequence[int]) -> Any:
    many = len(axes)
    return to("Slice", x, [-1] * many, [-(2**40)] * many, axes, [-1] * many) if axes else x


# Sums of products of x and y over the axes that the result lacks and over the taps of y.
CONV: Op = Op(
    "conv",
    "contract",
    shape=_conv_shape,
    dtype=same_dtype("conv", *NUMBER),
    numpy=_conv,
    vjp=(_conv_vjp_x, _conv_vjp_y),
    emit=_conv_parts,
    domain=(
        _case((2, 3, 5, 4), (2, 3, 3, 2), "nc,oc->no", Window(5, start=-1), Window(2, 2)),
        _case((2, 3, 5), (4, 3, 3), "nc,oc->no", Window(2, 3, 2, -2)),
        _case((2, 4, 3), (4, 2, 3), "nc,co->no", Window(6, 1, -1, 1, 2)),
        _case((2, 4, 3), (4, 2, 2), "nc,co->no", Window(7, -2, 3, 9, 3)),
        _case((2, 2, 2, 5), (2, 3, 2, 2), "ngc,goc->ngo", Window(4)),
        _case((2, 3, 5), (3, 2), "ng,g->ng", Window(4)),
        _case((3, 4), (2, 2), ",->", Window(2), Window(3)),
        _case((2, 3, 3), (2, 2, 3), "nc,no->oc", Window(2, start=-1)),
        _case((0, 2, 4), (3, 2, 2), "nc,oc->no", Window(3)),
        _case((2, 0, 4), (3, 0, 2), "nc,oc->no", Window(3)),
    ),
    vary=_vary_conv,
    error=of_sum(_conv, _terms),
    open_zero=True,
    follows=_conv_follows,
    words=_conv_words,
    onnx=_conv_onnx,
)


# ---- windows and their adjoint ------------------------------------------------------------------------------------


def _windows_shape(x: Shape, windows: Windows, taps: tuple[int, ...]) -> Shape:
    named = len(x) - len(windows)
    if named < 0 or len(taps) != len(windows) or any(w.spread != 1 or not w.stride or not w.dilation for w in windows):
        raise ShapeError(
            message("windows", f"windows {windows} with taps {taps} of shape {x}", "one for each last axis")
        )
    if 0 not in taps and not any(w.length == 0 for w in windows):
        for n, (run,) in zip(x[named:], (_runs(*pair) for pair in zip(windows, taps, strict=True)), strict=True):
            low, high = reach(run)
            if low < 0 or high >= n:
                raise ShapeError(message("windows", f"places {low} to {high} of an axis of {n}", "places inside of it"))
    return (*x[:named], *(w.length for w in windows), *taps)


def _windows(x: Any, windows: Windows, taps: tuple[int, ...]) -> Any:
    return _slid(x, tuple(_runs(*pair)[0] for pair in zip(windows, taps, strict=True)))


def _windows_emit(read: Any, index: Any, x: Shape, windows: Windows, taps: tuple[int, ...]) -> Any:
    named, rank = len(x) - len(windows), len(windows)
    pairs = zip(index[named : named + rank], index[named + rank :], windows, strict=True)
    return read(0, (*index[:named], *(k * w.stride + j * w.dilation + w.start for k, j, w in pairs)))


def _vary_windows(rng: np.random.Generator, x: Shape) -> Case | None:
    if not x or not x[-1]:
        return None
    n, stride, dilation = x[-1], int(pick(rng, (1, 2, 3))), int(pick(rng, (1, 1, 2)))
    taps = int(rng.integers(1, min(4, (n - 1) // dilation + 2)))
    count = (n - dilation * (taps - 1) - 1) // stride + 1
    return Case((Arg(shape=x),), {"windows": (Window(count, stride, dilation),), "taps": (taps,)})


def _windows_onnx(to: Any, x: Any, windows: Windows, taps: tuple[int, ...]) -> Any:
    """Each axis is picked from by a table of places and taps; then all taps are moved behind all places."""
    named, rank, name = len(x.shape) - len(windows), len(windows), x.name
    for k, (window, count) in enumerate(zip(windows, taps, strict=True)):
        places = window.stride * np.arange(window.length)[:, None] + window.dilation * np.arange(count) + window.start
        name = to("Gather", name, places.astype(np.int64), axis=named + 2 * k)
    order = (*range(named), *range(named, named + 2 * rank, 2), *range(named + 1, named + 2 * rank, 2))
    return to("Transpose", name, perm=order)


# Axes of x as two: element (..., k..., j...) is x[..., stride * k + dilation * j + start, ...]. All lie inside of x.
WINDOWS: Op = Op(
    "windows",
    "movement",
    shape=_windows_shape,
    dtype=same_dtype("windows", *ANY),
    numpy=_windows,
    vjp=(lambda g, out, x, windows, taps: g.apply(OVERLAP, windows=windows, lengths=x.shape[-len(windows) :]),),
    emit=_windows_emit,
    domain=(
        Case((Arg(shape=(2, 6, 5)),), {"windows": (Window(2, 2, 2), Window(4)), "taps": (2, 2)}),
        Case((Arg(shape=(2, 7)),), {"windows": (Window(3, 2, 1, 1),), "taps": (2,)}),
        Case((Arg(shape=(7,)),), {"windows": (Window(3, -2, 1, 4),), "taps": (2,)}),
        Case((Arg(shape=(0, 4)),), {"windows": (Window(2, 2),), "taps": (2,)}),
    ),
    linear=True,
    vary=_vary_windows,
    view=True,
    follows=lambda varies, out, x, windows, taps: not any(map(varies, (*x[-len(windows) :], *taps))),
    words=lambda x, windows, taps: f"windows {' x '.join(map(str, taps))}",
    onnx=_windows_onnx,
)


def _overlap_shape(x: Shape, windows: Windows, lengths: tuple[int, ...]) -> Shape:
    named, rank = len(x) - 2 * len(windows), len(windows)
    taps = x[named + rank :]
    if named < 0 or _windows_shape((*x[:named], *lengths), windows, taps) != x:
        raise ShapeError(message("overlap", f"windows {windows} of shape {x}", "a place and a tap for each last axis"))
    return (*x[:named], *lengths)


def _turned(windows: Windows, lengths: tuple[int, ...]) -> Windows:
    """Place i meets tap j in window k = (i - dilation * j - start) / stride."""
    return tuple(_meeting(n, 1, -w.dilation, -w.start, w.stride) for w, n in zip(windows, lengths, strict=True))


def _overlap(x: Any, windows: Windows, lengths: tuple[int, ...]) -> Any:
    rank = len(windows)
    named, taps = x.ndim - 2 * rank, x.shape[x.ndim - rank :]
    out = np.zeros((*x.shape[:named], *lengths), x.dtype)
    view = _slid(out, tuple(_runs(*pair)[0] for pair in zip(windows, taps, strict=True)))
    for tap in np.ndindex(taps):
        view[..., *tap] += x[..., *tap]
    return out


def _overlap_parts(x: Shape, windows: Windows, lengths: tuple[int, ...]) -> tuple[Part, ...]:
    rank = len(windows)
    named = x[: len(x) - 2 * rank]
    counts, taps = x[len(named) : len(named) + rank], x[len(named) + rank :]

    def part(runs: tuple[Run, ...]) -> Part:
        def factors(index: Any, at: Any) -> Any:
            slid = [q * r.by + t * r.along + r.at for r, q, t in zip(runs, index[len(named) :], at, strict=True)]
            own = (*index[: len(named)], *slid, *(t * r.every + r.tap for r, t in zip(runs, at, strict=True)))
            return ((own, tuple((place, 0, n) for place, n in zip(slid, counts, strict=True))),)

        first, step = (0,) * len(named), (1,) * len(named)
        whole = (*first, *(run.first for run in runs)), (*step, *(run.step for run in runs))
        lengths = (0,) * rank if 0 in x else tuple(run.taps for run in runs)
        return Part(*whole, (*named, *(run.results for run in runs)), lengths, factors)

    return tuple(map(part, _combinations(_turned(windows, lengths), taps)))


def _overlap_onnx(to: Any, x: Any, windows: Windows, lengths: tuple[int, ...]) -> Any:
    """Axis by axis, with the taps of each beside its places, whose elements are added up where they meet."""
    if 0 in (*x.shape, *lengths):
        return to.filled(0, to.shape, to.dtype).name
    rank = len(windows)
    named, taps = len(x.shape) - 2 * rank, x.shape[len(x.shape) - rank :]
    order = (*range(named), *(named + k + side for k in range(rank) for side in (0, rank)))
    x = x._replace(name=to("Transpose", x, perm=order), shape=tuple(x.shape[a] for a in order))
    for axis, (window, count, n) in enumerate(zip(windows, taps, lengths, strict=True), named):
        places = window.stride * np.arange(window.length)[:, None] + window.dilation * np.arange(count) + window.start
        name = index_add_onnx(to, x, places, axis, n)
        x = x._replace(name=name, shape=(*x.shape[:axis], n, *x.shape[axis + 2 :]))
    return x.name


def _vary_overlap(rng: np.random.Generator, x: Shape) -> Case | None:
    if len(x) < 2 or 0 in x[-2:]:
        return None
    stride, dilation, start = int(pick(rng, (1, 2, 3))), int(pick(rng, (1, 1, 2))), int(rng.integers(0, 3))
    length = stride * (x[-2] - 1) + dilation * (x[-1] - 1) + 1 + start + int(rng.integers(0, 3))
    return Case((Arg(shape=x),), {"windows": (Window(x[-2], stride, dilation, start),), "lengths": (length,)})


# The adjoint of windows: zeros of `lengths`, to which every element is added at its place.
OVERLAP: Op = Op(
    "overlap",
    "contract",
    shape=_overlap_shape,
    dtype=same_dtype("overlap", *NUMBER),
    numpy=_overlap,
    vjp=(lambda g, out, x, windows, lengths: g.apply(WINDOWS, windows=windows, taps=x.shape[x.ndim - len(windows) :]),),
    emit=_overlap_parts,
    domain=tuple(
        Case(
            (Arg(shape=_windows_shape(case.args[0].shape or (), **case.attrs)),),
            {"windows": case.attrs["windows"], "lengths": (case.args[0].shape or ())[-len(case.attrs["taps"]) :]},
        )
        for case in WINDOWS.domain
    ),
    linear=True,
    vary=_vary_overlap,
    error=of_sum(_overlap, lambda x, windows, lengths: prod(x.shape[x.ndim - len(windows) :])),
    onnx=_overlap_onnx,
    open_zero=True,
    follows=lambda varies, out, x, windows, lengths: not any(map(varies, (*lengths, *x[-2 * len(windows) :]))),
    words=lambda x, windows, lengths: f"overlap {' x '.join(map(str, x[len(x) - len(windows) :]))}",
)

OPS = (CONV, WINDOWS, OVERLAP)
