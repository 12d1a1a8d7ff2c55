"""Pickles and copies of tensors, modules, optimizers, schedules, histories and jitted functions: equal values, own
memory, what was one object stays one; and what joblib and multiprocessing make of them.
"""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.errors import GraphError

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = np.tanh(X.sum(axis=1, keepdims=True))


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


COPIES = [pickled, copy.deepcopy]
EVERY_COPY = pytest.mark.parametrize("again", COPIES, ids=["pickle", "deepcopy"])
ODD = np.array([np.nan, np.inf, -0.0, 5e-324])


@EVERY_COPY
@pytest.mark.parametrize(
    "array",
    [ODD, ODD.astype(np.float32), np.array(2.5), np.zeros((0, 3)), np.arange(6).reshape(2, 3).T, np.array([True])],
)
def test_tensors(again: Any, array: Any) -> None:
    x = tg.tensor(array)
    twin = again(x)
    assert type(twin) is tg.Tensor
    assert (twin.shape, twin.dtype, twin.requires_grad) == (x.shape, x.dtype, False)
    assert twin.dtype is x.dtype, "the check of a compiled call compares by identity"
    assert twin.numpy().tobytes() == x.numpy().tobytes()


@EVERY_COPY
def test_a_copy_has_its_own_memory(again: Any) -> None:
    array = np.ones(3)
    twin = again(tg.from_numpy(array))
    array[0] = 7.0
    assert twin.tolist() == [1.0, 1.0, 1.0]
    leaf = tg.ones(2, requires_grad=True)
    other = again(leaf)
    with tg.no_grad():
        other.add_(1)
    assert leaf.tolist() == [1.0, 1.0]
    assert (other * 3).sum().backward() is None
    assert leaf.grad is None
    assert other.grad is not None


def test_gradients_follow_torch() -> None:
    torch = pytest.importorskip("torch")
    for tensor in (tg.tensor([1.0], requires_grad=True), torch.ones(1, requires_grad=True)):
        (tensor * 2).sum().backward()
        assert pickled(tensor).grad is None
        twin = copy.deepcopy(tensor)
        assert twin.grad is not tensor.grad
        assert twin.grad.tolist() == [2.0]
        computed = tensor * 3
        back = pickled(computed)
        assert (back.tolist(), back.requires_grad, back.is_leaf) == ([3.0], True, True)
        with pytest.raises(RuntimeError, match="deepcopy"):
            copy.deepcopy(computed)
        assert copy.copy(tensor).tolist() == [1.0]
        assert copy.copy(tensor).requires_grad
    with pytest.raises(GraphError, match=r"\[deepcopy\] got a tensor computed from others"):
        copy.deepcopy(tg.ones(1, requires_grad=True) * 2)


class Tagged(nn.Parameter):
    """A parameter with an attribute, and a `__dict__`."""


@EVERY_COPY
def test_kinds_of_tensors_stay(again: Any) -> None:
    buffer = nn.Buffer(tg.ones(2), persistent=False)
    assert again(buffer).persistent is False
    frozen = again(nn.Parameter(tg.ones(2), requires_grad=False))
    assert (type(frozen), frozen.requires_grad) == (nn.Parameter, False)
    tagged = Tagged(tg.ones(1))
    tagged.note = ["a"]
    twin = again(tagged)
    assert twin.note == ["a"]
    assert twin.note is not tagged.note


