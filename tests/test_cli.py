"""The command line: every command as it is typed, its exit code, what goes to stdout and what to stderr."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import cli, data, nn
from tinygrad_nn.cli import bench, doctor
from tinygrad_nn.support.extras import EXTRAS, pip_line, require

COMMANDS = ("doctor", "inspect", "predict", "export", "report", "bench")
NET = """
from tinygrad_nn import nn
print("noise of an import")
whole = nn.Linear(2, 1)
number = 3
class Holder:
    @staticmethod
    def net():
        return nn.Linear(4, 3)
def build():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
def needs(width):
    return nn.Linear(width, 1)
def broken():
    raise ValueError("no\\nsuch\\x1b[31m thing")
def leaves():
    raise SystemExit(7)
class Total(nn.Module):
    def forward(self, x):
        return x.sum()
class Two(nn.Module):
    def forward(self, x):
        return x, x
class Bad(nn.Module):
    def forward(self, x):
        raise KeyError("row")
"""


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model's code, its weights and scaler, and rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "net_of_cli", raising=False)
    (tmp_path / "net_of_cli.py").write_text(NET)
    rng = np.random.default_rng(1)
    scaler = data.StandardScaler.fit(rng.normal(size=(9, 4)), names=("a", "b", "c", "d"))
    tg.manual_seed(3)
    tg.save({"model": model(), "scaler": scaler, "epoch": 3}, "m.npz")
    (tmp_path / "rows.csv").write_text("d,id,a,b,c\n1,7,2,3,4\n5,8,6,7,8.5\n")
    return tmp_path


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def done(*words: str) -> Done:
        try:
            code = cli.main(words)
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Done(code, *capsys.readouterr())

    return done


def shell(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tinygrad_nn", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


def refused(done: Done, code: int, *parts: str) -> None:
    """Nothing on stdout, one plain line on stderr behind what the user's code printed."""
    line = done.err.removeprefix("noise of an import\n")
    assert (done.code, done.out) == (code, "")
    assert line.startswith("python -m tinygrad_nn")
    assert line.count("\n") == 1
    assert line[:-1].isprintable()
    assert all(part in line for part in parts), line


# ---- doctor, help, wrong arguments --------------------------------------------------------------------------------


def test_the_page_names_versions_extras_and_next_steps() -> None:
    done = shell()
    assert all(word in done.stdout for word in ("tinygrad_nn", "numpy", "cpu", "dot", *EXTRAS, "examples/titanic.py"))
    assert (done.returncode, done.stderr) == (0, "")
    assert shell("doctor").stdout == done.stdout


def test_a_missing_extra_is_shown_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_nn.cli.doctor.util.find_spec", lambda name: None)
    page = doctor.doctor()
    assert all(pip_line(extra) in page for extra in EXTRAS)


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)])
def test_help_shows_examples_and_exit_codes(run: Any, words: list[str]) -> None:
    done = run(*words, "--help")
    assert (done.code, done.err) == (0, "")
    assert "exit codes: 0 done; 1" in done.out
    for name in words or COMMANDS[1:]:
        assert f"python -m tinygrad_nn {name} " in done.out.partition("examples:")[2] or name == "doctor"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["ins", "m.npz"], "ins"),
        (["inspect"], "FILE"),
        (["predict", "net:build"], "CSV"),
        (["export", "m.npz"], "--to"),
        (["export", "m.npz", "--to", "pickle"], "pickle"),
        (["export", "n:b", "--to", "c", "--rows", "two"], "two"),
        (["export", "n:b", "--to", "c", "--example", "3", "--data", "x.csv"], "not allowed with"),
        (["inspect", "a.npz", "b\x1b[31m.npz"], "b\\x1b[31m.npz"),
    ],
)
def test_wrong_arguments_are_one_line_and_two(run: Any, words: list[str], said: str) -> None:
    refused(run(*words), 2, said, "--help")


# ---- inspect ------------------------------------------------------------------------------------------------------


