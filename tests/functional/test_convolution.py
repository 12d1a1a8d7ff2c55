"""Convolutions and pooling against PyTorch over all of their arguments: values, gradients, second gradients; and
compiled against eager. What PyTorch refuses is an error of ours.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn
from tinygrad_nn.errors import ConfigError, DTypeError, ShapeError, TinygradError, TooLarge

RNG = np.random.default_rng(7)
Call = Callable[[Any, list[Any]], Any]


def leaves(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]


def of_torch(call: Call, arrays: list[Any], order: int) -> list[Any]:
    """The results, the gradients of a bent sum of them, and the gradients of those."""
    torch = pytest.importorskip("torch")
    xs = [torch.tensor(a, requires_grad=True) for a in arrays]
    out, *places = leaves(call(torch.nn.functional, xs))
    found = [out, *places]
    first = torch.autograd.grad((out * out.cos()).sum(), xs, create_graph=True)
    found += first
    if order > 1:
        found += torch.autograd.grad(sum((g * g).sum() for g in first), xs, allow_unused=True)
    return [None if x is None else x.detach().numpy() for x in found]


def of_ours(call: Call, arrays: list[Any], order: int, compiled: bool = False) -> list[Any]:
    def all_of(*xs: Any) -> Any:
        out, *places = leaves(call(F, list(xs)))
        found = [out, *places]
        first = tg.autograd.grad((out * out.cos()).sum(), list(xs), create_graph=True)
        found += first
        if order > 1:
            found += tg.autograd.grad(sum((g * g).sum() for g in first), list(xs), allow_unused=True)  # type: ignore[arg-type]
        return [x for x in found if x is not None]

    xs = [tg.tensor(a).requires_grad_() for a in arrays]
    found = tg.jit(all_of)(*xs) if compiled else all_of(*xs)
    return [x.detach().numpy() for x in found]


def agree(call: Call, arrays: list[Any], order: int = 2, compiled: bool = True) -> None:
    """Ours is theirs, or both refuse."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of padding="same" with an even kernel
        try:
            theirs = [x for x in of_torch(call, arrays, order) if x is not None]
        except (RuntimeError, ValueError, TypeError):
            with pytest.raises(TinygradError):
                of_ours(call, arrays, order)
            return
    for way in (False, True) if compiled else (False,):
        ours = of_ours(call, arrays, 1 if way else order, way)
        for mine, other in zip(ours, theirs, strict=way is False):
            assert mine.shape == other.shape
            assert mine.dtype == other.dtype
            np.testing.assert_allclose(mine, other, rtol=1e-8, atol=1e-9)


def numbers(*shape: int) -> Any:
    return RNG.normal(size=shape)


@st.composite
def setting(draw: Any, rank: int, low: int, high: int) -> Any:
    """A number, or one for each axis."""
    each = [draw(st.integers(low, high)) for _ in range(rank)]
    return each[0] if draw(st.booleans()) else tuple(each)


