"""C99: programs and models do what NumPy does, whatever the compiler is told, and no name breaks the text."""

from __future__ import annotations

import ctypes
import locale
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.export.cases import Last, batch, stepping
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.compiler.codegen.c.operations import TYPES
from tinygrad_nn.compiler.codegen.c.printer import print_c
from tinygrad_nn.compiler.driver import build
from tinygrad_nn.compiler.job import Job, Part
from tinygrad_nn.compiler.schedule.schedule import Schedule
from tinygrad_nn.errors import ExportError
from tinygrad_nn.export.c import HEAD, C, c
from tinygrad_nn.export.folding import folded
from tinygrad_nn.graph.graph import Graph
from tinygrad_nn.testing import agreement
from tinygrad_nn.testing.programs import generate

STRICT = "-std=c99 -pedantic -Wall -Wextra -Werror"
FLAGS = ("-O1 -march=native", "-O0", "-Os", "-O3 -march=native", "-O2")
SANITIZED = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover"
PROGRAMS = 40


def gcc(*arguments: str) -> str:
    """What the compiler, or the program it made, says."""
    found = subprocess.run(["gcc", *arguments], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[:3000]
    return found.stdout


def printed(number: int) -> tuple[Schedule, list[np.ndarray[Any, Any]], Graph, str]:
    """A random program: its schedule, inputs, graph and C, a function `pNUMBER_run`."""
    graph, values = generate((150, number))
    planned = build(Job((Part(graph),)), C, last="schedule").schedule
    places = {b: f"({TYPES[b.dtype]} *)(arena + {planned.offsets[b]})" for b in planned.program.buffers}
    source = print_c(planned, places)
    begin = ["int @run(char *arena);", "int @run(char *arena) {", "    (void)arena;", "    int code;" * source.fails]
    entry = [*begin, *source.calls, "    return 0;", "}"]
    text = "\n".join([HEAD, *source.helpers, *source.functions, *entry, ""])
    return planned, list(values), graph, text.replace("@", f"p{number}_")


@pytest.mark.parametrize("flags", FLAGS)
def test_random_programs_agree_with_numpy(flags: str, tmp_path: Path) -> None:
    numbers = range(FLAGS.index(flags), PROGRAMS, len(FLAGS))
    programs = [printed(number) for number in numbers]
    source, library = tmp_path / "programs.c", tmp_path / "programs.so"
    source.write_text("\n".join(["#include <stdint.h>", *(text for *_, text in programs)]))
    gcc(
        *STRICT.split(), *flags.split(), "-shared", "-fPIC", "-nostdlib", "-Wl,-z,defs", str(source), "-o", str(library)
    )
    loaded = ctypes.CDLL(str(library))
    for number, (planned, values, graph, _) in zip(numbers, programs, strict=True):
        function = loaded[f"p{number}_run"]
        function.argtypes = [ctypes.c_void_p]
        arena = planned.arena()
        for buffer, value in zip(planned.program.inputs, values, strict=True):
            np.copyto(arena.view(planned.at(buffer)), value)
        code = function(arena.address)
        try:
            wanted = agreement.expected(graph, values)
        except agreement.REFUSED:
            assert code, number
            continue
        assert code == 0, number
        found = [*planned.program.outputs, *(old for old, _ in planned.program.updates)]
        for buffer, one in zip(found, wanted, strict=True):
            verdict = agreement.compare(np.array(arena.view(planned.at(buffer))), one)
            assert not verdict.bad, (number, verdict.first)


MODELS: dict[str, Callable[[], tuple[nn.Module, np.ndarray[Any, Any]]]] = {
    "linear": lambda: (nn.Linear(7, 1), batch(5, 7)),
    "iris": lambda: (nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(-1)), batch(30, 4)),
    "activations": lambda: (
        nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.LayerNorm(5), nn.SiLU(), nn.Softplus(), nn.ELU()), batch(9, 3),
    ),
    "rnn": lambda: (Last(nn.RNN(3, 5, batch_first=True)), batch(4, 12, 3)),
    "lstm": lambda: (Last(nn.LSTM(5, 6, batch_first=True)), batch(2, 40, 5)),
    "cnn": lambda: (
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10)),
        batch(2, 1, 8, 8),
    ),
    "attention": lambda: (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), batch(2, 6, 8)),
    "double": lambda: (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double(), batch(3, 3).astype(float)),
}  # fmt: skip


def selftest(source: Path, name: str, flags: str) -> None:
    """Compile a file with its own test, and run that."""
    program = source.with_suffix("")
    gcc(*STRICT.split(), *flags.split(), f"-D{name.upper()}_MAIN", str(source), "-o", str(program))
    found = subprocess.run([str(program)], capture_output=True, text=True)
    assert found.returncode == 0, (flags, found.stderr[:2000])


