"""What the eager framework costs: the Iris step against PyTorch and plain NumPy, a scalar graph, import time, memory.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim

from .timing import interleaved, median, ratio


def iris_batch() -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """A batch of 32 and first weights, the same for every contestant."""
    rng = np.random.default_rng(0)
    shapes = ((8, 4), (8,), (3, 8), (3,))
    weights = [rng.uniform(-0.5, 0.5, shape).astype(np.float32) for shape in shapes]
    return rng.normal(size=(32, 4)).astype(np.float32), rng.integers(0, 3, 32), weights


def ours() -> Callable[[], Any]:
    """One training step of this project."""
    x, y, weights = iris_batch()
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    with tg.no_grad():
        for p, w in zip(model.parameters(), weights, strict=True):
            p.assign(tg.tensor(w))
    opt = optim.SGD(model.parameters(), lr=0.01)
    bx, by = tg.tensor(x), tg.tensor(y)

    def step() -> Any:
        opt.zero_grad()
        loss = F.cross_entropy(model(bx), by)
        loss.backward()
        opt.step()
        return loss

    return step


def torchs() -> Callable[[], Any]:
    """The same step in PyTorch, eager, one thread."""
    import torch

    torch.set_num_threads(1)
    x, y, weights = iris_batch()
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    with torch.no_grad():
        for p, w in zip(model.parameters(), weights, strict=True):
            p.copy_(torch.tensor(w))
    opt = torch.optim.SGD(model.parameters(), lr=0.01)
    bx, by = torch.tensor(x), torch.tensor(y)

    def step() -> Any:
        opt.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(bx), by)
        loss.backward()
        opt.step()
        return loss

    return step


def numpys() -> Callable[[], Any]:
    """The same step written by hand: what the arithmetic costs in NumPy."""
    x, y, (w1, b1, w2, b2) = iris_batch()
    rows = np.arange(32)

    def step() -> float:
        nonlocal w1, b1, w2, b2
        a = x @ w1.T + b1
        h = np.maximum(a, 0)
        z = h @ w2.T + b2
        z -= z.max(1, keepdims=True)
        e = np.exp(z)
        total = e.sum(1, keepdims=True)
        loss = float((np.log(total[:, 0]) - z[rows, y]).mean())
        g = e / total
        g[rows, y] -= 1
        g /= 32
        gh = np.where(h <= 0, 0, g @ w2)
        w2, b2 = w2 - 0.01 * (g.T @ h), b2 - 0.01 * g.sum(0)
        w1, b1 = w1 - 0.01 * (gh.T @ x), b1 - 0.01 * gh.sum(0)
        return loss

    return step


def iris_step() -> None:
    """Time per training step, and that all contestants compute the same losses."""
    contestants = {"tinygrad_nn": ours(), "NumPy by hand": numpys()}
    try:
        contestants["PyTorch"] = torchs()
    except ImportError:
        print("PyTorch is not installed: left out")
    losses = {name: [float(step()) for _ in range(100)][-1] for name, step in contestants.items()}
    if max(losses.values()) - min(losses.values()) > 1e-4:
        raise SystemExit(f"contestants disagree: {losses}")
    samples = interleaved(contestants, repeat=200)
    for name in contestants:
        print(f"iris step, batch 32, float32 | {name:14} | {median(samples, name) * 1e6:8.1f} us")
    for name in list(contestants)[1:]:
        print(f"iris step: tinygrad_nn / {name} = {ratio(samples, 'tinygrad_nn', name):.2f}")


def scalar_graph(nodes: int = 100_000) -> None:
    """Forward and backward through a chain of scalar operations, as micrograd would build it."""
    start = time.perf_counter()
    x = y = tg.tensor(1.0, requires_grad=True)
    for _ in range(nodes // 2):
        y = y * 1.00001 + 0.00001
    y.backward()
    print(f"scalar graph of {nodes} nodes, forward + backward | {time.perf_counter() - start:.2f} s | slope {x.grad}")


def import_time(rounds: int = 9) -> None:
    """`import tinygrad_nn` beyond `import numpy`, fresh interpreters in turn."""

    def seconds(module: str) -> float:
        code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    found = [(seconds("numpy"), seconds("tinygrad_nn")) for _ in range(rounds)]
    base, whole = (sorted(column)[rounds // 2] for column in zip(*found, strict=True))
    print(
        f"import | numpy {base * 1e3:.0f} ms | tinygrad_nn {whole * 1e3:.0f} ms | "
        f"beyond NumPy {(whole - base) * 1e3:.0f} ms"
    )


def memory(steps: int) -> None:
    """Resident memory before and after many training steps."""
    step = ours()
    for _ in range(1000):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(steps):
        step()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak resident memory after {steps} steps | {before / 1024:.1f} MB -> {after / 1024:.1f} MB")
