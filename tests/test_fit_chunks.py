"""`fit` on data in chunks: the numbers of the same rows in memory, whatever goes on around them."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.errors import ConfigError, DataError, FileError, IndexOutOfRange, NonFiniteError
from tinygrad_nn.fitting.trouble import NonFiniteWarning

FEATURES = ["a", "b", "c"]


def rows(count: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng([count, seed])
    return rng.standard_normal((count, 3)).astype(np.float32), rng.integers(0, 3, count)


def in_chunks(x: Any, y: Any, size: int) -> Any:
    return tg.data.chunks(lambda: ((x[low : low + size], y[low : low + size]) for low in range(0, len(x), size)))


def in_files(folder: Path, x: Any, y: Any, files: int = 1, **settings: Any) -> Any:
    """The rows in some Parquet files."""
    frame = pl.DataFrame({name: x[:, k] for k, name in enumerate(FEATURES)} | {"y": y})
    for k, part in enumerate(np.array_split(np.arange(len(x)), files)):
        frame[part].write_parquet(folder / f"part-{k:03d}.parquet")
    return tg.data.scan(folder / "part-*.parquet", features=FEATURES, target="y", **settings)


class Model:
    """A small model with everything that can differ: a generator of its own counter, momentum, an evaluation."""

    def __init__(self, jitted: bool, dropout: float = 0.0) -> None:
        tg.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(dropout), nn.Linear(5, 3))
        self.opt = tg.optim.Adam(self.net.parameters(), lr=0.05)
        self.held_out = tuple(map(tg.tensor, rows(20, 9)))
        self.seen: list[float] = []

        def step(x: Any, y: Any) -> Any:
            self.opt.zero_grad()
            out = self.net(x)
            loss = nn.CrossEntropyLoss()(out, y)
            loss.backward()
            self.opt.step()
            return {"loss": loss, "acc": (out.argmax(1) == y).to(tg.float32).mean()}

        self.step: Callable[..., Any] = tg.jit(step) if jitted else step

    def evaluate(self) -> dict[str, Any]:
        x, y = self.held_out
        return {"test": (self.net(x).argmax(1) == y).to(tg.float32).mean()}

    def fit(self, data: Any, **more: Any) -> tg.History:
        given = {"epochs": 3, "batch_size": 4, "shuffle": False, "progress": False, "evaluate": self.evaluate}
        return tg.fit(self.step, data, **{**given, "eval_every": 2, **more})

    @property
    def weights(self) -> list[Any]:
        return [p.detach().numpy().copy() for p in self.net.parameters()]


def same(one: tg.History, other: tg.History, models: tuple[Model, Model]) -> None:
    """The same bits in histories and weights."""
    assert list(one.last()) == list(other.last())
    for name in one.last():
        assert np.array_equal(one[name], other[name], equal_nan=True), name
    for a, b in zip(models[0].weights, models[1].weights, strict=True):
        assert np.array_equal(a, b)


@settings(max_examples=12)
@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 70), st.booleans())
def test_bits_are_those_of_rows_in_memory(count: int, batch: int, size: int, jitted: bool) -> None:
    x, y = rows(count)
    here, there = Model(jitted), Model(jitted)
    batch = min(batch, count)
    one = here.fit((x, y), batch_size=batch)
    other = there.fit(in_chunks(x, y, size), batch_size=batch)
    same(one, other, (here, there))


@pytest.mark.parametrize("jitted", [True, False])
def test_bits_of_files_are_those_of_their_rows(jitted: bool, tmp_path: Path) -> None:
    x, y = rows(103)
    here, there = Model(jitted), Model(jitted)
    data = in_files(tmp_path, x, y, files=3, chunk_rows=15)
    one, other = here.fit((x, y), batch_size=8), there.fit(data, batch_size=8)
    same(one, other, (here, there))
    assert other.metadata["samples"] == 103


@pytest.mark.parametrize("case", ["compiled", "by Python", "none"])
def test_bits_with_dropout_and_with_every_kind_of_evaluation(case: str) -> None:
    x, y = rows(50)
    models, found = [], []
    for data in ((x, y), in_chunks(x, y, 13)):
        model = Model(True, dropout=0.5)

        def by_python(model: Model = model) -> dict[str, float]:
            return {"norm": float(model.net[0].weight.norm())}

        evaluate = {"compiled": model.evaluate, "by Python": by_python, "none": None}[case]
        found.append(model.fit(data, evaluate=evaluate, epochs=4, eval_every=3))
        models.append(model)
    same(found[0], found[1], (models[0], models[1]))


def test_sums_of_an_epoch_and_one_batch_of_all() -> None:
    x, y = rows(30)
    here, there = Model(True), Model(True)
    same(here.fit((x, y), batch_size=30), there.fit(in_chunks(x, y, 7), batch_size=30), (here, there))


@pytest.mark.parametrize("seed", [5, None])
def test_shuffled_the_compiled_run_sees_the_same_batches_as_the_other(seed: int | None, tmp_path: Path) -> None:
    x, y = rows(90)
    data = in_files(tmp_path, x, y, files=2, chunk_rows=20)
    compiled, called = Model(True, dropout=0.3), Model(False, dropout=0.3)
    found = []
    for model in (compiled, called):
        tg.manual_seed(11)
        found.append(model.fit(data, shuffle=True, seed=seed, batch_size=8))
    np.testing.assert_allclose(found[0]["loss"], found[1]["loss"], rtol=1e-5)
    assert np.array_equal(found[0]["acc"], found[1]["acc"])
    again = Model(True, dropout=0.3)
    tg.manual_seed(11)
    same(again.fit(data, shuffle=True, seed=seed, batch_size=8), found[0], (again, compiled))
    other = Model(True, dropout=0.3).fit(data, shuffle=True, seed=6, batch_size=8)
    assert not np.array_equal(other["loss"], found[0]["loss"])


def test_every_epoch_has_all_rows_in_an_order_of_its_own(tmp_path: Path) -> None:
    pl.DataFrame({"x": np.arange(50.0)}).write_parquet(tmp_path / "a.parquet")
    seen: list[float] = []

    def step(x: Any) -> Any:
        seen.extend(x.tolist())
        return x.mean()

    data = tg.data.scan(tmp_path / "a.parquet", features="x", chunk_rows=12)
    history = tg.fit(step, data, 3, 7, seed=1, progress=False)
    parts = [seen[low : low + 50] for low in range(0, 150, 50)]
    assert all(sorted(part) == list(range(50)) for part in parts)
    assert parts[0] != parts[1] != parts[2]
    assert history["loss"].tolist() == pytest.approx([24.5] * 3)
    before, seen[:] = list(seen), []
    tg.fit(step, data, 3, 7, seed=1, progress=False)
    assert seen == before


@pytest.mark.parametrize("jitted", [True, False])
@pytest.mark.parametrize("seed", [2, None])
def test_a_fit_goes_on_from_its_checkpoint_with_the_same_bits(jitted: bool, seed: int | None, tmp_path: Path) -> None:
    x, y = rows(70)
    data = in_files(tmp_path, x, y, chunk_rows=16)
    (tmp_path / "run").mkdir()
    keep = tg.callbacks.Checkpoint(tmp_path / "run", every=2)
    more: dict[str, Any] = {"shuffle": True, "seed": seed, "batch_size": 6, "callbacks": [keep]}
    whole, stopped = Model(jitted, dropout=0.2), Model(jitted, dropout=0.2)
    tg.manual_seed(4)
    one = whole.fit(data, epochs=6, **{**more, "callbacks": []})
    tg.manual_seed(4)
    stopped.fit(data, epochs=4, **more)
    going_on = Model(jitted, dropout=0.2)
    other = going_on.fit(data, epochs=6, resume=True, **more)
    same(one, other, (whole, going_on))
    write = pl.DataFrame({name: x[::-1, k] for k, name in enumerate(FEATURES)} | {"y": y})
    write.write_parquet(tmp_path / "part-000.parquet")
    changed = tg.data.scan(tmp_path / "part-*.parquet", features=FEATURES, target="y", chunk_rows=16)
    with pytest.raises(DataError, match="of a run on other samples"):
        Model(jitted, dropout=0.2).fit(changed, epochs=8, resume=True, **more)


def test_callbacks_see_every_epoch_and_may_end_the_run() -> None:
    x, y = rows(40)
    seen: list[tuple[int, list[str]]] = []

    def watch(run: Any, logs: Any) -> None:
        seen.append((run.epoch, sorted(logs)))
        if run.epoch == 2:
            run.stop("enough")

    history = Model(True).fit(in_chunks(x, y, 9), epochs=5, callbacks=[watch])
    assert seen == [(1, ["acc", "loss"]), (2, ["acc", "loss", "test"])]
    assert history.stopped == "enough"
    assert history.epochs == 2


@pytest.mark.parametrize("jitted", [True, False])
def test_a_callback_may_change_what_the_step_is_made_of(jitted: bool) -> None:
    x, y = rows(40)
    models = Model(jitted), Model(jitted)
    found = []
    for model, data in zip(models, ((x, y), in_chunks(x, y, 9)), strict=True):

        def freeze(run: Any, logs: Any, model: Model = model) -> None:
            if run.epoch == 1:
                model.net[0].weight.requires_grad_(False)

        found.append(model.fit(data, epochs=4, callbacks=[freeze]))
    same(found[0], found[1], models)


def test_schedules_and_early_stopping() -> None:
    x, y = rows(60)
    models = Model(True), Model(True)
    found = []
    for model, data in zip(models, ((x, y), in_chunks(x, y, 25)), strict=True):
        slower = tg.callbacks.Schedule(tg.optim.lr_scheduler.StepLR(model.opt, 1, 0.5))
        early = tg.callbacks.EarlyStopping(model.net, patience=2, min_delta=0.05)
        found.append(model.fit(data, epochs=30, callbacks=[slower, early]))
    same(found[0], found[1], models)
    assert found[0].stopped == found[1].stopped != ""


@pytest.mark.parametrize("jitted", [True, False])
def test_a_label_out_of_range_names_file_and_row(jitted: bool, tmp_path: Path) -> None:
    x, y = rows(60)
    y[47] = 7
    model = Model(jitted)
    data = in_files(tmp_path, x, y, files=2, chunk_rows=11)
    more: dict[str, Any] = {"shuffle": True, "seed": 3}
    with pytest.raises(IndexOutOfRange, match=r"7 .*in row 17 of .*part-001\.parquet \(epoch 1, batch \d+\)"):
        model.fit(data, **more)
    before = model.weights
    assert all(np.isfinite(one).all() for one in before)
    with pytest.raises(IndexOutOfRange, match=r"7 .*in row 5 of chunk 6 \(epoch 1, batch 11\)"):
        Model(jitted).fit(in_chunks(x, y, 7))


@pytest.mark.parametrize("jitted", [True, False])
def test_what_is_not_finite_is_found_where_it_began(jitted: bool, tmp_path: Path) -> None:
    x = np.ones((50, 3), np.float32)
    x[33] = -1.0
    data = in_files(tmp_path, x, np.zeros(50, np.int64), files=2, chunk_rows=9)

    def made() -> tuple[Any, Any]:
        w = tg.ones(3, requires_grad=True)
        opt = tg.optim.SGD([w], lr=0.01)

        def step(x: Any, y: Any) -> Any:
            opt.zero_grad()
            loss = (x @ w).log().mean()
            loss.backward()
            opt.step()
            return loss

        return w, tg.jit(step) if jitted else step

    settings: dict[str, Any] = {"epochs": 2, "batch_size": 4, "shuffle": False, "progress": False}
    w, step = made()
    with pytest.raises(NonFiniteError, match=r"loss nan in epoch 1, batch 8, row 8 of .*part-001\.parquet") as caught:
        tg.fit(step, data, on_nonfinite="raise", **settings)
    assert caught.value.rows == (33,)
    assert caught.value.op == "log"
    good, other = made()
    tg.fit(other, (x[:32], np.zeros(32, np.int64)), **{**settings, "epochs": 1})
    assert np.array_equal(w.detach().numpy(), good.detach().numpy())
    w, step = made()
    with pytest.warns(NonFiniteWarning, match="loss nan in epoch 1, batch 8"):
        history = tg.fit(step, data, **settings)
    assert history.nonfinite == {"name": "loss", "epoch": 1, "batch": 8, "value": pytest.approx(np.nan, nan_ok=True)}
    w, step = made()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ended = tg.fit(step, data, **settings, callbacks=[tg.callbacks.TerminateOnNaN()])
    assert ended.stopped == "loss is nan in epoch 1"


def test_a_file_that_vanishes_in_between_ends_the_run(tmp_path: Path) -> None:
    x, y = rows(60)
    data = in_files(tmp_path, x, y, files=3, chunk_rows=5)

    def remove(run: Any, logs: Any) -> None:
        (tmp_path / "part-001.parquet").unlink()

    model = Model(True)
    with pytest.raises(FileError, match=r"^\[scan\] got .*part-001\.parquet: No such file"):
        model.fit(data, epochs=3, callbacks=[remove], shuffle=True)
    assert all(np.isfinite(one).all() for one in model.weights)


def test_an_error_of_the_function_of_chunks_arrives_as_it_was_raised() -> None:
    def function() -> Iterator[Any]:
        yield rows(10)
        raise RuntimeError("the database is gone")

    data = tg.data.chunks(function, rows=30)
    for jitted in (True, False):
        with pytest.raises(RuntimeError, match="the database is gone"):
            Model(jitted).fit(data)


@pytest.mark.parametrize("jitted", [True, False])
def test_ctrl_c_ends_the_run_between_two_batches(jitted: bool) -> None:
    x, y = rows(40)
    count = 0

    def function() -> Iterator[Any]:
        nonlocal count
        for low in range(0, 40, 10):
            count += 1
            if count == 7:
                signal.raise_signal(signal.SIGINT)
            yield x[low : low + 10], y[low : low + 10]

    history = Model(jitted).fit(tg.data.chunks(function, rows=40), epochs=500, batch_size=5)
    assert history.stopped is not None
    assert history.stopped.startswith("interrupted in epoch ")
    assert history.epochs < 500


def test_progress_tells_as_in_memory(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = rows(40)
    history = Model(True).fit(in_chunks(x, y, 10), progress=True)
    assert "fit: trace" in "".join(capsys.readouterr())
    assert history.metadata["compile"]["lower"] >= 0.0
    assert history.metadata["seconds"] > 0.0


def test_settings_that_chunks_do_not_have() -> None:
    x, y = rows(20)
    data = in_chunks(x, y, 8)
    for name, value in (("sample_weight", np.ones(20)), ("class_weight", "balanced")):
        with pytest.raises(ConfigError, match=rf"^\[fit\] got {name} beside data in chunks.*weight='column'"):
            Model(True).fit(data, **{name: value})
    for size in (0, 21, 2.5, True):
        with pytest.raises(DataError, match=r"^\[fit\] got batch_size=.* for 20 samples in chunks; .* from 1 to 20"):
            Model(True).fit(data, batch_size=size)
    with pytest.raises(DataError, match="all rows as one batch have to be in memory"):
        Model(True).fit(data, batch_size=None)


def test_weights_are_a_column_of_the_files(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": np.arange(6.0), "y": np.zeros(6), "w": [1.0, 0, 0, 0, 0, 3.0]})
    frame.write_csv(tmp_path / "a.csv")
    data = tg.data.scan(tmp_path / "a.csv", features=["x"], target="y", weight="w", chunk_rows=2)
    history = tg.fit(lambda x, y, w: (x[:, 0] * w).mean(), data, batch_size=3, shuffle=False, progress=False)
    assert history["loss"].tolist() == pytest.approx([15.0 / 6])
