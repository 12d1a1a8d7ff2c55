"""State of compiled functions: what other calls, other threads, errors and the user do to it in between."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import Tensor, nn, optim
from tinygrad_nn.compiler.run import explain
from tinygrad_nn.compiler.run.training import Training
from tinygrad_nn.errors import IndexOutOfRange, TraceError
from tinygrad_nn.functional import cross_entropy
from tinygrad_nn.support.interrupt import Deferred


def in_threads(*functions: Callable[[], None]) -> None:
    """Run functions at once; none may fail or hang."""
    errors: list[BaseException] = []

    def guarded(function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(one,), daemon=True) for one in functions]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # they meet more often
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
    finally:
        sys.setswitchinterval(interval)
    assert not any(thread.is_alive() for thread in threads)
    assert not errors, errors


def test_a_trace_while_another_thread_runs() -> None:
    """A trace gives handles other nodes for a time; the running thread must neither read nor replace these."""
    w, calls, done = tg.tensor(np.zeros(8)), [0, 0], threading.Event()

    @tg.jit
    def count(x: Any) -> Any:
        time.sleep(0.003)  # only while traced
        w.assign(w + 1.0)
        time.sleep(0.003)
        return x * w[0]

    def run() -> None:
        while not done.is_set():
            assert np.isfinite(count(tg.ones(2)).numpy()).all()
            w.numpy()
            calls[0] += 1

    def trace() -> None:
        for length in range(3, 12):
            count(tg.ones(length))
            calls[1] += 1
        done.set()

    count(tg.ones(2))
    in_threads(run, trace)
    assert w.tolist() == [1.0 + sum(calls)] * 8


def test_two_functions_that_read_what_the_other_writes() -> None:
    a, b = tg.tensor([0.0]), tg.tensor([0.0])
    first = tg.jit(lambda: a.assign(a * 0.5 + b * 0.25 + 1.0))
    second = tg.jit(lambda: b.assign(b * 0.5 + a * 0.25 + 1.0))

    def many(function: Callable[[], Any]) -> Callable[[], None]:
        return lambda: [function() for _ in range(3000)][:0] and None

    in_threads(many(first), many(second))
    assert np.isfinite(a.item())
    assert np.isfinite(b.item())


def gradients_of_micro_batches(jit: Callable[..., Any]) -> list[Any]:
    p = tg.tensor([1.0, 2.0], requires_grad=True)

    @jit
    def micro(x: Any) -> Any:
        (p * x).sum().backward()

    found = []
    for k in range(7):
        micro(tg.tensor([1.0, float(k)]))
        if k in (2, 3, 6):
            found.append(p.grad.tolist())
            p.grad = None
    return found


def test_gradients_that_are_forgotten_outside() -> None:
    assert gradients_of_micro_batches(tg.jit) == gradients_of_micro_batches(lambda f: f)


def test_a_compiled_step_of_gradients_from_outside() -> None:
    found = []
    for jit in (tg.jit, lambda f: f):
        p = tg.tensor([1.0, 2.0], requires_grad=True)
        opt = tg.optim.SGD([p], lr=0.5)
        step = jit(lambda opt=opt: opt.step())
        for k in range(4):
            opt.zero_grad()
            (p * tg.tensor([1.0, float(k)])).sum().backward()
            step()
        found.append(p.tolist())
    assert found[0] == found[1]


def test_fit_after_gradients_were_forgotten() -> None:
    found = []
    for jit in (tg.jit, lambda f: f):
        p = tg.tensor([1.0], requires_grad=True)
        opt = tg.optim.SGD([p], lr=0.01)

        @jit
        def step(x: Any, p: Any = p, opt: Any = opt) -> Any:
            loss = ((p - x) ** 2).mean()
            loss.backward()
            opt.step()
            return loss

        for _ in range(3):
            tg.fit(step, np.arange(6.0), epochs=2, batch_size=2, shuffle=False, progress=False)
            opt.zero_grad()
        found.append(p.item())
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_a_computed_index_out_of_range_leaves_the_state() -> None:
    """The check can only come after the new state was computed, which must not lie over the old one yet."""
    w, table = tg.tensor([0.0, 0.0]), tg.tensor([1.0, 2.0, 3.0])

    @tg.jit
    def f(x: Any) -> Any:
        w.assign(w + x)
        return table.index_select(0, w.sum().to(tg.int64).reshape(1))

    f(tg.tensor([0.0, 1.0]))
    with pytest.raises(IndexOutOfRange):
        f(tg.tensor([5.0, 1.0]))
    assert w.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("way", ["call", "fit", "trace"])
def test_nothing_is_left_of_a_first_call_that_fails(way: str) -> None:
    """The trace made the state of the optimizer, which eager code would not have come to."""
    layer = nn.Linear(3, 4)
    opt = optim.Adam(layer.parameters(), lr=0.1)
    x, bad, good = np.ones((5, 3), np.float32), np.array([0, 1, 9, 1, 1]), np.array([0, 1, 3, 1, 1])

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = cross_entropy(layer(x), y)
        loss.backward()
        opt.step()
        if way == "trace":
            float(loss)
        return loss

    compiled = tg.jit(step)
    fit: Callable[..., Any] = lambda *data: tg.fit(compiled, data, batch_size=3, shuffle=False, progress=False)  # noqa: E731
    with pytest.raises(TraceError if way == "trace" else IndexOutOfRange):
        (fit if way == "fit" else compiled)(x, bad)
    assert opt.state_dict()["state"] == {}
    for count in 1, 2:
        (step if way == "trace" else compiled)(tg.tensor(x), tg.tensor(good))
        assert [own["step"].item() for own in opt.state_dict()["state"].values()] == [count] * 2


def test_a_later_batch_that_fails_leaves_the_state_before_it() -> None:
    layer = nn.Linear(1, 4)
    opt = optim.Adam(layer.parameters(), lr=0.1)

    @tg.jit
    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = cross_entropy(layer(x), y)
        loss.backward()
        opt.step()
        return loss

    with pytest.raises(IndexOutOfRange, match=r"row 2 \(epoch 1, batch 2\)"):
        tg.fit(step, (np.ones((3, 1), np.float32), [0, 1, 9]), batch_size=1, shuffle=False, progress=False)
    assert [own["step"].item() for own in opt.state_dict()["state"].values()] == [2, 2]


def tensors(*values: float) -> list[tg.Tensor]:
    return [tg.tensor([value], requires_grad=True) for value in values]


ACTS: dict[str, Callable[[Any, list[Any]], Any]] = {
    "clear": lambda opt, ps: opt.state.clear(),
    "pop": lambda opt, ps: opt.state.pop(ps[0]),
    "popitem": lambda opt, ps: opt.state.popitem(),
    "del": lambda opt, ps: opt.state.__delitem__(ps[0]),
    "update": lambda opt, ps: opt.state.update({ps[0]: {"momentum_buffer": tg.tensor([3.0])}}),
    "or": lambda opt, ps: opt.state.__ior__({ps[0]: {"momentum_buffer": tg.tensor([3.0])}}),
    "put": lambda opt, ps: opt.state[ps[0]].update(momentum_buffer=tg.tensor([3.0])),
    "replace state": lambda opt, ps: setattr(opt, "state", {}),
    "append": lambda opt, ps: opt.param_groups[0]["params"].append(ps[2]),
    "extend": lambda opt, ps: opt.param_groups[0]["params"].extend(ps[2:]),
    "insert": lambda opt, ps: opt.param_groups[0]["params"].insert(0, ps[2]),
    "iadd": lambda opt, ps: opt.param_groups[0]["params"].__iadd__(ps[2:]),
    "setitem": lambda opt, ps: opt.param_groups[0]["params"].__setitem__(0, ps[2]),
    "slice": lambda opt, ps: opt.param_groups[0]["params"].__setitem__(slice(0, 1), ps[2:]),
    "delitem": lambda opt, ps: opt.param_groups[0]["params"].__delitem__(0),
    "pop param": lambda opt, ps: opt.param_groups[0]["params"].pop(),
    "clear params": lambda opt, ps: opt.param_groups[0]["params"].clear(),
    "list": lambda opt, ps: opt.param_groups[0].__setitem__("params", ps[1:]),
    "group": lambda opt, ps: opt.add_param_group({"params": ps[2:], "lr": 0.5}),
    "append group": lambda opt, ps: opt.param_groups.append(optim.SGD(ps[2:], lr=0.5).param_groups[0]),
    "pop group": lambda opt, ps: opt.param_groups.pop(),
    "replace groups": lambda opt, ps: setattr(opt, "param_groups", optim.SGD(ps[1:], lr=0.5).param_groups),
    "momentum": lambda opt, ps: opt.param_groups[0].__setitem__("momentum", 0.25),
    "weight decay": lambda opt, ps: opt.param_groups[0].update(weight_decay=0.25),
    "no maximize": lambda opt, ps: opt.param_groups[0].pop("maximize"),
    "load": lambda opt, ps: opt.load_state_dict(optim.SGD(ps[:2], lr=0.125, momentum=0.5).state_dict()),
    "grad": lambda opt, ps: setattr(ps[0], "grad", tg.tensor([5.0])),
    "no grad": lambda opt, ps: setattr(ps[0], "grad", None),
    "all": lambda opt, ps: [setattr(opt, "state", {}), opt.param_groups[0].__setitem__("params", ps[2:])],
}


@pytest.mark.parametrize(("zeroed", "momentum"), [(True, 0.0), (False, 0.5)])
@pytest.mark.parametrize("act", ACTS)
def test_whatever_is_done_to_an_optimizer_is_seen(act: str, zeroed: bool, momentum: float) -> None:
    """Between two calls, of which the first found everything as it had left it. All numbers are short fractions."""
    found = []
    for jit in (lambda function: function), tg.jit:
        ps = tensors(1.0, 2.0, 4.0)
        opt = optim.SGD(ps[:2], lr=0.25, momentum=momentum, maximize=True)

        def step(x: Any, ps: list[Any] = ps, opt: Any = opt) -> Any:
            if zeroed:
                opt.zero_grad()
            loss = sum(p * k for k, p in enumerate(ps, 1)) * x
            loss.sum().backward()
            opt.step()
            return loss

        run = jit(step)
        for k in range(3):
            run(tg.tensor([k + 1.0]))
        if momentum or act not in ("pop", "popitem", "del"):
            ACTS[act](opt, ps)
        values = [run(tg.tensor([k + 1.0])).tolist() for k in range(3)]
        values += [[value.tolist() for value in opt.state.get(p, {}).values()] for p in ps]
        found.append((values, [p.tolist() for p in ps], [p.grad and p.grad.tolist() for p in ps]))
    assert found[0] == found[1]


def counting_step() -> tuple[Any, Any]:
    count = tg.tensor(0.0, dtype=tg.float64)

    @tg.jit
    def step(x: Any) -> Any:
        count.assign(count + 1.0)
        return x.sum()

    return step, count


@pytest.mark.parametrize("batches", [1, 3])
def test_the_epochs_of_a_stopped_run_are_counted(batches: int) -> None:
    step, count = counting_step()
    training = Training(step, [(np.ones((batches, 4_000_000), np.float32),)], 1, None, False)
    epochs = training.capacity

    class Pressed(Deferred):
        """Ctrl-C comes after an epoch: all of them take longer than anybody looks away."""

        def __call__(self) -> bool:
            return bool(training.now[0] > 0)

    done = training.run(epochs, 1, [False] * epochs, 1.0, Pressed())
    assert 0 < done < epochs
    assert done == count.item() // batches


def test_a_run_that_nobody_waits_for_leaves_the_state_before_it() -> None:
    step, count = counting_step()
    training = Training(step, [(np.ones((3, 2), np.float32),)], 1, None, False)

    class PressedTwice(Deferred):
        def __call__(self) -> bool:
            raise KeyboardInterrupt

    training.run(1, 1, [False], 1.0, Deferred())
    seen, threads = count.item(), set(threading.enumerate())
    assert seen > 0
    with pytest.raises(KeyboardInterrupt):
        training.run(training.capacity, 1, [False] * training.capacity, 1.0, PressedTwice())
    assert count.item() == seen
    for thread in set(threading.enumerate()) - threads:  # the run, if it is not over yet
        thread.join()
    assert count.item() == seen
    assert not training.fits()


def test_an_evaluation_that_cannot_be_hashed() -> None:
    class Score:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self) -> dict[str, Any]:
            return {"score": 1.0}

    step, _ = counting_step()
    history = tg.fit(step, np.ones((4, 1)), epochs=2, evaluate=Score(), progress=False)
    assert history["score"].tolist() == [1.0, 1.0]


def test_two_threads_train_one_step() -> None:
    """They share parameters, so who wins is open; data and history are each one's own."""
    w = tg.tensor(0.0)

    @tg.jit
    def step(x: Any) -> Any:
        w.assign(w * 0.5)
        return x.mean()

    def run(value: float) -> Callable[[], None]:
        def train() -> None:
            for _ in range(5):
                history = tg.fit(step, np.full((8, 1), value), epochs=300, progress=False, shuffle=False)
                assert set(history["loss"].tolist()) == {value}

        return train

    in_threads(run(1.0), run(2.0))