@st.composite
def convolutions(draw: Any) -> tuple[Call, list[Any]]:
    rank = draw(st.sampled_from((1, 1, 2, 2, 3)))
    transposed = rank < 3 and draw(st.booleans())
    groups = draw(st.integers(1, 3))
    size = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    x = numbers(*([draw(st.integers(1, 3))] * draw(st.booleans())), size[0],
                *(draw(st.integers(3, 6 if rank < 3 else 4)) for _ in range(rank)))  # fmt: skip
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    first = (size[0], size[1] // groups) if transposed else (size[1], size[0] // groups)
    w, b = numbers(*first, *kernel), numbers(size[1])
    options: dict[str, Any] = {
        "stride": draw(setting(rank, 1, 3)), "dilation": draw(setting(rank, 1, 3)), "groups": groups,
    }  # fmt: skip
    if transposed:
        options |= {"padding": draw(setting(rank, 0, 2)), "output_padding": draw(setting(rank, 0, 2))}
    else:
        options["padding"] = draw(st.one_of(setting(rank, 0, 3), st.sampled_from(("same", "valid"))))
    name = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"
    arrays = [x, w, b] if draw(st.booleans()) else [x, w]
    return (lambda library, xs: getattr(library, name)(*xs, **options)), arrays


@settings(max_examples=25, deadline=None)
@given(convolutions())
def test_convolutions(case: tuple[Call, list[Any]]) -> None:
    agree(*case)


@st.composite
def poolings(draw: Any) -> tuple[Call, list[Any]]:
    rank = draw(st.integers(1, 2))
    lead = [draw(st.integers(1, 2)) for _ in range(draw(st.integers(1, 2)))]
    x = RNG.permutation(np.prod([*lead, *([7] * rank)])).reshape(*lead, *([7] * rank)) / 7.0
    kernel = draw(setting(rank, 1, 4))
    options: dict[str, Any] = {"padding": draw(setting(rank, 0, 2)), "ceil_mode": draw(st.booleans())}
    if draw(st.booleans()):
        options["stride"] = draw(setting(rank, 1, 4))
    if draw(st.booleans()):
        options |= {"dilation": draw(setting(rank, 1, 2)), "return_indices": draw(st.booleans())}
        return (lambda library, xs: getattr(library, f"max_pool{rank}d")(*xs, kernel, **options)), [x]
    options["count_include_pad"] = draw(st.booleans())
    if rank == 2 and draw(st.booleans()):
        options["divisor_override"] = draw(st.sampled_from((1, 3, -2)))
    return (lambda library, xs: getattr(library, f"avg_pool{rank}d")(*xs, kernel, **options)), [x]


@settings(max_examples=25, deadline=None)
@given(poolings())
def test_pooling(case: tuple[Call, list[Any]]) -> None:
    agree(*case)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 9])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_adaptive_pooling(kind: str, size: int) -> None:
    for indices in (False, True) if kind == "max" else (False,):
        more = (True,) if indices else ()
        line, picture = numbers(2, 3, 6), numbers(2, 6, 7)
        agree(lambda lib, xs: getattr(lib, f"adaptive_{kind}_pool1d")(*xs, size, *more), [line])  # noqa: B023
        agree(lambda lib, xs: getattr(lib, f"adaptive_{kind}_pool2d")(*xs, (size, None), *more), [picture])  # noqa: B023


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_more_windows_than_elements(kind: str) -> None:
    agree(lambda lib, xs: getattr(lib, f"adaptive_{kind}_pool1d")(*xs, 3), [numbers(2, 3, 1)])


def test_strides_far_beyond_the_kernel() -> None:
    agree(lambda lib, xs: lib.conv_transpose1d(*xs, stride=300), [numbers(1, 1, 2), numbers(1, 1, 2)], compiled=False)


@st.composite
def patches(draw: Any) -> tuple[Call, list[Any]]:
    options = {
        "dilation": draw(setting(2, 1, 2)), "padding": draw(setting(2, 0, 2)), "stride": draw(setting(2, 1, 3)),
    }  # fmt: skip
    kernel = draw(setting(2, 1, 3))
    x = numbers(*([2] * draw(st.booleans())), 2, 5, 6)
    if draw(st.booleans()):
        return (lambda library, xs: library.unfold(*xs, kernel, **options)), [x]
    torch = pytest.importorskip("torch")
    try:
        columns = torch.nn.functional.unfold(torch.tensor(x), kernel, **options).numpy()
    except RuntimeError:
        columns = numbers(2, 8, 3)
    return (lambda library, xs: library.fold(*xs, (5, 6), kernel, **options)), [numbers(*columns.shape)]


@settings(max_examples=15, deadline=None)
@given(patches())
def test_unfold_and_fold(case: tuple[Call, list[Any]]) -> None:
    agree(*case)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("options", [{}, {"padding": 1}, {"padding": 1, "dilation": 2}, {"ceil_mode": True}])
