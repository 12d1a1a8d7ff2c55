"""Attention against torch's: values, gradients to second order, masks of every kind, eager and compiled; bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn.errors import ConfigError, DTypeError, ShapeError, TinygradError

RNG = np.random.default_rng(7)
QUERY, KEY, VALUE = (RNG.normal(size=shape) for shape in [(2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 7)])
LONG = RNG.normal(size=(2, 3, 9, 5))
SEEN = RNG.random((4, 6)) < 0.5
SEEN[1], SEEN[2] = False, True
HEADS = RNG.normal(size=(2, 6, 4, 5))

CASES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "plain": ([QUERY, KEY, VALUE], {}),
    "matrices": ([QUERY[0, 0], KEY[0, 0], VALUE[0, 0]], {}),
    "three axes": ([QUERY[0], KEY[0], VALUE[0]], {}),
    "five axes": ([QUERY[:, None], KEY[:, None], VALUE[:, None]], {}),
    "leading axes broadcast": ([QUERY[:1], KEY[:, :1], VALUE[0]], {}),
    "causal, more keys": ([QUERY, KEY, VALUE], {"is_causal": True}),
    "causal, more queries": ([LONG, KEY, VALUE], {"is_causal": True}),
    "scale": ([QUERY, KEY, VALUE], {"scale": -0.7}),
    "no scale": ([QUERY, KEY, VALUE], {"scale": 0.0}),
    "bools, a row without keys": ([QUERY, KEY, VALUE, SEEN], {}),
    "floats, a row without keys": ([QUERY, KEY, VALUE, np.where(SEEN, 0.5, -np.inf)], {}),
    "floats": ([QUERY, KEY, VALUE, RNG.normal(size=(2, 3, 4, 6))], {}),
    "keys of each sample": ([QUERY, KEY, VALUE, RNG.random((2, 1, 1, 6)) < 0.6], {}),
    "one row of a mask": ([QUERY, KEY, VALUE, SEEN[0]], {}),
    "one bool": ([QUERY, KEY, VALUE, np.array(False)], {}),
    "grouped heads": ([HEADS, KEY[:, :2], VALUE[:, :1]], {"enable_gqa": True, "attn_mask": SEEN}),
    "large scores": ([QUERY * 300, KEY, VALUE, SEEN], {}),
}
EMPTY: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "no keys": ([QUERY, KEY[:, :, :0], VALUE[:, :, :0]], {}),
    "no queries": ([QUERY[:, :, :0], KEY, VALUE], {"is_causal": True}),
    "no features": ([QUERY[..., :0], KEY[..., :0], VALUE], {}),
    "no values": ([QUERY, KEY, VALUE[..., :0]], {}),
    "no samples": ([QUERY[:0], KEY[:0], VALUE[:0], SEEN], {}),
}


def attend(*args: Any, **kwargs: Any) -> tg.Tensor:
    return F.scaled_dot_product_attention(*args, **kwargs)


def gradients(args: list[Any], options: dict[str, Any], compiled: bool) -> list[Any]:
    """Result, gradients of its product with fixed numbers, and gradients of those gradients' own product."""

    def of(*leaves: tg.Tensor) -> list[tg.Tensor]:
        out = attend(*leaves, *masks, **rest)
        numbers = [x for x in leaves if x.requires_grad]
        seed = tg.arange(out.numel()).to(out.dtype).reshape(out.shape).cos()
        first = tg.autograd.grad((out * seed).sum(), numbers, create_graph=True)
        total = sum(((g * g.detach().sin()).sum() for g in first), tg.zeros((), dtype=out.dtype))
        second = tg.autograd.grad(total, numbers, allow_unused=True)
        return [out, *first, *(x.new_zeros(x.shape) if g is None else g for x, g in zip(numbers, second, strict=True))]

    leaves = [tg.tensor(x).requires_grad_() for x in args if x.dtype.kind == "f"]
    masks = [tg.tensor(x) for x in args[len(leaves) :]]
    rest = {key: tg.tensor(x) if isinstance(x, np.ndarray) else x for key, x in options.items()}
    return [x.detach().numpy() for x in (tg.jit(of) if compiled else of)(*leaves)]


