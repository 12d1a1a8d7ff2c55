"""What every example promises: flags that mean what they say, a quiet end, models that come back, and figures with
their spread.
"""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.page.document import data_of

from .loading import EXAMPLES, load
from .test_tutorials import blocks, check_shown

common = load("iris").common
# flags of a run that takes no time, with generated or bundled data
TRAINERS = {
    "iris": [],
    "titanic": ["--data", "titanic.csv"],
    "fraud": ["--model", "small"],
    "forecast": ["--window", "4", "--horizon", "1"],
}
ALL = [*TRAINERS, "compiled_step", "custom_op", "draw_graph", "second_derivative"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a list of passengers."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{k % 2},{k % 3 + 1},{'female' if k % 2 else 'male'},{20 + k % 40},{8 + k % 70}" for k in range(60)]
    Path("titanic.csv").write_text("\n".join(["Survived,Pclass,Sex,Age,Fare", *rows, "1,1,female,,"]))
    return tmp_path


def parameters(name: str, *flags: str) -> dict[str, Any]:
    """The weights of a run, through the file it leaves."""
    load(name).main([*TRAINERS[name], "--runs", "1", "--save", "model.npz", *flags])
    return {key: value.tolist() for key, value in tg.load("model.npz")["model"].items()}


@pytest.mark.parametrize("name", TRAINERS)
def test_no_epochs_and_no_learning_rate_leave_the_weights(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = parameters(name, "--epochs", "0")
    text = capsys.readouterr().out
    assert "0 epochs: the first weights, untrained" in text
    assert "time: nothing was trained" in text
    still = parameters(name, "--epochs", "3", "--lr", "0")
    assert " of 3 epochs" in capsys.readouterr().out
    moved = parameters(name, "--epochs", "3", "--lr", "0.01")
    assert first == still != moved


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--epochs", "-1", "a whole number, at least 0"),
        ("--epochs", "1.5", "a whole number, at least 0"),
        ("--epochs", "many", "a whole number, at least 0"),
        ("--lr", "-0.1", "a number, at least 0"),
        ("--lr", "nan", "a number, at least 0"),
        ("--lr", "inf", "a number, at least 0"),
        ("--seed", "-1", "a whole number, at least 0"),
        ("--runs", "0", "a whole number, at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    name: str, flag: str, value: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        load(name).main([flag, value])
    assert stop.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: argument {flag}: got {value!r}; expected {expected}\n")


@pytest.mark.parametrize("name", TRAINERS)
def test_what_a_file_cannot_be(name: str, folder: Path) -> None:
    main = load(name).main
    flags = [*TRAINERS[name], "--epochs", "1", "--runs", "1"]
    with pytest.raises(tg.errors.ConfigError, match=r"\[--save\] got nowhere/model.npz; expected a file in a folder"):
        main([*flags, "--save", "nowhere/model.npz"])
    with pytest.raises(tg.errors.DataError, match=r"\[load\] got no file none.npz"):
        main([*flags, "--load", "none.npz"])
    tg.save({"example": "poem"}, "other.npz")
    with pytest.raises(tg.errors.DataError, match=rf"other.npz, a model of poem.py; expected a file written by {name}"):
        main([*flags, "--load", "other.npz"])
    tg.save([1, 2], "list.npz")
    with pytest.raises(tg.errors.DataError, match=r"list.npz, which no example saved"):
        main([*flags, "--load", "list.npz"])
    Path("text.npz").write_text("weights")
    with pytest.raises(tg.errors.DataError, match=r"\[load\] got text.npz"):
        main([*flags, "--load", "text.npz"])


@pytest.mark.parametrize("name", TRAINERS)
def test_every_figure_has_its_spread(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(name).main([*TRAINERS[name], "--epochs", "20", "--runs", "3"])
    text = capsys.readouterr().out
    assert "over 3 seeds" in text
    assert max(map(len, text.splitlines())) <= 100
    for line in text.splitlines():
        if re.search(r"accuracy|\bmae\b|\brmse\b|\br2\b|\bf1\b|RMSE", line) and re.search(r"\d\.\d", line):
            assert "±" in line or line.startswith("largest difference"), line
    epochs = [line for line in text.splitlines() if re.match(r" *\d+ +\d", line) and "±" in line]
    assert len(epochs) >= 10
    assert len({len(line) for line in epochs}) == 1  # in columns


def test_spread_is_that_of_a_sample() -> None:
    values = np.random.default_rng(0).normal(3, 2, 7)
    assert common.spread(values, 6) == f"{values.mean():.6f} ± {values.std(ddof=1):.6f}"
    assert common.spread([2.0]) == "2.000"


def test_a_run_interrupted_after_others_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    class Run:
        def __init__(self, seed: int) -> None:
            stopped = "interrupted in epoch 4" if seed == 9 else None
            self.seed, self.history = seed, tg.History(stopped=stopped, epochs=3)

    iris = load("iris")
    found = common.repeat(iris.parse(["--seed", "7"]), Run)
    assert [run.seed for run in found] == [7, 8]
    assert capsys.readouterr().err == "interrupted in epoch 4; 2 of 5 runs are reported\n"
    assert [run.seed for run in common.repeat(iris.parse(["--seed", "9"]), Run)] == [9]


@pytest.mark.parametrize("name", ALL)
def test_help_and_a_wrong_flag(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for flag, code in (("--help", 0), ("--wrong", 2)):
        with pytest.raises(SystemExit) as stop:
            load(name).main([flag])
        assert stop.value.code == code
    shown = capsys.readouterr()
    assert f"python examples/{name}.py" in shown.out
    assert "unrecognized arguments: --wrong" in shown.err


@pytest.mark.parametrize("name", ["iris", "second_derivative"])
def test_a_reader_that_has_seen_enough_ends_it_quietly(name: str, folder: Path) -> None:
    flags = ["--epochs", "2", "--runs", "1"] if name == "iris" else []
    program = subprocess.Popen(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    program.stdout.close()
    assert program.stderr is not None
    assert program.stderr.read() == b""
    assert program.wait() == 0
    program.stderr.close()


def test_ctrl_c_ends_training_and_reports(folder: Path) -> None:
    code = """
        import runpy, signal, sys
        import tinygrad_nn as tg

        def press(run, logs):
            if run.epoch == 3:
                signal.raise_signal(signal.SIGINT)

        fit = tg.fit
        tg.fit = lambda *args, **settings: fit(*args, **settings, callbacks=[press])
        sys.argv = sys.argv[1:]
        runpy.run_path(sys.argv[0], run_name="__main__")
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(EXAMPLES / "forecast.py"), "--no-jit", "--runs", "2"]
    done = subprocess.run([*command, "--window", "4"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == "interrupted in epoch 4; 1 of 2 runs are reported\n"
    assert "every one of 3 epochs is recorded" in done.stdout
    assert "naive rmse" in done.stdout


@pytest.mark.parametrize("error", [KeyboardInterrupt(), tg.errors.DataError("[x] got y"), OSError("gone")])
def test_an_end_without_a_traceback(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as stop:
        common.start(fail)
    assert stop.value.code == (130 if isinstance(error, KeyboardInterrupt) else f"error: {error}")


def test_without_a_network_the_first_command_works(folder: Path) -> None:
    """README's first command prints what README shows, where every connection fails and the folder is empty."""
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^python3 -m venv .* && \.venv/bin/python (examples/.*)$", readme, re.MULTILINE)
    name, *flags = command.split()
    path = str(EXAMPLES.parent / name)
    code = f"import runpy, socket, sys\ndel socket.getaddrinfo\nsys.argv = {[path, *flags]!r}\n"
    code += f"runpy.run_path({path!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    shown = next(content for language, content in blocks(readme) if language == "")
    check_shown(shown, done.stdout)
    assert "one run eagerly" in shown
    assert os.listdir(folder) == ["titanic.csv"]  # it leaves nothing behind


def test_an_example_runs_from_anywhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["custom_op.py"])
    runpy.run_path(str(EXAMPLES / "custom_op.py"), run_name="__main__")


def test_a_curve_of_a_run_that_was_not_judged_yet_or_came_to_nothing() -> None:
    history = tg.History()
    history.log_epochs({"loss": [1.0, float("inf"), float("nan")]})
    lines = common.curve([history, history], {"loss": "loss", "accuracy": "accuracy"})
    assert [line.split() for line in lines[1:]] == [
        ["epoch", "loss"], ["1", "1.0000", "±", "0.0000"], ["2", "inf", "±", "nan"], ["3", "nan", "±", "nan"]
    ]  # fmt: skip


def test_a_curve_says_how_often_it_was_judged() -> None:
    history = tg.History()
    history.log_epochs({"loss": list(range(400, 0, -1))})
    history.log_evaluations(list(range(4, 401, 4)), {"accuracy": [k / 100 for k in range(100)]})
    lines = common.curve([history], {"loss": "loss", "accuracy": "accuracy"})
    assert lines[0].endswith("; every 4th of 400 epochs is recorded")
    assert [line.split() for line in lines[2:5]] == [
        ["4", "397.0000", "0.0000"], ["40", "361.0000", "0.0900"], ["80", "321.0000", "0.1900"]
    ]  # fmt: skip
    assert lines[-1].split()[0] == "400"


@pytest.mark.parametrize("name", TRAINERS)
def test_a_report_shows_the_first_run(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(name).main([*TRAINERS[name], "--runs", "2", "--epochs", "4", "--report", "page.html"])
    assert capsys.readouterr().out.count("wrote page.html") == 1
    found = data_of(Path("page.html").read_text(), "run")
    assert found["epochs"] == [0, 1, 2, 3, 4]
    assert found["curves"]["epochs"] == 4
    assert found["weights"]["tensors"]
    assert len(found["worst"]["rows"]) > 0


def test_a_report_of_nothing_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    iris = load("iris")
    for flags, words in (
        (["--load", "iris.npz"], "trains nothing"),
        (["--gradcheck"], "trains nothing"),
        (["--report", "missing/page.html"], "a folder that exists"),
    ):
        with pytest.raises(tg.errors.ConfigError, match=words):
            iris.main([*flags, *([] if "--report" in flags else ["--report", "page.html"])])
    iris.main(["--epochs", "0", "--runs", "1", "--report", "page.html"])
    assert "The history is empty" in data_of(Path("page.html").read_text(), "run")["curves"]["missing"]
