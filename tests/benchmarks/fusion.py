"""`python -m tests.benchmarks.fusion`: whether fusion chose the faster of two, on 40 graphs.

Where cost alone decides whether a value is stored or computed again (`Choice` in `lower/fusion.py`), each graph is
compiled as it was chosen, with everything stored, with everything computed again, and with the dearest decisions turned
over one by one. All run in turn in one process; the least time of each counts. Rows say where another was faster.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod
from typing import Any, Final

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import Tensor, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.compiler.codegen import native
from tinygrad_nn.compiler.driver import STAGES, Context
from tinygrad_nn.compiler.job import Job
from tinygrad_nn.compiler.lower.fusion import plan
from tinygrad_nn.compiler.lower.parts import Planned
from tinygrad_nn.compiler.schedule.arena import Arena
from tinygrad_nn.graph.graph import Node

TURNED: Final = 3  # decisions turned over one by one
SIMPLE: Final = ("all stored", "all again")
ROUND: Final = 3e-4  # seconds of a run between two of other variants
Call = tuple[Callable[..., Any], Sequence[Tensor]]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Normal ones."""
    return tg.tensor(np.random.default_rng(seed).normal(size=shape), dtype=tg.get_default_dtype())


def labels(count: int, classes: int) -> Tensor:
    """Integers below `classes`."""
    return tg.tensor(np.arange(count) * 7 % classes)


def training(model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, rule: Any) -> Call:
    """A step of a model."""
    optimizer = rule(model.parameters(), lr=1e-4)

    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    return step, (x, y)


def mlp(*widths: int, act: Any = nn.ReLU, loss: Any = F.cross_entropy, batch: int = 64, rule: Any = optim.SGD) -> Call:
    """A step of a net of linear layers."""
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), act())]
    classes = loss is F.cross_entropy
    y = labels(batch, widths[-1]) if classes else numbers(batch, widths[-1], seed=1).sigmoid()
    return training(nn.Sequential(*layers[:-1]), loss, numbers(batch, widths[0]), y, rule)


def recurrent(kind: Any, width: int, steps: int) -> Call:
    """A step of a recurrent net that learns one number for each time."""
    model, head = kind(29, width, batch_first=True), nn.Linear(width, 1)
    both = nn.ModuleList([model, head])
    optimizer = optim.SGD(both.parameters(), lr=1e-4)

    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        value = F.mse_loss(head(model(x)[0]), y)
        value.backward()
        optimizer.step()
        return value

    return step, (numbers(32, steps, 29), numbers(32, steps, 1))


def gradient(function: Callable[..., Tensor], *args: Tensor) -> Call:
    """A function whose sum is differentiated with respect to all that it takes."""
    return tg.grad(lambda *xs: function(*xs).sum(), argnums=tuple(range(len(args)))), args


def forward(function: Callable[..., Any], *args: Tensor) -> Call:
    """A function as it is."""
    return function, args


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Of one head."""
    return ((q @ k.transpose(-1, -2)) * 0.125).softmax(-1) @ v


def normed(x: Tensor) -> Tensor:
    """Rows of length 1, and what they have to do with each other."""
    rows = x / (x * x).sum(1, keepdim=True).sqrt()
    return rows @ rows.T


def both_ways(x: Tensor) -> tuple[Tensor, Tensor]:
    """A chain that is summed along either axis."""
    y = (x * 2 + 1).relu()
    return y.sum(0), y.sum(1)


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Of all pairs."""
    return ((x.unsqueeze(1) - y.unsqueeze(0)) ** 2).sum(2)


def spread(x: Tensor, y: Tensor) -> Tensor:
    """Two cheap vectors for every element of a matrix."""
    return ((x * 2 + 1).unsqueeze(1) * (y * 3 - 1).unsqueeze(0)).relu().sum(1)


