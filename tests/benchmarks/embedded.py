"""`python -m tests.benchmarks.embedded`: Iris as C. Bytes on a Cortex-M4, and seconds beside `tg.fit`.

Sizes are those of `arm-none-eabi-gcc -Os -mcpu=cortex-m4` with everything that a call needs linked in. Where
`emx-onnx-cgen` is installed (pip install emx-onnx-cgen; or its folder in PYTHONPATH), it makes C of the same model and
weights, given as ONNX in its own words: Gemm, Relu, Gemm, Softmax. Times are the least of many runs in turn.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import tinygrad_nn as tg
from tests.export.cases import stepping
from tinygrad_nn import nn, optim

DEVICE: Final = ("-Os", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-ffunction-sections")
EPOCHS, ROUNDS = 1000, 25

OURS: Final = """#include "model.h"
float x[4], out[3];
model_state s;
void _start(void) { model_run(x, out, &s); }
"""
THEIRS: Final = """void model(const float x[1][4], float out[1][3]);
float x[1][4], out[1][3];
void _start(void) { model(x, out); }
"""
TIMED: Final = """#include <stdio.h>
#include <time.h>
#include "model.h"
static float x[480], out[90], loss[1];
static int64_t y[120];
static int32_t order[120];
static model_state s;
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
int main(void) {
    double epochs = 1e9, rows = 1e9, begun;
    for (int k = 0; k < 480; k++) x[k] = (float)((k * 2654435761u >> 8) % 4096) / 1024 - 2;
    for (int k = 0; k < 120; k++) y[k] = k % 3, order[k] = k * 37 % 120;
    for (int round = 0; round < 20; round++) {
        model_init(&s);
        begun = now();
        for (int k = 0; k < 200; k++) model_train(x, y, order, loss, &s);
        if (5 * (now() - begun) < epochs) epochs = 5 * (now() - begun);
        begun = now();
        for (int k = 0; k < 1000; k++) model_run(x, out, &s);
        if ((now() - begun) / 1000 < rows) rows = (now() - begun) / 1000;
    }
    printf("%g %g", epochs, rows);
    return 0;
}
"""


def iris() -> tuple[nn.Sequential, Any, Any, Any]:
    """A network of 67 weights with softmax, its step, and data like the flowers to train on."""
    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(120, 4)).astype(np.float32), rng.integers(0, 3, 120)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return model, stepping(model, optim.SGD(model.parameters(), lr=0.01)), x, y


def linked(folder: Path, call: str, *sources: Path) -> tuple[int, int]:
    """Bytes of code and constants, and of variables that begin with a value, of a program that makes one call."""
    main, program = folder / "call.c", folder / "call.elf"
    main.write_text(call)
    command = ["arm-none-eabi-gcc", *DEVICE, "-nostartfiles", "-Wl,--gc-sections", main, *sources, "-lm", "-o", program]
    subprocess.run(command, check=True)
    told = subprocess.run(["arm-none-eabi-size", program], check=True, capture_output=True, text=True).stdout
    text, data, _ = map(int, told.splitlines()[1].split()[:3])
    return text, data


def emx(model: nn.Sequential, folder: Path) -> Path:
    """The C of emx-onnx-cgen."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = [numpy_helper.from_array(one.detach().numpy(), name) for name, one in model.named_parameters()]
    w0, b0, w2, b2 = (one.name for one in weights)
    nodes = [
        helper.make_node("Gemm", ["x", w0, b0], ["a"], transB=1),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", w2, b2], ["c"], transB=1),
        helper.make_node("Softmax", ["c"], ["out"], axis=-1),
    ]
    taken, given = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n]) for name, n in (("x", 4), ("out", 3))
    )
    graph = helper.make_graph(nodes, "iris", [taken], [given], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), folder / "emx.onnx")
    command = [sys.executable, "-m", "emx_onnx_cgen", "compile", folder / "emx.onnx", folder / "emx.c", "--model-name"]
    subprocess.run([*command, "model"], check=True, capture_output=True)
    return folder / "emx.c"


def sizes(folder: Path) -> Iterator[str]:
    """The rows of the table of bytes."""
    model, step, x, y = iris()
    whole = nn.Sequential(*model, nn.Softmax(-1))
    source = tg.export.c(whole, x[:1], path=folder / "model.c", golden=0)
    yield "| tinygrad_nn, inference | {:,} | {:,} |".format(*linked(folder, OURS, source))
    source = tg.export.c(whole, x[:1], path=folder / "model.c", golden=0, train=(step, x[:30], y[:30]))
    both = OURS.replace("model_run(x, out, &s);", "model_init(&s), model_run(x, out, &s), model_train(x, 0, out, &s);")
    yield "| tinygrad_nn, inference and the training step | {:,} | {:,} |".format(*linked(folder, both, source))
    try:
        theirs = emx(model, folder)
    except (ImportError, subprocess.CalledProcessError):
        yield "| emx-onnx-cgen, inference | not installed: pip install emx-onnx-cgen | |"
    else:
        yield "| emx-onnx-cgen, inference | {:,} | {:,} |".format(*linked(folder, THEIRS, theirs))


def times(folder: Path) -> Iterator[str]:
    """The rows of the table of seconds."""
    model, step, x, y = iris()
    whole = nn.Sequential(*model, nn.Softmax(-1))
    source = tg.export.c(whole, x[:30], path=folder / "model.c", golden=0, train=(step, x, y), batch_size=32)
    (folder / "timed.c").write_text(TIMED)
    programs = {}
    for compiler in filter(shutil.which, ("gcc", "clang")):
        program = folder / compiler
        flags = ("-std=gnu99", "-O3", "-march=native")
        subprocess.run([compiler, *flags, source, folder / "timed.c", "-o", program], check=True)
        programs[compiler] = program
    best: dict[str, tuple[float, float]] = {}
    fit = float("inf")
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        tg.fit(step, (x, y), epochs=EPOCHS, batch_size=32, progress=False)
        fit = min(fit, time.perf_counter() - begun)
        for name, program in programs.items():
            told = subprocess.run([program], check=True, capture_output=True, text=True).stdout
            seconds, rows = map(float, told.split())
            old = best.get(name, (seconds, rows))
            best[name] = min(old[0], seconds), min(old[1], rows)
    yield f"| tg.fit | {1e3 * fit:.2f} | 1.00 | |"
    for name, (seconds, rows) in best.items():
        yield f"| C, {name} -O3 -march=native | {1e3 * seconds:.2f} | {seconds / fit:.2f} | {1e6 * rows:.2f} |"


def main() -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as name:
        print("| Iris on a Cortex-M4, bytes | code and constants | variables with a value |\n|---|---|---|")
        print(*sizes(Path(name)), sep="\n")
        print("\n| 1000 epochs of 120 rows in batches of 32 | ms | / tg.fit | 30 rows, us |\n|---|---|---|---|")
        print(*times(Path(name)), sep="\n")


if __name__ == "__main__":
    main()
