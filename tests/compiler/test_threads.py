"""Several threads in one function: what is split, where they wait, and that nobody can tell from the numbers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.compiler import blas, driver
from tinygrad_nn.compiler.codegen import native
from tinygrad_nn.compiler.codegen.llvm.printer import print_llvm
from tinygrad_nn.compiler.codegen.pool import Pool
from tinygrad_nn.compiler.expand import code
from tinygrad_nn.compiler.expand.code import Expanded
from tinygrad_nn.compiler.expand.expand import expand
from tinygrad_nn.compiler.expand.verify import verify
from tinygrad_nn.compiler.loopir.ir import (
    Access,
    Affine,
    Assign,
    Buffer,
    Gemm,
    Kernel,
    Let,
    Register,
    Statement,
    Store,
    Var,
    affine,
    nest,
)
from tinygrad_nn.compiler.loopir.program import Crew, Program, Span
from tinygrad_nn.compiler.recall import forget
from tinygrad_nn.compiler.run import threads
from tinygrad_nn.compiler.schedule import packing, sharing, tiles
from tinygrad_nn.compiler.schedule import threads as splitting
from tinygrad_nn.compiler.schedule.memory import layout
from tinygrad_nn.compiler.schedule.schedule import Schedule, schedule
from tinygrad_nn.compiler.schedule.threads import Placed, may_split, own_of
from tinygrad_nn.compiler.simulate import Machine, simulate
from tinygrad_nn.config import THREADS, config
from tinygrad_nn.errors import ConfigError, GraphError, IndexOutOfRange, TraceError
from tinygrad_nn.graph.scalar import FLOAT64, INT64, Expr, param

ROOT = Path(__file__).resolve().parents[2]
ORDERS = ((0,), (0, 1), (1, 0), (2, 0, 1))


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As many threads as four, on any machine; afterwards one, and no helper."""
    monkeypatch.setattr(threads, "cores", cache(lambda: 4))
    yield
    threads.Setting.number = None
    threads._end()


