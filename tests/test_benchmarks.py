"""The parts of `python -m tests.benchmarks`: never how long anything takes."""

from __future__ import annotations

import importlib
import json
import math
import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.benchmarks import inputs, products, report, runner, worker
from tests.benchmarks.contestants import CONTESTANTS, Contestant, Setting, passes
from tests.benchmarks.runner import QUICK, Measured
from tests.benchmarks.workloads import WORKLOADS, Target, Workload
from tinygrad_nn.compiler import blas
from tinygrad_nn.executor import run

ROOT = Path(__file__).resolve().parents[1]
LOAD = Workload("load", "Something", "us/epoch", 1e6, 1000, 100, targets=(Target(1.3, "limit"), Target(5.0)))


def figures() -> list[Measured]:
    return [
        Measured("limit", 1000, [2.0, 2.0, 2.0]),
        Measured("numpy", 200, [40.0, 44.0, 48.0], {100: [0.5, 1.0], 200: [0.25, 1.0]}),
        Measured("compiled", 1000, [4.0, 4.0, 5.0], {100: [0.5, 1.0], 1000: [0.125, 1.0]}),
        Measured("jax", left_out="jax is not installed: pip install it"),
    ]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "tests.benchmarks", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (0.0, "0"), (1.3, "1.30"), (12.34, "12.3"), (1234.5, "1,234"), (0.0145, "0.0145"), (3e-6, "3.0e-06")],
)
def test_numbers_have_three_digits(value: float | None, shown: str) -> None:
    assert report.number(value) == shown


def test_table_has_ratios_to_the_limit_and_to_the_compiled_step() -> None:
    found = report.table(LOAD, figures())
    rows = {row[0]: row[1:] for row in found.rows}
    assert rows["NumPy by hand"][:6] == ("44.0", "40.0..48.0 (3)", "22.0", "10.0", "200", "0.5")
    assert rows["NumPy by hand"][6] == "scaled to 1,000"
    assert rows["limit.cpp"][2:4] == ("1.00", "0.500")
    assert found.targets == (
        "target: tinygrad_nn compiled at most 1.3 x limit.cpp: 2.00 not met",
        "target: tinygrad_nn compiled at most 5 us/epoch: 4.00 met",
    )


def test_who_is_left_out_is_named_in_text_and_markdown() -> None:
    tables = [report.table(LOAD, figures())]
    for shown in (report.text(tables), report.markdown(tables, "machine")):
        assert "left out: JAX jit: jax is not installed: pip install it" in shown
        assert "JAX jit  " not in shown


def test_text_is_aligned() -> None:
    lines = report.text([report.table(LOAD, figures())]).splitlines()[1:5]
    assert lines[0].split() == ["contestant", "median", "spread", "/", "limit", "/", "compiled", "iterations", "loss"]
    assert len({line.index("(3)") for line in lines[1:]}) == 1


def test_ratio_is_the_median_of_the_rounds() -> None:
    found = [Measured("numpy", 1, [10.0, 30.0, 20.0]), Measured("compiled", 1, [1.0, 10.0])]
    assert report.ratio(found, "numpy", "compiled") == 6.5
    assert report.ratio(found, "numpy", "limit") is None


def test_a_target_without_figures_is_not_measured() -> None:
    assert report.verdict(LOAD, [], Target(1.0, "torch")).endswith("PyTorch eager: not measured")


@pytest.mark.parametrize("wrong", [0.5 * (1 + 1e-5), math.nan])
def test_a_wrong_loss_is_flagged(wrong: float) -> None:
    found = figures()
    report.compare(LOAD, found)
    assert [one.wrong for one in found] == [None] * 4
    found[2].values[100] = [wrong, 1.0]
    report.compare(LOAD, found)
    assert [one.contestant for one in found if one.wrong] == ["compiled"]
    assert "MISMATCH" in report.text([report.table(LOAD, found)])
    assert "after 100 iterations where NumPy by hand has 0.5" in (found[2].wrong or "")


def test_a_wrong_score_and_a_missing_one_are_flagged() -> None:
    for values in ([0.5, 0.9], [0.5]):
        found = figures()
        found[2].values[100] = values
        report.compare(LOAD, found)
        assert found[2].wrong is not None


def test_losses_after_other_numbers_of_iterations_are_not_compared() -> None:
    found = figures()
    found[2].values = {1000: [9.0, 9.0]}
    report.compare(LOAD, found)
    assert found[2].wrong is None


def test_a_contestant_that_is_not_installed_says_what_installs_it() -> None:
    absent = Contestant("none", "None", "none", ("no_such_module",))
    assert absent.missing() == 'no_such_module is not installed: pip install -e ".[bench]"'
    assert CONTESTANTS["numpy"].missing() is None


def test_the_limit_says_why_it_cannot_be_built(tmp_path: Path) -> None:
    assert "no file" in (runner.build_limit(tmp_path, tmp_path / "limit.cpp") or "")


def test_a_contestant_that_fails_is_left_out_with_its_last_words(tmp_path: Path) -> None:
    (one,) = runner.measure(WORKLOADS["titanic"], ["limit"], QUICK, tmp_path, {})
    assert one.left_out is not None
    assert one.left_out.startswith("failed: FileNotFoundError")


def test_what_a_contestant_does_not_do_is_no_row(tmp_path: Path) -> None:
    assert runner.measure(WORKLOADS["step"], ["limit"], QUICK, tmp_path, {}) == []


