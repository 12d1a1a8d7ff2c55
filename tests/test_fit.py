"""fit: batches, order, evaluation, weights, callbacks, interruption, and the same bits whatever looks on."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.compiler.pressing import press_ctrl_c
from tinygrad_nn import callbacks, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.errors import ConfigError, DataError, ShapeError
from tinygrad_nn.fitting import orders as orders_module
from tinygrad_nn.fitting.orders import orders
from tinygrad_nn.random import Generator

X = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 0.5], np.float32)).reshape(-1, 1)


def setup(lr: float = 0.1) -> tuple[nn.Module, Any]:
    tg.manual_seed(0)
    model = nn.Linear(3, 1)
    opt = optim.SGD(model.parameters(), lr=lr)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return model, step


def spy() -> tuple[list[Any], Any]:
    seen: list[Any] = []

    def step(*batch: tg.Tensor) -> float:
        seen.append([part.tolist() for part in batch])
        return float(batch[0].shape[0])

    return seen, step


def test_it_trains() -> None:
    _, step = setup()
    history = tg.fit(step, (X, Y), epochs=60, batch_size=4, seed=1, progress=False)
    assert history["loss"].shape == (60,)
    assert history["loss"][-1] < 1e-3 < history["loss"][0]


def test_short_last_batch_and_order() -> None:
    seen, step = spy()
    history = tg.fit(step, np.arange(7), epochs=1, batch_size=3, shuffle=False, progress=False)
    assert seen == [[[0, 1, 2]], [[3, 4, 5]], [[6]]]
    assert history["loss"].tolist() == [pytest.approx((3 * 3 + 3 * 3 + 1) / 7)]


def test_shuffle_is_a_function_of_the_seed() -> None:
    orders = []
    for seed in (1, 1, 2):
        seen, step = spy()
        tg.fit(step, np.arange(20), epochs=2, batch_size=20, seed=seed, progress=False)
        orders.append(seen)
        assert sorted(seen[0][0]) == list(range(20))
        assert seen[0] != seen[1]
    assert orders[0] == orders[1] != orders[2]


def test_what_looks_on_changes_no_bit(capsys: pytest.CaptureFixture[str]) -> None:
    weights = []
    for options in (
        {"progress": False},
        {"progress": True},
        {"progress": False, "evaluate": lambda: {"r": 1.0}, "eval_every": 3},
        {"progress": False, "callbacks": [lambda run, logs: None, callbacks.LogLines()]},
    ):
        model, step = setup()
        tg.fit(step, (X, Y), epochs=5, batch_size=4, seed=3, **options)  # type: ignore[arg-type]
        weights.append(model.weight.tolist())
    assert all(w == weights[0] for w in weights)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "epoch" in captured.err


def test_evaluation_rhythm() -> None:
    model, step = setup()
    calls = []

    def scores() -> dict[str, Any]:
        calls.append(model(tg.tensor(X)).requires_grad)
        return {"acc": tg.tensor(0.5), "n": 3}

    history = tg.fit(step, (X, Y), epochs=7, evaluate=scores, eval_every=3, progress=False)
    assert calls == [False] * 3
    assert history.evaluated == [3, 6, 7]
    assert history["acc"].tolist() == [0.5] * 3
    assert [row["acc"] for row in history.rows()] == [None, None, 0.5, None, None, 0.5, 0.5]


def test_data_of_every_kind() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    seen, step = spy()
    tg.fit(step, (frame, tg.tensor([1, 2]), [[1.0], [2.0]]), shuffle=False, progress=False)
    assert seen == [[[[1.0, 3.0], [2.0, 4.0]], [1, 2], [[1.0], [2.0]]]]
    seen, step = spy()
    tg.fit(step, ([[[1.0], [2.0]], [[3.0]]],), batch_size=1, shuffle=False, progress=False)
    assert seen == [[[[[1.0], [2.0]]]], [[[[3.0]]]]]


def test_weights() -> None:
    seen, step = spy()
    labels = np.array([0, 1, 1, 1])
    tg.fit(step, (X[:4], labels), class_weight="balanced", shuffle=False, progress=False)
    np.testing.assert_allclose(seen[0][2], [2.0, 2 / 3, 2 / 3, 2 / 3], rtol=1e-6)
    seen, step = spy()
    tg.fit(
        step, (X[:4], labels), class_weight={0: 2.0, 1: 1.0}, sample_weight=[1, 2, 3, 4], shuffle=False, progress=False
    )
    assert seen[0][2] == [2.0, 2.0, 3.0, 4.0]


def test_early_stopping_restores_the_best() -> None:
    model, _ = setup()
    values = iter([3.0, 1.0, 2.0, 2.0, 2.0, 0.0])
    kept = []

    def step(x: tg.Tensor) -> float:
        with tg.no_grad():
            model.weight.assign(model.weight + 1)
        kept.append(model.weight.tolist())
        return next(values)

    stopping = callbacks.EarlyStopping(model, patience=3)
    history = tg.fit(step, X, epochs=6, progress=False, callbacks=[stopping])
    assert history.epochs == 5
    assert history.stopped == "no better than loss 1 of epoch 2 for 3 epochs"
    assert model.weight.tolist() == kept[1]


def test_schedules_logs_and_json(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, step = setup()
    opt = optim.SGD(model.parameters(), lr=1.0)
    path = tmp_path / "run.jsonl"
    with caplog.at_level(logging.INFO, "tinygrad_nn.fit"):
        tg.fit(
            step,
            (X, Y),
            epochs=4,
            progress=False,
            callbacks=[
                callbacks.Schedule(optim.lr_scheduler.ExponentialLR(opt, 0.5)),
                callbacks.LogLines(every=2),
                callbacks.JsonLines(path),
            ],
        )
    assert opt.param_groups[0]["lr"] == 1 / 16
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["epoch 2", "epoch 4"]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["run"]["epochs"] == 4
    assert [line["epoch"] for line in lines[1:]] == [1, 2, 3, 4]


def test_ctrl_c_returns_the_history_with_whole_parameters() -> None:
    model, step = setup()
    done = []

    def counted(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        loss = step(x, y)
        done.append(1)
        if len(done) == 25:
            signal.raise_signal(signal.SIGINT)
        return loss  # type: ignore[no-any-return]

    history = tg.fit(counted, (X, Y), epochs=100, batch_size=1, progress=False)
    assert len(done) == 25
    assert history.epochs == 2
    assert history.stopped == "interrupted in epoch 3"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert np.isfinite(model.weight.detach().numpy()).all()


def test_a_second_ctrl_c_interrupts() -> None:
    def step(x: tg.Tensor) -> float:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        tg.fit(step, X, progress=False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_from_outside_is_answered_after_the_step(tmp_path: Path) -> None:
    """Each step waits for a line, so that nothing happens between the signal and what it does."""
    script = tmp_path / "run.py"
    script.write_text(
        "import tinygrad_nn as tg, numpy as np, sys\n"
        "def step(x):\n    print('s', flush=True)\n    sys.stdin.readline()\n    return 0.0\n"
        "h = tg.fit(step, np.zeros((10, 1)), epochs=10**6, batch_size=1, progress=False)\n"
        "print('history', h.epochs, h.stopped, flush=True)\n"
    )
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, str(script)], text=True, **pipes) as run:
        assert run.stdout is not None
        assert run.stdin is not None
        for _ in range(25):
            assert run.stdout.readline() == "s\n"
            run.stdin.write("\n")
            run.stdin.flush()
        assert run.stdout.readline() == "s\n"
        os.kill(run.pid, signal.SIGINT)
        rest, _ = run.communicate("\n" * 100)
    assert rest == "history 2 interrupted in epoch 3\n"


def test_in_another_thread_signals_are_left_alone() -> None:
    results: list[Any] = []
    _, step = setup()
    thread = threading.Thread(target=lambda: results.append(tg.fit(step, (X, Y), epochs=2, progress=False)))
    thread.start()
    thread.join()
    assert results[0].epochs == 2


def noop(*batch: Any) -> float:
    return 0.0


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: tg.fit(noop, X, epochs=0), ConfigError, "epochs=0"),
    (lambda: tg.fit(noop, X, epochs=True), ConfigError, "epochs=True"),
    (lambda: tg.fit(noop, X, eval_every=0), ConfigError, "eval_every=0"),
    (
        lambda: tg.fit(noop, X, batch_size=11),
        DataError,
        "batch_size=11 for 10 samples; expected an integer from 1 to 10",
    ),
    (lambda: tg.fit(noop, np.zeros((0, 3))), DataError, "an empty dataset"),
    (lambda: tg.fit(noop, (X, Y[:5])), DataError, r"different lengths \[10, 5\]"),
    (lambda: tg.fit(noop, (np.array([[1.0, np.nan]]),)), DataError, "row 0, column 1"),
    (lambda: tg.fit(noop, (X, np.array(["a"] * 10, object))), DataError, "'a'"),
    (lambda: tg.fit(lambda x: x, X, progress=False), ShapeError, r"Tensor \(10, 3\) as 'loss' from step"),
    (lambda: tg.fit(noop, X, evaluate=lambda: 3, progress=False), DataError, "int from evaluate"),
    (lambda: tg.fit(noop, X, evaluate=lambda: {"loss": 1}, progress=False), DataError, "the name 'loss'"),
    (lambda: tg.fit(noop, X, sample_weight=[1, 2]), DataError, "sample_weight"),
    (lambda: tg.fit(noop, (X, Y[:, 0] > 0), class_weight="fair"), ConfigError, "class_weight 'fair'"),
    (lambda: tg.fit(noop, (X, np.arange(10)), class_weight={0: 1.0}), DataError, "no weight for class 1"),
    (
        lambda: tg.fit(noop, X, progress=False, callbacks=[callbacks.EarlyStopping(monitor="acc")]),
        DataError,
        "the column 'acc' to watch; expected one of 'loss'",
    ),
    (lambda: callbacks.EarlyStopping(mode="best"), ConfigError, "'min' or 'max'"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_misuse_is_named(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_ctrl_c_ends_the_first_native_epoch_before_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long it takes is not known before, so it too runs where it can be stopped."""
    pytest.importorskip("llvmlite")
    w = tg.zeros(10**6, requires_grad=True)  # a batch takes a while, an epoch far longer than anybody looks away
    opt = tg.optim.SGD([w], lr=1.0)

    @tg.jit
    def step(x: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = (x * w - 1).square().mean()
        loss.backward()
        opt.step()
        return loss  # type: ignore[no-any-return]

    press_ctrl_c(monkeypatch)
    history = tg.fit(step, np.ones((10**5, 1), np.float32), batch_size=1, progress=False)
    assert (history.epochs, history.stopped) == (0, "interrupted in epoch 1")
    assert w[0].item() > 0


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("native_scores", [False, True])
def test_scores_are_watched_in_the_epochs_that_have_them(compiled: bool, native_scores: bool) -> None:
    if compiled:
        pytest.importorskip("llvmlite")
    w = tg.zeros(1, requires_grad=True)
    opt = optim.SGD([w], lr=1.0)
    seen: list[float] = []

    def step(x: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        (w * x).sum().backward()
        opt.step()
        return (w * x).sum()

    def scores() -> dict[str, tg.Tensor]:  # smallest after 6 epochs
        if not native_scores:
            seen.append(w.item())
        return {"distance": (w + 6).abs().sum()}

    plan = optim.lr_scheduler.ReduceLROnPlateau(optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0), patience=0)
    stopping = callbacks.EarlyStopping([w], "distance", patience=4)
    history = tg.fit(
        tg.jit(step) if compiled else step,
        [1.0],
        epochs=20,
        evaluate=scores,
        eval_every=3,
        progress=False,
        callbacks=[stopping, callbacks.Schedule(plan, "distance"), callbacks.TerminateOnNaN("distance")],
    )
    assert history["distance"].tolist() == [3.0, 0.0, 3.0, 6.0]
    assert history.stopped == "no better than distance 0 of epoch 6 for 4 epochs"
    assert history.epochs == 12  # not in epoch 10, of which nothing is known
    assert w.tolist() == [-6.0]
    assert plan.optimizer.param_groups[0]["lr"] == pytest.approx(0.01)  # worse in two of the four evaluations


@pytest.mark.parametrize(
    "watcher",
    [
        callbacks.EarlyStopping(monitor="distanc"),
        callbacks.TerminateOnNaN("distanc"),
        callbacks.Schedule(optim.lr_scheduler.ReduceLROnPlateau(optim.SGD([tg.zeros(1)], lr=1.0)), "distanc"),
    ],
)
def test_a_column_that_no_evaluation_has_is_named_after_the_first(watcher: Any) -> None:
    ran = []
    with pytest.raises(DataError, match=r"got the column 'distanc' to watch; expected one of 'loss', 'distance'"):
        tg.fit(
            lambda x: ran.append(1) or x.sum(),
            [1.0],
            epochs=5,
            evaluate=lambda: {"distance": 1.0},
            eval_every=3,
            progress=False,
            callbacks=[watcher],
        )
    assert len(ran) == 3


def test_a_line_that_was_cut_off_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"run": {}}\n{"epoch": 1, "loss": 2.0}\n{"epoch": 2, "lo')
    tg.fit(lambda x: x.sum(), [1.0], progress=False, callbacks=[callbacks.JsonLines(path)])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.get("epoch") for line in lines] == [None, 1, None, 1]
    assert lines[1]["loss"] == 2.0


@pytest.mark.parametrize("samples", [1, 2, 7, 1437])
def test_orders_of_many_epochs_are_those_of_randperm(samples: int) -> None:
    """Drawn in calls of any size, for the first time and again."""
    for _ in range(2):
        one, many = Generator(5), Generator(5)
        wanted = [tg.randperm(samples, generator=one).tolist() for _ in range(60)]
        found = [order.tolist() for count in (1, 50, 9) for order in orders(samples, many, count)]
        assert found == wanted
        assert many.get_state().tolist() == one.get_state().tolist()


def test_orders_that_are_kept_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders_module, "KEPT", 40)
    monkeypatch.setattr(orders_module, "_known", OrderedDict())
    list(orders(7, Generator(1), 30))
    assert len(orders_module._known) == 5
