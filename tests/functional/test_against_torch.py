"""functional against torch.nn.functional: values, gradients, second derivatives by gradcheck, kinks and special
values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn.errors import ConfigError, DTypeError, IndexOutOfRange, ShapeError, TinygradError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(4, 6)) * 2
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 0.5, -0.5, 1e4, -1e4])

FIRST_ONLY = {"poisson_nll_loss", "soft_margin_loss"}  # targets are labels and counts

ACTIVATIONS: list[tuple[str, str, dict[str, Any]]] = [
    (name, name, {})
    for name in [
        "relu",
        "leaky_relu",
        "elu",
        "celu",
        "selu",
        "gelu",
        "silu",
        "mish",
        "softplus",
        "logsigmoid",
        "softsign",
        "hardtanh",
        "relu6",
        "hardsigmoid",
        "hardswish",
        "tanhshrink",
        "softshrink",
        "hardshrink",
    ]
] + [
    ("leaky_relu", "leaky_relu", {"negative_slope": 0.3}),
    ("elu", "elu", {"alpha": 0.5}),
    ("celu", "celu", {"alpha": 2.0}),
    ("gelu", "gelu", {"approximate": "tanh"}),
    ("softplus", "softplus", {"beta": 2.0, "threshold": 3.0}),
    ("hardtanh", "hardtanh", {"min_val": -2.0, "max_val": 0.5}),
    ("softshrink", "softshrink", {"lambd": 1.0}),
    ("hardshrink", "hardshrink", {"lambd": 1.0}),
    ("threshold", "threshold", {"threshold": 0.2, "value": -5.0}),
]
ALONG_AXIS = [("softmax", {"dim": 1}), ("log_softmax", {"dim": 0}), ("softmin", {"dim": -1}), ("glu", {"dim": 1})]


def both(name: str, arrays: list[Any], options: dict[str, Any], other: str = "") -> None:
    """Same values and gradients from ours and from torch; float arrays get gradients (of FIRST_ONLY just the first)."""
    torch = pytest.importorskip("torch")
    wanted = [a.dtype.kind == "f" and (k == 0 or name not in FIRST_ONLY) for k, a in enumerate(arrays)]
    mine = [tg.tensor(a).requires_grad_(want) for a, want in zip(arrays, wanted, strict=True)]
    theirs = [torch.tensor(a, requires_grad=want) for a, want in zip(arrays, wanted, strict=True)]
    rtol = 1e-6 if name == "hardsigmoid" else 1e-9  # torch rounds 1/6 to float32
    swap = {key: torch.tensor(value.numpy()) for key, value in options.items() if isinstance(value, tg.Tensor)}
    out = getattr(F, name)(*mine, **options)
    expected = getattr(torch.nn.functional, other or name)(*theirs, **{**options, **swap})
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    assert out.shape == tuple(expected.shape)
    seed = np.random.default_rng(0).normal(size=out.shape)
    out.backward(tg.tensor(seed).to(out.dtype))
    expected.backward(torch.tensor(np.asarray(seed)).to(expected.dtype))
    for a, b in zip(mine, theirs, strict=True):
        if b.grad is not None:
            assert a.grad is not None
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=rtol, atol=1e-11)


@pytest.mark.parametrize(("name", "other", "options"), ACTIVATIONS, ids=str)
def test_activations(name: str, other: str, options: dict[str, Any]) -> None:
    both(name, [X], options, other)
    both(name, [np.array(0.7)], options, other)
    both(name, [np.zeros((0, 3))], options, other)


@pytest.mark.parametrize(("name", "other", "options"), ACTIVATIONS, ids=str)
def test_special_values_of_activations(name: str, other: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    found = getattr(F, name)(tg.tensor(SPECIAL), **options).numpy()
    expected = getattr(torch.nn.functional, other)(torch.tensor(SPECIAL), **options).numpy()
    skip = np.isneginf(SPECIAL) if name in ("silu", "mish", "gelu", "hardswish") else np.zeros(len(SPECIAL), bool)
    np.testing.assert_allclose(found[~skip], expected[~skip], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "other", "options"), ACTIVATIONS, ids=str)
def test_kinks_have_torchs_slope(name: str, other: str, options: dict[str, Any]) -> None:
    both(name, [np.array([0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 0.5, -0.5, 2.0, -2.0, 0.2])], options, other)


@pytest.mark.parametrize(("name", "options"), ALONG_AXIS, ids=str)
def test_along_an_axis(name: str, options: dict[str, Any]) -> None:
    both(name, [X], options)
    both(name, [X * 1e4], options)


@pytest.mark.parametrize(
    "name", ["gelu", "silu", "mish", "softplus", "logsigmoid", "tanhshrink", "softsign", "softmax", "log_softmax"]
)
def test_smooth_functions_to_second_order(name: str) -> None:
    x = tg.tensor(RNG.normal(size=(2, 3))).requires_grad_()
    assert tg.testing.gradcheck(getattr(F, name), (x,))


def test_prelu() -> None:
    both("prelu", [X, np.array([0.25])], {})
    both("prelu", [RNG.normal(size=(2, 3, 4)), np.array([0.1, 0.2, 0.3])], {})


T = RNG.normal(size=(4, 6))
P, Q = (RNG.uniform(0.05, 0.95, (4, 6)) for _ in range(2))
SIGNS = np.sign(RNG.normal(size=(4, 6)))
COUNTS = RNG.integers(0, 6, (4, 6)).astype(float)
ELEMENTWISE: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("mse_loss", [X, T], {}),
    ("l1_loss", [X, T], {}),
    ("smooth_l1_loss", [X, T], {}),
    ("smooth_l1_loss", [X, T], {"beta": 0.3}),
    ("smooth_l1_loss", [X, T], {"beta": 0.0}),
    ("huber_loss", [X, T], {"delta": 0.7}),
    ("binary_cross_entropy", [P, Q], {}),
    ("binary_cross_entropy", [P, Q], {"weight": tg.tensor(Q)}),
    ("binary_cross_entropy_with_logits", [X, Q], {}),
    ("binary_cross_entropy_with_logits", [X * 1e4, Q], {}),
    ("binary_cross_entropy_with_logits", [X, Q], {"pos_weight": tg.tensor(P[0]), "weight": tg.tensor(Q)}),
    ("kl_div", [np.log(P), Q], {}),
    ("kl_div", [np.log(P), np.log(Q)], {"log_target": True}),
    ("poisson_nll_loss", [X, COUNTS], {}),
    ("poisson_nll_loss", [P, COUNTS], {"log_input": False, "full": True}),
    ("gaussian_nll_loss", [X, T, P], {}),
    ("gaussian_nll_loss", [X, T, P * 1e-8], {"full": True}),
    ("hinge_embedding_loss", [X, SIGNS], {"margin": 0.7}),
    ("soft_margin_loss", [X, SIGNS], {}),
    ("margin_ranking_loss", [X, T, SIGNS], {"margin": 0.3}),
    ("triplet_margin_loss", [X, T, P], {}),
    ("triplet_margin_loss", [X, T, P], {"margin": 0.5, "p": 1.0, "swap": True}),
]


def test_certain_probabilities_have_finite_losses_and_gradients() -> None:
    """Values as torch's (logarithms limited to -100). The slope at 0 and 1 is 0 here, 1e12 there."""
    torch = pytest.importorskip("torch")
    p, t = np.array([0.0, 1.0, 0.5]), np.array([1.0, 1.0, 0.2])
    x = tg.tensor(p).requires_grad_()
    loss = F.binary_cross_entropy(x, tg.tensor(t), reduction="none")
    expected = torch.nn.functional.binary_cross_entropy(torch.tensor(p), torch.tensor(t), reduction="none")
    np.testing.assert_allclose(loss.detach().numpy(), expected.numpy())
    loss.sum().backward()
    assert x.grad is not None
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("name", "arrays", "options"), ELEMENTWISE, ids=lambda v: v if isinstance(v, str) else "")
def test_losses(name: str, arrays: list[Any], options: dict[str, Any], reduction: str) -> None:
    both(name, arrays, {**options, "reduction": reduction})


