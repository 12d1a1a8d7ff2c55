"""Models of random layers as C, objects and WebAssembly: `python -m tests.export.random_models 200` exports so many and
compares their results with Python's.

Many models are one library, so that a compiler, and Node, start once for them. Distances are in units of the last digit
of the largest result, and what is allowed is what the header says; integers have to be equal.
"""

from __future__ import annotations

import ctypes
import json
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

import tinygrad_nn as tg
from tests.export.cases import Last
from tinygrad_nn import nn
from tinygrad_nn.export.c import c

Array = np.ndarray[Any, Any]
STRICT: Final = ("-pedantic", "-Wall", "-Wextra", "-Werror")
SMOOTH: Final = (nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Softplus, nn.ELU, nn.Mish, nn.LogSigmoid)
PLAIN: Final = (nn.ReLU, nn.LeakyReLU, nn.Hardtanh, nn.ReLU6, nn.Hardswish, nn.Identity)


@dataclass(frozen=True)
class Exported:
    """A model, an input of its shape, the C of it and how many units its results may be off."""

    model: nn.Module
    x: Array
    source: Path
    name: str

    @property
    def bound(self) -> int:
        """What the header says."""
        found = re.search(r"_ULP (\d+)", self.source.with_suffix(".h").read_text())
        assert found is not None
        return int(found[1])