@pytest.fixture
def eager_to_split(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """However small it is."""
    monkeypatch.setattr(splitting, "WORTH", 0.0)
    forget()  # what was compiled otherwise
    yield
    forget()


class Task:
    """A classifier with Adam, of sizes that come out even nowhere, with a history of its losses."""

    def __init__(self, layers: int = 2, width: int = 19) -> None:
        tg.manual_seed(0)
        hidden = (one for _ in range(layers) for one in (nn.Linear(width, width), nn.Tanh()))
        self.model = nn.Sequential(*hidden, nn.Linear(width, 5))
        self.opt = optim.Adam(self.model.parameters(), lr=0.01)
        rng = np.random.default_rng(0)
        self.x, self.y = rng.normal(size=(44, width)).astype(np.float32), rng.integers(0, 5, 44)
        self.jitted = tg.jit(self.step)

    def step(self, x: Any, y: Any) -> Any:
        self.opt.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.opt.step()
        return loss

    def fit(self, epochs: int = 3, **options: Any) -> Any:
        """With a short last batch, and an evaluation."""
        x, y = tg.tensor(self.x), tg.tensor(self.y)
        scores = lambda: {"loss_after": F.cross_entropy(self.model(x), y)}  # noqa: E731
        data = (self.x, self.y)
        return tg.fit(self.jitted, data, epochs, batch_size=16, seed=1, evaluate=scores, progress=False, **options)

    def train(self, steps: int = 4) -> list[bytes]:
        """The bits of the losses and of the weights."""
        losses = [self.jitted(self.x, self.y).numpy().tobytes() for _ in range(steps)]
        return losses + self.weights()

    def weights(self) -> list[bytes]:
        return [weight.detach().numpy().tobytes() for weight in self.model.parameters()]


def with_threads(number: int, work: Callable[[], Any]) -> Any:
    tg.set_num_threads(number)
    return work()


# ---- what is split ---------------------------------------------------------------------------------------------------


ROW, COL, OUTER = Var("i", 32), Var("j", 4), Var("outer", 3)
X, Y = Buffer("x", (200,), FLOAT64, "input"), Buffer("y", (200,), FLOAT64)
FOLD = Register("fold", FLOAT64, 0.0, lambda a, b: a + b)
NEXT: Any = param(Access(X, (affine(ROW),)), INT64)


BLOCK = affine(ROW) * 4 + affine(COL)
EMPTY = Program((), (), (), (), (), (), ())
LATER = affine(ROW) + affine(OUTER) * 32


def at(buffer: Buffer, index: Affine | Expr) -> Expr:
    return param(Access(buffer, (index,)), buffer.dtype)


def store(index: Affine | Expr, value: Expr) -> Statement:
    return Store(Access(Y, (index,)), value)


def summed(inside: Sequence[Var], around: Sequence[Var], index: Affine) -> tuple[Statement, ...]:
    """A sum over the loops inside, for each round of those around."""
    total = param(FOLD, FLOAT64)
    added = nest(inside, (Assign(FOLD, total + at(X, affine(ROW) + affine(COL))),))
    return nest(around, (Let(FOLD, at(X, Affine())), *added, store(index, total)))


SPLITS: dict[str, tuple[tuple[Statement, ...], bool]] = {
    "element by element": (nest([ROW], (store(affine(ROW), at(X, affine(ROW))),)), True),
    "shifted places": (nest([ROW], (store(affine(ROW) + 7, at(X, affine(ROW))),)), True),
    "backwards": (nest([ROW], (store(affine(ROW) * -1 + 31, at(X, affine(ROW))),)), True),
    "blocks": (nest([ROW, COL], (store(BLOCK, at(X, affine(ROW))),)), True),
    "blocks that overlap": (nest([ROW, COL], (store(affine(ROW) * 3 + affine(COL), at(X, affine(ROW))),)), False),
    "one place": (nest([ROW], (store(Affine(), at(X, affine(ROW))),)), False),
    "a place from data": (nest([ROW], (store(NEXT, at(X, affine(ROW))),)), False),
    "a sum in each": (summed([COL], [ROW], affine(ROW)), True),
    "a sum of all": (summed([ROW], [COL], affine(COL)), False),
    "in place": (nest([ROW], (store(affine(ROW), at(Y, affine(ROW)) * 2.0),)), True),
    "from the neighbour": (nest([ROW], (store(affine(ROW), at(Y, affine(ROW) + 1)),)), False),
    "from another block": (nest([ROW, COL], (store(BLOCK, at(Y, affine(ROW) * 4 + 4)),)), False),
    "a store outside": ((*nest([ROW], (store(affine(ROW), at(X, LATER)),)), store(Affine(99), at(X, Affine()))), False),
    "in a repetition": (nest([ROW], (store(LATER, at(Y, LATER)),)), True),
    "from another round": (nest([ROW], (store(LATER, at(Y, affine(ROW))),)), False),
}  # fmt: skip


@pytest.mark.parametrize("name", SPLITS)
def test_a_loop_is_split_where_no_iteration_touches_what_another_writes(name: str) -> None:
    body, may = SPLITS[name]
    places = Placed(EMPTY, {one: layout(one, 0, 64) for one in (X, Y)}, {X: 0, Y: 4096}, 0)
    assert may_split(Kernel("k", body), ROW, places) == may


def test_what_shares_memory_is_one_buffer() -> None:
    body = nest([ROW], (store(affine(ROW), at(X, affine(ROW) + 1)),))
    laid = {one: layout(one, 0, 64) for one in (X, Y)}
    assert may_split(Kernel("k", body), ROW, Placed(EMPTY, laid, {X: 0, Y: 4096}, 0))
    assert not may_split(Kernel("k", body), ROW, Placed(EMPTY, laid, {X: 0, Y: 0}, 0))
    assert not may_split(Kernel("k", body), ROW, Placed(EMPTY, laid, {X: 8, Y: 0}, 0))


def test_a_schedule_that_splits_what_may_not_be_is_refused() -> None:
    body = nest([ROW], (store(Affine(), at(X, affine(ROW))),))
    program = Program((Kernel("k", body),), (X, Y), (X,), (Y,), (), (), (Span(0, 1),))
    right = schedule(program, 32)
    wrong = replace(right, program=replace(right.program, kernels=(Kernel("k", body, split=ROW),)))
    assert right.verify() is right
    with pytest.raises(GraphError, match="iterations of i in k that meet"):
        wrong.verify()


def step_program() -> tuple[Program, list[Any]]:
    """The loops of a step, and values for its inputs."""
    task = Task(1, 13)
    x, y = task.x[:14], task.y[:14]
    entry = task.jitted.entry((x, y), {})
    values = [np.array(view) for view in entry.compiled.inputs]
    values[:2] = x, y
    for one, value in zip(entry.state, values[2:], strict=True):
        value[...] = one.handle.node.value
    return entry.compiled.stages.program, values


def bits(results: tuple[list[Any], list[Any]]) -> list[bytes]:
    return [value.tobytes() for part in results for value in part]


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_threads_in_every_order_give_the_bits_of_one(eager_to_split: None, lanes: int) -> None:
    program, values = step_program()
    alone = bits(simulate(expand(schedule(program, 8 * lanes), lanes), values))
    planned = schedule(program, 8 * lanes, threads=3).verify()
    together = verify(expand(planned, lanes))
    native.verify(print_llvm(together))
    assert sum(one.split is not None for one in planned.program.kernels) > 4
    for order in ORDERS:
        assert bits(simulate(together, values, order)) == alone


def product(m: int, n: int, k: int) -> tuple[Any, list[Any]]:
    """A function whose large operands are packed, and its arguments."""
    rng = np.random.default_rng(4)
    x, y, z = (rng.normal(size=size).astype(np.float32) for size in ((m, k), (k, n), (n, k)))
    return tg.jit(lambda x, y, z: ((x @ y).relu(), x @ z.T)), [x, y, z]


def test_each_thread_has_what_it_packs_for_itself(eager_to_split: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "FROM", 0)
    monkeypatch.setattr(packing, "ROWS", 2)
    monkeypatch.setattr(tiles, "FROM", 0)
    function, values = product(8, 45, 6)
    program = function.entry(values, {}).compiled.stages.program
    alone = bits(simulate(expand(schedule(program, 16), 4), values))
    planned = schedule(program, 16, threads=3).verify()
    (crew,) = planned.program.regions
    assert isinstance(crew, Crew)
    packed = [buffer for one in planned.program.kernels if one.split for buffer in own_of(one, crew.var)]
    assert len(packed) >= 2
    together = verify(expand(planned, 4))
    for order in ORDERS:
        assert bits(simulate(together, values, order)) == alone
    stolen = replace(planned, program=replace(planned.program, regions=crew.body))
    with pytest.raises(GraphError, match=r"that meet|outside of its loop"):
        stolen.verify()


def test_what_a_kernel_keeps_of_each_row_goes_with_the_rows(eager_to_split: None) -> None:
    """The largest of each row is read by nobody else, and is no scratch: threads need no copies of it."""
    values = (tg.tensor(np.random.default_rng(0).normal(size=(6, 5, 32)).astype(np.float32)),)
    program = tg.jit(lambda x: x.softmax(-1)).entry(values, {}).compiled.stages.program
    planned = schedule(program, 64, threads=2).verify()
    (crew,) = planned.program.regions
    assert isinstance(crew, Crew)
    assert all(one.split is not None and not own_of(one, crew.var) for one in planned.program.kernels)


def test_large_products_are_packed_by_each_thread(led: list[int]) -> None:
    function, values = product(96, 530, 257)
    call = lambda: [one.numpy().tobytes() for one in function(*values)]  # noqa: E731
    results = [with_threads(number, call) for number in (1, 2, 4)]
    assert results[0] == results[1] == results[2]
    assert led == [2, 4]
    planned = function.last.compiled.stages.schedule
    assert sum(one.split is not None and bool(own_of(one, planned.program.regions[0].var))
               for one in planned.program.kernels) >= 2  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(200, 700, 300), (700, 200, 300), (96, 530, 700)])
