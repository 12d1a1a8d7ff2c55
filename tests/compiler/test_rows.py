"""Rows in blocks: the same results for every number of rows, one pass over them, and nothing where it does not pay."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.compiler import interp
from tinygrad_nn.compiler.driver import build
from tinygrad_nn.compiler.job import Job, Part
from tinygrad_nn.compiler.loopir.ir import Gemm
from tinygrad_nn.compiler.loopir.program import Program, Region, Repeat, When
from tinygrad_nn.compiler.schedule import rows
from tinygrad_nn.compiler.trace import trace
from tinygrad_nn.errors import IndexOutOfRange
from tinygrad_nn.graph.graph import Graph
from tinygrad_nn.support.pytree import flatten
from tinygrad_nn.testing.agreement import ANYWHERE, check

BLOCK = 8  # rows of a block, where the caches are as small as here
COUNTS = (0, 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1, 61)
RNG = np.random.default_rng(0)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches that a few rows overflow, so that all that can be in blocks is."""
    monkeypatch.setattr(rows, "WORTH", 0)
    monkeypatch.setattr(rows, "FIRST", 0)
    monkeypatch.setattr(rows, "SECOND", 10**6)
    monkeypatch.setattr(rows, "LINE", BLOCK)
    monkeypatch.setattr(rows, "_even", lambda count, most: BLOCK if count >= 2 * BLOCK else 0)


def weights(*sizes: int) -> list[Any]:
    return [RNG.normal(size=pair) for pair in pairwise(sizes)]


def mlp(x: Any, y: Any, w: Any, v: Any, b: Any) -> Any:
    """The mean of squares: activations, their gradients and the sums over rows are all of a run."""
    return ((((x @ w + b).tanh() @ v) - y) ** 2).mean()


def classified(x: Any, w: Any, v: Any, labels: Any) -> Any:
    """Labels that are checked before, a softmax along each row, and the number of right ones in the same pass."""
    logits = (x @ w).relu() @ v
    return F.cross_entropy(logits, labels), (logits.argmax(1) == labels).sum()


def normalised(x: Any, w: Any, v: Any) -> Any:
    """What needs a mean over all rows ends a run; there is another one after it."""
    h = (x @ w).tanh()
    h = (h - h.mean(0)) / (h.var(0) + 1e-3).sqrt()
    return ((h @ v).tanh() ** 2).sum()


def embedded(table: Any, index: Any, w: Any) -> Any:
    """Rows gathered from a table, whose gradient is added up at places that data says."""
    return ((F.embedding(index, table) @ w).tanh() ** 2).mean()


def flattened(x: Any, w: Any) -> Any:
    """The memory of a stored value under another shape."""
    h = (x * 2).tanh()
    return (h.reshape(-1, 12) @ w).tanh().sum() + (h.exp().sum(1) ** 2).sum()


def all_pairs(x: Any, w: Any) -> Any:
    """Every row meets every other one."""
    h = (x @ w).tanh()
    return (h @ h.T).tanh().sum() + h.softmax(0).max(0)[0].sum()


def gradients(function: Callable[..., Any], places: tuple[int, ...], aux: bool = False) -> Callable[..., Any]:
    return tg.value_and_grad(function, places, aux)


def cases(n: int) -> dict[str, tuple[Any, list[Any]]]:
    """Functions and their arguments for so many rows."""
    x = RNG.normal(size=(n, 5))
    labels = RNG.integers(0, 3, n)
    return {
        "mlp": (gradients(mlp, (0, 2, 3, 4)), [x, RNG.normal(size=(n, 3)), *weights(5, 9, 3), RNG.normal(size=9)]),
        "inference": (lambda x, w, v: ((x @ w).relu() @ v).softmax(-1), [x, *weights(5, 9, 3)]),
        "classified": (gradients(classified, (1, 2), True), [x, *weights(5, 11, 3), labels]),
        "normalised": (gradients(normalised, (1, 2)), [x, *weights(5, 9, 3)]),
        "embedded": (gradients(embedded, (0, 2)), [RNG.normal(size=(4, 6)), RNG.integers(0, 4, n), *weights(6, 11)]),
        "flattened": (gradients(flattened, (0, 1)), [RNG.normal(size=(n, 3, 4)), *weights(12, 11)]),
        "scan": (repeated_steps, [RNG.normal(size=(20, n, 5)), *weights(5, 9)]),
        "all pairs": (gradients(all_pairs, (1,)), [x, *weights(5, 9)]),
    }


def repeated_steps(x: Any, w: Any) -> Any:
    """A loop over time: what a step makes of the state is read by the next one only."""

    def step(state: Any, one: Any) -> Any:
        h, c = state
        return ((c + (one @ w).tanh() @ w.T @ w).tanh(), (h * 2).sin()), h.sum()

    return tg.scan(step, (x[0] @ w, x[1] @ w), x)


def traced(function: Any, *values: Any) -> Graph:
    leaves, tree = flatten((values, {}))
    return trace(function, tree, leaves, [True] * len(leaves)).graph


def program_of(graph: Graph) -> Program:
    return build(Job((Part(graph),)), ANYWHERE, last="rows").program


def repeated(regions: tuple[Region, ...]) -> list[Repeat]:
    """The regions that go over blocks of rows."""
    found: list[Repeat] = []
    for one in regions:
        if isinstance(one, Repeat) and one.rows:
            found.append(one)
        elif isinstance(one, (Repeat, When)):
            found += repeated(one.body)
    return found


