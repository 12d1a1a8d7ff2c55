"""`tg.jit`: what a compiled function does is what the function does."""

from __future__ import annotations

import copy
import gc
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.nn.test_against_torch import LAYERS, LOSSES, leaves
from tests.optim.test_optimizers import CONFIGS, IDS
from tinygrad_nn import functional as F
from tinygrad_nn import nn
from tinygrad_nn.compiler.expand import expand

RNG = np.random.default_rng(5)
CELLS: list[Any] = [
    (name, (3, 4), {}, [RNG.normal(size=(2, 3) if name.endswith("Cell") else (5, 2, 3))])
    for name in ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")
]


def close(mine: Any, theirs: Any, tolerance: float = 1e-10) -> None:
    for a, b in zip(leaves(mine), leaves(theirs), strict=True):
        a, b = (x.detach().numpy() if isinstance(x, tg.Tensor) else np.asarray(x) for x in (a, b))
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        scale = max(1.0, float(np.max(np.abs(b), initial=0, where=np.isfinite(b)))) if b.dtype.kind == "f" else 1.0
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


def with_gradients(function: Callable[..., Any], floats: list[int], parameters: list[Any]) -> Callable[..., Any]:
    """The result and the gradients of a smooth function of it."""

    def whole(*xs: Any) -> Any:
        out = function(*xs)
        loss = sum((part * (k + 1)).sin().sum() for k, part in enumerate(leaves(out)))
        wanted = [*(xs[k] for k in floats), *parameters]
        return out, tg.autograd.grad(loss, wanted, allow_unused=True)

    return whole


