"""What objects show of themselves, in a terminal and in a notebook; and the word before a long compilation."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import callbacks, config, data, nn, optim
from tinygrad_nn.compiler import notice
from tinygrad_nn.history import History
from tinygrad_nn.support.tables import html_table, text_table

ROOT = Path(__file__).parents[1]


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


# ---- tables


def test_tables() -> None:
    rows = [("name", "size"), ("a", "1,000"), ("long name", "")]
    assert text_table(rows) == "name        size\n----------------\na          1,000\nlong name"
    assert text_table(rows, (0, 1)).splitlines()[2] == "a          1,000"
    assert html_table([("<i>",), ("a & b",)]) == "<table><tr><th>&lt;i&gt;</th></tr><tr><td>a &amp; b</td></tr></table>"


# ---- History


def history(epochs: int, every: int = 1) -> History:
    made = History({"seconds": 1.5, "compile": {"trace": 0.25, "lower": 0.25, "machine": 0.5, "cached": False}})
    for k in range(epochs):
        made.log_epoch({"loss": abs(k - 4) + 0.5, "lr": 0.1})
        if (k + 1) % every == 0:
            made.log_evaluation({"test_acc": k / 100})
    return made


def test_a_history_says_what_happened() -> None:
    made = history(10, every=5)
    made.stopped = "interrupted in epoch 11"
    first, header, rule, *lines = repr(made).splitlines()
    assert first == "History: 10 epochs in 1.5 s, 1 s of it compiling; ended: interrupted in epoch 11"
    assert cells(header) == ["epoch", "loss", "lr", "test_acc"]
    assert set(rule) == {"-"}
    assert [cells(line)[0] for line in lines] == ["1", "2", "3", "4", "...", "7", "8", "9", "10", "best", "in epoch"]
    assert cells(lines[0]) == ["1", "4.5", "0.1"]  # not evaluated
    assert cells(lines[8]) == ["10", "5.5", "0.1", "0.09"]
    assert cells(lines[9]) == ["best", "0.5", "0.09"]  # of a learning rate nobody knows what is best
    assert cells(lines[10]) == ["in epoch", "5", "10"]
    assert made._repr_html_().count("<tr>") == 12


def test_short_histories_are_shown_whole() -> None:
    assert repr(History()) == "History: 0 epochs"
    assert History()._repr_html_().count("table") == 0
    assert len(repr(history(1)).splitlines()) == 4
    assert "..." not in repr(history(9))
    assert repr(history(1)).startswith("History: 1 epoch in")


def test_best_values() -> None:
    made = History()
    made.log_epochs({"loss": [3.0, math.nan, 1.0, 2.0], "val_F1": [0.1, 0.4, 0.3, 0.4], "tp": [1.0, 2.0, 3.0, 4.0]})
    made.log_evaluations([2, 4], {"test_mae": [0.2, 0.5], "bad_loss": [math.nan, math.nan]})
    assert made.best() == {"loss": (1.0, 3), "val_F1": (0.4, 2), "test_mae": (0.2, 2)}
    assert "nan" in repr(made)


def test_many_columns_and_many_epochs() -> None:
    made = History()
    made.log_epochs({f"a_long_name_of_a_column_{k}": list(range(10**5)) for k in range(9)})
    *lines, rest = repr(made).splitlines()
    assert max(map(len, lines)) <= 100
    assert rest.startswith("and a_long_name_of_a_column_")
    assert rest.endswith("column_8")
    assert "99,999" in repr(made)


# ---- compiled functions


def test_a_jitted_function_shows_what_it_was_compiled_for() -> None:
    @tg.jit
    def scaled(x: Any, by: int = 2) -> Any:
        return x * by

    line = scaled.function.__code__.co_firstlineno
    assert re.fullmatch(
        rf"tg.jit: scaled\(x: 'Any', by: 'int' = 2\) -> 'Any' at \S*test_shown.py:{line}, not called yet", repr(scaled)
    )
    scaled(tg.ones(2, 3))
    with tg.no_grad():
        scaled(tg.ones(3, dtype=tg.float64), by=4)
    first, header, _, one, two = repr(scaled).splitlines()
    assert first.endswith("traced 2 times")
    assert cells(header) == ["arguments", "nodes", "kernels", "arena", "trace", "compile"]
    assert cells(one)[0] == "float32[2, 3]"
    assert cells(two)[0] == "float64[3], 4; no_grad"
    assert re.fullmatch(r"[\d,]+ ms( \(cached\))?", cells(two)[-1])
    assert scaled._repr_html_().count("<tr>") == 3


def test_code_from_the_cache_says_so() -> None:
    def f(x: Any) -> Any:
        return (x * 1.2345).exp().sum()

    first, second = tg.jit(f), tg.jit(f)
    first(tg.ones(7))
    second(tg.ones(7))
    assert "(cached)" not in repr(first)
    assert repr(second).endswith("(cached)")


@pytest.mark.parametrize("function", [np.sum, nn.Linear(2, 3), max, len])
def test_whatever_is_jitted_shows_itself(function: Any) -> None:
    assert repr(tg.jit(function)).startswith("tg.jit: ")
    assert tg.jit(function)._repr_html_().startswith("<p")


def test_a_fit_shows_itself() -> None:
    w = tg.zeros(1, requires_grad=True)
    opt = optim.SGD([w], lr=0.5)

    @tg.jit
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = ((x - w) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    seen: list[str] = []
    made = tg.fit(step, np.ones(6, np.float32), epochs=2, batch_size=4, progress=False, shuffle=False,
                  callbacks=[lambda run, logs: seen.append(repr(run) + run._repr_html_())])  # fmt: skip
    assert seen[0].startswith(f"Fit: epoch 1 of 2, loss {made['loss'][0]:.5g}<p")
    first, fit = repr(step).splitlines()
    assert first.endswith("called by fit alone")
    assert re.fullmatch(r"fit: 6 samples in batches of 4, \d+ kernels, [\d,]+ B, compile \d+ ms( \(cached\))?", fit)
    tg.fit(step, np.ones(6, np.float32), epochs=2, batch_size=4, progress=False, shuffle=False)
    assert repr(step).endswith("compile ready")


def test_an_explanation_is_a_table() -> None:
    found = tg.explain(tg.jit(lambda x: x.exp().sum()), tg.ones(100))
    assert repr(found) == str(found)
    assert repr(found).splitlines()[0].split()[0] == "kernel"
    assert found._repr_html_().startswith("<table><tr><th>kernel</th>")


# ---- the rest


def test_small_objects() -> None:
    generator = tg.Generator(7)
    assert repr(generator) == "Generator(seed=7, counter=0)"
    tg.rand(8, generator=generator)
    assert repr(generator) == "Generator(seed=7, counter=2)"
    opt = optim.Adam(nn.Linear(2, 3).parameters(), lr=0.1)
    assert "<td>9 in 2 tensors</td><td>0.1</td><td>(0.9, 0.999)</td>" in opt._repr_html_()
    schedule = optim.lr_scheduler.StepLR(opt, 2)
    assert repr(schedule) == "StepLR(step_size=2, gamma=0.1; step 0, lr 0.1)"
    schedule.step()
    schedule.step()
    assert repr(schedule) == "StepLR(step_size=2, gamma=0.1; step 2, lr 0.01)"
    plateau = optim.lr_scheduler.ReduceLROnPlateau(opt, patience=3)
    assert repr(plateau).startswith("ReduceLROnPlateau(mode='min', factor=0.1, patience=3")
    assert repr(callbacks.Schedule(schedule)) == f"Schedule(scheduler={schedule!r}, monitor='loss')"
    assert repr(callbacks.EarlyStopping()) == "EarlyStopping(monitor='loss', patience=10, min_delta=0.0)"
    assert repr(callbacks.LogLines(3, 10)) == "LogLines(every=3, level=10)"
    assert repr(callbacks.JsonLines("run.jsonl")) == "JsonLines('run.jsonl')"
    assert repr(callbacks.Checkpoint("run.npz", keep=2)) == "Checkpoint('run.npz', every=1, keep=2)"
    assert repr(tg.jit(nn.Tanh())).startswith("tg.jit: Tanh(input), ")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LambdaLR", {"lr_lambda": lambda t: 0.5}),
        ("MultiStepLR", {"milestones": [2]}),
        ("OneCycleLR", {"max_lr": 0.1, "total_steps": 4}),
        ("CosineAnnealingLR", {"T_max": 4}),
    ],
)
def test_every_schedule_shows_step_and_rate(name: str, options: dict[str, Any]) -> None:
    opt = optim.SGD([{"params": [tg.zeros(1)]}, {"params": [tg.zeros(1)], "lr": 0.3}], lr=0.1)
    schedule = getattr(optim.lr_scheduler, name)(opt, **options)
    rates = ", ".join(f"{rate:.4g}" for rate in schedule.get_last_lr())
    assert repr(schedule).startswith(name + "(")
    assert repr(schedule).endswith(f"step 0, lr {rates})")


def test_data_objects() -> None:
    ones = [np.ones((2, 3)), np.ones((4, 3))]
    sequences = data.Sequences(["a", "b"], ones, [np.zeros((2, 1), np.float32), np.zeros((4, 1), np.float32)])
    assert repr(sequences) == "Sequences: 2 of 2 to 4 steps, 6 in all; x (T, 3) float64, y (T, 1) float32"
    assert repr(data.Batches((np.zeros(10),), 4)) == "Batches: 10 samples, 3 batches of 2 to 4"
    assert repr(data.Batches((ones,), 1)) == "Batches: 2 samples, 2 lengths, 2 batches of 1"


# ---- the summary of a model


def test_a_summary_counts_what_is_frozen() -> None:
    torch = pytest.importorskip("torch")
    counts = []
    for library in (nn, torch.nn):
        model = library.Sequential(library.Linear(4, 8), library.BatchNorm1d(8), library.ReLU(), library.Linear(8, 3))
        model[0].requires_grad_(False)
        model[3].bias.requires_grad_(False)
        params = list(model.parameters())
        frozen = sum(p.numel() for p in params if not p.requires_grad)
        counts.append((sum(p.numel() for p in params), frozen, sum(b.numel() for b in model.buffers())))
        if library is nn:
            found = model.summary(tg.zeros(2, 4))
    assert counts[0] == counts[1] == (found.total, found.frozen, found.buffers) == (83, 43, 17)
    assert found.trainable == 40
    assert [row.parameters for row in found.rows] == [0, 40, 16, 0, 27]
    assert [row.frozen for row in found.rows] == [0, 40, 0, 0, 3]
    text = str(found).splitlines()
    assert cells(text[3]) == ["0: Linear", "[2, 8]", "40 frozen"]
    assert cells(text[6]) == ["3: Linear", "[2, 3]", "27 (3 frozen)"]
    assert text[-1] == "83 parameters, 40 trained, 43 frozen; 17 in buffers"
    assert "<td>40 frozen</td>" in found._repr_html_()


def test_a_summary_counts_what_is_shared_once() -> None:
    shared = nn.Linear(3, 3)
    tied = nn.Linear(3, 3)
    tied.weight = shared.weight
    found = nn.Sequential(shared, tied, shared).summary()
    assert [row.parameters for row in found.rows] == [0, 12, 3]
    assert (found.total, found.trainable, found.frozen) == (15, 15, 0)
    assert sum(row.parameters for row in found.rows) == found.total
    assert str(found).endswith("15 parameters, 15 trained")


# ---- long compilations

LONG = """
import tinygrad_nn as tg
from tinygrad_nn import nn, optim, functional as F
model = nn.Sequential(*[m for _ in range({depth}) for m in (nn.Linear(10, 10), nn.Tanh())], nn.Linear(10, 3))
opt = optim.Adam(model.parameters())
@tg.jit
def step(x, y):
    opt.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    opt.step()
    return loss