def expected(args: list[Any], options: dict[str, Any]) -> list[Any]:
    """The same from torch, by the plain form, whose second derivatives it has."""
    torch = pytest.importorskip("torch")
    leaves = [torch.tensor(x, requires_grad=True) for x in args if x.dtype.kind == "f"]
    masks = [torch.tensor(x) for x in args[len(leaves) :]]
    rest = {key: torch.tensor(x) if isinstance(x, np.ndarray) else x for key, x in options.items()}
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        out = torch.nn.functional.scaled_dot_product_attention(*leaves, *masks, **rest)
    seed = torch.arange(out.numel()).to(out.dtype).reshape(out.shape).cos()
    first = torch.autograd.grad((out * seed).sum(), leaves, create_graph=True)
    total = sum((g * g.detach().sin()).sum() for g in first)
    return [x.detach().numpy() for x in (out, *first, *torch.autograd.grad(total, leaves, materialize_grads=True))]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_it_is_torchs_to_second_order(name: str, dtype: str, compiled: bool) -> None:
    args, options = CASES[name]
    args = [x.astype(dtype) if x.dtype.kind == "f" else x for x in args]
    tolerance = {"rtol": 1e-9, "atol": 1e-11} if dtype == "float64" else {"rtol": 2e-4, "atol": 5e-5}
    if name == "large scores":  # their rounding counts for more than all else
        tolerance = {key: 300 * value for key, value in tolerance.items()}
    for found, wanted in zip(gradients(args, options, compiled), expected(args, options), strict=True):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, wanted, **tolerance)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", EMPTY)
def test_what_is_empty_has_torchs_result_and_no_gradient(name: str, compiled: bool) -> None:
    torch = pytest.importorskip("torch")
    args, options = EMPTY[name]
    out, *slopes = gradients(args, options, compiled)
    wanted = torch.nn.functional.scaled_dot_product_attention(*map(torch.tensor, args), **options).numpy()
    assert out.shape == wanted.shape
    np.testing.assert_allclose(out, wanted, rtol=1e-10)
    assert all((x == 0).all() for x in slopes if name != "no features")


def test_gradcheck_of_rows_without_keys() -> None:
    leaves = [tg.tensor(x[0, 0]).requires_grad_() for x in (QUERY, KEY, VALUE)]
    assert tg.testing.gradcheck(lambda q, k, v: attend(q, k, v, tg.tensor(SEEN)), leaves)
    assert tg.testing.gradcheck(lambda q, k, v: attend(q, k, v, is_causal=True), leaves)


def test_what_is_masked_does_no_harm() -> None:
    scores = QUERY.copy()
    scores[0, 0, 0, 0], scores[0, 0, 1, 0] = np.nan, np.inf  # the second one has no keys
    out = attend(tg.tensor(scores), tg.tensor(KEY), tg.tensor(VALUE), tg.tensor(SEEN)).numpy()
    assert np.isnan(out[0, 0, 0]).all()
    assert (out[0, 0, 1] == 0).all()
    assert np.isfinite(out[0, 0, 2:]).all()
    assert np.isfinite(out[1]).all()


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_dropout_takes_weights_from_the_generator(compiled: bool) -> None:
    """The identity as values shows the weights: each is 0, or twice what it is without dropout."""
    q, k = tg.tensor(RNG.normal(size=(3, 40, 4))), tg.tensor(RNG.normal(size=(3, 50, 4)))
    values = tg.eye(50, dtype=tg.float64).expand(3, 50, 50)
    run = (lambda p: attend(q, k, values, dropout_p=p)) if not compiled else None
    whole = attend(q, k, values).numpy()
    step = run or tg.jit(lambda: attend(q, k, values, dropout_p=0.5))
    draws = []
    for _ in range(2):
        tg.manual_seed(3)
        draws.append(step(0.5).numpy() if run else step().numpy())
    np.testing.assert_array_equal(*draws)
    kept = draws[0] != 0
    assert 0.45 < kept.mean() < 0.55
    np.testing.assert_allclose(draws[0][kept], 2 * whole[kept], rtol=1e-12)
    assert (attend(q, k, values, dropout_p=1.0).numpy() == 0).all()
    own = [attend(q, k, values, dropout_p=0.5, generator=tg.Generator(4)).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*own)
    assert not np.array_equal(own[0], draws[0])


