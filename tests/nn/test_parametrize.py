"""Parametrized weights against PyTorch's: keys, values, gradients, steps of training, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.errors import ConfigError, ShapeError
from tinygrad_nn.nn.utils import parametrizations, parametrize

RNG = np.random.default_rng(8)
FORMS: dict[str, Callable[[Any, Any], Any]] = {
    "weight_norm": lambda utils, layer: utils.parametrizations.weight_norm(layer),
    "weight_norm of all": lambda utils, layer: utils.parametrizations.weight_norm(layer, dim=None),
    "weight_norm of the last": lambda utils, layer: utils.parametrizations.weight_norm(layer, "weight", 1),
    "spectral_norm": lambda utils, layer: utils.parametrizations.spectral_norm(layer),
    "older weight_norm": lambda utils, layer: utils.weight_norm(layer),
    "older spectral_norm": lambda utils, layer: utils.spectral_norm(layer, n_power_iterations=2),
}
LAYERS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "Linear": (lambda nn: nn.Linear(3, 4), RNG.normal(size=(5, 3))),
    "Conv1d": (lambda nn: nn.Conv1d(3, 4, 2), RNG.normal(size=(2, 3, 5))),
    "ConvTranspose1d": (lambda nn: nn.ConvTranspose1d(3, 4, 2), RNG.normal(size=(2, 3, 5))),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated", "ignore:.*spectral_norm.*is deprecated")
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("form", FORMS)
def test_steps_agree(form: str, layer: str) -> None:
    torch = pytest.importorskip("torch")
    make, array = LAYERS[layer]
    mine, theirs = (FORMS[form](library.nn.utils, make(library.nn).double()) for library in (tg, torch))
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in mine.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    mine.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x = tg.tensor(array)

    def train(model: Any, x: Any) -> Any:
        for p in model.parameters():
            p.grad = None
        loss = (model(x) ** 2).sum()
        loss.backward()
        with tg.no_grad(), torch.no_grad():
            for p in model.parameters():
                p -= 0.01 * p.grad
        return loss

    step = tg.jit(lambda x: train(mine, x))
    for k in range(4):
        loss, expected = train(mine, x) if k < 2 else step(x), train(theirs, torch.tensor(array))
        assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(mine.state_dict()[key].numpy(), value.numpy(), rtol=1e-8, atol=1e-10, err_msg=key)
    for model, rows in ((mine.eval(), x), (theirs.eval(), torch.tensor(array))):
        model(rows)
    np.testing.assert_allclose(mine.weight.detach().numpy(), theirs.weight.detach().numpy(), rtol=1e-8)


def own(library: Any) -> list[Any]:
    """What a parametrization of one's own does, in PyTorch or here."""
    utils = library.nn.utils.parametrize
    calls: list[int] = []

    class Symmetric(library.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, x: Any) -> Any:
            calls.append(1)
            return x.triu() + x.triu(1).T

        def right_inverse(self, x: Any) -> Any:
            return x.triu()

    class Scaled(library.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.factor = library.nn.Parameter(library.tensor(2.0))

        def forward(self, x: Any) -> Any:
            return x * self.factor

    layer = library.nn.Linear(2, 2)
    with library.no_grad():
        layer.weight.copy_(library.tensor([[1.0, 2.0], [3.0, 4.0]]))
    utils.register_parametrization(layer, "weight", Symmetric())
    utils.register_parametrization(layer, "weight", Scaled())
    log = [list(layer.state_dict()), layer.weight.tolist(), utils.is_parametrized(layer, "weight")]
    del calls[:]
    with utils.cached():
        log.append(layer.weight is layer.weight)
        log.append(len(calls))
    layer.weight.sum().backward()
    log += [layer.parametrizations.weight.original.grad.tolist(), utils.is_parametrized(layer, "bias")]
    utils.remove_parametrizations(layer, "weight")
    log += [layer.weight.tolist(), sorted(layer.state_dict()), utils.is_parametrized(layer)]
    utils.register_parametrization(layer, "weight", Symmetric())
    layer.weight = library.tensor([[5.0, 6.0], [6.0, 7.0]])
    log += [layer.weight.tolist(), layer.parametrizations.weight.original.tolist()]
    utils.remove_parametrizations(layer, "weight", leave_parametrized=False)
    return [*log, layer.weight.tolist()]


def test_ones_own() -> None:
    torch = pytest.importorskip("torch")
    for mine, theirs in zip(own(tg), own(torch), strict=True):
        assert mine == theirs


def test_removed_norms_leave_the_weight() -> None:
    for add, remove in (
        (nn.utils.weight_norm, nn.utils.remove_weight_norm),
        (nn.utils.spectral_norm, nn.utils.remove_spectral_norm),
    ):
        layer = add(nn.Linear(3, 2)).eval()
        before = layer.weight.tolist()
        remove(layer)
        assert (layer.weight.tolist(), sorted(layer.state_dict())) == (before, ["bias", "weight"])
        with pytest.raises(ConfigError, match=rf"\[{remove.__name__}\] got the name 'weight'"):
            remove(layer)


def test_misuse() -> None:
    layer = nn.Linear(2, 3)
    with pytest.raises(ConfigError, match=r"\[register_parametrization\] got the name 'wait'"):
        parametrize.register_parametrization(layer, "wait", nn.Identity())
    with pytest.raises(ShapeError, match=r"\[register_parametrization\] got a parametrization from \(3, 2\)"):
        parametrize.register_parametrization(layer, "weight", nn.Flatten(0))
    with pytest.raises(ConfigError, match=r"\[remove_parametrizations\] got the name 'weight'"):
        parametrize.remove_parametrizations(layer, "weight")
    with pytest.raises(ConfigError, match=r"\[spectral_norm\] got the name 'wait'"):
        parametrizations.spectral_norm(layer, "wait")
    assert sorted(layer.state_dict()) == ["bias", "weight"]
