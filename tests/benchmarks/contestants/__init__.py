"""Who takes part, and what a contestant's module offers: `WORKLOADS`, a table of functions that take the Setting of a
process and return a Run.
"""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BENCH = 'pip install -e ".[bench]"'


@dataclass(frozen=True)
class Contestant:
    """One that runs workloads, in a process of its own.

    needs   modules without which it is left out
    env     its environment; `{scratch}` is the folder of this run
    filled  one run that is not measured comes first, and fills a cache on disk
    only    workloads it is for; empty for all that its module has
    runs    a program without which it is left out
    """

    name: str
    label: str
    module: str
    needs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    filled: bool = False
    only: tuple[str, ...] = ()
    runs: str = ""

    def missing(self) -> str | None:
        """Why it cannot take part, in words."""
        for module in self.needs:
            if importlib.util.find_spec(module) is None:
                return f"{module} is not installed: {BENCH}"
        if self.runs and shutil.which(self.runs) is None:
            return f"no program {self.runs}"
        return None


CONTESTANTS = {
    one.name: one
    for one in (
        Contestant("limit", "limit.cpp", "limit"),
        Contestant("numpy", "NumPy by hand", "by_hand"),
        Contestant("polars", "polars by hand", "frames", ("polars",), only=("csv", "csv-memory")),
        Contestant("sklearn", "scikit-learn", "scikit", ("sklearn",)),
        Contestant("torch", "PyTorch eager", "pytorch", ("torch",)),
        Contestant("torch-compile", "torch.compile", "pytorch", ("torch",)),
        Contestant("jax", "JAX jit", "jaxed", ("jax",)),
        Contestant("eager", "tinygrad_nn eager", "ours"),
        Contestant("compiled", "tinygrad_nn compiled", "ours", ("llvmlite",)),
        Contestant(
            "compiled-warm",
            "tinygrad_nn compiled, cached",
            "ours",
            ("llvmlite",),
            env={"TGNN_CACHE": "{scratch}/cache"},
            filled=True,
            only=("iris-first", "gpt-first"),
        ),
        Contestant("wasm", "tinygrad_nn in Node", "wasm", ("llvmlite",), only=("iris", "titanic"), runs="node"),
    )
}


@dataclass(frozen=True)
class Setting:
    """What a contestant's process was started for; `file` is where the arrays are from, or what is to be read."""

    contestant: str
    arrays: Mapping[str, Any]
    notes: dict[str, float]
    file: str = ""

    def weights(self) -> list[Any]:
        """First weights in the order of the layers: the arrays whose names begin with w and b."""
        return [array for name, array in self.arrays.items() if name[0] in "wb"]


@dataclass(frozen=True)
class Sample:
    """Seconds of a run, and the values by which contestants are compared: the final loss, and scores."""

    seconds: float
    values: list[float]


Run = Callable[[int], Sample]
"""Do so many iterations from the first weights on."""

Table = Mapping[str, Callable[[Setting], Run | None]]
"""None where a contestant has nothing of its own to do."""


def passes(iterations: int, rows: int) -> tuple[int, int]:
    """Of data with so many rows: how many of them make the iterations, and how many passes over those."""
    used = min(iterations, rows)
    return used, iterations // used


def fingerprint(x: Sequence[Any], y: Sequence[Any]) -> list[float]:
    """What tells sequences read right from those read wrong, without a copy."""
    squares = sum([float((steps[0] * steps[0]).sum()) for steps in x])
    return [float(len(x)), float(sum(map(len, x))), squares, sum([float(steps.sum()) for steps in y])]


def repeated(call: Callable[[], Any], values: Callable[[Any], list[float]], reset: Callable[[], object]) -> Run:
    """A run of calls from Python; the last result is read at the end."""

    def run(iterations: int) -> Sample:
        reset()
        result: Any = None
        start = time.perf_counter()
        for _ in range(iterations):
            result = call()
        found = values(result)
        return Sample(time.perf_counter() - start, found)

    return run
