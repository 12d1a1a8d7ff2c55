"""interpolate, grid_sample, affine_grid and ctc_loss against PyTorch: values, gradients, also of second order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn.errors import ConfigError, ShapeError, TinygradError

RNG = np.random.default_rng(2)
LINE, PICTURE, VOLUME = RNG.normal(size=(2, 3, 5)), RNG.normal(size=(1, 2, 5, 4)), RNG.normal(size=(1, 2, 3, 4, 2))
CASES: list[tuple[Any, dict[str, Any]]] = [
    (LINE, {"size": 8}),
    (LINE, {"scale_factor": 1.7, "mode": "nearest-exact"}),
    (LINE, {"size": 3, "mode": "linear"}),
    (LINE, {"size": 5, "mode": "linear"}),
    (LINE, {"scale_factor": 2, "mode": "linear", "align_corners": True}),
    (LINE, {"size": 1, "mode": "linear", "align_corners": True}),
    (LINE, {"size": 7, "mode": "area"}),
    (PICTURE, {"scale_factor": (2, 0.5)}),
    (PICTURE, {"size": (7, 3), "mode": "bilinear"}),
    (PICTURE, {"scale_factor": 1.6, "mode": "bilinear"}),
    (PICTURE, {"scale_factor": 1.6, "mode": "bilinear", "recompute_scale_factor": True}),
    (PICTURE, {"size": (3, 6), "mode": "bicubic"}),
    (PICTURE, {"size": (9, 2), "mode": "bicubic", "align_corners": True}),
    (PICTURE, {"size": (2, 3), "mode": "bilinear", "antialias": True}),
    (PICTURE, {"size": (3, 7), "mode": "bicubic", "antialias": True}),
    (PICTURE, {"size": (3, 2), "mode": "area"}),
    (VOLUME, {"scale_factor": 2}),
    (VOLUME, {"size": (4, 2, 5), "mode": "trilinear"}),
]


def agree(mine: Any, theirs: Any, *arrays: Any) -> None:
    """Values and gradients of two functions, ours compiled too."""
    torch = pytest.importorskip("torch")
    xs = [tg.tensor(a, requires_grad=True) for a in arrays]
    ts = [torch.tensor(a, requires_grad=True) for a in arrays]
    out, expected = mine(*xs), theirs(*ts)
    assert out.shape == tuple(expected.shape)
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=1e-6, atol=1e-9)
    seed = RNG.normal(size=out.shape)
    wanted = torch.autograd.grad(expected, ts, torch.tensor(seed))

    def both(*xs: Any) -> Any:
        out = mine(*xs)
        return out, *tg.autograd.grad(out, list(xs), tg.tensor(seed))

    for run in (both, tg.jit(both)):
        for one, other in zip(run(*xs), (expected, *wanted), strict=True):
            np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("array", "options"), CASES, ids=str)
def test_interpolate(array: Any, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    agree(lambda x: F.interpolate(x, **options), lambda x: torch.nn.functional.interpolate(x, **options), array)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample(mode: str, padding_mode: str, align_corners: bool) -> None:
    torch = pytest.importorskip("torch")
    settings = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
    for x, size in ((PICTURE, (3, 5)), (VOLUME, (2, 3, 2)))[: 1 if mode == "bicubic" else 2]:
        grid = RNG.uniform(-1.6, 1.6, (1, *size, len(size)))
        theirs = torch.nn.functional.grid_sample
        given = (x,) if mode == "nearest" else (x, grid)  # of the nearest element the grid has no gradient
        mine, other = tg.tensor(grid), torch.tensor(grid)
        agree(
            lambda x, g=mine: F.grid_sample(x, g, **settings),
            lambda x, g=other: theirs(x, g, **settings),  # noqa: B023
            *given,
        )


@pytest.mark.parametrize("align_corners", [False, True])
def test_affine_grid(align_corners: bool) -> None:
    torch = pytest.importorskip("torch")
    for shape, size in (((2, 2, 3), (2, 1, 4, 3)), ((1, 3, 4), (1, 2, 3, 4, 2))):
        theirs = torch.nn.functional.affine_grid
        agree(
            lambda x: F.affine_grid(x, size, align_corners),  # noqa: B023
            lambda x: theirs(x, size, align_corners),  # noqa: B023
            RNG.normal(size=shape),
        )


LENGTHS = ([6, 5, 6, 4], [3, 2, 0, 4])
TARGETS = np.array([[1, 2, 2, 0], [3, 3, 1, 1], [1, 1, 1, 1], [1, 2, 3, 1]])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("together", [False, True])
def test_ctc_loss(reduction: str, together: bool) -> None:
    torch = pytest.importorskip("torch")
    targets = np.concatenate([row[:n] for row, n in zip(TARGETS, LENGTHS[1], strict=True)]) if together else TARGETS
    rest = {"reduction": reduction, "zero_infinity": True}
    agree(
        lambda x: F.ctc_loss(x.log_softmax(2), tg.tensor(targets), *LENGTHS, **rest),
        lambda x: torch.nn.functional.ctc_loss(x.log_softmax(2), torch.tensor(targets), *LENGTHS, **rest),
        RNG.normal(size=(6, 4, 4)),
    )
    agree(
        lambda x: F.ctc_loss(x.log_softmax(1), tg.tensor([1, 2]), [6], [2], 3, reduction),
        lambda x: torch.nn.functional.ctc_loss(
            x.log_softmax(1), torch.tensor([1, 2]), torch.tensor(6), torch.tensor(2), 3, reduction
        ),
        RNG.normal(size=(6, 4)),
    )


def test_second_derivatives() -> None:
    x = tg.tensor(RNG.normal(size=(1, 1, 3, 3)), requires_grad=True)
    grid = tg.tensor(RNG.uniform(-0.8, 0.8, (1, 2, 2, 2)), requires_grad=True)
    scores = tg.tensor(RNG.normal(size=(4, 1, 3)), requires_grad=True)
    assert tg.testing.gradcheck(lambda x: F.interpolate(x, (2, 5), mode="bicubic") ** 2, (x,))
    assert tg.testing.gradcheck(lambda x, grid: F.grid_sample(x, grid), (x, grid))
    assert tg.testing.gradcheck(lambda x, grid: F.grid_sample(x, grid, "bicubic"), (x, grid))
    assert tg.testing.gradcheck(lambda x: F.ctc_loss(x.log_softmax(2), tg.tensor([[1, 2]]), [4], [2]), (scores,))


def test_misuse() -> None:
    x = tg.zeros(1, 2, 5)
    cases: list[tuple[Any, type[TinygradError], str]] = [
        (lambda: F.interpolate(x), ConfigError, r"\[interpolate\] got size None and scale_factor None"),
        (lambda: F.interpolate(x, 3, mode="bilinear"), ShapeError, r"\[interpolate\] got shape \(1, 2, 5\)"),
        (lambda: F.interpolate(x, 3, mode="cubic"), ConfigError, r"\[interpolate\] got mode 'cubic'"),
        (lambda: F.interpolate(x, 3, align_corners=True), ConfigError, r"got align_corners with mode 'nearest'"),
        (lambda: F.interpolate(x, 3, antialias=True), ConfigError, r"got antialias=True with mode 'nearest'"),
        (lambda: F.interpolate(x, (3, 3)), ConfigError, r"got 2 numbers for 1 axes"),
        (lambda: F.grid_sample(x, x), ShapeError, r"\[grid_sample\] got shapes"),
        (lambda: F.grid_sample(VOLUME, np.zeros((1, 1, 1, 1, 3)), "bicubic"), ConfigError, r"got mode 'bicubic' for"),
        (lambda: F.affine_grid(x, (1, 1, 2, 2)), ShapeError, r"\[affine_grid\] got theta of shape \(1, 2, 5\)"),
        (lambda: F.ctc_loss(x, [[1], [1]], [7, 1], [1, 1]), ShapeError, r"\[ctc_loss\] got input_lengths \[7, 1\]"),
        (lambda: F.ctc_loss(x, [[1], [1]], [1, 1], [1, 1], 9), ConfigError, r"\[ctc_loss\] got blank 9"),
    ]
    for call, error, match in cases:
        with pytest.raises(error, match=match):
            call()
