"""Training scripts as PyTorch's users write them, each run with PyTorch and, nothing changed but its imports, with us.

A script is a file of `for_pytorch/` beside this one. It leaves its losses in a list called `losses`. Ours have to be
those of PyTorch, in float32 and in float64, and again with its step compiled: `COMPILED` says whether to.

    python -m tests.scripts.test_scripts              # a table: each script, the largest difference, the times
    python -m tests.scripts.test_scripts gan vae      # those whose name contains one of these
"""

from __future__ import annotations

import functools
import re
import sys
import time
import traceback
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tinygrad_nn.torch as ours

FOLDER = Path(__file__).parent / "for_pytorch"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))
TOLERANCES = {"float32": 1e-3, "float64": 1e-6}


def changed(text: str) -> str:
    """A script with its imports changed, and nothing else."""
    text = re.sub(r"(?m)^(\s*)import torch$", r"\1import tinygrad_nn.torch as torch", text)
    text = re.sub(r"(?m)^(\s*)import torch\.([\w.]+) as", r"\1import tinygrad_nn.torch.\2 as", text)
    return re.sub(r"(?m)^(\s*)from torch\b", r"\1from tinygrad_nn.torch", text)


@contextmanager
def default(lib: Any, dtype: str) -> Iterator[None]:
    before = lib.get_default_dtype()
    lib.set_default_dtype(getattr(lib, dtype))
    try:
        yield
    finally:
        lib.set_default_dtype(before)


def run(name: str, lib: Any, dtype: str, compiled: bool = False) -> list[float]:
    """The losses of a script."""
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    path = FOLDER / f"{name}.py"
    module = types.ModuleType(f"script_{name}")
    module.__dict__["COMPILED"] = compiled
    sys.modules[module.__name__] = module  # where pickle and dataclasses look
    try:
        with default(lib, dtype):
            lib.manual_seed(0)
            exec(compile(changed(text) if lib is ours else text, str(path), "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]
    return [float(loss) for loss in module.__dict__["losses"]]


@functools.cache
def expected(name: str, dtype: str) -> list[float]:
    """The losses of a script run with PyTorch."""
    return run(name, torch, dtype)


def difference(own: list[float], theirs: list[float]) -> float:
    """The largest relative difference."""
    assert len(own) == len(theirs) > 1
    a, b = np.array(own), np.array(theirs)
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-2)))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_when_its_import_is_changed(name: str) -> None:
    for dtype, tolerance in TOLERANCES.items():
        assert difference(run(name, ours, dtype), expected(name, dtype)) < tolerance


@pytest.mark.parametrize("name", SCRIPTS)
def test_its_step_compiles(name: str) -> None:
    assert "COMPILED" in (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert difference(run(name, ours, "float32", compiled=True), expected(name, "float32")) < TOLERANCES["float32"]


def test_imports_are_all_that_changes() -> None:
    text = "import torch\nimport torch.nn as nn\nfrom torch.utils.data import DataLoader\nx = torch.ones(2)  # torch"
    lines = changed(text).splitlines()
    assert lines[:2] == ["import tinygrad_nn.torch as torch", "import tinygrad_nn.torch.nn as nn"]
    assert lines[2:] == ["from tinygrad_nn.torch.utils.data import DataLoader", "x = torch.ones(2)  # torch"]


RUNS = ((torch, "float32", False), (torch, "float64", False), (ours, "float32", False), (ours, "float64", False),
        (ours, "float32", True))  # fmt: skip


def main(parts: list[str]) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    warnings.filterwarnings("error", "compile: ")  # it runs as it is, not compiled
    for name in SCRIPTS:
        if parts and not any(part in name for part in parts):
            continue
        row, theirs = [f"{name:<16}"], {}
        for lib, dtype, compiled in RUNS:
            started = time.perf_counter()
            label = f"{'torch' if lib is torch else 'compiled' if compiled else dtype}"
            try:
                losses = run(name, lib, dtype, compiled)
                if lib is torch:
                    theirs[dtype] = losses
                else:
                    label += f" {difference(losses, theirs[dtype]):.0e}"
            except Exception as error:
                places = [
                    one.lineno for one in traceback.extract_tb(error.__traceback__) if FOLDER.name in one.filename
                ]
                label += f" {type(error).__name__} in line {places[-1] if places else '?'}: {str(error)[:300]}"
            row.append(f"{label} ({time.perf_counter() - started:.2f} s)")
        print("  ".join(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