@pytest.mark.parametrize("kind", MODELS)
def test_models_pass_their_own_test(kind: str, tmp_path: Path) -> None:
    tg.manual_seed(3)
    model, x = MODELS[kind]()
    source = c(model, x, path=tmp_path / "m.c", golden=4)
    for flags in ("-O3 -march=native", "-Os", SANITIZED):
        selftest(source, "model", flags)


@pytest.mark.parametrize(("optimizer", "level"), [("SGD", "-O3 -march=native"), ("Adam", "-Os")])
def test_training_goes_on_in_c(optimizer: str, level: str, tmp_path: Path) -> None:
    model, step = learner(optimizer)
    x, y = batch(30, 4), np.random.default_rng(2).integers(0, 3, 30)
    source = c(model, x, path=tmp_path / "m.c", train=(step, x, y))
    for flags in (level, SANITIZED):
        selftest(source, "model", flags)
    loaded = shared(source)
    state = (ctypes.c_double * 4000)()
    loss = np.zeros((), np.float32)
    loaded.model_init(state)
    arguments = [one.ctypes.data_as(ctypes.c_void_p) for one in (x, y, loss)]
    for _ in range(25):
        wanted = step(x, y)
        assert loaded.model_train(*arguments, state) == 0
        np.testing.assert_allclose(loss, wanted.numpy(), rtol=1e-4)
    out = np.zeros((30, 3), np.float32)
    assert loaded.model_run(arguments[0], out.ctypes.data_as(ctypes.c_void_p), state) == 0
    np.testing.assert_allclose(out, model(x).detach().numpy(), rtol=1e-3, atol=1e-4)
    before = bytes(state)
    y[7] = 3
    assert loaded.model_train(*arguments, state) != 0
    assert bytes(state)[: 4 * 67] == before[: 4 * 67]


def learner(optimizer: str = "SGD") -> tuple[nn.Module, Any]:
    """A model and its step."""
    tg.manual_seed(4)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return model, stepping(model, getattr(optim, optimizer)(model.parameters(), lr=0.05))


def shared(source: Path) -> ctypes.CDLL:
    """A file as a library."""
    library = source.with_suffix(".so")
    gcc(*STRICT.split(), "-O2", "-shared", "-fPIC", str(source), "-o", str(library))
    return ctypes.CDLL(str(library))


def pointers(*arrays: np.ndarray[Any, Any]) -> list[Any]:
    return [one.ctypes.data_as(ctypes.c_void_p) for one in arrays]


@pytest.mark.parametrize(("rows", "size"), [(50, 16), (48, 16), (20, 20)])
def test_epochs_are_those_of_fit(rows: int, size: int, tmp_path: Path) -> None:
    model, step = learner()
    x, y = batch(rows, 4), np.random.default_rng(2).integers(0, 3, rows)
    example = {"path": tmp_path / "m.c", "train": (step, x, y), "batch_size": size, "golden": 2}
    loaded = shared(c(model, x, shuffle=False, **example))
    state, means = (ctypes.c_double * 4000)(), np.zeros(1, np.float32)
    loaded.model_init(state)
    history = tg.fit(step, (x, y), epochs=12, batch_size=size, shuffle=False, progress=False)
    for wanted in history["loss"]:
        assert loaded.model_train(*pointers(x, y, means), state) == 0
        np.testing.assert_allclose(means, wanted, rtol=1e-5)
    out = np.zeros((rows, 3), np.float32)
    assert loaded.model_run(*pointers(x, out), state) == 0
    np.testing.assert_allclose(out, model(x).detach().numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("rows", "size"), [(50, 16), (20, 20)])
def test_an_epoch_in_another_order_passes_its_own_test(rows: int, size: int, tmp_path: Path) -> None:
    model, step = learner("Adam")
    x, y = batch(rows, 4), np.random.default_rng(2).integers(0, 3, rows)
    source = c(model, x, path=tmp_path / "m.c", train=(step, x, y), batch_size=size, golden=3)
    for flags in ("-O3 -march=native", "-Os", SANITIZED):
        selftest(source, "model", flags)
    text = source.with_suffix(".h").read_text()
    assert "const int32_t *order" in text
    assert "One epoch" in text


def test_an_epoch_checks_its_order_before_it_begins(tmp_path: Path) -> None:
    model, step = learner()
    x, y = batch(50, 4), np.random.default_rng(2).integers(0, 3, 50)
    loaded = shared(c(model, x, path=tmp_path / "m.c", train=(step, x, y), batch_size=16, golden=0))
    state, means = (ctypes.c_double * 4000)(), np.zeros(1, np.float32)
    loaded.model_init(state)
    before = bytes(state)[: 4 * 67]
    for wrong in (50, -1, 2**31 - 1):
        order = np.arange(50, dtype=np.int32)
        order[49] = wrong
        assert loaded.model_train(*pointers(x, y, order, means), state) != 0
        assert bytes(state)[: 4 * 67] == before
    y[40] = 7
    assert loaded.model_train(*pointers(x, y, np.arange(50, dtype=np.int32), means), state) != 0


