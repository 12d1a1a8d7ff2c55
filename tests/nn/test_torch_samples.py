"""PyTorch's own sample inputs of its modules: keys of the state, results of two calls in a row, gradients of parameters
and inputs, statistics; and the same compiled.

Of the samples of a module some are taken, far apart from each other. What draws random numbers is compared by shape.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import module_db

ABSENT: dict[str, str] = {}
DRAWN = {"Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout", "RReLU"}
MODULES = {info.name.replace("nn.", ""): info for info in module_db}
TAKEN = 6  # samples of a module for each mode, of which the first is compiled as well


class Inputs:
    """Arguments of PyTorch's modules as arguments of ours, one tensor for one."""

    def __init__(self) -> None:
        self.pairs: dict[int, tuple[Any, Any]] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, torch.nn.Module):
            return self.layer(value)
        if isinstance(value, torch.Tensor):
            if id(value) not in self.pairs:
                twin = tg.tensor(value.detach().numpy().copy(), requires_grad=value.requires_grad)
                self.pairs[id(value)] = (value, twin)
                if value.requires_grad:
                    value.retain_grad()
            return self.pairs[id(value)][1]
        if isinstance(value, (tuple, list)):
            return type(value)(map(self, value))
        if isinstance(value, dict):
            return {key: self(one) for key, one in value.items()}
        if isinstance(value, torch.device):
            return str(value)
        if isinstance(value, torch.dtype):
            return str(value).removeprefix("torch.")
        if callable(value):
            return getattr(F, value.__name__)
        return None if type(value).__name__ == "LinearCrossEntropyOptions" else value

    def layer(self, layer: Any) -> Any:
        norm, linear = layer.norm1, layer.linear1
        return getattr(nn, type(layer).__name__)(
            layer.self_attn.embed_dim, layer.self_attn.num_heads, linear.out_features, layer.dropout.p,
            self(layer.activation), norm.eps, layer.self_attn.batch_first, layer.norm_first, linear.bias is not None,
        )  # fmt: skip


def leaves(value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in leaves(part)]
    return [] if value is None else [value]


def close(mine: Any, theirs: Any, name: str = "") -> None:
    assert mine.shape == tuple(theirs.shape)
    assert str(mine.dtype) == str(theirs.dtype).removeprefix("torch.")
    np.testing.assert_allclose(mine.detach().numpy(), theirs.detach().numpy(), rtol=1e-7, atol=1e-9, err_msg=name)


def still(*models: Any) -> None:
    """Let dropout inside of layers drop nothing."""
    for model in models:
        for part in model.modules():
            if type(part).__name__ == "Dropout":
                part.p = 0.0
            elif isinstance(getattr(part, "dropout", None), float):
                part.dropout = 0.0


def samples(name: str, training: bool) -> list[Any]:
    torch.manual_seed(3)
    info = MODULES[name]
    settings = {"device": "cpu", "dtype": torch.float64, "requires_grad": True, "training": training}
    found = [one for one in info.module_inputs_func(info, **settings) if one.forward_input is not None]
    return found[:: -(-len(found) // TAKEN)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", [name for name in MODULES if name not in ABSENT])
def test_samples(name: str, training: bool) -> None:
    for k, sample in enumerate(samples(name, training)):
        made, given, inputs = sample.constructor_input, sample.forward_input, Inputs()
        theirs = MODULES[name].module_cls(*made.args, **made.kwargs).double().train(training)
        mine = getattr(nn, name)(*inputs(made.args), **inputs(made.kwargs)).double().train(training)
        still(*(() if name in DRAWN else (mine, theirs)))
        args, kwargs = inputs(given.args), inputs(given.kwargs)
        if name.startswith("Lazy"):
            mine(*args, **kwargs), theirs(*given.args, **given.kwargs)
        state = theirs.state_dict()
        assert list(mine.state_dict()) == list(state)
        mine.load_state_dict({key: value.numpy().copy() for key, value in state.items()})
        assert [one for one, _ in mine.named_parameters()] == [one for one, _ in theirs.named_parameters()]
        for _ in range(2):
            found, expected = leaves(mine(*args, **kwargs)), leaves(theirs(*given.args, **given.kwargs))
            if name in DRAWN and training:
                assert [one.shape for one in found] == [tuple(one.shape) for one in expected]
                continue
            for one, other in zip(found, expected, strict=True):
                close(one, other)
        if name in DRAWN and training:
            continue
        found, expected = ([one for one in several if one.requires_grad] for several in (found, expected))
        assert len(found) == len(expected)
        for several in (found, expected):
            if several:
                sum((one * (j + 1)).sin().sum() for j, one in enumerate(several)).backward()  # type: ignore[union-attr]
        of_parameters = zip(theirs.parameters(), mine.parameters(), strict=True)
        for other, one in (*inputs.pairs.values(), *of_parameters):
            if other.grad is not None:
                close(one.grad, other.grad)
        for (key, one), (_, other) in zip(mine.named_buffers(), theirs.named_buffers(), strict=True):
            close(one, other, key)
        if not k:
            compiled_as_eager(mine, args, kwargs, [one for _, one in inputs.pairs.values()])


def compiled_as_eager(model: Any, args: Any, kwargs: Any, tensors: list[Any]) -> None:
    """The same results and gradients from one more call, compiled."""

    def put(value: Any, places: dict[int, Any]) -> Any:
        if isinstance(value, (tuple, list)):
            return type(value)(put(one, places) for one in value)
        return places.get(id(value), value)

    def run(given: list[Any]) -> Any:
        places = {id(one): other for one, other in zip(tensors, given, strict=True)}
        found = leaves(model(*put(args, places), **{key: put(one, places) for key, one in kwargs.items()}))
        floats = [one for one in found if one.requires_grad]
        loss = sum((one * (k + 1)).sin().sum() for k, one in enumerate(floats))
        parameters = list(model.parameters())
        return found, tg.autograd.grad(loss, parameters) if floats and parameters else []

    state = model.state_dict()
    expected = leaves(run(tensors))
    model.load_state_dict(state)
    for one, other in zip(leaves(tg.jit(run)(tensors)), expected, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-8, atol=1e-10)


def test_what_is_absent() -> None:
    assert set(ABSENT) <= set(MODULES)
    assert not [name for name in ABSENT if hasattr(nn, name)]
