"""`reset_parameters` of every module: under a seed it leaves the numbers of a new one made under that seed."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.errors import ConfigError
from tinygrad_nn.nn.averaged import AveragedModel
from tinygrad_nn.nn.utils import parametrizations

Make = Callable[[], nn.Module]


class Attention(nn.Module):
    """Parts in other parts, a list of them, and one that stands twice."""

    def __init__(self) -> None:
        self.table = nn.Embedding(5, 8, padding_idx=1)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16) for _ in range(2))
        self.parts = nn.ModuleDict({"norm": nn.LayerNorm(8), "again": self.blocks[0]})


class Scaled(nn.Module):
    """A parameter of its own, drawn behind a layer."""

    def __init__(self, **more: Any) -> None:
        self.layer, self.scale = nn.Linear(2, 3), nn.Parameter(tg.ones(3))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.scale)


class Tied(nn.Module):
    """A tensor in two parts: the one that made it comes first, or last."""

    def __init__(self, last: bool) -> None:
        self.table, self.head = nn.Embedding(5, 3), nn.Linear(3, 5)
        if last:
            self.table.weight = self.head.weight
        else:
            self.head.weight = self.table.weight


class Whole(nn.Module):
    """All parts again, then its own: what `super()` is for."""

    def __init__(self) -> None:
        self.layer, self.token = nn.Linear(2, 3), nn.ParameterList([nn.Parameter(tg.ones(3))])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.normal_(self.token[0])
        nn.init.zeros_(self.layer.bias)


MODELS: dict[str, Make] = {
    "Linear": lambda: nn.Linear(3, 4),
    "Linear without bias": lambda: nn.Linear(3, 4, bias=False),
    "Linear of nothing": lambda: nn.Linear(0, 4),
    "Bilinear": lambda: nn.Bilinear(2, 3, 4),
    "Embedding": lambda: nn.Embedding(5, 3, padding_idx=-1),
    "EmbeddingBag": lambda: nn.EmbeddingBag(5, 3),
    "Conv1d": lambda: nn.Conv1d(2, 4, 3, groups=2),
    "Conv2d": lambda: nn.Conv2d(2, 3, (2, 3), bias=False),
    "Conv3d": lambda: nn.Conv3d(1, 2, 2),
    "ConvTranspose1d": lambda: nn.ConvTranspose1d(2, 3, 3),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(2, 3, 3),
    "ConvTranspose3d": lambda: nn.ConvTranspose3d(2, 3, 2),
    "RNN": lambda: nn.RNN(2, 3, num_layers=2, bidirectional=True),
    "RNN without bias": lambda: nn.RNN(2, 3, bias=False),
    "LSTM": lambda: nn.LSTM(2, 4, proj_size=3),
    "GRU": lambda: nn.GRU(2, 3, num_layers=2),
    "RNNCell": lambda: nn.RNNCell(2, 3),
    "LSTMCell": lambda: nn.LSTMCell(2, 3, bias=False),
    "GRUCell": lambda: nn.GRUCell(2, 3),
    "LayerNorm": lambda: nn.LayerNorm((2, 3)),
    "RMSNorm": lambda: nn.RMSNorm(3),
    "GroupNorm": lambda: nn.GroupNorm(2, 4),
    "BatchNorm1d": lambda: nn.BatchNorm1d(3),
    "BatchNorm2d": lambda: nn.BatchNorm2d(3, affine=False),
    "BatchNorm3d": lambda: nn.BatchNorm3d(3, track_running_stats=False),
    "InstanceNorm1d": lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True),
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(3),
    "InstanceNorm3d": lambda: nn.InstanceNorm3d(3, affine=True),
    "LinearCrossEntropyLoss": lambda: nn.LinearCrossEntropyLoss(3, 4),
    "PReLU": lambda: nn.PReLU(3, 0.5),
    "MultiheadAttention": lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True),
    "MultiheadAttention of other widths": lambda: nn.MultiheadAttention(8, 2, kdim=3, vdim=5, bias=False),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(8, 2, 16),
    "TransformerDecoderLayer": lambda: nn.TransformerDecoderLayer(8, 2, 16),
    "TransformerEncoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 3, nn.LayerNorm(8)),
    "TransformerDecoder": lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 2),
    "Transformer": lambda: nn.Transformer(8, 2, 2, 2, 16),
    "AveragedModel": lambda: AveragedModel(nn.Linear(2, 3)),
    "Sequential": lambda: nn.Sequential(nn.Conv1d(2, 3, 2), nn.BatchNorm1d(3), nn.ReLU(), nn.Flatten(), nn.LSTM(3, 2)),
    "parts in parts": Attention,
    "parameters of its own in others": lambda: nn.Sequential(nn.Linear(2, 2), Scaled(), nn.ModuleList([Scaled()])),
    "parts and its own in others": lambda: nn.Sequential(Whole(), nn.Dropout(), nn.Linear(3, 1)),
    "tied, made first": lambda: nn.Sequential(Tied(False), nn.Linear(2, 2)),
    "tied, made last": lambda: nn.Sequential(Tied(True), nn.Linear(2, 2)),
    "frozen": lambda: nn.Sequential(nn.Linear(2, 3).requires_grad_(False), nn.Linear(3, 2)),
    "nothing to draw": lambda: nn.Sequential(nn.ReLU(), nn.Dropout()),
    "weight_norm": lambda: parametrizations.weight_norm(nn.Linear(2, 3)),
    "weight_norm of a recurrent one": lambda: parametrizations.weight_norm(nn.LSTM(2, 3), "weight_hh_l0"),
    "weight_norm of the older form": lambda: nn.Sequential(nn.utils.weight_norm(nn.Conv1d(2, 3, 2), dim=None)),
}


def state(model: nn.Module) -> dict[str, Any]:
    return {name: value.numpy() for name, value in model.state_dict().items()}


def spoil(model: nn.Module) -> None:
    with tg.no_grad():
        for one in (*model.parameters(), *model.buffers()):
            one.fill_(7)


def same(model: nn.Module, other: nn.Module) -> None:
    first, second = state(model), state(other)
    assert list(first) == list(second)
    for name, value in first.items():
        assert value.dtype == second[name].dtype
        if ("parametrizations" in name or "_g" in name) and value.dtype == np.float64:
            np.testing.assert_allclose(value, second[name], rtol=1e-6)  # a norm that was taken in float32 then
        else:
            np.testing.assert_array_equal(value, second[name], err_msg=name)


def check(make: Make) -> None:
    tg.manual_seed(3)
    model = make()
    spoil(model)
    tg.manual_seed(5)
    expected, after = make(), tg.get_rng_state().tolist()
    tg.manual_seed(5)
    names, needed = list(vars(model)), [one.requires_grad for one in model.parameters()]
    model.reset_parameters()
    same(model, expected)
    assert tg.get_rng_state().tolist() == after
    assert list(vars(model)) == names
    assert [one.requires_grad for one in model.parameters()] == needed


@pytest.mark.parametrize("name", MODELS)
def test_it_is_as_if_made_anew(name: str) -> None:
    check(MODELS[name])


@pytest.mark.parametrize("name", MODELS)
def test_in_another_dtype_than_it_was_made_in(name: str) -> None:
    """The numbers are drawn in the dtype of then, so that they are the same."""
    check(lambda: MODELS[name]().double())
    check(lambda: copy.deepcopy(MODELS[name]().double()))
    check(lambda: MODELS[name]().double().float())
    check(lambda: pickle.loads(pickle.dumps(MODELS["LSTM"]().double())))


def test_what_is_made_in_float64_is_drawn_in_it() -> None:
    check(lambda: nn.Linear(2, 3, dtype="float64"))
    check(lambda: nn.Linear(2, 3, dtype="float64").float())


def test_every_layer_of_pytorch() -> None:
    """Those that have parameters are in the table above, lazy ones below, and none of them is refused."""
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_modules import module_db
    known = {type(part).__name__ for make in MODELS.values() for part in make().modules()}
    for info in module_db:
        name = info.name.removeprefix("nn.")
        settings = {"device": "cpu", "dtype": torch.float32, "requires_grad": True, "training": True}
        for one in info.module_inputs_func(info, **settings)[:1]:
            made = one.constructor_input
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = info.module_cls(*made.args, **made.kwargs)
            if next(theirs.parameters(), None) is not None and not name.startswith("Lazy"):
                assert name in known


def test_each_part_by_its_own() -> None:
    """A subclass that draws in another way is drawn in that way; statistics begin anew."""

    class Sparse(nn.Linear):
        def reset_parameters(self) -> None:
            super().reset_parameters()
            nn.init.zeros_(self.bias)

    model = nn.Sequential(Sparse(2, 3), nn.BatchNorm1d(3))
    with tg.no_grad():
        model[0].bias.fill_(3.0)
    model(tg.rand(8, 2))
    before = model[0].weight.tolist()
    model.reset_parameters()
    assert model[0].bias.tolist() == [0.0] * 3
    assert model[0].weight.tolist() != before
    assert (model[1].running_mean.tolist(), model[1].running_var.tolist()) == ([0.0] * 3, [1.0] * 3)
    assert model[1].num_batches_tracked.item() == 0


def test_what_was_learnt_from_data_stays() -> None:
    x = np.arange(12.0).reshape(4, 3)
    model = nn.Sequential(nn.StandardScaler().fit(x), nn.Linear(3, 2))
    before = state(model[0])
    model.reset_parameters()
    assert before
    for name, value in state(model[0]).items():
        np.testing.assert_array_equal(value, before[name])


def test_compiled_code_goes_on() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), parametrizations.weight_norm(nn.Linear(3, 1))).double()
    opt = tg.optim.SGD(model.parameters(), lr=0.1)
    x = tg.tensor([[1.0, 2.0]], dtype="float64")

    @tg.jit
    def step(x: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    found = []
    for _ in range(2):
        tg.manual_seed(1)
        model.reset_parameters()
        found.append([step(x).item() for _ in range(3)])
    assert found[0] == found[1]
    assert step.traces == 1


@pytest.mark.parametrize("make", [
    lambda: parametrizations.weight_norm(nn.Linear(2, 3)),
    lambda: nn.utils.weight_norm(nn.Linear(2, 3)),
])  # fmt: skip
def test_a_computed_weight_is_drawn(make: Make) -> None:
    """A layer's own method too writes through what computes it: in PyTorch it changes nothing."""
    tg.manual_seed(0)
    layer: Any = make()
    before = layer.weight.tolist()
    layer.reset_parameters()
    assert layer.weight.tolist() != before
    assert "weight" not in vars(layer)


