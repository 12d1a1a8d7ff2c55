"""Fractional pooling, adaptive softmax, heads with weights that are given, orthogonal weights, hooks of the state:
against PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn
from tinygrad_nn.errors import ConfigError, DTypeError, ShapeError, TinygradError

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(3)


def taken_from(layer: Any, theirs: Any) -> Any:
    """A layer with the values of PyTorch's."""
    layer.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    return layer


POOLED = [
    (2, (2, 3, 9, 7), (2, 3), (4, 3)), (2, (3, 9, 7), 2, (5, 2)), (3, (2, 3, 6, 7, 8), (2, 3, 2), (4, 3, 1)),
]  # fmt: skip


@pytest.mark.parametrize("more", [0, 1])  # samples than pictures
@pytest.mark.parametrize(("rank", "shape", "kernel", "size"), POOLED)
def test_fractional_max_pool(rank: int, shape: Any, kernel: Any, size: Any, more: int) -> None:
    pictures = shape[0] if len(shape) == rank + 2 else 1
    x, samples = RNG.normal(size=shape), RNG.uniform(size=(pictures + more, 3, rank))
    name = f"fractional_max_pool{rank}d"
    given = torch.tensor(x, requires_grad=True)
    expected, places = getattr(torch.nn.functional, name)(
        given, kernel, output_size=size, return_indices=True, _random_samples=torch.tensor(samples)
    )
    own = tg.tensor(x, requires_grad=True)

    def pooled(x: Any) -> Any:
        return getattr(F, name)(x, kernel, size, return_indices=True, _random_samples=tg.tensor(samples))

    found, where = pooled(own)
    np.testing.assert_array_equal(found.detach().numpy(), expected.detach().numpy())
    np.testing.assert_array_equal(where.numpy(), places.numpy())
    np.testing.assert_array_equal(tg.jit(lambda x: pooled(x)[0])(own.detach()).numpy(), found.detach().numpy())
    (expected**2).sum().backward()
    (found**2).sum().backward()
    np.testing.assert_allclose(own.grad.numpy(), given.grad.numpy())
    assert tg.testing.gradcheck(lambda x: pooled(x)[0], (own,), mode="fast")


def test_fractional_layers_draw() -> None:
    layer = nn.FractionalMaxPool2d(2, output_ratio=(0.5, 0.4))
    x = tg.tensor(RNG.normal(size=(4, 2, 20, 10)))
    first, second = layer(x), layer(x)
    assert first.shape == (4, 2, 10, 4)
    assert not tg.equal(first, second)
    assert nn.FractionalMaxPool3d(2, (3, 2, 1), return_indices=True)(tg.ones(1, 4, 4, 4))[1].shape == (1, 3, 2, 1)


@pytest.mark.parametrize("head_bias", [False, True])
def test_adaptive_log_softmax(head_bias: bool) -> None:
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(16, 30, [5, 12], head_bias=head_bias)
    layer = taken_from(nn.AdaptiveLogSoftmaxWithLoss(16, 30, [5, 12], head_bias=head_bias), theirs)
    assert list(layer.state_dict()) == list(theirs.state_dict())
    x, labels = RNG.normal(size=(7, 16)).astype(np.float32), np.array([0, 4, 5, 11, 12, 29, 3])
    expected = theirs(torch.tensor(x), torch.tensor(labels))
    expected.loss.backward()
    for run in (layer, tg.jit(lambda x, y: layer(x, y))):
        found = run(tg.tensor(x), tg.tensor(labels))
        np.testing.assert_allclose(found[0].detach().numpy(), expected.output.detach().numpy(), rtol=1e-5)
        np.testing.assert_allclose(found[1].item(), expected.loss.item(), rtol=1e-5)
    layer(tg.tensor(x), tg.tensor(labels)).loss.backward()
    for (_, own), (_, other) in zip(layer.named_parameters(), theirs.named_parameters(), strict=True):
        np.testing.assert_allclose(own.grad.numpy(), other.grad.numpy(), rtol=1e-4, atol=1e-6)
    predicted = theirs.predict(torch.tensor(x)).numpy()
    np.testing.assert_array_equal(layer.predict(tg.tensor(x)).numpy(), predicted)
    assert layer(tg.tensor(x[0]), tg.tensor(labels[0])).output.shape == ()


@pytest.mark.parametrize("separate", [False, True])
def test_heads_with_given_weights(separate: bool) -> None:
    q, k, v = (RNG.normal(size=(n, 2, 6)) for n in (3, 5, 5))
    whole, bias, out = RNG.normal(size=(18, 6)), RNG.normal(size=18), RNG.normal(size=(6, 6))
    mask, padding = RNG.normal(size=(3, 5)), np.array([[0.0] * 5, [0.0, -np.inf, 0.0, 0.0, -np.inf]])

    def call(lib: Any, functional: Any) -> Any:
        t = lib.tensor
        more = {f"{name}_proj_weight": t(part) for name, part in zip("qkv", np.split(whole, 3), strict=True)}
        return functional.multi_head_attention_forward(
            t(q), t(k), t(v), 6, 2, None if separate else t(whole), t(bias), None, None, True, 0.0, t(out), None,
            key_padding_mask=t(padding), attn_mask=t(mask), use_separate_proj_weight=separate,
            average_attn_weights=separate, **(more if separate else {}),
        )  # fmt: skip

    for one, other in zip(call(tg, F), call(torch, torch.nn.functional), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-12)


