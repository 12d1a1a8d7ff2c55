"""Object code: a library that Python and C call, and objects for each machine that say what they need."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.compiler.codegen import emit
from tinygrad_nn.compiler.target import TARGETS
from tinygrad_nn.config import config
from tinygrad_nn.errors import ExportError, FileError
from tinygrad_nn.export.wasm import SECTIONS, SYMBOLS, number, sections, string, text_of, unsigned

CALLER = """#include <stdio.h>
#include "m.h"
int main(void) {
    static model_state s;
    float x[12], out[9];
    for (int k = 0; k < 12; k++) x[k] = 0.25f * k - 1;
    model_init(&s);
    if (model_run(x, out, &s)) return 1;
    for (int k = 0; k < 9; k++) printf("%.9g\\n", out[k]);
    return 0;
}
"""


def model() -> nn.Module:
    """A small one."""
    tg.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(-1))


def numbers() -> Any:
    """What the caller in C gives it."""
    return (0.25 * np.arange(12, dtype=np.float32) - 1).reshape(3, 4)


needs_cc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no program `gcc` (apt install gcc)")


@needs_cc
def test_the_loader_needs_numpy_alone(tmp_path: Path) -> None:
    net, x = model(), numbers()
    tg.export.object(net, x, path=tmp_path / "m.so")
    text = (tmp_path / "m.py").read_text()
    assert "tinygrad_nn." not in text.replace("by tinygrad_nn", "")
    found = importlib.util.spec_from_file_location("m", tmp_path / "m.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    np.testing.assert_allclose(module.run(x), net(x).detach().numpy(), rtol=1e-6)
    with pytest.raises(ValueError, match=r"expected \(3, 4\)"):
        module.run(x[:2])


FRESH = """
import sys
sys.path[:] = [one for one in sys.path if "site-packages" in one or "lib" in one]
sys.path.insert(0, FOLDER)
import numpy as np
import m
assert not [one for one in sys.modules if one.startswith(("tinygrad_nn", "llvmlite"))]
x = np.load("x.npy")
wanted = np.load("y.npy")
layouts = [x, np.asfortranarray(x), np.repeat(x, 2, 0)[::2], x[::-1][::-1]]
for given in (*layouts, x.astype(np.float64), x.astype(">f4"), x.tolist()):
    np.testing.assert_allclose(m.run(given), wanted, rtol=1e-6)
whole = np.arange(12).reshape(3, 4)
np.testing.assert_array_equal(m.run(whole), m.run(whole.astype(np.float32)))
for wrong in (x[:2], x.T, x[None], x + 1j, x.astype(str), x.astype(object), [[1], [2, 3]], None):
    try:
        m.run(wrong)
    except ValueError as error:
        print(error)
for count in ((), (x, x)):
    try:
        m.run(*count)
    except TypeError as error:
        print(error)
