"""`fit(..., snapshots=k)`: the state by epoch is that of a run that ends there, natively and eagerly."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import callbacks, nn, optim, snapshots
from tinygrad_nn import functional as F
from tinygrad_nn.errors import ConfigError, UnknownName

X = np.random.default_rng(0).normal(size=(23, 3)).astype(np.float32)
Y = np.sin(X.sum(axis=1, keepdims=True)).astype(np.float32)
BOTH = pytest.mark.parametrize("jitted", [False, True], ids=["eager", "native"])


class Run:
    """A model with buffers, a generator and an optimizer with state."""

    def __init__(self, jitted: bool, seed: int | None = 7) -> None:
        tg.manual_seed(3)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))
        model = self.model
        self.opt = opt = optim.Adam(model.parameters(), lr=0.01)
        self.plan = optim.lr_scheduler.StepLR(opt, 3, 0.7)

        def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
            opt.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            opt.step()
            return loss

        self.step, self.seed = tg.jit(step) if jitted else step, seed

    def fit(self, epochs: int, data: Any = (X, Y), **options: Any) -> tg.History:
        settings = {"batch_size": 5, "seed": self.seed, "progress": False, **options}
        return tg.fit(self.step, data, epochs=epochs, **settings)

    def state(self) -> dict[str, bytes]:
        """What the model and its optimizer hold now, by the names of a snapshot."""
        found = {name: value.numpy() for name, value in self.model.state_dict().items()}
        for k, own in self.opt.state_dict()["state"].items():
            found |= {f"opt.state.{k}.{name}": value.numpy() for name, value in own.items()}
        return {name: value.tobytes() for name, value in found.items()}


def bits(snapshot: Any) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in snapshot.items()}


@BOTH
@pytest.mark.parametrize("seed", [7, None])
@pytest.mark.parametrize("scheduled", [False, True])
def test_a_snapshot_is_the_state_of_a_run_that_ends_there(jitted: bool, seed: int | None, scheduled: bool) -> None:
    def hooks(run: Run) -> list[Any]:
        return [callbacks.Schedule(run.plan)] if scheduled else []

    run = Run(jitted, seed)
    history = run.fit(12, callbacks=hooks(run), snapshots=4)
    assert list(history.snapshots) == [0, 4, 8, 12]
    for epochs in (4, 8):
        other = Run(jitted, seed)
        other.fit(epochs, callbacks=hooks(other))
        assert bits(history.snapshots[epochs]) == other.state()
    assert bits(history.snapshots[12]) == run.state()
    begun = Run(jitted).model.state_dict()
    assert all(history.snapshots[0][name].tobytes() == value.numpy().tobytes() for name, value in begun.items())


@BOTH
def test_snapshots_change_nothing(jitted: bool) -> None:
    one = Run(jitted)
    losses = one.fit(7)["loss"].tobytes()
    other = Run(jitted)
    assert losses == other.fit(7, snapshots=2)["loss"].tobytes()
    assert one.state() == other.state()


@BOTH
def test_memory_is_bounded(jitted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MOST", 4)
    run = Run(jitted)
    history = run.fit(21, snapshots=2)
    assert list(history.snapshots) == [0, 8, 16]
    assert history.snapshots.every == 8
    assert "every 8 (asked for: every 2; there is room for 4)" in repr(history.snapshots)
    other = Run(jitted)
    other.fit(16)
    assert bits(history.snapshots[16]) == other.state()


def test_memory_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "ROOM", 1)  # two are kept, however large they are
    assert list(Run(True).fit(9, snapshots=1).snapshots) == [0, 8]


@BOTH
def test_snapshots_are_saved_with_the_history(jitted: bool, tmp_path: Path) -> None:
    history = Run(jitted).fit(6, snapshots=3)
    tg.save({"history": history}, tmp_path / "run.npz")
    loaded = tg.History()
    loaded.load_state_dict(tg.load(tmp_path / "run.npz")["history"])
    for other in (loaded, pickle.loads(pickle.dumps(history)), copy.deepcopy(history)):
        assert {epoch: bits(one) for epoch, one in other.snapshots.items()} == {
            epoch: bits(one) for epoch, one in history.snapshots.items()
        }
        run = Run(jitted)
        run.model.load_state_dict(other.snapshots[3].objects["model"])
        run.opt.load_state_dict(other.snapshots[3].objects["opt"])
        assert run.state() == bits(history.snapshots[3])


@BOTH
def test_a_run_that_goes_on_has_them_all(jitted: bool, tmp_path: Path) -> None:
    whole = Run(jitted).fit(10, snapshots=2).snapshots
    path = tmp_path / "run.npz"
    Run(jitted).fit(5, snapshots=2, callbacks=[callbacks.Checkpoint(path, every=5)])
    rest = Run(jitted).fit(10, snapshots=2, resume=path).snapshots
    assert list(rest) == [0, 2, 4, 6, 8, 10]
    assert {epoch: bits(rest[epoch]) for epoch in whole} == {epoch: bits(one) for epoch, one in whole.items()}


@BOTH
def test_several_modules_have_their_names(jitted: bool) -> None:
    generator, critic = nn.Linear(2, 2), nn.Linear(2, 1)
    w = tg.zeros(1, requires_grad=True)
    opt = optim.SGD([*generator.parameters(), *critic.parameters(), w], lr=0.1, momentum=0.9)

    def step(x: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = (critic(generator(x)) * w).mean() + (w - 1).square().sum()
        loss.backward()
        opt.step()
        return loss

    history = tg.fit(tg.jit(step) if jitted else step, X[:, :2], epochs=2, progress=False, snapshots=1)
    names = {"generator.weight", "generator.bias", "critic.weight", "critic.bias", "w"}
    assert set(history.snapshots[2]) == names | {f"opt.state.{k}.momentum_buffer" for k in range(5)}
    assert history.snapshots[2]["w"].tobytes() == w.detach().numpy().tobytes()


def of_several_lengths() -> tuple[nn.GRU, nn.Linear, Any, list[Any]]:
    """A recurrent model, its step and sequences."""
    tg.manual_seed(1)
    net, head = nn.GRU(2, 3, batch_first=True), nn.Linear(3, 1)
    opt = optim.SGD([*net.parameters(), *head.parameters()], lr=0.1)

    @tg.jit
    def step(x: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = head(net(x)[0][:, -1]).square().mean()
        loss.backward()
        opt.step()
        return loss

    rng = np.random.default_rng(2)
    data = [rng.normal(size=(n, 2)).astype(np.float32) for n in (3, 5, 3, 5, 4, 3, 3)]
    return net, head, step, data


def test_sequences_of_several_lengths() -> None:
    def run(epochs: int, **options: Any) -> tuple[tg.History, dict[str, bytes]]:
        net, head, step, data = of_several_lengths()
        history = tg.fit(step, (data,), epochs=epochs, batch_size=2, seed=1, progress=False, **options)
        states = {f"net.{name}": value for name, value in net.state_dict().items()}
        states |= {f"head.{name}": value for name, value in head.state_dict().items()}
        return history, {name: value.numpy().tobytes() for name, value in states.items()}

    history, _ = run(6, snapshots=3)
    assert bits(history.snapshots[3]) == run(3)[1]


@BOTH
def test_data_in_chunks(jitted: bool) -> None:
    def parts() -> Any:
        for k in range(0, 23, 7):
            yield X[k : k + 7], Y[k : k + 7]

    history = Run(jitted).fit(5, tg.data.chunks(parts, rows=23), snapshots=2)
    other = Run(jitted)
    other.fit(4, tg.data.chunks(parts, rows=23))
    assert list(history.snapshots) == [0, 2, 4]
    assert bits(history.snapshots[4]) == other.state()


def test_they_cannot_be_written() -> None:
    history = Run(True).fit(2, snapshots=1)
    kept: Any = history.snapshots
    with pytest.raises(ValueError, match="read-only"):
        kept[1]["0.weight"][0] = 0
    with pytest.raises(TypeError):
        kept[1] = {}
    with pytest.raises(TypeError):
        kept[1]["0.weight"] = X


def test_what_is_not_there_is_named() -> None:
    history = Run(True).fit(4, snapshots=2)
    with pytest.raises(UnknownName, match=r"epoch 3; expected one of 0, 2, 4; hint: tg.replay\(history, epoch=3\)"):
        history.snapshots[3]
    with pytest.raises(UnknownName, match=r"the name '0\.wait'; expected one of '0.weight', '0.bias'"):
        history.snapshots[2]["0.wait"]
    with pytest.raises(UnknownName, match="which keeps them"):
        tg.History().snapshots[0]
    assert repr(tg.History().snapshots).startswith("Snapshots: none;")


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "10", np.array([1, 2])])
def test_another_number_of_epochs_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"snapshots=.*an integer of at least 1"):
        Run(True).fit(2, snapshots=wrong)


@pytest.mark.parametrize("part", ["asked", "epochs", "which", "arrays", "rests"])
@pytest.mark.parametrize("wrong", [None, 3.5, "x", [1, 2], {"a": 1}, np.zeros((2, 2))])
def test_a_damaged_state_is_refused(part: str, wrong: Any) -> None:
    history = Run(False).fit(2, snapshots=1)
    state = history.state_dict()
    state["snapshots"][part] = wrong
    fresh = tg.History()
    with pytest.raises(ConfigError):
        fresh.load_state_dict(state)
    assert fresh.epochs == 0
    assert not fresh.snapshots


def test_a_step_that_leads_to_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="snapshots of a step whose variables lead to no tensor that is trained"):
        tg.fit(lambda x: x.mean(), X, progress=False, snapshots=1)
