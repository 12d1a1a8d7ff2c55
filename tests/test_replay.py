"""`tg.replay`: the state before any batch has the bits of the run, and an eager run from there its numbers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.test_snapshots import of_several_lengths
from tinygrad_nn import callbacks, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.compiler.run import traces
from tinygrad_nn.errors import ConfigError, DataError, NonFiniteError

X = np.random.default_rng(0).normal(size=(23, 3)).astype(np.float32)
Y = np.sin(X.sum(axis=1, keepdims=True)).astype(np.float32)
BOTH = pytest.mark.parametrize("jitted", [False, True], ids=["eager", "native"])


class Run:
    """A model with buffers, random numbers, a schedule, and what each batch of a run found before it."""

    def __init__(self, jitted: bool, seed: int | None = 7, rows: int = 23) -> None:
        tg.manual_seed(3)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))
        model = self.model
        self.opt = opt = optim.Adam(model.parameters(), lr=0.01)
        self.plan = optim.lr_scheduler.StepLR(opt, 3, 0.7)
        self.total = total = tg.zeros(())

        def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
            opt.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            opt.step()
            total.assign(total + loss.detach())
            return loss

        self.step, self.seed = tg.jit(step) if jitted else step, seed
        self.data = (np.resize(X, (rows, 3)), np.resize(Y, (rows, 1)))

    def fit(self, epochs: int, data: Any = None, **options: Any) -> tg.History:
        settings = {"batch_size": 5, "seed": self.seed, "progress": False, **options}
        self.history = tg.fit(self.step, self.data if data is None else data, epochs=epochs, **settings)
        return self.history

    def scheduled(self) -> list[Any]:
        return [callbacks.Schedule(self.plan)]

    def state(self) -> list[bytes]:
        """All that a next batch depends on."""
        arrays = [value.numpy() for value in self.model.state_dict().values()]
        arrays += [value.numpy() for own in self.opt.state_dict()["state"].values() for value in own.values()]
        arrays += [self.total.numpy(), tg.random.default_generator.get_state().numpy()]
        groups = [{**group, "params": 0} for group in self.opt.param_groups]
        return [*(array.tobytes() for array in arrays), repr(groups).encode(), repr(self.plan.state_dict()).encode()]


@BOTH
@pytest.mark.parametrize("seed", [7, None])
@pytest.mark.parametrize("hooks", [lambda run: [], Run.scheduled], ids=["alone", "scheduled"])
def test_the_state_has_the_bits_of_the_run(jitted: bool, seed: int | None, hooks: Callable[[Run], list[Any]]) -> None:
    run = Run(jitted, seed)
    history = run.fit(9, callbacks=hooks(run), snapshots=4)
    for epoch in (5, 8):  # at a snapshot, and between two of them
        other = Run(jitted, seed)
        other.fit(epoch - 1, callbacks=hooks(other))
        then = other.state()
        tg.manual_seed(99)  # what others do in between
        ended = run.state()
        with tg.replay(history, epoch=epoch) as at:
            assert (at.epoch, at.batch, len(at.arguments)) == (epoch, 0, 2)
            drawn = slice(None) if seed is not None else slice(28)  # the default generator made the order of the epoch
            assert run.state()[drawn] == then[drawn]
    assert run.state() == ended
    begun = Run(jitted, seed)
    tg.replay(history, epoch=1)
    assert run.state()[:9] == begun.state()[:9]  # Adam's state begins with zeros, or when it is first needed


@BOTH
@pytest.mark.parametrize("rows", [23, 1100], ids=["few rows", "many rows"])
def test_numbers_go_on_as_in_the_run(jitted: bool, rows: int) -> None:
    run = Run(jitted, rows=rows)
    size = 5 if rows < 100 else 200
    history = run.fit(6, callbacks=run.scheduled(), snapshots=2, batch_size=size)
    losses: dict[int, list[float]] = {}
    weights: dict[int, list[int]] = {}
    at = tg.replay(history, epoch=4)
    while at.epoch <= 6:
        weights.setdefault(at.epoch, []).append(len(at.rows))
        losses.setdefault(at.epoch, []).append(at.run()["loss"])
        if at.epoch == 7:
            break
    assert list(losses) == [4, 5, 6]
    for epoch, values in losses.items():
        mean = np.average(values, weights=weights[epoch])
        assert abs(mean - history["loss"][epoch - 1]) <= (2e-6 * mean if jitted else 0)


@BOTH
def test_a_batch_in_the_middle(jitted: bool) -> None:
    run = Run(jitted)
    history = run.fit(6, snapshots=3)
    whole = tg.replay(history, epoch=5)
    first = [whole.run() for _ in range(3)]
    state, rows = run.state(), whole.rows.tolist()
    there = tg.replay(history, epoch=5, batch=3)
    assert there.rows.tolist() == rows
    assert there.arguments[0].numpy().tobytes() == X[rows].tobytes()
    if jitted:  # those before ran natively, where sums are grouped otherwise
        for k in (0, 2, 3):  # the gradient of a bias before a BatchNorm is noise
            one, other = run.state()[k], state[k]
            np.testing.assert_allclose(np.frombuffer(one, np.float32), np.frombuffer(other, np.float32), 1e-4, 1e-6)
    else:
        assert run.state() == state
    assert len(first) == 3
    assert f"Replay before batch 3 of epoch 5, rows {rows[0]}, {rows[1]}, " in repr(there)


@BOTH
def test_everything_is_as_before_after_a_block(jitted: bool) -> None:
    run = Run(jitted)
    history = run.fit(5, callbacks=run.scheduled(), snapshots=2)
    before = run.state()
    with tg.replay(history, epoch=2, batch=1) as at:
        at.run()
        assert run.state() != before
    assert run.state() == before
    with pytest.raises(ConfigError, match="batch 5 of an epoch of 5; expected one from 0 to 4"):
        tg.replay(history, epoch=2, batch=5)
    assert run.state() == before
    after = run.fit(2)["loss"].tobytes()
    other = Run(jitted)
    other.fit(5, callbacks=other.scheduled())
    assert other.fit(2)["loss"].tobytes() == after


@BOTH
def test_it_goes_to_where_a_number_was_not_finite(jitted: bool) -> None:
    w = tg.ones(1, requires_grad=True)
    opt = optim.SGD([w], lr=30.0)

    def step(x: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = (w * x).exp().mean()
        loss.backward()
        opt.step()
        return loss

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = np.array([[0.1], [0.2], [-0.3]], np.float32)
        history = tg.fit(tg.jit(step) if jitted else step, data, 30, 1, shuffle=False, progress=False, snapshots=10)
    place = history.nonfinite
    assert place is not None
    assert f"hint: tg.replay(history, epoch={place['epoch']}, batch={place['batch']})" in str(caught[0].message)
    at = tg.replay(history, epoch=place["epoch"], batch=place["batch"])
    assert np.isfinite(w.detach().numpy()).all()
    (x,) = at.arguments
    assert not np.isfinite((w * x).exp().mean().item())
    assert not np.isfinite(at.run()["loss"])


@BOTH
def test_a_run_that_an_error_ended(jitted: bool) -> None:
    run = Run(jitted)
    x = X.copy()
    x[11] = 1e30
    with pytest.raises(NonFiniteError) as caught:
        run.fit(4, (x, Y * np.float32(1e30)), snapshots=1, on_nonfinite="raise")
    history = caught.value.history
    at = tg.replay(history, epoch=caught.value.epoch, batch=caught.value.batch)
    assert not np.isfinite(at.run()["loss"])


def test_a_run_that_was_interrupted_and_one_that_went_on(tmp_path: Path) -> None:
    class Stop:
        def __call__(self, run: Any, logs: Any) -> None:
            if run.epoch == 5:
                run.stop("enough")

    run = Run(True)
    history = run.fit(9, callbacks=[Stop()], snapshots=2)
    assert tg.replay(history, epoch=6).epoch == 6
    with pytest.raises(ConfigError, match="epoch 7 of a run of 5; expected one from 1 to 6"):
        tg.replay(history, epoch=7)
    path = tmp_path / "run.npz"
    first, whole = Run(True), Run(True)
    whole.fit(3)
    then = whole.state()
    tg.manual_seed(3)
    first = Run(True)
    first.fit(4, snapshots=2, callbacks=[callbacks.Checkpoint(path)])
    second = Run(True)
    history = second.fit(8, snapshots=2, callbacks=[callbacks.Checkpoint(path)], resume=path)
    tg.replay(history, epoch=4)
    assert second.state() == then


@BOTH
def test_a_history_from_a_file(jitted: bool, tmp_path: Path) -> None:
    run = Run(jitted)
    history = run.fit(6, callbacks=run.scheduled(), snapshots=2)
    tg.save(history, tmp_path / "history.npz")
    at = tg.replay(history, epoch=6, batch=2)
    then, rows = run.state(), at.rows.tolist()
    loaded = tg.History()
    loaded.load_state_dict(tg.load(tmp_path / "history.npz"))
    for other in (loaded, copy.deepcopy(history)):
        with pytest.raises(ConfigError, match="a file, or a copy of one; expected its step and its data"):
            tg.replay(other, epoch=6)
    fresh = Run(jitted)
    at = tg.replay(loaded, epoch=6, batch=2, step=fresh.step, data=fresh.data, callbacks=fresh.scheduled())
    assert at.rows.tolist() == rows
    assert fresh.state() == then


def test_sequences_of_several_lengths() -> None:
    _, _, step, data = of_several_lengths()
    history = tg.fit(step, (data,), epochs=4, batch_size=2, seed=1, progress=False, snapshots=3)
    at = tg.replay(history, epoch=4, batch=1)
    assert all(len(data[row]) == at.arguments[0].shape[1] for row in at.rows)
    rows, found = [], []
    at = tg.replay(history, epoch=2)
    while at.epoch == 2:
        rows.append(len(at.rows))
        found.append(at.run()["loss"])
    np.testing.assert_allclose(np.average(found, weights=rows), history["loss"][1], 1e-6)


@BOTH
@pytest.mark.parametrize("shuffle", [False, True])
def test_data_in_chunks(jitted: bool, shuffle: bool) -> None:
    def parts() -> Any:
        for k in range(0, 23, 7):
            yield X[k : k + 7], Y[k : k + 7]

    chunks = tg.data.chunks(parts, rows=23)
    run = Run(jitted)
    history = run.fit(5, chunks, snapshots=2, shuffle=shuffle)
    other = Run(jitted)
    other.fit(3, chunks, shuffle=shuffle)
    then = other.state()
    assert tg.replay(history, epoch=4).batch == 0
    assert run.state() == then
    at = tg.replay(history, epoch=3)
    sizes, found = [], []
    while at.epoch == 3:
        if at.batch == 3:
            rows = at.rows.tolist()
        sizes.append(len(at.rows))
        found.append(at.run()["loss"])
    np.testing.assert_allclose(np.average(found, weights=sizes), history["loss"][2], 1e-6)
    assert tg.replay(history, epoch=3, batch=3).rows.tolist() == rows


def test_a_large_state_is_left_for_each_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(True)
    kept = run.fit(5, snapshots=2).snapshots
    monkeypatch.setattr(traces, "ROOM", 1)
    other = Run(True)
    for epoch, snapshot in other.fit(5, snapshots=2).snapshots.items():
        assert {name: array.tobytes() for name, array in snapshot.items()} == {
            name: array.tobytes() for name, array in kept[epoch].items()
        }
    tg.replay(other.history, epoch=4)
    state = other.state()
    tg.replay(run.history, epoch=4)
    assert run.state() == state


def test_a_tensor_that_no_variable_leads_to(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hidden:
        __slots__ = ("get",)

    for room in (2**22, 1):
        monkeypatch.setattr(traces, "ROOM", room)
        count = tg.zeros(())
        box = np.array([count], object)  # arrays of objects are not looked into

        @tg.jit
        def step(x: tg.Tensor, box: Any = box) -> tg.Tensor:
            tensor = box[0]
            tensor.assign(tensor + 1)
            return x.mean() * tensor

        history = tg.fit(step, X, 6, progress=False, snapshots=2)
        assert count.item() == 6
        with tg.replay(history, epoch=4):
            assert count.item() == 3


# ---- what cannot be -------------------------------------------------------------------------------------------------


def test_what_is_asked_for_wrongly_is_refused() -> None:
    run = Run(True)
    history = run.fit(4, snapshots=2)
    state = run.state()
    for epoch, batch in ((0, 0), (-1, 0), (1.5, 0), ("2", 0), (True, 0), (1, -1), (1, 0.5), (1, None)):
        with pytest.raises(ConfigError, match=r"replay.*an integer of at least"):
            tg.replay(history, epoch, batch)  # type: ignore[arg-type]
    for wrong, match in (
        (lambda: tg.replay({}, 1), "a dict; expected the History of a fit"),  # type: ignore[arg-type]
        (lambda: tg.replay(tg.History(), 1), "a history without snapshots"),
        (lambda: tg.replay(Run(True).fit(2), 1), "without snapshots.*snapshots=10"),
        (lambda: tg.replay(history, 5), "epoch 5 of a run of 4; expected one from 1 to 4"),
        (lambda: tg.replay(history, 1, step=run.step), "a step and no data"),
        (lambda: tg.replay(history, 1, data=run.data), "data and no step"),
    ):
        with pytest.raises(ConfigError, match=match):
            wrong()
    assert run.state()[:4] == state[:4]


@BOTH
def test_data_and_modules_that_changed_are_refused(jitted: bool) -> None:
    run = Run(jitted)
    x = X.copy()
    history = run.fit(4, (x, Y), snapshots=2)
    x[3, 0] += 1
    with pytest.raises(DataError, match="data that is not what it was in the run"):
        tg.replay(history, 2)
    x[3, 0] = X[3, 0]
    tg.replay(history, 2)
    with pytest.raises(DataError, match="data that is not what it was"):
        tg.replay(history, 2, step=run.step, data=(X[::-1].copy(), Y))
    run.model[0] = nn.Linear(3, 9)
    with pytest.raises(ConfigError, match=r"replay.*a snapshot of epoch 0, whose 'model' does not fit"):
        tg.replay(history, 2)


def test_another_step_is_refused() -> None:
    run = Run(True)
    history = run.fit(2, snapshots=1)
    net = nn.Linear(3, 1)
    with pytest.raises(ConfigError, match=r"replay.*does not (reach|fit)"):
        tg.replay(history, 1, step=lambda x, y: F.mse_loss(net(x), y), data=run.data)


def test_the_end_of_the_run() -> None:
    run = Run(False)
    history = run.fit(3, snapshots=1)
    at = tg.replay(history, 3, 3)
    assert len(list(at)) == 2
    assert repr(at) == "Replay at the end of the run, after epoch 3"
    with pytest.raises(ConfigError, match="a run that is over"):
        at.run()