"""


@needs_cc
def test_the_loader_in_a_process_of_its_own(tmp_path: Path) -> None:
    net, x = model(), numbers()
    tg.export.object(net, x, path=tmp_path / "libm.so")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["libm.so", "m.h", "m.py"]
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", net(x).detach().numpy())
    command = [sys.executable, "-I", "-W", "error", "-c", FRESH.replace("FOLDER", repr(str(tmp_path)))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 10
    assert lines[0] == "input has shape (2, 4) and dtype float32; expected (3, 4) and float32"
    assert lines[-1] == "2 arrays; expected input"


def loaded(path: Path) -> Any:
    """The module of a loader."""
    found = importlib.util.spec_from_file_location("m", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@needs_cc
def test_the_loader_says_which_number_is_wrong_and_takes_scalars(tmp_path: Path) -> None:
    table = nn.Embedding(5, 2)

    def scaled(rows: Any, by: Any) -> Any:
        return {"out": table(rows) * by, "twice": rows * 2}

    tg.export.object(scaled, np.array([1, 2]), 2.0, path=tmp_path / "m.so")
    run = loaded(tmp_path / "m.py").run
    out, twice = run([3, 0], 0.5)
    np.testing.assert_allclose(out, table.weight.detach().numpy()[[3, 0]] * 0.5, rtol=1e-6)
    np.testing.assert_array_equal(twice, [6, 0])
    with pytest.raises(IndexError, match="embedding expects 0 <= index < 5"):
        run([3, 5], 0.5)
    with pytest.raises(ValueError, match=r"dtype float64; expected .* and int64"):
        run([3.0, 1.0], 0.5)
    with pytest.raises(ValueError, match="dtype uint64"):
        run(np.array([2**64 - 1, 1], np.uint64), 0.5)


@needs_cc
def test_threads_share_a_library(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 3))
    tg.export.object(net, numbers(), path=tmp_path / "m.so")
    run = loaded(tmp_path / "m.py").run
    given = [numbers() + k for k in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for x, found in zip(given, pool.map(run, given), strict=True):
            np.testing.assert_array_equal(found, run(x))


@needs_cc
def test_c_calls_the_object_of_this_machine(tmp_path: Path) -> None:
    net, x = model(), numbers()
    library = tg.export.object(net, x, path=tmp_path / "m.so")
    (tmp_path / "main.c").write_text(CALLER)
    program = tmp_path / "main"
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, str(tmp_path / "main.c"), str(library), "-o", str(program)], check=True)
    found = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    np.testing.assert_allclose([float(one) for one in found.split()], net(x).detach().numpy().reshape(-1), rtol=1e-6)


@pytest.mark.parametrize("target", [one for one in TARGETS if one != "wasm32"])
def test_every_machine_has_its_object(target: str, tmp_path: Path) -> None:
    made = tg.export.object(model(), numbers(), path=tmp_path / "m.o", target=target).read_bytes()
    assert made[:4] == b"\x7fELF"
    assert b"model_run" in made
    assert b"memcpy" not in made


TRIPLES = {
    "aarch64-linux": "aarch64-linux-gnu", "cortex-m0": "thumbv6m-none-eabi", "cortex-m4": "thumbv7em-none-eabihf",
    "cortex-m7": "thumbv7em-none-eabihf", "riscv32": "riscv32-unknown-elf", "riscv64": "riscv64-linux-gnu",
    "wasm32": "wasm32",
}  # fmt: skip


@pytest.mark.skipif(shutil.which("clang") is None, reason="no program `clang` (apt install clang)")
@pytest.mark.parametrize("target", TARGETS)
def test_every_machine_has_a_header(target: str, tmp_path: Path) -> None:
    def awkward(s: Any, model_state: Any, class_: Any, uint8_t: Any) -> Any:
        return {"new": s + model_state, "MODEL_ARENA_BYTES": class_ * uint8_t}

    tg.export.object(awkward, *[np.ones(2, np.float32)] * 4, path=tmp_path / "m.o", target=target)
    (tmp_path / "main.c").write_text('#include "m.h"\nint size(void) { return (int)sizeof(model_state); }\n')
    for language, dialect in (("c", "c99"), ("c++", "c++11")):
        command = ["clang", f"--target={TRIPLES[target]}", "-ffreestanding", "-fsyntax-only", "-x", language]
        flags = [f"-std={dialect}", "-pedantic", "-Wall", "-Wextra", "-Werror"]
        done = subprocess.run([*command, *flags, str(tmp_path / "main.c")], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


NODE = """
import { readFileSync } from "node:fs";
const memory = new WebAssembly.Memory({ initial: 4 });
const env = { __linear_memory: memory, __memory_base: new WebAssembly.Global({ value: "i32" }, 0) };
env.__stack_pointer = new WebAssembly.Global({ value: "i32", mutable: true }, 65536);
const { instance } = await WebAssembly.instantiate(readFileSync(process.argv[2]), { env });
const { model_init, model_run } = instance.exports, x = 65536, out = x + 48, state = 65536 * 2;
new Float32Array(memory.buffer, x, 12).set(Array.from({ length: 12 }, (_, k) => 0.25 * k - 1));
model_init(state);
console.log(model_run(x, out, state), ...new Float32Array(memory.buffer, out, 9));
"""


def functions(code: bytes) -> dict[str, int]:
    """The numbers of the functions of an object for wasm32, by name, from the section for linkers."""
    found: dict[str, int] = {}
    (linking,) = (content for kind, content in sections(code) if not kind and string(content, 0)[0] == "linking")
    _, at = number(linking, string(linking, 0)[1])
    while at < len(linking):
        kind, (size, begin) = linking[at], number(linking, at + 1)
        at = begin + size
        if kind != SYMBOLS:
            continue
        count, begin = number(linking, begin)
        for _ in range(count):
            what, (flags, begin) = linking[begin], number(linking, begin + 1)
            defined = not flags & 0x10
            if what == 1:  # data: a name, then where it lies
                _, begin = string(linking, begin)
                for _ in range(3 * defined):
                    _, begin = number(linking, begin)
            else:
                index, begin = number(linking, begin)
                if what != 3 and (defined or flags & 0x40):
                    name, begin = string(linking, begin)
                    found |= {name: index} if what == 0 else {}
    return found


@pytest.mark.skipif(shutil.which("node") is None, reason="no program `node` (apt install nodejs)")
def test_node_runs_the_object_for_webassembly(tmp_path: Path) -> None:
    """What a linker does to one object that calls nothing else: its functions can be called from outside."""
    net, x = model(), numbers()
    code = tg.export.object(net, x, path=tmp_path / "m.o", target="wasm32").read_bytes()
    known, body = functions(code), b""
    exports = [text_of(one) + b"\0" + unsigned(known[one]) for one in ("model_init", "model_run")]
    table = unsigned(len(exports)) + b"".join(exports)
    for kind, content in sections(code):
        if kind == 12:  # the exports come before it
            body += bytes([SECTIONS["export"]]) + unsigned(len(table)) + table
        body += (bytes([kind]) + unsigned(len(content)) + content) if kind else b""
    (tmp_path / "m.wasm").write_bytes(code[:8] + body)
    (tmp_path / "run.mjs").write_text(NODE)
    command = ["node", str(tmp_path / "run.mjs"), str(tmp_path / "m.wasm")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said, *found = done.stdout.split()
    assert said == "0"
    np.testing.assert_allclose([float(one) for one in found], net(x).detach().numpy().reshape(-1), rtol=1e-6)


@pytest.mark.parametrize("end", ["os.abort()", "sys.exit('LLVM ERROR: cannot select')"])
@pytest.mark.parametrize("form", ["object", "wasm"])
def test_an_llvm_that_ends_is_an_error(form: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "child.py").write_text(f"import os, sys\n{end}\n")
    monkeypatch.setattr(emit, "__file__", str(tmp_path / "child.py"))
    monkeypatch.setenv("TGNN_CACHE", "off")
    config.cache_clear()
    options = {"target": "wasm32"} if form == "object" else {}
    with pytest.raises(ExportError, match=r"wasm32-unknown-unknown.*(signal 6|cannot select).*tg.export.c"):
        getattr(tg.export, form)(model(), numbers(), path=tmp_path / "out" / "m.o", **options)
    assert not (tmp_path / "out").exists()


def test_a_model_in_training_mode_and_paths_that_meet_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"a BatchNorm1d in training mode, which changes state \(num_batches_tracked"):
        tg.export.object(nn.BatchNorm1d(4), numbers(), path=tmp_path / "m.o", target="cortex-m4")
    with pytest.raises(FileError, match="the file that comes beside it has that name"):
        tg.export.object(model(), numbers(), path=tmp_path / "m.h", target="cortex-m4")
    assert not [*tmp_path.iterdir()]
    tg.export.object(model(), numbers(), path=tmp_path, target="cortex-m4", name="net")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["net.h", "net.o"]


def test_a_machine_that_is_not_known_is_refused(tmp_path: Path) -> None:
    for target in ("avr", "", "../x", 3, ["host"], None):
        with pytest.raises(ExportError, match="cortex-m4"):
            tg.export.object(model(), numbers(), path=tmp_path / "m.o", target=target)
    assert not [*tmp_path.iterdir()]