def scaled(x: np.ndarray[Any, Any], bias: bool) -> nn.Sequential:
    """A scaler, and layers that are nested."""
    tg.manual_seed(5)
    return nn.Sequential(nn.StandardScaler().fit(x), nn.Sequential(nn.Linear(4, 8, bias=bias), nn.Tanh()))


@pytest.mark.parametrize("bias", [True, False])
def test_a_scaler_becomes_part_of_the_first_layer(bias: bool, tmp_path: Path) -> None:
    x = batch(30, 4) * np.float32(3) + np.float32(7)
    model = scaled(x, bias)
    source = c(model, x, path=tmp_path / "m.c", fold=True, golden=2)
    selftest(source, "model", "-O1")
    text = source.read_text()
    assert "const double" not in text
    assert "part of the first layer" in source.with_suffix(".h").read_text()
    again = folded("export.c", model)
    np.testing.assert_allclose(again(tg.tensor(x)).detach().numpy(), model(tg.tensor(x)).detach().numpy(), atol=1e-6)
    assert [type(one) for one in model] == [nn.StandardScaler, nn.Sequential]


def test_kernels_say_where_they_come_from(tmp_path: Path) -> None:
    x = batch(30, 4)
    text = c(scaled(x, True), x, path=tmp_path / "m.c", golden=0).read_text()
    assert "/* 0 StandardScaler, test_c.py:" in text
    assert "/* 1.0 Linear, 1.1 Tanh, test_c.py:" in text
    assert "const float *restrict w1_0_weight" in text
    square = tg.ones(4, 4)
    source = c(lambda rows: rows * 2 + rows @ square, x, path=tmp_path / "m.c", golden=0)
    assert "rows * 2 + rows @ square" in source.read_text()
    assert "From test_c.py:" in source.with_suffix(".h").read_text()
    assert "const float *restrict rows" in source.read_text()


def test_every_function_of_a_step_says_its_lines_and_is_narrow(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    opt = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    @tg.jit
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss

    x, y = batch(30, 4), np.arange(30) % 3
    text = c(net, x, path=tmp_path / "m.c", train=(step, x, y), golden=0).read_text()
    assert [line for line in text.splitlines() if len(line) > 100 and not line.startswith("#")] == []
    functions = re.findall(r"(?:/\*([^/]*)\*/\n)?static \w+ (model_train_\w+)\(", text)
    lines = {k: line.strip() for k, line in enumerate(Path(__file__).read_text().splitlines(), 1)}
    assert len(functions) > 5
    for told, name in functions:
        numbers = re.findall(r"test_c\.py:(\d+)", told)
        assert numbers, name
        assert {lines[int(one)] for one in numbers} <= STEP, name
    whole = " ".join(text.split())
    for words in (", gradient: loss = F.cross_entropy(net(x), y)", ", optimizer: opt.step()", "2 Linear, test_c.py:"):
        assert words in whole
    assert "model_train_lr_" in text
    assert "s->w0_weight_momentum_buffer" in text


STEP = {"opt.zero_grad()", "loss = F.cross_entropy(net(x), y)", "loss.backward()", "opt.step()"}


def test_a_comma_in_numbers_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def text() -> str:
        return c(scaled(batch(9, 4), True), batch(9, 4), path=tmp_path / "m.c").read_text()

    wanted = text()
    made = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(tmp_path / "de_DE.UTF-8")]
    if shutil.which("localedef") is None or subprocess.run(made, capture_output=True).returncode:
        pytest.skip("no locale with a decimal comma can be made (apt install locales)")
    monkeypatch.setenv("LOCPATH", str(tmp_path))
    before = locale.setlocale(locale.LC_ALL)
    locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
    try:
        assert locale.localeconv()["decimal_point"] == ","
        found = text()
    finally:
        locale.setlocale(locale.LC_ALL, before)
    assert found == wanted


class Odd(nn.Module):
    """Keys, a parameter and a line that are no C."""

    def forward(self, batch: tg.Tensor) -> dict[str, tg.Tensor]:
        y = batch.exp()  # */ int evil; /* ??/ "quote" \\
        words = ('a"b', "int", "*/x", "x" * 10**5, "x" * 10**5 + "y", "../x", "", "ä", "1", "s", "k", "code", "lane")
        more = ("state", "expf", "NULL", "errno", "class", "batch", "model_state", "MODEL_H", "a\nb", "??/", "f32")
        return {word: y * number for number, word in enumerate((*words, *more))}


