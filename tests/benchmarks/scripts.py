"""`python -m tests.benchmarks.scripts`: the training scripts of `tests/scripts`, eager and compiled, against PyTorch.

What is timed is what a script gives to `torch.compile`, mostly a step: the least time of a call, by how often it is
called, unless that is a few times. Where there is no such function, the script is timed as a whole. Each is run in turn
with PyTorch, with us, and compiled by us, for some rounds.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

FEW: Final = 4  # calls, of which the least time says nothing
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")


@contextmanager
def timed(lib: Any, seconds: list[list[float]], compiled: bool) -> Iterator[None]:
    """`lib.compile` gives functions that note how long their calls take, here; whether they are compiled, too."""
    real = lib.compile

    def compile(function: Callable[..., Any], *settings: Any, **more: Any) -> Callable[..., Any]:
        own: list[float] = []
        seconds.append(own)
        run = real(function, *settings, **more) if compiled else function

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            result = run(*args, **kwargs)
            own.append(time.perf_counter() - started)
            return result

        return call

    lib.compile = compile
    try:
        yield
    finally:
        lib.compile = real


def one_run(name: str, lib: Any, dtype: str, compiled: bool) -> tuple[list[list[float]], float]:
    """The seconds of all calls of what a script compiles, and those of the script."""
    seconds: list[list[float]] = []
    started = time.perf_counter()
    with timed(lib, seconds, compiled):
        run(name, lib, dtype, True)
    return [own for own in seconds if len(own) >= FEW], time.perf_counter() - started


def least(found: list[tuple[list[list[float]], float]], compiled: bool) -> float:
    """Seconds of a call: the least of each function's, weighted by how often it is called. Where there is none, those
    of the script, of which nothing is compiled.
    """
    runs, whole = zip(*found, strict=True)
    if not runs[0]:
        return math.nan if compiled else min(whole)
    functions = list(zip(*runs, strict=True))
    calls = [len(own[0]) for own in functions]
    best = [min(min(seconds) for seconds in own) for own in functions]
    return sum(n * t for n, t in zip(calls, best, strict=True)) / sum(calls)


def measured(name: str, dtype: str, rounds: int) -> tuple[float, float, float]:
    """Seconds of a call with PyTorch, with us, and compiled by us."""
    contestants = ((torch, False), (ours, False), (ours, True))
    runs: list[list[tuple[list[list[float]], float]]] = [[] for _ in contestants]
    for _ in range(rounds):
        for found, (lib, compiled) in zip(runs, contestants, strict=True):
            found.append(one_run(name, lib, dtype, compiled))
    theirs, eager, fast = (least(found, compiled) for found, (_, compiled) in zip(runs, contestants, strict=True))
    return theirs, eager, fast


def main() -> None:
    """Print a row for each script, and the median and the worst of all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scripts", description=__doc__)
    parser.add_argument("parts", nargs="*", help="parts of names of scripts (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    warnings.filterwarnings("default", "compile: ")  # it runs as it is, not compiled
    names = [name for name in SCRIPTS if not options.parts or any(part in name for part in options.parts)]
    eager, compiled = {}, {}
    columns = f"{'PyTorch us':>11} {'ours us':>9} {'compiled us':>12} {'ours / it':>13} {'it / compiled':>17}"
    print(f"{'script':16} {columns}")
    for name in names:
        theirs, own, fast = measured(name, options.dtype, options.rounds)
        eager[name], note = own / theirs, ""
        if not math.isnan(fast):
            compiled[name] = theirs / fast
            note = f"{1e6 * fast:12.1f} {own / theirs:13.2f} {theirs / fast:17.1f}"
        print(f"{name:16} {1e6 * theirs:11.1f} {1e6 * own:9.1f} {note or f'{own / theirs:26.2f}'}", flush=True)
    for text, ratios, worst in (("ours / PyTorch", eager, max), ("PyTorch / compiled", compiled, min)):
        if ratios:
            name = worst(ratios, key=lambda one: ratios[one])
            print(f"{text}: median {statistics.median(ratios.values()):.2f}, worst {ratios[name]:.2f} ({name})")


if __name__ == "__main__":
    import torch  # both count their threads when they are loaded

    import tinygrad_nn.torch as ours
    from tests.scripts.test_scripts import SCRIPTS, run

    main()