@pytest.mark.parametrize("name", list(cases(2)))
def test_every_number_of_rows(name: str, small: None) -> None:
    for k, n in enumerate(COUNTS):
        if n == 0 and name in ("normalised", "all pairs"):
            continue  # no mean, and no largest of none
        function, values = cases(n)[name]
        dtype = (np.float32, np.float64)[k % 2]
        values = [one.astype(dtype) if one.dtype.kind == "f" else one for one in values]
        graph = traced(function, *values)
        outcome = check(graph, values, interpreted=n == 2 * BLOCK + 1 and name != "scan")  # which has many steps
        assert not outcome.problems, (n, outcome.problems)
        assert bool(repeated(program_of(graph).regions)) == (n >= 2 * BLOCK)


def test_what_only_a_run_touches_is_as_long_as_a_block(small: None) -> None:
    function, values = cases(61)["mlp"]
    program = program_of(traced(function, *values))
    (block,) = repeated(program.regions)
    assert block.var.extent == 61 // BLOCK
    inputs = {*program.inputs, *program.outputs}
    assert all(61 not in buffer.shape for buffer in program.buffers if buffer not in inputs)
    assert sum(BLOCK in buffer.shape for buffer in program.buffers) >= 3


def test_what_needs_all_rows_ends_a_run_and_the_next_one_begins(small: None) -> None:
    function, values = cases(5 * BLOCK)["normalised"]
    assert len(repeated(program_of(traced(function, *values)).regions)) > 1


def test_a_sum_over_rows_takes_them_in_their_order(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the loops stand, before any are vectors: the bits are those of all rows at once."""
    x, g = RNG.normal(size=(61, 5)), RNG.normal(size=(61, 32))
    found = []
    for worth in (0, 10**9):
        monkeypatch.setattr(rows, "WORTH", worth)
        graph = traced(lambda x, g: (x * 2).tanh().T @ (g.tanh() * 3).tanh(), x, g)
        program = program_of(graph)
        assert bool(repeated(program.regions)) == (worth == 0)
        (result,), _ = interp.run(program, [x, g])
        found.append(result)
    np.testing.assert_array_equal(*found)


def test_a_label_out_of_range_is_found_in_its_row_and_before_anything_changes(small: None) -> None:
    model = nn.Linear(5, 3).to("float64")
    opt = optim.SGD(model.parameters(), lr=0.1)

    @tg.jit
    def step(x: tg.Tensor, labels: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x.tanh()).tanh(), labels)
        loss.backward()
        opt.step()
        return loss

    x, labels = RNG.normal(size=(61, 5)), RNG.integers(0, 3, 61)
    assert repeated(step.program(x, labels).regions)
    before = model.weight.detach().numpy().copy()
    labels[43] = 7
    with pytest.raises(IndexOutOfRange, match=r"43"):
        step(x, labels)
    np.testing.assert_array_equal(model.weight.detach().numpy(), before)


@pytest.mark.parametrize("batch", [3 * BLOCK, 2 * BLOCK + 1, 4 * BLOCK - 1, 61])
@pytest.mark.parametrize("shuffle", [False, True])
def test_runs_with_a_short_last_batch(batch: int, shuffle: bool, small: None) -> None:
    """Whose blocks are fewer, and whose rows left over are others; or which has no whole block."""
    x, labels = RNG.normal(size=(77, 5)), RNG.integers(0, 3, 77)
    histories, states = [], []
    for jit in (tg.jit, lambda function: function):
        tg.manual_seed(1)
        model = nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 3)).to("float64")
        opt = optim.Adam(model.parameters(), lr=0.01)

        def step(x: Any, labels: Any, model: Any = model, opt: Any = opt) -> Any:
            opt.zero_grad()
            logits = model(x)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            opt.step()
            return {"loss": loss, "right": (logits.argmax(1) == labels).to(tg.float64).mean()}

        options = {"batch_size": batch, "shuffle": shuffle, "seed": 3, "progress": False}
        histories.append(tg.fit(jit(step), (x, labels), 3, **options))
        states.append([one.detach().numpy() for one in model.parameters()])
    for column in ("loss", "right"):
        np.testing.assert_allclose(histories[0][column], histories[1][column], rtol=1e-9)
    for one, other in zip(*states, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-12)


def test_what_fits_the_cache_stays_as_it_is() -> None:
    function, values = cases(61)["mlp"]
    made = build(Job((Part(traced(function, *values)),)), ANYWHERE, last="rows").made
    assert made["rows"] is made["legalize"]


def test_many_rows_are_worth_it_and_leave_none_over() -> None:
    x = np.zeros((10_000, 4), np.float32)
    values = [x, x, np.zeros((4, 32), np.float32), np.zeros((32, 4), np.float32), np.zeros(32, np.float32)]
    program = program_of(traced(gradients(mlp, (2, 3, 4)), *values))
    (block,) = repeated(program.regions)
    size = 10_000 // block.var.extent
    assert size * block.var.extent == 10_000
    assert size % rows.LINE == 0
    short = [b for b in program.buffers if size in b.shape and b.role == "temporary"]
    assert sum(b.dtype.itemsize * int(np.prod(b.shape)) for b in short) <= rows.FIRST
    assert not any(isinstance(region, When) for region in program.regions)


def test_a_net_of_convolutions_leaves_no_product_to_a_blas() -> None:
    """Its few large products would end the run of rows, and with it the blocks of all the rest."""
    model = nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1152, 16))
    x = tg.tensor(RNG.normal(size=(2048, 1, 28, 28)).astype(np.float32))
    step = tg.jit(lambda x: tg.autograd.grad(model(x).square().mean(), list(model.parameters())))
    program = step.entry((x,), {}).compiled.stages.schedule.program
    assert not [one for kernel in program.kernels for one, _ in kernel.statements if isinstance(one, Gemm)]
    assert repeated(program.regions)
