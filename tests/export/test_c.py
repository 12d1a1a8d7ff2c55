"""C99: programs and models do what NumPy does, whatever the compiler is told, and no name breaks the text."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.compiler.codegen.c.operations import TYPES
from tinygrad_nn.compiler.codegen.c.printer import print_c
from tinygrad_nn.compiler.driver import build
from tinygrad_nn.compiler.job import Job, Part
from tinygrad_nn.errors import ExportError
from tinygrad_nn.export.c import HEAD, C, c
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


@pytest.mark.parametrize("number", range(PROGRAMS))
def test_random_programs_agree_with_numpy(number: int, tmp_path: Path) -> None:
    graph, values = generate((150, number))
    planned = build(Job((Part(graph),)), C, last="schedule").schedule
    places = {b: f"({TYPES[b.dtype]} *)(arena + {planned.offsets[b]})" for b in planned.program.buffers}
    printed = print_c(planned, places)
    begin = ["int run(char *arena) {", "    (void)arena;", "    int code;" * printed.fails]
    entry = [*begin, *printed.calls, "    return 0;", "}"]
    text = "\n".join(["#include <stdint.h>", HEAD, *printed.helpers, *printed.functions, *entry, ""])
    source, library = tmp_path / "program.c", tmp_path / "program.so"
    source.write_text(text.replace("@", "p_"))
    flags = FLAGS[number % len(FLAGS)].split()
    gcc(*STRICT.split(), *flags, "-shared", "-fPIC", "-nostdlib", "-Wl,-z,defs", str(source), "-o", str(library))
    function = ctypes.CDLL(str(library)).run
    function.argtypes = [ctypes.c_void_p]
    arena = planned.arena()
    for buffer, value in zip(planned.program.inputs, values, strict=True):
        np.copyto(arena.view(planned.at(buffer)), value)
    code = function(arena.address)
    try:
        wanted = agreement.expected(graph, values)
    except agreement.REFUSED:
        assert code
        return
    assert code == 0
    found = [*planned.program.outputs, *(old for old, _ in planned.program.updates)]
    for buffer, one in zip(found, wanted, strict=True):
        verdict = agreement.compare(np.array(arena.view(planned.at(buffer))), one)
        assert not verdict.bad, verdict.first


def batch(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


class Last(nn.Module):
    """The last state of a recurrent layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        out: tg.Tensor = self.layer(x)[0]
        return out[:, -1]


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


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_training_goes_on_in_c(optimizer: str, tmp_path: Path) -> None:
    tg.manual_seed(4)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    opt = getattr(optim, optimizer)(model.parameters(), lr=0.05)
    x, y = batch(30, 4), np.random.default_rng(2).integers(0, 3, 30)

    @tg.jit
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    source = c(model, x, path=tmp_path / "m.c", train=(step, x, y))
    for flags in ("-O3 -march=native", "-O0", "-Os", SANITIZED):
        selftest(source, "model", flags)
    library = tmp_path / "m.so"
    gcc(*STRICT.split(), "-O2", "-shared", "-fPIC", str(source), "-o", str(library))
    loaded = ctypes.CDLL(str(library))
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


@pytest.mark.parametrize("name", ['quote"', "*/ main", "??/", "int", "x" * 10**5, "../up", "\\", "a\nb", "", "ü", "3d"])
def test_no_name_breaks_the_text(name: str, tmp_path: Path) -> None:
    target = c(nn.Linear(2, 1), batch(3, 2), path=tmp_path, name=name, golden=1)
    assert target.parent == tmp_path
    gcc(*STRICT.split(), "-c", str(target), "-o", str(tmp_path / "m.o"))


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    x = batch(3, 2)
    for call, words in (
        (lambda: c(3, x, path=tmp_path / "m.c"), "a module, a function or a step"),
        (lambda: c(lambda x: 3, x, path=tmp_path / "m.c"), "returns no tensor"),
        (lambda: c(nn.Linear(2, 1), x, path=tmp_path / "m.c", golden=-1), "golden"),
        (lambda: c(nn.Linear(2, 1), x, path=tmp_path / "m.c", train=3), "train"),
        (lambda: c(lambda x: x[x > 0], x, path=tmp_path / "m.c"), "got"),
    ):
        with pytest.raises((ExportError, tg.errors.TraceError), match=words):
            call()
    assert not [*tmp_path.iterdir()]


pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")