GRAPHS: Final[dict[str, Callable[[], Call]]] = {
    "mlp 4-8-3": partial(mlp, 4, 8, 3, batch=32),
    "mlp 16-32-4 adam": partial(mlp, 16, 32, 4, rule=optim.Adam),
    "mlp 32-32-32-1 tanh": partial(mlp, 32, 32, 32, 1, act=nn.Tanh, loss=F.mse_loss),
    "mlp 64-64-10 adam": partial(mlp, 64, 64, 10, rule=optim.Adam),
    "mlp 64-64-10 silu": partial(mlp, 64, 64, 10, act=nn.SiLU),
    "mlp 64-96-8 elu": partial(mlp, 64, 96, 8, act=nn.ELU, loss=F.mse_loss),
    "mlp 48-48-2 softplus": partial(mlp, 48, 48, 2, act=nn.Softplus, loss=F.huber_loss),
    "mlp 128-128-10": partial(mlp, 128, 128, 10, batch=128),
    "mlp 128-128-10 gelu": partial(mlp, 128, 128, 10, act=nn.GELU),
    "mlp 128-128-1 leaky": partial(mlp, 128, 128, 1, act=nn.LeakyReLU, loss=F.huber_loss),
    "mlp 128-64-16 sigmoid": partial(mlp, 128, 64, 16, act=nn.Sigmoid, loss=F.binary_cross_entropy_with_logits),
    "mlp 256-256-10": partial(mlp, 256, 256, 10),
    "mlp 300-100-50 hardtanh": partial(mlp, 300, 100, 50, act=nn.Hardtanh, loss=F.l1_loss),
    "mlp 784-128-10 tanh": partial(mlp, 784, 128, 10, act=nn.Tanh),
    "mlp 4-32-16-4, 2000 rows": partial(mlp, 4, 32, 16, 4, act=nn.Tanh, batch=2000),
    "layer norm 32x16": lambda: gradient(lambda x: F.layer_norm(x, (16,)) ** 2, numbers(32, 16)),
    "layer norm 256x512": lambda: gradient(lambda x: F.layer_norm(x, (512,)) ** 2, numbers(256, 512)),
    "batch norm step": lambda: training(
        nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 4)),
        F.mse_loss, numbers(128, 64), numbers(128, 4), optim.SGD,
    ),
    "root mean square norm": lambda: gradient(
        lambda x: x * ((x * x).mean(1, keepdim=True) + 1e-5).rsqrt(), numbers(128, 256)
    ),
    "softmax 64x8": lambda: forward(lambda x: x.softmax(1), numbers(64, 8)),
    "softmax 200x1000": lambda: forward(lambda x: x.softmax(1), numbers(200, 1000)),
    "softmax gradient": lambda: gradient(lambda x: x.softmax(1) ** 2, numbers(128, 100)),
    "cross-entropy 64x1000": lambda: gradient(lambda x: F.cross_entropy(x, labels(64, 1000)), numbers(64, 1000)),
    "log-sum-exp of columns": lambda: gradient(lambda x: x.logsumexp(0), numbers(100, 300)),
    "attention 32x16": lambda: forward(attention, *(numbers(8, 32, 16, seed=k) for k in range(3))),
    "attention gradient": lambda: gradient(attention, *(numbers(8, 32, 32, seed=k) for k in range(3))),
    "lstm 8, 10 steps": partial(recurrent, nn.LSTM, 8, 10),
    "lstm 64, 20 steps": partial(recurrent, nn.LSTM, 64, 20),
    "gru 32, 20 steps": partial(recurrent, nn.GRU, 32, 20),
    "rnn 10, 30 steps": partial(recurrent, nn.RNN, 10, 30),
    "sum of a bell": lambda: forward(lambda x: (-(x * x)).exp().sum(), numbers(100_000)),
    "mean and variance of a chain": lambda: forward(
        lambda x: ((x * 3).relu().mean(1), (x * 3).relu().var(1)), numbers(300, 300)
    ),
    "both ways 200x300": lambda: forward(both_ways, numbers(200, 300)),
    "both ways 1000x1000": lambda: forward(both_ways, numbers(1000, 1000)),
    "exponentials both ways": lambda: forward(lambda x: (x.exp().sum(0), x.exp().sum(1)), numbers(400, 400)),
    "vectors over a matrix": lambda: forward(spread, numbers(300), numbers(500)),
    "distances": lambda: gradient(distances, numbers(40, 8), numbers(50, 8, seed=1)),
    "similarities": lambda: gradient(normed, numbers(100, 32)),
    "rows looked up, then a product": lambda: gradient(
        lambda table, w: (F.embedding(labels(200, 50), table) * 2).relu() @ w, numbers(50, 32), numbers(32, 48)
    ),
    "product of masked factors": lambda: forward(
        lambda x, y: x.masked_fill(x < 0, 0) @ (y * 2 - 1), numbers(64, 128), numbers(128, 96)
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A graph compiled in one way, with its memory."""

    name: str
    code: Any
    arena: Arena

    def seconds(self, rounds: int) -> float:
        """Of a call, on average."""
        function, address = self.code.function, self.arena.address
        begin = time.perf_counter()
        for _ in range(rounds):
            function(address)
        return (time.perf_counter() - begin) / rounds


def compiled(job: Job, name: str, turned: Collection[Node], values: Sequence[Any]) -> Variant:
    """The last stages, from a plan in which some decisions are turned over."""
    context = Context(native.host())
    first = [stage.name for stage in STAGES].index("plan")
    value: Any = Planned(job, (plan(job.parts[0].graph, context.target.blas, turned),))
    arena = None
    for stage in STAGES[first + 1 :]:
        value = stage.make(value, context)
        if stage.name == "schedule":
            arena, inputs = Arena(value), value.program.inputs
    assert arena is not None
    for buffer, array in zip(inputs, values, strict=True):
        np.copyto(arena.view(buffer), array)
    return Variant(name, value, arena)


def variants(function: Callable[..., Any], args: Sequence[Tensor]) -> list[Variant]:
    """The choice of the model, then what else could have been chosen."""
    entry = tg.jit(function).entry(tuple(args), {})
    stages = entry.compiled.stages
    for view, argument in zip(entry.views, args, strict=True):
        view[...] = argument.numpy()
    values = [np.array(entry.compiled.arena.view(buffer)) for buffer in stages.schedule.program.inputs]
    choices, stored, graph = stages.plan.choices, stages.plan.stored, stages.graph
    position = {node: k for k, node in enumerate(graph.nodes)}
    ways: dict[str, Collection[Node]] = {
        "as chosen": (),
        "all stored": [node for node, choice in choices.items() if not choice.is_stored],
        "all again": [node for node, choice in choices.items() if choice.is_stored],
    }
    dearest = sorted(choices, key=lambda n: -prod(n.shape) * abs(choices[n].stored - choices[n].again))
    for node in dearest[:TURNED]:
        how = "again" if node in stored else "stored"
        ways[f"{how}: {position[node]} {node.op.name} {node.shape}, {choices[node]}"] = (node,)
    return [
        compiled(stages.job, name, turned, values) for name, turned in ways.items() if turned or name == "as chosen"
    ]


def measured(ways: Sequence[Variant], seconds: float) -> list[float]:
    """The least time of each, all in turn."""
    rounds = [max(1, int(ROUND / max(way.seconds(2), 1e-8))) for way in ways]
    best = [float("inf")] * len(ways)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for k, way in enumerate(ways):
            best[k] = min(best[k], way.seconds(rounds[k]))
    return best


def main() -> None:
    """Print a row for each graph and dtype, and how often something else was faster."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fusion", description=__doc__)
    parser.add_argument("graphs", nargs="*", help="parts of their names; all without")
    parser.add_argument("--dtype", nargs="*", help="float32, float64; by default one and the other in turn")
    parser.add_argument("--seconds", type=float, default=0.4, help="for a row")
    parser.add_argument("--tolerance", type=float, default=0.05, help="of a difference that counts")
    options = parser.parse_args()
    os.environ["TGNN_CACHE"] = "0"
    names = [name for name in GRAPHS if not options.graphs or any(part in name for part in options.graphs)]
    rows, lost = 0, 0
    gained: list[float] = []
    for k, name in enumerate(names):
        for dtype in options.dtype or (("float32", "float64")[k % 2],):
            tg.manual_seed(0)
            tg.set_default_dtype(dtype)
            ways = variants(*GRAPHS[name]())
            times = measured(ways, options.seconds)
            fastest = min(range(len(ways)), key=times.__getitem__)
            own, other = measured((ways[0], ways[fastest]), options.seconds) if fastest else (1.0, 1.0)
            slower = own / other > 1 + options.tolerance
            rows, lost = rows + 1, lost + slower
            simple = {way.name: t / times[0] for way, t in zip(ways, times, strict=True) if way.name in SIMPLE}
            gained += [min(simple.values())] if simple else []
            parts = [f"{name:32} {dtype} {1e6 * times[0]:9.2f} us"]
            parts += [f"{what} {ratio:.2f}" for what, ratio in simple.items()]
            parts += [f"SLOWER, {own / other:.2f} of {ways[fastest].name}"] if slower else []
            print("; ".join(parts), flush=True)
    mean = float(np.exp(np.mean(np.log(gained)))) if gained else 1.0
    print(f"{lost} of {rows} are slower than another choice; the better of the simple ones takes {mean:.2f} of ours")


if __name__ == "__main__":
    main()