class Net(nn.Module):
    """Tied weights, a generator, a list of layers, a buffer, a compiled method and a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.noise = tg.Generator(3)
        self.norm = nn.BatchNorm1d(3)
        self.head = nn.Sequential(nn.Tanh(), nn.Dropout(0.1), nn.Linear(3, 1))
        self.fast = tg.jit(self.compute)
        self.register_forward_hook(noted)

    def compute(self, x: tg.Tensor) -> tg.Tensor:
        return self.head(self.norm(self.second(self.first(x).relu())))  # type: ignore[no-any-return]

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.compute(x)


def noted(module: Any, args: Any, result: Any) -> None:
    """A hook that pickle finds by its name."""


def trained(jitted: bool) -> tuple[Net, Any, Any, Callable[..., Any]]:
    tg.manual_seed(1)
    model = Net()
    opt = optim.Adam(model.parameters(), lr=0.01)
    plan = optim.lr_scheduler.StepLR(opt, 2)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss

    compiled = tg.jit(step) if jitted else step
    tg.fit(compiled, (X, Y), epochs=3, batch_size=5, seed=0, progress=False)
    plan.step()
    return model, opt, plan, compiled


def steps(model: Net, opt: Any, plan: Any) -> list[float]:
    """Three more steps in eager code."""
    tg.manual_seed(5)
    losses = []
    for _ in range(3):
        opt.zero_grad()
        loss = F.mse_loss(model(tg.tensor(X)), tg.tensor(Y))
        loss.backward()
        opt.step()
        plan.step()
        losses.append(loss.item())
    return losses + [float(w) for p in model.parameters() for w in p.detach().numpy().ravel()]


@EVERY_COPY
@pytest.mark.parametrize("jitted", [False, True], ids=["eager", "native"])
def test_a_training_goes_on_in_a_copy(again: Any, jitted: bool) -> None:
    model, opt, plan, step = trained(jitted)
    twin, opt2, plan2 = again((model, opt, plan))
    assert twin.second.weight is twin.first.weight
    assert plan2.optimizer is opt2
    assert {id(p) for p in opt2.state} == {id(p) for p in twin.parameters()}
    assert twin.noise.get_state().tolist() == model.noise.get_state().tolist()
    before = [p.tolist() for p in model.parameters()]
    ahead = steps(twin, opt2, plan2)
    assert [p.tolist() for p in model.parameters()] == before, "the copy has its own memory"
    assert steps(model, opt, plan) == ahead
    tg.fit(step, (X, Y), epochs=1, progress=False)  # and the compiled step goes on with its own state
    assert steps(twin, opt2, plan2) != steps(model, opt, plan)


@EVERY_COPY
def test_a_compiled_method_belongs_to_the_copy(again: Any) -> None:
    model = trained(jitted=False)[0].eval()
    x = tg.tensor(X)
    expected = model.fast(x).tolist()
    twin = again(model)
    with tg.no_grad():
        twin.head[2].bias.add_(1.0)
    np.testing.assert_allclose(twin.fast(x).detach().numpy(), np.array(expected) + 1.0, rtol=1e-6)
    assert model.fast(x).tolist() == expected


def layers() -> list[Any]:
    return [
        nn.Linear(3, 2),
        nn.RNN(3, 4, num_layers=2, bidirectional=True),
        nn.LSTM(3, 4),
        nn.GRU(3, 4),
        nn.Conv1d(3, 2, 2),
        nn.LayerNorm(3),
        nn.Embedding(5, 3),
        nn.Sequential(nn.Linear(3, 3), nn.GELU(), nn.PReLU(), nn.Softmax(dim=-1), nn.Flatten()),
        nn.CrossEntropyLoss(),
        nn.HuberLoss(),
        optim.lr_scheduler.OneCycleLR(optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0), 1.0, 10),
        optim.lr_scheduler.ReduceLROnPlateau(optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0)),
        optim.Adam([{"params": [tg.zeros(1, requires_grad=True)], "lr": 0.5}]),
    ]


@EVERY_COPY
@pytest.mark.parametrize("index", range(len(layers())))
def test_every_kind_of_object(again: Any, index: int) -> None:
    thing = layers()[index]
    twin = again(thing)
    assert type(twin) is type(thing)
    assert repr(twin) == repr(thing) or not isinstance(thing, (nn.Module, optim.Optimizer))
    flat = [repr(value) for value in (thing.state_dict(), twin.state_dict())]
    assert flat[0] == flat[1]


def test_histories_and_generators() -> None:
    history = tg.fit(lambda x: x.mean(), X, epochs=2, progress=False)
    for again in COPIES:
        assert again(history)["loss"].tolist() == history["loss"].tolist()
        assert again(history).metadata == history.metadata
        generator = tg.Generator(4)
        tg.rand(3, generator=generator)
        twin = again(generator)
        assert tg.rand(2, generator=twin).tolist() == tg.rand(2, generator=generator).tolist()


@tg.jit
def decorated(x: tg.Tensor) -> tg.Tensor:
    return (x * x).sum()


def plain(x: tg.Tensor) -> tg.Tensor:
    return x.sum() * 3


class Methods:
    """A class with a compiled method."""

    @tg.jit
    def twice(self, x: tg.Tensor) -> tg.Tensor:
        """Two times x."""
        return x * 2


def test_jitted_functions() -> None:
    x = tg.tensor([1.0, 2.0])
    assert pickled(decorated) is decorated
    assert decorated(x).item() == pickled(decorated)(x).item() == 5.0
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(decorated, protocol)) is decorated
    function = tg.jit(plain)
    function(x)
    for again in (*COPIES, copy.copy):
        twin = again(function)
        assert twin is not function
        assert (twin(x).item(), twin.traces, function.traces) == (9.0, 1, 1)
    assert pickled(Methods().twice)(x).tolist() == [2.0, 4.0]
    local = tg.jit(lambda x: x)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(local)


def test_no_op_is_in_a_pickle() -> None:
    x = tg.ones(3, requires_grad=True)
    text = pickle.dumps([x, x * 2, decorated(tg.ones(2)), nn.Parameter(tg.ones(1))])
    assert b"Node" not in text
    assert b"Op" not in text


def test_a_module_that_holds_an_op_is_copied() -> None:
    model = nn.Module()
    model.op = tg.ones(1, requires_grad=True).exp().node.op  # type: ignore[attr-defined]
    assert copy.deepcopy(model).op is model.op  # type: ignore[attr-defined]


def prediction(model: Any, row: Any) -> list[float]:
    return model(row).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_multiprocessing(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    model, *_ = trained(jitted=True)
    model.eval()
    rows = [tg.tensor(X[k : k + 1]) for k in range(2)]
    with multiprocessing.get_context(method).Pool(1) as pool:
        found = pool.starmap(prediction, [(model, row) for row in rows])
    assert found == [prediction(model, row) for row in rows]


def test_joblib() -> None:
    joblib = pytest.importorskip("joblib")
    model, *_ = trained(jitted=True)
    model.eval()
    local = tg.jit(lambda x: model(x))
    rows = [tg.tensor(X[k : k + 1]) for k in range(2)]
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(local)(row) for row in rows)
    assert [value.tolist() for value in found] == [local(row).tolist() for row in rows]
    big = tg.ones(200_000)  # handed over in a file that is mapped into memory, read-only
    (back,) = joblib.Parallel(n_jobs=2)([joblib.delayed(plain)(big)])
    assert back.item() == 600_000.0