def test_inspect_draws_what_a_training_holds(run: Any, here: Path) -> None:
    done = run("inspect", "m.npz")
    assert (done.code, done.err) == (0, "")
    first, second, empty, *tree = done.out.splitlines()
    assert first.startswith(f"m.npz: a file of tg.save, format 1, {(here / 'm.npz').stat().st_size:,} bytes, written 2")
    assert (second, empty) == ("4 arrays of 67 numbers", "")
    assert tree == [
        "model",
        "├─ 0",
        "│  ├─ weight  float32 (8, 4)  128 B",
        "│  └─ bias  float32 (8,)  32 B",
        "└─ 2",
        "   ├─ weight  float32 (3, 8)  96 B",
        "   └─ bias  float32 (3,)  12 B",
        "scaler  StandardScaler(a, b, c, d)",
        "epoch  3",
    ]


def test_inspect_shows_metadata_and_dtypes_as_they_are_in_the_file(run: Any, here: Path) -> None:
    torch = pytest.importorskip("torch")
    written = pytest.importorskip("safetensors.torch").save_file
    tensors = {"a.w": torch.ones(2, 3, dtype=torch.bfloat16), "a.w.b": torch.tensor([float("nan"), float("inf"), 0])}
    written(tensors, "t.safetensors", metadata={"format": "pt", "trained": "on\nMars"})
    done = run("inspect", "t.safetensors")
    assert done.code == 0
    assert "a safetensors file of PyTorch" in done.out
    assert "metadata\n" in done.out
    assert "  trained  on\\nMars\n" in done.out
    assert "w  BF16 (2, 3)  12 B\n" in done.out
    assert "b  F32 (3,)  12 B  1 NaN  1 infinite\n" in done.out


@pytest.mark.parametrize(
    ("value", "line"),
    [(3, "3"), ([1, 2], "[1, 2]"), ({}, "{}"), ([], "[]"), (tg.ones(2), "float32 (2,)  8 B"), ("x" * 9**5, "'xxx")],
)
def test_inspect_of_what_is_not_named(run: Any, here: Path, value: object, line: str) -> None:
    tg.save(value, "v.npz")
    done = run("inspect", "v.npz")
    assert done.code == 0
    assert done.out.splitlines()[3].startswith(line)
    assert len(done.out) < 400


def test_inspect_of_hostile_names_and_values(run: Any, here: Path) -> None:
    names = [
        "\x1b[2J",
        "a\nb",
        "",
        ".",
        "..",
        "../x",
        "x" * 10**5,
        ".".join("y" * 20000),
        "\u202e",
        "a",
        "a.b",
        "a.b.c",
    ]
    tg.save({"state": {name: tg.ones(1) for name in names}, **{f"{name}!": name for name in names}}, "h.npz")
    done = run("inspect", "h.npz")
    assert (done.code, done.err) == (0, "")
    assert all(line.isprintable() and len(line) < 300 for line in done.out.splitlines())
    assert done.out.count("float32 (1,)  4 B") == len(names)


@pytest.mark.parametrize("name", ["m.npz", "m.safetensors"])
def test_inspect_of_mutated_files_is_a_page_or_one_line(run: Any, here: Path, name: str) -> None:
    run("export", "m.npz", "--to", "safetensors")
    content, rng = Path(name).read_bytes(), random.Random(5)
    codes = set()
    for _ in range(150):
        bad = bytearray(content)
        for _ in range(rng.randint(1, 3)):
            bad[rng.randrange(rng.choice([120, len(bad)]))] = rng.randrange(256)
        target = f"bad{Path(name).suffix}"
        Path(target).write_bytes(bytes(bad[: rng.randint(0, len(bad))]) if rng.random() < 0.3 else bytes(bad))
        done = run("inspect", target)
        codes.add(done.code)
        if done.code:
            refused(done, 1, target)
    assert codes == {0, 1}


