"""Sweeps by other processes: the numbers of one process bit for bit, whoever dies meanwhile; and what goes wrong."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.sweep.builders import X, Y, build, mortal
from tinygrad_nn.compiler.run import lanes
from tinygrad_nn.errors import ConfigError, FileError, IndexOutOfRange, WorkerError
from tinygrad_nn.sweeping import away, errand, running, store
from tinygrad_nn.sweeping.away import Tasks

joblib = pytest.importorskip("joblib")
distributed = pytest.importorskip("distributed")
ROOT = Path(__file__).resolve().parents[2]


class Here:
    """Tasks one by one in this process, in another order."""

    name = "here"

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def count(self) -> int:
        return 2

    def outcomes(self, tasks: Tasks, told: Any, content: bytes) -> Iterator[Any]:
        for task in list(tasks)[::-1]:
            self.sizes.append(len(task[1]))
            yield errand.work(told, content, *task)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    found = Here()
    monkeypatch.setattr(tg.sweeping, "pool", lambda workers: found)
    return found


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A cluster of two processes, one thread each."""
    import dask

    with (
        pytest.MonkeyPatch.context() as patch,
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
    ):
        patch.setenv("PYTHONPATH", str(ROOT))
        cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0")
        with cluster, distributed.Client(cluster) as client:
            yield client


def swept(build: Any = build, data: Any = (X, Y), **given: Any) -> Any:
    return tg.sweep(build, data, **{"epochs": 5, "batch_size": 8, "seeds": range(40), "progress": False, **given})


def same(found: Any, wanted: Any) -> None:
    """Bit for bit, states too."""
    assert list(found) == list(wanted)
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])
    assert found.epochs.tolist() == wanted.epochs.tolist()
    for k, state in wanted._results.states.items():
        for a, b in zip(found._results.states[k], state, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_cluster_gives_the_numbers_of_one_process(client: Any) -> None:
    grid = {"hidden": [3, 4]}
    alone = swept(grid=grid, folds=2)
    found = swept(grid=grid, folds=2, workers="dask")
    same(found, alone)
    assert "by 2 processes (dask)" in tg.explain(found) or "by 1 process (dask)" in tg.explain(found)
    assert callable(found.load(-1)["step"])
    same(swept(workers=client), swept())


def test_nothing_is_lost_when_a_worker_is_killed(client: Any, tmp_path: Path) -> None:
    (tmp_path / "test").write_text(str(os.getpid()))
    grid = {"folder": [str(tmp_path)]}
    with joblib.parallel_config(backend="dask"):
        found = swept(mortal, grid=grid, workers="joblib")
    assert (tmp_path / "dead").exists()
    same(found, swept(mortal, grid=grid))


def test_nothing_is_lost_when_a_process_of_joblib_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "test").write_text(str(os.getpid()))
    grid = {"folder": [str(tmp_path)]}
    with joblib.parallel_config(backend="loky", n_jobs=2):
        found = swept(mortal, grid=grid, workers="joblib")
    assert (tmp_path / "dead").exists()
    assert "(loky)" in found.explain()
    same(found, swept(mortal, grid=grid))


def test_what_kills_every_worker_is_an_error_and_the_rest_stays(client: Any, tmp_path: Path) -> None:
    (tmp_path / "test").write_text(str(os.getpid()))
    given: Any = {"grid": {"folder": [str(tmp_path)], "always": [False, True]}, "store": tmp_path / "store"}
    (tmp_path / "dead").touch()
    with pytest.raises(WorkerError, match=r"workers that died one after the other while they trained model.* left"):
        swept(mortal, workers=client, **given)
    found = swept(mortal, **given)  # here, where nothing dies
    assert found.epochs.tolist() == [5] * 80


def test_a_cluster_without_workers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(away, "ABSENT", 0.2)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        pytest.raises(WorkerError, match=r"no worker for 0 s, with 40 models left; expected workers that stay"),
    ):
        swept(workers=client)


