"""Convolutions of 1, 2 and 3 spatial axes, forwards and transposed; `unfold` and `fold`."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, Final

from ..errors import ConfigError, ShapeError, message
from ..ops.conv import CONV, OVERLAP, WINDOWS, Window
from ..ops.movement import PERMUTE, RESHAPE
from ..support.memory import check_shape_fits
from ..support.settings import choice, integer, shown
from ..tensor import Tensor
from ..tensor.contract import check_floats
from ..tensor.door import takes_data
from ..tensor.shape import Ints

Sizes = tuple[int, ...]
AXES: Final = {1: "L", 2: "H, W", 3: "D, H, W"}
MOST: Final = 2**31 - 1  # of a setting, so that places fit into what counts them


def per_axis(owner: str, name: str, value: Any, rank: int, least: int) -> tuple[int, ...]:
    """A setting for each spatial axis: one number, or as many as there are axes. Raises ConfigError.

    >>> per_axis("conv2d", "stride", 2, 2, 1), per_axis("conv2d", "stride", (2, 1), 2, 1)
    ((2, 2), (2, 1))
    """
    if type(value) is int and least <= value <= MOST:
        return (value,) * rank
    several = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if len(several) not in (1, rank):
        raise ConfigError(message(owner, f"{name} {shown(value)}", f"an integer, or {rank} of them"))
    return tuple(integer(owner, name, one, least=least, most=MOST) for one in several) * (rank // len(several))


def padding_of(owner: str, padding: Any, stride: Sizes) -> Sizes | str:
    """Zeros on both sides of each axis, or a word: "valid", or "same". Raises ConfigError."""
    if not isinstance(padding, str):
        return per_axis(owner, "padding", padding, len(stride), 0)
    if choice(owner, "padding", padding, ("valid", "same")) == "same" and any(step != 1 for step in stride):
        raise ConfigError(message(owner, f"padding 'same' with stride {shown(stride)}", "stride 1"))
    return padding


def pads(padding: Sizes | str, kernel: Sizes, dilation: Sizes) -> tuple[tuple[int, int], ...]:
    """Zeros before and behind each axis, of which "same" puts one more behind."""
    if not isinstance(padding, str):
        return tuple((n, n) for n in padding)
    whole = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, kernel, strict=True)]
    return tuple((n // 2, n - n // 2) for n in whole)


def check_groups(owner: str, groups: int, *channels: int) -> int:
    """Raise ConfigError for groups that do not divide the channels."""
    groups = integer(owner, "groups", groups, least=1)
    if any(n % groups for n in channels):
        got = f"{' and '.join(map(str, channels))} channels in {groups} groups"
        raise ConfigError(message(owner, got, "channels that the groups divide"))
    return groups


@lru_cache(maxsize=512)
def _windows(
    name: str, x: Sizes, weight: Sizes, stride: Sizes, padding: Sizes | str, dilation: Sizes, groups: int
) -> tuple[Window, ...]:
    """How a convolution slides. Raises ShapeError."""
    rank = len(stride)
    if len(x) not in (rank + 1, rank + 2) or len(weight) != rank + 2 or x[-rank - 1] != weight[1] * groups:
        got = f"shapes {x} and {weight}" + (f" in {groups} groups" if groups != 1 else "")
        raise ShapeError(message(name, got, f"(N, in, {AXES[rank]}) and (out, in / groups, {AXES[rank]} of a kernel)"))
    check_groups(name, groups, weight[0])
    kernel, lines = weight[2:], x[-rank:]
    sides = pads(padding, kernel, dilation)
    spans = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    padded = tuple(n + sum(side) for n, side in zip(lines, sides, strict=True))
    if 0 in kernel or any(n < span for n, span in zip(padded, spans, strict=True)):
        got = f"places {padded}, padding included, for a kernel of {spans}"
        raise ShapeError(message(name, got, "at least as many, and a kernel of at least 1", "pad more, or dilate less"))
    check_shape_fits(name, (*x[:-rank], *padded))
    return tuple(
        Window((n - span) // step + 1, step, d, -side[0])
        for n, span, step, d, side in zip(padded, spans, stride, dilation, sides, strict=True)
    )


def _applied(
    name: str, x: Tensor, weight: Tensor, bias: Tensor | None, windows: tuple[Window, ...], groups: int, roles: str
) -> Tensor:
    """The convolution, group by group, and the bias of each channel; `roles` are the named axes of one weight."""
    rank = len(windows)
    n, g = "n" if len(x.node.shape) == rank + 2 else "", "g" if groups > 1 else ""
    if x.node.dtype is not weight.node.dtype:
        x, weight = x._met(weight), weight._met(x)
        check_floats(name, x, weight)
        x, weight = x._promoted(weight)
    if bias is not None and bias.node.dtype is not x.node.dtype:
        check_floats(name, x, bias)
    if groups > 1:
        own, kernels, channel = x.node.shape, weight.node.shape, len(n)
        x = x.apply(RESHAPE, shape=(*own[:channel], groups, own[channel] // groups, *own[channel + 1 :]))
        weight = weight.apply(RESHAPE, shape=(groups, kernels[0] // groups, *kernels[1:]))
    out = x.apply(CONV, weight, roles=f"{n}{g}c,{g}{roles}->{n}{g}o", windows=windows)
    if groups > 1:
        made = out.node.shape
        out = out.apply(RESHAPE, shape=(*made[: len(n)], groups * made[len(n) + 1], *made[len(n) + 2 :]))
    if bias is None:
        return out
    if bias.node.shape != (out.node.shape[len(n)],):
        raise ShapeError(message(name, f"a bias of shape {bias.shape}", f"({out.node.shape[len(n)]},)"))
    return out + bias.apply(RESHAPE, shape=(*bias.node.shape, *(1,) * rank))


def _conv(
    name: str, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    rank = int(name[4])
    steps, apart = per_axis(name, "stride", stride, rank, 1), per_axis(name, "dilation", dilation, rank, 1)
    groups = check_groups(name, groups)
    windows = _windows(name, x.node.shape, weight.node.shape, steps, padding_of(name, padding, steps), apart, groups)
    return _applied(name, x, weight, bias, windows, groups, "oc")


@takes_data
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation: (N, in, L) or (in, L) with (out, in / groups, K) to (N, out, L'), where L' is
    (L + 2 * padding - dilation * (K - 1) - 1) // stride + 1. Padding: a number, "valid", or "same".

    Raises ShapeError for a kernel longer than the padded line, ConfigError for wrong settings.

    >>> import tinygrad_nn as tg
    >>> conv1d(tg.tensor([[1.0, 2.0, 4.0]]), tg.tensor([[[1.0, -1.0]]])).tolist()
    [[-1.0, -2.0]]
    """
    return _conv("conv1d", input, weight, bias, stride, padding, dilation, groups)


