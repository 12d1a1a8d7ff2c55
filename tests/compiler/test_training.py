"""Native fit against the eager loop, on the three models with their real data."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.compiler.pressing import press_ctrl_c
from tests.compiler.works import Work, X, Y, bits, classifier, equal, fraud, iris, small, state, titanic
from tinygrad_nn import callbacks, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.compiler.lower import training_loop as epochs_module
from tinygrad_nn.compiler.run import traces
from tinygrad_nn.compiler.run.training import Training
from tinygrad_nn.errors import DataError, IndexOutOfRange, TraceError

EXACT = {"float64": 1e-9, "float32": 1e-4}


CASES: list[tuple[Any, str, dict[str, Any]]] = [
    (titanic, "full", {"shuffle": False}),
    (titanic, "full shuffled", {}),
    (iris, "32", {"batch_size": 32}),
    (iris, "32 in order", {"batch_size": 32, "shuffle": False, "eval_every": 7}),
    (fraud, "1", {"batch_size": 1}),
    (fraud, "10", {"batch_size": 10}),
]


@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize(
    ("make", "name", "options"), CASES, ids=lambda v: getattr(v, "__name__", v) if not isinstance(v, dict) else ""
)
def test_the_three_models(make: Any, name: str, options: dict[str, Any], dtype: str, shared_data: Path) -> None:
    epochs = 100 if make is not fraud else 20 if options["batch_size"] == 1 else 100
    native, eager = make(shared_data, dtype), make(shared_data, dtype)
    found, wanted = native.fit(True, epochs, **options), eager.fit(False, epochs, **options)
    assert "compile" in found.metadata
    assert "compile" not in wanted.metadata
    assert list(found) == list(wanted)
    assert (found.epochs, found.evaluated, found.stopped) == (wanted.epochs, wanted.evaluated, wanted.stopped)
    for column in wanted:
        if column.endswith("acc"):
            # an accuracy is a share of samples: it is equal, or a sample lies on the boundary to rounding
            np.testing.assert_allclose(found[column], wanted[column], atol=1e-12 if dtype == "float64" else 0.034)
        else:
            np.testing.assert_allclose(found[column], wanted[column], rtol=EXACT[dtype])
    for a, b in zip(state(native), state(eager), strict=True):
        np.testing.assert_allclose(a, b, rtol=EXACT[dtype], atol=EXACT[dtype] * max(1e-3, float(np.abs(b).max())))


@pytest.mark.parametrize("batch", [None, 1, 4, 5, 11, 22])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_rest_of_a_batch(batch: int | None, shuffle: bool) -> None:
    native, eager = small(), small()
    for work, compiled in ((native, True), (eager, False)):
        work.history = work.fit(compiled, 7, batch_size=batch, shuffle=shuffle)  # type: ignore[attr-defined]
    equal(native, eager)


@pytest.mark.parametrize("ranked", [0, 2048], ids=["by Python", "native"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_seeds_and_generators(dropout: float, ranked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a seed the order comes from the default generator, which then stands where eager leaves it."""
    monkeypatch.setattr(traces, "RANKED", ranked)
    after = []
    for compiled in (True, False):
        work = small(dropout)
        tg.manual_seed(8)
        history = work.fit(compiled, 6, batch_size=4, seed=None)
        after.append((history["loss"], tg.random.default_generator.get_state().tolist()))
    np.testing.assert_allclose(after[0][0], after[1][0], rtol=1e-10)
    assert after[0][1] == after[1][1]
    losses = [small().fit(True, 3, batch_size=4, seed=seed)["loss"].tolist() for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("seed", [None, 4])
def test_dropout_draws_the_same_bits(seed: int | None) -> None:
    native, eager = small(0.4), small(0.4)
    counters = []
    for work, compiled in ((native, True), (eager, False)):
        tg.manual_seed(1)
        work.fit(compiled, 5, batch_size=4, seed=seed)
        counters.append(tg.random.default_generator.get_state().tolist())
    assert counters[0] == counters[1]
    equal(native, eager)


@pytest.mark.parametrize("options", [{"sample_weight": np.arange(22.0)}, {"class_weight": "balanced"}])
def test_weights(options: Any) -> None:
    runs = []
    for compiled in (True, False):
        work = small()
        work.data = (X, (Y > 0).astype(np.int64))
        runs.append((work, work.fit(compiled, 5, batch_size=5, **options)))
    np.testing.assert_allclose(runs[0][1]["loss"], runs[1][1]["loss"], rtol=1e-5)


def test_an_evaluation_that_reads_values_is_run_by_python() -> None:
    seen: dict[bool, list[float]] = {True: [], False: []}
    histories = []
    for compiled in (True, False):
        work = small()

        def scores(work: Work = work, compiled: bool = compiled) -> dict[str, float]:
            value = float(work.model(tg.tensor(X)).mean())
            seen[compiled].append(value)
            return {"mean": value}

        work.scores = scores
        histories.append(work.fit(compiled, 11, batch_size=4, eval_every=4))
    assert histories[0].evaluated == histories[1].evaluated == [4, 8, 11]
    np.testing.assert_allclose(seen[True], seen[False], rtol=1e-9)
    np.testing.assert_allclose(histories[0]["mean"], histories[1]["mean"], rtol=1e-9)


def test_an_evaluation_in_eval_mode() -> None:
    runs = []
    for compiled in (True, False):
        work = small(0.5)
        x, y = tg.tensor(X), tg.tensor(Y)

        def scores(work: Work = work, x: tg.Tensor = x, y: tg.Tensor = y) -> dict[str, tg.Tensor]:
            work.model.eval()
            value = F.mse_loss(work.model(x), y)
            work.model.train()
            return {"test_loss": value}

        work.scores = scores
        tg.manual_seed(2)
        runs.append(work.fit(compiled, 9, batch_size=4, eval_every=2))
    for column in ("loss", "test_loss"):
        np.testing.assert_allclose(runs[0][column], runs[1][column], rtol=1e-9)


@pytest.mark.parametrize("ranked", [0, 2048], ids=["by Python", "native"])
def test_an_evaluation_that_changes_state(ranked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the best weights, counts, adds to a tensor of the step, and draws from the generator of the order."""
    monkeypatch.setattr(traces, "RANKED", ranked)
    runs = []
    for compiled in (True, False):
        work = small()
        x, y = tg.tensor(X), tg.tensor(Y)
        best, seen = tg.tensor(np.inf, dtype=x.dtype), tg.tensor(0)
        weights = list(work.model.parameters())
        kept = [weight.detach().clone() for weight in weights]

        def scores(
            work: Work = work,
            x: Any = x,
            y: Any = y,
            best: Any = best,
            seen: Any = seen,
            weights: Any = weights,
            kept: Any = kept,
        ) -> dict[str, Any]:
            value = F.mse_loss(work.model(x), y) * (0.5 + tg.rand((), dtype=x.dtype))
            for weight, copy in zip(weights, kept, strict=True):
                copy.assign(weight.detach().where(value < best, copy))
            weights[0].assign(weights[0] * 0.999)
            best.assign(best.minimum(value))
            seen.assign(seen + 1)
            return {"value": value, "seen": seen}

        work.scores = scores
        tg.manual_seed(2)
        work.step = tg.jit(work.step) if compiled else work.step
        history = work.fit(False, 11, batch_size=4, eval_every=3, seed=None)
        left = [tensor.numpy() for tensor in (best, seen, *kept)]
        runs.append((work, history, left, tg.random.default_generator.get_state().tolist()))
    (native, found, left, drawn), (eager, wanted, expected, also) = runs
    training: Any = native.step
    assert training.runs[0][1].evaluates
    assert found["seen"].tolist() == wanted["seen"].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(found["value"], wanted["value"], rtol=1e-9)
    for one, other in zip(left, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    assert drawn == also
    equal(native, eager)


# ---- state ----------------------------------------------------------------------------------------------------------


def test_training_goes_on_where_it_was() -> None:
    """fit after fit, eager after native, a jitted call in between: state is one thing."""
    native, eager = small(), small()
    step = tg.jit(native.step)
    for work, run in ((native, step), (eager, eager.step)):
        tg.fit(run, work.data, 3, batch_size=4, seed=1, progress=False)
        run(tg.tensor(X[:5]), tg.tensor(Y[:5]))
        tg.fit(run, work.data, 3, batch_size=6, seed=2, progress=False)
        work.step(tg.tensor(X[:5]), tg.tensor(Y[:5]))
        tg.fit(run, work.data, 2, shuffle=False, progress=False)
    equal(native, eager)
    assert native.model[0].weight.grad is None


def test_gradients_that_are_not_cleared_add_up() -> None:
    found = []
    for wrap in (tg.jit, lambda step: step):
        p = tg.tensor([1.0], dtype=tg.float64, requires_grad=True)
        opt = optim.SGD([p], lr=0.01)

        def step(x: tg.Tensor, p: tg.Tensor = p, opt: Any = opt) -> tg.Tensor:
            loss = ((p * x) ** 2).mean()
            loss.backward()
            opt.step()
            return loss

        history = tg.fit(wrap(step), X[:7, 0], 5, batch_size=2, seed=1, progress=False)
        assert p.grad is not None
        found.append([*history["loss"], p.item(), p.grad.item()])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)


@pytest.mark.parametrize("evaluated", [False, True])
def test_the_size_of_a_chunk_changes_no_bit(evaluated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for capacity in (1, 3, 4096):
        monkeypatch.setattr(epochs_module, "CAPACITY", capacity)
        work = small(0.3)
        x, y = tg.tensor(X), tg.tensor(Y)
        if evaluated:
            work.scores = lambda work=work, x=x, y=y: {"s": F.mse_loss(work.model[0](x)[:, :1], y)}  # type: ignore[misc]
        tg.manual_seed(1)
        history = work.fit(True, 50, batch_size=4, eval_every=4)
        found.append((bits(work), *(history[name].tobytes() for name in history)))
    assert found[0] == found[1] == found[2]


def test_what_looks_on_changes_no_bit(capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for options in (
        {},
        {"callbacks": [lambda run, logs: None]},
        {"callbacks": [callbacks.LogLines(level=logging.DEBUG)]},
        {"eval_every": 3},
    ):
        work = small()
        if "eval_every" in options:
            held = tg.tensor(X)
            work.scores = lambda work=work, held=held: {"s": work.model(held).mean()}  # type: ignore[misc]
        work.fit(True, 20, batch_size=4, **options)  # type: ignore[arg-type]
        found.append(bits(work))
    assert all(one == found[0] for one in found)


# ---- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "bad"), [(4, 17), (4, 21), (22, 9), (1, 3)])
def test_a_label_out_of_range_names_its_place(batch: int, bad: int) -> None:
    """Batch 1 is legal, a later one is not: everything is as before that batch."""
    native, eager = classifier(), classifier()
    labels = native.data[1].copy()
    labels[bad] = 7
    native.data = eager.data = (X, labels)
    where = rf"label 7 in row {bad} \(epoch 1, batch {bad // batch}\); expected 0 <= label < 4"
    with pytest.raises(IndexOutOfRange, match=where):
        native.fit(True, 5, batch_size=batch, shuffle=False)
    with pytest.raises(IndexOutOfRange, match=where):
        eager.fit(False, 5, batch_size=batch, shuffle=False)
    equal(native, eager)
    assert all(np.isfinite(part).all() for part in state(native))
    native.data = (X, np.arange(22) % 4)
    assert native.fit(True, 2).epochs == 2


def test_a_label_out_of_range_in_a_shuffled_set() -> None:
    native, eager = classifier(), classifier()
    labels = native.data[1].copy()
    labels[13] = -5
    native.data = eager.data = (X, labels)
    with pytest.raises(IndexOutOfRange, match=r"label -5 in row 13 \(epoch 1, batch \d\)"):
        native.fit(True, 5, batch_size=4)
    with pytest.raises(IndexOutOfRange, match=r"label -5 in row 13 \(epoch 1, batch \d\)"):
        eager.fit(False, 5, batch_size=4)
    equal(native, eager)


WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: tg.fit(tg.jit(lambda x: x), X, progress=False), TraceError, "'loss' from step of shape"),
    (lambda: tg.fit(tg.jit(lambda x: [x.sum()]), X, progress=False), TraceError, "list from step"),
    (lambda: tg.fit(tg.jit(lambda x: float(x.sum())), X, progress=False), TraceError, "a read of the traced value"),
    (
        lambda: tg.fit(tg.jit(lambda x: x.sum()), X, progress=False, evaluate=lambda: {"loss": tg.ones(())}),
        DataError,
        "the name 'loss'",
    ),
    (lambda: tg.fit(tg.jit(lambda x: x.sum()), X, progress=False, evaluate=lambda: 3), DataError, "int from evaluate"),
    (lambda: tg.fit(tg.jit(lambda x: x.sum()), X, batch_size=99, progress=False), DataError, "batch_size=99"),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_misuse_is_named(call: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("rows", [200, 200_000], ids=["short epochs", "long epochs"])
def test_ctrl_c_returns_the_history_with_whole_parameters(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unanswered, it would go on for days."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(rows, 3)), generator.normal(size=(rows, 1))
    work = small(lr=1e-6)
    work.data = (x, y)
    press_ctrl_c(monkeypatch)
    history = work.fit(True, 10**8, batch_size=10, shuffle=False)
    assert history.stopped == f"interrupted in epoch {history.epochs + 1}"
    assert len(history["loss"]) == history.epochs
    assert all(np.isfinite(part).all() for part in state(work))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread() -> None:
    native, eager = small(), small()
    thread = threading.Thread(target=lambda: native.fit(True, 5, batch_size=4))
    thread.start()
    thread.join()
    eager.fit(False, 5, batch_size=4)
    equal(native, eager)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc/self/statm to read memory from")
def test_memory_does_not_grow() -> None:
    work = small()
    training = Training(tg.jit(work.step), [(X, Y)], 4, None, False)

    def run(calls: int) -> None:
        for _ in range(calls):
            training.run(50, 1, [False] * 50, 0.0, lambda: False)
            float(work.model[0].weight.sum())

    run(200)
    before = resident()
    run(2000)
    assert resident() - before < 2**20


@pytest.mark.parametrize("steps", [5, 90])  # written out, and a loop
@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_short_last_batch_of_sequences_runs_the_same_kernels(layer: Any, steps: int) -> None:
    rng = np.random.default_rng(0)

    def work(jit: bool, samples: int) -> tuple[list[Any], int]:
        tg.manual_seed(0)
        net, out = layer(3, 5, batch_first=True, dtype=tg.float64), nn.Linear(5, 1, dtype=tg.float64)
        opt = optim.SGD([*net.parameters(), *out.parameters()], lr=0.1)

        def step(x: Any, y: Any) -> Any:
            opt.zero_grad()
            loss = F.mse_loss(out(net(x)[0]), y)
            loss.backward()
            opt.step()
            return loss

        made: Any = tg.jit(step) if jit else step
        data = x[:samples], y[:samples]
        history = tg.fit(made, data, epochs=2, batch_size=4, seed=1, progress=False)
        values = [history["loss"], *(p.detach().numpy() for p in net.parameters())]
        return values, len(made.runs[0][1].stages.schedule.program.kernels) if jit else 0

    x, y = rng.standard_normal((10, steps, 3)), rng.standard_normal((10, steps, 1))
    (found, count), (wanted, _) = work(True, 10), work(False, 10)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    assert count < 1.1 * work(True, 8)[1]


def test_temporaries_of_another_dtype_lie_elsewhere() -> None:
    """Padding of a vector keeps what was there before; an integer, read as a float, would be subnormal and slow."""
    tg.manual_seed(0)
    model = nn.RNN(5, 10, batch_first=True)
    opt = optim.SGD(model.parameters(), lr=0.1)

    def step(x: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = (model(x)[0] ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    x = np.random.default_rng(0).normal(size=(60, 3, 5)).astype(np.float32)
    native = tg.jit(step)
    tg.fit(native, (x,), 1, batch_size=1, seed=3, progress=False)  # the order is made natively, with integers
    schedule = native.runs[0][1].stages.schedule
    places = [
        (buffer.dtype, at, at + schedule.layouts[buffer].size * buffer.dtype.itemsize)
        for buffer, at in schedule.offsets.items()
        if buffer.role == "temporary" and buffer.base is None
    ]
    assert len({dtype for dtype, *_ in places}) >= 3
    for k, (dtype, start, stop) in enumerate(places):
        for other, begin, end in places[:k]:
            assert dtype == other or stop <= begin or end <= start
