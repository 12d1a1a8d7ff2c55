"""`python -m tests.benchmarks.streams`: training from files larger than memory, beside the same rows in memory.

A file of `--gigabytes` is made (unless it is there), and a process of its own trains an MLP on it, chunk by chunk: the
memory that this takes at most, in chunks, beyond what the process took before. Then a file of `--rows` is trained on in
turns from memory and from the file: the rates of an epoch that decodes it, of one that reads what was kept decoded, and
their ratios. The file is in the system's cache by then. Two cores are needed for reading and training at once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

import tinygrad_nn as tg
from tinygrad_nn import nn, optim

WIDTH: Final = 29
FEATURES: Final = [f"f{k}" for k in range(WIDTH)]
PART: Final = 2**19  # rows that are made at a time
ROW: Final = 4 * WIDTH + 8  # bytes of a row as the step gets it


def made(rows: int, seed: int) -> pl.DataFrame:
    """Random numbers, and labels that a line through them tells apart."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((WIDTH, rows), dtype=np.float32)
    y = (x[:5].sum(0) > 0).astype(np.int64)
    return pl.DataFrame({**dict(zip(FEATURES, x, strict=True)), "y": y})


def write(path: Path, rows: int) -> None:
    """A file of so many rows, made part by part."""
    sizes = [min(PART, rows - low) for low in range(0, rows, PART)]
    if path.suffix == ".csv":
        with path.open("wb") as file:
            for seed, size in enumerate(sizes):
                made(size, seed).write_csv(file, include_header=seed == 0, float_precision=6)
        return
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for seed, size in enumerate(sizes):
            made(size, seed).write_parquet(Path(folder) / f"{seed:06d}.parquet")
        pl.scan_parquet(Path(folder) / "*.parquet").sink_parquet(path)


def model(hidden: int) -> Callable[..., Any]:
    """A step that trains an MLP."""
    tg.manual_seed(0)
    net = nn.Sequential(nn.Linear(WIDTH, hidden), nn.ReLU(), nn.Linear(hidden, 2))
    opt = optim.SGD(net.parameters(), lr=0.05)

    @tg.jit
    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = nn.CrossEntropyLoss()(net(x), y)
        loss.backward()
        opt.step()
        return loss

    return step


def trained(step: Callable[..., Any], data: Any, options: argparse.Namespace) -> tuple[float, float]:
    """The seconds of an epoch, and its loss."""
    started = time.perf_counter()
    history = tg.fit(step, data, 1, options.batch, options.shuffle, seed=1, progress=False)
    return time.perf_counter() - started, history["loss"][-1]


def scanned(path: Path, options: argparse.Namespace, cache: Any = False) -> Any:
    """The file as data in chunks."""
    return tg.data.scan(path, features=FEATURES, target="y", chunk_rows=options.chunk_rows, cache=cache)


def memory(name: str) -> int:
    """Bytes that the process has, by a line of /proc: VmRSS for now, VmHWM for the most since it was told to forget."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def child(path: Path, options: argparse.Namespace) -> None:
    """Train on a large file, and say what it took. What the first fit loads and compiles is there before."""
    step = model(options.hidden)
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / f"small{options.suffix}"
        write(small, 8 * options.batch)
        trained(step, scanned(small, options), options)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    data = scanned(path, options)
    seconds, loss = trained(step, data, options)
    more, chunk, mb = memory("VmHWM") - before, options.chunk_rows * ROW, 2**20
    print(f"{path.name}, {path.stat().st_size / 1e9:.2f} GB, {data.samples:,} rows in {data.count:,} chunks")
    print(f"  {data.samples / seconds / 1e6:.2f} million rows a second, loss {loss:.4f}")
    print(f"  memory: {before / mb:.0f} MB before, at most {more / mb:.0f} MB more: {more / chunk:.2f} chunks")


def rates(folder: Path, options: argparse.Namespace) -> None:
    """The same rows in memory, decoded, and kept decoded, in turns."""
    path = folder / f"rates-{options.rows}{options.suffix}"
    if not path.exists():
        write(path, options.rows)
    frame = pl.concat(made(min(PART, options.rows - low), k) for k, low in enumerate(range(0, options.rows, PART)))
    decoded, kept = scanned(path, options), scanned(path, options, cache=True)
    x, y = frame.select(FEATURES).to_numpy(order="c"), frame["y"].to_numpy()
    sources = {"in memory": (x, y), "decoded": decoded, "kept decoded": kept}
    steps = {name: model(options.hidden) for name in sources}
    for _ in range(2):
        for name, data in sources.items():
            trained(steps[name], data, options)
    best = dict.fromkeys(sources, float("inf"))
    for _ in range(options.rounds):
        for name, data in sources.items():
            best[name] = min(best[name], trained(steps[name], data, options)[0])
    print(f"{options.rows:,} rows of {path.suffix[1:]}, MLP {WIDTH}-{options.hidden}-2, batches of {options.batch}")
    for name, seconds in best.items():
        ratio = best["in memory"] / seconds
        print(f"  {name:<13}{1e9 * seconds / options.rows:7.0f} ns a row, {ratio:.2f} of the rate in memory")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m tests.benchmarks.streams", description=__doc__)
    p.add_argument("--gigabytes", type=float, default=5.0, help="of the large file; 0 for none")
    p.add_argument("--rows", type=int, default=2**21, help="of the file that fits into memory; 0 for none")
    p.add_argument("--chunk-rows", type=int, default=2**18)
    p.add_argument("--hidden", type=int, default=64)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--shuffle", action="store_true")
    p.add_argument("--suffix", choices=(".parquet", ".csv"), default=".parquet")
    p.add_argument("--folder", type=Path, help="where the files are made, and stay (default: a temporary one)")
    p.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure and report."""
    options = parse(argv)
    if options.child is not None:
        child(options.child, options)
        return
    with tempfile.TemporaryDirectory(prefix="tgnn-streams-") as temporary:
        folder = options.folder or Path(temporary)
        if options.gigabytes:
            per_row = ROW if options.suffix == ".parquet" else 10 * WIDTH
            path = folder / f"large-{options.gigabytes:g}{options.suffix}"
            if not path.exists():
                write(path, int(options.gigabytes * 1e9 / per_row))
            given = list(argv if argv is not None else sys.argv[1:])
            command = [sys.executable, "-m", "tests.benchmarks.streams", *given, "--child", str(path)]
            subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        if options.rows:
            rates(folder, options)


if __name__ == "__main__":
    main()