@pytest.mark.parametrize("path", ["none.npz", "m.pt", ".", "rows.csv", "", "net_of_cli.py", "a\0.npz", "x" * 300])
def test_inspect_refuses_what_is_no_file_of_ours(run: Any, here: Path, path: str) -> None:
    refused(run("inspect", path), 1, "; expected ")


def test_a_refused_pt_file_comes_with_the_lines_that_convert_it(run: Any, here: Path) -> None:
    refused(run("inspect", "m.pt"), 1, "import save_file; save_file(torch.load(")


# ---- predict ------------------------------------------------------------------------------------------------------


def rows_of(text: str) -> tuple[list[str], np.ndarray]:
    header, *lines = csv.reader(io.StringIO(text))
    return header, np.array(lines, np.float32)


@pytest.mark.parametrize("name", ["net_of_cli:build", "net_of_cli.py:build"])
def test_predict_is_the_model_on_the_columns_of_its_scaler(run: Any, here: Path, name: str) -> None:
    done = run("predict", name, "rows.csv", "--weights", "m.npz", "--before", "scaler")
    saved, net = tg.load("m.npz"), model()
    net.load_state_dict(saved["model"])
    expected = net(saved["scaler"](tg.tensor([[2.0, 3, 4, 1], [6, 7, 8.5, 5]]))).detach().numpy()
    header, found = rows_of(done.out)
    assert (done.code, done.err, header) == (0, "noise of an import\n", ["out0", "out1", "out2"])
    np.testing.assert_array_equal(found, expected)


def test_predict_takes_columns_names_keys_and_a_file_to_write(run: Any, here: Path) -> None:
    words = ["predict", "net_of_cli:Holder.net", "rows.csv", "--weights", "w.npz", "--columns", "d,c,b,a"]
    net = nn.Linear(4, 3)
    tg.save({"best": {"of": net.state_dict()}}, "w.npz")
    done = run(*words, "--key", "best.of", "--names", "x,y y,z", "--out", "p.csv")
    header, found = rows_of(Path("p.csv").read_text())
    assert (done.code, done.out, header) == (0, "", ["x", "y y", "z"])
    np.testing.assert_array_equal(found, net(tg.tensor([[1.0, 4, 3, 2], [5, 8.5, 7, 6]])).detach().numpy())


def test_predict_of_a_module_without_a_file(run: Any, here: Path) -> None:
    header, found = rows_of(run("predict", "net_of_cli:whole", "rows.csv", "--columns", "a,b").out)
    assert (header, found.shape) == (["out"], (2, 1))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["m.npz", "rows.csv"], "--weights m.npz"),
        (["build", "rows.csv"], "module:name"),
        ([":build", "rows.csv"], "module:name"),
        (["none_such:build", "rows.csv"], "no module none_such"),
        (["none.py:build", "rows.csv"], "no file none.py"),
        (["..:build", "rows.csv"], "[predict]"),
        (["net_of_cli:none", "rows.csv"], "without none"),
        (["net_of_cli:number", "rows.csv"], "a tinygrad_nn.nn.Module"),
        (["net_of_cli:needs", "rows.csv"], "width"),
        (["net_of_cli:broken", "rows.csv"], "ValueError: no such\\x1b[31m thing"),
        (["net_of_cli:leaves", "rows.csv"], "SystemExit: 7"),
        (["net_of_cli:Total", "rows.csv"], "a row for each of the 2 rows"),
        (["net_of_cli:Two", "rows.csv"], "a row for each of the 2 rows"),
        (["net_of_cli:Bad", "rows.csv"], "KeyError: 'row'"),
        (["net_of_cli:build", "rows.csv"], "[linear]"),
        (["net_of_cli:build", "none.csv"], "none.csv"),
        (["net_of_cli:build", "m.npz"], "m.npz"),
        (["net_of_cli:build", "rows.csv", "--columns", "a,b,c,e"], "'e'"),
        (["net_of_cli:whole", "rows.csv", "--columns", "a,b", "--names", "x,y"], "2 names"),
        (["net_of_cli:whole", "rows.csv", "--weights", "m.npz"], "[load_state_dict]"),
        (["net_of_cli:build", "rows.csv", "--weights", "none.npz"], "none.npz"),
        (["net_of_cli:build", "rows.csv", "--weights", "m.npz", "--key", "none"], "'scaler'"),
        (["net_of_cli:build", "rows.csv", "--weights", "m.npz", "--key", "epoch"], "no tensors by name"),
        (["net_of_cli:build", "rows.csv", "--weights", "m.npz", "--before", "epoch"], "fitted preprocessing"),
        (["net_of_cli:build", "rows.csv", "--before", "scaler"], "--weights FILE"),
        (["net_of_cli:whole", "rows.csv", "--columns", "a,b", "--out", "none/p.csv"], "p.csv"),
    ],
)
def test_predict_says_in_one_line_what_is_wrong(run: Any, here: Path, words: Sequence[str], said: str) -> None:
    refused(run("predict", *words), 1, said)