@pytest.mark.parametrize(("seconds", "iterations"), [(10.0, 200), (0.01, 1000), (0.0005, 10_000), (0.0, 10_000)])
def test_slow_contestants_do_fewer_iterations(seconds: float, iterations: int) -> None:
    assert runner.affordable(WORKLOADS["iris"], seconds, QUICK) == iterations


@pytest.mark.parametrize(
    ("seconds", "iterations"),  # of 500 sequences, for a sample of four times 0.05 s
    [(1.0, 500), (0.02, 5000), (0.002, 45_111), (0.0006, 90_222), (0.0001, 902_220), (0.0, 4_511_100)],
)
def test_a_sample_is_part_of_a_pass_or_whole_passes(seconds: float, iterations: int) -> None:
    assert runner.affordable(WORKLOADS["fraud-kaggle"], seconds, QUICK) == iterations
    rows, epochs = passes(iterations, 45_111)
    assert rows * epochs == iterations


def ran(contestant: str, function: str, iterations: int, arrays: dict[str, np.ndarray], file: str = "") -> list[float]:
    module = importlib.import_module(f"tests.benchmarks.contestants.{CONTESTANTS[contestant].module}")
    before = tg.get_default_dtype()
    try:
        run = module.WORKLOADS[function](Setting(contestant, arrays, {}, file))
        values: list[float] = run(iterations).values
    finally:
        tg.set_default_dtype(before)
    return values


@pytest.mark.parametrize(
    ("function", "iterations"),
    [("fraud-small", 3), ("fraud-small-batch", 3), ("fraud-kaggle", 20), ("fraud-kaggle", 150),
     ("fraud-kaggle-64", 70), ("fraud-kaggle-64", 150)],
)  # fmt: skip
def test_contestants_train_alike_on_sequences(function: str, iterations: int) -> None:
    arrays = inputs.fraud_small() if "small" in function else inputs.recurrent(5, (75, 10, 29), 10, 1, 0.2, np.float64)
    by_hand, compiled = (ran(name, function, iterations, arrays) for name in ("numpy", "compiled"))
    assert compiled == pytest.approx(by_hand, rel=1e-9)


def test_contestants_read_the_same_sequences(tmp_path: Path) -> None:
    path = tmp_path / "payments.csv"
    tg.data.synthetic.payments(20, seed=3).to_csv(path)
    found = [ran(name, "csv", 1, {}, str(path)) for name in ("numpy", "polars", "compiled")]
    assert found[0][:2] == [20, 200]
    assert found[1] == pytest.approx(found[0])
    assert found[2] == pytest.approx(found[0])


def test_peak_is_the_most_memory_since_it_was_forgotten() -> None:
    def use(megabytes: int) -> None:  # pages that nobody had before
        with mmap.mmap(-1, megabytes * 2**20) as block:
            for start in range(0, len(block), mmap.PAGESIZE):
                block[start] = 1

    use(30)
    worker.forget_peak()
    before = worker.peak()
    use(20)
    assert 15 < worker.peak() - before < 25


@pytest.mark.parametrize("name", [name for name in inputs.INPUTS if not name.startswith("fraud-kaggle")])
def test_inputs_are_the_same_every_time(name: str) -> None:
    first, second = inputs.INPUTS[name](), inputs.INPUTS[name]()
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_every_workload_has_inputs() -> None:
    assert {row.function for row in WORKLOADS.values()} <= {*inputs.INPUTS, "csv"}


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    found = command("--only", "irsi")
    assert found.returncode == 2
    assert "got 'irsi'; expected some of iris, " in found.stderr


def test_a_quick_run_writes_everything(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = command("--quick", "--only", "step", "--contestants", "numpy,compiled", "--out", str(tmp_path / "out"))
    assert found.returncode == 0, found.stderr
    assert "NumPy by hand" in found.stdout
    stored = json.loads((tmp_path / "out" / "benchmarks.json").read_text(encoding="utf-8"))
    contestants = stored["workloads"]["step"]["contestants"]
    assert [one["contestant"] for one in contestants] == ["numpy", "compiled"]
    assert all(one["median"] > 0 and one["wrong"] is None and one["left_out"] is None for one in contestants)
    assert "### step" in (tmp_path / "out" / "benchmarks.md").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "benchmarks.png").stat().st_size > 1000


def test_a_fresh_workload_runs_every_sample_in_a_process_of_its_own(tmp_path: Path) -> None:
    found = command("--quick", "--only", "iris-first,memory", "--contestants", "numpy", "--out", str(tmp_path))
    assert found.returncode == 0, found.stderr
    stored = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))["workloads"]
    assert len(stored["iris-first"]["contestants"][0]["amounts"]) == QUICK.rounds
    assert "import, ms" in stored["memory"]["contestants"][0]["notes"]


def test_products_are_timed_beside_a_blas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("scipy")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(blas, "FROM", blas.FROM)  # which it changes
    products.main(["--dtype", "float64", "--shapes", "8x3x5", "--flags", "nn", "tt", "--seconds", "0"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["8x3x5", "nn"], ["8x3x5", "tt"]]
    assert lines[3].startswith("2 products, ")


def test_products_are_those_of_their_shapes_and_flags() -> None:
    x, y = np.random.default_rng(0).normal(size=(3, 8)), np.random.default_rng(1).normal(size=(5, 3))
    case = products.Case((8, 3, 5), "float64", "tt")
    (product,), _ = run(case.graph(), [x, y])
    np.testing.assert_allclose(product, x.T @ y.T)
    assert case.flops == 2 * 8 * 3 * 5
