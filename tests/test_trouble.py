"""What goes wrong in training is named by the user's row, epoch and batch, and leaves the state as it was before."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import callbacks, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.errors import (
    ConfigError,
    DataError,
    DivisionByZero,
    DTypeError,
    IndexOutOfRange,
    NonFiniteError,
    ShapeError,
)

N, CLASSES = 23, 3
BAD = 17  # the row that something is wrong with
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 4))
LABELS = rng.integers(0, CLASSES, N)
ORDERS: dict[str, dict[str, Any]] = {
    "in order": {"batch_size": 4, "shuffle": False},
    "shuffled": {"batch_size": 4, "seed": 5},
    "by the default generator": {"batch_size": 4},
    "whole": {"batch_size": None, "seed": 1},
    "whole in order": {"batch_size": None, "shuffle": False},
    "one by one": {"batch_size": 1, "seed": 2},
}
WAYS = {"eager": lambda step: step, "native": tg.jit}


@dataclass
class Work:
    model: nn.Module
    opt: Any
    step: Callable[..., Any]

    def state(self) -> list[Any]:
        tensors = [*self.model.parameters(), *self.model.buffers(), tg.default_generator.counter]
        tensors += [value for own in self.opt.state.values() for value in own.values()]
        return [tensor.detach().numpy().copy() for tensor in tensors]


def work(loss: Callable[..., Any], native: bool = False, optimizer: Any = optim.RMSprop, lr: float = 0.02) -> Work:
    """A model with random numbers, running statistics and optimizer state, so that there is much to restore."""
    tg.manual_seed(3)
    model = nn.Sequential(nn.Dropout(0.1), nn.Linear(4, CLASSES)).double()
    seen = tg.zeros((), dtype=tg.float64)
    model.register_buffer("seen", seen)
    opt = optimizer(model.parameters(), lr=lr)

    def step(x: tg.Tensor, *more: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        seen.assign(seen + 1.0)
        value = loss(model(x), *more)
        value.backward()
        opt.step()
        return value  # type: ignore[no-any-return]

    return Work(model, opt, tg.jit(step) if native else step)


class Halt(Exception):
    pass


def state_before(loss: Callable[..., Any], data: Any, batch: int, options: dict[str, Any], **kwargs: Any) -> list[Any]:
    """The state that an eager run has before the batch of this number."""
    one, calls = work(loss, **kwargs), 0

    def step(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > batch:
            raise Halt
        return one.step(*arguments)

    with pytest.raises(Halt):
        tg.fit(step, data, 50, progress=False, on_nonfinite="ignore", **options)
    return one.state()


def same(found: list[Any], expected: list[Any], rtol: float) -> None:
    """Moments that the first step makes begin with zeros, whether they are there already or not."""
    assert all(not part.any() for part in found[len(expected) :])
    for a, b in zip(found[: len(expected)], expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12)


# ---- labels and indices ---------------------------------------------------------------------------------------------

TABLE = tg.tensor(rng.normal(size=(CLASSES, 2)))
LOOKUPS: dict[str, tuple[str, str, Callable[[tg.Tensor, tg.Tensor], tg.Tensor]]] = {
    "cross_entropy": ("cross_entropy", "label", lambda s, y: F.cross_entropy(s, y)),
    "with weights": ("cross_entropy", "label", lambda s, y: F.cross_entropy(s, y, weight=s.new_ones(CLASSES))),
    "smoothed": ("cross_entropy", "label", lambda s, y: F.cross_entropy(s, y, label_smoothing=0.1)),
    "one ignored": ("cross_entropy", "label", lambda s, y: F.cross_entropy(s, y, ignore_index=0, reduction="sum")),
    "module": ("cross_entropy", "label", lambda s, y: nn.CrossEntropyLoss()(s, y)),
    "nll_loss": ("nll_loss", "label", lambda s, y: F.nll_loss(s.log_softmax(1), y)),
    "multi_margin_loss": ("multi_margin_loss", "label", lambda s, y: F.multi_margin_loss(s, y)),
    "one_hot": ("one_hot", "label", lambda s, y: (F.one_hot(y, CLASSES).double() * s).sum()),
    "embedding": ("embedding", "index", lambda s, y: (F.embedding(y, TABLE).sum(1) * s.sum(1)).sum()),
    "gather": ("gather", "index", lambda s, y: s.gather(1, y.unsqueeze(1)).sum()),
    "index_select": ("index_select", "index", lambda s, y: (TABLE.index_select(0, y).sum(1) * s.sum(1)).sum()),
    "take": ("take", "index", lambda s, y: (TABLE.narrow(1, 0, 1).take(y) * s.sum(1)).sum()),
    "take_along_dim": ("take_along_dim", "index", lambda s, y: s.take_along_dim(y.unsqueeze(1), 1).sum()),
    "index_add": ("index_add", "index", lambda s, y: TABLE.index_add(0, y, s.narrow(1, 0, 2)).sum()),
    "scatter": ("scatter", "index", lambda s, y: s.scatter(1, y.unsqueeze(1), 0.5).sum()),
    "scatter_add": ("scatter_add", "index", lambda s, y: s.scatter_add(1, y.unsqueeze(1), 0.5).sum()),
    "confusion": ("confusion", "label", lambda s, y: s.sum() + tg.metrics.confusion(s, y).sum()),
    "f1": ("f1", "label", lambda s, y: (s * s).sum() + tg.metrics.f1(s, y, average="macro")),
}


def mislabelled(value: int) -> Any:
    labels = LABELS.copy()
    labels[BAD] = value
    return labels


FROM_THE_END = ("take", "take_along_dim")  # count negative positions from the end


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", LOOKUPS)
def test_a_call_names_the_function_and_the_row(name: str, compiled: bool) -> None:
    called, noun, look = LOOKUPS[name]
    scores = tg.tensor(X[:, :CLASSES])
    function = tg.jit(look) if compiled else look
    for value in (CLASSES, -1, 2**40):
        least = -CLASSES if name in FROM_THE_END else 0
        if value == -1 and least:
            continue
        where = rf"^\[{called}\] got {noun} {value} in row {BAD}(, column 0)?; expected {least} <= {noun} < {CLASSES}$"
        with pytest.raises(IndexOutOfRange, match=where):
            function(scores, tg.tensor(mislabelled(value)))
    function(scores, tg.tensor(LABELS))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "order"),
    [*(("cross_entropy", order) for order in ORDERS), *((name, "shuffled") for name in LOOKUPS if name[0] in "oif")],
)
def test_fit_names_the_row_of_the_data(name: str, way: str, order: str) -> None:
    called, noun, look = LOOKUPS[name]
    data, options = (X, mislabelled(7)), ORDERS[order]
    one = work(look, way == "native")
    where = rf"^\[{called}\] got {noun} 7 in row {BAD} \(epoch 1, batch (\d+)\); expected 0 <= {noun} < {CLASSES}$"
    with pytest.raises(IndexOutOfRange, match=where) as caught:
        tg.fit(one.step, data, 3, progress=False, **options)
    batch = int(re.search(r"batch (\d+)", str(caught.value))[1])  # type: ignore[index]
    found = one.state()
    same(found, state_before(look, data, batch, options), 0 if way == "eager" else 1e-9)
    assert tg.fit(one.step, (X, LABELS), 1, progress=False, **options).epochs == 1


@pytest.mark.parametrize("way", WAYS)
def test_labels_made_in_the_step_have_their_row_too(way: str) -> None:
    step = WAYS[way](lambda x, y: F.cross_entropy(x, y.long() + 1))
    labels = np.zeros(N)
    labels[BAD] = 4
    with pytest.raises(IndexOutOfRange, match=rf"label 5 in row {BAD} \(epoch 1, batch \d\)"):
        tg.fit(step, (X, labels), batch_size=4, progress=False)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", ["samples", "time"])
def test_labels_of_steps_in_time(way: str, first: str) -> None:
    """They are flattened, and the row of the sequence is named all the same; 5 steps in batches of 5 hide nothing."""
    scores, labels = rng.normal(size=(N, 5, CLASSES)), rng.integers(0, CLASSES, (N, 5))
    labels[BAD, 3] = -2

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        if first == "time":
            x, y = x.transpose(0, 1), y.transpose(0, 1)
        return F.cross_entropy(x.reshape(-1, CLASSES), y.reshape(-1))

    with pytest.raises(IndexOutOfRange, match=rf"label -2 in row {BAD}, column 3 \(epoch 1, batch \d\)"):
        tg.fit(WAYS[way](step), (scores, labels), batch_size=5, progress=False)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("order", ["in order", "shuffled", "whole"])
def test_a_divisor_of_zero_has_its_row(way: str, order: str) -> None:
    divisors = np.arange(1, N + 1).reshape(N, 1)
    divisors[BAD] = 0
    one = work(lambda out, d: (out * (60 // d)).square().mean(), native=way == "native")
    pattern = rf"\[floor_divide\] got a divisor of 0 in row {BAD}, column 0 \(epoch 1, batch \d+\); expected"
    with pytest.raises(DivisionByZero, match=pattern):
        tg.fit(one.step, (X, divisors), epochs=2, progress=False, **ORDERS[order])


@pytest.mark.parametrize("way", WAYS)
def test_a_row_that_cannot_be_known_is_not_named(way: str) -> None:
    step = WAYS[way](
        lambda x, y: F.cross_entropy(x.reshape(-1, 2), (y * 2 + 1).reshape(-1, 1).expand(-1, 2).reshape(-1))
    )
    with pytest.raises(IndexOutOfRange, match=r"label 3 at position \[0\] \(epoch 1, batch 0\)"):
        tg.fit(step, (X, np.ones(N, np.int64)), batch_size=4, progress=False)


@pytest.mark.parametrize("way", WAYS)
def test_labels_of_the_evaluation(way: str) -> None:
    held, labels = tg.tensor(X[:, :CLASSES]), tg.tensor(mislabelled(9))
    weight = tg.zeros(1, dtype=tg.float64)

    def step(x: tg.Tensor) -> tg.Tensor:
        weight.assign(weight + 1.0)
        return x.sum()

    with pytest.raises(IndexOutOfRange, match=rf"label 9 in row {BAD} \(epoch 2, evaluation\)"):
        tg.fit(
            WAYS[way](step),
            X,
            4,
            shuffle=False,
            progress=False,
            eval_every=2,
            evaluate=lambda: {"test_loss": F.cross_entropy(held, labels)},
        )
    assert weight.item() == 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("bad", "shuffle"), [(0, False), (3, False), (6, True), (9, True)])
def test_labels_of_sequences_of_several_lengths(way: str, bad: int, shuffle: bool) -> None:
    sequences = [rng.normal(size=(n, 4)) for n in (2, 3, 2, 3, 2, 2, 2, 3, 3, 2)]
    labels = np.arange(len(sequences)) % CLASSES
    labels[bad] = 4
    one = work(lambda s, y: F.cross_entropy(s.mean(1), y), way == "native")
    with pytest.raises(IndexOutOfRange, match=rf"label 4 in row {bad} \(epoch 1, batch \d\)"):
        tg.fit(one.step, (sequences, labels), batch_size=3, shuffle=shuffle, seed=4, progress=False)


def test_indices_of_a_key() -> None:
    x = tg.tensor(X)
    cases: list[tuple[Any, str]] = [
        (lambda: x[tg.tensor([0, 40])], "[getitem] got index 40 in row 1; expected -23 <= index < 23"),
        (lambda: x[:, [0, -5]], "[getitem] got index -5 in row 1; expected -4 <= index < 4"),
        (lambda: x[..., [4]], "[getitem] got index 4 in row 0; expected -4 <= index < 4"),
        (lambda: x[None, [0, 1], [0, 9]], "[getitem] got index 9 in row 1; expected -4 <= index < 4"),
        (lambda: x.__setitem__([1, 23], 0.0), "[setitem] got index 23 in row 1; expected -23 <= index < 23"),
    ]
    for call, text in cases:
        with pytest.raises(IndexOutOfRange) as caught:
            call()
        assert str(caught.value) == text

    with pytest.raises(IndexOutOfRange, match=rf"\[getitem\] got index 30 in row {BAD} \(epoch 1, batch \d\)"):
        tg.fit(lambda i: x[i].sum(), mislabelled(30), batch_size=4, progress=False)


def test_weights_of_classes() -> None:
    scores, labels = tg.tensor(X[:, :CLASSES]), tg.tensor(LABELS)
    for loss in (F.cross_entropy, F.nll_loss, F.multi_margin_loss):
        with pytest.raises(ShapeError, match=r"weight of shape \(2,\) for 3 classes"):
            loss(scores, labels, weight=tg.ones(2, dtype=tg.float64))
    with pytest.raises(DataError, match=f"no weight for class 9, the label in row {BAD}"):
        tg.fit(lambda x, y, w: x.sum(), (X, mislabelled(9)), class_weight={0: 1.0, 1: 1.0, 2: 1.0})


# ---- what is not finite ---------------------------------------------------------------------------------------------


def log_of_a_bad_row(s: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    sizes = (s * s).sum(1) * 0.01 + y
    return sizes.log().mean()


def root_at_zero(s: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    return ((s * s).sum(1) * y).sqrt().mean()


def sum_that_overflows(s: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    flat = (s * s * y.unsqueeze(1)).reshape(-1)
    return (flat * 1e3).exp().mean()


MARKS = {log_of_a_bad_row: (1.0, -9.0), root_at_zero: (1.0, 0.0), sum_that_overflows: (0.0, 1e6)}
ORIGINS = {
    log_of_a_bad_row: "log made NaN from finite operands at test_trouble.py:{}: return sizes.log().mean()",
    root_at_zero: "sqrt made inf in the gradient of operand 0, of the forward call at test_trouble.py:{}: return",
    sum_that_overflows: "exp made inf from finite operands at test_trouble.py:{}: return (flat * 1e3).exp().mean()",
}


def marked(loss: Any) -> Any:
    good, bad = MARKS[loss]
    y = np.full(N, good)
    y[BAD] = bad
    return X, y


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("loss", "order"),
    [
        *((log_of_a_bad_row, order) for order in ORDERS),
        *((loss, order) for loss in (root_at_zero, sum_that_overflows) for order in ("shuffled", "one by one")),
    ],
)
def test_raise_names_everything_and_restores(loss: Any, way: str, order: str) -> None:
    data, options = marked(loss), ORDERS[order]
    one = work(loss, way == "native")
    with pytest.raises(NonFiniteError) as caught:
        tg.fit(one.step, data, 3, progress=False, on_nonfinite="raise", **options)
    error, text = caught.value, str(caught.value)
    line = loss.__code__.co_firstlineno + (1 if loss is root_at_zero else 2)
    assert f"epoch 1, batch {error.batch}, row {BAD} of the data: {ORIGINS[loss].format(line)}" in text
    assert (error.epoch, error.rows, error.op) == (1, (BAD,), ORIGINS[loss].split()[0])
    assert error.history.epochs == 0  # type: ignore[attr-defined]
    assert error.history.nonfinite["batch"] == error.batch  # type: ignore[attr-defined]
    found = one.state()
    same(found, state_before(loss, data, error.batch or 0, options), 0 if way == "eager" else 1e-9)
    good = X, np.full(N, MARKS[loss][0])
    assert np.isfinite(tg.fit(one.step, good, 2, progress=False, on_nonfinite="raise", **options)["loss"]).all()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("order", ["in order", "shuffled", "whole"])
def test_warn_names_the_batch_once(way: str, order: str) -> None:
    one = work(log_of_a_bad_row, way == "native")
    with pytest.warns(tg.NonFiniteWarning, match=r"\[fit\] got loss nan in epoch 1, batch \d+; expected") as caught:
        history = tg.fit(one.step, marked(log_of_a_bad_row), 4, progress=False, **ORDERS[order])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert history.epochs == 4
    again = work(log_of_a_bad_row, way == "native")
    with pytest.raises(NonFiniteError) as raised:
        tg.fit(again.step, marked(log_of_a_bad_row), progress=False, on_nonfinite="raise", **ORDERS[order])
    expected = {"name": "loss", "epoch": 1, "batch": raised.value.batch}
    assert {key: history.nonfinite[key] for key in expected} == expected  # type: ignore[index]
    assert np.isnan(history.nonfinite["value"])  # type: ignore[index]


@pytest.mark.parametrize("way", WAYS)
def test_ignore_and_others(way: str) -> None:
    one = work(log_of_a_bad_row, way == "native")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = tg.fit(one.step, marked(log_of_a_bad_row), 2, progress=False, on_nonfinite="ignore")
    assert history.nonfinite is not None
    assert np.isnan(history["loss"]).all()
    with pytest.raises(ConfigError, match=r"on_nonfinite='never'; expected 'warn', 'raise' or 'ignore'"):
        tg.fit(one.step, marked(log_of_a_bad_row), 2, progress=False, on_nonfinite="never")  # type: ignore[arg-type]


@pytest.mark.parametrize("way", WAYS)
def test_a_column_that_is_infinite_on_purpose(way: str) -> None:
    step = WAYS[way](lambda x: {"loss": x.sum(), "best": float("inf"), "worst": x.sum() / 0.0})
    with pytest.warns(tg.NonFiniteWarning, match=r"got best inf in epoch 1, batch 0") as caught:
        history = tg.fit(step, X, 3, batch_size=4, progress=False)
    assert len(caught) == 1
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("options", [{"batch_size": None, "shuffle": False}, {"batch_size": 5, "seed": 1}, {}])
def test_after_many_epochs(way: str, options: dict[str, Any]) -> None:
    """A rate that is too large blows up after some epochs: those before are in the history, with the bits they have."""
    target = rng.normal(size=(N, CLASSES)) * 3

    def cubes(s: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        return ((s - y) ** 2).mean().exp()

    kwargs: dict[str, Any] = {"optimizer": optim.SGD, "lr": 2e-2}
    one = work(cubes, way == "native", **kwargs)
    with pytest.raises(NonFiniteError) as caught:
        tg.fit(one.step, (X, target), 500, progress=False, on_nonfinite="raise", **options)
    error = caught.value
    history: Any = error.history
    assert history.epochs == error.epoch - 1
    assert np.isfinite(history["loss"]).all() if history.epochs else True
    found = one.state()
    assert all(np.isfinite(part).all() for part in found)
    rounds = -(-N // (options.get("batch_size") or N))
    number = (error.epoch - 1) * rounds + (error.batch or 0)
    if way == "eager":
        same(found, state_before(cubes, (X, target), number, options, **kwargs), 0)
    elif not error.batch:
        twin = work(cubes, True, **kwargs)
        whole = tg.fit(twin.step, (X, target), error.epoch - 1, progress=False, **options)
        np.testing.assert_array_equal(whole["loss"], history["loss"])
        same(found[:-1], twin.state()[:-1], 0)


@pytest.mark.parametrize("way", WAYS)
def test_a_state_that_no_result_shows(way: str) -> None:
    """The batch is that which left it, though every loss is finite, before and after."""
    hidden = tg.zeros(3, dtype=tg.float64)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        hidden.assign(hidden + (y * y).log().sum())
        return x.sum()

    y = np.ones(N)
    y[BAD] = 0.0
    with pytest.raises(
        NonFiniteError, match=r"a NaN or infinity in 1 of the parameters, .* epoch 1, batch 4"
    ) as caught:
        tg.fit(WAYS[way](step), (X, y), 9, batch_size=4, shuffle=False, progress=False, on_nonfinite="raise")
    assert caught.value.rows == (BAD,)
    assert "log made inf" in str(caught.value)
    assert hidden.tolist() == [0.0] * 3


@pytest.mark.parametrize("ranked", [0, 2048])
@pytest.mark.parametrize("trouble", ["label", "raise", "terminate"])
def test_the_generator_is_where_the_epoch_is(trouble: str, ranked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders of many epochs are drawn ahead: the default generator is taken back to where the eager run has it."""
    monkeypatch.setattr("tinygrad_nn.compiler.run.traces.RANKED", ranked)
    left = tg.tensor(30.0, dtype=tg.float64)

    def step(x: tg.Tensor) -> tg.Tensor:
        left.assign(left - 0.25)
        if trouble == "label":
            return F.one_hot(left.floor().long().reshape(1), 31).double().sum() + x.sum()
        return left.log() + x.sum()

    states = []
    for way in WAYS.values():
        tg.manual_seed(8)
        left.assign(tg.tensor(30.0, dtype=tg.float64))
        options: dict[str, Any] = {"batch_size": 8, "progress": False, "on_nonfinite": "ignore"}
        if trouble == "terminate":
            history = tg.fit(way(step), X, 900, callbacks=[callbacks.TerminateOnNaN()], **options)
            assert history.epochs == 40
        else:
            options["on_nonfinite"] = "raise"
            with pytest.raises((NonFiniteError, IndexOutOfRange), match=r"epoch 4[01], batch \d"):
                tg.fit(way(step), X, 900, **options)
        states.append((left.item(), tg.default_generator.counter.item()))
    assert states[0] == states[1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("python", [False, True])
def test_scores(way: str, python: bool) -> None:
    weight = tg.tensor(3.0, dtype=tg.float64)

    def step(x: tg.Tensor) -> tg.Tensor:
        weight.assign(weight - 1.0)
        return x.sum()

    def scores() -> dict[str, Any]:
        value = weight.log()
        return {"ok": 1.0, "log": float(value.item()) if python else value}

    options: dict[str, Any] = {"shuffle": False, "progress": False, "evaluate": scores}
    with pytest.warns(tg.NonFiniteWarning, match="got log -inf in epoch 3, evaluation") as warned:
        history = tg.fit(WAYS[way](step), X, 6, **options)
    assert len(warned) == 1
    assert history.nonfinite == {"name": "log", "epoch": 3, "batch": None, "value": -np.inf}
    weight.assign(tg.tensor(3.0, dtype=tg.float64))
    with pytest.raises(NonFiniteError, match=r"log -inf in epoch 3, evaluation: log made inf .*value = weight.log\(\)"):
        tg.fit(WAYS[way](step), X, 6, on_nonfinite="raise", **options)
    assert weight.item() == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shuffle", [False, True])
def test_sequences_of_several_lengths(way: str, shuffle: bool) -> None:
    sequences = [rng.normal(size=(n, 4)) for n in (2, 3, 2, 3, 2, 2, 2, 3, 3, 2)]
    y = np.ones(len(sequences))
    y[7] = -9.0
    data, options = (sequences, y), {"batch_size": 2, "shuffle": shuffle, "seed": 6}

    def loss(s: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        return log_of_a_bad_row(s.mean(1), y)

    one = work(loss, way == "native")
    with pytest.raises(NonFiniteError, match=r"row 7 of the data: log made NaN") as caught:
        tg.fit(one.step, data, 3, progress=False, on_nonfinite="raise", **options)  # type: ignore[arg-type]
    found = one.state()
    same(found, state_before(loss, data, caught.value.batch or 0, options), 0 if way == "eager" else 1e-9)


@pytest.mark.parametrize("way", WAYS)
def test_weights_of_samples(way: str) -> None:
    def loss(s: tg.Tensor, y: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
        return (w / (w * y.double())).mean() * s.mean()

    weight = np.ones(N)
    weight[BAD] = 0.0
    one = work(loss, way == "native")
    labels = np.ones(N, np.int64)
    with pytest.raises(NonFiniteError, match=rf"row {BAD} of the data: div made NaN"):
        tg.fit(one.step, (X, labels), batch_size=4, progress=False, sample_weight=weight, on_nonfinite="raise")


@pytest.mark.parametrize("way", WAYS)
def test_every_row_and_none(way: str) -> None:
    """A weight that explodes is nobody's fault; of several bad rows all are named."""
    one = work(lambda s: (s * s * 1e200 * 1e200).sum(1).mean(), way == "native")
    with pytest.raises(
        NonFiniteError, match=r"in every row of the batch \(rows 0, 1, 2, 3 of the data\): mul made inf"
    ):
        tg.fit(one.step, X, batch_size=4, shuffle=False, progress=False, on_nonfinite="raise")
    _, y = marked(log_of_a_bad_row)
    y[16] = -9.0
    one = work(log_of_a_bad_row, way == "native")
    with pytest.raises(NonFiniteError, match=r"rows 16, 17 of the data: log made NaN"):
        tg.fit(one.step, (X, y), batch_size=4, shuffle=False, progress=False, on_nonfinite="raise")


@pytest.mark.parametrize("way", WAYS)
def test_an_axis_of_the_batch_s_length_is_not_taken_for_it(way: str) -> None:
    """A weight of 3 rows in batches of 3: the update overflows in one row of the weight, whatever the samples."""
    scale = tg.tensor([1.0, 1e20, 1.0], dtype=tg.float64)
    one = work(lambda s: (s * s * scale).sum(), way == "native", optim.SGD, 1e295)
    with pytest.raises(NonFiniteError, match=r"a NaN or infinity in \d of the parameters") as caught:
        tg.fit(one.step, X, batch_size=3, progress=False, on_nonfinite="raise")
    assert "opt.step()" in str(caught.value)
    assert len(caught.value.rows) in (0, 3)


def test_a_jitted_function_inside_an_eager_step() -> None:
    """It writes where it lies, and is taken back all the same."""
    one, twin = work(log_of_a_bad_row, True), work(log_of_a_bad_row, True)
    data = marked(log_of_a_bad_row)
    options: dict[str, Any] = {"batch_size": 4, "shuffle": False, "progress": False}
    tg.manual_seed(3)
    with pytest.raises(NonFiniteError, match=rf"batch 4, row {BAD} of the data: log made NaN"):
        tg.fit(lambda x, y: {"loss": one.step(x, y).item()}, data, on_nonfinite="raise", **options)
    found = one.state()
    tg.manual_seed(3)
    for k in range(4):
        twin.step(*(tg.tensor(column[4 * k : 4 * k + 4]) for column in data))
    same(found, twin.state(), 0)


@pytest.mark.parametrize("way", WAYS)
def test_gradients_that_add_up_are_put_back(way: str) -> None:
    weight = tg.ones(4, dtype=tg.float64).requires_grad_()
    weight.grad = tg.zeros(4, dtype=tg.float64)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        loss = ((x * weight).sum(1).abs() * y).sqrt().mean()
        loss.backward()
        with tg.no_grad():
            weight.assign(weight - 0.1 * weight.grad)  # type: ignore[operator]
        return loss

    _, y = marked(root_at_zero)
    options: dict[str, Any] = {"batch_size": 4, "shuffle": False, "progress": False, "on_nonfinite": "raise"}
    with pytest.raises(NonFiniteError, match=rf"batch 4, row {BAD}"):
        tg.fit(WAYS[way](step), (X, y), **options)
    gradient: Any = weight.grad
    expected = np.zeros(4), np.ones(4)
    for k in range(4):
        rows = X[4 * k : 4 * k + 4]
        line = rows @ expected[1]
        slope = (np.sign(line) / (2 * np.sqrt(np.abs(line)))) @ rows / 4
        expected = expected[0] + slope, expected[1] - 0.1 * (expected[0] + slope)
    np.testing.assert_allclose(gradient.numpy(), expected[0], rtol=1e-9)
    np.testing.assert_allclose(weight.detach().numpy(), expected[1], rtol=1e-9)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("patient", [True, False])
def test_terminate_on_nan(way: str, patient: bool) -> None:
    one = work(log_of_a_bad_row, way == "native")
    seen: list[int] = []
    more = [] if patient else [lambda run, logs: seen.append(run.epoch)]
    stop = callbacks.TerminateOnNaN()
    history = tg.fit(
        one.step, marked(log_of_a_bad_row), 50, progress=False, on_nonfinite="ignore", callbacks=[stop, *more]
    )
    assert (history.epochs, history.stopped) == (1, "loss is nan in epoch 1")
    with pytest.raises(DataError, match="the column 'acc' to watch; expected one of 'loss'"):
        tg.fit(WAYS[way](lambda x: x.sum()), X, 2, progress=False, callbacks=[callbacks.TerminateOnNaN("acc")])


def test_terminate_on_nan_goes_back_to_the_end_of_the_epoch() -> None:
    """A native call is far beyond it then: state, generators and history are those of the run that was shorter."""
    weight = tg.tensor(40.0, dtype=tg.float64)

    def step(x: tg.Tensor) -> dict[str, tg.Tensor]:
        weight.assign(weight - 1.0 + 0.0 * tg.rand(2, dtype=tg.float64).sum())
        return {"loss": weight.log() + x.sum() * 0.0}

    states = []
    for way in WAYS:
        for options in ({"shuffle": False}, {"seed": 1}, {}):
            tg.manual_seed(8)
            weight.assign(tg.tensor(40.0, dtype=tg.float64))
            more = [callbacks.LogLines(every=1000), callbacks.TerminateOnNaN()]
            history = tg.fit(
                WAYS[way](step),
                X,
                900,
                batch_size=None,
                progress=False,
                on_nonfinite="ignore",
                callbacks=more,
                **options,
            )
            assert history.stopped == "loss is -inf in epoch 40"
            assert history.epochs == 40
            assert len(history["loss"]) == 40
            states.append((weight.item(), tg.default_generator.counter.item(), str(options)))
    assert states[:3] == states[3:]
    assert all(value == 0 for value, _, _ in states)


def test_terminate_on_nan_of_one_column() -> None:
    step = tg.jit(lambda x: {"loss": x.sum(), "best": float("inf")})
    stop = callbacks.TerminateOnNaN("loss")
    assert tg.fit(step, X, 5, progress=False, on_nonfinite="ignore", callbacks=[stop]).epochs == 5


def test_nan_in_the_data_is_named_at_the_door() -> None:
    x = X.copy()
    x[5, 2] = np.nan
    with pytest.raises(DataError, match="nan in argument 0 of the data, row 5, column 2"):
        tg.fit(lambda x: x.sum(), x)
    sequences = [X[:3], X[3:5], x[4:7]]
    with pytest.raises(DataError, match="argument 0 of the data, sequence 2, row 1, column 2"):
        tg.fit(lambda x: x.sum(), sequences)


@pytest.mark.parametrize("way", WAYS)
def test_labels_in_another_order(way: str) -> None:
    """A label that is there once is found wherever the step put it, and one that is there twice is not guessed."""
    step = WAYS[way](lambda x, y: F.cross_entropy(x.flip(0).reshape(-1, 6)[:, :CLASSES], y.flip(0)))
    labels = np.zeros(N, np.int64)
    labels[BAD] = 9
    with pytest.raises(IndexOutOfRange, match=rf"label 9 in row {BAD} \(epoch 1, batch \d\)"):
        tg.fit(step, (np.zeros((N, 6)), labels), batch_size=5, progress=False, seed=0)


def test_a_label_that_is_there_twice_is_not_guessed() -> None:
    labels = np.array([0, 9, 9, 1])
    with pytest.raises(IndexOutOfRange, match=r"label 9 at position \[1\] \(epoch 1, batch 0\)"):
        tg.fit(lambda x, y: F.cross_entropy(x, y.flip(0)), (np.zeros((4, CLASSES)), labels), shuffle=False)


def test_a_part_of_a_row_has_no_column() -> None:
    """Its columns are not those of the data."""
    words = np.zeros((6, 5), np.int64)
    words[4, 3] = 7
    table = tg.zeros(3, 2)
    with pytest.raises(IndexOutOfRange, match=r"\[embedding\] got index 7 in row 4 \(epoch 1, batch 0\)"):
        tg.fit(lambda x: F.embedding(x[:, 2:], table).mean(), words, shuffle=False, progress=False)


@pytest.mark.parametrize("way", WAYS)
def test_the_row_of_a_model_that_needs_two_samples(way: str) -> None:
    """A batch of one has no variance; the number that all rows made together says nothing of them."""
    model = nn.BatchNorm1d(2, dtype=tg.float64)
    y = np.ones(N)
    y[BAD] = 0.0
    step = WAYS[way](lambda x, y: model(x).mean() / y.prod())
    with pytest.raises(NonFiniteError, match=rf"row {BAD} of the data: div made"):
        tg.fit(step, (X[:, :2], y), batch_size=4, progress=False, seed=0, on_nonfinite="raise")


@pytest.mark.parametrize("way", WAYS)
def test_the_value_is_that_of_the_batch(way: str) -> None:
    """Not the mean of the epoch, in which an infinity goes on to become NaN."""
    y = np.ones(N)
    y[BAD] = 0.0
    one = work(lambda s, y: s.mean() * 0 + y.log().mean(), way == "native")
    with pytest.raises(NonFiniteError, match=rf"\[fit\] got loss -inf in epoch 1, batch \d, row {BAD}") as caught:
        tg.fit(one.step, (X, y), batch_size=4, progress=False, seed=0, on_nonfinite="raise")
    nonfinite = caught.value.history.nonfinite
    assert nonfinite["value"] == -np.inf
    assert nonfinite["batch"] == caught.value.batch


@pytest.mark.parametrize("wrap", [lambda f: f, tg.jit])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("embedding", lambda index: F.embedding(index, tg.ones(3, 2))),
        ("index_select", lambda index: tg.ones(3, 2).index_select(0, index)),
        ("take", lambda index: tg.ones(3).take(index)),
        ("index_add", lambda index: tg.ones(3).index_add(0, index, tg.ones(1))),
    ],
)
def test_an_index_that_is_no_integer_is_reported_by_the_function_that_was_called(
    name: str, call: Callable[..., Any], wrap: Callable[..., Any]
) -> None:
    with pytest.raises(DTypeError, match=rf"\[{name}\] got an index of dtype float32"):
        wrap(call)(tg.tensor([0.5]))


def test_a_bad_weight_of_a_sample_is_called_so() -> None:
    with pytest.raises(DataError, match=r"\[fit\] got nan in sample_weight, row 2 "):
        tg.fit(lambda x, w: (x * w).sum(), X[:3, 0], sample_weight=[1.0, 2.0, np.nan], progress=False)