def test_no_key_parameter_or_line_breaks_the_text(tmp_path: Path) -> None:
    source = c(Odd(), batch(9, 4), path=tmp_path / "m.c", golden=2)
    selftest(source, "model", "-O1 -trigraphs")
    caller = tmp_path / "caller.cpp"
    included = "".join(f"#include {one}\n" for one in ("<cerrno>", "<cstdio>", "<cmath>", '"m.h"'))
    caller.write_text(included + "int main() { return 0; }\n")
    gcc("-x", "c++", "-Wall", "-Werror", "-fsyntax-only", str(caller))
    _, step = learner()
    inner = step.function

    @tg.jit
    def renamed(batch: tg.Tensor, tail: tg.Tensor) -> tg.Tensor:
        return inner(batch, tail)

    x, y = batch(20, 4), np.arange(20) % 3
    source = c(lambda batch: batch * 2, x, path=tmp_path / "n.c", train=(renamed, x, y), batch_size=8, golden=2)
    selftest(source, "model", "-O1")


def test_state_where_inference_was_asked_says_the_line(tmp_path: Path) -> None:
    counter = tg.zeros(1)

    def counts(x: tg.Tensor) -> tg.Tensor:
        counter.add_(1)
        return x * counter

    with pytest.raises(ExportError, match=r"state \(counter\), at test_c\.py:\d+: counter\.add_\(1\); expected"):
        c(counts, batch(3, 2), path=tmp_path / "m.c")
    with pytest.raises(ExportError, match=r"in training mode, which changes state \(.*\), at test_c.py:\d+; expected"):
        c(nn.BatchNorm1d(2), batch(3, 2), path=tmp_path / "m.c")


@pytest.mark.parametrize("name", ['quote"', "*/ main", "??/", "int", "x" * 10**5, "../up", "\\", "a\nb", "", "ü", "3d"])
def test_no_name_breaks_the_text(name: str, tmp_path: Path) -> None:
    target = c(nn.Linear(2, 1), batch(3, 2), path=tmp_path, name=name, golden=1)
    assert target.parent == tmp_path
    gcc(*STRICT.split(), "-c", str(target), "-o", str(tmp_path / "m.o"))


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    x, (_, step) = batch(3, 2), learner()
    for call, words in (
        (lambda: c(3, x, path=tmp_path / "m.c"), "a module, a function or a step"),
        (lambda: c(nn.Linear(2, 1), path=tmp_path / "m.c"), r"an example of 0 arguments \(missing .*'input'"),
        (lambda: c(nn.Linear(2, 1), x, x, path=tmp_path / "m.c"), "an example of 2 arguments"),
        (lambda: c(lambda x: 3, x, path=tmp_path / "m.c"), "returns no tensor"),
        (lambda: c(nn.Linear(2, 1), x, path=tmp_path / "m.c", golden=-1), "golden"),
        (lambda: c(nn.Linear(2, 1), x, path=tmp_path / "m.c", train=3), "train"),
        (lambda: c(lambda x: x[x > 0], x, path=tmp_path / "m.c"), "got"),
        (lambda: c(nn.BatchNorm1d(2), x, path=tmp_path / "m.c"), r"BatchNorm1d in training mode.*eval\(\)"),
        (lambda: c(nn.Sequential(nn.Dropout(0.5)), x, path=tmp_path / "m.c"), r"training mode.*eval\(\)"),
        (lambda: c(nn.Linear(2, 1), x, path=tmp_path / "m.c", fold=True), "fold=True of a Linear"),
        (lambda: c(nn.Sequential(nn.Linear(2, 1)), x, path=tmp_path / "m.c", fold=True), "begins with a scaler"),
        (lambda: c(nn.Linear(2, 1), x, path=tmp_path / "m.c", fold=True, train=(print,)), "beside train="),
        (lambda: c(nn.Linear(2, 1), x, path=tmp_path / "m.c", batch_size=3), "without train="),
        (lambda: c(nn.Linear(2, 1), x, path=tmp_path / "m.c", train=(print, x), batch_size=3), "a step"),
        (lambda: c(nn.Linear(2, 1), x, path=tmp_path / "m.c", train=(step, x, x[:1]), batch_size=3), "as many rows"),
        (lambda: c(nn.Linear(2, 1), x, path=tmp_path / "m.c", train=(step, x), batch_size=0), "batch_size=0"),
        (lambda: c(nn.Linear(2, 1), x, path=tmp_path / "m.c", train=(step,), batch_size=2), "example of 0|rows"),
    ):
        with pytest.raises((ExportError, tg.errors.TraceError), match=words):
            call()
    assert not [*tmp_path.iterdir()]


pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")