def test_products_by_a_blas_are_shared_where_that_gives_the_same_bits(
    shape: tuple[int, int, int], dtype: str, led: list[int]
) -> None:
    pytest.importorskip("scipy")
    m, n, k = shape
    rng = np.random.default_rng(5)
    x, y, a, b = (rng.normal(size=size).astype(dtype) for size in ((m, k), (k, n), (k, m), (n, k)))
    work = lambda x, y, a, b: (x @ y, a.T @ y, x @ b.T, a.T @ b.T)  # noqa: E731
    function = tg.jit(work)
    call = lambda: [one.numpy().tobytes() for one in function(x, y, a, b)]  # noqa: E731
    results = [with_threads(number, call) for number in (1, 2, 3)]
    assert results[0] == results[1] == results[2]
    kernels = function.last.compiled.stages.schedule.program.kernels  # type: ignore[union-attr]
    products = [one for kernel in kernels for one in kernel.body if isinstance(one, Gemm)]
    shared = [one for kernel in kernels for one in kernel.body if isinstance(one, Gemm) and kernel.split]
    assert len(products) == 4
    assert [one for one in products if driver.may_share(one, 3)] == shared
    assert led == [number for number in (2, 3) if any(driver.may_share(one, number) for one in products)]


def test_what_a_blas_adds_in_another_order_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """As some do at the edges: here one that counts the rows it is given."""
    one = (np.dtype(np.float32), (128, 70, 9), False, True, 0, 64, 3)
    assert blas.in_parts(*one)
    blas.in_parts.cache_clear()
    gemm = blas._gemm

    def other(x: Any, y: Any, target: Any, tx: bool, ty: bool) -> None:
        gemm(x, y, target, tx, ty)
        target += 1e-6 * len(target)

    monkeypatch.setattr(blas, "_gemm", other)
    assert not blas.in_parts(*one)
    blas.in_parts.cache_clear()


