"""Operators of signals: Fourier transforms as products with matrices, windows, mel bands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from ...support.arrays import Array
from ...tensor import Tensor
from ...tensor.joining import stack
from .elementwise import element_of
from .form import Fixed, Known, Value, axis_of, bad, check_count, given, ints


def fourier(x: Tensor, axis: int, length: int | None, inverse: bool, onesided: bool) -> Tensor:
    """The transform along an axis of numbers whose last axis is real, or real and imaginary."""
    along = axis_of(axis, x.ndim)
    if along == x.ndim - 1 or x.shape[-1] not in (1, 2):
        raise bad(f"axis {axis} of shape {x.shape}", "an axis before the last, which has one or two parts")
    n = x.shape[along] if length is None else length
    if inverse and onesided:  # the other half of the spectrum is what this one says
        n = 2 * (x.shape[along] - 1) if length is None else length
    given_length = x.shape[along]
    keep = min(given_length, n // 2 + 1 if inverse and onesided else n)
    x = x.narrow(along, 0, keep).movedim(along, -2)
    angle = 2 * np.pi * np.outer(np.arange(keep), np.arange(n if inverse or not onesided else n // 2 + 1)) / n
    cos, sin = np.cos(angle), np.sin(angle) if inverse else -np.sin(angle)
    if inverse:
        double = np.ones(keep)
        if onesided:
            double[1 : (n + 1) // 2] = 2
        cos, sin = cos * double[:, None] / n, sin * double[:, None] / n
    kind, x = x.dtype, x.double()  # sums of many terms that nearly cancel
    matrices = [given(one) for one in (cos, sin)]
    real = x[..., 0]
    parts = [real @ one for one in matrices]
    if x.shape[-1] == 2:
        other = x[..., 1]
        parts = [parts[0] - other @ matrices[1], parts[1] + other @ matrices[0]]
    found = parts[0].unsqueeze(-1) if inverse and onesided else stack(parts, -1)
    return found.to(kind).movedim(-2, along)


def dft(
    x: Tensor,
    length: Known | None = None,
    along: Known | None = None,
    *,
    axis: int | None = None,
    inverse: int = 0,
    onesided: int = 0,
) -> Tensor:
    """The discrete Fourier transform."""
    where = ints(along)[0] if along is not None else -2 if axis is None else axis
    return fourier(x, where, None if length is None else ints(length)[0], bool(inverse), bool(onesided))


def dft_17(x: Tensor, length: Known | None = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0) -> Tensor:
    """As in opset 17: the axis is an attribute."""
    return fourier(x, axis, None if length is None else ints(length)[0], bool(inverse), bool(onesided))


def stft(
    x: Tensor, step: Known, window: Fixed | None = None, length: Known | None = None, *, onesided: int = 1
) -> Tensor:
    """The transform of parts of a signal, one after the other."""
    size = ints(length)[0] if length is not None else window.shape[0] if window is not None else 0
    if size < 1 or ints(step)[0] < 1:
        raise bad("no length of a frame", "a window or a frame_length, and steps of 1 or more")
    x = x if x.ndim == 3 else x.unsqueeze(-1)
    count = (x.shape[1] - size) // ints(step)[0] + 1
    places = np.arange(count)[:, None] * ints(step)[0] + np.arange(size)
    parts = x.index_select(1, given(places.reshape(-1))).reshape(x.shape[0], count, size, x.shape[2])
    if window is not None:
        parts = parts * window.reshape(-1, 1)
    return fourier(parts, 2, None, False, bool(onesided))


def window(terms: tuple[float, ...]) -> Any:
    """A sum of cosines over a number of places; periodic, it goes on after the last."""

    def operator(size: Known, *, output_datatype: int = 1, periodic: int = 1) -> Value:
        n = ints(size)[0]
        check_count(n)
        at = np.arange(n) * 2 * np.pi / max(n if periodic else n - 1, 1)
        values: Array = sum(((-1) ** k * term * np.cos(k * at) for k, term in enumerate(terms)), np.zeros(n))
        element = element_of(output_datatype)
        return Value(given(values.astype(element.dtype)), element)

    return operator


def mel_weights(bins: Known, length: Known, rate: Known, low: Known, high: Known, *, output_datatype: int = 1) -> Value:
    """How much each frequency counts for each band of equal width to the ear."""
    count, size, sampled = ints(bins)[0], ints(length)[0], ints(rate)[0]
    if count < 1 or size < 1 or sampled < 1:
        raise bad(f"{count} bands of {size} frequencies at {sampled} Hz", "1 or more of each")
    check_count(count * size)
    edges = [2595 * np.log10(1 + float(one.reshape(-1)[0]) / 700) for one in (low, high)]
    mel = np.arange(count + 2) * (edges[1] - edges[0]) / (count + 2) + edges[0]
    hertz = 700 * (10 ** (mel / 2595) - 1)
    places = (hertz * (size + 1) // sampled).astype(np.int64)
    found = np.zeros((size // 2 + 1, count))
    for k in range(count):
        first, middle, last = places[k : k + 3]
        if middle == first:
            found[middle, k] = 1
        else:
            for j in range(first, middle + 1):
                found[j, k] = (j - first) / (middle - first)
        for j in range(middle, last):
            found[j, k] = (last - j) / (last - middle)
    element = element_of(output_datatype)
    return Value(given(found.astype(element.dtype)), element)


OPERATORS: Final[Mapping[str, Any]] = {
    "BlackmanWindow": window((0.42, 0.5, 0.08)),
    "DFT": {17: dft_17, 20: dft},
    "HammingWindow": window((25 / 46, 21 / 46)),
    "HannWindow": window((0.5, 0.5)),
    "MelWeightMatrix": mel_weights,
    "STFT": stft,
}
