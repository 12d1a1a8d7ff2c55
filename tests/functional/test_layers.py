"""Functions of layers that scripts use beside linear and convolution, against PyTorch: values and gradients, compiled;
second derivatives; what is written in place; what is drawn; what is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn
from tinygrad_nn.errors import ConfigError, ShapeError, TinygradError

RNG = np.random.default_rng(6)
X = RNG.normal(size=(2, 4, 6))
ROWS, OTHER = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3))
INDEX, OFFSETS = np.array([1, 2, 0, 3, 2]), np.array([0, 2, 2])
CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("group_norm", [X], {"num_groups": 2}),
    ("instance_norm", [X], {}),
    ("local_response_norm", [X], {"size": 3, "alpha": 0.5}),
    ("channel_shuffle", [X], {"groups": 2}),
    ("pixel_shuffle", [X.reshape(2, 4, 2, 3)], {"upscale_factor": 2}),
    ("pixel_unshuffle", [X.reshape(2, 1, 4, 6)], {"downscale_factor": 2}),
    ("max_pool3d", [X.reshape(1, 3, 4, 2, 2)], {"kernel_size": 2}),
    ("avg_pool3d", [X.reshape(1, 3, 4, 2, 2)], {"kernel_size": (2, 1, 2), "padding": (1, 0, 0)}),
    ("adaptive_avg_pool3d", [X.reshape(1, 3, 4, 2, 2)], {"output_size": (3, None, 1)}),
    ("lp_pool1d", [np.abs(X)], {"norm_type": 3.0, "kernel_size": 2}),
    ("conv1d", [X, RNG.normal(size=(3, 4, 2))], {"stride": (2,), "padding": (1,), "dilation": (1,)}),
    ("avg_pool1d", [X], {"kernel_size": (3,), "stride": (2,), "padding": (1,)}),
    ("pdist", [ROWS], {"p": 3.0}),
    ("normalize", [X], {"dim": (1, 2)}),
    ("normalize", [X], {"p": 1.0, "dim": -1}),
    ("cosine_similarity", [ROWS, OTHER[:1]], {}),
    ("prelu", [X, np.array(0.3)], {}),
    ("softmax", [X], {"dim": 1, "dtype": "float32"}),
    ("softmax", [X], {}),
    ("log_softmax", [ROWS], {}),
    ("softmin", [X.reshape(1, 2, 4, 6)], {}),
    ("mse_loss", [ROWS, OTHER], {"weight": np.abs(ROWS)}),
    ("l1_loss", [ROWS, OTHER], {"weight": np.abs(ROWS), "reduction": "sum"}),
    ("huber_loss", [ROWS, OTHER], {"weight": np.abs(ROWS)}),
    ("mse_loss", [ROWS, OTHER], {"size_average": False}),
    ("mse_loss", [ROWS, OTHER], {"reduce": False}),
    ("smooth_l1_loss", [ROWS, OTHER], {"size_average": True, "beta": 0.4}),
    ("gaussian_nll_loss", [ROWS, OTHER, np.abs(ROWS[:, 0])], {}),
    ("gaussian_nll_loss", [ROWS, OTHER, np.abs(ROWS[:, :1])], {"full": True}),
    ("cosine_embedding_loss", [ROWS, OTHER], {"target": np.array([1, -1, 1, -1]), "margin": 0.1}),
    ("multilabel_margin_loss", [ROWS], {"target": np.array([[0, -1, 1], [2, 0, -1], [-1, 0, 0], [1, 2, 0]])}),
    ("multilabel_soft_margin_loss", [ROWS], {"target": (OTHER > 0) * 1.0, "weight": np.abs(ROWS[0])}),
    ("triplet_margin_with_distance_loss", [ROWS, OTHER, ROWS[::-1].copy()], {"swap": True}),
    ("linear_cross_entropy", [ROWS, RNG.normal(size=(5, 3))], {"target": np.array([0, 4, 2, 2])}),
    ("embedding_bag", [], {"input": INDEX, "weight": ROWS, "offsets": OFFSETS}),
    ("embedding_bag", [], {"input": INDEX, "weight": ROWS, "offsets": OFFSETS, "mode": "max", "padding_idx": 2}),
    ("embedding_bag", [], {"input": INDEX[None], "weight": ROWS, "mode": "sum", "per_sample_weights": X[:1, 0, :5]}),
    ("embedding_bag", [], {"input": INDEX, "weight": ROWS, "offsets": np.array([0, 5]), "include_last_offset": True}),
    ("embedding", [], {"input": INDEX, "weight": ROWS, "scale_grad_by_freq": True, "padding_idx": 3}),
]


@pytest.mark.filterwarnings("ignore:Implicit dimension choice", "ignore:size_average and reduce args")
@pytest.mark.parametrize(("name", "arrays", "options"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_values_and_gradients(name: str, arrays: list[Any], options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")

    def given(make: Any, dtype: Any) -> tuple[list[Any], dict[str, Any], list[Any]]:
        floats = []

        def one(value: Any) -> Any:
            if value == "float32" if isinstance(value, str) else False:
                return dtype
            if not isinstance(value, np.ndarray):
                return value
            made = make(value)
            if value.dtype.kind == "f":
                made.requires_grad_()
                floats.append(made)
            return made

        return [one(a) for a in arrays], {key: one(value) for key, value in options.items()}, floats

    args, kwargs, leaves = given(tg.tensor, "float32")
    others, settings, expected_leaves = given(torch.tensor, torch.float32)
    expected = getattr(torch.nn.functional, name)(*others, **settings)
    seed = RNG.normal(size=tuple(expected.shape))
    wanted = torch.autograd.grad(expected, expected_leaves, torch.tensor(seed, dtype=expected.dtype), allow_unused=True)

    def both() -> Any:
        out = getattr(F, name)(*args, **kwargs)
        return out, *tg.autograd.grad(out, leaves, tg.tensor(seed).to(out.dtype), allow_unused=True)

    rtol = 1e-5 if "dtype" in options else 1e-8
    for run in (both, tg.jit(both)):
        out, *gradients = run()
        assert str(out.dtype) == str(expected.dtype).removeprefix("torch.")
        for one, other in zip((out, *gradients), (expected, *wanted), strict=True):
            if other is not None:
                np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=rtol, atol=1e-9)


def test_second_derivatives() -> None:
    x = tg.tensor(RNG.normal(size=(2, 4, 3)), requires_grad=True)
    rows, other = (tg.tensor(a, requires_grad=True) for a in (ROWS[:2], OTHER[:2]))
    for function in (
        lambda x: F.group_norm(x, 2),
        lambda x: F.instance_norm(x),
        lambda x: F.local_response_norm(x, 2, 0.5),
        lambda x: F.softmax(x, dtype=tg.float64),
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    ):
        assert tg.testing.gradcheck(function, (x,))
    for function in (
        lambda a, b: F.cosine_embedding_loss(a, b, tg.tensor([1, -1])),
        lambda a, b: F.multilabel_soft_margin_loss(a, b.sigmoid()),
        lambda a, b: F.triplet_margin_with_distance_loss(a, b, a * b, margin=5.0),
        lambda a, b: F.mse_loss(a, b, weight=b * b),
    ):
        assert tg.testing.gradcheck(function, (rows, other))
    assert tg.testing.gradcheck(lambda w: F.embedding_bag(tg.tensor([[0, 1], [1, 1]]), w, mode="mean") ** 2, (rows,))


@pytest.mark.parametrize("name", ["ReLU", "ReLU6", "LeakyReLU", "ELU", "CELU", "SELU", "SiLU", "Mish", "Hardtanh",
                                  "Hardsigmoid", "Hardswish", "Threshold", "RReLU", "Dropout"])  # fmt: skip
def test_in_place(name: str) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for library in (tg, torch):
        settings = (0.1, 2.0) if name == "Threshold" else ()
        layer = getattr(library.nn, name)(*settings, inplace=True).eval()
        leaf = library.tensor(X, requires_grad=True)
        x = leaf * 2
        y = layer(x)
        assert y is x
        y.sum().backward()
        found.append((y.detach().numpy(), leaf.grad.numpy(), repr(layer)))
        with pytest.raises(RuntimeError):
            library.nn.ReLU(inplace=True)(leaf)
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-6, atol=1e-9)
    assert found[0][2] == found[1][2] or name in ("Hardsigmoid", "Hardswish")  # of which torch leaves it unsaid


def test_what_is_drawn() -> None:
    x = tg.ones(200, 50, 3)
    for function, rank in ((F.dropout1d, 2), (F.feature_alpha_dropout, 2), (F.dropout, 3), (F.alpha_dropout, 3)):
        tg.manual_seed(0)
        y = function(x, 0.25, True).numpy()
        assert len(np.unique(y)) == 2
        assert np.all(y == y[..., :1]) == (rank == 2)
        assert np.mean(y == y.min()) == pytest.approx(0.25, abs=0.02)
    wide = tg.randn(100_000)
    dropped = F.alpha_dropout(wide, 0.3, True)
    assert (dropped.mean().item(), dropped.std().item()) == (pytest.approx(0, abs=0.02), pytest.approx(1, abs=0.02))
    slopes = F.rrelu(-x, 0.2, 0.3, training=True).numpy()
    assert slopes.min() >= -0.3
    assert slopes.max() <= -0.2
    scores = tg.tensor([[0.0, 1.0, 2.0]]).expand(20_000, 3)
    hard = F.gumbel_softmax(scores, 0.5, hard=True)
    np.testing.assert_allclose(hard.mean(0).numpy(), F.softmax(scores[0], 0).numpy(), atol=0.02)
    assert set(np.unique(hard.numpy()).round(6)) == {0.0, 1.0}


def test_tables() -> None:
    torch = pytest.importorskip("torch")
    table = RNG.normal(size=(5, 3)) * 3
    layer, other = (lib.nn.Embedding.from_pretrained(lib.tensor(table), max_norm=1.0) for lib in (tg, torch))
    assert not layer.weight.requires_grad
    np.testing.assert_allclose(layer(tg.tensor([1, 3, 1])).numpy(), other(torch.tensor([1, 3, 1])).numpy(), rtol=1e-6)
    np.testing.assert_allclose(layer.weight.numpy(), other.weight.numpy(), rtol=1e-6)
    assert repr(layer) == repr(other)
    assert repr(nn.EmbeddingBag(4, 2, mode="sum")) == repr(torch.nn.EmbeddingBag(4, 2, mode="sum"))
    weight = nn.init.dirac_(tg.zeros(4, 2, 3), 2)
    assert weight.tolist() == torch.nn.init.dirac_(torch.zeros(4, 2, 3), 2).tolist()
    assert ((nn.init.sparse_(tg.zeros(10, 4), 0.25) == 0).sum(0) == 3).all()


def test_misuse() -> None:
    x = tg.zeros(2, 4, 6)
    cases: list[tuple[Any, type[TinygradError], str]] = [
        (lambda: F.group_norm(x, 3), ShapeError, r"\[group_norm\] got shape \(2, 4, 6\) in 3 groups"),
        (lambda: F.instance_norm(tg.zeros(2, 4)), ShapeError, r"\[instance_norm\] got shape"),
        (lambda: F.prelu(x, tg.zeros(3)), ShapeError, r"\[prelu\] got slopes of shape \(3,\)"),
        (lambda: F.pixel_shuffle(x, 3), ShapeError, r"\[pixel_shuffle\] got shape"),
        (lambda: F.channel_shuffle(x, 3), ShapeError, r"\[channel_shuffle\] got shape"),
        (lambda: F.mse_loss(x, x, weight=tg.zeros(3)), ShapeError, r"\[mse_loss\] got a weight of shape"),
        (lambda: F.gaussian_nll_loss(x, x, tg.ones(5)), ShapeError, r"\[gaussian_nll_loss\] got a variance of shape"),
        (lambda: F.dropout2d(tg.zeros(2)), ShapeError, r"\[dropout2d\] got shape"),
        (lambda: F.rrelu(x, 0.5, 0.1), ConfigError, r"\[rrelu\] got upper 0.1"),
        (lambda: F.embedding_bag(tg.tensor([0]), tg.ones(2, 2)), ShapeError, r"\[embedding_bag\] got indices"),
        (lambda: nn.LazyLinear(2)(tg.tensor(1.0)), ShapeError, r"\[LazyLinear\] got shape \(\)"),
        (lambda: tg.jit(nn.LazyLinear(2))(x), TinygradError, r"\[LazyLinear\] got its first call"),
        (lambda: nn.MultiheadAttention(5, 2), ConfigError, r"\[MultiheadAttention\] got embed_dim 5 and num_heads 2"),
        (lambda: nn.GroupNorm(3, 4), ConfigError, r"\[GroupNorm\] got 4 channels in 3 groups"),
        (lambda: nn.ReflectionPad2d((1, 2)), ConfigError, r"\[ReflectionPad2d\] got padding \(1, 2\)"),
        (lambda: nn.Linear(2, 2, device="cuda"), ConfigError, r"\[Linear\] got device 'cuda'"),
    ]
    for call, error, match in cases:
        with pytest.raises(error, match=match):
            call()