def test_spectral_norms() -> None:
    for wrap in (parametrizations.spectral_norm, nn.utils.spectral_norm):
        model = nn.Sequential(wrap(nn.Linear(4, 3)))
        before = model[0].weight.tolist()
        model.reset_parameters()
        for _ in range(50):
            after = model[0].weight
        assert after.tolist() != before
        assert abs(np.linalg.norm(after.detach().numpy(), 2) - 1) < 1e-3


def test_tables_that_were_given() -> None:
    """A frozen one stays, as in a new model; one that is trained has no way back."""
    table = tg.arange(6.0).reshape(3, 2)
    model = nn.Sequential(nn.Embedding.from_pretrained(table), nn.Linear(2, 2))
    before = model[1].weight.tolist()
    model.reset_parameters()
    assert model[0].weight.tolist() == table.tolist()
    assert model[1].weight.tolist() != before
    model = nn.Sequential(nn.Linear(2, 2), nn.EmbeddingBag.from_pretrained(table, freeze=False))
    refused(model, r"the parameter '1.weight', .* in the class that makes it, EmbeddingBag")
    model[1].reset_parameters()  # asked for itself, as in PyTorch
    assert model[1].weight.tolist() != table.tolist()


def test_lazy_layers() -> None:
    model = nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d(), nn.Linear(3, 1))
    model.reset_parameters()
    assert model[0].has_uninitialized_params()
    model(tg.rand(4, 2))
    spoil(model)
    tg.manual_seed(2)
    expected = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    tg.manual_seed(2)
    model.reset_parameters()
    same(model, expected)


