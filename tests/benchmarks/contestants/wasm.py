"""This project as WebAssembly: whole runs in Node, which has the engine of Chrome. Exporting is not timed."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import optim

from . import Run, Sample, Setting, Table
from .ours import classify, layers

SERVE = """
import { createInterface } from "node:readline";
import { load } from "./run.js";
const run = await load(), first = run.state.map((name) => [name, run.get(name)]);
for await (const line of createInterface({ input: process.stdin })) {
  first.forEach(([name, numbers]) => run.set(name, numbers));
  const start = performance.now(), found = run.train(Number(line)), seconds = (performance.now() - start) / 1000;
  console.log(JSON.stringify([seconds, ...Object.values(found).map((one) => one.at(-1))]));
}
"""


def trained(setting: Setting, step: Any, columns: Sequence[Any], rows: int, evaluate: Callable[[], Any] | None) -> Run:
    """A run of a step on columns, in batches of so many rows."""
    folder = Path(tempfile.mkdtemp(prefix="wasm"))
    try:
        example = [column[:rows] for column in columns]
        file = tg.export.wasm(tg.jit(step), *example, path=folder / "run.wasm", data=columns, evaluate=evaluate)
        setting.notes["bytes, gzipped"] = len(gzip.compress(file.read_bytes(), 9))
        (folder / "serve.mjs").write_text(SERVE)
        (folder / "package.json").write_text('{"type": "module"}')
        node = subprocess.Popen(
            ["node", "serve.mjs"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

        def run(iterations: int) -> Sample:
            assert node.stdin is not None
            assert node.stdout is not None
            node.stdin.write(f"{iterations}\n")
            node.stdin.flush()
            seconds, *values = json.loads(node.stdout.readline())
            return Sample(seconds, values)

        run(1)  # everything is loaded
    finally:
        shutil.rmtree(folder)
    return run


def iris(setting: Setting) -> Run:
    """Epochs."""
    tg.set_default_dtype(setting.weights()[0].dtype)
    model, arrays = layers(setting), setting.arrays
    begin(setting, model)
    x, y, test_x, test_y = (tg.tensor(arrays[name]) for name in ("x", "y", "test_x", "test_y"))

    def scores() -> dict[str, tg.Tensor]:
        return {
            "train_acc": tg.metrics.accuracy(model(x), y),
            "test_acc": tg.metrics.accuracy(model(test_x), test_y),
        }

    step = classify(model, optim.SGD(model.parameters(), lr=0.01))
    return trained(setting, step, (arrays["x"], arrays["y"]), 32, scores)


def titanic(setting: Setting) -> Run:
    """Epochs."""
    tg.set_default_dtype(setting.weights()[0].dtype)
    model, arrays = layers(setting), setting.arrays
    begin(setting, model)
    opt = optim.SGD(model.parameters(), lr=0.1)

    def step(x: tg.Tensor, y: tg.Tensor) -> dict[str, tg.Tensor]:
        opt.zero_grad()
        logits = model(x)
        F.binary_cross_entropy_with_logits(logits, y).backward()
        opt.step()
        return {"mae": (logits.sigmoid() - y).abs().mean()}

    return trained(setting, step, (arrays["x"], arrays["y"]), len(arrays["x"]), None)


def begin(setting: Setting, model: Any) -> None:
    """First weights."""
    with tg.no_grad():
        for p, w in zip(model.parameters(), setting.weights(), strict=True):
            p.assign(tg.tensor(w))


WORKLOADS: Table = {"iris": iris, "titanic": titanic}