@pytest.mark.parametrize("shape", [(130, 70), (70, 130)])
@pytest.mark.parametrize("transposed", [(False, False), (False, True), (True, False), (True, True)])
def test_a_shared_product_in_the_simulator(shape: tuple[int, int], transposed: tuple[bool, bool]) -> None:
    (m, n), (tx, ty) = shape, transposed
    x = Buffer("x", (5, m) if tx else (m, 5), FLOAT64, "input", True)
    y = Buffer("y", (n, 5) if ty else (5, n), FLOAT64, "input", True)
    target, function = Buffer("z", shape, FLOAT64, row_major=True), Buffer("f", (), INT64, "constant", True, 0)
    body = (Gemm(target, x, y, tx, ty, function),)
    program = Program((Kernel("k", body),), (x, y, target, function), (x, y), (target,), (), (), (Span(0, 1),))
    rng = np.random.default_rng(0)
    values = [rng.normal(size=one.shape) for one in (x, y)]
    planned = schedule(program, 32, threads=4, may_share=lambda one, threads: True).verify()
    together = verify(expand(planned, 4))
    native.verify(print_llvm(together))
    right = (values[0].T if tx else values[0]) @ (values[1].T if ty else values[1])
    for order in (*ORDERS, (3, 1, 0, 2)):
        (result,), _ = simulate(together, values, order)
        np.testing.assert_array_equal(result, right)


def test_a_missing_barrier_is_found(eager_to_split: None) -> None:
    """So the test before is one. Of some barriers there is no need: what each thread reads next it wrote itself.
    """
    program, values = step_program()
    together = expand(schedule(program, 32, threads=3), 4)
    alone = bits(simulate(together, values))
    barriers = [one for one in together.body if isinstance(one, code.Barrier)]
    found = 0
    for missing in barriers:
        fewer = Expanded(together.schedule, tuple(one for one in together.body if one is not missing), together.given)
        found += any(bits(simulate(fewer, values, order)) != alone for order in ((1, 0), (0, 1)))
    assert len(barriers) > found > 2


