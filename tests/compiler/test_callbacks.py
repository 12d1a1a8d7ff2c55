"""Callbacks of a native run: they hear what those of the eager loop hear, and may do what those may."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.compiler.works import Work, X, Y, equal, small
from tinygrad_nn import callbacks, optim
from tinygrad_nn import functional as F


def test_a_function_is_called_after_every_epoch() -> None:
    calls: dict[bool, list[Any]] = {True: [], False: []}
    for compiled in (True, False):
        work = small()
        work.scores = lambda work=work: {"norm": work.model[0].weight.abs().sum()}  # type: ignore[misc]

        def look(run: Any, logs: Any, work: Work = work, compiled: bool = compiled) -> None:
            calls[compiled].append((run.epoch, run.history.epochs, *logs.values(), work.model[0].weight.sum().item()))

        work.fit(compiled, 6, batch_size=4, eval_every=2, callbacks=[look])
    assert [len(call) for call in calls[True]] == [len(call) for call in calls[False]]
    for a, b in zip(calls[True], calls[False], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_lines_are_those_of_the_eager_loop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Callbacks that only look at logs hear of many epochs at a time, and say the same."""
    lines, files = {}, {}
    for compiled in (True, False):
        caplog.clear()
        work, path = small(), tmp_path / f"{compiled}.jsonl"
        held, truth = tg.tensor(X), tg.tensor(Y)
        work.scores = lambda work=work, held=held, truth=truth: {"test": F.mse_loss(work.model(held), truth)}  # type: ignore[misc]
        with caplog.at_level(logging.INFO, "tinygrad_nn.fit"):
            work.fit(
                compiled,
                40,
                batch_size=4,
                eval_every=3,
                callbacks=[callbacks.LogLines(every=3), callbacks.JsonLines(path)],
            )
        lines[compiled] = [record.getMessage() for record in caplog.records]
        files[compiled] = [json.loads(line) for line in path.read_text().splitlines()][1:]
    assert lines[True] == lines[False]
    assert len(files[True]) == 40
    for a, b in zip(files[True], files[False], strict=True):
        assert a.keys() == b.keys()
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-9)


def test_early_stopping_restores_the_best() -> None:
    runs = []
    for compiled in (True, False):
        work = small(lr=0.6)
        stopping = callbacks.EarlyStopping(work.model, patience=4)
        history = work.fit(compiled, 200, batch_size=3, callbacks=[stopping])
        runs.append((work, history, stopping))
    (native, found, own), (eager, wanted, other) = runs
    assert found.stopped is not None
    assert (found.epochs, own.best_epoch) == (wanted.epochs, other.best_epoch)
    assert found.epochs < 200
    for a, b, kept in zip(native.model.parameters(), eager.model.parameters(), own.kept, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-7)
        assert a.tolist() == kept.tolist()


def test_a_schedule_changes_the_rate_from_the_next_epoch_on() -> None:
    runs = []
    for compiled in (True, False):
        work = small()
        schedule = callbacks.Schedule(optim.lr_scheduler.ExponentialLR(work.opt, 0.5))
        runs.append((work, work.fit(compiled, 8, batch_size=4, callbacks=[schedule])))
    np.testing.assert_allclose(runs[0][1]["loss"], runs[1][1]["loss"], rtol=1e-10)
    equal(runs[0][0], runs[1][0])
    assert runs[0][0].opt.param_groups[0]["lr"] == 0.05 * 0.5**8


def test_a_callback_may_change_parameters() -> None:
    runs = []
    for compiled in (True, False):
        work = small()

        def halve(run: Any, logs: Any, work: Work = work) -> None:
            with tg.no_grad():
                work.model[0].weight.assign(work.model[0].weight * 0.5)

        runs.append(work.fit(compiled, 5, batch_size=4, callbacks=[halve])["loss"])
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-10)


def test_an_error_in_a_callback_leaves_whole_parameters() -> None:
    work, eager = small(), small()

    def fail(run: Any, logs: Any) -> None:
        if run.epoch == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work.fit(True, 10, batch_size=4, callbacks=[fail])
    eager.fit(False, 3, batch_size=4)
    equal(work, eager)
