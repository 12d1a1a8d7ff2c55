"""Operators of images: resampling, and what lies between pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from ... import functional as F
from ...support.arrays import Array
from ...tensor import Tensor
from ...tensor.joining import cat, stack
from .form import Known, axes_of, bad, check_count, given, ints


def sampled(images: Tensor, points: Sequence[Tensor], outside: str = "zeros") -> Tensor:
    """Images (N, C, axes) at points (N, P), one tensor for each axis, linearly between pixels: (N, C, P). What is
    outside is 0, or the nearest pixel.
    """
    lengths = images.shape[2:]
    flat = images.flatten(2)
    total: Any = None
    for corner in np.ndindex(*(2,) * len(lengths)):
        weight: Any = None
        at: Any = None
        for point, n, side in zip(points, lengths, corner, strict=True):
            low = point.detach().floor()
            part = point - low
            part = part if side else 1 - part
            place = low + side
            if outside == "zeros":
                part = part.where((place >= 0) & (place < n), part.new_zeros(()))
            place = place.clamp(0, n - 1).long()
            weight = part if weight is None else weight * part
            at = place if at is None else at * n + place
        index = at.unsqueeze(1).broadcast_to((flat.shape[0], flat.shape[1], at.shape[-1]))
        term = flat.gather(2, index) * weight.unsqueeze(1)
        total = term if total is None else total + term
    return total  # type: ignore[no-any-return]


# ---- resampling: along each axis a matrix ---------------------------------------------------------------------------


def resize(
    x: Tensor,
    roi: Known | None = None,
    scales: Known | None = None,
    sizes: Known | None = None,
    *,
    antialias: int = 0,
    axes: Any = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Tensor:
    """An image of other lengths: along each axis a product with a matrix that says how much of which pixel counts."""
    along = list(range(x.ndim)) if axes is None else axes_of(axes, x.ndim)
    lengths = [x.shape[axis] for axis in along]
    if sizes is not None and sizes.size:
        wanted = ints(sizes)
        ratios = [new / old for new, old in zip(wanted, lengths, strict=True)]
        if keep_aspect_ratio_policy != "stretch":
            one = min(ratios) if keep_aspect_ratio_policy == "not_larger" else max(ratios)
            ratios = [one] * len(along)
            wanted = [int(np.floor(one * n + 0.5)) for n in lengths]
    elif scales is not None and scales.size:
        ratios = [float(one) for one in scales.reshape(-1)]
        wanted = [int(np.floor(n * ratio)) for n, ratio in zip(lengths, ratios, strict=True)]
    else:
        raise bad("neither scales nor sizes", "one of them")
    if len(ratios) != len(along):
        raise bad(f"{len(ratios)} scales", f"one for each of {len(along)} axes")
    check_count(sum(wanted))
    crop = coordinate_transformation_mode == "tf_crop_and_resize"
    if crop and (roi is None or roi.size != 2 * len(along)):
        raise bad("no region of interest", f"{2 * len(along)} numbers")
    for k, (axis, n, new, ratio) in enumerate(zip(along, lengths, wanted, ratios, strict=True)):
        if new == n and ratio == 1 and not crop:
            continue
        region = (
            (float(roi.reshape(-1)[k]), float(roi.reshape(-1)[k + len(along)])) if crop and roi is not None else None
        )
        places = coordinates(coordinate_transformation_mode, n, new, ratio, region)
        if mode == "nearest":
            x = x.index_select(axis, given(nearest(places, nearest_mode).clip(0, n - 1)))
            outside = given((places < 0) | (places > n - 1)) if crop else None
        else:
            weights = matrix(places, n, ratio, mode, bool(antialias), cubic_coeff_a, bool(exclude_outside))
            x = (x.movedim(axis, -1) @ given(weights.T.astype(x.dtype))).movedim(-1, axis)
            outside = given((places < 0) | (places > n - 1)) if crop else None
        if outside is not None:
            shape = [new if one == axis else 1 for one in range(x.ndim)]
            x = x.new_tensor(extrapolation_value).where(outside.reshape(shape), x)
    return x


def coordinates(mode: str, n: int, new: int, ratio: float, region: tuple[float, float] | None) -> Array:
    """Where the pixels of the result lie in the operand."""
    at = np.arange(new, dtype=np.float64)
    if mode == "align_corners":
        return at * (n - 1) / (ratio * n - 1) if new > 1 else np.zeros(new)
    if mode == "asymmetric":
        return at / ratio
    if mode == "pytorch_half_pixel":
        return (at + 0.5) / ratio - 0.5 if new > 1 else np.zeros(new)
    if mode == "tf_half_pixel_for_nn":
        return (at + 0.5) / ratio
    if mode == "half_pixel_symmetric":
        exact = ratio * n
        return n / 2 * (1 - int(exact) / exact) + (at + 0.5) / ratio - 0.5
    if mode == "tf_crop_and_resize" and region is not None:
        low, high = region
        if new > 1:
            return low * (n - 1) + at * (high - low) * (n - 1) / (new - 1)
        return np.full(new, 0.5 * (low + high) * (n - 1))
    if mode != "half_pixel":
        raise bad(f"coordinate_transformation_mode {mode}", "one of ONNX's")
    return (at + 0.5) / ratio - 0.5


def nearest(places: Array, mode: str) -> Array:
    """The pixel that counts."""
    rules: dict[str, Callable[[Array], Array]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_ceil": lambda at: np.floor(at + 0.5),
        "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    }
    if mode not in rules:
        raise bad(f"nearest_mode {mode}", ", ".join(rules))
    return np.asarray(rules[mode](places)).astype(np.int64)


def matrix(places: Array, n: int, ratio: float, mode: str, smooth: bool, a: float, exclude: bool) -> Array:
    """How much each pixel of a line counts for each place: linear, or cubic by Keys 1981."""
    if mode not in ("linear", "cubic"):
        raise bad(f"mode {mode}", "nearest, linear or cubic")
    reach = 1 if mode == "linear" else 2
    wide = max(1.0, 1.0 / ratio) if smooth else 1.0
    first = np.floor(places).astype(np.int64)
    taps = np.arange(-int(np.ceil(reach * wide)), int(np.ceil(reach * wide)) + 2)
    at = first[:, None] + taps[None, :]
    distance = np.abs(places[:, None] - at) / wide
    if mode == "linear":
        weights = np.clip(1 - distance, 0, None)
    else:
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    if exclude:
        weights = np.where((at >= 0) & (at < n), weights, 0.0)
    if exclude or smooth:
        weights = weights / weights.sum(1, keepdims=True)
    found = np.zeros((len(places), n))
    np.add.at(found, (np.arange(len(places))[:, None], at.clip(0, n - 1)), weights)
    return found


def resize_10(x: Tensor, scales: Known, *, mode: str = "nearest") -> Tensor:
    """As in opset 10: from the corner."""
    return resize(
        x,
        None,
        scales,
        mode=mode,
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def upsample(
    x: Tensor,
    factors: Known | None = None,
    *,
    mode: str = "nearest",
    scales: Any = None,
    height_scale: float = 1.0,
    width_scale: float = 1.0,
) -> Tensor:
    """What is called Resize now."""
    ratios = factors if factors is not None else np.array(scales or (1, 1, height_scale, width_scale), np.float64)
    return resize_10(x, ratios, mode="linear" if mode in ("linear", "bilinear") else mode)


# ---- between pixels -------------------------------------------------------------------------------------------------


def grid_sample(
    x: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Tensor:
    """Pixels at points of a grid from -1 to 1."""
    names = {"linear": "bilinear", "cubic": "bicubic"}
    mode = names.get(mode, mode)
    return F.grid_sample(x, grid, mode, padding_mode, bool(align_corners))


def affine_grid(theta: Tensor, size: Known, *, align_corners: int = 0) -> Tensor:
    """The points of an image under an affine map."""
    return F.affine_grid(theta, ints(size), bool(align_corners))


def roi_align(
    x: Tensor,
    rois: Tensor,
    batch: Tensor,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Tensor:
    """He et al. 2017: regions in bins, each the mean, or the largest, of points in it."""
    boxes = np.asarray(rois.detach().numpy(), np.float64) * spatial_scale
    images = ints(batch.numpy())
    half = 0.5 if coordinate_transformation_mode == "half_pixel" else 0.0
    found = []
    for (x1, y1, x2, y2), k in zip(boxes, images, strict=True):
        spans, points = (y2 - y1, x2 - x1), []
        for begin, span, bins in zip((y1 - half, x1 - half), spans, (output_height, output_width), strict=True):
            span = span if half else max(span, 1.0)
            count = sampling_ratio or max(int(np.ceil(span / bins)), 1)
            at = begin + (np.arange(bins * count) + 0.5) * span / (bins * count)
            points.append((at, count))
        found.append(_bins(x[k : k + 1], points, (output_height, output_width), mode))
    if not found:
        return x.new_zeros((0, x.shape[1], output_height, output_width))
    return cat(found, 0)


def _bins(image: Tensor, points: Any, bins: tuple[int, int], mode: str) -> Tensor:
    """One region: its points, bin by bin."""
    (rows, r), (columns, c) = points
    y, x = (one.reshape(-1) for one in np.meshgrid(rows, columns, indexing="ij"))
    height, width = image.shape[2:]
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = y.clip(0, height - 1), x.clip(0, width - 1)
    kind = image.dtype
    shape = (1, image.shape[1], bins[0], r, bins[1], c)
    if mode == "avg":
        found = sampled(image, [given(one[None].astype(kind)) for one in (y, x)], "border")
        found = found * given(inside.astype(kind))
        return found.reshape(shape).mean([3, 5])
    largest: Any = None
    flat = image.flatten(2)
    for dy, dx in np.ndindex(2, 2):  # of the four terms of each point, as in the original
        low_y, low_x = np.floor(y), np.floor(x)
        weight = (y - low_y if dy else 1 - y + low_y) * (x - low_x if dx else 1 - x + low_x) * inside
        at = np.minimum(low_y + dy, height - 1) * width + np.minimum(low_x + dx, width - 1)
        term = flat.index_select(2, given(at.astype(np.int64))) * given(weight.astype(kind))
        largest = term if largest is None else largest.maximum(term)
    return largest.reshape(shape).amax([3, 5])  # type: ignore[no-any-return]


def max_roi_pool(x: Tensor, rois: Tensor, *, pooled_shape: Any, spatial_scale: float = 1.0) -> Tensor:
    """Girshick 2015: the largest of each bin of a region."""
    height, width = x.shape[2:]
    found = []
    for k, x1, y1, x2, y2 in np.asarray(rois.detach().numpy()):
        x1, y1, x2, y2 = (int(np.floor(one * spatial_scale + 0.5)) for one in (x1, y1, x2, y2))
        sizes = max(y2 - y1 + 1, 1) / pooled_shape[0], max(x2 - x1 + 1, 1) / pooled_shape[1]
        cells = []
        for i, j in np.ndindex(*pooled_shape):
            top, left = (int(np.floor(p * s)) + b for p, s, b in zip((i, j), sizes, (y1, x1), strict=True))
            low, right = (int(np.ceil((p + 1) * s)) + b for p, s, b in zip((i, j), sizes, (y1, x1), strict=True))
            part = x[int(k), :, max(top, 0) : min(low, height), max(left, 0) : min(right, width)]
            cells.append(part.amax([1, 2]) if part.numel() else x.new_zeros((x.shape[1],)))
        found.append(stack(cells, 1).reshape(x.shape[1], *pooled_shape))
    return stack(found) if found else x.new_zeros((0, x.shape[1], *pooled_shape))


OPERATORS: Final[Mapping[str, Any]] = {
    "AffineGrid": affine_grid,
    "GridSample": grid_sample,
    "MaxRoiPool": max_roi_pool,
    "Resize": {10: resize_10, 11: resize},
    "RoiAlign": roi_align,
    "Upsample": upsample,
}