def test_nan_infinities_and_ties_in_max_pooling(special: float, options: dict[str, Any]) -> None:
    """Of equal elements the first gets the gradient, of several NaN the last."""
    torch = pytest.importorskip("torch")
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = rng.integers(0, 3, (2, 2, 6, 6)).astype(np.float64)
        x[rng.random(x.shape) < 0.3] = special
        theirs = torch.tensor(x, requires_grad=True)
        out, index = torch.nn.functional.max_pool2d(theirs, 3, 2, **options, return_indices=True)
        weights = rng.integers(-9, 9, out.shape).astype(np.float64)
        out.backward(torch.tensor(weights))
        for way in (lambda f: f, tg.jit):

            def both(x: Any) -> Any:
                out, index = F.max_pool2d(x, 3, 2, **options, return_indices=True)
                return out, index, tg.autograd.grad(out, x, tg.tensor(weights))[0]  # noqa: B023

            mine = [y.detach().numpy() for y in way(both)(tg.tensor(x).requires_grad_())]
            for one, other in zip(mine, (out.detach(), index, theirs.grad), strict=True):
                np.testing.assert_array_equal(one, other.numpy())


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular", "zeros"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_padding_modes_of_layers(rank: int, mode: str) -> None:
    torch = pytest.importorskip("torch")
    for padding in (1, "same"):
        options: dict[str, Any] = {"padding": padding, "padding_mode": mode, "dilation": 2 if padding == "same" else 1}
        mine = getattr(nn, f"Conv{rank}d")(2, 3, 2, **options).double()
        theirs = getattr(torch.nn, f"Conv{rank}d")(2, 3, 2, **options).double()
        theirs.load_state_dict({key: torch.tensor(value.numpy()) for key, value in mine.state_dict().items()})
        x = numbers(2, 2, *((5,) * rank))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = theirs(torch.tensor(x)).detach().numpy()
        np.testing.assert_allclose(mine(tg.tensor(x)).detach().numpy(), expected, rtol=1e-10)
        np.testing.assert_allclose(tg.jit(mine)(tg.tensor(x)).detach().numpy(), expected, rtol=1e-10)
        assert mine.extra_repr() == theirs.extra_repr()


def test_output_size_of_a_transposed_layer() -> None:
    layer, x = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1), tg.ones(1, 2, 4, 4)
    assert layer(x).shape == (1, 3, 7, 7)
    assert layer(x, (8, 7)).shape == layer(x, (1, 3, 8, 7)).shape == (1, 3, 8, 7)
    with pytest.raises(ShapeError, match=r"\[ConvTranspose2d\] got output_size \(9, 7\); expected sizes from \(7, 7\)"):
        layer(x, (9, 7))


def test_first_values_are_those_of_torch() -> None:
    """The same range, from the same number of inputs."""
    for layer, bound in (
        (nn.Conv2d(4, 200, 3, groups=2), 18**-0.5),
        (nn.ConvTranspose2d(4, 200, 3), (200 * 9) ** -0.5),
    ):
        for parameter in layer.parameters():
            assert 0.9 * bound < parameter.abs().max().item() <= bound


def test_empty_batches() -> None:
    for call in (
        lambda x: F.conv2d(x, tg.ones(3, 2, 3, 3), padding=1),
        lambda x: F.conv_transpose2d(x, tg.ones(2, 3, 3, 3), padding=1),
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.adaptive_avg_pool2d(x, 3),
        lambda x: F.adaptive_max_pool2d(x, 2),
        lambda x: F.unfold(x, 2),
    ):
        x = tg.zeros(0, 2, 4, 4).requires_grad_()
        for way in (lambda f: f, tg.jit):
            assert way(call)(x).shape == (0, *call(tg.zeros(1, 2, 4, 4)).shape[1:])
        assert tg.autograd.grad(call(x).sum(), x)[0].shape == x.shape  # type: ignore[union-attr]


