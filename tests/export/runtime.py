"""Files of ONNX as onnxruntime computes them, held against Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn.support.extras import require

DISTANCE = 2e-6


def session(file: Any) -> Any:
    """The file, ready to run."""
    runtime = require("onnxruntime", "export")
    runtime.set_default_logger_severity(4)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(str(file) if isinstance(file, Path) else file, options, ["CPUExecutionProvider"])


def not_implemented() -> Any:
    """What onnxruntime raises for an operator that it lacks for a dtype."""
    return require("onnxruntime.capi.onnxruntime_pybind11_state", "export").NotImplemented


def apart(got: Any, expected: Any) -> float:
    """How far two arrays are apart, in parts of the largest number, or 1."""
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    if got.dtype.kind != "f":
        return float((got != expected).any())
    scale = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0)))
    same = (got == expected) | ((got != got) & (expected != expected))
    with np.errstate(invalid="ignore"):
        return float(np.where(same, 0, np.nan_to_num(np.abs(got - expected), nan=np.inf)).max(initial=0)) / scale


def outputs(f: Callable[..., Any], batch: Sequence[Any]) -> list[Any]:
    """What Python makes of arrays."""
    with tg.no_grad():
        found = f(*(tg.tensor(one, dtype=one.dtype) for one in batch))
    return [one.detach().numpy() for one in (found if isinstance(found, tuple | list) else [found])]


def compare(file: Path, f: Callable[..., Any], *batches: Sequence[Any]) -> Any:
    """Run the file on batches, of several sizes, and hold it against Python; and so it is as a module again."""
    ready, module = session(file), tg.import_onnx(file)
    names = [one.name for one in ready.get_inputs()]
    for batch in batches:
        got = ready.run(None, dict(zip(names, batch, strict=True)))
        for one, other, again in zip(got, outputs(f, batch), outputs(module, batch), strict=True):
            assert apart(one, other) <= DISTANCE
            assert apart(again, other) <= DISTANCE
    return ready
