"""Module: the tree, state, modes, hooks, containers, summary; and what is said when they are misused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.errors import ConfigError, GraphError, IndexOutOfRange, ShapeError, TinygradError, UnknownName


class Tied(nn.Module):
    """Two layers that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.b = nn.Linear(3, 3)
        self.b.weight = self.a.weight
        self.register_buffer("scale", tg.tensor(2.0))
        self.register_buffer("scratch", tg.zeros(2), persistent=False)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.b(self.a(x)) * self.scale  # type: ignore[no-any-return]


def test_names_and_ties() -> None:
    model = Tied()
    assert [name for name, _ in model.named_parameters()] == ["a.weight", "a.bias", "b.bias"]
    assert [name for name, _ in model.named_buffers()] == ["scale", "scratch"]
    assert sorted(model.state_dict()) == ["a.bias", "a.weight", "b.bias", "b.weight", "scale"]
    assert [name for name, _ in model.named_modules()] == ["", "a", "b"]


def test_state_round_trip_and_all_or_nothing() -> None:
    model, other = Tied(), Tied()
    other.load_state_dict(model.state_dict())
    assert other.a.weight.tolist() == model.a.weight.tolist()
    state = {**model.state_dict(), "a.bias": tg.zeros(4)}
    del state["b.bias"]
    state["c.bias"] = tg.zeros(1)
    before = other.a.weight.tolist()
    with pytest.raises(ShapeError, match=r"missing key 'b.bias'; unexpected key 'c.bias'; shape \(4,\) for 'a.bias'"):
        other.load_state_dict(state)
    assert other.a.weight.tolist() == before
    other.load_state_dict({"a.bias": np.ones(3)}, strict=False)
    assert other.a.bias.tolist() == [1.0, 1.0, 1.0]
    assert other.a.bias.dtype == tg.float32


def test_a_state_is_not_a_view() -> None:
    model = nn.Linear(2, 2)
    state = model.state_dict()
    before = state["weight"].tolist()
    nn.init.zeros_(model.weight)
    assert state["weight"].tolist() == before


def test_modes_dtypes_and_gradients() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    model.eval()
    assert not model[1].training
    assert model.train()[1].training
    model.double()
    assert model(tg.ones(1, 2, dtype=tg.float64)).dtype == tg.float64
    model(tg.ones(1, 2, dtype=tg.float64)).sum().backward()
    assert model[0].weight.grad is not None
    model.zero_grad()
    assert model[0].weight.grad is None
    model.requires_grad_(False)
    assert not model(tg.ones(1, 2, dtype=tg.float64)).requires_grad


def test_hooks() -> None:
    model = nn.Linear(2, 2)
    seen: list[str] = []
    remove = model.register_forward_hook(lambda m, args, out: seen.append("after"))  # type: ignore[func-returns-value]
    undo = model.register_forward_pre_hook(lambda m, args: (args[0] * 0,))
    out = model(tg.ones(1, 2))
    assert seen == ["after"]
    np.testing.assert_allclose(out.detach().numpy()[0], model.bias.detach().numpy())
    remove()
    undo()
    assert model(tg.ones(1, 2)).tolist() != out.tolist()
    assert seen == ["after"]


def test_containers() -> None:
    layers = nn.Sequential({"first": nn.Linear(2, 3), "second": nn.ReLU()})
    assert list(layers.state_dict()) == ["first.weight", "first.bias"]
    assert isinstance(layers[-1], nn.ReLU)
    assert len(layers[:1]) == 1
    listed = nn.ModuleList([nn.Linear(1, 1) for _ in range(12)])
    listed.append(nn.Linear(1, 1))
    assert [name for name, _ in listed.named_children()] == [str(k) for k in range(13)]
    assert len(list(listed.parameters())) == 26
    named = nn.ModuleDict({"a": nn.Linear(1, 1)})
    named["b"] = nn.ReLU()
    del named["a"]
    assert named.keys() == ["b"]
    assert "b" in named
    values = nn.ParameterList([tg.ones(2), tg.zeros(3)])
    assert [p.shape for p in values] == [(2,), (3,)]


def test_apply_visits_children_first() -> None:
    order: list[str] = []
    nn.Sequential(nn.Linear(1, 1), nn.ReLU()).apply(lambda m: order.append(type(m).__name__))
    assert order[-1] == "Sequential"


def test_summary() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    table = model.summary(tg.zeros(5, 4))
    text = str(table)
    assert "0: Linear" in text
    assert "[5, 8]" in text
    assert "67 parameters, 67 trained" in text
    assert "<table>" in table._repr_html_()
    assert model.training