# ---- export -------------------------------------------------------------------------------------------------------


def test_numbers_go_to_safetensors_and_back(run: Any, here: Path) -> None:
    there = run("export", "m.npz", "--to", "safetensors")
    assert there == (0, "m.safetensors\n", "left out: scaler, epoch\n")
    assert run("export", "m.safetensors", "--to", "npz", "--out", "back.npz") == (0, "back.npz\n", "")
    state, back = tg.load("m.npz")["model"], tg.load("back.npz")
    assert state.keys() == back.keys()
    for name, one in state.items():
        assert one.dtype == back[name].dtype
        np.testing.assert_array_equal(one.numpy(), back[name].numpy())


def test_metadata_that_a_form_has_not_is_said(run: Any, here: Path) -> None:
    tg.save(model(), "s.safetensors", metadata={"by": "us"})
    assert run("export", "s.safetensors", "--to", "npz") == (0, "s.npz\n", "left out: metadata\n")
    assert run("export", "s.safetensors", "--to", "safetensors", "--out", "t.safetensors").code == 0
    assert tg.load("t.safetensors").metadata == {"by": "us"}


def test_a_module_with_its_preprocessing_becomes_c(run: Any, here: Path) -> None:
    words = ["net_of_cli:build", "--weights", "m.npz", "--before", "scaler", "--data", "rows.csv", "--rows", "2"]
    done = run("export", *words, "--to", "c", "--name", "../my net")
    saved, net = tg.load("m.npz"), model()
    net.load_state_dict(saved["model"])
    example = np.array([[2, 3, 4, 1], [6, 7, 8.5, 5]], np.float32)
    whole = nn.Sequential(saved["scaler"], net).eval()
    Path("expected").mkdir()
    tg.export.c(whole, example, path="expected/my_net.c", name="my_net")
    assert (done.code, done.out) == (0, "my_net.c\n")
    found, expected = (re.sub(r"(?s)/\*.*?\*/", "", Path(one).read_text()) for one in ("my_net.c", "expected/my_net.c"))
    assert found == expected  # but for comments, which name the line that asked for it
    assert "int my_net_run(" in Path("my_net.h").read_text()


def test_a_module_becomes_wasm(run: Any, here: Path) -> None:
    assert run("export", "net_of_cli:build", "--to", "wasm", "--example", "30,4", "--out", "w.wasm").out == "w.wasm\n"
    assert run("export", "net_of_cli:build", "--to", "onnx", "--example", "30,4", "--out", "w.onnx").out == "w.onnx\n"
    assert Path("w.onnx").stat().st_size > 400
    assert Path("w.wasm").read_bytes()[:4] == b"\0asm"
    assert Path("w.js").exists()