def test_explain_compiles_all_kernels_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = explain.build_schedule, list[Any]()

    def build(planned: Any, target: Any) -> Any:
        made.append(planned)
        return real(planned, target)

    monkeypatch.setattr(explain, "build_schedule", build)
    rows = tg.explain(tg.jit(lambda x: (x.sort(0)[0].cumsum(0).sort(0)[0] * 2).cumsum(0)), tg.rand(64)).rows
    assert len(rows) > 3
    assert len(made) <= 2, "one for the kernels, and one for the peak of the machine"


def test_explain_reads_no_index_where_other_values_lie() -> None:
    """Temporaries share memory: after the call, floats lie where the index was."""

    @tg.jit
    def f(x: Any, y: Any) -> Any:
        picked = x.index_select(0, (y * 2).to(tg.int64)).exp().cumsum(0)
        return (picked.sort(0)[0] * 1e9).cumsum(0).sort(0)[0]

    x, y = tg.rand(1000), tg.rand(1000) * 400
    f(x, y)
    before = f(x, y).tolist()
    assert len(tg.explain(f, x, y).rows) > 3
    assert f(x, y).tolist() == before


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64, tg.int64])
def test_a_number_that_was_filled_in_is_no_constant(dtype: Any) -> None:
    total = tg.tensor(3, dtype=dtype)
    total.fill_(1)

    @tg.jit
    def add(x: Tensor) -> Tensor:
        total.assign(total + x)
        return total * 1

    for expected in (3.0, 5.0):
        assert add(tg.tensor(2, dtype=dtype)).item() == expected == total.item()
    total.zero_()
    assert add(tg.tensor(2, dtype=dtype)).item() == 2.0
    assert add.traces == 1