@takes_data
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """`conv1d` of (L, N, C_in), with weights (K, C_in, C_out), to (L', N, C_out).

    >>> import tinygrad_nn as tg
    >>> conv_tbc(tg.ones(5, 2, 3), tg.ones(2, 3, 4), tg.zeros(4)).shape
    (4, 2, 4)
    """
    if input.ndim != 3 or weight.ndim != 3:
        raise ShapeError(message("conv_tbc", f"shapes {input.shape} and {weight.shape}", "(L, N, C) and (K, C, C')"))
    check_floats("conv_tbc", input, weight, bias)
    return conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad).permute(2, 0, 1)


@takes_data
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Tensor:
    """`conv1d` over two axes: (N, in, H, W) or (in, H, W) with (out, in / groups, K, K) to (N, out, H', W'). Settings
    are a number, or one for each axis.

    >>> import tinygrad_nn as tg
    >>> conv2d(tg.ones(1, 3, 8, 8), tg.ones(4, 3, 3, 3), stride=(2, 1), padding="valid").shape
    (1, 4, 3, 6)
    """
    return _conv("conv2d", input, weight, bias, stride, padding, dilation, groups)


@takes_data
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Tensor:
    """`conv1d` over three axes: (N, in, D, H, W) or (in, D, H, W) with (out, in / groups, K, K, K) to
    (N, out, D', H', W').

    >>> import tinygrad_nn as tg
    >>> conv3d(tg.ones(1, 2, 4, 4, 4), tg.ones(3, 2, 2, 2, 2)).shape
    (1, 3, 3, 3, 3)
    """
    return _conv("conv3d", input, weight, bias, stride, padding, dilation, groups)