def test_a_model_in_a_file_is_looked_at_asked_and_written_as_c(run: Any, here: Path) -> None:
    words = ["net_of_cli:build", "--weights", "m.npz", "--before", "scaler", "--data", "rows.csv"]
    assert run("export", *words, "--to", "onnx", "--out", "m.onnx").code == 0
    page = run("inspect", "m.onnx").out.splitlines()
    assert page[0].startswith("m.onnx: an ONNX model, opset 18, of tinygrad_nn, ")
    assert {"  input: float[batch, 4]", "  out: float[batch, 3]", "  Gemm  2"} <= {*page}
    assert any(line.endswith("─ weight  float (8, 4)  128 B") for line in page)
    asked = run("predict", "m.onnx", "rows.csv", "--columns", "a,b,c,d")
    assert asked == run("predict", *words[:-2], "rows.csv")
    assert run("export", "m.onnx", "--to", "c", "--example", "1,4", "--out", "m.c").out == "m.c\n"
    assert "int model_run(" in Path("m.h").read_text()


def test_a_model_with_strange_operators_is_looked_at_and_not_asked(run: Any, here: Path) -> None:
    onnx = require("onnx", "export")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Strange\n\x1b[31m", ["x"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, ["n", 4])],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
    )
    Path("m.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    page = run("inspect", "m.onnx").out
    assert "  Strange\\n\\x1b[31m  1  (not known here)\n" in page
    refused(run("predict", "m.onnx", "rows.csv"), 1, "[import_onnx] got operators")
    Path("m.onnx").write_bytes(b"nothing of this kind")
    for words in (["inspect", "m.onnx"], ["predict", "m.onnx", "rows.csv"]):
        refused(run(*words), 1, "[import_onnx] got a file with")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["m.npz", "--to", "c", "--example", "1,4"], "--weights m.npz"),
        (["m.npz", "--to", "npz"], "another one that ends in .npz"),
        (["m.npz", "--to", "safetensors", "--out", "m.npz"], "ends in .safetensors"),
        (["m.npz", "--to", "safetensors", "--key", "scaler"], "no tensors by name"),
        (["m.npz", "--to", "safetensors", "--weights", "m.npz"], "--weights"),
        (["none.npz", "--to", "safetensors"], "none.npz"),
        (["rows.csv", "--to", "safetensors"], "module:name"),
        (["net_of_cli:build", "--to", "c"], "--example 30,4"),
        (["net_of_cli:build", "--to", "c", "--example", "1,4,"], "the shape 1,4,"),
        (["net_of_cli:build", "--to", "c", "--example", "1,4:float17"], "float17"),
        (["net_of_cli:build", "--to", "c", "--example", "999999999,999999999,9"], "shape"),
        (["net_of_cli:build", "--to", "c", "--example", "1,5"], "[linear]"),
        (["net_of_cli:Bad", "--to", "c", "--example", "1,5"], "KeyError"),
        (["net_of_cli:build", "--to", "c", "--data", "rows.csv", "--columns", "a,b,c,d", "--rows", "3"], "--rows 3"),
        (["net_of_cli:build", "--to", "c", "--example", "1,4", "--out", "none/x.c"], "x."),
    ],
)
def test_export_says_in_one_line_what_is_wrong(run: Any, here: Path, words: Sequence[str], said: str) -> None:
    before = sorted(os.listdir())
    refused(run("export", *words), 1, said)
    assert [name for name in sorted(os.listdir()) if name != "__pycache__"] == [
        name for name in before if name != "__pycache__"
    ]


# ---- report, bench ------------------------------------------------------------------------------------------------


def test_report_writes_a_page_of_a_model(run: Any, here: Path) -> None:
    words = [
        "report",
        "net_of_cli:build",
        "--weights",
        "m.npz",
        "--before",
        "scaler",
        "--data",
        "rows.csv",
        "--rows",
        "2",
    ]
    done = run(*words, "--out", "page.html")
    assert (done.code, done.out) == (0, "page.html\n")
    assert Path("page.html").read_text().startswith("<!doctype html>")
    assert run("export", "net_of_cli:build", "--to", "onnx", "--example", "3,4", "--out", "m.onnx").code == 0
    done = run("report", "m.onnx")
    assert (done.code, done.out) == (0, "report.html\n")
    assert Path("report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["m.npz"], "--weights m.npz"),
        (["none.onnx"], "none.onnx"),
        (["net_of_cli:build"], "--example 30,4"),
        (["net_of_cli:build", "--example", "3,5"], "[linear]"),
        (["net_of_cli:build", "--example", "3,4", "--columns", "a"], "--data FILE"),
        (["net_of_cli:build", "--example", "3,4", "--out", "none/page.html"], "none/page.html"),
        (["net_of_cli:build", "--data", "words.csv"], "--columns A,B"),
    ],
)
def test_report_says_in_one_line_what_is_wrong(run: Any, here: Path, words: Sequence[str], said: str) -> None:
    Path("words.csv").write_text("a,b,c,d,species\n1,2,3,4,setosa\n")
    refused(run("report", *words), 1, said)
    assert not list(here.glob("*.html"))