def test_another_version_on_the_worker(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tinygrad_nn", "NumPy", "Python"):
        monkeypatch.setattr(away, "versions", lambda name=name: {**errand.versions(), name: "0.0.1"})
        with pytest.raises(WorkerError, match=rf"the worker \S+ with {name} .*; expected 0\.0\.1 as here"):
            swept(workers=client)


def test_a_builder_that_workers_cannot_import(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("from tests.sweep.builders import build\ndef own(): return build()\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found, unused-ignore]

    with pytest.raises(WorkerError, match=r"the builder only_here\.own, which the worker \S+ cannot load \(ModuleNot"):
        swept(only_here.own, workers=client)
    sys.modules.pop("only_here")


def test_a_function_in_a_function_is_sent_along(client: Any) -> None:
    hidden = 3

    def own() -> Any:
        return build(hidden)

    same(swept(own, workers=client), swept(own))


# ---- in this process ---------------------------------------------------------------------------------------------


def test_tasks_change_no_bit(here: Here) -> None:
    rows = [np.arange(12) % 40, np.arange(40), np.arange(5, 25)]
    by = np.repeat(["a", "b", "c"], [10, 20, 10])
    for given in (
        {"by": by, "seeds": range(7)},
        {"folds": [(rows[0], np.arange(12, 20)), (rows[2], np.arange(5))]},
        {"random": {"lr": (1e-3, 1e-1, "log"), "batch_size": [4, 8]}, "trials": 9, "seeds": range(4)},
    ):
        same(swept(workers="here", **given), swept(**given))
    assert len(here.sizes) > 8


def test_lanes_or_not_is_chosen_for_all_and_not_for_a_task(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK", "WORTH"):
        monkeypatch.setattr(lanes, name, 0.0)
    monkeypatch.setattr(running, "chosen", lambda training, varying, models, epochs: lanes.Choice(
        lanes.natural(training, varying, training.target) if models == 40 else 1, "so many"))  # fmt: skip
    monkeypatch.setattr(away, "FIRST", 3)
    found = swept(workers="here")
    assert here.sizes[-1] == 3
    assert "lanes: so many" in found.explain()
    same(found, swept())


def test_the_default_dtype_goes_along(here: Here) -> None:
    x = X.astype(np.float64)
    tg.set_default_dtype(tg.float64)
    try:
        alone = swept(data=(x, Y))
        own = errand.work

        def elsewhere(*given: Any) -> Any:
            tg.set_default_dtype(tg.float32)
            try:
                return own(*given)
            finally:
                assert tg.get_default_dtype() == tg.float32
                tg.set_default_dtype(tg.float64)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(errand, "work", elsewhere)
            errand._known.clear()
            same(swept(data=(x, Y), workers="here"), alone)
    finally:
        tg.set_default_dtype(tg.float32)


def test_an_error_names_the_model_and_leaves_the_rest(here: Here) -> None:
    y = Y.copy()
    y[7] = 5
    with pytest.raises(IndexOutOfRange) as alone:
        swept(data=(X, y), epochs=1, shuffle=False)
    with pytest.raises(IndexOutOfRange, match=r"model \d+, epoch 1, batch 0") as caught:
        swept(data=(X, y), epochs=1, shuffle=False, workers="here", by=np.array([0, 1]).repeat(20))
    assert "Traceback" in caught.value.__notes__[0]
    assert str(alone.value).partition("(model")[0] == str(caught.value).partition("(model")[0]
    found = caught.value.sweep  # type: ignore[attr-defined]
    assert 0 < (found.epochs > 0).sum() < 80


def test_a_full_disk_loses_nothing(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, written = store.write_atomic, []

    def full(path: Path, *given: Any) -> None:
        written.append(path)
        if len(written) > 9:
            fault = FileError("full")
            fault.strerror = "No space left on device"
            raise fault
        own(path, *given)

    monkeypatch.setattr(store, "SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_atomic", full)
        with pytest.raises(FileError, match=r"No space left on device.*started again goes on") as caught:
            swept(workers="here", store=tmp_path / "s")
    assert caught.value.sweep.epochs.any()  # type: ignore[attr-defined]
    here.sizes.clear()
    found = swept(workers="here", store=tmp_path / "s")
    assert sum(here.sizes) == 40 - 8
    same(found, swept())


class TestSizes:
    """How many models make a task."""

    def test_few_are_sent_as_long_as_nobody_knows(self) -> None:
        sent = [len(numbers) for _, numbers in Tasks(np.arange(1000), np.zeros(1000, int), 4)]
        assert sent[0] == 16
        assert sum(sent) == 1000
        assert len(next(Tasks(np.arange(6), np.zeros(6, int), 4))[1]) == 1

    @pytest.mark.parametrize("seconds", [1e-4, 1e-3, 0.02, 0.4, 3.0])
    def test_half_a_second_at_least(self, seconds: float) -> None:
        tasks = Tasks(np.arange(50_000), np.zeros(50_000, int), 8)
        tasks.seconds = {0: seconds}
        sent = [len(numbers) * seconds for _, numbers in tasks]
        assert min(sent[:-1]) >= 0.5
        assert max(sent) <= max(1.0, seconds) + 17 * seconds

    def test_every_model_once_whatever_is_lost(self) -> None:
        classes = np.arange(500) % 3
        tasks, seen = Tasks(np.arange(500), classes, 2), []
        for k, (number, numbers) in enumerate(tasks):
            if k % 3 == 1 and k < 60:
                tasks.lost()
                continue
            assert tasks.settle(errand.Outcome(number, [], {0: 0.01}, [], "", ""))
            assert not tasks.settle(errand.Outcome(number, [], {}, [], "", ""))
            seen += numbers.tolist()
        assert sorted(seen) == list(range(500))
        assert tasks.left() == "0 models left"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"workers": 0}, r"workers"),
        ({"workers": "dsk"}, r"workers='dsk' .*expected a number of threads, 'joblib'"),
        ({"workers": "threading"}, r"workers='threading': threads; expected processes; hint: workers=4"),
        ({"workers": [2]}, r"workers"),
        ({"workers": "loky", "evaluate": lambda: {"acc": 1.0}}, "evaluate beside a builder for workers='loky'"),
        ({"workers": "loky", "callbacks": [lambda run, logs: None]}, "callbacks beside a builder"),
    ],
)
def test_wrong_workers(given: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        swept(**given)


def test_a_step_cannot_be_sent() -> None:
    with pytest.raises(ConfigError, match="a step for workers='loky'; expected a builder that makes all of it"):
        swept(build()["step"], workers="loky")


def test_a_builder_that_cannot_be_sent() -> None:
    lock = threading.Lock()

    def own() -> Any:
        with lock:
            return build()

    with pytest.raises(ConfigError, match=r"own, which cannot be sent to workers .*lock"):
        swept(own, workers="loky")


def test_dask_without_a_cluster_and_ray_without_ray() -> None:
    if distributed.client._get_global_client() is None:
        with pytest.raises(ConfigError, match=r"workers='dask' .*hint: a client first"):
            swept(workers="dask")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(away, "find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=r"workers='ray' without ray.*pip install ray"):
            swept(workers="ray")


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A cluster of two processes; what it says on the screen is left out."""
    import ray

    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    yield ray
    ray.shutdown()


def test_ray_gives_the_numbers_of_one_process(ray: Any) -> None:
    found = swept(workers="ray", folds=2)
    same(found, swept(folds=2))
    assert "by 2 processes (ray)" in found.explain()


def test_nothing_is_lost_when_a_process_of_ray_is_killed(ray: Any, tmp_path: Path) -> None:
    (tmp_path / "test").write_text(str(os.getpid()))
    grid = {"folder": [str(tmp_path)]}
    register = import_module("ray.util.joblib").register_ray
    register()
    with joblib.parallel_config(backend="ray"):
        found = swept(mortal, grid=grid, workers="joblib")
    assert (tmp_path / "dead").exists()
    same(found, swept(mortal, grid=grid))


def test_what_kills_every_process_of_ray_is_an_error(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(away, "TRIES", 0)
    (tmp_path / "test").write_text(str(os.getpid()))
    (tmp_path / "dead").touch()
    with pytest.raises(WorkerError, match=r"workers that died .*WorkerCrashedError.* models left"):
        swept(mortal, workers="ray", grid={"folder": [str(tmp_path)], "always": [True]})
    same(swept(workers="ray"), swept())  # those that come after them work