@lru_cache(maxsize=512)
def _transposed_windows(
    name: str,
    x: Sizes,
    weight: Sizes,
    steps: Sizes,
    sides: Sizes,
    more: Sizes,
    groups: int,
    apart: Sizes,
) -> tuple[Window, ...]:
    """How a transposed convolution slides: each element of x is spread over a window of the result."""
    rank = len(steps)
    if len(x) not in (rank + 1, rank + 2) or len(weight) != rank + 2 or x[-rank - 1] != weight[0]:
        got = f"shapes {x} and {weight}"
        raise ShapeError(message(name, got, f"(N, in, {AXES[rank]}) and (in, out / groups, {AXES[rank]} of a kernel)"))
    check_groups(name, groups, weight[0])
    if any(extra >= max(step, d) for extra, step, d in zip(more, steps, apart, strict=True)):
        got = f"output_padding {more} with stride {steps} and dilation {apart}"
        raise ConfigError(message(name, got, "less than the stride, or than the dilation"))
    lengths = [
        (n - 1) * step - 2 * side + d * (k - 1) + extra + 1
        for n, k, step, side, d, extra in zip(x[-rank:], weight[2:], steps, sides, apart, more, strict=True)
    ]
    if 0 in weight[2:] or 0 in x[-rank:] or min(lengths) < 1:
        got = f"a result of {tuple(lengths)} places for shapes {x} and {weight}"
        raise ShapeError(message(name, got, "at least one place on each axis", "pad less"))
    whole = (n + 2 * side for n, side in zip(lengths, sides, strict=True))
    check_shape_fits(name, (*x[: -rank - 1], weight[1] * groups, *whole))
    return tuple(Window(n, 1, -d, side, step) for n, d, side, step in zip(lengths, apart, sides, steps, strict=True))


def _conv_transpose(
    name: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    rank = int(name[14])
    steps, apart = per_axis(name, "stride", stride, rank, 1), per_axis(name, "dilation", dilation, rank, 1)
    sides, more = per_axis(name, "padding", padding, rank, 0), per_axis(name, "output_padding", output_padding, rank, 0)
    groups = check_groups(name, groups)
    windows = _transposed_windows(name, x.node.shape, weight.node.shape, steps, sides, more, groups, apart)
    return _applied(name, x, weight, bias, windows, groups, "co")


@takes_data
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> Tensor:
    """The adjoint of `conv1d` as a layer: (N, in, L) or (in, L) with (in, out / groups, K) to (N, out, L'), where L' is
    (L - 1) * stride - 2 * padding + dilation * (K - 1) + output_padding + 1.

    >>> import tinygrad_nn as tg
    >>> conv_transpose1d(tg.tensor([[1.0, 2.0]]), tg.ones(1, 1, 2), stride=2).tolist()
    [[1.0, 1.0, 2.0, 2.0]]
    """
    return _conv_transpose("conv_transpose1d", input, weight, bias, stride, padding, output_padding, groups, dilation)


@takes_data
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> Tensor:
    """`conv_transpose1d` over two axes: (N, in, H, W) or (in, H, W) with (in, out / groups, K, K).

    >>> import tinygrad_nn as tg
    >>> conv_transpose2d(tg.ones(1, 2, 3, 3), tg.ones(2, 4, 2, 2), stride=2).shape
    (1, 4, 6, 6)
    """
    return _conv_transpose("conv_transpose2d", input, weight, bias, stride, padding, output_padding, groups, dilation)


@takes_data
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> Tensor:
    """The same over three axes: (N, in, D, H, W) or (in, D, H, W) with (in, out / groups, K, K, K).

    >>> import tinygrad_nn as tg
    >>> conv_transpose3d(tg.ones(1, 2, 3, 3, 3), tg.ones(2, 4, 2, 2, 2), stride=2).shape
    (1, 4, 6, 6, 6)
    """
    return _conv_transpose("conv_transpose3d", input, weight, bias, stride, padding, output_padding, groups, dilation)


# ---- unfold and fold ----------------------------------------------------------------------------------------------


def _patches(
    name: str, lead: Sizes, lines: Sizes, kernel: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[Sizes, Sizes, tuple[Window, ...]]:
    """The taps, the padding and the windows of patches of pictures, `lead` of them."""
    taps, apart = per_axis(name, "kernel_size", kernel, 2, 1), per_axis(name, "dilation", dilation, 2, 1)
    sides, steps = per_axis(name, "padding", padding, 2, 0), per_axis(name, "stride", stride, 2, 1)
    counts = [
        (n + 2 * side - d * (k - 1) - 1) // step + 1
        for n, side, d, k, step in zip(lines, sides, apart, taps, steps, strict=True)
    ]
    if min(counts) < 1:
        got = f"{lines} places with padding {sides} for a window of {taps} dilated by {apart}"
        raise ShapeError(message(name, got, "at least one window on each axis"))
    check_shape_fits(name, (*lead, *(n + 2 * side for n, side in zip(lines, sides, strict=True))))
    check_shape_fits(name, (*lead, *taps, *counts))
    return taps, sides, tuple(Window(n, step, d) for n, step, d in zip(counts, steps, apart, strict=True))


def zero_padded(x: Tensor, sides: tuple[tuple[int, int], ...]) -> Tensor:
    """x with zeros before and behind its last axes."""
    if not any(map(any, sides)):
        return x
    whole = ((0, 0),) * (x.ndim - len(sides)) + sides
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, whole, strict=True))
    return x._placed(shape, tuple((before, 1, n) for n, (before, _) in zip(x.shape, whole, strict=True)))