def test_batchnorm_remembers() -> None:
    layer = nn.BatchNorm1d(2)
    layer(tg.tensor([[1.0, 10.0], [3.0, 30.0]]))
    np.testing.assert_allclose(layer.running_mean.numpy(), [0.2, 2.0], rtol=1e-6)
    assert layer.num_batches_tracked.item() == 1
    layer.eval()
    layer(tg.ones(2, 2))
    assert layer.num_batches_tracked.item() == 1


def test_vectors_and_padding() -> None:
    model = nn.Linear(2, 2)
    flat = nn.utils.parameters_to_vector(model.parameters())
    nn.utils.vector_to_parameters(flat * 0 + 1, model.parameters())
    assert model.weight.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    padded = nn.utils.rnn.pad_sequence([tg.ones(2, 1), tg.ones(3, 1)], batch_first=True)
    assert padded.tolist() == [[[1.0], [1.0], [0.0]], [[1.0], [1.0], [1.0]]]


WRONG: list[tuple[Any, type[TinygradError], str]] = [
    (
        lambda: nn.Linear(4, 2)(tg.zeros(3, 5)),
        ShapeError,
        r"\[linear\] got shapes \(3, 5\) and \(2, 4\); expected \(..., 4\)",
    ),
    (lambda: nn.Module()(1), GraphError, "without forward; hint: define forward"),
    (lambda: nn.Sequential(nn.ReLU), ConfigError, r"pass nn.ReLU\(\), not nn.ReLU"),
    (lambda: nn.Sequential(nn.ReLU())[3], IndexOutOfRange, "index 3"),
    (lambda: nn.Module().register_buffer("a.b", tg.ones(1)), ConfigError, "a name without dots"),
    (
        lambda: nn.RNN(3, 4)(tg.zeros(5, 2, 7)),
        ShapeError,
        r"\[RNN\] got shape \(5, 2, 7\); expected \(time, batch, 3\)",
    ),
    (lambda: nn.RNN(3, 4)(tg.zeros(5, 2, 3), tg.zeros(1, 3, 4)), ShapeError, r"an initial state of shape \(1, 3, 4\)"),
    (lambda: nn.RNN(3, 4, nonlinearity="elu"), ConfigError, "expected 'tanh', 'relu' or 'sigmoid'"),
    (lambda: nn.LSTM(3, 0), ConfigError, "hidden_size 0"),
    (lambda: nn.Dropout(2.0), ConfigError, "p 2.0"),
    (lambda: nn.Conv1d(3, 4, 2, groups=2), ConfigError, "channels that the groups divide"),
    (lambda: nn.Embedding(3, 2, padding_idx=5), ConfigError, "padding_idx 5"),
    (lambda: nn.Embedding(3, 2)(tg.tensor([3])), IndexOutOfRange, r"index 3 in row 0"),
    (lambda: nn.BatchNorm1d(3)(tg.zeros(2, 4)), ShapeError, r"\[BatchNorm1d\] got shape \(2, 4\)"),
    (lambda: nn.init.xavier_uniform_(tg.zeros(3)), ShapeError, "two axes or more"),
    (lambda: nn.init.calculate_gain("swish"), ConfigError, "nonlinearity 'swish'"),
    (lambda: nn.utils.vector_to_parameters(tg.zeros(3), [tg.zeros(2)]), ShapeError, r"expected \(2,\)"),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_misuse_is_named(call: Any, error: type[TinygradError], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'"):
        _ = nn.Linear(1, 1).wieght


def machinery(lib: Any) -> list[Any]:
    """What a module of PyTorch or of ours says and does."""

    class Twice(lib.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.a = lib.nn.Linear(3, 3)
            self.b = self.a
            self.register_buffer("r", lib.tensor([1.0]), persistent=False)
            self.register_buffer("s", lib.tensor([1.0]))

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x))

    log: list[Any] = []
    model = Twice()
    log += [list(model.state_dict()), [name for name, _ in model.named_parameters(remove_duplicate=False)]]
    log += [[name for name, _ in model.named_modules(remove_duplicate=False)], list(model.parameters(recurse=False))]
    log += [[name for name, _ in model.named_buffers(prefix="q")], list(model.state_dict(prefix="z."))]
    log += [str(model.load_state_dict(model.state_dict())), model.state_dict(keep_vars=True)["a.bias"] is model.a.bias]
    found = model.load_state_dict({"a.bias": lib.zeros(3), "more": lib.zeros(1)}, strict=False)
    log += [found.unexpected_keys, "a.weight" in found.missing_keys]
    with lib.no_grad():
        for p in model.parameters():
            p.fill_(0.5)

    def backward(module: Any, into: Any, out_of: Any) -> None:
        log.append(([None if g is None else g.tolist() for g in into], [g.tolist() for g in out_of]))

    handle = model.a.register_full_backward_hook(backward)
    model.register_full_backward_hook(lambda module, into, out_of: (into[0] * 2,))
    model.register_full_backward_pre_hook(lambda module, out_of: (out_of[0] * 3,))
    x = lib.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    model(x * 1).sum().backward()
    log += [x.grad.tolist(), model.a.weight.grad.tolist()]
    model.a(lib.ones(1, 3)).sum().backward()  # no gradient goes into it
    handle.remove()
    model.register_forward_pre_hook(lambda module, args, kwargs: ((args[0] * 2,), kwargs), with_kwargs=True)
    model.register_forward_hook(lambda module, args, kwargs, out: out + 1, with_kwargs=True)
    model.register_forward_hook(lambda module, args, out: out * 2, prepend=True)
    log += [model(x).tolist(), model.get_submodule("a") is model.b, tuple(model.get_parameter("a.weight").shape)]
    names: list[str] = []
    tree = lib.nn.Sequential(lib.nn.Linear(1, 1), lib.nn.Sequential(lib.nn.ReLU(), lib.nn.Tanh()))
    tree.apply(lambda module: names.append(type(module).__name__))
    return [*log, names]


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_the_machinery_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    for mine, theirs in zip(machinery(tg), machinery(torch), strict=True):
        assert str(mine) == str(theirs)


def test_one_of_two_names_is_enough() -> None:
    model, other = Tied(), Tied()
    state = model.state_dict()
    del state["b.weight"]
    other.load_state_dict(state)
    assert other.a.weight.tolist() == model.a.weight.tolist()
    assert other.b.weight is other.a.weight


def test_misuse_of_the_machinery() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(UnknownName, match=r"\[get_submodule\] got the path '0.x', where Sequential has no module"):
        model.get_submodule("0.x")
    with pytest.raises(UnknownName, match=r"\[get_parameter\] got the path '0'"):
        model.get_parameter("0")
    for call, match in (
        (lambda: model.to("cuda"), "device 'cuda'"),
        (lambda: model.cuda(), "device 'cuda'"),
        (lambda: model.to(tg.int64), "dtype int64"),
    ):
        with pytest.raises(TinygradError, match=match):
            call()  # type: ignore[no-untyped-call]
    with pytest.raises(TypeError, match="where"):
        model.to(where="cpu")  # type: ignore[call-arg]
    assert model.to("cpu", tg.float64)[0].weight.dtype == tg.float64
    assert model.half()[0].weight.dtype == model.bfloat16()[0].weight.dtype == tg.float32
    assert model.to(tg.ones(1))[0].weight.dtype == tg.float32


def model_of(nn: Any) -> Any:
    return nn.Sequential(nn.ReLU(), nn.Tanh())


def containers(lib: Any) -> list[Any]:
    """What containers of PyTorch or of ours do."""
    nn = lib.nn
    names = lambda model: [(name, type(part).__name__) for name, part in model.named_children()]  # noqa: E731
    log: list[Any] = []
    layers = nn.ModuleList([nn.ReLU()])
    layers += [nn.Tanh(), nn.GELU()]
    layers.insert(1, nn.Sigmoid())
    log.append(names(layers))
    log.append(type(layers.pop(1)).__name__)
    del layers[0]
    log += [names(layers), names(layers + nn.ModuleList([nn.ReLU()])), len(nn.ModuleList()), len(model_of(nn) * 2)]
    model = nn.Sequential(nn.ReLU(), nn.Tanh())
    model.insert(0, nn.GELU())
    log += [names(model * 2), names(model + nn.Sequential(nn.SiLU())), names(model[1:])]
    model.extend(nn.Sequential(nn.SiLU()))
    log.append(names(model))
    parts = nn.ModuleDict([["a", nn.ReLU()], ["b", nn.Tanh()]])
    parts.update({"c": nn.GELU(), "a": nn.SiLU()})
    log += [type(parts.pop("b")).__name__, names(parts), "c" in parts]
    parts.clear()
    log.append(len(parts))
    several = nn.ParameterList([lib.ones(2), lib.zeros(3)])
    several += [lib.ones(1)]
    several[0] = nn.Parameter(lib.zeros(2))
    log += [[tuple(p.shape) for p in several], len(several[1:]), [n for n, _ in several.named_parameters()]]
    named = nn.ParameterDict({"x": lib.ones(2)})
    named["y"] = lib.ones(1)
    named |= {"z": lib.zeros(1)}
    log += [list(named.keys()), list(named.state_dict()), tuple(named.pop("x").shape), "x" in named, named.get("q", 5)]
    log += [isinstance(named["y"], nn.Parameter), len(named.copy()), list(dict(named.items()))]
    return log


def test_containers_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    for mine, theirs in zip(containers(tg), containers(torch), strict=True):
        assert mine == theirs