def test_shared_functions_are_split_as_well(eager_to_split: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SMALL", 0)
    monkeypatch.setattr(sharing, "PART", 1e9)
    results = [with_threads(number, Task(6).train) for number in (1, 2, 3)]
    task = Task(6)
    task.jitted(task.x, task.y)
    planned = task.jitted.last.compiled.stages.schedule  # type: ignore[union-attr]
    assert any(one.kernel.split for one in planned.shared)
    assert results[0] == results[1] == results[2]


def test_the_verifier_knows_where_threads_may_wait() -> None:
    number, count, calm = (code.Value("given", (), INT64, 0, 0, None) for _ in range(3))
    yes = code.Value("const", (), np.dtype(bool), 0, 0, np.True_)
    four = code.Value("const", (), INT64, 0, 0, np.int64(4))
    counter = code.Value("counter", (), INT64, 0, 1, None)
    wait = code.Barrier(count, calm)
    empty = schedule(Program((), (X,), (X,), (), (), (), ()), 32)
    meeting = replace(empty, meeting=empty.size, size=empty.size + 192)

    def refused(planned: Schedule, *body: code.Statement) -> str:
        with pytest.raises(GraphError) as caught:
            verify(Expanded(planned, body, (number, count, calm)))
        return str(caught.value)

    verify(Expanded(meeting, (wait, code.Alone(yes, code.Part("p", (), ()))), (number, count, calm)))
    assert "no place to meet" in refused(empty, wait)
    assert "a barrier in a loop" in refused(meeting, code.Loop(counter, four, 1, (), (wait,)))
    assert "a barrier for one thread" in refused(meeting, code.Alone(yes, code.Part("p", (count, calm), (wait,))))
    inner = code.Loop(counter, four, 1, (), (wait,))
    assert "for one thread" in refused(meeting, code.Alone(yes, code.Part("p", (count, calm), (inner,))))
    assert "no scalar bool" in refused(meeting, code.Alone(four, code.Part("p", (), ())))
    assert "no numbers" in refused(meeting, code.Barrier(yes, calm))
    with pytest.raises(GraphError, match="not known here"):
        verify(Expanded(meeting, (wait,)))


def test_threads_that_part_are_found(eager_to_split: None) -> None:
    """By the simulator, if a condition of their number stands around a barrier."""
    number, count, calm = given = tuple(code.Value("given", (), INT64, 0, 0, None) for _ in range(3))
    zero = code.Value("const", (), INT64, 0, 0, np.int64(0))
    first = code.Value("eq", (number, zero), np.dtype(bool), 0, 0, None)
    empty = schedule(Program((), (X,), (X,), (), (), (), ()), 32)
    parted = Expanded(empty, (first, code.When(first, (code.Barrier(count, calm),))), given)
    assert Machine(parted).run((0,)) == 0
    with pytest.raises(GraphError, match="threads that do not meet"):
        Machine(parted).run((0, 1))


# ---- machine code ----------------------------------------------------------------------------------------------------


@pytest.fixture
def led(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """With how many threads the pool ran each function."""
    counts: list[int] = []
    lead = Pool.lead

    def noted(self: Pool, function: int, arena: int, number: int) -> int:
        counts.append(number)
        return lead(self, function, arena, number)

    monkeypatch.setattr(Pool, "lead", noted)
    return counts


def test_any_number_of_threads_gives_the_same_bits(eager_to_split: None, led: list[int]) -> None:
    threads._crew.end()  # helpers that another test began
    results = [with_threads(number, Task().train) for number in (1, 2, 3, 4, 64)]
    assert all(one == results[0] for one in results)
    assert led == [2] * 4 + [3] * 4 + [4] * 8
    assert sum(one.name.startswith("helper") for one in threading.enumerate()) == 3


@pytest.mark.parametrize("shape", [(1, 8, 40), (16, 16, 16), (37, 203, 50), (203, 37, 9), (64, 65, 130)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_that_come_out_even_or_not(
    eager_to_split: None, led: list[int], shape: tuple[int, int, int], dtype: str
) -> None:
    """Tiles of several vectors by several rows, with what is left over at both ends."""
    rng, (m, n, k) = np.random.default_rng(2), shape
    x, y, bias = (rng.normal(size=size).astype(dtype) for size in ((m, k), (k, n), n))

    def work(x: Any, y: Any, bias: Any) -> Any:
        z = (x @ y + bias).relu()
        return z, z.T @ x, (y @ z.T).T, z.sum(0), z.amax(1)

    function = tg.jit(work)
    results = [with_threads(number, lambda: [one.numpy() for one in function(x, y, bias)]) for number in (1, 2, 3, 4)]
    for one in results[1:]:
        assert [value.tobytes() for value in one] == [value.tobytes() for value in results[0]]
    z = np.maximum(x @ y + bias, 0)
    for found, right in zip(results[0], (z, z.T @ x, (y @ z.T).T, z.sum(0), z.max(1)), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-3, atol=1e-3)
    assert led == [2, 3, 4]


def test_a_run_of_fit_gives_the_same_bits(eager_to_split: None, led: list[int]) -> None:
    results = []
    for number in (1, 2, 3):
        tg.set_num_threads(number)
        task = Task()
        history = task.fit()
        results.append((history["loss"].tolist(), history["loss_after"].tolist(), task.weights()))
    assert results[0] == results[1] == results[2]
    assert set(led) == {2, 3}


def test_two_epochs_of_sequences_of_two_lengths(eager_to_split: None, led: list[int]) -> None:
    """Every batch runs one of several steps, and a long scan is a repetition inside of them."""

    def run() -> list[Any]:
        tg.manual_seed(1)
        rng = np.random.default_rng(1)
        layer, head = nn.LSTM(5, 9, batch_first=True), nn.Linear(9, 1)
        opt = optim.SGD([*layer.parameters(), *head.parameters()], lr=0.1)
        data = [rng.normal(size=(n, 5)).astype(np.float32) for n in (40, 37, 40, 37, 40)]
        targets = rng.normal(size=(5, 1)).astype(np.float32)

        @tg.jit
        def step(x: Any, y: Any) -> Any:
            opt.zero_grad()
            loss = F.mse_loss(head(layer(x)[0][:, -1]), y)
            loss.backward()
            opt.step()
            return loss

        history = tg.fit(step, (data, targets), 2, batch_size=2, progress=False, seed=0)
        return [history["loss"].tolist(), [one.detach().numpy().tobytes() for one in layer.parameters()]]

    results = [with_threads(number, run) for number in (1, 2, 3)]
    assert results[0] == results[1] == results[2]
    assert set(led) == {2, 3}


def test_small_models_are_compiled_as_for_one_thread_and_need_no_pool(led: list[int]) -> None:
    texts = []
    for number in (1, 2):
        tg.set_num_threads(number)
        task = Task()
        task.train()
        texts.append(task.jitted.llvm(task.x, task.y))
    assert texts[0] == texts[1]
    assert not led


def test_what_is_worth_it_is_split(led: list[int]) -> None:
    """A product of some hundred microseconds, and not the sum of what it gives."""
    x = np.random.default_rng(0).normal(size=(128, 256)).astype(np.float32)
    weight = tg.tensor(np.random.default_rng(1).normal(size=(256, 256)).astype(np.float32))
    function = tg.jit(lambda x: (lambda y: (y, y.sum()))((x @ weight).relu()))
    results = [with_threads(number, lambda: [one.numpy().tobytes() for one in function(x)]) for number in (1, 2)]
    assert results[0] == results[1]
    assert led == [2]
    kernels = function.last.compiled.stages.schedule.program.kernels  # type: ignore[union-attr]
    assert [one.split is not None for one in kernels if "matmul" in one.sources] == [True]
    assert any(one.split is None for one in kernels)


def test_debug_text_shows_what_is_split_and_where_threads_wait(eager_to_split: None) -> None:
    tg.set_num_threads(2)
    task = Task()
    text = str(task.jitted.program(task.x, task.y))
    assert " split i" in text
    assert "\nthreads thread < 2:\n  phase:\n" in text
    task.jitted(task.x, task.y)
    assert task.jitted.last is not None
    steps = str(expand(task.jitted.last.compiled.stages.schedule))
    assert "barrier of v" in steps
    assert "alone if v" in steps
    assert " from v" in steps


def test_explain_times_the_kernels_of_a_threaded_function(eager_to_split: None) -> None:
    tg.set_num_threads(2)
    task = Task()
    rows = tg.explain(task.jitted, task.x, task.y).rows
    assert len(rows) == len(task.jitted.program(task.x, task.y).kernels)
    assert all(row.seconds > 0 for row in rows)


def test_a_change_of_the_number_reaches_what_was_compiled(eager_to_split: None, led: list[int]) -> None:
    task, other = Task(), Task()
    for number in (1, 3, 2, 1, 2, 2):
        assert with_threads(number, lambda: task.train(2)) == with_threads(1, lambda: other.train(2))
    assert led == [3, 3, 2, 2, 2, 2, 2, 2]
    assert task.jitted.traces == 3  # each number once


def test_a_callback_may_change_the_number(eager_to_split: None, led: list[int]) -> None:
    numbers = iter((3, 1, 2))
    plain, changed = Task(), Task()
    expected = plain.fit()
    tg.set_num_threads(2)
    history = changed.fit(callbacks=[lambda run, logs: tg.set_num_threads(next(numbers))])
    assert history["loss"].tolist() == expected["loss"].tolist()
    assert changed.weights() == plain.weights()
    assert set(led) == {2}  # the run was compiled for two


# ---- checks ----------------------------------------------------------------------------------------------------------


def test_a_label_out_of_range_is_the_error_of_one_thread_and_changes_nothing(eager_to_split: None) -> None:
    messages = []
    for number in (1, 2, 3):
        tg.set_num_threads(number)
        task = Task()
        task.train(2)
        before, right = task.weights(), task.y.copy()
        task.y[[7, 30]] = 9, -1
        with pytest.raises(IndexOutOfRange) as caught:
            task.train()
        messages.append(str(caught.value))
        assert task.weights() == before
        task.y[...] = right
        messages += [repr(one) for one in task.train(2)]  # and goes on
    assert messages[: len(messages) // 3] * 3 == messages


def test_a_label_out_of_range_in_a_run_is_found_at_the_same_place(eager_to_split: None) -> None:
    messages, weights = [], []
    for number in (1, 2):
        tg.set_num_threads(number)
        task = Task()
        task.y[41] = 5
        with pytest.raises(IndexOutOfRange) as caught:
            task.fit()
        messages.append(str(caught.value))
        weights.append(task.weights())
    assert messages[0] == messages[1]
    assert weights[0] == weights[1]


# ---- the pool --------------------------------------------------------------------------------------------------------


def test_two_python_threads_may_call_at_once(eager_to_split: None) -> None:
    """Who finds the pool busy does without; nobody waits for the other for ever."""
    expected = with_threads(1, lambda: Task().train(60))
    tg.set_num_threads(2)
    results: list[Any] = []
    begin = threading.Barrier(3)

    def work(task: Task) -> None:
        begin.wait()
        results.append(task.train(60))

    callers = [threading.Thread(target=work, args=(Task(),)) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
        assert not caller.is_alive()
    assert results == [expected] * 3


def test_a_busy_pool_is_not_waited_for(eager_to_split: None, led: list[int]) -> None:
    expected = with_threads(1, lambda: Task().train())
    tg.set_num_threads(2)
    with threads._crew.busy:
        assert Task().train() == expected
    assert not led
    assert Task().train() == expected
    assert led == [2] * 4


def test_where_no_thread_can_be_started_one_does_it_all(
    eager_to_split: None, led: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = with_threads(1, lambda: Task().train())
    start = threading.Thread.start

    def refused(self: threading.Thread) -> None:
        if self.name.startswith("helper"):
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert with_threads(3, lambda: Task().train()) == expected
    assert not led
    monkeypatch.setattr(threading.Thread, "start", start)
    assert with_threads(3, lambda: Task().train()) == expected
    assert led == [3] * 4


def test_where_there_are_no_such_threads_one_does_it_all(eager_to_split: None, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = with_threads(1, lambda: Task().train())
    monkeypatch.setattr("tinygrad_nn.compiler.codegen.pool.CALLS", ("no_such_function",))
    assert with_threads(2, lambda: Task().train()) == expected
    assert threads._crew.pool is None


def test_ctrl_c_while_helpers_begin_leaves_a_pool_that_works(
    eager_to_split: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = with_threads(1, lambda: Task().train(1))
    tg.set_num_threads(2)
    start = threading.Thread.start

    def pressed(self: threading.Thread) -> None:
        start(self)
        if self.name.startswith("helper"):
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", pressed)
    with pytest.raises(KeyboardInterrupt):
        Task().train(1)
    monkeypatch.setattr(threading.Thread, "start", start)
    assert Task().train(1) == expected
    assert threads._crew.pool is not None


def forked(work: Callable[[], bool]) -> int:
    """The exit code of a child that is forked: 0 if it finds what it should."""
    child = os.fork()
    if not child:
        found = 1
        try:
            found = 0 if work() else 2
        finally:
            os._exit(found)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system that does not fork")
def test_a_child_has_helpers_of_its_own(eager_to_split: None, led: list[int]) -> None:
    tg.set_num_threads(2)
    task, twin = Task(), Task()
    assert task.train(2) == twin.train(2)
    expected = twin.train(3)

    def work() -> bool:
        led.clear()
        return task.train(3) == expected and led == [2, 2, 2] and tg.get_num_threads() == 2

    assert forked(work) == 0
    assert not threads._crew.helpers  # they ended before
    assert task.train(3) == expected  # and come back here too
    assert forked(lambda: with_threads(3, lambda: Task().train(5)) == with_threads(1, lambda: Task().train(5))) == 0


FORK = """
import os, signal, sys, threading, time
import numpy as np, tinygrad_nn as tg
from tinygrad_nn.support import fork
fork.PATIENCE = 0.1
total, one = tg.zeros(64), tg.tensor(np.ones(64, np.float32))
entered = threading.Event()

@tg.jit
def call(x):
    total.assign(total + x)
    return tg.scan(lambda h, x: ((h * h).tanh(), None), total, tg.zeros(LENGTH))[0].sum()

call(one)
def calls():
    while True:
        entered.set()
        call(one)

threading.Thread(target=calls, daemon=True).start()
entered.wait()
time.sleep(0.02)
child = os.fork()
if not child:
    signal.alarm(60)  # which ends it
    before = total.numpy().copy()
    whole = len(set(before)) == 1
    call(one)
    again = float(tg.jit(lambda x: (x * 3).sum())(tg.ones(3)))
    os._exit(0 if again == 9 and (total.numpy() == before + 1).all() and whole else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system that does not fork")
@pytest.mark.parametrize("length", [3, 3000, 100_000], ids=["short", "medium", "longer than a fork waits"])
def test_a_fork_while_another_thread_is_in_a_call(length: int) -> None:
    done = started(FORK.replace("LENGTH", str(length)), TGNN_QUIET="1")
    assert not done.returncode, done.stderr


def started(source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of its own."""
    everything = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-W", "error", "-c", source]
    return subprocess.run(command, env=everything, capture_output=True, text=True, check=False, timeout=120)


PROGRAM = """
import os, signal, sys, threading, time
import numpy as np, tinygrad_nn as tg
from tinygrad_nn.compiler.run import threads
threads.cores.__wrapped__, threads.cores = None, __import__("functools").cache(lambda: 2)
weight = tg.tensor(np.full((512, 512), 0.001, np.float32), requires_grad=True)
x = np.ones((64, 512), np.float32)
"""


def test_a_program_ends_with_helpers_asleep() -> None:
    done = started(PROGRAM + "print(tg.jit(lambda x: x @ weight)(x).shape, tg.get_num_threads())\n"
                             "print([one.name for one in threading.enumerate()][1:])", TGNN_THREADS="2")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "(64, 512) 2\n['helper 1']\n"


def test_ctrl_c_ends_a_run_between_two_batches() -> None:
    source = """
opt = tg.optim.SGD([weight], lr=1e-6)
@tg.jit
def step(x):
    opt.zero_grad()
    loss = ((x @ weight).tanh() @ weight).square().mean()
    loss.backward()
    opt.step()
    return loss
tg.fit(step, (x,), 1, batch_size=64, progress=False)
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
begun = time.perf_counter()
history = tg.fit(step, (x,), 10**7, batch_size=64, progress=False)
print(history.stopped.startswith("interrupted"), time.perf_counter() - begun < 30, np.isfinite(history["loss"]).all())
"""
    done = started(PROGRAM + "signal.signal(signal.SIGINT, signal.default_int_handler)" + source, TGNN_THREADS="2")
    assert (done.returncode, done.stdout) == (0, "True True True\n"), done.stderr


# ---- wrong numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, -1, 1.0, 2.5, True, "2", None, THREADS + 1, 10**6, 10**30, np.float64(2)])
def test_a_number_that_is_none_is_refused(number: Any) -> None:
    with pytest.raises(ConfigError, match=r"\[set_num_threads\] got n .*; expected an integer, n >= 1, n <= 1,024"):
        tg.set_num_threads(number)
    assert tg.get_num_threads() == 1


def test_numbers_of_other_kinds_are_numbers() -> None:
    for number in (np.int64(3), np.array(3), THREADS):
        tg.set_num_threads(number)
        assert type(tg.get_num_threads()) is int
        assert tg.get_num_threads() == int(number)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "1025", "1000000", "9" * 5000, "²"])
def test_an_environment_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGNN_THREADS", text)
    config.cache_clear()
    with pytest.raises(ConfigError, match=r"\[TGNN_THREADS\] got the value .*; expected a number from 1 to 1,024"):
        tg.get_num_threads()
    monkeypatch.delenv("TGNN_THREADS")
    config.cache_clear()


def test_the_environment_counts_until_a_number_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGNN_THREADS", "3")
    config.cache_clear()
    assert tg.get_num_threads() == 3
    tg.set_num_threads(2)
    assert tg.get_num_threads() == 2
    monkeypatch.delenv("TGNN_THREADS")
    config.cache_clear()


def test_a_traced_function_cannot_set_it_and_is_traced_for_what_it_reads() -> None:
    def sets(x: tg.Tensor) -> tg.Tensor:
        tg.set_num_threads(2)
        return x + 1

    with pytest.raises(TraceError, match=r"\[set_num_threads\] got a change of the threads inside of a compiled"):
        tg.jit(sets)(tg.ones(2))
    assert tg.get_num_threads() == 1
    reads = tg.jit(lambda x: x * tg.get_num_threads())
    assert [with_threads(number, lambda: reads(tg.ones(1)).item()) for number in (1, 3, 2, 1)] == [1, 3, 2, 1]