@takes_data
def unfold(input: Tensor, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1) -> Tensor:
    """Patches of pictures: (N, C, H, W) or (C, H, W) to (N, C * K * K, patches), as PyTorch orders them.

    >>> import tinygrad_nn as tg
    >>> unfold(tg.arange(4.0).reshape(1, 2, 2), 2).tolist()
    [[0.0], [1.0], [2.0], [3.0]]
    """
    if input.ndim not in (3, 4):
        raise ShapeError(message("unfold", f"shape {input.shape}", "(N, C, H, W) or (C, H, W)"))
    taps, sides, windows = _patches(
        "unfold", input.shape[:-2], input.shape[-2:], kernel_size, dilation, padding, stride
    )
    seen = zero_padded(input, tuple((n, n) for n in sides)).apply(WINDOWS, windows=windows, taps=taps)
    lead = input.ndim - 2
    columns = seen.apply(PERMUTE, order=(*range(lead), lead + 2, lead + 3, lead, lead + 1))
    shape = (*input.shape[: lead - 1], input.shape[lead - 1] * prod(taps), prod(w.length for w in windows))
    return columns.apply(RESHAPE, shape=shape)


@takes_data
def fold(
    input: Tensor, output_size: Ints, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1
) -> Tensor:
    """Patches added up to pictures, the adjoint of `unfold`: (N, C * K * K, patches) or (C * K * K, patches) to
    (N, C, H, W).

    >>> import tinygrad_nn as tg
    >>> fold(tg.ones(2, 2), (1, 3), (1, 2)).tolist()
    [[[1.0, 2.0, 1.0]]]
    """
    size = per_axis("fold", "output_size", output_size, 2, 1)
    taps, sides, windows = _patches("fold", input.shape[:-2], size, kernel_size, dilation, padding, stride)
    patches = tuple(w.length for w in windows)
    if input.ndim not in (2, 3) or input.shape[-1] != prod(patches) or input.shape[-2] % prod(taps):
        expected = f"(N, a multiple of {prod(taps)}, {prod(patches)})"
        raise ShapeError(message("fold", f"shape {input.shape}", expected, f"there are {patches} patches of {taps}"))
    lead = (*input.shape[:-2], input.shape[-2] // prod(taps))
    columns = input.apply(RESHAPE, shape=(*lead, *taps, *patches))
    k = len(lead)
    seen = columns.apply(PERMUTE, order=(*range(k), k + 2, k + 3, k, k + 1))
    wide = tuple(n + 2 * side for n, side in zip(size, sides, strict=True))
    out = seen.apply(OVERLAP, windows=windows, lengths=wide)
    for axis, (side, n) in enumerate(zip(sides, size, strict=True), k):
        out = out.narrow(axis, side, n) if side else out
    return out
