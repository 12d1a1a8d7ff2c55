"""Ctrl-C is answered whatever is running: machine code, LLVM, a long step, an evaluation, a search for what went wrong;
and what is left is whole.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import optim
from tinygrad_nn.compiler.codegen import native
from tinygrad_nn.compiler.run.jit import Entry
from tinygrad_nn.compiler.run.training import Training
from tinygrad_nn.errors import NonFiniteError
from tinygrad_nn.support import interrupt

FOREVER = 60.0
X = np.arange(12, dtype=np.float32).reshape(6, 2) / 7


class Stuck:
    """A function whose call numbered `begin` does not end until it is `released`; Ctrl-C comes then."""

    def __init__(self, function: Callable[..., Any], begin: int = 1) -> None:
        self.function, self.begin, self.calls = function, begin, 0
        self.released, self.done = threading.Event(), threading.Event()

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        if self.calls != self.begin:
            return self.function(*args)
        result = self.function(*args)  # whatever it did is not to be seen
        press()
        self.released.wait(FOREVER)
        self.done.set()
        return result

    def release(self) -> None:
        """Let it end, and wait for that."""
        self.released.set()
        assert self.done.wait(FOREVER)


def press() -> None:
    """Ctrl-C, a moment from now."""
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Nobody leaves a handler behind. One that is started in the background would ignore it all."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    left = signal.signal(signal.SIGINT, before)
    assert left is signal.default_int_handler


class Task:
    """A regression with an optimizer that has a state, and a counter."""

    def __init__(self) -> None:
        self.w = tg.tensor([0.5, -0.25], requires_grad=True)
        self.opt = optim.Adam([self.w], lr=0.1)
        self.count = tg.tensor(0)

    def step(self, x: Any) -> Any:
        self.opt.zero_grad()
        loss = ((x * self.w).sum(1) - 1).square().mean()
        loss.backward()
        self.opt.step()
        self.count.assign(self.count + 1)
        return loss

    def state(self) -> list[Any]:
        """Everything that training changes."""
        state = [value.tolist() for own in self.opt.state.values() for value in own.values()]
        return [self.w.tolist(), self.count.item(), *state]


def patched(patch: pytest.MonkeyPatch, owner: Any, name: str, begin: int = 1) -> Stuck:
    """Put a function in place of another that gets stuck."""
    original = getattr(owner, name)
    stuck = Stuck(original, begin)
    is_method = isinstance(owner, type)
    patch.setattr(owner, name, (lambda self, *args: stuck(self, *args)) if is_method else stuck)
    return stuck


@pytest.mark.parametrize("begin", [1, 2, 3])
def test_a_call_of_machine_code(begin: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up with the memory it works on, which holds the state: that is what it was before."""
    pytest.importorskip("llvmlite")
    monkeypatch.setattr("tinygrad_nn.compiler.run.jit.PATIENCE", 0.0)  # so every call is a long one
    eager, compiled = Task(), Task()
    step = tg.jit(compiled.step)
    stuck = patched(monkeypatch, Entry, "_directly", begin)
    for _ in range(begin - 1):
        eager.step(tg.tensor(X))
        step(tg.tensor(X))
    before, gradient = compiled.w.tolist(), compiled.w.grad
    with pytest.raises(KeyboardInterrupt):
        step(tg.tensor(X))
    assert compiled.w.tolist() == before
    assert compiled.count.item() == begin - 1
    stuck.release()
    assert compiled.w.tolist() == before
    assert compiled.w.grad is gradient
    for _ in range(3):
        eager.step(tg.tensor(X))
        step(tg.tensor(X))
    for one, other in zip(eager.state(), compiled.state(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_call_that_has_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llvmlite")
    monkeypatch.setattr("tinygrad_nn.compiler.run.jit.PATIENCE", 0.0)
    f = tg.jit(lambda x: x * 2)
    stuck = patched(monkeypatch, Entry, "_directly", 2)
    assert f(tg.tensor([1.0])).tolist() == [2.0]
    results: list[Any] = []

    def call() -> None:
        while stuck.calls < 2:
            time.sleep(0.001)
        results.append(f(tg.tensor([3.0])).tolist())  # waits for the memory that is given up

    other = threading.Thread(target=call)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        f(tg.tensor([2.0]))
    other.join()
    assert results == [[6.0]]
    assert f(tg.tensor([4.0])).tolist() == [8.0]
    assert not stuck.done.is_set()
    stuck.release()
    assert f(tg.tensor([5.0])).tolist() == [10.0]


def test_short_calls_need_no_thread() -> None:
    pytest.importorskip("llvmlite")
    f = tg.jit(lambda x: x * 2)
    f(tg.tensor([1.0]))
    entry = f.last
    assert entry is not None
    assert entry.plain
    assert entry.function is entry.compiled.function


def test_a_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llvmlite")
    monkeypatch.setattr(native.disk, "load", lambda name: None)
    stuck = patched(monkeypatch, native, "_object_code")
    f = tg.jit(lambda x: x * 2 + 0.375)
    with pytest.raises(KeyboardInterrupt):
        f(tg.tensor([1.0]))
    stuck.release()
    assert f(tg.tensor([1.0])).tolist() == [2.375]


@pytest.mark.parametrize("begin", [1, 2])
def test_a_long_batch_of_native_training(begin: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llvmlite")
    task = Task()
    step = tg.jit(task.step)
    first = tg.fit(step, X, epochs=1, shuffle=False, progress=False)
    monkeypatch.setattr("tinygrad_nn.compiler.run.training.PATIENCE", 0.0)
    stuck = patched(monkeypatch, Training, "_directly", begin)
    before = task.state()
    history = tg.fit(step, X, epochs=10**6, shuffle=False, progress=False, callbacks=[lambda run, logs: None])
    assert (history.epochs, history.stopped) == (begin - 1, f"interrupted in epoch {begin}")
    after = task.state()
    stuck.release()
    assert task.state() == after
    assert (after == before) is (begin == 1)
    same = Task()
    for _ in range(begin):
        same.step(tg.tensor(X))
    for one, other in zip(same.state(), after, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    history = tg.fit(step, X, epochs=2, shuffle=False, progress=False)
    assert task.count.item() == begin + 2
    assert history["loss"][-1] < first["loss"][0]


def test_a_long_step_of_eager_training() -> None:
    """What it wrote is taken back."""
    task = Task()

    def step(x: Any) -> Any:
        loss = task.step(x)
        if task.count.item() == 8:
            press()
            time.sleep(FOREVER)
        return loss

    history = tg.fit(step, X, epochs=10**6, batch_size=2, shuffle=False, progress=False)
    assert (history.epochs, history.stopped, task.count.item()) == (2, "interrupted in epoch 3", 7)
    same = Task()
    for k in range(7):
        same.step(tg.tensor(X[2 * (k % 3) : 2 * (k % 3) + 2]))
    assert task.state() == same.state()


@pytest.mark.parametrize("jitted", [False, True], ids=["eager", "native"])
def test_a_long_evaluation(jitted: bool) -> None:
    task, calls = Task(), []

    def evaluate() -> dict[str, float]:
        calls.append(float(task.w.sum().item()))  # reads a value, so it is run by Python
        if len(calls) == 3:
            press()
            time.sleep(FOREVER)
        return {"score": 1.0}

    step = tg.jit(task.step) if jitted else task.step
    history = tg.fit(step, X, epochs=10**6, shuffle=False, progress=False, evaluate=evaluate)
    assert history.stopped is not None
    assert history.stopped.startswith("interrupted in epoch")
    assert (history.epochs, task.count.item(), len(calls)) == (3, 3, 3)


@pytest.mark.parametrize("jitted", [False, True], ids=["eager", "native"])
def test_a_search_for_what_is_not_finite(jitted: bool) -> None:
    """The search is what ends; what is known is said."""
    task, searching = Task(), []

    def step(x: Any) -> Any:
        loss = task.step(x)
        if len(searching) >= 3:  # an eager replay, after calls and traces
            press()
            time.sleep(FOREVER)
        searching.append(1)
        return loss * float("nan")

    searching[:] = [1] * (0 if jitted else 2)
    before = task.state()[:2]
    with pytest.raises(NonFiniteError, match="loss nan in epoch 1, batch 0"):
        tg.fit(tg.jit(step) if jitted else step, X, progress=False, on_nonfinite="raise")
    assert task.state()[:2] == before


@pytest.mark.parametrize("long", [True, False])
def test_native_runs_of_such_a_search(long: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llvmlite")
    task = Task()

    def step(x: Any) -> Any:
        loss = task.step(x)
        return tg.where(task.count == 5, float("nan"), loss)

    jitted = tg.jit(step)
    tg.fit(jitted, X, batch_size=1, shuffle=False, progress=False, on_nonfinite="ignore")
    task.count.fill_(0)
    before = task.state()
    monkeypatch.setattr("tinygrad_nn.compiler.run.training.PATIENCE", 0.0)
    stuck = patched(monkeypatch, Training, "_directly", 2)
    if not long:  # it is the next one that is not begun
        stuck.released.set()
        monkeypatch.setattr("tests.test_interrupt.press", lambda: os.kill(os.getpid(), signal.SIGINT))
    history = tg.fit(jitted, X, batch_size=1, shuffle=False, progress=False, on_nonfinite="raise")
    assert history.stopped == "interrupted in epoch 1"
    assert task.state() == before
    stuck.release()


def test_what_is_short_is_waited_for_and_a_late_signal_hurts_nobody() -> None:
    done: list[str] = []
    with interrupt.deferred() as interrupted:
        with interrupted.limited():
            signal.raise_signal(signal.SIGINT)
            done.append("first")
        interrupted.late = True  # it came when the block was just over
        signal.raise_signal(signal.SIGINT)
        done.append("second")
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert done == ["first", "second"]


def test_a_program_ends_well_while_llvm_still_runs() -> None:
    pytest.importorskip("llvmlite")
    script = """
import os, signal, threading, time
import tinygrad_nn as tg
from tinygrad_nn.compiler.codegen import native

def f(x):
    for _ in range(250):
        x = (x * 1.01).sin().cumsum(0)
    return x.sum()

def locked():
    free = native._lock.acquire(blocking=False)
    if free:
        native._lock.release()
    return not free
def press():
    while not locked():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

f, x = tg.jit(f), tg.ones(50)
native.host()
threading.Thread(target=press).start()
try:
    f(x)
except KeyboardInterrupt:
    print("interrupted", locked())
raise SystemExit(3)
"""
    flags = {**os.environ, "TGNN_CACHE": "off", "TGNN_QUIET": "1", "TGNN_VERIFY": "0"}
    done = subprocess.run([sys.executable, "-c", script], env=flags, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted True\n", "", 3)