LABELS = np.array([0, 5, 2, 2])
WEIGHT = tg.tensor(RNG.uniform(0.5, 2.0, 6))
CLASSES: list[tuple[list[Any], dict[str, Any]]] = [
    ([X, LABELS], {}),
    ([X * 1e4, LABELS], {}),
    ([X, LABELS], {"weight": WEIGHT}),
    ([X, np.array([0, -100, 2, -100])], {}),
    ([X, np.array([0, 5, 2, 2])], {"ignore_index": 2}),
    ([X, LABELS], {"label_smoothing": 0.1}),
    ([X, np.array([0, 5, -100, 2])], {"label_smoothing": 0.3, "weight": WEIGHT}),
    ([RNG.normal(size=(2, 6, 3)), RNG.integers(0, 6, (2, 3))], {"weight": WEIGHT}),
    ([X[0], np.array(3)], {}),
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("case", range(len(CLASSES)))
def test_cross_entropy_of_labels(case: int, reduction: str) -> None:
    arrays, options = CLASSES[case]
    both("cross_entropy", arrays, {**options, "reduction": reduction})


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}, {"weight": WEIGHT}], ids=str)
def test_cross_entropy_of_probabilities(options: dict[str, Any], reduction: str) -> None:
    soft = np.exp(T) / np.exp(T).sum(1, keepdims=True)
    both("cross_entropy", [X, soft], {**options, "reduction": reduction})


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nll_and_multi_margin(reduction: str) -> None:
    logs = X - np.log(np.exp(X).sum(1, keepdims=True))
    both("nll_loss", [logs, LABELS], {"reduction": reduction, "weight": WEIGHT})
    both("nll_loss", [logs, np.array([0, -100, 2, 2])], {"reduction": reduction})
    both("multi_margin_loss", [X, LABELS], {"reduction": reduction})
    both("multi_margin_loss", [X, LABELS], {"reduction": reduction, "p": 2, "margin": 0.5, "weight": WEIGHT})