class Bare(nn.Module):
    """A parameter that nobody can draw."""

    def __init__(self, needed: bool = True) -> None:
        self.layer = nn.Linear(2, 2)
        self.token = nn.Parameter(tg.ones(2), needed)


def refused(model: nn.Module, words: str) -> None:
    before = state(model)
    with pytest.raises(ConfigError, match=words):
        model.reset_parameters()
    for name, value in state(model).items():
        np.testing.assert_array_equal(value, before[name], err_msg="nothing is changed")


def test_parameters_that_nobody_draws() -> None:
    refused(Bare(), r"\[reset_parameters\] got the parameter 'token', .* define reset_parameters\(self\) .* Bare")
    refused(nn.Sequential(nn.Linear(2, 2), nn.ModuleDict({"a": Bare()})), "'1.a.token', .* Bare")
    refused(nn.ParameterList([tg.ones(2)]), "'0', .* ParameterList")
    refused(nn.Sequential(nn.TransformerEncoder(Bare(), 2)), "'token', .* Bare")
    free = nn.Sequential(Bare(needed=False))
    before = free[0].layer.weight.tolist()
    free.reset_parameters()
    assert free[0].token.tolist() == [1.0, 1.0]
    assert free[0].layer.weight.tolist() != before


def test_a_parameter_in_the_place_of_what_was_drawn() -> None:
    """Nobody knows how to draw it again; asked for itself, a layer draws as always."""
    layer = nn.Linear(2, 2)
    layer.weight = nn.Parameter(tg.eye(2))
    refused(nn.Sequential(nn.Linear(2, 2), layer), "the parameter '1.weight', .* Linear")
    layer.reset_parameters()
    assert layer.weight.tolist() != [[1.0, 0.0], [0.0, 1.0]]
    model = nn.Sequential(Tied(False))
    assert model[0].head.weight is model[0].table.weight
    model.reset_parameters()
    assert model[0].head.weight is model[0].table.weight


def test_a_draw_that_fails_changes_nothing() -> None:
    class Fails(nn.Linear):
        ready = False

        def reset_parameters(self) -> None:
            super().reset_parameters()
            if self.ready:
                raise RuntimeError("no")

    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2), Fails(2, 2))
    spoil(model)
    before = state(model)
    model[2].ready = True
    with pytest.raises(RuntimeError, match="no"):
        model.reset_parameters()
    for name, value in state(model).items():
        np.testing.assert_array_equal(value, before[name])
    assert all(one.requires_grad for one in model.parameters())