def check(function: Callable[..., Any], arrays: list[Any], parameters: Any = ()) -> None:
    xs = [tg.tensor(a).requires_grad_(np.asarray(a).dtype.kind == "f") for a in arrays]
    floats = [k for k, x in enumerate(xs) if x.requires_grad]
    whole = with_gradients(function, floats, list(parameters))
    wanted = whole(*xs)
    found = tg.jit(whole)(*xs)
    close(found[0], wanted[0])
    for a, b in zip(found[1], wanted[1], strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            close(a, b)


@pytest.mark.parametrize(
    ("name", "args", "options", "arrays"), LAYERS + CELLS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_layer(name: str, args: Any, options: Any, arrays: Any) -> None:
    tg.manual_seed(0)
    layer = getattr(nn, name)(*args, **options).double()
    before = {key: value.numpy().copy() for key, value in layer.state_dict().items()}
    xs = [tg.tensor(a) for a in arrays]
    eager = layer(*xs)
    after = {key: value.numpy().copy() for key, value in layer.state_dict().items()}
    layer.load_state_dict({key: tg.tensor(value) for key, value in before.items()})
    close(tg.jit(lambda *xs: layer(*xs))(*xs), eager)
    for key, value in layer.state_dict().items():
        close(value, after[key])
    check(layer.eval(), arrays, layer.parameters())


@pytest.mark.parametrize(("name", "options", "arrays"), LOSSES, ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_every_loss(name: str, options: Any, arrays: Any, reduction: str) -> None:
    loss = getattr(nn, name)
    if name not in ("CosineSimilarity", "PairwiseDistance"):
        options = {"reduction": reduction, **options}
    check(loss(**options), arrays)


@pytest.mark.parametrize(("name", "options"), CONFIGS, ids=IDS)
def test_every_optimizer_for_thirty_steps(name: str, options: Any) -> None:
    def run(wrap: Any) -> Any:
        tg.manual_seed(3)
        model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
        optimizer = getattr(tg.optim, name)(model.parameters(), **options)
        x, y = (np.random.default_rng(1).normal(size=(7, n)) for n in (3, 2))

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        function = wrap(step)
        losses = [function(tg.tensor(x), tg.tensor(y)).item() for _ in range(30)]
        return losses, [p.detach().numpy() for p in model.parameters()]

    (mine, weights), (theirs, expected) = run(tg.jit), run(lambda step: step)
    np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)
    for a, b in zip(weights, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "tanh of products": lambda x: (x.tanh() * x.exp()).sum(),
    "softmax": lambda x: (F.softmax(x, -1) ** 2).sum(),
    "matmul": lambda x: (x @ x.transpose(0, 1)).sin().sum(),
    "norm": lambda x: ((x * x).sum() + 1).sqrt(),
    "cumulative": lambda x: (x.cumsum(1) * x.cumprod(0)).sum(),
    "extremes": lambda x: x.max() * x.min() + x.amax(1).sum() * x.sum(),
    "slices": lambda x: (x[:, ::2] ** 3).sum() * x[1:].exp().sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_to_second_order(name: str) -> None:
    function = FUNCTIONS[name]
    first = tg.grad(function)
    second = tg.grad(lambda x: (first(x) * first(x)).sum())
    x = tg.tensor(RNG.normal(size=(3, 4)))
    close(tg.jit(function)(x), function(x))
    close(tg.jit(first)(x), first(x))
    close(tg.jit(second)(x), second(x), 1e-9)


def test_dropout_draws_what_eager_code_draws_and_goes_on() -> None:
    layer = nn.Dropout(0.4)
    x = tg.ones(50)
    tg.manual_seed(7)
    eager = [layer(x).numpy() for _ in range(3)]
    tg.manual_seed(7)
    jitted = tg.jit(lambda x: layer(x))
    found = [jitted(x).numpy() for _ in range(3)]
    for a, b in zip(found, eager, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(found[0], found[1])
    layer.eval()
    np.testing.assert_array_equal(jitted(x).numpy(), x.numpy())
    assert jitted.traces == 2


def test_batch_norm_keeps_running_statistics() -> None:
    mine, theirs = nn.BatchNorm1d(3).double(), nn.BatchNorm1d(3).double()
    jitted = tg.jit(lambda x: mine(x))
    for k in range(4):
        x = tg.tensor(np.random.default_rng(k).normal(size=(6, 3)))
        close(jitted(x), theirs(x))
    for a, b in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True):
        close(a, b)
    mine.eval(), theirs.eval()
    close(jitted(x), theirs(x))


def test_two_threads_call_one_function() -> None:
    jitted = tg.jit(lambda x: (x.exp() * x).cumsum(0))
    wrong: list[Any] = []
    xs = [tg.tensor(np.full(200, float(k))) for k in range(4)]
    wanted = [(x.exp() * x).cumsum(0).numpy() for x in xs]

    def work(k: int) -> None:
        for _ in range(200):
            found = jitted(xs[k]).numpy()
            if not np.allclose(found, wanted[k], rtol=1e-12):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_two_threads_change_one_state() -> None:
    state = tg.zeros(3)

    @tg.jit
    def step(x: Any) -> None:
        state.add_(x)

    step(tg.ones(3))

    def work() -> None:
        for _ in range(300):
            step(tg.ones(3))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state.tolist() == [901.0] * 3


def test_one_tensor_as_both_arguments() -> None:
    jitted = tg.jit(lambda x, y: x * 2 - y * y)
    x = tg.tensor([1.0, 2.0, 3.0])
    assert jitted(x, x).tolist() == [1.0, 0.0, -3.0]


def test_a_result_fed_back() -> None:
    jitted = tg.jit(lambda x: x.flip(0) * 2)
    x = first = jitted(tg.tensor([1.0, 2.0, 3.0]))
    for _ in range(3):
        x = jitted(x)
    assert x.tolist() == [16.0, 32.0, 48.0]
    assert first.tolist() == [6.0, 4.0, 2.0]


def test_the_caller_writes_into_an_argument_afterwards() -> None:
    jitted = tg.jit(lambda x: (x * 2, x))
    array = np.ones(3)
    doubled, same = jitted(array)
    array[:] = 9
    assert doubled.tolist() == [2.0] * 3
    assert same.tolist() == [1.0] * 3
    x = tg.ones(3)
    _, same = jitted(x)
    x.add_(1.0)
    assert same.tolist() == [1.0] * 3


def test_the_state_before_it_changed_is_returned() -> None:
    state = tg.arange(6.0)

    @tg.jit
    def step() -> Any:
        before, shaped = state * 1.0, state.reshape(2, 3).clone()  # a view would see the write
        kept = state.clone()
        state.add_(1.0)
        return before, shaped, kept

    for k in range(3):
        for part in step():
            assert part.flatten().tolist() == [j + k for j in range(6)]


def test_states_that_swap() -> None:
    a, b = tg.zeros(3), tg.ones(3)

    @tg.jit
    def swap() -> None:
        old = a.clone()
        a.assign(b)
        b.assign(old)

    swap()
    assert (a.tolist(), b.tolist()) == ([1.0] * 3, [0.0] * 3)
    swap()
    assert (a.tolist(), b.tolist()) == ([0.0] * 3, [1.0] * 3)


def test_a_parameter_shared_by_two_modules() -> None:
    def train(wrap: Any) -> Any:
        tg.manual_seed(0)
        first, second = nn.Linear(3, 3).double(), nn.Linear(3, 3).double()
        second.weight = first.weight
        optimizer = tg.optim.Adam([*first.parameters(), second.bias], lr=0.1)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = (second(first(x)) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        function = wrap(step)
        return [function(tg.tensor(np.eye(3))).item() for _ in range(5)], first.weight.detach().numpy()

    (mine, weight), (theirs, expected) = train(tg.jit), train(lambda step: step)
    np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    np.testing.assert_allclose(weight, expected, rtol=1e-12)


@dataclass
class Pair:
    left: Any
    right: Any


def test_arguments_of_all_kinds() -> None:
    jitted = tg.jit(
        lambda x, *, scale, parts, pair, power=2: {"a": (x * scale) ** power, "b": Pair(parts["k"], pair.left)}
    )
    for scale in (2.0, 3.0):
        out = jitted(
            np.arange(3.0), scale=scale, parts={"k": tg.ones(2)}, pair=Pair(np.float64(scale), [tg.zeros(1), "text"])
        )
        assert out["a"].tolist() == [(k * scale) ** 2 for k in range(3)]
        assert out["b"].left.tolist() == [1.0, 1.0]
        assert float(out["b"].right) == scale
    assert jitted.traces == 1


def test_a_new_trace_for_a_new_kind() -> None:
    jitted = tg.jit(lambda x, n: x * n)
    x = tg.ones(3)
    assert jitted(x, 2).tolist() == [2.0] * 3
    assert jitted(x, 2).tolist() == [2.0] * 3
    assert jitted.traces == 1
    assert jitted(x, 3).tolist() == [3.0] * 3
    assert jitted(tg.ones(2), 3).tolist() == [3.0] * 2
    assert jitted(tg.ones(3, dtype=tg.float64), 3).dtype == np.float64
    assert jitted.traces == 4


@pytest.mark.parametrize("length", [0, 1, 2, 15, 16, 17, 63, 65])
def test_lengths_around_the_lanes(length: int) -> None:
    x = tg.tensor(np.random.default_rng(length).normal(size=(length, 3)))
    function = lambda x: ((x - x.mean(1, keepdim=True)).tanh().sum(0), x.cumsum(0), x.flip(0))  # noqa: E731
    close(tg.jit(function)(x), function(x))


class Scaled:
    def __init__(self, factor: float) -> None:
        self.factor = tg.tensor(factor)

    @tg.jit
    def times(self, x: tg.Tensor) -> tg.Tensor:
        return x * self.factor


def test_a_method() -> None:
    two, three = Scaled(2.0), Scaled(3.0)
    x = tg.tensor([1.0, 2.0])
    assert two.times(x).tolist() == [2.0, 4.0]
    assert three.times(x).tolist() == [3.0, 6.0]
    two.factor.assign(tg.tensor(5.0))
    assert two.times(x).tolist() == [5.0, 10.0]
    assert two.times is two.times
    assert two.times.traces == 1


def test_a_method_keeps_no_instance_alive() -> None:
    x, alive = tg.tensor([1.0, 2.0]), []
    for k in range(3):
        one = Scaled(float(k))
        assert one.times(x).tolist() == [k, 2 * k]
        alive.append(weakref.ref(one))
    del one
    gc.collect()
    assert not any(reference() for reference in alive)


def test_a_method_and_the_one_it_extends() -> None:
    class More(Scaled):
        @tg.jit
        def times(self, x: tg.Tensor) -> tg.Tensor:
            return super().times(x) + 1.0

    more, x = More(2.0), tg.tensor([1.0, 2.0])
    for one in (more, copy.deepcopy(more), More(2.0)):
        for _ in range(2):
            assert one.times(x).tolist() == [3.0, 5.0]
            assert super(More, one).times(x).tolist() == [2.0, 4.0]


def test_zeros_and_infinities_as_in_eager_code() -> None:
    """Which of two equal zeros is met first must not show, nor how a root is computed."""
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 8, 17, 64, 100):
        x = tg.tensor(np.where(rng.random((3, n)) < 0.5, -0.0, 0.0), dtype=tg.float32)
        for function in (lambda x: x.relu(), lambda x: x.amax(1), lambda x: x.amin(0), lambda x: x.amax()):
            expected, found = function(x).numpy(), tg.jit(function)(x).numpy()
            assert not np.signbit(expected).any()
            assert not np.signbit(found).any()
    edges = tg.tensor([-np.inf, np.inf, 0.0, -0.0, -1.0, 2.0])
    for exponent in (0.5, 1.5, 2.5, -0.5, 3.0, -1.0, 0.0):
        slope = tg.grad(lambda x, exponent=exponent: (x**exponent).sum())
        np.testing.assert_allclose(tg.jit(slope)(edges).numpy(), slope(edges).numpy(), rtol=1e-6)


@pytest.mark.parametrize("number", [0.5, np.float64(0.5), np.float32(0.5), np.int64(2), np.int32(2)], ids=repr)
def test_a_number_among_the_arguments_has_no_dtype(number: Any) -> None:
    kinds = (tg.bool, tg.int32, tg.int64, tg.float32, tg.float64)
    tensors = [tg.tensor(values, dtype=kind) for values in (3, [1, 2]) for kind in kinds]
    for function in (
        lambda x, k: x * k,
        lambda x, k: k * x,
        lambda x, k: (1 - k) * x,
        lambda x, k: x + (k * k + 2 * k) / 3,
        lambda x, k: -k / x,
        lambda x, k: x.sum() * -k,
        lambda x, k: tg.where(x > k, x, k),
    ):
        for x in tensors:
            expected, found = function(x, number), tg.jit(function)(x, number)
            assert found.dtype == expected.dtype, (x, number)
            np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6)



def test_many_kinds_are_told_of_once_and_forgotten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those used longest ago go; state that one of them changed last is whole."""
    module = sys.modules[tg.jit.__module__]
    monkeypatch.setattr(module, "SIGNATURES", 4)
    monkeypatch.setattr(module, "MANY", 3)
    total = tg.zeros(1)

    @tg.jit
    def add(x: tg.Tensor) -> tg.Tensor:
        total.add_(x.sum())
        return x.sum()

    def ones(n: int) -> None:
        assert add(tg.ones(n)).item() == n

    for n in (1, 2, 3, 4, 1):
        ones(n)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("tg.jit: add is compiled for 3 kinds of calls (the last two: argument 0: ")
    ones(5)  # 2 is gone
    assert (add.traces, len(add.entries)) == (5, 4)
    ones(1)
    assert add.traces == 5
    ones(2)
    assert (add.traces, len(add.entries)) == (6, 4)
    assert add.last is not None
    gone = weakref.ref(add.last)
    for n in (3, 4, 5, 6, 7):
        ones(n)
    gc.collect()
    assert gone() is None
    assert total.item() == 1 + 2 + 3 + 4 + 1 + 5 + 1 + 2 + 3 + 4 + 5 + 6 + 7
    assert capsys.readouterr().err == ""


def test_kernels_in_functions_of_their_own_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the length from which a program is cut: the same bits, and the same errors from inside."""
    rows = RNG.normal(size=(12, 5)).astype(np.float32)
    labels = RNG.integers(0, 3, 12)

    def results() -> tuple[list[Any], str, str]:
        tg.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 3))
        opt = tg.optim.Adam(model.parameters(), lr=0.1)

        @tg.jit
        def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            return loss  # type: ignore[no-any-return]

        x, y = tg.tensor(rows), tg.tensor(labels)
        losses = [step(x, y).item() for _ in range(3)]
        history = tg.fit(step, (rows, labels), 3, batch_size=5, seed=1, progress=False)
        state = [value.tolist() for value in model.state_dict().values()]
        bad = tg.tensor(np.where(np.arange(12) == 7, 3, labels))
        with pytest.raises(tg.errors.IndexOutOfRange) as caught:
            step(x, bad)
        return [losses, history["loss"].tolist(), state], str(caught.value), step.llvm(x, y)

    monkeypatch.setattr(expand, "PART", 10**9)
    whole, error, text = results()
    assert "@part" not in text
    for length in (1, 200, 1500):
        monkeypatch.setattr(expand, "PART", length)
        parts, same, text = results()
        assert text.count("call i32 @part") >= 1
        assert (parts, same) == (whole, error)
