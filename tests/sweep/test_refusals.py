"""What a sweep cannot do is said before anything is trained, by the name of the setting; what went wrong in the middle
takes nothing with it that was finished.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.sweep.test_sweep import X, Y, parameters, recipe
from tinygrad_nn import nn
from tinygrad_nn.errors import ConfigError, DataError, FileError, IndexOutOfRange, ShapeError, TooLarge
from tinygrad_nn.support import files
from tinygrad_nn.sweeping import Sweep
from tinygrad_nn.sweeping import store as store_module

RARE = np.where(np.arange(31) == 3, 1, 0)
WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"grid": {"momentun": [0.1]}}, ConfigError, "setting 'momentun'.*did you mean 'momentum'"),
    ({"grid": {"hidden": [8, 16]}}, ConfigError, r"setting 'hidden'.*def build\(hidden\)"),
    ({"grid": {"op.lr": [0.1]}}, ConfigError, "setting 'op.lr'"),
    ({"grid": {"params": [1]}}, ConfigError, "setting 'params'"),
    ({"grid": {"lr": ["0.1"]}}, ConfigError, "lr='0.1'.*a finite number"),
    ({"grid": {"lr": [True]}}, ConfigError, "lr=True"),
    ({"grid": {"lr": [None]}}, ConfigError, "lr=None"),
    ({"grid": {"lr": [0.1, -1.0]}}, ConfigError, "lr=-1.0"),
    ({"grid": {"lr": [float("nan")]}}, ConfigError, "lr=nan"),
    ({"grid": {"nesterov": ["yes"]}}, ConfigError, "nesterov='yes'.*True or False"),
    ({"grid": {"momentum": [(0.1, 0.2)]}}, ConfigError, "momentum="),
    ({"grid": {"lr": 0.1}}, ConfigError, "a list of values"),
    ({"grid": {"lr": []}}, ConfigError, "grid without a value of lr.*K = 0"),
    ({"grid": {"lr": {0.1, 0.2}}}, ConfigError, "a list of values"),
    ({"grid": [("lr", 1)]}, ConfigError, "a dict of names and values"),
    ({"grid": {3: [1]}}, ConfigError, "a dict of names and values"),
    ({"grid": {"batch_size": [99]}}, DataError, "batch_size=99 for 31 samples"),
    ({"grid": {"columns": [[7]]}}, ConfigError, r"columns=\[7\].*from 0 to 2"),
    ({"grid": {"columns": [["a"]]}}, ConfigError, "columns="),
    ({"grid": {"sample_weight": [[1, 2]]}}, DataError, "one number per sample"),
    ({"grid": {"class_weight": ["bal"]}}, ConfigError, "class_weight 'bal'"),
    ({"random": {"lr": (1, 0)}}, ConfigError, "low < high"),
    ({"random": {"lr": (0, 1, "log")}}, ConfigError, "low above 0"),
    ({"random": {"lr": (0.1, 1)}, "trials": 0}, ConfigError, "trials 0"),
    ({"random": {"lr": (0.1, 1)}, "grid": {"lr": [1]}}, ConfigError, "'lr' in grid and in random"),
    ({"seeds": []}, ConfigError, "no seeds.*K = 0"),
    ({"seeds": 5}, ConfigError, r"seeds=range\(5\)"),
    ({"seeds": [1, 1]}, ConfigError, "a seed twice"),
    ({"seeds": [1.5]}, ConfigError, "seed 1.5"),
    ({"seeds": [1], "seed": 2}, ConfigError, "seed and seeds"),
    ({"seeds": [1, 2], "shuffle": False}, ConfigError, "none changes anything.*reset_parameters"),
    ({"folds": 40}, DataError, "folds=40 for 31 rows"),
    ({"folds": 1}, DataError, "folds=1 for 31 rows"),
    ({"folds": tg.data.KFold(40)}, DataError, "k=40 for 31 rows"),
    ({"folds": "lo"}, ConfigError, "'loo'"),
    ({"folds": 0.5}, ConfigError, "folds=0.5"),
    ({"folds": []}, ConfigError, "no folds"),
    ({"folds": [([0, 1], [1])]}, DataError, "row 1 in fold 0 both"),
    ({"folds": [([0, 1], [40])]}, DataError, "row 40 in fold 0"),
    ({"folds": [([], [1])]}, ConfigError, "at least one"),
    ({"data": (X, RARE), "folds": 5}, DataError, "no row of class 1 among those that train in fold"),
    ({"data": (X, RARE), "folds": "loo"}, DataError, "no row of class 1 among those that train in fold 3"),
    ({"by": "customer"}, DataError, "by='customer'"),
    ({"by": [1, 2]}, DataError, "one value for each of 31 rows"),
    ({"by": np.arange(31), "folds": 2}, DataError, "folds=2 for 1 rows of 0"),
    ({"how": "fast"}, ConfigError, "'auto', 'arenas' or 'lanes'"),
    ({"workers": 0}, ConfigError, "workers"),
    ({"epochs": 0}, ConfigError, "epochs"),
    ({"epochs": 10**10, "seeds": range(100)}, TooLarge, "100 models of 10,000,000,000 epochs"),
    ({"init": 3}, ConfigError, "init=3"),
    ({"on_nonfinite": "raise"}, ConfigError, "on_nonfinite"),
    ({"evaluate": lambda x: {"a": 0.0}}, ConfigError, "1 arguments for 2 columns"),
    ({"step": lambda: 3}, ConfigError, "a builder that returns a int"),
    ({"step": lambda: nn.Linear(2, 2)}, ConfigError, "a builder that returns a Linear"),
    ({"data": (X, Y[:5])}, DataError, "different lengths"),
    ({"store": 3}, FileError, "as the path"),
    ({"store": "/proc/nowhere"}, FileError, "store='/proc/nowhere'"),
    ({"callbacks": 3}, ConfigError, "callbacks=3"),
]


@pytest.mark.parametrize(("given", "error", "text"), WRONG, ids=[str(k) for k in range(len(WRONG))])
def test_what_cannot_be_is_said_by_name(given: Any, error: Any, text: str) -> None:
    one = recipe()
    given = {"step": one.step, "data": (X, Y), "epochs": 2, "progress": False, **given}
    before = parameters(one)
    with pytest.raises(error, match=text):
        tg.sweep(given.pop("step"), given.pop("data"), **given)
    assert all(np.array_equal(a, b) for a, b in zip(before, parameters(one), strict=True))


def test_an_init_that_makes_other_tensors_is_refused() -> None:
    one = recipe()

    def rebuilt() -> None:
        one.model[0] = nn.Linear(3, 4)

    with pytest.raises(ConfigError, match="init that puts other tensors"):
        tg.sweep(one.step, (X, Y), init=rebuilt, seeds=[1, 2], progress=False)
    one = recipe()
    with pytest.raises(ShapeError):
        tg.sweep(one.step, (X, Y), init=lambda: one.model[0].weight.assign(tg.zeros(2, 2)), seeds=[1], progress=False)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("how", ["arenas", "lanes"])
def test_a_bad_label_names_model_epoch_batch_and_row(compiled: bool, how: Any) -> None:
    labels = Y.copy()
    labels[17] = 9
    one = recipe(compiled=compiled)
    half = np.arange(31) % 2
    with pytest.raises(IndexOutOfRange, match=r"label 9 in row 17 \(model 1, epoch 1, batch 2\)") as found:
        tg.sweep(one.step, (X, labels), 2, 4, by=half, shuffle=False, how=how, progress=False)
    assert isinstance(found.value.sweep, Sweep)
    assert one.opt.state == {}


def test_what_was_finished_before_an_error_is_kept() -> None:
    labels = Y.copy()
    labels[30] = 9
    one = recipe()
    pairs = [(np.arange(10), [20]), (np.arange(5, 15), [20]), (np.arange(21, 31), [20]), (np.arange(8), [20])]
    with pytest.raises(IndexOutOfRange, match=r"row 30 \(model 2") as found:
        tg.sweep(one.step, (X, labels), 2, folds=pairs, how="arenas", progress=False)
    sweep: Any = found.value.sweep  # type: ignore[attr-defined]
    assert np.isfinite(sweep["loss"][:2]).all()
    assert np.isnan(sweep["loss"][2]).all()
    sweep.load(1)
    with pytest.raises(ConfigError, match="model 2, which was not trained"):
        sweep.load(2)


# ---- folders ---------------------------------------------------------------------------------------------------------


def run(folder: Path, **changes: Any) -> Any:
    one = recipe("Adam", 0.2)
    given: Any = {"seeds": range(9), "init": one.model.reset_parameters, "store": folder, "progress": False, **changes}
    data = given.pop("data", (X, Y))
    return one, tg.sweep(one.step, data, 3, 8, evaluate=one.scores, how="arenas", **given)


def test_a_sweep_goes_on_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(tmp_path / "whole")[1]
    monkeypatch.setattr(store_module, "MODELS", 2)
    one = recipe("Adam", 0.2)
    count = 0

    def init() -> None:
        nonlocal count
        count += 1
        if count > 6:
            raise OSError("the machine is gone")
        one.model.reset_parameters()

    with pytest.raises(OSError, match="gone"):
        tg.sweep(one.step, (X, Y), 3, 8, evaluate=one.scores, how="arenas", seeds=range(9), init=init,
                 store=tmp_path / "part", progress=False)  # fmt: skip
    assert list((tmp_path / "part").glob("part-*.npz"))
    trained = []
    other = recipe("Adam", 0.2)

    def counted() -> None:
        trained.append(1)
        other.model.reset_parameters()

    found = tg.sweep(other.step, (X, Y), 3, 8, evaluate=other.scores, how="arenas", seeds=range(9), init=counted,
                     store=tmp_path / "part", progress=False)  # fmt: skip
    assert len(trained) < 9
    for name in whole:
        np.testing.assert_array_equal(found[name], whole[name])
    again = run(tmp_path / "part")
    for k in range(9):
        found.load(k)
        again[1].load(k)
        for a, b in zip(parameters(other), parameters(again[0]), strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_folder_of_another_sweep_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "one")
    with pytest.raises(ConfigError, match="another sweep: its models differ"):
        run(tmp_path / "one", seeds=range(10))
    with pytest.raises(ConfigError, match="another sweep: its data differ"):
        run(tmp_path / "one", data=(X + 1, Y))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match=r"letter\.txt"):
        run(tmp_path / "other")
    part = next((tmp_path / "one").glob("part-*.npz"))
    part.write_bytes(b"no")
    with pytest.raises(DataError):
        run(tmp_path / "one")


def test_a_full_disk_leaves_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MODELS", 3)
    write, written = files._write_atomic, 0

    def full(path: Path, content: bytes, family: Path) -> None:
        nonlocal written
        written += 1
        if written > 2:
            raise OSError(28, "No space left on device")
        write(path, content, family)

    monkeypatch.setattr(files, "_write_atomic", full)
    with pytest.raises(FileError, match=r"No space left.*started again goes on"):
        run(tmp_path / "full")
    monkeypatch.setattr(files, "_write_atomic", write)
    assert len(list((tmp_path / "full").glob("part-*.npz"))) == 1
    np.testing.assert_array_equal(run(tmp_path / "full")[1]["loss"], run(tmp_path / "other")[1]["loss"])


def test_models_that_fit_trains_are_kept_in_a_folder_too(tmp_path: Path) -> None:
    one = recipe("Adam", compiled=False)
    given: Any = {"seeds": [1, 2], "init": one.model.reset_parameters, "store": tmp_path / "slow", "progress": False}
    found = tg.sweep(one.step, (X, Y), 3, 8, **given)
    other = recipe("Adam", compiled=False)
    again = tg.sweep(other.step, (X, Y), 3, 8, **{**given, "init": other.model.reset_parameters})
    np.testing.assert_array_equal(found["loss"], again["loss"])
    found.load(1)
    again.load(1)
    for a, b in zip(parameters(one), parameters(other), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("long", [False, True], ids=["many models", "long models"])
def test_ctrl_c_keeps_what_is_finished(compiled: bool, long: bool) -> None:
    one = recipe(compiled=compiled)
    before = parameters(one)
    pressed = threading.Event()
    count = 0

    def init() -> None:
        nonlocal count
        one.model.reset_parameters()
        count += 1
        if count == (1 if long else 4) and not pressed.is_set():
            pressed.set()
            threading.Timer(1.0 if long else 0.0, os.kill, (os.getpid(), signal.SIGINT)).start()

    epochs, seeds = (10**6, range(10)) if long else (2, range(100_000))
    found = tg.sweep(one.step, (X, Y), epochs, 8, seeds=seeds, init=init, progress=False)
    assert found.interrupted
    assert "interrupted" in repr(found)
    done = found.epochs > 0
    assert not done.all()
    if not long:
        assert done.any()
        assert np.isfinite(found["loss"][done]).all()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert all(np.array_equal(a, b) for a, b in zip(before, parameters(one), strict=True))