def test_distances() -> None:
    both("pairwise_distance", [X, T], {"p": 2.0})
    both("pairwise_distance", [X, T], {"p": 1.0, "keepdim": True})
    both("cosine_similarity", [X, T], {"dim": 1})
    both("normalize", [X], {"p": 2.0, "dim": 0})


def test_linear_maps() -> None:
    both("linear", [X, RNG.normal(size=(3, 6)), RNG.normal(size=3)], {})
    both("linear", [RNG.normal(size=(2, 5, 6)), RNG.normal(size=(3, 6))], {})
    both("linear", [RNG.normal(size=6), RNG.normal(size=(3, 6)), RNG.normal(size=3)], {})
    x1, x2, w, b = (RNG.normal(size=s) for s in ((4, 3), (4, 5), (2, 3, 5), (2,)))
    both("bilinear", [x1, x2, w, b], {})
    both("embedding", [np.array([[0, 2], [3, 3]]), RNG.normal(size=(4, 3))], {})
    both("embedding", [np.array([0, 2, 2]), RNG.normal(size=(4, 3))], {"padding_idx": 2})


CONV = [
    {},
    {"stride": 2},
    {"padding": 2},
    {"dilation": 2, "padding": 1},
    {"padding": "same"},
    {"padding": "valid"},
    {"padding": "same", "dilation": 2},
]


@pytest.mark.parametrize("options", CONV, ids=str)
def test_conv1d(options: dict[str, Any]) -> None:
    x, w, b = RNG.normal(size=(2, 4, 9)), RNG.normal(size=(6, 4, 3)), RNG.normal(size=6)
    both("conv1d", [x, w, b], options)
    both("conv1d", [x[0], w], options)
    both("conv1d", [x, RNG.normal(size=(6, 2, 3)), b], {**options, "groups": 2})


@pytest.mark.parametrize("options", [{}, {"stride": 1}, {"padding": 1}, {"stride": 3, "ceil_mode": True}], ids=str)
def test_pooling(options: dict[str, Any]) -> None:
    x = RNG.normal(size=(2, 3, 10))
    both("max_pool1d", [x], {"kernel_size": 3, **options})
    both("max_pool1d", [x], {"kernel_size": 2, "dilation": 2, **options, "ceil_mode": False})
    both("avg_pool1d", [x], {"kernel_size": 3, **options})
    both("avg_pool1d", [x], {"kernel_size": 3, "count_include_pad": False, **options})


PADS: list[tuple[Any, dict[str, Any]]] = [
    ((1, 2), {}),
    ((1, -2, 0, 1), {"value": 3.0}),
    ((2, 3), {"mode": "reflect"}),
    ((2, 7), {"mode": "replicate"}),
    ((4, 1), {"mode": "circular"}),
]


@pytest.mark.parametrize(("pads", "options"), PADS, ids=str)
def test_padding(pads: Any, options: dict[str, Any]) -> None:
    both("pad", [RNG.normal(size=(2, 3, 5))], {"pad": pads, **options})


def test_normalisation() -> None:
    w, b = RNG.normal(size=6), RNG.normal(size=6)
    both("layer_norm", [X], {"normalized_shape": (6,), "weight": tg.tensor(w), "bias": tg.tensor(b)})
    both("layer_norm", [RNG.normal(size=(2, 3, 4))], {"normalized_shape": (3, 4)})
    both("rms_norm", [X], {"normalized_shape": (6,), "weight": tg.tensor(w)})
    both("rms_norm", [X], {"normalized_shape": (6,), "eps": 0.1})