def test_lists_and_arrays_are_data() -> None:
    out = attend([[1.0]], [[1.0], [2.0]], [[3.0], [5.0]], [[False, True]])
    assert (out.tolist(), out.dtype) == ([[5.0]], tg.float32)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((QUERY, KEY[..., :3], VALUE), {}, ShapeError, r"shapes \(2, 3, 4, 5\), \(2, 3, 6, 3\) and .*\(\.\.\., L, E"),
        ((QUERY, KEY, VALUE[:, :, :4]), {}, ShapeError, r"expected \(\.\.\., L, E\), \(\.\.\., S, E\) and"),
        ((QUERY[0, 0, 0], KEY, VALUE), {}, ShapeError, r"shapes \(5,\), "),
        ((QUERY, np.repeat(KEY[:1], 3, 0), VALUE), {}, ShapeError, r"expected shapes that broadcast"),
        ((QUERY, KEY, VALUE, SEEN[:, :4]), {}, ShapeError, r"an attn_mask of shape \(4, 4\) for scores of shape"),
        ((QUERY, KEY, VALUE, np.ones((7, 2, 3, 4, 6), bool)), {}, ShapeError, r"attn_mask of shape \(7, 2, 3, 4, 6\)"),
        ((QUERY, KEY, VALUE, SEEN), {"is_causal": True}, ConfigError, "an attn_mask and is_causal=True; expected one"),
        ((QUERY.astype(int), KEY.astype(int), VALUE.astype(int)), {}, DTypeError, "dtypes int64, int64, int64"),
        ((QUERY.astype("f"), KEY, VALUE), {}, DTypeError, "dtypes float32 and float64; expected one float dtype"),
        ((QUERY, KEY, VALUE, SEEN.astype(int)), {}, DTypeError, "attn_mask of dtype int64; expected bool, float32 or"),
        ((QUERY, KEY, VALUE), {"dropout_p": 1.5}, ConfigError, "dropout_p 1.5; expected a number, 0 <= dropout_p <= 1"),
        ((QUERY, KEY, VALUE), {"dropout_p": -0.1}, ConfigError, "dropout_p -0.1"),
        ((QUERY, KEY, VALUE), {"scale": float("nan")}, ConfigError, "scale nan"),
        ((QUERY, KEY, VALUE), {"scale": "small"}, DTypeError, "scale 'small'; expected a number"),
        ((QUERY, KEY, VALUE), {"is_causal": 1}, DTypeError, "is_causal 1; expected True or False"),
        ((QUERY, KEY[:, :2], VALUE), {"enable_gqa": True}, ShapeError, r"a key of shape \(2, 2, 6, 5\) with"),
        ((QUERY[0, 0], KEY[0, 0], VALUE[0, 0]), {"enable_gqa": True}, ShapeError, r"expected heads on axis -3"),
        ((None, KEY, VALUE), {}, DTypeError, "None as query"),
    ],
)
def test_what_is_wrong_is_said(arguments: Any, options: Any, error: type[TinygradError], text: str) -> None:
    tensors = [tg.tensor(x) if isinstance(x, np.ndarray) else x for x in arguments]
    with pytest.raises(error, match=r"^\[scaled_dot_product_attention\] got " + r".*" + text):
        attend(*tensors, **options)