@pytest.mark.parametrize("trivialization", [False, True])
@pytest.mark.parametrize("how", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_orthogonal(shape: tuple[int, int], how: str, trivialization: bool) -> None:
    theirs = torch.nn.Linear(*shape[::-1]).double()
    layer = taken_from(nn.Linear(*shape[::-1]).double(), theirs)
    torch.nn.utils.parametrizations.orthogonal(theirs, "weight", how, use_trivialization=trivialization)
    nn.utils.parametrizations.orthogonal(layer, "weight", how, use_trivialization=trivialization)
    np.testing.assert_allclose(layer.weight.detach().numpy(), theirs.weight.detach().numpy(), atol=1e-10)
    with torch.no_grad():
        for p in theirs.parameters():
            change = 0.1 * torch.arange(p.numel()).reshape(p.shape) / p.numel()
            p.add_(change.tril(-1) + change.triu(1) if p.ndim == 2 else change)  # signs of reflections are not trained
    taken_from(layer, theirs)
    w = layer.weight.detach().numpy()
    np.testing.assert_allclose(w @ w.T if shape[0] < shape[1] else w.T @ w, np.eye(min(shape)), atol=1e-12)
    x = RNG.normal(size=(2, shape[1]))
    (layer(tg.tensor(x)) ** 2).sum().backward()
    (theirs(torch.tensor(x)) ** 2).sum().backward()
    own, other = (one.parametrizations.weight.original.grad for one in (layer, theirs))
    np.testing.assert_allclose(own.numpy(), other.numpy(), rtol=1e-8, atol=1e-10)


def drop(state: dict[str, Any], key: str) -> None:
    del state[key]


def seen(lib: Any) -> list[Any]:
    """What hooks of the state see, and more state than tensors."""
    log: list[Any] = []

    class Counting(lib.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.count = lib.nn.Linear(2, 2), 3

        def get_extra_state(self) -> Any:
            return {"count": self.count}

        def set_extra_state(self, state: Any) -> None:
            self.count = state["count"]

    model = lib.nn.Sequential(Counting())
    model[0].register_state_dict_pre_hook(lambda module, prefix, keep: log.append((prefix, keep)))
    model[0].register_state_dict_post_hook(lambda module, state, prefix, rest: drop(state, f"{prefix}inner.bias"))
    removed = model[0].register_state_dict_post_hook(lambda *args: log.append("never"))
    removed.remove()
    state = model.state_dict()
    log.append(sorted(state))
    model[0].register_load_state_dict_pre_hook(
        lambda module, state, prefix, rest, strict, missing, unexpected, errors: log.append((prefix, strict))
    )
    model.register_load_state_dict_post_hook(
        lambda module, keys: log.append((sorted(keys.missing_keys), list(keys.unexpected_keys)))
    )
    state["0._extra_state"] = {"count": 7}
    model.load_state_dict(state, strict=False)
    return [*log, model[0].count]


def test_hooks_of_the_state() -> None:
    assert seen(tg) == seen(torch)


def test_misuse() -> None:
    x = tg.ones(1, 2, 6, 6)
    cases: list[tuple[Any, type[TinygradError], str]] = [
        (lambda: F.fractional_max_pool2d(x, 2), ConfigError, "output_size None and output_ratio None"),
        (lambda: F.fractional_max_pool2d(x, 3, 5), ShapeError, r"\(6, 6\) places for \(5, 5\) windows"),
        (lambda: F.fractional_max_pool2d(x, 2, 3, _random_samples=tg.ones(1, 3, 2)), ShapeError, "1, 3, 2.*1, 2, 2"),
        (lambda: F.fractional_max_pool2d(x, 2, 3, _random_samples=tg.ones(0, 2, 2)), ShapeError, "or more of them"),
        (lambda: F.fractional_max_pool2d(x, 2, 3, _random_samples=tg.ones(())), ShapeError, r"shape \(\)"),
        (lambda: F.fractional_max_pool2d(x, 2, 3, _random_samples=tg.ones(1, 2, 2).long()), DTypeError, "int64"),
        (lambda: nn.FractionalMaxPool2d(2, output_ratio=1.5), ConfigError, "output_ratio"),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 9, [5, 2]), ConfigError, "rising numbers"),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 9, [2])(tg.ones(2, 4), tg.ones(2)), ShapeError, "integers"),
        (lambda: nn.utils.parametrizations.orthogonal(nn.Linear(2, 2), "bias"), ShapeError, "a matrix"),
        (lambda: nn.utils.parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="qr"), ConfigError, "'cayley'"),
        (lambda: nn.Linear(2, 2).get_extra_state(), ConfigError, "a class that defines it"),
    ]
    for call, error, text in cases:
        with pytest.raises(error, match=text):
            call()