def test_whole_numbers_and_mixed_floats() -> None:
    torch = pytest.importorskip("torch")
    x, w = tg.arange(12).reshape(1, 2, 6), tg.ones(1, 2, 3, dtype=tg.int64)
    assert F.conv1d(x, w).tolist() == [[[24, 30, 36, 42]]]
    with pytest.raises(DTypeError, match=r"\[conv1d\] got dtypes float32 and float64"):
        F.conv1d(x.float(), w.double())
    with pytest.raises(DTypeError, match=r"\[conv1d\] got dtypes float32 and float64"):
        F.conv1d(x.float(), w.float(), tg.ones(1).double())
    pooled, theirs = F.avg_pool1d(x, 2), torch.nn.functional.avg_pool1d(torch.tensor(x.numpy()), 2)
    assert pooled.dtype == tg.int64
    assert theirs.dtype == torch.int64
    assert pooled.tolist() == theirs.tolist()


PICTURE, KERNEL = (1, 4, 5, 5), (6, 4, 3, 3)
WRONG: list[tuple[Callable[[], Any], type[TinygradError], str]] = [
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(6, 4, 6, 3)), ShapeError,
     r"\[conv2d\] got places \(5, 5\), padding included, for a kernel of \(6, 3\)"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(KERNEL), dilation=3), ShapeError, r"for a kernel of \(7, 7\)"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(KERNEL), groups=2), ShapeError, "in 2 groups"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(7, 2, 3, 3), groups=2), ConfigError,
     r"\[conv2d\] got 7 channels in 2 groups; expected channels that the groups divide"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(KERNEL), groups=0), ConfigError, r"\[conv2d\] got groups 0"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(KERNEL), stride=0), ConfigError, r"\[conv2d\] got stride 0"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(KERNEL), stride=(1, 0)), ConfigError, r"\[conv2d\] got stride 0"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(KERNEL), stride=(1, 1, 1)), ConfigError, "an integer, or 2 of them"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(KERNEL), padding=-1), ConfigError, r"\[conv2d\] got padding -1"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(KERNEL), padding="full"), ConfigError, "padding 'full'"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(KERNEL), padding="same", stride=2), ConfigError, "stride 1"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(KERNEL), dilation=0), ConfigError, r"\[conv2d\] got dilation 0"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(KERNEL), tg.ones(5)), ShapeError, r"a bias of shape \(5,\)"),
    (lambda: F.conv2d(tg.ones(4), tg.ones(KERNEL)), ShapeError, r"\[conv2d\] got shapes \(4,\) and"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(6, 4, 0, 3)), ShapeError, "a kernel of at least 1"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(KERNEL), stride=[1, {}]), ConfigError, r"\[conv2d\] got stride"),
    (lambda: F.conv_transpose2d(tg.ones(PICTURE), tg.ones(KERNEL)), ShapeError, r"\[conv_transpose2d\] got shapes"),
    (lambda: F.conv_transpose2d(tg.ones(PICTURE), tg.ones(4, 6, 3, 3), output_padding=1), ConfigError,
     "output_padding"),
    (lambda: F.conv_transpose2d(tg.ones(PICTURE), tg.ones(4, 6, 3, 3), padding=4), ShapeError, "pad less"),
    (lambda: F.max_pool2d(tg.ones(PICTURE), 6), ShapeError, r"\[max_pool2d\] got \(5, 5\) places"),
    (lambda: F.max_pool2d(tg.ones(PICTURE), 2, 0), ConfigError, r"\[max_pool2d\] got stride 0"),
    (lambda: F.max_pool2d(tg.ones(PICTURE), 0), ConfigError, r"\[max_pool2d\] got kernel_size 0"),
    (lambda: F.max_pool2d(tg.ones(PICTURE), 2, padding=2), ConfigError, r"at most half of it, \(1, 1\)"),
    (lambda: F.max_pool2d(tg.ones(5, 5), 2), ShapeError, r"\[max_pool2d\] got shape \(5, 5\); expected \(N, C, H, W\)"),
    (lambda: F.avg_pool2d(tg.ones(PICTURE), 2, divisor_override=0), ConfigError, "divisor_override 0"),
    (lambda: F.adaptive_avg_pool2d(tg.ones(PICTURE), -1), ConfigError, r"\[adaptive_avg_pool2d\] got output_size -1"),
    (lambda: F.adaptive_max_pool1d(tg.ones(PICTURE), 2), ShapeError, r"\[adaptive_max_pool1d\] got shape"),
    (lambda: F.unfold(tg.ones(PICTURE), 6), ShapeError, r"\[unfold\] got \(5, 5\) places"),
    (lambda: F.unfold(tg.ones(5, 5), 2), ShapeError, r"\[unfold\] got shape \(5, 5\)"),
    (lambda: F.fold(tg.ones(1, 8, 15), (5, 5), 2), ShapeError, r"\[fold\] got shape \(1, 8, 15\)"),
    (lambda: F.fold(tg.ones(1, 7, 16), (5, 5), 2), ShapeError, r"\[fold\] got shape \(1, 7, 16\)"),
    (lambda: nn.Conv2d(3, 4, 2, groups=2), ConfigError, r"\[Conv2d\] got 3 and 4 channels in 2 groups"),
    (lambda: nn.Conv2d(3, 4, (2, 2, 2)), ConfigError, r"\[Conv2d\] got kernel_size \(2, 2, 2\)"),
    (lambda: nn.Conv2d(3, 4, 2, padding_mode="mirror"), ConfigError, r"\[Conv2d\] got padding_mode 'mirror'"),
    (lambda: nn.ConvTranspose2d(3, 4, 2, padding_mode="reflect"), ConfigError, "expected 'zeros'"),
    (lambda: nn.MaxPool2d(3, padding=2), ConfigError, r"\[MaxPool2d\] got padding 2"),
    (lambda: nn.AvgPool2d(2, stride=0), ConfigError, r"\[AvgPool2d\] got stride 0"),
    (lambda: nn.AvgPool2d(2, divisor_override=0), ConfigError, r"\[AvgPool2d\] got divisor_override 0"),
    (lambda: nn.AdaptiveMaxPool2d((2, 2, 2)), ConfigError, r"\[AdaptiveMaxPool2d\] got output_size"),
    (lambda: nn.Unfold(2, stride=0), ConfigError, r"\[Unfold\] got stride 0"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(KERNEL), stride=2**31), ConfigError, r"stride <= 2,147,483,647"),
    (lambda: F.max_pool2d(tg.ones(PICTURE), 2, 2**70), ConfigError, r"\[max_pool2d\] got stride"),
    (lambda: F.conv2d(tg.ones(PICTURE), tg.ones(KERNEL), padding=2**30), TooLarge, r"\[conv2d\] got shape"),
    (lambda: F.conv_transpose2d(tg.ones(PICTURE), tg.ones(4, 6, 3, 3), stride=2**30), TooLarge,
     r"\[conv_transpose2d\] got shape"),
    (lambda: F.conv_transpose2d(tg.ones(PICTURE), tg.ones(4, 6, 3, 3), dilation=2**20, padding=2**20), TooLarge,
     r"\[conv_transpose2d\] got shape"),
    (lambda: F.unfold(tg.ones(PICTURE), 2, padding=2**30), TooLarge, r"\[unfold\] got shape"),
    (lambda: F.fold(tg.ones(4, 9), 2**30, 2), TooLarge, r"\[fold\] got shape"),
    (lambda: F.adaptive_avg_pool1d(tg.ones(1, 4), 2**40), TooLarge, r"\[adaptive_avg_pool1d\] got shape"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), WRONG)
def test_wrong_input(call: Callable[[], Any], error: type[TinygradError], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