def test_dropout() -> None:
    x = tg.ones(2000, requires_grad=True)
    tg.manual_seed(0)
    y = F.dropout(x, 0.25)
    assert 0.7 < float((y != 0).float().mean()) < 0.8
    np.testing.assert_allclose(np.unique(y.detach().numpy()), [0.0, 4 / 3], rtol=1e-6)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == y.tolist()
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 1.0).sum().item() == 0


def test_one_hot() -> None:
    assert F.one_hot(tg.tensor([0, 2])).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert F.one_hot(tg.tensor([[1]]), 2).shape == (1, 1, 2)


z, y = tg.zeros(4, 3), tg.tensor([0, 1, 2, 0])
WRONG: list[tuple[Any, type[TinygradError], str]] = [
    (
        lambda: F.cross_entropy(z, tg.tensor([0, 1, 3, 0])),
        IndexOutOfRange,
        r"label 3 in row 2; expected 0 <= label < 3",
    ),
    (lambda: F.cross_entropy(z, tg.tensor([0, 1, -1, 0])), IndexOutOfRange, r"label -1 in row 2"),
    (lambda: F.cross_entropy(z, tg.tensor([0, -100, 3, 0])), IndexOutOfRange, r"label 3 in row 2"),
    (lambda: F.cross_entropy(z, y.double()), DTypeError, "labels of dtype float64; expected int32 or int64"),
    (lambda: F.cross_entropy(z, tg.tensor([0, 1])), ShapeError, r"scores \(4, 3\) and labels \(2,\)"),
    (lambda: F.cross_entropy(z, y, reduction="avg"), ConfigError, "reduction 'avg'"),
    (lambda: F.cross_entropy(z, y, label_smoothing=2.0), ConfigError, "label_smoothing 2.0"),
    (lambda: F.mse_loss(z, tg.zeros(4, 1)), ShapeError, r"\[mse_loss\] got shapes \(4, 3\) and \(4, 1\); .*reshape it"),
    (lambda: F.binary_cross_entropy(z + 2, z), ConfigError, "outside of"),
    (lambda: F.huber_loss(z, z, delta=0), ConfigError, "delta 0"),
    (lambda: F.linear(tg.zeros(2, 5), tg.zeros(3, 4)), ShapeError, r"\[linear\] got shapes \(2, 5\) and \(3, 4\)"),
    (lambda: F.dropout(z, 1.5), ConfigError, "p 1.5"),
    (lambda: F.conv1d(tg.zeros(1, 2, 5), tg.zeros(3, 4, 2)), ShapeError, r"\[conv1d\]"),
    (lambda: F.conv1d(tg.zeros(1, 4, 1), tg.zeros(3, 4, 2)), ShapeError, r"places \(1,\), padding included, for a"),
    (lambda: F.conv1d(tg.zeros(1, 4, 9), tg.zeros(3, 4, 2), padding="full"), ConfigError, "padding 'full'"),
    (lambda: F.max_pool1d(tg.zeros(1, 1, 9), 3, padding=2), ConfigError, "padding 2"),
    (lambda: F.layer_norm(z, (4,)), ShapeError, r"\[layer_norm\] got shape \(4, 3\)"),
    (lambda: F.batch_norm(tg.zeros(1, 3), None, None, training=True), ShapeError, "more than one value per channel"),
    (lambda: F.batch_norm(z, None, None), ConfigError, "no running statistics"),
    (lambda: F.pad(z, (1,)), ShapeError, r"1 numbers for shape \(4, 3\)"),
    (lambda: F.pad(z, (1, 1), "mirror"), ConfigError, "mode 'mirror'"),
    (lambda: F.pad(z, (3, 0), "reflect"), ShapeError, r"padding \(3, 0\) for an axis of 3 in mode 'reflect'"),
    (lambda: F.pad(z, (-2, -2)), ShapeError, "something that remains"),
    (lambda: F.glu(z, 1), ShapeError, "an even length"),
    (lambda: F.gelu(z, "exact"), ConfigError, "approximate 'exact'"),
    (lambda: F.prelu(z, tg.zeros(2)), ShapeError, r"slopes of shape \(2,\) for shape \(4, 3\)"),
    (lambda: F.one_hot(tg.tensor([0, 3]), 2), IndexOutOfRange, "label 3 in row 1; expected 0 <= label < 2"),
    (lambda: F.one_hot(tg.tensor([0]), -2), ConfigError, "num_classes -2"),
    (lambda: F.embedding(tg.tensor([4]), tg.zeros(3, 2)), IndexOutOfRange, r"index 4 in row 0"),
    (lambda: F.gaussian_nll_loss(z, z, z - 1), ConfigError, "negative variance"),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_wrong_input_is_named(call: Any, error: type[TinygradError], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
