"""Where nodes and kernels come from: by module, by line, and as forward, gradient or optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.compiler.codegen import native
from tinygrad_nn.compiler.driver import build
from tinygrad_nn.compiler.job import Job
from tinygrad_nn.compiler.loopir.ir import Kernel
from tinygrad_nn.compiler.recall import key_of
from tinygrad_nn.compiler.run.traces import training_job
from tinygrad_nn.graph.graph import Node
from tinygrad_nn.graph.places import Place
from tinygrad_nn.placed import placed
from tinygrad_nn.tensor.core import mode

AROUND = {"batch", "shuffle", "history", "rows"}  # what a run does around its steps


def line_of(text: str) -> int:
    """The number of the line of this file that begins with a text."""
    lines = Path(__file__).read_text().splitlines()
    (found,) = [k for k, line in enumerate(lines, 1) if line.strip().startswith(text)]
    return found


class Rows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        scaled = x * 0.5
        return self.layers(scaled)


class Last(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(tg.ones((4, 3)))
        self.u = nn.Parameter(tg.ones((3, 3)))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        def turn(h: tg.Tensor, x: tg.Tensor) -> tuple[tg.Tensor, None]:
            seen = x @ self.w
            known = h @ self.u
            return (seen + known).tanh(), None

        return tg.scan(turn, tg.zeros((x.shape[0], 3)), x.transpose(0, 1))[0]


class Pictures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(2 * 9, 3)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        x = F.max_pool2d(self.norm(self.conv(x)).relu(), 2)
        return self.head(x.flatten(1))


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.head(self.block(self.table(x)).mean(1))


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "rows": (Rows, (4,)),
    "lstm unrolled": (Last, (3, 4)),
    "lstm": (Last, (60, 4)),
    "scan unrolled": (Loop, (3, 4)),
    "scan": (Loop, (200, 4)),
    "pictures": (Pictures, (1, 8, 8)),
    "words": (Words, (6,)),
}


def job_of(make: Callable[[], nn.Module], shape: tuple[int, ...], rows: int = 20) -> Job:
    """A training run, of whole batches and a short last one."""
    tg.manual_seed(0)
    net, rng = make(), np.random.default_rng(0)
    opt = optim.Adam(net.parameters(), lr=0.01)

    @tg.jit
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss

    x: Any = rng.normal(size=(rows, *shape)).astype(np.float32)
    if make is Words:
        x = rng.integers(0, 10, (rows, *shape))
    return training_job(step, [(x, rng.integers(0, 3, rows))], 8, None, True, None)


def kernels_of(job: Job) -> list[Kernel]:
    """The kernels of the steps, as they are scheduled."""
    every = build(job, last="schedule").schedule.program.kernels
    return [kernel for kernel in every if AROUND.isdisjoint(kernel.sources)]


@pytest.fixture(scope="module", params=CASES)
def job(request: pytest.FixtureRequest) -> Job:
    with placed():
        return job_of(*CASES[request.param])


def test_every_operation_of_a_trace_has_a_line_of_this_file(job: Job) -> None:
    for part in job.parts:
        assert part.graph.places is not None
        for node in part.graph.nodes:
            place = part.graph.places.place(node)
            assert not node.inputs or (place is not None and place.file == __file__ and place.text), node


def test_every_kernel_of_a_step_has_a_line(job: Job) -> None:
    kernels = kernels_of(job)
    assert [kernel.name for kernel in kernels if not any(one.line for one in kernel.origins.values())] == []
    roles = {one.role for kernel in kernels for one in kernel.origins.values()}
    assert roles == {"forward", "gradient", "optimizer"}


def test_kernels_are_those_of_nodes_as_traced(job: Job) -> None:
    traced = {node for part in job.parts for node in every(part.graph.nodes)}
    traced |= {node for part in job.parts if part.last for node in every(part.last.graph.nodes)}
    assert all(node in traced for kernel in kernels_of(job) for node in kernel.origins)


def every(nodes: tuple[Node, ...]) -> Iterator[Node]:
    """Nodes, and those inside of loops."""
    for node in nodes:
        yield node
        if "body" in node.attrs:
            yield from every(node.attrs["body"].nodes)


def test_lines_modules_and_roles_are_those_of_the_source() -> None:
    with placed():
        made = job_of(Rows, (4,))
    graph = made.parts[0].graph
    assert graph.places is not None
    found = {str(graph.places.place(node)) for node in graph.nodes if node.inputs}
    name, forward, calls = Path(__file__).name, line_of("scaled = x * 0.5"), line_of("return self.layers(scaled)")
    expected = {f"Rows, {name}:{forward}"}
    for module in ("layers.0 Linear", "layers.1 ReLU", "layers.2 Dropout", "layers.3 Linear"):
        expected |= {f"{module}, {name}:{calls}", f"{module}, {name}:{calls}, gradient"}
    loss = line_of("loss = F.cross_entropy")
    expected |= {f"{name}:{loss}", f"{name}:{loss}, gradient", f"{name}:{line_of('opt.step()')}, optimizer"}
    assert expected <= found
    assert found - expected <= {f"{name}:{line_of('loss.backward()')}"}


def test_lines_inside_of_a_loop_are_those_of_its_step() -> None:
    with placed():
        made = job_of(Loop, (200, 4))
    places = {place for kernel in kernels_of(made) for place in kernel.origins.values()}
    for text in ("seen = x @ self.w", "known = h @ self.u", "return (seen + known).tanh()"):
        lines = {place.role for place in places if place.line == line_of(text)}
        assert lines == {"forward", "gradient"}, text


def test_a_rule_of_the_user_has_its_own_line() -> None:
    class Twice(tg.Function):
        @staticmethod
        def forward(ctx: Any, x: tg.Tensor) -> tg.Tensor:
            return x * 2.0

        @staticmethod
        def backward(ctx: Any, g: tg.Tensor) -> tg.Tensor:
            return g * 17.0

    @tg.jit
    def slope(x: tg.Tensor) -> tg.Tensor:
        x = x.detach().requires_grad_()
        Twice.apply(x).sin().sum().backward()
        assert x.grad is not None
        return x.grad

    with placed():
        graph = slope.graph(tg.ones(3))
    assert graph.places is not None
    roles = {graph.places.place(node): 0 for node in graph.nodes if node.inputs}
    own = {place.role for place in roles if place is not None and place.line == line_of("return g * 17.0")}
    assert own == {"gradient"}


def test_who_does_not_ask_has_nothing_and_the_same_code() -> None:
    plain = job_of(Rows, (4,))
    assert all(part.graph.places is None for part in plain.parts)
    assert all(not kernel.origins for kernel in kernels_of(plain))
    with placed():
        known = job_of(Rows, (4,))
    assert mode.places is None
    assert key_of(plain, native.host()) == key_of(known, native.host()) is not None
    texts = [str(build(one, last="schedule").schedule.program) for one in (plain, known)]
    assert texts[0] == texts[1]


def test_a_block_that_ends_by_an_error_is_over() -> None:
    with pytest.raises(ZeroDivisionError), placed():
        raise ZeroDivisionError
    assert mode.places is None


def test_blocks_in_one_another_are_one_record() -> None:
    with placed() as outer, placed() as inner:
        assert outer is inner
    assert mode.places is None


def test_places_are_said_in_a_line() -> None:
    assert str(Place("/home/me/iris.py", 12, "x = 1", "layers.0", "Linear", "gradient")) == (
        "layers.0 Linear, iris.py:12, gradient"
    )
    assert str(Place("iris.py", 12, "x = 1")) == "iris.py:12"
    assert str(Place("", 0, "", "", "Net")) == "Net"


def test_explain_says_the_lines_of_each_kernel() -> None:
    net = Rows().eval()

    @tg.jit
    def infer(x: tg.Tensor) -> tg.Tensor:
        return net(x)

    x = tg.ones((6, 4))
    infer(x)
    table = tg.explain(infer, x)
    told = {line for row in table.rows for line in row.lines}
    assert {f"layers.0 Linear, {Path(__file__).name}:{line_of('return self.layers(scaled)')}"} <= told
    assert "comes from" in str(table)
    assert "comes from" in table._repr_html_()