class Ranked(nn.Module):
    """The numbers of the largest output, and of those above 0."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        out = self.layer(x)
        return out.argmax(-1) + 100 * (out > 0).sum(-1)


def model(seed: int) -> tuple[nn.Module, Array]:
    """A model in evaluation mode, and data."""
    rng = np.random.default_rng((15, seed))
    tg.manual_seed(seed)
    rows, width = int(rng.integers(1, 20)), int(rng.integers(1, 9))
    kind = ("table", "table", "picture", "sequence")[seed % 4]
    layers: list[nn.Module] = []
    if kind == "picture":
        channels = int(rng.integers(1, 4))
        x = rng.normal(size=(rows, channels, 8, 8))
        layers += [nn.Conv2d(channels, 4, int(rng.integers(1, 4)), padding=1), nn.BatchNorm2d(4), nn.ReLU()]
        layers += [rng.choice([nn.MaxPool2d, nn.AvgPool2d])(2), nn.Flatten()]
        width = nn.Sequential(*layers).eval()(tg.tensor(x.astype(np.float32))).shape[1]
    elif kind == "sequence":
        x = rng.normal(size=(rows, int(rng.integers(2, 9)), width))
        hidden = int(rng.integers(1, 9))
        layers.append(Last(rng.choice([nn.RNN, nn.LSTM, nn.GRU])(width, hidden, batch_first=True)))
        width = hidden
    else:
        x = rng.normal(size=(rows, width)) * 3 + 2
        scaler = rng.choice([nn.StandardScaler, nn.MinMaxScaler, nn.MaxAbsScaler])
        layers += [scaler().fit(rng.normal(size=(30, width)))] if rng.random() < 0.5 else []
    for _ in range(int(rng.integers(1, 4))):
        own = int(rng.integers(2, 20))
        layers += [nn.Linear(width, own, bias=bool(rng.random() < 0.8)), rng.choice([*SMOOTH, *PLAIN])()]
        # Of few numbers a LayerNorm subtracts what is nearly equal: any other order of rounding gives other results.
        layers += [nn.LayerNorm(own)] if own >= 4 and rng.random() < 0.3 else []
        width = own
    layers += [nn.Softmax(-1)] if rng.random() < 0.3 else []
    whole: nn.Module = nn.Sequential(*layers).eval()
    whole = Ranked(whole) if seed % 5 == 4 else whole
    if rng.random() < 0.2:
        return whole.double(), x
    return whole, x.astype(np.float32)


def exported(seeds: Sequence[int], folder: Path) -> list[Exported]:
    """The C of models in a folder."""
    found = []
    for seed in seeds:
        own, x = model(seed)
        source = c(own, x, path=folder / f"m{seed}.c", name=f"m{seed}", golden=2)
        found.append(Exported(own, x, source, f"m{seed}"))
    return found


def library(models: Sequence[Exported], target: Path, *flags: str, dialect: str = "c99") -> ctypes.CDLL:
    """All of them, compiled as one."""
    command = [
        "gcc",
        f"-std={dialect}",
        *STRICT,
        *flags,
        "-shared",
        "-fPIC",
        *(str(one.source) for one in models),
        "-o",
        str(target),
    ]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr[:3000]
    return ctypes.CDLL(str(target))


def results(one: Exported, loaded: ctypes.CDLL, x: Array) -> Array:
    """What the C makes of an input."""
    with tg.no_grad():
        wanted = one.model(tg.tensor(x)).numpy()
    out = np.full_like(wanted, np.nan if wanted.dtype.kind == "f" else -1)
    arena = ctypes.create_string_buffer(1 << 20)
    run: Callable[..., int] = loaded[f"{one.name}_run"]
    assert run(*(array.ctypes.data_as(ctypes.c_void_p) for array in (x, out)), arena) == 0
    return out


def by_object(one: Exported, folder: Path) -> Array:
    """What object code for this machine makes of the input of a model."""
    tg.export.object(one.model, one.x, path=folder / f"{one.name}_object.so")
    found: Array = runpy.run_path(str(folder / f"{one.name}_object.py"))["run"](one.x)
    return found


def by_wasm(models: Sequence[Exported], folder: Path) -> list[Array]:
    """What WebAssembly makes of the inputs of models, all in one run of Node."""
    lines = []
    for one in models:
        tg.export.wasm(one.model, one.x, path=folder / f"{one.name}.wasm")
        loaded = f'await (await import("./{one.name}.js")).load()'
        given = json.dumps(one.x.reshape(-1).tolist())
        lines.append(f"console.log(JSON.stringify(Array.from(({loaded}).run({given}).out, Number)));")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "main.js").write_text("\n".join(lines))
    told = subprocess.run(["node", "main.js"], cwd=folder, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr[:3000]
    return [np.array(json.loads(line)) for line in told.stdout.splitlines()]


def distance(one: Exported, found: Array, x: Array) -> float:
    """How far results lie from those of Python, in units of the last digit of the largest."""
    with tg.no_grad():
        wanted = one.model(tg.tensor(x)).numpy()
    found = np.asarray(found).reshape(wanted.shape)
    if wanted.dtype.kind != "f":
        return 0.0 if (found == wanted).all() else float("inf")
    return float(np.abs(found - wanted).max() / np.spacing(np.abs(wanted).max()))


def main(count: int) -> int:
    """Compare so many models; the number of those that are too far off."""
    worst, bad = dict.fromkeys(("C", "own test", "object", "wasm"), 0.0), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for first in range(0, count, 20):
            models = exported(range(first, min(first + 20, count)), folder)
            loaded = library(models, folder / f"{first}.so", "-O1")
            node = by_wasm(models, folder) if shutil.which("node") else [None] * len(models)
            for one, wasm in zip(models, node, strict=True):
                apart = {
                    "C": distance(one, results(one, loaded, one.x), one.x),
                    "own test": float(loaded[f"{one.name}_selftest"]()),
                    "object": distance(one, by_object(one, folder), one.x),
                    **({} if wasm is None else {"wasm": distance(one, wasm, one.x)}),
                }
                worst |= {kind: max(worst[kind], units / one.bound) for kind, units in apart.items()}
                if not max(apart.values()) <= one.bound:
                    bad += 1
                    print(f"{one.name}: units off {apart}, {one.bound} allowed\n{one.model}", flush=True)
    took = ", ".join(f"{kind} {part:.0%}" for kind, part in worst.items())
    print(f"{count} models, {bad} too far off; of what is allowed the worst took: {took}")
    return bad


if __name__ == "__main__":
    sys.exit(min(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200), 1))