x, y = tg.ones(20, 10), tg.zeros(20, dtype=tg.int64)
"""


def said(code: str, cache: Path, **flags: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TGNN_CACHE": str(cache), "TGNN_VERIFY": "0", **flags}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    return [line for line in re.split(r"[\r\n]", done.stderr) if "takes about" in line]


def test_a_long_compilation_says_so_once(tmp_path: Path) -> None:
    long = "from tinygrad_nn.compiler import notice\nnotice.LONG = 0.01\n"  # on a machine of any speed
    code = long + LONG.format(depth=40) + "step(x, y); step(x, y); tg.jit(lambda x: x * 2)(x)"
    (line,) = said(code, tmp_path)
    assert re.fullmatch(r"tg\.jit: step: [\d,]{3,} nodes, compiling takes about [\d.]+ s", line)
    assert said(code, tmp_path) == []  # the machine code is there


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr(notice, "tell", texts.append)
    return texts


@pytest.mark.parametrize(
    ("owner", "lines", "lowering", "writing", "expected"),
    [
        ("f", 10_000, 0.1, 0.2, "f: 1,652 nodes, compiling takes about 1.1 s"),
        ("f", 10_000, 3.0, 0.0, "f: 1,652 nodes, compiling takes about 3 s"),
        ("f", 10_000, 0.01, 0.01, None),  # short
        ("f", 1_000, 1.0, 1.0, None),  # the machine was busy with something else
    ],
)
def test_what_is_long(
    owner: str, lines: int, lowering: float, writing: float, expected: str | None, told: list[str]
) -> None:
    notice.announcement(owner, 1652, lines, lowering, writing)
    assert told == ([] if expected is None else [expected])


def test_it_is_said_before_llvm_starts_and_not_where_code_is_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    native: Any = sys.modules["tinygrad_nn.compiler.codegen.native"]
    machine = native.emit.machine
    monkeypatch.setattr(notice, "SHORT", 0)
    monkeypatch.setattr(notice, "LONG", 0.0)
    monkeypatch.setattr(notice, "tell", lambda text: order.append("said"))
    monkeypatch.setattr(native.emit, "machine", lambda *words: (order.append("llvm"), machine(*words))[1])

    def f(x: Any) -> Any:
        return (x * 3.25 + 1.125).tanh()

    tg.jit(f)(tg.ones(5))
    assert order[:2] == ["said", "llvm"]
    assert order.count("said") == 1
    order.clear()
    tg.jit(f)(tg.ones(5))
    assert "said" not in order


@pytest.mark.parametrize("progress", [True, False])
def test_fit_says_it_with_its_progress(progress: bool, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice, "SHORT", 0)
    monkeypatch.setattr(notice, "LONG", 0.0)
    w = tg.zeros(1, requires_grad=True)

    @tg.jit
    def step(x: Any) -> Any:
        loss = ((x * (5.5 + progress) - w) ** 2).mean()
        (gradient,) = tg.autograd.grad(loss, [w])
        w.assign(w - 0.25 * gradient)
        return loss

    tg.fit(step, np.ones(4, np.float32), epochs=2, progress=progress)
    assert [line.partition(" nodes")[0].rstrip("0123456789") for line in told] == ["fit: step: "] * progress


def test_what_is_said_goes_above_a_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    tqdm = pytest.importorskip("tqdm")
    with tqdm.tqdm(total=3, file=sys.stderr, mininterval=0) as bar:
        bar.update(1)
        config.say("a line of its own")
        bar.update(1)
    lines = re.split(r"[\r\n]", capsys.readouterr().err)
    assert "a line of its own" in [line.strip() for line in lines]


def test_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    config.tell("heard")
    monkeypatch.setenv("TGNN_QUIET", "1")
    config.config.cache_clear()
    config.tell("unheard")
    config.say("asked for")
    monkeypatch.undo()
    config.config.cache_clear()
    assert capsys.readouterr().err.split("\n")[:2] == ["heard", "asked for"]