def test_bench_compares_what_learns_the_same(run: Any) -> None:
    done = run("bench", "--seconds", "0.1")
    assert (done.code, done.err) == (0, "")
    _, _, _, head, *rows = done.out.splitlines()
    assert head.split() == ["compiled", "eager", "NumPy", "eager/comp.", "NumPy/comp.", "spread"]
    for name, row in zip(("titanic", "iris", "fraud"), rows, strict=False):
        own, *times, eager, _, by_hand, _, spread = row.split()
        compiled, *others = (float(one.replace(",", "")) for one in times)
        assert (own, spread[-1]) == (name, "%")
        for ratio, other in zip((eager, by_hand), others, strict=True):
            assert float(ratio.replace(",", "")) == pytest.approx(other / compiled, rel=0.1, abs=0.06)


def test_bench_finds_contestants_that_learn_something_else(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(rng: np.random.Generator) -> bench.Model:
        return dataclasses.replace(bench.classifier(rng), rate=0.011)

    right = bench.by_hand(bench.classifier(np.random.default_rng(0)))
    monkeypatch.setattr(bench, "by_hand", lambda model: right)
    monkeypatch.setattr(bench, "MODELS", {"iris": wrong})
    done = run("bench", "--models", "iris", "--seconds", "0.1")
    assert done.code == 1
    assert "[bench] got losses" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--models", "iris,none"], "iris,none"), (["--models", ""], "--models"), (["--seconds", "0"], "0.1 to 600")],
)
def test_bench_says_in_one_line_what_is_wrong(run: Any, words: Sequence[str], said: str) -> None:
    refused(run("bench", *words), 1, said)


def test_doctor_knows_the_cache_and_its_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "one.o").write_bytes(bytes(2_000_000))
    assert doctor.cached(tmp_path / "code") == f"{tmp_path / 'code'} (1 files, 2.0 MB)"
    assert doctor.cached(tmp_path / "none" / "below").endswith("(0 files, 0.0 MB)")
    assert doctor.cached(None) == "none (TGNN_CACHE=off)"
    monkeypatch.setattr("tinygrad_nn.cli.doctor.shutil.which", lambda name: None)
    assert "apt install chromium" in doctor.doctor()


# ---- pipes --------------------------------------------------------------------------------------------------------


def test_a_reader_that_leaves_and_a_full_disk(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # what is left in the buffer is what makes trouble
    tg.save({str(k): k for k in range(20000)}, "long.npz")
    command = f"{sys.executable} -m tinygrad_nn inspect"
    for name, reader, lines in (("long.npz", "head -n 1", 1), ("m.npz", "true", 0)):
        words = ["bash", "-c", f"{command} {name} | {reader}; exit ${{PIPESTATUS[0]}}"]
        left = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (left.returncode, left.stdout.count("\n"), left.stderr) == (141, lines, "")
    full = subprocess.run(["bash", "-c", f"{command} m.npz > /dev/full"], capture_output=True, text=True, check=False)
    assert (full.returncode, full.stderr.count("\n")) == (1, 1)
    assert "No space left" in full.stderr


def test_a_terminal_that_lacks_letters(here: Path) -> None:
    done = shell("inspect", "m.npz", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "weight  float32 (8, 4)" in done.stdout
